"""What reading a Workday tenant takes: peak memory and workers a second, for a whole read and for one of changes.

python -m tests.benchmarks.workers [workers] [page size]

The tenant runs in a process of its own, which has made its pages before the clock starts.
"""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from datetime import timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from connectors.contract import Wanted
from connectors.workday.settings import WorkdaySettings
from connectors.workday.system import open_source
from tests.servers.workday_service import PASSWORD, USER, WorkdayService, serving

WANTED = Wanted(
    (
        "WorkerID FirstName LastName PreferredFirstName PreferredLastName PreferredNameData BusinessTitle Company "
        "SupervisoryOrganization EmailAddress Mobile PrimaryWorkTelephone ManagerReference WorkerType Municipality "
        "CountryReferenceTwoLetter CountryReferenceFriendly LocationIdentifier PostalCode AddressLineData "
        "StatusHireDate StatusTerminationDate StatusTerminationLastDayOfWork UserID"
    ).split()
)


def tenant(count: int, told: Any, change: Event, changed: Event, end: Event) -> None:
    """A tenant with so many workers; one in a hundred is changed when it is told to."""
    service = WorkdayService()
    wids = []
    for n in range(count):
        wids.append(
            service.put(
                f"{n:07}",
                first=f"First{n}",
                last=f"Last{n}",
                title=f"Title {n % 800}",
                mail=f"p{n}@example.com",
                mobile=f"+49170{n:07}",
                landline=f"+4930{n:07}",
                company=f"Company {n % 20}",
                department=f"Department {n % 400}",
                city=f"City {n % 60}",
                user=f"user{n}",
            )
        )
        if n:
            service.managers[wids[n]] = wids[n // 10]
    original = service._render
    made: dict[Any, bytes] = {}

    def render(worker: Any, state: dict[str, Any], flags: dict[str, bool]) -> bytes:
        place = (worker.wid, len(worker.entries), flags.get("Include_Personal_Information"))
        if place not in made:
            made[place] = original(worker, state, flags)
        return made[place]

    choose, chosen = service._chosen, {}

    def pick(content: Any, entry: Any, day: Any, wids: list[str], window: Any) -> Any:
        place = (entry, day, tuple(wids), tuple(sorted(window.items())))
        if place not in chosen:
            chosen[place] = choose(content, entry, day, wids, window)
        return chosen[place]

    service._render, service._chosen = render, pick  # type: ignore[method-assign]
    with serving(service):
        told.put(service.url)
        change.wait(3600)
        service.now += timedelta(hours=1)
        for wid in wids[::100]:
            service.change(wid, title="Another title")
        service.now += timedelta(hours=1)
        changed.set()
        end.wait(3600)


def peak_mb() -> float:
    """The largest resident set of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(count: int, page_size: int) -> None:
    """Prints the figures."""
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    change, changed, end = context.Event(), context.Event(), context.Event()
    server = context.Process(target=tenant, args=(count, told, change, changed, end), daemon=True)
    server.start()
    os.environ["WORKDAY_PASSWORD"] = PASSWORD
    settings = WorkdaySettings.model_validate(
        {
            "url": told.get(timeout=600),
            "version": "v44.0",
            "auth": {"user": {"username": USER, "password": "${env:WORKDAY_PASSWORD}"}},
            "page_size": page_size,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        source = open_source(settings, folder=Path(folder), per_s=None)
        before = peak_mb()
        wall, cpu = time.perf_counter(), time.process_time()
        snapshot = source.read(WANTED)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert snapshot.complete, snapshot.incomplete
        assert len(snapshot.users) == count
        print(
            f"{count:,} workers, {len(WANTED.users)} attributes, pages of {page_size}: {snapshot.requests:,} requests"
        )
        print(f"whole read      {count / wall:8,.0f} workers/s {cpu / count * 1e6:8.0f} µs CPU each {wall:8.1f} s")
        print(f"peak memory     {peak_mb():8,.0f} MB, of which {before:,.0f} MB before the read")
        change.set()
        changed.wait(600)
        wall = time.perf_counter()
        delta = source.read(WANTED, since=snapshot.watermark)
        wall = time.perf_counter() - wall
        assert not delta.reread
        print(f"read of changes {len(delta.users):8,} changed, {delta.requests:,} requests {wall:27.1f} s")
        print(f"peak memory     {peak_mb():8,.0f} MB")
        source.close()
    end.set()
    server.join(10)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000, int(sys.argv[2]) if len(sys.argv) > 2 else 100)
