"""Runs the migrations; the only module of the ledger that imports Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from tasks.ledger.migrations import HEAD
from tasks.ledger.records import LedgerError
from tasks.ledger.tables import SCHEMA


def configuration(connection: Connection) -> Config:
    """Alembic's settings for one open connection, without a file."""
    config = Config()
    # The option is read with % interpolation; a folder name may hold one.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest revision, within the transaction of the connection."""
    if connection.dialect.name == "postgresql":
        _make_schema(connection)
    command.upgrade(configuration(connection), "head")


def refuse_newer(connection: Connection, revision: str | None, place: str) -> None:
    """Passes when the revision is one that this Provisor knows; ``place`` is where the ledger is.

    Raises: LedgerError.
    """
    if revision is None:  # a new ledger
        return
    known = {one.revision for one in ScriptDirectory.from_config(configuration(connection)).walk_revisions()}
    if revision not in known:
        raise LedgerError(
            f"The ledger {place} was written by a newer Provisor: its tables are at revision {revision}, and this "
            f"version supports up to {HEAD}. Update Provisor, or use another ledger."
        )


def _make_schema(connection: Connection) -> None:
    # IF NOT EXISTS asks for the right to create schemas even where ours was made beforehand by an administrator.
    there = text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
    if connection.execute(there, {"name": SCHEMA}).scalar() is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
