"""What a cycle did, for people and machines, and the final state of its run; ``tasks.artifacts`` shows it in the UI.

Prefect is imported by the function that needs it, so that the report can be read and shown without it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from connectors.contract import Action
from connectors.errors import ErrorCode
from tasks.checks import Verdict
from tasks.drift import DriftReport
from tasks.escrow import Failed
from tasks.job import Limit
from tasks.ledger import CycleKind, CycleState
from tasks.mapping import Held
from tasks.printable import printable

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

COUNT_OF = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.MOVE: "updated",
    Action.RENAME: "updated",
    Action.ENABLE: "enabled",
    Action.DISABLE: "disabled",
    Action.DELETE: "deleted",
    Action.ADD_MEMBERS: "members_added",
    Action.REMOVE_MEMBERS: "members_removed",
}
"""Actions to the names of a cycle's counts."""

WAITING, QUARANTINED, STOPPED, SKIPPED = "Waiting for approval", "Quarantined", "Stopped", "Skipped"
"""Names of final states."""


@dataclass(slots=True)
class CycleReport:
    """What one cycle did."""

    job: str
    cycle: int
    """Number within the job."""
    kind: CycleKind
    state: CycleState
    began: datetime
    ended: datetime
    counts: Mapping[str, int]
    """By the names of ``tasks.ledger.COUNTS``, and ``staged``."""
    unchanged: int = 0
    """In-scope entries whose account was as it should be."""
    failures: Sequence[Failed] = ()
    held: Sequence[Held] = ()
    notes: Sequence[Held] = ()
    guards: Sequence[str] = ()
    """Sentences of the guards that hold something back."""
    findings: Sequence[str] = ()
    """Sentences of the checks that did not hold."""
    news: Sequence[str] = ()
    """Those of them that were not so in the last cycle."""
    seen: str = ""
    """How the target was seen, listed or as last known, and why."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each part took."""
    drift: DriftReport | None = None
    """What others did to the target; None where it was not listed."""
    error: str = ""
    """What stopped the cycle; empty when it ran to its end."""
    quarantined: bool = False
    """Whether the job is in quarantine now."""
    standing: str = ""
    """Why the job does not go on as usual: it is in quarantine, or was paused; empty when it does."""
    page: str = ""
    """Path of the run's report as a page; empty where none could be kept."""
    docs: str = ""
    """Path of the Data Docs of the cycle; empty where no data was checked."""
    page_address: str = ""
    """Where a browser finds the report; empty where nobody serves it."""
    docs_address: str = ""
    """The same of the Data Docs."""

    @property
    def exit_status(self) -> int:
        """0 done; 1 done with entries failed or held; 3 waiting for approval; 4 stopped, paused or in quarantine."""
        if self.standing:
            return 4
        match self.state:
            case CycleState.DONE:
                return 0
            case CycleState.DONE_WITH_FAILURES:
                return 1
            case CycleState.STAGED:
                return 3
            case _:
                return 4

    @property
    def message(self) -> str:
        """One sentence about how the cycle ended; printable."""
        return printable(self._ending())

    def _ending(self) -> str:
        done = ", ".join(f"{count:,} {spoken(name)}" for name, count in self.counts.items() if count and name in _DONE)
        what = f"{done}." if done else "nothing to do."
        decided = sum(held.code is ErrorCode.DECIDED for held in self.held)
        if decided:
            what += f" {decided:,} left alone as decided."
        match self.state:
            case CycleState.DONE:
                return f"Done: {what}"
            case CycleState.DONE_WITH_FAILURES:
                failed, held = self.counts.get("failed", 0), self.counts.get("held", 0)
                return f"Done with failures: {what} {failed:,} failed, {held:,} held."
            case CycleState.STAGED:
                return f"Waiting for approval: {done or 'nothing has been done yet'}. {' '.join(self.guards)}"
            case _:
                return f"Stopped: {self.error}"

    def as_json(self) -> dict[str, Any]:
        """Plain values for machines."""
        return {
            "job": self.job,
            "cycle": self.cycle,
            "kind": str(self.kind),
            "state": str(self.state),
            "began": self.began.isoformat(),
            "ended": self.ended.isoformat(),
            "counts": dict(self.counts),
            "unchanged": self.unchanged,
            "failures": [
                {
                    "kind": str(item.kind),
                    "anchor": item.anchor,
                    "entry": item.label,
                    "action": str(item.action),
                    "code": item.code,
                    "message": item.message,
                }
                for item in self.failures
            ],
            "held": [_held_json(item) for item in self.held],
            "notes": [_held_json(item) for item in self.notes],
            "guards": list(self.guards),
            "findings": list(self.findings),
            "drift": self.drift.as_json() if self.drift is not None else None,
            "target_seen": self.seen,
            "seconds": dict(self.seconds),
            "error": self.error or None,
            "standing": self.standing or None,
            "report": self.page or None,
            "data_docs": self.docs or None,
            "exit_status": self.exit_status,
        }


_DONE = frozenset(COUNT_OF.values())


def spoken(name: str) -> str:
    """A count's name as people say it."""
    return name.replace("_", " ")


def _held_json(held: Held) -> dict[str, Any]:
    return {
        "kind": str(held.kind),
        "anchor": held.anchor,
        "entry": held.label,
        "code": str(held.code),
        "message": held.reason,
    }


def final_state(report: CycleReport | None) -> "State[Any]":
    """The flow run's final state, whose name says what happened."""
    from prefect.states import Completed, Failed

    if report is None:
        raise RuntimeError("the cycle finished without a report")
    if report.quarantined:
        return Failed(name=QUARANTINED, message=report.standing, data=report.as_json())
    match report.state:
        case CycleState.DONE:
            name = "Completed"
        case CycleState.DONE_WITH_FAILURES:
            name = "Completed with failures"
        case _:
            name = WAITING
    return Completed(name=name, message=report.message, data=report.as_json())


def numbers_of(verdict: Verdict) -> str:
    """``12 of 40 counted, allowed 500 or 10% from 20 on``."""
    limit = f", allowed {allowed(verdict.limit)}" if verdict.limit is not None else ""
    of = f" of {verdict.population:,}" if verdict.population else ""
    return f"{verdict.guard}: {verdict.counted:,}{of} counted{limit}"


def allowed(limit: Limit | None) -> str:
    """``500 and 10% from 20 on``."""
    if limit is None:
        return "none"
    count = "any number" if limit.count is None else f"{limit.count:,}"
    return f"{count} and {limit.fraction * 100:.4g}% from {limit.minimum:,} on"


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """One guard that tripped, as plain values."""
    limit = verdict.limit
    return {
        "guard": str(verdict.guard),
        "about": verdict.subject or None,
        "held": verdict.held,
        "counted": verdict.counted,
        "population": verdict.population,
        "limit": limit and {"count": limit.count, "fraction": limit.fraction, "minimum": limit.minimum},
        "sentence": verdict.sentence,
    }
