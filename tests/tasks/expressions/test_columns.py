"""What a column gives beside its values: kinds, failures, markers, laziness, chance."""

import datetime as dt
import pickle
import random

import numpy as np
import pandas as pd
import pytest

from tasks.expressions import Context, NoUniqueValueError, columns, compile_expression
from tests.tasks.expressions.cases import by_entry, outcome

NOW = Context(now=dt.datetime(2026, 3, 15, tzinfo=dt.UTC))


def frame(**columns: object) -> pd.DataFrame:
    data = pd.DataFrame(columns)
    return data.set_axis(pd.Index([f"k{row}" for row in range(len(data))], name="key"))


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("[a]", "str"),
        ("ToLower([a])", "str"),
        ('"Berlin"', "str"),
        ("[missing]", "str"),
        ('[a] = "x"', "boolean"),
        ("IsNull([missing])", "boolean"),
        ("Count([a])", "Int64"),
        ("5", "Int64"),
        ('Split([a], ",")', "object"),
        ("IIF(IsNull([a]), [a], Count([a]))", "Int64"),
        ('IIF([a] = "x", 1, "one")', "object"),
    ],
)
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_dtypes_follow_the_contract(text: str, dtype: str, rows: int) -> None:
    """Text is ``str``, booleans ``boolean``, numbers ``Int64``, all else ``object``; the index is the frame's."""
    data = frame(a=pd.Series(["x", None, "y,z"][:rows], dtype="str"))
    column = compile_expression(text).column(data, NOW)
    assert column.values.index.equals(data.index)
    assert len(column.values) == rows
    if rows == 3:
        assert column.values.dtype == dtype


def test_one_bad_value_holds_one_entry() -> None:
    """A failure names the entry and the call, never the value; the neighbours get theirs."""
    data = frame(hired=["2026-03-01", "31.12.2025", None, "2026-02-30"])
    column = compile_expression('Join("", "on ", CDate([hired]))').column(data, NOW)
    assert column.values.tolist()[0] == "on 3/1/2026 12:00:00 AM"
    assert list(column.failed) == ["k1", "k3"]
    assert column.values.isna().tolist() == [False, True, False, True]
    assert column.failed["k1"].startswith("CDate (column 17): ")
    assert "31.12" not in column.failed["k1"]


def test_markers_become_masks() -> None:
    """IgnoreAttributeFlow and IgnoreObjectFlow mark rows; without any there is no mask at all."""
    data = frame(a=["attribute", "object", "x"])
    text = 'Switch([a], [a], "attribute", IgnoreAttributeFlow, "object", IgnoreObjectFlow)'
    column = compile_expression(text).column(data, NOW)
    assert column.left_alone is not None
    assert column.skipped is not None
    assert column.left_alone.tolist() == [True, False, False]
    assert column.skipped.tolist() == [False, True, False]
    assert column.values.isna().tolist() == [True, True, False]
    plain = compile_expression("[a]").column(data, NOW)
    assert (plain.left_alone, plain.skipped, plain.failed) == (None, None, {})


def test_branches_are_evaluated_where_they_are_needed() -> None:
    """A branch that would fail is not touched by rows that do not take it."""
    data = frame(end=["", "2026-03-01", None])
    text = 'Switch([end], CDate([end]), "", "none")'
    column = compile_expression(text).column(data, NOW)
    assert column.values.tolist() == ["none", "3/1/2026 12:00:00 AM", "none"]
    assert column.failed == {}


def test_empty_texts_among_other_kinds_count_as_null_for_coalesce() -> None:
    """A column of mixed values treats its empty texts as a column of texts does."""
    data = frame(a=pd.Series(["", True, ["x"], None], dtype=object))
    column = compile_expression('Coalesce([a], "none")').column(data, NOW)
    assert column.values.tolist() == ["none", True, ["x"], "none"]


