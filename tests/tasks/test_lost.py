"""Accounts that were made by requests whose answers were lost: whose they are, and what becomes of them."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Action, Change, Kind
from tasks.effects import Effect
from tasks.job import EntryRules
from tasks.knowledge import Question
from tasks.ledger import Attempt, AttemptStatus, Cycle, CycleKind, Ledger
from tasks.lost import (
    LOOKED_FOR,
    Regained,
    Verdict,
    judge_attempts,
    lost_creates,
    regain,
    settle_attempts,
    unseen,
    whereabouts,
    with_regained,
    with_unsettled,
    without_deleted,
)
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


def judged(
    made: World,
    *attempts: Attempt,
    looked: Collection[str] = (),
    regained: Collection[Regained] = (),
    wanted: Collection[str] = (),
) -> list[Verdict]:
    """How attempts end, by what the target shows; ``looked``: ids that were read by themselves."""
    return judge_attempts(
        attempts,
        made.job,
        made.remembered(),
        made.target(),
        made.schema,
        looked={Kind.USER: set(looked), Kind.GROUP: set(looked)},
        regained=regained,
        wanted={(Kind.USER, anchor) for anchor in wanted},
        adopted={},
        now=NOW,
    )


def effects(made: World, *attempts: Attempt, **known: Collection[str]) -> list[Effect]:
    return [one.effect for one in judged(made, *attempts, **known)]  # type: ignore[arg-type]


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
    remembered = replace(others.remembered(), elsewhere=lambda _, ids: {"t1": "crm"} if "t1" in ids else {})
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


def test_a_person_who_is_gone_by_now_loses_the_account() -> None:
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
    (lost,) = lost_creates(ledger.open_attempts("test"))
    assert lost.known_by == {"userName": "ann@x"}
    made = world(t1="ann@x")
    regained = regain([lost], made.job, made.remembered(), made.target(), made.schema)
    assert settle_attempts(ledger, cycle, judged(made, lost, regained=regained), now=NOW) == 1
    assert ledger.open_attempts("test") == []
    assert ledger.target_ids("test", Kind.USER, ["ann"]) == {"ann": "t1"}
    (line,) = ledger.log("test").to_dict("records")
    assert (line["action"], line["status"], line["anchor"]) == ("create", "success", "ann")


@pytest.mark.parametrize(("effect", "counted"), [(Effect.DONE, {"sales": 2}), (Effect.NOT_DONE, {})])
def test_members_whose_removal_was_not_answered_count_against_the_budget(
    ledger: Ledger, cycle: Cycle, effect: Effect, counted: dict[str, int]
) -> None:
    """A service that answers nothing would let a group bleed without anybody noticing."""
    change = Change("c1", Kind.GROUP, Action.REMOVE_MEMBERS, "sales", "g1", members=("t1", "t2"))
    ledger.journal(cycle, [change], now=NOW)
    (lost,) = ledger.open_attempts("test")
    assert settle_attempts(ledger, cycle, [Verdict(lost, effect)], now=NOW) == 1
    assert ledger.members_removed("test", since=NOW) == counted


def test_values_that_are_never_kept_are_not_kept_here(ledger: Ledger, cycle: Cycle) -> None:
    """A redacted attribute is no help in finding an account again, even when entries are matched by it."""
    made = World(make_job(users={"userName": {"expression": "[mail]", "redact": True}}))
    made.users["ann"] = {"mail": "ann@x"}
    (create,) = made.plan().blocks
    assert create.known_by == ()
    ledger.journal(cycle, [Change("c1", Kind.USER, Action.CREATE, "ann", None)], now=NOW, known_by=create.known_by)
    assert lost_creates(ledger.open_attempts("test")) == []
    assert len(ledger.open_attempts("test")) == 1


# --- how attempts end -------------------------------------------------------------------------------------------------


def change_of(action: Action, target_id: str = "t1", **of: Any) -> Attempt:
    """An attempt on an account that is there, or was."""
    return replace(attempt("ann"), action=action, target_id=target_id, known_by={}, **of)


def titled(title: str | None, **more: Any) -> World:
    made = world(t1="ann@x")
    made.job = make_job(users={"title": "[title]"})
    made.accounts[Kind.USER]["t1"] |= {"title": title, **more}
    made.link("ann", "t1")
    return made


def test_a_delete_has_taken_effect_when_the_account_is_gone_and_not_before() -> None:
    """Not when the plan wants no delete any more: an account that is still there is still active."""
    assert effects(titled("Clerk"), change_of(Action.DELETE), looked=["t1"]) == [Effect.NOT_DONE]
    assert effects(world(), change_of(Action.DELETE), looked=["t1"]) == [Effect.DONE]


def test_a_listing_proves_nothing_in_either_direction() -> None:
    """Only an entry that was read by its id says something; until then the attempt stays open."""
    delete, update = change_of(Action.DELETE), change_of(Action.UPDATE, after={"title": "Boss"})
    assert judged(world(), delete) == []
    assert judged(titled("Boss"), delete) == []
    assert judged(titled("Boss"), update) == []


@pytest.mark.parametrize(
    ("held", "effect"),
    [
        ("Boss", Effect.DONE),
        ("BOSS", Effect.DONE),
        ("Clerk", Effect.NOT_DONE),
        ("clerk", Effect.NOT_DONE),
        ("Head", Effect.UNCLEAR),
        (None, Effect.UNCLEAR),
    ],
)
def test_an_update_has_taken_effect_when_the_account_shows_what_it_wrote(held: str | None, effect: Effect) -> None:
    """Whatever is wanted by now."""
    update = change_of(Action.UPDATE, before={"title": "Clerk"}, after={"title": "Boss"})
    assert effects(titled(held), update, looked=["t1"]) == [effect]


def test_a_change_of_case_alone_is_told_apart() -> None:
    """Two values that are the same but for their case are compared as they are written."""
    update = change_of(Action.UPDATE, before={"title": "boss"}, after={"title": "Boss"})
    assert effects(titled("Boss"), update, looked=["t1"]) == [Effect.DONE]
    assert effects(titled("boss"), update, looked=["t1"]) == [Effect.NOT_DONE]


def test_one_value_that_shows_it_is_enough() -> None:
    """The others may have been changed since; a value that was the same before says nothing."""
    update = change_of(
        Action.UPDATE,
        before={"title": "Clerk", "active": True, "userName": "ann@x"},
        after={"title": "Boss", "active": False, "userName": "ann@x"},
    )
    assert effects(titled("Head", active=False), update, looked=["t1"]) == [Effect.DONE]
    assert effects(titled("Head", active=True), update, looked=["t1"]) == [Effect.NOT_DONE]
    assert effects(titled("Clerk", active=True), update, looked=["t1"]) == [Effect.NOT_DONE]


def test_what_cannot_be_seen_is_unclear() -> None:
    """A value that is never kept, an attribute that is no longer read, an account that is gone."""
    unseen_value = change_of(Action.UPDATE, before={}, after={"nickName": "Annie"})
    assert effects(titled("Clerk"), unseen_value, looked=["t1"]) == [Effect.UNCLEAR]
    assert effects(titled("Clerk"), change_of(Action.UPDATE), looked=["t1"]) == [Effect.UNCLEAR]
    gone = change_of(Action.DISABLE, before={"active": True}, after={"active": False})
    assert effects(world(), gone, looked=["t1"]) == [Effect.UNCLEAR]


@pytest.mark.parametrize(
    ("held", "added", "removed"),
    [
        (["a", "b"], Effect.DONE, Effect.NOT_DONE),
        (["a"], Effect.DONE, Effect.DONE),
        (["c"], Effect.NOT_DONE, Effect.DONE),
        ([], Effect.NOT_DONE, Effect.DONE),
    ],
)
def test_a_change_of_members_is_judged_member_by_member(held: list[str], added: Effect, removed: Effect) -> None:
    """By those that the group has now."""
    made = world()
    made.job = make_job(groups={"displayName": "[name]"})
    made.accounts[Kind.GROUP] = {"g1": {"displayName": "Team"}}
    made.edges = {("g1", member) for member in held}
    of = {"kind": Kind.GROUP, "members": ("a", "b")}
    attempts = [
        change_of(action, "g1", change_id=str(action), **of) for action in (Action.ADD_MEMBERS, Action.REMOVE_MEMBERS)
    ]
    assert effects(made, *attempts, looked=["g1"]) == [added, removed]


def test_a_create_is_done_when_its_account_is_found_and_looked_for_until_then() -> None:
    """An hour long where nobody needs it; where it is sent again, it has been looked for."""
    assert judged(world(), attempt("ann")) == []
    assert effects(world(), attempt("ann"), wanted=["ann"]) == [Effect.NOT_DONE]
    old = replace(attempt("ann"), sent_at=NOW - LOOKED_FOR)
    assert effects(world(), old) == [Effect.NOT_DONE]
    found_again = [Regained(attempt("ann"), "t1")]
    assert judged(world(t1="ann@x"), attempt("ann"), regained=found_again) == [
        Verdict(attempt("ann"), Effect.DONE, "t1")
    ]


def test_attempts_of_who_waits_stay_open() -> None:
    """Who is in escrow is not in the plan, and gets no account now: no sign that the lost request had no effect."""
    lost = [attempt(name, number=number) for number, name in enumerate(("ann", "bob", "gone"))]
    assert [one.attempt.anchor for one in judged(world(), *lost, wanted=["bob"])] == ["bob"]


def test_a_second_account_is_an_orphan_that_the_log_names(ledger: Ledger, cycle: Cycle) -> None:
    """The entry has another account by now: this one is nobody's, and somebody must know."""
    made = world(t1="ann@x", t2="ann@x")
    made.link("ann", "t1")
    change = Change("c1", Kind.USER, Action.CREATE, "ann", None, attributes={"userName": "ann@x"})
    ledger.journal(cycle, [change], now=NOW, known_by=("userName",))
    (lost,) = ledger.open_attempts("test")
    settle_attempts(ledger, cycle, judged(made, lost), now=NOW)
    assert ledger.open_attempts("test") == []
    (line,) = ledger.log("test").to_dict("records")
    assert (line["action"], line["status"], line["target_id"]) == ("create", "warning", "t2")
    assert "t2 is an orphan" in line["message"]
    assert ledger.target_ids("test", Kind.USER, ["ann"]) == {}


