"""Who may decide about what guards hold: ``approval: {by, not_by}``, by the account that signed in, not by a name."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.contract import Action, Kind
from flows.decisions.staged import DecisionError, Identity, decide_staged
from tasks.ledger import CycleEnd, CycleKind, CycleState, Ledger, Staged, StagedState

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
CLOCK = Identity("a time limit that has passed", clock=True)
NOBODY = Identity("the form of the run")


def account(login: str) -> Identity:
    """Somebody at a machine."""
    return Identity(f"{login}@laptop", login)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(None, tmp_path) as ledger:
        # Another job's cycles, so that ids in the ledger are not numbers of the job's cycles.
        for _ in range(3):
            ledger.begin_cycle("crm", CycleKind.INITIAL, fingerprint="f", now=NOW, initiator="mallory@desk")
        yield ledger


def hold(ledger: Ledger, *anchors: str, started_by: str, **approval: object) -> None:
    """A cycle that somebody starts, and that holds something."""
    cycle = ledger.begin_cycle(
        "hr", CycleKind.INCREMENTAL, fingerprint="f", now=NOW, initiator=f"{started_by}@laptop", approval=approval
    )
    ledger.put_staged("hr", [Staged(Kind.USER, Action.DISABLE, one, NOW, cycle.id, "too many") for one in anchors])
    ledger.end_cycle(cycle, CycleEnd(CycleState.STAGED, {}, message="Waiting.", now=NOW))


def decide(
    ledger: Ledger, identity: Identity, *only: str, who: str = "Eve", decision: StagedState = StagedState.APPROVED
) -> list[str]:
    decided = decide_staged(
        ledger, "hr", decision, only=only, who=who, identity=identity, now=NOW + timedelta(minutes=1)
    )
    return [one.anchor for one in decided]


@pytest.mark.parametrize("decision", [StagedState.APPROVED, StagedState.REJECTED])
def test_only_those_who_are_listed_decide(ledger: Ledger, decision: StagedState) -> None:
    """The name that a person gives means nothing; the account that signed in is looked at, in any case of letters."""
    hold(ledger, "a", started_by="bob", by=["eve", "Zoe"])
    with pytest.raises(DecisionError, match=r"bob may not decide for hr: its job file lists eve, Zoe \(approval\.by\)"):
        decide(ledger, account("bob"), who="eve", decision=decision)
    with pytest.raises(DecisionError, match="the form of the run does not know who you are"):
        decide(ledger, NOBODY, who="eve", decision=decision)
    assert [one.state for one in ledger.staged("hr")] == [StagedState.STAGED]
    assert decide(ledger, account("ZOE"), decision=decision) == ["a"]
    [one] = ledger.staged("hr")
    assert (one.state, one.who, one.identity) == (decision, "Eve", "ZOE@laptop")


def test_nobody_approves_what_their_own_run_has_brought_about(ledger: Ledger) -> None:
    """Not in the cycle that held it, not in a later one of somebody else, and not by another job's cycle of that id."""
    hold(ledger, "a", started_by="Bob", not_by="initiator")
    with pytest.raises(DecisionError, match="bob started the cycle in which this was held"):
        decide(ledger, account("bob"))
    hold(ledger, "b", started_by="schedule", not_by="initiator")
    with pytest.raises(DecisionError, match="bob started the cycle"):
        decide(ledger, account("bob"), "a")
    assert decide(ledger, account("bob"), "b") == ["b"]
    assert decide(ledger, account("mallory"), "a") == ["a"]


def test_who_started_the_latest_run_does_not_approve(ledger: Ledger) -> None:
    """What it goes on to hold is what that run wants."""
    hold(ledger, "a", started_by="schedule", not_by="initiator")
    hold(ledger, "b", started_by="bob", not_by="initiator")
    with pytest.raises(DecisionError, match="bob started the cycle"):
        decide(ledger, account("bob"), "a")


def test_saying_no_needs_no_second_person(ledger: Ledger) -> None:
    """It leaves everything as it is."""
    hold(ledger, "a", started_by="bob", not_by="initiator")
    assert decide(ledger, account("bob"), decision=StagedState.REJECTED) == ["a"]


def test_time_that_runs_out_is_nobody(ledger: Ledger) -> None:
    """A wait that is over rejects, whatever the rules about persons are."""
    hold(ledger, "a", started_by="bob", by=["eve"], not_by="initiator")
    assert decide(ledger, CLOCK, decision=StagedState.REJECTED) == ["a"]


def test_without_rules_anybody_decides(ledger: Ledger) -> None:
    """As the job says nothing."""
    hold(ledger, "a", started_by="bob")
    assert decide(ledger, NOBODY) == ["a"]
