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
"""One attribute value: str, bool, int, float, bytes, a list of those, a dict of sub-attributes, or None for null."""


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
    MOVE = "move"
    """To another container, and what else changes with it."""
    RENAME = "rename"
    """By the name that its address is made of, and what else changes with it."""
    ADD_MEMBERS = "add members"
    REMOVE_MEMBERS = "remove members"


REMOVALS = frozenset({Action.DISABLE, Action.DELETE, Action.REMOVE_MEMBERS})
"""Actions that take something away from a person; guards count these."""


class Status(StrEnum):
    """How one change ended."""

    DONE = "done"
    PARTLY = "partly"
    """Some of it has taken effect, and the rest was refused: see ``Outcome.refused``."""
    LATER = "later"
    """The system took it as a job and has not finished it yet: see ``Outcome.job``."""
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


def _about_nobody() -> "pd.Series[str]":
    return pd.Series(dtype="str", index=pd.Index([], name="key", dtype="str"))


def no_entries() -> pd.DataFrame:
    """An empty entry frame."""
    return pd.DataFrame(index=pd.Index([], name="key", dtype="str"))


@dataclass(frozen=True, slots=True)
class SourcePart:
    """One of several sources whose people make up the population in a snapshot."""

    name: str
    prefix: str
    """What the keys of its entries begin with in the snapshot; empty for one part at most."""
    users: int = 0
    groups: bool = False
    """Whether groups were asked for, and may be in it."""
    incomplete: tuple[str, ...] = ()
    """Why it proves the absence of none of its entries, one sentence each; empty when it is provably complete."""


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
    parts: tuple[SourcePart, ...] = ()
    """The sources of which it is made up, where there are several; what is ``incomplete`` as a whole concerns all."""
    unknown: Mapping[str, pd.Index] = field(default_factory=dict)
    """By attribute of users, keys of those whose value cannot be told now: the source of the attribute is incomplete,
    or contradicts itself. What follows from such a value stays as it was."""
    unsure: tuple[str, ...] = ()
    """Why values are unknown, one sentence for each source of attributes."""
    disputes: Mapping[str, str] = field(default_factory=dict)
    """Key of a user to the sentence that says what sources contradict each other about."""
    given: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    """Of a population in which people may be in several sources: by attribute what each source gives, one column for
    each. Index: as ``users``. Only of attributes that second sources give."""
    aliases: "pd.Series[str]" = field(default_factory=_about_nobody)
    """Other keys of people who are in several sources. Index: the other key; value: the key in ``users``."""
    unreadable: tuple[Unreadable, ...] = ()
    """Entries left out of the frames, each with its reason."""
    gone: Mapping[Kind, frozenset[str]] = field(default_factory=dict)
    """Of a read of changes: keys of entries that the system says were deleted since."""
    edges_gone: pd.DataFrame | None = None
    """Of a read of changes: memberships that ended since; columns as ``members``."""
    reread: str = ""
    """Why everything was read although changes were asked for; empty where it was not."""
    set_aside: Mapping[Kind, pd.DataFrame] = field(default_factory=dict)
    """Rows of entries that are in ``unreadable`` with their keys: copies of a row that disagree, rows with a value that
    cannot be used. Columns as the frame of the kind; keys may repeat. They can show that somebody has left, and nothing
    else. Of the copies of a row, those that say so themselves are left out unless all do.
    """
    remarks: tuple[str, ...] = ()
    """What the connector has put right by itself, one sentence each: copies of a row that count once."""
    disabled: frozenset[str] = frozenset()
    """Keys of users that the source itself marks as disabled or soft-deleted."""
    assignments: pd.DataFrame | None = None
    """Whom the app is assigned to, where a table says it: columns ``kind``, ``key`` (of a user; of a group the key or
    a name) and ``role`` (null for none). No duplicates."""
    left: "pd.Series[str]" = field(default_factory=_about_nobody)
    """Why people who are in ``disabled`` have left by a date of theirs, where a job acts on dates. Index: key."""
    waiting: "pd.Series[str]" = field(default_factory=_about_nobody)
    """Why people are not provisioned yet: a date of theirs has not come. Index: key."""
    coming: pd.DataFrame | None = None
    """Dates that will come: columns key, what (begins or leaves), moment (UTC) and zone, the earliest first."""
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
        return not self.incomplete and not any(part.incomplete for part in self.parts)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Everything in it that proves nothing, one sentence each."""
        of_parts = (f"{part.name}: {reason}" for part in self.parts for reason in part.incomplete)
        return (*self.incomplete, *of_parts, *self.unsure)

    def entries(self, kind: Kind) -> pd.DataFrame:
        """The frame of one kind."""
        return self.users if kind is Kind.USER else self.groups


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read: flat attribute paths per kind; ``groups`` None means no groups and no members."""

    users: tuple[str, ...]
    groups: tuple[str, ...] | None = None

    def of(self, kind: Kind) -> tuple[str, ...]:
        """Paths of one kind."""
        return self.users if kind is Kind.USER else self.groups or ()


