"""Restart, pause and resume: each clears exactly its own state, and says what it did."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from connectors.contract import Action, Kind
from flows.decisions.maintenance import USUAL, RequestError, Scope, anchors_of, pause, restart, resume, scopes_of
from tasks.ledger import (
    CycleEnd,
    CycleKind,
    CycleState,
    Escrow,
    JobBusyError,
    Ledger,
    Pause,
    Quarantine,
    Staged,
)
from tests.flows.workplace import Said

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Two jobs that remember one of everything."""
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path))
    with Ledger.open(None, tmp_path) as ledger:
        for job in ("hr", "crm"):
            fill(ledger, job)
        yield ledger


def fill(ledger: Ledger, job: str) -> None:
    cycle = ledger.begin_cycle(job, CycleKind.INITIAL, fingerprint="f", now=NOW)
    for kind, anchor in ((Kind.USER, "ann"), (Kind.USER, "bob"), (Kind.GROUP, "staff")):
        frame = pd.DataFrame({"target_id": [f"t{anchor}"]}, index=pd.Index([anchor], dtype="str"))
        ledger.put_links(job, kind, frame, cycle_id=cycle.id, now=NOW)
    for kind, anchor in ((Kind.USER, "ann"), (Kind.GROUP, "staff")):
        ledger.put_escrows(job, [Escrow(kind, anchor, NOW, NOW + HOUR, 3, "taken", label=f"{anchor.title()}@x")])
    ledger.put_quarantine(job, Quarantine("failures", "too many.", NOW, NOW, 0, NOW + 6 * HOUR))
    ledger.put_staged(job, [Staged(Kind.USER, Action.DISABLE, "bob", NOW, cycle.id, "too many")])
    ledger.pause(job, Pause(NOW, "eve", "holidays"))
    ledger.end_cycle(cycle, CycleEnd(CycleState.DONE, {}, message="", now=NOW, watermark="w"))


def remembered(ledger: Ledger, job: str = "hr") -> dict[str, Any]:
    return {
        "watermark": ledger.watermark(job),
        "escrows": len(ledger.escrows(job)),
        "quarantine": ledger.quarantine(job) is not None,
        "links": sum(len(ledger.links(job, kind)) for kind in Kind),
        "staged": len(ledger.staged(job)),
        "pause": ledger.paused(job),
        "cycles": len(ledger.cycles(job)),
    }


EMPTY = {"watermark": None, "escrows": 0, "quarantine": False, "links": 0, "staged": 0}


@pytest.mark.parametrize(
    ("asked", "cleared"),
    [
        *((scope, {scope}) for scope in EMPTY),
        ("", {"watermark", "escrows", "quarantine"}),
        ("watermark, Escrows", {"watermark", "escrows"}),
        ("full", set(EMPTY)),
        ("full,links", set(EMPTY)),
    ],
)
def test_each_scope_clears_exactly_its_state(ledger: Ledger, asked: str, cleared: set[str]) -> None:
    """Nothing else of the job, nothing of another job, and never a person's pause."""
    before, other = remembered(ledger), remembered(ledger, "crm")
    restarted = restart(ledger, "hr", scopes_of(asked), clock=lambda: NOW)
    assert remembered(ledger) == before | {name: EMPTY[name] for name in cleared}
    assert remembered(ledger, "crm") == other
    counts = {"watermark": True, "escrows": 2, "quarantine": True, "links": 3, "staged": 1}
    assert restarted.as_json() == {"job": "hr"} | {name: counts[name] for name in counts if name in cleared}
    assert len(restarted.sentences) == len(cleared)


def test_scopes_are_checked() -> None:
    """A scope that does not exist is said, with those that do."""
    assert scopes_of(" ") == USUAL == {Scope.WATERMARK, Scope.ESCROWS, Scope.QUARANTINE}
    with pytest.raises(RequestError, match="no scope 'everything': write one or more of watermark, escrows"):
        scopes_of("watermark,everything")


def test_a_job_that_runs_is_not_restarted(ledger: Ledger) -> None:
    """Its state would change under the cycle; when the cycle has ended, it is."""
    before = remembered(ledger)
    lease = ledger.acquire_lease("hr", "somebody", now=NOW, duration=HOUR)
    with pytest.raises(JobBusyError):
        restart(ledger, "hr", scopes_of("full"), clock=lambda: NOW)
    assert remembered(ledger) == before
    ledger.release_lease(lease)
    restart(ledger, "hr", scopes_of("full"), clock=lambda: NOW)
    ledger.acquire_lease("hr", "another", now=NOW, duration=HOUR)


