"""Two who decide about the same: the ledger says who was first, nothing is decided twice, and each is told."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Action, Kind
from flows.decisions.persons import DecisionError, Identity
from flows.decisions.staged import (
    OvertakenError,
    Ruling,
    already_decided,
    decide_staged,
    decision_sentence,
    standing,
    told_one_by_one,
    undecided,
)
from tasks.checks import in_force
from tasks.ledger import CycleEnd, CycleKind, CycleState, Ledger, LogAction, Staged, StagedState
from tests.servers.starting import DatabaseServer

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
NUMBERS = itertools.count(1)
APPROVED, REJECTED, STAGED = StagedState.APPROVED, StagedState.REJECTED, StagedState.STAGED


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(None, tmp_path) as ledger:
        begin(ledger)
        yield ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """The same ledger as two processes have it."""
    url = None
    if request.param == "postgresql":
        server: DatabaseServer = request.getfixturevalue("postgresql_server")
        url = server.create_database(f"deciders_{next(NUMBERS)}")
    with Ledger.open(url, tmp_path) as one, Ledger.open(url, tmp_path) as other:
        begin(one)
        yield one, other


def begin(ledger: Ledger) -> None:
    cycle = ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f", now=NOW, initiator="schedule of hr")
    ledger.end_cycle(cycle, CycleEnd(CycleState.STAGED, {}, message="Waiting.", now=NOW))


def disable(*anchors: str, **more: Any) -> list[Staged]:
    about = {"target_id": "t", "cause": "left", "guards": ("removals",), **more}
    return [Staged(Kind.USER, Action.DISABLE, one, NOW, 1, "too many", **about) for one in anchors]


def members(*ids: str, **more: Any) -> Staged:
    about = {"target_id": "g", "cause": "left", "guard": "too many", **more}
    return Staged(Kind.GROUP, Action.REMOVE_MEMBERS, "staff", NOW, 1, members=ids, **about)


def decide(ledger: Ledger, decision: StagedState, who: str, **more: Any) -> Ruling:
    moment = more.pop("now", NOW + timedelta(minutes=1))
    return decide_staged(ledger, "hr", decision, who=who, identity=Identity(f"{who}@desk", who), now=moment, **more)


def states(ledger: Ledger) -> dict[str, StagedState]:
    return {one.anchor: one.state for one in ledger.staged("hr")}


# --- at the same moment -----------------------------------------------------------------------------------------------


def test_of_two_at_the_same_moment_one_decides(two: tuple[Ledger, Ledger]) -> None:
    """One for, one against, on both databases: the other is told who did what and when; the log has one decision."""
    shown = disable("a", "b", "c", "d")
    for number in range(5):
        two[0].drop_staged("hr", two[0].staged("hr"))
        two[0].put_staged("hr", shown)
        together, said = threading.Barrier(2), list[str]()

        def one(
            ledger: Ledger,
            decision: StagedState,
            who: str,
            together: threading.Barrier = together,
            said: list[str] = said,
            now: datetime = NOW + timedelta(minutes=1 + number),
        ) -> None:
            together.wait(30)
            try:
                decide(ledger, decision, who, exactly=shown, now=now)
                said.append("decided")
            except OvertakenError as error:
                said.append(str(error))

        both = [
            threading.Thread(target=one, args=args) for args in ((two[0], APPROVED, "eve"), (two[1], REJECTED, "bob"))
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(60)
        [told] = [text for text in said if text != "decided"]
        [state] = set(states(two[0]).values())
        who = "eve (eve@desk) approved" if state is APPROVED else "bob (bob@desk) rejected"
        assert told == f"Nothing is decided: {who} 4 × disable user on 2026-03-10 12:0{1 + number}:00 UTC."
    lines = [line for chunk in two[0].log_chunks("hr") for line in chunk]
    assert len(lines) == 5 * 4


# --- exactly what was shown -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"target_id": "another account"},
        {"cause": "out of scope"},
        {"guards": ("removals", "complete_source")},
        {"guard": "a sentence of another guard"},
        {"attributes": ("title",), "digests": (("title", "1"),)},
        {"attributes": ("title",), "digests": (("title", "2"),)},
        {"members": ("u1",)},
    ],
)
def test_what_changed_in_that_moment_is_not_decided(ledger: Ledger, other: dict[str, Any]) -> None:
    """The entry and the action are the same: what is asked about it is not."""
    [shown] = disable("a", attributes=("title",), digests=(("title", "0"),))
    ledger.put_staged("hr", [replace(shown, **other), *disable("b")])
    with pytest.raises(OvertakenError, match="has changed since you looked"):
        decide(ledger, APPROVED, "eve", exactly=[shown, *disable("b")])
    assert set(states(ledger).values()) == {STAGED}


def test_what_another_guard_holds_of_an_entry_goes_on_waiting(ledger: Ledger) -> None:
    """Also where that was decided about once and has run out."""
    run_out = {"who": "zoe", "decided_at": NOW - timedelta(days=2), "until": NOW}
    other, shown = members("u1", "u9", guard="A", **run_out), members("u2", guard="B")
    for decision, state in itertools.product((APPROVED, REJECTED), (APPROVED, REJECTED)):
        ledger.drop_staged("hr", ledger.staged("hr"))
        ledger.put_staged("hr", [replace(other, state=state), shown])
        decide(ledger, decision, "eve", exactly=[shown])
        decided = in_force(ledger.staged("hr"), decision, NOW)
        assert [(one.members, one.who, one.until) for one in decided] == [(("u2",), "eve", None)], (decision, state)
        waiting = undecided(ledger, "hr", NOW + timedelta(minutes=2))
        assert [one.members for one in waiting] == [("u1", "u9")], (decision, state)


@pytest.mark.parametrize("decision", [APPROVED, REJECTED])
def test_the_same_twice_is_decided_once(ledger: Ledger, decision: StagedState) -> None:
    """Where a decision has run out and a cycle holds it again, both rows are what was shown."""
    [one] = disable("a")
    run_out = replace(one, state=REJECTED, who="zoe", decided_at=NOW - timedelta(days=2), until=NOW)
    ledger.put_staged("hr", [one, run_out])
    ruling = decide(ledger, decision, "eve", exactly=[run_out, one])
    assert len(ruling.decided) == 1
    assert [(held.state, held.who) for held in ledger.staged("hr")] == [(decision, "eve")]


def test_two_decisions_about_one_group_are_two(ledger: Ledger) -> None:
    """Of one group two people may decide about different members: each keeps its members, its end, name and reason."""
    soon, late = NOW + timedelta(hours=1), NOW + timedelta(days=30)
    for first, second in ((soon, late), (late, soon), (None, late), (late, None)):
        ledger.drop_staged("hr", ledger.staged("hr"))
        ledger.put_staged("hr", [members("u1")])
        decide(ledger, APPROVED, "eve", exactly=[members("u1")], until=first, why="x")
        ledger.put_staged("hr", [members("u2")])
        decide(ledger, APPROVED, "bob", exactly=[members("u2")], until=second, why="y")
        told = {(one.members, one.who, one.identity, one.why, one.until) for one in ledger.staged("hr")}
        assert told == {(("u1",), "eve", "eve@desk", "x", first), (("u2",), "bob", "bob@desk", "y", second)}
    lines = [line for chunk in ledger.log_chunks("hr") for line in chunk]
    assert [", " in line.reason.partition(" on ")[0] for line in lines] == [False] * 8


@pytest.mark.parametrize("decision", [APPROVED, REJECTED])
def test_each_member_keeps_the_cause_and_the_person(ledger: Ledger, decision: StagedState) -> None:
    """Two who decide about members of one group who go for different causes: neither stands for the other's."""
    left, out = members("u1", part="left"), members("u2", cause="out of scope", part="out of scope")
    ledger.put_staged("hr", [left])
    decide(ledger, decision, "eve")
    ledger.put_staged("hr", [out])
    decide(ledger, decision, "bob")
    told = {(one.members, one.cause, one.who, one.state) for one in ledger.staged("hr")}
    assert told == {(("u1",), "left", "eve", decision), (("u2",), "out of scope", "bob", decision)}

    ledger.drop_staged("hr", ledger.staged("hr"))
    ledger.put_staged("hr", [left, out])
    ruling = decide(ledger, decision, "eve", exactly=[left, out])
    assert {(one.members, one.cause) for one in ruling.decided} == {(("u1",), "left"), (("u2",), "out of scope")}
    assert decision_sentence(ruling, "hr", "run").startswith(
        f"{decision.capitalize()} for hr: 1 × remove members group."
    )


