"""More than one machine: ledger and Prefect server on PostgreSQL, and two workers that have nothing else in common."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import psycopg
from sqlalchemy import update

from tasks.ledger import Ledger
from tasks.ledger.tables import LEASE
from tests.data.expected import desired_state
from tests.flows.browser.up import wait_for
from tests.flows.reading_back import differences, read_back
from tests.flows.workplace import Workplace
from tests.servers.scim_service import ScimService
from tests.servers.starting import postgresql, prefect_server

SILENCE_S = 40
"""How long nothing is heard of a run that died; a living one is heard of every 30 s."""

SERVER = {
    **{f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "true" for name in ("FOREMAN", "SCHEDULER", "TRIGGERS")},
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A worker, with a state folder that only it and its runs see."""

    name: str
    home: Path
    worker: "subprocess.Popen[bytes]"

    def runs(self, job: str) -> bool:
        """Whether the job has left its report here."""
        return (self.home / "reports" / job).is_dir()

    def loads(self, run: str) -> bool:
        """Whether a flow run is one of this machine's processes."""
        return any(f"PREFECT__FLOW_RUN_ID={run}".encode() in found for found in self._environments())

    def _environments(self) -> Iterator[list[bytes]]:
        mark = f"PROVISOR_HOME={self.home}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    found = (entry / "environ").read_bytes().split(b"\0")
                except OSError:
                    continue
                if mark in found:
                    yield found

    def die(self) -> None:
        """Ends as a machine whose power fails."""
        with suppress(ProcessLookupError):
            os.killpg(self.worker.pid, signal.SIGKILL)
        self.worker.wait()


