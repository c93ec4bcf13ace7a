"""Rules that hold for every expression and every entry.

The short form runs with the other tests. The long form (10,000 cases each) runs with ``PROVISOR_LONG=1``.
"""

import datetime as dt
import os
import pickle
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tasks.expressions import (
    FUNCTIONS,
    Context,
    EvaluationError,
    ExpressionError,
    Flow,
    check_expression,
    compile_expression,
)
from tasks.expressions.signature import Function, Parameter, Type

LONG = bool(os.environ.get("PROVISOR_LONG"))
ANY_CASE = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
MANY = settings(max_examples=10_000 if LONG else 120, deadline=None, suppress_health_check=ANY_CASE)
SOME = settings(max_examples=10_000 if LONG else 60, deadline=None, suppress_health_check=ANY_CASE)

NOW = dt.datetime(2026, 3, 15, 12, 30, tzinfo=dt.UTC)
ATTRIBUTES = {"a": "text", "b": "text", "c": "text", "flag": "boolean", "number": "integer", "many": "object"}

TEXTS = [
    "", " ", "a", "A", "ab", "John", "O'Brien", "true", "True", "FALSE", "0", "1", "-3", "10", "1.5", "&HF", "None",
    "NA", "00123", "Zoë Łukasz", "ΣΑΣ", "İıIi", "straße ẞ", "ǆ", "日本 か\u3099", "e\u0301x",
    "👩‍💻 x", "a,b , c", "+49 (0) 30-1",
    "x\n", "\n", "2026-03-14", "2026-03-14T23:59:59.5-08:00", "3/16/2020 7:00:00 AM", "31.12.2026", "12/31/9999",
    "2026-02-30", "QLD", "d", "yyyy", "tr-TR", "a.b@example.com",
]  # fmt: skip
PATTERNS = [
    "a", "[()\\\\s-]+", "(?<x>\\\\w+)", "^(?<x>.)", "(?<x>a)|b", ".*", "$", "\\\\d+", "(?i)JOHN", "(?<=a)b",
    "(.)(?<x>.)?",
    "\\\\bx\\\\b", "(.*?)(?<x>.{0,3})$",
]  # fmt: skip
REPLACEMENTS = ["", "-", "$1", "${x}", "<$&>", "$$", "${y}", "\\\\1"]
FORMATS = ["yyyy-MM-dd", "M/d/yyyy h:mm:ss tt", "dd.MM.yyyy", "yyyy-MM-ddTHH:mm:ssK", "o", "ddd d MMM yy"]

texts = st.sampled_from(TEXTS) | st.text(max_size=6)
literals = st.sampled_from([text for text in TEXTS if "\n" not in text and '"' not in text]).map(
    lambda text: f'"{text}"'
)
numbers = st.integers(-2, 12).map(str) | st.sampled_from(['"2"', "&HF", "1.5"])
attributes = st.sampled_from(sorted(ATTRIBUTES)).map(lambda name: f"[{name}]")


def quoted(pool: list[str]) -> st.SearchStrategy[str]:
    return st.sampled_from(pool).map(lambda text: f'"{text}"')


