"""What a database's catalog says about the tables of an app, and values as its columns take them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from connectors.contract import Attribute, Count, Form, Kind, Reach, Sameness, Write
from connectors.errors import InvalidValueError, SettingsError
from connectors.kit.system import table
from connectors.kit.values import to_wire
from connectors.rows import nearest


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables as the catalog has them."""

    users: sa.Table
    groups: sa.Table | None
    members: sa.Table | None

    def of(self, kind: Kind) -> sa.Table:
        """The table of one kind."""
        found = self.users if kind is Kind.USER else self.groups
        if found is None:
            raise SettingsError("The job has groups, but its target has no section groups.")
        return found


def reflect(wire: Any, settings: Any) -> tuple[Tables, frozenset[tuple[str, str]]]:
    """The tables, and every table and column that is unique by itself."""
    metadata = sa.MetaData()
    unique: set[tuple[str, str]] = set()
    found: dict[str, sa.Table | None] = {}
    with wire.reading() as connection:
        inspector = sa.inspect(connection)
        for name in ("users", "groups", "members"):
            section: Any = getattr(settings, name)
            found[name] = None
            if section is None:
                continue
            try:
                made = sa.Table(section.table, metadata, schema=section.schema_name, autoload_with=connection)
            except sa.exc.NoSuchTableError:
                names = inspector.get_table_names(schema=section.schema_name)
                near = nearest(section.table, names)
                hint = f"Did you mean {near!r}?" if near else f"There are: {', '.join(sorted(names)[:20]) or 'none'}."
                raise SettingsError(f"The target has no table {section.table}. {hint}") from None
            found[name] = made
            if connection.dialect.name == "sqlite":
                _note_collations(connection, made)
            own = {"include_auto_indexes": True} if connection.dialect.name == "sqlite" else {}
            indexes = inspector.get_indexes(section.table, schema=section.schema_name, **own)
            constraints = inspector.get_unique_constraints(section.table, schema=section.schema_name)
            sets: list[Any] = [index["column_names"] for index in indexes if index["unique"]]
            sets += [constraint["column_names"] for constraint in constraints]
            sets.append([column.name for column in made.primary_key])
            unique |= {(section.table, str(columns[0])) for columns in sets if len(columns) == 1 and columns[0]}
    assert found["users"] is not None
    tables = Tables(found["users"], found["groups"], found["members"])
    for kind in Kind:
        if kind is Kind.USER or tables.groups is not None:
            require(tables.of(kind), settings.rows(kind).key)
    if tables.members is not None and settings.members is not None:
        require(tables.members, settings.members.group)
        require(tables.members, settings.members.member)
    return tables, frozenset(unique)


def _note_collations(connection: sa.Connection, columns: sa.Table) -> None:
    """What SQLite's columns do not say: their collation stands only in the statement that made the table."""
    query = sa.text("SELECT sql FROM sqlite_master WHERE name = :name")
    made = str(connection.scalar(query, {"name": columns.name}) or "")
    for column in columns.c:
        column.info["any_length"] = True  # SQLite takes text of any length, whatever the type says
        if re.search(rf"\b{re.escape(column.name)}\b[^,]*\bCOLLATE\s+NOCASE\b", made, re.IGNORECASE):
            column.info["folds"] = True


def require(columns: sa.Table, name: str) -> None:
    if name not in columns.c:
        near = nearest(name, columns.c.keys())
        hint = f"Did you mean {near!r}?" if near else f"Its columns: {', '.join(columns.c.keys())}."
        raise SettingsError(f"The table {columns.name} has no column {name!r}. {hint}")


def attributes_of(
    columns: sa.Table, key: str, unique: frozenset[tuple[str, str]], *, users: sa.Table
) -> dict[str, Attribute]:
    return table(
        *(
            Attribute(
                path=column.name,
                form=_form(column, users),
                count=Count.LIST if isinstance(column.type, sa.ARRAY) else Count.ONE,
                write=_write(column, key),
                same=_sameness(column),
                unique=Reach.SYSTEM if (columns.name, column.name) in unique else None,
                required=not column.nullable and not column.primary_key and not _is_filled(column),
                longest=None if column.info.get("any_length") else getattr(column.type, "length", None),
                refers_to=frozenset({Kind.USER}) if _refers_to(column, users) else frozenset(),
                set_by_system=column.computed is not None or column.name == key,
            )
            for column in columns.c
        )
    )


def _form(column: "sa.Column[Any]", users: sa.Table) -> Form:
    if _refers_to(column, users):
        return Form.REFERENCE
    match column.type:
        case sa.Boolean():
            return Form.BOOLEAN
        case sa.Integer():
            return Form.INTEGER
        case sa.Numeric():
            return Form.DECIMAL
        case sa.DateTime() | sa.Date():
            return Form.DATE
        case sa.LargeBinary():
            return Form.BYTES
        case sa.JSON():
            return Form.STRUCTURE
        case _:
            return Form.TEXT


def _refers_to(column: "sa.Column[Any]", users: sa.Table) -> bool:
    return any(key.column.table is users for key in column.foreign_keys)


def _write(column: "sa.Column[Any]", key: str) -> Write:
    if column.computed is not None:
        return Write.NEVER
    return Write.ON_CREATE if column.name == key else Write.ALWAYS


def _is_filled(column: "sa.Column[Any]") -> bool:
    return column.server_default is not None or column.identity is not None or column.computed is not None


def _sameness(column: "sa.Column[Any]") -> Sameness:
    if column.info.get("folds"):
        return Sameness.FOLDED
    collation = str(getattr(column.type, "collation", None) or "").lower()
    folds = "nocase" in collation or collation.endswith("_ci") or type(column.type).__name__ == "CITEXT"
    return Sameness.FOLDED if folds else Sameness.EXACT


def bound(column: "sa.Column[Any]", values: Sequence[str]) -> list[Any]:
    """The values as parameters of the column's type; a text that cannot be one is nobody's."""
    found = []
    for value in values:
        try:
            found.append(bind(column, value))
        except (ValueError, InvalidValueError):
            continue
    return found


def bind(column: "sa.Column[Any]", value: Any) -> Any:
    """A value as a parameter of the column's type. Raises: ValueError, InvalidValueError."""
    if value is None:
        return None
    match column.type:
        case sa.Boolean():
            return to_wire(Attribute(column.name, form=Form.BOOLEAN), value)
        case sa.Integer():
            return int(value)
        case sa.Date():
            from datetime import date

            return value if not isinstance(value, str) else date.fromisoformat(value[:10])
        case sa.DateTime():
            from datetime import datetime

            return value if not isinstance(value, str) else datetime.fromisoformat(value)
        case sa.Uuid():
            from uuid import UUID

            return UUID(str(value))
        case _:
            return value
