"""What the provisioning log says was sent is what the target has seen, also after faults and after a kill."""

from collections import Counter
from typing import Any

import pytest
import sqlalchemy as sa

from flows.cycle.systems import open_ledger
from tasks.ledger import READ_BACK, LogLine
from tests.flows.workplace import Row, Workplace, kill_hanging
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

JOB = "hr-to-scim"
Write = tuple[str, str, str]
"""Method, endpoint, and whose: an anchor for a create (a login where that is all that is sent), else the id there."""

_METHODS = {"create": "POST", "delete": "DELETE"}


def seen(service: ScimService) -> Counter[Write]:
    """Writes that have reached the target since its counts were forgotten, whatever it answered."""
    writes: Counter[Write] = Counter()
    for request in service.log:
        if request.method == "GET":
            continue
        _, endpoint, *rest = request.path.split("?")[0].split("/")
        body: dict[str, Any] = request.json() if request.body else {}
        writes[request.method, endpoint, rest[0] if rest else body.get("externalId", body.get("userName"))] += 1
    return writes


def lines(cycle: int | None = None) -> list[LogLine]:
    """Lines about changes that were, or were about to be, sent."""
    with open_ledger() as ledger:
        return [line for chunk in ledger.log_chunks(JOB, cycle=cycle) for line in chunk if line.change_id is not None]


def told(found: list[LogLine]) -> Counter[Write]:
    """The same writes as the log has them."""
    return Counter(
        (
            _METHODS.get(line.action, "PATCH"),
            "Users" if line.kind == "user" else "Groups",
            line.anchor if line.action == "create" else str(line.target_id),
        )
        for line in found
    )


def attempts() -> dict[str, str]:
    """Every attempt there ever was, and its status, by the change's id."""
    with open_ledger() as ledger, ledger._database.reading() as connection:
        return {row.change_id: row.status for row in connection.execute(sa.text("SELECT * FROM attempt"))}


def one_line_each(*, unanswered: int = 0) -> None:
    """Every attempt whose end is known has exactly one line, and no other has any."""
    by_change = Counter(line.change_id for line in lines())
    known = {change for change, status in attempts().items() if status not in ("sent", "unknown")}
    assert len(attempts()) - len(known) == unanswered
    assert set(by_change) == known
    assert set(by_change.values()) == {1}


def someone(small: Workplace, number: int) -> Row:
    """One of those who get an account, and whom nobody has as their manager."""
    managers = {row["manager"] for row in small.rows()}
    wanted = [row for row in small.rows() if (row["employeeType"], row["status"]) == ("employee", "active")]
    return [row for row in wanted if row["employeeId"] not in managers][number]


def test_writes_and_lines_are_the_same(small: Workplace, service: ScimService) -> None:
    """Creates, updates and disables, one request each: as many lines as requests, for each entry. A create that is
    refused is asked for with less each time, and is one line.
    """
    refused = someone(small, 0)
    service.set_fault("error", status=400, method="POST", contains=refused["userPrincipalName"])
    small.cycle("reconcile")
    writes, said = seen(service), told(lines())
    whose = {refused["employeeId"], refused["userPrincipalName"]}
    assert sum(writes.pop(write) for write in list(writes) if write[2] in whose) > 1
    assert said.pop(("POST", "Users", refused["employeeId"])) == 1
    assert writes == said
    one_line_each()
    service.clear_fault()
    service.reset_counts()
    small.change(someone(small, 1)["employeeId"], lambda row: row | {"jobTitle": "Archivist"})
    small.change(someone(small, 2)["employeeId"], lambda row: row | {"status": "terminated"})
    small.change(someone(small, 3)["employeeId"], lambda row: None)
    small.cycle("reconcile")
    writes = seen(service)
    assert {method for method, _, _ in writes} == {"POST", "PATCH"}
    assert writes == told(lines(cycle=2))
    one_line_each()


def test_requests_that_were_repeated_are_one_line(small: Workplace, service: ScimService) -> None:
    """Overload, broken connections and answers that got lost on the way: what was settled at once is told once."""
    service.set_fault("too_many_requests", method="POST,PATCH", probability=0.1, seconds=0)
    service.set_fault("reset", method="POST", path="^/Users", probability=0.1, commit="after")
    service.set_fault("error", label="dropped", status=503, method="PATCH", path="^/Groups", times=2, commit="before")
    report = small.cycle("reconcile")
    assert report.exit_status == 0, report.message
    assert set(seen(service)) == set(told(lines()))
    assert seen(service).total() > len(lines())
    one_line_each()


def test_a_lost_answer_is_told_once_it_is_known(small: Workplace, service: ScimService) -> None:
    """Nothing is said while nobody knows; the next cycle reads it back, and that is the one line about it."""
    took, lost = someone(small, 0), someone(small, 1)
    for label, row, commit in (("took", took, "after"), ("lost", lost, "before")):
        name = row["userPrincipalName"]
        service.set_fault("html", label=label, method="POST", path="^/Users", contains=name, commit=commit)
    # looking for it is refused as well, so that this cycle cannot find out
    service.set_fault("error", label="looks", status=400, method="GET", path="^/Users", contains="filter")
    report = small.cycle("reconcile")
    assert {failure.anchor for failure in report.failures} == {took["employeeId"], lost["employeeId"]}
    one_line_each(unanswered=2)
    assert not [line for line in lines() if line.anchor in (took["employeeId"], lost["employeeId"])]
    service.clear_fault()
    assert small.cycle("reconcile").exit_status == 0
    one_line_each()
    settled = {line.anchor: line for line in lines(cycle=2) if line.reason == READ_BACK}
    assert (settled[took["employeeId"]].status, settled[lost["employeeId"]].status) == ("success", "failure")
    assert "The response was lost; the target shows that it had taken effect" in settled[took["employeeId"]].message
    again = [line for line in lines(cycle=2) if line.anchor == lost["employeeId"] and line.action == "create"]
    assert sorted(line.status for line in again) == ["failure", "success"]
    assert set(seen(service)) <= set(told(lines()))


@pytest.mark.parametrize("commit", ["after", "before"])
def test_after_a_kill_every_write_has_its_line(
    small: Workplace, service: ScimService, prefect_api: str, commit: str
) -> None:
    """The dead run's writes and those of the next one: nothing on the wire that the log does not have, and no line
    twice."""
    small.save(load={"batch_size": 40, "concurrency": 2})
    service.set_fault("hang", method="POST", path="^/Users", after=90, commit=commit, seconds=600)
    process = small.start("run", str(small.job), PREFECT_API_URL=prefect_api)
    kill_hanging(process, service)
    one_line_each(unanswered=sum(status in ("sent", "unknown") for status in attempts().values()))
    assert small.cycle().exit_status == 0
    one_line_each()
    untold = seen(service) - told(lines())
    assert not untold, f"{untold.total()} writes on the wire have no line"
    assert [line for line in lines() if line.reason == READ_BACK]
