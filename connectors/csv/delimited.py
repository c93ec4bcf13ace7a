"""CSV and TSV: fast where a file is as it should be, exact about every line where it is not.

Arrow's reader takes a well-formed file in about a second per million rows, but cannot say on which line something is
wrong, and puts up with quotes that are out of place. So it reads only files whose quotes are proved to be well placed;
where rows have the wrong length, Python's reader finds their lines, and where Arrow cannot be used it reads the file.
Both give the same cells for every well-formed row.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv

from connectors.contract import Attribute
from connectors.csv.files import File
from connectors.errors import SettingsError
from connectors.file_section import Format
from connectors.rows import BadRow, Rows, frame_of, require_columns, text_series, wanted_columns

Lines = npt.NDArray[np.int64]

_BLOCK = 2 << 20
"""Bytes that Arrow parses at once; a longer row is left to the exact reader."""
_HEAD = 1 << 20
_CHUNK = 5_000
"""Rows taken apart at once; more of them leave the processor's cache."""
_LONGEST_CELL = 16 << 20
"""Characters; a photograph in base64 fits."""
_QUOTE = ord('"')
_WINDOW = 16 << 20
_NEVER_CLOSES = "A quote opens here and never closes."


def attributes(file: File) -> dict[str, Attribute]:
    """Columns of the header. Raises: FatalError."""
    return {name: Attribute() for name in _header(file.text(limit=_HEAD).data, file)}


def read(
    file: File, required: Sequence[str], wanted: Sequence[str], *, keep_empty: bool, progress: Callable[[int], None]
) -> Rows:
    """The rows with these columns. Raises: FatalError."""
    text = file.text()
    names = _header(text.data, file)
    require_columns(required, names, where=file.label)
    columns = wanted_columns(required, wanted, names)
    rows = _read_fast(file, text.data, len(names), columns, keep_empty=keep_empty)
    if rows is None:
        rows = _read_exact(file, text.data, names, columns, keep_empty=keep_empty, progress=progress)
    if text.cut:
        last = text.data.count(b"\n")
        rows.incomplete.append(f"{file.label} is cut off: {text.cut}. What comes after line {last:,} is missing.")
    progress(len(rows.frame))
    return rows


def _delimiter(file: File) -> str:
    return file.section.delimiter or ("\t" if file.format is Format.TSV else ",")


def _header(data: bytearray, file: File) -> list[str]:
    """Names of the columns, exactly as they stand there; unnamed ones are empty text.

    Raises: SettingsError when there is no header, or a name is there twice.
    """
    for row in _exact_rows(data, _delimiter(file)):
        if isinstance(row.cells, str):
            raise SettingsError(f"The header of {file.label} cannot be read: {row.cells}")
        seen: set[str] = set()
        for name in filter(None, row.cells):
            if name in seen:
                raise SettingsError(f"The header of {file.label} has two columns named {name!r}. Rename one of them.")
            seen.add(name)
        return row.cells
    raise SettingsError(f"The file {file.label} has no header: its first line must name the columns.")


# The fast way


