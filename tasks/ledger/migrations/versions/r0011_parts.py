"""Of one group members may be held for several causes, and several people may each have decided about some of them."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_KEY = ["job", "kind", "action", "anchor", "state"]


def upgrade() -> None:
    """Add the part to the key: what is held already stays as it is, each row with an empty one."""
    if op.get_context().dialect.name == "postgresql":
        part = sa.Column("part", sa.Text(collation="C"), nullable=False, server_default="")
        op.add_column("staged", part, schema="provisor")
        op.alter_column("staged", "part", server_default=None, schema="provisor")
        op.drop_constraint("pk_staged", "staged", schema="provisor", type_="primary")
        op.create_primary_key("pk_staged", "staged", [*_KEY, "part"], schema="provisor")
        return
    op.rename_table("staged", "staged_before")
    _make([*_KEY, "part"], sa.Column("part", sa.Text(), nullable=False))
    _fill("staged", f"{_NAMES}, part", f"{_NAMES}, ''")


def downgrade() -> None:
    """Keep one row of each item and state."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "DELETE FROM provisor.staged AS one USING provisor.staged AS other WHERE one.part > other.part AND "
            + " AND ".join(f"one.{name} = other.{name}" for name in _KEY)
        )
        op.drop_constraint("pk_staged", "staged", schema="provisor", type_="primary")
        op.drop_column("staged", "part", schema="provisor")
        op.create_primary_key("pk_staged", "staged", _KEY, schema="provisor")
        return
    op.rename_table("staged", "staged_before")
    _make(_KEY)
    _fill("staged", _NAMES, _NAMES, f" GROUP BY {', '.join(_KEY)} HAVING part = MIN(part)")


_NAMES = (
    "job, kind, action, anchor, target_id, label, since, cycle_id, guard, guards, cause, state, who, identity, why, "
    "until, decided_at, members, attributes, digests"
)


def _make(key: list[str], *more: sa.Column[str]) -> None:
    op.create_table(
        "staged",
        *(_text(name) for name in ("job", "kind", "action", "anchor")),
        _text("target_id", null=True),
        _text("label"),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("cycle_id", sa.BigInteger(), nullable=False),
        _text("guard"),
        sa.Column("guards", sa.JSON(), nullable=True),
        _text("cause", null=True),
        _text("state"),
        *(_text(name, null=True) for name in ("who", "identity", "why")),
        sa.Column("until", sa.DateTime(), nullable=True),
        sa.Column("decided_at", sa.DateTime(), nullable=True),
        *(sa.Column(name, sa.JSON(), nullable=True) for name in ("members", "attributes", "digests")),
        *more,
        sa.PrimaryKeyConstraint(*key, name="pk_staged"),
    )


def _fill(table: str, names: str, values: str, rest: str = "") -> None:
    op.execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM staged_before{rest}")
    op.drop_table("staged_before")


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=null)
