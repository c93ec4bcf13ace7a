"""HR to Dropbox: a life of the shipped job, read back by Dropbox' own SDK."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.flows.workplace import ROOT, Workplace
from tests.servers.dropbox_client import client_of, members_of
from tests.servers.dropbox_service import KEY, REFRESH, SECRET, serving


@pytest.mark.usefixtures("plain_runs")
def test_a_life_in_dropbox(small: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Joiners are invited and in their groups; a quiet cycle writes nothing; leavers are suspended with their files,
    or their invitation is taken back; a returner has the same account; nothing is wiped."""
    with serving() as org:
        for name, value in {"APP_KEY": KEY, "APP_SECRET": SECRET, "REFRESH_TOKEN": REFRESH}.items():
            monkeypatch.setenv(f"DROPBOX_{name}", value)
        small.document = YAML(typ="safe").load(ROOT / "flows" / "jobs" / "hr-to-dropbox.yaml")
        small.document["target"]["url"] = org.url
        work, client = small.save(), client_of(org)

        def held() -> dict[str, Any]:
            return {one.profile.external_id: one.profile for one in members_of(client) if one.profile.external_id}

        first = work.cycle()
        assert first.exit_status == 0, (first.message, [one.message for one in first.failures[:3]])
        staff = [row for row in work.rows() if row["employeeType"] != "contractor" and row["status"] != "terminated"]
        there = held()
        assert set(there) == {row["employeeId"] for row in staff}
        for row in staff:
            one = there[row["employeeId"]]
            assert (one.email, one.status.is_invited()) == (row["userPrincipalName"].lower(), True)
            assert one.name.given_name == row["givenName"][:50]
        groups = {group for one in there.values() for group in one.groups} - {"g:everybody"}
        assert groups == {group for group, _ in org.edges()} != set()
        org.accept()
        org.effects.clear()
        assert work.cycle("reconcile").exit_status == 0
        assert org.effects == []
        leaver, never, mover = (row["employeeId"] for row in staff[:3])
        org.members[there[never].team_member_id].status = "invited"
        for one in (leaver, never):
            work.change(one, lambda row: row | {"status": "terminated"})
        work.change(mover, lambda row: row | {"givenName": "Chief"})
        assert work.cycle().exit_status == 0
        now = held()
        assert (now[leaver].status.is_suspended(), now[never].status.is_removed()) == (True, True)
        assert (now[mover].name.given_name, org.wiped) == ("Chief", [])
        for one in (leaver, never):
            work.change(one, lambda row: row | {"status": "active"})
        assert work.cycle().exit_status == 0
        now = held()
        assert (now[leaver].status.is_active(), now[never].status.is_active()) == (True, True)
        assert {key: one.team_member_id for key, one in now.items()} == {
            key: one.team_member_id for key, one in there.items()
        }
