"""When a job is tried less often, how often then, and what ends it."""

from datetime import UTC, datetime, timedelta

import pytest

from connectors.errors import (
    CredentialsError,
    FatalError,
    RejectedError,
    SchemaMismatchError,
    SettingsError,
    UnreachableError,
)
from tasks.expectations import CheckFailedError
from tasks.job import JobError, QuarantineRules
from tasks.ledger import JobPausedError, JobQuarantinedError, LeaseLostError, LedgerError, Pause, Quarantine
from tasks.quarantine import (
    Finding,
    Reason,
    Tally,
    enter_or_stay,
    is_stop,
    judge_error,
    judge_tally,
    next_attempt,
    refuse_paused,
    refuse_quarantined,
)

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
RULES = QuarantineRules()
BAD = Finding(Reason.FAILURES, "45,000 changes failed.")
WORSE = Finding(Reason.CREDENTIALS, "not let in")


@pytest.mark.parametrize(
    ("tally", "reason"),
    [
        # as published
        (Tally(failed=45_000, done=200_000), Reason.FAILURES),
        (Tally(failed=45_000), Reason.FAILURES),
        (Tally(failed=30_000, done=5_000), Reason.PROPORTION),
        (Tally(failed=20_000, done=100_000), None),
        (Tally(failed=40_000, references_failed=21_000, done=100_000), Reason.TOTAL),
        (Tally(failed=4_000, done=1), None),
        # just below and just above
        (Tally(failed=40_000, done=60_000), None),
        (Tally(failed=40_001, done=1_000_000), Reason.FAILURES),
        (Tally(failed=40_001, done=100_000), Reason.FAILURES),
        (Tally(failed=40_000, references_failed=20_000, done=60_000), None),
        (Tally(failed=40_000, references_failed=20_001, done=60_000), Reason.TOTAL),
        (Tally(failed=4_999, done=1), None),
        (Tally(failed=5_000, done=7_499), Reason.PROPORTION),
        (Tally(failed=5_000, done=7_500), None),
        # references do not count in the proportion, neither done nor failed
        (Tally(failed=5_000, done=7_499, references_done=100_000), Reason.PROPORTION),
        (Tally(failed=4_000, done=1_000, references_failed=10_000), None),
        # small jobs
        (Tally(failed=20), Reason.EVERYTHING),
        (Tally(failed=19), None),
        (Tally(failed=20, done=1), None),
        (Tally(failed=20, references_done=1), None),
        (Tally(references_failed=20), Reason.EVERYTHING),
        (Tally(failed=25, retried=6), None),
        (Tally(), None),
    ],
    ids=str,
)
def test_what_is_too_much(tally: Tally, reason: Reason | None) -> None:
    """The published thresholds with their published cases, and the rule for small jobs."""
    found = judge_tally(tally, RULES)
    assert (found.reason if found else None) == reason


def test_in_quarantine_what_fails_again_counts() -> None:
    """Otherwise a job in which everything still fails would be let out."""
    assert judge_tally(Tally(failed=25, retried=25), RULES) is None
    found = judge_tally(Tally(failed=25, retried=25), RULES, again=True)
    assert found == Finding(Reason.EVERYTHING, "All of the 25 changes that were tried failed.")


def test_thresholds_are_the_job_s() -> None:
    """Every number can be set."""
    rules = QuarantineRules(floor=10, proportion=0.1, failures=50, total=60, all_of=5)
    assert judge_tally(Tally(failed=10, done=80), rules).reason is Reason.PROPORTION
    assert judge_tally(Tally(failed=51, done=5_000), rules).reason is Reason.FAILURES
    assert judge_tally(Tally(failed=50, references_failed=11, done=5_000), rules).reason is Reason.TOTAL
    assert judge_tally(Tally(failed=5), rules).reason is Reason.EVERYTHING


