"""Decides who is in scope, and says which assignment or clause decided it. Pure.

A filter is an OR of groups of ANDed clauses; an entry must be assigned (where the job says so) and pass the filter.
A clause about a null attribute is false, NOT EQUALS and NOT REGEX MATCH included; IS NULL is the exception.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Kind, Snapshot
from connectors.errors import SettingsError
from tasks.expressions import RegexTimeoutError, compile_pattern
from tasks.job import Assignment, AssignmentMode, Case, Clause, EntryRules, MultiValued, Operator

Mask = npt.NDArray[np.bool_]

NOT_ASSIGNED = "not assigned"
FILTERED_OUT = "out of scope: no group of clauses is true"
SOFT_DELETED = "IsSoftDeleted"
"""Computed attribute, true for whoever must not be active: unassigned, out of scope, or disabled in the source."""


@dataclass(frozen=True, slots=True)
class Scoped:
    """Entries of one kind, divided."""

    kind: Kind
    entries: pd.DataFrame
    """In-scope rows of the source frame with the computed boolean column ``IsSoftDeleted``; index is the anchor."""
    out: "pd.Series[str]"
    """Everybody else in the snapshot: index is the anchor, value the sentence that says why they are out."""

    @property
    def present(self) -> pd.Index:
        """Anchors of all entries the source has, in scope or not."""
        return self.entries.index.append(self.out.index)


def select(
    rules: EntryRules, snapshot: Snapshot, kind: Kind, *, assignment: Assignment | None, now: datetime
) -> Scoped:
    """Divides the entries of one kind by assignment and scoping filter.

    ``assignment`` None means that assignment does not apply to this kind.
    """
    frame = snapshot.entries(kind)
    assigned = _assigned(assignment, snapshot, frame) if assignment is not None else np.ones(len(frame), dtype=bool)
    passed = _passes(rules.scope, frame, snapshot, now)
    inside = assigned & passed
    reasons = pd.Series(FILTERED_OUT, index=frame.index[~inside], dtype="str")
    reasons[~assigned[~inside]] = NOT_ASSIGNED
    entries = frame.loc[inside] if not inside.all() else frame
    disabled = entries.index.isin(list(snapshot.disabled)) if snapshot.disabled else np.zeros(len(entries), dtype=bool)
    entries = entries.assign(**{SOFT_DELETED: pd.array(disabled, dtype="boolean")})
    return Scoped(kind=kind, entries=entries, out=reasons)


def explain_clauses(
    rules: EntryRules, snapshot: Snapshot, kind: Kind, key: str, *, now: datetime
) -> list[list[tuple[Clause, bool]]]:
    """Every clause of the filter with whether it holds for one entry, in the groups of the job file."""
    frame = snapshot.entries(kind).loc[[key]]
    return [[(clause, bool(_holds(clause, frame, snapshot, now)[0])) for clause in group] for group in rules.scope]


def members_of(snapshot: Snapshot, groups: Sequence[str], *, nested: bool) -> set[str]:
    """Keys of the members of groups given by key or by any text attribute (their name), nested ones if asked."""
    wanted = set(groups)
    frame = snapshot.groups
    found = {str(key) for key in frame.index if key in wanted}
    for column in frame.columns[[isinstance(dtype, pd.StringDtype) for dtype in frame.dtypes]]:
        found |= {str(key) for key in frame.index[frame[column].isin(list(wanted))]}
    edges = snapshot.members
    members: set[str] = set()
    frontier, seen = found, set(found)
    while frontier:
        direct = set(edges.loc[edges["group"].isin(list(frontier)), "member"])
        members |= direct
        frontier = ({key for key in direct if key in frame.index} - seen) if nested else set()
        seen |= frontier
    return members


def _assigned(assignment: Assignment, snapshot: Snapshot, frame: pd.DataFrame) -> Mask:
    match assignment.mode:
        case AssignmentMode.ALL:
            return np.ones(len(frame), dtype=bool)
        case AssignmentMode.ASSIGNED:
            members = members_of(snapshot, assignment.groups, nested=assignment.nested)
            return np.asarray(frame.index.isin([*assignment.users, *members]))


def _passes(scope: Sequence[Sequence[Clause]], frame: pd.DataFrame, snapshot: Snapshot, now: datetime) -> Mask:
    if not scope:
        return np.ones(len(frame), dtype=bool)
    passed = np.zeros(len(frame), dtype=bool)
    for group in scope:
        together = np.ones(len(frame), dtype=bool)
        for clause in group:
            together &= _holds(clause, frame, snapshot, now)
        passed |= together
    return passed


def _holds(clause: Clause, frame: pd.DataFrame, snapshot: Snapshot, now: datetime) -> Mask:
    """Rows for which the clause is true."""
    if clause.operator is Operator.MEMBER_OF:
        groups = clause.value if isinstance(clause.value, tuple | list) else [clause.value]
        return np.asarray(frame.index.isin(list(members_of(snapshot, [str(group) for group in groups], nested=True))))
    if clause.attribute not in frame:
        return np.full(len(frame), clause.operator is Operator.IS_NULL)
    column = frame[clause.attribute]
    if column.dtype == object:
        return _holds_for_values(clause, column, now)
    return _judge(clause, _as_text(column), now)


def _holds_for_values(clause: Clause, column: pd.Series, now: datetime) -> Mask:
    """A multi-valued column: the clause is judged on every value, then any or all of them must hold."""
    values = column.map(lambda cell: list(cell) if isinstance(cell, list | tuple) else ([] if cell is None else [cell]))
    filled = values.map(len).to_numpy() > 0
    if clause.operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
        return ~filled if clause.operator is Operator.IS_NULL else filled
    row = np.repeat(np.arange(len(values)), values.map(len).to_numpy())
    flat = pd.Series([str(value) for cell in values for value in cell], dtype="str")
    held = np.bincount(row, weights=_judge(clause, flat, now), minlength=len(values))
    counts = np.bincount(row, minlength=len(values))
    return (held == counts) & filled if clause.multi is MultiValued.ALL else held > 0


def _as_text(column: pd.Series) -> "pd.Series[str]":
    return column if isinstance(column.dtype, pd.StringDtype) else column.astype("str")


def _judge(clause: Clause, text: "pd.Series[str]", now: datetime) -> Mask:
    """The clause on text with NaN for null. Exhaustive over the operators that look at one value."""
    null = text.isna().to_numpy()
    wanted: Any = clause.value
    if clause.case is Case.IGNORE:
        text = text.str.lower()
        wanted = _lowered(wanted)
    match clause.operator:
        case Operator.IS_NULL:
            return null
        case Operator.IS_NOT_NULL:
            return ~null
        case Operator.EQUALS:
            return _true(text == str(wanted))
        case Operator.NOT_EQUALS:
            return _true(text != str(wanted)) & ~null
        case Operator.IN:
            values = wanted if isinstance(wanted, tuple | list) else [wanted]
            return np.asarray(text.isin([str(value) for value in values]))
        case Operator.IS_TRUE:
            return _true(text.str.lower().isin(["true", "1"]))
        case Operator.IS_FALSE:
            return _true(text.str.lower().isin(["false", "0"]))
        case Operator.INCLUDES:
            return _true(text.str.contains(str(wanted), regex=False))
        case Operator.STARTS_WITH:
            return _true(text.str.startswith(str(wanted)))
        case Operator.ENDS_WITH:
            return _true(text.str.endswith(str(wanted)))
        case Operator.REGEX_MATCH:
            return _search(clause, text)
        case Operator.NOT_REGEX_MATCH:
            return ~_search(clause, text) & ~null
        case (
            Operator.GREATER_THAN | Operator.GREATER_THAN_OR_EQUALS | Operator.LESS_THAN | Operator.LESS_THAN_OR_EQUALS
        ):
            return _compare_numbers(_ORDER[clause.operator], text, int(str(wanted)))
        case Operator.BITS | Operator.NOT_BITS:
            numbers, valid = _numbers(text)
            overlap = (numbers & int(str(wanted))) != 0
            return np.asarray(valid & (overlap if clause.operator is Operator.BITS else ~overlap))
        case Operator.BEFORE | Operator.AFTER:
            moments = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
            limit = pd.Timestamp(moment_of(str(wanted), now))
            return _true(moments < limit if clause.operator is Operator.BEFORE else moments > limit)
        case Operator.MEMBER_OF:
            raise AssertionError("membership is judged on the snapshot, not on a value")


_ORDER: dict[Operator, Callable[..., Mask]] = {
    Operator.GREATER_THAN: operator.gt,
    Operator.GREATER_THAN_OR_EQUALS: operator.ge,
    Operator.LESS_THAN: operator.lt,
    Operator.LESS_THAN_OR_EQUALS: operator.le,
}


def _search(clause: Clause, text: "pd.Series[str]") -> Mask:
    """Where the clause's pattern is found; unanchored, null nowhere.

    A pattern that takes too long stops the cycle: who is in scope must never depend on how busy the machine is.
    """
    pattern = compile_pattern(f"(?i){clause.value}" if clause.case is Case.IGNORE else str(clause.value))
    texts = pa.array(text.array, type=pa.large_string(), from_pandas=True)
    try:
        found = pattern.search_column(texts)
    except RegexTimeoutError as error:
        raise SettingsError(
            f"The filter on {clause.attribute} is too slow: {error}. Write a simpler pattern."
        ) from error
    return np.asarray(pc.fill_null(found, False), dtype=bool)


def _lowered(value: object) -> object:
    if isinstance(value, tuple | list):
        return [str(item).lower() for item in value]
    return str(value).lower()


def _true(mask: pd.Series) -> Mask:
    return np.asarray(mask.fillna(False), dtype=bool)


def _numbers(text: "pd.Series[str]") -> tuple[npt.NDArray[np.int64], Mask]:
    """Whole numbers >= 0, and where there is one; anything else is invalid and makes the clause false."""
    valid = _true(text.str.fullmatch(r"[0-9]{1,18}"))
    numbers = np.zeros(len(text), dtype=np.int64)
    numbers[valid] = text[valid].astype("int64").to_numpy()
    return numbers, valid


def _compare_numbers(compare: Callable[..., Mask], text: "pd.Series[str]", limit: int) -> Mask:
    numbers, valid = _numbers(text)
    return np.asarray(valid & compare(numbers, limit))


_OFFSET = re.compile(r"(?:now)?\s*([+-])\s*(\d+)\s*([dhw])", re.IGNORECASE)
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def moment_of(text: str, now: datetime) -> datetime:
    """A point in time from a clause: an ISO 8601 date, ``now``, or an offset from now (``now-30d``, ``+12h``)."""
    if text.strip().lower() == "now":
        return now
    offset = _OFFSET.fullmatch(text.strip())
    if offset:
        sign = 1 if offset.group(1) == "+" else -1
        return now + sign * int(offset.group(2)) * _UNITS[offset.group(3).lower()]
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
