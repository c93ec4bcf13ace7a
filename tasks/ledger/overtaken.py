"""What a run may still write down after another one has taken its job over: what it learned, and nothing that decides.

Its requests were sent before it was overtaken, and some were answered since. The run that has the job now may have seen
their effect already, or made an account of its own for the same entry. So no link is written; what took effect counts
as unknown, with the id of its account, and the next cycle looks there. An account of an entry that has another one by
now belongs to nobody: the log says so at once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from connectors.contract import Action, Change, Outcome, Status
from tasks.ledger.records import AttemptStatus, Cycle, LogEntry, orphan_line
from tasks.ledger.tables import ATTEMPT, LINK

_OPEN = frozenset({AttemptStatus.SENT.value, AttemptStatus.UNKNOWN.value})


def as_overtaken(
    connection: Connection,
    cycle: Cycle,
    changes: Sequence[Change],
    outcomes: Sequence[Outcome],
    lines: Sequence[LogEntry],
) -> tuple[list[Outcome], list[LogEntry]]:
    """Outcomes and lines of the log as a cycle that was overtaken may write them down."""
    by_id = {change.id: change for change in changes}
    by_change = {line.change_id: line for line in lines if line.change_id is not None}
    kept_outcomes: list[Outcome] = []
    kept_lines: list[LogEntry] = []
    for outcome in outcomes:
        change = by_id[outcome.change_id]
        status = connection.scalar(select(ATTEMPT.c.status).where(ATTEMPT.c.change_id == change.id))
        if status == AttemptStatus.DONE.value or (status not in _OPEN and outcome.status is not Status.DONE):
            continue  # the run that has the job now has found out, and has said so
        line = by_change.get(change.id)
        if outcome.status is not Status.DONE:
            kept_outcomes.append(outcome)
            kept_lines += [line] if line is not None else []
        elif (owned := _account_since(connection, cycle, change, outcome)) is not None and line is not None:
            kept_outcomes.append(outcome)
            kept_lines.append(orphan_line(line, str(outcome.target_id), owned))
        else:
            kept_outcomes.append(replace(outcome, status=Status.UNKNOWN))
    return kept_outcomes, kept_lines


def _account_since(connection: Connection, cycle: Cycle, change: Change, outcome: Outcome) -> str | None:
    """The other account that a newer cycle has linked the entry of a create to; None where there is none."""
    if change.action is not Action.CREATE or outcome.target_id is None:
        return None
    mine = (LINK.c.job == cycle.job, LINK.c.kind == change.kind.value, LINK.c.anchor == change.anchor)
    row: Any = connection.execute(select(LINK.c.target_id, LINK.c.cycle_id).where(*mine)).one_or_none()
    if row is None or row.cycle_id <= cycle.id or row.target_id == outcome.target_id:
        return None
    return str(row.target_id)
