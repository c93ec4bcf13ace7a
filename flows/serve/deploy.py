"""Deployments: every job of a folder as runs that people start by a form, and that its schedule starts by itself.

A job has six: its cycle (``provision``), its plan, which writes nothing, one that looks at the whole target
(``reconcile``), one entry on demand (``provision-on-demand``), a restart, and a decision about what its guards hold.
Those that write share one slot, so that a cycle that takes long delays what comes next instead of being overtaken.
Deploying again changes what is there.
"""

import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.client.schemas.sorting import DeploymentSort
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from flows.cycle.following import AFTER, JOB
from flows.decide import decide
from flows.maintain import restart
from flows.on_demand import provision_on_demand
from flows.plan import plan_cycle
from flows.provision import provision, reconcile
from flows.serve.jobs_of import jobs_of
from flows.show.picture import picture, schedule_sentence
from tasks.job import Job, Schedule
from tasks.markdown import NOTHING, markdown, page

POOL = "provisor"
"""The work pool whose workers run deployments."""

CHECKOUT = Path(__file__).parents[2]
"""Where runs work: job files are named by whole paths, so that only the product itself must be found here."""

TAG = "provisor"
"""Of every deployment of ours."""
_AT_ONCE = 200
"""Deployments that the server gives at a time."""
_ANCHOR_DAY = datetime(2024, 1, 1)  # noqa: DTZ001 (in the zone of each schedule)
"""A Monday midnight from which intervals are counted, so that deploying again does not move them."""


@dataclass(frozen=True, slots=True)
class Form:
    """One of a job's deployments."""

    flow: Flow[..., Any]
    suffix: str
    """Added to the job's name."""
    says: str
    """What it does, above the job's picture."""
    hidden: tuple[str, ...] = ("job",)
    """Parameters that nobody is asked for."""
    scheduled: bool = False
    exclusive: bool = True
    """Whether it waits for the job's other runs."""

    def name(self, job: Job) -> str:
        """The deployment's name."""
        return f"{job.name}{self.suffix}"

    @property
    def entrypoint(self) -> str:
        """Where a worker finds the flow."""
        return f"{self.flow.fn.__module__}.{self.flow.fn.__name__}"


FORMS = (
    Form(
        provision,
        "",
        "Runs one cycle of the job: reads both sides, plans, judges, loads, reports. What its guards hold waits for "
        "a person: the run asks by a form.",
        hidden=("job", "plan_file"),
        scheduled=True,
    ),
    Form(plan_cycle, "-plan", "Shows what a cycle would do now; nothing is written to any system.", exclusive=False),
    Form(reconcile, "-reconcile", "Runs a cycle that lists the whole target and reports what others changed there."),
    Form(provision_on_demand, "-on-demand", "Provisions one user, or one group with its members, now."),
    Form(restart, "-restart", "Clears what the job remembers, so that the next cycle starts afresh."),
    Form(
        decide,
        "-decide",
        "Approves or rejects what the job's guards hold, including changes that no run asks about.",
        hidden=("job", "waiting_run"),
        exclusive=False,
    ),
)
"""The deployments of a job."""


@dataclass(slots=True)
class Deployed:
    """What deploying a folder did."""

    jobs: list[Job] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    """Names of jobs that had no deployments before."""
    gone: list[str] = field(default_factory=list)
    """Names of deployments that are paused, because the file of their job is gone."""

    @property
    def sentences(self) -> list[str]:
        """What was done, for people."""
        said = [
            f"{job.name}: {'deployed' if job.name in self.new else 'brought up to date'}, starts "
            f"{schedule_sentence(job.schedule)}"
            for job in self.jobs
        ]
        return said + [f"{name}: paused, because the file of its job is gone" for name in self.gone]


def deploy_folder(folder: Path) -> Deployed:
    """Deploys every job file of a folder to the Prefect API that is configured. Raises: JobError, before anything."""
    jobs = jobs_of(folder)
    with get_client(sync_client=True) as client:
        _make_pool(client)
        before = _deployed_from(client, folder)
        deployed = Deployed(jobs)
        for job in jobs:
            slot = _slot_of(client, job)
            if not any(one.parameters["job"] == str(job.file) for one in before.values()):
                deployed.new.append(job.name)
            for form in FORMS:
                _deploy(client, job, form, slot if form.exclusive else None)
        names = {form.name(job) for job in jobs for form in FORMS}
        for name, one in before.items():
            if name not in names:
                client.pause_deployment(one.id)
                deployed.gone.append(name)
    return deployed


def _make_pool(client: SyncPrefectClient) -> None:
    """The work pool, if there is none yet; each run is a process."""
    try:
        client.read_work_pool(POOL)
    except ObjectNotFound:
        pool = WorkPoolCreate(
            name=POOL,
            type=ProcessWorker.type,
            description="Runs the cycles of Provisor's jobs.",
            base_job_template=ProcessWorker.get_default_base_job_template(),
        )
        try:
            client.create_work_pool(pool)
        except ObjectAlreadyExists:
            return


