"""What ``provisor up`` does when nobody looks: blackouts, runs that die or never begin, connections in blocks."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import orjson

from tests.flows.browser.up import Up, provisor_up, wait_for
from tests.flows.workplace import Workplace
from tests.servers.mailbox import open_mailbox
from tests.servers.scim_service import ScimService

TOKEN = "planted-block-token-77ab"
NEVER = [{"from": "00:00", "to": "12:00"}, {"from": "12:00", "to": "00:00"}]
"""Blackouts in which the whole day lies."""
SKIPPED = re.compile(
    r"No cycle of hr-to-scim starts by itself from \d\d:00 to \d\d:00 \(UTC\)\.|It was due while another"
)


def test_what_happens_without_anybody(small: Workplace, service: ScimService) -> None:
    """No run of a schedule does anything in a blackout. A run whose process dies is marked as crashed, its people hear
    of it, and the next one ends right; they hear of a run that nobody begins, too. A job whose connections are in
    blocks runs, also after the next start, and what is secret in them is nowhere else.
    """
    with open_mailbox() as mailbox:
        small.save(schedule={"cron": "* * * * *", "blackout": NEVER}, notify=[mailbox.address], load={"concurrency": 4})
        with provisor_up(small) as up:
            service.set_fault("latency", seconds=2, method="POST")
            run = up.start("hr-to-scim")
            wait_for(lambda: len(service.users), bool, up.tail)
            os.kill(_process_of(up, run), signal.SIGKILL)
            service.clear_fault()
            assert up.ended(run)["state_type"] == "CRASHED", up.tail()
            wait_for(lambda: mailbox.subjects, bool, up.tail)
            assert mailbox.subjects == ["hr-to-scim: a run crashed"]
            assert f"/runs/flow-run/{run}" in mailbox.body()
            again = up.ended(up.start("hr-to-scim"))
            assert again["state_name"] == "Completed", up.tail()
            assert len({user["userName"] for user in service.users.values()}) == len(service.users) > 200

            _set_patience(up, "Provisor: runs that are overdue", seconds=10)
            _pause_workers(up, paused=True)
            late = up.start("hr-to-scim")
            wait_for(lambda: mailbox.subjects[1:], bool, up.tail)
            assert set(mailbox.subjects[1:]) == {"hr-to-scim: overdue"}
            _pause_workers(up, paused=False)
            assert up.ended(late)["state_name"] == "Completed", up.tail()

            skipped = wait_for(lambda: _begun_by_schedule(up), bool, up.tail)
            assert {(one["state_name"], one["state_type"]) for one in skipped} == {("Skipped", "COMPLETED")}
            assert all(SKIPPED.match(one["state"]["message"]) for one in skipped), skipped

            service.renew_token(TOKEN)
            _save_block(up, "csv-source", "hr", users={"path": "hr-to-scim/people.csv", "key": "employeeId"})
            _save_block(up, "scim-target", "our-app", url=service.url, auth={"bearer": TOKEN})
            kept = {**small.document, "name": "by-blocks", "source": "${prefect:hr}", "target": "${prefect:our-app}"}
            for section in ("groups", "schedule", "notify"):
                del kept[section]
            (small.folder / "by-blocks.yaml").write_bytes(orjson.dumps(kept))
            deployed = small.call("deploy", str(small.folder))
            assert "by-blocks: deployed" in deployed.out, deployed.err
            assert up.ended(up.start("by-blocks"))["state_type"] == "COMPLETED", up.tail()
        with provisor_up(small) as up:  # its jobs can be read only when the server answers
            assert up.ended(up.start("by-blocks"))["state_type"] == "COMPLETED", up.tail()
    for path in small.home.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


def _process_of(up: Up, run: str) -> int:
    """The process in which a flow run is."""
    mark = f"PREFECT__FLOW_RUN_ID={run}".encode()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                return int(entry.name)
        except OSError:
            continue
    raise AssertionError(f"no process of run {run}\n{up.tail()}")


def _begun_by_schedule(up: Up) -> list[dict[str, Any]]:
    """Runs that a schedule has begun, and that have ended."""
    ended = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}}
    with up.api() as api:
        return [one for one in api.post("/flow_runs/filter", json=ended).json() if one["auto_scheduled"]]


def _set_patience(up: Up, automation: str, *, seconds: float) -> None:
    """Has an automation wait for less, as a person can on its page."""
    with up.api() as api:
        found = {one["name"]: one for one in api.post("/automations/filter", json={}).json()}[automation]
        found["trigger"]["within"] = seconds
        kept = ("name", "description", "enabled", "trigger", "actions", "actions_on_trigger", "actions_on_resolve")
        api.put(f"/automations/{found['id']}", json={name: found[name] for name in kept}).raise_for_status()


def _pause_workers(up: Up, *, paused: bool) -> None:
    """No worker of the pool begins a run, or they do again."""
    with up.api() as api:
        api.patch("/work_pools/provisor", json={"is_paused": paused}).raise_for_status()


def _save_block(up: Up, kind: str, name: str, **data: Any) -> None:
    """Enters a block as its form does."""
    with up.api() as api:
        block_type = api.get(f"/block_types/slug/{kind}").raise_for_status().json()["id"]
        of_type = {"block_schemas": {"block_type_id": {"any_": [block_type]}}}
        schema = api.post("/block_schemas/filter", json=of_type).raise_for_status().json()[0]["id"]
        document = {"name": name, "data": data, "block_type_id": block_type, "block_schema_id": schema}
        api.post("/block_documents/", json=document).raise_for_status()
