"""What holds a running cycle together: its lease, its place in the ledger, its counts, and who watches it.

The pipeline itself is ``flows.provision``; nothing here decides anything about anybody's account.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain, pairwise
from pathlib import Path
from random import SystemRandom
from typing import Any, Generic, TypeVar
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRunPolicy, State
from prefect.exceptions import MissingContextError, TerminationSignal
from prefect.runtime import flow_run
from prefect.states import Failed as FailedState
from pyarrow import ArrowException

from connectors.contract import Action, Haltable, Kind, Snapshot
from connectors.errors import ErrorCode, ProvisorError
from flows.cycle.aftermath import STOPS, Ending, conclude, count_stops, let_begin, tell
from flows.cycle.batches import GRACE_S, Batches
from flows.cycle.following import begin_followers
from flows.cycle.forecast import FEWEST
from flows.cycle.lease import HeldLease, holding
from flows.cycle.pace import sharing
from flows.cycle.pages import keep_pages
from flows.cycle.plan_file import PlanFile, forget_key, read_plan_file, refuse_moved, refuse_unfit
from flows.cycle.preview import Decision
from flows.cycle.progress import WATCHER, Progress
from flows.cycle.scheduled import begins_by_itself, skipped
from flows.cycle.sight import CycleChoice, base_of, kind_of_cycle, store_of
from flows.cycle.systems import CLOCK, Systems, now, open_ledger, open_systems, target_of
from flows.decisions.initiator import initiator, this_run
from flows.show.history import history_of
from tasks.artifacts import CHARTED, publish_report
from tasks.checks import Checked, keep_books, without_done
from tasks.drift import DriftReport, find_drift
from tasks.escrow import Failed
from tasks.expressions import Context
from tasks.job import Job, load_job
from tasks.knowledge import advance, created_anchors, ids_after
from tasks.ledger import (
    FINISHED_STATES,
    Cycle,
    CycleEnd,
    CycleKind,
    CycleState,
    JobBusyError,
    JobPausedError,
    JobQuarantinedError,
    Ledger,
    LogAction,
    LogEntry,
    LogStatus,
    Staged,
)
from tasks.ledger.noting import compare_notes
from tasks.load import Loaded, write_links
from tasks.lost import settle_attempts
from tasks.mapping import Held
from tasks.naming import known_entries, unmanaged_names
from tasks.plan import EntryPlan, Plan
from tasks.plan.blocks import Drifted
from tasks.printable import printable
from tasks.quarantine import Tally, refuse_paused
from tasks.report import COUNT_OF, QUARANTINED, STOPPED, CycleReport, final_state
from tasks.snapshots import Side

FORGOTTEN_AT_MOST = 200_000
"""Rows that one cycle deletes of a log that is kept for a time only, so that its end is never far."""


def story() -> "logging.Logger | logging.LoggerAdapter[logging.Logger]":
    """Where the cycle's story is told: the run's own log, which the UI shows; outside of a run, a plain logger."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("provisor")


ContentT = TypeVar("ContentT")


class Parcel(Generic[ContentT]):
    """Carries anything across a task boundary: Prefect walks dataclasses and collections, but not plain classes."""

    __slots__ = ("content",)

    def __init__(self, content: ContentT) -> None:
        self.content = content


