"""How the run of a form ends: with one sentence, which its page shows."""

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows.cycle.running import story
from tasks.artifacts import key_of, publish_page
from tasks.job import Job
from tasks.markdown import NOTHING, Markdown, markdown
from tasks.printable import printable


def answered(job: Job, sentence: str) -> State:
    """The state of a run that has done what the form asked for."""
    story().info("%s", sentence)
    lines = [Markdown("# {}").format(job.name), NOTHING, markdown(sentence)]
    publish_page(lines, key=key_of(job.name, str(flow_run.flow_name)), about=job.name)
    return Completed(message=printable(sentence))
