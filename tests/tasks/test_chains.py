"""Jobs that run after others: names that no job has, circles, and the order in which they come."""

from datetime import timedelta
from pathlib import Path

import pytest

from flows.show.picture import schedule_sentence
from tasks.job import JobError, Schedule, load_job
from tasks.job.chains import chain_from, chain_problems, circle_of, followers_of
from tasks.job.schedule import CATCH_UP
from tasks.pages.job_page import schedule_of

JOB = """
name: {name}
source: {{connector: csv, users: {{path: people.csv, key: id}}}}
target: {{connector: sql, url: 'sqlite:///app.db', users: {{table: account, key: id}}}}
users:
  matching: [{{source: "[name]", target: name}}]
  attributes: {{name: "[name]"}}
"""


def job(folder: Path, name: str, schedule: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"{JOB.format(name=name)}\nschedule: {schedule}\n", encoding="utf-8")
    return path


def test_one_name_needs_no_list(tmp_path: Path) -> None:
    """What one job waits for is written as it is said; without a rhythm of its own it starts every hour as well."""
    assert load_job(job(tmp_path, "apps", "{after: hr-to-ad}")).after == ("hr-to-ad",)
    both = load_job(job(tmp_path, "apps", "{after: [hr-to-ad, sis-to-ad], every: 1d}"))
    assert (both.after, both.schedule and both.schedule.rhythm) == (("hr-to-ad", "sis-to-ad"), timedelta(days=1))
    assert Schedule(after=("hr-to-ad",)).rhythm == CATCH_UP
    assert Schedule(after=("hr-to-ad",), cron="0 6 * * *").rhythm is None


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("{after: apps}", "apps cannot run after itself"),
        ("{after: [hr, hr]}", "names a job twice"),
        ("{timezone: UTC}", "or after with the name of a job"),
        ("{after: hr, every: 1d, cron: 0 6 * * *}", "not both"),
    ],
)
def test_a_schedule_that_means_nothing_is_refused(tmp_path: Path, schedule: str, said: str) -> None:
    with pytest.raises(JobError, match=said):
        load_job(job(tmp_path, "apps", schedule))


def test_a_name_that_no_job_has_is_told_with_its_line_and_its_neighbour(tmp_path: Path) -> None:
    apps = load_job(job(tmp_path, "apps", "{after: hr-to-da}"))
    [problem] = chain_problems(apps, {"apps": ("hr-to-da",), "hr-to-ad": ()})
    assert (problem.key, problem.line) == ("schedule.after", 9)
    assert problem.message == "No job of this folder is called hr-to-da. Did you mean hr-to-ad?"
    [problem] = chain_problems(apps, {"apps": ("hr-to-da",), "other": ()})
    assert problem.message == "No job of this folder is called hr-to-da. There are: other."


def test_a_circle_is_named_from_each_of_its_jobs_and_from_no_other(tmp_path: Path) -> None:
    """The job that waits for a circle from outside is not at fault."""
    after = {"a": ("b",), "b": ("x", "c"), "c": ("a",), "d": ("c",), "x": ()}
    assert circle_of("b", after) == ["b", "c", "a", "b"]
    assert circle_of("d", after) == []
    [problem] = chain_problems(load_job(job(tmp_path, "a", "{after: b}")), after)
    assert "in a circle: a after b after c after a" in problem.message


def test_a_job_comes_behind_all_that_it_waits_for() -> None:
    """A diamond: what waits for both of its sides runs once, at the end."""
    after = {"apps": ("ad", "ldap"), "ad": ("hr",), "ldap": ("ad",), "hr": (), "other": ("sis",), "sis": ()}
    assert followers_of("hr", after) == ["ad"]
    assert chain_from("hr", after) == ["ad", "ldap", "apps"]
    assert chain_from("other", after) == []


def test_people_read_what_a_job_waits_for() -> None:
    """In the UI of deployments, and on the pages."""
    hourly, daily = Schedule(after=("hr", "sis")), Schedule(after=("hr",), cron="0 6 * * *")
    assert schedule_sentence(hourly) == "after hr or sis, and every 1 hour (UTC)"
    assert schedule_of(hourly) == "A cycle begins when hr or sis has changed something, and every hour."
    assert schedule_of(daily) == "A cycle begins when hr has changed something, and by cron: 0 6 * * * (UTC)."
