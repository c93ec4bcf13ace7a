"""A Salesforce org of our own for tests: strict where Salesforce is strict, with the traps that its users report.

Tokens, describe, SOQL queries with cursors, sObject rows and collections, limits, licences; nothing of the product.
Source: Salesforce REST API Developer Guide (Query, sObject Collections, Describe, Status Codes and Error Responses);
Object Reference (User, UserLogin, UserLicense, Profile, UserRole, Group, GroupMember, PermissionSet,
PermissionSetGroup, PermissionSetAssignment); OAuth 2.0 JWT Bearer Flow.
"""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote

import jwt
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tests.servers.faults import Fault
from tests.servers.starting import answering

CLIENT, SECRET, ADMIN = "3MVG9.consumer", "a-consumer-secret", "provisor@example.com"
VERSION = "v67.0"
PREFIXES = {
    "User": "005",
    "Profile": "00e",
    "UserRole": "00E",
    "UserLicense": "100",
    "UserLogin": "0Yw",
    "Group": "00G",
    "GroupMember": "011",
    "PermissionSet": "0PS",
    "PermissionSetGroup": "0PG",
    "PermissionSetAssignment": "0Pa",
}
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_DATED = "%Y-%m-%dT%H:%M:%S.000+0000"


def id18(text: str) -> str:
    """An id of 15 characters with its checksum."""
    blocks = (text[start : start + 5] for start in (0, 5, 10))
    return text + "".join(_LETTERS[sum(1 << n for n, one in enumerate(block) if one.isupper())] for block in blocks)


@dataclass
class Field:
    """One field of an object."""

    type: str = "string"
    length: int = 0
    required: bool = False
    create: bool = True
    update: bool = True
    unique: bool = False
    exact: bool = False
    values: tuple[str, ...] = ()
    refers: str = ""
    hidden: bool = False
    """By field-level security."""
    extra: dict[str, Any] = field(default_factory=dict)


def text(length: int, **more: Any) -> Field:
    return Field("string", length, **more)


def fixed(kind: str = "string", **more: Any) -> Field:
    return Field(kind, create=False, update=False, **more)


def _fields() -> dict[str, dict[str, Field]]:
    locales = ("en_US", "de_DE", "de_AT", "fr_FR")
    zones = ("Europe/Vienna", "Europe/London", "America/Los_Angeles")
    user = {
        "Id": fixed("id"),
        "Username": text(80, required=True),
        "LastName": text(80, required=True),
        "Email": Field("email", 128, required=True),
        "Alias": text(8, required=True),
        "CommunityNickname": text(40),
        "ProfileId": Field("reference", required=True, refers="Profile"),
        "UserRoleId": Field("reference", refers="UserRole"),
        "ManagerId": Field("reference", refers="User"),
        "DelegatedApproverId": Field("reference", refers="User"),
        "IsActive": Field("boolean"),
        "TimeZoneSidKey": Field("picklist", required=True, values=zones),
        "LocaleSidKey": Field("picklist", required=True, values=locales),
        "LanguageLocaleKey": Field("picklist", required=True, values=("en_US", "de", "fr")),
        "EmailEncodingKey": Field("picklist", required=True, values=("UTF-8", "ISO-8859-1")),
        "FederationIdentifier": text(512, exact=True),
        "UserPermissionsMarketingUser": Field("boolean"),
        "UserType": fixed("picklist"),
        "Name": fixed(),
        "CreatedDate": fixed("datetime"),
        "SystemModstamp": fixed("datetime"),
        "LastLoginDate": fixed("datetime"),
        "Address": fixed("address"),
    }
    user |= {name: text(80) for name in ("Title", "Department", "CompanyName", "Division", "City", "State", "Country")}
    user |= {"FirstName": text(40), "EmployeeNumber": text(20), "Phone": Field("phone", 40)}
    user |= {"MobilePhone": Field("phone", 40), "Street": Field("textarea", 255), "PostalCode": text(20)}
    ids = {"Id": fixed("id")}
    return {
        "User": user,
        "Profile": ids | {"Name": fixed(), "UserLicenseId": fixed("reference", refers="UserLicense")},
        "UserRole": ids | {"Name": fixed(), "DeveloperName": fixed()},
        "UserLicense": ids | {"Name": fixed(), "TotalLicenses": fixed("int"), "UsedLicenses": fixed("int")},
        "UserLogin": ids | {"UserId": fixed("reference", refers="User"), "IsFrozen": Field("boolean", create=False)},
        "Group": ids
        | {"Name": text(40, required=True), "DeveloperName": text(80, unique=True), "Type": Field("picklist", 40)},
        "GroupMember": ids
        | {
            "GroupId": Field("reference", required=True, update=False, refers="Group"),
            "UserOrGroupId": Field("reference", required=True, update=False, refers="User,Group"),
        },
        "PermissionSet": ids
        | {
            "Name": text(80),
            "Label": text(80),
            "IsOwnedByProfile": fixed("boolean"),
            "PermissionSetGroupId": fixed("reference", refers="PermissionSetGroup"),
        },
        "PermissionSetGroup": ids | {"DeveloperName": text(80), "MasterLabel": text(80)},
        "PermissionSetAssignment": ids
        | {
            "AssigneeId": Field("reference", required=True, update=False, refers="User"),
            "PermissionSetId": Field("reference", update=False, refers="PermissionSet"),
            "PermissionSetGroupId": Field("reference", update=False, refers="PermissionSetGroup"),
        },
    }


