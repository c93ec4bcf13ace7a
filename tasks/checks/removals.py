"""Guards on accounts that are taken away: users and groups disabled and deleted, and groups that end."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from connectors.contract import Action, Kind
from tasks.checks.bench import LEAVING, Bench, Guard, Mark, Verdict, causes
from tasks.job import Budget, Limit
from tasks.mapping import Mask
from tasks.plan import Cause
from tasks.sources import part_numbers

EVERYBODY_FROM = 3
"""Removing every account there is trips the guard from this many accounts on, whatever the limits say."""

MOST = 0.5
"""Share of a small population that is too much at once, from ``EVERYBODY_FROM`` on, where the job allows no more."""

_ABSENCE = frozenset(Cause) - {Cause.OUT_OF_SCOPE, Cause.NOT_DUE, Cause.DISABLED, Cause.UNDONE}
"""Causes that follow from something that is missing; the others the entry itself shows."""

_BY_GROUPS = frozenset({Cause.UNASSIGNED, Cause.NOT_A_MEMBER})
_GONE = frozenset({Cause.GONE})

_WOULD_BE = "would be disabled or deleted"


def exceeds(count: int, population: int, limit: Limit) -> str | None:
    """Why a number is too much for a limit, or None; exactly as many as allowed pass."""
    if limit.count is not None and count > limit.count:
        return f"more than the {limit.count:,} allowed"
    if population >= limit.minimum and count > limit.fraction * population:
        return f"more than {_percent(limit.fraction)} of {population:,}"
    return None


def too_many(count: int, population: int, limit: Limit) -> str | None:
    """Why so much may not be taken away, or None: as ``exceeds``, and most of a population below the minimum.

    One of three is a day's work there, and no fraction says so; eighteen of nineteen are a broken export.
    """
    share = max(limit.fraction, MOST)
    if population < limit.minimum and count >= EVERYBODY_FROM and count > share * population:
        return f"more than {_percent(share)} of {population:,}"
    return exceeds(count, population, limit)


def _percent(fraction: float) -> str:
    return f"{fraction * 100:.4g}%"


def judge_completeness(bench: Bench) -> None:
    """An incomplete source proves nobody's absence: what follows from absence is held, approved or not.

    Of several sources an incomplete one stops what follows from absence from it, and nothing else.
    """
    _judge_parts(bench)
    if not bench.plan.incomplete:
        return
    marks = absent_marks(bench, approved=True)
    if held := weight_of(marks):
        why = " ".join(bench.plan.incomplete)
        sentence = (
            f"{waiting_sentence(held, 'removal')} because the source is not complete, so that absence proves "
            f"nothing; a cycle that reads it completely decides anew: {why}"
        )
        bench.hold(Verdict(Guard.COMPLETE_SOURCE, held, sentence, counted=held), marks, approved=True)


def _judge_parts(bench: Bench) -> None:
    """Removals that follow from absence from one of several sources that is incomplete."""
    parts = bench.plan.parts
    for number, part in enumerate(parts):
        if not part.incomplete:
            continue
        marks = [
            Mark(mark.part, rows)
            for mark in absent_marks(bench, approved=True)
            if len(rows := mark.rows[_depends(bench, mark, number)])
        ]
        if held := weight_of(marks):
            sentence = (
                f"{waiting_sentence(held, 'removal')} because the source {part.name} is not complete, so that absence "
                f"from it proves nothing; a cycle that reads it completely decides anew: {' '.join(part.incomplete)}"
            )
            verdict = Verdict(Guard.COMPLETE_SOURCE, held, sentence, part.name, counted=held)
            bench.hold(verdict, marks, approved=True)


def _depends(bench: Bench, mark: Mark, number: int) -> Mask:
    """Which of the marked removals may follow from absence from one of several sources.

    A person is gone from the source that the key is of, and a membership from the source of its group. Who is
    assigned, or passes a filter on memberships, may follow from the groups of any source that has some; so may a
    membership where groups are flattened, since groups of other sources may be inside.
    """
    parts, table = bench.plan.parts, mark.part.block.table.iloc[mark.rows]
    own = np.isin(part_numbers(pd.Index(table["anchor"], dtype="str"), parts), (number, -1))
    by_groups = np.array([cause in _BY_GROUPS for cause in table["cause"]], dtype=bool)
    if bench.plan.flattened:
        by_groups |= np.array([cause is Cause.LEFT_GROUP for cause in table["cause"]], dtype=bool)
    depends: Mask = np.where(by_groups, parts[number].groups | own, own)
    return depends


def _judge_shrunk_parts(bench: Bench, limit: Limit) -> None:
    """Several sources: each is judged by how many of its people who have an account it shows no more."""
    users = bench.plan.entries[Kind.USER]
    known = part_numbers(pd.Index(users.known.array, dtype="str"), bench.plan.parts)
    gone = [mark for mark in absent_marks(bench, approved=False) if mark.part.block.kind is Kind.USER]
    for number, part in enumerate(bench.plan.parts):
        marks = [
            Mark(mark.part, rows)
            for mark in gone
            if len(rows := mark.rows[causes(mark.part.block, _GONE)[mark.rows] & _depends(bench, mark, number)])
        ]
        count, population = weight_of(marks), int((known == number).sum())
        why = exceeds(count, population, limit)
        if not count or why is None or part.incomplete:
            continue
        sentence = (
            f"The source {part.name} no longer shows {count:,} of the {population:,} users who have an account because "
            f"of it, {why}: {waiting_sentence(count, 'removal')} for approval, as absence is the only proof. "
            "People who are back in the source no longer wait."
        )
        bench.hold(Verdict(Guard.SOURCE, count, sentence, part.name, count, population, limit), marks)


def judge_source(bench: Bench, limit: Limit) -> None:
    """A source that has shrunk since it was last believed; people whose removal is decided are not missing."""
    _judge_source_members(bench, limit)
    if bench.plan.parts:
        _judge_shrunk_parts(bench, limit)
        return
    if not bench.history.source_counts:
        return
    before = bench.history.source_counts[0]
    now = bench.plan.source_count[Kind.USER] + bench.accounted
    why = too_many(before - now, before, limit)
    marks = absent_marks(bench, approved=False)
    held = weight_of(marks)
    if why is None or not held:
        return
    sentence = (
        f"The source has {before - now:,} fewer users than the {before:,} it had, {why}: "
        f"{waiting_sentence(held, 'removal')} for approval, as absence is the only proof. "
        "People who are back in the source no longer wait."
    )
    bench.hold(Verdict(Guard.SOURCE, held, sentence, "", before - now, before, limit), marks)


def _judge_source_members(bench: Bench, limit: Limit) -> None:
    """Memberships that the source has no more; those whose removal is decided are not missing."""
    before = bench.history.source_members
    if before is None or any(part.incomplete and part.groups for part in bench.plan.parts):
        return  # what an incomplete source lacks is held already
    missing = before - bench.plan.source_members - bench.accounted_members
    why = too_many(missing, before, limit)
    marks = [mark for mark in absent_marks(bench, approved=False) if mark.part.block.action is Action.REMOVE_MEMBERS]
    held = weight_of(marks)
    if why is None or not held:
        return
    sentence = (
        f"The source has {missing:,} fewer memberships than the {before:,} it had, {why}: "
        f"{waiting_sentence(held, 'removal')} from groups for approval. If the memberships return, nothing waits "
        "any more."
    )
    bench.hold(Verdict(Guard.SOURCE, held, sentence, "memberships", missing, before, limit), marks)


def absent_marks(bench: Bench, *, approved: bool) -> list[Mark]:
    """Removals that follow from absence; memberships that follow their members are judged with these."""
    marks = []
    for part in bench.removals():
        mask = causes(part.block, _ABSENCE) & ~part.led & ~part.held[:, 0]
        if not approved:
            mask &= ~part.approved[:, 0]
        if mask.any():
            marks.append(Mark(part, np.flatnonzero(mask)))
    return marks


@dataclass(slots=True)
class _Removals:
    """Open removals of the accounts of one kind."""

    kind: Kind
    count: int
    population: int
    marks: list[Mark]


def _open_removals(bench: Bench, *, passing: bool = False) -> list[_Removals]:
    """Accounts to be disabled or deleted by kind, groups that end by losing their members included.

    ``passing``: only those that no guard holds yet, and that do not wait for a decision.
    """
    found = {kind: _Removals(kind, 0, entries.population, []) for kind, entries in sorted(bench.plan.entries.items())}
    for part in bench.removals(*LEAVING):
        rows = part.rows(~(part.stays[:, 0] & passing))
        found[part.block.kind].count += len(rows)
        found[part.block.kind].marks.append(Mark(part, rows))
    emptied = {anchor for entries in bench.plan.entries.values() for anchor in entries.emptied}
    ending: set[str] = set()
    for part in bench.removals(Action.REMOVE_MEMBERS):
        ends = part.block.table["anchor"].isin(emptied).to_numpy(dtype=bool)
        rows = part.rows(ends & ~(part.stays[:, 0] & passing))
        if len(rows):
            ending.update(part.block.table["anchor"].iloc[rows])
            found[Kind.GROUP].marks.append(Mark(part, rows))
    if ending:
        found[Kind.GROUP].count += len(ending)
    for one in found.values():  # accounts that are deleted may have been switched off long ago
        one.population = max(one.population, one.count)
    return list(found.values())


def judge_removals(bench: Bench, limit: Limit) -> None:
    """Accounts that would be disabled or deleted by this cycle: those of each kind, then all of them together.

    Each kind is judged on its own: a company with many groups could lose all its people otherwise. What is too much
    together holds also the kinds that are not too much by themselves.
    """
    removals = _open_removals(bench)
    rest = []
    for one in removals:
        why = _exceeds_in_kind(one, limit)
        if why is None:
            rest.append(one)
        else:
            _hold_accounts(bench, Guard.REMOVALS, [one], f"{several(one.count, one.kind)} {_WOULD_BE}, {why}", limit)
    count, population = _totals(removals)
    if _totals(rest)[0] and (why := too_many(count, population, limit)) is not None:
        _hold_accounts(
            bench,
            Guard.REMOVALS,
            rest,
            f"{several(count, 'account')} {_WOULD_BE} together, {why}",
            limit,
            all_of=removals,
        )


def _exceeds_in_kind(one: _Removals, limit: Limit) -> str | None:
    if one.population >= EVERYBODY_FROM and one.count >= one.population:
        return f"which is all {one.population:,} of them"
    return too_many(one.count, one.population, limit)


def judge_budget(bench: Bench, budget: Budget) -> None:
    """Removals over time: slow bleeding stays below the limit of every single cycle.

    What another guard holds does not happen now, and what somebody approved was not slow bleeding: neither counts.
    """
    removals = _open_removals(bench, passing=True)
    count, population = _totals(removals)
    history = bench.history
    for period, done, limit in (
        ("24 hours", history.removed_in_day, budget.per_day),
        ("seven days", history.removed_in_week, budget.per_week),
    ):
        why = too_many(done + count, population + done, limit)
        if count and why is not None:
            what = f"{done + count:,} accounts would have been disabled or deleted within {period}, {why}"
            _hold_accounts(bench, Guard.BUDGET, removals, what, limit, done=done, subject=period)
            return


def _totals(removals: list[_Removals]) -> tuple[int, int]:
    """How many accounts, of how many."""
    return sum(one.count for one in removals), sum(one.population for one in removals)


def _hold_accounts(
    bench: Bench,
    guard: Guard,
    removals: list[_Removals],
    what: str,
    limit: Limit,
    *,
    done: int = 0,
    subject: str = "",
    all_of: list[_Removals] | None = None,
) -> None:
    """Holds removals. ``all_of``: what was counted, where that is more."""
    held = _totals(removals)[0]
    count, population = _totals(removals if all_of is None else all_of)
    sentence = f"{what}: {waiting_sentence(held, 'removal')} for approval."
    verdict = Verdict(guard, held, sentence, subject, count + done, population + done, limit)
    bench.hold(verdict, [mark for one in removals for mark in one.marks])


def weight_of(marks: Iterable[Mark]) -> int:
    """Accounts and members in all of the marks."""
    return sum(mark.weight for mark in marks)


def several(count: int, noun: str) -> str:
    """``1 user``, ``12 users``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def waiting_sentence(count: int, noun: str) -> str:
    """``1 removal waits``, ``12 removals wait``."""
    return f"{several(count, noun)} wait{'s' if count == 1 else ''}"