def _read_fast(file: File, data: bytearray, width: int, columns: list[str], *, keep_empty: bool) -> Rows | None:
    """The rows by way of Arrow, or None where it cannot be trusted with this file."""
    delimiter, quotes = _delimiter(file), _QUOTE in data
    if quotes and not _quotes_well_placed(data, ord(delimiter)):
        return None
    ragged: list[None] = []

    def leave_out(_: Any) -> str:
        ragged.append(None)
        return "skip"

    try:
        table = pa_csv.read_csv(
            pa.BufferReader(pa.py_buffer(data)),
            read_options=pa_csv.ReadOptions(block_size=_BLOCK),
            parse_options=pa_csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=quotes, invalid_row_handler=leave_out
            ),
            convert_options=pa_csv.ConvertOptions(
                # The decoder has proved it.
                check_utf8=False,
                include_columns=columns,
                column_types=dict.fromkeys(columns, pa.large_string()),
                null_values=[""],
                strings_can_be_null=not keep_empty,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        # A row longer than a block.
        return None
    size, arrays = len(table), dict(zip(table.column_names, table.columns, strict=True))
    del table
    if not ragged:
        return Rows(_frame(arrays, rows=size), _Places(file.label, data, delimiter, size))
    bad: list[BadRow] = []
    lines = np.fromiter((line for line, _ in _good_rows(file, data, width, bad, [])), dtype=np.int64)
    if len(lines) != size:
        return None
    return Rows(_frame(arrays, rows=size), partial(_places_of, file.label, lines), bad)


def _places_of(label: str, lines: Lines, rows: Sequence[int]) -> list[str]:
    return [f"{label}, line {line}" for line in lines[list(rows)].tolist()]


def _quotes_well_placed(data: bytearray, delimiter: int) -> bool:
    """Whether quotes open only where a cell begins, close only where it ends, and are doubled inside.

    Source: RFC 4180 section 2. When this holds for every quote so far, the next one opens if their number is even and
    closes if it is odd; a doubled one closes and opens at once. So the neighbours of each quote decide.
    """
    before = np.zeros(256, dtype=bool)
    before[[delimiter, ord("\n"), ord("\r"), _QUOTE]] = True
    everything = np.frombuffer(data, dtype=np.uint8)
    size, opened = len(everything), False
    for start in range(0, size, _WINDOW):
        window = everything[start : start + _WINDOW]
        places = np.flatnonzero(window == _QUOTE) + start
        opening, closing = places[int(opened) :: 2], places[1 - int(opened) :: 2]
        if opening.size and not before[everything[opening[opening > 0] - 1]].all():
            return False
        if closing.size and not before[everything[closing[closing < size - 1] + 1]].all():
            return False
        opened ^= bool(len(places) % 2)
    return not opened


def _frame(arrays: dict[str, Any], *, rows: int) -> pd.DataFrame:
    """Column by column, each let go of as soon as it is taken over: memory holds no more than one twice."""
    columns = {}
    for name in list(arrays):
        # Null has been decided by the reader.
        columns[name] = text_series(arrays.pop(name), keep_empty=True)
    return frame_of(columns, rows=rows)


# The exact way


class _ExactRow(NamedTuple):
    """One row of the file."""

    first_line: int
    last_line: int
    cells: list[str] | str
    """A sentence where it cannot be taken apart."""


def _exact_rows(data: bytearray, delimiter: str) -> Iterator[_ExactRow]:
    """All rows but blank lines, with their lines; after a row that cannot be taken apart comes the next line."""
    # The limit is the process's; it is only ever raised.
    csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
    lines = io.TextIOWrapper(pa.BufferReader(pa.py_buffer(data)), encoding="utf-8", newline="")
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if str(error) == "unexpected end of data":
                yield _ExactRow(first, reader.line_num, _NEVER_CLOSES)
                return
            reason = "A quote is out of place: text stands between the end of a quoted cell and the next separator."
            if "field larger" in str(error):
                reason = f"A cell is longer than {_LONGEST_CELL:,} characters; a quote may be missing."
            yield _ExactRow(first, reader.line_num, reason)
        else:
            if cells:
                yield _ExactRow(first, reader.line_num, cells)


def _read_exact(
    file: File,
    data: bytearray,
    names: list[str],
    columns: list[str],
    *,
    keep_empty: bool,
    progress: Callable[[int], None],
) -> Rows:
    """Row by row; what is not as it should be is told with its line."""
    bad: list[BadRow] = []
    incomplete: list[str] = []
    lines: list[Lines] = []
    chunks: list[list[pa.Array]] = []
    good = _good_rows(file, data, len(names), bad, incomplete)
    picks = [names.index(name) for name in columns]
    count = 0
    while batch := list(islice(good, _CHUNK)):
        cells = list(zip(*(row for _, row in batch), strict=True))
        chunks.append([pa.array(cells[pick], pa.large_string()) for pick in picks])
        lines.append(np.array([line for line, _ in batch], dtype=np.int64))
        count += len(batch)
        progress(count)
    whole = {
        name: text_series(pa.chunked_array([chunk[k] for chunk in chunks], pa.large_string()), keep_empty=keep_empty)
        for k, name in enumerate(columns)
    }
    line_of = np.concatenate(lines) if lines else np.zeros(0, dtype=np.int64)
    return Rows(frame_of(whole, rows=count), partial(_places_of, file.label, line_of), bad, incomplete)


def _good_rows(
    file: File, data: bytearray, width: int, bad: list[BadRow], incomplete: list[str]
) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of every row that can be taken apart and has the header's length."""
    for row in islice(_exact_rows(data, _delimiter(file)), 1, None):
        if len(row.cells) == width and not isinstance(row.cells, str):
            yield row.first_line, row.cells
            continue
        place = f"{file.label}, line {row.first_line}"
        if isinstance(row.cells, str):
            if row.last_line > row.first_line:
                place = f"{file.label}, lines {row.first_line} to {row.last_line}"
            bad.append(BadRow(place, row.cells))
            if row.cells is _NEVER_CLOSES:
                incomplete.append(
                    f"{file.label} ends inside a quoted cell that begins on line {row.first_line}: "
                    "the export was cut off, or a quote is missing."
                )
        else:
            cells = "1 cell" if len(row.cells) == 1 else f"{len(row.cells)} cells"
            bad.append(BadRow(place, f"The row has {cells} where the header has {width}."))


@dataclass(frozen=True, slots=True)
class _Places:
    """Lines of the rows of a well-formed file, looked up only when asked for."""

    label: str
    data: bytearray
    delimiter: str
    rows: int

    def __call__(self, rows: Sequence[int]) -> list[str]:
        """One place for each row; row numbers ascend."""
        if self._one_line_each():
            return [f"{self.label}, line {row + 2}" for row in rows]
        asked = set(rows)
        found = enumerate(islice(_exact_rows(self.data, self.delimiter), 1, None))
        return [f"{self.label}, line {row.first_line}" for number, row in found if number in asked]

    def _one_line_each(self) -> bool:
        """No line ends inside cells, no blank lines: the header and every row are one line each."""
        feeds, returns = self.data.count(b"\n"), self.data.count(b"\r")
        if feeds and returns not in (0, feeds):
            return False
        ends = feeds or returns
        return ends + (not self.data.endswith((b"\n", b"\r"))) == self.rows + 1
