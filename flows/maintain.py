"""Restart a job by a form of Prefect's UI: what ``provisor restart`` does."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from connectors.errors import ProvisorError
from flows.cycle.running import stopped
from flows.cycle.systems import now, open_ledger
from flows.decisions.answer import answered
from flows.decisions.maintenance import USUAL, RequestError, Scope, count_links, scopes_of
from flows.decisions.maintenance import restart as clear
from flows.decisions.own_job import own_job
from tasks.ledger import JobBusyError

_USUAL = sorted(USUAL)


def _run_name() -> str:
    parameters: dict[str, Any] = flow_run.parameters
    return f"{Path(parameters['job']).stem} · {flow_run.flow_name}"


@flow(name="restart", flow_run_name=_run_name)
def restart(job: Path, scopes: list[Scope] = _USUAL, break_links: bool = False) -> State:
    """Clear what a job remembers, so that its next cycle starts afresh; no account is touched by it.

    Args:
        job: The job file.
        scopes: What to clear.
        break_links: Needed where links are cleared: a person who is not found again by a matching attribute gets a
            second account, or keeps an account that Provisor does not manage.
    """
    try:
        loaded = own_job(job)
        wanted = scopes_of(",".join(scopes))
        with open_ledger() as ledger:
            if Scope.LINKS in wanted and not break_links:
                links = count_links(ledger, loaded.name)
                raise RequestError(f"{links:,} links of {loaded.name} would be broken: confirm with break_links.")
            restarted = clear(ledger, loaded.name, wanted, clock=now)
    except (ProvisorError, JobBusyError) as error:
        return stopped(error)
    return answered(loaded, " ".join(restarted.sentences))
