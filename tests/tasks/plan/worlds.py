"""A small world of plain dictionaries to plan in: a source, a target, and what the ledger would remember.

``World.plan`` runs the product's own stages; ``World.apply`` does to the dictionaries what a target would do.
"""

from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd

from connectors.contract import Action, Attribute, Count, Form, Kind, Snapshot, Traits, Unreadable, no_members
from connectors.scim.schema import STANDARD, SchemaAttributes
from tasks.checks import Checked, check_plan, protection_of
from tasks.employment import with_dates
from tasks.expressions import Context
from tasks.extract import Facts
from tasks.job import Job
from tasks.plan import Block, Plan, Remembered, build_plan
from tasks.plan.compare import canonical, fingerprints
from tasks.plan.references import unowned_id

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
MANAGER = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"
ROLES = "urn:example:1.0:User:roles"
NICKNAMES = "urn:example:1.0:User:nicknames"
OWNERS = "urn:example:1.0:User:owners"
_EXTENSION = {
    ROLES: Attribute(form=Form.STRUCTURE, count=Count.LIST),
    NICKNAMES: Attribute(count=Count.LIST),
    OWNERS: Attribute(form=Form.REFERENCE, count=Count.LIST),
    "uidNumber": Attribute(form=Form.INTEGER),
}
NO_DELETES = frozenset((kind, Action.DELETE) for kind in Kind)
SCHEMA: dict[Kind, Mapping[str, Attribute]] = {
    Kind.USER: ChainMap(_EXTENSION, SchemaAttributes(STANDARD[Kind.USER])),  # type: ignore[arg-type]
    Kind.GROUP: SchemaAttributes(STANDARD[Kind.GROUP]),
}

Entry = dict[str, Any]


def make_job(users: Mapping[str, Any] | None = None, groups: Mapping[str, Any] | None = None, **sections: Any) -> Job:
    """A job whose users are matched by userName, and that puts right what others change in the target; ``users`` and
    ``groups`` are the attributes that are mapped."""
    user_rules = {
        "matching": [{"source": "[mail]", "target": "userName"}],
        "attributes": {"userName": "[mail]", "active": "Not([IsSoftDeleted])", **(users or {})},
    }
    group_rules = {
        "matching": [{"source": "[name]", "target": "displayName"}],
        "attributes": {"displayName": "[name]", **(groups or {})},
    }
    user_rules |= sections.pop("user_rules", {})
    group_rules |= sections.pop("group_rules", {})
    return Job.model_validate(
        {
            "name": "test",
            "source": {"connector": "csv", "users": {"path": "people.csv", "key": "id"}},
            "target": {"connector": "scim", "url": "http://127.0.0.1:1"},
            "users": user_rules,
            **({"groups": group_rules} if groups is not None else {}),
            "drift": "correct",
            **sections,
        }
    )


