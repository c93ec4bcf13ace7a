"""How long pages take: 100,000 people in one job, 1,000 cycles, 10,000 held changes; on SQLite and PostgreSQL.

    python -m tests.benchmarks.pages [--people 100000] [--cycles 1000] [--held 10000] [--sqlite-only]

The pages are asked by HTTP from a server in this process, as a browser does, each several times; the median counts.
CPU is the server's and the client's together: on a machine that is busy with other things it says more than the clock.
"""

import argparse
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pandas as pd

from connectors.contract import Action, Kind
from flows.cycle.systems import open_ledger
from flows.serve.web.serving import serving_pages
from tasks.ledger import (
    CycleEnd,
    CycleKind,
    CycleState,
    Known,
    Ledger,
    LogAction,
    LogEntry,
    LogStatus,
    Modified,
    Staged,
)
from tests.flows.web.company import write_jobs
from tests.servers.starting import free_port, postgresql

FIRST = ("Anna", "Östen", "Michael", "Zoë", "Dagmar", "Omar", "Nina", "Wójciech", "Siobhán", "Kåre")
LAST = ("Schmidt", "Öberg", "Holm", "Said", "Falk", "Stępień", "O'Brien", "Ünal", "Kovač", "Nguyễn")
JOB = "hr-to-scim"
TIMES = 9


def main() -> None:
    """Prints a table for each database."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--people", type=int, default=100_000)
    options.add_argument("--cycles", type=int, default=1_000)
    options.add_argument("--held", type=int, default=10_000)
    options.add_argument("--sqlite-only", action="store_true")
    given = options.parse_args()
    measure("SQLite", None, given)
    if not given.sqlite_only:
        with postgresql() as server:
            measure("PostgreSQL", server.create_database("pages"), given)


def measure(name: str, url: str | None, given: argparse.Namespace) -> None:
    """Fills a ledger and asks for its pages."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ |= {"PROVISOR_HOME": str(place / "state"), "SCIM_TOKEN": "x"}
        if url is not None:
            os.environ["PROVISOR_DATABASE_URL"] = url
        write_jobs(place)
        began = time.monotonic()
        with open_ledger() as ledger:
            fill(ledger, given.people, given.cycles, given.held)
        say(
            f"\n{name}: {given.people:,} people, {given.cycles:,} cycles, {given.held:,} held "
            f"(filled in {time.monotonic() - began:.0f} s)"
        )
        with (
            serving_pages(place / "state", place, free_port(), "provisor:key") as address,
            signed_in(address) as client,
        ):
            for title, path in PAGES.items():
                ask(client, title, path)
        os.environ.pop("PROVISOR_DATABASE_URL", None)


PAGES = {
    "overview": "/",
    "search, one name": "/search?q=dagmar",
    "search, two names": "/search?q=anna+schmidt",
    "search, a key": "/search?q=x004711",
    "person": f"/people/{JOB}/004711",
    "job": f"/jobs/{JOB}",
    "cycle of all creates": f"/jobs/{JOB}/cycles/1",
    "approval": f"/approvals/{JOB}",
    "approval, searched": f"/approvals/{JOB}?q=holm",
    "access now": "/access",
    "access on a date": f"/access?job={JOB}&at={datetime.now(UTC) - timedelta(days=3):%Y-%m-%d}",
    "metrics": "/metrics",
}


def ask(client: httpx.Client, title: str, path: str) -> None:
    """Asks for a page several times and prints the median."""
    took, size, cpu = [], 0, time.process_time()
    for _ in range(TIMES):
        began = time.perf_counter()
        answer = client.get(path, follow_redirects=True)
        took.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
        size = len(answer.content)
    spent = (time.process_time() - cpu) * 1000 / TIMES
    middle, spread = statistics.median(took), f"best {min(took):.0f}, worst {max(took):.0f}"
    say(f"  {title:<24} {middle:8.0f} ms, CPU {spent:5.0f} ms   ({spread})   {size:,} bytes")


