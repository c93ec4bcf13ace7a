"""The connector as a whole: an instance over its Table API, as source and as target."""

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from connectors.contract import Change, Outcome, Pace
from connectors.errors import (
    CredentialsError,
    ErrorCode,
    FatalError,
    ProvisorError,
    RetryableError,
    SchemaMismatchError,
    UnreachableError,
)
from connectors.http import MAX_WAIT_S, Answer, Call, Effect, HttpSession
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
    call,
    open_http,
)
from connectors.servicenow import reading, writing
from connectors.servicenow.fields import GRANTS, GROUPS, MEMBERS, ROLES, TABLES, USERS, attributes_of, lookups
from connectors.servicenow.settings import GroupSort, MissingReference, ServiceNowSettings, ServiceNowTargetSettings
from connectors.wire import nature

STRAYS = 2
"""Times that a request is sent again after a 401: instances give some although everything is right."""
STRAY_S = 1.0
_DESCRIBED = ("name", "element", "internal_type", "max_length", "reference", "mandatory", "read_only", "unique")
_ADMINS = frozenset({"admin", "user_admin", "security_admin"})
_SIGN_IN = (
    "ServiceNow does not accept the credentials. The password or secret is wrong, the account is locked or inactive, "
    "or the instance restricts basic authentication: then use OAuth, or an account with web service access only."
)


class ServiceNowWire(SessionWire):
    """An HTTP session that knows what else a ServiceNow instance answers."""

    def __init__(self, session: HttpSession, sleep: Callable[[float], Any]) -> None:
        super().__init__(session)
        self._sleep = sleep
        self._trying = asyncio.Lock()
        self._refused = False
        self.per_hour = ""
        """Requests an hour that a rate rule allows, as the last answer said."""

    async def send(self, call: Call) -> Answer:
        """See :class:`connectors.http.HttpSession`.

        Raises: CredentialsError; UnreachableError where something else answers; FatalError for a wait that is too long.
        """
        answer = await self._sent(call)
        if answer.status == 401:
            answer = await self._once_more(call, answer)
        self.per_hour = answer.headers.get("x-ratelimit-limit", self.per_hour)
        if answer.status in (200, 302) and (answer.status == 302 or nature(answer.body) == "an HTML page"):
            raise UnreachableError(
                f"Instead of the API a web page answers at {self.address}: the instance may be asleep, or a single "
                "sign-on gateway stands before it. Wake it up, or let /api/now pass the gateway."
            )
        return answer

    async def _sent(self, call: Call) -> Answer:
        try:
            return await self._session.send(call)
        except RetryableError as error:
            if error.retry_after_s is None or error.retry_after_s <= MAX_WAIT_S:
                raise
            raise FatalError(
                f"A rate rule of the instance lets nothing through for {error.retry_after_s / 60:.0f} minutes. "
                "Nothing more is sent; the next cycle continues. Ask the administrator to raise the limit of "
                "Provisor's account.",
                code=ErrorCode.TOO_MANY_REQUESTS,
            ) from error

    async def _once_more(self, call: Call, answer: Answer) -> Answer:
        """The answer to a request that met a 401, sent again; one at a time, and for no other once that was in vain."""
        async with self._trying:
            for number in range(0 if self._refused else STRAYS):
                await self._sleep(STRAY_S * (number + 1))
                answer = await self._sent(replace(call, sent=0, status=None, doubtful=False, reached=False))
                if answer.status != 401:
                    return answer
            self._refused = True
        if answer.headers.get("x-mfa_token"):
            raise CredentialsError(
                "ServiceNow asks Provisor's account for a second factor. Use OAuth, or exempt the account from it."
            )
        message, detail = reading.problem(answer)
        raise CredentialsError(f"{_SIGN_IN} ({': '.join(filter(None, (message, detail))) or 'HTTP 401'})")


def _open(settings: ServiceNowSettings, opening: Opening) -> ServiceNowWire:
    session = open_http(settings, opening)
    return ServiceNowWire(session, opening.clock.sleep)


