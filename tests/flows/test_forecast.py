"""How long a load is expected to take, before and while it runs."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from flows.cycle.forecast import (
    LOAD_MS,
    LOAD_REQUESTS,
    Forecast,
    Remaining,
    forecast,
    known_pace,
    pace_counts,
    spoken,
)
from flows.cycle.systems import open_ledger
from tasks.ledger import Cycle, CycleKind, CycleState
from tests.flows.workplace import Said, Workplace
from tests.servers.scim_service import ScimService

NOW = datetime(2026, 3, 2, tzinfo=UTC)


class Stopwatch:
    """Seconds that are set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def cycle(requests: int, ms: int) -> Cycle:
    counts = {LOAD_REQUESTS: requests, LOAD_MS: ms} if requests else {}
    return Cycle(1, 1, "job", CycleKind.INCREMENTAL, CycleState.DONE, "", NOW, counts=counts)


def test_the_pace_is_that_of_the_latest_loads_of_any_size() -> None:
    """Small loads and cycles without one say nothing, and old loads no more."""
    assert known_pace([]) is None
    assert known_pace([cycle(0, 0), cycle(3, 1)]) is None
    assert known_pace([cycle(100, 1000), cycle(1, 9000), cycle(300, 1000)]) == 200
    assert known_pace([cycle(100, 1000)] * 5 + [cycle(100_000, 1)]) == 100
    assert pace_counts(0, 5.0) == {}
    assert pace_counts(7, 0.5) == {LOAD_REQUESTS: 7, LOAD_MS: 500}


@pytest.mark.parametrize(
    ("pace", "rate", "sentence"),
    [
        (None, None, ""),
        (100.0, None, "12,300 requests, about 2 min at 100 a second, as in earlier loads."),
        (100.0, 300.0, "12,300 requests, about 2 min at 100 a second, as in earlier loads."),
        (100.0, 5.0, "12,300 requests, about 41 min at 5 a second, as load.rate allows."),
        (1234.5, None, "12,300 requests, about 10 s at 1,234 a second, as in earlier loads."),
        (None, 0.5, "12,300 requests, about 6 h 50 min at 0.5 a second, as load.rate allows."),
    ],
)
def test_what_is_expected(pace: float | None, rate: float | None, sentence: str) -> None:
    """By what the target has shown, or by what the job allows where that is less; nothing where nothing is known."""
    assert forecast(12_300, pace=pace, rate=rate).sentence == sentence


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than 1 s"),
        (7.4, "about 7 s"),
        (42, "about 40 s"),
        (59, "about 1 min"),
        (185, "about 3 min"),
        (3599, "about 1 h"),
        (4500, "about 1 h 20 min"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    """As people say them, no more exactly than they are known."""
    assert spoken(seconds) == text


def test_it_is_corrected_while_it_runs() -> None:
    """First by earlier loads, then by its own last half minute; at the end nothing is left."""
    watch = Stopwatch()
    remaining = Remaining(Forecast(50_000, per_s=1000), clock=watch)
    assert remaining.sentence(0) == "about 50 s left"
    for second in range(1, 101):
        watch.now = 100 + second
        remaining.sentence(123 * second)
    assert remaining.sentence(12_300) == "about 5 min left"
    for second in range(101, 161):
        watch.now = 100 + second
        remaining.sentence(12_300 + 600 * (second - 100))
    assert remaining.sentence(48_300) == "about 3 s left"
    assert remaining.sentence(50_000) == ""


def test_without_anything_known_nothing_is_said_at_first() -> None:
    """The first load of a job is told about once it has a pace; one that stands still says nothing."""
    watch = Stopwatch()
    remaining = Remaining(Forecast(1000), clock=watch)
    assert remaining.sentence(0) == ""
    watch.now += 2
    assert remaining.sentence(100) == ""
    watch.now += 2
    assert remaining.sentence(200) == "about 15 s left"
    still = Remaining(Forecast(1000), clock=watch)
    watch.now += 600
    assert still.sentence(0) == ""


@pytest.mark.usefixtures("plain_runs")
def test_a_plan_says_how_long_it_takes(small: Workplace, service: ScimService, provisor: Callable[..., Said]) -> None:
    """Requests needed are part of every plan; how long they take, once there was a load, as its own pace has it."""
    first = provisor("plan", small.job, "--json").document
    assert first["expected"] == {"requests": first["requests"], "requests_per_s": None, "seconds": None}
    assert "earlier loads" not in provisor("plan", small.job).out
    assert small.cycle().exit_status == 0
    with open_ledger() as ledger:
        last = ledger.last_cycle("hr-to-scim")
    assert last is not None
    assert last.counts[LOAD_REQUESTS] == first["requests"]
    pace = 1000 * last.counts[LOAD_REQUESTS] / last.counts[LOAD_MS]
    for row in small.rows()[:100]:
        small.change(row["employeeId"], lambda one: one | {"jobTitle": "Archivist"})
    again = provisor("plan", small.job, "--json").document
    assert again["expected"]["requests"] == again["requests"] > 0
    assert again["expected"]["requests_per_s"] == pytest.approx(pace, rel=0.01)
    assert again["expected"]["seconds"] == pytest.approx(again["requests"] / pace, abs=0.1)
    assert "as in earlier loads." in provisor("plan", small.job).out
    small.save(load={"rate": "1/s"})
    assert f"{again['requests']:,} requests, about" in (shown := provisor("plan", small.job).out)
    assert "at 1 a second, as load.rate allows." in shown
    [cycle] = provisor("status", "--json").document[0]["cycles"]
    assert not {LOAD_REQUESTS, LOAD_MS} & cycle["counts"].keys()
