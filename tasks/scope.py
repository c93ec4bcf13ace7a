"""Decides who is in scope, and says which assignment or clause decided it. Pure.

A filter is an OR of groups of ANDed clauses; an entry must be assigned (where the job says so) and pass the filter.
A clause about an attribute that is null or empty is false, NOT EQUALS and NOT REGEX MATCH included; IS NULL is the
exception.

Source: Microsoft Entra, "Scoping users or groups to be provisioned with scoping filters".
"""

import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Kind, Snapshot, Value
from connectors.errors import SettingsError
from tasks.expressions import EvaluationError, RegexTimeoutError, compile_expression, compile_pattern
from tasks.expressions.moments import read_moment
from tasks.job import Assignment, AssignmentMode, Case, Clause, EntryRules, MultiValued, Operator
from tasks.job.values import moment_of
from tasks.keys import texts
from tasks.membership import (
    Membership,
    assigned_to,
    is_among,
    is_assigned,
    listed_groups,
    lowered,
    members_of,
    memberships,
)

Mask = npt.NDArray[np.bool_]

NOT_ASSIGNED = "not assigned"
FILTERED_OUT = "out of scope: no group of clauses is true"
SOFT_DELETED = "IsSoftDeleted"
"""Computed attribute, true for whoever must not be active: unassigned, out of scope, or disabled in the source.

In a filter, which decides who is out of scope, it says only whether the source has disabled the entry.
"""

_TEXT = pa.large_string()


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
    assigned = is_assigned(assignment, snapshot, kind)
    passed = _passes(rules.scope, frame, snapshot, kind, now)
    inside = assigned & passed
    reasons = pd.Series(FILTERED_OUT, index=frame.index[~inside], dtype="str")
    reasons[~assigned[~inside]] = NOT_ASSIGNED
    entries = frame.loc[inside] if not inside.all() else frame
    disabled = pd.array(_disabled(snapshot, kind, entries), dtype="boolean")
    return Scoped(kind=kind, entries=entries.assign(**{SOFT_DELETED: disabled}), out=reasons)


def _disabled(snapshot: Snapshot, kind: Kind, frame: pd.DataFrame) -> Mask:
    """Rows that the source marks as disabled: users only, also where a group has the key of a user."""
    return is_among(frame.index, snapshot.disabled if kind is Kind.USER else ())


def asks_memberships(rules: EntryRules) -> bool:
    """True when the filter looks at who is a member of what: then a missing edge can put somebody out of scope."""
    return any(clause.operator is Operator.MEMBER_OF for group in rules.scope for clause in group)


# --- filters -------------------------------------------------------------------------------------------------------


def _passes(
    scope: Sequence[Sequence[Clause]], frame: pd.DataFrame, snapshot: Snapshot, kind: Kind, now: datetime
) -> Mask:
    if not scope:
        return np.ones(len(frame), dtype=bool)
    passed = np.zeros(len(frame), dtype=bool)
    for group in scope:
        together = np.ones(len(frame), dtype=bool)
        for clause in group:
            together &= _holds(clause, frame, snapshot, kind, now)
        passed |= together
    return passed


def _holds(clause: Clause, frame: pd.DataFrame, snapshot: Snapshot, kind: Kind, now: datetime) -> Mask:
    """Rows for which the clause is true."""
    if clause.operator is Operator.MEMBER_OF:
        return is_among(frame.index, members_of(snapshot, _values(clause), kind, nested=True, case=clause.case))
    column = _column(clause, frame, snapshot, kind)
    if column is None:
        return np.full(len(frame), clause.operator is Operator.IS_NULL)
    if column.dtype == object:
        return _holds_for_values(clause, column, now)
    if isinstance(column.dtype, pd.StringDtype):
        return _judge(clause, texts(column), now)
    if pd.api.types.is_bool_dtype(column.dtype):
        # As in expressions: a boolean against a text is compared without case.
        clause = clause.model_copy(update={"case": Case.IGNORE})
    return _judge(clause, texts(column.astype("str")), now)


