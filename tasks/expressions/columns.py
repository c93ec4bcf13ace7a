"""Evaluation for many entries at once: the same answers as entry by entry, from column operations.

Rows that an expression gives up on (a failure, a flow-control marker) stay in the columns as null and are remembered in
`Stops`, where the first reason wins, just as evaluation of a single entry ends at the first. Branches are evaluated for
the rows that need them. What has no column form is computed once for each distinct combination of arguments.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from connectors.contract import Value
from tasks.expressions.context import Context
from tasks.expressions.errors import EvaluationError, RegexTimeoutError
from tasks.expressions.operands import (
    NULL,
    Kind,
    Mask,
    Operand,
    Partly,
    Positions,
    Scalar,
    Vector,
    as_text,
    boolean_vector,
    flags,
    from_series,
    from_values,
    merge,
)
from tasks.expressions.rows import comparison_place, keyword_value
from tasks.expressions.signature import FUNCTIONS, Function, Null, Type
from tasks.expressions.tree import Attribute, Call, Comparison, Constant, Keyword, Node
from tasks.expressions.values import Flow, FlowSignal, compare, text_of, truth

MAX_TIMEOUTS = 50
"""Values on which a pattern may run out of time; a pattern that bad is not tried on the remaining ones."""

_GIVEN_UP = RegexTimeoutError("the pattern ran out of time on too many other entries and was not tried on this one")

_ARROW_COMPARISONS: dict[str, Callable[..., Any]] = {
    "=": pc.equal,
    "<>": pc.not_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
    "<": pc.less,
    "<=": pc.less_equal,
}


class Stop(IntEnum):
    """Why a row has no value."""

    NONE = 0
    FAILED = 1
    LEFT_ALONE = 2
    SKIPPED = 3


_FLOW_STOPS = {Flow.IGNORE_ATTRIBUTE: Stop.LEFT_ALONE, Flow.IGNORE_OBJECT: Stop.SKIPPED}


class Stops:
    """The rows that were given up, and why; for each row the first reason wins."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.reasons: np.ndarray[Any, np.dtype[np.int8]] | None = None
        self.messages: dict[int, str] = {}
        """Row number to sentence, for failed rows."""

    def enter(self, rows: Positions, stop: Stop) -> Positions:
        """Give rows up; gives those that were not given up before."""
        if self.reasons is None:
            self.reasons = np.zeros(self.size, dtype=np.int8)
        fresh: Positions = rows[self.reasons[rows] == Stop.NONE]
        self.reasons[fresh] = stop
        return fresh

    def fail(self, rows: Positions, message: str) -> None:
        """Give rows up as failed."""
        for row in self.enter(rows, Stop.FAILED).tolist():
            self.messages[row] = message

    def mask(self, stop: Stop) -> Mask | None:
        """Rows given up for one reason; None where there are none."""
        if self.reasons is None:
            return None
        mask: Mask = self.reasons == stop
        return mask if mask.any() else None


class Rows:
    """Some rows of a frame; ``positions`` None means all of them."""

    __slots__ = ("_whole", "frame", "positions", "size")

    def __init__(
        self, frame: pd.DataFrame, positions: Positions | None = None, whole: dict[str, Operand] | None = None
    ):
        self.frame = frame
        self.positions = positions
        self.size = len(frame) if positions is None else len(positions)
        self._whole = {} if whole is None else whole

    def attribute(self, name: str) -> Operand:
        """The values of a source attribute; null throughout where the frame has no such column."""
        if name not in self._whole:
            self._whole[name] = from_series(self.frame[name]) if name in self.frame.columns else NULL
        whole = self._whole[name]
        return whole if self.positions is None or isinstance(whole, Scalar) else whole.take(self.positions)

    def subset(self, rows: Positions) -> "Rows":
        """Some of these rows."""
        if len(rows) == self.size:
            return self
        return Rows(self.frame, self.in_frame(rows), self._whole)

    def in_frame(self, rows: Positions) -> Positions:
        """Numbers of these rows as numbers of the frame's rows."""
        return rows if self.positions is None else self.positions[rows]


