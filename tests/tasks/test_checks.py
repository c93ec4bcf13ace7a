"""What guards let through and what they hold back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.contract import Action, Kind
from connectors.errors import SettingsError
from tasks.checks import check_plan, exceeds, refuse_empty
from tasks.job import Limit, Limits
from tests.tasks.plan.worlds import World, changes, make_job

SALES = [[{"attribute": "department", "operator": "EQUALS", "value": "Sales"}]]
OPEN = Limit(count=10_000, fraction=1.0, minimum=0)


def world_of(people: int, leaving: int, *, way: str = "deleted", **sections: object) -> World:
    """Linked, active people, of whom the first few have left in one way."""
    names = [f"p{number:03}" for number in range(people)]
    world = World(make_job(groups={}, user_rules={"scope": SALES}, **sections))
    for number, name in enumerate(names):
        world.accounts[Kind.USER][f"t{name}"] = {"userName": f"{name}@x", "active": True}
        world.link(name, f"t{name}")
        gone = number < leaving
        if not (gone and way == "deleted"):
            away = gone and way == "out_of_scope"
            world.users[name] = {"mail": f"{name}@x", "department": "IT" if away else "Sales"}
        if gone and way == "disabled":
            world.disabled.add(name)
    return world


def add_group(world: World, key: str, target: int, source: int) -> None:
    """A group with the last ``target`` people in the target, of whom the source has the last ``source``."""
    world.groups[key] = {"name": key}
    world.accounts[Kind.GROUP][f"t{key}"] = {"displayName": key}
    world.link(key, f"t{key}", Kind.GROUP)
    names = [target_id[1:] for target_id in world.accounts[Kind.USER]]
    world.edges |= {(f"t{key}", f"t{name}") for name in names[len(names) - target :]}
    world.members |= {(key, name) for name in names[len(names) - source :]}


def judged(world: World, **limits: Limit):
    return check_plan(world.plan(), Limits(**limits))


def removed(blocks: list) -> int:
    """Accounts and members that blocks take away."""
    actions = (Action.DISABLE, Action.DELETE, Action.REMOVE_MEMBERS)
    return sum(
        block.table["members"].map(len).sum() if "members" in block.table else len(block)
        for block in blocks
        if block.action in actions
    )


@pytest.mark.parametrize(
    ("count", "population", "limit", "trips"),
    [
        (5, 1000, Limit(count=5, fraction=1.0), False),
        (6, 1000, Limit(count=5, fraction=1.0), True),
        (0, 1000, Limit(count=0, fraction=0.0), False),
        (1, 1000, Limit(count=0, fraction=1.0), True),
        (10, 100, Limit(count=500, fraction=0.1, minimum=20), False),
        (11, 100, Limit(count=500, fraction=0.1, minimum=20), True),
        (2, 20, Limit(count=500, fraction=0.1, minimum=20), False),
        (3, 20, Limit(count=500, fraction=0.1, minimum=20), True),
        (19, 19, Limit(count=500, fraction=0.1, minimum=20), False),
        (1, 20, Limit(count=500, fraction=0.0, minimum=20), True),
        (0, 20, Limit(count=500, fraction=0.0, minimum=20), False),
    ],
)
def test_limits(count, population, limit, trips):
    """Exactly as many as allowed pass, one more does not; the fraction counts from the minimum population on."""
    assert (exceeds(count, population, limit) is not None) is trips


@pytest.mark.parametrize("way", ["deleted", "out_of_scope", "disabled"])
@pytest.mark.parametrize(("leaving", "trips"), [(4, False), (5, True)])
def test_removals_over_the_limit_are_staged_and_the_rest_goes_on(way, leaving, trips):
    """Whatever the way in which people leave; joiners and changes run."""
    world = world_of(40, leaving, way=way)
    world.users["new"] = {"mail": "new@x", "department": "Sales"}
    checked = judged(world)
    assert removed(checked.blocks) == (0 if trips else leaving)
    assert removed(checked.staged) == (leaving if trips else 0)
    assert [block.action for block in checked.blocks if block.action is Action.CREATE] == [Action.CREATE]
    assert [verdict.guard for verdict in checked.verdicts] == (["removals"] if trips else [])
    assert [verdict.held for verdict in checked.verdicts] == ([leaving] if trips else [])


def test_nothing_is_lost_or_doubled_by_a_guard():
    """What runs and what is staged are together the plan."""
    world = world_of(40, 10)
    add_group(world, "g", 35, 25)
    checked = judged(world)
    total = sum(map(len, checked.plan.blocks))
    assert sum(map(len, checked.blocks)) + sum(map(len, checked.staged)) == total


@pytest.mark.parametrize(("people", "trips"), [(2, False), (3, True)])
def test_everybody_is_too_many_whatever_the_limits_say(people, trips):
    """An extract without anybody must not empty a small company."""
    assert bool(judged(world_of(people, people), removals=OPEN).verdicts) is trips


def test_a_person_who_is_disabled_already_does_not_count():
    """Neither as a removal nor as somebody who is left."""
    world = world_of(40, 10)
    for name in list(world.accounts[Kind.USER])[:8]:
        world.accounts[Kind.USER][name]["active"] = False
    checked = judged(world)
    assert removed(checked.blocks) == 2
    assert not checked.verdicts


def test_memberships_of_leavers_are_staged_with_them():
    """A guard that keeps an account keeps what the account is good for."""
    world = world_of(40, 10)
    add_group(world, "g", 40, 30)
    checked = judged(world, members=OPEN)
    assert removed(checked.blocks) == 0
    assert {block.action for block in checked.staged} == {Action.DISABLE, Action.REMOVE_MEMBERS}


def test_members_who_only_change_groups_are_not_staged_with_leavers():
    """Each guard holds back exactly what it judged."""
    world = world_of(40, 10)
    add_group(world, "g", 30, 29)
    checked = judged(world)
    assert changes_of(checked.blocks) == {Action.REMOVE_MEMBERS}
    assert changes_of(checked.staged) == {Action.DISABLE}


def changes_of(blocks: list) -> set[Action]:
    return {block.action for block in blocks}


@pytest.mark.parametrize(("lost", "trips"), [(3, False), (4, True)])
def test_one_group_that_loses_too_many_waits_alone(lost, trips):
    """The limit is judged for each group on its own; other groups go on."""
    world = world_of(60, 0)
    add_group(world, "g", 30, 30 - lost)
    add_group(world, "h", 60, 60 - 6)
    checked = judged(world)
    staged = {name for block in checked.staged for name in block.table["anchor"]}
    assert staged == ({"g"} if trips else set())
    assert "h" in {name for block in checked.blocks for name in block.table["anchor"]}
    assert [verdict.guard for verdict in checked.verdicts] == (["members"] if trips else [])


def test_leavers_do_not_count_against_their_groups():
    """Four people who leave the company are four removals, not also too many members of a small group."""
    world = world_of(100, 4)
    add_group(world, "g", 100, 0)
    world.edges = {("tg", f"tp{number:03}") for number in range(30)}
    world.members = {("g", f"p{number:03}") for number in range(4, 30)}
    checked = judged(world)
    assert not checked.verdicts
    assert removed(checked.blocks) == 8


def test_many_groups_do_not_hide_that_everybody_leaves():
    """The fraction is judged for people and for groups apart."""
    world = world_of(25, 10)
    for number in range(300):
        add_group(world, f"g{number:03}", 0, 0)
    checked = judged(world)
    assert [verdict.guard for verdict in checked.verdicts] == ["removals"]
    assert "10 users would be disabled or deleted, more than 10% of 25" in checked.verdicts[0].sentence


def test_a_user_and_a_group_with_one_id_are_judged_apart():
    """A group's guard must not hold back the disabling of a user whose id in the target is the group's."""
    world = world_of(60, 1)
    add_group(world, "g", 30, 26)
    world.accounts[Kind.GROUP] = {"tp000": {"displayName": "g"}}
    world.link("g", "tp000", Kind.GROUP)
    world.edges = {("tp000", member) for _, member in world.edges}
    checked = judged(world)
    assert [verdict.guard for verdict in checked.verdicts] == ["members"]
    assert changes_of(checked.blocks) == {Action.DISABLE}


def test_a_group_in_several_requests_is_judged_as_one():
    """Splitting into requests must not let a group slip through."""
    world = world_of(60, 0)
    add_group(world, "g", 60, 40)
    world.traits = replace(world.traits, members_per_change=2)
    checked = judged(world)
    assert removed(checked.blocks) == 0
    assert removed(checked.staged) == 20
    [one] = checked.waiting
    assert one.guard.count("members would be removed") == 1


def test_groups_that_end_count_as_removals():
    """Ten groups out of forty entries that vanish are held like ten people."""
    world = world_of(20, 0)
    for number in range(20):
        add_group(world, f"g{number:02}", 1, 1)
    for number in range(10):
        del world.groups[f"g{number:02}"]
    world.members = {(group, member) for group, member in world.members if group in world.groups}
    checked = judged(world)
    assert removed(checked.blocks) == 0
    assert [verdict.guard for verdict in checked.verdicts] == ["removals", "memberships"]


@pytest.mark.parametrize(("way", "runs"), [("deleted", False), ("out_of_scope", True), ("disabled", True)])
def test_an_incomplete_source_proves_no_absence(way, runs):
    """Who is not there may be anywhere; who is there and says so is out."""
    world = world_of(40, 2, way=way)
    world.incomplete = ("One page could not be read.",)
    checked = judged(world)
    assert removed(checked.blocks) == (2 if runs else 0)
    assert [verdict.guard for verdict in checked.verdicts] == ([] if runs else ["complete source"])


def test_a_person_who_is_unassigned_in_an_incomplete_source_waits():
    """The edge that assigns them may be on the page that is missing."""
    world = world_of(40, 0, assignment={"mode": "assigned", "groups": ["all"]})
    world.groups = {"all": {"name": "all"}}
    world.accounts[Kind.GROUP] = {"tall": {"displayName": "all"}}
    world.members = {("all", name) for name in list(world.users)[1:]}
    world.incomplete = ("One page could not be read.",)
    checked = judged(world)
    assert removed(checked.blocks) == 0
    assert removed(checked.staged) == 1


def test_memberships_missing_from_an_incomplete_source_stay():
    """A member who is not listed may be on the page that is missing."""
    world = world_of(40, 0)
    add_group(world, "g", 30, 29)
    world.incomplete = ("One page could not be read.",)
    checked = judged(world)
    assert removed(checked.blocks) == 0
    assert removed(checked.staged) == 1


def test_an_empty_source_is_refused():
    """Nobody at all is a fault, not an organisation without people."""
    world = world_of(3, 3)
    with pytest.raises(SettingsError, match="no users at all"):
        refuse_empty(world.source(None))


def test_a_plan_within_the_limits_is_what_runs():
    """Same blocks, same order."""
    plan = world_of(40, 1).plan()
    checked = check_plan(plan, Limits())
    assert checked.blocks == plan.blocks
    assert checked.staged == []
    assert len(changes(plan)) == 1


@pytest.mark.parametrize(("linked", "off"), [(0, 40), (0, 20), (1, 40)])
def test_a_first_cycle_counts_the_accounts_that_it_adopts(linked, off):
    """A mapping that is upside down switches nobody off in the cycle that finds everybody's account."""
    world = world_of(40, off, way="disabled")
    for name in list(world.links[Kind.USER])[linked:]:
        del world.links[Kind.USER][name]
    checked = judged(world)
    assert removed(checked.blocks) == 0
    assert removed(checked.staged) == off
    assert [(verdict.guard, verdict.population) for verdict in checked.verdicts] == [("removals", 40)]


@pytest.mark.parametrize("active", [0, 15])
def test_accounts_that_were_switched_off_are_not_all_deleted_at_once(active):
    """A clock that is a year ahead ends every period of grace; there is nobody active to measure that against."""
    world = world_of(40, 40 - active, way="disabled", deprovision={"delete_after": "30d"})
    for name in world.disabled:
        world.accounts[Kind.USER][f"t{name}"]["active"] = False
        world.links[Kind.USER][name]["state"] = "disabled"
    world.now += timedelta(days=365)
    checked = judged(world)
    assert [block.action for block in checked.plan.blocks] == [Action.DELETE]
    assert removed(checked.blocks) == 0
    assert [verdict.counted for verdict in checked.verdicts] == [40 - active]
