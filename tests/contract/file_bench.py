"""The bench of files as a target: CSV, looked at with Python's own module. The login is the key."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from connectors.contract import Kind, Pace, Target
from connectors.csv.target import SYSTEM, FileTargetSettings
from connectors.kit import KitTarget
from tests.contract.bench import Bench

ROLES = ("login", "code", "name", "level", "since", "manager")
COLUMNS = (*ROLES, "status")
SETTINGS: dict[str, Any] = {
    "users": {"path": "people.csv", "key": "login", "enabled": {"column": "status", "on": "on", "off": "off"}},
    "groups": {"path": "teams.csv", "key": "name"},
    "members": {"path": "seats.csv", "group": "team", "member": "person"},
}


@dataclass
class FileBench(Bench):
    """Three files in a folder."""

    def target(self, **settings: Any) -> Target:
        parsed = FileTargetSettings.model_validate(SETTINGS)
        target = KitTarget(SYSTEM, parsed, folder=self.folder, pace=Pace(), clock=self.clock)
        self.opened.append(target)
        return target

    def write(self, name: str, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
        """A file with these rows."""
        with (self.folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=columns)
            writer.writeheader()
            writer.writerows(rows)

    def _rows(self, name: str) -> list[dict[str, Any]]:
        with (self.folder / name).open(encoding="utf-8", newline="") as file:
            return [{column: value or None for column, value in row.items()} for row in csv.DictReader(file)]

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        if kind is Kind.GROUP:
            self.write("teams.csv", ("name", "note"), [*self._rows("teams.csv"), values])
            return str(values["name"])
        row = {"status": "on", **{role: value for role, value in values.items() if role in COLUMNS}}
        self.write("people.csv", COLUMNS, [*self._rows("people.csv"), row])
        return str(values["login"])

    def people(self, count: int) -> list[str]:
        rows = [{"login": f"user{n:05d}", "name": f"User {n}", "status": "on"} for n in range(count)]
        self.write("people.csv", COLUMNS, [*self._rows("people.csv"), *rows])
        return [row["login"] for row in rows]

    def edit(self, key: str, **values: Any) -> None:
        rows = [{**row, **values} if row["login"] == key else row for row in self._rows("people.csv")]
        self.write("people.csv", COLUMNS, rows)

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        if kind is Kind.GROUP:
            return {row["name"]: row for row in self._rows("teams.csv")}
        return {row["login"]: {**row, "active": row["status"] != "off"} for row in self._rows("people.csv")}

    def edges(self) -> set[tuple[str, str]]:
        return {(row["team"], row["person"]) for row in self._rows("seats.csv")}

    def join(self, group: str, *members: str) -> None:
        rows = [*self._rows("seats.csv"), *({"team": group, "person": member} for member in members)]
        self.write("seats.csv", ("team", "person"), rows)


@contextmanager
def file_bench(folder: Path) -> Iterator[Bench]:
    """Files with their columns and nobody in them."""
    bench = FileBench(folder, name="csv", paths={role: role for role in ROLES})
    bench.write("people.csv", COLUMNS, [])
    bench.write("teams.csv", ("name", "note"), [])
    bench.write("seats.csv", ("team", "person"), [])
    try:
        yield bench
    finally:
        bench.close()
