"""What every connector gives and takes: two protocols and the plain data that passes between them and the stages.

Frames follow one convention everywhere. The index holds the entry's key as text (the anchor in a source, the id in a
target), named ``key``; every column is a flat attribute path in the system's own notation
(``emails[type eq "work"].value``). Text columns have pandas' ``str`` dtype with NaN for null, booleans ``boolean`` with
NA for null; multi-valued and complex attributes are ``object`` columns of lists or dicts with None for null.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

import pandas as pd

from connectors.errors import ErrorCode

Value: TypeAlias = Any
"""One attribute value: str, bool, int, float, a list of those, a dict of sub-attributes, or None for null."""


class Kind(StrEnum):
    """What an entry is."""

    USER = "user"
    GROUP = "group"


class Action(StrEnum):
    """What a change does to a target."""

    CREATE = "create"
    UPDATE = "update"
    ENABLE = "enable"
    DISABLE = "disable"
    DELETE = "delete"
    ADD_MEMBERS = "add members"
    REMOVE_MEMBERS = "remove members"


REMOVALS = frozenset({Action.DISABLE, Action.DELETE, Action.REMOVE_MEMBERS})
"""Actions that take something away from a person; guards count these."""


class Status(StrEnum):
    """How one change ended."""

    DONE = "done"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NOT_SENT = "not sent"
    """The target was halted before anything was sent."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """One entry that a system could not deliver, and why.

    ``key`` is None where not even the key could be read; then nobody knows who it is, and absence proves nothing.
    ``place`` is where a person can look: ``people.csv, line 17``.
    """

    kind: Kind
    key: str | None
    place: str
    reason: str


def no_members() -> pd.DataFrame:
    """An empty edge frame."""
    return pd.DataFrame({"group": pd.Series(dtype="str"), "member": pd.Series(dtype="str")})


def no_entries() -> pd.DataFrame:
    """An empty entry frame."""
    return pd.DataFrame(index=pd.Index([], name="key", dtype="str"))


@dataclass(slots=True)
class Snapshot:
    """One system as it was read at one moment.

    Not a frozen value type but a plain slotted class on purpose: an orchestrator that walks parameters leaves it alone.
    """

    system: str
    """The connector's name and what it read, for people: ``csv people.csv``."""
    users: pd.DataFrame
    """Index: key; one column per flat attribute path."""
    groups: pd.DataFrame
    """As ``users``."""
    members: pd.DataFrame
    """Edges: columns ``group`` and ``member`` hold keys of groups and of users (or nested groups). No duplicates."""
    read_at: datetime
    """When reading began, UTC."""
    incomplete: tuple[str, ...] = ()
    """Why absence of an entry proves nothing, one sentence each; empty when the snapshot is provably complete."""
    unreadable: tuple[Unreadable, ...] = ()
    """Entries left out of the frames, each with its reason."""
    disabled: frozenset[str] = frozenset()
    """Keys of users that the source itself marks as disabled or soft-deleted."""
    assignments: pd.DataFrame | None = None
    """Whom the app is assigned to, where a table says it: columns ``kind``, ``key`` (of a user; of a group the key or
    a name) and ``role`` (null for none). No duplicates."""
    watermark: str | None = None
    """Cursor for the next incremental read, opaque; None where the source has no notion of change."""
    requests: int = 0
    """Requests (or files, or statements) it took."""
    everybody: Mapping[Kind, pd.Index | int] = field(default_factory=dict)
    """Of the kinds whose frame holds only what changed since a watermark: the keys of all entries that are there, none
    of them twice, or how many these are. Kinds that are not in it were read whole.
    """
    all_members: bool = True
    """False where ``members`` has only the memberships of the groups that are in ``groups``."""

    @property
    def complete(self) -> bool:
        """True when an entry that is not here is not in the system either."""
        return not self.incomplete

    def entries(self, kind: Kind) -> pd.DataFrame:
        """The frame of one kind."""
        return self.users if kind is Kind.USER else self.groups


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read: flat attribute paths per kind; ``groups`` None means no groups and no members."""

    users: tuple[str, ...]
    groups: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AttributeInfo:
    """What a system says about one attribute path.

    Source: RFC 7643 section 2.2 (attribute characteristics).
    """

    type: str = "string"
    """string, boolean, integer, decimal, dateTime, binary, reference or complex."""
    multi_valued: bool = False
    case_exact: bool = False
    required: bool = False
    mutability: str = "readWrite"
    """readWrite, readOnly, immutable or writeOnly."""
    canonical_values: tuple[str, ...] = ()
    unique: bool = False
    """Whether the system says that it refuses a second entry with the same value."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target can do; the planner asks, it never tries."""

    create: bool = True
    update: bool = True
    delete: bool = True
    groups: bool = True
    disable_attribute: str | None = "active"
    """Boolean user attribute that switches an account off; None where accounts cannot be disabled."""
    max_members_per_change: int = 100
    """Members that go into one request."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard a target may be driven."""

    concurrency: int = 32
    """Requests in flight at most."""
    rate_per_s: float | None = None
    """Requests a second at most; None where only the target itself is the limit."""
    share: Callable[[], float] | None = None
    """The part of all that, above 0 and up to 1, that is ours now: others load the same target. Asked before every
    request, so that it must be quick; None where nobody else does."""


