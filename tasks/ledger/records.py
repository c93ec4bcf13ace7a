"""What goes into the ledger and comes out of it: plain values, and the errors that say what to do.

ProvisorError
├── JobBusyError            another run holds the job: nothing was done, try again later
├── JobPausedError          a person has paused the job: nothing goes on before it is resumed
├── JobQuarantinedError     the job failed too much: nothing is done before its next attempt, or a restart
├── LeaseLostError          another run took the job over: stop sending at once, leave the job to it
├── RejectedError
│   └── ConflictError
│       └── LinkTakenError      a target id belongs to another anchor, or to another job
└── FatalError
    └── LedgerError             the ledger cannot be read or written, or was asked for something impossible: stop
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeAlias

import orjson

from connectors.contract import Action, Change, Kind, Outcome, Status, Value
from connectors.errors import ConflictError, ErrorCode, FatalError, ProvisorError

REDACTED = "[Redact]"
"""What stands in the log where a redacted attribute has a value.

Source: Microsoft Entra provisioning logs, Redact() in expressions.
"""

READ_BACK = "read back after its response was lost"
"""Reason of a line about a request whose answer was lost, written once its effect is known."""

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
"""Next attempt of an entry that has been given up."""

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
"""Names of a cycle's counts that the view ``runs`` shows as columns; others stay in the JSON column ``counts``."""


class LedgerError(FatalError):
    """The ledger cannot be read or written, or was asked for something impossible; nothing may be sent without it."""


class SentBeforeError(LedgerError):
    """A change that is to be journaled was journaled before: each is sent once in its life."""