def _column(clause: Clause, frame: pd.DataFrame, snapshot: Snapshot, kind: Kind) -> pd.Series | None:
    """What the clause looks at; None where the source has no such attribute."""
    if clause.attribute == SOFT_DELETED:
        return pd.Series(_disabled(snapshot, kind, frame), index=frame.index, dtype="boolean")
    return frame.get(clause.attribute)


def _values(clause: Clause) -> list[str]:
    """What the clause compares with, as texts."""
    return [str(value) for value in (clause.value if isinstance(clause.value, tuple | list) else [clause.value])]


def _holds_for_values(clause: Clause, column: pd.Series, now: datetime) -> Mask:
    """A multi-valued column: the clause is judged on every value, then any or all of them must hold."""
    values = [_texts_of(cell) for cell in column.array]
    lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    if clause.operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
        return (lengths == 0) if clause.operator is Operator.IS_NULL else lengths > 0
    row = np.repeat(np.arange(len(values)), lengths)
    flat = pa.array([value for texts in values for value in texts], type=_TEXT)
    held = np.bincount(row, weights=_judge(clause, flat, now), minlength=len(values))
    return (held == lengths) & (lengths > 0) if clause.multi is MultiValued.ALL else held > 0


def _texts_of(cell: Value) -> list[str]:
    """The values of one cell that are not null or empty, as texts."""
    values = cell if isinstance(cell, list | tuple) else [cell]
    return [
        str(value) for value in values if value is not None and value is not pd.NA and value == value and value != ""
    ]


def _judge(clause: Clause, text: pa.Array, now: datetime) -> Mask:
    """The clause on text, null and empty text being nothing. Exhaustive over the operators that look at one value."""
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, _TEXT), text)
    wanted = _values(clause)
    if clause.case is Case.IGNORE:
        text, wanted = pc.utf8_lower(text), [lowered(value) for value in wanted]
    match clause.operator:
        case Operator.IS_NULL:
            return np.asarray(text.is_null(), dtype=bool)
        case Operator.IS_NOT_NULL:
            return np.asarray(text.is_valid(), dtype=bool)
        case Operator.EQUALS:
            return _true(pc.equal(text, wanted[0]))
        case Operator.NOT_EQUALS:
            return _true(pc.not_equal(text, wanted[0]))
        case Operator.IN:
            return _true(pc.is_in(text, value_set=pa.array(wanted, type=_TEXT), skip_nulls=True))
        case Operator.IS_TRUE:
            return _one_of(text, "true", "1")
        case Operator.IS_FALSE:
            return _one_of(text, "false", "0")
        case Operator.INCLUDES:
            return _true(pc.match_substring(text, wanted[0]))
        case Operator.STARTS_WITH:
            return _true(pc.starts_with(text, wanted[0]))
        case Operator.ENDS_WITH:
            return _true(pc.ends_with(text, wanted[0]))
        case Operator.REGEX_MATCH:
            return _true(_search(clause, text))
        case Operator.NOT_REGEX_MATCH:
            return _true(pc.invert(_search(clause, text)))
        case (
            Operator.GREATER_THAN | Operator.GREATER_THAN_OR_EQUALS | Operator.LESS_THAN | Operator.LESS_THAN_OR_EQUALS
        ):
            return _with_numbers(text, _ORDER[clause.operator], int(wanted[0]))
        case Operator.BITS:
            return _with_numbers(text, _overlaps, int(wanted[0]), negative=True)
        case Operator.NOT_BITS:
            return _with_numbers(text, lambda value, bits: ~_overlaps(value, bits), int(wanted[0]), negative=True)
        case Operator.BEFORE | Operator.AFTER:
            limit = pd.Timestamp(moment_of(wanted[0], now))
            moments = _moments(text)
            return np.asarray(moments < limit if clause.operator is Operator.BEFORE else moments > limit, dtype=bool)
        case Operator.MEMBER_OF:
            raise AssertionError("membership is judged on the snapshot, not on a value")


