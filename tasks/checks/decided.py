"""Puts a plan on the bench: what people have rejected is left out, what they have approved is marked."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd

from connectors.contract import REMOVALS, Action, Kind
from connectors.errors import ErrorCode
from tasks.checks.bench import (
    AND_BECAUSE,
    LEAVING,
    Bench,
    Cells,
    Codes,
    Guard,
    History,
    Part,
    all_causes,
    causes,
    cut,
    divided,
    flat,
    in_cells,
    lay_out,
)
from tasks.checks.digests import digests_of, same
from tasks.ledger import Item, Staged, StagedState, is_undecided
from tasks.mapping import Held, Mask
from tasks.plan import Block, Cause, Plan

_OPEN, _APPROVED, _REJECTED, _WAITING = range(4)
_LED = 4
"""Added to the code of a member whose own removal is in the plan."""

_DOUBT_ALONE = frozenset({Guard.COMPLETE_SOURCE.value})
"""What only an incomplete source has held is decided anew by a complete one: no person could let it go."""


def in_force(staged: Iterable[Staged], state: StagedState, moment: datetime) -> list[Staged]:
    """Decisions of one kind that have not run out."""
    return [one for one in staged if one.state is state and not has_run_out(one, moment)]


def has_run_out(one: Staged, moment: datetime) -> bool:
    """True for a decision that counted until a moment that is over."""
    return one.state in (StagedState.APPROVED, StagedState.REJECTED) and one.until is not None and one.until <= moment


def undecided_again(one: Staged) -> Staged:
    """A held change as if nobody had decided about it."""
    return replace(one, state=StagedState.STAGED, who=None, identity=None, why=None, until=None, decided_at=None)


def undecided_of(staged: Iterable[Staged], moment: datetime) -> list[Staged]:
    """What is held and nobody has decided about for now; of one entry and action everything together."""
    found: dict[Item, Staged] = {}
    for one in staged:
        if not is_undecided(one, moment):
            continue
        other = found.get(one.key)
        if other is not None and other.target_id == one.target_id:
            members = tuple(dict.fromkeys((*other.members, *one.members)))
            attributes = tuple(dict.fromkeys((*other.attributes, *one.attributes)))
            guards = tuple(dict.fromkeys((*other.guards, *one.guards)))
            since, cause = min(other.since, one.since), all_causes((other, one))
            one = replace(one, members=members, attributes=attributes, guards=guards, since=since, cause=cause)
        found[one.key] = undecided_again(one)
    return list(found.values())


@dataclass(slots=True)
class Decisions:
    """What people have decided, or have still to decide, ready to be looked up; and what of it the plan still wants."""

    items: dict[Item, Staged]
    secret: bytes = b""
    exact: bool = True
    """Whether only the very values, for the very cause, count: what was decided about. What waits goes by its name."""
    found: dict[Item, list[str]] = field(default_factory=dict)
    """What the plan wants of each item: attributes or members, nothing for a whole account."""

    @classmethod
    def of(cls, history: History, state: StagedState, moment: datetime) -> "Decisions":
        """Decisions that are in force at a moment."""
        items = in_force(history.staged, state, moment)
        return cls({one.key: one for one in items}, history.secret)

    @classmethod
    def still_waiting(cls, history: History, moment: datetime) -> "Decisions":
        """What was held before and nobody has decided about, but for what only an incomplete source has held."""
        items = [
            one for one in undecided_of(history.staged, moment) if not one.guards or set(one.guards) - _DOUBT_ALONE
        ]
        return cls({one.key: one for one in items}, exact=False)

    def item(self, block: Block, row: int) -> Staged | None:
        """What was decided about a row of a block; None where it is about another account, or for another cause."""
        table = block.table
        item = self.items.get((block.kind, block.action, str(table["anchor"].iloc[row])))
        if item is None or item.target_id != table["target_id"].iloc[row]:
            return None
        if not self.exact or block.action not in REMOVALS:
            return item
        return item if table["cause"].iloc[row] in (item.cause or "").split(AND_BECAUSE) else None

    def rows(self, block: Block) -> Mask:
        """Rows of a block that were decided about as a whole."""
        decided = np.zeros(len(block), dtype=bool)
        anchors = [key[2] for key in self.items if key[:2] == (block.kind, block.action)]
        for row in np.flatnonzero(block.table["anchor"].isin(anchors).to_numpy(dtype=bool)).tolist():
            decided[row] = self.item(block, row) is not None
        return decided

    def names(self, block: Block, row: int, item: Staged) -> list[str]:
        """Attributes of a row that were decided about, with the values that they would get now."""
        known = dict(item.digests)
        asked = [*(item.attributes or known)]
        if not self.exact or block.touched is None:
            return asked
        present = [path for path in asked if path in block.touched.columns]
        now = digests_of(block, row, present, self.secret)
        return [path for path in present if same(known.get(path), now[path])]

    def cells(self, block: Block) -> Cells:
        """What was decided about of a block without members."""
        cells = lay_out(block)
        mine = self.rows(block)
        if block.action is not Action.UPDATE:
            decided: Cells = mine[:, None]
        elif not in_cells(block):
            return np.zeros_like(cells)  # references of accounts that are only just created: no guard judges them
        else:
            decided = np.zeros_like(cells)
            columns = list(block.touched.columns) if block.touched is not None else []
            for row in np.flatnonzero(mine).tolist():
                item = self.item(block, row)
                assert item is not None
                names = set(self.names(block, row, item))
                decided[row] = [column in names for column in columns]
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


def lay_on_bench(
    plan: Plan, history: History, *, spared: pd.Index, own: str | None = None
) -> tuple[Bench, list[Staged], list[Staged]]:
    """The plan on the bench; what is approved of it, and what is rejected. Without decisions the plan is as it was.

    ``spared``: target ids of protected accounts, which would have left; ``own``: id of the account that Provisor signs
    in with.
    """
    approved = Decisions.of(history, StagedState.APPROVED, plan.made_at)
    rejected = Decisions.of(history, StagedState.REJECTED, plan.made_at)
    waiting = Decisions.still_waiting(history, plan.made_at)
    leaving = [block for block in plan.blocks if block.action in LEAVING]
    people = Leaving(
        everybody=_all_ids(leaving).append(spared),
        going=_ids(leaving, approved),
        staying=_ids(leaving, rejected).append(spared),
        own=own,
    )
    accounted = sum(_gone(block, approved) + _gone(block, rejected) for block in leaving)
    parts: list[Part] = []
    members_before = members_after = accounted_members = 0
    for block in plan.blocks:
        if block.action is Action.REMOVE_MEMBERS:
            laid = _members(block, approved, rejected, waiting, people)
            members_before += _size([block])
            members_after += _size(part.block for part in laid)
            accounted_members += sum(part.weight(np.flatnonzero(part.approved[:, 0] & ~part.led)) for part in laid)
            parts += laid
        else:
            parts += _changes(block, approved, rejected, waiting)
    taken = rejected.still_wanted()
    if taken or members_before != members_after:
        held = [*plan.held, *(_held(item) for item in taken)]
        plan = replace(plan, blocks=[part.block for part in parts], held=held)
    bench = Bench(plan, history, parts, accounted=accounted, undecided=list(waiting.items.values()))
    bench.accounted_members = accounted_members + sum(len(item.members) for item in taken)
    return bench, approved.still_wanted(), taken


@dataclass(frozen=True, slots=True)
class Leaving:
    """Target ids of accounts that a plan disables or deletes, or would if it might."""

    everybody: pd.Index
    going: pd.Index
    """Somebody has approved it."""
    staying: pd.Index
    """Somebody has rejected it, or the account is protected."""
    own: str | None
    """The account that Provisor signs in with: it keeps its memberships."""


def _size(blocks: Iterable[Block]) -> int:
    return sum(int(block.table["members"].map(len).sum()) for block in blocks)


def _changes(block: Block, approved: Decisions, rejected: Decisions, waiting: Decisions) -> list[Part]:
    cells = lay_out(block)
    if not approved.items and not rejected.items and not waiting.items:
        return [_part(block, cells, np.zeros_like(cells), np.zeros_like(cells))]
    parts = []
    for left in cut(block, cells & ~rejected.cells(block), cells):
        for one in _as_approved(left, approved):
            mine = approved.cells(one)
            signed = _signed(one, np.asarray(mine.any(axis=1)), approved)
            parts.append(_part(signed, lay_out(one), mine, waiting.cells(one) & ~mine))
    return parts


def _as_approved(block: Block, approved: Decisions) -> list[Block]:
    """The block with approved disables as they were approved: what else they would write by now is left for later."""
    if block.action is not Action.DISABLE or block.touched is None:
        return [block]
    touched = block.touched.to_numpy(dtype=bool).copy()
    for row in np.flatnonzero(approved.rows(block)).tolist():
        item = approved.item(block, row)
        assert item is not None
        names = set(approved.names(block, row, item))
        touched[row] &= [path in names for path in block.touched.columns]
    whole = (touched == block.touched.to_numpy(dtype=bool)).all(axis=1)
    if whole.all():
        return [block]
    frame = pd.DataFrame(touched[~whole], columns=block.touched.columns)
    narrowed = replace(block.take(~whole), touched=frame, desired=None)
    return [*([block.take(whole)] if whole.any() else []), narrowed]


def _members(
    block: Block, approved: Decisions, rejected: Decisions, waiting: Decisions, leaving: Leaving
) -> list[Part]:
    """Rows cut by what was decided about their members, or about the members' own removal."""
    ids = flat(block, "member_ids")
    keys = pd.Index(ids)
    codes: Codes = np.full(len(ids), _OPEN, dtype=np.int64)
    leaves = causes(block, frozenset({Cause.MEMBER_LEAVES}))
    led = np.repeat(leaves, block.table["member_ids"].map(len).to_numpy(dtype=np.int64)) & keys.isin(leaving.everybody)
    codes[waiting.members(block, ids)] = _WAITING
    codes[approved.members(block, ids) | (led & keys.isin(leaving.going))] = _APPROVED
    codes[rejected.members(block, ids) | (led & keys.isin(leaving.staying)) | (keys == leaving.own)] = _REJECTED
    codes[led] += _LED
    block, _, codes = divided(block, codes)
    keep = codes % _LED != _REJECTED
    if not keep.any():
        return []
    block, codes = (block, codes) if keep.all() else (block.take(keep), codes[keep])
    mine = codes % _LED == _APPROVED
    wanted = np.ones((len(block), 1), dtype=bool)
    signed = _signed(block, mine, approved, led=codes >= _LED)
    part = _part(signed, wanted, mine[:, None], (codes % _LED == _WAITING)[:, None])
    part.led = codes >= _LED
    return [part]


