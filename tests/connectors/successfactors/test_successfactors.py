"""SuccessFactors over an instance of our own: who is read, which employment counts, what proves it."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyodata
import pytest
import requests
from pydantic import ValidationError

from connectors.contract import Kind, Snapshot, Wanted
from connectors.errors import CredentialsError, SchemaMismatchError, SettingsError, UnreachableError
from connectors.kit import ACTIVE, KitSource
from connectors.successfactors import reading
from connectors.successfactors.attributes import CATALOGUE, follow, nodes, plain_path, plain_value
from connectors.successfactors.settings import SuccessFactorsSettings
from connectors.successfactors.system import SYSTEM
from tests.connectors.clocks import FakeClock
from tests.servers.successfactors_service import (
    API_USER,
    CLIENT,
    COMPANY,
    TODAY,
    TOKEN,
    Employment,
    SuccessFactorsService,
    key_pair,
)

WANTED = Wanted(
    (
        "firstName",
        "lastName",
        "jobTitle",
        "department",
        "twoCharCountryCode",
        "emailAddress",
        "managerId",
        "username",
        "userId",
        "startDate",
        "latestTerminationDate",
    )
)
Open = Callable[..., KitSource]


@pytest.fixture
def people(
    instance: SuccessFactorsService, pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> SuccessFactorsService:
    instance.__dict__.update(SuccessFactorsService(url=instance.url, certificate=pair[1]).__dict__)

    class Day(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(TODAY.year, TODAY.month, TODAY.day, 12, tzinfo=tz)

    monkeypatch.setattr(reading, "datetime", Day)
    return instance


@pytest.fixture
def opened(people: SuccessFactorsService, pair: tuple[str, str], tmp_path: Path) -> Iterator[Open]:
    sources: list[KitSource] = []
    (tmp_path / "sf.key").write_text(pair[0], encoding="ascii")
    (tmp_path / "sf.crt").write_text(pair[1], encoding="ascii")

    def open_one(**more: Any) -> KitSource:
        saml = {"client_id": CLIENT, "key": "${file:sf.key}", "certificate": "sf.crt", "user": API_USER}
        settings = {"url": people.url, "company": COMPANY, "auth": {"saml": saml}, **more}
        made = SuccessFactorsSettings.model_validate(settings)
        sources.append(KitSource(SYSTEM, made, folder=tmp_path, clock=FakeClock()))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


@pytest.fixture
def source(opened: Open) -> KitSource:
    return opened()


def row(snapshot: Snapshot, key: str) -> dict[str, Any]:
    return {name: None if pd.isna(value) else value for name, value in snapshot.users.loc[key].items()}


def test_everybody_is_read_from_one_snapshot(people: SuccessFactorsService, opened: Open) -> None:
    """Somebody put in between pages moves nobody; names, job, department, primary mail and manager are right."""
    for number in range(25):
        people.put(f"{number:04}", first=f"First{number}", manager="0003" if number == 7 else None)

    def arrive() -> None:
        people.people = {"A0": people.put("A0"), **people.people}

    people.before_page[2] = arrive
    snapshot = opened(page_size=10).read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert len(snapshot.users) == 25
    assert row(snapshot, "0007") == {
        "firstName": "First7",
        "lastName": "Lee",
        "jobTitle": "Clerk",
        "department": "Sales",
        "twoCharCountryCode": "DE",
        "emailAddress": "0007@example.com",
        "managerId": "0003",
        "username": "0007",
        "userId": "u0007",
        "startDate": "2020-01-01",
        "latestTerminationDate": None,
    }
    assert snapshot.disabled == frozenset()
    assert people.tokens == 1


def test_a_count_that_does_not_fit_proves_nothing(people: SuccessFactorsService, source: KitSource) -> None:
    """Rows that the target population leaves out: nobody is gone because of it."""
    for number in range(5):
        people.put(str(number))
    people.hidden = {"3"}
    snapshot = source.read(WANTED)
    assert "SuccessFactors counts 5 people and listed 4." in snapshot.incomplete


def test_a_snapshot_that_is_lost_ends_the_read(people: SuccessFactorsService, opened: Open) -> None:
    """It is never resumed with pages of another one."""
    for number in range(25):
        people.put(str(number))
    people.forgets_snapshots = True
    with pytest.raises(UnreachableError, match="no longer knows the snapshot"):
        opened(page_size=10).read(WANTED)


@pytest.mark.parametrize(("code", "active"), [("A", True), ("U", True), ("P", True), ("T", False), ("R", False)])
def test_the_status_code_decides(people: SuccessFactorsService, source: KitSource, code: str, active: bool) -> None:
    """By external code: option ids differ in every tenant."""
    people.put("1", status=code)
    assert (source.read(WANTED).disabled == frozenset()) is active


def test_an_unknown_status_holds_the_person(people: SuccessFactorsService, source: KitSource) -> None:
    """Neither on nor off by a code that nobody has explained."""
    people.put("1", status="X")
    people.put("2")
    snapshot = source.read(WANTED)
    assert [(one.key, one.reason) for one in snapshot.unreadable] == [
        ("1", "The employee status X is neither in status.enabled nor in status.disabled.")
    ]
    assert list(snapshot.users.index) == ["2"]


def test_a_job_that_may_not_be_seen_holds_the_person(people: SuccessFactorsService, source: KitSource) -> None:
    """A missing right is no termination."""
    people.put("1")
    people.hides_jobs = True
    snapshot = source.read(WANTED)
    assert len(snapshot.users) == 0
    assert "may not see it" in snapshot.unreadable[0].reason


def test_a_rehire_is_the_same_person_with_the_new_employment(people: SuccessFactorsService, source: KitSource) -> None:
    """The order in which employments come says nothing."""
    person = people.put("1", status="T", start=date(2015, 1, 1))
    job = {**person.employments[0].jobs[0][1], "status": "A", "jobTitle": "Back again"}
    person.employments.append(
        Employment("u1-2", date(2026, 2, 1), [(date(2026, 2, 1), job)], account=person.employments[0].account)
    )
    for _ in range(2):
        snapshot = source.read(WANTED)
        assert row(snapshot, "1") | {"jobTitle": "Back again", "userId": "u1-2"} == row(snapshot, "1")
        assert snapshot.disabled == frozenset()
        person.employments.reverse()


@pytest.mark.parametrize(("choice", "user"), [("active", "u1"), ("home", "u1"), ("host", "u1-GA"), ("latest", "u1-GA")])
def test_home_or_host_counts_as_the_job_says(
    people: SuccessFactorsService, opened: Open, choice: str, user: str
) -> None:
    """A global assignment beside the home one."""
    person = people.put("1")
    job = person.employments[0].jobs[0][1]
    person.employments.insert(0, Employment("u1-GA", date(2025, 1, 1), [(date(2025, 1, 1), job)], assignment="GA"))
    assert row(opened(employment=choice).read(WANTED), "1")["userId"] == user


def test_people_are_read_before_their_first_day_as_of_it(people: SuccessFactorsService, opened: Open) -> None:
    """Today shows neither name nor job; the first day does. Beyond the window they are not active."""
    people.put("new", start=TODAY + timedelta(days=10), first="Zoë")
    people.change("new", TODAY + timedelta(days=12), jobTitle="Later")
    snapshot = opened(ahead_days=10).read(WANTED)
    assert row(snapshot, "new") | {"firstName": "Zoë", "jobTitle": "Clerk"} == row(snapshot, "new")
    assert row(snapshot, "new")["startDate"] == "2026-05-11"
    assert snapshot.disabled == frozenset()
    assert opened(ahead_days=9).read(WANTED).disabled == {"new"}


@pytest.mark.parametrize("choice", ["active", "home", "host", "latest"])
@pytest.mark.parametrize("assignment", ["ST", "GA"])
@pytest.mark.parametrize("days", [5, 60])
def test_an_employment_that_is_to_come_changes_nothing_before_its_day(
    people: SuccessFactorsService, opened: Open, choice: str, assignment: str, days: int
) -> None:
    """A second employment dated ahead, whichever the job chooses: today's counts."""
    person = people.put("1")
    start = TODAY + timedelta(days=days)
    job = {**person.employments[0].jobs[0][1], "jobTitle": "Next"}
    person.employments.insert(0, Employment("u1-2", start, [(start, job)], assignment=assignment))
    snapshot = opened(employment=choice).read(WANTED)
    assert row(snapshot, "1")["jobTitle"] == "Clerk"
    assert snapshot.disabled == frozenset()


