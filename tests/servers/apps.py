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
from tests.servers.salesforce_service import CLIENT, SECRET, Field, SalesforceService, serving
from tests.servers.scim_service import ScimService

Resource = dict[str, Any]
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
MANAGER = f"{ENTERPRISE}:manager"
MAIL = 'emails[type eq "work"].value'


class App(Protocol):
    """An app, running."""

    nested: bool
    """Whether groups may be members."""
    deletes: bool
    """Whether accounts can be deleted; else they are disabled at most."""
    extra: Mapping[str, Any]
    """Mappings of attributes that the app demands of every account besides."""

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
    deletes = True
    extra: Mapping[str, Any] = {}

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
    deletes = True
    extra: Mapping[str, Any] = {}
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


_FIELDS = {
    Kind.USER: {
        "userName": "Username",
        "externalId": "FederationIdentifier",
        "displayName": "LastName",
        "title": "Title",
        "nickName": "CommunityNickname",
        "mail": "WorkMail__c",
        "manager": "ManagerId",
        "active": "IsActive",
    },
    Kind.GROUP: {"displayName": "Name", "externalId": "DeveloperName"},
}


class SalesforceApp(FlatApp):
    """An org of Salesforce, which keeps its accounts for ever."""

    paths: Mapping[Kind, Mapping[str, str]] = {
        Kind.USER: {{"mail": MAIL, "manager": MANAGER}.get(row, row): name for row, name in _FIELDS[Kind.USER].items()},
        Kind.GROUP: _FIELDS[Kind.GROUP],
    }
    deletes = False
    extra: Mapping[str, Any] = {
        "Email": {"expression": "[userName]", "apply": "on_create"},
        **{
            name: {"constant": value, "apply": "on_create"}
            for name, value in {
                "Alias": "alias",
                "TimeZoneSidKey": "Europe/Vienna",
                "LocaleSidKey": "en_US",
                "LanguageLocaleKey": "en_US",
                "EmailEncodingKey": "UTF-8",
                "Profile.Name": "Standard User",
            }.items()
        },
    }

    def __init__(self, org: SalesforceService, folder: Path) -> None:
        super().__init__()
        self.service = org
        org.page = 7
        org.fields["User"]["WorkMail__c"] = Field("email", 128)  # an address of one's own waits for nobody's consent
        (folder / "app-secret").write_text(SECRET, encoding="utf-8")
        self.section = {
            "connector": "salesforce",
            "url": org.url,
            "auth": {"oauth": {"client_id": CLIENT, "secret": "${file:app-secret}"}},
            "groups": ["public"],
        }

    def rows(self, kind: Kind) -> dict[str, dict[str, Any]]:
        found = self.service.users if kind is Kind.USER else self.service.tables["Group"]
        names = _FIELDS[kind].items()
        return {id: {row: record.get(name) for row, name in names} for id, record in dict(found).items()}

    def edges(self) -> list[tuple[str, str]]:
        return sorted(self.service.edges())

    def put(self, kind: Kind, id: str, row: Mapping[str, Any], members: Sequence[str]) -> None:
        table = "User" if kind is Kind.USER else "Group"
        values = {name: row.get(path) for path, name in _FIELDS[kind].items()}
        if kind is Kind.USER:
            values |= {"IsActive": row.get("active", True), "LastName": values["LastName"] or "."}
            id = id or self.service.put_user()
        else:
            id = id or self.service.put_group("New")
        self.service.tables[table][id] |= values
        self.service._indexes.clear()
        held = self.service.tables["GroupMember"]
        if kind is Kind.GROUP:
            for edge in [edge for edge, one in held.items() if one["GroupId"] == id]:
                del held[edge]
            for member in members:
                self.service.put("GroupMember", GroupId=id, UserOrGroupId=member)

    def remove(self, kind: Kind, id: str) -> None:
        assert kind is Kind.GROUP, "Salesforce keeps accounts for ever"
        self.service._delete("Group", id)


@contextmanager
def salesforce_app(folder: Path) -> Iterator[App]:
    """An org with nobody in it but the user of Provisor's app."""
    with serving() as org:
        yield SalesforceApp(org, folder)


Opened = Callable[[Path], AbstractContextManager[App]]
APPS: dict[str, Opened] = {"memory": memory_app, "scim": scim_app, "sql": sql_app}
"""Those that can do everything."""
CLOUD_APPS: dict[str, Opened] = {"salesforce": salesforce_app}
"""Services of one maker, with what they cannot do."""
