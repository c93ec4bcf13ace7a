"""A deployment is about one job: whoever may start it may not have the worker read another file."""

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.states import State

from flows.decisions.own_job import ForeignJobError, _refuse_foreign
from flows.on_demand import provision_on_demand
from flows.plan import plan_cycle
from flows.provision import provision, reconcile
from flows.serve.deploy import FORMS, Form, deploy_folder, schema_of
from tasks.ledger import Ledger
from tests.flows.workplace import Workplace, writes
from tests.servers.scim_service import ScimService

ASKS = {
    "provision": {},
    "plan": {},
    "reconcile": {},
    "provision-on-demand": {"identity": "000015"},
    "restart": {},
    "decide": {"decision": "Approve everything", "by": "eve"},
}
"""What each form is asked besides the job."""


def test_its_own_file_passes_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project file names jobs from its folder on."""
    monkeypatch.chdir(tmp_path)
    _refuse_foreign(tmp_path / "jobs" / ".." / "job.yaml", "hr", "job.yaml")
    with pytest.raises(ForeignJobError, match=r"The deployment hr runs job\.yaml, and this run names"):
        _refuse_foreign(tmp_path / "other.yaml", "hr", "job.yaml")
    with pytest.raises(ForeignJobError, match="runs no job file"):
        _refuse_foreign(tmp_path / "other.yaml", "hr", None)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.flow.name)
def test_no_form_takes_another_job(
    form: Form, small: Workplace, service: ScimService, prefect_api: str, tmp_path: Path
) -> None:
    """The hidden parameter is looked at by every flow that has a form; nothing is read and nothing is written."""
    other = tmp_path / "other.yaml"
    other.write_bytes(small.job.read_bytes())
    deploy_folder(small.folder)
    name = f"{form.flow.name}/hr-to-scim{form.suffix}"
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(name)
        asked = ASKS[form.flow.name]
        run = client.create_flow_run_from_deployment(deployment.id, parameters={"job": str(other), **asked})
        service.reset_counts()
        state: State = run_flow(form.flow, flow_run=run, parameters=run.parameters, return_type="state")
    assert (state.name, state.is_failed()) == ("Stopped", True)
    assert "this run names" in (state.message or "")
    assert service.requests == {}


def test_a_first_click_changes_nothing(small: Workplace, service: ScimService, prefect_api: str) -> None:
    """The plan's deployment, and the first field of each form of a cycle: no write, no cycle in the ledger."""
    service.reset_counts()
    looks = (
        plan_cycle(small.job, return_state=True),
        provision(small.job, plan_only=True, return_state=True),
        reconcile(small.job, plan_only=True, return_state=True),
        provision_on_demand(small.job, "000006", plan_only=True, return_state=True),
    )
    assert {state.name for state in looks} == {"Planned"}
    assert all("create" in str(state.message) and "Nothing was written." in str(state.message) for state in looks)
    assert not writes(service)
    with Ledger.open(None, small.home) as ledger:
        assert ledger.jobs() == []
    for form in FORMS[:4]:
        asked = [name for name in schema_of(form)["properties"] if name != "cycle"]
        assert asked[:1] == ([] if form.flow is plan_cycle else ["plan_only"])
