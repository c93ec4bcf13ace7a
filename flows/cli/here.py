"""Runs and previews a cycle in this process, for the command line and the demo."""

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
    """A person interrupted the run, and its cycle has been closed."""

    def __init__(self, report: CycleReport) -> None:
        super().__init__()
        self.report = report


def listing_cycle(ledger: Ledger, job: Job) -> CycleChoice:
    """A kind of cycle that lists the target, because only a listing proves that an account does not exist."""
    initial = kind_of_cycle(ledger, job, CycleChoice.AUTO, now=now()) is CycleKind.INITIAL
    return CycleChoice.INITIAL if initial else CycleChoice.RECONCILE


def decide_now(job: Job, *, listing: bool = False) -> Decision:
    """What a cycle starting now would do. Shows read progress on a terminal. Raises: FatalError, JobError.

    ``listing``: lists the target even if a cycle would use its last known state, because a person reviews the plan.
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
    """One flow run in this process, shown on the terminal unless ``quiet``. ``at_once``: anchors to retry now.

    ``plan_file``: applied exactly, or not at all.

    ``api_ready`` waits until the Prefect API responds; called after everything else has been loaded.
    Raises: JobError, JobBusyError, JobPausedError, JobQuarantinedError, and FatalError if there is no cycle to report.
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
    """Like :func:`run_cycle`, for a cycle that undoes an earlier one. ``pause``: also pauses the job."""
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
    raise FatalError(f"The run did not finish properly: {state.message}")
