"""Writing back to Workday over a strict tenant of our own: what is written, what is left alone, what is never done."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import zeep
from pydantic import ValidationError
from zeep.wsse.username import UsernameToken

from connectors.contract import Action, Kind, Outcome, Pace, Status, Wanted
from connectors.errors import CredentialsError, ErrorCode
from connectors.kit import KitTarget
from connectors.workday.contact import Contact, Entry, UnknownCodeError, changed, split
from connectors.workday.settings import WorkdayTargetSettings
from connectors.workday.writeback import SYSTEM
from tasks.job import load_job
from tasks.leaving import what_leaving_means
from tests.connectors.clocks import FakeClock
from tests.contract.bench import apply, change
from tests.servers.workday_contact import Way, ways_of
from tests.servers.workday_service import PASSWORD, START, TENANT, USER, WSDL, WorkdayService

TODAY = START.date()
CODES = {"49": "DEU_49", "61": "AUS_61", "1": "USA_1", "1246": "BRB_1246"}
Open = Callable[..., KitTarget]


@pytest.fixture
def opened(workday: WorkdayService, tmp_path: Path) -> Iterator[Open]:
    targets: list[KitTarget] = []

    def open_one(**more: Any) -> KitTarget:
        auth = {"user": {"username": USER, "password": "${env:WORKDAY_PASSWORD}"}}
        settings = {"url": workday.url, "version": "v44.0", "auth": auth, "phone_codes": CODES, **more}
        parsed = WorkdayTargetSettings.model_validate(settings)
        targets.append(KitTarget(SYSTEM, parsed, folder=tmp_path, pace=Pace(concurrency=4), clock=FakeClock()))
        return targets[-1]

    yield open_one
    for target in targets:
        target.close()


def update(number: str, **values: Any) -> Any:
    return change(Action.UPDATE, number, known_by=("WorkerID",), **values)


def one(target: KitTarget, number: str, **values: Any) -> Outcome:
    [outcome] = apply(target, update(number, **values))
    return outcome


def held(service: WorkdayService, wid: str, day: date = TODAY) -> list[Way]:
    worker = service.workers[wid]
    return ways_of(worker.state(service.now, day) or {}, worker.number)


def test_one_event_writes_what_differs_and_leaves_the_rest(workday: WorkdayService, opened: Open) -> None:
    """Address and numbers go in one event; a home address, a second address and a fax stay, and so do the ids."""
    wid = workday.put(
        "21001", first="Ada", mail="old@example.com", home_mail="ada@home.example", landline="+49301234567"
    )
    fax = Way("PHONE-fax", "+49301234568", "Fax")
    second = Way("EMAIL-second", "second@example.com")
    workday.change(wid, ways=[second, *held(workday, wid), fax])
    before = {way.id: way for way in held(workday, wid)}
    target = opened()
    outcome = one(target, "21001", EmailAddress="ada@example.com", Telephone="+49309999999", Mobile="+12465550100")
    assert outcome.status is Status.DONE, outcome.message
    assert len(workday.written) == 1
    after = {way.id: way for way in held(workday, wid)}
    new = next(way for id_, way in after.items() if id_ not in before)
    assert (new.value, new.device, new.primary) == ("+12465550100", "Mobile", False)
    assert after["EMAIL-21001-WORK"].value == "ada@example.com"
    assert after["PHONE-21001-Landline"].value == "+49309999999"
    assert after["PHONE-21001-Landline"].primary
    assert [after[id_] for id_ in ("EMAIL-21001-HOME", fax.id, second.id)] == [
        before[id_] for id_ in ("EMAIL-21001-HOME", fax.id, second.id)
    ]
    shown = target.read(Wanted(("WorkerID", "EmailAddress", "Telephone", "Mobile"))).users.loc["21001"]
    assert list(shown) == ["21001", "ada@example.com", "+49309999999", "+12465550100"]


def test_a_cleared_number_hands_the_first_place_on(workday: WorkdayService, opened: Open) -> None:
    """Workday wants a primary phone as long as there is one; what is not there need not be cleared."""
    wid = workday.put("1", landline="+49301", mobile="+61412345678")
    target = opened()
    assert one(target, "1", Telephone=None, EmailAddress=None).status is Status.DONE
    assert [(way.value, way.primary) for way in held(workday, wid)] == [("+61412345678", True)]
    assert one(target, "1", Mobile=None).status is Status.DONE
    assert held(workday, wid) == []
    assert one(target, "1", Mobile=None).status is Status.DONE
    assert len(workday.written) == 2


@pytest.mark.parametrize(
    ("trouble", "events"), [("cut", 1), ("processing after", 1), ("processing before", 1), ("throttled", 1)]
)
def test_an_answer_that_is_lost_has_one_effect(
    workday: WorkdayService, opened: Open, trouble: str, events: int
) -> None:
    """What was done is seen and not sent again; what was not done is."""
    wid = workday.put("1", mobile="+491701234567")
    workday.write_troubles = [trouble]
    assert one(opened(), "1", EmailAddress="a@example.com", Telephone="+49301234567").status is Status.DONE
    assert len(workday.written) == events
    assert [way.value for way in held(workday, wid)] == ["+491701234567", "+49301234567", "a@example.com"]


def test_a_process_that_waits_in_workday_is_no_success(workday: WorkdayService, opened: Open) -> None:
    """Neither another process that is pending, nor an event that somebody has to approve there."""
    wid = workday.put("1")
    workday.pending = {wid}
    outcome = one(opened(), "1", EmailAddress="a@example.com")
    assert (outcome.status, workday.written) == (Status.REJECTED, [])
    assert "Another process of this worker has to end first." in outcome.message
    workday.pending, workday.needs_approval = set(), True
    outcome = one(opened(), "1", EmailAddress="a@example.com")
    assert outcome.status is not Status.DONE
    assert "EmailAddress stays as it was" in outcome.message
    assert held(workday, wid) == []


def test_a_user_name_is_a_request_of_its_own(workday: WorkdayService, opened: Open) -> None:
    """One that is taken, or of a worker without an account, is refused; the contact data are written all the same."""
    wid = workday.put("1", user="ada", contingent=True)
    workday.put("2", user="bo")
    nobody = workday.put("3")
    target = opened()
    assert one(target, "1", UserID="ada.l").status is Status.DONE
    assert (workday.workers[wid].state(workday.now, TODAY) or {})["user"] == "ada.l"
    outcome = one(target, "1", UserID="BO", EmailAddress="ada@example.com")
    assert (outcome.status, outcome.code) == (Status.PARTLY, ErrorCode.CONFLICT)
    assert [way.value for way in held(workday, wid)] == ["ada@example.com"]
    outcome = one(target, "3", UserID="cy", EmailAddress="cy@example.com")
    assert (outcome.status, "no Workday Account" in outcome.message) == (Status.PARTLY, True)
    assert [way.value for way in held(workday, nobody)] == ["cy@example.com"]
    assert one(target, "1", UserID=None).code is ErrorCode.MISSING_VALUES


def test_nobody_is_created_switched_off_or_deleted(workday: WorkdayService, opened: Open, tmp_path: Path) -> None:
    """Workday says who there is. Check says what leaving means: nothing."""
    workday.put("1")
    target = opened()
    changes = [
        change(Action.CREATE, known_by=("WorkerID",), EmailAddress="new@example.com"),
        *(change(action, "1", known_by=("WorkerID",)) for action in (Action.DELETE, Action.DISABLE, Action.ENABLE)),
        update("1", FirstName="Eve"),
    ]
    assert {outcome.code for outcome in apply(target, *changes)} == {ErrorCode.NOT_PERMITTED}
    assert workday.written == []
    traits = target.traits()
    assert traits.switch is None
    (tmp_path / "job.yaml").write_text(
        f"name: back\nsource: {{connector: csv, users: {{path: p.csv, key: id}}}}\ntarget: {{connector: workday, url: "
        f"'{workday.url}', version: v44.0, auth: {{user: {{username: u, password: '${{env:P}}'}}}}}}\nusers:\n  "
        "matching: [{source: '[id]', target: WorkerID}]\n  attributes: {WorkerID: '[id]', EmailAddress: '[mail]'}\n",
        encoding="utf-8",
    )
    [sentence] = what_leaving_means(load_job(tmp_path / "job.yaml"), traits)
    assert "nothing is done, because updating is switched off or the target cannot disable accounts" in sentence


def test_who_is_to_come_is_written_as_of_the_first_day(workday: WorkdayService, opened: Open) -> None:
    """Workday refuses an event before the hire date, whether it shows such people today or not."""
    first = TODAY + timedelta(days=10)
    for shown in (True, False):
        workday.shows_future = shown
        wid = workday.put(f"{shown}", hired=first, entered=START - timedelta(days=1))
        outcome = one(opened(), f"{shown}", EmailAddress="new@example.com")
        assert outcome.status is Status.DONE, outcome.message
        assert [way.value for way in held(workday, wid, first)] == ["new@example.com"]
        assert held(workday, wid, TODAY) == []


def test_of_two_profiles_the_active_one_is_written(workday: WorkdayService, opened: Open) -> None:
    """A contractor who became an employee keeps the number; two active ones are not touched."""
    old = workday.put("7", contingent=True)
    workday.end(old, TODAY - timedelta(days=5))
    new = workday.put("7", hired=TODAY - timedelta(days=4))
    target = opened()
    assert one(target, "7", EmailAddress="x@example.com").status is Status.DONE
    assert ([way.value for way in held(workday, new)], held(workday, old)) == (["x@example.com"], [])
    workday.put("8")
    workday.put("8", contingent=True)
    assert one(target, "8", EmailAddress="y@example.com").code is ErrorCode.INVALID_ANCHOR
    assert len(workday.written) == 1


def test_a_missing_right_to_write_stops_and_says_which(workday: WorkdayService, opened: Open) -> None:
    """Otherwise it would be refused a thousand times in the night."""
    workday.put("1")
    workday.write_troubles = ["not authorized"]
    with pytest.raises(
        CredentialsError, match="Put on the domains Person Data: Work Contact Information and Workday Acc"
    ):
        one(opened(), "1", EmailAddress="a@example.com")


def test_a_number_without_a_code_is_refused_here(workday: WorkdayService, opened: Open) -> None:
    """The longest code counts; the number itself is in no message."""
    assert split("+12465550100", CODES) == ("BRB_1246", "5550100")
    with pytest.raises(UnknownCodeError):
        split("+331234", CODES)
    workday.put("1")
    outcome = one(opened(), "1", Mobile="+33123456789")
    assert (outcome.status, workday.written) == (Status.REJECTED, [])
    assert "phone_codes" in outcome.message
    assert "33123456789" not in outcome.message


def test_entries_that_are_not_public_are_not_taken_over(workday: WorkdayService, opened: Open) -> None:
    """A private number beside the work number keeps its place; the new one becomes an additional one."""
    private = Entry("+491", id="p", device="Mobile", primary=True, public=False)
    made = changed(Contact(phones=(private,)), None, {"Mobile": "+492"}, with_mail=False)
    assert made.phones == (Entry("+492", device="Mobile"),)


def test_settings_that_could_not_work_are_refused() -> None:
    """People are known by their number, and two attributes need two sorts of device."""
    base = {"url": "https://h/ccx/service/t", "version": "v44.0", "auth": {"user": {"username": "u", "password": "x"}}}
    base["auth"] = {"user": {"username": "u", "password": "${env:P}"}}
    for wrong in ({"key": "UniversalID"}, {"devices": {"Mobile": "M"}}, {"phone_codes": {"+49": "DEU_49"}}):
        with pytest.raises(ValidationError):
            WorkdayTargetSettings.model_validate(base | wrong)


def test_another_client_can_write_to_the_tenant_too(workday: WorkdayService) -> None:
    """zeep builds the event from the service description, and the tenant takes it: it is no mirror of ours."""
    wid = workday.put("1", landline="+49301234567")
    client = zeep.Client(str(WSDL), wsse=UsernameToken(f"{USER}@{TENANT}", PASSWORD))
    service = client.create_service(
        "{urn:com.workday/bsvc/Human_Resources}Human_ResourcesBinding", f"{workday.url}/Human_Resources/v44.0"
    )
    usage = {
        "Public": True,
        "Type_Data": [
            {"Primary": True, "Type_Reference": {"ID": [{"_value_1": "WORK", "type": "Communication_Usage_Type_ID"}]}}
        ],
    }
    event = {
        "Person_Reference": {"ID": [{"_value_1": "1", "type": "Employee_ID"}]},
        "Event_Effective_Date": TODAY,
        "Person_Contact_Information_Data": {
            "Person_Email_Information_Data": {
                "Replace_All": False,
                "Email_Information_Data": [{"Email_Data": {"Email_Address": "z@example.com"}, "Usage_Data": usage}],
            }
        },
    }
    service.Change_Work_Contact_Information(
        Business_Process_Parameters={"Auto_Complete": True, "Run_Now": True},
        Change_Work_Contact_Information_Data=event,
    )
    assert [way.value for way in held(workday, wid)] == ["+49301234567", "z@example.com"]


def test_workers_are_looked_for_by_their_number(workday: WorkdayService, opened: Open) -> None:
    """Nobody is listed for that; who is not there is not there."""
    for number in range(3):
        workday.put(str(number), mail=f"p{number}@example.com", contingent=number == 2)
    target = opened()
    found = target.find(Kind.USER, "WorkerID", ["0", "2", "9"], Wanted(("WorkerID", "EmailAddress")))
    assert sorted(found["EmailAddress"]) == ["p0@example.com", "p2@example.com"]
    assert [asked["count"] for asked in workday.asked] == [3, 3, 1, 1]  # by each type of id; 9 as one who is to come
