"""Counts a person who is in several sources once. Pure.

Entries of different sources with the same value of ``same_person`` are one person, who is identified by the entry that
counts: one that acts now before one whose first day has not come, before one that has ended; then the order of the
sources. Its account stays the person's when another entry counts, as when a contractor becomes an employee. Attributes
are those of the entry that counts, but for those with a ``precedence``: these are looked for in all entries that count
as much.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from connectors.contract import Kind, Snapshot, SourcePart, Unreadable
from tasks.expressions import Context, compile_expression
from tasks.job import EntryRules, Job
from tasks.keys import Rows, find, pick, texts
from tasks.membership import Mask, is_among
from tasks.sources.enriching import Offer, settled
from tasks.sources.parts import part_numbers
from tasks.sources.population import reference_attributes
from tasks.sources.stacking import filled


@dataclass(slots=True)
class _Persons:
    """Rows of users that are one person with others."""

    person: Rows
    """Per row the number of the person; -1 for people who are in one source."""
    counts: Rows
    """Per person the row that counts."""


def one_each(job: Job, snapshot: Snapshot, context: Context) -> Snapshot:
    """The population with every person once, by the job's ``same_person``."""
    if job.same_person is None:
        return snapshot
    users, number = snapshot.users, part_numbers(snapshot.users.index, snapshot.parts)
    value = _identities(job.same_person, users, context)
    person = _persons(value, number)
    person, doubtful = _without_doubtful(person, number)
    rank = _standing(snapshot) * len(snapshot.parts) + number
    counts = _counting(person, rank)
    head = np.arange(len(users), dtype=np.int64)
    head[person >= 0] = counts[person[person >= 0]]
    others = head != np.arange(len(users))
    aliases = pd.Series(users.index[head[others]], index=pd.Index(users.index[others], dtype="str"), dtype="str")
    merged = _merged(job, snapshot, person, counts, number, rank)
    kept = ~others & ~doubtful
    return replace(
        snapshot,
        users=_renamed(job.rules.get(Kind.USER), merged.users.loc[kept], aliases),
        groups=_renamed(job.rules.get(Kind.GROUP), snapshot.groups, aliases),
        members=_pointing(snapshot.members, "member", aliases),
        assignments=None if snapshot.assignments is None else _pointing(snapshot.assignments, "key", aliases),
        unreadable=(*snapshot.unreadable, *_doubts(users.index, value, doubtful)),
        unknown={attribute: _without(keys, users.index[~kept]) for attribute, keys in merged.unknown.items()},
        coming=_coming(snapshot.coming, aliases),
        aliases=aliases,
    )


def ended_beside(job: Job, snapshot: Snapshot, context: Context, undecided: Collection[str]) -> dict[str, str]:
    """Entries that have ended of people who have another entry that has not, and that cannot be judged now
    (``undecided``): the key of that one by the key of the one that has ended."""
    if job.same_person is None or not undecided:
        return {}
    index = snapshot.users.index
    value = _identities(job.same_person, snapshot.users, context)
    ended = is_among(index, snapshot.disabled)
    others = value[is_among(index, undecided) & ~ended].dropna()
    other = {str(one): str(key) for key, one in others[::-1].items()}
    return {str(key): other[str(one)] for key, one in value[ended & value.isin(list(other))].items()}


def _identities(same_person: str, users: pd.DataFrame, context: Context) -> "pd.Series[str]":
    """What entries of one person have in common; null for an entry that is nobody else's."""
    value = compile_expression(same_person).column(users, context).values.astype("str")
    return value.where(value != "")


def _coming(coming: pd.DataFrame | None, aliases: "pd.Series[str]") -> pd.DataFrame | None:
    """What will come of the entries that count; what becomes of another one of a person changes nothing."""
    if coming is None or not len(aliases):
        return coming
    return coming.loc[~is_among(coming["key"], texts(aliases.index))].reset_index(drop=True)


def _without(keys: pd.Index, index: pd.Index) -> pd.Index:
    """Keys but for these. Those of people who are held already have no row any more, and stay."""
    return keys[~is_among(keys, texts(index))]


def _standing(snapshot: Snapshot) -> Rows:
    """0 for rows that act now, 1 for those whose first day has not come, 2 for those that have ended."""
    index = snapshot.users.index
    ended = is_among(index, snapshot.disabled)
    waits = is_among(index, texts(snapshot.waiting.index))
    return np.where(ended, 2, np.where(waits, 1, 0)).astype(np.int64)


