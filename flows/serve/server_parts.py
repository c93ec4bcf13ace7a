"""What the server of ``provisor up`` loads before it starts: a block of ours, names for runs, and the one UI it shows.

Prefect brings a second UI, which asks a service outside for something whatever is set, and advertises it in the first
one. A server that does not find its files offers the first one only.

A run names itself when it begins. Until then, for seconds, and for days where it is scheduled, Prefect shows two random
words: here a run has the name of its deployment from the first moment.
"""

from functools import wraps
from typing import Any

import prefect
from prefect.server.models import deployments, flow_runs

from flows.serve.notices import JobNotice

__all__ = ["JobNotice"]

OURS = "provisor"
"""The tag of our deployments; see ``flows.serve.deploy``, which a server need not load."""


def name_runs() -> None:
    """From now on, for every run that this server makes for a deployment of ours."""
    runs: Any = flow_runs
    planned: Any = deployments
    make, schedule = runs.create_flow_run, planned._generate_scheduled_flow_runs

    @wraps(make)
    async def make_named(*words: Any, session: Any, flow_run: Any, **more: Any) -> Any:
        if flow_run.deployment_id is not None:
            found = await planned.read_deployment(session=session, deployment_id=flow_run.deployment_id)
            flow_run.name = name_of(found, flow_run.name)
        return await make(*words, session=session, flow_run=flow_run, **more)

    @wraps(schedule)
    async def schedule_named(*words: Any, session: Any, deployment_id: Any, **more: Any) -> Any:
        due = await schedule(*words, session=session, deployment_id=deployment_id, **more)
        found = await planned.read_deployment(session=session, deployment_id=deployment_id) if due else None
        name = name_of(found, "")
        return [{**run, "name": name} for run in due] if name else due

    runs.create_flow_run, planned._generate_scheduled_flow_runs = make_named, schedule_named


def name_of(deployment: Any, given: str) -> str:
    """What a new run is called; ``given``: two random words, or the name that Provisor gave it, which begins with the
    job's."""
    if deployment is None or OURS not in deployment.tags:
        return given
    job = next((tag.removeprefix("job:") for tag in deployment.tags if tag.startswith("job:")), deployment.name)
    return given if given.startswith(f"{job} ") else str(deployment.name)


name_runs()
prefect.__ui_v2_static_path__ = prefect.__module_path__ / "no-second-ui"
