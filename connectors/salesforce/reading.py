"""Users, groups and memberships of an org by SOQL, with proof that nobody is missing.

Every query is in the order of ids, so that one whose cursor ends half-way (with its token, or after two days) goes on
behind the last id, and nobody comes twice. The rows that came are counted against ``totalSize``.

Source: Salesforce, REST API Developer Guide, "Query", "Status Codes and Error Responses".
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from connectors.errors import CredentialsError, ProvisorError, SchemaMismatchError
from connectors.http import Answer, Call, Problem, redact
from connectors.kit import FAMILY, KEY, Asked, Attribute, Edge, Kind, Known, Page, Reread, Sought, refused
from connectors.salesforce.fields import LOGIN, SORTS, Sort, id18, is_id, literal, row_of, sort_of

RESTARTS = 5
"""Times that one query is begun anew."""
LONGEST_CONDITION = 6_000
"""Characters; a query in an address may have 16,000 once it is encoded, and a character may become three."""
OVERLAP = timedelta(minutes=5)
"""So far a read of changes goes back behind the last one: a change is stamped before others can see it."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One page of a query."""

    records: Sequence[Mapping[str, Any]]
    total: int
    next: str | None
    doubt: str
    date: datetime | None
    """The org's time when it answered."""


async def chunks(wire: Any, fields: str, table: str, where: str, purpose: str) -> AsyncIterator[Chunk]:
    """Every record of a query, page by page. Raises: SchemaMismatchError, CredentialsError."""
    seen = restarts = total = 0
    last, link = "", None
    links: set[str] = set()
    while True:
        if link is None:
            conditions = [one for one in (where, f"Id > '{last}'" if last else "") if one]
            soql = f"SELECT {fields} FROM {table}"
            soql += (f" WHERE {' AND '.join(conditions)}" if conditions else "") + " ORDER BY Id"
            asked = Call("GET", "/query", purpose, params={"q": soql})
        else:
            asked = Call("GET", link, purpose, known=True)
        answer = await wire.send(asked)
        code, message, _ = problem(answer)
        if link is not None and (code == "INVALID_QUERY_LOCATOR" or answer.status in (401, 404)):
            restarts += 1
            if restarts > RESTARTS:
                raise SchemaMismatchError(
                    f"The cursor of a query ended {restarts} times before all {table} records were read ({message}). "
                    "Nothing was written."
                )
            link = None
            continue
        if answer.status != 200:
            raise refusal_of(wire, asked, answer)
        body = answer.json()
        total = seen + int(body["totalSize"]) if link is None else total
        records = body["records"]
        seen += len(records)
        last = id18(records[-1]["Id"]) if records else last
        link = None if body.get("done") is True else wire.below(body.get("nextRecordsUrl") or "")
        ends = not link or link in links or seen > total
        doubt = f"Salesforce counts {total:,} {table} records and listed {seen:,}." if ends and seen != total else ""
        if link in links:
            doubt = f"The pages of a query for {table} went round in a circle."
        elif link == "":
            doubt = f"A page of a query for {table} says that there are more, and not where."
        links.add(link or "")
        yield Chunk(records, total, link or None, doubt, _date(answer))
        if ends:
            return


def _date(answer: Answer) -> datetime | None:
    try:
        return parsedate_to_datetime(answer.headers.get("date", "")).astimezone(UTC)
    except ValueError:
        return None


async def all_of(wire: Any, fields: str, table: str, where: str, purpose: str) -> tuple[list[Mapping[str, Any]], str]:
    """Every record of a query, and why some may be missing."""
    found: list[Mapping[str, Any]] = []
    doubt = ""
    async for chunk in chunks(wire, fields, table, where, purpose):
        found += chunk.records
        doubt = doubt or chunk.doubt
    return found, doubt


async def json_of(wire: Any, path: str, purpose: str, *, soql: str | None = None) -> Any:
    """The JSON that a GET gives. Raises: CredentialsError, SchemaMismatchError, SettingsError."""
    asked = Call("GET", path, purpose, params=None if soql is None else {"q": soql})
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refusal_of(wire, asked, answer)
    return answer.json()


# Listings


def whom(known: Known) -> str:
    """The condition that only users of the job's types meet."""
    types = ", ".join(f"'{one}'" for one in known.settings.user_types)
    return f"UserType IN ({types})"


