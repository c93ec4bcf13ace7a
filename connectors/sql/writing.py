"""Statements carried out in transactions, and what a database's refusals mean."""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from connectors.contract import Kind, Pace
from connectors.errors import (
    CredentialsError,
    ErrorCode,
    InvalidValueError,
    RetryableError,
    SettingsError,
    UnknownOutcomeError,
)
from connectors.kit.wires import BlockingWire
from connectors.rows import text_of
from connectors.sql.catalog import Tables, bind
from connectors.sql.database import label_of, make_engine, not_connected, one_moment
from connectors.throttle import Clock

_SQLITE_COLUMN = re.compile(r"constraint failed: (?:\w+\.)?(\w+)")
_CODES = {
    "23505": ErrorCode.CONFLICT,
    "23P01": ErrorCode.CONFLICT,
    "23502": ErrorCode.MISSING_VALUES,
    "23503": ErrorCode.UNRESOLVED_REFERENCE,
    "23514": ErrorCode.UNPROCESSABLE_ENTITY,
    "42501": ErrorCode.INSUFFICIENT_RIGHTS,
    "SQLITE_CONSTRAINT_UNIQUE": ErrorCode.CONFLICT,
    "SQLITE_CONSTRAINT_PRIMARYKEY": ErrorCode.CONFLICT,
    "SQLITE_CONSTRAINT_NOTNULL": ErrorCode.MISSING_VALUES,
    "SQLITE_CONSTRAINT_FOREIGNKEY": ErrorCode.UNRESOLVED_REFERENCE,
}
_TEXTS = {
    ErrorCode.CONFLICT: "Another row has this value, and it must be unique.",
    ErrorCode.MISSING_VALUES: "The column must have a value.",
    ErrorCode.UNRESOLVED_REFERENCE: "It refers to a row that is not there.",
    ErrorCode.INSUFFICIENT_RIGHTS: "The database user may not do this.",
    ErrorCode.UNPROCESSABLE_ENTITY: "The database does not accept a value.",
}
_WHOLE = frozenset({"40001", "40P01", "55P03", "SQLITE_BUSY", "SQLITE_LOCKED"})
"""The whole transaction was undone, and may be tried again."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One write of one row, as data."""

    verb: str
    """insert, update, delete, join or leave."""
    kind: Kind
    key: str | None
    values: Mapping[str, Any] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)
    """What the row must hold for an update to touch it."""
    template: str | None = None
    """The job's own statement."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one statement."""

    rows: int = 0
    key: str | None = None
    code: ErrorCode | None = None
    about: str = ""
    text: str = ""


