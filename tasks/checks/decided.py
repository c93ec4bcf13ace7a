"""Puts a plan on the bench: what people have rejected is left out, what they have approved is marked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.checks.bench import LEAVING, Bench, Cells, Codes, History, Part, causes, cut, divided, flat, lay_out
from tasks.ledger import Item, Staged, StagedState
from tasks.mapping import Held, Mask
from tasks.plan import Block, Cause, Plan

_OPEN, _APPROVED, _REJECTED = range(3)
_LED = 3
"""Added to the code of a member whose own removal is in the plan."""


def in_force(staged: Iterable[Staged], state: StagedState, moment: datetime) -> list[Staged]:
    """Decisions of one kind that have not run out."""
    return [one for one in staged if one.state is state and (one.until is None or one.until > moment)]


@dataclass(slots=True)
class Decisions:
    """What people have decided, ready to be looked up; and what of it the plan still wants."""

    state: StagedState
    items: dict[Item, Staged]
    found: dict[Item, list[str]] = field(default_factory=dict)
    """What the plan wants of each item: attributes or members, nothing for a whole account."""

    @classmethod
    def of(cls, history: History, state: StagedState, moment: datetime) -> "Decisions":
        """Decisions that are in force at a moment."""
        items = in_force(history.staged, state, moment)
        return cls(state, {one.key: one for one in items})

    def anchors(self, kind: Kind, action: Action) -> list[str]:
        """Anchors decided about for one action."""
        return [key[2] for key in self.items if key[:2] == (kind, action)]

    def rows(self, block: Block) -> Mask:
        """Rows of a block that were decided about as a whole."""
        return block.table["anchor"].isin(self.anchors(block.kind, block.action)).to_numpy(dtype=bool)

    def cells(self, block: Block) -> Cells:
        """What was decided about of a block without members."""
        cells = lay_out(block)
        mine = self.rows(block)
        if cells.shape[1] == 1 and block.action is not Action.UPDATE:
            decided: Cells = mine[:, None]
        else:
            decided = np.zeros_like(cells)
            names = list(block.touched.columns) if block.touched is not None else []
            anchors = block.table["anchor"].tolist()
            for row in np.flatnonzero(mine).tolist():
                item = self.items[block.kind, block.action, anchors[row]]
                decided[row] = [name in item.attributes for name in names]
            decided &= cells
        self._note(block, decided)
        return decided

    def members(self, block: Block, ids: "np.ndarray[tuple[int], np.dtype[np.object_]]") -> Mask:
        """Members of a block's rows, in the order of ``ids``, whose removal was decided about."""
        decided = np.zeros(len(ids), dtype=bool)
        mine = self.rows(block)
        if not mine.any():
            return decided
        sizes = block.table["member_ids"].map(len).to_numpy()
        ends = np.cumsum(sizes)
        anchors = block.table["anchor"].tolist()
        for row in np.flatnonzero(mine).tolist():
            key = (block.kind, block.action, anchors[row])
            allowed = set(self.items[key].members)
            for at in range(ends[row] - sizes[row], ends[row]):
                if ids[at] in allowed:
                    decided[at] = True
                    self.found.setdefault(key, []).append(str(ids[at]))
        return decided

    def still_wanted(self) -> list[Staged]:
        """The items, without what the plan no longer wants."""
        kept = []
        for key, names in self.found.items():
            item = self.items[key]
            if item.action is Action.REMOVE_MEMBERS:
                item = replace(item, members=tuple(names))
            elif item.action is Action.UPDATE:
                item = replace(item, attributes=tuple(names))
            kept.append(item)
        return kept

    def _note(self, block: Block, decided: Cells) -> None:
        names = list(block.touched.columns) if block.touched is not None and block.action is Action.UPDATE else []
        anchors = block.table["anchor"].tolist()
        for row in np.flatnonzero(decided.any(axis=1)).tolist():
            key = (block.kind, block.action, anchors[row])
            chosen = [name for name, one in zip(names, decided[row], strict=True) if one] if names else []
            self.found.setdefault(key, []).extend(chosen)


