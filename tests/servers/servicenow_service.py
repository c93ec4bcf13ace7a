"""A ServiceNow instance of our own for tests: strict and silent where ServiceNow is, with the traps its users report.

Token endpoint, Table API with encoded queries and access rules, batch API; nothing of the product.
Source: ServiceNow REST API reference (Table API, Batch API, HTTP response codes, inbound rate limiting); platform
security (access control rules, query ACLs, basic authentication); bodies as instances give them.
"""

import base64
import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import jwt
from starlette.requests import Request
from starlette.responses import Response

from tests.servers.faults import Fault
from tests.servers.starting import answering

CLIENT, SECRET, ACCOUNT, PASSWORD = "a-client", "a-client-secret", "provisor", "a-password"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
MOMENT = "%Y-%m-%d %H:%M:%S"
Row = dict[str, str]


@dataclass
class Column:
    """One column of a table."""

    type: str = "string"
    length: int = 40
    refers: str = ""
    mandatory: bool = False
    read_only: bool = False
    unique: bool = False


def reference(table: str) -> Column:
    return Column("reference", 32, refers=table)


def _columns() -> dict[str, dict[str, Column]]:
    base = {
        "sys_id": Column("GUID", 32, read_only=True),
        "sys_created_on": Column("glide_date_time", read_only=True),
        "sys_updated_on": Column("glide_date_time", read_only=True),
        "sys_created_by": Column(read_only=True),
    }
    flag = Column("boolean")
    user = {name: Column() for name in ("phone", "mobile_phone", "city", "state", "zip", "building", "time_zone")}
    user |= {"employee_number": Column(), "country": Column(length=3), "preferred_language": Column(length=3)}
    user |= {"user_name": Column(unique=True), "first_name": Column(length=50), "last_name": Column(length=50)}
    user |= {"middle_name": Column(length=50), "title": Column(length=60), "street": Column(length=255)}
    user |= {"name": Column(length=151, read_only=True), "email": Column("email", 100)}
    user |= {"manager": reference("sys_user"), "department": reference("cmn_department"), "vip": flag}
    user |= {"location": reference("cmn_location"), "company": reference("core_company")}
    user |= {"cost_center": reference("cmn_cost_center"), "active": flag, "locked_out": flag}
    user |= {"sys_class_name": Column("sys_class_name", 80, read_only=True), "user_password": Column("password", 255)}
    group = {"name": Column(length=80), "description": Column(length=1000), "email": Column("email", 100)}
    group |= {"manager": reference("sys_user"), "active": flag, "type": Column(length=1024), "source": Column()}
    edge = {"user": reference("sys_user"), "group": reference("sys_user_group")}
    held = {"user": reference("sys_user"), "role": reference("sys_user_role"), "inherited": flag}
    dictionary = {name: Column() for name in ("name", "element", "internal_type", "reference")}
    dictionary |= {"max_length": Column("integer")}
    dictionary |= dict.fromkeys(("mandatory", "unique", "read_only"), flag)
    named = {"name": Column(length=100)}
    return {
        table: columns | base
        for table, columns in {
            "sys_user": user,
            "sys_user_group": group,
            "sys_user_grmember": edge,
            "sys_user_role": named | {"description": Column(length=1000)},
            "sys_user_has_role": held,
            "cmn_department": named | {"id": Column()},
            "cmn_location": named,
            "core_company": named,
            "cmn_cost_center": named | {"code": Column()},
            "sys_dictionary": dictionary,
        }.items()
    }


