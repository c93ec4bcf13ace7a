"""Data checks, reports and Data Docs of whole cycles, in this process and without an orchestrator."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flows.cycle.pages import docs_folder, reports_folder
from flows.cycle.sight import CycleChoice
from flows.cycle.systems import figures_folder, open_ledger
from tasks.expectations import keep_known, read_figures, read_known
from tasks.job import Checked
from tasks.ledger import CycleState
from tasks.report import CycleReport
from tests.flows.workplace import Command, Row, Workplace, accounts
from tests.model.driver import Driver
from tests.servers.scim_service import ScimService

MARKUP = "<script>alert('x')</script>"


@pytest.fixture
def driver(small: Workplace) -> Iterator[Driver]:
    """Runs cycles of the small workplace's job."""
    made = Driver(small.job)
    yield made
    made.close()


def named(row: Row) -> Row:
    return {**row, "displayName": MARKUP}


def page_of(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def test_every_cycle_leaves_its_pages(small: Workplace, driver: Driver, provisor: Command) -> None:
    """The report says where it is, the commands find it, and a name in it is no markup."""
    anchor = small.rows()[0]["employeeId"]
    small.change(anchor, named)
    first = driver.cycle().report
    assert first is not None
    assert first.page == str(reports_folder("hr-to-scim") / "1.html")
    assert "<script" not in page_of(first.page)
    assert "all" in page_of(first.docs)
    driver.cycle()
    said = provisor("report", small.job)
    assert (said.status, said.out.strip()) == (0, (reports_folder("hr-to-scim") / "2.html").as_uri())
    assert provisor("report", "hr-to-scim", "--cycle", 1).out.strip().endswith("/1.html")
    assert provisor("docs", "hr-to-scim").out.strip() == (docs_folder("hr-to-scim") / "index.html").as_uri()
    missing = provisor("report", "hr-to-scim", "--cycle", 9)
    assert (missing.status, missing.err.strip()) == (
        2,
        "The job hr-to-scim has no report of cycle 9; there are: 1, 2.",
    )
    assert provisor("docs", "nothing").status == 2


def test_built_in_checks_warn_and_figures_are_remembered(small: Workplace, driver: Driver) -> None:
    """A duplicate address is said with its numbers; who shares it is in Data Docs by key."""
    one, other = small.rows()[3], small.rows()[4]
    small.change(other["employeeId"], lambda row: {**row, "userPrincipalName": one["userPrincipalName"]})
    ended = driver.cycle()
    assert ended.report is not None
    [shared] = [said for said in ended.report.findings if "share their value of [userPrincipalName]" in said]
    assert "2 of 240 entries" in shared
    document = json.loads(Path(ended.report.docs).with_suffix(".json").read_bytes())
    keys = [one["result"].get("unexpected_index_list") for one in document["results"] if not one["success"]]
    assert sorted([one["employeeId"], other["employeeId"]]) in keys
    assert one["userPrincipalName"] not in json.dumps(document)
    assert [one.rows for one in read_figures(figures_folder("hr-to-scim"))[Checked.SOURCE_USERS]] == [240]


def test_what_is_known_is_neither_told_nor_looked_at_again(
    small: Workplace, driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    """A source that is as it was gives what it gave, once a day everything is looked at, and a warning comes once.

    Held rows stay held, and such a source is no measure of its own.
    """
    one, other = small.rows()[3], small.rows()[4]
    small.change(other["employeeId"], lambda row: {**row, "userPrincipalName": one["userPrincipalName"]})
    small.save(checks={"builtin": {"matching": "hold_rows"}})

    def cycle(choice: CycleChoice = CycleChoice.AUTO) -> tuple[CycleReport, list[str]]:
        caplog.clear()
        with caplog.at_level(logging.INFO, "provisor"):
            report = driver.cycle(choice).report
        assert report is not None
        return report, [record.message for record in caplog.records if record.levelno == logging.WARNING]

    first, told = cycle()
    assert [said for said in told if "share their value" in said] == [said for said in first.news if "share" in said]
    assert first.counts["held"] == 2

    folder = figures_folder("hr-to-scim")
    known = read_known(folder)
    mark = replace(next(iter(known.results)), success=False, words="it is as it was")
    keep_known(folder, replace(known, results=(*known.results, mark)))
    again, told = cycle()
    assert [said for said in again.news if "it is as it was" not in said] == []
    assert any("it is as it was" in said for said in again.findings), "nothing was worked out again"
    assert [said for said in told if "share" in said] == []
    assert again.counts["held"] == 2
    assert [one.rows for one in read_figures(folder)[Checked.SOURCE_USERS]] == [240]

    listed, _ = cycle(CycleChoice.RECONCILE)
    assert not any("it is as it was" in said for said in listed.findings)
    assert (list(listed.news), [said for said in listed.findings if "share" in said] != []) == ([], True)
    small.change(one["employeeId"], lambda row: {**row, "userPrincipalName": "somebody.else@example.com"})
    last, _ = cycle()
    assert not any("share" in said for said in last.findings)


def test_a_plan_check_holds_its_rows_and_the_cycle_goes_on(
    small: Workplace, driver: Driver, service: ScimService
) -> None:
    """Who is held gets no account and a line in the log that names the expectation; the next cycle tries again."""
    anchor = next(
        row["employeeId"] for row in small.rows() if row["status"] == "active" and row["employeeType"] != "contractor"
    )
    rule = {
        "expect_column_values_to_not_be_in_set": {"column": "anchor", "value_set": [anchor]},
        "on_failure": "hold_rows",
    }
    small.save(checks={"plan": [rule]})
    report = driver.cycle().report
    assert report is not None
    assert accounts(service, anchor) == []
    assert report.counts["created"] > 100
    with open_ledger() as ledger:
        log = ledger.log("hr-to-scim", identity=anchor)
    assert "expect_column_values_to_not_be_in_set" in log["message"].str.cat()
    assert log["code"].tolist() == ["NotPermitted"]
    small.save(checks={})
    driver.cycle()
    assert len(accounts(service, anchor)) == 1


def test_a_stop_is_in_data_docs_too(small: Workplace, driver: Driver, service: ScimService) -> None:
    """Nothing was written, and the page of the cycle says which check it was; figures of it are no measure."""
    small.save(checks={"source.users": [{"expect_table_row_count_to_be_between": {"min_value": 9_999}}]})
    report = driver.cycle().report
    assert report is not None
    assert report.state is CycleState.STOPPED
    assert len(service.users) == 0
    assert "expect_table_row_count_to_be_between" in page_of(report.docs)
    assert "Stopped" in page_of(report.page)
    assert read_figures(figures_folder("hr-to-scim")) == {}
