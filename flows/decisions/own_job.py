"""A deployment is about one job: a run of it that names another job file does nothing.

The form asks for no job, but a run that is started by the API may name any file that the worker can read, with the
worker's credentials.
"""

from pathlib import Path

from prefect.client.orchestration import get_client

from connectors.errors import ProvisorError
from flows.decisions.initiator import this_run
from tasks.job import Job, load_job


class ForeignJobError(ProvisorError):
    """The run of a deployment was asked to take another job file than its deployment's; nothing was done."""


def own_job(path: Path) -> Job:
    """The job in a file, after a look that this run may take it. Raises: ForeignJobError, JobError."""
    run = this_run()
    if run is not None and run.deployment_id is not None:
        with get_client(sync_client=True) as client:
            deployment = client.read_deployment(run.deployment_id)
        _refuse_foreign(path, deployment.name, deployment.parameters.get("job"))
    return load_job(path)


def _refuse_foreign(path: Path, deployment: str, own: object) -> None:
    """Passes for the deployment's own file, however it is written."""
    if own is None or Path(str(own)).resolve() != path.resolve():
        raise ForeignJobError(
            f"The deployment {deployment} runs {own or 'no job file'}, and this run names {path}: nothing was done. "
            f"Start it without the parameter job, or deploy the folder of that file."
        )
