"""Workday over a strict tenant of our own: who is read, what proves that nobody is missing, whom changes bring."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import zeep
from pydantic import ValidationError
from zeep.wsse.username import UsernameToken

from connectors.contract import Form, Kind, Snapshot, Wanted
from connectors.errors import CredentialsError, SchemaMismatchError, SettingsError, UnreachableError
from connectors.kit import KitSource
from connectors.workday.attributes import CATALOGUE, compile_paths, plain_date, response_group
from connectors.workday.settings import WorkdaySettings
from connectors.workday.system import SYSTEM
from tests.connectors.clocks import FakeClock
from tests.servers.workday_service import (
    CLIENT,
    PASSWORD,
    REFRESH,
    SECRET,
    START,
    TENANT,
    USER,
    WSDL,
    WorkdayService,
)

TODAY = START.date()
WANTED = Wanted(
    (
        "FirstName",
        "LastName",
        "BusinessTitle",
        "Company",
        "SupervisoryOrganization",
        "EmailAddress",
        "Mobile",
        "ManagerReference",
        "StatusHireDate",
        "StatusTerminationDate",
        "StatusTerminationLastDayOfWork",
        "WorkerType",
        "WID",
    )
)
Open = Callable[..., KitSource]


@pytest.fixture
def workday(workday: WorkdayService, monkeypatch: pytest.MonkeyPatch) -> WorkdayService:
    monkeypatch.setenv("WORKDAY_SECRET", SECRET)
    monkeypatch.setenv("WORKDAY_REFRESH", REFRESH)
    return workday


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def opened(workday: WorkdayService, tmp_path: Path, clock: FakeClock) -> Iterator[Open]:
    sources: list[KitSource] = []

    def open_one(**more: Any) -> KitSource:
        settings = {
            "url": workday.url,
            "version": "v44.0",
            "auth": {"user": {"username": USER, "password": "${env:WORKDAY_PASSWORD}"}},
            **more,
        }
        sources.append(KitSource(SYSTEM, WorkdaySettings.model_validate(settings), folder=tmp_path, clock=clock))
        return sources[-1]

    yield open_one
    for source in sources:
        source.close()


@pytest.fixture
def source(opened: Open) -> KitSource:
    return opened()


def crowd(workday: WorkdayService, count: int) -> list[str]:
    return [
        workday.put(f"{n:06}", first=f"First{n}", last=f"Last{n}", title=f"Title {n}", mail=f"p{n}@example.com")
        for n in range(count)
    ]


def row(snapshot: Snapshot, key: str) -> dict[str, Any]:
    return {name: None if pd.isna(value) else value for name, value in snapshot.users.loc[key].items()}


# --- everybody --------------------------------------------------------------------------------------------------------


def test_everybody_is_read_with_values_of_their_own(workday: WorkdayService, opened: Open) -> None:
    """250 workers over pages, all as of one moment; no two share a value, though their elements are neighbours."""
    wids = crowd(workday, 250)
    workday.managers[wids[7]] = wids[3]
    contractor = workday.put("C-1", contingent=True, first="Cay", last="O'Brien & Söhne", mobile="+491701234567")
    snapshot = opened(page_size=40).read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert len(snapshot.users) == 251
    for number in (0, 39, 40, 249):
        key = f"{number:06}"
        assert row(snapshot, key) | {"BusinessTitle": f"Title {number}", "WID": wids[number]} == row(snapshot, key)
        assert row(snapshot, key)["EmailAddress"] == f"p{number}@example.com"
    assert row(snapshot, "000007")["ManagerReference"] == "000003"
    assert row(snapshot, "000007")["StatusHireDate"] == "2020-01-01"
    told = row(snapshot, "C-1")
    assert (told["LastName"], told["Mobile"], told["WorkerType"]) == ("O'Brien & Söhne", "+491701234567", "Contingent")
    assert told["WID"] == contractor
    assert snapshot.disabled == frozenset()
    listing = [one for one in workday.asked if not one["window"]]
    assert [one["page"] for one in listing] == [1, 2, 3, 4, 5, 6, 7]
    assert len({one["entry"] for one in listing}) == 1
    assert listing[0]["entry"] == "2026-05-01T12:00:00.000Z"
    assert snapshot.requests == len(workday.asked) + 1


def test_only_sections_that_are_looked_into_are_asked_for(workday: WorkdayService, source: KitSource) -> None:
    """Nothing is left to Workday's defaults, which send pay; organisations of other types are excluded."""
    crowd(workday, 1)
    source.read(Wanted(("FirstName", "Company")))
    flags = workday.asked[0]["flags"]
    assert {name for name, value in flags.items() if value} == {
        "Include_Reference",
        "Include_Personal_Information",
        "Include_Additional_Jobs",
        "Include_Employment_Information",
        "Include_Organizations",
        "Exclude_Organization_Support_Role_Data",
        "Exclude_Location_Hierarchies",
        "Exclude_Cost_Centers",
        "Exclude_Cost_Center_Hierarchies",
        "Exclude_Company_Hierarchies",
        "Exclude_Matrix_Organizations",
        "Exclude_Pay_Groups",
        "Exclude_Regions",
        "Exclude_Region_Hierarchies",
        "Exclude_Supervisory_Organizations",
    }
    assert flags["Include_Compensation"] is False
    assert flags["Include_Photo"] is False


