"""Runs a job's data-quality checks with Great Expectations, under its own names, on frames.

Great Expectations is imported only here and only when a job has checks: it takes seconds to load.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from connectors.contract import Kind, Snapshot, Unreadable
from connectors.errors import FatalError
from tasks.job import Check, Checked, Job, OnFailure

_KEY = "key"


class CheckFailedError(FatalError):
    """A check that the job says must hold does not; nothing was written."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check that did not hold."""

    frame: Checked
    check: Check
    sentence: str
    keys: tuple[str, ...] = ()
    """Keys of the rows that fail it; empty where the check is about the frame as a whole."""


def check_snapshots(job: Job, source: Snapshot, target: Snapshot) -> tuple[Snapshot, Snapshot, list[Finding]]:
    """Both snapshots without the rows that a check holds, and every check that does not hold.

    Raises: CheckFailedError.
    """
    if job.checks.get(Checked.PLAN):
        raise CheckFailedError("Checks on the plan are not run yet: take them out of the job. Nothing was written.")
    frames = {**frames_of(source, side="source"), **frames_of(target, side="target")}
    findings = run_checks(job.checks, frames)
    if findings:
        source = hold_rows(source, findings, side="source")
        target = hold_rows(target, findings, side="target")
    return source, target, findings


def run_checks(checks: Mapping[Checked, Sequence[Check]], frames: Mapping[Checked, pd.DataFrame]) -> list[Finding]:
    """Every check of the given frames that does not hold, in the order of the job file.

    Raises: CheckFailedError naming every failed check whose ``on_failure`` is ``stop``, or one that cannot be run.
    """
    wanted = [(name, list(some)) for name, some in checks.items() if some and name in frames]
    if not wanted:
        return []
    validate = _validator()
    findings = [
        finding
        for frame, some in wanted
        for finding in validate(frame, frames[frame].rename_axis(_KEY).reset_index(), some)
    ]
    fatal = [finding.sentence for finding in findings if finding.check.on_failure is OnFailure.STOP]
    if fatal:
        raise CheckFailedError(" ".join([*fatal, "Nothing was written."]))
    return findings


def hold_rows(snapshot: Snapshot, findings: Sequence[Finding], *, side: str) -> Snapshot:
    """The snapshot without the rows that a check holds; they stay known, so that nobody takes them for gone.

    ``side``: ``source`` or ``target``, the part of the frames' names before the dot.
    """
    for kind, part in ((Kind.USER, "users"), (Kind.GROUP, "groups")):
        held: dict[str, str] = {}
        for finding in findings:
            if finding.check.on_failure is OnFailure.HOLD_ROWS and finding.frame == f"{side}.{part}":
                held |= {key: finding.sentence for key in finding.keys if key not in held}
        if not held:
            continue
        frame = snapshot.entries(kind)
        kept = frame.loc[~frame.index.isin(list(held))]
        rows = tuple(Unreadable(kind, key, f"{side}.{part}", why) for key, why in sorted(held.items()))
        snapshot = replace(snapshot, unreadable=(*snapshot.unreadable, *rows))
        if kind is Kind.USER:
            snapshot.users = kept
        else:
            snapshot.groups = kept
    return snapshot


def frames_of(snapshot: Snapshot, *, side: str) -> dict[Checked, pd.DataFrame]:
    """The snapshot's frames by the names that a job file gives them."""
    return {
        Checked(f"{side}.users"): snapshot.users,
        Checked(f"{side}.groups"): snapshot.groups,
        Checked(f"{side}.members"): snapshot.members,
    }


def _validator() -> Any:
    """A function that validates one frame; made once, since starting Great Expectations takes seconds."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it warns about its own use of deprecated names
        import great_expectations as gx
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("provisor")

    def validate(name: Checked, frame: pd.DataFrame, checks: Sequence[Check]) -> list[Finding]:
        asset = source.add_dataframe_asset(name=str(name))
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
        findings = []
        for check in checks:
            expectation = _expectation(gx, check, name)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # its pandas calls warn about pandas' own future
                result = batch.validate(
                    expectation,
                    result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [_KEY]},
                )
            if not result.success:
                findings.append(_finding(name, check, result))
        return findings

    return validate


def _expectation(gx: Any, check: Check, frame: Checked) -> Any:
    name = "".join(part.title() for part in check.expectation.split("_"))
    try:
        return getattr(gx.expectations, name)(**check.arguments)
    except (AttributeError, TypeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise CheckFailedError(f"The check {check.expectation} on {frame} cannot be made: {first}") from error


def _finding(frame: Checked, check: Check, result: Any) -> Finding:
    if message := _exception_message(result.exception_info):
        raise CheckFailedError(f"The check {check.expectation} on {frame} could not be run: {message}")
    details = result.result or {}
    keys = tuple(sorted({str(row[_KEY]) for row in details.get("unexpected_index_list") or ()}))
    about = ", ".join(f"{key}={value}" for key, value in check.arguments.items())
    if keys:
        what = f"{len(keys)} rows fail"
    else:
        observed = details.get("observed_value")
        what = f"observed {observed}" if observed is not None else "does not hold"
    return Finding(frame, check, f"Check on {frame}: {check.expectation}({about}): {what}.", keys)


def _exception_message(info: Mapping[str, Any] | None) -> str | None:
    """The first line of what went wrong inside an expectation: it is given flat, or once per metric."""
    for part in [info, *(info or {}).values()]:
        if isinstance(part, Mapping) and part.get("exception_message"):
            return str(part["exception_message"]).splitlines()[0]
    return None
