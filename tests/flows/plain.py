"""Flow runs in this process without Prefect: a run is the flow's own body, and its tasks are the functions they wrap.

Everything of a run happens, in the same threads, but the orchestrator's books about it: no API is asked, no artifact is
published. That is a tenth of the time, so tests that are not about the orchestrator run like this.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import prefect.artifacts
import pytest
from prefect import Flow, Task
from prefect.client.schemas.objects import State

import flows.decisions.approval
import flows.on_demand
import flows.provision
import flows.undo
from flows.serve import local_api

_FLOWS = ((flows.provision, "provision"), (flows.undo, "undo"), (flows.on_demand, "provision_on_demand"))
_TASKS = ("read", "see", "plan")
_ARTIFACTS = ("create_markdown_artifact", "create_table_artifact", "update_progress_artifact")


@contextmanager
def plain_runs() -> Iterator[None]:
    """Runs that begin in this process while the block lasts are plain; processes of their own are not."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(flows.provision.BATCHES_AT_ONCE) as threads:
        for module, name in _FLOWS:
            patch.setattr(module, name, _body_of(getattr(module, name)))
        for name in _TASKS:
            patch.setattr(flows.provision, name, getattr(flows.provision, name).fn)
        patch.setattr(flows.provision, "load_one", _Submitting(flows.provision.load_one, threads))
        patch.setattr(local_api, "serving", _no_api)
        patch.setattr(local_api, "is_configured", lambda: False)  # other tests of this process may have set one up
        patch.setattr(flows.decisions.approval, "get_client", _no_client)
        patch.setattr(flows.decisions.approval, "waiting_runs", _no_runs)
        for name in _ARTIFACTS:
            patch.setattr(prefect.artifacts, name, _nothing)
        patch.setattr(prefect.artifacts, "create_progress_artifact", _some_artifact)
        yield


def _body_of(flow: "Flow[..., State[Any]]") -> Callable[..., "State[Any]"]:
    """What a flow does; a fault, which Prefect would turn into a state, is raised."""

    def run(*args: Any, return_state: bool, **named: Any) -> "State[Any]":
        assert return_state
        return flow.fn(*args, **named)

    return run


@dataclass(frozen=True, slots=True)
class _Submitting:
    """A task that runs in one of a few threads when it is submitted."""

    task: "Task[..., Any]"
    threads: Executor

    def submit(self, *args: Any) -> "_Submitted":
        return _Submitted(self.threads.submit(copy_context().run, self.task.fn, *args))


@dataclass(frozen=True, slots=True)
class _Submitted:
    """What ``flows.cycle.progress`` needs of a submitted task."""

    future: "Future[Any]"

    @property
    def state(self) -> "_Submitted":
        return self

    def is_final(self) -> bool:
        return self.future.done()

    def is_completed(self) -> bool:
        return self.future.done() and self.future.exception() is None

    def wait(self, timeout: float) -> None:
        wait_for([self.future], timeout)

    def result(self, *, raise_on_failure: bool) -> Any:
        assert not raise_on_failure
        return self.future.exception() or self.future.result()


@contextmanager
def _no_api(*_: Any) -> Iterator[Callable[[], None]]:
    yield _nothing


def _no_client(*, sync_client: bool) -> AbstractContextManager[None]:
    assert sync_client
    return nullcontext()


def _no_runs(*_: Any) -> list[Any]:
    return []


def _nothing(*_: Any, **__: Any) -> None:
    """Instead of something that only the orchestrator does."""


def _some_artifact(*_: Any, **__: Any) -> UUID:
    return UUID(int=0)
