"""Opens what a cycle works with: the job's two systems and the ledger. No orchestrator is needed for any of it."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from connectors.contract import Kind, Pace, Source, Target
from connectors.registry import open_source, open_target
from flows.home import home
from tasks.job import Job
from tasks.ledger import Ledger
from tasks.plan import Remembered


@dataclass(frozen=True, slots=True)
class Systems:
    """Both sides of a job, open."""

    source: Source
    target: Target


def now() -> datetime:
    """The present moment, UTC. The only clock that stages are ever given."""
    return datetime.now(UTC)


@contextmanager
def open_systems(job: Job) -> Iterator[Systems]:
    """Both systems of a job, closed at the end."""
    pace = Pace(concurrency=job.load.concurrency, rate_per_s=job.load.rate)
    source = open_source(job.source.connector, job.source.settings, folder=job.folder)
    with closing(source):
        target = open_target(job.target.connector, job.target.settings, folder=job.folder, pace=pace)
        with closing(target):
            yield Systems(source, target)


def open_ledger() -> Ledger:
    """The ledger: SQLite in the state folder, or the database that ``PROVISOR_DATABASE_URL`` names."""
    return Ledger.open(os.environ.get("PROVISOR_DATABASE_URL"), home())


def recall(ledger: Ledger, job: Job) -> Remembered:
    """The links of a job."""
    return Remembered(links={kind: ledger.links(job.name, kind) for kind in Kind})
