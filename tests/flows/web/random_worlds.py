"""Small worlds in a ledger in which everything rare happens at once; and plain counts over the rows they leave."""

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.ledger import (
    NEVER,
    Cycle,
    CycleEnd,
    CycleKind,
    CycleState,
    Escrow,
    Known,
    Ledger,
    Link,
    LinkState,
    LogAction,
    LogEntry,
    LogStatus,
    Modified,
    Pause,
    Quarantine,
    Staged,
    StagedState,
)
from tasks.ledger.tables import CYCLE

JOBS = ("alpha", "beta", "gamma")
SHARED = frozenset({"alpha", "beta"})
"""Jobs that provision the same target."""
KEYS = (
    "000001",
    "000002",
    "ann ",
    "Ann",
    "a/b?c#d&e=f",
    "%2e%2e",
    "line\nbreak",
    "\u05de\u05d9\u05db\u05d0\u05dc",
    "soft\u00adhyphen",
    "'; DROP TABLE link; --",
    "x" * 600,
    "=1+1",
    "sep\x1farated",
    "<b>",
)
DEPARTMENTS = ("Legal", "Legal Affairs", "Legal ", "R\u00adD\u202eX", "", "{{ 7*7 }}", "Sales\nNorth", "L" * 300)
GUARDS = ("Disabling 4 of 8 users is more than the limit of 2.", "Another guard: <i>40%</i> & more.")
HELD = (
    (Kind.USER, Action.DISABLE),
    (Kind.USER, Action.DELETE),
    (Kind.USER, Action.UPDATE),
    (Kind.GROUP, Action.DELETE),
    (Kind.GROUP, Action.REMOVE_MEMBERS),
)
_LOGGED = (LogAction.CREATE, LogAction.UPDATE, LogAction.DISABLE, LogAction.DELETE, LogAction.DRIFT, LogAction.SKIP)


def make_world(ledger: Ledger, seed: int, now: datetime) -> None:
    """Fills an empty ledger."""
    chance = random.Random(seed)
    for job in JOBS:
        _Maker(ledger, job, chance, now).make()


