"""What a run that was overtaken may still write down about the requests that it had sent."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.errors import ErrorCode
from tasks.ledger import Cycle, CycleKind, Ledger, Link, LogAction, LogEntry, LogStatus, log_outcome
from tests.tasks.ledger.test_lease import run_out

HOUR = timedelta(hours=1)
CREATE = Change("1", Kind.USER, Action.CREATE, "a", None, label="Ann")
UPDATE = Change("2", Kind.USER, Action.UPDATE, "b", "t-b", {"title": "Boss"}, {"title": "Clerk"})
DELETE = Change("3", Kind.USER, Action.DELETE, "c", "t-c")
SENT = (CREATE, UPDATE, DELETE)


@dataclass
class World:
    """Two cycles of one job: one that is late, and one that has taken over."""

    ledger: Ledger
    late: Cycle
    newer: Cycle
    now: datetime

    def record(self, *outcomes: Outcome, cycle: Cycle | None = None) -> None:
        """As a load does it: a link for what made or changed an account, and a line for what is known."""
        by_id = {change.id: change for change in SENT}
        known = [(by_id[one.change_id], one) for one in outcomes]
        links = [
            Link(change.kind, change.anchor, one.target_id or change.target_id or "", fingerprint=7, written=b"1234")
            for change, one in known
            if one.status is Status.DONE and change.action is not Action.DELETE
        ]
        log = [log_outcome(change, one) for change, one in known]
        self.ledger.record(cycle or self.late, SENT, outcomes, now=self.now, links=links, log=log)

    def lines(self) -> list[tuple[str, str, str]]:
        log = self.ledger.log("hr")
        return [(str(row.action), str(row.status), str(row.target_id)) for row in log.itertuples()][::-1]

    def open(self) -> dict[str, str | None]:
        return {one.change_id: one.target_id for one in self.ledger.open_attempts("hr")}

    def owned(self) -> dict[str, str]:
        return dict(self.ledger.links("hr", Kind.USER)["target_id"])


@pytest.fixture
def world(ledger: Ledger, open_ledger: Callable[[], Ledger], now: datetime) -> World:
    lease = ledger.acquire_lease("hr", "late", now=now, duration=HOUR)
    late = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now, lease=lease)
    before = [Link(Kind.USER, "b", "t-b", fingerprint=1), Link(Kind.USER, "c", "t-c", fingerprint=1)]
    ledger.record(late, (), (), now=now, links=before)
    ledger.journal(late, SENT, now)
    run_out(ledger)
    taken = open_ledger().acquire_lease("hr", "quick", now=now + HOUR, duration=HOUR)
    newer = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now, lease=taken)
    return World(ledger, late, newer, now)


def test_what_was_done_is_left_for_the_next_cycle_to_look_at(world: World) -> None:
    """No link is written or dropped; the attempts stay open, with the id that the answer told."""
    done = [Outcome("1", Status.DONE, "t-a"), Outcome("2", Status.DONE, "t-b"), Outcome("3", Status.DONE, "t-c")]
    world.record(*done)
    assert world.open() == {"1": "t-a", "2": "t-b", "3": "t-c"}
    assert world.owned() == {"b": "t-b", "c": "t-c"}
    assert list(world.ledger.links("hr", Kind.USER)["fingerprint"]) == [1, 1]
    assert world.lines() == []


def test_a_link_of_a_newer_cycle_stays_and_the_other_account_is_logged_as_an_orphan(world: World) -> None:
    """An account that nobody owns, and that is active, has to be found by somebody."""
    world.ledger.record(world.newer, (), (), now=world.now, links=[Link(Kind.USER, "a", "t-new")])
    world.record(Outcome("1", Status.DONE, "t-old"))
    assert world.owned()["a"] == "t-new"
    log = world.ledger.log("hr")
    [line] = log.itertuples()
    assert (line.action, line.status, line.target_id) == ("create", "warning", "t-old")
    assert line.code == ErrorCode.DUPLICATE_TARGET_ENTRIES
    assert "t-old is an orphan" in line.message
    assert "delete or disable it" in line.message
    assert "1" not in world.open()


def test_what_the_newer_cycle_has_found_out_is_not_said_twice(world: World) -> None:
    """One committed change, one line: by whoever looked first."""
    world.record(Outcome("2", Status.DONE, "t-b"), Outcome("3", Status.REJECTED), cycle=world.newer)
    world.record(Outcome("2", Status.DONE, "t-b"), Outcome("3", Status.REJECTED, code=ErrorCode.CONFLICT))
    assert world.lines() == [("update", "success", "t-b"), ("delete", "failure", "t-c")]


def test_what_the_newer_cycle_did_not_see_is_looked_at_again(world: World) -> None:
    """The answer says that it was done although the newer cycle saw nothing of it."""
    world.record(Outcome("3", Status.REJECTED), cycle=world.newer)
    world.record(Outcome("3", Status.DONE, "t-c"))
    assert world.open() == {"1": None, "2": "t-b", "3": "t-c"}
    assert world.owned() == {"b": "t-b", "c": "t-c"}


def test_what_was_refused_is_said(world: World) -> None:
    """A refusal is the same whoever has the job."""
    world.record(Outcome("1", Status.REJECTED, code=ErrorCode.CONFLICT), Outcome("2", Status.UNKNOWN))
    assert world.lines()[0] == ("create", "failure", "nan")
    assert set(world.open()) == {"2", "3"}


def test_a_delete_drops_the_link_of_the_account_that_it_deleted_and_no_other(ledger: Ledger, now: datetime) -> None:
    """By the time a lost delete is read back, its entry may have another account."""
    cycle = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now)
    ledger.journal(cycle, [DELETE], now)
    ledger.record(cycle, (), (), now=now, links=[Link(Kind.USER, "c", "t-new")])
    ledger.record(cycle, [DELETE], [Outcome("3", Status.DONE)], now=now, log=[_line(DELETE)])
    assert dict(ledger.links("hr", Kind.USER)["target_id"]) == {"c": "t-new"}


def _line(change: Change) -> LogEntry:
    return LogEntry(change.kind, LogAction.DELETE, LogStatus.SUCCESS, change.anchor, change_id=change.id)
