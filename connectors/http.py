"""The one HTTP session: authentication, pace, the decision table, retries, redaction.

A session sends a :class:`Call` and gives an :class:`Answer` of any status that is final; what an answer means for an
entry is said by :func:`refusal` and by the connector. It lives on one event loop and is shared by all that run there.
Requests go straight to the transport: a client on top of it would follow its own ideas about cookies and redirects,
and writes addresses, which hold people's names in filters, to its log.

The decision table, by status or fault and by what sending twice would do:

    answer                          read            repeatable write        write that may happen once
    2xx                             ok              ok                      ok
    3xx, 401, 407                   stop            stop                    stop
    403                             stop            reject                  reject
    408, 5xx but 501 and 505        retry           retry                   unknown
    425, 429                        retry           retry                   retry
    other 4xx, 501, 505             reject          reject                  reject
    not trusted (TLS)               stop            stop                    stop
    not sent, nothing answered yet  stop            stop                    stop
    not sent, answered before       retry           retry                   retry
    answer lost or late             retry           retry                   unknown
"""

import email.utils
import gc
import logging
import os
import random
import re
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import orjson

from connectors.contract import Pace
from connectors.errors import (
    ConflictError,
    CredentialsError,
    ErrorCode,
    GoneError,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    SchemaMismatchError,
    SettingsError,
    UnknownOutcomeError,
    UnreachableError,
    UnsupportedError,
)
from connectors.http_settings import Credentials, HttpSettings, reveal_credentials
from connectors.throttle import Clock, SystemClock, Throttle

if TYPE_CHECKING:
    import httpx
    from httpx_aiohttp import AiohttpTransport

_log = logging.getLogger(__name__)

MAX_ATTEMPTS = 5
"""Requests sent for one call when the system fails or is out of reach."""
MAX_THROTTLED_ATTEMPTS = 12
"""Requests sent for one call when the system asks us to slow down."""
MAX_WAIT_S = 120.0
"""Longest wait that a system may ask for; beyond it the call is given up with the wait in the error."""
BACKOFF_S = 0.5
MAX_BACKOFF_S = 20.0


# Calls and answers


class Effect(StrEnum):
    """What sending a request twice would do."""

    READ = "read"
    """Nothing: it changes nothing."""
    REPEATABLE = "repeatable"
    """The same as sending it once."""
    ONCE = "once"
    """Possibly harm: a second entry, a value twice."""


@dataclass(slots=True, eq=False)
class Call:
    """One request to be answered, and what was done to get the answer."""

    method: str
    path: str
    """Below the base address, with its parts quoted."""
    purpose: str
    """What for, in words that follow "refused to": ``create the user``."""
    effect: Effect = Effect.READ
    params: Mapping[str, str | int] | None = None
    body: bytes | None = None
    known: bool = False
    """True where the path names an entry that was there before, so that 404 means it is gone."""
    impatient: bool = False
    """True where a failure is final: no retries."""
    sent: int = 0
    """Requests sent so far."""
    doubtful: bool = False
    """True when an earlier request for this call may have taken effect, so that a refusal proves nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status that is final, with its body, decoded but not parsed."""

    status: int
    headers: "httpx.Headers"
    body: bytes

    def json(self) -> Any:
        """The body's JSON value. Raises: SchemaMismatchError when it is something else."""
        try:
            return _loads(self.body)
        except orjson.JSONDecodeError as error:
            raise SchemaMismatchError(
                f"Instead of JSON came {_nature(self.body)} (HTTP {self.status}). Check that the url is that of the "
                "API itself, not of its web pages or of a login page in front of it."
            ) from error


def _loads(body: bytes) -> Any:
    """The JSON value. Large ones are parsed without garbage collections, which took two thirds of the parser's time.

    What a parser makes holds no cycles, so nothing is left behind that a collection would have found.
    """
    if len(body) < 65_536 or not gc.isenabled():
        return orjson.loads(body)
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        gc.enable()


def _nature(body: bytes) -> str:
    """What a body is that should be JSON; never its text."""
    start = body[:512].lstrip().lower()
    if not start:
        return "an empty body"
    if start.startswith((b"<!doctype html", b"<html")) or b"<html" in start:
        return "an HTML page"
    return "XML" if start.startswith(b"<?xml") else "broken or cut-off JSON" if start[:1] in b"{[" else "plain text"


