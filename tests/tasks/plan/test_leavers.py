"""What becomes of the accounts of people who leave, by the way in which they left."""

from datetime import timedelta

import pytest

from connectors.contract import Kind, Traits, Unreadable
from connectors.errors import ErrorCode
from tasks.plan import Cause, Plan
from tests.tasks.plan.worlds import MANAGER, NO_DELETES, World, changes, held, make_job, notes

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
        (29, "out_of_scope", "disabled", []),
        (30, "out_of_scope", "disabled", ["delete"]),
        (30, "unassigned", "disabled", ["delete"]),
        (29, "disabled", "disabled", []),
        (30, "disabled", "disabled", ["delete"]),
        (400, "disabled", "active", []),
    ],
)
def test_the_grace_period(days, way, state, expected):
    """Deleted is who has been disabled for long enough, whatever the way, and not a day before."""
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
    checked = world.checked()
    assert checked.blocks == []
    assert "protected" in held(checked.plan)["ann"]


def test_what_is_only_adopted_is_disabled_at_most():
    """An account that was never ours is not deleted in the plan that recognises it; from then on it is ours."""
    world = leaver("disabled", disabled="delete")
    world.links[Kind.USER].clear()
    plan = world.plan()
    assert [change[:3] for change in changes(plan)] == [("disable", "user", "ann")]
    world.apply(plan)
    assert [change[:3] for change in changes(world.plan())] == [("delete", "user", "ann")]


def test_what_is_adopted_disabled_is_deleted_by_the_next_cycle():
    """Nothing is left to disable: the first plan only remembers whose it is."""
    world = leaver("disabled", disabled="delete")
    world.links[Kind.USER].clear()
    world.accounts[Kind.USER]["t0"]["active"] = False
    plan = world.plan()
    assert changes(plan) == []
    world.apply(plan)
    assert [change[:3] for change in changes(world.plan())] == [("delete", "user", "ann")]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("policy", ["disable", "delete"])
def test_provisor_never_takes_its_own_account_away(way, policy):
    """Else nobody could put anything right; nobody has to list it."""
    world = leaver(way, **{way: policy})
    world.own = "t0"
    checked = world.checked()
    assert checked.blocks == []
    assert "signs in to the target with this account" in held(checked.plan)["ann"]


def test_what_the_target_lets_nobody_write_is_told_before_anything_is_sent():
    """Others' changes go on; a leaver who keeps access is told as such, and loses memberships all the same."""
    world = group_world()
    world.groups["g"], world.members = {"name": "Group"}, {("g", "ann"), ("g", "bob")}
    world.unwritable = {Kind.USER: {"t-ann": "It is synchronized."}}
    del world.users["ann"]
    checked = world.checked()
    assert "disable" not in {change[0] for change in changes(checked.plan)}
    assert ("remove members", "group", "g", ["ann"]) in changes(checked.plan)
    told = "The target does not let Provisor change it. It is synchronized. The account is still active."
    assert held(checked.plan)["ann"] == told
    world.unwritable = {Kind.GROUP: {"tg": "A rule says who is in it."}}
    checked = world.checked()
    assert [change[:3] for change in changes(checked.plan)] == [("disable", "user", "ann")]
    assert held(checked.plan)["g"] == "The target does not let Provisor change it. A rule says who is in it."


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
    assert group_world(**sections).checked().plan.blocks == []


def test_memberships_of_a_protected_leaver_stay():
    """What an account is good for goes and stays with it; a stranger's membership goes all the same."""
    world = group_world(protect=["ann@x"])
    world.groups["g"] = {"name": "G"}
    world.members = {("g", "bob")}
    del world.users["ann"]
    checked = world.checked()
    assert changes(checked.plan) == [("remove members", "group", "g", ["account stranger"])]


def test_provisors_own_account_keeps_its_memberships():
    """They are what it works with: an authoritative group that the source does not know it in is no reason."""
    world = group_world()
    world.groups["g"], world.members, world.own = {"name": "G"}, {("g", "bob")}, "stranger"
    assert changes(world.checked().plan) == [("remove members", "group", "g", ["ann"])]


# --- taking away needs the key and the fact ------------------------------------------------------------------------


def ends(plan: Plan) -> list[tuple[str, str]]:
    """Action and anchor of every change."""
    return [(change[0], change[2]) for change in changes(plan)]


