"""What a plan says about people is true: every sentence is held against the world it was made in.

Each kind of sentence has a rule here that asks the world itself (its rows, links and accounts), not the product. A
sentence without a rule fails: whoever adds one says here when it is true.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pandas as pd
from hypothesis import given, settings

from connectors.contract import Action, Kind
from tasks.job import AssignmentMode
from tasks.plan import Plan
from tests.properties.test_plan import CASES, LONG, PEOPLE, worlds
from tests.tasks.plan.worlds import MANAGER, OWNERS, World

SOURCE_OF = {"userName": "mail", "externalId": "n", "displayName": "name"}
COLUMN_OF = {MANAGER: "m", OWNERS: "o"}
GONE = "gone from the source"
FEWER = settings(CASES, max_examples=500 if LONG else 8, derandomize=not LONG)


@dataclass
class Truth:
    """The world, asked by people's anchors."""

    world: World
    plan: Plan
    creates: set[tuple[Kind, str]] = field(default_factory=set)
    owners: dict[Kind, dict[str, str]] = field(default_factory=dict)
    """By anchor, the account that is the entry's when the plan is made: linked before, or adopted by it."""

    def __post_init__(self) -> None:
        for block in self.plan.blocks:
            if block.action is Action.CREATE:
                self.creates |= {(block.kind, anchor) for anchor in block.table["anchor"]}
        for kind, entries in self.plan.entries.items():
            linked = {anchor: link["target_id"] for anchor, link in self.world.links[kind].items()}
            for anchor in entries.dropped:
                linked.pop(anchor, None)
            linked |= dict(entries.settled["target_id"])
            self.owners[kind] = {a: id_ for a, id_ in linked.items() if id_ in self.world.accounts[kind]}

    def has_account(self, anchor: str, kind: Kind = Kind.USER) -> bool:
        return anchor in self.owners.get(kind, {})

    def entries(self, kind: Kind) -> Mapping[str, Mapping[str, object]]:
        return self.world.users if kind is Kind.USER else self.world.groups

    def unread(self, anchor: str, kind: Kind) -> bool:
        return any(row.kind is kind and row.key == anchor for row in self.world.unreadable)

    def gone(self, anchor: str, kind: Kind) -> bool:
        return anchor not in self.entries(kind) and not self.unread(anchor, kind)

    def assigned(self, anchor: str, kind: Kind) -> bool:
        rules = self.world.job.assignment
        if rules.mode is AssignmentMode.ALL:
            return True
        named = {g for g, entry in self.world.groups.items() if {g, entry.get("name")} & set(rules.groups)}
        groups, below = set(named), set(named)
        while rules.nested and below:
            edges = self.world.members
            below = {
                m for g, m in edges if g in below and m in self.world.groups and m not in self.world.users
            } - groups
            groups |= below
        if kind is Kind.GROUP:
            return anchor in groups
        return anchor in rules.users or any(g in groups and m == anchor for g, m in self.world.members)

    def filtered_out(self, anchor: str, kind: Kind) -> bool:
        return (
            kind is Kind.USER and bool(self.world.job.users.scope) and self.world.users[anchor].get("a") in (None, "b")
        )

    def off(self, target_id: str) -> bool:
        return self.world.accounts[Kind.USER][target_id].get("active") is False

    def ended(self, anchor: str, kind: Kind) -> bool:
        """In the source, and must have no account."""
        return anchor in self.entries(kind) and not self.gives_account(anchor, kind)

    def gives_account(self, anchor: str, kind: Kind) -> bool:
        disabled = kind is Kind.USER and anchor in self.world.disabled
        return self.assigned(anchor, kind) and not self.filtered_out(anchor, kind) and not disabled

    def reason(self, words: str, anchor: str, kind: Kind) -> bool:
        """Whether what is said about somebody's end is so."""
        if words == GONE:
            return self.gone(anchor, kind)
        if anchor not in self.entries(kind) and words == "disabled in the source":
            return anchor in self.world.disabled
        assert anchor in self.entries(kind), (words, anchor)
        return {
            "not assigned": lambda: not self.assigned(anchor, kind),
            "out of scope: no group of clauses is true": lambda: self.filtered_out(anchor, kind),
            "disabled in the source": lambda: anchor in self.world.disabled,
        }[words]()

    def held(self, anchor: str, kind: Kind = Kind.USER) -> bool:
        return any(entry.anchor == anchor and entry.kind is kind for entry in self.plan.held)

    def skipped(self, anchor: str) -> bool:
        return self.world.users.get(anchor, {}).get("a") == "skip"

    def values(self, anchor: str, path: str, kind: Kind) -> str:
        return str(self.entries(kind)[anchor].get(SOURCE_OF[path]) or "").lower()

    def accounts_with(self, path: str, value: str, kind: Kind) -> set[str]:
        return {
            id_ for id_, account in self.world.accounts[kind].items() if str(account.get(path) or "").lower() == value
        }

    def shared(self, anchor: str, path: str, kind: Kind) -> bool:
        mine = self.values(anchor, path, kind)
        return any(other != anchor and self.values(other, path, kind) == mine for other in self.entries(kind))


