"""Prefect's database is migrated once per installation; every new state folder gets a copy."""

import json
import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from flows.serve.prefect_database import NAME, made_template, put_database


def revision(database: Path) -> str:
    with closing(sqlite3.connect(database)) as connection:
        [(found,)] = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    return str(found)


def newest() -> str:
    """The revision after which none comes, read from Prefect's own scripts."""
    folder = Path(str(files("prefect") / "server" / "database" / "_migrations" / "versions" / "sqlite"))
    before, all_ = set(), set()
    for script in folder.glob("*.py"):
        for line in script.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(" = ")
            if name == "revision":
                all_.add(value.strip("\"'"))
            elif name == "down_revision":
                before.add(value.strip("\"'"))
    [found] = all_ - before
    return found


def test_the_template_is_what_the_installed_prefect_would_make(tmp_path: Path) -> None:
    """A server that starts with it has nothing left to migrate."""
    assert put_database(tmp_path)
    assert revision(tmp_path / NAME) == newest()


def test_the_template_has_every_type_of_block_that_a_server_would_register() -> None:
    """The local API does not look for new ones when it starts."""
    collections = json.loads((files("prefect.server") / "collection_blocks_data.json").read_text(encoding="utf-8"))
    theirs = {slug for one in collections["collections"].values() for slug in one["block_types"]}
    with closing(sqlite3.connect(made_template())) as connection:
        types = connection.execute(
            "SELECT slug, count(block_schema.id) FROM block_type "
            "LEFT JOIN block_schema ON block_type_id = block_type.id GROUP BY slug"
        )
        found = dict(types.fetchall())
    assert theirs | {"secret", "webhook", "local-file-system"} <= set(found)
    assert 0 not in found.values()


def test_the_template_holds_no_data() -> None:
    with closing(sqlite3.connect(made_template())) as connection:
        for table in ("flow_run", "block_document", "artifact", "log", "variable"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_database_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"somebody's history")
    assert not put_database(tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"somebody's history"
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME]


def test_a_configured_database_needs_no_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://db.example/prefect")
    assert not put_database(tmp_path)
    assert list(tmp_path.iterdir()) == []
