"""What is found out about a service while it is written to: which forms it understands, and what it does not keep.

Services answer 200 and do nothing. So the first write of every shape in a cycle is looked at: what has not taken effect
is sent in another form, and what takes effect in none is not sent again. Changes of a shape that has not been tried yet
wait until the first of them has been; then they go ahead, all at once.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeAlias

from connectors.contract import Kind
from connectors.scim.profile import MemberForm, PatchForm, Profile, Truth

_log = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Entries for which every form is tried when all are refused; after that it is the values, not the form."""

ENTRIES_IN_VAIN = 2
"""Entries on which something has no effect before nobody else is tried: one alone may be somebody whom the service
protects, and must not keep all others from being changed."""


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


class Habits:
    """What is known of one service, for as long as its target is open."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.truth = profile.active
        self.late: dict[Kind, set[str]] = {kind: set() for kind in Kind}
        """Attributes that a create ignores and an update takes."""
        self._usual = dict.fromkeys(Kind, profile.patch)
        self._forms: dict[Shape, PatchForm] = {}
        self._member_forms = {Deed.ADD: profile.add_members, Deed.REMOVE: profile.remove_members}
        self._proven: set[Shape] = set()
        self._failures: Counter[Shape] = Counter()
        self._in_vain: Counter[tuple[Kind, str]] = Counter()
        self._hopeless: dict[tuple[Kind, str], str] = {}
        self._fixed: dict[Kind, str] = {}
        self._turns = {kind: asyncio.Lock() for kind in Kind}

    def turn(self, kind: Kind) -> asyncio.Lock:
        """Held by whoever tries something for the first time."""
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
                "The service does not %s %s of a %s in the form %s: %s is used. `provisor probe` writes down what it "
                "understands.",
                shape[2], shape[1], shape[0], self.form(shape), form,
            )  # fmt: skip
        self._forms[shape] = form
        self._proven.add(shape)
        if usual:
            self._usual[shape[0]] = form

    def member_form(self, deed: Deed) -> MemberForm:
        """How members are added or removed."""
        return self._member_forms[deed]

    def learn_members(self, deed: Deed, form: MemberForm) -> None:
        """Members are added or removed in this form."""
        if self._member_forms[deed] is not form:
            _log.warning(
                "The service does not %s members in the form %s: %s is used. `provisor probe` writes down what it "
                "understands.",
                deed, self._member_forms[deed], form,
            )  # fmt: skip
        self._member_forms[deed] = form
        self._proven.add((Kind.GROUP, MEMBERS, deed))

    def learn_truth(self, truth: Truth) -> None:
        """``active`` is sent like this."""
        if truth is not self.truth:
            _log.warning("The service wants active as %s. `provisor probe` writes that down.", truth)
        self.truth = truth

    def fail(self, shapes: Iterable[Shape]) -> None:
        """Every form was refused: perhaps it is the values."""
        for shape in shapes:
            self._failures[shape] += 1
            if self._failures[shape] >= MAX_FAILURES:
                self._proven.add(shape)

    def give_up(self, kind: Kind, text: str, reason: str) -> None:
        """Nothing that is written there has taken effect on one more entry; after a few it is not tried any more."""
        self._in_vain[kind, text] += 1
        if self._in_vain[kind, text] >= ENTRIES_IN_VAIN:
            self._hopeless[kind, text] = reason
            _log.warning("%s That is not tried any more in this cycle.", reason)

    def hopeless(self, kind: Kind, text: str) -> str | None:
        """Why nothing is written there any more; None where it is."""
        return self._hopeless.get((kind, text))

    def give_up_changing(self, kind: Kind, reason: str) -> None:
        """One more entry of this kind cannot be changed at all; after a few it is not tried any more."""
        self._in_vain[kind, ""] += 1
        if self._in_vain[kind, ""] >= ENTRIES_IN_VAIN:
            self._fixed[kind] = reason
            _log.warning("%s No %s is changed any more in this cycle.", reason, kind)

    def unchangeable(self, kind: Kind, texts: Iterable[str]) -> dict[str, str]:
        """Why attributes are not changed any more, for those of which this is so."""
        reasons = {text: self._fixed.get(kind) or self.hopeless(kind, text) for text in texts}
        return {text: reason for text, reason in reasons.items() if reason}