def open_ones(plan: Plan) -> list[tuple[str, ErrorCode]]:
    """Who is held, and the code of the reason."""
    return [(one.anchor, one.code) for one in plan.held]


def unusable(*rows: dict, disabled: bool = False, **sections: object) -> World:
    """Ann, whose rows cannot be used; Bob is as he should be."""
    world = leaver("not at all")
    world.job = make_job(user_rules={"scope": SALES}, **sections)
    del world.users["ann"]
    world.unreadable = [Unreadable(Kind.USER, "ann", "people.csv, line 2", "2 rows have this id.")]
    world.set_aside = [("ann", row) for row in rows]
    world.disabled = {"ann"} if disabled else set()
    return world


@pytest.mark.parametrize("deprovision", ["disable", "delete", "keep"])
def test_a_person_who_is_disabled_ends_although_the_row_cannot_be_used(deprovision):
    """The source says so of the key; what else the row holds does not matter, and nothing about her stays open."""
    world = unusable({"mail": "a@x"}, {"mail": "b@x"}, disabled=True, deprovision={"disabled": deprovision})
    plan = world.plan()
    expected = {"disable": [("disable", "ann")], "delete": [("delete", "ann")], "keep": []}[deprovision]
    assert ends(plan) == expected
    assert plan.held == []


def test_copies_that_are_all_out_of_scope_end():
    """Whichever of them is right, she has left."""
    world = unusable({"mail": "a@x", "department": "IT"}, {"mail": "b@x", "department": "HR"})
    assert ends(world.plan()) == [("disable", "ann")]


@pytest.mark.parametrize("department", ["Sales", "IT"])
def test_copies_that_disagree_end_nobody(department):
    """One of them says that she works here: she keeps what she has, and the plan says why."""
    world = unusable({"mail": "a@x", "department": department}, {"mail": "b@x", "department": "Sales"})
    plan = world.plan()
    assert ends(plan) == []
    assert open_ones(plan) == [("ann", ErrorCode.IMPORT_SKIPPED)]


def test_a_mapping_that_fails_holds_nobody_who_is_disabled():
    """The account goes off; whoever is active is held as before."""
    job = make_job({"title": 'DateAdd("d", 1, [end])'})
    world = World(job, users={name: {"mail": f"{name}@x", "end": "n/a"} for name in ("ann", "bob")}, disabled={"ann"})
    for number, name in enumerate(("ann", "bob")):
        world.accounts[Kind.USER][f"t{number}"] = {"userName": f"{name}@x", "active": True}
        world.link(name, f"t{number}")
    plan = world.plan()
    assert ends(plan) == [("disable", "ann")]
    assert open_ones(plan) == [("bob", ErrorCode.EXPRESSION_FAILED)]


def test_memberships_of_a_disabled_person_stay_whatever_the_row_holds():
    """As those of a disabled person whose row can be used: only the account goes off."""
    world = unusable({"mail": "a@x"}, disabled=True, groups={})
    world.groups, world.accounts[Kind.GROUP] = {"g": {"name": "G"}}, {"tg": {"displayName": "G"}}
    world.link("g", "tg", Kind.GROUP)
    world.members, world.edges = {("g", "ann")}, {("tg", "t0")}
    assert ends(world.plan()) == [("disable", "ann")]


def test_a_filter_that_cannot_be_judged_ends_nobody():
    """Not understood is not no: held with value and reason."""
    hours = [[{"attribute": "hours", "operator": "Greater_Than", "value": 20}]]
    world = leaver("not at all")
    world.job = make_job(user_rules={"scope": hours})
    world.users = {"ann": {"mail": "ann@x", "hours": "full time"}, "bob": {"mail": "bob@x", "hours": "37,5"}}
    plan = world.plan()
    assert ends(plan) == []
    assert open_ones(plan) == [("ann", ErrorCode.SCOPE_UNDECIDED)]
    assert "'full time'" in plan.held[0].reason


# --- a record that goes on under another anchor --------------------------------------------------------------------


def contractor(way: str, *, name: str = "Ann Lee") -> World:
    """Ann had an account as a contractor; that record ends in one way, and an employee's record has her login."""
    job = make_job({"displayName": "[name]"}, user_rules={"scope": SALES} if way == "out of scope" else {})
    world = World(job)
    world.users = {
        "c1": {"mail": "ann@x", "name": "Ann Lee", "department": "IT" if way == "out of scope" else "Sales"},
        "e1": {"mail": "ann@x", "name": name, "department": "Sales"},
    }
    if way == "disabled":
        world.disabled = {"c1"}
    world.accounts[Kind.USER]["t0"] = {"userName": "ann@x", "active": True, "displayName": "Ann Lee"}
    return world


