"""Everything that can happen to a job in its life, in any order; after it all, the target is what the model says.

The rules of the machine are the events of the model's world: the source changes, others change the target, the job is
edited, time passes, cycles run, and some die half-way. After each cycle, whatever became of it, every attribute,
account and membership is as it was or as the model wants it, and nothing else has changed anywhere. After a cycle that
sees the whole target and is let finish, everything is as the model wants it, and the next plan is empty.

Events are kept out that no cycle can put right in one go, because the target refuses them: a user name that somebody
else has.
"""

import csv
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

import orjson
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from connectors.contract import Kind
from tests.model.driver import Driver, Ended, Moment, Power
from tests.model.reference import Rules, World, settle, why_outside
from tests.servers.apps import APPS, ENTERPRISE, MANAGER, App

JOB = "model"
PEOPLE = [f"p{number}" for number in range(8)]
GROUPS = [f"g{number}" for number in range(4)]
WORDS = ("", "a", "b", "c")
WIDE = {"count": None, "fraction": 1.0}
ROUNDS = 4
"""Cycles in a row after which nothing may be left to do; more than one only where somebody waits for a name."""

T = TypeVar("T")
NUMBERS = st.integers(0, 1000)
POLICY = st.sampled_from(["disable", "delete", "keep"])
MAPPED = st.sampled_from(["leave", "clear", None])
CHOICE = st.sampled_from(["auto", "incremental", "incremental", "reconcile"])

RULES: dict[str, st.SearchStrategy[Any]] = {
    "title": MAPPED,
    "nick": st.sampled_from(["on_create", "leave", "clear", None]),
    "manager": MAPPED,
    "scope": st.booleans(),
    "assigned": st.none()
    | st.sets(st.sampled_from([*PEOPLE, *GROUPS]), min_size=1).map(lambda chosen: tuple(sorted(chosen))),
    "groups": st.booleans(),
    "members": st.sampled_from(["authoritative", "additive"]),
    "nested": st.sampled_from(["keep", "flatten"]),
    "unassigned": POLICY,
    "out_of_scope": POLICY,
    "disabled": POLICY,
    "deleted": POLICY,
    "delete_after": st.none() | st.just(timedelta(days=1)),
    "drift": st.sampled_from(["correct", "report"]),
    "vanished": st.sampled_from(["recreate", "leave"]),
    "by_anchor": st.booleans(),
}

SOURCE_EVENTS = (
    *("joins", "moves", "leaves_scope", "is_renamed", "gets_a_manager", "changes_status", "leaves_the_export"),
    *("returns", "returns_as_somebody_else", "makes_a_group", "renames_a_group", "deletes_a_group"),
    "member_comes_or_goes",
)
TARGET_EVENTS = (
    *("changes_an_account", "deletes_an_account", "makes_an_account", "makes_a_team", "deletes_a_team"),
    "changes_members",
)

EVENTS = st.lists(st.tuples(st.sampled_from(SOURCE_EVENTS), NUMBERS, NUMBERS), max_size=4)
OCCASIONS = {
    Moment.BEFORE_LOOK: 4,
    Moment.BEFORE_CHANGE: 4,
    Moment.AFTER_CHANGE: 4,
    Moment.BEFORE_WRITE: 10,
    Moment.AFTER_WRITE: 10,
    Moment.AFTER_JOURNAL: 3,
    Moment.BEFORE_RECORD: 3,
    Moment.IN_TRANSACTION: 3,
}
"""How many of each a small cycle comes to, about; one where nothing is said."""
DEATH = st.sampled_from(Moment).flatmap(
    lambda moment: st.tuples(st.just(moment), st.integers(0, OCCASIONS.get(moment, 1) - 1))
)

counted: Counter[str] = Counter()
"""Runs, steps, cycles, deaths and requests so far, in this process."""


