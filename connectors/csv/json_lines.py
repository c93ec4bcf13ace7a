"""JSON Lines: one object a line; nested objects become columns with dots, numbers become text exactly as written."""

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from connectors.contract import Attribute, Count, Form
from connectors.csv.files import File
from connectors.depth import nests_deeper
from connectors.errors import SettingsError
from connectors.rows import BadRow, Column, Rows, frame_of, number_text, require_columns, wanted_columns

_CHUNK = 20_000
_HEAD_LINES = 100
_HEAD = 4 << 20
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value")


_DECODER = json.JSONDecoder(parse_float=lambda text: number_text(Decimal(text)), parse_constant=_no_constant)


def attributes(file: File) -> dict[str, Attribute]:
    """Columns of the first lines, and what their values look like. Raises: FatalError."""
    found: dict[str, Attribute] = {}
    for _, _, entry in islice(_objects(file.text(limit=_HEAD).data, file.section.max_depth), _HEAD_LINES):
        for name, value in entry.items() if isinstance(entry, dict) else ():
            if value is not None:
                found[name] = _info(value)
            else:
                found.setdefault(name, Attribute())
    return found


def _info(value: object) -> Attribute:
    match value:
        case bool():
            return Attribute(form=Form.BOOLEAN)
        case int():
            return Attribute(form=Form.INTEGER)
        case [dict(), *_]:
            return Attribute(form=Form.STRUCTURE, count=Count.LIST)
        case list():
            return Attribute(count=Count.LIST)
        case _:
            return Attribute()


def read(
    file: File, required: Sequence[str], wanted: Sequence[str], *, keep_empty: bool, progress: Callable[[int], None]
) -> Rows:
    """The rows with these columns. Raises: FatalError."""
    text = file.text()
    names: dict[str, None] = {}
    columns = {name: Column() for name in dict.fromkeys([*required, *wanted])}
    bad: list[BadRow] = []
    lines: list[int] = []
    good = _good_objects(file, text.data, names, bad)
    while batch := list(islice(good, _CHUNK)):
        lines.extend(line for line, _ in batch)
        for name, column in columns.items():
            column.add([entry.get(name) for _, entry in batch])
        progress(len(lines))
    if not lines:
        raise SettingsError(_nothing(file, text.data))
    require_columns(required, names, where=file.label)
    kept = wanted_columns(required, wanted, names)
    line_of = np.array(lines)
    rows = Rows(
        frame_of({name: columns[name].finish(keep_empty=keep_empty) for name in kept}, rows=len(lines)),
        lambda numbers: [f"{file.label}, line {line}" for line in line_of[list(numbers)].tolist()],
        bad,
    )
    if text.cut:
        last = text.data.count(b"\n")
        rows.incomplete.append(f"{file.label} is cut off: {text.cut}. What comes after line {last:,} is missing.")
    return rows


def _good_objects(
    file: File, data: bytearray, names: dict[str, None], bad: list[BadRow]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line and flat object; tells ``names`` every name that occurs and ``bad`` every line that is not an object."""
    skip = [re.compile(pattern.encode()) for pattern in file.section.skip]
    for line, text, entry in _objects(data, file.section.max_depth):
        if any(pattern.search(text) for pattern in skip):
            continue
        if isinstance(entry, str):
            bad.append(BadRow(f"{file.label}, line {line}", entry))
        else:
            names.update(dict.fromkeys(entry))
            yield line, entry


def _objects(data: bytearray, most_levels: int) -> Iterator[tuple[int, bytes, dict[str, Any] | str]]:
    """Line number, line, and the flat object on it, or a sentence where there is none; blank lines are left out."""
    for number, line in enumerate(io.BufferedReader(pa.BufferReader(pa.py_buffer(data))), start=1):
        if line.isspace():
            continue
        yield number, line, _object(line, most_levels)


def _object(line: bytes, most_levels: int) -> dict[str, Any] | str:
    if nests_deeper(line, most_levels):
        return f"The line nests deeper than {most_levels} levels. If it is meant so, raise max_depth."
    try:
        entry = _DECODER.decode(line.decode())
        if _SURROGATE.search(line):
            # Half a character: no other system could store it.
            json.dumps(entry, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return "The line contains half of a surrogate pair, which is not a character."
    except json.JSONDecodeError as error:
        return f"The line is not JSON: {error.msg} at column {error.colno}."
    except ValueError as error:
        return f"The line is not JSON: {error}."
    if not isinstance(entry, dict):
        return "The line is not a JSON object."
    return dict(_flat(entry, "")) if any(isinstance(value, dict) for value in entry.values()) else entry


def _flat(entry: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in entry.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _nothing(file: File, data: bytearray) -> str:
    if data.lstrip().startswith(b"<"):
        return f"{file.label} is a web page or XML, not the export. Has a session or a link expired? Fetch it again."
    if data.lstrip().startswith(b"["):
        return f"{file.label} contains one JSON array. JSON Lines has one object per line and nothing around them."
    return f"No line of {file.label} contains a JSON object. If it is another format, set format."
