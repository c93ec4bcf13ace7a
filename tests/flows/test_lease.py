"""A job is held while its run lives, whatever the run is busy with."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.cycle.lease import LEASE, holding
from tasks.ledger import JobBusyError, Lease, LeaseLostError, Ledger, LedgerError

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
OFTEN_S = 0.001
PATIENCE_S = 30


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class WatchedLedger(Ledger):
    """Says when a renewal has been tried, and fails some on purpose."""

    def watch(self, *, failing: int = 0) -> "WatchedLedger":
        self.tried = threading.Semaphore(0)
        self.failing = failing
        return self

    def renew_lease(self, lease: Lease, *, now: datetime, duration: timedelta) -> Lease:
        try:
            if self.failing:
                self.failing -= 1
                raise LedgerError("the database is away")
            return super().renew_lease(lease, now=now, duration=duration)
        finally:
            self.tried.release()

    def wait_for(self, renewals: int) -> None:
        """Waits until so many have been tried from now on; the first may have begun before."""
        while self.tried.acquire(blocking=False):
            pass
        for _ in range(renewals):
            assert self.tried.acquire(timeout=PATIENCE_S)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[WatchedLedger]:
    with WatchedLedger.open(None, tmp_path) as ledger:
        yield ledger.watch()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_lease_is_renewed_while_nobody_does_anything_for_it(ledger: WatchedLedger, clock: Clock) -> None:
    """Reading a large target takes longer than a lease lasts; nobody may take the job over meanwhile."""
    with holding(ledger, "hr", clock=clock, every_s=OFTEN_S) as held:
        for _ in range(5):
            clock.now += LEASE - timedelta(seconds=1)
            ledger.wait_for(2)  # the second one has begun after the clock was set
            with pytest.raises(JobBusyError):
                ledger.acquire_lease("hr", "other", now=clock.now, duration=LEASE)
        held.check()
    ledger.acquire_lease("hr", "other", now=clock.now, duration=LEASE)


def test_a_ledger_that_is_away_for_a_moment_costs_nothing(ledger: WatchedLedger, clock: Clock) -> None:
    """A renewal that fails is tried again."""
    ledger.watch(failing=3)
    with holding(ledger, "hr", clock=clock, every_s=OFTEN_S) as held:
        clock.now += LEASE / 2
        ledger.wait_for(5)
        held.check()
        assert held.lease.expires_at == clock.now + LEASE


def test_a_run_that_was_overtaken_finds_out(ledger: WatchedLedger, clock: Clock, tmp_path: Path) -> None:
    """Before its next batch, not after its last; and letting go does not take the job from who has it."""
    with holding(ledger, "hr", clock=clock, every_s=OFTEN_S) as held:
        with Ledger.open(None, tmp_path) as other:
            other.acquire_lease("hr", "other", now=clock.now + 2 * LEASE, duration=LEASE)
        held._thread.join(PATIENCE_S)
        with pytest.raises(LeaseLostError):
            held.check()
    with pytest.raises(JobBusyError, match="other"):
        ledger.acquire_lease("hr", "third", now=clock.now + 2 * LEASE, duration=LEASE)


def test_the_thread_ends_with_the_run(ledger: WatchedLedger, clock: Clock) -> None:
    """Also when the run ends badly."""
    with pytest.raises(ZeroDivisionError), holding(ledger, "hr", clock=clock, every_s=OFTEN_S) as held:
        raise ZeroDivisionError
    assert not held._thread.is_alive()
