"""Runs the migrations; the only module of the ledger that imports Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

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
    """Bring the tables to the newest revision, within the transaction of the connection.

    Raises: LedgerError when the ledger is at a revision that this Provisor does not know.
    """
    if connection.dialect.name == "postgresql":
        _make_schema(connection)
    try:
        command.upgrade(configuration(connection), "head")
    except CommandError as error:
        raise LedgerError(
            "The ledger was written by a newer Provisor than this one. Update Provisor, or give it another ledger."
        ) from error


def _make_schema(connection: Connection) -> None:
    # IF NOT EXISTS asks for the right to create schemas even where ours was made beforehand by an administrator.
    there = text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
    if connection.execute(there, {"name": SCHEMA}).scalar() is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
