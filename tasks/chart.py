"""A small chart of a job's last cycles."""

from collections.abc import Sequence
from html import escape

from tasks.ledger import Cycle

_GROUPS = (
    ("created", "#16a34a", ("created",)),
    ("changed", "#2563eb", ("updated", "enabled", "members_added")),
    ("removed", "#d97706", ("disabled", "deleted", "members_removed")),
    ("failed or held", "#dc2626", ("failed", "held", "staged")),
)
"""What is drawn on top of each other: name, colour, counts of a cycle."""

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 220, 64, 34, 24


def draw(cycles: Sequence[Cycle]) -> str:
    """The chart as SVG; readable on light and dark ground."""
    bars = [[sum(one.counts.get(name, 0) for name in names) for _, _, names in _GROUPS] for one in cycles[::-1]]
    highest = max([1, *map(sum, bars)])
    room, step = _HEIGHT - _TOP - _BOTTOM, (_WIDTH - _LEFT - 8) / max(len(bars), 1)
    width = min(step * 0.7, 40)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="12" fill="#64748b">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="#f8fafc"/>',
    ]
    for number, (name, colour, _) in enumerate(_GROUPS):
        at = _LEFT + number * 120
        parts.append(f'<rect x="{at}" y="12" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{at + 15}" y="21">{escape(name)}</text>')
    for value in sorted({0, highest}):
        y = _TOP + room * (1 - value / highest)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" stroke="#cbd5e1"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:,}</text>')
    labelled = max(1, len(bars) // 15)
    for place, (counts, cycle) in enumerate(zip(bars, cycles[::-1], strict=True)):
        x, y = _LEFT + place * step + (step - width) / 2, float(_TOP + room)
        for count, (_, colour, _) in zip(counts, _GROUPS, strict=True):
            height = room * count / highest
            y -= height
            if count:
                parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(height, 1):.1f}" fill="{colour}"/>'
                )
        if place % labelled == 0:
            middle = x + width / 2
            parts.append(f'<text x="{middle:.1f}" y="{_HEIGHT - 8}" text-anchor="middle">#{cycle.number}</text>')
    return "".join([*parts, "</svg>"])
