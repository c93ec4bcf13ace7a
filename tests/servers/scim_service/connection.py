"""HTTP as the service speaks it: connections that read requests, and the engine that deals with each.

Answers leave a connection in the order of its requests; a request that waits holds up those pipelined behind it, on
this connection alone.
"""

import asyncio
import socket
import struct
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import httptools
import orjson

from tests.servers.scim_service.answers import Logged, Request, Response, ScimError, html
from tests.servers.scim_service.application import Application
from tests.servers.scim_service.faults import Commit, End, Fault, FaultKind, Faults, Verdict

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
COST_PER_ENTRY_S = 0.001
"""What an entry on a page costs where it costs something."""
REQUESTS_AT_A_TIME = 20
"""Every so many requests one is too many, where there is a limit."""
IN_FLIGHT = 4
"""Requests at a time that a service with a limit bears."""
CONTROL = "/_control"
LARGE = 1 << 18
"""Bytes above which answers do not wait for others."""


class Engine:
    """Takes requests from connections, counts and logs them, lets faults strike, and has them answered."""

    def __init__(self, application: Application, faults: Faults, *, log: str) -> None:
        self.application = application
        self.faults = faults
        self.log_level = log
        """full (with bodies and headers), digest, or off."""
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        """Answers by status; 0 counts requests that got none."""
        self.log: list[Logged] = []
        self.failures: list[str] = []
        """Tracebacks of the service's own mistakes."""
        self.in_flight = 0
        self.most_in_flight = 0
        self.writing: Counter[str] = Counter()
        self.overlap_s = 0.02
        """How long a write takes where writes may overlap."""
        self.connections: set[Connection] = set()
        self.connections_made = 0
        self.started = time.monotonic()
        self.control: Callable[[Request], Response]
        self.instead: Callable[[Request, Callable[[Request], Response]], Response] | None = None
        """What a test has answered in the place of the application, which it may ask."""
        self.loop: asyncio.AbstractEventLoop

    def serve(self, connection: "Connection", request: Request) -> None:
        """Deal with one request; the connection is told when it has been dealt with."""
        if request.path.startswith(CONTROL):
            connection.finish(self.control(request), request)
            return
        self.faults.requests += 1
        path = self._count(request)
        self.in_flight += 1
        if self.in_flight > self.most_in_flight:
            self.most_in_flight = self.in_flight
        verdict = _NOTHING
        if self.faults.active:
            verdict = self.faults.judge(request, path, self.in_flight)
        if self.application.quirks.slow:
            verdict = self._slow(request, path, verdict)
        if verdict.delay_s > 0:
            self.loop.call_later(verdict.delay_s, self._carry_out, connection, request, path, verdict)
        else:
            self._carry_out(connection, request, path, verdict)

    def drop_connections(self) -> None:
        """Break off every connection there is."""
        for connection in list(self.connections):
            connection.reset()

    def reset_counts(self) -> None:
        """Forget requests, statuses and log."""
        self.requests = Counter()
        self.statuses = Counter()
        self.log = []
        self.most_in_flight = self.in_flight
        self.connections_made = 0

    def _count(self, request: Request) -> str:
        """Count the request; gives its path below the prefix."""
        prefix = self.application.prefix
        path = request.path[len(prefix) :] if request.path.startswith(prefix) else request.path
        end = path.find("/", 1)
        self.requests[f"{request.method} {path if end < 0 else path[:end]}"] += 1
        return path

    def _carry_out(self, connection: "Connection", request: Request, path: str, verdict: Verdict) -> None:
        fault = verdict.ending
        response = verdict.response
        self.application.effects.clear()
        committed = fault is None or fault.commit is Commit.AFTER or fault.kind is FaultKind.TRUNCATED
        if committed:
            done = self._answer(request)
            response = response or done
        if verdict.delay_s and self.writing:
            self._written(request, path)
        self.in_flight -= 1
        if response is not None and verdict.headers:
            response.headers += verdict.headers
        answered = response is not None and verdict.end in (None, End.TRUNCATED)
        status = response.status if answered and response is not None else 0
        self.statuses[status] += 1
        if self.log_level != "off":
            self._log(request, path, status)
        if verdict.end is End.HANG:
            if fault is not None and fault.seconds is not None:
                self.loop.call_later(fault.seconds, connection.close)
        elif verdict.end is End.RESET:
            connection.reset()
        elif response is not None:
            connection.finish(response, request, truncated=verdict.end is End.TRUNCATED)

    def _answer(self, request: Request) -> Response:
        try:
            if self.instead is not None:
                return self.instead(request, self.application.answer)
            return self.application.answer(request)
        except Exception:
            # a mistake of this service must not look like a fault that was asked for
            self.failures.append(traceback.format_exc())
            return html(500, "The test service itself failed")

    def _log(self, request: Request, path: str, status: int) -> None:
        full = self.log_level == "full"
        self.log.append(
            Logged(
                request.method,
                f"{path}?{request.query}" if request.query else path,
                status,
                time.monotonic() - self.started,
                blake2b(request.body, digest_size=8).hexdigest() if request.body else "",
                request.body if full else b"",
                {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers.items()}
                if full
                else {},
                tuple(self.application.effects),
            )
        )

    # -- quirks that take time -------------------------------------------------------------------------------------

    def _slow(self, request: Request, path: str, verdict: Verdict) -> Verdict:
        quirks = self.application.quirks
        slowed = Verdict(verdict.delay_s, verdict.ending, verdict.response, verdict.end, verdict.headers)
        if request.method == "GET" and quirks["list_cost"] != "nothing" and path.strip("/") in {"Users", "Groups"}:
            shelf = self.application.store.shelf(path.strip("/"))
            count = request.parameters().get("count", "")
            size = int(count) if count.isdigit() else self.application.default_page_size
            slowed.delay_s += COST_PER_ENTRY_S * min(size, self.application.max_page_size, len(shelf.order))
        if quirks["rate_limit"] != "none":
            self._limit_rate(slowed)
        rule = quirks["overlapping_creates"]
        if request.method in WRITES and rule != "in_turn":
            key = self._subject(request, path)
            if self.writing[key] if rule == "equal_ones_error_500" else self.writing.total():
                slowed.response = html(500, "Internal Server Error")
                slowed.ending = _OVERLAP
                slowed.delay_s = 0.0
            else:
                self.writing[key] += 1
                slowed.delay_s += self.overlap_s
        return slowed

    def _limit_rate(self, verdict: Verdict) -> None:
        """Refuse every twentieth request, or reset those above four in flight."""
        if self.application.quirks["rate_limit"] == "resets_above_four":
            verdict.delay_s += self.overlap_s
            if self.in_flight > IN_FLIGHT:
                verdict.ending, verdict.end, verdict.delay_s = _OVERLAP, End.RESET, 0.0
        elif self.requests.total() % REQUESTS_AT_A_TIME == 0:
            forbidden = self.application.quirks["rate_limit"] == "forbidden_403"
            headers = ((b"Retry-After", b"1" if forbidden else b"60"),)
            error = ScimError(403 if forbidden else 429, "Too many requests", headers=headers)
            verdict.ending, verdict.response = _OVERLAP, error.response()

    def _written(self, request: Request, path: str) -> None:
        key = self._subject(request, path)
        if request.method in WRITES and self.writing[key] > 0:
            self.writing[key] -= 1
            if not self.writing[key]:
                del self.writing[key]

    def _subject(self, request: Request, path: str) -> str:
        """What a write is about: two that overlap are equal when this is."""
        if request.method != "POST":
            return path
        try:
            document = orjson.loads(request.body)
        except orjson.JSONDecodeError:
            return path
        name: Any = document.get("userName", document.get("displayName")) if isinstance(document, dict) else None
        return f"{path} {name}"


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.waiting: deque[Request] = deque()
        self.busy = False
        """True while a request waits for its answer."""
        self.answers = 0
        self.gone = False
        self.full = False
        """True while the client does not read what it is sent."""
        self.advancing = False
        self.out: list[bytes] = []
        """Answers to requests that came together; they leave together, which saves most of what sending costs."""
        self.out_size = 0

    # -- what asyncio calls ----------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.engine.connections.add(self)
        self.engine.connections_made += 1
        self.parser: Any = httptools.HttpRequestParser(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.out.clear()
        self.waiting.clear()
        self.engine.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            if not self.gone:
                self.transport.write(html(400, "Bad Request").serialise(close=True))
                self.close()
        else:
            self.advance()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.advance()

    # -- what the parser calls -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self.headers.get(b"expect", b"").lower() == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        pieces = self.pieces
        self.waiting.append(
            Request(
                self.parser.get_method().decode("latin-1"),
                self.target,
                self.headers,
                pieces[0] if len(pieces) == 1 else b"".join(pieces),
                keep_alive=self.parser.should_keep_alive(),
            )
        )

    # -- what the engine calls -------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Deal with the requests that wait, as far as possible."""
        if self.advancing:
            return
        self.advancing = True
        try:
            while self.waiting and not self.busy and not self.full and not self.gone:
                self.busy = True
                try:
                    self.engine.serve(self, self.waiting.popleft())
                except Exception:
                    self.engine.failures.append(traceback.format_exc())
                    self.drop()
        finally:
            self.advancing = False
            self.flush()

    def finish(self, response: Response, request: Request, *, truncated: bool = False) -> None:
        """Send an answer; the next request's turn has come."""
        self.busy = False
        if self.gone:
            return
        self.answers += 1
        old = self.engine.application.quirks["http"] == "http_1_0"
        closing = self.engine.faults.closes(self.answers) if self.engine.faults.active else None
        last = old or truncated or closing is not None or not request.keep_alive
        said = (closing is not None and closing.announced) or not request.keep_alive
        data = response.serialise(version=b"1.0") if old else response.serialise(close=said)
        if truncated:
            data = data[: len(data) - max(1, len(response.body) // 2)]
        self.out.append(data)
        self.out_size += len(data)
        if last:
            self.close()
        elif not self.advancing:
            self.advance()
        elif self.out_size > LARGE:
            self.flush()

    def flush(self) -> None:
        """Send the answers that are ready."""
        if self.out:
            self.transport.write(self.out[0] if len(self.out) == 1 else b"".join(self.out))
            self.out.clear()
            self.out_size = 0

    def close(self) -> None:
        """Close the connection once everything has been sent."""
        self.flush()
        self.gone = True
        self.transport.close()

    def drop(self) -> None:
        """Close the connection without sending what is left."""
        self.gone = True
        self.out.clear()
        self.transport.abort()

    def reset(self) -> None:
        """Break the connection off: the client sees a reset, not an end."""
        self.gone = True
        self.out.clear()
        peer = self.transport.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


_NOTHING = Verdict()
"""The verdict on a request when no fault is set; never changed."""
_OVERLAP = Fault.make("error")
"""Stands for the quirk of overlapping writes."""
