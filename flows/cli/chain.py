"""``provisor run --chain``: a job, and then those that run after it, as long as one has changed something."""

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
    """Runs the jobs whose turn it is once a job has run; gives their reports, or the error of one that could not run.

    The ledger says whose turn it is, so that one which could not run ends no other branch of the chain.
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
    """Which jobs should run now because of this one, and how; empty where there is none."""
    following = next_after(job)
    with open_ledger() as ledger:
        due = [name for name in following if ledger.following.news(name, [job.name])]
    if not due:
        return ""
    runs = "runs" if len(due) == 1 else "run"
    return f"{' and '.join(due)} {runs} after {job.name}. Run it now: provisor run {due[0]}, or next time --chain."