def test_the_latest_decision_about_a_member_counts(ledger: Ledger) -> None:
    """A cycle that was planned before may hold again what was decided meanwhile: it is not in both states."""
    ledger.put_staged("hr", [members("u1", "u2")])
    decide(ledger, APPROVED, "eve")
    ledger.put_staged("hr", [members("u1", "u3")])
    decide(ledger, REJECTED, "bob", exactly=[members("u1", "u3")])
    told = {(one.members, one.state, one.who) for one in ledger.staged("hr")}
    assert told == {(("u2",), APPROVED, "eve"), (("u1", "u3"), REJECTED, "bob")}


def test_who_was_first_is_told_where_two_have_decided_about_parts(ledger: Ledger) -> None:
    """Each of the two with what they decided."""
    both = members("u1", "u2")
    for who, one in (("eve", "u1"), ("bob", "u2")):
        ledger.put_staged("hr", [members(one)])
        decide(ledger, APPROVED, who, now=NOW + timedelta(minutes=int(one[1:])))
    with pytest.raises(OvertakenError, match=r"eve \(eve@desk\) approved 1 × .* bob \(bob@desk\) approved 1 × "):
        decide(ledger, REJECTED, "zoe", exactly=[both])


def test_an_account_is_approved_as_it_was_shown_to_that_person(ledger: Ledger) -> None:
    """What somebody else was shown, and approved, is not approved by the next one."""
    ledger.put_staged("hr", disable("a", digests=(("title", "T"),)))
    decide(ledger, APPROVED, "eve")
    shown = disable("a", cause="out of scope", digests=(("dept", "D"),))
    ledger.put_staged("hr", shown)
    decide(ledger, APPROVED, "bob", exactly=shown)
    told = {(one.cause, one.who, one.digests) for one in ledger.staged("hr")}
    assert told == {("left", "eve", (("title", "T"),)), ("out of scope", "bob", (("dept", "D"),))}


