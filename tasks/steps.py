"""The steps of one line of the provisioning log: how far an entry came, and where that ended. Pure.

They are not stored. Each follows from what the line says (action, status, reason, code), and where it does not follow,
it is left out: what is listed is exact, and a million lines are no larger for it.

Source: Microsoft Graph, provisioningStep (provisioningStepType and status); the names are kept.
"""

from dataclasses import dataclass
from enum import StrEnum

from connectors.contract import Action
from connectors.errors import ErrorCode
from tasks.ledger import READ_BACK, LogAction, LogLine, LogStatus
from tasks.plan.blocks import Cause
from tasks.scope import FILTERED_OUT, NOT_ASSIGNED


class StepName(StrEnum):
    """What is done with an entry, in this order."""

    IMPORT = "import"
    SCOPING = "scoping"
    MATCHING = "matching"
    PROCESSING = "processing"
    """Mapping, guards, protection, waiting after a failure."""
    REFERENCES = "referenceResolution"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Step:
    """One step and how it went."""

    name: StepName
    status: LogStatus
    detail: str = ""


_CHANGES = frozenset(map(str, Action))
_IN_SCOPE = (Step(StepName.IMPORT, LogStatus.SUCCESS), Step(StepName.SCOPING, LogStatus.SUCCESS))


def steps_of(line: LogLine) -> list[Step]:
    """The steps that the line's entry went through, in order; none for what people decided, or others did."""
    if line.action in _CHANGES:
        return _of_change(line)
    if line.action == LogAction.SKIP:
        return _of_skip(line)
    if line.action.startswith("Staged"):
        return [Step(StepName.PROCESSING, LogStatus.SKIPPED, line.reason)]
    return []


def _of_skip(line: LogLine) -> list[Step]:
    """Entries that were held, passed over, or changed without something that cannot be set yet."""
    status = LogStatus(line.status)
    match line.code:
        case ErrorCode.IMPORT_SKIPPED:
            return [Step(StepName.IMPORT, status, line.message)]
        case ErrorCode.SKIPPED:
            return [Step(StepName.IMPORT, LogStatus.SUCCESS), Step(StepName.SCOPING, status, line.reason)]
        case ErrorCode.SCOPE_UNDECIDED:
            return [Step(StepName.IMPORT, LogStatus.SUCCESS), Step(StepName.SCOPING, LogStatus.FAILURE, line.message)]
        case ErrorCode.EXPRESSION_FAILED:
            return [*_IN_SCOPE, Step(StepName.PROCESSING, LogStatus.FAILURE, line.message)]
        case ErrorCode.DUPLICATE_SOURCE_ENTRIES | ErrorCode.DUPLICATE_TARGET_ENTRIES:
            return [*_IN_SCOPE, Step(StepName.MATCHING, LogStatus.FAILURE, line.message)]
        case ErrorCode.HANDED_OVER:
            return [*_IN_SCOPE, Step(StepName.MATCHING, status, line.message)]
        case ErrorCode.UNRESOLVED_REFERENCE:
            return [Step(StepName.REFERENCES, status, line.message)]
        case _:
            return [Step(StepName.PROCESSING, status, line.message)]


def _of_change(line: LogLine) -> list[Step]:
    if line.code == ErrorCode.UNRESOLVED_REFERENCE:
        return [Step(StepName.REFERENCES, LogStatus(line.status), line.message)]
    export = Step(StepName.EXPORT, LogStatus(line.status), _exported(line))
    if line.reason == READ_BACK:
        return [export]  # the line says nothing about what came before
    return [*_before_export(line), export]


def _before_export(line: LogLine) -> list[Step]:
    """What must have been so for the change to be sent. People's words stand behind a semicolon of the reason."""
    reason = line.reason.partition(";")[0]
    linked = Step(StepName.MATCHING, LogStatus.SUCCESS, "linked")
    match line.action:
        case Action.ADD_MEMBERS | Action.REMOVE_MEMBERS:
            return [Step(StepName.IMPORT, LogStatus.SUCCESS, reason), linked]
        case Action.CREATE:
            return [*_IN_SCOPE, Step(StepName.MATCHING, LogStatus.SUCCESS, reason)]
        case Action.DISABLE | Action.DELETE:
            if reason == Cause.GONE:
                return [Step(StepName.IMPORT, LogStatus.SKIPPED, reason), linked]
            if reason.startswith((NOT_ASSIGNED, FILTERED_OUT)):
                return [_IN_SCOPE[0], Step(StepName.SCOPING, LogStatus.SKIPPED, reason), linked]
            return [*_IN_SCOPE, linked, Step(StepName.PROCESSING, LogStatus.SUCCESS, reason)]
    adopted = reason.startswith("adopted")
    matching = Step(StepName.MATCHING, LogStatus.SUCCESS, reason if adopted else "linked")
    return [*_IN_SCOPE, matching, Step(StepName.PROCESSING, LogStatus.SUCCESS, "" if adopted else reason)]


def _exported(line: LogLine) -> str:
    took = "" if line.duration_ms is None else f"{line.duration_ms:,} ms"
    return " ".join(part for part in (line.code or "", line.message or took) if part)