def test_a_second_job_gives_no_values(workday: WorkdayService, source: KitSource) -> None:
    """Titles are those of the primary job; other jobs have an attribute of their own."""
    workday.put("1", title="Surgeon", other_titles=["Lecturer", "Editor"])
    users = source.read(Wanted(("BusinessTitle", "OtherBusinessTitles", "AddressLineData", "AddressLines"))).users
    assert users.loc["1"].to_list() == [
        "Surgeon",
        ["Lecturer", "Editor"],
        "1 Main Street",
        ["1 Main Street", "Floor 2"],
    ]


def test_who_has_left_is_disabled(workday: WorkdayService, source: KitSource) -> None:
    """Inactive workers stay in the listing; that, and not their absence, says that they have left."""
    crowd(workday, 2)
    workday.end(next(iter(workday.workers)), TODAY - timedelta(days=1))
    snapshot = source.read(WANTED)
    assert len(snapshot.users) == 2
    assert snapshot.disabled == {"000000"}


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("short page", "A page says that it has 10 workers and has 9."),
        ("missing row", "Asked to list the workers, Workday counts 25 and gave 24."),
        ("other total", "While Workday was to list the workers, its count went from 25 to 26."),
        ("no results", "Page 2 came without its counts."),
    ],
)
def test_counts_that_do_not_fit_prove_nothing(
    workday: WorkdayService, opened: Open, trouble: str, sentence: str
) -> None:
    """Whatever is wrong with a page, absence proves nothing, and the sentence says what it was."""
    crowd(workday, 25)
    workday.troubles = ["", trouble]
    snapshot = opened(page_size=10, ahead_days=0).read(WANTED)
    assert not snapshot.complete
    assert sentence in " ".join(snapshot.incomplete)


def test_a_first_page_without_counts_is_not_everybody(workday: WorkdayService, opened: Open) -> None:
    """Without a count nobody knows how many pages there are."""
    crowd(workday, 25)
    workday.troubles = ["no results"]
    snapshot = opened(page_size=10, ahead_days=0).read(WANTED)
    assert len(snapshot.users) == 10
    assert "Asked to list the workers, Workday did not say how many there are." in " ".join(snapshot.incomplete)