def _deployed_from(client: SyncPrefectClient, folder: Path) -> dict[str, DeploymentResponse]:
    """Deployments of jobs in a folder, by name; those that were paused because their file went are none."""
    return {
        one.name: one
        for one in deployments_of_ours(client)
        if not one.paused and Path(str(one.parameters.get("job", ""))).parent == folder.absolute()
    }


def deployments_of_ours(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Every deployment that Provisor has made, of whatever folder; the server gives them in parts."""
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found: list[DeploymentResponse] = []
    while some := client.read_deployments(
        deployment_filter=ours, limit=_AT_ONCE, offset=len(found), sort=DeploymentSort.NAME_ASC
    ):
        found += some
    return found


def _slot_of(client: SyncPrefectClient, job: Job) -> str:
    """The id of the limit that lets one run of the job at a time."""
    name = f"job:{job.name}"
    try:
        return str(client.read_global_concurrency_limit_by_name(name).id)
    except ObjectNotFound:
        return str(client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1)))


def _deploy(client: SyncPrefectClient, job: Job, form: Form, slot: str | None) -> None:
    """Makes a deployment or brings it up to date. A schedule that somebody switched off stays off."""
    flow_id = client.create_flow_from_name(form.flow.name)
    known = _known(client, f"{form.flow.name}/{form.name(job)}")
    content: dict[str, Any] = {
        "name": form.name(job),
        "flow_id": str(flow_id),
        "entrypoint": form.entrypoint,
        "work_pool_name": POOL,
        "job_variables": {"command": f"{sys.executable} -m flows.serve.engine", "working_dir": str(CHECKOUT)},
        "pull_steps": [],
        "parameters": {"job": str(job.file)},
        "parameter_openapi_schema": schema_of(form),
        "enforce_parameter_schema": True,
        "description": page([markdown(form.says), NOTHING, picture(job)]),
        "tags": tags_of(job, form),
        "version": job.fingerprint()[:12],
        "paused": False,
        "concurrency_options": {"collision_strategy": "ENQUEUE"},
        "schedules": _schedules(job.schedule, known) if form.scheduled else [],
    }
    if slot is not None:
        content["global_concurrency_limit_id"] = slot
    client.request("POST", "/deployments/", json=content).raise_for_status()


def tags_of(job: Job, form: Form) -> list[str]:
    """By which its deployments are found: as ours, as the job's, and as what runs after other jobs."""
    after = [f"{AFTER}{name}" for name in job.after] if form.scheduled else []
    return [TAG, f"{JOB}{job.name}", *after]


def _known(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def schema_of(form: Form) -> dict[str, Any]:
    """The form's parameters as JSON Schema, without what nobody is asked for; first whether only to look."""
    schema: dict[str, Any] = parameter_schema(form.flow.fn).model_dump(exclude_unset=True)
    asked = [name for name in schema["properties"] if name not in form.hidden]
    asked.sort(key=lambda name: name != "plan_only")
    schema["properties"] = {
        name: {**_one_type(schema["properties"][name]), "title": _title(name), "position": place}
        for place, name in enumerate(asked)
    }
    schema["required"] = [name for name in schema.get("required", ()) if name not in form.hidden]
    return schema


def _one_type(asked: dict[str, Any]) -> dict[str, Any]:
    """A field that may be left empty: where a type *or nothing* is asked for, Prefect's form offers two tabs."""
    types = [one for one in asked.get("anyOf", ()) if one.get("type") != "null"]
    if len(types) != 1:
        return asked
    kept = {key: value for key, value in asked.items() if key not in ("anyOf", "default")}
    return {**kept, **types[0]}


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _schedules(schedule: Schedule | None, known: DeploymentResponse | None) -> list[dict[str, Any]]:
    if schedule is None:
        return []
    rhythm = rhythm_of(schedule).model_dump(mode="json")
    before = known.schedules or [] if known is not None else []
    same = [one for one in before if one.schedule.model_dump(mode="json") == rhythm]
    return [{"schedule": rhythm, "active": all(one.active for one in same)}]


def rhythm_of(schedule: Schedule) -> IntervalSchedule | CronSchedule:
    """A job's schedule as Prefect's own."""
    if (rhythm := schedule.rhythm) is not None:
        anchor = _ANCHOR_DAY.replace(tzinfo=ZoneInfo(schedule.timezone))
        return IntervalSchedule(interval=rhythm, anchor_date=anchor, timezone=schedule.timezone)
    return CronSchedule(cron=schedule.cron or "", timezone=schedule.timezone)
