"""The process that has loaded what commands need, and forks for each of them; see ``flows.serve.warm``."""

import array
import atexit
import ctypes
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from flows.serve.loading import loading
from flows.serve.local_api import QUIET, is_configured
from flows.serve.prefect_home import answers
from flows.serve.staying import LOOK_S, Stay
from flows.serve.warm import BEGUN, CHECKOUT, ENGINE, FORWARDED, LARGEST, RUNS, user_at
from tasks.pages.layout import load_templates
from tasks.private import replace_file

_LIGHT = (
    "connectors.csv",
    "connectors.scim",
    "connectors.sql",
    "flows.cli",
    "flows.cli.here",
    "flows.show.log",
    "flows.show.plan_json",
    "flows.show.status",
    "flows.show.why",
    "flows.show.why_page",
    "orjson",
)
_HEAVY = (
    "flows.on_demand",
    "flows.provision",
    "flows.show.terminal",
    "prefect.logging.handlers",
    "fastapi.encoders",
    "prefect.artifacts",
    "prefect.concurrency.services",
    "prefect.flow_engine",
    "prefect.task_engine",
    "flows.decisions.maintenance",
    "tasks.ledger.migrations.run",
    "connectors.scim.connector",
)
"""For commands that run a cycle; loaded for the first of them, while the local API starts, or when there is nothing
else to do. What is in a cycle's way only later is among these too, and so is the commonest connector."""
_TEMPLATES = "templates"
"""As a name among what has been loaded: those of reports."""
_LEARNED, _TRIED = "learned", "tried"
"""Files with what commands of this state folder have loaded besides, to be loaded when there is nothing else to do: the
connectors of its jobs, say, and what judges data. A second file says that something of it cannot be loaded here."""

_ASK_S = 1.0
"""How long a command may take to say what it is."""
_SERVER_S = 30.0
_TO_THE_GROUP = {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}
"""Signals of a terminal, which every process of a command gets."""
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


@dataclass(frozen=True, slots=True)
class _Request:
    """A command that wants to be run."""

    words: list[str]
    folder: str
    environment: dict[str, str] = field(repr=False)
    mask: int
    ignored: list[int]
    """Signals."""
    streams: list[int]


@dataclass(slots=True)
class _Fork:
    """A command that runs."""

    pid: int
    handle: int
    """Readable when it has ended."""
    connection: socket.socket


def serve() -> None:
    """Serves until its time is over. In a fork it becomes the command, and ends with it."""
    folder, listening, alive = Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3])
    sys.path[:] = [path or str(CHECKOUT) for path in sys.path]  # never the folder of a command
    if sys.argv[5] != ENGINE:  # what a worker starts speaks to the worker's log
        os.environ |= QUIET | dict(os.environ)
        if not is_configured():
            os.environ["PREFECT_HOME"] = str(folder.parent)
    warm = _Warm(folder, listening, alive, Stay(folder, float(sys.argv[4]), unwanted=_ServerGone().look))
    request = warm.request()
    if request is not None:
        _become(request)
        _run(folder)
    os._exit(0)


class _ServerGone:
    """Whether the Prefect server that runs were told of has gone, looked at now and then."""

    def __init__(self) -> None:
        self._url, self._looked = os.environ.get("PREFECT_API_URL"), time.monotonic()

    def look(self) -> bool:
        if self._url is None or time.monotonic() - self._looked < _SERVER_S:
            return False
        self._looked = time.monotonic()
        return not answers(self._url)


