"""Lists, and answers about new entries, that are late: nothing is created twice, and nothing taken for drift."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta

import orjson
import pytest

from flows.cycle.lease import LEASE
from flows.cycle.systems import open_ledger
from tests.faults.changes import OPERATIONS
from tests.faults.company import JOB, Company, group
from tests.faults.conftest import Bench
from tests.faults.findings import ids_about, strangers_of, wrong_in_the_app, wrong_in_the_ledger, wrong_in_the_log
from tests.faults.lateness import lateness
from tests.model.driver import Moment, Power


def with_a_new_group(company: Company) -> None:
    company.groups[group(24)] = "Team 24"
    company.members |= {(group(24), "p001"), (group(24), "p002")}


CHANGES: dict[str, Callable[[Company], None]] = {
    **{name: operation.change for name, operation in OPERATIONS.items()},
    "a new group": with_a_new_group,
}
DRIFTS = ("report", "correct")


def changes_and_drifts() -> Iterator[tuple[str, str]]:
    """Each kind of change; the long form, with ``PROVISOR_LONG=1``, has each with both ways to treat drift."""
    for number, name in enumerate(CHANGES):
        for drift in DRIFTS if os.environ.get("PROVISOR_LONG") else (DRIFTS[number % 2],):
            yield name, drift


@pytest.mark.parametrize(("name", "drift"), list(changes_and_drifts()))
def test_a_listing_that_does_not_show_it_yet_changes_nothing(bench: Bench, name: str, drift: str) -> None:
    """With ``reconcile: every_cycle`` what was done a moment ago is listed at once: neither sent again nor reported."""
    bench.service.quirks["duplicate_user_name"] = "created"
    document = orjson.loads(bench.driver.job.read_bytes())
    bench.driver.job.write_bytes(orjson.dumps(document | {"drift": drift, "reconcile": "every_cycle"}))
    strangers = strangers_of(bench.service)
    with lateness(bench.service) as late:
        assert bench.driver.cycle("reconcile").report is not None
        CHANGES[name](bench.company)
        bench.company.write(bench.folder)
        late.begin(late=False)
        bench.service.set_fault("delayed_lists", requests=10_000)
        report = bench.driver.cycle("incremental").report
        assert report is not None
        assert report.state == "done", report.message
        bench.service.reset_counts()
        late.begin(late=True)
        report = bench.driver.cycle("reconcile").report
        assert late.late_lists
        assert report is not None
        assert report.state == "done", report.message
        assert [line for line in bench.service.requests if not line.startswith("GET")] == []
        assert report.drift is not None
        assert report.drift.entries == []
    assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
    del bench.service.quirks["duplicate_user_name"]


@pytest.mark.parametrize("commit", ["before", "after"])
@pytest.mark.parametrize("name", ["create", "a new group"])
def test_a_create_whose_answer_was_lost_is_made_once(bench: Bench, name: str, commit: str) -> None:
    """Though neither lists nor filters show it for some time, and the service takes doubles: users and groups."""
    bench.service.quirks["duplicate_user_name"] = "created"
    strangers = strangers_of(bench.service)
    operation = OPERATIONS["create"]
    with open_ledger() as ledger:
        lines_before = len(ledger.log(JOB, limit=None))
        CHANGES[name](bench.company)
        bench.company.write(bench.folder)
        bench.service.set_fault("delayed_lists", requests=8)
        bench.service.set_fault("hang", method="POST", times=3, commit=commit, seconds=30)
        bench.driver.cycle("incremental")
        bench.service.clear_fault("hang")
        for _ in range(2):
            report = bench.driver.cycle("reconcile", at_once=tuple(one.anchor for one in ledger.escrows(JOB))).report
        assert report is not None
        assert report.state == "done", report.message
        log = ledger.log(JOB, limit=None)
        touched = ids_about(bench.service, operation) | set(bench.service.groups)
        assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
        assert wrong_in_the_ledger(ledger, bench.service) == []
        assert wrong_in_the_log(bench.service, log.head(len(log) - lines_before), touched) == []
    del bench.service.quirks["duplicate_user_name"]


@pytest.mark.parametrize("how", ["incremental", "reconcile"])
def test_an_account_that_is_found_by_name_is_there_though_its_id_is_not_known_yet(bench: Bench, how: str) -> None:
    """The run that made it died before the answer came; the next one finds it by name and asks for it by its id."""
    bench.service.quirks["duplicate_user_name"] = "created"
    strangers = strangers_of(bench.service)
    with lateness(bench.service) as late:
        assert bench.driver.cycle("reconcile").report is not None
        OPERATIONS["create"].change(bench.company)
        bench.company.write(bench.folder)
        late.begin(late=True)
        assert bench.driver.cycle("incremental", power=Power(Moment.AFTER_CHANGE)).killed
        bench.driver.now += LEASE
        report = bench.driver.cycle(how).report
        assert report is not None
        assert report.state == "done", report.message
    assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
    with open_ledger() as ledger:
        assert wrong_in_the_ledger(ledger, bench.service) == []
    del bench.service.quirks["duplicate_user_name"]


def test_a_leaver_whose_new_account_is_not_listed_yet_loses_it(bench: Bench) -> None:
    """Gone from the source, and not in a late list: the account is asked for before its link ends."""
    strangers = strangers_of(bench.service)
    people = dict(bench.company.people)
    with lateness(bench.service) as late:
        assert bench.driver.cycle("reconcile").report is not None
        OPERATIONS["create"].change(bench.company)
        bench.company.write(bench.folder)
        late.begin(late=False)
        bench.service.set_fault("delayed_lists", requests=10_000)
        assert bench.driver.cycle("incremental").report is not None
        bench.company.people = people
        bench.company.write(bench.folder)
        late.begin(late=True)
        report = bench.driver.cycle("reconcile").report
        assert late.late_lists
        assert report is not None
        assert report.state == "done", report.message
    bench.service.clear_fault()
    assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
    with open_ledger() as ledger:
        assert wrong_in_the_ledger(ledger, bench.service) == []


def _returned(company: Company) -> None:
    company.people["p021"].status = "active"


def _left_again(company: Company) -> None:
    company.people["p021"].status = "terminated"


def _gone_again(company: Company) -> None:
    del company.people["p021"]


def _joined(company: Company) -> None:
    company.members |= {(group(3), "p019")}


def _parted(company: Company) -> None:
    company.members -= {(group(3), "p019")}


@pytest.mark.parametrize(
    ("give", "take", "choice"),
    [
        (_returned, _left_again, "reconcile"),
        (_returned, _gone_again, "reconcile"),
        (_joined, _parted, "reconcile"),
        (_joined, _parted, "initial"),
    ],
)
def test_what_was_given_a_moment_ago_is_taken_away_though_a_list_does_not_show_it_yet(
    bench: Bench, give: Callable[[Company], None], take: Callable[[Company], None], choice: str
) -> None:
    """The list shows what is wanted already; what was written since is what counts."""
    strangers = strangers_of(bench.service)
    with lateness(bench.service) as late:
        _left_again(bench.company)
        bench.company.write(bench.folder)
        for _ in range(2):  # the second list shows what the first cycle has done
            bench.driver.now += timedelta(hours=2)
            assert bench.driver.cycle("reconcile").report is not None
        bench.driver.now += timedelta(hours=2)
        give(bench.company)
        bench.company.write(bench.folder)
        late.begin(late=False)
        bench.service.set_fault("delayed_lists", requests=10_000)
        assert bench.driver.cycle("incremental").report is not None
        assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
        take(bench.company)
        bench.company.write(bench.folder)
        late.begin(late=True)
        report = bench.driver.cycle(choice).report
        assert late.late_lists
        assert report is not None
        assert report.state == "done", report.message
    bench.service.clear_fault()
    for user in bench.service.users.values():
        if take is _gone_again and user.get("externalId") == "p021":
            assert user["active"] is False
    if take is not _gone_again:
        assert wrong_in_the_app(bench.service, bench.company.expected(), strangers) == []
