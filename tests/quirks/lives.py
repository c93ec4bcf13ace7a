"""One short life of a job against one service, driven through the product's own cycle without an orchestrator.

Five people and two groups: they join, one of them finding an account that was there before; they move, are renamed,
marry, lose a title; one is suspended, one leaves; groups are renamed and change members; people come back. After each
act cycles run until nothing is left to do, a few times at most. What the service holds is then looked at directly.

Whatever the service does: nobody else's account is touched, nobody who is to have an account loses it or is switched
off, nobody is doubled, no member is removed without cause, and the number of requests is bounded.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

import connectors.scim.service
from connectors.scim.profile import find_profile
from tasks.ledger import CycleState
from tests.connectors.clocks import FakeClock
from tests.model.driver import Driver
from tests.servers.scim_service import ScimService

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
WORK = 'emails[type eq "work"].value'
MOBILE = 'phoneNumbers[type eq "mobile"].value'
JOB = "quirks"
HOME = "bob@home.example"
"""An address that no mapping knows."""
ODD_NAME = "eve +50%@example.com"
WIDE = {"count": None, "fraction": 1.0}
COLUMNS = ("id", "userName", "given", "family", "title", "mail", "mobile", "department", "manager", "status")
ROUNDS = 3
"""Cycles in a row after which nothing may be left to do."""
MOST_REQUESTS = 400
"""In one act, for six users and two groups: far more than any service should need, far fewer than a loop makes."""

Row = dict[str, str]


def somebody(id: str, given: str, **more: str) -> Row:
    """One row of the export."""
    row = dict.fromkeys(COLUMNS, "")
    row |= {"id": id, "userName": f"{given.lower()}@example.com", "given": given, "family": f"O'{given}-\\Smith"}
    return row | {"title": "Clerk", "mail": row["userName"], "department": "Sales", "status": "active"} | more


@dataclass(slots=True)
class Company:
    """What the source says."""

    people: dict[str, Row] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    """Anchor to name."""
    members: set[tuple[str, str]] = field(default_factory=set)

    def write(self, folder: Path) -> None:
        """The export's three files."""
        write_csv(folder / "people.csv", COLUMNS, self.people.values())
        write_csv(folder / "groups.csv", ("id", "name"), [{"id": id, "name": name} for id, name in self.groups.items()])
        members = [{"group": group, "member": member} for group, member in sorted(self.members)]
        write_csv(folder / "members.csv", ("group", "member"), members)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """A file of the export."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def job_document(url: str, **target: Any) -> dict[str, Any]:
    """A job that maps every shape of attribute there is."""
    return {
        "name": JOB,
        "source": {
            "connector": "csv",
            "users": {"path": "people.csv", "key": "id", "enabled": {"column": "status", "values": ["active"]}},
            "groups": {"path": "groups.csv", "key": "id"},
            "members": {"path": "members.csv", "group": "group", "member": "member"},
        },
        "target": {"connector": "scim", "url": url, "auth": {"bearer": "${env:SCIM_TOKEN}"}, **target},
        "users": {
            "matching": [{"source": "[userName]", "target": "userName"}],
            "attributes": {
                "userName": "[userName]",
                "externalId": "[id]",
                "active": "Not([IsSoftDeleted])",
                "name.givenName": "[given]",
                "name.familyName": "[family]",
                "title": {"expression": "[title]", "clear": True},
                WORK: "[mail]",
                MOBILE: {"expression": "[mobile]", "clear": True},
                f"{ENTERPRISE}:department": "[department]",
                f"{ENTERPRISE}:manager": {"reference": "[manager]", "clear": True},
            },
        },
        "groups": {
            "matching": [{"source": "[name]", "target": "displayName"}],
            "attributes": {"displayName": "[name]", "externalId": "[id]"},
        },
        "deprovision": {"deleted": "delete", "disabled": "disable"},
        "limits": {"removals": WIDE, "members": WIDE, "attribute": WIDE, "updates": WIDE, "source": WIDE}
        | {"budget": {"per_day": WIDE, "per_week": WIDE}, "memberships": WIDE | {"per_day": WIDE, "per_week": WIDE}},
        "quarantine": {"floor": 1_000_000, "all_of": 1_000_000},
        "load": {"batch_size": 50, "concurrency": 8},
        "drift": "correct",
    }


# -- the acts ----------------------------------------------------------------------------------------------------------


def everybody_joins(company: Company) -> None:
    """bob's account is there already, spelt otherwise and without most attributes."""
    for id, given, more in (
        ("p1", "Ann", {}),
        ("p2", "Bob", {"manager": "p1", "mobile": "+49 170 1"}),
        ("p3", "Cid", {"title": 'Head of "R+D" 100%', "mail": "cid+work@example.com"}),
        ("p4", "Dee", {"manager": "p1"}),
        ("p5", "Eve", {"title": "Ärztin 🚀", "userName": ODD_NAME}),
    ):
        company.people[id] = somebody(id, given, **more)
    company.groups = {"g1": "Sales", "g2": "All staff", "g3": "Club"}
    company.members = {("g1", "p1"), ("g1", "p2"), ("g3", "p1"), ("g3", "p3"), *(("g2", id) for id in company.people)}


