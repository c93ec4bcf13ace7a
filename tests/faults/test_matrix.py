"""Every fault of the service, in the middle of every kind of change; then a clean run, and everything is as it must be.

Each case begins with a company that is provisioned, lets one kind of change happen in it, and runs a cycle (below the
orchestrator: see ``tests.model.driver``) against a service that fails: at 5 % of all requests and, so that no case is
empty, at one of the operation's own; or at every request from the operation's first one on, for two cycles. Then the
fault is cleared, and cycles run as escrow and quarantine let them. In the end there is no duplicate, nobody lost,
nothing taken away that was to stay, and the provisioning log says exactly what the service's own log says.

The short form runs a sample that is drawn anew only when the matrix changes; ``PROVISOR_LONG=1`` runs all of it.
"""

import os
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from connectors.contract import Kind
from flows.cycle.systems import open_ledger
from tests.faults.changes import OPERATIONS, Operation
from tests.faults.company import JOB, person
from tests.faults.conftest import Bench
from tests.faults.findings import ids_about, strangers_of, wrong_in_the_app, wrong_in_the_ledger, wrong_in_the_log

LONG = bool(os.environ.get("PROVISOR_LONG"))
CYCLES = 3
"""Cycles after the fault is gone, at most, until nothing is left to do: escrow and quarantine let entries wait."""
A_DAY = timedelta(hours=25)
"""Between two cycles: nobody waits longer in escrow after so few failures, and quarantine tries again."""

SWITCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "latency": ("latency", {"seconds": 0.005, "jitter_s": 0.01}),
    "429 seconds": ("too_many_requests", {"retry_after": "seconds", "seconds": 3}),
    "429 date": ("too_many_requests", {"retry_after": "date", "seconds": 3}),
    "429 without a wait": ("too_many_requests", {"retry_after": "absent"}),
    "429 absurd": ("too_many_requests", {"retry_after": "absurd"}),
    "429 past date": ("too_many_requests", {"retry_after": "past_date"}),
    "429 negative": ("too_many_requests", {"retry_after": "negative"}),
    "429 fraction": ("too_many_requests", {"retry_after": "fraction", "seconds": 0.5}),
    "429 words": ("too_many_requests", {"retry_after": "words"}),
    "token bucket": ("token_bucket", {"rate_per_s": 60, "burst": 2}),
    "500 before": ("error", {"status": 500}),
    "500 after": ("error", {"status": 500, "commit": "after"}),
    "502 page after": ("error", {"status": 502, "commit": "after", "page": True}),
    "503 before": ("error", {"status": 503, "retry_after": "seconds", "seconds": 2}),
    "503 after": ("error", {"status": 503, "commit": "after"}),
    "504 after": ("error", {"status": 504, "commit": "after"}),
    "reset before": ("reset", {}),
    "reset after": ("reset", {"commit": "after"}),
    "truncated": ("truncated", {}),
    "hang before": ("hang", {}),
    "hang after": ("hang", {"commit": "after"}),
    "html before": ("html", {}),
    "html after": ("html", {"commit": "after"}),
    "not json before": ("not_json", {}),
    "not json after": ("not_json", {"commit": "after"}),
    # Longer than a cycle looks for what it has lost, and than the next one takes to list everybody.
    "delayed lists": ("delayed_lists", {"requests": 12}),
    "expired token": ("expired_token", {}),
    "closed every few": ("close_every", {"every": 3}),
    "closed, announced": ("close_every", {"every": 1, "announced": True}),
    "in flight, reset": ("in_flight", {"limit": 2}),
    "in flight, 429": ("in_flight", {"limit": 1, "status": 429}),
}
LONG_ALONE = {
    *("429 date", "429 absurd", "429 past date", "429 negative", "429 fraction", "429 words"),
    *("503 before", "503 after", "504 after", "hang before", "html before", "not json after"),
    *("closed, announced", "in flight, 429"),
}
"""Switches that do to a cycle what another one does. The connector's own tests have all of them: how long it waits,
and what it takes an answer for."""
AT_A_TIME = {"in flight, reset", "in flight, 429"}
"""Switches that strike only where requests overlap, which takes a service that takes its time."""
STANDING = {"delayed lists", "closed every few", "closed, announced"}
"""Switches that hold for as long as they are set; how often a request is struck besides is another fault's part."""
SEVERITIES = ("5 %", "100 %")
LABELS = ("every request", "some", "one")
"""What the faults of a case are called."""


def cases() -> Iterator[Any]:
    """The whole matrix, or one case of each switch that does something of its own."""
    every = [
        (switch, operation, severity) for switch in SWITCHES for operation in OPERATIONS for severity in SEVERITIES
    ]
    if not LONG:
        chance = random.Random("the short form")
        chance.shuffle(every)
        every = sorted({case[0]: case for case in every if case[0] not in LONG_ALONE}.values())
    for switch, operation, severity in every:
        yield pytest.param(switch, operation, severity, id=f"{switch}: {operation}, {severity}")


def set_faults(bench: Bench, operation: Operation, switch: str, severity: str) -> None:
    """Lets the service fail from now on."""
    kind, settings = SWITCHES[switch]
    method, _, path = operation.request.partition(" ")
    if switch in AT_A_TIME:
        bench.service.set_fault("latency", seconds=0.004, since=operation.request)
    if switch in STANDING:
        bench.service.set_fault(kind, **settings)
        kind, settings = "reset", {"commit": "after"}
    if severity == "100 %":
        # Lists that are late show what the next requests ask for; were those lost as well, there would be no lists.
        only = {"method": method} if switch in STANDING else {}
        bench.service.set_fault(kind, label=LABELS[0], since=operation.request, **only, **settings)
        return
    chance = random.Random(f"{switch} {operation.request} {severity}")
    bench.service.set_fault(kind, label=LABELS[1], probability=0.05, **settings)
    bench.service.set_fault(
        kind, label=LABELS[2], method=method, path=f"^{path}", after=chance.randrange(6), times=1, **settings
    )


@pytest.mark.parametrize(("switch", "name", "severity"), list(cases()))
def test_everything_comes_right(bench: Bench, switch: str, name: str, severity: str) -> None:
    """Promises 1, 3, 4 and 5: whatever the fault, nobody is doubled, lost or touched without right, and it is written
    down truly.
    """
    operation = OPERATIONS[name]
    strangers, touched = strangers_of(bench.service), ids_about(bench.service, operation)
    operation.change(bench.company)
    bench.company.write(bench.folder)
    with open_ledger() as ledger:
        lines_before = len(ledger.log(JOB, limit=None))
        set_faults(bench, operation, switch, severity)
        bench.driver.cycle()
        if severity == "100 %":
            bench.driver.now += A_DAY
            bench.driver.cycle()
        struck = [fault.struck for label, fault in bench.service.faults.items() if label in LABELS]
        assert any(struck), "the fault struck nobody"
        bench.service.clear_fault()

        for _ in range(CYCLES):
            bench.driver.now += A_DAY
            report = bench.driver.cycle().report
            assert report is not None
            if report.state == "done" and bench.driver.preview("reconcile").empty:
                break
        else:
            raise AssertionError(f"not at rest after {CYCLES} clean cycles: {report.message}")

        log = ledger.log(JOB, limit=None)
        new = log.head(len(log) - lines_before)  # the newest lines come first
        assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
        assert wrong_in_the_ledger(ledger, bench.service) == []
        assert wrong_in_the_log(bench.service, new, touched) == []
        assert set(ledger.links(JOB, Kind.USER).index) >= {person(number) for number in range(20)}
