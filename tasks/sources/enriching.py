"""Attributes of second sources for the people of a population, by precedence. Pure.

What cannot be told is not null: where a source of attributes is incomplete and does not show a person's entry, or shows
two that contradict each other, the value is unknown, and what follows from it stays as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from connectors.contract import Snapshot, SourcePart
from tasks.expressions import Context, compile_expression
from tasks.job import AttributeSource, Job
from tasks.keys import find, texts
from tasks.membership import Mask
from tasks.sources.parts import part_numbers
from tasks.sources.stacking import filled


@dataclass(slots=True)
class Enriched:
    """The people with the attributes of all sources."""

    users: pd.DataFrame
    unknown: dict[str, pd.Index]
    unsure: tuple[str, ...]
    disputes: dict[str, str]
    given: dict[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(slots=True)
class Offer:
    """What one source gives for one attribute. Rows as the users."""

    values: pd.Series
    unknown: Mask


def enriched(
    job: Job,
    users: pd.DataFrame,
    parts: Sequence[SourcePart],
    read: Mapping[str, Snapshot],
    context: Context,
    failures: Mapping[str, Mapping[str, str]],
) -> Enriched:
    """The people with what second sources add. ``failures``: by attribute and key, why a source could not give it."""
    disputes: dict[str, list[str]] = {}
    for found in failures.values():
        for key, why in found.items():
            disputes.setdefault(key, []).append(why)
    offers: dict[str, dict[str, Offer]] = {}
    unsure = []
    for section in job.enrich:
        snapshot = read[section.name]
        doubts = _doubts(snapshot)
        if doubts:
            unsure.append(f"{section.name}: {doubts} What it does not show stays as it was.")
        for attribute, offer in _offers(job, section, snapshot, users, context, disputes, torn=bool(doubts)).items():
            offers.setdefault(attribute, {})[section.name] = offer
    number = part_numbers(users.index, parts)
    unknown: dict[str, pd.Index] = {}
    given: dict[str, pd.DataFrame] = {}
    columns: dict[str, pd.Series] = {}
    for attribute in sorted({*offers, *failures}):
        order = job.precedence.get(attribute) or tuple(one.name for one in (*job.people, *job.enrich))
        own = offers.get(attribute, {}) | _own(attribute, users, parts, number, failures.get(attribute, {}))
        values, unclear = settled([own[name] for name in order if name in own], users.index)
        columns[attribute] = values
        if unclear.any():
            unknown[attribute] = users.index[unclear]
        if job.same_person is not None:
            given[attribute] = pd.DataFrame({name: own[name].values for name in order if name in own})
    return Enriched(
        users=users.assign(**columns) if columns else users,
        unknown=unknown,
        unsure=tuple(unsure),
        disputes={key: " ".join(dict.fromkeys(found)) for key, found in sorted(disputes.items())},
        given=given,
    )


def settled(offers: Sequence[Offer], index: pd.Index) -> tuple[pd.Series, Mask]:
    """The first value that each row is given, in the order of the offers; and the rows for which nobody can tell: one
    that comes first may have a value."""
    values = pd.Series(np.nan, index=index, dtype="str")
    open_rows = np.ones(len(index), dtype=bool)
    unclear = np.zeros(len(index), dtype=bool)
    for offer in offers:
        unclear |= open_rows & offer.unknown
        open_rows &= ~offer.unknown
        has = open_rows & offer.values.notna().to_numpy(dtype=bool)
        values = filled(values, has, offer.values)
        open_rows &= ~has
    return values, unclear


def _own(
    attribute: str, users: pd.DataFrame, parts: Sequence[SourcePart], number: np.ndarray, failed: Mapping[str, str]
) -> dict[str, Offer]:
    """What the people's own sources give, one offer for each of them."""
    if attribute not in users:
        return {}
    unclear = users.index.isin(list(failed))
    found = {}
    for position, part in enumerate(parts):
        here = number == position
        found[part.name] = Offer(users[attribute].where(here), here & unclear)
    return found


