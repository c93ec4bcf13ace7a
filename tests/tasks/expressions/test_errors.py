"""What is wrong with an expression is said with its place, all of it at once, and with the way out."""

import pickle

import pytest

from tasks.expressions import ExpressionError, Place, check_expression, compile_expression

ATTRIBUTES = ["mail", "givenName", "surname"]

REFUSED = [
    ("", 1, "empty"),
    ("   ", 1, "empty"),
    ('ToLower("a', 9, "no closing double quote"),
    ("ToLower([mail)", 9, "no closing ']'"),
    ("ToLower([mail]", 1, "never closed"),
    ("(([mail])", 1, "never closed"),
    ("ToLower([mail]))", 16, "left over"),
    ("ToLower([mail] [mail])", 16, "',' or ')'"),
    ("[mail] [mail]", 8, "left over"),
    ("ToLower(])", 9, "closes no attribute"),
    ("ToLower([])", 9, "name of an attribute"),
    ("ToLower(“a”)", 9, "straight double quotes"),
    ("ToLower('a')", 9, "double quotes"),
    ("[a] & [b]", 5, "Join or Append"),
    ("[a] = ", 5, "ends too early"),
    ("= [a]", 1, "A value is expected"),
    ("[a] = [b] = [c]", 11, "And or Or"),
    ("5x", 2, "runs into"),
    ("&H", 1, "hexadecimal"),
    ("99999999999999999999", 1, "too large"),
    ("mail", 1, "[mail]"),
    ("True", 1, 'write "True"'),
    ("Now", 1, "Now()"),
    ("vbTextCompare", 1, "InStr"),
    ("tolower([mail])", 1, "did you mean ToLower"),
    ("ToLowr([mail])", 1, "did you mean ToLower"),
    ("Foo()", 1, "no function Foo"),
    ("Append([mail])", 1, "takes 2 arguments; here is 1"),
    ('Append([mail], "a", "b")', 1, "takes 2 arguments; here are 3"),
    ("Append(, [mail])", 1, "needs source"),
    ('Join("-")', 1, "at least 2"),
    ("Switch([mail])", 1, "at least 4"),
    ('Switch([mail], , "k", "v", "l")', 28, "key without a value"),
    ("Item([mail], 0)", 14, "at least 1"),
    ("Item([mail], -1)", 14, "at least 1"),
    ("Mid([mail], 0, 1)", 13, "at least 1"),
    ('Left([mail], "two")', 14, "whole number"),
    ("Left([mail], 1.5)", 14, "whole number"),
    ('DateAdd("day", 1, Now())', 9, "yyyy, m, d, ww, h, n, s"),
    ("RandomString(300, 0, 0, 0, 0)", 14, "at most 256"),
    ("RandomString(2, 1, 1, 1, 0)", 1, "smaller"),
    ('Replace([mail], , "(", , "", , )', 19, "never closed"),
    ('Replace([mail], , "a", "b", "", , )', 24, "no group named 'b'"),
    ("Replace([mail], , , , , , )", 1, "oldValue or regexPattern"),
    ('Replace([mail], "a", , , , , )', 1, "replacementValue"),
    ('FormatDateTime([mail], , "yyyy")', 1, "outputFormat"),
    ('FormatDateTime([mail], "AssumeUniversal", "yyyy")', 1, "outputFormat"),
    ('FormatDateTime([mail], "Whatever", "yyyy", "MM")', 24, "DateTimeStyles"),
    ('FormatDateTime([mail], , "Q", "MM")', 26, "date format"),
    ('ToLower([mail], "de_DE!")', 17, "tr-TR"),
    ('InStr([mail], "a", 1, vbSomething)', 23, "vbSomething"),
    ('SelectUniqueValue("a")', 1, "at least 2"),
    ('ToLower(SelectUniqueValue("a", "b"))', 9, "must be the whole expression"),
    ("[nail]", 1, "did you mean mail"),
]


@pytest.mark.parametrize(("text", "column", "part"), REFUSED)
def test_a_refusal_names_place_and_way_out(text: str, column: int, part: str) -> None:
    """A wrong expression is refused at the right column, in a sentence that says what to do."""
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, attributes=[*ATTRIBUTES, "a", "b", "c"] if "nail" not in text else ATTRIBUTES)
    assert caught.value.column == column, str(caught.value)
    assert part in str(caught.value)
    assert f"column {column}" in str(caught.value)


def test_all_semantic_problems_come_at_once() -> None:
    """Names and arguments are all checked before anybody has to correct the first."""
    text = 'Join("-", ToLowr([nail]), Item([mail], 0),\n  Append([mail]), SelectUniqueValue("a", "b"))'
    problems = check_expression(text, attributes=ATTRIBUTES)
    assert [(problem.line, problem.column) for problem in problems] == [(1, 11), (1, 18), (1, 40), (2, 3), (2, 19)]


def test_a_syntax_error_is_the_only_problem() -> None:
    """What cannot be read is not guessed at."""
    assert [problem.column for problem in check_expression("ToLowr([nail], ")] == [14]


def test_attributes_are_only_checked_when_they_are_known() -> None:
    """Before the source has been asked, any attribute name is accepted."""
    assert check_expression("[anything]") == []
    assert len(check_expression("[anything]", attributes=ATTRIBUTES)) == 1


def test_a_caret_points_at_the_column() -> None:
    """The offending line is shown with a caret under the offending character."""
    (problem,) = check_expression('Join("-",\n     ToLowr([mail]))')
    assert problem.caret() == "     ToLowr([mail]))\n     ^"
    assert "line 2, column 6" in str(problem)


@pytest.mark.parametrize("place", [Place.MATCHING, Place.REFERENCE])
@pytest.mark.parametrize(
    "text", ['SelectUniqueValue("a", "b")', "Guid()", "RandomString(8, 1, 1, 1, 1)", "IgnoreAttributeFlow"]
)
def test_some_functions_belong_in_mappings_alone(text: str, place: Place) -> None:
    """Chance, uniqueness and flow control cannot decide who an entry is."""
    assert check_expression(text, place=place)
    assert not check_expression(text, place=Place.MAPPING)


@pytest.mark.parametrize("text", ["(" * 5_000, "Not(" * 2_000 + ")" * 2_000, "(" * 4_000 + "[a]" + ")" * 4_000])
def test_deep_nesting_is_refused(text: str) -> None:
    """No expression can exhaust the interpreter's stack."""
    with pytest.raises(ExpressionError, match="nested more than 100 levels"):
        compile_expression(text)


def test_the_deepest_nesting_allowed_works() -> None:
    """What is accepted also evaluates, as entry, as column and in another process."""
    import pandas as pd

    from tasks.expressions import Context

    text = "IIF([a] = 1, " * 99 + "Not([a])" + ", [a])" * 99
    expression = pickle.loads(pickle.dumps(compile_expression(text)))
    assert expression.evaluate({"a": 1}, Context()) is True
    assert expression.trace({"a": 1}, Context()).value is True
    assert expression.column(pd.DataFrame({"a": [1, 2]}), Context()).values.tolist() == [True, 2]


def test_length_is_limited() -> None:
    """10,000 characters are accepted, one more is not."""
    longest = '"' + "x" * 9_998 + '"'
    assert compile_expression(longest).constant
    with pytest.raises(ExpressionError, match="10,001 characters"):
        compile_expression(longest + " ")


def test_errors_survive_the_way_to_another_process() -> None:
    """Errors keep text, place and problem when pickled."""
    error = check_expression('Join("-",\n     ToLowr([mail]))')[0]
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.line, again.column, again.text) == (str(error), 2, 6, error.text)
