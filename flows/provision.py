"""One cycle of one job, top to bottom: read both sides, decide, judge, load, report.

    source ─ read ─┐                                                        ┌─ accounts in the target
                   ├─ check ─ scope ─ map ─ match ─ plan ─ guard ─ load ────┼─ ledger, snapshots
    target ─ see ──┘                                                        └─ artifacts

Every stage is one hop away in ``tasks``. Stages that read, write or take long run as Prefect tasks; the logic is plain
functions. ``flows.cycle.sight`` decides whether the target is listed or taken from its last known state. A crashed run
is not resumed: the next one reads both sides again and makes a new plan.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.runtime import flow_run
from prefect.task_runners import ThreadPoolTaskRunner

from connectors.contract import Snapshot
from connectors.errors import FatalError, HaltedError
from flows.cycle.ahead import look_ahead
from flows.cycle.attended import attended
from flows.cycle.plan_file import PlanRefusedError
from flows.cycle.preview import Decision, decide
from flows.cycle.running import Parcel, Running, ended, running_cycle, stopped
from flows.cycle.sight import CycleChoice, Sight, see_source, see_target
from flows.cycle.systems import recall
from tasks.agreement import check_agreement
from tasks.artifacts import publish_plan
from tasks.checks import refuse_empty
from tasks.extract import Facts, survey
from tasks.job import Job, JobError, Workers
from tasks.ledger import JobBusyError, JobPausedError, JobQuarantinedError, LeaseLostError
from tasks.load import FIRST_BATCH, Batch, BatchSizes, Loaded, load_batch, waves
from tasks.mapping import Mapper, map_entries

BATCHES_AT_ONCE = 3
"""Number of parallel load tasks, so that one sends while another records outcomes; they share the target's request
rate."""

STOPS = (
    FatalError,
    HaltedError,
    JobError,
    JobBusyError,
    JobPausedError,
    JobQuarantinedError,
    LeaseLostError,
    PlanRefusedError,
)
"""Errors that stop a cycle on purpose: the run ends as Stopped, with their message. Anything else is a bug."""

Send = Callable[[Batch], PrefectFuture[Any]]
"""Starts a load task."""


def _run_name() -> str:
    parameters: dict[str, Any] = flow_run.parameters
    choice = CycleChoice(parameters.get("cycle", CycleChoice.RECONCILE))
    what = choice if parameters.get("plan_file") is None else "apply"
    if parameters.get("plan_only"):
        what = "plan"
    return f"{Path(parameters['job']).stem} · {what}"


@flow(
    flow_run_name=_run_name,
    retries=1,
    retry_delay_seconds=5,
    task_runner=ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE),  # type: ignore[arg-type]
)
def provision(
    job: Path,
    plan_only: bool = False,
    cycle: CycleChoice = CycleChoice.AUTO,
    at_once: tuple[str, ...] = (),
    plan_file: Path | None = None,
) -> State:
    """Bring a job's target in step with its source.

    Args:
        job: The job file.
        plan_only: Show what would be done and change nothing.
        cycle: What to evaluate; auto chooses from the ledger.
        at_once: Anchors of failed entries to retry now, whatever their waiting time.
        plan_file: A reviewed plan, applied exactly or not at all.
    """
    if plan_only:
        return look_ahead(job, cycle)
    return attended(job, lambda: carry_out(job, cycle, at_once=at_once, plan_file=plan_file))


@flow(
    flow_run_name=_run_name,
    retries=1,
    retry_delay_seconds=5,
    task_runner=ThreadPoolTaskRunner(max_workers=BATCHES_AT_ONCE),  # type: ignore[arg-type]
)
def reconcile(job: Path, plan_only: bool = False) -> State:
    """List the whole target, report changes made outside Provisor, and bring it in step with the source.

    Args:
        job: The job file.
        plan_only: Show what would be done and change nothing.
    """
    if plan_only:
        return look_ahead(job, CycleChoice.RECONCILE)
    return attended(job, lambda: carry_out(job, CycleChoice.RECONCILE))


def carry_out(job: Path, choice: CycleChoice, *, at_once: tuple[str, ...] = (), plan_file: Path | None = None) -> State:
    """One cycle, inside a flow run; gives the run's final state."""
    try:
        with running_cycle(job, choice, flow_run_id=flow_run.id, at_once=at_once) as running:
            if plan_file is not None:
                running.take_up(plan_file)
            facts = survey(running.systems.source, running.systems.target)
            check_agreement(running.job, facts)

            source = read(Parcel(running), Parcel(facts))
            refuse_empty(source.content, running.job, members_before=running.ledger.source_members(running.job.name))
            target = see(Parcel(running), Parcel(facts))
            decision = plan(Parcel(running), source, target, Parcel(facts)).content
            running.keep_to_plan(decision)
            publish_plan(decision.checked, cycle=running.cycle.number, expected=decision.forecast.sentence)

            running.settle(decision)
            running.stage(decision)
            load(running, decision)
            running.remember(decision)
            running.keep_desired(decision)
    except STOPS as error:
        return stopped(error)
    return ended(running.report)