@dataclass(slots=True)
class Running:
    """A cycle while it runs."""

    job: Job
    systems: Systems
    ledger: Ledger
    cycle: Cycle
    lease: HeldLease
    clock: Callable[[], datetime] = now
    at_once: frozenset[str] = frozenset()
    """Anchors of entries in escrow that do not wait."""
    approved: PlanFile | None = None
    """The plan file that is carried out; nothing else is done then."""
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Failed] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    undone: dict[Kind, set[str]] = field(default_factory=lambda: {kind: set() for kind in Kind})
    """Anchors of entries that are not as the plan has them: a change failed, or was sent without a reference."""
    decision: Decision | None = None
    drift: DriftReport | None = None
    progress: Progress = field(init=False)
    halted: bool = False
    """True once nothing more is sent because the run is to end."""
    batches: Batches = field(default_factory=Batches)
    halt_others: Callable[[], None] | None = None
    """Halts the batches that other processes send, while some do."""
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    marks: dict[str, datetime] = field(default_factory=dict)
    """When each part ended."""
    report: CycleReport | None = None
    """Set when the cycle is over."""

    def __post_init__(self) -> None:
        self.progress = Progress(self.job.name, self.halt)

    def context(self) -> Context:
        """What expressions may know besides the entry; under a plan file, what they knew when it was made."""
        moment = self.marks["began"] if self.approved is None else self.approved.made_at
        return Context(now=moment, random=SystemRandom())

    def take_up(self, plan_file: Path) -> None:
        """From here on the cycle carries out this plan file or nothing. Raises: PlanRefusedError."""
        plan = read_plan_file(plan_file)
        refuse_unfit(plan, self.job, self.ledger, now=self.clock())
        self.approved = plan

    def keep_to_plan(self, decision: Decision) -> None:
        """Passes when the decision is what the plan file says, if there is one; the file is used up then.

        Raises: PlanRefusedError.
        """
        if self.approved is None:
            return
        now = self.clock()
        key = refuse_unfit(self.approved, self.job, self.ledger, now=now)
        refuse_moved(self.approved, decision, self.job, key, now=now)
        self.ledger.begin_plan(self.cycle, self.approved.id)
        forget_key(self.approved.id)

    def settle(self, decision: Decision) -> None:
        """Writes down what the target shows of requests whose answers were lost, and what matching found."""
        plan, moment = decision.checked.plan, self.clock()
        settle_attempts(self.ledger, self.cycle, decision.verdicts, now=moment)
        write_links(self.ledger, self.cycle, plan, now=moment)
        self.marks["settle"] = self.clock()

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
        for remark in snapshot.remarks:
            story().info("%s", remark)
        for reason in snapshot.doubts if side != "source" else ():  # of the source it is said once it is known
            story().warning("The %s is not complete: %s", side, reason)
        if (watcher := WATCHER.get()) is not None:
            watcher.have_read(side, snapshot)

    def have_planned(self, decision: Decision) -> None:
        """Notes the plan."""
        self.decision = decision
        self.marks["plan"] = self.clock()
        story().info("%s", decision.sight.how)
        plan = decision.checked.plan
        story().info("Planned: %s. %s entries are up to date.", to_do(plan), f"{_unchanged(decision):,}")
        doubts = decision.new_doubts
        for reason in doubts:
            story().warning("The source is not complete: %s", reason)
        if as_before := len(plan.doubts) - len(doubts):
            story().info("The source is not complete, as in the last cycle, for reasons told then: %d.", as_before)
        news = decision.news
        for finding in news:
            story().warning("%s", finding.sentence)
        if as_before := len(decision.findings) - len(news):
            story().info("Data checks that fail as in the last cycle: %d.", as_before)
        if decision.new_unused:
            story().warning("%s", decision.new_unused)
        for verdict in decision.checked.verdicts:
            story().warning("Held back: %s", verdict.sentence)
        if (watcher := WATCHER.get()) is not None:
            watcher.have_planned(decision)

    def have_loaded(self, loaded: Loaded) -> None:
        """Adds what came of one batch."""
        if self.halt_others is not None:  # the process that sent it had nobody to tell how far it was
            self.progress.advance(loaded.sent)
        for action, count in loaded.done.items():
            self.counts[COUNT_OF[action]] += count
        # A change under way when the run was interrupted has not failed: the next cycle looks, and does not wait.
        failures = [one for one in loaded.failures if not (self.halted and one.code is ErrorCode.UNKNOWN_OUTCOME)]
        self.counts["failed"] += len(failures)
        self.failures += failures
        self.tally += loaded.tally
        for kind, anchors in loaded.undone.items():
            self.undone[kind] |= anchors
        for one in failures[:20]:
            # Names, and what the target said, may be about people: they are in the ledger only.
            story().warning("Failed to %s %s %s: %s", one.action, one.kind, one.anchor, one.code or "no code")

    def seconds(self) -> dict[str, float]:
        """How long each part took, in seconds, in order."""
        moments = list(self.marks.items())
        return {part: round((ended - began).total_seconds(), 3) for (_, began), (part, ended) in pairwise(moments)}

    def may_go_on(self) -> None:
        """Passes when the next batch may be sent. Raises: LeaseLostError, JobPausedError, HaltedError."""
        self.batches.refuse_when_halted()
        self.lease.check()
        if self.cycle.kind.partial:
            return
        refuse_paused(self.job.name, self.ledger.paused(self.job.name))

    def stage(self, decision: Decision) -> None:
        """Writes down what is not done, and why: entries held, and what guards hold back; announces what is new."""
        checked = decision.checked
        moment = self.clock()
        self._keep_books(checked, moment)
        notes = [_held_entry(held, LogStatus.SKIPPED) for held in checked.plan.held]
        notes += [_held_entry(note, LogStatus.WARNING) for note in checked.plan.notes]
        noted = compare_notes(notes, self.ledger.noted(self.job.name), partial=self.cycle.kind.partial)
        entries = list(noted.lines)
        self.drift = self._find_drift(decision)
        entries += [_drift_entry(one) for one in self.drift.entries] if self.drift is not None else []
        passed_over = (entry for plan in checked.plan.entries.values() for entry in self._passed_over(plan))
        self.counts["held"] += sum(held.code is not ErrorCode.DECIDED for held in checked.plan.held)
        self.counts["staged"] += checked.held_back
        self.counts["staged_memberships"] += checked.memberships_held_back
        self.counts["staged_groups"] += checked.groups_held_back
        self.ledger.log_entries(self.cycle, chain(entries, passed_over), now=moment)
        self.ledger.keep_noted(self.cycle, noted, now=moment)

    def _keep_books(self, checked: Checked, moment: datetime) -> None:
        """Writes down what waits and what is decided from now on; nobody decides about it meanwhile."""
        with self.ledger.changing_staged(self.job.name, under=self.cycle) as changes:
            known = changes.all()
            books = keep_books(checked, known, cycle_id=self.cycle.id, partial=self.cycle.kind.partial)
            changes.put(books.put)
            changes.drop(books.drop)
            lines = [_waiting_entry(item, _STAGED_AS[item.action], item.guard) for item in books.announced]
            lines += [_waiting_entry(item, LogAction.LAPSE, "nothing of it is left to do") for item in books.lapsed]
            changes.log(self.cycle, lines, now=moment)

    def _passed_over(self, plan: EntryPlan) -> Iterator[LogEntry]:
        """Lines about entries that get no account, said once of each."""
        found = plan.passed_over.result()
        known = self.ledger.passed_over(self.job.name, plan.kind) if len(found) else set()
        for anchor, why in zip(found.index, found, strict=True):
            if anchor not in known:
                yield LogEntry(
                    kind=plan.kind,
                    action=LogAction.SKIP,
                    status=LogStatus.SKIPPED,
                    anchor=anchor,
                    reason=why,
                    code=ErrorCode.SKIPPED,
                )

    @contextmanager
    def loading(self, decision: Decision) -> Iterator[Progress]:
        """The load's progress, from the first request to the last answer."""
        total = sum(len(block) for block in decision.checked.blocks)
        if total:
            story().info("Loading: %s", decision.forecast.sentence or f"{total:,} requests.")
        self.progress.begin(replace(decision.forecast, requests=total))
        try:
            with self._sharing(decision.checked.plan.target, total):
                yield self.progress
            self._forget_approved(decision)
        except BaseException:
            self.halt()
            raise
        finally:
            self.progress.end()
            self.marks["load"] = self.clock()

    @contextmanager
    def _sharing(self, target: str, requests: int) -> Iterator[None]:
        """The target's pace is shared with others who load it; a handful of requests does not wait for them.

        Other processes that send for us say so themselves.
        """
        if not requests or self.halt_others is not None:
            yield
            return
        patient = requests >= FEWEST
        with sharing(self.ledger, target, self.job.name, self.systems.share, clock=self.clock, patient=patient):
            yield

    def halt(self) -> None:
        """Nothing more is sent. Returns when the batches that are under way have written down what came of them."""
        self.halted = True
        if self.halt_others is not None:
            self.halt_others()
        self.batches.stop(self.systems.target)

    def let_go(self) -> None:
        """Another run may have the job: nothing more is sent, and answers are waited for a moment only."""
        if self.halt_others is not None:
            self.halt_others()
        if isinstance(self.systems.target, Haltable):
            self.systems.target.halt(grace_s=GRACE_S)

    def _find_drift(self, decision: Decision) -> DriftReport | None:
        """What others did to the target, where it was listed; tells it."""
        sight = decision.sight
        if sight.listing is None:
            return None
        drift = find_drift(decision.checked.plan, sight.listing, sight.kept.snapshot if sight.kept else None)
        for sentence in drift.sentences:
            story().info("%s", sentence)
        if not self.cycle.kind.partial:
            for kind, names in unmanaged_names(self.job, decision.checked.plan, sight.listing):
                self.ledger.unmanaged.keep(self.cycle, kind, names, complete=sight.listing.complete, now=self.clock())
        return drift

    def remember(self, decision: Decision) -> None:
        """Keeps what the target holds now, so that the next cycle need not list it."""
        sight, blocks = decision.sight, decision.checked.blocks
        if not blocks and not sight.listed and not sight.looked_at:
            return
        ids = {
            kind: ids_after(entries, self.ledger.target_ids(self.job.name, kind, created_anchors(blocks, kind)))
            for kind, entries in decision.checked.plan.entries.items()
        }
        known = advance(base_of(self.job, self.cycle, sight), blocks, self.undone, ids, cycle=self.cycle)
        store_of(self.job.name).keep(Side.TARGET, known)
        self.marks["remember"] = self.clock()

    def keep_desired(self, decision: Decision) -> None:
        """Keeps what this cycle wanted the target to be, for ``provisor diff`` and ``provisor history``.

        Everything is done by then: that it cannot be kept fails no cycle.
        """
        plan = decision.checked.plan
        try:
            history_of(self.job.name).keep(self.job, self.cycle, plan, planned=bool(plan.blocks))
            directory = self.ledger.directory
            everybody = not directory.knows(self.job.name)
            directory.put(self.job.name, list(known_entries(self.job, plan, everybody=everybody)))
        except (OSError, ValueError, ArrowException) as error:
            story().warning("What was wanted of the target cannot be kept for later: %s", error)
        self.marks["keep"] = self.clock()

    def _forget_approved(self, decision: Decision) -> None:
        """What was approved is done; what failed stays approved, and so does what an incomplete source still holds."""
        approved = decision.checked.approved
        if not approved:
            return
        failed = {failure.key for failure in self.failures}
        held = decision.checked.suspended
        done = [item for item in approved if item.matter not in held and (item.kind, item.anchor) not in failed]
        with self.ledger.changing_staged(self.job.name, under=self.cycle) as changes:
            known = {item.place: item for item in changes.all()}
            # What was approved meanwhile, of the same entry, is not done yet.
            done = [item for item in done if item.place in known and known[item.place].decided_at == item.decided_at]
            changes.drop(done)
            changes.put(filter(None, (without_done(known[item.place], item) for item in done)))


