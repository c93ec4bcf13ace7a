"""What is shown: no text from elsewhere does anything to a terminal, a log or a page."""

import json
import unicodedata

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.printable import printable, printable_json, printable_lines

PLAIN = ["Siobhán O'Brien", "山田 太郎", "نگار‌", "👩‍👩‍👧", "Zoë", "a\\nb", "naïve", "שלום"]


@pytest.mark.parametrize("text", PLAIN)
def test_names_stay_as_they_are(text: str) -> None:
    """Scripts, combining marks and the joiners that names and emoji need are no danger."""
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("gpj\u202eexe", r"gpj\u202eexe"),
        ("a\u2028b\u2029", r"a\u2028b\u2029"),
        ("admin\u200b", r"admin\u200b"),
        ("\ufeff\U000e0041", r"\ufeff\U000e0041"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_not_seen_is_spelled(text: str, seen: str) -> None:
    """People see that something is there, and what."""
    assert printable(text) == seen


@given(st.text(st.characters(codec=None), max_size=60))
def test_nothing_shown_controls_anything(text: str) -> None:
    """Whatever a name holds: no control, no change of direction, no separator of lines, one line."""
    seen = printable(text)
    assert not [letter for letter in seen if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not [letter for letter in seen if unicodedata.bidirectional(letter) in turning]
    assert printable(seen) == seen


def test_lines_of_ours_stay_lines() -> None:
    """A traceback has lines; what a message has put into it is indented, and never begins one of the log's."""
    assert printable_lines("a\nb\x1b", indent="  ") == "a\n  b\\x1b"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_json_says_the_same(text: str) -> None:
    """Machines get the exact value, people who look at it see no control."""
    seen = bytes(printable_json(orjson.dumps([text])))
    assert json.loads(seen) == [text]
    assert printable(seen.decode()) == seen.decode()
