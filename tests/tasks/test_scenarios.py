"""The cases that people try before they trust a system with HR's data: each a row, with the time injected.

Source: Microsoft Entra, "Plan cloud HR application to Microsoft Entra user provisioning", test cases: hire, terminate,
move, manager change, rehire with the same and with a new id, conversion of a worker.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from connectors.contract import Action, Kind
from tests.tasks.plan.worlds import Entry, World, changes, make_job, settle

MANAGER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"
BEFORE = datetime(2026, 3, 30, 12, tzinfo=UTC)
AFTER = datetime(2026, 4, 2, 12, tzinfo=UTC)


def company() -> World:
    """Bea and Max lead, Ann works; rows have first and last days."""
    job = make_job(
        {"title": "[title]", MANAGER: {"reference": "[boss]"}},
        joiners={"date": "[starts]"},
        leavers={"date": "[ends]", "at": "17:00", "timezone": "Australia/Melbourne"},
    )
    made = World(job, now=BEFORE)
    for key in ("ann", "bea", "max"):
        made.users[key] = row(key, boss="bea" if key == "ann" else None)
    return settle(made)


def row(name: str, **more: str | None) -> Entry:
    return {"mail": f"{name}@example.com", "title": "Clerk", "boss": None, "starts": None, "ends": None, **more}


@dataclass(frozen=True)
class Case:
    """What HR says, and what has to be done before and after the day of it: action, anchor."""

    name: str
    said: Callable[[World], None]
    before: tuple[tuple[str, str], ...]
    after: tuple[tuple[str, str], ...]


def _new(made: World, key: str, **more: str | None) -> None:
    made.users[key] = row(more.pop("mail_of", None) or key, **more)


def _change(key: str, **values: str | None) -> Callable[[World], None]:
    return lambda made: made.users[key].update(values)


def _replaced(made: World) -> None:
    """The contract ends on the last of March, the employment under a new number and address begins on the first."""
    made.users["ann"]["ends"] = "2026-03-31"
    _new(made, "ann2", starts="2026-04-01")


CASES = (
    Case("hire", lambda made: _new(made, "eve", starts="2026-04-01"), (), (("create", "eve"),)),
    Case("hire, said too late", lambda made: _new(made, "eve", starts="2026-01-01"), (("create", "eve"),), ()),
    Case("termination", _change("ann", ends="2026-03-31"), (), (("disable", "ann"),)),
    Case("termination, said too late", _change("ann", ends="2026-01-31"), (("disable", "ann"),), ()),
    Case("termination and row gone", lambda made: made.users.pop("ann"), (("disable", "ann"),), ()),
    Case("termination taken back", _change("ann", ends=None), (), ()),
    Case("new title", _change("ann", title="Lead"), (("update", "ann"),), ()),
    Case("new manager", _change("ann", boss="max"), (("update", "ann"),), ()),
    Case(
        "manager not there yet",
        lambda made: (_new(made, "eve", starts="2026-04-01"), _change("ann", boss="eve")(made)),
        (),
        (("create", "eve"), ("update", "ann")),
    ),
    Case("conversion to a new record", _replaced, (), (("create", "ann2"), ("disable", "ann"))),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_hr_says_is_done_when_its_day_comes(case: Case) -> None:
    """Two days before it and a day after it: exactly what is due, and nothing the second time."""
    made = company()
    case.said(made)
    assert sorted((action, anchor) for action, _, anchor, _ in changes(made.plan())) == sorted(case.before)
    settle(made)
    made.now = AFTER
    assert sorted((action, anchor) for action, _, anchor, _ in changes(made.plan())) == sorted(case.after)
    settle(made)


def test_a_rehire_with_the_same_id_has_the_same_account_again() -> None:
    """Off at 17:00 of the last day, on again on the new first day: one account all the time."""
    made = company()
    made.users["ann"]["ends"] = "2026-03-31"
    made.now = AFTER
    settle(made)
    account = made.links[Kind.USER]["ann"]["target_id"]
    assert made.accounts[Kind.USER][account]["active"] is False
    made.users["ann"] |= {"starts": "2026-06-01", "ends": None}
    assert made.plan().empty
    made.now = datetime(2026, 6, 1, 0, 0, tzinfo=UTC)
    assert [(action, anchor) for action, _, anchor, _ in changes(made.plan())] == [("enable", "ann")]
    settle(made)
    assert made.links[Kind.USER]["ann"]["target_id"] == account
    assert made.created == 3


def test_a_rehire_with_a_new_id_and_the_same_login_goes_on_with_the_account() -> None:
    """The old record is gone, the new one matches by the login: nobody gets a second account."""
    made = company()
    account = made.links[Kind.USER]["ann"]["target_id"]
    del made.users["ann"]
    settle(made)
    made.users["a2"] = row("ann")
    plan = made.plan()
    assert changes(plan, Action.CREATE) == []
    made.apply(plan)
    assert made.links[Kind.USER]["a2"]["target_id"] == account
    assert made.accounts[Kind.USER][account]["active"] is True
    assert "ann" not in made.links[Kind.USER]
