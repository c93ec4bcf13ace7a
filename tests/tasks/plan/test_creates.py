"""Who gets an account, with which values; unique values in particular."""

import pytest

from connectors.contract import Action, Attribute, Kind
from connectors.errors import ErrorCode
from tests.tasks.plan.worlds import MANAGER, NICKNAMES, OWNERS, ROLES, SCHEMA, World, changes, held, make_job, notes

UNIQUE = {"expression": 'SelectUniqueValue([nick], Join("", [nick], "1"), Join("", [nick], "2"))', "apply": "on_create"}


def people(**nicks: str | None) -> dict[str, dict]:
    return {anchor: {"mail": f"{anchor}@x", "nick": nick} for anchor, nick in nicks.items()}


def created(world: World) -> dict[str, dict]:
    return {anchor: values for _, _, anchor, values in changes(world.plan(), Action.CREATE)}


def test_nulls_are_never_sent():
    """A create holds what there is and nothing else, also for mappings that clear."""
    world = World(make_job({"title": {"expression": "[job]", "clear": True}}), users={"ann": {"mail": "ann@x"}})
    assert created(world) == {"ann": {"userName": "ann@x", "active": True}}


def test_defaults_stand_in_for_null():
    """On create, and before any other option is looked at."""
    job = make_job(
        {"title": {"expression": "[job]", "default": "Employee", "clear": True}, "nickName": {"default": "?"}}
    )
    world = World(job, users={"ann": {"mail": "ann@x"}, "bob": {"mail": "bob@x", "job": "Chief"}})
    assert created(world)["ann"] == {"userName": "ann@x", "active": True, "title": "Employee", "nickName": "?"}
    assert created(world)["bob"]["title"] == "Chief"


def test_a_person_who_is_disabled_in_the_source_gets_no_account():
    """A person who was switched off before being provisioned is not created."""
    world = World(make_job(), users={"ann": {"mail": "ann@x"}, "bob": {"mail": "bob@x"}}, disabled={"bob"})
    assert list(created(world)) == ["ann"]


def test_create_can_be_forbidden():
    """Existing accounts are still updated, no new ones made."""
    world = World(
        make_job({"title": "[job]"}, user_rules={"actions": {"create": False}}),
        users={"ann": {"mail": "ann@x", "job": "a"}, "bob": {"mail": "bob@x", "job": "b"}},
        accounts={Kind.USER: {"t1": {"userName": "bob@x", "active": True}}, Kind.GROUP: {}},
    )
    assert changes(world.plan()) == [("update", "user", "bob", {"title": "b"})]


def test_a_vanished_account_is_created_again():
    """Somebody deleted it in the target; the reason says so."""
    world = World(make_job(), users={"ann": {"mail": "ann@x"}})
    world.link("ann", "t1")
    plan = world.plan()
    assert [change[:3] for change in changes(plan)] == [("create", "user", "ann")]
    assert plan.blocks[0].table["reason"].tolist() == ["its account was deleted in the target outside Provisor"]


def test_a_person_who_cannot_be_recognised_is_not_created():
    """An account without any matching value could never be found again: every lost link would make another one."""
    world = World(make_job({"title": "[job]"}), users={"ann": {"job": "a"}, "bob": {"mail": "bob@x"}})
    plan = world.plan()
    assert [change[2] for change in changes(plan)] == ["bob"]
    assert [(entry.anchor, entry.code) for entry in plan.held] == [("ann", ErrorCode.IMPORT_SKIPPED)]
    assert "userName" in held(plan)["ann"]


def test_an_account_without_any_attribute_is_not_created():
    """The target would be asked for an empty entry."""
    matching = [{"source": "[number]", "target": "externalId"}]
    world = World(
        make_job(user_rules={"matching": matching, "attributes": {"userName": "[mail]"}}), users={"a": {"number": "1"}}
    )
    assert changes(world.plan()) == []
    assert "has a value" in held(world.plan())["a"]


def test_order_is_that_of_the_anchors():
    """Whatever order the source has."""
    assert list(created(World(make_job(), users=people(c="x", a="x", b="x")))) == ["a", "b", "c"]


# --- unique values


def test_two_joiners_never_get_one_value():
    """The first in order of anchors gets it, the others go on to their next rules; case does not make it another."""
    world = World(make_job({"nickName": UNIQUE}), users=people(c="Ann", a="ann", b="ANN"))
    assert {anchor: values["nickName"] for anchor, values in created(world).items()} == {
        "a": "ann",
        "b": "ANN1",
        "c": "Ann2",
    }


