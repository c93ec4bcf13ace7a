"""An account of a target belongs to one job, whatever jobs begin at the same moment."""

from collections.abc import Callable
from datetime import datetime

import pandas as pd
import pytest

from connectors.contract import Action, Change, Kind, Outcome, Status
from tasks.ledger import Cycle, CycleKind, Ledger, Link, LinkTakenError, LogStatus, log_outcome

HERE, THERE = "https://app.example.com/v2", "https://other.example.com/v2"


def begin(ledger: Ledger, job: str, now: datetime, target: str = HERE) -> Cycle:
    return ledger.begin_cycle(job, CycleKind.INITIAL, fingerprint="f", now=now, target=target)


def adopt(ledger: Ledger, cycle: Cycle, now: datetime, **links: str) -> None:
    frame = pd.DataFrame({"target_id": list(links.values())}, index=pd.Index(list(links), name="anchor"))
    ledger.put_links(cycle.job, Kind.USER, frame, cycle_id=cycle.id, now=now, under=cycle)


def test_two_new_jobs_do_not_adopt_the_same_account(open_ledger: Callable[[], Ledger], now: datetime) -> None:
    """Neither has ended a cycle yet; the one that is first has it, and the other one learns whose it is."""
    one, two = open_ledger(), open_ledger()
    first, second = begin(one, "hr", now), begin(two, "crm", now)
    adopt(one, first, now, ann="1", bob="2")
    with pytest.raises(LinkTakenError, match="user 1 is linked to ann by the job hr, not zoe"):
        adopt(two, second, now, zoe="1", max="3")
    assert two.links("crm", Kind.USER).empty
    elsewhere = two.links_elsewhere("crm", HERE)
    assert set(zip(elsewhere["target_id"], elsewhere["job"], strict=True)) == {("1", "hr"), ("2", "hr")}
    adopt(two, second, now, max="3")


def test_the_same_id_in_another_target_is_another_account(ledger: Ledger, now: datetime) -> None:
    """Targets number their accounts as they like."""
    adopt(ledger, begin(ledger, "hr", now), now, ann="1")
    adopt(ledger, begin(ledger, "crm", now, THERE), now, zoe="1")
    assert ledger.links_elsewhere("crm", THERE).empty


def test_an_account_that_a_create_answers_with_stays_its_owners(ledger: Ledger, now: datetime) -> None:
    """Some services answer a create with the account that is there: its line is a failure that names the other job."""
    adopt(ledger, begin(ledger, "hr", now), now, ann="1")
    cycle = begin(ledger, "crm", now)
    change = Change("c1", Kind.USER, Action.CREATE, "zoe", None)
    outcome = Outcome("c1", Status.DONE, target_id="1")
    ledger.journal(cycle, [change], now)
    link = Link(Kind.USER, "zoe", "1", how="created")
    [clash] = ledger.record(cycle, [change], [outcome], now=now, links=[link], log=[log_outcome(change, outcome)])
    assert clash.owner == "ann by the job hr"
    assert ledger.links("crm", Kind.USER).empty
    [line] = [line for chunk in ledger.log_chunks("crm") for line in chunk]
    assert line.status == LogStatus.FAILURE
    assert "linked to ann by the job hr" in line.message


def test_a_job_that_moves_to_another_target_takes_its_links_along(ledger: Ledger, now: datetime) -> None:
    """The address is what the newest cycle says; accounts that another job owns there are not claimed."""
    adopt(ledger, begin(ledger, "hr", now, THERE), now, ann="1", bob="2")
    adopt(ledger, begin(ledger, "crm", now), now, zoe="1")
    begin(ledger, "hr", now)
    elsewhere = ledger.links_elsewhere("crm", HERE)
    assert set(elsewhere["target_id"]) == {"1", "2"}
    with pytest.raises(LinkTakenError, match="by the job hr"):
        adopt(ledger, begin(ledger, "crm", now), now, tom="2")