def much_changes(company: Company) -> None:
    """Every way in which an attribute, a group and a membership can change, at once."""
    company.people["p1"] |= {"title": "Boss", "mail": "ann.smith@example.com", "mobile": "+49 170 2", "family": "Ray"}
    company.people["p2"] |= {"title": "", "mobile": "", "department": "Legal", "manager": "p3"}
    company.people["p3"] |= {"userName": "cid.new@example.com", "mail": "cid.new@example.com", "manager": "p1"}
    company.people["p4"] |= {"status": "suspended", "manager": ""}
    del company.people["p5"]
    company.groups["g1"] = "Sales & more"
    company.members = {(group, person) for group in company.groups for person in ("p1", "p3")}


def people_return(company: Company) -> None:
    """The suspended one and the one who had left; a group is emptied, another is gone."""
    company.people["p4"]["status"] = "active"
    company.people["p5"] = somebody("p5", "Eve", title="Doctor", userName=ODD_NAME)
    company.people["p6"] = somebody("p6", "Fay", manager="p5")
    company.members = {("g1", "p3"), ("g1", "p4"), ("g1", "p6")}  # one stays: a guard holds the end of them all
    del company.groups["g2"]


ACTS = (everybody_joins, much_changes, people_return)


# -- a life ------------------------------------------------------------------------------------------------------------


