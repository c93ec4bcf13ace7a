"""Pace: in flight, a second, and after a push back."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from connectors.contract import Pace
from connectors.throttle import Throttle
from tests.connectors.clocks import FakeClock


def run(scenario: Callable[[Throttle, FakeClock], Awaitable[None]], pace: Pace) -> FakeClock:
    async def main() -> FakeClock:
        clock = FakeClock()
        await asyncio.wait_for(scenario(Throttle(pace, clock), clock), timeout=10)
        return clock

    return asyncio.run(main())


def test_no_more_in_flight_than_agreed() -> None:
    """The pace's concurrency is a limit over all callers."""
    most = 0

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        inside = 0

        async def request() -> None:
            nonlocal inside, most
            era = await throttle.enter()
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1
            throttle.leave(era, pushed_back=False)

        await asyncio.gather(*(request() for _ in range(50)))
        assert inside == 0

    run(scenario, Pace(concurrency=7))
    assert most == 7


def test_no_more_a_second_than_agreed() -> None:
    """Twenty requests at ten a second take the time of nineteen gaps, however many callers there are."""

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        starts: list[float] = []

        async def request() -> None:
            era = await throttle.enter()
            starts.append(clock.now())
            throttle.leave(era, pushed_back=False)

        begun = clock.now()
        await asyncio.gather(*(request() for _ in range(20)))
        assert max(starts) - begun >= 1.9 - 1e-6

    run(scenario, Pace(concurrency=32, rate_per_s=10))


def test_a_push_back_halves_once_and_good_answers_grow_it_back() -> None:
    """Eight refusals of one round are one signal; recovery is one more in flight for a full round."""

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        eras = [await throttle.enter() for _ in range(8)]
        for era in eras:
            throttle.leave(era, pushed_back=True)
        assert throttle.limit == 4
        era = await throttle.enter()
        throttle.leave(era, pushed_back=True)
        assert throttle.limit == 2
        for _ in range(100):
            throttle.leave(await throttle.enter(), pushed_back=False)
        assert throttle.limit == 8

    run(scenario, Pace(concurrency=8))


def test_one_request_always_gets_through() -> None:
    """However often a service pushes back, work goes on."""

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        for _ in range(20):
            throttle.leave(await throttle.enter(), pushed_back=True)
        assert throttle.limit == 1

    run(scenario, Pace(concurrency=32))


def test_everybody_keeps_quiet_when_asked() -> None:
    """A Retry-After given to one request holds for all."""

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        throttle.leave(await throttle.enter(), pushed_back=True, quiet_s=30)
        began = clock.now()
        await throttle.enter()
        assert clock.now() - began >= 30

    run(scenario, Pace(concurrency=4))


def test_a_cancelled_wait_gives_its_turn_on() -> None:
    """Nobody waits for ever because somebody else gave up."""

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        era = await throttle.enter()
        first = asyncio.create_task(throttle.enter())
        second = asyncio.create_task(throttle.enter())
        await asyncio.sleep(0)
        throttle.leave(era, pushed_back=False)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second

    run(scenario, Pace(concurrency=1))
