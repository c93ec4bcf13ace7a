"""Guards on members who are taken out of groups: small groups hide nothing, and neither do many small cycles."""

import pytest

from connectors.contract import Action, Kind
from connectors.errors import SettingsError
from tasks.checks import Checked, History, refuse_empty
from tests.tasks.plan.worlds import World
from tests.tasks.test_checks_limits import OPEN, add_group, company, count, guards, judged, leave


def world_of(groups: int, members: int, **sections: object) -> World:
    """Groups of a few people each, all as they should be."""
    world = company(groups * members, **sections)
    for number in range(groups):
        names = [f"p{at:03}" for at in range(number * members, (number + 1) * members)]
        add_group(world, f"g{number:02}", names)
    return world


def lose(world: World, group: str, members: int) -> None:
    for edge in sorted(edge for edge in world.members if edge[0] == group)[:members]:
        world.members.discard(edge)


def removed(checked: Checked) -> int:
    return sum(
        int(block.table["members"].map(len).sum()) for block in checked.blocks if block.action is Action.REMOVE_MEMBERS
    )


def test_a_file_cut_at_a_line_end_takes_no_memberships() -> None:
    """Every group is below the minimum of its own limit: all of them together are not."""
    world = world_of(60, 12)
    for number in range(60):
        lose(world, f"g{number:02}", 11)
    checked = judged(world)
    assert removed(checked) == 0
    assert "memberships" in guards(checked)


@pytest.mark.parametrize(("lost", "trips"), [(20, False), (21, True)])
def test_the_limit_of_the_whole_target(lost: int, trips: bool) -> None:
    """Exactly as many as allowed pass: a fifth of a hundred, four of every ten."""
    world = world_of(10, 10)
    for number in range(10):
        lose(world, f"g{number:02}", 2)
    if lost > 20:
        lose(world, "g00", 1)
    checked = judged(world)
    assert guards(checked) == (["memberships"] if trips else [])
    assert removed(checked) == (0 if trips else lost)


@pytest.mark.parametrize(("size", "lost", "trips"), [(2, 2, False), (3, 2, False), (3, 3, True), (12, 12, True)])
def test_nobody_empties_a_group_of_three(size: int, lost: int, trips: bool) -> None:
    """Whatever the limits say."""
    world = world_of(30, size)
    lose(world, "g00", lost)
    checked = judged(world, members=OPEN, memberships=OPEN)
    assert guards(checked) == (["members"] if trips else [])


@pytest.mark.parametrize(("size", "trips"), [(1, False), (2, True)])
def test_all_memberships_at_once_are_too_many(size: int, trips: bool) -> None:
    """Also in a target that is smaller than every minimum: two groups of one, and two groups of two."""
    world = world_of(2, size)
    for number in range(2):
        lose(world, f"g{number:02}", size)
    assert guards(judged(world, members=OPEN, memberships=OPEN)) == (["memberships"] if trips else [])


def test_memberships_end_with_a_group_that_is_deleted() -> None:
    """Two groups are few, and most of the memberships."""
    world = world_of(30, 2, deprovision={"deleted": "delete"})
    for name in ("big", "huge"):
        add_group(world, name, [f"p{at:03}" for at in range(60)])
        del world.groups[name]
        world.members = {edge for edge in world.members if edge[0] != name}
    checked = judged(world)
    assert guards(checked) == ["memberships"]
    assert count(checked.blocks, Action.DELETE) == 0


@pytest.mark.parametrize(("before", "trips"), [(45, False), (46, True)])
@pytest.mark.parametrize("period", ["members_in_day", "members_in_week"])
def test_one_group_does_not_bleed_slowly(before: int, trips: bool, period: str) -> None:
    """From 200 to 55 in thirteen cycles, each below the limit: of the day a fifth, of the week three tenths."""
    before = before if period == "members_in_week" else before - 18
    world = company(250)
    add_group(world, "g", [f"p{at:03}" for at in range(200 - before)])
    for number in range(10):
        add_group(world, f"h{number}", [f"p{at:03}" for at in range(150)])
    lose(world, "g", 15 if period == "members_in_week" else 13)
    checked = judged(world, History(**{period: {"g": before}}))
    assert guards(checked) == (["memberships"] if trips else [])


def test_the_whole_target_does_not_bleed_slowly() -> None:
    """Nor does it from many groups at once."""
    world = world_of(20, 10)
    lose(world, "g00", 1)
    assert guards(judged(world, History(members_in_week={"gone": 84}))) == []
    assert guards(judged(world, History(members_in_week={"gone": 85}))) == ["memberships"]


def test_memberships_of_people_who_are_gone_without_leaving_count() -> None:
    """Where the job disables nobody, nothing else judges what a torn file takes from people who seem to be gone."""
    world = company(40, user_rules={"actions": {"update": False, "delete": False}})
    add_group(world, "g", [f"p{at:03}" for at in range(40)])
    gone = [f"p{at:03}" for at in range(20)]
    leave(world, 20)
    world.members = {edge for edge in world.members if edge[1] not in gone}
    checked = judged(world)
    assert count(checked.plan.blocks, Action.DISABLE) == 0
    assert removed(checked) == 0


@pytest.mark.parametrize(("now", "trips"), [(24, False), (23, True)])
def test_a_source_whose_memberships_shrank_removes_nobody_from_groups(now: int, trips: bool) -> None:
    """Its users are all there; a fifth of the memberships is not."""
    world = company(60)
    for number in range(10):
        add_group(world, f"g{number}", [f"p{at:03}" for at in range(number * 3, number * 3 + 3)])
    for number in range(30 - now):
        lose(world, f"g{number}", 1)
    history = History(source_counts=[60], source_members=30)
    checked = judged(world, history, members=OPEN, memberships={**OPEN, "per_day": OPEN, "per_week": OPEN})
    assert guards(checked) == (["source"] if trips else [])
    assert removed(checked) == (0 if trips else 30 - now)
    assert checked.doubtful is trips


@pytest.mark.parametrize(
    ("before", "sections", "stops"),
    [
        (None, {}, False),
        (2, {}, False),
        (3, {}, True),
        (3, {"group_rules": {"members": "additive"}}, False),
        (3, {"limits": {"source": {"fraction": 1.0}}}, False),
    ],
)
def test_groups_without_any_member_stop_the_cycle(before: int | None, sections: dict[str, object], stops: bool) -> None:
    """Where there were some, that is a fault of the export; unless the job only adds members, or means it."""
    world = company(5, **sections)
    add_group(world, "g", [])
    source = world.source(None)
    if not stops:
        refuse_empty(source, world.job, members_before=before)
        return
    with pytest.raises(SettingsError, match="no membership at all; it had 3"):
        refuse_empty(source, world.job, members_before=before)


def test_an_export_without_groups_is_not_one_whose_groups_are_empty() -> None:
    """Groups that are gone are judged by other guards."""
    world = company(5)
    refuse_empty(world.source(None), world.job, members_before=30)
    assert world.plan().target_count[Kind.GROUP] == 0
