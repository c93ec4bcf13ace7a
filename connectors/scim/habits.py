"""What is found out about a service while it is written to: which forms it understands, and what it does not keep.

Services answer 200 and do nothing. So the first write of every shape in a cycle is looked at: what has not taken effect
is sent in another form, and what takes effect in none is not sent again. Changes of a shape that has not been tried yet
wait until the first of them has been; then they go ahead, all at once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

from connectors.contract import Kind
from connectors.scim.profile import MemberForm, MembersShown, MemberValue, PatchForm, Profile, Truth

_log = logging.getLogger(__name__)

MAX_FAILURES = 20
"""Entries for which every form is tried while none has ever been taken; after that it is the values, not the form."""

ENTRIES_IN_VAIN = 20
"""Entries on which an attribute has no effect, and none on which it has, before it is not sent any more in this cycle.
A few may be accounts that the service protects; what they are refused must not be lost for all others."""

UNCHANGEABLE_ENTRIES = 2
"""Entries that cannot be changed at all, not even to what they are already, before that is the service's way."""

SUSPECT_AFTER = 2
"""Entries on which an attribute was refused before it is sent apart from the others: one request more for each entry,
and nobody loses the other attributes to it."""


class Deed(StrEnum):
    """What is done to an attribute."""

    CREATE = "create"
    SET = "set"
    ADD = "add to"
    """One more element of a list."""
    CLEAR = "clear"
    REMOVE = "remove from"


Shape: TypeAlias = tuple[Kind, str, Deed]
"""Kind of entry, whole attribute and deed: what services treat alike."""

MEMBERS = "members"

SHORTEST_CUT = 10
"""Members of a group below which its list is not taken for the beginning of a longer one, unless others are longer."""


class MemberHabits:
    """What is known of how a service keeps the members of groups, and of what it shows of them.

    A list of members may only be sent back whole when it is known to be all there is: a service may hide members, or
    show the first hundred.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._forms = {Deed.ADD: profile.add_members, Deed.REMOVE: profile.remove_members}
        self.value = profile.member_value
        """What a member's ``value`` is."""
        self.names: dict[str, str] = {}
        """``userName`` by id, of users that were looked up because lists hold names."""
        self.kinds: dict[str, Kind] = {}
        """What members are, by id, of those that were looked up because the service wants their address."""
        self.patch_is_ignored = False
        """It was seen that a PATCH was answered with yes and ignored, and that a PUT was not."""
        self._longest = 0
        self._made: set[str] = set()
        self._unseen = 0

    def form(self, deed: Deed) -> MemberForm:
        """How members are added or removed."""
        return self._forms[deed]

    def learn(self, deed: Deed, form: MemberForm) -> None:
        """Members are added or removed in this form."""
        if self._forms[deed] is not form:
            _log.warning(
                "The service does not %s members in the form %s: %s is used. `provisor probe` records what the "
                "service understands.",
                deed, self._forms[deed], form,
            )  # fmt: skip
        self._forms[deed] = form

    def learn_value(self, value: MemberValue) -> None:
        """A member's ``value`` is this."""
        if value is not self.value:
            _log.warning("The service lists members by %s. Set member_value: %s in the target's profile.", value, value)
        self.value = value

    def note_made(self, group_id: str) -> None:
        """The group was created a moment ago: nobody else has put members into it."""
        self._made.add(group_id)

    def note_list(self, length: int) -> None:
        """A group shows so many members."""
        self._longest = max(self._longest, length)

    def note_unseen(self) -> None:
        """The service said yes to one more change of members, and does not show it."""
        self._unseen += 1

    @property
    def unseen_for_good(self) -> bool:
        """True once it is known that changes are not shown, so that nobody waits for them any more."""
        return self._unseen >= SUSPECT_AFTER

    @property
    def shown(self) -> MembersShown:
        """Which members the service shows, by its profile."""
        return self._profile.members_shown

    def is_whole(self, group_id: str, length: int, *, unseen: bool = False) -> bool:
        """True where the members that a group shows are all it has, so that no one else is lost with the list.

        ``unseen``: a member was added to it, the service said yes, and the list stayed as it was: it may be cut.
        """
        if group_id in self._made:
            return True
        if self.shown is not MembersShown.ALL or (unseen and not self.patch_is_ignored):
            return False
        if "members_shown" in self._profile.model_fields_set:
            return True
        if length == 0:
            return self._longest > 0 or not {self._profile.add_members, self._profile.remove_members}.isdisjoint(WHOLE)
        return length < max(SHORTEST_CUT, self._longest)


WHOLE = frozenset({MemberForm.REPLACE, MemberForm.PUT})
"""Forms that send the whole list."""


