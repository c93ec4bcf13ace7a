"""How far back the log tells who had which account: lines that grew too old were forgotten."""

from datetime import datetime

from sqlalchemy import Connection, or_, select

from tasks.ledger.records import CycleState
from tasks.ledger.tables import CYCLE, LOG

_LEAVE_LINES = ("created", "updated", "enabled", "disabled", "deleted")
"""Counts of a cycle of which each stands for a line."""


def known_since(connection: Connection, job: str) -> tuple[datetime | None, bool]:
    """Since when every line of a job is kept, None where no cycle was; and whether lines from before were forgotten."""
    first = select(CYCLE.c.began).where(CYCLE.c.job == job).order_by(CYCLE.c.number).limit(1)
    oldest = connection.scalar(select(LOG.c.cycle_id).where(LOG.c.job == job).order_by(LOG.c.time, LOG.c.id).limit(1))
    # A cycle that died may have left lines; it counted none.
    left_lines = or_(
        CYCLE.c.state == CycleState.CRASHED.value, *(CYCLE.c.counts[name].as_integer() > 0 for name in _LEAVE_LINES)
    )
    emptied = select(CYCLE.c.number, CYCLE.c.began, CYCLE.c.ended).where(CYCLE.c.job == job, left_lines)
    if oldest is not None:
        emptied = emptied.where(CYCLE.c.id < oldest)
    last = connection.execute(emptied.order_by(CYCLE.c.number.desc()).limit(1)).one_or_none()
    if last is None:
        return connection.scalar(first), False
    following = select(CYCLE.c.began).where(CYCLE.c.job == job, CYCLE.c.number > last.number)
    return last.ended or connection.scalar(following.order_by(CYCLE.c.number).limit(1)) or last.began, True
