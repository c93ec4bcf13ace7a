"""What a run heeds that nobody asked for: blackouts, and what other runs have done meanwhile."""

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

from flows.cycle.following import followed_by
from flows.cycle.systems import now, open_ledger
from flows.decisions.initiator import this_run
from tasks.job import Job
from tasks.report import SKIPPED


def begins_by_itself(run: FlowRun) -> bool:
    """True for a run that its schedule has begun, or the end of another job."""
    return bool(run.auto_scheduled) or bool(followed_by(run))


def stand_aside(job: Job) -> State[None] | None:
    """The final state of a run that begins by itself when none is to begin; None when it goes on.

    A run that goes on looks at everything that has changed: whatever else was due until now has nothing left to do.
    """
    run = this_run()
    if run is None or job.schedule is None or not begins_by_itself(run):
        return None
    if (blackout := job.schedule.blackout_at(now())) is not None:
        return skipped(f"No cycle of {job.name} starts by itself from {blackout} ({job.schedule.timezone}).")
    if (because := followed_by(run)) and not _has_news(job):
        return skipped(f"{because[0].upper()}{because[1:]} began it, and another cycle has looked at that meanwhile.")
    _take_over(run)
    return None


def _has_news(job: Job) -> bool:
    with open_ledger() as ledger:
        return bool(ledger.following.news(job.name, job.after))


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
                client.set_flow_run_state(
                    other.id, skipped(f"It was due while another cycle was running; {run.name} does its work.")
                )