@dataclass(frozen=True, slots=True)
class Problem:
    """What a system says about why it refused."""

    type: str = ""
    """Its own keyword, such as ``uniqueness``."""
    detail: str = ""
    """Its own words, shortened and without values of persons."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.type, self.detail) if part)


_EMAIL = re.compile(r"[^\s\"'<>(),;:=]+@[^\s\"'<>(),;:]+")
_LONG_NUMBER = re.compile(r"\d{5,}")


def redact(text: str, values: Iterable[Any] = (), *, length: int = 200) -> str:
    """The text on one line, shortened, with the values that were sent, addresses and long numbers struck out."""
    text = " ".join(text.split())
    sent = {str(value) for value in values if isinstance(value, str | int) and not isinstance(value, bool)}
    for value in sorted((value for value in sent if len(value) > 1), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "…", text, flags=re.IGNORECASE)
    text = _LONG_NUMBER.sub("…", _EMAIL.sub("…", text))
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


# Decisions


class Decision(StrEnum):
    """What to do with what came back."""

    OK = "ok"
    RETRY = "retry"
    REJECT = "reject"
    STOP = "stop"
    UNKNOWN = "unknown"


class Fault(StrEnum):
    """Why there is no answer."""

    UNTRUSTED = "untrusted"
    """The connection could not be secured."""
    NOT_SENT = "not sent"
    """There was no connection, so the request had no effect."""
    LOST = "lost"
    """The connection ended after the request was sent."""
    LATE = "late"
    """The answer, or its next piece, took longer than the timeout."""


def decide(status: int, effect: Effect) -> Decision:
    """The decision table for answers."""
    if 200 <= status < 300:
        return Decision.OK
    if status in {425, 429}:
        return Decision.RETRY
    if status == 408 or (status >= 500 and status not in {501, 505}):
        return Decision.UNKNOWN if effect is Effect.ONCE else Decision.RETRY
    if status < 400 or status in {401, 407}:
        return Decision.STOP
    if status == 403:
        return Decision.STOP if effect is Effect.READ else Decision.REJECT
    return Decision.REJECT


def decide_fault(fault: Fault, effect: Effect, *, answered: bool) -> Decision:
    """The decision table for faults; ``answered``: the system has answered before in this session."""
    match fault:
        case Fault.UNTRUSTED:
            return Decision.STOP
        case Fault.NOT_SENT:
            return Decision.RETRY if answered else Decision.STOP
        case Fault.LOST | Fault.LATE:
            return Decision.UNKNOWN if effect is Effect.ONCE else Decision.RETRY


def refusal(answer: Answer, call: Call, problem: Problem, *, address: str) -> ProvisorError:
    """The error for an answer that the decision table rejects or stops at."""
    said = f"HTTP {answer.status}" + (f", {problem}" if str(problem) else "")
    match answer.status:
        case status if status < 400:
            return _moved(answer, address=address)
        case 401 | 407:
            whom = "the proxy" if answer.status == 407 else address
            return CredentialsError(
                f"The credentials are not accepted by {whom} ({said}). Check the token or password that auth refers "
                "to: it may be wrong, expired or meant for another address."
            )
        case 403 if call.effect is Effect.READ:
            return CredentialsError(
                f"Signed in at {address}, but not allowed to {call.purpose} ({said}). Give the account of this token "
                "the right to do so.",
                code=ErrorCode.INSUFFICIENT_RIGHTS,
            )
        case 403:
            return RejectedError(
                f"Not allowed to {call.purpose} ({said}). Give the account of this token the right to do so, or "
                "leave the entry out of scope.",
                code=ErrorCode.INSUFFICIENT_RIGHTS,
            )
        case 404 | 410 if call.known:
            return GoneError(f"Could not {call.purpose}: the entry no longer exists there ({said}).")
        case 404 | 410:
            return SettingsError(
                f"There is nothing at {address}{call.path} ({said}). Is the url right? It is the base address that "
                "the paths of the API are appended to."
            )
        case 405:
            return UnsupportedError(f"The system cannot {call.purpose} ({said}).", code=ErrorCode.METHOD_NOT_ALLOWED)
        case 501 | 505:
            return UnsupportedError(f"The system cannot {call.purpose} ({said}).")
        case 409:
            return ConflictError(f"Refused to {call.purpose}: a value that must be unique is taken ({said}).")
        case 412:
            return RejectedError(
                f"Refused to {call.purpose}: the entry was changed by somebody else meanwhile ({said}). "
                "The next cycle compares again.",
                code=ErrorCode.PROTOCOL_ERROR,
            )
        case _:
            return InvalidValueError(f"Refused to {call.purpose} ({said}).")


def _moved(answer: Answer, *, address: str) -> SettingsError:
    parts = urlsplit(answer.headers.get("location", ""))
    place = (
        urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")) or "an address it does not name"
    )
    return SettingsError(
        f"{address} sends us on to {place} (HTTP {answer.status}). If that is the API, make it the url; a redirect is "
        "never followed, because the credentials would go along."
    )


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that an answer asks us to wait, at least 0; None where it does not say. ``now``: seconds since 1970.

    Source: RFC 9110 section 10.2.3 (seconds, or an HTTP date).
    """
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now
        except ValueError:
            return None
    return max(0.0, seconds) if seconds < float("inf") else None


