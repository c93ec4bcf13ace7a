"""Users, groups and memberships of a tenant: delta queries from the first read on, so that each ends in a watermark.

What a delta says counts; what it leaves out is read by id, from a replica that may lag. So a value or a membership that
the delta names always wins over one that is looked up, and what is not shown yet is waited for, never taken as gone.

Source: Microsoft Graph, "Use delta query to track changes", "Get incremental changes for users", "... for groups",
"List deleted items"; "Designing for eventual consistency for Microsoft Entra".
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from connectors.entra.asking import (
    BATCHED,
    EVENTUAL,
    LARGEST_PAGE,
    NOUNS,
    below,
    count,
    deleted_users,
    json_of,
    listed,
    problem,
    read_batch,
    refusal_of,
    rest_of,
)
from connectors.entra.attributes import flat, selected, shown
from connectors.entra.settings import SoftDeleted
from connectors.errors import RetryableError, SchemaMismatchError
from connectors.http import Call
from connectors.kit import KEY, Asked, Edge, Kind, Known, Page, Reread, Row, Sought

FILTERED = 15
"""Values that one ``in`` filter may hold."""
READS = 2
"""Times that a whole read is begun where its pages expire before the end."""
EMPTY_PAGES = 1_000
"""Pages in a row that bring nothing new: more of them never end."""
LATE_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds to wait before each look for a changed entry that no replica shows yet."""

_GONE = frozenset({"syncStateNotFound", "resyncRequired", "Directory_ExpiredPageToken"})
_MEMBERS = frozenset({"#microsoft.graph.user", "#microsoft.graph.group"})
"""What a member of an app can be: devices, contacts and service principals are no people."""


