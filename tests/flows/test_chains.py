"""Jobs that run after others: HR to a directory, the directory to an app, in a shell and with a worker."""

import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun

from connectors.contract import Kind
from flows.cycle import scheduled
from flows.cycle.following import begin_followers, followed_by
from flows.cycle.scheduled import stand_aside
from flows.cycle.systems import open_ledger
from flows.decisions.initiator import started_by
from flows.serve.deploy import POOL, deploy_folder
from flows.serve.jobs_of import jobs_of, next_after
from tasks.job import JobError, load_job
from tasks.ledger import CycleEnd, CycleKind, CycleState, LogAction, LogEntry, LogStatus
from tests.flows.workplace import Command

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
JOB = """
name: {name}
source: {source}
target: {{connector: sql, url: "sqlite:///{target}", users: {{table: account, key: id, enabled: {{column: active}}}}}}
users:
  matching: [{{source: "[name]", target: name}}]
  attributes: {{name: "[name]", active: "Not([IsSoftDeleted])"}}
limits: {{removals: {{count: 50}}}}
"""
PEOPLE = "{connector: csv, users: {path: people.csv, key: id}}"


class Company:
    """A folder with jobs in a row, ``hr`` first, each keeping the table of the next one."""

    def __init__(self, folder: Path, *names: str, first: str = "hr") -> None:
        self.folder, self.first = folder, first
        source, before = PEOPLE, ""
        for name in (first, *names):
            table = folder / f"{name}.db"
            with sqlite3.connect(table) as connection:
                connection.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, name TEXT UNIQUE, active BOOLEAN)")
            connection.close()
            text = JOB.format(name=name, source=source, target=table)
            schedule = f"schedule: {{after: {before}}}\n" if before else "schedule: {every: 1d}\n"
            (folder / f"{name}.yaml").write_text(text + schedule, encoding="utf-8")
            source = f'{{connector: sql, url: "sqlite:///{table}", users: {{table: account, key: id}}}}'
            before = name
        self.employ("Ada", "Bo")

    def employ(self, *names: str) -> None:
        rows = [f"{number},{name}" for number, name in enumerate(names)]
        (self.folder / "people.csv").write_text("\n".join(["id,name", *rows, ""]), encoding="utf-8")

    def accounts(self, name: str) -> list[str]:
        with sqlite3.connect(self.folder / f"{name}.db") as connection:
            found = [row[0] for row in connection.execute("SELECT name FROM account ORDER BY name")]
        connection.close()
        return found

    @property
    def job(self) -> Path:
        return self.folder / f"{self.first}.yaml"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("plain_runs")
def test_in_a_shell_a_chain_runs_as_far_as_something_changes(here: Path, provisor: Command) -> None:
    """The first run says what comes next, --chain runs all of it; what one has not changed, no other looks at."""
    company = Company(here, "apps", "mail")
    said = provisor("run", "hr")
    assert (said.status, company.accounts("apps")) == (0, [])
    assert said.out.splitlines()[-1] == "apps runs after hr. Run it now: provisor run apps, or next time --chain."
    chained = provisor("run", "hr", "--chain", "--json").document  # nothing changes, and apps still has to look
    assert [(one["job"], one["counts"]["created"]) for one in chained["chain"]] == [("apps", 2), ("mail", 2)]
    assert (company.accounts("apps"), company.accounts("mail")) == (["Ada", "Bo"], ["Ada", "Bo"])
    again = provisor("run", "hr", "--chain", "--json").document
    assert (again["exit_status"], again.get("chain")) == (0, None)
    company.employ("Ada", "Bo", "Cy")
    assert "Once this is done: apps." in provisor("plan", "hr").out
    provisor("run", "hr")
    assert "runs after hr · cycle 4 waits to be looked at" in provisor("status", "apps").out
    provisor("run", "apps")
    assert provisor("status", "apps", "--json").document[0]["after"] == {"hr": {"looked_at": 4, "news": None}}


@pytest.mark.usefixtures("plain_runs")
def test_a_job_of_a_chain_that_cannot_run_ends_the_chain_behind_it(here: Path, provisor: Command) -> None:
    """Its sentence is told, and the exit status is the worst; the job before it is as it was."""
    company = Company(here, "apps", "mail")
    (here / "apps.db").unlink()
    chained = provisor("run", "hr", "--chain", "--json").document
    assert [one["job"] for one in chained["chain"]] == ["apps"]
    assert (chained["state"], chained["exit_status"]) == ("done", 4)
    assert company.accounts("hr") == ["Ada", "Bo"]


