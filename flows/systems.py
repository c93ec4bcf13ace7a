"""Opens what a cycle works with: the job's two systems and the ledger. No orchestrator is needed for any of it."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from connectors.contract import Kind, Pace, Source, Target
from connectors.registry import open_source, open_target
from flows.home import home
from tasks.checks import NOTHING_BEFORE, History
from tasks.job import Job
from tasks.ledger import Escrow, Ledger
from tasks.plan import Remembered

COUNTED_CYCLES = 20
"""How many cycles back the size of the source is compared with."""


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


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the ledger remembers of a job, as far as a cycle decides by it."""

    links: Remembered
    escrows: tuple[Escrow, ...] = ()
    history: History = NOTHING_BEFORE


def recall(ledger: Ledger, job: Job, moment: datetime) -> Recalled:
    """What is remembered of a job at a moment."""
    cycles = ledger.cycles(job.name, limit=COUNTED_CYCLES)
    return Recalled(
        links=Remembered(links={kind: ledger.links(job.name, kind) for kind in Kind}),
        escrows=tuple(ledger.escrows(job.name)),
        history=History(
            staged=ledger.staged(job.name),
            removed_in_day=ledger.removals(job.name, since=moment - timedelta(days=1)),
            removed_in_week=ledger.removals(job.name, since=moment - timedelta(days=7)),
            source_counts=[cycle.source_count for cycle in cycles if cycle.source_count is not None],
        ),
    )
