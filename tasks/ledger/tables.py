"""The ledger's tables as SQLModel declares them: what the migrations build and what every statement takes columns from.

Rows never travel as objects of these classes: the bulk paths write tuples in the order of the columns here (see
``bulk.py``). Text has no length limits and sorts by code point on both databases (on PostgreSQL that is collation C,
which also spares every index the locale's rules). Times are UTC: ``timestamptz`` on PostgreSQL,
``2026-01-31 12:00:00.000000`` as text on SQLite. On PostgreSQL everything lies in the schema ``provisor``, so that it
can share a database with others.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, MetaData, Text, UniqueConstraint, text
from sqlalchemy import Table as SqlTable
from sqlmodel import Field, SQLModel, UTCDateTime

SCHEMA = "provisor"
"""The schema on PostgreSQL; SQLite has none."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}

OPEN_ATTEMPTS = text("status IN ('sent', 'unknown')")
"""An attempt whose effect nobody knows yet; the partial index over these stays as small as what is in flight."""

PASSED_OVER = text("error_code = 'EntrySynchronizationSkipped'")
"""Lines about entries that get no account: said once of each, so that they have to be found again."""

BY_PLAN = text("plan IS NOT NULL")
"""Cycles that carried out a plan file: few, and asked for by the plan."""

HAD_ANOTHER = text("former_id IS NOT NULL")
"""Links of entries that had another account before; the partial index over these stays small."""

ABOUT_ACCESS = text("status = 'success' AND action IN ('create', 'enable', 'disable', 'delete')")
"""Lines by which is told who had which account at a moment."""

_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


class LedgerModel(SQLModel):
    """Root of the tables, with metadata of its own: nobody else's tables end up in the ledger."""

    metadata = MetaData(naming_convention=NAMING)


def _key() -> Any:
    return Field(sa_column=Column(_TEXT, primary_key=True))


def _text(*, null: bool = False) -> Any:
    return Field(default=None, sa_column=Column(_TEXT, nullable=null))


def _whole(*, null: bool = False) -> Any:
    return Field(default=None, sa_column=Column(BigInteger, nullable=null))


def _time(*, null: bool = False) -> Any:
    return Field(default=None, sa_column=Column(UTCDateTime, nullable=null))


def _json() -> Any:
    return Field(default=None, sa_column=Column(JSON(none_as_null=True), nullable=True))


def _number() -> Any:
    """A key that counts up by itself (SQLite does that for INTEGER only)."""
    return Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    )


class JobTable(LedgerModel, table=True):
    """Every job that ever ran a cycle."""

    __tablename__ = "job"

    name: str = _key()
    fingerprint: str = _text()
    """Of the configuration that the latest cycle ran with."""
    created: datetime = _time()
    target: str | None = _text(null=True)
    """Normalised address of the target whose accounts it owns; null until a cycle has begun."""
    approval: dict[str, Any] | None = _json()
    """Who may decide about what guards hold, as the job said when its latest cycle began."""


class CycleTable(LedgerModel, table=True):
    """Every cycle, with what came of it."""

    __tablename__ = "cycle"
    __table_args__ = (
        UniqueConstraint("job", "number"),
        Index(None, "began"),
        Index("ix_cycle_plan", "job", "plan", sqlite_where=BY_PLAN, postgresql_where=BY_PLAN),
    )

    id: int | None = _number()
    job: str = _text()
    number: int = _whole()
    """1, 2, 3 ... within the job; what people are shown."""
    kind: str = _text()
    state: str = _text()
    fingerprint: str = _text()
    """Of the configuration it ran with."""
    began: datetime = _time()
    ended: datetime | None = _time(null=True)
    counts: dict[str, int] | None = _json()
    source_count: int | None = _whole(null=True)
    """Users in the source; null where it was not read completely, or a guard doubts it."""
    source_members: int | None = _whole(null=True)
    """Memberships in the source; null as ``source_count``."""
    target_count: int | None = _whole(null=True)
    watermark: str | None = _text(null=True)
    """The source's cursor that this cycle moved the job to; null when it moved nothing."""
    message: str = _text()
    flow_run_id: str | None = _text(null=True)
    initiator: str = _text()
    """Who or what started it: a person's account on a machine, or a schedule."""
    source: str = _text()
    """The system that was read, for people; empty until it was."""
    target: str = _text()
    plan: str | None = _text(null=True)
    """The plan file that it carries out."""
    followed: dict[str, int] | None = _json()
    """Where the job runs after others: the number of the last cycle of each that had ended when this one began."""


