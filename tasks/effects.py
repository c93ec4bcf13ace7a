"""What the target shows of one request whose answer was lost. Pure.

Only an entry that was read by its id says anything: a list may be late, in either direction. And only what that request
was to change counts: not what is wanted by now, nor what was known before.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum

from connectors.contract import Action, Kind, Snapshot, Value
from tasks.ledger import Attempt
from tasks.plan.compare import canonical
from tasks.plan.elements import same_value

Looked = Mapping[Kind, Collection[str]]
"""Ids of the entries that were read one by one, whether they are there or not."""


class Effect(StrEnum):
    """What became of a request."""

    DONE = "it had taken effect"
    NOT_DONE = "it had not taken effect"
    UNCLEAR = "neither what was there before nor what was to be, so that it cannot be told whether it had taken effect"
    UNSEEN = "nothing yet"
    """The entry was not looked at."""


def to_look_at(attempts: Iterable[Attempt]) -> dict[Kind, set[str]]:
    """Ids of the entries that have to be read before anything can be said about these attempts."""
    ids: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for attempt in attempts:
        if attempt.target_id is not None:
            ids[attempt.kind].add(attempt.target_id)
    return ids


def may_be_late(
    attempts: Sequence[Attempt], *, linked: Mapping[Kind, Collection[str]] | None = None
) -> dict[Kind, set[str]]:
    """Ids that should be there, and that a target may show only in a while: of entries about which something was asked,
    and of some that are linked; without what may have been deleted."""
    ids, deleted = to_look_at(attempts), to_look_at(one for one in attempts if one.action is Action.DELETE)
    return {kind: (ids[kind] | set((linked or {}).get(kind, ()))) - deleted[kind] for kind in Kind}


def effect_of(attempt: Attempt, target: Snapshot, looked: Looked) -> Effect:
    """What the target, as it was read, shows of an attempt on an entry whose id is known."""
    id_ = attempt.target_id
    if id_ is None or id_ not in looked.get(attempt.kind, ()):
        return Effect.UNSEEN
    frame = target.entries(attempt.kind)
    there = id_ in frame.index
    match attempt.action:
        case Action.DELETE:
            return Effect.NOT_DONE if there else Effect.DONE
        case Action.CREATE:
            return Effect.DONE if there else Effect.NOT_DONE
    if not there:
        return Effect.UNCLEAR
    if attempt.members:
        return _on_members(attempt, set(target.members.loc[target.members["group"] == id_, "member"]))
    held = frame.loc[id_]
    return _on_values(attempt, {path: held[path] for path in attempt.after if path in frame.columns})


def _on_members(attempt: Attempt, held: set[str]) -> Effect:
    """A request about several members that some show and others do not was done: some have come or gone since."""
    there = held & set(attempt.members)
    if attempt.action is Action.ADD_MEMBERS:
        return Effect.DONE if there else Effect.NOT_DONE
    return Effect.NOT_DONE if there == set(attempt.members) else Effect.DONE


def _on_values(attempt: Attempt, held: Mapping[str, Value]) -> Effect:
    """Value by value; one that is as it was to be, and was not so before, is enough: it is all one request."""
    found = {_on_value(attempt.before.get(path), attempt.after[path], value) for path, value in held.items()}
    for effect in (Effect.DONE, Effect.NOT_DONE):
        if effect in found:
            return effect
    return Effect.UNCLEAR


def _on_value(before: Value, after: Value, held: Value) -> Effect:
    for same in (_exactly, _in_other_words):
        was, is_ = same(before, held), same(after, held)
        if was is not is_:
            return Effect.DONE if is_ else Effect.NOT_DONE
    return Effect.UNCLEAR


def _exactly(left: Value, right: Value) -> bool:
    return bool(canonical(left) == canonical(right))


def _in_other_words(left: Value, right: Value) -> bool:
    """As a target keeps a value in its own way: other case, other sub-attributes, a reference as an element."""
    return same_value(_bare(left, right), _bare(right, left), fold=True)


def _bare(value: Value, other: Value) -> Value:
    """A reference without what the target says besides, where the other side is the id alone."""
    return value["value"] if isinstance(value, dict) and "value" in value and not isinstance(other, dict) else value
