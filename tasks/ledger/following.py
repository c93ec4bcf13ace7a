"""Whose turn it is among jobs that run after others.

Nothing is sent from job to job that could get lost: every cycle remembers up to which cycle of the jobs before it it
has looked, and whether one of them has carried out something since then is asked of the log.
"""

from collections.abc import Collection

from sqlalchemy import Connection, exists, func, select

from tasks.ledger.database import Database
from tasks.ledger.records import FINISHED_STATES, WHOLE_KINDS, CycleState, LogStatus
from tasks.ledger.tables import CYCLE, LOG


class Following:
    """Jobs that run after others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def looked(self, job: str) -> dict[str, int]:
        """The jobs that a job runs after, each with the number of the last cycle that it has looked at."""
        with self._database.reading() as connection:
            return _looked(connection, job)

    def news(self, job: str, after: Collection[str]) -> dict[str, int]:
        """Jobs before this one that have carried out changes since it looked, each with the number of that cycle.

        A cycle that failed, was stopped or died counts when something of it was carried out, and one that found
        nothing to do does not. Empty: nothing is new.
        """
        with self._database.reading() as connection:
            looked = _looked(connection, job) if after else {}
            found = {one: _last_change(connection, one, looked.get(one, 0)) for one in after}
        return {one: number for one, number in sorted(found.items()) if number is not None}


def ended_of(connection: Connection, after: Collection[str]) -> dict[str, int]:
    """The number of the last cycle of each job that has ended."""
    ended = (
        select(CYCLE.c.job, func.max(CYCLE.c.number))
        .where(CYCLE.c.job.in_(after), CYCLE.c.state != CycleState.RUNNING.value)
        .group_by(CYCLE.c.job)
    )
    return dict(connection.execute(ended).tuples().all()) if after else {}


def _looked(connection: Connection, job: str) -> dict[str, int]:
    """Up to where the last cycle of a job has looked that evaluated its whole source."""
    row = connection.execute(
        select(CYCLE.c.followed)
        .where(
            CYCLE.c.job == job,
            CYCLE.c.state.in_([state.value for state in FINISHED_STATES]),
            CYCLE.c.kind.in_([kind.value for kind in WHOLE_KINDS]),
        )
        .order_by(CYCLE.c.number.desc())
        .limit(1)
    ).one_or_none()
    return dict(row.followed or {}) if row is not None else {}


def _last_change(connection: Connection, job: str, since: int) -> int | None:
    carried_out = exists().where(
        LOG.c.cycle_id == CYCLE.c.id, LOG.c.status == LogStatus.SUCCESS.value, LOG.c.change_id.is_not(None)
    )
    number: int | None = connection.scalar(
        select(CYCLE.c.number)
        .where(CYCLE.c.job == job, CYCLE.c.number > since, CYCLE.c.state != CycleState.RUNNING.value, carried_out)
        .order_by(CYCLE.c.number.desc())
        .limit(1)
    )
    return number
