"""Runs JSON cases of the language, by single entry and by column.

Keys of a case: ``function``, ``expression``, ``attributes``, ``expected``, ``note``, and where needed ``now`` (the
clock), ``target_existing`` (values the target has), ``context`` (``defaultDomain``, ``keepEmpty``), ``log_expected``.
``expected`` is a value, or ``{"$regex": ...}`` for chance, or ``{"$flow": "ignore_attribute" | "ignore_object" |
"escrow"}`` where there is no value.
"""

import datetime as dt
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.expressions import Column, Context, EvaluationError, Flow, compile_expression

Case = dict[str, Any]

FLOWS = {Flow.IGNORE_ATTRIBUTE: {"$flow": "ignore_attribute"}, Flow.IGNORE_OBJECT: {"$flow": "ignore_object"}}
ESCROW = {"$flow": "escrow"}


def load(name: str) -> list[Case]:
    """The cases of a file in this folder."""
    cases: list[Case] = json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return cases


def name_of(case: Case) -> str:
    """What a test of the case is called."""
    return f"{case['function']}: {case['expression']}"[:80]


def context_of(case: Case) -> Context:
    """The surroundings that a case asks for."""
    existing = case.get("target_existing")
    surroundings = case.get("context", {})
    return Context(
        now=dt.datetime.fromisoformat(case.get("now", "2026-03-15T12:00:00Z")),
        default_domain=surroundings.get("defaultDomain"),
        keep_empty=surroundings.get("keepEmpty", False),
        random=random.Random(1),
        taken=None if existing is None else existing.__contains__,
    )


def by_entry(case: Case) -> Any:
    """What a single entry gets."""
    try:
        value = compile_expression(case["expression"]).evaluate(case["attributes"], context_of(case))
    except EvaluationError:
        return ESCROW
    return FLOWS[value] if isinstance(value, Flow) else value


def by_column(case: Case) -> Any:
    """What the entry gets among others that have nothing at all."""
    index = pd.Index(["other", "this", "twin"], name="key")
    cells = {name: [None, value, value] for name, value in case["attributes"].items()}
    frame = pd.DataFrame({name: series_of(values, index) for name, values in cells.items()}, index=index)
    column = compile_expression(case["expression"]).column(frame, context_of(case))
    first, second = (outcome(column, row) for row in (1, 2))
    assert first == second or "$regex" in str(case["expected"])
    return first


def series_of(values: list[Any], index: pd.Index) -> pd.Series:
    """A column as connectors deliver it: text, boolean, integer or object."""
    kinds = {type(value) for value in values if value is not None}
    dtype = {str: "str", bool: "boolean", int: "Int64"}.get(kinds.pop(), object) if kinds else "str"
    if dtype is object:
        cells = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            cells[row] = value
        return pd.Series(cells, index=index)
    return pd.Series(values, index=index, dtype=dtype)


def outcome(column: Column, row: int) -> Any:
    """What a column says of one row."""
    if column.values.index[row] in column.failed:
        return ESCROW
    if column.left_alone is not None and column.left_alone[row]:
        return FLOWS[Flow.IGNORE_ATTRIBUTE]
    if column.skipped is not None and column.skipped[row]:
        return FLOWS[Flow.IGNORE_OBJECT]
    value = column.values.iloc[row]
    if isinstance(value, list | dict):
        return value
    if value is None or pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def agrees(expected: Any, actual: Any) -> bool:
    """Equal in value and kind, or a match of the expected pattern."""
    if isinstance(expected, dict) and "$regex" in expected:
        return isinstance(actual, str) and re.search(expected["$regex"], actual) is not None
    return type(expected) is type(actual) and expected == actual
