"""The service itself: what each SCIM request does to the store and what it is answered. No sockets, no clock games.

Source: RFC 7644 section 3 (protocol), RFC 9865 (cursor-based paging).
"""

import random
import secrets
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import orjson

from tests.servers.scim_service.answers import Request, Response, ScimError, html
from tests.servers.scim_service.attributes import GROUP_TYPE, SCHEMAS, USER_TYPE, ResourceType, schema_document
from tests.servers.scim_service.filters import get
from tests.servers.scim_service.listing import Listing
from tests.servers.scim_service.patch import MemberChange, Patch
from tests.servers.scim_service.quirks import Quirks
from tests.servers.scim_service.resources import Projection, clean, demand_text
from tests.servers.scim_service.store import Entry, Shelf, Store

KINDS: dict[str, ResourceType] = {"Users": USER_TYPE, "Groups": GROUP_TYPE}
DISCOVERY = frozenset({"ServiceProviderConfig", "Schemas", "ResourceTypes"})
WRONG_TOKENS_PER_MINUTE = 60
BULK_REQUEST = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
BULK_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"


class Application:
    """Answers requests, one after the other."""

    def __init__(
        self,
        *,
        token: str | None,
        prefix: str,
        quirks: Quirks,
        default_page_size: int,
        max_page_size: int,
        seed: int,
        hidden: Callable[[], set[str]],
        created: Callable[[str], None],
    ) -> None:
        """``hidden`` gives ids that lists and filters do not show yet; ``created`` is told about every new id."""
        self.store = Store()
        self.quirks = quirks
        self.prefix = prefix
        self.url = prefix
        """The service's address, set when it listens."""
        self.token = token
        self.me: str | None = None
        """Id of the user that whoever has the token signs in as; None where /Me is not offered."""
        self.default_page_size = default_page_size
        self.max_page_size = max_page_size
        self.random = random.Random(seed)
        self.counter = 0
        self.wrong_tokens: deque[float] = deque()
        self.hidden = hidden
        self.created = created
        self.effects: list[tuple[str, str]] = []
        """What requests have changed since somebody emptied it: see ``Logged.effects``."""

    @property
    def token(self) -> str | None:
        """The bearer token that is accepted; None accepts everybody."""
        return self._token

    @token.setter
    def token(self, token: str | None) -> None:
        self._token = token
        self._authorization = None if token is None else b"Bearer " + token.encode()

    def answer(self, request: Request) -> Response:
        """What the service says to this request, having done what it asks."""
        try:
            segments = request.segments(self.prefix)
            if segments is None:
                raise ScimError(404, "There is nothing at this address")
            if self._authorization is not None and request.headers.get(b"authorization") != self._authorization:
                open_to_all = self.quirks["discovery"] == "open" and segments and segments[0] in DISCOVERY
                if not open_to_all:
                    return self.unauthorized()
            return self._dispatch(request, segments)
        except ScimError as error:
            return error.response()

    def _dispatch(self, request: Request, segments: list[str]) -> Response:
        match segments:
            case [("Users" | "Groups") as endpoint]:
                shelf = self.store.shelf(endpoint)
                match request.method:
                    case "POST":
                        return self._create(shelf, request)
                    case "GET":
                        return Listing(self, shelf, request.parameters()).response()
            case [("Users" | "Groups") as endpoint, ".search"] if request.method == "POST":
                return Listing.from_search(self, self.store.shelf(endpoint), _document(request)).response()
            case [".search"] if request.method == "POST":
                listings = [
                    Listing.from_search(self, shelf, _document(request))
                    for shelf in (self.store.users, self.store.groups)
                ]
                return listings[0].show([entry for listing in listings for entry in listing.found()])
            case [("Users" | "Groups") as endpoint, id]:
                shelf = self.store.shelf(endpoint)
                match request.method:
                    case "GET":
                        return self._read(shelf, id, request)
                    case "PATCH":
                        return self._patch(shelf, id, request)
                    case "PUT":
                        return self._put(shelf, id, request)
                    case "DELETE":
                        return self._delete(shelf, id, request)
            case [name, *rest] if name in DISCOVERY:
                if request.method == "GET":
                    return self._discover(name, rest)
            case ["Bulk"] if request.method == "POST":
                return self._bulk(request)
            case ["Me"] if self.me is not None:
                return self._read(self.store.users, self.me, request)
            case ["Me"]:
                raise ScimError(501, "There is no /Me")
            case _:
                raise ScimError(404, "There is nothing at this address")
        raise ScimError(405, f"{request.method} is not possible here")

    def unauthorized(self) -> Response:
        """The answer to somebody without a valid token."""
        now = time.monotonic()
        self.wrong_tokens.append(now)
        while self.wrong_tokens[0] < now - 60:
            self.wrong_tokens.popleft()
        if self.quirks["many_wrong_tokens"] == "refused_429" and len(self.wrong_tokens) > WRONG_TOKENS_PER_MINUTE:
            return ScimError(429, "Too many wrong tokens", headers=((b"Retry-After", b"60"),)).response()
        match self.quirks["wrong_token"]:
            case "text":
                response = Response(401, b"Unauthorized", b"text/plain")
            case "html":
                response = html(401, "Unauthorized")
            case "empty":
                response = Response(401)
            case _:
                response = ScimError(401, "The token is missing or not valid").response()
        if self.quirks["www_authenticate"] == "sent":
            response.headers = ((b"WWW-Authenticate", b'Bearer realm="SCIM"'),)
        return response

    # -- discovery -------------------------------------------------------------------------------------------------

    def _discover(self, name: str, rest: list[str]) -> Response:
        if name == "ServiceProviderConfig" and not rest:
            return Response(200, orjson.dumps(self._configuration()))
        if name == "Schemas":
            documents = {urn: schema_document(urn, self.url) for urn in SCHEMAS}
        elif name == "ResourceTypes":
            documents = {kind.name: kind.document(self.url) for kind in KINDS.values()}
        else:
            documents = {}
        if not rest and documents:
            found = list(documents.values())
            listed = {
                "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
                "totalResults": len(found),
                "itemsPerPage": len(found),
                "startIndex": 1,
                "Resources": found,
            }
            return Response(200, orjson.dumps(listed))
        if len(rest) == 1 and rest[0] in documents:
            return Response(200, orjson.dumps(documents[rest[0]]))
        raise ScimError(404, "There is nothing at this address")

    def _configuration(self) -> dict[str, Any]:
        return {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
            "patch": {"supported": self.quirks["patch"] not in {"not_implemented", "not_allowed"}},
            "bulk": {
                "supported": self.quirks["bulk"] != "not_implemented",
                "maxOperations": 1000,
                "maxPayloadSize": 1_048_576,
            },
            "filter": {"supported": True, "maxResults": self.page_sizes()[1]},
            "changePassword": {"supported": False},
            "sort": {"supported": self.quirks["sorting"] == "honoured"},
            "etag": {"supported": self.quirks["if_match"] == "honoured"},
            "pagination": {
                "cursor": self.quirks["cursor"] in {"honoured", "demanded"},
                "index": self.quirks["cursor"] != "demanded",
                "defaultPaginationMethod": "cursor" if self.quirks["cursor"] == "demanded" else "index",
                "defaultPageSize": self.page_sizes()[0],
                "maxPageSize": self.page_sizes()[1],
            },
            "authenticationSchemes": [
                {
                    "type": "oauthbearertoken",
                    "name": "OAuth Bearer Token",
                    "description": "A bearer token in the Authorization header",
                    "specUri": "https://www.rfc-editor.org/info/rfc6750",
                    "primary": True,
                }
            ],
            "meta": {"resourceType": "ServiceProviderConfig", "location": f"{self.url}/ServiceProviderConfig"},
        }

    # -- one resource ----------------------------------------------------------------------------------------------

    def _create(self, shelf: Shelf, request: Request) -> Response:
        given = _document(request)
        demand_text(given, self.quirks)
        resource = clean(given, shelf.kind, self.quirks)
        if shelf.kind is USER_TYPE:
            self._demand_unique(shelf, resource, None)
        members = self._known_members([member["value"] for member in _members_of(resource)])
        entry = self.put_in(shelf, resource, members)
        self.effects.append(("created", entry.id))
        response = self._show(entry, shelf, request, status=201)
        if self.quirks["location"] == "full":
            response.headers += ((b"Location", self.location(shelf, entry.id).encode()),)
        return response

    def put_in(self, shelf: Shelf, resource: dict[str, Any], members: list[str], *, id: str | None = None) -> Entry:
        """Store a new resource that has been checked, under a new id unless one is given."""
        id = id or self._new_id(resource)
        if id in shelf.entries:
            raise ScimError(409, "The id is taken", "uniqueness")
        now = _now()
        resource = self._with_meta(shelf, id, resource, created=now, modified=now, version=1)
        group = shelf.kind is GROUP_TYPE
        entry = shelf.add(id, resource, orjson.dumps(resource), members={} if group else None)
        for member in members:
            self.store.join(entry, member, self._member_piece(member))
        self.created(id)
        return entry

    def overwrite(self, shelf: Shelf, entry: Entry, after: dict[str, Any]) -> None:
        """Give an entry content that has been checked, members too; no rule about uniqueness applies."""
        before = orjson.loads(entry.body)
        members = [member["value"] for member in _members_of(after)]
        if shelf.kind is GROUP_TYPE:
            self._change_members(entry, "replace", members)
        after = self._with_meta(
            shelf, entry.id, after, created=before["meta"]["created"], modified=_now(), version=entry.version + 1
        )
        shelf.change(entry, before, after, orjson.dumps(after))

    def _with_meta(
        self, shelf: Shelf, id: str, resource: dict[str, Any], *, created: str, modified: str, version: int
    ) -> dict[str, Any]:
        meta = {"resourceType": shelf.kind.name, "created": created, "lastModified": modified}
        match self.quirks["location"]:
            case "full":
                meta["location"] = self.location(shelf, id)
            case "path":
                meta["location"] = f"{self.prefix}/{shelf.kind.endpoint}/{quote(id, safe='')}"
        meta["version"] = f'W/"{version}"'
        if self.quirks["active_shown"] == "text" and "active" in resource:
            resource = {**resource, "active": str(resource["active"]).capitalize()}
        return {"schemas": resource["schemas"], "id": id, **resource, "meta": meta}

    def _read(self, shelf: Shelf, id: str, request: Request) -> Response:
        entry = self._find(shelf, id)
        if request.headers.get(b"if-none-match") == self._etag(entry):
            return Response(304, headers=((b"ETag", self._etag(entry)),))
        return self._show(entry, shelf, request)

    def _patch(self, shelf: Shelf, id: str, request: Request) -> Response:
        entry = shelf.entries.get(id)
        if entry is None:
            match self.quirks["patch_nobody"]:
                case "not_found_html":
                    return html(404, "Not Found")
                case "error_500":
                    raise ScimError(500, "Internal error")
        entry = self._find(shelf, id)
        self._check_version(entry, request)
        match self.quirks["patch"]:
            case "not_implemented":
                raise ScimError(501, "PATCH is not implemented")
            case "not_allowed":
                raise ScimError(405, "PATCH is not possible here")
            case "silent":
                return self._show(entry, shelf, request)
            case "silent_for_groups" if shelf.kind is GROUP_TYPE:
                return Response(204)
        before = orjson.loads(entry.body)
        patch = Patch(orjson.loads(entry.body), shelf.kind, self.quirks)
        patch.run(_document(request))
        if (protest := self._protest(shelf, entry, before, patch.resource, request)) is not None:
            return protest
        changed = self._commit(shelf, entry, before, patch.resource, patch.member_changes)
        answer = self.quirks["patch_answer"]
        silent = answer == "no_content" or (answer == "no_content_when_unchanged" and not changed)
        if silent or (answer == "no_content_for_groups" and shelf.kind is GROUP_TYPE):
            return Response(204, headers=((b"ETag", self._etag(entry)),))
        return self._show(entry, shelf, request)

    def _put(self, shelf: Shelf, id: str, request: Request) -> Response:
        entry = self._find(shelf, id)
        self._check_version(entry, request)
        before = orjson.loads(entry.body)
        given = _document(request)
        demand_text(given, self.quirks)
        match self.quirks["put"]:
            case "error_500":
                raise ScimError(500, "Internal error")
            case "keeps":
                given = {**before, **given}
            case "demands_attributes" if missing := sorted(before.keys() - given.keys() - {"id", "meta", "schemas"}):
                raise ScimError(400, f"Attributes are missing: {', '.join(missing)}", "invalidValue")
        after = clean(given, shelf.kind, self.quirks)
        changes: list[MemberChange] = []
        ignored = self.quirks["put"] == "ignores_members" or (self.quirks["put"] == "keeps" and "members" not in after)
        if shelf.kind is GROUP_TYPE and not ignored:
            changes = [MemberChange("replace", _members_of(after))]
        if (protest := self._protest(shelf, entry, before, after, request)) is not None:
            return protest
        self._commit(shelf, entry, before, after, changes)
        return self._show(entry, shelf, request)

    def _protest(
        self, shelf: Shelf, entry: Entry, before: dict[str, Any], after: dict[str, Any], request: Request
    ) -> Response | None:
        """The answer to switching off an account that the service keeps on; None where it is done."""
        owner = shelf.kind is USER_TYPE and str(before.get("userName", "")).startswith("owner")
        if not owner or after.get("active", True) or not before.get("active", True):
            return None
        match self.quirks["owner"]:
            case "shown_active":
                return self._show(entry, shelf, request)
            case "error_in_200":
                return replace(ScimError(403, "The owner cannot be switched off").response(), status=200)
            case "silent":
                return Response(204)
        return None

    def _commit(
        self,
        shelf: Shelf,
        entry: Entry,
        before: dict[str, Any],
        after: dict[str, Any],
        changes: list[MemberChange],
    ) -> bool:
        """Check the new content and keep it; True when anything is other than it was."""
        after.setdefault("schemas", before["schemas"])
        after = clean(after, shelf.kind, self.quirks)
        after.pop("members", None)
        if shelf.kind is USER_TYPE:
            self._demand_unique(shelf, after, entry)
        known = [(change.operation, None if change.members is None else self._known_ids(change)) for change in changes]
        changed = False
        for operation, ids in known:
            changed = self._change_members(entry, operation, ids) or changed
        content = {name: value for name, value in before.items() if name not in {"id", "meta"}}
        if changed or content != after:
            meta = before["meta"]
            after = self._with_meta(
                shelf, entry.id, after, created=meta["created"], modified=_now(), version=entry.version + 1
            )
            shelf.change(entry, before, after, orjson.dumps(after))
            if before.get("userName") != after.get("userName"):
                self._rename_member(entry.id)
            self.effects.append(("changed", entry.id))
            return True
        return False

    def _delete(self, shelf: Shelf, id: str, request: Request) -> Response:
        entry = shelf.entries.get(id)
        if entry is None:
            if self.quirks["delete_twice"] == "error_500":
                raise ScimError(500, "Internal error")
            raise ScimError(404, f"There is no {shelf.kind.name} with this id")
        self._check_version(entry, request)
        if self.quirks["delete_twice"] == "deactivated" and shelf.kind is USER_TYPE:
            before = orjson.loads(entry.body)
            self._commit(shelf, entry, before, before | {"active": False}, [])
            return Response(204)
        if not entry.removed:
            self.effects.append(("deleted", id))
        if self.quirks["delete_twice"] == "soft":
            if not entry.removed:
                entry.removed = True
                shelf.removed += 1
        else:
            self.store.forget(shelf, entry, keep_memberships=self.quirks["deleted_member"] == "kept")
        return Response(204)

    def _find(self, shelf: Shelf, id: str) -> Entry:
        entry = shelf.entries.get(id)
        if entry is None:
            raise ScimError(404, f"There is no {shelf.kind.name} with this id")
        return entry

    def _show(self, entry: Entry, shelf: Shelf, request: Request, *, status: int = 200) -> Response:
        headers = ((b"ETag", self._etag(entry)),)
        if request.query:
            parameters = request.parameters()
            projection = self.projection(shelf, parameters)
            if projection:
                return Response(status, self.projected(entry, projection), headers=headers)
        return Response(status, entry.document(self.most_members()), headers=headers)

    def most_members(self) -> int | None:
        """Members that a group shows at most; None for all."""
        return {"none": 0, "first_twenty": 20, "first_ten": 10}.get(self.quirks["members_shown"])

    def page_sizes(self) -> tuple[int, int]:
        """How many entries a page has where nobody says, and at most."""
        sizes = {"20_of_100": (20, 100), "50_of_200": (50, 200), "all": (1_000_000, 1_000_000)}
        return sizes.get(self.quirks["page_size"], (self.default_page_size, self.max_page_size))

    def projection(self, shelf: Shelf, parameters: dict[str, str]) -> Projection:
        """Which attributes are sent. Raises: ScimError."""
        if self.quirks["attributes_parameters"] == "ignored":
            return Projection(shelf.kind, "", "")
        return Projection(shelf.kind, parameters.get("attributes", ""), parameters.get("excludedattributes", ""))

    def projected(self, entry: Entry, projection: Projection) -> bytes:
        """An entry's JSON with the attributes that are sent."""
        if projection.only_without_members:
            return entry.body
        resource = entry.resource(self.most_members()) if projection.needs_members else orjson.loads(entry.body)
        return orjson.dumps(projection.apply(resource))

    # -- rules -----------------------------------------------------------------------------------------------------

    def _demand_unique(self, shelf: Shelf, resource: dict[str, Any], own: Entry | None) -> None:
        name = resource.get("userName", "")
        rule = self.quirks["duplicate_user_name"]
        taken = [entry for entry in shelf.indexes["username"].look_up(name) if entry is not own] if name else []
        if rule == "created_in_other_case":
            taken = [entry for entry in taken if orjson.loads(entry.body).get("userName") == name]
        if taken and rule != "created":
            if rule == "error_500_html":
                raise _HtmlError(500, "Internal Server Error")
            raise ScimError(
                409, "The userName is taken", None if rule == "conflict_without_scim_type" else "uniqueness"
            )
        external = resource.get("externalId")
        if external and self.quirks["duplicate_external_id"] == "conflict":
            held = shelf.indexes["externalid"].look_up(external)
            if any(entry is not own for entry in held):
                raise ScimError(409, "The externalId is taken", "uniqueness")

    def _known_ids(self, change: MemberChange) -> list[str]:
        demanded = self.quirks["member_value"] == "ref_demanded" and change.operation != "remove"
        if demanded and not all(get(member, "$ref") for member in change.members or ()):
            raise ScimError(400, "A member needs its $ref", "invalidValue")
        ids = [self._id_of(str(get(member, "value"))) for member in change.members or ()]
        return ids if change.operation == "remove" else self._known_members(ids)

    def _known_members(self, ids: list[str]) -> list[str]:
        """The ids of those who may be members. Raises: ScimError."""
        rule = self.quirks["unknown_member"]
        if rule == "stored":
            return ids
        known = [id for id in ids if id in self.store.users.entries or id in self.store.groups.entries]
        if len(known) < len(ids) and rule != "dropped":
            if rule == "error_500":
                raise ScimError(500, "Internal error")
            raise ScimError(400, "A member does not exist", "invalidValue")
        return known

    def _change_members(self, entry: Entry, operation: str, ids: list[str] | None) -> bool:
        assert entry.members is not None
        if operation == "remove":
            return self.store.leave(entry, list(entry.members) if ids is None else ids)
        changed = False
        if operation == "replace":
            wanted = set(ids or ())
            changed = self.store.leave(entry, [id for id in entry.members if id not in wanted])
            entry.doubles.clear()
        for id in ids or ():
            if id not in entry.members:
                self.store.join(entry, id, self._member_piece(id))
                changed = True
            elif operation == "add" and self.quirks["members_twice"] == "doubled":
                entry.doubles.append(id)
                changed = True
        return changed

    def _id_of(self, value: str) -> str:
        """The id of a member, whichever way the service lists it."""
        if self.quirks["member_value"] != "user_name":
            return value
        named = self.store.users.indexes["username"].look_up(value)
        return named[0].id if named else value

    def _rename_member(self, id: str) -> None:
        """Groups that list members by name show the new one."""
        if self.quirks["member_value"] == "user_name":
            for group in self.store.groups.order:
                if group.members and id in group.members:
                    group.members[id] = self._member_piece(id)

    def _member_piece(self, id: str) -> bytes:
        user = self.store.users.entries.get(id)
        if user is not None and self.quirks["member_value"] == "user_name":
            return orjson.dumps({"value": orjson.loads(user.body)["userName"], "type": "User"})
        kind = "Group" if id in self.store.groups.entries and id not in self.store.users.entries else "User"
        location = f"{self.url}/{kind}s/{quote(id, safe='')}"
        return orjson.dumps({"value": id, "$ref": location, "type": kind})

    def _check_version(self, entry: Entry, request: Request) -> None:
        wanted = request.headers.get(b"if-match")
        if wanted is not None and wanted != b"*" and self.quirks["if_match"] == "honoured":
            versions = [version.strip() for version in wanted.split(b",")]
            if self._etag(entry) not in versions:
                raise ScimError(412, "The resource has been changed in the meantime")

    def _etag(self, entry: Entry) -> bytes:
        if self.quirks["if_match"] == "body_hash":
            return b'W/"%b"' % blake2b(entry.document(), digest_size=8).hexdigest().encode()
        return b'W/"%d"' % entry.version

    def _new_id(self, resource: dict[str, Any]) -> str:
        self.counter += 1
        match self.quirks["id_form"]:
            case "integer":
                return str(self.counter)
            case "hex":
                return f"{self.random.getrandbits(96):024x}"
            case "random":
                return secrets.token_urlsafe(15)
            case "user_name":
                return str(resource.get("userName") or resource.get("displayName") or self.counter)
        text = f"{self.random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    def location(self, shelf: Shelf, id: str) -> str:
        """The address of a resource."""
        plain = id.isascii() and id.replace("-", "").isalnum()
        return f"{self.url}/{shelf.kind.endpoint}/{id if plain else quote(id, safe='')}"

    # -- bulk ------------------------------------------------------------------------------------------------------

    def _bulk(self, request: Request) -> Response:
        match self.quirks["bulk"]:
            case "not_implemented":
                raise ScimError(501, "Bulk is not implemented")
            case "refused_403":
                raise ScimError(403, "Bulk is not allowed")
            case "not_found":
                raise ScimError(404, "There is nothing at this address")
            case "too_large":
                raise ScimError(413, "The request is too large")
        document = _document(request)
        results: list[dict[str, Any]] = []
        made: dict[str, str] = {}
        failures, limit = 0, document.get("failOnErrors") or 0
        for operation in document.get("Operations", ()):
            data = orjson.dumps(operation.get("data"))
            path = str(operation.get("path", ""))
            for bulk_id, id in made.items():
                data = data.replace(f"bulkId:{bulk_id}".encode(), id.encode())
                path = path.replace(f"bulkId:{bulk_id}", quote(id, safe=""))
            method = str(operation.get("method", "")).upper()
            inner = Request(method, (self.prefix + path).encode(), request.headers, data)
            response = self._as_if_done(inner) if self.quirks["bulk"] == "no_effect" else self.answer(inner)
            result = {"method": method, "status": str(response.status)}
            if "bulkId" in operation:
                result["bulkId"] = operation["bulkId"]
            if response.status == 201:
                id = orjson.loads(response.body)["id"]
                made[str(operation.get("bulkId"))] = id
                result["location"] = f"{self.url}{path}/{quote(id, safe='')}"
            elif response.status < 300:
                result["location"] = f"{self.url}{path}"
            else:
                failures += 1
                result["response"] = orjson.loads(response.body)
            results.append(result)
            if limit and failures >= limit:
                break
        if self.quirks["bulk"] == "sparse_answers":
            results = [_sparse(result) for number, result in enumerate(results) if number % 3]
        return Response(200, orjson.dumps({"schemas": [BULK_RESPONSE], "Operations": results}))

    @staticmethod
    def _as_if_done(request: Request) -> Response:
        if request.method == "POST":
            return Response(201, orjson.dumps({"id": f"nobody-{uuid.uuid4()}"}))
        return Response(204)


