"""BambooHR, Personio and HiBob over services of our own: who is read, who is held, what proves it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from connectors import registry
from connectors.contract import Source, Wanted
from connectors.errors import CredentialsError, SchemaMismatchError
from connectors.json_people import value_at
from tests.connectors.clocks import FakeClock
from tests.servers.small_hr_service import KEY, SmallHrService, serving

SETTINGS: dict[str, Callable[[str], dict[str, Any]]] = {
    "bamboohr": lambda url: {"url": f"{url}/api/v1", "api_key": "${env:HR_KEY}"},
    "hibob": lambda url: {"url": f"{url}/v1", "service_user": "${env:HR_KEY}", "token": "${env:HR_KEY}"},
    "personio": lambda url: {"url": url, "client_id": "a-client", "secret": "${env:HR_KEY}"},
}
TITLE = {"bamboohr": "jobTitle", "hibob": "title", "personio": "title"}
STATUS = {"bamboohr": "status", "hibob": "internal.status", "personio": "status"}
Open = Callable[..., Source]
SYSTEMS = pytest.mark.parametrize("name", sorted(SETTINGS))


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHrService]:
    monkeypatch.setenv("HR_KEY", KEY)
    monkeypatch.setattr("connectors.kit.target.SystemClock", FakeClock)  # Personio is asked five times a second
    with serving() as service:
        for number in range(1, 121):
            service.people[str(number)] = {"firstName": f"First{number}", "jobTitle": f"Title {number}"}
        service.people["7"] |= {"supervisorEId": "3"}
        service.people["8"] |= {"left": True}
        service.people["9"] |= {"ahead": True, "hireDate": "2030-01-01"}
        yield service


@pytest.fixture
def opened(company: SmallHrService, tmp_path: Path) -> Iterator[Open]:
    sources: list[Source] = []

    def open_one(name: str, **more: Any) -> Source:
        one = registry.find(name)
        assert one.source_settings is not None
        settings = one.source_settings.model_validate({**SETTINGS[name](company.url), **more})
        sources.append(registry.open_source(name, settings, folder=tmp_path))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


@SYSTEMS
def test_everybody_is_read(name: str, opened: Open) -> None:
    """Those who have left, as disabled, and those who are dated ahead; managers by their keys."""
    snapshot = opened(name).read(Wanted(("firstName", TITLE[name], "manager")))
    assert snapshot.complete, snapshot.incomplete
    assert len(snapshot.users) == 120
    assert snapshot.disabled == {"8"}
    assert snapshot.users.loc["7"].to_list() == ["First7", "Title 7", "3"]
    assert pd.isna(snapshot.users.loc["9", "manager"])


@SYSTEMS
def test_a_status_that_is_not_shown_holds_everybody(name: str, company: SmallHrService, opened: Open) -> None:
    """A field that is left out may be one that the API user may not see: nobody is on or off because of it."""
    company.hidden = {STATUS[name]}
    snapshot = opened(name).read(Wanted(("firstName",)))
    assert len(snapshot.users) == 0
    assert len(snapshot.unreadable) == 120
    assert "is not shown" in snapshot.unreadable[0].reason
    assert snapshot.disabled == frozenset()


@SYSTEMS
def test_a_check_counts_and_names_what_nobody_has(name: str, company: SmallHrService, opened: Open) -> None:
    """Own attributes among them."""
    told = opened(name, attributes={"shoe": "custom.c2"}).check()
    assert "shoe" in told
    assert "firstName" not in told


@SYSTEMS
def test_wrong_credentials_stop(name: str, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """And are in no sentence."""
    monkeypatch.setenv("HR_KEY", "another-key-of-nobody")
    with pytest.raises(CredentialsError) as caught:
        opened(name).check()
    assert "another-key-of-nobody" not in str(caught.value)


def test_a_report_without_some_people_proves_nothing(company: SmallHrService, opened: Open) -> None:
    """BambooHR's list of all changes ever knows of more people than the report shows."""
    company.unlisted = {"5", "6"}
    snapshot = opened("bamboohr").read(Wanted(("firstName",)))
    assert snapshot.incomplete == ("2 employees whom BambooHR knows are not in its report.",)


def test_no_date_is_null(company: SmallHrService, opened: Open) -> None:
    """BambooHR writes zeros."""
    users = opened("bamboohr").read(Wanted(("terminationDate",))).users
    assert users["terminationDate"].isna().all()


def test_pages_lead_nowhere_else(company: SmallHrService, opened: Open) -> None:
    """Our token goes to Personio alone."""
    company.lost_page = True
    with pytest.raises(SchemaMismatchError, match="leads to another address"):
        opened("personio").read(Wanted(("firstName",)))


def test_an_employment_that_is_to_come_changes_nothing_before_its_day(company: SmallHrService, opened: Open) -> None:
    """An intern whose next contract is entered ahead keeps today's, with its dates."""
    company.people["1"]["employments"] = [
        {"id": "e3", "employment_start_date": "2999-02-01", "position": {"title": "Next"}}
    ]
    held = opened("personio").read(Wanted(("title", "startDate"))).users.loc["1"]
    assert (held["title"], held["startDate"]) == ("Title 1", "2020-01-01")


def test_the_latest_employment_counts(company: SmallHrService, opened: Open) -> None:
    """And employments are asked for only where they are wanted."""
    company.people["7"] |= {"lastDay": "2026-12-31", "shoe": "44"}
    source = opened("personio", attributes={"shoe": "custom.c1"})
    users = source.read(Wanted(("title", "startDate", "lastWorkingDay", "department", "shoe"))).users
    assert users.loc["7"].to_list() == ["Title 7", "2020-01-01", "2026-12-31", "D1", "44"]
    company.requests.clear()
    source.read(Wanted(("firstName",)))
    assert [line for line in company.requests if "employments" in line] == []


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ({"work": {"title": "Chief"}}, "Chief"),
        ({"/work/title": {"value": "Chief"}}, "Chief"),
        ({"/work": {"value": {"title": "Chief"}}}, "Chief"),
        ({"work": None}, None),
        ({}, None),
    ],
)
def test_both_shapes_of_an_answer_are_read(entry: Any, value: str | None) -> None:
    """Nested, and with whole paths as keys."""
    assert value_at(entry, "work.title") == value