@dataclass(slots=True)
class _Maker:
    ledger: Ledger
    job: str
    chance: random.Random
    now: datetime

    def make(self) -> None:
        """Everything of one job: some jobs have hardly anything."""
        cycles = []
        for number in range(self.chance.choice([1, 2, 4])):
            cycles.append(cycle := self._cycle(number))
            if number == 0:
                self._entries(cycle)
            if number != 1:
                self._lines(cycle)
            self._outside(cycle)
            if number < 3 or self.chance.random() < 0.5:
                self._end(cycle)
        if len(cycles) == 4:  # one that did nothing is forgotten after a while
            with self.ledger._database.writing() as connection:
                connection.execute(CYCLE.delete().where(CYCLE.c.id == cycles.pop(1).id))
        self._held(cycles)
        self._trouble()

    def _outside(self, cycle: Cycle) -> None:
        """What a listing shows; where two jobs share a target, each lists the accounts of the other."""
        names = {f"out-{self.job}-{number}": ("", f"out{number}") for number in range(self.chance.randint(0, 4))}
        if self.job in SHARED:
            others = (f"{other}-user-{place}" for other in SHARED - {self.job} for place in range(len(KEYS)))
            names |= dict.fromkeys(others, ("Listed", ""))
        self.ledger.unmanaged.keep(cycle, Kind.USER, names, complete=True, now=cycle.began)

    def _cycle(self, number: int) -> Cycle:
        kind = self.chance.choice([CycleKind.INITIAL, CycleKind.INCREMENTAL, CycleKind.ON_DEMAND])
        began = self.now - timedelta(hours=30 - 7 * number)
        target = "https://shared.example" if self.job in SHARED else f"https://{self.job}.example"
        return self.ledger.begin_cycle(
            self.job, kind, fingerprint=f"f{number}", now=began, initiator="eve@shell", target=target
        )

    def _end(self, cycle: Cycle) -> None:
        state = self.chance.choice([state for state in CycleState if state is not CycleState.RUNNING])
        counts = {name: self.chance.randint(0, 3) for name in ("created", "disabled", "failed", "staged")}
        end = CycleEnd(
            state,
            counts,
            now=cycle.began + timedelta(minutes=1),
            message="It ended.",
            source_count=self.chance.choice([None, 0, 12]),
            target_count=self.chance.choice([None, 0, 12]),
            source=self.chance.choice(["", "HR"]),
            target=self.chance.choice(["", "Shared app" if self.job in SHARED else "Own app"]),
        )
        self.ledger.end_cycle(cycle, end)

    def _entries(self, cycle: Cycle) -> None:
        for kind in Kind:
            some = self.chance.sample(range(len(KEYS)), self.chance.randint(0, len(KEYS)))
            links = [
                Link(
                    kind,
                    KEYS[place],
                    f"{self.job}-{kind}-{place}",
                    label=f"label {place}",
                    state=self.chance.choice(list(LinkState)),
                )
                for place in some
            ]
            self.ledger.record(cycle, [], [], now=cycle.began, links=links)
            known = self.chance.sample(KEYS, self.chance.randint(0, len(KEYS)))
            self.ledger.directory.put(self.job, [self._known(kind, key) for key in known])

    def _known(self, kind: Kind, key: str) -> Known:
        details = {"department": self.chance.choice(DEPARTMENTS), "title": "Analyst"}
        manager = self.chance.choice(["", *KEYS]) if kind is Kind.USER else ""
        label = self.chance.choice(["", "Twin", f"Name of {key[:20]}"])
        return Known(kind, key, label, self.chance.choice(["", "twin@example.com"]), details, manager)

    def _lines(self, cycle: Cycle) -> None:
        entries = [
            LogEntry(
                self.chance.choice(list(Kind)),
                self.chance.choice(_LOGGED),
                self.chance.choice([LogStatus.SUCCESS, LogStatus.SUCCESS, LogStatus.FAILURE, LogStatus.WARNING]),
                self.chance.choice(KEYS),
                label="label",
                reason=self.chance.choice(["because", ""]),
                code=self.chance.choice([None, ErrorCode.CONFLICT, ErrorCode.TIMEOUT]),
                modified=[Modified(self.chance.choice(["members", "title"]), 3, [{"value": None}])],
            )
            for _ in range(self.chance.randint(0, 60))
        ]
        entries += [
            LogEntry(
                Kind.GROUP,
                self.chance.choice([LogAction.ADD_MEMBERS, LogAction.REMOVE_MEMBERS]),
                LogStatus.SUCCESS,
                self.chance.choice(KEYS[:3]),
                modified=[Modified("members", ["u1", "u2"], None)],
            )
            for _ in range(self.chance.randint(0, 5))
        ]
        self.ledger.log_entries(cycle, entries, now=cycle.began)

    def _held(self, cycles: Sequence[Cycle]) -> None:
        rows = []
        for kind, action in HELD:
            for place in self.chance.sample(range(len(KEYS)), self.chance.randint(0, 8)):
                states = self.chance.sample(list(StagedState), self.chance.choice([1, 1, 1, 2, 3]))
                rows += [self._row(kind, action, place, state, self.chance.choice(cycles)) for state in states]
        self.ledger.put_staged(self.job, rows)

    def _row(self, kind: Kind, action: Action, place: int, state: StagedState, cycle: Cycle) -> Staged:
        decided = state in (StagedState.APPROVED, StagedState.REJECTED)
        members = tuple(f"u{number}" for number in self.chance.sample(range(6), self.chance.randint(1, 4)))
        return Staged(
            kind,
            action,
            KEYS[place],
            cycle.began,
            cycle.id,
            self.chance.choice(GUARDS),
            target_id=f"{self.job}-{kind}-{place}",
            label=self.chance.choice(["", f"label {place}"]),
            state=state,
            who="maria" if decided else None,
            why="because" if decided else None,
            decided_at=self.now - timedelta(hours=2) if decided else None,
            until=self.now + timedelta(hours=self.chance.choice([-1, 48])) if decided and place % 2 else None,
            members=members if action is Action.REMOVE_MEMBERS else (),
            attributes=("title",) if action is Action.UPDATE else (),
        )

    def _trouble(self) -> None:
        for kind in Kind:
            self.ledger.put_escrows(
                self.job,
                [
                    Escrow(
                        kind,
                        key,
                        self.now - timedelta(days=2),
                        self.chance.choice([NEVER, self.now + timedelta(hours=1)]),
                        self.chance.randint(1, 4),
                        "It was refused.",
                        self.chance.choice([None, ErrorCode.CONFLICT]),
                        label="label",
                    )
                    for key in self.chance.sample(KEYS, self.chance.choice([0, 0, 2]))
                ],
            )
        if self.chance.random() < 0.3:
            self.ledger.pause(self.job, Pause(self.now, "jonas", "domain move"))
        if self.chance.random() < 0.3:
            self.ledger.put_quarantine(
                self.job, Quarantine("auth", "No token.", self.now, self.now, 1, self.chance.choice([None, self.now]))
            )


