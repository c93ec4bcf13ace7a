"""A place of its own in a real directory for one test, and connectors that work in it."""

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors import registry
from connectors.contract import ACTIVE, STATE, Action, Change, Kind, Outcome, Pace, Source, Target, Wanted
from connectors.ldap import names
from tests.servers.directories import Directory

NUMBERS = itertools.count(1)
WANTED = Wanted(
    ("cn", "sn", "givenName", "description", "manager", "parentDistinguishedName", ACTIVE, STATE), ("cn", "description")
)


@dataclass
class Place:
    """An organisational unit with units for people, groups and leavers."""

    directory: Directory
    unit: str
    folder: Path
    url: str = ""
    opened: list[Any] = field(default_factory=list)

    @property
    def is_ad(self) -> bool:
        return self.directory.kind == "samba"

    @property
    def tag(self) -> str:
        """Something that is in no other test's names."""
        return names.split(self.unit)[0].partition("=")[2]

    @property
    def people(self) -> str:
        return f"OU=people,{self.unit}"

    @property
    def groups(self) -> str:
        return f"OU=groups,{self.unit}"

    @property
    def person_class(self) -> str:
        return "user" if self.is_ad else "inetOrgPerson"

    @property
    def key(self) -> str:
        return {"samba": "objectGUID", "openldap": "entryUUID", "389": "nsUniqueId"}[self.directory.kind]

    def make(self) -> "Place":
        """Make the units."""
        units = ("people", "groups", "leavers", "other")
        self.directory.add({f"OU={one},{self.unit}": {"objectClass": "organizationalUnit"} for one in units})
        return self

    def settings(self, **sections: Any) -> dict[str, Any]:
        """What the job file would say."""
        os.environ["DIRECTORY_PASSWORD"] = self.directory.password
        found: dict[str, Any] = {
            "url": self.url or self.directory.tls_url,
            "auth": {"simple": {"user": self.directory.admin, "password": "${env:DIRECTORY_PASSWORD}"}},
            "users": {"base": [self.people]},
            "groups": {"base": self.groups},
        }
        if self.directory.kind != "389":
            found["ca_file"] = str(self.directory.ca_file)
        return found | sections

    def source(self, **sections: Any) -> Source:
        """The directory as a source."""
        connector = registry.find("active-directory" if self.is_ad else "ldap")
        assert connector.source_settings is not None
        settings = connector.source_settings.model_validate(self.settings(**sections))
        opened = registry.open_source(connector.name, settings, folder=self.folder)
        self.opened.append(opened)
        return opened

    def target(self, *, concurrency: int = 4, **sections: Any) -> Target:
        """The directory as a target."""
        users = {
            "base": [self.unit],
            "create": {"container": self.people},
            "disable": {"move_to": f"OU=leavers,{self.unit}"},
        }
        connector = registry.find("active-directory" if self.is_ad else "ldap")
        assert connector.target_settings is not None
        settings = connector.target_settings.model_validate(self.settings(**({"users": users} | sections)))
        pace = Pace(concurrency=concurrency)
        opened = registry.open_target(connector.name, settings, folder=self.folder, pace=pace)
        self.opened.append(opened)
        return opened

    def close(self) -> None:
        """Close what was opened."""
        for one in self.opened:
            one.close()

    def person(self, number: int, **more: Any) -> dict[str, Any]:
        """What the job maps for one person."""
        name = f'Jö, {number} "the <x>" #; + \\ * (y)'
        found: dict[str, Any] = {
            "cn": name,
            "sn": f"O'Brien {number}",
            "givenName": "Jö",
            "employeeNumber": str(number),
        }
        found[ACTIVE] = True
        login = f"u{number}-{self.tag}"
        found |= {"sAMAccountName": login} if self.is_ad else {"uid": login}
        return found | more

    def put(self, count: int, **more: Any) -> list[str]:
        """People and one group that others made; gives their names."""
        entries = {}
        for number in range(count):
            entry: dict[str, Any] = {"objectClass": self.person_class, "sn": f"Sürname {number}", **more}
            if self.is_ad:
                entry |= {"sAMAccountName": f"p{next(NUMBERS)}", "userAccountControl": "544"}
            else:
                entry["uid"] = f"p{next(NUMBERS)}"
            entries[f"CN=p{number},{self.people}"] = entry
        self.directory.add(entries)
        return list(entries)

    def group(self, name: str, members: Sequence[str]) -> str:
        """A group that others made; gives its name."""
        dn = f"CN={name},{self.groups}"
        shown: dict[str, Any] = {"objectClass": "group" if self.is_ad else "groupOfNames"}
        if members or not self.is_ad:
            shown["member"] = list(members) or [""]
        if self.is_ad:
            shown["sAMAccountName"] = f"g{next(NUMBERS)}"
        self.directory.add({dn: shown})
        return dn


def change(action: Action, target_id: str | None = None, *, kind: Kind = Kind.USER, **details: Any) -> Change:
    """One change."""
    number = next(NUMBERS)
    attributes = details.pop("attributes", {})
    return Change(f"c{number}", kind, action, f"a{number}", target_id, attributes, label="somebody", **details)


def apply(target: Target, *changes: Change) -> list[Outcome]:
    """Carry changes out; their outcomes in the same order."""
    found: dict[str, Outcome] = {}
    target.apply(changes, lambda outcome: found.__setitem__(outcome.change_id, outcome))
    return [found[one.id] for one in changes]
