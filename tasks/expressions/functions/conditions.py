"""Functions that decide: only the branch that is needed is evaluated."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Value
from tasks.expressions.context import Context
from tasks.expressions.errors import EvaluationError, NoUniqueValueError
from tasks.expressions.functions.texts import SOURCE
from tasks.expressions.operands import (
    TEXT_TYPE,
    Kind,
    Mask,
    Operand,
    Positions,
    Scalar,
    Vector,
    boolean_vector,
    choose,
    merge,
    null_mask,
    text_vector,
)
from tasks.expressions.signature import Example, Null, Parameter, Place, Type, Values, function, lazy_function
from tasks.expressions.tree import Attribute, Call, Constant, Node
from tasks.expressions.values import is_true, text_of, truth

if TYPE_CHECKING:
    from tasks.expressions.columns import ColumnEvaluation


# IIF


def _iif_column(call: Call, evaluation: "ColumnEvaluation") -> Operand:
    condition, yes, no = [*call.arguments, None, None][:3]
    holds = evaluation.truth(condition)
    if holds.all():
        return evaluation.value(yes)
    if not holds.any():
        return evaluation.value(no)
    if _is_plain(yes) and _is_plain(no):
        return choose(holds, evaluation.value(yes), evaluation.value(no))
    branches = [(np.flatnonzero(holds), yes), (np.flatnonzero(~holds), no)]
    return _branches(evaluation, branches)


def _is_plain(node: Node | None) -> bool:
    """True for a branch that is cheaper taken for all rows than for some, and cannot go wrong."""
    return node is None or isinstance(node, Attribute | Constant)


def _branches(evaluation: "ColumnEvaluation", branches: Sequence[tuple[Positions, Node | None]]) -> Operand:
    rows = evaluation.rows
    parts = [(where, evaluation.on(rows.subset(where)).value(node)) for where, node in branches if len(where)]
    return merge(rows.size, parts)


@lazy_function(
    "IIF",
    Parameter("condition", Type.CONDITION, null=Null.IS_A_VALUE),
    Parameter("valueIfTrue", Type.ANY, null=Null.IS_A_VALUE),
    Parameter("valueIfFalse", Type.ANY, null=Null.IS_A_VALUE),
    gives="One value or the other. A comparison with null does not hold; operators: = <> > >= < <=.",
    example=Example(
        'IIF([country] = "USA", [country], [department])', "Sales", {"country": "DE", "department": "Sales"}
    ),
    source=SOURCE,
    evaluate_column=_iif_column,
)
def iif(call: Call, evaluation: Values) -> Value:
    condition, yes, no = [*call.arguments, None, None][:3]
    return evaluation.value(yes if truth(evaluation.value(condition)) else no)


# Switch


def _pairs(call: Call) -> list[tuple[Node | None, Node | None]]:
    rest = [*call.arguments[2:], None]
    return list(zip(rest[0:-1:2], rest[1::2], strict=False))


def _default(call: Call) -> Node | None:
    return call.arguments[1] if len(call.arguments) > 1 else None


def _switch_column(call: Call, evaluation: "ColumnEvaluation") -> Operand:
    source = evaluation.texts(call.arguments[0])
    pairs = _pairs(call)
    if isinstance(source, Vector) and all(key is None or isinstance(key, Constant) for key, _ in pairs):
        return _switch_by_table(call, evaluation, source, pairs)
    return _switch_by_turns(call, evaluation, source, pairs)


def _switch_by_table(
    call: Call, evaluation: "ColumnEvaluation", source: Vector, pairs: Sequence[tuple[Node | None, Node | None]]
) -> Operand:
    """All keys are constants: each row's key is looked up once."""
    values: dict[str, Node | None] = {}
    for key, value in pairs:
        values.setdefault(_key(key), value)
    texts = source.data.fill_null("") if "" in values and source.data.null_count else source.data
    found = pc.index_in(texts, value_set=pa.array(list(values), type=TEXT_TYPE))
    outcomes = [*values.values(), _default(call)]
    chosen = found.fill_null(len(values)) if found.null_count else found
    if all((isinstance(node, Constant) and isinstance(node.value, str)) or node is None for node in outcomes):
        table = pa.array([node.value if isinstance(node, Constant) else None for node in outcomes], type=TEXT_TYPE)
        return text_vector(table.take(chosen))
    numbers = chosen.to_numpy()
    counts = np.bincount(numbers, minlength=len(outcomes))
    return _branches(
        evaluation, [(np.flatnonzero(numbers == index), outcomes[index]) for index in np.flatnonzero(counts).tolist()]
    )


