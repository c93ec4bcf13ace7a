"""What the pages for people need: names to search by, who signs in, and the index by which access is told."""

import sqlalchemy as sa
from alembic import op
from sqlmodel import UTCDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ABOUT_ACCESS = sa.text("status = 'success' AND action IN ('create', 'enable', 'disable', 'delete')")


def upgrade() -> None:
    """Make the tables and indices."""
    op.create_table(
        "directory",
        _text("job"),
        _text("kind"),
        _text("anchor"),
        _text("label"),
        _text("login"),
        sa.Column("details", sa.JSON(none_as_null=True), nullable=True),
        _text("manager"),
        _text("words"),
        sa.PrimaryKeyConstraint("job", "kind", "anchor", name="pk_directory"),
    )
    op.create_index("ix_directory_job_manager", "directory", ["job", "manager"])
    op.create_table(
        "word",
        _text("word"),
        _text("job"),
        _text("kind"),
        _text("anchor"),
        sa.PrimaryKeyConstraint("word", "job", "kind", "anchor", name="pk_word"),
    )
    op.create_table(
        "local_user",
        _text("login"),
        _text("name"),
        _text("password"),
        sa.Column("grants", sa.JSON(none_as_null=True), nullable=True),
        _time("changed_at"),
        sa.PrimaryKeyConstraint("login", name="pk_local_user"),
    )
    op.create_table(
        "session",
        _text("ticket"),
        _text("login"),
        _text("name"),
        _text("how"),
        sa.Column("groups", sa.JSON(none_as_null=True), nullable=True),
        _text("secret"),
        _time("began"),
        _time("seen"),
        sa.PrimaryKeyConstraint("ticket", name="pk_session"),
    )
    op.create_table(
        "sign_in",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        _time("time"),
        _text("login"),
        _text("how"),
        _text("address"),
        _text("outcome"),
        sa.PrimaryKeyConstraint("id", name="pk_sign_in"),
    )
    op.create_index("ix_sign_in_time", "sign_in", ["time"])
    op.create_index("ix_cycle_began", "cycle", ["began"])
    op.create_index("ix_log_access", "log", ["job", "time"], sqlite_where=ABOUT_ACCESS, postgresql_where=ABOUT_ACCESS)


def downgrade() -> None:
    """Leave nothing."""
    op.drop_index("ix_log_access", "log")
    op.drop_index("ix_cycle_began", "cycle")
    for table in ("sign_in", "session", "local_user", "word", "directory"):
        op.drop_table(table)


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False)


def _time(name: str) -> sa.Column[sa.DateTime]:
    return sa.Column(name, UTCDateTime(), nullable=False)
