"""``provisor up``, as a real process with a real server and worker."""

import subprocess

import httpx

from tests.flows.browser.up import processes_of, provisor_up, wait_for
from tests.flows.workplace import Workplace
from tests.servers.scim_service import ScimService


def test_jobs_are_served_updated_and_ended_without_a_trace(small: Workplace, service: ScimService) -> None:
    """One command serves the jobs of a folder to whoever has signed in. Deploying again changes what is there and
    leaves a schedule off that somebody switched off; a job whose file is gone is paused. A run that is under way when
    it ends is told so, and no process is left.
    """
    small.save(schedule={"every": "20m"})
    with provisor_up(small) as up:
        assert httpx.get(f"{up.page}/api/deployments/count").status_code in (401, 405)
        assert httpx.post(f"{up.page}/api/deployments/count", json={}).status_code == 401
        assert up.sign_in not in up.log.read_text()
        keys = small.home / "prefect" / "keys.json"
        assert keys.stat().st_mode & 0o777 == 0o600

        before = up.deployments()
        names = {
            "hr-to-scim",
            *(f"hr-to-scim-{what}" for what in ("plan", "reconcile", "on-demand", "restart", "decide")),
        }
        assert set(before) == names
        schedule = before["hr-to-scim"]["schedules"][0]
        assert (schedule["schedule"]["interval"], schedule["active"]) == (1200, True)
        due = wait_for(lambda: _scheduled(up), bool, up.tail)
        assert all(run["auto_scheduled"] for run in due)
        assert {run["name"] for run in due} == {"hr-to-scim"}

        with up.api() as api:
            path = f"/deployments/{before['hr-to-scim']['id']}/schedules/{schedule['id']}"
            api.patch(path, json={"active": False}).raise_for_status()
        again = small.call("deploy", str(small.folder))
        assert (again.status, "brought up to date" in again.out) == (0, True), again.err
        after = up.deployments()
        assert {name: one["id"] for name, one in after.items()} == {name: one["id"] for name, one in before.items()}
        assert [one["active"] for one in after["hr-to-scim"]["schedules"]] == [False]

        ended = up.ended(up.start("hr-to-scim"))
        assert (ended["name"], ended["state_name"]) == ("hr-to-scim · initial · #1", "Completed"), up.tail()
        assert len(service.users) > 200
        shell = small.call("run", str(small.job))  # its run is in the same history
        assert shell.status == 0, shell.err
        with up.api() as api:
            runs = api.post(
                "/flow_runs/filter", json={"flow_runs": {"name": {"any_": ["hr-to-scim · incremental · #2"]}}}
            )
        assert len(runs.json()) == 1

        (small.folder / "job.yaml").rename(small.folder / "job.kept")
        small.folder.joinpath("other.yaml").write_bytes(small.folder.joinpath("job.kept").read_bytes())
        other = small.folder / "other.yaml"
        other.write_text(other.read_text().replace('"hr-to-scim"', '"other"', 1))
        gone = small.call("deploy", str(small.folder))
        assert "hr-to-scim-restart: paused, because the file of its job is gone" in gone.out, gone.err
        assert {name for name, one in up.deployments().items() if one["paused"]} == names

        second = subprocess.run(
            [*up.process.args], env=small.environment(), cwd=small.folder, capture_output=True, text=True, check=False
        )
        assert (second.returncode, "is up for" in second.stderr) == (4, True), second.stderr
        up.start("other")
        wait_for(lambda: processes_of(small), lambda found: any("flows.serve.engine" in one for one in found), up.tail)
    assert up.process.returncode == 0, up.tail()
    assert processes_of(small) == []
    assert not (small.home / "prefect" / "up.json").exists()


def _scheduled(up: "object") -> list[dict[str, object]]:
    with up.api() as api:  # type: ignore[attr-defined]
        found = api.post("/flow_runs/filter", json={"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
        return list(found.json())


def test_killed_it_leaves_nothing_running(small: Workplace) -> None:
    """Whoever kills the command has killed its server, its worker and their runs."""
    with provisor_up(small) as up:
        assert len(processes_of(small)) >= 3
        up.process.kill()
        wait_for(lambda: processes_of(small), lambda found: not found, up.tail)
