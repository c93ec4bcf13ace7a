"""The example jobs: that every one loads, and that its input data are there."""

import sqlite3
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tasks.job import load_job
from tests.data.hr_database import sql_text

JOBS = Path(__file__).parents[2] / "flows" / "jobs"
FILES = sorted(JOBS.glob("*.yaml"))


@pytest.fixture
def database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript((JOBS / "sql-to-scim" / "hr.sql").read_text(encoding="utf-8"))
    connection.row_factory = sqlite3.Row
    yield connection
    connection.close()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_loads(file: Path) -> None:
    """A job that is shown works as it stands, has the name of its file and asks editors to check it."""
    assert file.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=job.schema.json\n")
    assert load_job(file).name == file.stem


def test_the_examples_are_all_there() -> None:
    """A glob that finds nothing would pass every other test."""
    assert [file.stem for file in FILES] == [
        "ad-to-scim",
        "ad-to-successfactors-writeback",
        "ad-to-workday-writeback",
        "entra-to-scim",
        "hr-and-contractors-to-scim",
        "hr-to-ad",
        "hr-to-dropbox",
        "hr-to-entra",
        "hr-to-openldap",
        "hr-to-salesforce",
        "hr-to-scim",
        "hr-to-servicenow",
        "hr-to-sql",
        "scim-to-scim",
        "sql-to-scim",
        "successfactors-to-ad",
        "workday-to-ad",
        "workday-to-entra",
    ]


def test_shipped_data_base_is_what_the_generator_makes() -> None:
    """The SQL text is never edited by hand."""
    assert (JOBS / "sql-to-scim" / "hr.sql").read_text(encoding="utf-8") == sql_text()


def test_queries_of_the_sql_job_run(database: sqlite3.Connection) -> None:
    """The job's queries fit the data base, give one row per key and every column that the mappings name."""
    source = YAML(typ="safe").load(JOBS / "sql-to-scim.yaml")["source"]
    users = database.execute(source["users"]["query"]).fetchall()
    assert len({row["employee_number"] for row in users}) == len(users) == 200
    assert {"login", "mail", "given_name", "surname", "title", "department", "manager", "ends_on", "state"} < set(
        users[0].keys()
    )
    assert any(row["ends_on"] for row in users)
    assert {row["manager"] for row in users} - {None} <= {row["employee_number"] for row in users}
    groups = database.execute(source["groups"]["query"]).fetchall()
    edges = database.execute(source["members"]["query"]).fetchall()
    assert {row["team"] for row in edges} <= {row["id"] for row in groups}
    assert {row["employee"] for row in edges} <= {row["employee_number"] for row in users}
