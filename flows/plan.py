"""What a cycle would do now, as a deployment: a first click that changes nothing."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.cycle.ahead import look_ahead
from flows.cycle.sight import CycleChoice


def _run_name() -> str:
    parameters: dict[str, Any] = flow_run.parameters
    return f"{Path(parameters['job']).stem} · plan"


@flow(name="plan", flow_run_name=_run_name)
def plan_cycle(job: Path, cycle: CycleChoice = CycleChoice.AUTO) -> State:
    """Show what a cycle would do now; nothing is written to any system.

    Args:
        job: The job file.
        cycle: What to evaluate; auto decides by what the ledger remembers.
    """
    return look_ahead(job, cycle)
