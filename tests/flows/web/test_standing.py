"""How jobs stand, as the overview, the command line and monitors say it: what hides that one has stopped."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connectors.contract import Kind
from flows.cycle.systems import now
from flows.serve.web import pages_looking
from flows.serve.web.errands import Errand, ErrandKind, Errands
from flows.serve.web.rights import Grant, Role
from flows.show.status import job_status
from flows.show.why import Evidence, Who
from flows.show.why_page import as_json
from tasks.job import load_job
from tasks.ledger import (
    CycleEnd,
    CycleKind,
    CycleState,
    Ledger,
    Linked,
    LinkState,
    LogAction,
    LogEntry,
    LogStatus,
    Quarantine,
)
from tests.flows.web.company import write_jobs
from tests.flows.web.worlds import Asked, pages_of, text_of

JOB = "hr-to-scim"
"""Runs every 20 minutes."""
FILES = 4
"""Jobs that have a file."""


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    """Pages of jobs that have not run yet."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SCIM_TOKEN", "a-secret-of-the-target")
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    write_jobs(tmp_path)
    with (
        Ledger.open(None, tmp_path / "state") as ledger,
        pages_of(ledger, tmp_path, {"vera": Grant(Role.VIEWER)}) as pages,
    ):
        yield pages


def ran(ledger: Ledger, kind: CycleKind, at: datetime, state: CycleState = CycleState.DONE, job: str = JOB) -> None:
    """A cycle that began at a moment and has ended."""
    cycle = ledger.begin_cycle(job, kind, fingerprint="f", now=at)
    ledger.end_cycle(cycle, CycleEnd(state, {"updated": 1}, now=at, message="", source="HR", target="App"))


def test_one_entry_on_demand_does_not_hide_a_dead_schedule(asked: Asked) -> None:
    """Nor does the undoing of a cycle: only cycles of the whole source say that the schedule is kept."""
    ledger, vera, days_ago = asked.ledger, asked.visitors["vera"], now() - timedelta(days=8)
    ran(ledger, CycleKind.INITIAL, days_ago)
    for kind in (CycleKind.ON_DEMAND, CycleKind.UNDO):
        ran(ledger, kind, now() - timedelta(minutes=3), CycleState.STOPPED)
        assert f"{JOB} is overdue" in vera.get("/").text
        figures = vera.get("/metrics").text
        assert f'provisor_job_state{{job="{JOB}",state="overdue"}} 1.0' in figures
        age = next(line for line in figures.splitlines() if line.startswith("provisor_last_good_cycle_age_seconds{"))
        assert float(age.split()[-1]) > timedelta(days=7).total_seconds()
        found = job_status(ledger, JOB)
        assert (found["state"], found["last_good"]["number"]) == ("done", 1)


def test_a_dead_cycle_is_dead_on_every_page(asked: Asked) -> None:
    """Its process has died when no run holds its job any more; its page then no longer asks how far it is."""
    ledger, vera, began = asked.ledger, asked.visitors["vera"], now() - timedelta(hours=9)
    lease = ledger.acquire_lease(JOB, "a-machine", now=now(), duration=timedelta(minutes=5))
    ledger.begin_cycle(JOB, CycleKind.INITIAL, fingerprint="f", now=began, lease=lease)
    page = vera.get(f"/jobs/{JOB}/cycles/1").text
    assert "Under way." in page
    assert 'hx-trigger="every 3s"' in page
    assert job_status(ledger, JOB)["state"] == "running"

    ledger.release_lease(lease)
    page = vera.get(f"/jobs/{JOB}/cycles/1").text
    assert "The process of this cycle died." in page
    assert "every 3s" not in page
    assert "Its process died." in vera.get("/").text
    for path in (f"/jobs/{JOB}", f"/jobs/{JOB}/cycles", f"/jobs/{JOB}/cycles/1"):
        assert "Under way" not in vera.get(path).text, path
    figures = vera.get("/metrics").text
    assert f'provisor_job_state{{job="{JOB}",state="stopped"}} 1.0' in figures
    assert f'provisor_cycles_total{{job="{JOB}",state="crashed"}} 1.0' in figures
    assert job_status(ledger, JOB)["state"] == "crashed"


