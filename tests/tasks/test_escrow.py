"""Entries that failed wait longer and longer, alone, and only for what failed."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.escrow import Failed, Settled, after_load, digests, gap, given_up, withhold
from tasks.job import EscrowRules
from tasks.ledger import Escrow
from tasks.plan import Plan
from tests.tasks.plan.worlds import NOW, World, changes, make_job

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ANN, BOB = (Kind.USER, "ann"), (Kind.USER, "bob")


def world_of_two(**users: str) -> World:
    """Ann and Bob are new."""
    world = World(make_job(users={"title": "[title]", **users}))
    world.users = {name: {"mail": f"{name}@x", "title": "Clerk"} for name in ("ann", "bob")}
    return world


def failed(anchor: str = "ann", *, action: Action = Action.CREATE, kind: Kind = Kind.USER) -> Failed:
    return Failed(kind, anchor, f"{anchor}@x", action, ErrorCode.CONFLICT, "taken")


def settle(world: World, known: list[Escrow], *failures: Failed, now: datetime = NOW, carried_out=True) -> Settled:
    plan = withhold(world.plan(), known, world.job, now=now)
    return after_load(known, failures, plan, world.job, now=now, carried_out=carried_out)


def in_escrow(world: World, anchor: str = "ann", *, wait: timedelta = HOUR, **values: object) -> Escrow:
    """The entry as if what the world wants now had failed, waiting from the world's present."""
    key = (values.pop("kind", Kind.USER), anchor)
    found = digests(world.plan().blocks, {key}, world.job).get(key)
    return replace(
        Escrow(key[0], anchor, NOW - DAY, NOW + wait, 3, "taken", ErrorCode.CONFLICT, f"{anchor}@x", found), **values
    )


def run(world: World, *escrows: Escrow, **options: object) -> Plan:
    return withhold(world.plan(), escrows, world.job, now=NOW, **options)


def anchors(plan: Plan) -> set[tuple[str, str]]:
    return {(str(action), anchor) for action, _, anchor, *_ in changes(plan)}


@pytest.mark.parametrize(
    ("attempts", "minutes"),
    [(1, 0), (2, 40), (3, 80), (4, 160), (5, 320), (6, 640), (7, 1280), (8, 1440), (9, 1440), (5000, 1440)],
)
def test_gaps_double_from_forty_minutes_to_a_day(attempts: int, minutes: int) -> None:
    """The next cycle, then 40 minutes, doubling, never more than a day."""
    assert gap(attempts, EscrowRules()) == minutes * MINUTE


def test_gaps_are_the_job_s() -> None:
    """The job may choose other gaps."""
    rules = EscrowRules(first_gap="10m", longest_gap="15m")
    assert [gap(attempts, rules) / MINUTE for attempts in (1, 2, 3, 4)] == [0, 10, 15, 15]


def test_an_entry_that_always_fails_is_given_up_after_28_days() -> None:
    """Tried every 20 minutes it would be 2,016 times; with back-off it is some dozens, and ends after 28 days."""
    world = world_of_two()
    known: list[Escrow] = []
    tried = []
    for tick in range(30 * 72):
        now = NOW + tick * 20 * MINUTE
        if known and known[0].next_attempt > now:
            continue
        tried.append(now - NOW)
        known = settle(world, known, failed(), now=now).put
    assert tried[:7] == [0 * MINUTE, 20 * MINUTE, 60 * MINUTE, 140 * MINUTE, 300 * MINUTE, 620 * MINUTE, 1260 * MINUTE]
    assert 27 * DAY < tried[-1] <= 28 * DAY
    assert len(tried) == 34
    assert given_up(known[0])
    held = withhold(world.plan(), known, world.job, now=NOW + 365 * DAY).held
    assert [one.anchor for one in held] == ["ann"]
    assert held[0].reason == "Given up after 34 attempts since 2026-03-15, until it changes or is run with --now: taken"


def test_who_waits_is_held_and_nobody_else() -> None:
    """One bad entry never delays another; the sentence says until when, after how often, and why."""
    world = world_of_two()
    plan = run(world, in_escrow(world))
    assert anchors(plan) == {("create", "bob")}
    (held,) = plan.held
    assert (held.kind, held.anchor, held.label, held.code) == (Kind.USER, "ann", "ann@x", ErrorCode.CONFLICT)
    assert held.reason == "Waits until 2026-03-15 13:00 UTC after 3 attempts: taken"


def test_the_plan_that_is_given_is_not_changed() -> None:
    """Withholding makes another plan."""
    world = world_of_two()
    plan = world.plan()
    withhold(plan, [in_escrow(world)], world.job, now=NOW)
    assert anchors(plan) == {("create", "ann"), ("create", "bob")}
    assert plan.held == []


@pytest.mark.parametrize("options", [{"at_once": {"ann"}}, {}])
def test_who_is_due_or_called_runs(options: dict) -> None:
    """The moment of the next attempt ends the wait; so does being asked for."""
    world = world_of_two()
    wait = HOUR if options else timedelta(0)
    plan = run(world, in_escrow(world, wait=wait), **options)
    assert anchors(plan) == {("create", "ann"), ("create", "bob")}
    assert plan.held == []


def test_another_desired_state_ends_the_wait() -> None:
    """What is tried then is not what failed."""
    world = world_of_two()
    escrow = in_escrow(world)
    world.users["ann"]["title"] = "Boss"
    assert ("create", "ann") in anchors(run(world, escrow))


