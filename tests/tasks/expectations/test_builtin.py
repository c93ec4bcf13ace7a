"""Checks that nobody has to write."""

import numpy as np
import pyarrow as pa
import pytest

from connectors.contract import Kind, Unreadable
from tasks.expectations import (
    CheckFailedError,
    CheckResult,
    check_source,
    failed,
    figures_of,
    keep_figures,
    read_figures,
)
from tasks.expectations.builtin import in_circles
from tasks.expectations.figures import CYCLES, check_figures
from tasks.expressions import Context
from tasks.job import BuiltinChecks, Checked, Checks, OnFailure
from tests.tasks.plan.worlds import MANAGER, NOW, World, make_job

NASTY = ["Zoë", "O'Brien", "<script>alert(1)</script>", "None", "00123", "الف"]


def world(count: int = 30, **sections: object) -> World:
    """People who are all right, in a job with managers and groups."""
    made = World(make_job({MANAGER: {"reference": "[manager]"}}, {}, **sections))
    for number in range(count):
        made.users[f"p{number:02}"] = {"mail": f"p{number:02}@x", "department": f"D{number % 3}", "manager": "p00"}
    made.users["p00"]["manager"] = None
    made.groups["g"] = {"name": "Staff"}
    made.members = {("g", "p01"), ("g", "p02")}
    return made


def results(made: World, earlier=()) -> list[CheckResult]:
    """What fails in the source."""
    source = made.source(None)
    record = {frame: [one] * 5 for frame, one in earlier.items()} if earlier else {}
    return failed(check_source(made.job, source, Context(now=NOW), figures_of(made.job, source, "source"), record)[1])


def sentences(made: World, earlier=()) -> list[str]:
    return [one.sentence for one in results(made, earlier)]


def test_a_good_source_is_not_complained_about():
    """Built-in checks run for every job: where nothing is wrong they say nothing."""
    assert sentences(world()) == []


def test_shared_matching_values_are_named_with_their_numbers():
    """Two people with one matching value would be one account; missing values match nothing, and not each other."""
    made = world()
    made.users["p05"]["mail"] = made.users["p06"]["mail"]
    made.users["p07"]["mail"] = made.users["p08"]["mail"] = None
    shared, missing = results(made)
    assert shared.keys == ("p05", "p06")
    assert "2 of 30 entries share their value of [mail]" in shared.sentence
    assert missing.keys == ("p07", "p08")
    assert shared.on_failure is OnFailure.WARN


def test_case_twins_are_found_among_exact_duplicates():
    """ANN@x and ann@x are one account for a target that ignores case; a plain duplicate is no twin."""
    made = world()
    made.users["p05"]["mail"] = "P06@x"
    made.users["p07"]["mail"] = made.users["p08"]["mail"]
    found = {one.builtin: one.keys for one in results(made)}
    assert found == {"matching": ("p07", "p08"), "case_twins": ("p05", "p06")}


def test_managers_who_are_not_there_or_lead_in_a_circle():
    """A manager who left, and three people who report to each other; whoever reports to these is in no circle."""
    made = world()
    made.users["p10"]["manager"] = "gone"
    made.users["p11"]["manager"], made.users["p12"]["manager"], made.users["p13"]["manager"] = "p12", "p13", "p11"
    made.users["p14"]["manager"] = "p11"
    made.users["p15"]["manager"] = "p15"
    dangling, circular = results(made)
    assert dangling.keys == ("p10",)
    assert circular.keys == ("p11", "p12", "p13", "p15")


@pytest.mark.parametrize("count", [1, 2, 3, 7, 64, 65])
def test_every_length_of_a_circle_is_found(count):
    """Also where the circle is everybody, and where nobody is in one."""
    keys = pa.array([str(number) for number in range(count)], pa.large_string())
    circle = pa.array([str((number + 1) % count) for number in range(count)], pa.large_string())
    chain = pa.array([*(str(number + 1) for number in range(count - 1)), None], pa.large_string())
    assert in_circles(keys, circle).all()
    assert not in_circles(keys, chain).any()


def test_random_managers_against_walking():
    """The quick way finds what following each person's managers finds."""
    random = np.random.default_rng(7)
    for _ in range(30):
        managers = random.integers(-3, 12, 12)
        keys = pa.array([str(number) for number in range(12)], pa.large_string())
        found = in_circles(keys, pa.array([str(one) if one >= 0 else None for one in managers], pa.large_string()))
        for start in range(12):
            at, steps = managers[start], 0
            while at >= 0 and at != start and steps < 20:
                at, steps = managers[at], steps + 1
            assert found[start] == (at == start)


def test_memberships_of_nobody_and_of_no_group():
    """Both are counted; somebody who could not be read is there all the same."""
    made = world()
    made.members |= {("g", "nobody"), ("nothing", "p01"), ("g", "unread")}
    made.unreadable.append(Unreadable(Kind.USER, "unread", "people.csv, line 9", "not a row"))
    found = {one.builtin: one for one in results(made)}
    assert found["members"].failing == 2
    assert "1 of people who are not there, 1 of groups" in found["members"].sentence
    assert "1 of 31 users" in found["keys"].sentence


