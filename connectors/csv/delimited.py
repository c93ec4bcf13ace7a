"""CSV and TSV: fast where a file is as it should be, exact about every line where it is not.

Arrow's reader takes a well-formed file in about a second per million rows, but cannot say on which line something is
wrong, and puts up with quotes that are out of place. So it reads only files whose quotes are proved to be well placed;
where rows have the wrong length, Python's reader finds their lines, and where Arrow cannot be used it reads the file.
Both give the same cells for every well-formed row.
"""

import csv
import io
import re
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
from connectors.csv.layout import recognise
from connectors.errors import SettingsError
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
    return {name: Attribute() for name in _header(_opened(file, file.text(limit=_HEAD).data, file.required))}


def read(
    file: File, required: Sequence[str], wanted: Sequence[str], *, keep_empty: bool, progress: Callable[[int], None]
) -> Rows:
    """The rows with these columns. Raises: FatalError."""
    text = file.text()
    table = _opened(file, text.data, required)
    names = _header(table)
    require_columns(required, names, where=file.label)
    columns = wanted_columns(required, wanted, names)
    rows = None if table.skip else _read_fast(table, len(names), columns, keep_empty=keep_empty)
    if rows is None:
        rows = _read_exact(table, names, columns, keep_empty=keep_empty, progress=progress)
    if text.cut:
        last = text.data.count(b"\n") + table.above
        rows.incomplete.append(f"{file.label} is cut off: {text.cut}. What comes after line {last:,} is missing.")
    rows.layout = table.layout
    progress(len(rows.frame))
    return rows


@dataclass(frozen=True, slots=True)
class _Table:
    """The text of one file from its header on, and how it is laid out."""

    label: str
    data: bytearray
    delimiter: str
    above: int
    """Lines of the file before the header."""
    layout: str
    skip: tuple[re.Pattern[str], ...]

    def is_nobody(self, cells: list[str]) -> bool:
        """Whether a row is blank, or one of those that the job leaves out."""
        first = next((cell for cell in cells if cell and not cell.isspace()), None)
        return first is None or any(pattern.search(first) for pattern in self.skip)


def _opened(file: File, data: bytearray, required: Sequence[str]) -> _Table:
    """Raises: SettingsError for what is not the export."""
    found = recognise(file, data, required)
    skip = tuple(map(re.compile, file.section.skip))
    return _Table(file.label, data, found.delimiter, found.lines_above, found.recognised, skip)


def _header(table: _Table) -> list[str]:
    """Names of the columns, exactly as they stand there; unnamed ones are empty text.

    Raises: SettingsError when there is no header, or a name is there twice.
    """
    for row in _exact_rows(table):
        if isinstance(row.cells, str):
            raise SettingsError(f"The header of {table.label} cannot be read: {row.cells}")
        seen: set[str] = set()
        for name in filter(None, row.cells):
            if name in seen:
                raise SettingsError(f"The header of {table.label} has two columns named {name!r}. Rename one of them.")
            seen.add(name)
        return row.cells
    raise SettingsError(f"The file {table.label} has no header: its first line must name the columns.")


# The fast way


def _read_fast(table: _Table, width: int, columns: list[str], *, keep_empty: bool) -> Rows | None:
    """The rows by way of Arrow, or None where it cannot be trusted with this file."""
    data, delimiter, quotes = table.data, table.delimiter, _QUOTE in table.data
    if quotes and not _quotes_well_placed(data, ord(delimiter)):
        return None
    ragged: list[None] = []

    def leave_out(_: Any) -> str:
        ragged.append(None)
        return "skip"

    try:
        found = pa_csv.read_csv(
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
    size, arrays = len(found), dict(zip(found.column_names, found.columns, strict=True))
    del found
    if not ragged:
        places = _Places(table, size)
        return Rows(_frame(arrays, rows=size), places, are_blank=places.are_blank)
    bad: list[BadRow] = []
    lines = np.fromiter((line for line, _ in _good_rows(table, width, bad, [])), dtype=np.int64)
    if len(lines) != size:
        return None
    return Rows(_frame(arrays, rows=size), partial(_places_of, table.label, lines), bad)


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


def _exact_rows(table: _Table) -> Iterator[_ExactRow]:
    """All rows but blank lines, with their lines; after a row that cannot be taken apart comes the next line."""
    above = table.above
    # The limit is the process's; it is only ever raised.
    csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
    lines = io.TextIOWrapper(pa.BufferReader(pa.py_buffer(table.data)), encoding="utf-8", newline="")
    reader = csv.reader(lines, delimiter=table.delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if str(error) == "unexpected end of data":
                yield _ExactRow(first + above, reader.line_num + above, _NEVER_CLOSES)
                return
            reason = "Misplaced quote: there is text between the end of a quoted cell and the next separator."
            if "field larger" in str(error):
                reason = f"A cell is longer than {_LONGEST_CELL:,} characters; a quote may be missing."
            yield _ExactRow(first + above, reader.line_num + above, reason)
        else:
            if cells:
                yield _ExactRow(first + above, reader.line_num + above, cells)


def _read_exact(
    table: _Table,
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
    good = _good_rows(table, len(names), bad, incomplete)
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
    return Rows(frame_of(whole, rows=count), partial(_places_of, table.label, line_of), bad, incomplete)


def _good_rows(table: _Table, width: int, bad: list[BadRow], incomplete: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of every row that can be taken apart and has the header's length; blank ones are nobody."""
    for row in islice(_exact_rows(table), 1, None):
        if not isinstance(row.cells, str) and table.is_nobody(row.cells):
            continue
        if len(row.cells) == width and not isinstance(row.cells, str):
            yield row.first_line, row.cells
            continue
        place = f"{table.label}, line {row.first_line}"
        if isinstance(row.cells, str):
            if row.last_line > row.first_line:
                place = f"{table.label}, lines {row.first_line} to {row.last_line}"
            bad.append(BadRow(place, row.cells))
            if row.cells is _NEVER_CLOSES:
                incomplete.append(
                    f"{table.label} ends inside a quoted cell that begins on line {row.first_line}: "
                    "the export was cut off, or a quote is missing."
                )
        else:
            cells = "1 cell" if len(row.cells) == 1 else f"{len(row.cells)} cells"
            bad.append(BadRow(place, f"The row has {cells} where the header has {width}."))


@dataclass(frozen=True, slots=True)
class _Places:
    """Lines of the rows of a well-formed file, looked up only when asked for."""

    table: _Table
    rows: int

    def __call__(self, rows: Sequence[int]) -> list[str]:
        """One place for each row; row numbers ascend."""
        if self._one_line_each():
            return [f"{self.table.label}, line {row + 2 + self.table.above}" for row in rows]
        return [f"{self.table.label}, line {row.first_line}" for row in self._at(rows)]

    def are_blank(self, rows: Sequence[int]) -> list[bool]:
        """Whether the rows hold nothing in any column."""
        return [not isinstance(row.cells, str) and self.table.is_nobody(row.cells) for row in self._at(rows)]

    def _at(self, rows: Sequence[int]) -> Iterator[_ExactRow]:
        asked = set(rows)
        found = enumerate(islice(_exact_rows(self.table), 1, None))
        return (row for number, row in found if number in asked)

    def _one_line_each(self) -> bool:
        """No line ends inside cells, no blank lines: the header and every row are one line each."""
        data = self.table.data
        feeds, returns = data.count(b"\n"), data.count(b"\r")
        if feeds and returns not in (0, feeds):
            return False
        ends = feeds or returns
        return ends + (not data.endswith((b"\n", b"\r"))) == self.rows + 1
