"""What becomes of the accounts of people who leave, by the way in which they left."""

from datetime import timedelta

import pytest

from connectors.contract import Kind, Traits, Unreadable
from connectors.errors import ErrorCode
from tasks.plan import Cause
from tests.tasks.plan.worlds import NO_DELETES, World, changes, held, make_job

SALES = [[{"attribute": "department", "operator": "EQUALS", "value": "Sales"}]]


def leaver(way: str, **deprovision: str) -> World:
    """Ann, who had an account, and has left in one way; Bob stays."""
    job = make_job(
        user_rules={"scope": SALES},
        assignment={"mode": "assigned", "users": ["bob"] if way == "unassigned" else ["ann", "bob"]},
        deprovision=deprovision,
    )
    world = World(job, users={name: {"mail": f"{name}@x", "department": "Sales"} for name in ("ann", "bob")})
    for number, name in enumerate(("ann", "bob")):
        world.accounts[Kind.USER][f"t{number}"] = {"userName": f"{name}@x", "active": True}
        world.link(name, f"t{number}")
    match way:
        case "deleted":
            del world.users["ann"]
        case "out_of_scope":
            world.users["ann"]["department"] = "IT"
        case "disabled":
            world.disabled = {"ann"}
    return world


def unassigned_group(**deprovision: str) -> World:
    """Groups g and h were provisioned with their members; from now on only h is assigned."""
    job = make_job(groups={}, assignment={"mode": "assigned", "groups": ["h"]}, deprovision=deprovision)
    world = World(job, users={"ann": {"mail": "ann@x"}}, groups={"g": {"name": "G"}, "h": {"name": "H"}})
    world.accounts = {
        Kind.USER: {"t0": {"userName": "ann@x", "active": True}},
        Kind.GROUP: {"tg": {"displayName": "G"}, "th": {"displayName": "H"}},
    }
    world.link("ann", "t0")
    world.link("g", "tg", Kind.GROUP)
    world.link("h", "th", Kind.GROUP)
    world.members = {("g", "ann"), ("h", "ann")}
    world.edges = {("tg", "t0"), ("th", "t0")}
    return world


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("keep", []),
        ("disable", [("remove members", "g")]),
        ("delete", [("delete", "g")]),
    ],
)
def test_groups_that_are_no_longer_assigned(policy, expected):
    """What becomes of a group is what the policy for the unassigned says and no more; its members stay provisioned."""
    world = unassigned_group(unassigned=policy, out_of_scope="keep", deleted="keep")
    plan = world.plan()
    assert [(change[0], change[2]) for change in changes(plan)] == expected
    world.apply(plan)
    assert world.accounts[Kind.USER] == {"t0": {"userName": "ann@x", "active": True}}
    assert ("th", "t0") in world.edges
    assert changes(world.plan()) == []


def test_unassigned_groups_wait_for_a_complete_source():
    """Where a row of the assignments may be missing, no group is emptied for not being assigned."""
    world = unassigned_group(unassigned="disable")
    world.incomplete = ("A row could not be read.",)
    assert changes(world.plan()) != []
    checked = world.checked()
    assert checked.blocks == []
    assert len(checked.staged) == 1


