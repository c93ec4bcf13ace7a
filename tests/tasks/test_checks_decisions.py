"""What people have decided: approved changes run, rejected ones are left alone, and the rest is judged anew."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from connectors.contract import Action, Change, Kind, Outcome, Status, Unreadable
from tasks.checks import Checked, History, check_plan, keep_books
from tasks.job import Limits
from tasks.ledger import CycleKind, Ledger, LogAction, Staged, StagedState
from tasks.load import BatchSizes, load_batch, waves
from tests.tasks.plan.worlds import NOW, World
from tests.tasks.test_checks_limits import add_group, company, count, guards, leave

LIMITS = Limits.model_validate({"removals": {"count": 3, "fraction": 1.0}, "members": {"count": 3, "fraction": 1.0}})
APPROVED, REJECTED, STAGED = StagedState.APPROVED, StagedState.REJECTED, StagedState.STAGED


def judged(world: World, *staged: Staged, limits: Limits = LIMITS, **history: object) -> Checked:
    return check_plan(world.plan(), limits, History(staged=staged, **history))


def decided(items: list[Staged], state: StagedState, **more: object) -> list[Staged]:
    told = {"state": state, "who": "eve", "why": "they are on leave", "decided_at": NOW, "cycle_id": 1}
    return [replace(item, **told | more) for item in items]


def leavers(people: int = 50, leaving: int = 4) -> World:
    world = company(people)
    leave(world, leaving)
    return world


def held(checked: Checked) -> dict[str, str]:
    return {entry.anchor: entry.reason for entry in checked.plan.held}


def test_what_is_approved_runs_and_does_not_count() -> None:
    """Exactly the four that were approved go; three more are within the limit, and a fourth one would not be."""
    world = leavers()
    approved = decided(judged(world).waiting, APPROVED)
    leave(world, 3)
    checked = judged(world, *approved)
    assert count(checked.blocks, Action.DISABLE) == 7
    assert not checked.waiting
    assert [item.anchor for item in checked.approved] == [item.anchor for item in approved]
    reasons = [reason for block in checked.blocks for reason in block.table["reason"]]
    assert sum("approved by eve on 2026-03-15: they are on leave" in reason for reason in reasons) == 4

    leave(world, 1)
    checked = judged(world, *approved)
    assert count(checked.blocks, Action.DISABLE) == 4
    assert len(checked.waiting) == 4


def test_a_removal_says_itself_how_much_a_budget_counts_of_it() -> None:
    """One account, or so many members; nothing where somebody approved it, or where members go with their account."""
    world = company(50)
    add_group(world, "g", [f"p{number:03}" for number in range(20)])
    leave(world, 4)
    approved = decided(judged(world).waiting, APPROVED)
    leave(world, 1)
    world.members -= {("g", "p010"), ("g", "p011")}
    counted = {}
    for block in judged(world, *approved).blocks:
        for at in range(len(block)):
            row = block.table.iloc[at]
            who = tuple(row["members"]) if block.action is Action.REMOVE_MEMBERS else row["anchor"]
            counted[str(block.action), who] = row.get("counted")
    assert counted == {
        ("disable", "p000"): 0,
        ("disable", "p001"): 0,
        ("disable", "p002"): 0,
        ("disable", "p003"): 0,
        ("disable", "p004"): 1,
        ("remove members", ("p000", "p001", "p002", "p003")): 0,
        ("remove members", ("p004",)): 0,
        ("remove members", ("p010", "p011")): None,  # nothing is said: each of them counts
    }


def test_what_is_rejected_is_left_out_of_the_plan() -> None:
    """As a held entry that says who, when and why; the others are judged without it."""
    world = leavers()
    [first, *others] = judged(world).waiting
    checked = judged(world, *decided([first], REJECTED))
    assert held(checked) == {first.anchor: "disable rejected by eve on 2026-03-15: they are on leave"}
    assert count(checked.plan.blocks, Action.DISABLE) == count(checked.blocks, Action.DISABLE) == len(others)
    assert not checked.waiting
    assert not checked.verdicts


@pytest.mark.parametrize("state", [APPROVED, REJECTED])
def test_a_decision_runs_out(state: StagedState) -> None:
    """From then on the guards judge as if nothing had been said."""
    world = leavers()
    waiting = judged(world).waiting
    valid = judged(world, *decided(waiting, state, until=NOW + timedelta(seconds=1)))
    assert not valid.waiting
    over = judged(world, *decided(waiting, state, until=NOW))
    assert [item.key for item in over.waiting] == [item.key for item in waiting]
    assert not held(over)


def test_an_incomplete_source_holds_what_was_approved() -> None:
    """Approval does not make a listing without its end prove anything; it stays approved for the next complete one."""
    world = leavers()
    approved = decided(judged(world).waiting, APPROVED)
    world.incomplete = ("One page could not be read.",)
    checked = judged(world, *approved)
    assert guards(checked) == ["complete source"]
    assert count(checked.blocks, Action.DISABLE) == 0
    assert not checked.waiting
    assert checked.suspended == {item.matter for item in approved}
    assert keep_books(checked, approved, cycle_id=2).drop == []


@pytest.mark.parametrize("state", [APPROVED, REJECTED])
def test_a_decided_absence_is_no_shrinking(state: StagedState) -> None:
    """One big legitimate change needs nothing but a decision: later leavers are not held for it."""
    world = leavers(100, 40)
    limits = Limits.model_validate({"removals": {"count": None, "fraction": 1.0}})
    first = judged(world, limits=limits, source_counts=[100])
    assert guards(first) == ["source"]
    leave(world, 2)
    later = judged(world, *decided(first.waiting, state), limits=limits, source_counts=[100])
    assert guards(later) == []
    assert not later.doubtful


def group_of(people: int, losing: int) -> World:
    world = company(50)
    add_group(world, "g", [f"p{number:03}" for number in range(people)])
    lose(world, losing)
    return world


def lose(world: World, losing: int) -> None:
    for edge in sorted(world.members)[:losing]:
        world.members.discard(edge)


def removed(blocks: list) -> list[str]:
    return sorted(
        id_
        for block in blocks
        if block.action is Action.REMOVE_MEMBERS
        for ids in block.table["member_ids"]
        for id_ in ids
    )


def test_exactly_the_approved_members_go() -> None:
    """Members that are to be removed since are judged anew, in the same group and the same request."""
    world = group_of(30, 5)
    [item] = judged(world).waiting
    assert item.members == tuple(f"tp{number:03}" for number in range(5))
    lose(world, 4)
    checked = judged(world, *decided([item], APPROVED))
    assert removed(checked.blocks) == [f"tp{number:03}" for number in range(5)]
    [later] = checked.waiting
    assert later.members == tuple(f"tp{number:03}" for number in range(5, 9))
    books = keep_books(checked, decided([item], APPROVED), cycle_id=2)
    assert books.put == books.announced == [replace(later, cycle_id=2)]
    assert not books.drop


@pytest.mark.parametrize("state", [APPROVED, REJECTED])
def test_what_is_decided_while_a_cycle_runs_is_not_overwritten(state: StagedState) -> None:
    """The cycle knows a decision about some members; by now it stands for more of them. The next cycle looks at it."""
    world = group_of(30, 5)
    [first] = decided(judged(world).waiting, state)
    lose(world, 4)
    checked = judged(world, first)
    [rest] = checked.waiting
    both = replace(first, members=(*first.members, *rest.members), decided_at=NOW + timedelta(minutes=1))
    books = keep_books(checked, [both], cycle_id=2)
    assert (books.put, books.drop, books.announced, books.lapsed) == ([], [], [], [])


def test_a_held_change_names_the_cycle_that_brought_it_about() -> None:
    """As long as the same waits, the first one; where more waits, other values, or a decision has run out, this one."""
    world = group_of(30, 5)
    checked = judged(world)
    [item] = checked.waiting
    for old, cycle_id in (
        (replace(item, cycle_id=1), 1),
        (replace(item, cycle_id=1, guard="Another sentence."), 1),
        (replace(item, cycle_id=1, members=item.members[1:]), 2),
        (replace(item, cycle_id=1, target_id="another"), 2),
        (replace(item, cycle_id=1, cause="another"), 2),
        (replace(item, cycle_id=1, state=REJECTED, until=NOW - timedelta(days=1), decided_at=NOW), 2),
    ):
        [kept] = keep_books(checked, [old], cycle_id=2).put or [old]
        assert kept.cycle_id == cycle_id, old


def test_rejected_members_stay_and_others_go() -> None:
    """A group may have members of every state."""
    world = group_of(30, 5)
    [item] = judged(world).waiting
    lose(world, 2)
    checked = judged(world, *decided([item], REJECTED))
    assert removed(checked.blocks) == ["tp005", "tp006"]
    assert "removal of 5 members rejected by eve" in held(checked)["g"]


@pytest.mark.parametrize(("state", "gone"), [(APPROVED, ["tp000", "tp001", "tp002", "tp003"]), (REJECTED, [])])
def test_memberships_follow_the_decision_about_their_members(state: StagedState, gone: list[str]) -> None:
    """Nobody has to decide a second time about the groups of somebody who goes or stays."""
    world = company(50)
    add_group(world, "g", [f"p{number:03}" for number in range(30)])
    leave(world, 4)
    waiting = judged(world).waiting
    assert {item.action for item in waiting} == {Action.DISABLE}
    checked = judged(world, *decided(waiting, state))
    assert removed(checked.blocks) == gone
    assert not checked.staged


@pytest.mark.parametrize("state", [APPROVED, REJECTED])
def test_a_decision_about_members_is_about_one_cause(state: StagedState) -> None:
    """Who was to leave a group only, and leaves altogether by now, is asked about with the account."""
    world = group_of(30, 5)
    items = decided(judged(world).waiting, state)
    assert [item.cause for item in items] == ["no longer a member in the source"]
    leave(world, 5)
    checked = judged(world, *items)
    assert removed(checked.blocks) == []
    assert {(item.action, item.cause) for item in checked.waiting} == {(Action.DISABLE, "gone from the source")}
    assert keep_books(checked, items, cycle_id=2).drop == items


def test_members_who_go_for_two_causes_wait_apart() -> None:
    """Some of its members stay in the source, some are gone and were disabled long ago: each keeps its own cause."""
    world = company(50)
    add_group(world, "g", [f"p{number:03}" for number in range(30)])
    leave(world, 3)
    for number in range(3):
        world.accounts[Kind.USER][f"tp{number:03}"]["active"] = False
        world.link(f"p{number:03}", f"tp{number:03}", state="disabled")
    world.members -= {("g", "p010"), ("g", "p011")}
    items = judged(world).waiting
    assert [(len(item.members), item.cause) for item in items] == [
        (3, "the member is leaving"),
        (2, "no longer a member in the source"),
    ]
    assert len({item.place for item in items}) == 2
    checked = judged(world, *decided(items, APPROVED))
    assert len(removed(checked.blocks)) == 5
    assert not checked.waiting
    checked = judged(world, *decided(items[1:], APPROVED), *items[:1])
    assert removed(checked.blocks) == ["tp010", "tp011"]
    assert [item.members for item in checked.waiting] == [items[0].members]


def test_the_log_says_of_each_member_why_and_by_whom(tmp_path: Path) -> None:
    """Members of one group who go for different reasons go in different requests, each with its own reason."""
    world = company(50)
    add_group(world, "g", [f"p{number:03}" for number in range(30)])
    leave(world, 4)
    [*gone] = decided(judged(world).waiting, APPROVED)
    others = sorted(edge for edge in world.members if edge[1] > "p009")
    world.members -= set(others[:5])
    waiting = [one for one in judged(world, *gone).waiting if one.action is Action.REMOVE_MEMBERS]
    [item] = decided(waiting, APPROVED, who="adam")
    world.members -= {others[5]}
    leave(world, 1)
    reasons = {}
    with Ledger.open(None, tmp_path) as ledger:
        cycle = ledger.begin_cycle("test", CycleKind.INITIAL, fingerprint="f", now=NOW)
        checked = judged(world, *gone, item)
        for wave in waves(checked.blocks, BatchSizes(10)):
            for batch in wave:
                load_batch(batch, Obedient(), ledger, cycle, clock=lambda: NOW)  # type: ignore[arg-type]
        for line in ledger.log("test", action=LogAction.REMOVE_MEMBERS).itertuples():
            [members] = line.modified
            reasons[tuple(members["old"])] = line.reason
    assert reasons == {
        ("tp000", "tp001", "tp002", "tp003"): "the member is leaving; approved by eve on 2026-03-15: they are on leave",
        ("tp004",): "the member is leaving",
        ("tp010", "tp011", "tp012", "tp013", "tp014"): (
            "no longer a member in the source; approved by adam on 2026-03-15: they are on leave"
        ),
        ("tp015",): "no longer a member in the source",
    }


class Obedient:
    """A target that does whatever it is told."""

    def apply(self, changes: Sequence[Change], done: Callable[[Outcome], None]) -> None:
        for change in changes:
            done(Outcome(change.id, Status.DONE, target_id=change.target_id))


def test_an_approved_clear_is_about_that_attribute() -> None:
    """Another attribute that loses its values is judged on its own."""
    world = company(100)
    for name in list(world.users)[:20]:
        world.users[name]["title"] = None
    waiting = judged(world).waiting
    for name in list(world.users)[:20]:
        world.users[name]["nick"] = None
    checked = judged(world, *decided(waiting, APPROVED))
    assert [verdict.subject for verdict in checked.verdicts] == ["nickName"]
    assert {item.attributes for item in checked.waiting} == {("nickName",)}
    [block] = [block for block in checked.blocks if block.action is Action.UPDATE]
    assert block.touched["title"].all()
    assert not block.touched["nickName"].any()


def test_an_approved_attribute_is_not_held_again_with_the_rest_of_its_update() -> None:
    """A guard that holds whole updates holds of them what nobody has approved."""
    world = company(100)
    cleared = list(world.users)[:20]
    for name in cleared:
        world.users[name]["title"] = None
    approved = decided(judged(world, limits=Limits()).waiting, APPROVED)
    assert {item.attributes for item in approved} == {("title",)}
    for name in world.users:
        world.users[name]["nick"] = "Zed"
    checked = judged(world, *approved, limits=Limits(), settled=True)
    assert guards(checked) == ["updates"]
    running = {
        (anchor, path)
        for block in checked.blocks
        for row, anchor in enumerate(block.table["anchor"])
        for path in block.touched.columns[block.touched.iloc[row].to_numpy(dtype=bool)]
    }
    assert running == {(name, "title") for name in cleared}


def test_a_rejected_clear_leaves_the_rest_of_the_update() -> None:
    """What else changes about these people goes on."""
    world = company(100)
    for name in list(world.users)[:20]:
        world.users[name] |= {"title": None, "nick": "Zed"}
    checked = judged(world, *decided(judged(world).waiting, REJECTED))
    assert not checked.waiting
    [block] = checked.blocks
    assert len(block) == 20
    assert block.withheld == {"title"}
    assert block.touched["nickName"].all()
    assert not block.touched["title"].any()
    assert set(held(checked).values()) == {"change of title rejected by eve on 2026-03-15: they are on leave"}


# --- what the ledger remembers -------------------------------------------------------------------------------------


def test_what_waits_is_announced_once_and_keeps_its_beginning() -> None:
    """A second cycle that wants the same writes nothing; one that wants more announces only that."""
    world = leavers()
    first = keep_books(judged(world), [], cycle_id=1)
    assert first.put == first.announced
    assert len(first.put) == 4
    world.now += timedelta(hours=1)
    second = keep_books(judged(world, *first.put), first.put, cycle_id=2)
    assert (second.put, second.drop, second.announced, second.lapsed) == ([], [], [], [])
    leave(world, 1)
    third = keep_books(judged(world, *first.put), first.put, cycle_id=3)
    assert [item.anchor for item in third.announced] == ["p004"]
    assert {item.since for item in third.put} == {NOW, NOW + timedelta(hours=1)}


@pytest.mark.parametrize("state", [STAGED, APPROVED, REJECTED])
def test_what_the_plan_no_longer_wants_lapses(state: StagedState) -> None:
    """Whatever was decided about it."""
    items = decided(judged(leavers()).waiting, state)
    books = keep_books(judged(company(50), *items), items, cycle_id=2)
    assert books.drop == books.lapsed == items


def test_what_waits_goes_on_waiting_when_it_would_fit_the_limits() -> None:
    """Nobody has decided about it; only what is no longer wanted lapses."""
    items = judged(leavers()).waiting
    checked = judged(leavers(50, 3), *items)
    assert guards(checked) == ["undecided"]
    assert not checked.blocks
    books = keep_books(checked, items, cycle_id=2)
    assert [item.anchor for item in books.drop] == [item.anchor for item in books.lapsed] == ["p003"]
    assert not books.announced


@pytest.mark.parametrize("state", [STAGED, APPROVED, REJECTED])
def test_what_is_known_outlives_a_cycle_that_cannot_read_the_entry(state: StagedState) -> None:
    """Else one bad row would let a removal through that somebody has rejected, or has not decided about."""
    world = leavers()
    items = decided(judged(world).waiting, state)
    world.unreadable = [Unreadable(Kind.USER, "p000", "line 3", "The row is torn.")]
    books = keep_books(judged(world, *items), items, cycle_id=2)
    assert books.drop == []


def test_what_is_decided_while_a_cycle_runs_stays_decided() -> None:
    """The cycle has judged without it; it must not ask again."""
    checked = judged(leavers())
    approved = decided(checked.waiting[:1], APPROVED)
    books = keep_books(checked, approved, cycle_id=2)
    assert approved[0].anchor not in {item.anchor for item in books.put}
    assert len(books.put) == 3
    assert not books.drop


def test_an_expired_decision_waits_again_since_it_first_did() -> None:
    """The old row goes, the new one has no decision."""
    world = leavers()
    items = decided(judged(world).waiting, REJECTED, until=NOW + timedelta(hours=1), since=NOW - timedelta(days=1))
    world.now += timedelta(hours=2)
    books = keep_books(judged(world, *items), items, cycle_id=2)
    assert books.drop == items
    assert {(item.state, item.since, item.who) for item in books.put} == {(STAGED, NOW - timedelta(days=1), None)}
    assert not books.lapsed


def test_decisions_leave_a_plan_without_them_as_it_was() -> None:
    """The very same blocks, in the same order."""
    world = leavers(50, 2)
    plan = world.plan()
    stranger = Staged(Kind.USER, Action.DISABLE, "nobody", NOW, 1, "too many", state=APPROVED)
    checked = check_plan(plan, LIMITS, History(staged=[stranger]))
    assert all(one is other for one, other in zip(checked.blocks, plan.blocks, strict=True))
    assert checked.plan is plan


# --- what was approved, and nothing else ---------------------------------------------------------------------------


def retitled(title: str, *, redact: bool = False) -> World:
    """A hundred people with another title in the source."""
    world = company(100)
    if redact:
        mapping = world.job.users.attributes["title"].model_copy(update={"redact": True})
        attributes = world.job.users.attributes | {"title": mapping}
        world.job = world.job.model_copy(
            update={"users": world.job.users.model_copy(update={"attributes": attributes})}
        )
    for entry in world.users.values():
        entry["title"] = title
    return world


def written(checked: Checked) -> int:
    return sum(int(block.touched["title"].sum()) for block in checked.blocks if block.touched is not None)


@pytest.mark.parametrize("redact", [False, True])
def test_an_approved_value_is_written_and_no_other(redact: bool) -> None:
    """Approve "Senior Clerk", and "GARBAGE" in the source by the next cycle waits anew."""
    key = {"secret": b"k" * 32}
    approved = decided(judged(retitled("Senior Clerk", redact=redact), **key).waiting, APPROVED)
    assert len(approved) == 100
    checked = judged(retitled("Senior Clerk", redact=redact), *approved, **key)
    assert (written(checked), checked.waiting) == (100, [])
    checked = judged(retitled("GARBAGE", redact=redact), *approved, **key)
    assert written(checked) == 0
    books = keep_books(checked, approved, cycle_id=2)
    assert {item.state for item in books.put} == {STAGED}
    assert len(books.announced) == 100
    assert books.drop == approved


def test_digests_of_redacted_values_need_their_key() -> None:
    """Without it they equal nothing, and never a plain digest of the value."""
    plain = judged(retitled("Senior Clerk"), secret=b"k" * 32).waiting[0].digests
    hidden = judged(retitled("Senior Clerk", redact=True), secret=b"k" * 32).waiting
    assert hidden[0].digests != plain
    checked = judged(retitled("Senior Clerk", redact=True), *decided(hidden, APPROVED), secret=b"other" * 8)
    assert written(checked) == 0
    lost = judged(retitled("Senior Clerk", redact=True)).waiting
    assert written(judged(retitled("Senior Clerk", redact=True), *decided(lost, APPROVED))) == 0


@pytest.mark.parametrize("state", [APPROVED, REJECTED])
def test_a_decision_is_about_one_account(state: StagedState) -> None:
    """An entry that is linked to another account by now is judged anew."""
    world = leavers()
    items = decided(judged(world).waiting, state)
    for name in ("p000", "p001", "p002", "p003"):
        world.accounts[Kind.USER][f"other{name}"] = world.accounts[Kind.USER].pop(f"t{name}")
        world.link(name, f"other{name}")
    checked = judged(world, *items)
    assert count(checked.blocks, Action.DISABLE) == 0
    assert {item.target_id for item in checked.waiting} == {f"otherp00{number}" for number in range(4)}
    assert keep_books(checked, items, cycle_id=2).drop == items


@pytest.mark.parametrize("state", [APPROVED, REJECTED])
def test_a_decision_is_about_one_cause(state: StagedState) -> None:
    """People who were gone, and are back as terminated, are asked about again."""
    world = leavers()
    items = decided(judged(world).waiting, state)
    for name in ("p000", "p001", "p002", "p003"):
        world.users[name] = {"mail": f"{name}@x", "title": "Clerk", "nick": name}
        world.disabled.add(name)
    checked = judged(world, *items)
    assert count(checked.blocks, Action.DISABLE) == 0
    assert {item.cause for item in checked.waiting} == {"disabled in the source"}


def test_an_approved_disable_disables_and_writes_nothing_new() -> None:
    """A title that has become garbage since does not ride along; the account is disabled all the same."""
    world = company(50)
    people = list(world.users)[:4]
    for name in people:
        world.disabled.add(name)
        world.users[name]["title"] = "Retired"
    approved = decided(judged(world).waiting, APPROVED)
    for name in people:
        world.users[name]["title"] = "GARBAGE"
    [block] = [block for block in judged(world, *approved).blocks if block.action is Action.DISABLE]
    assert len(block) == 4
    assert [path for path in block.touched if block.touched[path].any()] == ["active"]


@pytest.mark.parametrize("first", [APPROVED, REJECTED])
@pytest.mark.parametrize("chosen", [0, 1, 2, 3])
def test_deciding_about_one_lets_no_other_through(first: StagedState, chosen: int) -> None:
    """In every order: what is undecided waits until somebody decides, although what is left would fit the limit."""
    world = leavers()
    known = list(judged(world).waiting)
    for number in range(4):
        at = (chosen + number) % 4
        known[at] = decided([known[at]], first)[0]
        checked = judged(world, *known)
        gone = {anchor for block in checked.blocks for anchor in block.table["anchor"]}
        assert gone == ({one.anchor for one in known if one.state is APPROVED})
        assert len(checked.waiting) == 3 - number


def test_an_incomplete_cycle_in_between_does_not_make_what_waits_forgotten() -> None:
    """It was held by a limit first; a complete cycle later must not judge it as if nothing had waited."""
    world = leavers()
    known = keep_books(judged(world), [], cycle_id=1).put
    world.incomplete = ("One page could not be read.",)
    checked = judged(world, *known)
    again = keep_books(checked, known, cycle_id=2).put
    known = [*again, *(one for one in known if one.key not in {item.key for item in again})]
    world.incomplete = ()
    rejected = decided([one for one in known if one.anchor == "p000"], REJECTED)
    checked = judged(world, *rejected, *(one for one in known if one.anchor != "p000"))
    assert count(checked.blocks, Action.DISABLE) == 0
    assert len(checked.waiting) == 3


def test_what_only_an_incomplete_source_has_held_is_judged_by_a_complete_one() -> None:
    """Nobody could have let it go, so nobody has to."""
    world = leavers(50, 3)
    world.incomplete = ("One page could not be read.",)
    items = judged(world).waiting
    assert {item.guards for item in items} == {("complete source",)}
    world.incomplete = ()
    checked = judged(world, *items)
    assert count(checked.blocks, Action.DISABLE) == 3
    assert not checked.waiting


def test_undecided_members_and_attributes_wait_as_well() -> None:
    """Every guard: of a group the members who were held, of a person the attribute that was."""
    world = group_of(30, 5)
    [item] = judged(world).waiting
    world.members |= {("g", "p000"), ("g", "p001"), ("g", "p002")}
    checked = judged(world, item)
    assert removed(checked.blocks) == []
    [still] = checked.waiting
    assert still.members == ("tp003", "tp004")
    assert (still.guards, still.guard) == (("members",), item.guard)

    world = company(100)
    for name in list(world.users)[:20]:
        world.users[name]["title"] = None
    waiting = judged(world).waiting
    for name in list(world.users)[:15]:
        world.users[name]["title"] = "Clerk"
    checked = judged(world, *waiting)
    assert len(checked.waiting) == 5
    assert not checked.blocks


# --- another removal of the same entry -----------------------------------------------------------------------------


def terminated(*, back: int = 0, purged: int = 0) -> World:
    """Four of fifty are disabled in the source; some are back, and the rows of some are gone."""
    world = company(50, deprovision={"disabled": "disable", "deleted": "delete"})
    for number in range(back, 4):
        world.disabled.add(f"p{number:03}")
    for number in range(4 - purged, 4):
        del world.users[f"p{number:03}"]
    return world


@pytest.mark.parametrize("state", [STAGED, APPROVED, REJECTED])
def test_who_waits_to_be_disabled_is_not_deleted_unasked(state: StagedState) -> None:
    """Two come back, HR purges the rows of two: two deletions are within the limit, and nobody was asked about them."""
    first = decided(judged(terminated()).waiting, state)
    assert {item.action for item in first} == {Action.DISABLE}
    checked = judged(terminated(back=2, purged=2), *first)
    assert not checked.blocks
    assert [(item.action, item.anchor, item.guards) for item in checked.waiting] == [
        (Action.DELETE, name, ("earlier question",)) for name in ("p002", "p003")
    ]
    books = keep_books(checked, first, cycle_id=2)
    assert books.drop == books.lapsed == first
    again = judged(terminated(back=2, purged=2), *books.put)
    assert not again.blocks
    assert [item.guard for item in again.waiting] == [item.guard for item in checked.waiting]
    assert not judged(terminated(back=2), *books.put).blocks, "and it stays held when HR shows them again"
    assert count(judged(terminated(back=2, purged=2), *decided(books.put, APPROVED)).blocks, Action.DELETE) == 2


def test_a_question_about_some_holds_no_others() -> None:
    """Who leaves besides goes, within the limits."""
    first = decided(judged(terminated()).waiting, REJECTED)
    world = terminated(back=2, purged=2)
    del world.users["p010"]
    assert [list(block.table["anchor"]) for block in judged(world, *first).blocks] == [["p010"]]


def test_what_follows_from_an_incomplete_source_too_goes_on_waiting_for_a_person() -> None:
    """Else the next complete cycle would delete them: only the incomplete source would have held it."""
    first = judged(terminated()).waiting
    world = terminated(back=2, purged=2)
    world.incomplete = ("One page could not be read.",)
    books = keep_books(judged(world, *first), first, cycle_id=2)
    world.incomplete = ()
    assert not judged(world, *books.put).blocks


@pytest.mark.parametrize("state", [STAGED, REJECTED])
def test_what_was_rejected_is_asked_again_for_another_cause(state: StagedState) -> None:
    """Within the limits by now; that the rejection counts no more is in the log."""
    first = decided(judged(terminated()).waiting, state)
    world = terminated(back=2, purged=2)
    world.job = company(1, deprovision={"deleted": "disable"}).job
    checked = judged(world, *first)
    assert not checked.blocks
    assert {(item.anchor, item.cause) for item in checked.waiting} == {
        ("p002", "gone from the source"),
        ("p003", "gone from the source"),
    }
    books = keep_books(checked, first, cycle_id=2)
    assert {(item.anchor, item.state) for item in books.put} == {("p002", STAGED), ("p003", STAGED)}
    assert [item.anchor for item in books.lapsed] == ["p000", "p001", *(["p002", "p003"] if state is REJECTED else [])]


def test_a_group_that_lost_members_in_a_question_is_not_deleted_unasked() -> None:
    """Its members would go with it."""
    world = group_of(30, 5)
    first = decided(judged(world).waiting, REJECTED)
    world.job = company(1, deprovision={"deleted": "delete"}).job
    del world.groups["g"]
    world.members.clear()
    checked = judged(
        world,
        *first,
        limits=Limits.model_validate(
            {n: {"count": None, "fraction": 1.0} for n in ("removals", "members", "memberships")}
        ),
    )
    assert not [block for block in checked.blocks if block.action is Action.DELETE]
    assert ("earlier question",) in {item.guards[:1] for item in checked.waiting if item.action is Action.DELETE}
