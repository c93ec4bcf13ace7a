"""Whether values fit into the target's attributes: how long they may be, what they may hold. Pure.

What does not fit is told before anything is sent, with the value and the limit; the target would refuse it every time.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Attribute, Counted

_BEYOND_UTF16 = r"[\x{10000}-\x{10FFFF}]"
"""Characters that are two units of UTF-16."""
_SHOWN = 40
"""Characters of a value that a sentence shows."""


def without_empty(series: pd.Series, info: Attribute) -> pd.Series:
    """The column with null instead of empty text, where the target has no empty text."""
    if info.holds_empty:
        return series
    if isinstance(series.dtype, pd.StringDtype):
        return series.mask(series == "")
    if series.dtype != object:
        return series
    cells = np.empty(len(series), dtype=object)
    for position, value in enumerate(series.array):
        kept = [one for one in value if one != ""] if isinstance(value, list) else None
        cells[position] = (kept or None) if kept is not None else None if value == "" else value
    return pd.Series(cells, index=series.index, dtype=object)


def unfit(series: pd.Series, info: Attribute, path: str, *, redacted: bool) -> dict[str, str]:
    """Anchor to why the target would not take the value, for those that it would not take."""
    if info.longest is None and not info.fits:
        return {}
    if not isinstance(series.dtype, pd.StringDtype):
        return dict(_of_cells(series, info, path, redacted=redacted))
    texts = pa.array(series.array, type=pa.large_string(), from_pandas=True)
    texts = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    wrong = np.zeros(len(series), dtype=bool)
    if info.longest is not None:
        lengths = pc.utf8_length(texts)
        if info.counted is Counted.UTF16:
            lengths = pc.add(lengths, pc.count_substring_regex(texts, _BEYOND_UTF16))
        wrong |= np.asarray(pc.greater(pc.fill_null(lengths, 0), info.longest), dtype=bool)
    if info.fits:
        fine = pc.match_substring_regex(texts, rf"\A(?s:{info.fits})\z")
        wrong |= ~np.asarray(pc.fill_null(fine, True), dtype=bool)
    return {
        str(series.index[at]): _told(str(series.iloc[at]), info, path, redacted=redacted)
        for at in np.flatnonzero(wrong).tolist()
    }


def _of_cells(series: pd.Series, info: Attribute, path: str, *, redacted: bool) -> Iterator[tuple[str, str]]:
    """The same of lists."""
    for anchor, value in zip(series.index, series.array, strict=True):
        listed = pd.Series(
            [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)], dtype="str"
        )
        for why in unfit(listed, info, path, redacted=redacted).values():
            yield str(anchor), why
            break


def _told(value: str, info: Attribute, path: str, *, redacted: bool) -> str:
    length = len(value) + (sum(ord(letter) > 0xFFFF for letter in value) if info.counted is Counted.UTF16 else 0)
    cut = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…"
    shown = "The value" if redacted else f"The value {cut!r}"
    if info.longest is not None and length > info.longest:
        unit = " (as UTF-16, where an emoji counts twice)" if length > len(value) else ""
        return (
            f"{path}: {shown} has {length:,} characters{unit}, and the target takes {info.longest:,} at most. "
            "Shorten it in the source, or with Left in the mapping."
        )
    return f"{path}: {shown} cannot be written: the target {info.fits_told}. Correct it in the source or the mapping."
