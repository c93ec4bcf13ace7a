"""Targets, a Prefect API, workplaces, and the command, for tests of whole cycles."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.data.export import Export
from tests.data.people import generate
from tests.flows.first_cycles import FirstCycle, FirstCycles
from tests.flows.workplace import EXPORT, Said, Workplace
from tests.servers.scim_service import ScimService
from tests.servers.starting import free_port, prefect_server


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[ScimService]:
    """A target that holds nothing; for all tests that copy a first cycle at the same address."""
    port = request.getfixturevalue("_steady_port") if "first_cycle" in request.fixturenames else 0
    with ExitStack() as stack:
        try:
            service = stack.enter_context(ScimService(max_page_size=500, port=port))
        except OSError:  # some other program has taken the port: at another one the first cycle is not copied
            service = stack.enter_context(ScimService(max_page_size=500))
        yield service


@pytest.fixture(scope="session")
def _steady_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def _first_cycles(tmp_path_factory: pytest.TempPathFactory) -> FirstCycles:
    return FirstCycles(tmp_path_factory.mktemp("first-cycles"))


@pytest.fixture
def first_cycle(plain_runs: None, service: ScimService, _first_cycles: FirstCycles) -> FirstCycle:
    """Gives a workplace, whose state folder is not there yet, the world after its first cycle."""
    return lambda workplace: _first_cycles.play(workplace, service)


@pytest.fixture
def workplace(tmp_path: Path, service: ScimService, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """The demo's first day against ``service``; this process has the environment that the job needs."""
    made = Workplace.make(tmp_path / "work", url=service.url).use(EXPORT)
    monkeypatch.setenv("PROVISOR_HOME", str(made.home))
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    return made


@pytest.fixture(scope="session")
def small_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 people and 8 groups, without the people who are there to break careless code."""
    folder = tmp_path_factory.mktemp("small")
    export: Export = generate(people=240, groups=8, plain=True)
    export.write(folder)
    return folder


@pytest.fixture
def small(workplace: Workplace, small_export: Path) -> Workplace:
    """A workplace with the small export."""
    return workplace.use(small_export)


@pytest.fixture
def plain_runs() -> Iterator[None]:
    """Runs in this process do without Prefect, see ``tests/flows/plain.py``; those of other processes do not."""
    from tests.flows.plain import plain_runs

    with plain_runs():
        yield


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one Prefect API for all tests that need one; this process and its children use it."""
    home = tmp_path_factory.mktemp("prefect")
    with prefect_server(home / "server", logs=home) as server, pytest.MonkeyPatch.context() as patch:
        # Prefect reads its settings once, when it is imported; what a run sets by itself is set here, to be taken back.
        for name, value in {
            "DO_NOT_TRACK": "1",
            "PREFECT_API_URL": server.url,
            "PREFECT_HOME": str(home / "client"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_EXTRA_LOGGERS": "provisor",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",  # plain runs are none of its runs
        }.items():
            patch.setenv(name, value)
        from prefect.context import SettingsContext, use_profile
        from prefect.settings import Profile

        profile = Profile(name="tests", settings={}, source=None)
        with use_profile(profile, include_current_context=False):
            assert SettingsContext.get() is not None
            yield server.url
            _drain()


def _drain() -> None:
    """Sends what is still queued for the API, which would otherwise be tried for a minute after it is gone."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        worker.drain_all(at_exit=False)


@pytest.fixture
def provisor(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """The ``provisor`` command in this process: ``provisor("plan", job)``."""
    from flows.cli import main

    def call(*words: str | Path) -> Said:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["provisor", *map(str, words)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
        out, err = capfd.readouterr()
        return Said(status, out, err)

    return call
