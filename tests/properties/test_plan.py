"""Rules that hold for every plan of every world.

Worlds are random on purpose and on both sides: people with and without accounts, links that dangle, accounts that
nobody owns, shared names, groups in groups, whoever is disabled, unreadable or held. The short form runs with the other
tests, the long form (1,250 cases each, 10,000 with those of knowledge) with ``PROVISOR_LONG=1``.
"""

import io
import os
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.contract import Action, Kind, Traits, Unreadable
from flows.cycle.preview import Decision
from flows.cycle.sight import Sight
from flows.show.plan_json import write_plan
from tasks.checks import check_plan
from tasks.job import Job, Limit, Limits
from tasks.plan import Cause
from tests.tasks.plan.worlds import MANAGER, NICKNAMES, NO_DELETES, OWNERS, ROLES, World, changes, make_job

LONG = bool(os.environ.get("PROVISOR_LONG"))
CASES = settings(
    max_examples=1_250 if LONG else 12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
OPEN = Limits(
    removals=Limit(count=10_000, fraction=1.0, minimum=10_000),
    members=Limit(count=10_000, fraction=1.0, minimum=10_000),
)

PEOPLE = [f"p{number}" for number in range(7)]
GROUPS = ["g1", "g2", "p1"]
"""The last one has the key of a person, as tables that count from 1 have it."""
MAILS = [f"{person}@x" for person in PEOPLE] + ["P0@X", "shared@x", None]
WORDS = st.sampled_from([None, "a", "A", "b", "none", "skip"])
ROLE = st.sampled_from([{"value": "Admin"}, {"value": "Reader", "displayName": "Reads"}])
REMOVAL = st.sampled_from(["disable", "delete", "keep"])

FAILS_OR_SKIPS = 'IIF([a]="skip", IgnoreObjectFlow, IIF([a]="none", Mid([a], [a], "1"), [a]))'
MAPPINGS = {
    "title": ["[a]", {"expression": "[a]", "clear": True}, {"expression": "[a]", "default": "d", "clear": True},
              {"expression": "[a]", "exact_case": True}, {"default": "d"}, FAILS_OR_SKIPS,
              "IgnoreFlowIfNullOrEmpty([a])", {"expression": "[a]", "apply": "add_only"}],
    NICKNAMES: ["[l]", {"expression": "[l]", "clear": True}, {"expression": "[l]", "apply": "add_only"}, "[a]"],
    ROLES: ["AppRoleAssignmentsComplex([r])", "AssertiveAppRoleAssignmentsComplex([r])", {"expression": "[r]"}],
    "nickName": [{"expression": 'SelectUniqueValue([a], [mail], Join("", [a], "2"))', "apply": "on_create"},
                 {"expression": "[a]", "apply": "on_create"}],
    MANAGER: [{"reference": "[m]"}, {"reference": "[m]", "clear": True}],
    OWNERS: [{"reference": "[o]"}, {"reference": "[o]", "clear": True}, {"reference": "[o]", "apply": "add_only"}],
}  # fmt: skip


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    """A job with some mappings and any policies."""
    paths = draw(st.sets(st.sampled_from(sorted(MAPPINGS))))
    attributes = {path: draw(st.sampled_from(MAPPINGS[path])) for path in sorted(paths)}
    active = draw(st.sampled_from([{"active": "Not([IsSoftDeleted])"}, {}]))
    scope = draw(st.sampled_from([[], [[{"attribute": "a", "operator": "NOT EQUALS", "value": "b"}]]]))
    ways = ("unassigned", "out_of_scope", "disabled", "deleted")
    deprovision = {way: draw(REMOVAL) for way in ways}
    if draw(st.booleans()):
        deprovision["delete_after"] = "1d"
    assignment = draw(
        st.sampled_from([{"mode": "all"}, {"mode": "assigned", "users": PEOPLE[:2], "groups": ["g1"], "nested": True}])
    )
    return make_job(
        groups={} if draw(st.booleans()) else None,
        user_rules={
            "scope": scope,
            "matching": [{"source": "[mail]", "target": "userName"}, {"source": "[n]", "target": "externalId"}],
            "attributes": {"userName": "[mail]", **active, **attributes},
        },
        group_rules={"members": draw(st.sampled_from(["authoritative", "additive"]))},
        deprovision=deprovision,
        assignment=assignment,
        protect=draw(st.sampled_from([[], ["p1@x"], ["t2"]])),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Both sides and the ledger in any state that they could be in."""
    world = World(draw(jobs()))
    for person in draw(st.sets(st.sampled_from(PEOPLE))):
        world.users[person] = {
            "mail": draw(st.sampled_from([f"{person}@x"] * 4 + MAILS)),
            "n": draw(st.sampled_from([None, person, "1"])),
            "a": draw(WORDS),
            "l": draw(st.none() | st.lists(st.sampled_from(["x", "X", "y"]), unique=True)),
            "r": draw(st.none() | st.lists(ROLE, max_size=2, unique_by=lambda role: role["value"])),
            "m": draw(st.sampled_from([None, *PEOPLE])),
            "o": draw(st.none() | st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=3)),
        }
    for group in draw(st.sets(st.sampled_from(GROUPS))):
        world.groups[group] = {"name": draw(st.sampled_from([group, group, "G", None]))}
    world.members = draw(st.sets(st.tuples(st.sampled_from(GROUPS), st.sampled_from([*PEOPLE, *GROUPS])), max_size=12))
    world.disabled = draw(st.sets(st.sampled_from(PEOPLE), max_size=2))
    lost = draw(st.sampled_from([None, *PEOPLE]))
    if lost is not None and lost not in world.users:
        world.unreadable = [Unreadable(Kind.USER, lost, "people.csv, line 1", "The row is cut off.")]
    ids = {Kind.USER: [f"t{number}" for number in range(8)], Kind.GROUP: ["s1", "s2", "t1"]}
    for target_id in draw(st.sets(st.sampled_from(ids[Kind.USER]))):
        world.accounts[Kind.USER][target_id] = drop_nulls(
            userName=draw(st.sampled_from([f"p{target_id[1:]}@x"] * 3 + MAILS)),
            externalId=draw(st.sampled_from([None, *PEOPLE])),
            active=draw(st.sampled_from([True, True, False, None])),
            title=draw(WORDS),
            nickName=draw(WORDS),
        )
        world.accounts[Kind.USER][target_id] |= drop_nulls(
            **{
                NICKNAMES: draw(st.none() | st.lists(st.sampled_from(["x", "X", "z"]), min_size=1, unique=True)),
                ROLES: draw(st.none() | st.lists(ROLE, min_size=1, max_size=2, unique_by=lambda role: role["value"])),
                MANAGER: draw(st.sampled_from([None, *ids[Kind.USER]])),
                OWNERS: draw(
                    st.none() | st.lists(st.sampled_from(ids[Kind.USER]), min_size=1, max_size=3, unique=True)
                ),
            }
        )
    for target_id in draw(st.sets(st.sampled_from(ids[Kind.GROUP]))):
        world.accounts[Kind.GROUP][target_id] = drop_nulls(displayName=draw(st.sampled_from(["g1", "g2", "p1", "x"])))
    holders = sorted({*world.accounts[Kind.USER], *world.accounts[Kind.GROUP]}) or ["none"]
    groups = sorted(world.accounts[Kind.GROUP]) or ["none"]
    world.edges = draw(st.sets(st.tuples(st.sampled_from(groups), st.sampled_from(holders)), max_size=10))
    if not world.accounts[Kind.GROUP]:
        world.edges = set()
    for kind, anchors in ((Kind.USER, PEOPLE), (Kind.GROUP, GROUPS)):
        pairs = draw(st.dictionaries(st.sampled_from(anchors), st.sampled_from(ids[kind]), max_size=5))
        for anchor, target_id in pairs.items():
            if target_id not in {link["target_id"] for link in world.links[kind].values()}:
                long_ago = draw(st.sampled_from(["2026-03-15T11:00:00+00:00", "2020-01-01T00:00:00+00:00"]))
                world.link(
                    anchor, target_id, kind, state=draw(st.sampled_from(["active", "disabled"])), state_since=long_ago
                )
    world.traits = draw(
        st.sampled_from(
            [
                Traits(switch="active"),
                Traits(switch="active", cannot=NO_DELETES),
                Traits(switch="active", members_per_change=1),
            ]
        )
    )
    return world


def drop_nulls(**values: object) -> dict:
    return {key: value for key, value in values.items() if value is not None}


def as_bytes(world: World, random: Random | None) -> bytes:
    """The plan as it is written down for machines, guards included."""
    stream = io.BytesIO()
    checked = check_plan(world.plan(random=random), world.job.limits)
    source, target = world.source(random), world.target(random)
    write_plan(stream, Decision(checked, [], sight=Sight(target, "listed", listing=target), source=source))
    return stream.getvalue()


@CASES
@given(worlds())
def test_applying_a_plan_leaves_nothing_to_do(world):
    """Convergence: what is planned is enough, whatever the world looked like, and an equal world has an empty plan.

    A few cycles are allowed: an account that is renamed in one may be what another entry was held for.
    """
    for _ in range(3):
        plan = world.plan()
        if plan.empty:
            return
        world.apply(plan)
    assert changes(world.plan()) == []


@CASES
@given(worlds(), st.integers(0, 2**32))
def test_shuffled_inputs_give_the_same_plan(world, seed):
    """Byte for byte, whatever the order of entries, columns, edges and links."""
    assert as_bytes(world, Random(seed)) == as_bytes(world, None)


@CASES
@given(worlds())
def test_an_incomplete_source_removes_nobody_for_being_absent(world):
    """Absence is not deletion: only who is there and out, or disabled, may lose anything."""
    world.incomplete = ("One page could not be read.",)
    for block in check_plan(world.plan(), OPEN).blocks:
        if block.action in (Action.DISABLE, Action.DELETE, Action.REMOVE_MEMBERS):
            assert set(block.table["cause"]) <= {Cause.OUT_OF_SCOPE, Cause.DISABLED}
        if block.action is Action.REMOVE_MEMBERS:
            raise AssertionError("a membership that is missing from an incomplete source is taken away")


@CASES
@given(worlds())
def test_only_accounts_that_are_linked_or_matched_are_touched(world):
    """Owned only, and never a person whom the plan holds; groups alike."""
    plan = world.plan()
    owned = {kind: {link["target_id"] for link in world.links[kind].values()} for kind in Kind}
    for kind, entries in plan.entries.items():
        owned[kind] |= set(entries.settled["target_id"])
    silent = {(entry.kind, entry.anchor) for entry in plan.held}
    for block in plan.blocks:
        assert block.table["anchor"].is_unique or block.action in (Action.ADD_MEMBERS, Action.REMOVE_MEMBERS)
        for anchor, target_id in zip(block.table["anchor"], block.table["target_id"], strict=True):
            if isinstance(target_id, str):
                assert target_id in owned[block.kind]
                assert target_id in world.accounts[block.kind]
            assert (block.kind, anchor) not in silent or block.action not in (Action.CREATE, Action.DELETE)


@CASES
@given(worlds())
def test_protected_accounts_are_never_disabled_or_deleted(world):
    """Whatever the source says about them."""
    listed = {name.lower() for name in world.job.protect}
    for block in world.plan().blocks:
        for target_id in block.table["target_id"] if block.action in (Action.DISABLE, Action.DELETE) else ():
            account = world.accounts[block.kind][target_id]
            names = {target_id, str(account.get("userName")), str(account.get("externalId"))}
            assert not {name.lower() for name in names} & listed


@CASES
@given(worlds())
def test_a_person_who_is_disabled_in_the_source_is_not_created(world):
    """Nobody gets an account who must not use it."""
    for block in world.plan().blocks:
        if block.action is Action.CREATE and block.kind is Kind.USER:
            assert not set(block.table["anchor"]) & world.disabled
