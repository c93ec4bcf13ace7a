"""An account of a target belongs to one job, whatever jobs begin at the same moment."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier

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
    assert two.owners_elsewhere("crm", HERE, Kind.USER, ["1", "2", "3"]) == {"1": "hr", "2": "hr"}
    assert two.owners_elsewhere("crm", HERE, Kind.GROUP, ["1", "2", "3"]) == {}
    adopt(two, second, now, max="3")


@pytest.mark.parametrize("how", ["adopted", "created"])
def test_of_two_jobs_that_begin_at_one_moment_one_owns_each_account(
    open_ledger: Callable[[], Ledger], now: datetime, how: str
) -> None:
    """Both are new at the target, and want the same accounts, in opposite orders; each of them waits for the other at
    every step. Nobody is lost: what one job does not get, the other one has.
    """
    rounds, accounts = 2, [f"t{number:04}" for number in range(6_000 if how == "adopted" else 300)]
    step = Barrier(2)

    def live(job: str, ids: list[str]) -> None:
        try:
            run(job, ids)
        except BaseException:
            step.abort()
            raise

    def run(job: str, ids: list[str]) -> None:
        ledger = open_ledger()
        for round_ in range(rounds):
            wanted = {f"{job}-{id}": f"{round_}-{id}" for id in ids}
            step.wait(30)
            cycle = begin(ledger, f"{job}-{round_}", now)
            step.wait(30)
            if how == "adopted":
                _adopt_what_is_free(ledger, cycle, now, wanted)
            else:
                _create(ledger, cycle, now, wanted)

    with ThreadPoolExecutor(2) as pool:
        jobs = {"hr": accounts, "crm": accounts[::-1]}
        done = [pool.submit(live, job, ids) for job, ids in jobs.items()]
        assert [one.exception(120) for one in done] == [None, None]
    ledger = open_ledger()
    for round_ in range(rounds):
        owned = {job: set(ledger.links(f"{job}-{round_}", Kind.USER)["target_id"]) for job in jobs}
        assert owned["hr"] & owned["crm"] == set()
        assert owned["hr"] | owned["crm"] == {f"{round_}-{id}" for id in accounts}


def _adopt_what_is_free(ledger: Ledger, cycle: Cycle, now: datetime, wanted: dict[str, str]) -> None:
    """Adopts all at once, or, where another job has been quicker, what that left."""
    try:
        adopt(ledger, cycle, now, **wanted)
    except LinkTakenError:
        taken = ledger.owners_elsewhere(cycle.job, HERE, Kind.USER, list(wanted.values()))
        adopt(ledger, cycle, now, **{anchor: id for anchor, id in wanted.items() if id not in taken})


def _create(ledger: Ledger, cycle: Cycle, now: datetime, wanted: dict[str, str]) -> None:
    """A service answers creates of both jobs with the same accounts."""
    changes = [Change(f"{cycle.job}-{anchor}", Kind.USER, Action.CREATE, anchor, None) for anchor in wanted]
    outcomes = [
        Outcome(change.id, Status.DONE, target_id=id) for change, id in zip(changes, wanted.values(), strict=True)
    ]
    links = [Link(Kind.USER, anchor, id, how="created") for anchor, id in wanted.items()]
    log = [log_outcome(change, outcome) for change, outcome in zip(changes, outcomes, strict=True)]
    ledger.journal(cycle, changes, now)
    ledger.record(cycle, changes, outcomes, now=now, links=links, log=log)


def test_the_same_id_in_another_target_is_another_account(ledger: Ledger, now: datetime) -> None:
    """Targets number their accounts as they like."""
    adopt(ledger, begin(ledger, "hr", now), now, ann="1")
    adopt(ledger, begin(ledger, "crm", now, THERE), now, zoe="1")
    assert ledger.owners_elsewhere("crm", THERE, Kind.USER, ["1"]) == {}


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
    assert ledger.owners_elsewhere("crm", HERE, Kind.USER, ["1", "2"]) == {"2": "hr"}
    assert ledger.owners_elsewhere("hr", HERE, Kind.USER, ["1", "2"]) == {"1": "crm"}
    with pytest.raises(LinkTakenError, match="by the job hr"):
        adopt(ledger, begin(ledger, "crm", now), now, tom="2")
