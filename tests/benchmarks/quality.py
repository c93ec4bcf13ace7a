"""Twelve expectations on a million people: ours beside bare Great Expectations, on the same frame in the same run.

Both count the rows that fail; ours also says which rows they are, keeps every value to itself, and then looks at what
nobody had to write. Great Expectations is loaded before the clock starts.
"""

import argparse
import json
import os
import resource
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from connectors.contract import Snapshot, no_entries, no_members
from tasks.expectations.builtin import check_builtin
from tasks.expectations.figures import figures_of
from tasks.expectations.great import run_checks
from tasks.expectations.known import digest_of
from tasks.expressions import Context
from tasks.job import Checked, Checks, Job

EXPECTATIONS = [
    ("expect_table_row_count_to_be_between", {"min_value": 1}),
    ("expect_column_values_to_not_be_null", {"column": "employeeId"}),
    ("expect_column_values_to_not_be_null", {"column": "mail", "mostly": 0.9}),
    ("expect_column_values_to_be_unique", {"column": "employeeId"}),
    ("expect_column_values_to_be_unique", {"column": "mail"}),
    ("expect_column_values_to_match_regex", {"column": "mail", "regex": "^[^@ ]+@[^@ ]+$"}),
    ("expect_column_values_to_be_in_set", {"column": "department", "value_set": [f"D{n}" for n in range(40)]}),
    ("expect_column_values_to_be_in_set", {"column": "country", "value_set": ["DE", "AT", "CH"], "mostly": 0.7}),
    ("expect_column_value_lengths_to_be_between", {"column": "employeeId", "min_value": 8, "max_value": 8}),
    ("expect_column_values_to_not_match_regex", {"column": "title", "regex": "^ | $"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["givenName", "surname", "employeeId"]}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "mail", "column_B": "userPrincipalName"}),
]