# The session


class HttpSession:
    """Sends calls to one system. Opens itself with the first call; every call must come from the same event loop."""

    def __init__(
        self,
        settings: HttpSettings,
        *,
        folder: Path,
        pace: Pace,
        media_type: str = "application/json",
        clock: Clock | None = None,
    ) -> None:
        self.requests = 0
        """Requests sent so far, repetitions included."""
        self._settings = settings
        self._folder = folder
        self._pace = pace
        self._media_type = media_type
        self._clock: Clock = clock or SystemClock()
        self._throttle = Throttle(pace, self._clock)
        self._answered = False
        self._wire: _Wire | None = None

    @property
    def address(self) -> str:
        """The base address, for people; as the settings spell it until the session is open."""
        return self._wire.url if self._wire is not None else self._settings.url

    async def close(self) -> None:
        """Let go of all connections; safe to call twice."""
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    async def send(self, call: Call) -> Answer:
        """The final answer to a call, whatever its status; repeats what the decision table says may be repeated.

        Raises: UnreachableError, SettingsError (references, redirects); RetryableError when a read, or any call that
        was throttled, kept failing; UnknownOutcomeError when a write may or may not have taken effect.
        """
        if self._wire is None:
            self._wire = _Wire(self._settings, folder=self._folder, pace=self._pace, media_type=self._media_type)
        wire = self._wire
        while True:
            era = await self._throttle.enter()
            call.sent += 1
            self.requests += 1
            pushed_back, quiet_s = False, 0.0
            try:
                answer = await wire.exchange(call)
                pushed_back = answer.status in {429, 503}
                if pushed_back:
                    quiet_s = self._asked_wait(answer) or 0.0
            except _NoAnswer as no_answer:
                answer, fault = None, no_answer
            finally:
                self._throttle.leave(era, pushed_back=pushed_back, quiet_s=min(quiet_s, MAX_WAIT_S))
            if answer is None:
                wait_s = self._after_fault(fault, call)
            else:
                self._answered = True
                decision = decide(answer.status, call.effect)
                if decision is Decision.UNKNOWN:
                    raise UnknownOutcomeError(
                        f"The system failed while it was to {call.purpose} (HTTP {answer.status}).",
                        code=_failure_code(answer.status),
                    )
                if decision is not Decision.RETRY or call.impatient:
                    return answer
                wait_s = self._after_failure(answer, call)
            await self._clock.sleep(wait_s)

    def _asked_wait(self, answer: Answer) -> float | None:
        return retry_after_s(answer.headers, now=time.time())

    def _after_failure(self, answer: Answer, call: Call) -> float:
        """Seconds to wait before the next attempt. Raises: RetryableError or UnknownOutcomeError after the last one."""
        asked_s = self._asked_wait(answer)
        throttled = answer.status in {425, 429}
        call.doubtful = call.doubtful or (not throttled and call.effect is not Effect.READ)
        last = call.sent >= (MAX_THROTTLED_ATTEMPTS if throttled else MAX_ATTEMPTS)
        if not last and (asked_s or 0.0) <= MAX_WAIT_S:
            return _backoff_s(call.sent) if asked_s is None else asked_s + random.uniform(0, 0.1)
        asked = f" It asks for {asked_s:.0f} seconds of peace." if asked_s else ""
        if throttled and not call.doubtful:
            raise RetryableError(
                f"Could not {call.purpose}: the system answers too many requests (HTTP {answer.status}, {call.sent} "
                f"attempts).{asked} Lower load.rate or load.concurrency.",
                retry_after_s=asked_s,
                code=ErrorCode.TOO_MANY_REQUESTS,
            )
        message = f"Could not {call.purpose}: the system fails (HTTP {answer.status}, {call.sent} attempts).{asked}"
        if call.effect is Effect.READ:
            raise RetryableError(message, retry_after_s=asked_s)
        raise UnknownOutcomeError(message, code=_failure_code(answer.status))

    def _after_fault(self, fault: "_NoAnswer", call: Call) -> float:
        """Seconds to wait before the next attempt. Raises: UnreachableError, RetryableError, UnknownOutcomeError."""
        decision = decide_fault(fault.fault, call.effect, answered=self._answered)
        if decision is Decision.STOP:
            raise UnreachableError(_why_unreachable(fault, self.address, self._settings)) from fault
        sent = fault.fault is not Fault.NOT_SENT
        call.doubtful = call.doubtful or (sent and call.effect is not Effect.READ)
        late = fault.fault is Fault.LATE
        how = "no answer came in time" if late else "the connection was lost"
        code = ErrorCode.TIMEOUT if late else ErrorCode.PROTOCOL_ERROR
        if decision is Decision.UNKNOWN:
            raise UnknownOutcomeError(f"Sent, but {how}: to {call.purpose}.", code=code) from fault
        if call.sent < MAX_ATTEMPTS and not call.impatient:
            return _backoff_s(call.sent)
        if not sent:
            raise UnreachableError(
                f"{self.address} answered before but cannot be reached any more ({fault}, {call.sent} attempts)."
            ) from fault
        message = f"Could not {call.purpose}: {how} ({call.sent} attempts)."
        if call.effect is Effect.READ:
            raise RetryableError(message, code=code) from fault
        raise UnknownOutcomeError(message, code=code) from fault


