"""Makes flows/jobs/sql-to-scim/hr.sql: a small HR data base as SQL text, normalised as such data bases are.

    python -m tests.data.hr_database flows/jobs/sql-to-scim/hr.sql

The SQL is understood by SQLite and by PostgreSQL. The people are the first ones of the demo's export.
"""

import sys
from pathlib import Path

import pandas as pd

from tests.data.export import Export
from tests.data.fixed_people import SMALLEST_EXPORT
from tests.data.people import generate

_PEOPLE, _TEAMS = 200, 8

_SCHEMA = """\
-- Made by tests/data/hr_database.py; do not edit.
BEGIN;
CREATE TABLE department (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE post (id INTEGER PRIMARY KEY, title TEXT NOT NULL);
CREATE TABLE employee (
  number TEXT PRIMARY KEY,
  login TEXT NOT NULL UNIQUE,
  mail TEXT,
  given_name TEXT NOT NULL,
  surname TEXT,
  post INTEGER REFERENCES post (id),
  department INTEGER NOT NULL REFERENCES department (id),
  manager TEXT,
  ends_on TEXT,
  state TEXT NOT NULL
);
CREATE TABLE team (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE team_member (team TEXT REFERENCES team (id), employee TEXT REFERENCES employee (number));
"""


def sql_text() -> str:
    """The schema and its rows."""
    export = generate(people=SMALLEST_EXPORT, groups=40)
    people = export.people.head(_PEOPLE).copy()
    # Contractors are a department of their own here, and everybody's manager is in the data base or nobody.
    people["department"] = people["department"].fillna("External Partners")
    people.loc[people["employeeType"] == "contractor", "department"] = "External Partners"
    people.loc[~people["manager"].isin(list(people["employeeId"])), "manager"] = None
    people["endsOn"] = pd.Series("2026-12-31", index=people.index, dtype="str").where(
        people["employeeType"] == "intern"
    )
    departments = sorted(people["department"].unique())
    posts = sorted(people["jobTitle"].dropna().unique())
    employees = [
        (
            *(row.employeeId, row.userPrincipalName, row.mail, row.givenName, row.surname),
            None if pd.isna(row.jobTitle) else posts.index(row.jobTitle) + 1,
            *(departments.index(row.department) + 1, row.manager, row.endsOn, row.status),
        )
        for row in people.itertuples()
    ]
    teams, members = _teams(export, set(people["employeeId"]))
    return (
        _SCHEMA
        + _insert("department", list(enumerate(departments, 1)))
        + _insert("post", list(enumerate(posts, 1)))
        + _insert("employee", employees)
        + _insert("team", teams)
        + _insert("team_member", members)
        + "COMMIT;\n"
    )


def _teams(export: Export, people: set[str]) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    groups = export.groups.iloc[17 : 17 + _TEAMS]
    chosen = set(groups["id"])
    members = [
        (group, member)
        for group, member in export.members.itertuples(index=False)
        if group in chosen and member in people
    ]
    return list(groups[["id", "name"]].itertuples(index=False, name=None)), members


def _insert(table: str, rows: list[tuple[object, ...]]) -> str:
    values = ",\n".join("  (" + ", ".join(map(_literal, row)) + ")" for row in rows)
    return f"INSERT INTO {table} VALUES\n{values};\n"


def _literal(value: object) -> str:
    if isinstance(value, int):
        return str(value)
    return "NULL" if pd.isna(value) else "'" + str(value).replace("'", "''") + "'"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(sql_text(), encoding="utf-8")
