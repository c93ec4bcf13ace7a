"""A job in which nothing happens leaves next to nothing behind."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.contract import Kind
from connectors.errors import ErrorCode
from tasks.ledger import Cycle, CycleEnd, CycleKind, CycleState, Ledger, LogAction, LogEntry, LogStatus
from tasks.ledger.noting import compare_notes

NOTE = LogEntry(
    kind=Kind.USER,
    action=LogAction.SKIP,
    status=LogStatus.WARNING,
    anchor="a",
    label="Ann",
    code=ErrorCode.UNRESOLVED_REFERENCE,
    message="her manager b has no account",
)
OTHER = replace(NOTE, message="her manager c has no account")


def test_a_note_is_said_when_it_appears_when_it_changes_and_when_it_is_over(
    ledger: Ledger, cycle: Cycle, now: datetime
) -> None:
    """And in no cycle between."""
    said = []
    for notes in ([NOTE], [NOTE], [OTHER], [OTHER], [], []):
        noted = compare_notes(notes, ledger.noted("hr"), partial=False)
        ledger.keep_noted(cycle, noted, now=now)
        said.append([(line.status, line.message) for line in noted.lines])
    warning, over = LogStatus.WARNING, LogStatus.SUCCESS
    assert said == [
        [(warning, NOTE.message)],
        [],
        [(warning, OTHER.message)],
        [],
        [(over, f"No longer so: {OTHER.message}")],
        [],
    ]
    assert ledger.noted("hr") == {}


def test_a_note_whose_label_changes_is_the_same(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """A new name is no news about what is missing."""
    ledger.keep_noted(cycle, compare_notes([NOTE], {}, partial=False), now=now)
    assert compare_notes([replace(NOTE, label="Ann Lee")], ledger.noted("hr"), partial=False).lines == []


def test_a_cycle_about_one_entry_ends_nobodys_note(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """It looks at one entry: that it says nothing about others means nothing."""
    ledger.keep_noted(cycle, compare_notes([NOTE], {}, partial=False), now=now)
    noted = compare_notes([], ledger.noted("hr"), partial=True)
    assert (noted.lines, noted.drop) == ([], ())


def test_notes_of_jobs_are_apart(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """What one job has said, another one has not."""
    ledger.keep_noted(cycle, compare_notes([NOTE], {}, partial=False), now=now)
    assert ledger.noted("other") == {}
    ledger.tell_once("hr", "weekly", "x", now=now)
    assert len(ledger.noted("hr")) == 1


def run_cycle(ledger: Ledger, moment: datetime, counts: dict[str, int], *, line: bool = False) -> int:
    """One cycle that has ended."""
    cycle = ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f", now=moment)
    if line:
        ledger.log_entries(cycle, [NOTE], now=moment)
    ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, counts, message="", now=moment))
    return cycle.number


def test_quiet_cycles_are_forgotten_and_others_never(ledger: Ledger, now: datetime) -> None:
    """What did something, and what the log speaks of, stays; so do the last hundred and what is not old enough."""
    day = timedelta(days=1)
    first = now - 32 * day
    numbers = {
        name: run_cycle(ledger, first, counts, line=name == "logged")
        for name, counts in {"quiet": {}, "wrote": {"disabled": 1}, "failed": {"failed": 1}, "logged": {}}.items()
    }
    fresh = [run_cycle(ledger, now - 29 * day, {}) for _ in range(3)]
    for _ in range(100):
        run_cycle(ledger, now, {})
    assert ledger.forget_quiet("hr", before=now - 30 * day) == 1
    left = {one.number for one in ledger.cycles("hr", limit=1000)}
    assert numbers["quiet"] not in left
    assert left >= {numbers["wrote"], numbers["failed"], numbers["logged"], *fresh}
    assert ledger.forget_quiet("hr", before=now - 28 * day) == 3
    assert len(ledger.cycles("hr", limit=1000)) == 103


def test_the_last_cycles_stay_however_old(ledger: Ledger, now: datetime) -> None:
    """A job that is run once a month is still known."""
    run_cycle(ledger, now, {})
    assert ledger.forget_quiet("hr", before=now + timedelta(days=1)) == 0


def test_a_file_gives_back_what_it_does_not_need(tmp_path: Path, now: datetime) -> None:
    """SQLite never makes a file smaller by itself."""
    with Ledger.open(None, tmp_path) as ledger:
        cycle = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now)
        ledger.log_entries(cycle, [replace(NOTE, anchor=f"{n}", message="x" * 500) for n in range(8_000)], now=now)
        ledger.forget_log("hr", before=now + timedelta(days=1), at_most=100_000)
        with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as connection:
            (before,) = connection.execute("PRAGMA freelist_count").fetchone()
            ledger.give_back()
            (after,) = connection.execute("PRAGMA freelist_count").fetchone()
    assert before > 1_000
    assert after <= max(0, before - 2_000)


@pytest.fixture
def now() -> datetime:
    """A whole second."""
    return datetime(2026, 3, 29, 12, tzinfo=UTC)
