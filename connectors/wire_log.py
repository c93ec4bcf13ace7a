"""The debug log of requests and answers: enough to see what is wrong with a service, and nothing about anybody.

One line a request: method and resource, status, time, sizes, what was sent and answered as bare shapes, how hard the
system is driven. Addresses end before ids and queries, which may be names; of bodies only the names of attributes are
kept, and what messages say about themselves.
"""

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

from connectors.errors import SettingsError
from connectors.wire import Answer, nature

LOGGER = "connectors.http"
"""Name of the logger; level DEBUG, or ``following`` a file, switches it on."""

LONGEST = 1000
"""Characters of one shape."""

_MESSAGE = "urn:ietf:params:scim:api:messages:"
_log = logging.getLogger(LOGGER)


@contextmanager
def following(path: str | None) -> Iterator[None]:
    """Writes the lines of all sessions inside to a file that its owner alone can read; nothing where there is none.

    Raises: SettingsError when the file cannot be written.
    """
    if not path:
        yield
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise SettingsError(f"The log of requests {path} cannot be written: {error.strerror}.") from error
    with open(handle, "a", encoding="utf-8") as file:  # noqa: PTH123 (it is open already)
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        level, propagate = _log.level, _log.propagate
        _log.addHandler(handler)
        _log.setLevel(logging.DEBUG)
        _log.propagate = False
        try:
            yield
        finally:
            _log.removeHandler(handler)
            _log.setLevel(level)
            _log.propagate = propagate


class WireLog:
    """Writes the lines of one session, where somebody wants them."""

    def answer(
        self, method: str, path: str, body: bytes | None, answer: Answer, began: float, throttle: object
    ) -> None:
        """A request was answered. ``began``: by ``time.perf_counter``. ``throttle``: how hard the system is driven."""
        if not _log.isEnabledFor(logging.DEBUG):
            return
        _log.debug(
            "%s %s: %d in %.0f ms, sent %s, got %s, %s",
            method,
            resource(path),
            answer.status,
            1000 * (time.perf_counter() - began),
            _sized(body),
            _sized(answer.body),
            throttle,
        )

    def fault(self, method: str, path: str, body: bytes | None, fault: str, began: float, throttle: object) -> None:
        """No answer came."""
        if _log.isEnabledFor(logging.DEBUG):
            took_ms = 1000 * (time.perf_counter() - began)
            _log.debug(
                "%s %s: %s after %.0f ms, sent %s, %s", method, resource(path), fault, took_ms, _sized(body), throttle
            )

    def repeating(self, method: str, path: str, attempts: int, wait_s: float) -> None:
        """The same is sent again after a while."""
        _log.debug("%s %s: attempt %d follows in %.1f s", method, resource(path), attempts + 1, wait_s)

    def renewing(self, method: str, path: str) -> None:
        """The same is sent again, signed anew."""
        _log.debug("%s %s: not signed in any more, sent again with another token", method, resource(path))


def resource(path: str) -> str:
    """``/Users`` of ``/Users/id``: what a request is about, without whom."""
    return "/".join(path.split("/", 2)[:2])


def _sized(body: bytes | None) -> str:
    return f"{len(body):,} B {shape(body)}" if body else "nothing"


def shape(body: bytes) -> str:
    """What a body is made of: JSON with every value about anybody struck out, lists by their first element."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return nature(body)
    text = orjson.dumps(_bare(found)).decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _bare(value: Any) -> Any:
    match value:
        case dict():
            if _is_message(value):
                return {name: _told(name, held) for name, held in value.items()}
            return {name: held if name == "schemas" else _bare(held) for name, held in value.items()}
        case [first, _, *_]:
            return [_bare(first), f"… {len(value)}"]
        case [one]:
            return [_bare(one)]
        case None | bool():
            return value
        case str() | int() | float():
            return "…"
    return value


def _is_message(document: Mapping[str, Any]) -> bool:
    schemas = document.get("schemas")
    return isinstance(schemas, list) and any(isinstance(one, str) and one.startswith(_MESSAGE) for one in schemas)


def _told(name: str, value: Any) -> Any:
    """What a message says about itself: counts, codes, what is done to which attribute."""
    if name == "Operations" and isinstance(value, list):
        return [_operation(one) if isinstance(one, dict) else "…" for one in value]
    if name == "schemas" or (name != "detail" and isinstance(value, str | int)):
        return value
    return _bare(value)


_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def _operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in operation.items():
        if name == "path" and isinstance(value, str):
            found[name] = resource(value) if value.startswith("/") else _QUOTED.sub('"…"', value)
        elif name in ("op", "method", "status"):
            found[name] = value
        else:
            found[name] = _bare(value)
    return found
