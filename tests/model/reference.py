"""What the target must be after one cycle in which nothing goes wrong, said in plain dictionaries.

A model of the product's promises, not of its code: nothing of the product is imported, entries are taken one by one,
and everything is as slow and as obvious as it likes. Its words are those of the design.

``settle`` takes the world as it is (source, job, target, and who owns what) and gives the world as it must be. Entries
that the cycle creates have ids of their own, ``new p1``, since only the target knows the real ones.
"""

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Entry = dict[str, Any]

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Rules:
    """What the job says, where this machine lets it say different things."""

    title: str | None = "leave"
    """How the title is mapped: not at all, ``leave`` (null leaves it alone) or ``clear``."""
    nick: str | None = "on_create"
    """Likewise: not at all, ``leave``, ``clear``, or ``on_create``."""
    manager: str | None = "leave"
    """Likewise: not at all, ``leave`` or ``clear``."""
    scope: bool = False
    """Whether people of the department ``out`` are out of scope."""
    by_anchor: bool = False
    """Whether accounts are also recognised by externalId, after userName."""
    assigned: tuple[str, ...] | None = None
    """Anchors of the users and groups that are assigned; None: everybody is."""
    groups: bool = True
    """Whether the job has groups at all."""
    members: str = "authoritative"
    nested: str = "keep"
    unassigned: str = "disable"
    out_of_scope: str = "disable"
    disabled: str = "disable"
    deleted: str = "disable"
    delete_after: timedelta | None = None
    drift: str = "correct"
    vanished: str = "recreate"


@dataclass(slots=True)
class World:
    """Both sides, and what Provisor is to remember."""

    rules: Rules = field(default_factory=Rules)
    now: datetime = LONG_AGO
    # the source
    people: dict[str, dict[str, str]] = field(default_factory=dict)
    """Anchor to userName, title, nick, department, manager, status; empty text for null."""
    groups: dict[str, str] = field(default_factory=dict)
    """Anchor to name."""
    members: set[tuple[str, str]] = field(default_factory=set)
    """(anchor of a group, anchor of a user or a group)."""
    # the target
    accounts: dict[str, Entry] = field(default_factory=dict)
    """Users by id; what has no value is not there. A manager is an id."""
    teams: dict[str, Entry] = field(default_factory=dict)
    """Groups by id."""
    edges: set[tuple[str, str]] = field(default_factory=set)
    """(id of a group, id of a user or a group)."""
    # what is remembered
    owns: dict[str, str] = field(default_factory=dict)
    """Anchor of a user to the id of the account."""
    owns_team: dict[str, str] = field(default_factory=dict)
    """Anchor of a group to its id in the target."""
    off_since: dict[str, datetime] = field(default_factory=dict)
    """Anchors whose account counts as disabled, and since when."""

    def copy(self) -> "World":
        return deepcopy(self)

    def remove(self, id: str) -> None:
        """Takes an entry out of the target, and out of its groups."""
        self.accounts.pop(id, None)
        self.teams.pop(id, None)
        self.edges = {edge for edge in self.edges if id not in edge}


def settle(before: World) -> World:
    """The world after one cycle that saw both systems whole and in which every request was carried out."""
    world = before.copy()
    rules, people = world.rules, world.people
    in_scope = {anchor for anchor in people if why_outside(world, anchor) is None}

    # Who has which account: the one that is owned, else the one that is recognised.
    has = {anchor: id for anchor, id in world.owns.items() if anchor in in_scope and id in world.accounts}
    vanished = {anchor for anchor, id in world.owns.items() if anchor in in_scope and id not in world.accounts}
    owner_of = {id: anchor for anchor, id in world.owns.items()}
    released, held = set(), set()
    for path, value_of in (("userName", _name_of), ("externalId", _anchor_of)):
        if path == "externalId" and not rules.by_anchor:
            continue
        found = {}
        for anchor in sorted(in_scope - has.keys() - held):
            same = [id for id, one in world.accounts.items() if one.get(path) == value_of(world, anchor)]
            owner = owner_of.get(same[0]) if len(same) == 1 else None
            if len(same) > 1 or (owner is not None and owner in people):
                held.add(anchor)
            elif same:
                found[anchor] = same[0]
                released |= {owner} - {None}
        has |= found
    for anchor in [one for one in has if world.owns.get(one) != has[one] and list(has.values()).count(has[one]) > 1]:
        del has[anchor]  # two rules led to one account: nobody gets it by being recognised
        held.add(anchor)

    # Who gets one.
    for anchor in sorted(in_scope - has.keys() - held):
        if people[anchor]["status"] != "active" or (anchor in vanished and rules.vanished == "leave"):
            continue
        has[anchor] = f"new {anchor}"
        world.accounts[has[anchor]] = {"active": True}
    created = {id for id in has.values() if id.startswith("new ")}

    # What it says.
    for anchor, id in has.items():
        adopted = id not in created and world.owns.get(anchor) != id
        _write_user(world, anchor, id, has, created=id in created, adopted=adopted)

    # Who leaves.
    gone: set[str] = set()
    for anchor, id in has.items():
        if people[anchor]["status"] == "active" or world.owns.get(anchor) != id:
            continue  # what is only adopted in this cycle is disabled at most
        if rules.disabled == "delete" or (rules.disabled == "disable" and _grace_is_over(world, anchor)):
            gone.add(anchor)
    leaving: set[str] = set()
    for anchor, id in list(world.owns.items()):
        if anchor in in_scope or anchor in released:
            continue
        if id not in world.accounts:
            del world.owns[anchor]
            continue
        why = why_outside(world, anchor)
        assert why is not None
        policy = getattr(rules, why)
        if policy != "keep":
            leaving.add(id)
        if policy == "delete" or (policy == "disable" and _grace_is_over(world, anchor)):
            gone.add(anchor)
        elif policy == "disable":
            world.accounts[id]["active"] = False
    for anchor in released:
        del world.owns[anchor]
    world.owns |= has

    if rules.groups:
        _settle_groups(world, has, gone, leaving)
    for anchor in gone:
        world.remove(world.owns.pop(anchor))
    return world