def test_check_and_deploying_refuse_wrong_chains(here: Path, provisor: Command) -> None:
    """Before anything is asked or deployed, with the line; --chain too."""
    company = Company(here, "apps")
    assert "✓ runs after hr, when that has changed something" in provisor("check", "apps").out
    text = company.job.read_text(encoding="utf-8").replace("every: 1d", "after: apps")
    company.job.write_text(text, encoding="utf-8")
    for words in (["check", "apps", "--offline"], ["run", "hr", "--chain"]):
        said = provisor(*words)
        assert (said.status, "wait for each other in a circle: " in said.err) == (2, True)
    with pytest.raises(JobError, match=r"hr\.yaml:\d+: schedule\.after: .*circle: hr after apps after hr"):
        jobs_of(here)
    company.job.write_text(text.replace("after: apps", "after: app"), encoding="utf-8")
    assert "No job of this folder is called app. Did you mean apps?" in provisor("check", "hr", "--offline").err


def test_files_that_cannot_be_read_are_nobody_s_followers(here: Path) -> None:
    """A run that is over is not spoilt by a folder with the name of a job, a file that is no text, or a wrong job."""
    company = Company(here, "apps")
    (here / "folder.yaml").mkdir()
    (here / "noise.yaml").write_bytes(b"\xff\xfe after: \x00")
    (here / "wrong.yaml").write_text(
        "name: wrong\nsource: {connector: csvv}\nschedule: {after: hr}\n", encoding="utf-8"
    )
    assert next_after(load_job(company.job)) == ["apps"]


def changed(job: str, after: tuple[str, ...] = (), *, changes: bool = True) -> None:
    """A cycle that has ended."""
    with open_ledger() as ledger:
        cycle = ledger.begin_cycle(job, CycleKind.INCREMENTAL, fingerprint="f", now=NOW, after=after)
        line = LogEntry(kind=Kind.USER, action=LogAction.CREATE, status=LogStatus.SUCCESS, anchor="1")
        line = LogEntry(**{name: getattr(line, name) for name in line.__slots__} | {"change_id": f"{cycle.id:08d}-1"})
        ledger.log_entries(cycle, [line] if changes else [], now=NOW)
        ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, {}, NOW))


def begun(job: str) -> list[FlowRun]:
    """Runs that were begun because of this job, now."""
    with open_ledger() as ledger:
        begin_followers(ledger, job)
    with get_client(sync_client=True) as client:
        return [run for run in client.read_flow_runs() if followed_by(run).endswith(f" of {job}")]


def _ask_for_work(client: SyncPrefectClient, deployment: str) -> None:
    """What a worker does; the server notes it a moment later."""
    deadline = time.monotonic() + 60
    while client.read_deployment_by_name(deployment).last_polled is None:
        assert time.monotonic() < deadline
        client.request("POST", f"/work_pools/{POOL}/get_scheduled_flow_runs", json={})
        time.sleep(0.2)


@pytest.mark.usefixtures("prefect_api")
def test_the_end_of_a_job_begins_the_next_one_once(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a worker is there; the same news begin one run, however often its job ends, and a run that comes too late
    has nothing to do. What a run that died has missed, the next end of its job makes up for."""
    hr, apps = f"hr-{uuid4().hex[:6]}", f"apps-{uuid4().hex[:6]}"
    Company(here, apps, first=hr)
    deploy_folder(here)
    changed(hr)
    assert begun(hr) == []  # there is no worker
    with get_client(sync_client=True) as client:
        _ask_for_work(client, f"provision/{apps}")
        assert client.read_deployment_by_name(f"provision/{apps}").tags[-1] == f"after:{hr}"
    changed(hr, changes=False)
    [run] = begun(hr)
    assert (followed_by(run), run.auto_scheduled) == (f"cycle 1 of {hr}", False)
    with open_ledger() as ledger:
        assert started_by(run, apps, ledger, apps) == f"cycle 1 of {hr}, which {apps} runs after"
    assert begun(hr) == [run]
    monkeypatch.setattr(scheduled, "this_run", lambda: run)
    job = load_job(here / f"{apps}.yaml")
    assert stand_aside(job) is None
    changed(apps, (hr,))
    aside = stand_aside(job)
    assert aside is not None
    assert (aside.name, aside.message) == (
        "Skipped",
        f"Cycle 1 of {hr} began it, and another cycle has looked at that meanwhile.",
    )
    changed(hr)
    assert len(begun(hr)) == 2
