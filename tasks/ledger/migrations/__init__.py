"""The ledger's history of tables, kept by Alembic, which is imported only when a ledger is not up to date."""

HEAD = "0011"
"""Newest revision in ``versions``: what an open ledger must be at."""

VERSION_TABLE = "ledger_version"
"""Where the revision is kept; Alembic's own name is already taken where Prefect shares the database."""