def lay_on_bench(plan: Plan, history: History) -> tuple[Bench, list[Staged], list[Staged]]:
    """The plan on the bench; what is approved of it, and what is rejected. Without decisions the plan is as it was."""
    approved = Decisions.of(history, StagedState.APPROVED, plan.made_at)
    rejected = Decisions.of(history, StagedState.REJECTED, plan.made_at)
    leaving = [block for block in plan.blocks if block.action in LEAVING]
    spared = _ids(leaving, rejected)
    accounted = sum(_gone(block, approved) + _gone(block, rejected) for block in leaving)
    parts: list[Part] = []
    for block in plan.blocks:
        if block.action is Action.REMOVE_MEMBERS:
            parts += _members(block, approved, rejected, _all_ids(leaving), _ids(leaving, approved), spared)
        else:
            parts += _changes(block, approved, rejected)
    taken = rejected.still_wanted()
    if taken:
        held = [*plan.held, *(_held(item) for item in taken)]
        plan = replace(plan, blocks=[part.block for part in parts], held=held)
    return Bench(plan, history, parts, accounted=accounted), approved.still_wanted(), taken


def _changes(block: Block, approved: Decisions, rejected: Decisions) -> list[Part]:
    cells = lay_out(block)
    if not approved.items and not rejected.items:
        return [_part(block, cells, np.zeros_like(cells))]
    parts = []
    for left in cut(block, cells & ~rejected.cells(block), cells):
        mine = approved.cells(left)
        parts.append(_part(_signed(left, np.asarray(mine.any(axis=1)), approved), lay_out(left), mine))
    return parts


def _members(
    block: Block,
    approved: Decisions,
    rejected: Decisions,
    leaving: pd.Index,
    going: pd.Index,
    staying: pd.Index,
) -> list[Part]:
    """Rows cut by what was decided about their members, or about the members' own removal."""
    ids = flat(block, "member_ids")
    keys = pd.Index(ids)
    codes: Codes = np.full(len(ids), _OPEN, dtype=np.int64)
    leaves = causes(block, frozenset({Cause.MEMBER_LEAVES}))
    led = np.repeat(leaves, block.table["member_ids"].map(len).to_numpy(dtype=np.int64)) & keys.isin(leaving)
    codes[approved.members(block, ids) | (led & keys.isin(going))] = _APPROVED
    codes[rejected.members(block, ids) | (led & keys.isin(staying))] = _REJECTED
    codes[led] += _LED
    block, _, codes = divided(block, codes)
    keep = codes % _LED != _REJECTED
    if not keep.any():
        return []
    block, codes = (block, codes) if keep.all() else (block.take(keep), codes[keep])
    mine = codes % _LED == _APPROVED
    part = _part(_signed(block, mine, approved), np.ones((len(block), 1), dtype=bool), mine[:, None])
    part.led = codes >= _LED
    return [part]


def _gone(block: Block, decided: Decisions) -> int:
    """Users who are gone from the source and about whose removal was decided."""
    return int((decided.rows(block) & causes(block, frozenset({Cause.GONE}))).sum()) if block.kind is Kind.USER else 0


def _part(block: Block, wanted: Cells, approved: Cells) -> Part:
    return Part(block, wanted, approved, led=np.zeros(len(block), dtype=bool))


def _all_ids(leaving: Sequence[Block]) -> pd.Index:
    return pd.Index([str(id_) for block in leaving for id_ in block.table["target_id"]], dtype="str")


def _ids(leaving: Sequence[Block], decided: Decisions) -> pd.Index:
    """Target ids of accounts whose disabling or deleting was decided about."""
    found = [str(id_) for block in leaving for id_ in block.table["target_id"][decided.rows(block)]]
    return pd.Index(found, dtype="str")


def _signed(block: Block, mine: Mask, approved: Decisions) -> Block:
    """The block whose approved rows say in their reasons who approved them."""
    if not mine.any():
        return block
    reasons, anchors = block.table["reason"].tolist(), block.table["anchor"].tolist()
    for row in np.flatnonzero(mine).tolist():
        item = approved.items.get((block.kind, block.action, anchors[row]))
        if item is not None:
            reasons[row] = f"{reasons[row]}; {decision_text(item)}"
    return replace(block, table=block.table.assign(reason=pd.Series(reasons, dtype="str")))


def decision_text(item: Staged) -> str:
    """``rejected by eve on 2026-11-23: they are on parental leave``."""
    when = f" on {item.decided_at:%Y-%m-%d}" if item.decided_at is not None else ""
    return f"{item.state} by {item.who or 'somebody'}{when}{f': {item.why}' if item.why else ''}"


def _held(item: Staged) -> Held:
    match item.action:
        case Action.REMOVE_MEMBERS:
            what = f"removal of {len(item.members)} members "
        case Action.UPDATE:
            what = f"change of {', '.join(item.attributes)} "
        case _:
            what = f"{item.action} "
    reason = f"{what}{decision_text(item)}"
    return Held(item.kind, item.anchor, ErrorCode.NOT_PERMITTED, reason, label=item.label)
