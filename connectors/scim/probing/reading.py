"""What can be found out without writing anything: discovery, lists, filters."""

import uuid
from typing import Any

from connectors.contract import Kind
from connectors.scim.listing import Page
from connectors.scim.paths import quoted
from connectors.scim.probing.asking import Asker, Notes, body_of, said, succeeded
from connectors.scim.profile import EmailFilter, Paging
from connectors.scim.requests import dump, search_request
from connectors.scim.schema import ENDPOINTS

USERS = ENDPOINTS[Kind.USER]
LARGE = 1000
"""Entries asked for to find out how many a page may have."""


async def ask_what_it_says(asker: Asker, notes: Notes) -> None:
    """The three discovery endpoints, and what the service claims there."""
    for path in ("/ServiceProviderConfig", "/ResourceTypes", "/Schemas"):
        answer = await asker.send("GET", path)
        notes.note("discovery", path, "served" if succeeded(answer) and body_of(answer) else said(answer))
        if path == "/ServiceProviderConfig":
            config = body_of(answer)
            for claim in ("patch", "bulk", "filter", "sort", "etag"):
                held = config.get(claim)
                if isinstance(held, dict):
                    notes.note("discovery", f"says it supports {claim}", "yes" if held.get("supported") else "no")
    kinds = await asker.service.resource_types()
    if kinds and Kind.GROUP not in kinds:
        notes.settings["groups"] = False
    answer = await asker.send("GET", USERS, params={"count": 1, "startIndex": 1})
    if not isinstance(answer, str):
        limits = [name for name in answer.headers if "ratelimit" in name.lower().replace("-", "")]
        notes.note("limits", "rate limit headers", ", ".join(sorted(limits)) or "none")


async def ask_about_lists(asker: Asker, notes: Notes) -> list[dict[str, Any]]:
    """Paging; gives the users of the first page."""
    first = await asker.page(USERS, startIndex=1, count=LARGE)
    if isinstance(first, str):
        notes.note("lists", f"{LARGE} entries on a page", first)
        first = await asker.page(USERS, startIndex=1, count=100)
        if isinstance(first, str):
            notes.note("lists", "100 entries on a page", first)
            return await _ask_without_count(asker, notes)
        notes.settings["page_size"] = 100
    given = len(first.entries)
    total = "not said" if first.total is None else str(first.total)
    notes.note("lists", "totalResults", total)
    notes.note("lists", f"of {LARGE} entries asked for", f"{given} came")
    if first.total is not None and given < first.total:
        notes.settings["page_size"] = given
    await _ask_for_second_page(asker, notes, first)
    await _ask_for_cursor(asker, notes)
    if first.total is not None:
        past = await asker.page(USERS, startIndex=first.total + 1, count=1)
        empty = isinstance(past, Page) and not past.entries
        notes.note("lists", "a page past the end", "empty" if empty else past if isinstance(past, str) else "not empty")
    return [entry for entry in first.entries if isinstance(entry, dict)]


async def _ask_without_count(asker: Asker, notes: Notes) -> list[dict[str, Any]]:
    page = await asker.page(USERS)
    notes.note("lists", "without paging parameters", page if isinstance(page, str) else f"{len(page.entries)} came")
    if isinstance(page, str):
        return []
    await _ask_for_cursor(asker, notes)
    if "paging" not in notes.settings:
        notes.settings["count"] = False
    return [entry for entry in page.entries if isinstance(entry, dict)]


