"""How hard a system is driven: turns for requests, by number in flight and by rate, with room to breathe.

Everything here belongs to one event loop.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

from connectors.contract import Pace
from connectors.errors import HaltedError
from connectors.latency import KINDS, LatencyWatch
from connectors.rate_limits import Allowance

INTERRUPTED = "the run was interrupted"
OVERTAKEN = "this run no longer holds its lease, and another one may have taken over"

LONGEST_RESET_S = 120.0
"""An allowance that is used up for longer than this is not waited for: the system may say so itself."""

CATCH_UP_S = 0.25
"""How much of the time that was lost by sleeping too long is made up for."""


class Clock(Protocol):
    """Time as a session sees it."""

    def now(self) -> float:
        """Seconds, never going back."""
        ...

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        """Let that much time pass."""
        ...


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class Turn:
    """The right to send one request, until it is given back with ``leave``."""

    era: int
    """Push backs that were known when it began."""
    full: bool
    """True when as many requests were in flight then as may be."""


class Throttle:
    """Lets requests through: at most so many in flight, at most so many a second, none while the system wants peace.

    The number in flight halves when the system pushes back, once for all requests that were under way at that moment,
    falls by a quarter when answers take longer because of us (see ``connectors.latency``), and grows by one for each
    full round of good answers, up to the pace's concurrency. What the system says about how many more requests are
    welcome is kept to before it has to refuse one. Of all that only the pace's share is ours.
    """

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self._ceiling = max(1, pace.concurrency)
        self._rate_per_s = pace.rate_per_s
        self._share = pace.share
        self._clock = clock
        self._limit = float(self._ceiling)
        self._taken = 0
        self._in_flight = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._next_start: float | None = None
        self._begun: deque[float] = deque()
        self._quiet_until = 0.0
        self._era = 0
        self._watches: dict[str, LatencyWatch] = {}
        self._left: int | None = None
        self._left_until = 0.0
        self._quota = 1
        self._changed: asyncio.Event | None = None
        self._idle: asyncio.Event | None = None
        self._resting = 0
        self._halted: str | None = None

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        if self._share is None:
            return int(self._limit)
        return int(max(1.0, min(self._limit, self._ceiling * self._share())))

    @property
    def halted(self) -> bool:
        """True once nothing more may be sent."""
        return self._halted is not None

    def __str__(self) -> str:
        """How things stand, for the debug log."""
        driven = f"{self._in_flight} of {self.limit} in flight"
        if self._left is None:
            return driven
        return f"{driven}, {max(0, self._left)} left for {self._left_until - self._clock.now():.0f} s"

    # -- turns ---------------------------------------------------------------------------------------------------

    async def enter(self) -> Turn:
        """Wait for a turn; who came first is first. Raises: HaltedError."""
        self._refuse_when_halted()
        if self._queue or self._taken >= self.limit:
            await self._stand_in_line()
        else:
            self._taken += 1
        try:
            await self._wait_for_start()
        except BaseException:
            self._taken -= 1
            self._wake()
            raise
        self._in_flight += 1
        return Turn(self._era, full=self._in_flight >= self.limit)

    async def _stand_in_line(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and not self.halted:  # it was given what it does not want any more
                self._taken -= 1
            self._wake()
            raise
        self._refuse_when_halted()

    async def _wait_for_start(self) -> None:
        start = self._next_in_turn()
        if start or self._quiet_until or self._left is not None:
            while (wait_s := max(start, self._quiet_until, self._more_at(), self._room_at()) - self._clock.now()) > 0:
                await self.rest(wait_s)
        if self._left is not None:
            self._left -= 1
        if start:
            self._begun.append(self._clock.now())

    @property
    def _per_s(self) -> float:
        """Requests that may begin in a second, of those of all who share the system; 0 where nothing limits them."""
        return (self._rate_per_s or 0.0) * (1.0 if self._share is None else self._share())

    def _next_in_turn(self) -> float:
        """When the next request may begin by the rate, evenly spaced; 0 where there is none.

        A machine's sleep ends late, and an answer may come late for the next turn: what was missed is made up for, but
        never more than a moment of it.
        """
        if not self._rate_per_s:
            return 0.0
        now = self._clock.now()
        start = max(now if self._next_start is None else self._next_start, now - CATCH_UP_S)
        self._next_start = start + 1 / self._per_s
        return start

    def _room_at(self) -> float:
        """When one more request would not be one too many of a second.

        What is made up for may hurry, but in any second, and so in any number of seconds, no more begin than the rate
        allows: systems count by windows. Of a rate that is no whole number, the next whole one counts.
        """
        if not self._rate_per_s:
            return 0.0
        most = ceil(self._per_s)
        while len(self._begun) > most:
            self._begun.popleft()
        return self._begun[0] + most / self._per_s if len(self._begun) == most else 0.0

    def leave(self, turn: Turn, *, pushed_back: bool, quiet_s: float = 0.0, allowed: Allowance | None = None) -> None:
        """The request is over; ``quiet_s``: seconds for which the system wants no other. ``allowed``: what it said."""
        self._taken -= 1
        self._in_flight -= 1
        if not pushed_back:
            self._limit = min(float(self._ceiling), self._limit + 1 / self._limit)
        elif turn.era == self._era:
            self._era += 1
            self._limit = max(1.0, self._limit / 2)
            for watch in self._watches.values():
                watch.forget_cut()
        if quiet_s:
            self._quiet_until = max(self._quiet_until, self._clock.now() + quiet_s)
        if allowed is not None:
            self._note_allowance(allowed)
        if self._idle is not None and not self._in_flight:
            self._idle.set()
        self._wake()

    def note_latency(self, turn: Turn, kind: str, seconds: float) -> None:
        """A request of this kind was answered after so many seconds."""
        if not turn.full:
            return
        watch = self._watches.get(kind)
        if watch is None:
            if len(self._watches) >= KINDS:
                return
            watch = self._watches[kind] = LatencyWatch()
        self._limit = min(float(self._ceiling), watch.note(seconds, self._limit))

    def _wake(self) -> None:
        free = self.limit - self._taken
        while free > 0 and self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
                free -= 1

    # -- what the system allows ----------------------------------------------------------------------------------

    def _note_allowance(self, allowed: Allowance) -> None:
        """Requests that are under way may not have been counted yet, so that they are taken off."""
        self._quota = max(self._quota, allowed.quota or allowed.left + 1)
        if allowed.reset_s > LONGEST_RESET_S:
            self._left = None
        else:
            self._left = allowed.left - self._in_flight
            self._left_until = self._clock.now() + allowed.reset_s
        self._tell_resting()

    def _more_at(self) -> float:
        """When one more request is welcome."""
        if self._left is None or self._left > 0:
            return 0.0
        if self._clock.now() < self._left_until:
            return self._left_until
        self._left = self._quota - self._in_flight if self._in_flight < self._quota else 1
        self._left_until = self._clock.now() + 1.0
        return 0.0

    # -- waiting -------------------------------------------------------------------------------------------------

    async def rest(self, seconds: float) -> None:
        """Let that much time pass, or less when something has changed. Raises: HaltedError."""
        self._refuse_when_halted()
        if self._changed is None:
            self._changed = asyncio.Event()
        sleep = asyncio.create_task(self._clock.sleep(seconds))
        news = asyncio.create_task(self._changed.wait())
        self._resting += 1
        try:
            await asyncio.wait((sleep, news), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._resting -= 1
            sleep.cancel()
            news.cancel()
        self._refuse_when_halted()

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass. Raises: HaltedError."""
        end = self._clock.now() + seconds
        while (left_s := end - self._clock.now()) > 0:
            await self.rest(left_s)

    def _tell_resting(self) -> None:
        if self._resting and self._changed is not None:
            self._changed.set()
            self._changed = None

    def halt(self, why: str = INTERRUPTED) -> None:
        """From now on nothing may be sent, and nobody waits any more; the first reason counts."""
        self._halted = self._halted or why
        for turn in self._queue:
            if not turn.done():
                turn.set_result(None)
        self._queue.clear()
        self._tell_resting()

    async def until_idle(self, seconds: float) -> None:
        """Wait until nothing is in flight, at most so long; nothing new may begin meanwhile."""
        self._idle = asyncio.Event()
        if self._in_flight:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), seconds)

    def _refuse_when_halted(self) -> None:
        if self._halted is not None:
            raise HaltedError(f"Nothing more may be sent: {self._halted}.")
