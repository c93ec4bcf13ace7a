"""An HR export as three frames, and how it is written to a folder as CSV, Parquet or JSON Lines."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PEOPLE_COLUMNS = (
    "employeeId",
    "userPrincipalName",
    "mail",
    "givenName",
    "surname",
    "displayName",
    "jobTitle",
    "department",
    "company",
    "country",
    "city",
    "manager",
    "startDate",
    "employeeType",
    "status",
)

_ROWS_AT_ONCE = 100_000


class Format(StrEnum):
    """How frames are written."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON_LINES = "jsonl"


@dataclass(slots=True)
class Export:
    """What the HR system gives out on one day. All columns are text, NaN where empty; rows are in file order."""

    people: pd.DataFrame
    """``PEOPLE_COLUMNS``; ``employeeId`` is the key, ``manager`` the key of somebody else."""
    groups: pd.DataFrame
    """``id``, ``name``, ``description``."""
    members: pd.DataFrame
    """Edges ``group``, ``member``: a group's id and an employeeId; sorted, no duplicates."""

    def write(self, folder: Path, file_format: Format = Format.CSV) -> None:
        """Write people, groups and members into the folder, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("people", "groups", "members"):
            table = pa.Table.from_pandas(getattr(self, name), preserve_index=False)
            path = folder / f"{name}.{file_format}"
            match file_format:
                case Format.CSV:
                    _write_csv(table, path)
                case Format.PARQUET:
                    pq.write_table(table, path)
                case Format.JSON_LINES:
                    _write_json_lines(table, path)


def _write_csv(table: pa.Table, path: Path) -> None:
    """RFC 4180 with LF, quotes only where needed, nothing between commas for null.

    Not pyarrow's own writer: that quotes either every text or none.
    """
    with path.open("wb") as file:
        file.write((",".join(table.column_names) + "\n").encode())
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            rows = pc.binary_join_element_wise(*map(_csv_cells, batch.columns), _text(","))
            file.write("\n".join(rows.to_pylist()).encode())
            file.write(b"\n")


def _text(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def _csv_cells(column: pa.Array) -> pa.Array:
    cells = pc.fill_null(column.cast(pa.large_string()), "")
    mark = _text('"')
    quoted = pc.binary_join_element_wise(mark, pc.replace_substring(cells, '"', '""'), mark, _text(""))
    return pc.if_else(pc.match_substring_regex(cells, r'[",\r\n]'), quoted, cells)


def _write_json_lines(table: pa.Table, path: Path) -> None:
    """One object per line; null attributes are left out."""
    with path.open("wb") as file:
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                filled = {name: value for name, value in row.items() if value is not None}
                file.write(orjson.dumps(filled, option=orjson.OPT_APPEND_NEWLINE))
