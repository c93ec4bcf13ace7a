"""One running cycle per job, across machines."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import update

from connectors.contract import Action, Change, Kind
from tasks.ledger import Cycle, CycleEnd, CycleKind, CycleState, JobBusyError, LeaseLostError, Ledger
from tasks.ledger.tables import LEASE
from tests.servers.starting import DatabaseServer
from tests.tasks.ledger.conftest import NUMBERS

HOUR = timedelta(hours=1)
MOMENT = timedelta(microseconds=1)
CREATE = Change("c1", Kind.USER, Action.CREATE, "a", None)


def run_out(ledger: Ledger, job: str = "hr") -> None:
    """Lets the job's lease end now, by the clock of either database."""
    with ledger._database.writing() as connection:
        connection.execute(update(LEASE).where(LEASE.c.job == job).values(expires_at=datetime(2000, 1, 1, tzinfo=UTC)))


@pytest.fixture
def other(open_ledger: Callable[[], Ledger], ledger: Ledger) -> Ledger:
    """The same ledger, as another machine has it open."""
    return open_ledger()


def test_a_job_that_is_being_run_is_busy(ledger: Ledger, other: Ledger, now: datetime) -> None:
    """The second run learns by whom, and until when; other jobs are free."""
    lease = ledger.acquire_lease("hr", "host one, run 7", now=now, duration=HOUR)
    assert (lease.job, lease.holder, lease.fence) == ("hr", "host one, run 7", 1)
    with pytest.raises(JobBusyError, match=rf"host one, run 7.*{lease.expires_at:%Y-%m-%d %H:%M:%S} UTC"):
        other.acquire_lease("hr", "host two", now=now + HOUR - MOMENT, duration=HOUR)
    assert other.acquire_lease("crm", "host two", now=now, duration=HOUR).fence == 1
    ledger.check_fence(lease)


def test_a_lease_that_was_let_go_is_free_at_once_and_its_fence_grows(
    ledger: Ledger, other: Ledger, now: datetime
) -> None:
    """The old fence never becomes right again, not even between two holders."""
    lease = ledger.acquire_lease("hr", "one", now=now, duration=HOUR)
    ledger.release_lease(lease)
    with pytest.raises(LeaseLostError, match="no longer this run's"):
        ledger.check_fence(lease)
    with pytest.raises(LeaseLostError):
        ledger.renew_lease(lease, now=now, duration=HOUR)
    assert other.acquire_lease("hr", "two", now=now, duration=HOUR).fence == 2


def test_the_lease_of_a_holder_known_to_be_dead_can_be_taken_once(ledger: Ledger, other: Ledger, now: datetime) -> None:
    """Whoever knows that the holder died need not wait; of two who know it one gets the lease."""
    dead = ledger.acquire_lease("hr", "dead", now=now, duration=HOUR)
    with pytest.raises(JobBusyError) as busy:
        other.acquire_lease("hr", "two", now=now, duration=HOUR, instead_of="somebody else")
    assert busy.value.holder == "dead"
    assert other.acquire_lease("hr", "two", now=now, duration=HOUR, instead_of="dead").fence == dead.fence + 1
    with pytest.raises(JobBusyError):
        ledger.acquire_lease("hr", "three", now=now, duration=HOUR, instead_of="dead")
    with pytest.raises(LeaseLostError):
        ledger.check_fence(dead)


def test_an_expired_lease_can_be_taken_and_the_late_holder_is_stopped(
    ledger: Ledger, other: Ledger, now: datetime
) -> None:
    """A process that stalled finds out wherever it asks, and its release does not free the new holder's lease."""
    late = ledger.acquire_lease("hr", "late", now=now, duration=HOUR)
    run_out(ledger)
    taken = other.acquire_lease("hr", "quick", now=now + HOUR, duration=HOUR)
    assert taken.fence == late.fence + 1
    with pytest.raises(LeaseLostError, match="quick has taken over job hr"):
        ledger.check_fence(late)
    with pytest.raises(LeaseLostError):
        ledger.renew_lease(late, now=now + HOUR, duration=HOUR)
    ledger.release_lease(late)
    other.check_fence(taken)


def test_a_renewed_lease_lasts_longer(ledger: Ledger, other: Ledger, now: datetime) -> None:
    """An expired lease that nobody took may be renewed: nobody else has done anything."""
    lease = ledger.acquire_lease("hr", "one", now=now, duration=HOUR)
    run_out(ledger)
    renewed = ledger.renew_lease(lease, now=now + HOUR, duration=2 * HOUR)
    assert renewed.expires_at > lease.expires_at
    assert HOUR < ledger.lease_left("hr", renewed.fence, now=now + HOUR) <= 2 * HOUR
    with pytest.raises(JobBusyError):
        other.acquire_lease("hr", "two", now=now + HOUR, duration=HOUR)


