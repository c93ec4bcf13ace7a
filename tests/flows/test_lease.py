"""A job is held while its run lives, whatever the run is busy with."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.cycle.lease import LEASE, MARGIN, Clocks, Permit, following, holding
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

    def watch(self, *, failing: int = 0, error: Exception | None = None) -> "WatchedLedger":
        self.tried = threading.Semaphore(0)
        self.failing = failing
        self.error = error or LedgerError("the database is away")
        return self

    def renew_lease(self, lease: Lease, *, now: datetime, duration: timedelta) -> Lease:
        try:
            if self.failing:
                self.failing -= 1
                raise self.error
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


@pytest.mark.parametrize("error", [LedgerError("the database is away"), ValueError("a fault of ours")])
def test_a_renewal_that_fails_is_tried_again(ledger: WatchedLedger, clock: Clock, error: Exception) -> None:
    """Whatever the error is: a thread that dies of one would end a run that is well."""
    ledger.watch(failing=3, error=error)
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


def test_what_is_under_way_is_let_go_when_the_job_is_lost(ledger: WatchedLedger, clock: Clock, tmp_path: Path) -> None:
    """Requests that hang would keep a run for minutes that has nothing more to do; it is told once."""
    told = threading.Event()
    with holding(ledger, "hr", clock=clock, every_s=OFTEN_S) as held:
        held.on_lost = told.set
        with Ledger.open(None, tmp_path) as other:
            other.acquire_lease("hr", "other", now=clock.now + 2 * LEASE, duration=LEASE)
        assert told.wait(PATIENCE_S)
        assert held.on_lost is None


# --- the permit: asked before every request, and no database ----------------------------------------------------------


class Watches:
    """Both clocks of a machine, set by hand."""

    def __init__(self) -> None:
        self.running, self.wall = 100.0, 1_700_000_000.0

    @property
    def clocks(self) -> Clocks:
        return Clocks(lambda: self.running, lambda: self.wall)

    def pass_by(self, seconds: float) -> None:
        """Lets time pass."""
        self.running += seconds
        self.wall += seconds


SENDING_S = LEASE.total_seconds() * (1 - MARGIN)


@pytest.mark.parametrize(
    ("running_s", "wall_s", "holds"),
    [
        (0, 0, True),
        (SENDING_S - 1, SENDING_S - 1, True),
        (SENDING_S, SENDING_S, False),
        (0, SENDING_S, False),  # a machine that slept, or a clock that was set ahead
        (SENDING_S, -3600, False),  # a clock that was set back hides nothing
        (1, -3600, True),
    ],
)
def test_a_permit_ends_by_itself_by_either_clock(
    ledger: WatchedLedger, clock: Clock, running_s: float, wall_s: float, holds: bool
) -> None:
    """With a margin before the lease does, since a request takes its time."""
    watches = Watches()
    with holding(ledger, "hr", clock=clock, every_s=3600, clocks=watches.clocks) as held:
        watches.running += running_s
        watches.wall += wall_s
        assert held.permit() is holds
        if not holds:
            with pytest.raises(LeaseLostError, match="could not renew its lease in time"):
                held.check()


def test_a_renewal_counts_from_the_moment_at_which_it_was_asked_for(tmp_path: Path, clock: Clock) -> None:
    """A ledger that answers late gives no time away that is over already."""
    watches = Watches()

    class SlowLedger(WatchedLedger):
        def acquire_lease(self, *args: object, **kwargs: object) -> Lease:
            watches.pass_by(SENDING_S)
            return super().acquire_lease(*args, **kwargs)  # type: ignore[arg-type]

    with (
        SlowLedger.open(None, tmp_path) as ledger,
        holding(ledger.watch(), "hr", clock=clock, every_s=3600, clocks=watches.clocks) as held,
    ):
        assert not held.permit()


def test_a_permit_that_nobody_gave_does_not_hold() -> None:
    """What is not known is no permission."""
    assert not Permit()()


def test_a_process_that_sends_for_a_run_may_send_as_long_as_the_run_has_its_lease(
    ledger: WatchedLedger, clock: Clock, tmp_path: Path
) -> None:
    """It looks into the ledger, and stops by its own clocks where it gets no answer."""
    watches = Watches()
    fence = ledger.acquire_lease("hr", "run", now=clock.now, duration=LEASE).fence
    with following(ledger, "hr", fence, clock=clock, duration=LEASE, clocks=watches.clocks) as permit:
        watches.pass_by(SENDING_S - 1)
        assert permit()
        watches.pass_by(1)
        assert not permit()
    ledger.acquire_lease("hr", "other", now=clock.now + LEASE, duration=LEASE)
    with following(ledger, "hr", fence, clock=clock, duration=LEASE, clocks=watches.clocks) as permit:
        assert not permit()
