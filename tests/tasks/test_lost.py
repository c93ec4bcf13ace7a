"""Accounts that were made by requests whose answers were lost: whose they are, and what becomes of them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from connectors.contract import Action, Change, Kind
from tasks.job import EntryRules
from tasks.knowledge import Question
from tasks.ledger import Attempt, AttemptStatus, Cycle, CycleKind, Ledger
from tasks.lost import Regained, lost_creates, regain, settle_attempts, unseen, whereabouts, with_regained
from tests.tasks.plan.worlds import NOW, World, changes, make_job


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(None, tmp_path) as ledger:
        yield ledger


@pytest.fixture
def cycle(ledger: Ledger) -> Cycle:
    return ledger.begin_cycle("test", CycleKind.INITIAL, fingerprint="f", now=NOW)


def attempt(anchor: str = "ann", *, number: int = 1, **known_by: str) -> Attempt:
    return Attempt(
        change_id=f"c{number}",
        job="test",
        cycle_id=1,
        kind=Kind.USER,
        action=Action.CREATE,
        anchor=anchor,
        target_id=None,
        label=anchor,
        sent_at=NOW - timedelta(minutes=5),
        status=AttemptStatus.SENT,
        known_by=known_by or {"userName": f"{anchor}@x"},
    )


def world(**accounts: str) -> World:
    """A job without people, and a target with accounts: ids and user names."""
    made = World(make_job())
    made.accounts[Kind.USER] = {id_: {"userName": name, "active": True} for id_, name in accounts.items()}
    return made


def found(made: World, *lost: Attempt) -> dict[str, str]:
    """Anchors and ids of the accounts that are regained."""
    regained = regain(lost, made.job, made.remembered(), made.target(), made.schema)
    return {one.attempt.anchor: one.target_id for one in regained}


def test_the_account_is_whose_create_it_was() -> None:
    """Whatever its owner is called now, or whether it is there at all: the source is not asked."""
    assert found(world(t1="ann@x", t2="bob@x"), attempt("ann")) == {"ann": "t1"}


def test_case_tells_accounts_apart_only_where_it_does_so_in_the_target() -> None:
    """The target may have lowered a user name; an attribute that is exact is compared as it was written."""
    assert found(world(t1="ANN@x"), attempt("ann")) == {"ann": "t1"}
    exact = world(t1="ANN@x")
    mapped = {**exact.job.users.attributes}
    mapped["userName"] = mapped["userName"].model_copy(update={"exact_case": True})
    rules: EntryRules = exact.job.users.model_copy(update={"attributes": mapped})
    exact.job = exact.job.model_copy(update={"users": rules})
    assert found(exact, attempt("ann")) == {}


def test_an_account_that_has_only_some_of_the_values_is_somebody_elses() -> None:
    """A person of the same name, hired by others meanwhile, is not taken over."""
    made = world(t1="ann@x")
    made.accounts[Kind.USER]["t1"]["externalId"] = "7"
    made.job = make_job(users={"externalId": "[id]"})
    assert found(made, attempt("ann", userName="ann@x", externalId="8")) == {}
    assert found(made, attempt("ann", userName="ann@x", externalId="7")) == {"ann": "t1"}


def test_what_belongs_to_somebody_is_not_regained() -> None:
    """Neither an account of another entry, nor one of another job; and two candidates are nobody's."""
    made = world(t1="ann@x")
    made.link("bob", "t1")
    assert found(made, attempt("ann")) == {}
    others = world(t1="ann@x")
    elsewhere = {Kind.USER: pd.Series(["crm"], index=pd.Index(["t1"], dtype="str"), dtype="str")}
    remembered = replace(others.remembered(), elsewhere=elsewhere)
    assert regain([attempt("ann")], others.job, remembered, others.target(), others.schema) == []
    assert found(world(t1="ann@x", t2="Ann@x"), attempt("ann")) == {}


def test_an_entry_with_an_account_has_lost_none() -> None:
    """One that was created again and linked keeps that link; a link to an account that is gone does not count."""
    made = world(t1="ann@x", t2="other")
    made.link("ann", "t2")
    assert found(made, attempt("ann")) == {}
    made.link("ann", "gone")
    assert found(made, attempt("ann")) == {"ann": "t1"}


def test_the_last_of_several_creates_counts() -> None:
    """The first one had not taken effect, or the second one would not have been sent."""
    lost = [attempt("ann", number=1), attempt("ann", number=2, userName="ann2@x")]
    assert found(world(t2="ann2@x"), *lost) == {"ann": "t2"}


def test_the_target_is_asked_once_an_attribute() -> None:
    """By the first value alone: the others are compared when the account is there."""
    lost = [attempt("bob"), attempt("ann", externalId="1", userName="ann@x"), attempt("ann2", userName="ann@x")]
    assert whereabouts(lost) == [
        Question(Kind.USER, "externalId", ("1",), late=True),
        Question(Kind.USER, "userName", ("ann@x", "bob@x"), late=True),
    ]


def test_a_listing_may_lack_what_a_lost_create_has_made() -> None:
    """Only those are asked for that it does not show, whoever owns what it shows."""
    made = world(t1="ann@x")
    made.link("somebody", "t1")
    lost = [attempt("ann"), attempt("bob", userName="bob@x")]
    assert [one.anchor for one in unseen(lost, made.job, made.target(), made.schema)] == ["bob"]


def test_whoever_is_gone_by_now_loses_the_account() -> None:
    """It is planned for as if it had been linked all along: a leaver's account is switched off."""
    made = world(t1="ann@x")
    made.users["bob"] = {"mail": "bob@x"}
    made.links[Kind.USER] = {}
    regained = [Regained(attempt("ann"), "t1")]
    plan = made.plan(remembered=with_regained(made.remembered(), regained))
    assert [(action, anchor) for action, _, anchor, *_ in changes(plan)] == [("create", "bob"), ("disable", "ann")]


def test_a_regained_account_is_linked_and_the_attempt_closed(ledger: Ledger, cycle: Cycle) -> None:
    """The ledger keeps what a create can be known by, links what was found, and logs that it was read back."""
    change = Change("c1", Kind.USER, Action.CREATE, "ann", None, attributes={"userName": "ann@x", "title": "Dr"})
    ledger.journal(cycle, [change], now=NOW, known_by=("userName", "externalId"))
    (lost,) = lost_creates(ledger, "test")
    assert lost.known_by == {"userName": "ann@x"}
    made = world(t1="ann@x")
    regained = regain([lost], made.job, made.remembered(), made.target(), made.schema)
    plan = made.plan(remembered=with_regained(made.remembered(), regained))
    assert settle_attempts(ledger, cycle, plan, regained, now=NOW) == 1
    assert ledger.open_attempts("test") == []
    assert ledger.target_ids("test", Kind.USER, ["ann"]) == {"ann": "t1"}
    (line,) = ledger.log("test").to_dict("records")
    assert (line["action"], line["status"], line["anchor"]) == ("create", "success", "ann")


def test_values_that_are_never_kept_are_not_kept_here(ledger: Ledger, cycle: Cycle) -> None:
    """A redacted attribute is no help in finding an account again, even when entries are matched by it."""
    made = World(make_job(users={"userName": {"expression": "[mail]", "redact": True}}))
    made.users["ann"] = {"mail": "ann@x"}
    (create,) = made.plan().blocks
    assert create.known_by == ()
    ledger.journal(cycle, [Change("c1", Kind.USER, Action.CREATE, "ann", None)], now=NOW, known_by=create.known_by)
    assert lost_creates(ledger, "test") == []
    assert len(ledger.open_attempts("test")) == 1