class LinkTable(LedgerModel, table=True):
    """Which account in the target belongs to which entry of the source."""

    __tablename__ = "link"
    __table_args__ = (
        UniqueConstraint("job", "kind", "target_id"),
        Index("ix_link_former", "job", "kind", sqlite_where=HAD_ANOTHER, postgresql_where=HAD_ANOTHER),
        Index("ix_link_owner", "target", "kind", "target_id", unique=True),
    )

    job: str = _key()
    kind: str = _key()
    anchor: str = _key()
    target_id: str = _text()
    target: str | None = _text(null=True)
    """Normalised address of the target: an account there belongs to one job only. Null where that is not known."""
    label: str = _text()
    fingerprint: int | None = _whole(null=True)
    """Digest of the desired attributes last written, signed 64 bits; null means compare again."""
    state: str = _text()
    how: str = _text()
    linked_at: datetime = _time()
    changed_at: datetime = _time()
    state_since: datetime = _time()
    """Since when the account is in its state, as far as Provisor knows."""
    cycle_id: int = _whole()
    """The cycle that wrote this row last."""
    written: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    """Digests of the single attributes last written or found equal, each under its rule: ``tasks.plan.written``."""
    former_id: str | None = _text(null=True)
    """The account that the entry had before this one."""


class AttemptTable(LedgerModel, table=True):
    """Every change that was, or was about to be, sent: written before the request leaves."""

    __tablename__ = "attempt"
    __table_args__ = (Index("ix_attempt_open", "job", sqlite_where=OPEN_ATTEMPTS, postgresql_where=OPEN_ATTEMPTS),)

    change_id: str = _key()
    job: str = _text()
    cycle_id: int = _whole()
    kind: str = _text()
    action: str = _text()
    anchor: str = _text()
    target_id: str | None = _text(null=True)
    label: str = _text()
    known_by: str | None = _text(null=True)
    """Of a create: JSON of attributes and values by which its account can be found again."""
    sent_at: datetime = _time()
    status: str = _text()
    ended_at: datetime | None = _time(null=True)
    intent: str | None = _text(null=True)
    """Until it has ended: JSON of what the request was to change, to be held against what the target shows."""


class LogTable(LedgerModel, table=True):
    """The provisioning log: what was done, or not done, to whom, when and why. Rows are added, never altered."""

    __tablename__ = "log"
    __table_args__ = (
        # With the id at the end they give the lines newest first, without sorting.
        Index(None, "job", "time", "id"),
        Index(None, "cycle_id", "id"),
        Index(None, "job", "anchor"),
        Index(None, "job", "identity"),
        Index("ix_log_access", "job", "time", sqlite_where=ABOUT_ACCESS, postgresql_where=ABOUT_ACCESS),
        Index("ix_log_passed_over", "job", "kind", "anchor", sqlite_where=PASSED_OVER, postgresql_where=PASSED_OVER),
        {"sqlite_autoincrement": True},  # the id of a line that was forgotten is not given again
    )

    id: int | None = _number()
    job: str = _text()
    cycle_id: int = _whole()
    time: datetime = _time()
    change_id: str | None = _text(null=True)
    kind: str = _text()
    action: str = _text()
    status: str = _text()
    anchor: str = _text()
    target_id: str | None = _text(null=True)
    label: str = _text()
    identity: str = _text()
    """The label in folded case: what people search by (SQLite's lower() knows ASCII only)."""
    reason: str = _text()
    error_code: str | None = _text(null=True)
    message: str = _text()
    modified: list[dict[str, Any]] | None = _json()
    duration_ms: int | None = _whole(null=True)
    counted: int | None = _whole(null=True)
    """Of a removal: how much of it the budget counts, accounts or members; 0 where somebody approved it. Null where
    that is not known."""
    had_since: datetime | None = _time(null=True)
    """Of a deletion: since when the entry had the account. A match leaves no line, and the link is gone by then."""