def test_the_overview_counts_all_jobs(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the list is cut: those that need a person come first, and the page says how many more there are."""
    monkeypatch.setattr(pages_looking, "_JOBS_SHOWN", 2)
    for job in ("a", "b", "c", "d"):
        ran(asked.ledger, CycleKind.INITIAL, now(), job=job)
    asked.ledger.put_quarantine("d", Quarantine("auth", "The target refuses.", now(), now(), 3, None))
    page = asked.visitors["vera"].get("/").text
    total = len(asked.ledger.jobs()) + FILES
    assert f"1 of {total} jobs needs a person" in page
    assert re.findall(r'id="job-([^"]+)"', page) == ["d", "a"]
    assert f"and {total - 2} more jobs" in page


@pytest.mark.parametrize("show", ["", "need", "running", "paused"])
def test_a_refresh_of_the_overview_keeps_the_choice_and_the_focus(asked: Asked, show: str) -> None:
    """It asks for what is shown; htmx gives the focus back to what has the same id as before."""
    asked.ledger.put_quarantine(JOB, Quarantine("auth", "The target refuses.", now(), now(), 3, None))
    ran(asked.ledger, CycleKind.INITIAL, now())
    page = asked.visitors["vera"].get(f"/?show={show}").text
    live = page[page.index('<div id="live"') : page.index("</main>")]
    assert live.startswith(f'<div id="live" hx-get="/{f"?show={show}" if show else ""}"')
    reached = re.findall(r"<(?:a|button|summary|input|select)\b[^>]*>", live)
    ids = [found[1] if (found := re.search(r' id="([^"]+)"', one)) else "" for one in reached]
    assert len(ids) >= 5 - (show in ("running", "paused"))
    assert "" not in ids
    assert len(set(ids)) == len(ids)


def test_accounts_that_were_enabled_are_in_the_figures(asked: Asked) -> None:
    """Also of a cycle that undoes another one, which may have done nothing else."""
    cycle = asked.ledger.begin_cycle(JOB, CycleKind.UNDO, fingerprint="f", now=now())
    end = CycleEnd(CycleState.DONE, {"enabled": 2}, now=now(), message="", source="HR", target="App")
    asked.ledger.end_cycle(cycle, end)
    assert "<dt>Enabled</dt><dd>2</dd>" in asked.visitors["vera"].get(f"/jobs/{JOB}/cycles/1").text


def test_why_says_nothing_of_a_target_that_cannot_be_read(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither that the account is not there, nor that the next cycle does nothing."""
    moment = now()
    link = Linked("t1", "Ann", LinkState.ACTIVE, "created", moment, moment, moment)
    who = Who(Kind.USER, "1", "t1")
    job = load_job(asked.state.parent / "hr-to-scim.yaml")
    evidence = Evidence(job, "1", moment, who, outage="The target cannot be reached.", link=link)
    about = {"anchor": "1", "kind_of_entry": "user"}
    errand = Errand("e1", ErrandKind.WHY, JOB, "vera", moment, about, status=0)
    ran(asked.ledger, CycleKind.INITIAL, moment)
    monkeypatch.setattr(Errands, "find", lambda *_, **__: errand)
    monkeypatch.setattr(Errands, "document", lambda *_: as_json(evidence))
    page = text_of(asked.visitors["vera"].get("/errands/e1").text)
    assert "What a cycle would do now cannot be said: The target cannot be reached." in page
    assert "Created, active." in page
    assert "not in the target" not in page
    assert "Nothing." not in page


def test_a_line_of_time_shows_what_was_long_ago(asked: Asked) -> None:
    """A day on which an account was disabled, before more lines than the page shows."""
    ledger, moment = asked.ledger, now()
    cycle = ledger.begin_cycle(JOB, CycleKind.INITIAL, fingerprint="f", now=moment - timedelta(days=9))
    actions = [LogAction.CREATE, LogAction.DISABLE, LogAction.ENABLE, *[LogAction.UPDATE] * 70]
    for place, action in enumerate(actions):
        line = LogEntry(Kind.USER, action, LogStatus.SUCCESS, "1", label="Ann", target_id="t1", reason="r")
        ledger.log_entries(cycle, [line], now=moment - timedelta(days=max(9 - place, 1)))
    lane = asked.visitors["vera"].get(f"/people/{JOB}/1").text.split('class="lanes"')[1].split("</svg>")[0]
    assert re.findall(r'<rect class="l-(active|disabled)"', lane)[:3] == ["active", "disabled", "active"]
