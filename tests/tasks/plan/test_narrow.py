"""A plan of everybody, narrowed to one entry."""

import pytest

from connectors.contract import Action, Kind
from tasks.plan import Plan
from tasks.plan.compare import fingerprints
from tasks.plan.narrow import only
from tests.tasks.plan.worlds import MANAGER, OWNERS, World, make_job


def make_world() -> World:
    """Ann (manager Bob) is new, Bob is new, Cat has an account and another title now, Dan is gone; a group of three."""
    references = {MANAGER: {"reference": "[boss]"}, OWNERS: {"reference": "[owners]"}}
    world = World(make_job({"title": "[title]", **references}, {}))
    world.users = {
        "a": {"mail": "ann@x", "title": "t", "boss": "b", "owners": ["b", "c"]},
        "b": {"mail": "bob@x", "title": "t", "boss": None, "owners": None},
        "c": {"mail": "cat@x", "title": "new", "boss": "b", "owners": None},
    }
    world.groups = {"g": {"name": "All"}}
    world.members = {("g", "a"), ("g", "b"), ("g", "c")}
    for number, anchor in enumerate("cd", start=1):
        world.link(anchor, str(number))
        world.accounts[Kind.USER][str(number)] = {"userName": f"{anchor}@old", "title": "old", "active": True}
    return world


def done(plan: Plan) -> list[tuple[Action, list[str]]]:
    return [(block.action, block.table["anchor"].tolist()) for block in plan.blocks]


def test_only_the_entry_is_left_in_everything_that_is_done_or_told() -> None:
    """Blocks, links to settle and to drop, held entries and notes of others are gone; what guards measure is not."""
    plan = make_world().plan()
    narrowed = only(plan, Kind.USER, ["d"])
    assert done(narrowed) == [(Action.DISABLE, ["d"])]
    assert narrowed.held == []
    assert narrowed.notes == []
    users = narrowed.entries[Kind.USER]
    assert not len(users.settled)
    assert users.dropped == []
    assert users.population == plan.entries[Kind.USER].population == 2
    assert len(plan.blocks) > 2, "the plan that was given is as it was"


def test_references_to_people_who_are_not_created_now_are_left_out_and_noted() -> None:
    """The value, what counts as touched, and the fingerprint: a later cycle sees that the reference is to be set."""
    world = make_world()
    whole, narrowed = world.plan(), only(world.plan(), Kind.USER, ["a"])
    block = narrowed.blocks[0]
    assert block.after is not None
    assert block.desired is not None
    for one in narrowed.blocks:
        assert one.after is not None
        assert MANAGER not in one.after or one.after[MANAGER].isna().all()
    lists = [one.after[OWNERS].iloc[0] for one in narrowed.blocks if one.after is not None and OWNERS in one.after]
    assert [some for some in lists if isinstance(some, list)] == [["c"]]
    assert sorted(note.reason.split(" ")[0] for note in narrowed.notes) == sorted([MANAGER, OWNERS])
    created = next(one for one in whole.blocks if "a" in one.table["anchor"].tolist())
    assert created.desired is not None
    before = fingerprints(created.desired)[created.table["anchor"].tolist().index("a")]
    assert fingerprints(block.desired)[0] != before


def test_an_update_that_would_only_set_such_a_reference_is_none() -> None:
    """Nothing is sent where nothing is left to write."""
    world = make_world()
    world.users["c"] |= {"mail": "c@old", "title": "old"}
    assert (Action.UPDATE, ["c"]) in done(world.plan())
    narrowed = only(world.plan(), Kind.USER, ["c"])
    assert narrowed.blocks == []
    assert [note.anchor for note in narrowed.notes] == ["c"]


def test_a_reference_to_itself_stays() -> None:
    """Who is created now can be referred to."""
    world = make_world()
    world.users["b"]["boss"] = "b"
    narrowed = only(world.plan(), Kind.USER, ["b"])
    values = [
        block.after[MANAGER].tolist() for block in narrowed.blocks if block.after is not None and MANAGER in block.after
    ]
    assert ["b"] in values


def test_a_group_keeps_the_members_who_have_an_account() -> None:
    """The others are counted in one note; nobody's account is created by it."""
    narrowed = only(make_world().plan(), Kind.GROUP, ["g"])
    assert [action for action, _ in done(narrowed)] == [Action.CREATE, Action.ADD_MEMBERS]
    assert narrowed.blocks[1].table["members"].tolist() == [["c"]]
    assert any(note.reason.startswith("2 of its members") for note in narrowed.notes)


@pytest.mark.parametrize("kind", list(Kind))
def test_nobody_is_nothing(kind: Kind) -> None:
    """An anchor that the plan does not know leaves an empty plan."""
    assert only(make_world().plan(), kind, ["nobody"]).empty


def test_who_takes_an_account_over_ends_the_link_that_it_had() -> None:
    """An account has one owner: the link of the anchor that is gone goes with the new one, and no other link does."""
    world = World(make_job())
    for anchor in ("old", "gone"):
        world.link(anchor, f"t{anchor}")
    world.accounts[Kind.USER] = {"told": {"userName": "ann@x", "active": True}}
    world.users["new"] = {"mail": "ann@x"}
    assert world.plan().entries[Kind.USER].dropped == ["gone", "old"]
    users = only(world.plan(), Kind.USER, ["new"]).entries[Kind.USER]
    assert users.dropped == ["old"]
    assert users.settled["target_id"].to_dict() == {"new": "told"}
