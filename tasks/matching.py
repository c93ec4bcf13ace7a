"""Finds for every desired entry the account it owns in the target. Pure.

A linked entry keeps its account whatever its attributes say. Anyone else is looked up by the matching rules in order of
precedence, stopping at the first rule that finds something. Two candidates mean that nobody is touched.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.errors import ErrorCode
from tasks.job import MatchingRule
from tasks.mapping import Desired, Held

Rows = npt.NDArray[np.int64]
LINKED = "linked"


@dataclass(slots=True)
class Matches:
    """Which account belongs to whom. Rows are positions in ``desired.frame`` and in the target's frame."""

    row: Rows
    """Per desired entry: row of its account in the target's frame, -1 where it has none."""
    how: npt.NDArray[np.object_]
    """Per desired entry: ``linked``, ``matched by <attribute>``, or None."""
    vanished: npt.NDArray[np.bool_]
    """Desired entries whose linked account is no longer in the target."""
    held: list[Held] = field(default_factory=list)
    """Entries that must not be touched: two candidates, or one account claimed twice."""
    blocked: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Desired entries that are in ``held``."""
    released: list[str] = field(default_factory=list)
    """Anchors no longer in the source whose linked account is taken over by a new anchor that matches it."""


def match_entries(
    rules: tuple[MatchingRule, ...],
    desired: Desired,
    existing: pd.DataFrame,
    links: pd.DataFrame,
    *,
    present: pd.Index,
    exact: frozenset[str],
) -> Matches:
    """The account of every desired entry.

    ``existing``: the target's complete frame, index is the target id. ``links``: index is the anchor, column
    ``target_id``. ``present``: anchors of everybody the source has. ``exact``: target paths compared with case.
    """
    count = len(desired.frame)
    anchors, ids = _arrow(desired.frame.index), _arrow(existing.index)
    link_anchors, link_ids = _arrow(links.index), _arrow(links["target_id"])

    own_link = _find(anchors, link_anchors)
    linked = own_link >= 0
    row = np.full(count, -1, dtype=np.int64)
    row_of_link = _find(link_ids, ids)
    row[linked] = row_of_link[own_link[linked]]
    how = np.full(count, None, dtype=object)
    how[row >= 0] = LINKED
    matches = Matches(row=row, how=how, vanished=linked & (row < 0), blocked=np.zeros(count, dtype=bool))

    link_of_row = _find(ids, link_ids)
    owner_present = np.asarray(links.index.isin(present))
    for number, (rule, keys) in enumerate(zip(rules, desired.keys, strict=True)):
        if rule.target in existing:
            first = number == 0
            _match_by(rule, keys, first, matches, desired, existing, links, link_of_row, owner_present, exact)
    _refuse_doubles(matches, desired, existing)
    matches.held.sort(key=lambda entry: entry.anchor)
    matches.released.sort()
    return matches


def _match_by(
    rule: MatchingRule,
    keys: "pd.Series[str]",
    first: bool,
    matches: Matches,
    desired: Desired,
    existing: pd.DataFrame,
    links: pd.DataFrame,
    link_of_row: Rows,
    owner_present: npt.NDArray[np.bool_],
    exact: frozenset[str],
) -> None:
    """One rule, for the entries that have no account yet.

    Entries that share a value of the first rule are refused even when no account has it yet: it names the account that
    would be created. Sharing a value of a later rule (a common mailbox) matters only where it leads to an account.
    """
    open_rows = np.flatnonzero((matches.row < 0) & ~matches.blocked & keys.notna().to_numpy())
    if not len(open_rows):
        return
    wanted = _key(_arrow(keys).take(pa.array(open_rows)), rule.target, exact)
    offered = _key(_arrow(existing[rule.target]), rule.target, exact)

    def hold(position: int, code: ErrorCode, reason: str) -> None:
        at = int(open_rows[position])
        matches.blocked[at] = True
        anchor = str(desired.frame.index[at])
        matches.held.append(Held(desired.kind, anchor, code, reason, label=str(desired.labels.iloc[at])))

    first_same = _find(wanted, wanted)
    shared = np.bincount(first_same, minlength=len(wanted))[first_same] > 1
    claimants = _find(offered, wanted)
    candidates = np.bincount(claimants[claimants >= 0], minlength=len(wanted))[first_same]
    found = _find(wanted, offered)
    shared &= (candidates > 0) | first

    for position in np.flatnonzero(shared):
        reason = f"Several entries of the source have the same value for {rule.target}, by which accounts are matched."
        hold(int(position), ErrorCode.DUPLICATE_SOURCE_ENTRIES, reason)
    for position in np.flatnonzero((candidates > 1) & ~shared):
        reason = f"{candidates[position]} accounts of the target match by {rule.target}; none of them is touched."
        hold(int(position), ErrorCode.DUPLICATE_TARGET_ENTRIES, reason)

    single = (candidates == 1) & ~shared
    owner = np.full(len(open_rows), -1, dtype=np.int64)
    owner[single] = link_of_row[found[single]]
    for position in np.flatnonzero(owner >= 0):
        link = int(owner[position])
        if owner_present[link]:
            reason = (
                f"The account that matches by {rule.target} belongs to the source entry {links.index[link]}, "
                "which is still there."
            )
            hold(int(position), ErrorCode.DUPLICATE_SOURCE_ENTRIES, reason)
        else:
            matches.released.append(str(links.index[link]))
    adopted = single & ~matches.blocked[open_rows]
    matches.row[open_rows[adopted]] = found[adopted]
    matches.how[open_rows[adopted]] = f"matched by {rule.target}"


def _refuse_doubles(matches: Matches, desired: Desired, existing: pd.DataFrame) -> None:
    """Two entries that reached one account by different rules: neither gets it by matching."""
    holders = np.flatnonzero(matches.row >= 0)
    claims = np.bincount(matches.row[holders], minlength=len(existing))
    for position in holders[claims[matches.row[holders]] > 1]:
        if matches.how[position] == LINKED:
            continue
        matches.blocked[position] = True
        matches.row[position] = -1
        matches.how[position] = None
        reason = "Another entry of the source matches the same account of the target; it is not touched."
        anchor, label = str(desired.frame.index[position]), str(desired.labels.iloc[position])
        matches.held.append(Held(desired.kind, anchor, ErrorCode.DUPLICATE_SOURCE_ENTRIES, reason, label=label))


def _find(values: pa.Array, among: pa.Array) -> Rows:
    """Position of each value in ``among`` (the first one), -1 where absent; null finds nothing."""
    positions = pc.index_in(values, value_set=among, skip_nulls=True)
    return np.asarray(pc.fill_null(positions, -1), dtype=np.int64)


def _arrow(values: "pd.Series[str] | pd.Index") -> pa.Array:
    array = pa.array(values.array, type=pa.large_string(), from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _key(values: pa.Array, path: str, exact: frozenset[str]) -> pa.Array:
    return values if path in exact else pc.utf8_lower(values)