def test_resume_ends_a_pause_and_no_quarantine_that_goes_on(ledger: Ledger) -> None:
    """Who pauses a job in quarantine has not repaired it."""
    said = resume(ledger, "hr", now=NOW)
    assert said.startswith("Job hr has been in quarantine since")
    assert remembered(ledger)["pause"] is None
    assert remembered(ledger)["quarantine"]


def test_resume_starts_a_job_that_is_no_longer_tried(ledger: Ledger) -> None:
    """After 28 days it takes a person, and this is the command for it."""
    ledger.put_quarantine("hr", Quarantine("failures", "too many.", NOW, NOW, 30, None))
    assert resume(ledger, "hr", now=NOW) == "Job hr is out of quarantine and goes on."
    assert ledger.quarantine("hr") is None
    assert resume(ledger, "hr", now=NOW) == "Job hr was not paused."


def test_pause_says_who_and_why(ledger: Ledger) -> None:
    """And how the job goes on."""
    said = pause(ledger, "hr", who="joe", why="the target moves", now=NOW)
    assert said == (
        "Job hr has been paused since 2026-03-15 12:00 UTC by joe: the target moves. "
        "It goes on after: provisor resume hr"
    )
    assert ledger.paused("hr") == Pause(NOW, "joe", "the target moves")


def test_entries_in_escrow_are_found_by_anchor_target_id_and_name(ledger: Ledger) -> None:
    """However people call them; who does not wait cannot be called."""
    assert anchors_of(ledger, "hr", ["ann"]) == anchors_of(ledger, "hr", ["ANN@X"]) == ("ann",)
    assert anchors_of(ledger, "hr", ["tstaff", "tann", "ann"]) == ("ann", "staff")
    assert anchors_of(ledger, "hr", []) == ()
    with pytest.raises(RequestError, match="called 'bob'"):
        anchors_of(ledger, "hr", ["ann", "bob"])


# --- the commands --------------------------------------------------------------------------------------------------


def test_restart_command(ledger: Ledger, provisor: Callable[..., Said]) -> None:
    """Plain and as JSON; the usual scopes without a word."""
    said = provisor("restart", "hr")
    assert said.status == 0
    assert said.out.splitlines() == [
        "The next cycle evaluates everybody.",
        "2 entries no longer wait after a failure.",
        "The quarantine is lifted.",
    ]
    again = provisor("restart", "hr", "--scope", "escrows,staged", "--json")
    assert again.document == {"job": "hr", "escrows": 0, "staged": 1}


@pytest.mark.parametrize("scope", ["links", "full"])
def test_links_are_not_broken_unasked(ledger: Ledger, provisor: Callable[..., Said], scope: str) -> None:
    """A script has to say --yes; it is told how many links there are."""
    before = remembered(ledger)
    said = provisor("restart", "hr", "--scope", scope)
    assert said.status == 2
    assert "Break 3 links of hr?" in said.err
    assert "--yes" in said.err
    assert remembered(ledger) == before
    assert "3 links are broken" in provisor("restart", "hr", "--scope", scope, "--yes").out
    assert remembered(ledger)["links"] == 0


@pytest.mark.parametrize("words", [["restart"], ["pause"], ["resume"]])
def test_a_name_that_is_misspelt_is_said(ledger: Ledger, provisor: Callable[..., Said], words: list[str]) -> None:
    """A pause of a job that does not exist would hold nothing back."""
    said = provisor(*words, "hrr")
    assert said.status == 2
    assert said.err == "No job called hrr has run here; the nearest is hr.\n"
    assert ledger.paused("hrr") is None


def test_pause_and_resume_commands(ledger: Ledger, provisor: Callable[..., Said]) -> None:
    """The name of who pauses is the login name unless another is given."""
    restart(ledger, "hr", scopes_of("quarantine"), clock=lambda: NOW)
    assert "by joe: moving" in provisor("pause", "hr", "--by", "joe", "--why", "moving").out
    assert ledger.paused("hr").who == "joe"
    assert provisor("resume", "hr").out == "Job hr is resumed.\n"
    assert provisor("resume", "hr").out == "Job hr was not paused.\n"
    assert provisor("pause", "hr").status == 0
    assert ledger.paused("hr").who
