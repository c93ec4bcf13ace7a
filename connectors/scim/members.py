"""Members of groups added and removed, in the form that the service understands.

The first addition and the first removal are looked at: that those meant have come or gone, and nobody else. A list of
members is sent back whole only where it is known to be all there is (``connectors.scim.habits.MemberHabits``): members
that a service does not show would be lost with it. An addition that is not seen is reported as such, and not tried in
another way.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from connectors.contract import Action, Kind
from connectors.errors import (
    ErrorCode,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    UnsupportedError,
)
from connectors.http import Call, Effect
from connectors.scim.columns import members_of
from connectors.scim.forms import MEMBER_LADDER, add_members, bare_member, remove_members, to_put
from connectors.scim.habits import MEMBERS, WHOLE, Deed, Habits
from connectors.scim.paths import Resource
from connectors.scim.profile import MemberForm, MembersShown, MemberValue, PatchForm
from connectors.scim.requests import dump, entry_address, patch, repeatable
from connectors.scim.schema import ENDPOINTS
from connectors.scim.sending import LAG_S, Held, Sender, StumblingError, Work, may_be_the_form, vanished

_FAILURES = (RejectedError, RetryableError)
MAX_REFUSALS = 16
"""Refusals of parts of a refused list of members, none accepted, before all of it counts as refused."""


@dataclass(slots=True)
class Joining:
    """One change of members under way."""

    work: Work
    deed: Deed
    members: list[str]
    """Ids."""
    before: list[str] = field(default_factory=list)
    """Values that the group listed before anything was tried; all of them are to be kept that are not meant."""
    values: dict[str, str] = field(default_factory=dict)
    """What stands for a member in the group's list, by id; where there is nothing, its id does."""

    @property
    def group_id(self) -> str:
        return self.work.change.target_id or ""

    def meant(self) -> list[str]:
        """The values of those who are to come or go."""
        return [self.values.get(member, member) for member in self.members]

    def left(self, listed: Collection[str]) -> list[str]:
        """Ids of those who are not yet, or still, in the list."""
        there = set(listed)
        return [one for one in self.members if (self.values.get(one, one) in there) is (self.deed is Deed.REMOVE)]

    def harmed(self, listed: Collection[str]) -> bool:
        """True when somebody has gone who was not meant."""
        others = self.before if self.deed is Deed.ADD else vanished(self.before, self.meant())
        return bool(vanished(others, listed))


