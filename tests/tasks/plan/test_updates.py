"""Which accounts are written to, and in which attributes."""

from datetime import timedelta

import pytest

from connectors.contract import Action, Attribute, Kind, Place, Sameness, Traits, Unreadable
from connectors.errors import ErrorCode
from tasks.job import Vanished
from tasks.plan.blocks import Drifted, DriftKind
from tests.tasks.plan.worlds import (
    MANAGER,
    NICKNAMES,
    NO_DELETES,
    OWNERS,
    ROLES,
    SCHEMA,
    World,
    changes,
    held,
    make_job,
    notes,
)

DEPARTMENT = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department"


def world_of(mapping: object, source: object, target: object, path: str = "title", **sections: object) -> World:
    """Ann with one mapped attribute: what the source has, and what her linked account has."""
    world = World(make_job({path: mapping}, **sections), users={"ann": {"mail": "ann@x"}})
    if source is not None:
        world.users["ann"]["a"] = source
    world.accounts[Kind.USER]["t1"] = {"userName": "ann@x", "active": True}
    if target is not None:
        world.accounts[Kind.USER]["t1"][path] = target
    world.link("ann", "t1")
    return world


def written(world: World) -> dict | None:
    """What becomes of Ann's attributes; None where nothing is written, and then nothing is written ever after."""
    plan = world.plan()
    found = changes(plan)
    world.apply(plan)
    assert changes(world.plan()) == [], "the next plan is not empty"
    return found[0][3] if found else None


@pytest.mark.parametrize(
    ("mapping", "source", "target", "expected"),
    [
        ("[a]", "x", "x", None),
        ("[a]", "x", "y", {"title": "x"}),
        ("[a]", "x", None, {"title": "x"}),
        ("[a]", None, "y", None),
        ({"expression": "[a]", "clear": True}, None, "y", {"title": None}),
        ({"expression": "[a]", "clear": True}, None, None, None),
        ({"expression": "[a]", "clear": True}, None, "", None),
        ({"expression": "[a]", "apply": "on_create"}, "x", "y", None),
        ({"expression": "[a]", "apply": "add_only"}, "x", "y", None),
        ({"expression": "[a]", "apply": "add_only"}, "x", None, {"title": "x"}),
        ({"expression": "[a]", "apply": "add_only", "clear": True}, None, "y", None),
        ({"expression": "[a]", "default": "d"}, None, None, None),
        ({"expression": "[a]", "default": "d"}, None, "y", None),
        ({"expression": "[a]", "default": "d", "clear": True}, None, "d", None),
        ({"expression": "[a]", "default": "d", "clear": True}, None, "D", None),
        ({"expression": "[a]", "default": "d", "clear": True}, None, "y", {"title": None}),
        ({"default": "d"}, None, None, {"title": "d"}),
        ({"default": "d"}, None, "", {"title": "d"}),
        ({"default": "d"}, None, "y", None),
        ({"constant": "c"}, None, "y", {"title": "c"}),
        ("IgnoreFlowIfNullOrEmpty([a])", None, "y", None),
        ({"expression": "IgnoreFlowIfNullOrEmpty([a])", "clear": True}, None, "y", None),
        ({"expression": 'IIF([a]="x", IgnoreAttributeFlow, [a])', "clear": True}, "x", "y", None),
        ('IIF([a]="x", IgnoreObjectFlow, [a])', "x", "y", None),
    ],
)
def test_options_of_a_mapping(mapping, source, target, expected):
    """What null means, when a mapping applies, and that one plan is enough."""
    assert written(world_of(mapping, source, target)) == expected


def test_a_skipped_entry_is_not_touched_at_all():
    """IgnoreObjectFlow: neither changed in other attributes nor taken for gone."""
    world = world_of('IIF([a]="x", IgnoreObjectFlow, [a])', "x", "y")
    world.accounts[Kind.USER]["t1"]["userName"] = "old@x"
    assert changes(world.plan()) == []
    assert held(world.plan()) == {}


