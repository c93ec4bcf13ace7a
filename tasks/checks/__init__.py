"""Judges a plan before anything is written: what takes too much away is held back, the rest goes on. Pure.

Every guard counts, and holds exactly what it has counted when that is too much; joiners and everything else run. What
people have approved runs without being judged again, as long as it is the same change with the same values; what they
have rejected is left out of the plan; only an incomplete source holds also what was approved. What was held once and
nobody has decided about stays held, whatever the limits say by then; so does another removal of the same entry. Guards
judge in the order of ``Guard``. What the first two hold, because the source is in doubt, no limit counts; apart from
that several guards may hold the same change, and the person who decides about it reads what all of them say.
"""

from collections.abc import Sequence

from connectors.contract import Snapshot
from connectors.errors import SettingsError
from tasks.checks.administrators import Roster, judge_administrators, rosters
from tasks.checks.bench import NOTHING_BEFORE, Checked, Guard, History, Verdict
from tasks.checks.decided import decision_text, has_run_out, in_force, lay_on_bench, undecided_again, undecided_of
from tasks.checks.earlier import judge_earlier
from tasks.checks.memberships import judge_members, judge_membership_budget, judge_memberships
from tasks.checks.protection import UNPROTECTED, Protection, is_listed, protection_of, spare, unused_names
from tasks.checks.removals import (
    EVERYBODY_FROM,
    exceeds,
    judge_budget,
    judge_completeness,
    judge_removals,
    judge_source,
)
from tasks.checks.rewrites import judge_attributes, judge_updates
from tasks.checks.undecided import judge_undecided
from tasks.checks.waiting import Bookkeeping, keep_books, without_done
from tasks.job import Job, Limits, Members
from tasks.plan import Plan

__all__ = [
    "NOTHING_BEFORE",
    "Bookkeeping",
    "Checked",
    "Guard",
    "History",
    "Protection",
    "Roster",
    "Verdict",
    "check_plan",
    "decision_text",
    "exceeds",
    "has_run_out",
    "in_force",
    "is_listed",
    "keep_books",
    "protection_of",
    "refuse_empty",
    "rosters",
    "undecided_again",
    "undecided_of",
    "unused_names",
    "without_done",
]


def refuse_empty(source: Snapshot, job: Job | None = None, *, members_before: int | None = None) -> None:
    """Stops a cycle whose source has nobody: an empty extract is a fault, not an organisation without people.

    Where everybody is held because of a value that cannot be told now, nobody is gone: the cycle goes on. Groups
    without any member stop it as well, where the job removes members and the source had some (``members_before``).
    Raises: SettingsError.
    """
    unknown = {key for keys in source.unknown.values() for key in keys} if not len(source.users) else set()
    if not len(source.users) and not any(row.key in unknown for row in source.unreadable):
        unread = ""
        if source.unreadable:
            first = source.unreadable[0]
            rows = "1 row" if len(source.unreadable) == 1 else f"{len(source.unreadable):,} rows"
            unread = f" {rows} could not be read, the first because of this: {first.place}: {first.reason}"
        raise SettingsError(f"The source ({source.system}) has no users at all.{unread} Nothing was written.")
    if job is None or job.groups is None or job.groups.members is Members.ADDITIVE or len(source.members):
        return
    meant = job.limits.source.count is None and job.limits.source.fraction >= 1
    if len(source.groups) and (members_before or 0) >= EVERYBODY_FROM and not meant:
        raise SettingsError(
            f"The source ({source.system}) has {len(source.groups):,} groups and no membership at all; it had "
            f"{members_before:,}. Nothing was written. If all groups are to lose their members, set limits.source to "
            "{fraction: 1} for one cycle."
        )


def check_plan(
    plan: Plan,
    limits: Limits,
    history: History = NOTHING_BEFORE,
    administrators: Sequence[Roster] = (),
    protection: Protection = UNPROTECTED,
) -> Checked:
    """The plan divided into what may run and what is held, with what waits for a decision.

    Every plan passes here on its way to the target, whatever made it: nothing else makes a ``Checked``, and nothing
    else is loaded.
    """
    spared = spare(plan, protection)
    bench, approved, rejected = lay_on_bench(spared.plan, history, spared=spared.ids, own=protection.own)
    judge_completeness(bench)
    judge_source(bench, limits.source)
    bench.doubt()
    judge_earlier(bench)
    judge_removals(bench, limits.removals)
    judge_members(bench, limits.members)
    judge_memberships(bench, limits.memberships)
    judge_administrators(bench, administrators)
    judge_budget(bench, limits.budget)
    judge_membership_budget(bench, limits.memberships)
    judge_attributes(bench, limits.attribute)
    judge_updates(bench, limits.updates)
    judge_undecided(bench)
    checked = bench.result()
    checked.approved, checked.rejected, checked.known = approved, rejected, history.staged
    checked.unjudged = frozenset((entry.kind, entry.anchor) for entry in plan.held)
    return checked
