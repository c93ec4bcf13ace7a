"""Workbooks (xlsx, xlsm, xlsb, xls, ods), read as people see them: numbers and dates as they are meant, one sheet.

A whole number has no ``.0``, a date is ISO 8601 whatever its cell's format and whichever year its workbook counts from.
Needs the extra ``excel`` (python-calamine).
"""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from io import BytesIO
from itertools import islice
from typing import Any

import numpy as np

from connectors.contract import Attribute
from connectors.csv.files import File
from connectors.errors import SettingsError
from connectors.rows import Column, Rows, frame_of, require_columns, wanted_columns

_CHUNK = 20_000
_EXACT = 10**15
"""Numbers from here on have lost digits: spreadsheets keep 15 of them."""

Cells = list[Any]


def attributes(file: File) -> dict[str, Attribute]:
    """Columns of the header row. Raises: FatalError."""
    names, _ = _table(file, file.required)
    return {name: Attribute() for name in names if name}


def read(
    file: File, required: Sequence[str], wanted: Sequence[str], *, keep_empty: bool, progress: Callable[[int], None]
) -> Rows:
    """The rows with these columns. Raises: FatalError."""
    names, body = _table(file, required)
    columns = wanted_columns(required, wanted, [name for name in names if name])
    picks = [names.index(name) for name in columns]
    skip = [re.compile(pattern) for pattern in file.section.skip]
    grown = {name: Column() for name in columns}
    lines: list[int] = []
    rows = ((number, cells) for number, cells in body if not _is_nobody(cells, skip))
    while batch := list(islice(rows, _CHUNK)):
        lines += [number for number, _ in batch]
        for name, pick in zip(columns, picks, strict=True):
            grown[name].add([_value(cells[pick]) if pick < len(cells) else None for _, cells in batch])
        progress(len(lines))
    line_of = np.array(lines, dtype=np.int64)
    return Rows(
        frame_of({name: column.finish(keep_empty=keep_empty) for name, column in grown.items()}, rows=len(lines)),
        lambda numbers: [f"{file.label}, row {line}" for line in line_of[list(numbers)].tolist()],
    )


def _table(file: File, required: Sequence[str]) -> "tuple[list[str], Any]":
    """Names of the columns, and the rows below them with their numbers."""
    rows = _rows(file)
    header = file.section.header
    if len(rows) < header:
        raise SettingsError(f"{file.label} has no row {header}, which the job says names the columns.")
    names = [_name(cell) for cell in rows[header - 1]]
    if not set(required) <= set(names):
        for number, row in enumerate(rows[:30], start=1):
            if set(required) <= {_name(cell) for cell in row}:
                raise SettingsError(f"The columns of {file.label} are named in row {number}: set header: {number}.")
        require_columns(required, [name for name in names if name], where=file.label)
    for name in names:
        if name and names.count(name) > 1:
            raise SettingsError(f"The header of {file.label} has two columns named {name!r}. Rename one of them.")
    return names, enumerate(rows[header:], start=header + 1)


def _rows(file: File) -> list[Cells]:
    try:
        from python_calamine import CalamineError, CalamineWorkbook, SheetVisibleEnum
    except ImportError:
        raise SettingsError(
            f"{file.label} is a workbook: install the extra excel (python-calamine) and run again."
        ) from None
    with file.open() as stream:
        content = stream.read()
    if not content:
        raise SettingsError(f"The file {file.label} is empty. Was the export finished?")
    try:
        workbook = CalamineWorkbook.from_filelike(BytesIO(content))
        shown = [one.name for one in workbook.sheets_metadata if one.visible is SheetVisibleEnum.Visible]
        sheet = file.section.sheet
        if sheet is None and len(shown) != 1:
            raise SettingsError(
                f"{file.label} has {len(shown)} sheets: {_listed(shown)}. Set sheet to the one that counts."
            )
        if sheet is not None and sheet not in workbook.sheet_names:
            raise SettingsError(f"{file.label} has no sheet {sheet!r}. Its sheets: {_listed(workbook.sheet_names)}.")
        rows: list[Cells] = workbook.get_sheet_by_name(sheet or shown[0]).to_python(skip_empty_area=False)
    except CalamineError as error:
        start = content[:60].decode("utf-8", errors="replace").strip()
        raise SettingsError(
            f"{file.label} is not a workbook, is damaged or has a password ({error}). It begins with {start!r}."
        ) from None
    return rows


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:20])) or "none"


def _name(cell: object) -> str:
    value = _value(cell)
    return str(value).strip() if value is not None else ""


def _is_nobody(cells: Cells, skip: "Sequence[re.Pattern[str]]") -> bool:
    """Whether a row is blank, or one of those that the job leaves out."""
    first = next((cell for cell in cells if cell is not None and str(cell).strip()), None)
    return first is None or any(pattern.search(str(_value(first))) for pattern in skip)


def _value(cell: object) -> object:
    """A cell as it is meant; numbers that have lost digits as a spreadsheet shows them: no key is made of them."""
    match cell:
        case "":
            return None
        case float() if abs(cell) >= _EXACT:
            return f"{cell:.5E}"
        case datetime() if cell.time() == time():
            return cell.date()
        case timedelta():
            return str(cell)
        case bool() | int() | float() | str() | date() | time() | None:
            return cell
        case _:
            return str(cell)
