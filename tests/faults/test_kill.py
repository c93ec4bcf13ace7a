"""Runs killed with ``kill -9`` at random moments; then a clean run, and everything is as it must be.

The run is a real process, forked from one that has the product loaded (``tests.faults.nursery``), which runs the flow's
own body: with Prefect's server each run would take half a minute, and 200 of them two hours. The whole command is
killed in ``tests/flows/test_crash.py``. 7 seeds in the short form, 200 with ``PROVISOR_LONG=1``.
"""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.cycle.lease import LEASE
from flows.cycle.systems import open_ledger
from tasks.ledger import FINISHED_STATES
from tests.connectors.clocks import FakeClock
from tests.faults.changes import OPERATIONS
from tests.faults.company import JOB, STRANGERS, Company
from tests.faults.conftest import Bench, Provisioned
from tests.faults.findings import ids_about, strangers_of, wrong_in_the_app, wrong_in_the_ledger, wrong_in_the_log
from tests.faults.killing import Death, trap, trap_in
from tests.faults.nursery import Nursery
from tests.faults.test_apps import strangers, wanted_in, write_job_for, wrong
from tests.model.driver import Driver
from tests.servers.apps import CLOUD_APPS

LONG = bool(os.environ.get("PROVISOR_LONG"))
SEEDS: Sequence[int] = range(200) if LONG else (3, 4, 5, 6, 8, 15, 17)
"""The short form has a death before and after a request is carried out, one by time, two in a row, and every kind of
change; in three of them nobody is provisioned yet."""
CLOUD_SEEDS = 20 if LONG else 1
"""Of each app of one maker."""
CLOUD_READS = 20
"""Requests that a run sends to such an app before its first change, at least."""
counted: Counter[tuple[int, str]] = Counter()
"""Runs so far, by how they ended and what was to end them."""
READS = 6
"""Requests that a run sends before its first change, at least."""


