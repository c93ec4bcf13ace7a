"""How the run of a form ends: with one sentence, which its page shows."""

from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.cycle.running import story
from tasks.artifacts import key_of
from tasks.job import Job


def answered(job: Job, sentence: str) -> State:
    """The state of a run that has done what the form asked for."""
    story().info("%s", sentence)
    create_markdown_artifact(f"# {job.name}\n\n{sentence}", key=key_of(job.name, str(flow_run.flow_name)))
    return Completed(message=sentence)
