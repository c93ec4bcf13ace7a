"""A Dropbox team of our own for tests: strict where Dropbox is strict, with the traps that its users report.

Every request is checked, and every answer, by the validators of Dropbox' own SDK. Nothing of the product is in it.
Source: dropbox/dropbox-api-spec (team.stone, team_common.stone, async.stone, auth.stone, common.stone).
"""

import itertools
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from dropbox import team
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from stone.backends.python_rsrc import stone_serializers
from stone.backends.python_rsrc.stone_validators import ValidationError

from tests.servers.salesforce_service import Fault
from tests.servers.starting import answering

KEY, SECRET, REFRESH = "an-app-key", "an-app-secret", "a-refresh-token"
SCOPES = ("members.read", "members.write", "members.delete", "groups.read", "groups.write", "team_info.read")
ROLES = {"pid_dbtmr:1": "Team admin", "pid_dbtmr:2": "User management admin", "pid_dbtmr:3": "Support admin"}
EVERYBODY = "g:everybody"
"""The system's own group: in every profile, hidden in lists of nobody's making."""
_READS = ("list", "list/continue", "get_info", "get_available_team_member_roles", "members/list")
_READS += ("members/list/continue",)
_ROUTES = {
    route.name + (f"_v{route.version}" if route.version > 1 else ""): route
    for route in vars(team).values()
    if type(route).__name__ == "Route"
}


class Refusal(Exception):  # noqa: N818
    """An error of a route: its tag, and what stands beside it."""

    def __init__(self, tag: str, value: Any = None) -> None:
        self.tag, self.value = tag, value


@dataclass
class Member:
    """Somebody in the team, or somebody who was."""

    key: str
    email: str
    given: str = ""
    surname: str = ""
    external_id: str | None = None
    persistent_id: str | None = None
    restricted: bool = False
    status: str = "active"
    recoverable: bool = True
    """Once removed: within seven days, and with the files still there."""
    role: str | None = None
    files: bool = True

    @property
    def here(self) -> bool:
        return self.status != "removed"


@dataclass
class Team:
    """A group of the team."""

    key: str
    name: str
    external_id: str | None = None
    kind: str = "company_managed"
    members: dict[str, None] = field(default_factory=dict)


