"""An event loop in a thread of its own, for connectors that are asynchronous inside and synchronous outside.

Whichever thread calls, the work runs on the same loop, so that connections are kept from one call to the next.
"""

import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

ResultT = TypeVar("ResultT")
NewsT = TypeVar("NewsT")


class BackgroundLoop:
    """The loop; its thread starts with the first piece of work and ends with ``close``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._manager: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None

    def start(self, work: Callable[..., Awaitable[ResultT]], *args: Any) -> "Future[ResultT]":
        """Begin a piece of work; cancelling the future cancels it."""
        with self._lock:
            if self._portal is None:
                from anyio.from_thread import start_blocking_portal

                self._manager = start_blocking_portal("asyncio", name=self._name)
                self._portal = self._manager.__enter__()
            return self._portal.start_task_soon(work, *args)

    def run(self, work: Callable[..., Awaitable[ResultT]], *args: Any) -> ResultT:
        """Do a piece of work and wait for it; an interrupted wait cancels it."""
        future = self.start(work, *args)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def run_telling(
        self, listen: Callable[[NewsT], None], work: Callable[..., Awaitable[ResultT]], *args: Any
    ) -> ResultT:
        """As ``run``; ``work`` gets a function as its last argument, by which it tells ``listen`` something."""
        news: News[NewsT] = News()
        future = self.start(work, *args, news.tell)
        try:
            for one in news.until(future):
                listen(one)
        except BaseException:
            future.cancel()
            raise
        return future.result()

    def run_to_its_end(
        self,
        take: Callable[[NewsT], None],
        work: Callable[..., Awaitable[None]],
        *args: Any,
        stop: Callable[[], None],
    ) -> None:
        """As ``run_telling``, and nothing that is told gets lost.

        An interrupt calls ``stop``, which has the work end by itself, and is raised when the rest has been taken.
        """
        news: News[NewsT] = News()
        future = self.start(work, *args, news.tell)
        told = news.until(future)
        while True:
            try:
                one = next(told)
            except StopIteration:
                return
            except KeyboardInterrupt:
                stop()
                for one in news.until(future):
                    take(one)
                raise
            try:
                take(one)
            except BaseException:
                stop()
                future.exception()  # waits for what is under way
                raise

    def close(self, last: Callable[[], Awaitable[None]] | None = None) -> None:
        """End the thread after a last piece of work; safe to call twice, and a no-op when nothing was ever run.

        Work that nobody waits for any more is cancelled: an interrupt may have come before anybody waited for it.
        """
        with self._lock:
            portal, self._portal = self._portal, None
            manager, self._manager = self._manager, None
        if portal is None or manager is None:
            return
        try:
            if last is not None:
                portal.call(last)
        finally:
            portal.call(portal.stop, True)
            manager.__exit__(None, None, None)


class News(Generic[NewsT]):
    """What a piece of work on a loop tells the thread that waits for it, in order."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[NewsT | Future[Any]] = queue.SimpleQueue()

    def tell(self, news: NewsT) -> None:
        """Called on the loop."""
        self._queue.put(news)

    def until(self, work: "Future[Any]") -> Iterator[NewsT]:
        """Everything told until the work has ended, and its exception if it ended with one."""
        work.add_done_callback(self._queue.put)
        while True:
            news = self._queue.get()
            if news is work:
                break
            yield news  # type: ignore[misc]
        try:
            work.result()
        except CancelledError as error:
            raise RuntimeError("The work was cancelled: its loop is closing.") from error
