"""Held changes are read and changed in one transaction, on both databases: of two, one is first."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from connectors.contract import Action, Kind
from tasks.ledger import Cycle, Ledger, LogAction, LogEntry, LogStatus, RunPurpose, RunRequest, Staged, StagedState


@pytest.fixture
def held(ledger: Ledger, cycle: Cycle, now: datetime) -> Staged:
    one = Staged(Kind.USER, Action.DISABLE, "a1", now, cycle.id, "12 of 20 removals", target_id="t1", label="ann")
    ledger.put_staged("hr", [one])
    return one


def test_who_comes_second_sees_what_the_first_has_written(open_ledger: Callable[[], Ledger], held: Staged) -> None:
    """Two processes: the second is let in when the first has committed, and sees it, though it asked before."""
    first, second = open_ledger(), open_ledger()
    seen: list[list[StagedState]] = []
    asking = threading.Event()

    def look() -> None:
        asking.set()
        with second.changing_staged("hr") as changes:
            seen.append([one.state for one in changes.all()])

    other = threading.Thread(target=look)
    with first.changing_staged("hr") as changes:
        other.start()
        assert asking.wait(10)
        other.join(0.3)  # as long as it does not wait for the first, it is done by then
        assert seen == []
        changes.drop([held])
        changes.put([replace(held, state=StagedState.APPROVED)])
    other.join(60)
    assert seen == [[StagedState.APPROVED]]


def test_what_fails_on_the_way_changes_nothing(ledger: Ledger, cycle: Cycle, held: Staged, now: datetime) -> None:
    """Neither what waits nor the log: a decision without its line would be one of nobody."""
    line = LogEntry(Kind.USER, LogAction.APPROVE, LogStatus.SUCCESS, "a1")

    def die() -> None:
        with ledger.changing_staged("hr") as changes:
            changes.put([replace(held, state=StagedState.APPROVED)])
            changes.log(cycle, [line], now=now)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        die()
    assert ledger.staged("hr") == [held]
    assert ledger.last_decision("hr", [], since=now) is None


def test_who_runs_a_job_is_known(ledger: Ledger, now: datetime) -> None:
    """As long as the lease lasts; on PostgreSQL its own clock says how long that is."""
    with ledger.changing_staged("hr") as changes:
        assert changes.runner(now) is None
    lease = ledger.acquire_lease("hr", "worker-1", now=now, duration=timedelta(hours=1))
    with ledger.changing_staged("hr") as changes:
        assert changes.runner(now) == "worker-1"
    ledger.release_lease(lease)
    with ledger.changing_staged("hr") as changes:
        assert changes.runner(now) is None


def test_the_latest_decision_is_found(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """About some entries or any; no other line is one."""
    for minutes, anchor, action in (
        (0, "a1", LogAction.REJECT),
        (1, "a2", LogAction.APPROVE),
        (2, "a3", LogAction.SKIP),
    ):
        entry = LogEntry(Kind.USER, action, LogStatus.SUCCESS, anchor)
        ledger.log_entries(cycle, [entry], now=now + timedelta(minutes=minutes))

    def found(anchors: list[str], since: datetime, kind: Kind = Kind.USER) -> str:
        line = ledger.last_decision("hr", [(kind, one) for one in anchors], since=since)
        return line.anchor if line is not None else ""

    assert found([], now) == "a2"
    assert found(["a1", "a3"], now) == "a1"
    assert found(["a3"], now) == ""
    assert found(["a1"], now, Kind.GROUP) == ""  # a group with the anchor of a user is another entry
    assert found([], now + timedelta(minutes=2)) == ""
    assert ledger.last_decision("crm", [], since=now) is None


def test_whose_run_it_is_the_key_says_and_for_its_job_alone(ledger: Ledger, now: datetime) -> None:
    """What is old is forgotten."""
    request = RunRequest("hr", "maria", RunPurpose.DECISION)
    ledger.run_requests.put("a key", request, now=now)
    assert ledger.run_requests.of("a key", "hr") == request
    assert ledger.run_requests.of("a key", "crm") is None
    assert ledger.run_requests.of("another", "hr") is None
    ledger.run_requests.put("a later key", RunRequest("hr", "eve", RunPurpose.RUN), now=now + timedelta(days=91))
    assert ledger.run_requests.of("a key", "hr") is None