@pytest.mark.parametrize("way", ["disabled", "out of scope"])
def test_an_ended_record_hands_its_account_to_the_one_that_goes_on(way):
    """She works here: nothing is disabled, and the account is the employee's from now on."""
    world = contractor(way)
    world.link("c1", "t0")
    plan = world.plan()
    assert ends(plan) == []
    assert plan.held == []
    settled = plan.entries[Kind.USER].settled
    assert dict(settled["target_id"]) == {"e1": "t0"}
    assert plan.entries[Kind.USER].dropped == ["c1"]


@pytest.mark.parametrize("way", ["disabled", "out of scope"])
def test_the_old_record_stays_without_an_account(way):
    """In the cycles after that, it claims nothing and is held for nothing."""
    world = contractor(way)
    world.link("e1", "t0")
    plan = world.plan()
    assert (ends(plan), plan.held) == ([], [])


@pytest.mark.parametrize("way", ["disabled", "out of scope"])
def test_both_records_are_there_from_the_first_day(way):
    """The one that goes on is matched; the other one is no second claim."""
    world = contractor(way)
    plan = world.plan()
    assert dict(plan.entries[Kind.USER].settled["target_id"]) == {"e1": "t0"}
    assert (ends(plan), plan.held) == ([], [])


@pytest.mark.parametrize("way", ["disabled", "out of scope"])
def test_another_person_does_not_get_the_account_of_an_ended_record(way):
    """The same login under another name may be a slip: the account goes off with its owner, the other one is held."""
    world = contractor(way, name="Bob Ray")
    world.link("c1", "t0")
    plan = world.plan()
    assert ends(plan) == [("disable", "c1")]
    assert open_ones(plan) == [("e1", ErrorCode.DUPLICATE_SOURCE_ENTRIES)]


def test_a_record_that_has_not_ended_keeps_its_account():
    """Two active records with one login: nobody is moved."""
    world = contractor("not at all")
    world.link("c1", "t0")
    plan = world.plan()
    assert (ends(plan), open_ones(plan)) == ([], [("e1", ErrorCode.DUPLICATE_SOURCE_ENTRIES)])


def test_an_account_that_two_newcomers_claim_still_ends_with_its_owner():
    """Somebody has left, and two others match the account by different attributes: neither gets it, and it is off."""
    rules = {
        "matching": [{"source": "[mail]", "target": "userName"}, {"source": "[n]", "target": "externalId"}],
        "attributes": {"userName": "[mail]", "externalId": "[n]", "active": "Not([IsSoftDeleted])"},
    }
    users = {"ann": {"mail": "a@x", "n": None}, "bob": {"mail": "b@x", "n": "7"}}
    world = World(make_job(user_rules=rules), users=users)
    world.accounts[Kind.USER]["t1"] = {"userName": "a@x", "externalId": "7", "active": True}
    world.link("old", "t1")
    plan = world.plan()
    assert changes(plan) == [("disable", "user", "old", {"active": False})]
    assert set(held(plan)) == {"ann", "bob"}
    assert notes(plan) == {}
    world.apply(plan)
    assert world.links[Kind.USER]["old"]["state"] == "disabled"


def test_what_is_said_of_a_manager_is_so_at_the_moment():
    """One has left and still has an account, one is held with an account, one has none: three sentences."""
    people = {who: {"mail": f"{who}@x", "m": boss} for who, boss in (("a", "gone"), ("b", "torn"), ("c", "nobody"))}
    world = World(make_job({MANAGER: {"reference": "[m]"}}), users=people)
    world.unreadable = [Unreadable(Kind.USER, "torn", "people.csv, line 9", "The row is cut off.")]
    for number, who in enumerate(("gone", "torn")):
        world.accounts[Kind.USER][f"t{number}"] = {"userName": f"{who}@x", "active": True}
        world.link(who, f"t{number}")
    said = {who: reason.partition(" refers to ")[2] for who, reason in notes(world.plan()).items()}
    assert said == {
        "a": "gone, who has an account and should have none (gone from the source); left out for now.",
        "b": "torn, who has an account and is held in this cycle; left out for now.",
        "c": "nobody, who has no account in the target; left out until then.",
    }