class Habits:
    """What is known of one service, for as long as its target is open."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.truth = profile.active
        self.has_created = False
        """An account was created with ``active`` as it is sent now, so that a refusal has another reason."""
        self.refuses_doubles = profile.doubles is False
        """A second account of the same name was refused, be it now or when the service was probed."""
        self.late: dict[Kind, set[str]] = {kind: set() for kind in Kind}
        """Attributes that a create ignores and an update takes."""
        self._usual = dict.fromkeys(Kind, profile.patch)
        self._forms: dict[Shape, PatchForm] = {}
        self._proven: set[Shape] = set()
        self._failures: Counter[Shape] = Counter()
        self._in_vain: Counter[tuple[Kind, str]] = Counter()
        self._hopeless: dict[tuple[Kind, str], str] = {}
        self._fixed: dict[Kind, str] = {}
        self._fixed_entries: dict[tuple[Kind, str | None], str] = {}
        self._refusals: Counter[tuple[Kind, str]] = Counter()
        self._kept: set[tuple[Kind, str]] = set()
        self.members = MemberHabits(profile)
        self._turns = {kind: asyncio.Lock() for kind in Kind}

    def turn(self, kind: Kind) -> asyncio.Lock:
        """Held by a change that tries something for the first time."""
        return self._turns[kind]

    def proven(self, shapes: Iterable[Shape]) -> bool:
        """True when writes of all these shapes have been seen to take effect, or are not worth looking at."""
        return self._proven.issuperset(shapes)

    def prove(self, shapes: Iterable[Shape]) -> None:
        """Writes of these shapes take effect."""
        self._proven.update(shapes)

    def form(self, shape: Shape) -> PatchForm:
        """How a write of this shape is sent."""
        return self._forms.get(shape) or self._usual[shape[0]]

    def condition(self, etag: str | None) -> dict[str, str] | None:
        """Headers under which a whole entry is taken only while it is as it was read."""
        return {"If-Match": etag} if etag and self.profile.etag else None

    def spelled(self, kind: Kind, op: str) -> str:
        """An op as the service wants it: as in the form that is usual there."""
        return op.capitalize() if self._usual[kind] in {PatchForm.CAPITALS, PatchForm.ENTRA} else op

    def learn(self, shape: Shape, form: PatchForm, *, usual: bool = False) -> None:
        """A write of this shape takes effect in this form. ``usual``: so that others begin with it too."""
        if self.form(shape) is not form:
            _log.warning(
                "The service does not %s %s of a %s in the form %s: %s is used. `provisor probe` records what the "
                "service understands.",
                shape[2], shape[1], shape[0], self.form(shape), form,
            )  # fmt: skip
        self._forms[shape] = form
        self._proven.add(shape)
        if usual:
            self._usual[shape[0]] = form

    def learn_truth(self, truth: Truth) -> None:
        """``active`` is sent like this."""
        if truth is not self.truth:
            _log.warning("The service expects active as %s. `provisor probe` records that.", truth)
        self.truth = truth

    def fail(self, shapes: Iterable[Shape]) -> None:
        """Every form was refused: perhaps it is the values."""
        for shape in shapes:
            self._failures[shape] += 1
            if self._failures[shape] >= MAX_FAILURES:
                self._proven.add(shape)

    def note_refusal(self, kind: Kind, container: str) -> None:
        """An entry was refused this attribute."""
        self._refusals[kind, container] += 1

    def note_success(self, kind: Kind, containers: Mapping[str, Iterable[str]]) -> None:
        """These attributes were written, by container: whatever others are refused, the service can do it."""
        for container, texts in containers.items():
            self._refusals.pop((kind, container), None)
            self._kept.update((kind, text) for text in texts)

    def is_suspect(self, kind: Kind, container: str) -> bool:
        """True for an attribute that is better sent apart, so that its refusal takes nothing else with it."""
        return self._refusals[kind, container] >= SUSPECT_AFTER

    def give_up(self, kind: Kind, text: str, reason: str) -> None:
        """Nothing that is written there has taken effect on one more entry; after many it is not tried any more."""
        self._in_vain[kind, text] += 1
        known = (kind, text) in self._kept or (kind, text) in self._hopeless
        if self._in_vain[kind, text] >= ENTRIES_IN_VAIN and not known:
            self._hopeless[kind, text] = reason
            _log.warning("%s It is not tried again in this cycle.", reason)

    def hopeless(self, kind: Kind, text: str) -> str | None:
        """Why nothing is written there any more; None where it is."""
        return self._hopeless.get((kind, text))

    def give_up_changing(self, kind: Kind, entry_id: str | None, reason: str) -> None:
        """This entry cannot be changed at all; after a few such entries it is tried on no other of this kind."""
        self._fixed_entries[kind, entry_id] = reason
        count = sum(fixed is kind for fixed, _ in self._fixed_entries)
        if count >= UNCHANGEABLE_ENTRIES and kind not in self._fixed:
            self._fixed[kind] = reason
            _log.warning("%s No more %s are changed in this cycle; disabling is always tried.", reason, kind)

    def unchangeable(self, kind: Kind, entry_id: str | None, attributes: Mapping[str, Any]) -> dict[str, str]:
        """Why attributes of an entry are not changed any more, by path. Switching an account off is always tried."""
        fixed = self._fixed.get(kind) or self._fixed_entries.get((kind, entry_id))
        reasons = {
            text: fixed or self.hopeless(kind, text)
            for text, value in attributes.items()
            if not switches_off(text, value)
        }
        return {text: reason for text, reason in reasons.items() if reason}


def switches_off(text: str, value: Any) -> bool:
    """True for what takes an account away from somebody."""
    return text == "active" and value is False
