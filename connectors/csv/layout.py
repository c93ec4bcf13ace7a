"""How a text file with separators is laid out: what separates its cells, on which line the columns are named.

What the job says counts; the rest is recognised by the columns that must be there. A file that has none of them is
something else than the export, and :func:`recognise` says what it looks like and what to do.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import pyarrow as pa

from connectors.csv.files import File
from connectors.errors import SettingsError
from connectors.file_section import Format
from connectors.rows import require_columns

_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MARK = re.compile(rb'"?sep=(?P<sign>[^\r\n"])"?[ \t]*(?:\r\n|\n|\r|$)', re.IGNORECASE)
_LINE_END = re.compile(rb"\r\n|\n|\r")
_LINES_LOOKED_AT = 30
_LETTERS_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of one file are laid out."""

    delimiter: str
    lines_above: int
    """Lines before the one that names the columns; they are cut off."""
    recognised: str = ""
    """What nobody said and is not the usual way: ``separated by semicolons``."""


def recognise(file: File, data: bytearray, required: Sequence[str]) -> Layout:
    """The layout of a file, and cuts off what stands above its header.

    Raises: SettingsError for a file that cannot be the export, with its first line and what to do.
    """
    usual = file.section.delimiter or ("\t" if file.format is Format.TSV else ",")
    first_line = _first_line(data)
    mark = _MARK.match(data)
    above = file.section.header - 1
    if mark is not None and above == 0:
        above = 1
    _cut_lines(data, above)
    signs = [usual] if file.section.delimiter is not None else _signs(usual, mark)
    if not required:  # nothing tells which columns there are: the sign that makes the most of them
        signs = sorted(signs, key=lambda sign: -len(_first_row(data, sign)))
    for sign in signs:
        names = _first_row(data, sign)
        if names and set(required) <= set(names):
            how = f"separated by {_NAMES.get(sign, sign)}" if sign != usual else ""
            return Layout(sign, above, how)
    _refuse_other_content(file, data, required, signs, first_line, above)
    raise AssertionError("a required column was missing")


def _signs(usual: str, mark: "re.Match[bytes] | None") -> list[str]:
    marked = [mark["sign"].decode("latin-1")] if mark is not None else []
    return list(dict.fromkeys([*marked, usual, *_NAMES]))


def _cut_lines(data: bytearray, count: int) -> None:
    for _ in range(count):
        end = _LINE_END.search(data)
        del data[: end.end() if end is not None else len(data)]


def _rows(data: bytearray, sign: str) -> "list[list[str]]":
    lines = io.TextIOWrapper(
        pa.BufferReader(pa.py_buffer(bytes(data[: 1 << 20]))), encoding="utf-8", errors="replace", newline=""
    )
    try:
        return list(islice(csv.reader(lines, delimiter=sign), _LINES_LOOKED_AT))
    except csv.Error:
        return []


def _first_row(data: bytearray, sign: str) -> list[str]:
    return next((row for row in _rows(data, sign) if row), [])


def _first_line(data: bytearray) -> str:
    line = next((line for line in _LINE_END.split(bytes(data[:10_000])) if line.strip()), b"")
    text = line.decode("utf-8", errors="replace").strip()
    return text if len(text) <= _LETTERS_SHOWN else f"{text[:_LETTERS_SHOWN]}…"


def _refuse_other_content(
    file: File, data: bytearray, required: Sequence[str], signs: Sequence[str], first: str, above: int
) -> None:
    """Raises: SettingsError, always."""
    if not first:
        return _refuse_without_header(file)
    told = f"Its first line: {first!r}."
    start = first.lstrip().lower()
    if start.startswith("<"):
        raise SettingsError(
            f"{file.label} is a web page or XML, not the export. {told} Has a session or a link expired? Fetch the "
            "export again; the job has not changed."
        )
    if start.startswith(("{", "[")):
        raise SettingsError(
            f"{file.label} is JSON, not a table. {told} If that is an error of the exporting system, fetch the "
            "export again; if it is the export with one object per line, set format: jsonl."
        )
    for sign in signs:
        for number, row in enumerate(_rows(data, sign)):
            if number and set(required) <= set(row):
                raise SettingsError(
                    f"The columns of {file.label} are on line {number + above + 1}. {told} "
                    f"Set header: {number + above + 1}, or export the table without a title."
                )
    if file.section.delimiter is not None:
        for sign in _NAMES:
            if set(required) <= set(_first_row(data, sign)):
                raise SettingsError(
                    f"{file.label} is separated by {_NAMES[sign]}, and the job says delimiter: "
                    f"{file.section.delimiter!r}. {told} Set delimiter: {sign!r}, or leave it out."
                )
    best = max(signs, key=lambda sign: len(_first_row(data, sign)))
    names = _first_row(data, best)
    try:
        require_columns(required, names, where=file.label)
    except SettingsError as error:
        raise SettingsError(f"{error} {told}") from None


def _refuse_without_header(file: File) -> None:
    raise SettingsError(f"The file {file.label} has no header: its first line must name the columns.")
