"""Reads entries from any database that SQLAlchemy speaks to: a table, a view or a query each.

One read is one transaction, so users, groups and members agree. Rows arrive in chunks that become Arrow at once: memory
holds the frames and one chunk. With a watermark column a later read asks only for rows that changed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

import pandas as pd
import sqlalchemy as sa
from pydantic import AfterValidator, ConfigDict, Field, model_validator
from sqlalchemy.engine import Connection, Engine, Row
from sqlalchemy.exc import NoSuchTableError

from connectors.cells import tidy
from connectors.contract import Attribute, Count, Form, Kind, Pace, Snapshot, Target, Wanted, no_entries, no_members
from connectors.errors import SettingsError
from connectors.registry import Connector
from connectors.rows import (
    Checked,
    Column,
    EdgeSection,
    EntrySection,
    Name,
    PersonSection,
    Rows,
    all_keys,
    aside_of,
    check_edges,
    check_entries,
    frame_of,
    nearest,
    require_columns,
    wanted_columns,
)
from connectors.settings import Settings
from connectors.sql import watermark
from connectors.sql.database import label_of, make_engine, one_moment, without_written_password
from connectors.sql.target import SYSTEM, SqlTargetSettings

Progress = Callable[[int], None]

_CHUNK = 10_000
"""Rows fetched at once."""


# Settings


class TableSection(Settings):
    """Where rows come from: a table or view, or a query."""

    table: Name | None = None
    """Table or view, in the database's own spelling."""
    query: Name | None = None
    """A select statement, instead of a table."""
    schema_name: Name | None = Field(default=None, alias="schema")
    """Schema of the table. Default: the database's search path."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("give either table or query")
        if self.query is not None and self.schema_name is not None:
            raise ValueError("schema belongs to table; in a query write it before the table's name")
        return self


class EntryTable(TableSection):
    """The same for entries."""

    watermark: Name | None = None
    """Column that increases with every change of a row, like a modification time; with it an incremental cycle reads
    less."""
    overlap_s: Annotated[int, Field(ge=0, le=86_400)] = 900
    """Seconds by which each read overlaps the previous one, because a row may be committed late with an earlier
    timestamp. Must exceed the longest transaction that writes to the table."""
    overlap_numbers: Annotated[int, Field(ge=0)] = 1000
    """The same for a column of numbers or row versions: more than concurrent transactions use up."""


class PersonTable(PersonSection, EntryTable):
    """Rows with one person each."""


class GroupTable(EntrySection, EntryTable):
    """Rows with one group each."""


class EdgeTable(EdgeSection, TableSection):
    """Rows with one membership each; they are always read in full."""


class SqlSettings(Settings):
    """The database and its tables."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(without_written_password)]
    """Address as SQLAlchemy writes it; the password must be a reference, and every part may be one."""
    users: PersonTable
    """One person per row."""
    groups: GroupTable | None = None
    """One group per row."""
    members: EdgeTable | None = None
    """One membership per row."""

    @model_validator(mode="after")
    def _members_need_groups(self) -> Self:
        if self.members is not None and self.groups is None:
            raise ValueError("members are given without groups: add groups: {table, key}")
        return self


# Source


@dataclass(slots=True)
class _Session:
    """One transaction's reading: what is known when it begins, and what adds up."""

    connection: Connection
    label: str
    since: Mapping[str, Any] = field(default_factory=dict)
    progress: Progress | None = None
    statements: int = 0
    entries: int = 0
    seen: dict[str, Any] = field(default_factory=dict)
    """Greatest watermark by section."""
    everybody: dict[Kind, pd.Index] = field(default_factory=dict)
    """Kinds of which only rows that changed are read, with the keys of all rows."""