class Form(StrEnum):
    """What one value of an attribute is. Connectors translate their own types to these."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    """A date or a moment, as ISO 8601 text; a moment whose zone is known is in UTC and ends with Z."""
    BYTES = "bytes"
    """Bytes; frames hold them as base64 text."""
    REFERENCE = "reference"
    """Names another entry; the value is that entry's key, whatever the wire writes (an id, a DN, an address)."""
    STRUCTURE = "structure"
    """Several named values in one."""


class Count(StrEnum):
    """How many values an attribute holds."""

    ONE = "one"
    LIST = "list"
    """Several; their order is kept, and may count."""
    SET = "set"
    """Several; each once, in no order."""


class Write(StrEnum):
    """When an attribute can be written."""

    ALWAYS = "always"
    ON_CREATE = "on create"
    NEVER = "never"
    BLIND = "blind"
    """Written, but never shown: a password."""


class Sameness(StrEnum):
    """When the system takes two texts for the same value."""

    EXACT = "exact"
    FOLDED = "folded"
    """Case does not count."""
    SQUEEZED = "squeezed"
    """Neither case nor the number of blanks counts."""
    NAME = "name"
    """Distinguished names: neither case nor blanks around commas and equal signs count."""


class Reach(StrEnum):
    """Within what a value may stand only once."""

    CONTAINER = "container"
    SYSTEM = "system"
    WORLD = "world"
    """Also among the entries of other customers of the same system, which nobody here can see."""


class Counted(StrEnum):
    """What a system counts when it measures a text."""

    CHARACTERS = "characters"
    UTF16 = "utf-16"
    """Units of UTF-16: an emoji is two of them."""


class Place(StrEnum):
    """What an attribute says about where an entry stands. Changing it moves or renames the entry."""

    CONTAINER = "container"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Attribute:
    """What a system says about one attribute path."""

    path: str = field(default="", compare=False)
    """Its flat path; empty where a mapping by path already says it."""
    form: Form = Form.TEXT
    count: Count = Count.ONE
    write: Write = Write.ALWAYS
    same: Sameness = Sameness.FOLDED
    unique: Reach | None = None
    """Within what the system refuses a second entry with the same value; None where it takes doubles."""
    required: bool = False
    longest: int | None = None
    """Characters at most."""
    counted: Counted = Counted.CHARACTERS
    """What ``longest`` counts."""
    holds_empty: bool = True
    """False where the system has no empty text: what maps to it has no value."""
    fits: str = ""
    """Regular expression that a text must match as a whole; empty where any text will do."""
    fits_told: str = ""
    """What fits, for people: ``"takes ASCII alone"``."""
    values: tuple[str, ...] = ()
    """The only values that the system names for it; empty where it names none."""
    part_of: str = ""
    """Path of the whole attribute, for a part of a structure (``name`` of ``name.givenName``)."""
    refers_to: frozenset[Kind] = frozenset()
    """Kinds of entries that a reference may name; empty where the system does not say."""
    set_by_system: bool = False
    """True where the system fills in or rewrites what it is sent, so that what it shows proves nothing."""
    searchable: bool = True
    """Whether entries can be found by it."""
    place: Place | None = None
    label: str = ""
    """What people call it; empty: its path, shortened."""

    @property
    def several(self) -> bool:
        """True for lists and sets."""
        return self.count is not Count.ONE

    @property
    def exact(self) -> bool:
        """True where two texts that differ in case are two values."""
        return self.same is Sameness.EXACT


def short_path(path: str) -> str:
    """A path as people say it: without the long name of a schema or namespace before its last colon."""
    head, bracket, rest = path.partition("[")
    return f"{head.rpartition(':')[2]}{bracket}{rest}"


class Made(StrEnum):
    """Where the groups of a family come from."""

    CREATED = "created"
    """Provisor creates, fills and deletes them."""
    FOUND = "found"
    """They exist in the target (roles, licences, permission sets): linked and filled, never created or deleted."""


class MemberOrder(StrEnum):
    """Which change comes first where a system cannot do both in one call."""

    JOIN_FIRST = "join first"
    LEAVE_FIRST = "leave first"


@dataclass(frozen=True, slots=True)
class Family:
    """One sort of groups in a target."""

    name: str = "group"
    """What people call one of them; entries say it in the column ``FAMILY`` where a target has several."""
    holds: frozenset[Kind] = frozenset({Kind.USER})
    made: Made = Made.CREATED
    needs_member: str | None = None
    """Key of the entry that stands in where a group would have no member; None where groups may be empty."""
    order: MemberOrder = MemberOrder.JOIN_FIRST
    per_call: int = 100
    """Members that go into one change."""


