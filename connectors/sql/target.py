"""The tables of an app as a target: people, groups and memberships as rows, written in transactions.

Many changes go into one transaction, each behind a savepoint of its own, so that a refused row takes no other with it.
An update names what was there, and touches nothing when somebody else was quicker. Where an app lets nobody write its
tables, the job gives statements, which may call stored procedures, in the place of our own.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

import sqlalchemy as sa
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from connectors.columns import EdgeColumns, SwitchColumn, demand_both
from connectors.contract import Action, Attribute, Change, Family, Form, Kind, Sameness, Write
from connectors.errors import ErrorCode, SettingsError
from connectors.kit.system import (
    ENTRY,
    KEY,
    MEMBERS,
    Asked,
    Done,
    Edge,
    Effect,
    Held,
    Known,
    Limits,
    Look,
    Opening,
    Page,
    Partly,
    Refused,
    Sought,
    Step,
    Switch,
    System,
    Verdict,
)
from connectors.rows import text_of
from connectors.settings import Name, Settings
from connectors.sql.catalog import Tables, attributes_of, bound, reflect, require
from connectors.sql.database import place_of, without_written_password
from connectors.sql.writing import Database, Result, Statement

CHUNK = 10_000
"""Rows in one page of a listing."""
PACK = 200
"""Changes in one transaction."""
USUAL_SCHEMAS = ("public", "dbo")
"""Schemas that need not be said."""


# Settings


class EntryRows(Settings):
    """A table or view with one entry per row. Its columns are the attributes."""

    table: Name
    """Table or view, in the database's own spelling."""
    schema_name: Name | None = Field(default=None, alias="schema")
    """Schema of the table. Default: the database's search path."""
    key: Name
    """Column that identifies an entry for ever; the database may make its values."""


class PersonRows(EntryRows):
    """The same for people."""

    enabled: SwitchColumn | None = None
    """Column that disables an account. Without it, accounts cannot be disabled."""


class EdgeRows(EdgeColumns):
    """A table with one membership per row."""

    table: Name
    """Table or view."""
    schema_name: Name | None = Field(default=None, alias="schema")
    """Schema of the table."""


class Statements(Settings):
    """Statements of the job in the place of our own. They take columns as ``:name``, the key as ``:key``, and members
    as ``:group`` and ``:member``; those that create give the new key as the first value of their first row."""

    create_user: str | None = None
    update_user: str | None = None
    enable_user: str | None = None
    disable_user: str | None = None
    delete_user: str | None = None
    create_group: str | None = None
    update_group: str | None = None
    delete_group: str | None = None
    add_member: str | None = None
    remove_member: str | None = None


