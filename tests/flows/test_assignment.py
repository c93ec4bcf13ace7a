"""Who is assigned by membership, end to end, in a job that provisions no groups itself."""

from pathlib import Path

import pytest

from connectors.contract import Action
from flows.cli.here import decide_now
from tasks.job import load_job
from tests.servers.scim_service import ScimService

JOB = """
name: by-group
source:
  connector: csv
  users: {{path: people.csv, key: id}}
  groups: {{path: groups.csv, key: id}}
  members: {{path: members.csv, group: group, member: member}}
target: {{connector: scim, url: {url}, auth: {{bearer: "${{env:SCIM_TOKEN}}"}}}}
{how}
  matching: [{{source: "[login]", target: userName}}]
  attributes: {{userName: "[login]", active: "Not([IsSoftDeleted])"}}
"""
WAYS = {
    "assignment by name": "assignment: {mode: assigned, groups: [Sales], nested: true}\nusers:",
    "assignment by anchor": "assignment: {mode: assigned, groups: [g1], nested: true}\nusers:",
    "filter": "users:\n  scope: [[{attribute: groups, operator: MEMBER_OF, value: Sales}]]",
}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "people.csv").write_text("id,login\n1,ann@x.org\n2,bob@x.org\n3,eve@x.org\n", encoding="utf-8")
    (tmp_path / "groups.csv").write_text("id,name\ng1,Sales\ng2,Sales North\n", encoding="utf-8")
    (tmp_path / "members.csv").write_text("group,member\ng1,1\ng1,g2\ng2,2\n", encoding="utf-8")
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    with ScimService(token="t") as service:
        monkeypatch.setenv("SCIM_TOKEN", "t")
        yield service


@pytest.mark.parametrize("how", WAYS)
def test_members_are_provisioned_and_nobody_else(service: ScimService, tmp_path: Path, how: str):
    """Groups are read to find their members also where the job maps none; nested members count."""
    job = tmp_path / "job.yaml"
    job.write_text(JOB.format(url=service.url, how=WAYS[how]), encoding="utf-8")
    plan = decide_now(load_job(job)).checked.plan
    assert plan.counts() == {Action.CREATE: 2}
    assert [anchor for block in plan.blocks for anchor in block.table["anchor"]] == ["1", "2"]
