"""``provisor`` commands as processes of their own, forked from one that has everything loaded.

To load the product takes longer than most commands run. A fork is a process like any other: it has an id, signals, an
environment, a folder and output of its own, and can be killed. One server for all tests of this process forks them.
"""

import atexit
import ctypes
import gc
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parents[2]
"""The checkout."""
_LARGEST = 1 << 17
_NUMBER = 12
"""Characters of a number that the server tells: a process's id, and how the process ended."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Forked:
    """A command that runs, or has run, with as much of ``subprocess.Popen`` as tests need."""

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.args = list(words)
        self.returncode: int | None = None
        """As that of ``subprocess.Popen``: minus the signal that killed it."""
        self._said: tuple[str, str] | None = None
        self._out, self._err = os.memfd_create("out"), os.memfd_create("err")
        self._status, theirs = os.pipe()
        asked = json.dumps([self.args, str(folder), dict(environment)]).encode()
        socket.send_fds(_server(), [asked], [self._out, self._err, theirs])
        os.close(theirs)
        self.pid = self._told()

    def poll(self) -> int | None:
        """How it has ended, if it has."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """How it has ended. Raises: subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = self._told()
            os.close(self._status)
        return self.returncode

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """What it has said, once it has ended. Raises: subprocess.TimeoutExpired."""
        self.wait(timeout)
        if self._said is None:
            self._said = _read(self._out), _read(self._err)
        return self._said

    def send_signal(self, number: int) -> None:
        """Tells it something, if it is still there."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it without a warning."""
        self.send_signal(signal.SIGKILL)

    def _told(self) -> int:
        """The next number that the server tells of it."""
        return int(os.read(self._status, _NUMBER))


def _read(file: int) -> str:
    with open(file, encoding="utf-8") as stream:
        stream.seek(0)
        return stream.read()


@cache
def _server() -> socket.socket:
    """The way to the server, which ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PROVISOR_", "GX_"))}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.forked", str(theirs.fileno())],
        cwd=ROOT,
        env=kept | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    atexit.register(server.wait, 60)
    atexit.register(ours.close)  # which is called first
    return ours


# --- in the server ---------------------------------------------------------------------------------------------------


def main() -> None:
    """Loads what commands load, forks them, and tells how they end, until no test asks any more."""
    from flows.cli.warm_process import _HEAVY, _LIGHT
    from flows.serve.local_api import QUIET

    os.environ |= QUIET
    for name in (*_LIGHT, *_HEAVY, "prefect.artifacts", "tasks.ledger.migrations.run"):
        import_module(name)
    assert threading.active_count() == 1, "what was loaded has started a thread, which no fork would have"
    gc.collect()
    gc.freeze()
    asking = socket.socket(fileno=int(sys.argv[1]))
    running: dict[int, tuple[int, int]] = {}
    """By a handle that is readable when it has ended: a fork's id, and where to tell how."""
    while True:
        ready, _, _ = select.select([asking.fileno(), *running], [], [])
        for handle in running.keys() & ready:
            pid, status = running.pop(handle)
            with suppress(BrokenPipeError):
                os.write(status, b"%*d" % (_NUMBER, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
            os.close(handle)
            os.close(status)
        if asking.fileno() in ready:
            asked, streams, _, _ = socket.recv_fds(asking, _LARGEST, 3)
            if not asked:
                return
            if not (pid := os.fork()):
                asking.close()
                for handle, (_, status) in running.items():
                    os.close(handle)
                    os.close(status)
                words, folder, environment = json.loads(asked)
                _become(words, folder, environment, streams)
            os.write(streams[2], b"%*d" % (_NUMBER, pid))
            running[os.pidfd_open(pid)] = (pid, streams[2])
            os.close(streams[0])
            os.close(streams[1])


def _become(words: list[str], folder: str, environment: dict[str, str], streams: list[int]) -> NoReturn:
    """Makes this fork the command, and ends with it."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    status: Any = 1
    try:
        for number, stream in enumerate(streams[:2], start=1):
            os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        random.seed()
        sys.argv = ["provisor", *words]
        from flows.cli import main

        main()
        status = 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


if __name__ == "__main__":
    main()
