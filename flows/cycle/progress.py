"""How far a cycle is, for the terminal and the UI."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future as ConcurrentFuture
from contextvars import ContextVar
from itertools import islice
from typing import Any, Protocol

from prefect.futures import PrefectFuture, PrefectWrappedFuture

from connectors.contract import Snapshot
from connectors.errors import HaltedError
from flows.cycle.batches import GRACE_S
from flows.cycle.forecast import NOTHING, Forecast, Remaining, pace_counts
from flows.cycle.preview import Decision
from tasks.artifacts import begin_progress, move_progress
from tasks.report import CycleReport


class Watcher(Protocol):
    """Somebody who looks on while a cycle runs: the terminal. Called from the thread that runs the cycle."""

    def reading(self, side: str, count: int) -> None:
        """So many entries of a side have been read so far."""

    def have_read(self, side: str, snapshot: Snapshot) -> None:
        """A side has been read."""

    def have_planned(self, decision: Decision) -> None:
        """The plan is made and judged; nothing has been written yet."""

    def loading(self, done: int, total: int, left: str) -> None:
        """So many of the plan's requests have been answered. ``left``: how much longer it takes, where it is known."""

    def ended(self, report: CycleReport) -> None:
        """The cycle is over, one way or the other."""


WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


ARTIFACT_S = 5.0
"""Seconds between two moves of the progress artifact: each is a request to the API, which costs more than a change."""


class Progress:
    """How far the load is: the watcher's bar, moved about once a second, and an artifact in the UI, more seldom."""

    def __init__(self, job: str, halt: Callable[[], None]) -> None:
        """``halt``: lets nothing more be sent; called when the run is interrupted."""
        self._job = job
        self._halt = halt
        self._lock = threading.Lock()
        self._done = 0
        self._total = 0
        self._remaining = Remaining(NOTHING)
        self._artifact: Any = None
        self._due = 0.0
        self.remembered: Mapping[str, int] = {}
        """What the cycle remembers of its load, once it is over."""

    def begin(self, expected: Forecast) -> None:
        """Shows an empty bar."""
        self._total, self._done = expected.requests, 0
        self._remaining = Remaining(expected)
        if self._total:
            left = self._remaining.sentence(0)
            self._artifact = begin_progress(self._job, self._total, left=left)
            self._show()

    def advance(self, count: int) -> None:
        """So many more requests have been answered; called from any thread."""
        with self._lock:
            self._done += count

    def follow(self, futures: Iterable[PrefectFuture[Any]], *, at_once: int) -> Iterator[Any]:
        """The results of load tasks as they end, moving the bar while waiting.

        A task is taken from ``futures``, which begins it, when fewer than ``at_once`` are under way, and none any more
        once one has failed. Raises: what a task raised, after all that were begun have ended, so that nothing is sent
        behind anybody's back, and after the results of the others.
        """
        waiting = iter(futures)
        begun: list[PrefectFuture[Any]] = []
        errors: list[BaseException] = []
        try:
            while True:
                if not errors:
                    begun += islice(waiting, at_once - len(begun))
                if not begun:
                    break
                begun[0].wait(timeout=1)
                self._show()
                for future in [future for future in begun if _has_ended(future)]:
                    begun.remove(future)
                    result = future.result(raise_on_failure=False)
                    if isinstance(result, BaseException):
                        errors.append(result)
                    else:
                        yield result
        except GeneratorExit:  # interrupted between two results
            self._halt()
            raise
        except BaseException:  # interrupted while waiting
            begun = [future for future in begun if not _called_off(future)]
            self._halt()
            yield from _results(begun, within_s=GRACE_S)
            raise
        if errors:  # that of the batch on whose account others were not begun
            raise next((error for error in errors if not isinstance(error, HaltedError)), errors[0])

    def end(self) -> None:
        """Leaves the bar where it is."""
        self.remembered = pace_counts(self._done, self._remaining.elapsed_s)
        self._due = 0.0
        if self._total:
            self._show()

    def _show(self) -> None:
        left = self._remaining.sentence(self._done)
        moment = time.monotonic()
        if self._artifact is not None and (moment >= self._due or self._done >= self._total):
            self._due = moment + ARTIFACT_S
            move_progress(self._artifact, self._done, self._total, left=left)
        if (watcher := WATCHER.get()) is not None:
            watcher.loading(self._done, self._total, left)


def _has_ended(future: PrefectFuture[Any]) -> bool:
    """True for a task that is over; asks nobody else, as long as the task runner is one of Prefect's own."""
    if isinstance(future, PrefectWrappedFuture):
        return bool(future.wrapped_future.done())
    return future.state.is_final()


def _called_off(future: PrefectFuture[Any]) -> bool:
    """True for a task that had not begun, and now never will. What another process has is called off there."""
    task = future.wrapped_future if isinstance(future, PrefectWrappedFuture) else None
    return isinstance(task, ConcurrentFuture) and task.cancel()


def _results(futures: Sequence[PrefectFuture[Any]], *, within_s: float) -> Iterator[Any]:
    """Results of the tasks that end well within so many seconds."""
    deadline = time.monotonic() + within_s
    for future in futures:
        future.wait(timeout=max(0.0, deadline - time.monotonic()))
        if future.state.is_completed():
            yield future.result(raise_on_failure=False)
