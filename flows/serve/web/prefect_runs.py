"""What the pages ask of Prefect: a cycle that begins now, and runs that no longer have to wait."""

import os
import secrets
from datetime import datetime

from connectors.errors import UnreachableError
from tasks.ledger import Ledger, RunPurpose, RunRequest


def after_decision(ledger: Ledger, job: str, *, approved: bool, who: str, left: bool, now: datetime) -> None:
    """Begins the cycle that carries out what was approved, and ends the runs that wait for what is decided.

    Raises: UnreachableError where no Prefect server is up: the next cycle carries it out.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise UnreachableError("No Prefect server is running here.")
    if not left:
        from flows.decisions.approval import close_waiting

        close_waiting(job, f"{who} decided on the Provisor pages.")
    if approved:
        begin_cycle(ledger, RunRequest(job, who, RunPurpose.DECISION), now=now)


def begin_cycle(ledger: Ledger, request: RunRequest, *, now: datetime) -> str:
    """Begins a run of the job's deployment; gives its id. Raises: UnreachableError.

    Whose run it is stands in the ledger, by a key that only this run can have: Prefect makes no second run of a flow
    with the same key, and whoever may begin runs there may write any tag.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
    from prefect.exceptions import PrefectException

    from flows.cycle.following import JOB

    if not os.environ.get("PREFECT_API_URL"):
        raise UnreachableError("No Prefect server is running here: use provisor run in a shell.")
    try:
        with get_client(sync_client=True) as client:
            named = DeploymentFilter(name=DeploymentFilterName(any_=[request.job]))
            found = client.read_deployments(deployment_filter=named)
            if not found:
                raise UnreachableError(f"The job {request.job} is not deployed: run provisor deploy.")
            key = secrets.token_urlsafe(32)
            ledger.run_requests.put(key, request, now=now)
            tags = [f"{JOB}{request.job}", f"by:{request.login}"]
            run = client.create_flow_run_from_deployment(found[0].id, tags=tags, idempotency_key=key)
            return str(run.id)
    except (httpx.HTTPError, PrefectException) as error:
        raise UnreachableError(f"The Prefect server does not answer: {type(error).__name__}.") from error
