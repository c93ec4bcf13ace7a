"""A run that is stopped (SIGSTOP) in the middle of a load, overtaken by another one, and woken up again."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.faults.nursery import Run
from tests.servers.scim_service import ScimService

PATIENCE_S = 60.0
SLOW_S = 0.3
"""Seconds for which the service holds requests back, so that all that may be in flight are when the run is stopped."""
_IN_TRANSACTION = """
SELECT 1 FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND state IN ('active', 'idle in transaction')
"""


@dataclass(slots=True)
class Stopped:
    """What became of it."""

    stopped: bool = False
    """False where it was over before its moment came."""


@contextmanager
def stopped(run: Run, service: ScimService, *, after: int, method: str, ledger: Path | str) -> Iterator[Stopped]:
    """The run is stopped inside, from when the service has got so many requests of a method and others wait there.

    Nothing of it is between the permit and the wire then. It does not hold the ledger's lock either: a process that
    is stopped within a transaction keeps everybody else out, and is not overtaken. ``ledger``: its file, or its
    address on PostgreSQL.
    """
    service.set_fault("latency", method=method, after=after, seconds=SLOW_S)
    slow, state = service.faults["latency"], Stopped()
    _until(lambda: bool(slow.struck) or run.status is not None)
    time.sleep(SLOW_S / 3)  # for whoever else may be in flight to be so
    if run.status is None:
        _stop(run.pid, ledger)
        state.stopped = True
    try:
        _until(lambda: service.engine.in_flight == 0)
        service.clear_fault("latency")
        yield state
    finally:
        if state.stopped:
            os.kill(run.pid, signal.SIGCONT)


def _stop(pid: int, ledger: Path | str) -> None:
    while True:
        os.kill(pid, signal.SIGSTOP)
        _until(lambda: _is_stopped(pid))
        if not _is_locked(ledger):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.005)


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"


def _is_locked(ledger: Path | str) -> bool:
    if isinstance(ledger, str):
        with psycopg.connect(ledger.replace("postgresql+psycopg://", "postgresql://"), autocommit=True) as connection:
            return connection.execute(_IN_TRANSACTION).fetchone() is not None
    if not ledger.exists():
        return False
    connection = sqlite3.connect(ledger, timeout=0.05, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)