def test_a_page_that_stays_cut_off_stops_the_read(workday: WorkdayService, opened: Open, clock: FakeClock) -> None:
    """It is asked for again, and nothing is made of half a page."""
    crowd(workday, 25)
    workday.troubles = ["", "cut"]
    assert opened(page_size=10, ahead_days=0).read(WANTED).complete
    workday.troubles = ["", *["cut"] * 20]
    with pytest.raises(UnreachableError, match="cut off"):
        opened(page_size=10, ahead_days=0).read(WANTED)


def test_pages_do_not_shift_while_people_are_hired(workday: WorkdayService, opened: Open) -> None:
    """Somebody entered during the read is not in it; everybody else is, once."""
    crowd(workday, 25)

    def hire() -> None:
        newest = workday.put("A-new", entered=START + timedelta(seconds=9))
        workday.workers = {newest: workday.workers.pop(newest), **workday.workers}

    workday.before_page[2] = hire
    snapshot = opened(page_size=10, ahead_days=0).read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert len(snapshot.users) == 25
    assert "A-new" not in snapshot.users.index


def test_a_worker_whose_status_is_not_shown_is_held(workday: WorkdayService, source: KitSource) -> None:
    """A missing right hides a section without a fault: nobody counts as active because of it."""
    crowd(workday, 3)
    workday.hidden_sections.add("status")
    snapshot = source.read(WANTED)
    assert len(snapshot.users) == 0
    assert {one.key for one in snapshot.unreadable} == {"000000", "000001", "000002"}
    assert "Current Staffing Information" in " ".join(snapshot.incomplete)


# --- one person, several profiles -------------------------------------------------------------------------------------


def test_a_conversion_keeps_the_person(workday: WorkdayService, source: KitSource) -> None:
    """The WID changes, the key does not; the active profile counts; a manager's old WID leads to the same person."""
    old = workday.put("77", contingent=True, title="Contractor")
    workday.end(old, date(2026, 4, 1))
    new = workday.put("77", hired=date(2026, 4, 2), title="Engineer")
    report = workday.put("78")
    workday.managers[report] = old
    snapshot = source.read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert list(snapshot.users.index) == ["77", "78"]
    assert row(snapshot, "77")["BusinessTitle"] == "Engineer"
    assert row(snapshot, "77")["WID"] == new
    assert row(snapshot, "78")["ManagerReference"] == "77"
    assert snapshot.disabled == frozenset()


def test_two_active_profiles_of_one_key_are_held(workday: WorkdayService, source: KitSource) -> None:
    """Nobody can say which is right, and nothing happens to the account."""
    workday.put("77", title="One")
    workday.put("77", title="Two", contingent=True)
    workday.put("78")
    snapshot = source.read(WANTED)
    assert list(snapshot.users.index) == ["78"]
    assert [(one.key, one.reason) for one in snapshot.unreadable] == [
        ("77", "Workday has 2 active workers with this WorkerID; none is used.")
    ]


def test_a_late_correction_of_an_old_profile_ends_nobodys_access(workday: WorkdayService, source: KitSource) -> None:
    """A change of the profile that has ended brings the person's active profile, not the old one."""
    old = workday.put("77", contingent=True)
    workday.end(old, date(2026, 4, 1))
    workday.put("77", hired=date(2026, 4, 2), title="Engineer")
    first = source.read(WANTED)
    workday.now += timedelta(hours=1)
    workday.change(old, effective=date(2026, 3, 1), title="Corrected")
    workday.now += timedelta(hours=1)
    delta = source.read(WANTED, since=first.watermark)
    assert list(delta.users.index) == ["77"]
    assert row(delta, "77")["BusinessTitle"] == "Engineer"
    assert delta.disabled == frozenset()


