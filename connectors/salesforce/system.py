"""The connector as a whole: an org over the REST API, as source and as target."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from connectors.contract import Pace
from connectors.errors import CredentialsError, ErrorCode, FatalError, RejectedError, SchemaMismatchError, SettingsError
from connectors.http import Answer, Call, Effect, HttpSession, redact
from connectors.kit import (
    Action,
    Family,
    Kind,
    KitSource,
    KitTarget,
    Known,
    Limits,
    Made,
    Opening,
    SessionWire,
    Switch,
    System,
    open_http,
)
from connectors.salesforce import reading, seats, writing
from connectors.salesforce.fields import GROUPS, PROFILE, ROLE, SORTS, id18, users_of
from connectors.salesforce.settings import GroupSort, SalesforceSettings, SalesforceTargetSettings

_USAGE = re.compile(r"\bapi-usage=(\d+)/(\d+)")
_IDENTITY = re.compile(r"/id/\w+/(005\w+)$")
_DEAD = ("not valid for use with the REST API", "not attached to Agent")


class SalesforceWire(SessionWire):
    """An HTTP session that watches the org's daily quota, and knows errors of the whole org."""

    def __init__(self, session: HttpSession, below: str, reserve: float) -> None:
        super().__init__(session)
        self._below, self._reserve = below, reserve
        self.used, self.most = 0, 0
        """Requests of the last 24 hours and how many there may be, as the last answer said."""

    def below(self, link: str) -> str:
        """A link of an answer without the path of the base address. Raises: SchemaMismatchError."""
        if link and not link.startswith(self._below + "/"):
            raise SchemaMismatchError("A page of Salesforce leads to another address; it was not followed.")
        return link.removeprefix(self._below)

    async def send(self, call: Call) -> Answer:
        """See :class:`connectors.http.HttpSession`.

        Raises: RejectedError for what would take the reserve; FatalError where no other request would fare better.
        """
        if call.effect is not Effect.READ and call.purpose not in writing.TAKES_AWAY:
            self._keep_reserve()
        answer = await self._session.send(call)
        if found := _USAGE.search(answer.headers.get("sforce-limit-info", "")):
            self.used, self.most = int(found[1]), int(found[2])
        if answer.status >= 400:
            _stop_where_hopeless(answer)
        return answer

    def _keep_reserve(self) -> None:
        """Refused, not ended: leavers come last in a cycle, and must not wait for what is only put off."""
        if self.most and self.most - self.used < self._reserve * self.most:
            raise RejectedError(
                f"Postponed: the org has {self.most - self.used:,} of its {self.most:,} API requests a day left, "
                "less than quota_reserve keeps for others. Removing access continues; a later cycle sends the rest, "
                "as requests count for 24 hours.",
                code=ErrorCode.TOO_MANY_REQUESTS,
            )


def _stop_where_hopeless(answer: Answer) -> None:
    """Raises: FatalError for an answer that no other request would change."""
    code, message, _ = reading.problem(answer)
    said = f"{code}: {redact(message)}"
    if code == "REQUEST_LIMIT_EXCEEDED" and "totalrequests" in message.lower():
        raise FatalError(
            f"The org has used up its API requests of 24 hours ({said}). Nothing more is sent; see Company Information "
            "in Salesforce's setup for who uses them.",
            code=ErrorCode.TOO_MANY_REQUESTS,
        )
    if code == "API_DISABLED_FOR_ORG":
        raise SettingsError(
            f"The org or Provisor's user has no API ({said}). Give the user API Enabled; the edition must have it too."
        )
    if answer.status == 401 and any(words in message for words in _DEAD):
        raise CredentialsError(f"The app's sessions cannot use the REST API ({said}). Give the app the scope api.")
    if answer.status == 420:
        raise SettingsError("The org no longer exists: it was a scratch org or trial that has ended. Check url.")


def _open(settings: SalesforceSettings, opening: Opening) -> SalesforceWire:
    session = open_http(settings.http(), opening)
    return SalesforceWire(session, settings.below, getattr(settings, "quota_reserve", 0.0))


