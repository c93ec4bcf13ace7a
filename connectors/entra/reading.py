"""Users, groups and memberships of a tenant: delta queries from the first read on, so that each ends in a watermark.

Source: Microsoft Graph, "Use delta query to track changes", "Get incremental changes for users", "... for groups";
"Paging Microsoft Graph data"; "Advanced query capabilities".
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

from connectors.entra.attributes import flat, selected
from connectors.errors import CredentialsError, ProvisorError, SchemaMismatchError
from connectors.http import Answer, Call
from connectors.kit import KEY, Asked, Edge, Kind, Known, Page, Reread, Row, Sought, refused

FILTERED = 15
"""Values that one ``in`` filter may hold."""
LARGEST_PAGE = 999
READS = 2
"""Times that a whole read is begun where its pages expire before the end."""

_GONE = frozenset({"syncStateNotFound", "resyncRequired", "Directory_ExpiredPageToken"})
_MINE = {Kind.USER: "users", Kind.GROUP: "groups"}
_EVENTUAL = {"ConsistencyLevel": "eventual"}


async def pages(wire: Any, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Everything of one kind, or what has changed. Raises: Reread."""
    if asked.since is not None:
        yield await _Round(wire, known, asked).follow(asked.since)
        return
    before = await count(wire, asked.kind)
    for attempt in range(READS):
        try:
            page = await _Round(wire, known, asked).follow(_start(asked))
            break
        except Reread:
            if attempt + 1 == READS:
                raise SchemaMismatchError(
                    f"The pages of {_MINE[asked.kind]} expired before they could be read, twice. Nothing was written."
                ) from None
    after = await count(wire, asked.kind)
    if len(page.rows) < min(before, after):
        doubt = f"Microsoft Graph counts {min(before, after):,} {_MINE[asked.kind]} and listed {len(page.rows):,}."
        page = Page(page.rows, edges=page.edges, watermark=page.watermark, doubt=doubt)
    yield page


def _start(asked: Asked) -> str:
    relations = ["members"] if asked.kind is Kind.GROUP else ["manager"] if "manager" in asked.paths else []
    return f"/{_MINE[asked.kind]}/delta?$select={','.join([selected(asked.paths), *relations])}"


class _Round:
    """One round of a delta query. The same entry may come several times, the last time counts; a big group always does,
    with other members each time."""

    def __init__(self, wire: Any, known: Known, asked: Asked) -> None:
        self._wire, self._known, self._asked = wire, known, asked
        self._rows: dict[str, dict[str, Any]] = {}
        self._gone: dict[str, None] = {}
        self._edges: dict[tuple[str, str], bool] = {}
        """Memberships, and whether they have begun or ended."""

    async def follow(self, link: str) -> Page:
        """Every page from a link to the round's end. Raises: Reread, SchemaMismatchError."""
        seen: set[str] = set()
        while True:
            if link in seen:
                raise SchemaMismatchError("Microsoft Graph's pages went round in a circle; the read was stopped.")
            seen.add(link)
            body = await self._page(link)
            for entry in body["value"]:
                self._take(entry)
            if "@odata.nextLink" in body:
                link = self._below(body["@odata.nextLink"])
                continue
            if "@odata.deltaLink" not in body:
                return self._whole(None, "The pages ended without a link for the next changes.")
            return self._whole(self._below(body["@odata.deltaLink"]), "")

    async def _page(self, link: str) -> Any:
        asked = Call("GET", link, f"read the {_MINE[self._asked.kind]}")
        answer = await self._wire.send(asked)
        if answer.status == 200:
            return answer.json()
        code, _, _ = problem(answer)
        if answer.status == 410 or code in _GONE:
            raise Reread("Microsoft Graph no longer knows where the last read ended.")
        raise refusal_of(self._wire, asked, answer)

    def _below(self, link: str) -> str:
        """A link without the base address. Raises: SchemaMismatchError where it leads elsewhere, with our token."""
        base = self._wire.address
        if not link.startswith(base + "/"):
            raise SchemaMismatchError(f"A page of {base} leads to another address; it was not followed.")
        return link[len(base) :]

    def _take(self, entry: Any) -> None:
        key = str(entry["id"])
        if "@removed" in entry:  # "changed": soft-deleted, "deleted": for good; nobody can sign in with either
            self._rows.pop(key, None)
            self._gone[key] = None
            return
        self._gone.pop(key, None)
        row = {**self._rows.get(key, {}), KEY: key, **flat(entry, self._asked.paths)}
        for manager in entry.get("manager@delta", ()):
            if "@removed" not in manager:
                row["manager"] = str(manager["id"])
            elif row.get("manager") == str(manager["id"]):
                row["manager"] = None
        self._rows[key] = row
        for member in entry.get("members@delta", ()):
            self._edges[key, str(member["id"])] = "@removed" not in member

    def _whole(self, watermark: str | None, doubt: str) -> Page:
        since = self._asked.since is not None
        begun = [Edge(*edge) for edge, holds in self._edges.items() if holds and edge[0] not in self._gone]
        ended = [Edge(*edge) for edge, holds in self._edges.items() if not holds]
        # A changed user's row has no manager unless the manager has changed, and a changed group's only the members who
        # came or went: both are read whole, since what changes say of an entry replaces what was known of it.
        partial = since and (self._asked.kind is Kind.GROUP or "manager" in self._asked.paths)
        return Page(
            list(self._rows.values()),
            edges=begun,
            gone=list(self._gone) if since else (),
            edges_gone=ended if since else (),
            partial=partial,
            watermark=watermark,
            doubt=doubt,
        )


