"""Any file as rows, whatever its format: for the source's sections, and for tables that a job has beside its source."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Attribute
from connectors.csv import delimited, json_lines, parquet, workbook
from connectors.csv.files import File
from connectors.errors import SettingsError
from connectors.file_section import Format
from connectors.rows import Rows


def columns_of(file: File) -> Mapping[str, Attribute]:
    """Columns of the header; of JSON Lines, what the first lines hold. Raises: FatalError."""
    match file.format:
        case Format.CSV | Format.TSV:
            return {name: info for name, info in delimited.attributes(file).items() if name}
        case Format.JSON_LINES:
            return json_lines.attributes(file)
        case Format.PARQUET:
            return parquet.attributes(file)
        case Format.EXCEL:
            return workbook.attributes(file)


def read_rows(
    file: File,
    required: Sequence[str],
    wanted: Sequence[str] = (),
    *,
    keep_empty: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Rows:
    """The rows with these columns. Raises: FatalError, also where a required column is missing, or a cell too large."""
    match file.format:
        case Format.CSV | Format.TSV:
            rows = delimited.read(file, required, wanted, keep_empty=keep_empty, progress=progress)
        case Format.JSON_LINES:
            rows = json_lines.read(file, required, wanted, keep_empty=keep_empty, progress=progress)
        case Format.PARQUET:
            rows = parquet.read(file, required, wanted, keep_empty=keep_empty, progress=progress)
        case Format.EXCEL:
            rows = workbook.read(file, required, wanted, keep_empty=keep_empty, progress=progress)
    _refuse_large_cells(file, rows)
    return rows


def _refuse_large_cells(file: File, rows: Rows) -> None:
    """Passes when no text cell is larger than the job lets it be. Raises: SettingsError with the place of one."""
    most = file.section.max_cell_kb << 10
    for name, column in rows.frame.items():
        if not isinstance(column.dtype, pd.StringDtype):
            continue
        sizes = pc.binary_length(pa.array(column.array))
        if (pc.max(sizes).as_py() or 0) > most:
            place = rows.places([pc.index(pc.greater(sizes, most), True).as_py()])[0]
            raise SettingsError(
                f"A cell of column {name} holds more than {file.section.max_cell_kb:,} kB ({place}): is a quote never "
                "closed? If it is meant to be so large, raise max_cell_kb."
            )
