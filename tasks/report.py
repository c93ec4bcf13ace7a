"""Tells people what a cycle did: the report itself, artifacts and the run's final state in the Prefect UI.

Prefect is imported by the functions that talk to it, so that the report can be read and shown without it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from connectors.contract import Action
from tasks.advice import advice_for
from tasks.checks import Checked, Verdict
from tasks.drift import DriftReport
from tasks.escrow import Failed
from tasks.job import Limit
from tasks.ledger import CycleKind, CycleState
from tasks.mapping import Held

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

COUNT_OF = {
    Action.CREATE: "created",
    Action.UPDATE: "updated",
    Action.ENABLE: "enabled",
    Action.DISABLE: "disabled",
    Action.DELETE: "deleted",
    Action.ADD_MEMBERS: "members_added",
    Action.REMOVE_MEMBERS: "members_removed",
}
"""Actions to the names of a cycle's counts."""

HEAD = 50
"""Changes shown in the plan's artifact."""


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
    seen: str = ""
    """How the target was seen, listed or as last known, and why."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each part took."""
    drift: DriftReport | None = None
    """What others did to the target; None where it was not listed."""
    error: str = ""
    """What stopped the cycle; empty when it ran to its end."""
    standing: str = ""
    """Why the job does not go on as usual: it is in quarantine, or was paused; empty when it does."""
    page: str = ""
    """Path of the run's report as a page; empty where none could be kept."""
    docs: str = ""
    """Path of the Data Docs of the cycle; empty where no data was checked."""

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
        """One sentence about how the cycle ended."""
        done = ", ".join(f"{count:,} {_spoken(name)}" for name, count in self.counts.items() if count and name in _DONE)
        what = f"{done}." if done else "nothing to do."
        match self.state:
            case CycleState.DONE:
                return f"Done: {what}"
            case CycleState.DONE_WITH_FAILURES:
                failed, held = self.counts.get("failed", 0), self.counts.get("held", 0)
                return f"Done with failures: {what} {failed:,} failed, {held:,} held."
            case CycleState.STAGED:
                return f"Waiting for approval: {what} {' '.join(self.guards)}"
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


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _held_json(held: Held) -> dict[str, Any]:
    return {
        "kind": str(held.kind),
        "anchor": held.anchor,
        "entry": held.label,
        "code": str(held.code),
        "message": held.reason,
    }


# --- Prefect -------------------------------------------------------------------------------------------------------


def final_state(report: CycleReport | None) -> "State[Any]":
    """The flow run's final state, whose name says what happened."""
    from prefect.states import Completed

    if report is None:
        raise RuntimeError("the cycle ended without a report")
    match report.state:
        case CycleState.DONE:
            name = "Completed"
        case CycleState.DONE_WITH_FAILURES:
            name = "Completed with failures"
        case _:
            name = "Waiting for approval"
    return Completed(name=name, message=report.message, data=report.as_json())


def publish_plan(checked: Checked, *, expected: str = "") -> None:
    """The head of the plan as a Markdown artifact: counts, guards, and the first changes of every block.

    ``expected``: a sentence about how long it will take.
    """
    from prefect.artifacts import create_markdown_artifact

    plan = checked.plan
    lines = [f"# Plan of {plan.job}", "", f"{plan.source} → {plan.target}", ""]
    lines += ["| action | changes |", "| --- | ---: |"]
    lines += [f"| {action} | {count:,} |" for action, count in plan.counts().items()] or ["| nothing to do | 0 |"]
    lines += ["", expected] if expected else []
    lines += ["", *(f"> **Held back.** {verdict.sentence}\n" for verdict in checked.verdicts)]
    if checked.verdicts:
        lines += ["| guard | about | counted | of | allowed | held |", "| --- | --- | ---: | ---: | --- | ---: |"]
        lines += [_verdict_row(verdict) for verdict in checked.verdicts]
    if checked.waiting:
        lines += ["", f"Decide with `provisor approve {plan.job}` or `provisor reject {plan.job}`."]
    lines += ["", "| action | entry | attributes | reason |", "| --- | --- | --- | --- |"]
    shown = 0
    for block in checked.blocks:
        head = block.table.head(HEAD - shown)
        for row, (label, reason) in enumerate(head[["label", "reason"]].itertuples(index=False)):
            lines.append(f"| {block.action} | {_cell(label)} | {_cell(_touched(block, row))} | {_cell(reason)} |")
        shown += len(head)
        if shown >= HEAD:
            break
    total = plan.requests
    if total > shown:
        lines += ["", f"… and {total - shown:,} more; `provisor plan` shows them all."]
    create_markdown_artifact("\n".join(lines), key=_key(plan.job, "plan"), description=f"Plan of {plan.job}")