def test_inputs_are_not_changed() -> None:
    """A frame is the same after any column was computed from it."""
    data = frame(a=["X", None, "é"], many=pd.Series([["a"], None, ["b", "b"]], dtype=object))
    before = data.copy(deep=True)
    for text in ("ToLower([a])", 'Coalesce([a], "")', "RemoveDuplicates([many])", "NormalizeDiacritics([a])"):
        compile_expression(text).column(data, NOW)
    pd.testing.assert_frame_equal(data, before)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["x", None, "y"], dtype="str"),
        pd.Series(["x", None, "y"], dtype=object),
        pd.Series(["x", None, "y"], dtype="string"),
        pd.Series(["x", None, "y"], dtype="category"),
        pd.Series(["x", np.nan, "y"], dtype=object),
        pd.concat([pd.Series(["x"], dtype="str"), pd.Series([None, "y"], dtype="str")], ignore_index=True),
    ],
    ids=["str", "object", "string", "category", "nan", "chunked"],
)
def test_texts_are_read_from_any_text_column(column: pd.Series) -> None:
    """How a connector keeps text does not matter."""
    result = compile_expression('Append(ToUpper([a]), "!")').column(frame(a=column), NOW)
    assert result.values.tolist()[0::2] == ["X!", "Y!"]
    assert result.values.isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series([True, False]), ["True", "False"]),
        (pd.Series([True, None], dtype="boolean"), ["True", None]),
        (pd.Series([7, None], dtype="Int64"), ["7", None]),
        (pd.Series([7, 8], dtype="int32"), ["7", "8"]),
        (pd.Series([7, 2**63], dtype="uint64"), ["7", "9223372036854775808"]),
        (pd.Series([1.5, float("nan")]), ["1.5", None]),
        (pd.Series([2.0, -1.0]), ["2", "-1"]),
        (pd.to_datetime(pd.Series(["2026-03-01", None])), ["2026-03-01T00:00:00", None]),
        (pd.Series([[], ["x"]], dtype=object), [None, "x"]),
    ],
)
def test_other_kinds_become_text_where_text_is_needed(column: pd.Series, expected: list[str | None]) -> None:
    """Booleans, numbers, dates and single-valued lists are read as their text."""
    result = compile_expression('Replace([a], "#", , , "", , )').column(frame(a=column), NOW)
    values = [value[0] if isinstance(value, list) else value for value in result.values.tolist()]
    assert [None if not isinstance(value, str) else value for value in values] == expected


def test_rows_where_everything_is_null_are_kept() -> None:
    """Join gives every row its value, also where there is nothing to join."""
    data = frame(a=["x", None, None, ""], b=[None, None, "y", ""])
    column = compile_expression('Join("-", [a], [b])').column(data, NOW)
    assert column.values.tolist() == ["x", "", "y", ""]


def test_chance_is_drawn_for_every_entry_and_can_be_repeated() -> None:
    """Guid differs from row to row; the same seed gives the same values."""
    data = frame(a=["x"] * 5)
    first, second = (
        compile_expression("Guid()").column(data, Context(random=random.Random(3))).values.tolist() for _ in "ab"
    )
    assert len(set(first)) == 5
    assert first == second


def test_unique_rules_are_expressions_of_their_own() -> None:
    """The mapping stage can look up and reserve candidates rule by rule; a column is computed when it is looked at."""
    expression = compile_expression('SelectUniqueValue(Join(".", [a], [b]), CDate([b]), (1 = 1))')
    assert [rule.text for rule in expression.unique_rules] == ['Join(".", [a], [b])', "CDate([b])", "(1 = 1)"]
    column = expression.column(frame(a=["x", "y"], b=["1", "2"]), NOW)
    assert len(column.candidates) == 3
    assert column.candidates[0].values.tolist() == ["x.1", "y.2"]
    assert list(column.candidates[1].failed) == ["k0", "k1"]
    assert compile_expression("[a]").unique_rules == ()


