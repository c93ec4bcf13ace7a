"""What a bad cycle means for the next ones: entries and whole jobs that wait, and what people are told and can do."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from connectors.contract import Kind
from connectors.errors import CredentialsError
from flows.cli.here import run_cycle
from flows.cycle.aftermath import PROVISOR
from flows.cycle.running import CycleChoice, running_cycle
from flows.cycle.systems import open_ledger
from flows.serve import local_api
from tasks.escrow import given_up
from tasks.extract import survey
from tasks.ledger import CycleState, JobPausedError, JobQuarantinedError, Ledger, Pause
from tasks.quarantine import Reason
from tasks.report import CycleReport
from tests.data.expected import desired_state
from tests.flows.reading_back import differences, read_back
from tests.flows.workplace import Said, Workplace, at
from tests.servers.mailbox import Mailbox, open_mailbox
from tests.servers.scim_service import ScimService

pytestmark = pytest.mark.usefixtures("plain_runs")

JOB = "hr-to-scim"
START = datetime(2026, 3, 15, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def cycle_at(small: Workplace, moment: datetime, *, at_once: tuple[str, ...] = ()) -> CycleReport:
    with at(moment), local_api.serving(small.home) as api_ready:
        return run_cycle(small.job, "auto", at_once=at_once, api_ready=api_ready, quiet=True)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with open_mailbox() as mailbox:
        yield mailbox


def somebody(small: Workplace) -> dict[str, str]:
    """A person in scope whom nobody reports to."""
    managers = {row["manager"] for row in small.rows()}
    wanted = desired_state(small.export).users
    return next(row for row in small.rows() if row["employeeId"] in wanted and row["employeeId"] not in managers)


def test_an_entry_that_fails_waits_longer_and_longer_and_delays_nobody(
    small: Workplace, service: ScimService, provisor: Callable[..., Said]
) -> None:
    """Tried in the next cycle, then not before 40 minutes; --now ends the wait; a success ends the escrow."""
    person = somebody(small)
    anchor, name = person["employeeId"], person["userPrincipalName"]
    service.set_fault("error", status=403, method="POST", path="^/Users", contains=name)

    def sent() -> int:
        return service.faults["error"].struck

    report = cycle_at(small, START)
    assert (report.exit_status, report.counts["failed"], sent()) == (1, 1, 1)
    assert len(service.users) == len(desired_state(small.export).users) - 1

    assert cycle_at(small, START + 20 * MINUTE).exit_status == 1
    assert sent() == 2, "the first retry is in the next cycle"

    small.change("900001", lambda row: row)
    report = cycle_at(small, START + 40 * MINUTE)
    assert (report.exit_status, report.counts["failed"], report.counts["held"], sent()) == (1, 0, 1, 2)
    (held,) = report.held
    assert held.anchor == anchor
    assert held.reason.startswith("Waits until 2026-03-15 13:00 UTC after 2 attempts: ")

    with at(START + 41 * MINUTE):
        (escrow,) = provisor("status", JOB, "--json").document[0]["escrows"]
        assert "1 entry failed" in (shown := provisor("status", JOB).out)
    assert (escrow["anchor"], escrow["attempts"]) == (anchor, 2)
    assert escrow["next_attempt"] == (START + 60 * MINUTE).isoformat()
    assert "next attempt 2026-03-15 13:00" in shown

    with at(START + 41 * MINUTE):
        stranger = provisor("run", str(small.job), "--now", "nobody")
    assert (stranger.status, sent()) == (2, 2)
    assert "No entry of hr-to-scim that failed is called 'nobody'" in stranger.err
    with at(START + 41 * MINUTE):
        called = provisor("run", str(small.job), "--now", name.upper())
    assert (called.status, sent()) == (1, 3)
    with open_ledger() as ledger:
        (escrow_now,) = ledger.escrows(JOB)
    assert (escrow_now.attempts, escrow_now.first_failed) == (3, START)
    assert escrow_now.next_attempt == START + 121 * MINUTE

    service.clear_fault()
    report = cycle_at(small, START + 5 * HOUR)
    assert report.exit_status == 0
    assert differences(read_back(service.url), desired_state(small.export)) == []
    with open_ledger() as ledger:
        assert ledger.escrows(JOB) == []


def test_an_entry_that_changes_is_tried_at_once(small: Workplace, service: ScimService) -> None:
    """Whoever repairs the value in the source need not wait for the next attempt."""
    person = somebody(small)
    service.set_fault("error", status=400, method="POST", path="^/Users", contains=person["userPrincipalName"])
    for minutes in (0, 20):
        cycle_at(small, START + minutes * MINUTE)
    service.clear_fault()
    small.change(person["employeeId"], lambda row: row | {"jobTitle": "Somebody else"})
    assert cycle_at(small, START + 25 * MINUTE).exit_status == 0
    with open_ledger() as ledger:
        assert ledger.escrows(JOB) == []


def test_wrong_credentials_quarantine_the_job_until_they_are_right(
    small: Workplace, service: ScimService, mailbox: Mailbox, provisor: Callable[..., Said]
) -> None:
    """At once, with one notice; no cycle begins before the next attempt; the first one that goes well ends it."""
    small.save(notify=[mailbox.address])
    service.renew_token("another token")
    report = cycle_at(small, START)
    assert report.exit_status == 4
    assert "in quarantine since 2026-03-15 12:00 UTC (credentials)" in report.standing
    with at(START + HOUR):
        refused = provisor("run", str(small.job))
        shown = provisor("status", JOB)
        document = provisor("status", JOB, "--json").document[0]
    assert refused.status == 4
    for part in ("quarantine", "12:00", "18:00 UTC", "provisor restart hr-to-scim --scope quarantine"):
        assert part in refused.err
    assert "in quarantine since 2026-03-15 12:00 (credentials), next attempt at 2026-03-15 18:00" in shown.out
    assert (document["quarantine"]["reason"], document["quarantine"]["attempts"]) == ("credentials", 0)
    with pytest.raises(JobQuarantinedError):
        cycle_at(small, START + HOUR)
    with open_ledger() as ledger:
        assert len(ledger.cycles(JOB)) == 1, "what is refused is no cycle"

    assert cycle_at(small, START + 6 * HOUR).exit_status == 4
    with open_ledger() as ledger:
        assert ledger.quarantine(JOB).next_attempt == START + 12 * HOUR
    assert mailbox.subjects == ["hr-to-scim: in quarantine (credentials)"]
    service.renew_token("a-token")
    assert cycle_at(small, START + 12 * HOUR).exit_status == 0
    with open_ledger() as ledger:
        assert ledger.quarantine(JOB) is None


def test_28_days_of_quarantine(small: Workplace, service: ScimService, provisor: Callable[..., Said]) -> None:
    """Started every six hours, the job is tried 30 times after the first, never after day 28, and when resumed."""
    service.renew_token("another token")
    tried = []
    for number in range(30 * 4):
        moment = START + number * 6 * HOUR
        try:
            with at(moment), running_cycle(small.job, CycleChoice.AUTO, flow_run_id=None) as running:
                survey(running.systems.source, running.systems.target)
                running.systems.target.check()
        except CredentialsError:
            tried.append(moment - START)
        except JobQuarantinedError:
            continue
    assert tried == [0 * DAY, 6 * HOUR, 12 * HOUR, *(day * DAY for day in range(1, 29))]
    with at(START + 40 * DAY):
        assert "no longer tried" in provisor("status", JOB).out
        assert "provisor resume hr-to-scim" in provisor("run", str(small.job)).err
        assert provisor("resume", JOB).out == "Job hr-to-scim is out of quarantine and goes on.\n"
    service.renew_token("a-token")
    assert cycle_at(small, START + 40 * DAY).exit_status == 0


def test_a_host_that_is_away_quarantines_only_when_it_stays_away(small: Workplace) -> None:
    """One bad night does not slow a job down; a person who ends a cycle does not count."""
    small.document["target"]["url"] = "http://127.0.0.1:1/v2"
    small.save(quarantine={"stops": 3})

    def run(moment: datetime) -> None:
        with at(moment), running_cycle(small.job, CycleChoice.AUTO, flow_run_id=None) as running:
            running.systems.target.check()

    def interrupted(moment: datetime) -> None:
        with at(moment), running_cycle(small.job, CycleChoice.AUTO, flow_run_id=None):
            raise KeyboardInterrupt

    with open_ledger() as ledger:
        for number in range(2):
            with pytest.raises(Exception, match=r"127\.0\.0\.1"):
                run(START + number * HOUR)
        with pytest.raises(KeyboardInterrupt):
            interrupted(START + 2 * HOUR)
        assert ledger.quarantine(JOB) is None
        with pytest.raises(Exception, match=r"127\.0\.0\.1"):
            run(START + 3 * HOUR)
        found = ledger.quarantine(JOB)
        assert (found.reason, found.next_attempt) == (Reason.STOPS, START + 9 * HOUR)


def test_another_configuration_ends_a_quarantine(small: Workplace, service: ScimService) -> None:
    """Who has repaired the job need not lift the quarantine as well."""
    service.renew_token("another token")
    assert cycle_at(small, START).exit_status == 4
    service.renew_token("a-token")
    small.document["users"]["attributes"]["nickName"] = "[givenName]"
    small.save()
    assert cycle_at(small, START + HOUR).exit_status == 0


def test_a_first_cycle_in_which_all_fails_pauses_the_job(
    small: Workplace, service: ScimService, mailbox: Mailbox, provisor: Callable[..., Said]
) -> None:
    """It runs to its end, nobody waits, and nothing goes on before somebody has looked, or changed the job."""
    small.save(notify=[mailbox.address])
    service.set_fault("error", status=400, method="POST")
    report = cycle_at(small, START)
    assert report.exit_status == 4
    assert report.state is CycleState.DONE_WITH_FAILURES
    with open_ledger() as ledger:
        assert ledger.escrows(JOB) == []
        assert ledger.quarantine(JOB) is None
        assert ledger.paused(JOB).who == PROVISOR
    assert mailbox.subjects == ["hr-to-scim: paused"]
    with pytest.raises(JobPausedError, match="too much of the first cycle failed"):
        cycle_at(small, START + HOUR)
    service.clear_fault()
    assert provisor("resume", JOB).out == "Job hr-to-scim is resumed.\n"
    assert cycle_at(small, START + HOUR).exit_status == 0


def test_a_later_cycle_in_which_all_fails_quarantines_the_job(small: Workplace, service: ScimService) -> None:
    """At the next attempt everybody is tried, however long each one would have to wait."""
    assert cycle_at(small, START).exit_status == 0
    small.write_rows(row | {"city": f"New {row['city']}"} for row in small.rows())
    small.save(limits={"updates": {"fraction": 1.0}})
    service.set_fault("error", status=400, method="PATCH,PUT")
    report = cycle_at(small, START + HOUR)
    assert report.exit_status == 4
    assert "(everything failed)" in report.standing
    report = cycle_at(small, START + 7 * HOUR)
    assert report.exit_status == 4, "what still fails keeps the job in quarantine"
    tried = service.faults["error"].struck
    assert cycle_at(small, START + 13 * HOUR).counts["held"] == 0
    assert service.faults["error"].struck == tried * 3 // 2
    service.clear_fault()
    assert cycle_at(small, START + 25 * HOUR).exit_status == 0
    with open_ledger() as ledger:
        assert (ledger.quarantine(JOB), ledger.escrows(JOB)) == (None, [])


def test_staged_removals_are_told_once(small: Workplace, mailbox: Mailbox) -> None:
    """One notice for the same removals, whatever number of cycles see them."""
    small.save(notify=[mailbox.address], limits={"removals": {"count": 1, "fraction": 1.0, "minimum": 0}})
    assert cycle_at(small, START).exit_status == 0
    managers = {row["manager"] for row in small.rows()}
    leavers = [one for one in desired_state(small.export).users if one not in managers][:3]
    small.write_rows([row for row in small.rows() if row["employeeId"] not in leavers])
    for hour in (1, 2):
        assert cycle_at(small, START + hour * HOUR).exit_status == 3
    assert len(mailbox.subjects) == 1
    assert "wait for approval" in mailbox.subjects[0]


def test_a_pause_takes_effect_between_two_batches(
    small: Workplace, service: ScimService, provisor: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is recorded, the rest is not sent; after resume the next cycle goes on from there."""
    wanted = desired_state(small.export)
    small.save(load={"batch_size": 10, "concurrency": 2})
    record, recorded = Ledger.record, []

    def record_and_pause(ledger: Ledger, *given: object, **named: object) -> object:
        clashes = record(ledger, *given, **named)
        recorded.append(given)
        if len(recorded) == 2:
            ledger.pause(JOB, Pause(START, "eve", "the target is being moved"))
        return clashes

    monkeypatch.setattr(Ledger, "record", record_and_pause)
    report = cycle_at(small, START)
    monkeypatch.undo()
    monkeypatch.setenv("PROVISOR_HOME", str(small.home))
    monkeypatch.setenv("SCIM_TOKEN", "a-token")
    assert (report.state, report.exit_status) == (CycleState.STOPPED, 4)
    assert "paused since 2026-03-15 12:00 UTC by eve: the target is being moved" in report.message
    assert 0 < report.counts["created"] == len(service.users) < len(wanted.users)
    with open_ledger() as ledger:
        assert ledger.open_attempts(JOB) == []
        assert len(ledger.links(JOB, Kind.USER)) == len(service.users)
        assert ledger.quarantine(JOB) is None
        assert ledger.watermark(JOB) is None
    refused = provisor("run", str(small.job))
    assert refused.status == 4
    assert "by eve" in refused.err
    assert "paused since 2026-03-15 12:00 by eve: the target is being moved" in provisor("status", JOB).out
    assert provisor("resume", JOB).status == 0
    assert cycle_at(small, START + HOUR).exit_status == 0
    assert service.requests["POST /Users"] == len(wanted.users)
    assert differences(read_back(service.url), wanted) == []


def test_who_leaves_is_tried_in_every_cycle(small: Workplace, service: ScimService) -> None:
    """A failed disable never waits: the person would keep access meanwhile."""
    assert cycle_at(small, START).exit_status == 0
    person = somebody(small)["employeeId"]
    (id_,) = [id_ for id_, user in service.users.items() if user["externalId"] == person]
    small.change(person, lambda row: None)
    service.set_fault("error", status=403, path=f"^/Users/{id_}", method="PATCH,PUT,DELETE")
    for number in range(1, 5):
        assert cycle_at(small, START + number * 20 * MINUTE).exit_status == 1
        assert service.faults["error"].struck == number
    with open_ledger() as ledger:
        (escrow,) = ledger.escrows(JOB)
    assert escrow.attempts == 4
    assert not given_up(escrow)
