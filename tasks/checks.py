"""Judges a plan before anything is written: what takes too much away is held back, the rest goes on. Pure.

Guards count what the plan would take away. A guard that trips stages exactly what it judged; joiners and changes run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from connectors.contract import REMOVALS, Action, Kind, Snapshot
from connectors.errors import SettingsError
from tasks.job import Limit, Limits
from tasks.ledger import Staged
from tasks.mapping import Mask
from tasks.plan import Block, Cause, Plan

EVERYBODY_FROM = 3
"""Removing every account there is trips the guard from this many accounts on, whatever the limits say."""

_PROVEN = frozenset({Cause.OUT_OF_SCOPE, Cause.DISABLED})
"""Causes that the entry itself shows; the others follow from something that is missing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One guard that tripped."""

    guard: str
    """``removals``, ``members`` or ``complete source``."""
    held: int
    """How many removals it holds back: accounts, or members."""
    sentence: str


@dataclass(frozen=True, slots=True)
class History:
    """What happened before, as far as guards judge by it."""

    staged: Sequence[Staged] = ()
    """Changes that earlier cycles held back, with what people have decided about them."""
    removed_in_day: int = 0
    """Accounts that the job disabled or deleted in the last 24 hours."""
    removed_in_week: int = 0
    """The same in the last seven days."""
    source_counts: Sequence[int] = ()
    """Users that the source had in the last cycles that read it to the end, the latest first."""


NOTHING_BEFORE = History()


@dataclass(slots=True)
class Checked:
    """A plan after the guards."""

    plan: Plan
    blocks: list[Block]
    """What may run, in order."""
    staged: list[Block]
    """What waits for a person, in order."""
    verdicts: list[Verdict]


def refuse_empty(source: Snapshot) -> None:
    """Stops a cycle whose source has nobody: an empty extract is a fault, not an organisation without people.

    Raises: SettingsError.
    """
    if not len(source.users):
        unread = f" {len(source.unreadable)} rows could not be read." if source.unreadable else ""
        raise SettingsError(f"The source ({source.system}) has no users at all.{unread} Nothing was written.")


def check_plan(plan: Plan, limits: Limits, history: History = NOTHING_BEFORE) -> Checked:
    """The plan divided into what may run and what is staged."""
    checked = Checked(plan=plan, blocks=list(plan.blocks), staged=[], verdicts=[])
    _judge_completeness(checked)
    _judge_removals(checked, limits.removals)
    _judge_groups(checked, limits.members)
    return checked


def exceeds(count: int, population: int, limit: Limit) -> str | None:
    """Why a number of removals is too much for a limit, or None; exactly as many as allowed pass."""
    if count > limit.count:
        return f"more than the {limit.count} allowed"
    if population >= limit.minimum and count > limit.fraction * population:
        return f"more than {limit.fraction:.0%} of {population}"
    return None


def _judge_completeness(checked: Checked) -> None:
    """An incomplete source proves nobody's absence, so nothing that follows from absence is removed."""
    if not checked.plan.incomplete:
        return
    held = _stage(checked, lambda block: _rows(block, lambda cause: cause not in _PROVEN))
    if held:
        why = " ".join(checked.plan.incomplete)
        sentence = f"{held} removals wait because the source is not complete, so that absence proves nothing: {why}"
        checked.verdicts.append(Verdict("complete source", held, sentence))


def _judge_removals(checked: Checked, limit: Limit) -> None:
    """Accounts that would be disabled or deleted, groups that end included.

    The fraction is judged for users and groups apart: a company with many groups could lose all its people otherwise.
    """
    emptied = {anchor for plan in checked.plan.entries.values() for anchor in plan.emptied}
    ending = {
        anchor
        for block in checked.blocks
        if block.action is Action.REMOVE_MEMBERS
        for anchor in block.table["anchor"]
        if anchor in emptied
    }
    counts = dict.fromkeys(checked.plan.entries, 0)
    for block in checked.blocks:
        if block.action in (Action.DISABLE, Action.DELETE):
            counts[block.kind] += len(block)
    if ending:
        counts[Kind.GROUP] += len(ending)
    count = sum(counts.values())
    populations = {kind: plan.population for kind, plan in checked.plan.entries.items()}
    why = exceeds(count, sum(populations.values()), limit)
    for kind, population in populations.items():
        why = why or _exceeds_in_kind(kind, counts[kind], population, limit)
    if why is None:
        return

    def judged(block: Block) -> Mask:
        if block.action is Action.REMOVE_MEMBERS:
            leaves = _rows(block, lambda cause: cause == Cause.MEMBER_LEAVES)
            return leaves | block.table["anchor"].isin(ending).to_numpy(dtype=bool)
        return np.ones(len(block), dtype=bool)

    _stage(checked, judged)
    sentence = f"{count} accounts would be disabled or deleted, {why}. They wait for approval."
    checked.verdicts.append(Verdict("removals", count, sentence))


def _exceeds_in_kind(kind: Kind, count: int, population: int, limit: Limit) -> str | None:
    if why := exceeds(count, population, limit):
        return f"{count} of them {kind}s, {why}"
    if population >= EVERYBODY_FROM and count >= population:
        return f"all of the {population} {kind}s"
    return None


def _judge_groups(checked: Checked, limit: Limit) -> None:
    """Members taken out of one group, apart from those who leave altogether."""
    losses = [
        pd.Series(block.table["members"].map(len).to_numpy(), index=block.table["target_id"].array)[_stays(block)]
        for block in checked.blocks
        if block.action is Action.REMOVE_MEMBERS
    ]
    if not losses:
        return
    lost = pd.concat(losses).groupby(level=0).sum().sort_index()
    sizes = checked.plan.group_sizes.reindex(lost.index).fillna(0)
    for group, count, size in zip(lost.index, lost, sizes, strict=True):
        why = exceeds(int(count), int(size), limit)
        if why is None:
            continue
        label = _label(checked, str(group))
        _stage(checked, partial(_of_group, group=str(group)))
        sentence = f"{count} members would be removed from the group {label}, {why}. They wait for approval."
        checked.verdicts.append(Verdict("members", int(count), sentence))


def _stays(block: Block) -> Mask:
    """Removals of members who leave the group and nothing else."""
    return _rows(block, lambda cause: cause != Cause.MEMBER_LEAVES)


def _label(checked: Checked, target_id: str) -> str:
    for block in checked.blocks:
        at = np.flatnonzero((block.table["target_id"] == target_id).to_numpy(dtype=bool))
        if len(at):
            return str(block.table["label"].iloc[at[0]])
    return target_id


def _of_group(block: Block, *, group: str) -> Mask:
    if block.action is not Action.REMOVE_MEMBERS:
        return np.zeros(len(block), dtype=bool)
    return block.table["target_id"].eq(group).to_numpy(dtype=bool) & _stays(block)


def _rows(block: Block, chosen: Callable[[Cause], bool]) -> Mask:
    return np.array([chosen(cause) for cause in block.table["cause"]], dtype=bool)


def _stage(checked: Checked, judged: Callable[[Block], Mask]) -> int:
    """Moves the judged rows of removal blocks to what is staged; gives how many accounts and members these are."""
    running, held = [], 0
    for block in checked.blocks:
        if block.action not in REMOVALS:
            running.append(block)
            continue
        mask = judged(block)
        if not mask.any():
            running.append(block)
            continue
        part = block.take(mask)
        held += int(part.table["members"].map(len).sum()) if "members" in part.table else len(part)
        checked.staged.append(part)
        if not mask.all():
            running.append(block.take(~mask))
    checked.blocks = running
    return held