def _gone(block: Block, decided: Decisions) -> int:
    """Users who are gone from the source and about whose removal was decided."""
    return int((decided.rows(block) & causes(block, frozenset({Cause.GONE}))).sum()) if block.kind is Kind.USER else 0


def _part(block: Block, wanted: Cells, approved: Cells, waiting: Cells) -> Part:
    return Part(block, wanted, approved, led=np.zeros(len(block), dtype=bool), waiting=waiting)


def _all_ids(leaving: Sequence[Block]) -> pd.Index:
    return pd.Index([str(id_) for block in leaving for id_ in block.table["target_id"]], dtype="str")


def _ids(leaving: Sequence[Block], decided: Decisions) -> pd.Index:
    """Target ids of accounts whose disabling or deleting was decided about."""
    found = [str(id_) for block in leaving for id_ in block.table["target_id"][decided.rows(block)]]
    return pd.Index(found, dtype="str")


def _signed(block: Block, mine: Mask, approved: Decisions, *, led: Mask | None = None) -> Block:
    """The block whose approved rows say in their reasons who approved them.

    ``led``: rows of members who go with their accounts; somebody approved that these go.
    """
    if not mine.any():
        return block
    reasons, anchors = block.table["reason"].tolist(), block.table["anchor"].tolist()
    going = {one.target_id: one for one in approved.items.values() if one.action in LEAVING}
    for row in np.flatnonzero(mine).tolist():
        if led is not None and led[row]:
            items = [going.get(id_) for id_ in block.table["member_ids"].iloc[row]]
        else:
            items = [approved.items.get((block.kind, block.action, anchors[row]))]
        texts = dict.fromkeys(decision_text(item) for item in items if item is not None)
        reasons[row] = "; ".join((reasons[row], *texts))
    return replace(block, table=block.table.assign(reason=pd.Series(reasons, dtype="str")))


def decision_text(item: Staged) -> str:
    """``rejected by eve (eve@laptop) on 2026-11-23: they are on parental leave``."""
    when = f" on {item.decided_at:%Y-%m-%d}" if item.decided_at is not None else ""
    identity = f" ({item.identity})" if item.identity is not None and item.identity != item.who else ""
    return f"{item.state} by {item.who or 'somebody'}{identity}{when}{f': {item.why}' if item.why else ''}"


def _held(item: Staged) -> Held:
    match item.action:
        case Action.REMOVE_MEMBERS:
            what = f"removal of {len(item.members)} members "
        case Action.UPDATE:
            what = f"change of {', '.join(item.attributes)} "
        case _:
            what = f"{item.action} "
    reason = f"{what}{decision_text(item)}"
    return Held(item.kind, item.anchor, ErrorCode.DECIDED, reason, label=item.label)
