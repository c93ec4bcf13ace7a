"""One identity on demand: an entry that is asked for by name is provisioned now, and every step is shown.

It is a cycle of its own kind under the job's lease: what is sent is written down before and after, guards apply. But it
says nothing about how the job stands, so that neither the watermark moves nor a quarantine begins or ends, and it may
run while the job is paused or in quarantine: that is when people try whether something is right now. The next cycle
looks at the entry again by itself, since something was sent to it.
"""

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from random import SystemRandom
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.cycle.aftermath import Ending, settle_escrows
from flows.cycle.ahead import PLANNED
from flows.cycle.on_demand_steps import (
    Asked,
    Page,
    Result,
    UnknownEntryError,
    act,
    decide_entry,
    look_up,
    preview_entry,
)
from flows.cycle.preview import Decision
from flows.cycle.running import Running, ended, running_cycle, stopped
from flows.cycle.sight import CycleChoice
from flows.cycle.systems import now, open_ledger
from flows.decisions.own_job import ForeignJobError, own_job
from flows.provision import BATCHES_AT_ONCE, STOPS, load
from tasks.artifacts import publish_page
from tasks.expressions import Context
from tasks.job import Job, JobError, load_job
from tasks.ledger import CycleKind
from tasks.markdown import NOTHING, Markdown, row, table_head
from tasks.printable import printable

LISTENER: ContextVar[Callable[[Page], None] | None] = ContextVar("listener", default=None)
"""Called with the finished page: the terminal shows it."""


def _run_name() -> str:
    parameters: dict[str, Any] = flow_run.parameters
    what = "plan of one entry" if parameters.get("plan_only") else "on demand"
    return f"{Path(parameters['job']).stem} · {what}"


@flow(
    name="provision-on-demand",
    flow_run_name=_run_name,
    task_runner=ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE),  # type: ignore[arg-type]
)
def provision_on_demand(job: Path, identity: str, plan_only: bool = False) -> State:
    """Provision one user, or one group with its members, now.

    Args:
        job: The job file.
        identity: Anchor, value of a matching attribute, id in the target, or name.
        plan_only: Show what would be done, and do nothing.
    """
    try:
        loaded = own_job(job)
    except (JobError, ForeignJobError) as error:
        return stopped(error)
    page = Page(loaded.name, identity, plan_only)
    if plan_only:
        return _look_ahead(loaded, page)
    try:
        with open_ledger() as ledger:
            asked = look_up(loaded, ledger, page, now=now())
        with running_cycle(job, CycleChoice.AUTO, flow_run_id=flow_run.id, kind=CycleKind.ON_DEMAND) as running:
            page.cycle = running.cycle.number
            context = Context(now=running.marks["began"], random=SystemRandom())
            decision = decide_entry(running.job, running.systems, running.ledger, asked, page, context)
            carry_out(running, asked, decision, page)
    except (*STOPS, UnknownEntryError) as error:
        _publish(page)
        return stopped(error)
    _publish(page)
    return ended(running.report)


def _look_ahead(job: Job, page: Page) -> State:
    """What would be done about the entry; nothing is written anywhere."""
    try:
        with open_ledger() as ledger:
            preview_entry(job, ledger, page, now())
    except (*STOPS, UnknownEntryError) as error:
        _publish(page)
        return stopped(error)
    _publish(page)
    return Completed(name=PLANNED, message=printable(f"{page.steps[-1].sentence} Nothing was written."))


def carry_out(running: Running, asked: Asked, decision: Decision, page: Page) -> None:
    """Does what was decided about the entry, and notes what came of it."""
    plan, key = decision.checked.plan, (asked.entry.kind, asked.entry.anchor)
    ledger, cycle, job = running.ledger, running.cycle, running.job
    running.have_planned(decision)
    running.settle(decision)
    running.stage(decision)
    load(running, decision)
    waiting = [one for one in ledger.escrows(job.name) if (one.kind, one.anchor) == key]
    settle_escrows(ledger, Ending(job, cycle, running.clock(), plan=plan, failed=running.failures), waiting)
    lines = [line for chunk in ledger.log_chunks(job.name, cycle=cycle.number) for line in chunk]
    act(page, decision, lines[::-1])


def _publish(page: Page) -> None:
    """The steps as an artifact of the run, without anybody's values; and for the callers that asked for it."""
    if (listener := LISTENER.get()) is not None:
        listener(page)
    if not page.steps:
        return
    who = f"{page.entry.kind} {page.entry.anchor}" if page.entry is not None else page.asked
    lines = [Markdown("# On demand: {}").format(who), NOTHING, *table_head("step", "status")]
    lines += [row(step.name, step.status) for step in page.steps]
    lines += [NOTHING, Markdown("Result: {}.").format(page.result)]
    publish_page(lines, key="on-demand", about=f"{page.job}: {page.result}")


def run_on_demand(job: Path, identity: str, *, api_ready: Callable[[], None]) -> Page:
    """One flow run in this process; gives its page. ``api_ready`` waits until the Prefect API answers.

    Raises: UnknownEntryError, JobError, JobBusyError, and FatalError where no step was taken.
    """
    from prefect import tags
    from prefect.logging.handlers import APILogHandler

    api_ready()
    pages: list[Page] = []
    token = LISTENER.set(pages.append)
    try:
        with tags(f"job:{load_job(job).name}"):
            state = provision_on_demand(job, identity, return_state=True)
    finally:
        LISTENER.reset(token)
    APILogHandler().flush()  # before a local API ends
    failed_step = bool(pages and pages[0].steps)
    if state.is_failed() and not (failed_step and pages[0].result is Result.STOPPED):
        state.result()
    return pages[0]
