"""Tells people what needs them, once: mail or chat, by the addresses of the job.

A notice is plain text with the numbers and what to do. What cannot be sent is logged and tried again with the next
cycle; it never stops one. An address may hold a password, so that of an address only its kind is ever shown.

Source: Apprise, https://appriseit.com (the form of the addresses).
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.errors import SettingsError
from connectors.settings import reveal
from tasks.advice import advice_for
from tasks.escrow import Failed
from tasks.job import Job
from tasks.ledger import Cycle, CycleState, Ledger, Pause, Quarantine, Staged, StagedState
from tasks.mapping import Held
from tasks.printable import printable
from tasks.quarantine import pause_sentence, quarantine_sentence
from tasks.report import COUNT_OF, CycleReport, spoken

_LOG = logging.getLogger("provisor")
QUARANTINE, PAUSE, STAGED, TROUBLE, WEEK = "quarantine", "pause", "staged", "trouble", "week"
"""Topics, about each of which the same is told once."""

_LISTED = 20
"""Staged removals that are named."""

_WEEKS_CYCLES = 7 * 24 * 60
"""Cycles of a week that are looked at; one a minute."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What was wrong with a cycle, as far as people have to hear of it."""

    sort: str
    """Equal for trouble of the same sort, whatever its numbers: it is told once."""
    report: CycleReport


def trouble_of(report: CycleReport, error: BaseException | None) -> Trouble | None:
    """What is wrong with a cycle that has ended; None when nothing is."""
    if error is not None:
        return Trouble(f"stopped: {type(error).__name__}", report)
    codes = _codes(report)
    if not codes and report.state is not CycleState.DONE_WITH_FAILURES:
        return None
    return Trouble(f"failures: {' '.join(sorted(codes))}", report)


def _codes(report: CycleReport) -> "Counter[str]":
    """How many entries failed or are held, by code."""
    found: Iterable[Failed | Held] = (*report.failures, *report.held)
    return Counter(str(one.code or "without a code") for one in found)


def quarantined(ledger: Ledger, job: Job, quarantine: Quarantine | None, *, now: datetime) -> None:
    """Tells when a job goes into quarantine, when its reason changes, and when it is not tried any more."""
    if quarantine is None:
        ledger.tell_once(job.name, QUARANTINE, None, now=now)
        return
    ended = quarantine.next_attempt is None
    title = f"{job.name}: no longer tried" if ended else f"{job.name}: in quarantine ({quarantine.reason})"
    body = quarantine_sentence(job.name, quarantine)
    _tell(ledger, job, QUARANTINE, f"{quarantine.reason} {ended}", title, [body], now=now)


def paused(ledger: Ledger, job: Job, pause: Pause, *, now: datetime) -> None:
    """Tells that Provisor has paused a job by itself."""
    body = pause_sentence(job.name, pause)
    _tell(ledger, job, PAUSE, pause.since.isoformat(), f"{job.name}: paused", [body], now=now)


def staged(ledger: Ledger, job: Job, items: Sequence[Staged], *, now: datetime) -> None:
    """Tells what waits for approval; once for the same set of removals, and again when it becomes another one."""
    if not items:
        ledger.tell_once(job.name, STAGED, None, now=now)
        return
    items = [*{one.key: one for one in items}.values()]  # members of a group may wait for several causes
    names = sorted(f"{one.kind}\x1f{one.action}\x1f{one.anchor}" for one in items)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    counts = Counter((one.action, one.kind) for one in items)
    lines = [f"{count:,} to {action} ({kind})" for (action, kind), count in sorted(counts.items())]
    lines += ["", *sorted({one.guard for one in items if one.guard}), ""]
    lines += [f"- {one.action} {one.label or one.anchor}" for one in items[:_LISTED]]
    if len(items) > _LISTED:
        lines.append(f"- and {len(items) - _LISTED:,} more")
    lines += ["", f"Nothing of this is done before somebody decides: provisor approve {job.name}, or provisor reject"]
    _tell(ledger, job, STAGED, digest, f"{job.name}: {len(items):,} wait for approval", lines, now=now)


def troubled(ledger: Ledger, job: Job, trouble: Trouble | None, ended: Cycle, *, now: datetime) -> None:
    """Tells when cycles begin to fail, when they fail for another reason, and when all is well again.

    ``ended``: the cycle, which says that all is well when there is no trouble.
    """
    if trouble is None:
        if ledger.told(job.name, TROUBLE) is not None:
            send(job, f"{job.name}: all is well again", [f"Cycle {ended.number} of {job.name} had no failures."])
            ledger.tell_once(job.name, TROUBLE, None, now=now)
        return
    report = trouble.report
    title = f"{job.name}: {'cycle stopped' if report.state is CycleState.STOPPED else 'done with failures'}"
    _tell(ledger, job, TROUBLE, trouble.sort, title, _troubled(report), now=now)


