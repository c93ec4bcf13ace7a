"""Runs the product's own cycle in this process, quickly, and lets it die at any moment.

What runs is the body of ``flows.provision.provision`` itself, with its tasks called as plain functions: no step is said
twice here, so that none can be forgotten. Left out is what belongs to the orchestrator: task runs, artifacts, run logs.

A death is as sudden as that of a killed process: from its moment on no request leaves and nothing reaches the ledger or
the snapshots, whatever the code does on its way out. Only what a process holds in memory is let go properly: threads,
connections, files. The lease stays taken; the next run comes after it has lapsed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

import pytest

import flows.cycle.progress
import flows.cycle.running
import flows.provision
from connectors.kit import BlockingWire
from connectors.wire import Answer, Wire
from flows.cycle.lease import LEASE
from flows.cycle.preview import preview
from flows.cycle.progress import WATCHER
from flows.cycle.sight import CycleChoice
from flows.cycle.systems import CLOCK, open_ledger, open_systems
from tasks.expressions import Context
from tasks.job import load_job
from tasks.ledger import LeaseLostError, Ledger
from tasks.plan import Plan
from tasks.report import CycleReport
from tasks.snapshots import SnapshotStore
from tests.contract.memory import MemoryWire


class Moment(StrEnum):
    """Between which two calls the process dies."""

    BEFORE_LOOK = "before something is read of the target"
    BEFORE_CHANGE = "before a change is sent"
    AFTER_CHANGE = "after the target has made a change, before the answer is seen"
    BEFORE_WRITE = "before the ledger writes"
    AFTER_WRITE = "after the ledger has written"
    AFTER_JOURNAL = "after the ledger has journalled, before anything is sent"
    BEFORE_RECORD = "before the ledger records what was sent"
    IN_TRANSACTION = "while the ledger records, before the transaction is committed"
    BEFORE_KEEP = "before the snapshot is kept"
    HALF_KEPT = "while the snapshot is written, before it counts"
    AFTER_KEEP = "after the snapshot is kept, before the cycle is closed"


class Killed(BaseException):
    """The process is dead; it does not fail, so no handler of exceptions takes it for a failure."""


class _GoneError(Exception):
    """The same on the connector's event loop, which an exception that is no Exception would take down."""


@dataclass(slots=True)
class Power:
    """Says when the process dies, and that it has."""

    moment: Moment | None = None
    nth: int = 0
    """At the n-th occasion, from 0."""
    dead: bool = False
    requests: int = 0

    def reach(self, moment: Moment) -> bool:
        """One more occasion; True, once, when this is the one at which the process dies."""
        if self.dead or moment is not self.moment:
            return False
        self.nth -= 1
        self.dead = self.nth < 0
        return self.dead

    def pass_by(self, *moments: Moment) -> None:
        """Raises Killed when the process is dead, or dies here."""
        for moment in moments:
            self.reach(moment)
        if self.dead:
            raise Killed


_WRITES = (
    *("begin_cycle", "end_cycle", "put_links", "drop_links", "journal", "record", "log_entries", "put_staged"),
    *("drop_staged", "put_escrows", "drop_escrows", "put_quarantine"),
)


class MortalLedger:
    """The ledger as a process sees it that may die: every call after its death ends at once."""

    def __init__(self, ledger: Ledger, power: Power) -> None:
        self._ledger = ledger
        self._power = power

    def __enter__(self) -> "MortalLedger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """The driver closes it: opening it anew for every cycle would cost as much as the cycle."""

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._ledger, name)
        if not callable(method):
            return method

        def call(*args: Any, **named: Any) -> Any:
            if name in _WRITES:
                recording = (Moment.BEFORE_RECORD,) if name == "record" else ()
                self._power.pass_by(Moment.BEFORE_WRITE, *recording)
            elif self._power.dead:
                raise Killed
            if name == "record" and self._power.reach(Moment.IN_TRANSACTION):
                self._lose_transaction(method, *args, **named)
            result = method(*args, **named)
            if name in _WRITES:
                journaling = (Moment.AFTER_JOURNAL,) if name == "journal" else ()
                self._power.pass_by(Moment.AFTER_WRITE, *journaling)
            return result

        return call

    def _lose_transaction(self, method: Callable[..., Any], *args: Any, **named: Any) -> None:
        """Everything of the transaction is written and none of it committed."""
        database = self._ledger._database
        begin = database.writing

        @contextmanager
        def writing(**how: Any) -> Iterator[Any]:
            with begin(**how) as connection:
                yield connection
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(database, "writing", writing)
            method(*args, **named)


@dataclass(frozen=True, slots=True)
class _Done:
    """The future of a load task that has run already."""

    value: Any

    @property
    def state(self) -> "_Done":
        return self

    def is_final(self) -> bool:
        return True

    def is_completed(self) -> bool:
        return not isinstance(self.value, BaseException)

    def wait(self, timeout: float) -> None:
        """It is over."""

    def result(self, *, raise_on_failure: bool) -> Any:
        del raise_on_failure
        return self.value


class _Inline:
    """A task that runs where it is submitted."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def submit(self, *args: Any) -> _Done:
        try:
            return _Done(self._function(*args))
        except Exception as error:  # the flow raises it when it asks for the result
            return _Done(error)


@dataclass(slots=True)
class Ended:
    """How a cycle ended."""

    report: CycleReport | None
    """None where the process died, or was overtaken."""
    plan: Plan | None
    """What was planned, as far as it came."""
    requests: int
    """Requests that were sent."""

    overtaken: bool = False
    """True where the run stopped because its lease had ended."""

    @property
    def killed(self) -> bool:
        return self.report is None and not self.overtaken


