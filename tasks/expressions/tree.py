"""The parts an expression is made of. Every node knows its place in the text."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Attribute:
    """``[mail]``: the value that the entry has for a source attribute."""

    name: str
    start: int
    """Offset of the first character in the text, 0-based."""
    end: int
    """Offset after the last character."""


@dataclass(frozen=True, slots=True)
class Constant:
    """``"text"``, ``5``, ``&HF7``."""

    value: str | int | float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Keyword:
    """A bare word: ``vbTextCompare``, ``IgnoreAttributeFlow``."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """``left operator right``; operator is one of ``= <> > >= < <=``."""

    operator: str
    left: "Node"
    right: "Node"
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Call:
    """``Name(argument, , argument)``; an omitted argument is None, omitted ones at the end are not kept."""

    name: str
    arguments: tuple["Node | None", ...]
    start: int
    end: int

    @property
    def place(self) -> str:
        """How messages name this call."""
        return f"{self.name} (column {self.start + 1})"


Node: TypeAlias = Attribute | Constant | Keyword | Comparison | Call


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below, in evaluation order."""
    match node:
        case Call():
            return tuple(argument for argument in node.arguments if argument is not None)
        case Comparison():
            return (node.left, node.right)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and every node below it, in the order of the text."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(children(current)))
