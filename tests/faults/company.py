"""A small company, its job, and what its app must hold, said by hand: nothing here is worked out by the product.

Half of the people are in groups, the other half are not, so that each kind of change can be had alone. In the app there
are also accounts that are nobody's; whatever happens, they stay as they are.
"""

import csv
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from tests.data.expected import MANAGER, Attributes, State
from tests.servers.scim_service import ScimService

JOB = "faults"
JOB_FILE = "job.yaml"
MAIL = 'emails[type eq "work"].value'
WIDE = {"count": None, "fraction": 1.0}
PAGE = 100

STRANGERS: dict[str, Sequence[dict[str, Any]]] = {
    "users": [
        {"id": "root", "userName": "root@example.com", "active": True, "displayName": "Person 3"},
        {"id": "old", "userName": "old@example.com", "active": False, "title": "Clerk"},
    ],
    "groups": [{"id": "admins", "displayName": "Admins", "members": [{"value": "root"}]}],
}


@dataclass(slots=True)
class Person:
    """One row of the export."""

    title: str = "Clerk"
    mail: str = ""
    """Local part; empty for none."""
    manager: str = ""
    status: str = "active"


@dataclass(slots=True)
class Company:
    """The source as it is."""

    people: dict[str, Person]
    groups: dict[str, str]
    """Name by anchor."""
    members: set[tuple[str, str]] = field(default_factory=set)
    """(group, person)."""

    @classmethod
    def make(cls) -> "Company":
        """40 people, of whom the first 20 are in groups, and 24 groups of three."""
        people = {person(number): Person(mail=f"p{number}" if number % 2 else "") for number in range(40)}
        for number in range(1, 40, 3):
            people[person(number)].manager = person(0)
        groups = {group(number): f"Team {number}" for number in range(24)}
        members = {(group(number), person((number + step) % 20)) for number in range(24) for step in (0, 5, 11)}
        return cls(people, groups, members)

    def copy(self) -> "Company":
        return deepcopy(self)

    def write(self, folder: Path) -> None:
        """The export."""
        paths = ("id", "userName", "name", "title", "mail", "manager", "status")
        people = [
            (
                *(anchor, user_name(anchor), full_name(anchor), one.title),
                *(one.mail and f"{one.mail}@example.com", one.manager, one.status),
            )
            for anchor, one in self.people.items()
        ]
        write_csv(folder / "people.csv", paths, people)
        write_csv(folder / "groups.csv", ("id", "name"), self.groups.items())
        write_csv(folder / "members.csv", ("group", "member"), sorted(self.members))

    def expected(self) -> State:
        """The app as it must be, strangers left out."""
        users: dict[str, Attributes] = {}
        for anchor, one in self.people.items():
            account: Attributes = {
                "userName": user_name(anchor),
                "externalId": anchor,
                "displayName": full_name(anchor),
                "title": one.title,
                "active": one.status == "active",
            }
            if one.mail:
                account[MAIL] = f"{one.mail}@example.com"
            if one.manager:
                account[MANAGER] = one.manager
            users[anchor] = account
        groups: dict[str, Attributes] = {
            anchor: {"displayName": title, "externalId": anchor} for anchor, title in self.groups.items()
        }
        return State(users, groups, set(self.members))


def person(number: int) -> str:
    """Anchor of a person."""
    return f"p{number:03d}"


def group(number: int) -> str:
    """Anchor of a group."""
    return f"g{number:03d}"


def user_name(anchor: str) -> str:
    """User name of a person."""
    return f"{anchor}@example.com"


def full_name(anchor: str) -> str:
    """What a person is called; somebody in the app who is not of the company has the same name as one who is."""
    return f"Person {int(anchor[1:])}"


def write_csv(path: Path, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """The rows below the names of their columns."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_job(folder: Path, url: str, *, load: dict[str, Any] | None = None, timeout_s: float = 60) -> Path:
    """The job file. Who is gone from the export is deleted, who is no longer active is disabled."""
    document: dict[str, Any] = {
        "name": JOB,
        "source": {
            "connector": "csv",
            "users": {"path": "people.csv", "key": "id", "enabled": {"column": "status", "values": ["active"]}},
            "groups": {"path": "groups.csv", "key": "id"},
            "members": {"path": "members.csv", "group": "group", "member": "member"},
        },
        "target": {
            "connector": "scim",
            "url": url,
            "auth": {"bearer": "${env:SCIM_TOKEN}"},
            "page_size": PAGE,
            "timeout_s": timeout_s,
        },
        "users": {
            "matching": [{"source": "[userName]", "target": "userName"}],
            "attributes": {
                "userName": "[userName]",
                "externalId": "[id]",
                "active": "Not([IsSoftDeleted])",
                "displayName": "[name]",
                "title": "[title]",
                MAIL: "[mail]",
                MANAGER: {"reference": "[manager]", "clear": True},
            },
        },
        "groups": {
            "matching": [{"source": "[name]", "target": "displayName"}],
            "attributes": {"displayName": "[name]", "externalId": "[id]"},
        },
        "deprovision": {"deleted": "delete"},
        "limits": {"removals": WIDE, "members": WIDE, "attribute": WIDE, "updates": WIDE, "source": WIDE}
        | {"budget": {"per_day": WIDE, "per_week": WIDE}, "memberships": WIDE | {"per_day": WIDE, "per_week": WIDE}},
        "load": {"batch_size": 8, "concurrency": 4} | (load or {}),
    }
    path = folder / JOB_FILE
    path.write_bytes(orjson.dumps(document))  # JSON is YAML
    return path


def put_strangers_in(service: ScimService) -> None:
    """Accounts that are nobody's."""
    service.seed(users=STRANGERS["users"], groups=STRANGERS["groups"])