def _key(key: Node | None) -> str:
    return text_of(key.value) if isinstance(key, Constant) else ""


def _switch_by_turns(
    call: Call, evaluation: "ColumnEvaluation", source: Operand, pairs: Sequence[tuple[Node | None, Node | None]]
) -> Operand:
    """Keys differ from row to row: they are evaluated in turn, for the rows still without a match."""
    rows = evaluation.rows
    waiting = np.arange(rows.size)
    parts: list[tuple[Positions, Operand]] = []
    for key, value in pairs:
        here = evaluation.on(rows.subset(waiting))
        hit = _same(source, here.texts(key), waiting)
        if hit.any():
            parts.append((waiting[hit], evaluation.on(rows.subset(waiting[hit])).value(value)))
            waiting = waiting[~hit]
        if not len(waiting):
            break
    if len(waiting):
        parts.append((waiting, evaluation.on(rows.subset(waiting)).value(_default(call))))
    return merge(rows.size, parts)


def _same(source: Operand, key: Operand, rows: Positions) -> Mask:
    if isinstance(source, Scalar) and isinstance(key, Scalar):
        return np.full(len(rows), (source.value or "") == (key.value or ""))
    left = source.take(rows).data.fill_null("") if isinstance(source, Vector) else source.value or ""
    right = key.data.fill_null("") if isinstance(key, Vector) else key.value or ""
    same: Mask = pc.equal(left, right).to_numpy(zero_copy_only=False)
    return same


def _check_switch(call: Call) -> list[tuple[Node, str]]:
    if len(call.arguments) % 2:
        last = call.arguments[-1]
        return [(last or call, "Switch has a key without a value at its end")]
    return []


@lazy_function(
    "Switch",
    Parameter("source", Type.ANY, null=Null.IS_A_VALUE),
    Parameter("defaultValue", Type.ANY, required=False, null=Null.IS_A_VALUE),
    Parameter("key", variadic=True, null=Null.IS_A_VALUE),
    Parameter("value", Type.ANY, variadic=True, null=Null.IS_A_VALUE),
    gives='The value of the first key equal to the source, else the default or null. Null and empty match the key "".',
    example=(
        Example('Switch([state], "Sydney", "QLD", "Brisbane", "SA", "Adelaide")', "Brisbane", {"state": "QLD"}),
        Example('Switch([mobile], [mobile], "", "none")', "none"),
    ),
    source=SOURCE,
    evaluate_column=_switch_column,
    check=_check_switch,
)
def switch(call: Call, evaluation: Values) -> Value:
    source = text_of(evaluation.value(call.arguments[0]))
    for key, value in _pairs(call):
        if text_of(evaluation.value(key)) == source:
            return evaluation.value(value)
    return evaluation.value(_default(call))


# Not, And, Or


def _not_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    operand = operands[0]
    if not isinstance(operand, Vector) or operand.kind is not Kind.BOOLEAN:
        return None
    return boolean_vector(pc.invert(operand.data.fill_null(False)))


@function(
    "Not",
    Parameter("source", Type.ANY, null=Null.IS_A_VALUE),
    gives="False for true and for the text True; True for anything else, null included.",
    example=(Example("Not([IsSoftDeleted])", False, {"IsSoftDeleted": "True"}), Example("Not([IsSoftDeleted])", True)),
    source=SOURCE,
    compute_column=_not_column,
)
def not_(value: Value) -> bool:
    return not is_true(value)


