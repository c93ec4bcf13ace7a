"""One service for all cases, each of which begins with the company already provisioned."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.clocks import FakeClock
from tests.faults.company import Company, put_strangers_in, write_job
from tests.faults.nursery import Nursery
from tests.model.driver import Driver
from tests.servers.scim_service import ScimService

TIMEOUT_S = 0.25


@dataclass(frozen=True, slots=True)
class Provisioned:
    """The company after its first cycle: the state folder, and what the service holds."""

    folder: Path
    users: list[dict[str, Any]]
    groups: list[dict[str, Any]]


@pytest.fixture(scope="session")
def service() -> Iterator[ScimService]:
    """The app."""
    with ScimService(max_page_size=100) as service:
        yield service


@pytest.fixture(scope="session")
def provisioned(service: ScimService, tmp_path_factory: pytest.TempPathFactory) -> Provisioned:
    """Everybody of the company has an account, and nothing is left to do."""
    folder = tmp_path_factory.mktemp("provisioned")
    put_strangers_in(service)
    Company.make().write(folder)
    with pytest.MonkeyPatch.context() as patch:
        driver = open_driver(folder, service, patch)
        try:
            report = driver.cycle().report
        finally:
            driver.close()
    assert report is not None
    assert report.state == "done", report.message
    return Provisioned(folder, list(service.users.values()), list(service.groups.values()))


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Where runs come from that are processes of their own."""
    with Nursery() as nursery:
        yield nursery


@dataclass(slots=True)
class Bench:
    """One case: its folder, its driver, the app."""

    folder: Path
    driver: Driver
    service: ScimService
    company: Company

    def start_anew(self) -> None:
        """Nobody is provisioned yet, and the ledger is empty."""
        self.driver.close()
        shutil.rmtree(self.folder / "state")
        self.service.clear()
        put_strangers_in(self.service)
        self.driver = Driver(self.driver.job)


@pytest.fixture
def bench(
    provisioned: Provisioned, service: ScimService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    """The company as it was after its first cycle; waits of the connector are over at once."""
    folder = tmp_path / "case"
    shutil.copytree(provisioned.folder, folder)
    service.clear_fault()
    service.quirks.reset()
    service.drop_connections()
    service.clear()
    service.seed(users=provisioned.users, groups=provisioned.groups)
    service.reset_counts()
    monkeypatch.setattr("connectors.scim.service.SystemClock", FakeClock)
    made = Bench(folder, open_driver(folder, service, monkeypatch), service, Company.make())
    yield made
    made.driver.close()
    service.clear_fault()


def open_driver(folder: Path, service: ScimService, patch: pytest.MonkeyPatch) -> Driver:
    """Cycles of the job in this folder; this process has the environment that it needs."""
    patch.setenv("PROVISOR_HOME", str(folder / "state"))
    patch.setenv("SCIM_TOKEN", "a-token")
    return Driver(write_job(folder, service.url, timeout_s=TIMEOUT_S))