@contextmanager
def running_cycle(
    path: Path,
    choice: CycleChoice,
    *,
    flow_run_id: str | None,
    at_once: Collection[str] = (),
    kind: CycleKind | None = None,
) -> Iterator[Running]:
    """A cycle of the job from its first look to its report; closes it in the ledger whatever happens.

    ``at_once``: anchors of entries in escrow that do not wait. ``kind``: what it evaluates, whatever the choice; a
    partial one begins also while the job is paused or in quarantine, and counts as one with the last cycle's
    configuration.

    Raises: JobError, JobBusyError, JobPausedError, JobQuarantinedError, and whatever happens inside, after what was
    done has been written down.
    """
    clock = CLOCK.get()
    began = clock()
    job = load_job(path)
    with ExitStack() as stack:
        ledger = stack.enter_context(open_ledger())
        lease = stack.enter_context(holding(ledger, job.name, clock=clock))
        fingerprint = job.fingerprint()
        if kind is not None and kind.partial:
            last = ledger.last_cycle(job.name)
            fingerprint = last.fingerprint if last is not None else fingerprint
        else:
            let_begin(ledger, job, now=began)
            kind = kind or kind_of_cycle(ledger, job, choice, now=began)
        cycle = ledger.begin_cycle(
            job.name,
            kind,
            fingerprint=fingerprint,
            now=began,
            flow_run_id=flow_run_id,
            initiator=initiator(ledger, job.name),
            lease=lease.lease,
            target=target_of(job),
            approval=job.approval.model_dump(mode="json"),
            after=job.after,
        )
        _name_run(cycle)
        story().info("Cycle %d of %s (%s).", cycle.number, job.name, cycle.kind)
        running: Running | None = None
        try:
            systems = stack.enter_context(open_systems(job, lease.permit))
            running = Running(
                job, systems, ledger, cycle, lease, clock=clock, at_once=frozenset(at_once), marks={"began": began}
            )
            lease.on_lost = running.let_go
            yield running
        except BaseException as error:
            _close(job, ledger, cycle, running, error)
            raise
        _close(job, ledger, cycle, running, None)


