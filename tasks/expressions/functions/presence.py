"""Functions that ask whether there is a value, and those that act on it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from connectors.contract import Value
from tasks.expressions.context import Context
from tasks.expressions.functions.texts import SOURCE
from tasks.expressions.operands import (
    NULL,
    Operand,
    Positions,
    Scalar,
    Vector,
    boolean_vector,
    empty_mask,
    merge,
    null_mask,
    with_nulls,
)
from tasks.expressions.signature import Example, Null, Parameter, Type, Values, function, lazy_function
from tasks.expressions.tree import Attribute, Call, Node
from tasks.expressions.values import Flow, FlowSignal, is_empty

if TYPE_CHECKING:
    from tasks.expressions.columns import ColumnEvaluation

_EXPRESSION = Parameter("expression", Type.ANY, null=Null.IS_A_VALUE)


def _is_null_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    return boolean_vector(null_mask(operands[0], len(operands[0]))) if isinstance(operands[0], Vector) else None


def _is_empty_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    return boolean_vector(empty_mask(operands[0], len(operands[0]))) if isinstance(operands[0], Vector) else None


def _is_present_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    return boolean_vector(~empty_mask(operands[0], len(operands[0]))) if isinstance(operands[0], Vector) else None


@function(
    "IsNull",
    _EXPRESSION,
    gives="True when there is no value; the empty text is one.",
    example=(Example("IsNull([mail])", True), Example("IsNull([mail])", False, {"mail": ""})),
    source=SOURCE,
    compute_column=_is_null_column,
)
def is_null(value: Value) -> bool:
    return value is None


@function(
    "IsNothing",
    _EXPRESSION,
    gives="As IsNull.",
    example=Example("IsNothing([mail])", True),
    source="Microsoft Graph, synchronization schema: function list",
    compute_column=_is_null_column,
)
def is_nothing(value: Value) -> bool:
    return value is None


@function(
    "IsNullOrEmpty",
    _EXPRESSION,
    gives="True when there is no value or the empty text.",
    example=Example("IsNullOrEmpty([mail])", True, {"mail": ""}),
    source=SOURCE,
    compute_column=_is_empty_column,
)
def is_null_or_empty(value: Value) -> bool:
    return is_empty(value)


@function(
    "IsPresent",
    _EXPRESSION,
    gives="True when there is a value that is not the empty text.",
    example=Example("IsPresent([mail])", True, {"mail": "ann@example.com"}),
    source=SOURCE,
    compute_column=_is_present_column,
)
def is_present(value: Value) -> bool:
    return not is_empty(value)


# Coalesce


def _coalesce_column(call: Call, evaluation: "ColumnEvaluation") -> Operand:
    parts: list[tuple[Positions, Operand]] = []
    rows = evaluation.rows
    waiting = np.arange(rows.size)
    for argument in call.arguments:
        if argument is None:
            continue
        here = evaluation.on(rows.subset(waiting)) if len(waiting) < rows.size else evaluation
        value = _skip_empty_column(argument, here.value(argument), evaluation.context)
        missing = null_mask(value, len(waiting))
        if not missing.any():
            parts.append((waiting, value))
            break
        found = np.flatnonzero(~missing)
        if len(found):
            parts.append((waiting[found], value.take(found) if isinstance(value, Vector) else value))
        waiting = waiting[missing]
    return merge(rows.size, parts)


def _skip_empty_column(node: Node, value: Operand, context: Context) -> Operand:
    if not isinstance(node, Attribute) or context.keep_empty:
        return value
    if isinstance(value, Scalar):
        return NULL if value.value == "" else value
    empty = empty_mask(value, len(value))
    return with_nulls(value, empty) if empty.any() else value


@lazy_function(
    "Coalesce",
    Parameter("source", Type.ANY, variadic=True, null=Null.IS_A_VALUE),
    gives="The first argument that is not null. An empty attribute counts as null unless the job keeps empty texts.",
    example=(
        Example("Coalesce([mail], [userPrincipalName])", "ann@example.com", {"userPrincipalName": "ann@example.com"}),
        Example('Coalesce([a], [b], "none")', "none"),
    ),
    source=SOURCE,
    evaluate_column=_coalesce_column,
)
def coalesce(call: Call, evaluation: Values) -> Value:
    for argument in call.arguments:
        value = evaluation.value(argument)
        if value == "" and isinstance(argument, Attribute) and not evaluation.context.keep_empty:
            continue
        if value is not None:
            return value
    return None


# Leaving attributes alone


def _ignore_if_empty_column(call: Call, evaluation: "ColumnEvaluation") -> Operand:
    value = evaluation.value(call.arguments[0])
    empty = empty_mask(value, evaluation.size)
    if empty.any():
        evaluation.leave(Flow.IGNORE_ATTRIBUTE, empty)
    return value


@lazy_function(
    "IgnoreFlowIfNullOrEmpty",
    _EXPRESSION,
    gives="The value; where it is null or empty the attribute is left out of the change, whatever the target has.",
    example=(
        Example("IgnoreFlowIfNullOrEmpty([department])", "IT", {"department": "IT"}),
        Example("IgnoreFlowIfNullOrEmpty([department])", Flow.IGNORE_ATTRIBUTE),
    ),
    source=SOURCE,
    evaluate_column=_ignore_if_empty_column,
)
def ignore_flow_if_null_or_empty(call: Call, evaluation: Values) -> Value:
    value = evaluation.value(call.arguments[0])
    if is_empty(value):
        raise FlowSignal(Flow.IGNORE_ATTRIBUTE)
    return value
