"""What holds a whole job back, since when, and what people have been told about it."""

from datetime import datetime, timedelta

import pandas as pd
import pytest

from connectors.contract import Action, Change, Kind, Outcome, Status
from tasks.ledger import (
    Cycle,
    Ledger,
    LogAction,
    LogEntry,
    LogStatus,
    Pause,
    Quarantine,
    Staged,
    StagedState,
    log_outcome,
)


def test_a_pause_is_kept_until_it_is_ended(ledger: Ledger, now: datetime) -> None:
    """Of one job only; ending it twice is quiet."""
    pause = Pause(now, "eve", "payroll is wrong")
    ledger.pause("hr", Pause(now, "ann", "first"))
    ledger.pause("hr", pause)
    assert ledger.paused("hr") == pause
    assert ledger.paused("crm") is None
    ledger.resume("hr")
    ledger.resume("hr")
    assert ledger.paused("hr") is None


def test_a_quarantine_is_kept_replaced_and_lifted(ledger: Ledger, now: datetime) -> None:
    """A null next attempt, never again by itself, comes back as null."""
    first = Quarantine("credentials", "401", now, now, 1, now + timedelta(hours=6))
    ledger.put_quarantine("hr", first)
    ended = Quarantine("failures", "60 %", now, now, 9, None)
    ledger.put_quarantine("crm", ended)
    assert ledger.quarantine("hr") == first
    ledger.put_quarantine("hr", ended)
    assert ledger.quarantine("hr") == ended
    ledger.put_quarantine("hr", None)
    assert ledger.quarantine("hr") is None
    assert ledger.quarantine("crm") == ended


def test_the_same_is_told_once(ledger: Ledger, now: datetime) -> None:
    """Another text is news; what ended and comes back is news again; topics and jobs do not know of each other."""

    def tell(job: str, topic: str, said: str | None) -> bool:
        return ledger.tell_once(job, topic, said, now=now)

    assert tell("hr", "quarantine", "credentials")
    assert not tell("hr", "quarantine", "credentials")
    assert tell("hr", "quarantine", "failures")
    assert tell("hr", "staged", "failures")
    assert tell("crm", "quarantine", "failures")
    assert not tell("hr", "quarantine", None)
    assert tell("hr", "quarantine", "failures")


@pytest.mark.parametrize(("state", "kept"), [("disabled", True), ("active", False)])
def test_a_state_lasts_while_it_is_written_again(
    ledger: Ledger, cycle: Cycle, now: datetime, state: str, kept: bool
) -> None:
    """Grace periods count from when an account was disabled, whatever else was written since."""
    later = now + timedelta(days=9)
    for moment, value in ((now, "disabled"), (later, state)):
        frame = pd.DataFrame({"target_id": ["1"], "state": [value]}, index=pd.Index(["a"], name="anchor"))
        ledger.put_links("hr", Kind.USER, frame, cycle_id=cycle.id, now=moment)
    since = pd.to_datetime(ledger.links("hr", Kind.USER)["state_since"], utc=True, format="ISO8601")
    assert since.iloc[0] == (now if kept else later)


def test_removals_that_were_done_are_counted_over_time(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Disables and deletes only, only done ones, only since the moment asked for."""
    changes = [
        Change(id=str(number), kind=Kind.USER, action=action, anchor=str(number), target_id=f"t{number}")
        for number, action in enumerate((Action.DISABLE, Action.DELETE, Action.UPDATE, Action.DISABLE))
    ]
    statuses = (Status.DONE, Status.DONE, Status.DONE, Status.REJECTED)
    outcomes = [Outcome(change.id, status) for change, status in zip(changes, statuses, strict=True)]
    ledger.journal(cycle, changes, now)
    log = [log_outcome(change, outcome) for change, outcome in zip(changes, outcomes, strict=True)]
    ledger.record(cycle, changes, outcomes, now=now, log=log)
    assert ledger.removals("hr", since=now) == 2
    assert ledger.removals("hr", since=now + timedelta(seconds=1)) == 0
    assert ledger.removals("crm", since=now) == 0


def test_the_budget_believes_only_what_the_removal_says_of_itself(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """An approval of something else about the same person takes nothing out of the count."""
    update = LogEntry(Kind.USER, LogAction.APPROVE, LogStatus.SUCCESS, "a", reason="update: approved by eve")
    removal = LogEntry(Kind.USER, LogAction.DISABLE, LogStatus.SUCCESS, "a", counted=1)
    approved = LogEntry(Kind.USER, LogAction.DELETE, LogStatus.SUCCESS, "b", counted=0)
    unknown = LogEntry(Kind.USER, LogAction.DELETE, LogStatus.SUCCESS, "c")
    ledger.log_entries(cycle, [update, removal, approved, unknown], now=now)
    assert ledger.removals("hr", since=now) == 2


def test_members_taken_out_are_counted_by_group(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """As many as each line says; what was approved, or followed its member, says nothing."""

    def removal(group: str, counted: int | None) -> LogEntry:
        return LogEntry(Kind.GROUP, LogAction.REMOVE_MEMBERS, LogStatus.SUCCESS, group, counted=counted)

    lines = [removal("g", 3), removal("g", 4), removal("g", 0), removal("h", 1), removal("i", None)]
    ledger.log_entries(cycle, lines, now=now)
    assert ledger.members_removed("hr", since=now) == {"g": 7, "h": 1}
    assert ledger.members_removed("hr", since=now + timedelta(seconds=1)) == {}


def test_a_held_change_comes_back_as_it_was_held(ledger: Ledger, now: datetime) -> None:
    """Guards, cause, values and who decided are all in the ledger."""
    held = Staged(
        Kind.USER,
        Action.DISABLE,
        "a",
        now,
        1,
        "too many",
        guards=("removals", "budget"),
        cause="gone from the source",
        target_id="t1",
        state=StagedState.APPROVED,
        who="Eve",
        identity="eve@laptop",
        digests=(("active", "d1"), ("title", "d2")),
    )
    ledger.put_staged("hr", [held])
    assert ledger.staged("hr") == [held]
