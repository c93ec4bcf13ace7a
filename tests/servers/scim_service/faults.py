"""Things that go wrong on purpose, each a switch that can be set and cleared at any time.

A fault says what it does, which requests it is for, and how often it strikes. Faults are asked in the order in which
they were set; delays add up, and the first fault that ends a request ends it. All chance comes from one seed.

Source: RFC 9110 section 10.2.3 (Retry-After); the RateLimit header fields as in the IETF draft of that name, in its
older form (three fields) and its newer one (two structured fields).
"""

import math
import random
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from email.utils import formatdate
from enum import StrEnum
from typing import Any

from tests.servers.scim_service.answers import Request, Response, ScimError, html

Headers = tuple[tuple[bytes, bytes], ...]


class FaultKind(StrEnum):
    """What goes wrong."""

    LATENCY = "latency"
    """Waits `seconds` plus up to `jitter_s` before the request is looked at."""
    TOO_MANY_REQUESTS = "too_many_requests"
    """429, with Retry-After in the form `retry_after`; nothing is done."""
    TOKEN_BUCKET = "token_bucket"
    """429 above `rate_per_s` with bursts of `burst`; every answer carries rate limit headers in the form `headers`."""
    ERROR = "error"
    """`status` (500, 502, 503, 504; SCIM body or HTML if `page`), before or after the request has been carried out."""
    RESET = "reset"
    """The connection is reset, before or after the request has been carried out."""
    TRUNCATED = "truncated"
    """Half the body is sent, then the connection closes; the request has been carried out."""
    HANG = "hang"
    """No answer, before or after the request has been carried out; the connection closes after `seconds`."""
    HTML = "html"
    """Status 200 and a page instead of the answer; nothing is done unless commit is after."""
    NOT_JSON = "not_json"
    """Status 200, the right content type, and a body that is not JSON."""
    DELAYED_LISTS = "delayed_lists"
    """What is created appears in lists and filters only after `seconds`, or after `requests` more requests."""
    EXPIRED_TOKEN = "expired_token"
    """401 for every request after the first `after`, until the token is renewed."""
    CLOSE_EVERY = "close_every"
    """The connection closes after every `every` answers on it, saying so only if `announced`."""
    IN_FLIGHT = "in_flight"
    """Above `limit` requests at a time the others are reset, or refused with `status` if that is set."""


class RetryAfter(StrEnum):
    """What Retry-After says; the wait meant is `seconds` where it is one."""

    SECONDS = "seconds"
    DATE = "date"
    ABSENT = "absent"
    ABSURD = "absurd"
    """Ten years."""
    PAST_DATE = "past_date"
    NEGATIVE = "negative"
    FRACTION = "fraction"
    """With decimals, which the standard does not allow."""
    WORDS = "words"


class Commit(StrEnum):
    """Has the request been carried out when it fails?"""

    BEFORE = "before"
    """It fails before anything is done."""
    AFTER = "after"
    """Everything is done, and only the answer is lost."""


class HeaderForm(StrEnum):
    """How a rate limit is announced."""

    FIELDS = "fields"
    """RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset (seconds)."""
    STRUCTURED = "structured"
    """RateLimit-Policy and RateLimit, as structured fields."""
    X = "x"
    """X-RateLimit-..., reset as seconds since 1970."""
    NONE = "none"


_OWN: dict[FaultKind, frozenset[str]] = {
    FaultKind.LATENCY: frozenset({"seconds", "jitter_s"}),
    FaultKind.TOO_MANY_REQUESTS: frozenset({"retry_after", "seconds"}),
    FaultKind.TOKEN_BUCKET: frozenset({"rate_per_s", "burst", "headers", "retry_after", "seconds"}),
    FaultKind.ERROR: frozenset({"detail", "status", "commit", "page", "retry_after", "seconds"}),
    FaultKind.RESET: frozenset({"commit"}),
    FaultKind.TRUNCATED: frozenset(),
    FaultKind.HANG: frozenset({"commit", "seconds"}),
    FaultKind.HTML: frozenset({"commit"}),
    FaultKind.NOT_JSON: frozenset({"commit"}),
    FaultKind.DELAYED_LISTS: frozenset({"seconds", "requests"}),
    FaultKind.EXPIRED_TOKEN: frozenset(),
    FaultKind.CLOSE_EVERY: frozenset({"every", "announced"}),
    FaultKind.IN_FLIGHT: frozenset({"limit", "status"}),
}
_EVERYWHERE = frozenset({"label", "probability", "after", "first", "times", "method", "path", "contains", "since"})
_STANDING = frozenset({FaultKind.DELAYED_LISTS, FaultKind.CLOSE_EVERY})
"""Kinds that hold for as long as they are set and are not dealt out request by request."""