def _persons(value: "pd.Series[str]", number: Rows) -> Rows:
    """A number for the rows of each person who is in several sources; -1 for the others."""
    person = np.full(len(value), -1, dtype=np.int64)
    coded, _ = pd.factorize(value)
    pairs = pd.DataFrame({"code": coded, "part": number})[coded >= 0].drop_duplicates()
    several = pairs["code"].value_counts()
    among = np.isin(coded, several.index[several > 1].to_numpy()) & (coded >= 0)
    if among.any():
        person[among] = pd.factorize(coded[among])[0]
    return person


def _without_doubtful(person: Rows, number: Rows) -> tuple[Rows, Mask]:
    """Persons of whom one source has several entries are left out: which of them is meant cannot be told."""
    rows = pd.DataFrame({"person": person, "part": number})
    twice = (person >= 0) & rows.duplicated(keep=False).to_numpy()
    doubtful = (person >= 0) & np.isin(person, person[twice])
    kept = np.where(doubtful, -1, person)
    codes = np.full(len(kept), -1, dtype=np.int64)
    codes[kept >= 0] = pd.factorize(kept[kept >= 0])[0]
    return codes, doubtful


def _doubts(index: pd.Index, value: "pd.Series[str]", doubtful: Mask) -> list[Unreadable]:
    found = []
    for at in np.flatnonzero(doubtful).tolist():
        same = index[(value == value.iloc[at]).to_numpy()]
        others = ", ".join(str(key) for key in same if key != index[at])
        why = (
            f"It looks like the same person as {others} (same_person), and one source has several of these. Correct "
            "the value that they share."
        )
        found.append(Unreadable(Kind.USER, str(index[at]), f"user {index[at]}", why))
    return found


def _counting(person: Rows, rank: Rows) -> Rows:
    """Per person the row that counts: the first by rank."""
    rows = np.flatnonzero(person >= 0)
    order = rows[np.lexsort((rank[rows], person[rows]))]
    first = np.unique(person[order], return_index=True)[1]
    return order[first] if len(order) else order


# --- attributes ----------------------------------------------------------------------------------------------------


def _merged(job: Job, snapshot: Snapshot, person: Rows, counts: Rows, number: Rows, rank: Rows) -> Snapshot:
    """The rows that count with the attributes of all rows of the person, by precedence."""
    users, parts = snapshot.users, snapshot.parts
    torn = any(part.incomplete for part in parts)
    everybody = np.flatnonzero(person < 0) if torn else np.zeros(0, dtype=np.int64)
    heads = np.concatenate([counts, everybody])
    if not len(heads):
        return snapshot
    alive = rank // len(parts)
    rows = {
        part.name: _rows_of(position, person, counts, everybody, number, alive) for position, part in enumerate(parts)
    }
    every = [_rows_of(position, person, counts, everybody, number) for position in range(len(parts))]
    columns: dict[str, pd.Series] = {}
    unknown = {attribute: set(keys) for attribute, keys in snapshot.unknown.items()}
    head_keys = users.index[heads]
    for attribute in sorted({*snapshot.given, *job.precedence} & set(users.columns)):
        offers = _offers(job, snapshot, str(attribute), rows, every, heads, number, torn=torn)
        values, unclear = settled(offers, pd.RangeIndex(len(heads)))
        column = users[attribute].copy()
        if values.dtype != column.dtype:
            values = values.astype(column.dtype)
        column.iloc[heads] = values.array
        columns[attribute] = column
        known = unknown.setdefault(str(attribute), set())
        known -= set(head_keys[~unclear][: len(counts)])
        known |= set(head_keys[unclear])
    return replace(
        snapshot,
        users=users.assign(**columns),
        unknown={name: pd.Index(sorted(keys), dtype="str") for name, keys in unknown.items() if keys},
    )


def _rows_of(
    position: int, person: Rows, counts: Rows, everybody: Rows, number: Rows, alive: Rows | None = None
) -> Rows:
    """For each head the row of the same person in one source, -1 where there is none; with the standing of all rows
    (``alive``) none that counts less."""
    row = np.full(len(counts) + len(everybody), -1, dtype=np.int64)
    mine = np.flatnonzero((person >= 0) & (number == position))
    if alive is not None:
        mine = mine[alive[mine] == alive[counts[person[mine]]]]
    row[person[mine]] = mine
    own = number[everybody] == position
    row[len(counts) :][own] = everybody[own]
    return row


