"""Who may decide about what guards hold: ``approval: {by, not_by}``, by the account that signed in, not by a name."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connectors.contract import Action, Kind
from flows.decisions.persons import (
    DecisionError,
    Identity,
    login_name,
    own_identity,
    started_for,
    started_on_the_pages,
    starters_of,
)
from flows.decisions.staged import decide_staged
from tasks.ledger import CycleEnd, CycleKind, CycleState, Ledger, RunPurpose, RunRequest, Staged, StagedState

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
    held_by(ledger, f"{started_by}@laptop", *anchors, **approval)


def held_by(
    ledger: Ledger, initiator: str, *anchors: str, kind: CycleKind = CycleKind.RECONCILE, **rules: object
) -> None:
    """The same, with what the log says about who has started it."""
    cycle = ledger.begin_cycle("hr", kind, fingerprint="f", now=NOW, initiator=initiator, approval=rules)
    ledger.put_staged("hr", [Staged(Kind.USER, Action.DISABLE, one, NOW, cycle.id, "too many") for one in anchors])
    ledger.end_cycle(cycle, CycleEnd(CycleState.STAGED, {}, message="Waiting.", now=NOW))


def decide(
    ledger: Ledger,
    identity: Identity,
    *only: str,
    who: str = "Eve",
    decision: StagedState = StagedState.APPROVED,
    again: bool = False,
) -> list[str]:
    ruling = decide_staged(
        ledger, "hr", decision, only=only, again=again, who=who, identity=identity, now=NOW + timedelta(minutes=1)
    )
    return [one.anchor for one in ruling.decided]


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


@pytest.mark.parametrize(
    ("listed", "login"),
    [("sam", "\u017fam"), ("mike", "mi\u212ae"), ("strasse", "stra\u00dfe"), ("\u00e9va", "\u00c9va")],
)
def test_a_login_that_only_looks_alike_is_another(ledger: Ledger, listed: str, login: str) -> None:
    """Of letters other than A to Z the case counts: case folding would make one person of two."""
    hold(ledger, "a", started_by="bob", by=[listed])
    with pytest.raises(DecisionError, match="may not decide"):
        decide(ledger, account(login))
    assert decide(ledger, account(listed.upper() if listed.isascii() else listed)) == ["a"]


def test_who_started_is_another_where_the_login_only_looks_alike(ledger: Ledger) -> None:
    """And the same person in either case of A to Z."""
    hold(ledger, "a", started_by="\u017fam", not_by="initiator")
    with pytest.raises(DecisionError, match="started the cycle"):
        decide(ledger, account("\u017fAM"))
    assert decide(ledger, account("sam")) == ["a"]


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


SCHEDULE, UNKNOWN = "schedule of hr", "the deployment hr"
RULE = {"not_by": "initiator"}


@pytest.mark.parametrize(
    ("initiator", "starters"),
    [
        ("eve@laptop", {"eve"}),
        ("EVE@laptop, by plan 12", {"eve"}),
        ("maria, on the pages", {"maria"}),
        ("maria@example.com, on the pages, to carry out a decision", {"maria"}),
        ("hella, on the pages, by service@server", {"hella", "service"}),
        ("eve, by the deployment hr", {"eve"}),
        ("schedule of hr", set()),
        ("schedule of hr, by plan 12", set()),
        ("cycle 42 of hr-to-ad, which hr runs after", set()),
        ("cycle 42 of hr-to-ad, which hr runs after, on the pages", {"cycle 42 of hr-to-ad"}),
        ("schedule of hr@laptop", {"schedule of hr"}),
        ("schedule of hr, on the pages", {"schedule of hr"}),
        ("the deployment hr", None),
        ("the deployment hr, by plan 12", None),
        ("", None),
    ],
)
def test_who_has_started_a_cycle_is_read_from_the_log(initiator: str, starters: set[str] | None) -> None:
    """A login that reads like a schedule is a login."""
    assert starters_of(initiator) == starters


def test_a_schedule_is_nobody(ledger: Ledger) -> None:
    """What it holds anybody may approve who may approve at all."""
    held_by(ledger, SCHEDULE, "a", **RULE)
    assert decide(ledger, account("bob")) == ["a"]


def test_what_nobody_knows_the_beginner_of_is_not_approved(ledger: Ledger) -> None:
    """It may have been this very person. Saying no is free, and a scheduled cycle that holds it too clears it."""
    held_by(ledger, UNKNOWN, "a", "b", **RULE)
    with pytest.raises(DecisionError, match=r"Nobody knows who started cycle 1 of hr.*next scheduled cycle"):
        decide(ledger, account("bob"))
    assert decide(ledger, account("bob"), "b", decision=StagedState.REJECTED) == ["b"]
    held_by(ledger, SCHEDULE, **RULE)
    assert decide(ledger, account("bob"), "a") == ["a"]


def test_a_later_cycle_of_nobody_counts_as_well(ledger: Ledger) -> None:
    """What it goes on to hold is what it wants; one for a single entry says nothing about the rest."""
    held_by(ledger, SCHEDULE, "a", **RULE)
    held_by(ledger, UNKNOWN, kind=CycleKind.ON_DEMAND, **RULE)
    held_by(ledger, UNKNOWN, "b", kind=CycleKind.ON_DEMAND, **RULE)
    assert decide(ledger, account("bob"), "a") == ["a"]
    with pytest.raises(DecisionError, match="Nobody knows who started cycle 3 of hr"):
        decide(ledger, account("bob"), "b")
    held_by(ledger, UNKNOWN, "c", **RULE)
    with pytest.raises(DecisionError, match="Nobody knows who started cycle 4 of hr"):
        decide(ledger, account("bob"), "b")


def test_a_cycle_that_carries_out_a_decision_is_no_new_wish(ledger: Ledger) -> None:
    """Whoever approves in two parts may; what that cycle holds for the first time somebody else approves."""
    request = RunRequest("hr", "maria", RunPurpose.DECISION)
    held_by(ledger, SCHEDULE, "a", **RULE)
    held_by(ledger, started_on_the_pages(request), "b", **RULE)
    assert decide(ledger, Identity("maria (password)", "maria"), "a") == ["a"]
    with pytest.raises(DecisionError, match="maria started the cycle"):
        decide(ledger, Identity("maria (password)", "maria"), "b")
    held_by(ledger, started_on_the_pages(replace(request, purpose=RunPurpose.RUN)), **RULE)
    with pytest.raises(DecisionError, match="maria started the cycle"):
        decide(ledger, Identity("maria (password)", "maria"), "a", again=True)


def test_a_login_is_what_the_operating_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may write LOGNAME before a command, and would be somebody else."""
    before = login_name()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "mallory")
    assert login_name() == before == own_identity().login != "mallory"
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # as in a container
    assert login_name() == f"uid {os.getuid()}"


def test_a_command_of_the_pages_is_also_its_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who writes another name into the environment of a command is still one of those who have started it."""
    assert starters_of(started_for("hella")) == {"hella", login_name().casefold()}
