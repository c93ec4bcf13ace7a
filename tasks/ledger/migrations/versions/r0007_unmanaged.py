"""Accounts that belong to no entry, as the last listing of each target showed them."""

import sqlalchemy as sa
from alembic import op
from sqlmodel import UTCDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "unmanaged",
        _text("job"),
        _text("kind"),
        _text("target_id"),
        _text("label"),
        _text("login"),
        sa.Column("since", UTCDateTime(), nullable=False),
        _text("made_for", nullable=True),
        sa.PrimaryKeyConstraint("job", "kind", "target_id", name="pk_unmanaged"),
    )


def downgrade() -> None:
    """Take it away."""
    op.drop_table("unmanaged")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=nullable)
