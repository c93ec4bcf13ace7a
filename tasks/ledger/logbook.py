"""The provisioning log as it is asked and kept: lines newest first, a few or a million of them, and what is old.

Lines are added by the ledger, in the transaction of what they tell about; here nothing is ever altered.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, TypedDict

from sqlalchemy import Connection, Select, delete, exists, func, select

from connectors.contract import Kind
from connectors.errors import ErrorCode
from tasks.ledger.bulk import clean
from tasks.ledger.database import Database
from tasks.ledger.records import COUNTS, AttemptStatus, CycleState, LogAction, LogLine, LogStatus
from tasks.ledger.tables import ATTEMPT, CYCLE, LINK, LOG, PASSED_OVER

READ_AT_ONCE = 2_000
"""Lines in one list: what a reader of a long log has in memory, old and new values included."""

_CYCLES_KEPT = 100
"""Cycles of a job that stay, however old they are."""
_LOOKED_BACK = timedelta(days=7)
"""How long before that moment quiet cycles are looked for: they are looked for with every cycle."""

FORGOTTEN_AT_ONCE = 5_000
"""Rows deleted by one transaction, so that nobody waits long for the database."""


class LogFilters(TypedDict, total=False):
    """Which lines of the log are wanted; all of what is given must hold, and None asks for nothing."""

    cycle: int | None
    """Number of the cycle within the job."""
    identity: str | None
    """An anchor, a target id, or a label in any case."""
    status: LogStatus | None
    action: LogAction | None
    code: ErrorCode | None
    since: datetime | None
    """This moment and later."""
    until: datetime | None
    """Before this moment."""
    change: str | None
    """Id of a change."""
    sent_by: int | None
    """Id of a cycle: lines about changes that it sent, also where a later cycle read back what came of them."""


class Logbook:
    """Questions to the log of one ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def chunks(self, job: str, filters: LogFilters, limit: int | None) -> Iterator[list[LogLine]]:
        """The lines, newest first, in lists of at most ``READ_AT_ONCE``: a log of any length needs little memory."""
        cycles: dict[int, CycleOfLine] = {}
        with self._database.reading() as connection:
            query = _query(connection, job, filters).limit(limit)
            found = connection.execution_options(stream_results=True, yield_per=READ_AT_ONCE).execute(query)
            for rows in found.partitions(READ_AT_ONCE):
                with self._database.reading() as beside:
                    _learn(beside, cycles, {row.cycle_id for row in rows})
                yield [line_of(row, cycles) for row in rows]

    def anchors_of(self, job: str, identity: str) -> list[str]:
        """Anchors that an identity can mean: an anchor, a target id, or a label in any case, of now or of earlier."""
        with self._database.reading() as connection:
            return _anchors_of(connection, job, identity)

    def passed_over(self, job: str, kind: Kind) -> set[str]:
        """Anchors of entries about which the log says already that they get no account."""
        query = select(LOG.c.anchor).where(LOG.c.job == job, LOG.c.kind == kind.value, PASSED_OVER)
        with self._database.reading() as connection:
            return set(connection.scalars(query))

    def forget(self, job: str, before: datetime, *, at_most: int) -> int:
        """Deletes lines, and ended attempts, of a job from before a moment; gives how many rows that were.

        At most so many, in small transactions: what is left goes next time. Attempts whose effect nobody knows stay.
        """
        forgotten = 0
        old_lines = select(LOG.c.id).where(LOG.c.job == job, LOG.c.time < before).order_by(LOG.c.time, LOG.c.id)
        cycles = select(CYCLE.c.id).where(CYCLE.c.job == job, CYCLE.c.ended < before).order_by(CYCLE.c.id)
        forgotten += self._delete(LOG.c.id, old_lines, at_most)
        with self._database.reading() as connection:
            ended = list(connection.scalars(cycles))
        for first, last in _runs(ended):
            if forgotten >= at_most:
                break
            # Ids of changes begin with their cycle's: the primary key finds them.
            old_attempts = select(ATTEMPT.c.change_id).where(
                ATTEMPT.c.job == job,
                ATTEMPT.c.change_id >= f"{first:08d}",
                ATTEMPT.c.change_id < f"{last + 1:08d}",
                ATTEMPT.c.ended_at < before,
                ATTEMPT.c.status.not_in([AttemptStatus.SENT.value, AttemptStatus.UNKNOWN.value]),
            )
            forgotten += self._delete(ATTEMPT.c.change_id, old_attempts, at_most - forgotten)
        return forgotten

    def forget_quiet(self, job: str, before: datetime) -> int:
        """Deletes a job's cycles that did nothing and of which nothing is in the log, as far as they just grew too old.

        The last hundred stay. Only a week is looked at, so that it costs the same after years.
        """
        last = select(func.max(CYCLE.c.number)).where(CYCLE.c.job == job).scalar_subquery()
        old = select(CYCLE.c.id, CYCLE.c.counts).where(
            CYCLE.c.job == job,
            CYCLE.c.state == CycleState.DONE.value,
            CYCLE.c.ended < before,
            CYCLE.c.ended >= before - _LOOKED_BACK,
            CYCLE.c.number <= last - _CYCLES_KEPT,
            ~exists().where(LOG.c.cycle_id == CYCLE.c.id),
        )
        with self._database.reading() as connection:
            found = connection.execute(old.order_by(CYCLE.c.id).limit(FORGOTTEN_AT_ONCE)).all()
        quiet = [id_ for id_, counts in found if not any((counts or {}).get(name) for name in COUNTS)]
        if not quiet:
            return 0
        with self._database.writing() as connection:
            for start in range(0, len(quiet), 500):
                connection.execute(delete(CYCLE).where(CYCLE.c.id.in_(quiet[start : start + 500])))
        return len(quiet)

    def _delete(self, key: Any, rows: Select[Any], at_most: int) -> int:
        deleted = 0
        while deleted < at_most:
            some = rows.limit(min(FORGOTTEN_AT_ONCE, at_most - deleted))
            with self._database.writing() as connection:
                count = connection.execute(delete(key.table).where(key.in_(some))).rowcount
            deleted += count
            if count < FORGOTTEN_AT_ONCE:
                break
        return deleted


