"""The bench on which guards judge a plan: its blocks part by part, what is approved of them, what is held.

A change is judged row by row, an update attribute by attribute. Members are judged in rows that are cut so that all the
members of a row share their fate; memberships of people who leave in the same plan follow the people.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain

import numpy as np
import numpy.typing as npt
import pandas as pd

from connectors.contract import REMOVALS, Action, Kind
from tasks.checks.digests import digests_of
from tasks.job import Limit
from tasks.keys import Rows
from tasks.ledger import Item, Matter, Staged, part_of
from tasks.mapping import Mask
from tasks.plan import Block, Cause, Plan, Wave

Cells = npt.NDArray[np.bool_]
"""One row per change; one column per attribute of an update, a single one for every other action."""
Codes = npt.NDArray[np.int64]

LEAVING = (Action.DISABLE, Action.DELETE)


class Guard(StrEnum):
    """What judges a plan, in this order. Names are those of the job's ``limits``, but for three that have no limit."""

    COMPLETE_SOURCE = "complete source"
    SOURCE = "source"
    EARLIER = "earlier question"
    """Not a limit: another removal of the entry waits, or somebody has decided about less."""
    REMOVALS = "removals"
    MEMBERS = "members"
    MEMBERSHIPS = "memberships"
    ADMINISTRATORS = "administrators"
    BUDGET = "budget"
    ATTRIBUTE = "attribute"
    UPDATES = "updates"
    UNDECIDED = "undecided"
    """Not a limit: what waits for a decision goes on waiting, whatever the limits say by now."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One guard that tripped."""

    guard: Guard
    held: int
    """How much it holds back: accounts, members, or updates."""
    sentence: str
    """What is held, why, and what to do next."""
    subject: str = ""
    """The group or the attribute it is about, where it is about one."""
    counted: int = 0
    """The number that was too much."""
    population: int = 0
    """What it was measured against."""
    limit: Limit | None = None
    """What would have been allowed; None where nothing is."""


@dataclass(frozen=True, slots=True)
class History:
    """What happened before, as far as guards judge by it."""

    staged: Sequence[Staged] = ()
    """Changes that earlier cycles held back, with what people have decided about them."""
    removed_in_day: int = 0
    """Accounts that the job disabled or deleted in the last 24 hours without anybody's approval."""
    removed_in_week: int = 0
    """The same in the last seven days."""
    members_in_day: Mapping[str, int] = field(default_factory=dict)
    """Members that the job took out of groups in the last 24 hours without anybody's approval, by the groups' anchors;
    those of people who left do not count."""
    members_in_week: Mapping[str, int] = field(default_factory=dict)
    """The same in the last seven days."""
    source_counts: Sequence[int] = ()
    """Users that the source had in the last cycles that read it to the end and did not doubt it, the latest first."""
    source_members: int | None = None
    """Memberships that the source had in the last such cycle."""
    settled: bool = False
    """True when the job's last finished cycle ran with this configuration: then few accounts should need a change."""
    reviewed: bool = False
    """True for a plan that a person reviews before it is carried out exactly as it is, or not at all."""
    secret: bytes = b""
    """The key under which digests of redacted values are made; without it none of these can be recognised."""


NOTHING_BEFORE = History()


@dataclass(slots=True)
class Checked:
    """A plan after the guards."""

    plan: Plan
    """The plan as judged: without what people have rejected, which is among its held entries."""
    blocks: list[Block]
    """What may run, in order."""
    staged: list[Block]
    """What is held, in order; the tables have the column ``guards``, names of guards."""
    verdicts: list[Verdict]
    waiting: list[Staged] = field(default_factory=list)
    """What people have to decide about: one for each kind, action and anchor, and of members for each cause. No cycle's
    yet (``cycle_id`` 0)."""
    approved: list[Staged] = field(default_factory=list)
    """What people have approved, as far as the plan still wants it."""
    rejected: list[Staged] = field(default_factory=list)
    """The same of what they have rejected."""
    suspended: frozenset[Matter] = frozenset()
    """What is approved and held all the same, because the source is not complete."""
    known: Sequence[Staged] = ()
    """What people had to decide about, and had decided, when the plan was judged."""
    unjudged: frozenset[tuple[Kind, str]] = frozenset()
    """Entries of which nothing can be said in this cycle: they could not be read, mapped or matched."""

    @property
    def held_back(self) -> int:
        """How much waits: accounts, members and updates, each once."""
        return sum(_weight(block) for block in self.staged)

    @property
    def memberships_held_back(self) -> int:
        """How much of it are memberships, most of which go with an account."""
        return sum(_weight(block) for block in self.staged if "members" in block.table)

    @property
    def groups_held_back(self) -> int:
        """How much of it are groups themselves."""
        return sum(len(one) for one in self.staged if one.kind is Kind.GROUP and "members" not in one.table)

    @property
    def doubtful(self) -> bool:
        """True when the number of users in this source is no measure for later ones."""
        doubts = (Guard.COMPLETE_SOURCE, Guard.SOURCE)
        return bool(self.plan.doubts) or any(verdict.guard in doubts for verdict in self.verdicts)