class Life:
    """One job, its source, and the service that is its target."""

    def __init__(self, folder: Path, service: ScimService, *, profile: str | None = None) -> None:
        known = find_profile(profile, url=service.url, folder=folder)
        self.groups = known.groups
        """Whether the service has groups, as far as its profile knows."""
        self.unkept = frozenset(known.not_kept.users)
        self.folder = folder
        self.service = service
        self.company = Company()
        self.refusals: set[str] = set()
        """What people were told about changes that failed, and why cycles stopped; without repetitions."""
        self.clock = FakeClock()
        self.requests = Counter[str]()
        self.settled = True
        """False once something was left to do."""
        service.seed(
            users=[
                {"userName": "admin@example.com", "active": True, "displayName": "Nobody's business"},
                {"userName": "Bob@Example.com", "active": True, "emails": [{"type": "home", "value": HOME}]},
            ],
        )
        document = job_document(service.url, **({"profile": profile} if profile else {}))
        for path in self.unkept:
            del document["users"]["attributes"][path]
        if not self.groups:
            del document["groups"], document["source"]["groups"], document["source"]["members"]
        folder.joinpath("job.yaml").write_bytes(orjson.dumps(document))
        self.driver = Driver(folder / "job.yaml")
        self.others = self.others_now()

    def others_now(self) -> dict[str, dict[str, Any]]:
        """Accounts that no job owns."""
        return {id: user for id, user in self.service.users.items() if user["userName"] == "admin@example.com"}

    def live(self) -> None:
        """All acts; after each the service is looked at."""
        with self._time_flies():
            for act in ACTS:
                before = self.members_now()
                act(self.company)
                self.company.write(self.folder)
                self.service.reset_counts()
                self._settle()
                self.requests = self.service.requests
                assert sum(self.service.requests.values()) < MOST_REQUESTS, self.service.requests
                self.check_no_harm(before)

    def _settle(self) -> None:
        """Cycles until one that sees everything has nothing to do."""
        for number in range(ROUNDS):
            try:
                ended = self.driver.cycle("reconcile" if number else "auto")
            except AssertionError as error:  # the job is in quarantine: nothing runs, and a sentence says why
                self.refusals.add(str(error))
                break
            assert ended.report is not None
            self.refusals.update(failure.message for failure in ended.report.failures)
            if ended.report.state is not CycleState.DONE:
                self.refusals.add(ended.report.message)
            elif number and ended.plan is not None and ended.plan.empty:
                return
        self.settled = False

    @contextmanager
    def _time_flies(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(connectors.scim.service, "SystemClock", lambda: self.clock)
            yield

    # -- what the service holds ------------------------------------------------------------------------------------

    def accounts(self) -> dict[str, dict[str, Any]]:
        """Accounts that are not softly deleted, by id, but for nobody's."""
        shelf = self.service.application.store.users
        return {
            id: user
            for id, user in self.service.users.items()
            if not shelf.entries[id].removed and id not in self.others
        }

    def owners(self) -> dict[str, str]:
        """Account id to the anchor of the person it is for: by the user name."""
        names = {row["userName"].casefold(): id for id, row in self.company.people.items()}
        return {
            id: names[user["userName"].casefold()]
            for id, user in self.accounts().items()
            if user["userName"].casefold() in names
        }

    def members_now(self) -> set[tuple[str, str]]:
        """Memberships by name of the group's and the user's anchors where these are known."""
        owners = self.owners()
        owners |= {self.service.users[id]["userName"]: anchor for id, anchor in owners.items()}  # some list names
        groups = {name: id for id, name in self.company.groups.items()}
        return {
            (groups[group["displayName"]], owners[member["value"]])
            for group in self.service.groups.values()
            for member in group.get("members", ())
            if group["displayName"] in groups and member["value"] in owners
        }

    def check_no_harm(self, before: set[tuple[str, str]]) -> None:
        """What may never happen, whatever the service does."""
        assert self.others_now() == self.others, "somebody else's account was touched"
        names = Counter(user["userName"].casefold() for user in self.accounts().values())
        assert not [name for name, count in names.items() if count > 1], f"doubled: {names}"
        owners = self.owners()
        for id, anchor in owners.items():
            if self.company.people[anchor]["status"] == "active":
                assert str(self.accounts()[id].get("active", True)) == "True", f"{anchor} is switched off"
        homes = [of_type(user.get("emails"), "home") for user in self.accounts().values()]
        assert HOME in homes, "an address was lost that nobody wanted to touch"
        lost = (before & self.company.members) - self.members_now()
        present = set(owners.values())
        assert not {edge for edge in lost if edge[1] in present and edge[0] in self._groups_now()}, f"removed: {lost}"

    def _groups_now(self) -> set[str]:
        shown = {group["displayName"] for group in self.service.groups.values()}
        return {id for id, name in self.company.groups.items() if name in shown}

    def differences(self) -> list[str]:
        """Where the service is not as the source says, a line each."""
        people, found = self.company.people, self.accounts()
        owners = self.owners()
        account_of = {anchor: id for id, anchor in owners.items()}
        lines = [f"{anchor} has no account" for anchor in people if anchor not in account_of]
        lines += [f"{user['userName']} belongs to nobody" for id, user in found.items() if id not in owners]
        for id, anchor in owners.items():
            now, wanted = shown(found[id]), wanted_of(people[anchor], account_of)
            lines += [
                f"{anchor}: {path} is {now.get(path)!r}, not {wanted[path]!r}"
                for path in wanted
                if path not in self.unkept and now.get(path) != wanted[path]
            ]
        if not self.groups:
            return lines
        groups = Counter(group["displayName"] for group in self.service.groups.values())
        if groups != Counter(self.company.groups.values()):
            lines.append(f"groups are {dict(groups)}")
        members = self.members_now()
        lines += [f"missing member {edge}" for edge in sorted(self.company.members - members)]
        lines += [f"member too many {edge}" for edge in sorted(members - self.company.members)]
        return lines

    def close(self) -> None:
        """Lets go of the ledger."""
        self.driver.close()


def shown(user: Mapping[str, Any]) -> dict[str, Any]:
    """An account as the export would say it."""
    extension = user.get(ENTERPRISE, {})
    name = user.get("name", {})
    boss = extension.get("manager")
    return {
        "userName": user["userName"],
        "externalId": user.get("externalId"),
        "active": str(user.get("active")),
        "given": name.get("givenName"),
        "family": name.get("familyName"),
        "title": user.get("title"),
        "mail": of_type(user.get("emails"), "work"),
        "mobile": of_type(user.get("phoneNumbers"), "mobile"),
        "department": extension.get("department"),
        "manager": boss.get("value") if isinstance(boss, dict) else boss,
    }


def wanted_of(row: Row, account_of: Mapping[str, str]) -> dict[str, Any]:
    """What the account of a person is to be."""
    wanted: dict[str, Any] = {path: row[path] or None for path in COLUMNS if path not in {"id", "status", "manager"}}
    boss = account_of.get(row["manager"]) if row["manager"] else None
    return wanted | {"externalId": row["id"], "active": str(row["status"] == "active"), "manager": boss}


def of_type(elements: Sequence[Mapping[str, Any]] | None, kind: str) -> str | None:
    """The values of a multi-valued attribute that are of a type; more than one is one too many."""
    values = [element.get("value") for element in elements or () if element.get("type") == kind]
    return "; ".join(map(str, values)) if values else None
