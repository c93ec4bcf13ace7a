"""Decide about held changes by a form of Prefect's UI: what ``provisor approve`` and ``provisor reject`` do."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from connectors.errors import ProvisorError
from flows.cycle.running import stopped
from flows.cycle.systems import now, open_ledger
from flows.decisions.answer import answered
from flows.decisions.approval import DECIDE, Answer, close_waiting, form_identity, reject_waiting
from flows.decisions.own_job import own_job
from flows.decisions.persons import DecisionError
from flows.decisions.staged import decide_staged, decision_sentence, undecided
from flows.decisions.until import parse_until
from tasks.job import Job
from tasks.ledger import StagedState


def _run_name() -> str:
    parameters: dict[str, Any] = flow_run.parameters
    return f"{Path(parameters['job']).stem} · {flow_run.flow_name}"


@flow(name=DECIDE, flow_run_name=_run_name)
def decide(
    job: Path,
    decision: Answer,
    by: str,
    selection: list[str] | None = None,
    comment: str = "",
    until: date | None = None,
    waiting_run: UUID | None = None,
) -> State:
    """Approve or reject what the guards of a job hold; the next cycle carries out what was approved.

    Args:
        job: The job file.
        decision: What is decided about what waits.
        by: Your name: it is in the log.
        selection: What to approve with "Approve only the selection": anchors, ids or names exactly as they are written,
            kinds or actions.
        comment: The reason, for readers of the log.
        until: The decision counts to the end of this day (UTC); without a day until nothing of it is left to do.
        waiting_run: A run whose time limit has passed: what it waits for is rejected, whatever else is given here.
    """
    try:
        loaded = own_job(job)
        if waiting_run is not None:
            sentence = reject_waiting(loaded, waiting_run)
        else:
            sentence = _decide(loaded, decision, selection or [], by, comment, until)
    except ProvisorError as error:
        return stopped(error)
    return answered(loaded, sentence)


def _decide(job: Job, decision: Answer, selection: Sequence[str], by: str, comment: str, until: date | None) -> str:
    if decision is Answer.APPROVE_SELECTION and not selection:
        raise DecisionError("Nothing is selected: say what to approve, or choose to approve everything.")
    with open_ledger() as ledger:
        ruling = decide_staged(
            ledger,
            job.name,
            StagedState.REJECTED if decision is Answer.REJECT else StagedState.APPROVED,
            only=selection if decision is Answer.APPROVE_SELECTION else (),
            until=parse_until(until),
            who=by,
            identity=form_identity(),
            why=comment,
            now=now(),
        )
        left = undecided(ledger, job.name, now())
    if not left:
        close_waiting(job.name, f"{by} has decided by another form.")
    return decision_sentence(ruling, job.name, f"run the deployment {job.name}")
