"""What a cycle that has ended begins: runs of the jobs that run after its own, where a worker is there for them.

Whether it is a job's turn is a question to the ledger, never a message: a message can get lost with the run that dies
at its very end. Every cycle of the job before asks it when it ends, also one that found nothing to do; besides, a job
that runs after others starts by itself now and then (``tasks.job.Schedule.rhythm``). So a start that was missed is made
up for, and a run that has nothing to look at any more ends as skipped.
"""

from datetime import timedelta

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import PrefectException

from flows.cycle.systems import now
from tasks.ledger import Ledger

AFTER = "after:"
"""Begins the tags of a deployment that name the jobs after which it runs."""
JOB = "job:"
"""Begins the tag of a deployment that names its job."""
_FOLLOWING = "following:"
"""Begins the tag of a run that was begun because another job has finished: ``following:hr-to-ad#42``."""
_WORKER_SEEN = timedelta(minutes=2)
"""Since when a worker must have asked for runs: without one, what is begun would wait for days, and then start."""


def begin_followers(ledger: Ledger, job: str) -> list[str]:
    """Begins a run of every deployed job whose turn it is because of this one; says so in sentences.

    The same news begins one run only, whoever asks. That none can be begun now fails no cycle.
    """
    try:
        with get_client(sync_client=True) as client:
            return [_begin(client, one, job, number) for one, number in _whose_turn(client, ledger, job)]
    except (httpx.HTTPError, PrefectException) as error:
        return [
            f"Jobs that run after {job} could not be started now ({type(error).__name__}); they will start by "
            "themselves."
        ]


def _whose_turn(client: SyncPrefectClient, ledger: Ledger, job: str) -> list[tuple[DeploymentResponse, int]]:
    """Deployments that run after a job, each with the number of the job's cycle that it has not looked at."""
    following = DeploymentFilter(tags=DeploymentFilterTags(all_=[f"{AFTER}{job}"]))
    found = []
    for one in client.read_deployments(deployment_filter=following):
        news = ledger.following.news(job_of(one), [job]) if _may_run(one) else {}
        found += [(one, number) for number in news.values()]
    return found


def job_of(deployment: DeploymentResponse) -> str:
    """The name of a deployment's job."""
    return next(tag.removeprefix(JOB) for tag in deployment.tags if tag.startswith(JOB))


def _may_run(deployment: DeploymentResponse) -> bool:
    """False where nobody would run it now, and for a deployment that somebody paused or whose schedule is off."""
    seen = deployment.last_polled
    on = not deployment.paused and any(one.active for one in deployment.schedules)
    return on and seen is not None and now() - seen < _WORKER_SEEN


def _begin(client: SyncPrefectClient, deployment: DeploymentResponse, job: str, number: int) -> str:
    name, because = job_of(deployment), f"{job}#{number}"
    client.create_flow_run_from_deployment(
        deployment.id,
        tags=[f"{JOB}{name}", f"{_FOLLOWING}{because}"],
        idempotency_key=f"{_FOLLOWING}{because}:{deployment.id}",
    )
    return f"Starting {name}: it runs after {job}, and cycle {number} has changed something."


def followed_by(run: FlowRun) -> str:
    """``cycle 42 of hr-to-ad`` for a run that was begun because that has ended; empty for any other."""
    tag = next((tag for tag in run.tags if tag.startswith(_FOLLOWING)), "")
    job, _, number = tag.removeprefix(_FOLLOWING).rpartition("#")
    return f"cycle {number} of {job}" if tag else ""
