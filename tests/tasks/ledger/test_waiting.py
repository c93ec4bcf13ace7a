"""What waits: changes that a guard holds, entries in escrow."""

from dataclasses import replace
from datetime import datetime, timedelta

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.ledger import Cycle, Escrow, Ledger, Staged, StagedState


def test_held_changes_are_kept_decided_and_dropped(ledger: Ledger, cycle: Cycle, now: datetime) -> None:
    """One for each kind, action, anchor and state: of one group some removals may be approved and others not."""
    disable = Staged(Kind.USER, Action.DISABLE, "a1", now, cycle.id, "12 of 20 removals", target_id="t1", label="ann")
    delete = replace(disable, action=Action.DELETE)
    other = replace(disable, anchor="a2")
    ledger.put_staged("hr", [other, disable, delete])
    assert ledger.staged("hr") == [delete, disable, other]
    assert ledger.staged("crm") == []
    approved = replace(disable, state=StagedState.APPROVED, who="eve", why="they left", until=now + timedelta(days=1))
    ledger.put_staged("hr", [approved, approved])
    assert ledger.staged("hr", state=StagedState.APPROVED) == [approved]
    assert ledger.staged("hr", state=StagedState.STAGED) == [delete, disable, other]
    ledger.drop_staged("hr", [disable])
    assert ledger.staged("hr") == [delete, approved, other]
    longer = replace(approved, why="they left for good", members=("m1",), attributes=("title",))
    ledger.put_staged("hr", [longer])
    assert ledger.staged("hr") == [delete, longer, other]
    ledger.drop_staged("hr", [approved, other])
    assert ledger.staged("hr") == [delete]


def test_escrows_are_kept_counted_and_dropped(ledger: Ledger, now: datetime) -> None:
    """One for each kind and anchor; writing it again replaces it."""
    first = Escrow(Kind.USER, "a1", now, now + timedelta(minutes=40), 1, "taken", ErrorCode.CONFLICT, "ann")
    group = Escrow(Kind.GROUP, "a1", now, now, 3, "no code")
    ledger.put_escrows("hr", [first, group])
    again = replace(first, attempts=2, next_attempt=now + timedelta(minutes=80))
    ledger.put_escrows("hr", [again])
    assert ledger.escrows("hr") == [group, again]
    ledger.drop_escrows("hr", Kind.USER, ["a1", "stranger"])
    assert ledger.escrows("hr") == [group]
    assert ledger.escrows("crm") == []
