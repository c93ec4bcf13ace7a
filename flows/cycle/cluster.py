"""Work spread over processes of this machine, by Dask: ``load: {workers: dask}`` in a job.

Of a load, the run keeps the plan, cuts the batches and counts; the processes send them. Each has its own connection to
the target and to the ledger, and says there that it is loading, so that together they keep to the target's pace. They
sign in by themselves: credentials reach them as the references that stand in the job. Between the processes, what is
sent is encrypted, and nobody else is listened to. Of a very large job the mapping is spread as well, by parts of the
entries (``tasks.partition``).

What a batch may do is decided by the ledger, as always: it is journalled under the cycle's lease, and a change is sent
once in its life, so that a batch which Dask began anew would be refused. When a process dies, the cycle stops, and the
next one finds out what took effect.

Source: distributed documentation, "Plugins" and "TLS/SSL"; Prefect documentation, "prefect-dask".
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random, SystemRandom
from typing import Any

import dask
from distributed import Client, KilledWorker, Worker, WorkerPlugin, get_worker
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture
from prefect_dask.task_runners import DaskTaskRunner, PrefectDaskFuture

from connectors.contract import Attribute, Target
from connectors.errors import FatalError
from connectors.wire_log import following
from flows.cycle.batches import Batches
from flows.cycle.draining import send_what_is_queued
from flows.cycle.lease import following as follow_lease
from flows.cycle.pace import Share, sharing
from flows.cycle.preview import Decision
from flows.cycle.running import Parcel, Running, story
from flows.cycle.systems import now, open_ledger, open_one_target
from tasks.expressions import Context
from tasks.job import EntryRules, Job
from tasks.ledger import Cycle, Ledger, SentBeforeError
from tasks.load import Batch, Loaded, load_batch
from tasks.mapping import Desired, Mapper, map_entries
from tasks.partition import map_in_parts, map_part
from tasks.quarantine import refuse_paused
from tasks.scope import Scoped

PROCESSES = 2
THREADS = 2
"""Of each process, so that one batch is sent while another's outcomes are written down."""
BATCHES_AT_ONCE = PROCESSES * THREADS
"""None waits in a process, so that none begins there once another was stopped."""
SAMPLE = 5_000
"""Entries by which it is judged how long the mapping takes."""
SENDING_S = 0.000_1
"""Seconds of mapping an entry from which on it pays to send it to a process and back, which takes a third of that."""
WORTHWHILE_S = 30.0
"""Seconds of mapping for which it pays to start processes."""

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


_LOST = "The requests sent are recorded, and the next cycle finds out which took effect."


class Undisturbed(WorkerPlugin):
    """Ctrl-C in a terminal interrupts the run, not its processes: the run ends them."""

    name = "undisturbed"

    async def setup(self, worker: Worker) -> None:
        """Runs in the main thread of the process."""
        del worker
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


class Loading(WorkerPlugin):
    """What one of the processes holds for the length of a load."""

    name = "provisor"

    def __init__(self, job: Job, target: str, *, fence: int, lease: timedelta) -> None:
        """``fence`` and ``lease``: of the run's lease; how long it lasts."""
        self._job = job
        self._name_of_target = target
        self._fence = fence
        self._lease = lease

    async def setup(self, worker: Worker) -> None:
        """Opens the ledger and the target."""
        self._open = ExitStack()
        self._batches = Batches()
        await asyncio.to_thread(self._set_up, f"{self._job.name} {worker.name}")

    def _set_up(self, name: str) -> None:
        share = Share()
        self._open.enter_context(following(os.environ.get("PROVISOR_WIRE_LOG")))
        self._ledger: Ledger = self._open.enter_context(open_ledger())
        permit = self._open.enter_context(
            follow_lease(self._ledger, self._job.name, self._fence, clock=now, duration=self._lease)
        )
        self._target: Target = self._open.enter_context(open_one_target(self._job, share, permit))
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
        try:
            with self._batches.sending():
                return load_batch(batch, self._target, self._ledger, cycle, clock=now)
        except SentBeforeError as error:  # Dask begins anew what only a process that died could have given back
            raise _died(_LOST) from error

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
            result = super().result(timeout, raise_on_failure)
        except KilledWorker as error:
            lost = _died(_LOST)
            if raise_on_failure:
                raise lost from error
            return lost
        # Else Dask would begin the batch anew, should the process with its result die.
        self.wrapped_future.release()  # type: ignore[no-untyped-call]
        return result


