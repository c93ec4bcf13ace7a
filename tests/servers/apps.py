"""Apps whose accounts are kept in step, all looked at in the same way: one line for each in ``APPS``.

What an app holds is said in SCIM's JSON, whatever the app is: tests that know one app know all of them. What is read
and written here goes past the connector: through the service's own store, plain SQL, a dictionary.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from connectors import registry
from connectors.contract import ACTIVE, Kind
from tests.contract import memory
from tests.servers.scim_service import ScimService

Resource = dict[str, Any]
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MANAGER = f"{ENTERPRISE}:manager"
MAIL = 'emails[type eq "work"].value'


class App(Protocol):
    """An app, running."""

    nested: bool
    """Whether groups may be members."""

    @property
    def users(self) -> MutableMapping[str, Resource]:
        """By id. Setting or deleting one is what somebody else with access does."""
        ...

    @property
    def groups(self) -> MutableMapping[str, Resource]:
        """The same of groups."""
        ...

    @property
    def paths(self) -> Mapping[Kind, Mapping[str, str]]:
        """What a job calls an attribute, where that is not what SCIM calls it."""
        ...

    @property
    def section(self) -> dict[str, Any]:
        """What a job says about it."""
        ...

    def seed(self, *, users: Sequence[Resource] = (), groups: Sequence[Resource] = ()) -> Any:
        """Entries that somebody else made."""
        ...


class ScimApp(ScimService):
    """A SCIM service, with small pages."""

    paths: Mapping[Kind, Mapping[str, str]] = {kind: {} for kind in Kind}
    nested = True

    @property
    def section(self) -> dict[str, Any]:
        """What a job says about it."""
        return {"connector": "scim", "url": self.url, "auth": {"bearer": "${env:SCIM_TOKEN}"}, "page_size": 3}


@contextmanager
def scim_app(folder: Path) -> Iterator[App]:
    """A service with nobody in it."""
    os.environ["SCIM_TOKEN"] = "a-token"
    with ScimApp(max_page_size=3) as app:
        yield app


# Apps of flat rows


class Shelf(MutableMapping[str, Resource]):
    """All users or all groups of an app of flat rows."""

    def __init__(self, app: "FlatApp", kind: Kind) -> None:
        self._app, self._kind = app, kind

    def __getitem__(self, id: str) -> Resource:
        return self._app.resource(self._kind, id, self._app.rows(self._kind)[id])

    def __setitem__(self, id: str, resource: Resource) -> None:
        self._app.put(self._kind, id, _flat(resource), [one["value"] for one in resource.get("members", ())])

    def __delitem__(self, id: str) -> None:
        self._app.remove(self._kind, id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._app.rows(self._kind))

    def __len__(self) -> int:
        return len(self._app.rows(self._kind))


class FlatApp:
    """What apps of flat rows have in common; rows have SCIM's names, and ``mail`` and ``manager``."""

    paths: Mapping[Kind, Mapping[str, str]] = {Kind.USER: {MANAGER: "manager", MAIL: "mail"}, Kind.GROUP: {}}
    nested = False
    section: dict[str, Any]

    def __init__(self) -> None:
        self.users: MutableMapping[str, Resource] = Shelf(self, Kind.USER)
        self.groups: MutableMapping[str, Resource] = Shelf(self, Kind.GROUP)

    def rows(self, kind: Kind) -> dict[str, dict[str, Any]]:
        """Rows by id."""
        raise NotImplementedError

    def edges(self) -> list[tuple[str, str]]:
        """Group and member."""
        raise NotImplementedError

    def put(self, kind: Kind, id: str, row: Mapping[str, Any], members: Sequence[str]) -> None:
        """A row as it is to be; an empty id makes a new one."""
        raise NotImplementedError

    def remove(self, kind: Kind, id: str) -> None:
        """A row and its memberships."""
        raise NotImplementedError

    def seed(self, *, users: Sequence[Resource] = (), groups: Sequence[Resource] = ()) -> None:
        """Entries that somebody else made."""
        for kind, resources in ((Kind.USER, users), (Kind.GROUP, groups)):
            for one in resources:
                self.put(kind, "", _flat(one), [member["value"] for member in one.get("members", ())])

    def resource(self, kind: Kind, id: str, row: Mapping[str, Any]) -> Resource:
        """A row as SCIM would show it."""
        found = {name: value for name, value in row.items() if value is not None}
        mail, boss = found.pop("mail", None), found.pop("manager", None)
        found |= {"emails": [{"type": "work", "value": mail}]} if mail else {}
        found |= {ENTERPRISE: {"manager": {"value": str(boss)}}} if boss is not None else {}
        if kind is Kind.GROUP:
            found["members"] = [{"value": member} for group, member in self.edges() if group == id]
        return {"id": id, **found}


def _flat(resource: Resource) -> dict[str, Any]:
    row = {name: value for name, value in resource.items() if name not in ("id", "members", "emails", ENTERPRISE)}
    row["mail"] = next((one["value"] for one in resource.get("emails", ())), None)
    row["manager"] = resource.get(ENTERPRISE, {}).get("manager", {}).get("value")
    return row


