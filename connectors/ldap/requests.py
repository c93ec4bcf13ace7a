"""Requests to a directory as plain data; none of them shows its values when printed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from connectors.ldap.controls import Control


class Scope(IntEnum):
    """How far a search reaches."""

    BASE = 0
    ONE_LEVEL = 1
    SUBTREE = 2


class Op(IntEnum):
    """What a modification does to an attribute."""

    ADD = 0
    DELETE = 1
    REPLACE = 2


@dataclass(frozen=True, slots=True)
class Search:
    """Entries at or below a base."""

    base: str
    filter: str = "(objectClass=*)"
    attributes: Sequence[str] = ("*",)
    scope: Scope = Scope.SUBTREE
    controls: tuple[Control, ...] = ()
    size: int = 0
    """Entries at most; 0 for all."""


@dataclass(frozen=True, slots=True)
class Add:
    """A new entry."""

    dn: str
    attributes: Mapping[str, Sequence[bytes]] = field(repr=False)
    controls: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class Modify:
    """Values of an entry; carried out whole or not at all."""

    dn: str
    changes: Sequence[tuple[Op, str, Sequence[bytes]]] = field(repr=False)
    controls: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class Rename:
    """Another name, another container, or both."""

    dn: str
    rdn: str
    parent: str
    controls: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    """One entry; never what lies below it."""

    dn: str
    controls: tuple[Control, ...] = ()


@dataclass(frozen=True, slots=True)
class Extended:
    """An extended operation."""

    oid: str
    value: bytes | None = field(default=None, repr=False)


Request = Search | Add | Modify | Rename | Delete | Extended
