"""Users, groups and memberships of an instance, with proof that nobody is missing.

Pages go by ``sys_id`` behind the last one, so that entries that come and go move nobody to another page. Each page is
counted against ``X-Total-Count``, which is taken before access rules hide rows: what is hidden is known to be.

Source: ServiceNow, Table API; "REST API HTTP response codes"; "Query ACLs".
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connectors.errors import CredentialsError, ErrorCode, ProvisorError, SchemaMismatchError, SettingsError
from connectors.http import Answer, Call, Problem, redact
from connectors.kit import FAMILY, KEY, Asked, Edge, Kind, Known, Page, Reread, Sought, refused
from connectors.servicenow.fields import (
    GRANTS,
    GROUPS,
    MEMBERS,
    ROLE,
    ROLES,
    USERS,
    below,
    joined,
    lookups,
    meets,
    named_in,
    row_of,
)
from connectors.servicenow.settings import GroupSort

SMALLEST_PAGE = 50
OVERLAP = timedelta(seconds=30)
"""So far a read of changes goes back behind the last one: rows are stamped before they can be seen."""
MOMENT = "%Y-%m-%d %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Chunk:
    """One page of a listing."""

    records: Sequence[Mapping[str, Any]]
    more: str | None
    doubt: str


async def page_of(
    wire: Any, table: str, query: str, fields: Sequence[str], *, limit: int, offset: int = 0
) -> tuple[list[dict[str, Any]], int, bool]:
    """One page of a table, how many rows there are, and whether the page is whole.

    Raises: CredentialsError, SettingsError, SchemaMismatchError, UnreachableError.
    """
    params: dict[str, str | int] = {"sysparm_query": query, "sysparm_fields": ",".join(fields), "sysparm_limit": limit}
    params |= {"sysparm_exclude_reference_link": "true", "sysparm_suppress_pagination_header": "true"}
    if offset:
        params["sysparm_offset"] = offset
    asked = Call("GET", f"/api/now/table/{table}", f"read {table}", params=params)
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refusal_of(wire, asked, answer, table)
    try:
        body = answer.json()
        whole = isinstance(body["result"], list) and "error" not in body
    except (SchemaMismatchError, KeyError, TypeError):
        whole = False
    if not whole:
        return [], 0, False
    total = answer.headers.get("x-total-count", "")
    if not total.isdigit():
        raise SchemaMismatchError(f"ServiceNow does not say how many rows of {table} there are. Nothing was written.")
    return body["result"], int(total), True


async def chunks(wire: Any, table: str, query: str, fields: Sequence[str], *, limit: int) -> AsyncIterator[Chunk]:
    """Every row of a table that a query is about, page by page. Raises: as ``page_of``."""
    fields = list(dict.fromkeys(("sys_id", *fields)))
    last, offset, seen, hidden, left = "", 0, 0, 0, None
    vanished = False
    cursors: set[str] = set()
    asked_again = False
    while True:
        keyset = joined(query, f"sys_id>{last}" if last else "", "ORDERBYsys_id")
        records, total, whole = await page_of(wire, table, keyset, fields, limit=limit, offset=offset)
        if not whole:  # the instance ran out of time: what it gave so far is not the whole page
            if limit <= SMALLEST_PAGE:
                raise SchemaMismatchError(
                    f"ServiceNow breaks off when it lists {table}, even {limit} rows at a time. Nothing was written. "
                    "Ask its administrator for the transaction quota of REST requests."
                )
            limit = max(SMALLEST_PAGE, limit // 2)
            continue
        window = max(0, min(limit, total - offset))
        if window and not records and not asked_again:
            asked_again = True  # once more, before it is believed that access rules hide a whole page
            continue
        asked_again = False
        vanished = vanished or (left is not None and total < left)
        hidden += max(0, window - len(records))
        seen += len(records)
        left = total - offset - window
        ends, circle = left <= 0, False
        if records:
            last, offset = str(records[-1]["sys_id"]), 0
            circle = last in cursors
            cursors.add(last)
        else:
            offset += limit
        doubt = f"The listing of {table} went round in a circle and was stopped." if circle else ""
        if ends and hidden:
            doubt = f"Access rules hide {hidden:,} rows of {table} from Provisor's account: grant it read access."
        elif ends and vanished:
            doubt = await _recounted(wire, table, query, seen)
        yield Chunk(records, None if ends or circle else f"{last}+{offset}", doubt)
        if ends or circle:
            return


async def _recounted(wire: Any, table: str, query: str, seen: int) -> str:
    """Rows went while they were read: whether those that are there now are as many as were read."""
    _, now, _ = await page_of(wire, table, query, ["sys_id"], limit=1)
    return "" if now == seen else f"ServiceNow counts {now:,} rows of {table} and listed {seen:,}."


async def all_of(
    wire: Any, table: str, query: str, fields: Sequence[str], *, limit: int = 5_000
) -> tuple[list[Mapping[str, Any]], str]:
    """Every row that a query is about, and why some may be missing."""
    found: list[Mapping[str, Any]] = []
    doubt = ""
    async for chunk in chunks(wire, table, query, fields, limit=limit):
        found += chunk.records
        doubt = doubt or chunk.doubt
    return found, doubt


async def count(wire: Any, table: str, query: str) -> int:
    """How many rows there are."""
    return (await page_of(wire, table, query, ["sys_id"], limit=1))[1]


# Listings


async def pages(wire: Any, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Everything of one kind; of users also what has changed. Raises: Reread."""
    listing = _groups(wire, known, asked) if asked.kind is Kind.GROUP else _users(wire, known, asked)
    async for page in listing:
        yield page


