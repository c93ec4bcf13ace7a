"""flows/jobs/hr-to-sql.yaml: an HR export into the tables of an app, read back by plain SQL.

A life of the demo's 1,000 people and 40 groups, with those who are there to break careless code.
"""

import sqlite3
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from ruamel.yaml import YAML
from sqlalchemy.pool import NullPool

from tests.data.expected import ENTERPRISE, MANAGER, State, desired_state
from tests.flows.reading_back import Found, differences
from tests.flows.workplace import EXPORT, ROOT, Command, Workplace
from tests.servers.starting import DatabaseServer

pytestmark = pytest.mark.usefixtures("plain_runs")

JOB = ROOT / "flows" / "jobs" / "hr-to-sql.yaml"
PATHS = {
    "user_name": "userName",
    "employee_id": "externalId",
    "active": "active",
    "display_name": "displayName",
    "given_name": "name.givenName",
    "family_name": "name.familyName",
    "mail": 'emails[type eq "work"].value',
    "title": "title",
    "city": 'addresses[type eq "work"].locality',
    "country": 'addresses[type eq "work"].country',
    "language": "preferredLanguage",
    "employee_number": f"{ENTERPRISE}employeeNumber",
    "company": f"{ENTERPRISE}organization",
    "department": f"{ENTERPRISE}department",
    "cost_center": f"{ENTERPRISE}costCenter",
}
"""Columns, in the words of ``tests/data/expected.py``."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The app's tables in either database, with nobody in them."""
    text = (JOB.with_suffix("") / "app.sql").read_text(encoding="utf-8")
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path}/app.db"
        with sqlite3.connect(tmp_path / "app.db") as connection:
            connection.executescript(text)
        connection.close()
    else:
        running: DatabaseServer = request.getfixturevalue("postgresql_server")
        address = running.create_database(f"app{abs(hash(request.node.name))}")
        run(address, *text.replace("integer PRIMARY KEY AUTOINCREMENT", "serial PRIMARY KEY").split(";\n"))
    monkeypatch.setenv("APP_DATABASE", address)
    return address


@pytest.fixture
def workplace(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workplace:
    """The job as it stands, with the first export and a state folder of its own."""
    made = Workplace(tmp_path / "work", YAML(typ="safe").load(JOB))
    made.export.mkdir(parents=True)
    made.save().use(EXPORT)
    monkeypatch.setenv("PROVISOR_HOME", str(made.home))
    return made


def run(url: str, *statements: str) -> list[dict[str, Any]]:
    """Plain SQL; the rows of the last statement."""
    engine = sa.create_engine(url, poolclass=NullPool)
    found: list[dict[str, Any]] = []
    with engine.begin() as connection:
        for statement in statements:
            if statement.strip():
                cursor = connection.exec_driver_sql(statement)
                found = [dict(row._mapping) for row in cursor] if cursor.returns_rows else []
    return found


def read_tables(url: str) -> Found:
    """What the app's tables hold, by anchors. Two accounts of one person are an AssertionError."""
    found = Found()
    anchor_of = {row["id"]: row["employee_id"] for row in run(url, "SELECT id, employee_id FROM account")}
    for row in run(url, "SELECT * FROM account"):
        account = {PATHS[name]: value for name, value in row.items() if name in PATHS and value is not None}
        account["active"] = bool(account["active"])
        if row["manager_id"] is not None:
            account[MANAGER] = anchor_of[row["manager_id"]]
        assert row["employee_id"] not in found.users, f"two accounts for {row['employee_id']}"
        found.users[row["employee_id"]] = account
    names = {row["id"]: row for row in run(url, "SELECT * FROM team")}
    for row in names.values():
        found.groups[row["external_id"]] = {"displayName": row["name"], "externalId": row["external_id"]}
    for row in run(url, "SELECT team_id, account_id FROM team_member"):
        found.edges.add((names[row["team_id"]]["external_id"], anchor_of[row["account_id"]]))
    return found


def test_a_life_of_the_app(workplace: Workplace, url: str, provisor: Command) -> None:
    """A new company; a day with joiners, movers and leavers; who returns is there again, in the same row."""
    first = desired_state(EXPORT)
    report = workplace.cycle()
    assert report.exit_status == 0, report.message
    assert differences(read_tables(url), first) == []
    ids = {row["employee_id"]: row["id"] for row in run(url, "SELECT id, employee_id FROM account")}

    workplace.use(EXPORT / "next")
    second = desired_state(EXPORT / "next", first)
    report = workplace.cycle()
    assert report.exit_status == 0, report.message
    assert differences(read_tables(url), second) == []

    nothing = workplace.cycle("initial")
    assert nothing.exit_status == 0, nothing.message
    assert {name: count for name, count in nothing.counts.items() if count} == {}

    workplace.document["limits"] = {"removals": {"count": 500}, "members": {"count": 500}}
    workplace.save().use(EXPORT)
    report = workplace.cycle()
    back = desired_state(EXPORT, second)
    back.edges = {edge for edge in back.edges if edge[1] in back.in_scope}  # who leaves the scope leaves the groups
    found = read_tables(url)
    [ended] = found.groups.keys() - back.groups.keys()  # a group that the source no longer has is kept, and emptied
    emptied = {edge for edge in second.edges if edge[0] == ended}
    assert (report.exit_status, report.counts["staged"]) == (3, len(emptied)), report.message
    assert found.edges == back.edges | emptied
    assert provisor("approve", workplace.job).status == 0
    report = workplace.cycle()
    assert report.exit_status == 0, report.message
    found = read_tables(url)
    del found.groups[ended]
    assert differences(found, back) == []
    assert {
        row["employee_id"]: row["id"] for row in run(url, "SELECT id, employee_id FROM account")
    }.items() >= ids.items()


def test_killed_in_the_middle(small: Workplace, url: str, prefect_api: str) -> None:
    """A process that is killed with no warning is caught up with: everybody once, nobody lost."""
    wanted: State = desired_state(small.export)
    small.save(load={"batch_size": 5, "concurrency": 1})
    process = small.start("run", str(small.job), PREFECT_API_URL=prefect_api, APP_DATABASE=url)
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        if run(url, "SELECT count(*) AS n FROM account")[0]["n"] > 20:
            break
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    process.kill()
    process.communicate(timeout=30)
    there = run(url, "SELECT count(*) AS n FROM account")[0]["n"]
    assert 0 < there < len(wanted.users), "the kill came too late to be in the middle of anything"
    del small.document["load"]
    report = small.save().cycle()
    assert report.exit_status == 0, report.message
    assert differences(read_tables(url), wanted) == []


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_the_connection_is_lost_in_mid_commit(small: Workplace, url: str) -> None:
    """The server ends the session's own backend while it commits, again and again: everybody is there once."""
    run(
        url,
        "CREATE SEQUENCE commits",
        """CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF mod(nextval('commits'), 61) = 0 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
             RETURN NULL; END $$""",
        """CREATE CONSTRAINT TRIGGER cut AFTER INSERT ON account DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION cut()""",
    )
    wanted = desired_state(small.export)
    small.save(load={"batch_size": 20})
    small.cycle()
    report = small.cycle()
    assert report.exit_status == 0, report.message
    assert run(url, "SELECT last_value AS n FROM commits")[0]["n"] > len(wanted.users), "nothing was cut"
    assert differences(read_tables(url), wanted) == []
