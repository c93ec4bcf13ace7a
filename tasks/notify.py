"""Tells people what needs them, once: mail or chat, by the addresses of the job.

A notice is plain text with the numbers and what to do. What cannot be sent is logged and tried again with the next
cycle; it never stops one. An address may hold a password, so that of an address only its kind is ever shown.

Source: Apprise, https://appriseit.com (the form of the addresses).
"""

import hashlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from connectors.errors import SettingsError
from connectors.settings import reveal
from tasks.job import Job
from tasks.ledger import Ledger, Pause, Quarantine, Staged
from tasks.quarantine import pause_sentence, quarantine_sentence

_LOG = logging.getLogger("provisor")
QUARANTINE, PAUSE, STAGED = "quarantine", "pause", "staged"
"""Topics, about each of which the same is told once."""

_LISTED = 20
"""Staged removals that are named."""


def quarantined(ledger: Ledger, job: Job, quarantine: Quarantine | None, *, now: datetime) -> None:
    """Tells when a job goes into quarantine, when its reason changes, and when it is not tried any more."""
    if quarantine is None:
        ledger.tell_once(job.name, QUARANTINE, None, now=now)
        return
    ended = quarantine.next_attempt is None
    title = f"{job.name}: no longer tried" if ended else f"{job.name}: in quarantine ({quarantine.reason})"
    body = quarantine_sentence(job.name, quarantine)
    _tell(ledger, job, QUARANTINE, f"{quarantine.reason} {ended}", title, body, now=now)


def paused(ledger: Ledger, job: Job, pause: Pause, *, now: datetime) -> None:
    """Tells that Provisor has paused a job by itself."""
    body = pause_sentence(job.name, pause)
    _tell(ledger, job, PAUSE, pause.since.isoformat(), f"{job.name}: paused", body, now=now)


def staged(ledger: Ledger, job: Job, items: Sequence[Staged], *, now: datetime) -> None:
    """Tells what waits for approval; once for the same set of removals, and again when it becomes another one."""
    if not items:
        ledger.tell_once(job.name, STAGED, None, now=now)
        return
    names = sorted(f"{one.kind}\x1f{one.action}\x1f{one.anchor}" for one in items)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    counts = Counter((one.action, one.kind) for one in items)
    lines = [f"{count:,} to {action} ({kind})" for (action, kind), count in sorted(counts.items())]
    lines += ["", *sorted({one.guard for one in items if one.guard}), ""]
    lines += [f"- {one.action} {one.label or one.anchor}" for one in items[:_LISTED]]
    if len(items) > _LISTED:
        lines.append(f"- and {len(items) - _LISTED:,} more")
    lines += ["", f"Nothing of this is done before somebody decides: provisor approve {job.name}, or provisor reject"]
    _tell(ledger, job, STAGED, digest, f"{job.name}: {len(items):,} wait for approval", "\n".join(lines), now=now)


def send(job: Job, title: str, body: str) -> bool:
    """Sends a notice to every address of the job; True when one of them took it. What fails is logged, never raised."""
    took = [_send_one(job, number, title, body) for number in range(len(job.notify))]
    return any(took)


def _tell(ledger: Ledger, job: Job, topic: str, said: str, title: str, body: str, *, now: datetime) -> None:
    """Sends what people have not been told yet. What nobody took counts as not told."""
    if job.notify and ledger.tell_once(job.name, topic, said, now=now) and not send(job, title, body):
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
        _LOG.warning("%s (%s): the service did not take it; is the address right?", named, kind)
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