@dataclass(slots=True)
class Fault:
    """One switch."""

    kind: FaultKind
    label: str = ""
    """Its name among the faults; the kind's own unless several of a kind are set."""
    # which requests
    method: str | None = None
    """One method or several, separated by commas."""
    path: str | None = None
    """Regular expression, searched in the path below the prefix (without the query)."""
    contains: str | None = None
    """Text in the request's query or body."""
    since: str | None = None
    """Only from the first request on whose method and path (``POST /Users``) match this regular expression."""
    # how often
    probability: float = 1.0
    after: int = 0
    """The first so many matching requests go through."""
    first: int | None = None
    """Only for the next so many matching requests after those."""
    times: int | None = None
    """Strikes so many times and no more."""
    # what it does
    seconds: float | None = None
    jitter_s: float = 0.0
    retry_after: RetryAfter | None = None
    commit: Commit = Commit.BEFORE
    status: int | None = None
    page: bool = False
    detail: str = "Error"
    """What an error says in words."""
    rate_per_s: float = 10.0
    burst: int = 10
    headers: HeaderForm = HeaderForm.FIELDS
    requests: int | None = None
    every: int = 1
    announced: bool = False
    limit: int = 1
    # what has been so far
    matched: int = field(default=0, compare=False)
    """Requests that it was for."""
    struck: int = field(default=0, compare=False)
    """Times that it did something."""
    tokens: float = field(default=0.0, compare=False)
    refilled: float = field(default=0.0, compare=False)
    pattern: "re.Pattern[str] | None" = field(default=None, compare=False)

    @classmethod
    def make(cls, kind: str, **settings: Any) -> "Fault":
        """A fault from its kind and settings. Raises: TypeError for a setting that the kind does not have."""
        kind = FaultKind(kind)
        if unknown := settings.keys() - _OWN[kind] - _EVERYWHERE:
            known = ", ".join(sorted(_OWN[kind] | _EVERYWHERE))
            raise TypeError(f"the fault {kind} has no {', '.join(sorted(unknown))}; it has: {known}")
        for name, values in (("retry_after", RetryAfter), ("commit", Commit), ("headers", HeaderForm)):
            if settings.get(name) is not None:
                settings[name] = values(settings[name])
        made = cls(kind, **settings)
        made.label = made.label or kind.value
        made.pattern = re.compile(made.path) if made.path is not None else None
        made.tokens, made.refilled = float(made.burst), time.monotonic()
        if made.retry_after is None and kind in {FaultKind.TOO_MANY_REQUESTS, FaultKind.TOKEN_BUCKET}:
            made.retry_after = RetryAfter.SECONDS
        return made

    def is_for(self, request: Request, path: str) -> bool:
        """True when the request is one that it is for."""
        if self.since is not None:
            if not re.match(self.since, f"{request.method} {path}"):
                return False
            self.since = None
        if self.method is not None and request.method not in self.method.split(","):
            return False
        if self.pattern is not None and not self.pattern.search(path):
            return False
        return self.contains is None or self.contains in request.query or self.contains.encode() in request.body

    def strikes(self, chance: random.Random) -> bool:
        """Count a matching request; True when it is struck."""
        self.matched += 1
        number = self.matched - self.after
        if number <= 0 or (self.first is not None and number > self.first):
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        if self.probability < 1.0 and chance.random() >= self.probability:
            return False
        self.struck += 1
        return True

    def as_dict(self) -> dict[str, Any]:
        """Its settings and counts."""
        found = asdict(self) if self.pattern is None else {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in found.items() if name not in {"pattern", "tokens", "refilled"}}


def retry_after_headers(form: RetryAfter | None, seconds: float | None) -> Headers:
    """The Retry-After header in one of its forms."""
    wait = 1.0 if seconds is None else seconds
    match form:
        case None | RetryAfter.ABSENT:
            return ()
        case RetryAfter.SECONDS:
            text = str(math.ceil(wait))
        case RetryAfter.DATE:
            text = formatdate(math.ceil(time.time() + wait), usegmt=True)
        case RetryAfter.ABSURD:
            text = str(10 * 365 * 24 * 3600)
        case RetryAfter.PAST_DATE:
            text = formatdate(time.time() - 3600, usegmt=True)
        case RetryAfter.NEGATIVE:
            text = "-1"
        case RetryAfter.FRACTION:
            text = f"{wait:.3f}"
        case RetryAfter.WORDS:
            text = "a little later"
    return ((b"Retry-After", text.encode()),)


class End(StrEnum):
    """How a request ends when not with an answer."""

    RESET = "reset"
    HANG = "hang"
    TRUNCATED = "truncated"


@dataclass(slots=True)
class Verdict:
    """What becomes of one request."""

    delay_s: float = 0.0
    ending: Fault | None = None
    """The fault that ends it; None lets it through."""
    response: Response | None = None
    """What is answered instead."""
    end: End | None = None
    headers: Headers = ()
    """Added to whatever is answered."""


