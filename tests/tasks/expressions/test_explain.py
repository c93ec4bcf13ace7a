"""What `provisor explain` and the README are made of."""

import json

import pytest

from tasks.expressions import FUNCTIONS, Context, State, compile_expression, function_reference
from tests.tasks.expressions.cases import agrees, by_column, by_entry

EXAMPLES = [
    pytest.param(
        {
            "function": name,
            "expression": example.expression,
            "attributes": example.attributes,
            "expected": {"$flow": "ignore_attribute"} if str(example.gives) == "IgnoreAttributeFlow" else example.gives,
            "context": {"defaultDomain": "example.com"},
        },
        id=f"{name} {number}",
    )
    for name, function in sorted(FUNCTIONS.items())
    for number, example in enumerate(function.examples)
]


@pytest.mark.parametrize("case", EXAMPLES)
def test_examples_of_the_reference_are_true(case: dict) -> None:
    """Every example that readers see gives what it says, by entry and by column."""
    assert agrees(case["expected"], by_entry(case)), by_entry(case)
    assert agrees(case["expected"], by_column(case)), by_column(case)


def test_the_reference_names_every_function() -> None:
    """A function that is entered in the table is documented by that."""
    table = function_reference()
    assert all(f"`{function.call_form}`" in table for function in FUNCTIONS.values())
    assert all(row.count("|") - row.count("\\|") == 4 for row in table.splitlines())
    assert "IgnoreObjectFlow" in table


def test_a_trace_shows_every_part_with_its_value() -> None:
    """Each part has its text, value and kind; branches that were not needed say so."""
    text = 'IIF([country] = "US", ToLower([mail]), CDate("no date"))'
    trace = compile_expression(text).trace({"country": "US", "mail": "Ann@X.com"}, Context())
    condition, yes, no = trace.parts
    assert (trace.value, trace.kind) == ("ann@x.com", "text")
    assert (condition.text, condition.value, condition.kind) == ('[country] = "US"', True, "boolean")
    assert (yes.text, yes.parts[0].value) == ("ToLower([mail])", "Ann@X.com")
    assert (no.state, no.parts[0].state) == (State.NOT_NEEDED, State.NOT_NEEDED)
    json.dumps(trace.as_dict())


def test_a_trace_shows_where_it_failed() -> None:
    """The failing call carries the reason, and so does everything that depends on it."""
    trace = compile_expression("ToLower(CDate([a]))").trace({"a": "x"}, Context())
    (inner,) = trace.parts
    assert (trace.state, inner.state, inner.parts[0].state) == (State.FAILED, State.FAILED, State.EVALUATED)
    assert inner.problem.startswith("CDate (column 9): ")


def test_a_trace_shows_a_marker() -> None:
    """Leaving an attribute alone is not a failure."""
    trace = compile_expression("Append(IgnoreFlowIfNullOrEmpty([a]), [b])").trace({}, Context())
    assert (trace.state, trace.problem) == (State.IGNORED, "IgnoreAttributeFlow")
    assert trace.parts[1].state is State.NOT_NEEDED
