"""Flat attribute paths and the nested JSON of the wire, in both directions; pure.

A path is written as SCIM writes it: ``userName``, ``name.givenName``, ``emails[type eq "work"].value``,
``urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department``. ``decode(encode(x), x) == x`` holds for every
set of paths that names each place once.

Source: RFC 7644 section 3.5.2 (PATH), RFC 7643 sections 2.1 to 2.5.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

Resource: TypeAlias = dict[str, Any]
"""One entry as JSON spells it."""

Literal: TypeAlias = str | bool | int | float

_NAME = r"[A-Za-z$][\w$-]*"
_SHAPE = re.compile(rf"(?P<attribute>{_NAME})(?:\[(?P<filter>.+)\])?(?:\.(?P<sub>{_NAME}))?", re.DOTALL)
_CLAUSE = re.compile(
    rf"\s*(?P<attribute>{_NAME})\s+eq\s+(?P<value>\"(?:[^\"\\]|\\.)*\"|true|false|-?\d+(?:\.\d+)?)\s*",
    re.IGNORECASE,
)
_AND = re.compile(r"and\b", re.IGNORECASE)
_CORE = re.compile(r"urn:ietf:params:scim:schemas:core:2\.0:(user|group)", re.IGNORECASE)


class PathError(ValueError):
    """A text is not an attribute path that can be both read and written."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition on an element of a multi-valued attribute: the sub-attribute equals the value."""

    attribute: str
    value: Literal


@dataclass(frozen=True, slots=True)
class Path:
    """One place in an entry."""

    urn: str
    """The extension schema that the attribute belongs to; empty for the core schema."""
    attribute: str
    clauses: tuple[Clause, ...] = ()
    """All of them must hold; empty when the whole attribute is meant."""
    sub: str = ""
    """Sub-attribute; empty when the attribute itself is meant."""

    @property
    def container(self) -> str:
        """The attribute alone, as a PATCH path."""
        return f"{self.urn}:{self.attribute}" if self.urn else self.attribute

    @property
    def element(self) -> str:
        """The attribute with its filter, as a PATCH path."""
        if not self.clauses:
            return self.container
        conditions = " and ".join(f"{clause.attribute} eq {quoted(clause.value)}" for clause in self.clauses)
        return f"{self.container}[{conditions}]"

    @property
    def text(self) -> str:
        """The whole path in its canonical spelling, as a PATCH path."""
        return f"{self.element}.{self.sub}" if self.sub else self.element


def quoted(value: Literal) -> str:
    """A value as a filter spells it: JSON, with quotes and backslashes escaped.

    Source: RFC 7644 section 3.4.2.2 (compValue is a JSON value).
    """
    return orjson.dumps(value).decode()


@lru_cache(maxsize=4096)
def parse_path(text: str) -> Path:
    """The path that a text names. Raises: PathError."""
    bracket = text.find("[")
    head = text if bracket < 0 else text[:bracket]
    colon = head.rfind(":")
    urn, rest = (text[:colon], text[colon + 1 :]) if colon >= 0 else ("", text)
    if urn and not urn.lower().startswith("urn:"):
        raise PathError(f"{text!r} is not an attribute path: the part before the last colon must be a schema URN.")
    match = _SHAPE.fullmatch(rest)
    if match is None:
        raise PathError(
            f'{text!r} is not an attribute path: write userName, name.givenName or emails[type eq "work"].value.'
        )
    clauses = _parse_clauses(match["filter"], text) if match["filter"] else ()
    return Path("" if _CORE.fullmatch(urn) else urn, match["attribute"], clauses, match["sub"] or "")


def _parse_clauses(text: str, path: str) -> tuple[Clause, ...]:
    clauses: list[Clause] = []
    position = 0
    while True:
        match = _CLAUSE.match(text, position)
        if match is None:
            raise PathError(f'The filter in {path!r} must be made of clauses such as type eq "work", joined by and.')
        clauses.append(_clause(match["attribute"], match["value"]))
        position = match.end()
        if position == len(text):
            return tuple(clauses)
        conjunction = _AND.match(text, position)
        if conjunction is None:
            raise PathError(f"The filter in {path!r} may join its clauses by and only.")
        position = conjunction.end()


def _clause(attribute: str, spelled: str) -> Clause:
    value: Literal = orjson.loads(spelled if spelled.startswith('"') else spelled.lower())
    # Microsoft's notation is roles[primary eq "True"]; on the wire primary is a boolean.
    if attribute.lower() == "primary" and isinstance(value, str) and value.lower() in {"true", "false"}:
        value = value.lower() == "true"
    return Clause(attribute, value)


# Reading


def column_reader(path: Path, *, wrapped: bool = False) -> Callable[[Sequence[Resource]], list[Any]]:
    """A function that gives the path's value in each of a page's entries, None where there is none.

    Without a filter a sub-attribute of a multi-valued attribute gives the list of its values. ``wrapped`` is for a
    reference such as ``manager``, whose id the wire keeps in ``value``. An empty list reads as null.
    Source: RFC 7643 section 2.5 (unassigned and null values).
    """
    containers = _container_reader(path)
    if path.clauses:
        of_element = _element_reader(path.clauses, path.sub)
        return lambda page: [of_element(value) for value in containers(page)]
    if path.sub:
        sub = path.sub
        return lambda page: [_sub_value(value, sub) for value in containers(page)]
    if wrapped:
        return lambda page: [_unwrap(value) for value in containers(page)]
    return lambda page: [None if value == [] else value for value in containers(page)]


