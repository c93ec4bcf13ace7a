"""A Microsoft Graph of our own for tests: strict where Graph is strict, with the traps that its users report.

Users, groups, members, managers, delta queries, sign-in, app role assignments, throttling; nothing of the product.
Source: Microsoft Graph v1.0 documentation of the operations; "Microsoft Graph error responses"; "Delta query overview".
"""

import itertools
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.servers.starting import answering

TENANT, CLIENT, SECRET, DOMAIN = "contoso.example.com", "11111111-aaaa", "a-client-secret", "contoso.example.com"
COLLECTIONS = {"businessPhones", "otherMails", "proxyAddresses", "groupTypes"}
USER_DEFAULT = (
    "id businessPhones displayName givenName jobTitle mail mobilePhone officeLocation preferredLanguage surname "
    "userPrincipalName"
).split()
USER_KNOWN = {
    *USER_DEFAULT,
    *"accountEnabled mailNickname department companyName streetAddress city state country postalCode faxNumber".split(),
    *"employeeId employeeType usageLocation passwordPolicies otherMails proxyAddresses employeeHireDate".split(),
    *"employeeLeaveDateTime employeeOrgData onPremisesExtensionAttributes onPremisesImmutableId".split(),
    *"onPremisesSyncEnabled createdDateTime userType externalUserState creationType securityIdentifier".split(),
    *"onPremisesSamAccountName onPremisesUserPrincipalName onPremisesDistinguishedName onPremisesDomainName".split(),
    "onPremisesSecurityIdentifier",
}
GROUP_KNOWN = set(
    "id displayName description mailNickname uniqueName visibility mail mailEnabled securityEnabled groupTypes "
    "membershipRule onPremisesSyncEnabled isAssignableToRole".split()
)
LONGEST = {"givenName": 64, "surname": 64, "jobTitle": 128, "department": 64, "displayName": 256, "employeeId": 16}
READ_ONLY = {"id", "proxyAddresses", "createdDateTime", "onPremisesSyncEnabled", "userType"}
ZEROS = "00000000-0000-0000-0000-000000000000"
_IN = re.compile(r"([\w/]+) in \((.*)\)")
_EQ = re.compile(r"([\w/]+) eq '((?:[^']|'')*)'")
_QUOTED = re.compile(r"'((?:[^']|'')*)'")


TAKEN = "Another object with the same value for property userPrincipalName already exists."
NO_SUCH_OBJECT = "The source resource object or one of the objects being referenced don't exist."
ALREADY = "One or more added object references already exist for the following modified properties: 'members'."
SYNCED = "Unable to update the specified properties for on-premises mastered Directory Sync objects."
NEEDED = "A value is required for property '{}' of resource '{}'."
INVALID = "Invalid value specified for property '{}' of resource 'User'."


class Refusal(Exception):  # noqa: N818
    """An error as Graph words it."""

    def __init__(self, status: int, code: str, message: str, *details: dict[str, str], **headers: str) -> None:
        self.status, self.code, self.message, self.details, self.headers = status, code, message, details, headers