@pytest.mark.parametrize(
    ("error", "stops", "reason"),
    [
        (CredentialsError("no"), 1, Reason.CREDENTIALS),
        (SchemaMismatchError("no list"), 1, Reason.INCOMPATIBLE),
        (UnreachableError("gone"), 11, None),
        (UnreachableError("gone"), 12, Reason.STOPS),
        (SettingsError("no file"), 11, None),
        (SettingsError("no file"), 12, Reason.STOPS),
        (FatalError("odd"), 12, Reason.STOPS),
        (CheckFailedError("too few rows"), 99, None),
        (LedgerError("full"), 99, None),
        (LeaseLostError("late"), 99, None),
        (JobPausedError("paused"), 99, None),
        (JobError([]), 99, None),
        (RejectedError("one"), 99, None),
        (KeyboardInterrupt(), 99, None),
        (ValueError("a bug"), 99, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_what_stops_a_cycle_at_once_and_what_only_in_a_row(
    error: BaseException, stops: int, reason: Reason | None
) -> None:
    """Credentials and a system that is not what it claims quarantine at once; a host that is away, only when it stays
    away; a check, the ledger, a person and a fault of ours never do."""
    found = judge_error(error, stops, RULES)
    assert (found.reason if found else None) == reason
    assert is_stop(error) == (isinstance(error, FatalError) and stops < 99)


def test_the_ladder_of_28_days() -> None:
    """6, 12 and 24 hours after the first failure, then daily, at last on day 28; then never again by itself."""
    began = NOW
    quarantine = enter_or_stay(None, BAD, RULES, now=began)
    tried = []
    while quarantine.next_attempt is not None:
        assert refused(quarantine, quarantine.next_attempt - timedelta(seconds=1))
        assert not refused(quarantine, quarantine.next_attempt)
        tried.append(quarantine.next_attempt - began)
        quarantine = enter_or_stay(quarantine, BAD, RULES, now=quarantine.next_attempt)
    assert tried == [6 * HOUR, 12 * HOUR, *(day * DAY for day in range(1, 29))]
    assert quarantine.attempts == 30
    assert (quarantine.began, quarantine.since) == (began, began)
    assert refused(quarantine, NOW + 1000 * DAY)


def refused(quarantine: Quarantine, now: datetime) -> bool:
    try:
        refuse_quarantined("hr", quarantine, now=now)
    except JobQuarantinedError:
        return True
    return False


@pytest.mark.parametrize(
    ("after", "expected"), [(0 * HOUR, 6 * HOUR), (7 * HOUR, 12 * HOUR), (30 * HOUR, 48 * HOUR), (28 * DAY, None)]
)
def test_an_attempt_that_comes_late_does_not_shift_the_ladder(after: timedelta, expected: timedelta | None) -> None:
    """Whoever starts cycles may be late; the next step is the next one of the ladder."""
    found = next_attempt(NOW, RULES, now=NOW + after)
    assert (found - NOW if found else None) == expected


def test_the_end_can_be_set() -> None:
    """A job may give up sooner."""
    assert next_attempt(NOW, QuarantineRules(give_up_after="1d"), now=NOW + 12 * HOUR) == NOW + DAY
    assert next_attempt(NOW, QuarantineRules(give_up_after="1d"), now=NOW + DAY) is None


def test_another_reason_is_written_down_with_its_own_moment() -> None:
    """The quarantine goes on; people see what it is about now, and since when."""
    first = enter_or_stay(None, BAD, RULES, now=NOW)
    second = enter_or_stay(first, WORSE, RULES, now=NOW + 6 * HOUR)
    assert (second.reason, second.message) == (Reason.CREDENTIALS, "not let in")
    assert (second.began, second.since, second.attempts) == (NOW, NOW + 6 * HOUR, 1)


def test_a_stop_that_is_no_reason_keeps_the_quarantine_and_makes_none() -> None:
    """A host that is away for a moment neither lets a job out of quarantine nor puts it in."""
    present = enter_or_stay(None, BAD, RULES, now=NOW)
    kept = enter_or_stay(present, None, RULES, now=NOW + 6 * HOUR)
    assert (kept.reason, kept.since, kept.attempts, kept.next_attempt) == (BAD.reason, NOW, 1, NOW + 12 * HOUR)
    assert enter_or_stay(None, None, RULES, now=NOW) is None


def test_the_sentences_say_what_to_do() -> None:
    """State, reason, since when, when next, and the command that ends it."""
    refuse_paused("hr", None)
    refuse_quarantined("hr", None, now=NOW)
    with pytest.raises(JobPausedError) as paused:
        refuse_paused("hr", Pause(NOW, "eve", "holidays."))
    assert str(paused.value) == (
        "Job hr has been paused since 2026-03-15 12:00 UTC by eve: holidays. It goes on after: provisor resume hr"
    )
    present = enter_or_stay(None, BAD, RULES, now=NOW)
    with pytest.raises(JobQuarantinedError) as waiting:
        refuse_quarantined("hr", present, now=NOW)
    assert str(waiting.value) == (
        "Job hr has been in quarantine since 2026-03-15 12:00 UTC (failures): 45,000 changes failed. "
        "It is tried again at 2026-03-15 18:00 UTC. "
        "When the cause is gone: provisor restart hr --scope quarantine"
    )
    over = enter_or_stay(present, BAD, RULES, now=NOW + 28 * DAY)
    with pytest.raises(JobQuarantinedError, match=r"not tried again by itself.* provisor resume hr"):
        refuse_quarantined("hr", over, now=NOW + 99 * DAY)
