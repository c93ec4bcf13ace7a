"""How a job in which nothing happens grows: a year of quiet cycles, every 20 minutes, in accelerated form.

    python -m tests.benchmarks.growth [CYCLES]

Replays what a quiet cycle of the demo asks of the ledger and writes into it (32 notes, its counts), and what Prefect's
database gets (a run with states, task runs, log lines and artifacts), with the pruning that real runs do. The clock is
moved on by hand. Prints sizes, and the CPU time of the last cycles against that of the first.
"""

import shutil
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from uuid import uuid4

import pandas as pd

from connectors.contract import Kind
from connectors.errors import ErrorCode
from flows.serve.keep_small import prune_history
from flows.serve.prefect_database import made_template
from tasks.ledger import CycleEnd, CycleKind, CycleState, Ledger, LogAction, LogEntry, LogStatus
from tasks.ledger.noting import compare_notes
from tests.flows.test_keep_small import insert

CYCLES = 26_000
GAP = timedelta(minutes=20)
NOTES = [
    LogEntry(
        kind=Kind.USER,
        action=LogAction.SKIP,
        status=LogStatus.WARNING,
        anchor=f"{number:06d}",
        label=f"person{number}@example.com",
        code=ErrorCode.UNRESOLVED_REFERENCE,
        message=f"the manager {number + 1:06d} has no account",
    )
    for number in range(32)
]
TIMED, TIMED_EVERY = 100, 50
"""The first and last cycles, and some between, are replayed whole and timed; of the others what they write."""
PRUNED_EVERY = 72
"""Cycles between two starts of a server: a day of them."""


def main(cycles: int) -> None:
    """Replays and prints."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as folder:
        home, prefect = Path(folder), Path(folder) / "prefect.db"
        shutil.copyfile(made_template(), prefect)
        took: list[float] = []
        print(f"{'cycles':>8}  {'ledger':>9}  {'Prefect':>9}  {'CPU a cycle':>11}")
        with Ledger.open(None, home) as ledger, closing(sqlite3.connect(prefect)) as history:
            _first(ledger, start)
            flow = insert(history, "flow", name="provision")
            for number in range(1, cycles + 1):
                moment = start + number * GAP
                if number <= TIMED or number % TIMED_EVERY == 0 or number > cycles - TIMED:
                    began = time.process_time()
                    _quiet(ledger, moment)
                    took.append(time.process_time() - began)
                else:  # what is only read leaves nothing behind
                    _write(ledger, moment)
                if number % PRUNED_EVERY == 0:
                    _forget(ledger, moment)
                _run(history, flow, moment)
                if number % PRUNED_EVERY == 0:
                    history.commit()
                    prune_history(prefect, now=moment)
                if number % (cycles // 13 or 1) == 0:
                    _say(number, home / "ledger.sqlite", prefect, took[-20:])
        first, last = median(took[:TIMED]), median(took[-TIMED:])
        print(f"CPU of a cycle: first {first * 1000:.1f} ms, last {last * 1000:.1f} ms: {last / first:.2f} times")


def _say(number: int, ledger: Path, prefect: Path, took: list[float]) -> None:
    sizes = [f"{path.stat().st_size / 1e6:7.1f} MB" for path in (ledger, prefect)]
    print(f"{number:>8,}  {sizes[0]}  {sizes[1]}  {median(took) * 1000:6.1f} ms", flush=True)


def _first(ledger: Ledger, moment: datetime) -> None:
    """The initial cycle: a thousand links."""
    cycle = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=moment)
    index = pd.Index([f"{number:06d}" for number in range(1_000)])
    frame = pd.DataFrame({"target_id": [f"t{number}" for number in range(1_000)]}, index=index)
    ledger.put_links("hr", Kind.USER, frame, cycle_id=cycle.id, now=moment)
    end = CycleEnd(CycleState.DONE, {"created": 1_000}, message="Done.", now=moment, target="scim here")
    ledger.end_cycle(cycle, end)


def _quiet(ledger: Ledger, moment: datetime) -> None:
    """What a cycle without a change reads and writes."""
    _look(ledger, moment)
    _write(ledger, moment)
    ledger.cycles("hr", 30)
    _forget(ledger, moment)


def _forget(ledger: Ledger, moment: datetime) -> None:
    """Each cycle does it; a day of them at once leaves as little."""
    if ledger.forget_quiet("hr", before=moment - timedelta(days=30)):
        ledger.give_back()


def _look(ledger: Ledger, moment: datetime) -> None:
    for kind in Kind:
        ledger.links("hr", kind)
    ledger.owners_elsewhere("hr", "scim here", Kind.USER, [f"t{number}" for number in range(1_000)])
    ledger.staged("hr")
    ledger.escrows("hr")
    ledger.open_attempts("hr")
    ledger.source_counts("hr")
    ledger.removals("hr", since=moment - timedelta(days=7))
    ledger.cycle_of_plan("hr", "a-plan")
    ledger.last_cycle("hr")


def _write(ledger: Ledger, moment: datetime) -> None:
    cycle = ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f", now=moment)
    noted = compare_notes(NOTES, ledger.noted("hr"), partial=False)
    ledger.log_entries(cycle, noted.lines, now=moment)
    ledger.keep_noted(cycle, noted, now=moment)
    end = CycleEnd(
        CycleState.DONE,
        {},
        message="Done: nothing to do.",
        now=moment,
        watermark=moment.isoformat(),
        source_count=1_000,
        target="scim here",
    )
    ledger.end_cycle(cycle, end)


def _run(history: sqlite3.Connection, flow: str, moment: datetime) -> None:
    """What Prefect keeps of one run, about as much as it is."""
    at = f"{moment:%Y-%m-%d %H:%M:%S}.000000"
    run = insert(history, "flow_run", flow_id=flow, name=f"hr {at}", state_type="COMPLETED", end_time=at)
    for number in range(3):
        insert(history, "flow_run_state", flow_run_id=run, timestamp=f"{at[:-1]}{number}", message="x" * 100)
    for number in range(3):
        insert(history, "task_run", flow_run_id=run, name=f"task {number}")
        insert(history, "events", occurred=at, payload="x" * 2_000)
    _copy_rows(history, "log", insert(history, "log", flow_run_id=run, timestamp=at, message="x" * 120), 39)
    for key in ("plan", "cycle"):
        insert(history, "artifact", flow_run_id=run, key=key, data="x" * 6_000)


def _copy_rows(history: sqlite3.Connection, table: str, key: str, times: int) -> None:
    """More rows like one of them, at once."""
    names = [name for _, name, *_ in history.execute(f"PRAGMA table_info({table})") if name != "id"]
    columns = ", ".join(names)
    history.executemany(
        f"INSERT INTO {table} (id, {columns}) SELECT ?, {columns} FROM {table} WHERE id = ?",
        [(str(uuid4()), key) for _ in range(times)],
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CYCLES)