def test_of_a_form_what_still_waits_as_shown_is_decided(ledger: Ledger) -> None:
    """The rest was decided by somebody, or is another thing by now."""
    shown = disable("a", "b", "c")
    ledger.put_staged("hr", [*shown[:2], *disable("c", target_id="another")])
    decide(ledger, REJECTED, "bob", only=["a"])
    ruling = decide(ledger, APPROVED, "eve", among={one.digest for one in shown})
    assert [one.anchor for one in ruling.decided] == ["b"]
    assert [one.anchor for one in ruling.before] == ["a"]
    assert states(ledger) == {"a": REJECTED, "b": APPROVED, "c": STAGED}
    with pytest.raises(OvertakenError, match="bob"):
        decide(ledger, APPROVED, "eve", among={one.digest for one in shown})


# --- what status has shown ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decision", [APPROVED, REJECTED])
@pytest.mark.parametrize(
    "then",
    [
        disable("a", "b", "c"),
        disable("a"),
        [*disable("a"), *disable("b", target_id="another account")],
        [*disable("a"), *disable("b", cause="out of scope")],
        [*disable("a"), *disable("b", digests=(("title", "1"),))],
        [*disable("a"), *disable("b", guards=("removals", "source"))],
    ],
)
def test_a_command_decides_about_what_status_showed(ledger: Ledger, decision: StagedState, then: list[Staged]) -> None:
    """What came, went or changed between the showing and the deciding stops the command, also with --only."""
    looked = disable("a", "b")
    ledger.put_staged("hr", looked)
    approval = standing(ledger.staged("hr"), "hr", NOW)
    shown = approval["shown"]
    assert approval["commands"]["approve"] == f"provisor approve hr --shown {shown}"
    ledger.drop_staged("hr", looked)
    ledger.put_staged("hr", then)
    for only in ((), ("a",)):
        with pytest.raises(OvertakenError, match=r"not what you looked at .* nothing was decided\. provisor status hr"):
            decide(ledger, decision, "eve", shown=shown, only=only)
    assert set(states(ledger).values()) == {STAGED}
    ledger.drop_staged("hr", then)
    ledger.put_staged("hr", looked)
    assert len(decide(ledger, decision, "eve", shown=shown, only=["a"]).decided) == 1
    with pytest.raises(OvertakenError, match=r"The last decision: a was decided at 12:01:00 UTC \(disable: .* by eve"):
        decide(ledger, decision, "bob", shown=shown)