def why_outside(world: World, anchor: str) -> str | None:
    """Why somebody must not have an account, as deprovision names it; None for whoever is in scope."""
    if anchor not in world.people:
        return "deleted"
    if world.rules.assigned is not None and anchor not in _assigned_users(world):
        return "unassigned"
    if world.rules.scope and world.people[anchor]["department"] in ("", "out"):
        return "out_of_scope"  # a clause about nothing is false
    return None


def _assigned_users(world: World) -> set[str]:
    listed = set(world.rules.assigned or ())
    return listed | {member for group, member in world.members if group in listed and group in world.groups}


def _name_of(world: World, anchor: str) -> str:
    return world.people[anchor]["userName"]


def _anchor_of(world: World, anchor: str) -> str:
    return anchor


def _write_user(world: World, anchor: str, id: str, has: dict[str, str], *, created: bool, adopted: bool) -> None:
    person, account, rules = world.people[anchor], world.accounts[id], world.rules
    account["userName"], account["externalId"] = person["userName"], anchor
    if person["status"] == "active":
        account["active"] = True
    elif rules.disabled == "disable" or (rules.disabled == "delete" and adopted):
        account["active"] = False
    for path, mapping, value in (("title", rules.title, person["title"]), ("nickName", rules.nick, person["nick"])):
        if mapping is None or (mapping == "on_create" and not created):
            continue
        if value:
            account[path] = value
        elif mapping == "clear":
            account.pop(path, None)
    if rules.manager is None:
        return
    if not person["manager"]:
        if rules.manager == "clear":
            account.pop("manager", None)
    elif person["manager"] in has:
        account["manager"] = has[person["manager"]]


def _grace_is_over(world: World, anchor: str) -> bool:
    """Disabled for longer than the job waits."""
    after, since = world.rules.delete_after, world.off_since.get(anchor)
    return after is not None and since is not None and since + after <= world.now


def _settle_groups(world: World, has: dict[str, str], gone: set[str], leaving: set[str]) -> None:
    rules = world.rules
    assigned = {one for one in world.groups if rules.assigned is None or one in rules.assigned}
    teams = {anchor: id for anchor, id in world.owns_team.items() if anchor in assigned and id in world.teams}
    vanished = {anchor for anchor, id in world.owns_team.items() if anchor in assigned and id not in world.teams}
    owner_of = {id: anchor for anchor, id in world.owns_team.items()}
    released, held = set(), set()
    for anchor in sorted(assigned - teams.keys()):
        same = [id for id, team in world.teams.items() if team.get("displayName") == world.groups[anchor]]
        owner = owner_of.get(same[0]) if len(same) == 1 else None
        if len(same) > 1 or (owner is not None and owner in world.groups):
            held.add(anchor)
        elif same:
            teams[anchor] = same[0]
            released |= {owner} - {None}
    for anchor in sorted(assigned - teams.keys() - held):
        if anchor in vanished and rules.vanished == "leave":
            continue
        teams[anchor] = f"new {anchor}"
        world.teams[teams[anchor]] = {}
    for anchor, id in teams.items():
        world.teams[id] |= {"displayName": world.groups[anchor], "externalId": anchor}

    emptied, dissolved, outgoing = set(), set(), set()
    for anchor, id in list(world.owns_team.items()):
        if anchor in assigned or anchor in released:
            continue
        if id not in world.teams:
            del world.owns_team[anchor]
            continue
        policy = rules.unassigned if anchor in world.groups else rules.deleted
        if policy != "keep":
            outgoing.add(id)
        if policy == "disable":
            emptied.add(id)
        elif policy == "delete":
            dissolved.add(anchor)
    for anchor in released:
        del world.owns_team[anchor]
    world.owns_team |= teams

    # Members that stay may be anybody with an account who is not leaving; members that join must be in scope.
    staying = {anchor: id for anchor, id in world.owns.items() if id not in leaving}
    staying = {anchor: id for anchor, id in world.owns_team.items() if id not in outgoing} | staying
    joining = {id for anchor, id in has.items() if anchor not in gone} | set(teams.values())
    members = flattened(world) if rules.nested == "flatten" else world.members
    wanted = {(teams[group], staying[member]) for group, member in members if group in teams and member in staying}
    owned = set(teams.values()) | emptied
    if rules.members == "authoritative":
        world.edges = {edge for edge in world.edges if edge[0] not in owned or edge in wanted}
    world.edges |= {(group, member) for group, member in wanted if member in joining}
    for anchor in dissolved:
        world.remove(world.owns_team.pop(anchor))


def flattened(world: World) -> set[tuple[str, str]]:
    """Memberships of users alone: of every group also the users of the groups inside it."""
    edges = set(world.members)
    while True:
        deeper = {(group, inner) for group, middle in edges for outer, inner in edges if middle == outer}
        if deeper <= edges:
            break
        edges |= deeper
    return {(group, member) for group, member in edges if member not in world.groups}
