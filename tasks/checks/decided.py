"""Puts a plan on the bench: what people have rejected is left out, what they have approved is marked."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd

from connectors.contract import REMOVALS, Action, Kind
from connectors.errors import ErrorCode
from tasks.checks.bench import (
    LEAVING,
    Bench,
    Cells,
    Codes,
    Guard,
    History,
    Part,
    causes,
    cut,
    divided,
    flat,
    in_cells,
    lay_out,
)
from tasks.checks.digests import digests_of, same
from tasks.ledger import Item, Matter, Staged, StagedState, is_undecided, part_of
from tasks.mapping import Held, Mask
from tasks.plan import Block, Cause, Plan

_OPEN, _APPROVED, _REJECTED, _WAITING, _REFUSED = range(5)
"""What was decided about the removal of a member; the last one for another cause."""
_LED = 8
"""Added to the code of a member whose own removal is in the plan."""
_BY = 16
"""Times the number of a decision, added to the code of a member whose removal it approves: each goes in requests of its
own, which name who approved them."""

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
    one = replace(one, state=StagedState.STAGED, who=None, identity=None, why=None, until=None, decided_at=None)
    return replace(one, part=part_of(one))


def undecided_of(staged: Iterable[Staged], moment: datetime) -> list[Staged]:
    """What is held and nobody has decided about for now; of one entry, action and cause everything together."""
    found: dict[Matter, Staged] = {}
    for one in sorted(staged, key=lambda item: item.state is StagedState.STAGED):
        if not is_undecided(one, moment):
            continue
        other = found.get(one.matter)
        if other is not None and other.target_id == one.target_id:
            members = tuple(dict.fromkeys((*other.members, *one.members)))
            attributes = tuple(dict.fromkeys((*other.attributes, *one.attributes)))
            guards = tuple(dict.fromkeys((*other.guards, *one.guards)))
            since = min(other.since, one.since)
            one = replace(one, members=members, attributes=attributes, guards=guards, since=since)
        found[one.matter] = undecided_again(one)
    return list(found.values())


def _by_item(staged: Iterable[Staged]) -> dict[Item, list[Staged]]:
    found: dict[Item, list[Staged]] = {}
    for one in staged:
        found.setdefault(one.key, []).append(one)
    return found


@dataclass(slots=True)
class Decisions:
    """What people have decided, or have still to decide, ready to be looked up; and what of it the plan still wants.

    Of one entry and action there may be several: about other members or attributes, for other causes, by other people.
    """

    items: dict[Item, list[Staged]]
    secret: bytes = b""
    exact: bool = True
    """Whether only the very values, for the very cause, count: what was decided about. What waits goes by its name."""
    found: dict[Staged, list[str]] = field(default_factory=dict)
    """What the plan wants of each: attributes or members, nothing for a whole account."""

    @classmethod
    def of(cls, history: History, state: StagedState, moment: datetime, *, exact: bool = True) -> "Decisions":
        """Decisions that are in force at a moment."""
        return cls(_by_item(in_force(history.staged, state, moment)), history.secret, exact)

    @classmethod
    def still_waiting(cls, history: History, moment: datetime) -> "Decisions":
        """What was held before and nobody has decided about, but for what only an incomplete source has held."""
        items = [
            one for one in undecided_of(history.staged, moment) if not one.guards or set(one.guards) - _DOUBT_ALONE
        ]
        return cls(_by_item(items), exact=False)

    @property
    def all(self) -> list[Staged]:
        """All of them; the number of a decision counts from 1 here."""
        return [one for some in self.items.values() for one in some]

    def about(self, block: Block, row: int) -> list[Staged]:
        """What was decided about a row of a block; nothing that is about another account, or for another cause."""
        table = block.table
        known = self.items.get((block.kind, block.action, str(table["anchor"].iloc[row])), [])
        mine = [one for one in known if one.target_id == table["target_id"].iloc[row]]
        if not self.exact or block.action not in REMOVALS:
            return mine
        return [one for one in mine if one.cause == table["cause"].iloc[row]]

    def rows(self, block: Block) -> Mask:
        """Rows of a block that were decided about, wholly or in parts."""
        decided = np.zeros(len(block), dtype=bool)
        anchors = [key[2] for key in self.items if key[:2] == (block.kind, block.action)]
        for row in np.flatnonzero(block.table["anchor"].isin(anchors).to_numpy(dtype=bool)).tolist():
            decided[row] = bool(self.about(block, row))
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
        decided: Cells = np.zeros_like(cells)
        if block.action is Action.UPDATE and not in_cells(block):
            return decided  # references of accounts that are only just created: no guard judges them
        for row in np.flatnonzero(self.rows(block)).tolist():
            for item, mine in self.shares(block, row, cells[row]):
                decided[row] |= mine
                self.found.setdefault(item, []).extend(_columns(block, mine))
        return decided

    def shares(self, block: Block, row: int, wanted: Cells) -> list[tuple[Staged, Cells]]:
        """Of what a row wants, what each decision is about; no cell is in two of them."""
        found: list[tuple[Staged, Cells]] = []
        left = wanted.copy()
        for item in self.about(block, row):
            mine = left.copy()
            if block.action is Action.UPDATE and block.touched is not None:
                names = set(self.names(block, row, item))
                mine &= np.array([column in names for column in block.touched.columns], dtype=bool)
            left &= ~mine
            found += [(item, mine)] if mine.any() else []
        return found

    def members(self, block: Block, ids: "np.ndarray[tuple[int], np.dtype[np.object_]]") -> Codes:
        """For each member of a block's rows, in the order of ``ids``, the number of the decision about their removal.

        0 stands for none.
        """
        decided: Codes = np.zeros(len(ids), dtype=np.int64)
        mine = self.rows(block)
        if not mine.any():
            return decided
        numbers = {one: number for number, one in enumerate(self.all, 1)}
        sizes = block.table["member_ids"].map(len).to_numpy()
        ends = np.cumsum(sizes)
        for row in np.flatnonzero(mine).tolist():
            of = {id_: one for one in reversed(self.about(block, row)) for id_ in one.members}
            for at in range(ends[row] - sizes[row], ends[row]):
                if (one := of.get(ids[at])) is not None:
                    decided[at] = numbers[one]
                    self.found.setdefault(one, []).append(str(ids[at]))
        return decided

    def still_wanted(self) -> list[Staged]:
        """The items, without what the plan no longer wants."""
        kept = []
        for item, names in self.found.items():
            if item.action is Action.REMOVE_MEMBERS:
                item = replace(item, members=tuple(names))
            elif item.action is Action.UPDATE:
                item = replace(item, attributes=tuple(names))
            kept.append(item)
        return kept

    def texts(self, block: Block, row: int) -> list[str]:
        """Who has decided about a row; where several have, each with the attributes that it was about."""
        about = self.about(block, row)
        if len(about) == 1:
            return [decision_text(about[0])]
        shares = self.shares(block, row, lay_out(block)[row])
        if len(shares) == 1:
            return [decision_text(shares[0][0])]
        return [f"{', '.join(_columns(block, mine))} {decision_text(item)}" for item, mine in shares]


def _columns(block: Block, mine: Cells) -> list[str]:
    """Names of the attributes of an update that are marked; none for any other change."""
    if block.action is not Action.UPDATE or block.touched is None:
        return []
    return [str(column) for column, one in zip(block.touched.columns, mine, strict=True) if one]


def lay_on_bench(
    plan: Plan, history: History, *, spared: pd.Index, own: str | None = None
) -> tuple[Bench, list[Staged], list[Staged]]:
    """The plan on the bench; what is approved of it, and what is rejected. Without decisions the plan is as it was.

    ``spared``: target ids of protected accounts, which would have left; ``own``: id of the account that Provisor signs
    in with.
    """
    approved = Decisions.of(history, StagedState.APPROVED, plan.made_at)
    rejected = Decisions.of(history, StagedState.REJECTED, plan.made_at)
    refused = Decisions.of(history, StagedState.REJECTED, plan.made_at, exact=False)
    waiting = Decisions.still_waiting(history, plan.made_at)
    leaving = [block for block in plan.blocks if block.action in LEAVING]
    people = Leaving(
        everybody=_all_ids(leaving).append(spared),
        going=_ids(leaving, approved),
        staying=_ids(leaving, rejected).append(spared),
        signed=_signatures(leaving, approved),
        own=own,
    )
    accounted = sum(_gone(block, approved) + _gone(block, rejected) for block in leaving)
    parts: list[Part] = []
    members_before = members_after = accounted_members = 0
    for block in plan.blocks:
        if block.action is Action.REMOVE_MEMBERS:
            laid = _members(block, approved, rejected, refused, waiting, people)
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
    bench = Bench(plan, history, parts, accounted=accounted, undecided=waiting.all)
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
    signed: dict[str, Staged]
    """By target id, who has approved it."""
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
            texts = {row: approved.texts(one, row) for row in np.flatnonzero(mine.any(axis=1)).tolist()}
            signed = _signed(one, texts)
            parts.append(_part(signed, lay_out(one), mine, waiting.cells(one) & ~mine))
    return parts


def _as_approved(block: Block, approved: Decisions) -> list[Block]:
    """The block with approved disables as they were approved: what else they would write by now is left for later."""
    if block.action is not Action.DISABLE or block.touched is None:
        return [block]
    touched = block.touched.to_numpy(dtype=bool).copy()
    for row in np.flatnonzero(approved.rows(block)).tolist():
        names = {name for item in approved.about(block, row) for name in approved.names(block, row, item)}
        touched[row] &= [path in names for path in block.touched.columns]
    whole = (touched == block.touched.to_numpy(dtype=bool)).all(axis=1)
    if whole.all():
        return [block]
    frame = pd.DataFrame(touched[~whole], columns=block.touched.columns)
    narrowed = replace(block.take(~whole), touched=frame, desired=None)
    return [*([block.take(whole)] if whole.any() else []), narrowed]


def _members(
    block: Block, approved: Decisions, rejected: Decisions, refused: Decisions, waiting: Decisions, leaving: Leaving
) -> list[Part]:
    """Rows cut by what was decided about their members, or about the members' own removal."""
    ids = flat(block, "member_ids")
    keys = pd.Index(ids)
    codes: Codes = np.full(len(ids), _OPEN, dtype=np.int64)
    leaves = causes(block, frozenset({Cause.MEMBER_LEAVES}))
    led = np.repeat(leaves, block.table["member_ids"].map(len).to_numpy(dtype=np.int64)) & keys.isin(leaving.everybody)
    numbers = approved.members(block, ids)
    codes[refused.members(block, ids) > 0] = _REFUSED
    codes[waiting.members(block, ids) > 0] = _WAITING
    codes[(numbers > 0) | (led & keys.isin(leaving.going))] = _APPROVED
    codes[(rejected.members(block, ids) > 0) | (led & keys.isin(leaving.staying)) | (keys == leaving.own)] = _REJECTED
    codes += np.where(codes == _APPROVED, _BY * numbers, 0)
    codes[led] += _LED
    block, _, codes = divided(block, codes)
    keep = codes % _LED != _REJECTED
    if not keep.any():
        return []
    block, codes = (block, codes) if keep.all() else (block.take(keep), codes[keep])
    mine, led_rows = codes % _LED == _APPROVED, codes % _BY >= _LED
    known = approved.all
    texts: dict[int, list[str]] = {}
    for row in np.flatnonzero(mine).tolist():
        if number := int(codes[row]) // _BY:
            items = [known[number - 1]]
        else:
            items = [leaving.signed[id_] for id_ in block.table["member_ids"].iloc[row] if id_ in leaving.signed]
        texts[row] = [*dict.fromkeys(map(decision_text, items))]
    wanted = np.ones((len(block), 1), dtype=bool)
    part = _part(_signed(block, texts), wanted, mine[:, None], (codes % _LED == _WAITING)[:, None])
    part.led, part.refused = led_rows, codes % _LED == _REFUSED
    return [part]