def _name_run(cycle: Cycle) -> None:
    """Calls the run ``hr-to-app · incremental · #42``, now that this is known."""
    if cycle.flow_run_id is not None:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(cycle.flow_run_id), name=f"{cycle.job} · {cycle.kind} · #{cycle.number}")


def to_do(plan: Plan) -> str:
    """A plan's counts in words: ``3 to create, 1 to disable``."""
    return ", ".join(f"{count:,} to {action}" for action, count in plan.counts().items()) or "nothing to do"


def stopped(error: ProvisorError) -> State[Any]:
    """The final state of a run that was stopped on purpose. Unlike a fault of ours it is not tried again by itself.

    A run that nobody asked for has nothing to complain about when somebody else had the job, or when it is paused.
    """
    run = this_run()
    if run is not None and begins_by_itself(run) and isinstance(error, JobBusyError | JobPausedError):
        return skipped(str(error))
    _try_once_only()
    name = QUARANTINED if isinstance(error, JobQuarantinedError) else STOPPED
    return FailedState(name=name, message=printable(str(error)), data=error)


def ended(report: CycleReport | None) -> State[Any]:
    """The final state of a run whose cycle came to its end."""
    state = final_state(report)
    if state.is_failed():
        _try_once_only()
    return state


def _try_once_only() -> None:
    """Takes the run's retries away.

    The server would otherwise answer a failed state with another try, which nobody makes: the run would never end.
    """
    if flow_run.id is not None:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(flow_run.id), empirical_policy=FlowRunPolicy(retries=0, retry_delay=0))


