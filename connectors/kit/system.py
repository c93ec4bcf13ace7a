"""What an author of a connector writes: one frozen :class:`System` of tables and functions, and the words they use.

Functions that talk to the system (``traits``, ``check``, ``pages``, ``look``, ``poll``) are asynchronous and take the
open wire. Those that only think (``steps``, ``verdict``, ``pack``, ``unpack``, ``ours``) are pure: what goes
over the wire is data, so that it can be shown, kept, compared and tested without a server.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from connectors.contract import (
    ACTIVE,
    STATE,
    Action,
    Attribute,
    Change,
    Count,
    Family,
    Form,
    Kind,
    Pace,
    Value,
    Write,
)
from connectors.errors import ErrorCode, FatalError
from connectors.settings import Settings
from connectors.throttle import Clock

KEY = "provisor:key"
"""In a row: the entry's immutable key. As a path that is looked for: by key."""

Row: TypeAlias = Mapping[str, Any]
"""One entry as the system shows it: ``KEY`` and flat paths to Python values; a path that is missing was not shown, a
None is null. May hold ``ADDRESS`` and, for groups of several families, ``FAMILY``."""


class Wire(Protocol):
    """An open line to a system. ``connectors.http.HttpSession`` is one, and ``connectors.kit.BlockingWire``.

    ``send`` raises RetryableError for what certainly had no effect, UnknownOutcomeError where the answer was lost,
    a FatalError to stop, HaltedError when nothing may be sent any more.
    """

    requests: int
    """Requests sent so far."""

    async def send(self, request: Any, /) -> Any:
        """One request and its answer."""
        ...

    async def close(self) -> None:
        """Let go of it; safe to call twice."""
        ...


@dataclass(frozen=True, slots=True)
class Opening:
    """What a wire is opened with."""

    folder: Path
    """Where relative paths and ``${file:}`` references are looked up."""
    pace: Pace
    clock: Clock


class _SwitchForm(StrEnum):
    WORDS = "words"
    BIT = "bit"
    STEPS = "steps"


@dataclass(frozen=True, slots=True)
class Switch:
    """How an account is switched off and on. Made with ``words``, ``bit`` or ``steps``."""

    form: _SwitchForm
    path: str
    on: Value = None
    off: Value = None
    others: Mapping[str, bool] = field(default_factory=dict)
    mask: int = 0
    off_when_set: bool = True

    @classmethod
    def words(cls, path: str, *, on: Value, off: Value, others: Mapping[str, bool] | None = None) -> "Switch":
        """An attribute with a value for on and one for off; None stands for no value at all.

        ``others``: further words that the system shows, each with whether the account counts as active.
        """
        return cls(_SwitchForm.WORDS, path, on, off, dict(others or {}))

    @classmethod
    def bit(cls, path: str, mask: int, *, off_when_set: bool = True) -> "Switch":
        """A bit of a number; the other bits stay as they are."""
        return cls(_SwitchForm.BIT, path, mask=mask, off_when_set=off_when_set)

    @classmethod
    def steps(cls) -> "Switch":
        """Steps of its own: rows hold ``ACTIVE``, and ``steps`` is asked for it like for any attribute."""
        return cls(_SwitchForm.STEPS, ACTIVE)

    @property
    def column(self) -> str:
        """The boolean column that stages see: the attribute itself where it is a plain boolean."""
        return self.path if self.form is _SwitchForm.WORDS and (self.on, self.off) == (True, False) else ACTIVE

    @property
    def needs_row(self) -> bool:
        """True where what is there must be known before it can be switched."""
        return self.form is _SwitchForm.BIT

    def active(self, held: Value) -> bool | None:
        """Whether an account whose attribute holds this is active; None where the word is not known."""
        match self.form:
            case _SwitchForm.STEPS:
                return None if held is None else bool(held)
            case _SwitchForm.BIT:
                if held is None:
                    return None
                return (int(held) & self.mask != 0) is not self.off_when_set
        if _alike(held, self.off):
            return False
        if _alike(held, self.on):
            return True
        return next((active for word, active in self.others.items() if _alike(held, word)), None)

    def sets(self, active: bool, held: Value) -> Value:
        """What the attribute is to hold; ``held``: what it holds now, where ``needs_row``."""
        match self.form:
            case _SwitchForm.STEPS:
                return active
            case _SwitchForm.BIT:
                number = int(held or 0)
                return number & ~self.mask if active is self.off_when_set else number | self.mask
        return self.on if active else self.off