class ColumnEvaluation:
    """Evaluates nodes for some rows."""

    def __init__(self, rows: Rows, context: Context, stops: Stops) -> None:
        self.rows = rows
        self.context = context
        self.stops = stops

    @property
    def size(self) -> int:
        """Number of rows."""
        return self.rows.size

    def on(self, rows: Rows) -> "ColumnEvaluation":
        """The same evaluation on other rows of the same frame."""
        return self if rows is self.rows else ColumnEvaluation(rows, self.context, self.stops)

    # Giving rows up

    def fail(self, error: EvaluationError, rows: Mask | None = None) -> None:
        """Hold rows (all, when none are named) with the error's sentence."""
        self.stops.fail(self._numbers(rows), str(error))

    def leave(self, flow: Flow, rows: Mask | None = None) -> None:
        """Give rows up for a flow-control marker."""
        self.stops.enter(self._numbers(rows), _FLOW_STOPS[flow])

    def _numbers(self, rows: Mask | None) -> Positions:
        return self.rows.in_frame(np.arange(self.size) if rows is None else np.flatnonzero(rows))

    # Nodes

    def value(self, node: Node | None) -> Operand:
        """The values of a node."""
        if node is None or not self.size:
            return NULL
        match node:
            case Constant():
                return Scalar(node.value)
            case Attribute():
                return self.rows.attribute(node.name)
            case Keyword():
                return self._keyword(node)
            case Comparison():
                return self._comparison(node)
            case Call():
                return self._call(node)

    def texts(self, node: Node | None) -> Vector | Scalar:
        """The values of a node as text, null staying null."""
        value = self.value(node)
        text = as_text(value)
        if text is not None:
            return text
        converted = self._each(value, lambda one: None if one is None else text_of(one), None)
        assert isinstance(converted, Scalar) or converted.kind is Kind.TEXT
        return converted

    def truth(self, node: Node | None) -> Mask:
        """Whether a node, as a condition, holds."""
        value = self.value(node)
        if isinstance(value, Vector) and value.kind is Kind.BOOLEAN:
            return flags(value.data)
        holds = self._each(value, truth, None)
        if isinstance(holds, Scalar):
            return np.full(self.size, bool(holds.value))
        return flags(holds.data) if holds.kind is Kind.BOOLEAN else np.zeros(self.size, dtype=bool)

    def _keyword(self, node: Keyword) -> Operand:
        try:
            return Scalar(keyword_value(node.name))
        except FlowSignal as signal:
            self.leave(signal.flow)
            return NULL

    def _comparison(self, node: Comparison) -> Operand:
        left, right = self.value(node.left), self.value(node.right)
        if quick := _compare_columns(node.operator, left, right):
            return quick

        def compute(*values: Value) -> Value:
            return compare(node.operator, *values)

        return self._distinct([left, right], compute, comparison_place(node))

    def _call(self, call: Call) -> Operand:
        function = FUNCTIONS[call.name]
        if function.evaluate_column is not None:
            return self._lazy(call, function.evaluate_column)
        arguments = [self.value(argument) for argument in call.arguments]
        if function.compute_column is not None and not all(isinstance(argument, Scalar) for argument in arguments):
            result = function.compute_column(arguments, self.context)
            if isinstance(result, Partly):
                return self._rest(call, function, arguments, result)
            if result is not None:
                return result
        return self._by_value(call, function, arguments)

    def _rest(self, call: Call, function: Function, arguments: Sequence[Operand], partly: Partly) -> Operand:
        """The rows that a column form left over, value by value; together with the others."""
        done, rest = np.flatnonzero(partly.done), np.flatnonzero(~partly.done)
        if not len(rest):
            return partly.vector
        left = [argument.take(rest) if isinstance(argument, Vector) else argument for argument in arguments]
        values = self.on(self.rows.subset(rest))._by_value(call, function, left)
        return merge(self.size, [(done, partly.vector.take(done)), (rest, values)])

    def _by_value(self, call: Call, function: Function, arguments: Sequence[Operand]) -> Operand:
        if not function.stable:
            return self._every_row(call, function, arguments)

        def compute(*values: Value) -> Value:
            return function.apply(values, self.context)

        return self._distinct(arguments, _direct(function, arguments, self.context) or compute, call.place)

    def _lazy(self, call: Call, evaluate: Callable[[Call, Any], Operand]) -> Operand:
        located = _Located(self, call.place)
        return evaluate(call, located)

    def _every_row(self, call: Call, function: Function, arguments: Sequence[Operand]) -> Operand:
        """A function whose value differs even for equal arguments."""
        columns = [
            argument.values() if isinstance(argument, Vector) else [argument.value] * self.size
            for argument in arguments
        ]
        outcomes = [
            self._attempt(lambda *row: function.apply(row, self.context), row)
            for row in (zip(*columns, strict=True) if columns else [()] * self.size)
        ]
        return self._finish(outcomes, None, call.place)

    def _each(self, operand: Operand, compute: Callable[[Value], Value], place: str | None) -> Vector | Scalar:
        return self._distinct([operand], compute, place or getattr(self, "place", None))

    def _distinct(self, arguments: Sequence[Operand], compute: Callable[..., Value], place: str | None) -> Operand:
        """A computation of single values, run once for each distinct combination of arguments."""
        if not any(isinstance(argument, Vector) for argument in arguments):
            return self._once(
                [argument.value for argument in arguments if isinstance(argument, Scalar)], compute, place
            )
        combinations, codes = _combinations(arguments)
        outcomes: list[Value | EvaluationError] = []
        timeouts: list[RegexTimeoutError] = []
        for combination in combinations:
            outcome = _GIVEN_UP if len(timeouts) >= MAX_TIMEOUTS else self._attempt(compute, combination)
            if isinstance(outcome, RegexTimeoutError):
                timeouts.append(outcome)
            outcomes.append(outcome)
        return self._finish(outcomes, codes, place)

    def _once(self, values: Sequence[Value], compute: Callable[..., Value], place: str | None) -> Operand:
        outcome = self._attempt(compute, values)
        if isinstance(outcome, EvaluationError):
            self.fail(outcome.at(place) if place else outcome)
            return NULL
        return Scalar(outcome)

    @staticmethod
    def _attempt(compute: Callable[..., Value], values: Sequence[Value]) -> Value | EvaluationError:
        try:
            return compute(*values)
        except EvaluationError as error:
            return error

    def _finish(self, outcomes: list[Any], codes: Positions | None, place: str | None) -> Vector:
        """Outcomes of combinations as a column; rows of failed ones are given up."""
        failed = {index: outcome for index, outcome in enumerate(outcomes) if isinstance(outcome, EvaluationError)}
        for index, error in failed.items():
            outcomes[index] = None
            rows = np.array([index]) if codes is None else np.flatnonzero(codes == index)
            self.stops.fail(self.rows.in_frame(rows), str(error.at(place) if place else error))
        vector = from_values(outcomes)
        return vector if codes is None else vector.take(codes)