class _Warm:
    """The warm process: loads, listens, forks, and looks after its forks."""

    def __init__(self, folder: Path, listening: socket.socket, alive: int, stay: Stay) -> None:
        self._folder, self._listening, self._alive, self._stay = folder, listening, alive, stay
        self._forks: list[_Fork] = []
        self._loaded: set[str] = set()

    def request(self) -> _Request | None:
        """What a fork has to become; None in the process itself, when its time is over."""
        self._load(_LIGHT)
        while True:
            ready = self._ready(LOOK_S)
            self._look_after(ready)
            if self._listening.fileno() in ready and (asked := self._accepted()) is not None:
                connection, request = asked
                if request.words[0] in {*RUNS, ENGINE} and not self._forks:  # these have to be looked after
                    self._load(_HEAVY)
                if self._forked(connection):
                    os.close(self._alive)
                    self._listening.close()
                    return request
                for stream in request.streams:
                    os.close(stream)
            elif not ready and not self._forks and self._stay.is_over():
                return None
            elif not ready and not self._forks:
                self._load(_HEAVY)
                self._load_templates()
                self._learn()

    def _load(self, names: Iterable[str]) -> None:
        """Imports what is not there yet. A thread that an import starts would make forks unsafe: it ends everything."""
        if missing := [name for name in names if name not in self._loaded]:
            with loading():  # forks share these pages for as long as nobody writes to them
                for name in missing:
                    with suppress(ImportError):  # as of a driver that is not installed; the fork says so
                        importlib.import_module(name)
                    self._loaded.add(name)
            if threading.active_count() > 1:
                os.write(2, b"A module that was loaded has started a thread.\n")
                os._exit(1)

    def _load_templates(self) -> None:
        if _TEMPLATES not in self._loaded:
            self._loaded.add(_TEMPLATES)
            with loading():
                load_templates()

    def _learn(self) -> None:
        """Loads what forks had to load; what starts a thread ends this process, and is never tried again."""
        learned, tried = self._folder / _LEARNED, self._folder / _TRIED
        if learned.exists() and not tried.exists():
            names = learned.read_text(encoding="utf-8").split()
            learned.rename(tried)
            self._load(name for name in names if name not in sys.modules)
            tried.unlink(missing_ok=True)

    def _ready(self, timeout_s: float) -> set[int]:
        watched = [self._listening.fileno()]
        for fork in self._forks:
            watched += [fork.handle, fork.connection.fileno()]
        poll = select.poll()
        for descriptor in watched:
            poll.register(descriptor, select.POLLIN | select.POLLHUP)
        return {descriptor for descriptor, _ in poll.poll(timeout_s * 1000)}

    def _look_after(self, ready: set[int]) -> None:
        for fork in list(self._forks):
            if fork.connection.fileno() in ready:
                self._heed(fork)
            if fork.handle in ready:
                _, status = os.waitpid(fork.pid, 0)
                code = os.waitstatus_to_exitcode(status)
                with suppress(OSError):
                    fork.connection.sendall((f"exit {code}\n" if code >= 0 else f"signal {-code}\n").encode())
                self._forks.remove(fork)
                fork.connection.close()
                os.close(fork.handle)

    def _heed(self, fork: _Fork) -> None:
        """Passes signals on; the end of the connection is the end of the command that was called."""
        try:
            numbers = fork.connection.recv(64)
        except OSError:
            numbers = b""
        for number in numbers or [signal.SIGKILL]:
            self._signal(fork, number)

    def _signal(self, fork: _Fork, number: int) -> None:
        if number in _TO_THE_GROUP:
            with suppress(ProcessLookupError):
                os.killpg(fork.pid, number)
                return
        with suppress(ProcessLookupError):
            os.kill(fork.pid, number)

    def _accepted(self) -> tuple[socket.socket, _Request] | None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return None
        connection.settimeout(_ASK_S)
        try:
            if user_at(connection) == os.geteuid():
                return connection, _asked(connection)
        except (OSError, ValueError, TypeError):
            pass  # it runs without this process
        connection.close()
        return None

    def _forked(self, connection: socket.socket) -> bool:
        """Forks; True in the fork. A command that has been killed meanwhile is not begun."""
        with suppress(OSError):
            connection.sendall(BEGUN)
            connection.setblocking(False)
            with suppress(BlockingIOError):
                if not connection.recv(1, socket.MSG_PEEK):
                    raise ConnectionResetError
            connection.setblocking(True)
            process = os.getpid()
            pid = os.fork()
            if not pid:
                ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
                if os.getppid() != process:
                    os._exit(1)
                os.setsid()
                connection.close()
                for fork in self._forks:
                    fork.connection.close()
                    os.close(fork.handle)
                return True
            self._follow(pid, connection)
            return False
        connection.close()
        return False

    def _follow(self, pid: int, connection: socket.socket) -> None:
        """Looks after a fork from now on; one that cannot be looked after is ended. Raises: OSError."""
        try:
            self._forks.append(_Fork(pid, os.pidfd_open(pid), connection))
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise


def _asked(connection: socket.socket) -> _Request:
    """Raises: OSError, ValueError."""
    streams = array.array("i")
    length, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(3 * streams.itemsize))
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            streams.frombytes(data[: len(data) - len(data) % streams.itemsize])
    try:
        missing = int.from_bytes(length, "big")
        if len(length) != 4 or len(streams) != 3 or missing > LARGEST:
            raise ValueError("this is not a command")
        text = b""
        while len(text) < missing and (some := connection.recv(missing - len(text))):
            text += some
        words, folder, environment, mask, ignored = json.loads(text)
    except (OSError, ValueError):
        for stream in streams:
            os.close(stream)
        raise
    return _Request(words, folder, environment, mask, ignored, list(streams))


# --- the fork --------------------------------------------------------------------------------------------------------


def _become(request: _Request) -> None:
    """Makes this process what the command that was called would have been."""
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    os.umask(request.mask)
    os.chdir(request.folder)
    for number in (*FORWARDED, signal.SIGTSTP):
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in request.ignored else usual)
    random.seed()
    sys.argv = ["provisor", *request.words]
    sys.stdin = open(0, encoding=sys.stdin.encoding, closefd=False)  # noqa: SIM115
    sys.stdout, sys.stderr = _writer(1, sys.stdout.errors), _writer(2, "backslashreplace")


def _writer(descriptor: int, errors: str | None) -> Any:
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    by_line = descriptor == 2 or unbuffered or os.isatty(descriptor)
    return open(
        descriptor, "w", buffering=1 if by_line else -1, encoding=sys.stdout.encoding, errors=errors, closefd=False
    )


def _teach(folder: Path, names: list[str]) -> None:
    """Tells the process what this fork had to load, in that order."""
    known = [name for name in names if getattr(getattr(sys.modules[name], "__spec__", None), "has_location", False)]
    if known and not (folder / _TRIED).exists():
        with suppress(OSError):
            replace_file(folder / _LEARNED, " ".join(known).encode())


def _run(folder: Path) -> NoReturn:
    """Runs the command, and ends the process; what Python would take apart of what was loaded, it leaves."""
    from flows.cli import run_here
    from flows.serve.engine import run_engine

    loaded = set(sys.modules)
    status: object = 0
    try:
        run_engine() if sys.argv[1:] == [ENGINE] else run_here()
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    _teach(folder, [name for name in sys.modules if name not in loaded])
    if isinstance(status, str):
        os.write(2, f"{status}\n".encode())
    code = status if isinstance(status, int) else int(bool(status))
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 120  # as Python ends a program whose output nobody reads
    finally:
        os._exit(code)
