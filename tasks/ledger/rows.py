"""How values become rows for the bulk paths, and rows become values again.

Rows to be written are in the order of their table's columns (the log's without its ``id``), with times already as text.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import repeat
from typing import Any, TypeAlias

import orjson
import pandas as pd
import pyarrow as pa

from connectors.contract import Action, Change, Kind, Outcome, Status
from connectors.errors import ErrorCode
from tasks.ledger.bulk import clean, json_text
from tasks.ledger.records import (
    Attempt,
    AttemptStatus,
    Cycle,
    CycleKind,
    CycleState,
    Escrow,
    Link,
    Linked,
    LinkState,
    LogEntry,
    LogLine,
    Quarantine,
    Staged,
    StagedState,
)

Values: TypeAlias = tuple[Any, ...]
TimeText: TypeAlias = Callable[[datetime], str]

LOG_FRAME = tuple(field.name for field in fields(LogLine))
"""Columns of the frame that ``Ledger.log`` gives."""

_KINDS = {str(one): one for one in Kind}
_ACTIONS = {str(one): one for one in Action}
_STATES = {str(one): one for one in StagedState}
_NOT_TEXT: dict[str, Any] = {
    "id": "Int64",
    "time": "datetime64[us, UTC]",
    "cycle": "Int64",
    "duration_ms": "Int64",
    "modified": object,
}


def attempt_row(
    cycle: Cycle, change: Change, moment: str, known_by: Sequence[str], redacted: Collection[str] = ()
) -> Values:
    """A change about to be sent; ``known_by``: attributes by which the account of a create can be found again.

    ``redacted``: attributes whose values are not written down.
    """
    values = {path: value for path in known_by if isinstance(value := change.attributes.get(path), str)}
    return (
        change.id,
        cycle.job,
        cycle.id,
        change.kind.value,
        change.action.value,
        change.anchor,
        change.target_id or None,
        clean(change.label),
        json_text(values) if change.action is Action.CREATE else None,
        moment,
        AttemptStatus.SENT.value,
        None,
        json_text(_intent(change, redacted)),
    )


def _intent(change: Change, redacted: Collection[str]) -> dict[str, Any] | None:
    """What the target must show for the change to have taken effect; creates and deletes say that by themselves."""
    if change.action in (Action.CREATE, Action.DELETE):
        return None
    if change.members:
        return {"members": list(change.members)}
    shown = [path for path in change.attributes if path not in redacted]
    return {
        "after": {path: change.attributes[path] for path in shown},
        "before": {path: change.before.get(path) for path in shown},
    }


def end_row(outcome: Outcome, moment: str) -> Values:
    """How an attempt ended, as ``bulk.FINISHED``; one whose answer was lost has not ended."""
    unknown = outcome.status is Status.UNKNOWN
    return (outcome.change_id, outcome.status.value, None if unknown else moment, outcome.target_id or None)


def link_row(cycle: Cycle, link: Link, target: str | None, moment: str) -> Values:
    """A link as it is to be; ``target``: the address at which the job owns accounts."""
    return (
        cycle.job,
        link.kind.value,
        link.anchor,
        link.target_id,
        target,
        clean(link.label),
        link.fingerprint,
        link.state.value,
        link.how or "",
        moment,
        moment,
        moment,
        cycle.id,
        link.written,
        None,
    )


def log_row(cycle: Cycle, entry: LogEntry, moment: str, time: TimeText) -> Values:
    """A line of the provisioning log."""
    label = clean(entry.label)
    return (
        cycle.job,
        cycle.id,
        moment,
        entry.change_id,
        entry.kind.value,
        entry.action.value,
        entry.status.value,
        entry.anchor,
        entry.target_id or None,
        label,
        label.casefold(),
        clean(entry.reason),
        entry.code.value if entry.code else None,
        clean(entry.message),
        json_text(entry.modified),
        entry.duration_ms,
        entry.counted,
        time(entry.had_since) if entry.had_since is not None else None,
    )


def staged_row(job: str, staged: Staged, time: TimeText) -> Values:
    """A change that a guard holds."""
    return (
        job,
        staged.kind.value,
        staged.action.value,
        staged.anchor,
        staged.target_id or None,
        clean(staged.label),
        time(staged.since),
        staged.cycle_id,
        clean(staged.guard),
        json_text(staged.guards),
        staged.cause,
        staged.state.value,
        clean(staged.who) if staged.who else None,
        clean(staged.identity) if staged.identity else None,
        clean(staged.why) if staged.why else None,
        time(staged.until) if staged.until else None,
        time(staged.decided_at) if staged.decided_at else None,
        json_text(staged.members),
        json_text(staged.attributes),
        json_text(dict(staged.digests)),
        staged.part,
    )


def escrow_row(job: str, escrow: Escrow, time: TimeText) -> Values:
    """An entry that failed."""
    return (
        job,
        escrow.kind.value,
        escrow.anchor,
        clean(escrow.label),
        escrow.code.value if escrow.code else None,
        clean(escrow.message),
        escrow.attempts,
        time(escrow.first_failed),
        time(escrow.next_attempt),
        escrow.fingerprint,
    )


@dataclass(frozen=True, slots=True)
class FrameRows:
    """Links of a frame as rows, made while they are gone through, as often as needed."""

    job: str
    kind: Kind
    frame: pd.DataFrame
    """As ``Ledger.put_links`` takes it."""
    target: str | None
    """Address at which the job owns accounts."""
    cycle_id: int
    moment: str

    def __iter__(self) -> Iterator[Values]:
        size = len(self.frame)
        return zip(
            repeat(self.job, size),
            repeat(self.kind.value, size),
            self._texts(self.frame.index.to_series()),
            self._texts(self.frame["target_id"]),
            repeat(self.target, size),
            map(clean, self._column("label", "")),
            self._fingerprints(),
            self._column("state", LinkState.ACTIVE.value),
            self._column("how", ""),
            repeat(self.moment, size),
            repeat(self.moment, size),
            repeat(self.moment, size),
            repeat(self.cycle_id, size),
            self._written(),
            repeat(None, size),
            strict=True,
        )

    def _column(self, name: str, default: str) -> list[str]:
        if name not in self.frame:
            return [default] * len(self.frame)
        return self._texts(self.frame[name].fillna(default))

    def _written(self) -> list[bytes | None]:
        if "written" not in self.frame:
            return [None] * len(self.frame)
        return [known if isinstance(known, bytes) else None for known in self.frame["written"]]

    def _fingerprints(self) -> list[int | None]:
        if "fingerprint" not in self.frame:
            return [None] * len(self.frame)
        numbers: list[int | None] = pa.array(self.frame["fingerprint"], pa.int64(), from_pandas=True).to_pylist()
        return numbers

    @staticmethod
    def _texts(series: "pd.Series[str]") -> list[str]:
        if series.isna().any():
            raise ValueError("a link needs an anchor and a target id")
        texts: list[str] = series.tolist()
        return texts


def cycle_from(row: Any) -> Cycle:
    """A cycle as it is stored."""
    return Cycle(
        id=row.id,
        number=row.number,
        job=row.job,
        kind=CycleKind(row.kind),
        state=CycleState(row.state),
        fingerprint=row.fingerprint,
        began=row.began,
        ended=row.ended,
        counts=row.counts or {},
        source_count=row.source_count,
        source_members=row.source_members,
        target_count=row.target_count,
        watermark=row.watermark,
        message=row.message,
        flow_run_id=row.flow_run_id,
        initiator=row.initiator,
        source=row.source,
        target=row.target,
    )


def linked_from(row: Any) -> Linked:
    """A link as it is stored."""
    return Linked(
        target_id=row.target_id,
        label=row.label,
        state=LinkState(row.state),
        how=row.how,
        linked_at=row.linked_at,
        changed_at=row.changed_at,
        state_since=row.state_since,
    )


def attempt_from(row: Any) -> Attempt:
    """An attempt as it is stored."""
    return Attempt(
        change_id=row.change_id,
        job=row.job,
        cycle_id=row.cycle_id,
        kind=Kind(row.kind),
        action=Action(row.action),
        anchor=row.anchor,
        target_id=row.target_id,
        label=row.label,
        sent_at=row.sent_at,
        status=AttemptStatus(row.status),
        known_by=orjson.loads(row.known_by) if row.known_by else {},
        **(orjson.loads(row.intent) if row.intent else {}),
    )


def staged_from(row: Any) -> Staged:
    """A held change as it is stored: all columns, in their order. Ten thousand may wait: it is taken apart at once."""
    _, kind, action, anchor, target_id, label, since, cycle_id, guard, guards, cause, state, *rest = row
    who, identity, why, until, decided_at, members, attributes, digests, part = rest
    return Staged(
        _KINDS[kind],
        _ACTIONS[action],
        anchor,
        since,
        cycle_id,
        guard,
        tuple(guards or ()),
        cause,
        target_id,
        label,
        _STATES[state],
        who,
        identity,
        why,
        until,
        decided_at,
        tuple(members or ()),
        tuple(attributes or ()),
        tuple(sorted((digests or {}).items())),
        part,
    )


def escrow_from(row: Any) -> Escrow:
    """An escrow as it is stored."""
    return Escrow(
        kind=Kind(row.kind),
        anchor=row.anchor,
        first_failed=row.first_failed,
        next_attempt=row.next_attempt,
        attempts=row.attempts,
        message=row.message,
        code=ErrorCode(row.error_code) if row.error_code else None,
        label=row.label,
        fingerprint=row.fingerprint,
    )


def quarantine_row(job: str, quarantine: Quarantine, time: TimeText) -> Values:
    """How a job's quarantine stands."""
    return (
        job,
        quarantine.reason,
        clean(quarantine.message),
        time(quarantine.since),
        time(quarantine.began),
        quarantine.attempts,
        time(quarantine.next_attempt) if quarantine.next_attempt else None,
    )


def quarantine_from(row: Any) -> Quarantine:
    """A quarantine as it is stored."""
    return Quarantine(
        reason=row.reason,
        message=row.message,
        since=row.since,
        began=row.began,
        attempts=row.attempts,
        next_attempt=row.next_attempt,
    )


def log_frame(lines: Sequence[LogLine]) -> pd.DataFrame:
    """Lines of the log as a frame with the columns ``LOG_FRAME``."""
    return pd.DataFrame(
        {
            name: pd.Series([getattr(line, name) for line in lines], dtype=_NOT_TEXT.get(name, "str"))
            for name in LOG_FRAME
        }
    )
