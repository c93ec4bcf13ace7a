"""Geometry of the charts; the templates draw them as SVG. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.ledger import Cycle

GROUPS: Mapping[str, tuple[str, ...]] = {
    "created": ("created",),
    "changed": ("updated", "enabled"),
    "memberships": ("members_added", "members_removed"),
    "disabled or deleted": ("disabled", "deleted"),
    "failed": ("failed",),
}
"""What a bar is stacked from, from the bottom up: names for people to names of counts."""

WIDTH, HEIGHT = 960, 190
_LEFT, _BOTTOM, _TOP = 56, 24, 8


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
class Chart:
    """Bars over cycles, with an axis."""

    parts: Sequence[Part]
    ticks: Sequence[tuple[float, str]]
    """Height and text of the lines across."""
    labels: Sequence[tuple[float, str]]
    """Place and text below the bars."""


def changes_over(cycles: Sequence[Cycle]) -> Chart | None:
    """Changes per cycle, the oldest on the left; None where no cycle did anything."""
    totals = [sum(_group(cycle, names) for names in GROUPS.values()) for cycle in cycles]
    most = max(totals, default=0)
    if not most:
        return None
    top = _round_up(most)
    scale = (HEIGHT - _BOTTOM - _TOP) / top
    step = (WIDTH - _LEFT) / max(len(cycles), 10)
    parts: list[Part] = []
    for place, cycle in enumerate(cycles):
        y = float(HEIGHT - _BOTTOM)
        for kind, (name, counts) in enumerate(GROUPS.items()):
            if count := _group(cycle, counts):
                height = max(count * scale, 1.0)
                y -= height
                title = f"Cycle {cycle.number}, {cycle.began:%Y-%m-%d %H:%M}: {count:,} {name}"
                parts.append(Part(kind, round(_LEFT + place * step + 2, 1), round(y, 1), step - 4, height, title))
    every = max(1, len(cycles) // 10)
    labels = [
        (round(_LEFT + (place + 0.5) * step, 1), f"#{cycle.number}")
        for place, cycle in enumerate(cycles)
        if place % every == 0
    ]
    ticks = [(HEIGHT - _BOTTOM - value * scale, f"{value:,}") for value in dict.fromkeys((0, top // 2, top))]
    return Chart(parts, ticks, labels)


def _group(cycle: Cycle, names: Sequence[str]) -> int:
    return sum(cycle.counts.get(name, 0) for name in names)


def _round_up(most: int) -> int:
    """The next round number, so that half of it is one too."""
    unit = int(f"1{'0' * (len(str(most)) - 1)}")
    return next(top for top in range(unit, 20 * unit, unit) if top >= most and top % 2 == 0)
