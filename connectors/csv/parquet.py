"""Parquet: types come from the file, and everything but booleans and lists becomes text without losing anything."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.contract import Attribute, Count, Form
from connectors.csv.files import File
from connectors.errors import SettingsError
from connectors.rows import (
    Column,
    Rows,
    boolean_series,
    frame_of,
    require_columns,
    text_series,
    wanted_columns,
)

_CHUNK = 50_000


def attributes(file: File) -> dict[str, Attribute]:
    """Columns of the file's schema, nested ones with dots. Raises: FatalError."""
    with _opened(file) as parquet:
        return {name: _info(kind) for name, kind in _leaves(parquet.schema_arrow, "")}


def read(
    file: File, required: Sequence[str], wanted: Sequence[str], *, keep_empty: bool, progress: Callable[[int], None]
) -> Rows:
    """The rows with these columns. Raises: FatalError."""
    with _opened(file) as parquet:
        names = [name for name, _ in _leaves(parquet.schema_arrow, "")]
        for name in names:
            if names.count(name) > 1:
                raise SettingsError(f"{file.label} has two columns named {name!r}. Rename one of them.")
        require_columns(required, names, where=file.label)
        columns = wanted_columns(required, wanted, names)
        meta = parquet.metadata
        file.refuse_large(sum(meta.row_group(number).total_byte_size for number in range(meta.num_row_groups)))
        table = parquet.read(columns=columns)
    size = len(table)
    arrays = {}
    for name in columns:
        arrays[name] = _series(_column(table, name), keep_empty=keep_empty)
    progress(size)
    return Rows(frame_of(arrays, rows=size), lambda rows: [f"{file.label}, row {row + 1}" for row in rows])


@contextmanager
def _opened(file: File) -> Iterator[Any]:
    with file.open() as stream:
        if not stream.read(1):
            raise SettingsError(f"The file {file.label} is empty. Was the export finished?")
        stream.seek(0)
        try:
            yield pq.ParquetFile(stream)
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).partition(". ")[0].rstrip(".")
            raise SettingsError(f"{file.label} is not a Parquet file, or is cut off: {reason}.") from error


def _leaves(fields: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Names with dots and types of all columns that are not structs."""
    for field in fields:
        if pa.types.is_struct(field.type):
            yield from _leaves(field.type, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field.type


def _column(table: Any, name: str) -> Any:
    """The column at a path with dots; where a struct is null, so is everything in it."""
    known, column = list(table.column_names), None
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        if ".".join(parts[:cut]) in known:
            column, parts = table.column(".".join(parts[:cut])), parts[cut:]
            break
    assert column is not None
    while parts:
        known = [field.name for field in column.type]
        cut = next(cut for cut in range(len(parts), 0, -1) if ".".join(parts[:cut]) in known)
        column, parts = pc.struct_field(column, ".".join(parts[:cut])), parts[cut:]
    return column


def _info(kind: Any) -> Attribute:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if _is_list(kind):
        return Attribute(form=Form.STRUCTURE if pa.types.is_struct(kind.value_type) else Form.TEXT, count=Count.LIST)
    for test, form in (
        (pa.types.is_boolean, Form.BOOLEAN),
        (pa.types.is_integer, Form.INTEGER),
        (pa.types.is_floating, Form.DECIMAL),
        (pa.types.is_decimal, Form.DECIMAL),
        (pa.types.is_temporal, Form.DATE),
        (_is_binary, Form.BYTES),
        (pa.types.is_map, Form.STRUCTURE),
    ):
        if test(kind):
            return Attribute(form=form)
    return Attribute()


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _series(column: Any, *, keep_empty: bool) -> Any:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _series(column.cast(kind.value_type), keep_empty=keep_empty)
    if pa.types.is_boolean(kind):
        return boolean_series(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return text_series(column.cast(pa.large_string()), keep_empty=keep_empty)
    if pa.types.is_integer(kind) or pa.types.is_date(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return text_series(_exact(column), keep_empty=keep_empty)
    if pa.types.is_timestamp(kind):
        return text_series(_moments(column), keep_empty=keep_empty)
    grown = Column()
    for start in range(0, len(column), _CHUNK):
        values = column.slice(start, _CHUNK).to_pylist(maps_as_pydicts="strict" if pa.types.is_map(kind) else None)
        grown.add(values)
    return grown.finish(keep_empty=keep_empty)


def _exact(column: Any) -> Any:
    if pa.types.is_date64(column.type):
        column = column.cast(pa.date32())
    if pa.types.is_decimal(column.type) and column.type.scale < 0:
        column = column.cast(pa.decimal256(76, 0))
    return column.cast(pa.large_string())


def _moments(column: Any) -> Any:
    """ISO 8601 without a fraction of zeros; with ``Z`` where the file knows the zone."""
    zone = column.type.tz
    texts = column.cast(pa.timestamp(column.type.unit)).cast(pa.large_string())
    texts = pc.replace_substring(texts, " ", "T")
    texts = pc.replace_substring_regex(texts, r"(\.\d*[1-9])0+$|\.0+$", r"\1")
    nothing, utc = pa.scalar("", pa.large_string()), pa.scalar("Z", pa.large_string())
    return pc.binary_join_element_wise(texts, utc, nothing) if zone else texts
