"""Data quality: checks of both snapshots and of the plan, those a job writes and those nobody has to write.

great      Great Expectations, under its own names          builtin    what is wrong with any data
figures    against the figures of the last snapshots        planned    the plan as a frame
results    what came of a check, without anybody's values    known      what need not be looked at, or told, again
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from connectors.contract import Kind, Snapshot, Unreadable
from tasks.expectations.builtin import check_builtin, check_listing, frame_name
from tasks.expectations.figures import (
    Figures,
    FrameFigures,
    Record,
    check_figures,
    figures_of,
    keep_figures,
    read_figures,
)
from tasks.expectations.great import run_checks
from tasks.expectations.known import (
    NOTHING_KNOWN,
    Known,
    digest_of,
    keep_known,
    mark_of,
    mark_of_sentence,
    marks_of,
    read_known,
)
from tasks.expectations.planned import check_planned
from tasks.expectations.results import CheckFailedError, CheckResult, failed, reasons_to_hold, refuse_failed
from tasks.expressions import Context
from tasks.job import Checked, Job

__all__ = [
    "NOTHING_KNOWN",
    "CheckFailedError",
    "CheckResult",
    "Figures",
    "FrameFigures",
    "Known",
    "Record",
    "check_again",
    "check_listed",
    "check_planned",
    "check_source",
    "check_target",
    "digest_of",
    "failed",
    "figures_of",
    "keep_figures",
    "keep_known",
    "mark_of",
    "mark_of_sentence",
    "marks_of",
    "read_figures",
    "read_known",
]

_SOURCE = (Checked.SOURCE_USERS, Checked.SOURCE_GROUPS, Checked.SOURCE_MEMBERS)
_TARGET = (Checked.TARGET_USERS, Checked.TARGET_GROUPS, Checked.TARGET_MEMBERS)


def check_source(
    job: Job, source: Snapshot, context: Context, figures: Figures, earlier: Record
) -> tuple[Snapshot, list[CheckResult]]:
    """The source without the rows that a check holds, and what came of every check on it. Raises: CheckFailedError.

    ``figures``: of this source, with what is known of ``earlier`` ones.
    """
    results = _run(job, source, _SOURCE)
    results += check_builtin(job, source, context)
    results += check_figures(job.checks.builtin, figures, earlier)
    refuse_failed(results)
    return hold_rows(source, results, side="source"), results


def check_again(source: Snapshot, results: Sequence[CheckResult]) -> tuple[Snapshot, list[CheckResult]]:
    """As ``check_source``, for a source that is what it was when these results came of it. Raises: CheckFailedError."""
    refuse_failed(results)
    return hold_rows(source, results, side="source"), [*results]


def check_target(job: Job, target: Snapshot) -> tuple[Snapshot, list[CheckResult]]:
    """The same for what is seen of the target, as far as somebody wrote checks for it. Raises: CheckFailedError."""
    results = _run(job, target, _TARGET)
    refuse_failed(results)
    return hold_rows(target, results, side="target"), results


def check_listed(job: Job, target: Snapshot, figures: Figures, earlier: Record) -> list[CheckResult]:
    """What comes of the built-in checks of a target that was listed. Raises: CheckFailedError."""
    results = [*check_listing(job, target), *check_figures(job.checks.builtin, figures, earlier)]
    refuse_failed(results)
    return results


def _run(job: Job, snapshot: Snapshot, frames: Sequence[Checked]) -> list[CheckResult]:
    parts = (snapshot.users, snapshot.groups, snapshot.members)
    return run_checks({name: job.checks.of(name) for name in frames}, dict(zip(frames, parts, strict=True)))


def hold_rows(snapshot: Snapshot, results: Sequence[CheckResult], *, side: str) -> Snapshot:
    """The snapshot without the rows that a check holds; they stay known, so that nobody takes them for gone, and they
    are set aside, because a check never keeps anybody who has left.

    ``side``: ``source`` or ``target``, the part of the frames' names before the dot.
    """
    for kind in Kind:
        name = frame_name(side, kind)
        held = reasons_to_hold(results, name)
        if not held:
            continue
        frame = snapshot.entries(kind)
        among = frame.index.isin(list(held))
        kept: pd.DataFrame = frame.loc[~among]
        rows = tuple(Unreadable(kind, key, name, why) for key, why in sorted(held.items()))
        before = snapshot.set_aside.get(kind)
        aside = frame.loc[among] if before is None else pd.concat([before, frame.loc[among]])
        set_aside = {**snapshot.set_aside, kind: aside}
        snapshot = replace(snapshot, unreadable=(*snapshot.unreadable, *rows), set_aside=set_aside)
        if kind is Kind.USER:
            snapshot.users = kept
        else:
            snapshot.groups = kept
    return snapshot
