"""What a cycle that has ended means for the next ones: who waits, whether the job is tried less often, who is told.

And the other way round: whether the next one may begin.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from connectors.contract import Kind
from connectors.errors import HaltedError
from flows.cycle.plan_file import PlanRefusedError
from tasks import notify
from tasks.escrow import Failed, after_load
from tasks.job import Job
from tasks.ledger import (
    WHOLE_KINDS,
    Cycle,
    CycleKind,
    Escrow,
    JobPausedError,
    JobQuarantinedError,
    LeaseLostError,
    Ledger,
    Pause,
    StagedState,
)
from tasks.plan import Plan
from tasks.quarantine import (
    Finding,
    Tally,
    enter_or_stay,
    is_stop,
    judge_error,
    judge_tally,
    pause_sentence,
    quarantine_sentence,
    refuse_paused,
    refuse_quarantined,
)
from tasks.report import CycleReport

STOPS = "stops_in_a_row"
"""Name of the count, among a cycle's, of the cycles in a row that could not be carried out."""

PROVISOR = "Provisor"
"""Who has paused a job when it was not a person."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a cycle ended."""

    job: Job
    cycle: Cycle
    now: datetime
    error: BaseException | None = None
    plan: Plan | None = None
    """None where it was stopped before there was one."""
    failed: Sequence[Failed] = ()
    tally: Tally = field(default_factory=Tally)
    stops: int = 0
    """Cycles in a row that were stopped by a system, with this one."""


def let_begin(ledger: Ledger, job: Job, *, now: datetime) -> None:
    """Passes when a cycle of the job may begin now. A quarantine does not survive another configuration.

    Raises: JobPausedError, JobQuarantinedError.
    """
    pause, quarantine = ledger.paused(job.name), ledger.quarantine(job.name)
    last = ledger.last_cycle(job.name)
    if last is not None and last.fingerprint != job.fingerprint():
        if quarantine is not None:
            ledger.put_quarantine(job.name, None)
            ledger.tell_once(job.name, notify.QUARANTINE, None, now=now)
            quarantine = None
        if pause is not None and pause.who == PROVISOR:
            ledger.resume(job.name)
            pause = None
    try:
        refuse_paused(job.name, pause)
        refuse_quarantined(job.name, quarantine, now=now)
    except (JobPausedError, JobQuarantinedError):
        notify.weekly(ledger, job, now=now, pages=_pages())  # reminds people of a job that they have forgotten
        raise


def count_stops(ledger: Ledger, cycle: Cycle, error: BaseException | None) -> int:
    """Cycles in a row that were stopped by a system, with this one; a person who ends a cycle changes nothing."""
    if error is None:
        return 0
    earlier = ledger.cycles(cycle.job, limit=2, kinds=WHOLE_KINDS)
    before = next((one for one in earlier if one.id != cycle.id), None)
    stops = before.counts.get(STOPS, 0) if before is not None else 0
    return stops + 1 if is_stop(error) else stops


def conclude(ledger: Ledger, ending: Ending) -> str:
    """Writes down who is in escrow and how the job stands; gives a sentence where it must not go on as usual.

    Raises: LeaseLostError.
    """
    if isinstance(ending.error, LeaseLostError) or ending.cycle.kind.partial:
        return ""  # it says nothing about how the job stands
    job, cycle = ending.job, ending.cycle
    known = ledger.escrows(job.name)
    present = ledger.quarantine(job.name)
    finding = _finding(ending, known, again=present is not None)
    if finding is not None and ending.error is None and cycle.kind is CycleKind.INITIAL:
        return _pause(ledger, ending, known, finding)
    settle_escrows(ledger, ending, known)
    if finding is None and not is_stop(ending.error):
        if ending.error is None and present is not None:
            ledger.put_quarantine(job.name, None, under=cycle)
        return ""
    quarantine = enter_or_stay(present, finding, job.quarantine, now=ending.now)
    if quarantine is None:
        return ""
    ledger.put_quarantine(job.name, quarantine, under=cycle)
    return quarantine_sentence(job.name, quarantine)


def tell(ledger: Ledger, ending: Ending, report: CycleReport) -> None:
    """Tells people what needs them, once; see ``tasks.notify``."""
    job = ending.job
    notify.quarantined(ledger, job, ledger.quarantine(job.name), now=ending.now)
    pause = ledger.paused(job.name)
    if pause is not None and pause.who == PROVISOR:
        notify.paused(ledger, job, pause, now=ending.now)
    if ending.error is None:
        notify.staged(ledger, job, ledger.staged(job.name, state=StagedState.STAGED), now=ending.now)
    if not (report.standing or ending.cycle.kind.partial or _is_called_off(ending.error)):
        notify.troubled(ledger, job, notify.trouble_of(report, ending.error), ending.cycle, now=ending.now)
    notify.weekly(ledger, job, now=ending.now, pages=_pages())


def _pages() -> str:
    """Where reports are served, empty where nobody serves them."""
    return os.environ.get("PROVISOR_PAGES_URL", "")


def _is_called_off(error: BaseException | None) -> bool:
    """True when a person, or another machine, has ended the cycle: that is no trouble."""
    if isinstance(error, HaltedError | JobPausedError | LeaseLostError | PlanRefusedError):
        return True
    return error is not None and not isinstance(error, Exception)


def _finding(ending: Ending, known: Sequence[Escrow], *, again: bool) -> Finding | None:
    rules = ending.job.quarantine
    if ending.error is not None:
        return judge_error(ending.error, ending.stops, rules)
    before = {(one.kind, one.anchor) for one in known}
    retried = sum(one.key in before for one in ending.failed)
    return judge_tally(replace(ending.tally, retried=retried), rules, again=again)


def settle_escrows(ledger: Ledger, ending: Ending, known: Sequence[Escrow]) -> None:
    """Writes down who waits from now on, and who of the ``known`` need not any more."""
    if ending.plan is None:
        return
    carried_out = ending.error is None
    settled = after_load(known, ending.failed, ending.plan, ending.job, now=ending.now, carried_out=carried_out)
    if settled.put:
        ledger.put_escrows(ending.job.name, settled.put, under=ending.cycle)
    for kind, anchors in settled.drop.items():
        ledger.drop_escrows(ending.job.name, kind, anchors, under=ending.cycle)


def _pause(ledger: Ledger, ending: Ending, known: Sequence[Escrow], finding: Finding) -> str:
    """After a first cycle in which too much failed: nobody waits, and nothing goes on before somebody has looked.

    Source: Microsoft Graph, synchronizationStatus (escrowsPruned).
    """
    job, cycle = ending.job.name, ending.cycle
    for kind in Kind:
        ledger.drop_escrows(job, kind, [one.anchor for one in known if one.kind is kind], under=cycle)
    ledger.put_quarantine(job, None, under=cycle)
    pause = Pause(ending.now, PROVISOR, f"too much of the first cycle failed. {finding.message}")
    ledger.pause(job, pause)
    return pause_sentence(job, pause)
