"""Opens what a cycle works with: the job's two systems and the ledger. No orchestrator is needed for any of it."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd

from connectors.address import address_of
from connectors.contract import Kind, Pace, Target
from connectors.registry import open_target
from connectors.wire_log import following
from flows.cycle.forecast import known_pace
from flows.cycle.home import home
from flows.cycle.pace import Share
from tasks.checks import NOTHING_BEFORE, History, has_run_out, undecided_again
from tasks.escrow import given_up
from tasks.expectations import NOTHING_KNOWN, Known, Record, read_figures, read_known
from tasks.job import Job
from tasks.ledger import FINISHED_STATES, WHOLE_KINDS, Attempt, Escrow, Ledger
from tasks.lost import LOOKED_FOR, lost_creates
from tasks.plan import Remembered
from tasks.private import kept_secret, own_folder
from tasks.sources import AnySource, open_source_of


def _universal_time() -> datetime:
    return datetime.now(UTC)


CLOCK: ContextVar[Callable[[], datetime]] = ContextVar("clock", default=_universal_time)
"""What tells the time; another one lets weeks pass in a moment."""

COUNTED_CYCLES = 20
"""How many cycles back the size of the source is remembered."""

DAY, WEEK = timedelta(days=1), timedelta(days=7)
"""How far back guards count what was taken away."""


@dataclass(frozen=True, slots=True)
class Systems:
    """Both sides of a job, open."""

    source: AnySource
    target: Target
    share: Share = field(default_factory=Share)
    """Of the target's pace."""


def now() -> datetime:
    """The present moment, UTC. The only clock that stages are ever given."""
    return CLOCK.get()()


@contextmanager
def as_if(moment: datetime | None) -> Iterator[None]:
    """It is this moment inside; None leaves the clock as it is."""
    if moment is None:
        yield
        return
    token = CLOCK.set(lambda: moment)
    try:
        yield
    finally:
        CLOCK.reset(token)


@contextmanager
def open_systems(job: Job, permit: Callable[[], bool] | None = None) -> Iterator[Systems]:
    """Both systems of a job, closed at the end. ``PROVISOR_WIRE_LOG`` names a file that tells of every request.

    ``permit``: whether the target may still be sent to; None where nothing is written. Raises: SettingsError.
    """
    share = Share()
    source = open_source_of(job)
    with following(os.environ.get("PROVISOR_WIRE_LOG")), closing(source), open_one_target(job, share, permit) as target:
        yield Systems(source, target, share)


@contextmanager
def open_one_target(job: Job, share: Share, permit: Callable[[], bool] | None = None) -> Iterator[Target]:
    """The target of a job, closed at the end; ``share`` is the part of its pace that is ours.

    ``permit``: whether it may still be sent to. Raises: SettingsError.
    """
    pace = Pace(concurrency=job.load.concurrency, rate_per_s=job.load.rate, share=share, permit=permit)
    target = open_target(job.target.connector, job.target.settings, folder=job.folder, pace=pace)
    with closing(target):
        yield target


def target_of(job: Job) -> str:
    """The normalised address of a job's target: jobs with the same one share its accounts. Raises: SettingsError."""
    return address_of(job.target.connector, job.target.settings, folder=job.folder)


def open_ledger() -> Ledger:
    """The ledger: SQLite in the state folder, or the database that ``PROVISOR_DATABASE_URL`` names."""
    return Ledger.open(os.environ.get("PROVISOR_DATABASE_URL"), home())


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the ledger remembers of a job, as far as a cycle decides by it."""

    links: Remembered
    escrows: tuple[Escrow, ...] = ()
    at_once: frozenset[str] = frozenset()
    """Anchors of entries in escrow that are tried now, however long they would have to wait."""
    history: History = NOTHING_BEFORE
    attempts: tuple[Attempt, ...] = ()
    """Changes whose answers were lost."""
    recent: Mapping[Kind, Collection[str]] = field(default_factory=dict)
    """Ids of entries of the target to which something was sent lately: a listing may be late about them."""
    pace: float | None = None
    """Requests a second in the latest loads."""
    figures: Record = field(default_factory=dict)
    """Of the last snapshots."""
    known: Known = NOTHING_KNOWN
    """Of the data checks of the last cycle."""
    target: str = ""
    """What the target called itself in the last cycle that finished; empty where none has."""

    @property
    def lost(self) -> list[Attempt]:
        """Creates whose answers were lost: there may be an account that nobody knows of."""
        return lost_creates(self.attempts)


def recall(
    ledger: Ledger, job: Job, moment: datetime, *, at_once: Collection[str] = (), reviewed: bool = False
) -> Recalled:
    """What is remembered of a job at a moment, and which accounts other jobs own at the same target.

    ``at_once``: anchors of entries that do not wait in escrow. ``reviewed``: a person looks at the plan before it is
    carried out, exactly as it is.

    In quarantine the whole job waits, so that in a cycle that does begin no single entry has to.
    """
    escrows = tuple(ledger.escrows(job.name))
    if ledger.quarantine(job.name) is not None:
        at_once = {*at_once, *(one.anchor for one in escrows if not given_up(one))}
    finished = ledger.last_cycle(job.name, states=FINISHED_STATES, kinds=WHOLE_KINDS)
    return Recalled(
        links=Remembered(
            links={kind: ledger.links(job.name, kind) for kind in Kind},
            elsewhere=partial(ledger.owners_elsewhere, job.name, target_of(job)),
            written=partial(ledger.written, job.name),
            former=pd.Series(ledger.former_ids(job.name, Kind.USER), dtype="str"),
        ),
        escrows=escrows,
        at_once=frozenset(at_once),
        history=History(
            # A plan file is judged as of the moment it was made; what was decided until before now counts no more.
            staged=[undecided_again(one) if has_run_out(one, moment) else one for one in ledger.staged(job.name)],
            removed_in_day=ledger.removals(job.name, since=moment - DAY),
            removed_in_week=ledger.removals(job.name, since=moment - WEEK),
            members_in_day=ledger.members_removed(job.name, since=moment - DAY),
            members_in_week=ledger.members_removed(job.name, since=moment - WEEK),
            source_counts=ledger.source_counts(job.name, limit=COUNTED_CYCLES),
            source_members=ledger.source_members(job.name),
            settled=finished is not None and finished.fingerprint == job.fingerprint(),
            reviewed=reviewed,
            secret=kept_secret(own_folder(home()) / "approvals.key"),
        ),
        attempts=tuple(ledger.open_attempts(job.name)),
        recent=ledger.sent_since(job.name, moment - LOOKED_FOR),
        pace=known_pace(ledger.cycles(job.name, limit=COUNTED_CYCLES)),
        figures=read_figures(figures_folder(job.name)),
        known=read_known(figures_folder(job.name)),
        target=finished.target if finished is not None else "",
    )


def figures_folder(job: str) -> Path:
    """Where the figures of a job's snapshots are kept: with the snapshots."""
    return home() / "snapshots" / job
