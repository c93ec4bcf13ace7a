"""An event loop in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from connectors.background import BackgroundLoop, News


async def where() -> tuple[int, int]:
    return threading.get_ident(), id(asyncio.get_running_loop())


def test_every_caller_gets_the_same_loop() -> None:
    """Connections belong to a loop: whichever thread calls, the work runs on one and the same."""
    loop = BackgroundLoop("test")
    seen = [loop.run(where)]
    thread = threading.Thread(target=lambda: seen.append(loop.run(where)))
    thread.start()
    thread.join()
    loop.close()
    assert seen[0] == seen[1]
    assert seen[0][0] != threading.get_ident()


def test_it_ends_and_can_begin_again() -> None:
    """close ends the thread after the last piece of work, may be called twice, and is not the end for good."""
    loop = BackgroundLoop("a loop to be closed")
    done: list[str] = []

    async def last() -> None:
        done.append("last")

    loop.close(last)
    assert done == []
    loop.run(where)
    loop.close(last)
    loop.close(last)
    assert done == ["last"]
    assert not [thread for thread in threading.enumerate() if thread.name == "a loop to be closed"]
    loop.run(where)
    loop.close()


def test_its_end_waits_for_nobody() -> None:
    """Work that was begun and left, as an interrupt leaves it, does not hold up the end of the process."""
    loop = BackgroundLoop("test")
    left = loop.start(asyncio.sleep, 3600)
    loop.close()
    assert left.cancelled()


def test_news_arrive_in_order_and_before_the_end() -> None:
    """Everything that was told is heard, then the work's own exception."""
    loop = BackgroundLoop("test")
    news: News[int] = News()

    async def work() -> None:
        for number in range(100):
            news.tell(number)
        raise ValueError("at the end")

    heard: list[int] = []
    told = news.until(loop.start(work))
    heard += [next(told) for _ in range(100)]
    with pytest.raises(ValueError, match="at the end"):
        next(told)
    loop.close()
    assert heard == list(range(100))


def test_an_exception_reaches_the_caller() -> None:
    """What goes wrong on the loop goes wrong for who asked."""
    loop = BackgroundLoop("test")

    async def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        loop.run(fail)
    loop.close()


def test_what_a_piece_of_work_tells_is_heard_while_it_works() -> None:
    """Everything in order, then the result; an interrupt of the listener cancels the work."""
    loop = BackgroundLoop("test")
    heard: list[int] = []

    async def count(up_to: int, tell: Callable[[int], None]) -> str:
        for number in range(up_to):
            tell(number)
        return "done"

    async def count_and_wait(tell: Callable[[int], None]) -> None:
        tell(1)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            heard.append(-1)
            raise

    def interrupted(number: int) -> None:
        raise KeyboardInterrupt

    assert loop.run_telling(heard.append, count, 3) == "done"
    with pytest.raises(KeyboardInterrupt):
        loop.run_telling(interrupted, count_and_wait)
    loop.close()
    assert heard == [0, 1, 2, -1]


def test_work_that_is_interrupted_ends_by_itself_and_loses_nothing() -> None:
    """The listener fails at the first piece of news: the work is told to stop, and has ended when that is raised."""
    loop = BackgroundLoop("test")
    stop = threading.Event()
    ended: list[bool] = []

    async def work(tell: Callable[[int], None]) -> None:
        tell(1)
        while not stop.is_set():
            await asyncio.sleep(0.001)
        ended.append(True)

    def fail(number: int) -> None:
        raise OSError("no room left")

    with pytest.raises(OSError, match="no room left"):
        loop.run_to_its_end(fail, work, stop=stop.set)
    loop.close()
    assert ended == [True]
