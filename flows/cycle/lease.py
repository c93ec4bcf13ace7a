"""The right to run a job: taken before anything else, kept by a thread while the run lives, released at its end."""

import hashlib
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import datetime, timedelta
from pathlib import Path

from connectors.errors import ProvisorError
from tasks.ledger import JobBusyError, Lease, LeaseLostError, Ledger

LEASE = timedelta(minutes=10)
"""How long a silent holder keeps a job; a living one renews it long before."""

_LOG = logging.getLogger("provisor")


class HeldLease:
    """A lease that renews itself from a thread of its own, whatever the run is doing meanwhile."""

    def __init__(self, ledger: Ledger, lease: Lease, *, clock: Callable[[], datetime], every_s: float) -> None:
        self._ledger = ledger
        self._clock = clock
        self._every_s = every_s
        self._lost: LeaseLostError | None = None
        self._ended = threading.Event()
        context = copy_context()  # so that what the thread logs is told in the run's own log
        self._thread = threading.Thread(target=context.run, args=(self._renew,), name="lease", daemon=True)
        self.lease = lease
        """As it was last renewed."""

    def check(self) -> None:
        """Passes while the job is ours. Raises: LeaseLostError once somebody else has been seen to have it."""
        if self._lost is not None:
            raise self._lost

    def start(self) -> None:
        """Begins to renew."""
        self._thread.start()

    def end(self) -> None:
        """Stops renewing and lets go of the job."""
        self._ended.set()
        self._thread.join()
        self._ledger.release_lease(self.lease)

    def _renew(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self.lease = self._ledger.renew_lease(self.lease, now=self._clock(), duration=LEASE)
            except LeaseLostError as lost:
                self._lost = lost
                return
            except ProvisorError as error:  # the ledger is away for a moment: there is time to try again
                _LOG.warning("The lease of job %s could not be renewed: %s", self.lease.job, error)


@contextmanager
def holding(
    ledger: Ledger, job: str, *, clock: Callable[[], datetime], every_s: float = LEASE.total_seconds() / 5
) -> Iterator[HeldLease]:
    """The right to run the job, kept until the end of the block. Raises: JobBusyError."""
    held = HeldLease(ledger, take_lease(ledger, job, clock()), clock=clock, every_s=every_s)
    held.start()
    try:
        yield held
    finally:
        held.end()


def take_lease(ledger: Ledger, job: str, moment: datetime) -> Lease:
    """The right to run the job, also from a process of this machine that died holding it. Raises: JobBusyError."""
    try:
        return ledger.acquire_lease(job, _holder(os.getpid()), now=moment, duration=LEASE)
    except JobBusyError as busy:
        if not _is_dead(busy.holder):
            raise
        _LOG.warning("The run that had this job, %s, died.", busy.holder)
        return ledger.acquire_lease(job, _holder(os.getpid()), now=moment, duration=LEASE, instead_of=busy.holder)


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