async def count(wire: Any, kind: Kind) -> int:
    """How many there are, by an index that may lag."""
    asked = Call("GET", f"/{_MINE[kind]}/$count", f"count the {_MINE[kind]}", headers=_EVENTUAL)
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refusal_of(wire, asked, answer)
    return int(answer.body.decode("utf-8-sig"))


async def look(wire: Any, known: Known, sought: Sought) -> Page:
    """Entries by value or key; groups looked for by key come with all their members."""
    path = "id" if sought.path == KEY else sought.path.replace(".", "/")
    values = ",".join(f"'{value.replace(chr(39), chr(39) * 2)}'" for value in sought.values)
    query = f"$filter={quote(f'{path} in ({values})', safe='')}&$select={selected(sought.paths)}&$top={LARGEST_PAGE}"
    if sought.kind is Kind.USER and "manager" in sought.paths:
        query += "&$expand=manager($select=id)"
    headers = None
    if "/" in path:  # parts of complex properties are found by the lagging index alone, which does not expand
        query, headers = f"{query.partition('&$expand')[0]}&$count=true", _EVENTUAL
    found = await _listed(wire, f"/{_MINE[sought.kind]}?{query}", f"look for {_MINE[sought.kind]}", headers)
    rows = [_row(entry, sought.paths) for entry in found]
    edges = []
    if sought.kind is Kind.GROUP and sought.path == KEY:
        for row in rows:
            link = f"/groups/{row[KEY]}/members?$select=id&$top={LARGEST_PAGE}"
            edges += [Edge(row[KEY], str(one["id"])) for one in await _listed(wire, link, "read a group's members")]
    return Page(rows, edges=edges)


def _row(entry: Any, paths: Sequence[str]) -> Row:
    row = {KEY: str(entry["id"]), **flat(entry, paths)}
    if "manager" in paths:
        row["manager"] = str(entry["manager"]["id"]) if entry.get("manager") else None
    return row


async def _listed(wire: Any, link: str, purpose: str, headers: dict[str, str] | None = None) -> list[Any]:
    """Every entry of a list, page after page; the header is needed again for each."""
    found: list[Any] = []
    while link:
        asked = Call("GET", link, purpose, headers=headers)
        answer = await wire.send(asked)
        if answer.status == 404:
            return found
        if answer.status != 200:
            raise refusal_of(wire, asked, answer)
        body = answer.json()
        found += body["value"]
        link = body.get("@odata.nextLink", "")
        if link and not link.startswith(wire.address + "/"):
            raise SchemaMismatchError(f"A page of {wire.address} leads to another address; it was not followed.")
        link = link[len(wire.address) :] if link else ""
    return found


async def assignments(wire: Any, app: str) -> tuple[list[tuple[str, str, str | None]], int]:
    """Who is assigned to an enterprise application: kind, key and role of each; and how many were service principals.

    A role id that the application no longer has, and the id of all zeros, is no role.
    """
    link = f"/servicePrincipals(appId='{quote(app, safe='')}')?$select=id,appRoles"
    asked = Call("GET", link, "read the application", known=True)
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refusal_of(wire, asked, answer)
    principal = answer.json()
    roles = {role["id"]: role.get("value") or role.get("displayName") for role in principal.get("appRoles", ())}
    link = f"/servicePrincipals/{principal['id']}/appRoleAssignedTo?$top={LARGEST_PAGE}"
    kinds = {"User": str(Kind.USER), "Group": str(Kind.GROUP)}
    found = await _listed(wire, link, "read who is assigned to the application")
    rows = [
        (kinds[one["principalType"]], str(one["principalId"]), roles.get(one["appRoleId"]))
        for one in found
        if one["principalType"] in kinds
    ]
    return rows, len(found) - len(rows)


def problem(answer: Answer) -> tuple[str, str, list[dict[str, Any]]]:
    """Code, message and details of an error; empty where the body is none."""
    try:
        error = answer.json()["error"]
        return str(error.get("code", "")), str(error.get("message", "")), list(error.get("details") or ())
    except (ProvisorError, KeyError, TypeError, AttributeError):
        return "", "", []


_NEEDED = {
    "users": "User.Read.All",
    "groups": "GroupMember.Read.All",
    "application": "Application.Read.All",
    "assigned": "Application.Read.All",
}


def refusal_of(wire: Any, asked: Call, answer: Answer) -> ProvisorError:
    """The error for a read that was refused; a missing permission by its name."""
    code, message, _ = problem(answer)
    if answer.status == 403:
        needed = next((name for word, name in _NEEDED.items() if word in asked.purpose), "Directory.Read.All")
        return CredentialsError(
            f"Microsoft Graph does not let the app registration {asked.purpose} ({code or 'HTTP 403'}). Grant it the "
            f"application permission {needed} in the Entra admin center (App registrations > API permissions), with "
            "admin consent."
        )
    if answer.status == 501 or code == "Request_UnsupportedQuery":
        return SchemaMismatchError(f"Microsoft Graph cannot {asked.purpose} with these attributes: {message}")
    return refused(wire, asked, answer)
