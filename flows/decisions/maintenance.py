"""What people do about a job that does not go on as it should: restart, pause, resume, and who need not wait.

Everything here is about the ledger alone; no system is asked anything.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from connectors.contract import Kind
from connectors.errors import ProvisorError
from flows.cycle.lease import holding
from tasks import notify
from tasks.ledger import Ledger, Pause
from tasks.quarantine import pause_sentence, quarantine_sentence


class RequestError(ProvisorError):
    """What was asked for does not exist or makes no sense; nothing was done."""


class Scope(StrEnum):
    """What a restart clears."""

    WATERMARK = "watermark"
    """How far the source has been read: the next cycle evaluates everybody."""
    ESCROWS = "escrows"
    """Waits of entries that failed: the next cycle tries all of them."""
    QUARANTINE = "quarantine"
    """The job's quarantine: the next cycle may begin at once."""
    LINKS = "links"
    """Which account belongs to which entry: the next cycle has to match everybody anew."""
    STAGED = "staged"
    """What guards hold back, and what was decided about it: the next cycle judges anew."""
    FULL = "full"
    """All of these."""


USUAL = frozenset({Scope.WATERMARK, Scope.ESCROWS, Scope.QUARANTINE})
"""What a restart clears when nobody says what.

Source: Microsoft Graph, synchronizationJob: restart (an empty resetScope).
"""

_EVERYTHING = frozenset(Scope) - {Scope.FULL}


@dataclass(frozen=True, slots=True)
class Restarted:
    """What a restart has cleared; None where it was not asked to."""

    job: str
    watermark: bool | None = None
    """Whether there was one."""
    escrows: int | None = None
    quarantine: bool | None = None
    """Whether the job was in one."""
    links: int | None = None
    staged: int | None = None

    def as_json(self) -> dict[str, str | int | bool]:
        """What was cleared, by scope."""
        cleared = {scope.value: getattr(self, scope.value) for scope in Scope if scope is not Scope.FULL}
        return {"job": self.job, **{name: found for name, found in cleared.items() if found is not None}}

    @property
    def sentences(self) -> list[str]:
        """What was cleared, and what it means."""
        said = []
        if self.watermark is not None:
            said.append("The next cycle evaluates everybody.")
        if self.escrows is not None:
            said.append(f"{self.escrows:,} entries no longer wait after a failure.")
        if self.quarantine is not None:
            said.append("The quarantine is lifted." if self.quarantine else "The job was not in quarantine.")
        if self.links is not None:
            said.append(f"{self.links:,} links are broken; the next cycle matches everybody anew.")
        if self.staged is not None:
            said.append(f"{self.staged:,} held changes were cleared; the next cycle judges them again.")
        return said


def scopes_of(text: str) -> frozenset[Scope]:
    """The scopes in a list with commas; ``full`` stands for all of them. Raises: RequestError."""
    named: set[Scope] = set()
    for name in filter(None, (part.strip().lower() for part in text.split(","))):
        if name not in set(Scope):
            raise RequestError(f"There is no scope {name!r}: write one or more of {', '.join(Scope)}.")
        named.add(Scope(name))
    if not named:
        return USUAL
    return _EVERYTHING if Scope.FULL in named else frozenset(named)


def restart(ledger: Ledger, job: str, scopes: Collection[Scope], *, clock: Callable[[], datetime]) -> Restarted:
    """Clears what a job remembers, each scope exactly its own state; the job is held meanwhile.

    Raises: JobBusyError when a cycle of it runs.
    """
    with holding(ledger, job, clock=clock):
        return Restarted(
            job=job,
            watermark=_clear_watermark(ledger, job, clock()) if Scope.WATERMARK in scopes else None,
            escrows=_clear_escrows(ledger, job) if Scope.ESCROWS in scopes else None,
            quarantine=_lift_quarantine(ledger, job, clock()) if Scope.QUARANTINE in scopes else None,
            links=_break_links(ledger, job) if Scope.LINKS in scopes else None,
            staged=_forget_staged(ledger, job, clock()) if Scope.STAGED in scopes else None,
        )


def count_links(ledger: Ledger, job: str) -> int:
    """Links of a job, to be said before they are broken."""
    return sum(len(ledger.links(job, kind)) for kind in Kind)


def pause(ledger: Ledger, job: str, *, who: str, why: str, now: datetime) -> str:
    """Pauses a job: no cycle begins, and one that runs stops between two batches. Gives the sentence about it."""
    made = Pause(since=now, who=who, why=why)
    ledger.pause(job, made)
    return pause_sentence(job, made)


def resume(ledger: Ledger, job: str, *, now: datetime) -> str:
    """Ends a job's pause, and a quarantine in which it is no longer tried; gives a sentence about what is left."""
    paused, quarantine = ledger.paused(job), ledger.quarantine(job)
    ledger.resume(job)
    if quarantine is not None and quarantine.next_attempt is None:
        _lift_quarantine(ledger, job, now)
        return f"Job {job} is out of quarantine and goes on."
    if quarantine is not None and quarantine.next_attempt is not None and quarantine.next_attempt > now:
        return quarantine_sentence(job, quarantine)
    return f"Job {job} is resumed." if paused is not None else f"Job {job} was not paused."


def anchors_of(ledger: Ledger, job: str, names: Sequence[str]) -> tuple[str, ...]:
    """Anchors of the entries in escrow that are called so, by anchor, id in the target, or name in any case.

    Raises: RequestError when nobody who waits is called so.
    """
    escrows = ledger.escrows(job)
    anchors: set[str] = set()
    for name in names:
        linked = {ledger.anchors(job, kind, [name]).get(name) for kind in Kind}
        found = {
            one.anchor
            for one in escrows
            if one.anchor == name or one.anchor in linked or one.label.casefold() == name.casefold()
        }
        if not found:
            raise RequestError(f"No entry of {job} that failed is called {name!r}: see provisor status {job}")
        anchors |= found
    return tuple(sorted(anchors))


def _clear_watermark(ledger: Ledger, job: str, now: datetime) -> bool:
    known = ledger.watermark(job) is not None
    ledger.set_watermark(job, None, now=now)
    return known


def _clear_escrows(ledger: Ledger, job: str) -> int:
    escrows = ledger.escrows(job)
    for kind in Kind:
        ledger.drop_escrows(job, kind, [one.anchor for one in escrows if one.kind is kind])
    return len(escrows)


def _lift_quarantine(ledger: Ledger, job: str, now: datetime) -> bool:
    known = ledger.quarantine(job) is not None
    ledger.put_quarantine(job, None)
    ledger.tell_once(job, notify.QUARANTINE, None, now=now)  # when it comes back, people are told again
    return known


def _break_links(ledger: Ledger, job: str) -> int:
    broken = 0
    for kind in Kind:
        anchors = [str(anchor) for anchor in ledger.links(job, kind).index]
        ledger.drop_links(job, kind, anchors)
        broken += len(anchors)
    return broken


def _forget_staged(ledger: Ledger, job: str, now: datetime) -> int:
    with ledger.changing_staged(job) as changes:
        staged = changes.all()
        changes.drop(staged)
    ledger.tell_once(job, notify.STAGED, None, now=now)
    return len(staged)
