"""Who or what has started a cycle, as the provisioning log says it."""

import os
import socket

from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.runtime import deployment

from flows.cycle.following import followed_by
from flows.cycle.home import ASKED_BY
from flows.decisions.staged import login_name


def initiator() -> str:
    """A person's login on a machine; for a run of a deployment its name, and whether its schedule began it."""
    if asked := os.environ.get(ASKED_BY):
        return f"{asked}, on the pages"
    run = this_run()
    if run is None or run.deployment_id is None:
        return f"{login_name()}@{socket.gethostname()}"
    return started_by(run, str(deployment.name))


def this_run() -> FlowRun | None:
    """The flow run that this code is part of, if it is part of one."""
    context = FlowRunContext.get()
    return context.flow_run if context is not None else None


def started_by(run: FlowRun, name: str) -> str:
    """``schedule of hr-to-app``; ``eve, by the deployment hr-to-app`` where the API knows who asked for the run."""
    if run.auto_scheduled:
        return f"schedule of {name}"
    if because := followed_by(run):
        return f"{because}, which {name} runs after"
    who = run.created_by.display_value if run.created_by is not None else None
    return f"{who}, by the deployment {name}" if who else f"the deployment {name}"
