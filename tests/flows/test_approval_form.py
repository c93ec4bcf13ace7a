"""Runs of deployments that wait for a decision, against a real server; the test is the worker."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import SetStateStatus
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow_sync
from prefect.states import Pending

from flows.cycle import scheduled
from flows.cycle.scheduled import stand_aside
from flows.cycle.systems import CLOCK, as_if, now, open_ledger
from flows.decide import decide
from flows.decisions.maintenance import pause
from flows.decisions.persons import DecisionError, Identity
from flows.decisions.staged import Ruling, decide_staged
from flows.provision import provision
from flows.serve.deploy import deploy_folder
from flows.serve.web.prefect_runs import begin_cycle
from tasks.job import load_job
from tasks.ledger import Ledger, RunPurpose, RunRequest, StagedState
from tests.flows.workplace import Workplace
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def deployed(small: Workplace) -> Workplace:
    """The small job after its first cycle, deployed; three people at most may leave in one cycle."""
    removals = {"count": 3, "fraction": 0.5, "minimum": 1}
    small.document["name"] = f"job-{uuid4().hex[:8]}"
    small.save(limits={**small.document["limits"], "removals": removals})
    deploy_folder(small.folder)
    assert work(start(small), small).name == "Completed"
    return small


def start(workplace: Workplace) -> UUID:
    """A run of the job's deployment."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(f"provision/{workplace.document['name']}")
        return client.create_flow_run_from_deployment(found.id).id


def work(run: UUID, workplace: Workplace) -> State[Any]:
    """What a worker does with a run; gives the run's state."""
    with get_client(sync_client=True) as client:
        assert client.set_flow_run_state(run, Pending()).status is SetStateStatus.ACCEPT
        asked = client.read_flow_run(run)
        with suppress(Pause):
            run_flow_sync(provision, flow_run=asked, parameters={"job": workplace.job}, return_type="state")
        state = client.read_flow_run(run).state
        assert state is not None
        return state


def answer(run: UUID, **fields: Any) -> SetStateStatus:
    """Submits the form of a run that waits."""
    with get_client(sync_client=True) as client:
        return client.resume_flow_run(run, run_input={"by": "eve", **fields}).status


def dismiss(workplace: Workplace, count: int) -> list[str]:
    """Takes people out of the export who lead nobody; gives their anchors."""
    rows = workplace.rows()
    leading = {row["manager"] for row in rows}
    usual = [row for row in rows if (row["employeeType"], row["status"]) == ("employee", "active")]
    leaving = [row["employeeId"] for row in usual if row["employeeId"] not in leading][:count]
    workplace.write_rows(row for row in rows if row["employeeId"] not in leaving)
    return leaving


def active(service: ScimService) -> int:
    return sum(bool(user.get("active", True)) for user in service.users.values())


def staged(workplace: Workplace, state: StagedState) -> int:
    with open_ledger() as ledger:
        return len(ledger.staged(workplace.document["name"], state=state))


def test_a_selection_is_approved_and_the_rest_is_asked_anew(deployed: Workplace, service: ScimService) -> None:
    """The run waits without a process, for what it showed; a run that finds the same says where to decide. An answer
    that the form does not allow is refused, and one that is nonsense decides nothing.
    """
    before = active(service)
    dismiss(deployed, 5)
    run = start(deployed)
    waiting = work(run, deployed)
    assert (waiting.name, waiting.type.value) == ("Waiting for approval", "PAUSED")
    other = work(start(deployed), deployed)
    assert (other.name, other.type.value) == ("Waiting for approval", "COMPLETED")
    assert "Decide in the run" in str(other.message)

    assert answer(run, decision="Delete everybody") is SetStateStatus.REJECT
    assert answer(run, decision="Approve everything", until="2020-01-01") is SetStateStatus.ACCEPT
    assert work(run, deployed).name == "Waiting for approval"
    assert staged(deployed, StagedState.APPROVED) == 0

    with get_client(sync_client=True) as client:
        key = client.read_flow_run(run).state.state_details.run_input_keyset["schema"]  # type: ignore[union-attr, index]
        schema = client.read_flow_run_input(run, key)
    choices = orjson.loads(schema)["properties"]["selection"]["items"]["enum"]
    assert len(choices) == 5
    assert answer(run, decision="Approve only the selection", selection=choices[:2]) is SetStateStatus.ACCEPT
    assert work(run, deployed).type.value == "PAUSED"  # the three left are within the limit, and wait all the same
    assert active(service) == before - 2
    assert staged(deployed, StagedState.STAGED) == 3
    assert answer(run, decision="Approve everything") is SetStateStatus.ACCEPT
    assert work(run, deployed).type.value == "COMPLETED"
    assert active(service) == before - 5