def _alike(left: Value, right: Value) -> bool:
    if left is None or right is None:
        return left is right
    return str(left).strip().casefold() == str(right).strip().casefold()


class Trust(StrEnum):
    """Whether a yes is believed."""

    ANSWER = "answer"
    """Always."""
    FIRST = "first"
    """The first of its kind is looked at; when it is true, the others are believed."""
    EVERY = "every"
    """Each is looked at."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much fits into one request, and how fast a system shows what it has done."""

    find: int = 100
    """Values that one look may be for."""
    fetch: int = 100
    """Keys that one look may be for."""
    page: int = 500
    """Entries in one page of a listing, for estimates."""
    pack: int = 1
    """Steps of one lane that go into one request, by their weight."""
    settles_in_s: float = 5.0
    """Seconds after which what was done is shown for certain: until then, not found proves nothing."""
    job_s: float = 600.0
    """Seconds for which a job of the system is waited for within a run."""
    trust: Trust = Trust.ANSWER


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a system once it is open: what ``traits`` gives, and every other function takes."""

    users: Mapping[str, Attribute]
    """Attributes of users by path; see :func:`table`."""
    groups: Mapping[str, Attribute] = field(default_factory=dict)
    switch: Switch | None = None
    """None where accounts cannot be disabled."""
    families: tuple[Family, ...] = ()
    """Sorts of groups; none where the system has no groups."""
    limits: Limits = Limits()
    cannot: frozenset[tuple[Kind, Action]] = frozenset()
    signed_in: str | None = None
    """Key of the account that is signed in with."""
    settings: Any = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the connector's functions need: tables read at the start, names to ids."""

    def attributes(self, kind: Kind) -> Mapping[str, Attribute]:
        """Attributes of one kind by path."""
        return self.users if kind is Kind.USER else self.groups

    def attribute(self, kind: Kind, path: str) -> Attribute:
        """What is known of a path; plain text where nothing is."""
        return self.attributes(kind).get(path) or Attribute(path)


def table(*attributes: Attribute) -> dict[str, Attribute]:
    """Attributes by path, as ``Known`` wants them."""
    return {one.path: one for one in attributes}


class ReadField(Protocol):
    """What is known of an attribute that is only read."""

    @property
    def form(self) -> Form:
        """What one of its values is."""
        ...

    @property
    def many(self) -> bool:
        """Whether it has several values."""
        ...