class Refusal(Exception):  # noqa: N818
    """An error as Salesforce words it."""

    def __init__(self, status: int, code: str, message: str, *fields: str) -> None:
        self.status, self.code, self.message, self.fields = status, code, message, list(fields)


@dataclass
class SalesforceService:
    """One org."""

    page: int = 2000
    quota: int = 100_000
    used: int = 0
    public_key: Any = None
    """Verifies assertions of the app's private key."""
    refresh_tokens: set[str] = field(default_factory=set)
    rotating: bool = False
    """Each refresh token is good once, and the answer holds the next one."""
    token_uses: int | None = None
    """Requests after which a token ends; None: never."""
    elsewhere: set[str] = field(default_factory=set)
    """User names of other orgs, in small letters."""
    stuck: set[str] = field(default_factory=set)
    """Users who cannot be deactivated."""
    locked: dict[str, int] = field(default_factory=dict)
    """Ids whose next so many writes meet a lock."""
    refusing: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By last name: code and message with which a row is refused."""
    hidden: dict[str, int] = field(default_factory=dict)
    """Ids that so many queries do not show yet."""
    no_rights: set[str] = field(default_factory=set)
    """``Object.createable`` and the like that the user of the app has not."""
    answers: list[tuple[int, str, str]] = field(default_factory=list)
    """What is answered next instead: status, code, message."""
    confirm_email: bool = True
    faults: list[Fault] = field(default_factory=list)
    fields: dict[str, dict[str, Field]] = field(default_factory=_fields)
    tables: dict[str, dict[str, dict[str, Any]]] = field(default_factory=lambda: {name: {} for name in PREFIXES})
    requests: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, int]] = field(default_factory=list)
    """Of each collection: verb, object, rows."""
    effects: list[str] = field(default_factory=list)
    url: str = ""
    instance_url: str = ""
    """What the token's answer names; the org's own address where empty."""
    _tokens: dict[str, int] = field(default_factory=dict)
    _cursors: dict[str, tuple[str, list[dict[str, Any]], int]] = field(default_factory=dict)
    _indexes: dict[Any, dict[Any, str]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: Any = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.licence = self.put("UserLicense", Name="Salesforce", TotalLicenses=100_000, UsedLicenses=0)
        for name in ("Standard User", "System Administrator", "Sales"):
            self.put("Profile", Name=name, UserLicenseId=self.licence)
        for name in ("CEO", "Sales_EMEA"):
            self.put("UserRole", Name=name, DeveloperName=name)
        shadow = self.put("PermissionSet", Name="X00e", Label="00e of a profile", IsOwnedByProfile=True)
        self.admin = self.put_user(Username=ADMIN, LastName="Provisor", UserType="Standard")
        self.put("PermissionSetAssignment", AssigneeId=self.admin, PermissionSetId=shadow)

    # -- put in by tests ---------------------------------------------------------------------------------------------

    def put(self, table: str, **values: Any) -> str:
        key = id18(f"{PREFIXES[table]}5e{next(self._numbers):010d}")
        blank = {name: False if one.type == "boolean" else None for name, one in self.fields[table].items()}
        now = datetime.now(UTC).strftime(_DATED)
        stamps = {"CreatedDate": now, "SystemModstamp": now} if table == "User" else {}
        self.tables[table][key] = {**blank, **stamps, **values, "Id": key}
        self._note(table, key)
        return key

    def put_user(self, **values: Any) -> str:
        number = next(self._numbers)
        blank = {
            "Username": f"u{number}@example.com",
            "LastName": f"U{number}",
            "Alias": f"u{number}",
            "Email": f"u{number}@example.com",
            "IsActive": True,
            "UserType": "Standard",
            "ProfileId": self.profile("Standard User"),
        }
        key = self.put("User", **(blank | values))
        self.put("UserLogin", UserId=key)
        return key

    def put_group(self, name: str, *members: str, **values: Any) -> str:
        developer = re.sub(r"\W+", "_", name)
        key = self.put("Group", **({"Name": name, "DeveloperName": developer, "Type": "Regular"} | values))
        for member in members:
            self.put("GroupMember", GroupId=key, UserOrGroupId=member)
        return key

    def put_set(self, name: str, *members: str) -> str:
        key = self.put("PermissionSet", Name=name, Label=name.replace("_", " "), IsOwnedByProfile=False)
        for member in members:
            self.put("PermissionSetAssignment", AssigneeId=member, PermissionSetId=key)
        return key

    def put_set_group(self, name: str, *members: str) -> str:
        key = self.put("PermissionSetGroup", DeveloperName=name, MasterLabel=name.replace("_", " "))
        self.put("PermissionSet", Name=f"{name}_all", Label=name, IsOwnedByProfile=False, PermissionSetGroupId=key)
        for member in members:
            self._assign({"AssigneeId": member, "PermissionSetGroupId": key})
        return key

    def profile(self, name: str) -> str:
        return next(key for key, one in self.tables["Profile"].items() if one["Name"] == name)

    @property
    def users(self) -> dict[str, dict[str, Any]]:
        """Staff but the app's own user."""
        return {
            key: one for key, one in self.tables["User"].items() if key != self.admin and one["UserType"] == "Standard"
        }

    def edges(self) -> set[tuple[str, str]]:
        found = {(one["GroupId"], one["UserOrGroupId"]) for one in self.tables["GroupMember"].values()}
        for one in self.tables["PermissionSetAssignment"].values():
            group = one["PermissionSetGroupId"] or one["PermissionSetId"]
            if not self.tables["PermissionSet"].get(group, {}).get("IsOwnedByProfile"):
                found.add((group, one["AssigneeId"]))
        return found

    def change_user(self, key: str, **values: Any) -> None:
        self._store("User", key, values)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        raw = unquote(request.scope["raw_path"].decode()).split("?")[0]
        body = await request.body()
        with self._lock:
            if raw == "/services/oauth2/token":
                return self._token({name: one[0] for name, one in parse_qs(body.decode()).items()})
            path = raw.removeprefix(f"/services/data/{VERSION}")
            query = request.query_params.get("q", "")
            self.requests.append(f"{request.method} {path}{' ' + query if query else ''}")
            self.used += 1
            try:
                self._let_in(request)
                if self.answers:
                    raise Refusal(*self.answers.pop(0))
                if self.used > self.quota:
                    raise Refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
                made = self._dispatch(request.method, path, request, body)
            except Refusal as refusal:
                made = JSONResponse([_error(refusal, "errorCode")], refusal.status)
            made.headers["sforce-limit-info"] = f"api-usage={self.used}/{self.quota}"
            return made

    def _let_in(self, request: Request) -> None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self._tokens or self._strikes("not trusted", request.method.lower()):
            raise Refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")
        self._tokens[token] -= 1
        if self._tokens[token] < 0:
            del self._tokens[token]
            self._cursors.clear()  # they end with their session
            raise Refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")

    def _token(self, form: dict[str, str]) -> Response:
        grant, problem = form.get("grant_type"), ""
        if grant == "client_credentials":
            wrong = form.get("client_id") != CLIENT or form.get("client_secret") != SECRET
            problem = "invalid_client: invalid client credentials" if wrong else ""
        elif grant == "refresh_token":
            wrong = form.get("refresh_token") not in self.refresh_tokens
            problem = "invalid_grant: expired access/refresh token" if wrong else ""
        elif grant == "urn:ietf:params:oauth:grant-type:jwt-bearer":
            problem = self._assertion_problem(form.get("assertion", ""))
        else:
            problem = "unsupported_grant_type: grant type not supported"
        if problem:
            code, _, said = problem.partition(": ")
            return JSONResponse({"error": code, "error_description": said}, 400)
        token = f"00D5e!token.{next(self._numbers)}"
        self._tokens[token] = 10**9 if self.token_uses is None else self.token_uses
        base = self.url
        found = {"access_token": token, "instance_url": self.instance_url or base, "token_type": "Bearer"}
        found |= {
            "id": f"{base}/id/00D5e000000000000A/{self.admin}",
            "scope": "api",
            "issued_at": "1",
            "signature": "s",
        }
        if grant == "refresh_token" and self.rotating:
            self.refresh_tokens = {f"{form['refresh_token']}+"}
            found["refresh_token"] = f"{form['refresh_token']}+"
        return JSONResponse(found)

    def _assertion_problem(self, assertion: str) -> str:
        audiences = ["https://login.salesforce.com", self.url]
        try:
            claims = jwt.decode(assertion, self.public_key, algorithms=["RS256"], audience=audiences)
        except jwt.InvalidAudienceError:
            return "invalid_grant: audience is invalid"
        except jwt.InvalidTokenError as error:
            return f"invalid_grant: invalid assertion ({error})"
        if claims.get("iss") != CLIENT or claims["exp"] > time.time() + 185:
            return "invalid_grant: invalid assertion"
        return "" if claims.get("sub") == ADMIN else "invalid_grant: user hasn't approved this consumer"

    def _dispatch(self, method: str, path: str, request: Request, body: bytes) -> Response:
        if path in ("", "/"):
            return JSONResponse({"identity": f"{self.url}/id/00D5e000000000000A/{self.admin}", "sobjects": "/sobjects"})
        if path in ("/query", "/query/"):
            return self._query(request.query_params.get("q", ""))
        if found := re.fullmatch(r"/query/([\w-]+)", path):
            return self._more(found[1])
        if path in ("/limits", "/limits/"):
            return JSONResponse({"DailyApiRequests": {"Max": self.quota, "Remaining": self.quota - self.used}})
        if found := re.fullmatch(r"/sobjects/(\w+)/describe/?", path):
            return JSONResponse(self._describe(found[1]))
        if path in ("/composite/sobjects", "/composite/sobjects/"):
            return self._collection(method, request, body)
        if found := re.fullmatch(r"/sobjects/(\w+)/?", path):
            return self._single("POST", found[1], None, json.loads(body))
        if found := re.fullmatch(r"/sobjects/(\w+)/(\w+)", path):
            return self._single(method, found[1], id18(found[2][:15]), json.loads(body or b"{}"))
        raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")

    def _describe(self, table: str) -> dict[str, Any]:
        if table not in self.fields:
            raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")
        can = {name: f"{table}.{name}" not in self.no_rights for name in ("createable", "updateable", "deletable")}
        can["deletable"] = can["deletable"] and table != "User"
        found = []
        for name, one in self.fields[table].items():
            if one.hidden:
                continue
            found.append(
                {
                    "name": name,
                    "label": name,
                    "type": one.type,
                    "length": one.length,
                    "createable": one.create and can["createable"],
                    "updateable": one.update and can["updateable"],
                    "nillable": not one.required,
                    "defaultedOnCreate": one.type == "boolean",
                    "unique": one.unique,
                    "caseSensitive": one.exact,
                    "filterable": one.type != "address",
                    "restrictedPicklist": bool(one.values),
                    "picklistValues": [{"value": value, "active": True} for value in one.values],
                    "referenceTo": one.refers.split(",") if one.refers else [],
                    **one.extra,
                }
            )
        return {"name": table, "fields": found, **can}

    # -- queries -----------------------------------------------------------------------------------------------------

    def _query(self, soql: str) -> Response:
        found = re.fullmatch(
            r"SELECT (?P<fields>.+?) FROM (?P<table>\w+)(?: WHERE (?P<where>.+?))?(?P<order> ORDER BY Id)?"
            r"(?: LIMIT (?P<limit>\d+))?",
            soql,
            re.DOTALL,
        )
        if found is None:
            raise Refusal(400, "MALFORMED_QUERY", f"unexpected token: {soql[:40]}")
        table = found["table"]
        if table not in self.tables:
            raise Refusal(400, "INVALID_TYPE", f"sObject type '{table}' is not supported.")
        self._count_seats()
        test = self._condition(table, found["where"]) if found["where"] else lambda record: True
        kind = "look" if found["where"] and " IN (" in found["where"].partition("UserType IN")[0] else "page"
        if kind == "look" and self._strikes("everybody", "look"):
            test = lambda record: True  # noqa: E731
        rows = [one for one in self.tables[table].values() if self._is_shown(one["Id"], kind) and test(one)]
        rows.sort(key=lambda one: one["Id"])
        total = len(rows)
        if found["fields"].upper() == "COUNT()":
            return JSONResponse({"totalSize": total, "done": True, "records": []})
        names = [name.strip() for name in found["fields"].split(",")]
        if table == "User" and kind == "page":
            rows = [] if self._strikes("nobody", "page") else rows[1:] if self._strikes("one missing", "page") else rows
        records = [self._selected(table, one, names) for one in rows[: int(found["limit"] or 10**9)]]
        return self._paged(table, records, total, 0)

    def _is_shown(self, key: str, kind: str) -> bool:
        if kind == "look" and self.hidden.get(key, 0) > 0:
            self.hidden[key] -= 1
            return False
        return True

    def _more(self, cursor: str) -> Response:
        if cursor not in self._cursors:
            raise Refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        table, records, total = self._cursors[cursor]
        return self._paged(table, records, total, int(cursor.rpartition("-")[2]), cursor)

    def _paged(self, table: str, records: list[dict[str, Any]], total: int, start: int, held: str = "") -> Response:
        if table == "User" and self._strikes("cut", "page"):
            raise Refusal(400, "UNKNOWN_EXCEPTION", "An unexpected error occurred.")
        end = start + self.page
        page = records[start:end]
        if table == "User" and self._strikes("empty", "page"):
            page, end = [], start
        if table == "User" and start and self._strikes("doubled", "page"):
            page = [records[start - 1], *page[1:]]
        body: dict[str, Any] = {"totalSize": total, "done": end >= len(records), "records": page}
        if end < len(records):
            cursor = f"01g5e{next(self._numbers)}-{end}"
            if held and self._strikes("circle", "page"):
                cursor = held
            self._cursors[cursor] = (table, records, total)
            body["nextRecordsUrl"] = f"/services/data/{VERSION}/query/{cursor}"
            if self._strikes("no link", "page"):
                del body["nextRecordsUrl"]
        return JSONResponse(body)

    def _selected(self, table: str, record: dict[str, Any], names: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {"attributes": {"type": table, "url": f"/services/data/{VERSION}/{record['Id']}"}}
        for name in names:
            first, dot, rest = name.partition(".")
            if not dot:
                found[name] = self._value(table, record, name)
                continue
            other, parent = self._parent(table, record, first)
            held = found.setdefault(first, None if parent is None else {"attributes": {"type": other}})
            value = self._value(other, parent or {}, rest)
            if held is not None:
                held[rest] = value
        return found

    def _parent(self, table: str, record: dict[str, Any], name: str) -> tuple[str, dict[str, Any] | None]:
        info = self.fields[table].get(f"{name}Id")
        if info is None or not info.refers:
            raise Refusal(400, "INVALID_FIELD", f"Didn't understand relationship '{name}' in field path.")
        other = info.refers.split(",")[0]
        return other, self.tables[other].get(record.get(f"{name}Id") or "")

    def _value(self, table: str, record: dict[str, Any], name: str) -> Any:
        info = self.fields[table].get(name)
        if info is None or info.hidden:
            raise Refusal(400, "INVALID_FIELD", f"No such column '{name}' on entity '{table}'.")
        value = record.get(name)
        return float(value) if info.type == "double" and value is not None else value

    def _condition(self, table: str, where: str) -> Callable[[dict[str, Any]], bool]:
        """Conditions with AND between them, and a bracket of alternatives."""
        tests = [self._one_condition(table, one.strip()) for one in _split(where, " AND ")]
        return lambda record: all(test(record) for test in tests)

    def _one_condition(self, table: str, where: str) -> Callable[[dict[str, Any]], bool]:
        if where.startswith("("):
            tests = [self._one_condition(table, one.strip()) for one in _split(where[1:-1], " OR ")]
            return lambda record: any(test(record) for test in tests)
        found = re.fullmatch(r"([\w.]+) (IN|=|!=|>=|>) (.*)", where, re.DOTALL)
        if found is None:
            raise Refusal(400, "MALFORMED_QUERY", f"unexpected token: {where[:40]}")
        path, sign, right = found[1], found[2], found[3]
        values = _literals(right)
        names = path.split(".")
        info = self.fields[table].get(names[0]) if len(names) == 1 else None
        if sign == "IN" and len(values) > 500:
            raise Refusal(400, "MALFORMED_QUERY", "too many values")
        if info is not None and info.type in ("id", "reference"):
            for value in values:
                if isinstance(value, str) and not re.fullmatch(r"[a-zA-Z0-9]{15}([a-zA-Z0-9]{3})?", value):
                    raise Refusal(400, "INVALID_QUERY_FILTER_OPERATOR", f"invalid ID field: {value}")
        wanted = {_folded(value) for value in values}

        def test(record: dict[str, Any]) -> bool:
            at, other = record, table
            for name in names[:-1]:
                other, parent = self._parent(other, at, name)
                at = parent or {}
            held = _folded(self._value(other, at, names[-1]))
            if sign in (">", ">="):
                right_side = next(iter(wanted))
                left, right_ = _comparable(held), _comparable(right_side)
                return held is not None and (left > right_ or (sign == ">=" and left == right_))
            return (held in wanted) is (sign != "!=")

        return test

    # -- writes ------------------------------------------------------------------------------------------------------

    def _single(self, method: str, table: str, key: str | None, values: dict[str, Any]) -> Response:
        if method == "GET" and key is not None:
            if key not in self.tables[table]:
                raise Refusal(404, "NOT_FOUND", "The requested resource does not exist")
            return JSONResponse(self._selected(table, self.tables[table][key], list(self.fields[table])))
        self._count_seats()
        made = self._write(method, table, key, values)
        if method == "POST":
            return JSONResponse({"id": made, "success": True, "errors": []}, 201)
        return Response(status_code=204)

    def _collection(self, method: str, request: Request, body: bytes) -> Response:
        verb = {"POST": "create", "PATCH": "update", "DELETE": "delete"}[method]
        records: list[dict[str, Any]]
        if method == "DELETE":
            keys = [key for key in request.query_params.get("ids", "").split(",") if key]
            prefixes = {prefix: name for name, prefix in PREFIXES.items()}
            records = [{"attributes": {"type": prefixes.get(key[:3], "")}, "id": key} for key in keys]
        else:
            records = json.loads(body)["records"]
        types = {one["attributes"]["type"] for one in records}
        if len(records) > 200 or not records:
            raise Refusal(400, "MALFORMED_REQUEST", "record count exceeds 200")
        if len(types) > 1:
            raise Refusal(400, "MIXED_DML_OPERATION", "DML operation on setup object is not permitted")
        table = types.pop()
        if table == "User":
            self._count_seats()
        self.calls.append((method, table, len(records)))
        if self._strikes("lost before", verb) or self._strikes("pack refused", "pack"):
            return PlainTextResponse("gone", 504)
        if self._strikes("concurrent", verb):
            words = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
            raise Refusal(403, "REQUEST_LIMIT_EXCEEDED", words)
        results: list[Any] = []
        for record in records:
            values = {name: value for name, value in record.items() if name not in ("attributes", "id")}
            try:
                key = self._write(method, table, record.get("id"), values)
                results.append({"id": key, "success": True, "errors": []})
            except Refusal as refusal:
                failed = {"success": False, "errors": [_error(refusal, "statusCode")]}
                results.append(({"id": record["id"]} if "id" in record else {}) | failed)
        if self._strikes("lost after", verb):
            return PlainTextResponse("gone", 504)
        if len(results) > 1 and self._strikes("hole in pack", "pack"):
            results[0] = None
        if len(results) > 1 and self._strikes("short pack", "pack"):
            results.pop()
        return JSONResponse(results)

    def _write(self, method: str, table: str, key: str | None, values: dict[str, Any]) -> str:
        right = {"POST": "createable", "PATCH": "updateable", "DELETE": "deletable"}[method]
        if f"{table}.{right}" in self.no_rights or (table == "User" and method == "DELETE"):
            words = "insufficient access rights on cross-reference id"
            raise Refusal(400, "INSUFFICIENT_ACCESS_OR_READONLY", words)
        key = None if key is None else id18(key) if len(key) == 15 else key
        if method != "POST" and key not in self.tables[table]:
            code = "ENTITY_IS_DELETED" if method == "DELETE" else "INVALID_CROSS_REFERENCE_KEY"
            raise Refusal(400, code, "invalid cross reference id")
        for one in (key, values.get("GroupId")):
            if one is not None and self.locked.get(one, 0) > 0:
                self.locked[one] -= 1
                raise Refusal(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        if method == "DELETE":
            assert key is not None
            return self._delete(table, key)
        self._validate(table, key, values)
        if method == "PATCH":
            assert key is not None
            self._store(table, key, values)
            self.effects.append(f"update {table} {key} {','.join(sorted(values))}")
            return key
        if table == "GroupMember":
            names = ("GroupId", "UserOrGroupId")
            if there := self._holder(table, names, (values["GroupId"], values["UserOrGroupId"])):
                return there
        if table == "PermissionSetAssignment":
            return self._assign(values)
        made = self.put(table, **({"UserType": "Standard"} if table == "User" else {}), **values)
        if table == "User":
            self.tables["User"][made]["IsActive"] = bool(values.get("IsActive", True))
            self.put("UserLogin", UserId=made)
        self.effects.append(f"create {table}")
        return made

    def _assign(self, values: dict[str, Any]) -> str:
        mine = {name: values.get(name) for name in ("AssigneeId", "PermissionSetId", "PermissionSetGroupId")}
        if group := mine["PermissionSetGroupId"]:
            sets = self.tables["PermissionSet"].items()
            mine["PermissionSetId"] = next(key for key, one in sets if one.get("PermissionSetGroupId") == group)
        if self._holder("PermissionSetAssignment", tuple(mine), tuple(mine.values())):
            raise Refusal(400, "DUPLICATE_VALUE", "Duplicate PermissionSetAssignment. Assignee, Permission Set")
        return self.put("PermissionSetAssignment", **mine)

    def _holder(self, table: str, names: tuple[str, ...], values: tuple[Any, ...]) -> str | None:
        """Id of the record that has these values, as the fields compare; None where there is none."""
        index = self._indexes.get((table, names))
        if index is None:
            index = {self._index_key(table, one, names): key for key, one in self.tables[table].items()}
            self._indexes[table, names] = index
        wanted = self._index_key(table, dict(zip(names, values, strict=True)), names)
        key = index.get(wanted)
        there = self.tables[table].get(key or "")
        return key if there is not None and self._index_key(table, there, names) == wanted else None

    def _index_key(self, table: str, record: dict[str, Any], names: tuple[str, ...]) -> Any:
        exact = len(names) > 1 or self.fields[table][names[0]].exact
        return tuple(record.get(name) if exact else _folded(record.get(name)) for name in names)

    def _note(self, table: str, key: str) -> None:
        for (other, names), index in self._indexes.items():
            if other == table:
                index[self._index_key(table, self.tables[table][key], names)] = key

    def _delete(self, table: str, key: str) -> str:
        del self.tables[table][key]
        if table == "Group":
            edges = self.tables["GroupMember"]
            for edge in [edge for edge, one in edges.items() if key in (one["GroupId"], one["UserOrGroupId"])]:
                del edges[edge]
        self.effects.append(f"delete {table} {key}")
        return key

    def _store(self, table: str, key: str, values: dict[str, Any]) -> None:
        record = self.tables[table][key]
        values = {name: None if value == "" else value for name, value in values.items()}
        if table == "User" and self.confirm_email:
            values.pop("Email", None)  # stays as it was until its owner has confirmed the new one
        record |= values
        if table == "User":
            record["SystemModstamp"] = datetime.now(UTC).strftime(_DATED)
        self._note(table, key)

    def _validate(self, table: str, key: str | None, values: dict[str, Any]) -> None:
        for name, value in values.items():
            self._validate_field(table, key, name, value)
        if key is None:
            missing = [
                name
                for name, one in self.fields[table].items()
                if one.required and one.create and values.get(name) in (None, "")
            ]
            if missing:
                words = f"Required fields are missing: [{', '.join(missing)}]"
                raise Refusal(400, "REQUIRED_FIELD_MISSING", words, *missing)
        if table == "User":
            self._validate_user(key, values)

    def _validate_field(self, table: str, key: str | None, name: str, value: Any) -> None:
        info = self.fields[table].get(name)
        if info is None or info.hidden:
            raise Refusal(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {table}")
        if not (info.create if key is None else info.update):
            words = f"Unable to create/update fields: {name}. Please check the security settings of this field"
            raise Refusal(400, "INVALID_FIELD_FOR_INSERT_UPDATE", words, name)
        if value in (None, ""):
            if info.required:
                raise Refusal(400, "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{name}]", name)
            return
        if info.type == "boolean" and not isinstance(value, bool):
            raise Refusal(400, "INVALID_TYPE_ON_FIELD_IN_RECORD", f"{name}: value not of required type", name)
        if info.length and len(str(value)) > info.length:
            words = f"{name}: data value too large: {value} (max length={info.length})"
            raise Refusal(400, "STRING_TOO_LONG", words, name)
        if info.values and value not in info.values:
            words = f"{name}: bad value for restricted picklist field: {value}"
            raise Refusal(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", words, name)
        if info.refers and not any(value in self.tables[other] for other in info.refers.split(",")):
            if not re.fullmatch(r"[a-zA-Z0-9]{15}([a-zA-Z0-9]{3})?", str(value)):
                raise Refusal(400, "MALFORMED_ID", f"{name}: id value of incorrect type: {value}", name)
            raise Refusal(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", name)
        if info.unique or name == "FederationIdentifier":
            holder = self._holder(table, (name,), (value,))
            if holder not in (None, key):
                code = "DUPLICATE_DEVELOPER_NAME" if name == "DeveloperName" else "DUPLICATE_VALUE"
                raise Refusal(400, code, f"duplicate value found: {name} duplicates value on record", name)

    def _validate_user(self, key: str | None, values: dict[str, Any]) -> None:
        record = {**self.tables["User"].get(key or "", {}), **values}
        if refusal := self.refusing.get(str(record.get("LastName"))):
            raise Refusal(400, *refusal)
        login = values.get("Username")
        if login is not None:
            if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s.]+", str(login)):
                raise Refusal(400, "FIELD_INTEGRITY_EXCEPTION", "Username: must be in the form of an email", "Username")
            holder = self._holder("User", ("Username",), (login,))
            if holder not in (None, key) or str(login).lower() in self.elsewhere:
                raise Refusal(400, "DUPLICATE_USERNAME", "Duplicate Username.", "Username")
        email = values.get("Email")
        if email is not None and "@" not in str(email):
            raise Refusal(400, "INVALID_EMAIL_ADDRESS", f"Email: invalid email address: {email}", "Email")
        if values.get("IsActive") is False and key in self.stuck:
            words = "This user is the default owner of leads and cannot be deactivated."
            raise Refusal(400, "DELETE_FAILED", words)
        was = bool(key and self.tables["User"][key]["IsActive"])
        if not was and values.get("IsActive", key is None):
            profile = self.tables["Profile"].get(str(record.get("ProfileId")))
            licence = self.tables["UserLicense"].get(profile["UserLicenseId"]) if profile else None
            if licence is not None and licence["UsedLicenses"] >= licence["TotalLicenses"] >= 0:
                raise Refusal(400, "LICENSE_LIMIT_EXCEEDED", "License Limit Exceeded")
            if licence is not None:
                licence["UsedLicenses"] += 1

    def _count_seats(self) -> None:
        counts: dict[str, int] = {}
        for one in self.tables["User"].values():
            if one["IsActive"] and (profile := self.tables["Profile"].get(str(one["ProfileId"]))):
                counts[profile["UserLicenseId"]] = counts.get(profile["UserLicenseId"], 0) + 1
        for key, licence in self.tables["UserLicense"].items():
            licence["UsedLicenses"] = counts.get(key, 0)

    def _strikes(self, name: str, verb: str) -> bool:
        return any(fault.name == name and fault.strikes(verb) for fault in self.faults)


def _error(refusal: Refusal, name: str) -> dict[str, Any]:
    error: dict[str, Any] = {name: refusal.code, "message": refusal.message}
    return error | ({"fields": refusal.fields} if refusal.fields or name == "statusCode" else {})


def _split(condition: str, word: str) -> list[str]:
    """Parts of a condition between words that stand in no quotes and no brackets."""
    parts, start, depth, quoted, at = [], 0, 0, False, 0
    while at < len(condition):
        one = condition[at]
        if quoted and one == "\\":
            at += 1
        elif one == "'":
            quoted = not quoted
        elif not quoted:
            depth += {"(": 1, ")": -1}.get(one, 0)
            if depth == 0 and condition.startswith(word, at):
                parts.append(condition[start:at])
                start = at + len(word)
        at += 1
    return [*parts, condition[start:]]


_LITERAL = re.compile(r"\s*(?:'((?:[^'\\]|\\.)*)'|([^',()]+))\s*,?", re.DOTALL)
_UNESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def _literals(right: str) -> list[Any]:
    inner = right[1:-1] if right.startswith("(") else right
    found: list[Any] = []
    at = 0
    while at < len(inner):
        one = _LITERAL.match(inner, at)
        if one is None:
            raise Refusal(400, "MALFORMED_QUERY", f"unexpected token: {inner[at : at + 20]}")
        if one[1] is not None:
            found.append(re.sub(r"\\(.)", lambda part: _UNESCAPED.get(part[1], part[1]), one[1], flags=re.DOTALL))
        else:
            plain = one[2].strip()
            words = {"true": True, "false": False, "null": None}
            found.append(words[plain] if plain in words else float(plain) if plain.isdigit() else plain)
        at = one.end()
    return found


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _comparable(value: Any) -> Any:
    """Moments compare as moments, whatever their spelling; all else as text."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dt", value):
        return value[:19]
    return value


@contextmanager
def serving(service: SalesforceService | None = None) -> Iterator[SalesforceService]:
    """An org that answers on loopback while the block runs."""
    service = service or SalesforceService()

    async def answer(request: Request) -> Response:
        return await service.answer(request)  # a test may have put a trap in its place

    with answering(answer, ["GET", "POST", "PATCH", "DELETE"]) as address:
        service.url = address
        yield service