def _died(what_now: str) -> FatalError:
    return FatalError(
        f"One of the processes that work for the run died; the machine may have run out of memory. {what_now}"
    )


@contextmanager
def _processes(work: str) -> Iterator[DaskTaskRunner]:
    """Processes that end with the block. ``work``: what they do, for the log."""
    story().info("Starting %d processes that %s.", PROCESSES, work)
    with dask.config.set(_SETTINGS), DaskTaskRunner(cluster_kwargs=_CLUSTER) as runner:
        runner.client.register_plugin(Undisturbed())
        yield runner


@contextmanager
def spreading(running: Running, decision: Decision) -> Iterator[Callable[[Batch], PrefectFuture[Any]]]:
    """Gives what sends a batch, by processes that end with the block. Raises: what opening the target raises."""
    with _processes("load") as runner:
        client = runner.client
        lease = running.lease
        there = Loading(running.job, decision.checked.plan.target, fence=lease.lease.fence, lease=lease.duration)
        client.register_plugin(there)

        def send(batch: Batch) -> PrefectFuture[Any]:
            running.may_go_on()
            parameters = {"title": batch.title, "batch": Parcel(batch), "cycle": Parcel(running.cycle)}
            future = runner.submit(load_there, parameters)
            return _Sent(future.task_run_id, future.wrapped_future)

        # A process that died has nothing to halt any more, and the one that comes after it nothing yet.
        running.halt_others = lambda: client.run(_halt_there, on_error="ignore")
        try:
            yield send
        finally:
            running.halt_others = None


Pays = Callable[[EntryRules, Scoped, Context, Mapping[str, Attribute] | None], bool]
"""Whether the entries of one kind are better mapped by processes."""


def pays(rules: EntryRules, scoped: Scoped, context: Context, schema: Mapping[str, Attribute] | None = None) -> bool:
    """Whether to map here would take much longer than to send everybody to and fro; some of them tell."""
    some = replace(scoped, entries=scoped.entries.iloc[:SAMPLE])
    began = time.process_time()
    map_entries(rules, some, context, schema=schema)
    each_s = (time.process_time() - began) / max(1, len(some.entries))
    return each_s > SENDING_S and each_s * len(scoped.entries) > WORTHWHILE_S


@contextmanager
def mapping(*, where: Pays = pays) -> Iterator[Mapper]:
    """Gives what maps entries; processes that do so, where it pays, end with the block.

    Raises (by what it gives): SettingsError, FatalError.
    """
    with ExitStack() as stack:
        runners: list[DaskTaskRunner] = []

        def mapper(
            rules: EntryRules,
            scoped: Scoped,
            context: Context,
            *,
            schema: Mapping[str, Attribute] | None = None,
        ) -> Desired:
            # Chance that can be repeated is drawn from in one order.
            if not isinstance(context.random, SystemRandom) or not where(rules, scoped, context, schema):
                return map_entries(rules, scoped, context, schema=schema)
            if not runners:
                runners.append(stack.enter_context(_processes("map")))
            there = _MappingThere(runners[0].client, rules, context, schema)
            return map_in_parts(rules, scoped, context, schema=schema, parts=PROCESSES, map_parts=there)

        yield mapper


@dataclass(frozen=True, slots=True)
class _MappingThere:
    """Has processes map parts; see ``tasks.partition.MapParts``."""

    client: Client
    rules: EntryRules
    context: Context
    schema: Mapping[str, Attribute] | None

    def __call__(self, parts: Sequence[Scoped]) -> Sequence[Desired]:
        plain = replace(self.context, random=Random())  # the system's chance cannot be sent; each process has its own
        mapped = [
            self.client.submit(map_part, self.rules, part, plain, self.schema, pure=False)
            for part in self.client.scatter(list(parts), hash=False)  # type: ignore[no-untyped-call]
        ]
        try:
            return list(self.client.gather(mapped))  # type: ignore[no-untyped-call]
        except KilledWorker as error:
            raise _died("Nothing was sent; the next cycle starts over.") from error
