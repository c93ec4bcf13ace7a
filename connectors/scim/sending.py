"""Writes sent until they have taken effect for certain, or certainly will not.

A write whose answer was lost is never simply repeated: the service is asked what came of it. Writes that are as good
twice as once are repeated by the session first; for all others the question comes first.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

from connectors.contract import Change, Kind
from connectors.errors import (
    ConflictError,
    ErrorCode,
    GoneError,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    SchemaMismatchError,
    UnknownOutcomeError,
    UnsupportedError,
)
from connectors.http import Answer, Call, Effect
from connectors.scim.bulk import Session
from connectors.scim.codec import Codec
from connectors.scim.errors import error_of, sent_values
from connectors.scim.paths import Resource
from connectors.scim.requests import entry_address
from connectors.scim.schema import ENDPOINTS
from connectors.throttle import Clock

T = TypeVar("T")

MAX_ROUNDS = 3
"""Times that a write is sent anew after it has been made sure that it had no effect."""
TRIAL_ROUNDS = 1
"""The same for a form that is tried out: a service that lacks it may answer with 500 for ever."""
LOOKS_S = (0.0, 1.0, 2.0, 4.0)
"""Seconds before each look for an entry whose creation was not answered: lists may show it late."""
QUICK_LOOKS = 2
"""Looks before a create is sent again, where that can do no harm."""
LAG_S = 1.0
"""Seconds after which a service shows what it has done, where it does not at once."""


@dataclass(slots=True)
class Work:
    """One change, and the calls made for it."""

    change: Change
    calls: list[Call] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences about what was done, but otherwise than asked."""
    sociable: bool = False
    """True where its writes may go with others in one request."""
    left: dict[str, ProvisorError] = field(default_factory=dict)
    """Attributes that were not written although the rest was, each with why."""
    later: dict[str, ProvisorError] = field(default_factory=dict)
    """Attributes that the entry was created without, each with the refusal; they are written afterwards."""

    @property
    def noun(self) -> str:
        return self.change.kind.value

    @property
    def endpoint(self) -> str:
        return ENDPOINTS[self.change.kind]

    @property
    def address(self) -> str:
        """The entry's own path. Raises: InvalidValueError."""
        return entry_address(self.endpoint, self.change.target_id or "")

    @property
    def requests(self) -> int:
        return sum(call.sent for call in self.calls)

    def call(self, method: str, path: str, purpose: str, **details: Any) -> Call:
        """A call that is counted for this change."""
        call = Call(method, path, purpose, sociable=self.sociable, **details)
        self.calls.append(call)
        return call

    def note_unseen(self, error: ProvisorError) -> None:
        """It was done, and looking at it failed."""
        self.notes.append(f"It could not be read afterwards: {error}")

    def about(self, **changed: Any) -> "Work":
        """The same work with a change that says something else; calls count for both."""
        return Work(replace(self.change, **changed), self.calls, self.notes, self.sociable, self.left, self.later)


Check: TypeAlias = Callable[[], Awaitable[bool]]
"""Asks the service whether a write has taken effect."""
NextCall: TypeAlias = Callable[[], Awaitable[Call]]


@dataclass(frozen=True, slots=True)
class Held:
    """An entry as it is now."""

    entry: Resource
    etag: str | None
    """Its version, for a write that must not overwrite anybody else's."""


class StumblingError(RetryableError):
    """The service answers 500 to this request whenever it is sent, and does not do it, but answers others."""


