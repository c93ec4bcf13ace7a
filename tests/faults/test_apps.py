"""Every kind of change on every kind of app, with an answer lost, a write put off, or the run dead in the middle of it.

The many ways in which an HTTP service fails have a matrix of their own (``test_matrix``). Here it is the app that is
the parameter: whatever a target is made of, in the end there is no duplicate, nobody lost, and nobody else touched.
The short form has one fault for each change of tables, and a few of others; ``PROVISOR_LONG=1`` runs all.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.contract import Kind
from connectors.errors import RetryableError, UnknownOutcomeError
from connectors.kit import BlockingWire
from connectors.wire import Wire
from flows.cycle.systems import open_ledger
from flows.decisions.persons import Identity
from flows.decisions.staged import decide_staged
from tasks.ledger import StagedState
from tests.connectors.clocks import FakeClock
from tests.contract.memory import MemoryWire
from tests.data.expected import State
from tests.faults.changes import OPERATIONS
from tests.faults.company import JOB, STRANGERS, Company, write_job
from tests.flows.reading_back import differences, found_in
from tests.model.driver import Driver, Moment, Power
from tests.servers.apps import APPS, CLOUD_APPS, App
from tests.servers.entra_app import entra_app
from tests.servers.servicenow_app import servicenow_app

EVERY_APP = {**APPS, **CLOUD_APPS, "servicenow": servicenow_app, "entra": entra_app}
LONG = bool(os.environ.get("PROVISOR_LONG"))
CYCLES = 3
A_DAY = timedelta(hours=25)
FAULTS = ("answer lost before", "answer lost after", "put off", "dead before", "dead after")
STRUCK = (1, 2, 4)
"""Which of the writes are struck, counted from 0."""


def cases() -> Iterator[Any]:
    """All of it, or a sample; the matrix has SCIM's."""
    every = [(app, operation, fault) for app in EVERY_APP for operation in OPERATIONS for fault in FAULTS]
    if not LONG:
        every = [("sql", operation, FAULTS[number % len(FAULTS)]) for number, operation in enumerate(OPERATIONS)]
        every += [("memory", "create", "answer lost after")]
        every += [("servicenow", "add members", "answer lost after")]
        every += [("entra", "create", "answer lost after"), ("entra", "delete", "dead after")]
        every += [("entra", "add members", "answer lost after")]
        every += [("salesforce", "create", "answer lost after"), ("salesforce", "delete", "dead after")]
    for app, operation, fault in every:
        yield pytest.param(app, operation, fault, id=f"{app}: {operation}, {fault}")


@contextmanager
def failing(fault: str) -> Iterator[list[int]]:
    """Some writes fail, on their way or on the way back; gives the numbers of those that did."""
    seen, struck = 0, list[int]()

    def with_fault(send: Callable[..., Any], is_write: Callable[..., bool]) -> Callable[..., Any]:
        async def send_or_fail(wire: Any, *what: Any, **how: Any) -> Any:
            nonlocal seen
            number, seen = seen, seen + is_write(*what)
            if not is_write(*what) or number not in STRUCK:
                return await send(wire, *what, **how)
            struck.append(number)
            if fault == "put off":
                raise RetryableError("Not now.", retry_after_s=1.0)
            if fault == "answer lost after":
                await send(wire, *what, **how)
            raise UnknownOutcomeError("The answer was lost.")

        return send_or_fail

    with pytest.MonkeyPatch.context() as patch:
        for wire in (BlockingWire, MemoryWire):
            patch.setattr(wire, "send", with_fault(wire.send, lambda *what: True))
        patch.setattr(Wire, "exchange", with_fault(Wire.exchange, _is_write))
        yield struck


def _is_write(method: str, address: Any, *what: Any) -> bool:
    """Whether a request changes something; one for a token does not, nor one that holds several reads."""
    return method != "GET" and not address.path.endswith(("/token", "/$batch"))


