"""A look ahead, as a flow run: the plan of a cycle that does not begin. Nothing is written, or remembered."""

from pathlib import Path
from random import SystemRandom

from prefect.client.schemas.objects import State
from prefect.states import Completed

from connectors.errors import ProvisorError
from flows.cycle.preview import preview
from flows.cycle.running import stopped, to_do
from flows.cycle.sight import CycleChoice
from flows.cycle.systems import now, open_ledger, open_systems
from flows.decisions.own_job import own_job
from tasks.artifacts import publish_plan
from tasks.expressions import Context

PLANNED = "Planned"
"""Name of the final state of a run that only looked."""


def look_ahead(path: Path, choice: CycleChoice) -> State:
    """Publishes what a cycle would do now; gives the run's final state."""
    try:
        job = own_job(path)
        with open_ledger() as ledger, open_systems(job) as systems:
            decision = preview(job, systems, ledger, Context(now=now(), random=SystemRandom()), choice=choice)
    except ProvisorError as error:
        return stopped(error)
    publish_plan(decision.checked, expected=decision.forecast.sentence)
    waiting = "; some of the changes would wait for approval" if decision.checked.waiting else ""
    sentence = f"A cycle would have {to_do(decision.checked.plan)}{waiting}. Nothing was written."
    return Completed(name=PLANNED, message=sentence)