class JobBusyError(ProvisorError):
    """Another run holds the job. Nothing was done; try again when it has ended.

    ``holder``: who, as that run called itself.
    """

    def __init__(self, message: str, *, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


class JobPausedError(ProvisorError):
    """The job is paused: no cycle begins, and one that runs stops between two batches, until somebody resumes it."""


class JobQuarantinedError(ProvisorError):
    """The job is in quarantine, and its next attempt is not due: put the cause right, then restart it, or wait."""


class LeaseLostError(ProvisorError):
    """Another run took the job over while this one was thought dead: stop sending at once and leave the job to it."""


@dataclass(frozen=True, slots=True)
class Clash:
    """A target id that was to be linked to one anchor and belongs to another."""

    kind: Kind
    anchor: str
    """Who was to be linked, and is not."""
    target_id: str
    linked_to: str
    """The anchor whose account it is."""
    job: str = ""
    """The job that owns the account, where it is another one."""

    @property
    def owner(self) -> str:
        """Whose account it is, for people."""
        return f"{self.linked_to} by the job {self.job}" if self.job else self.linked_to


class LinkTakenError(ConflictError):
    """A target id belongs to another anchor, or to another job at the same target; nothing was written."""

    code = ErrorCode.DUPLICATE_TARGET_ENTRIES

    def __init__(self, job: str, clashes: Sequence[Clash]) -> None:
        shown = "; ".join(
            f"{clash.kind} {clash.target_id} is linked to {clash.owner}, not {clash.anchor}" for clash in clashes[:5]
        )
        more = f"; and {len(clashes) - 5} more" if len(clashes) > 5 else ""
        super().__init__(
            f"Job {job}: an account can belong to one entry only: {shown}{more}. "
            "Look at the matching attributes, or drop the link that is wrong."
        )
        self.clashes = tuple(clashes)


class CycleKind(StrEnum):
    """What a cycle evaluates."""

    INITIAL = "initial"
    INCREMENTAL = "incremental"
    RECONCILE = "reconcile"
    UNDO = "undo"
    """Nothing of the source: it takes back what an earlier cycle did."""
    ON_DEMAND = "on demand"
    """One entry, because somebody asked for it."""

    @property
    def partial(self) -> bool:
        """True for a cycle that says nothing about how the job stands: it looks at a few entries only."""
        return self in (CycleKind.UNDO, CycleKind.ON_DEMAND)


WHOLE_KINDS = tuple(kind for kind in CycleKind if not kind.partial)
"""Kinds of cycles that evaluate the whole source: only these say whether a job keeps to its schedule."""


class CycleState(StrEnum):
    """How a cycle stands or ended."""

    RUNNING = "running"
    DONE = "done"
    DONE_WITH_FAILURES = "done_with_failures"
    STAGED = "staged"
    """Ended, with changes that wait for approval."""
    STOPPED = "stopped"
    """Ended by a fatal error, a check or a person."""
    CRASHED = "crashed"
    """Its process died; the next cycle of the job found that out."""


FINISHED_STATES = (CycleState.DONE, CycleState.DONE_WITH_FAILURES, CycleState.STAGED)
"""States of cycles that ran to their end."""


class LinkState(StrEnum):
    """How the account behind a link stands."""

    ACTIVE = "active"
    DISABLED = "disabled"


class AttemptStatus(StrEnum):
    """How far an attempt has come."""

    SENT = "sent"
    DONE = Status.DONE.value
    REJECTED = Status.REJECTED.value
    UNKNOWN = Status.UNKNOWN.value


class LogAction(StrEnum):
    """What the provisioning log says was done, or would have been: actions of changes, and of guards and people."""

    CREATE = Action.CREATE.value
    UPDATE = Action.UPDATE.value
    ENABLE = Action.ENABLE.value
    DISABLE = Action.DISABLE.value
    DELETE = Action.DELETE.value
    MOVE = Action.MOVE.value
    RENAME = Action.RENAME.value
    ADD_MEMBERS = Action.ADD_MEMBERS.value
    REMOVE_MEMBERS = Action.REMOVE_MEMBERS.value
    STAGED_DISABLE = "StagedDisable"
    STAGED_DELETE = "StagedDelete"
    STAGED_UPDATE = "StagedUpdate"
    STAGED_REMOVE_MEMBERS = "StagedRemoveMembers"
    APPROVE = "approve"
    REJECT = "reject"
    LAPSE = "lapse"
    """A held change of which nothing is left to do."""
    SKIP = "skip"
    DRIFT = "drift"


class LogStatus(StrEnum):
    """How it went."""

    SUCCESS = "success"
    FAILURE = "failure"
    SKIPPED = "skipped"
    WARNING = "warning"


class StagedState(StrEnum):
    """What has been decided about a change that a guard holds."""

    STAGED = "staged"
    APPROVED = "approved"
    REJECTED = "rejected"
    LAPSED = "lapsed"
    """The plan no longer wants it."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle of one job."""

    id: int
    """Unique in the ledger."""
    number: int
    """1, 2, 3 ... within the job; what people are shown."""
    job: str
    kind: CycleKind
    state: CycleState
    fingerprint: str
    """Of the configuration it ran with."""
    began: datetime
    ended: datetime | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    """By the names of ``COUNTS``."""
    source_count: int | None = None
    """Users in the source; None where it was not read completely, or a guard doubts it."""
    source_members: int | None = None
    """Memberships in the source; None as ``source_count``."""
    target_count: int | None = None
    watermark: str | None = None
    """Where this cycle moved the job's watermark to; None when it did not move it."""
    message: str = ""
    flow_run_id: str | None = None
    initiator: str = ""
    """Who or what started it."""
    source: str = ""
    """The system that was read, for people; empty until it was."""
    target: str = ""
    fence: int | None = None
    """Fence of the lease the running cycle was begun under; journal refuses once it is outdated. Not stored."""


@dataclass(frozen=True, slots=True)
class CycleEnd:
    """How a cycle ended."""

    state: CycleState
    counts: Mapping[str, int]
    """By the names of ``COUNTS``."""
    now: datetime
    message: str = ""
    watermark: str | None = None
    """Where the job's watermark moves to; None leaves it where it is."""
    source_count: int | None = None
    """Users in the source; None where it was not read completely, or a guard doubts it."""
    source_members: int | None = None
    """Memberships in the source; None as ``source_count``."""
    target_count: int | None = None
    source: str = ""
    """The system that was read, for people."""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a job until a moment."""

    job: str
    holder: str
    """Who, for people: host, process, flow run."""
    fence: int
    """Grows with every holder: the higher one is right."""
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Link:
    """What is to be remembered about one link after a change was carried out."""

    kind: Kind
    anchor: str
    target_id: str
    label: str = ""
    fingerprint: int | None = None
    """Digest of the desired attributes last written, signed 64 bits; None means compare again."""
    state: LinkState = LinkState.ACTIVE
    how: str | None = None
    """``created``, ``matched userName``; None keeps what is known."""
    written: bytes | None = None
    """Digests of the single attributes last written, see ``tasks.plan.written``; None where nothing is known."""


@dataclass(frozen=True, slots=True)
class Linked:
    """One link as it is remembered."""

    target_id: str
    label: str
    state: LinkState
    how: str
    """``created``, ``matched by userName``; empty where that is not known."""
    linked_at: datetime
    changed_at: datetime
    state_since: datetime
    """Since when the account is in its state, as far as Provisor knows."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A change that was sent, or was about to be when the process died."""

    change_id: str
    job: str
    cycle_id: int
    kind: Kind
    action: Action
    anchor: str
    target_id: str | None
    label: str
    sent_at: datetime
    status: AttemptStatus
    known_by: Mapping[str, str] = field(default_factory=dict)
    """Of a create: attributes and values by which its account can be found again."""
    after: Mapping[str, Value] = field(default_factory=dict)
    """Of a change of attributes: the values that were to be, without those that are redacted."""
    before: Mapping[str, Value] = field(default_factory=dict)
    """What the target held for these before."""
    members: Sequence[str] = ()
    """Of a change of members: their ids in the target."""


@dataclass(frozen=True, slots=True)
class Modified:
    """One attribute that a change touched; values are ``REDACTED`` where the job redacts the attribute."""

    name: str
    old: Value
    new: Value


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the provisioning log. Job, cycle and time come from the cycle it is written for.

    Source: Microsoft Graph, provisioningObjectSummary.
    """

    kind: Kind
    action: LogAction
    status: LogStatus
    anchor: str
    target_id: str | None = None
    label: str = ""
    """What people call the entry in the source."""
    reason: str = ""
    """Why it was done, or skipped."""
    code: ErrorCode | None = None
    message: str = ""
    """What went wrong, as a sentence."""
    modified: Sequence[Modified] = ()
    duration_ms: int | None = None
    change_id: str | None = None
    """None where nothing was to be sent."""
    counted: int | None = None
    """Of a removal: how much of it the budget counts, 0 where somebody approved it; None where that is not known."""
    had_since: datetime | None = None
    """Of a deletion: since when the entry had the account. The ledger adds it when the link is dropped."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the provisioning log as it is read, in plain values."""

    id: int
    """Grows with every line."""
    time: datetime
    job: str
    cycle: int | None
    """Number within the job."""
    kind: str
    action: str
    status: str
    label: str
    anchor: str
    target_id: str | None
    reason: str
    code: str | None
    message: str
    modified: list[dict[str, Any]] | None
    """Attributes that the change touched: ``{name, old, new}`` each; None where nothing was to be sent."""
    duration_ms: int | None
    change_id: str | None
    initiator: str
    """Who or what started the cycle."""
    source: str
    """The systems of the cycle, for people; empty until it has ended."""
    target: str


Item: TypeAlias = tuple[Kind, Action, str]
"""What people decide about: an action on the entry of an anchor."""
Matter: TypeAlias = tuple[Item, str | None]
"""What they are asked at once: an item, and of members of a group the cause for which they go."""


@dataclass(frozen=True, slots=True)
class Staged:
    """A change that a guard holds back."""

    kind: Kind
    action: Action
    anchor: str
    since: datetime
    cycle_id: int
    guard: str
    """The guard's sentence."""
    guards: tuple[str, ...] = ()
    """Names of all guards that have held it since it waits."""
    cause: str | None = None
    """Why something is taken away; members of a group who go for different causes wait apart. None for an update."""
    target_id: str | None = None
    label: str = ""
    state: StagedState = StagedState.STAGED
    who: str | None = None
    """Who decided, as that person says."""
    identity: str | None = None
    """Who that was by the sign-in, or by the account of the operating system; None where nobody knows."""
    why: str | None = None
    until: datetime | None = None
    """When the decision lapses."""
    decided_at: datetime | None = None
    members: tuple[str, ...] = ()
    """Ids in the target of the members to be removed."""
    attributes: tuple[str, ...] = ()
    """Attribute paths that an update would change."""
    digests: tuple[tuple[str, str], ...] = ()
    """Attribute paths that would be written, each with a digest of its value."""
    part: str = ""
    """Tells held changes of one item and state apart: of a group some members may go for one cause and some for
    another, and two people may each have decided about some. See :func:`part_of`."""

    @property
    def key(self) -> Item:
        """What it is about."""
        return (self.kind, self.action, self.anchor)

    @property
    def in_parts(self) -> bool:
        """Whether a part of it may be decided about: some members, some attributes."""
        return self.action in (Action.REMOVE_MEMBERS, Action.UPDATE)

    def without(self, others: Iterable["Staged"]) -> "Staged":
        """The same without the members and attributes of others."""
        others = list(others)
        members = {member for other in others for member in other.members}
        attributes = {path for other in others for path in other.attributes}
        return replace(
            self,
            members=tuple(member for member in self.members if member not in members),
            attributes=tuple(path for path in self.attributes if path not in attributes),
        )

    @property
    def place(self) -> tuple[StagedState, Item, str]:
        """Where the ledger keeps it: of each there is one."""
        return (self.state, self.key, self.part)

    @property
    def matter(self) -> Matter:
        """What a person is asked at once."""
        return (self.key, self.cause if self.action is Action.REMOVE_MEMBERS else None)

    @property
    def digest(self) -> str:
        """Equal where a person would decide about the same: entry, account, action, cause, guards, values."""
        return hashlib.sha256(
            orjson.dumps(
                [
                    *map(str, self.key),
                    self.target_id,
                    self.cause,
                    sorted(self.guards),
                    sorted(self.members),
                    sorted(self.attributes),
                    sorted(self.digests),
                ]
            )
        ).hexdigest()


def part_of(one: Staged) -> str:
    """The part that a held change is: while nobody has decided, the members who go for one cause, or all of an update.

    Of members and attributes each decision is a part of its own, with who made it; of an account the one for its cause.
    """
    if one.decided_at is None:
        return one.cause or "" if one.action is Action.REMOVE_MEMBERS else ""
    if not one.in_parts:
        return one.cause or ""
    until = one.until.isoformat() if one.until is not None else None
    said = [one.target_id, one.cause, one.who, one.identity, one.why, until, one.decided_at.isoformat()]
    return hashlib.sha256(orjson.dumps([ascii(text) for text in said])).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Escrow:
    """An entry that failed and is tried again later."""

    kind: Kind
    anchor: str
    first_failed: datetime
    next_attempt: datetime
    attempts: int
    message: str
    code: ErrorCode | None = None
    label: str = ""
    fingerprint: int | None = None
    """Digest of the desired attributes that failed; another one ends the wait."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A job that a person has paused: no cycle begins, and a running one stops between two batches."""

    since: datetime
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A job that failed too much and is tried less and less often."""

    reason: str
    message: str
    since: datetime
    """When this reason was met first."""
    began: datetime
    """When the job went into quarantine, for whatever reason."""
    attempts: int
    """Cycles that ran in it."""
    next_attempt: datetime | None
    """None: never again by itself."""


def modified_properties(change: Change, redacted: Collection[str] = frozenset()) -> tuple[Modified, ...]:
    """What a change touches, attribute by attribute, old and new; members under the name ``members``."""
    properties = [
        Modified(path, REDACTED if value is not None else None, REDACTED if new is not None else None)
        if path in redacted
        else Modified(path, value, new)
        for path, new in change.attributes.items()
        for value in (change.before.get(path),)
    ]
    if change.action is Action.DELETE:
        properties += (
            Modified(path, REDACTED if path in redacted else value, None) for path, value in change.before.items()
        )
    elif change.action is Action.ADD_MEMBERS:
        properties.append(Modified("members", None, list(change.members)))
    elif change.action is Action.REMOVE_MEMBERS:
        properties.append(Modified("members", list(change.members), None))
    return tuple(properties)


_LOGGED = {Status.DONE: LogStatus.SUCCESS, Status.PARTLY: LogStatus.WARNING}


def _as_done(change: Change, outcome: Outcome) -> Change:
    """The change without the paths and members that were refused while the rest was done."""
    if outcome.status is not Status.PARTLY or not outcome.refused:
        return change
    attributes = {path: value for path, value in change.attributes.items() if path not in outcome.refused}
    members = tuple(member for member in change.members if member not in outcome.refused)
    return replace(change, attributes=attributes, members=members)


def log_outcome(
    change: Change, outcome: Outcome, *, reason: str = "", redacted: Collection[str] = frozenset()
) -> LogEntry:
    """The log's line about a change and how it ended.

    Attributes in ``redacted`` show that they were touched, never a value.
    """
    return LogEntry(
        kind=change.kind,
        action=LogAction(change.action),
        status=_LOGGED.get(outcome.status, LogStatus.FAILURE),
        anchor=change.anchor,
        target_id=outcome.target_id or change.target_id,
        label=change.label,
        reason=reason,
        code=outcome.code,
        message=outcome.message,
        modified=modified_properties(_as_done(change, outcome), redacted),
        duration_ms=outcome.duration_ms,
        change_id=change.id,
    )


def orphan_line(line: LogEntry, target_id: str, owned: str) -> LogEntry:
    """The line about a create whose account is an orphan. ``owned``: the account that its entry has instead."""
    message = (
        f"This created the {line.kind} {target_id} in the target, but the entry already has the {line.kind} {owned}. "
        f"{target_id} is an orphan: Provisor does not manage it. Look at it in the target; delete or disable it there."
    )
    return replace(
        line, status=LogStatus.WARNING, target_id=target_id, code=ErrorCode.DUPLICATE_TARGET_ENTRIES, message=message
    )