async def _ask_for_second_page(asker: Asker, notes: Notes, first: Page) -> None:
    if len(first.entries) < 2:
        notes.note("lists", "startIndex and count", "cannot be told: there are fewer than two users")
        return
    second = await asker.page(USERS, startIndex=2, count=1)
    if isinstance(second, str):
        notes.note("lists", "startIndex and count", second)
    elif second.ids == first.ids[1:2]:
        notes.note("lists", "startIndex and count", "honoured")
    else:
        notes.note("lists", "startIndex and count", "ignored")
        body = dump(search_request({"startIndex": 2, "count": 1}))
        found = body_of(await asker.send("POST", f"{USERS}/.search", body=body)).get("Resources")
        ids = [entry.get("id") for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
        honoured = ids == first.ids[1:2]
        notes.note("lists", "the same in a search by POST", "honoured" if honoured else "ignored, or not supported")
        if honoured:
            notes.settings["paging"] = Paging.SEARCH


async def _ask_for_cursor(asker: Asker, notes: Notes) -> None:
    answer = await asker.send("GET", USERS, params={"cursor": "", "count": 1})
    if not succeeded(answer):
        notes.note("lists", "paging by cursor", said(answer))
        return
    honoured = isinstance(body_of(answer).get("nextCursor"), str)
    notes.note("lists", "paging by cursor", "honoured" if honoured else "ignored, or all on one page")
    by_index = await asker.send("GET", USERS, params={"startIndex": 1, "count": 1})
    if honoured and not succeeded(by_index):
        notes.settings["paging"] = Paging.CURSOR


async def ask_about_filters(asker: Asker, notes: Notes, users: list[dict[str, Any]]) -> None:
    """Which filters are understood, tried on users that are there."""
    nobody = await asker.page(USERS, filter=f"userName eq {quoted(str(uuid.uuid4()))}")
    if isinstance(nobody, str) or nobody.entries:
        answer = nobody if isinstance(nobody, str) else "ignored: others came"
        notes.note("filters", "userName eq", answer)
        notes.settings["filters"] = {"supported": False}
        return
    named = [user for user in users if isinstance(user.get("userName"), str) and user.get("id")]
    if not named:
        notes.note("filters", "userName eq", "nobody is found; there is no user to look for")
        return
    user = named[0]
    name = user["userName"]
    found = await _finds(asker, f"userName eq {quoted(name)}", user)
    notes.note("filters", "userName eq", found)
    if found != _FOUND:
        notes.settings["filters"] = {"supported": False}
        return
    if name.swapcase() != name:
        other_case = f"userName eq {quoted(name.swapcase())}"
        notes.note("filters", "userName eq in another case", await _finds(asker, other_case, user))
    both = f"id eq {quoted(user['id'])} and userName eq {quoted(name)}"
    notes.note("filters", "id eq and userName eq", await _finds(asker, both, user))
    wrong = await asker.page(USERS, filter=f'userName eq {quoted(name)} and userName eq "{uuid.uuid4()}"')
    dropped = wrong if isinstance(wrong, str) else "a clause was dropped" if wrong.entries else "nobody"
    notes.note("filters", "and with a clause that is false", dropped)
    await ask_about_external_ids(asker, notes, users)
    await _ask_about_addresses(asker, notes, named)
    moment = (user.get("meta") or {}).get("lastModified") if isinstance(user.get("meta"), dict) else None
    if isinstance(moment, str):
        notes.note(
            "filters", "meta.lastModified ge", await _finds(asker, f"meta.lastModified ge {quoted(moment)}", user)
        )


async def ask_about_external_ids(asker: Asker, notes: Notes, users: list[dict[str, Any]]) -> None:
    """Whether a user is found by the id that we gave it, where one of them has such an id. Raises: FatalError."""
    for user in users:
        if isinstance(value := user.get("externalId"), str) and value:
            found = await _finds(asker, f"externalId eq {quoted(value)}", user)
            notes.note("filters", "externalId eq", found)
            if found != _FOUND:
                notes.settings.setdefault("filters", {})["blind"] = ("externalId",)
            return


async def _ask_about_addresses(asker: Asker, notes: Notes, users: list[dict[str, Any]]) -> None:
    for user in users:
        for email in user.get("emails") or ():
            if not isinstance(email, dict) or not isinstance(email.get("value"), str) or not email.get("type"):
                continue
            value, kind = quoted(email["value"]), quoted(email["type"])
            by_path = await _finds(asker, f"emails[type eq {kind} and value eq {value}]", user)
            dotted = await _finds(asker, f"emails.value eq {value}", user)
            notes.note("filters", "emails[type eq ... and value eq ...]", by_path)
            notes.note("filters", "emails.value eq", dotted)
            form = {
                (True, True): EmailFilter.BOTH,
                (True, False): EmailFilter.VALUE_PATH,
                (False, True): EmailFilter.DOTTED,
                (False, False): EmailFilter.NONE,
            }[by_path == _FOUND, dotted == _FOUND]
            if form is not EmailFilter.BOTH:
                notes.settings.setdefault("filters", {})["emails"] = form
            return
    notes.note("filters", "on addresses", "cannot be told: no user has one with a type")


_FOUND = "found"


async def _finds(asker: Asker, expression: str, user: dict[str, Any]) -> str:
    page = await asker.page(USERS, filter=expression)
    if isinstance(page, str):
        return page
    if user["id"] in page.ids:
        return _FOUND
    return "others are found" if page.entries else "not found"
