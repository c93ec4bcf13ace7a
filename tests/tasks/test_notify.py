"""Notices: what people are told, once, by a real mail server; and what never leaves, whatever goes wrong."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.contract import Action, Kind
from tasks import notify
from tasks.job import Job
from tasks.ledger import Ledger, Pause, Quarantine, Staged
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
