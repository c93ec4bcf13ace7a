"""The right to run a job: taken before anything else, kept by a thread while the run lives, released at its end."""

import hashlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from connectors.errors import ProvisorError
from tasks.ledger import JobBusyError, Lease, LeaseLostError, Ledger

LEASE = timedelta(minutes=10)
"""How long a silent holder keeps a job; a living one renews it long before."""
RENEWALS = 5
"""Renewals in the time of one lease."""
MARGIN = 0.2
"""The part of a lease before its end in which nothing is sent any more: a request may take that long to arrive."""

_LOG = logging.getLogger("provisor")


@dataclass(frozen=True, slots=True)
class Clocks:
    """What a lease is measured by here, so that it notices a machine that slept and a clock that was set."""

    running: Callable[[], float]
    """Seconds, never going back."""
    wall: Callable[[], float]
    """Seconds since 1970 as this machine has them; it may be set."""


def _running() -> float:
    # Unlike time.monotonic it goes on while the machine is suspended.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


SYSTEM = Clocks(_running, time.time)


class Permit:
    """Whether this process may send: asked before every request, answered by this machine's own clocks alone.

    It holds for a time from the moment at which the ledger was last asked, and ends by itself when no news comes. Where
    one of the two clocks says that the time is over, it is over: a process that was stopped, a machine that was
    suspended or moved, and a clock that was set ahead all find out before their next request.
    """

    def __init__(self, clocks: Clocks = SYSTEM) -> None:
        self._clocks = clocks
        self._until: tuple[float, float] | None = None
        self._lost: LeaseLostError | None = None

    def __call__(self) -> bool:
        """True while requests may be sent."""
        until = self._until
        if until is None or self._lost is not None:
            return False
        return self._clocks.running() < until[0] and self._clocks.wall() < until[1]

    def moment(self) -> tuple[float, float]:
        """Now, by both clocks; to be taken before the ledger is asked."""
        return self._clocks.running(), self._clocks.wall()

    def extend(self, since: tuple[float, float], seconds: float) -> None:
        """It holds for so many seconds from a moment on, less the margin."""
        self._until = (since[0] + seconds, since[1] + seconds)

    def lose(self, lost: LeaseLostError) -> None:
        """It has ended for good."""
        self._lost = self._lost or lost

    def check(self, job: str) -> None:
        """Passes while requests may be sent. Raises: LeaseLostError."""
        if self():
            return
        raise self._lost or LeaseLostError(
            f"This run of job {job} could not renew its lease in time: its process or its machine was stopped, its "
            "clock was set, or the ledger could not be reached. It sends nothing more; the next run goes on from here."
        )


class HeldLease:
    """A lease that renews itself from a thread of its own, whatever the run is doing meanwhile."""

    def __init__(
        self,
        ledger: Ledger,
        job: str,
        *,
        clock: Callable[[], datetime],
        duration: timedelta,
        every_s: float,
        clocks: Clocks = SYSTEM,
    ) -> None:
        """Takes the lease. Raises: JobBusyError."""
        self._ledger = ledger
        self._clock = clock
        self._duration = duration
        self._every_s = every_s
        self._ended = threading.Event()
        self.permit = Permit(clocks)
        """What is asked before every request."""
        self.on_lost: Callable[[], None] | None = None
        """Called once, from another thread, when the permit has ended: requests under way need not be waited for."""
        since = self.permit.moment()
        self.lease = take_lease(ledger, job, clock(), duration=duration)
        """As it was last renewed."""
        self._extend(since)
        context = copy_context()  # so that what the thread logs is told in the run's own log
        self._thread = threading.Thread(target=context.run, args=(self._renew,), name="lease", daemon=True)

    @property
    def duration(self) -> timedelta:
        """How long it lasts when it is not renewed."""
        return self._duration

    @property
    def job(self) -> str:
        """Whose run it is."""
        return self.lease.job

    def check(self) -> None:
        """Passes while the job is ours. Raises: LeaseLostError once it is not, or may not be."""
        self.permit.check(self.job)

    def start(self) -> None:
        """Begins to renew."""
        self._thread.start()

    def end(self) -> None:
        """Stops renewing and lets go of the job."""
        self._ended.set()
        self._thread.join()
        try:
            self._ledger.release_lease(self.lease)
        except ProvisorError as error:  # it ends by itself
            _LOG.warning("The lease of job %s could not be released: %s", self.job, error)

    def _extend(self, since: tuple[float, float]) -> None:
        self.permit.extend(since, self._duration.total_seconds() * (1 - MARGIN))

    def _renew(self) -> None:
        while not self._ended.wait(self._every_s):
            since = self.permit.moment()
            try:
                self.lease = self._ledger.renew_lease(self.lease, now=self._clock(), duration=self._duration)
                self._extend(since)
            except LeaseLostError as lost:
                self.permit.lose(lost)
                self._tell()
                return
            except Exception as error:  # whatever it is: there is time to try again, and the permit ends by itself
                said = error if isinstance(error, ProvisorError) else type(error).__name__
                _LOG.warning("The lease of job %s could not be renewed: %s", self.job, said)
                if not self.permit():
                    self._tell()

    def _tell(self) -> None:
        tell, self.on_lost = self.on_lost, None
        if tell is None:
            return
        try:
            tell()
        except Exception as error:  # the permit has ended all the same
            _LOG.warning("Requests in flight for job %s could not be cancelled: %s", self.job, type(error).__name__)