class Database(BlockingWire):
    """The wire to a database: one request is one transaction."""

    def __init__(self, url: str, *, folder: Path, pace: Pace, clock: Clock) -> None:
        super().__init__(self._transact, pace=pace, close=self._dispose, clock=clock)
        self.address = label_of(url)
        self._url, self._folder = url, folder
        self._kept: Engine | None = None
        self._lock = threading.Lock()
        self._one_writer = threading.Lock()

    def engine(self) -> Engine:
        """The engine, made once. Raises: SettingsError."""
        with self._lock:
            if self._kept is None:
                self._kept = make_engine(self._url, folder=self._folder)
            return self._kept

    def _dispose(self) -> None:
        if self._kept is not None:
            self._kept.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one moment and writes nothing. Raises: FatalError."""
        with one_moment(self.engine(), label=self.address) as connection:
            yield connection

    # -- one transaction -----------------------------------------------------------------------------------------------

    def _transact(self, request: tuple[Any, Sequence[Sequence[Statement]]]) -> list[list[Result]]:
        """All statements, each behind a savepoint; gives their results, step by step.

        Raises: RetryableError where nothing has taken effect, UnknownOutcomeError where the commit was not answered,
        CredentialsError, UnreachableError.
        """
        known, steps = request
        engine = self.engine()
        alone = engine.dialect.name == "sqlite"
        if alone:
            self._one_writer.acquire()
        try:
            return self._in_transaction(engine, known, steps)
        finally:
            if alone:
                self._one_writer.release()

    def _in_transaction(self, engine: Engine, known: Any, steps: Sequence[Sequence[Statement]]) -> list[list[Result]]:
        try:
            connection = engine.connect()
        except DBAPIError as error:
            failure = not_connected(error, engine.url, self.address)
            if isinstance(failure, CredentialsError | SettingsError):
                raise failure from None
            raise RetryableError(str(failure)) from None
        with connection:
            try:
                if engine.dialect.name == "sqlite":
                    connection.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
                    connection.exec_driver_sql("PRAGMA foreign_keys = ON")
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                results = [[self._one(connection, known, one) for one in statements] for statements in steps]
            except DBAPIError as error:
                raise self._undone(error) from None
            try:
                if engine.dialect.name == "sqlite":
                    connection.exec_driver_sql("COMMIT")
                else:
                    connection.commit()
            except DBAPIError as error:
                if _state(error) in _WHOLE or (_state(error).startswith("23") and not error.connection_invalidated):
                    raise self._undone(error) from None
                raise UnknownOutcomeError("The database did not confirm the commit.") from None
            return results

    def _undone(self, error: DBAPIError) -> RetryableError:
        """The transaction has had no effect, because it was never committed."""
        why = "wants the transaction to be tried again" if _state(error) in _WHOLE else "closed the connection"
        return RetryableError(f"The database {self.address} {why}.", code=ErrorCode.INTERNAL_SERVER_ERROR)

    def _one(self, connection: Connection, known: Any, statement: Statement) -> Result:
        """One statement. Raises: DBAPIError where the whole transaction is lost."""
        try:
            prepared, parameters = statement_of(connection, known, statement)
        except (ValueError, InvalidValueError) as error:
            return Result(code=ErrorCode.UNPROCESSABLE_ENTITY, text=str(error))
        connection.exec_driver_sql("SAVEPOINT one")
        try:
            cursor = connection.execute(prepared, parameters)
            key = None
            if statement.verb == "insert" and cursor.returns_rows:
                row = cursor.first()
                key = None if row is None or row[0] is None else text_of(row[0])
            rows = cursor.rowcount
            if (why := _not_as_meant(connection, known, statement, rows)) is not None:
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT one")
                connection.exec_driver_sql("RELEASE SAVEPOINT one")
                return Result(code=ErrorCode.UNPROCESSABLE_ENTITY, text=why)
        except DBAPIError as error:
            if error.connection_invalidated or _state(error) in _WHOLE or _is_lost(error):
                raise
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT one")
            connection.exec_driver_sql("RELEASE SAVEPOINT one")
            return _refused(error, known, statement)
        except SQLAlchemyError as error:
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT one")
            connection.exec_driver_sql("RELEASE SAVEPOINT one")
            return Result(
                code=ErrorCode.UNPROCESSABLE_ENTITY, text=f"The statement cannot be made: {type(error).__name__}."
            )
        connection.exec_driver_sql("RELEASE SAVEPOINT one")
        return Result(rows=rows, key=key)


def statement_of(connection: Connection, known: Any, statement: Statement) -> tuple[Any, dict[str, Any]]:
    """What is executed, and its parameters. Raises: ValueError, InvalidValueError."""
    tables: Tables = known.facts["tables"]
    if statement.verb in ("join", "leave"):
        return _edge_statement(tables, known.settings.members, statement)
    columns, key = tables.of(statement.kind), known.settings.rows(statement.kind).key
    values = {name: bind(columns.c[name], value) for name, value in statement.values.items() if name in columns.c}
    held = None if statement.key is None else bind(columns.c[key], statement.key)
    if statement.template is not None:
        names = sa.text(statement.template).compile().params
        given = {**dict.fromkeys(names), **{name: value for name, value in values.items() if name in names}}
        return sa.text(statement.template), given | ({"key": held} if "key" in names else {})
    match statement.verb:
        case "insert":
            return sa.insert(columns).values(values).returning(columns.c[key]), {}
        case "delete":
            return sa.delete(columns).where(columns.c[key] == held), {}
        case _:
            made = sa.update(columns).where(columns.c[key] == held)
            for name, before in statement.expected.items():
                made = made.where(columns.c[name].is_not_distinct_from(bind(columns.c[name], before)))
            return made.values(values), {}


def _not_as_meant(connection: Connection, known: Any, statement: Statement, rows: int) -> str | None:
    """Why a statement of ours did not do what it says, None where it did: more rows than one, or a switch that stays.

    A trigger may take every statement and change nothing; who was to lose access has it then.
    """
    if statement.template is not None or statement.verb not in ("update", "delete"):
        return None
    if rows > 1:
        return f"{rows} rows have this key; none of them was changed. The key column must tell them apart."
    path = known.switch.path if known.switch is not None and statement.kind is Kind.USER else None
    if statement.verb != "update" or rows != 1 or path is None or path not in statement.values:
        return None
    tables: Tables = known.facts["tables"]
    columns, key = tables.of(statement.kind), known.settings.rows(statement.kind).key
    wanted = columns.c[path].is_not_distinct_from(bind(columns.c[path], statement.values[path]))
    look = sa.select(sa.func.count()).where(columns.c[key] == bind(columns.c[key], statement.key), wanted)
    if connection.scalar(look):
        return None
    return f"The database took the change, and {path} holds another value afterwards: does a trigger set it?"


def _edge_statement(tables: Any, section: Any, statement: Statement) -> tuple[Any, dict[str, Any]]:
    members = tables.members
    group, member = members.c[section.group], members.c[section.member]
    pair = {"group": bind(group, statement.key), "member": bind(member, statement.values["member"])}
    if statement.template is not None:
        return sa.text(statement.template), pair
    same = sa.and_(group == pair["group"], member == pair["member"])
    if statement.verb == "leave":
        return sa.delete(members).where(same), {}
    values = sa.select(sa.literal(pair["group"], group.type), sa.literal(pair["member"], member.type))
    return sa.insert(members).from_select([group, member], values.where(~sa.exists().where(same))), {}


def _state(error: DBAPIError) -> str:
    """The SQLSTATE, or SQLite's name for it."""
    return str(getattr(error.orig, "sqlstate", None) or getattr(error.orig, "sqlite_errorname", None) or "")


