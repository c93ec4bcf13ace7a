"""SCIM filters and attribute paths: read once, then tested against resources.

Attribute names are found whatever their case. A value is compared case-exactly where the schema says so.

Source: RFC 7644 section 3.4.2.2 (filter grammar and operators) and section 3.10 (attribute notation).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from tests.servers.scim_service.attributes import Attribute, ResourceType

_TOKEN = re.compile(
    r"""\s*(?:(?P<bracket>[()\[\]])|(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[^\s()\[\]"]+))""",
    re.DOTALL,
)
_SIMPLE = re.compile(r'([\w.:]+) [eE][qQ] "([^"\\]*)"')
"""What most filters are."""
OPERATORS = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})


class FilterError(ValueError):
    """The filter is not one; its text says where."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value is: an extension's URN or none, an attribute, a sub-attribute or none."""

    urn: str | None
    name: str
    sub: str | None
    attribute: Attribute | None
    """What the schema says of the last part; None when the service does not know it."""
    key: str = field(init=False)
    """The path in one spelling, whatever case it was written in."""
    exact: bool = field(init=False)
    """True when values are compared case-exactly."""

    def __post_init__(self) -> None:
        name = self.name if self.sub is None else f"{self.name}.{self.sub}"
        object.__setattr__(self, "key", (name if self.urn is None else f"{self.urn}:{name}").lower())
        object.__setattr__(self, "exact", self.attribute is not None and self.attribute.case_exact)

    def normal(self, value: Any) -> Any:
        """The value as it is compared."""
        return value.casefold() if not self.exact and isinstance(value, str) else value

    def values(self, resource: dict[str, Any]) -> list[Any]:
        """Every value that the resource holds here, unfolded; complex ones count with their ``value``."""
        holder = resource if self.urn is None else get(resource, self.urn)
        if not isinstance(holder, dict):
            return []
        found = get(holder, self.name)
        items = found if isinstance(found, list) else [] if found is None else [found]
        if self.sub is None:
            return [get(item, "value") if isinstance(item, dict) else item for item in items]
        return [value for item in items if isinstance(item, dict) and (value := get(item, self.sub)) is not None]


@dataclass(frozen=True, slots=True)
class Compare:
    """``path op value``; ``pr`` has no value."""

    path: Path
    operator: str
    value: Any

    def test(self, resource: dict[str, Any]) -> bool:
        """True when any value here stands in this relation (for ``ne``: none is equal)."""
        if self.operator == "pr":
            return any(item not in (None, "", [], {}) for item in self._present(resource))
        wanted = self.path.normal(self.value)
        held = [self.path.normal(item) for item in self.path.values(resource)]
        if self.operator == "ne":
            return wanted not in held if wanted is not None else bool(held)
        if self.operator == "eq" and wanted is None:
            return not held
        relation = _RELATIONS[self.operator]
        return any(type(item) is type(wanted) and relation(item, wanted) for item in held if item is not None)

    def _present(self, resource: dict[str, Any]) -> list[Any]:
        if self.path.sub is None:
            holder = resource if self.path.urn is None else get(resource, self.path.urn)
            return [get(holder, self.path.name)] if isinstance(holder, dict) else []
        return self.path.values(resource)


@dataclass(frozen=True, slots=True)
class ValuePath:
    """``attribute[filter]``: one element fulfils the whole inner filter."""

    path: Path
    inner: "Filter"

    def test(self, resource: dict[str, Any]) -> bool:
        """True when an element fulfils the inner filter."""
        holder = resource if self.path.urn is None else get(resource, self.path.urn)
        found = get(holder, self.path.name) if isinstance(holder, dict) else None
        items = found if isinstance(found, list) else [found]
        return any(isinstance(item, dict) and self.inner.test(item) for item in items)


@dataclass(frozen=True, slots=True)
class Not:
    """``not (filter)``."""

    inner: "Filter"

    def test(self, resource: dict[str, Any]) -> bool:
        """True when the inner filter is not fulfilled."""
        return not self.inner.test(resource)


@dataclass(frozen=True, slots=True)
class All:
    """``a and b``."""

    parts: tuple["Filter", ...]

    def test(self, resource: dict[str, Any]) -> bool:
        """True when every part is fulfilled."""
        return all(part.test(resource) for part in self.parts)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """``a or b``."""

    parts: tuple["Filter", ...]

    def test(self, resource: dict[str, Any]) -> bool:
        """True when one part is fulfilled."""
        return any(part.test(resource) for part in self.parts)


Filter: TypeAlias = Compare | ValuePath | Not | All | AnyOf

_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda held, wanted: held == wanted,
    "co": lambda held, wanted: isinstance(held, str) and wanted in held,
    "sw": lambda held, wanted: isinstance(held, str) and held.startswith(wanted),
    "ew": lambda held, wanted: isinstance(held, str) and held.endswith(wanted),
    "gt": lambda held, wanted: held > wanted,
    "ge": lambda held, wanted: held >= wanted,
    "lt": lambda held, wanted: held < wanted,
    "le": lambda held, wanted: held <= wanted,
}


def get(holder: dict[str, Any], name: str) -> Any:
    """The value under a name, whatever the case of either; None when there is none."""
    if name in holder:
        return holder[name]
    low = name.lower()
    return next((value for key, value in holder.items() if key.lower() == low), None)


