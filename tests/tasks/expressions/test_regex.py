"""The .NET dialect of regular expressions, and that no pattern can hang."""

import contextlib
import re
import time

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.expressions.errors import RegexTimeoutError
from tasks.expressions.regex import TIME_LIMIT_S, PatternError, compile_pattern

REPLACED = [
    # pattern, text, replacement, result; what .NET gives
    ("a*", "baac", "-", "-b--c-"),
    ("", "ab", "-", "-a-b-"),
    ("^", "ab", "-", "-ab"),
    (r"\Z", "ab\n", "-", "ab-\n-"),
    (r"\z", "ab\n", "-", "ab\n-"),
    (r"(?m)^a$", "a\nb\na", "x", "x\nb\nx"),
    (r"a.c", "a\nc", "x", "a\nc"),
    (r"(?s)a.c", "a\nc", "x", "x"),
    (r"a(?i)b|c", "aB C c", "-", "- - -"),
    (r"(a(?i)b)c", "aBc aBC", "-", "- aBC"),
    (r"(?-i)A", "aA", "-", "a-"),
    (r"(?i:a)b", "AbAB", "-", "-AB"),
    (r"(?x) a [ ] b # comment", "a b", "-", "-"),
    (r"(?n)(a)(?<x>b)", "ab", "$1", "b"),
    (r"(?<b>b)?(a)", "a", "[$1|${b}|$2]", "[a||]"),
    (r"(?<2>a)(b)", "ab", "$1$2", "ba"),
    (r"(?<x>a)|(?<x>b)", "ab", "<${x}>", "<a><b>"),
    (r"\w+", "Zoë_1-", "x", "x-"),
    (r"\W", "é_-", "x", "é_x"),
    (r"\s", "a\u00a0\u2003b", "-", "a--b"),
    (r"\S", "a\u00a0", "-", "-\u00a0"),
    (r"\bé\b", "é éa", "-", "- éa"),
    (r"[^\S\n]", "a \n", "-", "a-\n"),
    (r"[\s\S]", "a\n", "-", "--"),
    (r"[\w-[\d]]", "a1", "-", "-1"),
    (r"[]a]", "]b", "-", "-b"),
    (r"[^]a]", "]b", "-", "]-"),
    (r"[a\]]", "]b", "-", "-b"),
    (r"[\b]", "a\b", "-", "a-"),
    (r"\p{Lu}\P{Lu}", "Ab", "-", "-"),
    (r"[\p{IsCyrillic}]+", "abc где", "-", "abc -"),
    (r"\x41\u0042\103\e\cA", "ABC\x1b\x01", "-", "-"),
    (r"a{2}", "aaa", "-", "-a"),
    (r"a{,2}", "a{,2}", "-", "-"),
    (r"a{x}", "a{x}", "-", "-"),
    (r"(a+?)(a*)", "aaa", "$1|$2", "a|aa"),
    (r"(?<q>.)\k<q>", "aabc", "-", "-bc"),
    (r"(.)\1", "aabc", "-", "-bc"),
    (r"(?<=\$)\d+", "$12", "0", "$0"),
    (r"a(?!b)", "abac", "-", "ab-c"),
    (r"(?>a+)a", "aaa", "-", "aaa"),
    (r"(?<o>\()?x(?(o)\))", "(x) x", "-", "- -"),
    (r"(?#comment)a", "a", "-", "-"),
    ("b", "abc", "[$`|$&|$'|$_]", "a[a|b|c|abc]c"),
    ("b", "abc", "$$1 ${1} $9 $", "a$1 ${1} $9 $c"),
    ("(a)(b)", "ab", "$+", "b"),
    (r"x", "x", r"\1\\", r"\1\\"),
]


@pytest.mark.parametrize(("pattern", "text", "replacement", "result"), REPLACED)
def test_patterns_mean_what_they_mean_in_dotnet(pattern: str, text: str, replacement: str, result: str) -> None:
    """Single texts and columns agree with .NET, whichever engine runs the pattern."""
    compiled = compile_pattern(pattern)
    substitution = compiled.substitution(replacement)
    assert compiled.replace(text, substitution) == result
    column = compiled.replace_column(pa.array([None, text], pa.large_string()), substitution)
    if column is not None:
        assert column.to_pylist() == [None, result]


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("(", "never closed"),
        (")", "closes nothing"),
        ("[a", "never closed"),
        ("a**", "nothing for * to repeat"),
        ("a++", "nothing for + to repeat"),
        ("a{3,2}", "backwards"),
        ("[z-a]", "backwards"),
        ("\\", "ends with a backslash"),
        (r"\y", "means nothing"),
        (r"\1", "group '1'"),
        (r"\k<x>", "group 'x'"),
        (r"\p{Foo}", "category"),
        ("(?P<x>a)", "not known"),
        ("(?<a-b>x)", "balancing"),
        (r"\x4", "hexadecimal"),
        ("(?<1a>x)", "name"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str, part: str) -> None:
    """A wrong pattern is refused with a reason, never run as something else."""
    with pytest.raises(PatternError, match=re.escape(part)):
        compile_pattern(pattern)


@pytest.mark.parametrize(
    "pattern", [r"(a+)+$", r"(a|aa)+$", r"(.*a){20}x", r"(?=(a+)+b$)x", r"(a*)*\1c", r"(?:a?){50}a{50}c"]
)
def test_catastrophic_patterns_end_in_time(pattern: str) -> None:
    """10,000 characters are searched in bounded time, whatever the pattern."""
    started = time.process_time()
    with contextlib.suppress(RegexTimeoutError):
        compile_pattern(pattern).search("a" * 10_000 + "!")
    # Not a measurement: without the limit these take longer than anybody would wait.
    assert time.process_time() - started < TIME_LIMIT_S * 10


def test_plain_patterns_run_in_linear_time() -> None:
    """What RE2 can express does not depend on the clock."""
    assert all(
        compile_pattern(pattern).linear for pattern in (r"(a+)+$", r"[\s\S]*?x{1,8}", r"(?i)\p{L}+\b", r"(?<n>\d)")
    )
    assert not compile_pattern(r"(?=a)").linear


PIECES = ["a", "b", ".", r"\d", r"\w", r"\s", "[ab]", "[^a]", "(a)", "(?:b)", "(?<n>a|b)", "^", "$"]
PIECES += [r"\b", "|", "*", "+", "?", "{1,2}"]


@settings(max_examples=150, deadline=None)
@given(
    pattern=st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    text=st.text(alphabet="ab1_ é\n-", max_size=8),
    replacement=st.sampled_from(["", "-", "$1", "<$0>"]),
)
def test_both_engines_and_columns_agree(pattern: str, text: str, replacement: str) -> None:
    """Linear, backtracking and column forms of one pattern give the same."""
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        return
    substitution = compiled.substitution(replacement)
    found = compiled.replace(text, substitution)
    backtracking = compile_pattern(f"(?:{pattern})(?=)" if pattern else "(?=)")
    assert not backtracking.linear
    assert backtracking.replace(text, backtracking.substitution(replacement)) == found
    texts = pa.array([text], pa.large_string())
    column = compiled.replace_column(texts, substitution)
    assert column is None or column.to_pylist() == [found]
    assert compiled.search_column(texts).to_pylist() == [compiled.search(text)]
