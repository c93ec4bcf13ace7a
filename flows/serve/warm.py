"""Commands that find everything loaded: a process that has imported what commands need, and forks for each of them.

A command costs seconds of imports and a moment of work. The first one of a state folder starts the process and hands
itself over: what it is called with, its environment, folder and standard streams. The process forks; the fork is the
command. The command that was called stays in the terminal: it passes signals on, and ends as the fork ended.

    provisor plan JOB ──(words, environment, streams)──► warm process ──fork──► plan JOB
         └── signals ───────────────────────────────────────►└── signals ──────────┘

What belongs together ends together: when the called command is killed, so is its fork; when the warm process is killed,
so are all of its forks. It takes only commands that would load the very same: same installation, same code, same
Prefect settings, same limits and control group; others get a process of their own kind. It ends after some minutes
(``flows.serve.staying``). Whatever goes wrong before the fork, the command runs as it would have without it.
"""

import array
import hashlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NoReturn

from connectors.errors import ProvisorError
from flows.cycle.home import home
from flows.serve.staying import find_or_start, in_use, is_alive, stay_s
from tasks.private import make_folder

COMMANDS = {"apply", "check", "log", "on-demand", "plan", "run", "status", "why"}
"""Commands that never ask a person anything."""
RUNS = {"apply", "on-demand", "run"}
"""Those that run a cycle: they take longer, and say at once that they have begun."""
ENGINE = "engine"
"""In place of a command: the flow run that a worker starts."""

_FORKING = """
import os
if os.fork():
    os._exit(0)
from flows.cli.warm_process import serve
serve()
"""
CHECKOUT = Path(__file__).parents[2]
LARGEST = 1 << 20
"""Bytes in which a command has to say what it is."""
_SAME = (
    "PREFECT_",
    "PYTHON",
    "LC_",
    "LD_",
    "XDG_",
    "GX_",
    "OMP_",
    "OPENBLAS_",
    "MALLOC_",
    "ARROW_",
    "LANG",
    "TZ",
    "HOME",
)
"""Beginnings of what has to be alike in the environment: modules look at it when they are loaded."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
BEGUN = b"begun\n"


def run_warm(words: list[str]) -> None:
    """Runs a command in a fork of the warm process, and ends as that one ends; returns when it has to run here."""
    if sys.platform != "linux" or not words or words[0] not in {*COMMANDS, ENGINE} or threading.active_count() > 1:
        return
    if not home().is_dir() and not any(Path(word).is_file() for word in words[1:]):
        return  # a command that is wrong leaves no state folder
    try:
        if not (length_s := stay_s()):
            return
        folder = make_folder(home() / "prefect") / f"warm-{_kind(words[0] == ENGINE, length_s)}"
        with _api_for(words), in_use(folder), _connected(folder, words, length_s) as connection:
            if connection is not None and _handed_over(connection, words):
                _end_like(connection)
    except (OSError, subprocess.SubprocessError, ProvisorError):
        return


def say_loading(words: list[str]) -> None:
    """Tells a person who looks that a command has begun, where seconds of loading come before its first words."""
    if words and words[0] in COMMANDS - RUNS and "--help" not in words and sys.stderr.isatty():
        sys.stderr.write(f"provisor {words[0]}: loading …\n")


def _api_for(words: list[str]) -> AbstractContextManager[None]:
    """Where a run needs a local API, the API starts at once, beside what the warm process may have to load."""
    if words[0] not in RUNS or {"--plan-only", "--help"} & set(words) or not any(map(os.path.isfile, words[1:])):
        return nullcontext()
    folder = home() / "prefect"
    if (folder / "up.json").exists() or any(map(is_alive, folder.glob("local-*"))):  # the run looks whether it is right
        return nullcontext()
    from flows.serve.local_api import starting

    return starting(home())


def _kind(for_worker: bool, length_s: float) -> str:
    """Short for all that has to be alike in the process and in a command that it takes."""
    alike = sorted(f"{name}={value}" for name, value in _same(os.environ))
    limits = [
        resource.getrlimit(number) for name, number in sorted(vars(resource).items()) if name.startswith("RLIMIT_")
    ]
    process = [os.geteuid(), os.getegid(), os.getgroups(), os.nice(0), limits, _control_group()]
    packages = [(path, _changed(path)) for path in sys.path if path.endswith("site-packages")]
    known = json.dumps([sys.version, sys.executable, packages, _code(), alike, process, for_worker, length_s])
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def _control_group() -> str:
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:
        return ""


def _changed(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def _code() -> list[Any]:
    """Of our own modules, how many there are and when the last one was changed."""
    times = [
        os.stat(f"{folder}/{name}").st_mtime_ns  # noqa: PTH116 (hundreds of them, for each command)
        for top in ("flows", "tasks", "connectors")
        for folder, _, names in os.walk(CHECKOUT / top)
        for name in names
        if name.endswith(".py")
    ]
    return [str(CHECKOUT), len(times), max(times, default=0)]


@contextmanager
def _connected(folder: Path, words: list[str], length_s: float) -> "Iterator[socket.socket | None]":
    """A connection to the warm process, which is started when it is not there."""
    at = os.open(folder, os.O_DIRECTORY)
    path = f"/proc/self/fd/{at}/socket"  # an address has 107 characters at most
    try:
        find_or_start(folder, lambda: "socket", lambda _, alive: _start(folder, path, alive, words, length_s))
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
            yield connection if user_at(connection) == os.geteuid() else None
    finally:
        os.close(at)


def _start(folder: Path, path: str, alive: int, words: list[str], length_s: float) -> None:
    """Starts the process, which already listens: what connects from now on is served when it has loaded enough."""
    say_loading(words)
    (folder / "socket").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening, (folder / "log").open("ab") as log:
        listening.bind(path)
        (folder / "socket").chmod(0o600)
        listening.listen(64)
        subprocess.run(
            [sys.executable, "-c", _FORKING, *map(str, (folder, listening.fileno(), alive, length_s, words[0]))],
            env=_without_secrets(os.environ),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[listening.fileno(), alive],
            check=True,
        )


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What the process has to know: each command brings the rest, and takes it away with it."""
    more = {name: environment[name] for name in ("PATH", "VIRTUAL_ENV", "PROVISOR_HOME") if name in environment}
    return dict(_same(environment)) | more