class Refusal(Exception):  # noqa: N818
    """An error as ServiceNow words it."""

    def __init__(self, status: int, message: str, detail: str | None = None, **headers: str) -> None:
        self.status, self.message, self.detail = status, message, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class Answered:
    """What one request of the API gives, by itself or in a batch."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class ServiceNowService:
    """One instance."""

    # access
    no_basic: bool = False
    """The gate for basic authentication is on: right passwords are refused."""
    client_credentials: bool = True
    """The property that lets clients sign in by themselves."""
    public_key: Any = None
    """Verifies assertions of the client's private key."""
    refresh_tokens: set[str] = field(default_factory=set)
    token_uses: int | None = None
    """Requests after which a token ends; None: never."""
    missing: set[str] = field(default_factory=set)
    """Tables that the instance does not have."""
    closed: set[str] = field(default_factory=set)
    """Tables that are closed for web services."""
    unreadable: set[str] = field(default_factory=set)
    """Tables that the account may not query."""
    hidden_fields: set[str] = field(default_factory=set)
    """``table.field`` that no row shows."""
    hidden_rows: set[str] = field(default_factory=set)
    """Ids that count and are not shown."""
    active_only: bool = False
    """The rule ``user query``: only active users exist for this account."""
    no_match: set[str] = field(default_factory=set)
    """``table.field`` whose conditions of equality are dropped."""
    no_range: set[str] = field(default_factory=set)
    """``table.field`` whose ranges and order are dropped."""
    strict_queries: bool = False
    """The property ``glide.invalid_query.returns_no_rows``."""
    kept: set[str] = field(default_factory=set)
    """``table.field`` that stay as they are, whatever is sent."""
    no_rights: set[str] = field(default_factory=set)
    """``table.insert`` and the like that the account may not do."""
    rules: dict[str, str] = field(default_factory=dict)
    """Last name or group name to the business rule that refuses it."""
    policies: dict[str, str] = field(default_factory=dict)
    """Last name to the field that a data policy demands."""
    # limits
    allowed: int | None = None
    """Requests that the rate rule lets through; None: there is no rule."""
    retry_after: str | None = None
    per_hour: str = ""
    slots: int = 10**9
    """Requests that a batch has time for."""
    # trouble
    strays: int = 0
    """Requests that meet a 401 although everything is right."""
    answers: list[Answered] = field(default_factory=list)
    """What is answered next instead."""
    hidden: dict[str, int] = field(default_factory=dict)
    """Ids that so many looks do not show yet."""
    faults: list[Fault] = field(default_factory=list)
    between_pages: Callable[[], None] | None = None
    """Called after each page of users."""
    last_page: list[Any] = field(default_factory=list)
    # what there is
    columns: dict[str, dict[str, Column]] = field(default_factory=_columns)
    tables: dict[str, dict[str, Row]] = field(default_factory=lambda: {name: {} for name in _columns()})
    requests: list[str] = field(default_factory=list)
    effects: list[str] = field(default_factory=list)
    evaluated: list[str] = field(default_factory=list)
    """Values that were run as scripts."""
    clock: timedelta = timedelta(0)
    url: str = ""
    _tokens: dict[str, int] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _lock: Any = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.account = self.put_user(user_name=ACCOUNT, last_name="Provisor", web_service_access_only="true")
        self.put_role("user_admin", self.account)
        self.put_role("itil")

    # -- put in by tests ---------------------------------------------------------------------------------------------

    def put(self, table: str, sys_id: str | None = None, **values: Any) -> str:
        number = next(self._numbers)
        key = sys_id or f"{number * 2654435761 % 2**32:08x}{number:024x}"  # in no order of their making
        now = self.now()
        blank = {name: "false" if one.type == "boolean" else "" for name, one in self.columns[table].items()}
        stamps = {"sys_created_on": now, "sys_updated_on": now, "sys_created_by": ACCOUNT}
        given = {name: _text(value) for name, value in values.items()}
        self.tables[table][key] = blank | stamps | given | {"sys_id": key}
        self._note(table, key)
        return key

    def put_user(self, **values: Any) -> str:
        blank = {"user_name": f"u{next(self._numbers)}", "active": "true", "sys_class_name": "sys_user"}
        return self.put("sys_user", **(blank | values))

    def put_group(self, name: str, *members: str, **values: Any) -> str:
        key = self.put("sys_user_group", **({"name": name, "active": "true"} | values))
        for member in members:
            self.put("sys_user_grmember", user=member, group=key)
        return key

    def put_role(self, name: str, *members: str) -> str:
        key = self.put("sys_user_role", name=name)
        for member in members:
            self.put("sys_user_has_role", user=member, role=key, inherited="false")
        return key

    def store(self, table: str, key: str, **values: Any) -> None:
        """A row changed by somebody else."""
        self.tables[table][key] |= {name: _text(value) for name, value in values.items()}
        self.tables[table][key]["sys_updated_on"] = self.now()
        self._note(table, key)

    def now(self) -> str:
        return (datetime.now(UTC) + self.clock).strftime(MOMENT)

    @property
    def users(self) -> dict[str, Row]:
        """Staff but the account that is signed in with."""
        staff = self.tables["sys_user"].items()
        return {key: one for key, one in staff if key != self.account and one["sys_class_name"] == "sys_user"}

    def edges(self) -> list[tuple[str, str]]:
        """Memberships and roles that were given to users themselves, doubles too."""
        found = [(one["group"], one["user"]) for one in self.tables["sys_user_grmember"].values()]
        roles = self.tables["sys_user_has_role"].values()
        return found + [(one["role"], one["user"]) for one in roles if one["inherited"] != "true"]

    def _note(self, table: str, key: str) -> None:
        if table == "sys_user" and (name := self.tables[table][key]["user_name"]):
            self._names[name.lower()] = key

    def holder(self, user_name: str) -> str | None:
        """Who has a user name."""
        key = self._names.get(user_name.lower())
        there = self.tables["sys_user"].get(key or "")
        return key if there is not None and there["user_name"].lower() == user_name.lower() else None

    # -- requests ----------------------------------------------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        path = unquote(request.scope["raw_path"].decode()).split("?")[0]
        body = await request.body()
        with self._lock:
            if path == "/oauth_token.do":
                return _response(self._token({name: one[0] for name, one in parse_qs(body.decode()).items()}))
            query = dict(parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True))
            self.requests.append(f"{request.method} {path}?{query.get('sysparm_query', '')}")
            headers = {name.lower(): value for name, value in request.headers.items()}
            try:
                self._let_in(headers, request.method)
                if self.answers:
                    return _response(self.answers.pop(0))
                self._count()
                if path.rstrip("/") in ("/api/now/batch", "/api/now/v1/batch"):
                    found = self._batch(json.loads(body))
                else:
                    found = self._api(request.method, path, query, headers, body)
            except Refusal as refusal:
                found = _refused(refusal)
            if self.per_hour:
                found.headers |= {"X-RateLimit-Limit": self.per_hour, "X-RateLimit-Rule": "Integrations"}
            return _response(found)

    def _let_in(self, headers: Mapping[str, str], method: str) -> None:
        wrong = Refusal(401, "User Not Authenticated", "Required to provide Auth information")
        if self.strays:
            self.strays -= 1
            raise wrong
        if self._strikes("not trusted", method.lower()):
            raise wrong
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme == "Basic":
            if base64.b64decode(rest).decode() != f"{ACCOUNT}:{PASSWORD}" or self.no_basic:
                raise wrong
            return
        if rest not in self._tokens:
            raise wrong
        self._tokens[rest] -= 1
        if self._tokens[rest] < 0:
            del self._tokens[rest]
            raise wrong

    def _count(self) -> None:
        if self.allowed is None:
            return
        if self.allowed <= 0:
            after = {} if self.retry_after is None else {"Retry_After": self.retry_after}
            self.allowed += self.retry_after in (None, "0", "2")
            words = "Rate limit of 5000 requests per hour for Integrations exceeded"
            raise Refusal(429, "Rate limit exceeded", words, **after)
        self.allowed -= 1

    def _token(self, form: dict[str, str]) -> Answered:
        """Form of the token endpoint. ServiceNow wants the client's secret in each of its grants."""
        grant = form.get("grant_type")
        if form.get("client_id") != CLIENT or form.get("client_secret") != SECRET:
            return Answered(401, {"error": "invalid_client", "error_description": "access_denied"})
        denied = Answered(401, {"error": "server_error", "error_description": "access_denied"})
        match grant:
            case "password":
                if (form.get("username"), form.get("password")) != (ACCOUNT, PASSWORD):
                    return denied
            case "client_credentials":
                if not self.client_credentials:
                    words = "The grant type is not supported: set the property"
                    return Answered(401, {"error": "unsupported_grant_type", "error_description": words})
            case "refresh_token":
                if form.get("refresh_token") not in self.refresh_tokens:
                    return Answered(401, {"error": "invalid_grant", "error_description": "refresh token has ended"})
            case _ if grant == JWT_BEARER:
                try:
                    claims = jwt.decode(form["assertion"], self.public_key, algorithms=["RS256"], audience=CLIENT)
                except jwt.InvalidTokenError as error:
                    return Answered(401, {"error": "invalid_grant", "error_description": str(error)})
                if claims.get("sub") != ACCOUNT or claims.get("iss") != CLIENT or claims["exp"] < time.time():
                    return denied
            case _:
                return Answered(401, {"error": "unsupported_grant_type", "error_description": "grant_type"})
        living = next((token for token, uses in self._tokens.items() if uses > 0), None)
        token = living or f"token-{next(self._numbers)}"
        self._tokens.setdefault(token, 10**9 if self.token_uses is None else self.token_uses)
        found = {"access_token": token, "scope": "useraccount", "token_type": "Bearer", "expires_in": 1799}
        if grant == "password":
            self.refresh_tokens.add("a-refresh-token")
            found["refresh_token"] = "a-refresh-token"
        return Answered(200, found)

    def _batch(self, body: dict[str, Any]) -> Answered:
        if self._strikes("lost before", "batch") or self._strikes("pack refused", "pack"):
            return Answered(504, "gone")
        served: list[dict[str, Any]] = []
        unserved: list[str] = []
        for number, one in enumerate(body["rest_requests"]):
            if number >= self.slots:
                unserved.append(one["id"])
                continue
            address = urlsplit(one["url"])
            query = dict(parse_qsl(address.query, keep_blank_values=True))
            headers = {"accept": "application/json"}  # pysnc sends none with the parts
            headers |= {pair["name"].lower(): pair["value"] for pair in one.get("headers", ())}
            try:
                sent = base64.b64decode(one.get("body", ""))
                found = self._api(one["method"], unquote(address.path), query, headers, sent)
            except Refusal as refusal:
                found = _refused(refusal)
            text = b"" if found.body is None else json.dumps(found.body).encode()
            item = {"id": one["id"], "status_code": found.status, "status_text": "", "execution_time": 3}
            item["body"] = base64.b64encode(text).decode()
            if not one.get("exclude_response_headers"):
                item["headers"] = [{"name": name, "value": value} for name, value in found.headers.items()]
            served.append(item)
        if self._strikes("lost after", "batch"):
            return Answered(504, "gone")
        if len(served) > 1 and self._strikes("hole in pack", "pack"):
            served.pop(0)
        if len(served) > 1 and self._strikes("short pack", "pack"):
            served.pop()
        identity = str(body["batch_request_id"])
        return Answered(
            200, {"batch_request_id": identity, "serviced_requests": served, "unserviced_requests": unserved}
        )

    def _api(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Answered:
        found = re.fullmatch(r"/api/now(?:/v[12])?/table/(\w+)(?:/([\w.-]+))?/?", path)
        if found is None:
            raise Refusal(400, "Requested URI does not represent any resource", path)
        if "json" not in headers.get("accept", "") and headers.get("accept") != "*/*":
            raise Refusal(400, "Accept header is missing or wrong")
        if method in ("POST", "PATCH", "PUT") and "json" not in headers.get("content-type", ""):
            raise Refusal(400, "Content-Type header is missing or wrong")
        table, key = found[1], found[2]
        if table not in self.tables or table in self.missing:
            raise Refusal(400, f"Invalid table {table}")
        if table in self.closed:
            raise Refusal(403, "User Not Authorized", "Failed API level ACL Validation")
        if method == "GET":
            if table in self.unreadable:
                raise Refusal(403, "Insufficient rights to query records")
            return self._list(table, query) if key is None else self._get(table, key, query)
        verb = {"POST": "insert", "PATCH": "update", "PUT": "update", "DELETE": "delete"}[method]
        made = self._write(verb, table, key, {} if method == "DELETE" else json.loads(body))
        if self._strikes("lost after", verb):
            return Answered(504, "gone")
        if method == "DELETE":
            return Answered(204)
        status, row = (201 if method == "POST" else 200), self._shown(table, [self.tables[table][made]], query)[0]
        return Answered(status, {"result": row}, {"Location": f"{self.url}/api/now/table/{table}/{made}"})

    # -- reading -----------------------------------------------------------------------------------------------------

    def _get(self, table: str, key: str, query: Mapping[str, str]) -> Answered:
        row = self.tables[table].get(key)
        if row is None or key in self.hidden_rows or not self._exists(table, row):
            raise Refusal(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        return Answered(200, {"result": self._shown(table, [row], query)[0]})

    def _exists(self, table: str, row: Row) -> bool:
        return not (self.active_only and table == "sys_user" and row["active"] != "true")

    def _list(self, table: str, query: Mapping[str, str]) -> Answered:
        text = query.get("sysparm_query", "")
        looking = bool(
            re.search(r"(?:^|\^)(?!sys_class_name|sys_id=|type|active|inherited|user\.|group\.)\w+?(IN|=)", text)
        )
        if table == "sys_user" and looking and self._strikes("everybody", "look"):
            text = "ORDERBYsys_id"
        test, orders = self._compiled(table, text)
        rows = [row for row in self.tables[table].values() if self._exists(table, row) and test(row)]
        for name, backwards in reversed(orders):
            rows.sort(key=lambda row: row.get(name, ""), reverse=backwards)
        if looking:
            rows = [row for row in rows if not self._is_late(row["sys_id"])]
        limit, offset = int(query.get("sysparm_limit") or 10_000), int(query.get("sysparm_offset") or 0)
        total, window = len(rows), rows[offset : offset + limit]
        shown = [row for row in window if row["sys_id"] not in self.hidden_rows]
        body: dict[str, Any] = {"result": self._shown(table, shown, query)}
        if table == "sys_user" and not looking and limit > 1:
            if self._strikes("cut", "page"):
                return Answered(200, json.dumps(body)[:-3])
            if self._strikes("time out", "page"):
                error = {"message": "Transaction cancelled: maximum execution time exceeded", "detail": "quota"}
                return Answered(200, {"result": body["result"][: limit // 3], "error": error, "status": "failure"})
            if self._strikes("empty", "page") or self._strikes("nobody", "page"):
                body["result"] = []
            elif self._strikes("one missing", "page"):
                body["result"] = body["result"][1:]
            elif self._strikes("circle", "page") and len(self.last_page):
                body["result"], total = self.last_page, max(total, limit + 1)
            elif self._strikes("doubled", "page") and len(self.last_page):
                body["result"] = [self.last_page[-1], *body["result"][1:]]
            self.last_page = body["result"]
            if self.between_pages is not None:
                self.between_pages()
        headers = {} if query.get("sysparm_no_count") == "true" else {"X-Total-Count": str(total)}
        if query.get("sysparm_suppress_pagination_header") != "true":
            headers["Link"] = f'<{self.url}/api/now/table/{table}?sysparm_offset=0>;rel="first"'
        return Answered(200, body, headers)

    def _is_late(self, key: str) -> bool:
        if self.hidden.get(key, 0) > 0:
            self.hidden[key] -= 1
            return True
        return False

    def _shown(self, table: str, rows: list[Row], query: Mapping[str, str]) -> list[dict[str, Any]]:
        wanted = [name for name in query.get("sysparm_fields", "").split(",") if name] or list(self.columns[table])
        how = query.get("sysparm_display_value", "false").lower() or "false"
        linked = query.get("sysparm_exclude_reference_link", "false") != "true"
        found: list[dict[str, Any]] = [{} for _ in rows]
        for name in wanted:
            reader = self._reader(table, name)
            if reader is None:
                continue  # unknown or hidden: nothing says so
            read, column = reader
            for shown, row in zip(found, rows, strict=True):
                held = read(row)
                if how == "all":
                    shown[name] = {"display_value": self._display(column, held), "value": held}
                elif how == "true":
                    shown[name] = self._display(column, held)
                elif column.refers and linked and held:
                    shown[name] = {"link": f"{self.url}/api/now/table/{column.refers}/{held}", "value": held}
                else:
                    shown[name] = held
        return found

    def _display(self, column: Column, held: str) -> str:
        other = self.tables.get(column.refers, {}).get(held)
        return held if other is None else other.get("name", held)

    def _reader(self, table: str, path: str) -> tuple[Callable[[Row], str], Column] | None:
        """What reads the end of a dotted path, and its column; None where it is unknown or hidden."""
        first, dot, rest = path.partition(".")
        column = self.columns[table].get(first)
        if column is None or f"{table}.{first}" in self.hidden_fields or column.type == "password":
            return None
        if not dot:
            return (lambda row: row.get(first, "")), column
        if not column.refers or column.refers in self.unreadable or (end := self._reader(column.refers, rest)) is None:
            return None
        others, read = self.tables[column.refers], end[0]
        return (lambda row: "" if (other := others.get(row.get(first, ""))) is None else read(other)), end[1]

    # -- encoded queries ---------------------------------------------------------------------------------------------

    def _compiled(self, table: str, text: str) -> tuple[Callable[[Row], bool], list[tuple[str, bool]]]:
        """Whether a row is meant, and the order. Parts that are broken or not allowed are dropped without a word."""
        branches: list[Callable[[Row], bool]] = []
        orders: list[tuple[str, bool]] = []
        for branch in text.split("^NQ"):
            groups: list[list[Callable[[Row], bool]]] = []
            for term in branch.split("^") if branch else []:
                either = term.startswith("OR") and not term.startswith("ORDERBY")
                term = term[2:] if either else term
                if found := re.fullmatch(r"ORDERBY(DESC)?(\w+)", term):
                    if f"{table}.{found[2]}" not in self.no_range and found[2] in self.columns[table]:
                        orders.append((found[2], bool(found[1])))
                    continue
                test = self._term(table, term)
                if test is None:
                    if self.strict_queries and term not in ("", "EQ"):
                        return (lambda row: False), []
                    continue
                if either and groups:
                    groups[-1].append(test)
                else:
                    groups.append([test])
            branches.append(_all_of([one[0] if len(one) == 1 else _any_of(one) for one in groups]))
        return _any_of(branches), orders

    def _term(self, table: str, term: str) -> Callable[[Row], bool] | None:
        signs = r"!=|>=|<=|>|<|=|NOT IN|IN|ISEMPTY|ISNOTEMPTY|STARTSWITH|LIKE"
        found = re.match(rf"(?P<path>[a-z_]+(?:\.[a-z_]+)*)(?P<sign>{signs})(?P<value>.*)", term, re.DOTALL)
        if found is None:
            return None
        path, sign, value = found["path"], found["sign"], found["value"]
        first = path.partition(".")[0]
        ranged = sign in (">", ">=", "<", "<=", "STARTSWITH", "LIKE")
        barred = self.no_range if ranged else self.no_match
        if first not in self.columns[table] or f"{table}.{first}" in barred | self.hidden_fields:
            return None
        if value.startswith("javascript:"):
            self.evaluated.append(value)
            value = self.account if value == "javascript:gs.getUserID()" else ""
        column = self.columns[table][first]
        exact = "." not in path and (column.type == "GUID" or bool(column.refers))
        wanted = value if exact else value.lower()
        several = set(wanted.split(","))
        reader = self._reader(table, path)
        if reader is None:
            return None
        read = reader[0]

        def held(row: Row) -> str:
            return read(row) if exact else read(row).lower()

        match sign:
            case "=":
                return lambda row: held(row) == wanted
            case "!=":
                return lambda row: held(row) != wanted
            case "IN":
                return lambda row: held(row) in several
            case "NOT IN":
                return lambda row: held(row) not in several
            case "ISEMPTY":
                return lambda row: not held(row)
            case "ISNOTEMPTY":
                return lambda row: bool(held(row))
            case "STARTSWITH":
                return lambda row: held(row).startswith(wanted)
            case "LIKE":
                return lambda row: wanted in held(row)
            case ">":
                return lambda row: held(row) > wanted
            case ">=":
                return lambda row: held(row) >= wanted
            case "<":
                return lambda row: held(row) < wanted
            case _:
                return lambda row: held(row) <= wanted

    # -- writing -----------------------------------------------------------------------------------------------------

    def _write(self, verb: str, table: str, key: str | None, values: Mapping[str, Any]) -> str:
        if self._strikes("lost before", verb):
            raise Refusal(504, "gone")
        if self._strikes("throttled", verb):
            raise Refusal(429, "Rate limit exceeded", "Rate limit of 1 requests per hour exceeded", Retry_After="2")
        if f"{table}.{verb}" in self.no_rights:
            words = f"ACL Exception {verb.capitalize()} Failed due to security constraints"
            raise Refusal(403, "Operation Failed", words)
        rows = self.tables[table]
        if verb != "insert" and (key not in rows or key in self.hidden_rows):
            raise Refusal(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        if verb == "delete":
            assert key is not None
            del rows[key]
            self.effects.append(f"delete {table} {key}")
            return key
        there = rows.get(key or "")
        taken = {name: text for name, value in values.items() if (text := self._taken(table, name, value)) is not None}
        new = (there or {}) | taken
        self._judge(verb, table, key, new, taken)
        if verb == "insert":
            usual = {"active": "true", "sys_class_name": table} if table in ("sys_user", "sys_user_group") else {}
            key = self.put(table, **(usual | taken))
            self.effects.append(f"insert {table}")
        else:
            assert key is not None
            self.store(table, key, **taken)
            self.effects.append(f"update {table} {key} {','.join(sorted(values))}")
        row = rows[key]
        if table == "sys_user":
            row["name"] = " ".join(part for part in (row["first_name"], row["last_name"]) if part)
            if row["active"] == "false":
                row["locked_out"] = "true"  # the rule "Lock Out Inactive Users"
        return key

    def _taken(self, table: str, name: str, value: Any) -> str | None:
        """A value as it is kept; None where nothing is, of which the answer says nothing."""
        column = self.columns[table].get(name)
        if column is None or column.read_only or f"{table}.{name}" in self.kept:
            return None
        return _text(value)[: column.length] if column.type in ("string", "email") else _text(value)

    def _judge(self, verb: str, table: str, key: str | None, row: Row, taken: Row) -> None:
        name = row.get("last_name") or row.get("name") or ""
        if rule := self.rules.get(name):
            words = f"Operation against file '{table}' was aborted by Business Rule '{rule}^0a1b2c'."
            raise Refusal(403, "Operation Failed", f"{words} Business Rule Stack:{rule}")
        if wanted := self.policies.get(name):
            raise Refusal(403, "Data Policy Exception", f"Data Policy Exception: {wanted} is mandatory")
        missing = [one for one, column in self.columns[table].items() if column.mandatory and not row.get(one)]
        if missing:
            words = f"Data Policy Exception: The following fields are mandatory: {', '.join(missing)}"
            raise Refusal(403, "Operation Failed", words)
        if table == "sys_user" and "user_name" in taken and self.holder(taken["user_name"]) not in (None, key):
            raise Refusal(403, "Operation Failed", f"Error during {verb} of sys_user ({taken['user_name']})")
        for one in ("user", "group", "role") if table in ("sys_user_grmember", "sys_user_has_role") else ():
            other = self.columns[table].get(one)
            if other is not None and row.get(one) not in self.tables[other.refers]:
                raise Refusal(403, "Operation Failed", f"Error during insert of {table} (invalid {one})")

    def _strikes(self, name: str, verb: str) -> bool:
        return any(fault.name == name and fault.strikes(verb) for fault in self.faults)


def _all_of(tests: list[Callable[[Row], bool]]) -> Callable[[Row], bool]:
    def test(row: Row) -> bool:
        for one in tests:  # noqa: SIM110
            if not one(row):
                return False
        return True

    return test


def _any_of(tests: list[Callable[[Row], bool]]) -> Callable[[Row], bool]:
    return tests[0] if len(tests) == 1 else lambda row: any(one(row) for one in tests)


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _refused(refusal: Refusal) -> Answered:
    error = {"message": refusal.message, "detail": refusal.detail}
    return Answered(refusal.status, {"error": error, "status": "failure"}, dict(refusal.headers))


def _response(found: Answered) -> Response:
    text = found.body if isinstance(found.body, str) else "" if found.body is None else json.dumps(found.body)
    html = text.startswith("<")
    return Response(
        text, found.status, headers=found.headers, media_type="text/html" if html else "application/json;charset=UTF-8"
    )


def describe(service: ServiceNowService) -> None:
    """Fills the dictionary from the columns."""
    service.tables["sys_dictionary"].clear()
    for table, columns in service.columns.items():
        for name, one in columns.items():
            service.put(
                "sys_dictionary",
                name=table,
                element=name,
                internal_type=one.type,
                max_length=one.length,
                reference=one.refers,
                mandatory=one.mandatory,
                read_only=one.read_only,
                unique=one.unique,
            )


@contextmanager
def serving(service: ServiceNowService | None = None) -> Iterator[ServiceNowService]:
    """An instance that answers on loopback while the block runs."""
    service = service or ServiceNowService()
    describe(service)
    with answering(service.answer, ["GET", "POST", "PATCH", "PUT", "DELETE"]) as address:
        service.url = address
        yield service
