"""A run dies between writing an intent down and sending it, and by the time of the next run nobody wants it any more.

What was never sent must not be taken for done because the next plan does not want it: an account that was to be deleted
is still there, and active. Each kind of change, users and groups, killed before or after the service has done it; then
it is wanted again, or has been thought better of. The short form has every pair of these; the long form, with
``PROVISOR_LONG=1``, all of it.
"""

import os
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from connectors.contract import Kind
from flows.cycle.systems import open_ledger
from tests.faults.changes import OPERATIONS
from tests.faults.company import JOB
from tests.faults.conftest import Bench
from tests.faults.findings import ids_about, strangers_of, wrong_in_the_app, wrong_in_the_ledger, wrong_in_the_log
from tests.model.driver import Moment, Power

CHOICES = ("incremental", "reconcile")
MOMENTS = {Moment.AFTER_JOURNAL: "not sent", Moment.AFTER_CHANGE: "done"}


def cases() -> Iterator[Any]:
    """Kind of change, moment of the death, whether it is withdrawn, and how the next run reads."""
    for (number, name), (late, moment), withdrawn, choice in product(
        enumerate(OPERATIONS), enumerate(MOMENTS), (True, False), CHOICES
    ):
        paired = withdrawn == bool((number + late) % 2) and choice == CHOICES[(number // 2 + late) % 2]
        if paired or os.environ.get("PROVISOR_LONG"):
            words = (name, MOMENTS[moment], "withdrawn" if withdrawn else "still wanted", choice)
            yield pytest.param(name, moment, withdrawn, choice, id=", ".join(words))


@pytest.mark.parametrize(("name", "moment", "withdrawn", "choice"), list(cases()))
def test_it_ends_by_what_the_target_shows(
    bench: Bench, name: str, moment: Moment, withdrawn: bool, choice: str
) -> None:
    """No line says that something was done which was not, none is missing, and nobody has two accounts."""
    bench.service.quirks["duplicate_user_name"] = "created"
    operation, before = OPERATIONS[name], bench.company.copy()
    touched, strangers = ids_about(bench.service, operation), strangers_of(bench.service)
    with open_ledger() as ledger:
        lines_before = len(ledger.log(JOB, limit=None))
        operation.change(bench.company)
        bench.company.write(bench.folder)
        assert bench.driver.cycle("incremental", power=Power(moment, nth=1)).killed
        unanswered = ledger.open_attempts(JOB)
        assert unanswered, "it died too early, or too late"
        if withdrawn:
            for anchor, one in before.people.items():  # nothing from the source leaves alone what is there
                one.mail = one.mail or bench.company.people.get(anchor, one).mail
            bench.company = before
            bench.company.write(bench.folder)
        report = bench.driver.cycle(choice).report
        assert report is not None
        assert report.state == "done", report.message
        log = ledger.log(JOB, limit=None)
        new = log.head(len(log) - lines_before)
        if not (withdrawn and name == "create"):  # these are looked for, for an hour
            assert wrong_in_the_ledger(ledger, bench.service) == []
            assert {one.change_id for one in unanswered} <= set(new["change_id"])
        assert wrong_in_the_log(bench.service, new, touched) == []
        if not (withdrawn and name == "create"):
            assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
    assert bench.driver.preview("reconcile").empty
    del bench.service.quirks["duplicate_user_name"]


def test_a_leaver_who_comes_back_after_a_delete_that_was_never_sent_keeps_the_account(bench: Bench) -> None:
    """Three people are enough: before, the link was dropped, the account stayed active, and a second one was made."""
    bench.service.quirks["duplicate_user_name"] = "created"
    ids = set(bench.service.users)
    before = bench.company.copy()
    OPERATIONS["delete"].change(bench.company)
    bench.company.write(bench.folder)
    bench.driver.cycle("incremental", power=Power(Moment.AFTER_JOURNAL, nth=0))
    before.write(bench.folder)
    assert bench.driver.cycle("incremental").report is not None
    assert set(bench.service.users) == ids
    with open_ledger() as ledger:
        assert len(ledger.links(JOB, Kind.USER)) == len(before.people)
    del bench.service.quirks["duplicate_user_name"]
