"""Runs and previews a cycle in this process: what the command line and the demo share."""

from pathlib import Path
from random import SystemRandom

from connectors.errors import FatalError, ProvisorError
from flows import local_api
from flows.preview import Decision, preview
from flows.show import console
from flows.systems import home, now, open_ledger, open_systems
from tasks.expressions import Context
from tasks.job import Job
from tasks.report import CycleReport


def decide_now(job: Job) -> Decision:
    """What a cycle that starts now would do; shows on a terminal how far reading is. Raises: FatalError, JobError."""
    err = console(stderr=True)
    with open_ledger() as ledger, open_systems(job) as systems, err.status("reading …") as spinner:
        return preview(
            job,
            systems,
            ledger,
            Context(now=now(), random=SystemRandom()),
            progress=lambda side, count: spinner.update(f"reading the {side}: {count:,} entries"),
        )


def run_cycle(job: Path, cycle: str, *, quiet: bool = False) -> CycleReport:
    """One flow run in this process, shown on the terminal unless ``quiet``.

    Raises: JobError, JobBusyError, and FatalError where there is no cycle to report about.
    """
    local_api.prepare(home())
    from flows.terminal import TerminalWatcher, watching

    watcher = TerminalWatcher(quiet=quiet)
    with watching(watcher):
        from flows.cycle import CycleChoice
        from flows.provision import provision

        state = provision(job, CycleChoice(cycle), return_state=True)
    if watcher.report is not None:
        return watcher.report
    error = state.result(raise_on_failure=False)
    if isinstance(error, ProvisorError):
        raise error
    raise FatalError(f"The run did not end properly: {state.message}")