class CycleOfLine(TypedDict):
    """What a line says about its cycle."""

    cycle: int | None
    initiator: str
    source: str
    target: str


_NO_CYCLE: CycleOfLine = {"cycle": None, "initiator": "", "source": "", "target": ""}


def _query(connection: Connection, job: str, filters: LogFilters) -> Select[Any]:
    cycle, identity, change = filters.get("cycle"), filters.get("identity"), filters.get("change")
    sender = filters.get("sent_by")
    query = select(LOG).where(LOG.c.job == job)
    # Ids grow with time. Each order is the one that the index of its question gives for nothing; with the other one
    # SQLite, which knows no figures about the rows, would walk the index of the order through the whole log.
    narrow = cycle is not None or identity is not None or change is not None or sender is not None
    query = query.order_by(*([] if narrow else [LOG.c.time.desc()]), LOG.c.id.desc())
    if (status := filters.get("status")) is not None:
        query = query.where(LOG.c.status == status.value)
    if (action := filters.get("action")) is not None:
        query = query.where(LOG.c.action == action.value)
    if (code := filters.get("code")) is not None:
        query = query.where(LOG.c.error_code == code.value)
    if (since := filters.get("since")) is not None:
        query = query.where(LOG.c.time >= since)
    if (until := filters.get("until")) is not None:
        query = query.where(LOG.c.time < until)
    if sender is not None:
        query = query.where(LOG.c.change_id >= f"{sender:08d}", LOG.c.change_id < f"{sender + 1:08d}")
    if cycle is not None:
        number = select(CYCLE.c.id).where(CYCLE.c.job == job, CYCLE.c.number == cycle)
        query = query.where(LOG.c.cycle_id == number.scalar_subquery())
    if identity is not None:
        query = query.where(LOG.c.anchor.in_(_anchors_of(connection, job, identity)))
    if change is not None:
        anchor = connection.scalar(select(ATTEMPT.c.anchor).where(ATTEMPT.c.change_id == change))
        query = query.where(LOG.c.change_id == change)
        if anchor is not None:  # by its index; the log has none by change
            query = query.where(LOG.c.anchor == anchor)
    return query


def _anchors_of(connection: Connection, job: str, identity: str) -> list[str]:
    """Anchors that an identity can mean. Only ids of accounts unlinked long ago cost a pass over the log."""
    folded = clean(identity).casefold()
    indexed = [
        select(LOG.c.anchor).where(LOG.c.job == job, LOG.c.anchor == identity).limit(1),
        select(LOG.c.anchor).where(LOG.c.job == job, LOG.c.identity == folded),
        *(
            select(LINK.c.anchor).where(LINK.c.job == job, LINK.c.kind == kind.value, LINK.c.target_id == identity)
            for kind in Kind
        ),
    ]
    found = {anchor for query in indexed for anchor in connection.scalars(query)}
    if not found:
        past = select(LOG.c.anchor).where(LOG.c.job == job, LOG.c.target_id == identity)
        found.update(connection.scalars(past))
    return sorted(found)


def cycles_of(connection: Connection, ids: set[int]) -> dict[int, CycleOfLine]:
    """What lines say about their cycles, by the ids of these."""
    known: dict[int, CycleOfLine] = {}
    _learn(connection, known, ids)
    return known


def _learn(connection: Connection, cycles: dict[int, CycleOfLine], ids: set[int]) -> None:
    """Looks up the cycles that are not known yet; a join would be made before the limit is applied."""
    unknown = sorted(ids - cycles.keys())
    columns = (CYCLE.c.id, CYCLE.c.number, CYCLE.c.initiator, CYCLE.c.source, CYCLE.c.target)
    for row in connection.execute(select(*columns).where(CYCLE.c.id.in_(unknown))) if unknown else ():
        cycles[row.id] = {
            "cycle": row.number,
            "initiator": row.initiator,
            "source": row.source,
            "target": row.target,
        }


def line_of(row: Any, cycles: dict[int, CycleOfLine]) -> LogLine:
    """A line as it is read."""
    return LogLine(
        id=row.id,
        time=row.time,
        job=row.job,
        kind=row.kind,
        action=row.action,
        status=row.status,
        label=row.label,
        anchor=row.anchor,
        target_id=row.target_id,
        reason=row.reason,
        code=row.error_code,
        message=row.message,
        modified=row.modified,
        duration_ms=row.duration_ms,
        change_id=row.change_id,
        **cycles.get(row.cycle_id, _NO_CYCLE),
    )


def _runs(ids: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of the numbers that follow each other without a gap."""
    start = 0
    for place in range(1, len(ids) + 1):
        if place == len(ids) or ids[place] != ids[place - 1] + 1:
            yield ids[start], ids[place - 1]
            start = place
