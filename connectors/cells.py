"""Cells as they were meant: without what nobody sees, and told apart from what no cell can mean.

Files come out of spreadsheets, directories and programs with fixed lengths: blanks and zero bytes that pad, a no-break
space that was pasted along, letters taken apart as a Mac takes them apart. :func:`tidy` takes that away, so that two
texts that look the same are the same. :func:`unusable` finds cells that hold no value at all: a spreadsheet's error, a
zero byte in the middle, text that was read in the wrong encoding. Both look at bytes of whole columns first.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
"""The dtype of text columns; the same as ``str``."""

UNREADABLE_CELL = "\0"
"""What stands for a cell that holds no value; no filter can be judged by it."""

LONGEST_KEY = 1_000
"""Characters of a key; a longer one is the work of a missing quote."""

_EDGE = (
    " \t\r\n\v\f\0\x1a\u00a0\u00ad\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b"
    "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
"""What is dropped at both ends of a cell: blanks of all kinds, padding. Marks of direction say something and stay."""
_HIDDEN = r"[\x{200B}\x{2060}\x{FEFF}]"
"""What is dropped anywhere: it shows nothing and joins nothing."""
_HIDDEN_BYTES = re.compile(rb"\xe2\x80\x8b|\xe2\x81\xa0|\xef\xbb\xbf")
_APART = r"[\x{0300}-\x{036F}\x{1100}-\x{11FF}\x{3099}\x{309A}]"
"""Marks and letters that are composed with the one before; anything else stays as it is written."""
_APART_BYTES = re.compile(rb"\xcc[\x80-\xbf]|\xcd[\x80-\xaf]|\xe1[\x84-\x87]|\xe3\x82[\x99\x9a]")

ERRORS = frozenset(
    "#N/A #REF! #NAME? #VALUE! #DIV/0! #NUM! #NULL! #SPILL! #CALC! #NV #BEZUG! #WERT! #ZAHL! #NOMBRE? #VALEUR!".split()
)
"""What spreadsheets write instead of a value that a formula has not found."""
_MISREAD = r"[\x{00C2}-\x{00F4}][\x{0080}-\x{00BF}\x{0152}-\x{0192}\x{02C6}\x{02DC}\x{2013}-\x{2122}]"
_MISREAD_BYTES = re.compile(
    rb"\xc3[\x82-\xb4](?:\xc2[\x80-\xbf]|\xc5[\x92\x93\xa0\xa1\xb8\xbd\xbe]|\xc6\x92|\xcb[\x86\x9c]|\xe2[\x80-\x84])"
)
_LOST = "\ufffd"
_EXPONENT = r"^[0-9](?:[.,][0-9]+)?E\+[0-9]{2,}$"
"""What spreadsheets make of a long number, in this and in no other form."""


def arrow(column: "pd.Series[Any]") -> pa.Array:
    """A text column as one Arrow array."""
    array = pa.array(column.array, type=pa.large_string(), from_pandas=True)
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return array if array.offset == 0 else pa.concat_arrays([array.slice(0, 0), array])


def _buffers(array: pa.Array) -> tuple[npt.NDArray[np.int64], Bytes]:
    """Where each text begins and ends, and all bytes."""
    _, offsets, data = array.buffers()
    places = np.frombuffer(offsets, dtype=np.int64, count=array.offset + len(array) + 1)[array.offset :]
    everything = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)
    return places, everything


def _all_bytes(array: pa.Array) -> Any:
    if not len(array):
        return np.zeros(0, dtype=np.uint8)
    places, data = _buffers(array)
    part: Bytes = data[places[0] : places[-1]]
    return part


def tidy(column: "pd.Series[Any]", *, keep_empty: bool) -> "pd.Series[Any]":
    """A text column without padding and hidden characters, letters composed; other columns as they are.

    What is empty then becomes null unless it is to be kept.
    """
    if not isinstance(column.dtype, pd.StringDtype) or not len(column):
        return column
    array = before = arrow(column)
    plain = not (_all_bytes(array) >= 0x80).any()
    if not plain:
        data = memoryview(_all_bytes(array))
        if _HIDDEN_BYTES.search(data):
            array = pc.replace_substring_regex(array, _HIDDEN, "")
        if _APART_BYTES.search(data):
            rows = np.flatnonzero(np.asarray(pc.fill_null(pc.match_substring_regex(array, _APART), False)))
            array = _replaced(array, rows, pc.utf8_normalize(array.take(pa.array(rows)), form="NFC"))
    edges = np.flatnonzero(_has_edges(array))
    if len(edges):
        array = _replaced(array, edges, pc.utf8_trim(array.take(pa.array(edges)), characters=_EDGE))
    if array is before:
        return column
    if not keep_empty:
        array = pc.if_else(pc.equal(array, ""), pa.scalar(None, array.type), array)
    return pd.Series(array, index=column.index, dtype=TEXT)


def _has_edges(array: pa.Array) -> Mask:
    """Which texts may begin or end with something to drop."""
    places, data = _buffers(array)
    full = np.diff(places) > 0
    found = np.zeros(len(array), dtype=bool)
    first, last = data[places[:-1][full]], data[places[1:][full] - 1]
    found[full] = (first <= 0x20) | (last <= 0x20) | np.isin(first, (0xC2, 0xE1, 0xE2, 0xE3, 0xEF)) | (last >= 0x80)
    return found


def _replaced(array: pa.Array, rows: npt.NDArray[np.int64], values: pa.Array) -> pa.Array:
    mask = np.zeros(len(array), dtype=bool)
    mask[rows] = True
    return pc.replace_with_mask(array, pa.array(mask), values)


def unusable(column: "pd.Series[Any]") -> Iterator[tuple[Mask, str]]:
    """Rows whose cell holds no value, with the end of a sentence that begins with the column's name."""
    if column.dtype == object:
        zero = np.fromiter(("\0" in repr(cell) or "\\x00" in repr(cell) for cell in column.array), dtype=bool)
        if zero.any():
            yield zero, "holds a zero byte"
        return
    if not isinstance(column.dtype, pd.StringDtype) or not len(column):
        return
    array = arrow(column)
    data = _all_bytes(array)
    if (data == 0).any():
        yield _mask(pc.match_substring(array, "\0")), "holds a zero byte"
    if not (data >= 0x80).any():
        return
    view = memoryview(data)
    if re.search(_LOST.encode(), view):
        lost = _mask(pc.match_substring(array, _LOST))
        yield (
            lost,
            "contains a replacement character: it was written in another encoding than it was read in",
        )
    if _MISREAD_BYTES.search(view):
        rows = np.flatnonzero(_mask(pc.match_substring_regex(array, _MISREAD)))
        misread = np.zeros(len(array), dtype=bool)
        misread[rows] = [is_misread(text) for text in array.take(pa.array(rows)).to_pylist()]
        if misread.any():
            yield (
                misread,
                (
                    "contains text that was read in the wrong encoding (as jÃ¶rg for jörg): "
                    "correct the export, or the encoding setting"
                ),
            )