def _sparse(result: dict[str, Any]) -> dict[str, Any]:
    """The least that the standard asks for: only creates name their bulkId."""
    keep = {"method", "status", "location", "response"} | ({"bulkId"} if result["method"] == "POST" else set())
    return {name: value for name, value in result.items() if name in keep}


class _HtmlError(ScimError):
    """A refusal that a careless framework makes into a page."""

    def response(self) -> Response:
        return html(self.status, self.detail)


def _document(request: Request) -> dict[str, Any]:
    content_type = request.headers.get(b"content-type", b"application/json").lower()
    if b"json" not in content_type:
        raise ScimError(415, "The body must be application/scim+json")
    try:
        document = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise ScimError(400, f"The body is not JSON: {error}", "invalidSyntax") from error
    if not isinstance(document, dict):
        raise ScimError(400, "The body must be an object", "invalidSyntax")
    return document


def _members_of(resource: dict[str, Any]) -> list[dict[str, Any]]:
    """Takes the members out of a resource. Raises: ScimError when one has no value."""
    members = resource.pop("members", [])
    if any(not member.get("value") for member in members):
        raise ScimError(400, "A member is an object with a value", "invalidValue")
    found: list[dict[str, Any]] = members
    return found


def _now() -> str:
    second, part = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(second)}.{part:03d}Z"


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
