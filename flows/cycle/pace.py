"""A target's pace, shared by everybody who loads it: jobs and machines that have one ledger.

Each says there that it is loading, every few seconds, and takes the pace that its job allows divided by the number of
those who do. A run that joins waits until the others must have seen it, so that the total is never exceeded; one that
dies is missed a little later, and until then the others are slower than they would have to be.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import datetime, timedelta

from connectors.errors import ProvisorError
from tasks.ledger import Ledger

EVERY_S = 2.0
"""Seconds between two looks at who else is loading."""
PRESENT = timedelta(seconds=20)
"""How long somebody counts as present who says nothing."""

_LOG = logging.getLogger("provisor")


class Share:
    """The part of a target's pace that is ours now; ``connectors.contract.Pace`` asks it."""

    def __init__(self) -> None:
        self.workers = 1
        """So many load the target, as far as is known."""

    def __call__(self) -> float:
        return 1 / self.workers


@contextmanager
def sharing(
    ledger: Ledger,
    target: str,
    worker: str,
    share: Share,
    *,
    clock: Callable[[], datetime],
    patient: bool = True,
    every_s: float = EVERY_S,
) -> Iterator[None]:
    """While a worker loads a target, ``share`` is its part. ``patient``: it begins when the others know of it."""
    ended = threading.Event()

    def look() -> None:
        try:
            share.workers = ledger.share_pace(target, worker, now=clock(), duration=PRESENT)
        except ProvisorError as error:  # the ledger is away for a moment: what was known is the best guess
            _LOG.warning("Who else loads %s cannot be seen: %s", target, error)

    def keep_looking() -> None:
        while not ended.wait(every_s):
            look()

    context = copy_context()  # so that what the thread logs is told in the run's own log
    thread = threading.Thread(target=context.run, args=(keep_looking,), name="pace", daemon=True)
    try:
        look()
        thread.start()
        if share.workers > 1:
            _LOG.info("%d other runs are loading %s; they share its request rate.", share.workers - 1, target)
            if patient:
                ended.wait(1.5 * every_s)
        yield
    finally:
        ended.set()
        if thread.ident is not None:
            thread.join()
        share.workers = 1
        try:
            ledger.leave_pace(target, worker)
        except ProvisorError as error:
            _LOG.warning("That nothing more is sent to %s cannot be told: %s", target, error)
