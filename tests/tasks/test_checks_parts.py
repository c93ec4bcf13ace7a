"""Parts of one entry: members and attributes that several people have decided about, or that go for several causes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.contract import Action, Kind
from tasks.checks import Checked, keep_books, without_done
from tasks.ledger import Staged, StagedState, part_of
from tests.tasks.plan.worlds import NOW, World
from tests.tasks.test_checks_decisions import APPROVED, REJECTED, STAGED, decided, group_of, judged, lose, removed
from tests.tasks.test_checks_limits import company


def apart(items: list[Staged], state: StagedState, **more: object) -> list[Staged]:
    """Decisions as they are kept, each a part of its own."""
    return [replace(one, part=part_of(one)) for one in decided(items, state, **more)]


def requests(checked: Checked) -> dict[tuple[str, ...], str]:
    """Which members go together, and what the log says of it."""
    return {
        tuple(ids): reason
        for block in checked.blocks
        if block.action is Action.REMOVE_MEMBERS
        for ids, reason in zip(block.table["member_ids"], block.table["reason"], strict=True)
    }


def disabled_long_ago(world: World, *names: str) -> World:
    """Their accounts were switched off by an earlier cycle; they are still members."""
    for name in names:
        world.users.pop(name, None)
        world.accounts[Kind.USER][f"t{name}"]["active"] = False
        world.link(name, f"t{name}", state="disabled")
    return world


# --- who approved what ------------------------------------------------------------------------------------------------


def test_each_member_goes_with_the_name_of_who_approved_it() -> None:
    """Two people have approved members of one group: the log names for each member the one of them."""
    world = group_of(30, 4)
    [first] = judged(world).waiting
    lose(world, 4)
    eve = apart([first], APPROVED)
    [second] = judged(world, *eve).waiting
    bob = apart([second], APPROVED, who="bob", why="moved")
    checked = judged(world, *eve, *bob)
    assert {ids: reason.partition("; ")[2] for ids, reason in requests(checked).items()} == {
        ("tp000", "tp001", "tp002", "tp003"): "approved by eve on 2026-03-15: they are on leave",
        ("tp004", "tp005", "tp006", "tp007"): "approved by bob on 2026-03-15: moved",
    }
    assert checked.approved == [*eve, *bob]
    assert not checked.waiting
    books = keep_books(checked, [*eve, *bob], cycle_id=2)
    assert (books.put, books.drop, books.lapsed) == ([], [], [])


def test_an_approval_for_one_cause_lets_nobody_go_for_another() -> None:
    """Eve approved that some leave the group, Bob that some leavers do; by now Bob's are back and out of the group."""
    world = group_of(30, 4)
    eve = apart(judged(world).waiting, APPROVED)
    names = [f"p{number:03}" for number in range(10, 14)]
    left = disabled_long_ago(world, *names)
    bob = apart(judged(left, *eve).waiting, APPROVED, who="bob")
    assert [one.cause for one in bob] == ["the member is leaving"]
    for name in names:
        left.users[name] = {"mail": f"{name}@x", "title": "Clerk", "nick": name}
        left.accounts[Kind.USER][f"t{name}"]["active"] = True
        left.link(name, f"t{name}")
        left.members.discard(("g", name))
    checked = judged(left, *eve, *bob)
    assert removed(checked.blocks) == ["tp000", "tp001", "tp002", "tp003"]
    [waits] = checked.waiting
    assert waits.members == ("tp010", "tp011", "tp012", "tp013")


def test_each_attribute_is_written_with_the_name_of_who_approved_it() -> None:
    """One request writes what two people approved, and says who approved which."""
    world = company(100)
    for name in list(world.users)[:20]:
        world.users[name]["title"] = None
    eve = apart(judged(world).waiting, APPROVED)
    for name in list(world.users)[:20]:
        world.users[name]["nick"] = None
    bob = apart(judged(world, *eve).waiting, APPROVED, who="bob", why="moved")
    checked = judged(world, *eve, *bob)
    assert not checked.waiting
    [block] = checked.blocks
    assert {reason.partition("; ")[2] for reason in block.table["reason"]} == {
        "title approved by eve on 2026-03-15: they are on leave; nickName approved by bob on 2026-03-15: moved"
    }


def test_a_part_that_is_no_longer_wanted_lapses_alone() -> None:
    """What the other has approved of the group goes on."""
    world = group_of(30, 4)
    eve = apart(judged(world).waiting, APPROVED)
    lose(world, 4)
    bob = apart(judged(world, *eve).waiting, APPROVED, who="bob")
    world.members |= {("g", f"p{number:03}") for number in range(4)}
    books = keep_books(judged(world, *eve, *bob), [*eve, *bob], cycle_id=2)
    assert (books.drop, books.put) == (eve, [])


