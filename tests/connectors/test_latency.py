"""When a number of requests in flight counts as too many because answers take longer."""

import random

from connectors.latency import LESS, SHORT, LatencyWatch


class Target:
    """A system seen by its latency alone: ``at(limit)`` seconds with so many in flight."""

    def __init__(self, ceiling: int) -> None:
        self.watch = LatencyWatch()
        self.ceiling = ceiling
        self.limit = float(ceiling)
        self.least = self.limit
        self.chance = random.Random(1)

    def run(self, rounds: int, base_s: float, *, capacity: int = 10_000, noise: float = 0.3) -> "Target":
        """So many rounds of requests; above ``capacity`` in flight they wait for each other."""
        for _ in range(rounds):
            for _ in range(int(self.limit)):
                seconds = base_s * max(1.0, self.limit / capacity) ** 2 * self.chance.lognormvariate(0, noise)
                self.limit = min(self.ceiling, self.watch.note(seconds, self.limit))
                self.limit = min(self.ceiling, self.limit + 1 / self.limit)
            self.least = min(self.least, self.limit)
        return self


def test_steady_latency_costs_nothing() -> None:
    """However high it is and however it scatters: a system that is only far away keeps its concurrency."""
    for base_s in (0.001, 0.05, 2.0):
        for noise in (0.0, 0.4, 0.8):
            assert Target(32).run(500, base_s, noise=noise).least == 32


def test_latency_that_we_cause_is_relieved() -> None:
    """A system that gets slower by what it is sent settles at fewer requests in flight."""
    target = Target(64).run(20, 0.05)
    target.run(20, 0.05, capacity=24)
    assert target.limit < 48
    assert target.run(200, 0.05, capacity=24).limit < 48


def test_latency_that_is_not_our_doing_is_accepted() -> None:
    """When fewer requests do not help, they go back to what they were, and the new latency is what is normal."""
    target = Target(32).run(20, 0.05).run(30, 0.25)
    assert target.least <= 32 * LESS + 4
    assert target.limit == 32
    target.least = 32
    assert target.run(300, 0.25).least == 32


def test_a_quiet_time_is_no_measure_for_a_busy_one() -> None:
    """Low latency with few in flight says nothing about what many would be answered in."""
    watch = LatencyWatch()
    for limit, seconds in ((2, 0.002), (8, 0.02), (32, 0.2)):
        for _ in range(20 * SHORT):
            assert watch.note(seconds, limit) == limit


def test_differences_too_small_to_matter_are_none() -> None:
    """Three milliseconds instead of one are noise."""
    target = Target(32).run(20, 0.001, noise=0)
    assert target.run(50, 0.003, noise=0).least == 32


def test_what_has_been_pushed_back_stays_so() -> None:
    """A cut that did not help is not taken back over the head of a system that refuses requests."""
    watch = LatencyWatch()
    for _ in range(3 * 64):
        watch.note(0.05, 32)
    assert [watch.note(0.5, 32) for _ in range(2 * 64)][-1] == 24
    watch.forget_cut()
    assert max(watch.note(0.5, 12) for _ in range(SHORT)) <= 12


def test_one_bad_moment_is_none() -> None:
    """A pause of the machine slows one window, and costs nothing."""
    watch = LatencyWatch()
    for seconds in (*[0.05] * 5, 0.5, 0.05, 0.5, 0.05):
        for _ in range(64):
            assert watch.note(seconds, 32) == 32
