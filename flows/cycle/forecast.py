"""How long a load will take: by the pace of earlier ones before it begins, by its own while it runs."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.ledger import Cycle

LOAD_REQUESTS, LOAD_MS = "load_requests", "load_ms"
"""Names of the counts, among a cycle's, of requests that were answered in its load and of milliseconds they took."""

FEWEST = 20
"""Requests of a load that says anything about the pace."""
LOADS = 5
"""So many of the latest loads are remembered."""
LOOK_BACK_S = 30.0
"""The pace of a load is that of so many last seconds: creates are quicker than members."""
SETTLED_S = 3.0
"""Before that nothing is said by the load's own pace."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a load needs, and how long it is expected to take."""

    requests: int
    """At least so many are sent; repetitions come on top."""
    per_s: float | None = None
    """Requests a second; None where nothing is known yet."""
    limited: bool = False
    """True where the job's own rate is what limits it."""

    @property
    def seconds(self) -> float | None:
        """None where nothing is known yet."""
        return None if self.per_s is None else self.requests / self.per_s

    @property
    def sentence(self) -> str:
        """For people; empty where there is nothing to be said."""
        if self.seconds is None or self.per_s is None or not self.requests:
            return ""
        noun = "request" if self.requests == 1 else "requests"
        why = "as load.rate allows" if self.limited else "as in earlier loads"
        pace = f"{self.per_s:,.0f}" if self.per_s >= 10 else f"{self.per_s:.2g}"
        return f"{self.requests:,} {noun}, {spoken(self.seconds)} at {pace} a second, {why}."

    def as_json(self) -> dict[str, Any]:
        """For machines; null where nothing is known yet."""
        known = self.per_s is not None and self.seconds is not None
        return {
            "requests": self.requests,
            "requests_per_s": round(self.per_s or 0.0, 3) if known else None,
            "seconds": round(self.seconds or 0.0, 1) if known else None,
        }


NOTHING = Forecast(0)


def known_pace(cycles: Sequence[Cycle]) -> float | None:
    """Requests a second in the latest loads; None where there was none of any size. ``cycles``: newest first."""
    loads = [cycle.counts for cycle in cycles if cycle.counts.get(LOAD_REQUESTS, 0) >= FEWEST][:LOADS]
    took_ms = sum(counts.get(LOAD_MS, 0) for counts in loads)
    return 1000 * sum(counts[LOAD_REQUESTS] for counts in loads) / took_ms if took_ms else None


def forecast(requests: int, *, pace: float | None, rate: float | None) -> Forecast:
    """What to expect. ``pace``: requests a second in earlier loads; ``rate``: what the job allows at most."""
    if rate is not None and (pace is None or rate < pace):
        return Forecast(requests, rate, limited=True)
    return Forecast(requests, pace)


def pace_counts(requests: int, seconds: float) -> Mapping[str, int]:
    """What a cycle remembers of its load."""
    return {LOAD_REQUESTS: requests, LOAD_MS: round(1000 * seconds)} if requests else {}


class Remaining:
    """How much longer a load takes, corrected while it runs."""

    def __init__(self, expected: Forecast, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = expected
        self._clock = clock
        self._began = clock()
        self._seen: deque[tuple[float, int]] = deque([(self._began, 0)])

    @property
    def elapsed_s(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._began

    def seconds(self, done: int) -> float | None:
        """Seconds left when so many requests have been answered; None while nobody can tell."""
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and now - self._seen[0][0] > LOOK_BACK_S:
            self._seen.popleft()
        left = max(0, self._expected.requests - done)
        since, before = self._seen[0]
        if done > before and now - self._began >= SETTLED_S:
            return left * (now - since) / (done - before)
        return None if self._expected.per_s is None else left / self._expected.per_s

    def sentence(self, done: int) -> str:
        """``about 3 min left``; empty while nobody can tell, and at the end."""
        seconds = self.seconds(done)
        return "" if seconds is None or done >= self._expected.requests else f"{spoken(seconds)} left"


def spoken(seconds: float) -> str:
    """A length of time as people say it: ``about 40 s``, ``about 3 min``, ``about 2 h 10 min``."""
    if seconds < 1:
        return "less than 1 s"
    if seconds < 10:
        return f"about {round(seconds)} s"
    if seconds < 57.5:
        return f"about {5 * round(seconds / 5)} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"about {minutes} min"
    hours, rest = divmod(10 * round(minutes / 10), 60)
    return f"about {hours} h {rest} min" if rest else f"about {hours} h"
