"""The ``provisor`` command: what it prints, how it ends, and what can be seen of a run in Prefect."""

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterTags,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun

from connectors.registry import names
from tests.data.expected import State, desired_state
from tests.flows.workplace import Command, Workplace, writes
from tests.servers.scim_service import ScimService


@pytest.fixture
def wanted(small: Workplace) -> State:
    return desired_state(small.export)


# --- without an orchestrator ---------------------------------------------------------------------------------------

_LIGHT = """
import sys
from flows.cli import main

job = sys.argv[1]
commands = [["schema"], ["connectors"], ["check", job], ["plan", job, "--json"], ["status"], ["log", job]]
for words in commands:
    sys.argv = ["provisor", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (words, end.code)
    loaded = {"prefect", "great_expectations"} & set(sys.modules)
    assert not loaded, (words, loaded)
print("all of them", file=sys.stderr)
"""


def test_looking_needs_no_orchestrator(small: Workplace) -> None:
    """check, plan, status, log, schema and connectors import neither Prefect nor Great Expectations: they are quick."""
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT, str(small.job)],
        env=small.environment(),
        cwd=small.folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith("all of them\n")


def test_looking_writes_nothing_to_the_target(small: Workplace, service: ScimService, provisor: Command) -> None:
    """check and plan read; the ledger does not learn of any cycle."""
    assert provisor("check", small.job).status == 0
    assert provisor("plan", small.job).status == 0
    assert not writes(service)
    assert provisor("status", "--json").document == []


def test_files_are_checked_alone(small: Workplace, provisor: Command, service: ScimService) -> None:
    """Several at once, and nobody is asked: a wrong one says so with its line."""
    service.reset_counts()
    done = provisor("check", small.job, small.job, "--offline")
    assert (done.status, done.out.count("the job file is right")) == (0, 2)
    assert [one["job"] for one in provisor("check", small.job, small.job, "--offline", "--json").document] == [
        "hr-to-scim",
        "hr-to-scim",
    ]
    assert service.requests == {}
    wrong = small.folder / "wrong.yaml"
    wrong.write_text("name: wrong\nsource: {connector: csv}\n")
    refused = provisor("check", small.job, wrong, "--offline")
    assert (refused.status, "wrong.yaml:" in refused.err) == (2, True)


def test_a_plan_as_a_comment_of_a_merge_request(small: Workplace, provisor: Command) -> None:
    """Counts, a folded table for each kind of change with names and values, and the exit status of a plan."""
    rows = small.rows()
    rows[0]["jobTitle"] = "a|b <img src=x> ![c](http://evil.example)"
    small.write_rows(rows)
    done = provisor("plan", small.job, "--format", "markdown")
    assert done.status == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "## Plan of hr-to-scim"
    told = next(int(line.split("|")[2].replace(",", "")) for line in lines if line.startswith("| create |"))
    folded = [line for line in lines if line.startswith("<details><summary>create ")]
    assert told == sum(int(line.partition(": ")[2].partition("<")[0]) for line in folded)
    assert done.out.count("<details>") == done.out.count("</details>")
    assert "and " in next(line for line in lines if line.endswith(" more"))
    assert "<img" not in done.out.replace("\\<img", "")
    assert "![c](" not in done.out.replace("\\", "\\\\")
    assert provisor("plan", small.job, "--format", "json").document["job"] == "hr-to-scim"


def test_check_says_what_answered(small: Workplace, provisor: Command) -> None:
    """Both systems introduce themselves, and what leaving does is said; as JSON it is one document."""
    said = provisor("check", small.job)
    assert said.status == 0
    assert said.out.count("✓") == 4
    document = provisor("check", small.job, "--json").document
    assert document["ok"] is True
    assert document["job"] == "hr-to-scim"
    assert set(document) == {"job", "ok", "source", "target", "warnings", "leaving", "after"}
    assert (document["warnings"], document["after"]) == ([], [])
    assert document["leaving"]
    told = " ".join(said.out.split())  # a long line is folded
    assert all(sentence in told for sentence in document["leaving"])


