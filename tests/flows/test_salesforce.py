"""HR to Salesforce: a life of the shipped job, read back by simple-salesforce."""

import pytest
from ruamel.yaml import YAML

from tests.flows.workplace import ROOT, Row, Workplace
from tests.servers.salesforce_client import client_of
from tests.servers.salesforce_service import CLIENT, SECRET, serving

pytestmark = pytest.mark.usefixtures("plain_runs")


def test_a_life_in_salesforce(small: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joiners with profile, manager and groups; a quiet cycle writes nothing; a leaver is deactivated, a mover changed,
    a returner enabled with the same account; nobody is deleted."""
    with serving() as org:
        for name, value in {"URL": org.url, "CLIENT_ID": CLIENT, "SECRET": SECRET}.items():
            monkeypatch.setenv(f"SALESFORCE_{name}", value)
        small.document = YAML(typ="safe").load(ROOT / "flows" / "jobs" / "hr-to-salesforce.yaml")
        work, client = small.save(), client_of(org)

        def accounts() -> dict[str, Row]:
            soql = "SELECT Id, EmployeeNumber, Username, LastName, Title, ManagerId, IsActive, Profile.Name FROM User"
            found = client.query_all(soql)["records"]
            return {one["EmployeeNumber"]: one for one in found if one["EmployeeNumber"] is not None}

        first = work.cycle()
        assert first.exit_status == 0, (first.message, [one.message for one in first.failures[:3]])
        staff = [row for row in work.rows() if row["employeeType"] != "contractor" and row["status"] != "terminated"]
        held = accounts()
        assert set(held) == {row["employeeId"] for row in staff}
        for row in staff:
            one = held[row["employeeId"]]
            assert one["Username"] == row["userPrincipalName"].lower()
            assert (one["LastName"], one["Title"]) == (
                (row["surname"] or row["displayName"] or ".")[:80],
                row["jobTitle"][:80] or None,
            )
            boss = held.get(row["manager"])
            assert one["ManagerId"] == (boss["Id"] if boss else None)
            assert one["Profile"]["Name"] == "Standard User"
        members = client.query_all("SELECT GroupId, UserOrGroupId FROM GroupMember")["records"]
        assert {(one["GroupId"], one["UserOrGroupId"]) for one in members} == org.edges() != set()
        org.effects.clear()
        assert work.cycle("reconcile").exit_status == 0
        assert org.effects == []
        leaver, mover = staff[0]["employeeId"], staff[1]["employeeId"]
        work.change(leaver, lambda row: row | {"status": "terminated"})
        work.change(mover, lambda row: row | {"jobTitle": "Chief of Everything"})
        assert work.cycle().exit_status == 0
        now = accounts()
        assert (now[leaver]["IsActive"], now[mover]["Title"]) == (False, "Chief of Everything")
        work.change(leaver, lambda row: row | {"status": "active"})
        assert work.cycle().exit_status == 0
        now = accounts()
        assert (now[leaver]["IsActive"], now[leaver]["Id"]) == (True, held[leaver]["Id"])
        assert set(now) == set(held)