def test_rows_are_held_where_the_job_says_so():
    """Who shares a value is left out, and known to be there: nobody is taken for gone."""
    made = world(checks={"builtin": {"matching": "hold_rows", "members": "off"}})
    made.users["p05"]["mail"] = made.users["p06"]["mail"]
    source, _ = check_source(made.job, made.source(None), Context(now=NOW), {}, {})
    assert not {"p05", "p06"} & set(source.users.index)
    assert {row.key for row in source.unreadable} == {"p05", "p06"}


def test_a_built_in_check_stops_the_cycle_where_the_job_says_so():
    """The numbers are in the sentence, and what was found goes with the error."""
    made = world(checks={"builtin": {"managers": "stop"}})
    made.users["p10"]["manager"] = "gone"
    with pytest.raises(CheckFailedError, match=r"1 of 30 entries.*Nothing was written") as stopped:
        results(made)
    assert [one.builtin for one in failed(stopped.value.results)] == ["managers"]


def test_figures_against_the_last_cycles():
    """Half the people, an attribute that went empty, and one that became the same for everybody: each is said."""
    made = world(100)
    for number, user in enumerate(made.users.values()):
        user["city"] = f"C{number}"
    before = figures_of(made.job, made.source(None), "source")
    assert sentences(made, before) == []
    for user in made.users.values():
        user["city"], user["department"] = None, "D0"
    for gone in range(60, 100):
        del made.users[f"p{gone:02}"]
    found = {one.builtin: one.sentence for one in results(made, before)}
    assert "60 entries, against 100 in the median of the last 5 snapshots (-40%, more than ±20%)" in found["row_count"]
    assert "100.0% of city is empty, against 0.0%" in found["null_share"]
    assert "1 different values of department, against 3" in found["distinct_count"]
    assert "mail" not in found["distinct_count"]  # fewer people have fewer addresses


def test_a_few_cycles_are_needed_before_a_figure_is_unusual():
    """Two cycles are no habit."""
    made = world(100)
    now = figures_of(made.job, made.source(None), "source")
    for user in list(made.users)[:90]:
        del made.users[user]
    later = figures_of(made.job, made.source(None), "source")
    for cycles, says in ((2, False), (3, True)):
        record = {frame: [one] * cycles for frame, one in now.items()}
        assert bool(failed(check_figures(BuiltinChecks(), later, record))) is says


def test_figures_are_kept_for_some_cycles_and_survive_damage(tmp_path):
    """The file never grows without end; what cannot be read is as if it were not there."""
    made = world(25)
    figures = figures_of(made.job, made.source(None), "source")
    for _ in range(CYCLES + 3):
        keep_figures(tmp_path, figures)
    assert {frame: len(some) for frame, some in read_figures(tmp_path).items()} == dict.fromkeys(figures, CYCLES)
    assert read_figures(tmp_path)[Checked.SOURCE_USERS][0] == figures[Checked.SOURCE_USERS]
    assert (tmp_path / "figures.json").stat().st_mode & 0o077 == 0
    assert b"p01@x" not in (tmp_path / "figures.json").read_bytes()
    (tmp_path / "figures.json").write_text('{"source.users": [{"rows": 1}]}', encoding="utf-8")
    assert read_figures(tmp_path) == {}


def test_figures_cost_nothing_where_they_are_switched_off():
    """All of them, by one word, in either spelling of YAML."""
    for word in ("off", False):
        made = world(checks={"builtin": word})
        assert made.job.checks.builtin == BuiltinChecks.none()
        assert figures_of(made.job, made.source(None), "source") == {}


def test_names_that_break_careless_code_are_counted_like_others():
    """Duplicates of odd texts are duplicates; none of them gets into a sentence."""
    made = world()
    for number, name in enumerate(NASTY):
        made.users[f"p{number + 10}"]["mail"] = made.users[f"p{number + 20}"]["mail"] = name
    [shared] = results(made)
    assert shared.failing == 2 * len(NASTY)
    assert not any(name in str(shared.as_json()) for name in NASTY)


@pytest.mark.parametrize("name", ["keys", "members", "row_count", "null_share", "distinct_count"])
def test_checks_without_rows_hold_none(name):
    """A job that asks for it is told what it can write instead."""
    with pytest.raises(ValueError, match="no rows that could be held"):
        Checks.model_validate({"builtin": {name: "hold_rows"}})


def test_memberships_cannot_be_held():
    """A membership that is left out of the source would be removed from the target."""
    check = {"expect_column_values_to_not_be_null": {"column": "member"}, "on_failure": "hold_rows"}
    with pytest.raises(ValueError, match="would be one to remove"):
        Checks.model_validate({"source.members": [check]})
