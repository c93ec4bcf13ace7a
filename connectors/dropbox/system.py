"""The connector as a whole: a Dropbox team over its API, as source and as target."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from connectors.contract import Change, Outcome, Pace
from connectors.dropbox import reading, seats, writing
from connectors.dropbox.answers import MEANINGS, problem, stops_everything
from connectors.dropbox.attributes import ACTIVE, EMAIL, GROUPS, status_of, users_of
from connectors.dropbox.settings import DropboxSettings, DropboxTargetSettings
from connectors.errors import ErrorCode, RejectedError, SettingsError
from connectors.http import Answer, Call, HttpSession
from connectors.kit import (
    Action,
    Edge,
    Family,
    KitSource,
    KitTarget,
    Known,
    Limits,
    Opening,
    SessionWire,
    Switch,
    System,
    call,
    open_http,
)
from connectors.throttle import Clock

ASKS = "ask what came of a job"
POLL_S = 0.5
"""Seconds for which what is known of a job counts: all members of a pack ask for the same one."""
SCOPES = {
    "members/add/job_status/get_v2": "members.write",
    "members/remove/job_status/get": "members.delete",
    "groups/job_status/get": "groups.write",
}
"""Routes that only read, each with the scope for writing that it asks for."""


class DropboxWire(SessionWire):
    """An HTTP session that knows when the team is full, and asks once for what many wait for."""

    def __init__(self, session: HttpSession, clock: Clock) -> None:
        super().__init__(session)
        self._clock = clock
        self._jobs: dict[str, tuple[float, asyncio.Future[Answer]]] = {}
        self.edges: list[Edge] = []
        """Memberships that the last listing of members told."""
        self.full = False
        """Whether a member was refused for want of a seat."""

    async def send(self, asked: Call) -> Answer:
        """See :class:`connectors.http.HttpSession`.

        Raises: RejectedError for who would take a seat where none is left; CredentialsError where the token or its
        admin is not accepted.
        """
        if self.full and asked.purpose in writing.TAKES_SEAT:
            raise RejectedError(MEANINGS["team_license_limit"].text, code=ErrorCode.NOT_PERMITTED)
        answer = await self._session.send(asked)
        if error := stops_everything(answer):
            raise error
        if asked.purpose in writing.TAKES_SEAT or asked.purpose == ASKS:
            self._note_full(answer)
        return answer

    def _note_full(self, answer: Answer) -> None:
        if answer.status != 200:
            self.full = self.full or problem(answer).tag in writing.FULL
            return
        body = answer.json()
        items = body.get("complete") if isinstance(body, dict) else None
        tags = {one.get(".tag") for one in items or () if isinstance(one, dict)}
        self.full = self.full or bool(tags & writing.FULL)

    async def job(self, purpose: str, job: str) -> Answer:
        """What came of a job so far; those who ask at the same time share one request."""
        asked_at, answer = self._jobs.get(job, (0.0, None))
        stale = answer is None or (answer.done() and self._clock.now() - asked_at > POLL_S and not _is_over(answer))
        if answer is None or stale:
            asked = call("POST", f"/{writing.JOBS[purpose]}", ASKS, {"async_job_id": job})
            answer = asyncio.ensure_future(self.send(asked))
            self._jobs[job] = self._clock.now(), answer
        return await asyncio.shield(answer)


def _is_over(answer: "asyncio.Future[Answer]") -> bool:
    if answer.cancelled() or answer.exception() is not None:
        return False
    found = answer.result()
    return found.status == 200 and found.json().get(".tag") != "in_progress"


def _open(settings: DropboxSettings, opening: Opening) -> DropboxWire:
    session = open_http(settings.http(), opening)
    return DropboxWire(session, opening.clock)


async def _traits(wire: DropboxWire, settings: DropboxSettings) -> Known:
    admin = await reading.ask(wire, "token/get_authenticated_admin", None, "read who authorised the app")
    body = await reading.ask(wire, "members/get_available_team_member_roles", None, "read the admin roles")
    roles = {str(one["name"]): str(one["role_id"]) for one in body["roles"]}
    return Known(
        users=users_of(roles),
        groups=GROUPS,
        switch=Switch.words(ACTIVE, on=True, off=False),
        families=(Family(per_call=200),),
        limits=Limits(find=reading.LOOK, fetch=reading.LOOK, page=reading.PAGE, pack=writing.ROWS, settles_in_s=10.0),
        signed_in=admin["admin_profile"]["team_member_id"],
        settings=settings,
        facts={
            "roles": {name.casefold(): key for name, key in roles.items()},
            "transfer_to": await _transfer_to(wire, settings),
        },
    )


async def _transfer_to(wire: DropboxWire, settings: DropboxSettings) -> str | None:
    """Key of the member who gets the files of those who are removed. Raises: SettingsError."""
    address = settings.remove.transfer_files_to if isinstance(settings, DropboxTargetSettings) else None
    if address is None:
        return None
    found = [one for one in await reading.members_by(wire, [(EMAIL, address)]) if status_of(one) == "active"]
    if not found:
        raise SettingsError(
            "The address in target.remove.transfer_files_to is not that of an active member of the team. Correct it, "
            "or have that member accept the invitation."
        )
    return str(found[0]["profile"]["team_member_id"])


# Checks


async def _check(wire: DropboxWire, known: Known) -> str:
    return (await _looked_at(wire))[1]


async def _looked_at(wire: DropboxWire) -> tuple[Any, str]:
    """The team, and a sentence that says it answers."""
    team = await reading.ask(wire, "get_info", None, "read the team")
    await reading.ask(wire, "members/list_v2", {"limit": 1, "include_removed": False}, "list the members")
    await reading.ask(wire, "groups/list", {"limit": 1}, "list the groups")
    most, taken = team["num_licensed_users"], team["num_provisioned_users"]
    seat_word = f"{taken:,} of {most:,} seats are taken" if most else f"{taken:,} seats are taken"
    return team, f"The Dropbox team {team['name']} at {wire.address} answers: {seat_word}."


async def _check_target(wire: DropboxWire, known: Known) -> str:
    """Also that everything may be written that the job can want, and whether the team is full. Nothing is written."""
    team, said = await _looked_at(wire)
    for route, scope in SCOPES.items():  # a job that is not there: what is refused before that is the scope
        await wire.send(call("POST", f"/{route}", f"use the scope {scope}", {"async_job_id": "dbjid:none"}))
    left = team["num_licensed_users"] - team["num_provisioned_users"] - known.settings.seats_reserve
    full = team["num_licensed_users"] and left <= 0
    return f"{said} No seat is left: new members will be refused." if full else said


async def _poll(wire: DropboxWire, known: Known, job: str) -> Any:
    """What came of a job: the answer for one of its members, that it is still under way, or why nobody knows."""
    del known
    purpose, _, named = job.partition("|")
    id_, _, rest = named.partition(" ")
    answer = await wire.job(purpose, id_)
    if answer.status != 200:
        return answer
    body = answer.json()
    if body[".tag"] == "complete" and purpose == writing.ADD:
        number, _, address = rest.partition(" ")
        return writing.item_of(body, int(number), address)
    return {**body, "job": job}


SYSTEM = System(
    name="dropbox",
    settings=DropboxTargetSettings,
    open=_open,
    traits=_traits,
    check=_check_target,
    pages=reading.pages,
    look=reading.look,
    steps=writing.steps,
    verdict=writing.verdict,
    pack=writing.pack,
    unpack=writing.unpack,
    poll=_poll,
    no_seat=seats.without_seat,
    needs_row=frozenset({Action.DISABLE, Action.ENABLE, Action.DELETE}),
    in_flight=4,
)
_SOURCE = replace(SYSTEM, settings=DropboxSettings, check=_check)


class DropboxTarget(KitTarget):
    """A team in which those who come back get the account they had."""

    def apply(self, changes: Sequence[Change], done: Callable[[Outcome], None]) -> None:
        """See :class:`connectors.contract.Target`."""
        sent = {one.id: one for one in changes}
        held: dict[str, Outcome] = {}

        def tell(outcome: Outcome) -> None:
            if self._settings.recover_removed and seats.may_come_back(sent[outcome.change_id], outcome):
                held[outcome.change_id] = outcome
            else:
                done(outcome)

        try:
            super().apply(changes, tell)
            back = self._run(self._coming_back, [sent[id_] for id_ in held])
            for change in back:
                del held[change.id]
            super().apply(back, done)
        finally:
            for outcome in held.values():
                done(outcome)

    async def _coming_back(self, changes: Sequence[Change]) -> list[Change]:
        if (await self._share()).halt.halted:
            return []
        return await seats.coming_back(self._wire, changes)


def open_source(settings: DropboxSettings, *, folder: Path) -> KitSource:
    """The team as a source."""
    return KitSource(_SOURCE, settings, folder=folder)


def open_target(settings: DropboxTargetSettings, *, folder: Path, pace: Pace) -> KitTarget:
    """The team as a target."""
    return DropboxTarget(SYSTEM, settings, folder=folder, pace=pace)
