"""Which Prefect API a run talks to, decided before Prefect is imported.

People who run a server have set ``PREFECT_API_URL`` or a profile, and that is used; where ``provisor up`` runs for the
same state folder, its server is. Everybody else gets a local API, with its history in the state folder. The first run
starts it, which is what a person waits for, so it begins at once (``starting``), beside everything that the run itself
has to load. It stays for some minutes (see ``flows.serve.staying``), so that the next run finds it there.
"""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import IO

from connectors.errors import ProvisorError, UnreachableError
from flows.serve.keep_small import prune_history, rotate_log
from flows.serve.prefect_database import NAME, put_database
from flows.serve.prefect_home import Keys, answers, find_server, keys_of, prefect_folder
from flows.serve.staying import LOOK_S, Stay, find_or_start, in_use, is_alive, stay_s

START_S = 180.0
"""Seconds that the local API may take to answer; the first start makes its database."""

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}
"""For every run. The terminal shows the cycle's own story; the orchestrator's lines are kept in its history."""

RECORDING = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
}
"""For a server. By default each event of a task run is a transaction of its own."""

_QUICK = {
    "PY_KEY_VALUE_DISABLE_BEARTYPE": "1",  # else a library of Prefect's rewrites itself at each start
}
"""For every server, so that it starts sooner."""

_EPHEMERAL = {
    "PREFECT__SERVER_EPHEMERAL": "1",  # no services that only schedules and workers need
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
}
"""For the local API."""

_NOTHING_TO_REGISTER = {
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_MEMOIZE_BLOCK_AUTO_REGISTRATION": "false",  # else it loads every collection, to see what is new
}
"""For the local API, where the database has Prefect's block types: people make blocks in the UI of ``up``, which looks
for new types at each start."""


_SERVE = """
import os, threading

def end_with_the_command():
    os.read(0, 1)
    os._exit(0)

threading.Thread(target=end_with_the_command, daemon=True).start()
from flows.serve.server_database import let_writers_queue
let_writers_queue()
from importlib import import_module
from flows.serve.loading import loading
with loading():
    for name in filter(None, os.environ.get("PROVISOR_PRELOADED", "").split()):
        import_module(name)
    import_module("prefect.server.api.server")
from uvicorn.main import main
main()
"""
"""Runs the server, with the modules that it is to know, until its standard input ends: when the command is killed, no
other process ends the server."""

_SERVE_ON = """
import os
if os.fork():
    os._exit(0)
from flows.serve.local_api import end_when_unused
end_when_unused()
from flows.serve.server_database import let_writers_queue
let_writers_queue()
from flows.serve.loading import loading
with loading():
    import prefect.server.api.server
from uvicorn.main import main
main()
"""
"""Runs the local API in a process of its own, which outlives the run that starts it."""

_CHECKOUT = Path(__file__).parents[2]
_TIDY_S = 3600.0
_END_S = 20.0
"""How long the local API may take to end, before it is ended the hard way."""

_NEEDED = ("PREFECT_", "PYTHON", "LC_", "LD_", "XDG_", "DYLD_")
_NEEDED_NAMES = {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "VIRTUAL_ENV", "DO_NOT_TRACK"}
"""Of the environment, what the local API is told: it outlives the run, and a job's secrets are none of its business."""


def is_configured() -> bool:
    """True when the person's own settings name an API: the environment, or a profile."""
    if os.environ.get("PREFECT_API_URL") or os.environ.get("PREFECT_PROFILE"):
        return True
    prefect_home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    profiles = prefect_home / "profiles.toml"
    return profiles.is_file() and "PREFECT_API_URL" in profiles.read_text(encoding="utf-8")


@contextmanager
def serving(home: Path) -> Iterator[Callable[[], None]]:
    """An API for the runs inside: the configured one, the one that is up, else a local one, which may be starting.

    Gives what waits for it.

    Must be entered before Prefect is imported. Raises: UnreachableError, by what is given, when the local API does not
    start.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if is_configured():
        _tell_prefect()
        yield _refuse_silent_server
        return
    if (up := find_server(home)) is not None:
        pages = {} if os.environ.get("PROVISOR_PAGES_URL") else {"PROVISOR_PAGES_URL": up.pages}
        with _settings(_client(home) | pages | {"PREFECT_API_URL": up.url}):
            yield lambda: None
        return
    with _local(home) as (ours, url), _settings(_client(home) | {"PREFECT_API_URL": url}):
        yield lambda: wait_for(lambda: is_alive(ours), url, ours.parent)


def _refuse_silent_server() -> None:
    """Passes when the configured server answers; a flow run would end in a fault. Raises: UnreachableError."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    if not PREFECT_API_URL.value():  # a profile that names none: Prefect starts a server of its own for the run
        return
    try:
        with get_client(sync_client=True) as client:
            url = str(client.api_url).rstrip("/")
            client.raise_for_api_version_mismatch()
    except RuntimeError as error:
        if error.__cause__ is None:  # it answers, and is too old or too new
            raise UnreachableError(f"The Prefect server at {url}: {error}") from None
        raise UnreachableError(
            f"No Prefect server answers at {url}. Start it, or correct PREFECT_API_URL, which ends in /api. Where "
            "neither that variable nor a profile of Prefect names a server, Provisor brings its own."
        ) from None


@contextmanager
def starting(home: Path) -> Iterator[None]:
    """The local API begins to start, which a run inside is about to ask for, if it needs one."""
    with ExitStack() as stack:
        with suppress(OSError, subprocess.SubprocessError, ProvisorError):  # the run says what is wrong
            if not is_configured() and find_server(home) is None:
                stack.enter_context(_local(home))
        yield