def _reference(t: Truth, kind: Kind, anchor: str, found: re.Match[str]) -> bool:
    """Every group of names in ``refers to``, and that somebody of this name is referred to."""
    wanted = t.world.users[anchor][COLUMN_OF[found["path"]]] if kind is Kind.USER else None
    names: list[str] = []
    for part in found["what"].split(", and to "):
        listed, clause = re.fullmatch(r"(.+?), (who .+)", part).groups()  # type: ignore[union-attr]
        mine = listed.removesuffix(" and others").split(", ")
        names += mine
        for name in mine:
            if (name in PEOPLE) and not _clause_holds(t, name, clause):
                return False
    if "left out until then" in found.string and any(t.has_account(name) for name in names):
        return False
    return set(names) <= {*(wanted if isinstance(wanted, list) else [wanted])}


def _clause_holds(t: Truth, name: str, clause: str) -> bool:
    if re.fullmatch("who (has|have) no account in the target", clause):
        return not t.has_account(name) and (Kind.USER, name) not in t.creates
    if ended := re.fullmatch(r"who (?:has|have) an account and should have none \((.+)\)", clause):
        return t.has_account(name) and t.reason(ended[1], name, Kind.USER)
    if re.fullmatch("who (has|have) an account and (is|are) held in this cycle", clause):
        return t.has_account(name) and (t.held(name) or t.skipped(name) or t.unread(name, Kind.USER))
    raise AssertionError(f"a clause without a rule: {clause}")


def _members(t: Truth, kind: Kind, anchor: str, found: re.Match[str]) -> bool:
    """The figures agree with the source's members of the group."""
    members = [member for group, member in t.world.members if group == anchor]
    users = {member for member in members if member in PEOPLE and (member in t.world.users or t.has_account(member))}

    def there(member: str) -> bool:
        return t.has_account(member) or (member not in users and t.has_account(member, Kind.GROUP))

    def coming(member: str) -> bool:
        known_user = member in t.world.users or member in t.world.links[Kind.USER]
        return (Kind.USER, member) in t.creates or ((Kind.GROUP, member) in t.creates and not known_user)

    for count, what in re.findall(r"([\d,]+) of its members (.+?);", found.string):
        if what in ("has no account in the target", "have no account in the target"):
            mine = [member for member in members if not there(member) and not coming(member)]
        elif what in ("has an account and should have none", "have an account and should have none"):
            mine = [member for member in members if there(member) and not coming(member)]
            if len(mine) < int(count):
                return False
            continue
        else:
            raise AssertionError(f"figures without a rule: {what}")
        if len(mine) != int(count):
            return False
    return True


def _owner(t: Truth, kind: Kind, anchor: str, found: re.Match[str]) -> bool:
    """The account by which the entry matches is linked to the one that is named, and how that one stands."""
    link = t.world.links[kind].get(found["owner"])
    value = t.values(anchor, found["path"], kind)
    if link is None or link["target_id"] not in t.accounts_with(found["path"], value, kind):
        return False
    if "which is still there" in found["how"]:
        there = found["owner"] in t.entries(kind) or t.unread(found["owner"], kind)
        return there and not t.ended(found["owner"], kind)
    if "like this one" in found["how"]:
        return t.ended(found["owner"], kind) and t.ended(anchor, kind)
    return t.ended(found["owner"], kind) and not t.ended(anchor, kind)


