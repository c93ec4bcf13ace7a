"""The time limit of an approval: it decides when it has passed, and nobody decides in its name; without a server."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID, uuid4

import orjson
import pytest
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Paused

from connectors.contract import Action, Kind
from flows.cycle.systems import as_if, now, open_ledger
from flows.decisions import approval
from flows.decisions.approval import reject_waiting
from flows.decisions.persons import DecisionError
from tasks.job import Job
from tasks.ledger import CycleKind, Staged, StagedState

WITHIN = timedelta(days=3)
JOB: Job = SimpleNamespace(name="hr", approval=SimpleNamespace(within=WITHIN))  # type: ignore[assignment]


class Waiting:
    """What Prefect's API knows of one run that waits, and what became of it."""

    def __init__(self, asked: list[Staged], limit: datetime, *, key: str = "approval-1-aa") -> None:
        state: State[None] = Paused(pause_expiration_time=limit + timedelta(days=1), pause_key=key)
        state.state_details.run_input_keyset = {"schema": f"{key}-schema"}
        self.run = FlowRun(id=uuid4(), flow_id=uuid4(), name="hr · 1", state=state)
        self._asked = asked
        self.ended: list[str | None] = []

    def read_flow_run(self, run: UUID) -> FlowRun:
        assert run == self.run.id
        return self.run

    def read_flow_run_input(self, run: UUID, key: str) -> str:
        assert (run, key) == (self.run.id, "approval-1-aa-items")
        return orjson.dumps([[one.digest, one.anchor] for one in self._asked]).decode()

    def set_flow_run_state(self, run: UUID, state: State[None]) -> None:
        self.ended.append(state.name)


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Staged]]:
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path))
    moment = datetime(2026, 3, 10, 12, tzinfo=UTC)
    items = [Staged(Kind.USER, Action.DISABLE, one, moment, 1, "too many", target_id=one) for one in "ab"]
    with as_if(moment), open_ledger() as ledger:
        ledger.begin_cycle("hr", CycleKind.INCREMENTAL, fingerprint="f", now=moment, initiator="schedule of hr")
        ledger.put_staged("hr", items)
    with as_if(moment):
        yield items


def served(waiting: Waiting, monkeypatch: pytest.MonkeyPatch) -> Waiting:
    def client(*, sync_client: bool) -> AbstractContextManager[Waiting]:
        assert sync_client
        return nullcontext(waiting)

    monkeypatch.setattr(approval, "get_client", client)
    return waiting


def states() -> list[tuple[StagedState, str | None]]:
    with open_ledger() as ledger:
        return [(one.state, one.who) for one in ledger.staged("hr")]


def test_before_the_limit_nobody_has_it_decide(held: list[Staged], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of the form with the id of a run that waits is refused: the limit is what the waiting run has stored."""
    waiting = served(Waiting(held, now() + WITHIN), monkeypatch)
    for early in (timedelta(), WITHIN - timedelta(minutes=1)):
        with (
            as_if(now() + early),
            pytest.raises(DecisionError, match=r"waits for an answer until 2026-03-13 12:00 UTC"),
        ):
            reject_waiting(JOB, waiting.run.id)
    assert states() == [(StagedState.STAGED, None)] * 2
    assert waiting.ended == []


def test_at_the_limit_nobody_has_decided(held: list[Staged], monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked about is rejected for as long as it was open, in the name of nobody."""
    waiting = served(Waiting(held[:1], now() + WITHIN), monkeypatch)
    with as_if(now() + WITHIN):
        assert reject_waiting(JOB, waiting.run.id).startswith("Nobody decided within 3 days. Rejected for hr: 1 × ")
    assert states() == [(StagedState.REJECTED, "nobody"), (StagedState.STAGED, None)]
    assert waiting.ended == ["Rejected"]


def test_a_run_that_asks_nothing_has_no_limit(held: list[Staged], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause of another kind is none of an approval, however long it has lasted."""
    waiting = served(Waiting(held, now(), key="something-else"), monkeypatch)
    with as_if(now() + timedelta(days=30)), pytest.raises(DecisionError, match="does not wait for approval"):
        reject_waiting(JOB, waiting.run.id)
    assert states() == [(StagedState.STAGED, None)] * 2
