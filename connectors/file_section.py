"""Which file holds rows, and how it is written: settings alone, so that a job file is checked without reading files."""

import re
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.depth import MOST_LEVELS
from connectors.settings import Name, Settings


class Format(StrEnum):
    """How a file is laid out."""

    CSV = "csv"
    TSV = "tsv"
    JSON_LINES = "jsonl"
    PARQUET = "parquet"
    EXCEL = "xlsx"


_ENDINGS = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".tab": Format.TSV,
    ".jsonl": Format.JSON_LINES,
    ".ndjson": Format.JSON_LINES,
    ".parquet": Format.PARQUET,
    ".xlsx": Format.EXCEL,
    ".xlsm": Format.EXCEL,
    ".xlsb": Format.EXCEL,
    ".xls": Format.EXCEL,
    ".ods": Format.EXCEL,
}


def _delimiter(value: object) -> object:
    """In YAML only double quotes turn backslash and t into a tab."""
    return "\t" if value in ("\\t", "tab") else value


def _one_character(text: str) -> str:
    if len(text) != 1 or not text.isascii() or text in '"\r\n\0':
        raise ValueError("must be one ASCII character, and neither a quote nor a line end")
    return text


def _known_encoding(name: str) -> str:
    try:
        "a".encode(name)
    except LookupError:
        raise ValueError(f"{name!r} is not a text encoding; common ones are utf-8, utf-16 and cp1252") from None
    return name


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return text


class FileSection(Settings):
    """Which file, and what is in it."""

    path: Name
    """File name relative to the job file's folder, or an address like ``s3://bucket/people.csv``; may contain
    references."""
    format: Format | None = None
    """csv, tsv, jsonl, parquet or xlsx (any workbook: xlsx, xlsb, xls, ods; needs the extra ``excel``); by default from
    the file name. Each text format can be gzipped."""
    delimiter: Annotated[str, BeforeValidator(_delimiter), AfterValidator(_one_character)] | None = None
    """Cell separator. By default it is detected: a comma, semicolon, tab or bar."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = None
    """Encoding of a text file; left out, UTF-8, or what the byte order mark says."""
    header: Annotated[int, Field(ge=1, le=1_000, strict=True)] = 1
    """Line or row that names the columns, where a title stands above it; of CSV, TSV and workbooks."""
    sheet: Name | None = None
    """Sheet of a workbook; left out, the only one that is not hidden."""
    skip: tuple[Annotated[str, AfterValidator(_pattern)], ...] = ()
    """Patterns of rows that are nobody's, like ``^Total``: a row is left out when its first cell that is not empty, or
    in JSON Lines the line, contains one of them. Of every format but Parquet."""
    max_unpacked_mb: Annotated[int, Field(ge=1)] = 2048
    """Maximum size of an unpacked file in megabytes; a few packed megabytes could otherwise fill the memory."""
    max_cell_kb: Annotated[int, Field(ge=1)] = 16384
    """Kilobytes that one cell may hold: a quote that is never closed makes one cell of a whole file."""
    max_depth: Annotated[int, Field(ge=1, le=500)] = MOST_LEVELS
    """Levels that lists and objects of one line of JSON Lines may lie in each other; a deeper line is not read."""

    @model_validator(mode="after")
    def _format_is_known(self) -> Self:
        if "${" not in self.path and self.format is None and format_of_name(self.path) is None:
            raise ValueError(unknown_format(self.path))
        return self


def format_of_name(path: str) -> Format | None:
    """What the ending of a file's name says."""
    name = PurePosixPath(path.lower())
    return _ENDINGS.get(name.suffix if name.suffix != ".gz" else PurePosixPath(name.stem).suffix)


def unknown_format(label: str) -> str:
    return f"the name {label} does not tell the format: add format: csv, tsv, jsonl, parquet or xlsx"
