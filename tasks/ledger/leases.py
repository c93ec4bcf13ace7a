"""One running cycle per job, across machines: a lease with an end, and a fence that grows with every holder.

A holder that stalls past its end may be overtaken; its fence is then too low, and whatever checks the fence refuses it.
Every step is one statement on one row, so two machines that try at once are put in order by the database.

On PostgreSQL, which several machines share, the database's clock says when a lease ends: a machine whose own clock is
wrong takes no living lease. SQLite is one machine's, and the caller's clock is the only one there.

Source: Martin Kleppmann, How to do distributed locking (2016), on fencing tokens.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, func, literal, or_, select, update
from sqlmodel import UTCDateTime

from tasks.ledger.records import JobBusyError, Lease, LeaseLostError
from tasks.ledger.tables import LEASE


def acquire(
    connection: Connection, job: str, holder: str, *, now: datetime, duration: timedelta, instead_of: str | None = None
) -> Lease:
    """Take the job when nobody has it, when the lease of who has it has ended, or when ``instead_of`` has it.

    Raises: JobBusyError.
    """
    present = _present(connection, now)
    # Two machines that meet a job for the first time both get here; the second finds the row of the first.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    statement = (
        insert(LEASE)
        .values(job=job, holder=holder, expires_at=_later(connection, now, duration), fence=1)
        .on_conflict_do_update(
            index_elements=[LEASE.c.job],
            set_={"holder": holder, "expires_at": _later(connection, now, duration), "fence": LEASE.c.fence + 1},
            where=or_(LEASE.c.expires_at.is_(None), LEASE.c.expires_at <= present, LEASE.c.holder == instead_of),
        )
        .returning(LEASE.c.fence, LEASE.c.expires_at)
    )
    taken = connection.execute(statement).one_or_none()
    if taken is None:
        row = connection.execute(select(LEASE.c.holder, LEASE.c.expires_at).where(LEASE.c.job == job)).one()
        raise JobBusyError(
            f"Job {job} is being run by {row.holder}, whose lease ends at {row.expires_at:%Y-%m-%d %H:%M:%S} UTC "
            "unless renewed. Wait for that run, or stop it.",
            holder=row.holder,
        )
    return Lease(job, holder, taken.fence, taken.expires_at)


def renew(connection: Connection, lease: Lease, *, now: datetime, duration: timedelta) -> Lease:
    """Move the end of a lease that is still the newest. Raises: LeaseLostError."""
    mine = (LEASE.c.job == lease.job, LEASE.c.fence == lease.fence, LEASE.c.expires_at.is_not(None))
    statement = update(LEASE).where(*mine).values(expires_at=_later(connection, now, duration))
    expires_at = connection.scalar(statement.returning(LEASE.c.expires_at))
    if expires_at is None:
        raise _lost(connection, lease.job)
    return Lease(lease.job, lease.holder, lease.fence, expires_at)


def left(connection: Connection, job: str, fence: int, *, now: datetime) -> timedelta:
    """How long the lease lasts from now on, unless it is renewed; negative where it has ended and nobody took it.

    Raises: LeaseLostError.
    """
    query = select(LEASE.c.fence, LEASE.c.expires_at, _present(connection, now).label("present"))
    row = connection.execute(query.where(LEASE.c.job == job, LEASE.c.expires_at.is_not(None))).one_or_none()
    if row is None or row.fence != fence:
        raise _lost(connection, job)
    remaining: timedelta = row.expires_at - row.present
    return remaining


def holder(connection: Connection, job: str, *, now: datetime) -> str | None:
    """Who may run the job at this moment; None where nobody does."""
    lives = (LEASE.c.job == job, LEASE.c.expires_at > _present(connection, now))
    found: str | None = connection.scalar(select(LEASE.c.holder).where(*lives))
    return found


def held(connection: Connection, jobs: Collection[str], *, now: datetime) -> set[str]:
    """Those of some jobs that a run holds at this moment."""
    lives = (LEASE.c.job.in_(jobs), LEASE.c.expires_at > _present(connection, now))
    return set(connection.scalars(select(LEASE.c.job).where(*lives))) if jobs else set()


def release(connection: Connection, lease: Lease) -> None:
    """Let go; the row stays, so that the next fence is higher."""
    mine = (LEASE.c.job == lease.job, LEASE.c.fence == lease.fence)
    connection.execute(update(LEASE).where(*mine).values(expires_at=None))


def check(connection: Connection, job: str, fence: int) -> None:
    """Pass when this fence is still the job's. Within a transaction that writes, it stays so until the commit.

    Raises: LeaseLostError.
    """
    if not holds(connection, job, fence):
        raise _lost(connection, job)


def holds(connection: Connection, job: str, fence: int) -> bool:
    """True when this fence is still the job's; see :func:`check`."""
    # FOR SHARE makes who wants to take the lease wait for us; SQLite, with its one writer, needs no such thing.
    row = connection.execute(
        select(LEASE.c.fence).where(LEASE.c.job == job, LEASE.c.expires_at.is_not(None)).with_for_update(read=True)
    ).one_or_none()
    return row is not None and row.fence == fence


def _present(connection: Connection, now: datetime) -> ColumnElement[datetime]:
    """This moment by the clock that counts."""
    if connection.dialect.name == "sqlite":
        return literal(now, UTCDateTime)
    return func.clock_timestamp(type_=UTCDateTime)


def _later(connection: Connection, now: datetime, duration: timedelta) -> ColumnElement[datetime]:
    """The moment when a lease ends that begins now."""
    if connection.dialect.name == "sqlite":
        return literal(now + duration, UTCDateTime)
    return func.clock_timestamp(type_=UTCDateTime) + literal(duration)


def _lost(connection: Connection, job: str) -> LeaseLostError:
    holder = connection.scalar(select(LEASE.c.holder).where(LEASE.c.job == job, LEASE.c.expires_at.is_not(None)))
    if holder is None:
        return LeaseLostError(
            f"Job {job} is no longer this run's: its lease ended, and another run may have come and gone since. "
            "This run sends nothing more; the next one finds out what came of its requests."
        )
    return LeaseLostError(
        f"{holder} has taken over job {job}, because this run did not renew its lease in time. This run sends "
        "nothing more; the other run finds out the outcome of its requests."
    )
