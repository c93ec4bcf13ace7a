"""One change carried out, whatever happens on the way.

A write whose answer was lost is never simply repeated: the service is asked what came of it. Writes that are as good
twice as once are repeated by the session first; for all others the question comes first.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.errors import (
    ConflictError,
    ErrorCode,
    GoneError,
    HaltedError,
    ProvisorError,
    RejectedError,
    RetryableError,
    SchemaMismatchError,
    UnknownOutcomeError,
)
from connectors.http import Answer, Call, Effect, HttpSession
from connectors.scim.codec import Codec
from connectors.scim.columns import member_ids
from connectors.scim.errors import error_of, explain_conflict, sent_values
from connectors.scim.listing import page_of
from connectors.scim.paths import Path, Resource, find_element, parse_path
from connectors.scim.requests import (
    CONFORMING,
    Dialect,
    Operation,
    add_members,
    dump,
    entry_address,
    equals,
    patch,
    patch_operations,
    remove_members,
    repeatable,
    uncertain_elements,
)
from connectors.scim.schema import ENDPOINTS
from connectors.throttle import Clock

MAX_ROUNDS = 3
"""Times that a write is sent anew after it has been made sure that it had no effect."""
LOOKS_S = (0.0, 1.0, 2.0, 4.0)
"""Seconds before each look for an entry whose creation was not answered: lists may show it late."""
QUICK_LOOKS = 2
"""Looks before a create is sent again, where that can do no harm."""

_NAMING_ATTRIBUTE = {Kind.USER: "userName", Kind.GROUP: "displayName"}


@dataclass(slots=True)
class Work:
    """One change, and the calls made for it."""

    change: Change
    calls: list[Call] = field(default_factory=list)

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
        call = Call(method, path, purpose, **details)
        self.calls.append(call)
        return call


Check: TypeAlias = Callable[[], Awaitable[bool]]
"""Asks the service whether a write has taken effect."""


class Applier:
    """Carries out changes on one service."""

    def __init__(
        self, session: HttpSession, codecs: Mapping[Kind, Codec], *, clock: Clock, dialect: Dialect = CONFORMING
    ) -> None:
        self._session = session
        self._codecs = codecs
        self._clock = clock
        self._dialect = dialect

    async def carry_out(self, change: Change) -> Outcome:
        """The change's outcome. Raises: FatalError; then the change was not sent, or its outcome is unknown."""
        work = Work(change)
        started = self._clock.now()
        status, target_id, code, message = Status.DONE, change.target_id, None, ""
        try:
            target_id = await self._perform(work)
        except UnknownOutcomeError as error:
            status, code = Status.UNKNOWN, ErrorCode.UNKNOWN_OUTCOME
            message = f"{error} It could not be found out whether it took effect; the next cycle looks again."
        except HaltedError as error:
            reached = any(call.reached for call in work.calls)
            status, code = (Status.UNKNOWN if reached else Status.NOT_SENT), ErrorCode.UNKNOWN_OUTCOME
            message = f"{error} The next cycle goes on from here."
        except (RejectedError, RetryableError) as error:
            status, code, message = Status.REJECTED, error.code, str(error)
        return Outcome(
            change.id,
            status,
            target_id=target_id if status is Status.DONE else None,
            code=code,
            message=message,
            attempts=work.requests,
            duration_ms=round(1000 * (self._clock.now() - started)),
        )

    async def _perform(self, work: Work) -> str:
        """The target id of the entry, once the change is done."""
        change = work.change
        if change.action is Action.CREATE:
            return await self._create(work)
        match change.action:
            case Action.UPDATE:
                await self._update(work, change.attributes)
            case Action.ENABLE | Action.DISABLE:
                await self._update(work, change.attributes or {"active": change.action is Action.ENABLE})
            case Action.DELETE:
                await self._delete(work)
            case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
                await self._change_members(work)
        return change.target_id or ""

    def _refused(self, answer: Answer, call: Call, work: Work) -> ProvisorError:
        values = [*sent_values(work.change.attributes), *work.change.members, work.change.target_id, work.change.label]
        return error_of(answer, call, address=self._session.address, values=values)

    # -- create --------------------------------------------------------------------------------------------------

    async def _create(self, work: Work) -> str:
        """Raises: ConflictError, other RejectedErrors, RetryableError, UnknownOutcomeError, FatalError."""
        body = dump(self._codecs[work.change.kind].entry(work.change.attributes))
        lost: UnknownOutcomeError | None = None
        for repetition in range(MAX_ROUNDS):
            if repetition:
                await self._clock.sleep(LOOKS_S[repetition])
            refused: ProvisorError | None = None
            call = work.call("POST", work.endpoint, f"create the {work.noun}", effect=Effect.ONCE, body=body)
            try:
                answer = await self._session.send(call)
            except UnknownOutcomeError as error:
                lost = error
            except RetryableError as error:
                if lost is None:
                    raise
                raise UnknownOutcomeError(f"{lost} Sent again: {error}", code=lost.code) from error
            else:
                if 200 <= answer.status < 300:
                    entry_id = _created_id(answer)
                    if entry_id is not None:
                        return entry_id
                    lost = UnknownOutcomeError(
                        f"The answer to create the {work.noun} does not name its id (HTTP {answer.status}).",
                        code=ErrorCode.TIMEOUT,
                    )
                else:
                    refused = self._refused(answer, call, work)
                    if lost is None or not isinstance(refused, RejectedError):
                        raise self._explained(refused, answer, work)
            again = refused is None and self._may_be_sent_again(work, lost)
            found = await self._look_for_created(work, lost, LOOKS_S[:QUICK_LOOKS] if again else LOOKS_S)
            if found is not None:
                return found
            if refused is not None:
                raise UnknownOutcomeError(f"{lost} Sent again: {refused}", code=lost.code)
            if not again:
                raise lost
        assert lost is not None
        raise RetryableError(f"{lost} It was sent {MAX_ROUNDS} times and is not there.", code=lost.code)

    def _explained(self, refused: ProvisorError, answer: Answer, work: Work) -> ProvisorError:
        if not isinstance(refused, ConflictError):
            return refused
        naming = _NAMING_ATTRIBUTE[work.change.kind]
        return ConflictError(f"{refused} {explain_conflict(answer, work.change.attributes, default=naming)}")

    def _may_be_sent_again(self, work: Work, lost: UnknownOutcomeError) -> bool:
        """True when repeating a create does no harm although it may be there, and lists be late.

        The service must have ended with the first one, and refuse a second one of the same name by itself.
        """
        info = self._codecs[work.change.kind].slot(_NAMING_ATTRIBUTE[work.change.kind]).info
        return info is not None and info.unique and lost.code is not ErrorCode.TIMEOUT

    async def _look_for_created(self, work: Work, lost: UnknownOutcomeError, looks_s: Sequence[float]) -> str | None:
        """The id of the entry that an unanswered create made, None when there is none.

        ``looks_s``: seconds before each look. Raises: ConflictError when the name belongs to somebody else;
        UnknownOutcomeError when it cannot be told.
        """
        for wait_s in looks_s:
            if wait_s:
                await self._clock.sleep(wait_s)
            try:
                candidates = await self._with_same_name(work)
            except (RejectedError, RetryableError, SchemaMismatchError) as error:
                raise UnknownOutcomeError(f"{lost} Looking for it failed: {error}", code=lost.code) from error
            if not candidates:
                continue
            ours = [entry for entry in candidates if self._may_be_ours(entry, work.change)]
            if len(ours) == 1 and self._is_ours(ours[0], work.change):
                return str(ours[0]["id"])
            if ours:
                count = "is an entry that looks" if len(ours) == 1 else f"are {len(ours)} entries that look"
                raise UnknownOutcomeError(f"{lost} There {count} like it.", code=lost.code)
            if work.change.kind is Kind.USER:
                naming = _NAMING_ATTRIBUTE[work.change.kind]
                raise ConflictError(
                    f"Could not create the user: its {naming} belongs to another entry. If that is the same person, "
                    f"add a matching rule on {naming}; if not, change the value in the source or in its mapping."
                )
        return None

    async def _with_same_name(self, work: Work) -> list[Resource]:
        """Entries that have the name which was to be given. Raises: SchemaMismatchError when filters do not work."""
        change, codec = work.change, self._codecs[work.change.kind]
        naming = _NAMING_ATTRIBUTE[change.kind]
        name = change.attributes.get(naming)
        if name is None:
            raise SchemaMismatchError(f"Without {naming} it cannot be looked for.")
        params: dict[str, str | int] = {"filter": equals(parse_path(naming), str(name))}
        if change.kind is Kind.GROUP:
            params["excludedAttributes"] = "members"
        call = work.call("GET", work.endpoint, f"look for the {work.noun}", params=params)
        answer = await self._session.send(call)
        if answer.status != 200:
            raise self._refused(answer, call, work)
        page = page_of(answer.json(), what=f"{work.noun}s")
        entries = [entry for entry in page.entries if isinstance(entry, dict) and entry.get("id")]
        same = [entry for entry in entries if not codec.differing(entry, {naming: name})]
        if entries and not same:
            raise SchemaMismatchError("The service ignores filters.")
        return same

    def _may_be_ours(self, entry: Resource, change: Change) -> bool:
        """True when nothing that the entry holds speaks against its being what was sent."""
        codec, held = self._codecs[change.kind], self._held(entry, change)
        if (external := held.get("externalId")) is not None:
            return codec.equal("externalId", change.attributes["externalId"], external)
        told = {text: change.attributes[text] for text, value in held.items() if value is not None}
        return not codec.differing(entry, told)

    def _is_ours(self, entry: Resource, change: Change) -> bool:
        """True when the entry, which may be what was sent, holds our externalId, or else all of what was sent.

        Somebody else's account of the same name may hold little more than the name. Whether it is to be adopted is for
        the matching rules to say, in the next cycle.
        """
        held = self._held(entry, change)
        ours = held.pop("externalId", None) is not None  # some services do not keep it
        return ours or None not in held.values()

    def _held(self, entry: Resource, change: Change) -> dict[str, Any]:
        """What the entry holds of what was sent and can be read; whether it is active, others may have changed."""
        codec = self._codecs[change.kind]
        sent = [text for text, value in change.attributes.items() if value is not None and text != "active"]
        return codec.values(entry, [text for text in sent if _readable(codec, text)])

    # -- update, delete ------------------------------------------------------------------------------------------

    async def _update(self, work: Work, attributes: Mapping[str, Any]) -> None:
        change, codec = work.change, self._codecs[work.change.kind]
        present: set[str] = set()
        doubtful = uncertain_elements(attributes, change.before)
        if doubtful:
            entry = await self._get(work)
            present = {path.element for path in doubtful if _has_element(codec, entry, path)}

        def operations() -> list[Operation]:
            return patch_operations(codec, attributes, change.before, exists=lambda path: path.element in present)

        readable = {text: value for text, value in attributes.items() if _readable(codec, text)}

        async def applied() -> bool:
            if not readable:
                raise UnknownOutcomeError(f"What was written to the {work.noun} cannot be read.")
            entry = await self._get(work)
            # An element that was half added must be replaced, not added again.
            elements = [path for path in map(parse_path, attributes) if path.clauses]
            present.update(path.element for path in elements if _has_element(codec, entry, path))
            return not codec.differing(entry, readable)

        await self._patch(work, operations, applied, f"change the {work.noun}")

    async def _patch(self, work: Work, operations: Callable[[], list[Operation]], applied: Check, purpose: str) -> None:
        def call() -> Call:
            remaining = operations()
            effect = Effect.REPEATABLE if repeatable(remaining) else Effect.ONCE
            return work.call("PATCH", work.address, purpose, effect=effect, body=patch(remaining), known=True)

        await self._until_applied(work, call, applied)

    async def _until_applied(self, work: Work, next_call: Callable[[], Call], applied: Check) -> None:
        """Send until the write has taken effect for certain.

        Raises: RejectedError, RetryableError, UnknownOutcomeError, FatalError.
        """
        lost: UnknownOutcomeError | None = None
        for repetition in range(MAX_ROUNDS):
            if repetition:
                await self._clock.sleep(LOOKS_S[repetition])
            call = next_call()
            try:
                answer = await self._session.send(call)
            except UnknownOutcomeError as error:
                lost = error
            except RetryableError:
                if lost is None:
                    raise
            else:
                if _accepted(answer):
                    return
                if 200 <= answer.status < 300:
                    lost = UnknownOutcomeError(
                        f"The answer is not one of a SCIM service (HTTP {answer.status}): to {call.purpose}.",
                        code=ErrorCode.PROTOCOL_ERROR,
                    )
                else:
                    refused = self._refused(answer, call, work)
                    proves_nothing = (lost is not None or call.doubtful) and isinstance(refused, RejectedError)
                    if not proves_nothing or not await self._sure(applied, lost):
                        raise refused
                    return
            if await self._sure(applied, lost):
                return
        assert lost is not None
        raise RetryableError(f"{lost} It has not taken effect.", code=lost.code)

    async def _sure(self, applied: Check, lost: UnknownOutcomeError | None) -> bool:
        try:
            return await applied()
        except GoneError:
            raise
        except (RejectedError, RetryableError, SchemaMismatchError) as error:
            raise UnknownOutcomeError(f"{lost or ''} Reading it back failed: {error}".strip()) from error

    async def _get(self, work: Work) -> Resource:
        """The entry as it is now. Raises: GoneError, RetryableError, SchemaMismatchError and other FatalErrors."""
        call = work.call("GET", work.address, f"read the {work.noun}", known=True)
        answer = await self._session.send(call)
        if answer.status != 200:
            raise self._refused(answer, call, work)
        entry = answer.json()
        if not isinstance(entry, dict):
            raise SchemaMismatchError(f"The {work.noun} is not a JSON object.")
        return entry

    async def _delete(self, work: Work) -> None:
        def call() -> Call:
            return work.call("DELETE", work.address, f"delete the {work.noun}", effect=Effect.REPEATABLE, known=True)

        async def gone() -> bool:
            try:
                await self._get(work)
            except GoneError:
                return True
            return False

        try:
            await self._until_applied(work, call, gone)
        except GoneError:
            return  # somebody was quicker: that is what was wanted

    # -- members -------------------------------------------------------------------------------------------------

    async def _change_members(self, work: Work) -> None:
        change = work.change
        adding = change.action is Action.ADD_MEMBERS
        remaining = list(dict.fromkeys(change.members))
        if not remaining:
            return

        def operations() -> list[Operation]:
            return add_members(remaining) if adding else remove_members(remaining, dialect=self._dialect)

        async def applied() -> bool:
            held = set(member_ids(await self._get(work)))
            remaining[:] = [member for member in remaining if (member in held) is not adding]
            return not remaining

        purpose = "add members to the group" if adding else "remove members from the group"
        await self._patch(work, operations, applied, purpose)


def _has_element(codec: Codec, entry: Resource, path: Path) -> bool:
    return find_element(codec.slot(path.container).read([entry])[0], path.clauses) is not None


def _readable(codec: Codec, text: str) -> bool:
    info = codec.slot(text).info
    return info is None or info.mutability != "writeOnly"


def _accepted(answer: Answer) -> bool:
    """True for an answer that only a service which has done the write gives: a sign-in page says 200 as well.

    202 is no such answer: the service has only promised.
    """
    if not 200 <= answer.status < 300 or answer.status == 202:
        return False
    try:
        return not answer.body.strip() or isinstance(answer.json(), dict)
    except SchemaMismatchError:
        return False


def _created_id(answer: Answer) -> str | None:
    """The id that the answer to a create names, None where it names none."""
    try:
        entry = answer.json()
    except SchemaMismatchError:
        return None
    entry_id = entry.get("id") if isinstance(entry, dict) else None
    return str(entry_id) if entry_id else None
