"""How hard a system is driven: turns for requests, by number in flight and by rate, with room to breathe.

Everything here belongs to one event loop.
"""

import asyncio
import time
from collections import deque
from typing import Protocol

from connectors.contract import Pace


class Clock(Protocol):
    """Time as a session sees it."""

    def now(self) -> float:
        """Seconds, never going back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        ...


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Throttle:
    """Lets requests through: at most so many in flight, at most so many a second, none while the system wants peace.

    The number in flight halves when the system pushes back, once for all requests that were under way at that moment,
    and grows by one for each full round of good answers, up to the pace's concurrency.
    """

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self._ceiling = max(1, pace.concurrency)
        self._gap_s = 1 / pace.rate_per_s if pace.rate_per_s else 0.0
        self._clock = clock
        self._limit = float(self._ceiling)
        self._in_flight = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._next_start = 0.0
        self._quiet_until = 0.0
        self._era = 0

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return int(self._limit)

    async def enter(self) -> int:
        """Wait for a turn; the era it gives goes back in with ``leave``."""
        while self._in_flight >= self.limit:
            turn = asyncio.get_running_loop().create_future()
            self._queue.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()
                raise
        self._in_flight += 1
        try:
            await self._wait_for_start()
        except BaseException:
            self._in_flight -= 1
            self._wake()
            raise
        return self._era

    async def _wait_for_start(self) -> None:
        start = 0.0
        if self._gap_s:
            start = max(self._clock.now(), self._next_start)
            self._next_start = start + self._gap_s
        if not start and not self._quiet_until:
            return
        while (wait_s := max(start, self._quiet_until) - self._clock.now()) > 0:
            await self._clock.sleep(wait_s)

    def leave(self, era: int, *, pushed_back: bool, quiet_s: float = 0.0) -> None:
        """The request is over; ``quiet_s``: seconds for which the system wants no other."""
        self._in_flight -= 1
        if not pushed_back:
            self._limit = min(float(self._ceiling), self._limit + 1 / self._limit)
        elif era == self._era:
            self._era += 1
            self._limit = max(1.0, self._limit / 2)
        if quiet_s:
            self._quiet_until = max(self._quiet_until, self._clock.now() + quiet_s)
        self._wake()

    def _wake(self) -> None:
        free = self.limit - self._in_flight
        while free > 0 and self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
