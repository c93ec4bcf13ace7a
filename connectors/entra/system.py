"""The connector as a whole: a tenant over Microsoft Graph, as source and as target."""

import base64
import secrets
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import orjson
import pandas as pd

from connectors.contract import Pace, Snapshot, Wanted
from connectors.entra import reading, writing
from connectors.entra.asking import BATCHED, count, grant_it
from connectors.entra.assigned import assignments
from connectors.entra.attributes import GROUPS, with_extensions
from connectors.entra.returning import learn
from connectors.entra.settings import EntraSettings, EntraTargetSettings, EntraTenant
from connectors.entra.unwritable import never
from connectors.errors import CredentialsError, ErrorCode
from connectors.http import Answer, Call, HttpSession
from connectors.kit import (
    Family,
    Kind,
    KitSource,
    KitTarget,
    Known,
    Limits,
    Opening,
    SessionWire,
    Switch,
    System,
    open_http,
)
from connectors.settings import reveal
from connectors.throttle import Clock

WRITES_PER_S = 19.0
"""Below what Graph allows an app in one tenant: 3,000 writes in 150 s. Source: Microsoft Graph throttling limits."""
AT_ONCE = reading.FILTERED * BATCHED
"""Entries that one request can ask for, by value or by key."""
SETTLES_S = 60.0
"""Seconds after which every replica shows what was written, as far as users of Graph have seen."""


class EntraWire(SessionWire):
    """An HTTP session that puts a random password into requests which ask for one."""

    def __init__(self, session: HttpSession, length: int, app: str | None, clock: Clock) -> None:
        super().__init__(session)
        self._length = length
        self.clock = clock
        self.app = app
        """The application whose assignments are wanted."""

    async def send(self, call: Call) -> Answer:
        """See :class:`connectors.http.HttpSession`."""
        mark = writing.PASSWORD.encode()
        if call.body is None or mark not in call.body:
            return await self._session.send(call)
        sent = replace(call, body=call.body.replace(mark, random_password(self._length).encode()))
        try:
            return await self._session.send(sent)
        finally:
            call.sent, call.reached, call.doubtful, call.status = sent.sent, sent.reached, sent.doubtful, sent.status

    async def granted(self) -> frozenset[str] | None:
        """Application permissions that the token says it has; None where it says nothing. Raises: FatalError."""
        token = (await self._session.signature()).headers.get("authorization", "").removeprefix("Bearer ")
        try:
            claims = token.split(".")[1]
            said = orjson.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
            return frozenset(map(str, said.get("roles", ())))
        except (IndexError, ValueError, AttributeError, TypeError):
            return None


def random_password(length: int) -> str:
    """A password with small and capital letters, digits and signs that no encoding changes."""
    sorts = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "-_.~!*")
    letters = [secrets.choice(sort) for sort in sorts]
    letters += [secrets.choice("".join(sorts)) for _ in range(length - len(letters))]
    secrets.SystemRandom().shuffle(letters)
    return "".join(letters)


def _open(settings: EntraTenant, opening: Opening) -> EntraWire:
    session = open_http(settings.http(), opening)
    app = settings.app if isinstance(settings, EntraSettings) else None
    app = None if app is None else reveal(app, folder=opening.folder)
    return EntraWire(session, getattr(settings, "password_length", 24), app, opening.clock)


async def _traits(wire: EntraWire, settings: EntraTenant) -> Known:
    return Known(
        users=with_extensions(settings.extensions),
        groups=GROUPS,
        switch=Switch.words("accountEnabled", on=True, off=False),
        families=(Family("group", holds=frozenset(Kind), per_call=20),),
        limits=Limits(find=AT_ONCE, fetch=AT_ONCE, page=200, settles_in_s=SETTLES_S),
        settings=settings,
        facts={"base": wire.address},
    )


async def _check(wire: EntraWire, known: Known) -> str:
    asked = Call("GET", "/organization?$select=id,displayName", "read the tenant's name")
    answer = await wire.send(asked)
    name = "a tenant whose name cannot be read"
    if answer.status == 200:
        name = str((answer.json()["value"] or [{}])[0].get("displayName") or known.settings.tenant)
    counts = [counted(await count(wire, kind), str(kind)) for kind in Kind]
    if wire.app is not None:
        found = await assignments(wire, wire.app)
        aside = f" ({found.left_out:,} of service principals left out)" if found.left_out else ""
        counts.append(f"{counted(len(found.rows), 'assignment')}{aside}")
        if found.lost_roles:
            counts.append(f"{counted(found.lost_roles, 'assignment')} with a role that the application no longer has")
    return f"Microsoft Graph answers for {name}: {', '.join(counts)}."


def counted(number: int, noun: str) -> str:
    """A number of things, for people."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


async def _check_target(wire: EntraWire, known: Known) -> str:
    """The same, and whether the app may write: the token says what it was granted."""
    said, granted = await _check(wire, known), await wire.granted()
    if granted is None:
        return said
    if not granted & _WRITES_USERS:
        raise CredentialsError(
            f"The app registration may not write users. {grant_it('User.ReadWrite.All')}",
            code=ErrorCode.INSUFFICIENT_RIGHTS,
        )
    if not granted & _WRITES_GROUPS:
        said += f" It may not write groups. {grant_it('Group.ReadWrite.All')}"
    return said


_WRITES_USERS = frozenset({"User.ReadWrite.All", "Directory.ReadWrite.All", "User.EnableDisableAccount.All"})
_WRITES_GROUPS = frozenset({"Group.ReadWrite.All", "Directory.ReadWrite.All", "GroupMember.ReadWrite.All"})

SYSTEM = System(
    name="entra",
    settings=EntraTargetSettings,
    open=_open,
    traits=_traits,
    check=_check_target,
    pages=reading.pages,
    look=reading.look,
    steps=writing.steps,
    verdict=writing.verdict,
    ours=writing.ours,
    learn=learn,
    never=never,
    in_flight=8,
    per_s=WRITES_PER_S,
)
_SOURCE = replace(SYSTEM, settings=EntraSettings, check=_check, per_s=None)


class EntraSource(KitSource):
    """A tenant with who is assigned to an application of it, where the settings name one."""

    def read(
        self, wanted: Wanted, *, since: str | None = None, progress: Callable[[int], None] | None = None
    ) -> Snapshot:
        """See :class:`connectors.contract.Source`."""
        snapshot = super().read(wanted, since=since, progress=progress)
        app = self._wire.app
        if app is None:
            return snapshot
        found = self._loop.run(assignments, self._wire, app)
        frame = pd.DataFrame(found.rows, columns=["kind", "key", "role"], dtype="str").drop_duplicates(
            ignore_index=True
        )
        return replace(snapshot, assignments=frame, system=f"{snapshot.system}, app {app}")


def open_source(settings: EntraSettings, *, folder: Path) -> EntraSource:
    """The tenant as a source."""
    return EntraSource(_SOURCE, settings, folder=folder)


def open_target(settings: EntraTargetSettings, *, folder: Path, pace: Pace) -> KitTarget:
    """The tenant as a target."""
    return KitTarget(SYSTEM, settings, folder=folder, pace=pace)
