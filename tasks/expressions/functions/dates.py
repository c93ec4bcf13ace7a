"""Functions on dates. Dates are UTC and travel between functions as text, ``M/d/yyyy h:mm:ss tt``."""

import re
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.expressions.context import Context
from tasks.expressions.date_columns import reformat_column
from tasks.expressions.date_formats import DEFAULT_STYLES, read_exact, read_styles, split_format, write
from tasks.expressions.errors import EvaluationError
from tasks.expressions.functions.texts import SOURCE
from tasks.expressions.moments import (
    Interval,
    Moment,
    add,
    difference,
    from_filetime,
    read_moment,
    render,
    to_filetime,
)
from tasks.expressions.operands import TEXT_TYPE, Operand, Partly, Scalar, Vector, as_text, flags, text_vector
from tasks.expressions.signature import Example, Parameter, Type, function, text_source
from tasks.expressions.tree import Call, Constant, Node

_TRAVELLING = "M/d/yyyy h:mm:ss tt"
"""The form in which dates travel between functions."""

_STYLE_WORDS = re.compile(
    r"\s*(None|Allow\w+White\w*|NoCurrentDateDefault|AdjustToUniversal|Assume\w+|RoundtripKind)\b"
)


def _reformatted(operand: Operand, read_as: Sequence[str], write_as: str) -> Partly | None:
    """Dates from the first format that fits to another; what fits none is not done. Each distinct text once."""
    text = as_text(operand)
    if not isinstance(text, Vector):
        return None
    encoded = text.data.dictionary_encode()
    written = pa.nulls(len(encoded.dictionary), TEXT_TYPE)
    done = np.zeros(len(encoded.dictionary), dtype=bool)
    for pattern in read_as:
        try:
            result = reformat_column(encoded.dictionary, pattern, write_as, DEFAULT_STYLES)
        except EvaluationError:
            return None
        if result is not None:
            written = pc.if_else(pa.array(result[1] & ~done), result[0], written)
            done |= result[1]
    if not done.any():
        return None
    rows = pc.fill_null(pa.array(done).take(encoded.indices), True)
    return Partly(text_vector(written.take(encoded.indices)), flags(rows))


def _c_date_column(operands: Sequence[Operand], context: Context) -> Partly | None:
    return _reformatted(operands[0], ("yyyy-MM-dd", "yyyy-MM-ddTHH:mm:ss", _TRAVELLING), _TRAVELLING)


@function(
    "CDate",
    text_source("expression"),
    gives="The date that a text means, in UTC. Without a zone it is UTC, without a time midnight.",
    example=(
        Example('CDate("2020-03-16-07:00")', "3/16/2020 7:00:00 AM"),
        Example('CDate("2021-06-30+08:00")', "6/29/2021 4:00:00 PM"),
    ),
    source=SOURCE,
    compute_column=_c_date_column,
)
def c_date(text: str) -> str:
    return render(read_moment(text))


@function(
    "DateAdd",
    Parameter("interval", Type.INTERVAL),
    Parameter("value", Type.NUMBER),
    Parameter("dateTime", Type.DATE),
    gives="A date some intervals later, or earlier for a negative number (yyyy, m, d, ww, h, n, s).",
    example=Example('DateAdd("d", -10, CDate("2012-03-16-07:00"))', "3/6/2012 7:00:00 AM"),
    source=SOURCE,
)
def date_add(interval: Interval, count: int, moment: Moment) -> str:
    return render(add(interval, count, moment))


@function(
    "DateDiff",
    Parameter("interval", Type.INTERVAL),
    Parameter("date1", Type.DATE),
    Parameter("date2", Type.DATE),
    gives="Intervals from the first date to the second, negative when the second is earlier (yyyy, m, d, ww, h, n, s).",
    example=Example('DateDiff("d", CDate("2021-08-18"), CDate("2021-08-31"))', 13),
    source=f"{SOURCE}; Microsoft.VisualBasic DateDiff",
)
def date_diff(interval: Interval, first: Moment, second: Moment) -> int:
    return difference(interval, first, second)


