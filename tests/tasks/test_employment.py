"""Dates act by themselves: people come and go at their moments, in their own time zones, with no row being touched."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from connectors.contract import Action, Kind
from tasks.job.employment import Joiners, Leavers
from tests.tasks.plan.worlds import World, changes, held, make_job, settle

LEAVERS = {"date": "[lastDay]", "at": "17:00", "timezone": "[zone]"}
JOINERS = {"date": "[hireDate]", "before": "7d", "timezone": "[zone]"}


def world(now: datetime, **people: dict[str, str | None]) -> World:
    made = World(make_job(joiners=JOINERS, leavers=LEAVERS), now=now)
    for key, row in people.items():
        made.users[key] = {"mail": f"{key}@example.com", "hireDate": None, "lastDay": None, "zone": None, **row}
    return made


def active(made: World) -> set[str]:
    links = made.links[Kind.USER]
    return {anchor for anchor, link in links.items() if made.accounts[Kind.USER][link["target_id"]].get("active")}


@pytest.mark.parametrize(
    ("zone", "last_minute"),
    [
        # The published cases: 17:00 in Melbourne (summer time), Japan, India; and a place whose day ends far later.
        ("Australia/Melbourne", "2026-03-31T05:59:59Z"),
        ("Asia/Tokyo", "2026-03-31T07:59:59Z"),
        ("Asia/Kolkata", "2026-03-31T11:29:59Z"),
        ("America/Los_Angeles", "2026-03-31T23:59:59Z"),
        ("Australia/Lord_Howe", "2026-03-31T05:59:59Z"),
        ("Pacific/Kiritimati", "2026-03-31T02:59:59Z"),
    ],
)
def test_a_leaver_is_off_at_the_hour_in_her_own_zone(zone: str, last_minute: str) -> None:
    """One second before she works, at the hour she is off, although nothing in the source has changed."""
    before = datetime.fromisoformat(last_minute)
    made = settle(world(before, ann={"lastDay": "2026-03-31", "zone": zone}))
    assert active(made) == {"ann"}
    made.now = before + timedelta(seconds=1)
    plan = made.plan()
    assert changes(plan) == [("disable", "user", "ann", {"active": False})]
    assert plan.blocks[0].table["reason"][0] == f"left on 31 March 2026, 17:00 ({zone})"
    assert active(settle(made)) == set()


def test_a_joiner_has_an_account_a_week_ahead() -> None:
    """At midnight of her place, seven days before the first day; not an hour earlier."""
    made = world(datetime(2026, 3, 31, 21, 59, tzinfo=UTC), ann={"hireDate": "2026-04-08", "zone": "Europe/Berlin"})
    assert made.plan().empty
    made.now = datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert changes(made.plan())[0][:3] == ("create", "user", "ann")


def test_somebody_who_leaves_before_the_account_is_due_never_gets_one() -> None:
    made = world(datetime(2026, 4, 20, tzinfo=UTC), ann={"hireDate": "2026-04-08", "lastDay": "2026-04-10"})
    assert made.plan().empty


def test_a_first_day_that_moves_away_takes_the_account_until_then() -> None:
    """A moved or rescinded start: off until it comes, the same account on again then."""
    made = settle(world(datetime(2026, 4, 2, tzinfo=UTC), ann={"hireDate": "2026-04-08"}))
    made.users["ann"]["hireDate"] = "2026-06-01"
    plan = made.plan()
    assert changes(plan) == [("disable", "user", "ann", {"active": False})]
    assert plan.blocks[0].table["reason"][0] == "not due yet: begins on 25 May 2026, 00:00 (UTC)"
    settle(made)
    made.now = datetime(2026, 5, 25, tzinfo=UTC)
    assert changes(made.plan()) == [("enable", "user", "ann", {"active": True})]


def test_a_rehire_with_an_old_last_day_is_there() -> None:
    """A last day before the first one belongs to an earlier employment, which is over once the next one has begun."""
    made = settle(world(datetime(2026, 4, 2, tzinfo=UTC), ann={"hireDate": "2020-01-01", "lastDay": "2026-03-31"}))
    assert active(made) == set()
    made.users["ann"]["hireDate"] = "2026-05-04"
    made.now = datetime(2026, 4, 28, tzinfo=UTC)
    assert active(settle(made)) == {"ann"}


def test_a_return_that_is_announced_before_the_last_day() -> None:
    """Never off before the last hour, never on between it and the next employment; each moment is told ahead."""
    made = settle(world(datetime(2026, 3, 14, tzinfo=UTC), ann={"hireDate": "2020-01-01"}))
    made.users["ann"] |= {"hireDate": "2026-06-01", "lastDay": "2026-03-31"}
    for now, there, reason, ahead in (
        (datetime(2026, 3, 15, tzinfo=UTC), {"ann"}, "", ["leaves"]),
        (datetime(2026, 3, 31, 16, 59, tzinfo=UTC), {"ann"}, "", ["leaves"]),
        (datetime(2026, 3, 31, 17, tzinfo=UTC), set(), "left on 31 March 2026, 17:00 (UTC)", []),
        (datetime(2026, 5, 24, 23, 59, tzinfo=UTC), set(), "left on 31 March 2026, 17:00 (UTC)", ["begins"]),
        (datetime(2026, 5, 25, tzinfo=UTC), {"ann"}, "", []),
        (datetime(2026, 6, 2, tzinfo=UTC), {"ann"}, "", []),
    ):
        made.now = now
        source = made.source(None)
        assert source.coming is not None
        assert (source.left.get("ann", ""), source.coming["what"].to_list()) == (reason, ahead), now
        assert source.waiting.empty, now
        assert active(settle(made)) == there, now


@pytest.mark.parametrize("text", ["31.03.2026", "46112", "soon", "2026-02-30", "03/31/2026", "2026-13-01T00:00:00Z"])
@pytest.mark.parametrize("name", ["hireDate", "lastDay"])
def test_a_date_that_cannot_be_read_changes_nobody(name: str, text: str) -> None:
    """Not understood is not no: held with its value, an account that is there stays as it is."""
    made = settle(world(datetime(2026, 4, 2, tzinfo=UTC), ann={}, bob={}))
    made.users["ann"][name] = text
    made.users["cay"] = {**made.users["bob"], "mail": "cay@example.com", name: text}
    plan = made.plan()
    assert plan.empty
    assert set(held(plan)) == {"ann", "cay"}
    assert f'"{text}", which is not a date' in held(plan)["ann"]


def test_who_has_left_has_left_whatever_the_first_day_says() -> None:
    """Taking access away needs the last day, nothing else."""
    made = settle(world(datetime(2026, 4, 2, tzinfo=UTC), ann={}))
    made.users["ann"] |= {"hireDate": "sometime", "lastDay": "2026-04-01"}
    assert changes(made.plan(), Action.DISABLE) == [("disable", "user", "ann", {"active": False})]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-31", "2026-03-31T15:00:00Z"),
        ("20260331", "2026-03-31T15:00:00Z"),
        ("2026-03-31-08:00", "2026-03-31T15:00:00Z"),
        ("2026-03-31T00:00:00.000Z", "2026-03-31T15:00:00Z"),
        ("2026-03-31 00:00:00", "2026-03-31T15:00:00Z"),
        ("3/31/2026 12:00:00 AM", "2026-03-31T15:00:00Z"),
        ("2026-03-31T12:30:00+02:00", "2026-03-31T10:30:00Z"),
        ("2026-03-31T12:30:00", "2026-03-31T10:30:00Z"),
        ("3/31/2026 10:30:00 AM", "2026-03-31T10:30:00Z"),
    ],
)
def test_dates_as_systems_write_them(text: str, moment: str) -> None:
    """A date, with midnight or a zone behind it or not, is that day on her clock; a moment with a time is itself."""
    made = settle(world(datetime(2026, 3, 1, tzinfo=UTC), ann={"lastDay": text, "zone": "Europe/Berlin"}))
    made.now = datetime.fromisoformat(moment) - timedelta(seconds=1)
    assert made.plan().empty
    made.now = datetime.fromisoformat(moment)
    assert [change[0] for change in changes(made.plan())] == ["disable"]


def test_an_unknown_zone_is_the_fallback() -> None:
    """Nobody stays for ever because of a misspelt zone."""
    made = settle(world(datetime(2026, 3, 31, 16, 59, tzinfo=UTC), ann={"lastDay": "2026-03-31", "zone": "Mars/Base"}))
    assert active(made) == {"ann"}
    made.now += timedelta(minutes=1)
    assert active(settle(made)) == set()


def test_what_comes_is_told() -> None:
    made = world(
        datetime(2026, 3, 20, tzinfo=UTC),
        ann={"lastDay": "2026-03-31", "zone": "Australia/Melbourne"},
        bob={"hireDate": "2026-04-08"},
        cay={"hireDate": "2027-01-01"},
    )
    coming = made.source(None).coming
    assert coming is not None
    assert list(coming[["key", "what"]].itertuples(index=False, name=None)) == [("ann", "leaves"), ("bob", "begins")]


@pytest.mark.parametrize(
    "section", [{"at": "25:00"}, {"at": "5 pm"}, {"at": 1441}, {"timezone": "Mars/Base"}, {"fallback": "[zone]"}]
)
def test_wrong_sections_are_refused(section: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Leavers.model_validate({"date": "[lastDay]", **section})


def test_hours_are_read_as_yaml_gives_them() -> None:
    """YAML 1.1 takes 17:00 for the number 1020."""
    assert Leavers.model_validate({"date": "[d]", "at": 1020}).at == timedelta(hours=17)
    assert Joiners.model_validate({"date": "[d]", "at": "07:30"}).at == timedelta(hours=7, minutes=30)


@pytest.mark.parametrize("last", ["9999-12-31", "9999-12-31T23:59:59", "9999-12-31T23:59:59-12:00", "9998-12-31"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
def test_a_last_day_at_the_end_of_the_calendar_never_comes(last: str, zone: str) -> None:
    """HR systems write it where there is no last day: it is a date, and nobody is held by it."""
    made = world(datetime(2026, 3, 15, tzinfo=UTC), ann={"lastDay": last, "zone": zone})
    assert [one[:3] for one in changes(made.plan())] == [("create", "user", "ann")]
    assert held(made.plan()) == {}


@pytest.mark.parametrize(
    ("row", "there"),
    [
        ({"hireDate": "0001-01-01"}, True),
        ({"hireDate": "9999-12-31"}, False),
        ({"hireDate": "9999-12-31T23:59:59"}, False),
        ({"lastDay": "0001-01-01"}, False),
        ({"lastDay": "0001-01-01T00:00:00"}, False),
    ],
)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
def test_both_ends_of_the_calendar_are_dates(row: dict[str, str], there: bool, zone: str) -> None:
    made = world(datetime(2026, 3, 15, tzinfo=UTC), ann={**row, "zone": zone})
    assert held(made.plan()) == {}
    assert bool(changes(made.plan())) is there


def test_an_earlier_employment_that_ended_within_the_time_ahead_counts_no_more() -> None:
    """Back five days after the last day, with an account that is due seven days ahead: on again, and it stays so."""
    rehired = {"hireDate": "2026-03-15", "lastDay": "2026-03-10"}
    made = settle(world(datetime(2026, 3, 9, tzinfo=UTC), ann=rehired))
    for day in (12, 16, 30):
        made.now = datetime(2026, 3, day, tzinfo=UTC)
        assert active(settle(made)) == {"ann"}
        coming = made.source(None).coming
        assert coming is not None
        assert coming.empty


def test_the_only_day_ends_although_it_begins_later_in_another_zone() -> None:
    """A last day that ends before midnight UTC, where the first one is told in UTC, is no earlier employment."""
    dates = {"hireDate": "2026-03-31", "lastDay": "2026-03-31"}
    made = World(
        make_job(
            joiners={"date": "[hireDate]"},
            leavers={"date": "[lastDay]", "at": "09:00", "timezone": "Australia/Sydney"},
        ),
        now=datetime(2026, 4, 2, tzinfo=UTC),
    )
    made.users["ann"] = {"mail": "ann@example.com", **dates}
    assert made.plan().empty


def test_a_name_that_is_no_time_zone_is_told() -> None:
    """The date acts in the fallback then, and people learn of it."""
    made = world(datetime(2026, 3, 15, tzinfo=UTC), ann={"lastDay": "2026-03-31", "zone": "Australia/Sidney"})
    for section, said in zip(("joiners", "leavers"), made.source(None).remarks, strict=True):
        assert said.startswith(f'{section}.timezone gives "Australia/Sidney", which is no time zone')
        assert "act in UTC" in said
