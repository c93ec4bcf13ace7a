"""Judges scoping filters over whole columns: true, false, or held because a cell cannot be judged. Pure.

A filter is an OR of groups of ANDed clauses. What a clause makes of a cell is the table ``tasks.cells.VERDICTS``; the
columns here are its fast form. False and true are stronger than held: a group with one false clause is false whatever
the others, and a filter with one true group is true.

Source: Microsoft Entra, "Scoping users or groups to be provisioned with scoping filters".
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Kind, Snapshot, Value
from connectors.errors import SettingsError
from tasks.cells import NO, QUESTION_OF, YES, Question, doubt_about, is_no_value, moments_in, numbers_in
from tasks.expressions import RegexTimeoutError, compile_pattern
from tasks.job import Case, Clause, MultiValued, Operator
from tasks.job.values import moment_of
from tasks.keys import texts
from tasks.membership import is_among, lowered, members_of

Mask = npt.NDArray[np.bool_]

SOFT_DELETED = "IsSoftDeleted"
"""Computed attribute, true for people who must not be active: unassigned, out of scope, or disabled in the source.

In a filter, which decides who is out of scope, it says only whether the source has disabled the entry.
"""

_TEXT = pa.large_string()
_SHOWN = 60
"""Letters of a value that a reason shows."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows for which something is true, and rows for which it cannot be said; it is false for the others."""

    true: Mask
    held: Mask

    @property
    def false(self) -> Mask:
        """Rows for which it is false."""
        return ~self.true & ~self.held

    @staticmethod
    def plain(true: Mask) -> "Judged":
        """Where everything can be judged."""
        return Judged(true, np.zeros(len(true), dtype=bool))