def _one_of(text: pa.Array, *words: str) -> Mask:
    return _true(pc.is_in(pc.utf8_lower(text), value_set=pa.array(words, type=_TEXT), skip_nulls=True))


def _search(clause: Clause, text: pa.Array) -> pa.Array:
    """Where the clause's pattern is found; unanchored, null stays null.

    A pattern that takes too long stops the cycle: who is in scope must never depend on how busy the machine is.
    """
    pattern = compile_pattern(f"(?i){clause.value}" if clause.case is Case.IGNORE else str(clause.value))
    try:
        return pattern.search_column(text)
    except RegexTimeoutError as error:
        raise SettingsError(
            f"The filter on {clause.attribute} is too slow: {error}. Write a simpler pattern."
        ) from error


def _true(flags: pa.Array) -> Mask:
    return np.asarray(pc.fill_null(flags, False), dtype=bool)


_ORDER: dict[Operator, Callable[..., Any]] = {
    Operator.GREATER_THAN: operator.gt,
    Operator.GREATER_THAN_OR_EQUALS: operator.ge,
    Operator.LESS_THAN: operator.lt,
    Operator.LESS_THAN_OR_EQUALS: operator.le,
}


def _overlaps(value: Any, bits: int) -> Any:
    return np.asarray((value & bits) != 0)


_SMALL = 18
"""Digits that a number may have so that it surely fits into 64 bits."""


def _with_numbers(text: pa.Array, holds: Callable[..., Any], wanted: int, *, negative: bool = False) -> Mask:
    """Where the text is a whole number that ``holds`` with the wanted one; false where it is anything else.

    Numbers below 0 count only where asked for: as signed sets of bits (a directory's groupType) they are common.
    """
    sign = "-?" if negative else ""
    valid = pc.fill_null(pc.match_substring_regex(text, rf"^{sign}[0-9]+$"), False)
    fits = abs(wanted) < 2**63
    small = pc.and_(valid, pc.less_equal(pc.fill_null(pc.utf8_length(text), 0), _SMALL)) if fits else pc.invert(valid)
    small = pc.and_(small, valid)
    result = np.zeros(len(text), dtype=bool)
    at = np.flatnonzero(np.asarray(small, dtype=bool))
    if len(at):
        result[at] = holds(np.asarray(pc.cast(text.take(pa.array(at)), pa.int64())), wanted)
    for position in np.flatnonzero(np.asarray(valid, dtype=bool) & ~np.asarray(small, dtype=bool)):
        result[position] = bool(holds(int(text[int(position)].as_py()), wanted))
    return result


def _moments(text: pa.Array) -> "pd.Series[pd.Timestamp]":
    """Points in time, UTC, NaT for what is none: ISO 8601, and every other form that expressions read unaided."""
    texts = pd.Series(pd.array(text, dtype="str"))
    moments = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce").astype("datetime64[us, UTC]")
    other = texts[moments.isna() & texts.notna()]
    if len(other):
        read = {form: _read_moment(form) for form in other.unique()}
        moments[other.index] = other.map(read).astype("datetime64[us, UTC]")
    return moments


def _read_moment(text: str) -> datetime | None:
    try:
        return read_moment(text).clock.replace(tzinfo=UTC)
    except EvaluationError:
        return None


# --- why -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClauseVerdict:
    """One clause, judged for one entry."""

    clause: Clause
    holds: bool
    value: Value
    """What the entry has: None for null; for MEMBER_OF the memberships that make it true."""
    hidden: bool = False
    """True where the value is not shown because a mapping that reads the attribute is redacted."""


