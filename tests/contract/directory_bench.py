"""The benches of directories: a unit in a real server, behind a proxy that breaks off, looked at by ldapsearch."""

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from ldap.dn import escape_dn_chars

from connectors import registry
from connectors.contract import ACTIVE, Action, Change, Kind, Pace, Target
from connectors.kit import KitTarget
from connectors.ldap.system import TARGETS
from tests.connectors.ldap.places import Place
from tests.contract.bench import Bench, Fired, Gap
from tests.servers.directories import Directory
from tests.servers.directories.directory import Entry
from tests.servers.directories.proxy import Proxy, Request, Trouble, windows

DIRECTORIES = {"active_directory": "samba", "ldap": "openldap"}
"""Bench to the fixture of its server."""
_PATHS = {"name": "displayName", "level": "employeeType", "manager": "manager"}
_OF_SERVER = {
    "openldap": {"login": "uid", "title": "roomNumber", "tags": "departmentNumber", "secret": "userPassword"},
    "samba": {"login": "cn", "title": "employeeID"},
}
"""The server of the tests takes room numbers of at most 40 characters; an employeeID has 16."""
_VERBS = {"create": Request.ADD, "update": Request.MODIFY}
_SIGN_IN_FAILED = 49
_PAGE_OF_AD, _FEWER_IN_AD = 100, 10
"""Samba makes a dozen users a second: a tenth of them, in pages of a tenth."""