def _nameless(t: Truth, kind: Kind, anchor: str, found: re.Match[str]) -> bool:
    return not any(t.values(anchor, path, kind) for path in found["paths"].split(" and "))


def _two_claims(t: Truth, kind: Kind, anchor: str, found: re.Match[str]) -> bool:
    """Another entry that is no stranger matches an account that this one matches, by whichever attribute."""
    paths = [rule.target for rule in t.world.job.rules[kind].matching]
    mine = {id_ for path in paths if (v := t.values(anchor, path, kind)) for id_ in t.accounts_with(path, v, kind)}
    others = {
        id_
        for other in t.entries(kind)
        if other != anchor
        for path in paths
        if (value := t.values(other, path, kind))
        for id_ in t.accounts_with(path, value, kind)
    }
    linked = {link["target_id"] for other, link in t.world.links[kind].items() if other != anchor}
    return bool(mine & (others | linked))


def _takes_over(t: Truth, kind: Kind, anchor: str, found: re.Match[str]) -> bool:
    was = t.world.links[kind][found["old"]]["target_id"]
    return t.owners[kind].get(anchor) == was and (t.gone(found["old"], kind) or t.ended(found["old"], kind))


def _was_taken(t: Truth, kind: Kind, anchor: str, found: re.Match[str]) -> bool:
    return t.owners[kind].get(found["new"]) == t.world.links[kind][anchor]["target_id"]


def _told(t: Truth, kind: Kind, anchor: str, found: re.Match[str]) -> bool:
    """What needs nothing but the entry: the rest of the world does not make it false."""
    return True


Rule = Callable[[Truth, Kind, str, re.Match[str]], bool]
SENTENCES: dict[str, Rule] = {
    r"(?P<path>\S+) refers to (?P<what>.+); left out (until then|for now)\.": _reference,
    r"[\d,]+ of its members .+": _members,
    r"people\.csv, line 1: The row is cut off\.": lambda t, kind, anchor, _: t.unread(anchor, kind),
    r"Several entries of the source have the same value for (?P<path>\w+), by which accounts are matched\.": (
        lambda t, kind, anchor, found: t.shared(anchor, found["path"], kind)
    ),
    r"(?P<count>\d+) accounts of the target match by (?P<path>\w+); none of them is touched\.": (
        lambda t, kind, anchor, found: (
            len(t.accounts_with(found["path"], t.values(anchor, found["path"], kind), kind)) == int(found["count"])
        )
    ),
    r"It has no value for (?P<paths>.+), by which accounts are matched; none is created\.": _nameless,
    r"The target cannot delete accounts; set deprovision to disable or keep\.": (
        lambda t, kind, anchor, _: (kind, Action.DELETE) in t.world.traits.cannot and t.has_account(anchor, kind)
    ),
    r"The account that matches by (?P<path>\w+) belongs to the source entry (?P<owner>\w+), (?P<how>which .+)": _owner,
    r"Another entry of the source matches the same account of the target; it is not touched\.": _two_claims,
    r"It takes over the account of (?P<old>\w+) \(.+\), who has ended, .+ Are both one person\?": _takes_over,
    r"Its account now belongs to (?P<new>\w+) \(.+\), .+ Are both one person\?": _was_taken,
    r"The user (?P<key>\w+) is assigned, but the source has no such user\.": (
        lambda t, kind, anchor, found: found["key"] not in t.world.users
    ),
    r"The group (?P<key>\w+) is assigned, but the source has no such group\.": (
        lambda t, kind, anchor, found: found["key"] not in t.world.groups
    ),
    r"None of its mapped attributes has a value\.": _told,
    r"Its new .+ belongs to an entry that waits for this one to give up its own\..+": _told,
    r"Every value that could be chosen for .+": _told,
    r"title: .+": lambda t, kind, anchor, _: t.world.users[anchor].get("a") == "none",
}


def judged(t: Truth, kind: Kind, anchor: str, sentence: str) -> bool:
    """Whether a sentence about an entry is true. Raises AssertionError where no rule knows the sentence."""
    for pattern, rule in SENTENCES.items():
        if found := re.fullmatch(pattern, sentence):
            return rule(t, kind, anchor, found)
    raise AssertionError(f"no rule says when this is true: {sentence}")


