"""What flows/jobs/hr-to-scim.yaml must bring about, said a second time by hand: the reference for end-to-end tests.

Plain Python over the CSV files, entry by entry, from the job file's text and the promises of the product; it imports
nothing of the product and shares no code with the generators. A change of the job file has to be made here as well.
"""

import csv
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Attributes: TypeAlias = dict[str, str | bool]
"""Attribute path to value; a path that has no value is not there. The manager is an anchor."""

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:"
MANAGER = ENTERPRISE + "manager"
TITLE = "title"
DEPARTMENT = ENTERPRISE + "department"

_LANGUAGES = {
    "DE": "de",
    "AT": "de",
    "CH": "de",
    "FR": "fr",
    "ES": "es",
    "MX": "es",
    "PT": "pt",
    "BR": "pt",
    "IT": "it",
    "PL": "pl",
    "TR": "tr",
    "VN": "vi",
    "JP": "ja",
    "KR": "ko",
    "CN": "zh-Hans",
}


@dataclass(slots=True)
class State:
    """What the target holds after a cycle, by the source's anchors, and how it got there."""

    users: dict[str, Attributes]
    """Every account, disabled ones too."""
    groups: dict[str, Attributes]
    edges: set[tuple[str, str]]
    """(group, user)."""
    in_scope: set[str] = field(default_factory=set)
    """People of the export whom the scoping filter lets through, disabled ones too."""
    out_of_scope: set[str] = field(default_factory=set)
    created: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)
    """Accounts that existed and got another value in some attribute other than ``active``."""
    disabled: set[str] = field(default_factory=set)
    """Accounts switched off by this cycle."""
    enabled: set[str] = field(default_factory=set)
    """Accounts switched on by this cycle."""
    unresolved: set[str] = field(default_factory=set)
    """People with an account whose manager has none."""
    edges_added: set[tuple[str, str]] = field(default_factory=set)
    edges_removed: set[tuple[str, str]] = field(default_factory=set)


def desired_state(folder: Path, previous: State | None = None) -> State:
    """The target after one cycle over the export in this folder.

    ``previous`` is the target before; None for one that holds nothing of ours.
    """
    people = {row["employeeId"]: row for row in _rows(folder / "people.csv")}
    before = previous or State({}, {}, set())
    state = State({anchor: dict(account) for anchor, account in before.users.items()}, {}, set())

    for anchor, person in people.items():
        if not _in_scope(person):
            state.out_of_scope.add(anchor)
            continue
        state.in_scope.add(anchor)
        if anchor in state.users:
            _update(state.users[anchor], person)
        elif person["status"] in ("active", "leave"):  # nobody gets an account in order to have it disabled
            state.users[anchor] = _create(person)
    for anchor, account in state.users.items():
        if anchor not in state.in_scope:  # out of scope, or gone from the export: the account is kept, switched off
            account["active"] = False

    for anchor in state.in_scope & state.users.keys():
        manager = people[anchor]["manager"]
        if manager in state.users:
            state.users[anchor][MANAGER] = manager
        elif manager:
            state.unresolved.add(anchor)

    for row in _rows(folder / "groups.csv"):
        state.groups[row["id"]] = {"displayName": row["name"], "externalId": row["id"]}
    state.edges = {
        (row["group"], row["member"]) for row in _rows(folder / "members.csv") if row["member"] in state.users
    }
    _compare(before, state)
    return state


def _rows(path: Path) -> list[dict[str, str]]:
    """A file's rows; letters are composed, as the source reads them."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: unicodedata.normalize("NFC", value) for name, value in row.items()} for row in rows]


def _in_scope(person: dict[str, str]) -> bool:
    kind = person["employeeType"]
    if not kind:  # a clause on null is false, NOT EQUALS too
        return False
    return kind != "contractor" or person["department"] == "IT Operations"


def _create(person: dict[str, str]) -> Attributes:
    account: Attributes = {"externalId": person["employeeId"], TITLE: "Employee", DEPARTMENT: "Unassigned"}
    account.update(_mapped(person))
    return account


def _update(account: Attributes, person: dict[str, str]) -> None:
    """Null leaves the target's value alone, but for the title, which is cleared."""
    account.update(_mapped(person))
    if not person["jobTitle"]:
        account.pop(TITLE, None)


def _mapped(person: dict[str, str]) -> Attributes:
    """The values that are not null, of all mappings that apply always; the manager apart."""
    full_name = " ".join(name for name in (person["givenName"], person["surname"]) if name)
    country = person["country"]
    values = {
        "userName": person["userPrincipalName"],
        "displayName": person["displayName"] or full_name,
        "name.givenName": person["givenName"],
        "name.familyName": person["surname"],
        'emails[type eq "work"].value': person["mail"].lower(),
        TITLE: person["jobTitle"],
        'addresses[type eq "work"].locality': person["city"],
        'addresses[type eq "work"].country': country,
        "preferredLanguage": _LANGUAGES.get(country, "en"),
        ENTERPRISE + "employeeNumber": person["employeeId"],
        ENTERPRISE + "organization": person["company"],
        DEPARTMENT: person["department"].replace("&", "and"),
        ENTERPRISE + "costCenter": f"{country}-{person['company'][:3].upper()}",
    }
    present: Attributes = {path: value for path, value in values.items() if value}
    return present | {"active": person["status"] in ("active", "leave")}


def _compare(before: State, after: State) -> None:
    for anchor, account in after.users.items():
        was = before.users.get(anchor)
        if was is None:
            after.created.add(anchor)
            continue
        if was["active"] and not account["active"]:
            after.disabled.add(anchor)
        if account["active"] and not was["active"]:
            after.enabled.add(anchor)
        if {**was, "active": None} != {**account, "active": None}:
            after.updated.add(anchor)
    after.edges_added = after.edges - before.edges
    after.edges_removed = before.edges - after.edges
