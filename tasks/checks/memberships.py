"""Guards on members who are taken out of groups: of one group, of the whole target, in one cycle and over time.

Members who leave altogether are judged with the accounts, and not here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from connectors.contract import Action, Kind
from tasks.checks.bench import Bench, Guard, Mark, Verdict
from tasks.checks.removals import EVERYBODY_FROM, exceeds, several, too_many, waiting_sentence, weight_of
from tasks.job import Limit, MembershipLimits


@dataclass(slots=True)
class Losing:
    """One group of the target that would lose members."""

    anchor: str
    label: str
    size: int
    """Members it has now."""
    count: int = 0
    passing: int = 0
    """Those of them that no guard holds yet, and that do not wait for a decision."""
    marks: list[Mark] = field(default_factory=list)
    passing_marks: list[Mark] = field(default_factory=list)


def _losing(bench: Bench) -> list[Losing]:
    """Groups that would lose members who do not leave altogether, in the order of their ids."""
    found: dict[str, Losing] = {}
    for part in bench.removals(Action.REMOVE_MEMBERS):
        table, stays = part.block.table, part.stays[:, 0]
        rows = part.rows(~part.led)
        for group, some in pd.Series(rows).groupby(table["target_id"].iloc[rows].array, sort=False):
            at = some.to_numpy()
            first = table.iloc[at[0]]
            size = int(bench.plan.group_sizes.get(group, 0))
            one = found.setdefault(str(group), Losing(str(first["anchor"]), str(first["label"]), size))
            free = at[~stays[at]]
            one.marks.append(Mark(part, at))
            one.passing_marks += [Mark(part, free)] if len(free) else []
    for one in found.values():
        one.count, one.passing = weight_of(one.marks), weight_of(one.passing_marks)
    return [found[group] for group in sorted(found)]


def judge_members(bench: Bench, limit: Limit) -> None:
    """Members taken out of one group."""
    for one in _losing(bench):
        why = exceeds(one.count, one.size, limit) or _all_of(one.count, one.size)
        if why is None:
            continue
        sentence = (
            f"{several(one.count, 'member')} would be removed from the group {one.label}, {why}: "
            f"{waiting_sentence(one.count, 'removal')} for approval."
        )
        bench.hold(Verdict(Guard.MEMBERS, one.count, sentence, one.label, one.count, one.size, limit), one.marks)


def judge_memberships(bench: Bench, limits: MembershipLimits) -> None:
    """Members taken out of groups of the whole target, and with groups that are deleted: small groups hide nothing."""
    losing = _losing(bench)
    population = _population(bench)
    deleted, marks = _deleted(bench)
    count = sum(one.count for one in losing) + deleted
    marks += [mark for one in losing for mark in one.marks]
    if count and (why := _all_of(count, population) or too_many(count, population, limits)):
        _hold(bench, marks, f"{several(count, 'membership')} would end", why, count, population, limits)


def judge_membership_budget(bench: Bench, limits: MembershipLimits) -> None:
    """The same over time, of the whole target and of each group: slow bleeding stays below the limit of every cycle."""
    history, population = bench.history, _population(bench)
    for period, done, limit in (
        ("24 hours", history.members_in_day, limits.per_day),
        ("seven days", history.members_in_week, limits.per_week),
    ):
        _judge_period(bench, period, done, limit, population)


def _judge_period(bench: Bench, period: str, done: Mapping[str, int], limit: Limit, population: int) -> None:
    for one in _losing(bench):
        before = done.get(one.anchor, 0)
        count = before + one.passing
        if one.passing and (why := exceeds(count, one.size + before, limit)):
            what = f"{several(count, 'member')} would have been removed from the group {one.label} within {period}"
            _hold(bench, one.passing_marks, what, why, count, one.size + before, limit, subject=one.label)
    losing = _losing(bench)
    passing, before = sum(one.passing for one in losing), sum(done.values())
    if passing and (why := too_many(before + passing, population + before, limit)):
        marks = [mark for one in losing for mark in one.passing_marks]
        what = f"{several(before + passing, 'membership')} would have ended within {period}"
        _hold(bench, marks, what, why, before + passing, population + before, limit, subject=period)


def _hold(
    bench: Bench,
    marks: list[Mark],
    what: str,
    why: str,
    count: int,
    population: int,
    limit: Limit,
    *,
    subject: str = "",
) -> None:
    held = weight_of(marks)
    sentence = f"{what}, {why}: {waiting_sentence(held, 'removal')} for approval."
    bench.hold(Verdict(Guard.MEMBERSHIPS, held, sentence, subject, count, population, limit), marks)


def _all_of(count: int, size: int) -> str | None:
    """Whatever the limits say, not everybody goes at once."""
    return f"which is all {size:,} of them" if size >= EVERYBODY_FROM and count >= size else None


def _population(bench: Bench) -> int:
    """Memberships in the target's groups that the job owns."""
    groups = bench.plan.entries.get(Kind.GROUP)
    if groups is None:
        return int(bench.plan.group_sizes.sum())
    sizes = bench.plan.group_sizes
    return int(sizes[sizes.index.isin(groups.known.index)].sum())


def _deleted(bench: Bench) -> tuple[int, list[Mark]]:
    """Memberships that end because their group is deleted, and these groups."""
    count, marks = 0, []
    for part in bench.removals(Action.DELETE):
        if part.block.kind is not Kind.GROUP:
            continue
        rows = part.rows(np.ones(len(part.block), dtype=bool))
        sizes = bench.plan.group_sizes.reindex(part.block.table["target_id"].iloc[rows]).fillna(0).to_numpy()
        if sizes.sum():
            count += int(sizes.sum())
            marks.append(Mark(part, rows[sizes > 0]))
    return count, marks
