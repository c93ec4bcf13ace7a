"""The language's front door: text in, something that can be evaluated out."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import pandas as pd

from connectors.contract import Value
from tasks.expressions import functions  # noqa: F401  (enters every function in the table)
from tasks.expressions.checker import find_problems
from tasks.expressions.columns import Column, ColumnEvaluation, Rows, Stop, Stops
from tasks.expressions.context import Context
from tasks.expressions.errors import EvaluationError, ExpressionError
from tasks.expressions.operands import broadcast, to_series, with_nulls
from tasks.expressions.parser import parse
from tasks.expressions.rows import RowEvaluation, Trace, TracedEvaluation
from tasks.expressions.signature import FUNCTIONS, Place
from tasks.expressions.tree import Attribute, Call, Node, walk
from tasks.expressions.values import Flow, FlowSignal


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. It holds no state and can be sent to another process."""

    text: str
    tree: Node = field(compare=False, repr=False)
    attributes: frozenset[str] = field(compare=False)
    """Source attributes that it reads."""
    constant: bool = field(compare=False)
    """True when every entry of a cycle gets the same value: no attribute is read and no chance is involved."""
    redacted: bool = field(compare=False)
    """True when the value must not be shown: Redact is used."""
    unique_rules: "tuple[Expression, ...]" = field(compare=False, repr=False)
    """The rules of SelectUniqueValue, each an expression; empty for every other expression."""

    def __reduce__(self) -> tuple[object, ...]:
        return compile_expression, (self.text,)

    def evaluate(self, entry: Mapping[str, Value], context: Context) -> Value | Flow:
        """The value for one entry, or a `Flow` marker. Attributes that the entry does not have are null.

        Raises: EvaluationError.
        """
        try:
            return RowEvaluation(entry, context).value(self.tree)
        except FlowSignal as signal:
            return signal.flow

    def trace(self, entry: Mapping[str, Value], context: Context) -> Trace:
        """How the value for one entry comes about; what goes wrong is in the trace too."""
        evaluation = TracedEvaluation(entry, context)
        with contextlib.suppress(EvaluationError, FlowSignal):
            evaluation.value(self.tree)
        return evaluation.trace(self.tree, self.text)

    def column(self, frame: pd.DataFrame, context: Context) -> Column:
        """The values for every entry of a frame: what `evaluate` gives for each row.

        For SelectUniqueValue the values are chosen with ``context.taken`` and nothing is reserved between rows; a
        caller that must also keep the rows of one frame apart works with ``candidates`` or `unique_rules`.
        """
        stops = Stops(len(frame))
        operand = ColumnEvaluation(Rows(frame), context, stops).value(self.tree)
        vector = broadcast(operand, len(frame))
        if stops.reasons is not None:
            vector = with_nulls(vector, stops.reasons != Stop.NONE)
        keys = frame.index
        return Column(
            values=to_series(vector, keys),
            failed={keys[row]: message for row, message in sorted(stops.messages.items())},
            left_alone=stops.mask(Stop.LEFT_ALONE),
            skipped=stops.mask(Stop.SKIPPED),
            redacted=self.redacted,
            candidates=Candidates(self.unique_rules, frame, context) if self.unique_rules else (),
        )


class Candidates(Sequence[Column]):
    """The columns of several expressions on one frame, each computed when it is first looked at."""

    __slots__ = ("_context", "_done", "_frame", "_rules")

    def __init__(self, rules: Sequence[Expression], frame: pd.DataFrame, context: Context) -> None:
        self._rules = rules
        self._frame = frame
        self._context = context
        self._done: dict[int, Column] = {}

    def __len__(self) -> int:
        return len(self._rules)

    @overload
    def __getitem__(self, index: int) -> Column: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Column]: ...
    def __getitem__(self, index: int | slice) -> Column | Sequence[Column]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self._rules))[index]
        if number not in self._done:
            self._done[number] = self._rules[number].column(self._frame, self._context)
        return self._done[number]


def compile_expression(
    text: str, *, attributes: Collection[str] | None = None, place: Place = Place.MAPPING
) -> Expression:
    """The expression that a text means.

    ``attributes`` are the source's attribute names; None means that they are not known yet and are not checked.
    Raises: ExpressionError, the first problem.
    """
    tree = parse(text)
    for problem in find_problems(tree, text, attributes=attributes, place=place):
        raise problem
    return _expression(text, tree)


def check_expression(
    text: str, *, attributes: Collection[str] | None = None, place: Place = Place.MAPPING
) -> list[ExpressionError]:
    """Everything that is wrong with an expression, in the order of the text: the first syntax error, or all others."""
    try:
        tree = parse(text)
    except ExpressionError as error:
        return [error]
    problems = find_problems(tree, text, attributes=attributes, place=place)
    return sorted(problems, key=lambda problem: (problem.line, problem.column))


def _expression(text: str, tree: Node) -> Expression:
    nodes = list(walk(tree))
    calls = [FUNCTIONS[node.name] for node in nodes if isinstance(node, Call)]
    attributes = frozenset(node.name for node in nodes if isinstance(node, Attribute))
    rules: tuple[Expression, ...] = ()
    if isinstance(tree, Call) and tree.name == "SelectUniqueValue":
        sources = [text[rule.start : rule.end] for rule in tree.arguments if rule is not None]
        rules = tuple(compile_expression(source) for source in sources)
    return Expression(
        text=text,
        tree=tree,
        attributes=attributes,
        constant=not attributes and all(function.stable for function in calls),
        redacted=any(function.name == "Redact" for function in calls),
        unique_rules=rules,
    )