def test_an_entry_whose_expression_fails_is_held_and_not_gone():
    """It keeps its account as it is, with the reason."""
    world = world_of('Mid([a], [a], "1")', "none", "y")
    assert changes(world.plan()) == []
    assert held(world.plan())["ann"].startswith("title: ")


# --- case


@pytest.mark.parametrize(
    ("options", "path", "expected"),
    [
        ({}, "title", {"title": "ANN"}),
        ({"exact_case": True}, "title", {"title": "ANN"}),
        ({}, "externalId", {"externalId": "ANN"}),
    ],
)
def test_another_case_is_written_once(options, path, expected):
    """A correction of case in the source reaches the target."""
    assert written(world_of({"expression": "[a]", **options}, "ANN", "ann", path)) == expected


@pytest.mark.parametrize("path", ["title", "externalId"])
def test_case_alone_is_never_written_where_the_job_says_so(path):
    """Also where the target tells cases apart; what differs otherwise is written in the source's case."""
    options = {"expression": "[a]", "exact_case": False}
    assert written(world_of(options, "ANN", "ann", path)) is None
    assert written(world_of(options, "ANNA", "ann", path)) == {path: "ANNA"}


@pytest.mark.parametrize(("options", "again"), [({}, False), ({"exact_case": True}, True)])
def test_a_target_with_its_own_spelling_is_not_written_to_for_ever(options, again):
    """Unless case makes another value there."""
    world = world_of({"expression": "[a]", **options}, "ANN", "ann")
    world.apply(world.plan())
    world.accounts[Kind.USER]["t1"]["title"] = "ann"
    assert bool(changes(world.plan())) is again


# --- types, lists, complex values


@pytest.mark.parametrize(
    ("path", "source", "target", "expected"),
    [
        ("uidNumber", "007", "7", None),
        ("uidNumber", "8", "7", {"uidNumber": 8}),
        ("active", "True", True, None),
        ("active", "false", True, {"active": False}),
        (NICKNAMES, ["a", "b"], ["b", "a"], None),
        (NICKNAMES, ["a"], ["b", "a"], {NICKNAMES: ["a"]}),
        (NICKNAMES, "a", ["a"], None),
        (NICKNAMES, "a", None, {NICKNAMES: ["a"]}),
        (NICKNAMES, None, ["a"], None),
        (DEPARTMENT, "IT", "HR", {DEPARTMENT: "IT"}),
        ('emails[type eq "work"].value', "a@x", "b@x", {'emails[type eq "work"].value': "a@x"}),
        ('roles[primary eq "True"].value', ["Admin"], "Admin", None),
        ('addresses[type eq "work"].postalCode', "10115", None, {'addresses[type eq "work"].postalCode': "10115"}),
    ],
)
def test_values_of_every_shape(path, source, target, expected):
    """Numbers, booleans, lists, extensions and complex paths compare as the target's schema has them."""
    assert written(world_of("[a]", source, target, path)) == expected


def test_a_list_can_be_cleared():
    """With ``clear`` null takes all values away."""
    world = world_of({"expression": "[a]", "clear": True}, None, ["a"], NICKNAMES)
    assert written(world) == {NICKNAMES: None}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (["a"], ["b"], ["a", "b"]),
        (["a"], ["A", "b"], None),
        (["a", "c"], ["a"], ["a", "c"]),
        ("a", ["b"], ["a", "b"]),
        (["a"], None, ["a"]),
        (None, ["b"], None),
    ],
)
def test_add_only_never_takes_a_value_away(source, target, expected):
    """Values of the target stay, missing ones come on top."""
    found = written(world_of({"expression": "[a]", "apply": "add_only"}, source, target, NICKNAMES))
    assert (None if found is None else sorted(found[NICKNAMES])) == expected


def test_add_only_without_a_schema():
    """A target that cannot say that an attribute is multi-valued still shows it by its values."""
    world = world_of({"expression": "[a]", "apply": "add_only"}, "a", ["b"], NICKNAMES)
    world.schema = dict.fromkeys(Kind)
    assert sorted(written(world)[NICKNAMES]) == ["a", "b"]


ADMIN = {"value": "Admin", "type": "WindowsAzureActiveDirectoryRole", "display": "Admin"}
OTHER = {"value": "Other"}


