"""The batches of a load that are being sent, and how they are stopped."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from connectors.contract import Haltable, Target
from connectors.errors import FatalError, HaltedError

GRACE_S = 5.0
"""How long an interrupted run waits for the answers to requests that are under way."""
PATIENCE_S = 15.0
"""How long it waits until what came of them is written down; a worker kills it after 30 s."""


class Batches:
    """The batches that are being sent, from whatever thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sending = 0
        self._halted = False

    @contextmanager
    def sending(self) -> Iterator[None]:
        """While one batch is sent; no other begins once one of them was stopped. Raises: HaltedError."""
        with self._changed:
            self.refuse_when_halted()
            self._sending += 1
        try:
            yield
        except FatalError:
            self._halted = True
            raise
        finally:
            with self._changed:
                self._sending -= 1
                self._changed.notify_all()

    def halt(self) -> bool:
        """No more batches; True when some are under way."""
        with self._changed:
            self._halted = True
            return self._sending > 0

    def wait(self, seconds: float) -> None:
        """Returns when no batch is under way, or after so long."""
        with self._changed:
            self._changed.wait_for(lambda: not self._sending, timeout=seconds)

    def stop(self, target: Target) -> None:
        """No more batches to this target; returns when those under way have written down what came of them."""
        if self.halt() and isinstance(target, Haltable):
            target.halt(grace_s=GRACE_S)
        self.wait(PATIENCE_S)

    def refuse_when_halted(self) -> None:
        """Passes while batches may be sent. Raises: HaltedError."""
        if self._halted:
            raise HaltedError("The run was interrupted.")
