"""What an attempt was about, what was written attribute by attribute, and the account that an entry had before."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

HAD_ANOTHER = sa.text("former_id IS NOT NULL")


def upgrade() -> None:
    """Add three columns, and an index over the few links that had another account before."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    schema = _schema()
    op.add_column("attempt", sa.Column("intent", text, nullable=True), schema=schema)
    op.add_column("link", sa.Column("written", sa.LargeBinary(), nullable=True), schema=schema)
    op.add_column("link", sa.Column("former_id", text, nullable=True), schema=schema)
    op.create_index("ix_link_former", "link", ["job", "kind"], sqlite_where=HAD_ANOTHER, postgresql_where=HAD_ANOTHER)


def downgrade() -> None:
    """Take them out again."""
    schema = _schema()
    op.drop_index("ix_link_former", "link")
    op.drop_column("link", "former_id", schema=schema)
    op.drop_column("link", "written", schema=schema)
    op.drop_column("attempt", "intent", schema=schema)


def _schema() -> str | None:
    """Alembic's own statements name no schema by themselves."""
    return "provisor" if op.get_bind().dialect.name == "postgresql" else None