def _until_column(call: Call, evaluation: "ColumnEvaluation", *, stop: bool) -> Operand:
    """Conditions in turn, for the rows where none was ``stop`` yet."""
    rows = evaluation.rows
    result = np.full(rows.size, not stop)
    waiting = np.arange(rows.size)
    for argument in call.arguments:
        hit = evaluation.on(rows.subset(waiting)).truth(argument) == stop
        result[waiting[hit]] = stop
        waiting = waiting[~hit]
        if not len(waiting):
            break
    return boolean_vector(result)


_CONDITION = Parameter("condition", Type.CONDITION, variadic=True, null=Null.IS_A_VALUE)


@lazy_function(
    "And",
    _CONDITION,
    gives="True when every condition holds; the ones behind the first that does not are not looked at.",
    example=Example('And([country] = "US", [state] = "CA")', True, {"country": "US", "state": "CA"}),
    source="Provisor",
    evaluate_column=lambda call, evaluation: _until_column(call, evaluation, stop=False),
)
def and_(call: Call, evaluation: Values) -> Value:
    return all(truth(evaluation.value(argument)) for argument in call.arguments)


@lazy_function(
    "Or",
    _CONDITION,
    gives="True when one condition holds; the ones behind the first that does are not looked at.",
    example=Example('Or([country] = "US", [state] = "CA")', True, {"country": "US", "state": "NY"}),
    source="Provisor",
    evaluate_column=lambda call, evaluation: _until_column(call, evaluation, stop=True),
)
def or_(call: Call, evaluation: Values) -> Value:
    return any(truth(evaluation.value(argument)) for argument in call.arguments)


# SelectUniqueValue

EXHAUSTED = "every value that the rules give is taken in the target"


def _unique_column(call: Call, evaluation: "ColumnEvaluation") -> Operand:
    """Rule by rule, for the rows still without a free value."""
    rows = evaluation.rows
    waiting = np.arange(rows.size)
    tried = np.zeros(rows.size, dtype=bool)
    parts: list[tuple[Positions, Operand]] = []
    for rule in call.arguments:
        here = evaluation.on(rows.subset(waiting))
        value = here.value(rule)
        free = ~null_mask(value, len(waiting))
        tried[waiting[free]] = True
        if evaluation.context.taken is not None:
            free = _free(call, here, value, free)
        parts.append((waiting[free], value.take(np.flatnonzero(free)) if isinstance(value, Vector) else value))
        waiting = waiting[~free]
        if not len(waiting):
            break
    exhausted = np.zeros(rows.size, dtype=bool)
    exhausted[waiting] = tried[waiting]
    if exhausted.any():
        evaluation.fail(NoUniqueValueError(EXHAUSTED, place=call.place), exhausted)
    return merge(rows.size, parts)


def _free(call: Call, evaluation: "ColumnEvaluation", value: Operand, candidates: Mask) -> Mask:
    """Which candidates the target does not have; one that is no text at all fails its row."""
    taken = evaluation.context.taken
    values = value.values() if isinstance(value, Vector) else [value.value] * len(candidates)
    free = candidates.copy()
    for row in np.flatnonzero(candidates):
        try:
            free[row] = taken is None or not taken(text_of(values[row]))
        except EvaluationError as error:
            evaluation.fail(error.at(call.place), np.arange(len(candidates)) == row)
    return free


@lazy_function(
    "SelectUniqueValue",
    Parameter("rule", Type.ANY, null=Null.IS_A_VALUE),
    Parameter("rule", Type.ANY, null=Null.IS_A_VALUE, variadic=True),
    gives="The first rule's value that nobody in the target has yet; the entry is held when all are taken.",
    example=Example(
        'SelectUniqueValue(Join(".", [first], [last]), Join(".", Mid([first], 1, 1), [last]))',
        "John.Smith",
        {"first": "John", "last": "Smith"},
    ),
    source=SOURCE,
    evaluate_column=_unique_column,
    top_only=True,
    places=frozenset({Place.MAPPING}),
)
def select_unique_value(call: Call, evaluation: Values) -> Value:
    tried = False
    for rule in call.arguments:
        value = evaluation.value(rule)
        if value is None:
            continue
        tried = True
        if evaluation.context.taken is None or not evaluation.context.taken(text_of(value)):
            return value
    if tried:
        raise NoUniqueValueError(EXHAUSTED)
    return None