def test_a_value_in_the_target_is_taken():
    """Also of accounts that nobody of the source owns, and in another case."""
    world = World(make_job({"nickName": UNIQUE}), users=people(a="ann"))
    world.accounts[Kind.USER] = {"t1": {"userName": "zoe@x", "nickName": "ANN"}}
    assert created(world)["a"]["nickName"] == "ann1"


def test_first_choices_come_before_second_ones():
    """Nobody's second choice takes somebody's first."""
    world = World(make_job({"nickName": UNIQUE}), users=people(a="ann", b="ann", c="ann1"))
    assert {anchor: values["nickName"] for anchor, values in created(world).items()} == {
        "a": "ann",
        "b": "ann2",
        "c": "ann1",
    }


def test_case_makes_another_value_where_the_path_is_exact():
    """As the job or the target's schema says."""
    world = World(make_job({"nickName": UNIQUE | {"exact_case": True}}), users=people(a="ann", b="Ann"))
    assert [values["nickName"] for values in created(world).values()] == ["ann", "Ann"]


def test_a_person_who_finds_no_free_value_is_held():
    """With the reason, while the others are created; nothing is guessed."""
    unique = {"expression": "SelectUniqueValue([nick], ToUpper([other]))", "apply": "on_create"}
    plan = World(make_job({"nickName": unique}), users=people(a="x", b="x", c=None)).plan()
    assert [change[2] for change in changes(plan)] == ["a"]
    assert "no rule of SelectUniqueValue gives a value" in held(plan)["c"]
    assert "every value that SelectUniqueValue offers is taken" in held(plan)["b"]
    assert [entry.code for entry in plan.held] == [ErrorCode.CONFLICT, ErrorCode.MISSING_VALUES]


def test_a_rule_that_fails_is_passed_over():
    """Its sentence is told only where no other rule has a free value."""
    unique = {"expression": 'SelectUniqueValue(Mid([nick], [n], "3"), [other])', "apply": "on_create"}
    users = {
        "a": {"mail": "a@x", "nick": "ann", "n": "one", "other": "free"},
        "b": {"mail": "b@x", "nick": "bob", "n": "one"},
        "c": {"mail": "c@x", "nick": "cleo", "n": "1", "other": "z"},
    }
    plan = World(make_job({"nickName": unique}), users=users).plan()
    assert {anchor: values["nickName"] for _, _, anchor, values in changes(plan)} == {"a": "free", "c": "cle"}
    assert [(entry.anchor, entry.code) for entry in plan.held] == [("b", ErrorCode.EXPRESSION_FAILED)]
    assert "nickName: " in held(plan)["b"]


def test_a_value_is_chosen_once():
    """Whoever has an account keeps the value, is not held for want of a free one, and never has it cleared."""
    world = World(make_job({"nickName": UNIQUE | {"clear": True}}), users=people(a="x", b="x", c="x"))
    world.apply(world.plan())
    world.users["a"]["nick"] = "y"
    world.users["d"] = {"mail": "d@x", "nick": "x"}
    plan = world.plan()
    assert changes(plan) == []
    assert held(plan).keys() == {"d"}


def test_unique_values_of_several_attributes():
    """Each attribute has values of its own; lists stay lists."""
    world = World(make_job({"nickName": UNIQUE, "externalId": UNIQUE, NICKNAMES: UNIQUE}), users=people(a="x", b="x"))
    world.accounts[Kind.USER] = {"t1": {"userName": "z", NICKNAMES: ["q", "x"], "externalId": "X"}}
    assert created(world)["a"] == {
        "userName": "a@x",
        "active": True,
        "nickName": "x",
        "externalId": "x",
        NICKNAMES: ["x1"],
    }
    assert created(world)["b"]["externalId"] == "x1"


# --- references and roles


