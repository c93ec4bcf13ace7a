"""Columns inside an evaluation: what strict functions take and give, one value for each row or one for all.

Text, boolean and integer columns are Arrow arrays (null where there is nothing), everything else is a numpy array of
Python objects (None where there is nothing). A `Scalar` stands for the same value in every row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Value
from tasks.expressions.values import normalise

Mask: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]
"""One boolean for each row."""
Positions: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
"""Numbers of rows, from 0."""

TEXT_TYPE = pa.large_string()


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    OBJECT = "object"


_ARROW_TYPES = {Kind.TEXT: TEXT_TYPE, Kind.BOOLEAN: pa.bool_(), Kind.INTEGER: pa.int64()}
_KINDS: dict[type, Kind] = {str: Kind.TEXT, bool: Kind.BOOLEAN, int: Kind.INTEGER}


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """One value for each row."""

    kind: Kind
    data: Any
    """A pyarrow Array, or for OBJECT a numpy array of objects."""

    def __len__(self) -> int:
        return len(self.data)

    def is_null(self) -> Mask:
        """True where there is nothing."""
        if self.kind is Kind.OBJECT:
            return np.fromiter((value is None for value in self.data), dtype=bool, count=len(self.data))
        if self.data.null_count == 0:
            return np.zeros(len(self.data), dtype=bool)
        return flags(pc.is_null(self.data))

    def take(self, positions: Positions) -> "Vector":
        """The values at these rows, in this order."""
        if self.kind is Kind.OBJECT:
            return Vector(self.kind, self.data[positions])
        return Vector(self.kind, self.data.take(pa.array(positions)))

    def values(self) -> list[Value]:
        """The values as Python objects."""
        values: list[Value] = self.data.tolist() if self.kind is Kind.OBJECT else self.data.to_pylist()
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """The same value in every row."""

    value: Value


Operand: TypeAlias = Vector | Scalar


@dataclass(frozen=True, slots=True, eq=False)
class Partly:
    """What a column form gives when it is sure of some rows only."""

    vector: Vector
    """One value for each row; what stands in rows that are not done means nothing."""
    done: Mask


NULL = Scalar(None)


def text_vector(data: Any) -> Vector:
    """A text column of an Arrow array of texts."""
    return Vector(Kind.TEXT, data)


def boolean_vector(data: Any) -> Vector:
    """A boolean column of an Arrow array or a numpy array of booleans."""
    return Vector(Kind.BOOLEAN, data if isinstance(data, pa.Array) else pa.array(data))


def flags(values: Any) -> Mask:
    """An Arrow boolean array as a mask; null is false."""
    if values.null_count:
        values = pc.fill_null(values, False)
    mask: Mask = values.to_numpy(zero_copy_only=False)
    return mask


def from_values(values: Sequence[Value]) -> Vector:
    """A column of Python values, of the narrowest kind that holds them; all null is text."""
    types = set(map(type, values)) - {type(None)}
    kind = Kind.TEXT if not types else _KINDS.get(types.pop(), Kind.OBJECT) if len(types) == 1 else Kind.OBJECT
    if kind is Kind.OBJECT:
        return Vector(kind, object_array(values))
    try:
        return Vector(kind, pa.array(values, type=_ARROW_TYPES[kind]))
    except (UnicodeEncodeError, OverflowError):
        # Half of a surrogate pair, or a number beyond 64 bits, from a source that allows it.
        return Vector(Kind.OBJECT, object_array(values))


def object_array(values: Sequence[Value]) -> np.ndarray[Any, Any]:
    """A one-dimensional object array; numpy would make a matrix of lists of equal length."""
    array = np.empty(len(values), dtype=object)
    array[:] = list(values) if not any(isinstance(value, list) for value in values) else None
    if array.size and array[0] is None:
        for index, value in enumerate(values):
            array[index] = value
    return array


def from_series(series: pd.Series) -> Vector:
    """A frame's column."""
    dtype = series.dtype
    if isinstance(dtype, pd.StringDtype) or (isinstance(dtype, pd.ArrowDtype) and pd.api.types.is_string_dtype(dtype)):
        return text_vector(_whole(pa.array(series.array, from_pandas=True)).cast(TEXT_TYPE))
    if pd.api.types.is_bool_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):
        return Vector(Kind.BOOLEAN, _whole(pa.array(series.array, from_pandas=True)).cast(pa.bool_()))
    if pd.api.types.is_signed_integer_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):
        return Vector(Kind.INTEGER, _whole(pa.array(series.array, from_pandas=True)).cast(pa.int64()))
    return from_values([normalise(value) for value in series.tolist()])


def _whole(array: Any) -> pa.Array:
    if not isinstance(array, pa.ChunkedArray):
        return array
    return array.chunk(0) if array.num_chunks == 1 else pa.concat_arrays(array.cast(TEXT_TYPE).chunks or [_empty()])


def _empty() -> pa.Array:
    return pa.array([], type=TEXT_TYPE)


def null_mask(operand: Operand, size: int) -> Mask:
    """True where the operand has nothing."""
    if isinstance(operand, Scalar):
        return np.full(size, operand.value is None)
    return operand.is_null()


def empty_mask(operand: Operand, size: int) -> Mask:
    """True where the operand has nothing or the empty text."""
    if isinstance(operand, Scalar):
        return np.full(size, operand.value is None or operand.value == "")
    if operand.kind is Kind.TEXT:
        return flags(pc.fill_null(pc.equal(operand.data, ""), True))
    if operand.kind is Kind.OBJECT:
        return np.fromiter((value is None or value == "" for value in operand.data), dtype=bool, count=len(operand))
    return operand.is_null()


