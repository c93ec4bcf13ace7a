"""Runs checks with Great Expectations, under its own names.

Great Expectations is imported only here and only when a job has checks: it takes seconds to load. All checks of a frame
run as one suite, so that what they have in common is worked out once. Which rows fail is then asked of failing checks
alone, and found by column operations where these find as many as Great Expectations has counted: it makes a list of
dicts of them, 30 s for 100,000 rows.
"""

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tasks.expectations.results import CheckFailedError, CheckResult
from tasks.job import Check, Checked
from tasks.keys import Rows

_KEY = "key"
_OTHER_KEY = "provisor:key"
"""Name of the column that holds the rows' keys, where an attribute has the other one."""


def run_checks(checks: Mapping[Checked, Sequence[Check]], frames: Mapping[Checked, pd.DataFrame]) -> list[CheckResult]:
    """What comes of every check of the given frames, in the order of the job file.

    Raises: CheckFailedError where one cannot be run.
    """
    wanted = [(name, list(some)) for name, some in checks.items() if some and name in frames]
    if not wanted:
        return []
    validate = _validator()
    return [result for frame, some in wanted for result in validate(frame, frames[frame], some)]


def _validator() -> Callable[[Checked, pd.DataFrame, Sequence[Check]], list[CheckResult]]:
    """A function that validates one frame; made once, since starting Great Expectations takes seconds."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it warns about its own use of deprecated names
        import great_expectations as gx
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("provisor")

    def validate(name: Checked, frame: pd.DataFrame, checks: Sequence[Check]) -> list[CheckResult]:
        keys = pd.Series(frame.index.astype("str").array)
        key = _OTHER_KEY if _KEY in frame.columns else _KEY
        frame = frame.reset_index(drop=True).assign(**{key: keys})
        asset = source.add_dataframe_asset(name=str(name))
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
        expectations = [_expectation(gx, check, name, number) for number, check in enumerate(checks)]
        suite = gx.ExpectationSuite(name=str(name), expectations=expectations)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its pandas calls warn about pandas' own future
            counted = batch.validate(suite, result_format={"result_format": "BASIC", "partial_unexpected_count": 0})
            found = {int(one.expectation_config.meta["number"]): one for one in counted.results}
            return [
                _result(name, check, found[number], partial(_failing, frame, key, check, found[number], batch, gx))
                for number, check in enumerate(checks)
            ]

    return validate


def _expectation(gx: Any, check: Check, frame: Checked, number: int) -> Any:
    name = "".join(part.title() for part in check.expectation.split("_"))
    try:
        return getattr(gx.expectations, name)(**check.arguments, meta={"number": number})
    except (AttributeError, TypeError, ValueError) as error:
        first = " ".join(str(error).split("\n")[:3])
        raise CheckFailedError(f"The check {check.expectation} on {frame} cannot be made: {first}") from error


def _result(frame: Checked, check: Check, found: Any, keys: Callable[[], tuple[str, ...]]) -> CheckResult:
    if not found.success and (message := _exception_message(found.exception_info)):
        known = {*map(str, check.arguments.values())}
        raise CheckFailedError(f"The check {check.expectation} on {frame} could not be run: {_told(message, known)}")
    details = found.result or {}
    rows = details.get("element_count")
    observed = details.get("observed_value")
    return CheckResult(
        frame=frame,
        expectation=check.expectation,
        arguments=check.arguments,
        on_failure=check.on_failure,
        success=bool(found.success),
        keys=() if found.success or rows is None else keys(),
        rows=rows,
        failing=details.get("unexpected_count") if rows is not None else None,
        observed=f"{observed:,}" if isinstance(observed, int | float) and not isinstance(observed, bool) else "",
    )


def _exception_message(info: Mapping[str, Any] | None) -> str | None:
    """The first line of what went wrong inside an expectation: it is given flat, or once per metric."""
    for part in [info, *(info or {}).values()]:
        if isinstance(part, Mapping) and part.get("exception_message"):
            return str(part["exception_message"]).splitlines()[0]
    return None


def _told(message: str, known: set[str]) -> str:
    """A message without what it quotes: that may be somebody's value. What the job says itself may be told."""
    return re.sub(r"""(["'])(.*?)\1""", lambda found: found[0] if found[2] in known else "…", message)


# --- rows that fail ------------------------------------------------------------------------------------------------


def _failing(frame: pd.DataFrame, key: str, check: Check, found: Any, batch: Any, gx: Any) -> tuple[str, ...]:
    """Keys of the rows that fail a check, sorted."""
    rows = failing_rows(check, frame)
    if rows is not None and len(rows) == found.result["unexpected_count"]:
        return tuple(sorted(set(frame[key].iloc[rows])))
    result = batch.validate(
        _expectation(gx, check, Checked.PLAN, 0),
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [key]},
    )
    return tuple(sorted({str(row[key]) for row in (result.result or {}).get("unexpected_index_list") or ()}))


def failing_rows(check: Check, frame: pd.DataFrame) -> Rows | None:
    """Positions of the rows that fail a check, by column operations; None where there are none for it."""
    arguments = check.arguments
    column = arguments.get("column")
    if "row_condition" in arguments or column not in frame.columns:
        return None
    values = frame[column]
    given = values.notna()
    match check.expectation:
        case "expect_column_values_to_not_be_null":
            failing = ~given
        case "expect_column_values_to_be_null":
            failing = given
        case "expect_column_values_to_be_unique":
            failing = given & values.duplicated(keep=False)
        case "expect_column_values_to_be_in_set":
            failing = given & ~values.isin(arguments["value_set"])
        case "expect_column_values_to_not_be_in_set":
            failing = given & values.isin(arguments["value_set"])
        case "expect_column_values_to_match_regex":
            failing = given & ~_contains(values, arguments["regex"])
        case "expect_column_values_to_not_match_regex":
            failing = given & _contains(values, arguments["regex"])
        case "expect_column_value_lengths_to_be_between" if not arguments.keys() & {"strict_min", "strict_max"}:
            low, high = arguments.get("min_value"), arguments.get("max_value")
            failing = given & ~values.astype("str").str.len().between(low or 0, np.inf if high is None else high)
        case _:
            return None
    return np.flatnonzero(failing.to_numpy(dtype=bool, na_value=False))


def _contains(values: pd.Series, regex: str) -> "pd.Series[bool]":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about groups in the pattern, which are no mistake here
        return values.astype("str").str.contains(regex).fillna(False).astype(bool)
