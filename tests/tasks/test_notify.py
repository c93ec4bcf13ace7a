"""Notices: what people are told, once, by a real mail server; and what never leaves, whatever goes wrong."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.contract import Action, Kind
from connectors.errors import CredentialsError, ErrorCode
from flows.cycle.aftermath import let_begin
from tasks import notify
from tasks.escrow import Failed
from tasks.job import Job
from tasks.ledger import (
    Cycle,
    CycleEnd,
    CycleKind,
    CycleState,
    JobPausedError,
    JobQuarantinedError,
    Ledger,
    Pause,
    Quarantine,
    Staged,
)
from tasks.report import CycleReport
from tests.servers.mailbox import Mailbox, open_mailbox
from tests.tasks.plan.worlds import make_job

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PRESENT = Quarantine("failures", "45,000 changes failed.", NOW, NOW, 0, NOW + 6 * HOUR)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with open_mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def address(mailbox: Mailbox) -> str:
    return mailbox.address


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(None, tmp_path) as ledger:
        yield ledger


def job_of(*addresses: str) -> Job:
    return make_job(notify=list(addresses))


def staged(*anchors: str) -> list[Staged]:
    guard = "12 accounts would be disabled."
    return [Staged(Kind.USER, Action.DISABLE, one, NOW, 1, guard, label=f"{one}@x") for one in anchors]


def test_quarantine_is_told_once_and_again_with_another_reason(ledger: Ledger, mailbox: Mailbox, address: str) -> None:
    """One notice when the job goes in, one when the reason changes, one when it is tried no more, none in between."""
    job = job_of(address)

    def tell(found: Quarantine | None) -> None:
        notify.quarantined(ledger, job, found, now=NOW)

    tell(PRESENT)
    tell(PRESENT)
    assert mailbox.subjects == ["test: in quarantine (failures)"]
    assert mailbox.body().split("\n")[0].startswith("Job test has been in quarantine since 2026-03-15 12:00 UTC")
    for part in ("45,000 changes failed.", "2026-03-15 18:00 UTC", "provisor restart test --scope quarantine"):
        assert part in mailbox.body().replace("\n", " ")
    other = Quarantine("credentials", "not let in", NOW, NOW, 1, NOW + 12 * HOUR)
    tell(other)
    tell(other)
    tell(Quarantine("credentials", "not let in", NOW, NOW, 30, None))
    assert mailbox.subjects[1:] == ["test: in quarantine (credentials)", "test: no longer tried"]
    tell(None)
    tell(other)
    assert len(mailbox.mails) == 4, "who is let out and comes back is told again"


def test_staged_removals_are_told_once_for_each_set(ledger: Ledger, mailbox: Mailbox, address: str) -> None:
    """The same set in another cycle is no news; one more is."""
    job = job_of(address)
    for items in (staged("ann", "bob"), staged("bob", "ann"), staged("ann", "bob", "joe"), [], staged("ann", "bob")):
        notify.staged(ledger, job, items, now=NOW)
    assert mailbox.subjects == [f"test: {count} wait for approval" for count in (2, 3, 2)]
    assert mailbox.body(0).strip() == (
        "2 to disable (user)\n\n12 accounts would be disabled.\n\n- disable ann@x\n- disable bob@x\n\n"
        "Nothing of this is done before somebody decides: provisor approve test, or provisor reject"
    )


def test_long_lists_are_cut(ledger: Ledger, mailbox: Mailbox, address: str) -> None:
    """Ten thousand names are no notice."""
    notify.staged(ledger, job_of(address), staged(*(f"p{number:03}" for number in range(50))), now=NOW)
    assert "- and 30 more" in mailbox.body()
    assert "p019@x" in mailbox.body()
    assert "p020@x" not in mailbox.body()


def test_a_pause_by_provisor_is_told(ledger: Ledger, mailbox: Mailbox, address: str) -> None:
    """It needs a person, so a person hears of it, once."""
    for _ in range(2):
        notify.paused(ledger, job_of(address), Pause(NOW, "Provisor", "too much failed."), now=NOW)
    assert mailbox.subjects == ["test: paused"]
    assert "provisor resume test" in mailbox.body()


def ended(*codes: ErrorCode, state: CycleState = CycleState.DONE_WITH_FAILURES, error: str = "") -> CycleReport:
    """The report of a cycle in which somebody failed with each of these codes."""
    failures = [Failed(Kind.USER, f"p{n}", f"p{n}@x", Action.CREATE, code, "no") for n, code in enumerate(codes)]
    counts = {"created": 3, "failed": len(failures)}
    return CycleReport(
        "test",
        7,
        CycleKind.INCREMENTAL,
        state,
        NOW,
        NOW,
        counts,
        failures=failures,
        error=error,
        page_address="http://x/7",
    )


def test_failures_are_told_when_they_change(ledger: Ledger, mailbox: Mailbox, address: str) -> None:
    """Cycles that fail as the last one did are no news, however many entries it is; another code is, and so is the end.

    The notice has the numbers, what to do and the report, and nothing of what the target said.
    """
    job = job_of(address)
    cycle = ledger.begin_cycle(job.name, CycleKind.INCREMENTAL, fingerprint="f", now=NOW)

    def tell(report: CycleReport, error: Exception | None = None) -> None:
        notify.troubled(ledger, job, notify.trouble_of(report, error), cycle, now=NOW)

    well = ended(state=CycleState.DONE)
    tell(well)
    assert mailbox.mails == []
    unique, wrong = ErrorCode.DUPLICATE_TARGET_ENTRIES, ErrorCode.UNPROCESSABLE_ENTITY
    tell(ended(unique))
    tell(ended(unique, unique))
    assert mailbox.subjects == ["test: done with failures"]
    body = mailbox.body()
    for part in ("Cycle 7 of test (incremental).", "1 failed", f"- 1 × {unique}:", "http://x/7", "provisor log test"):
        assert part in body.replace("\n", " ")
    assert "p0@x" not in body
    tell(ended(wrong, unique))
    tell(ended(unique, wrong, state=CycleState.STAGED))  # the same, and something waits for approval besides
    tell(ended(state=CycleState.STOPPED, error="The token is wrong."), CredentialsError("The token is wrong."))
    tell(ended(state=CycleState.STOPPED, error="The key is wrong."), CredentialsError("The key is wrong."))
    assert "The token is wrong." in mailbox.body()
    tell(well)
    tell(well)
    assert mailbox.subjects[1:] == ["test: done with failures", "test: cycle stopped", "test: all is well again"]


def test_the_week_is_summed_up_with_the_first_cycle_of_the_next(ledger: Ledger, mailbox: Mailbox, address: str) -> None:
    """Once for each week in which there were cycles, with their counts and what waits."""
    job = job_of(address)
    monday = datetime(2026, 3, 16, tzinfo=UTC)

    def cycle(began: datetime, state: CycleState, **counts: int) -> Cycle:
        opened = ledger.begin_cycle(job.name, CycleKind.INCREMENTAL, fingerprint="f", now=began)
        return ledger.end_cycle(opened, CycleEnd(state, counts, message=f"Ended {state}.", now=began + HOUR))

    cycle(monday - timedelta(days=8), CycleState.DONE, created=1000)  # another week's
    cycle(monday - timedelta(days=6), CycleState.DONE, created=12, members_added=1_200)
    cycle(monday - HOUR, CycleState.DONE_WITH_FAILURES, created=3, failed=2)
    last = cycle(monday - HOUR / 2, CycleState.DONE, updated=4)
    ledger.put_staged(job.name, staged("ann", "bob"))
    now = cycle(monday + HOUR, CycleState.DONE, created=500)
    mailbox.full = True
    notify.weekly(ledger, job, now=monday + HOUR)
    mailbox.full = False
    for moment in (monday + HOUR, monday + 2 * HOUR, monday + timedelta(days=6, hours=23)):
        notify.weekly(ledger, job, now=moment, pages="http://127.0.0.1:4201")
    assert mailbox.subjects == ["test: week of 2026-03-09"]
    body = mailbox.body()
    for part in (
        "3 cycles: 2 done, 1 done with failures.",
        "- 15 created",
        "- 4 updated",
        "- 1,200 members added",
        "- 2 failed",
        f"cycle {last.number} of 2026-03-15 23:30 UTC. Ended done.",
        "2 changes wait for approval",
        "http://127.0.0.1:4201",
    ):
        assert part in body
    assert "500" not in body
    notify.weekly(ledger, job, now=monday + timedelta(days=7))
    notify.weekly(ledger, job, now=monday + timedelta(days=21))  # a week without cycles
    assert mailbox.subjects[1:] == ["test: week of 2026-03-16"]
    assert f"cycle {now.number}" in mailbox.body()


def test_a_job_that_stands_still_is_not_forgotten(ledger: Ledger, mailbox: Mailbox, address: str) -> None:
    """Each week in which a pause or a quarantine keeps it from running it says so, though no cycle begins."""
    job = job_of(address)
    monday = datetime(2026, 3, 16, tzinfo=UTC)
    paused = monday - timedelta(days=7) + HOUR
    ledger.pause(job.name, Pause(paused, "ann", "the app is being moved"))
    with pytest.raises(JobPausedError):
        let_begin(ledger, job, now=paused + HOUR)
    assert mailbox.subjects == []  # of the week before there is nothing to say
    for days in (0, 1, 6, 7):
        with pytest.raises(JobPausedError):
            let_begin(ledger, job, now=monday + timedelta(days=days))
    assert mailbox.subjects == ["test: week of 2026-03-09", "test: week of 2026-03-16"]
    assert "paused since 2026-03-09 01:00 UTC by ann: the app is being moved" in mailbox.body()
    assert "No cycle ran." in mailbox.body()
    ledger.resume(job.name)
    ledger.put_quarantine(job.name, replace(PRESENT, next_attempt=None))
    with pytest.raises(JobQuarantinedError):
        let_begin(ledger, job, now=monday + timedelta(days=14))
    assert "in quarantine since 2026-03-15 12:00 UTC (failures)" in mailbox.body()


def test_what_nobody_took_is_told_with_the_next_cycle(
    ledger: Ledger, mailbox: Mailbox, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A mail server that is away must not make people miss it, nor stop the cycle."""
    job = job_of(address)
    mailbox.full = True
    notify.quarantined(ledger, job, PRESENT, now=NOW)
    assert mailbox.mails == []
    assert "was not sent to address 1 of job test (mailto)" in caplog.text
    mailbox.full = False
    notify.quarantined(ledger, job, PRESENT, now=NOW)
    assert len(mailbox.mails) == 1