@contextmanager
def _local(home: Path) -> Iterator[tuple[Path, str]]:
    """The folder of a local API, which may be starting, and where it will answer."""
    keys = keys_of(home)
    environment = _needed({**RECORDING, **_EPHEMERAL, **QUIET, **keys.settings, **os.environ, **_client(home)})
    ours = prefect_folder(home) / f"local-{_kind(keys, environment)}"
    with in_use(ours):
        yield ours, find_or_start(ours, _free_url, lambda url, alive: _serve_on(ours, url, alive, environment))


def _client(home: Path) -> dict[str, str]:
    return {"PREFECT_HOME": str(prefect_folder(home)), "PREFECT_API_AUTH_STRING": keys_of(home).sign_in}


def _kind(keys: Keys, environment: Mapping[str, str]) -> str:
    """Short for all that a local API was started with: a run takes one only that it would have started alike."""
    versions = [version("prefect"), version("provisor"), sys.prefix, str(_CHECKOUT), socket.gethostname()]
    known = [*versions, keys.sign_in, keys.encryption, str(stay_s()), *map(str, sorted(environment.items()))]
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:16]


def _needed(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(_NEEDED) or name in _NEEDED_NAMES
        if name != "PREFECT_API_URL"
    }


def _free_url() -> str:
    return f"http://127.0.0.1:{free_port()}/api"


def _serve_on(ours: Path, url: str, alive: int, environment: Mapping[str, str]) -> None:
    """Starts the local API as a process that nobody waits for; ``alive`` is open in it until it has ended."""
    folder = ours.parent
    port = int(url.removesuffix("/api").rpartition(":")[2])
    with _prepared(folder) as log:
        subprocess.run(
            [sys.executable, "-c", _SERVE_ON, *_words(port)],
            env=_environment(
                folder, {**environment, _OURS: str(ours), _STAYS: str(stay_s())}, where_made=_NOTHING_TO_REGISTER
            ),
            cwd=_CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a person who interrupts the run from a terminal does not interrupt the API too
            pass_fds=[alive],
            check=True,
        )


_OURS, _STAYS = "PROVISOR_LOCAL_API", "PROVISOR_LOCAL_API_STAYS"
"""How the local API is told where its folder is, and how many seconds it stays unused."""


def end_when_unused() -> None:
    """Lets this process, a local API, end when no run has used it for its time, and at once when its folder is gone."""
    ours, length_s = Path(os.environ[_OURS]), float(os.environ[_STAYS])
    threading.Thread(target=_end_when_unused, args=(ours, length_s), daemon=True).start()


def _end_when_unused(ours: Path, length_s: float) -> None:
    folder = ours.parent
    tidied = time.monotonic()

    def tidy() -> None:
        nonlocal tidied
        if time.monotonic() - tidied > _TIDY_S:
            tidied = time.monotonic()
            rotate_log(folder / "server.log")
            prune_history(folder / NAME, now=datetime.now(UTC))

    try:
        stay = Stay(ours, length_s, unwanted=lambda: find_server(folder.parent) is not None)
        while not stay.is_over(tidy):
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)  # writes down what it still has in memory
        time.sleep(_END_S)
    finally:
        os._exit(1)


@contextmanager
def _settings(settings: Mapping[str, str]) -> Iterator[None]:
    """The environment with these settings, for what is inside."""
    os.environ |= settings
    _tell_prefect()
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]


def _tell_prefect() -> None:
    """Prefect reads its settings when it is loaded; where it was loaded before, it reads them again."""
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()


@contextmanager
def serve(port: int, folder: Path, settings: Mapping[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    """A Prefect server on loopback that is starting, with its database in ``folder``; ended at the end.

    It ends by itself when this process is killed. Its words go to ``server.log`` in the folder.
    """
    with _prepared(folder) as log:
        server = subprocess.Popen(
            [sys.executable, "-c", _SERVE, *_words(port)],
            env=_environment(folder, {**settings, **os.environ}),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in a terminal ends the run, not the server
        )
        try:
            yield server
        finally:
            _stop(server)


@contextmanager
def _prepared(folder: Path) -> Iterator[IO[bytes]]:
    """The folder of a server that is about to start: its log, and a history without what is too old."""
    rotate_log(folder / "server.log")
    prune_history(folder / NAME, now=datetime.now(UTC))
    with (folder / "server.log").open("ab") as log:
        yield log


def _words(port: int) -> list[str]:
    app = ["--factory", "prefect.server.api.server:create_app"]
    return [*app, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]


def _environment(
    folder: Path, given: Mapping[str, str], *, where_made: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str]:
    """A server's environment; it looks after its database only when another version made it.

    ``where_made``: what it is told besides when it need not look.
    """
    environment = {**_QUICK, **given, "PREFECT_HOME": str(folder)}
    environment.pop("PREFECT_API_URL", None)
    if put_database(folder) or _made_by(folder).exists():
        return {"PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false", **where_made, **environment}
    return environment


def _made_by(folder: Path) -> Path:
    return folder / f"database-{version('prefect')}"


def wait_for(lives: Callable[[], bool], url: str, folder: Path) -> None:
    """Waits until a server answers. Raises: UnreachableError, also when it does not live any more."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and lives():
        if answers(url):
            _made_by(folder).touch()
            return
        time.sleep(0.1)
    raise UnreachableError(
        f"The local Prefect API did not start; see its log in {folder / 'server.log'}. "
        "Set PREFECT_API_URL to use a server of your own."
    )


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if server.stdin is not None:
        server.stdin.close()


def free_port() -> int:
    """A port of this machine that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
