"""What a behaviour is shown on: a system, a target for it, and a look at the system by other code than ours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.contract import Action, Change, Kind, Outcome, Pace, Wanted
from connectors.kit import KIT, Kit, KitSource, KitTarget, System
from tests.connectors.clocks import FakeClock
from tests.contract.memory import STORES, SYSTEM, MemorySettings, Store, Trouble

USERS = ("login", "code", "name", "title", "level", "vip", "since", "photo", "nicknames", "tags", "manager")
WANTED = Wanted((*USERS, "provisor:active"), ("name", "note"))


@dataclass
class MemoryBench:
    """The system in memory."""

    folder: Path
    system: System = SYSTEM
    kit: Kit = KIT
    store: Store = field(default_factory=Store)
    clock: FakeClock = field(default_factory=FakeClock)
    opened: list[KitSource] = field(default_factory=list)
    name: str = "memory"

    def target(self, *, concurrency: int = 4, **settings: Any) -> KitTarget:
        """A target on the system, closed at the end."""
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

    def close(self) -> None:
        """Closes every target."""
        for target in self.opened:
            target.close()

    # -- the system, by other code than ours -------------------------------------------------------------------------

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        """An entry made by somebody else."""
        return self.store.put(kind, values)

    def people(self, count: int) -> list[str]:
        """Entries of which nothing matters but that they are there."""
        return [self.put(login=f"user{number:05d}", name=f"User {number}") for number in range(count)]

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        """What the system holds."""
        return {key: dict(entry) for key, entry in self.store.entries[kind].items()}

    def edges(self) -> set[tuple[str, str]]:
        """Who is a member of what."""
        return set(self.store.edges)

    def join(self, group: str, *members: str) -> None:
        """Members that somebody else made."""
        for member in members:
            self.store.edges[group, member] = None
        self.store.journal.append(("edges", group))

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Trouble:
        """Have something go wrong."""
        return self.store.trouble(fault, verb=verb, nth=nth, times=times)


_NUMBERS = iter(range(1, 10**9))


def change(action: Action, target_id: str | None = None, *, kind: Kind = Kind.USER, **details: Any) -> Change:
    """A change with an id of its own."""
    members = tuple(details.pop("members", ()))
    known_by = tuple(details.pop("known_by", ("login",) if kind is Kind.USER else ("name",)))
    number = next(_NUMBERS)
    before = details.pop("before", {})
    return Change(f"c{number}", kind, action, f"a{number}", target_id, details, before, members, "", known_by)


def apply(target: KitTarget, *changes: Change, while_told: Callable[[Outcome], None] | None = None) -> list[Outcome]:
    """Outcomes of the changes, in the order of the changes; each must come exactly once."""
    told: list[Outcome] = []

    def done(outcome: Outcome) -> None:
        told.append(outcome)
        if while_told is not None:
            while_told(outcome)

    target.apply(changes, done)
    ids = [outcome.change_id for outcome in told]
    assert sorted(ids) == sorted(one.id for one in changes), "every change is told exactly once"
    return sorted(told, key=lambda outcome: ids_in_order(changes).index(outcome.change_id))


def ids_in_order(changes: Sequence[Change]) -> list[str]:
    """Their ids."""
    return [one.id for one in changes]