def read_only(fields: Mapping[str, ReadField]) -> dict[str, Attribute]:
    """Attributes by name, none of which can be written; references name users."""
    return table(
        *(
            Attribute(
                name,
                form=one.form,
                count=Count.LIST if one.many else Count.ONE,
                write=Write.NEVER,
                refers_to=frozenset({Kind.USER}) if one.form is Form.REFERENCE else frozenset(),
            )
            for name, one in fields.items()
        )
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What a listing is to give."""

    kind: Kind
    paths: tuple[str, ...]
    """Attribute paths, the switch's among them where it is wanted."""
    since: str | None = None
    """A watermark that an earlier listing gave; None: everything."""
    members: bool = False
    """Whether memberships are wanted, as ``Page.edges``."""


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for: entries whose attribute equals one of the values, as the system compares."""

    kind: Kind
    path: str
    """``KEY`` for keys; then groups come with their members, all of them."""
    values: tuple[str, ...]
    """Never more than ``Limits.find``, or ``Limits.fetch`` for keys."""
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """One membership."""

    group: str
    member: str
    id: str = ""
    """The membership's own id, where the system has one."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a listing."""

    rows: Sequence[Row] = ()
    next: str | None = None
    """Whatever the next page is asked for with; None on the last page. A listing that ends with a page that has one is
    incomplete, and one that repeats is stopped."""
    total: int | None = None
    """How many entries the system says there are."""
    edges: Sequence[Edge] = ()
    gone: Sequence[str] = ()
    """Of changes: keys of entries that were deleted."""
    disabled: Sequence[str] = ()
    """Of changes: keys of users who have been switched off, of whom the system shows nothing else any more."""
    edges_gone: Sequence[Edge] = ()
    present: Sequence[str] | None = None
    """Of changes: keys of all entries that are there, changed or not, where the system cannot say who is gone."""
    there: int | None = None
    """The same where the system says only how many these are."""
    doubt: str = ""
    """A sentence about why entries may be missing; empty where none is known."""
    seen: int = 0
    """Entries read so far, where their rows come on a later page: for progress alone."""
    partial: bool = False
    """Of changes: rows hold only what changed; they are read whole by their keys."""
    watermark: str | None = None
    """On the last page: what the next listing of changes is to be asked for with."""
    unreadable: Sequence[tuple[str | None, str]] = ()
    """Entries that could not be read: key (None where not even that is known) and why."""


class Reread(Exception):  # noqa: N818
    """Raised by ``pages``: the watermark is no longer good, everything has to be read. Its text says why."""


class Effect(StrEnum):
    """What sending a request twice would do."""

    READ = "read"
    """Nothing."""
    REPEATABLE = "repeatable"
    """The same as sending it once."""
    ONCE = "once"
    """Possibly harm: a second entry, a value twice."""


ENTRY = "entry"
MEMBERS = "members"


@dataclass(frozen=True, slots=True)
class Step:
    """One write on the way to a change; its request is data."""

    request: Any
    """What the wire's ``send`` takes. It is copied before it is sent, so that it can be sent again. After a create, a
    function of the new entry's key that gives it."""
    does: Set[str] = frozenset()
    """What it brings about, to be read back where its answer is lost: ``ENTRY`` (the entry is there, or no longer, or
    elsewhere), ``MEMBERS``, attribute paths. Empty: whatever the whole change is about."""
    effect: Effect = Effect.REPEATABLE
    serial: str | None = None
    """Steps with the same serial are sent one after the other: changes of one group."""
    lane: str | None = None
    """Steps of the same lane may go into one request; None: by itself."""
    weight: int = 1
    """How much of a pack it takes, of ``Limits.pack``; one that takes more than that goes by itself."""
    forms: tuple[Any, ...] = ()
    """Other requests for the same, tried in turn where the system cannot do it as asked; what worked is kept to."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "does", frozenset(self.does))


@dataclass(frozen=True, slots=True)
class Done:
    """It has taken effect."""

    id: str | None = None
    """On create: the new entry's key. Without it the entry is looked for."""
    address: str | None = None
    pending: frozenset[str] = frozenset()
    """Paths that were taken and are shown later."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It has not taken effect, and would not if it were sent again."""

    code: ErrorCode
    about: str = ""
    """The attribute path, member or limit that it is about."""
    text: str = ""
    """The system's own words; values of the change are struck out of it."""


@dataclass(frozen=True, slots=True)
class Partly:
    """It has taken effect, except for some members or paths."""

    refused: Mapping[str, Refused]
    id: str | None = None
    """On create: the new entry's key."""


@dataclass(frozen=True, slots=True)
class Look:
    """It may be so already, in whole or in part (already a member, already gone): see, and send the rest."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Again:
    """It certainly had no effect, and may be sent again."""

    after_s: float | None = None
    why: str = ""
    code: ErrorCode = ErrorCode.TOO_MANY_REQUESTS


@dataclass(frozen=True, slots=True)
class Later:
    """The system does it as a job."""

    job: str
    after_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Lost:
    """Nobody knows whether it has taken effect."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """Nothing more is to be sent."""

    error: FatalError


Verdict: TypeAlias = Done | Refused | Partly | Look | Again | Later | Lost | Stop
"""What an answer means for its step. What is not understood is ``Refused``, or for a read ``Stop``; never ``Again``."""


@dataclass(frozen=True, slots=True)
class Held:
    """An entry as the system shows it now, given to ``steps`` where ``needs_row`` asks for it."""

    key: str
    row: Row
    members: Mapping[str, str] = field(default_factory=dict)
    """Of a group: members, each with the id of its membership ("" where that has none)."""


OpenWire: TypeAlias = Callable[[Any, Opening], Any]
ReadTraits: TypeAlias = Callable[[Any, Any], Awaitable[Known]]
CheckSystem: TypeAlias = Callable[[Any, Known], Awaitable[str]]
ListPages: TypeAlias = Callable[[Any, Known, Asked], AsyncIterator[Page]]
LookFor: TypeAlias = Callable[[Any, Known, Sought], Awaitable[Page]]
MakeSteps: TypeAlias = Callable[[Known, Change, Held | None], Sequence[Step] | Done | Refused]
JudgeAnswer: TypeAlias = Callable[[Known, Step, Any], Verdict]


@dataclass(frozen=True, slots=True)
class System:
    """A connector: what is the system's own. A source needs nothing below ``pages``, a target ``look`` and ``steps``
    and ``verdict``."""

    name: str
    settings: type[Settings]
    open: OpenWire
    """``open(settings, opening) -> wire``; touches neither network nor disk."""
    traits: ReadTraits
    """``await traits(wire, settings) -> Known``; asked once per opening."""
    check: CheckSystem
    """``await check(wire, known)``: proves that the system can be read; gives one sentence about what answered."""
    pages: ListPages
    """``async for page in pages(wire, known, asked)``: everything of one kind, or what changed."""
    look: LookFor | None = None
    """``await look(wire, known, sought) -> Page``: entries by value or by key."""
    steps: MakeSteps | None = None
    """``steps(known, change, held) -> [Step, ...]``; pure. ``Done()`` where nothing is to be sent, ``Refused`` where
    the system cannot do it."""
    verdict: JudgeAnswer | None = None
    """``verdict(known, step, answer) -> Verdict``; pure."""
    needs_row: frozenset[Action] = frozenset()
    """Actions for which ``steps`` has to know what is there."""
    pack: Callable[[Known, Sequence[Step]], Any] | None = None
    """``pack(known, steps) -> request`` for steps of one lane; pure."""
    unpack: Callable[[Known, Sequence[Step], Any], Sequence[Any]] | None = None
    """``unpack(known, steps, answer) -> answers``, one for each step in their order; None for one that is missing."""
    poll: Callable[[Any, Known, str], Awaitable[Any]] | None = None
    """``await poll(wire, known, job) -> answer``, judged by ``verdict``."""
    ours: Callable[[Known, Change, Row], bool] | None = None
    """Whether an entry found after a lost create is the one that was created; without it, one that holds every value
    that was sent and can be read."""
    learn: Callable[[Any, Known, Sequence[Change]], Awaitable[Known]] | None = None
    """``await learn(wire, known, changes)``: what is known, with what has to be read before the steps of these changes
    can be worked out: deleted accounts that a create would double."""
    never: Callable[[Any, Known, Kind, Sequence[str]], Awaitable[Mapping[str, str]]] | None = None
    """``await never(wire, known, kind, keys)``: those of the entries that cannot be written, each with a sentence why:
    synchronised from elsewhere, filled by a rule. Asked when a plan is made, so that it says so before anything is
    sent."""
    no_seat: Callable[[Any, Known, Sequence[Change]], Awaitable[Mapping[str, str]]] | None = None
    """``await no_seat(wire, known, changes)``: ids of changes that no licence or seat is left for, each with a
    sentence. They are told and not sent, so that one refusal is not asked for a thousand times."""
    in_flight: int = 8
    """Requests in flight at most, whatever the job allows."""
    per_s: float | None = None
    """Requests a second at most, whatever the job allows."""
    generation: int = 1
    """Raised when watermarks of an earlier version of the connector are no longer good."""

    def __post_init__(self) -> None:
        writes = (self.look, self.steps, self.verdict)
        if any(writes) and not all(writes):
            raise ValueError(f"The system {self.name} is a target only with all of look, steps and verdict.")

    @property
    def is_target(self) -> bool:
        """True where it can be written."""
        return self.steps is not None


def state_of(switch: Switch | None, row: Row) -> tuple[bool | None, str | None]:
    """Whether a user is active, and the system's own word for the state where it shows one."""
    if switch is None:
        return None, None
    held = row.get(switch.path)
    word = row.get(STATE)
    if word is None and isinstance(held, str):
        word = held
    return switch.active(held), word


def is_text(attribute: Attribute) -> bool:
    """True for attributes that are kept as text: all but booleans, lists and structures."""
    return not attribute.several and attribute.form not in (Form.BOOLEAN, Form.STRUCTURE)
