"""Guards on updates: one attribute cleared for many, and everybody rewritten at once."""

import numpy as np

from connectors.contract import Action, Kind
from tasks.checks.bench import Bench, Guard, Mark, Part, Verdict
from tasks.checks.removals import exceeds
from tasks.job import Limit
from tasks.mapping import Mask
from tasks.plan import Wave


def judge_attributes(bench: Bench, limit: Limit) -> None:
    """Updates that turn a value into nothing, attribute by attribute; the rest of each update goes on."""
    for kind, entries in sorted(bench.plan.entries.items()):
        parts = _updates(bench, kind)
        for path in sorted({path for part in parts for path in _paths(part)}):
            marks = []
            for part in parts:
                if path not in _paths(part):
                    continue
                column = _paths(part).index(path)
                rows = np.flatnonzero(part.open[:, column] & _cleared(part, path))
                if len(rows):
                    marks.append(Mark(part, rows, column))
            count = sum(len(mark.rows) for mark in marks)
            if (why := exceeds(count, entries.population, limit)) is None:
                continue
            sentence = (
                f"{path} would be cleared for {count:,} {kind}s, {why}: that waits for approval, everything else about "
                "them goes on."
            )
            verdict = Verdict(Guard.ATTRIBUTE, count, sentence, path, count, entries.population, limit)
            bench.hold(verdict, marks)


def judge_updates(bench: Bench, limit: Limit) -> None:
    """Entries of one kind that would be changed by one cycle, where few should be.

    A change of most accounts is a column that has slipped, or a new mapping that somebody should look at first. What
    another guard holds does not happen now, so that the rest of these updates is judged without it. What is
    reviewed before it is carried out exactly as it is passes where the job itself has changed.
    """
    if bench.history.reviewed and not bench.history.settled:
        return
    why_now = (
        "although the job is as it was"
        if bench.history.settled
        else "and the job is new or has changed (review it with provisor plan JOB --out FILE, then provisor apply FILE)"
    )
    for kind, entries in sorted(bench.plan.entries.items()):
        marks = [Mark(part, np.flatnonzero((part.open & ~part.held).any(axis=1))) for part in _updates(bench, kind)]
        count = sum(len(mark.rows) for mark in marks)
        population = entries.population or len(entries.accounts)
        if (why := exceeds(count, population, limit)) is None:
            continue
        sentence = f"{count:,} {kind}s would be changed, {why}, {why_now}: these updates wait for approval."
        bench.hold(Verdict(Guard.UPDATES, count, sentence, "", count, population, limit), marks)


def _updates(bench: Bench, kind: Kind) -> list[Part]:
    return [
        part
        for part in bench.parts
        if part.block.action is Action.UPDATE and part.block.kind is kind and part.block.wave is not Wave.SET_REFERENCES
    ]


def _paths(part: Part) -> list[str]:
    return [] if part.block.touched is None else [str(path) for path in part.block.touched.columns]


def _cleared(part: Part, path: str) -> Mask:
    """Rows in which the attribute becomes null, or an empty list."""
    assert part.block.after is not None
    values = part.block.after[path]
    empty: Mask = values.isna().to_numpy(dtype=bool)
    if values.dtype == object:
        empty = empty | np.fromiter((value == [] for value in values.array), dtype=bool, count=len(values))
    return empty
