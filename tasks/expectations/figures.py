"""The figures of snapshots, cycle by cycle: how many entries, how many without a value, how many different values.

    snapshots/<job>/figures.json   the last snapshots' figures, the oldest first; no value of anybody is in it

A figure is held against the median of the last snapshots. Before there are a few of them nothing is said.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import orjson
import pandas as pd
import pyarrow.compute as pc

from connectors.contract import Snapshot
from tasks.expectations.builtin import frame_name
from tasks.expectations.results import CheckResult
from tasks.job import BuiltinChecks, Checked, Job, Reaction, Swing
from tasks.keys import texts
from tasks.private import make_folder, replace_file

CYCLES = 20
"""How many snapshots back figures are remembered."""
ENOUGH = 3
"""Snapshots it takes before a figure can be called unusual."""
_FEW = 20
"""Entries, or different values, below which chance alone moves a figure a lot."""


@dataclass(frozen=True, slots=True)
class FrameFigures:
    """The figures of one frame."""

    rows: int
    nulls: Mapping[str, int]
    """By attribute: entries without a value."""
    distinct: Mapping[str, int]
    """By attribute: different values; attributes with lists are not counted."""


Figures: TypeAlias = Mapping[Checked, FrameFigures]
"""The figures of one cycle, by frame."""
Record: TypeAlias = Mapping[Checked, Sequence[FrameFigures]]
"""The figures of the last cycles that saw a frame whole, by frame, the oldest first."""


def figures_of(job: Job, snapshot: Snapshot, side: str) -> Figures:
    """The figures of both kinds of entries; nothing where no check looks at them."""
    chosen = job.checks.builtin
    if all(swing.on_failure is Reaction.OFF for swing in (chosen.row_count, chosen.null_share, chosen.distinct_count)):
        return {}
    return {frame_name(side, kind): _measure(snapshot.entries(kind)) for kind in job.rules}


def _measure(frame: pd.DataFrame) -> FrameFigures:
    nulls, distinct = {}, {}
    for name, column in frame.items():
        nulls[str(name)] = int(column.isna().sum())
        if isinstance(column.dtype, pd.StringDtype):
            distinct[str(name)] = pc.count_distinct(texts(column)).as_py()
        elif column.dtype != object:
            distinct[str(name)] = int(column.nunique())
    return FrameFigures(len(frame), nulls, distinct)


# --- comparing -----------------------------------------------------------------------------------------------------


def check_figures(chosen: BuiltinChecks, now: Figures, earlier: Record) -> list[CheckResult]:
    """What comes of holding the figures against those of earlier cycles."""
    results: list[CheckResult] = []
    for frame, figures in now.items():
        before = earlier.get(frame, ())
        if len(before) >= ENOUGH:
            results += _check_frame(chosen, frame, figures, before)
    return results


def _check_frame(
    chosen: BuiltinChecks, frame: Checked, now: FrameFigures, before: Sequence[FrameFigures]
) -> Iterator[CheckResult]:
    usual = median(one.rows for one in before)
    since = f"the median of the last {len(before)} snapshots"
    change = (now.rows - usual) / usual if usual else 0.0
    moved = usual >= _FEW and abs(change) > chosen.row_count.fraction
    if (swing := chosen.row_count).on_failure is not Reaction.OFF:
        words = (
            f"{now.rows:,} entries, against {usual:,.0f} in {since} ({change:+.0%}, more than ±{swing.fraction:.0%})"
        )
        bounds = {"min_value": round(usual * (1 - swing.fraction)), "max_value": round(usual * (1 + swing.fraction))}
        yield _result(frame, "expect_table_row_count_to_be_between", bounds, swing, "row_count", now.rows, words, moved)
    if min(now.rows, usual) < _FEW:
        return
    for column in now.nulls:
        known = [one for one in before if column in one.nulls and one.rows]
        if len(known) < ENOUGH:
            continue
        if (swing := chosen.null_share).on_failure is not Reaction.OFF:
            share, was = now.nulls[column] / now.rows, median(one.nulls[column] / one.rows for one in known)
            if abs(share - was) > swing.fraction:
                words = f"{share:.1%} of {column} is empty, against {was:.1%} in {since}"
                low, high = max(1 - was - swing.fraction, 0.0), min(1 - was + swing.fraction, 1.0)
                expectation = "expect_column_proportion_of_non_null_values_to_be_between"
                bounds = _between(column, low, high)
                yield _result(frame, expectation, bounds, swing, "null_share", f"{1 - share:.4f}", words, True)
        counted = [one.distinct[column] for one in known if column in one.distinct]
        if (swing := chosen.distinct_count).on_failure is not Reaction.OFF and len(counted) >= ENOUGH:
            count = now.distinct.get(column)
            if not moved or count == 1:  # fewer people have fewer addresses
                yield from _check_distinct(swing, frame, column, count, median(counted), since)


def _between(column: str, low: float, high: float) -> dict[str, Any]:
    return {"column": column, "min_value": low, "max_value": high}


def _check_distinct(
    swing: Swing, frame: Checked, column: str, count: int | None, usual: float, since: str
) -> Iterator[CheckResult]:
    few = max(count or 0, usual) < _FEW and count != 1
    if count is None or not usual or few or abs(count - usual) <= swing.fraction * usual:
        return
    words = f"{count:,} different values of {column}, against {usual:,.0f} in {since}"
    low, high = usual * (1 - swing.fraction), usual * (1 + swing.fraction)
    bounds = _between(column, round(low), round(high))
    yield _result(
        frame, "expect_column_unique_value_count_to_be_between", bounds, swing, "distinct_count", count, words, True
    )


def _result(
    frame: Checked,
    expectation: str,
    arguments: Mapping[str, Any],
    swing: Swing,
    builtin: str,
    observed: int | str,
    words: str,
    moved: bool,
) -> CheckResult:
    return CheckResult(
        frame=frame,
        expectation=expectation,
        arguments=arguments,
        on_failure=swing.on_failure.on_failure,
        success=not moved,
        observed=f"{observed:,}" if isinstance(observed, int) else observed,
        builtin=builtin,
        words=words,
    )


# --- keeping -------------------------------------------------------------------------------------------------------


def read_figures(folder: Path) -> Record:
    """What is kept in a job's folder of snapshots; nothing where it cannot be read."""
    try:
        found = json.loads((folder / "figures.json").read_bytes())
        return {Checked(name): [FrameFigures(**one) for one in figures] for name, figures in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep_figures(folder: Path, figures: Figures) -> None:
    """Adds a cycle's figures to what is kept. Raises: OSError."""
    if figures:
        kept = dict(read_figures(folder))
        kept |= {frame: [*kept.get(frame, ()), one][-CYCLES:] for frame, one in figures.items()}
        plain = {str(frame): [asdict(one) for one in some] for frame, some in kept.items()}
        replace_file(make_folder(folder) / "figures.json", orjson.dumps(plain))