# --- plain counts ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Question:
    """What one guard holds of one action, as the rows say."""

    entries: set[str] = field(default_factory=set)
    members: set[tuple[str, str]] = field(default_factory=set)


@dataclass(slots=True)
class Rows:
    """The rows of a ledger, read without the ledger's code."""

    path: Path
    now: datetime

    def read(self, table: str) -> Iterator[dict[str, Any]]:
        """All rows of a table."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as connection:
            connection.row_factory = sqlite3.Row
            yield from (dict(row) for row in connection.execute(f"SELECT * FROM {table}"))

    def past(self, moment: str | None) -> bool:
        """Whether a moment has come."""
        return moment is not None and datetime.fromisoformat(moment).replace(tzinfo=UTC) <= self.now

    def undecided(self) -> list[dict[str, Any]]:
        """Held changes about which somebody has to decide."""
        return [row for row in self.read("staged") if row["state"] in ("staged", "lapsed") or self.past(row["until"])]

    def questions(self) -> dict[tuple[str, str, str, str], Question]:
        """By job, kind, action and guard."""
        found: dict[tuple[str, str, str, str], Question] = {}
        for row in self.undecided():
            one = found.setdefault((row["job"], row["kind"], row["action"], row["guard"]), Question())
            one.entries.add(row["anchor"])
            one.members |= {(row["anchor"], member) for member in orjson.loads(row["members"] or "[]")}
        return found

    def accounts(self) -> Counter[tuple[str, str, str]]:
        """Links by job, kind and state."""
        return Counter((row["job"], row["kind"], row["state"]) for row in self.read("link"))

    def outside(self) -> Counter[str]:
        """Accounts that belong to no entry, by job: nobody owns them at the same target."""
        targets = {row["name"]: row["target"] for row in self.read("job")}
        owned = {(row["target"], row["kind"], row["target_id"]) for row in self.read("link")}
        return Counter(
            row["job"]
            for row in self.read("unmanaged")
            if (targets[row["job"]], row["kind"], row["target_id"]) not in owned
        )

    def left_behind(self, job: str, managers: set[str]) -> int:
        """People of some managers who have an active account, and of whom nothing that is held would take it."""
        active = {
            row["anchor"]
            for row in self.read("link")
            if (row["job"], row["kind"], row["state"]) == (job, "user", "active")
        }
        go = {
            row["anchor"]
            for row in self.read("staged")
            if (row["job"], row["kind"]) == (job, "user")
            and row["action"] in ("disable", "delete")
            and (row["state"] != "rejected" or self.past(row["until"]))
        }
        led = [row for row in self.read("directory") if (row["job"], row["kind"]) == (job, "user")]
        return sum(row["manager"] in managers and row["anchor"] in active - go for row in led)

    def in_need(self) -> set[str]:
        """Jobs that need a person. They have no file, so that none is overdue."""
        paused = {row["job"] for row in self.read("pause")}
        last = {row["job"]: row for row in sorted(self.read("cycle"), key=lambda row: row["number"])}
        given_up = {
            row["job"] for row in self.read("escrow") if row["attempts"] >= 3 or row["next_attempt"] > "9999-01-01"
        }
        found = {job for job, _, _, _ in self.questions()} | given_up
        found |= {row["job"] for row in self.read("quarantine")}
        stopped = {
            job
            for job, row in last.items()
            if row["state"] in ("stopped", "crashed", "running") and row["kind"] not in ("undo", "on demand")
        }
        return found | (stopped - paused)