def test_one_bad_address_does_not_keep_a_notice_from_the_others(
    ledger: Ledger, mailbox: Mailbox, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every address is tried."""
    notify.quarantined(ledger, job_of("nonsense://x", "${env:NOT_THERE}", address), PRESENT, now=NOW)
    assert len(mailbox.mails) == 1
    assert "address 1 of job test (nonsense)" in caplog.text
    assert "NOT_THERE" in caplog.text


def test_without_addresses_nothing_counts_as_told(ledger: Ledger, mailbox: Mailbox, address: str) -> None:
    """Who adds an address while the job is in quarantine hears of it."""
    notify.quarantined(ledger, job_of(), PRESENT, now=NOW)
    notify.quarantined(ledger, job_of(address), PRESENT, now=NOW)
    assert len(mailbox.mails) == 1


def test_passwords_in_addresses_are_never_logged(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither by us nor by the library, whether the address is wrong or the server is away."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CHAT", "mailto://eve:s3cret-one@127.0.0.1:1?from=a@example.com&to=b@example.com")
    addresses = (
        "${env:CHAT}",
        "nonsense://eve:s3cret-two@x",
        "mailto://eve:s3cret-three@",
        "json://s3cret-4@127.0.0.1:1",
    )
    notify.quarantined(ledger, job_of(*addresses), PRESENT, now=NOW)
    assert caplog.text.count("was not sent") == len(addresses)
    assert "s3cret" not in caplog.text