def test_who_did_not_look_is_told_one_by_one(ledger: Ledger) -> None:
    """A command without the seal says what it has decided about."""
    ledger.put_staged("hr", [*disable("a", label="Ann Lee"), members("u1", "u2")])
    assert told_one_by_one(decide(ledger, APPROVED, "eve").decided) == [
        "  remove members group staff: 2 members, left",
        "  disable user Ann Lee (a): left",
    ]


# --- commands -------------------------------------------------------------------------------------------------------


def test_the_rest_is_decided_and_what_stays_is_told(ledger: Ledger) -> None:
    """A command shows nothing before it decides; it says what somebody else has decided."""
    ledger.put_staged("hr", disable("a", "b", "c"))
    decide(ledger, REJECTED, "bob", only=["a"], why="on leave")
    ruling = decide(ledger, APPROVED, "eve")
    assert states(ledger) == {"a": REJECTED, "b": APPROVED, "c": APPROVED}
    assert decision_sentence(ruling, "hr", "provisor run hr") == (
        "Approved for hr: 2 × disable user. The next cycle carries it out: provisor run hr. Kept: bob (bob@desk) "
        "rejected 1 × disable user on 2026-03-10 12:01:00 UTC: on leave."
    )


def test_what_is_decided_is_decided_anew_only_by_a_word(ledger: Ledger) -> None:
    """Naming an entry is not enough: whoever names it may not know that somebody has decided."""
    ledger.put_staged("hr", disable("a"))
    decide(ledger, REJECTED, "bob")
    for only in ((), ("a",)):
        with pytest.raises(OvertakenError, match=r"bob \(bob@desk\) rejected 1 × .*provisor approve hr --again"):
            decide(ledger, APPROVED, "eve", only=only)
    assert states(ledger) == {"a": REJECTED}
    decide(ledger, APPROVED, "eve", only=["a"], again=True)
    assert states(ledger) == {"a": APPROVED}
    assert ledger.staged("hr")[0].who == "eve"


def test_an_approval_is_taken_back_before_it_runs_and_not_while_it_does(ledger: Ledger) -> None:
    """Whoever rejects while a cycle carries it out must not believe that the people keep their access."""
    ledger.put_staged("hr", disable("a"))
    decide(ledger, APPROVED, "eve")
    moment = NOW + timedelta(minutes=2)
    lease = ledger.acquire_lease("hr", "worker-1", now=moment, duration=timedelta(hours=1))
    for again in (False, True):
        with pytest.raises(OvertakenError, match=r"worker-1 is running hr and .* provisor pause hr"):
            decide(ledger, REJECTED, "bob", now=moment, again=again)
    ledger.put_staged("hr", disable("b"))
    ruling = decide(ledger, REJECTED, "bob", now=moment)
    assert [one.anchor for one in ruling.decided] == ["b"]
    assert states(ledger) == {"a": APPROVED, "b": REJECTED}
    ledger.release_lease(lease)
    ruling = decide(ledger, REJECTED, "bob", now=moment)
    assert states(ledger) == {"a": REJECTED, "b": REJECTED}
    assert "Withdrawn: eve (eve@desk) approved 1 × disable user" in decision_sentence(ruling, "hr", "")


