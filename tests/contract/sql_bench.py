"""The bench of the sql connector: an app's tables in SQLite, looked at with the driver alone."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.contract import Kind, Pace, Target
from connectors.kit import KitTarget
from connectors.sql.target import SYSTEM, SqlTargetSettings
from tests.contract.bench import Bench

TABLES = """
CREATE TABLE people (id integer PRIMARY KEY AUTOINCREMENT, login text COLLATE NOCASE NOT NULL UNIQUE,
  code text UNIQUE, name text,
  title text CHECK (length(title) <= 40), level integer, vip boolean, since date, photo blob,
  manager integer REFERENCES people (id), state text NOT NULL DEFAULT 'on');
CREATE TABLE teams (id integer PRIMARY KEY AUTOINCREMENT, name text NOT NULL UNIQUE, note text);
CREATE TABLE seats (team integer NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
  person integer NOT NULL REFERENCES people (id) ON DELETE CASCADE, PRIMARY KEY (team, person));
"""
ROLES = ("login", "code", "name", "title", "level", "vip", "since", "photo", "manager")
SETTINGS: dict[str, Any] = {
    "users": {"table": "people", "key": "id", "enabled": {"column": "state", "on": "on", "off": "off"}},
    "groups": {"table": "teams", "key": "id"},
    "members": {"table": "seats", "group": "team", "member": "person"},
}


@dataclass
class SqlBench(Bench):
    """Tables in a file."""

    file: Path = Path()

    def target(self, **settings: Any) -> Target:
        parsed = SqlTargetSettings.model_validate({"url": f"sqlite:///{self.file}", **SETTINGS})
        target = KitTarget(SYSTEM, parsed, folder=self.folder, pace=Pace(), clock=self.clock)
        self.opened.append(target)
        return target

    def _run(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = OFF")
            cursor = connection.execute(statement, parameters)
            return [dict(row) for row in cursor.fetchall()] or [{"id": cursor.lastrowid}]

    def people(self, count: int) -> list[str]:
        rows = [(f"user{number:05d}", f"User {number}") for number in range(count)]
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.executemany("INSERT INTO people (login, name) VALUES (?, ?)", rows)
            found = connection.execute("SELECT id FROM people ORDER BY id").fetchall()
        return [str(key) for (key,) in found[-count:]]

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        table = "people" if kind is Kind.USER else "teams"
        return str(self._run(f"INSERT INTO {table} ({names}) VALUES ({marks})", *values.values())[0]["id"])

    def edit(self, key: str, **values: Any) -> None:
        for name, value in values.items():
            self._run(f"UPDATE people SET {name} = ? WHERE id = ?", value, key)

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        rows = self._run(f"SELECT * FROM {'people' if kind is Kind.USER else 'teams'}")
        return {str(row["id"]): {**row, "active": row.get("state") == "on"} for row in rows if len(row) > 1}

    def edges(self) -> set[tuple[str, str]]:
        rows = self._run("SELECT team, person FROM seats")
        return {(str(row["team"]), str(row["person"])) for row in rows if "team" in row}

    def join(self, group: str, *members: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.executemany("INSERT INTO seats VALUES (?, ?)", [(group, member) for member in members])


@contextmanager
def sqlite_bench(folder: Path) -> Iterator[Bench]:
    """A file with the app's tables and nobody in them."""
    file = folder / "app.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.executescript(TABLES)
    bench = SqlBench(folder, name="sql", paths={role: role for role in ROLES}, file=file)
    try:
        yield bench
    finally:
        bench.close()
