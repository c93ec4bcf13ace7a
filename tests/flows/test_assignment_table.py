"""An assignment table beside the export, end to end: who is provisioned, with which roles, and which groups."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.contract import Action
from connectors.errors import SettingsError
from flows.cli.here import decide_now
from tasks.job import load_job
from tests.flows.workplace import Said, Workplace
from tests.servers.scim_service import ScimService

PEOPLE = """id,login,partners
1,ann@x.org,2;3
2,bob@x.org,1;4
3,eve@x.org,
4,zoe@x.org,2
"""
MEMBERS = "group,member\ng1,1\ng1,2\ng2,3\n"
TABLE = "user,group,role\n,Sales,Reader\n1,,Editor\n4,,Owner\n9,,Owner\n"
SECTIONS = {
    "source": {
        "connector": "csv",
        "users": {"path": "people.csv", "key": "id"},
        "groups": {"path": "groups.csv", "key": "id"},
        "members": {"path": "members.csv", "group": "group", "member": "member"},
    },
    "assignment": {
        "mode": "assigned",
        "table": {"path": "assignments.csv", "user": "user", "group": "group", "role": "role"},
    },
    "users": {
        "matching": [{"source": "[login]", "target": "userName"}],
        "attributes": {
            "userName": "[login]",
            "externalId": "[id]",
            "active": "Not([IsSoftDeleted])",
            "roles": "AssertiveAppRoleAssignmentsComplex([appRoleAssignments])",
            "entitlements.value": {"reference": 'Split([partners], ";")'},
        },
    },
    "groups": {
        "matching": [{"source": "[name]", "target": "displayName"}],
        "attributes": {"displayName": "[name]", "externalId": "[id]"},
    },
    "limits": {"removals": {"fraction": 1.0}, "members": {"fraction": 1.0}},
}


@pytest.fixture
def assigned(tmp_path: Path, service: ScimService, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """Four people, two groups and a table that assigns Sales (Ann and Bob), Ann, Zoe, and somebody who is gone."""
    made = Workplace.make(tmp_path / "work", url=service.url, name="by-table")
    for name, text in {
        "people.csv": PEOPLE,
        "groups.csv": "id,name\ng1,Sales\ng2,IT\n",
        "members.csv": MEMBERS,
        "assignments.csv": TABLE,
    }.items():
        (made.folder / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("PROVISOR_HOME", str(made.home))
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    return made.save(**SECTIONS)


def put_table(workplace: Workplace, text: str) -> None:
    (workplace.folder / "assignments.csv").write_text(text, encoding="utf-8")


@pytest.mark.usefixtures("plain_runs")
def test_people_get_what_the_table_says(assigned: Workplace, service: ScimService) -> None:
    """Assigned people with the roles of every assignment, the assigned group, references to whoever has an account.

    When the table changes, so does the target; what it no longer assigns is disabled, and nothing else changes.
    """
    report = assigned.cycle()
    assert (report.failures, report.held) == ([], [])
    accounts = accounts_of(service)
    assert {key: (one["active"], one["roles"]) for key, one in accounts.items()} == {
        "1": (True, {"Editor", "Reader"}),
        "2": (True, {"Reader"}),
        "4": (True, {"Owner"}),
    }
    assert {key: one["partners"] for key, one in accounts.items()} == {"1": {"2"}, "2": {"1", "4"}, "4": {"2"}}
    assert groups_of(service) == {"g1": {"1", "2"}}
    noted = {note.anchor: note.reason for note in report.notes}
    assert noted["9"] == "The user 9 is assigned, but the source has no such user."
    assert "refers to 3, who has no account" in noted["1"]
    assert decide_now(load_job(assigned.job)).checked.blocks == []

    put_table(assigned, "user,group,role\n,Sales,Reader\n,g2,Reader\n")
    assigned.cycle()
    accounts = accounts_of(service)
    assert {key: (one["active"], one["roles"]) for key, one in accounts.items()} == {
        "1": (True, {"Reader"}),
        "2": (True, {"Reader"}),
        "3": (True, {"Reader"}),
        "4": (False, {"Owner"}),
    }
    assert accounts["1"]["partners"] == {"2", "3"}
    assert groups_of(service) == {"g1": {"1", "2"}, "g2": {"3"}}


@pytest.mark.parametrize("text", ["user,group,role\n", "user,group,role\n8,,\n9,,\n"])
def test_an_empty_table_stops_the_cycle(assigned: Workplace, service: ScimService, text: str) -> None:
    """As an empty source does: nobody is unassigned because an export failed."""
    put_table(assigned, text)
    with pytest.raises(SettingsError, match=r"assignments\.csv assigns nobody"):
        decide_now(load_job(assigned.job))


def test_the_plan_names_the_groups_that_are_assigned(assigned: Workplace) -> None:
    """A group that only holds assigned people is not provisioned for that."""
    plan = decide_now(load_job(assigned.job)).checked.plan
    assert plan.counts()[Action.CREATE] == 4
    assert [anchor for block in plan.blocks for anchor in block.table["anchor"] if block.action is Action.CREATE] == [
        "1",
        "2",
        "4",
        "g1",
    ]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"path": "assigned.csv"}, "assignment.table.path: The file assigned.csv does not exist."),
        ({"user": "usr"}, "assignment.table.user: assignments.csv has no column 'usr'. Did you mean user?"),
    ],
)
def test_check_says_what_is_wrong_with_the_table(
    assigned: Workplace, provisor: Callable[..., Said], table: dict[str, str], said: str
) -> None:
    """A missing file and a missing column are problems of the job file, with their line."""
    assignment = SECTIONS["assignment"]
    assigned.save(assignment={**assignment, "table": {**assignment["table"], **table}})
    found = provisor("check", assigned.job)
    assert found.status == 2
    assert f"job.yaml:1: {said}" in found.err


def test_a_plan_shows_references_by_key(assigned: Workplace, provisor: Callable[..., Said]) -> None:
    """People read whom an account will refer to before anybody has an id."""
    said = provisor("plan", assigned.job, "--all")
    assert said.status == 0
    assert 'entitlements.value  nothing → ["1","4"]' in said.out
    assert "entitlements.value refers to 3, who has no account in the target" in said.out


def test_an_entry_is_explained_with_its_roles(assigned: Workplace, provisor: Callable[..., Said]) -> None:
    """``explain`` knows the table: who is assigned, and the roles that expressions see."""
    words = ("explain", "AppRoleAssignments([appRoleAssignments])", "--job", assigned.job, "--json", "--entry")
    ann, eve = provisor(*words, "1").document, provisor(*words, "3").document
    assert (ann["value"], ann["entry"]["in_scope"]) == (["Editor", "Reader"], True)
    assert (eve["value"], eve["entry"]["reason"]) == (None, "not assigned")


def entries(service: ScimService, name: str) -> list[dict[str, Any]]:
    """All resources of one type as the service gives them."""
    answer = httpx.get(f"{service.url}/{name}", params={"count": 100}, headers={"Authorization": "Bearer a-token"})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["Resources"]
    return found


def accounts_of(service: ScimService) -> dict[str, dict[str, object]]:
    """Every account by its person: whether it is active, its roles, and whom it refers to."""
    users = entries(service, "Users")
    anchors = {user["id"]: user["externalId"] for user in users}
    return {
        user["externalId"]: {
            "active": user["active"],
            "roles": {role["value"] for role in user.get("roles", ())},
            "partners": {anchors[one["value"]] for one in user.get("entitlements", ())},
        }
        for user in users
    }


def groups_of(service: ScimService) -> dict[str, set[str]]:
    """Members by group, all by their keys in the source."""
    anchors = {user["id"]: user["externalId"] for user in entries(service, "Users")}
    return {
        group["externalId"]: {anchors[member["value"]] for member in group.get("members", ())}
        for group in entries(service, "Groups")
    }
