"""What the ledger costs, on both databases, beside what the bare driver costs in the same run.

    python -m tests.benchmarks.ledger [--links 1000000] [--changes 100000] [--batch 500]

Prints one table per database. The ratio is the ledger's time to the bare driver's for the same rows, one transaction
per batch on both sides: read the ratios, the rates depend on the machine.
"""

import argparse
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg

from connectors.contract import Action, Change, Kind, Outcome, Status
from tasks.ledger import Cycle, CycleKind, Ledger, Link, LogAction, LogEntry, LogStatus, log_outcome
from tests.servers.starting import postgresql

NOW = datetime(2026, 3, 1, tzinfo=UTC)
JOB = "hr-to-scim"
ATTRIBUTES = {
    "userName": "user{0}@example.com",
    "displayName": "Given{0} Family{0}",
    "name.givenName": "Given{0}",
    "name.familyName": "Family{0}",
    "title": "Employee",
    'emails[type eq "work"].value': "user{0}@example.com",
}

Batches = Callable[[Callable[[list[int]], None]], float]


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", type=int, default=1_000_000)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="provisor-benchmark-") as folder:
        home = Path(folder)
        measure("SQLite", None, home, options, bare=lambda: BareSqlite(home / "bare.sqlite"))
        with postgresql() as server:
            ledger_url, bare_url = server.create_database("ledger"), server.create_database("bare")
            measure("PostgreSQL", ledger_url, home, options, bare=lambda: BarePostgresql(bare_url))


def measure(
    name: str,
    url: str | None,
    home: Path,
    options: argparse.Namespace,
    *,
    bare: "Callable[[], BareSqlite | BarePostgresql]",
) -> None:
    """Print one database's figures."""
    print(f"\n{name}")
    with timed() as first:
        Ledger.open(url, home).close()
    with timed() as again:
        ledger = Ledger.open(url, home)
    print(f"  open: first time {first[0] * 1e3:.0f} ms, again {again[0] * 1e3:.1f} ms")
    cycle = ledger.begin_cycle(JOB, CycleKind.INITIAL, fingerprint="f", now=NOW)
    driver = bare()
    measure_links(ledger, cycle, driver, options.links)
    measure_batches(ledger, cycle, driver, options.changes, options.batch)
    measure_threads(ledger, cycle, options.changes, options.batch)
    measure_log(ledger, cycle, options.changes)
    driver.close()
    ledger.close()


def measure_links(ledger: Ledger, cycle: Cycle, driver: "BareSqlite | BarePostgresql", count: int) -> None:
    """Links of a large job: written new, read, written again."""
    frame = link_frame(count)
    rows = driver.link_rows(frame)
    with timed() as bare:
        driver.write_links(rows)
    with timed() as written:
        ledger.put_links(JOB, Kind.USER, frame, cycle_id=cycle.id, now=NOW)
    line("links written, new", count, written[0], bare[0])
    with timed() as bare:
        driver.write_links(rows)
    with timed() as again:
        ledger.put_links(JOB, Kind.USER, frame, cycle_id=cycle.id, now=NOW)
    line("links written, again", count, again[0], bare[0])
    with timed() as bare:
        driver.read_links()
    with timed() as read:
        ledger.links(JOB, Kind.USER)
    line("links read into a frame", count, read[0], bare[0])
    some = random.Random(1).sample(frame.index.tolist(), min(count, 20_000))
    with timed() as looked_up:
        ledger.target_ids(JOB, Kind.USER, some)
    line("target ids looked up", len(some), looked_up[0])


def measure_batches(ledger: Ledger, cycle: Cycle, driver: "BareSqlite | BarePostgresql", count: int, size: int) -> None:
    """Creates with links and log lines, batch by batch in one thread."""
    batches = [make_batch("batch", start, size) for start in range(0, count, size)]
    bare = sum(driver.write_batch(changes, log) for changes, _, _, log in batches)
    journal = record = 0.0
    for changes, outcomes, links, log in batches:
        with timed() as took:
            ledger.journal(cycle, changes, NOW)
        journal += took[0]
        with timed() as took:
            ledger.record(cycle, changes, outcomes, now=NOW, links=links, log=log)
        record += took[0]
    line("creates journaled and recorded", count, journal + record, bare)
    each = 1e3 / len(batches)
    print(f"    a batch of {size}: journal {journal * each:.1f} ms, record {record * each:.1f}, bare {bare * each:.1f}")


def measure_threads(ledger: Ledger, cycle: Cycle, count: int, size: int) -> None:
    """The same from four threads."""
    batches = [make_batch("threads", start, size) for start in range(0, count, size)]

    def write(batch: "Batch") -> None:
        changes, outcomes, links, log = batch
        ledger.journal(cycle, changes, NOW)
        ledger.record(cycle, changes, outcomes, now=NOW, links=links, log=log)

    with timed() as took, ThreadPoolExecutor(4) as pool:
        list(pool.map(write, batches))
    line("the same, four threads", count, took[0])