@pytest.mark.parametrize(
    ("function", "source", "target", "expected"),
    [
        ("AppRoleAssignmentsComplex", [{"value": "Admin"}], [ADMIN, OTHER], None),
        ("AppRoleAssignmentsComplex", [{"value": "New"}], [OTHER], ["New", "Other"]),
        ("AppRoleAssignmentsComplex", None, [OTHER], None),
        ("AssertiveAppRoleAssignmentsComplex", [{"value": "Admin"}], [ADMIN, OTHER], ["Admin"]),
        ("AssertiveAppRoleAssignmentsComplex", [{"value": "New"}], [OTHER], ["New"]),
        ("AssertiveAppRoleAssignmentsComplex", None, [OTHER], []),
        ("AssertiveAppRoleAssignmentsComplex", None, None, None),
    ],
)
def test_roles_are_added_or_replaced(function, source, target, expected):
    """Complex adds and never removes; assertive replaces, and takes the last one away too."""
    found = written(world_of(f"{function}([a])", source, target, ROLES))
    roles = None if found is None else sorted(role["value"] for role in found[ROLES] or [])
    assert roles == expected


def test_a_target_that_keeps_elements_in_its_own_way_is_not_written_to_for_ever():
    """It drops what it does not know and adds what it likes; the roles are still the same."""
    world = world_of("AssertiveAppRoleAssignmentsComplex([a])", [{"value": "Admin", "displayName": "A"}], None, ROLES)
    world.apply(world.plan())
    world.accounts[Kind.USER]["t1"][ROLES] = [{"value": "Admin", "$ref": "https://x/1", "primary": False}]
    assert changes(world.plan()) == []
    world.accounts[Kind.USER]["t1"][ROLES] = [{"value": "Reader"}]
    assert [change[0] for change in changes(world.plan())] == ["update"]


# --- references


def test_a_reference_heals():
    """A manager without an account is left out and noted; as soon as there is one, the reference is set."""
    world = world_of({"reference": "[a]", "clear": True}, "boss", None, MANAGER)
    assert changes(world.plan()) == []
    assert "boss" in notes(world.plan())["ann"]
    world.users["boss"] = {"mail": "boss@x"}
    world.apply(world.plan())
    boss = world.links[Kind.USER]["boss"]["target_id"]
    world.apply(world.plan())
    assert world.accounts[Kind.USER]["t1"][MANAGER] == boss
    assert changes(world.plan()) == []


def test_a_reference_that_cannot_be_resolved_is_not_cleared():
    """A manager held for a moment is no reason to take the manager away; null in the source is."""
    world = world_of({"reference": "[a]", "clear": True}, "boss", "t9", MANAGER)
    world.accounts[Kind.USER]["t9"] = {"userName": "boss@x"}
    assert changes(world.plan()) == []
    del world.users["ann"]["a"]
    assert changes(world.plan()) == [("update", "user", "ann", {MANAGER: None})]


def owned_by(source: list[str] | None, target: list[str] | None, **mapping: object) -> World:
    """Ann, whose account refers to the accounts of her owners: Bob (t2), Eve (t3), and Zoe, who has none yet."""
    world = world_of({"reference": "[a]", **mapping}, source, target, OWNERS)
    for number, name in ((2, "bob"), (3, "eve")):
        world.users[name] = {"mail": f"{name}@x"}
        world.accounts[Kind.USER][f"t{number}"] = {"userName": f"{name}@x", "active": True}
        world.link(name, f"t{number}")
    return world


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (["bob", "eve"], None, ["bob", "eve"]),
        (["bob", "eve"], ["t2"], ["bob", "eve"]),
        (["bob"], ["t2", "t3"], ["bob"]),
        (["bob", "eve", "bob"], ["t3", "t2"], None),
        (["bob"], ["t2", "stranger"], ["bob"]),
        (None, ["t2"], None),
    ],
)
def test_several_references_are_compared_without_order(source, target, expected):
    """A list of references is written when it names others than the target holds, and then as a whole."""
    found = written(owned_by(source, target))
    assert (found or {}).get(OWNERS) == expected


