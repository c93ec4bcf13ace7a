"""Which of several sources an entry is of. Pure.

The key says it: prefixes are such that no key of one source can be one of another. Nothing has to be remembered, so
that somebody who is gone from everywhere is still known to be of this source or that.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import SourcePart
from tasks.keys import Rows, texts
from tasks.membership import Mask, is_among


def part_numbers(keys: "pd.Index | pd.Series[str]", parts: Sequence[SourcePart]) -> Rows:
    """For each key the position of its part; -1 where no part has such keys."""
    array = texts(keys)
    numbers = np.full(len(array), -1, dtype=np.int64)
    for number, part in sorted(enumerate(parts), key=lambda pair: len(pair[1].prefix)):
        begins = pc.fill_null(pc.starts_with(array, pattern=part.prefix), False)
        numbers[np.asarray(begins, dtype=bool)] = number
    return numbers


def incomplete_parts(keys: "pd.Index | pd.Series[str]", parts: Sequence[SourcePart]) -> Mask:
    """Which keys belong to a part that proves nobody's absence; a key of no part belongs to each of them."""
    if not any(part.incomplete for part in parts):
        return np.zeros(len(keys), dtype=bool)
    torn = np.array([*(bool(part.incomplete) for part in parts), True], dtype=bool)
    return torn[part_numbers(keys, parts)]


def unseen(known: pd.Index, present: pd.Index, parts: Sequence[SourcePart]) -> pd.Index:
    """Of keys that are known, those that a part does not show and may have all the same."""
    missing = known[~is_among(known, texts(present))]
    return missing[incomplete_parts(missing, parts)] if parts else missing[:0]


def prefixed(prefix: str, keys: "pd.Index | pd.Series[str]") -> pa.Array:
    """Keys of a source as the population has them."""
    array = texts(keys)
    return pc.binary_join_element_wise(pa.scalar(prefix, array.type), array, pa.scalar("", array.type))
