"""How far back the log tells who had which account: lines that grew too old were forgotten."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, or_, select

from tasks.ledger.records import CycleState
from tasks.ledger.tables import CYCLE, JOB, LOG

_LEAVE_LINES = ("created", "updated", "enabled", "disabled", "deleted")
"""Counts of a cycle of which each stands for a line."""


def known_since(connection: Connection, jobs: Collection[str]) -> dict[str, tuple[datetime | None, bool]]:
    """Since when every line of a job is kept, None where no cycle was; and whether lines from before were forgotten."""
    oldest = (
        select(LOG.c.cycle_id)
        .where(LOG.c.job == JOB.c.name)
        .order_by(LOG.c.time, LOG.c.id)
        .limit(1)
        .scalar_subquery()
        .label("oldest")
    )
    of = select(JOB.c.name, oldest).where(JOB.c.name.in_(jobs)).cte("of").prefix_with("MATERIALIZED")
    # A cycle that died may have left lines; it counted none.
    left_lines = or_(
        CYCLE.c.state == CycleState.CRASHED.value, *(CYCLE.c.counts[name].as_integer() > 0 for name in _LEAVE_LINES)
    )
    last = (
        select(CYCLE.c.id)
        .where(CYCLE.c.job == of.c.name, or_(of.c.oldest.is_(None), CYCLE.c.id < of.c.oldest), left_lines)
        .order_by(CYCLE.c.number.desc())
        .limit(1)
        .scalar_subquery()
        .label("last")
    )
    emptied = select(of.c.name, last).cte("emptied").prefix_with("MATERIALIZED")
    any_cycle = CYCLE.alias()
    first = (
        select(any_cycle.c.began).where(any_cycle.c.job == emptied.c.name).order_by(any_cycle.c.number).limit(1)
    ).scalar_subquery()
    later = CYCLE.alias()
    following = (
        select(later.c.began)
        .where(later.c.job == emptied.c.name, later.c.number > CYCLE.c.number)
        .order_by(later.c.number)
        .limit(1)
    ).scalar_subquery()
    columns = (CYCLE.c.id, CYCLE.c.began, CYCLE.c.ended, first.label("first"), following.label("following"))
    query = select(emptied.c.name, *columns).outerjoin(CYCLE, CYCLE.c.id == emptied.c.last)
    found: dict[str, tuple[datetime | None, bool]] = dict.fromkeys(jobs, (None, False))
    for row in connection.execute(query):
        emptied_at = row.ended or row.following or row.began
        found[row.name] = (row.first, False) if row.id is None else (emptied_at, True)
    return found
