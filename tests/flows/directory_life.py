"""The whole life of a company in a real directory, and what ldapsearch shows of it against what the job means.

The demo's exports with some nasty names, or a part of them, go through the shipped job three times: everybody joins;
people move, are renamed, leave, return and join; the first export is back. After each the directory is compared entry
by entry, and a cycle that looks at everything must find nothing to do. ``tests/flows/test_directories.py`` runs it for
few people, ``python -m tests.benchmarks.directory_life`` for all.
"""

import csv
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from ruamel.yaml import YAML

from tests.data.expected import DEPARTMENT, ENTERPRISE, MANAGER, TITLE, State, desired_state
from tests.flows.workplace import EXPORT
from tests.model.driver import Driver
from tests.servers.directories import Directory
from tests.servers.directories.proxy import windows

JOBS = EXPORT.parent
UNITS = {"Sales": "sales", "Marketing": "sales", "Software Engineering": "engineering", "IT Operations": "engineering"}
NASTY = (
    'Wanda "the <Fixer>" #; + Comma, Jr.',
    "#first",
    "(parens) * and \\ back\\slash",
    "équal=sign",
    "Jürgen  Two   Blanks",
    "🚀 Zoë 👩‍👩‍👧‍👦",
    "Ω" * 80,
    "Tab\there",
    "/slash/ & <b>",
    "-",
    "None",
    "O'Brien; DROP",
)
"""Names of people, in the export's displayName."""
A_WEEK = timedelta(days=8)
RENAMED = "Renamed, "
"""What the second export puts before the names of some."""


@dataclass(frozen=True, slots=True)
class Told:
    """One step of a life."""

    step: str
    seconds: float
    counts: Mapping[str, int]
    wrong: Sequence[str]
    """Where the directory is not what the export means."""
    refused: Sequence[str]
    """What the cycle could not do, in its own words."""
    left: Mapping[str, int]
    """Changes that a cycle which looks at everything would make afterwards."""

    @property
    def fine(self) -> bool:
        return not self.wrong and not self.refused and not self.left


# The exports


