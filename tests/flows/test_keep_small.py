"""What a Prefect server of ours leaves behind stays small: its history, and its logs."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from connectors.errors import SettingsError
from flows.serve.keep_small import history_kept, prune_history, pruning, rotate_log
from flows.serve.prefect_database import made_template

NOW = datetime(2026, 3, 29, 12, tzinfo=UTC)
FILLED = {"INTEGER": 0, "NUMERIC": 0, "BOOLEAN": 0, "JSON": "{}", "DATETIME": f"{NOW:%Y-%m-%d %H:%M:%S}.000000"}


def insert(connection: sqlite3.Connection, table: str, **values: object) -> str:
    """A row with what the table demands besides the values; gives its id."""
    key = str(uuid4())
    given = {"id": key, **values}
    for _, name, kind, demanded, default, _ in connection.execute(f"PRAGMA table_info({table})"):
        if demanded and default is None and name not in given:
            given[name] = next((one for part, one in FILLED.items() if part in kind.upper()), f"{name} {key}")
    marks = ", ".join("?" * len(given))
    connection.execute(f"INSERT INTO {table} ({', '.join(given)}) VALUES ({marks})", tuple(given.values()))
    return key


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Prefect's own tables with two runs: one that ended 31 days ago, one a day ago, and one that still runs."""
    file = tmp_path / "prefect.db"
    shutil.copyfile(made_template(), file)
    with closing(sqlite3.connect(file)) as connection:
        flow = insert(connection, "flow", name="provision")
        for days, state in ((31, "COMPLETED"), (1, "COMPLETED"), (40, "RUNNING")):
            moment = f"{NOW - timedelta(days=days):%Y-%m-%d %H:%M:%S}.000000"
            run = insert(connection, "flow_run", flow_id=flow, name=f"{days}", state_type=state, end_time=moment)
            insert(connection, "flow_run_state", flow_run_id=run, timestamp=moment)
            insert(connection, "task_run", flow_run_id=run, name="load")
            insert(connection, "log", flow_run_id=run, timestamp=moment, message="x")
            artifact = insert(connection, "artifact", flow_run_id=run, key=f"plan-{days}")
            insert(connection, "artifact_collection", key=f"plan-{days}", latest_id=artifact, flow_run_id=run)
            insert(connection, "events", occurred=moment)
        connection.commit()
    return file


def counts(file: Path) -> dict[str, int]:
    tables = ("flow_run", "flow_run_state", "task_run", "log", "artifact", "artifact_collection", "events")
    with closing(sqlite3.connect(file)) as connection:
        return {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


def test_runs_go_after_thirty_days_with_all_that_belongs_to_them(database: Path) -> None:
    """States, task runs, logs, artifacts; events after a week. What still runs, or waits, stays however old."""
    assert counts(database)["flow_run"] == 3
    assert prune_history(database, now=NOW) == 1
    assert counts(database) == dict.fromkeys(counts(database), 2) | {"events": 1}
    with closing(sqlite3.connect(database)) as connection:
        assert {name for (name,) in connection.execute("SELECT name FROM flow_run")} == {"1", "40"}
    assert prune_history(database, now=NOW) == 0


def test_how_long_is_a_setting(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the single run and for the server of ``up`` alike."""
    monkeypatch.setenv("PROVISOR_HISTORY_DAYS", "365")
    assert prune_history(database, now=NOW) == 0
    assert pruning()["PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"] == str(365 * 86_400)
    monkeypatch.setenv("PROVISOR_HISTORY_DAYS", "for ever")
    with pytest.raises(SettingsError, match="write a number of days"):
        history_kept()


def test_prefect_knows_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that another version calls otherwise would prune nothing, for ever."""
    from prefect.settings.models.server import ServerSettings

    for name, value in pruning().items():
        monkeypatch.setenv(name, value)
    settings = ServerSettings()
    assert settings.services.db_vacuum.enabled_vacuum_types >= {"flow_runs", "events"}
    assert settings.services.db_vacuum.retention_period == timedelta(days=30)
    assert settings.events.retention_period == timedelta(days=7)


def test_a_database_in_use_is_left_alone(database: Path) -> None:
    """Another run's API writes: this one begins all the same, and prunes next time."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert prune_history(database, now=NOW) == 0
    assert counts(database)["flow_run"] == 3
    assert prune_history(database.with_name("none.db"), now=NOW) == 0


def test_a_file_that_is_mostly_free_is_written_anew(database: Path) -> None:
    """After a load of a million, the file is small again."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE big AS SELECT randomblob(4000) AS x FROM events, events AS b, events AS c")
        for _ in range(9):
            connection.execute("INSERT INTO big SELECT randomblob(4000) FROM big")
        connection.execute("DROP TABLE big")
        connection.commit()
    large = database.stat().st_size
    prune_history(database, now=NOW)
    assert database.stat().st_size < large / 2


def test_logs_are_rotated_under_their_writer(tmp_path: Path) -> None:
    """A process that appends goes on in the emptied file; three older ones are kept, for their owner alone."""
    log = tmp_path / "server.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(6):
            writer.write(f"{number}".encode() * 100)
            rotate_log(log, at=100)
        writer.write(b"last")
    assert log.read_bytes() == b"last"
    kept = {path.name: path.read_bytes()[:1] for path in tmp_path.glob("server.log.*")}
    assert kept == {"server.log.1": b"5", "server.log.2": b"4", "server.log.3": b"3"}
    assert (tmp_path / "server.log.1").stat().st_mode & 0o077 == 0
    rotate_log(log, at=100)
    assert log.read_bytes() == b"last"