def people(count: int) -> pd.DataFrame:
    """People with a few things wrong: duplicates, addresses that are none, departments that nobody knows."""
    random = np.random.default_rng(1)
    number = np.arange(count)
    ids = pd.Series(number, dtype="int64").astype("str").str.zfill(8)
    mail = "u" + ids + "@example.com"
    mail = mail.mask(number % 10_000 == 7, "u00000003@example.com").mask(number % 20_000 == 9, "nobody")
    columns = {
        "employeeId": ids,
        "mail": mail,
        "userPrincipalName": mail,
        "givenName": "G" + pd.Series(random.integers(0, 5_000, count)).astype("str"),
        "surname": "S" + pd.Series(random.integers(0, 50_000, count)).astype("str"),
        "department": "D" + pd.Series(random.integers(0, 40, count)).astype("str").mask(number % 5_000 == 1, "x"),
        "country": pd.Series(np.array(["DE", "AT", "CH", "FR"], dtype=object)[random.integers(0, 4, count)]),
        "title": "T" + pd.Series(random.integers(0, 300, count)).astype("str"),
        "city": "C" + pd.Series(random.integers(0, 900, count)).astype("str"),
        "company": "K" + pd.Series(random.integers(0, 12, count)).astype("str"),
        "phone": "+49" + ids,
        "manager": pd.Series(np.maximum(number // 8 - 1, 0)).astype("str").str.zfill(8),
    }
    frame = pd.DataFrame({name: column.astype("str") for name, column in columns.items()})
    return frame.set_axis(pd.Index(ids, dtype="str", name="key"))


def bare(frame: pd.DataFrame) -> list[int]:
    """Rows that fail, expectation by expectation, as somebody would write it who only has Great Expectations."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("bare").add_dataframe_asset(name="people")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
    made = [
        getattr(gx.expectations, "".join(part.title() for part in name.split("_")))(**arguments, meta={"n": number})
        for number, (name, arguments) in enumerate(EXPECTATIONS)
    ]
    found = batch.validate(gx.ExpectationSuite(name="people", expectations=made)).results
    by_number = {one.expectation_config.meta["n"]: one.result.get("unexpected_count", 0) for one in found}
    return [int(by_number[number]) for number in range(len(EXPECTATIONS))]


def ours(frame: pd.DataFrame) -> list[int]:
    """The same by the product, which says which rows they are too."""
    items = [{name: arguments, "on_failure": "warn"} for name, arguments in EXPECTATIONS]
    checks = Checks.model_validate({"source.users": items}).of(Checked.SOURCE_USERS)
    results = run_checks({Checked.SOURCE_USERS: checks}, {Checked.SOURCE_USERS: frame})
    return [one.failing or 0 for one in results]


def the_job() -> Job:
    """A job with managers."""
    return Job.model_validate(
        {
            "name": "benchmark",
            "source": {"connector": "csv", "users": {"path": "people.csv", "key": "employeeId"}},
            "target": {"connector": "scim", "url": "http://127.0.0.1:1"},
            "users": {
                "matching": [{"source": "[userPrincipalName]", "target": "userName"}],
                "attributes": {"userName": "[userPrincipalName]", "manager": {"reference": "[manager]"}},
            },
        }
    )


def snapshot_of(frame: pd.DataFrame) -> Snapshot:
    """The people as a source."""
    return Snapshot("people", frame, no_entries(), no_members(), read_at=datetime(2026, 1, 1, tzinfo=UTC))


def builtin(frame: pd.DataFrame) -> int:
    """What nobody has to write; gives how many checks that are."""
    job, snapshot = the_job(), snapshot_of(frame)
    results = check_builtin(job, snapshot, Context(now=snapshot.read_at))
    return len(results) + len(figures_of(job, snapshot, "source"))


def unchanged(frame: pd.DataFrame) -> str:
    """What it costs to see that nothing has changed, so that nothing of it is looked at again."""
    return digest_of(the_job(), snapshot_of(frame))


def timed(work: Callable[[pd.DataFrame], object], frame: pd.DataFrame) -> tuple[object, float, float]:
    """What the work gives, its seconds, its CPU seconds."""
    began, cpu = time.perf_counter(), time.process_time()
    found = work(frame)
    return found, time.perf_counter() - began, time.process_time() - cpu


def main() -> None:
    """Prints the figures; fails where the two do not count the same."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--people", type=int, default=1_000_000)
    arguments.add_argument("--json", action="store_true")
    chosen = arguments.parse_args()
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    warnings.simplefilter("ignore")
    frame = people(chosen.people)
    bare(frame.head(1_000))  # loads it
    counted, bare_s, bare_cpu = timed(bare, frame)
    found, ours_s, ours_cpu = timed(ours, frame)
    assert counted == found, (counted, found)
    checks, builtin_s, builtin_cpu = timed(builtin, frame)
    digest, digest_s, digest_cpu = timed(unchanged, frame)
    assert digest
    figures = {
        "people": chosen.people,
        "failing": counted,
        "bare": {"seconds": bare_s, "cpu": bare_cpu},
        "ours": {"seconds": ours_s, "cpu": ours_cpu, "of bare, CPU": ours_cpu / bare_cpu},
        "built in": {"checks": checks, "seconds": builtin_s, "cpu": builtin_cpu},
        "seen to be unchanged": {"seconds": digest_s, "cpu": digest_cpu},
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if chosen.json:
        print(json.dumps(figures))
        return
    print(f"{chosen.people:,} people, {len(EXPECTATIONS)} expectations; rows that fail: {counted}")
    print(f"  bare Great Expectations  {bare_s:6.1f} s  {bare_cpu:6.1f} CPU s")
    print(f"  ours, with the rows      {ours_s:6.1f} s  {ours_cpu:6.1f} CPU s  ({ours_cpu / bare_cpu:.2f} of bare)")
    print(f"  built-in checks ({checks})      {builtin_s:6.1f} s  {builtin_cpu:6.1f} CPU s")
    print(f"  seen to be unchanged     {digest_s:6.1f} s  {digest_cpu:6.1f} CPU s")
    print(f"  peak memory {figures['peak MB']:,.0f} MB")


if __name__ == "__main__":
    main()