def _is_lost(error: DBAPIError) -> bool:
    state = _state(error)
    return state.startswith(("08", "57P")) or (type(error).__name__ == "OperationalError" and not state)


def _refused(error: DBAPIError, known: Any, statement: Statement) -> Result:
    """What a refused statement means; the driver's text holds values, so that only names are taken from it."""
    state = _state(error)
    code = _CODES.get(state, ErrorCode.UNPROCESSABLE_ENTITY)
    about = ""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None:
        about = diagnosis.column_name or _column_of(known, statement, diagnosis.constraint_name or "")
    elif match := _SQLITE_COLUMN.search(str(error.orig)):
        about = match[1]
    if statement.verb in ("join", "leave") and code is ErrorCode.UNRESOLVED_REFERENCE:
        return Result(code=ErrorCode.INVALID_ANCHOR, about=about, text="The user or the group is not there.")
    return Result(code=code, about=about, text=f"{_TEXTS.get(code, _TEXTS[ErrorCode.UNPROCESSABLE_ENTITY])} ({state})")


def _column_of(known: Any, statement: Statement, constraint: str) -> str:
    """The column that a constraint is about, by the name that databases give it: ``table_column_key``."""
    columns = known.facts["tables"].of(statement.kind)
    for one in columns.constraints:
        if one.name == constraint and len(getattr(one, "columns", ())) == 1:
            return str(next(iter(one.columns)).name)
    for index in columns.indexes:
        if index.name == constraint and len(index.columns) == 1:
            return str(next(iter(index.columns)).name)
    inside = constraint.removeprefix(f"{columns.name}_").rpartition("_")[0]
    return inside if inside in columns.c else ""