def test_check_warns_of_what_is_probably_not_meant(small: Workplace, provisor: Command) -> None:
    """A warning has its line and does not change the exit status, for people and for machines."""
    clause = {"attribute": "userPrincipalName", "operator": "REGEX MATCH", "value": ".*@example.com"}
    small.save(users={**small.document["users"], "scope": [[clause]]})
    said = provisor("check", small.job)
    assert said.status == 0
    assert f"! {small.job}:1: users.scope[0][0].value: The pattern has neither ^ nor $" in said.out
    (warning,) = provisor("check", small.job, "--json").document["warnings"]
    assert (warning["key"], warning["line"]) == ("users.scope[0][0].value", 1)
    assert warning["message"].startswith("The pattern has neither ^ nor $")


def test_plan_as_json_has_every_change_with_its_reason(small: Workplace, provisor: Command, wanted: State) -> None:
    """What is shown is what would be done: everybody once, with the values that would be sent."""
    document = provisor("plan", small.job, "--json").document
    creates = {change["anchor"]: change for change in document["changes"] if change["action"] == "create"}
    assert set(creates) == wanted.created | set(wanted.groups)
    assert document["counts"] == {"create": len(creates), "add members": len(wanted.edges)}
    assert all(change["reason"] for change in document["changes"])
    for anchor, account in wanted.users.items():
        assert creates[anchor]["after"] == account


def test_plan_for_people_is_short_unless_asked(small: Workplace, provisor: Command, wanted: State) -> None:
    """A thousand changes are told by some and a count; --all shows each."""
    some, full = provisor("plan", small.job).out, provisor("plan", small.job, "--all").out
    assert f"{len(wanted.created) + len(wanted.groups):,} to create" in some
    assert "more of these" in some
    assert "more of these" not in full
    assert len(full.splitlines()) > 10 * len(some.splitlines())
    assert "\x1b" not in full  # no colour where there is no terminal


def test_schema_and_connectors_are_documents(provisor: Command) -> None:
    """The schema is JSON Schema; every connector there is, is listed."""
    assert provisor("schema").document["type"] == "object"
    listed = provisor("connectors", "--json").document
    assert [one["name"] for one in listed] == names()
    assert all(name in provisor("connectors").out for name in names())


