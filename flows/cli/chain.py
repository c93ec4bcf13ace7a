"""``provisor run --chain``: runs a job, then the jobs that follow it, as long as each one changes something."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from connectors.errors import ProvisorError
from flows.cli.answering import STOPPED, say
from flows.cli.here import run_cycle
from flows.cycle.systems import open_ledger
from flows.serve.jobs_of import chains_of, named_files, next_after
from tasks.job import Job
from tasks.job.chains import chain_from


def run_chain(job: Job, *, api_ready: Callable[[], None], quiet: bool) -> Iterator[dict[str, Any]]:
    """Runs the jobs that follow a finished job. Yields their reports, or the error of a job that could not run.

    The ledger decides which jobs are due, so a job that fails does not end other branches of the chain.
    """
    after, files = chains_of(job.folder), named_files(job.folder)
    for name in chain_from(job.name, after):
        with open_ledger() as ledger:
            news = ledger.following.news(name, after[name])
        if news:
            because = " and ".join(f"cycle {number} of {one}" for one, number in news.items())
            say("", f"{name}, after {because}:", stderr=quiet)
            yield _run(name, files[name], api_ready, quiet)


def _run(name: str, file: Path, api_ready: Callable[[], None], quiet: bool) -> dict[str, Any]:
    try:
        return run_cycle(file, "auto", api_ready=api_ready, quiet=quiet).as_json()
    except ProvisorError as error:
        say(str(error), stderr=True)
        return {"job": name, "error": str(error), "exit_status": STOPPED}


def hint(job: Job) -> str:
    """Message naming the jobs that should run next, with the command; empty if there are none."""
    following = next_after(job)
    with open_ledger() as ledger:
        due = [name for name in following if ledger.following.news(name, [job.name])]
    if not due:
        return ""
    runs = "runs" if len(due) == 1 else "run"
    return f"{' and '.join(due)} {runs} after {job.name}. Run it now: provisor run {due[0]}, or next time --chain."
