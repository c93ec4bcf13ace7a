"""The whole plan: waves, counts, and what is left alone."""

import pytest

from connectors.contract import Action, Kind, Unreadable
from connectors.errors import ErrorCode
from tests.tasks.plan.worlds import World, changes, held, make_job


def world_of_everything() -> World:
    """One change of every action."""
    world = World(
        make_job({"title": "[t]"}, groups={}, deprovision={"deleted": "delete", "disabled": "disable"}),
        users={name: {"mail": f"{name}@x", "t": "new"} for name in ("create", "update", "enable", "disable")},
        groups={"g": {"name": "G"}, "h": {"name": "H"}},
        members={("g", "create")},
        disabled={"disable"},
    )
    for name in ("update", "enable", "disable", "delete"):
        title = {"update": "old"}.get(name, "new")
        world.accounts[Kind.USER][f"t-{name}"] = {"userName": f"{name}@x", "active": name != "enable", "title": title}
        world.link(name, f"t-{name}")
    world.accounts[Kind.GROUP]["tg"] = {"displayName": "G"}
    world.link("g", "tg", Kind.GROUP)
    world.edges = {("tg", "t-delete"), ("tg", "t-update")}
    return world


def test_people_then_groups_then_memberships_removals_last():
    """The order in which nothing depends on what comes later."""
    assert [change[:3] for change in changes(world_of_everything().plan())] == [
        ("create", "user", "create"),
        ("enable", "user", "enable"),
        ("update", "user", "update"),
        ("create", "group", "h"),
        ("add members", "group", "g"),
        ("remove members", "group", "g"),
        ("remove members", "group", "g"),
        ("disable", "user", "disable"),
        ("delete", "user", "delete"),
    ]


def test_one_plan_is_enough():
    """After a cycle without failures the next plan is empty."""
    world = world_of_everything()
    world.apply(world.plan())
    assert world.plan().empty


def test_counts_are_those_of_the_changes():
    """A membership change counts every member."""
    plan = world_of_everything().plan()
    assert plan.counts() == {
        Action.CREATE: 2,
        Action.UPDATE: 1,
        Action.ENABLE: 1,
        Action.DISABLE: 1,
        Action.DELETE: 1,
        Action.ADD_MEMBERS: 1,
        Action.REMOVE_MEMBERS: 2,
    }
    assert plan.requests == 9
    assert plan.source_count == {Kind.USER: 4, Kind.GROUP: 2}
    assert plan.target_count == {Kind.USER: 4, Kind.GROUP: 1}


def test_every_change_has_a_reason_and_a_label():
    """Nobody has to ask why."""
    for block in world_of_everything().plan().blocks:
        assert block.table["reason"].str.len().gt(0).all()
        assert block.table["label"].str.len().gt(0).all()


def test_without_group_rules_groups_are_left_alone():
    """A job without a groups section touches no group and no membership."""
    world = world_of_everything()
    world.job = make_job({"title": "[t]"})
    assert {change[1] for change in changes(world.plan())} == {"user"}


def test_entries_that_are_left_alone_say_why():
    """Unreadable, failing and ambiguous entries are in the plan with code and reason, and have no change."""
    world = World(
        make_job({"title": 'Mid([mail], [n], "1")'}),
        users={
            "bad": {"mail": "bad@x", "n": "none"},
            "two": {"mail": "two@x", "n": "1"},
            "twin1": {"mail": "twin@x", "n": "1"},
            "twin2": {"mail": "TWIN@x", "n": "1"},
        },
        unreadable=[Unreadable(Kind.USER, "cut", "people.csv, line 9", "The row is cut off.")],
    )
    world.accounts[Kind.USER] = {"t1": {"userName": "two@x"}, "t2": {"userName": "Two@x"}}
    plan = world.plan()
    assert changes(plan) == []
    assert held(plan).keys() == {"bad", "two", "twin1", "twin2", "cut"}
    assert {entry.anchor: entry.code for entry in plan.held} == {
        "cut": ErrorCode.IMPORT_SKIPPED,
        "bad": ErrorCode.EXPRESSION_FAILED,
        "two": ErrorCode.DUPLICATE_TARGET_ENTRIES,
        "twin1": ErrorCode.DUPLICATE_SOURCE_ENTRIES,
        "twin2": ErrorCode.DUPLICATE_SOURCE_ENTRIES,
    }


@pytest.mark.parametrize(
    "sections", [{"deprovision": {"deleted": "keep"}}, {"user_rules": {"actions": {"delete": False}}}]
)
def test_what_the_job_forbids_is_not_planned(sections):
    """Nobody has to trust that the load leaves it out."""
    world = world_of_everything()
    world.job = make_job({"title": "[t]"}, groups={}, **{"deprovision": {"deleted": "delete"}, **sections})
    assert Action.DELETE not in world.plan().counts()


def test_an_empty_world_has_an_empty_plan():
    """Nothing on either side is nothing to do."""
    assert World(make_job(groups={})).plan().empty


def test_redacted_values_are_marked_on_every_block_that_holds_them():
    """Creates, updates, disables and references set afterwards."""
    world = world_of_everything()
    world.job = make_job({"title": {"expression": "[t]", "redact": True}}, groups={})
    for block in world.plan().blocks:
        if block.after is not None and "title" in block.after:
            assert "title" in block.redacted