ACTIVE = "provisor:active"
"""Column of users: whether the account is active, where the system has no boolean attribute that says so."""
FAMILY = "provisor:family"
"""Column of groups: the name of the group's family."""
ADDRESS = "provisor:address"
"""Column: the entry's address (a DN, a URL), where that is not its key; it may change."""
STATE = "provisor:state"
"""Column of users: the system's own word for the account's state: invited, suspended, locked."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What asking takes, in requests; estimates are made of it."""

    find: int = 1
    """Values that one request can look for."""
    fetch: int = 1
    """Entries that one request can fetch by key."""
    page: int = 500
    """Entries that one page of a listing holds."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a target is and can do; the planner asks, it never tries."""

    switch: str | None = ACTIVE
    """Boolean column of users that says whether an account is active and switches it; None where none can be disabled.
    The system's own attribute where that is a plain boolean, otherwise ``ACTIVE``."""
    cannot: frozenset[tuple[Kind, Action]] = frozenset()
    """What the target does not do."""
    groups: bool = True
    families: tuple[Family, ...] = (Family(holds=frozenset(Kind)),)
    members_per_change: int = 100
    """Members that go into one change."""
    costs: Costs = Costs()
    signed_in: str | None = None
    """Key of the account that Provisor signs in with, where the system tells; it is never disabled or deleted."""

    def does(self, kind: Kind, action: Action) -> bool:
        """Whether the target does this to entries of a kind."""
        return (kind, action) not in self.cannot

    @property
    def nested(self) -> bool:
        """Whether groups can be members of groups."""
        return any(Kind.GROUP in family.holds for family in self.families)

    @property
    def makes_groups(self) -> bool:
        """Whether any group of the target can be created."""
        return any(family.made is Made.CREATED for family in self.families)


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
    permit: Callable[[], bool] | None = None
    """Whether this process may still send, since another one may have taken the work over. Asked right before every
    request, so that it must be quick; after a no nothing more is sent, as after ``halt``. None: it may."""


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
    known_by: tuple[str, ...] = ()
    """On create: attributes by which the account can be found again, should the answer be lost."""

    @property
    def joins(self) -> tuple[str, ...]:
        """Target ids of those who become members; on create those whom a group is made with."""
        return self.members if self.action in (Action.ADD_MEMBERS, Action.CREATE) else ()

    @property
    def leaves(self) -> tuple[str, ...]:
        """Target ids of those who stop being members."""
        return self.members if self.action is Action.REMOVE_MEMBERS else ()


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
    address: str | None = None
    """The entry's address, where the system told it or the change moved the entry."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Of a change that was done in part: attribute paths or members that were refused, each with its sentence."""
    pending: frozenset[str] = frozenset()
    """Attribute paths that the system has taken but shows later, as an address that its owner has to confirm."""
    job: str | None = None
    """The system's name of the job that finishes the change, where ``LATER``."""


@runtime_checkable
class Source(Protocol):
    """A system that says who there is."""

    def check(self) -> str:
        """Prove that the system can be read, as cheaply as possible; give one sentence about what answered.

        Raises: FatalError.
        """
        ...

    def attributes(self, kind: Kind) -> Mapping[str, Attribute] | None:
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

    def traits(self) -> Traits:
        """What this target is and can do, asked once per cycle. Raises: FatalError."""
        ...

    def find(
        self, kind: Kind, attribute: str, values: Sequence[str], wanted: Wanted, *, late: bool = False
    ) -> pd.DataFrame:
        """Entries whose attribute equals one of the values, compared as the target compares.

        ``late``: they may have been made a moment ago; for values that nobody has, the target is asked again for some
        seconds. Columns as ``read`` gives them for ``wanted``, and ``attribute`` itself. Raises: FatalError.
        """
        ...

    def fetch(self, kind: Kind, ids: Sequence[str], wanted: Wanted, *, late: bool = False) -> Snapshot:
        """The entries with these ids, groups with their members; entries that are gone are left out.

        ``late``: they may have been made a moment ago; those that are not there are asked for again for some seconds.
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


@runtime_checkable
class KnowsItself(Protocol):
    """A target for which it takes a request to say what ``Traits.signed_in`` would: asked only where that matters."""

    def signed_in_as(self) -> str | None:
        """Key of the account that Provisor signs in with; None where the system does not say it. Raises: FatalError."""
        ...


@runtime_checkable
class KnowsUnwritable(Protocol):
    """A target that can say beforehand which of its entries it would not let Provisor write."""

    def unwritable(self, kind: Kind, ids: Sequence[str]) -> Mapping[str, str]:
        """Those of the ids whose entries cannot be written, each with a sentence why. Raises: FatalError."""
        ...
