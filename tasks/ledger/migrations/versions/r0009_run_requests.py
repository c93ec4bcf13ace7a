"""Who has begun which run on the pages."""

import sqlalchemy as sa
from alembic import op
from sqlmodel import UTCDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "run_request",
        _text("key"),
        _text("job"),
        _text("login"),
        _text("purpose"),
        sa.Column("time", UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_run_request"),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("run_request")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False)
