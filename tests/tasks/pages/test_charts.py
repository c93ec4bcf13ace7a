"""Charts of cycles: one large cycle does not flatten the others, and what was held or stopped shows."""

from dataclasses import replace
from datetime import UTC, datetime

from tasks.ledger import Cycle, CycleKind, CycleState
from tasks.pages.charts import SPARK_HEIGHT, SPARK_WIDTH, changes_over, spark

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def cycle(number: int, state: CycleState = CycleState.DONE, **counts: int) -> Cycle:
    """One cycle."""
    return Cycle(number, number, "hr", CycleKind.INCREMENTAL, state, "f", BEGAN, counts=counts)


USUAL = [cycle(number, updated=10 + number) for number in range(1, 13)]


def test_one_large_cycle_does_not_flatten_the_rest() -> None:
    """It is cut with its number above; the others keep most of the height they would have without it."""
    alone, beside = changes_over(USUAL), changes_over([*USUAL[:-1], cycle(12, created=3000)])
    assert alone is not None
    assert beside is not None
    assert [bar.cut for bar in beside.bars] == [""] * 11 + ["3,000"]
    assert beside.parts[0].height > alone.parts[0].height / 3
    assert min(part.y for part in beside.parts) >= beside.top - 1


def test_held_stopped_and_idle_cycles_show() -> None:
    """An outline above what was done, a cross, and a dash: a gap in time is never taken for nothing to do."""
    cycles = [*USUAL, cycle(13, CycleState.STAGED, updated=3, staged=20), cycle(14, CycleState.STOPPED), cycle(15)]
    chart = changes_over(cycles)
    assert chart is not None
    held, stopped, idle = chart.bars[-3:]
    assert held.held > 0
    assert held.held_at + held.held <= chart.foot
    assert (stopped.stopped, stopped.idle) == (True, False)
    assert (idle.stopped, idle.idle) == (False, True)


def test_a_job_that_only_holds_has_a_chart() -> None:
    """And one in which nothing was ever done has none."""
    assert changes_over([cycle(1, CycleState.STAGED, staged=80)]) is not None
    assert changes_over([cycle(1), cycle(2)]) is None


def test_the_small_chart_shows_the_last_thirty() -> None:
    """The newest on the right, inside its frame."""
    chart = spark([replace(USUAL[0], number=number) for number in range(50)])
    assert len(chart.bars) == 30
    assert all(0 <= bar.x <= bar.x + bar.width <= SPARK_WIDTH for bar in chart.bars)
    assert all(0 <= part.y <= part.y + part.height <= SPARK_HEIGHT for part in chart.parts)
