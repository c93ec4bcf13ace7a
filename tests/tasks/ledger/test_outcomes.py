"""Attempts and outcomes: intent before effect, and one transaction for all that came of a batch."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import select

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.errors import ErrorCode
from tasks.ledger import (
    AttemptStatus,
    Cycle,
    CycleKind,
    Ledger,
    LedgerError,
    Link,
    LinkState,
    LogStatus,
    log_outcome,
)
from tasks.ledger.tables import ATTEMPT


def create(number: int, kind: Kind = Kind.USER) -> Change:
    """The change that creates entry ``a<number>``."""
    return Change(f"c{number}", kind, Action.CREATE, f"a{number}", None, {"userName": f"u{number}"}, label=f"U{number}")


def done(change: Change, target_id: str | None = None) -> Outcome:
    """The outcome of a change that went well."""
    return Outcome(change.id, Status.DONE, target_id or change.target_id, duration_ms=12)


def linked(change: Change, outcome: Outcome, **options: object) -> Link:
    """The link that a change leaves."""
    assert outcome.target_id
    return Link(change.kind, change.anchor, outcome.target_id, change.label, **options)  # type: ignore[arg-type]


def attempts(ledger: Ledger) -> dict[str, tuple[str, str | None, datetime | None]]:
    """Status, target id and end of every attempt."""
    with ledger._database.reading() as connection:
        rows = connection.execute(select(ATTEMPT).order_by(ATTEMPT.c.change_id)).all()
    return {row.change_id: (row.status, row.target_id, row.ended_at) for row in rows}


def record(ledger: Ledger, cycle: Cycle, changes: Sequence[Change], outcomes: Sequence[Outcome], now: datetime):
    """Record a batch with its links and log, as the loading stage does."""
    pairs = list(zip(changes, outcomes, strict=True))
    return ledger.record(
        cycle,
        changes,
        outcomes,
        now=now,
        links=[
            linked(change, outcome, fingerprint=1, how="created" if change.action is Action.CREATE else None)
            for change, outcome in pairs
            if outcome.status is Status.DONE and change.action is not Action.DELETE
        ],
        log=[log_outcome(change, outcome, reason="new in the source") for change, outcome in pairs],
    )


def test_an_attempt_is_open_from_the_journal_to_the_record(
    ledger: Ledger, cycle: Cycle, open_ledger: Callable[[], Ledger], now: datetime
) -> None:
    """What a process wrote down before it died, the next one finds; what was answered, it does not."""
    changes = [create(1), create(2), create(3)]
    ledger.journal(cycle, changes, now)
    assert attempts(ledger) == {f"c{number}": ("sent", None, None) for number in (1, 2, 3)}
    later = now + timedelta(seconds=5)
    rejected = Outcome("c2", Status.REJECTED, code=ErrorCode.CONFLICT, message="userName is taken.")
    record(ledger, cycle, changes[:2], [done(changes[0], "t1"), rejected], later)
    assert attempts(ledger) == {
        "c1": ("done", "t1", later),
        "c2": ("rejected", None, later),
        "c3": ("sent", None, None),
    }
    (left,) = open_ledger().open_attempts("hr")
    assert (left.change_id, left.kind, left.action, left.anchor) == ("c3", Kind.USER, Action.CREATE, "a3")
    assert (left.label, left.sent_at, left.status, left.cycle_id) == ("U3", now, AttemptStatus.SENT, cycle.id)
    assert ledger.open_attempts("crm") == []


def test_a_lost_answer_stays_open_until_it_was_read_back(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """A later cycle records what it found; the change of the earlier one is closed by that."""
    change = create(1)
    ledger.journal(cycle, [change], now)
    unknown = Outcome("c1", Status.UNKNOWN, code=ErrorCode.UNKNOWN_OUTCOME, message="The connection broke.")
    record(ledger, cycle, [change], [unknown], now)
    (left,) = ledger.open_attempts("hr")
    assert left.status is AttemptStatus.UNKNOWN
    assert attempts(ledger) == {"c1": ("unknown", None, None)}
    later = now + timedelta(hours=1)
    second = ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f1", now=later)
    record(ledger, second, [change], [done(change, "t1")], later)
    assert ledger.open_attempts("hr") == []
    assert attempts(ledger) == {"c1": ("done", "t1", later)}
    assert ledger.target_ids("hr", Kind.USER, ["a1"]) == {"a1": "t1"}
    assert ledger.log("hr")["cycle"].tolist() == [2, 1]


def test_a_change_is_sent_once_in_its_life(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """A plan that was half carried out cannot be sent again; nothing of the second journal is written."""
    ledger.journal(cycle, [create(1)], now)
    with pytest.raises(LedgerError, match="already sent"):
        ledger.journal(cycle, [create(2), create(1)], now)
    assert list(attempts(ledger)) == ["c1"]


def test_an_outcome_needs_an_attempt(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Whoever sends first and writes later is told so, and the ledger keeps nothing of it."""
    ledger.journal(cycle, [create(1)], now)
    changes = [create(1), create(2)]
    with pytest.raises(LedgerError, match="not written down"):
        record(ledger, cycle, changes, [done(change, change.id) for change in changes], now)
    assert attempts(ledger) == {"c1": ("sent", None, None)}
    assert len(ledger.log("hr")) == 0
    assert len(ledger.links("hr", Kind.USER)) == 0