def judge_filter(
    scope: Sequence[Sequence[Clause]], frame: pd.DataFrame, snapshot: Snapshot, kind: Kind, now: datetime
) -> Judged:
    """The filter on every row; without one everybody passes."""
    if not scope:
        return Judged.plain(np.ones(len(frame), dtype=bool))
    true, held = np.zeros(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
    for group in scope:
        false, unsure = np.zeros(len(frame), dtype=bool), np.zeros(len(frame), dtype=bool)
        for clause in group:
            judged = judge_clause(clause, frame, snapshot, kind, now)
            false |= judged.false
            unsure |= judged.held
        true |= ~false & ~unsure
        held |= ~false & unsure
    return Judged(true, held & ~true)


def judge_clause(clause: Clause, frame: pd.DataFrame, snapshot: Snapshot, kind: Kind, now: datetime) -> Judged:
    """One clause on every row."""
    if clause.operator is Operator.MEMBER_OF:
        members = members_of(snapshot, values_of(clause), kind, nested=True, case=clause.case)
        return Judged.plain(is_among(frame.index, members))
    column = column_of(clause, frame, snapshot, kind)
    if column is None:
        return Judged.plain(np.full(len(frame), clause.operator is Operator.IS_NULL))
    if column.dtype == object:
        return _judge_lists(clause, column, now)
    if isinstance(column.dtype, pd.StringDtype):
        return _judge(clause, texts(column), now)
    if pd.api.types.is_bool_dtype(column.dtype):
        # As in expressions: a boolean against a text is compared without case.
        clause = clause.model_copy(update={"case": Case.IGNORE})
    return _judge(clause, texts(column.astype("str")), now)


def reasons_held(
    scope: Sequence[Sequence[Clause]],
    frame: pd.DataFrame,
    snapshot: Snapshot,
    kind: Kind,
    now: datetime,
    *,
    hidden: frozenset[str],
) -> list[str]:
    """Why each row of the frame cannot be judged; ``hidden`` are attributes whose values are not shown."""
    found: list[dict[str, None]] = [{} for _ in range(len(frame))]
    for clause in dict.fromkeys(clause for group in scope for clause in group):
        judged = judge_clause(clause, frame, snapshot, kind, now)
        column = column_of(clause, frame, snapshot, kind)
        if column is None or not judged.held.any():
            continue
        known: dict[str, str] = {}
        for row in np.flatnonzero(judged.held).tolist():
            value = next(text for text in texts_of(column.iloc[row]) if _is_held(clause, text, now))
            if value not in known:
                known[value] = reason_held(clause, value, hidden=clause.attribute in hidden)
            found[row][known[value]] = None
    return [" ".join(reasons) for reasons in found]


def reason_held(clause: Clause, value: str, *, hidden: bool = False) -> str:
    """Why one cell cannot be judged, as a sentence."""
    shown = "(redacted)" if hidden else repr(value if len(value) <= _SHOWN else f"{value[:_SHOWN]}…")
    doubt = doubt_about(clause.operator, value, clause.format)
    if hidden and "may be" in doubt:
        doubt = "can be read in several ways"
    return f"The filter cannot judge {clause.attribute} {clause.operator}: {shown} {doubt}."


def _is_held(clause: Clause, text: str, now: datetime) -> bool:
    return bool(_judge(clause, pa.array([text], type=_TEXT), now).held[0])


def column_of(clause: Clause, frame: pd.DataFrame, snapshot: Snapshot, kind: Kind) -> pd.Series | None:
    """What the clause looks at; None where the source has no such attribute."""
    if clause.attribute == SOFT_DELETED:
        return pd.Series(disabled_rows(snapshot, kind, frame), index=frame.index, dtype="boolean")
    return frame.get(clause.attribute)


def disabled_rows(snapshot: Snapshot, kind: Kind, frame: pd.DataFrame) -> Mask:
    """Rows that the source marks as disabled: users only, also where a group has the key of a user."""
    return is_among(frame.index, snapshot.disabled if kind is Kind.USER else ())


def values_of(clause: Clause) -> list[str]:
    """What the clause compares with, as texts."""
    return [str(value) for value in (clause.value if isinstance(clause.value, tuple | list) else [clause.value])]


def _judge_lists(clause: Clause, column: pd.Series, now: datetime) -> Judged:
    """A multi-valued column: the clause is judged on every value, then any or all of them must hold."""
    values = [texts_of(cell) for cell in column.array]
    lengths = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    if clause.operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
        return Judged.plain((lengths == 0) if clause.operator is Operator.IS_NULL else lengths > 0)
    row = np.repeat(np.arange(len(values)), lengths)
    judged = _judge(clause, pa.array([value for some in values for value in some], type=_TEXT), now)
    true = np.bincount(row, weights=judged.true, minlength=len(values))
    held = np.bincount(row, weights=judged.held, minlength=len(values))
    if clause.multi is MultiValued.ANY:
        return Judged(true > 0, (true == 0) & (held > 0))
    return Judged((true == lengths) & (lengths > 0), (held > 0) & (true + held == lengths))


def texts_of(cell: Value) -> list[str]:
    """The values of one cell that are not null or empty, as texts."""
    values = cell if isinstance(cell, list | tuple) else [cell]
    return [
        str(value) for value in values if value is not None and value is not pd.NA and value == value and value != ""
    ]


def _judge(clause: Clause, text: pa.Array, now: datetime) -> Judged:
    """The clause on text, null and empty text being nothing. Exhaustive over the questions that look at one value."""
    text = pc.if_else(pc.equal(text, ""), pa.scalar(None, _TEXT), text)
    none = _true(pc.match_substring_regex(text, _MAY_BE_NO_VALUE))
    if none.any():
        at = np.flatnonzero(none)
        none[at] = [is_no_value(cell) for cell in text.take(pa.array(at)).to_pylist()]
        judged = _ask(clause, text, now)
        return Judged(judged.true & ~none, judged.held | none)
    return _ask(clause, text, now)


_MAY_BE_NO_VALUE = r"^\s*#|\x00"


def _ask(clause: Clause, text: pa.Array, now: datetime) -> Judged:
    match QUESTION_OF[clause.operator]:
        case Question.PRESENCE:
            there = np.asarray(text.is_valid(), dtype=bool)
            return Judged.plain(there if clause.operator is Operator.IS_NOT_NULL else ~there)
        case Question.TEXT:
            return Judged.plain(_compare_texts(clause, text))
        case Question.TRUTH:
            return _judge_truth(clause, text)
        case Question.ORDER:
            return _judge_order(text, _ORDER[clause.operator], int(values_of(clause)[0]))
        case Question.BITS:
            return _judge_bits(text, int(values_of(clause)[0]), wanted=clause.operator is Operator.BITS)
        case Question.MOMENT:
            return _judge_moments(clause, text, moment_of(values_of(clause)[0], now))


def _compare_texts(clause: Clause, text: pa.Array) -> Mask:
    wanted = values_of(clause)
    if clause.case is Case.IGNORE:
        text, wanted = pc.utf8_lower(text), [lowered(value) for value in wanted]
    match clause.operator:
        case Operator.EQUALS:
            return _true(pc.equal(text, wanted[0]))
        case Operator.NOT_EQUALS:
            return _true(pc.not_equal(text, wanted[0]))
        case Operator.IN:
            return _true(pc.is_in(text, value_set=pa.array(wanted, type=_TEXT), skip_nulls=True))
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
        case _:
            raise AssertionError(f"{clause.operator} does not compare texts")


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


# --- what is understood ---------------------------------------------------------------------------------------------


def _judge_truth(clause: Clause, text: pa.Array) -> Judged:
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(text))
    yes = _true(pc.or_(pc.is_in(plain, value_set=_words(YES)), pc.match_substring_regex(plain, r"^1(\.0+)?$")))
    no = _true(pc.or_(pc.is_in(plain, value_set=_words(NO)), pc.match_substring_regex(plain, r"^0(\.0+)?$")))
    there = np.asarray(text.is_valid(), dtype=bool)
    return Judged(yes if clause.operator is Operator.IS_TRUE else no, there & ~yes & ~no)