# --- ahead ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shows_future", [True, False])
def test_people_are_read_before_their_first_day_as_of_it(
    workday: WorkdayService, opened: Open, shows_future: bool
) -> None:
    """They come active, with the values of their first day, exactly as many days ahead as the settings say."""
    workday.shows_future = shows_future
    crowd(workday, 2)
    day = TODAY + timedelta(days=14)
    soon = workday.put("soon", hired=day, first="Sue", title="Trainee")
    workday.workers[soon].entries[0].entered = START - timedelta(days=5)
    workday.change(soon, effective=day + timedelta(days=7), title="Assistant")
    snapshot = opened(ahead_days=14).read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    told = row(snapshot, "soon")
    assert (told["BusinessTitle"], told["StatusHireDate"]) == ("Trainee", day.isoformat())
    assert "soon" not in snapshot.disabled
    earlier = opened(ahead_days=13).read(WANTED)
    assert "soon" not in set(earlier.users.index) - earlier.disabled


def test_a_rescinded_hire_is_not_active(workday: WorkdayService, source: KitSource) -> None:
    """Who will not come after all is disabled by the next read of changes."""
    soon = workday.put("soon", hired=TODAY + timedelta(days=5), entered=START - timedelta(days=5))
    first = source.read(WANTED)
    assert first.disabled == frozenset()
    workday.now += timedelta(hours=1)
    workday.change(soon, effective=TODAY + timedelta(days=5), rescinded=True)
    workday.now += timedelta(hours=1)
    delta = source.read(WANTED, since=first.watermark)
    assert delta.disabled == {"soon"}


def test_a_conversion_that_is_to_come_does_not_touch_who_is_active(workday: WorkdayService, source: KitSource) -> None:
    """Today's contract counts until its last day, in whole reads and in those of changes."""
    old = workday.put("77", contingent=True, title="Contractor")
    workday.put("77", hired=TODAY + timedelta(days=10), entered=START - timedelta(days=1), title="Engineer")
    first = source.read(WANTED)
    assert row(first, "77")["BusinessTitle"] == "Contractor"
    workday.now += timedelta(hours=1)
    delta = source.read(WANTED, since=first.watermark)
    assert row(delta, "77")["BusinessTitle"] == "Contractor"
    assert row(delta, "77")["WID"] == old


def test_last_days_are_told_before_they_come(workday: WorkdayService, opened: Open) -> None:
    """Today's read does not show them; the one ahead does, and the person stays active until then."""
    wid = workday.put("lee")
    workday.end(wid, TODAY + timedelta(days=20), last_day=TODAY + timedelta(days=18))
    source = opened(ahead_days=21)
    told = row(first := source.read(WANTED), "lee")
    assert told["StatusTerminationLastDayOfWork"] == "2026-05-19"
    assert told["StatusTerminationDate"] == "2026-05-21"
    assert first.disabled == frozenset()
    known = opened(ahead_days=21, population={"inactive": False}).read(WANTED)
    assert row(known, "lee")["StatusTerminationDate"] == "2026-05-21"
    far = opened(ahead_days=19).read(WANTED)
    assert row(far, "lee")["StatusTerminationDate"] is None


def test_a_last_day_that_comes_near_is_told_by_a_read_of_changes(workday: WorkdayService, opened: Open) -> None:
    """Nothing was entered about it since the last read: time alone has passed."""
    wid = workday.put("lee")
    crowd(workday, 3)
    workday.end(wid, TODAY + timedelta(days=20))
    source = opened(ahead_days=19)
    first = source.read(WANTED)
    assert row(first, "lee")["StatusTerminationDate"] is None
    workday.now += timedelta(days=2)
    delta = source.read(WANTED, since=first.watermark)
    assert list(delta.users.index) == ["lee"]
    assert row(delta, "lee")["StatusTerminationDate"] == "2026-05-21"


# --- changes ----------------------------------------------------------------------------------------------------------


