"""A small chart of a job's last cycles, as one SVG that needs nothing else."""

from collections.abc import Iterator, Sequence
from html import escape

from tasks.ledger import Cycle
from tasks.pages.charts import GROUPS, HEIGHT, WIDTH, Bar, Chart, changes_over

_COLOURS = ("#16a34a", "#2563eb", "#64748b", "#d97706", "#dc2626")
"""Of ``GROUPS``; readable on light and dark ground."""
_HELD, _STOPPED, _TEXT, _LINE, _GROUND = "#7c3aed", "#dc2626", "#64748b", "#cbd5e1", "#f8fafc"
_HEAD = 34
"""Height of the legend above the chart."""


def draw(cycles: Sequence[Cycle]) -> str:
    """The chart as SVG; empty where no cycle did anything. ``cycles``: the newest first."""
    chart = changes_over(cycles[::-1])
    if chart is None:
        return ""
    height = HEIGHT + _HEAD
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12" fill="{_TEXT}">',
        f'<rect width="{WIDTH}" height="{height}" rx="6" fill="{_GROUND}"/>',
        *_legend(),
        f'<g transform="translate(0 {_HEAD})">',
        *_axis(chart),
        *(
            f'<rect x="{part.x}" y="{part.y}" width="{part.width}" height="{part.height}" '
            f'fill="{_COLOURS[part.kind]}"/>'
            for part in chart.parts
        ),
        *(text for bar in chart.bars for text in _bar(bar, chart)),
        "</g></svg>",
    ]
    return "".join(parts)


def _legend() -> Iterator[str]:
    marks = [f'<rect width="10" height="10" fill="{colour}"/>' for colour in _COLOURS]
    marks.append(f'<rect x=".5" y=".5" width="9" height="9" fill="none" stroke="{_HELD}" stroke-dasharray="3 2"/>')
    marks.append(f'<path d="M1 1l8 8m0-8l-8 8" stroke="{_STOPPED}" stroke-width="2"/>')
    for number, (mark, name) in enumerate(zip(marks, (*GROUPS, "held", "stopped"), strict=True)):
        yield f'<g transform="translate({56 + number * 128} 12)">{mark}<text x="16" y="9">{escape(name)}</text></g>'


def _axis(chart: Chart) -> Iterator[str]:
    for y, text in chart.ticks:
        yield f'<line x1="52" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_LINE}"/>'
        yield f'<text x="46" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
    for x, text in chart.labels:
        yield f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="middle">{text}</text>'


def _bar(bar: Bar, chart: Chart) -> Iterator[str]:
    if bar.held:
        place = f'x="{bar.x}" y="{bar.held_at}" width="{bar.width}" height="{bar.held}"'
        yield f'<rect {place} fill="none" stroke="{_HELD}" stroke-dasharray="3 2"/>'
    if bar.stopped:
        yield f'<path d="M{bar.x} {chart.foot - 8}l8 8m0-8l-8 8" stroke="{_STOPPED}" stroke-width="2"/>'
    if bar.idle:
        yield f'<rect x="{bar.x}" y="{chart.foot - 1.5}" width="{bar.width}" height="1.5" fill="{_LINE}"/>'
    if bar.cut:
        yield f'<path d="M{bar.x - 1} {chart.top + 8}l{bar.width + 2} -5" stroke="{_GROUND}" stroke-width="3"/>'
        middle = bar.x + bar.width / 2
        yield f'<text x="{middle:.1f}" y="{chart.top - 5}" text-anchor="middle">{bar.cut}</text>'