@dataclass(frozen=True, slots=True)
class ScopeDecision:
    """Why one entry is in scope or not."""

    kind: Kind
    key: str
    present: bool
    """Whether the source has the entry at all; without it nothing below means anything."""
    by_key: bool = False
    """Whether the job or its table assigns the entry itself: a user by anchor, a group by anchor or name."""
    by_groups: tuple[Membership, ...] = ()
    """Assigned groups that the entry belongs to, in the order of their keys."""
    assigned: bool = True
    """Whether the entry is assigned; always true where the job assigns everybody."""
    groups: tuple[tuple[ClauseVerdict, ...], ...] = ()
    """The filter's groups of clauses, as in the job file; empty where there is no filter."""
    disabled: bool = False
    """Whether the source marks the entry as disabled."""

    @property
    def passing(self) -> int | None:
        """Number (from 0) of the first group of clauses that is true as a whole, the one that decided."""
        return next((n for n, group in enumerate(self.groups) if all(verdict.holds for verdict in group)), None)

    @property
    def passed(self) -> bool:
        """Whether the filter lets the entry through."""
        return not self.groups or self.passing is not None

    @property
    def in_scope(self) -> bool:
        """Whether the entry is provisioned."""
        return self.present and self.assigned and self.passed

    @property
    def failing(self) -> tuple[ClauseVerdict, ...]:
        """The clauses that keep the entry out: those that are false, of every group; none when one group is true."""
        if self.passing is not None:
            return ()
        return tuple(verdict for group in self.groups for verdict in group if not verdict.holds)


def explain_scope(
    rules: EntryRules, snapshot: Snapshot, kind: Kind, key: str, *, assignment: Assignment | None, now: datetime
) -> ScopeDecision:
    """Which assignment and which clauses decide about one entry, by the same rules as :func:`select`."""
    if key not in snapshot.entries(kind).index:
        return ScopeDecision(kind, key, present=False)
    frame = snapshot.entries(kind).loc[[key]]
    limited = assignment is not None and assignment.mode is AssignmentMode.ASSIGNED
    by_key = False
    by_groups: tuple[Membership, ...] = ()
    if assignment is not None and limited:
        users, listed = assigned_to(assignment, snapshot)
        nested = assignment.nested
        by_key = key in (users.to_pylist() if kind is Kind.USER else listed_groups(snapshot, listed, Case.EXACT))
        if kind is Kind.USER or nested:
            by_groups = memberships(snapshot, kind, key, listed, nested=nested, case=Case.EXACT)
    hidden = hidden_attributes(rules)
    groups = tuple(
        tuple(_verdict(clause, frame, snapshot, kind, now, hidden) for clause in group) for group in rules.scope
    )
    return ScopeDecision(
        kind,
        key,
        present=True,
        by_key=by_key,
        by_groups=by_groups,
        assigned=not limited or by_key or bool(by_groups),
        groups=groups,
        disabled=kind is Kind.USER and key in snapshot.disabled,
    )


def _verdict(
    clause: Clause, frame: pd.DataFrame, snapshot: Snapshot, kind: Kind, now: datetime, hidden: Collection[str]
) -> ClauseVerdict:
    holds = bool(_holds(clause, frame, snapshot, kind, now)[0])
    if clause.operator is Operator.MEMBER_OF:
        found = memberships(snapshot, kind, str(frame.index[0]), _values(clause), nested=True, case=clause.case)
        return ClauseVerdict(clause, holds, found)
    if clause.attribute in hidden:
        return ClauseVerdict(clause, holds, None, hidden=True)
    column = _column(clause, frame, snapshot, kind)
    value = None if column is None else column.iloc[0]
    null = value is None or value is pd.NA or (isinstance(value, float) and value != value)
    return ClauseVerdict(clause, holds, None if null else value)


def hidden_attributes(rules: EntryRules) -> set[str]:
    """Source attributes that a redacted mapping reads."""
    hidden: set[str] = set()
    for mapping in rules.attributes.values():
        text = mapping.expression if mapping.expression is not None else mapping.reference
        if text is not None and (mapping.redact or compile_expression(text).redacted):
            hidden |= compile_expression(text).attributes
    return hidden
