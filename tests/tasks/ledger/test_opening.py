"""Opening a ledger: where it lies, who may read it, what it costs, and what happens to it over the years."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from connectors.errors import SettingsError, UnreachableError
from tasks.ledger import Cycle, Ledger, LedgerError
from tasks.ledger.database import Database
from tasks.ledger.migrations import HEAD, VERSION_TABLE, run
from tasks.ledger.migrations.run import configuration
from tasks.ledger.tables import SCHEMA, LedgerModel
from tests.quick_ledgers import replaying
from tests.servers.starting import DatabaseServer

UPGRADE = run.upgrade
"""The migrations themselves, not what other tests repeat of them."""


@pytest.fixture(autouse=True)
def _real_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "upgrade", UPGRADE)


def test_only_the_owner_can_read_the_default_ledger(tmp_path: Path) -> None:
    """The folder is 0700 and every file in it 0600, whatever the umask says."""
    before = os.umask(0)
    try:
        home = tmp_path / "deep" / "home"
        with Ledger.open(None, home):
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()}
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert set(modes) >= {"ledger.sqlite", "ledger.sqlite-wal"}
    assert set(modes.values()) == {0o600}


def test_a_folder_that_was_there_keeps_its_mode_and_the_file_loses_its_readers(tmp_path: Path) -> None:
    """Somebody else's folder is not ours to close; the ledger in it is."""
    tmp_path.chmod(0o755)
    Ledger.open(None, tmp_path).close()
    (tmp_path / "ledger.sqlite").chmod(0o644)
    Ledger.open(None, tmp_path).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "ledger.sqlite").stat().st_mode) == 0o600


def test_importing_and_opening_again_loads_nothing_heavy(tmp_path: Path) -> None:
    """Alembic is loaded to migrate and never else; Prefect and Great Expectations never."""
    Ledger.open(None, tmp_path).close()
    program = (
        "import sys; from pathlib import Path; from tasks.ledger import Ledger;"
        "Ledger.open(None, Path(sys.argv[1])).close();"
        "print(sorted({'alembic', 'prefect', 'great_expectations', 'psycopg'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_the_known_revision_is_the_newest_one() -> None:
    """Whoever adds a revision must raise HEAD, or it would never be applied."""
    with sa.create_engine("sqlite://").connect() as connection:
        assert ScriptDirectory.from_config(configuration(connection)).get_heads() == [HEAD]


def test_migrations_build_what_the_tables_declare(place: tuple[str | None, Path]) -> None:
    """Tables made by the migrations and tables declared for the statements are the same."""
    Ledger.open(*place).close()
    database = Database.open(*place)
    with database.engine.connect() as connection:
        if not database.sqlite:
            connection.execute(sa.text(f"SET search_path TO {SCHEMA}"))
            connection.dialect.default_schema_name = SCHEMA
        options = {"version_table": VERSION_TABLE}
        differences = compare_metadata(MigrationContext.configure(connection, opts=options), LedgerModel.metadata)
    database.close()
    assert differences == []


def test_a_ledger_made_by_repetition_is_a_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What spares other tests Alembic leaves nothing out."""
    monkeypatch.setattr(run, "upgrade", replaying(UPGRADE))
    made = []
    for name in ("first", "repeated"):
        Ledger.open(None, tmp_path / name).close()
        with closing(sqlite3.connect(tmp_path / name / "ledger.sqlite")) as connection:
            made.append(list(connection.iterdump()))
    assert made[0] == made[1]
    assert len(made[0]) > 30


def test_the_way_down_leaves_nothing(place: tuple[str | None, Path]) -> None:
    """A revision can be taken back."""
    from alembic import command

    Ledger.open(*place).close()
    database = Database.open(*place)
    with database.writing() as connection:
        command.downgrade(configuration(connection), "base")
    with database.reading() as connection:
        inspector = sa.inspect(connection)
        schema = None if database.sqlite else SCHEMA
        left = {*inspector.get_table_names(schema), *inspector.get_view_names(schema)}
    database.close()
    assert left == {VERSION_TABLE}


def test_two_runs_that_open_a_new_ledger_at_once_both_get_one(place: tuple[str | None, Path]) -> None:
    """One migrates, the other waits for it."""
    failures: list[BaseException] = []

    def open_it() -> None:
        try:
            Ledger.open(*place).close()
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_ledger_from_the_future_is_refused(place: tuple[str | None, Path]) -> None:
    """An old Provisor must not write into tables it does not know."""
    Ledger.open(*place).close()
    database = Database.open(*place)
    prefix = "" if database.sqlite else f"{SCHEMA}."
    with database.writing() as connection:
        connection.exec_driver_sql(f"UPDATE {prefix}{VERSION_TABLE} SET version_num = '9999'")
    database.close()
    with pytest.raises(LedgerError, match="newer Provisor"):
        Ledger.open(*place)


def test_an_application_of_the_same_database_is_left_alone(postgresql_server: DatabaseServer, tmp_path: Path) -> None:
    """Tables of the same names outside our schema (Prefect has a ``log`` and an ``alembic_version``) do not matter."""
    url = postgresql_server.create_database("shared")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE log (mine int); CREATE TABLE alembic_version (version_num text)"))
    Ledger.open(url, tmp_path).close()
    with engine.begin() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM log")).scalar() == 0
        assert set(sa.inspect(connection).get_table_names()) == {"alembic_version", "log"}
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["mysql://root:hush@localhost/x", "sqlite://", "sqlite:///:memory:", "hush", "postgresql+asyncpg://hush@h/x"]
)
def test_an_address_that_cannot_hold_a_ledger_is_a_settings_error(url: str, tmp_path: Path) -> None:
    """The message says what an address looks like, and never repeats a password."""
    with pytest.raises(SettingsError) as caught:
        Ledger.open(url, tmp_path)
    assert "PROVISOR_DATABASE_URL" in str(caught.value)
    assert "root:hush" not in str(caught.value)


def test_a_database_that_does_not_answer_is_unreachable_and_its_password_stays_secret(tmp_path: Path) -> None:
    """Port 1 refuses connections."""
    with pytest.raises(UnreachableError) as caught:
        Ledger.open("postgresql://provisor:hush@127.0.0.1:1/ledger", tmp_path)
    assert "127.0.0.1" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "ledger.sqlite").write_text("not a database, but long enough to be read as one" * 40)
    with pytest.raises(UnreachableError, match=r"ledger\.sqlite.*not a database"):
        Ledger.open(None, tmp_path)


def test_what_the_database_says_about_a_row_stays_inside(ledger: Ledger, cycle: Cycle) -> None:
    """Drivers put whole rows into their errors; the ledger's error holds none of it, and no cause that would."""
    database = ledger._database
    prefix = "" if database.sqlite else f"{SCHEMA}."
    with pytest.raises(LedgerError) as caught, database.writing() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO {prefix}watermark (job, value, moved_at) VALUES ('hr', 'a secret', NULL)"
        )
    assert "a secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_sqlite_runs_in_wal_mode(tmp_path: Path) -> None:
    """Readers go on while a cycle writes."""
    with Ledger.open(None, tmp_path), sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
