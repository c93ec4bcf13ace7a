"""Wires of the kit: around a session of ours, and for systems whose libraries wait, each call of which has a thread."""

import asyncio
from collections.abc import Callable
from typing import Any

from connectors.contract import Pace
from connectors.errors import RetryableError
from connectors.http import HttpSession
from connectors.throttle import Clock, SystemClock, Throttle


class SessionWire:
    """What a wire has that puts something of its own around an HTTP session."""

    def __init__(self, session: HttpSession) -> None:
        self._session = session

    @property
    def requests(self) -> int:
        """Requests sent so far."""
        return self._session.requests

    @property
    def address(self) -> str:
        """The base address."""
        return self._session.address

    async def halt(self, *, grace_s: float) -> None:
        """Send nothing more."""
        await self._session.halt(grace_s=grace_s)

    async def close(self) -> None:
        """Let go of connections; safe to call twice."""
        await self._session.close()


class BlockingWire:
    """A wire over a function that waits for its answer.

    The function is called in threads, as many at a time as the pace allows; it raises what a wire's ``send`` raises.
    ``close``: lets go of connections.
    """

    def __init__(
        self,
        call: Callable[[Any], Any],
        *,
        pace: Pace,
        close: Callable[[], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.requests = 0
        """Requests sent so far."""
        self.throttle = Throttle(pace, clock or SystemClock())
        self._call = call
        self._close = close

    async def send(self, request: Any) -> Any:
        """One request and its answer. Raises: as the function; HaltedError when nothing may be sent any more."""
        turn = await self.throttle.enter()
        pushed_back, quiet_s = False, 0.0
        self.requests += 1
        try:
            return await asyncio.to_thread(self._call, request)
        except RetryableError as error:
            pushed_back, quiet_s = True, error.retry_after_s or 0.0
            raise
        finally:
            self.throttle.leave(turn, pushed_back=pushed_back, quiet_s=quiet_s)

    async def run(self, work: Callable[..., Any], *args: Any) -> Any:
        """Something else that waits, such as the next page of a listing, in a thread and in turn."""
        turn = await self.throttle.enter()
        self.requests += 1
        try:
            return await asyncio.to_thread(work, *args)
        finally:
            self.throttle.leave(turn, pushed_back=False)

    async def halt(self, *, grace_s: float) -> None:
        """Send nothing more."""
        self.throttle.halt()
        await self.throttle.until_idle(grace_s)

    async def close(self) -> None:
        """Let go of connections; safe to call twice."""
        close, self._close = self._close, None
        if close is not None:
            await asyncio.to_thread(close)
