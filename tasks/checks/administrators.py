"""The guard that somebody is left to administer the target."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from connectors.contract import Action, Kind, Snapshot
from tasks.checks.bench import LEAVING, Bench, Guard, Mark, Part, Verdict
from tasks.job import Job
from tasks.keys import Rows
from tasks.plan import Plan


@dataclass(frozen=True, slots=True)
class Roster:
    """One group of the target that must not run out of active members."""

    label: str
    target_id: str
    active: frozenset[str]
    """Target ids of its members that are switched on; members that are groups do not count."""
    minimum: int


def rosters(job: Job, plan: Plan, target: Snapshot, *, switch: str | None) -> list[Roster]:
    """The groups that ``limits.administrators`` names by anchor, id, or value of a matching attribute in any case.

    A name that no group of the target has is passed over: there is nobody to protect yet.
    """
    wanted = job.limits.administrators
    if not wanted.groups or job.groups is None:
        return []
    names = {name.casefold() for name in wanted.groups}
    groups, users = target.groups, target.users
    ids = {str(id_): str(id_) for id_ in groups.index if str(id_).casefold() in names}
    known = plan.entries[Kind.GROUP].known
    ids |= {str(id_): str(anchor) for id_, anchor in known.items() if str(anchor).casefold() in names}
    for path in dict.fromkeys(rule.target for rule in job.groups.matching if rule.target in groups):
        called = groups[path].astype("str")
        named = called[called.str.casefold().isin(names).to_numpy(dtype=bool)]
        ids |= {str(id_): str(name) for id_, name in named.items()}
    active = users.index
    if switch is not None and switch in users:
        active = active[users[switch].fillna(True).to_numpy(dtype=bool)]
    found = []
    for id_, label in sorted(ids.items()):
        members = target.members["member"][(target.members["group"] == id_).to_numpy(dtype=bool)]
        seats = frozenset(str(member) for member in pd.Index(members).intersection(active))
        found.append(Roster(label, id_, seats, wanted.minimum))
    return found


def judge_administrators(bench: Bench, rosters: Sequence[Roster]) -> None:
    """Whatever would leave one of these groups with too few active members is held.

    Members that the same cycle adds do not count: adding can fail. What was approved counts as gone.
    """
    for roster in rosters:
        leaving: set[str] = set()
        marks: list[Mark] = []
        for part in bench.removals():
            rows, lost = _taken(part, roster)
            if len(rows):
                leaving |= lost
                marks.append(Mark(part, rows[~part.approved[rows, 0]]))
        left = len(roster.active - leaving)
        held = sum(mark.weight for mark in marks)
        if not held or left >= roster.minimum:
            continue
        sentence = (
            f"{left:,} active members of {len(roster.active):,} would be left in {roster.label}, which must keep "
            f"{roster.minimum:,}: what takes them away waits for approval, or for somebody else to be a member there."
        )
        counted = len(roster.active & leaving)
        bench.hold(Verdict(Guard.ADMINISTRATORS, held, sentence, roster.label, counted, len(roster.active)), marks)


def _taken(part: Part, roster: Roster) -> tuple[Rows, set[str]]:
    """Rows of a part that take active members away, and whom."""
    block = part.block
    nobody = np.array([], dtype=np.int64), set[str]()
    if block.action is Action.REMOVE_MEMBERS:
        rows: list[int] = []
        lost: set[str] = set()
        for row in np.flatnonzero((block.table["target_id"] == roster.target_id).to_numpy(dtype=bool)):
            gone = roster.active.intersection(block.table["member_ids"].iloc[row])
            if gone and not part.led[row]:
                rows.append(int(row))
                lost |= gone
        return np.array(rows, dtype=np.int64), lost
    if block.action not in LEAVING:
        return nobody
    ids = block.table["target_id"]
    if block.kind is Kind.GROUP:
        rows_of_group = np.flatnonzero((ids == roster.target_id).to_numpy(dtype=bool))
        return rows_of_group, set(roster.active) if len(rows_of_group) else set()
    rows_of_users = np.flatnonzero(ids.isin(roster.active).to_numpy(dtype=bool))
    return rows_of_users, set(ids.iloc[rows_of_users])