class WatermarkTable(LedgerModel, table=True):
    """Up to where each job has read its source."""

    __tablename__ = "watermark"

    job: str = _key()
    value: str = _text()
    moved_at: datetime = _time()
    cycle_id: int | None = _whole(null=True)


class StagedTable(LedgerModel, table=True):
    """Changes that a guard holds back until a person has decided."""

    __tablename__ = "staged"

    job: str = _key()
    kind: str = _key()
    action: str = _key()
    anchor: str = _key()
    target_id: str | None = _text(null=True)
    label: str = _text()
    since: datetime = _time()
    cycle_id: int = _whole()
    guard: str = _text()
    """The guard's sentence: which limit, how much was planned."""
    guards: list[str] | None = _json()
    """Names of all guards that have held it since it waits."""
    cause: str | None = _text(null=True)
    """Why something is taken away; null for an update."""
    state: str = _key()
    """Part of the key: of one group some removals may be approved, others rejected, others not decided yet."""
    who: str | None = _text(null=True)
    """Who decided, as that person says."""
    identity: str | None = _text(null=True)
    """Who that was by the sign-in, or by the account of the operating system."""
    why: str | None = _text(null=True)
    until: datetime | None = _time(null=True)
    decided_at: datetime | None = _time(null=True)
    members: list[str] | None = _json()
    """Ids in the target of the members to be removed; null for a change of an account."""
    attributes: list[str] | None = _json()
    """Attribute paths that an update would change; null for other changes."""
    digests: dict[str, str] | None = _json()
    """Digest of the value that would be written, by attribute path."""
    part: str = _key()
    """Part of the key: members who go for one cause, and each decision about some members or attributes, are a row."""


class EscrowTable(LedgerModel, table=True):
    """Entries that failed and are tried again with growing gaps."""

    __tablename__ = "escrow"

    job: str = _key()
    kind: str = _key()
    anchor: str = _key()
    label: str = _text()
    error_code: str | None = _text(null=True)
    message: str = _text()
    attempts: int = _whole()
    first_failed: datetime = _time()
    next_attempt: datetime = _time()
    fingerprint: int | None = _whole(null=True)
    """Digest of the desired attributes that failed; another one ends the wait."""


class PauseTable(LedgerModel, table=True):
    """Jobs that a person has paused."""

    __tablename__ = "pause"

    job: str = _key()
    since: datetime = _time()
    who: str = _text()
    why: str = _text()


class QuarantineTable(LedgerModel, table=True):
    """Jobs that failed too much and are tried less and less often."""

    __tablename__ = "quarantine"

    job: str = _key()
    reason: str = _text()
    message: str = _text()
    since: datetime = _time()
    """When this reason was met first."""
    began: datetime = _time()
    """When the job went into quarantine, for whatever reason."""
    attempts: int = _whole()
    """Cycles that ran in it."""
    next_attempt: datetime | None = _time(null=True)
    """Null: never again by itself."""


class NoticeTable(LedgerModel, table=True):
    """What people have been told already."""

    __tablename__ = "notice"

    job: str = _key()
    topic: str = _key()
    said: str = _text()
    """Digest of what was told; the same is not told again."""
    sent_at: datetime = _time()


class LeaseTable(LedgerModel, table=True):
    """Who may run a job now. The row outlives every holder, so that its fence only grows."""

    __tablename__ = "lease"

    job: str = _key()
    holder: str = _text()
    expires_at: datetime | None = _time(null=True)
    """Null once the holder has let go."""
    fence: int = _whole()


