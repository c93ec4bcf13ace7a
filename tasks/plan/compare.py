"""Compares desired attributes with those the target holds, column by column. Pure.

What counts as a difference: another value; for text another case only where the path is exact, or where the entry's
desired state changed since it was last written. So a correction of case in the source reaches the target once, and a
target that stores its own spelling is not written to for ever.
"""

import hashlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Value

Mask = npt.NDArray[np.bool_]

_SEPARATOR = "\x1f"
_NULL = "\x00"
"""Stands for null where digests are made."""


def fingerprints(frame: pd.DataFrame, rules: Mapping[str, str] | None = None) -> npt.NDArray[np.int64]:
    """A signed 64-bit digest per row of the desired attributes: equal rows have equal digests in every run.

    Columns take part in the order of their names, so the order of mappings does not matter. ``rules``: by column, what
    its rule says; another rule gives other digests.
    """
    if not len(frame) or not len(frame.columns):
        return np.zeros(len(frame), dtype=np.int64)
    names = sorted(map(str, frame.columns))
    texts = [distinct_texts(frame[name]) for name in names]
    rows = pc.binary_join_element_wise(*texts, pa.scalar(_SEPARATOR, pa.large_string()))
    named = names if rules is None else [*names, *(rules.get(name, "") for name in names)]
    key = hashlib.blake2b(_SEPARATOR.join(named).encode(), digest_size=8).hexdigest()
    series = pd.Series(rows.to_numpy(zero_copy_only=False), dtype=object)
    return pd.util.hash_array(series.to_numpy(), hash_key=key, categorize=False).view(np.int64)


def differs(desired: pd.Series, existing: pd.Series) -> Mask:
    """Rows whose values are not the same, by position; null equals null, the order of lists does not matter."""
    if desired.dtype == object or existing.dtype == object:
        pairs = zip(desired.array, existing.array, strict=True)
        return np.fromiter((canonical(a) != canonical(b) for a, b in pairs), dtype=bool, count=len(desired))
    left, right = texts_of(desired), texts_of(existing)
    return ~np.asarray(pc.or_(_equal(left, right), pc.and_(left.is_null(), right.is_null())))


def differs_without_case(desired: pd.Series, existing: pd.Series) -> Mask:
    """As :func:`differs`, but text is the same when it differs only in case."""
    if desired.dtype == object or existing.dtype == object:
        pairs = zip(desired.array, existing.array, strict=True)
        return np.fromiter(
            (canonical(a, fold=True) != canonical(b, fold=True) for a, b in pairs), dtype=bool, count=len(desired)
        )
    left, right = pc.utf8_lower(texts_of(desired)), pc.utf8_lower(texts_of(existing))
    return ~np.asarray(pc.or_(_equal(left, right), pc.and_(left.is_null(), right.is_null())))


def differs_in_words(desired: pd.Series, existing: pd.Series) -> Mask:
    """As :func:`differs_without_case`, and the number of blanks in a text does not count either."""
    if desired.dtype == object or existing.dtype == object:
        return differs_without_case(desired, existing)
    return differs_without_case(squeezed(desired), squeezed(existing))


def squeezed(series: pd.Series) -> pd.Series:
    """Text with single blanks; lists as they are."""
    if series.dtype == object:
        return series
    words = pc.replace_substring_regex(texts_of(series), r"\s+", " ")
    return pd.Series(pc.utf8_trim_whitespace(words).to_numpy(zero_copy_only=False), index=series.index, dtype="str")


def canonical(value: Value, *, fold: bool = False) -> Value:
    """A value in a form that compares: null for nothing, lists without order, text folded if asked."""
    if isinstance(value, list | tuple):
        items = sorted((canonical(item, fold=fold) for item in value), key=repr)
        return items or None
    if isinstance(value, dict):
        filled = {key: canonical(item, fold=fold) for key, item in sorted(value.items()) if item is not None}
        return filled or None
    if isinstance(value, str):
        return value.lower() if fold else value
    if isinstance(value, bool | np.bool_):
        return bool(value)
    return None if value is None or value is pd.NA or value != value else value


def _equal(left: pa.Array, right: pa.Array) -> pa.Array:
    return pc.fill_null(pc.equal(left, right), False)


def texts_of(series: pd.Series) -> pa.Array:
    """The column as Arrow text, null where the value is; booleans as True and False."""
    if isinstance(series.dtype, pd.StringDtype):
        array = pa.array(series.array, type=pa.large_string(), from_pandas=True)
    elif series.dtype == object:
        texts = [None if canonical(value) is None else repr(canonical(value)) for value in series.array]
        array = pa.array(texts, type=pa.large_string())
    else:
        array = pa.array(series.astype("str").array, type=pa.large_string(), from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def distinct_texts(series: pd.Series) -> pa.Array:
    """The column as text without nulls, of which digests are made: no value looks like null, or like two values."""
    array = texts_of(series)
    data = array.buffers()[2]
    letters = np.frombuffer(data if data is not None else b"", dtype=np.uint8)
    if ((letters == ord(_NULL)) | (letters == ord(_SEPARATOR))).any():
        array = pc.replace_substring(array, _NULL, _NULL + "\x01")
        array = pc.replace_substring(array, _SEPARATOR, _NULL + "\x02")
    return pc.fill_null(array, _NULL)
