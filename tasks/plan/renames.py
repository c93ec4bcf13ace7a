"""Values that only one entry can have and that go from one to another: who gives one up comes first. Pure.

A is renamed to what B was called until now, and B to something else: the target takes that in one order only. Where the
circle closes (A and B swap), one of them needs a name for the time between, which the job has to allow.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Action
from connectors.errors import ErrorCode
from tasks.keys import Rows, find, texts
from tasks.mapping import Held, Mask
from tasks.plan.blocks import Block, Situation, Wave
from tasks.plan.references import levels, openings

DEEPEST = 900
"""Renames that wait for each other in a row; longer chains need another cycle."""
EARLY = 1000
"""Levels by which what makes room for a create comes before it."""


@dataclass(frozen=True, slots=True)
class _Moves:
    """Updates and creates as one list of rows: the positions of one block follow those of the one before."""

    blocks: Sequence[Block]
    starts: tuple[int, ...]
    count: int
    creating: Mask
    """Rows that are creates."""

    @classmethod
    def of(cls, blocks: Sequence[Block]) -> "_Moves":
        sizes = [len(block) for block in blocks]
        starts = tuple(int(start) for start in np.cumsum([0, *sizes])[:-1])
        creating = np.repeat([block.action is Action.CREATE for block in blocks], sizes)
        return cls(blocks, starts, sum(sizes), creating)

    def parents(self, path: str, *, exact: bool) -> Rows:
        """For each row the row that has now the value at a path which it wants, and gives it up; -1 for none."""
        wanted, given_up = (self._column(path, exact=exact, now=now) for now in (False, True))
        kept = pc.fill_null(pc.equal(wanted, given_up), False)  # the same value in other letters frees nothing
        given_up = pc.if_else(kept, pa.scalar(None, given_up.type), given_up)
        parents = find(wanted, given_up)
        parents[parents == np.arange(self.count)] = -1
        return parents

    def _column(self, path: str, *, exact: bool, now: bool) -> pa.Array:
        parts = []
        for block in self.blocks:
            frame = block.before if now else block.after
            if frame is None or path not in frame or frame[path].dtype == object:
                parts.append(pd.Series([None] * len(block), dtype="str"))
                continue
            column = frame[path].astype("str")
            parts.append(column.where(block.touched[path]) if block.touched is not None else column)
        values = texts(pd.concat(parts, ignore_index=True))
        return values if exact else pc.utf8_lower(values)

    def rows(self, number: int) -> slice:
        """Where the rows of one block are."""
        return slice(self.starts[number], self.starts[number] + len(self.blocks[number]))


def order_renames(s: Situation, blocks: list[Block], notes: list[Held], held: list[Held]) -> list[Block]:
    """The blocks, those that give up a value before those that take it; without creates that wait in vain.

    What a create waits for comes before all creates, without its references: who is created cannot be referred to yet.
    """
    moving = [at for at, block in enumerate(blocks) if block.action in _MOVING and block.wave in _WAVES and len(block)]
    moves = _Moves.of([blocks[at] for at in moving])
    parents = [moves.parents(path, exact=path in s.exact) for path in sorted(s.unique)] if moves.count else []
    parents = [one for one in parents if (one >= 0).any()]
    if s.matches.waiting and (left := _in_vain(s, moves, parents, held)).any():
        kept = {at: blocks[at].take(~left[moves.rows(number)]) for number, at in enumerate(moving)}
        return order_renames(s, [kept.get(at, block) for at, block in enumerate(blocks)], notes, [])
    if not parents:
        return blocks
    circular = openings(parents)
    level, _ = levels(parents, deepest=DEEPEST)
    if s.rules.actions.swap:
        level[circular] = level.max() + 1  # it has given up its name before all others, and gets the new one last
    early = _waited_for(parents, moves.creating)
    found: list[Block] = []
    for number, at in enumerate(moving):
        block, mine = blocks[at], moves.rows(number)
        depth, first, swapped = level[mine], early[mine], circular[mine]
        if block.action is Action.CREATE:
            found.append(block)
            continue
        found += _by_level(block, np.where(first, depth - EARLY, depth), first)
        if swapped.any():
            found += _steps_between(s, block.take(swapped), notes)
    return [*found, *(block for at, block in enumerate(blocks) if at not in moving)]


def _in_vain(s: Situation, moves: _Moves, parents: Sequence[Rows], held: list[Held]) -> Mask:
    """Creates whose name another entry was to give up, and does not: its change is not written."""
    left = np.zeros(moves.count, dtype=bool)
    for number, block in enumerate(moves.blocks):
        if block.action is not Action.CREATE:
            continue
        start = moves.starts[number]
        for row, (anchor, label) in enumerate(zip(block.table["anchor"], block.table["label"], strict=True)):
            owner = s.matches.waiting.get(str(anchor))
            if owner is None or any(parent[start + row] >= 0 for parent in parents):
                continue
            left[start + row] = True
            why = f"The account that matches belongs to the source entry {owner}, which is still there."
            code = ErrorCode.DUPLICATE_SOURCE_ENTRIES
            held.append(Held(s.desired.kind, str(anchor), code, why, label=str(label)))
    return left


_MOVING = frozenset({Action.CREATE, Action.UPDATE, Action.ENABLE})
_WAVES = frozenset({Wave.CREATE_USERS, Wave.UPDATE_USERS, Wave.GROUPS})


def _waited_for(parents: Sequence[Rows], creating: Mask) -> Mask:
    """Rows that a create waits for, at once or through others."""
    waited = np.zeros(len(creating), dtype=bool)
    waiting = creating.copy()
    while waiting.any():
        found = np.zeros(len(creating), dtype=bool)
        for parent in parents:
            has = waiting & (parent >= 0)
            found[parent[has]] = True
        waiting = found & ~waited & ~creating
        waited |= waiting
    return waited


def _by_level(block: Block, depth: Rows, early: Mask) -> list[Block]:
    """One block for each level; what comes early leaves its references for later."""
    found = []
    for level in np.unique(depth).tolist():
        chosen: Mask = depth == level
        part = replace(block.take(chosen), level=int(level))
        if not early[chosen].any():
            found.append(part)
            continue
        wave = Wave.CREATE_USERS if part.wave is Wave.UPDATE_USERS else part.wave
        found += [replace(one, wave=wave) if one.level < 0 else one for one in _without_references(part)]
    return found


def _without_references(block: Block) -> list[Block]:
    """The block in two where it touches references: these by themselves, in their usual place."""
    assert block.touched is not None
    referring = sorted(path for path in block.references & set(block.touched.columns) if block.touched[path].any())
    if not referring:
        return [block]
    others = [path for path in block.touched.columns if path not in referring]
    rest = replace(_only(block, referring), level=0)
    referred: Mask = np.logical_or.reduce([block.touched[path].to_numpy(dtype=bool) for path in referring])
    return [_only(block, others), rest.take(referred)]


def _only(block: Block, paths: list[str]) -> Block:
    """The part of a block that writes some of its attributes."""
    assert block.after is not None
    assert block.before is not None
    assert block.touched is not None
    others = frozenset(block.touched.columns) - frozenset(paths)
    return replace(
        block,
        after=block.after[paths],
        before=block.before[paths],
        touched=block.touched[paths],
        references=block.references & frozenset(paths),
        withheld=block.withheld | others,
    )


def _steps_between(s: Situation, swapped: Block, notes: list[Held]) -> list[Block]:
    """For one entry of every circle, a name for the time between; where the job does not allow it, that is said."""
    assert swapped.after is not None
    assert swapped.touched is not None
    paths = [path for path in sorted(s.unique) if path in swapped.touched and swapped.touched[path].any()]
    if s.rules.actions.swap:
        step = _only(swapped, paths)
        assert step.after is not None
        between = {path: _between(step.after[path], step.table["anchor"]) for path in paths}
        table = step.table.assign(reason="a name for the time between: entries swap theirs")
        whole = frozenset(s.desired.frame.columns)
        first = swapped.level - 2 * EARLY
        return [replace(step, after=step.after.assign(**between), table=table, withheld=whole, level=first)]
    for anchor, label in zip(swapped.table["anchor"], swapped.table["label"], strict=True):
        why = (
            f"Its new {' and '.join(paths)} belongs to an entry that waits for this one to give up its own. The target "
            f"may refuse that. Set actions: {{swap: true}} for {s.desired.kind}s to give one of them another name for "
            "the time between."
        )
        notes.append(Held(s.desired.kind, str(anchor), ErrorCode.CONFLICT, why, label=str(label)))
    return []


def _between(values: pd.Series, anchors: "pd.Series[str]") -> pd.Series:
    """Values that nobody else has: those that are to be, with the anchor before them."""
    plain = anchors.str.replace(r"[^A-Za-z0-9]", "", regex=True)
    return ("swap-" + plain + "-" + values.astype("str")).astype("str")
