"""One change carried out, whatever happens on the way."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.errors import (
    ConflictError,
    ErrorCode,
    GoneError,
    HaltedError,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    SchemaMismatchError,
    UnknownOutcomeError,
    UnsupportedError,
)
from connectors.http import Answer, Effect
from connectors.scim.bulk import BulkSession
from connectors.scim.codec import Codec
from connectors.scim.columns import member_ids
from connectors.scim.errors import explain_conflict, explain_hidden_conflict, named_in, taken_in
from connectors.scim.forms import containers, with_truth
from connectors.scim.habits import Deed, Habits, Shape
from connectors.scim.listing import page_of
from connectors.scim.members import MemberUpdater
from connectors.scim.paths import Resource, parse_path
from connectors.scim.profile import Truth
from connectors.scim.requests import dump, equals
from connectors.scim.sending import LAG_S, LOOKS_S, MAX_ROUNDS, QUICK_LOOKS, Sender, Work, entry_in, may_be_the_form
from connectors.scim.updating import Updater, readable

LATE_IN_VAIN = 2
"""Entries on which nothing comes of writing what a create has ignored, before that is left to later cycles."""
_TELLING = frozenset({"externalId", "displayName", "name"})
"""Attributes that tell who an account belongs to."""
_NAMING_ATTRIBUTE = {Kind.USER: "userName", Kind.GROUP: "displayName"}


class Applier:
    """Carries out changes on one service."""

    def __init__(self, sender: Sender, habits: Habits, bulk: BulkSession) -> None:
        self._sender = sender
        self._habits = habits
        self._bulk = bulk
        self._updater = Updater(sender, habits)
        self._members = MemberUpdater(sender, habits)
        self._in_vain_late: Counter[tuple[Kind, str]] = Counter()

    async def carry_out(self, change: Change) -> Outcome:
        """The change's outcome. Raises: FatalError; then the change was not sent, or its outcome is unknown."""
        work = Work(change)
        clock = self._sender.clock
        started = clock.now()
        status, target_id, code, message = Status.DONE, change.target_id, None, ""
        refused: dict[str, str] = {}
        try:
            target_id = await self._perform_and_look(work)
            message = " ".join(dict.fromkeys([*work.notes, *map(str, work.left.values())]))
            if work.left:
                status, code = Status.PARTLY, next(iter(work.left.values())).code
        except UnknownOutcomeError as error:
            status, code = Status.UNKNOWN, ErrorCode.UNKNOWN_OUTCOME
            message = f"{error} It could not be found out whether it took effect; the next cycle looks again."
        except HaltedError as error:
            reached = any(call.reached for call in work.calls)
            status, code = (Status.UNKNOWN if reached else Status.NOT_SENT), ErrorCode.UNKNOWN_OUTCOME
            message = f"{error} The next cycle continues from here."
        except (RejectedError, RetryableError) as error:
            status, code, message = Status.REJECTED, error.code, str(error)
            if isinstance(error, ConflictError) and error.about:
                refused[error.about] = message
        return Outcome(
            change.id,
            status,
            target_id=target_id if status in {Status.DONE, Status.PARTLY} else None,
            code=code,
            message=message,
            refused=refused or {text: str(error) for text, error in work.left.items()},
            attempts=work.requests,
            duration_ms=round(1000 * (clock.now() - started)),
        )

    async def _perform_and_look(self, work: Work) -> str:
        """As ``_perform``. The first of each kind that goes with others in one request is looked at.

        Where it was not done, nothing goes with others any more; the next cycle finds out what is left to do.
        """
        deed = (work.change.kind, work.change.action)
        work.sociable = self._bulk.together
        if not work.sociable or deed in self._bulk.seen:
            return await self._perform(work)
        async with self._bulk.turn:
            if self._bulk.together and deed not in self._bulk.seen:
                entry_id = await self._perform(work)
                if self._bulk.together and not await self._is_done(work.about(target_id=entry_id)):
                    self._bulk.give_up(f"the service says that it did {work.change.action} a {work.noun}, and did not.")
                    raise UnknownOutcomeError("The service says that it is done, but it does not show.")
                self._bulk.seen.add(deed)
                return entry_id
        return await self._perform(work)

    async def _is_done(self, work: Work) -> bool:
        """True when the entry is as the change has it, at least in part: what a service ignores, it ignores always."""
        change = work.change
        if change.action is Action.DELETE:
            return self._habits.profile.soft_delete or await self._is_gone(work)
        try:
            entry = (await self._sender.hold(work)).entry
        except GoneError:
            return False
        if change.action in {Action.ADD_MEMBERS, Action.REMOVE_MEMBERS}:
            held = set(member_ids(entry))
            return held.isdisjoint(change.members) is (change.action is Action.REMOVE_MEMBERS)
        attributes = change.attributes or {"active": change.action is Action.ENABLE}
        shown = {text: value for text, value in attributes.items() if readable(self._codec(change), text)}
        return not shown or len(self._codec(change).differing(entry, shown)) < len(shown)

    def _codec(self, change: Change) -> Codec:
        return self._sender.codecs[change.kind]

    async def _perform(self, work: Work) -> str:
        """The target id of the entry, once the change is done."""
        change = work.change
        match change.action:
            case Action.CREATE:
                return await self._create(work)
            case Action.UPDATE | Action.ENABLE | Action.DISABLE:
                switch = {} if change.action is Action.UPDATE else {"active": change.action is Action.ENABLE}
                await self._update(work, change.attributes or switch)
            case Action.DELETE:
                await self._delete(work)
            case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
                await self._members.change(work)
        return change.target_id or ""

    async def _update(self, work: Work, attributes: Mapping[str, Any]) -> None:
        """Raises: as ``Updater.update``, and the first refusal where nothing at all was written."""
        left = await self._updater.update(work, attributes)
        wanted = {Action.ENABLE: "active", Action.DISABLE: "active"}.get(work.change.action)
        if left and (len(left) == len(attributes) or wanted in left):
            raise left.get(wanted or "") or next(iter(left.values()))
        work.left |= left

    # -- create --------------------------------------------------------------------------------------------------

    async def _create(self, work: Work) -> str:
        """The new entry's id. The first one is looked at: what a create has ignored is written afterwards.

        Raises: ConflictError, other RejectedErrors, RetryableError, UnknownOutcomeError, FatalError.
        """
        kind = work.change.kind
        given = [text for text, value in work.change.attributes.items() if value is not None]
        shapes = {text: (kind, text, Deed.CREATE) for text in given}
        entry_id = None
        if not self._habits.proven(shapes.values()):
            async with self._habits.turn(kind):
                if not self._habits.proven(shapes.values()):  # nor by another meanwhile
                    entry_id = await self._try_to_create(work, shapes)
        if entry_id is None:
            entry_id, _ = await self._created_in_some_form(work)
        if kind is Kind.GROUP:
            self._habits.members.note_made(entry_id)
        await self._write_rest(work.about(target_id=entry_id, before={}))
        await self._write_late(work, entry_id, [text for text in given if text in self._habits.late[kind]])
        return entry_id

    async def _try_to_create(self, work: Work, shapes: Mapping[str, Shape]) -> str:
        """Create it and look at it. ``shapes``: by attribute, of what is given."""
        kind = work.change.kind
        try:
            entry_id, shown = await self._created_in_some_form(work)
        except RejectedError:
            self._habits.fail(shapes.values())
            raise
        try:
            ignored = await self._ignored(work.about(target_id=entry_id, before={}), shown)
        except (RejectedError, RetryableError, HaltedError) as error:
            work.note_unseen(error)
        else:
            self._habits.late[kind].update(text for text in ignored if not self._habits.proven([shapes[text]]))
            self._habits.prove(shapes.values())
        return entry_id

    async def _ignored(self, work: Work, shown: Resource | None) -> list[str]:
        """Attributes that a create has left empty; asks where its answer does not show them."""
        codec, given = self._sender.codecs[work.change.kind], self._readable(work)
        if shown is None or codec.differing(shown, given):
            shown = (await self._sender.hold(work)).entry
        held = codec.values(shown, codec.differing(shown, given))
        hopeless = self._habits.unchangeable(work.change.kind, work.change.target_id, held)
        empty = [text for text, value in held.items() if value in (None, [])]
        return [text for text in empty if text not in hopeless and text not in work.later]

    def _readable(self, work: Work) -> dict[str, Any]:
        codec = self._sender.codecs[work.change.kind]
        given = {text: value for text, value in work.change.attributes.items() if value is not None}
        return {text: value for text, value in given.items() if readable(codec, text)}

    async def _write_late(self, work: Work, entry_id: str, late: list[str]) -> None:
        """Write what a create ignores. The account is there whatever comes of it, so a failure is only noted."""
        kind = work.change.kind
        attributes = {text: work.change.attributes[text] for text in late if text not in work.later}
        if not attributes:
            return
        try:
            left = await self._updater.update(work.about(target_id=entry_id, before={}), attributes)
        except (RejectedError, RetryableError, UnknownOutcomeError, HaltedError) as error:
            work.left |= dict.fromkeys(attributes, error)
        else:
            work.left |= left
            for text in left:
                self._in_vain_late[kind, text] += 1
        self._habits.late[kind] -= {
            text for text in late if self._in_vain_late[kind, text] >= LATE_IN_VAIN
        } | self._habits.unchangeable(kind, entry_id, attributes).keys()

    async def _created_in_some_form(self, work: Work) -> tuple[str, Resource | None]:
        """As ``_created``; where a value is refused, ``active`` is said the other way, and then less is said.

        Nobody goes without an account for the sake of a title: what the service refuses of it is left, with a reason.
        """
        try:
            return await self._created(work)
        except InvalidValueError as error:
            if not may_be_the_form(error):
                raise
            refused = error
        if isinstance(work.change.attributes.get("active"), bool) and not self._habits.has_created:
            usual = self._habits.truth
            self._habits.learn_truth(Truth.TEXT if usual is Truth.BOOLEAN else Truth.BOOLEAN)
            try:
                return await self._created(work)
            except (RejectedError, RetryableError):
                self._habits.truth = usual
        return await self._created_with_less(work, refused)

    async def _created_with_less(self, work: Work, refused: InvalidValueError) -> tuple[str, Resource | None]:
        """As ``_created``, without what an account can do without; that is written afterwards, each by itself.

        Raises: ``refused`` where it is not that either.
        """
        given = {text: value for text, value in work.change.attributes.items() if value is not None}
        for kept in self._smaller(work.change.kind, given, refused):
            less = work.about(attributes={text: given[text] for text in given if text in kept})
            try:
                entry_id, shown = await self._created(less)
            except InvalidValueError:
                continue
            except ConflictError:
                raise refused from None
            work.later |= {text: refused for text in given if text not in kept}
            return entry_id, shown
        raise refused

    async def _write_rest(self, work: Work) -> None:
        """Write, attribute by attribute, what an account was created without; what is refused again is left."""
        given, later = work.change.attributes, work.later
        for texts in containers(self._codec(work.change), later).values():
            try:
                work.left |= await self._updater.update(work, {text: given[text] for text in texts})
            except (RejectedError, RetryableError, UnknownOutcomeError, HaltedError) as error:
                work.left |= dict.fromkeys(texts, error)
        if later and not work.left:
            refused = next(iter(later.values()))
            work.notes.append(f"It was created in two steps, because the service refused the first: {refused}")

    def _smaller(self, kind: Kind, given: Mapping[str, Any], refused: InvalidValueError) -> Iterator[set[str]]:
        """What to send of a create that was refused: without what the service names, then the least there can be."""
        codec, naming = self._sender.codecs[kind], _NAMING_ATTRIBUTE[kind]

        def is_required(text: str) -> bool:
            infos = (codec.slot(text).info, codec.schema.info(codec.slot(text).path.container))
            return text in {naming, "active"} or any(info is not None and info.required for info in infos)

        least = {text for text in given if is_required(text)}
        blamed = named_in(str(refused), given) - least
        steps = [set(given) - blamed] if blamed else []
        usual = {text for text in given if codec.slot(text).path.attribute in _TELLING}
        yield from (step for step in (*steps, least | usual, least) if step != set(given))

    async def _created(self, work: Work) -> tuple[str, Resource | None]:
        """The new entry's id, and the entry as the answer shows it."""
        body = dump(with_truth(self._sender.codecs[work.change.kind].entry(work.change.attributes), self._habits.truth))
        lost: UnknownOutcomeError | None = None
        for repetition in range(MAX_ROUNDS):
            if repetition:
                await self._sender.clock.sleep(LOOKS_S[repetition])
            refused: ProvisorError | None = None
            call = work.call("POST", work.endpoint, f"create the {work.noun}", effect=Effect.ONCE, body=body)
            try:
                answer = await self._sender.session.send(call)
            except UnknownOutcomeError as error:
                lost = error
            except RetryableError as error:
                if lost is None:
                    raise
                raise UnknownOutcomeError(f"{lost} Sent again: {error}", code=lost.code) from error
            else:
                if 200 <= answer.status < 300:
                    entry = entry_in(answer)
                    if entry is not None:
                        self._habits.has_created = True
                        return str(entry["id"]), entry
                    lost = UnknownOutcomeError(
                        f"The answer to create the {work.noun} does not name its id (HTTP {answer.status}).",
                        code=ErrorCode.TIMEOUT,
                    )
                else:
                    refused = self._sender.refused(answer, call, work)
                    if lost is None or not isinstance(refused, RejectedError):
                        raise await self._explained(refused, answer, work)
            again = refused is None and self._may_be_sent_again(work, lost)
            found = await self._look_for_created(work, lost, LOOKS_S[:QUICK_LOOKS] if again else LOOKS_S)
            if found is not None:
                return found, None
            if refused is not None:
                raise UnknownOutcomeError(f"{lost} Sent again: {refused}", code=lost.code)
            if not again:
                raise lost
        assert lost is not None
        # Lists may be late. Only a service that says itself that it failed is believed when it does not show it.
        failure = RetryableError if lost.code is ErrorCode.INTERNAL_SERVER_ERROR else UnknownOutcomeError
        raise failure(f"{lost} It was sent {MAX_ROUNDS} times and is not there.", code=lost.code)

    async def _explained(self, refused: ProvisorError, answer: Answer, work: Work) -> ProvisorError:
        """The refusal of a create that was sent once, with what to do about it."""
        if not isinstance(refused, ConflictError):
            return refused
        naming = _NAMING_ATTRIBUTE[work.change.kind]
        taken = taken_in(answer, work.change.attributes, default=naming)
        self._habits.refuses_doubles |= taken == naming and work.change.kind is Kind.USER
        hidden = taken == naming and await self._is_hidden(work)
        why = explain_hidden_conflict(taken, noun=work.noun) if hidden else explain_conflict(taken)
        return ConflictError(f"{refused} {why}", about=taken)

    async def _is_hidden(self, work: Work) -> bool:
        """True where the service answers that nobody has the name which it has just called taken."""
        try:
            return not await self._with_same_name(work)
        except (RejectedError, RetryableError, SchemaMismatchError):
            return False

    def _may_be_sent_again(self, work: Work, lost: UnknownOutcomeError) -> bool:
        """True when repeating a create does no harm although it may be there, and lists be late.

        The service must have ended with the first one, and refuse a second one of the same name by itself: that it says
        so is not enough, it must have done it.
        """
        info = self._sender.codecs[work.change.kind].slot(_NAMING_ATTRIBUTE[work.change.kind]).info
        unique = info is not None and info.unique is not None and work.change.kind is Kind.USER
        return unique and self._habits.refuses_doubles and lost.code is not ErrorCode.TIMEOUT

    async def _look_for_created(self, work: Work, lost: UnknownOutcomeError, looks_s: Sequence[float]) -> str | None:
        """The id of the entry that an unanswered create made, None when there is none.

        ``looks_s``: seconds before each look. Raises: ConflictError when the name belongs to somebody else;
        UnknownOutcomeError when it cannot be told.
        """
        for wait_s in looks_s:
            if wait_s:
                await self._sender.clock.sleep(wait_s)
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
                    f"add a matching rule on {naming}; if not, change the value in the source or in its mapping.",
                    about=naming,
                )
        return None

    async def _with_same_name(self, work: Work) -> list[Resource]:
        """Entries that have the name which was to be given. Raises: SchemaMismatchError when filters do not work."""
        change, codec = work.change, self._sender.codecs[work.change.kind]
        naming = _NAMING_ATTRIBUTE[change.kind]
        name = change.attributes.get(naming)
        if name is None:
            raise SchemaMismatchError(f"Without {naming} it cannot be searched for.")
        if not self._habits.profile.filters.supported:
            raise SchemaMismatchError("By its profile the service does not answer filters.")
        params: dict[str, str | int] = {"filter": equals(parse_path(naming), str(name))}
        if change.kind is Kind.GROUP:
            params["excludedAttributes"] = "members"
        call = work.call("GET", work.endpoint, f"look for the {work.noun}", params=params)
        answer = await self._sender.session.send(call)
        if answer.status != 200:
            raise self._sender.refused(answer, call, work)
        page = page_of(answer.json(), what=f"{work.noun}s")
        entries = [entry for entry in page.entries if isinstance(entry, dict) and entry.get("id")]
        same = [entry for entry in entries if not codec.differing(entry, {naming: name})]
        if entries and not same:
            raise SchemaMismatchError("The service ignores filters.")
        return same

    def _may_be_ours(self, entry: Resource, change: Change) -> bool:
        """True when nothing that the entry holds speaks against its being what was sent."""
        codec, held = self._sender.codecs[change.kind], self._held(entry, change)
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
        codec = self._sender.codecs[change.kind]
        sent = [text for text, value in change.attributes.items() if value is not None and text != "active"]
        return codec.values(entry, [text for text in sent if readable(codec, text)])

    # -- delete --------------------------------------------------------------------------------------------------

    async def _delete(self, work: Work) -> None:
        """Delete the entry, and make sure that it is gone: what takes access away is not believed unseen.

        An entry that can still be read by its id, but is switched off or no longer found, is softly deleted.
        Raises: RejectedError, RetryableError, UnknownOutcomeError, FatalError.
        """
        await self._sender.delete(work)
        if not self._habits.profile.soft_delete and not await self._is_gone(work):
            raise UnsupportedError(
                f"The service answers that it has deleted the {work.noun}, but it is still there. Set deprovision "
                "to disable, or ask the service's maker."
            )

    async def _is_gone(self, work: Work) -> bool:
        for wait_s in (0.0, LAG_S):
            await self._sender.clock.sleep(wait_s)
            try:
                entry = (await self._sender.hold(work)).entry
            except GoneError:
                return True
            if not self._sender.codecs[work.change.kind].equal("active", entry.get("active", True), True):
                return True
            naming = _NAMING_ATTRIBUTE[work.change.kind]
            try:
                same = await self._with_same_name(work.about(attributes={naming: entry.get(naming)}))
            except (RejectedError, RetryableError, SchemaMismatchError):
                return True  # nobody can tell
            if all(str(one["id"]) != work.change.target_id for one in same):
                return True
        return False