class PaceTable(LedgerModel, table=True):
    """Who is loading which target now: they share its pace."""

    __tablename__ = "pace"

    target: str = _key()
    """What the target calls itself."""
    worker: str = _key()
    """Who loads it: the job, which nobody else runs meanwhile."""
    until: datetime = _time()
    """When it counts as gone unless it says again that it is there."""


class DirectoryTable(LedgerModel, table=True):
    """What people know an entry by, as the last cycle that touched it had it; it stays when the entry leaves."""

    __tablename__ = "directory"
    __table_args__ = (Index(None, "job", "manager"),)

    job: str = _key()
    kind: str = _key()
    anchor: str = _key()
    label: str = _text()
    login: str = _text()
    details: dict[str, str] | None = _json()
    """What places somebody: title, department, company, place. Nothing that the job redacts."""
    manager: str = _text()
    """Anchor of the manager, empty where there is none."""
    words: str = _text()
    """The folded words it is found by, with spaces between them."""


class WordTable(LedgerModel, table=True):
    """Folded words, to be found by their beginnings."""

    __tablename__ = "word"

    word: str = _key()
    job: str = _key()
    kind: str = _key()
    anchor: str = _key()


class UnmanagedTable(LedgerModel, table=True):
    """Accounts that belong to no entry, as the last listing of the target showed them."""

    __tablename__ = "unmanaged"

    job: str = _key()
    kind: str = _key()
    target_id: str = _key()
    label: str = _text()
    login: str = _text()
    since: datetime = _time()
    """When a listing showed it first."""
    made_for: str | None = _text(null=True)
    """Anchor of the entry for which Provisor has made it; null for an account that others have made."""


class LocalUserTable(LedgerModel, table=True):
    """People who sign in to the pages with a password of their own."""

    __tablename__ = "local_user"

    login: str = _key()
    name: str = _text()
    password: str = _text()
    """Argon2id hash in the usual encoded form."""
    grants: list[dict[str, Any]] | None = _json()
    """What they may: ``{role, jobs}`` each; no jobs means all."""
    changed_at: datetime = _time()


class SessionTable(LedgerModel, table=True):
    """Who is signed in to the pages."""

    __tablename__ = "session"

    ticket: str = _key()
    """SHA-256 of what the browser holds."""
    login: str = _text()
    name: str = _text()
    how: str = _text()
    groups: list[str] | None = _json()
    """Groups that the provider said."""
    secret: str = _text()
    """What forms of the session carry."""
    began: datetime = _time()
    seen: datetime = _time()


class SignInTable(LedgerModel, table=True):
    """The log of sign-ins."""

    __tablename__ = "sign_in"
    __table_args__ = (Index(None, "time"),)

    id: int | None = _number()
    time: datetime = _time()
    login: str = _text()
    how: str = _text()
    address: str = _text()
    outcome: str = _text()


class RunRequestTable(LedgerModel, table=True):
    """Runs that people have begun on the pages, so that a cycle can say whose it is."""

    __tablename__ = "run_request"

    key: str = _key()
    """SHA-256 of the key that the run carries."""
    job: str = _text()
    login: str = _text()
    purpose: str = _text()
    """Why it was begun."""
    time: datetime = _time()


def table(model: type[LedgerModel]) -> SqlTable:
    """The SQLAlchemy table behind a class."""
    found: SqlTable = model.__table__  # type: ignore[attr-defined]
    return found


JOB = table(JobTable)
CYCLE = table(CycleTable)
LINK = table(LinkTable)
ATTEMPT = table(AttemptTable)
LOG = table(LogTable)
WATERMARK = table(WatermarkTable)
STAGED = table(StagedTable)
ESCROW = table(EscrowTable)
PAUSE = table(PauseTable)
QUARANTINE = table(QuarantineTable)
NOTICE = table(NoticeTable)
LEASE = table(LeaseTable)
PACE = table(PaceTable)
DIRECTORY = table(DirectoryTable)
WORD = table(WordTable)
UNMANAGED = table(UnmanagedTable)
LOCAL_USER = table(LocalUserTable)
SESSION = table(SessionTable)
SIGN_IN = table(SignInTable)
RUN_REQUEST = table(RunRequestTable)
