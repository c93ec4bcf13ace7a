"""Tables for spreadsheets: CSV line by line, and Excel, with cells that no program takes for a formula."""

import csv
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flows.show.log import safe_cell
from tasks.ledger.bulk import clean

_SHEET = "Access"
_ROWS_AT_MOST = 1_048_000
_CELL_AT_MOST = 32_767
"""Characters of a cell. Source: Excel specifications and limits; the library leaves out a cell that is longer."""


def csv_lines(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Rows as lines of CSV."""
    for row in rows:
        out = io.StringIO()
        csv.writer(out, lineterminator="\r\n").writerow([safe_cell(cell) for cell in row])
        yield out.getvalue()


def write_excel(rows: Iterable[Sequence[object]], *, heading_row: int) -> Path:
    """A workbook of one sheet, in a file of its own that the caller deletes; every cell is text or a number."""
    import xlsxwriter

    handle, name = tempfile.mkstemp(suffix=".xlsx")
    os.close(handle)
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    book = xlsxwriter.Workbook(name, options)
    sheet = book.add_worksheet(_SHEET)
    bold = book.add_format({"bold": True})
    for number, row in enumerate(rows):
        if number > _ROWS_AT_MOST:
            break
        for place, cell in enumerate(row):
            if isinstance(cell, int):
                sheet.write_number(number, place, cell)
            else:
                sheet.write_string(
                    number, place, clean(str(cell))[:_CELL_AT_MOST], bold if number == heading_row else None
                )
    sheet.freeze_panes(heading_row + 1, 0)
    sheet.set_column(0, 8, 22)
    book.close()
    return Path(name)