def test_a_batch_is_recorded_whole_or_not_at_all(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """An error in its last part takes the first ones back."""
    change = create(1)
    ledger.journal(cycle, [change], now)

    def entries():
        yield log_outcome(change, done(change, "t1"))
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError, match="cut"):
        ledger.record(
            cycle,
            [change],
            [done(change, "t1")],
            now=now,
            links=[linked(change, done(change, "t1"))],
            log=entries(),
        )
    assert attempts(ledger) == {"c1": ("sent", None, None)}
    assert len(ledger.links("hr", Kind.USER)) == 0
    assert len(ledger.log("hr")) == 0


def test_a_delete_that_is_done_drops_its_link(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """A refused delete keeps it: the account is still there. The other kind's entry of the same anchor is not meant."""
    created = [create(1), create(2), Change("c9", Kind.GROUP, Action.CREATE, "a1", None, label="G")]
    ledger.journal(cycle, created, now)
    record(ledger, cycle, created, [done(change, f"t{change.id}") for change in created], now)
    deletes = [Change(f"d{n}", Kind.USER, Action.DELETE, f"a{n}", f"tc{n}") for n in (1, 2)]
    ledger.journal(cycle, deletes, now)
    outcomes = [done(deletes[0]), Outcome("d2", Status.REJECTED, code=ErrorCode.METHOD_NOT_ALLOWED)]
    record(ledger, cycle, deletes, outcomes, now)
    assert ledger.links("hr", Kind.USER).index.tolist() == ["a2"]
    assert ledger.links("hr", Kind.GROUP).index.tolist() == ["a1"]


def test_the_last_link_of_an_entry_counts(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Two changes of one entry in a batch (its attributes, its members) are one link."""
    changes = [create(1), Change("c2", Kind.USER, Action.DISABLE, "a1", "t1")]
    ledger.journal(cycle, changes, now)
    links = [
        Link(Kind.USER, "a1", "t1", fingerprint=1),
        Link(Kind.USER, "a1", "t1", fingerprint=2, state=LinkState.DISABLED),
    ]
    ledger.record(cycle, changes, [done(change, "t1") for change in changes], now=now, links=links)
    assert ledger.links("hr", Kind.USER)[["fingerprint", "state"]].to_numpy().tolist() == [[2, "disabled"]]


def test_an_account_that_is_somebody_elses_is_not_linked_and_the_log_says_why(
    ledger: Ledger, cycle: Cycle, now: datetime
) -> None:
    """A target that answers a create with the id of an account it has already must not cost the rest of the batch."""
    first = create(1)
    ledger.journal(cycle, [first], now)
    record(ledger, cycle, [first], [done(first, "t1")], now)
    changes = [create(2), create(3), Change("c4", Kind.GROUP, Action.CREATE, "a3", None)]
    ledger.journal(cycle, changes, now)
    clashes = record(
        ledger, cycle, changes, [done(changes[0], "t2"), done(changes[1], "t1"), done(changes[2], "t1")], now
    )
    assert [(clash.kind, clash.anchor, clash.target_id, clash.linked_to) for clash in clashes] == [
        (Kind.USER, "a3", "t1", "a1")
    ]
    assert ledger.target_ids("hr", Kind.USER, ["a1", "a2", "a3"]) == {"a1": "t1", "a2": "t2"}
    assert ledger.target_ids("hr", Kind.GROUP, ["a3"]) == {"a3": "t1"}
    log = ledger.log("hr").set_index("change_id")
    assert log.loc[["c2", "c3", "c4"], "status"].tolist() == ["success", "failure", "success"]
    assert log.loc["c3", "code"] == ErrorCode.DUPLICATE_TARGET_ENTRIES.value
    assert "linked to a1" in log.loc["c3", "message"]


def test_texts_that_a_database_refuses_do_not_cost_a_batch(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """NUL, half a surrogate pair, huge integers, bytes: they come from broken systems, and end up readable."""
    change = Change(
        "c1",
        Kind.USER,
        Action.CREATE,
        "a1",
        None,
        {"n": 10**30, "s": "\ud800", "b": b"x", "z": "\0"},
        label="A\0\ud800",
    )
    ledger.journal(cycle, [change], now)
    outcome = Outcome("c1", Status.DONE, "t1", message="said \0 \udfff")
    record(ledger, cycle, [change], [outcome], now)
    (label,) = ledger.links("hr", Kind.USER)["label"]
    assert label == "A␀?"
    (line,) = ledger.log("hr").to_dict("records")
    assert line["message"] == "said ␀ ?"
    assert [one["name"] for one in line["modified"]] == ["n", "s", "b", "z"]
    assert line["modified"][0]["new"] == str(10**30)


def test_an_empty_batch_is_nothing(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """No special case for stages."""
    ledger.journal(cycle, [], now)
    assert ledger.record(cycle, [], [], now=now) == ()


def test_threads_of_one_process_write_at_the_same_time(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Four load tasks share a ledger; every change has its attempt, its link and its line."""
    failures: list[BaseException] = []

    def load(worker: int) -> None:
        try:
            for batch in range(5):
                changes = [create(worker * 1000 + batch * 100 + number) for number in range(40)]
                ledger.journal(cycle, changes, now)
                record(ledger, cycle, changes, [done(change, f"t{change.id}") for change in changes], now)
                ledger.links("hr", Kind.USER)
        except BaseException as error:
            failures.append(error)

    threads = [Thread(target=load, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(ledger.links("hr", Kind.USER)) == 800
    log = ledger.log("hr", limit=None)
    assert len(log) == log["change_id"].nunique() == 800
    assert set(log["status"]) == {LogStatus.SUCCESS.value}
    assert ledger.open_attempts("hr") == []


def test_what_was_withdrawn_was_never_journaled(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """Of a batch that was ended before its end only what was sent is left, and the rest may be journaled again."""
    changes = [Change(f"c{number}", Kind.USER, Action.CREATE, f"a{number}", None) for number in range(4)]
    ledger.journal(cycle, changes, now)
    ledger.withdraw(cycle, ["c1", "c3", "never journaled"])
    assert [attempt.change_id for attempt in ledger.open_attempts("hr")] == ["c0", "c2"]
    ledger.withdraw(cycle, [])
    ledger.journal(cycle, [changes[1], changes[3]], now)
    assert len(ledger.open_attempts("hr")) == 4