def _troubled(report: CycleReport) -> list[str]:
    """The body of a notice about a cycle; what a target says about people stays in the log."""
    codes = _codes(report)
    lines = [f"Cycle {report.cycle} of {report.job} ({report.kind}). {report.message}", ""]
    for code, count in codes.most_common():
        advice = advice_for(code)
        lines.append(f"- {count:,} × {code}{f': {advice.action}' if advice is not None else ''}")
    lines += [""] if codes else []
    lines += [f"Report: {report.page_address}"] if report.page_address else []
    lines += [f"Who, and why: provisor log {report.job} --cycle {report.cycle}"]
    return [*lines, "", "This message is not repeated while cycles fail in the same way."]


def weekly(ledger: Ledger, job: Job, *, now: datetime, pages: str = "") -> None:
    """Tells with the first cycle of each week (UTC), also one that may not begin, what was done in the last one.

    ``pages``: where reports are.
    """
    if not job.notify:
        return
    monday = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=now.weekday())
    began = monday - timedelta(days=7)
    week = f"{began:%Y-%m-%d}"
    if ledger.told(job.name, WEEK) == week:
        return
    latest = ledger.cycles(job.name, _WEEKS_CYCLES, since=began)
    cycles = [one for one in latest if one.began < monday]
    if not cycles and not _stands_still(job.name, ledger, before=monday):
        ledger.tell_once(job.name, WEEK, week, now=now)
        return
    _tell(ledger, job, WEEK, week, f"{job.name}: week of {week}", _week(job, ledger, cycles, pages, now=now), now=now)


def _stands_still(job: str, ledger: Ledger, *, before: datetime) -> str:
    """Why nothing has been done since some moment before, as a sentence; empty where the job runs, or did then."""
    if (pause := ledger.paused(job)) is not None:
        return pause_sentence(job, pause) if pause.since < before else ""
    quarantine = ledger.quarantine(job)
    return quarantine_sentence(job, quarantine) if quarantine is not None and quarantine.began < before else ""


def _week(job: Job, ledger: Ledger, cycles: Sequence[Cycle], pages: str, *, now: datetime) -> list[str]:
    lines = [reason, ""] if (reason := _stands_still(job.name, ledger, before=now)) else []
    return [*lines, *(_done_in(cycles) if cycles else ["No cycle ran."]), *_waiting(job, ledger, pages)]


def _done_in(cycles: Sequence[Cycle]) -> list[str]:
    states = Counter(one.state for one in cycles)
    ended = ", ".join(f"{count:,} {str(state).replace('_', ' ')}" for state, count in states.most_common())
    done: Counter[str] = Counter()
    for one in cycles:
        done.update({name: one.counts.get(name, 0) for name in (*COUNT_OF.values(), "failed")})
    lines = [f"{len(cycles):,} cycles: {ended}.", ""]
    lines += [f"- {count:,} {spoken(name)}" for name, count in done.items() if count] or ["Nothing had to be changed."]
    last = cycles[0]
    return [*lines, "", f"The last one, cycle {last.number} of {last.began:%Y-%m-%d %H:%M} UTC. {last.message}"]


def _waiting(job: Job, ledger: Ledger, pages: str) -> list[str]:
    waiting = len({one.key for one in ledger.staged(job.name, state=StagedState.STAGED)})
    trying = len(ledger.escrows(job.name))
    lines = [f"Now {waiting:,} changes wait for approval, and {trying:,} entries for another attempt."]
    lines += [f"Reports: {pages}"] if pages else []
    return [*lines, f"All changes: provisor log {job.name} --since 7d"]


def send(job: Job, title: str, lines: Sequence[str]) -> bool:
    """Sends a notice to every address of the job; True when one of them took it. What fails is logged, never raised.

    ``lines``: the body; whatever is in a line stays in it.
    """
    title, body = printable(title), "\n".join(map(printable, lines))
    took = [_send_one(job, number, title, body) for number in range(len(job.notify))]
    return any(took)


def _tell(ledger: Ledger, job: Job, topic: str, said: str, title: str, lines: Sequence[str], *, now: datetime) -> None:
    """Sends what people have not been told yet. What nobody took counts as not told."""
    if job.notify and ledger.tell_once(job.name, topic, said, now=now) and not send(job, title, lines):
        ledger.tell_once(job.name, topic, None, now=now)


def _send_one(job: Job, number: int, title: str, body: str) -> bool:
    from apprise import Apprise, NotifyFormat

    named = f"The notice {title!r} was not sent to address {number + 1} of job {job.name}"
    try:
        address = reveal(job.notify[number], folder=job.folder)
    except SettingsError as error:
        _LOG.warning("%s: %s", named, error)
        return False
    kind = address.partition("://")[0]
    service = Apprise()
    with _silence():
        try:
            taken = service.add(address) and service.notify(body=body, title=title, body_format=NotifyFormat.TEXT)
        except Exception as error:  # whatever a service's library raises; its text might hold the address
            _LOG.warning("%s (%s): %s", named, kind, type(error).__name__)
            return False
    if not taken:
        _LOG.warning("%s (%s): the service did not accept it; check the address", named, kind)
    return bool(taken)


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps what Apprise itself logs, addresses among it, out of every log."""
    log = logging.getLogger("apprise")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
