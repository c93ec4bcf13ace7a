"""Up to which cycles of the jobs before it each cycle has looked."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("cycle", sa.Column("followed", sa.JSON(), nullable=True), schema=_schema())


def downgrade() -> None:
    """Take it away."""
    op.drop_column("cycle", "followed", schema=_schema())


def _schema() -> str | None:
    """Alembic's own statements name no schema by themselves."""
    return "provisor" if op.get_context().dialect.name == "postgresql" else None
