"""What an answer says about how many more requests are welcome, and when.

Source: RFC 9110 section 10.2.3 (Retry-After); IETF draft-ietf-httpapi-ratelimit-headers, version 10 for the structured
fields, version 06 for the three older ones; the fields that begin with X- are older still.
"""

import email.utils
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LONGEST_DELTA_S = 10_000_000
"""A reset above this is no number of seconds from now but a moment, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """Requests that are still welcome."""

    left: int
    """So many more."""
    reset_s: float
    """Until this many seconds from now, at least 0; then there are more again."""
    quota: int | None = None
    """So many from then on; None where it is not said."""


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that an answer asks us to wait, at least 0; None where it does not say. ``now``: seconds since 1970."""
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


_SENTENCE = re.compile(
    rb"rate.?limit(?:ed|ing)?\b.{0,20}\b(?:exceeded|reached|hit)\b"
    rb"|\bexceeded\b.{0,60}\b(?:rate.?limit|quota|request limit)"
    rb"|too many requests|being rate.?limited|\bratelimited\b|rate_limit_exceeded|requestlimitexceeded"
    rb"|\bconcurrent.{0,80}\blimit exceeded"
    rb"|\bthrottl(?:ed|ing)|abuse detection",
    re.IGNORECASE | re.DOTALL,
)
"""What services write when requests come too fast, in their own words or as the name of an error."""
_SPEAKS_FOR_ITSELF = frozenset({401, 404, 407, 408, 409, 410, 412})
"""Statuses that mean what they say, whatever the rest of the answer says."""


def is_rate_limit(status: int, headers: Mapping[str, str], body: bytes) -> bool:
    """True for an answer that asks for patience: nothing was done, and the same request is welcome later.

    Services use 403, 400 and 503 for it as well as 429; then the headers or the words of the body say so.
    Source: GitHub REST API, "Rate limits" (403 with retry-after, or x-ratelimit-remaining: 0); AWS, "Common errors"
    (400 ThrottlingException).
    """
    if status == 429:
        return True
    if status < 400 or status in _SPEAKS_FOR_ITSELF:
        return False
    if _SENTENCE.search(body[:2048]):
        return True
    if status >= 500:  # a system that fails may ask to be left alone for a while; nobody knows what it has done
        return False
    return "retry-after" in headers or (status == 403 and _used_up(headers, now=0.0) is not None)


def is_overdriven(headers: Mapping[str, str]) -> bool:
    """True for an answer that says that all of an allowance is used, before anything is refused.

    Source: Microsoft Graph, "Throttling limits", x-ms-throttle-limit-percentage: above 0.8, and 1.0 is all of it.
    """
    used = _number(headers.get("x-ms-throttle-limit-percentage"))
    return used is not None and used >= 1.0


def wait_s_asked(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds to wait by ``Retry-After``, else until a used-up allowance is renewed; None where nothing is said."""
    after_s = retry_after_s(headers, now=now)
    return _used_up(headers, now=now) if after_s is None else after_s


def _used_up(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds until there are requests again, where none is left; None where some are, or nothing is said."""
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    found = allowance(raw, now=now)
    return found.reset_s if found is not None and found.left == 0 else None


def allowance(headers: Iterable[tuple[bytes, bytes]], *, now: float) -> Allowance | None:
    """What the rate limit fields say, the tightest policy where there are several; None where there are none.

    ``headers``: as they came. ``now``: seconds since 1970.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        if b"ate" in name and b"imit" in name.lower():  # hardly any answer has them: a look is enough
            plain = name.decode("latin-1").lower().replace("rate-limit", "ratelimit").removeprefix("x-")
            found.setdefault(plain, value.decode("latin-1"))
    if not found:
        return None
    if "ratelimit" in found:
        return _structured(found["ratelimit"], found.get("ratelimit-policy", ""))
    left, reset, limit = (_number(found.get(f"ratelimit-{what}")) for what in ("remaining", "reset", "limit"))
    if left is None or reset is None:
        return None
    if reset > LONGEST_DELTA_S:
        reset += 1.0 - now  # the moment comes without the part of its second
    return Allowance(int(left), max(0.0, reset), None if limit is None else int(limit))


_ITEM = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[A-Za-z*][\w.*-]*)?((?:\s*;\s*[a-z*][a-z0-9_.*-]*=[^;,]*)*)\s*(?:,|$)')
_PARAMETER = re.compile(r";\s*([a-z*][a-z0-9_.*-]*)=([^;,]*)")
_OLDER = re.compile(r"\b(limit|remaining|reset)\s*=\s*(\d+)")


def _structured(text: str, policies: str) -> Allowance | None:
    """``"default";r=50;t=30``, several with commas between; version 07 had ``limit=100, remaining=50, reset=30``."""
    older = dict(_OLDER.findall(text))
    if "remaining" in older and "reset" in older:
        quota = older.get("limit")
        return Allowance(int(older["remaining"]), float(older["reset"]), None if quota is None else int(quota))
    quotas = {name: _number(values.get("q")) for name, values in _items(policies)}
    said: list[Allowance] = []
    for name, values in _items(text):
        left, reset_s, quota_ = _number(values.get("r")), _number(values.get("t")), quotas.get(name)
        if left is not None:
            said.append(Allowance(int(left), max(0.0, reset_s or 0.0), None if quota_ is None else int(quota_)))
    return min(said, key=lambda one: one.left, default=None)


def _items(text: str) -> list[tuple[str, dict[str, str]]]:
    return [(name, dict(_PARAMETER.findall(rest))) for name, rest in _ITEM.findall(text) if name or rest]


def _number(text: str | None) -> float | None:
    """The number that a field begins with; older fields add policies behind it: ``100, 100;w=60``."""
    found = re.match(r"\s*(\d+(?:\.\d+)?)", text or "")
    return float(found[1]) if found else None
