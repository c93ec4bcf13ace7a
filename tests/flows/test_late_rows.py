"""A row that was committed late, with an earlier time stamp, is seen by the whole read that comes once a day."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from tests.flows.workplace import Workplace, account, accounts, at, staff
from tests.servers.scim_service import ScimService

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)


def mark(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


@pytest.mark.usefixtures("plain_runs")
def test_a_leaver_behind_the_mark_is_disabled_within_a_day(small: Workplace, service: ScimService) -> None:
    """However seldom the target is listed. Within the overlap a change is seen at once, and nobody hides anybody."""
    people = [row | {"manager": "", "updated": mark(NOON)} for row in small.rows()]
    file = small.folder / "hr.db"
    columns = list(people[0])

    def write(statement: str, *values: str) -> None:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute(statement, values)
            connection.commit()

    write(f"CREATE TABLE people ({', '.join(columns)})")
    for row in people:
        write(f"INSERT INTO people VALUES ({', '.join('?' * len(columns))})", *row.values())
    enabled = small.document["source"]["users"] | {"table": "people", "watermark": "updated"}
    del enabled["path"]
    small.document.pop("groups", None)
    small.save(source={"connector": "sql", "url": f"sqlite:///{file}", "users": enabled}, reconcile="never")
    early, late, gone = (row["employeeId"] for row in staff(small)[:3])

    with at(NOON):
        assert small.cycle().exit_status == 0
    write("UPDATE people SET status = 'terminated', updated = ? WHERE employeeId = ?", mark(NOON), early)
    write("UPDATE people SET updated = ? WHERE employeeId = ?", mark(NOON - timedelta(minutes=14)), early)
    write("UPDATE people SET status = 'terminated', updated = '2020-01-01 00:00:00' WHERE employeeId = ?", late)
    write("DELETE FROM people WHERE employeeId = ?", gone)
    joiner = people[0] | {"employeeId": "999999", "userPrincipalName": "new@example.com", "mail": "new@example.com"}
    write(f"INSERT INTO people VALUES ({', '.join('?' * len(columns))})", *joiner.values())
    with at(NOON + timedelta(hours=1)):
        small.cycle()
    assert not account(service, early)["active"]
    assert not account(service, gone)["active"]
    assert accounts(service, "999999")
    assert account(service, late)["active"]  # nothing tells a database's reader of it yet
    with at(NOON + timedelta(hours=25)):
        report = small.cycle()
    assert str(report.kind) == "incremental"
    assert not account(service, late)["active"]
