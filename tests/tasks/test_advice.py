"""Every code of the provisioning log has its advice, and the log has its steps."""

from datetime import UTC, datetime

import pytest

from connectors.contract import Action
from connectors.errors import ErrorCode
from tasks.advice import ADVICE, Category, advice_for
from tasks.ledger import READ_BACK, LogAction, LogLine, LogStatus
from tasks.plan.blocks import Cause
from tasks.steps import steps_of


def line(action: str, status: str = "success", **fields: object) -> LogLine:
    """A line of the log; everything else is empty."""
    values: dict[str, object] = {
        "id": 1,
        "time": datetime(2026, 3, 1, tzinfo=UTC),
        "job": "hr",
        "cycle": 1,
        "kind": "user",
        "label": "",
        "anchor": "1",
        "target_id": None,
        "reason": "",
        "code": None,
        "message": "",
        "modified": None,
        "duration_ms": None,
        "change_id": None,
        "initiator": "",
        "source": "",
        "target": "",
    }
    return LogLine(action=action, status=status, **(values | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_advice(code: ErrorCode) -> None:
    """A new code cannot be forgotten; its advice is at least one whole sentence."""
    advice = advice_for(code.value)
    assert advice is not None
    assert advice.action[:1].isupper()
    assert advice.action.endswith(".")
    assert advice.category in set(Category)


def test_no_advice_is_about_a_code_that_does_not_exist_and_no_two_are_the_same() -> None:
    """What differs only in its code was not thought about."""
    assert set(ADVICE) == set(ErrorCode)
    assert len({advice.action for advice in ADVICE.values()}) == len(ADVICE)
    assert advice_for(None) is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (
            "import success, scoping success, matching success, export success",
            line("create", reason="in scope", duration_ms=7),
        ),
        (
            "import success, scoping success, matching success, export failure",
            line("create", "failure", code="Conflict", message="taken"),
        ),
        ("import skipped, matching success, export success", line("disable", reason=Cause.GONE.value)),
        (
            "import skipped, matching success, export success",
            line("disable", reason=f"{Cause.GONE.value}; approved by eve on 2026-03-01"),
        ),
        (
            "import success, scoping skipped, matching success, export success",
            line("delete", reason="out of scope: no group of clauses is true"),
        ),
        (
            "import success, scoping skipped, matching success, export success",
            line("disable", reason="not assigned"),
        ),
        (
            "import success, scoping success, matching success, processing success, export success",
            line("disable", reason=Cause.DISABLED.value),
        ),
        (
            "import success, scoping success, matching success, processing success, export success",
            line("update", reason="adopted, matched by userName"),
        ),
        ("export success", line("create", reason=READ_BACK, message="it had taken effect")),
        ("referenceResolution warning", line("update", "warning", code="UnableToResolveReferenceAttributeValue")),
        ("import skipped", line("skip", "skipped", code="ImportSkipped")),
        ("import success, scoping skipped", line("skip", "skipped", code="EntrySynchronizationSkipped")),
        (
            "import success, scoping success, processing failure",
            line("skip", "skipped", code="ExpressionFailed"),
        ),
        (
            "import success, scoping success, matching failure",
            line("skip", "skipped", code="DuplicateTargetEntries"),
        ),
        ("processing skipped", line("skip", "skipped", code="NotPermitted")),
        ("processing skipped", line("StagedDisable", "skipped", reason="too many")),
        ("", line("approve")),
    ],
)
def test_steps_follow_from_what_the_line_says(wanted: str, found: LogLine) -> None:
    """How far the entry came; a step of which the line says nothing is left out."""
    assert ", ".join(f"{step.name} {step.status}" for step in steps_of(found)) == wanted


def test_details_are_reason_message_and_duration() -> None:
    """The deciding step says why; the export how long it took, or what went wrong."""
    steps = {step.name: step.detail for step in steps_of(line("disable", reason="not assigned", duration_ms=1234))}
    assert steps == {"import": "", "scoping": "not assigned", "matching": "linked", "export": "1,234 ms"}
    failed = steps_of(line("create", "failure", code="Conflict", message="taken"))
    assert failed[-1].detail == "Conflict taken"


@pytest.mark.parametrize("action", LogAction)
@pytest.mark.parametrize("status", LogStatus)
def test_every_action_has_steps_or_nothing_was_done_by_us(action: LogAction, status: LogStatus) -> None:
    """Nothing that a line can say is forgotten."""
    decisions = {LogAction.APPROVE, LogAction.REJECT, LogAction.LAPSE, LogAction.DRIFT}
    assert bool(steps_of(line(action.value, status.value))) is (action not in decisions)
    if action in set(Action):
        assert steps_of(line(action.value, status.value))[-1].status is status