def test_a_list_of_references_is_cleared_only_where_the_job_says_so():
    """Null means leave alone; with clear it empties the list."""
    assert written(owned_by(None, ["t2"], clear=True)) == {OWNERS: None}


def test_references_are_added_to_those_that_are_there():
    """Add only: accounts that nobody owns stay in the list, under their own id."""
    world = owned_by(["bob", "eve"], ["t2", "stranger"], apply="add_only")
    written(world)
    assert set(world.accounts[Kind.USER]["t1"][OWNERS]) == {"t2", "t3", "stranger"}


def test_several_references_heal():
    """Whoever has no account is left out of the list and noted; as soon as there is one, the list is complete."""
    world = owned_by(["bob", "zoe"], None)
    assert changes(world.plan()) == [("update", "user", "ann", {OWNERS: ["bob"]})]
    assert (
        notes(world.plan())["ann"] == f"{OWNERS} refers to zoe, who has no account in the target; left out until then."
    )
    world.apply(world.plan())
    assert changes(world.plan()) == []
    world.users["zoe"] = {"mail": "zoe@x"}
    world.apply(world.plan())
    zoe = world.links[Kind.USER]["zoe"]["target_id"]
    assert set(world.accounts[Kind.USER]["t1"][OWNERS]) == {"t2", zoe}
    assert changes(world.plan()) == []


def test_references_that_cannot_be_resolved_take_none_away():
    """Bob is held for a moment: that is no reason to take him out of the list."""
    world = owned_by(["bob", "eve"], ["t2"])
    world.unreadable = [Unreadable(Kind.USER, "bob", "people.csv, line 3", "broken")]
    del world.users["bob"]
    world.apply(world.plan())
    assert set(world.accounts[Kind.USER]["t1"][OWNERS]) == {"t2", "t3"}
    world.users["eve"]["mail"] = None
    assert changes(world.plan()) == []


def test_groups_may_refer_to_users():
    """Any attribute of a group can be a reference to an account."""
    job = make_job(groups={"externalId": {"reference": "[owner]"}})
    world = World(job, users={"ann": {"mail": "ann@x"}}, groups={"g": {"name": "G", "owner": "ann"}})
    world.accounts[Kind.USER]["t1"] = {"userName": "ann@x", "active": True}
    world.accounts[Kind.GROUP]["tg"] = {"displayName": "G", "externalId": "t0"}
    world.apply(world.plan())
    assert world.accounts[Kind.GROUP]["tg"]["externalId"] == "t1"
    assert changes(world.plan()) == []


# --- active or not


def test_disabled_and_enabled_again():
    """``active`` follows the source, and what the plan calls it says so."""
    world = world_of("[a]", "x", "x")
    world.disabled = {"ann"}
    plan = world.plan()
    assert changes(plan) == [("disable", "user", "ann", {"active": False})]
    world.apply(plan)
    assert changes(world.plan()) == []
    world.disabled = set()
    assert changes(world.plan()) == [("enable", "user", "ann", {"active": True})]


def unmapped(**sections: object) -> World:
    """Ann, in a job that does not map ``active``."""
    rules = {"attributes": {"userName": "[mail]"}, **sections.pop("user_rules", {})}
    world = World(make_job(user_rules=rules, **sections), users={"ann": {"mail": "ann@x"}})
    world.accounts[Kind.USER]["t1"] = {"userName": "ann@x", "active": True}
    world.link("ann", "t1")
    return world


def test_a_person_whom_the_source_disables_is_disabled_without_a_mapping_too():
    """And enabled again when they are back, since it was Provisor that disabled them."""
    world = unmapped()
    world.disabled = {"ann"}
    world.apply(world.plan())
    assert world.accounts[Kind.USER]["t1"]["active"] is False
    assert changes(world.plan()) == []
    world.disabled = set()
    assert changes(world.plan()) == [("enable", "user", "ann", {"active": True})]