def test_a_filter_that_is_ignored_is_noticed(people: SuccessFactorsService, source: KitSource) -> None:
    """A malformed filter once gave everybody."""
    people.put("1")
    people.put("new", start=TODAY + timedelta(days=10))
    people.ignores_filters = True
    with pytest.raises(SchemaMismatchError, match="ignores the condition"):
        source.read(WANTED)


def test_a_token_that_ends_is_renewed_with_another_assertion(people: SuccessFactorsService, source: KitSource) -> None:
    """The same assertion would give the same token."""
    people.put("1")
    source.read(WANTED)
    people.expired.add(f"{TOKEN}1")
    assert len(source.read(WANTED).users) == 1
    assert people.tokens == 2
    assert len(people.assertions) == 2


def test_another_key_does_not_sign_in(people: SuccessFactorsService, opened: Open, tmp_path: Path) -> None:
    """The sentence names what to look at, and no key."""
    source = opened()
    other = key_pair()
    (tmp_path / "sf.key").write_text(other[0], encoding="ascii")
    (tmp_path / "sf.crt").write_text(other[1], encoding="ascii")
    with pytest.raises(CredentialsError, match="Check the key, certificate, subject, issuer and audience in saml"):
        source.check()
    (tmp_path / "sf.key").write_text("no key", encoding="ascii")
    with pytest.raises(SettingsError, match="PEM form") as caught:
        opened().check()
    assert "no key" not in str(caught.value)