@dataclass(slots=True)
class _Onlooker:
    """A watcher that keeps what it sees."""

    report: CycleReport | None = None
    plan: Plan | None = None

    def reading(self, side: str, count: int) -> None:
        """Nothing to keep."""

    def have_read(self, side: str, snapshot: Any) -> None:
        """Nothing to keep."""

    def have_planned(self, decision: Any) -> None:
        self.plan = decision.checked.plan

    def loading(self, done: int, total: int, left: str) -> None:
        """Nothing to keep."""

    def ended(self, report: CycleReport) -> None:
        self.report = report


@dataclass(slots=True)
class Driver:
    """Runs cycles of one job. The environment names PROVISOR_HOME and the job's secrets."""

    job: Path
    now: datetime = field(default_factory=lambda: datetime(2026, 3, 2, 8, tzinfo=UTC))
    """The clock; it moves with every cycle, and past the lease of a run that died."""
    _ledger: Ledger | None = None

    def close(self) -> None:
        """Lets go of the ledger."""
        if self._ledger is not None:
            self._ledger.close()

    def _opened(self) -> Ledger:
        if self._ledger is None:
            self._ledger = open_ledger()
        return self._ledger

    def cycle(
        self,
        choice: str = "auto",
        *,
        power: Power | None = None,
        at_once: tuple[str, ...] = (),
    ) -> Ended:
        """One cycle, in a process that may die."""
        power = power or Power()
        self.now += timedelta(minutes=1)
        onlooker, overtaken = _Onlooker(), False
        try:
            with self._clock(), _orchestrated_by_nobody(self._opened(), power, onlooker):
                state = flows.provision.carry_out(self.job, CycleChoice(choice), at_once=at_once)
                overtaken = isinstance(state.data, LeaseLostError)
                assert onlooker.report is not None or overtaken, f"a living process says nothing: {state.message}"
        except Killed:
            onlooker.report = None
        assert power.dead == (onlooker.report is None and not overtaken), "a dead process went on"
        if power.dead:
            self.now += LEASE + timedelta(minutes=1)
        return Ended(onlooker.report, onlooker.plan, power.requests, overtaken)

    def preview(self, choice: str) -> Plan:
        """What a cycle that starts now would do."""
        job = load_job(self.job)
        with self._clock(), open_systems(job) as systems:
            context = Context(now=self.now, random=Random(0))
            return preview(job, systems, self._opened(), context, choice=CycleChoice(choice)).checked.plan

    @contextmanager
    def _clock(self) -> Iterator[None]:
        token = CLOCK.set(lambda: self.now)
        try:
            yield
        finally:
            CLOCK.reset(token)


@contextmanager
def _orchestrated_by_nobody(ledger: Ledger, power: Power, onlooker: _Onlooker) -> Iterator[None]:
    """The flow's tasks as plain functions, nothing published, and everything that leaves the process mortal."""
    exchange = Wire.exchange
    keep = SnapshotStore.keep

    async def mortal_exchange(wire: Wire, method: str, *where: Any, **what: Any) -> Answer:
        looks = method == "GET"
        if power.reach(Moment.BEFORE_LOOK if looks else Moment.BEFORE_CHANGE) or power.dead:
            raise _GoneError
        power.requests += 1
        answer = await exchange(wire, method, *where, **what)
        if (not looks and power.reach(Moment.AFTER_CHANGE)) or power.dead:
            raise _GoneError
        return answer

    def mortal(send: Callable[..., Any], before: Moment, after: Moment | None = None) -> Callable[..., Any]:
        """The same for the wires of systems that do not speak HTTP."""

        async def send_or_die(wire: Any, *what: Any) -> Any:
            if power.reach(before) or power.dead:
                raise _GoneError
            power.requests += 1
            answer = await send(wire, *what)
            if (after is not None and power.reach(after)) or power.dead:
                raise _GoneError
            return answer

        return send_or_die

    def mortal_keep(store: SnapshotStore, side: Any, kept: Any) -> None:
        power.pass_by(Moment.BEFORE_KEEP)
        if power.reach(Moment.HALF_KEPT):
            store = SnapshotStore(store._folder)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Path, "replace", _die)
                keep(store, side, kept)
        keep(store, side, kept)
        power.pass_by(Moment.AFTER_KEEP)

    def open_mortal_ledger() -> MortalLedger:
        return MortalLedger(ledger, power)

    token = WATCHER.set(onlooker)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("read", "see", "plan"):
                patch.setattr(flows.provision, name, getattr(flows.provision, name).fn)
            patch.setattr(flows.provision, "load_one", _Inline(flows.provision.load_one.fn))
            patch.setattr(flows.provision, "publish_plan", _nothing)
            patch.setattr(flows.cycle.progress, "begin_progress", _nothing)
            patch.setattr(flows.cycle.running, "open_ledger", open_mortal_ledger)
            patch.setattr(Wire, "exchange", mortal_exchange)
            for wire in (BlockingWire, MemoryWire):
                patch.setattr(wire, "send", mortal(wire.send, Moment.BEFORE_CHANGE, Moment.AFTER_CHANGE))
            patch.setattr(BlockingWire, "run", mortal(BlockingWire.run, Moment.BEFORE_LOOK))
            patch.setattr(SnapshotStore, "keep", mortal_keep)
            yield
    finally:
        WATCHER.reset(token)


def _nothing(*_: Any, **__: Any) -> None:
    """Instead of an artifact."""


def _die(*_: Any) -> None:
    raise Killed
