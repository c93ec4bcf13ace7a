"""Writing back to SuccessFactors over an instance of our own: what is written, what stays, what each record's answer
means."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.contract import Action, Kind, Outcome, Pace, Status, Wanted
from connectors.errors import CredentialsError, ErrorCode
from connectors.kit import KitTarget
from connectors.successfactors.settings import SuccessFactorsTargetSettings
from connectors.successfactors.writeback import SYSTEM
from tests.connectors.clocks import FakeClock
from tests.contract.bench import apply, change
from tests.servers.successfactors_service import (
    API_USER,
    CLIENT,
    COMPANY,
    Employment,
    SuccessFactorsService,
)

TODAY = datetime.now(UTC).date()
TYPES = {"email_type": "2", "phone_types": {"businessPhone": "10605", "cellPhone": "10606"}}
Open = Callable[..., KitTarget]


@pytest.fixture
def people(instance: SuccessFactorsService, pair: tuple[str, str]) -> SuccessFactorsService:
    instance.__dict__.update(SuccessFactorsService(url=instance.url, certificate=pair[1], today=TODAY).__dict__)
    return instance


@pytest.fixture
def opened(people: SuccessFactorsService, pair: tuple[str, str], tmp_path: Path) -> Iterator[Open]:
    targets: list[KitTarget] = []
    (tmp_path / "sf.key").write_text(pair[0], encoding="ascii")
    (tmp_path / "sf.crt").write_text(pair[1], encoding="ascii")

    def open_one() -> KitTarget:
        saml = {"client_id": CLIENT, "key": "${file:sf.key}", "certificate": "sf.crt", "user": API_USER}
        settings = {"url": people.url, "company": COMPANY, "auth": {"saml": saml}, **TYPES}
        parsed = SuccessFactorsTargetSettings.model_validate(settings)
        targets.append(KitTarget(SYSTEM, parsed, folder=tmp_path, pace=Pace(concurrency=2), clock=FakeClock()))
        return targets[-1]

    yield open_one
    for target in targets:
        target.close()


def update(key: str, **values: Any) -> Any:
    return change(Action.UPDATE, key, known_by=("personIdExternal",), **values)


def one(target: KitTarget, key: str, **values: Any) -> Outcome:
    [outcome] = apply(target, update(key, **values))
    return outcome


def mails(people: SuccessFactorsService, key: str) -> dict[str, tuple[str, bool]]:
    return {str(one["emailType"]): (one["emailAddress"], one["isPrimary"]) for one in people.people[key].mails}


def phones(people: SuccessFactorsService, key: str) -> dict[str, tuple[str, bool]]:
    return {str(one["phoneType"]): (one["phoneNumber"], one["isPrimary"]) for one in people.people[key].phones}


def test_the_work_address_becomes_the_primary_one(people: SuccessFactorsService, opened: Open) -> None:
    """A private address that came with the application steps back in the same request, and stays."""
    person = people.put("100")
    person.mails = [{"emailAddress": "ann@home.example", "isPrimary": True, "emailType": "1"}]
    person.phones = [{"phoneNumber": "1", "isPrimary": True, "phoneType": "10607"}]
    target = opened()
    outcome = one(
        target, "100", emailAddress="ann@example.com", businessPhone="+49301", cellPhone="+49170", custom03="x"
    )
    assert outcome.status is Status.DONE, outcome.message
    assert mails(people, "100") == {"1": ("ann@home.example", False), "2": ("ann@example.com", True)}
    assert phones(people, "100") == {"10607": ("1", True), "10605": ("+49301", False), "10606": ("+49170", False)}
    assert [[record["__metadata"]["uri"] for record in records] for records in people.upserts] == [
        ["PerEmail(emailType='2',personIdExternal='100')", "PerEmail(emailType='1',personIdExternal='100')"],
        ["PerPhone(personIdExternal='100',phoneType='10605')", "PerPhone(personIdExternal='100',phoneType='10606')"],
        ["User('u100')"],
    ]
    shown = target.read(Wanted(("emailAddress", "businessPhone", "cellPhone", "custom03"))).users.loc["100"]
    assert list(shown) == ["ann@example.com", "+49301", "+49170", "x"]


def test_what_is_cleared_hands_the_first_place_on(people: SuccessFactorsService, opened: Open) -> None:
    """There is one primary entry as long as there are any, and nothing is sent for what is not there."""
    people.put("1")
    target = opened()
    assert one(target, "1", emailAddress=None, cellPhone=None).status is Status.DONE
    assert mails(people, "1") == {"1": ("1@home.example", True)}
    assert len(people.upserts) == 1


def test_each_record_has_its_own_outcome(people: SuccessFactorsService, opened: Open) -> None:
    """Many people in one request: one whose name is taken is refused, the others are written."""
    for number in range(5):
        people.put(f"P{number}")
    changes = [update(f"P{number}", username="p0" if number == 3 else f"new{number}") for number in range(1, 5)]
    outcomes = apply(opened(), *changes)
    assert [outcome.status for outcome in outcomes] == [Status.DONE, Status.DONE, Status.REJECTED, Status.DONE]
    assert outcomes[2].code is ErrorCode.CONFLICT
    assert [len(records) for records in people.upserts] == [4]
    names = {
        key: person.employments[0].account and person.employments[0].account["username"]
        for key, person in people.people.items()
    }
    assert names == {"P0": "p0", "P1": "new1", "P2": "new2", "P3": "p3", "P4": "new4"}


@pytest.mark.parametrize(("trouble", "sent"), [("lost before", 1), ("lost after", 2), ("short", 2)])
def test_an_answer_that_is_lost_leaves_one_effect(
    people: SuccessFactorsService, opened: Open, trouble: str, sent: int
) -> None:
    """An upsert says what is to be, so that it is sent again: the same entries are there, once."""
    people.put("1")
    people.write_troubles = [trouble]
    assert one(opened(), "1", emailAddress="a@example.com").status is Status.DONE
    assert mails(people, "1") == {"1": ("1@home.example", False), "2": ("a@example.com", True)}
    assert len(people.upserts) == sent


def test_nobody_is_created_or_made_a_user(people: SuccessFactorsService, opened: Open) -> None:
    """SAP would make a user of a key that it does not know; what was not read is not written."""
    people.put("1").employments[0].account = None
    target = opened()
    assert one(target, "1", username="x").code is ErrorCode.INSUFFICIENT_RIGHTS
    assert one(target, "2", emailAddress="x@example.com").code is ErrorCode.INVALID_ANCHOR
    never = [
        change(Action.CREATE, known_by=("personIdExternal",), emailAddress="x@example.com"),
        *(change(action, "1", known_by=("personIdExternal",)) for action in (Action.DELETE, Action.DISABLE)),
        update("1", firstName="Eve"),
    ]
    assert {outcome.code for outcome in apply(target, *never)} == {ErrorCode.NOT_PERMITTED}
    assert people.upserts == []
    assert target.traits().switch is None


def test_the_user_of_the_employment_that_counts_is_written(people: SuccessFactorsService, opened: Open) -> None:
    """After a rehire a person has two users; the old one keeps its name."""
    person = people.put("7", start=TODAY - timedelta(days=900), status="T")
    first = TODAY - timedelta(days=3)
    job = {"jobTitle": "Clerk", "department": "Sales", "country": "DE", "company": "Contoso", "status": "A"}
    account = {"username": "seven2", "timeZone": "Europe/Berlin"}
    person.employments.append(Employment("u7b", first, [(first, job)], account=account))
    assert one(opened(), "7", username="seven").status is Status.DONE
    assert [one.account and one.account["username"] for one in person.employments] == ["7", "seven"]


def test_a_missing_right_stops_and_says_which(people: SuccessFactorsService, opened: Open) -> None:
    people.put("1")
    people.write_troubles = ["refused"]
    with pytest.raises(CredentialsError, match="right to edit PerEmail"):
        one(opened(), "1", emailAddress="a@example.com")


def test_people_are_looked_for_by_their_key(people: SuccessFactorsService, opened: Open) -> None:
    """A quote in it is a quote."""
    people.put("o'brien")
    people.put("2")
    found = opened().find(Kind.USER, "personIdExternal", ["o'brien", "9"], Wanted(("personIdExternal", "username")))
    assert list(found.index) == ["o'brien"]
    assert not any("paging=snapshot" in request for request in people.requests)


@pytest.mark.parametrize(
    "wrong",
    [{"email_type": "8,448"}, {"phone_types": {"fax": "1"}}, {"phone_types": {"businessPhone": "1", "cellPhone": "1"}}],
)
def test_settings_that_could_not_work_are_refused(wrong: dict[str, Any]) -> None:
    """Option ids have no comma, and two phones need two types."""
    saml = {"client_id": "c", "key": "${file:k}", "certificate": "c.crt", "user": "u"}
    with pytest.raises(ValidationError):
        SuccessFactorsTargetSettings.model_validate(
            {"url": "https://api.example.com", "company": "c", "auth": {"saml": saml}, **TYPES, **wrong}
        )
