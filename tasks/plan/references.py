"""References between entries: who must exist before whom, and which references have to wait. Pure."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.keys import Rows, find, texts
from tasks.mapping import Held, Mask
from tasks.plan.blocks import Block, Wave
from tasks.scope import is_among

MAX_LEVELS = 12
"""Creates wait for the creates they refer to, this many levels deep; deeper references are set afterwards."""


def order_creates(creates: Block, reachable: pd.Index, notes: list[Held]) -> list[Block]:
    """Creates in levels, so that whoever is referred to exists first; then the references to set afterwards.

    ``reachable``: anchors of everybody who has an account, or gets one in this cycle.

    A reference that closes a circle, or lies too deep, is set when everybody exists. A reference to somebody who has
    no account and gets none is left out, and noted.
    """
    assert creates.after is not None
    after = creates.after
    paths = sorted(creates.references & set(after.columns))
    anchors = texts(creates.table["anchor"])
    parents: list[Rows] = []
    for path in paths:
        after = leave_out_unresolved(creates.kind, after, path, creates.table, reachable, notes)
        parents.append(find(texts(after[path]), anchors))
    creates = replace(creates, after=after)
    if creates.kind is not Kind.USER or not any((parent >= 0).any() for parent in parents):
        return [creates]
    level, deferred = levels(parents)
    late = _late_references(creates, deferred, paths)
    if deferred.any():
        creates = replace(creates, after=after.assign(**{path: after[path].mask(deferred) for path in paths}))
    ordered = [replace(creates.take(level == depth), level=depth) for depth in range(int(level.max()) + 1)]
    return [*ordered, *late]


def levels(parents: Sequence[Rows]) -> tuple[Rows, Mask]:
    """How many others must exist before each entry, at least; and whose references must be set afterwards.

    ``parents``: per reference attribute, the position of the referred entry, -1 for none. Deferred, at level 0, are
    entries more than ``MAX_LEVELS`` deep, and one of every circle (all of it where entries have several references).
    """
    count = len(parents[0])
    level = np.zeros(count, dtype=np.int64)
    deferred = _on_circles(parents)
    if len(parents) == 1:
        deferred = _one_of_each_circle(deferred, parents[0])
    live = [np.where(deferred, -1, parent) for parent in parents]
    for _ in range(MAX_LEVELS + 1):
        deeper = level.copy()
        for parent in live:
            has = parent >= 0
            deeper[has] = np.maximum(deeper[has], level[parent[has]] + 1)
        if (deeper == level).all():
            break
        level = deeper
    too_deep = level >= MAX_LEVELS
    level[too_deep] = 0
    return level, deferred | too_deep


def _on_circles(parents: Sequence[Rows]) -> Mask:
    """Entries from which following references never ends and that are themselves referred to by such a path."""
    count = len(parents[0])
    alive = np.ones(count, dtype=bool)
    while True:  # from the top: whoever refers only to entries that are settled is settled
        waiting = np.zeros(count, dtype=bool)
        for parent in parents:
            has = parent >= 0
            waiting[has] |= alive[parent[has]]
        settled = alive & ~waiting
        if not settled.any():
            break
        alive &= ~settled
    while alive.any():  # from the bottom: whoever is below a circle, but not on it
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

    With one reference each, whoever is on a circle refers to the next one on it; hops double until the lowest position
    has gone all the way round.
    """
    rows = np.flatnonzero(on_circles)
    lowest, hop = np.arange(len(parent)), parent.copy()
    for _ in range(len(rows).bit_length()):
        lowest[rows] = np.minimum(lowest[rows], lowest[hop[rows]])
        hop[rows] = hop[hop[rows]]
    first: Mask = on_circles & (lowest == np.arange(len(parent)))
    return first


def _late_references(creates: Block, deferred: Mask, paths: list[str]) -> list[Block]:
    if not deferred.any() or creates.after is None:
        return []
    after = creates.after.loc[deferred, paths].reset_index(drop=True)
    table = creates.table.loc[deferred].reset_index(drop=True)
    nothing = pd.Series(np.nan, index=after.index, dtype="str")
    late = Block(
        wave=Wave.SET_REFERENCES,
        kind=creates.kind,
        action=Action.UPDATE,
        table=table.assign(reason="refers to an entry that is created in this cycle"),
        after=after,
        before=pd.DataFrame(dict.fromkeys(paths, nothing)),
        touched=after.notna(),
        desired=None if creates.desired is None else creates.desired.loc[deferred].reset_index(drop=True),
        references=frozenset(paths),
        redacted=creates.redacted,
    )
    return [late.take(after.notna().any(axis=1).to_numpy())]


def leave_out_unresolved(
    kind: Kind, frame: pd.DataFrame, path: str, table: pd.DataFrame, reachable: pd.Index, notes: list[Held]
) -> pd.DataFrame:
    """The frame without references to entries that have no account and get none; each one is noted."""
    referred = frame[path]
    missing = referred.notna().to_numpy() & ~is_among(referred, texts(reachable))
    if not missing.any():
        return frame
    for position in np.flatnonzero(missing):
        anchor = str(table["anchor"].iloc[position])
        reason = f"{path} refers to {referred.iloc[position]}, who has no account in the target; left out until then."
        label = str(table["label"].iloc[position])
        notes.append(Held(kind, anchor, ErrorCode.UNRESOLVED_REFERENCE, reason, label=label))
    return frame.assign(**{path: referred.mask(missing)})
