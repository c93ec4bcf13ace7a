"""What came of a write whose answer was lost or says nothing: the system is looked at, and nothing is repeated unread.

A look that shows the effect proves it. One that does not proves nothing before the system has settled; after that the
write had no effect and may be sent again.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from connectors.contract import ACTIVE, ADDRESS, Action, Attribute, Change, Form, Kind, Value, Write
from connectors.errors import ErrorCode, RejectedError, RetryableError, SchemaMismatchError
from connectors.kit.reading import Listing, look_up
from connectors.kit.system import (
    KEY,
    MEMBERS,
    Done,
    Held,
    Known,
    Lost,
    Refused,
    Row,
    Sought,
    Step,
    System,
)
from connectors.kit.values import same, to_wire

MEMBERSHIPS = frozenset({Action.ADD_MEMBERS, Action.REMOVE_MEMBERS})


@dataclass(frozen=True, slots=True)
class Resend:
    """It had no effect, or only a part of it: this is left to be done."""

    change: Change


Settled: TypeAlias = Done | Refused | Lost | Resend


@dataclass(frozen=True, slots=True)
class Looking:
    """What settling needs: the system, its wire, and a way to wait that ends when the run does."""

    system: System
    wire: Any
    known: Known
    pause: Callable[[float], Awaitable[None]]


def looks(settles_in_s: float) -> Iterator[float]:
    """Seconds to wait before each look; all together as long as the system takes to settle."""
    yield 0.0
    waited, next_s = 0.0, 0.5
    while waited < settles_in_s:
        wait_s = min(next_s, settles_in_s - waited)
        yield wait_s
        waited, next_s = waited + wait_s, next_s * 2


async def settle(at: Looking, change: Change, step: Step, *, lost: bool) -> Settled:
    """What the system shows of one step of a change.

    ``lost``: it was sent and may have taken effect; otherwise the system said that it may be so already.
    Raises: FatalError, HaltedError.
    """
    answer: Settled = Lost("It cannot be read.")
    try:
        for wait_s in looks(at.known.limits.settles_in_s):
            await at.pause(wait_s)
            answer = await _look(at, change, step, lost=lost)
            if not isinstance(answer, Resend):
                return answer
            if change.action in MEMBERSHIPS and not lost:
                return answer
    except (RejectedError, RetryableError, SchemaMismatchError) as error:
        return Lost(f"Reading it back failed: {error}")
    return answer


async def _look(at: Looking, change: Change, step: Step, *, lost: bool) -> Settled:
    if change.action is Action.CREATE and change.target_id is None:
        return await _created(at, change, lost=lost)
    listing = await hold(at, change)
    row = listing.rows.get(change.target_id or "")
    if change.action is Action.DELETE:
        return Done() if row is None else Resend(change)
    if row is None:
        return Refused(ErrorCode.INVALID_ANCHOR, text=f"The {change.kind} no longer exists.")
    if change.action in MEMBERSHIPS or step.does == {MEMBERS}:
        return _members_left(change, listing)
    paths = [path for path in change.attributes if not step.does or path in step.does]
    if not paths or all(not _shows(at.known, change.kind, path) for path in paths):
        return Resend(change)
    missing = differing(at.known, change, row, paths)
    return Resend(change) if missing else Done()


async def hold(at: Looking, change: Change) -> Listing:
    """The entry that a change is about, as it is now; a group with its members."""
    paths = tuple(dict.fromkeys(change.attributes))
    return await look_up(at.system, at.wire, at.known, Sought(change.kind, KEY, (change.target_id or "",), paths))


def held_of(listing: Listing, key: str) -> Held | None:
    """An entry of a listing with its memberships; None where it is not there."""
    row = listing.rows.get(key)
    if row is None:
        return None
    return Held(key, row, {member: id_ for (group, member), id_ in listing.edges.items() if group == key})


def _members_left(change: Change, listing: Listing) -> Settled:
    there = {member for group, member in listing.edges if group == change.target_id}
    left = (*(m for m in change.joins if m not in there), *(m for m in change.leaves if m in there))
    return Resend(replace(change, members=left)) if left else Done()


def _shows(known: Known, kind: Kind, path: str) -> bool:
    """Whether what is written to a path can be seen there."""
    attribute = known.attribute(kind, path)
    return attribute.write is not Write.BLIND and not attribute.set_by_system


def differing(known: Known, change: Change, row: Row, paths: Any) -> list[str]:
    """Paths on which an entry does not hold what was sent, as far as that can be seen."""
    return [
        path
        for path in paths
        if _shows(known, change.kind, path)
        and not same(known.attribute(change.kind, path), row.get(path), change.attributes[path])
    ]


# Creates


async def _created(at: Looking, change: Change, *, lost: bool) -> Settled:
    found = search_paths(at.known, change)
    if not found:
        return Lost("It has no value to search for.")
    unique = [path for path in found[1:] if at.known.attribute(change.kind, path).unique is not None]
    listing = Listing(change.kind)
    for path in (found[0], *unique):  # what it is refused for may be another value than what the job matches by
        attribute, value = at.known.attribute(change.kind, path), change.attributes[path]
        paths = tuple(dict.fromkeys((path, *change.attributes)))
        listing = await look_up(at.system, at.wire, at.known, Sought(change.kind, path, (_as_value(value),), paths))
        if listing.rows:
            break
    if not listing.rows:
        return Resend(change)
    ours = [key for key, row in listing.rows.items() if lost and is_ours(at, change, row)]
    if len(ours) > 1:
        return Lost(f"{len(ours)} {change.kind}s could be the one that was created.")
    if ours:
        return Done(ours[0], listing.rows[ours[0]].get(ADDRESS))
    return Refused(
        ErrorCode.CONFLICT,
        attribute.path or path,
        f"Its {path} belongs to another {change.kind}. If that is the same one, add a matching rule on {path}; if not, "
        "change the value in the source or in its mapping.",
    )


def search_paths(known: Known, change: Change) -> list[str]:
    """Paths by which a created entry can be looked for: what the job matches by, then what is unique."""
    attributes = known.attributes(change.kind)
    unique = [path for path in change.attributes if (info := attributes.get(path)) and info.unique is not None]
    chosen = dict.fromkeys((*change.known_by, *unique))
    return [
        path
        for path in chosen
        if change.attributes.get(path) not in (None, "", [])
        and known.attribute(change.kind, path).searchable
        and known.attribute(change.kind, path).write is not Write.BLIND
    ]


def is_ours(at: Looking, change: Change, row: Row) -> bool:
    """Whether an entry is the one that a lost create made: it holds every value that was sent and can be seen."""
    if at.system.ours is not None:
        return at.system.ours(at.known, change, row)
    switch = at.known.switch.path if at.known.switch is not None else ACTIVE
    sent = [path for path, value in change.attributes.items() if value is not None and path != switch]
    return not differing(at.known, change, row, sent)


def _as_value(value: Any) -> str:
    if isinstance(value, list | tuple | set | frozenset):
        value = next(iter(value))
    return str(value)


# Changes on their way to the connector


def as_wired(known: Known, change: Change, held: Row | None) -> Change:
    """The change with values of the attributes' own forms, and the switch as the system has it.

    Raises: InvalidValueError.
    """
    return replace(
        change,
        attributes=_wired(known, change.kind, change.attributes, held),
        before=_wired_leniently(known, change.kind, change.before),
    )


def _wired(known: Known, kind: Kind, attributes: Mapping[str, Value], held: Row | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    switch = known.switch if kind is Kind.USER else None
    for path, value in attributes.items():
        if switch is not None and path == switch.column:
            if value is not None:
                truth = bool(to_wire(Attribute(path, form=Form.BOOLEAN), value))
                found[switch.path] = switch.sets(truth, None if held is None else held.get(switch.path))
            continue
        found[path] = to_wire(known.attribute(kind, path), value)
    return found


def _wired_leniently(known: Known, kind: Kind, attributes: Mapping[str, Value]) -> dict[str, Any]:
    """What was there before, where it fits; it is only compared with."""
    found: dict[str, Any] = {}
    for path, value in attributes.items():
        try:
            found |= _wired(known, kind, {path: value}, None)
        except RejectedError:
            found[path] = value
    return found
