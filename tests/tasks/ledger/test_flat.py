"""What a cycle asks of the ledger costs the same after years as on the first day."""

import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from connectors.contract import Kind
from tasks.ledger import Cycle, CycleEnd, CycleKind, CycleState, Ledger

HERE = "https://app.example.com/v2"
ASKED = [f"t{number}" for number in range(50)]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """On SQLite, which counts its steps."""
    return Ledger.open(None, tmp_path)


def link(ledger: Ledger, cycle: Cycle, now: datetime, numbers: range) -> None:
    index = pd.Index([f"p{number}" for number in numbers], name="anchor")
    frame = pd.DataFrame({"target_id": [f"t{number}" for number in numbers]}, index=index)
    ledger.put_links(cycle.job, Kind.USER, frame, cycle_id=cycle.id, now=now, under=cycle)


def steps_of(ledger: Ledger, ask: Callable[[], object]) -> int:
    """Instructions of SQLite's machine, tens of them: the more rows it reads, the more they are."""
    counted = 0

    def count() -> int:
        nonlocal counted
        counted += 1
        return 0

    def watch(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_progress_handler(count, 10)

    event.listen(Engine, "checkout", watch)
    try:
        ask()
    finally:
        event.remove(Engine, "checkout", watch)
    assert counted, "nothing was counted"
    return counted


def test_who_owns_an_account_is_asked_of_an_index(ledger: Ledger, now: datetime) -> None:
    """Another job's links grow with everybody who ever left; 50 accounts are looked up as quickly among 20,000."""
    one = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now, target=HERE)
    ledger.begin_cycle("crm", CycleKind.INITIAL, fingerprint="f", now=now, target=HERE)
    link(ledger, one, now, range(100))

    def ask() -> None:
        assert ledger.owners_elsewhere("crm", HERE, Kind.USER, ASKED) == dict.fromkeys(ASKED, "hr")

    first = steps_of(ledger, ask)
    link(ledger, one, now, range(100, 20_000))
    assert steps_of(ledger, ask) <= 1.2 * first + 1


def test_whether_a_plan_was_carried_out_is_asked_of_an_index(ledger: Ledger, now: datetime) -> None:
    """Cycles that did something are kept for ever."""

    def years(count: int) -> None:
        for number in range(count):
            cycle = ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f", now=now + timedelta(hours=number))
            if number % 10 == 0:
                ledger.begin_plan(cycle, f"{number:016x}")
            ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, {"updated": 1}, message="Done.", now=now))

    def ask() -> None:
        assert ledger.cycle_of_plan("hr", "never") is None

    years(20)
    first = steps_of(ledger, ask)
    years(200)
    assert steps_of(ledger, ask) <= 1.2 * first + 1
    found = ledger.cycle_of_plan("hr", f"{10:016x}")
    assert found is not None
    assert found.initiator == f"by plan {10:016x}"
