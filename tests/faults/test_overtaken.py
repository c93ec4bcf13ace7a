"""A run that is stopped for longer than its lease lasts, overtaken by another one, and woken up again.

The service takes a second account of the same name without a word, so that every create that is sent twice makes one.
2 moments in the short form, 50 with ``PROVISOR_LONG=1``.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from connectors.contract import Kind
from flows.cycle.systems import open_ledger
from tests.faults.changes import OPERATIONS
from tests.faults.company import JOB, Person, person
from tests.faults.conftest import Bench
from tests.faults.findings import ids_about, strangers_of, wrong_in_the_app, wrong_in_the_ledger, wrong_in_the_log
from tests.faults.nursery import Nursery
from tests.faults.stopping import stopped

SEEDS = 50 if os.environ.get("PROVISOR_LONG") else 2
LEASE_S = 3.0
counted: Counter[str] = Counter()


@pytest.fixture
def doubling(bench: Bench) -> Iterator[Bench]:
    """A company whose app takes doubles."""
    bench.service.quirks["duplicate_user_name"] = "created"
    yield bench
    del bench.service.quirks["duplicate_user_name"]


def begin(bench: Bench, chance: random.Random) -> tuple[str, int, set[str]]:
    """What happens in the company; gives the method of the requests that it takes, how many, and who is about."""
    kind = chance.choice(["everybody", "create", "update", "disable", "delete", "add members"])
    if kind == "everybody":
        bench.start_anew()
        bench.company.write(bench.folder)
        return "POST", len(bench.company.people), set()
    operation = OPERATIONS[kind]
    touched = ids_about(bench.service, operation)
    operation.change(bench.company)
    bench.company.write(bench.folder)
    return {"create": "POST", "delete": "DELETE"}.get(kind, "PATCH"), operation.writes, touched


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_run_that_was_overtaken_sends_nothing_more(doubling: Bench, nursery: Nursery, seed: int) -> None:
    """It is woken up after its lease has run out and another run has finished: 0 requests, 0 doubles, 0 stolen links.

    While it was stopped, somebody's values changed once more: what it was about to write is old by then.
    """
    bench, chance = doubling, random.Random(seed)
    method, requests, touched = begin(bench, chance)
    strangers = strangers_of(bench.service)
    ledger_file = bench.folder / "state" / "ledger.sqlite"
    with open_ledger() as ledger:
        lines_before = len(ledger.log(JOB, limit=None))
    bench.service.reset_counts()
    with nursery.run(bench.folder, bench.driver.now, "auto", lease_s=LEASE_S) as run:
        with stopped(run, bench.service, after=chance.randrange(requests - 1), method=method, ledger=ledger_file) as it:
            time.sleep(LEASE_S)  # really: its permit goes by the machine's clocks
            bench.driver.now += timedelta(minutes=20)
            bench.company.people.setdefault(person(3), Person()).title = "Head of something else"
            touched |= {id for id, user in bench.service.users.items() if user.get("externalId") == person(3)}
            bench.company.write(bench.folder)
            report = bench.driver.cycle().report
            assert report is not None
            assert report.state == "done", report.message
            links = _links()
            sent_before = sum(bench.service.requests.values())
        assert run.wait(), "it hangs"
    counted["stopped" if it.stopped else "too late"] += 1
    if it.stopped:
        assert run.status == 0, "it ended with a fault"
        assert sum(bench.service.requests.values()) == sent_before, "it went on sending"
        assert _links() == links, "it took links from the newer run"
    bench.driver.now += timedelta(minutes=20)
    report = bench.driver.cycle("reconcile").report
    assert report is not None
    assert report.state == "done", report.message
    assert bench.driver.preview("reconcile").empty
    with open_ledger() as ledger:
        log = ledger.log(JOB, limit=None)
        new = log.head(len(log) - lines_before)
        assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
        assert wrong_in_the_ledger(ledger, bench.service) == []
        assert wrong_in_the_log(bench.service, new, touched) == []


def _links() -> dict[str, str]:
    with open_ledger() as ledger:
        return {anchor: id for kind in Kind for anchor, id in ledger.links(JOB, kind)["target_id"].items()}


def test_runs_were_stopped() -> None:
    """The cases above say something only as long as their runs are stopped in the middle of something."""
    print(f"{counted['stopped']} runs stopped and overtaken, {counted['too late']} were over before")
    assert counted["stopped"] >= 0.8 * sum(counted.values())
