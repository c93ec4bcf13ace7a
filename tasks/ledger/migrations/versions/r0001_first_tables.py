"""The first tables, and three views for people: ``changelog``, ``runs`` and ``snapshot``."""

import sqlalchemy as sa
from alembic import op
from sqlmodel import UTCDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OPEN_ATTEMPTS = sa.text("status IN ('sent', 'unknown')")
PASSED_OVER = sa.text("error_code = 'EntrySynchronizationSkipped'")
COUNTS = (
    "created",
    "updated",
    "enabled",
    "disabled",
    "deleted",
    "members_added",
    "members_removed",
    "failed",
    "held",
    "skipped",
)


def upgrade() -> None:
    """Make everything."""
    _jobs_and_cycles()
    _links_and_attempts()
    _log()
    _waiting()
    for name, statement in _views().items():
        op.execute(f"CREATE VIEW {name} AS {statement}")


def downgrade() -> None:
    """Leave nothing."""
    for name in _views():
        op.execute(f"DROP VIEW {name}")
    for table in (
        "notice",
        "quarantine",
        "pause",
        "lease",
        "escrow",
        "staged",
        "watermark",
        "log",
        "attempt",
        "link",
        "cycle",
        "job",
    ):
        op.drop_table(table)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=null)


def _whole(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _time(name: str, *, null: bool = False) -> sa.Column[object]:
    return sa.Column(name, UTCDateTime(), nullable=null)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(none_as_null=True), nullable=True)


def _number() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False, autoincrement=True)


def _jobs_and_cycles() -> None:
    op.create_table(
        "job",
        _text("name"),
        _text("fingerprint"),
        _time("created"),
        sa.PrimaryKeyConstraint("name", name="pk_job"),
    )
    op.create_table(
        "cycle",
        _number(),
        _text("job"),
        _whole("number"),
        _text("kind"),
        _text("state"),
        _text("fingerprint"),
        _time("began"),
        _time("ended", null=True),
        _json("counts"),
        _whole("source_count", null=True),
        _whole("target_count", null=True),
        _text("watermark", null=True),
        _text("message"),
        _text("flow_run_id", null=True),
        _text("initiator"),
        _text("source"),
        _text("target"),
        sa.PrimaryKeyConstraint("id", name="pk_cycle"),
        sa.UniqueConstraint("job", "number", name="uq_cycle_job_number"),
    )
    op.create_table(
        "watermark",
        _text("job"),
        _text("value"),
        _time("moved_at"),
        _whole("cycle_id", null=True),
        sa.PrimaryKeyConstraint("job", name="pk_watermark"),
    )
    op.create_table(
        "lease",
        _text("job"),
        _text("holder"),
        _time("expires_at", null=True),
        _whole("fence"),
        sa.PrimaryKeyConstraint("job", name="pk_lease"),
    )


def _links_and_attempts() -> None:
    op.create_table(
        "link",
        _text("job"),
        _text("kind"),
        _text("anchor"),
        _text("target_id"),
        _text("label"),
        _whole("fingerprint", null=True),
        _text("state"),
        _text("how"),
        _time("linked_at"),
        _time("changed_at"),
        _time("state_since"),
        _whole("cycle_id"),
        sa.PrimaryKeyConstraint("job", "kind", "anchor", name="pk_link"),
        sa.UniqueConstraint("job", "kind", "target_id", name="uq_link_job_kind_target_id"),
    )
    op.create_table(
        "attempt",
        _text("change_id"),
        _text("job"),
        _whole("cycle_id"),
        _text("kind"),
        _text("action"),
        _text("anchor"),
        _text("target_id", null=True),
        _text("label"),
        _text("known_by", null=True),
        _time("sent_at"),
        _text("status"),
        _time("ended_at", null=True),
        sa.PrimaryKeyConstraint("change_id", name="pk_attempt"),
    )
    op.create_index("ix_attempt_open", "attempt", ["job"], sqlite_where=OPEN_ATTEMPTS, postgresql_where=OPEN_ATTEMPTS)


