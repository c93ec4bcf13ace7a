"""How long pages take: 100,000 people in one job, 1,000 cycles, 10,000 held changes; on SQLite and PostgreSQL.

    python -m tests.benchmarks.pages [--people 100000] [--cycles 1000] [--held 10000] [--only SQLite]

The pages are asked by HTTP from a server in this process, as a browser does, each 20 times. CPU is the server's and the
client's together: on a machine that is busy with other things it says more than the clock.
"""

import argparse
import os
import re
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from flows.cycle.systems import open_ledger
from flows.serve.web.serving import serving_pages
from tests.benchmarks.pages_world import JOB, anchor_of, fill
from tests.flows.web.company import write_jobs
from tests.servers.starting import free_port, postgresql

TIMES = 20
SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"


def main() -> None:
    """Prints a table for each database."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--people", type=int, default=100_000)
    options.add_argument("--cycles", type=int, default=1_000)
    options.add_argument("--held", type=int, default=10_000)
    options.add_argument("--only", choices=(SQLITE, POSTGRESQL))
    given = options.parse_args()
    if given.only != POSTGRESQL:
        measure(SQLITE, None, given)
    if given.only != SQLITE:
        with postgresql() as server:
            measure(POSTGRESQL, server.create_database("pages"), given)


def measure(name: str, url: str | None, given: argparse.Namespace) -> None:
    """Fills a ledger and asks for its pages."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ |= {"PROVISOR_HOME": str(place / "state"), "SCIM_TOKEN": "x"}
        if url is not None:
            os.environ["PROVISOR_DATABASE_URL"] = url
        write_jobs(place)
        say(f"\n{name}: {given.people:,} people, {given.cycles:,} cycles, {given.held:,} held")
        began = time.monotonic()
        with open_ledger() as ledger:
            fill(ledger, given.people, given.cycles, given.held, now=datetime.now(UTC), say=say)
        say(f"  filled in {time.monotonic() - began:.0f} s\n")
        say(f"  {'page':<28}{'median':>10}{'p95':>10}{'best':>10}{'CPU':>10}{'bytes':>12}")
        with (
            serving_pages(place / "state", place, free_port(), "provisor:key") as address,
            signed_in(address) as client,
        ):
            for title, path in _pages(given.people, given.cycles, given.held).items():
                ask(client, title, path)
            decide(client)
        os.environ.pop("PROVISOR_DATABASE_URL", None)


def _pages(people: int, cycles: int, held: int) -> dict[str, str]:
    somebody, waits = anchor_of(people * 47 // 1000 + 1), anchor_of(people // held * (held // 5))
    half = anchor_of(people // 2)
    ago = f"{datetime.now(UTC) - timedelta(days=3):%Y-%m-%d}"
    return {
        "overview": "/",
        "search, one name": "/search?q=dagmar",
        "search, two names": "/search?q=anna+schmidt",
        "search, beginning of a name": "/search?q=w%C3%B3j",
        "search, a key": f"/search?q=x{somebody}",
        "search, nothing": "/search?q=xyzzy",
        "person": f"/people/{JOB}/{somebody}",
        "person, held": f"/people/{JOB}/{waits}",
        "job": f"/jobs/{JOB}",
        "cycles": f"/jobs/{JOB}/cycles",
        "cycle of all creates": f"/jobs/{JOB}/cycles/1",
        "cycle, a page of creates": f"/jobs/{JOB}/cycles/1?action=create&after={people // 2}",
        "cycle, searched": f"/jobs/{JOB}/cycles/1?q=x{somebody}",
        "cycle, small": f"/jobs/{JOB}/cycles/{cycles // 2}",
        "cycle that holds": f"/jobs/{JOB}/cycles/{cycles}",
        "approvals": "/approvals",
        "approval": f"/approvals/{JOB}",
        "approval, a later page": f"/approvals/{JOB}?after={half}",
        "approval, searched": f"/approvals/{JOB}?q=holm",
        "access now": "/access",
        "access, a department": f"/access?job={JOB}&department=Department+7",
        "access, disabled": f"/access?job={JOB}&state=disabled",
        "access on a date": f"/access?job={JOB}&at={ago}",
        "metrics": "/metrics",
    }


def ask(client: httpx.Client, title: str, path: str) -> None:
    """Asks for a page several times and prints how long that took, in milliseconds."""
    took, size, cpu = [], 0, time.process_time()
    for _ in range(TIMES):
        began = time.perf_counter()
        answer = client.get(path, follow_redirects=True)
        took.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
        size = len(answer.content)
    spent = (time.process_time() - cpu) * 1000 / TIMES
    last = statistics.quantiles(took, n=20)[-1]
    say(f"  {title:<28}{statistics.median(took):10.0f}{last:10.0f}{min(took):10.0f}{spent:10.0f}{size:12,}")


def decide(client: httpx.Client) -> None:
    """Approves everything that is held, and prints how long each step took."""
    path = f"/approvals/{JOB}"
    form = dict(re.findall(r'name="(form_token|item|digest)" value="([^"]*)"', client.get(path).text))
    form |= {"about": "all", "decision": "approve", "reason": "HR has confirmed it"}
    for title, to, status in (("ask to decide about all", path, 200), ("decide about all", f"{path}/decision", 303)):
        began, cpu = time.perf_counter(), time.process_time()
        answer = client.post(to, data=form)
        took, spent = (time.perf_counter() - began) * 1000, (time.process_time() - cpu) * 1000
        assert answer.status_code == status, answer.text
        say(f"  {title:<28}{took:10.0f}{'':>10}{'':>10}{spent:10.0f}{len(answer.content):12,}")
        form |= dict(re.findall(r'name="(shown)" value="([^"]*)"', answer.text))
        if asked := re.search(r"Type the number of \w+, (\d+)", answer.text):
            form["number"] = asked[1]


@contextmanager
def signed_in(address: str) -> Iterator[httpx.Client]:
    """A client that has signed in."""
    with httpx.Client(base_url=address, headers={"Origin": address}, timeout=300) as client:
        token = re.search(r'name="form_token" value="([^"]+)"', client.get("/sign-in").text)
        assert token is not None
        fields = {"login": "provisor", "password": "key", "form_token": token[1], "to": "/"}
        assert client.post("/sign-in", data=fields).status_code == 303
        yield client


def say(text: str) -> None:
    """Prints at once."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
