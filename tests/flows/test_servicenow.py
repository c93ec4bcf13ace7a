"""HR to ServiceNow: a life of the shipped job, read back by pysnc."""

import pytest
from ruamel.yaml import YAML

from tests.flows.workplace import ROOT, Row, Workplace
from tests.servers.servicenow_client import client_of, rows
from tests.servers.servicenow_service import CLIENT, SECRET, serving

pytestmark = pytest.mark.usefixtures("plain_runs")


def test_a_life_in_servicenow(small: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joiners with department, manager and groups; a quiet cycle writes nothing; a leaver is disabled and locked out, a
    mover changed, a returner enabled with the same account and unlocked; nobody is deleted."""
    with serving() as instance:
        for name, value in {"URL": instance.url, "CLIENT_ID": CLIENT, "SECRET": SECRET}.items():
            monkeypatch.setenv(f"SERVICENOW_{name}", value)
        small.document = YAML(typ="safe").load(ROOT / "flows" / "jobs" / "hr-to-servicenow.yaml")
        work, client = small.save(), client_of(instance)
        departments = {
            name: instance.put("cmn_department", name=name)
            for name in sorted({row["department"] for row in work.rows()} - {""})
        }
        fields = ("employee_number", "user_name", "last_name", "title", "department", "manager", "active", "locked_out")

        def accounts() -> dict[str, Row]:
            found = rows(client, "sys_user", *fields)
            return {one["employee_number"]: one for one in found if one["employee_number"]}

        first = work.cycle()
        assert first.exit_status == 0, (first.message, [one.message for one in first.failures[:3]])
        staff = [row for row in work.rows() if row["employeeType"] != "contractor" and row["status"] != "terminated"]
        held = accounts()
        assert set(held) == {row["employeeId"] for row in staff}
        for row in staff:
            one, boss = held[row["employeeId"]], held.get(row["manager"])
            assert one["user_name"] == row["userPrincipalName"][:40]
            assert (one["last_name"], one["title"]) == (
                (row["surname"] or row["displayName"])[:50],
                row["jobTitle"][:60],
            )
            assert one["department"] == departments.get(row["department"], "")
            assert (one["manager"], one["active"]) == (boss["sys_id"] if boss else "", "true")
        members = rows(client, "sys_user_grmember", "group", "user")
        edges = {(one["group"], one["user"]) for one in members}
        assert edges == {edge for edge in instance.edges() if edge[1] != instance.account} != set()
        instance.effects.clear()
        assert work.cycle("reconcile").exit_status == 0
        assert instance.effects == []
        leaver, mover = staff[0]["employeeId"], staff[1]["employeeId"]
        work.change(leaver, lambda row: row | {"status": "terminated"})
        work.change(mover, lambda row: row | {"jobTitle": "Chief of Everything"})
        assert work.cycle().exit_status == 0
        now = accounts()
        assert (now[leaver]["active"], now[leaver]["locked_out"]) == ("false", "true")
        assert now[mover]["title"] == "Chief of Everything"
        work.change(leaver, lambda row: row | {"status": "active"})
        assert work.cycle().exit_status == 0
        now = accounts()
        assert (now[leaver]["active"], now[leaver]["locked_out"]) == ("true", "false")
        assert {anchor: one["sys_id"] for anchor, one in now.items()} == {
            anchor: one["sys_id"] for anchor, one in held.items()
        }
