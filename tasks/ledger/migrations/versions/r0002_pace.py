"""Who is loading which target now."""

import sqlalchemy as sa
from alembic import op
from sqlmodel import UTCDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "pace",
        sa.Column("target", text, nullable=False),
        sa.Column("worker", text, nullable=False),
        sa.Column("until", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("target", "worker", name="pk_pace"),
    )


def downgrade() -> None:
    """Leave nothing."""
    op.drop_table("pace")
