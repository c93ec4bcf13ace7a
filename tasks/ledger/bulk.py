"""The bulk paths: how many rows get in and out of each database at the speed of its driver.

Rows are tuples in the order of the columns named with them, times already as text (``Bulk.time``). On SQLite many of
them go into one statement, on PostgreSQL through COPY; rows that may be there already go through COPY into a temporary
table first. Both run inside the SQLAlchemy transaction they are given.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import chain, islice
from typing import Any, Protocol, TypeAlias

import orjson
import pandas as pd
import pyarrow as pa
from sqlalchemy import Connection, Table

from tasks.ledger.records import Modified
from tasks.ledger.tables import ATTEMPT, JOB, LINK, SCHEMA

Row: TypeAlias = Sequence[Any]

AT_ONCE = 256
"""Rows in one statement. After each statement the driver asks for the interpreter again, and while requests are being
sent that takes longer than to write a row.
"""
FETCH = 10_000
"""Rows fetched at a time: enough to make the calls cheap, few enough to keep the memory small."""

LINK_FRAME = ("anchor", "target_id", "fingerprint", "state", "label", "changed_at", "state_since")

_LINK_TYPES = pa.schema(
    [(name, pa.int64() if name == "fingerprint" else pa.large_string()) for name in LINK_FRAME],
)

FINISHED = ("change_id", "status", "ended_at", "target_id")
"""Columns of a row that says how an attempt ended."""

_SAME_TARGET = "{old}.target_id = excluded.target_id"
_KEEPS = {
    # An update knows nothing of how the link came to be, and does not make it younger; another target id is a new link.
    LINK: {
        "how": f"CASE WHEN {_SAME_TARGET} AND excluded.how = '' THEN {{old}}.how ELSE excluded.how END",
        "linked_at": f"CASE WHEN {_SAME_TARGET} THEN {{old}}.linked_at ELSE excluded.linked_at END",
        "state_since": (
            f"CASE WHEN {_SAME_TARGET} AND {{old}}.state = excluded.state THEN {{old}}.state_since"
            " ELSE excluded.state_since END"
        ),
        "former_id": f"CASE WHEN {_SAME_TARGET} THEN {{old}}.former_id ELSE {{old}}.target_id END",
    },
    JOB: {
        "created": "{old}.created",
        "target": "COALESCE(excluded.target, {old}.target)",
        "approval": "COALESCE(excluded.approval, {old}.approval)",
    },
}
"""What a row that is already there keeps when it is written again; everything else is replaced."""


class Bulk(Protocol):
    """What each database does in its own way."""

    def time(self, moment: datetime) -> str:
        """A moment as a row holds it. Raises: ValueError for a time without a zone."""
        ...

    def insert(self, connection: Connection, table: Table, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
        """Add rows that are new. Raises: the driver's IntegrityError when one is not."""
        ...

    def upsert(self, connection: Connection, table: Table, rows: Iterable[Row]) -> None:
        """Add rows of all columns, replacing those with the same primary key; a key comes once.

        Raises: the driver's IntegrityError when another unique value is taken.
        """
        ...

    def finish(self, connection: Connection, rows: Sequence[Row]) -> int:
        """Write how attempts ended, rows as ``FINISHED``; gives how many there were."""
        ...

    def links(self, connection: Connection, job: str, kind: str) -> pd.DataFrame:
        """All links of one kind as a frame of ``LINK_FRAME`` with the anchors as index, in their order."""
        ...

    def link_pairs(
        self, connection: Connection, job: str, kind: str, by: str, keys: Sequence[str]
    ) -> list[tuple[str, str]]:
        """Anchor and target id of the links whose column ``by`` is one of the keys."""
        ...

    def owners(
        self, connection: Connection, target: str, kind: str, ids: Sequence[str], *, but: str
    ) -> list[tuple[str, str]]:
        """Target id and job of those of these accounts of a target that any job ``but`` one owns."""
        ...

    def written(self, connection: Connection, job: str, kind: str, ids: Sequence[str]) -> list[tuple[str, bytes]]:
        """Target id and what was last written, of the links of these accounts of which that is known."""
        ...

    def delete(self, connection: Connection, table: Table, where: dict[str, str], by: str, keys: Sequence[str]) -> None:
        """Delete rows whose column ``by`` is one of the keys and whose other columns are as ``where`` says."""
        ...


def time_text(moment: datetime) -> str:
    """A moment as SQLAlchemy stores it on SQLite: in UTC, without saying so, and of fixed width, so that text sorts.

    Raises: ValueError for a time without a zone.
    """
    if moment.tzinfo is None:
        raise ValueError("a time in the ledger needs a time zone: pass datetime.now(UTC)")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def json_text(value: Sequence[Any] | Mapping[str, Any] | None) -> str | None:
    """JSON of anything attributes can hold; None for nothing, so that the column is null."""
    if not value:
        return None
    try:
        return _json(value)
    except TypeError:
        return _json(_cleaned(value))


