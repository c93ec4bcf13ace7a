"""What goes in and out: requests as they were read, responses as they are sent, and refusals.

Source: RFC 7644 section 3.12 (error responses).
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote, unquote_plus

import orjson

SCIM_JSON = b"application/scim+json"
LIST_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"

REASONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


def _start(version: bytes, status: int) -> bytes:
    return b"HTTP/%b %d %b\r\n" % (version, status, REASONS.get(status, "Unknown").encode())


_START = {(b"1.1", status): _start(b"1.1", status) for status in REASONS}


class Request:
    """One request. Header names are lower-case bytes."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path", "query")

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes,
        *,
        keep_alive: bool = True,
    ) -> None:
        self.method = method
        path, _, query = target.partition(b"?")
        self.path = path.decode("latin-1")
        """The path as sent, still percent-encoded."""
        self.query = query.decode("latin-1")
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive

    def parameters(self) -> dict[str, str]:
        """The query's parameters, names in lower case."""
        found = {}
        for part in self.query.split("&") if self.query else ():
            name, _, value = part.partition("=")
            found[unquote_plus(name).lower()] = unquote_plus(value)
        return found

    def segments(self, prefix: str) -> list[str] | None:
        """The parts of the path below the prefix, decoded; None when it does not lie below it."""
        if not self.path.startswith(prefix):
            return None
        rest = self.path[len(prefix) :]
        parts = rest.strip("/").split("/") if rest.strip("/") else []
        return [unquote(part) for part in parts] if "%" in rest else parts


@dataclass(slots=True)
class Response:
    """One response."""

    status: int
    body: bytes = b""
    content_type: bytes = SCIM_JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def serialise(self, *, version: bytes = b"1.1", close: bool = False) -> bytes:
        """The bytes to send."""
        lines = [_START.get((version, self.status)) or _start(version, self.status)]
        if self.body or self.status not in (204, 304):
            lines.append(b"Content-Type: %b\r\nContent-Length: %d\r\n" % (self.content_type, len(self.body)))
        lines.extend(b"%b: %b\r\n" % pair for pair in self.headers)
        if close:
            lines.append(b"Connection: close\r\n")
        lines.append(b"\r\n")
        lines.append(self.body)
        return b"".join(lines)


@dataclass(slots=True)
class ScimError(Exception):
    """A refusal as SCIM says it."""

    status: int
    detail: str
    scim_type: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    def response(self) -> Response:
        """The refusal as a response."""
        document: dict[str, Any] = {"schemas": [ERROR], "status": str(self.status), "detail": self.detail}
        if self.scim_type is not None:
            document["scimType"] = self.scim_type
        return Response(self.status, orjson.dumps(document), headers=self.headers)


def html(status: int, text: str) -> Response:
    """A page for people, as proxies and careless frameworks send it."""
    page = f"<!DOCTYPE html><html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>"
    return Response(status, page.encode(), b"text/html; charset=utf-8")


class Logged(NamedTuple):
    """One request as the log keeps it."""

    method: str
    path: str
    """Path below the prefix, with its query."""
    status: int
    """0 where no answer was sent."""
    time_s: float
    """Seconds since the service started, when the answer was sent."""
    digest: str
    """Of the body; empty where there was none."""
    body: bytes
    """Empty unless the log is kept in full."""
    headers: dict[str, str]
    """Lower-case names; empty unless the log is kept in full."""
    effects: tuple[tuple[str, str], ...] = ()
    """What it changed, whatever was answered: ``created``, ``changed`` or ``deleted``, and the resource's id."""

    def json(self) -> Any:
        """The body, read as JSON."""
        return orjson.loads(self.body)
