"""HR to Microsoft Entra ID, and from there to an app: whole cycles of the shipped jobs over a Graph of our own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.flows.workplace import ROOT, Row, Workplace
from tests.servers.graph_service import CLIENT, SECRET, TENANT, GraphService, serving
from tests.servers.scim_service import ScimService

JOBS = ROOT / "flows" / "jobs"


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphService]:
    for name, value in {"TENANT": TENANT, "CLIENT_ID": CLIENT, "SECRET": SECRET, "APP_ID": "the-app"}.items():
        monkeypatch.setenv(f"ENTRA_{name}", value)
    with serving() as service:
        yield service


def use_job(workplace: Workplace, name: str, graph: GraphService) -> Workplace:
    """The workplace runs a shipped job, with its own export and services."""
    document = YAML(typ="safe").load(JOBS / f"{name}.yaml")
    base = graph.url.removesuffix("/v1.0")
    for side in ("source", "target"):
        if document[side]["connector"] == "entra":
            document[side] |= {"url": base, "login_url": base}
        elif document[side]["connector"] == "scim":
            document[side]["url"] = workplace.document["target"]["url"]
    document.pop("load", None)  # the pace that Graph allows would take a minute
    workplace.document = document
    graph.domains = tuple({row["userPrincipalName"].lower().partition("@")[2] for row in workplace.rows()})
    return workplace.save()


@pytest.mark.usefixtures("plain_runs")
def test_a_life_in_entra_id(small: Workplace, graph: GraphService) -> None:
    """Joiners are created with managers and groups; the next cycle writes nothing; a leaver is off, her sessions end; a
    mover is changed; a rehire is on again with the same account."""
    work = use_job(small, "hr-to-entra", graph)
    first = work.cycle()
    assert first.exit_status == 0, (first.message, [one.message for one in first.failures[:3]])
    staff = [row for row in work.rows() if row["employeeType"] != "contractor" and row["status"] != "terminated"]
    by_id = {user["employeeId"]: user for user in graph.users.values()}
    assert set(by_id) == {row["employeeId"] for row in staff}
    for row in staff:
        user = by_id[row["employeeId"]]
        assert user["accountEnabled"] is True
        assert user["userPrincipalName"] == row["userPrincipalName"].lower()
        assert user.get("jobTitle") == (row["jobTitle"] or None)
        manager = by_id.get(row["manager"])
        assert graph.managers.get(user["id"]) == (manager["id"] if manager else None)
    assert graph.members
    graph.effects.clear()
    assert work.cycle("reconcile").exit_status == 0
    assert graph.effects == []
    leaver, mover = staff[0]["employeeId"], staff[1]["employeeId"]

    def leaves(row: Row) -> Row:
        return row | {"status": "terminated"}

    work.change(leaver, leaves)
    work.change(mover, lambda row: row | {"jobTitle": "Chief of Everything"})
    assert work.cycle().exit_status == 0
    assert by_id[leaver]["accountEnabled"] is False
    assert graph.sessions_ended == [by_id[leaver]["id"]]
    assert by_id[mover]["jobTitle"] == "Chief of Everything"
    work.change(leaver, lambda row: row | {"status": "active"})
    assert work.cycle().exit_status == 0
    assert by_id[leaver]["accountEnabled"] is True
    assert len(graph.users) == len(staff)


@pytest.mark.usefixtures("plain_runs")
def test_a_person_who_is_assigned_has_an_account_in_the_app(
    workplace: Workplace, service: ScimService, graph: GraphService, tmp_path: Path
) -> None:
    """Roles come along; a quiet cycle asks Graph four times; an unassigned person's account is off."""
    ann, bob, cay = (
        graph.put_user(userPrincipalName=f"{name}@example.org", displayName=name) for name in ("ann", "bob", "cay")
    )
    graph.set_manager(bob, ann)
    group = graph.put_group("Sales", bob)
    graph.app_roles.append({"id": "r1", "value": "Admin", "displayName": "Administrators"})
    graph.assign(ann, "Admin")
    graph.assign(group, None, kind="Group")
    work = use_job(workplace, "entra-to-scim", graph)
    first = work.cycle()
    assert first.exit_status == 0, (first.message, [one.message for one in first.failures])
    users = {user["userName"]: user for user in map(service.users.__getitem__, service.users)}
    assert set(users) == {"ann@example.org", "bob@example.org"}
    assert users["ann@example.org"]["roles"][0]["value"] == "Admin"
    graph.requests.clear()
    assert work.cycle().exit_status == 0
    assert [line for line in graph.requests if "token" not in line] == [
        "GET /users/delta",
        "GET /groups/delta",
        "GET /servicePrincipals(appId='the-app')",
        "GET /servicePrincipals/sp/appRoleAssignedTo",
    ]
    graph.assigned = [one for one in graph.assigned if one["principalId"] != ann]
    assert work.cycle().exit_status == 0
    active = {user["userName"]: user["active"] for user in map(service.users.__getitem__, service.users)}
    assert active == {"ann@example.org": False, "bob@example.org": True}
    assert cay not in {user["externalId"] for user in users.values()}
