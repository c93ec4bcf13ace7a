"""New ledgers that cost little: what the migrations say for the first one of a process makes the tables of all others.

The statements are the same, in the same transaction; what is saved is Alembic, which takes longer than all of them.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, event, text

Upgrade = Callable[[Connection], None]

_NEW = {
    "sqlite": "SELECT count(*) = 0 FROM sqlite_master",
    "postgresql": "SELECT to_regnamespace('provisor') IS NULL",
}
"""Whether there is nothing yet: by dialect."""


def replaying(upgrade: Upgrade) -> Upgrade:
    """Like ``upgrade``, which is called for the first new ledger, and for each one that is not new."""
    known: dict[str, list[tuple[str, Any]]] = {}

    def upgrade_or_replay(connection: Connection) -> None:
        dialect = connection.dialect.name
        if not connection.execute(text(_NEW[dialect])).scalar():
            upgrade(connection)
        elif dialect not in known:
            known[dialect] = _noted(upgrade, connection)
        else:
            for statement, parameters in known[dialect]:
                connection.exec_driver_sql(statement, parameters)

    return upgrade_or_replay


def _noted(upgrade: Upgrade, connection: Connection) -> list[tuple[str, Any]]:
    """What an upgrade says to the database, but for its questions."""
    said: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            said.append((statement, parameters or None))

    event.listen(connection, "before_cursor_execute", note)
    try:
        upgrade(connection)
    finally:
        event.remove(connection, "before_cursor_execute", note)
    return said