@dataclass(frozen=True, slots=True)
class Change:
    """One request's worth of work on one entry of a target. References are resolved: every id in it is a target id."""

    id: str
    """Unique for ever: names the attempt in the ledger and in the provisioning log."""
    kind: Kind
    action: Action
    anchor: str
    target_id: str | None
    """None only for create."""
    attributes: Mapping[str, Value] = field(default_factory=dict)
    """Attribute path to the value to be; None clears it (never on create)."""
    before: Mapping[str, Value] = field(default_factory=dict)
    """What the target held for these paths when the plan was made; empty for create."""
    members: tuple[str, ...] = ()
    """Target ids to add or remove, for member changes."""
    label: str = ""
    """What people call the entry, for messages."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one change ended; exactly one for each change."""

    change_id: str
    status: Status
    target_id: str | None = None
    """Id of the entry in the target, set when status is done."""
    code: ErrorCode | None = None
    message: str = ""
    """A sentence for the person who reads the log; no secret, no value of a person."""
    attempts: int = 1
    """Requests sent for it."""
    duration_ms: int = 0


@runtime_checkable
class Source(Protocol):
    """A system that says who there is."""

    def check(self) -> str:
        """Prove that the system can be read, as cheaply as possible; give one sentence about what answered.

        Raises: FatalError.
        """
        ...

    def attributes(self, kind: Kind) -> Mapping[str, AttributeInfo] | None:
        """Attribute paths that entries of this kind have; None where the system cannot tell.

        Raises: FatalError.
        """
        ...

    def read(
        self, wanted: Wanted, *, since: str | None = None, progress: Callable[[int], None] | None = None
    ) -> Snapshot:
        """Everything in the system, or what changed after the watermark ``since`` (see ``Snapshot.everybody``).

        ``progress`` is told how many entries have been read so far. Raises: FatalError.
        """
        ...

    def close(self) -> None:
        """Let go of files and connections; safe to call twice."""
        ...


@runtime_checkable
class Target(Source, Protocol):
    """A system whose accounts Provisor keeps in step."""

    def capabilities(self) -> Capabilities:
        """What this target can do, asked once per cycle. Raises: FatalError."""
        ...

    def find(
        self, kind: Kind, attribute: str, values: Sequence[str], wanted: Wanted, *, late: bool = False
    ) -> pd.DataFrame:
        """Entries whose attribute equals one of the values, compared as the target compares.

        ``late``: they may have been made a moment ago; for values that nobody has, the target is asked again for some
        seconds. Columns as ``read`` gives them for ``wanted``, and ``attribute`` itself. Raises: FatalError.
        """
        ...

    def fetch(self, kind: Kind, ids: Sequence[str], wanted: Wanted) -> Snapshot:
        """The entries with these ids, groups with their members; whoever is no longer there is left out.

        Raises: FatalError.
        """
        ...

    def apply(self, changes: Sequence[Change], done: Callable[[Outcome], None]) -> None:
        """Carry out changes that do not depend on each other, in any order and concurrently.

        ``done`` is called once for every change, in order of completion, from one thread. When a FatalError is raised,
        a change that ``done`` was not told about was either not sent or its outcome is unknown. Raises: FatalError.
        """
        ...


@runtime_checkable
class Haltable(Protocol):
    """A target whose load can be ended before its end."""

    def halt(self, *, grace_s: float) -> None:
        """Send nothing more; called from any thread, and for good.

        What waits for its turn, or to be repeated, is told as ``NOT_SENT`` at once. What is under way has ``grace_s``
        seconds to be answered, and is told as ``UNKNOWN`` after that. ``apply`` then returns as usual.
        """
        ...