@lru_cache(maxsize=4096)
def parse_path(text: str, kind: ResourceType, *, within: Attribute | None = None) -> Path:
    """Read ``name``, ``name.sub`` or ``urn:...:name.sub``; ``within`` is the attribute whose elements are meant.

    Raises: FilterError when the text cannot be a path.
    """
    urn, rest, known = None, text, kind.core
    if text.lower().startswith("urn:"):
        whole = next((name for name in kind.extensions if name.lower() == text.lower()), None)
        if whole is not None:
            return Path(None, whole, None, None)
        urn, _, rest = text.rpartition(":")
        if urn.lower() == kind.schema.lower():
            urn = None
        else:
            urn = next((name for name in kind.extensions if name.lower() == urn.lower()), urn)
            known = kind.extensions.get(urn, {})
    elif within is not None:
        known = within.lower
    name, _, sub = rest.partition(".")
    if not re.fullmatch(r"[A-Za-z$][\w$-]*", name) or (sub and not re.fullmatch(r"[A-Za-z$][\w$-]*", sub)):
        raise FilterError(f"{text!r} is not an attribute path")
    attribute = known.get(name.lower())
    if attribute is not None:
        name = attribute.name
        if sub:
            attribute = attribute.lower.get(sub.lower())
            sub = attribute.name if attribute is not None else sub
        elif attribute.type == "complex" and "value" in attribute.lower:
            attribute = attribute.lower["value"]
    return Path(urn, name, sub or None, attribute)


class _Reader:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str, kind: ResourceType, within: Attribute | None) -> None:
        self.kind = kind
        self.within = within
        self.tokens: list[str] = []
        place = 0
        text = text.strip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise FilterError(f"not understood at character {place + 1}")
            self.tokens.append(match.group().strip())
            place = match.end()
        self.place = 0

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        token = self.peek()
        if not token or (expected is not None and token != expected):
            raise FilterError(f"expected {expected or 'more'} but found {token or 'the end'}")
        self.place += 1
        return token

    def any_of(self) -> Filter:
        parts = [self.all_of()]
        while self.peek().lower() == "or":
            self.take()
            parts.append(self.all_of())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def all_of(self) -> Filter:
        parts = [self.one()]
        while self.peek().lower() == "and":
            self.take()
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def one(self) -> Filter:
        token = self.take()
        if token == "(":
            inner = self.any_of()
            self.take(")")
            return inner
        if token.lower() == "not" and self.peek() == "(":
            self.take("(")
            inner = self.any_of()
            self.take(")")
            return Not(inner)
        path = parse_path(token, self.kind, within=self.within)
        if self.peek() == "[":
            return self._element(token, path)
        operator = self.take().lower()
        if operator == "pr":
            return Compare(path, "pr", None)
        if operator not in OPERATORS:
            raise FilterError(f"{operator!r} is not an operator")
        return Compare(path, operator, _literal(self.take()))

    def _element(self, token: str, path: Path) -> Filter:
        self.take("[")
        outer, self.within = self.within, attribute_of(token, self.kind)
        inner = self.any_of()
        self.within = outer
        self.take("]")
        following = self.peek()
        if following.startswith(".") and len(following) > 1:
            # name[filter].sub op value: read as one element that fulfils both
            self.take()
            sub = parse_path(following[1:], self.kind, within=attribute_of(token, self.kind))
            operator = self.take().lower()
            if operator != "pr" and operator not in OPERATORS:
                raise FilterError(f"{operator!r} is not an operator")
            value = None if operator == "pr" else _literal(self.take())
            inner = All((inner, Compare(sub, operator, value)))
        return ValuePath(path, inner)


def attribute_of(text: str, kind: ResourceType) -> Attribute | None:
    """What the schema says of a top-level attribute, given its path; None when the service does not know it."""
    urn, _, name = text.rpartition(":")
    if urn and urn.lower() != kind.schema.lower():
        known = next((found for key, found in kind.extensions.items() if key.lower() == urn.lower()), {})
    else:
        known = kind.core
    return known.get(name.lower())


def _literal(token: str) -> Any:
    try:
        return orjson.loads(token.lower() if token.lower() in {"true", "false", "null"} else token)
    except orjson.JSONDecodeError as error:
        raise FilterError(f"{token} is not a value") from error


def parse_filter(text: str, kind: ResourceType, *, within: Attribute | None = None) -> Filter:
    """Read a filter. Raises: FilterError when it is not one."""
    simple = _SIMPLE.fullmatch(text) if within is None else None
    if simple is not None:
        return Compare(parse_path(simple.group(1), kind), "eq", simple.group(2))
    reader = _Reader(text, kind, within)
    found = reader.any_of()
    if reader.peek():
        raise FilterError(f"{reader.peek()!r} was not expected")
    return found


def comparisons(filter_: Filter) -> Iterator[Compare]:
    """Every comparison in the filter, in order of writing; inner ones of value paths with their bare names."""
    match filter_:
        case Compare():
            yield filter_
        case ValuePath() | Not():
            yield from comparisons(filter_.inner)
        case All() | AnyOf():
            for part in filter_.parts:
                yield from comparisons(part)


def demanded(filter_: Filter) -> Compare | None:
    """A comparison for equality that everything found must fulfil; None when there is none to look up by."""
    match filter_:
        case Compare(operator="eq", value=str()):
            return filter_
        case All():
            return next((found for part in filter_.parts if (found := demanded(part)) is not None), None)
        case ValuePath():
            inner = demanded(filter_.inner)
            candidates = [inner] if inner is not None else []
            if isinstance(filter_.inner, All):
                candidates = [found for part in filter_.inner.parts if (found := demanded(part)) is not None]
            # prefer the value over the type: every user has a work address
            for found in sorted(candidates, key=lambda compare: compare.path.name != "value"):
                path = Path(filter_.path.urn, filter_.path.name, found.path.name, found.path.attribute)
                return Compare(path, "eq", found.value)
    return None