def write_exports(folder: Path, people: int | None) -> tuple[Path, Path]:
    """Two days of a company of so many people, or of all; some have nasty names, some are renamed on the second."""
    chosen = None if people is None else _chosen(people)
    days = []
    for number, source in enumerate((EXPORT, EXPORT / "next")):
        day = folder / f"day{number + 1}"
        day.mkdir(parents=True)
        rows = [row for row in _rows(source / "people.csv") if chosen is None or row["employeeId"] in chosen]
        steady = sorted(row["employeeId"] for row in rows if row["employeeId"] <= "000999")[:: max(1, len(rows) // 40)]
        names = dict(zip(steady, NASTY, strict=False))
        for row in rows:
            row["displayName"] = names.get(row["employeeId"], row["displayName"])
            if number and row["employeeId"] in steady[::3]:
                row["displayName"] = RENAMED + (row["displayName"] or row["surname"])
        _write_rows(day / "people.csv", rows)
        ids = {row["employeeId"] for row in rows}
        _write_rows(day / "groups.csv", _rows(source / "groups.csv"))
        members = _rows(source / "members.csv")
        _write_rows(day / "members.csv", [row for row in members if chosen is None or row["member"] in ids])
        days.append(day)
    return days[0], days[1]


def _chosen(count: int) -> frozenset[str]:
    """People of every fate, some of each, and then whoever comes."""
    fates = orjson.loads((EXPORT.parent / "hr-to-scim" / "events.json").read_bytes())["people"]
    found = {id: None for ids in fates.values() for id in ids[: max(2, count // 16)]}
    others = [row["employeeId"] for row in _rows(EXPORT / "people.csv")]
    found |= dict.fromkeys(others[:: max(1, len(others) // count)])
    return frozenset(list(found)[:count])


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


# The job


def job_for(directory: Directory, unit: str, url: str) -> dict[str, Any]:
    """The shipped job, told where this directory is; people are named by cn, and a new name renames the entry."""
    is_ad = directory.kind == "samba"
    text = (JOBS / f"{'hr-to-ad' if is_ad else 'hr-to-openldap'}.yaml").read_text(encoding="utf-8")
    text = text.replace("OU=Provisor,DC=corp,DC=example,DC=com", unit)
    text = re.sub(r"(ou=(?:people|groups)),dc=example,dc=org", rf"\1,{unit}", text)
    document: dict[str, Any] = YAML(typ="safe").load(text)
    target, mapped = document["target"], document["users"]["attributes"]
    target["url"] = url
    if url.startswith("ldaps:"):
        target["ca_file"] = str(directory.ca_file)
    target["auth"] = {"simple": {"user": directory.admin, "password": "${env:DIRECTORY_PASSWORD}"}}
    target["users"]["create"]["rdn"] = "cn"
    if is_ad:
        mapped["cn"]["apply"] = "always"
    else:
        mapped["cn"] = (
            'Join(" ", Left(Coalesce([displayName], Join(" ", [givenName], [surname])), 50), '
            'Append(Append("(", [employeeId]), ")"))'
        )
    document["limits"] = {
        kind: {"count": 5000, "fraction": 1.0, "minimum": 5000} for kind in ("removals", "members")
    }  # guards have tests of their own, and of forty people a tenth is soon gone
    return document


@contextmanager
def fresh_unit(directory: Directory) -> Iterator[str]:
    """An empty place with the organisational units that the jobs expect."""
    with directory.fresh() as dn:
        people = (f"OU={one},OU=People" for one in ("Sales", "Engineering", "Other", "Leavers"))
        units = ["OU=People", "OU=Groups", *people]
        directory.add({f"{one},{dn}": {"objectClass": "organizationalUnit"} for one in units})
        yield dn


# The life


def live(folder: Path, directory: Directory, *, people: int | None, through_windows: bool = False) -> Iterator[Told]:
    """Each step of the life once it is over. ``through_windows``: through the proxy that gives Windows' habits."""
    first, second = write_exports(folder, people)
    front = windows(directory, page=20, range=5) if through_windows else nullcontext()
    with pytest.MonkeyPatch.context() as patch, fresh_unit(directory) as unit, front as proxy:
        patch.setenv("PROVISOR_HOME", str(folder / "state"))
        patch.setenv("DIRECTORY_PASSWORD", directory.password)
        document = job_for(directory, unit, proxy.url if proxy is not None else directory.tls_url)
        export = folder / "hr-to-scim"
        export.mkdir()
        (folder / "job.yaml").write_bytes(orjson.dumps(document))
        with closing(Driver(folder / "job.yaml")) as driver:
            state: State | None = None
            for step, day in (("everybody joins", first), ("a second day", second), ("back again", first)):
                for name in ("people.csv", "groups.csv", "members.csv"):
                    (export / name).write_bytes((day / name).read_bytes())
                driver.now += A_WEEK  # limits look at what was taken away within one
                state = desired_state(day, state)
                state.edges = {edge for edge in state.edges if edge[1] in state.in_scope}
                yield lived(step, driver, partial(differences, directory, unit, state))


def lived(step: str, driver: Driver, look: Callable[[], list[str]]) -> Told:
    """A cycle, what is there after it, and what another one would do."""
    began = time.monotonic()
    report = driver.cycle().report
    seconds = time.monotonic() - began
    assert report is not None
    refused = [f"{one.anchor}: {one.code}: {one.message}" for one in report.failures]
    refused += [f"{one.anchor}: {one.code}: {one.reason}" for one in report.held]
    refused += [report.error] if report.error else []
    left = driver.preview("reconcile")
    return Told(
        step,
        seconds,
        report.counts,
        look(),
        refused,
        {str(name): count for name, count in left.counts().items() if count},
    )


# What must be there


@dataclass(frozen=True, slots=True)
class Names:
    """Attributes of the job's target by what the expected state calls them."""

    key: str
    department: str
    company: str
    group: str


_NAMES = {
    "samba": Names("employeeID", "department", "company", "displayName"),
    "openldap": Names("employeeNumber", "departmentNumber", "o", "description"),
    "389": Names("employeeNumber", "departmentNumber", "o", "description"),
}


_LEFT = {"displayName": 256, "title": 128, "l": 128, "cn": 64, "mail": 256}
"""Where the job for Active Directory cuts a text, if not after 64 characters."""


def differences(directory: Directory, unit: str, wanted: State) -> list[str]:
    """Where the directory, read by ldapsearch, is not as the export means it."""
    names = _NAMES[directory.kind]
    asked = ["*", "pwdAccountLockedTime", "nsAccountLock"]
    people = directory.search(f"OU=People,{unit}", f"({names.key}=*)", asked)
    by_dn = {spelled(dn): entry[names.key][0] for dn, entry in people.items()}
    found = {entry[names.key][0]: (dn, entry) for dn, entry in people.items()}
    told = [f"{anchor} is not there" for anchor in wanted.users.keys() - found.keys()]
    told += [f"{anchor} should not be there" for anchor in found.keys() - wanted.users.keys()]
    told += ["an account is there twice"] * (len(people) - len(found))
    for anchor, account in wanted.users.items():
        if anchor in found:
            told += _differences_of(directory, anchor, account, *found[anchor], by_dn)
    groups = directory.search(f"OU=Groups,{unit}", "(cn=*)", ["cn", "member", names.group])
    edges = {
        (entry["cn"][0], by_dn.get(spelled(member), member))
        for entry in groups.values()
        for member in entry.get("member", [])
        if member
    }
    titles = {entry["cn"][0]: entry[names.group][0] for entry in groups.values()}
    for id, group in wanted.groups.items():
        if titles.get(id) != group["displayName"]:
            told.append(f"the group {id} is called {titles.get(id)!r}, not {group['displayName']!r}")
    told += [f"{edge} is missing" for edge in sorted(wanted.edges - edges)]
    told += [f"{edge} is too much" for edge in sorted(edges - wanted.edges)]
    return told


def spelled(dn: str) -> str:
    """A name in one spelling: servers escape and capitalise differently where they list it and where it is a value."""

    def letter(match: "re.Match[bytes]") -> bytes:
        return bytes.fromhex(match[1].decode()) if len(match[1]) == 2 else match[1]

    levels = re.findall(rb"(?:\\.|[^,\\])+", dn.encode(), re.DOTALL)
    plain = (re.sub(rb"\\([0-9A-Fa-f]{2}|.)", letter, level, flags=re.DOTALL).decode() for level in levels)
    return "\n".join(" ".join(level.split()) for level in plain).casefold()


def _differences_of(
    directory: Directory,
    anchor: str,
    account: Mapping[str, Any],
    dn: str,
    entry: Mapping[str, Any],
    by_dn: Mapping[str, str],
) -> Iterator[str]:
    names = _NAMES[directory.kind]
    shown, surname = str(account["displayName"]), account.get("name.familyName")
    department = str(account.get(DEPARTMENT, "")).replace(" and ", " & ")
    wanted = {
        "cn": f"{shown[:50]} ({anchor})",
        "displayName": shown,
        "givenName": account.get("name.givenName"),
        "sn": surname if surname or directory.kind == "samba" else shown,
        "title": account.get(TITLE),
        "mail": account.get('emails[type eq "work"].value'),
        "l": account.get('addresses[type eq "work"].locality'),
        names.company: account.get(f"{ENTERPRISE}organization"),
        names.department: department if department != "Unassigned" else None,
    }
    for name, value in wanted.items():
        if directory.kind == "samba" and value is not None:
            value = str(value)[: _LEFT.get(name, 64)]
        held = (entry.get(name) or [None])[0]
        if _squeezed(held) != _squeezed(value):
            yield f"{anchor}: {name} is {held!r}, not {value!r}"
    manager = spelled((entry.get("manager") or [""])[0])
    if by_dn.get(manager) != account.get(MANAGER):
        yield f"{anchor}: manager is {manager!r}, not {account.get(MANAGER)!r}"
    if enabled(directory, entry) != account["active"]:
        yield f"{anchor}: enabled is {enabled(directory, entry)}"
    place = UNITS.get(department, "other") if account["active"] else "leavers"
    if f",ou={place},ou=people," not in dn.casefold():
        yield f"{anchor} lies at {dn}, not in {place}"


def _squeezed(value: Any) -> str | None:
    return " ".join(str(value).split()) if value is not None else None


def enabled(directory: Directory, entry: Mapping[str, Any]) -> bool:
    """Whether the entry is switched on, as its server keeps it."""
    if directory.kind == "samba":
        return int(entry["userAccountControl"][0]) & 2 == 0
    return "pwdAccountLockedTime" not in entry and "nsAccountLock" not in entry
