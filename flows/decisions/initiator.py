"""Who or what has started a cycle, as the provisioning log says it."""

import os

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.runtime import deployment

from flows.cycle.following import followed_by
from flows.cycle.home import ASKED_BY
from flows.decisions.persons import (
    started_after,
    started_by_schedule,
    started_for,
    started_here,
    started_in_prefect,
    started_on_the_pages,
)
from tasks.ledger import Ledger


def initiator(ledger: Ledger, job: str) -> str:
    """A person's login on a machine or on the pages; for a run of a deployment its name, and whether by schedule."""
    if asked := os.environ.get(ASKED_BY):
        return started_for(asked)
    run = this_run()
    if run is None or run.deployment_id is None:
        return started_here()
    return started_by(run, str(deployment.name), ledger, job)


def this_run() -> FlowRun | None:
    """The flow run that this code is part of, if it is part of one."""
    context = FlowRunContext.get()
    return context.flow_run if context is not None else None


def started_by(run: FlowRun, name: str, ledger: Ledger, job: str) -> str:
    """``schedule of hr-to-app``; ``maria, on the pages``; ``eve, by the deployment hr-to-app`` where the API knows who
    asked for the run.

    Whose run of the pages it is says the ledger, by the run's key; tags and names of a run anybody may write.
    """
    if run.auto_scheduled:
        return started_by_schedule(name)
    if because := followed_by(run):
        return started_after(because, name)
    request = ledger.run_requests.of(run.idempotency_key, job) if run.idempotency_key else None
    if request is not None:
        return started_on_the_pages(request)
    return started_in_prefect(name, run.created_by.display_value if run.created_by is not None else None)
