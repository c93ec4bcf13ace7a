"""Evaluation for one entry: the meaning of the language, which the column form must reproduce exactly."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from connectors.contract import Value
from tasks.expressions.context import Context
from tasks.expressions.errors import EvaluationError
from tasks.expressions.signature import COMPARE_WORDS, FUNCTIONS
from tasks.expressions.tree import Attribute, Call, Comparison, Constant, Keyword, Node, children
from tasks.expressions.values import Flow, FlowSignal, compare, normalise


class RowEvaluation:
    """Evaluates nodes for one entry."""

    def __init__(self, entry: Mapping[str, Value], context: Context) -> None:
        self.entry = entry
        self.context = context

    def value(self, node: Node | None) -> Value:
        """The value of a node; None for an omitted argument.

        Raises: EvaluationError; FlowSignal for a flow-control marker, which decides the whole expression.
        """
        match node:
            case None:
                return None
            case Constant():
                return node.value
            case Attribute():
                return normalise(self.entry.get(node.name))
            case Keyword():
                return keyword_value(node.name)
            case Comparison():
                left, right = self.value(node.left), self.value(node.right)
                try:
                    return compare(node.operator, left, right)
                except EvaluationError as error:
                    raise error.at(comparison_place(node)) from None
            case Call():
                return self._call(node)

    def _call(self, call: Call) -> Value:
        function = FUNCTIONS[call.name]
        try:
            if function.evaluate is not None:
                return function.evaluate(call, self)
            arguments = [self.value(argument) for argument in call.arguments]
            return function.apply(arguments, self.context)
        except EvaluationError as error:
            raise error.at(call.place) from None


def keyword_value(name: str) -> Value:
    """What a bare word stands for. Raises: FlowSignal for flow-control words."""
    if name in COMPARE_WORDS:
        return name
    raise FlowSignal(Flow(name))


def comparison_place(node: Comparison) -> str:
    """How messages name a comparison."""
    return f"{node.operator} (column {node.start + 1})"


class State(StrEnum):
    """What became of one part of an expression."""

    EVALUATED = "evaluated"
    NOT_NEEDED = "not needed"
    FAILED = "failed"
    IGNORED = "ignored"
    """Gave a flow-control marker, which decides the whole expression."""


@dataclass(frozen=True, slots=True)
class Trace:
    """How one entry's value came about: a tree with the shape of the expression."""

    text: str
    """This part of the expression, as it was written."""
    state: State
    value: Value
    """None unless evaluated."""
    kind: str
    """text, boolean, integer, number, list, complex or null; empty unless evaluated."""
    problem: str
    """Why it failed, or which marker it gave."""
    parts: tuple["Trace", ...]
    """The arguments, in the order of the text; omitted ones are left out."""

    def as_dict(self) -> dict[str, Any]:
        """The tree as plain values, for JSON."""
        plain: dict[str, Any] = {"text": self.text, "state": str(self.state)}
        if self.state is State.EVALUATED:
            plain |= {"value": self.value, "kind": self.kind}
        if self.problem:
            plain["problem"] = self.problem
        if self.parts:
            plain["parts"] = [part.as_dict() for part in self.parts]
        return plain


class TracedEvaluation(RowEvaluation):
    """Evaluates and remembers what every node gave."""

    def __init__(self, entry: Mapping[str, Value], context: Context) -> None:
        super().__init__(entry, context)
        self.seen: dict[int, Value | EvaluationError | FlowSignal] = {}

    def value(self, node: Node | None) -> Value:
        """As in `RowEvaluation`."""
        try:
            value = super().value(node)
        except (EvaluationError, FlowSignal) as stop:
            self.seen[id(node)] = stop
            raise
        self.seen[id(node)] = value
        return value

    def trace(self, node: Node, text: str) -> Trace:
        """What is remembered, as a tree."""
        parts = tuple(self.trace(child, text) for child in children(node))
        source = text[node.start : node.end]
        if id(node) not in self.seen:
            return Trace(source, State.NOT_NEEDED, None, "", "", parts)
        match self.seen[id(node)]:
            case EvaluationError() as error:
                return Trace(source, State.FAILED, None, "", str(error), parts)
            case FlowSignal() as signal:
                return Trace(source, State.IGNORED, None, "", str(signal.flow), parts)
            case value:
                return Trace(source, State.EVALUATED, value, kind_of(value), "", parts)


def kind_of(value: Value) -> str:
    """What people call a value's kind."""
    names = {str: "text", bool: "boolean", int: "integer", float: "number", list: "list", dict: "complex"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