def measure_log(ledger: Ledger, cycle: Cycle, count: int) -> None:
    """Skipped entries, and what people ask."""
    skips = (
        LogEntry(
            Kind.USER, LogAction.SKIP, LogStatus.SKIPPED, f"s{number}", label=f"s{number}@example.com", reason="same"
        )
        for number in range(count)
    )
    with timed() as took:
        ledger.log_entries(cycle, skips, now=NOW)
    line("skips logged", count, took[0])
    for question, filters in {
        "log: the latest 1,000": {},
        "log: one person by label": {"identity": f"S{count // 2}@example.com"},
        "log: one person by target id": {"identity": "target of batch7"},
        "log: latest 1,000 of a cycle": {"cycle": 1},
    }.items():
        with timed() as took:
            found = len(ledger.log(JOB, **filters))  # type: ignore[arg-type]
        print(f"  {question:32} {took[0] * 1e3:10.1f} ms   {found} lines")
    with timed() as took:
        ledger.open_attempts(JOB)
    print(f"  {'open attempts':32} {took[0] * 1e3:10.1f} ms")


class BareSqlite:
    """The same rows through sqlite3 alone."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -65536;"
            "PRAGMA wal_autocheckpoint = 8000;" + BARE_TABLES
        )

    def close(self) -> None:
        self.connection.close()

    def link_rows(self, frame: pd.DataFrame) -> list[tuple[object, ...]]:
        return bare_links(frame)

    def write_links(self, rows: list[tuple[object, ...]]) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany(f"INSERT INTO link VALUES ({', '.join('?' * len(rows[0]))}) {BARE_CONFLICT}", rows)
        self.connection.execute("COMMIT")

    def read_links(self) -> None:
        self.connection.execute("SELECT anchor, target_id, fingerprint, state, label FROM link").fetchall()

    def write_batch(self, changes: list[Change], log: list[LogEntry]) -> float:
        attempts, ends, links, lines = bare_batch(changes, log)
        with timed() as took:
            for steps in (
                [("INSERT INTO attempt VALUES (?,?,?,?,?,?,?,?,?,?,?)", attempts)],
                [
                    ("UPDATE attempt SET status = ?, ended_at = ?, target_id = ? WHERE change_id = ?", ends),
                    (f"INSERT INTO link VALUES (?,?,?,?,?,?,?,?,?,?,?) {BARE_CONFLICT}", links),
                    (f"INSERT INTO log ({BARE_LOG}) VALUES ({', '.join('?' * 16)})", lines),
                ],
            ):
                self.connection.execute("BEGIN IMMEDIATE")
                for statement, rows in steps:
                    self.connection.executemany(statement, rows)
                self.connection.execute("COMMIT")
        return took[0]


class BarePostgresql:
    """The same rows through psycopg's COPY alone."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url.replace("+psycopg", ""))
        for statement in BARE_TABLES.replace("INTEGER PRIMARY KEY", "BIGSERIAL PRIMARY KEY").split(";"):
            if statement.strip():
                self.connection.execute(statement)
        self.connection.execute("CREATE TEMPORARY TABLE new_link (LIKE link) ON COMMIT DELETE ROWS")
        self.connection.execute(
            "CREATE TEMPORARY TABLE ended (status text, at text, t text, id text) ON COMMIT DELETE ROWS"
        )
        self.connection.commit()

    def close(self) -> None:
        self.connection.close()

    def link_rows(self, frame: pd.DataFrame) -> list[tuple[object, ...]]:
        return bare_links(frame)

    def copy(self, into: str, rows: list[tuple[object, ...]]) -> None:
        with self.connection.cursor().copy(f"COPY {into} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def write_links(self, rows: list[tuple[object, ...]]) -> None:
        self.copy("new_link", rows)
        self.connection.execute(f"INSERT INTO link SELECT * FROM new_link {BARE_CONFLICT}")
        self.connection.commit()

    def read_links(self) -> None:
        with self.connection.cursor().copy(
            "COPY (SELECT anchor, target_id, fingerprint, state, label FROM link) TO STDOUT (FORMAT csv)"
        ) as copy:
            b"".join(copy)
        self.connection.commit()

    def write_batch(self, changes: list[Change], log: list[LogEntry]) -> float:
        attempts, ends, links, lines = bare_batch(changes, log)
        with timed() as took:
            self.copy("attempt", attempts)
            self.connection.commit()
            self.copy("ended", ends)
            self.connection.execute(
                "UPDATE attempt SET status = e.status, ended_at = e.at, target_id = e.t "
                "FROM ended e WHERE change_id = e.id"
            )
            self.copy("new_link", links)
            self.connection.execute(f"INSERT INTO link SELECT * FROM new_link {BARE_CONFLICT}")
            self.copy(f"log ({BARE_LOG})", lines)
            self.connection.commit()
        return took[0]


BARE_TABLES = """
CREATE TABLE link (job text, kind text, anchor text, target_id text, label text, fingerprint bigint, state text,
  how text, linked_at text, changed_at text, cycle_id bigint, PRIMARY KEY (job, kind, anchor),
  UNIQUE (job, kind, target_id));
CREATE TABLE attempt (change_id text PRIMARY KEY, job text, cycle_id bigint, kind text, action text, anchor text,
  target_id text, label text, sent_at text, status text, ended_at text);
CREATE INDEX a1 ON attempt (job) WHERE status IN ('sent', 'unknown');
CREATE TABLE log (id INTEGER PRIMARY KEY, job text, cycle_id bigint, time text, change_id text, kind text, action text,
  status text, anchor text, target_id text, label text, identity text, reason text, error_code text, message text,
  modified text, duration_ms bigint);
CREATE INDEX l1 ON log (job, time, id);
CREATE INDEX l2 ON log (cycle_id, id);
CREATE INDEX l3 ON log (job, anchor);
CREATE INDEX l4 ON log (job, identity);
"""
BARE_LOG = (
    "job, cycle_id, time, change_id, kind, action, status, anchor, target_id, label, identity, reason, error_code, "
    "message, modified, duration_ms"
)
BARE_CONFLICT = (
    "ON CONFLICT (job, kind, anchor) DO UPDATE SET target_id = excluded.target_id, label = excluded.label, "
    "fingerprint = excluded.fingerprint, state = excluded.state, changed_at = excluded.changed_at"
)
MOMENT = "2026-03-01 00:00:00.000000"

Batch = tuple[list[Change], list[Outcome], list[Link], list[LogEntry]]


def link_frame(count: int) -> pd.DataFrame:
    """Links as a large job has them: numbers as anchors, ids in no order."""
    numbers = np.arange(count)
    shuffled = np.random.default_rng(1).permutation(count)
    return pd.DataFrame(
        {
            "target_id": pd.Series([f"{number:032x}" for number in shuffled], dtype="str"),
            "fingerprint": np.random.default_rng(2).integers(-(2**63), 2**63 - 1, count, dtype="int64"),
            "label": pd.Series([f"user{number}@example.com" for number in numbers], dtype="str"),
            "state": pd.Series(["active"] * count, dtype="str"),
            "how": pd.Series(["created"] * count, dtype="str"),
        }
    ).set_index(pd.Index([f"{number:08d}" for number in numbers], name="anchor", dtype="str"))


def bare_links(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    """The frame's links as rows."""
    columns = (frame[name].tolist() for name in ("target_id", "label", "fingerprint", "state", "how"))
    return [
        (JOB, "user", anchor, target_id, label, fingerprint, state, how, MOMENT, MOMENT, 1)
        for anchor, target_id, label, fingerprint, state, how in zip(frame.index.tolist(), *columns, strict=True)
    ]


def make_batch(prefix: str, start: int, size: int) -> Batch:
    """Creates of one batch, with everything that is written down about them."""
    changes, outcomes, links, log = [], [], [], []
    for number in range(start, start + size):
        name = f"{prefix}{number}"
        attributes = {path: value.format(number) for path, value in ATTRIBUTES.items()}
        change = Change(
            f"1-{prefix}-{number:08d}", Kind.USER, Action.CREATE, name, None, attributes, label=f"{name}@example.com"
        )
        outcome = Outcome(change.id, Status.DONE, f"target of {name}", duration_ms=20)
        changes.append(change)
        outcomes.append(outcome)
        links.append(Link(Kind.USER, name, f"target of {name}", change.label, number, how="created"))
        log.append(log_outcome(change, outcome, reason="new in the source"))
    return changes, outcomes, links, log


def bare_batch(changes: list[Change], log: list[LogEntry]) -> tuple[list[tuple[object, ...]], ...]:
    """A batch as rows that are ready for the driver."""
    from tasks.ledger.bulk import json_text

    attempts, ends, links, lines = [], [], [], []
    for change, entry in zip(changes, log, strict=True):
        target_id = entry.target_id
        attempts.append((change.id, JOB, 1, "user", "create", change.anchor, None, change.label, MOMENT, "sent", None))
        ends.append(("done", MOMENT, target_id, change.id))
        links.append((JOB, "user", change.anchor, target_id, change.label, 1, "active", "created", MOMENT, MOMENT, 1))
        who = (change.anchor, target_id, change.label, change.label)
        why = ("new in the source", None, "", json_text(entry.modified), 20)
        lines.append((JOB, 1, MOMENT, change.id, "user", "create", "success", *who, *why))
    return attempts, ends, links, lines


@contextmanager
def timed() -> Iterator[list[float]]:
    """Seconds that the block took, by the clock and of this process's CPU time."""
    took = [0.0, 0.0]
    began, began_cpu = time.perf_counter(), time.process_time()
    try:
        yield took
    finally:
        took[:] = time.perf_counter() - began, time.process_time() - began_cpu


def line(what: str, rows: int, seconds: float, bare: float | None = None) -> None:
    """One figure."""
    ratio = f"   {seconds / bare:5.2f} x the bare driver" if bare else ""
    print(f"  {what:32} {rows / seconds:10,.0f} rows/s   {seconds:7.2f} s{ratio}", flush=True)


if __name__ == "__main__":
    main()