@dataclass(slots=True)
class World:
    """Both sides and the ledger, as they are now."""

    job: Job
    users: dict[str, Entry] = field(default_factory=dict)
    groups: dict[str, Entry] = field(default_factory=dict)
    members: set[tuple[str, str]] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    unreadable: list[Unreadable] = field(default_factory=list)
    set_aside: list[tuple[str, Entry]] = field(default_factory=list)
    """Rows of users that cannot be used."""
    incomplete: tuple[str, ...] = ()
    accounts: dict[Kind, dict[str, Entry]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    edges: set[tuple[str, str]] = field(default_factory=set)
    links: dict[Kind, dict[str, Entry]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    traits: Traits = field(default_factory=lambda: Traits(switch="active"))
    schema: Mapping[Kind, Mapping[str, Attribute] | None] = field(default_factory=lambda: SCHEMA)
    now: datetime = NOW
    created: int = 0
    own: str | None = None
    unwritable: dict[Kind, dict[str, str]] = field(default_factory=dict)
    """Id of the account that Provisor signs in with."""

    # Setting up

    def link(self, anchor: str, target_id: str, kind: Kind = Kind.USER, **values: Any) -> None:
        """What the ledger remembers of an account that was written before."""
        before = {"fingerprint": None, "state": "active", "label": anchor, "state_since": self.now.isoformat()}
        self.links[kind][anchor] = before | {"target_id": target_id} | values

    # Planning

    def plan(self, *, random: Random | None = None, remembered: Remembered | None = None) -> Plan:
        """What would be done now; with ``random`` the inputs come in another order."""
        remembered = remembered or self.remembered(random)
        facts = Facts(traits=self.traits, target=self.schema, source=dict.fromkeys(Kind))
        return build_plan(self.job, self.source(random), self.target(random), remembered, facts, Context(now=self.now))

    def remembered(self, random: Random | None = None) -> Remembered:
        """What the ledger remembers."""
        return Remembered(links={kind: self._links(kind, random) for kind in Kind})

    def checked(self) -> Checked:
        """The plan after the guards."""
        protection = protection_of(self.job, self.target(), own=self.own, unwritable=self.unwritable)
        return check_plan(self.plan(), self.job.limits, protection=protection)

    def source(self, random: Random | None) -> Snapshot:
        read = Snapshot(
            system="source",
            users=frame_of(self.users, random),
            groups=frame_of(self.groups, random),
            members=_edges(self.members, random),
            read_at=self.now,
            incomplete=self.incomplete,
            unreadable=tuple(self.unreadable),
            disabled=frozenset(self.disabled),
            set_aside={Kind.USER: _rows_of(self.set_aside, random)} if self.set_aside else {},
        )
        return with_dates(self.job, read, Context(now=self.now))

    def target(self, random: Random | None = None) -> Snapshot:
        job = self.job
        paths = {
            Kind.USER: {*job.users.attributes, self.traits.switch, "userName"} - {None},
            Kind.GROUP: {*job.groups.attributes, "displayName"} if job.groups is not None else set(),
        }
        frames = {kind: frame_of(self.accounts[kind], random, paths=sorted(paths[kind])) for kind in Kind}
        return Snapshot(
            system="target",
            users=frames[Kind.USER],
            groups=frames[Kind.GROUP],
            members=_edges(self.edges, random),
            read_at=self.now,
        )

    def _links(self, kind: Kind, random: Random | None) -> pd.DataFrame:
        rows = _shuffled(self.links[kind].items(), random)
        index = pd.Index([anchor for anchor, _ in rows], dtype="str", name="anchor")

        def column(name: str, dtype: str) -> pd.Series:
            return pd.Series([row[name] for _, row in rows], index=index, dtype=dtype)

        return pd.DataFrame(
            {
                "target_id": column("target_id", "str"),
                "fingerprint": column("fingerprint", "Int64"),
                "state": column("state", "str"),
                "label": column("label", "str"),
                "state_since": column("state_since", "str"),
            },
            index=index,
        )

    # Carrying out

    def apply(self, plan: Plan, blocks: Iterable[Block] | None = None) -> None:
        """Links that matching found, then every block in order (or some of them), as a target would take them."""
        for kind, entries in plan.entries.items():
            for anchor in entries.dropped:
                del self.links[kind][anchor]
            for row in entries.settled.itertuples():
                digest = None if pd.isna(row.fingerprint) else int(row.fingerprint)
                self.link(row.Index, row.target_id, kind, fingerprint=digest, state=row.state, label=row.label)
        for block in plan.blocks if blocks is None else blocks:
            for row in range(len(block)):
                self._carry_out(block, row)

    def _carry_out(self, block: Block, row: int) -> None:
        anchor = block.table["anchor"].iloc[row]
        target_id = block.table["target_id"].iloc[row]
        links, accounts = self.links[block.kind], self.accounts[block.kind]
        if pd.isna(target_id) and block.action is not Action.CREATE:
            target_id = links[anchor]["target_id"]
        match block.action:
            case Action.CREATE:
                self.created += 1
                target_id = f"new{self.created:04}"
                accounts[target_id] = {}
            case Action.DELETE:
                del accounts[target_id], links[anchor]
                self.edges = {edge for edge in self.edges if target_id not in edge}
                return
            case Action.ADD_MEMBERS:
                members = [self._id(member) for member in block.table["members"].iloc[row]]
                assert not {(target_id, member) for member in members} & self.edges, "a member is added twice"
                self.edges |= {(target_id, member) for member in members}
                return
            case Action.REMOVE_MEMBERS:
                members = block.table["member_ids"].iloc[row]
                assert {(target_id, member) for member in members} <= self.edges, "somebody who is no member is removed"
                self.edges -= {(target_id, member) for member in members}
                return
        self._write(block, row, accounts[target_id])
        whole = block.desired is not None and not block.withheld
        digest = int(fingerprints(block.desired, block.rules)[row]) if whole else None
        state = block.table["state"].iloc[row] if "state" in block.table else "active"
        label = block.table["label"].iloc[row]
        self.link(anchor, target_id, block.kind, fingerprint=digest, state=state, label=label)

    def _write(self, block: Block, row: int, entry: Entry) -> None:
        for path in block.after.columns:
            value = canonical(block.after[path].iloc[row])
            if not (block.touched[path].iloc[row] if block.touched is not None else value is not None):
                continue
            if path in block.references and value is not None:
                value = [self._id(one) for one in value] if isinstance(value, list) else self._id(value)
            if value is None:
                entry.pop(path, None)
            else:
                entry[path] = value

    def _id(self, anchor: str) -> str:
        if (unowned := unowned_id(anchor)) is not None:
            return unowned
        for kind in Kind:
            if anchor in self.links[kind]:
                return self.links[kind][anchor]["target_id"]
        raise AssertionError(f"{anchor} has no account that could be referred to")


def _rows_of(rows: list[tuple[str, Entry]], random: Random | None) -> pd.DataFrame:
    """Rows whose keys may come twice."""
    rows = list(rows)
    if random is not None:
        random.shuffle(rows)
    columns = dict.fromkeys(name for _, row in rows for name in row)
    index = pd.Index([key for key, _ in rows], name="key", dtype="str")
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for _, row in rows], index=index, dtype="str") for name in columns}
    )


