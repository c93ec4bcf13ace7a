"""Cycles and the watermark: what a job has been through, and how far it has read."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Thread

import pytest
import sqlalchemy as sa

from tasks.ledger import COUNTS, Cycle, CycleEnd, CycleKind, CycleState, LeaseLostError, Ledger
from tasks.ledger.tables import SCHEMA


def test_cycles_are_numbered_within_their_job(ledger: Ledger, now: datetime) -> None:
    """People speak of cycle 3 of a job."""
    numbers = [
        ledger.begin_cycle(job, CycleKind.INITIAL, fingerprint="f", now=now).number
        for job in ("hr", "crm", "hr", "hr", "crm")
    ]
    assert numbers == [1, 1, 2, 3, 2]
    assert ledger.jobs() == ["crm", "hr"]


def test_a_cycle_is_remembered_with_what_came_of_it(ledger: Ledger, now: datetime) -> None:
    """Everything that is told at the beginning and at the end can be read again, to the microsecond."""
    later = now + timedelta(minutes=3)
    cycle = ledger.begin_cycle("hr", CycleKind.RECONCILE, fingerprint="f1", now=now, flow_run_id="run-1")
    assert cycle == Cycle(
        id=cycle.id,
        number=1,
        job="hr",
        kind=CycleKind.RECONCILE,
        state=CycleState.RUNNING,
        fingerprint="f1",
        began=now,
        flow_run_id="run-1",
    )
    end = CycleEnd(
        CycleState.DONE_WITH_FAILURES,
        {"created": 2, "failed": 1},
        message="One failed.",
        now=later,
        watermark="w1",
        source_count=10,
        source_members=30,
        target_count=8,
    )
    ended = ledger.end_cycle(cycle, end)
    assert ended == ledger.last_cycle("hr")
    assert ended.counts == {"created": 2, "failed": 1}
    assert (ended.state, ended.ended, ended.message) == (CycleState.DONE_WITH_FAILURES, later, "One failed.")
    assert (ended.watermark, ended.source_count, ended.target_count) == ("w1", 10, 8)


def test_latest_cycles_come_first_and_can_be_asked_for_by_state(ledger: Ledger, now: datetime) -> None:
    """The next cycle's kind depends on the last one that ended well, not on the last one."""
    for state in (CycleState.DONE, CycleState.STAGED, CycleState.STOPPED):
        cycle = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now)
        ledger.end_cycle(cycle, CycleEnd(state, {}, message="", now=now))
    assert [cycle.number for cycle in ledger.cycles("hr", limit=2)] == [3, 2]
    last = ledger.last_cycle("hr", states={CycleState.DONE, CycleState.DONE_WITH_FAILURES})
    assert last is not None
    assert last.number == 1
    assert ledger.last_cycle("hr", states={CycleState.CRASHED}) is None
    assert ledger.last_cycle("nobody") is None


def test_the_cycle_of_a_dead_process_is_found_crashed(open_ledger: Callable[[], Ledger], now: datetime) -> None:
    """The next cycle of the job says so; other jobs' running cycles are left alone."""
    dead = open_ledger()
    dead.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now)
    dead.begin_cycle("crm", CycleKind.INITIAL, fingerprint="f", now=now)
    dead.close()
    ledger = open_ledger()
    ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now)
    assert [cycle.state for cycle in ledger.cycles("hr")] == [CycleState.RUNNING, CycleState.CRASHED]
    crashed = ledger.cycles("hr")[1]
    assert crashed.ended is None
    assert "died" in crashed.message
    assert [cycle.state for cycle in ledger.cycles("crm")] == [CycleState.RUNNING]


def test_a_cycle_that_was_given_up_cannot_move_the_watermark(ledger: Ledger, now: datetime) -> None:
    """A process thought dead that wakes up again must not say how far the job has come."""
    slow = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now)
    ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now)
    with pytest.raises(LeaseLostError):
        ledger.end_cycle(slow, CycleEnd(CycleState.DONE, {}, message="", now=now, watermark="w9"))
    assert ledger.watermark("hr") is None
    assert ledger.cycles("hr")[1].state is CycleState.CRASHED


def test_the_watermark_moves_with_the_end_of_a_cycle_or_by_hand(ledger: Ledger, now: datetime) -> None:
    """A cycle that gives none leaves it where it was; None clears it."""
    assert ledger.watermark("hr") is None
    for watermark, expected in (("w1", "w1"), (None, "w1"), ("w2", "w2")):
        cycle = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now)
        ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, {}, message="", now=now, watermark=watermark))
        assert ledger.watermark("hr") == expected
    ledger.set_watermark("hr", "by hand", now=now)
    assert ledger.watermark("hr") == "by hand"
    ledger.set_watermark("hr", None, now=now)
    assert ledger.watermark("hr") is None


def test_two_beginners_never_get_the_same_number(open_ledger: Callable[[], Ledger], now: datetime) -> None:
    """Even without a lease, numbers are given once."""
    ledgers = [open_ledger() for _ in range(3)]
    numbers: list[int] = []

    def begin(ledger: Ledger) -> None:
        for _ in range(5):
            numbers.append(ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now).number)  # noqa: PERF401

    threads = [Thread(target=begin, args=(ledger,)) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 16))


def test_the_view_runs_shows_every_count_as_a_column(ledger: Ledger, now: datetime) -> None:
    """People read it with SQL; a count that was not given is 0, a running cycle has no length."""
    counts = {name: number for number, name in enumerate(COUNTS, 1)}
    cycle = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now)
    ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, counts, message="", now=now + timedelta(seconds=90.5)))
    ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f", now=now)
    view = "runs" if ledger._database.sqlite else f"{SCHEMA}.runs"
    with ledger._database.reading() as connection:
        done, running = connection.execute(sa.text(f"SELECT * FROM {view} ORDER BY cycle")).mappings().all()
    assert {name: done[name] for name in COUNTS} == counts
    assert (done["job"], done["cycle"], done["state"], float(done["duration_s"])) == ("hr", 1, "done", 90.5)
    assert {running[name] for name in COUNTS} == {0}
    assert running["duration_s"] is None