@dataclass
class GraphService:
    """One tenant."""

    page: int = 200
    members_page: int = 500
    writes_per_s: float | None = None
    domains: tuple[str, ...] = (DOMAIN,)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: set[tuple[str, str]] = field(default_factory=set)
    managers: dict[str, str] = field(default_factory=dict)
    deleted: dict[str, dict[str, Any]] = field(default_factory=dict)
    app_roles: list[dict[str, Any]] = field(default_factory=list)
    assigned: list[dict[str, Any]] = field(default_factory=list)
    privileged: set[str] = field(default_factory=set)
    permissions: set[str] = field(default_factory=lambda: {"users", "groups", "application"})
    sessions_ended: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    throttled: int = 0
    effects: list[str] = field(default_factory=list)
    """Every write that took effect, in order: the service's own log."""
    losing: list[tuple[str, str, str]] = field(default_factory=list)
    """Answers to lose: method, beginning of the path, ``before`` or ``after`` the effect."""
    hidden_reads: int = 0
    """Reads for which new users are not shown: a replica that lags."""
    expired: set[str] = field(default_factory=set)
    url: str = ""
    _log: list[tuple[str, str, str]] = field(default_factory=list)
    _tokens: dict[str, Any] = field(default_factory=dict)
    _new: set[str] = field(default_factory=set)
    _budget: float = 0.0
    _spent_at: float = field(default_factory=time.monotonic)
    _lock: Any = field(default_factory=threading.RLock)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # -- put in by tests ---------------------------------------------------------------------------------------------

    def put_user(self, **values: Any) -> str:
        key = str(uuid.uuid4())
        name = values.pop("userPrincipalName", f"{key[:8]}@{DOMAIN}")
        blank = {"accountEnabled": True, "displayName": name, "mailNickname": key[:8], "businessPhones": []}
        self.users[key] = {"id": key, "userPrincipalName": name, **blank, **values}
        self._log.append(("users", key, "row"))
        return key

    def put_group(self, name: str, *members: str, **values: Any) -> str:
        key = str(uuid.uuid4())
        self.groups[key] = {"id": key, "displayName": name, "groupTypes": [], "mailEnabled": False, **values}
        self._log.append(("groups", key, "row"))
        for member in members:
            self.join(key, member)
        return key

    def join(self, group: str, member: str) -> None:
        self.members.add((group, member))
        self._log.append(("groups", group, f"+{member}"))

    def leave(self, group: str, member: str) -> None:
        self.members.discard((group, member))
        self._log.append(("groups", group, f"-{member}"))

    def change_user(self, key: str, **values: Any) -> None:
        self.users[key] |= values
        self._log.append(("users", key, "row"))

    def set_manager(self, key: str, manager: str | None) -> None:
        old = self.managers.pop(key, None)
        if old is not None:
            self._log.append(("users", key, f"-{old}"))
        if manager is not None:
            self.managers[key] = manager
            self._log.append(("users", key, f"+{manager}"))

    def remove_user(self, key: str) -> None:
        self.deleted[key] = self.users.pop(key)
        self._log.append(("users", key, "removed"))

    def assign(self, principal: str, role: str | None, *, kind: str = "User") -> None:
        ids = {one["value"]: one["id"] for one in self.app_roles}
        self.assigned.append(
            {
                "id": str(uuid.uuid4()),
                "principalId": principal,
                "principalType": kind,
                "appRoleId": ids.get(role, role or ZEROS),
            }
        )

    def forget_tokens(self) -> None:
        """Delta links so far are no longer known: 410."""
        self.expired = set(self._tokens)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        raw = unquote(request.scope["raw_path"].decode()).split("?")[0]
        body = await request.body()
        with self._lock:
            if raw.endswith("/oauth2/v2.0/token"):
                return self._token(parse_qs(body.decode()))
            path = raw.removeprefix("/v1.0")
            self.requests.append(f"{request.method} {path}")
            if request.headers.get("authorization") != "Bearer a-token":
                return _error(Refusal(401, "InvalidAuthenticationToken", "Access token is empty."))
            lost = next((one for one in self.losing if one[0] == request.method and path.startswith(one[1])), None)
            if lost is not None:
                self.losing.remove(lost)
                if lost[2] == "before":
                    return PlainTextResponse("gone", 504)
            try:
                if request.method != "GET":
                    self._spend()
                made = self._dispatch(request, path, body)
            except Refusal as refusal:
                return _error(refusal)
            return PlainTextResponse("gone", 504) if lost is not None else made

    def _token(self, form: dict[str, list[str]]) -> Response:
        if form.get("client_id") != [CLIENT] or form.get("client_secret") != [SECRET]:
            said = "AADSTS7000215: Invalid client secret provided."
            return JSONResponse({"error": "invalid_client", "error_description": said, "error_codes": [7000215]}, 401)
        return JSONResponse({"token_type": "Bearer", "expires_in": 3599, "access_token": "a-token"})

    def _spend(self) -> None:
        if self.writes_per_s is None:
            return
        now = time.monotonic()
        self._budget = min(self.writes_per_s, self._budget + (now - self._spent_at) * self.writes_per_s)
        self._spent_at = now
        if self._budget < 1:
            self.throttled += 1
            raise Refusal(429, "TooManyRequests", "Too many requests.", **{"Retry-After": "0.25"})
        self._budget -= 1

    def _dispatch(self, request: Request, path: str, body: bytes) -> Response:
        query = request.query_params
        method = request.method
        if path == "/organization":
            return JSONResponse({"value": [{"id": "t", "displayName": "Contoso"}]})
        if found := re.fullmatch(r"/(users|groups)/\$count", path):
            self._may(found[1])
            if request.headers.get("consistencylevel") != "eventual":
                raise Refusal(400, "Request_BadRequest", "$count is not currently supported.")
            return PlainTextResponse("\ufeff" + str(len(getattr(self, found[1]))))
        if found := re.fullmatch(r"/(users|groups)/delta(?:\(\))?", path):
            return self._delta(found[1], query)
        if path == "/users" and method == "POST":
            return self._create_user(_json(body))
        if path == "/groups" and method == "POST":
            return JSONResponse(self._create_group(_json(body)), 201)
        if found := re.fullmatch(r"/(users|groups)", path):
            return self._list(found[1], query, request)
        if found := re.fullmatch(r"/groups\(uniqueName='(.*)'\)", path):
            return self._upsert_group(found[1].replace("''", "'"), _json(body), request)
        if found := re.fullmatch(r"/servicePrincipals\(appId='(.*)'\)", path):
            self._may("application")
            return JSONResponse({"id": "sp", "appId": found[1], "appRoles": self.app_roles})
        if path == "/servicePrincipals/sp/appRoleAssignedTo":
            return JSONResponse({"value": self.assigned})
        if found := re.fullmatch(r"/users/([^/]+)(/.*)?", path):
            return self._user(method, found[1], found[2] or "", body)
        if found := re.fullmatch(r"/groups/([^/]+)(/.*)?", path):
            return self._group(method, found[1], found[2] or "", body, query)
        raise Refusal(404, "Request_ResourceNotFound", f"Resource not found for the segment '{path}'.")

    def _may(self, what: str) -> None:
        if what not in self.permissions:
            raise Refusal(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")

    # -- delta -------------------------------------------------------------------------------------------------------

    def _delta(self, noun: str, query: Any) -> Response:
        self._may(noun)
        token = query.get("$skiptoken") or query.get("$deltatoken")
        if token is None:
            select = query.get("$select", "").split(",")
            wanted = [(key, None) for key in getattr(self, noun)]
            state = {"noun": noun, "select": select, "rest": self._chunks(noun, select, wanted), "upto": len(self._log)}
        else:
            if token in self.expired or token not in self._tokens:
                raise Refusal(410, "syncStateNotFound", "The sync state generation is not found.")
            state = dict(self._tokens[token])
            if "rest" not in state:
                since = self._log[state["upto"] :]
                changed: dict[str, list[str]] = {}
                for kind, key, what in since:
                    if kind == state["noun"]:
                        changed.setdefault(key, []).append(what)
                state["rest"] = self._chunks(state["noun"], state["select"], list(changed.items()))
                state["upto"] = len(self._log)
        rest = state["rest"]
        page, left = rest[: self.page], rest[self.page :]
        self._tokens[new := f"t{next(self._numbers)}"] = (
            {**state, "rest": left} if left else {key: state[key] for key in ("noun", "select", "upto")}
        )
        link = f"{self.url}/{state['noun']}/delta?" + (f"$skiptoken={new}" if left else f"$deltatoken={new}")
        return JSONResponse({"value": page, ("@odata.nextLink" if left else "@odata.deltaLink"): link})

    def _chunks(self, noun: str, select: list[str], wanted: list[tuple[str, list[str] | None]]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        relation = "members" if noun == "groups" else "manager"
        for key, events in wanted:
            entry = getattr(self, noun).get(key)
            if entry is None:
                made.append({"id": key, "@removed": {"reason": "changed" if key in self.deleted else "deleted"}})
                continue
            names = [name for name in select if name != relation]
            row = {"id": key} | {name: entry[name] for name in names if entry.get(name) is not None}
            if relation not in select:
                made.append(row)
                continue
            if events is None:
                edges = [m for g, m in self.members if g == key] if noun == "groups" else [self.managers.get(key)]
                marks: list[dict[str, Any]] = [
                    {"@odata.type": "#microsoft.graph.user", "id": one} for one in edges if one
                ]
            else:
                last = {event[1:]: event[0] for event in events if event[0] in "+-"}
                gone = {"@removed": {"reason": "deleted"}}
                marks = [{"id": one, **(gone if sign == "-" else {})} for one, sign in last.items()]
            for start in range(0, max(1, len(marks)), self.members_page):
                chunk = marks[start : start + self.members_page]
                made.append({**row, f"{relation}@delta": chunk} if chunk else row)
        return made

    # -- lists -------------------------------------------------------------------------------------------------------

    def _list(self, noun: str, query: Any, request: Request) -> Response:
        self._may(noun)
        top = int(query.get("$top", 100))
        if not 1 <= top <= 999:
            raise Refusal(400, "Request_BadRequest", f"Invalid page size specified: '{top}'.")
        known = USER_KNOWN if noun == "users" else GROUP_KNOWN
        select = (
            query["$select"].split(",") if "$select" in query else USER_DEFAULT if noun == "users" else sorted(known)
        )
        for name in select:
            if name not in known and not name.startswith("extension_"):
                raise Refusal(400, "Request_BadRequest", f"Could not find a property named '{name}'.")
        entries = [one for one in getattr(self, noun).values() if self._shown(noun, one["id"])]
        if "$filter" in query:
            test = _filter(query["$filter"], request, query)
            entries = [one for one in entries if test(one)]
        rows = []
        for one in entries[:top]:
            row = {name: one.get(name, [] if name in COLLECTIONS else None) for name in ["id", *select]}
            if "manager" in query.get("$expand", "") and one["id"] in self.managers:
                row["manager"] = {"@odata.type": "#microsoft.graph.user", "id": self.managers[one["id"]]}
            rows.append(row)
        return JSONResponse({"value": rows})

    def _shown(self, noun: str, key: str) -> bool:
        if noun == "users" and key in self._new:
            if self.hidden_reads > 0:
                self.hidden_reads -= 1
                return False
            self._new.discard(key)
        return True

    # -- users -------------------------------------------------------------------------------------------------------

    def _create_user(self, body: dict[str, Any]) -> Response:
        for name in ("accountEnabled", "displayName", "mailNickname", "userPrincipalName", "passwordProfile"):
            if body.get(name) in (None, ""):
                raise Refusal(400, "Request_BadRequest", NEEDED.format(name, "User"))
        password = body.pop("passwordProfile").get("password", "")
        if len(password) < 8 or not re.search(r"[a-z]", password) or not re.search(r"[A-Z0-9]", password):
            raise Refusal(400, "Request_BadRequest", "The specified password does not comply with password complexity.")
        self._check(body, None)
        key = str(uuid.uuid4())
        self.users[key] = {"id": key, "businessPhones": [], **body}
        self._new.add(key)
        self._log.append(("users", key, "row"))
        self.effects.append(f"create user {body['userPrincipalName']}")
        return JSONResponse({name: self.users[key].get(name) for name in USER_DEFAULT}, 201)

    def _check(self, body: dict[str, Any], key: str | None) -> None:
        for name, value in body.items():
            if name not in USER_KNOWN and not name.startswith(("extension_", "@odata.type")):
                raise Refusal(400, "Request_BadRequest", f"Resource 'User' does not have a property named '{name}'.")
            if name in READ_ONLY:
                raise Refusal(400, "Request_BadRequest", f"Property '{name}' is read-only and cannot be set.")
            if value == "" or (value is None and name in COLLECTIONS):
                raise Refusal(
                    400,
                    "Request_BadRequest",
                    INVALID.format(name),
                    {"code": "InvalidValue", "message": "Invalid value.", "target": name},
                )
            if name in LONGEST and isinstance(value, str) and len(value) > LONGEST[name]:
                raise Refusal(
                    400,
                    "Request_BadRequest",
                    INVALID.format(name),
                    {"code": "InvalidLength", "message": "Too long.", "target": name},
                )
        upn = body.get("userPrincipalName")
        if upn is None:
            return
        if not re.fullmatch(r"[A-Za-z0-9'._!#^~-]+@" + "(?:" + "|".join(map(re.escape, self.domains)) + ")", upn):
            raise Refusal(
                400,
                "Request_BadRequest",
                "The domain portion of the userPrincipalName property is invalid.",
                {"code": "InvalidValue", "message": "Invalid.", "target": "userPrincipalName"},
            )
        if any(one["userPrincipalName"].lower() == upn.lower() and one["id"] != key for one in self.users.values()):
            raise Refusal(
                400,
                "Request_BadRequest",
                TAKEN,
                {"code": "ObjectConflict", "message": "Conflict.", "target": "userPrincipalName"},
            )

    def _user(self, method: str, key: str, rest: str, body: bytes) -> Response:
        if key not in self.users:
            raise Refusal(404, "Request_ResourceNotFound", f"Resource '{key}' does not exist.")
        if rest == "" and method == "PATCH":
            values = _json(body)
            if key in self.privileged and "accountEnabled" in values:
                raise Refusal(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
            if self.users[key].get("onPremisesSyncEnabled"):
                raise Refusal(400, "Request_BadRequest", SYNCED)
            self._check(values, key)
            for name, value in values.items():
                held = self.users[key].get(name)
                self.users[key][name] = {**(held or {}), **value} if isinstance(value, dict) else value
            self._log.append(("users", key, "row"))
            self.effects.append(f"patch user {key} {','.join(sorted(values))}")
            return Response(status_code=204)
        if rest == "" and method == "DELETE":
            self.remove_user(key)
            self.effects.append(f"delete user {key}")
            return Response(status_code=204)
        if rest == "/revokeSignInSessions" and method == "POST":
            self.sessions_ended.append(key)
            return JSONResponse({"value": True})
        if rest == "/manager/$ref" and method in ("PUT", "DELETE"):
            manager = _json(body)["@odata.id"].rpartition("/")[2] if method == "PUT" else None
            if manager is not None and manager not in self.users:
                raise Refusal(404, "Request_ResourceNotFound", NO_SUCH_OBJECT)
            self.set_manager(key, manager)
            self.effects.append(f"manager {key} {manager}")
            return Response(status_code=204)
        raise Refusal(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")

    # -- groups ------------------------------------------------------------------------------------------------------

    def _create_group(self, body: dict[str, Any]) -> dict[str, Any]:
        for name in ("displayName", "mailEnabled", "mailNickname", "securityEnabled"):
            if body.get(name) in (None, ""):
                raise Refusal(400, "Request_BadRequest", NEEDED.format(name, "Group"))
        if re.search(r"[@()\\\[\]\";:<>, ]", body["mailNickname"]) or not body["mailNickname"].isascii():
            raise Refusal(400, "Request_BadRequest", "Invalid value specified for property 'mailNickname'.")
        if unknown := set(body) - GROUP_KNOWN:
            raise Refusal(400, "Request_BadRequest", f"Resource 'Group' does not have a property named {unknown}.")
        key = str(uuid.uuid4())
        self.groups[key] = {"id": key, "groupTypes": [], **body}
        self._log.append(("groups", key, "row"))
        self.effects.append(f"create group {body['displayName']}")
        return self.groups[key]

    def _upsert_group(self, unique: str, body: dict[str, Any], request: Request) -> Response:
        held = next((one for one in self.groups.values() if one.get("uniqueName") == unique), None)
        if held is not None:
            return self._group("PATCH", held["id"], "", _dumps(body), {})
        if request.headers.get("prefer") != "create-if-missing":
            raise Refusal(404, "Request_ResourceNotFound", "Resource does not exist.")
        return JSONResponse(self._create_group(body | {"uniqueName": unique}), 201)

    def _group(self, method: str, key: str, rest: str, body: bytes, query: Any) -> Response:
        if key not in self.groups:
            raise Refusal(404, "Request_ResourceNotFound", f"Resource '{key}' does not exist.")
        if rest == "/members" and method == "GET":
            ids = [member for group, member in sorted(self.members) if group == key]
            first, size = int(query.get("$skiptoken", 0)), int(query.get("$top", 100))
            page: dict[str, Any] = {
                "value": [{"@odata.type": "#microsoft.graph.user", "id": one} for one in ids[first : first + size]]
            }
            if first + size < len(ids):
                page["@odata.nextLink"] = f"{self.url}/groups/{key}/members?$top={size}&$skiptoken={first + size}"
            return JSONResponse(page)
        if found := re.fullmatch(r"/members/([^/]+)(/\$ref)?", rest):
            if method != "DELETE":
                raise Refusal(405, "Request_BadRequest", "Specified HTTP method is not allowed.")
            if found[2] is None:  # this is the person
                self.effects.append(f"DELETED THE PERSON {found[1]}")
                self.users.pop(found[1], None)
                return Response(status_code=204)
            if (key, found[1]) not in self.members:
                raise Refusal(404, "Request_ResourceNotFound", "Resource does not exist.")
            self.leave(key, found[1])
            self.effects.append(f"leave {key} {found[1]}")
            return Response(status_code=204)
        if rest == "" and method == "DELETE":
            del self.groups[key]
            self.members = {edge for edge in self.members if edge[0] != key}
            self._log.append(("groups", key, "removed"))
            self.effects.append(f"delete group {key}")
            return Response(status_code=204)
        if rest == "" and method == "PATCH":
            values = _json(body)
            bound = [one.rpartition("/")[2] for one in values.pop("members@odata.bind", [])]
            if len(bound) > 20:
                raise Refusal(400, "Request_BadRequest", "The number of members exceeds 20.")
            if "DynamicMembership" in self.groups[key]["groupTypes"] and bound:
                raise Refusal(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
            if any((key, one) in self.members for one in bound):
                raise Refusal(400, "Request_BadRequest", ALREADY)
            if any(one not in self.users and one not in self.groups for one in bound):
                raise Refusal(404, "Request_ResourceNotFound", NO_SUCH_OBJECT)
            for one in bound:
                self.join(key, one)
                self.effects.append(f"join {key} {one}")
            if values:
                self.groups[key] |= values
                self._log.append(("groups", key, "row"))
                self.effects.append(f"patch group {key}")
            return Response(status_code=204)
        raise Refusal(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")


def _json(body: bytes) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(body)
    return found


def _dumps(body: dict[str, Any]) -> bytes:
    import json

    return json.dumps(body).encode()


def _error(refusal: Refusal) -> Response:
    error = {"code": refusal.code, "message": refusal.message, "innerError": {"request-id": "r"}}
    if refusal.details:
        error["details"] = list(refusal.details)  # type: ignore[assignment]
    return JSONResponse({"error": error}, refusal.status, headers=refusal.headers)


def _filter(text: str, request: Request, query: Any) -> Any:
    found = _IN.fullmatch(text)
    path, values = (found[1], _QUOTED.findall(found[2])) if found else (None, [])
    if found is None:
        found = _EQ.fullmatch(text)
        if found is None:
            raise Refusal(400, "Request_UnsupportedQuery", "Unsupported Query.")
        path, values = found[1], [found[2]]
    if len(values) > 15:
        raise Refusal(400, "Request_UnsupportedQuery", "Too many child clauses specified in search filter expression.")
    if "/" in str(path) and (request.headers.get("consistencylevel") != "eventual" or query.get("$count") != "true"):
        raise Refusal(400, "Request_UnsupportedQuery", "Unsupported or invalid query filter clause.")
    wanted = {value.replace("''", "'").lower() for value in values}

    def test(entry: dict[str, Any]) -> bool:
        value: Any = entry
        for part in str(path).split("/"):
            value = value.get(part) if isinstance(value, dict) else None
        return value is not None and str(value).lower() in wanted

    return test


@contextmanager
def serving(service: GraphService | None = None) -> Iterator[GraphService]:
    """A tenant that answers on loopback while the block runs."""
    service = service or GraphService()
    with answering(service.answer, ["GET", "POST", "PATCH", "PUT", "DELETE"]) as address:
        service.url = f"{address}/v1.0"
        yield service