class MemberUpdater:
    """Carries out changes of members on one service."""

    def __init__(self, sender: Sender, habits: Habits) -> None:
        self._sender = sender
        self._habits = habits
        self._known = habits.members

    async def change(self, work: Work) -> None:
        """One member whom the service refuses does not keep the others out: those are found, and named in ``left``.

        Raises: RejectedError, RetryableError, UnknownOutcomeError, FatalError; a refusal where nobody was changed.
        """
        deed = Deed.ADD if work.change.action is Action.ADD_MEMBERS else Deed.REMOVE
        members = list(dict.fromkeys(work.change.members))
        if not members:
            return
        try:
            await self._change(Joining(work, deed, members))
        except InvalidValueError as error:
            if len(members) == 1:
                raise
            await self._by_halves(work, deed, members, error)

    async def _by_halves(self, work: Work, deed: Deed, members: list[str], refused: InvalidValueError) -> None:
        """Members of whom at least one was refused, in ever smaller parts. Raises: as ``change``."""
        waiting = deque(_halves(members))
        left: dict[str, ProvisorError] = {}
        refusals, some_are_done = 0, False
        while waiting:
            if not some_are_done and refusals >= MAX_REFUSALS:
                raise refused
            part = waiting.popleft()
            try:
                await self._change(Joining(work, deed, list(part)))
            except InvalidValueError as error:
                refusals += 1
                if len(part) == 1:
                    left[part[0]] = error
                else:
                    waiting += _halves(part)
            else:
                some_are_done = True
        if not some_are_done:
            raise refused
        work.left |= left

    async def _change(self, joining: Joining) -> None:
        """Raises: RejectedError, RetryableError, UnknownOutcomeError, FatalError."""
        deed = joining.deed
        if self._known.value is MemberValue.USER_NAME:
            await self._look_up_names(joining)
        if self._known.value is MemberValue.REF:
            await self._look_up_groups(joining)
        if self._known.shown is not MembersShown.ALL:  # it is believed: looking would prove nothing
            await self._send(joining, self._known.form(deed))
            return
        shape = (Kind.GROUP, MEMBERS, deed)
        if self._habits.proven([shape]) or self._known.unseen_for_good:
            await self._send_and_compare(joining)
            return
        async with self._habits.turn(Kind.GROUP):
            if not self._habits.proven([shape]):
                await self._try(joining)
                return
        await self._send_and_compare(joining)

    # -- in the form that is known -------------------------------------------------------------------------------

    async def _send_and_compare(self, joining: Joining) -> None:
        """Send it, and hold the answer against it where it shows the members."""
        shown = await self._send(joining, self._known.form(joining.deed))
        proven = self._habits.proven([(Kind.GROUP, MEMBERS, joining.deed)])
        if proven and (shown is None or MEMBERS not in shown or not joining.left(_listed(shown))):
            return
        entry = (await self._sender.hold_again(joining.work)).entry
        if joining.left(_listed(entry)):
            raise self._unseen(joining, entry)

    def _unseen(self, joining: Joining, group: Resource) -> ProvisorError:
        """What to say of a change that the service says it has done, and does not show."""
        count, listed = len(joining.left(_listed(group))), len(_listed(group))
        self._known.note_unseen()
        if joining.deed is Deed.REMOVE:
            return UnsupportedError(
                f"The service answers that it has removed the members, but {count} of them are still in the group. "
                "Look at the group there: something else may put them into it."
            )
        return UnsupportedError(
            f"The service answers that it has added the members, but the group, which shows {listed} members, does "
            f"not show {count} of them. They may be in it all the same. Nothing else was tried, because members that "
            "are not shown would be lost. Look at the group there. If the service hides members, set members_shown to "
            "none or some in the target's profile."
        )

    # -- the first time ------------------------------------------------------------------------------------------

    async def _try(self, joining: Joining) -> None:
        group = (await self._sender.hold(joining.work)).entry
        joining.before = _listed(group)
        self._known.note_list(len(joining.before))
        if joining.deed is Deed.REMOVE and joining.before and len(joining.left(joining.before)) < len(joining.members):
            await self._recognize(joining, group)
        if joining.deed is Deed.ADD or self._known.is_whole(joining.group_id, len(joining.before)):
            joining.members = joining.left(joining.before)
        if not joining.members:
            return
        refused: ProvisorError | None = None
        silent = False
        usual = self._known.form(joining.deed)
        for form in (usual, *(form for form in MEMBER_LADDER if form is not usual)):
            if form is not usual and not self._worth_trying(form, joining, refused, silent=silent):
                continue
            try:
                shown = await self._send_in_some_value(joining, form)
            except _FAILURES as error:
                if not may_be_the_form(error):
                    raise
                refused = refused or error
                continue
            try:
                took_effect = await self._took_effect(joining, shown, lag_s=0.0 if silent else LAG_S)
            except _FAILURES as error:
                joining.work.note_unseen(error)
                return
            if took_effect:
                if silent and form is MemberForm.PUT:
                    self._known.patch_is_ignored = True
                self._known.learn(joining.deed, form)
                self._habits.prove([(Kind.GROUP, MEMBERS, joining.deed)])
                return
            silent = True
        if refused is None:
            raise self._unseen(joining, (await self._sender.hold(joining.work)).entry)
        self._habits.fail([(Kind.GROUP, MEMBERS, joining.deed)])
        raise refused

    def _worth_trying(self, form: MemberForm, joining: Joining, refused: ProvisorError | None, *, silent: bool) -> bool:
        """False for another PATCH where there is none, for PUT where it may be the values that were refused, and for a
        whole list that may not be all there is.
        """
        unseen = silent and joining.deed is Deed.ADD  # who is still there after a removal was seen
        if form in WHOLE and not self._known.is_whole(joining.group_id, len(joining.before), unseen=unseen):
            return False
        if form is MemberForm.VALUES:
            return joining.deed is Deed.REMOVE or not silent
        if form is MemberForm.PUT:
            return silent or isinstance(refused, UnsupportedError | StumblingError)
        return refused is None or refused.code is not ErrorCode.METHOD_NOT_ALLOWED

    async def _took_effect(self, joining: Joining, shown: Resource | None, *, lag_s: float) -> bool:
        """True when those meant have come, or gone, and nobody else has gone."""
        for wait_s in (None, 0.0, lag_s) if lag_s else (None, 0.0):
            if wait_s is None:
                if shown is None or MEMBERS not in shown:
                    continue
                entry = shown
            else:
                await self._sender.clock.sleep(wait_s)
                entry = (await self._sender.hold(joining.work)).entry
            if joining.deed is Deed.ADD and joining.left(_listed(entry)):
                await self._recognize(joining, entry)
            listed = _listed(entry)
            if not joining.left(listed) and not joining.harmed(listed):
                self._known.note_list(len(listed))
                return True
        return False

    # -- what stands for a member --------------------------------------------------------------------------------

    async def _recognize(self, joining: Joining, group: Resource) -> None:
        """Find those meant in a list that holds something else than ids: what ``$ref`` names, or a ``userName``."""
        members = members_of(group)
        by_reference = {one.referred: one.value for one in members if one.referred != one.value}
        joining.values.update({one: by_reference[one] for one in joining.members if one in by_reference})
        listed = {one.value.lower(): one.value for one in members}
        if all(joining.values.get(one, one).lower() in listed for one in joining.members) or not listed:
            return
        await self._look_up_names(joining)
        found = {one: listed[name.lower()] for one, name in joining.values.items() if name.lower() in listed}
        if any(one != value for one, value in found.items()):
            joining.values.update(found)
            self._known.learn_value(MemberValue.USER_NAME)
        elif self._known.value is not MemberValue.USER_NAME:
            joining.values.clear()

    async def _look_up_names(self, joining: Joining) -> None:
        """The ``userName`` of each member that is a user."""
        for member in joining.members:
            if member not in self._known.names:
                address = entry_address(ENDPOINTS[Kind.USER], member)
                call = joining.work.call("GET", address, "read a user", known=True)
                answer = await self._sender.session.send(call)
                if answer.status != 200:  # a group, or gone: nothing but its id is known
                    continue
                user = answer.json()
                name = user.get("userName") if isinstance(user, dict) else None
                self._known.names[member] = str(name or member)
            joining.values[member] = self._known.names[member]

    async def _look_up_groups(self, joining: Joining) -> None:
        """Which members are groups, so that ``$ref`` names the place where they are."""
        for member in joining.members:
            if member in self._known.kinds:
                continue
            self._known.kinds[member] = Kind.USER
            for kind in Kind:
                call = joining.work.call("GET", entry_address(ENDPOINTS[kind], member), f"read a {kind}", known=True)
                if (await self._sender.session.send(call)).status == 200:
                    self._known.kinds[member] = kind
                    break

    # -- sending -------------------------------------------------------------------------------------------------

    async def _send_in_some_value(self, joining: Joining, form: MemberForm) -> Resource | None:
        """As ``_send``; members that are refused with their id alone are sent with ``$ref`` beside it."""
        try:
            return await self._send(joining, form)
        except InvalidValueError as error:
            if joining.deed is Deed.REMOVE or self._known.value is not MemberValue.ID:
                raise
            self._known.value = MemberValue.REF
            await self._look_up_groups(joining)
            try:
                shown = await self._send(joining, form)
            except _FAILURES:
                self._known.value = MemberValue.ID
                raise error from None
            self._known.value = MemberValue.ID
            self._known.learn_value(MemberValue.REF)
            return shown

    def _element(self, value: str) -> Resource:
        """A member as it is sent."""
        if self._known.value is not MemberValue.REF:
            return bare_member(value)
        kind = self._known.kinds.get(value, Kind.USER)
        return {"value": value, "$ref": self._sender.session.address + entry_address(ENDPOINTS[kind], value)}

    async def _send(self, joining: Joining, form: MemberForm) -> Resource | None:
        """Gives the group as the answer shows it. Raises: as ``Sender.until_applied``."""
        work, deed = joining.work, joining.deed
        remaining = Joining(work, deed, list(joining.members), joining.before, joining.values)
        how = f"({'PUT' if form is MemberForm.PUT else f'PATCH, form {form}'})"
        purpose = f"add members to the group {how}" if deed is Deed.ADD else f"remove members from the group {how}"

        async def call() -> Call:
            held = await self._sender.hold(work) if form in WHOLE else Held({}, None)
            there = _listed(held.entry)
            if form in WHOLE:
                self._demand_whole(joining, there)
            there += [member for member in joining.before if member not in there]
            if form is MemberForm.PUT:
                return self._put(remaining, held, there, purpose)
            build = add_members if deed is Deed.ADD else remove_members
            found = build(form, remaining.meant(), there, self._element)
            effect = Effect.REPEATABLE if repeatable(found) else Effect.ONCE
            return work.call("PATCH", work.address, purpose, effect=effect, body=patch(found), known=True)

        async def applied() -> bool:
            remaining.members = remaining.left(_listed((await self._sender.hold(work)).entry))
            return not remaining.members

        trial = form is not self._known.form(deed)
        return await self._sender.until_applied(work, call, applied, trial=trial)

    def _demand_whole(self, joining: Joining, listed: Sequence[str]) -> None:
        """Raises: UnsupportedError where the list that would be sent back may not be all there is."""
        if not self._known.is_whole(joining.group_id, len(listed)):
            raise UnsupportedError(
                f"The members of the group can only be sent as a whole list. It shows {len(listed)} members and may "
                "have more, who would be lost, so nothing was sent. If the service shows all members, set "
                "members_shown: all in the target's profile; if not, change the members of this group there."
            )

    def _put(self, joining: Joining, held: Held, there: Sequence[str], purpose: str) -> Call:
        meant = joining.meant()
        wanted = dict.fromkeys([*there, *meant] if joining.deed is Deed.ADD else vanished(there, meant))
        codec = self._sender.codecs[Kind.GROUP]
        whole = to_put(PatchForm.PUT, codec, held.entry, ()) | {MEMBERS: [self._element(one) for one in wanted]}
        headers = self._habits.condition(held.etag)
        work = joining.work
        return work.call(
            "PUT", work.address, purpose, effect=Effect.REPEATABLE, body=dump(whole), known=True, headers=headers
        )


def _halves(members: list[str]) -> tuple[list[str], list[str]]:
    middle = len(members) // 2
    return members[:middle], members[middle:]


def _listed(group: Resource) -> list[str]:
    return [member.value for member in members_of(group)]