def test_exhausted_rules_hold_the_entry_as_a_conflict() -> None:
    """When every candidate is taken the entry is held with that reason."""
    expression = compile_expression('SelectUniqueValue([a], "second")')
    context = Context(taken={"first", "second"}.__contains__)
    with pytest.raises(NoUniqueValueError, match="taken in the target"):
        expression.evaluate({"a": "first"}, context)
    column = expression.column(frame(a=["first", "free", None]), context)
    assert list(column.failed) == ["k0", "k2"]
    assert column.values.tolist()[1] == "free"


def test_facts_about_an_expression() -> None:
    """Attributes read, constancy and redaction are known without data."""
    expression = compile_expression('Join("", [a], Switch([b], [c], "x", Redact([a])), [emails[type eq "work"].value])')
    assert expression.attributes == {"a", "b", "c", 'emails[type eq "work"].value'}
    assert expression.redacted
    assert not expression.constant
    assert compile_expression('ToLower("A")').constant
    assert not compile_expression("Guid()").constant
    assert compile_expression("Redact([a])").column(frame(a=["x"]), NOW).redacted
    assert pickle.loads(pickle.dumps(expression)) == expression


def test_a_hanging_pattern_cannot_hang_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern that runs out of time is tried on a limited number of values; the rows are held with the reason."""
    monkeypatch.setattr(columns, "MAX_TIMEOUTS", 2)
    data = frame(a=["short", *(f"{'a' * 5_000}b{row}" for row in range(20))])
    column = compile_expression(r'Replace([a], , "(?=(a+)+\\d$)(a+)+\\d$x", , "", , )').column(data, NOW)
    assert column.values.iloc[0] == "short"
    assert len(column.failed) == 20
    assert "backtracking" in column.failed["k2"]
    assert "too many other entries" in column.failed["k20"]


DATE_TEXTS = [
    "2026-03-01", "2026-3-1", "2026-02-29", "2024-02-29", "0001-01-01", "9999-12-31", "2026-13-01", "2026-00-10",
    " 2026-03-01 ", "2026-03-01T10:11:12", "2026-03-01t10:11:12", "20260301101112.5Z", "3/1/2026 12:00:00 AM",
    "3/1/2026 12:59:59 pm", "13/1/2026 1:00:00 AM", "3/1/2026 0:00:00 AM", "3/1/2026 13:00:00 PM", "x", "", None,
    "2026-03-01T24:00:00", "٢٠٢٦-03-01",
]  # fmt: skip
DATE_FORMATS = [
    "yyyy-MM-dd", "yyyy-M-d", "yyyy-MM-ddTHH:mm:ss", "yyyyMMddHHmmss.fZ", "M/d/yyyy h:mm:ss tt", "d.M.yyyy",
    "yyyyMMdd", "s", "MM'x'dd\\dyyyy hh:m tt ff", "yyyy-MM-dd yyyy", "yy-MM-dd", "MMM d yyyy", "H:mm",
]  # fmt: skip


@pytest.mark.parametrize("read_as", DATE_FORMATS)
@pytest.mark.parametrize("write_as", DATE_FORMATS)
def test_dates_are_reformatted_alike(read_as: str, write_as: str) -> None:
    """The column form of FormatDateTime gives what single entries get, failures included."""
    formats = ", ".join('"' + text.replace("\\", "\\\\") + '"' for text in (read_as, write_as))
    assert_dates_agree(f"FormatDateTime([a], , {formats})")


def test_dates_are_read_alike() -> None:
    """The column form of CDate gives what single entries get, failures included."""
    assert_dates_agree("CDate([a])")


def assert_dates_agree(text: str) -> None:
    expression = compile_expression(text)
    column = expression.column(frame(a=pd.Series(DATE_TEXTS, dtype="str")), NOW)
    for row, cell in enumerate(DATE_TEXTS):
        case = {"expression": text, "attributes": {"a": cell}, "now": "2026-03-15T00:00:00Z", "expected": None}
        assert outcome(column, row) == by_entry(case), cell
    assert set(column.values[list(column.failed)].isna()) <= {True}