def _failure_code(status: int) -> ErrorCode:
    """TIMEOUT where the system may still be at it, so that what is not there now may be there later."""
    return ErrorCode.TIMEOUT if status in {408, 504} else ErrorCode.INTERNAL_SERVER_ERROR


def _backoff_s(attempt: int) -> float:
    return min(MAX_BACKOFF_S, BACKOFF_S * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)


def _why_unreachable(fault: "_NoAnswer", address: str, settings: HttpSettings) -> str:
    if fault.fault is Fault.UNTRUSTED:
        trusted = f"ca_file ({settings.ca_file}) " if settings.ca_file else "the usual certificate authorities "
        return (
            f"The connection to {address} cannot be trusted ({fault}). Its certificate is not vouched for by {trusted}"
            "or is for another name. Name the PEM file of the authority that issued it in ca_file; verification cannot "
            "be switched off."
        )
    through = " through the proxy" if settings.proxy else ""
    return f"Nobody answers at {address}{through} ({fault}). Check the url, the network and whether the system is up."


class _NoAnswer(Exception):  # noqa: N818
    """An exchange ended without a whole answer."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault


class _Wire:
    """The open connections, and how a call becomes bytes on them."""

    def __init__(self, settings: HttpSettings, *, folder: Path, pace: Pace, media_type: str) -> None:
        import httpx

        credentials = reveal_credentials(settings, folder=folder)
        self.url = credentials.url
        self._secrets = [secret.encode() for secret in credentials.secrets]
        self._transport = _transport(settings, credentials, folder=folder, pace=pace)
        common = {"accept": media_type, "user-agent": "Provisor/0.1", **credentials.headers}
        self._headers = httpx.Headers(common)
        self._headers_with_body = httpx.Headers({**common, "content-type": media_type})
        self._timeouts = {
            "timeout": {"connect": settings.connect_timeout_s, "read": settings.timeout_s, "pool": None, "write": None}
        }
        self._urls: dict[str, httpx.URL] = {}
        self._request = httpx.Request
        self._url = httpx.URL

    async def close(self) -> None:
        await self._transport.aclose()

    async def exchange(self, call: Call) -> Answer:
        """One request and its whole answer. Raises: _NoAnswer."""
        import aiohttp
        import httpx

        request = self._request(
            call.method,
            self._address(call),
            headers=self._headers if call.body is None else self._headers_with_body,
            content=call.body,
            extensions=self._timeouts,
        )
        started = time.perf_counter()
        try:
            response = await self._transport.handle_async_request(request)
            try:
                body = await response.aread()
            finally:
                await response.aclose()
        except (httpx.HTTPError, aiohttp.ClientError, OSError) as error:
            no_answer = _classify(error)
            self._note(call, no_answer.fault, started)
            raise no_answer from None  # the cause's text may hold addresses, which hold names of persons
        if _log.isEnabledFor(logging.DEBUG):
            self._note(call, str(response.status_code), started)
        if response.status_code >= 400:  # some systems repeat what they refuse, and what they say is told to people
            for secret in self._secrets:
                body = body.replace(secret, "…".encode())
        return Answer(response.status_code, response.headers, body)

    def _address(self, call: Call) -> "httpx.URL":
        if call.params is not None:
            return self._url(self.url + call.path, params=dict(call.params))
        if call.known:
            return self._url(self.url + call.path)
        address = self._urls.get(call.path)
        if address is None:
            address = self._urls[call.path] = self._url(self.url + call.path)
        return address

    @staticmethod
    def _note(call: Call, result: str, started: float) -> None:
        """One line for the debug log: no query and no id, which may be a person's name."""
        place = "/".join(call.path.split("/", 2)[:2])
        _log.debug("%s %s: %s in %.0f ms", call.method, place, result, 1000 * (time.perf_counter() - started))