def test_a_run_of_the_pages_is_whose_it_is(deployed: Workplace, service: ScimService) -> None:
    """By a key that no other run of the flow can have: a copy of it, and any tag, is worth nothing. The person who has
    begun it does not approve what it holds; a run that somebody begins in Prefect's UI is nobody's, and holds until a
    cycle is known to be somebody's.
    """
    name = deployed.document["name"]
    deployed.save(approval={"not_by": "initiator"})
    dismiss(deployed, 5)
    with open_ledger() as ledger:
        work(start(deployed), deployed)
        with pytest.raises(DecisionError, match="Nobody knows who started cycle 2"):
            approve(ledger, name, "eve")
        run = UUID(begin_cycle(ledger, RunRequest(name, "maria", RunPurpose.RUN), now=now()))
        with get_client(sync_client=True) as client:
            begun = client.read_flow_run(run)
            assert begun.deployment_id is not None
            forged = client.create_flow_run_from_deployment(
                begun.deployment_id, tags=["by:eve"], idempotency_key=begun.idempotency_key
            )
        assert forged.id == run
        work(run, deployed)
        cycle = ledger.last_cycle(name)
        assert cycle is not None
        assert (cycle.number, cycle.initiator) == (3, "maria, on the pages")
        with pytest.raises(DecisionError, match="maria started the cycle"):
            approve(ledger, name, "maria")
        assert len(approve(ledger, name, "eve").decided) == 5


def approve(ledger: Ledger, job: str, login: str) -> Ruling:
    return decide_staged(ledger, job, StagedState.APPROVED, who=login, identity=Identity(login, login), now=now())


def test_what_is_rejected_is_left_alone(deployed: Workplace, service: ScimService) -> None:
    """The run ends as Rejected, without another cycle, and the log has who has decided and why."""
    before = active(service)
    dismiss(deployed, 5)
    run = start(deployed)
    work(run, deployed)
    assert answer(run, decision="Reject everything", comment="not yet", until="2099-01-31") is SetStateStatus.ACCEPT
    assert work(run, deployed).name == "Rejected"
    assert active(service) == before
    with open_ledger() as ledger:
        decided = ledger.staged(deployed.document["name"], state=StagedState.REJECTED)
    assert {(one.who, one.why, one.until) for one in decided} == {("eve", "not yet", datetime(2099, 2, 1, tzinfo=UTC))}
    assert work(start(deployed), deployed).name == "Completed"  # nobody is asked again


def test_a_plan_that_has_changed_is_asked_about_anew(deployed: Workplace) -> None:
    """The older question is overtaken, so that nobody approves what nobody has seen."""
    dismiss(deployed, 5)
    run = start(deployed)
    work(run, deployed)
    dismiss(deployed, 1)
    newer = start(deployed)
    assert work(newer, deployed).name == "Waiting for approval"
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run).state_name == "Overtaken"
        assert client.read_flow_run(newer).state_name == "Waiting for approval"


def test_nobody_answers_in_time(deployed: Workplace, service: ScimService) -> None:
    """At the time limit, for which a run is scheduled, the question ends as rejected, for as long as it was open.

    Before it nobody can have the limit decide, and at it nobody can put a name or a decision to it.
    """
    before = active(service)
    dismiss(deployed, 5)
    run = start(deployed)
    work(run, deployed)
    name = deployed.document["name"]
    with get_client(sync_client=True) as client:
        (limit,) = [one for one in client.read_flow_runs() if one.name == f"{name} · time limit of an approval"]
        assert limit.parameters["waiting_run"] == str(run)
        given = {**limit.parameters, "job": Path(limit.parameters["job"])}
        forged = given | {"decision": "Approve everything", "by": "zoe", "comment": "seen and agreed"}
        early = decide(**forged, return_state=True)
        assert "waits for an answer until" in str(early.message)
        assert client.read_flow_run(run).state_name == "Waiting for approval"
        assert staged(deployed, StagedState.REJECTED) == 0
        with as_if(now() + timedelta(days=3)):
            ended = decide(**forged, return_state=True)
        assert ended.name == "Completed"
        assert client.read_flow_run(run).state_name == "Rejected"
    with open_ledger() as ledger:
        assert {(one.who, one.why) for one in ledger.staged(name)} == {("nobody", "nobody decided within 3 days")}
    assert staged(deployed, StagedState.REJECTED) == 5
    assert active(service) == before


def test_a_form_of_its_own_decides_too(deployed: Workplace) -> None:
    """What waits is decided, and the run that asked has nothing left to ask."""
    dismiss(deployed, 5)
    run = start(deployed)
    work(run, deployed)
    ended = decide(deployed.job, "Approve everything", "eve", comment="seen", return_state=True)
    assert "Approved for" in str(ended.message)
    assert staged(deployed, StagedState.APPROVED) == 5
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run).state_name == "Overtaken"
    nothing = decide(deployed.job, "Reject everything", "eve", return_state=True)
    assert nothing.name in ("Stopped", "Completed")


def test_a_schedule_heeds_blackouts_and_other_runs(deployed: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduled run in a blackout ends as Skipped with a sentence; by hand it goes on. A paused job says so."""
    night = {"every": "20m", "blackout": [{"from": "22:00", "to": "06:00"}]}
    job = load_job(deployed.save(schedule=night).job)
    run = FlowRun(id=uuid4(), flow_id=uuid4(), name="due", auto_scheduled=True)
    monkeypatch.setattr(scheduled, "this_run", lambda: run)
    token = CLOCK.set(lambda: datetime(2026, 1, 5, 23, tzinfo=UTC))
    try:
        aside = stand_aside(job)
        assert aside is not None
        assert (aside.name, "from 22:00 to 06:00" in str(aside.message)) == ("Skipped", True)
        run.auto_scheduled = False
        assert stand_aside(job) is None
    finally:
        CLOCK.reset(token)
    with open_ledger() as ledger:
        pause(ledger, job.name, who="eve", why="moving house", now=datetime.now(UTC))
    assert work(start(deployed), deployed).name == "Stopped"