async def pages(wire: Any, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Everything of one kind, or what has changed. Raises: Reread, RetryableError, FatalError."""
    if asked.since is not None:
        changes = _Round(wire, asked, keeps_deleted=_keeps_deleted(known))
        await changes.follow(asked.since)
        await changes.complete(known)
        yield changes.page()
        return
    before = await count(wire, asked.kind)
    everything = await _everything(wire, known, asked)
    after = await count(wire, asked.kind)
    page = everything.page()
    if len(page.rows) < min(before, after):
        noun = NOUNS[asked.kind]
        doubt = f"Microsoft Graph counts {min(before, after):,} {noun} and listed {len(page.rows):,}."
        page = Page(page.rows, edges=page.edges, watermark=page.watermark, doubt=" ".join((page.doubt, doubt)).strip())
    yield page
    if asked.kind is Kind.USER and _keeps_deleted(known):
        there = {row[KEY] for row in page.rows}
        yield Page([row for row in await _disabled(wire) if row[KEY] not in there], watermark=page.watermark)


async def _everything(wire: Any, known: Known, asked: Asked) -> "_Round":
    """A whole read, begun anew where its pages expire. Raises: SchemaMismatchError where they do each time."""
    for _ in range(READS):
        found = _Round(wire, asked, keeps_deleted=_keeps_deleted(known))
        try:
            await found.follow(_start(asked))
        except Reread:
            continue
        return found
    raise SchemaMismatchError(
        f"The pages of {NOUNS[asked.kind]} expired before they could be read, twice. Nothing was written."
    )


def _keeps_deleted(known: Known) -> bool:
    return getattr(known.settings, "soft_deleted", SoftDeleted.ABSENT) is SoftDeleted.DISABLED


def _start(asked: Asked) -> str:
    relations = ["members"] if asked.kind is Kind.GROUP else ["manager"] if "manager" in asked.paths else []
    return f"/{NOUNS[asked.kind]}/delta?$select={','.join([selected(asked.paths), *relations])}"


class _Round:
    """One round of a delta query. The same entry may come several times, the last time counts; a big group always does,
    with other members each time."""

    def __init__(self, wire: Any, asked: Asked, *, keeps_deleted: bool) -> None:
        self._wire, self._asked, self._keeps_deleted = wire, asked, keeps_deleted
        self._rows: dict[str, dict[str, Any]] = {}
        self._gone: dict[str, None] = {}
        self._disabled: dict[str, None] = {}
        """Soft-deleted users, who can be restored."""
        self._edges: dict[tuple[str, str], bool] = {}
        """Memberships that the delta names, and whether they have begun or ended."""
        self._looked: dict[tuple[str, str], None] = {}
        """Memberships of changed groups, as they were looked up."""
        self._watermark: str | None = None
        self._doubt = ""

    async def follow(self, link: str) -> None:
        """Every page from a link to the round's end. Raises: Reread, SchemaMismatchError."""
        seen, idle = set[str](), 0
        while True:
            if link in seen:
                raise SchemaMismatchError("Microsoft Graph's pages went round in a circle; the read was stopped.")
            if idle > EMPTY_PAGES:
                raise SchemaMismatchError(
                    f"Microsoft Graph gave {idle:,} pages without anything new; the read was stopped. The next one "
                    "begins anew."
                )
            seen.add(link)
            body = await self._page(link)
            before = self._size()
            for entry in body["value"]:
                self._take(entry)
            idle = 0 if self._size() > before else idle + 1
            if "@odata.nextLink" in body:
                link = below(self._wire, body["@odata.nextLink"])
                continue
            if "@odata.deltaLink" in body:
                self._watermark = below(self._wire, body["@odata.deltaLink"])
            else:
                self._doubt = "The last page had no link for the next changes."
            return

    def _size(self) -> int:
        return len(self._rows) + len(self._gone) + len(self._disabled) + len(self._edges)

    async def _page(self, link: str) -> Any:
        asked = Call("GET", link, f"read the {NOUNS[self._asked.kind]}", known=True)
        answer = await self._wire.send(asked)
        if answer.status == 200:
            return answer.json()
        if answer.status == 410 or problem(answer)[0] in _GONE:
            raise Reread("Microsoft Graph no longer knows where the last read ended.")
        raise refusal_of(self._wire, asked, answer)

    def _take(self, entry: Any) -> None:
        key = str(entry["id"])
        for held in (self._gone, self._disabled):
            held.pop(key, None)
        if "@removed" in entry:
            self._rows.pop(key, None)
            soft = entry["@removed"].get("reason") == "changed" and self._asked.kind is Kind.USER
            (self._disabled if soft and self._keeps_deleted else self._gone)[key] = None
            return
        row = self._rows.setdefault(key, {KEY: key})
        row |= shown(entry, self._asked.paths)
        for manager in entry.get("manager@delta", ()):
            if "@removed" not in manager:
                row["manager"] = str(manager["id"])
            elif row.get("manager") in (None, str(manager["id"])):
                row["manager"] = None
        for member in entry.get("members@delta", ()):
            if member.get("@odata.type", "#microsoft.graph.user") in _MEMBERS:
                self._edges[key, str(member["id"])] = "@removed" not in member

    # -- what a read of changes leaves out -----------------------------------------------------------------------------

    async def complete(self, known: Known) -> None:
        """What the changes do not say of changed entries, looked up. Raises: RetryableError where it is not shown."""
        of_groups = self._asked.kind is Kind.GROUP
        whole: set[str] = set()
        for wait_s in LATE_S:
            if wait_s:
                await self._wire.clock.sleep(wait_s)
                if self._watermark is not None:  # those who have gone meanwhile are in the changes since
                    await self.follow(self._watermark)
            wanted = [key for key, row in self._rows.items() if key not in whole and (of_groups or self._lacks(row))]
            if not wanted:
                return
            whole |= await self._look_up(known, wanted)
        missing = sum(key not in whole and (of_groups or self._lacks(row)) for key, row in self._rows.items())
        if missing:
            raise RetryableError(
                f"Microsoft Graph says that {missing:,} {NOUNS[self._asked.kind]} have changed, and does not show "
                f"{'it' if missing == 1 else 'them'} yet. Nothing was written; the next cycle reads the same changes."
            )

    def _lacks(self, row: Mapping[str, Any]) -> bool:
        return any(path not in row for path in self._asked.paths)

    async def _look_up(self, known: Known, keys: Sequence[str]) -> set[str]:
        """Fills in what rows lack; gives the keys that were shown."""
        page = await look(self._wire, known, Sought(self._asked.kind, KEY, tuple(keys), self._asked.paths))
        for row in page.rows:
            key = str(row[KEY])
            self._rows[key] = {**row, **self._rows[key]}
        self._looked |= dict.fromkeys((edge.group, edge.member) for edge in page.edges)
        return {str(row[KEY]) for row in page.rows}

    def page(self) -> Page:
        """What the round has brought."""
        since = self._asked.since is not None
        begun = [edge for edge, holds in self._edges.items() if holds]
        stayed = [edge for edge in self._looked if self._edges.get(edge, True)]
        blank = dict.fromkeys(self._asked.paths)
        return Page(
            [{**blank, **row} for row in self._rows.values()],
            edges=[Edge(*edge) for edge in dict.fromkeys((*begun, *stayed)) if edge[0] in self._rows],
            gone=list(self._gone) if since else (),
            disabled=list(self._disabled) if since else (),
            edges_gone=[Edge(*edge) for edge, holds in self._edges.items() if not holds] if since else (),
            watermark=self._watermark,
            doubt=self._doubt,
        )


async def _disabled(wire: Any) -> list[Row]:
    """Soft-deleted users as entries that are off, and nothing else: what Graph shows of them is no longer theirs."""
    found = await deleted_users(wire, "id")
    return [{KEY: str(one["id"]), "id": str(one["id"]), "accountEnabled": False} for one in found]


# Looking


async def look(wire: Any, known: Known, sought: Sought) -> Page:
    """Entries by value or key; groups looked for by key come with all their members."""
    path = "id" if sought.path == KEY else sought.path.replace(".", "/")
    links = [_filter(sought.kind, sought.paths, path, values) for values in _parts(sought.values, FILTERED)]
    headers = EVENTUAL if "/" in path else None
    noun = NOUNS[sought.kind]
    found = {str(one["id"]): one for one in await _lists(wire, links, f"look for {noun}", headers)}
    rows = {key: _row(entry, sought.paths) for key, entry in found.items()}
    if sought.kind is Kind.USER or sought.path != KEY:
        return Page(list(rows.values()))
    edges: list[Edge] = []
    for key in list(rows):
        link = f"/groups/{quote(key, safe='')}/members?$select=id&$top={LARGEST_PAGE}"
        members = await listed(wire, link, "read a group's members", missing=True)
        if members is None:  # the group has gone meanwhile, or this replica does not know it yet
            del rows[key]
            continue
        edges += [
            Edge(key, str(one["id"])) for one in members if one.get("@odata.type", "#microsoft.graph.user") in _MEMBERS
        ]
    return Page(list(rows.values()), edges=edges)


async def entries_by_id(wire: Any, kind: Kind, keys: Sequence[str], paths: Sequence[str]) -> list[Any]:
    """Entries as Graph shows them, of any number of keys."""
    links = [_filter(kind, paths, "id", some) for some in _parts(keys, FILTERED)]
    return await _lists(wire, links, f"look for {NOUNS[kind]}", None)


def _filter(kind: Kind, paths: Sequence[str], path: str, values: Iterable[str]) -> str:
    """The address of a list of those who have one of the values."""
    quoted = ",".join(f"'{value.replace(chr(39), chr(39) * 2)}'" for value in values)
    query = f"$filter={quote(f'{path} in ({quoted})', safe='')}&$select={selected(paths)}&$top={LARGEST_PAGE}"
    if "/" in path:  # parts of complex properties are found by the lagging index alone, which does not expand
        query += "&$count=true"
    elif kind is Kind.USER and "manager" in paths:
        query += "&$expand=manager($select=id)"
    return f"/{NOUNS[kind]}?{query}"


async def _lists(wire: Any, links: Sequence[str], purpose: str, headers: Mapping[str, str] | None) -> list[Any]:
    """The entries of several lists: of one alone, of more in batches."""
    if len(links) == 1:
        return await rest_of(wire, await json_of(wire, links[0], purpose, headers=headers), purpose, headers=headers)
    found: list[Any] = []
    for some in _parts(links, BATCHED):
        for body in await read_batch(wire, some, purpose, headers=headers):
            if body is None:
                raise SchemaMismatchError(f"Microsoft Graph has no such list, while trying to {purpose}.")
            found += await rest_of(wire, body, purpose, headers=headers)
    return found


def _parts(values: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _row(entry: Any, paths: Sequence[str]) -> Row:
    row = {KEY: str(entry["id"]), **flat(entry, paths)}
    if "manager" in paths:
        row["manager"] = str(entry["manager"]["id"]) if entry.get("manager") else None
    return row