@contextmanager
def machine(name: str, workplace: Workplace, **environment: str) -> Iterator[Machine]:
    """A worker as the README says, which runs one cycle at a time."""
    home = workplace.folder / name
    home.mkdir()
    words = ["worker", "start", "--pool", "provisor", "--type", "process", "--name", name, "--limit", "1"]
    with (workplace.folder / f"{name}.log").open("ab") as log:
        worker = subprocess.Popen(
            [str(Path(sys.executable).with_name("prefect")), *words],
            cwd=home,
            env=workplace.environment(PROVISOR_HOME=str(home), **environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    made = Machine(name, home, worker)
    try:
        yield made
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGTERM)
            try:
                worker.wait(180)  # it lets its run end between two batches
            finally:
                made.die()


def test_two_workers_share_the_jobs_and_one_takes_over_from_the_other(
    small: Workplace, service: ScimService, tmp_path: Path
) -> None:
    """Cycles of two jobs run side by side on two machines. One machine dies in the middle of a load: its run is found
    out, and the job's next scheduled run carries on elsewhere, without its snapshots, and leaves nobody with two
    accounts and nobody without.
    """
    wanted = desired_state(small.export)
    with ExitStack() as stack:
        other = stack.enter_context(ScimService(max_page_size=500))
        database = stack.enter_context(postgresql(logs=tmp_path))
        prefect = database.create_database("prefect")
        ledger_url = database.create_database("ledger")
        settings = {"PREFECT_API_DATABASE_CONNECTION_URL": prefect.replace("psycopg", "asyncpg")}
        server = stack.enter_context(prefect_server(tmp_path / "server", logs=tmp_path, settings=SERVER | settings))
        everywhere = {
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": server.url,
            "PROVISOR_DATABASE_URL": ledger_url,
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_WORKER_QUERY_SECONDS": "2",
        }
        two = {"batch_size": 40, "concurrency": 4}
        small.save(load=two, schedule={"every": "20m"})
        second = small.document | {"name": "second", "target": small.document["target"] | {"url": other.url}}
        (small.folder / "second.yaml").write_bytes(orjson.dumps(second))
        machines = [stack.enter_context(machine(name, small, **everywhere)) for name in ("north", "south")]
        said = small.call("deploy", str(small.folder), **everywhere)
        assert said.status == 0, said.err
        api = stack.enter_context(httpx.Client(base_url=server.url, timeout=60))
        be_patient_for(api, SILENCE_S)

        service.set_fault("hang", method="POST", path="^/Users", after=70, commit="after", seconds=600)
        other.set_fault("latency", method="POST", seconds=0.02)
        runs = {job: begin_next(api, job) for job in ("hr-to-scim", "second")}

        def explain() -> str:
            return "\n".join(
                f"{log.name}: {log.read_text(errors='replace')[-1500:]}"
                for log in (*tmp_path.glob("*.log"), *small.folder.glob("*.log"))
            )

        hung = service.faults["hang"]
        wait_for(lambda: hung.struck, lambda struck: struck == 4, explain)
        [dead] = [one for one in machines if one.loads(runs["hr-to-scim"])]
        [left] = [one for one in machines if one is not dead]
        dead.die()
        there = len(service.users)
        service.clear_fault()
        service.drop_connections()
        took_over = begin_next(api, "hr-to-scim")

        assert ended(api, runs["second"], explain)["state_name"] == "Completed", explain()
        assert (left.runs("second"), dead.runs("second")) == (True, False)
        assert differences(read_back(other.url), wanted) == []

        with Ledger.open(ledger_url, tmp_path) as ledger:
            assert ledger.open_attempts("hr-to-scim"), "it died too late to be in the middle of anything"
            # What another machine sees: nothing is known of the holder, and its lease is over long before it is missed.
            silent = {"holder": "north process 7 (0badcafe)", "expires_at": datetime.now(UTC)}
            with ledger._database.writing() as connection:
                connection.execute(update(LEASE).where(LEASE.c.job == "hr-to-scim").values(silent))
            service.reset_counts()
            assert ended(api, took_over, explain)["state_name"] == "Completed", explain()
            gone = api.get(f"/flow_runs/{runs['hr-to-scim']}").json()
            assert (gone["state_type"], "Nothing was heard of" in gone["state"]["message"]) == ("CRASHED", True)
            assert left.runs("hr-to-scim")
            assert differences(read_back(service.url), wanted) == []
            assert service.requests["POST /Users"] == len(wanted.users) - there
            assert ledger.open_attempts("hr-to-scim") == []
            assert [one.state for one in reversed(ledger.cycles("hr-to-scim"))] == ["crashed", "done"]
        with psycopg.connect(prefect.replace("+psycopg", "")) as connection:
            assert connection.execute("SELECT count(*) FROM flow_run WHERE state_type = 'COMPLETED'").fetchone() == (2,)


def begin_next(api: httpx.Client, job: str) -> str:
    """Has the job's next scheduled run begin now; gives its id."""

    def scheduled() -> list[dict[str, Any]]:
        wanted = {"deployments": {"name": {"any_": [job]}}, "flow_runs": {"state": {"name": {"any_": ["Scheduled"]}}}}
        answer = api.post("/flow_runs/filter", json=wanted | {"sort": "EXPECTED_START_TIME_ASC"})
        return list(answer.raise_for_status().json())

    run = wait_for(scheduled, bool)[0]
    assert run["auto_scheduled"]
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
    api.post(f"/flow_runs/{run['id']}/set_state", json={"state": state, "force": True}).raise_for_status()
    return str(run["id"])


def be_patient_for(api: httpx.Client, seconds: int) -> None:
    """Runs that died are missed after so long, instead of after twenty minutes."""
    [automation] = api.post(
        "/automations/filter", json={"automations": {"name": {"any_": ["Provisor: runs that died"]}}}
    ).json()
    automation["trigger"]["within"] = seconds
    kept = {name: automation[name] for name in ("name", "description", "enabled", "trigger", "actions")}
    api.put(f"/automations/{automation['id']}", json=kept).raise_for_status()


def ended(api: httpx.Client, run: str, explain: Callable[[], str]) -> dict[str, Any]:
    """A run when it has ended."""
    final = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}
    found = wait_for(lambda: api.get(f"/flow_runs/{run}").json(), lambda found: found["state_type"] in final, explain)
    return dict(found)
