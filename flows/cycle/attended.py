"""A cycle as the run of a deployment: what comes before it and after it, because nobody sits in front of it.

Before it: a run that its schedule begins at the wrong time does nothing, and a run that has waited for a decision takes
the answer. After it: what guards hold is asked about. A run in a shell has none of this, and decides by commands.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from prefect.client.schemas.objects import State
from prefect.states import Completed

from connectors.errors import ProvisorError
from flows.cycle.running import stopped, story
from flows.cycle.scheduled import stand_aside
from flows.cycle.systems import open_ledger
from flows.decisions.approval import ask, close_waiting, take_answer
from flows.decisions.own_job import own_job
from tasks.printable import printable
from tasks.report import QUARANTINED, STOPPED, WAITING


def attended(path: Path, cycle: Callable[[], State]) -> State:
    """Runs a cycle of a job, if one is to be run now; gives the run's final state. Raises: Pause, when it waits."""
    logging.getLogger("prefect.task_runs").addFilter(_is_news)
    try:
        job = own_job(path)
        taken = take_answer(job)
    except ProvisorError as error:
        return stopped(error)
    if taken.sentence:
        story().info("%s", taken.sentence)
    if not taken.goes_on:
        return Completed(name="Rejected", message=printable(taken.sentence))
    if not taken.answered and (aside := stand_aside(job)) is not None:
        return aside
    state = cycle()
    if state.name == WAITING:
        said = f"{state.message} {ask(job, str(state.message))}".rstrip()
        return Completed(name=WAITING, message=said, data=state.data)
    if state.is_completed():
        close_waiting(job.name, "Nothing of it waits any more.")
    if state.name == STOPPED and _in_quarantine(job.name):
        state.name = QUARANTINED
    return state


def _is_news(record: logging.LogRecord) -> bool:
    """False for the line with which Prefect ends every task that went well: between them nobody finds the story."""
    return not str(record.msg).startswith("Finished in state Completed")


def _in_quarantine(job: str) -> bool:
    with open_ledger() as ledger:
        return ledger.quarantine(job) is not None