async def _traits(wire: SalesforceWire, settings: SalesforceSettings) -> Known:
    root = await reading.json_of(wire, "/", "read what the API offers")
    identity = _IDENTITY.search(str(root.get("identity", "")))
    described = await reading.json_of(wire, "/sobjects/User/describe", "read the fields of users")
    profiles, _ = await reading.all_of(wire, "Id, Name, UserLicenseId", "Profile", "", "read the profiles")
    roles, _ = await reading.all_of(wire, "Id, DeveloperName", "UserRole", "", "read the roles")
    profile_ids = {str(one["Name"]): id18(one["Id"]) for one in profiles}
    role_ids = {str(one["DeveloperName"]): id18(one["Id"]) for one in roles}
    return Known(
        users=users_of(described, sorted(profile_ids), sorted(role_ids)),
        groups=GROUPS,
        switch=Switch.words("IsActive", on=True, off=False),
        families=tuple(_family(one) for one in settings.groups),
        limits=Limits(find=writing.ROWS, fetch=writing.ROWS, page=2000, pack=writing.ROWS, settles_in_s=2.0),
        cannot=frozenset({(Kind.USER, Action.DELETE)}),
        signed_in=id18(identity[1]) if identity else None,
        settings=settings,
        facts={
            PROFILE: {name.casefold(): key for name, key in profile_ids.items()},
            ROLE: {name.casefold(): key for name, key in role_ids.items()},
            "licences": {id18(one["Id"]): id18(str(one["UserLicenseId"])) for one in profiles},
            "described": described,
        },
    )


def _family(sort: GroupSort) -> Family:
    public = sort is GroupSort.PUBLIC
    return Family(
        SORTS[sort].family,
        holds=frozenset(Kind) if public else frozenset({Kind.USER}),
        made=Made.CREATED if public else Made.FOUND,
        per_call=writing.ROWS,
    )


# Checks


async def _check(wire: SalesforceWire, known: Known) -> str:
    soql = f"SELECT COUNT() FROM User WHERE {reading.whom(known)}"
    counted = await reading.json_of(wire, "/query", "count the users", soql=soql)
    quota = f" {wire.used:,} of {wire.most:,} API requests of 24 hours are used." if wire.most else ""
    count = int(counted["totalSize"])
    return f"Connected to Salesforce at {wire.address}: {count:,} user{'s' if count != 1 else ''}.{quota}"


async def _check_target(wire: SalesforceWire, known: Known) -> str:
    """Also that everything may be written that the job can want, and which licences are full. Nothing is written."""
    said = await _check(wire, known)
    wanted: dict[str, tuple[str, ...]] = {"User": ("createable", "updateable")}
    for sort in known.settings.groups:
        wanted[SORTS[sort].edges] = ("createable", "deletable")
        if sort is GroupSort.PUBLIC:
            wanted["Group"] = ("createable", "updateable", "deletable")
    if known.settings.freeze:
        wanted["UserLogin"] = ("updateable",)
    missing = []
    for table, flags in wanted.items():
        described = known.facts["described"]
        if table != "User":
            path = f"/sobjects/{table}/describe"
            described = await reading.json_of(wire, path, f"read what may be done with {table}")
        missing += [f"{table} is not {flag}" for flag in flags if not described.get(flag)]
    if missing:
        raise CredentialsError(
            f"Provisor's user lacks permissions ({', '.join(missing)}). Give it Manage Users, Assign "
            "Permission Sets and Manage Public Groups, or remove group types from the job's target.groups.",
            code=ErrorCode.INSUFFICIENT_RIGHTS,
        )
    found = [one for one in (await seats.seats(wire)).values() if one[1]]
    left = ", ".join(f"{name} {max(0, (total or 0) - used):,} of {total:,}" for name, total, used in found[:8])
    full = [name for name, total, used in found if used >= (total or 0)]
    warning = f" No licence {' or '.join(full)} is left: new accounts with it will be refused." if full else ""
    return f"{said} Licences left: {left}.{warning}"


SYSTEM = System(
    name="salesforce",
    settings=SalesforceTargetSettings,
    open=_open,
    traits=_traits,
    check=_check_target,
    pages=reading.pages,
    look=reading.look,
    steps=writing.steps,
    verdict=writing.verdict,
    pack=writing.pack,
    unpack=writing.unpack,
    needs_row=frozenset({Action.REMOVE_MEMBERS}),
    no_seat=seats.without_seat,
    in_flight=4,
)
_SOURCE = replace(SYSTEM, settings=SalesforceSettings, check=_check)
_SWITCHES = frozenset({Action.DISABLE, Action.ENABLE})


def open_source(settings: SalesforceSettings, *, folder: Path) -> KitSource:
    """The org as a source."""
    return KitSource(_SOURCE, settings, folder=folder)


def system_for(settings: Any) -> System:
    """Freezing needs to know the record that says who is frozen."""
    return replace(SYSTEM, needs_row=SYSTEM.needs_row | _SWITCHES) if settings.freeze else SYSTEM


def open_target(settings: SalesforceTargetSettings, *, folder: Path, pace: Pace) -> KitTarget:
    """The org as a target."""
    return KitTarget(system_for(settings), settings, folder=folder, pace=pace)
