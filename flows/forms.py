"""What people do about a job by a form of Prefect's UI instead of a command: decide about held changes, and restart."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from connectors.errors import ProvisorError
from flows.approval import DECIDE, Answer, close_waiting, end_of, reject_waiting
from flows.cycle import stopped, story
from flows.decisions import DecisionError, decide_staged, decision_sentence, undecided
from flows.maintain import USUAL, RequestError, Scope, count_links, scopes_of
from flows.maintain import restart as clear
from flows.systems import now, open_ledger
from tasks.artifacts import key_of
from tasks.job import Job, load_job
from tasks.ledger import JobBusyError, StagedState

_USUAL = sorted(USUAL)


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
        selection: What to approve with "Approve only the selection": anchors, names, kinds or actions.
        comment: Why, for whoever reads the log.
        until: The decision counts to the end of this day (UTC); without a day until nothing of it is left to do.
        waiting_run: Only what this run waits for, if it still does.
    """
    try:
        loaded = load_job(job)
        if waiting_run is not None:
            sentence = reject_waiting(loaded, waiting_run, by=by, why=comment)
        else:
            sentence = _decide(loaded, decision, selection or [], by, comment, until)
    except ProvisorError as error:
        return stopped(error)
    return _done(loaded, sentence)


def _decide(job: Job, decision: Answer, selection: Sequence[str], by: str, comment: str, until: date | None) -> str:
    if decision is Answer.APPROVE_SELECTION and not selection:
        raise DecisionError("Nothing is selected: name what to approve, or choose to approve everything.")
    with open_ledger() as ledger:
        decided = decide_staged(
            ledger,
            job.name,
            StagedState.REJECTED if decision is Answer.REJECT else StagedState.APPROVED,
            only=selection if decision is Answer.APPROVE_SELECTION else (),
            until=end_of(until),
            who=by,
            why=comment,
            now=now(),
        )
        left = undecided(ledger, job.name, now())
    if not left:
        close_waiting(job.name, f"{by} has decided by another form.")
    return decision_sentence(decided, job.name, f"run the deployment {job.name}")


@flow(name="restart", flow_run_name=_run_name)
def restart(job: Path, scopes: list[Scope] = _USUAL, break_links: bool = False) -> State:
    """Clear what a job remembers, so that its next cycle starts afresh; no account is touched by it.

    Args:
        job: The job file.
        scopes: What to clear.
        break_links: Needed where links are cleared: whoever is not found again by a matching attribute gets a second
            account, or keeps one that nobody owns.
    """
    try:
        loaded = load_job(job)
        wanted = scopes_of(",".join(scopes))
        with open_ledger() as ledger:
            if Scope.LINKS in wanted and not break_links:
                links = count_links(ledger, loaded.name)
                raise RequestError(f"{links:,} links of {loaded.name} would be broken: say so with break_links.")
            restarted = clear(ledger, loaded.name, wanted, clock=now)
    except (ProvisorError, JobBusyError) as error:
        return stopped(error)
    return _done(loaded, " ".join(restarted.sentences))


def _done(job: Job, sentence: str) -> State:
    story().info("%s", sentence)
    create_markdown_artifact(f"# {job.name}\n\n{sentence}", key=key_of(job.name, str(flow_run.flow_name)))
    return Completed(message=sentence)
