"""A year of a company, hour by hour: at every hour the active accounts are those that a small model says, and no cycle
writes what is not due.

The model is a person who looks at the clock on somebody's wall and at what HR has said so far. It knows nothing of
moments, frames or plans. HR says things ahead, on time and too late, and takes some of them back.

The short form is three weeks of 16 people, planned at every hour at which something comes, at the hour before, and at
some others; the long form, with ``PROVISOR_LONG=1``, is a year of 2,000, planned at every hour.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

from connectors.contract import Kind
from tests.tasks.plan.worlds import World, changes, make_job

LONG = bool(os.environ.get("PROVISOR_LONG"))
PEOPLE, DAYS, HAPPENINGS = (2_000, 365, 10_000) if LONG else (16, 21, 26)
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
"""Summer time begins in America on 8 March."""
ZONES = (
    "Australia/Melbourne",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Europe/Berlin",
    "America/New_York",
    "Pacific/Auckland",
    "America/Los_Angeles",
)
AHEAD, LAST_HOUR = timedelta(days=7), time(17)
HOUR = timedelta(hours=1)


@dataclass(slots=True)
class Life:
    """What HR has said of one person by now."""

    zone: str
    first: date
    last: date | None = None
    title: str = "Clerk"
    contractor: bool = False
    on_leave: bool = False
    rescinded: bool = False
    listed: bool = True
    """False once HR no longer has the row."""

    def works(self, now: datetime) -> bool:
        """By the clock on the wall where the person works."""
        if self.on_leave or self.rescinded or not self.listed:
            return False
        wall = now.astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        begun = wall >= datetime.combine(self.first - AHEAD, time())
        over = self.last is not None and wall >= datetime.combine(self.last, LAST_HOUR)
        if self.last is not None and self.last < self.first:  # goes, and comes back for another employment
            return begun or not over
        return begun and not over

    def moments(self) -> Iterator[datetime]:
        """Hours, in UTC, at which this life turns."""
        for day, hour in ((self.first - AHEAD, time()), (self.last or self.first, LAST_HOUR)):
            yield datetime.combine(day, hour, ZoneInfo(self.zone)).astimezone(UTC)


@dataclass(slots=True)
class Company:
    """HR's desk: lives by key, and what is done there."""

    random: Random
    lives: dict[str, Life] = field(default_factory=dict)
    hired: int = 0
    done: int = 0
    """Things that HR has done: each sort in turn, so that none is left out."""

    def hire(self, today: date, *, days: tuple[int, int] = (0, 40), contractor: bool = False) -> str:
        """Somebody whose first day is so many days from today; before today, it was said too late."""
        key = f"p{self.hired:05}"
        self.hired += 1
        first = today + timedelta(days=self.random.randint(*days))
        self.lives[key] = Life(self.random.choice(ZONES), first, contractor=contractor)
        return key

    def happens(self, today: date) -> str | None:
        """One thing that HR does now; gives the key of the person whom it is about."""
        self.done += 1
        return _DEEDS[self.done % len(_DEEDS)](self, today)

    def anybody(self, fits: Callable[[Life], bool]) -> str | None:
        """One of those who fit, if there is one."""
        found = [key for key, one in self.lives.items() if one.listed and fits(one)]
        return self.random.choice(found) if found else None


def _with(
    fits: Callable[[Life], bool], do: Callable[[Company, Life, date], None]
) -> Callable[[Company, date], str | None]:
    def deed(company: Company, today: date) -> str | None:
        key = company.anybody(fits)
        if key is not None:
            do(company, company.lives[key], today)
        return key

    return deed


def _leaves(company: Company, one: Life, today: date) -> None:
    one.last = today + timedelta(days=company.random.randint(-5, 30))


def _takes_back(company: Company, one: Life, today: date) -> None:
    one.last = None


def _is_transferred(company: Company, one: Life, today: date) -> None:
    one.zone, one.title = company.random.choice(ZONES), company.random.choice(("Clerk", "Lead", "Head"))


def _is_rehired(company: Company, one: Life, today: date) -> None:
    one.first, one.last = today + timedelta(days=company.random.randint(-3, 20)), None


def _will_be_back(company: Company, one: Life, today: date) -> None:
    """The next employment is announced while the last day of this one is still to come, or just over."""
    assert one.last is not None
    one.first = one.last + timedelta(days=company.random.randint(1, 15))


def _is_converted(company: Company, one: Life, today: date) -> None:
    """A contractor becomes an employee on a day: the same number, the contract's last day goes."""
    one.contractor, one.title, one.last = False, "Clerk", None


def _goes_on_leave(company: Company, one: Life, today: date) -> None:
    one.on_leave = True


def _comes_back(company: Company, one: Life, today: date) -> None:
    one.on_leave = False


