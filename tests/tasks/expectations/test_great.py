"""Checks by Great Expectations, on frames."""

import pandas as pd
import pytest

from tasks.expectations import CheckFailedError, CheckResult
from tasks.expectations.great import failing_rows, run_checks
from tasks.job import Check, Checked, Checks

PEOPLE = pd.DataFrame(
    {
        "mail": pd.Series(["ann@x", "bob", None, "<script>@x", "ann@x", "ANN@x"], dtype="str"),
        "dept": pd.Series(["IT", "HR", "HR", None, "Zoo", "it"], dtype="str"),
        "active": pd.Series([True, None, False, True, True, True], dtype="boolean"),
        "key": pd.Series(["a column", "that is", "called", "like the", "rows'", "keys"], dtype="str"),
    }
).set_axis(pd.Index(["1", "2", "3", "4", "5", "6"], dtype="str", name="key"))
MAPPED: list[dict[str, object]] = [
    {"expect_column_values_to_not_be_null": {"column": "mail"}},
    {"expect_column_values_to_be_null": {"column": "dept"}},
    {"expect_column_values_to_be_unique": {"column": "mail"}},
    {"expect_column_values_to_be_in_set": {"column": "dept", "value_set": ["IT", "HR"]}},
    {"expect_column_values_to_be_in_set": {"column": "active", "value_set": [True]}},
    {"expect_column_values_to_not_be_in_set": {"column": "dept", "value_set": ["HR"]}},
    {"expect_column_values_to_match_regex": {"column": "mail", "regex": ".+@.+"}},
    {"expect_column_values_to_match_regex": {"column": "mail", "regex": "^(ann|bob)", "mostly": 0.9}},
    {"expect_column_values_to_not_match_regex": {"column": "mail", "regex": "ann"}},
    {"expect_column_value_lengths_to_be_between": {"column": "mail", "min_value": 4, "max_value": 5}},
    {"expect_column_value_lengths_to_be_between": {"column": "mail", "min_value": 4}},
]


def checks(*items: object) -> tuple[Check, ...]:
    return Checks.model_validate({"source.users": list(items)}).of(Checked.SOURCE_USERS)


def run(*items: object, frame: pd.DataFrame = PEOPLE) -> list[CheckResult]:
    return run_checks({Checked.SOURCE_USERS: checks(*items)}, {Checked.SOURCE_USERS: frame})


def test_rows_found_by_columns_are_those_that_great_expectations_finds(monkeypatch):
    """The quick way is only quicker: the same rows, nulls and booleans included, for every expectation it knows."""
    quick = run(*MAPPED)
    assert all(failing_rows(check, PEOPLE) is not None for check in checks(*MAPPED))
    monkeypatch.setattr("tasks.expectations.great.failing_rows", lambda *_: None)
    slow = run(*MAPPED)
    assert [one.keys for one in quick] == [one.keys for one in slow]
    assert [one.failing for one in quick] == [len(one.keys) for one in quick]
    assert all(one.keys for one in quick)


def test_results_come_in_the_order_of_the_job_with_its_own_words():
    """Whatever order Great Expectations works in; the same expectation may be there twice."""
    unique = {"expect_column_values_to_be_unique": {"column": "mail"}}
    rows = {"expect_table_row_count_to_be_between": {"min_value": 900}, "on_failure": "warn"}
    found = run(rows, unique, {**unique, "on_failure": "warn"}, {"expect_column_to_exist": {"column": "dept"}})
    assert [one.expectation.removeprefix("expect_") for one in found] == [
        "table_row_count_to_be_between",
        "column_values_to_be_unique",
        "column_values_to_be_unique",
        "column_to_exist",
    ]
    assert found[0].sentence == (
        "Check on source.users: expect_table_row_count_to_be_between(min_value=900): observed 6."
    )
    assert found[1].sentence.endswith("expect_column_values_to_be_unique(column=mail): 2 rows fail.")
    assert [one.success for one in found] == [False, False, False, True]


def test_an_expectation_without_a_quick_way_names_its_rows_too():
    """Whatever Great Expectations has: then it says which rows."""
    [found] = run({"expect_column_value_lengths_to_equal": {"column": "mail", "value": 5}})
    assert found.keys == ("2", "4")


def test_no_value_of_anybody_leaves_the_frame():
    """Results, sentences and errors have keys and numbers; also where values are what was observed."""
    found = run(
        *MAPPED,
        {"expect_column_distinct_values_to_be_in_set": {"column": "mail", "value_set": ["x"]}},
        {"expect_column_most_common_value_to_be_in_set": {"column": "mail", "value_set": ["x"]}},
    )
    text = str([(one.as_json(), one.sentence) for one in found])
    assert not any(value in text for value in ("ann@x", "ANN@x", "<script>", "Zoo"))


def test_a_check_that_cannot_be_run_says_which_and_why():
    """A column that is not there is named; values that a library quotes are not."""
    with pytest.raises(CheckFailedError, match=r'expect_column_values_to_be_unique on source.users.*"nope".*not exist'):
        run({"expect_column_values_to_be_unique": {"column": "nope"}})
    with pytest.raises(CheckFailedError, match=r"could not be run") as failed:
        run({"expect_column_mean_to_be_between": {"column": "mail", "min_value": 1}})
    assert "ann@x" not in str(failed.value)


def test_no_checks_no_great_expectations(monkeypatch):
    """It takes seconds to load, so that nobody waits for it who has no use for it."""
    monkeypatch.setattr("tasks.expectations.great._validator", None)
    assert run_checks({Checked.SOURCE_USERS: ()}, {Checked.SOURCE_USERS: PEOPLE}) == []
