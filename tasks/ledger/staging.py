"""Changes that guards hold, looked at and changed in one transaction: of two who decide, one is first.

A decision reads what waits, judges it and writes it anew; a cycle does the same with what it holds. Between the reading
and the writing nobody else may write, or both would decide.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from connectors.contract import Action, Kind
from tasks.ledger import cycles, leases, rows
from tasks.ledger.bulk import Bulk
from tasks.ledger.logbook import cycles_of, line_of
from tasks.ledger.records import Cycle, CycleKind, CycleState, LogAction, LogEntry, LogLine, Staged, StagedState
from tasks.ledger.tables import CYCLE, JOB, LOG, STAGED

LOGGED = tuple(column.name for column in LOG.columns if column.name != "id")
"""Columns of a line of the provisioning log as it is written."""
_LOOKED_FOR = 100
"""Entries of which one is enough to know who has decided."""


class StagedChanges:
    """What the guards of a job hold, within a transaction in which nobody else changes it.

    Whatever a decision asks for is asked here, of the same connection: deciders who each waited for a second one while
    they keep the first would wait for each other.
    """

    def __init__(self, connection: Connection, bulk: Bulk, job: str) -> None:
        """Waits until nobody else has them."""
        # On PostgreSQL the row of the job is the lock: whoever begins a cycle writes it too. A statement of its own, so
        # that the next one sees what the other wrote. SQLite has one writer at a time anyway.
        connection.execute(select(JOB.c.name).where(JOB.c.name == job).with_for_update(key_share=True)).all()
        self._connection = connection
        self._bulk = bulk
        self._job = job

    def all(self) -> list[Staged]:
        """All of them, by kind, action, anchor, state and part."""
        return read_staged(self._connection, self._job)

    def runner(self, now: datetime) -> str | None:
        """Who runs the job now, and may be carrying out what is approved; no run begins within the transaction."""
        return leases.holder(self._connection, self._job, now=now)

    def rules(self) -> dict[str, Any]:
        """Who may decide, as the job's latest cycle said; nothing where it did not say."""
        return read_rules(self._connection, self._job)

    def cycle(self, id_: int) -> Cycle | None:
        """One cycle of the job."""
        return next(iter(cycles.latest(self._connection, self._job, 1, CYCLE.c.id == id_)), None)

    def last_cycle(self, *, states: Collection[CycleState] = (), kinds: Collection[CycleKind] = ()) -> Cycle | None:
        """The job's latest cycle, of these states and kinds where some are given."""
        return next(iter(cycles.latest(self._connection, self._job, 1, states=states, kinds=kinds)), None)

    def last_decision(self, entries: Sequence[tuple[Kind, str]], *, since: datetime) -> LogLine | None:
        """What the log says last of a decision about one of some entries, or of any where none is named."""
        return last_decision(self._connection, self._job, entries, since)

    def put(self, staged: Iterable[Staged]) -> None:
        """Add or replace; one for each kind, action, anchor, state and part."""
        held = {one.place: rows.staged_row(self._job, one, self._bulk.time) for one in staged}
        self._bulk.upsert(self._connection, STAGED, held.values())

    def drop(self, staged: Collection[Staged]) -> None:
        """Forget them: carried out, decided otherwise, or no longer wanted."""
        anchors: dict[tuple[Kind, Action, StagedState, str], list[str]] = {}
        for one in staged:
            anchors.setdefault((one.kind, one.action, one.state, one.part), []).append(one.anchor)
        for (kind, action, state, part), some in sorted(anchors.items()):
            where = {"job": self._job, "kind": kind.value, "action": action.value, "state": state.value, "part": part}
            self._bulk.delete(self._connection, STAGED, where, "anchor", some)

    def log(self, cycle: Cycle, entries: Iterable[LogEntry], *, now: datetime) -> None:
        """Add lines to the provisioning log about what is decided."""
        moment = self._bulk.time(now)
        self._bulk.insert(
            self._connection, LOG, LOGGED, (rows.log_row(cycle, entry, moment, self._bulk.time) for entry in entries)
        )


def read_staged(connection: Connection, job: str, state: StagedState | None = None) -> list[Staged]:
    """What guards of a job hold, by kind, action, anchor, state and part; of one state where one is given."""
    query = select(STAGED).where(STAGED.c.job == job)
    if state is not None:
        query = query.where(STAGED.c.state == state.value)
    found = [rows.staged_from(row) for row in connection.execute(query).all()]
    return sorted(found, key=lambda one: (one.kind, one.action, one.anchor, one.state, one.part))


def read_rules(connection: Connection, job: str) -> dict[str, Any]:
    """Who may decide about what a job's guards hold, as its latest cycle said; nothing where it did not say."""
    return connection.scalar(select(JOB.c.approval).where(JOB.c.name == job)) or {}


def last_decision(
    connection: Connection, job: str, entries: Sequence[tuple[Kind, str]], since: datetime
) -> LogLine | None:
    """The latest line of the log that says what somebody has decided, about one of some entries if any are named.

    Entries are told by kind and anchor: a user and a group may share one.
    """
    decisions = (LogAction.APPROVE.value, LogAction.REJECT.value)
    query = select(LOG).where(LOG.c.job == job, LOG.c.time >= since, LOG.c.action.in_(decisions))
    if entries:
        some = list(entries)[:_LOOKED_FOR]
        by_kind = {kind: [anchor for of, anchor in some if of is kind] for kind, _ in some}
        query = query.where(
            or_(*(and_(LOG.c.kind == kind.value, LOG.c.anchor.in_(anchors)) for kind, anchors in by_kind.items()))
        )
    row = connection.execute(query.order_by(LOG.c.time.desc(), LOG.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else line_of(row, cycles_of(connection, {row.cycle_id}))
