"""Frames of several sources one below the other, whatever types their columns have. Pure."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import pandas as pd

from connectors.contract import no_entries
from tasks.membership import Mask

Dtype: TypeAlias = Any
"""A type of pandas' columns."""

_ANY, _TEXT = pd.Series(dtype=object).dtype, pd.Series(dtype="str").dtype


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows, with the columns of all; null where a frame lacks one. The index is kept, and sorted nowhere."""
    names = list(dict.fromkeys(name for frame in frames for name in frame.columns))
    if not frames:
        return no_entries()
    columns = {name: _column([frame[name] for frame in frames if name in frame]) for name in names}
    index = frames[0].index.append([frame.index for frame in frames[1:]]).rename("key")
    parts = [
        pd.DataFrame(
            {
                name: _as(frame[name], dtype) if name in frame else _nulls(frame.index, dtype)
                for name, dtype in columns.items()
            },
            index=frame.index,
            columns=names,
        )
        for frame in frames
    ]
    return pd.concat(parts).set_axis(index) if len(parts) > 1 else parts[0].set_axis(index)


def _column(series: Sequence[pd.Series]) -> Dtype:
    """The type in which values of all of them can stand; columns without a value have no say."""
    dtypes = list(dict.fromkeys(one.dtype for one in series if one.notna().any()))
    if not dtypes:
        return series[0].dtype
    if len(dtypes) == 1:
        return dtypes[0]
    return _ANY if _ANY in dtypes else _TEXT


def _nulls(index: pd.Index, dtype: Dtype) -> pd.Series:
    if dtype == _ANY:
        return pd.Series([None] * len(index), index=index, dtype=object)
    return pd.Series(pd.NA, index=index, dtype=object).astype(dtype)


def _as(column: pd.Series, dtype: Dtype) -> pd.Series:
    """A column in another type: truth values as texts are true and false, as they are in files."""
    if column.dtype == dtype:
        return column
    if column.isna().all():
        return _nulls(column.index, dtype)
    if dtype == _ANY:
        return pd.Series(
            [None if pd.isna(value) else value for value in column.array], index=column.index, dtype=object
        )
    if column.dtype == "boolean":
        texts = column.map({True: "true", False: "false"}, na_action="ignore")
        return texts.astype("str")
    return column.astype("str")


def filled(column: pd.Series, mask: Mask, values: pd.Series) -> pd.Series:
    """The column with other values in some rows, in a type in which both can stand. Rows as the column."""
    if not mask.any():
        return column
    chosen = values.where(mask)
    dtype = _column([column, chosen])
    return _as(column, dtype).mask(mask, _as(chosen, dtype))