class SqlSource:
    """Entries in a database. A connection is open only while something is read."""

    def __init__(self, settings: SqlSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._label = label_of(settings.url)
        self._kept: Engine | None = None

    def _engine(self) -> Engine:
        if self._kept is None:
            self._kept = make_engine(self._settings.url, folder=self._folder)
        return self._kept

    def check(self) -> str:
        """Connect and look at the columns. Raises: FatalError."""
        found = []
        with one_moment(self._engine(), label=self._label) as connection:
            for name in ("users", "groups", "members"):
                section: PersonTable | GroupTable | EdgeTable | None = getattr(self._settings, name)
                if section is not None:
                    columns = _columns(connection, section, _where(section, name))
                    require_columns(_required(section), columns, where=_where(section, name))
                    found.append(f"{_where(section, name)} ({len(columns)} columns)")
        return f"The database {self._label} can be read: {', '.join(found)}."

    def attributes(self, kind: Kind) -> Mapping[str, Attribute] | None:
        """Columns of the table or query. Raises: FatalError."""
        section = self._settings.users if kind is Kind.USER else self._settings.groups
        if section is None:
            return {}
        with one_moment(self._engine(), label=self._label) as connection:
            return _columns(connection, section, _where(section, f"{kind}s"))

    def read(self, wanted: Wanted, *, since: str | None = None, progress: Progress | None = None) -> Snapshot:
        """Everything, or the rows that changed since ``since`` where a watermark column is configured.

        Rows of the overlap before ``since`` come again, for others may have been committed late, with an earlier mark.
        So do rows whose watermark is null. Raises: FatalError.
        """
        settings, read_at, before = self._settings, datetime.now(UTC), watermark.decode(since)
        groups, members = no_entries(), no_members()
        with one_moment(self._engine(), label=self._label) as connection:
            session = _Session(connection, self._label, before, progress)
            users = _read_entries(session, settings.users, Kind.USER, wanted.users)
            parts = [users]
            if wanted.groups is not None and settings.groups is not None:
                parts.append(_read_entries(session, settings.groups, Kind.GROUP, wanted.groups))
                groups = parts[-1].frame
                if settings.members is not None:
                    parts.append(_read_edges(session, settings.members))
                    members = parts[-1].frame
        return Snapshot(
            system=f"sql {self._label}",
            users=users.frame,
            groups=groups,
            members=members,
            read_at=read_at,
            incomplete=tuple(sentence for part in parts for sentence in part.incomplete),
            unreadable=tuple(row for part in parts for row in part.unreadable),
            disabled=users.disabled,
            set_aside=aside_of(parts),
            remarks=tuple(remark for part in parts for remark in part.remarks),
            watermark=watermark.encode(session.seen),
            requests=session.statements,
            everybody=session.everybody,
        )

    def close(self) -> None:
        """Let go of the engine; a later call makes another."""
        if self._kept is not None:
            self._kept.dispose()
            self._kept = None


def _where(section: TableSection, name: str) -> str:
    """What people call the rows."""
    if section.table is None:
        return f"the query of {name}"
    return f"table {section.schema_name}.{section.table}" if section.schema_name else f"table {section.table}"


def _required(section: PersonTable | GroupTable | EdgeTable) -> tuple[str, ...]:
    if isinstance(section, EntryTable) and section.watermark is not None:
        return tuple(dict.fromkeys((*section.required, section.watermark)))
    return section.required


# Columns


def _columns(connection: Connection, section: TableSection, where: str) -> dict[str, Attribute]:
    """Columns by name. Raises: SettingsError for a table that is not there, with the nearest that is."""
    if section.table is None:
        result = connection.execute(_query(section), execution_options={"stream_results": True})
        names = _unique(result.keys(), where)
        result.close()
        return {name: Attribute() for name in names}
    inspector = sa.inspect(connection)
    try:
        described = inspector.get_columns(section.table, schema=section.schema_name)
    except NoSuchTableError:
        names = [
            *inspector.get_table_names(schema=section.schema_name),
            *inspector.get_view_names(schema=section.schema_name),
        ]
        near = nearest(section.table, names)
        hint = f"Did you mean {near!r}?" if near else f"There are: {', '.join(sorted(names)[:20]) or 'none'}."
        raise SettingsError(f"There is no {where}. {hint}") from None
    return {str(column["name"]): _info(column["type"], required=not column["nullable"]) for column in described}


def _info(kind: object, *, required: bool) -> Attribute:
    match kind:
        case sa.Boolean():
            form = Form.BOOLEAN
        case sa.Integer():
            form = Form.INTEGER
        case sa.Numeric():
            form = Form.DECIMAL
        case sa.DateTime() | sa.Date():
            form = Form.DATE
        case sa.LargeBinary():
            form = Form.BYTES
        case sa.JSON():
            form = Form.STRUCTURE
        case sa.ARRAY():
            return Attribute(count=Count.LIST, required=required)
        case _:
            form = Form.TEXT
    return Attribute(form=form, required=required)


def _unique(names: Iterable[str], where: str) -> list[str]:
    found: list[str] = []
    for name in names:
        if name in found:
            raise SettingsError(f"{where.capitalize()} gives two columns named {name!r}. Rename one of them with AS.")
        found.append(name)
    return found


# Statements


def _query(section: TableSection, condition: str = "") -> sa.TextClause:
    """The job's query, word for word; with a condition, as a subquery."""
    assert section.query is not None
    text = section.query.strip().rstrip(";")
    # A colon would begin a parameter.
    text = text.replace(":", r"\:")
    return sa.text(f"SELECT * FROM ({text}) AS changed WHERE {condition}" if condition else text)


def _changed(connection: Connection, section: EntryTable, since: Any) -> Any:
    """Statement for rows that changed at or after ``since`` or do not say when, as text of a query."""
    assert section.watermark is not None
    name = connection.dialect.identifier_preparer.quote(section.watermark)
    return _query(section, f"changed.{name} >= :since OR changed.{name} IS NULL").bindparams(since=since)


def _read_rows(
    session: _Session,
    section: PersonTable | GroupTable | EdgeTable,
    name: str,
    wanted: Sequence[str],
    *,
    since: Any = None,
) -> Rows:
    """Rows of a section; with ``since``, a value of its watermark column, only those that changed."""
    where, required = _where(section, name), _required(section)
    flags: set[str] = set()
    statement: Any
    if section.table is not None:
        known = _columns(session.connection, section, where)
        require_columns(required, known, where=where)
        columns = wanted_columns(required, wanted, known)
        flags = {column for column in columns if known[column].form is Form.BOOLEAN}
        statement = sa.select(*map(sa.column, columns)).select_from(sa.table(section.table, schema=section.schema_name))
        if since is not None and isinstance(section, EntryTable) and section.watermark:
            changed: sa.ColumnClause[Any] = sa.column(section.watermark)
            statement = statement.where(sa.or_(changed >= since, changed.is_(None)))
    elif since is not None and isinstance(section, EntryTable):
        statement = _changed(session.connection, section, since)
    else:
        statement = _query(section)
    options = {"stream_results": True, "yield_per": _CHUNK}
    result = session.connection.execute(statement, execution_options=options)
    session.statements += 1
    try:
        names = _unique(result.keys(), where)
        require_columns(required, names, where=where)
        columns = wanted_columns(required, wanted, names)
        rows = _collect(session, section, name, result.partitions(), names, columns, flags)
    finally:
        result.close()
    return rows


def _collect(
    session: _Session,
    section: PersonTable | GroupTable | EdgeTable,
    name: str,
    chunks: Iterable[Sequence[Row[Any]]],
    names: list[str],
    columns: list[str],
    flags: set[str],
) -> Rows:
    """Chunks of rows as one frame; keeps the greatest watermark and tells the progress."""
    grown = {column: Column() for column in columns}
    marks = section.watermark if isinstance(section, EntryTable) else None
    greatest, count = session.since.get(name) if marks else None, 0
    for chunk in chunks:
        cells = dict(zip(names, zip(*chunk, strict=True), strict=True))
        for column in columns:
            grown[column].add(_truth(cells[column]) if column in flags else cells[column])
        if marks is not None:
            greatest = watermark.greatest([greatest, *cells[marks]], column=marks)
        count += len(chunk)
        if session.progress is not None and isinstance(section, EntryTable):
            session.progress(session.entries + count)
    if isinstance(section, EntryTable):
        session.entries += count
    if greatest is not None:
        session.seen[name] = greatest
    frame = frame_of({c: grown[c].finish(keep_empty=_keeps_empty(section)) for c in columns}, rows=count)
    where, key = _where(section, name), section.required[0]

    def places(numbers: Sequence[int]) -> list[str]:
        keys = frame[key].iloc[list(numbers)]
        missing = keys.isna()
        return [
            f"{where}, row {number + 1} as read" if absent else f"{where}, row with {key} {value}"
            for number, value, absent in zip(numbers, keys, missing, strict=True)
        ]

    return Rows(frame, places)


def _keeps_empty(section: PersonTable | GroupTable | EdgeTable) -> bool:
    return not isinstance(section, EdgeTable) and section.keep_empty


def _truth(values: Sequence[object]) -> Sequence[object]:
    """Databases without booleans keep 0 and 1 in a column that is declared as one."""
    if any(type(value) is int for value in values):
        return [bool(value) if type(value) is int and value in (0, 1) else value for value in values]
    return values


def _read_entries(session: _Session, section: PersonTable | GroupTable, kind: Kind, wanted: Sequence[str]) -> Checked:
    """Entries of a section: those that changed where everybody who is there can be told by their keys, else all."""
    name = f"{kind}s"
    since = session.since.get(name) if section.watermark else None
    if since is not None:
        overlap = timedelta(seconds=section.overlap_s)
        since = watermark.reaching_back(since, moments=overlap, numbers=section.overlap_numbers)
    keys = _read_keys(session, section, name) if since is not None else None
    if keys is not None:
        session.everybody[kind] = keys
    rows = _read_rows(session, section, name, wanted, since=since if keys is not None else None)
    return check_entries(rows, section, kind, wanted=wanted, where=_where(section, name))


def _read_keys(session: _Session, section: PersonTable | GroupTable, name: str) -> pd.Index | None:
    """The keys of all rows; None where one is missing or comes twice, which only a look at the rows can tell apart."""
    key: Any = sa.column(section.key)
    if section.table is not None:
        statement: Any = sa.select(key).select_from(sa.table(section.table, schema=section.schema_name))
    else:
        quoted = session.connection.dialect.identifier_preparer.quote(section.key)
        statement = sa.text(f"SELECT {quoted} FROM ({_query(section).text}) AS everybody")
    column = Column()
    result = session.connection.execute(statement, execution_options={"stream_results": True, "yield_per": _CHUNK})
    session.statements += 1
    try:
        for chunk in result.scalars().partitions():
            column.add(chunk)
    finally:
        result.close()
    keys = column.finish(keep_empty=True)
    return all_keys(keys if section.verbatim else tidy(keys, keep_empty=True), section.key, _where(section, name))


def _read_edges(session: _Session, section: EdgeTable) -> Checked:
    rows = _read_rows(session, section, "members", ())
    return check_edges(rows, section, where=_where(section, "members"))


def _open_source(settings: SqlSettings, *, folder: Path) -> SqlSource:
    return SqlSource(settings, folder)


def _open_target(settings: SqlTargetSettings, *, folder: Path, pace: Pace) -> Target:
    from connectors.kit import KitTarget

    return KitTarget(SYSTEM, settings, folder=folder, pace=pace)


CONNECTOR = Connector(
    name="sql",
    title="Databases: tables, views and queries, by SQLAlchemy",
    source_settings=SqlSettings,
    open_source=_open_source,
    target_settings=SqlTargetSettings,
    open_target=_open_target,
)
