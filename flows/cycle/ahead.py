"""A look ahead, as a flow run: the plan of a cycle that does not begin. Nothing is written, or remembered."""

from pathlib import Path
from random import SystemRandom

from prefect.client.schemas.objects import State
from prefect.states import Completed

from connectors.errors import ProvisorError
from flows.cycle.preview import Decision, preview
from flows.cycle.running import stopped
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
    return Completed(name=PLANNED, message=_sentence(decision))


def _sentence(decision: Decision) -> str:
    counts = decision.checked.plan.counts()
    what = ", ".join(f"{count:,} to {action}" for action, count in counts.items()) or "nothing to do"
    waiting = "; some of it would wait for approval" if decision.checked.waiting else ""
    return f"A cycle would have {what}{waiting}. Nothing was written."
