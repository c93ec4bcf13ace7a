"""What one cell of a source may mean, and what a scoping filter makes of it: true, false, or held.

A filter never takes what it does not understand for a no. ``VERDICTS`` is the whole rule, by what a clause asks and by
what the cell holds; the documentation shows the same table. Pure.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

from connectors.cells import UNREADABLE_CELL, is_error
from tasks.expressions import EvaluationError
from tasks.expressions.date_formats import Styles, read_exact
from tasks.expressions.moments import readings_of
from tasks.job import Operator


class CellKind(StrEnum):
    """What a cell holds, blanks around it left aside; the first that fits."""

    NOTHING = "nothing"
    BIT = "0 or 1"
    EIGHT_DIGITS = "eight digits that are a date (20271231)"
    DAY_NUMBER = "whole number from 10000 to 99999 (46752, a spreadsheet's day)"
    WHOLE = "other whole number"
    DECIMAL = "number with a fraction (37.5 or 37,5)"
    UNSURE_NUMBER = "number that can be read in two ways (1,234)"
    DATE = "date (2027-12-31, 31.12.2027, 12/31/2027)"
    UNSURE_DATE = "date that can be read in several ways (05/12/2027, 31.12.27)"
    WORD = "yes or no (true, no, WAHR)"
    NO_VALUE = "no value (a spreadsheet's #N/A, a cell that could not be read)"
    TEXT = "other text"


class Question(StrEnum):
    """What a clause asks."""

    PRESENCE = "IS NULL, IS NOT NULL"
    TEXT = "EQUALS, NOT EQUALS, IN, Includes, STARTS_WITH, ENDS_WITH, REGEX MATCH, NOT REGEX MATCH"
    TRUTH = "IS TRUE, IS FALSE"
    ORDER = "Greater_Than, Greater_Than_OR_EQUALS, LESS_THAN, LESS_THAN_OR_EQUALS"
    BITS = "&, !&"
    MOMENT = "BEFORE, AFTER"


class Ruling(StrEnum):
    """How a clause is decided."""

    FALSE = "false"
    COMPARED = "compared"
    EACH_WAY = "compared in every way; held if the results differ"
    HELD = "held"


def _row(**but: Ruling) -> Mapping[CellKind, Ruling]:
    """A row of the table: nothing is false, everything is held but for what is named."""
    return MappingProxyType(
        {kind: but.get(kind.name, Ruling.HELD) for kind in CellKind} | {CellKind.NOTHING: but["NOTHING"]}
    )


_FALSE, _COMPARED, _EACH = Ruling.FALSE, Ruling.COMPARED, Ruling.EACH_WAY

VERDICTS: Mapping[Question, Mapping[CellKind, Ruling]] = MappingProxyType(
    {
        Question.PRESENCE: MappingProxyType({**dict.fromkeys(CellKind, _COMPARED), CellKind.NO_VALUE: Ruling.HELD}),
        Question.TEXT: MappingProxyType(
            {**dict.fromkeys(CellKind, _COMPARED), CellKind.NOTHING: _FALSE, CellKind.NO_VALUE: Ruling.HELD}
        ),
        Question.TRUTH: _row(NOTHING=_FALSE, BIT=_COMPARED, WORD=_COMPARED),
        Question.ORDER: _row(
            NOTHING=_FALSE,
            BIT=_COMPARED,
            EIGHT_DIGITS=_COMPARED,
            DAY_NUMBER=_COMPARED,
            WHOLE=_COMPARED,
            DECIMAL=_COMPARED,
            UNSURE_NUMBER=_EACH,
        ),
        Question.BITS: _row(
            NOTHING=_FALSE, BIT=_COMPARED, EIGHT_DIGITS=_COMPARED, DAY_NUMBER=_COMPARED, WHOLE=_COMPARED
        ),
        Question.MOMENT: _row(
            NOTHING=_FALSE, EIGHT_DIGITS=_COMPARED, DAY_NUMBER=_EACH, DATE=_COMPARED, UNSURE_DATE=_EACH
        ),
    }
)
"""The whole rule. MEMBER_OF is not in it: it looks at memberships, not at a cell."""

QUESTION_OF: Mapping[Operator, Question] = MappingProxyType(
    {
        Operator.IS_NULL: Question.PRESENCE,
        Operator.IS_NOT_NULL: Question.PRESENCE,
        **dict.fromkeys(
            (
                Operator.EQUALS,
                Operator.NOT_EQUALS,
                Operator.IN,
                Operator.INCLUDES,
                Operator.STARTS_WITH,
                Operator.ENDS_WITH,
                Operator.REGEX_MATCH,
                Operator.NOT_REGEX_MATCH,
            ),
            Question.TEXT,
        ),
        Operator.IS_TRUE: Question.TRUTH,
        Operator.IS_FALSE: Question.TRUTH,
        **dict.fromkeys(
            (
                Operator.GREATER_THAN,
                Operator.GREATER_THAN_OR_EQUALS,
                Operator.LESS_THAN,
                Operator.LESS_THAN_OR_EQUALS,
            ),
            Question.ORDER,
        ),
        Operator.BITS: Question.BITS,
        Operator.NOT_BITS: Question.BITS,
        Operator.BEFORE: Question.MOMENT,
        Operator.AFTER: Question.MOMENT,
    }
)

YES = frozenset({"true", "t", "yes", "y", "on", "ja", "j", "wahr", "oui", "vrai", "sí", "si", "verdadero", "vero"})
NO = frozenset({"false", "f", "no", "n", "off", "nein", "falsch", "non", "faux", "falso"})
"""Words for yes and no in any case, among them those that spreadsheets write in other languages."""

_SPREADSHEET_DAY_0 = date(1899, 12, 30)
_SPREADSHEET_DAY_0_OF_1904 = date(1904, 1, 1)
_BIT = re.compile(r"[01](?:\.0+)?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_FRACTION = re.compile(r"[+-]?[0-9]*[.,][0-9]+")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3},[0-9]{3}")
_GROUPED = re.compile(
    r"[+-]?[0-9]{1,3}(?P<group>[.,' \u00a0\u2009\u202f’])[0-9]{3}(?:(?P=group)[0-9]{3})*(?P<point>[.,][0-9]+)?"
)
_SEVERAL_GROUPS = re.compile(r"[+-]?[0-9]{1,3}([.,])[0-9]{3}(?:\1[0-9]{3})+")


def kind_of(text: str | None) -> CellKind:
    """What a cell holds."""
    plain = (text or "").strip()
    if not text:
        return CellKind.NOTHING
    if is_no_value(text):
        return CellKind.NO_VALUE
    if _BIT.fullmatch(plain):
        return CellKind.BIT
    if _WHOLE.fullmatch(plain):
        if len(plain) == 8 and _eight_digits(plain) is not None:
            return CellKind.EIGHT_DIGITS
        return CellKind.DAY_NUMBER if len(plain) == 5 and plain[0] in "123456789" else CellKind.WHOLE
    if numbers := _fractions(plain):
        return CellKind.DECIMAL if len(numbers) == 1 else CellKind.UNSURE_NUMBER
    if dates := readings_of(plain):
        return CellKind.DATE if len(dates) == 1 else CellKind.UNSURE_DATE
    return CellKind.WORD if plain.casefold() in YES | NO else CellKind.TEXT


def is_no_value(text: str) -> bool:
    """Whether a cell says only that there is no value to be had."""
    return UNREADABLE_CELL in text or is_error(text.strip())


def numbers_in(text: str) -> tuple[Decimal, ...]:
    """The numbers that a cell may mean: one for most, two for ``1,234``, none for what is no number."""
    plain = text.strip()
    if _WHOLE.fullmatch(plain):
        return (Decimal(plain),)
    return _fractions(plain)


def _fractions(plain: str) -> tuple[Decimal, ...]:
    """Numbers with a fraction or with groups of thousands."""
    if _FRACTION.fullmatch(plain):
        fraction = Decimal(plain.replace(",", "."))
        return (fraction, Decimal(plain.replace(",", ""))) if _THOUSANDS.fullmatch(plain) else (fraction,)
    match = _GROUPED.fullmatch(plain)
    if match is None or match["group"] == (match["point"] or "")[:1]:
        return (Decimal(re.sub(r"[.,]", "", plain)),) if _SEVERAL_GROUPS.fullmatch(plain) else ()
    whole, point = plain, match["point"] or ""
    if point:
        whole = plain[: -len(point)]
    return (Decimal(whole.replace(match["group"], "") + point.replace(",", ".")),)


def moments_in(text: str, form: str | None = None) -> tuple[datetime, ...]:
    """The points in time, UTC, that a cell may mean; none for what is no date.

    ``form``: the only format that counts, as .NET writes it.
    """
    plain = text.strip()
    if form is not None:
        try:
            found = read_exact(plain, form, Styles.ASSUME_UNIVERSAL, today=date(2000, 1, 1))
        except EvaluationError:
            return ()
        return (found.moment.clock.replace(tzinfo=UTC),)
    if (day := _eight_digits(plain)) is not None:
        return (day,)
    if re.fullmatch(r"[1-9][0-9]{4}", plain):
        starts = (_SPREADSHEET_DAY_0, _SPREADSHEET_DAY_0_OF_1904)
        days = [start + timedelta(days=int(plain)) for start in starts]
        return tuple(datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days)
    return tuple(moment.clock.replace(tzinfo=UTC) for moment in readings_of(plain))


def _eight_digits(plain: str) -> datetime | None:
    if not re.fullmatch(r"[12][0-9]{7}|99991231", plain):
        return None
    try:
        return datetime(int(plain[:4]), int(plain[4:6]), int(plain[6:]), tzinfo=UTC)
    except ValueError:
        return None


_WANTED = {
    Question.TRUTH: "true or false",
    Question.ORDER: "a number",
    Question.BITS: "a whole number",
    Question.MOMENT: "a date",
}


def doubt_about(operator: Operator, text: str, form: str | None = None) -> str:
    """Why a cell cannot be judged, as the end of a sentence that begins with its attribute and its value."""
    question, kind = QUESTION_OF[operator], kind_of(text)
    if kind is CellKind.NO_VALUE:
        return "is no value"
    if question is Question.MOMENT and form is not None:
        return f"is not a date in the format {form}"
    if question is Question.MOMENT and kind is CellKind.UNSURE_DATE:
        ways = " or ".join(f"{moment:%Y-%m-%d}" for moment in moments_in(text))
        return f"may be {ways}; give the clause its format, like format: dd/MM/yyyy"
    if question is Question.MOMENT and kind is CellKind.DAY_NUMBER:
        return f"is a number, and may be a spreadsheet's {moments_in(text)[0]:%Y-%m-%d}; export it as a date"
    if question is Question.ORDER and kind is CellKind.UNSURE_NUMBER:
        return f"may be {' or '.join(f'{number:f}' for number in numbers_in(text))}"
    return f"cannot be read as {_WANTED.get(question, 'a value')}"