def _is_rescinded(company: Company, one: Life, today: date) -> None:
    """Somebody will not come after all: the row says so, or is gone."""
    if company.random.random() < 0.5:
        one.rescinded = True
    else:
        one.listed = False


def _new_record(company: Company, today: date) -> str | None:
    """A conversion by which the old record ends and a new one, with another number, begins the day after."""
    key = company.anybody(lambda one: one.contractor and one.last is None)
    if key is not None:
        company.lives[key].last = today
        company.lives[company.hire(today, days=(1, 1))].zone = company.lives[key].zone
    return key


_DEEDS: tuple[Callable[[Company, date], str | None], ...] = (
    lambda company, today: company.hire(today),
    lambda company, today: company.hire(today, days=(-10, 0)),
    lambda company, today: company.hire(today, contractor=True),
    _new_record,
    _with(lambda one: one.last is None, _leaves),
    _with(lambda one: one.last is None, _leaves),
    _with(lambda one: one.last is not None, _takes_back),
    _with(lambda one: True, _is_transferred),
    _with(lambda one: one.last is not None, _is_rehired),
    _with(lambda one: one.last is not None, _will_be_back),
    _with(lambda one: one.contractor, _is_converted),
    _with(lambda one: not one.on_leave, _goes_on_leave),
    _with(lambda one: one.on_leave, _comes_back),
    _with(lambda one: not one.rescinded, _is_rescinded),
)


def write(made: World, key: str, one: Life) -> None:
    """HR's row of a person, as the export has it."""
    made.disabled.discard(key)
    if not one.listed:
        made.users.pop(key, None)
        return
    if one.on_leave or one.rescinded:
        made.disabled.add(key)
    made.users[key] = {
        "mail": f"{key}@example.com",
        "title": one.title,
        "zone": one.zone,
        "hireDate": one.first.isoformat(),
        "lastDay": one.last.isoformat() if one.last else None,
    }


def active(made: World) -> set[str]:
    accounts = made.accounts[Kind.USER]
    return {key for key, link in made.links[Kind.USER].items() if accounts[link["target_id"]].get("active")}


def due(made: World, company: Company, now: datetime, before: set[str], told: set[str]) -> dict[str, set[str]]:
    """What may be done to whom at an hour: who comes or goes, and whose row has changed. ``before``: who was active."""
    works = {key for key, one in company.lives.items() if one.works(now)}
    accounts = set(made.links[Kind.USER])
    allowed = {key: {"enable"} if key in accounts else {"create"} for key in works - before}
    allowed |= {key: {"disable"} for key in before - works}
    for key in told & accounts:
        allowed.setdefault(key, set()).add("update")
    return allowed


def test_a_year_of_a_company() -> None:
    """After each cycle the active accounts are the model's, and each change is of somebody to whom something is due."""
    random = Random(19)
    company = Company(random)
    joiners = {"date": "[hireDate]", "before": "7d", "timezone": "[zone]"}
    leavers = {"date": "[lastDay]", "at": "17:00", "timezone": "[zone]"}
    made = World(make_job({"title": "[title]"}, joiners=joiners, leavers=leavers), now=BEGIN)
    told = {company.hire(BEGIN.date(), days=(-400, 20), contractor=number % 5 == 0) for number in range(PEOPLE)}
    for key in told:
        write(made, key, company.lives[key])
    happenings = sorted(random.randrange(DAYS * 24) for _ in range(HAPPENINGS))
    quiet = {day * 24 + random.randrange(24) for day in range(0, DAYS, 7)}
    seen: dict[str, int] = {}
    for hour in range(DAYS * 24):
        made.now = BEGIN + hour * HOUR
        while happenings and happenings[0] == hour:
            happenings.pop(0)
            hired = company.hired
            if (key := company.happens(made.now.date())) is not None:
                told |= {key, *(f"p{number:05}" for number in range(hired, company.hired))}
        for key in told:
            write(made, key, company.lives[key])
        turns = any(-HOUR < moment - made.now <= HOUR for one in company.lives.values() for moment in one.moments())
        if not (LONG or told or turns or hour in quiet):
            continue
        before = active(made)
        allowed = due(made, company, made.now, before, told)
        plan = made.plan()
        assert plan.held == []
        for action, _, key, _ in changes(plan):
            assert action in allowed.get(key, ()), (made.now, action, key, company.lives[key])
            seen[action] = seen.get(action, 0) + 1
        made.apply(plan)
        expected = {key for key, one in company.lives.items() if one.works(made.now)}
        assert active(made) == expected, made.now
        told = set()
    assert min(seen[action] for action in ("create", "update", "enable", "disable")) >= 2, seen
    assert made.plan().empty
    assert made.created == len(made.accounts[Kind.USER])