class Faults:
    """All switches that are set."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.active: dict[str, Fault] = {}
        self.fresh: dict[str, tuple[float, int]] = {}
        """Id of what was created while lists are delayed, to when: monotonic seconds and number of the request."""
        self.requests = 0
        self.unauthorized: Callable[[], Response] = ScimError(401, "The token has expired").response

    def switch_on(self, fault: Fault) -> None:
        """Switch a fault on, in place of one with the same label."""
        # a new dict: another thread may be reading the old one
        self.active = {**self.active, fault.label: fault}

    def switch_off(self, label: str | None = None) -> None:
        """Switch one fault off, or all of them."""
        self.active = {name: fault for name, fault in self.active.items() if label is not None and name != label}
        if not any(fault.kind is FaultKind.DELAYED_LISTS for fault in self.active.values()):
            self.fresh.clear()

    def judge(self, request: Request, path: str, in_flight: int) -> Verdict:
        """What becomes of a request; ``path`` is below the prefix, ``in_flight`` counts this one too."""
        verdict = Verdict()
        for fault in self.active.values():
            if fault.kind in _STANDING or not fault.is_for(request, path):
                continue
            if fault.kind is FaultKind.IN_FLIGHT and in_flight <= fault.limit:
                continue
            if not fault.strikes(self.chance):
                continue
            if fault.kind is FaultKind.LATENCY:
                verdict.delay_s += (fault.seconds or 0.0) + self.chance.random() * fault.jitter_s
                continue
            if fault.kind is FaultKind.TOKEN_BUCKET:
                allowed = _take_token(fault)
                verdict.headers += _rate_headers(fault)
                if allowed:
                    fault.struck -= 1
                    continue
            verdict.ending = fault
            self._sentence(fault, verdict)
            break
        return verdict

    def _sentence(self, fault: Fault, verdict: Verdict) -> None:
        retry_after = retry_after_headers(fault.retry_after, fault.seconds)
        match fault.kind:
            case FaultKind.TOO_MANY_REQUESTS:
                verdict.response = ScimError(429, "Too many requests", headers=retry_after).response()
            case FaultKind.TOKEN_BUCKET:
                wait = max(0.0, 1 - fault.tokens) / fault.rate_per_s if fault.seconds is None else fault.seconds
                headers = retry_after_headers(fault.retry_after, wait)
                verdict.response = ScimError(429, "Too many requests", headers=headers).response()
            case FaultKind.ERROR:
                status = fault.status or 500
                verdict.response = html(status, "Error") if fault.page else ScimError(status, fault.detail).response()
                verdict.response.headers += retry_after
            case FaultKind.HTML:
                verdict.response = html(200, "Please sign in")
            case FaultKind.NOT_JSON:
                verdict.response = Response(200, b'{"id": "')
            case FaultKind.EXPIRED_TOKEN:
                verdict.response = self.unauthorized()
            case FaultKind.IN_FLIGHT if fault.status is not None:
                verdict.response = ScimError(fault.status, "Too many at a time").response()
            case FaultKind.HANG:
                verdict.end = End.HANG
            case FaultKind.TRUNCATED:
                verdict.end = End.TRUNCATED
            case _:
                verdict.end = End.RESET

    def closes(self, answers: int) -> Fault | None:
        """The fault that closes a connection after so many answers on it."""
        for fault in self.active.values():
            if fault.kind is FaultKind.CLOSE_EVERY and answers % fault.every == 0:
                return fault
        return None

    def note_created(self, id: str) -> None:
        """Remember when something was created, if lists are delayed."""
        if any(fault.kind is FaultKind.DELAYED_LISTS for fault in self.active.values()):
            self.fresh[id] = (time.monotonic(), self.requests)

    def hidden(self) -> set[str]:
        """Ids that lists do not show yet."""
        if not self.fresh:
            return set()
        delays = [fault for fault in self.active.values() if fault.kind is FaultKind.DELAYED_LISTS]
        now = time.monotonic()
        found = {
            id
            for id, (since, number) in self.fresh.items()
            if any(
                (fault.seconds is not None and now - since < fault.seconds)
                or (fault.requests is not None and self.requests - number <= fault.requests)
                for fault in delays
            )
        }
        self.fresh = {id: when for id, when in self.fresh.items() if id in found}
        return found


def _take_token(fault: Fault) -> bool:
    now = time.monotonic()
    fault.tokens = min(float(fault.burst), fault.tokens + (now - fault.refilled) * fault.rate_per_s)
    fault.refilled = now
    if fault.tokens < 1:
        return False
    fault.tokens -= 1
    return True


def _rate_headers(fault: Fault) -> Headers:
    left = int(fault.tokens)
    full_s = math.ceil((fault.burst - fault.tokens) / fault.rate_per_s)
    match fault.headers:
        case HeaderForm.FIELDS:
            names, reset = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"), full_s
        case HeaderForm.X:
            names, reset = (
                ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
                int(time.time()) + full_s,
            )
        case HeaderForm.STRUCTURED:
            window_s = max(1, round(fault.burst / fault.rate_per_s))
            return (
                (b"RateLimit-Policy", b'"default";q=%d;w=%d' % (fault.burst, window_s)),
                (b"RateLimit", b'"default";r=%d;t=%d' % (left, full_s)),
            )
        case _:
            return ()
    return tuple(
        (name.encode(), str(value).encode()) for name, value in zip(names, (fault.burst, left, reset), strict=True)
    )