@task(task_run_name="read the source", cache_policy=NO_CACHE, persist_result=False)
def read(running: "Parcel[Running]", facts: "Parcel[Facts]") -> "Parcel[Snapshot]":
    """The source as it is now."""
    at = running.content
    snapshot = see_source(
        at.job,
        at.systems,
        at.ledger,
        facts.content,
        at.cycle.kind,
        at.context(),
        cycle=at.cycle,
        progress=at.reading("source"),
    )
    at.have_read("source", snapshot)
    return Parcel(snapshot)


@task(task_run_name="see the target", cache_policy=NO_CACHE, persist_result=False)
def see(running: "Parcel[Running]", facts: "Parcel[Facts]") -> "Parcel[Sight]":
    """The target as it is, or as it is known to be; see ``flows.cycle.sight``."""
    at = running.content
    sight = see_target(at.job, at.systems, at.ledger, facts.content, at.cycle.kind, progress=at.reading("target"))
    at.have_read("target", sight.snapshot)
    return Parcel(sight)


@task(task_run_name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan(
    running: "Parcel[Running]", source: "Parcel[Snapshot]", target: "Parcel[Sight]", facts: "Parcel[Facts]"
) -> "Parcel[Decision]":
    """What has to be done, judged by the guards; see ``tasks.plan.build_plan``."""
    at = running.content
    recalled = recall(at.ledger, at.job, at.clock(), at_once=at.at_once, reviewed=at.approved is not None)
    with _mapping(at.job) as mapper:
        decision = decide(
            at.job, at.systems, source.content, target.content, recalled, facts.content, at.context(), mapper=mapper
        )
    at.have_planned(decision)
    return Parcel(decision)


def _mapping(job: Job) -> AbstractContextManager[Mapper]:
    """Who does the mapping; other processes do that of a very large job."""
    if job.load.workers is not Workers.DASK:
        return nullcontext(map_entries)
    from flows.cycle.cluster import mapping

    return mapping()


def load(running: Running, decision: Decision) -> None:
    """Carry the plan out, wave after wave; the batches of one wave run side by side, and one more waits its turn."""
    sizes = BatchSizes(running.job.load.batch_size)
    with _sending(running, decision) as (send, at_once), running.loading(decision) as progress:
        for wave in waves(decision.checked.blocks, sizes):
            running.may_go_on()
            for loaded in progress.follow(map(send, wave), at_once=at_once):
                sizes.learn(loaded.content)
                running.have_loaded(loaded.content)
        running.lease.check()  # else what was left out of the last batch would count as done


@contextmanager
def _sending(running: Running, decision: Decision) -> Iterator[tuple[Send, int]]:
    """What begins a batch, and how many may be begun; other processes send a load that is worth starting them."""
    spread = running.job.load.workers is Workers.DASK
    if spread and sum(map(len, decision.checked.blocks)) > FIRST_BATCH:
        from flows.cycle.cluster import BATCHES_AT_ONCE as SPREAD_AT_ONCE
        from flows.cycle.cluster import spreading

        with spreading(running, decision) as send:
            yield send, SPREAD_AT_ONCE
        return
    yield lambda batch: load_one.submit(batch.title, Parcel(batch), Parcel(running)), BATCHES_AT_ONCE + 1


@task(task_run_name="{title}", cache_policy=NO_CACHE, persist_result=False)
def load_one(title: str, batch: "Parcel[Batch]", running: "Parcel[Running]") -> "Parcel[Loaded]":
    """Send one batch of changes and record what came of it; ``title`` is what people see as the task's name."""
    del title
    at = running.content
    at.may_go_on()
    with at.batches.sending():
        loaded = load_batch(
            batch.content, at.systems.target, at.ledger, at.cycle, clock=at.clock, progress=at.progress.advance
        )
    return Parcel(loaded)