@dataclass
class DropboxService:
    """One team."""

    page: int = 1000
    inline: int = 10**9
    """Members that come with a group."""
    licences: int = 100_000
    scopes: set[str] = field(default_factory=lambda: set(SCOPES))
    team_token: bool = True
    """False: the token is that of a person, not of a team."""
    admin_error: str = ""
    """What get_authenticated_admin answers: ``admin_not_active`` or ``mapping_not_found``."""
    persistent_ids: bool = True
    directory_restriction: bool = True
    elsewhere: set[str] = field(default_factory=set)
    """Addresses of members of other teams."""
    refusing: dict[str, str] = field(default_factory=dict)
    """By address: the tag with which adding is refused."""
    errors: dict[str, list[str]] = field(default_factory=dict)
    """By route: tags of errors that are answered next."""
    unverified: set[str] = field(default_factory=set)
    """Addresses that cannot receive files."""
    asynchronous: bool = False
    """Adding and removing become jobs."""
    waits: int = 0
    """Times that a job is still in progress."""
    checked: bool = True
    """Whether answers are validated as well; costly for large ones."""
    hidden: dict[str, int] = field(default_factory=dict)
    """Keys that so many looks do not show yet."""
    faults: list[Fault] = field(default_factory=list)
    token_uses: int | None = None
    """Requests after which a token ends; None: never."""
    roles: dict[str, str] = field(default_factory=lambda: dict(ROLES))
    members: dict[str, Member] = field(default_factory=dict)
    groups: dict[str, Team] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    bodies: list[tuple[str, Any]] = field(default_factory=list)
    """Every route that was asked, with its JSON."""
    effects: list[str] = field(default_factory=list)
    welcomed: list[str] = field(default_factory=list)
    """Addresses that got a welcome mail."""
    wiped: list[str] = field(default_factory=list)
    """Keys of members whose devices were wiped."""
    transferred: dict[str, str] = field(default_factory=dict)
    """Whose files went to whom."""
    url: str = ""
    _tokens: dict[str, int] = field(default_factory=dict)
    _cursors: dict[str, tuple[str, int]] = field(default_factory=dict)
    _jobs: dict[str, tuple[Any, list[int]]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _holders: dict[tuple[str, str], list[Member]] = field(default_factory=dict)
    """Of one request: who has an address or an id."""
    _lock: Any = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.put_group("Everyone at Example", kind="system_managed", key=EVERYBODY)
        self.admin = self.put("admin@example.com", surname="Admin", role="pid_dbtmr:1")
        self._admin = self.members[self.admin]

    # -- put in by tests ---------------------------------------------------------------------------------------------

    def put(self, email: str, **values: Any) -> str:
        """A member; gives the key."""
        key = f"dbmid:{next(self._numbers):06d}"
        self.members[key] = Member(key, email, **values)
        return key

    def put_group(self, name: str, *members: str, key: str = "", **values: Any) -> str:
        """A group; gives the key."""
        key = key or f"g:{next(self._numbers):06d}"
        self.groups[key] = Team(key, name, members=dict.fromkeys(members), **values)
        return key

    def accept(self, *keys: str) -> None:
        """Members who were invited join."""
        for key in keys or [one.key for one in self.members.values() if one.status == "invited"]:
            self.members[key].status = "active"

    @property
    def here(self) -> dict[str, Member]:
        """Members but the admin and those who were removed."""
        return {key: one for key, one in self.members.items() if one.here and key != self.admin}

    def edges(self) -> set[tuple[str, str]]:
        return {(one.key, key) for one in self.groups.values() for key in one.members}

    # -- requests ----------------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        path, body = request.url.path, await request.body()
        with self._lock:
            if path == "/oauth2/token":
                self.requests.append("token")
                return self._token({name: one[0] for name, one in parse_qs(body.decode()).items()})
            route = path.removeprefix("/2/team/")
            self.requests.append(route)
            if route not in _ROUTES or not hasattr(self, _handler(route)):
                return PlainTextResponse(f"Unknown API function: {route!r}", 400)
            made = self._closed(request, route) or self._troubled(route) or self._called(route, body)
            made.headers["x-dropbox-request-id"] = f"{next(self._numbers):032x}"
            return made

    def _token(self, form: dict[str, str]) -> Response:
        if (form.get("client_id"), form.get("client_secret")) != (KEY, SECRET):
            return JSONResponse({"error": "invalid_client: Invalid client_id or client_secret"}, 400)
        if (form.get("grant_type"), form.get("refresh_token")) != ("refresh_token", REFRESH):
            words = "refresh token is invalid or revoked"
            return JSONResponse({"error": "invalid_grant", "error_description": words}, 400)
        token = f"sl.{next(self._numbers)}"
        self._tokens[token] = 10**9 if self.token_uses is None else self.token_uses
        return JSONResponse({"access_token": token, "expires_in": 14400, "token_type": "bearer"})

    def _closed(self, request: Request, route: str) -> Response | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self._tokens or (route == "members/add_v2" and self._strikes("not trusted", "create")):
            return _error("invalid_access_token", status=401)
        self._tokens[token] -= 1
        if self._tokens[token] < 0:
            del self._tokens[token]
            return _error("expired_access_token", status=401)
        if not self.team_token:
            words = "This API function operates on a multi-user team, but the token is for a single Dropbox user."
            return PlainTextResponse(f'Error in call to API function "team/{route}": {words}', 400)
        scope = _scope(route)
        return None if scope in self.scopes else _error("missing_scope", required_scope=scope, status=401)

    def _troubled(self, route: str) -> Response | None:
        """What goes wrong before anything is done."""
        verb = _verb(route)
        if tags := self.errors.get(route):
            return _error(tags.pop(0))
        for name in ("json", "text", "bare", "throttled"):
            if self._strikes(name if name == "throttled" else f"throttled {name}", verb):
                return _throttled(name)
        lost = self._strikes("lost before", verb) or (verb == "create" and self._strikes("pack refused", "pack"))
        return PlainTextResponse("gone", 503) if lost else None

    def _called(self, route: str, body: bytes) -> Response:
        declared, verb = _ROUTES[route], _verb(route)
        try:
            asked = stone_serializers.json_decode(declared.arg_type, body.decode() or "null", strict=True)
        except ValidationError as error:
            return PlainTextResponse(f'Error in call to API function "team/{route}": request body: {error}', 400)
        self.bodies.append((route, json.loads(body or b"null")))
        self._holders.clear()
        try:
            found = getattr(self, _handler(route))(asked)
        except Refusal as refusal:
            made = _error(refusal.tag, **({} if refusal.value is None else {refusal.tag: refusal.value}))
            stone_serializers.json_compat_obj_decode(declared.error_type, json.loads(made.body)["error"], strict=True)
            return made
        if self._strikes("lost after", verb):
            return PlainTextResponse("gone", 503)
        if self.checked:
            stone_serializers.json_compat_obj_decode(declared.result_type, found, strict=True)
        return JSONResponse(self._falsified(found, verb))

    def _falsified(self, found: Any, verb: str) -> Any:
        """Answers that lie, which no validator would let pass."""
        items = found.get("complete") if isinstance(found, dict) else None
        if verb == "create" and isinstance(items, list) and len(items) > 1:
            if self._strikes("hole in pack", "pack"):
                items[0] = None
            if self._strikes("short pack", "pack"):
                items.pop()
        return found

    def _strikes(self, name: str, verb: str) -> bool:
        return any(fault.name == name and fault.strikes(verb) for fault in self.faults)

    # -- the team ----------------------------------------------------------------------------------------------------

    def do_get_info(self, _: Any) -> Any:
        policies = {
            "sharing": {
                "shared_folder_member_policy": {".tag": "team"},
                "shared_folder_join_policy": {".tag": "from_anyone"},
                "shared_link_create_policy": {".tag": "team_only"},
                "group_creation_policy": {".tag": "admins_only"},
                "shared_folder_link_restriction_policy": {".tag": "anyone"},
                "enforce_link_password_policy": {".tag": "optional"},
                "default_link_expiration_days_policy": {".tag": "none"},
                "shared_link_default_permissions_policy": {".tag": "default"},
            },
            "emm_state": {".tag": "disabled"},
            "office_addin": {".tag": "disabled"},
            "suggest_members_policy": {".tag": "enabled"},
            "top_level_content_policy": {".tag": "admin_only"},
        }
        counts = {"num_licensed_users": self.licences, "num_provisioned_users": self.taken}
        return {
            "name": "Example",
            "team_id": "dbtid:1",
            "policies": policies,
            "num_used_licenses": self.taken,
            **counts,
        }

    @property
    def taken(self) -> int:
        """Seats: of those who are active, and those who are invited."""
        return sum(one.status in ("active", "invited") for one in self.members.values())

    def do_token_get_authenticated_admin(self, _: Any) -> Any:
        if self.admin_error:
            raise Refusal(self.admin_error)
        return {"admin_profile": self._profile(self._admin)}

    def do_members_get_available_team_member_roles(self, _: Any) -> Any:
        return {"roles": [self._role(key) for key in self.roles]}

    def _role(self, key: str) -> dict[str, str]:
        return {"role_id": key, "name": self.roles[key], "description": f"May do what a {self.roles[key]} does."}

    # -- members that are read ---------------------------------------------------------------------------------------

    def do_members_list_v2(self, asked: Any) -> Any:
        keys = [key for key, one in self.members.items() if one.here or asked.include_removed]
        if self._strikes("nobody", "page"):
            keys = []
        elif self._strikes("one missing", "page"):
            keys = keys[1:]
        return self._paged(keys, 0, min(asked.limit, self.page), "members")

    def do_members_list_continue_v2(self, asked: Any) -> Any:
        if self._strikes("cut", "page"):
            raise Refusal("other")
        return self._continued(asked.cursor)

    def _continued(self, cursor: str) -> Any:
        if self._strikes("expired", "page"):
            self._cursors.clear()
        if cursor not in self._cursors:
            raise Refusal("invalid_cursor")
        text, start = self._cursors[cursor]
        held = json.loads(text)
        return self._paged(held["keys"], start, held["size"], held["of"], cursor)

    def _paged(self, keys: list[str], start: int, size: int, of: str, cursor: str = "") -> Any:
        end = start + size
        shown = keys[start:end]
        if of == "members" and start and self._strikes("empty", "page"):
            shown, end = [], start
        elif of == "members" and start and self._strikes("doubled", "page"):
            shown = [keys[start - 1], *shown[1:]]
        if not (cursor and self._strikes("circle", "page")):
            cursor = f"cursor-{next(self._numbers)}"
        self._cursors[cursor] = (json.dumps({"keys": keys, "size": size, "of": of}), end)
        rows = [self._row(of, key) for key in shown]
        return {"groups" if of == "groups" else "members": rows, "cursor": cursor, "has_more": end < len(keys)}

    def _row(self, of: str, key: str) -> dict[str, Any]:
        if of == "members":
            return self._info(self.members[key])
        return self._group(self.groups[key]) if of == "groups" else self._access(key)

    def _access(self, key: str) -> dict[str, Any]:
        return {"profile": self._profile(self.members[key], groups=False), "access_type": {".tag": "member"}}

    def _info(self, one: Member) -> dict[str, Any]:
        return {"profile": self._profile(one), "roles": [self._role(one.role)] if one.role else []}

    def _profile(self, one: Member, groups: bool = True) -> dict[str, Any]:
        status: dict[str, Any] = {".tag": one.status}
        if not one.here:
            status |= {"is_recoverable": one.recoverable, "is_disconnected": False}
        name = {"given_name": one.given, "surname": one.surname, "familiar_name": one.given}
        name |= {"display_name": f"{one.given} {one.surname}".strip(), "abbreviated_name": one.given[:1] or "?"}
        found: dict[str, Any] = {
            "team_member_id": one.key,
            "email": one.email,
            "email_verified": one.status == "active",
            "status": status,
            "name": name,
            "membership_type": {".tag": "full"},
            "account_id": f"dbid:{one.key[6:]:a>35}",
            "is_directory_restricted": one.restricted,
        }
        found |= {} if one.external_id is None else {"external_id": one.external_id}
        found |= {} if one.persistent_id is None else {"persistent_id": one.persistent_id}
        found |= {"joined_on": "2026-01-02T03:04:05Z"} if one.status == "active" else {}
        if groups:
            mine = [group.key for group in self.groups.values() if one.key in group.members] if one.here else []
            found |= {"groups": [EVERYBODY, *mine], "member_folder_id": "3235641", "root_folder_id": "5"}
        return found

    def do_members_get_info_v2(self, asked: Any) -> Any:
        if self._strikes("everybody", "look"):
            return {"members_info": [{".tag": "member_info", **self._info(one)} for one in self.here.values()]}
        return {"members_info": [self._sought(selector) for selector in asked.members]}

    def _sought(self, selector: Any) -> Any:
        one = self._who(selector, removed=True)
        if one is not None and self.hidden.get(one.key, 0) > 0:
            self.hidden[one.key] -= 1
            one = None
        if one is None:
            return {".tag": "id_not_found", "id_not_found": str(selector._value)}
        return {".tag": "member_info", **self._info(one)}

    def _who(self, selector: Any, *, removed: bool = False) -> Member | None:
        tag, value = selector._tag, selector._value
        if tag == "team_member_id":
            found = self.members.get(value)
            return found if found and (found.here or removed) else None
        many = [one for one in self._who_has(tag, value) if one.here or removed]
        return next((one for one in many if one.here), next(iter(many), None))

    def _who_has(self, tag: str, value: str) -> list[Member]:
        if not self._holders:
            for one in self.members.values():
                self._note(one)
        return self._holders.get((tag, value.lower() if tag == "email" else value), [])

    def _note(self, one: Member) -> None:
        for tag in _TAKEN:
            if (value := getattr(one, tag)) is not None:
                self._holders.setdefault((tag, value.lower() if tag == "email" else value), []).append(one)

    def _member(self, selector: Any, *, removed: bool = False) -> Member:
        found = self._who(selector, removed=True)
        if found is None:
            raise Refusal("user_not_found")
        if not found.here and not removed:
            raise Refusal("user_not_in_team")
        return found

    # -- members that are written ------------------------------------------------------------------------------------

    def do_members_add_v2(self, asked: Any) -> Any:
        if len(asked.new_members) > 20 or not asked.new_members:
            raise AssertionError("a call adds 1 to 20 members")
        self.effects.append(f"add {len(asked.new_members)}")
        if asked.force_async or self.asynchronous or self._strikes("job", "create"):
            job = f"dbjid:{next(self._numbers)}"
            self._jobs[job] = (asked.new_members, [self.waits])
            return {".tag": "async_job_id", "async_job_id": job}
        return {".tag": "complete", "complete": self._add_all(asked.new_members)}

    def _add_all(self, people: Iterable[Any]) -> list[Any]:
        left, found = self.licences - self.taken, []
        for one in people:
            found.append(self._add(one, left))
            left -= found[-1][".tag"] == "success"
        return found

    def do_members_add_job_status_get_v2(self, asked: Any) -> Any:
        done = self._job(asked.async_job_id)
        if isinstance(done, dict):
            return done
        if self._strikes("job failed", "poll"):
            return {".tag": "failed", "failed": "Something went wrong."}
        members = self._jobs[asked.async_job_id][0]
        if members and not isinstance(members[0], dict):
            members = self._add_all(members)
            self._jobs[asked.async_job_id] = (members, [0])
        return {".tag": "complete", "complete": members}

    def _job(self, job: str) -> Any:
        """Still in progress, or None."""
        if job not in self._jobs or self._strikes("job forgotten", "poll"):
            raise Refusal("invalid_async_job_id")
        left = self._jobs[job][1]
        if left[0] > 0 or self._strikes("not yet", "poll"):
            left[0] -= 1
            return {".tag": "in_progress"}
        return None

    def _add(self, new: Any, left: int) -> Any:
        def no(tag: str) -> dict[str, str]:
            return {".tag": tag, tag: new.member_email}

        if tag := self.refusing.get(new.member_email):
            return {".tag": tag, tag: new.member_email} if tag in _ADD_TAGS else {".tag": tag}
        if new.member_email in self.elsewhere:
            return no("user_on_another_team")
        if new.member_persistent_id and not self.persistent_ids:
            return no("persistent_id_disabled")
        for tag, value, refusal in (
            ("email", new.member_email, "user_already_on_team"),
            ("external_id", new.member_external_id, "duplicate_external_member_id"),
            ("persistent_id", new.member_persistent_id, "duplicate_member_persistent_id"),
        ):
            if value and any(one.here or one.recoverable for one in self._who_has(tag, value)):
                return no(refusal)
        if left <= 0:
            return no("team_license_limit")
        key = self.put(
            new.member_email,
            given=new.member_given_name or "",
            surname=new.member_surname or "",
            external_id=new.member_external_id or None,
            persistent_id=new.member_persistent_id or None,
            restricted=bool(new.is_directory_restricted),
            role=next(iter(new.role_ids or ()), None),
            status="invited",
        )
        self._note(self.members[key])
        if new.send_welcome_email:
            self.welcomed.append(new.member_email)
        return {".tag": "success", **self._info(self.members[key])}

    def do_members_set_profile_v2(self, asked: Any) -> Any:
        one = self._member(asked.user, removed=True)
        if not one.here:
            raise Refusal("set_profile_disallowed")
        new = {name[4:]: getattr(asked, name) for name in _NEW if getattr(asked, name) is not None}
        if not new:
            raise Refusal("no_new_data_specified")
        if asked.user._tag == "external_id" and "external_id" in new:
            raise Refusal("external_id_and_new_external_id_unsafe")
        if "" in (new.get("given_name"), new.get("surname"), new.get("email")):
            raise Refusal("param_cannot_be_empty")
        if "is_directory_restricted" in new and not self.directory_restriction:
            raise Refusal("directory_restricted_off")
        if new.get("persistent_id") and not self.persistent_ids:
            raise Refusal("persistent_id_disabled")
        for tag, refusal in _TAKEN.items():
            held = self._who_has(tag, new[tag]) if new.get(tag) else []
            if any(other is not one and (other.here or other.recoverable) for other in held):
                raise Refusal(refusal)
        if new.get("email") in self.elsewhere:
            raise Refusal("email_reserved_for_other_user")
        for name, value in new.items():
            setattr(one, _FIELDS.get(name, name), None if value == "" else value)
        self.effects.append(f"profile {one.key} {','.join(sorted(new))}")
        return {"member_info": self._info(one)}

    def do_members_set_admin_permissions_v2(self, asked: Any) -> Any:
        one = self._member(asked.user)
        wanted = next(iter(asked.new_roles or ()), None)
        if wanted is not None and wanted not in self.roles:
            raise Refusal("role_not_found")
        if one.status == "suspended":
            raise Refusal("cannot_set_permissions")
        if wanted != one.role and self._last_admin(one):
            raise Refusal("last_admin")
        one.role = wanted
        self.effects.append(f"role {one.key}")
        return {"team_member_id": one.key, "roles": [self._role(wanted)] if wanted else []}

    def _last_admin(self, one: Member) -> bool:
        admins = [other for other in self.members.values() if other.here and other.role == "pid_dbtmr:1"]
        return one.role == "pid_dbtmr:1" and len(admins) == 1

    def do_members_suspend(self, asked: Any) -> None:
        one = self._member(asked.user)
        if one.status != "active":
            raise Refusal("suspend_inactive_user")
        if self._last_admin(one):
            raise Refusal("suspend_last_admin")
        one.status = "suspended"
        if asked.wipe_data:
            self.wiped.append(one.key)
        self.effects.append(f"suspend {one.key}")

    def do_members_unsuspend(self, asked: Any) -> None:
        one = self._member(asked.user)
        if one.status != "suspended":
            raise Refusal("unsuspend_non_suspended_member")
        if self.taken >= self.licences:
            raise Refusal("team_license_limit")
        one.status = "active"
        self.effects.append(f"unsuspend {one.key}")

    def do_members_recover(self, asked: Any) -> None:
        one = self._member(asked.user, removed=True)
        if one.here or not one.recoverable:
            raise Refusal("user_unrecoverable")
        if self.taken >= self.licences:
            raise Refusal("team_license_limit")
        one.status = "active"
        self.effects.append(f"recover {one.key}")

    def do_members_remove(self, asked: Any) -> Any:
        one = self._member(asked.user)
        self._refuse_removal(one, asked)
        one.status, one.role = "removed", None
        for group in self.groups.values():
            group.members.pop(one.key, None)
        if asked.wipe_data:
            self.wiped.append(one.key)
        dest = asked.transfer_dest_id and self._who(asked.transfer_dest_id)
        if dest:
            self.transferred[one.key] = dest.key
        one.recoverable = not (dest or asked.keep_account or asked.permanently_delete_files)
        one.files = not asked.permanently_delete_files
        self.effects.append(f"remove {one.key}")
        if self.asynchronous or self._strikes("job", "delete"):
            job = f"dbjid:{next(self._numbers)}"
            self._jobs[job] = ([], [self.waits])
            return {".tag": "async_job_id", "async_job_id": job}
        return {".tag": "complete"}

    def _refuse_removal(self, one: Member, asked: Any) -> None:
        moves = asked.transfer_dest_id is not None
        if self._last_admin(one):
            raise Refusal("remove_last_admin")
        for wrong, tag in (
            (asked.keep_account and moves, "cannot_keep_account_and_transfer"),
            (asked.keep_account and asked.wipe_data, "cannot_keep_account_and_delete_data"),
            (asked.keep_account and one.status == "invited", "cannot_keep_invited_user_account"),
            (asked.retain_team_shares and asked.wipe_data, "cannot_retain_shares_when_data_wiped"),
            (asked.retain_team_shares and not asked.keep_account, "cannot_retain_shares_when_no_account_kept"),
            (asked.permanently_delete_files and moves, "cannot_permanently_delete_and_transfer"),
            (moves and asked.transfer_admin_id is None, "unspecified_transfer_admin_id"),
        ):
            if wrong:
                raise Refusal(tag)
        if not moves:
            return
        dest, admin = self._who(asked.transfer_dest_id), self._who(asked.transfer_admin_id)
        if dest is None:
            raise Refusal("transfer_dest_user_not_found")
        if dest is one:
            raise Refusal("removed_and_transfer_dest_should_differ")
        if admin is None or admin.role is None:
            raise Refusal("transfer_admin_is_not_admin" if admin else "transfer_admin_user_not_found")
        if dest.email in self.unverified:
            raise Refusal("recipient_not_verified")

    def do_members_remove_job_status_get(self, asked: Any) -> Any:
        return self._job(asked.async_job_id) or {".tag": "complete"}

    # -- groups ------------------------------------------------------------------------------------------------------

    def do_groups_list(self, asked: Any) -> Any:
        return self._paged([key for key in self.groups if key != EVERYBODY], 0, min(asked.limit, self.page), "groups")

    def do_groups_list_continue(self, asked: Any) -> Any:
        return self._continued(asked.cursor)

    def _group(self, one: Team) -> dict[str, Any]:
        found = {"group_name": one.name, "group_id": one.key, "group_management_type": {".tag": one.kind}}
        found |= {} if one.external_id is None else {"group_external_id": one.external_id}
        return found | {"member_count": len(one.members)}

    def _full(self, one: Team, *, members: bool = True) -> dict[str, Any]:
        shown = [
            self._access(key) for key in list(one.members)[: self.inline] if members and one.kind != "system_managed"
        ]
        return {**self._group(one), "created": 1_767_322_245_000} | ({"members": shown} if members else {})

    def do_groups_get_info(self, asked: Any) -> Any:
        values, by_id = asked._value, asked.is_group_ids()
        found = []
        for value in values:
            one = self.groups.get(value) if by_id else self._group_of(value)
            found.append(
                {".tag": "id_not_found", "id_not_found": value}
                if one is None
                else {".tag": "group_info", **self._full(one)}
            )
        return found

    def _group_of(self, external_id: str) -> Team | None:
        return next((one for one in self.groups.values() if one.external_id == external_id), None)

    def _picked(self, selector: Any) -> Team:
        one = self.groups.get(selector._value) if selector.is_group_id() else self._group_of(selector._value)
        if one is None:
            raise Refusal("group_not_found")
        if one.kind == "system_managed":
            raise Refusal("system_managed_group_disallowed")
        return one

    def _refuse_group(self, name: str | None, external_id: str | None, mine: Team | None = None) -> None:
        for one in self.groups.values():
            if one is mine:
                continue
            if name is not None and one.name.casefold() == name.casefold():
                raise Refusal("group_name_already_used")
            if external_id and one.external_id == external_id:
                raise Refusal("external_id_already_in_use")
        if name is not None and not name.strip():
            raise Refusal("group_name_invalid")

    def do_groups_members_list(self, asked: Any) -> Any:
        one = self._picked(asked.group)
        return self._paged(list(one.members), 0, min(asked.limit, self.page), "access")

    def do_groups_members_list_continue(self, asked: Any) -> Any:
        return self._continued(asked.cursor)

    def do_groups_create(self, asked: Any) -> Any:
        self._refuse_group(asked.group_name, asked.group_external_id)
        kind = asked.group_management_type._tag if asked.group_management_type else "user_managed"
        key = self.put_group(asked.group_name, external_id=asked.group_external_id or None, kind=kind)
        self.effects.append(f"group {key}")
        return self._full(self.groups[key])

    def do_groups_update(self, asked: Any) -> Any:
        one = self._picked(asked.group)
        self._refuse_group(asked.new_group_name, asked.new_group_external_id, one)
        one.name = asked.new_group_name or one.name
        if asked.new_group_external_id is not None:
            one.external_id = asked.new_group_external_id or None
        if asked.new_group_management_type is not None:
            one.kind = asked.new_group_management_type._tag
        self.effects.append(f"group {one.key}")
        return self._full(one, members=asked.return_members)

    def do_groups_delete(self, asked: Any) -> Any:
        one = self._picked(asked)
        del self.groups[one.key]
        self.effects.append(f"group {one.key} ends")
        return {".tag": "complete"}

    def do_groups_job_status_get(self, asked: Any) -> Any:
        return self._job(asked.async_job_id) or {".tag": "complete"}

    def _people(self, selectors: Iterable[Any]) -> list[Member]:
        selectors = list(selectors)
        if missing := [str(one._value) for one in selectors if self._who(one, removed=True) is None]:
            raise Refusal("users_not_found", missing)
        found = [self._member(one, removed=True) for one in selectors]
        if gone := [one.key for one in found if not one.here]:
            raise Refusal("members_not_in_team", gone)
        return found

    def do_groups_members_add(self, asked: Any) -> Any:
        one = self._picked(asked.group)
        people = self._people(access.user for access in asked.members)
        managers = [access for access in asked.members if not access.access_type.is_member()]
        if managers and one.kind == "company_managed":
            raise Refusal("user_cannot_be_manager_of_company_managed_group", [people[0].key])
        if any(person.key in one.members for person in people):
            raise Refusal("duplicate_user")
        one.members |= dict.fromkeys(person.key for person in people)
        self.effects.append(f"join {one.key} {len(people)}")
        return {"group_info": self._full(one, members=asked.return_members), "async_job_id": "dbjid:0"}

    def do_groups_members_remove(self, asked: Any) -> Any:
        one = self._picked(asked.group)
        keys = {person.key for person in self._people(asked.users)}
        if not keys <= one.members.keys():
            raise Refusal("member_not_in_group")
        one.members = {key: None for key in one.members if key not in keys}
        self.effects.append(f"leave {one.key} {len(keys)}")
        return {"group_info": self._full(one, members=asked.return_members), "async_job_id": "dbjid:0"}


_ADD_TAGS = set(team.MemberAddV2Result._tagmap) - {"success", "other"}
_FIELDS = {"given_name": "given", "is_directory_restricted": "restricted"}
_NEW = [f"new_{name}" for name in ("email", "external_id", "given_name", "surname", "persistent_id")]
_NEW += ["new_is_directory_restricted"]
_TAKEN = {
    "email": "email_reserved_for_other_user",
    "external_id": "external_id_used_by_other_user",
    "persistent_id": "persistent_id_used_by_other_user",
}


def _handler(route: str) -> str:
    return "do_" + route.replace("/", "_")


def _verb(route: str) -> str:
    """What faults call a request."""
    plain = route.removesuffix("_v2")
    if plain.startswith("members/list"):
        return "page"
    if "job_status" in plain:
        return "poll"
    if "get_a" in plain or plain == "get_info":
        return "read"
    names = {"members/get_info": "look", "members/add": "create", "members/remove": "delete"}
    names |= {"groups/create": "create group", "groups/delete": "delete group"}
    return names.get(plain, plain.split("/", 1)[1] if plain.startswith("groups") else "update")


def _scope(route: str) -> str:
    """The scope that a route asks for."""
    area, _, rest = route.removesuffix("_v2").partition("/")
    if area not in ("members", "groups"):
        return "team_info.read"
    if area == "members" and rest in ("remove", "remove/job_status/get", "recover"):
        return "members.delete"
    return f"{area}.{'read' if rest in _READS else 'write'}"


def _error(tag: str, status: int = 409, **more: Any) -> JSONResponse:
    return JSONResponse({"error_summary": f"{tag}/...", "error": {".tag": tag, **more}}, status)


def _throttled(how: str) -> Response:
    """As JSON with and without a header, as text, as nothing at all."""
    reason = {"reason": {".tag": "too_many_requests"}, "retry_after": 2}
    summary = "too_many_requests/..."
    match how:
        case "json":
            return JSONResponse({"error": reason, "error_summary": summary}, 429)
        case "text":
            return PlainTextResponse("too many requests", 429, {"retry-after": "2"})
        case "bare":
            return Response(status_code=429)
        case _:
            return JSONResponse({"error": reason, "error_summary": summary}, 429, {"retry-after": "2"})


@contextmanager
def serving(service: DropboxService | None = None) -> Iterator[DropboxService]:
    """A team that answers on loopback while the block runs."""
    service = service or DropboxService()
    with answering(service.answer, ["POST"]) as address:
        service.url = address
        yield service
