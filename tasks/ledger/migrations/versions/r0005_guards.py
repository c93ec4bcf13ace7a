"""What guards know exactly: what was approved, how much of the log a budget counts, and who owns an account."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COLUMNS = {
    "job": ("target", "approval"),
    "cycle": ("source_members",),
    "link": ("target",),
    "log": ("counted",),
    "staged": ("guards", "cause", "identity", "digests"),
}
NUMBERS = ("source_members", "counted")
JSON = ("approval", "guards", "digests")


def upgrade() -> None:
    """Add the columns, and the rule that an account of a target belongs to one job."""
    for table, names in COLUMNS.items():
        for name in names:
            op.add_column(table, sa.Column(name, _type(name), nullable=True), schema=_schema())
    op.create_index("ix_link_owner", "link", ["target", "kind", "target_id"], unique=True, schema=_schema())


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_link_owner", "link", schema=_schema())
    for table, names in COLUMNS.items():
        for name in names:
            op.drop_column(table, name, schema=_schema())


def _schema() -> str | None:
    """Unlike tables that are made, tables that are altered are not looked for in our schema by themselves."""
    return "provisor" if op.get_bind().dialect.name == "postgresql" else None


def _type(name: str) -> "sa.types.TypeEngine[Any]":
    if name in NUMBERS:
        return sa.BigInteger()
    if name in JSON:
        return sa.JSON()
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