class SqlTargetSettings(Settings):
    """The database and the tables of the app."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(without_written_password)]
    """Address as SQLAlchemy writes it; the password must be a reference, and every part may be one."""
    users: PersonRows
    """One person per row."""
    groups: EntryRows | None = None
    """One group per row."""
    members: EdgeRows | None = None
    """One membership per row."""
    statements: Statements = Statements()
    """For apps that do not let anybody write their tables."""

    @model_validator(mode="after")
    def _members_need_groups(self) -> Self:
        demand_both(self.groups, self.members)
        return self

    def place(self, *, folder: Path) -> str:
        """The table of the people in its database, whatever driver speaks to it: two tables are two apps."""
        schema = self.users.schema_name
        table = self.users.table if schema in (None, *USUAL_SCHEMAS) else f"{schema}.{self.users.table}"
        return f"{place_of(self.url, folder=folder)}#{table}"

    def rows(self, kind: Kind) -> EntryRows:
        """The section of one kind."""
        rows = self.users if kind is Kind.USER else self.groups
        if rows is None:
            raise SettingsError("The job has groups, but its target has no section groups.")
        return rows


# Traits


def open_database(settings: SqlTargetSettings, opening: Opening) -> Database:
    """Opens nothing yet."""
    return Database(settings.url, folder=opening.folder, pace=opening.pace, clock=opening.clock)


async def traits(wire: Database, settings: SqlTargetSettings) -> Known:
    """What the catalog says. Raises: SettingsError for a table or column that is not there."""
    tables, unique = await wire.run(reflect, wire, settings)
    enabled, person = settings.users.enabled, settings.users
    people = attributes_of(tables.users, person.key, unique, users=tables.users)
    switch = None
    if enabled is not None:
        require(tables.users, enabled.column)
        switch = Switch.words(enabled.column, on=enabled.on, off=enabled.off)
    families: tuple[Family, ...] = ()
    groups: dict[str, Attribute] = {}
    if tables.groups is not None and settings.groups is not None:
        families = (Family("group", per_call=500),)
        groups = attributes_of(tables.groups, settings.groups.key, unique, users=tables.users)
    return Known(
        users=people,
        groups=groups,
        switch=switch,
        families=families,
        limits=Limits(find=500, fetch=500, page=CHUNK, pack=PACK, settles_in_s=2.0),
        settings=settings,
        facts={"tables": tables},
    )


async def check(wire: Database, known: Known) -> str:
    """Connects and names the tables."""
    tables: Tables = known.facts["tables"]
    names = [one.name for one in (tables.users, tables.groups, tables.members) if one is not None]
    await wire.run(_count, wire, tables.users)
    return f"The database {wire.address} can be read: {', '.join(names)}."


# Reading


def _count(wire: Database, columns: sa.Table) -> int:
    with wire.reading() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(columns)) or 0)


async def pages(wire: Database, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """All rows by key, in chunks of one transaction; edges with the last of them."""
    tables: Tables = known.facts["tables"]
    columns, key = tables.of(asked.kind), known.settings.rows(asked.kind).key
    chosen = _chosen(columns, key, asked.paths)
    reading = wire.reading()
    connection = await wire.run(reading.__enter__)
    try:
        count = sa.select(sa.func.count()).select_from(columns)
        total = int(await wire.run(connection.scalar, count))
        after: Any = None
        while True:
            statement = sa.select(*chosen).order_by(columns.c[key]).limit(CHUNK)
            if after is not None:
                statement = statement.where(columns.c[key] > after)
            found = await wire.run(_fetch, connection, statement)
            last = len(found) < CHUNK
            edges = await wire.run(_edges, connection, known, None) if last and asked.members else []
            after = None if last else found[-1][key]
            rows = [_row(row, key) for row in found]
            yield Page(rows, next=None if last else text_of(after), total=total, edges=edges)
            if last:
                return
    finally:
        await wire.run(reading.__exit__, None, None, None)


def _chosen(columns: sa.Table, key: str, paths: Sequence[str]) -> "list[sa.Column[Any]]":
    return [columns.c[name] for name in dict.fromkeys((key, *paths)) if name in columns.c]


def _fetch(connection: sa.Connection, statement: "sa.Select[Any]") -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in connection.execute(statement)]


def _row(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {KEY: text_of(row[key]), **row}


def _edges(connection: sa.Connection, known: Known, groups: Sequence[str] | None) -> list[Edge]:
    tables: Tables = known.facts["tables"]
    section, members = known.settings.members, tables.members
    if members is None:
        return []
    group, member = members.c[section.group], members.c[section.member]
    statement = sa.select(group, member)
    if groups is not None:
        statement = statement.where(group.in_(bound(group, groups)))
    found = connection.execute(statement)
    return [Edge(text_of(held), text_of(who)) for held, who in found if held is not None and who is not None]


async def look(wire: Database, known: Known, sought: Sought) -> Page:
    """Rows by key or by the value of a column, groups with their members."""
    found: Page = await wire.run(_look, wire, known, sought)
    return found


def _look(wire: Database, known: Known, sought: Sought) -> Page:
    columns, key = known.facts["tables"].of(sought.kind), known.settings.rows(sought.kind).key
    column = columns.c[key if sought.path == KEY else sought.path]
    compared: Any = column
    values = bound(column, sought.values)
    if known.attribute(sought.kind, column.name).same is Sameness.FOLDED and sought.path != KEY:
        compared, values = sa.func.lower(column), [str(value).lower() for value in values]
    with wire.reading() as connection:
        found = _fetch(connection, sa.select(*_chosen(columns, key, sought.paths)).where(compared.in_(values)))
        rows = [_row(row, key) for row in found]
        wants = sought.kind is Kind.GROUP and sought.path == KEY and rows
        edges = _edges(connection, known, [str(row[KEY]) for row in rows]) if wants else []
    return Page(rows, edges=edges)


# Writing

_NAMES = {
    Action.CREATE: "create",
    Action.UPDATE: "update",
    Action.MOVE: "update",
    Action.RENAME: "update",
    Action.ENABLE: "enable",
    Action.DISABLE: "disable",
    Action.DELETE: "delete",
}


def steps(known: Known, change: Change, held: Held | None) -> list[Step] | Done | Refused:
    """One step for each change; its request is the statements that it takes."""
    settings: SqlTargetSettings = known.settings
    if change.action in (Action.ADD_MEMBERS, Action.REMOVE_MEMBERS):
        joins = change.action is Action.ADD_MEMBERS
        template = settings.statements.add_member if joins else settings.statements.remove_member
        verb = "join" if joins else "leave"
        made = tuple(
            Statement(verb, Kind.GROUP, change.target_id, {"member": member}, template=template)
            for member in change.members
        )
        return [Step(made, {MEMBERS}, Effect.REPEATABLE, serial=f"group {change.target_id}", lane="write")]
    name = f"{_NAMES[change.action]}_{change.kind}"
    template = getattr(settings.statements, name, None)
    if template is None and change.action in (Action.ENABLE, Action.DISABLE):
        template = settings.statements.update_user
    values = dict(change.attributes)
    effect = Effect.REPEATABLE
    match change.action:
        case Action.CREATE:
            values = {path: value for path, value in values.items() if value is not None}
            statement, effect = Statement("insert", change.kind, None, values, template=template), Effect.ONCE
        case Action.DELETE:
            statement = Statement("delete", change.kind, change.target_id, template=template)
        case _:
            expected = {path: change.before[path] for path in values if _is_compared(known, change, path)}
            statement = Statement("update", change.kind, change.target_id, values, expected, template)
    does = {ENTRY} if change.action in (Action.CREATE, Action.DELETE) else set(values)
    return [Step((statement,), does, effect, lane="write")]


def _is_compared(known: Known, change: Change, path: str) -> bool:
    """Whether what was there before can be compared word for word in the statement."""
    attribute = known.attribute(change.kind, path)
    plain = (
        attribute.form in (Form.TEXT, Form.INTEGER, Form.BOOLEAN) and not attribute.several
    )  # references are anchors
    switch = known.switch is not None and change.kind is Kind.USER and path == known.switch.path
    return path in change.before and plain and not switch and attribute.write is not Write.BLIND


def verdict(known: Known, step: Step, answer: Any) -> Verdict:
    """What came of the statements of one step."""
    statements, results = step.request, answer
    if step.does == {MEMBERS}:
        refused = {
            str(statement.values["member"]): _refusal(result)
            for statement, result in zip(statements, results, strict=True)
            if result.code is not None
        }
        return Partly(refused) if refused else Done()
    result: Result = results[0]
    if result.code is not None:
        return _refusal(result)
    if statements[0].verb == "insert":
        return Done(result.key)
    if not result.rows and statements[0].template is None:
        return Look("The row was changed by somebody else meanwhile, or is gone.")
    return Done()


def _refusal(result: Result) -> Refused:
    return Refused(result.code or ErrorCode.UNPROCESSABLE_ENTITY, result.about, result.text)


def pack(known: Known, together: Sequence[Step]) -> tuple[Any, ...]:
    """One transaction."""
    return (known, [step.request for step in together])


def unpack(known: Known, together: Sequence[Step], answer: Any) -> Sequence[Any]:
    """The results of each step's statements."""
    return list(answer)


SYSTEM = System(
    name="sql",
    settings=SqlTargetSettings,
    open=open_database,
    traits=traits,
    check=check,
    pages=pages,
    look=look,
    steps=steps,
    verdict=verdict,
    pack=pack,
    unpack=unpack,
    in_flight=2,
)
