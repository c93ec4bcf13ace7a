"""Pace: in flight, a second, and after a push back."""

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Coroutine
from math import ceil
from random import Random
from typing import Any

import pytest

from connectors.contract import Pace
from connectors.errors import HaltedError
from connectors.rate_limits import Allowance
from connectors.throttle import SystemClock, Throttle
from tests.connectors.clocks import FakeClock, SkippingLoop


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


@pytest.mark.parametrize("rate", [20.0, 7.5, 300.0])
def test_sleeping_too_long_costs_no_time_and_never_breaks_the_limit(rate: float) -> None:
    """Every sleep ends late, one of them by seconds, and the answers of the few that may be in flight take their time:
    the load takes the limit's own time, and no second, nor ten or sixty of them, sees more than the limit."""
    starts: list[float] = []
    random = Random(7)

    class LateClock(SystemClock):
        def now(self) -> float:
            return asyncio.get_running_loop().time()

        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds + (3.0 if len(starts) == 500 else random.choice([0.001, 0.01, 0.03])))

    async def main() -> None:
        throttle = Throttle(Pace(concurrency=4, rate_per_s=rate), LateClock())

        async def worker() -> None:
            while len(starts) < 1200:
                turn = await throttle.enter()
                starts.append(throttle._clock.now())
                await asyncio.sleep(random.uniform(0.001, 6 / rate))
                throttle.leave(turn, pushed_back=False)

        await asyncio.gather(*(worker() for _ in range(4)))

    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        runner.run(main())
    for window_s in (1, 10, 60):
        most = max(bisect_left(starts, start + window_s - 1e-9) - place for place, start in enumerate(starts))
        assert most <= ceil(rate) * window_s, (window_s, most)
    assert starts[-1] - starts[0] - 3.0 <= 1.1 * len(starts) / rate


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


def test_latency_is_compared_with_as_many_in_flight_only() -> None:
    """Requests of a quiet time, and those of another kind, are no measure; steady latency costs nothing."""

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        async def round_of(kind: str, seconds: float, number: int) -> None:
            turns = [await throttle.enter() for _ in range(number)]
            for turn in turns:
                throttle.note_latency(turn, kind, seconds)
                throttle.leave(turn, pushed_back=False)

        for _ in range(100):
            await round_of("GET /Users", 0.001, 1)
            await round_of("POST /Users", 0.05, 8)
            await round_of("PATCH /Groups", 2.0, 8)
        assert throttle.limit == 8
        await clock.sleep(1)
        least = 8
        for _ in range(200):  # only the last one of a round is sent while as many are in flight as may be
            await round_of("POST /Users", 0.5, throttle.limit)
            least = min(least, throttle.limit)
        assert least == 6
        assert throttle.limit == 8

    run(scenario, Pace(concurrency=8))


def test_what_is_welcome_is_not_exceeded() -> None:
    """After five more requests nobody is sent until the moment that was named, and then no more than the quota."""

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        throttle.leave(await throttle.enter(), pushed_back=False, allowed=Allowance(left=5, reset_s=30, quota=3))
        began = clock.now()
        starts: list[float] = []
        for _ in range(11):
            turn = await throttle.enter()
            starts.append(clock.now() - began)
            throttle.leave(turn, pushed_back=False)
        assert starts[:5] == [0] * 5
        assert starts[5:8] == [30] * 3
        assert starts[8] > 30  # the system has not said anything since

    run(scenario, Pace(concurrency=4))


def test_requests_under_way_are_not_welcome_twice() -> None:
    """What an answer says is left may be meant for those that are under way; their answers say more."""

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        turns = [await throttle.enter() for _ in range(4)]
        throttle.leave(turns.pop(), pushed_back=False, allowed=Allowance(left=3, reset_s=60))
        waiting = asyncio.create_task(throttle.enter())
        for _ in range(5):
            await asyncio.sleep(0)
        # the fake clock lets a minute pass at once; a real one would still be waiting
        assert clock.slept == [60]
        throttle.leave(turns.pop(), pushed_back=False, allowed=Allowance(left=9, reset_s=60))
        throttle.leave(await waiting, pushed_back=False)

    run(scenario, Pace(concurrency=8))


def test_nobody_waits_for_an_hour() -> None:
    """An allowance that is used up for long is not waited for: the system is asked, and answers as it likes."""

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        throttle.leave(await throttle.enter(), pushed_back=False, allowed=Allowance(left=0, reset_s=3600))
        await throttle.enter()
        assert clock.slept == []

    run(scenario, Pace(concurrency=4))


def test_a_share_is_a_part_of_everything() -> None:
    """Half of the pace is half of the requests in flight and twice the gap; one request is always ours."""
    shares = [0.5]

    async def scenario(throttle: Throttle, clock: FakeClock) -> None:
        assert throttle.limit == 4
        began = clock.now()
        for _ in range(11):
            throttle.leave(await throttle.enter(), pushed_back=False)
        assert clock.now() - began == pytest.approx(2.0)
        shares[0] = 0.01
        assert throttle.limit == 1
        shares[0] = 1.0
        assert throttle.limit == 8

    run(scenario, Pace(concurrency=8, rate_per_s=10, share=lambda: shares[0]))


def test_a_halt_ends_every_wait() -> None:
    """Whoever waits for a turn, for the rate, for peace or to repeat something is told at once; nobody begins."""

    async def main() -> None:
        throttle = Throttle(Pace(concurrency=1), SystemClock())
        turn = await throttle.enter()
        calls: list[Coroutine[Any, Any, Any]] = [throttle.enter(), throttle.enter(), throttle.sleep(600)]
        waiting = [asyncio.create_task(call) for call in calls]
        await asyncio.sleep(0)
        throttle.halt()
        ended = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        assert [type(error) for error in ended] == [HaltedError] * 3
        idle = asyncio.create_task(throttle.until_idle(600))
        await asyncio.sleep(0)
        throttle.leave(turn, pushed_back=False, quiet_s=600)
        await asyncio.wait_for(idle, 10)
        with pytest.raises(HaltedError):
            await throttle.enter()

    asyncio.run(main())
