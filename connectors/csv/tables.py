"""Any file as rows, whatever its format: for the source's sections, and for tables that a job has beside its source."""

from collections.abc import Callable, Mapping, Sequence

from connectors.contract import Attribute
from connectors.csv import delimited, json_lines, parquet, workbook
from connectors.csv.files import File
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
    """The rows with these columns. Raises: FatalError, also where a required column is missing."""
    match file.format:
        case Format.CSV | Format.TSV:
            return delimited.read(file, required, wanted, keep_empty=keep_empty, progress=progress)
        case Format.JSON_LINES:
            return json_lines.read(file, required, wanted, keep_empty=keep_empty, progress=progress)
        case Format.PARQUET:
            return parquet.read(file, required, wanted, keep_empty=keep_empty, progress=progress)
        case Format.EXCEL:
            return workbook.read(file, required, wanted, keep_empty=keep_empty, progress=progress)
