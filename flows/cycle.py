"""What holds a running cycle together: its lease, its place in the ledger, its counts, and who watches it.

The pipeline itself is ``flows.provision``; nothing here decides anything about anybody's account.
"""

import hashlib
import logging
import os
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from random import SystemRandom
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRunPolicy, State
from prefect.exceptions import MissingContextError, TerminationSignal
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.states import Failed

from connectors.contract import Action, Snapshot
from connectors.errors import ProvisorError
from flows.preview import Decision
from flows.systems import Systems, now, open_ledger, open_systems
from tasks.expressions import Context
from tasks.job import Job, load_job
from tasks.ledger import (
    Cycle,
    CycleKind,
    CycleState,
    JobBusyError,
    Lease,
    LeaseLostError,
    Ledger,
    LogAction,
    LogEntry,
    LogStatus,
    Staged,
)
from tasks.load import Loaded
from tasks.mapping import Held
from tasks.report import COUNT_OF, CycleReport, Failure, begin_progress, move_progress, publish_report


def story() -> "logging.Logger | logging.LoggerAdapter[logging.Logger]":
    """Where the cycle's story is told: the run's own log, which the UI shows; outside of a run, a plain logger."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("provisor")


ContentT = TypeVar("ContentT")

LEASE = timedelta(minutes=10)
"""How long a silent holder keeps a job; a living one renews it long before."""


class Parcel(Generic[ContentT]):
    """Carries anything across a task boundary: Prefect walks dataclasses and collections, but not plain classes."""

    __slots__ = ("content",)

    def __init__(self, content: ContentT) -> None:
        self.content = content


class CycleChoice(StrEnum):
    """What a person may ask a cycle to evaluate."""

    AUTO = "auto"
    INITIAL = "initial"
    RECONCILE = "reconcile"


class Watcher(Protocol):
    """Somebody who looks on while a cycle runs: the terminal. Called from the thread that runs the cycle."""

    def reading(self, side: str, count: int) -> None:
        """So many entries of a side have been read so far."""

    def have_read(self, side: str, snapshot: Snapshot) -> None:
        """A side has been read."""

    def have_planned(self, decision: Decision) -> None:
        """The plan is made and judged; nothing has been written yet."""

    def loading(self, done: int, total: int) -> None:
        """So many of the plan's requests have been answered."""

    def ended(self, report: CycleReport) -> None:
        """The cycle is over, one way or the other."""


WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@dataclass(slots=True)
class Running:
    """A cycle while it runs."""

    job: Job
    systems: Systems
    ledger: Ledger
    cycle: Cycle
    lease: Lease
    clock: Callable[[], datetime] = now
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    decision: Decision | None = None
    progress: "Progress" = field(init=False)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    marks: dict[str, datetime] = field(default_factory=dict)
    """When each part ended."""
    report: CycleReport | None = None
    """Set when the cycle is over."""

    def __post_init__(self) -> None:
        self.progress = Progress(self)

    def context(self) -> Context:
        """What expressions may know besides the entry."""
        return Context(now=self.marks["began"], random=SystemRandom())

    def reading(self, side: str) -> Callable[[int], None]:
        """A listener for a connector that reads."""

        def listen(count: int) -> None:
            if (watcher := WATCHER.get()) is not None:
                watcher.reading(side, count)

        return listen

    def have_read(self, side: str, snapshot: Snapshot) -> None:
        """Notes that a side has been read."""
        self.snapshots[side] = snapshot
        self.marks[f"read {side}"] = self.clock()
        users, groups = len(snapshot.users), len(snapshot.groups)
        story().info("Read %s: %s, %s users and %s groups.", side, snapshot.system, f"{users:,}", f"{groups:,}")
        for reason in snapshot.incomplete:
            story().warning("The %s is not complete: %s", side, reason)
        if (watcher := WATCHER.get()) is not None:
            watcher.have_read(side, snapshot)

    def have_planned(self, decision: Decision) -> None:
        """Notes the plan."""
        self.decision = decision
        self.marks["plan"] = self.clock()
        plan = decision.checked.plan
        counts = ", ".join(f"{count:,} to {action}" for action, count in plan.counts().items()) or "nothing to do"
        story().info("Planned: %s. %s entries are as they should be.", counts, f"{_unchanged(decision):,}")
        for finding in decision.findings:
            story().warning(finding.sentence)
        for verdict in decision.checked.verdicts:
            story().warning("Held back: %s", verdict.sentence)
        if (watcher := WATCHER.get()) is not None:
            watcher.have_planned(decision)

    def have_loaded(self, loaded: Loaded) -> None:
        """Adds what came of one batch."""
        for action, count in loaded.done.items():
            self.counts[COUNT_OF[action]] += count
        self.counts["failed"] += len(loaded.failures)
        self.failures += [Failure(*failure) for failure in loaded.failures]
        for label, verb, code, message in loaded.failures[:20]:
            story().warning("Failed to %s %s: %s %s", verb, label, code or "", message)

    def seconds(self) -> dict[str, float]:
        """How long each part took, in seconds, in order."""
        moments = list(self.marks.items())
        return {part: round((ended - began).total_seconds(), 3) for (_, began), (part, ended) in pairwise(moments)}

    def keep_lease(self) -> None:
        """Holds the job for longer. Raises: LeaseLostError when somebody else has taken it over."""
        moment = self.clock()
        if self.lease.expires_at - moment < LEASE / 2:
            self.lease = self.ledger.renew_lease(self.lease, now=moment, duration=LEASE)

    def stage(self, decision: Decision) -> None:
        """Writes down what is not done, and why: entries held, and removals that a guard holds back."""
        checked = decision.checked
        moment = self.clock()
        entries = [_held_entry(held, LogStatus.SKIPPED) for held in checked.plan.held]
        entries += [_held_entry(note, LogStatus.WARNING) for note in checked.plan.notes]
        staged = list(_staged(decision, self.cycle, moment))
        entries += [
            LogEntry(
                kind=item.kind,
                action=_STAGED_AS.get(item.action) or LogAction(item.action),
                status=LogStatus.SKIPPED,
                anchor=item.anchor,
                target_id=item.target_id,
                label=item.label,
                reason=item.guard,
            )
            for item in staged
        ]
        self.counts["held"] += len(checked.plan.held)
        self.counts["staged"] += sum(verdict.held for verdict in checked.verdicts)
        self.ledger.log_entries(self.cycle, entries, now=moment)
        self.ledger.drop_staged(self.job.name, self.ledger.staged(self.job.name))
        self.ledger.put_staged(self.job.name, staged)

    @contextmanager
    def loading(self, decision: Decision) -> Iterator["Progress"]:
        """The load's progress, from the first request to the last answer."""
        total = sum(len(block) for block in decision.checked.blocks)
        if total:
            story().info("Loading: %s requests.", f"{total:,}")
        self.progress.begin(total)
        try:
            yield self.progress
        finally:
            self.progress.end()
            self.marks["load"] = self.clock()


