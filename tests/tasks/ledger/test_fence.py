"""What a run that was overtaken can no longer write; and dates that mean never."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pandas as pd
import pytest

from connectors.contract import Action, Kind
from tasks.escrow import NEVER
from tasks.ledger import (
    Cycle,
    CycleKind,
    Escrow,
    LeaseLostError,
    Ledger,
    LogAction,
    LogEntry,
    LogStatus,
    Quarantine,
    Staged,
)
from tests.tasks.ledger.test_lease import run_out

HOUR = timedelta(hours=1)


@pytest.fixture
def late(ledger: Ledger, open_ledger: Callable[[], Ledger], now: datetime) -> Cycle:
    """A running cycle whose job another run has taken over; everything the job remembers was there before."""
    lease = ledger.acquire_lease("hr", "late", now=now, duration=HOUR)
    cycle = ledger.begin_cycle("hr", CycleKind.INITIAL, fingerprint="f", now=now, lease=lease)
    write(ledger, cycle, now)
    run_out(ledger)
    open_ledger().acquire_lease("hr", "quick", now=now + HOUR, duration=HOUR)
    return cycle


def links(*target_ids: str) -> pd.DataFrame:
    return pd.DataFrame({"target_id": list(target_ids)}, index=pd.Index(["a1"], dtype="str"))


def write(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """One of everything."""
    ledger.put_links("hr", Kind.USER, links("t1"), cycle_id=cycle.id, now=now, under=cycle)
    ledger.put_staged("hr", [staged(cycle, now)], under=cycle)
    ledger.put_escrows("hr", [escrow(now)], under=cycle)
    ledger.put_quarantine("hr", quarantine(now), under=cycle)
    ledger.log_entries(cycle, [LogEntry(Kind.USER, LogAction.SKIP, LogStatus.SKIPPED, "a1")], now=now)


def staged(cycle: Cycle, now: datetime) -> Staged:
    return Staged(Kind.USER, Action.DISABLE, "a1", now, cycle.id, "too many")


def escrow(now: datetime) -> Escrow:
    return Escrow(Kind.USER, "a1", now, now, 1, "taken")


def quarantine(now: datetime) -> Quarantine:
    return Quarantine("failures", "too many", now, now, 0, None)


WRITES: dict[str, Callable[[Ledger, Cycle, datetime], object]] = {
    "put_links": lambda ledger, cycle, now: ledger.put_links(
        "hr", Kind.USER, links("t2"), cycle_id=cycle.id, now=now, under=cycle
    ),
    "drop_links": lambda ledger, cycle, now: ledger.drop_links("hr", Kind.USER, ["a1"], under=cycle),
    "put_staged": lambda ledger, cycle, now: ledger.put_staged("hr", [], under=cycle),
    "drop_staged": lambda ledger, cycle, now: ledger.drop_staged("hr", [staged(cycle, now)], under=cycle),
    "put_escrows": lambda ledger, cycle, now: ledger.put_escrows("hr", [escrow(now)], under=cycle),
    "drop_escrows": lambda ledger, cycle, now: ledger.drop_escrows("hr", Kind.USER, ["a1"], under=cycle),
    "put_quarantine": lambda ledger, cycle, now: ledger.put_quarantine("hr", None, under=cycle),
    "log_entries": lambda ledger, cycle, now: ledger.log_entries(
        cycle, [LogEntry(Kind.USER, LogAction.SKIP, LogStatus.SKIPPED, "a2")], now=now
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_run_that_was_overtaken_writes_nothing(ledger: Ledger, late: Cycle, now: datetime, name: str) -> None:
    """Its plan is of yesterday: what it would write over belongs to who has the job now."""
    with pytest.raises(LeaseLostError):
        WRITES[name](ledger, late, now)
    assert ledger.target_ids("hr", Kind.USER, ["a1"]) == {"a1": "t1"}
    assert len(ledger.staged("hr")) == len(ledger.escrows("hr")) == len(ledger.log("hr")) == 1
    assert ledger.quarantine("hr") == quarantine(now)


def test_an_entry_that_was_given_up_stays_so(ledger: Ledger, now: datetime) -> None:
    """The moment that means never comes back as it was, from both databases."""
    given_up = Escrow(Kind.USER, "a1", now, NEVER, 34, "taken", fingerprint=-(2**63))
    ledger.put_escrows("hr", [given_up])
    assert ledger.escrows("hr") == [given_up]
