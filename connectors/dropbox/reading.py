"""Members, groups and memberships of a team, with proof that nobody is missing.

There is no listing of changes: each cycle lists everybody, and counts them against the seats that Dropbox says are
taken. A cursor that ends half-way means a listing from the start. Removed members are listed too, and left out.

Source: dropbox/dropbox-api-spec, team.stone (members/list_v2, members/get_info_v2, groups/list, groups/get_info).
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from connectors.dropbox.answers import problem, refusal_of
from connectors.dropbox.attributes import (
    EXTERNAL_ID,
    can_be,
    edges_of_member,
    group_row,
    is_seen,
    member_row,
    status_of,
)
from connectors.errors import SchemaMismatchError
from connectors.kit import KEY, Asked, Edge, Kind, Known, Page, Row, Sought, call

PAGE = 1000
"""Members, groups or memberships in one page."""
LOOK = 100
"""Entries that are looked for in one call; Dropbox publishes no maximum."""
RESTARTS = 3
"""Times that one listing is begun anew."""


async def ask(wire: Any, route: str, arguments: Any, purpose: str) -> Any:
    """What a route that only reads answers. Raises: CredentialsError, SchemaMismatchError and others."""
    asked = call("POST", f"/{route}", purpose, arguments)
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refusal_of(wire, asked, answer)
    return answer.json()


# Listings


async def pages(wire: Any, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Everything of one kind. Memberships come with the members, and are told with the groups."""
    async for page in _members(wire) if asked.kind is Kind.USER else _groups(wire, known):
        yield page


async def _listed(wire: Any, route: str, arguments: Mapping[str, Any], purpose: str) -> AsyncIterator[Any]:
    """Pages of a listing; None where it begins anew. Raises: SchemaMismatchError."""
    restarts, first = 0, f"{route}_v2" if route == "members/list" else route
    body = await ask(wire, first, arguments, purpose)
    yield body
    while body["has_more"]:
        further = first.replace("list", "list/continue", 1)
        asked = call("POST", f"/{further}", purpose, {"cursor": body["cursor"]})
        answer = await wire.send(asked)
        if problem(answer).tag == "invalid_cursor":
            restarts += 1
            if restarts > RESTARTS:
                raise SchemaMismatchError(
                    f"Dropbox ended the listing {restarts} times before it could {purpose}. Nothing was written."
                )
            yield None
            body = await ask(wire, first, arguments, purpose)
        elif answer.status != 200:
            raise refusal_of(wire, asked, answer)
        else:
            body = answer.json()
        yield body


async def _members(wire: Any) -> AsyncIterator[Page]:
    taken = await seats_taken(wire)
    seen: set[str] = set()
    counted: set[str] = set()
    wire.edges = []
    arguments = {"limit": PAGE, "include_removed": True}
    async for body in _listed(wire, "members/list", arguments, "list the members"):
        if body is None:
            yield Page(gone=sorted(seen))
            wire.edges = []
            seen.clear()
            counted.clear()
            continue
        here = [one for one in body["members"] if status_of(one) != "removed"]
        wire.edges += [edge for one in here for edge in edges_of_member(one)]
        seen |= {one["profile"]["team_member_id"] for one in here}
        counted |= {one["profile"]["team_member_id"] for one in here if status_of(one) in ("active", "invited")}
        more, doubt = body["cursor"] if body["has_more"] else None, ""
        if more is None and len(counted) < taken:
            taken = await seats_taken(wire)  # somebody may have left meanwhile
            if len(counted) < taken:
                doubt = f"Dropbox counts {taken:,} active and invited members, and listed {len(counted):,}."
        yield Page([member_row(one) for one in here], next=more, doubt=doubt)


async def seats_taken(wire: Any) -> int:
    """Members who are active or invited, as the team counts them."""
    return int((await ask(wire, "get_info", None, "read the team's seats"))["num_provisioned_users"])


async def _groups(wire: Any, known: Known) -> AsyncIterator[Page]:
    keys: set[str] = set()
    async for body in _listed(wire, "groups/list", {"limit": PAGE}, "list the groups"):
        if body is None:
            yield Page(gone=sorted(keys))
            keys.clear()
            continue
        found = [one for one in body["groups"] if is_seen(known, one)]
        keys |= {one["group_id"] for one in found}
        yield Page([group_row(one) for one in found], next=body["cursor"] if body["has_more"] else None)
    yield Page(edges=[edge for edge in wire.edges if edge.group in keys])


# Looks


async def look(wire: Any, known: Known, sought: Sought) -> Page:
    """Entries by value or key; groups come with all their members."""
    if sought.kind is Kind.GROUP:
        return await _look_for_groups(wire, known, sought)
    if sought.path not in (KEY, "team_member_id", "email", EXTERNAL_ID):
        return await _sifted(pages(wire, known, Asked(Kind.USER, sought.paths)), known, sought)
    tag = "team_member_id" if sought.path == KEY else sought.path
    found = await members_by(wire, [(tag, value) for value in sought.values])
    return Page([member_row(one) for one in found if status_of(one) != "removed"])


async def members_by(wire: Any, wanted: Sequence[tuple[str, str]]) -> list[Mapping[str, Any]]:
    """Members, removed ones too, by kind of value and value. What no member can have would fail the whole call."""
    selectors = [{".tag": tag, tag: value} for tag, value in wanted if can_be(tag, value)]
    if not selectors:
        return []
    body = await ask(wire, "members/get_info_v2", {"members": selectors}, "look for members")
    return [one for one in body["members_info"] if one[".tag"] == "member_info"]


async def _sifted(listing: AsyncIterator[Page], known: Known, sought: Sought) -> Page:
    """Entries of a whole listing that have one of the values."""
    same = known.attribute(sought.kind, sought.path).exact
    wanted = {value if same else value.casefold() for value in sought.values}
    rows: dict[str, Row] = {}
    doubt = ""
    async for page in listing:
        for key in page.gone:
            rows.pop(key, None)
        rows |= {row[KEY]: row for row in page.rows if _folded(row.get(sought.path), same) in wanted}
        doubt = doubt or page.doubt
    return Page(list(rows.values()), doubt=doubt)


def _folded(value: Any, same: bool) -> str | None:
    return None if value is None else str(value) if same else str(value).casefold()


async def _look_for_groups(wire: Any, known: Known, sought: Sought) -> Page:
    if sought.path not in (KEY, "group_id", "group_external_id"):
        wire.edges = []
        return await _sifted(_groups(wire, known), known, sought)
    tag = "group_external_ids" if sought.path == "group_external_id" else "group_ids"
    found = await ask(wire, "groups/get_info", {".tag": tag, tag: list(sought.values)}, "look for groups")
    groups = [one for one in found if one[".tag"] == "group_info" and is_seen(known, one)]
    edges: list[Edge] = []
    for group in groups if sought.path == KEY else ():
        edges += await _members_of(wire, group)
    return Page([group_row(one) for one in groups], edges=edges)


async def _members_of(wire: Any, group: Mapping[str, Any]) -> list[Edge]:
    """All members of a group: those that came with it, or page by page where these are not all."""
    key, members = group["group_id"], list(group.get("members") or ())
    if len(members) < int(group.get("member_count") or 0):
        members = []
        arguments = {"group": {".tag": "group_id", "group_id": key}, "limit": PAGE}
        async for body in _listed(wire, "groups/members/list", arguments, "list the members of a group"):
            members = [] if body is None else members + body["members"]
    return [Edge(key, one["profile"]["team_member_id"]) for one in members]