def _verdict_row(verdict: Verdict) -> str:
    cells = (
        verdict.guard,
        _cell(verdict.subject),
        f"{verdict.counted:,}",
        f"{verdict.population:,}",
        allowed(verdict.limit),
        f"{verdict.held:,}",
    )
    return f"| {' | '.join(cells)} |"


def numbers_of(verdict: Verdict) -> str:
    """``12 of 40 counted, allowed 500 or 10% from 20 on``."""
    most = f", allowed {allowed(verdict.limit)}" if verdict.limit is not None else ""
    of = f" of {verdict.population:,}" if verdict.population else ""
    return f"{verdict.guard}: {verdict.counted:,}{of} counted{most}"


def allowed(limit: Limit | None) -> str:
    """What a limit lets through: ``500 and 10% from 20 on``."""
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


def publish_report(report: CycleReport) -> None:
    """The counts of the cycle as a table artifact, and its failures by code as another."""
    from prefect.artifacts import create_table_artifact
    from prefect.context import FlowRunContext

    if FlowRunContext.get() is None:
        return
    rows = [{"what": _spoken(name), "count": count} for name, count in report.counts.items() if count]
    rows.append({"what": "unchanged", "count": report.unchanged})
    create_table_artifact(rows, key=_key(report.job, "counts"), description=report.message)
    codes = Counter(str(item.code or "") for item in report.failures)
    codes.update(str(item.code) for item in report.held)
    if codes:
        # Messages may hold what a target said about people: they are in the provisioning log only.
        table = [{"code": code, "entries": count, "advice": _advice(code)} for code, count in codes.most_common()]
        create_table_artifact(table, key=_key(report.job, "failures"), description="What failed or was held, by code")


def _advice(code: str) -> str:
    advice = advice_for(code)
    return advice.action if advice is not None else ""


def begin_progress(job: str, total: int, *, left: str = "") -> UUID:
    """A progress artifact at zero. ``left``: how long it will take, for people."""
    from prefect.artifacts import create_progress_artifact

    description = f"Loading {total:,} requests" + (f", {left}" if left else "")
    artifact = create_progress_artifact(0.0, key=_key(job, "progress"), description=description)
    assert isinstance(artifact, UUID)  # a coroutine only where an event loop runs
    return artifact


def move_progress(artifact: UUID, done: int, total: int, *, left: str = "") -> None:
    """Moves the bar: ``12,300 of 50,000 requests, about 3 min left``."""
    from prefect.artifacts import update_progress_artifact

    description = f"{done:,} of {total:,} requests" + (f", {left}" if left else "")
    update_progress_artifact(artifact, progress=100.0 * done / total, description=description)


def _key(job: str, what: str) -> str:
    """Artifact keys hold lower-case letters, digits and hyphens only."""
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in f"{job}-{what}".lower())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _touched(block: Any, row: int) -> str:
    if block.touched is not None:
        return ", ".join(path for path in block.touched.columns if block.touched[path].iloc[row])
    return f"{len(block.table['members'].iloc[row])} members" if "members" in block.table else ""
