"""Values between frames and the wire, by form; and when two of them are the same. Pure.

Frames hold text (numbers, dates and bytes as text too), booleans, and lists and dicts; a connector gives and takes
Python values of the attribute's form: ``str``, ``int``, ``Decimal``, ``bool``, ``bytes``, lists and dicts of them.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from connectors.contract import Attribute, Form, Sameness, Value
from connectors.errors import InvalidValueError
from connectors.rows import boolean_series, plain, text_of, text_series

_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_AROUND_COMMAS = re.compile(r"\s*([,=+])\s*")


def to_wire(attribute: Attribute, value: Value) -> Any:
    """A value of a frame or a plan as the connector takes it. Raises: InvalidValueError."""
    if value is None:
        return None
    if attribute.several:
        values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        return [_one_to_wire(attribute, one) for one in values if one is not None]
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return _one_to_wire(attribute, value)


def _one_to_wire(attribute: Attribute, value: Value) -> Any:
    match attribute.form:
        case Form.STRUCTURE:
            return value
        case Form.BOOLEAN:
            found = value if isinstance(value, bool) else _TRUTH.get(str(value).strip().lower())
            if found is None:
                raise InvalidValueError(f"{attribute.path} accepts true or false.")
            return bool(found)
        case Form.INTEGER | Form.DECIMAL:
            try:
                number = Decimal(text_of(value).strip())
                return int(number) if attribute.form is Form.INTEGER else number
            except (InvalidOperation, ValueError, OverflowError):
                raise InvalidValueError(f"{attribute.path} accepts a number.") from None
        case Form.BYTES:
            if isinstance(value, bytes):
                return value
            try:
                return base64.b64decode(str(value), validate=True)
            except (binascii.Error, ValueError):
                raise InvalidValueError(f"{attribute.path} accepts bytes, written in base64.") from None
        case _:
            return text_of(value)


def from_wire(attribute: Attribute, value: Any) -> Value:
    """A connector's value as frames hold it: one value, or a list where the attribute has several."""
    if value is None:
        return None
    if attribute.several:
        values = value if isinstance(value, list | tuple | set | frozenset) else [value]
        return [_one_from_wire(attribute, one) for one in values if one is not None] or None
    if attribute.form is not Form.STRUCTURE and isinstance(value, list | tuple):
        value = value[0] if value else None
    return _one_from_wire(attribute, value)


def _one_from_wire(attribute: Attribute, value: Any) -> Value:
    if value is None:
        return None
    if attribute.form is Form.STRUCTURE:
        return plain(value)
    if attribute.form is Form.BOOLEAN:
        return value if isinstance(value, bool) else _TRUTH.get(str(value).strip().lower())
    return text_of(value)


def column(attribute: Attribute, values: list[Any]) -> "pd.Series[Any]":
    """A column of a frame from one attribute's values, as the connector gives them."""
    held = values if _is_plain_text(attribute, values) else [from_wire(attribute, value) for value in values]
    if attribute.several or attribute.form is Form.STRUCTURE:
        cells = np.empty(len(held), dtype=object)
        cells[:] = held
        return pd.Series(cells, dtype=object)
    if attribute.form is Form.BOOLEAN:
        return boolean_series(pa.array(held, pa.bool_()))
    return text_series(pa.array(held, pa.large_string()), keep_empty=True)


def _is_plain_text(attribute: Attribute, values: list[Any]) -> bool:
    if attribute.several or attribute.form in (Form.STRUCTURE, Form.BOOLEAN):
        return False
    return all(type(value) is str or value is None for value in values)


def same(attribute: Attribute, left: Value, right: Value) -> bool:
    """Whether the system takes two values for the same: null, empty text and no element are, as it compares texts."""
    return bool(comparable(attribute, left) == comparable(attribute, right))


def comparable(attribute: Attribute, value: Value) -> Any:
    """Something that is equal for values which the system does not tell apart."""
    if value is None or value == "" or value == [] or value == {}:
        return None
    if attribute.several:
        values = value if isinstance(value, list | tuple | set | frozenset) else [value]
        keys = [repr(_one_comparable(attribute, one)) for one in values]
        return tuple(sorted(keys))
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    return _one_comparable(attribute, value)


def _one_comparable(attribute: Attribute, value: Value) -> Any:
    if isinstance(value, Mapping):
        return tuple(sorted((str(key).lower(), repr(_one_comparable(Attribute(), one))) for key, one in value.items()))
    match attribute.form:
        case Form.BOOLEAN:
            return value if isinstance(value, bool) else _TRUTH.get(str(value).strip().lower(), value)
        case Form.INTEGER | Form.DECIMAL:
            try:
                return Decimal(text_of(value)).normalize()
            except InvalidOperation:
                return text_of(value)
        case Form.BYTES | Form.DATE | Form.REFERENCE if attribute.same is not Sameness.NAME:
            return text_of(value)
        case _:
            return text_key(attribute.same, text_of(value))


def text_key(sameness: Sameness, text: str) -> str:
    """A text such that two are equal when the system takes them for the same."""
    match sameness:
        case Sameness.EXACT:
            return text
        case Sameness.FOLDED:
            return text.casefold()
        case Sameness.SQUEEZED:
            return " ".join(text.casefold().split())
        case Sameness.NAME:
            return " ".join(_AROUND_COMMAS.sub(r"\1", text.strip().casefold()).split())
