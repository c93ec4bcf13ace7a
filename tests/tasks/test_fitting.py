"""What the target would not take is told before anything is sent: the value, the limit and what to do."""

import pandas as pd
import pytest

from connectors.contract import Attribute, Count, Counted
from tasks.fitting import unfit, without_empty

ASCII = {"fits": r"[\x00-\x7F]*", "fits_told": "takes ASCII alone here"}


def texts(*values: str | None) -> pd.Series:
    return pd.Series(values, index=[f"k{number}" for number in range(len(values))], dtype="str")


def lists(*values: list[str] | None) -> pd.Series:
    return pd.Series(list(values), index=[f"k{number}" for number in range(len(values))], dtype=object)


@pytest.mark.parametrize(
    ("limits", "fitting", "unfitting"),
    [
        ({"longest": 3}, "äöü", "abcd"),
        ({"longest": 3}, "🚀🚀🚀", "🚀🚀🚀🚀"),
        ({"longest": 3, "counted": Counted.UTF16}, "🚀x", "🚀🚀"),
        (ASCII, "a\nb", "a\nü"),
        ({"fits": "[a-z]+", "fits_told": "takes letters"}, "ab", "ab\n"),
    ],
)
def test_lengths_and_letters(limits: dict, fitting: str, unfitting: str) -> None:
    """Units of UTF-16 where the system counts these; a pattern is about the whole value, its lines too."""
    info = Attribute(**limits)
    assert list(unfit(texts(fitting, None, unfitting), info, "sn", redacted=False)) == ["k2"]
    several = Attribute(count=Count.LIST, **limits)
    assert list(unfit(lists([fitting], None, [fitting, unfitting]), several, "sn", redacted=False)) == ["k2"]


def test_the_sentence_says_what_to_do() -> None:
    """Attribute, value, limit, next step."""
    info = Attribute(longest=3, counted=Counted.UTF16)
    assert unfit(texts("🚀🚀"), info, "sn", redacted=False) == {
        "k0": "sn: The value '🚀🚀' has 4 characters (as UTF-16, where an emoji counts twice), and the target takes 3 "
        "at most. Shorten it in the source, or with Left in the mapping."
    }
    assert unfit(texts("ü"), Attribute(**ASCII), "mail", redacted=False) == {
        "k0": "mail: The value 'ü' cannot be written: the target takes ASCII alone here. Correct it in the source or "
        "the mapping."
    }


def test_a_redacted_value_is_not_shown() -> None:
    """Neither the value nor a part of it."""
    (told,) = unfit(texts("geheim"), Attribute(longest=3), "pin", redacted=True).values()
    assert "has 6 characters" in told
    assert "geh" not in told


def test_where_there_is_no_empty_text_it_is_null() -> None:
    """Alone and in lists; where empty text is a value it stays."""
    info = Attribute(holds_empty=False)
    assert without_empty(texts("", "x", None), info).isna().tolist() == [True, False, True]
    assert without_empty(lists([""], ["", "x"], None), info).tolist() == [None, ["x"], None]
    assert without_empty(texts("", "x"), Attribute()).tolist() == ["", "x"]