def _offers(
    job: Job,
    snapshot: Snapshot,
    attribute: str,
    rows: Mapping[str, Rows],
    every: Sequence[Rows],
    heads: Rows,
    number: Rows,
    *,
    torn: bool,
) -> list[Offer]:
    """What each source gives of an attribute to the persons, in the order of precedence. ``rows``: by source, entries
    that count; ``every``: all of them, since what a second source gives to one is the person's.

    A source that comes after the one whose entry counts, and that is incomplete, may have an entry of the person that
    it does not show. One that comes before would be the one that counts.
    """
    users, parts = snapshot.users, snapshot.parts
    given = snapshot.given.get(attribute)
    order = job.precedence.get(attribute)
    if order is None and given is not None:
        own = _own_of_each(given, rows, heads, number, parts)
        return [Offer(own, np.zeros(len(heads), dtype=bool))] + [
            _of_any_row(given[one.name], every, heads, users.index.isin(snapshot.unknown.get(attribute, ())))
            for one in job.enrich
            if one.name in given
        ]
    assert order is not None
    places = {part.name: position for position, part in enumerate(parts)}
    unknown = users.index.isin(snapshot.unknown.get(attribute, ()))
    offers = []
    for name in order:
        if name in rows:
            column = users[attribute] if given is None else given.get(name, users[attribute].where(number < 0))
            row = rows[name]
            lost = np.zeros(len(row), dtype=bool)
            if torn and parts[places[name]].incomplete:
                lost = (row < 0) & (places[name] > number[heads])
            if given is None:
                lost |= (row >= 0) & unknown[np.where(row < 0, 0, row)]
            offers.append(Offer(_taken(column, row), lost))
        elif given is not None and name in given:
            offers.append(_of_any_row(given[name], every, heads, unknown))
    return offers


def _own_of_each(
    given: pd.DataFrame, rows: Mapping[str, Rows], heads: Rows, number: Rows, parts: Sequence[SourcePart]
) -> pd.Series:
    """What the entry that counts gives itself."""
    own = pd.Series(np.nan, index=pd.RangeIndex(len(heads)), dtype="str")
    for position, part in enumerate(parts):
        if part.name in given:
            mine = number[heads] == position
            own = filled(own, mine, _taken(given[part.name], rows[part.name]))
    return own


def _taken(column: pd.Series, row: Rows) -> pd.Series:
    values = column.take(np.where(row < 0, 0, row)).reset_index(drop=True)
    return values.where(row >= 0)


def _of_any_row(column: pd.Series, every: Sequence[Rows], heads: Rows, unknown: Mask) -> Offer:
    """What a second source gives to any of the person's entries, and whether it may give something it does not show."""
    values, unclear = settled(
        [Offer(_taken(column, row), np.zeros(len(row), dtype=bool)) for row in every], pd.RangeIndex(len(heads))
    )
    for row in every:
        unclear |= (row >= 0) & unknown[np.where(row < 0, 0, row)]
    return Offer(values, unclear & values.isna().to_numpy(dtype=bool))


# --- keys ----------------------------------------------------------------------------------------------------------


def _pointing(frame: pd.DataFrame, column: str, aliases: "pd.Series[str]") -> pd.DataFrame:
    """A frame of keys with the key of the person instead of another one of theirs."""
    if not len(aliases):
        return frame
    keys = _replaced(frame[column], aliases)
    return frame.assign(**{column: keys}).drop_duplicates(ignore_index=True)


def _replaced(keys: "pd.Series[str]", aliases: "pd.Series[str]") -> "pd.Series[str]":
    found = find(texts(keys), texts(aliases.index))
    heads = pd.Series(pick(texts(aliases), found), index=keys.index, dtype="str")
    return heads.fillna(keys)


def _renamed(rules: EntryRules | None, frame: pd.DataFrame, aliases: "pd.Series[str]") -> pd.DataFrame:
    """The frame with references that point to the key of the person."""
    if rules is None or not len(aliases):
        return frame
    columns = {}
    other = {str(key): head for key, head in aliases.items()}
    for name in sorted(reference_attributes(rules) & set(frame.columns)):
        column = frame[name]
        if column.dtype == object:
            cells = [_each(cell, other) for cell in column.array]
            columns[name] = pd.Series(cells, index=column.index, dtype=object)
        else:
            columns[name] = _replaced(column.astype("str"), aliases)
    return frame.assign(**columns) if columns else frame


def _each(cell: object, other: Mapping[str, str]) -> object:
    if isinstance(cell, list):
        return list(dict.fromkeys(other.get(item, item) if isinstance(item, str) else item for item in cell))
    return other.get(cell, cell) if isinstance(cell, str) else cell