@function(
    "DateFromNum",
    Parameter("value", Type.NUMBER),
    gives="The date of a Windows FILETIME (100 ns since 1601-01-01 UTC).",
    example=Example("DateFromNum(129699324000000000)", "1/1/2012 11:00:00 PM"),
    source=SOURCE,
)
def date_from_num(number: int) -> str:
    return render(from_filetime(number))


@function(
    "NumFromDate",
    Parameter("value", Type.DATE),
    gives="The Windows FILETIME of a date, as text; Active Directory's accountExpires is one.",
    example=Example('NumFromDate("2020-12-31T23:59:59-08:00")', "132539615990000000"),
    source=SOURCE,
)
def num_from_date(moment: Moment) -> str:
    return str(to_filetime(moment))


def _check_format(call: Call) -> list[tuple[Node, str]]:
    old_form = len(call.arguments) == 3
    styles, read_as, write_as = [*(() if not old_form else (None,)), *call.arguments[1:], None, None, None][:3]
    if old_form and (read_as is None or _names_styles(read_as)):
        return [(call, "FormatDateTime needs an outputFormat behind the inputFormat")]
    missing = [name for name, node in (("inputFormat", read_as), ("outputFormat", write_as)) if node is None]
    if missing:
        return [(call, f"FormatDateTime needs {' and '.join(missing)}")]
    checks = ((styles, read_styles), (read_as, split_format), (write_as, split_format))
    return [
        (node, problem) for node, read in checks if isinstance(node, Constant) and (problem := _problem(node, read))
    ]


def _names_styles(node: Node) -> bool:
    return isinstance(node, Constant) and _STYLE_WORDS.match(str(node.value)) is not None


def _problem(node: Constant, read: Callable[[str], object]) -> str | None:
    try:
        read(str(node.value))
    except EvaluationError as error:
        return error.problem
    return None


def _format_column(operands: Sequence[Operand], context: Context) -> Partly | None:
    others = [other.value for other in operands[1:] if isinstance(other, Scalar)]
    styles, read_as, write_as = others if len(others) == 3 else [None, *others, None, None][:3]
    formats = isinstance(read_as, str) and isinstance(write_as, str) and styles in (None, "")
    if len(others) < len(operands) - 1 or not formats:
        return None
    return _reformatted(operands[0], [str(read_as)], str(write_as))


@function(
    "FormatDateTime",
    text_source(),
    Parameter("dateTimeStyles", required=False),
    Parameter("inputFormat", required=False),
    Parameter("outputFormat", required=False),
    form="FormatDateTime(source, [dateTimeStyles], inputFormat, outputFormat)",
    gives="A date read by one .NET format and written in another; the three-argument form without styles works too.",
    example=(
        Example(
            'FormatDateTime([hired], , "yyyyMMddHHmmss.fZ", "yyyy-MM-dd")', "2015-01-23", {"hired": "20150123105347.1Z"}
        ),
        Example('FormatDateTime([hired], "dd.MM.yyyy", "yyyy-MM-dd")', "2026-03-01", {"hired": "01.03.2026"}),
    ),
    source=f"{SOURCE}; .NET DateTime.ParseExact",
    wants_context=True,
    compute_column=_format_column,
    check=_check_format,
)
def format_date_time(
    text: str, first: str | None, second: str | None, third: str | None, *, context: Context
) -> str | None:
    # The older form has no styles: (source, inputFormat, outputFormat).
    styles, read_as, write_as = (None, first, second) if third is None else (first, second, third)
    if read_as is None or write_as is None:
        return None
    reading = read_exact(text, read_as, read_styles(styles or ""), today=context.now.date())
    return write(reading, write_as)


@function(
    "Now",
    gives="The moment the cycle began, in UTC.",
    example=Example('FormatDateTime(Now(), , "M/d/yyyy h:mm:ss tt", "yyyy")', "2026"),
    source=SOURCE,
    wants_context=True,
)
def now(*, context: Context) -> str:
    return render(Moment.from_clock(context.now))