def _log() -> None:
    op.create_table(
        "log",
        _number(),
        _text("job"),
        _whole("cycle_id"),
        _time("time"),
        _text("change_id", null=True),
        _text("kind"),
        _text("action"),
        _text("status"),
        _text("anchor"),
        _text("target_id", null=True),
        _text("label"),
        _text("identity"),
        _text("reason"),
        _text("error_code", null=True),
        _text("message"),
        _json("modified"),
        _whole("duration_ms", null=True),
        sa.PrimaryKeyConstraint("id", name="pk_log"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_log_job_time_id", "log", ["job", "time", "id"])
    op.create_index("ix_log_cycle_id_id", "log", ["cycle_id", "id"])
    op.create_index("ix_log_job_anchor", "log", ["job", "anchor"])
    op.create_index("ix_log_job_identity", "log", ["job", "identity"])
    op.create_index(
        "ix_log_passed_over", "log", ["job", "kind", "anchor"], sqlite_where=PASSED_OVER, postgresql_where=PASSED_OVER
    )


def _waiting() -> None:
    op.create_table(
        "staged",
        _text("job"),
        _text("kind"),
        _text("action"),
        _text("anchor"),
        _text("target_id", null=True),
        _text("label"),
        _time("since"),
        _whole("cycle_id"),
        _text("guard"),
        _text("state"),
        _text("who", null=True),
        _text("why", null=True),
        _time("until", null=True),
        _time("decided_at", null=True),
        _json("members"),
        _json("attributes"),
        sa.PrimaryKeyConstraint("job", "kind", "action", "anchor", "state", name="pk_staged"),
    )
    op.create_table(
        "escrow",
        _text("job"),
        _text("kind"),
        _text("anchor"),
        _text("label"),
        _text("error_code", null=True),
        _text("message"),
        _whole("attempts"),
        _time("first_failed"),
        _time("next_attempt"),
        _whole("fingerprint", null=True),
        sa.PrimaryKeyConstraint("job", "kind", "anchor", name="pk_escrow"),
    )
    op.create_table(
        "pause",
        _text("job"),
        _time("since"),
        _text("who"),
        _text("why"),
        sa.PrimaryKeyConstraint("job", name="pk_pause"),
    )
    op.create_table(
        "quarantine",
        _text("job"),
        _text("reason"),
        _text("message"),
        _time("since"),
        _time("began"),
        _whole("attempts"),
        _time("next_attempt", null=True),
        sa.PrimaryKeyConstraint("job", name="pk_quarantine"),
    )
    op.create_table(
        "notice",
        _text("job"),
        _text("topic"),
        _text("said"),
        _time("sent_at"),
        sa.PrimaryKeyConstraint("job", "topic", name="pk_notice"),
    )


def _views() -> dict[str, str]:
    """``changelog``: one row per line of the provisioning log, with the number of its cycle; the newest id is highest.

    ``runs``: one row per cycle, its counts as columns, its length in seconds. ``snapshot``: who has which account, in
    which state, since when.
    """
    if op.get_bind().dialect.name == "postgresql":
        schema = "provisor."
        seconds = "EXTRACT(EPOCH FROM c.ended - c.began)"
        count = "COALESCE((c.counts ->> '{0}')::bigint, 0) AS {0}"
    else:
        schema = ""
        seconds = "ROUND((julianday(c.ended) - julianday(c.began)) * 86400, 3)"
        count = "COALESCE(json_extract(c.counts, '$.{0}'), 0) AS {0}"
    counts = ", ".join(count.format(name) for name in COUNTS)
    return {
        f"{schema}changelog": (
            "SELECT l.id, l.time, l.job, c.number AS cycle, l.kind, l.action, l.status, l.label, l.anchor, l.target_id,"
            " l.reason, l.error_code, l.message, l.modified, l.duration_ms, l.change_id,"
            " c.initiator, c.source, c.target"
            f" FROM {schema}log l LEFT JOIN {schema}cycle c ON c.id = l.cycle_id"
        ),
        f"{schema}runs": (
            f"SELECT c.job, c.number AS cycle, c.kind, c.state, c.began, c.ended, {seconds} AS duration_s, {counts},"
            " c.source_count, c.target_count, c.watermark, c.message, c.flow_run_id, c.initiator, c.source, c.target,"
            " c.id AS cycle_id"
            f" FROM {schema}cycle c"
        ),
        f"{schema}snapshot": (
            "SELECT l.job, l.kind, l.anchor, l.label, l.target_id, l.state, l.state_since, l.how, l.linked_at,"
            " l.changed_at, c.number AS cycle"
            f" FROM {schema}link l LEFT JOIN {schema}cycle c ON c.id = l.cycle_id"
        ),
    }