def write_job_for(app: App, folder: Path) -> Path:
    """The company's job, with this app as its target."""
    path = write_job(folder, "")
    document = orjson.loads(path.read_bytes())
    document["target"] = app.section
    for section, kind in (("users", Kind.USER), ("groups", Kind.GROUP)):
        named = app.paths[kind]
        mapped = document[section]["attributes"]
        document[section]["attributes"] = {named.get(name, name): value for name, value in mapped.items()}
        for rule in document[section]["matching"]:
            rule["target"] = named.get(rule["target"], rule["target"])
    document["users"]["attributes"] |= app.extra
    if not app.deletes:
        document["deprovision"] = {"deleted": "disable"}
    path.write_bytes(orjson.dumps(document))
    return path


def let_through(now: datetime) -> None:
    """Approves that groups are emptied: those that have ended stay, and nobody empties one without being asked."""
    with open_ledger() as ledger:
        if ledger.staged(JOB):
            who = Identity("a test", "test")
            decide_staged(ledger, JOB, StagedState.APPROVED, who="a test", identity=who, now=now)


def strangers(app: App) -> list[Any]:
    """Accounts that are nobody's, as they are."""
    return [user for user in dict(app.users).values() if "externalId" not in user]


def wanted_in(app: App, company: Company, before: Company) -> State:
    """What the app must hold; ``before``: the company as it was at first."""
    wanted = company.expected()
    if not app.deletes:
        ended = {anchor: one for anchor, one in before.expected().groups.items() if anchor not in wanted.groups}
        wanted.groups.update(ended)
        left = {anchor: one for anchor, one in before.expected().users.items() if anchor not in wanted.users}
        wanted.users.update({anchor: {**one, "active": False} for anchor, one in left.items()})
    return wanted


def wrong(app: App, wanted: State, ledger: Any) -> list[str]:
    """Where the app or the ledger is not as it must be."""
    users = [user for user in dict(app.users).values() if "externalId" in user]
    groups = list(dict(app.groups).values())
    lines = differences(found_in(users, groups), wanted)
    lines += [f"the attempt to {one.action} {one.anchor} is open" for one in ledger.open_attempts(JOB)]
    lines += [f"{one.anchor} is in escrow" for one in ledger.escrows(JOB)]
    for kind, held in ((Kind.USER, users), (Kind.GROUP, groups)):
        links = ledger.links(JOB, kind)
        if dict(zip(links.index, links["target_id"], strict=True)) != {one["externalId"]: one["id"] for one in held}:
            lines.append(f"the links of {kind}s are not what the app holds")
    return lines


@pytest.mark.parametrize(("kind", "name", "fault"), list(cases()))
def test_everything_comes_right(
    kind: str, name: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promises 1, 3, 4 and 5, whatever the target is made of."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("connectors.kit.target.SystemClock", FakeClock)
    monkeypatch.setattr("connectors.scim.service.SystemClock", FakeClock)
    company = Company.make()
    company.write(tmp_path)
    with EVERY_APP[kind](tmp_path) as app:
        app.seed(users=STRANGERS["users"])
        before = strangers(app)
        driver = Driver(write_job_for(app, tmp_path))
        try:
            first = driver.cycle().report
            assert first is not None
            assert first.state == "done", first.message
            OPERATIONS[name].change(company)
            company.write(tmp_path)
            if fault.startswith("dead"):
                moment = Moment.BEFORE_CHANGE if fault == "dead before" else Moment.AFTER_CHANGE
                assert driver.cycle(power=Power(moment, STRUCK[0])).killed, "the run did not die"
            else:
                with failing(fault) as struck:
                    driver.cycle()
                assert struck, "the fault struck nobody"
            for _ in range(CYCLES):
                driver.now += A_DAY
                if not app.deletes:
                    let_through(driver.now)
                report = driver.cycle().report
                assert report is not None
                if report.state == "done" and driver.preview("reconcile").empty:
                    break
            else:
                raise AssertionError(f"not at rest after {CYCLES} clean cycles")
            with open_ledger() as ledger:
                assert wrong(app, wanted_in(app, company, Company.make()), ledger) == []
            assert strangers(app) == before
        finally:
            driver.close()
