"""Take a cycle back: what ``flows.cycle.undo`` works out is carried out like any other plan, in a cycle of its kind."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from flows.cycle.running import Running, ended, running_cycle, stopped
from flows.cycle.sight import CycleChoice
from flows.cycle.undo import UndoRefusedError, Wishes, decide_undo, find_out_first
from flows.decisions.own_job import ForeignJobError, own_job
from flows.decisions.persons import login_name
from flows.provision import BATCHES_AT_ONCE, STOPS, load
from tasks.artifacts import publish_plan
from tasks.ledger import CycleKind, Pause


def _run_name() -> str:
    parameters: dict[str, Any] = flow_run.parameters
    return f"{Path(parameters['job']).stem} · undo of cycle {parameters['cycle']}"


@flow(flow_run_name=_run_name, task_runner=ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE))  # type: ignore[arg-type]
def undo(
    job: Path,
    cycle: int,
    recreate: bool = False,
    delete_created: bool = False,
    leave_alone: bool = False,
    pause: bool = True,
) -> State:
    """Take a finished cycle of a job back, as far as the target is still as the cycle left it.

    Args:
        job: The job file.
        cycle: The cycle's number within the job.
        recreate: Create deleted accounts again.
        delete_created: Delete created accounts instead of disabling them.
        leave_alone: Leave alone what cannot be taken back, instead of refusing everything.
        pause: Pause the job, so that the next cycle does not do it all again.
    """
    wishes = Wishes(recreate=recreate, delete_created=delete_created, leave_alone=leave_alone)
    try:
        own_job(job)
        with running_cycle(job, CycleChoice.AUTO, flow_run_id=flow_run.id, kind=CycleKind.UNDO) as running:
            moment = running.marks["began"]
            find_out_first(running.job, running.systems, running.ledger, running.cycle, now=moment)
            decision = decide_undo(
                running.job, running.systems, running.ledger, cycle, wishes, now=running.marks["began"]
            )
            running.have_planned(decision)
            publish_plan(decision.checked, cycle=running.cycle.number)
            if pause:  # before anything is written, so that an undo that dies half-way is not undone by the next cycle
                pause_after(running, cycle)
            running.stage(decision)
            load(running, decision)
    except (*STOPS, ForeignJobError, UndoRefusedError) as error:
        return stopped(error)
    return ended(running.report)


def pause_after(running: Running, cycle: int) -> None:
    """Pauses the job on account of an undo; a pause that is there already stays as it is."""
    if running.ledger.paused(running.job.name) is not None:
        return
    why = f"cycle {cycle} was undone, and the next one would do it all again; put the cause right first"
    running.ledger.pause(running.job.name, Pause(running.clock(), login_name(), why))