@pytest.mark.parametrize("expression", ["Guid()", "RandomString(12, 3, 0, 1, 3)", "CStr(Now())"])
def test_values_made_up_anew_do_not_end_the_wait(expression: str) -> None:
    """A generated password differs in every cycle; what failed is the same all the same."""
    world = world_of_two(nickName=expression)
    escrow = in_escrow(world)
    world.now = NOW + MINUTE
    assert anchors(run(world, escrow)) == {("create", "bob")}


def leaving() -> World:
    """Ann has left, and her account is still active; Bob stays, with another title."""
    world = world_of_two()
    for name in ("ann", "bob"):
        world.accounts[Kind.USER][f"t{name}"] = {"userName": f"{name}@x", "active": True, "title": "Boss"}
        world.link(name, f"t{name}")
    del world.users["ann"]
    return world


def test_removals_never_wait() -> None:
    """A leaver whose disabling failed is tried in every cycle; an update waits."""
    world = leaving()
    plan = run(world, in_escrow(world, "ann"), in_escrow(world, "bob"))
    assert anchors(plan) == {("disable", "ann")}


def test_a_removal_that_failed_is_due_in_every_cycle() -> None:
    """Also after months: who has left must not keep access because it was difficult once."""
    world = leaving()
    known: list[Escrow] = []
    for day in range(60):
        known = settle(world, known, failed(action=Action.DISABLE), now=NOW + day * DAY).put
        assert known[0].next_attempt == NOW + day * DAY
    assert known[0].attempts == 60


def groups() -> World:
    """A group that exists lacks Bob."""
    world = leaving()
    world.users["ann"] = {"mail": "ann@x", "title": "Boss"}
    world.users["bob"]["title"] = "Boss"
    world.job = make_job(users={"title": "[title]"}, groups={})
    world.groups["staff"] = {"name": "Staff"}
    world.accounts[Kind.GROUP]["tstaff"] = {"displayName": "Staff"}
    world.link("staff", "tstaff", Kind.GROUP)
    world.members = {("staff", "bob")}
    return world


def test_a_group_waits_with_its_members_to_add() -> None:
    """The member is not touched by it, and somebody else who joins ends the wait."""
    world = groups()
    escrow = in_escrow(world, "staff", kind=Kind.GROUP)
    assert escrow.fingerprint is not None
    assert anchors(run(world, escrow)) == set()
    world.members.add(("staff", "ann"))
    assert anchors(run(world, escrow)) == {("add members", "staff")}


def test_members_are_removed_while_the_group_waits() -> None:
    """Losing access does not wait for what could not be added."""
    world = groups()
    world.edges = {("tstaff", "tann")}
    assert anchors(run(world, in_escrow(world, "staff", kind=Kind.GROUP))) == {("remove members", "staff")}


def test_first_failure_is_tried_in_the_next_cycle() -> None:
    """Nothing waits after one failure: most of them are gone by the next cycle."""
    settled = settle(world_of_two(), [], failed())
    (one,) = settled.put
    assert (one.attempts, one.first_failed, one.next_attempt) == (1, NOW, NOW)
    assert (one.message, one.code, one.label) == ("taken", ErrorCode.CONFLICT, "ann@x")
    assert settled.drop == {}


def test_another_failure_of_the_same_waits_longer() -> None:
    """Attempts add up, and the first failure is remembered."""
    world = world_of_two()
    known = [in_escrow(world, wait=timedelta(0))]
    (one,) = settle(world, known, failed()).put
    assert (one.attempts, one.first_failed, one.next_attempt) == (4, NOW - DAY, NOW + 160 * MINUTE)


def test_a_failure_of_something_else_begins_anew() -> None:
    """An entry whose desired state has changed has all of its attempts before it."""
    world = world_of_two()
    known = [in_escrow(world)]
    world.users["ann"]["title"] = "Boss"
    (one,) = settle(world, known, failed()).put
    assert (one.attempts, one.first_failed, one.next_attempt) == (1, NOW, NOW)


def test_who_succeeds_or_is_no_longer_wanted_comes_out() -> None:
    """Done, or gone from the plan: both are settled; who waits stays as it is."""
    world = world_of_two()
    done, waits = in_escrow(world, "ann", wait=timedelta(0)), in_escrow(world, "bob")
    gone = replace(done, anchor="nobody")
    settled = settle(world, [done, waits, gone])
    assert settled.put == []
    assert settled.drop == {Kind.USER: ["ann", "nobody"]}


def test_nobody_comes_out_of_a_cycle_that_was_stopped() -> None:
    """No news is no success."""
    world = world_of_two()
    settled = settle(world, [in_escrow(world, wait=timedelta(0))], failed("bob"), carried_out=False)
    assert settled.drop == {}
    assert [one.anchor for one in settled.put] == ["bob"]


def test_an_incomplete_source_says_of_nobody_that_he_is_no_longer_wanted() -> None:
    """Who was tried and did not fail comes out; who is missing may be back in the next cycle."""
    world = world_of_two()
    world.incomplete = ("torn",)
    done = in_escrow(world, "ann", wait=timedelta(0))
    assert settle(world, [done, replace(done, anchor="nobody")]).drop == {Kind.USER: ["ann"]}


def test_an_entry_that_failed_twice_in_a_cycle_is_one() -> None:
    """Of a removal and something else, the something else decides about the wait."""
    world = groups()
    adding = failed("staff", action=Action.ADD_MEMBERS, kind=Kind.GROUP)
    removing = failed("staff", action=Action.REMOVE_MEMBERS, kind=Kind.GROUP)
    known = [in_escrow(world, "staff", kind=Kind.GROUP, next_attempt=NOW)]
    for failures in ([adding, removing], [removing, adding]):
        (one,) = settle(world, known, *failures).put
        assert one.next_attempt == NOW + 160 * MINUTE