def clean(text: str) -> str:
    """The text as every database takes it: PostgreSQL refuses NUL, nobody takes half a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode("utf-8")


def _json(value: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _cleaned(value: Any) -> Any:
    """A copy of a value that JSON refuses, made of what it takes."""
    match value:
        case None | bool() | float():
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case Modified():
            return {"name": clean(value.name), "old": _cleaned(value.old), "new": _cleaned(value.new)}
        case Mapping():
            return {clean(str(key)): _cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [_cleaned(item) for item in value]
    return clean(str(value))


class SqliteBulk:
    """Through the driver itself, without a detour through SQLAlchemy per row."""

    def time(self, moment: datetime) -> str:
        return time_text(moment)

    def insert(self, connection: Connection, table: Table, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
        _for_rows(connection, f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {{rows}}", rows)

    def upsert(self, connection: Connection, table: Table, rows: Iterable[Row]) -> None:
        into = f"{table.name} ({', '.join(_columns(table))})"
        _for_rows(connection, f"INSERT INTO {into} VALUES {{rows}} {_on_conflict(table)}", rows)

    def finish(self, connection: Connection, rows: Sequence[Row]) -> int:
        statement = (
            "UPDATE attempt SET status = ended.column2, ended_at = ended.column3, "
            "target_id = COALESCE(ended.column4, target_id), "
            "intent = CASE WHEN ended.column3 IS NULL THEN intent END "
            "FROM (VALUES {rows}) AS ended WHERE change_id = ended.column1"
        )
        return _for_rows(connection, statement, rows)

    def links(self, connection: Connection, job: str, kind: str) -> pd.DataFrame:
        cursor = _driver(connection).execute(
            # The order also makes SQLite walk the index that lies as the rows do.
            f"SELECT {', '.join(LINK_FRAME)} FROM link WHERE job = ? AND kind = ? ORDER BY anchor",
            (job, kind),
        )
        batches = []
        while rows := cursor.fetchmany(FETCH):
            # One flat list cut into strides is several times cheaper than transposing rows.
            cells = list(chain.from_iterable(rows))
            width = len(LINK_FRAME)
            arrays = [pa.array(cells[place::width], field.type) for place, field in enumerate(_LINK_TYPES)]
            batches.append(pa.record_batch(arrays, schema=_LINK_TYPES))
        return _frame(pa.Table.from_batches(batches, schema=_LINK_TYPES))

    def link_pairs(
        self, connection: Connection, job: str, kind: str, by: str, keys: Sequence[str]
    ) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = (
            _driver(connection)
            .execute(
                "SELECT anchor, target_id FROM link WHERE job = ? AND kind = ? "
                f"AND {by} IN (SELECT value FROM json_each(?))",
                (job, kind, _json_list(keys)),
            )
            .fetchall()
        )
        return pairs

    def owners(
        self, connection: Connection, target: str, kind: str, ids: Sequence[str], *, but: str
    ) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = (
            _driver(connection)
            .execute(
                "SELECT target_id, job FROM link WHERE target = ? AND kind = ? "
                "AND target_id IN (SELECT value FROM json_each(?)) AND job <> ?",
                (target, kind, _json_list(ids), but),
            )
            .fetchall()
        )
        return found

    def written(self, connection: Connection, job: str, kind: str, ids: Sequence[str]) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = (
            _driver(connection)
            .execute(
                "SELECT target_id, written FROM link WHERE job = ? AND kind = ? AND written IS NOT NULL "
                "AND target_id IN (SELECT value FROM json_each(?))",
                (job, kind, _json_list(ids)),
            )
            .fetchall()
        )
        return found

    def delete(self, connection: Connection, table: Table, where: dict[str, str], by: str, keys: Sequence[str]) -> None:
        terms = "".join(f"{name} = ? AND " for name in where)
        _driver(connection).execute(
            f"DELETE FROM {table.name} WHERE {terms}{by} IN (SELECT value FROM json_each(?))",
            (*where.values(), _json_list(keys)),
        )


class PostgresBulk:
    """Through COPY. Temporary tables are made once per connection and emptied by the database at every commit."""

    def time(self, moment: datetime) -> str:
        return time_text(moment) + "+00"

    def insert(self, connection: Connection, table: Table, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
        self._copy(connection, f"{SCHEMA}.{table.name} ({', '.join(columns)})", rows)

    def upsert(self, connection: Connection, table: Table, rows: Iterable[Row]) -> None:
        columns = ", ".join(_columns(table))
        waiting = self._waiting(connection, table.name, f"(LIKE {SCHEMA}.{table.name})")
        self._copy(connection, f"{waiting} ({columns})", rows)
        # Two jobs that want the same accounts wait for each other at each one; in one order, neither waits for ever.
        order = "ORDER BY kind, target_id" if table is LINK else ""
        _driver(connection).execute(
            f"INSERT INTO {SCHEMA}.{table.name} ({columns}) SELECT {columns} FROM {waiting} {order} "
            f"{_on_conflict(table)}"
        )

    def finish(self, connection: Connection, rows: Sequence[Row]) -> int:
        columns = "(change_id text, status text, ended_at timestamptz, target_id text)"
        waiting = self._waiting(connection, "finished", columns)
        self._copy(connection, f"{waiting} ({', '.join(FINISHED)})", rows)
        found: int = (
            _driver(connection)
            .execute(
                f"UPDATE {SCHEMA}.{ATTEMPT.name} AS a SET status = f.status, ended_at = f.ended_at, "
                "target_id = COALESCE(f.target_id, a.target_id), "
                "intent = CASE WHEN f.ended_at IS NULL THEN a.intent END "
                f"FROM {waiting} AS f WHERE a.change_id = f.change_id"
            )
            .rowcount
        )
        return found

    def links(self, connection: Connection, job: str, kind: str) -> pd.DataFrame:
        from pyarrow import csv

        query = f"SELECT {', '.join(LINK_FRAME)} FROM {SCHEMA}.{LINK.name} WHERE job = %s AND kind = %s ORDER BY anchor"
        statement = f"COPY ({query}) TO STDOUT (FORMAT csv, HEADER)"
        with _driver(connection).cursor().copy(statement, (job, kind)) as copy:
            text = pa.py_buffer(b"".join(copy))
        # PostgreSQL writes null as nothing and an empty text as "": quoted, nothing is null.
        table = csv.read_csv(
            text,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=_LINK_TYPES, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )
        return _frame(table)

    def link_pairs(
        self, connection: Connection, job: str, kind: str, by: str, keys: Sequence[str]
    ) -> list[tuple[str, str]]:
        pairs: list[tuple[str, str]] = (
            _driver(connection)
            .execute(
                f"SELECT anchor, target_id FROM {SCHEMA}.{LINK.name} WHERE job = %s AND kind = %s AND {by} = ANY(%s)",
                (job, kind, list(keys)),
            )
            .fetchall()
        )
        return pairs

    def owners(
        self, connection: Connection, target: str, kind: str, ids: Sequence[str], *, but: str
    ) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = (
            _driver(connection)
            .execute(
                f"SELECT target_id, job FROM {SCHEMA}.{LINK.name} WHERE target = %s AND kind = %s "
                "AND target_id = ANY(%s) AND job <> %s",
                (target, kind, list(ids), but),
            )
            .fetchall()
        )
        return found

    def written(self, connection: Connection, job: str, kind: str, ids: Sequence[str]) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = (
            _driver(connection)
            .execute(
                f"SELECT target_id, written FROM {SCHEMA}.{LINK.name} WHERE job = %s AND kind = %s "
                "AND written IS NOT NULL AND target_id = ANY(%s)",
                (job, kind, list(ids)),
            )
            .fetchall()
        )
        return found

    def delete(self, connection: Connection, table: Table, where: dict[str, str], by: str, keys: Sequence[str]) -> None:
        terms = "".join(f"{name} = %s AND " for name in where)
        _driver(connection).execute(
            f"DELETE FROM {SCHEMA}.{table.name} WHERE {terms}{by} = ANY(%s)", (*where.values(), list(keys))
        )

    def _copy(self, connection: Connection, into: str, rows: Iterable[Row]) -> None:
        with _driver(connection).cursor().copy(f"COPY {into} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def _waiting(self, connection: Connection, name: str, columns: str) -> str:
        waiting = f"pg_temp.ledger_{name}"
        driver = _driver(connection)
        driver.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS ledger_{name} {columns} ON COMMIT DELETE ROWS")
        # A savepoint that was rolled back emptied it, but a second call within one transaction finds the first's rows.
        driver.execute(f"DELETE FROM {waiting}")
        return waiting


def _for_rows(connection: Connection, statement: str, rows: Iterable[Row]) -> int:
    """Runs a statement on SQLite for ``{rows}``, many at a time; gives how many rows it touched."""
    driver, touched, remaining, text, size = _driver(connection), 0, iter(rows), "", 0
    while some := list(islice(remaining, AT_ONCE)):
        if len(some) != size:
            size, marks = len(some), f"({', '.join('?' * len(some[0]))})"
            text = statement.format(rows=", ".join([marks] * size))
        touched += driver.execute(text, list(chain.from_iterable(some))).rowcount
    return touched


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection


def _columns(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.columns)


@cache
def _on_conflict(table: Table) -> str:
    key = [column.name for column in table.primary_key.columns]
    keeps = _KEEPS.get(table, {})
    changes = ", ".join(
        f"{name} = {keeps.get(name, 'excluded.{name}').format(name=name, old=table.name)}"
        for name in _columns(table)
        if name not in key
    )
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes}"


def _json_list(keys: Sequence[str]) -> str:
    return orjson.dumps(list(keys)).decode()


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame.set_index("anchor")
