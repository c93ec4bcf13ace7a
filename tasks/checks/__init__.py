"""Judges a plan before anything is written: what takes too much away is held back, the rest goes on. Pure.

Every guard counts, and holds exactly what it has counted when that is too much; joiners and everything else run. What
people have approved runs without being judged again, what they have rejected is left out of the plan; only an
incomplete source holds also what was approved. Guards judge in the order of ``Guard``. What the first two hold, because
the source is in doubt, no limit counts; apart from that several guards may hold the same change, and whoever decides
about it reads what all of them say.
"""

from collections.abc import Sequence

from connectors.contract import Snapshot
from connectors.errors import SettingsError
from tasks.checks.administrators import Roster, judge_administrators, rosters
from tasks.checks.bench import NOTHING_BEFORE, Checked, Guard, History, Verdict
from tasks.checks.decided import decision_text, in_force, lay_on_bench
from tasks.checks.removals import (
    exceeds,
    judge_budget,
    judge_completeness,
    judge_members,
    judge_removals,
    judge_source,
)
from tasks.checks.rewrites import judge_attributes, judge_updates
from tasks.checks.waiting import Bookkeeping, keep_books
from tasks.job import Limits
from tasks.plan import Plan

__all__ = [
    "NOTHING_BEFORE",
    "Bookkeeping",
    "Checked",
    "Guard",
    "History",
    "Roster",
    "Verdict",
    "check_plan",
    "decision_text",
    "exceeds",
    "in_force",
    "keep_books",
    "refuse_empty",
    "rosters",
]


def refuse_empty(source: Snapshot) -> None:
    """Stops a cycle whose source has nobody: an empty extract is a fault, not an organisation without people.

    Raises: SettingsError.
    """
    if not len(source.users):
        unread = f" {len(source.unreadable)} rows could not be read." if source.unreadable else ""
        raise SettingsError(f"The source ({source.system}) has no users at all.{unread} Nothing was written.")


def check_plan(
    plan: Plan, limits: Limits, history: History = NOTHING_BEFORE, administrators: Sequence[Roster] = ()
) -> Checked:
    """The plan divided into what may run and what is held, with what waits for a decision."""
    bench, approved, rejected = lay_on_bench(plan, history)
    judge_completeness(bench)
    judge_source(bench, limits.source)
    bench.doubt()
    judge_removals(bench, limits.removals)
    judge_members(bench, limits.members)
    judge_administrators(bench, administrators)
    judge_budget(bench, limits.budget)
    judge_attributes(bench, limits.attribute)
    judge_updates(bench, limits.updates)
    checked = bench.result()
    checked.approved, checked.rejected = approved, rejected
    return checked