def argument(parameter: Parameter, inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """An argument that suits a parameter more often than not."""
    match parameter.type:
        case Type.NUMBER:
            return numbers | numbers | inner
        case Type.INTERVAL:
            return quoted(["d", "ww", "m", "yyyy", "h", "n", "s"]) | attributes
        case Type.COMPARISON:
            return st.sampled_from(["vbTextCompare", "vbBinaryCompare"])
        case Type.DATE:
            return st.builds("CDate({})".format, inner) | st.just("Now()") | attributes | literals
    match parameter.name:
        case "regexPattern":
            return quoted(PATTERNS)
        case "regexGroupName":
            return quoted(["x", "y"])
        case "replacementValue":
            return quoted(REPLACEMENTS) | inner
        case "culture":
            return quoted(["", "tr-TR", "de-DE"])
        case "inputFormat" | "outputFormat" | "dateTimeStyles":
            return quoted(FORMATS)
    return inner


@st.composite
def calls(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    """A call of any function whose value follows from its arguments."""
    names = sorted(name for name, function in FUNCTIONS.items() if function.stable and not function.top_only)
    function: Function = FUNCTIONS[draw(st.sampled_from(names))]
    repeats = draw(st.integers(1, 3)) if function.variadic else 0
    fixed = [parameter for parameter in function.parameters if not parameter.variadic]
    parameters = [*fixed, *list(function.variadic) * repeats]
    given_arguments = [
        "" if not parameter.required and draw(st.booleans()) else draw(argument(parameter, inner))
        for parameter in parameters
    ]
    return f"{function.name}({', '.join(given_arguments)})"


def comparisons(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    signs = st.sampled_from(["=", "<>", ">", ">=", "<", "<="])
    return st.builds("({} {} {})".format, inner, signs, inner | numbers)


leaves = attributes | attributes | literals | numbers | st.sampled_from(["IgnoreAttributeFlow", "IgnoreObjectFlow"])
expressions = st.recursive(leaves, lambda inner: calls(inner) | comparisons(inner), max_leaves=8)

values = {
    "text": st.none() | texts,
    "boolean": st.none() | st.booleans(),
    "integer": st.none() | st.integers(-5, 5) | st.integers(-(2**63) + 1, 2**63 - 1),
    "object": st.none()
    | st.lists(texts, min_size=1, max_size=3)
    | texts
    | st.booleans()
    | st.integers(0, 3)
    | st.just({"value": "Admin"})
    | st.just([{"value": "Admin", "displayName": "Administrator"}]),
}
entries = st.fixed_dictionaries({name: values[kind] for name, kind in ATTRIBUTES.items()})
DTYPES = {"text": "str", "boolean": "boolean", "integer": "Int64", "object": object}


def frame_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    index = pd.Index([f"k{number}" for number in range(len(rows))], name="key", dtype="str")
    columns = {name: column_of([row[name] for row in rows], DTYPES[kind]) for name, kind in ATTRIBUTES.items()}
    return pd.DataFrame(columns).set_axis(index)


def column_of(cells: list[Any], dtype: Any) -> Any:
    if dtype is not object:
        return pd.array(cells, dtype=dtype)
    column = np.empty(len(cells), dtype=object)
    for number, cell in enumerate(cells):
        column[number] = cell
    return column


def plain(value: Any) -> Any:
    """A value of a column as `evaluate` gives it."""
    if isinstance(value, list | dict):
        return value
    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def outcome_of_entry(expression: Any, entry: dict[str, Any], context: Context) -> tuple[str, Any]:
    try:
        value = expression.evaluate(entry, context)
    except EvaluationError as error:
        return "failed", str(error)
    return ("flow", value) if isinstance(value, Flow) else (type(value).__name__, value)


def outcome_of_row(column: Any, row: int) -> tuple[str, Any]:
    key = column.values.index[row]
    value = plain(column.values.iloc[row])
    if key in column.failed:
        assert value is None
        return "failed", column.failed[key]
    if column.left_alone is not None and column.left_alone[row]:
        assert value is None
        return "flow", Flow.IGNORE_ATTRIBUTE
    if column.skipped is not None and column.skipped[row]:
        assert value is None
        return "flow", Flow.IGNORE_OBJECT
    return type(value).__name__, value


@SOME
@given(text=expressions, rows=st.lists(entries, min_size=1, max_size=8))
def test_columns_give_what_single_entries_give(text: str, rows: list[dict[str, Any]]) -> None:
    """The column form of any expression equals entry-by-entry evaluation: values, kinds, failures and markers."""
    assume(not check_expression(text))
    expression = compile_expression(text)
    context = Context(now=NOW, default_domain="example.com", random=random.Random(1))
    column = expression.column(frame_of(rows), context)
    for number, entry in enumerate(rows):
        assert outcome_of_row(column, number) == outcome_of_entry(expression, entry, context), (text, entry)


@SOME
@given(rules=st.lists(expressions, min_size=2, max_size=3), rows=st.lists(entries, min_size=1, max_size=6))
def test_unique_values_are_chosen_alike(rules: list[str], rows: list[dict[str, Any]]) -> None:
    """SelectUniqueValue as a column chooses, holds and fails as it does for single entries."""
    text = f"SelectUniqueValue({', '.join(rules)})"
    assume(not check_expression(text))
    expression = compile_expression(text)
    context = Context(now=NOW, default_domain="example.com", taken=lambda value: len(value) % 2 == 0)
    column = expression.column(frame_of(rows), context)
    for number, entry in enumerate(rows):
        assert outcome_of_row(column, number) == outcome_of_entry(expression, entry, context), (text, entry)


fragments = st.lists(
    st.sampled_from(
        [*sorted(FUNCTIONS), "(", ")", ",", "[", "]", '"', "\\", "=", "<", ">", "&H", "1", "-", " ", "\n", "mail"]
    )
    | st.text(max_size=3),
    max_size=25,
).map("".join)


@MANY
@given(text=st.text(max_size=60) | fragments | expressions)
def test_any_text_gives_a_value_or_an_error_with_a_place_in_it(text: str) -> None:
    """Whatever is written, it either evaluates (or holds the entry) or is refused at a column that lies in the text."""
    problems = check_expression(text)
    for error in problems:
        assert_place_lies_in(text, error)
    if problems:
        with pytest.raises(ExpressionError):
            compile_expression(text)
        return
    expression = compile_expression(text)
    outcome_of_entry(expression, {"a": "x", "many": ["x", "y"]}, Context(now=NOW))
    expression.column(pd.DataFrame({"a": ["x", None]}), Context(now=NOW))


def assert_place_lies_in(text: str, error: ExpressionError) -> None:
    lines = text.split("\n")
    assert 1 <= error.line <= len(lines)
    assert 1 <= error.column <= max(1, len(lines[error.line - 1]))
    assert error.text == text
    assert f"column {error.column}" in str(error)
    assert error.caret().split("\n")[-1].strip() == "^"


@SOME
@given(text=expressions, entry=entries)
def test_a_trace_ends_where_evaluation_ends(text: str, entry: dict[str, Any]) -> None:
    """What `explain` shows at the top is what the cycle would use; the parts are slices of the text."""
    assume(not check_expression(text))
    expression = compile_expression(text)
    context = Context(now=NOW, default_domain="example.com")
    kind, value = outcome_of_entry(expression, entry, context)
    trace = expression.trace(entry, context)
    match kind:
        case "failed":
            assert (trace.state, trace.problem) == ("failed", value)
        case "flow":
            assert (trace.state, trace.problem) == ("ignored", str(value))
        case _:
            assert (trace.state, trace.value) == ("evaluated", value)
    waiting = [trace]
    while waiting:
        part = waiting.pop()
        assert part.text in text
        waiting.extend(part.parts)


@SOME
@given(text=expressions)
def test_expressions_survive_the_way_to_another_process(text: str) -> None:
    """A compiled expression can be pickled, whatever its shape, and is the same afterwards."""
    assume(not check_expression(text))
    expression = compile_expression(text)
    again = pickle.loads(pickle.dumps(expression))
    assert again == expression
    assert again.tree == expression.tree
    assert again.attributes == expression.attributes
