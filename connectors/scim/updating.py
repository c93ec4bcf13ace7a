"""Attributes of entries changed, in the form that the service understands.

The first write of each shape is looked at (``connectors.scim.habits``). What has not taken effect, or was refused in a
way that may be the form's fault, is sent again by itself, one whole attribute at a time, in one form after the other.
What takes effect in none is given up with a reason, and the other attributes of the change are written nevertheless.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from connectors.contract import Kind, Write
from connectors.errors import (
    GoneError,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    UnknownOutcomeError,
    UnsupportedError,
)
from connectors.http import Call, Effect
from connectors.scim.climbing import Climb, Trace, Verdict
from connectors.scim.codec import Codec
from connectors.scim.columns import members_of
from connectors.scim.forms import PUTS, READING, containers, merged, operations, rungs, to_put
from connectors.scim.habits import Deed, Habits, Shape, switches_off
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
MOST_NAMED = 4
"""Attributes that a sentence names."""


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

    visible: bool = True
    """False where it writes what is there already, so that only the answer can tell what came of it."""

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

    def respelled(self) -> list[str]:
        """Paths of values that the service takes for those that are there: they are only written in another way."""
        before = self.work.change.before
        return [
            text
            for text, value in self.attributes.items()
            if isinstance(value, str) and value != before.get(text) and self.codec.equal(text, value, before.get(text))
        ]

    def differing(self, entry: Resource) -> list[str]:
        """Paths that can be looked at and are not as wanted; also where a respelled value has kept its letters."""
        readable = self.readable()
        respelled = [text for text in self.respelled() if text in readable]
        held, before = self.codec.values(entry, respelled), self.work.change.before
        kept = [text for text in respelled if held[text] == before.get(text)]
        return list(dict.fromkeys([*self.codec.differing(entry, readable), *kept]))

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
        differing = self.differing(entry)
        held = self.codec.values(entry, differing)
        return [
            text
            for text in differing
            # what a reference was is known by anchor, not by id
            if self.codec.slot(text).reference
            or switches_off(text, self.attributes[text])
            or self.codec.equal(text, held[text], before.get(text))
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


class _KeepsItsLettersError(RejectedError):
    """A value was to be written in other letters, which the service does not tell apart; it kept those it had."""


Left: TypeAlias = dict[str, ProvisorError]
"""Attributes of a change that were not written, each with why; empty where all of it was."""


class Updater:
    """Carries out updates on one service."""

    def __init__(self, sender: Sender, habits: Habits) -> None:
        self._sender = sender
        self._habits = habits

    async def update(self, work: Work, attributes: Mapping[str, Any]) -> Left:
        """Writes what can be written; gives what the service refused, or did not do.

        What switches an account off goes first and alone, so that no other attribute can stand in its way.
        Raises: GoneError, RetryableError, UnknownOutcomeError, HaltedError, FatalError.
        """
        off = {text: value for text, value in attributes.items() if switches_off(text, value)}
        if not off or len(off) == len(attributes):
            return await self._update(work, attributes)
        left = await self._update(work, off)
        others = {text: value for text, value in attributes.items() if text not in off}
        try:
            return left | await self._update(work, others)
        except RetryableError as error:
            return left | dict.fromkeys(others, error)

    async def _update(self, work: Work, attributes: Mapping[str, Any]) -> Left:
        kind, codec = work.change.kind, self._sender.codecs[work.change.kind]
        if "userName" in attributes:
            self._habits.members.names.pop(work.change.target_id or "", None)
        reasons = self._habits.unchangeable(kind, work.change.target_id, attributes)
        left: Left = {text: UnsupportedError(reason) for text, reason in reasons.items()}
        update = Update(work, codec, {text: value for text, value in attributes.items() if text not in reasons})
        if update.attributes and uncertain_elements(update.attributes, work.change.before):
            update.note_elements((await self._sender.hold(work)).entry)
        for texts in self._apart(update):
            left |= await self._send_or_try(update.part(texts))
        return left

    def _apart(self, update: Update) -> list[list[str]]:
        """Paths that are sent together: what others were refused goes by itself, after the rest."""
        kind, together, apart = update.codec.kind, [], []
        for container, texts in containers(update.codec, update.attributes).items():
            if self._habits.is_suspect(kind, container):
                apart.append(texts)
            else:
                together += texts
        return [texts for texts in (together, *apart) if texts]

    async def _send_or_try(self, update: Update) -> Left:
        shapes, kind = update.shapes(update.attributes), update.codec.kind
        if not self._habits.proven(shapes):
            async with self._habits.turn(kind):
                given_up = self._habits.unchangeable(kind, update.work.change.target_id, update.attributes)
                if not given_up and not self._habits.proven(shapes):
                    return await self._try(update)
            if given_up:  # by another entry, while this one waited for its turn
                return await self._update(update.work, update.attributes)
        return await self._send_and_compare(update)

    # -- in the form that is known -------------------------------------------------------------------------------

    async def _send_and_compare(self, update: Update) -> Left:
        """Send it, and hold the answer against it; one attribute at a time where they are refused together."""
        whole = containers(update.codec, update.attributes)
        try:
            unmoved = await self._contradicted(update, await self._send(update))
        except GoneError:
            raise
        except (RejectedError, StumblingError) as error:
            if len(whole) == 1:
                self._habits.note_refusal(update.codec.kind, next(iter(whole)))
                return dict.fromkeys(update.attributes, error)
            left: Left = {}
            for texts in self._simple_first(update):
                left |= await self._send_and_compare(update.part(texts))
            return left
        return self._compared(update, unmoved)

    async def _contradicted(self, update: Update, shown: Resource | None) -> list[str]:
        """Paths on which the service says one thing and shows another.

        An answer that shows the entry as wanted is believed, and so is one that shows nothing, unless somebody is to
        lose an account: then the entry is looked at.
        """
        if shown is None and not any(switches_off(*one) for one in update.attributes.items()):
            return []
        if shown is not None and not update.unmoved(shown):
            return []
        try:
            return await self._unmoved(update, None, lag_s=LAG_S)
        except FAILURES as error:
            update.work.note_unseen(error)
            return [] if shown is None else update.unmoved(shown)

    def _compared(self, update: Update, unmoved: Collection[str]) -> Left:
        """Why what has not moved is left; what has is noted as something that the service does."""
        kind, whole = update.codec.kind, containers(update.codec, update.attributes)
        moved = {name: texts for name, texts in whole.items() if not set(texts) & set(unmoved)}
        self._habits.note_success(kind, moved)
        respelled = update.respelled()  # a service may keep its own letters: that is no failure
        unmoved = [text for text in unmoved if text not in respelled]
        noun, verb = update.work.noun, "stays as it was" if len(unmoved) == 1 else "are unchanged"
        error = UnsupportedError(
            f"The service reports that it changed the {noun}, but {_listed(unmoved)} {verb}. It may protect this "
            f"{noun}: check there."
        )
        return dict.fromkeys(unmoved, error)

    # -- the first time ------------------------------------------------------------------------------------------

    async def _try(self, update: Update) -> Left:
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
        except GoneError:
            raise
        except (RejectedError, StumblingError) as error:
            refused, unmoved = error, list(update.attributes)
        else:
            try:
                unmoved = await self._unmoved(update, shown, lag_s=LAG_S)
            except FAILURES as error:
                update.work.note_unseen(error)
                return {}
        whole = containers(update.codec, update.attributes)
        if refused is None:
            moved = {name: texts for name, texts in whole.items() if not set(texts) & set(unmoved)}
            self._habits.note_success(update.codec.kind, moved)
        self._habits.prove(set(new) - set(update.shapes(unmoved)))
        left: Left = {}
        for texts in self._simple_first(update.part(unmoved)):
            part = update.part(texts)
            left |= await self._one_attribute(part, first, refused, alone=len(whole) == 1)
        return left

    async def _one_attribute(
        self, part: Update, first: PatchForm, refused: ProvisorError | None, *, alone: bool
    ) -> Left:
        """What is left of one whole attribute that was not taken as it was sent first. ``alone``: and by itself."""
        kind, texts = part.codec.kind, list(part.attributes)
        given_up = self._habits.unchangeable(kind, part.work.change.target_id, part.attributes)
        if given_up:
            return {text: UnsupportedError(given_up.get(text) or next(iter(given_up.values()))) for text in texts}
        if refused is None and self._habits.proven(part.shapes(texts)):
            return self._compared(part, texts)
        if alone and refused is not None and not may_be_the_form(refused):
            return dict.fromkeys(texts, refused)
        climb = self._climb_of(part)
        if refused is not None and not alone:
            climb.hear(first, refused)
        elif alone:
            climb.note(first, refused)
        try:
            await self._climb(part, climb)
        except GoneError:
            raise
        except _KeepsItsLettersError:
            return {}
        except (RejectedError, StumblingError) as error:
            self._habits.note_refusal(kind, next(iter(containers(part.codec, texts))))
            return dict.fromkeys(texts, error)
        self._habits.note_success(kind, containers(part.codec, texts))
        return {}

    def _simple_first(self, update: Update) -> list[list[str]]:
        """Paths by whole attribute. What services understand best comes first: it shows how they are to be asked."""

        def rank(texts: list[str]) -> int:
            paths = [update.codec.slot(text).path for text in texts]
            cleared = any(update.attributes[text] is None for text in texts)
            return 4 * cleared + max(2 * bool(path.clauses or path.sub) + bool(path.urn) for path in paths)

        return sorted(containers(update.codec, update.attributes).values(), key=rank)

    # -- one form after the other --------------------------------------------------------------------------------

    @staticmethod
    def _climb_of(update: Update) -> Climb:
        paths = [update.codec.slot(text).path for text in update.attributes]
        return Climb(
            cleared=any(value is None for value in update.attributes.values()),
            plain=not any(path.clauses or path.sub for path in paths),
            listed=any(path.clauses for path in paths),
            switch=[*update.attributes] == ["active"],
        )

    async def _climb(self, update: Update, climb: Climb) -> None:
        """One whole attribute in one form after the other, until it has taken effect.

        Raises: RejectedError or StumblingError when it has in none; and as ``update``.
        """
        if climb.may_be_spelled_otherwise and await self._taken_otherwise(update):
            return
        shapes, usual = update.shapes(update.attributes), self._form(update)
        insists = await self._is_unnamed(update, climb.refused)
        known = self._habits.proven(shapes)
        for form in climb.forms(usual, insists_on_put=insists):
            if known and form is not usual:
                break
            try:
                shown = await self._send(update, form)
            except FAILURES as error:
                if not may_be_the_form(error):
                    raise
                climb.note(form, error)
                continue
            taken = not await self._unmoved(
                update, shown, lag_s=0.0 if Trace.SILENT in climb.traces.values() else LAG_S
            )
            climb.note(form, taken=taken)
            if taken:
                for shape in shapes:
                    self._habits.learn(shape, form, usual=self._is_simple(update))
                if form in PUTS and Trace.SILENT in climb.traces.values():
                    self._habits.members.patch_is_ignored = True
                return
        raise await self._failure(update, climb)

    async def _failure(self, update: Update, climb: Climb) -> ProvisorError:
        """What to say of an attribute that has taken effect in no form; what it says of the service is remembered."""
        match climb.verdict:
            case Verdict.NOT_KEPT if set(update.attributes) == set(update.respelled()):
                return _KeepsItsLettersError("The service keeps the spelling that it has.")
            case Verdict.NOT_KEPT:
                return self._given_up(update)
            case Verdict.UNABLE if await self._is_beyond_change(update):
                return self._closed(update, climb.refused)
        self._habits.fail(update.shapes(update.attributes))
        assert climb.refused is not None
        return climb.refused

    async def _is_beyond_change(self, update: Update) -> bool:
        """True where the service refuses the entry as it is, by PATCH and by PUT: no value can be the reason.

        Raises: as ``update``.
        """
        held = (await self._sender.hold(update.work)).entry
        naming = "userName" if update.codec.kind is Kind.USER else "displayName"
        same = update.codec.values(held, [naming])
        if same[naming] is None:
            return False
        unchanged = Update(update.work, update.codec, same, update.present, update.old, visible=False)
        for form in (self._form(unchanged), PatchForm.PUT):
            try:
                await self._send(unchanged, form)
            except FAILURES as error:
                if not cannot(error, whole=form in PUTS):
                    return False
            else:
                return False
        return True

    async def _taken_otherwise(self, update: Update) -> bool:
        """True once ``active`` is taken as text instead of as a boolean, or the other way, in the usual form."""
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

    def _closed(self, update: Update, refused: ProvisorError | None) -> ProvisorError:
        """That nothing can be changed on this entry, whatever is sent."""
        kind, noun = update.codec.kind, update.work.noun
        reason = (
            f"{refused} It does so in every form, by PATCH and by PUT. Ask the service's maker, or let the job only "
            f"create and delete {noun}s."
        )
        self._habits.give_up_changing(kind, update.work.change.target_id, reason)
        return UnsupportedError(reason)

    def _given_up(self, update: Update) -> ProvisorError:
        noun, names = update.work.noun, _listed(update.attributes)
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
        method = "PUT" if PUTS & forms.keys() else "PATCH"
        purpose = f"change {_listed(update.attributes)} of the {work.noun} by {method} (form {', '.join(forms)})"

        async def call() -> Call:
            held = await self._sender.hold(work) if READING & forms.keys() else Held({}, None)
            base = {**held.entry, **self._lists_before(update)}
            for form in PUTS & forms.keys():
                self._demand_whole(work, held)
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
            if not update.visible:
                return False
            if not update.readable():
                raise UnknownOutcomeError(f"What was written to the {work.noun} cannot be read.")
            entry = (await self._sender.hold(work)).entry
            update.note_elements(entry)  # an element that was half added must be replaced, not added again
            return not update.differing(entry)

        return await self._sender.until_applied(work, call, applied, trial=form is not None)

    def _demand_whole(self, work: Work, held: Held) -> None:
        """Raises: UnsupportedError for a group whose members may not all be shown: sent back whole, it loses them."""
        if work.change.kind is Kind.GROUP:
            shown = len(members_of(held.entry))
            if not self._habits.members.is_whole(work.change.target_id or "", shown):
                raise UnsupportedError(
                    f"The group cannot be sent back whole: it shows {shown} members and may have more, who would be "
                    "lost. Make this change in the service itself."
                )

    @staticmethod
    def _lists_before(update: Update) -> Resource:
        """Lists as they were before anything was tried: what a service has thrown away is put back."""
        names = {path.attribute for path in map(parse_path, update.attributes) if path.clauses and not path.urn}
        return {name: update.old[name] for name in names if name in update.old}


def _listed(texts: Iterable[str]) -> str:
    """Attribute paths for a sentence: the first few."""
    some = list(texts)
    return ", ".join(some[:MOST_NAMED]) + (f" and {len(some) - MOST_NAMED} more" if len(some) > MOST_NAMED else "")


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
