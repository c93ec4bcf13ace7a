"""Looking keys up: nulls find nothing, the first of equal ones is found, order is that of characters."""

import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.keys import ascending, find, pick, texts

WORDS = st.lists(st.none() | st.sampled_from(["a", "b", "B", "é", "", "\uffee", "\U0001f600"]), max_size=8)


def column(words: list[str | None]) -> pa.Array:
    return texts(pd.Series(words, dtype="str"))


@settings(deadline=None)
@given(values=WORDS, among=WORDS)
def test_find_gives_the_first_equal_one_and_never_a_null(values, among):
    """Two people who both lack a number are not the same person."""
    expected = [among.index(value) if value is not None and value in among else -1 for value in values]
    assert find(column(values), column(among)).tolist() == expected


@settings(deadline=None)
@given(words=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=8))
def test_ascending_is_the_order_of_sorted(words):
    """Plans are byte-stable: their order is one that every machine gives, and equal ones stay as they are."""
    assert ascending(column(words)).tolist() == sorted(range(len(words)), key=words.__getitem__)


def test_pick_gives_null_for_what_was_not_found():
    """A position of -1 must not count from the end."""
    assert pick(column(["a", "b"]), find(column(["b", "x", None]), column(["a", "b"]))).to_pylist() == ["b", None, None]


def test_a_column_in_pieces_is_one_array():
    """Targets are read page by page, and a lookup in pieces gives positions in pieces."""
    series = pd.Series(pd.array(pa.chunked_array([["a"], ["b", None]], pa.large_string()), dtype="str"))
    assert texts(series).to_pylist() == ["a", "b", None]