def _words(words: frozenset[str]) -> pa.Array:
    return pa.array(sorted(words), type=_TEXT)


_ORDER: dict[Operator, Callable[..., Any]] = {
    Operator.GREATER_THAN: operator.gt,
    Operator.GREATER_THAN_OR_EQUALS: operator.ge,
    Operator.LESS_THAN: operator.lt,
    Operator.LESS_THAN_OR_EQUALS: operator.le,
}

_SMALL = r"^\s*[+-]?[0-9]{1,18}\s*$"
"""A whole number that surely fits into 64 bits."""
_SHORT_FRACTION = r"^\s*[+-]?[0-9]{1,8}\.[0-9]{1,7}\s*$"
"""A number whose digits a float holds exactly enough to compare it with any whole number."""


def _judge_order(text: pa.Array, holds: Callable[..., Any], wanted: int) -> Judged:
    true, held = np.zeros(len(text), dtype=bool), np.zeros(len(text), dtype=bool)
    there = np.asarray(text.is_valid(), dtype=bool)
    if abs(wanted) < 2**53:
        for pattern, kind in ((_SMALL, pa.int64()), (_SHORT_FRACTION, pa.float64())):
            at = np.flatnonzero(there & _true(pc.match_substring_regex(text, pattern)))
            if len(at):
                digits = pc.replace_substring_regex(text.take(pa.array(at)), r"[\s+]+", "")
                true[at] = holds(np.asarray(pc.cast(digits, kind)), wanted)
                there[at] = False
    _judge_singly(text, there, lambda cell: [holds(number, wanted) for number in numbers_in(cell)], true, held)
    return Judged(true, held)


def _judge_bits(text: pa.Array, bits: int, *, wanted: bool) -> Judged:
    """Numbers below 0 count too: as signed sets of bits (a directory's groupType) they are common."""
    true, held = np.zeros(len(text), dtype=bool), np.zeros(len(text), dtype=bool)
    there = np.asarray(text.is_valid(), dtype=bool)
    if bits < 2**63:
        at = np.flatnonzero(there & _true(pc.match_substring_regex(text, _SMALL)))
        if len(at):
            digits = pc.replace_substring_regex(text.take(pa.array(at)), r"[\s+]+", "")
            true[at] = ((np.asarray(pc.cast(digits, pa.int64())) & bits) != 0) == wanted
            there[at] = False

    def overlaps(cell: str) -> list[bool]:
        return [((int(number) & bits) != 0) == wanted for number in numbers_in(cell) if _is_whole(cell, number)]

    _judge_singly(text, there, overlaps, true, held)
    return Judged(true, held)


def _is_whole(cell: str, number: Decimal) -> bool:
    plain = cell.strip()
    return plain.lstrip("+-").isdigit() or (number in (0, 1) and plain.rstrip("0") in ("0.", "1."))


_ISO = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
    r"(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])?)?$"
)
"""The usual form of a date, which pandas reads a column at a time."""


def _judge_moments(clause: Clause, text: pa.Array, limit: datetime) -> Judged:
    before = clause.operator is Operator.BEFORE
    true, held = np.zeros(len(text), dtype=bool), np.zeros(len(text), dtype=bool)
    there = np.asarray(text.is_valid(), dtype=bool)
    if clause.format is None:
        at = np.flatnonzero(there & _true(pc.match_substring_regex(text, _ISO)))
        if len(at):
            usual = pd.Series(pd.array(text.take(pa.array(at)), dtype="str"))
            moments = pd.to_datetime(usual, format="ISO8601", utc=True, errors="coerce").astype("datetime64[us, UTC]")
            border = pd.Timestamp(limit)
            true[at] = np.asarray(moments < border if before else moments > border, dtype=bool)
            there[at] = moments.isna()

    def compared(cell: str) -> list[bool]:
        return [moment < limit if before else moment > limit for moment in moments_in(cell, clause.format)]

    _judge_singly(text, there, compared, true, held)
    return Judged(true, held)


def _judge_singly(text: pa.Array, rows: Mask, answers: Callable[[str], list[bool]], true: Mask, held: Mask) -> None:
    """Judges the rows that no column operation has judged, each different value once: held where the ways in which it
    can be read disagree, or there are none."""
    at = np.flatnonzero(rows)
    if not len(at):
        return
    coded = text.take(pa.array(at)).dictionary_encode()
    found = [set(answers(cell)) for cell in coded.dictionary.to_pylist()]
    codes = np.asarray(coded.indices)
    true[at] = np.array([answer == {True} for answer in found], dtype=bool)[codes]
    held[at] = np.array([len(answer) != 1 for answer in found], dtype=bool)[codes]
