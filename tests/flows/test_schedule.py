"""When cycles start by themselves: blackouts, and how schedules become Prefect's."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from flows.serve.deploy import FORMS, rhythm_of, schema_of
from flows.serve.jobs_of import jobs_of
from flows.show.picture import picture, schedule_sentence
from tasks.job import Blackout, JobError, Schedule, load_job
from tests.flows.workplace import ROOT

JOBS = ROOT / "flows" / "jobs"


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """A moment of the week that begins on Monday, 5 January 2026."""
    return datetime(2026, 1, 4 + day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "covered"),
    [
        (at(1, 21, 59), False),
        (at(1, 22), True),
        (at(2, 5, 59), True),  # the night that began on Monday
        (at(2, 6), False),
        (at(2, 22), False),  # begins on no Tuesday
        (at(1, 5), False),  # the night before began on a Sunday
    ],
)
def test_a_blackout_over_midnight_belongs_to_the_day_on_which_it_begins(moment: datetime, covered: bool) -> None:
    """Its first minute is in it, its last is not."""
    night = Blackout.model_validate({"days": ["mon"], "from": "22:00", "to": "06:00"})
    assert night.covers(moment) is covered


def test_blackouts_are_in_the_time_zone_of_the_schedule() -> None:
    """8 o'clock in Berlin is 7 o'clock UTC in winter."""
    schedule = Schedule.model_validate(
        {"every": "20m", "timezone": "Europe/Berlin", "blackout": [{"from": "08:00", "to": "09:00"}]}
    )
    assert schedule.blackout_at(at(1, 7, 30)) is not None
    assert schedule.blackout_at(at(1, 8, 30)) is None


@pytest.mark.parametrize("wrong", [{"from": "25:00", "to": "06:00"}, {"from": "6", "to": "6:00"}, {"to": "06:00"}])
def test_a_wrong_blackout_is_refused(wrong: dict[str, str]) -> None:
    """Like any other mistake in a job file, before anything is done."""
    with pytest.raises(ValueError, match=r"time of the day|Field required"):
        Blackout.model_validate(wrong)


def test_minutes_since_midnight_are_a_time_of_the_day() -> None:
    """YAML readers of the old kind take 22:00 for a number."""
    assert Blackout.model_validate({"from": 1320, "to": "06:00"}).begin == time(22)


def test_deploying_again_does_not_move_an_interval() -> None:
    """Runs are due at the same minutes, whenever the job was deployed."""
    schedule = Schedule(every=timedelta(minutes=20))
    assert rhythm_of(schedule) == rhythm_of(schedule)
    assert rhythm_of(schedule).timezone == "UTC"


def test_the_sentence_says_when_cycles_start() -> None:
    """For people who look at a deployment."""
    schedule = Schedule.model_validate(
        {
            "cron": "0 6 * * *",
            "timezone": "Europe/Berlin",
            "blackout": [{"days": ["sun"], "from": "5:00", "to": "7:00"}],
        }
    )
    assert schedule_sentence(schedule) == "by cron 0 6 * * *, not from 05:00 to 07:00 on Sunday (Europe/Berlin)"
    assert schedule_sentence(None) == "by hand"


def test_a_folder_gives_its_jobs_and_nothing_else(tmp_path: Path) -> None:
    """Other YAML files are left out; two jobs of one name, a job that is wrong and an empty folder are refused."""
    with pytest.raises(JobError, match="no job file"):
        jobs_of(tmp_path)
    (tmp_path / "prefect.yaml").write_text("name: something\n")
    text = (JOBS / "hr-to-scim.yaml").read_text(encoding="utf-8")
    (tmp_path / "one.yaml").write_text(text, encoding="utf-8")
    assert [job.name for job in jobs_of(tmp_path)] == ["hr-to-scim"]
    (tmp_path / "two.yml").write_text(text, encoding="utf-8")
    (tmp_path / "three.yaml").write_text("source: {connector: csvv}\n")
    with pytest.raises(JobError, match="has a job called hr-to-scim too") as refused:
        jobs_of(tmp_path)
    assert "csvv" in str(refused.value)


@pytest.mark.parametrize("name", [path.name for path in sorted(JOBS.glob("*.yaml"))])
def test_the_picture_of_a_job_holds_no_reference_to_a_credential(name: str) -> None:
    """It stands in Prefect's database, and says from where to where."""
    job = load_job(JOBS / name)
    page = picture(job)
    assert f"**{' + '.join(one.connector for one in (*job.people, *job.enrich))}**" in page
    url = getattr(job.target.settings, "url", None) or ()
    for address in [url] if isinstance(url, str) else url:
        assert address in page
    for secret in ("SCIM_TOKEN", "ENTRA_SECRET", "AD_PASSWORD", "LDAP_PASSWORD"):
        assert secret not in page


def test_forms_ask_for_no_file_and_explain_every_parameter() -> None:
    """A person knows a job by its name; whatever else is asked has a description, and choices where there are some."""
    for form in FORMS:
        schema = schema_of(form)
        assert "job" not in schema["properties"]
        assert all(one.get("description") for one in schema["properties"].values()), form.suffix
        assert not any("anyOf" in one for one in schema["properties"].values()), form.suffix  # a tab called "None"
    cycle = schema_of(FORMS[0])["definitions"]["CycleChoice"]
    assert cycle["enum"] == ["auto", "initial", "incremental", "reconcile"]