def test_changes_bring_what_was_entered_and_what_has_taken_effect(workday: WorkdayService, source: KitSource) -> None:
    """An edit dated back, one dated ahead that is due now, a joiner; nobody else; everybody's keys."""
    wids = crowd(workday, 30)
    workday.change(wids[4], effective=TODAY + timedelta(days=2), title="Ahead")
    first = source.read(WANTED)
    assert row(first, "000004")["BusinessTitle"] == "Title 4"
    workday.now += timedelta(days=2)
    workday.change(wids[5], effective=TODAY - timedelta(days=40), title="Back")
    workday.put("new", hired=TODAY + timedelta(days=1), entered=workday.now)
    delta = source.read(WANTED, since=first.watermark)
    assert not delta.reread
    assert delta.complete, delta.incomplete
    assert set(delta.users.index) == {"000004", "000005", "new"}
    assert row(delta, "000004")["BusinessTitle"] == "Ahead"
    assert row(delta, "000005")["BusinessTitle"] == "Back"
    assert len(delta.everybody[Kind.USER]) == 31
    whole = source.read(WANTED)
    for key in delta.users.index:
        assert row(whole, key) == row(delta, key)


def test_a_change_that_workday_does_not_log_comes_with_the_whole_read(
    workday: WorkdayService, source: KitSource
) -> None:
    """A renamed location writes nothing into the log; the product reads everybody once a day."""
    wid = workday.put("1", city="Berlin")
    wanted = Wanted(("Municipality",))
    first = source.read(wanted)
    workday.now += timedelta(hours=1)
    workday.change(wid, logged=False, city="Potsdam")
    workday.now += timedelta(hours=1)
    assert len(source.read(wanted, since=first.watermark).users) == 0
    assert source.read(wanted).users["Municipality"].to_list() == ["Potsdam"]


def test_a_right_that_was_lost_shows_nobody_as_gone(workday: WorkdayService, source: KitSource) -> None:
    """Rows that the integration user may no longer see vanish without a fault; the count gives it away."""
    wids = crowd(workday, 30)
    first = source.read(WANTED)
    workday.hidden = set(wids[10:20])
    workday.now += timedelta(hours=1)
    delta = source.read(WANTED, since=first.watermark)
    assert not delta.complete
    assert "Workday shows 20 workers, and showed 30 before." in " ".join(delta.incomplete)


def test_other_attributes_mean_reading_everybody(workday: WorkdayService, source: KitSource) -> None:
    """A watermark is good for what it was read with."""
    crowd(workday, 3)
    first = source.read(WANTED)
    again = source.read(Wanted(("FirstName",)), since=first.watermark)
    assert len(again.users) == 3
    assert again.reread


def test_others_than_those_asked_for_stop_the_read(workday: WorkdayService, source: KitSource) -> None:
    """A tenant that drops the references would give everybody's rows for a few."""
    wids = crowd(workday, 3)
    first = source.read(WANTED)
    workday.now += timedelta(hours=1)
    workday.change(wids[0], title="New")
    workday.now += timedelta(hours=1)
    workday.troubles = ["", "", "", "strangers"]
    with pytest.raises(SchemaMismatchError, match="ignores the condition"):
        source.read(WANTED, since=first.watermark)


# --- faults and signing in --------------------------------------------------------------------------------------------


def test_credentials_are_never_tried_twice(workday: WorkdayService, source: KitSource, clock: FakeClock) -> None:
    """Another try might lock the account."""
    workday.troubles = ["authentication"]
    with pytest.raises(CredentialsError, match=f"sign in as {USER}@{TENANT}") as caught:
        source.read(WANTED)
    assert [wait for wait in clock.slept if wait >= 1] == []
    assert workday.troubles == []
    assert PASSWORD not in str(caught.value)