@pytest.mark.parametrize("linked", [True, False])
def test_an_account_that_others_disabled_stays_so_without_a_mapping(linked):
    """Nobody asked Provisor to switch it on: not at once, not after another change, not when it was adopted."""
    world = unmapped()
    world.accounts[Kind.USER]["t1"] |= {"active": False, "userName": "ANN@x"}
    if not linked:
        world.links[Kind.USER].clear()
    world.apply(world.plan())
    world.users["ann"]["mail"] = "Ann@X"
    world.apply(world.plan())
    assert changes(world.plan()) == []
    assert world.accounts[Kind.USER]["t1"]["active"] is False


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("disable", [("disable", {"active": False})]),
        ("delete", [("delete", None)]),
        ("keep", []),
    ],
)
@pytest.mark.parametrize("mapped", [True, False])
def test_what_becomes_of_people_whom_the_source_disables(policy, expected, mapped):
    """The job decides, whether or not it maps ``active``."""
    sections = {"deprovision": {"disabled": policy}}
    world = world_of("[a]", "x", "x", **sections) if mapped else unmapped(**sections)
    world.disabled = {"ann"}
    assert [(change[0], change[3]) for change in changes(world.plan())] == expected


@pytest.mark.parametrize(
    ("policy", "traits"),
    [("delete", Traits(switch="active", cannot=NO_DELETES)), ("disable", Traits(switch=None))],
)
def test_what_the_target_cannot_do_is_said(policy, traits):
    """The account stays as it is, and the reason is told instead of failing in the night."""
    world = unmapped(deprovision={"disabled": policy})
    world.traits, world.disabled = traits, {"ann"}
    assert changes(world.plan()) == []
    assert f"cannot {policy} accounts" in notes(world.plan())["ann"]


def test_update_can_be_forbidden():
    """No attribute changes and no disables; deletes still are."""
    world = world_of("[a]", "x", "y", user_rules={"actions": {"update": False}})
    world.disabled = {"ann"}
    assert changes(world.plan()) == []
    world.job = make_job(user_rules={"actions": {"update": False}}, deprovision={"disabled": "delete"})
    assert [change[0] for change in changes(world.plan())] == ["delete"]


# --- adoption and drift


def test_an_adopted_account_gets_its_differences():
    """A matched account is linked, changed where it differs, and the reason says how it was found."""
    world = world_of("[a]", "x", "y")
    world.links[Kind.USER].clear()
    plan = world.plan()
    assert changes(plan) == [("update", "user", "ann", {"title": "x"})]
    assert plan.blocks[0].table["reason"].tolist() == ["adopted, matched by userName"]
    world.apply(plan)
    assert world.links[Kind.USER]["ann"]["target_id"] == "t1"
    assert changes(world.plan()) == []


def test_drift_is_put_right_and_named():
    """What others changed in the target is told apart from what changed in the source."""
    world = world_of("[a]", "x", "y")
    world.apply(world.plan())
    world.accounts[Kind.USER]["t1"]["title"] = "z"
    assert world.plan().blocks[0].table["reason"].tolist() == ["changed in the target outside Provisor"]
    world.users["ann"]["a"] = "new"
    assert world.plan().blocks[0].table["reason"].tolist() == ["changed in the source"]


def test_drift_is_only_reported_where_the_job_says_so():
    """What others changed stays, and is named, until the source changes: then the whole entry is put right."""
    world = world_of("[a]", "x", "y", drift="report")
    world.apply(world.plan())
    world.accounts[Kind.USER]["t1"]["title"] = "z"
    plan = world.plan()
    assert changes(plan) == []
    drifted = plan.entries[Kind.USER].drifted
    assert drifted == [Drifted(Kind.USER, "ann", "ann@x", DriftKind.CHANGED, ("title",), corrected=False)]
    world.users["ann"]["a"] = "new"
    world.apply(world.plan())
    assert world.accounts[Kind.USER]["t1"]["title"] == "new"


