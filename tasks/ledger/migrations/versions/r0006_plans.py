"""Which plan file a cycle carries out, found by an index: cycles are kept for years."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BY_PLAN = sa.text("plan IS NOT NULL")
LENGTH = 16
"""Of a plan's id, which stood at the end of the initiator alone until now."""


def upgrade() -> None:
    """Add the column and its index, and fill it for the cycles that are there."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("cycle", sa.Column("plan", text, nullable=True), schema=_schema())
    name = "cycle" if _schema() is None else f"{_schema()}.cycle"
    op.execute(
        f"UPDATE {name} SET plan = substr(initiator, length(initiator) - {LENGTH - 1}) "
        f"WHERE initiator LIKE '%by plan {'_' * LENGTH}'"
    )
    op.create_index(
        "ix_cycle_plan", "cycle", ["job", "plan"], schema=_schema(), sqlite_where=BY_PLAN, postgresql_where=BY_PLAN
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_cycle_plan", "cycle", schema=_schema())
    op.drop_column("cycle", "plan", schema=_schema())


def _schema() -> str | None:
    """Unlike tables that are made, tables that are altered are not looked for in our schema by themselves."""
    return "provisor" if op.get_bind().dialect.name == "postgresql" else None