async def pages(wire: Any, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Everything of one kind; of users also what has changed. Users are never deleted. Raises: Reread."""
    listing = _groups(wire, known, asked) if asked.kind is Kind.GROUP else _users(wire, known, asked)
    async for page in listing:
        yield page


async def _users(wire: Any, known: Known, asked: Asked) -> AsyncIterator[Page]:
    where, watermark = whom(known), None
    if asked.since is not None:
        try:
            since = datetime.fromisoformat(asked.since) - OVERLAP
        except ValueError:
            raise Reread("The watermark could not be understood.") from None
        where += f" AND SystemModstamp >= {since.strftime('%Y-%m-%dT%H:%M:%SZ')}"
    async for chunk in chunks(wire, selected(asked.paths), "User", where, "read the users"):
        watermark = watermark or (chunk.date.isoformat() if chunk.date is not None else None)
        rows = [_user(known, record, asked.paths) for record in chunk.records]
        more = chunk.next if not chunk.doubt else None
        yield Page(rows, next=more, doubt=chunk.doubt, watermark=None if more else watermark)


def selected(paths: Sequence[str]) -> str:
    """What a query selects for these paths."""
    return ", ".join(dict.fromkeys(["Id", *(path for path in paths if path != LOGIN)]))


def _user(known: Known, record: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    return {KEY: id18(record["Id"]), **row_of(record, paths, known.users)}


async def _groups(wire: Any, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Groups of every sort that the settings name, then all memberships."""
    sorts = [SORTS[one] for one in known.settings.groups]
    keys: list[str] = []
    for sort in sorts:
        records, doubt = await all_of(wire, _fields(sort), sort.object, sort.where, f"read the {sort.family}s")
        rows = [_group(sort, record) for record in records]
        keys += [row[KEY] for row in rows]
        yield Page(rows, doubt=doubt)
    edges, doubts = await edges_of(wire, known, sorts, set(keys), "")
    yield Page(edges=edges, doubt=doubts, present=keys, watermark="whole")


def _fields(sort: Sort) -> str:
    return f"Id, {sort.label}, {sort.name}"


def _group(sort: Sort, record: Mapping[str, Any]) -> dict[str, Any]:
    key = id18(record["Id"])
    names = {"Name": record[sort.label], "DeveloperName": record[sort.name]}
    return {KEY: key, "Id": key, FAMILY: sort.family, "Type": sort.family, **names}


async def edges_of(
    wire: Any, known: Known, sorts: Sequence[Sort], groups: set[str], condition: str
) -> tuple[list[Edge], str]:
    """Memberships of groups of these sorts, and why some may be missing. Role groups inside groups are left out.

    ``condition``: ids of groups as a query has them, in brackets; empty: all.
    """
    found: list[Edge] = []
    doubts = ""
    regular = set(groups)
    for table in dict.fromkeys(sort.edges for sort in sorts):
        mine = [sort for sort in sorts if sort.edges == table]
        member = mine[0].member
        if table == "GroupMember":
            fields, where = f"Id, GroupId, {member}", "Group.Type = 'Regular'"
        else:
            fields = f"Id, {member}, PermissionSetId, PermissionSetGroupId"
            where = f"PermissionSet.IsOwnedByProfile = false AND Assignee.{whom(known)}"
        if condition:
            where = f"({' OR '.join(f'{sort.group} IN {condition}' for sort in mine)}) AND {where}"
        records, doubt = await all_of(wire, fields, table, where, "read the memberships")
        doubts = doubts or doubt
        edges = [
            Edge(
                id18(str(record.get("PermissionSetGroupId") or record[mine[0].group])),
                id18(record[member]),
                id18(record["Id"]),
            )
            for record in records
        ]
        nested = {edge.member for edge in edges if edge.member.startswith("00G")}
        if condition:
            regular |= await _regular(wire, nested - regular)
        found += [
            edge for edge in edges if edge.group in groups and (edge.member not in nested or edge.member in regular)
        ]
    return found, doubts


async def _regular(wire: Any, keys: set[str]) -> set[str]:
    """Those among some groups that are public groups, and not made of a role or a queue."""
    found: set[str] = set()
    for condition in _conditions(Attribute("Id"), "Id", sorted(keys)):
        where = f"Id IN {condition} AND Type = 'Regular'"
        records, _ = await all_of(wire, "Id", "Group", where, "look for public groups")
        found |= {id18(one["Id"]) for one in records}
    return found


# Looks


async def look(wire: Any, known: Known, sought: Sought) -> Page:
    """Entries by value or key; groups looked for by key come with all their members."""
    if sought.kind is Kind.GROUP:
        return await _look_for_groups(wire, known, sought)
    path = "Id" if sought.path == KEY else sought.path
    rows: list[dict[str, Any]] = []
    for condition in _conditions(known.attribute(Kind.USER, path), path, sought.values):
        where = f"{path} IN {condition} AND {whom(known)}"
        found, doubt = await all_of(wire, selected(sought.paths), "User", where, "look for users")
        if doubt:
            return Page(rows, doubt=doubt)
        rows += [_user(known, record, sought.paths) for record in found]
        if sought.path == KEY and getattr(known.settings, "freeze", False):
            logins, _ = await all_of(
                wire, "Id, UserId, IsFrozen", "UserLogin", f"UserId IN {condition}", "read who is frozen"
            )
            frozen = {id18(one["UserId"]): id18(one["Id"]) for one in logins}
            rows = [{**row, LOGIN: frozen.get(row[KEY], row.get(LOGIN))} for row in rows]
    return Page(rows)


async def _look_for_groups(wire: Any, known: Known, sought: Sought) -> Page:
    sorts = [SORTS[one] for one in known.settings.groups]
    by_key = sought.path in (KEY, "Id")
    rows: list[dict[str, Any]] = []
    edges: list[Edge] = []
    for sort in sorts:
        values = [one for one in sought.values if not by_key or sort_of(one) is sort]
        path = "Id" if by_key else sort.label if sought.path == "Name" else sort.name
        for condition in _conditions(known.attribute(Kind.GROUP, sought.path), path, values):
            where = " AND ".join(one for one in (f"{path} IN {condition}", sort.where) if one)
            records, _ = await all_of(wire, _fields(sort), sort.object, where, f"look for {sort.family}s")
            found = [_group(sort, record) for record in records]
            rows += found
            if sought.path == KEY and found:
                mine, doubt = await edges_of(wire, known, [sort], {row[KEY] for row in found}, condition)
                if doubt:
                    raise SchemaMismatchError(f"{doubt} Nothing was written.")
                edges += mine
    return Page(rows, edges=edges)


def _conditions(attribute: Attribute, path: str, values: Sequence[str]) -> Iterator[str]:
    """Lists of values for ``IN``, each short enough for an address; what cannot be an id is nobody's."""
    usable = [id18(one) for one in values if is_id(one)] if path == "Id" else list(values)
    part: list[str] = []
    size = 0
    for value in (literal(attribute, one) for one in usable):
        if part and size + len(value.encode()) > LONGEST_CONDITION:
            yield f"({', '.join(part)})"
            part, size = [], 0
        part.append(value)
        size += len(value.encode()) + 2
    if part:
        yield f"({', '.join(part)})"


# Refusals


def problem(answer: Answer) -> tuple[str, str, list[str]]:
    """Code, message and fields of the first error; empty where the body is none."""
    if answer.status < 400:
        return "", "", []
    try:
        body = answer.json()
        error = body[0] if isinstance(body, list) else body
        return str(error.get("errorCode", "")), str(error.get("message", "")), list(error.get("fields") or ())
    except (ProvisorError, IndexError, TypeError, AttributeError):
        return "", "", []


def refusal_of(wire: Any, asked: Call, answer: Answer) -> ProvisorError:
    """The error for a read that was refused, with what to do about it."""
    code, message, _ = problem(answer)
    said = f"{code}: {redact(message, length=300)}" if code else f"HTTP {answer.status}"
    if answer.status == 403:
        return CredentialsError(
            f"Salesforce does not let Provisor's user {asked.purpose} ({said}). Give it View Setup and Configuration, "
            "Manage Users and API Enabled in its profile or a permission set."
        )
    if code in ("INVALID_FIELD", "INVALID_TYPE", "MALFORMED_QUERY"):
        return SchemaMismatchError(
            f"Salesforce cannot {asked.purpose} ({said}). Field-level security may hide the field from Provisor's "
            "user, or the org does not have it: give the right, or take it out of the job's mappings and groups."
        )
    return refused(wire, asked, answer, Problem(code, redact(message, length=300)))
