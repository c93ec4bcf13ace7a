"""What a run that its schedule has begun heeds: blackouts, and runs of the same schedule that were due meanwhile."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed

from flows.cycle.systems import now
from flows.decisions.initiator import this_run
from tasks.job import Job
from tasks.report import SKIPPED


def is_scheduled() -> bool:
    """True inside a run that its schedule has begun."""
    run = this_run()
    return run is not None and bool(run.auto_scheduled)


def stand_aside(job: Job) -> State[None] | None:
    """The final state of a run that its schedule begins at a time when none is to begin; None when it goes on.

    A run that goes on looks at everything that has changed: whatever else was due until now has nothing left to do.
    """
    run = this_run()
    if run is None or not run.auto_scheduled or job.schedule is None:
        return None
    if (blackout := job.schedule.blackout_at(now())) is not None:
        return skipped(f"No cycle of {job.name} starts by itself from {blackout} ({job.schedule.timezone}).")
    _take_over(run)
    return None


def skipped(why: str) -> State[None]:
    """The final state of a run that has done nothing, because nothing was to be done."""
    return Completed(name=SKIPPED, message=why)


def _take_over(run: FlowRun) -> None:
    """Ends the runs of the same schedule that were due until now and have not begun: this one does their work."""
    if run.deployment_id is None:
        return
    due = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=now()),
    )
    with get_client(sync_client=True) as client:
        overdue = client.read_flow_runs(
            flow_run_filter=due,
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[run.deployment_id])),
        )
        for other in overdue:
            if other.auto_scheduled and other.id != run.id:
                client.set_flow_run_state(other.id, skipped(f"It was due while another ran; {run.name} does its work."))