def test_a_person_who_must_not_have_access_is_switched_off_again_whatever_the_job_says_of_drift():
    """Somebody who enables the account of a person the source disables must not get away with it; the rest stays."""
    world = world_of("[a]", "x", "y", drift="report")
    world.disabled = {"ann"}
    world.apply(world.plan())
    world.apply(world.plan())  # which finds both halves of the change done
    world.accounts[Kind.USER]["t1"] |= {"active": True, "title": "z"}
    plan = world.plan()
    assert changes(plan) == [(Action.DISABLE, Kind.USER, "ann", {"active": False})]
    assert [one.corrected for one in plan.entries[Kind.USER].drifted] == [True]


def test_an_account_that_others_deleted_is_left_alone_where_the_job_says_so():
    """It is held with the reason, and counted as drift; by default it is created again."""
    world = world_of("[a]", "x", "y", vanished="leave")
    world.apply(world.plan())
    del world.accounts[Kind.USER]["t1"]
    plan = world.plan()
    assert changes(plan) == []
    assert [held.code for held in plan.held] == [ErrorCode.INVALID_ANCHOR]
    assert [one.what for one in plan.entries[Kind.USER].drifted] == [DriftKind.DELETED]
    world.job = world.job.model_copy(update={"vanished": Vanished.RECREATE})
    assert [block.action for block in world.plan().blocks] == [Action.CREATE]


def test_time_alone_changes_nothing():
    """A later plan of the same world is empty."""
    world = world_of("[a]", "x", "y")
    world.apply(world.plan())
    world.now += timedelta(days=400)
    plan = world.plan()
    assert changes(plan) == []
    assert plan.entries[Kind.USER].unchanged == 1


def test_unknown_attributes_compare_as_text():
    """Without a schema a boolean in the target is what the mapping calls True."""
    world = world_of("CBool([a])", "true", "True")
    world.schema = dict.fromkeys(Kind)
    assert changes(world.plan(), Action.UPDATE) == []
    world.schema = {**SCHEMA, Kind.USER: {**SCHEMA[Kind.USER], "title": Attribute()}}
    assert changes(world.plan(), Action.UPDATE) == []


def test_a_leaver_is_switched_off_by_a_change_of_its_own():
    """A title or a login that the target may refuse travels in another request than what takes the account away."""
    world = world_of("[a]", "x", "x")
    world.apply(world.plan())
    world.disabled = {"ann"}
    world.users["ann"]["a"] = "new"
    plan = world.plan()
    assert sorted(changes(plan)) == [
        (Action.DISABLE, Kind.USER, "ann", {"active": False}),
        (Action.UPDATE, Kind.USER, "ann", {"title": "new"}),
    ]
    world.apply(plan)
    assert changes(world.plan()) == []


CONTAINER = Attribute(place=Place.CONTAINER, same=Sameness.NAME)


def placed_world(target: str, *, disabled: bool = False) -> World:
    """Ann, whose account lies in a container."""
    world = world_of("[a]", "ou=a,dc=x", target)
    world.schema = {**SCHEMA, Kind.USER: {**SCHEMA[Kind.USER], "title": CONTAINER}}
    if disabled:
        world.accounts[Kind.USER]["t1"]["active"] = False
        world.link("ann", "t1", state="disabled")
    return world


def test_a_container_is_the_same_whatever_its_case():
    """Servers show it as it was spelled when it was made; another container is a move."""
    assert written(placed_world("OU=A,DC=X")) is None
    assert written(placed_world("OU=B,DC=X")) == {"title": "ou=a,dc=x"}


def test_a_returner_goes_where_the_mapping_says():
    """The container is said with the switch, although it is the last known one: leavers may have been moved."""
    found = written(placed_world("ou=a,dc=x", disabled=True))
    assert found == {"active": True, "title": "ou=a,dc=x"}


def test_blanks_that_mean_nothing_are_no_difference():
    """Where the system stores single blanks; another word is a difference."""
    for target, expected in (("a b", None), ("a c", {"title": "a  b"})):
        world = world_of("[a]", "a  b", target)
        world.schema = {**SCHEMA, Kind.USER: {**SCHEMA[Kind.USER], "title": Attribute(same=Sameness.SQUEEZED)}}
        world.accounts[Kind.USER]["t2"] = {"userName": "z"}
        assert written(world) == expected