class _Located(ColumnEvaluation):
    """An evaluation inside a lazy call: what goes wrong with a value that the call asks for is told of the call."""

    def __init__(self, outer: ColumnEvaluation, place: str) -> None:
        super().__init__(outer.rows, outer.context, outer.stops)
        self.place = place

    def on(self, rows: Rows) -> ColumnEvaluation:
        """As in `ColumnEvaluation`."""
        return self if rows is self.rows else _Located(ColumnEvaluation(rows, self.context, self.stops), self.place)


def _direct(function: Function, arguments: Sequence[Operand], context: Context) -> Callable[..., Value] | None:
    """A shorter way to apply a function to text columns and constants: constants are converted once.

    None where it would not give what `Function.apply` gives.
    """
    if function.variadic or function.compute is None or not arguments:
        return None
    readers: list[tuple[int, Callable[[Value], Any] | None]] = []
    guarded: list[int] = []
    read: list[Any] = [None] * len(function.parameters)
    for index, argument in enumerate(arguments):
        parameter = function.parameter(index)
        needed = parameter.required and parameter.null is Null.GIVES_NULL
        if isinstance(argument, Vector):
            if argument.kind is not Kind.TEXT:
                return None
            readers.append((index, None if parameter.type in (Type.TEXT, Type.ANY) else parameter.read))
            guarded.extend([index] if needed else [])
        elif (argument.value is None and needed) or isinstance(argument.value, list):
            return None
        else:
            try:
                read[index] = parameter.read(argument.value)
            except EvaluationError:
                return None
    compute = partial(function.compute, context=context) if function.wants_context else function.compute

    def call(*values: Value) -> Value:
        for index in guarded:
            if values[index] is None:
                return None
        converted = read.copy()
        for index, reader in readers:
            value = values[index]
            converted[index] = value if reader is None or value is None else reader(value)
        return compute(*converted)

    return call


