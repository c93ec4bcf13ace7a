"""The language's behaviour is data: published vectors, and cases of our own for what they leave open."""

from typing import Any

import pytest

from tasks.expressions import FUNCTIONS, compile_expression
from tests.tasks.expressions.cases import agrees, by_column, by_entry, load, name_of

VECTORS = load("vectors.json")
CASES = load("cases.json")
ALL = [pytest.param(case, id=f"{number} {name_of(case)}") for number, case in enumerate([*VECTORS, *CASES])]


@pytest.mark.parametrize("case", ALL)
def test_single_entries_get_the_expected_value(case: dict[str, Any]) -> None:
    """Every case holds for a single entry, in value and in kind."""
    assert agrees(case["expected"], by_entry(case)), by_entry(case)


@pytest.mark.parametrize("case", ALL)
def test_columns_get_the_expected_value(case: dict[str, Any]) -> None:
    """Every case holds for a column, whatever its neighbours are."""
    assert agrees(case["expected"], by_column(case)), by_column(case)


def test_every_function_has_a_case() -> None:
    """No function is without a case that can fail."""
    covered = {name for case in [*VECTORS, *CASES] for name in FUNCTIONS if f"{name}(" in case["expression"]}
    assert covered == set(FUNCTIONS)


@pytest.mark.parametrize("case", [case for case in VECTORS if "log_expected" in case], ids=name_of)
def test_redacted_values_are_marked(case: dict[str, Any]) -> None:
    """Whatever Redact touches says so, in the expression and in its column."""
    assert compile_expression(case["expression"]).redacted
