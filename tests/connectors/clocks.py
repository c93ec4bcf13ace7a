"""Time for tests: waits are noted and over at once."""

import asyncio
import selectors


class FakeClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now = 1000.0

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += max(0.0, seconds)
        await asyncio.sleep(0)


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time leaps to the next thing that is due: many may wait side by side, and none takes long."""

    def __init__(self) -> None:
        selector = selectors.DefaultSelector()
        look, self._skipped_s = selector.select, 0.0

        def skip(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            self._skipped_s += timeout or 0.0
            return look(0)

        selector.select = skip  # type: ignore[method-assign]
        super().__init__(selector)

    def time(self) -> float:
        """Seconds that were leapt over."""
        return self._skipped_s
