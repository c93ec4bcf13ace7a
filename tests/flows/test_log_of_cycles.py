"""What cycles write into the log besides what they send: who began them, who is passed over, what is old."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun

from connectors.contract import Kind
from connectors.errors import ErrorCode
from flows.cycle.systems import open_ledger
from flows.decisions.initiator import started_by
from flows.decisions.persons import own_identity
from tasks.ledger import Ledger, LogLine
from tests.data.expected import desired_state
from tests.flows.workplace import Workplace, at, staff

JOB = "hr-to-scim"


def lines(**filters: object) -> list[LogLine]:
    with open_ledger() as ledger:
        return [line for chunk in ledger.log_chunks(JOB, **filters) for line in chunk]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scheduled", "who", "said"),
    [
        (True, None, "schedule of hr"),
        (True, {"type": "SCHEDULE", "display_value": "every 20m"}, "schedule of hr"),
        (False, {"type": "USER", "display_value": "eve"}, "eve, by the deployment hr"),
        (False, None, "the deployment hr"),
    ],
)
def test_a_run_of_a_deployment_says_what_began_it(
    scheduled: bool, who: dict[str, str] | None, said: str, tmp_path: Path
) -> None:
    """Its schedule, or whoever asked for it, as far as the API knows; a tag is no name."""
    run = FlowRun.model_validate(
        {"flow_id": uuid4(), "deployment_id": uuid4(), "auto_scheduled": scheduled, "created_by": who}
    )
    run = run.model_copy(update={"tags": ["by:mallory"], "idempotency_key": "of somebody else"})
    with Ledger.open(None, tmp_path) as ledger:
        assert started_by(run, "hr", ledger, "hr") == said


@pytest.mark.usefixtures("plain_runs")
def test_lines_name_login_and_systems_and_who_is_passed_over_is_told_once(small: Workplace) -> None:
    """On the command line it is the person's login on the machine. People out of scope and people whom the source has
    disabled get one line in the first cycle, and none in the next; somebody who comes later gets theirs then."""
    small.cycle()
    wanted = desired_state(small.export)
    rows = {row["employeeId"]: row for row in small.rows()}
    found = {line.anchor: line for line in lines(code=ErrorCode.SKIPPED)}
    without = rows.keys() - wanted.users.keys()
    assert without, "everybody in the export has an account"
    assert set(found) == without
    for anchor, line in found.items():
        expected = "out of scope" if anchor in wanted.out_of_scope else "disabled in the source"
        assert line.reason.startswith(expected), anchor
    assert {(line.initiator, line.source, line.target) for line in lines()} == {
        (
            own_identity().shown,
            "csv hr-to-scim/people.csv, hr-to-scim/groups.csv",
            f"scim {small.document['target']['url']}",
        )
    }
    newcomer = next(row for row in rows.values() if row["employeeType"] == "contractor") | {
        "employeeId": "777777",
        "userPrincipalName": "late@example.com",
        "department": "Legal",
    }
    small.write_rows([*rows.values(), newcomer])
    small.cycle()
    assert [line.anchor for line in lines(cycle=2, code=ErrorCode.SKIPPED)] == ["777777"]


@pytest.mark.usefixtures("plain_runs")
def test_what_is_older_than_the_job_keeps_is_forgotten(small: Workplace) -> None:
    """At the end of a cycle that came to its end; accounts, links and younger lines stay, and nothing is sent again."""
    began = datetime(2026, 3, 1, tzinfo=UTC)
    small.save(log={"keep": "30d"})
    for days, left in ((0, {1}), (29, {1, 2}), (31, {2, 3})):
        small.change(small.rows()[0]["employeeId"], lambda row, days=days: row | {"city": f"Town {days}"})  # type: ignore[misc]
        with at(began + timedelta(days=days)):
            assert small.cycle().exit_status == 0
        assert {line.cycle for line in lines() if line.code != ErrorCode.SKIPPED} == left
    with open_ledger() as ledger:
        assert set(ledger.links(JOB, Kind.USER).index) == set(desired_state(small.export).users)
        assert ledger.open_attempts(JOB) == []


@pytest.mark.usefixtures("plain_runs")
def test_quiet_cycles_add_nothing_to_the_log(small: Workplace) -> None:
    """What is not complete yet is said when it appears, and when it is over, not in each cycle between."""
    someone = staff(small)[0]["employeeId"]
    small.change(someone, lambda row: row | {"manager": "nobody"})
    for _ in range(3):
        small.cycle()
    noted = [line for line in lines() if line.anchor == someone and line.status == "warning"]
    assert [line.cycle for line in noted] == [1]
    assert [line.cycle for line in lines() if line.cycle in (2, 3)] == []
    small.change(someone, lambda row: row | {"manager": ""})
    small.cycle()
    assert [(line.status, line.message) for line in lines(cycle=4) if line.action == "skip"] == [
        ("success", f"No longer so: {noted[0].message}")
    ]