def _close(job: Job, ledger: Ledger, cycle: Cycle, running: Running | None, error: BaseException | None) -> None:
    """Ends the cycle in the ledger, with what it means for the next ones, and tells everybody."""
    ending = Ending(
        job=job,
        cycle=cycle,
        now=CLOCK.get()(),
        error=error,
        plan=running.decision.checked.plan if running is not None and running.decision is not None else None,
        failed=running.failures if running is not None else (),
        tally=running.tally if running is not None else Tally(),
        stops=count_stops(ledger, cycle, error),
    )
    report = _report(ending, running)
    report.standing = conclude(ledger, ending)
    report.quarantined = bool(report.standing) and ledger.quarantine(job.name) is not None
    finished = report.state in FINISHED_STATES
    source = running.snapshots.get("source") if running is not None else None
    target = running.snapshots.get("target") if running is not None else None
    watermark = (source.watermark or source.read_at.isoformat()) if finished and source is not None else None
    remembered = running.progress.remembered if running is not None else {}
    counts = {**report.counts, **remembered, STOPS: 0 if report.standing else ending.stops}  # quarantine: counts itself
    believed = source if not _doubtful(running) else None
    ledger.end_cycle(
        cycle,
        CycleEnd(
            state=report.state,
            counts=counts,
            now=report.ended,
            message=report.message,
            watermark=watermark,
            source_count=len(believed.users) if believed is not None else None,
            source_members=len(believed.members) if believed is not None else None,
            target_count=len(target.users) if target is not None else None,
            source=source.system if source is not None else "",
            target=_name_of_target(running),
        ),
    )
    story().info("%s", report.message)
    keep_pages(ledger, report, running.decision if running is not None else None, error)
    if running is not None:
        running.report = report
    publish_report(report, ledger.cycles(job.name, limit=CHARTED))
    if (watcher := WATCHER.get()) is not None:
        watcher.ended(report)
    tell(ledger, ending, report)
    if finished:
        _forget(ledger, job, ending.now)
    if cycle.flow_run_id is not None:
        for sentence in begin_followers(ledger, job.name):
            story().info("%s", sentence)