@dataclass
class DirectoryBench(Bench):
    """An organisational unit of its own."""

    place: Place | None = None
    proxy: Proxy | None = None

    @property
    def unit(self) -> Place:
        assert self.place is not None
        return self.place

    @property
    def server(self) -> Directory:
        return self.unit.directory

    def target(self, *, concurrency: int = 4, **settings: Any) -> Target:
        name = "active-directory" if self.unit.is_ad else "ldap"
        users: dict[str, Any] = {"base": [self.unit.people], "create": {"container": self.unit.people}}
        more: dict[str, Any] = {}
        if self.unit.is_ad:
            users["password"] = None
            more["limits"] = {"page": _PAGE_OF_AD}
        schema = registry.find(name).target_settings
        assert schema is not None
        parsed = schema.model_validate(self.unit.settings(users=users, **more))
        pace = Pace(concurrency=concurrency)
        target = KitTarget(TARGETS[name], parsed, folder=self.folder, pace=pace, clock=self.clock)
        self.opened.append(target)
        return target

    def change(self, action: Action, target_id: str | None = None, *, kind: Kind = Kind.USER, **more: Any) -> Change:
        if (secret := more.get("secret")) is not None:
            more["secret"] = base64.b64encode(str(secret).encode()).decode()  # its values are bytes
        made = super().change(action, target_id, kind=kind, **more)
        if action is not Action.CREATE:
            return made
        needed = self._needed(str(made.attributes[self.path("login" if kind is Kind.USER else "name", kind)]), kind)
        wanted: dict[str, Any] = made.attributes  # type: ignore[assignment]
        wanted.update({path: value for path, value in needed.items() if path not in wanted})
        if kind is Kind.USER:
            wanted.setdefault(ACTIVE, True)
        return made

    def _needed(self, name: str, kind: Kind) -> Mapping[str, str]:
        """What an entry must have besides."""
        if self.unit.is_ad:
            account = "".join(letter for letter in name if letter.isalnum())
            return {"sAMAccountName": f"{account}-{self.unit.tag}"[-20:]}
        return {"cn": name, "sn": "Somebody"} if kind is Kind.USER else {}

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        (key,) = self._put(kind, [values])
        return key

    def people(self, count: int) -> list[str]:
        if self.unit.is_ad and count > _PAGE_OF_AD:
            count //= _FEWER_IN_AD
        return self._put(
            Kind.USER, [{"login": f"user{number:05d}", "name": f"User {number}"} for number in range(count)]
        )

    def _put(self, kind: Kind, people: list[dict[str, Any]]) -> list[str]:
        first = self.path("login" if kind is Kind.USER else "name", kind)
        entries: dict[str, dict[str, str | list[str]]] = {}
        for values in people:
            if any(value == "" for value in values.values()):
                raise Gap("A directory has no empty text.")
            shown = {self.path(role, kind): str(value) for role, value in values.items() if value is not None}
            shown |= self._needed(shown[first], kind)
            entry: dict[str, str | list[str]] = {**shown, "objectClass": self._class(kind)}
            if self.unit.is_ad and kind is Kind.USER:
                entry["userAccountControl"] = "544"
            if not self.unit.is_ad and kind is Kind.GROUP:
                entry["member"] = [""]
            entries[f"{first}={escape_dn_chars(shown[first])},{self._container(kind)}"] = entry
        self.server.add(entries)
        keys = {held[first][0]: key for key, held in self._held(kind).items()}
        return [keys[str(values["login" if kind is Kind.USER else "name"])] for values in people]

    def _class(self, kind: Kind) -> str:
        if kind is Kind.USER:
            return self.unit.person_class
        return "group" if self.unit.is_ad else "groupOfNames"

    def _container(self, kind: Kind) -> str:
        return self.unit.people if kind is Kind.USER else self.unit.groups

    def _held(self, kind: Kind) -> dict[str, Entry]:
        """The entries by key; ``dn`` is among their attributes."""
        found = self.server.search(
            self._container(kind),
            f"(objectClass={self._class(kind)})",
            ["*", self.unit.key, "pwdAccountLockedTime"],
            controls=["!pr=1000/noprompt"],
        )
        return {self._key(entry): {**entry, "dn": [dn]} for dn, entry in found.items()}

    def _key(self, entry: Entry) -> str:
        (text,) = entry[self.unit.key]
        return str(UUID(bytes_le=base64.b64decode(text.removeprefix("base64:")))) if self.unit.is_ad else text

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        paths = self.paths if kind is Kind.USER else self.group_paths
        found: dict[str, dict[str, Any]] = {}
        for key, entry in self._held(kind).items():
            shown: dict[str, Any] = {role: entry[path][0] for role, path in paths.items() if path in entry}
            if kind is Kind.USER:
                off = int(entry["userAccountControl"][0]) & 2 if self.unit.is_ad else "pwdAccountLockedTime" in entry
                shown["active"] = not off
            found[key] = shown
        return found

    def edges(self) -> set[tuple[str, str]]:
        keys = {entry["dn"][0].casefold(): key for key, entry in self._held(Kind.USER).items()}
        groups = self._held(Kind.GROUP).items()
        return {(group, keys[dn.casefold()]) for group, entry in groups for dn in entry.get("member", []) if dn}

    def join(self, group: str, *members: str) -> None:
        people, entry = self._held(Kind.USER), self._held(Kind.GROUP)[group]
        there = [dn for dn in entry.get("member", []) if dn]
        self.server.modify(entry["dn"][0], member=[*there, *(people[member]["dn"][0] for member in members)])

    def edit(self, key: str, **values: Any) -> None:
        dn = self._held(Kind.USER)[key]["dn"][0]
        self.server.modify(dn, **{self.path(role): str(value) for role, value in values.items()})

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fired:
        assert self.proxy is not None
        match fault:
            case "cut":
                made = Trouble(Request.SEARCH, nth, times, cut="after", paged=True)
            case "lost before" | "lost after":
                made = Trouble(_VERBS[verb], nth, times, cut=fault.removeprefix("lost "))
            case "not trusted":
                made = Trouble(_VERBS[verb], nth, times, code=_SIGN_IN_FAILED)
            case _:
                return super().trouble(fault, verb=verb, nth=nth, times=times)
        self.proxy.troubles.append(made)
        return made


@contextmanager
def directory_bench(name: str, directory: Directory, folder: Path) -> Iterator[Bench]:
    """A unit with nobody in it."""
    os.environ.setdefault("DIRECTORY_PASSWORD", directory.password)
    with directory.fresh() as unit, windows(directory) as proxy:
        place = Place(directory, unit, folder, proxy.url).make()
        paths = _PATHS | _OF_SERVER[directory.kind]
        bench = DirectoryBench(folder, name=name, paths=paths, switch=ACTIVE, place=place, proxy=proxy)
        bench.group_paths = {"name": "cn"}
        try:
            yield bench
        finally:
            bench.close()
