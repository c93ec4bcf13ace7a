"""What values are and how one kind is read as another.

A value is a str, bool, int, float, a list, a dict of sub-attributes, or None for null. Dates live as text in the form
``M/d/yyyy h:mm:ss tt`` (UTC), as the functions that give them are published to do. A list of one value stands for that
value wherever one is needed.
"""

import datetime as dt
import math
import operator
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from connectors.contract import Value
from tasks.expressions.errors import EvaluationError

_NUMBER = re.compile(r"\s*[+-]?[0-9]+(?P<fraction>\.[0-9]+)?\s*", re.ASCII)

LARGEST_INTEGER = 2**63 - 1


class Flow(StrEnum):
    """What an expression may give instead of a value."""

    IGNORE_ATTRIBUTE = "IgnoreAttributeFlow"
    """Leave this attribute of the target alone."""
    IGNORE_OBJECT = "IgnoreObjectFlow"
    """Skip the whole entry in this cycle."""


class FlowSignal(Exception):  # noqa: N818  (a signal that unwinds one evaluation, never an error)
    """Carries a flow-control marker from wherever it is met to the top of the expression."""

    def __init__(self, flow: Flow) -> None:
        super().__init__(flow)
        self.flow = flow


def normalise(value: Any) -> Value:
    """A value as a system delivered it, in the language's own kinds; everything that means "nothing there" is None."""
    if value is None or type(value) in (str, bool, int):
        return value
    match value:
        case float() | np.floating():
            return None if math.isnan(value) else float(value)
        case np.bool_() | bool():
            return bool(value)
        case np.integer() | int():
            return int(value)
        case str():
            return str(value)
        case list() | tuple() | np.ndarray() | set() | frozenset():
            elements = (normalise(element) for element in value)
            return [element for element in elements if element is not None] or None
        case Mapping():
            return dict(value) or None
        case _ if value is pd.NA or value is pd.NaT:
            return None
        case dt.datetime() | dt.date():
            return value.isoformat()
        case _:
            return str(value)


def is_empty(value: Value) -> bool:
    """True for null and for the empty text."""
    return value is None or value == ""


def single(value: Value) -> Value:
    """The value itself, or the only one of a list.

    Raises: EvaluationError when there are several, or sub-attributes.
    """
    if isinstance(value, list):
        if len(value) > 1:
            raise EvaluationError(f"one value is needed, and here are {len(value)}")
        return single(value[0]) if value else None
    if isinstance(value, dict):
        raise EvaluationError("a simple value is needed, and here is one with sub-attributes")
    return value


def text_of(value: Value) -> str:
    """The value as text; null is the empty text. Booleans are True and False. Raises: EvaluationError."""
    value = single(value)
    match value:
        case str():
            return value
        case None:
            return ""
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case _:
            return str(value)


def number_in(text: str) -> int | float | None:
    """The number a text consists of, None when it is no number."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    return float(text) if match.group("fraction") else int(text)


def integer_of(value: Value) -> int:
    """The value as a whole number; texts may hold one (``"10"``). Raises: EvaluationError."""
    value = single(value)
    number = number_in(value) if isinstance(value, str) else value
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise EvaluationError("a whole number is needed")
    if abs(number) > LARGEST_INTEGER:
        raise EvaluationError("a number is larger than 64 bits can hold")
    return number


def is_true(value: Value) -> bool:
    """True for the boolean and for the text True in any case; for nothing else."""
    value = single(value)
    return value is True or (isinstance(value, str) and value.strip().lower() == "true")


def truth(value: Value) -> bool:
    """What a condition makes of a value: as `is_true`, and numbers other than zero are true."""
    value = single(value)
    if isinstance(value, str):
        return is_true(value) or bool(number_in(value) or 0)
    return bool(value)


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def compare(sign: str, left: Value, right: Value) -> bool:
    """``left sign right``.

    A comparison with null is false, whatever the sign. Two texts are equal when they are the same, character by
    character; they are ordered as numbers when both are numbers. A number against a text compares as numbers
    (``"1"=1``), a boolean against a text without regard to case. Raises: EvaluationError.
    """
    left, right = single(left), single(right)
    if left is None or right is None:
        return False
    if isinstance(left, str) and isinstance(right, str):
        if sign not in ("=", "<>"):
            numbers = number_in(left), number_in(right)
            if None not in numbers:
                return _COMPARISONS[sign](*numbers)
        return _COMPARISONS[sign](left, right)
    left, right = _like(left, right), _like(right, left)
    if isinstance(left, str) or isinstance(right, str):
        return sign == "<>"
    return _COMPARISONS[sign](left, right)


def _like(value: Value, other: Value) -> Value:
    """A text read as what it is compared with, where it can be."""
    if not isinstance(value, str):
        return value
    if isinstance(other, bool):
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    number = number_in(value)
    return value if number is None else number
