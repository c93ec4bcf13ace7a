"""What a behaviour is shown on: a system, a target for it, and a look at the system by other code than ours.

Behaviours speak of *roles* (``login``, ``name``, ``level``), which a bench translates to its system's paths. What a
bench cannot do raises :class:`Gap`; ``gaps.py`` says which those are, and why.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from connectors.contract import Action, Change, Kind, Outcome, Pace, Snapshot, Status, Target, Wanted
from connectors.kit import KIT, Kit, KitTarget, System
from tests.connectors.clocks import FakeClock
from tests.contract.memory import STORES, SYSTEM, MemorySettings, Store, Trouble

ROLES = ("login", "code", "name", "title", "level", "vip", "since", "photo", "nicknames", "tags", "manager", "secret")
"""Of users. ``login``: unique whatever its case; ``code``: unique exactly; ``name``: any text; ``title``: text of at
most 40 characters; ``level``: a whole number; ``vip``: a boolean; ``since``: a date; ``photo``: bytes; ``nicknames``:
a list; ``tags``: a set; ``manager``: a reference; ``secret``: written, never shown."""


class Gap(Exception):  # noqa: N818
    """The bench's system cannot do this."""


class Fired(Protocol):
    """A fault, and how often it has struck."""

    @property
    def fired(self) -> int: ...


@dataclass
class Bench:
    """One system; a connector's bench overrides what is not the same for all."""

    folder: Path
    name: str = ""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Role to path of users; a role that is missing is a gap."""
    group_paths: Mapping[str, str] = field(default_factory=lambda: {"name": "name"})
    switch: str = "provisor:active"
    refused_create: Status = Status.REJECTED
    """What becomes of a create with a title that is too long: PARTLY where the account is made without it."""
    renews: bool = False
    """Whether a token that is not accepted is renewed once, and the request sent again with the new one."""
    clock: FakeClock = field(default_factory=FakeClock)
    opened: list[Any] = field(default_factory=list)

    def target(self, **settings: Any) -> Target:
        """A target on the system, closed at the end. ``settings``: those of the memory that there are."""
        raise NotImplementedError

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        """An entry made by somebody else, by roles; gives its key."""
        raise NotImplementedError

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        """What the system holds, by key and role; ``active`` says whether a user is."""
        raise NotImplementedError

    def edges(self) -> set[tuple[str, str]]:
        """Who is a member of what."""
        raise NotImplementedError

    def join(self, group: str, *members: str) -> None:
        """Members that somebody else made."""
        raise NotImplementedError

    def edit(self, key: str, **values: Any) -> None:
        """A user changed by somebody else."""
        raise NotImplementedError

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fired:
        """Have something go wrong at the system."""
        raise Gap(f"The system does not show {fault}.")

    def close(self) -> None:
        """Closes every target."""
        for target in self.opened:
            target.close()

    # -- for behaviours ----------------------------------------------------------------------------------------------

    def path(self, role: str, kind: Kind = Kind.USER) -> str:
        """The system's path of a role."""
        found = (self.paths if kind is Kind.USER else self.group_paths).get(role)
        if found is None:
            raise Gap(f"The system has no attribute for {role}.")
        return found

    @property
    def wanted(self) -> Wanted:
        """Every role that the system has."""
        shown = [path for role, path in self.paths.items() if role != "secret"]
        return Wanted((*shown, self.switch), tuple(self.group_paths.values()))

    def change(
        self,
        action: Action,
        target_id: str | None = None,
        *,
        kind: Kind = Kind.USER,
        members: Sequence[str] = (),
        active: bool | None = None,
        before: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> Change:
        """A change by roles."""
        details = {self.path(role, kind): value for role, value in values.items()}
        held = {self.path(role, kind): value for role, value in (before or {}).items()}
        if active is not None:
            details[self.switch] = active
        known = (self.path("login" if kind is Kind.USER else "name", kind),)
        return change(action, target_id, kind=kind, members=members, known_by=known, before=held, **details)

    def entry(self, key: str) -> dict[str, Any]:
        """A user as the system holds it; None for what it lacks."""
        found = self.see()
        assert key in found, f"{key} is not there"
        return {**dict.fromkeys(ROLES), **found[key]}

    def people(self, count: int) -> list[str]:
        """Users of whom nothing matters but that they are there."""
        return [self.put(login=f"user{number:05d}", name=f"User {number}") for number in range(count)]

    def values(self, snapshot: Snapshot, key: str) -> dict[str, Any]:
        """A user of a snapshot by role; None for null."""
        row = snapshot.users.loc[key]
        found = {role: row[path] for role, path in self.paths.items() if path in row}
        return {role: value if isinstance(value, list) or pd.notna(value) else None for role, value in found.items()}


@dataclass
class MemoryBench(Bench):
    """The system in memory."""

    name: str = "memory"
    paths: Mapping[str, str] = field(default_factory=lambda: {role: role for role in ROLES})
    system: System = SYSTEM
    kit: Kit = KIT
    store: Store = field(default_factory=Store)

    def target(self, *, concurrency: int = 4, **settings: Any) -> KitTarget:
        STORES["bench"] = self.store
        target = KitTarget(
            self.system,
            MemorySettings(name="bench", **settings),
            folder=self.folder,
            pace=Pace(concurrency=concurrency),
            clock=self.clock,
            kit=self.kit,
        )
        self.opened.append(target)
        return target

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        return self.store.put(kind, values)

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        return {
            key: {**entry, "active": entry.get("state") not in ("off", "locked")}
            for key, entry in self.store.entries[kind].items()
        }

    def edges(self) -> set[tuple[str, str]]:
        return set(self.store.edges)

    def join(self, group: str, *members: str) -> None:
        for member in members:
            self.store.edges[group, member] = None
        self.store.journal.append(("edges", group))

    def edit(self, key: str, **values: Any) -> None:
        self.store.entries[Kind.USER][key] |= values
        self.store.journal.append(("put", key))

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Trouble:
        return self.store.trouble(fault, verb=verb, nth=nth, times=times)


_NUMBERS = iter(range(1, 10**9))


def change(action: Action, target_id: str | None = None, *, kind: Kind = Kind.USER, **details: Any) -> Change:
    """A change with an id of its own, by paths."""
    members = tuple(details.pop("members", ()))
    known_by = tuple(details.pop("known_by", ("login",) if kind is Kind.USER else ("name",)))
    number = next(_NUMBERS)
    before = details.pop("before", {})
    return Change(f"c{number}", kind, action, f"a{number}", target_id, details, before, members, "", known_by)


def apply(target: Target, *changes: Change, while_told: Callable[[Outcome], None] | None = None) -> list[Outcome]:
    """Outcomes of the changes, in the order of the changes; each must come exactly once."""
    told: list[Outcome] = []

    def done(outcome: Outcome) -> None:
        told.append(outcome)
        if while_told is not None:
            while_told(outcome)

    target.apply(changes, done)
    ids = [one.id for one in changes]
    assert sorted(outcome.change_id for outcome in told) == sorted(ids), "every change is told exactly once"
    return sorted(told, key=lambda outcome: ids.index(outcome.change_id))
