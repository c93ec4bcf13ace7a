"""The files of an app's import drop: read as text, written in the place of the old ones, with all that nobody changes.

A row, a column or a value that a load does not change comes out as it went in, in its own type; so do the file's
permissions, and a link goes on leading to the file that the app reads.
"""

import csv
import errno
import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.depth import MOST_LEVELS, nests_deeper
from connectors.errors import RetryableError, SettingsError
from connectors.rows import text_of

Entry = dict[str, str | None]

PATIENCE_S = 30.0
"""How long a load waits for another process that writes into the same folder."""
_NO_LOCKS = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP})


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The right to write files of a folder, among processes that ask for it; the system takes it back from the dead.

    Raises: RetryableError where another process keeps it, SettingsError where there is no such folder.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise SettingsError(f"The folder {folder.name} cannot be opened: {error.strerror}.") from error
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise RetryableError(
                        f"Another process is writing files of the folder {folder.name}; nothing was written."
                    ) from None
                time.sleep(0.01)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                break  # a file system without locks; what others write meanwhile is noticed all the same
        yield
    finally:
        os.close(handle)


def mark_of(path: Path) -> tuple[int, int, int] | None:
    """What changes whenever a file is written or replaced; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_rows(path: Path, columns: Sequence[str]) -> tuple[list[str], list[Entry], list[dict[str, Any]]]:
    """Columns of a file, its rows as text, and as they stand; a file that is not there has none.

    Raises: SettingsError.
    """
    if not path.exists():
        return list(columns), [], []
    try:
        match path.suffix:
            case ".csv":
                with path.open(encoding="utf-8", newline="") as file:
                    reader = csv.DictReader(file, strict=True)
                    rows: list[Any] = list(reader)
                    names = list(reader.fieldnames or columns)
                _refuse_ragged(path, names, rows)
            case ".parquet":
                held = pq.read_table(path)
                rows, names = held.to_pylist(), list(held.column_names)
            case _:
                text = path.read_text(encoding="utf-8")
                if nests_deeper(text.encode(), MOST_LEVELS):
                    raise ValueError("nests deeper than rows do")
                rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
                names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        raise SettingsError(f"The file {path.name} cannot be read: {type(error).__name__}.") from error
    empty = "" if path.suffix == ".csv" else None
    return names, [{name: _text(row.get(name), empty) for name in names} for row in rows], rows


def _refuse_ragged(path: Path, names: Sequence[str], rows: Sequence[dict[Any, Any]]) -> None:
    """Cells that belong to no column would be lost. Raises: SettingsError."""
    if len(set(names)) < len(names):
        raise SettingsError(f"{path.name} has two columns of one name; correct it.")
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise SettingsError(f"{path.name} has more cells than columns in its row {number}; correct it.")


def _text(value: Any, empty: object) -> str | None:
    return None if value is None or value == empty else text_of(value)


def write_rows(
    path: Path,
    columns: Sequence[str],
    rows: Sequence[tuple[Entry, dict[str, Any] | None]],
    *,
    like: Sequence[dict[str, Any]] = (),
) -> None:
    """A file with these rows, in the place of the one before at once or not at all.

    Each row comes with what it was before, None for a new one; ``like``: rows of the file before, by which new values
    get the types of their columns. Raises: OSError.
    """
    if path.suffix == ".csv":
        text = StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(columns), lineterminator="\r\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows({name: "" if row.get(name) is None else row[name] for name in columns} for row, _ in rows)
        replace_file(path, text.getvalue().encode("utf-8"))
        return
    samples = {name: next((row[name] for row in like if row.get(name) is not None), None) for name in columns}
    typed = [_typed(row, before, columns, samples) for row, before in rows]
    match path.suffix:
        case ".parquet":
            content = _parquet(path, columns, typed)
        case ".json":
            content = json.dumps(typed, ensure_ascii=False, indent=1).encode("utf-8")
        case _:
            content = b"".join(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n" for row in typed)
    replace_file(path, content)


def _typed(
    row: Entry, before: dict[str, Any] | None, columns: Sequence[str], samples: dict[str, Any]
) -> dict[str, Any]:
    """A row with the values that it had where the text is the same, and new ones in the types of their columns."""
    found: dict[str, Any] = {}
    for name in columns:
        text = row.get(name)
        if before is not None and _text(before.get(name), None) == text:
            if name in before:
                found[name] = before[name]
        else:
            found[name] = None if text is None else _like(text, samples[name])
    return found


def _like(text: str, sample: Any) -> Any:
    """A text as the type of another value of its column, where it can be one."""
    try:
        match sample:
            case bool():
                return {"true": True, "false": False}.get(text.lower(), text)
            case int():
                return int(text)
            case float():
                return float(text)
            case Decimal():
                return Decimal(text)
            case datetime():
                return datetime.fromisoformat(text)
            case date():
                return date.fromisoformat(text)
            case _:
                return text
    except (ValueError, InvalidOperation):
        return text


def _parquet(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    """Columns keep their types; one that a new value does not fit becomes text."""
    schema = pq.read_schema(path) if path.exists() else pa.schema([])
    arrays = []
    for name in columns:
        values = [row.get(name) for row in rows]
        kind = schema.field(name).type if name in schema.names else pa.large_string()
        try:
            arrays.append(pa.array(values, type=kind))
        except (pa.ArrowException, TypeError, ValueError):
            arrays.append(pa.array([_text(value, None) for value in values], type=pa.large_string()))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, names=list(columns)), sink)
    return bytes(sink.getvalue().to_pybytes())


def replace_file(path: Path, content: bytes) -> None:
    """Puts a file in the place of the one before, with its permissions. Raises: OSError."""
    path = path.resolve()  # a link goes on leading to it
    new = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with new.open("xb") as file:
            with suppress(FileNotFoundError):
                before = path.stat()
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
                with suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