def _compare_columns(sign: str, left: Operand, right: Operand) -> Vector | None:
    """Texts compared for being the same, and integers; anything else is looked at value by value."""
    kinds = {operand.kind if isinstance(operand, Vector) else type(operand.value) for operand in (left, right)}
    texts = kinds <= {Kind.TEXT, str} and Kind.TEXT in kinds and sign in ("=", "<>")
    integers = kinds <= {Kind.INTEGER, int} and Kind.INTEGER in kinds
    if not texts and not integers:
        return None
    left_data, right_data = (
        operand.data if isinstance(operand, Vector) else operand.value for operand in (left, right)
    )
    return boolean_vector(_ARROW_COMPARISONS[sign](left_data, right_data).fill_null(False))


def _combinations(arguments: Sequence[Operand]) -> tuple[list[tuple[Value, ...]], Positions | None]:
    """The distinct combinations of arguments and, for each row, the number of its own.

    The numbers are None where every row counts as a combination of its own.
    """
    vectors = [argument for argument in arguments if isinstance(argument, Vector)]
    size = len(vectors[0])
    if any(vector.kind is Kind.OBJECT for vector in vectors):
        columns = [
            argument.values() if isinstance(argument, Vector) else [argument.value] * size for argument in arguments
        ]
        return list(zip(*columns, strict=True)), None
    if len(vectors) == 1:
        distinct, codes = _encoded(vectors[0])
        picked = iter([distinct])
        count = len(distinct)
    else:
        codes, firsts = _numbered(vectors)
        picked = iter([vector.take(firsts).values() for vector in vectors])
        count = len(firsts)
    columns = [next(picked) if isinstance(argument, Vector) else [argument.value] * count for argument in arguments]
    return list(zip(*columns, strict=True)), codes


def _encoded(vector: Vector) -> tuple[list[Value], Positions]:
    """The distinct values and, for each row, the number of its own."""
    encoded = vector.data.dictionary_encode()
    distinct: list[Value] = encoded.dictionary.to_pylist()
    indices = encoded.indices
    if indices.null_count:
        indices = indices.fill_null(len(distinct))
        distinct.append(None)
    return distinct, indices.to_numpy()


def _numbered(vectors: Sequence[Vector]) -> tuple[Positions, Positions]:
    """For each row the number of its combination, and for each combination the first row that has it."""
    combined = np.zeros(len(vectors[0]), dtype=np.int64)
    for vector in vectors:
        distinct, codes = _encoded(vector)
        # Numbered anew each time, so that the product stays below rows times values: far from 64 bits.
        combined = pd.factorize(combined * (len(distinct) + 1) + codes)[0]
    firsts = np.empty(int(combined.max(initial=-1)) + 1, dtype=np.int64)
    firsts[combined[::-1]] = np.arange(len(combined) - 1, -1, -1)
    return combined, firsts


@dataclass(slots=True)
class Column:
    """One expression's values for a frame."""

    values: pd.Series
    """Index: the frame's. ``str`` (NaN is null), ``boolean``, ``Int64``, or ``object`` for lists and mixtures."""
    failed: dict[str, str]
    """Key of the entry to the sentence that says why; these values are null. Sparse."""
    left_alone: Mask | None = None
    """Rows whose target attribute is not to be touched; None where there are none."""
    skipped: Mask | None = None
    """Rows whose entry is to be skipped in this cycle; None where there are none."""
    redacted: bool = False
    """The values must not be shown anywhere."""
    candidates: "Sequence[Column]" = ()
    """For SelectUniqueValue: each rule's column, computed when it is looked at."""