def test_how_long_a_lease_lasts_is_known_to_its_holder_alone(ledger: Ledger, other: Ledger, now: datetime) -> None:
    """A process that sends for a run asks this; one that was overtaken learns that it was."""
    late = ledger.acquire_lease("hr", "late", now=now, duration=HOUR)
    run_out(ledger)
    assert ledger.lease_left("hr", late.fence, now=now) < timedelta()
    other.acquire_lease("hr", "quick", now=now + HOUR, duration=HOUR)
    with pytest.raises(LeaseLostError, match="quick has taken over job hr"):
        ledger.lease_left("hr", late.fence, now=now)


def test_a_clock_that_is_ahead_takes_no_living_lease(postgresql_server: DatabaseServer, tmp_path: Path) -> None:
    """On PostgreSQL, which several machines share, the clock of the database counts."""
    place = postgresql_server.create_database(f"ledger_{next(NUMBERS)}"), tmp_path
    present = datetime.now(UTC)
    with Ledger.open(*place) as ledger, Ledger.open(*place) as ahead:
        held = ledger.acquire_lease("hr", "one", now=present, duration=timedelta(minutes=10))
        with pytest.raises(JobBusyError, match="one"):
            ahead.acquire_lease("hr", "two", now=present + timedelta(minutes=11), duration=timedelta(minutes=10))
        ledger.check_fence(held)
        ledger.release_lease(held)
        behind = ahead.acquire_lease("hr", "two", now=present - timedelta(days=1), duration=timedelta(minutes=10))
        with pytest.raises(JobBusyError, match="two"):
            ledger.acquire_lease("hr", "one", now=present, duration=timedelta(minutes=10))
        ahead.check_fence(behind)


def test_of_many_who_try_at_once_one_gets_the_job(open_ledger: Callable[[], Ledger], now: datetime) -> None:
    """Whether the job is new, or its lease has just run out."""
    ledgers = [open_ledger() for _ in range(4)]
    for round_number in range(1, 6):
        run_out(ledgers[0])
        start, fences, busy = Barrier(len(ledgers)), [], []

        def attempt(ledger: Ledger, start=start, fences=fences, busy=busy, round_number=round_number) -> None:
            start.wait()
            try:
                fences.append(ledger.acquire_lease("hr", "x", now=now + round_number * HOUR, duration=HOUR).fence)
            except JobBusyError as error:
                busy.append(error)

        threads = [Thread(target=attempt, args=(ledger,)) for ledger in ledgers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert fences == [round_number]
        assert len(busy) == 3


def leased(ledger: Ledger, now: datetime) -> Cycle:
    """A running cycle under a lease of an hour."""
    lease = ledger.acquire_lease("hr", "late", now=now, duration=HOUR)
    return ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now, lease=lease)


def test_a_late_holder_cannot_journal_and_so_cannot_send(ledger: Ledger, other: Ledger, now: datetime) -> None:
    """Intent before effect is where a process that was overtaken is stopped."""
    cycle = leased(ledger, now)
    ledger.journal(cycle, [CREATE], now)
    run_out(ledger)
    other.acquire_lease("hr", "quick", now=now + HOUR, duration=HOUR)
    with pytest.raises(LeaseLostError):
        ledger.journal(cycle, [Change("c2", Kind.USER, Action.CREATE, "b", None)], now)
    assert [attempt.change_id for attempt in other.open_attempts("hr")] == ["c1"]
    with pytest.raises(LeaseLostError):
        ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, {}, message="", now=now, watermark="w"))
    assert ledger.watermark("hr") is None


def test_a_cycle_does_not_begin_under_a_lost_lease(ledger: Ledger, other: Ledger, now: datetime) -> None:
    """Beginning would declare the other's running cycle crashed."""
    late = ledger.acquire_lease("hr", "late", now=now, duration=HOUR)
    run_out(ledger)
    lease = other.acquire_lease("hr", "quick", now=now + HOUR, duration=HOUR)
    other.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now, lease=lease)
    with pytest.raises(LeaseLostError):
        ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now, lease=late)
    assert [cycle.state for cycle in other.cycles("hr")] == [CycleState.RUNNING]