@pytest.fixture(scope="session")
def run_s(provisioned: Provisioned, nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> float:
    """Seconds that a run of a new company takes here and now, to draw moments from; nothing is asserted about it."""
    folder = tmp_path_factory.mktemp("measured") / "run"
    shutil.copytree(provisioned.folder, folder)
    shutil.rmtree(folder / "state")
    began = time.monotonic()
    with nursery.run(folder, datetime(2026, 3, 2, tzinfo=UTC), "auto") as run:
        assert run.wait()
    return time.monotonic() - began


def begin(bench: Bench, chance: random.Random) -> tuple[set[str], int]:
    """The state that the killed run finds: nobody is provisioned yet, or some kinds of change have happened at once.

    Gives the ids of those who may be changed, and how many requests a run has to send at least.
    """
    if chance.random() < 0.3:
        bench.start_anew()
        bench.company.write(bench.folder)
        return set(), READS + len(bench.company.people) + 2 * len(bench.company.groups)
    names = [name for name in OPERATIONS if chance.random() < 0.6] or ["create"]
    if "delete" in names and "disable" in names:
        names.remove("disable")  # they are about the same people
    touched: set[str] = set()
    for name in names:
        touched |= ids_about(bench.service, OPERATIONS[name])
        OPERATIONS[name].change(bench.company)
    bench.company.write(bench.folder)
    return touched, READS + max(OPERATIONS[name].writes for name in names)


def kill_a_run(bench: Bench, nursery: Nursery, death: Death, run_s: float, choice: str) -> int:
    """One run that dies, unless it is over before its moment; gives how it ended."""
    with (
        trap(bench.service, death.nth, death.commit) as snare,
        nursery.run(bench.folder, bench.driver.now, choice) as run,
    ):
        snare.pid = run.pid
        if not death.nth and not run.wait(death.share * run_s):
            os.kill(run.pid, signal.SIGKILL)
        assert run.wait(), "the run neither ended nor died"
    bench.service.drop_connections()
    bench.driver.now += LEASE + timedelta(minutes=2)
    assert run.status is not None
    return run.status


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_that_is_killed_is_caught_up_with(bench: Bench, nursery: Nursery, run_s: float, seed: int) -> None:
    """Promises 3 to 5: a run may die at any moment, even twice in a row; nobody is doubled, lost or touched without
    right, no attempt stays open, and the log says exactly what the service's own log says. Every other run reconciles.
    """
    chance, choice = random.Random(seed), "reconcile" if seed % 2 else "auto"
    touched, requests = begin(bench, chance)
    strangers = strangers_of(bench.service)
    with open_ledger() as ledger:
        lines_before = len(ledger.log(JOB, limit=None))
        for _ in range(1 + (chance.random() < 0.25)):
            watermark = ledger.watermark(JOB)
            death = Death.draw(chance, requests)
            status = kill_a_run(bench, nursery, death, run_s, choice)
            assert status in (0, -signal.SIGKILL)
            counted[status, "request" if death.nth else "time"] += 1
            last = ledger.last_cycle(JOB)
            finished = last is not None and last.state in FINISHED_STATES and last.began >= bench.driver.now - LEASE * 2
            assert finished or ledger.watermark(JOB) == watermark, "a dead run has moved the watermark"

        before = ledger.watermark(JOB)
        report = bench.driver.cycle().report
        assert report is not None
        assert report.state == "done", report.message
        assert bench.driver.preview("reconcile").empty
        assert ledger.watermark(JOB) != before, "the clean run has not moved the watermark"
        log = ledger.log(JOB, limit=None)
        new = log.head(len(log) - lines_before)  # the newest lines come first
        assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
        assert wrong_in_the_ledger(ledger, bench.service) == []
        assert wrong_in_the_log(bench.service, new, touched) == []


@pytest.mark.parametrize("seed", range(CLOUD_SEEDS))
@pytest.mark.parametrize("name", CLOUD_APPS)
def test_a_run_that_is_killed_is_caught_up_with_in_cloud_apps(
    nursery: Nursery, run_s: float, name: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same in the apps of one maker, whose requests hold many changes each."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("connectors.kit.target.SystemClock", FakeClock)
    chance = random.Random(f"{name} {seed}")
    company = Company.make()
    company.write(tmp_path)
    with CLOUD_APPS[name](tmp_path) as app:
        app.seed(users=STRANGERS["users"])
        before = strangers(app)
        driver = Driver(write_job_for(app, tmp_path))
        try:
            first = driver.cycle().report
            assert first is not None
            assert first.state == "done", first.message
            names = [one for one in OPERATIONS if chance.random() < 0.6] or ["create"]
            for one in names:
                OPERATIONS[one].change(company)
            company.write(tmp_path)
            death = Death.draw(chance, CLOUD_READS + len(names))
            driver.now += timedelta(minutes=1)
            with (
                trap_in(app.service, death.nth, death.commit) as snare,  # type: ignore[attr-defined]
                nursery.run(tmp_path, driver.now, "auto") as run,
            ):
                snare.pid = run.pid
                if not death.nth and not run.wait(death.share * run_s):
                    os.kill(run.pid, signal.SIGKILL)
                assert run.wait(), "the run neither ended nor died"
            assert run.status in (0, -signal.SIGKILL)
            counted[run.status, "request" if death.nth else "time"] += 1
            driver.now += LEASE + timedelta(minutes=2)
            report = driver.cycle().report
            assert report is not None
            assert report.state == "done", report.message
            assert driver.preview("reconcile").empty
            with open_ledger() as ledger:
                assert wrong(app, wanted_in(app, company, Company.make()), ledger) == []
            assert strangers(app) == before
        finally:
            driver.close()


def test_runs_have_died() -> None:
    """The cases above say something only as long as their runs are killed; a moment may come too late now and then."""
    dead = sum(count for (status, _), count in counted.items() if status)
    print(f"{sum(counted.values())} runs, {dead} of them killed: {dict(counted)}")
    assert dead >= 0.8 * sum(counted.values())
