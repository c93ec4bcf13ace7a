"""Requests to the OpenID Connect provider: so many at once, so long, and so much; what it sends is not trusted."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx

TAKES_AT_MOST_S, BYTES_AT_MOST = 20, 1_000_000
"""Of all requests of one step of a sign-in together, and of each answer."""
_AT_ONCE = 6
"""Steps under way: each holds a thread of the pages."""
_TIMEOUT_S = 10
_STEPS = threading.BoundedSemaphore(_AT_ONCE)


class ProviderBusyError(httpx.TransportError):
    """Too many sign-ins wait for the provider at this moment."""


@contextmanager
def talking_to_provider() -> Iterator[httpx.Client]:
    """A client for one step of a sign-in. Raises: httpx.HTTPError."""
    if not _STEPS.acquire(blocking=False):
        raise ProviderBusyError("too many sign-ins wait for the provider")
    try:
        with httpx.Client(
            transport=_Measured(time.monotonic() + TAKES_AT_MOST_S),
            timeout=_TIMEOUT_S,
            headers={"Accept-Encoding": "identity"},
        ) as client:
            yield client
    finally:
        _STEPS.release()


@cache
def _trusted() -> ssl.SSLContext:
    """Made once: that takes longer than a request."""
    return httpx.create_ssl_context()


class _Measured(httpx.HTTPTransport):
    """Reads answers itself, and stops where one is too large or comes too slowly."""

    def __init__(self, until: float) -> None:
        super().__init__(verify=_trusted())
        self._until = until

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The whole answer. Raises: httpx.HTTPError."""
        answer = super().handle_request(request)
        body = bytearray()
        try:
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise httpx.DecodingError("an answer that is packed was not asked for", request=request)
            assert isinstance(answer.stream, httpx.SyncByteStream)
            for some in answer.stream:
                body += some
                if len(body) > BYTES_AT_MOST:
                    raise httpx.ReadError("an answer is too large", request=request)
                if time.monotonic() > self._until:
                    raise httpx.ReadTimeout("an answer comes too slowly", request=request)
        finally:
            answer.close()
        headers = [(name, value) for name, value in answer.headers.raw if name.lower() != b"transfer-encoding"]
        return httpx.Response(answer.status_code, headers=headers, content=bytes(body), request=request)


def document_of(answer: httpx.Response) -> dict[str, Any]:
    """What an answer says. Raises: httpx.HTTPError; ValueError where it is no JSON object."""
    try:
        found = answer.raise_for_status().json()
    except RecursionError:
        raise ValueError("the answer is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("the answer is no JSON object")
    return found
