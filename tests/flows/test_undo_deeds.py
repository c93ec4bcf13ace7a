"""What an undo takes for a cycle's deeds: everything that it sent and that took effect, whoever found that out."""

from pathlib import Path

import pytest

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.errors import ErrorCode
from flows.cycle.undo import deeds_of
from tasks.effects import Effect
from tasks.ledger import Cycle, CycleKind, Ledger, log_outcome
from tasks.lost import Verdict, settle_attempts
from tests.tasks.plan.worlds import NOW


def change(cycle: Cycle, number: int, action: Action, anchor: str, **attributes: object) -> Change:
    before = dict.fromkeys(attributes, "before")
    id_ = f"{cycle.id:08d}-{number:08d}"
    return Change(id_, Kind.USER, action, anchor, f"t{anchor}", attributes=attributes, before=before)  # type: ignore[arg-type]


@pytest.fixture
def cycles(tmp_path: Path):  # type: ignore[no-untyped-def]
    """The first disables Bob without an answer and changes Ann in part; the second reads back, and changes Cid."""
    with Ledger.open(None, tmp_path) as ledger:
        first = ledger.begin_cycle("test", CycleKind.INITIAL, fingerprint="f", now=NOW)
        ann = change(first, 0, Action.UPDATE, "ann", title="Boss", phone="1")
        bob = change(first, 1, Action.DISABLE, "bob", active=False)
        ledger.journal(first, [ann, bob], now=NOW)
        partly = Outcome(ann.id, Status.PARTLY, code=ErrorCode.UNPROCESSABLE_ENTITY, refused={"phone": "no"})
        lost = Outcome(bob.id, Status.UNKNOWN)
        ended = Outcome(ann.id, Status.DONE)
        ledger.record(first, [ann, bob], [ended, lost], now=NOW, log=[log_outcome(ann, partly)])
        second = ledger.begin_cycle("test", CycleKind.RECONCILE, fingerprint="f", now=NOW)
        (attempt,) = ledger.open_attempts("test")
        settle_attempts(ledger, second, [Verdict(attempt, Effect.DONE, "tbob")], now=NOW)
        cid = change(second, 0, Action.UPDATE, "cid", title="Head")
        ledger.journal(second, [cid], now=NOW)
        done = Outcome(cid.id, Status.DONE)
        ledger.record(second, [cid], [done], now=NOW, log=[log_outcome(cid, done)])
        yield ledger, first, second


def test_each_cycle_has_its_own_deeds(cycles: tuple[Ledger, Cycle, Cycle]) -> None:
    """What was read back later, and what was done in part, is taken back with the cycle that sent it."""
    ledger, first, second = cycles
    assert [(deed.anchor, deed.actions, deed.new) for deed in deeds_of(ledger, first)] == [
        ("ann", {Action.UPDATE}, {"title": "Boss"}),
        ("bob", {Action.DISABLE}, {"active": False}),
    ]
    assert [deed.anchor for deed in deeds_of(ledger, second)] == ["cid"]
