"""Keeps what a Prefect server of ours leaves behind small: its history in SQLite, and its logs.

A server that is up for long prunes by itself (Prefect's own service, see ``pruning``). The local API of a single run
is never up for long enough, so that its database is pruned before it starts. Prefect's history is a view of the past:
what was written, and why, is in Provisor's own log.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

from connectors.errors import SettingsError

DAYS = "PROVISOR_HISTORY_DAYS"
_DAYS = 30
_EVENTS_DAYS = 7
_AT_ONCE = 500
"""Runs that are pruned at one start, so that nobody waits for it; the rest goes next time."""
_WAIT_S = 2.0
_WORTH = 1_000
"""Free pages from which on a file is written anew, where they are more than the others."""

LOG_BYTES = 10 << 20
LOGS_KEPT = 3


def history_kept() -> timedelta:
    """How long Prefect's history is kept: 30 days, or what ``PROVISOR_HISTORY_DAYS`` says. Raises: SettingsError."""
    text = os.environ.get(DAYS) or str(_DAYS)
    if not text.isdecimal() or not 1 <= int(text) <= 3650:
        raise SettingsError(f"{DAYS} is {text!r}: write a number of days from 1 to 3650.")
    return timedelta(days=int(text))


def pruning() -> Mapping[str, str]:
    """Settings of a server that prunes its history every hour: runs with states, logs and artifacts, and events."""
    kept = history_kept()
    return {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(int(kept.total_seconds())),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{min(kept, timedelta(days=_EVENTS_DAYS)).days}D",
    }


def prune_history(database: Path, *, now: datetime) -> int:
    """Prunes the database of a server that is not running; gives how many runs went. One that is in use is left alone.

    Raises: SettingsError.
    """
    kept = history_kept()
    if not database.is_file():
        return 0
    try:
        with closing(sqlite3.connect(database, timeout=_WAIT_S)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")  # states, task runs and inputs go with their run
            pruned = _delete_runs(connection, f"{now - kept:%Y-%m-%d %H:%M:%S}")
            _delete_events(connection, f"{now - min(kept, timedelta(days=_EVENTS_DAYS)):%Y-%m-%d %H:%M:%S}")
            _shrink(connection)
    except sqlite3.Error:
        return 0
    return pruned


def _delete_runs(connection: sqlite3.Connection, before: str) -> int:
    ended = "state_type IN ('COMPLETED', 'FAILED', 'CRASHED', 'CANCELLED')"
    found = connection.execute(
        f"SELECT id FROM flow_run WHERE {ended} AND end_time < ? ORDER BY end_time LIMIT {_AT_ONCE}", (before,)
    ).fetchall()
    for table in ("log", "artifact"):  # these do not go with their run by themselves
        connection.executemany(f"DELETE FROM {table} WHERE flow_run_id = ?", found)
    connection.executemany("DELETE FROM flow_run WHERE id = ?", found)
    if found:
        connection.execute("DELETE FROM artifact_collection WHERE latest_id NOT IN (SELECT id FROM artifact)")
    connection.commit()
    return len(found)


def _delete_events(connection: sqlite3.Connection, before: str) -> None:
    for table in ("event_resources", "events"):
        some = f"SELECT rowid FROM {table} WHERE occurred < ? LIMIT 20000"
        connection.execute(f"DELETE FROM {table} WHERE rowid IN ({some})", (before,))
    connection.commit()


def _shrink(connection: sqlite3.Connection) -> None:
    """Writes the file anew where most of it is free: SQLite never makes one smaller by itself."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    if free > _WORTH and free * 2 > pages:
        connection.execute("VACUUM")


def rotate_log(path: Path, *, at: int = LOG_BYTES, kept: int = LOGS_KEPT) -> None:
    """Moves a log that has grown too large aside: ``server.log.1`` is the newest of those that are kept.

    Its writers go on: they append to the file, which is emptied.
    """
    with suppress(OSError):
        if path.stat().st_size < at:
            return
        for number in range(kept - 1, 0, -1):
            with suppress(FileNotFoundError):
                path.with_name(f"{path.name}.{number}").replace(path.with_name(f"{path.name}.{number + 1}"))
        copy = path.with_name(f"{path.name}.1")
        copy.touch(mode=0o600)
        with path.open("rb") as old, copy.open("wb") as new:
            while piece := old.read(1 << 20):
                new.write(piece)
        os.truncate(path, 0)
