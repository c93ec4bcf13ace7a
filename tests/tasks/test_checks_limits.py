"""Guards that look at more than one cycle's removals: history, updates, the source's size, administrators."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

import tasks
from connectors.contract import Action, Kind
from tasks.checks import Checked, History, check_plan, rosters
from tasks.job import Limit, Limits
from tests.tasks.plan.worlds import World, make_job

OPEN = {"count": None, "fraction": 1.0}


def company(people: int, **sections: object) -> World:
    """Linked, active people whose accounts are as they should be."""
    job = make_job(
        users={"title": {"expression": "[title]", "clear": True}, "nickName": {"expression": "[nick]", "clear": True}},
        groups={},
        **sections,
    )
    world = World(job)
    for number in range(people):
        name = f"p{number:03}"
        world.users[name] = {"mail": f"{name}@x", "title": "Clerk", "nick": name}
        account = {"userName": f"{name}@x", "active": True, "title": "Clerk", "nickName": name}
        world.accounts[Kind.USER][f"t{name}"] = account
        world.link(name, f"t{name}")
    return world


def leave(world: World, people: int) -> None:
    """The first few of those who are there are gone."""
    for name in list(world.users)[:people]:
        del world.users[name]


def add_group(world: World, name: str, members: list[str]) -> None:
    world.groups[name] = {"name": name}
    world.accounts[Kind.GROUP][f"t{name}"] = {"displayName": name}
    world.link(name, f"t{name}", Kind.GROUP)
    world.members |= {(name, member) for member in members}
    world.edges |= {(f"t{name}", f"t{member}") for member in members}


def judged(world: World, history: History | None = None, **limits: object) -> Checked:
    plan = world.plan()
    given = Limits.model_validate(limits)
    job = world.job.model_copy(update={"limits": given})
    groups = rosters(job, plan, world.target(None), switch="active")
    return check_plan(plan, given, history or History(), groups)


def guards(checked: Checked) -> list[str]:
    return [verdict.guard.value for verdict in checked.verdicts]


def count(blocks: list, *actions: Action) -> int:
    return sum(len(block) for block in blocks if block.action in actions)


@pytest.mark.parametrize(("leavers", "held"), [(3, 0), (4, 4)])
def test_threshold_three(leavers: int, held: int) -> None:
    """As published: three removals pass a threshold of three; of four, all four are staged and none is carried out."""
    world = company(50)
    leave(world, leavers)
    checked = judged(world, removals={"count": 3, "fraction": 1.0})
    assert count(checked.staged, Action.DISABLE) == len(checked.waiting) == held
    assert count(checked.blocks, Action.DISABLE) == leavers - held
    assert guards(checked) == (["removals"] if held else [])


def test_only_the_kind_that_exceeds_is_held() -> None:
    """Too many people are no reason to keep a group, as long as all together are not too many."""
    world = company(50, deprovision={"deleted": "delete"})
    leave(world, 6)
    add_group(world, "old", [])
    del world.groups["old"]
    for number in range(25):
        add_group(world, f"new{number}", [])
    checked = judged(world)
    assert {block.kind for block in checked.staged} == {Kind.USER}
    assert [block.kind for block in checked.blocks if block.action is Action.DELETE] == [Kind.GROUP]


@pytest.mark.parametrize(("leavers", "held"), [(2, 0), (3, 4), (4, 5)])
def test_all_kinds_count_together(leavers: int, held: int) -> None:
    """Also where one kind is too much by itself: a limit of three does not let four be held and one more go."""
    world = company(50, deprovision={"deleted": "delete"})
    leave(world, leavers)
    add_group(world, "old", [])
    del world.groups["old"]
    checked = judged(world, removals={"count": 3, "fraction": 1.0})
    assert count(checked.staged, Action.DELETE) == len(checked.waiting) == held


@pytest.mark.parametrize(
    ("people", "leavers", "held"),
    [
        (3, 1, 0),
        (3, 2, 0),
        (3, 3, 3),
        (4, 2, 0),
        (4, 3, 3),
        (5, 3, 3),
        (6, 3, 0),
        (19, 9, 0),
        (19, 10, 10),
        (19, 18, 18),
    ],
)
@pytest.mark.parametrize("way", ["deleted", "disabled"])
def test_most_of_a_small_organisation_is_held(way: str, people: int, leavers: int, held: int) -> None:
    """Below the minimum no fraction is looked at, so that one of three may leave; most of everybody may not."""
    world = company(people)
    names = list(world.users)[:leavers]
    for name in names:
        if way == "deleted":
            del world.users[name]
        else:
            world.disabled.add(name)
    checked = judged(world)
    assert count(checked.staged, Action.DISABLE) == len(checked.waiting) == held
    assert count(checked.blocks, Action.DISABLE) == leavers - held
    assert guards(checked) == (["removals"] if held else [])
    unlimited = {"count": None, "fraction": 1.0, "minimum": 20}
    if leavers < people:
        assert guards(judged(world, removals=unlimited, budget={"per_day": unlimited, "per_week": unlimited})) == []


def test_most_of_a_small_organisation_is_held_over_several_days() -> None:
    """One by one is no way round it: the budgets of day and week count those that are gone."""
    world = company(8)
    leave(world, 1)
    assert guards(judged(world, History(removed_in_week=3))) == []  # 4 of 11
    assert guards(judged(world, History(removed_in_week=9))) == ["budget"]  # 10 of 17
    assert guards(judged(world, History(removed_in_day=9))) == ["budget"]


@pytest.mark.parametrize(("before", "held"), [(4, 0), (5, 2)])
def test_a_small_source_that_has_lost_most_of_its_people_proves_nothing(before: int, held: int) -> None:
    """Two removals would pass by themselves: the source once had more than twice as many."""
    world = company(4)
    leave(world, 2)
    assert guards(judged(world, History(source_counts=[before]))) == (["source"] if held else [])


@pytest.mark.parametrize(("removed", "held"), [(4, 0), (5, 5)])
def test_most_memberships_of_a_small_target_are_held(removed: int, held: int) -> None:
    """Of all groups together: none of them loses everybody."""
    world = company(4)
    names = list(world.users)
    for group in ("a", "b"):
        add_group(world, group, names)
    taken = [(group, name) for name in names[:3] for group in ("a", "b")][:removed]
    world.members -= set(taken)
    checked = judged(world)
    assert guards(checked) == (["memberships"] if held else [])
    assert sum(len(one.members) for one in checked.waiting) == held


@pytest.mark.parametrize(("before", "held"), [(7, 0), (8, 3)])
def test_slow_bleeding_trips_the_budget(before: int, held: int) -> None:
    """Below the limit of every cycle, and above that of the day: exactly as many as the day allows pass."""
    world = company(50)
    leave(world, 3)
    history = History(removed_in_day=before, removed_in_week=before)
    limits = {"budget": {"per_day": {"count": 10, "fraction": 1.0}}}
    checked = judged(world, history, **limits)
    assert count(checked.staged, Action.DISABLE) == held
    assert guards(checked) == (["budget"] if held else [])


def test_the_budget_of_the_week_is_of_what_there_was_before() -> None:
    """Fractions are of the population at the beginning, with the accounts that are gone since."""
    world = company(75)
    leave(world, 5)
    assert guards(judged(world, History(removed_in_week=25))) == []  # 30 of 100
    assert guards(judged(world, History(removed_in_week=26))) == ["budget"]  # 31 of 101


def test_what_is_held_does_not_use_the_budget_up() -> None:
    """Removals that another guard holds are not done now, so the budget has nothing to say about them."""
    world = company(50)
    leave(world, 20)
    assert guards(judged(world)) == ["removals"]


@pytest.mark.parametrize(("cleared", "trips"), [(10, False), (11, True)])
def test_mass_clear_holds_only_the_clearing(cleared: int, trips: bool) -> None:
    """A column that lost its values is not written; whatever else changes about the same people is."""
    world = company(100)
    for number, name in enumerate(world.users):
        if number < cleared:
            world.users[name]["title"] = None
        if number in (0, 50):
            world.users[name]["nick"] = "Zed"
    checked = judged(world)
    assert guards(checked) == (["attribute"] if trips else [])
    [verdict] = checked.verdicts if trips else [None]
    if verdict is not None:
        assert (verdict.subject, verdict.held, verdict.population) == ("title", cleared, 100)
    running = {
        (anchor, path)
        for block in checked.blocks
        for row, anchor in enumerate(block.table["anchor"])
        for path in block.touched.columns
        if block.touched[path].iloc[row]
    }
    titles = {anchor for anchor, path in running if path == "title"}
    assert len(titles) == (0 if trips else cleared)
    assert {anchor for anchor, path in running if path == "nickName"} == {"p000", "p050"}
    assert {item.attributes for item in checked.waiting} == ({("title",)} if trips else set())
    staged = {
        path for block in checked.staged for path in block.touched.columns if block.touched[path].to_numpy().any()
    }
    assert staged == ({"title"} if trips else set())


def test_an_entry_written_in_part_is_not_remembered_as_it_should_be() -> None:
    """No fingerprint for it, so that the part that was held is looked at again whatever the kind of the next cycle."""
    world = company(100)
    for name in list(world.users)[:20]:
        world.users[name] |= {"title": None, "nick": "Zed"}
    for name in list(world.users)[20:25]:
        world.users[name]["nick"] = "Zed"
    checked = judged(world)
    assert sorted((len(block), sorted(block.withheld)) for block in checked.blocks) == [(5, []), (20, ["title"])]


@pytest.mark.parametrize(
    ("settled", "reviewed", "trips"),
    [(False, False, True), (True, False, True), (True, True, True), (False, True, False)],
)
def test_a_mass_rewrite_is_held_unless_it_was_reviewed(settled: bool, reviewed: bool, trips: bool) -> None:
    """On an ordinary day a column has slipped; a changed mapping rewrites everybody once somebody has looked at it."""
    world = company(100)
    for entry in world.users.values():
        entry["title"] = "Boss"
    checked = judged(world, History(settled=settled, reviewed=reviewed))
    assert guards(checked) == (["updates"] if trips else [])
    assert count(checked.staged, Action.UPDATE) == (100 if trips else 0)


def test_half_of_the_accounts_may_change() -> None:
    """Exactly as many as allowed pass."""
    world = company(100)
    for name in list(world.users)[:50]:
        world.users[name]["title"] = "Boss"
    assert guards(judged(world, History(settled=True))) == []


@pytest.mark.parametrize(("leavers", "trips"), [(20, False), (21, True)])
def test_a_source_that_shrank_takes_nobody_away(leavers: int, trips: bool) -> None:
    """Whatever the other limits allow; joiners, changes, and people whom the source itself marks go on."""
    world = company(100, deprovision={"deleted": "disable"})
    leave(world, leavers)
    world.users["new"] = {"mail": "new@x"}
    del world.users[list(world.users)[-2]]  # as many came as went
    leavers += 1
    world.disabled.add("p050")
    world.users["p051"]["title"] = "Boss"
    checked = judged(world, History(source_counts=[100, 10]), removals=OPEN, budget={"per_day": OPEN, "per_week": OPEN})
    assert guards(checked) == (["source"] if trips else [])
    assert count(checked.staged, Action.DISABLE) == (leavers if trips else 0)
    assert count(checked.blocks, Action.DISABLE) == (1 if trips else leavers + 1)
    assert count(checked.blocks, Action.CREATE) == count(checked.blocks, Action.UPDATE) == 1
    assert checked.doubtful is trips


def test_without_history_a_source_cannot_have_shrunk() -> None:
    """The first cycle is judged by the other guards alone."""
    world = company(100)
    leave(world, 5)
    assert guards(judged(world)) == []


def test_doubts_about_the_source_leave_room_for_the_limits() -> None:
    """What waits because absence proves nothing does not count: people who are marked as leavers still go."""
    world = company(100)
    leave(world, 30)
    world.disabled.update({"p090", "p091"})
    checked = judged(world, History(source_counts=[100]))
    assert guards(checked) == ["source"]
    assert count(checked.blocks, Action.DISABLE) == 2


@pytest.mark.parametrize("way", ["disabled", "left group", "gone"])
@pytest.mark.parametrize("name", ["admins", "tAdmins", "ADMINS"])
def test_the_last_administrator_stays(way: str, name: str) -> None:
    """By anchor, id or name of the group; inactive members do not count; other removals go on."""
    world = company(50)
    add_group(world, "Admins", ["p001", "p002"])
    world.accounts[Kind.USER]["tp002"]["active"] = False
    world.disabled.update({"p002", "p007"})
    match way:
        case "disabled":
            world.disabled.add("p001")
        case "left group":
            world.members.discard(("Admins", "p001"))
        case "gone":
            del world.users["p001"]
    checked = judged(world, administrators={"groups": [name]})
    assert guards(checked) == ["administrators"]
    staged = {(block.action, anchor) for block in checked.staged for anchor in block.table["anchor"]}
    wanted = {
        "disabled": {(Action.DISABLE, "p001")},
        "left group": {(Action.REMOVE_MEMBERS, "Admins")},
        "gone": {(Action.DISABLE, "p001"), (Action.REMOVE_MEMBERS, "Admins")},
    }
    assert staged == wanted[way]
    assert "p007" in {anchor for block in checked.blocks for anchor in block.table["anchor"]}


def test_administrators_may_leave_while_one_is_left() -> None:
    """The minimum is what must be left, not who."""
    world = company(50)
    add_group(world, "Admins", ["p001", "p002", "p003"])
    world.disabled.add("p001")
    assert guards(judged(world, administrators={"groups": ["Admins"], "minimum": 2})) == []
    [verdict] = judged(world, administrators={"groups": ["Admins"], "minimum": 3}).verdicts
    assert (verdict.guard.value, verdict.counted, verdict.population) == ("administrators", 1, 3)


def test_administrators_need_groups_that_are_read() -> None:
    """A guard over groups that nobody reads would guard nothing."""
    with pytest.raises(ValueError, match="needs a section groups"):
        make_job(limits={"administrators": {"groups": ["Admins"]}})


def test_several_guards_may_hold_the_same_change() -> None:
    """Whoever approves reads everything that speaks against it."""
    world = company(50)
    add_group(world, "Admins", ["p000"])
    leave(world, 10)
    checked = judged(world, administrators={"groups": ["Admins"]})
    assert guards(checked) == ["removals", "administrators"]
    [first] = [item for item in checked.waiting if item.anchor == "p000"]
    assert checked.verdicts[0].sentence in first.guard
    assert checked.verdicts[1].sentence in first.guard
    assert checked.held_back == 10 + 1  # ten accounts, and the membership that goes with one of them
    assert checked.memberships_held_back == 1
    assert checked.groups_held_back == 0


def test_groups_that_are_held_are_counted_as_groups() -> None:
    """Pages say of how many accounts, groups and memberships a cycle holds something."""
    world = company(50, deprovision={"deleted": "delete"})
    for number in range(5):
        add_group(world, f"g{number}", ["p000"])
    world.groups.clear()
    world.members.clear()
    checked = judged(world, removals={"count": 2, "fraction": 1.0})
    assert (
        checked.groups_held_back == sum(item.kind is Kind.GROUP and not item.members for item in checked.waiting) == 5
    )
    assert checked.held_back == checked.groups_held_back + checked.memberships_held_back


def test_a_member_who_stays_keeps_what_a_leaver_loses() -> None:
    """Memberships wait with the people they belong to, not with everybody in the same request."""
    world = company(50)
    add_group(world, "g", [f"p{number:03}" for number in range(30)])
    world.disabled.update(list(world.users)[10:13])
    leave(world, 10)
    for name in ("p020", "p021"):
        world.members.discard(("g", name))
    checked = judged(world)
    running = [
        name
        for block in checked.blocks
        if block.action is Action.REMOVE_MEMBERS
        for names in block.table["members"]
        for name in names
    ]
    assert sorted(running) == ["p020", "p021"]


def test_limits_without_a_count() -> None:
    """Null is any number: then only the fraction counts."""
    world = company(50)
    leave(world, 5)
    assert guards(judged(world, removals={"count": None})) == []
    assert Limit(count=None).count is None


def test_limits_of_the_documentation_are_the_defaults() -> None:
    """Whoever copies them from there changes nothing."""
    page = (Path(tasks.__file__).parents[1] / "docs" / "how-to" / "guards-and-approvals.md").read_text(encoding="utf-8")
    found = re.search(r"```yaml\n(limits:.*?)```", page, re.DOTALL)
    assert found
    shown = YAML(typ="safe").load(found.group(1))["limits"]
    assert Limits.model_validate(shown) == Limits()
    assert set(shown) == set(Limits.model_fields)


def test_a_first_cycle_that_rewrites_the_accounts_it_adopts_is_held() -> None:
    """Nothing is linked yet: those it adopts are what there is."""
    world = company(100)
    world.links[Kind.USER].clear()
    for entry in world.users.values():
        entry["title"] = "Boss"
    assert guards(judged(world)) == ["updates"]


def test_a_cleared_column_holds_no_other_update() -> None:
    """What the guard of the attribute holds is not rewritten now: everything else about these people goes on."""
    world = company(100)
    for entry in world.users.values():
        entry["title"] = None
    world.users["p000"]["nick"] = "Zed"
    checked = judged(world, History(settled=False))
    assert guards(checked) == ["attribute"]
    [block] = checked.blocks
    assert block.table["anchor"].tolist() == ["p000"]
