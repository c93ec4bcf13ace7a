"""What the Prefect server watches over: runs that crashed, runs that are overdue, and runs that nobody hears of.

``provisor up`` looks after its worker itself, and has its server tell people. With workers on other machines nobody
does: a worker that dies together with its run tells nobody. There, runs send a heartbeat, and a run whose heartbeat
stops is marked as crashed; the next cycle of the job goes on from what the ledger knows. That needs a server on
PostgreSQL: one on SQLite loses an event now and then, and would take a run that has ended for one that died.

Source: Prefect documentation, "Detect zombie flows".
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.automations import (
    AutomationCore,
    ChangeFlowRunState,
    EventTrigger,
    Posture,
    SendNotification,
)
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.schemas.events import ResourceSpecification

from flows.serve.notices import JobNotice

PATIENCE = timedelta(minutes=20)
"""How long nothing may be heard of a run, or of its beginning.

Longer than the 15 minutes for which a server that was restarted holds back events of runs that are older than itself:
their end would otherwise be taken for silence.
"""

_OUR_RUNS: dict[str, Any] = {
    "match": ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
    "match_related": ResourceSpecification(
        {"prefect.resource.id": "prefect.tag.provisor", "prefect.resource.role": "tag"}
    ),
    "for_each": {"prefect.resource.id"},
}
_HEARTBEAT = "prefect.flow-run.heartbeat"
_BEGUN = ("Pending", "Running", "AwaitingConcurrencySlot", "Skipped", "Cancelled", "Completed", "Failed", "Crashed")
_RUN = "Run {{ flow_run.name }} of the deployment {{ deployment.name }}"


def tell_people(folder: Path) -> None:
    """Has the server tell the people of a folder's jobs about runs that crashed or are overdue.

    The server must know the block ``flows.serve.notices.JobNotice``.
    """
    block = JobNotice(folder=str(folder.absolute()), api=os.environ.get("PREFECT_API_URL", ""))
    notice = block.save("provisor-people", overwrite=True, _sync=True)  # type: ignore[call-arg]
    with get_client(sync_client=True) as client:
        for automation in (_crashed(notice), _overdue(notice)):
            _put(client, automation)


def find_the_dead() -> None:
    """Has the server mark the runs that nobody hears of any more as crashed."""
    with get_client(sync_client=True) as client:
        for automation in (_dead(), _never_begun()):
            _put(client, automation)


def _put(client: SyncPrefectClient, automation: AutomationCore) -> None:
    """One automation of each name; what somebody switched off stays off."""
    known = client.read_automations_by_name(automation.name)
    if not known:
        client.create_automation(automation)
        return
    automation.enabled = known[0].enabled
    client.update_automation(known[0].id, automation)


def _silence(after: set[str], expected: set[str]) -> EventTrigger:
    """Fires when, after one of these events of a run of ours, none of those that are expected comes in time."""
    return EventTrigger(
        after=after, expect=expected, posture=Posture.Proactive, threshold=1, within=PATIENCE, **_OUR_RUNS
    )


def _dead() -> AutomationCore:
    return AutomationCore(
        name="Provisor: runs that died",
        description="Marks a run as crashed when nothing was heard of it for a while, so that the next one can begin.",
        trigger=_silence({_HEARTBEAT}, {"prefect.flow-run.*"}),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="Nothing was heard of the run: its process or its machine is gone. The next cycle goes on.",
            )
        ],
    )


def _never_begun() -> AutomationCore:
    return AutomationCore(
        name="Provisor: runs that never started",
        description="Marks a run as crashed when its worker died while it was starting it.",
        trigger=_silence({"prefect.flow-run.Submitting", "prefect.flow-run.Pending"}, {"prefect.flow-run.*"}),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED, message="The worker took the run and never began it: it is gone."
            )
        ],
    )


def _crashed(notice: object) -> AutomationCore:
    return AutomationCore(
        name="Provisor: runs that crashed",
        description="Notifies the addresses of the job.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed"}, posture=Posture.Reactive, threshold=1, within=timedelta(0), **_OUR_RUNS
        ),
        actions=[
            SendNotification(
                block_document_id=notice,
                subject="{{ deployment.name }}: a run crashed",
                body=f"{_RUN} crashed: {{{{ flow_run.state.message }}}}\n\nRequests already sent are recorded; the "
                f"next cycle continues from there.\n\n{{ flow_run|ui_url }}",
            )
        ],
    )


def _overdue(notice: object) -> AutomationCore:
    return AutomationCore(
        name="Provisor: runs that are overdue",
        description="Notifies the addresses of the job when a run has not started long after it was due.",
        trigger=_silence({"prefect.flow-run.Late"}, {f"prefect.flow-run.{state}" for state in _BEGUN}),
        actions=[
            SendNotification(
                block_document_id=notice,
                subject="{{ deployment.name }}: overdue",
                body=f"{_RUN} has not started {PATIENCE.seconds // 60} minutes after it was due. Is a worker of the "
                f"pool provisor running?\n\n{{ flow_run|ui_url }}",
            )
        ],
    )
