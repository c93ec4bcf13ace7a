"""Looks keys up among keys, as columns of Arrow text. Pure.

pandas makes an object of every single value when it looks text up in text (``get_indexer``, ``map``, ``reindex``,
``isin``): seconds and hundreds of megabytes per million, where Arrow takes a fraction of both.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Rows = npt.NDArray[np.int64]


def texts(values: "pd.Series[str] | pd.Index") -> pa.Array:
    """A text column as one Arrow array; NaN becomes null."""
    array = pa.array(values.array, type=pa.large_string(), from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def find(values: pa.Array, among: pa.Array) -> Rows:
    """For each value the position of the first one equal to it in ``among``, -1 where absent; null finds nothing."""
    if not len(values) or not len(among):
        return np.full(len(values), -1, dtype=np.int64)
    positions = pc.index_in(values, value_set=among, skip_nulls=True)
    return np.asarray(pc.fill_null(positions, -1), dtype=np.int64)


def ascending(values: pa.Array) -> Rows:
    """Positions in the order of the values, character by character; equal ones stay in their order."""
    return np.asarray(pc.array_sort_indices(values), dtype=np.int64)


def pick(values: pa.Array, rows: Rows) -> pa.Array:
    """The value at each position, null where the position is -1."""
    return values.take(pa.array(rows, mask=rows < 0))