class Sender:
    """Sends the writes of changes to one service."""

    def __init__(self, session: Session, codecs: dict[Kind, Codec], *, clock: Clock) -> None:
        self.session = session
        self.codecs = codecs
        self.clock = clock

    def refused(self, answer: Answer, call: Call, work: Work) -> ProvisorError:
        """The error for an answer that is not 2xx."""
        values = [*sent_values(work.change.attributes), *work.change.members, work.change.target_id, work.change.label]
        return error_of(answer, call, address=self.session.address, values=values)

    async def hold(self, work: Work) -> Held:
        """The entry as it is now. Raises: GoneError, RetryableError, SchemaMismatchError and other FatalErrors."""
        call = work.call("GET", work.address, f"read the {work.noun}", known=True)
        answer = await self.session.send(call)
        if answer.status != 200:
            raise self.refused(answer, call, work)
        entry = answer.json()
        if not isinstance(entry, dict):
            raise SchemaMismatchError(f"The {work.noun} is not a JSON object.")
        return Held(entry, answer.headers.get("etag"))

    async def hold_again(self, work: Work) -> Held:
        """The entry as it is after a write: a service may show it late. Raises: as ``hold``."""
        return await self._patiently(lambda: self.hold(work), LOOKS_S)

    async def _patiently(self, look: Callable[[], Awaitable[T]], looks_s: Sequence[float]) -> T:
        """What a look shows; an entry that is not there is looked for again. ``looks_s``: seconds before each look."""
        *before, last = looks_s
        for wait_s in before:
            await self.clock.sleep(wait_s)
            with suppress(GoneError):
                return await look()
        await self.clock.sleep(last)
        return await look()

    async def until_applied(
        self, work: Work, next_call: NextCall, applied: Check, *, trial: bool = False
    ) -> Resource | None:
        """Send until the write has taken effect for certain. ``trial``: in a form that is only tried out.

        Gives the entry as the answer shows it, None where it shows none. That a service answers yes is believed here.
        Raises: RejectedError, RetryableError, UnknownOutcomeError, FatalError.
        """
        lost: UnknownOutcomeError | None = None
        rounds = TRIAL_ROUNDS if trial else MAX_ROUNDS
        for repetition in range(rounds):
            if repetition:
                await self.clock.sleep(LOOKS_S[repetition])
            try:
                call = await next_call()
            except GoneError:
                if lost is None or not await self._sure(applied, lost):
                    raise
                return None
            try:
                answer = await self.session.send(call)
            except UnknownOutcomeError as error:
                lost = error
            except RetryableError:
                if lost is None:
                    raise
            else:
                if accepted(answer):
                    return entry_in(answer)
                if 200 <= answer.status < 300:
                    lost = UnknownOutcomeError(
                        f"The answer is not one of a SCIM service (HTTP {answer.status}): to {call.purpose}.",
                        code=ErrorCode.PROTOCOL_ERROR,
                    )
                elif answer.status == 412 and not call.doubtful and repetition + 1 < rounds:
                    continue  # somebody else was quicker: the next call is made from what is there now
                else:
                    refused = self.refused(answer, call, work)
                    proves_nothing = (lost is not None or call.doubtful) and isinstance(refused, RejectedError)
                    if not proves_nothing or not await self._sure(applied, lost):
                        raise refused
                    return None
            if await self._sure(applied, lost):
                return None
        assert lost is not None
        failure = StumblingError if call.status == 500 else RetryableError
        raise failure(f"{lost} It has not taken effect.", code=lost.code)

    async def _sure(self, applied: Check, lost: UnknownOutcomeError | None) -> bool:
        """Whether the write has taken effect. An entry that is not shown may be shown late: it is waited for."""
        try:
            return await self._patiently(applied, LOOKS_S if lost is not None else LOOKS_S[:1])
        except GoneError:
            raise
        except (RejectedError, RetryableError, SchemaMismatchError) as error:
            raise UnknownOutcomeError(f"{lost or ''} Reading it back failed: {error}".strip()) from error

    async def delete(self, work: Work) -> None:
        """Delete the entry; who is gone already is deleted. Raises: as ``until_applied``."""

        async def call() -> Call:
            return work.call("DELETE", work.address, f"delete the {work.noun}", effect=Effect.REPEATABLE, known=True)

        async def gone() -> bool:
            try:
                await self.hold(work)
            except GoneError:
                return True
            return False

        try:
            await self.until_applied(work, call, gone)
        except GoneError:
            return  # somebody was quicker: that is what was wanted


def accepted(answer: Answer) -> bool:
    """True for an answer that only a service which has done the write gives: a sign-in page says 200 as well.

    202 is no such answer: the service has only promised.
    """
    if not 200 <= answer.status < 300 or answer.status == 202:
        return False
    try:
        return not answer.body.strip() or isinstance(answer.json(), dict)
    except SchemaMismatchError:
        return False


def entry_in(answer: Answer) -> Resource | None:
    """The entry that the answer to a write shows, None where it shows none."""
    try:
        entry = answer.json()
    except SchemaMismatchError:
        return None
    return entry if isinstance(entry, dict) and entry.get("id") else None


def may_be_the_form(error: ProvisorError) -> bool:
    """True for a refusal that the same change in another form may not meet."""
    if isinstance(error, ConflictError | GoneError):
        return False
    return isinstance(error, UnsupportedError | InvalidValueError | StumblingError)


def cannot(error: ProvisorError | None, *, whole: bool) -> bool:
    """True for a refusal that has nothing to do with what was sent: the service does not do such a thing.

    ``whole``: it was a PUT, which services that lack it often answer with 500.
    """
    return isinstance(error, UnsupportedError) or (whole and isinstance(error, StumblingError))


def vanished(before: Collection[Any], after: Collection[Any]) -> list[Any]:
    """What was in a list and is no longer."""
    return [one for one in before if one not in after]
