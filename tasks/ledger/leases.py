"""One running cycle per job, across machines: a lease with an end, and a fence that grows with every holder.

A holder that stalls past its end may be overtaken; its fence is then too low, and whatever checks the fence refuses it.
Every step is one statement on one row, so two machines that try at once are put in order by the database.

Source: Martin Kleppmann, How to do distributed locking (2016), on fencing tokens.
"""

from datetime import datetime, timedelta

from sqlalchemy import Connection, or_, select, update

from tasks.ledger.records import JobBusyError, Lease, LeaseLostError
from tasks.ledger.tables import LEASE


def acquire(
    connection: Connection, job: str, holder: str, *, now: datetime, duration: timedelta, instead_of: str | None = None
) -> Lease:
    """Take the job when nobody has it, when the lease of who has it has ended, or when ``instead_of`` has it.

    Raises: JobBusyError.
    """
    expires_at = now + duration
    # Two machines that meet a job for the first time both get here; the second finds the row of the first.
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    statement = (
        insert(LEASE)
        .values(job=job, holder=holder, expires_at=expires_at, fence=1)
        .on_conflict_do_update(
            index_elements=[LEASE.c.job],
            set_={"holder": holder, "expires_at": expires_at, "fence": LEASE.c.fence + 1},
            where=or_(LEASE.c.expires_at.is_(None), LEASE.c.expires_at <= now, LEASE.c.holder == instead_of),
        )
        .returning(LEASE.c.fence)
    )
    fence = connection.scalar(statement)
    if fence is None:
        row = connection.execute(select(LEASE.c.holder, LEASE.c.expires_at).where(LEASE.c.job == job)).one()
        raise JobBusyError(
            f"Job {job} is being run by {row.holder}, whose lease ends at {row.expires_at:%Y-%m-%d %H:%M:%S} UTC "
            "unless it is renewed. Wait for that run, or end it.",
            holder=row.holder,
        )
    return Lease(job, holder, fence, expires_at)


def renew(connection: Connection, lease: Lease, *, now: datetime, duration: timedelta) -> Lease:
    """Move the end of a lease that is still the newest. Raises: LeaseLostError."""
    expires_at = now + duration
    mine = (LEASE.c.job == lease.job, LEASE.c.fence == lease.fence, LEASE.c.expires_at.is_not(None))
    renewed = connection.execute(update(LEASE).where(*mine).values(expires_at=expires_at))
    if renewed.rowcount == 0:
        raise _lost(connection, lease.job)
    return Lease(lease.job, lease.holder, lease.fence, expires_at)


def release(connection: Connection, lease: Lease) -> None:
    """Let go; the row stays, so that the next fence is higher."""
    mine = (LEASE.c.job == lease.job, LEASE.c.fence == lease.fence)
    connection.execute(update(LEASE).where(*mine).values(expires_at=None))


def check(connection: Connection, job: str, fence: int) -> None:
    """Pass when this fence is still the job's. Within a transaction that writes, it stays so until the commit.

    Raises: LeaseLostError.
    """
    # FOR SHARE makes who wants to take the lease wait for us; SQLite, with its one writer, needs no such thing.
    row = connection.execute(
        select(LEASE.c.fence).where(LEASE.c.job == job, LEASE.c.expires_at.is_not(None)).with_for_update(read=True)
    ).one_or_none()
    if row is None or row.fence != fence:
        raise _lost(connection, job)


def _lost(connection: Connection, job: str) -> LeaseLostError:
    holder = connection.scalar(select(LEASE.c.holder).where(LEASE.c.job == job, LEASE.c.expires_at.is_not(None)))
    now_by = f"It is being run by {holder} now" if holder else "Nobody runs it now"
    return LeaseLostError(
        f"This run of job {job} took too long without a sign of life, and its lease is no longer its own. {now_by}. "
        "Nothing more may be sent."
    )