def _same(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in environment.items():
        if name.startswith(_SAME) and not name.startswith("PREFECT__"):  # these are of one flow run
            yield name, value


def _handed_over(connection: socket.socket, words: list[str]) -> bool:
    """Whether a fork has begun as this command."""
    mask = os.umask(0)
    os.umask(mask)
    asked = json.dumps([words, str(Path.cwd()), dict(os.environ), mask, _ignored()]).encode()
    if len(asked) > LARGEST:
        return False
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    streams = array.array("i", [0, 1, 2])
    connection.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    connection.sendall(asked)
    return _line(connection) == BEGUN.decode().strip()


def _end_like(connection: socket.socket) -> NoReturn:
    """Waits for the end of the fork, passing signals on, and ends as it did."""
    ignored = _ignored()
    for number in FORWARDED:
        if number not in ignored:
            signal.signal(number, lambda sent, _: _pass_on(connection, sent))
    if signal.SIGTSTP not in ignored:
        signal.signal(signal.SIGTSTP, lambda *_: _pause_both(connection))
    how, _, code = _line(connection).partition(" ")
    if how == "signal":
        with suppress(OSError):  # SIGKILL cannot be set
            signal.signal(int(code), signal.SIG_DFL)
        os.kill(os.getpid(), int(code))
    elif how != "exit":
        os.write(2, b"The process that ran this command was killed.\n")
    os._exit(int(code) if how == "exit" else 128 + signal.SIGKILL)


def _ignored() -> list[int]:
    """Signals that this command was told to ignore, as by nohup."""
    return [number for number in (*FORWARDED, signal.SIGTSTP) if signal.getsignal(number) == signal.SIG_IGN]


def _pass_on(connection: socket.socket, number: int) -> None:
    with suppress(OSError):
        connection.sendall(bytes([number]))


def _pause_both(connection: socket.socket) -> None:
    """Ctrl-Z stops the fork as well, and it goes on when this command does."""
    _pass_on(connection, signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)
    _pass_on(connection, signal.SIGCONT)


def _line(connection: socket.socket) -> str:
    """The next line, without its end; empty when there is none any more."""
    read = b""
    while not read.endswith(b"\n"):
        if not (one := connection.recv(1)):
            return ""
        read += one
    return read.decode().strip()


def user_at(connection: socket.socket) -> int:
    """The user at the other end."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder)