TABLES = """
CREATE TABLE people (id integer PRIMARY KEY AUTOINCREMENT, userName text COLLATE NOCASE NOT NULL UNIQUE,
  externalId text, displayName text, title text, nickName text, mail text, active boolean NOT NULL DEFAULT true,
  manager integer REFERENCES people (id) ON DELETE SET NULL);
CREATE TABLE teams (id integer PRIMARY KEY AUTOINCREMENT, displayName text NOT NULL, externalId text);
CREATE TABLE seats (team integer NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
  person integer NOT NULL REFERENCES people (id) ON DELETE CASCADE, PRIMARY KEY (team, person));
INSERT INTO sqlite_sequence VALUES ('teams', 1000);
"""
"""People and teams have other ids: the tests tell them apart by these."""
COLUMNS = {
    Kind.USER: ("userName", "externalId", "displayName", "title", "nickName", "mail", "active", "manager"),
    Kind.GROUP: ("displayName", "externalId"),
}


class SqlApp(FlatApp):
    """Tables in SQLite."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.executescript(TABLES)
        self.section = {
            "connector": "sql",
            "url": f"sqlite:///{file}",
            "users": {"table": "people", "key": "id", "enabled": {"column": "active"}},
            "groups": {"table": "teams", "key": "id"},
            "members": {"table": "seats", "group": "team", "member": "person"},
        }

    def _run(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self._file, timeout=30)) as connection, connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = OFF")
            cursor = connection.execute(statement, parameters)
            return [dict(row) for row in cursor.fetchall()] or [{"id": cursor.lastrowid}]

    def rows(self, kind: Kind) -> dict[str, dict[str, Any]]:
        found = self._run(f"SELECT id AS key, * FROM {_TABLES[kind]} ORDER BY id")
        rows = {str(row.pop("key")): row for row in found if "key" in row}
        for row in rows.values():
            del row["id"]
            if kind is Kind.USER:
                row["active"] = bool(row["active"])
        return rows

    def edges(self) -> list[tuple[str, str]]:
        found = self._run("SELECT team, person FROM seats")
        return [(str(row["team"]), str(row["person"])) for row in found if "team" in row]

    def put(self, kind: Kind, id: str, row: Mapping[str, Any], members: Sequence[str]) -> None:
        names, values = COLUMNS[kind], [row.get(name, True if name == "active" else None) for name in COLUMNS[kind]]
        if id:
            all_of_them = ", ".join(f"{name} = ?" for name in names)
            self._run(f"UPDATE {_TABLES[kind]} SET {all_of_them} WHERE id = ?", *values, id)
        else:
            marks = ", ".join("?" * len(names))
            made = self._run(f"INSERT INTO {_TABLES[kind]} ({', '.join(names)}) VALUES ({marks})", *values)
            id = str(made[0]["id"])
        if kind is Kind.GROUP:
            self._run("DELETE FROM seats WHERE team = ?", id)
            for member in members:
                self._run("INSERT INTO seats VALUES (?, ?)", id, member)

    def remove(self, kind: Kind, id: str) -> None:
        self._run(f"DELETE FROM {_TABLES[kind]} WHERE id = ?", id)


_TABLES = {Kind.USER: "people", Kind.GROUP: "teams"}


@contextmanager
def sql_app(folder: Path) -> Iterator[App]:
    """Tables with nobody in them."""
    yield SqlApp(folder / "app.db")


_USERS = {"userName": "login", "externalId": "code", "displayName": "name", "nickName": "nick"}
_GROUPS = {"displayName": "name", "externalId": "note"}
_NAMES = {Kind.USER: {**_USERS, "title": "title", "mail": "mail", "manager": "manager"}, Kind.GROUP: _GROUPS}


class MemoryApp(FlatApp):
    """The system in memory of the contract suite."""

    paths: Mapping[Kind, Mapping[str, str]] = {
        Kind.USER: {MANAGER: "manager", MAIL: "mail", "active": ACTIVE, **_USERS},
        Kind.GROUP: _GROUPS,
    }

    def __init__(self, name: str) -> None:
        super().__init__()
        self.store = memory.STORES[name] = memory.Store()
        self.section = {"connector": "memory", "name": name, "late_s": 0.0}

    def rows(self, kind: Kind) -> dict[str, dict[str, Any]]:
        found = {}
        for id, entry in self.store.entries[kind].items():
            row = {path: entry.get(name) for path, name in _NAMES[kind].items()}
            found[id] = row | ({"active": entry.get("state") not in ("off", "locked")} if kind is Kind.USER else {})
        return found

    def edges(self) -> list[tuple[str, str]]:
        return list(self.store.edges)

    def put(self, kind: Kind, id: str, row: Mapping[str, Any], members: Sequence[str]) -> None:
        entry = {name: row.get(path) for path, name in _NAMES[kind].items()}
        entry |= {"state": "on" if row.get("active", True) else "off"} if kind is Kind.USER else {}
        if id:
            self.store.entries[kind][id] = {name: value for name, value in entry.items() if value is not None}
        else:
            id = self.store.put(kind, entry)
        if kind is Kind.GROUP:
            self.store.edges = {edge: None for edge in self.store.edges if edge[0] != id}
            self.store.edges |= {(id, member): None for member in members}

    def remove(self, kind: Kind, id: str) -> None:
        self.store.answer(("delete", kind, id))


@contextmanager
def memory_app(folder: Path) -> Iterator[App]:
    """The system in memory, which the registry knows as long as it is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.BUILT_IN, "memory", "tests.contract.memory")
        yield MemoryApp(str(folder))


APPS: dict[str, Callable[[Path], AbstractContextManager[App]]] = {
    "memory": memory_app,
    "scim": scim_app,
    "sql": sql_app,
}
