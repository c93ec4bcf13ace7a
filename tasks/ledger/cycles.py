"""Cycles as they are opened, closed and looked up. Every function works in the transaction that it is given."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from tasks.ledger import leases, rows
from tasks.ledger.bulk import clean
from tasks.ledger.following import ended_of
from tasks.ledger.records import Cycle, CycleEnd, CycleKind, CycleState, Lease, LeaseLostError
from tasks.ledger.several import ends_at
from tasks.ledger.tables import CYCLE

_DIED = "The process died before the cycle finished."


def check_fence(connection: Connection, cycle: Cycle | None) -> None:
    """Pass when nobody has taken the cycle's job over, or nobody can have. Raises: LeaseLostError."""
    if cycle is not None and cycle.fence is not None:
        leases.check(connection, cycle.job, cycle.fence)


def holds_fence(connection: Connection, cycle: Cycle) -> bool:
    """True when nobody has taken the cycle's job over, or nobody can have."""
    return cycle.fence is None or leases.holds(connection, cycle.job, cycle.fence)


def begin(
    connection: Connection,
    job: str,
    kind: CycleKind,
    *,
    fingerprint: str,
    now: datetime,
    flow_run_id: str | None,
    initiator: str,
    lease: Lease | None,
    after: Collection[str] = (),
) -> Cycle:
    """Open the next cycle; whatever still stands as running belongs to dead processes."""
    connection.execute(
        update(CYCLE)
        .where(CYCLE.c.job == job, CYCLE.c.state == CycleState.RUNNING.value)
        .values(state=CycleState.CRASHED.value, message=_DIED)
    )
    last = connection.scalar(select(func.max(CYCLE.c.number)).where(CYCLE.c.job == job))
    values = {
        "job": job,
        "number": (last or 0) + 1,
        "kind": CycleKind(kind).value,
        "state": CycleState.RUNNING.value,
        "fingerprint": fingerprint,
        "began": now,
        "message": "",
        "flow_run_id": flow_run_id,
        "initiator": initiator,
        "source": "",
        "target": "",
        "followed": ended_of(connection, after) or None,
    }
    row = connection.execute(CYCLE.insert().values(values).returning(*CYCLE.columns)).one()
    return replace(rows.cycle_from(row), fence=lease.fence if lease else None)


def end(connection: Connection, cycle: Cycle, end: CycleEnd) -> Cycle:
    """Close a cycle. Raises: LeaseLostError when it is no longer running."""
    check_fence(connection, cycle)
    row = connection.execute(
        update(CYCLE)
        .where(CYCLE.c.id == cycle.id, CYCLE.c.state == CycleState.RUNNING.value)
        .values(
            state=CycleState(end.state).value,
            counts=dict(end.counts),
            message=clean(end.message),
            ended=end.now,
            watermark=end.watermark,
            source_count=end.source_count,
            source_members=end.source_members,
            target_count=end.target_count,
            source=clean(end.source),
            target=clean(end.target),
        )
        .returning(*CYCLE.columns)
    ).one_or_none()
    if row is None:
        raise LeaseLostError(
            f"Cycle {cycle.number} of job {cycle.job} was already closed, or another cycle took over. Its changes "
            "are in the log; its watermark was not moved."
        )
    return rows.cycle_from(row)


def latest(
    connection: Connection,
    job: str,
    limit: int,
    *conditions: ColumnElement[bool],
    states: Collection[CycleState] = (),
    kinds: Collection[CycleKind] = (),
) -> list[Cycle]:
    """The job's latest cycles for which the conditions hold, newest first; of these states and kinds, if any."""
    query = select(CYCLE).where(CYCLE.c.job == job, *conditions).order_by(CYCLE.c.number.desc()).limit(limit)
    if states:
        query = query.where(CYCLE.c.state.in_([state.value for state in states]))
    if kinds:
        query = query.where(CYCLE.c.kind.in_([kind.value for kind in kinds]))
    return [rows.cycle_from(row) for row in connection.execute(query)]


def latest_of(
    connection: Connection,
    jobs: Collection[str],
    limit: int,
    which: Callable[[Any], Sequence[ColumnElement[bool]]] = lambda cycle: (),
) -> dict[str, list[Cycle]]:
    """The latest cycles of each job, newest first; ``which``: conditions for them, given the table."""
    found: dict[str, list[Cycle]] = {job: [] for job in jobs}
    if not jobs:
        return found
    ends = ends_at(CYCLE, "number", jobs, limit, which)
    query = (
        select(CYCLE)
        .join(ends, (CYCLE.c.job == ends.c.name) & (CYCLE.c.number >= ends.c.first))
        .where(*which(CYCLE))
        .order_by(CYCLE.c.job, CYCLE.c.number.desc())
    )
    for row in connection.execute(query):
        found[row.job].append(rows.cycle_from(row))
    return found


def ignorant_since(connection: Connection, job: str, cycle_id: int) -> list[int]:
    """Ids of later cycles that kept no knowledge of the target: of a few entries only, or not come to their end."""
    partial = CYCLE.c.kind.in_([kind.value for kind in CycleKind if kind.partial])
    broken = CYCLE.c.state.in_([CycleState.STOPPED.value, CycleState.CRASHED.value])
    return list(
        connection.scalars(select(CYCLE.c.id).where(CYCLE.c.job == job, CYCLE.c.id > cycle_id, partial | broken))
    )


def standing(connection: Connection, some: Sequence[Cycle], now: datetime) -> list[Cycle]:
    """Cycles as they stand: one that says that it runs, and whose job no run holds any more, is dead."""
    held = leases.held(connection, {one.job for one in some if one.state is CycleState.RUNNING}, now=now)
    return [
        replace(one, state=CycleState.CRASHED, message=_DIED)
        if one.state is CycleState.RUNNING and one.job not in held
        else one
        for one in some
    ]


def note_plan(connection: Connection, cycle: Cycle, plan: str) -> None:
    """Write down, with its initiator, that a running cycle carries out a plan file. Raises: LeaseLostError."""
    check_fence(connection, cycle)
    initiator = ", ".join(filter(None, (cycle.initiator, f"by plan {plan}")))
    connection.execute(update(CYCLE).where(CYCLE.c.id == cycle.id).values(initiator=initiator, plan=plan))


def of_plan(connection: Connection, job: str, plan: str) -> Cycle | None:
    """The job's latest cycle that carried out, or began to carry out, a plan file.

    The database is not asked for an order: it would walk through all cycles to have it, not through those of the plan.
    """
    rows_found = connection.execute(select(CYCLE).where(CYCLE.c.job == job, CYCLE.c.plan == plan)).all()
    return max(map(rows.cycle_from, rows_found), key=lambda cycle: cycle.number, default=None)