WAYS = {
    "deleted": Cause.GONE,
    "unassigned": Cause.UNASSIGNED,
    "out_of_scope": Cause.OUT_OF_SCOPE,
    "disabled": Cause.DISABLED,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", ["disable", "delete", "keep"])
def test_every_way_to_leave_has_its_policy(way, policy):
    """The job says for each way what happens; nobody else is touched; once is enough."""
    others = {other: "keep" if policy != "keep" else "delete" for other in WAYS if other != way}
    world = leaver(way, **{way: policy}, **others)
    plan = world.plan()
    assert [(change[0], change[2]) for change in changes(plan)] == ([] if policy == "keep" else [(policy, "ann")])
    assert [block.table["cause"].tolist() for block in plan.blocks] == ([] if policy == "keep" else [[WAYS[way]]])
    world.apply(plan)
    assert world.accounts[Kind.USER]["t1"] == {"userName": "bob@x", "active": True}
    assert changes(world.plan()) == []


@pytest.mark.parametrize("way", ["unassigned", "out_of_scope", "disabled"])
def test_back_again(way):
    """Whoever comes back gets the same account, enabled."""
    world = leaver(way)
    world.apply(world.plan())
    assert world.accounts[Kind.USER]["t0"]["active"] is False
    world.job = leaver("none").job
    world.users["ann"]["department"], world.disabled = "Sales", set()
    assert changes(world.plan()) == [("enable", "user", "ann", {"active": True})]


@pytest.mark.parametrize("way", ["deleted", "unassigned", "out_of_scope"])
def test_what_the_target_cannot_do_is_held(way):
    """With the next step in the reason."""
    world = leaver(way, **{way: "disable"})
    world.job = make_job(
        user_rules={"scope": SALES, "attributes": {"userName": "[mail]"}},
        assignment=world.job.assignment.model_dump(),
        deprovision={way: "disable"},
    )
    world.traits = Traits(switch=None)
    assert changes(world.plan()) == []
    assert "cannot disable" in held(world.plan())["ann"]
    world = leaver(way, **{way: "delete"})
    world.traits = Traits(switch="active", cannot=NO_DELETES)
    assert changes(world.plan()) == []
    assert "cannot delete" in held(world.plan())["ann"]
    assert [entry.code for entry in world.plan().held] == [ErrorCode.NOT_PERMITTED]


@pytest.mark.parametrize(("actions", "policy"), [({"update": False}, "disable"), ({"delete": False}, "delete")])
def test_actions_that_are_forbidden(actions, policy):
    """Disabling is an update; without the action nothing happens."""
    world = leaver("deleted", deleted=policy)
    world.job = make_job(user_rules={"actions": actions}, deprovision={"deleted": policy})
    assert changes(world.plan()) == []


@pytest.mark.parametrize(
    ("days", "way", "state", "expected"),
    [
        (29, "deleted", "disabled", []),
        (30, "deleted", "disabled", ["delete"]),
        (400, "deleted", "active", []),
        (400, "out_of_scope", "disabled", []),
        (400, "unassigned", "disabled", []),
        (400, "disabled", "disabled", []),
    ],
)
def test_the_grace_period(days, way, state, expected):
    """Deleted is who is gone from the source altogether and has been disabled for long enough, not a day before."""
    world = leaver(way)
    world.job = world.job.model_copy(
        update={"deprovision": world.job.deprovision.model_copy(update={"delete_after": timedelta(days=30)})}
    )
    world.accounts[Kind.USER]["t0"]["active"] = False
    world.link("ann", "t0", state=state)
    world.now += timedelta(days=days)
    assert [change[0] for change in changes(world.plan())] == expected


def test_an_account_that_is_gone_as_well_ends_the_link():
    """Nothing is left to disable, and nothing to remember."""
    world = leaver("deleted")
    del world.accounts[Kind.USER]["t0"]
    plan = world.plan()
    assert changes(plan) == []
    assert plan.entries[Kind.USER].dropped == ["ann"]


def test_an_unreadable_entry_is_not_gone():
    """A broken row of the source keeps its account as it is."""
    world = leaver("deleted")
    world.unreadable = [Unreadable(Kind.USER, "ann", "people.csv, line 2", "The row is cut off.")]
    assert changes(world.plan()) == []
    assert "people.csv, line 2" in held(world.plan())["ann"]


def test_a_rehire_takes_the_old_account():
    """A new anchor that matches takes over, enabled again, and the old link ends."""
    world = leaver("deleted")
    world.apply(world.plan())
    world.job = make_job()
    world.users["ann2"] = {"mail": "ann@x", "department": "Sales"}
    plan = world.plan()
    assert changes(plan) == [("enable", "user", "ann2", {"active": True})]
    world.apply(plan)
    assert world.links[Kind.USER].keys() == {"ann2", "bob"}
    assert changes(world.plan()) == []


def test_unlinked_accounts_are_never_touched():
    """An account that nobody of the source owns or matches stays as it is."""
    world = leaver("deleted")
    world.accounts[Kind.USER]["t9"] = {"userName": "stranger@x", "active": True}
    plan = world.plan()
    assert [change[2] for change in changes(plan)] == ["ann"]
    world.apply(plan)
    assert world.accounts[Kind.USER]["t9"] == {"userName": "stranger@x", "active": True}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", ["disable", "delete"])
@pytest.mark.parametrize("name", ["ANN@x", "t0", "ann"])
def test_protected_accounts_are_never_disabled_or_deleted(way, policy, name):
    """Named by a matching attribute, the target id or the anchor, in any case; the reason is told."""
    world = leaver(way, **{way: policy})
    world.job = world.job.model_copy(update={"protect": (name,)})
    assert changes(world.plan()) == []
    assert "protected" in held(world.plan())["ann"]


# --- groups


def group_world(**sections: object) -> World:
    """A linked group with two members, which the source no longer has."""
    job = make_job(groups={}, **sections)
    world = World(job, users={name: {"mail": f"{name}@x"} for name in ("ann", "bob")})
    for name in world.users:
        world.accounts[Kind.USER][f"t-{name}"] = {"userName": f"{name}@x", "active": True}
        world.link(name, f"t-{name}")
    world.accounts[Kind.GROUP]["tg"] = {"displayName": "G"}
    world.link("g", "tg", Kind.GROUP)
    world.edges = {("tg", "t-ann"), ("tg", "t-bob"), ("tg", "stranger")}
    return world


def test_a_group_that_is_gone_loses_its_members():
    """A group cannot be disabled: without members it gives nobody anything, and that is done once."""
    world = group_world()
    world.apply(world.plan())
    assert world.edges == set()
    assert changes(world.plan()) == []


def test_a_group_that_is_gone_is_deleted_where_the_job_says_so():
    """The service itself forgets the members."""
    world = group_world(deprovision={"deleted": "delete"})
    assert [change[:3] for change in changes(world.plan())] == [("delete", "group", "g")]


@pytest.mark.parametrize(
    "sections",
    [
        {"deprovision": {"deleted": "keep"}},
        {"group_rules": {"members": "additive"}},
        {"group_rules": {"actions": {"update": False}}},
        {"protect": ["G"]},
        {"protect": ["tg"]},
    ],
)
def test_groups_that_keep_their_members(sections):
    """Kept, additive, not to be updated, or protected."""
    assert changes(group_world(**sections).plan()) == []