def test_wrong_command_is_status_two(provisor: Command, small: Workplace) -> None:
    """A command or an option that does not exist is the person's mistake, not a failed run."""
    assert provisor("plam").status == 2
    assert provisor("log", small.job, "--status", "good").status == 2
    assert provisor("run", small.job, "--cycle", "sometimes").status == 2


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def prefect(prefect_api: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        assert str(client.api_url).rstrip("/") == prefect_api
        yield client


def named(workplace: Workplace, request: pytest.FixtureRequest) -> str:
    """A name of its own for the job, by which its runs are found."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40]
    workplace.save(name=name)
    return name


def runs_of(prefect: SyncPrefectClient, job: str) -> list[FlowRun]:
    """The runs of a job, by its tag, the first one first."""
    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[f"job:{job}"]))
    return sorted(prefect.read_flow_runs(flow_run_filter=wanted), key=lambda run: run.created)


def artifacts_of(prefect: SyncPrefectClient, run: UUID) -> dict[str, Artifact]:
    """The artifacts of a run by their keys."""
    found = prefect.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run])))
    return {artifact.key: artifact for artifact in found}


def test_run_is_a_flow_run_of_the_configured_api(
    small: Workplace, wanted: State, prefect: SyncPrefectClient, prefect_api: str, request: pytest.FixtureRequest
) -> None:
    """One JSON document on standard output and nothing else; in Prefect a run with telling names and artifacts."""
    job = named(small, request)
    said = small.call_cold("run", str(small.job), "--json", PREFECT_API_URL=prefect_api)
    assert said.status == 0, said.err
    document = said.document
    assert said.out.count("\n") == 1
    assert (document["job"], document["state"], document["exit_status"]) == (job, "done", 0)
    assert document["counts"]["created"] == len(wanted.created) + len(wanted.groups)
    assert not (small.home / "prefect").exists()  # no API of its own where one is configured

    [run] = runs_of(prefect, job)
    assert run.name == f"{job} · initial · #1"
    assert run.state is not None
    assert (run.state.type.value, run.state.name) == ("COMPLETED", "Completed")
    assert run.state.message is not None
    assert run.state.message.startswith("Done: ")
    tasks = prefect.read_task_runs(task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[run.id])))
    titles = {task.name for task in tasks}
    assert {"read the source", "see the target", "plan"} <= titles
    assert any(title.startswith("create ") and title.endswith(" users") for title in titles)
    assert any(title.startswith("add members in ") for title in titles)
    assert all(task.state is not None and task.state.is_completed() for task in tasks)
    artifacts = artifacts_of(prefect, run.id)
    assert {key: artifact.type for key, artifact in artifacts.items()} == {
        f"{job}-plan": "markdown",
        f"{job}-changes": "table",
        f"{job}-cycle": "markdown",
        f"{job}-progress": "progress",
    }
    assert float(str(artifacts[f"{job}-progress"].data)) == 100.0
    assert f"| create | {document['counts']['created']} |" in str(artifacts[f"{job}-plan"].data)
    assert f"| created | {document['counts']['created']} |" in str(artifacts[f"{job}-cycle"].data)
    changes = json.loads(str(artifacts[f"{job}-changes"].data))
    assert Counter(change["what"] for change in changes)["create group"] == len(wanted.groups)


def test_one_identity_on_demand_is_a_flow_run(
    small: Workplace, wanted: State, provisor: Command, prefect: SyncPrefectClient, request: pytest.FixtureRequest
) -> None:
    """In Prefect it is a run of its own, with its steps as an artifact."""
    job = named(small, request)
    said = provisor("on-demand", small.job, min(wanted.created), "--json")
    assert said.status == 0, said.out + said.err
    assert said.document["result"] == "success"
    [run] = runs_of(prefect, job)
    assert run.state is not None
    assert run.state.name == "Completed"
    steps = str(artifacts_of(prefect, run.id)["on-demand"].data)
    assert "| action | success |" in steps
    assert "Result: success." in steps


def test_a_refused_entry_is_exit_one_and_heals(
    small: Workplace,
    service: ScimService,
    wanted: State,
    provisor: Command,
    prefect: SyncPrefectClient,
    request: pytest.FixtureRequest,
) -> None:
    """One bad row never stops the run: it is named, everybody else is done, and the next cycle tries it again."""
    job = named(small, request)
    name = str(wanted.users[max(wanted.users)]["userName"])
    service.set_fault("error", status=400, method="POST", path="^/Users", contains=name)
    said = provisor("run", small.job)
    assert said.status == 1
    assert name.split("@")[0] in said.out.replace("\n", "") or max(wanted.users) in said.out
    assert len(service.users) == len(wanted.users) - 1
    service.clear_fault()
    said = provisor("run", small.job, "--json")
    assert said.status == 0
    assert said.document["counts"]["created"] == 1
    assert len(service.users) == len(wanted.users)
    failed, healed = runs_of(prefect, job)
    assert failed.state is not None
    assert healed.state is not None
    assert failed.state.name == "Completed with failures"
    assert healed.state.name == "Completed"
    assert f"{job}-failures" in artifacts_of(prefect, failed.id)


def test_too_many_removals_are_exit_three(
    small: Workplace,
    service: ScimService,
    provisor: Command,
    prefect: SyncPrefectClient,
    request: pytest.FixtureRequest,
) -> None:
    """plan and run say the same: removals wait for approval; the run's state in Prefect says it as well."""
    job = named(small, request)
    assert provisor("run", small.job).status == 0
    rows = small.rows()
    small.write_rows(rows[: len(rows) // 2])
    planned = provisor("plan", small.job, "--json")
    assert planned.status == 3
    assert len(planned.document["staged"]) > 50
    assert not [change for change in planned.document["changes"] if change["action"] == "disable"]
    said = provisor("run", small.job)
    assert said.status == 3
    assert "wait for approval" in " ".join(said.out.split())
    *_, run = runs_of(prefect, job)
    assert run.state is not None
    assert (run.state.type.value, run.state.name) == ("COMPLETED", "Waiting for approval")
    [status] = provisor("status", job, "--json").document
    assert status["state"] == "staged"
    decided = [change for change in planned.document["staged"] if change["guards"]]  # memberships go with their members
    assert status["staged"] == len({(change["action"], change["kind"], change["anchor"]) for change in decided})


def test_a_stopped_run_is_exit_four_and_over(
    small: Workplace,
    provisor: Command,
    prefect: SyncPrefectClient,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """A run that was stopped on purpose has ended: it is not left waiting for a retry that nobody makes."""
    job = named(small, request)
    monkeypatch.setenv("SCIM_TOKEN", "another")
    said = provisor("run", small.job, "--json")
    assert said.status == 4
    assert said.document["state"] == "stopped"
    assert "401" in said.document["error"]
    [run] = runs_of(prefect, job)
    assert run.state is not None
    assert (run.state.type.value, run.state.name) == ("FAILED", "Quarantined")  # credentials are nobody's bad luck
    assert run.run_count == 1


@pytest.mark.usefixtures("plain_runs")
def test_two_runs_of_one_job_do_not_meet(
    small: Workplace, service: ScimService, provisor: Command, prefect_api: str
) -> None:
    """While one run holds the job another one ends at once, with a sentence, status 4, and nothing written."""
    service.set_fault("hang", method="POST", path="^/Users", after=50, commit="before", seconds=600)
    process = small.start("run", str(small.job), PREFECT_API_URL=prefect_api)
    try:
        while service.faults["hang"].struck < small.document["load"]["concurrency"]:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.01)
        service.reset_counts()
        said = provisor("run", small.job)
        assert said.status == 4
        assert f"process {process.pid}" in said.err
        assert "Traceback" not in said.err
        assert not service.requests
    finally:
        process.kill()
        process.communicate()


@pytest.mark.usefixtures("plain_runs")
def test_log_and_status_tell_what_happened(small: Workplace, provisor: Command, wanted: State) -> None:
    """Every change is in the log once, in each format; a person is found by anchor and by name."""
    assert provisor("run", small.job).status == 0
    lines = provisor("log", small.job, "--format", "json", "--limit", "10000").document
    created = [line for line in lines if line["action"] == "create" and line["status"] == "success"]
    assert sorted(line["anchor"] for line in created if line["kind"] == "user") == sorted(wanted.created)
    assert sorted(line["anchor"] for line in created if line["kind"] == "group") == sorted(wanted.groups)
    table = list(csv.DictReader(io.StringIO(provisor("log", small.job, "--format", "csv", "--limit", "10000").out)))
    assert [line["anchor"] for line in table] == [line["anchor"] for line in lines]
    anchor = min(wanted.created)
    for identity in (anchor, str(wanted.users[anchor]["userName"])):
        found = provisor("log", small.job, "--identity", identity, "--format", "json").document
        assert {line["anchor"] for line in found} == {anchor}, identity
    assert anchor in provisor("log", "hr-to-scim", "--identity", anchor).out or found[0]["label"]
    [status] = provisor("status", "--json").document
    assert status["links"] == {"user": len(wanted.users), "group": len(wanted.groups)}
    assert status["unanswered"] == status["staged"] == 0
    assert [cycle["state"] for cycle in status["cycles"]] == ["done"]
    assert "hr-to-scim" in provisor("status").out
