"""Case and diacritics, for single texts and for columns."""

import unicodedata

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.expressions.casing import case_table, change_case, change_case_column
from tasks.expressions.diacritics import normalize_diacritics, normalize_diacritics_of_all

EVERYTHING = [chr(code) for code in range(1, 0x20000) if not 0xD800 <= code < 0xE000]


def test_case_is_changed_alike_in_columns() -> None:
    """For every character there is, the column form gives what the single form gives."""
    texts = pa.array(EVERYTHING, pa.large_string())
    for case in ("lower", "upper"):
        assert change_case_column(texts, case).to_pylist() == [change_case(text, case) for text in EVERYTHING]


def test_case_never_changes_the_length() -> None:
    """One character stays one character, as in .NET."""
    assert all(len(change_case(text, case)) == 1 for text in EVERYTHING for case in ("lower", "upper"))
    assert case_table("upper")[ord("ä")] == ord("Ä")


def test_latin_letters_of_names_become_plain() -> None:
    """Nothing is left of any letter of the Latin blocks that European and Vietnamese names are written with."""
    letters = [chr(code) for code in (*range(0xC0, 0x180), *range(0x1E00, 0x1F00)) if chr(code).isalpha()]
    rare = set("ẜẝẟỺỻỼỽỾỿ")
    left = [letter for letter in letters if letter not in rare and not normalize_diacritics(letter).isascii()]
    assert left == []


def test_other_scripts_are_left_alone() -> None:
    """A letter of another script keeps every mark, composed or not."""
    for text in EVERYTHING:
        if unicodedata.category(text)[0] == "L" and "LATIN" not in unicodedata.name(text, "LATIN"):
            assert normalize_diacritics(text) == text
            assert normalize_diacritics(text + "\u0301") == text + "\u0301"


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(alphabet=st.sampled_from("aZéŁßĐ\u0301\u0323й\u0000日e ǆ"), max_size=8), min_size=1, max_size=6)
)
def test_many_texts_are_normalized_like_one(texts: list[str]) -> None:
    """The form for many texts at once gives what each text gives alone."""
    assert normalize_diacritics_of_all(texts) == [normalize_diacritics(text) for text in texts]
