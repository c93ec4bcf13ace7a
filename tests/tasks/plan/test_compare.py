"""What counts as a difference."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.plan.compare import differs, differs_without_case, fingerprints

TEXT = st.none() | st.text(max_size=6)


def text(*values: str | None) -> pd.Series:
    return pd.Series(values, dtype="str")


def test_null_equals_null_only():
    """Null is the same as null and different from every value, the empty text included."""
    assert differs(text(None, None, "a", ""), text(None, "a", None, None)).tolist() == [False, True, True, True]


def test_a_boolean_is_its_text():
    """A target without a schema gives text where the plan has booleans."""
    flags = pd.Series([True, False, None, True], dtype="boolean")
    assert differs(flags, text("True", "False", None, "False")).tolist() == [False, False, False, True]


def test_lists_are_sets():
    """The order of a multi-valued attribute means nothing; a missing value does."""
    left = pd.Series([["a", "b"], ["a"], None, []], dtype=object)
    right = pd.Series([["b", "a"], ["a", "b"], [], None], dtype=object)
    assert differs(left, right).tolist() == [False, True, False, False]


def test_case_can_be_left_out():
    """Spelling is compared apart from values."""
    assert differs_without_case(text("Ann", "Ann", None), text("ANN", "Anna", None)).tolist() == [False, True, False]


@given(st.lists(st.tuples(TEXT, TEXT), max_size=20))
def test_columns_agree_with_values_one_by_one(pairs):
    """The column form gives what comparing one by one gives."""
    left, right = text(*(a for a, _ in pairs)), text(*(b for _, b in pairs))
    assert differs(left, right).tolist() == [a != b for a, b in pairs]


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=20), st.randoms())
def test_fingerprints_follow_the_values_alone(rows, random):
    """Equal rows have equal digests whatever the order of rows and columns; different rows differ."""
    frame = pd.DataFrame({"a": text(*(a for a, _ in rows)), "b": text(*(b for _, b in rows))})
    digests = fingerprints(frame)
    order = list(range(len(rows)))
    random.shuffle(order)
    assert fingerprints(frame[["b", "a"]].iloc[order]).tolist() == digests[order].tolist()
    for first, one in enumerate(rows):
        for second, other in enumerate(rows):
            assert (digests[first] == digests[second]) == (one == other)


@pytest.mark.parametrize(
    ("row", "other"),
    [((None, "x"), ("\x00", "x")), (("a\x1fb", "c"), ("a", "b\x1fc")), (("\x00\x02", "x"), ("\x1f", "x"))],
    ids=["null", "two values", "as it is written"],
)
def test_values_with_control_characters_have_fingerprints_of_their_own(row, other):
    """What stands for null, or between two values, may be in a value: it is never taken for one of these."""
    frame = pd.DataFrame({"a": text(row[0], other[0]), "b": text(row[1], other[1])})
    first, second = fingerprints(frame).tolist()
    assert first != second


def test_fingerprints_are_the_same_in_every_run():
    """They are kept in the ledger, so a new process or version must give the same numbers."""
    frame = pd.DataFrame(
        {"userName": text("ann@example.com", None), "active": pd.Series([True, False], dtype="boolean")}
    )
    assert fingerprints(frame).dtype == np.int64
    assert fingerprints(frame).tolist() == [-1560624538416690427, -7356547560768439313]