class Row(SimpleNamespace):
    """One change of a block."""

    anchor: str
    target_id: Any
    reason: str
    member_ids: list[str]


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The changes of a block, one by one."""
    return [Row(**{str(name): value for name, value in row.items()}) for row in table.to_dict("records")]


def reasons(plan: Plan) -> Iterator[tuple[Kind, Action, str, str | None, str]]:
    """Every change: kind, action, anchor, account, and why."""
    for block in plan.blocks:
        for row in rows_of(block.table):
            yield block.kind, block.action, row.anchor, None if pd.isna(row.target_id) else row.target_id, row.reason


def reason_holds(t: Truth, kind: Kind, action: Action, anchor: str, target_id: str | None, words: str) -> bool:
    """Whether the reason of a change is so."""
    words, _, taken = words.partition("; until now the account of ")
    if taken and t.world.links[kind][taken]["target_id"] != target_id:
        return False
    linked = t.world.links[kind].get(anchor)
    match action:
        case Action.CREATE if words == "in scope, and no account of the target matches":
            return linked is None and t.gives_account(anchor, kind)
        case Action.CREATE:
            assert words == "its account was deleted in the target outside Provisor", words
            return linked is not None and linked["target_id"] not in t.world.accounts[kind]
        case Action.DISABLE | Action.DELETE if words.startswith("adopted"):
            return linked is None
        case Action.DISABLE:
            assert target_id is not None
            return t.reason(words, anchor, kind) and not t.off(target_id)
        case Action.DELETE:
            return t.reason(words, anchor, kind)
        case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
            return True  # the rule of memberships asks for each of them, below
        case Action.ENABLE if words.startswith("active in the source, and the target does not say"):
            account = t.world.accounts[kind][str(target_id)]
            return t.gives_account(anchor, kind) and account.get("active") is None
        case Action.ENABLE if words == "active in the source again":
            assert target_id is not None
            return t.gives_account(anchor, kind) and t.off(target_id)
    if words.startswith("adopted, matched by "):
        path = words.removeprefix("adopted, matched by ")
        return target_id in t.accounts_with(path, t.values(anchor, path, kind), kind)
    return words in (
        "refers to an entry that is created in this cycle",
        "changed in the source",
        "changed in the target outside Provisor",
        "a name for the time between: entries swap theirs",
    )


@FEWER
@given(worlds())
def test_what_is_said_about_people_is_true(world: World) -> None:
    """Whatever is held, noted, passed over or done: the sentence agrees with who is there, gone, held and off."""
    plan = world.plan()
    truth = Truth(world, plan)
    for entry in [*plan.held, *plan.notes]:
        assert judged(truth, entry.kind, entry.anchor, entry.reason), entry
    for kind, action, anchor, target_id, words in reasons(plan):
        assert reason_holds(truth, kind, action, anchor, target_id, words), (action, anchor, words)
    for kind, entries in plan.entries.items():
        for anchor, words in entries.passed_over.result().items():
            assert not truth.has_account(str(anchor), kind), anchor
            if words not in ("left out by a mapping (IgnoreObjectFlow)", "the job creates no accounts"):
                assert truth.reason(words, str(anchor), kind), (anchor, words)


@FEWER
@given(worlds())
def test_a_membership_ends_for_what_is_so(world: World) -> None:
    """No longer a member: the source does not say it; leaving: the account is one that should not be."""
    plan = world.plan()
    truth = Truth(world, plan)
    owner_of = {id_: anchor for kind in Kind for anchor, id_ in truth.owners.get(kind, {}).items()}
    for block in plan.blocks:
        if block.action is not Action.REMOVE_MEMBERS:
            continue
        for row in rows_of(block.table):
            for id_ in row.member_ids:
                anchor = owner_of.get(id_, "")
                if row.reason == "no longer a member in the source":
                    assert (row.anchor, anchor) not in world.members or truth.gone(row.anchor, Kind.GROUP), row
                else:
                    kinds = [kind for kind in Kind if truth.owners.get(kind, {}).get(anchor) == id_]
                    assert any(
                        not truth.gives_account(anchor, k) if anchor in truth.entries(k) else True for k in kinds
                    )
