"""When a job has failed so much that it is tried less and less often, and when it is well again. Pure.

A job goes into quarantine at once when a system does not let it in or is not what it claims to be, and when too much
of a cycle has failed. It is tried again 6, 12 and 24 hours after that, then daily, for 28 days. The first cycle that
goes well lifts the quarantine; so do another configuration and a restart.

Source: Microsoft Entra ID, "Application provisioning in quarantine status"; the rule for small jobs and the one for
jobs that cannot run at all are Provisor's own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count

from connectors.errors import CredentialsError, FatalError, SchemaMismatchError
from tasks.expectations import CheckFailedError
from tasks.job import QuarantineRules
from tasks.ledger import JobPausedError, JobQuarantinedError, LedgerError, Pause, Quarantine


class Reason(StrEnum):
    """Why a job is in quarantine."""

    CREDENTIALS = "credentials"
    INCOMPATIBLE = "incompatible"
    FAILURES = "failures"
    TOTAL = "failures with references"
    PROPORTION = "share of failures"
    EVERYTHING = "everything failed"
    STOPS = "cannot run"


@dataclass(frozen=True, slots=True)
class Tally:
    """How the changes of a cycle ended, by number of requests. A reference is a manager or a membership."""

    done: int = 0
    failed: int = 0
    references_done: int = 0
    references_failed: int = 0
    retried: int = 0
    """Failures, references or not, of entries that had failed before this cycle."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(Tally)))

    @property
    def failures(self) -> int:
        """All failures."""
        return self.failed + self.references_failed


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a cycle is reason enough for quarantine."""

    reason: Reason
    message: str


def judge_error(error: BaseException, stops: int, rules: QuarantineRules) -> Finding | None:
    """What stopped a cycle, as a reason for quarantine; ``stops``: cycles in a row that were stopped, with this one."""
    match error:
        case CredentialsError():
            return Finding(Reason.CREDENTIALS, str(error))
        case SchemaMismatchError():
            return Finding(Reason.INCOMPATIBLE, str(error))
        case _ if is_stop(error) and stops >= rules.stops:
            return Finding(Reason.STOPS, f"{stops} cycles in a row could not be carried out. {error}")
        case _:
            return None


def is_stop(error: BaseException | None) -> bool:
    """True when a cycle was stopped by one of its systems, and not by a person, a check, the ledger or a fault."""
    return isinstance(error, FatalError) and not isinstance(error, LedgerError | CheckFailedError)


def judge_tally(tally: Tally, rules: QuarantineRules, *, again: bool = False) -> Finding | None:
    """How much of a cycle failed, as a reason for quarantine.

    ``again``: the job is in quarantine, so that what fails once more counts in the rule for small jobs. Otherwise only
    new failures do: a few entries that cannot be provisioned do not stop a job that has nothing else to do.
    """
    tried = tally.done + tally.failed
    if tally.failures >= rules.floor:
        if tally.failures > rules.total:
            return _too_many(Reason.TOTAL, tally.failures, "changes, references included,", rules.total)
        if tally.failed > rules.failures:
            return _too_many(Reason.FAILURES, tally.failed, "changes", rules.failures)
        if tally.failed >= rules.floor and tally.failed > rules.proportion * tried:
            sentence = f"{tally.failed:,} of {tried:,} changes failed, more than {rules.proportion:.0%}."
            return Finding(Reason.PROPORTION, sentence)
    new = tally.failures if again else tally.failures - tally.retried
    if new >= rules.all_of and tally.done + tally.references_done == 0:
        return Finding(Reason.EVERYTHING, f"All of the {tally.failures:,} changes that were tried failed.")
    return None


def _too_many(reason: Reason, number: int, what: str, limit: int) -> Finding:
    return Finding(reason, f"{number:,} {what} failed, more than the {limit:,} allowed per cycle.")


def enter_or_stay(
    present: Quarantine | None, finding: Finding | None, rules: QuarantineRules, *, now: datetime
) -> Quarantine | None:
    """The quarantine after a cycle that gave a reason for it, or that failed to lift it; None: there is none.

    ``finding`` None: the cycle was stopped, but not by anything that is a reason by itself.
    """
    if present is None:
        if finding is None:
            return None
        return Quarantine(
            reason=finding.reason,
            message=finding.message,
            since=now,
            began=now,
            attempts=0,
            next_attempt=next_attempt(now, rules, now=now),
        )
    same = finding is None or finding.reason == present.reason
    return Quarantine(
        reason=present.reason if finding is None else finding.reason,
        message=present.message if finding is None else finding.message,
        since=present.since if same else now,
        began=present.began,
        attempts=present.attempts + 1,
        next_attempt=next_attempt(present.began, rules, now=now),
    )


def next_attempt(began: datetime, rules: QuarantineRules, *, now: datetime) -> datetime | None:
    """When a job that went into quarantine is tried again after ``now``; None: never again by itself."""
    after = next(length for length in _ladder() if began + length > now)
    return began + after if after <= rules.give_up_after else None


def _ladder() -> Iterator[timedelta]:
    yield from (timedelta(hours=6), timedelta(hours=12))
    yield from (timedelta(days=day) for day in count(1))


def refuse_paused(job: str, pause: Pause | None) -> None:
    """Passes when a job is not paused. Raises: JobPausedError."""
    if pause is not None:
        raise JobPausedError(pause_sentence(job, pause))


def refuse_quarantined(job: str, quarantine: Quarantine | None, *, now: datetime) -> None:
    """Passes when a job is in no quarantine, or its next attempt is due. Raises: JobQuarantinedError."""
    if quarantine is not None and (quarantine.next_attempt is None or quarantine.next_attempt > now):
        raise JobQuarantinedError(quarantine_sentence(job, quarantine))


def pause_sentence(job: str, pause: Pause) -> str:
    """Who paused a job, since when and why, and how it goes on."""
    why = f": {pause.why}" if pause.why else ""
    return (
        f"Job {job} has been paused since {_moment(pause.since)} by {pause.who}{why.rstrip('.')}. "
        f"It goes on after: provisor resume {job}"
    )


def quarantine_sentence(job: str, quarantine: Quarantine) -> str:
    """Why a job is in quarantine, since when, when it is tried again, and what to do."""
    lift = f"provisor restart {job} --scope quarantine"
    if quarantine.next_attempt is None:
        when = f"It is not tried again by itself. When the cause is gone: provisor resume {job}"
    else:
        when = f"It is tried again at {_moment(quarantine.next_attempt)}. When the cause is gone: {lift}"
    return (
        f"Job {job} has been in quarantine since {_moment(quarantine.began)} ({quarantine.reason}): "
        f"{quarantine.message} {when}"
    )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
