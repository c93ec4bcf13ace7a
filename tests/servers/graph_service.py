"""A Microsoft Graph of our own for tests: strict where Graph is strict, with the traps that its users report.

Users, groups, members, managers, deleted items, delta queries, batches, sign-in, app role assignments, throttling;
nothing of the product.

Source: Microsoft Graph v1.0 documentation of the operations; "Microsoft Graph error responses"; "Delta query overview";
"JSON batching"; "Throttling limits".
"""

import itertools
import json
import re
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.servers.graph_words import (
    ALREADY,
    COLLECTIONS,
    GROUP_KNOWN,
    INVALID,
    LONGEST,
    NEEDED,
    NO_SUCH_OBJECT,
    READ_ONLY,
    READING_POSTS,
    SYNCED,
    TAKEN,
    USER_DEFAULT,
    USER_KNOWN,
    ZEROS,
    Refusal,
    access_token,
    dumped,
    error_answer,
    filter_of,
    is_signed,
    json_in,
    openid_configuration,
)
from tests.servers.starting import answering

TENANT, CLIENT, SECRET, DOMAIN = "contoso.example.com", "11111111-aaaa", "a-client-secret", "contoso.example.com"


@dataclass
class GraphService:
    """One tenant."""

    page: int = 200
    members_page: int = 500
    writes: int | None = None
    """Writes that an app may make in ``window_s`` seconds; None: any number."""
    window_s: float = 150.0
    now: Callable[[], float] = time.monotonic
    domains: tuple[str, ...] = (DOMAIN,)
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    members: set[tuple[str, str]] = field(default_factory=set)
    managers: dict[str, str] = field(default_factory=dict)
    deleted: dict[str, dict[str, Any]] = field(default_factory=dict)
    app_roles: list[dict[str, Any]] = field(default_factory=list)
    assigned: list[dict[str, Any]] = field(default_factory=list)
    privileged: set[str] = field(default_factory=set)
    granted: tuple[str, ...] = ("User.ReadWrite.All", "Group.ReadWrite.All")
    """What the token says it allows."""
    trusted: list[bytes] = field(default_factory=list)
    """Certificates of the app registration."""
    federated: str | None = None
    """The token of a workload identity that is taken for the app."""
    administrators: set[str] = field(default_factory=set)
    """Principals of role assignments."""
    permissions: set[str] = field(default_factory=lambda: {"users", "groups", "application", "directory", "roles"})
    sessions_ended: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    throttled: Counter[str] = field(default_factory=Counter)
    """Requests that were refused for coming too fast, with their bodies: how often each was."""
    lagging: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What a replica that lags still shows of an entry, in lists; delta queries are answered by another one."""
    stale_members: dict[str, set[str]] = field(default_factory=dict)
    """The same of the members of groups."""
    effects: list[str] = field(default_factory=list)
    """Every write that took effect, in order: the service's own log."""
    losing: list[tuple[str, str, str]] = field(default_factory=list)
    """Answers to lose: method, beginning of the path, ``before`` or ``after`` the effect."""
    hidden_reads: int = 0
    """Reads for which new users are not shown: a replica that lags."""
    endless: bool = False
    """Whether the pages of a delta query go on for ever, each with another link."""
    expired: set[str] = field(default_factory=set)
    refusals: "deque[tuple[str, Refusal]]" = field(default_factory=deque)
    """Refusals to come, each for the next request whose method and path fit the regular expression."""
    url: str = ""
    _log: list[tuple[str, str, str]] = field(default_factory=list)
    _tokens: dict[str, Any] = field(default_factory=dict)
    _new: set[str] = field(default_factory=set)
    _written: "deque[float]" = field(default_factory=deque)
    _lock: Any = field(default_factory=threading.RLock)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    # -- put in by tests ---------------------------------------------------------------------------------------------

    def section(self, **proof: Any) -> dict[str, Any]:
        """What a job says of this tenant. ``proof``: what the app signs in with, else the secret ``ENTRA_SECRET``."""
        base = self.url.removesuffix("/v1.0")
        auth = {"client_id": CLIENT, **(proof or {"secret": "${env:ENTRA_SECRET}"})}
        return {"tenant": TENANT, "url": base, "login_url": base, "auth": auth}

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

    def touch_group(self, key: str) -> None:
        """Its attributes have changed."""
        self._log.append(("groups", key, "row"))

    def remove_group(self, key: str) -> None:
        del self.groups[key]
        self.members = {edge for edge in self.members if edge[0] != key}
        self._log.append(("groups", key, "removed"))

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
        """Soft: it keeps its memberships, and can be restored."""
        gone = self.users.pop(key)
        self.deleted[key] = gone | {"userPrincipalName": key.replace("-", "") + gone["userPrincipalName"]}
        self._log.append(("users", key, "removed"))

    def restore_user(self, key: str, name: str | None = None) -> dict[str, Any]:
        held = self.deleted[key]
        name = name or held["userPrincipalName"].removeprefix(key.replace("-", ""))
        self._check({"userPrincipalName": name}, key)
        self.users[key] = self.deleted.pop(key) | {"userPrincipalName": name}
        self._log.append(("users", key, "row"))
        self.effects.append(f"restore user {name}")
        return self.users[key]

    def purge_user(self, key: str) -> None:
        """For good."""
        del self.deleted[key]
        self.members = {edge for edge in self.members if edge[1] != key}
        self.managers = {one: boss for one, boss in self.managers.items() if key not in (one, boss)}
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

    def trust(self, certificate: bytes) -> None:
        """The app registration has this certificate, in PEM form."""
        self.trusted.append(certificate)

    def forget_tokens(self) -> None:
        """Delta links so far are no longer known: 410."""
        self.expired = set(self._tokens)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        raw = unquote(request.scope["raw_path"].decode()).split("?")[0]
        body = await request.body()
        with self._lock:
            if raw.endswith("/.well-known/openid-configuration"):
                return JSONResponse(openid_configuration(self.url.removesuffix("/v1.0")))
            if raw.endswith("/oauth2/v2.0/token"):
                return self._token(parse_qs(body.decode()))
            path = raw.removeprefix("/v1.0")
            self.requests.append(f"{request.method} {path}")
            if request.headers.get("authorization") != f"Bearer {self.token}":
                return error_answer(Refusal(401, "InvalidAuthenticationToken", "Access token is empty."))
            lost = next((one for one in self.losing if one[0] == request.method and path.startswith(one[1])), None)
            if lost is not None:
                self.losing.remove(lost)
                if lost[2] == "before":
                    return PlainTextResponse("gone", 504)
            try:
                made = self._batch(request, body) if path == "/$batch" else self._one(request, path, body)
            except Refusal as refusal:
                return error_answer(refusal)
            return PlainTextResponse("gone", 504) if lost is not None else made

    @property
    def token(self) -> str:
        """A token as Entra ID gives them: a JWT that says what the app was granted."""
        return access_token(self.granted)

    def _token(self, form: dict[str, list[str]]) -> Response:
        proof = {name: values[0] for name, values in form.items()}
        if "client_assertion" in proof:
            proved = proof["client_assertion"] == self.federated or is_signed(
                proof["client_assertion"], self.trusted, CLIENT
            )
            number, said = 700027, "Client assertion contains an invalid signature."
        else:
            proved, number, said = proof.get("client_secret") == SECRET, 7000215, "Invalid client secret provided."
        if not proved or proof.get("client_id") != CLIENT:
            told = {"error_description": f"AADSTS{number}: {said}", "error_codes": [number]}
            return JSONResponse({"error": "invalid_client", **told}, 401)
        return JSONResponse({"token_type": "Bearer", "expires_in": 3599, "access_token": self.token})

    def _one(self, request: Request, path: str, body: bytes) -> Response:
        if self.refusals and re.fullmatch(self.refusals[0][0], f"{request.method} {path}"):
            raise self.refusals.popleft()[1]
        if request.method != "GET" and path not in READING_POSTS:
            self._spend(f"{request.method} {path} {body.decode()}")
        return self._dispatch(request, path, body)

    def _batch(self, request: Request, body: bytes) -> Response:
        """Up to 20 requests, each with its own answer and counted by itself, answered in any order."""
        asked = json_in(body)["requests"]
        if len(asked) > 20:
            raise Refusal(400, "BadRequest", "Number of batch request steps exceeds the maximum value of 20.")
        if len({str(one["id"]).lower() for one in asked}) != len(asked):
            raise Refusal(400, "BadRequest", "Each batch request must have a unique id.")
        told = []
        for one in reversed(asked):
            if one.get("body") is not None and "content-type" not in {name.lower() for name in one.get("headers", {})}:
                raise Refusal(400, "BadRequest", "Write request id : 1 does not contain Content-Type header or body.")
            path, _, query = one["url"].partition("?")
            headers = [(name.lower().encode(), value.encode()) for name, value in one.get("headers", {}).items()]
            scope = {"type": "http", "method": one["method"], "path": path, "headers": headers}
            part = Request(scope | {"query_string": query.encode(), "server": ("localhost", 80), "scheme": "http"})
            self.requests.append(f"batched {one['method']} {unquote(path)}")
            try:
                answer = self._one(part, unquote(path), json.dumps(one.get("body")).encode())
            except Refusal as refusal:
                answer = error_answer(refusal)
            said: dict[str, Any] = {"id": one["id"], "status": answer.status_code, "headers": dict(answer.headers)}
            if answer.body:
                said["body"] = json.loads(bytes(answer.body))
            told.append(said)
        return JSONResponse({"responses": told})

    def _spend(self, what: str) -> None:
        """Counts a write. Refused ones count as well, so that hammering never ends it."""
        now = self.now()
        while self._written and self._written[0] <= now - self.window_s:
            self._written.popleft()
        full = self.writes is not None and len(self._written) >= self.writes
        self._written.append(now)
        if full:
            self.throttled[what] += 1
            over = len(self._written) - (self.writes or 0)
            wait_s = self._written[min(over, len(self._written) - 1)] + self.window_s - now
            raise Refusal(429, "TooManyRequests", "Too many requests.", **{"Retry-After": f"{wait_s:.3f}"})

    def _dispatch(self, request: Request, path: str, body: bytes) -> Response:
        query = request.query_params
        method = request.method
        if path == "/organization":
            return JSONResponse({"value": [{"id": "t", "displayName": "Contoso"}]})
        if path == "/roleManagement/directory/roleAssignments":
            self._may("roles")
            return JSONResponse(
                {"value": [{"id": f"r{one}", "principalId": one} for one in sorted(self.administrators)]}
            )
        if path == "/directoryObjects/getByIds" and method == "POST":
            return self._by_ids(json_in(body), query)
        if found := re.fullmatch(r"/directory/deletedItems/?([^/]*)(/restore)?", path):
            return self._deleted(method, found[1], found[2] or "", body, query)
        if found := re.fullmatch(r"/(users|groups)/\$count", path):
            self._may(found[1])
            if request.headers.get("consistencylevel") != "eventual":
                raise Refusal(400, "Request_BadRequest", "$count is not currently supported.")
            return PlainTextResponse("\ufeff" + str(len(getattr(self, found[1]))))
        if found := re.fullmatch(r"/(users|groups)/(?:microsoft\.graph\.)?delta(?:\(\))?", path):
            return self._delta(found[1], query)
        if path == "/users" and method == "POST":
            return self._create_user(json_in(body))
        if path == "/groups" and method == "POST":
            return JSONResponse(self._create_group(json_in(body)), 201)
        if found := re.fullmatch(r"/(users|groups)", path):
            return self._list(found[1], query, request)
        if found := re.fullmatch(r"/groups\(uniqueName='(.*)'\)", path):
            return self._upsert_group(found[1].replace("''", "'"), json_in(body), request)
        if found := re.fullmatch(r"/servicePrincipals\(appId='(.*)'\)", path):
            self._may("application")
            return JSONResponse({"id": "sp", "appId": found[1], "appRoles": self.app_roles})
        if path == "/servicePrincipals/sp/appRoleAssignedTo":
            return JSONResponse({"value": self.assigned})
        if found := re.fullmatch(r"/users/([^/]+)(/.*)?", path):
            return self._user(method, self._key_of(found[1]), found[2] or "", body, query)
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
            wanted: list[tuple[str, list[str] | None]] = [(key, None) for key in getattr(self, noun)]
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
        rest, at = state["rest"], state.get("at", 0)
        page, at = rest[at : at + self.page], 0 if self.endless else at + self.page
        left = at < len(rest)
        self._tokens[new := f"t{next(self._numbers)}"] = (
            {**state, "at": at} if left else {key: state[key] for key in ("noun", "select", "upto")}
        )
        link = f"{self.url}/{state['noun']}/delta?" + (f"$skiptoken={new}" if left else f"$deltatoken={new}")
        return JSONResponse({"value": page, ("@odata.nextLink" if left else "@odata.deltaLink"): link})

    def _chunks(self, noun: str, select: list[str], wanted: list[tuple[str, list[str] | None]]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        relation = "members" if noun == "groups" else "manager"
        held: dict[str, list[str]] = {}
        for group, member in self.members if noun == "groups" else ():
            held.setdefault(group, []).append(member)
        for key, events in wanted:
            entry = getattr(self, noun).get(key)
            if entry is None:
                made.append({"id": key, "@removed": {"reason": "changed" if key in self.deleted else "deleted"}})
                continue
            names = [name for name in select if name != relation]
            row = {"id": key} | {name: entry[name] for name in names if name in entry}  # never set: left out
            if relation not in select:
                made.append(row)
                continue
            if events is None:
                edges = held.get(key, []) if noun == "groups" else [self.managers.get(key, "")]
                marks: list[dict[str, Any]] = [{"@odata.type": self._type(one), "id": one} for one in edges if one]
            else:
                last = {event[1:]: event[0] for event in events if event[0] in "+-"}
                gone = {"@removed": {"reason": "deleted"}}
                marks = [
                    {"@odata.type": self._type(one), "id": one, **(gone if sign == "-" else {})}
                    for one, sign in last.items()
                ]
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
        entries = list(getattr(self, noun).values())
        if "$filter" in query:
            test = filter_of(query["$filter"], request, query)
            entries = [one for one in entries if test(one)]
        entries = [one for one in entries if self._shown(noun, one["id"])]
        first = int(query.get("$skiptoken", 0))
        rows = [
            self._shape(self.lagging.get(one["id"], one), select, query.get("$expand", ""))
            for one in entries[first : first + top]
        ]
        page: dict[str, Any] = {"value": rows}
        if first + top < len(entries):
            told = {name: value for name, value in query.items() if name != "$skiptoken"}
            page["@odata.nextLink"] = f"{self.url}/{noun}?{urlencode({**told, '$skiptoken': first + top})}"
        return JSONResponse(page)

    def _shape(self, one: dict[str, Any], select: list[str], expand: str) -> dict[str, Any]:
        row = {name: one.get(name, [] if name in COLLECTIONS else None) for name in ["id", *select]}
        if "manager" in expand and one["id"] in self.managers:
            row["manager"] = {"@odata.type": "#microsoft.graph.user", "id": self.managers[one["id"]]}
        return row

    def _type(self, key: str) -> str:
        sort = "group" if key in self.groups else "user" if key in self.users or key in self.deleted else "device"
        return f"#microsoft.graph.{sort}"

    def _key_of(self, text: str) -> str:
        """Users have two names: an id, and a user principal name."""
        if text in self.users:
            return text
        return next((key for key, one in self.users.items() if one["userPrincipalName"].lower() == text.lower()), text)

    def _by_ids(self, body: dict[str, Any], query: Any) -> Response:
        self._may("directory")
        if len(body["ids"]) > 1000:
            raise Refusal(400, "Request_BadRequest", "Too many ids.")
        select = query["$select"].split(",") if "$select" in query else USER_DEFAULT
        held = {**self.users, **self.groups}
        found = [held[key] for key in body["ids"] if key in held]
        return JSONResponse(
            {"value": [{"@odata.type": self._type(one["id"]), **self._shape(one, select, "")} for one in found]}
        )

    def _deleted(self, method: str, key: str, rest: str, body: bytes, query: Any) -> Response:
        self._may("users")
        if key == "microsoft.graph.user" and method == "GET":
            select = query["$select"].split(",") if "$select" in query else [*USER_DEFAULT, "deletedDateTime"]
            return JSONResponse({"value": [self._shape(one, select, "") for one in self.deleted.values()]})
        if key not in self.deleted:
            raise Refusal(404, "Request_ResourceNotFound", f"Resource '{key}' does not exist.")
        if rest == "/restore" and method == "POST":
            said = json_in(body) if body.strip() and body != b"null" else {}
            return JSONResponse(self.restore_user(key, said.get("newUserPrincipalName")))
        if method == "DELETE":
            self.purge_user(key)
            return Response(status_code=204)
        return JSONResponse(self._shape(self.deleted[key], USER_DEFAULT, ""))

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

    def _user(self, method: str, key: str, rest: str, body: bytes, query: Any) -> Response:
        if key not in self.users:
            raise Refusal(404, "Request_ResourceNotFound", f"Resource '{key}' does not exist.")
        if rest == "" and method == "GET":
            select = query["$select"].split(",") if "$select" in query else USER_DEFAULT
            return JSONResponse(self._shape(self.users[key], select, query.get("$expand", "")))
        if rest == "/manager" and method == "GET":
            if key not in self.managers:
                raise Refusal(404, "Request_ResourceNotFound", "Resource 'manager' does not exist.")
            boss = self._shape(self.users[self.managers[key]], USER_DEFAULT, "")
            return JSONResponse({"@odata.type": "#microsoft.graph.user", **boss})
        if rest == "" and method == "PATCH":
            values = json_in(body)
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
            manager = json_in(body)["@odata.id"].rpartition("/")[2] if method == "PUT" else None
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
            return self._group("PATCH", held["id"], "", dumped(body), {})
        if request.headers.get("prefer") != "create-if-missing":
            raise Refusal(404, "Request_ResourceNotFound", "Resource does not exist.")
        return JSONResponse(self._create_group(body | {"uniqueName": unique}), 201)

    def _group(self, method: str, key: str, rest: str, body: bytes, query: Any) -> Response:
        if key not in self.groups:
            raise Refusal(404, "Request_ResourceNotFound", f"Resource '{key}' does not exist.")
        if rest == "" and method == "GET":
            return JSONResponse(self._shape(self.groups[key], sorted(GROUP_KNOWN), ""))
        if rest == "/members/$ref" and method == "POST":
            body = dumped({"members@odata.bind": [json_in(body)["@odata.id"]]})
            rest, method = "", "PATCH"
        if rest == "/members" and method == "GET":
            shown = self.stale_members.get(key, {member for group, member in self.members if group == key})
            ids = sorted(shown - set(self.deleted))
            first, size = int(query.get("$skiptoken", 0)), int(query.get("$top", 100))
            page: dict[str, Any] = {
                "value": [{"@odata.type": self._type(one), "id": one} for one in ids[first : first + size]]
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
            self.remove_group(key)
            self.effects.append(f"delete group {key}")
            return Response(status_code=204)
        if rest == "" and method == "PATCH":
            values = json_in(body)
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


@contextmanager
def serving(service: GraphService | None = None, *, authority: Any = None) -> Iterator[GraphService]:
    """A tenant that answers on loopback while the block runs; behind TLS where an authority signs for it."""
    service = service or GraphService()
    with answering(service.answer, ["GET", "POST", "PATCH", "PUT", "DELETE"], authority=authority) as address:
        service.url = f"{address}/v1.0"
        yield service
