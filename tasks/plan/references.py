"""References between entries: who must exist before whom, and which references have to wait. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.keys import Rows, find, pick, texts
from tasks.mapping import Held, Mask
from tasks.membership import is_among
from tasks.plan.blocks import Block, Wave
from tasks.plan.people import People

MAX_LEVELS = 12
"""Creates wait for the creates they refer to, this many levels deep; deeper references are set afterwards."""


def order_creates(creates: Block, reachable: pd.Index, notes: list[Held], *, people: People) -> list[Block]:
    """Creates in levels, so that an entry exists before others refer to it; then the references to set afterwards.

    ``reachable``: anchors of everybody who has an account, or gets one in this cycle. ``people``: how the others stand.

    A reference that closes a circle, or lies too deep, is set when everybody exists; so is a list of references with
    somebody who is created. A reference to somebody who has no account and gets none is left out, and noted.
    """
    assert creates.after is not None
    after = creates.after
    anchors = texts(creates.table["anchor"])
    parents: dict[str, Rows] = {}
    deferred: dict[str, Mask] = {}
    for path in sorted(creates.references & set(after.columns)):
        after = leave_out_unresolved(creates.kind, after, path, creates.table, reachable, notes, people)
        if after[path].dtype == object:
            deferred[path] = _names_one_of(after[path], anchors)
        else:
            parents[path] = find(texts(after[path]), anchors)
    creates = replace(creates, after=after)
    if creates.kind is not Kind.USER or not len(creates):
        return [creates]
    level = np.zeros(len(creates), dtype=np.int64)
    if any((parent >= 0).any() for parent in parents.values()):
        level, waiting = levels(list(parents.values()))
        deferred |= dict.fromkeys(parents, waiting)
    deferred = {path: mask for path, mask in deferred.items() if mask.any()}
    late = _late_references(creates, deferred)
    if deferred:
        creates = replace(creates, after=_masked(after, deferred), desired=_masked(creates.desired, deferred))
    ordered = [replace(creates.take(level == depth), level=depth) for depth in range(int(level.max()) + 1)]
    return [*ordered, *late]


def _masked(frame: pd.DataFrame | None, deferred: Mapping[str, Mask]) -> pd.DataFrame | None:
    """A frame without the references that are set later: its fingerprint says what was written so far."""
    if frame is None:
        return None
    return frame.assign(**{path: frame[path].mask(mask) for path, mask in deferred.items()})


def openings(parents: Sequence[Rows]) -> Mask:
    """One entry of every circle, where it is opened; all of it where entries have several references."""
    on_circles = _on_circles(parents)
    return _one_of_each_circle(on_circles, parents[0]) if len(parents) == 1 else on_circles


def levels(parents: Sequence[Rows], *, deepest: int = MAX_LEVELS) -> tuple[Rows, Mask]:
    """How many others must exist before each entry, at least; and whose references must be set afterwards.

    ``parents``: per reference attribute, the position of the referred entry, -1 for none. Deferred, at level 0, are
    entries more than ``deepest`` deep, and the openings of circles.
    """
    count = len(parents[0])
    level = np.zeros(count, dtype=np.int64)
    deferred = openings(parents)
    live = [np.where(deferred, -1, parent) for parent in parents]
    for _ in range(deepest + 1):
        deeper = level.copy()
        for parent in live:
            has = parent >= 0
            deeper[has] = np.maximum(deeper[has], level[parent[has]] + 1)
        if (deeper == level).all():
            break
        level = deeper
    too_deep = level >= deepest
    level[too_deep] = 0
    return level, deferred | too_deep


def _on_circles(parents: Sequence[Rows]) -> Mask:
    """Entries from which following references never ends and that are themselves referred to by such a path."""
    count = len(parents[0])
    alive = np.ones(count, dtype=bool)
    while True:  # from the top: an entry that refers only to settled entries is settled
        waiting = np.zeros(count, dtype=bool)
        for parent in parents:
            has = parent >= 0
            waiting[has] |= alive[parent[has]]
        settled = alive & ~waiting
        if not settled.any():
            break
        alive &= ~settled
    while alive.any():  # from the bottom: entries below a circle, but not on it
        referred = np.zeros(count, dtype=bool)
        for parent in parents:
            has = (parent >= 0) & alive
            referred[parent[has]] = True
        below = alive & ~referred
        if not below.any():
            break
        alive &= ~below
    return alive


def _one_of_each_circle(on_circles: Mask, parent: Rows) -> Mask:
    """The first entry of every circle: without its reference the others can be created one after the other.

    With one reference each, an entry on a circle refers to the next one on it; hops double until the lowest position
    has gone all the way round.
    """
    rows = np.flatnonzero(on_circles)
    lowest, hop = np.arange(len(parent)), parent.copy()
    for _ in range(len(rows).bit_length()):
        lowest[rows] = np.minimum(lowest[rows], lowest[hop[rows]])
        hop[rows] = hop[hop[rows]]
    first: Mask = on_circles & (lowest == np.arange(len(parent)))
    return first


def _late_references(creates: Block, deferred: Mapping[str, Mask]) -> list[Block]:
    """References to set when everybody exists: per path, of which creates."""
    if not deferred or creates.after is None:
        return []
    late = np.logical_or.reduce(list(deferred.values()))
    after = pd.DataFrame({path: creates.after[path].where(mask) for path, mask in sorted(deferred.items())})
    after = after.loc[late].reset_index(drop=True)
    table = creates.table.loc[late].reset_index(drop=True)
    nothing = pd.Series(np.nan, index=after.index, dtype="str")
    block = Block(
        wave=Wave.SET_REFERENCES,
        kind=creates.kind,
        action=Action.UPDATE,
        table=table.assign(reason="refers to an entry that is created in this cycle"),
        after=after,
        before=pd.DataFrame(dict.fromkeys(after.columns, nothing)),
        touched=after.notna(),
        desired=None if creates.desired is None else creates.desired.loc[late].reset_index(drop=True),
        rules=creates.rules,
        references=frozenset(after.columns),
        redacted=creates.redacted,
    )
    return [block.take(after.notna().any(axis=1).to_numpy())]


def leave_out_unresolved(
    kind: Kind,
    frame: pd.DataFrame,
    path: str,
    table: pd.DataFrame,
    reachable: pd.Index,
    notes: list[Held],
    people: People,
) -> pd.DataFrame:
    """The frame without references to entries that cannot be referred to now; each one is noted."""
    referred = frame[path]
    if referred.dtype == object:
        return frame.assign(**{path: _without_unresolved(kind, referred, path, table, reachable, notes, people)})
    missing = referred.notna().to_numpy() & ~is_among(referred, texts(reachable))
    if not missing.any():
        return frame
    for position in np.flatnonzero(missing):
        anchor = str(table["anchor"].iloc[position])
        reason = people.reference_left_out(path, [str(referred.iloc[position])])
        label = str(table["label"].iloc[position])
        notes.append(Held(kind, anchor, ErrorCode.UNRESOLVED_REFERENCE, reason, label=label))
    return frame.assign(**{path: referred.mask(missing)})


# --- several references of one entry -------------------------------------------------------------------------------

_UNOWNED = "account "


def as_anchors(ids: "pd.Series[str]", owners: "pd.Series[str]") -> "pd.Series[str]":
    """Target ids as the anchors that own them (``owners``: index id, value anchor); index as ``ids``.

    An account that nobody owns differs from every anchor: it is named as such, see :func:`unowned_id`.
    """
    found = find(texts(ids), texts(owners.index))
    mapped = pd.Series(pick(texts(owners), found), index=ids.index, dtype="str")
    unknown = mapped.isna() & ids.notna()
    if unknown.any():
        mapped[unknown] = _UNOWNED + ids[unknown].astype("str")
    return mapped


def unowned_id(name: str) -> str | None:
    """The target id of an account that nobody owns, as it is named among anchors; None for an anchor."""
    return name.removeprefix(_UNOWNED) if name.startswith(_UNOWNED) else None


def lists_of_anchors(ids: pd.Series, owners: "pd.Series[str]") -> pd.Series:
    """As :func:`as_anchors`, for cells with several ids, as texts or as elements with a ``value``."""
    rows, flat = _flat(ids)
    return _lists(rows, as_anchors(flat, owners).tolist(), ids.index)


def with_unowned(wanted: pd.Series, held_now: pd.Series, *, of: pd.Series) -> pd.Series:
    """Lists of anchors from which something was left out (``of``: before that) with the accounts that nobody owns.

    One of these may belong to an entry that was left out: somebody held for a moment is no reason to take a reference
    away.
    """
    cells = wanted.tolist()
    for row, (now, before) in enumerate(zip(wanted.array, of.array, strict=True)):
        if now is not None and len(now) < len(before):
            cells[row] = [*now, *(name for name in held_now.iloc[row] or () if unowned_id(name) is not None)]
    return pd.Series(cells, index=wanted.index, dtype=object)


def as_lists(anchors: pd.Series) -> pd.Series:
    """Anchors as lists of anchors, None for none."""
    rows, flat = _flat(anchors)
    return _lists(rows, flat.tolist(), anchors.index)


def _flat(cells: pd.Series) -> tuple[Rows, "pd.Series[str]"]:
    """Every single text of the cells and the position of its cell."""
    values = [
        (row, item.get("value") if isinstance(item, Mapping) else item)
        for row, cell in enumerate(cells.array)
        for item in (cell if isinstance(cell, list | tuple) else [cell])
    ]
    kept = [(row, str(item)) for row, item in values if item is not None and item is not pd.NA and item == item]
    rows = np.array([row for row, _ in kept], dtype=np.int64)
    return rows, pd.Series([text for _, text in kept], dtype="str")


def _lists(rows: Rows, flat: Sequence[str], index: pd.Index) -> pd.Series:
    """The inverse of :func:`_flat`; None where a cell has nothing."""
    cells: list[Any] = [None] * len(index)
    for row, text in zip(rows.tolist(), flat, strict=True):
        cells[row] = [*(cells[row] or ()), text]
    return pd.Series(cells, index=index, dtype=object)


def _names_one_of(cells: pd.Series, anchors: pa.Array) -> Mask:
    """Cells that hold at least one of the anchors."""
    rows, flat = _flat(cells)
    named = np.zeros(len(cells), dtype=bool)
    named[rows[is_among(flat, anchors)]] = True
    return named


def _without_unresolved(
    kind: Kind,
    referred: pd.Series,
    path: str,
    table: pd.DataFrame,
    reachable: pd.Index,
    notes: list[Held],
    people: People,
) -> pd.Series:
    rows, flat = _flat(referred)
    there = is_among(flat, texts(reachable))
    missing = _lists(rows[~there], flat[~there].tolist(), referred.index)
    for position in np.flatnonzero(missing.notna()):
        reason = people.reference_left_out(path, missing.iloc[position])
        anchor, label = str(table["anchor"].iloc[position]), str(table["label"].iloc[position])
        notes.append(Held(kind, anchor, ErrorCode.UNRESOLVED_REFERENCE, reason, label=label))
    return _lists(rows[there], flat[there].tolist(), referred.index)