def test_an_account_that_a_late_answer_named_is_found_by_its_id() -> None:
    """Whatever it is called by now."""
    named = replace(attempt("ann"), target_id="t1")
    assert whereabouts([named]) == []
    assert found(world(t1="other@x"), named) == {"ann": "t1"}
    assert found(world(t2="ann@x"), named) == {}


def test_who_comes_back_after_a_lost_delete_has_no_account_and_was_not_deleted_by_others() -> None:
    """With ``vanished: leave`` they would stay without one for ever."""
    made = world()
    made.link("ann", "t1")
    looked = {Kind.USER: {"t1"}}
    remembered = without_deleted(made.remembered(), [change_of(Action.DELETE)], made.target(), looked)
    assert list(remembered.links[Kind.USER].index) == []
    remembered = without_deleted(made.remembered(), [change_of(Action.DELETE)], made.target(), {})
    assert list(remembered.links[Kind.USER].index) == ["ann"]


def test_what_a_lost_request_wrote_is_no_drift() -> None:
    """It was ours: where it is wanted no more, it is taken back, also where the job leaves drift alone."""
    made = titled("Boss", active=False)
    made.job = make_job(users={"title": "[title]"}, drift="report")
    made.users["ann"] = {"mail": "ann@x", "title": "Clerk"}
    before = titled("Clerk")
    before.job, before.users = made.job, made.users
    (row,) = before.plan().entries[Kind.USER].settled.itertuples()
    made.link("ann", "t1", fingerprint=int(row.fingerprint))
    update = change_of(Action.UPDATE, before={"title": "Clerk"}, after={"title": "Boss"})
    plan = made.plan(remembered=with_unsettled(made.remembered(), [update]))
    assert changes(plan) == [("update", Kind.USER, "ann", {"title": "Clerk"})]
    assert [one.attributes for one in plan.entries[Kind.USER].drifted] == [("active",)]


def test_the_line_about_an_attempt_says_what_it_changed(ledger: Ledger, cycle: Cycle) -> None:
    """With old and new values, so that the change can be taken back; and redacted ones are in neither place."""
    change = Change(
        *("c1", Kind.USER, Action.UPDATE, "ann", "t1"), {"title": "Boss", "secret": "x"}, {"title": "Clerk"}
    )
    ledger.journal(cycle, [change], now=NOW, redacted={"secret"})
    (lost,) = ledger.open_attempts("test")
    assert lost.after == {"title": "Boss"}
    settle_attempts(ledger, cycle, judged(titled("Boss"), lost, looked=["t1"]), now=NOW)
    (line,) = ledger.log("test").to_dict("records")
    assert line["modified"] == [{"name": "title", "old": "Clerk", "new": "Boss"}]
    assert line["message"].endswith("the target shows that it had taken effect.")