def _container_reader(path: Path) -> Callable[[Sequence[Resource]], list[Any]]:
    urn, attribute = path.urn, path.attribute
    if not urn:
        return lambda page: [entry.get(attribute) for entry in page]

    def read(page: Sequence[Resource]) -> list[Any]:
        extensions = [entry.get(urn) for entry in page]
        return [extension.get(attribute) if type(extension) is dict else None for extension in extensions]

    return read


def _sub_value(value: Any, sub: str) -> Any:
    if type(value) is dict:
        return value.get(sub)
    if type(value) is list:
        found = [element[sub] for element in value if type(element) is dict and element.get(sub) is not None]
        return found or None
    return value if sub == "value" else None  # some services give manager as the bare id


def _element_reader(clauses: tuple[Clause, ...], sub: str) -> Callable[[Any], Any]:
    """A function from a multi-valued attribute to its first fitting element, or to a sub-attribute of that."""
    attribute, wanted = clauses[0].attribute, clauses[0].value

    def read(value: Any) -> Any:
        element = find_element(value, clauses)
        return element.get(sub) if element is not None and sub else element

    def read_by_type(value: Any) -> Any:
        if type(value) is list and value and type(value[0]) is dict and value[0].get(attribute) == wanted:
            return value[0].get(sub) if sub else value[0]
        return read(value)

    # Nearly every filter is on the type alone, and nearly every entry has the wanted element first.
    return read_by_type if len(clauses) == 1 and isinstance(wanted, str) else read


def _unwrap(value: Any) -> Any:
    return value.get("value") if type(value) is dict else value


def find_element(value: Any, clauses: Iterable[Clause]) -> Resource | None:
    """The first element of a multi-valued attribute that meets all clauses; case does not matter.

    Source: RFC 7643 section 2.4 (an absent primary is false).
    """
    if type(value) is not list:
        return None
    for element in value:
        if type(element) is dict and all(_meets(element, clause) for clause in clauses):
            return element
    return None


def _meets(element: Resource, clause: Clause) -> bool:
    held = element.get(clause.attribute)
    if held is None and clause.attribute == "primary":
        held = False
    return held is not None and _plain(held) == _plain(clause.value)


def _plain(value: Any) -> str:
    return value.casefold() if isinstance(value, str) else str(value).lower()


def respelled(path: Path, page: Sequence[Resource]) -> Path | None:
    """The path in the case that the entries themselves use, None where they use its own or lack the attribute.

    Source: RFC 7643 section 2.1 (attribute names are case-insensitive).
    """
    top = path.urn or path.attribute
    spelled_top = spelled_in(top, page)
    if not path.urn:
        return Path("", spelled_top, path.clauses, path.sub) if spelled_top and spelled_top != top else None
    if spelled_top is None:
        return None
    extensions = [entry[spelled_top] for entry in page if type(entry.get(spelled_top)) is dict]
    attribute = spelled_in(path.attribute, extensions)
    if attribute is None or (spelled_top, attribute) == (path.urn, path.attribute):
        return None
    return Path(spelled_top, attribute, path.clauses, path.sub)


def spelled_in(name: str, objects: Iterable[Resource]) -> str | None:
    """The key that one of the objects has for a name, in the first case that is found; None where none has it."""
    lowered = name.lower()
    for held in objects:
        if name in held:
            return name
        for key in held:
            if key.lower() == lowered:
                return key
    return None


# Writing


def nest(values: Iterable[tuple[Path, Any]]) -> Resource:
    """The nested JSON that holds each value at its path; null values are left out.

    Paths with the same filter share one element; the filter's clauses become the element's sub-attributes. A list for
    a sub-attribute without filter becomes one element for each of its values.
    """
    entry: Resource = {}
    elements: dict[tuple[str, tuple[Clause, ...]], Resource] = {}
    for path, value in values:
        if value is None:
            continue
        holder = entry.setdefault(path.urn, {}) if path.urn else entry
        if path.clauses:
            _put_element(holder, elements, path, value)
        elif not path.sub:
            holder[path.attribute] = value
        elif isinstance(value, list):
            holder[path.attribute] = [{path.sub: item} for item in value]
        else:
            holder.setdefault(path.attribute, {})[path.sub] = value
    return entry


def _put_element(
    holder: Resource, elements: dict[tuple[str, tuple[Clause, ...]], Resource], path: Path, value: Any
) -> None:
    key = (path.container, path.clauses)
    element = elements.get(key)
    if element is None:
        element = elements[key] = new_element(path.clauses)
        holder.setdefault(path.attribute, []).append(element)
    if path.sub:
        element[path.sub] = value
    else:
        element.update(value)


def new_element(clauses: Iterable[Clause]) -> Resource:
    """An element that meets the clauses and holds nothing else."""
    return {clause.attribute: clause.value for clause in clauses}


def extension_urns(paths: Iterable[Path]) -> list[str]:
    """Extension schemas that the paths belong to, each once, in order of appearance."""
    return list(dict.fromkeys(path.urn for path in paths if path.urn))


def encode(attributes: Mapping[str, Any]) -> Resource:
    """Nested JSON of a set of flat paths, without schema knowledge. Raises: PathError."""
    return nest((parse_path(text), value) for text, value in attributes.items())


def decode(entry: Resource, paths: Iterable[str]) -> dict[str, Any]:
    """Values at flat paths of one entry, without schema knowledge. Raises: PathError."""
    return {text: column_reader(parse_path(text))([entry])[0] for text in paths}
