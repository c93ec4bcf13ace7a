"""The messages that create and change entries; pure.

This is how the standard has it; the other forms that services may want are in ``connectors.scim.forms``.

Source: RFC 7644 sections 3.3 (create), 3.4.2.2 (filters), 3.5.2 (PATCH).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from connectors.errors import InvalidValueError
from connectors.scim.codec import Codec, Slot
from connectors.scim.paths import Path, Resource, new_element, parse_path, quoted

PATCH_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
SEARCH_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"

Operation = dict[str, Any]


def entry_address(endpoint: str, entry_id: str) -> str:
    """The path of one entry below the base address, with its id quoted.

    Raises: InvalidValueError for an id that cannot be part of an address.
    """
    if entry_id in {"", ".", ".."}:
        raise InvalidValueError("The entry's id is empty or made of dots and cannot be part of an address.")
    return f"{endpoint}/{quote(entry_id, safe='')}"


def dump(message: Any) -> bytes:
    """The message as JSON. Raises: InvalidValueError for text that is not valid Unicode and for types JSON lacks."""
    try:
        return orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise InvalidValueError(
            "A value cannot be written as JSON: it holds half a character (a lone surrogate) or is not text, number, "
            "boolean, list or object. Correct it in the source or in its mapping."
        ) from error


def equals(path: Path, value: str) -> str:
    """The filter that asks for entries whose attribute equals the value."""
    if not path.clauses:
        return f"{path.text} eq {quoted(value)}"
    conditions = [f"{clause.attribute} eq {quoted(clause.value)}" for clause in path.clauses]
    conditions.append(f"{path.sub or 'value'} eq {quoted(value)}")
    return f"{path.container}[{' and '.join(conditions)}]"


def equals_dotted(path: Path, value: str) -> str:
    """The same for services that do not understand value paths; finds elements of every type."""
    return f"{path.container}.{path.sub or 'value'} eq {quoted(value)}"


def patch(operations: Sequence[Operation]) -> bytes:
    """The PATCH message. Raises: InvalidValueError."""
    return dump({"schemas": [PATCH_SCHEMA], "Operations": list(operations)})


def search_request(params: Mapping[str, str | int]) -> dict[str, Any]:
    """What a list request asks for, as a message."""
    excluded = {"excludedAttributes": [params["excludedAttributes"]]} if "excludedAttributes" in params else {}
    return {"schemas": [SEARCH_SCHEMA], **params, **excluded}


def quoted_member(member_id: str) -> str:
    """The PATCH path of one member of a group."""
    return f"members[value eq {quoted(member_id)}]"


def uncertain_elements(attributes: Mapping[str, Any], before: Mapping[str, Any]) -> list[Path]:
    """Elements of multi-valued attributes that are to be written although nobody knows whether they exist.

    An element whose ``value`` was null does not exist; one that lacked only, say, its ``postalCode`` may.
    Raises: PathError.
    """
    found: dict[str, Path] = {}
    for element, group in _by_element(parse_path(text) for text in attributes).items():
        texts = [text for text in attributes if parse_path(text).element == element]
        written = any(attributes[text] is not None for text in texts)
        known = any(before.get(text) is not None for text in texts) or any(path.sub in {"", "value"} for path in group)
        if written and not known:
            found[element] = group[0]
    return list(found.values())


def _by_element(paths: Iterable[Path]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for path in paths:
        if path.clauses:
            groups.setdefault(path.element, []).append(path)
    return groups


def patch_operations(
    codec: Codec,
    attributes: Mapping[str, Any],
    before: Mapping[str, Any],
    *,
    exists: Callable[[Path], bool] = lambda _: False,
) -> list[Operation]:
    """One operation for each attribute, each with its path; one ``add`` for each element that does not exist yet.

    ``exists`` says of an element whose ``before`` values are all null whether it is there nevertheless.
    Raises: PathError.
    """
    slots = {text: codec.slot(text) for text in attributes}
    missing = {
        element
        for element, group in _by_element(slot.path for slot in slots.values()).items()
        if not exists(group[0])
        and all(before.get(text) is None for text, slot in slots.items() if slot.path.element == element)
    }
    operations: list[Operation] = []
    added: dict[str, Resource] = {}
    for text, value in attributes.items():
        slot = slots[text]
        if value is None:
            operations.append({"op": "remove", "path": _removed(codec, slot)})
        elif slot.path.element in missing and slot.path.clauses:
            _add_to_element(operations, added, slot.path, codec.to_wire(slot, value))
        else:
            operations.append(_replace(codec, slot, value))
    return operations


def _replace(codec: Codec, slot: Slot, value: Any) -> Operation:
    path, wire = slot.path, codec.to_wire(slot, value)
    if path.sub and not path.clauses and isinstance(value, list):
        return {"op": "replace", "path": path.container, "value": [{path.sub: item} for item in wire]}
    return {"op": "replace", "path": path.text, "value": wire}


def _add_to_element(operations: list[Operation], added: dict[str, Resource], path: Path, wire: Any) -> None:
    element = added.get(path.element)
    if element is None:
        element = added[path.element] = new_element(path.clauses)
        operations.append({"op": "add", "path": path.container, "value": [element]})
    if path.sub:
        element[path.sub] = wire
    else:
        element.update(wire)


def _removed(codec: Codec, slot: Slot) -> str:
    """What to remove so that the path is null: an element or a reference without its value is nothing, so all of it."""
    path = slot.path
    if path.sub == "value":
        if path.clauses:
            return path.element
        if codec.schema.is_reference(parse_path(path.container)) or codec.slot(path.container).reference:
            return path.container
    return path.text


def repeatable(operations: Iterable[Operation]) -> bool:
    """True when sending the operations twice is as good as once, for every service: ``add`` appends twice in some."""
    return all(operation["op"].lower() != "add" for operation in operations)
