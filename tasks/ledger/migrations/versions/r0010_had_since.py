"""Since when an entry had the account that was deleted."""

import sqlalchemy as sa
from alembic import op
from sqlmodel import UTCDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("log", sa.Column("had_since", UTCDateTime(), nullable=True), schema=_schema())


def downgrade() -> None:
    """Take it away."""
    op.drop_column("log", "had_since", schema=_schema())


def _schema() -> str | None:
    """Alembic's own statements name no schema by themselves."""
    return "provisor" if op.get_context().dialect.name == "postgresql" else None
