"""A system that lives in memory, and the connector for it: what the contract suite is written against.

The store is a strict one: logins are unique whatever their case, codes exactly; ids are never used twice; a group must
exist to be filled. It lies only when it is told to, by ``trouble``, and says whether it did.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors.errors import CredentialsError, RetryableError, UnknownOutcomeError
from connectors.kit import (
    ENTRY,
    KEY,
    MEMBERS,
    Action,
    Again,
    Asked,
    Attribute,
    Change,
    Count,
    Done,
    Edge,
    Effect,
    ErrorCode,
    Family,
    Form,
    Held,
    Kind,
    Known,
    Later,
    Limits,
    Look,
    Opening,
    Page,
    Reach,
    Refused,
    Reread,
    Sameness,
    Sought,
    Step,
    Switch,
    System,
    Verdict,
    Write,
    table,
)
from connectors.kit.target import connector
from connectors.kit.values import text_key
from connectors.settings import Settings

USERS = table(
    Attribute("login", unique=Reach.SYSTEM, required=True),
    Attribute("code", same=Sameness.EXACT, unique=Reach.SYSTEM),
    Attribute("name"),
    Attribute("title", longest=40),
    Attribute("level", form=Form.INTEGER),
    Attribute("nick"),
    Attribute("mail"),
    Attribute("share", form=Form.DECIMAL),
    Attribute("vip", form=Form.BOOLEAN),
    Attribute("since", form=Form.DATE),
    Attribute("photo", form=Form.BYTES),
    Attribute("nicknames", count=Count.LIST),
    Attribute("tags", count=Count.SET),
    Attribute("manager", form=Form.REFERENCE, refers_to=frozenset({Kind.USER})),
    Attribute("secret", write=Write.BLIND),
    Attribute("made", form=Form.DATE, write=Write.NEVER, set_by_system=True),
    Attribute("state"),
    Attribute("flags", form=Form.INTEGER),
)
GROUPS = table(Attribute("name", unique=Reach.SYSTEM, required=True), Attribute("note"))
STAND_IN = "nobody"
WORDS = Switch.words("state", on="on", off="off", others={"invited": True, "locked": False})


@dataclass(slots=True)
class Trouble:
    """One fault: from the ``nth`` fitting request on, ``times`` times."""

    fault: str
    verb: str = ""
    nth: int = 1
    times: int = 1
    seen: int = 0
    fired: int = 0

    def strikes(self, verb: str) -> bool:
        """Whether it strikes this request."""
        if self.verb and self.verb != verb:
            return False
        self.seen += 1
        if self.seen < self.nth or self.fired >= self.times:
            return False
        self.fired += 1
        return True


@dataclass(slots=True)
class Store:
    """Everything in the system, and what it is asked to do wrong."""

    entries: dict[Kind, dict[str, dict[str, Any]]] = field(default_factory=lambda: {kind: {} for kind in Kind})
    edges: dict[tuple[str, str], None] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    journal: list[tuple[str, str]] = field(default_factory=list)
    """What happened: verb and key, for listings of changes."""
    sent: list[tuple[Any, ...]] = field(default_factory=list)
    """Requests in order of arrival."""
    jobs: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    numbers: int = 0
    page: int = 500
    late: int = 0
    """Looks for which a new entry stays hidden."""
    strict: bool = False
    """Whether a group must have a member."""
    filling: set[str] = field(default_factory=set)
    """Groups whose members are being changed."""
    races: int = 0
    """Times that a group was changed while it was being changed."""
    hidden: dict[str, int] = field(default_factory=dict)

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Trouble:
        """Have something go wrong."""
        one = Trouble(fault, verb, nth, times)
        self.troubles.append(one)
        return one

    def strikes(self, verb: str) -> str:
        """The fault that strikes this request; empty for none."""
        return next((one.fault for one in self.troubles if one.strikes(verb)), "")

    def put(self, kind: Kind, values: Mapping[str, Any]) -> str:
        """An entry made by somebody else."""
        self.numbers += 1
        key = f"{kind.value[0]}{self.numbers:06d}"
        self.entries[kind][key] = {path: value for path, value in values.items() if value is not None}
        if kind is Kind.USER:
            self.entries[kind][key].setdefault("state", "on")
        self.journal.append(("put", key))
        return key

    def answer(self, request: tuple[Any, ...]) -> tuple[Any, ...]:
        """What the system says to one write, having done it."""
        verb, *arguments = request
        match verb:
            case "create":
                kind, values, members = arguments
                if taken := self._taken(kind, values, None):
                    return ("taken", taken)
                if (title := values.get("title")) is not None and len(title) > 40:
                    return ("too long", "title")
                key = self.put(kind, {"made": "2026-01-01T00:00:00Z", **values} if kind is Kind.USER else values)
                for member in members:
                    self.edges[key, member] = None
                if self.late:
                    self.hidden[key] = self.late
                return ("made", key)
            case "update":
                kind, key, values = arguments
                if key not in self.entries[kind]:
                    return ("gone", key)
                if taken := self._taken(kind, values, key):
                    return ("taken", taken)
                if (title := values.get("title")) is not None and len(title) > 40:
                    return ("too long", "title")
                entry = self.entries[kind][key]
                for path, value in values.items():
                    if value is None:
                        entry.pop(path, None)
                    else:
                        entry[path] = value
                self.journal.append(("put", key))
                return ("done",)
            case "delete":
                kind, key = arguments
                if self.entries[kind].pop(key, None) is None:
                    return ("gone", key)
                for edge in [edge for edge in self.edges if key in edge]:
                    del self.edges[edge]
                self.journal.append(("gone", key))
                return ("done",)
            case "members":
                group, joins, leaves = arguments
                return self._members(group, joins, leaves)
            case _:
                return ("unknown verb", verb)

    def _members(self, group: str, joins: Sequence[str], leaves: Sequence[str]) -> tuple[Any, ...]:
        if group not in self.entries[Kind.GROUP]:
            return ("gone", group)
        known = {*self.entries[Kind.USER], *self.entries[Kind.GROUP], STAND_IN}
        if any(member not in known for member in joins):
            return ("no such member",)
        if any((group, member) in self.edges for member in joins):
            return ("member already",)
        if any((group, member) not in self.edges for member in leaves):
            return ("no member",)
        left = {member for held, member in self.edges if held == group} - set(leaves) | set(joins)
        if self.strict and not left:
            return ("must have a member",)
        for member in leaves:
            del self.edges[group, member]
        for member in joins:
            self.edges[group, member] = None
        self.journal.append(("edges", group))
        return ("done",)

    def _taken(self, kind: Kind, values: Mapping[str, Any], own: str | None) -> str:
        for path, attribute in (USERS if kind is Kind.USER else GROUPS).items():
            if attribute.unique is None or values.get(path) is None:
                continue
            wanted = text_key(attribute.same, str(values[path]))
            for key, entry in self.entries[kind].items():
                if key != own and path in entry and text_key(attribute.same, str(entry[path])) == wanted:
                    return path
        return ""


class MemorySettings(Settings):
    """Which store."""

    name: str = "memory"
    needs_member: bool = False
    bit: bool = False
    per_call: int = 100
    pack: int = 1
    late_s: float = 2.0


STORES: dict[str, Store] = {}
"""Stores by name: settings are data."""


class MemoryWire:
    """The line to a store."""

    def __init__(self, store: Store, opening: Opening) -> None:
        self.store, self.clock, self.requests = store, opening.clock, 0

    async def send(self, request: tuple[Any, ...]) -> Any:
        """One write, or several in one."""
        self.requests += 1
        verb = request[0]
        self.store.sent.append(request)
        fault = self.store.strikes(verb)
        match fault:
            case "lost before":
                raise UnknownOutcomeError("The connection was lost.")
            case "throttled":
                raise RetryableError("Too many requests.", retry_after_s=2.0)
            case "not trusted":
                raise CredentialsError("The password is wrong.")
            case "broken":
                return ("what?",)
            case "job":
                job = f"job{len(self.store.jobs)}"
                self.store.jobs[job] = request
                return ("later", job)
        answer: Any
        if verb == "members":
            await self._fill(request[1])
        if verb == "pack":
            if fault == "pack refused":
                return ("too many",)
            answer = [self.store.answer(one) for one in request[1]]
            if fault == "short pack":
                answer = answer[:-1]
            if fault == "hole in pack":
                answer[0] = None
        else:
            answer = ("done",) if fault == "ignored" else self.store.answer(request)
        if fault == "lost after":
            raise UnknownOutcomeError("The connection was lost.")
        return answer

    async def _fill(self, group: str) -> None:
        """Takes a moment, in which nobody else may change the group."""
        self.store.races += group in self.store.filling
        self.store.filling.add(group)
        await asyncio.sleep(0.001)
        self.store.filling.discard(group)

    async def poll(self, job: str) -> Any:
        """What came of a job."""
        fault = self.store.strikes("poll")
        if fault == "not yet":
            return ("later", job)
        if fault == "job failed":
            return ("too long", "title")
        return self.store.answer(self.store.jobs[job])

    async def close(self) -> None:
        """Nothing to let go of."""


def _open(settings: MemorySettings, opening: Opening) -> MemoryWire:
    return MemoryWire(STORES.setdefault(settings.name, Store()), opening)


async def _traits(w: MemoryWire, settings: MemorySettings) -> Known:
    stand_in = STAND_IN if settings.needs_member else None
    return Known(
        users=USERS,
        groups=GROUPS,
        switch=Switch.bit("flags", 2)
        if settings.bit
        else Switch.words("state", on="on", off="off", others={"invited": True}),
        families=(Family(holds=frozenset(Kind), needs_member=stand_in, per_call=settings.per_call),),
        limits=Limits(find=50, fetch=50, page=w.store.page, pack=settings.pack, settles_in_s=settings.late_s),
        settings=settings,
    )


async def _check(w: MemoryWire, known: Known) -> str:
    return f"The memory {known.settings.name} can be read."


def shown(kind: Kind, key: str, entry: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """An entry as the system shows it."""
    attributes = USERS if kind is Kind.USER else GROUPS
    hidden = {path for path in paths if path in attributes and attributes[path].write is Write.BLIND}
    return {KEY: key, **{path: entry.get(path) for path in paths if path not in hidden}}


async def _pages(w: MemoryWire, known: Known, asked: Asked) -> AsyncIterator[Page]:
    if asked.since is not None:
        async for page in _changes(w, asked):
            yield page
        return
    entries = list(w.store.entries[asked.kind].items())
    total, size, mark = len(entries), w.store.page, str(len(w.store.journal))
    starts = list(range(0, total, size)) or [0]
    for number, start in enumerate(starts):
        w.requests += 1
        fault = w.store.strikes("page")
        if fault == "cut":
            raise RetryableError("The connection was lost.")
        part = entries[start : start + size]
        if fault == "doubled" and start:
            part = [entries[start - 1], *part[1:]]
        if fault == "empty":
            yield Page(next=f"{start}-again", total=total)
        edges = [Edge(*edge) for edge in w.store.edges if asked.members and edge[0] in dict(part)]
        bad: list[tuple[str | None, str]] = []
        rows = []
        for key, entry in part:
            if entry.get("name") == "unreadable":
                bad.append((key, "Its name is not text."))
            else:
                rows.append(shown(asked.kind, key, entry, asked.paths))
        last = number == len(starts) - 1
        following = None if last else "0" if fault == "circle" else str(start + size)
        yield Page(rows, following, total, edges=edges, unreadable=bad, watermark=mark if last else None)
        if fault == "stops":
            return


async def _changes(w: MemoryWire, asked: Asked) -> AsyncIterator[Page]:
    since = int(asked.since or 0)
    if since > len(w.store.journal) or w.store.strikes("delta") == "expired":
        raise Reread("The system has forgotten what changed since.")
    w.requests += 1
    touched = dict.fromkeys(key for _, key in w.store.journal[since:])
    entries = w.store.entries[asked.kind]
    rows = [shown(asked.kind, key, entries[key], asked.paths) for key in touched if key in entries]
    gone = [key for key in touched if key not in entries and key.startswith(asked.kind.value[0])]
    edges = [Edge(*edge) for edge in w.store.edges if asked.members and edge[0] in touched]
    yield Page(rows, edges=edges, gone=gone, watermark=str(len(w.store.journal)))


async def _look(w: MemoryWire, known: Known, sought: Sought) -> Page:
    w.requests += 1
    w.store.sent.append(("look", sought))
    fault = w.store.strikes("look")
    if fault == "cut":
        raise RetryableError("The connection was lost.")
    entries = w.store.entries[sought.kind]
    keys = []
    attribute = known.attribute(sought.kind, sought.path)
    wanted = {text_key(attribute.same, str(value)) for value in sought.values}
    for key, entry in entries.items():
        if w.store.hidden.get(key, 0) > 0:
            w.store.hidden[key] -= 1
            continue
        held = entry.get(sought.path)
        held = held if isinstance(held, list) else [held]
        found = {text_key(attribute.same, str(one)) for one in held if one is not None} & wanted
        if fault == "everybody" or (key in sought.values if sought.path == KEY else found):
            keys.append(key)
    rows = [shown(sought.kind, key, entries[key], sought.paths) for key in keys]
    return Page(rows, edges=[Edge(*edge) for edge in w.store.edges if edge[0] in keys])


def _steps(known: Known, change: Change, held: Held | None) -> list[Step] | Done | Refused:
    kind, key, attributes = change.kind, change.target_id, dict(change.attributes)
    lane = "write" if known.limits.pack > 1 else None
    if "made" in attributes:
        return Refused(ErrorCode.NOT_PERMITTED, "made", "The system sets it.")
    match change.action:
        case Action.CREATE:
            return [Step(("create", kind, attributes, change.joins), frozenset({ENTRY}), Effect.ONCE, lane=lane)]
        case Action.DELETE:
            return [Step(("delete", kind, key), frozenset({ENTRY}), lane=lane)]
        case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
            request = ("members", key, change.joins, change.leaves)
            return [Step(request, frozenset({MEMBERS}), serial=key, lane=lane)]
        case _:
            return [Step(("update", kind, key, attributes), frozenset(attributes), lane=lane)]


def _verdict(known: Known, step: Step, answer: Any) -> Verdict:
    match answer:
        case ("made", key):
            return Done(key)
        case ("done",):
            return Done()
        case ("taken", path):
            return Refused(ErrorCode.CONFLICT, path, "Another entry has this value.")
        case ("too long", path):
            value = next((part[path] for part in step.request if isinstance(part, dict) and path in part), "")
            return Refused(ErrorCode.UNPROCESSABLE_ENTITY, path, f"{value} is longer than 40 characters.")
        case ("gone", _) if step.request[0] == "delete":
            return Look("It is not there.")
        case ("gone", _):
            return Refused(ErrorCode.INVALID_ANCHOR, text="It is not there.")
        case ("no such member",):
            return Refused(ErrorCode.INVALID_ANCHOR, text="No such member.")
        case ("member already",) | ("no member",):
            return Look("One of them is a member already, or none.")
        case ("must have a member",):
            return Refused(ErrorCode.UNPROCESSABLE_ENTITY, text="A group must have a member.")
        case ("too many",):
            return Again(0.1, "Too many in one request.")
        case ("later", job):
            return Later(job, 1.0)
        case _:
            return Refused(ErrorCode.PROTOCOL_ERROR, text="The answer is not understood.")


def _pack(known: Known, steps: Sequence[Step]) -> tuple[Any, ...]:
    return ("pack", [step.request for step in steps])


def _unpack(known: Known, steps: Sequence[Step], answer: Any) -> Sequence[Any]:
    return answer if isinstance(answer, list) else [answer] * len(steps)


async def _poll(w: MemoryWire, known: Known, job: str) -> Any:
    return await w.poll(job)


SYSTEM = System(
    name="memory",
    settings=MemorySettings,
    open=_open,
    traits=_traits,
    check=_check,
    pages=_pages,
    look=_look,
    steps=_steps,
    verdict=_verdict,
    pack=_pack,
    unpack=_unpack,
    poll=_poll,
)
CONNECTOR = connector(SYSTEM, title="A system in memory, for tests")
