"""A load spread over processes of this machine, by Dask: ``load: {workers: dask}`` in a job.

The run keeps the plan, cuts the batches and counts; the processes send them. Each has its own connection to the target
and to the ledger, and says there that it is loading, so that together they keep to the target's pace. They sign in by
themselves: credentials reach them as the references that stand in the job. Between the processes, what is sent is
encrypted, and nobody else is listened to.

What a batch may do is decided by the ledger, as always: it is journalled under the cycle's lease, and a change is sent
once in its life, so that a batch which Dask began anew would be refused. When a process dies, the cycle stops, and the
next one finds out what took effect.

Source: distributed documentation, "Plugins" and "TLS/SSL"; Prefect documentation, "prefect-dask".
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dask
from distributed import KilledWorker, Worker, WorkerPlugin, get_worker
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from connectors.contract import Target
from connectors.errors import FatalError
from connectors.wire_log import following
from flows.cycle import Batches, Parcel, Running, story
from flows.preview import Decision
from flows.running import send_what_is_queued
from flows.sharing import Share, sharing
from flows.systems import now, open_ledger, open_one_target
from tasks.job import Job
from tasks.ledger import Cycle, Ledger
from tasks.load import Batch, Loaded, load_batch
from tasks.quarantine import refuse_paused

PROCESSES = 2
THREADS = 2
"""Of each process, so that one batch is sent while another's outcomes are written down."""
BATCHES_AT_ONCE = PROCESSES * THREADS
"""None waits in a process, so that none begins there once another was stopped."""

_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # what was sent when a process died is looked for, never sent again
    "distributed.scheduler.http.routes": [],  # no pages about what is loaded
    "distributed.worker.http.routes": [],
    "distributed.admin.large-graph-warning-threshold": "1GB",  # a batch is as large as the target is quick
}

_CLUSTER = {
    "n_workers": PROCESSES,
    "threads_per_worker": THREADS,
    "processes": True,
    "security": True,
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",
    "memory_limit": 0,  # a process is not killed in the middle of a batch for being large
    "silence_logs": "CRITICAL",
}


class Loading(WorkerPlugin):
    """What one of the processes holds for the length of a load."""

    name = "provisor"

    def __init__(self, job: Job, target: str) -> None:
        self._job = job
        self._name_of_target = target

    async def setup(self, worker: Worker) -> None:
        """Opens the ledger and the target. Whoever interrupts the run, from a terminal say, does not interrupt us."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        self._open = ExitStack()
        self._batches = Batches()
        await asyncio.to_thread(self._set_up, f"{self._job.name} {worker.name}")

    def _set_up(self, name: str) -> None:
        share = Share()
        self._open.enter_context(following(os.environ.get("PROVISOR_WIRE_LOG")))
        self._ledger: Ledger = self._open.enter_context(open_ledger())
        self._target: Target = self._open.enter_context(open_one_target(self._job, share))
        self._open.enter_context(sharing(self._ledger, self._name_of_target, name, share, clock=now))

    async def teardown(self, worker: Worker) -> None:
        """Lets go of both; what the process has to say to the API is said first, because it ends without goodbye."""
        del worker
        await asyncio.to_thread(self._open.close)
        await asyncio.to_thread(send_what_is_queued)

    def load(self, batch: Batch, cycle: Cycle) -> Loaded:
        """Sends a batch. Raises: LeaseLostError, JobPausedError, HaltedError, FatalError."""
        self._batches.refuse_when_halted()
        if not cycle.kind.partial:
            refuse_paused(self._job.name, self._ledger.paused(self._job.name))
        with self._batches.sending():
            return load_batch(batch, self._target, self._ledger, cycle, clock=now)

    def halt(self) -> None:
        """Nothing more is sent. Returns when the batches that are under way have written down what came of them."""
        self._batches.stop(self._target)


@task(task_run_name="{title}", cache_policy=NO_CACHE, persist_result=False)
def load_there(title: str, batch: "Parcel[Batch]", cycle: "Parcel[Cycle]") -> "Parcel[Loaded]":
    """What ``flows.provision.load_one`` does, in one of the processes."""
    del title
    return Parcel(_loading(get_worker()).load(batch.content, cycle.content))


def _loading(worker: Worker) -> Loading:
    plugin = worker.plugins[Loading.name]
    assert isinstance(plugin, Loading)
    return plugin


async def _halt_there(dask_worker: Worker) -> None:
    await asyncio.to_thread(_loading(dask_worker).halt)


class _Sent(PrefectDaskFuture[Any]):
    """A batch that was given to a process."""

    def result(self, timeout: float | None = None, raise_on_failure: bool = True) -> Any:
        try:
            return super().result(timeout, raise_on_failure)
        except KilledWorker as error:
            lost = FatalError(
                "A process that was loading died, and its batch with it; the system may have run out of memory. What "
                "was sent is recorded, and the next cycle finds out what took effect."
            )
            if raise_on_failure:
                raise lost from error
            return lost


@contextmanager
def spreading(running: Running, decision: Decision) -> Iterator[Callable[[Batch], PrefectFuture[Any]]]:
    """Gives what sends a batch, by processes that end with the block. Raises: what opening the target raises."""
    story().info("Starting %d processes that load.", PROCESSES)
    with dask.config.set(_SETTINGS), DaskTaskRunner(cluster_kwargs=_CLUSTER) as runner:
        client = runner.client
        client.register_plugin(Loading(running.job, decision.checked.plan.target))

        def send(batch: Batch) -> PrefectFuture[Any]:
            running.may_go_on()
            parameters = {"title": batch.title, "batch": Parcel(batch), "cycle": Parcel(running.cycle)}
            future = runner.submit(load_there, parameters)
            return _Sent(future.task_run_id, future.wrapped_future)

        running.halt_others = lambda: client.run(_halt_there)
        try:
            yield send
        finally:
            running.halt_others = None
