"""Names that go from one entry to another: who gives one up comes first, within one cycle."""

import os
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract import Action, Kind
from tasks.plan import Block
from tests.tasks.plan.worlds import MANAGER, Entry, World, changes, held, make_job, notes


class Strict(World):
    """A world whose target refuses a userName, and a group's displayName, that somebody has."""

    __slots__ = ()

    def _write(self, block: Block, row: int, entry: Entry) -> None:
        World._write(self, block, row, entry)
        name = "userName" if block.kind is Kind.USER else "displayName"
        names = [one.get(name) for one in self.accounts[block.kind].values()]
        assert len(set(names)) == len(names), f"a name is given twice: {entry}"


def company(names: dict[str, str], **sections: Any) -> Strict:
    """People with accounts that go by these names."""
    world = Strict(make_job({"title": "[title]"}, **sections))
    for anchor, name in names.items():
        world.users[anchor] = {"mail": name}
        world.accounts[Kind.USER][f"t-{anchor}"] = {"userName": name, "active": True}
        world.link(anchor, f"t-{anchor}")
    return world


def rename(world: World, **names: str) -> None:
    for anchor, name in names.items():
        world.users.setdefault(anchor, {})["mail"] = name


def names_of(world: World) -> dict[str, str]:
    """Anchor to the name of its account."""
    return {
        anchor: world.accounts[Kind.USER][link["target_id"]]["userName"]
        for anchor, link in world.links[Kind.USER].items()
    }


def settle(world: World) -> None:
    """One cycle, after which nothing is left to do."""
    plan = world.plan()
    assert not held(plan)
    world.apply(plan)
    assert changes(world.plan()) == []
    assert names_of(world) == {anchor: row["mail"] for anchor, row in world.users.items()}


def test_a_chain_is_renamed_from_its_end() -> None:
    """a takes b's name, b takes c's, c is called something new; whatever their order in the source."""
    world = company({"a": "a@x", "b": "b@x", "c": "c@x"})
    rename(world, a="b@x", b="C@x", c="new@x")
    assert [one[2] for one in changes(world.plan())] == ["c", "b", "a"]
    assert changes(world.plan(random=Random(3))) == changes(world.plan())
    settle(world)


def test_a_joiner_gets_the_name_that_somebody_gives_up() -> None:
    """The account of that name is not the joiner's: it is renamed first, and the joiner gets one of their own."""
    world = company({"a": "ann@x", "b": "bob@x"})
    rename(world, a="ann.smith@x", b="ann@x", new="bob@x")
    settle(world)
    assert world.links[Kind.USER]["new"]["target_id"] == "new0001"


def test_a_name_is_not_given_up_by_somebody_who_is_not_renamed() -> None:
    """Where updates are off, or the name is written on create alone, its account stays with its owner."""
    for rules in (
        {"actions": {"update": False}},
        {"attributes": {"userName": {"expression": "[mail]", "apply": "on_create"}}},
    ):
        world = company({"a": "ann@x"}, user_rules=rules)
        rename(world, a="ann.smith@x", new="ann@x")
        assert "belongs to the source entry a" in held(world.plan())["new"]


def test_a_name_that_an_outsider_gave_is_not_given_up() -> None:
    """Bob's account was renamed in the target to what the joiner is to be called, and the job reports drift only."""
    world = company({"b": "bob@x"})
    settle(world)
    world.job = make_job({"title": "[title]"}, drift="report")
    world.apply(world.plan())
    world.accounts[Kind.USER]["t-b"]["userName"] = "ann@x"
    rename(world, new="ann@x")
    plan = world.plan()
    assert changes(plan) == []
    assert held(plan) == {"new": "The account that matches belongs to the source entry b, which is still there."}


def test_an_early_rename_leaves_a_reference_to_a_joiner_for_later() -> None:
    """Ann makes room for the joiner who is her manager: her name first, then the joiner, then the reference."""
    world = company({"a": "ann@x"})
    world.job = make_job({MANAGER: {"reference": "[manager]"}})
    rename(world, a="ann.smith@x", boss="ann@x")
    world.users["a"]["manager"] = "boss"
    assert [(one[0], one[2]) for one in changes(world.plan())] == [("update", "a"), ("create", "boss"), ("update", "a")]
    settle(world)


def test_who_swaps_names_is_told_what_would_help() -> None:
    """Without leave nobody gets a name that the source does not have: the target is asked, and the reader told."""
    world = company({"a": "a@x", "b": "b@x"})
    rename(world, a="b@x", b="a@x")
    plan = world.plan()
    assert len(changes(plan)) == 2
    assert "actions: {swap: true}" in notes(plan)["a"]


@pytest.mark.parametrize("size", [2, 3])
def test_names_go_round_where_the_job_allows_a_step_between(size: int) -> None:
    """One of the circle has another name for a moment."""
    world = company({f"p{one}": f"p{one}@x" for one in range(size)}, user_rules={"actions": {"swap": True}})
    rename(world, **{f"p{one}": f"p{(one + 1) % size}@x" for one in range(size)})
    found = changes(world.plan())
    assert len(found) == size + 1
    assert found[0][3] == {"userName": "swap-p0-p1@x"}
    settle(world)


def test_groups_hand_their_names_on_too() -> None:
    """A group is renamed, and a new one gets its old name, in one cycle."""
    world = Strict(make_job(groups={}))
    world.groups["g"] = {"name": "Sales"}
    world.accounts[Kind.GROUP]["tg"] = {"displayName": "Sales"}
    world.link("g", "tg", Kind.GROUP)
    world.groups = {"g": {"name": "Sales EMEA"}, "n": {"name": "Sales"}}
    world.apply(world.plan())
    assert sorted(one["displayName"] for one in world.accounts[Kind.GROUP].values()) == ["Sales", "Sales EMEA"]
    assert changes(world.plan()) == []


@settings(max_examples=10_000 if "PROVISOR_LONG" in os.environ else 15, deadline=None)
@given(
    before=st.permutations("abcdef"),
    after=st.permutations("abcdefgh"),
    gone=st.sets(st.sampled_from("abcdef"), max_size=2),
    seed=st.integers(0, 9),
)
def test_any_renaming_is_done_in_one_cycle(before: list[str], after: list[str], gone: set[str], seed: int) -> None:
    """Chains, circles and joiners in any order: no name is ever given twice, and one cycle is enough."""
    world = company(
        dict(zip("abcdef", (f"{name}@x" for name in before), strict=True)), user_rules={"actions": {"swap": True}}
    )
    rename(world, **dict(zip("abcdefgh", (f"{name}@x" for name in after), strict=True)))
    kept = {world.accounts[Kind.USER][f"t-{anchor}"]["userName"] for anchor in gone}
    for anchor in gone:  # who has left keeps the account, and the name with it
        del world.users[anchor]
    if kept & {row["mail"] for row in world.users.values()}:
        return
    plan = world.plan(random=Random(seed))
    assert not held(plan)
    world.apply(plan)
    assert {anchor: name for anchor, name in names_of(world).items() if anchor in world.users} == {
        anchor: row["mail"] for anchor, row in world.users.items()
    }
    assert changes(world.plan(), Action.CREATE, Action.UPDATE) == []
