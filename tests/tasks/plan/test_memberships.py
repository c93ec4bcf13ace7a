"""Who is added to and removed from which group."""

import pytest

from connectors.contract import Action, Kind, Traits, Unreadable
from tests.tasks.plan.worlds import World, changes, make_job, notes


def world_of(*members: str, target: tuple[str, ...] = (), people: str = "abcde", **sections: object) -> World:
    """Group g with members of the source, and those of the target (all linked), where everybody has an account."""
    world = World(make_job(groups={}, **sections), users={name: {"mail": f"{name}@x"} for name in people})
    for name in people:
        world.accounts[Kind.USER][f"t{name}"] = {"userName": f"{name}@x", "active": True}
        world.link(name, f"t{name}")
    world.groups = {"g": {"name": "G"}}
    world.accounts[Kind.GROUP] = {"tg": {"displayName": "G"}}
    world.link("g", "tg", Kind.GROUP)
    world.members = {("g", name) for name in members}
    world.edges = {("tg", name) for name in target}
    return world


def settled(world: World) -> list[tuple]:
    """The changes, which must be enough."""
    plan = world.plan()
    world.apply(plan)
    assert changes(world.plan()) == [], "the next plan is not empty"
    return changes(plan)


def test_differences_are_sent_and_nothing_else():
    """Members to add and members to remove, by anchor for people to read."""
    assert settled(world_of("a", "b", "c", target=("tb", "td"))) == [
        ("add members", "group", "g", ["a", "c"]),
        ("remove members", "group", "g", ["d"]),
    ]


def test_equal_members_are_no_change():
    """Whatever their order."""
    assert settled(world_of("a", "b", target=("tb", "ta"))) == []


def test_additive_groups_lose_nobody():
    """Members that the source does not have stay."""
    world = world_of("a", target=("tb", "stranger"), group_rules={"members": "additive"})
    assert settled(world) == [("add members", "group", "g", ["a"])]
    assert ("tg", "stranger") in world.edges


def test_members_that_nobody_owns_are_removed_from_authoritative_groups():
    """The source says who is in its groups; the account itself is not touched."""
    assert settled(world_of("a", target=("ta", "stranger"))) == [("remove members", "group", "g", ["account stranger"])]


def test_groups_that_are_not_managed_keep_their_members():
    """A group that is neither linked nor matched is somebody else's."""
    world = world_of("a", target=("ta",))
    world.accounts[Kind.GROUP]["other"] = {"displayName": "Other"}
    world.edges |= {("other", "tb"), ("other", "stranger")}
    assert settled(world) == []


@pytest.mark.parametrize(("members", "sizes"), [(4, [2, 2]), (5, [2, 2, 1]), (2, [2])])
def test_requests_are_of_bounded_size(members, sizes):
    """At most as many members in one request as the target takes, in both directions."""
    world = world_of(*"abcde"[:members])
    world.traits = Traits(switch="active", members_per_change=2)
    assert [len(change[3]) for change in settled(world)] == sizes
    world.members = set()
    assert [(change[0], len(change[3])) for change in settled(world)] == [("remove members", size) for size in sizes]


def test_new_people_join_new_groups_in_one_cycle():
    """People first, then groups, then memberships."""
    world = World(make_job(groups={}), users={"a": {"mail": "a@x"}}, groups={"g": {"name": "G"}}, members={("g", "a")})
    assert [change[0] for change in settled(world)] == ["create", "create", "add members"]


def test_groups_inside_groups():
    """A group is a member like any other, also when both are new."""
    world = World(make_job(groups={}), groups={"g": {"name": "G"}, "h": {"name": "H"}}, members={("g", "h")})
    assert [change[:3] for change in settled(world)] == [
        ("create", "group", "g"),
        ("create", "group", "h"),
        ("add members", "group", "g"),
    ]
    world.members = set()
    assert settled(world) == [("remove members", "group", "g", ["h"])]


def test_a_key_that_a_user_and_a_group_share_means_the_user():
    """Tables number users and groups each from 1."""
    world = world_of("a")
    world.groups["a"] = {"name": "A"}
    world.accounts[Kind.GROUP]["tga"] = {"displayName": "A"}
    world.link("a", "tga", Kind.GROUP)
    assert settled(world) == [("add members", "group", "g", ["a"])]
    assert world.edges == {("tg", "ta")}