async def _users(wire: Any, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Deletions are not told: a listing of changes says how many users there are."""
    scope = known.settings.user_query
    query, newest, there = scope, asked.since or "", None
    if asked.since is not None:
        try:
            since = datetime.strptime(asked.since, MOMENT) - OVERLAP  # noqa: DTZ007
        except ValueError:
            raise Reread("The watermark could not be understood.") from None
        query = joined(scope, f"sys_updated_on>={since.strftime(MOMENT)}")
        there = await count(wire, USERS, scope)
    fields = [*_fields(known, asked.paths), "sys_updated_on"]
    async for chunk in chunks(wire, USERS, query, fields, limit=known.settings.page_size):
        _refuse_others(scope, chunk.records, USERS)
        newest = max([newest, *(str(one.get("sys_updated_on") or "") for one in chunk.records)])
        mark = newest or None if chunk.more is None else None
        yield Page(
            _user_rows(known, chunk.records, asked.paths), chunk.more, doubt=chunk.doubt, watermark=mark, there=there
        )


def _fields(known: Known, paths: Sequence[str]) -> list[str]:
    references: Mapping[str, str] = known.settings.references
    named = [f"{path}.{references[path]}" for path in paths if path in references]
    return ["sys_id", *paths, *named, *named_in(known.settings.user_query)]


def _user_rows(known: Known, records: Sequence[Mapping[str, Any]], paths: Sequence[str]) -> list[dict[str, Any]]:
    return [row_of(one, paths, known.users, known.settings.references) for one in records]


def _refuse_others(scope: str, records: Sequence[Mapping[str, Any]], table: str) -> None:
    """Raises: SchemaMismatchError for a row that was not asked for."""
    if not all(meets(scope, one) for one in records):
        raise SchemaMismatchError(
            f"ServiceNow returned rows of {table} that {scope} excludes: it drops conditions on fields that Provisor's "
            "account may not query. Grant it query_match on these fields. Nothing was written."
        )


async def _groups(wire: Any, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Groups and roles, then all memberships: their deletions are not told."""
    keys: list[str] = []
    for sort in known.settings.groups:
        rows, doubt = await _group_rows(wire, known, sort, asked.paths, "")
        keys += [row[KEY] for row in rows]
        yield Page(rows, doubt=doubt)
    edges, doubts = await edges_of(wire, known, known.settings.groups, set(keys), {})
    yield Page(edges=edges, doubt=doubts, present=keys, watermark="whole")


async def _group_rows(
    wire: Any, known: Known, sort: GroupSort, paths: Sequence[str], condition: str
) -> tuple[list[dict[str, Any]], str]:
    roles = sort is GroupSort.ROLES
    table, scope = (ROLES, "") if roles else (GROUPS, known.settings.group_query)
    fields = [one for one in ("name", "description") if one in paths] if roles else [*paths, *named_in(scope)]
    records, doubt = await all_of(wire, table, joined(scope, condition), fields)
    _refuse_others(scope, records, table)
    rows = [row_of(one, paths, known.groups, {}) for one in records]
    return [_as_role(row) if roles else {**row, FAMILY: "group"} for row in rows], doubt


def _as_role(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, KEY: f"{ROLE}{row[KEY]}", FAMILY: "role"}


async def edges_of(
    wire: Any, known: Known, sorts: Sequence[GroupSort], keys: set[str], conditions: Mapping[GroupSort, str]
) -> tuple[list[Edge], str]:
    """Memberships of these groups, each with the ids of all its rows, and why some may be missing.

    ServiceNow lets somebody be a member twice; who leaves has to leave both times.
    """
    held: dict[tuple[str, str], list[str]] = {}
    doubts = []
    people = below(known.settings.user_query, "user")
    for sort in sorts:
        roles = sort is GroupSort.ROLES
        table, field = (GRANTS, "role") if roles else (MEMBERS, "group")
        query = joined(people, "inherited=false" if roles else "", conditions.get(sort, ""))
        fields = ["user", field, "inherited", *named_in(people)] if roles else ["user", field, *named_in(people)]
        records, doubt = await all_of(wire, table, query, fields, limit=5 * known.settings.page_size)
        _refuse_others(joined(people, "inherited=false" if roles else ""), records, table)
        doubts += [doubt] if doubt else []
        for one in records:
            group = f"{ROLE}{one[field]}" if roles else str(one[field])
            if group in keys and one["user"]:
                held.setdefault((group, str(one["user"])), []).append(str(one["sys_id"]))
    return [Edge(group, user, ",".join(ids)) for (group, user), ids in held.items()], " ".join(doubts)


# Looks


async def look(wire: Any, known: Known, sought: Sought) -> Page:
    """Entries by value or key; groups looked for by key come with all their members."""
    if sought.kind is Kind.GROUP:
        return await _look_for_groups(wire, known, sought)
    path, scope = ("sys_id" if sought.path == KEY else sought.path), known.settings.user_query
    rows: list[dict[str, Any]] = []
    doubts: list[str] = []
    for condition, loose in lookups(path, sought.values):
        query = joined(scope, condition)
        records, doubt = await all_of(wire, USERS, query, _fields(known, sought.paths), limit=known.settings.page_size)
        _refuse_others(scope, records, USERS)
        found = _user_rows(known, records, sought.paths)
        rows += [row for row in found if not loose or _is_one(row, sought)]
        doubts += [doubt] if doubt else []
    return Page(rows, doubt=" ".join(doubts))


def _is_one(row: Mapping[str, Any], sought: Sought) -> bool:
    held = str(row.get(sought.path) or "").casefold()
    return held in {value.casefold() for value in sought.values}


async def _look_for_groups(wire: Any, known: Known, sought: Sought) -> Page:
    by_key = sought.path == KEY
    rows: list[dict[str, Any]] = []
    edges: list[Edge] = []
    doubts: list[str] = []
    for sort in known.settings.groups:
        roles = sort is GroupSort.ROLES
        values = [one.removeprefix(ROLE) for one in sought.values if not by_key or one.startswith(ROLE) is roles]
        if roles and sought.path not in (KEY, "name", "description"):
            continue
        for condition, loose in lookups("sys_id" if by_key else sought.path, values):
            found, doubt = await _group_rows(wire, known, sort, sought.paths, condition)
            found = [row for row in found if not loose or _is_one(row, sought)]
            rows += found
            doubts += [doubt] if doubt else []
            if by_key and found:
                ids = ",".join(row[KEY].removeprefix(ROLE) for row in found)
                where = {sort: f"{'role' if roles else 'group'}IN{ids}"}
                mine, doubt = await edges_of(wire, known, [sort], {row[KEY] for row in found}, where)
                if doubt:
                    raise SchemaMismatchError(f"{doubt} Nothing was written.")
                edges += mine
    return Page(rows, edges=edges, doubt=" ".join(doubts))


# Refusals


def problem(answer: Answer) -> tuple[str, str]:
    """Message and detail of an error; empty where the body is none."""
    try:
        return problem_in(answer.json())
    except ProvisorError:
        return "", ""


def problem_in(body: Any) -> tuple[str, str]:
    """The same of a body that is parsed."""
    error = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(error, Mapping):
        return ("", "") if error is None else (str(error), "")
    return str(error.get("message") or ""), str(error.get("detail") or "")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a refused read means."""

    status: int
    words: str
    """A pattern that message or detail match."""
    error: type[SettingsError] | type[CredentialsError]
    text: str
    """What to do; ``{table}`` is the table."""


READ_TROUBLES = (
    Trouble(
        400,
        "Invalid table",
        SettingsError,
        "The instance has no table {table}: it may belong to a plugin that is not active. Remove it from groups or "
        "references, or activate the plugin.",
    ),
    Trouble(
        403,
        "Failed API level ACL Validation|User Not Authorized",
        CredentialsError,
        "The table {table} is closed for web services. Allow them in its application access, or give Provisor's "
        "account the role that a REST API access policy asks for.",
    ),
    Trouble(
        403,
        "Insufficient rights to query records|",
        CredentialsError,
        "Provisor's account may not read {table}, or a field of it that is asked for. Give the account a role that "
        "can read the table and its fields.",
    ),
)


def refusal_of(wire: Any, asked: Call, answer: Answer, table: str) -> ProvisorError:
    """The error for a read that was refused, with what to do about it."""
    message, detail = problem(answer)
    said = redact(": ".join(filter(None, (message, detail))) or f"HTTP {answer.status}", length=200)
    for one in READ_TROUBLES:
        if answer.status == one.status and re.search(one.words, f"{message} {detail}"):
            code = ErrorCode.INSUFFICIENT_RIGHTS if one.error is CredentialsError else None
            text = f"{one.text.format(table=table)} ({said})"
            return one.error(text, code=code) if code is not None else one.error(text)
    return refused(wire, asked, answer, Problem(message, redact(detail)))


def ids_in(records: Sequence[Mapping[str, Any]], field: str) -> Iterator[tuple[str, str]]:
    """A value and the id of the row that has it."""
    for one in records:
        yield str(one.get(field) or "").casefold(), str(one["sys_id"])