async def _traits(wire: ServiceNowWire, settings: ServiceNowSettings) -> Known:
    described = await _described(wire)
    shown: dict[str, list[str]] = {USERS: [], GROUPS: []}
    if not described:  # then the fields of a row have to do
        for table in shown:
            records, _, _ = await reading.page_of(wire, table, "", (), limit=1)
            shown[table] = [name for record in records for name in record]
    batch = getattr(settings, "batch", 1)
    return Known(
        users=attributes_of(USERS, described, shown[USERS], settings.references),
        groups=attributes_of(GROUPS, described, shown[GROUPS], {}),
        switch=Switch.words("active", on=True, off=False),
        families=tuple(_family(one, batch) for one in settings.groups),
        limits=Limits(find=50, fetch=100, page=settings.page_size, pack=batch, settles_in_s=2.0),
        signed_in=await _own_key(wire) if isinstance(settings, ServiceNowTargetSettings) else None,
        settings=settings,
        facts={
            "names": {},
            "tables": {
                str(one["element"]): str(one["reference"])
                for one in described
                if one.get("name") == USERS and one.get("reference")
            },
            "described": bool(described),
        },
    )


def _family(sort: GroupSort, batch: int) -> Family:
    made = Made.CREATED if sort is GroupSort.GROUPS else Made.FOUND
    name = "group" if sort is GroupSort.GROUPS else "role"
    return Family(name, holds=frozenset({Kind.USER}), made=made, per_call=max(batch, 10))


async def _described(wire: ServiceNowWire) -> list[Mapping[str, str]]:
    """What the dictionary says about fields of users and groups; nothing where the account may not read it."""
    query = f"nameIN{USERS},{GROUPS}^elementISNOTEMPTY"
    try:
        found, doubt = await reading.all_of(wire, "sys_dictionary", query, _DESCRIBED)
    except CredentialsError as error:
        if error.code is not ErrorCode.INSUFFICIENT_RIGHTS:
            raise
        return []
    return [] if doubt else found


async def _own_key(wire: ServiceNowWire) -> str | None:
    """The account that is signed in with, where the instance tells."""
    try:
        found, total, _ = await reading.page_of(wire, USERS, "sys_id=javascript:gs.getUserID()", ("sys_id",), limit=1)
    except ProvisorError as error:
        if isinstance(error, CredentialsError) and error.code is ErrorCode.INSUFFICIENT_RIGHTS:
            return None
        raise
    return str(found[0]["sys_id"]) if total == 1 and found else None


# Checks


async def _check(wire: ServiceNowWire, known: Known) -> str:
    """Everything that is read can be, and no condition is dropped. Nothing is written."""
    settings = known.settings
    nobody = await reading.count(wire, USERS, f"user_name={uuid.uuid4().hex}")
    behind = await reading.count(wire, USERS, f"sys_id>{'~' * 32}")
    for found, right in ((nobody, "query_match"), (behind, "query_range")):
        if found:
            raise SchemaMismatchError(
                f"ServiceNow drops conditions of a query: asked for nobody, it gives {found:,} users. Give Provisor's "
                f"account the right {right} on fields of sys_user, and set glide.invalid_query.returns_no_rows."
            )
    used = {USERS}
    for sort in settings.groups:
        used |= {GROUPS, MEMBERS} if sort is GroupSort.GROUPS else {ROLES, GRANTS}
    used |= {
        known.facts["tables"].get(path) or TABLES.get(path, path) for path in settings.references if path in known.users
    }
    missing: list[str] = []
    for table in sorted(used):
        try:
            records, total, _ = await reading.page_of(wire, table, "ORDERBYsys_id", (), limit=1)
        except ProvisorError as error:
            if not isinstance(error, FatalError):
                raise
            missing.append(str(error))
            continue
        if total and not records:
            missing.append(f"Access rules hide rows of {table} from Provisor's account: grant it read access.")
        lacking = [name for name in _NEEDED.get(table, ()) if records and name not in records[0]]
        if lacking:
            missing.append(f"{table} does not show {', '.join(lacking)}: grant Provisor's account read access.")
    if missing:
        raise CredentialsError(" ".join(missing), code=ErrorCode.INSUFFICIENT_RIGHTS)
    count = await reading.count(wire, USERS, settings.user_query)
    said = f"Connected to ServiceNow at {wire.address}: {count:,} user{'s' if count != 1 else ''}."
    if wire.per_hour.isdigit():
        said += f" A rate rule allows {int(wire.per_hour):,} requests an hour."
    return said


