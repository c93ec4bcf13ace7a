"""Geometry of the charts; the templates draw them as SVG. Pure.

One large cycle must not flatten the others: the axis ends a little above what is usual, and what is larger is cut, with
its number above it. What was held or stopped shows, and so does a cycle that had nothing to do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.ledger import Cycle, CycleState

GROUPS: Mapping[str, tuple[str, ...]] = {
    "created": ("created",),
    "changed": ("updated", "enabled"),
    "memberships": ("members_added", "members_removed"),
    "disabled or deleted": ("disabled", "deleted"),
    "failed": ("failed",),
}
"""What a bar is stacked from, from the bottom up: names for people to names of counts."""

WIDTH, HEIGHT = 960, 190
_LEFT, _BOTTOM, _TOP = 56, 24, 22
HELD = "staged"
"""Name of the count of what waits for approval."""
_USUAL = 0.85
"""Share of the cycles that did something which the axis shows whole."""
_ROOM = 1.3
SPARK_WIDTH, SPARK_HEIGHT, SPARK_CYCLES = 150, 26, 30
_STOPPED = (CycleState.STOPPED, CycleState.CRASHED)


@dataclass(frozen=True, slots=True)
class Part:
    """One rectangle of a bar."""

    kind: int
    """Position in ``GROUPS``: its colour."""
    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class Bar:
    """What stands for one cycle, apart from its parts."""

    x: float
    width: float
    cut: str = ""
    """The number of a bar that is cut; empty where it is shown whole."""
    held: float = 0
    """Height of the outline that stands for what is held."""
    held_at: float = 0
    """Where it begins."""
    stopped: bool = False
    idle: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars over cycles, with an axis."""

    parts: Sequence[Part]
    ticks: Sequence[tuple[float, str]]
    """Height and text of the lines across."""
    labels: Sequence[tuple[float, str]]
    """Place and text below the bars."""
    bars: Sequence[Bar] = ()
    foot: float = 0
    """Where the bars stand."""
    top: float = 0
    """Where one that is cut ends."""


def changes_over(cycles: Sequence[Cycle]) -> Chart | None:
    """Changes per cycle, the oldest on the left; None where no cycle did anything."""
    if not any(_total(cycle) or _held(cycle) or cycle.state in _STOPPED for cycle in cycles):
        return None
    most = _round_up(_usual(cycles))
    step = (WIDTH - _LEFT) / max(len(cycles), 10)
    parts, bars = _draw(cycles, most, _LEFT, step, HEIGHT - _BOTTOM, _TOP)
    every = max(1, len(cycles) // 10)
    labels = [
        (round(_LEFT + (place + 0.5) * step, 1), f"#{cycle.number}")
        for place, cycle in enumerate(cycles)
        if place % every == 0
    ]
    scale = (HEIGHT - _BOTTOM - _TOP) / most
    ticks = [(HEIGHT - _BOTTOM - value * scale, f"{value:,}") for value in dict.fromkeys((0, most // 2, most))]
    return Chart(parts, ticks, labels, bars, HEIGHT - _BOTTOM, _TOP)


def spark(cycles: Sequence[Cycle]) -> Chart:
    """The last cycles, the oldest on the left, small enough for the row of a table."""
    some = cycles[-SPARK_CYCLES:]
    step = SPARK_WIDTH / SPARK_CYCLES
    start = SPARK_WIDTH - step * len(some)
    parts, bars = _draw(some, _round_up(_usual(some)), start, step, SPARK_HEIGHT - 1, 4, gap=1)
    return Chart(parts, (), (), bars, SPARK_HEIGHT - 1, 4)


def _draw(
    cycles: Sequence[Cycle], most: int, left: float, step: float, foot: float, top: float, *, gap: float = 4
) -> tuple[list[Part], list[Bar]]:
    parts: list[Part] = []
    bars: list[Bar] = []
    for place, cycle in enumerate(cycles):
        x, width = round(left + place * step + gap / 2, 1), round(step - gap, 1)
        total, held = _total(cycle), _held(cycle)
        # A bar that is cut keeps the proportions of its parts.
        scale = (foot - top) / max(most, total)
        y = float(foot)
        for kind, (name, counts) in enumerate(GROUPS.items()):
            if count := _group(cycle, counts):
                height = min(max(count * scale, 1.0), y - top + 1)
                y -= height
                title = f"Cycle {cycle.number}, {cycle.began:%Y-%m-%d %H:%M}: {count:,} {name}"
                parts.append(Part(kind, x, round(y, 1), width, round(height, 1), title))
        outline = min(held * (foot - top) / most, y - top)
        cut = f"{total + held:,}" if total + held > most else ""
        bars.append(
            Bar(
                x,
                width,
                cut,
                round(max(outline, 3.0), 1) if held else 0,
                round(y - max(outline, 3.0), 1) if held else 0,
                stopped=cycle.state in _STOPPED,
                idle=not total and not held and cycle.state not in _STOPPED,
                title=f"Cycle {cycle.number}: {held:,} held" if held else f"Cycle {cycle.number}",
            )
        )
    return parts, bars


def _usual(cycles: Sequence[Cycle]) -> int:
    """The height of the axis before it is rounded: what most cycles that did something do, and a little room."""
    busy = sorted(total for cycle in cycles if (total := _total(cycle) + _held(cycle)))
    if not busy:
        return 1
    usual = busy[min(int(len(busy) * _USUAL), len(busy) - 1)]
    return busy[-1] if busy[-1] <= usual * _ROOM else max(int(usual * _ROOM), 1)


def _total(cycle: Cycle) -> int:
    return sum(_group(cycle, names) for names in GROUPS.values())


def _held(cycle: Cycle) -> int:
    return cycle.counts.get(HELD, 0)


def _group(cycle: Cycle, names: Sequence[str]) -> int:
    return sum(cycle.counts.get(name, 0) for name in names)


def _round_up(most: int) -> int:
    """The next round number, so that half of it is one too."""
    unit = int(f"1{'0' * (len(str(most)) - 1)}")
    return next(top for top in range(unit, 20 * unit, unit) if top >= most and top % 2 == 0)
