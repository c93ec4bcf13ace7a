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
    any other that is a rate limit  retry           retry                   retry
    other 4xx, 501, 505             reject          reject                  reject
    401, tokens that can be renewed retry once      retry once              retry once
    not trusted (TLS)               stop            stop                    stop
    not sent, nothing answered yet  stop            stop                    stop
    not sent, answered before       retry           retry                   retry
    answer lost or late             retry           retry                   unknown

What is a rate limit is said by ``connectors.rate_limits.is_rate_limit``: services use 403, 400 and 503 for it as well.
"""

import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from connectors.contract import Pace
from connectors.errors import (
    ConflictError,
    CredentialsError,
    ErrorCode,
    GoneError,
    HaltedError,
    InvalidValueError,
    ProvisorError,
    RejectedError,
    RetryableError,
    SettingsError,
    UnknownOutcomeError,
    UnreachableError,
    UnsupportedError,
)
from connectors.http_settings import HttpSettings, base_address
from connectors.rate_limits import allowance, is_overdriven, is_rate_limit, wait_s_asked
from connectors.settings import reveal
from connectors.signing import Signature, Signer, Sleep, open_signer
from connectors.throttle import OVERTAKEN, Clock, SystemClock, Throttle
from connectors.wire import Answer, Fault, NoAnswer, Wire
from connectors.wire_log import WireLog, resource

if TYPE_CHECKING:
    import httpx

__all__ = ["Answer", "Fault", "HttpSession"]

MAX_ATTEMPTS = 5
"""Requests sent for one call when the system fails or is out of reach."""
IMPATIENT_ATTEMPTS = 2
"""The same for a call that is not to be repeated: a connection that was kept may have been closed a moment ago."""
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
    headers: Mapping[str, str] | None = None
    """Headers of this request alone."""
    known: bool = False
    """True where the path names an entry that was there before, so that 404 means it is gone."""
    weight: int = 1
    """Changes in it: what its answer takes is shared by them."""
    sociable: bool = False
    """True where it may go with others in one request."""
    impatient: bool = False
    """True where a failure is final: no retries but one, where the connection was lost."""
    faults_with_500: bool = False
    """True where the body of a status 500 says what has happened, as in SOAP: it is given back whatever the effect."""
    sent: int = 0
    """Requests sent so far."""
    status: int | None = None
    """Of the last answer; None where there was none yet."""
    doubtful: bool = False
    """True when an earlier request for this call may have taken effect, so that a refusal proves nothing."""
    reached: bool = False
    """True when a request for this call may have taken effect, or has."""


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


def decide(status: int, effect: Effect, *, limited: bool = False) -> Decision:
    """The decision table for answers. ``limited``: the answer is a rate limit, whatever its status."""
    if 200 <= status < 300:
        return Decision.OK
    if limited or status in {425, 429}:
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
        case Fault.UNTRUSTED | Fault.UNKNOWN_CLIENT:
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
        f"{address} redirects to {place} (HTTP {answer.status}). If that is the API, use it as the url. Provisor "
        "never follows redirects, because it would send the credentials along."
    )


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
        status_in: Callable[[bytes], int | None] | None = None,
    ) -> None:
        """``status_in``: the status that a body states although the answer says 2xx; None where it states none."""
        self.requests = 0
        """Requests sent so far, repetitions included."""
        self._status_in = status_in
        self._settings = settings
        self._folder = folder
        self._pace = pace
        self._media_type = media_type
        self._clock: Clock = clock or SystemClock()
        self._throttle = Throttle(pace, self._clock)
        self._answered = False
        self._line: _Line | None = None
        self._log = WireLog()

    @property
    def address(self) -> str:
        """The base address, for people; as the settings spell it until the session is open."""
        return self._line.wire.url if self._line is not None else self._settings.url

    async def close(self) -> None:
        """Let go of all connections; safe to call twice."""
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def signature(self) -> Signature:
        """What requests are signed with now; a token may say what it allows. Raises: FatalError."""
        return await self._open().signer.sign()

    async def halt(self, *, grace_s: float) -> None:
        """Send nothing more: calls that wait end with HaltedError at once, the others within ``grace_s`` seconds."""
        self._throttle.halt()
        await self._throttle.until_idle(grace_s)
        await self.close()  # requests that still wait for an answer lose the connection

    async def send(self, call: Call) -> Answer:
        """The final answer to a call, whatever its status; repeats what the decision table says may be repeated.

        Raises: UnreachableError, SettingsError (references, redirects), CredentialsError (no token); RetryableError
        when a read, or any call that was throttled, kept failing; UnknownOutcomeError when a write may or may not have
        taken effect; HaltedError when nothing may be sent any more, and nothing of this call has taken effect.
        """
        try:
            return await self._send(call)
        except HaltedError as halted:
            if call.reached:
                raise UnknownOutcomeError(f"Interrupted while trying to {call.purpose}.") from halted
            raise

    async def _send(self, call: Call) -> Answer:
        signed_anew = False
        while True:
            line, signature, answer = await self._in_turn(call)
            if isinstance(answer, NoAnswer):
                wait_s = self._after_fault(answer, call)
            elif answer.status == 401 and not signed_anew and line.signer.refused(signature):
                signed_anew = True
                self._log.renewing(call.method, call.path)
                continue
            else:
                limited = is_rate_limit(answer.status, answer.headers, answer.body)
                decision = decide(answer.status, call.effect, limited=limited)
                explained = call.faults_with_500 and answer.status == 500
                if decision is Decision.UNKNOWN and not explained:
                    raise UnknownOutcomeError(
                        f"The system failed while trying to {call.purpose} (HTTP {answer.status}).",
                        code=_failure_code(answer.status),
                    )
                if decision is not Decision.RETRY or call.impatient:
                    return answer
                wait_s = self._after_failure(answer, call, limited=limited)
            self._log.repeating(call.method, call.path, call.sent, wait_s)
            await self._throttle.sleep(wait_s)

    async def _in_turn(self, call: Call) -> tuple["_Line", Signature, Answer | NoAnswer]:
        """One request when it may be sent, how it was signed, and what came; the throttle is told of it."""
        turn = await self._throttle.enter()
        pushed_back, quiet_s, allowed = False, 0.0, None
        try:
            line = self._open()
            signature = await line.signer.sign()
            began = time.perf_counter()
            try:
                self._refuse_when_overtaken()
                answer = await self._exchange(call, line, signature)
            except NoAnswer as no_answer:
                pushed_back = no_answer.fault is Fault.LATE
                return line, signature, no_answer
            self._answered = True
            if answer.status != 401:
                line.signer.accepted(signature)
            if 200 <= answer.status < 300:
                self._throttle.note_latency(turn, _kind(call), (time.perf_counter() - began) / call.weight)
            allowed = allowance(answer.headers.raw, now=time.time())
            pushed_back = (
                answer.status in {429, 503}
                or is_overdriven(answer.headers)
                or is_rate_limit(answer.status, answer.headers, answer.body)
            )
            if pushed_back:
                quiet_s = min(wait_s_asked(answer.headers, now=time.time()) or 0.0, MAX_WAIT_S)
            return line, signature, answer
        finally:
            self._throttle.leave(turn, pushed_back=pushed_back, quiet_s=quiet_s, allowed=allowed)

    def _refuse_when_overtaken(self) -> None:
        """The last thing before a request leaves. Raises: HaltedError."""
        if self._pace.permit is not None and not self._pace.permit():
            self._throttle.halt(OVERTAKEN)
            raise HaltedError(f"Nothing more may be sent: {OVERTAKEN}.")

    def _open(self) -> "_Line":
        if self._line is None:
            self._line = _Line(
                self._settings,
                folder=self._folder,
                connections=self._pace.concurrency,
                media_type=self._media_type,
                clock=self._clock,
                sleep=self._throttle.sleep,
            )
        return self._line

    async def _exchange(self, call: Call, line: "_Line", signature: Signature) -> Answer:
        """One request and its whole answer, counted and noted. Raises: NoAnswer."""
        call.sent += 1
        self.requests += 1
        before, call.reached = call.reached, call.effect is not Effect.READ
        began = time.perf_counter()
        try:
            answer = await line.exchange(call, signature)
            stated = self._status_in(answer.body) if self._status_in and 200 <= answer.status < 300 else None
            if stated is not None:
                answer = replace(answer, status=stated)
            call.status = answer.status
        except NoAnswer as fault:
            if fault.fault not in {Fault.LOST, Fault.LATE}:
                call.reached = before
            self._log.fault(call.method, call.path, call.body, fault.fault, began, self._throttle)
            raise
        refused = 400 <= answer.status < 500 and answer.status != 408
        if refused or is_rate_limit(answer.status, answer.headers, answer.body):
            call.reached = before
        self._log.answer(call.method, call.path, call.body, answer, began, self._throttle)
        return answer

    def _after_failure(self, answer: Answer, call: Call, *, limited: bool) -> float:
        """Seconds to wait before the next attempt. Raises: RetryableError or UnknownOutcomeError after the last one."""
        asked_s = wait_s_asked(answer.headers, now=time.time())
        throttled = limited or answer.status == 425
        call.doubtful = call.doubtful or (not throttled and call.effect is not Effect.READ)
        last = call.sent >= (MAX_THROTTLED_ATTEMPTS if throttled else MAX_ATTEMPTS)
        if not last and (asked_s or 0.0) <= MAX_WAIT_S:
            return _backoff_s(call.sent) if asked_s is None else asked_s + random.uniform(0, 0.1)
        asked = f" It asks us to wait {asked_s:.0f} seconds." if asked_s else ""
        if throttled and not call.doubtful:
            raise RetryableError(
                f"Could not {call.purpose}: the system reports too many requests (HTTP {answer.status}, {call.sent} "
                f"attempts).{asked} Lower load.rate or load.concurrency.",
                retry_after_s=asked_s,
                code=ErrorCode.TOO_MANY_REQUESTS,
            )
        message = f"Could not {call.purpose}: the system fails (HTTP {answer.status}, {call.sent} attempts).{asked}"
        if call.effect is Effect.READ:
            raise RetryableError(message, retry_after_s=asked_s)
        raise UnknownOutcomeError(message, code=_failure_code(answer.status))

    def _after_fault(self, fault: NoAnswer, call: Call) -> float:
        """Seconds to wait before the next attempt. Raises: UnreachableError, RetryableError, UnknownOutcomeError."""
        decision = decide_fault(fault.fault, call.effect, answered=self._answered)
        if decision is Decision.STOP:
            raise UnreachableError(fault.sentence(self.address, self._settings)) from fault
        sent = fault.fault is not Fault.NOT_SENT
        call.doubtful = call.doubtful or (sent and call.effect is not Effect.READ)
        late = fault.fault is Fault.LATE
        how = "the response timed out" if late else "the connection was lost"
        code = ErrorCode.TIMEOUT if late else ErrorCode.PROTOCOL_ERROR
        if decision is Decision.UNKNOWN:
            raise UnknownOutcomeError(f"Sent, but {how}: to {call.purpose}.", code=code) from fault
        if call.sent < _attempts(call, late=late):
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


def _attempts(call: Call, *, late: bool) -> int:
    """Requests that a call is worth when no answer comes."""
    if not call.impatient:
        return MAX_ATTEMPTS
    return 1 if late else IMPATIENT_ATTEMPTS


def _kind(call: Call) -> str:
    """Requests of one kind take about as long."""
    return f"{call.method} {resource(call.path)}"


class _Line:
    """What a session opens with its first call: the wire, and who signs."""

    def __init__(
        self,
        settings: HttpSettings,
        *,
        folder: Path,
        connections: int,
        media_type: str,
        clock: Clock,
        sleep: Sleep,
    ) -> None:
        try:
            url = base_address(reveal(settings.url, folder=folder))
        except ValueError as error:
            raise SettingsError(f"The url behind {settings.url} {error}.") from error
        self.signer: Signer = open_signer(settings, folder=folder, now=clock.now, sleep=sleep)
        self._settings, self._folder, self._connections = settings, folder, connections
        self.wire = self._dial(url)
        self._left: list[Wire] = []
        """Wires to addresses that the system has moved away from; requests may still be under way on them."""
        self._common = {"accept": media_type, "user-agent": "Provisor/0.1"}
        self._content = {"content-type": media_type}
        self._signed: tuple[Signature | None, httpx.Headers | None, httpx.Headers | None] = (None, None, None)

    async def close(self) -> None:
        await self.signer.close()
        for wire in (*self._left, self.wire):
            await wire.close()

    def _dial(self, url: str) -> Wire:
        return Wire(self._settings, url=url, folder=self._folder, connections=self._connections)

    def _at(self, origin: str | None) -> Wire:
        """The wire to an origin: the path of the base address stays, scheme and host are those that a token is for."""
        parts = urlsplit(self.wire.url)
        if origin is not None and origin != f"{parts.scheme}://{parts.netloc}":
            self._left.append(self.wire)
            self.wire = self._dial(origin + parts.path)
        return self.wire

    async def exchange(self, call: Call, signature: Signature) -> Answer:
        """One request and its whole answer. Raises: NoAnswer."""
        lasting = not call.known
        headers = self._headers(signature, with_body=call.body is not None)
        if call.headers is not None:
            headers = headers.copy()
            headers.update(call.headers)
        wire = self._at(signature.origin)
        return await wire.exchange(
            call.method,
            wire.address(call.path, params=call.params, lasting=lasting),
            headers=headers,
            body=call.body,
            secrets=lambda: self.signer.secrets,
        )

    def _headers(self, signature: Signature, *, with_body: bool) -> "httpx.Headers":
        """Made once for each signature, since making them takes longer than everything else about a request."""
        import httpx

        of, plain, full = self._signed
        if of is not signature or plain is None or full is None:
            plain = httpx.Headers({**self._common, **signature.headers})
            full = httpx.Headers({**self._common, **self._content, **signature.headers})
            self._signed = (signature, plain, full)
        return full if with_body else plain
