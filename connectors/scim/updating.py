"""Attributes of entries changed, in the form that the service understands.

The first write of each shape is looked at (``connectors.scim.habits``). What has not taken effect, or was refused in a
way that may be the form's fault, is sent again by itself, one whole attribute at a time, in one form after the other.
What takes effect in none is given up with a reason, and the other attributes of the change are written nevertheless.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors.contract import Write
from connectors.errors import (
    ErrorCode,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
    UnsupportedError,
)
from connectors.http import Call, Effect
from connectors.scim.codec import Codec
from connectors.scim.forms import PUTS, READING, containers, merged, operations, rungs, to_put
from connectors.scim.habits import Deed, Habits, Shape
from connectors.scim.paths import Path, Resource, find_element, parse_path
from connectors.scim.profile import PatchForm, Truth
from connectors.scim.requests import Operation, dump, patch, repeatable, uncertain_elements
from connectors.scim.sending import (
    LAG_S,
    Held,
    Sender,
    StumblingError,
    Work,
    cannot,
    may_be_the_form,
    vanished,
)

FAILURES = (RejectedError, RetryableError)


@dataclass(slots=True)
class Update:
    """One change of attributes under way."""

    work: Work
    codec: Codec
    attributes: Mapping[str, Any]
    present: set[str] = field(default_factory=set)
    """Elements of lists that are there although nothing is known of them."""
    old: Resource = field(default_factory=dict)
    """The entry before the first attempt, as far as it was looked at: what a list held must not get lost."""

    def shapes(self, texts: Iterable[str]) -> list[Shape]:
        """What is done, attribute by attribute."""
        found = ((self.codec.slot(text).path.container, self._deed(text)) for text in texts)
        return [(self.codec.kind, container, deed) for container, deed in dict.fromkeys(found)]

    def _deed(self, text: str) -> Deed:
        if self.attributes[text] is None:
            return Deed.CLEAR
        path, before = self.codec.slot(text).path, self.work.change.before
        if not path.clauses or path.element in self.present:
            return Deed.SET
        same = (other for other in self.attributes if self.codec.slot(other).path.element == path.element)
        return Deed.SET if any(before.get(other) is not None for other in same) else Deed.ADD

    def readable(self) -> dict[str, Any]:
        """What can be looked at afterwards."""
        return {text: value for text, value in self.attributes.items() if readable(self.codec, text)}

    def note_elements(self, entry: Resource) -> None:
        """Remember which elements of lists there are."""
        paths = [self.codec.slot(text).path for text in self.attributes]
        self.present.update(path.element for path in paths if path.clauses and has_element(self.codec, entry, path))

    def part(self, texts: Iterable[str]) -> "Update":
        """The same for some of the attributes."""
        chosen = {text: self.attributes[text] for text in texts}
        return Update(self.work, self.codec, chosen, self.present, self.old)

    def unmoved(self, entry: Resource) -> list[str]:
        """Paths that are not as wanted, and not otherwise than before either: nothing has happened to them.

        A service that keeps another value than the one it was sent has understood it.
        """
        before = self.work.change.before
        differing = self.codec.differing(entry, self.readable())
        held = self.codec.values(entry, differing)
        return [
            text
            for text in differing
            # what a reference was is known by anchor, not by id
            if self.codec.slot(text).reference or self.codec.equal(text, held[text], before.get(text))
        ]

    def lost(self, entry: Resource) -> list[str]:
        """Lists that have lost elements which nobody wanted to touch."""
        touched = [self.codec.slot(text).path for text in self.attributes]
        found = []
        for container in dict.fromkeys(path.container for path in touched if path.clauses):
            before, after = (elements_of(self.codec, one, container) for one in (self.old, entry))
            ours = [path for path in touched if path.container == container]
            others = [one for one in before if all(find_element([one], path.clauses) is None for path in ours)]
            if vanished(others, after):
                found.append(container)
        return found


class Updater:
    """Carries out updates on one service."""

    def __init__(self, sender: Sender, habits: Habits) -> None:
        self._sender = sender
        self._habits = habits

    async def update(self, work: Work, attributes: Mapping[str, Any]) -> None:
        """Raises: RejectedError, RetryableError, UnknownOutcomeError, FatalError."""
        kind, codec = work.change.kind, self._sender.codecs[work.change.kind]
        reasons = self._habits.unchangeable(kind, attributes)
        update = Update(work, codec, {text: value for text, value in attributes.items() if text not in reasons})
        if update.attributes:
            doubtful = uncertain_elements(update.attributes, work.change.before)
            if doubtful:
                update.note_elements((await self._sender.hold(work)).entry)
            await self._send_or_try(update)
        for reason in reasons.values():
            raise UnsupportedError(reason)

    async def _send_or_try(self, update: Update) -> None:
        shapes, kind = update.shapes(update.attributes), update.codec.kind
        if not self._habits.proven(shapes):
            async with self._habits.turn(kind):
                given_up = self._habits.unchangeable(kind, update.attributes)
                if not given_up and not self._habits.proven(shapes):
                    await self._try(update)
                    return
            if given_up:  # by somebody else, while this one waited for its turn
                await self.update(update.work, update.attributes)
                return
        await self._send(update)

    # -- the first time ------------------------------------------------------------------------------------------

    async def _try(self, update: Update) -> None:
        """Send it as usual and look; then what has not taken effect by itself, in other forms."""
        shapes = update.shapes(update.attributes)
        new = [shape for shape in shapes if not self._habits.proven([shape])]
        if any(deed is Deed.ADD for _, _, deed in new):
            held = await self._sender.hold(update.work)
            update.old.update(held.entry)
        refused: ProvisorError | None = None
        first = self._form(update)
        try:
            shown = await self._send(update)
        except FAILURES as error:
            if not new or not may_be_the_form(error):
                raise
            refused, unmoved = error, list(update.attributes)
        else:
            try:
                unmoved = await self._unmoved(update, shown, lag_s=LAG_S)
            except FAILURES as error:
                update.work.note_unseen(error)
                return
        self._habits.prove(set(new) - set(update.shapes(unmoved)))
        whole = containers(update.codec, update.attributes)
        failures: list[ProvisorError] = []
        for texts in self._simple_first(update.part(unmoved)):
            part = update.part(texts)
            if refused is None and self._habits.proven(part.shapes(texts)):
                continue
            given_up = self._habits.unchangeable(update.codec.kind, texts)
            if given_up:
                failures += map(UnsupportedError, given_up.values())
                continue
            try:
                await self._climb(part, refused, first=first, tried=len(whole) == 1)
            except FAILURES as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _simple_first(self, update: Update) -> list[list[str]]:
        """Paths by whole attribute. What services understand best comes first: it shows how they are to be asked."""

        def rank(texts: list[str]) -> int:
            paths = [update.codec.slot(text).path for text in texts]
            cleared = any(update.attributes[text] is None for text in texts)
            return 4 * cleared + max(2 * bool(path.clauses or path.sub) + bool(path.urn) for path in paths)

        return sorted(containers(update.codec, update.attributes).values(), key=rank)

    async def _climb(self, update: Update, refused: ProvisorError | None, *, first: PatchForm, tried: bool) -> None:
        """One whole attribute in one form after the other, until it has taken effect.

        ``first``: the form in which it was sent, with other attributes or, where it was ``tried``, by itself; by what
        others have found out meanwhile, another may be usual. Raises: as ``update``.
        """
        shapes = update.shapes(update.attributes)
        usual = self._form(update)
        silent = refused is None
        lag_s = 0.0 if silent else LAG_S
        never = not tried or cannot(refused, whole=first in PUTS)
        closed = {first in PUTS} if _closes(refused, first) else set()
        if await self._taken_otherwise(update, refused):
            return
        unnamed = await self._is_unnamed(update, refused)
        for form in (usual,) if self._habits.proven(shapes) else rungs(usual):
            if (tried and form is first) or (form in PUTS) in closed:
                continue
            if not (unnamed and form is PatchForm.PUT) and not self._worth_trying(form, update, refused, silent=silent):
                continue
            try:
                shown = await self._send(update, form)
            except FAILURES as error:
                if not may_be_the_form(error):
                    raise
                never = never and cannot(error, whole=form in PUTS)
                if _closes(error, form):
                    closed.add(form in PUTS)
                refused = refused or error
                continue
            if not await self._unmoved(update, shown, lag_s=lag_s):
                for shape in shapes:
                    self._habits.learn(shape, form, usual=self._is_simple(update))
                return
            silent, lag_s = True, 0.0
        if refused is None:
            raise self._given_up(update)
        if never and not silent:
            raise self._closed(update, refused)
        self._habits.fail(shapes)
        raise refused

    async def _taken_otherwise(self, update: Update, refused: ProvisorError | None) -> bool:
        """True once ``active`` is taken as text instead of as a boolean, or the other way, in the usual form."""
        if [*update.attributes] != ["active"] or not isinstance(refused, InvalidValueError):
            return False
        usual = self._habits.truth
        self._habits.learn_truth(Truth.TEXT if usual is Truth.BOOLEAN else Truth.BOOLEAN)
        try:
            unmoved = await self._unmoved(update, await self._send(update), lag_s=LAG_S)
        except FAILURES:
            unmoved = ["active"]
        if unmoved:
            self._habits.truth = usual
            return False
        self._habits.prove(update.shapes(update.attributes))
        return True

    async def _is_unnamed(self, update: Update, refused: ProvisorError | None) -> bool:
        """True where an extension was refused that the entry does not name among its schemas: some services insist.

        An entry that is sent back whole names what it holds.
        """
        urn = update.codec.slot(next(iter(update.attributes))).path.urn
        if not urn or not isinstance(refused, InvalidValueError):
            return False
        named = (await self._sender.hold(update.work)).entry.get("schemas")
        return isinstance(named, list) and urn.lower() not in (str(name).lower() for name in named)

    def _closed(self, update: Update, refused: ProvisorError) -> ProvisorError:
        """That nothing can be changed, learnt from a plain attribute; from another only that this one cannot."""
        kind, noun = update.codec.kind, update.work.noun
        reason = (
            f"{refused} It does so in every form, by PATCH and by PUT. Ask the service's maker, or let the job only "
            f"create and delete {noun}s."
        )
        if self._is_simple(update):
            self._habits.give_up_changing(kind, reason)
        else:
            for text in update.attributes:
                self._habits.give_up(kind, text, reason)
        return UnsupportedError(reason)

    def _given_up(self, update: Update) -> ProvisorError:
        noun = update.work.noun
        names = ", ".join(update.attributes)
        reason = (
            f"The service answers that it has changed the {noun}, but {names} stays as it was, in whatever form it is "
            f"sent: it does not keep it, or does not show it. Take it out of the {noun}s' mappings, or ask the "
            "service's maker."
        )
        for text in update.attributes:
            self._habits.give_up(update.codec.kind, text, reason)
        return UnsupportedError(reason)

    @staticmethod
    def _is_simple(update: Update) -> bool:
        return all(
            value is not None and not (path.clauses or path.sub or path.urn)
            for path, value in ((update.codec.slot(text).path, value) for text, value in update.attributes.items())
        )

    @staticmethod
    def _worth_trying(form: PatchForm, update: Update, refused: ProvisorError | None, *, silent: bool) -> bool:
        """False for a form that says the same as another, or that a refused value is no reason for."""
        cleared = any(value is None for value in update.attributes.values())
        paths = [update.codec.slot(text).path for text in update.attributes]
        plain = not any(path.clauses or path.sub for path in paths)
        match form:
            case PatchForm.CAPITALS:
                return not silent
            case PatchForm.ENTRA:
                return not silent or not plain or "active" in update.attributes
            case PatchForm.ATTRIBUTES if plain and not cleared:
                return False
            case PatchForm.BLANK | PatchForm.PUT_NULLS:
                return cleared and not any(path.clauses for path in paths)
            case PatchForm.DOTTED:
                return not plain and not any(path.clauses for path in paths)
            case PatchForm.PUT:
                return silent or isinstance(refused, UnsupportedError | StumblingError)
            case _:
                return True

    async def _unmoved(self, update: Update, shown: Resource | None, *, lag_s: float) -> list[str]:
        """Paths on which a write has had no effect, or a harmful one; asks again where the answer does not show it."""
        for wait_s in (None, 0.0, lag_s) if lag_s else (None, 0.0):
            if wait_s is None:
                entry = shown
            else:
                await self._sender.clock.sleep(wait_s)
                entry = (await self._sender.hold(update.work)).entry
            if entry is None:
                continue
            harmed = update.lost(entry) if update.old else []
            unmoved = update.unmoved(entry)
            if not unmoved and not harmed:
                return []
        by_container = containers(update.codec, update.attributes)
        return list(dict.fromkeys([*unmoved, *(text for container in harmed for text in by_container[container])]))

    # -- sending -------------------------------------------------------------------------------------------------

    def _form(self, update: Update) -> PatchForm:
        """The form of a change: of what it does, whatever asks for most."""
        order = rungs(self._habits.profile.patch)
        return max((self._habits.form(shape) for shape in update.shapes(update.attributes)), key=order.index)

    def _forms(self, update: Update, form: PatchForm | None) -> dict[PatchForm, list[str]]:
        """Paths by the form in which they are sent; all in one form where one of them needs the entry sent whole."""
        if form is None:
            found: dict[PatchForm, list[str]] = {}
            for texts in containers(update.codec, update.attributes).values():
                found.setdefault(self._form(update.part(texts)), []).extend(texts)
            form = next((one for one in found if one in PUTS), None)
            if form is None:
                return found
        return {form: list(update.attributes)}

    async def _send(self, update: Update, form: PatchForm | None = None) -> Resource | None:
        """Gives the entry as the answer shows it. Raises: as ``Sender.until_applied``."""
        work, forms = update.work, self._forms(update, form)
        purpose = f"change the {work.noun}"

        async def call() -> Call:
            held = await self._sender.hold(work) if READING & forms.keys() else Held({}, None)
            base = {**held.entry, **self._lists_before(update)}
            for form in PUTS & forms.keys():
                whole = merged(update.codec, base, update.attributes, truth=self._habits.truth)
                body = dump(to_put(form, update.codec, whole, update.attributes))
                headers = self._habits.condition(held.etag)
                return work.call(
                    "PUT", work.address, purpose, effect=Effect.REPEATABLE, body=body, known=True, headers=headers
                )
            found: list[Operation] = []
            for form, texts in forms.items():
                chosen = {text: update.attributes[text] for text in texts}
                found += operations(
                    form,
                    update.codec,
                    chosen,
                    work.change.before,
                    entry=base,
                    exists=lambda path: path.element in update.present,
                    truth=self._habits.truth,
                )
            effect = Effect.REPEATABLE if repeatable(found) else Effect.ONCE
            spelled = [one | {"op": self._habits.spelled(work.change.kind, one["op"])} for one in found]
            return work.call("PATCH", work.address, purpose, effect=effect, body=patch(spelled), known=True)

        async def applied() -> bool:
            if not update.readable():
                raise UnknownOutcomeError(f"What was written to the {work.noun} cannot be read.")
            entry = (await self._sender.hold(work)).entry
            update.note_elements(entry)  # an element that was half added must be replaced, not added again
            return not update.codec.differing(entry, update.readable())

        return await self._sender.until_applied(work, call, applied, trial=form is not None)

    @staticmethod
    def _lists_before(update: Update) -> Resource:
        """Lists as they were before anything was tried: what a service has thrown away is put back."""
        names = {path.attribute for path in map(parse_path, update.attributes) if path.clauses and not path.urn}
        return {name: update.old[name] for name in names if name in update.old}


def _closes(refused: ProvisorError | None, form: PatchForm) -> bool:
    """True for a refusal after which the same method, PATCH or PUT, need not be tried in another form."""
    if form in PUTS:
        return cannot(refused, whole=True)
    return refused is not None and refused.code is ErrorCode.METHOD_NOT_ALLOWED


def has_element(codec: Codec, entry: Resource, path: Path) -> bool:
    """True when the entry has an element that the path's filter chooses."""
    return find_element(codec.slot(path.container).read([entry])[0], path.clauses) is not None


def elements_of(codec: Codec, entry: Resource, container: str) -> list[Any]:
    """The elements of a list."""
    held = codec.slot(container).read([entry])[0]
    return held if isinstance(held, list) else []


def readable(codec: Codec, text: str) -> bool:
    """True for an attribute that the service shows."""
    info = codec.slot(text).info
    return info is None or info.write is not Write.BLIND