def is_misread(text: str) -> bool:
    """Whether a text is UTF-8 that somebody read as a Western encoding: every sign of it must fit."""
    plain = text.replace("\u00c3\u00a0", "")  # an à that was read wrong, and a capital Ã before a no-break space
    try:
        raw = b"".join(_as_byte(letter) for letter in plain)
        return raw.decode("utf-8") != plain
    except (UnicodeEncodeError, UnicodeDecodeError):
        return False


def _as_byte(letter: str) -> bytes:
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1")


def is_error(text: str) -> bool:
    """Whether a cell holds a spreadsheet's error: ``#N/A``, ``#REF!``, ``####``."""
    return text in ERRORS or (len(text) > 2 and not text.strip("#"))


_ROUNDED = r"^[1-9][0-9]{5,}0{6,}$|^[1-9][0-9]{14}0+$"
"""Six digits and six zeros at least, or fifteen digits and nothing but zeros."""


def spoilt_keys(keys: pa.Array) -> Iterator[tuple[Mask, str]]:
    """Rows whose key is nobody's, with the end of a sentence that begins with the key's name."""
    data = _all_bytes(keys)
    if (data == ord("+")).any():
        found = _mask(pc.match_substring_regex(keys, _EXPONENT))
        if found.any():
            yield (
                found,
                (
                    "is a long number that a spreadsheet has shortened (like 1.23457E+11 for 123456789012), so nobody "
                    "knows whose row it is: export the file again, with this column as text"
                ),
            )
    if (data == ord("#")).any():
        errors = pc.is_in(keys, value_set=pa.array(sorted(ERRORS), type=keys.type))
        found = _mask(errors) | _mask(pc.match_substring_regex(keys, "^#{3,}$"))
        if found.any():
            yield found, "is a spreadsheet's error instead of a value, so nobody knows whose row it is"
    if len(keys) and len(data) > LONGEST_KEY:
        long = _mask(pc.greater(pc.utf8_length(keys), LONGEST_KEY))
        if long.any():
            yield (
                long,
                f"has more than {LONGEST_KEY:,} characters, so nobody knows whose row it is: is a quote missing",
            )


def rounded_keys(keys: pa.Array, shared: Mask) -> Mask:
    """Rows whose key several rows share, because a spreadsheet has rounded longer ones: 123457000000 for two people.

    A spreadsheet shows six digits of a number of twelve or more, and never keeps more than fifteen.
    """
    rows = np.flatnonzero(shared)
    found = np.zeros(len(keys), dtype=bool)
    if len(rows):
        found[rows] = _mask(pc.match_substring_regex(keys.take(pa.array(rows)), _ROUNDED))
    return found


def _mask(flags: pa.Array) -> Mask:
    return np.asarray(pc.fill_null(flags, False), dtype=bool)