_NEEDED = {USERS: ("user_name", "active"), GROUPS: ("name",), ROLES: ("name",)}
_NEEDED |= {MEMBERS: ("user", "group"), GRANTS: ("user", "role", "inherited")}


async def _check_target(wire: ServiceNowWire, known: Known) -> str:
    """Also what is known about rights to write, and whether inactive accounts can be seen."""
    said = await _check(wire, known)
    if not await reading.count(wire, USERS, "active=false"):
        said += (
            " No inactive user is visible: unless there are none, a rule (user query) hides them, and a leaver's "
            "account would disappear once it is disabled. Allow Provisor's account to see them."
        )
    if not known.facts["described"]:
        said += " The dictionary (sys_dictionary) cannot be read: lengths and read-only fields are not known."
    roles: set[str] = set()
    if known.signed_in is not None:
        try:
            held, _ = await reading.all_of(wire, GRANTS, f"user={known.signed_in}", ("role.name",))
            roles = {str(one.get("role.name") or "") for one in held}
        except CredentialsError:
            roles = set()
    if not roles & _ADMINS:
        said += (
            " Rights to write are not proved: the account shows neither user_admin nor admin. What access rules "
            "refuse is told entry by entry."
        )
    return said


SYSTEM = System(
    name="servicenow",
    settings=ServiceNowTargetSettings,
    open=_open,
    traits=_traits,
    check=_check_target,
    pages=reading.pages,
    look=reading.look,
    steps=writing.steps,
    verdict=writing.verdict,
    pack=writing.pack,
    unpack=writing.unpack,
    needs_row=frozenset({Action.ADD_MEMBERS, Action.REMOVE_MEMBERS}),
    in_flight=4,
)
_SOURCE = replace(SYSTEM, settings=ServiceNowSettings, check=_check)


class ServiceNowTarget(KitTarget):
    """An instance in which departments, locations and the like are looked up by name before they are written."""

    def apply(self, changes: Sequence[Change], done: Callable[[Outcome], None]) -> None:
        """See :class:`connectors.contract.Target`."""
        self._run(self._resolve, changes)
        super().apply(changes, done)

    async def _resolve(self, changes: Sequence[Change]) -> None:
        known = await self._traits()
        names: dict[tuple[str, str], list[str]] = known.facts["names"]
        wanted: dict[str, dict[str, str]] = {}
        for change in changes:
            for path, value in change.attributes.items() if change.kind is Kind.USER else ():
                told = (path, str(value).casefold())
                if value is not None and path in known.settings.references and not names.get(told):
                    wanted.setdefault(path, {}).setdefault(told[1], str(value))
        if not wanted or (await self._share()).halt.halted:
            return
        for path, values in wanted.items():
            table = known.facts["tables"].get(path) or TABLES.get(path, path)
            field = known.settings.references[path]
            names |= {(path, folded): [] for folded in values}
            for condition, _ in lookups(field, list(values.values())):
                records, _ = await reading.all_of(self._wire, table, condition, (field,))
                for folded, key in reading.ids_in(records, field):
                    if folded in values:
                        names[path, folded].append(key)
            if known.settings.missing_references is MissingReference.CREATE:
                for folded in [one for one in values if not names[path, one]]:
                    names[path, folded] = await self._made(table, field, values[folded])

    async def _made(self, table: str, field: str, value: str) -> list[str]:
        """The new record; nothing where it was refused."""
        path = f"/api/now/table/{table}?sysparm_fields=sys_id"
        answer = await self._wire.send(
            call("POST", path, f"create a record of {table}", {field: value}, effect=Effect.ONCE)
        )
        return [str(answer.json()["result"]["sys_id"])] if answer.status == 201 else []


def open_source(settings: ServiceNowSettings, *, folder: Path) -> KitSource:
    """The instance as a source."""
    return KitSource(_SOURCE, settings, folder=folder)


def open_target(settings: ServiceNowTargetSettings, *, folder: Path, pace: Pace) -> KitTarget:
    """The instance as a target."""
    return ServiceNowTarget(SYSTEM, settings, folder=folder, pace=pace)