def _forget(ledger: Ledger, job: Job, now: datetime) -> None:
    """What is older than the job wants to keep goes, a part with each cycle."""
    forgotten = ledger.forget_quiet(job.name, before=now - job.log.quiet_cycles)
    if job.log.keep is not None:
        forgotten += ledger.forget_log(job.name, before=now - job.log.keep, at_most=FORGOTTEN_AT_MOST)
    if forgotten:
        ledger.give_back()


def _report(ending: Ending, running: Running | None) -> CycleReport:
    cycle, error = ending.cycle, ending.error
    decision = running.decision if running is not None else None
    counts = dict(running.counts) if running is not None else {}
    staged = bool(decision is not None and decision.checked.waiting)
    if error is not None:
        state = CycleState.STOPPED
    elif staged:
        state = CycleState.STAGED
    elif (
        counts.get("failed")
        or counts.get("held")
        or (decision is not None and (decision.checked.plan.doubts or decision.source.unsure))
    ):
        state = CycleState.DONE_WITH_FAILURES
    else:
        state = CycleState.DONE
    return CycleReport(
        job=cycle.job,
        cycle=cycle.number,
        kind=cycle.kind,
        state=state,
        began=cycle.began,
        ended=ending.now,
        counts=counts,
        unchanged=_unchanged(decision) if decision is not None else 0,
        failures=ending.failed,
        held=list(decision.checked.plan.held) if decision is not None else [],
        notes=list(decision.checked.plan.notes) if decision is not None else [],
        guards=[verdict.sentence for verdict in decision.checked.verdicts] if decision is not None else [],
        findings=[finding.sentence for finding in decision.findings] if decision is not None else [],
        news=[finding.sentence for finding in decision.news] if decision is not None else [],
        seen=decision.sight.how if decision is not None else "",
        drift=running.drift if running is not None else None,
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


_STAGED_AS = {
    Action.DISABLE: LogAction.STAGED_DISABLE,
    Action.DELETE: LogAction.STAGED_DELETE,
    Action.REMOVE_MEMBERS: LogAction.STAGED_REMOVE_MEMBERS,
    Action.UPDATE: LogAction.STAGED_UPDATE,
}


def _drift_entry(drifted: Drifted) -> LogEntry:
    attributes = f" ({', '.join(drifted.attributes)})" if drifted.attributes else ""
    put_right = "it is corrected" if drifted.corrected else "it is left alone, as the job says"
    return LogEntry(
        kind=drifted.kind,
        action=LogAction.DRIFT,
        status=LogStatus.WARNING,
        anchor=drifted.anchor,
        label=drifted.label,
        reason=drifted.what,
        message=f"The account was {drifted.what}{attributes}; {put_right}.",
    )


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


def _waiting_entry(item: Staged, action: LogAction, reason: str) -> LogEntry:
    return LogEntry(
        kind=item.kind,
        action=action,
        status=LogStatus.SKIPPED,
        anchor=item.anchor,
        target_id=item.target_id,
        label=item.label,
        reason=reason,
    )


def _doubtful(running: Running | None) -> bool:
    """True when the source that was read is no measure for later ones: nobody has judged it, or a guard doubts it."""
    return running is None or running.decision is None or running.decision.checked.doubtful


def _name_of_target(running: Running | None) -> str:
    """What the target that was seen calls itself; nothing where none was."""
    if running is None:
        return ""
    if running.decision is not None:
        return running.decision.sight.snapshot.system
    return running.snapshots["target"].system if "target" in running.snapshots else ""


def _unchanged(decision: Decision) -> int:
    return sum(plan.unchanged for plan in decision.checked.plan.entries.values())