def test_a_wrong_password_is_told_with_who_it_is_for(
    workday: WorkdayService, source: KitSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the tenant behind the name Workday would say the same."""
    monkeypatch.setenv("WORKDAY_PASSWORD", "another")
    with pytest.raises(CredentialsError, match=f"{USER}@{TENANT}"):
        source.check()


def test_a_missing_right_is_named(workday: WorkdayService, source: KitSource) -> None:
    """The fault names neither domain nor what to do; we do."""
    workday.troubles = ["not authorized"]
    with pytest.raises(CredentialsError, match="activate the pending security policy changes"):
        source.read(WANTED)


def test_an_unknown_version_is_said(workday: WorkdayService, opened: Open) -> None:
    """Two releases a year: the fault alone does not say which version was asked for."""
    with pytest.raises(SettingsError, match=r"version v39\.1"):
        opened(version="v39.1").check()


@pytest.mark.parametrize(("trouble", "waits"), [("processing", [2.0]), ("html", [2.0]), ("throttled", [7.0])])
def test_what_may_pass_is_waited_for(
    workday: WorkdayService, source: KitSource, clock: FakeClock, trouble: str, waits: list[float]
) -> None:
    """A busy tenant, a page about maintenance, too many requests: the same request again, after the wait asked for."""
    crowd(workday, 3)
    workday.troubles = [trouble]
    assert len(source.read(WANTED).users) == 3
    assert [wait for wait in clock.slept if wait >= 1] == waits


def test_maintenance_that_goes_on_ends_the_read(workday: WorkdayService, source: KitSource) -> None:
    """The sentence says what came instead of an answer."""
    workday.troubles = ["html"] * 20
    with pytest.raises(UnreachableError, match="being maintained"):
        source.read(WANTED)


def test_a_refresh_token_signs_in(workday: WorkdayService, opened: Open) -> None:
    """One token for all requests of a read, and no password in any message."""
    crowd(workday, 3)
    base = workday.url.partition("/ccx/")[0]
    oauth = {
        "client_id": CLIENT,
        "secret": "${env:WORKDAY_SECRET}",
        "refresh_token": "${env:WORKDAY_REFRESH}",
        "token_url": f"{base}/ccx/oauth2/{TENANT}/token",
    }
    assert len(opened(auth={"oauth": oauth}).read(WANTED).users) == 3
    assert workday.tokens == 1


def test_a_check_counts_who_is_there(workday: WorkdayService, opened: Open) -> None:
    """Both populations by name, who has left, and own attributes that nobody has a value for."""
    wids = crowd(workday, 5)
    workday.put("C-1", contingent=True)
    workday.end(wids[0], TODAY - timedelta(days=30))
    workday.now = START
    told = opened(attributes={"Shoe": "wd:Worker/wd:Worker_Data/wd:Personal_Data/wd:Shoe_Size/text()"}).check()
    assert "4 active employees, 1 active contingent workers, 1 who have left" in told
    assert "none of 50 workers has a value for Shoe" in told


# --- attributes and settings ------------------------------------------------------------------------------------------


def test_every_built_in_path_can_be_asked_for_and_compiled() -> None:
    """All of them begin at the worker, and sections are known."""
    assert len(CATALOGUE) >= 80
    compile_paths(CATALOGUE)
    flags = response_group(CATALOGUE)
    assert next(iter(flags)) == "Include_Reference"
    assert flags["Include_Account_Provisioning"] is True
    assert all(one.path.startswith("wd:Worker/") and "//" not in one.path for one in CATALOGUE.values())


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("2023-12-31-08:00", "2023-12-31"),
        ("2023-12-31Z", "2023-12-31"),
        ("2023-12-31", "2023-12-31"),
        ("2023-12-31T00:00:00.000-07:00", "2023-12-31"),
        ("2023-12-31T08:30:00-07:00", "2023-12-31T08:30:00-07:00"),
    ],
)
def test_days_of_the_calendar_have_no_zone(text: str, plain: str) -> None:
    """Another zone would move a last day to the day before."""
    assert plain_date(text) == plain


def test_an_own_attribute_takes_the_place_of_a_built_in_one(workday: WorkdayService, opened: Open) -> None:
    """Paths, lists and functions of XPath."""
    workday.put("1", first="Ann", last="Lee")
    own = {
        "FirstName": "concat('Dr. ', wd:Worker/wd:Worker_Data/wd:Personal_Data/wd:Name_Data/wd:Legal_Name_Data"
        "/wd:Name_Detail_Data/wd:First_Name)",
    }
    with pytest.raises(ValidationError, match="begin with wd:Worker/"):
        opened(attributes=own)
    path = "wd:Worker/wd:Worker_Data/wd:Employment_Data/wd:Worker_Job_Data/wd:Position_Data/wd:Position_ID/text()"
    source = opened(attributes={"Positions": {"path": path, "many": True}, "FirstName": path})
    assert source.read(Wanted(("Positions", "FirstName"))).users.loc["1"].to_list() == [["P-1"], "P-1"]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"version": "v21.1"}, "too old"),
        ({"version": "44"}, "written like v44.0"),
        ({"key": "WID"}, "WorkerID"),
        ({"attributes": {"A": "wd:Worker//wd:Active"}}, "must not hold //"),
        ({"auth": {}}, "exactly one of user and oauth"),
        ({"url": "http://workday.example.com/ccx/service/contoso"}, "readable by everybody"),
        ({"population": {"employees": False, "contingent": False}}, "employees, contingent workers or both"),
    ],
)
def test_settings_that_would_read_wrongly_are_refused(opened: Open, setting: dict[str, Any], said: str) -> None:
    """Old versions, keys that change, paths that reach the neighbours, passwords in the open."""
    with pytest.raises(ValidationError, match=said):
        opened(**setting)


def test_a_path_that_cannot_be_read_is_named(opened: Open) -> None:
    """Syntax, and sections that are never asked for."""
    with pytest.raises(SettingsError, match="path of A is not a usable XPath"):
        opened(attributes={"A": "wd:Worker/wd:Worker_Data["}).attributes(Kind.USER)
    with pytest.raises(SettingsError, match="looks into Photo_Data"):
        opened(attributes={"A": "wd:Worker/wd:Worker_Data/wd:Photo_Data/wd:Image"}).attributes(Kind.USER)


def test_a_boolean_says_what_it_is(opened: Open) -> None:
    """Forms are the catalogue's, so that a column of ones stays one of booleans."""
    known = opened().attributes(Kind.USER)
    assert known is not None
    assert known["Active"].form is Form.BOOLEAN
    assert known["ManagerReference"].refers_to == {Kind.USER}


# --- the simulator ----------------------------------------------------------------------------------------------------


def test_an_independent_client_reads_the_tenant(workday: WorkdayService) -> None:
    """zeep signs in with its own envelope, and every answer fits the schema that it reads by."""
    wids = crowd(workday, 3)
    workday.managers[wids[1]] = wids[0]
    workday.put("C-1", contingent=True, mobile="+491701234567", universal="U1", user="cay")
    client = zeep.Client(str(WSDL), wsse=UsernameToken(f"{USER}@{TENANT}", PASSWORD))
    service = client.create_service(
        "{urn:com.workday/bsvc/Human_Resources}Human_ResourcesBinding", f"{workday.url}/Human_Resources/v44.0"
    )
    every = {name: name.startswith("Include") for name in response_group(CATALOGUE)}
    answer = service.Get_Workers(Response_Filter={"Page": 1, "Count": 100}, Response_Group=every, version="v44.0")
    assert int(answer.Response_Results.Total_Results) == 4
    told = answer.Response_Data.Worker[3].Worker_Data
    assert (told.Worker_ID, told.Universal_ID) == ("C-1", "U1")
    assert told.Employment_Data.Worker_Status_Data.Active is True
    assert service.Get_Server_Timestamp(version="v44.0") == START
    with pytest.raises(zeep.exceptions.Fault, match="Validation error"):
        service.Get_Workers(Response_Filter={"Page": 1, "Count": 1000}, version="v44.0")