def _transport(settings: HttpSettings, credentials: Credentials, *, folder: Path, pace: Pace) -> "AiohttpTransport":
    import aiohttp
    import httpx
    from httpx_aiohttp import AiohttpTransport

    trust = _trust(settings, credentials, folder=folder)

    def connections() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=max(1, pace.concurrency), ssl=trust)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())

    proxy = httpx.Proxy(credentials.proxy) if credentials.proxy else None
    return AiohttpTransport(verify=trust, proxy=proxy, client=connections)


def _trust(settings: HttpSettings, credentials: Credentials, *, folder: Path) -> ssl.SSLContext:
    """Who is trusted: the usual authorities, the machine's own, and those in ca_file. Raises: SettingsError."""
    import httpx

    plain = credentials.url.startswith("http:") and not (credentials.proxy or "").startswith("https:")
    if plain and settings.ca_file is None:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; loading authorities takes a tenth of a second
    trust = httpx.create_ssl_context()
    trust.load_default_certs()
    if settings.ca_file is not None:
        path = folder / settings.ca_file.expanduser()
        try:
            trust.load_verify_locations(path)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"The ca_file {path} cannot be read as PEM: {error.strerror or error}.") from error
    return trust


def _classify(error: Exception) -> _NoAnswer:
    """What a transport error means. By the cause below httpx: its mapping calls a lost connection a connect timeout."""
    import aiohttp

    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError | OSError) else error
    match cause:
        case aiohttp.ClientConnectorCertificateError():
            return _NoAnswer(Fault.UNTRUSTED, _certificate_reason(cause.certificate_error))
        case aiohttp.ClientSSLError() | aiohttp.ServerFingerprintMismatch():
            return _NoAnswer(Fault.UNTRUSTED, "the TLS handshake failed")
        case aiohttp.ClientConnectorDNSError():
            return _NoAnswer(Fault.NOT_SENT, "the host name is not known")
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return _NoAnswer(Fault.NOT_SENT, "the proxy does not let us through")
        case aiohttp.ClientConnectorError():
            return _NoAnswer(Fault.NOT_SENT, _system_reason(cause.os_error))
        case aiohttp.ConnectionTimeoutError():
            return _NoAnswer(Fault.NOT_SENT, "no connection in time")
        case TimeoutError():
            return _NoAnswer(Fault.LATE, "no answer in time")
        case _:
            return _NoAnswer(Fault.LOST, "connection lost")


def _system_reason(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else "no connection"


def _certificate_reason(error: Exception) -> str:
    return getattr(error, "verify_message", "") or "its certificate is not valid"