@pytest.mark.parametrize("way", ["created now", "out of scope"])
def test_a_shared_key_means_the_user_without_an_account_too(way):
    """Else everybody in the group of that key would get what was meant for one person."""
    world = world_of("z")
    world.users["z"] = {"mail": "z@x"}
    world.groups["z"] = {"name": "Z"}
    world.accounts[Kind.GROUP]["tgz"] = {"displayName": "Z"}
    world.link("z", "tgz", Kind.GROUP)
    if way == "out of scope":
        world.job = make_job(groups={}, assignment={"mode": "assigned", "users": list("abcde")})
    assert [change[0] for change in settled(world)] == ([] if way == "out of scope" else ["create", "add members"])
    assert ("tg", "tgz") not in world.edges


def test_an_id_that_a_user_and_a_group_share_in_the_target():
    """Services number them each from 1 too."""
    world = world_of(target=("ta",))
    world.accounts[Kind.GROUP]["ta"] = {"displayName": "A"}
    world.groups["x"] = {"name": "A"}
    world.link("x", "ta", Kind.GROUP)
    assert [change[0] for change in settled(world)] == ["remove members"]


def test_a_person_with_a_dangling_link_and_another_account():
    """The old account is gone, another one matches: it is the one that joins."""
    world = world_of("a")
    world.link("a", "gone")
    assert settled(world) == [("add members", "group", "g", ["a"])]
    assert world.edges == {("tg", "ta")}


def test_members_without_an_account_are_noted_and_join_later():
    """The group is complete as soon as they have one."""
    world = world_of("a", "z")
    assert settled(world) == [("add members", "group", "g", ["a"])]
    assert "1 of its members" in notes(world.plan())["g"]
    world.users["z"] = {"mail": "z@x"}
    assert [change[0] for change in settled(world)] == ["create", "add members"]


def held_back(world: World, how: str) -> None:
    """Makes the plan leave person a alone, in one of the ways there are."""
    match how:
        case "failing":
            world.users["a"]["n"] = "none"
        case "skipped":
            world.users["a"]["n"] = "skip"
        case "unreadable":
            del world.users["a"]
            world.unreadable = [Unreadable(Kind.USER, "a", "people.csv, line 2", "The row is cut off.")]


@pytest.mark.parametrize("how", ["failing", "skipped", "unreadable"])
def test_a_person_who_is_held_keeps_memberships_and_gets_none(how):
    """An entry in scope that cannot be worked out is not gone: it loses nothing, and no change is made for it."""
    title = 'IIF([n]="skip", IgnoreObjectFlow, Mid([mail], [n], "1"))'
    world = world_of(
        "a", "b", target=("ta",), user_rules={"attributes": {"userName": "[mail]", "active": True, "title": title}}
    )
    for person in world.users.values():
        person["n"] = "1"
    world.groups["h"], world.accounts[Kind.GROUP]["th"] = {"name": "H"}, {"displayName": "H"}
    world.members.add(("h", "a"))
    world.apply(world.plan())
    world.edges.discard(("th", "ta"))
    held_back(world, how)
    assert changes(world.plan(), Action.ADD_MEMBERS, Action.REMOVE_MEMBERS) == []
    assert ("tg", "ta") in world.edges


NOT_ANN = {"scope": [[{"attribute": "mail", "operator": "NOT EQUALS", "value": "a@x"}]]}


def test_a_person_who_leaves_loses_memberships():
    """Out of scope and disabled: the groups do not keep the account."""
    world = world_of("a", "b", target=("ta", "tb"), user_rules=NOT_ANN)
    assert [change[0] for change in settled(world)] == ["remove members", "disable"]
    assert world.edges == {("tg", "tb")}


def test_a_person_who_is_kept_keeps_memberships_that_the_source_still_has():
    """``keep`` means leave alone: no membership is taken, and none is given."""
    sections = {"user_rules": NOT_ANN, "deprovision": {"out_of_scope": "keep"}}
    assert settled(world_of("a", "b", target=("ta", "tb"), **sections)) == []
    assert settled(world_of("a", "b", target=("tb",), **sections)) == []


def test_nobody_joins_on_the_way_out():
    """A person whose account is deleted in this very plan is not added to groups first."""
    world = world_of("a", deprovision={"disabled": "delete"})
    world.disabled = {"a"}
    assert [change[0] for change in settled(world)] == ["delete"]


def test_groups_that_must_not_be_updated_keep_their_members():
    """Update off means the members too; a group that is created gets them once."""
    world = world_of("a", target=("tb",), group_rules={"actions": {"update": False}})
    world.groups["new"] = {"name": "New"}
    world.members.add(("new", "a"))
    assert [change[:3] for change in settled(world)] == [("create", "group", "new"), ("add members", "group", "new")]