class Progress:
    """How far the load is: an artifact in the UI and the watcher's bar, moved at most once a second."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._lock = threading.Lock()
        self._done = 0
        self._total = 0
        self._artifact: Any = None

    def begin(self, total: int) -> None:
        """Shows an empty bar."""
        self._total, self._done = total, 0
        if total:
            self._artifact = begin_progress(self._running.job.name, total)
            self._show()

    def advance(self, count: int) -> None:
        """So many more requests have been answered; called from any thread."""
        with self._lock:
            self._done += count

    def follow(self, futures: Sequence[PrefectFuture[Any]]) -> Iterator[Any]:
        """The results of load tasks in order, moving the bar while waiting.

        Raises: what a task raised, after all of them have ended, so that nothing is sent behind anybody's back.
        """
        for future in futures:
            while not future.state.is_final():
                future.wait(timeout=1)
                with suppress(LeaseLostError):  # every batch finds that out by itself, before it sends anything
                    self._running.keep_lease()
                self._show()
        self._show()
        for future in futures:
            yield future.result()

    def end(self) -> None:
        """Leaves the bar where it is."""
        if self._total:
            self._show()

    def _show(self) -> None:
        if self._artifact is not None:
            move_progress(self._artifact, self._done, self._total)
        if (watcher := WATCHER.get()) is not None:
            watcher.loading(self._done, self._total)


@contextmanager
def running_cycle(path: Path, choice: CycleChoice, *, flow_run_id: str | None) -> Iterator[Running]:
    """A cycle of the job from its first look to its report; closes it in the ledger whatever happens.

    Raises: JobError, JobBusyError, and whatever happens inside, after what was done has been written down.
    """
    began = now()
    job = load_job(path)
    with ExitStack() as stack:
        ledger = stack.enter_context(open_ledger())
        lease = _take_lease(ledger, job.name, began)
        stack.callback(ledger.release_lease, lease)
        fingerprint = job.fingerprint()
        kind = _kind(ledger, job.name, fingerprint, choice)
        cycle = ledger.begin_cycle(
            job.name, kind, fingerprint=fingerprint, now=began, flow_run_id=flow_run_id, lease=lease
        )
        story().info("Cycle %d of %s (%s).", cycle.number, job.name, cycle.kind)
        running: Running | None = None
        try:
            systems = stack.enter_context(open_systems(job))
            running = Running(job, systems, ledger, cycle, lease, marks={"began": began})
            yield running
        except BaseException as error:
            _close(ledger, cycle, running, error)
            raise
        _close(ledger, cycle, running, None)


def stopped(error: ProvisorError) -> State[ProvisorError]:
    """The final state of a run that was stopped on purpose. Unlike a fault of ours it is not tried again by itself.

    The server would otherwise answer a failed state with another try, which nobody makes: the run would never end.
    """
    if flow_run.id is not None:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(flow_run.id), empirical_policy=FlowRunPolicy(retries=0, retry_delay=0))
    return Failed(name="Stopped", message=str(error), data=error)


def _close(ledger: Ledger, cycle: Cycle, running: Running | None, error: BaseException | None) -> None:
    """Ends the cycle in the ledger and tells everybody."""
    report = _report(cycle, running, error)
    complete = report.state is CycleState.DONE
    source = running.snapshots.get("source") if running is not None else None
    target = running.snapshots.get("target") if running is not None else None
    watermark = (source.watermark or source.read_at.isoformat()) if complete and source is not None else None
    ledger.end_cycle(
        cycle,
        report.state,
        report.counts,
        message=report.message,
        now=report.ended,
        watermark=watermark,
        source_count=len(source.users) if source is not None else None,
        target_count=len(target.users) if target is not None else None,
    )
    story().info("%s", report.message)
    if running is not None:
        running.report = report
    publish_report(report)
    if (watcher := WATCHER.get()) is not None:
        watcher.ended(report)


def _report(cycle: Cycle, running: Running | None, error: BaseException | None) -> CycleReport:
    decision = running.decision if running is not None else None
    counts = dict(running.counts) if running is not None else {}
    staged = bool(decision is not None and decision.checked.verdicts)
    if error is not None:
        state = CycleState.STOPPED
    elif staged:
        state = CycleState.STAGED
    elif counts.get("failed") or counts.get("held") or (decision is not None and decision.checked.plan.incomplete):
        state = CycleState.DONE_WITH_FAILURES
    else:
        state = CycleState.DONE
    return CycleReport(
        job=cycle.job,
        cycle=cycle.number,
        kind=cycle.kind,
        state=state,
        began=cycle.began,
        ended=now(),
        counts=counts,
        unchanged=_unchanged(decision) if decision is not None else 0,
        failures=running.failures if running is not None else [],
        held=list(decision.checked.plan.held) if decision is not None else [],
        notes=list(decision.checked.plan.notes) if decision is not None else [],
        guards=[verdict.sentence for verdict in decision.checked.verdicts] if decision is not None else [],
        findings=[finding.sentence for finding in decision.findings] if decision is not None else [],
        seconds=running.seconds() if running is not None else {},
        error=_sentence(error),
    )


def _sentence(error: BaseException | None) -> str:
    match error:
        case None:
            return ""
        case ProvisorError():
            return str(error)
        case KeyboardInterrupt() | TerminationSignal():
            return "Interrupted; what was sent is recorded, and the next cycle goes on from there."
        case _:
            return f"A fault in Provisor: {type(error).__name__}: {error}"


def _kind(ledger: Ledger, job: str, fingerprint: str, choice: CycleChoice) -> CycleKind:
    """Initial when nothing was ever finished or the configuration has changed; else a comparison with the target."""
    match choice:
        case CycleChoice.INITIAL:
            return CycleKind.INITIAL
        case CycleChoice.RECONCILE:
            return CycleKind.RECONCILE
        case CycleChoice.AUTO:
            finished = (CycleState.DONE, CycleState.DONE_WITH_FAILURES, CycleState.STAGED)
            last = ledger.last_cycle(job, states=finished)
            known = last is not None and last.fingerprint == fingerprint
            return CycleKind.RECONCILE if known else CycleKind.INITIAL


def _take_lease(ledger: Ledger, job: str, moment: datetime) -> Lease:
    """The right to run the job, also from a process of this machine that died holding it. Raises: JobBusyError."""
    try:
        return ledger.acquire_lease(job, _holder(os.getpid()), now=moment, duration=LEASE)
    except JobBusyError as busy:
        if not _is_dead(busy.holder):
            raise
        story().warning("The run that had this job, %s, died.", busy.holder)
        return ledger.acquire_lease(job, _holder(os.getpid()), now=moment, duration=LEASE, instead_of=busy.holder)


def _holder(pid: int) -> str:
    return f"{socket.gethostname()} process {pid} ({_process_space()})"


def _is_dead(holder: str) -> bool:
    """True for a process of this machine that is certainly no more; of another machine nothing can be known."""
    found = re.search(r" process (\d+) ", holder)
    if found is None or not _process_space() or holder != _holder(int(found[1])):
        return False
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _process_space() -> str:
    """Names the space in which process ids mean something: this start of this machine, or of this container.

    Empty where the operating system does not say. Two containers may share a host's name, and each has a process 1.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (not a path)
    except OSError:
        return ""
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:8]


_STAGED_AS = {Action.DISABLE: LogAction.STAGED_DISABLE, Action.DELETE: LogAction.STAGED_DELETE}


def _held_entry(held: Held, status: LogStatus) -> LogEntry:
    return LogEntry(
        kind=held.kind,
        action=LogAction.SKIP,
        status=status,
        anchor=held.anchor,
        label=held.label,
        code=held.code,
        message=held.reason,
    )


def _staged(decision: Decision, cycle: Cycle, since: datetime) -> Iterator[Staged]:
    """Every staged removal once; a group's members are one item, whatever number of requests they take."""
    guards = " ".join(verdict.sentence for verdict in decision.checked.verdicts)
    for block in decision.checked.staged:
        table = block.table.drop_duplicates("anchor")
        for anchor, target_id, label in table[["anchor", "target_id", "label"]].itertuples(index=False):
            yield Staged(
                kind=block.kind,
                action=block.action,
                anchor=anchor,
                since=since,
                cycle_id=cycle.id,
                guard=guards,
                target_id=target_id,
                label=label,
            )


def _unchanged(decision: Decision) -> int:
    return sum(plan.unchanged for plan in decision.checked.plan.entries.values())
