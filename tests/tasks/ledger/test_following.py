"""Whose turn it is among jobs that run after others: changes that were carried out, and not looked at since."""

from collections.abc import Callable
from datetime import datetime

from connectors.contract import Kind
from tasks.ledger import Cycle, CycleEnd, CycleKind, CycleState, Ledger, LogAction, LogEntry, LogStatus


def begin(ledger: Ledger, job: str, now: datetime, after: tuple[str, ...] = (), kind: str = "incremental") -> Cycle:
    return ledger.begin_cycle(job, CycleKind(kind), fingerprint="f", now=now, after=after)


def end(ledger: Ledger, cycle: Cycle, now: datetime, state: CycleState = CycleState.DONE) -> None:
    ledger.end_cycle(cycle, CycleEnd(state, {}, now))


def change(ledger: Ledger, cycle: Cycle, now: datetime, status: LogStatus = LogStatus.SUCCESS) -> None:
    """A line about a change that was sent."""
    entry = LogEntry(kind=Kind.USER, action=LogAction.CREATE, status=status, anchor="1", change_id=f"{cycle.id:08d}-1")
    ledger.log_entries(cycle, [entry], now=now)


def ran(ledger: Ledger, job: str, now: datetime, state: CycleState = CycleState.DONE, *, changed: bool = True) -> Cycle:
    cycle = begin(ledger, job, now)
    if changed:
        change(ledger, cycle, now)
    end(ledger, cycle, now, state)
    return cycle


def test_changes_that_were_carried_out_are_news_until_they_are_looked_at(ledger: Ledger, now: datetime) -> None:
    """A job that never ran has everything to look at; one that looked, what came later."""
    assert ledger.following.news("apps", ["ad"]) == {}
    ran(ledger, "ad", now)
    assert ledger.following.news("apps", ["ad", "other"]) == {"ad": 1}
    end(ledger, begin(ledger, "apps", now, after=("ad",)), now)
    assert ledger.following.news("apps", ["ad"]) == {}
    assert ledger.following.looked("apps") == {"ad": 1}
    ran(ledger, "ad", now, changed=False)
    assert ledger.following.news("apps", ["ad"]) == {}
    ran(ledger, "ad", now)
    ran(ledger, "ad", now, changed=False)
    assert ledger.following.news("apps", ["ad"]) == {"ad": 3}


def test_what_failed_or_was_held_is_no_change(ledger: Ledger, now: datetime) -> None:
    """A line without a change, and a change that the target refused, leave nothing to be looked at."""
    cycle = begin(ledger, "ad", now)
    change(ledger, cycle, now, LogStatus.FAILURE)
    note = LogEntry(kind=Kind.USER, action=LogAction.SKIP, status=LogStatus.SUCCESS, anchor="2")
    ledger.log_entries(cycle, [note], now=now)
    end(ledger, cycle, now, CycleState.DONE_WITH_FAILURES)
    assert ledger.following.news("apps", ["ad"]) == {}


def test_a_stopped_cycle_and_a_dead_one_count_by_what_they_carried_out(ledger: Ledger, now: datetime) -> None:
    """The dead one once the next has taken over: until then nobody knows that it has ended."""
    ran(ledger, "ad", now, CycleState.STOPPED)
    assert ledger.following.news("apps", ["ad"]) == {"ad": 1}
    end(ledger, begin(ledger, "apps", now, after=("ad",)), now)
    change(ledger, begin(ledger, "ad", now), now)  # and its process dies
    assert ledger.following.news("apps", ["ad"]) == {}
    ran(ledger, "ad", now, changed=False)
    assert ledger.following.news("apps", ["ad"]) == {"ad": 2}


def test_what_ends_while_a_job_looks_is_looked_at_again(ledger: Ledger, now: datetime) -> None:
    """A cycle before it was half done when it read its source."""
    before = begin(ledger, "ad", now)
    change(ledger, before, now)
    looking = begin(ledger, "apps", now, after=("ad",))
    end(ledger, before, now)
    end(ledger, looking, now)
    assert ledger.following.news("apps", ["ad"]) == {"ad": 1}


def test_only_a_cycle_that_has_finished_and_looked_at_everybody_has_looked(ledger: Ledger, now: datetime) -> None:
    """Not one that was stopped, that died, or that was about one entry; one that waits for approval has."""
    ran(ledger, "ad", now)
    end(ledger, begin(ledger, "apps", now, after=("ad",)), now, CycleState.STOPPED)
    end(ledger, begin(ledger, "apps", now, after=("ad",), kind="on demand"), now)
    begin(ledger, "apps", now, after=("ad",))
    assert ledger.following.news("apps", ["ad"]) == {"ad": 1}
    end(ledger, begin(ledger, "apps", now, after=("ad",)), now, CycleState.STAGED)
    assert ledger.following.news("apps", ["ad"]) == {}


def test_every_process_sees_the_same(open_ledger: Callable[[], Ledger], now: datetime) -> None:
    """Nothing of it is in memory: a machine that starts anew makes up for what another has missed."""
    ran(open_ledger(), "ad", now)
    assert open_ledger().following.news("apps", ["ad"]) == {"ad": 1}