def as_text(operand: Operand) -> Vector | Scalar | None:
    """The operand as text, null staying null; None where single values must be looked at."""
    if isinstance(operand, Scalar):
        return operand if operand.value is None or isinstance(operand.value, str) else None
    match operand.kind:
        case Kind.TEXT:
            return operand
        case Kind.BOOLEAN:
            return text_vector(pc.if_else(operand.data, pa.scalar("True", TEXT_TYPE), pa.scalar("False", TEXT_TYPE)))
        case Kind.INTEGER:
            return text_vector(operand.data.cast(TEXT_TYPE))
        case _:
            return None


def broadcast(operand: Operand, size: int) -> Vector:
    """The operand as a column."""
    if isinstance(operand, Vector):
        return operand
    value = operand.value
    kind = Kind.TEXT if value is None else _KINDS.get(type(value), Kind.OBJECT)
    if kind is not Kind.OBJECT:
        try:
            return Vector(kind, pa.repeat(pa.scalar(value, _ARROW_TYPES[kind]), size))
        except (UnicodeEncodeError, OverflowError):
            kind = Kind.OBJECT
    array = np.empty(size, dtype=object)
    for index in range(size):
        array[index] = value
    return Vector(kind, array)


def with_nulls(operand: Operand, where: Mask) -> Vector:
    """The operand with nothing in the marked rows."""
    vector = broadcast(operand, len(where))
    if vector.kind is Kind.OBJECT:
        data = vector.data.copy()
        data[where] = None
        return Vector(vector.kind, data)
    return Vector(vector.kind, pc.if_else(pa.array(where), pa.scalar(None, vector.data.type), vector.data))


def choose(condition: Mask, yes: Operand, no: Operand) -> Operand:
    """``yes`` where the condition holds, else ``no``; both have a value for every row."""
    whole = [operand for operand in (yes, no) if not (isinstance(operand, Scalar) and operand.value is None)]
    kinds = {_kind(operand) for operand in whole}
    if not whole:
        return NULL
    if len(kinds) == 1 and (kind := kinds.pop()) is not Kind.OBJECT:
        arms = [_arm(operand, kind) for operand in (yes, no)]
        return Vector(kind, pc.if_else(pa.array(condition), *arms))
    return merge(len(condition), [(np.flatnonzero(condition), yes), (np.flatnonzero(~condition), no)], full=True)


def _kind(operand: Operand) -> Kind:
    return operand.kind if isinstance(operand, Vector) else _KINDS.get(type(operand.value), Kind.OBJECT)


def _arm(operand: Operand, kind: Kind) -> Any:
    if isinstance(operand, Vector):
        return operand.data
    return pa.scalar(operand.value, _ARROW_TYPES[kind])


def merge(size: int, parts: Sequence[tuple[Positions, Operand]], *, full: bool = False) -> Operand:
    """One column put together: each part's values go to its rows; rows of no part have nothing.

    A part's vector has one value for each of its own rows or, when ``full``, for each of all rows.
    """
    parts = [(rows, operand) for rows, operand in parts if len(rows) and not _is_nothing(operand)]
    if not parts:
        return NULL
    if len(parts) == 1 and len(parts[0][0]) == size:
        return parts[0][1]
    kinds = {_kind(operand) for _, operand in parts}
    kind = kinds.pop() if len(kinds) == 1 else Kind.OBJECT
    if kind is Kind.OBJECT:
        return _merge_objects(size, parts, full=full)
    index = np.full(size, -1, dtype=np.int64)
    pieces: list[pa.Array] = []
    offset = 0
    for rows, operand in parts:
        piece = operand.data if isinstance(operand, Vector) else pa.array([operand.value], type=_ARROW_TYPES[kind])
        if isinstance(operand, Scalar):
            index[rows] = offset
        else:
            index[rows] = offset + (rows if full else np.arange(len(rows)))
        offset += len(piece)
        pieces.append(piece)
    chosen = pa.array(index, mask=index < 0)
    return Vector(kind, pa.concat_arrays(pieces).take(chosen))


def _is_nothing(operand: Operand) -> bool:
    """True for a part that has no value in any row, whatever its kind."""
    if isinstance(operand, Scalar):
        return operand.value is None
    return operand.kind is not Kind.OBJECT and operand.data.null_count == len(operand.data)


def _merge_objects(size: int, parts: Sequence[tuple[Positions, Operand]], *, full: bool) -> Vector:
    merged = np.empty(size, dtype=object)
    for rows, operand in parts:
        if isinstance(operand, Scalar):
            for row in rows:
                merged[row] = operand.value
            continue
        values = operand.data if operand.kind is Kind.OBJECT else object_array(operand.values())
        merged[rows] = values[rows] if full else values
    return Vector(Kind.OBJECT, merged)


_TEXT_DTYPE = pd.StringDtype("pyarrow", na_value=np.nan)


def to_series(vector: Vector, index: pd.Index) -> pd.Series:
    """The column as a frame holds it: ``str``, ``boolean``, ``Int64`` or ``object``."""
    match vector.kind:
        case Kind.TEXT:
            texts = pd.arrays.ArrowStringArray(vector.data, dtype=_TEXT_DTYPE)  # type: ignore[call-arg]
            return pd.Series(texts, index=index)
        case Kind.BOOLEAN:
            return pd.Series(pd.array(vector.data.to_numpy(zero_copy_only=False), dtype="boolean"), index=index)
        case Kind.INTEGER:
            mask = vector.is_null()
            numbers = pc.fill_null(vector.data, 0).to_numpy()
            return pd.Series(pd.arrays.IntegerArray(np.array(numbers, dtype=np.int64), mask), index=index)
        case _:
            return pd.Series(vector.data, index=index, dtype=object)
