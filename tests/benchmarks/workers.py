"""What it takes to read a Workday tenant or a SuccessFactors instance: peak memory and workers a second.

python -m tests.benchmarks.workers workday [workers] [page size]
python -m tests.benchmarks.workers successfactors [workers] [page size]

The tenant runs in a process of its own. Workday is read whole, then for changes; SuccessFactors is always read whole.
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
from connectors.successfactors.settings import SuccessFactorsSettings
from connectors.successfactors.system import open_source as open_successfactors
from connectors.workday.settings import WorkdaySettings
from connectors.workday.system import open_source
from tests.servers import successfactors_service
from tests.servers.successfactors_service import SuccessFactorsService, key_pair
from tests.servers.workday_service import PASSWORD, USER, WorkdayService, serving

WANTED = Wanted(
    (
        "WorkerID FirstName LastName PreferredFirstName PreferredLastName PreferredNameData BusinessTitle Company "
        "SupervisoryOrganization EmailAddress Mobile PrimaryWorkTelephone ManagerReference WorkerType Municipality "
        "CountryReferenceTwoLetter CountryReferenceFriendly LocationIdentifier PostalCode AddressLineData "
        "StatusHireDate StatusTerminationDate StatusTerminationLastDayOfWork UserID"
    ).split()
)

IN_SUCCESSFACTORS = Wanted(
    (
        "firstName lastName preferredName displayName jobTitle department company twoCharCountryCode LocationName "
        "LocationId emailAddress businessPhone cellPhone managerId username timeZone startDate endDate lastDateWorked "
        "emplStatus isContingentWorker division costCenter userId"
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

    def pick(content: Any, entry: Any, day: Any, wids: list[str] | None, window: Any) -> Any:
        place = (entry, day, None if wids is None else tuple(wids), tuple(sorted(window.items())))
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


def instance(count: int, certificate: str, told: Any, end: Event) -> None:
    """An instance of SuccessFactors with so many people."""
    service = SuccessFactorsService(certificate=certificate)
    for n in range(count):
        person = service.put(
            f"{n:07}",
            first=f"First{n}",
            last=f"Last{n}",
            jobTitle=f"Title {n % 800}",
            department=f"Department {n % 400}",
            company=f"Company {n % 20}",
            manager=f"{n // 10:07}" if n else None,
        )
        person.phones = [{"phoneNumber": f"+4930{n:07}", "isPrimary": True, "phoneType": "10605"}]
    with successfactors_service.serving(service):
        told.put(service.url)
        end.wait(3600)


def measured(source: Any, wanted: Wanted, count: int, page_size: int) -> Any:
    """Reads everybody and prints the figures; gives the snapshot."""
    before = peak_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    snapshot = source.read(wanted)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert snapshot.complete, snapshot.incomplete
    assert len(snapshot.users) == count
    print(f"{count:,} workers, {len(wanted.users)} attributes, pages of {page_size}: {snapshot.requests:,} requests")
    print(f"whole read      {count / wall:8,.0f} workers/s {cpu / count * 1e6:8.0f} µs CPU each {wall:8.1f} s")
    print(f"peak memory     {peak_mb():8,.0f} MB, of which {before:,.0f} MB before the read")
    return snapshot


def successfactors(count: int, page_size: int) -> None:
    """Prints the figures of a read of SuccessFactors."""
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    end = context.Event()
    key, certificate = key_pair()
    server = context.Process(target=instance, args=(count, certificate, told, end), daemon=True)
    server.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sf.key").write_text(key, encoding="ascii")
        (folder / "sf.crt").write_text(certificate, encoding="ascii")
        user = {"client_id": successfactors_service.CLIENT, "user": successfactors_service.API_USER}
        settings = SuccessFactorsSettings.model_validate(
            {
                "url": told.get(timeout=600),
                "company": successfactors_service.COMPANY,
                "auth": {"saml": {**user, "key": "${file:sf.key}", "certificate": "sf.crt"}},
                "page_size": page_size,
            }
        )
        source = open_successfactors(settings, folder=folder, per_s=None)
        measured(source, IN_SUCCESSFACTORS, count, page_size)
        source.close()
    end.set()
    server.join(10)


def workday(count: int, page_size: int) -> None:
    """Prints the figures of a read of Workday, and of one of changes."""
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
        snapshot = measured(source, WANTED, count, page_size)
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
    _, system, *numbers = sys.argv
    people, page = [*map(int, numbers), *(100_000, 100 if system == "workday" else 400)[len(numbers) :]]
    {"workday": workday, "successfactors": successfactors}[system](people, page)
