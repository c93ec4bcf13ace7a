"""Questions to Microsoft Graph: lists page after page, many filters in one request, and what a refusal means.

Source: Microsoft Graph, "Paging Microsoft Graph data", "Combine multiple HTTP requests using JSON batching", "Microsoft
Graph error responses and resource types", "Advanced query capabilities on Microsoft Entra ID objects".
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from connectors.errors import (
    CredentialsError,
    ErrorCode,
    ProvisorError,
    RetryableError,
    SchemaMismatchError,
    SettingsError,
)
from connectors.http import Answer, Call
from connectors.kit import Kind, refused
from connectors.rate_limits import retry_after_s

LARGEST_PAGE = 999
BATCHED = 20
"""Requests that one batch may hold."""
BATCH_TRIES = 8
"""Times that refused requests of a batch are sent."""
EVENTUAL = {"ConsistencyLevel": "eventual"}
NOUNS = {Kind.USER: "users", Kind.GROUP: "groups"}

_NEEDED = {
    "administrator roles": "RoleManagement.Read.Directory",
    "deleted users": "User.Read.All",
    "users": "User.Read.All",
    "groups": "GroupMember.Read.All",
    "group's": "GroupMember.Read.All",
    "application": "Application.Read.All",
}
"""By a word of what a request is for: the least application permission that allows it."""


def grant_it(permission: str) -> str:
    """Where to grant an application permission."""
    return (
        f"Grant it the application permission {permission} in the Entra admin center (App registrations > API "
        "permissions), with admin consent."
    )


def problem(answer: Any) -> tuple[str, str, list[dict[str, Any]]]:
    """Code, message and details of an error; empty where the body is none."""
    try:
        error = answer.json()["error"]
        return str(error.get("code", "")), str(error.get("message", "")), list(error.get("details") or ())
    except (ProvisorError, KeyError, TypeError, AttributeError, ValueError):
        return "", "", []


def refusal_of(wire: Any, asked: Call, answer: Answer) -> ProvisorError:
    """The error for a read that was refused; a missing permission by its name."""
    code, message, _ = problem(answer)
    if answer.status == 403:
        needed = next((name for word, name in _NEEDED.items() if word in asked.purpose), "Directory.Read.All")
        return CredentialsError(
            f"Microsoft Graph does not let the app registration {asked.purpose} ({code or 'HTTP 403'}). "
            f"{grant_it(needed)}",
            code=ErrorCode.INSUFFICIENT_RIGHTS,
        )
    if answer.status == 501 or code == "Request_UnsupportedQuery":
        return SchemaMismatchError(f"Microsoft Graph cannot {asked.purpose} with these attributes: {message}")
    if answer.status == 400 and message:
        return SchemaMismatchError(f"Microsoft Graph refused to {asked.purpose} ({code}): {message}")
    return refused(wire, asked, answer)


def below(wire: Any, link: str) -> str:
    """A link without the base address. Raises: SchemaMismatchError where it leads elsewhere, with our token."""
    base = wire.address
    if not link.startswith(base + "/"):
        raise SchemaMismatchError(f"A page of {base} leads to another address; it was not followed.")
    return link[len(base) :]


async def json_of(
    wire: Any, link: str, purpose: str, *, headers: Mapping[str, str] | None = None, missing: bool = False
) -> Any:
    """The JSON that a GET gives; None for 404 where something may be ``missing``. Raises: FatalError and others."""
    asked = Call("GET", link, purpose, headers=headers, known=True)
    answer = await wire.send(asked)
    if answer.status == 404 and missing:
        return None
    if answer.status == 404:
        raise SettingsError(
            f"There is nothing at {wire.address}{link.partition('?')[0]} (HTTP 404). Check cloud and url."
        )
    if answer.status != 200:
        raise refusal_of(wire, asked, answer)
    return answer.json()


async def listed(
    wire: Any, link: str, purpose: str, *, headers: Mapping[str, str] | None = None, missing: bool = False
) -> list[Any] | None:
    """Every entry of a list, page after page; None where what it belongs to is not there, and may be ``missing``.

    A list that breaks off is never given: half of a group's members would look as if the others had left.
    """
    body = await json_of(wire, link, purpose, headers=headers, missing=missing)
    return None if body is None else await rest_of(wire, body, purpose, headers=headers)


async def rest_of(wire: Any, body: Any, purpose: str, *, headers: Mapping[str, str] | None = None) -> list[Any]:
    """A page's entries and those of all pages behind it. The headers are needed again for each."""
    found, seen = list(body["value"]), set[str]()
    while link := body.get("@odata.nextLink"):
        if link in seen:
            raise SchemaMismatchError(f"Microsoft Graph's pages went round in a circle; it was to {purpose}.")
        seen.add(link)
        body = await json_of(wire, below(wire, link), purpose, headers=headers, missing=True)
        if body is None:
            raise RetryableError(f"Microsoft Graph lost a page while trying to {purpose}; the next cycle reads again.")
        found += body["value"]
    return found


async def deleted_users(wire: Any, select: str) -> list[Any]:
    """Users who were deleted less than 30 days ago, with some properties."""
    link = f"/directory/deletedItems/microsoft.graph.user?$select={select}&$top={LARGEST_PAGE}"
    return await listed(wire, link, "read the deleted users") or []


async def count(wire: Any, kind: Kind) -> int:
    """How many there are, by an index that may lag."""
    asked = Call("GET", f"/{NOUNS[kind]}/$count", f"count the {NOUNS[kind]}", headers=EVENTUAL)
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refusal_of(wire, asked, answer)
    return int(answer.body.decode("utf-8-sig"))


class Part:
    """The answer to one request of a batch, with what the connector asks of an answer."""

    def __init__(self, response: Mapping[str, Any]) -> None:
        self.status = int(response["status"])
        self.headers = {str(name).lower(): str(value) for name, value in (response.get("headers") or {}).items()}
        self.body = b"" if response.get("body") is None else orjson.dumps(response["body"])

    def json(self) -> Any:
        """Its body."""
        return orjson.loads(self.body)


async def read_batch(
    wire: Any, links: Sequence[str], purpose: str, *, headers: Mapping[str, str] | None = None
) -> list[Any]:
    """The JSON of several reads in one request; None for 404.

    Those that are put off are sent again, alone, after the longest wait that one of them asks for: a batch is answered
    with 200 whatever became of its parts. Raises: RetryableError, FatalError.
    """
    found: dict[int, Any] = {}
    waiting = dict(enumerate(links))
    for attempt in range(BATCH_TRIES):
        said = {"headers": dict(headers)} if headers else {}
        requests = [{"id": str(number), "method": "GET", "url": link, **said} for number, link in waiting.items()]
        call = Call("POST", "/$batch", purpose, body=orjson.dumps({"requests": requests}))
        answer = await wire.send(call)
        if answer.status != 200:
            raise refusal_of(wire, call, answer)
        waits = [0.0]
        for response in answer.json()["responses"]:
            number, part = int(response["id"]), Part(response)
            if part.status in (429, 503, 504):
                waits.append(retry_after_s(part.headers, now=time.time()) or 2.0**attempt)
                continue
            if part.status not in (200, 404):
                raise refusal_of(wire, call, part)  # type: ignore[arg-type]
            found[number] = part.json() if part.status == 200 else None
            waiting.pop(number, None)
        if not waiting:
            return [found[number] for number in range(len(links))]
        await wire.clock.sleep(max(waits))
    raise RetryableError(f"Microsoft Graph postponed {len(waiting)} of {len(links)} requests to {purpose}.")
