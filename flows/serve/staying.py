"""A process that stays a while after the command that started it, so that the next command does not wait for its start.

What commands and the process know of each other lies in a folder of theirs. The files are locks, which the kernel gives
back however a process ends:

    turn      held while a command looks for the process, or starts it: two commands never start two
    alive     held by the process until it has ended
    used      shared by the commands that use the process; it ends when nobody has used it for some time
    address   where the process answers

A process whose folder is gone, or is another one by now, ends at once.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from connectors.errors import SettingsError
from tasks.private import make_file, make_folder, replace_file

MINUTES = "PROVISOR_STAY_MINUTES"
_MINUTES = 10
LOOK_S = 0.5
"""Between two looks of the process at its folder."""


def stay_s() -> float:
    """How long a process stays unused: 10 minutes, or what ``PROVISOR_STAY_MINUTES`` says. Raises: SettingsError."""
    text = os.environ.get(MINUTES) or str(_MINUTES)
    if not text.isdecimal() or int(text) > 1440:
        raise SettingsError(f"{MINUTES} is {text!r}: write a number of minutes from 0 to 1440.")
    return 60.0 * int(text)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """The process of this folder does not end by itself while the block runs."""
    make_folder(folder)
    with _locked(folder / "used", fcntl.LOCK_SH):
        os.utime(folder / "used")
        try:
            yield
        finally:
            with suppress(OSError):  # the state folder may be gone
                os.utime(folder / "used")


def find_or_start(folder: Path, address: Callable[[], str], start: Callable[[str, int], None]) -> str:
    """Where the process answers, now or soon; begun when there is none. Only inside :func:`in_use`.

    ``start`` is given the address that ``address`` has found, and a file descriptor that the process has to inherit.
    """
    with _locked(folder / "turn", fcntl.LOCK_EX):
        alive = os.open(make_file(folder / "alive"), os.O_RDWR)
        try:
            if not _taken(alive):
                return (folder / "address").read_text(encoding="utf-8")
            new = address()
            replace_file(folder / "address", new.encode())
            start(new, alive)
        finally:
            os.close(alive)
    return new


def is_alive(folder: Path) -> bool:
    """Whether the process of this folder is there."""
    with _locked(folder / "turn", fcntl.LOCK_EX), make_file(folder / "alive").open("r+b") as alive:
        return not _taken(alive.fileno())


class Stay:
    """What the process of a folder knows of its time; it asks every half second whether it has to end."""

    def __init__(self, folder: Path, length_s: float, *, unwanted: Callable[[], bool] = lambda: False) -> None:
        self._folder, self._length_s, self._unwanted = folder, length_s, unwanted
        self._ours = _identity(folder)
        self._touched, self._since = 0, time.monotonic()

    def is_over(self, tidy: Callable[[], None] = lambda: None) -> bool:
        """Whether it has to end now; no command can begin to use it from then on, until the process has ended.

        It ends unused for its time, or for a moment when it is unwanted. ``tidy`` is called while it is unused.
        """
        if _identity(self._folder) != self._ours:
            return True
        try:
            used = os.open(self._folder / "used", os.O_RDWR)
        except OSError:
            return True
        if not _taken(used) or os.fstat(used).st_mtime_ns != self._touched:
            self._touched, self._since = os.fstat(used).st_mtime_ns, time.monotonic()
        elif time.monotonic() - self._since >= self._length_s or self._unwanted():
            return True  # with the lock, which goes with the process
        else:
            tidy()
        os.close(used)
        return False


def _identity(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None


@contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with make_file(path).open("r+b") as file:
        fcntl.flock(file, kind)
        yield


def _taken(descriptor: int) -> bool:
    """Takes a lock for this process alone; False where another one has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