def test_managers_exist_before_their_people():
    """References follow in levels; a circle is closed when everybody exists."""
    users = {
        "a": {"mail": "a@x", "boss": "b"},
        "b": {"mail": "b@x", "boss": "c"},
        "c": {"mail": "c@x", "boss": "b"},
        "d": {"mail": "d@x", "boss": "nobody"},
    }
    world = World(make_job({MANAGER: {"reference": "[boss]"}}), users=users)
    plan = world.plan()
    assert [change[:3] for change in changes(plan)] == [
        ("create", "user", "b"),
        ("create", "user", "d"),
        ("create", "user", "a"),
        ("create", "user", "c"),
        ("update", "user", "b"),
    ]
    assert "nobody" in notes(plan)["d"]
    world.apply(plan)
    managers = {entry["userName"]: entry.get(MANAGER) for entry in world.accounts[Kind.USER].values()}
    by_name = {entry["userName"]: target_id for target_id, entry in world.accounts[Kind.USER].items()}
    assert managers == {"a@x": by_name["b@x"], "b@x": by_name["c@x"], "c@x": by_name["b@x"], "d@x": None}
    assert changes(world.plan()) == []


def test_lists_of_references_follow_when_everybody_exists():
    """Who refers to joiners gets the whole list afterwards; who refers to people that are there gets it at once."""
    job = make_job({OWNERS: {"reference": "[owners]"}, MANAGER: {"reference": "[boss]"}})
    users = {
        "a": {"mail": "a@x", "owners": ["b", "c", "nobody"], "boss": "b"},
        "b": {"mail": "b@x", "owners": ["a", "b"]},
        "c": {"mail": "c@x", "owners": ["z"]},
        "z": {"mail": "z@x"},
    }
    world = World(job, users=users)
    world.accounts[Kind.USER]["tz"] = {"userName": "z@x", "active": True}
    world.link("z", "tz")
    plan = world.plan()
    assert [(change[0], change[2]) for change in changes(plan)] == [
        ("create", "b"),
        ("create", "c"),
        ("create", "a"),
        ("update", "a"),
        ("update", "b"),
    ]
    assert notes(plan)["a"] == f"{OWNERS} refers to nobody, who has no account in the target; left out until then."
    world.apply(plan)
    ids = {anchor: link["target_id"] for anchor, link in world.links[Kind.USER].items()}
    accounts = world.accounts[Kind.USER]
    assert accounts[ids["a"]][MANAGER] == ids["b"]
    found = {anchor: set(accounts[ids[anchor]].get(OWNERS, ())) for anchor in "abc"}
    assert found == {"a": {ids["b"], ids["c"]}, "b": {ids["a"], ids["b"]}, "c": {"tz"}}
    assert changes(world.plan()) == []


@pytest.mark.parametrize("mode", ["AppRoleAssignmentsComplex", "AssertiveAppRoleAssignmentsComplex"])
def test_roles_are_written_whole(mode):
    """A joiner gets every role, as complex values."""
    users = {"a": {"mail": "a@x", "r": [{"value": "Admin"}, {"value": "Reader"}]}, "b": {"mail": "b@x"}}
    world = World(make_job({ROLES: f"{mode}([r])"}), users=users)
    found = created(world)
    assert [role["value"] for role in found["a"][ROLES]] == ["Admin", "Reader"]
    assert not found["b"].get(ROLES)


def test_the_single_role_goes_to_the_primary():
    """``roles[primary eq "True"].value`` takes the role's name."""
    world = World(
        make_job({'roles[primary eq "True"].value': "SingleAppRoleAssignment([r])"}),
        users={"a": {"mail": "a@x", "r": [{"value": "Admin"}]}},
    )
    assert created(world)["a"]['roles[primary eq "True"].value'] == "Admin"


def test_a_value_of_creates_alone_that_does_not_fit_holds_the_create():
    """It is told before anything is sent; somebody else's is made."""
    world = World(make_job({"nickName": {"expression": "[nick]", "apply": "on_create"}}), users=people(a="x", b="xxxx"))
    world.schema = {**SCHEMA, Kind.USER: {**SCHEMA[Kind.USER], "nickName": Attribute(longest=3)}}
    assert list(created(world)) == ["a"]
    (one,) = world.plan().held
    assert (one.anchor, one.code) == ("b", ErrorCode.UNPROCESSABLE_ENTITY)
    assert "takes 3 at most" in one.reason


def test_a_unique_value_that_does_not_fit_is_passed_over():
    """The next rule's is taken."""
    rule = 'SelectUniqueValue([nick], "n")'
    world = World(make_job({"nickName": rule}), users=people(a="xxxx"))
    world.schema = {**SCHEMA, Kind.USER: {**SCHEMA[Kind.USER], "nickName": Attribute(longest=3)}}
    assert created(world)["a"]["nickName"] == "n"
