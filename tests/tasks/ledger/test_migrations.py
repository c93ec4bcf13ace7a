"""Migrations never change: what a revision makes of a ledger is written down, and looked at.

A new revision needs nothing but its file of ``schemas``: run this module with ``--update-golden`` and review it. A file
that is there is never to be written anew: ledgers of that revision are out there.
"""

import io
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import Script, ScriptDirectory

from connectors.contract import Action, Kind
from tasks.ledger import CycleKind, Ledger, LedgerError, Staged, StagedState
from tasks.ledger.copies import copy_before
from tasks.ledger.migrations import HEAD, VERSION_TABLE
from tasks.ledger.migrations.run import configuration

SCHEMAS = Path(__file__).with_name("schemas")
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def revisions() -> list[Script]:
    """Every revision, the first one first."""
    with sa.create_engine("sqlite://").connect() as connection:
        return [*ScriptDirectory.from_config(configuration(connection)).walk_revisions()][::-1]


def on_sqlite(revision: str) -> list[str]:
    """The whole schema once a new ledger is at this revision."""
    with sa.create_engine("sqlite://").connect() as connection:
        command.upgrade(configuration(connection), revision)
        made = connection.execute(
            sa.text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> :name ORDER BY type, name"),
            {"name": VERSION_TABLE},
        )
        return [f"{sql};" for sql in made.scalars()]


def on_postgresql(script: Script) -> str:
    """What this revision alone says to PostgreSQL."""
    said = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": said})
    with Operations.context(context):
        script.module.upgrade()
    return said.getvalue()


@pytest.mark.parametrize("script", revisions(), ids=lambda script: script.revision)
def test_a_revision_makes_what_it_always_made(script: Script, golden: Callable[[Path, str], None]) -> None:
    """A migration that is changed would leave older ledgers without what it makes now."""
    parts = [
        "-- SQLite, all of it",
        *on_sqlite(script.revision),
        "",
        "-- PostgreSQL, this revision",
        on_postgresql(script),
    ]
    lines = "\n".join(parts).splitlines()
    golden(SCHEMAS / f"{script.revision}.sql", "\n".join(line.rstrip() for line in lines))


def test_no_revision_is_forgotten() -> None:
    """A schema without a revision would be one that was taken out, with ledgers out there that are at it."""
    assert {path.stem for path in SCHEMAS.glob("*.sql")} == {script.revision for script in revisions()}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A home whose ledger is at the first revision and remembers a job."""
    file = tmp_path / "ledger.sqlite"
    with sa.create_engine(f"sqlite:///{file}").connect() as connection:
        command.upgrade(configuration(connection), "0001")
        connection.execute(sa.text("INSERT INTO job VALUES ('hr', 'f', '2026-03-10 12:00:00.000000')"))
        connection.commit()
    return tmp_path


def revision_of(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()[0])


def test_a_copy_is_made_before_the_tables_are_changed(old: Path) -> None:
    """The copy is the ledger as it was, for its owner alone; the ledger goes on with all that it knows."""
    with Ledger.open(None, old) as ledger:
        [copy] = ledger.copies()
        assert ledger.jobs() == ["hr"]
        ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=NOW)
    assert copy == old / f"ledger.sqlite.before-{HEAD}"
    assert (revision_of(copy), revision_of(old / "ledger.sqlite")) == ("0001", HEAD)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert sorted(path.name for path in old.glob("*.new*")) == []


def test_what_is_held_and_decided_outlives_a_change_of_its_key(tmp_path: Path) -> None:
    """Every column of it; it is decided, replaced and dropped afterwards like any other."""
    file = tmp_path / "ledger.sqlite"
    at = "2026-03-10 12:00:00.000000"
    held = (
        "hr",
        "group",
        "remove members",
        "staff",
        "g",
        "Staff",
        at,
        7,
        "too many",
        "rejected",
        "eve",
        "no",
        None,
        at,
    )
    with sa.create_engine(f"sqlite:///{file}").connect() as connection:
        command.upgrade(configuration(connection), "0009")
        connection.exec_driver_sql(
            f"INSERT INTO staged VALUES ({', '.join('?' * 20)})",
            (*held, '["u1","u2"]', None, '["members"]', "left", "eve@desk", None),
        )
        connection.commit()
    rejected = Staged(
        Kind.GROUP,
        Action.REMOVE_MEMBERS,
        "staff",
        NOW,
        7,
        "too many",
        ("members",),
        "left",
        "g",
        "Staff",
        StagedState.REJECTED,
        "eve",
        "eve@desk",
        "no",
        decided_at=NOW,
        members=("u1", "u2"),
    )
    with Ledger.open(None, tmp_path) as ledger:
        assert ledger.staged("hr") == [rejected]
        ledger.put_staged("hr", [replace(rejected, part="another cause")])
        ledger.drop_staged("hr", [rejected])
        assert ledger.staged("hr") == [replace(rejected, part="another cause")]


def test_a_new_ledger_has_no_copy(tmp_path: Path) -> None:
    """There is nothing to go back to."""
    for _ in range(2):
        with Ledger.open(None, tmp_path) as ledger:
            assert ledger.copies() == []


def test_without_a_copy_nothing_is_changed(old: Path) -> None:
    """Where no copy can be made, the ledger stays as it is, and people are told what to do."""
    (old / f"ledger.sqlite.before-{HEAD}.new").mkdir()  # in the way
    with pytest.raises(LedgerError, match="no copy of it can be made"):
        Ledger.open(None, old)
    assert revision_of(old / "ledger.sqlite") == "0001"


def test_a_copy_that_is_there_is_not_overwritten(old: Path) -> None:
    """A second try after a failure must not replace the good copy by a half-changed ledger."""
    file = old / "ledger.sqlite"
    copy = copy_before(file, HEAD)
    before = copy.read_bytes()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DELETE FROM job")
        connection.commit()
    assert copy_before(file, HEAD).read_bytes() == before


def test_a_newer_ledger_is_refused_with_its_place_and_both_revisions(tmp_path: Path) -> None:
    """People have to know which ledger, and what to do; no copy of it is made."""
    Ledger.open(None, tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        connection.commit()
    with pytest.raises(LedgerError, match=rf"newer Provisor.*at revision 9999.*up to {HEAD}.*Update Provisor"):
        Ledger.open(None, tmp_path)
    assert [path.name for path in tmp_path.glob("*before*")] == []