def _weight(block: Block) -> int:
    return int(block.table["members"].map(len).sum()) if "members" in block.table else len(block)


@dataclass(slots=True, eq=False)
class Part:
    """One block on the bench."""

    block: Block
    wanted: Cells
    approved: Cells
    led: Mask
    """Rows of members who leave in this plan: they go or stay with their own removal."""
    waiting: Cells
    """What was held before and nobody has decided about."""
    refused: Mask
    """Rows of members whose removal somebody has rejected for another cause."""
    held: Cells = field(init=False)
    doubted: Cells = field(init=False)
    """What is held because the source proves nothing; limits do not count it."""
    tripped: list[tuple[int, Rows]] = field(default_factory=list)
    """Number of a verdict, and the rows it holds."""

    def __post_init__(self) -> None:
        self.held = np.zeros_like(self.wanted)
        self.doubted = np.zeros_like(self.wanted)

    @property
    def open(self) -> Cells:
        """What limits count: not approved, and not held because of doubts."""
        cells: Cells = self.wanted & ~self.approved & ~self.doubted
        return cells

    @property
    def stays(self) -> Cells:
        """What is not done in this cycle, as far as that is known already."""
        cells: Cells = self.held | self.waiting
        return cells

    @property
    def removes(self) -> bool:
        """True where something is taken away."""
        return self.block.action in REMOVALS

    def rows(self, mask: Mask) -> Rows:
        """Positions of the open rows among these."""
        return np.flatnonzero(mask & self.open.any(axis=1))

    def weight(self, rows: Rows) -> int:
        """Accounts, members or updates in the rows."""
        if "members" not in self.block.table:
            return len(rows)
        return int(self.block.table["members"].iloc[rows].map(len).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """What a guard holds of one part."""

    part: Part
    rows: Rows
    column: int | None = None
    """One attribute of these rows; None: all of each row."""

    @property
    def weight(self) -> int:
        """Accounts, members or updates."""
        return self.part.weight(self.rows)


class Bench:
    """A plan while it is judged."""

    def __init__(
        self, plan: Plan, history: History, parts: list[Part], *, accounted: int = 0, undecided: Sequence[Staged] = ()
    ) -> None:
        self.plan = plan
        self.history = history
        self.parts = parts
        self.accounted = accounted
        """Users gone from the source about whose removal somebody has decided: these are not missing."""
        self.accounted_members = 0
        """Memberships gone from the source about whose removal somebody has decided."""
        self.undecided: dict[Item, list[Staged]] = {}
        for one in undecided:
            self.undecided.setdefault(one.key, []).append(one)
        self.verdicts: list[Verdict] = []

    def removals(self, *actions: Action) -> Iterator[Part]:
        """Parts that take something away; of some actions where they are named."""
        return (part for part in self.parts if part.removes and (not actions or part.block.action in actions))

    def hold(self, verdict: Verdict, marks: Iterable[Mark], *, approved: bool = False) -> None:
        """Holds what is marked; what is approved only where ``approved`` says so."""
        number = len(self.verdicts)
        self.verdicts.append(verdict)
        for mark in marks:
            part = mark.part
            cells = (mark.rows, slice(None) if mark.column is None else mark.column)
            part.held[cells] |= part.wanted[cells] & (approved | ~part.approved[cells])
            part.tripped.append((number, mark.rows))

    def doubt(self) -> None:
        """From here on limits do not count what is held already."""
        for part in self.parts:
            part.doubted = part.held.copy()

    def result(self) -> Checked:
        """The plan divided into what may run and what is held."""
        self._hold_followers()
        running: list[Block] = []
        staged: list[Block] = []
        waiting: list[Staged] = []
        suspended: set[Matter] = set()
        for part in self.parts:
            running += cut(_with_count(part), part.wanted & ~part.held, part.wanted)
            rows = np.flatnonzero(part.held.any(axis=1))
            if len(rows):
                verdicts = self._verdicts_of(part, rows)
                names = [tuple(self.verdicts[number].guard.value for number in numbers) for numbers in verdicts]
                staged.append(_staged(part, rows, names))
                waiting += self._items(part, rows, verdicts)
                suspended |= _suspended(part)
        return Checked(
            plan=self.plan,
            blocks=running,
            staged=staged,
            verdicts=self.verdicts,
            waiting=_one_each(waiting),
            suspended=frozenset(suspended),
        )

    def _hold_followers(self) -> None:
        """Memberships of people whose own removal is held are held with it."""
        staying = [
            part.block.table["target_id"].array[part.held[:, 0]]
            for part in self.removals(*LEAVING)
            if part.held[:, 0].any()
        ]
        if not staying:
            return
        ids = pd.Index(np.concatenate(staying))
        parts: list[Part] = []
        for part in self.parts:
            parts.append(part)
            if not part.led.any():
                continue
            codes = np.zeros(len(flat(part.block, "member_ids")), dtype=np.int64)
            codes[pd.Index(flat(part.block, "member_ids")).isin(ids)] = 1
            block, origin, code = divided(part.block, codes)
            parts[-1] = moved = Part(
                block,
                part.wanted[origin],
                part.approved[origin],
                part.led[origin],
                part.waiting[origin],
                part.refused[origin],
            )
            moved.held = part.held[origin] | (moved.led & (code == 1))[:, None]
            moved.doubted = part.doubted[origin]
            moved.tripped = [(number, np.flatnonzero(np.isin(origin, rows))) for number, rows in part.tripped]
        self.parts = parts

    def _verdicts_of(self, part: Part, rows: Rows) -> list[tuple[int, ...]]:
        """For each of the rows the numbers of the verdicts that hold it."""
        found: dict[int, list[int]] = {int(row): [] for row in rows}
        for number, held in part.tripped:
            for row in held.tolist():
                if row in found:
                    found[row].append(number)
        return [tuple(numbers) for numbers in found.values()]

    def _items(self, part: Part, rows: Rows, verdicts: list[tuple[int, ...]]) -> Iterator[Staged]:
        """What people decide about in a part: everything held that is neither approved nor a follower."""
        block, open_ = part.block, part.held & ~part.approved
        table = block.table.iloc[rows]
        members = table["member_ids"] if "member_ids" in table else [()] * len(rows)
        names = list(block.touched.columns) if in_cells(block) and block.touched is not None else []
        columns = zip(rows, table["anchor"], table["target_id"], table["label"], members, verdicts, strict=True)
        for row, anchor, target_id, label, ids, numbers in columns:
            if not open_[row].any() or (part.led[row] and not numbers):
                continue
            cause = str(block.table["cause"].iloc[row]) if part.removes else None
            before = self._before((block.kind, block.action, anchor), cause, ids) if part.waiting[row].any() else None
            attributes = [name for name, held in zip(names, open_[row], strict=True) if held] if names else []
            sentence, guards = self._said(numbers, before)
            item = Staged(
                kind=block.kind,
                action=block.action,
                anchor=anchor,
                since=self.plan.made_at,
                cycle_id=0,
                guard=sentence,
                guards=guards,
                cause=cause,
                target_id=target_id,
                label=label,
                members=tuple(ids),
                attributes=tuple(attributes),
                digests=written_values(block, row, attributes, self.history.secret),
            )
            yield replace(item, part=part_of(item))

    def _before(self, item: Item, cause: str | None, ids: Iterable[str]) -> Staged | None:
        """What was held of it before: of members of a group these, for this cause before another one."""
        known, mine = self.undecided.get(item, []), set(ids)
        about = [one for one in known if not mine or not mine.isdisjoint(one.members)]
        return next((one for one in about if one.cause == cause), about[0] if about else None)

    def _said(self, numbers: tuple[int, ...], before: Staged | None) -> tuple[str, tuple[str, ...]]:
        """What the guards say about a row now, and which have held it; what was said before, where none says more."""
        mine = [self.verdicts[number] for number in numbers if self.verdicts[number].guard is not Guard.UNDECIDED]
        earlier = before.guards if before is not None else ()
        guards = tuple(dict.fromkeys((*earlier, *(verdict.guard.value for verdict in mine))))
        sentence = " ".join(verdict.sentence for verdict in mine)
        return sentence or (before.guard if before is not None else ""), guards


def _staged(part: Part, rows: Rows, guards: list[tuple[str, ...]]) -> Block:
    """What is held of a part, with the guards that hold it."""
    mask = np.zeros(len(part.block), dtype=bool)
    mask[rows] = True
    block = part.block.take(mask)
    if in_cells(block) and block.touched is not None:
        touched = pd.DataFrame(part.held[rows], columns=block.touched.columns)
        block = replace(block, touched=touched, desired=None)
    return replace(block, table=block.table.assign(guards=pd.Series(guards, dtype=object)))


def _with_count(part: Part) -> Block:
    """The block; where somebody approved rows, or they go with their members, it says what a budget counts of each."""
    uncounted = part.approved.any(axis=1) | part.led
    if not part.removes or not uncounted.any():
        return part.block
    sizes = part.block.table["members"].map(len) if "members" in part.block.table else 1
    table = part.block.table.assign(counted=np.where(uncounted, 0, sizes).astype(np.int64))
    return replace(part.block, table=table)


def written_values(block: Block, row: int, attributes: Iterable[str], secret: bytes) -> tuple[tuple[str, str], ...]:
    """Attributes that one held change would write, each with a digest of its value; a disable may write others too."""
    if block.action is Action.DISABLE and block.touched is not None:
        touched = block.touched.iloc[row].to_numpy(dtype=bool)
        attributes = [str(path) for path in block.touched.columns[touched]]
    return tuple(sorted(digests_of(block, row, attributes, secret).items()))


def _suspended(part: Part) -> set[Matter]:
    rows = np.flatnonzero((part.held & part.approved).any(axis=1) & ~part.led)
    block, table = part.block, part.block.table.iloc[rows]
    causes_ = table["cause"] if block.action is Action.REMOVE_MEMBERS else [None] * len(rows)
    return {
        ((block.kind, block.action, str(anchor)), None if cause is None else str(cause))
        for anchor, cause in zip(table["anchor"], causes_, strict=True)
    }


def _one_each(items: Iterable[Staged]) -> list[Staged]:
    """One item for each that people are asked about, whatever number of requests a group takes."""
    found: dict[Matter, Staged] = {}
    for item in items:
        if (known := found.get(item.matter)) is not None:
            item = replace(
                known,
                guard=known.guard if item.guard in known.guard else f"{known.guard} {item.guard}",
                guards=tuple(dict.fromkeys((*known.guards, *item.guards))),
                members=known.members + item.members,
            )
        found[item.matter] = item
    return list(found.values())


# --- cutting blocks ------------------------------------------------------------------------------------------------


def lay_out(block: Block) -> Cells:
    """Everything that a block does."""
    if in_cells(block) and block.touched is not None:
        cells: Cells = block.touched.to_numpy(dtype=bool)
        return cells
    return np.ones((len(block), 1), dtype=bool)


def in_cells(block: Block) -> bool:
    """Updates are judged attribute by attribute, but for references of accounts that are only just created."""
    return block.action is Action.UPDATE and block.wave is not Wave.SET_REFERENCES


def cut(block: Block, cells: Cells, wanted: Cells) -> list[Block]:
    """The block with no more than these cells of what it wanted, in one or two parts.

    An entry of which something is left out gets no fingerprint, and nothing is remembered of what is left out: it is
    not yet what it should be.
    """
    some = cells.any(axis=1)
    whole = some & (cells == wanted).all(axis=1)
    if whole.all():
        return [block]
    parts = [block.take(whole)] if whole.any() else []
    rows = np.flatnonzero(some & ~whole)
    if len(rows) and block.touched is not None:
        touched = pd.DataFrame(cells[rows], columns=block.touched.columns)
        held = touched.columns[(cells[rows] != wanted[rows]).any(axis=0)]
        parts.append(replace(block.take(some & ~whole), touched=touched, withheld=block.withheld | frozenset(held)))
    return parts


def flat(block: Block, column: str) -> "npt.NDArray[np.object_]":
    """All members of a block's rows in one array."""
    values = list(chain.from_iterable(block.table[column]))
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def divided(block: Block, codes: Codes) -> tuple[Block, Rows, Codes]:
    """The block with its rows cut so that the members of a row share a code; each row's origin and its code.

    ``codes``: one for each member, in the order of ``flat``.
    """
    sizes = block.table["members"].map(len).to_numpy(dtype=np.int64)
    row = np.repeat(np.arange(len(block), dtype=np.int64), sizes)
    begins = np.cumsum(sizes) - sizes
    if (codes == codes[begins][row]).all():
        return block, np.arange(len(block), dtype=np.int64), codes[begins]
    order = np.lexsort((codes, row))
    row, codes = row[order], codes[order]
    starts = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(codes, prepend=-1) != 0))
    ends = np.append(starts[1:], len(row))
    origin = row[starts]
    table = block.table.iloc[origin].reset_index(drop=True)
    for column in ("members", "member_ids"):
        values = flat(block, column)[order]
        lists = [values[start:end].tolist() for start, end in zip(starts, ends, strict=True)]
        table[column] = pd.Series(lists, dtype=object)
    return replace(block, table=table), origin, codes[starts]


def causes(block: Block, chosen: frozenset[Cause]) -> Mask:
    """Rows whose cause is one of these."""
    return np.fromiter((cause in chosen for cause in block.table["cause"]), dtype=bool, count=len(block))