def test_what_is_carried_out_already_says_who_decided(ledger: Ledger) -> None:
    """Nothing of it is held any more: the log knows."""
    shown = disable("a")
    ledger.put_staged("hr", shown)
    decide(ledger, APPROVED, "eve")
    ledger.drop_staged("hr", ledger.staged("hr"))
    later = NOW + timedelta(minutes=5)
    with pytest.raises(OvertakenError, match=r"a was decided at 12:01:00 UTC \(disable: approved by eve"):
        decide(ledger, REJECTED, "bob", exactly=shown, now=later)
    with pytest.raises(OvertakenError, match=r"Nothing of hr waits for approval: a was decided at 12:01:00 UTC"):
        decide(ledger, REJECTED, "bob", now=later)
    with pytest.raises(DecisionError, match=r"^Nothing of hr waits for approval\.$"):
        decide(ledger, REJECTED, "bob", now=later + timedelta(days=1))


def test_a_decision_about_a_group_is_not_told_of_a_user_with_its_anchor(ledger: Ledger) -> None:
    """The user is back and nothing waits; somebody has decided about the group of the same anchor."""
    user = disable("x1")
    group = Staged(Kind.GROUP, Action.REMOVE_MEMBERS, "x1", NOW, 1, "too many", members=("m",), target_id="g")
    ledger.put_staged("hr", [*user, group])
    decide(ledger, APPROVED, "eve", exactly=[group])
    ledger.drop_staged("hr", ledger.staged("hr"))
    with pytest.raises(OvertakenError, match=r"^What waits has changed since you looked"):
        decide(ledger, REJECTED, "bob", exactly=user, now=NOW + timedelta(minutes=3))


def test_a_decision_that_has_run_out_is_none(ledger: Ledger) -> None:
    """It may be decided anew without a word, and what is no longer in force is not told as a decision."""
    ledger.put_staged("hr", disable("a"))
    decide(ledger, REJECTED, "bob", until=NOW + timedelta(minutes=5))
    later = NOW + timedelta(minutes=6)
    ruling = decide(ledger, APPROVED, "eve", now=later)
    assert (ruling.before, ruling.taken_back) == ([], [])
    assert states(ledger) == {"a": APPROVED}


def test_nothing_is_written_where_the_wrong_person_decides(ledger: Ledger) -> None:
    """Who may not decide leaves no trace among the decisions."""
    ledger.begin_cycle(
        "hr", CycleKind.INCREMENTAL, fingerprint="f", now=NOW, initiator="eve@desk", approval={"by": ["zoe"]}
    )
    ledger.put_staged("hr", disable("a"))
    with pytest.raises(DecisionError, match="eve may not decide"):
        decide(ledger, APPROVED, "eve")
    assert states(ledger) == {"a": STAGED}
    assert [line for chunk in ledger.log_chunks("hr", action=LogAction.APPROVE) for line in chunk] == []


def test_each_decision_is_told_once(ledger: Ledger) -> None:
    """What two people have decided stands in two sentences."""
    ledger.put_staged("hr", disable("a", "b", "c"))
    decide(ledger, APPROVED, "eve", only=["a", "b"])
    decide(ledger, REJECTED, "bob", only=["c"], why="Not yet.")
    assert already_decided(ledger.staged("hr")) == (
        "eve (eve@desk) approved 2 × disable user on 2026-03-10 12:01:00 UTC. "
        "bob (bob@desk) rejected 1 × disable user on 2026-03-10 12:01:00 UTC: Not yet."
    )
