"""Whether answers take longer because of us: latency when as many requests are in flight as may be, over time.

A system whose latency is steady, however high, never counts as slow: what is compared is the median of some dozens of
answers with the better ones of earlier medians, for requests of one kind (method and resource), with at least as many
in flight. Fewer in flight are answered sooner, so what a quiet time showed is no measure for a busy one.

When fewer requests do not help, the latency is not our doing: the number goes back to what it was, and the latency that
was found is what is normal from then on.

Source: Netflix, Performance Under Load (2018), on limits by gradients of latency.
"""

from collections import deque
from dataclasses import dataclass
from statistics import median

LONG = 500
"""Windows that are remembered."""
FEWEST = 3
"""Windows that must be remembered before anything is compared with them."""
SHORT = 32
"""Answers at least in a window; twice as many as may be in flight where that is more."""
SLOWER = 2.0
"""Latency counts as risen above this many times what is normal."""
NOISE_S = 0.02
"""And only if it has risen by more than this many seconds."""
IN_A_ROW = 2
"""Windows in a row in which it has; one may be somebody else's moment."""
LESS = 0.75
"""What is left of the number in flight when latency has risen."""
HELPED = 0.85
"""Fewer requests have helped when latency is below this part of what it was."""
KINDS = 32
"""Kinds of requests that are told apart."""


@dataclass(frozen=True, slots=True)
class _Cut:
    limit: float
    """What it was before."""
    median_s: float


class LatencyWatch:
    """Watches the answers to one kind of requests."""

    def __init__(self) -> None:
        self._window: list[float] = []
        self._known: deque[tuple[int, float]] = deque(maxlen=LONG)
        self._cut: _Cut | None = None
        self._slow = 0

    def note(self, seconds: float, limit: float) -> float:
        """An answer took so long while as many requests as may be, ``limit``, were in flight; gives how many may be."""
        self._window.append(seconds)
        if len(self._window) < max(SHORT, 2 * limit):
            return limit
        found = median(self._window)
        self._window.clear()
        return self._judge(found, limit)

    def forget_cut(self) -> None:
        """Whether fewer requests help is not to be seen any more: the system has pushed back, and others have gone."""
        self._cut = None

    def _judge(self, found: float, limit: float) -> float:
        if self._cut is not None:
            cut, self._cut = self._cut, None
            if found > HELPED * cut.median_s:
                self._known.clear()
                self._known.extend([(int(cut.limit), cut.median_s)] * FEWEST)
                return cut.limit
        normal = self._normal(int(limit))
        if normal is None or found <= max(SLOWER * normal, normal + NOISE_S):
            self._slow = 0
            self._known.append((int(limit), found))
            return limit
        self._slow += 1
        if self._slow < IN_A_ROW:
            return limit
        self._slow = 0
        self._cut = _Cut(limit, found)
        return max(1.0, limit * LESS)

    def _normal(self, limit: int) -> float | None:
        """The lower quartile of what is remembered of at least so many in flight; None where that is too little."""
        medians = sorted(median_s for at, median_s in self._known if at >= limit)
        return medians[len(medians) // 4] if len(medians) >= FEWEST else None
