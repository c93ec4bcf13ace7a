"""The forms in which one change of an entry's attributes can be sent; pure.

Forms that send whole attributes, and whole entries, need the entry as it is: :func:`merged` puts the change into it.

Source: RFC 7644 sections 3.5.1 (PUT) and 3.5.2 (PATCH); Microsoft Entra, "SCIM 2.0 protocol compliance of the
provisioning service" (aadOptscim062020) for the forms ``entra`` and ``dotted``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson

from connectors.contract import Write
from connectors.scim.codec import Codec
from connectors.scim.paths import Path, Resource, find_element, new_element, spelled_in
from connectors.scim.profile import MemberForm, PatchForm, Truth
from connectors.scim.requests import Operation, patch_operations, quoted_member

LADDER = (
    PatchForm.PATHS,
    PatchForm.CAPITALS,
    PatchForm.ENTRA,
    PatchForm.ATTRIBUTES,
    PatchForm.OBJECT,
    PatchForm.DOTTED,
    PatchForm.BLANK,
    PatchForm.PUT,
    PatchForm.PUT_NULLS,
)
"""Forms in the order in which they are tried where one has no effect."""
MEMBER_LADDER = (MemberForm.PATHS, MemberForm.VALUES, MemberForm.REPLACE, MemberForm.PUT)
PUTS = frozenset({PatchForm.PUT, PatchForm.PUT_NULLS})
READING = frozenset({PatchForm.ATTRIBUTES, PatchForm.OBJECT}) | PUTS
"""Forms that need the entry as it is."""


def rungs(first: PatchForm) -> tuple[PatchForm, ...]:
    """The form to begin with, and those to try after it."""
    return (first, *(form for form in LADDER if form is not first))


def operations(
    form: PatchForm,
    codec: Codec,
    attributes: Mapping[str, Any],
    before: Mapping[str, Any],
    *,
    entry: Resource | None,
    exists: Callable[[Path], bool],
    truth: Truth,
) -> list[Operation]:
    """What a PATCH in this form says. ``entry``: the entry as it is, for a form in READING. Raises: PathError."""
    match form:
        case PatchForm.ATTRIBUTES:
            return _whole(codec, attributes, merged(codec, entry or {}, attributes, truth=truth))
        case PatchForm.OBJECT:
            whole = merged(codec, entry or {}, attributes, truth=truth)
            return [{"op": "replace", "value": _object(codec, attributes, whole)}]
        case PatchForm.ENTRA:
            return _entra(codec, before, _by_path(codec, attributes, before, lambda _: True, Truth.TEXT))
        case PatchForm.CAPITALS:
            return [one | {"op": one["op"].capitalize()} for one in _by_path(codec, attributes, before, exists, truth)]
        case PatchForm.BLANK:
            found = _by_path(codec, attributes, before, exists, truth)
            return [one if one["op"] != "remove" else one | {"op": "replace", "value": ""} for one in found]
        case PatchForm.DOTTED:
            return _dotted(_by_path(codec, attributes, before, exists, truth))
        case _:
            return _by_path(codec, attributes, before, exists, truth)


def _by_path(
    codec: Codec,
    attributes: Mapping[str, Any],
    before: Mapping[str, Any],
    exists: Callable[[Path], bool],
    truth: Truth,
) -> list[Operation]:
    found = patch_operations(codec, attributes, before, exists=exists)
    if truth is Truth.TEXT:
        for operation in found:
            if operation.get("path") == "active" and isinstance(operation.get("value"), bool):
                operation["value"] = str(operation["value"])
    return found


def _entra(codec: Codec, before: Mapping[str, Any], found: list[Operation]) -> list[Operation]:
    """With capitals; an element that is not there is added at its own path."""
    held = {codec.slot(text).path.text for text, value in before.items() if value is not None}
    return [
        one | {"op": "Add" if one["op"] == "replace" and "[" in one["path"] and one["path"] not in held else capital}
        for one, capital in ((one, one["op"].capitalize()) for one in found)
    ]


def _dotted(found: list[Operation]) -> list[Operation]:
    """One operation for everything that has a plain key; what a key cannot say keeps its path."""
    plain = {one["path"]: one["value"] for one in found if one["op"] == "replace" and "[" not in one["path"]}
    others = [one for one in found if one["op"] != "replace" or "[" in one["path"]]
    return [*([{"op": "replace", "value": plain}] if plain else []), *others]


def containers(codec: Codec, attributes: Iterable[str]) -> dict[str, list[str]]:
    """Attribute paths by the whole attribute that they belong to. Raises: PathError."""
    found: dict[str, list[str]] = {}
    for text in attributes:
        found.setdefault(codec.slot(text).path.container, []).append(text)
    return found


def _whole(codec: Codec, attributes: Mapping[str, Any], whole: Resource) -> list[Operation]:
    return [
        {"op": "replace", "path": container, "value": _held(codec, texts[0], whole)}
        for container, texts in containers(codec, attributes).items()
    ]


def _object(codec: Codec, attributes: Mapping[str, Any], whole: Resource) -> Resource:
    found: Resource = {}
    for texts in containers(codec, attributes).values():
        path = codec.slot(texts[0]).path
        holder = found.setdefault(path.urn, {}) if path.urn else found
        holder[path.attribute] = _held(codec, texts[0], whole)
    return found


def _held(codec: Codec, text: str, whole: Resource) -> Any:
    """The whole attribute that a path belongs to; null, or an empty list, where it is not there."""
    path = codec.slot(text).path
    holder = _holder(whole, path) or {}
    value = holder.get(spelled_in(path.attribute, [holder]) or path.attribute)
    if value is None and (path.clauses or codec.is_plural(path)):
        return []
    return value


# The entry with the change in it


def merged(codec: Codec, entry: Resource, attributes: Mapping[str, Any], *, truth: Truth) -> Resource:
    """A copy of the entry in which every path has its value; what is empty then is not there. Raises: PathError."""
    whole: Resource = orjson.loads(orjson.dumps(entry))
    for text, value in attributes.items():
        slot = codec.slot(text)
        _put(whole, slot.path, None if value is None else codec.to_wire(slot, value))
    named = whole.get("schemas")
    if isinstance(named, list):
        whole["schemas"] = [*named, *(urn for urn in _urns(codec, attributes, whole) if urn not in named)]
    return with_truth(whole, truth)


def _urns(codec: Codec, attributes: Iterable[str], whole: Resource) -> list[str]:
    found = dict.fromkeys(codec.slot(text).path.urn for text in attributes)
    return [urn for urn in found if urn and spelled_in(urn, [whole])]


def with_truth(entry: Resource, truth: Truth) -> Resource:
    """The entry with ``active`` as the service wants it."""
    if truth is Truth.TEXT and isinstance(entry.get("active"), bool):
        entry["active"] = str(entry["active"])
    return entry


def to_put(form: PatchForm, codec: Codec, whole: Resource, attributes: Iterable[str]) -> Resource:
    """What is sent back of a whole entry: everything that the service does not work out itself."""
    kept: Resource = {}
    for name, value in whole.items():
        info = codec.schema.info(name)
        if name != "meta" and (name == "id" or info is None or info.write is not Write.NEVER):
            kept[name] = value
    if form is PatchForm.PUT_NULLS:
        for texts in containers(codec, attributes).values():
            path = codec.slot(texts[0]).path
            holder = _holder(kept, path, make=True)
            if holder is not None and spelled_in(path.attribute, [holder]) is None:
                holder[path.attribute] = _held(codec, texts[0], whole)
    return kept


def _holder(whole: Resource, path: Path, *, make: bool = False) -> Resource | None:
    if not path.urn:
        return whole
    name = spelled_in(path.urn, [whole]) or path.urn
    held = whole.get(name)
    if isinstance(held, dict):
        return held
    if not make:
        return None
    made: Resource = {}
    whole[name] = made
    return made


def _put(whole: Resource, path: Path, value: Any) -> None:
    holder = _holder(whole, path, make=value is not None)
    if holder is None:
        return
    name = spelled_in(path.attribute, [holder]) or path.attribute
    if path.clauses:
        held = holder.get(name)
        elements: list[Any] = held if isinstance(held, list) else []
        holder[name] = _with_element(elements, path, value)
    elif path.sub:
        holder[name] = _with_sub(holder.get(name), path.sub, value)
    else:
        holder[name] = value
    if holder[name] in (None, [], {}):
        del holder[name]
    if path.urn and not holder:
        del whole[spelled_in(path.urn, [whole]) or path.urn]


def _with_element(elements: list[Any], path: Path, value: Any) -> list[Any]:
    element = find_element(elements, path.clauses)
    if value is None:
        if element is None:
            return elements
        if path.sub in {"", "value"}:
            return [one for one in elements if one is not element]
        element.pop(path.sub, None)
        return elements
    if element is None:
        element = new_element(path.clauses)
        elements = [*elements, element]
    element.update({path.sub: value} if path.sub else value)
    return elements


def _with_sub(held: Any, sub: str, value: Any) -> Any:
    if isinstance(value, list):
        return [{sub: item} for item in value]
    if isinstance(held, list):
        return [] if value is None else [{sub: value}]
    if value is None:
        return {name: part for name, part in held.items() if name != sub} if isinstance(held, dict) else None
    return {**(held if isinstance(held, dict) else {}), sub: value}


# Members


def bare_member(value: str) -> Resource:
    """A member as the standard has it."""
    return {"value": value}


def add_members(
    form: MemberForm,
    members: Sequence[str],
    held: Sequence[str],
    element: Callable[[str], Resource] = bare_member,
) -> list[Operation]:
    """What a PATCH in this form says. ``held``: the members there are, for a form that sends all of them."""
    match form:
        case MemberForm.REPLACE:
            return [_members("replace", map(element, [*held, *(one for one in members if one not in held)]))]
        case MemberForm.VALUES:
            return [_members("Add", map(element, members))]
        case _:
            return [_members("add", map(element, members))]


def remove_members(
    form: MemberForm,
    members: Sequence[str],
    held: Sequence[str],
    element: Callable[[str], Resource] = bare_member,
) -> list[Operation]:
    """As :func:`add_members`, the other way."""
    match form:
        case MemberForm.REPLACE:
            gone = set(members)
            return [_members("replace", map(element, [one for one in held if one not in gone]))]
        case MemberForm.VALUES:
            return [_members("Remove", map(element, members))]
        case _:
            return [{"op": "remove", "path": quoted_member(member)} for member in members]


def _members(op: str, elements: Iterable[Resource]) -> Operation:
    return {"op": op, "path": "members", "value": list(elements)}
