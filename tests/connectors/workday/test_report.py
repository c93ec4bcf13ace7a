"""Workday's reports over a tenant of our own: rows in JSON and CSV, who is held, what proves nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.contract import Source, Wanted
from connectors.errors import CredentialsError, SchemaMismatchError, SettingsError
from connectors.workday.report import CONNECTOR, WorkdayReportSettings
from tests.servers.workday_service import TENANT, USER, WorkdayService

REPORT = "provisor/People"
ROWS = [
    {"id": "007", "name": "Ann", "active": "1", "skills": "Welding"},
    {"id": "008", "name": "O'Brien, Bob", "active": "0", "skills": ["Law", "Tax"]},
    {"id": "009", "name": "", "active": "1"},
]
WANTED = Wanted(("name", "skills"))
Open = Callable[..., Source]


@pytest.fixture
def workday(workday: WorkdayService) -> WorkdayService:
    put(workday, ROWS)
    return workday


def put(service: WorkdayService, rows: Any, *, key: str = "Report_Entry") -> None:
    service.reports[f"{REPORT}?json"] = (200, json.dumps({key: rows}).encode(), "application/json")


@pytest.fixture
def opened(workday: WorkdayService, tmp_path: Path) -> Iterator[Open]:
    sources: list[Source] = []
    base = workday.url.removesuffix(f"/{TENANT}")

    def open_one(**more: Any) -> Source:
        settings = {
            "url": f"{base}/customreport2/{TENANT}/{REPORT}",
            "username": USER,
            "password": "${env:WORKDAY_PASSWORD}",
            "key": "id",
            "enabled": "active",
            "lists": ["skills"],
            **more,
        }
        assert CONNECTOR.open_source is not None
        sources.append(CONNECTOR.open_source(WorkdayReportSettings.model_validate(settings), folder=tmp_path))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


def test_rows_are_people(opened: Open) -> None:
    """A column that may hold several values is a list for everybody; zeros in front of a key stay."""
    snapshot = opened().read(WANTED)
    assert snapshot.complete
    assert snapshot.users["name"].dropna().to_dict() == {"007": "Ann", "008": "O'Brien, Bob"}
    assert snapshot.users["skills"].to_list() == [["Welding"], ["Law", "Tax"], None]
    assert snapshot.disabled == {"008"}


def test_the_same_in_csv(workday: WorkdayService, opened: Open) -> None:
    """Quotes and commas in cells, and a mark in front."""
    text = '\ufeffid,name,active\n007,Ann,1\n008,"O\'Brien, Bob",0\n'
    workday.reports[f"{REPORT}?csv"] = (200, text.encode(), "text/csv")
    snapshot = opened(format="csv", lists=[]).read(Wanted(("name",)))
    assert snapshot.users["name"].to_dict() == {"007": "Ann", "008": "O'Brien, Bob"}
    assert snapshot.disabled == {"008"}
    workday.reports[f"{REPORT}?csv"] = (200, b"id,name,active\n007,Ann\n", "text/csv")
    with pytest.raises(SchemaMismatchError, match="cut off"):
        opened(format="csv").read(WANTED)


def test_too_few_rows_prove_nothing(opened: Open) -> None:
    """A report has no count of its own."""
    snapshot = opened(at_least=4).read(WANTED)
    assert snapshot.incomplete == ("The report has 3 rows and should have at least 4.",)


def test_rows_that_cannot_be_used_are_held(workday: WorkdayService, opened: Open) -> None:
    """Copies that differ, an unknown word, no key; copies that are alike count once."""
    put(workday, [*ROWS, ROWS[0], {**ROWS[1], "name": "Other"}, {"id": "010", "active": "maybe"}, {"active": "1"}])
    snapshot = opened().read(WANTED)
    assert list(snapshot.users.index) == ["007", "009"]
    assert {one.key for one in snapshot.unreadable} == {"008", "010", None}
    assert not snapshot.complete


def test_what_is_no_report_is_said(workday: WorkdayService, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renamed, another shape, a column that is not there, a wrong password, an address of something else."""
    with pytest.raises(SettingsError, match=r"no column 'idd'\. Did you mean 'id'"):
        opened(key="idd").read(WANTED)
    put(workday, ROWS, key="wd:Report_Entry")
    with pytest.raises(SchemaMismatchError, match="no list Report_Entry"):
        opened().check()
    workday.reports.clear()
    with pytest.raises(SettingsError, match="another name or owner"):
        opened().check()
    monkeypatch.setenv("WORKDAY_PASSWORD", "another")
    with pytest.raises(CredentialsError):
        opened().check()
    with pytest.raises(ValidationError, match="url must be that of a report"):
        opened(url=workday.url)


def test_a_check_names_the_columns(opened: Open) -> None:
    """So that mappings can be written."""
    assert opened().check() == "The report has 3 rows and the columns active, id, name, skills."