@contextmanager
def holding(
    ledger: Ledger,
    job: str,
    *,
    clock: Callable[[], datetime],
    every_s: float | None = None,
    clocks: Clocks = SYSTEM,
) -> Iterator[HeldLease]:
    """The right to run the job, kept until the end of the block. Raises: JobBusyError."""
    every_s = LEASE.total_seconds() / RENEWALS if every_s is None else every_s
    held = HeldLease(ledger, job, clock=clock, duration=LEASE, every_s=every_s, clocks=clocks)
    held.start()
    try:
        yield held
    finally:
        held.end()


@contextmanager
def following(
    ledger: Ledger,
    job: str,
    fence: int,
    *,
    clock: Callable[[], datetime],
    duration: timedelta,
    clocks: Clocks = SYSTEM,
) -> Iterator[Permit]:
    """In a process that sends for a run: a permit that holds while that run renews its lease; the ledger is watched.

    ``duration``: of the run's lease.
    """
    permit, ended = Permit(clocks), threading.Event()

    def look() -> None:
        since = permit.moment()
        try:
            left_s = ledger.lease_left(job, fence, now=clock()).total_seconds()
            permit.extend(since, left_s - duration.total_seconds() * MARGIN)
        except LeaseLostError as lost:
            permit.lose(lost)
        except Exception as error:  # there is time to look again, and the permit ends by itself
            said = error if isinstance(error, ProvisorError) else type(error).__name__
            _LOG.warning("Whether job %s is still this run's cannot be seen: %s", job, said)

    def keep_looking() -> None:
        while not ended.wait(duration.total_seconds() / RENEWALS / 2):
            look()

    look()
    context = copy_context()
    thread = threading.Thread(target=context.run, args=(keep_looking,), name="lease", daemon=True)
    thread.start()
    try:
        yield permit
    finally:
        ended.set()
        thread.join()


def take_lease(ledger: Ledger, job: str, moment: datetime, *, duration: timedelta = LEASE) -> Lease:
    """The right to run the job, also from a process of this machine that died holding it. Raises: JobBusyError."""
    try:
        return ledger.acquire_lease(job, _holder(os.getpid()), now=moment, duration=duration)
    except JobBusyError as busy:
        if not _is_dead(busy.holder):
            raise
        _LOG.warning("The previous run of this job, %s, died.", busy.holder)
        return ledger.acquire_lease(job, _holder(os.getpid()), now=moment, duration=duration, instead_of=busy.holder)


def _holder(pid: int) -> str:
    return f"{socket.gethostname()} process {pid} ({_process_space()})"


def _is_dead(holder: str) -> bool:
    """True for a process of this machine that is certainly no more; of another machine nothing can be known."""
    found = re.search(r" process (\d+) ", holder)
    if found is None or not _process_space() or holder != _holder(int(found[1])):
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _process_space() -> str:
    """Names the space in which process ids mean something: this start of this machine, or of this container.

    Empty where the operating system does not say. Two containers may share a host's name, and each has a process 1.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (not a path)
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:8]