@contextmanager
def signed_in(address: str) -> Iterator[httpx.Client]:
    """A client that has signed in."""
    with httpx.Client(base_url=address, headers={"Origin": address}, timeout=300) as client:
        token = re.search(r'name="form_token" value="([^"]+)"', client.get("/sign-in").text)
        assert token is not None
        fields = {"login": "provisor", "password": "key", "form_token": token[1], "to": "/"}
        assert client.post("/sign-in", data=fields).status_code == 303
        yield client


def fill(ledger: Ledger, people: int, cycles: int, held: int) -> None:
    """A first cycle that creates everybody, many small ones, and a last one that holds many removals."""
    start = datetime.now(UTC) - timedelta(minutes=20 * cycles)
    anchors = [f"{number:06}" for number in range(people)]
    names = [f"{FIRST[number % 10]} {LAST[number // 10 % 10]}" for number in range(people)]
    first = ledger.begin_cycle(JOB, CycleKind.INITIAL, fingerprint="f", now=start)
    frame = pd.DataFrame(
        {"target_id": [f"id-{anchor}" for anchor in anchors], "label": names, "how": "created"},
        index=pd.Index(anchors, dtype="str"),
        dtype="str",
    )
    ledger.put_links(JOB, Kind.USER, frame, cycle_id=first.id, now=start)
    made = [Modified("title", None, "Analyst")]
    lines = (
        LogEntry(Kind.USER, LogAction.CREATE, LogStatus.SUCCESS, anchor, label=name, reason="in scope", modified=made)
        for anchor, name in zip(anchors, names, strict=True)
    )
    ledger.log_entries(first, lines, now=start)
    ledger.directory.put(
        JOB,
        [
            Known(
                Kind.USER,
                anchor,
                name,
                f"x{anchor}@example.com",
                {"department": f"Department {number % 40}", "title": "Analyst", "company": f"Company {number % 5}"},
                anchors[number // 8],
            )
            for number, (anchor, name) in enumerate(zip(anchors, names, strict=True))
        ],
    )
    end(ledger, first, CycleState.DONE, {"created": people}, start, people)
    for number in range(1, cycles - 1):
        moment = start + timedelta(minutes=20 * number)
        cycle = ledger.begin_cycle(JOB, CycleKind.INCREMENTAL, fingerprint="f", now=moment)
        anchor = anchors[number * 7 % people]
        line = LogEntry(
            Kind.USER, LogAction.UPDATE, LogStatus.SUCCESS, anchor, label="x", reason="changed", modified=made
        )
        ledger.log_entries(cycle, [line] * 5, now=moment)
        end(ledger, cycle, CycleState.DONE, {"updated": 5}, moment, people)
    last = ledger.begin_cycle(JOB, CycleKind.INCREMENTAL, fingerprint="f", now=datetime.now(UTC))
    guard = f"Disabling {held:,} of {people:,} users is more than the limit of 500."
    staged = [
        Staged(Kind.USER, Action.DISABLE, anchor, last.began, last.id, guard, f"id-{anchor}", label=name)
        for anchor, name in zip(anchors[:held], names, strict=False)
    ]
    ledger.put_staged(JOB, staged)
    end(ledger, last, CycleState.STAGED, {"staged": held}, datetime.now(UTC), people)


def _updated(anchor: str, made: list[Modified]) -> LogEntry:
    return LogEntry(Kind.USER, LogAction.UPDATE, LogStatus.SUCCESS, anchor, label=anchor, reason="x", modified=made)


def end(ledger: Ledger, cycle: object, state: CycleState, counts: dict[str, int], now: datetime, people: int) -> None:
    """Closes a cycle."""
    ledger.end_cycle(
        cycle,  # type: ignore[arg-type]
        CycleEnd(
            state,
            counts,
            now=now,
            source_count=people,
            target_count=people,
            source="HR export",
            target="Intranet",
        ),
    )


def say(text: str) -> None:
    """Prints at once."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
