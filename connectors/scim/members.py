"""Members of groups added and removed, in the form that the service understands.

The first addition and the first removal are looked at: that those meant have come or gone, and nobody else.
"""

from collections.abc import Sequence

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode, ProvisorError, RejectedError, RetryableError, UnsupportedError
from connectors.http import Call, Effect
from connectors.scim.columns import member_ids
from connectors.scim.forms import MEMBER_LADDER, add_members, remove_members, to_put
from connectors.scim.habits import MEMBERS, Deed, Habits
from connectors.scim.paths import Resource
from connectors.scim.profile import MemberForm, PatchForm
from connectors.scim.requests import dump, patch, repeatable
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

_SENDS_ALL = frozenset({MemberForm.REPLACE, MemberForm.PUT})


class MemberUpdater:
    """Carries out changes of members on one service."""

    def __init__(self, sender: Sender, habits: Habits) -> None:
        self._sender = sender
        self._habits = habits

    async def change(self, work: Work) -> None:
        """Raises: RejectedError, RetryableError, UnknownOutcomeError, FatalError."""
        deed = Deed.ADD if work.change.action is Action.ADD_MEMBERS else Deed.REMOVE
        members = list(dict.fromkeys(work.change.members))
        self._demand_hope(deed)
        if not members:
            return
        shape = (Kind.GROUP, MEMBERS, deed)
        if not self._habits.proven([shape]):
            async with self._habits.turn(Kind.GROUP):
                self._demand_hope(deed)
                if not self._habits.proven([shape]):
                    await self._try(work, deed, members)
                    return
        await self._send(work, deed, members, self._habits.member_form(deed))

    def _demand_hope(self, deed: Deed) -> None:
        """Raises: UnsupportedError, once it is known that the service does not do it."""
        reason = self._habits.hopeless(Kind.GROUP, f"{deed} {MEMBERS}")
        if reason:
            raise UnsupportedError(reason)

    async def _try(self, work: Work, deed: Deed, members: Sequence[str]) -> None:
        before = member_ids((await self._sender.hold(work)).entry)
        missing = [member for member in members if (member in before) is (deed is Deed.REMOVE)]
        if not missing:
            return
        usual = self._habits.member_form(deed)
        refused: ProvisorError | None = None
        silent, never = False, True
        for form in (usual, *(form for form in MEMBER_LADDER if form is not usual)):
            if form is not usual and not self._worth_trying(form, deed, refused, silent=silent):
                continue
            try:
                shown = await self._send(work, deed, missing, form, before=before)
            except (RejectedError, RetryableError) as error:
                if not may_be_the_form(error):
                    raise
                refused = refused or error
                never = never and cannot(error, whole=form is MemberForm.PUT)
                continue
            try:
                took_effect = await self._took_effect(
                    work, deed, missing, before, shown, lag_s=0.0 if silent else LAG_S
                )
            except (RejectedError, RetryableError) as error:
                work.note_unseen(error)
                return
            if took_effect:
                self._habits.learn_members(deed, form)
                return
            silent = True
        if refused is None:
            raise self._given_up(
                f"The service answers that it has done it, but it does not {deed} members of groups, in whatever form "
                "it is asked. Leave groups out of the job, or ask the service's maker.",
                deed,
            )
        if never and not silent:
            raise self._given_up(
                f"{refused} It does not {deed} members in any other form either. Leave groups out of the job, or ask "
                "the service's maker.",
                deed,
            )
        self._habits.fail([(Kind.GROUP, MEMBERS, deed)])
        raise refused

    @staticmethod
    def _worth_trying(form: MemberForm, deed: Deed, refused: ProvisorError | None, *, silent: bool) -> bool:
        """False for another PATCH where there is none, and for PUT where it may be the values that were refused."""
        if form is MemberForm.VALUES:
            return deed is Deed.REMOVE or not silent
        if form is MemberForm.PUT:
            return silent or isinstance(refused, UnsupportedError | StumblingError)
        return refused is None or refused.code is not ErrorCode.METHOD_NOT_ALLOWED

    def _given_up(self, reason: str, deed: Deed) -> ProvisorError:
        self._habits.give_up(Kind.GROUP, f"{deed} {MEMBERS}", reason)
        return UnsupportedError(reason)

    async def _took_effect(
        self,
        work: Work,
        deed: Deed,
        members: Sequence[str],
        before: Sequence[str],
        shown: Resource | None,
        *,
        lag_s: float,
    ) -> bool:
        """True when those meant have come, or gone, and nobody else has gone."""
        others = before if deed is Deed.ADD else vanished(before, members)
        for wait_s in (None, 0.0, lag_s) if lag_s else (None, 0.0):
            if wait_s is None:
                if shown is None or MEMBERS not in shown:
                    continue
                entry = shown
            else:
                await self._sender.clock.sleep(wait_s)
                entry = (await self._sender.hold(work)).entry
            held = set(member_ids(entry))
            done = held.isdisjoint(members) if deed is Deed.REMOVE else held.issuperset(members)
            if done and held.issuperset(others):
                return True
        return False

    async def _send(
        self, work: Work, deed: Deed, members: Sequence[str], form: MemberForm, *, before: Sequence[str] | None = None
    ) -> Resource | None:
        """Gives the group as the answer shows it. ``before``: who was in it before anything was tried, to be kept."""
        remaining = list(members)
        purpose = "add members to the group" if deed is Deed.ADD else "remove members from the group"

        async def call() -> Call:
            held = await self._sender.hold(work) if form in _SENDS_ALL else Held({}, None)
            there = member_ids(held.entry)
            there += [member for member in before or () if member not in there]
            if form is MemberForm.PUT:
                return self._put(work, deed, remaining, held, there, purpose)
            build = add_members if deed is Deed.ADD else remove_members
            found = build(form, remaining, there)
            effect = Effect.REPEATABLE if repeatable(found) else Effect.ONCE
            return work.call("PATCH", work.address, purpose, effect=effect, body=patch(found), known=True)

        async def applied() -> bool:
            there = set(member_ids((await self._sender.hold(work)).entry))
            remaining[:] = [member for member in remaining if (member in there) is (deed is Deed.REMOVE)]
            return not remaining

        trial = form is not self._habits.member_form(deed)
        return await self._sender.until_applied(work, call, applied, trial=trial)

    def _put(
        self, work: Work, deed: Deed, members: Sequence[str], held: Held, there: Sequence[str], purpose: str
    ) -> Call:
        wanted = dict.fromkeys([*there, *members] if deed is Deed.ADD else vanished(there, members))
        codec = self._sender.codecs[Kind.GROUP]
        whole = to_put(PatchForm.PUT, codec, held.entry, ()) | {MEMBERS: [{"value": member} for member in wanted]}
        headers = self._habits.condition(held.etag)
        return work.call(
            "PUT", work.address, purpose, effect=Effect.REPEATABLE, body=dump(whole), known=True, headers=headers
        )