class Lifecycle(RuleBasedStateMachine):
    """One job and its two systems, from its first day."""

    app = "scim"
    """Which app is the target: one of ``tests.servers.apps.APPS``."""

    def __init__(self) -> None:
        super().__init__()
        counted["runs"] += 1
        self.folder = Path(mkdtemp(prefix="provisor-model-"))
        self.environment = {name: os.environ.get(name) for name in ("PROVISOR_HOME", "SCIM_TOKEN")}
        os.environ |= {"PROVISOR_HOME": str(self.folder / "state"), "SCIM_TOKEN": "a-token"}
        self._running = ExitStack()
        self.service = self._running.enter_context(APPS[self.app](self.folder))
        self.driver = Driver(self.folder / "job.yaml")
        self.world = World()
        """The source and the job as they are; the rest of it as ``look`` found it last."""
        self.gone: dict[str, dict[str, str]] = {}
        """People who left, as they were."""
        self.off_since: dict[str, datetime] = {}
        """Ids of accounts that are not active, and when that was first seen."""
        self.made: dict[str, str] = {}
        """Ids of entries that a dead run made without a link, and whose they are."""
        self.sound = True

    # -- beginning and end -----------------------------------------------------------------------------------------

    @initialize(people=st.integers(1, 4), groups=st.integers(0, 2), number=NUMBERS)
    def first_day(self, people: int, groups: int, number: int) -> None:
        for anchor in PEOPLE[:people]:
            self._join(anchor, self._free_name(), "a", "b", "")
        for anchor in GROUPS[:groups]:
            self.world.groups[anchor] = self._free_team_name()
        if people and groups:
            self.world.members.add((GROUPS[0], PEOPLE[number % people]))

    def teardown(self) -> None:
        try:
            if self.sound:
                self._settle()
        finally:
            self.driver.close()
            self._running.close()
            for name, value in self.environment.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
            shutil.rmtree(self.folder)

    # -- what happens in the source --------------------------------------------------------------------------------

    @rule(event=st.sampled_from(SOURCE_EVENTS), number=NUMBERS, other=NUMBERS)
    def the_source_changes(self, event: str, number: int, other: int) -> None:
        """One of ``SOURCE_EVENTS``, to somebody or something that two numbers choose."""
        self.look()
        getattr(self, f"_{event}")(number, other)

    def _joins(self, number: int, other: int) -> None:
        """Somebody new, under a name that is free, or that an account without an owner has."""
        if new := self._newcomers():
            names = [self._free_name(), *self._ownerless_names()]
            word = pick(WORDS, other)
            self._join(new[0], pick(names, number), word, word, pick(["", *PEOPLE], other))

    def _moves(self, number: int, other: int) -> None:
        for anchor in self._somebody(number):
            path = pick(["title", "nick", "department"], other)
            self.world.people[anchor][path] = pick(WORDS, other // 3)

    def _leaves_scope(self, number: int, other: int) -> None:
        del other
        for anchor in self._somebody(number):
            self.world.people[anchor]["department"] = "out"
            self.world.rules.scope = True

    def _is_renamed(self, number: int, other: int) -> None:
        """Another user name: a free one, or the one that the account still has."""
        for anchor in self._somebody(number):
            own = self.world.accounts.get(self.world.owns.get(anchor, ""), {}).get("userName")
            names = [self._free_name()] if own is None or own in self._names() else [self._free_name(), own]
            self.world.people[anchor]["userName"] = pick(names, other)

    def _gets_a_manager(self, number: int, other: int) -> None:
        """Or loses one; circles, somebody who is not there, and oneself included."""
        for anchor in self._somebody(number):
            self.world.people[anchor]["manager"] = pick(["", *PEOPLE, "nobody"], other)

    def _changes_status(self, number: int, other: int) -> None:
        for anchor in self._somebody(number):
            self.world.people[anchor]["status"] = pick(["terminated", "active"], other)

    def _leaves_the_export(self, number: int, other: int) -> None:
        """Anybody but the last one: an empty source is no measure of anything."""
        del other
        for anchor in self._somebody(number) if len(self.world.people) > 1 else ():
            self._leave(anchor)

    def _returns(self, number: int, other: int) -> None:
        """With the same anchor."""
        for anchor in pick_one(sorted(self.gone), number):
            person = self.gone.pop(anchor)
            own = self.world.accounts.get(self.world.owns.get(anchor, ""), {}).get("userName")
            old = person["userName"]
            keeps = old not in self._names() and (old == own or old not in self._taken())
            name = pick([old, self._free_name()], other) if keeps else self._free_name()
            self.world.people[anchor] = person | {"userName": name}

    def _returns_as_somebody_else(self, number: int, other: int) -> None:
        """The same person with the same user name, under a new anchor."""
        del other
        new = self._newcomers()
        for anchor in self._somebody(number) if new else ():
            self.world.people[new[0]] = dict(self._leave(anchor))

    def _makes_a_group(self, number: int, other: int) -> None:
        for anchor in pick_one([one for one in GROUPS if one not in self.world.groups], number):
            self.world.groups[anchor] = self._free_team_name()
            self._member_comes_or_goes(number, other)

    def _renames_a_group(self, number: int, other: int) -> None:
        del other
        for anchor in pick_one(sorted(self.world.groups), number):
            self.world.groups[anchor] = self._free_team_name()

    def _deletes_a_group(self, number: int, other: int) -> None:
        del other
        for anchor in pick_one(sorted(self.world.groups), number):
            del self.world.groups[anchor]
            self.world.members = {edge for edge in self.world.members if anchor not in edge}

    def _member_comes_or_goes(self, number: int, other: int) -> None:
        """A user, somebody who is not there, or another group."""
        for anchor in pick_one(sorted(self.world.groups), number):
            groups = sorted(self.world.groups.keys() - {anchor}) if self.service.nested else []
            self.world.members ^= {(anchor, pick([*sorted(self.world.people), *groups, *PEOPLE], other))}

    # -- what others do in the target ------------------------------------------------------------------------------

    @rule(event=st.sampled_from(TARGET_EVENTS), number=NUMBERS, other=NUMBERS)
    def others_work_in_the_target(self, event: str, number: int, other: int) -> None:
        """One of ``TARGET_EVENTS``, to an account or a group that two numbers choose."""
        self.look()
        getattr(self, f"_{event}")(number, other)

    def _changes_an_account(self, number: int, other: int) -> None:
        for id in pick_one(sorted(self.world.accounts), number):
            resource, path = self.service.users[id], pick(["active", "title", "nickName", "manager"], other)
            if path == "manager":
                boss = pick([None, *sorted(self.world.accounts)], other // 4)
                resource[ENTERPRISE] = {} if boss is None else {"manager": {"value": boss}}
            else:
                resource[path] = bool(other // 4 % 2) if path == "active" else pick(WORDS, other // 4)
            self.service.users[id] = {name: value for name, value in resource.items() if value not in ("", {})}

    def _deletes_an_account(self, number: int, other: int) -> None:
        del other
        for id in pick_one(sorted(self.world.accounts), number):
            del self.service.users[id]

    def _deletes_a_team(self, number: int, other: int) -> None:
        del other
        for id in pick_one(sorted(self.world.teams), number):
            del self.service.groups[id]

    def _changes_members(self, number: int, other: int) -> None:
        for id in pick_one(sorted(self.world.teams), number):
            resource = self.service.groups[id]
            members = {one["value"] for one in resource.get("members", ())}
            groups = sorted(self.world.teams.keys() - {id}) if self.service.nested else []
            members ^= set(pick_one([*sorted(self.world.accounts), *groups], other))
            self.service.groups[id] = resource | {"members": [{"value": one} for one in sorted(members)]}

    def _makes_an_account(self, number: int, other: int) -> None:
        """Under a name that nobody has, or that somebody of the source without an account has."""
        taken = {one["userName"] for one in self.world.accounts.values()}
        names = [self._free_name()]
        for anchor, person in sorted(self.world.people.items()):
            if self.world.owns.get(anchor) not in self.world.accounts and person["userName"] not in taken:
                names.append(person["userName"])
        title = {"title": word} if (word := pick(WORDS, other)) else {}
        self.service.seed(users=[{"userName": pick(names, number), "active": bool(other % 3)} | title])

    def _makes_a_team(self, number: int, other: int) -> None:
        taken = {team.get("displayName") for team in self.world.teams.values()}
        names = [self._free_team_name()]
        for anchor, name in sorted(self.world.groups.items()):
            if self.world.owns_team.get(anchor) not in self.world.teams and name not in taken:
                names.append(name)
        members = [{"value": id} for id in pick_one(sorted(self.world.accounts), other)]
        self.service.seed(groups=[{"displayName": pick(names, number), "members": members}])

    # -- the job, and time -----------------------------------------------------------------------------------------

    @rule(change=st.sampled_from(sorted(RULES)).flatmap(lambda name: st.tuples(st.just(name), RULES[name])))
    def the_job_is_edited(self, change: tuple[str, Any]) -> None:
        name, value = change
        setattr(self.world.rules, name, value)

    @rule(hours=st.sampled_from([1, 7, 25, 60]))
    def time_passes(self, hours: int) -> None:
        self.driver.now += timedelta(hours=hours)

    # -- cycles ----------------------------------------------------------------------------------------------------

    @rule(choice=CHOICE)
    def a_cycle_runs(self, choice: str) -> None:
        self._cycle(choice)

    @rule(events=EVENTS, choice=CHOICE, death=DEATH)
    def a_cycle_dies(self, events: list[tuple[str, int, int]], choice: str, death: tuple[Moment, int]) -> None:
        """After some more events, so that it has something to do; it ends properly where it comes to no such moment."""
        for event, number, other in events:
            self.the_source_changes(event, number, other)
        self._cycle(choice, Power(*death))

    @rule()
    def everything_is_settled(self) -> None:
        self._settle()

    @invariant()
    def counts(self) -> None:
        """Nothing holds here: it counts the steps."""
        counted["steps"] += 1

    # -- what must hold --------------------------------------------------------------------------------------------

    def _cycle(self, choice: str, power: Power | None = None, *, exact: bool = False) -> Ended:
        """One cycle, and what holds after any cycle; with ``exact`` also what holds when nothing was in its way."""
        self.sound = False
        before = self.look()
        untouched = {**dict(self.service.users), **dict(self.service.groups)}
        self._write()
        everybody = (*PEOPLE, *GROUPS) if exact else ()
        self.driver.now += timedelta(minutes=1)
        before.now = self.driver.now + timedelta(minutes=1)
        wanted = settle(before)
        ended = self.driver.cycle(choice, power=power, at_once=everybody)
        counted.update(cycles=1, deaths=ended.killed, requests=ended.requests)
        after = self.look()
        if ended.killed:
            self.made |= made_for(before, after)
        found = renamed(after, before)
        self._nothing_else_has_changed(untouched, before, wanted, found)
        check_between(before, found, wanted)
        self._nobody_is_deleted_early(before, found)
        check_owners(before, found, wanted)
        if exact:
            report = ended.report
            assert report is not None
            assert not report.failures, [(one.anchor, one.action, one.message) for one in report.failures]
            assert not report.error, report.error
            check_equal(found, wanted)
        self.sound = True
        return ended

    def _settle(self) -> None:
        """A cycle that sees everything and puts everything right; afterwards nothing is left to do."""
        if self.world.rules.drift == "report":
            self._cycle("reconcile")
            self._nothing_left("what others have done is left so")
            self.world.rules.drift = "correct"
        for _ in range(ROUNDS):
            self._cycle("reconcile", exact=True)
            world = self.look()
            world.now = self.driver.now
            if not differences(settle(world), world):
                break
        else:
            raise AssertionError("the model itself does not come to rest")
        self._nothing_left("everything is settled")
        self._nothing_made_is_lost()

    def _nothing_made_is_lost(self) -> None:
        """Every account that Provisor has made is somebody's: it would be nobody's task to switch it off."""
        world = self.look()
        owned = set(world.owns.values())
        lost = [one for id, one in world.accounts.items() if "externalId" in one and id not in owned]
        assert not lost, f"accounts were made, and belong to nobody: {lost}"

    def _nothing_left(self, when: str) -> None:
        self.sound = False
        for choice in ("reconcile", "incremental"):
            plan = self.driver.preview(choice)
            left = [(block.action, block.table.to_dict("records")) for block in plan.blocks]
            assert plan.empty, f"{when}, and the next {choice} plan is not empty: {left}"
        self.sound = True

    def _nothing_else_has_changed(self, untouched: dict[str, Any], before: World, wanted: World, found: World) -> None:
        """What the model does not change is the very same resource, with the same date of its last change."""
        now = {**dict(self.service.users), **dict(self.service.groups)}
        changed = {id for id in before.accounts if before.accounts[id] != wanted.accounts.get(id)}
        changed |= {id for id in before.teams if before.teams[id] != wanted.teams.get(id)}
        changed |= {one for edge in before.edges ^ wanted.edges for one in edge}
        owned = {*wanted.owns.values(), *wanted.owns_team.values(), *before.owns.values(), *before.owns_team.values()}
        for id in untouched.keys() - changed - owned:
            assert without_groups(untouched[id]) == without_groups(now.get(id)), f"{id} is nobody's, and was touched"

    def _nobody_is_deleted_early(self, before: World, found: World) -> None:
        """With a grace period and no policy that deletes, only who was seen disabled for so long is deleted."""
        rules = self.world.rules
        ids = {id: anchor for anchor, id in before.owns.items()}
        for id in before.accounts.keys() - found.accounts.keys():
            anchor = ids.get(id)
            assert anchor is not None, f"{id} belongs to nobody, and was deleted"
            policy = rules.disabled if (why := why_outside(before, anchor)) is None else getattr(rules, why)
            if policy == "delete":
                continue
            assert policy == "disable", f"{anchor} is deleted under {policy}"
            assert rules.delete_after is not None, f"{anchor} is deleted, and the job does not say after how long"
            assert self.off_since[id] + rules.delete_after <= self.driver.now, f"{anchor} is deleted too early"
        for id, account in found.accounts.items():
            if account.get("active", True):
                self.off_since.pop(id, None)
        for id, account in self.world.accounts.items():
            if not account.get("active", True):
                self.off_since.setdefault(id, self.driver.now)

    # -- looking ---------------------------------------------------------------------------------------------------

    def look(self) -> World:
        """The world as it is: the target's own content, and the links, read from the database as anybody could."""
        world = self.world
        world.now = self.driver.now
        world.accounts = {id: account_of(resource) for id, resource in self.service.users.items()}
        teams = dict(self.service.groups.items())
        world.teams = {
            id: {path: team[path] for path in ("displayName", "externalId") if path in team}
            for id, team in teams.items()
        }
        world.edges = {(id, one["value"]) for id, team in teams.items() for one in team.get("members", ())}
        world.owns, world.owns_team, world.off_since = {}, {}, {}
        for kind, anchor, id, state, since in self._links():
            owns = world.owns if kind == "user" else world.owns_team
            owns[anchor] = id
            if state == "disabled":
                world.off_since[anchor] = datetime.fromisoformat(since).replace(tzinfo=UTC)
        self._own_what_was_made(world)
        for id, account in world.accounts.items():
            if not account.get("active", True):
                self.off_since.setdefault(id, self.driver.now)
        return world.copy()

    def _own_what_was_made(self, world: World) -> None:
        """Whom a dead run made an account for, owns it, although no link says so yet."""
        for owns, entries in ((world.owns, world.accounts), (world.owns_team, world.teams)):
            self.made = {id: anchor for id, anchor in self.made.items() if id not in owns.values()}
            for id, anchor in self.made.items():
                if id in entries and owns.get(anchor) not in entries:
                    owns[anchor] = id

    def _links(self) -> Iterable[tuple[str, ...]]:
        ledger = self.folder / "state" / "ledger.sqlite"
        if not ledger.is_file():
            return []
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
            query = "SELECT kind, anchor, target_id, state, state_since FROM link WHERE job = ?"
            return connection.execute(query, [JOB]).fetchall()

    # -- writing ---------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """The export and the job file."""
        world = self.world
        paths = ("userName", "title", "nick", "department", "manager", "status")
        people = [{"id": anchor, **person} for anchor, person in world.people.items()]
        write_csv(self.folder / "people.csv", ("id", *paths), people)
        groups = [{"id": anchor, "name": name} for anchor, name in world.groups.items()]
        write_csv(self.folder / "groups.csv", ("id", "name"), groups)
        members = [{"group": group, "member": member} for group, member in sorted(world.members)]
        write_csv(self.folder / "members.csv", ("group", "member"), members)
        (self.folder / "job.yaml").write_bytes(orjson.dumps(job_of(world.rules, self.service)))  # JSON is YAML

    def _join(self, anchor: str, name: str, title: str, nick: str, manager: str) -> None:
        self.world.people[anchor] = {
            "userName": name,
            "title": title,
            "nick": nick,
            "department": "in",
            "manager": manager,
            "status": "active",
        }

    def _leave(self, anchor: str) -> dict[str, str]:
        self.gone[anchor] = self.world.people.pop(anchor)
        self.world.members = {edge for edge in self.world.members if anchor not in edge}
        return self.gone[anchor]

    def _somebody(self, number: int) -> Sequence[str]:
        return pick_one(sorted(self.world.people), number)

    def _newcomers(self) -> list[str]:
        """Anchors that nobody has had so far."""
        return [one for one in PEOPLE if one not in self.world.people and one not in self.gone]

    def _names(self) -> set[str]:
        """User names of the source."""
        return {person["userName"] for person in self.world.people.values()}

    def _taken(self) -> set[str]:
        return self._names() | {account["userName"] for account in self.world.accounts.values()}

    def _free_name(self) -> str:
        """A user name that nobody has, in the source or in the target."""
        taken = self._taken()
        return next(name for number in range(1000) if (name := f"n{number}") not in taken)

    def _free_team_name(self) -> str:
        taken = {*self.world.groups.values(), *(team.get("displayName") for team in self.world.teams.values())}
        return next(name for number in range(1000) if (name := f"team {number}") not in taken)

    def _ownerless_names(self) -> list[str]:
        """Names of accounts that belong to nobody, or to somebody who has left, and that the source does not have."""
        owners = {id: anchor for anchor, id in self.world.owns.items()}
        taken = self._names()
        return sorted(
            account["userName"]
            for id, account in self.world.accounts.items()
            if owners.get(id) not in self.world.people and account["userName"] not in taken
        )


def pick(choices: Sequence[T], number: int) -> T:
    """One of them."""
    return choices[number % len(choices)]


def pick_one(choices: Sequence[T], number: int) -> Sequence[T]:
    """One of them, or none where there is none."""
    return [pick(choices, number)] if choices else []


# --- what the model and the target say to each other ------------------------------------------------------------------


def job_of(rules: Rules, app: App) -> dict[str, Any]:
    """The job file's content."""
    own = app.paths[Kind.USER]

    def named(path: str) -> str:
        return own.get(path, path)

    def mapped(how: str | None, path: str, origin: str, column: str) -> dict[str, Any]:
        match how:
            case None:
                return {}
            case "on_create":
                return {named(path): {origin: f"[{column}]", "apply": "on_create"}}
            case _:
                return {named(path): {origin: f"[{column}]", "clear": how == "clear"}}

    users: dict[str, Any] = {
        "matching": [{"source": "[userName]", "target": named("userName")}],
        "attributes": {
            named("userName"): "[userName]",
            named("externalId"): "[id]",
            named("active"): "Not([IsSoftDeleted])",
        }
        | mapped(rules.title, "title", "expression", "title")
        | mapped(rules.nick, "nickName", "expression", "nick")
        | mapped(rules.manager, MANAGER, "reference", "manager"),
    }
    if rules.by_anchor:
        users["matching"].append({"source": "[id]", "target": named("externalId")})
    if rules.scope:
        users["scope"] = [[{"attribute": "department", "operator": "NOT EQUALS", "value": "out"}]]
    enabled = {"column": "status", "values": ["active"]}
    days = {} if rules.delete_after is None else {"delete_after": f"{rules.delete_after.days}d"}
    ways = ("unassigned", "out_of_scope", "disabled", "deleted")
    document: dict[str, Any] = {
        "name": JOB,
        "source": {
            "connector": "csv",
            "users": {"path": "people.csv", "key": "id", "enabled": enabled},
            "groups": {"path": "groups.csv", "key": "id"},
            "members": {"path": "members.csv", "group": "group", "member": "member"},
        },
        "target": app.section,
        "users": users,
        "deprovision": {way: getattr(rules, way) for way in ways} | days,
        "limits": {"removals": WIDE, "members": WIDE, "attribute": WIDE, "updates": WIDE, "source": WIDE}
        | {"budget": {"per_day": WIDE, "per_week": WIDE}, "memberships": WIDE | {"per_day": WIDE, "per_week": WIDE}},
        "quarantine": {"floor": 1_000_000, "all_of": 1_000_000, "stops": 1_000_000},
        "load": {"batch_size": 2, "concurrency": 1, "members": 2},
        "drift": rules.drift,
        "vanished": rules.vanished,
    }
    if rules.groups:
        names = app.paths[Kind.GROUP]
        title, anchor = (names.get(path, path) for path in ("displayName", "externalId"))
        document["groups"] = {
            "matching": [{"source": "[name]", "target": title}],
            "attributes": {title: "[name]", anchor: "[id]"},
            "members": rules.members,
            "nested": rules.nested,
        }
    if rules.assigned is not None:
        document["assignment"] = {
            "mode": "assigned",
            "users": [one for one in rules.assigned if one in PEOPLE],
            "groups": [one for one in rules.assigned if one in GROUPS],
        }
    return document


def account_of(resource: dict[str, Any]) -> dict[str, Any]:
    """A user as the model says it."""
    paths = ("userName", "externalId", "title", "nickName", "active")
    account = {path: resource[path] for path in paths if path in resource}
    if boss := resource.get(ENTERPRISE, {}).get("manager"):
        account["manager"] = boss["value"]
    return account


def without_groups(resource: dict[str, Any] | None) -> dict[str, Any] | None:
    """A resource without what the target works out from others."""
    return None if resource is None else {name: value for name, value in resource.items() if name != "groups"}


def renamed(found: World, before: World) -> World:
    """The world with accounts and groups that are new since ``before`` named as the model names them."""
    names: dict[str, str] = {}
    for now, then in ((found.accounts, before.accounts), (found.teams, before.teams)):
        for id in sorted(now.keys() - then.keys()):
            anchor = now[id].get("externalId")
            assert anchor is not None, f"somebody without an anchor was created: {now[id]}"
            assert f"new {anchor}" not in names.values(), f"{anchor} was created twice"
            names[id] = f"new {anchor}"

    def name(id: str) -> str:
        return names.get(id, id)

    world = found.copy()
    world.accounts = {name(id): account for id, account in world.accounts.items()}
    for account in world.accounts.values():
        if "manager" in account:
            account["manager"] = name(account["manager"])
    world.teams = {name(id): team for id, team in world.teams.items()}
    world.edges = {(name(group), name(member)) for group, member in world.edges}
    world.owns = {anchor: name(id) for anchor, id in world.owns.items()}
    world.owns_team = {anchor: name(id) for anchor, id in world.owns_team.items()}
    return world


def values_of(world: World, id: str) -> dict[str, Any] | None:
    """What an account or a group says; a manager who is no longer there counts as none."""
    entry = world.accounts.get(id, world.teams.get(id))
    if entry is None:
        return None
    return {path: value for path, value in entry.items() if path != "manager" or value in world.accounts}


def made_for(before: World, after: World) -> dict[str, str]:
    """Entries that have come, and belong to nobody: their ids, and the anchors that Provisor has written into them."""
    there = before.accounts.keys() | before.teams.keys()
    owned = {*after.owns.values(), *after.owns_team.values()}
    entries = {**after.accounts, **after.teams}
    return {id: entry["externalId"] for id, entry in entries.items() if id not in there | owned}


def check_between(before: World, found: World, wanted: World) -> None:
    """After any cycle, dead or alive: everything is as it was, or as it is to be."""
    everything = {*before.accounts, *before.teams, *found.accounts, *found.teams, *wanted.accounts, *wanted.teams}
    for id in sorted(everything):
        was, now, to_be = (values_of(world, id) for world in (before, found, wanted))
        if now is None:
            assert None in (was, to_be), f"{id} is gone, and should not be"
            continue
        assert (was, to_be) != (None, None), f"{id} is there, and should not be: {now}"
        for path in {*now, *(was or ()), *(to_be or ())}:
            allowed = {(was or {}).get(path), (to_be or {}).get(path)}
            assert now.get(path) in allowed, f"{id}: {path} is {now.get(path)!r}; it was, or is to be {allowed}"
    wrong = (before.edges ^ found.edges) - (before.edges ^ wanted.edges)
    wrong = {edge for edge in wrong if all(values_of(found, one) is not None for one in edge)}
    assert not wrong, f"memberships have changed that should not: {sorted(wrong)}"


def check_owners(before: World, found: World, wanted: World) -> None:
    """Who owns what, after any cycle: as before, or as it is to be; and nobody's account is somebody else's too."""
    for kind in ("owns", "owns_team"):
        was, now, to_be = (getattr(world, kind) for world in (before, found, wanted))
        source = before.people if kind == "owns" else before.groups
        owner_was = {id: anchor for anchor, id in was.items()}
        for anchor in {*was, *now, *to_be}:
            if anchor not in now:
                lost = was.get(anchor)
                assert anchor not in to_be or anchor not in was or lost in now.values(), f"the link of {anchor} is lost"
            elif now[anchor] not in (was.get(anchor), to_be.get(anchor)):
                owner = owner_was.get(now[anchor])
                assert owner is not None, f"{anchor} has got {now[anchor]}, which nobody is to have"
                assert owner not in source, f"{anchor} has got {now[anchor]}, which is {owner}'s"


def check_equal(found: World, wanted: World) -> None:
    """After a cycle in which nothing was in the way."""
    assert not (lines := differences(found, wanted)), "\n".join(lines)


def differences(found: World, wanted: World) -> list[str]:
    """Where the target or its owners are not what they should be, a line each."""
    lines = []
    for id in sorted({*found.accounts, *found.teams, *wanted.accounts, *wanted.teams}):
        now, to_be = values_of(found, id), values_of(wanted, id)
        if now != to_be:
            lines.append(f"{id} is {now} and should be {to_be}")
    lines += [f"member {edge} is missing" for edge in sorted(wanted.edges - found.edges)]
    lines += [f"member {edge} should not be there" for edge in sorted(found.edges - wanted.edges)]
    for kind in ("owns", "owns_team"):
        now, to_be = getattr(found, kind), getattr(wanted, kind)
        if now != to_be:
            lines.append(f"links are {now} and should be {to_be}")
    return lines


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, str]]) -> None:
    """A file of the export."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