def frame_of(
    entries: Mapping[str, Entry], random: Random | None = None, *, paths: Iterable[str] | None = None
) -> pd.DataFrame:
    """Entries as a system delivers them: text, booleans and objects in columns of their own types."""
    rows = _shuffled(entries.items(), random)
    index = pd.Index([key for key, _ in rows], dtype="str", name="key")
    names = sorted({name for _, row in rows for name in row}) if paths is None else list(paths)
    if random is not None:
        random.shuffle(names)
    return pd.DataFrame({name: _column(name, [row.get(name) for _, row in rows], index) for name in names}, index=index)


def _column(name: str, values: list[Any], index: pd.Index) -> pd.Series:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds & {list, dict}:
        cells = np.empty(len(values), dtype=object)
        cells[:] = values
        return pd.Series(cells, index=index, dtype=object)
    if kinds == {bool} or name == "active":
        return pd.Series(values, index=index, dtype="boolean")
    return pd.Series([None if value is None else str(value) for value in values], index=index, dtype="str")


def _edges(edges: set[tuple[str, str]], random: Random | None) -> pd.DataFrame:
    rows = _shuffled(sorted(edges), random)
    return pd.DataFrame(rows, columns=["group", "member"], dtype="str") if rows else no_members()


def _shuffled(items: Iterable[Any], random: Random | None) -> list[Any]:
    rows = list(items)
    if random is not None:
        random.shuffle(rows)
    return rows


def changes(plan: Plan, *actions: Action) -> list[tuple[Any, ...]]:
    """Every change as (action, kind, anchor, what becomes of which attributes or members), in order of the plan."""
    found: list[tuple[Any, ...]] = []
    for block in plan.blocks:
        if actions and block.action not in actions:
            continue
        for row in range(len(block)):
            table = block.table
            detail: Any = None
            if "members" in table:
                detail = list(table["members"].iloc[row])
            elif block.after is not None:
                detail = {
                    path: canonical(block.after[path].iloc[row])
                    for path in block.after.columns
                    if (
                        block.touched[path].iloc[row]
                        if block.touched is not None
                        else canonical(block.after[path].iloc[row]) is not None
                    )
                }
            found.append((str(block.action), str(block.kind), table["anchor"].iloc[row], detail))
    return found


def held(plan: Plan) -> dict[str, str]:
    """Anchor to reason of everybody who is held."""
    return {entry.anchor: entry.reason for entry in plan.held}


def notes(plan: Plan) -> dict[str, str]:
    """Anchor to reason of every note."""
    return {entry.anchor: entry.reason for entry in plan.notes}


class Settles(Protocol):
    """What plans and carries plans out."""

    def plan(self) -> Any: ...

    def apply(self, plan: Any) -> Any: ...


Settling = TypeVar("Settling", bound=Settles)


def settle(made: Settling) -> Settling:
    """Carries out what is due until nothing is."""
    for _ in range(3):
        plan = made.plan()
        if plan.empty:
            return made
        made.apply(plan)
    raise AssertionError("the plan does not become empty")
