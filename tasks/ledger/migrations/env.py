"""Alembic's environment: runs on the connection it is given, as ``run.py`` sets it up."""

from alembic import context

from tasks.ledger.migrations import VERSION_TABLE
from tasks.ledger.tables import SCHEMA, LedgerModel

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=LedgerModel.metadata,
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA if connection.dialect.name == "postgresql" else None,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
