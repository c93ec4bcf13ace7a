"""Whole lives of people in real directories: what ldapsearch shows afterwards, and that the next plan is empty."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.data.expected import DEPARTMENT, MANAGER, TITLE, State, desired_state
from tests.flows.workplace import EXPORT, Command, Workplace
from tests.servers.directories import Directory

pytestmark = pytest.mark.usefixtures("plain_runs")

NEXT = EXPORT / "next"
JOBS = EXPORT.parent
UNITS = {"Sales": "sales", "Marketing": "sales", "Software Engineering": "engineering", "IT Operations": "engineering"}
NAMES = {  # attribute of the job's target by what the expected state calls it
    "samba": {"key": "employeeID", "department": "department", "group": "displayName"},
    "openldap": {"key": "employeeNumber", "department": "departmentNumber", "group": "description"},
    "389": {"key": "employeeNumber", "department": "departmentNumber", "group": "description"},
}


@pytest.fixture(params=["openldap"])
def directory(request: pytest.FixtureRequest) -> Directory:
    server: Directory = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def unit(directory: Directory) -> Iterator[str]:
    """An empty place with the organisational units that the jobs expect."""
    with directory.fresh() as dn:
        units = [
            "OU=People",
            "OU=Groups",
            *(f"OU={one},OU=People" for one in ("Sales", "Engineering", "Other", "Leavers")),
        ]
        directory.add({f"{one},{dn}": {"objectClass": "organizationalUnit"} for one in units})
        yield dn


def workplace_of(folder: Path, directory: Directory, unit: str, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """The shipped job, told where this directory is."""
    name = "hr-to-ad" if directory.kind == "samba" else "hr-to-openldap"
    text = (JOBS / f"{name}.yaml").read_text(encoding="utf-8")
    text = text.replace("OU=Provisor,DC=corp,DC=example,DC=com", unit)
    text = re.sub(r"(ou=(?:people|groups)),dc=example,dc=org", rf"\1,{unit}", text)
    document = YAML(typ="safe").load(text)
    document["target"]["url"] = directory.tls_url
    if directory.kind != "389":
        document["target"]["ca_file"] = str(directory.ca_file)
    document["target"]["auth"] = {"simple": {"user": directory.admin, "password": "${env:DIRECTORY_PASSWORD}"}}
    monkeypatch.setenv("DIRECTORY_PASSWORD", directory.password)
    made = Workplace(folder, document)
    made.export.mkdir(parents=True)
    monkeypatch.setenv("PROVISOR_HOME", str(made.home))
    return made.save().use(EXPORT)


def differences(directory: Directory, unit: str, wanted: State) -> list[str]:
    """Where the directory, read by ldapsearch, is not as the export means it."""
    names = NAMES[directory.kind]
    people = directory.search(
        f"OU=People,{unit}", f"({names['key']}=*)", ["*", "pwdAccountLockedTime", "nsAccountLock"]
    )
    by_dn = {dn.casefold(): entry[names["key"]][0] for dn, entry in people.items()}
    found = {entry[names["key"]][0]: (dn, entry) for dn, entry in people.items()}
    told = [f"{anchor} is not there" for anchor in wanted.users.keys() - found.keys()]
    told += [f"{anchor} should not be there" for anchor in found.keys() - wanted.users.keys()]
    for anchor, account in wanted.users.items():
        if anchor in found:
            told += _differences_of(directory, anchor, account, *found[anchor], by_dn)
    groups = directory.search(f"OU=Groups,{unit}", "(member=*)", ["cn", "member"])
    edges = {
        (entry["cn"][0], by_dn.get(member.casefold(), member))
        for entry in groups.values()
        for member in entry["member"]
        if member
    }
    told += [f"{edge} is missing" for edge in sorted(wanted.edges - edges)]
    told += [f"{edge} is too much" for edge in sorted(edges - wanted.edges)]
    return told


def _differences_of(
    directory: Directory,
    anchor: str,
    account: Mapping[str, Any],
    dn: str,
    entry: Mapping[str, Any],
    by_dn: Mapping[str, str],
) -> Iterator[str]:
    names = NAMES[directory.kind]
    wanted = {
        "givenName": account.get("name.givenName"),
        "title": account.get(TITLE),
        "mail": account.get('emails[type eq "work"].value'),
        "l": account.get('addresses[type eq "work"].locality'),
    }
    if (surname := account.get("name.familyName")) is not None or directory.kind == "samba":
        wanted["sn"] = surname
    for name, value in wanted.items():
        held = (entry.get(name) or [None])[0]
        if held != (str(value).strip() if value is not None else None):
            yield f"{anchor}: {name} is {held!r}, not {value!r}"
    manager = (entry.get("manager") or [""])[0].casefold()
    if by_dn.get(manager) != account.get(MANAGER):
        yield f"{anchor}: manager is {manager!r}, not {account.get(MANAGER)!r}"
    if enabled(directory, entry) != account["active"]:
        yield f"{anchor}: enabled is {enabled(directory, entry)}"
    if account["active"]:
        unit = UNITS.get(str(account.get(DEPARTMENT)).replace(" and ", " & "), "other")
        if f",ou={unit},ou=people," not in dn.casefold():
            yield f"{anchor} lies at {dn}, not in {unit}"
    del names


def enabled(directory: Directory, entry: Mapping[str, Any]) -> bool:
    """Whether the entry is switched on, as its server keeps it."""
    if directory.kind == "samba":
        return int(entry["userAccountControl"][0]) & 2 == 0
    return "pwdAccountLockedTime" not in entry and "nsAccountLock" not in entry


def test_two_days_and_back(
    tmp_path: Path, directory: Directory, unit: str, monkeypatch: pytest.MonkeyPatch, provisor: Command
) -> None:
    """Joiners, movers, leavers, and all of them back: the directory is what the export says, and nothing is left."""
    workplace = workplace_of(tmp_path, directory, unit, monkeypatch)
    first = desired_state(EXPORT)
    report = workplace.cycle()
    assert report.exit_status == 0, report
    assert differences(directory, unit, first) == []

    second = desired_state(NEXT, first)
    report = workplace.use(NEXT).cycle()
    assert report.exit_status == 0, report
    assert differences(directory, unit, second) == []
    assert report.counts["disabled"] == len(second.disabled)
    report = workplace.cycle("reconcile")
    assert not any(report.counts.values()), report

    back = desired_state(EXPORT, second)
    back.edges = {edge for edge in back.edges if edge[1] in back.in_scope}  # who leaves the scope leaves the groups
    [ended] = second.groups.keys() - back.groups.keys()  # a group that the source no longer has is kept, and emptied
    emptied = {edge for edge in second.edges if edge[0] == ended}
    report = workplace.use(EXPORT).cycle()
    assert (report.exit_status, report.counts["staged"]) == (3, len(emptied)), report
    assert report.counts["enabled"] == len(back.enabled)
    wanted, back.edges = back.edges, back.edges | emptied
    assert differences(directory, unit, back) == []
    back.edges = wanted
    assert provisor("approve", workplace.job).status == 0
    report = workplace.cycle()
    assert (report.exit_status, report.counts["members_removed"]) == (0, len(emptied)), report
    assert differences(directory, unit, back) == []