def test_a_check_counts_and_names_paths_without_values(people: SuccessFactorsService, opened: Open) -> None:
    """Own attributes that nobody has a value for."""
    people.put("1")
    own = {"Shoe": "employmentNav/jobInfoNav/shoeSize", "Place": "$.employmentNav.results[0].userNav.timeZone"}
    told = opened(attributes=own).check()
    assert told == (
        "SuccessFactors answers for company contosoP: 1 people. Of your own attributes, none of 20 people has a value "
        "for Shoe."
    )


def test_paths_name_nodes_and_leaves() -> None:
    """Only what is looked into is expanded."""
    expand, select = nodes(["employmentNav/jobInfoNav/jobTitle", "phoneNav[isPrimary=true]/phoneNumber", "personId"])
    assert expand == "employmentNav,employmentNav/jobInfoNav,phoneNav"
    assert select == "employmentNav/jobInfoNav/jobTitle,personId,phoneNav/isPrimary,phoneNav/phoneNumber"
    assert len(CATALOGUE) >= 78
    assert all(plain_path(one.path) == one.path for one in CATALOGUE.values())


@pytest.mark.parametrize(
    ("jsonpath", "path"),
    [
        ("$.personIdExternal", "personIdExternal"),
        ("$.employmentNav.results[0].jobInfoNav.results[0].jobTitle", "employmentNav/jobInfoNav/jobTitle"),
        ("$.employmentNav.results[-1:].startDate", "employmentNav/startDate"),
        ("$.emailNav.results[?(@.isPrimary == true)].emailAddress", "emailNav[isPrimary=true]/emailAddress"),
    ],
)
def test_paths_of_other_services_are_understood(jsonpath: str, path: str) -> None:
    """Mappings can be taken over."""
    assert plain_path(jsonpath) == path
    with pytest.raises(ValueError, match="must be a path"):
        plain_path("$..jobTitle")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/Date(1717200000000)/", "2024-06-01"),
        ("/Date(1717200000000+0000)/", "2024-06-01"),
        ("/Date(1717236000000+0000)/", "2024-06-01T10:00:00Z"),
        ("/Date(-62135596800000)/", "0001-01-01"),
        ("/Date(253402214400000)/", None),
        ("/Date(99999999999999999)/", None),
        ("", None),
        ("007", "007"),
    ],
)
def test_dates_and_empty_text_are_read(text: str, value: str | None) -> None:
    """A day of the calendar, a moment, the end of time."""
    assert plain_value(text) == value


def test_what_was_not_expanded_is_null() -> None:
    """A deferred node is no value."""
    person = {"employmentNav": {"__deferred": {"uri": "x"}}, "phoneNav": {"results": []}, "userNav": None}
    for path in ("employmentNav/startDate", "phoneNav/phoneNumber", "userNav/username"):
        assert follow(person, path) == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"auth": {}}, "exactly one of saml and oidc"),
        ({"auth": {"basic": {"username": "a", "password": "b"}}}, "Extra inputs"),
        ({"attributes": {"A": "a b"}}, "must be a path from PerPerson"),
        ({"page_size": 1001}, "less than or equal to 1000"),
    ],
)
def test_settings_that_cannot_work_are_refused(opened: Open, setting: dict[str, Any], said: str) -> None:
    """Basic authentication is switched off at SAP."""
    with pytest.raises(ValidationError, match=said):
        opened(**setting)


def test_active_is_a_column_of_its_own(people: SuccessFactorsService, source: KitSource) -> None:
    """Jobs can look at it."""
    people.put("1", status="T")
    known = source.attributes(Kind.USER)
    assert known is not None
    assert ACTIVE in known
    assert source.read(Wanted((ACTIVE,))).users[ACTIVE].to_list() == [False]


def test_an_independent_client_reads_the_instance(people: SuccessFactorsService, source: KitSource) -> None:
    """pyodata understands the metadata, the pages and the dates."""
    people.put("1", first="Zoë")
    source.read(WANTED)
    session = requests.Session()
    session.headers["authorization"] = f"Bearer {TOKEN}1"
    client = pyodata.Client(f"{people.url}/odata/v2/", session)
    found = client.entity_sets.PerPerson.get_entities().expand("personalInfoNav,employmentNav").execute()
    assert [one.personIdExternal for one in found] == ["1"]
    assert found[0].personalInfoNav[0].firstName == "Zoë"
    assert found[0].employmentNav[0].startDate == datetime(2020, 1, 1, tzinfo=UTC)