def _gone(block: Block, decided: Decisions) -> int:
    """Users who are gone from the source and about whose removal was decided."""
    return int((decided.rows(block) & causes(block, frozenset({Cause.GONE}))).sum()) if block.kind is Kind.USER else 0


def _part(block: Block, wanted: Cells, approved: Cells, waiting: Cells) -> Part:
    nobody = np.zeros(len(block), dtype=bool)
    return Part(block, wanted, approved, led=nobody, waiting=waiting, refused=nobody)


def _all_ids(leaving: Sequence[Block]) -> pd.Index:
    return pd.Index([str(id_) for block in leaving for id_ in block.table["target_id"]], dtype="str")


def _ids(leaving: Sequence[Block], decided: Decisions) -> pd.Index:
    """Target ids of accounts whose disabling or deleting was decided about."""
    found = [str(id_) for block in leaving for id_ in block.table["target_id"][decided.rows(block)]]
    return pd.Index(found, dtype="str")


def _signatures(leaving: Sequence[Block], approved: Decisions) -> dict[str, Staged]:
    """By the target id of an account that goes, what somebody has approved."""
    return {
        str(block.table["target_id"].iloc[row]): approved.about(block, row)[0]
        for block in leaving
        for row in np.flatnonzero(approved.rows(block)).tolist()
    }


def _signed(block: Block, texts: Mapping[int, Sequence[str]]) -> Block:
    """The block with reasons that say who approved it. ``texts``: what is to be said, by row."""
    if not texts:
        return block
    reasons = block.table["reason"].tolist()
    for row, said in texts.items():
        reasons[row] = "; ".join((reasons[row], *said))
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