# --- a rejected removal for another cause -----------------------------------------------------------------------------


def test_rejected_members_stay_whatever_the_cause_of_their_removal() -> None:
    """Three of those who were rejected are to go for another reason, which is within the limits: a new question."""
    world = group_of(30, 4)
    first = apart(judged(world).waiting, REJECTED)
    names = ("p000", "p001", "p002")
    world.members |= {("g", f"p{number:03}") for number in range(4)}
    world = disabled_long_ago(world, *names)
    checked = judged(world, *first)
    assert removed(checked.blocks) == []
    [asked] = checked.waiting
    assert (asked.members, asked.cause) == (("tp000", "tp001", "tp002"), "the member is leaving")
    assert asked.guards == ("earlier question",)
    assert "somebody has rejected the removal of these members for another cause" in asked.guard
    books = keep_books(checked, first, cycle_id=2)
    assert books.drop == books.lapsed == first
    assert [one.place for one in books.put] == [(STAGED, asked.key, "the member is leaving")]
    again = judged(world, *books.put)
    assert removed(again.blocks) == []
    assert again.waiting[0].guard == asked.guard


def test_others_of_the_group_go() -> None:
    """Who was never asked about is judged by the limits, also in the same request."""
    world = group_of(30, 4)
    first = apart(judged(world).waiting, REJECTED)
    world.members |= {("g", f"p{number:03}") for number in range(4)}
    world = disabled_long_ago(world, "p000", "p010", "p011")
    checked = judged(world, *first)
    assert removed(checked.blocks) == ["tp010", "tp011"]
    assert [item.members for item in checked.waiting] == [("tp000",)]


def test_of_another_account_of_the_group_nothing_was_decided() -> None:
    """The group was deleted and made anew: its members are judged by the limits."""
    world = group_of(30, 4)
    first = [replace(one, target_id="the one before") for one in apart(judged(world).waiting, REJECTED)]
    world.members |= {("g", f"p{number:03}") for number in range(4)}
    world = disabled_long_ago(world, "p000", "p001")
    assert removed(judged(world, *first).blocks) == ["tp000", "tp001"]


# --- plans for some entries only --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [APPROVED, REJECTED])
def test_an_undo_forgets_no_decision(state: StagedState) -> None:
    """It wants the same disabled because it made them; that is a question of its own, beside what a person decided."""
    world = company(50)
    for number in range(4):
        world.disabled.add(f"p{number:03}")
    first = apart(judged(world).waiting, state)
    undo = judged(world)
    undone = replace(
        undo,
        waiting=[replace(one, cause="the cycle that made it is undone") for one in undo.waiting],
        known=tuple(first),
    )
    books = keep_books(undone, first, cycle_id=2, partial=True)
    assert (books.drop, books.lapsed) == ([], [])
    assert [(one.anchor, one.cause) for one in books.put] == [
        (one.anchor, "the cycle that made it is undone") for one in first
    ]
    known = [*first, *books.put]
    after = judged(world, *known)
    assert [one.anchor for one in (after.approved if state is APPROVED else after.rejected)] == [
        one.anchor for one in first
    ]
    assert not after.waiting
    books = keep_books(after, known, cycle_id=3)
    assert {one.state for one in books.drop} == {STAGED}


@pytest.mark.parametrize("state", [STAGED, APPROVED, REJECTED])
def test_a_plan_for_one_member_says_nothing_of_the_others(state: StagedState) -> None:
    """On demand for one of five whose removal from a group is held: what was held of the others stays as it is."""
    world = group_of(30, 5)
    [item] = judged(world).waiting
    known = [replace(item, cycle_id=1)] if state is STAGED else apart([item], state)
    world.members |= {("g", f"p{number:03}") for number in range(1, 5)}
    checked = judged(world, *known)
    books = keep_books(checked, known, cycle_id=2, partial=True)
    assert (books.put, books.drop, books.lapsed, books.announced) == ([], [], [], [])


def test_of_an_approval_the_part_that_is_done_is_forgotten() -> None:
    """The rest of it goes on to count; of an account there is no rest."""
    [item] = apart(judged(group_of(30, 5)).waiting, APPROVED)
    left = without_done(item, replace(item, members=("tp000", "tp003")))
    assert left == replace(item, members=("tp001", "tp002", "tp004"))
    assert without_done(item, item) is None
    account = replace(item, action=Action.DISABLE, members=(), decided_at=NOW + timedelta(days=1))
    assert without_done(account, account) is None
