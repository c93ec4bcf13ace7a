"""Runs and previews a cycle in this process: what the command line and the demo share."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from connectors.errors import FatalError, ProvisorError
from flows.cycle.draining import send_what_is_queued
from flows.cycle.preview import Decision, preview
from flows.cycle.sight import CycleChoice, kind_of_cycle
from flows.cycle.systems import now, open_ledger, open_systems
from flows.cycle.undo import Wishes, decide_undo
from flows.show.console import console
from tasks.expressions import Context
from tasks.job import Job, JobError, load_job
from tasks.ledger import CycleKind, Ledger
from tasks.report import CycleReport

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


class RunInterrupted(KeyboardInterrupt):
    """A person interrupted the run, and its cycle has ended."""

    def __init__(self, report: CycleReport) -> None:
        super().__init__()
        self.report = report


def listing_cycle(ledger: Ledger, job: Job) -> CycleChoice:
    """A cycle that lists the target: that an account is not there yet is proved by nothing less."""
    initial = kind_of_cycle(ledger, job, CycleChoice.AUTO, now=now()) is CycleKind.INITIAL
    return CycleChoice.INITIAL if initial else CycleChoice.RECONCILE


def decide_now(job: Job, *, listing: bool = False) -> Decision:
    """What a cycle that starts now would do; shows on a terminal how far reading is. Raises: FatalError, JobError.

    ``listing``: the target is listed, also where a cycle would take it as it is known, and a person reviews the plan.
    """
    err = console(stderr=True)
    with open_ledger() as ledger, open_systems(job) as systems, err.status("reading …") as spinner:
        return preview(
            job,
            systems,
            ledger,
            Context(now=now(), random=SystemRandom()),
            choice=listing_cycle(ledger, job) if listing else CycleChoice.AUTO,
            progress=lambda side, count: spinner.update(f"reading the {side}: {count:,} entries"),
            reviewed=listing,
        )


def decide_undo_now(job: Job, cycle: int, wishes: Wishes) -> Decision:
    """What an undo that starts now would do. Raises: FatalError, UndoRefusedError."""
    with open_ledger() as ledger, open_systems(job) as systems:
        return decide_undo(job, systems, ledger, cycle, wishes, now=now())


def run_cycle(
    job: Path,
    cycle: str,
    *,
    at_once: Sequence[str] = (),
    plan_file: Path | None = None,
    api_ready: Callable[[], None],
    quiet: bool = False,
) -> CycleReport:
    """One flow run in this process, shown on the terminal unless ``quiet``. ``at_once``: anchors that do not wait.

    ``plan_file``: exactly what it says is done, or nothing.

    ``api_ready`` waits until the Prefect API answers; called when everything else has been loaded.
    Raises: JobError, JobBusyError, JobPausedError, JobQuarantinedError, and FatalError where no cycle is to
    be reported about.
    """
    from flows.provision import provision

    choice = CycleChoice(cycle)
    return _run(
        job,
        lambda: provision(job, cycle=choice, at_once=tuple(at_once), plan_file=plan_file, return_state=True),
        api_ready,
        quiet,
    )


def run_undo(
    job: Path, cycle: int, wishes: Wishes, *, pause: bool, api_ready: Callable[[], None], quiet: bool = False
) -> CycleReport:
    """As :func:`run_cycle`, for a cycle that takes an earlier one back. ``pause``: the job is paused by it."""
    from flows.undo import undo

    return _run(job, lambda: undo(job, cycle, **asdict(wishes), pause=pause, return_state=True), api_ready, quiet)


def _run(job: Path, flow: "Callable[[], State[Any]]", api_ready: Callable[[], None], quiet: bool) -> CycleReport:
    from prefect import tags
    from prefect.logging.handlers import APILogHandler

    from flows.show.terminal import TerminalWatcher, watching

    api_ready()
    watcher = TerminalWatcher(quiet=quiet)
    try:
        with watching(watcher), tags(f"job:{load_job(job).name}"):
            state = flow()
    except BaseException as interrupt:  # the run was interrupted
        send_what_is_queued()
        if isinstance(interrupt, KeyboardInterrupt) and watcher.report is not None:
            raise RunInterrupted(watcher.report) from None
        raise
    APILogHandler().flush()  # before a local API ends
    error = state.result(raise_on_failure=False) if state.is_failed() else None
    if watcher.report is not None and not isinstance(error, JobError):  # a wrong job is the person's to put right
        return watcher.report
    if isinstance(error, ProvisorError):
        raise error
    raise FatalError(f"The run did not end properly: {state.message}")