def _doubts(snapshot: Snapshot) -> str:
    """Why a source of attributes does not show everything it has; empty where it does."""
    reasons = list(snapshot.incomplete)
    if snapshot.unreadable:
        count = len(snapshot.unreadable)
        one = snapshot.unreadable[0]
        reasons.append(f"{count:,} of its entries could not be read (first: {one.place}: {one.reason}).")
    if not len(snapshot.users) and not reasons:
        reasons.append("It has no entries.")
    return " ".join(reasons)


def _offers(
    job: Job,
    section: AttributeSource,
    snapshot: Snapshot,
    users: pd.DataFrame,
    context: Context,
    disputes: dict[str, list[str]],
    *,
    torn: bool,
) -> dict[str, Offer]:
    """What one second source gives, by attribute."""
    entries, name = snapshot.users, section.name
    people = _keys(section.join.people, users, context)
    own = _keys(section.join.own, entries, context)
    row = find(texts(people), texts(own))
    several = row >= 0
    several[several] = own.duplicated(keep=False).to_numpy()[row[several]]
    missing = (row < 0) & people.notna().to_numpy() if torn else np.zeros(len(users), dtype=bool)
    shared = _shared(people, row) if job.same_person is None else np.zeros(len(users), dtype=bool)
    for key in users.index[shared]:
        disputes.setdefault(str(key), []).append(f"{name} has one entry for several people, so it is nobody's.")
    found = {}
    for attribute, text in section.gives.items():
        column = compile_expression(text).column(entries, context)
        values = column.values.take(np.where(row < 0, 0, row)) if len(entries) else None
        if values is None:
            offered = pd.Series(np.nan, index=users.index, dtype="str")
        else:
            offered = values.set_axis(users.index).where(row >= 0)
        unclear = missing | shared
        unclear |= _failed(entries, column.failed, row, name, attribute, users, disputes)
        unclear |= _contradictions(own, column.values, row, several, name, attribute, users, disputes)
        found[attribute] = Offer(offered.mask(unclear), unclear)
    return found


def _keys(text: str, frame: pd.DataFrame, context: Context) -> "pd.Series[str]":
    """What entries are joined by; null joins nobody."""
    keys = compile_expression(text).column(frame, context).values.astype("str")
    return keys.where(keys != "")


def _shared(people: "pd.Series[str]", row: np.ndarray) -> Mask:
    """Rows that are put together with an entry that another row is put together with as well."""
    shared: Mask = (row >= 0) & people.duplicated(keep=False).to_numpy()
    return shared


def _failed(
    entries: pd.DataFrame,
    failed: Mapping[str, str],
    row: np.ndarray,
    name: str,
    attribute: str,
    users: pd.DataFrame,
    disputes: dict[str, list[str]],
) -> Mask:
    """Rows whose entry has a value that cannot be worked out."""
    mask = np.zeros(len(users), dtype=bool)
    if not failed:
        return mask
    wrong = entries.index.isin(list(failed))
    mask[row >= 0] = wrong[row[row >= 0]]
    for at in np.flatnonzero(mask).tolist():
        why = failed[str(entries.index[row[at]])]
        disputes.setdefault(str(users.index[at]), []).append(f"{name} provides no {attribute}: {why}")
    return mask


def _contradictions(
    own: "pd.Series[str]",
    values: pd.Series,
    row: np.ndarray,
    several: Mask,
    name: str,
    attribute: str,
    users: pd.DataFrame,
    disputes: dict[str, list[str]],
) -> Mask:
    """Rows with several entries that do not agree about the attribute."""
    mask = np.zeros(len(users), dtype=bool)
    for at in np.flatnonzero(several).tolist():
        mine = values[(own == own.iloc[row[at]]).to_numpy()]
        if len({repr(value) for value in mine.array}) < 2:
            continue
        mask[at] = True
        sentence = (
            f"{name} has {len(mine)} entries for this person that do not agree about {attribute}; it stays as it was."
        )
        disputes.setdefault(str(users.index[at]), []).append(sentence)
    return mask
