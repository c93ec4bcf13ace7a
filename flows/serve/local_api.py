"""Which Prefect API a run talks to, decided before Prefect is imported.

People who run a server have set ``PREFECT_API_URL`` or a profile, and that is used; where ``provisor up`` runs for the
same state folder, its server is. Everybody else gets a local API that starts for the run and ends with it, with its
history in the state folder. Its start is what a person waits for, so it begins at once, beside everything that the run
itself has to load.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from connectors.errors import UnreachableError
from flows.serve.keep_small import prune_history, rotate_log
from flows.serve.prefect_database import NAME, put_database
from flows.serve.prefect_home import answers, find_server, keys_of, prefect_folder

START_S = 180.0
"""Seconds that the local API may take to answer; the first start makes its database."""

_QUIET = {
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

_EPHEMERAL = {
    "PREFECT__SERVER_EPHEMERAL": "1",  # no services that only schedules and workers need
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
}
"""For the local API."""


_SERVE = """
import os, threading

def end_with_the_run():
    os.read(0, 1)
    os._exit(0)

threading.Thread(target=end_with_the_run, daemon=True).start()
from flows.serve.server_database import let_writers_queue
let_writers_queue()
from importlib import import_module
for name in filter(None, os.environ.get("PROVISOR_PRELOADED", "").split()):
    import_module(name)
from uvicorn.main import main
main()
"""
"""Runs the server, with the modules that it is to know, until its standard input ends: when the run is killed there is
nobody else to end it."""


def is_configured() -> bool:
    """True when the person's own settings name an API: the environment, or a profile."""
    if os.environ.get("PREFECT_API_URL") or os.environ.get("PREFECT_PROFILE"):
        return True
    prefect_home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    profiles = prefect_home / "profiles.toml"
    return profiles.is_file() and "PREFECT_API_URL" in profiles.read_text(encoding="utf-8")


@contextmanager
def serving(home: Path) -> Iterator[Callable[[], None]]:
    """An API for the runs inside: the configured one, the one that is up, else a local one that is starting.

    Gives what waits for it.

    Must be entered before Prefect is imported. Raises: UnreachableError, by what is given, when the local API does not
    start.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if is_configured():
        yield lambda: None
        return
    folder = prefect_folder(home)
    keys = keys_of(home)
    client = {"PREFECT_HOME": str(folder), "PREFECT_API_AUTH_STRING": keys.sign_in}
    if (up := find_server(home)) is not None:
        pages = {} if os.environ.get("PROVISOR_PAGES_URL") else {"PROVISOR_PAGES_URL": up.pages}
        with _settings(client | pages | {"PREFECT_API_URL": up.url}):
            yield lambda: None
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    with (
        _settings(client | {"PREFECT_API_URL": url}),
        serve(port, folder, {**RECORDING, **_EPHEMERAL, **keys.settings}) as server,
    ):
        yield lambda: wait_for(server, url, folder)


@contextmanager
def _settings(settings: Mapping[str, str]) -> Iterator[None]:
    """The environment with these settings, for what is inside."""
    os.environ |= settings
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]


@contextmanager
def serve(port: int, folder: Path, settings: Mapping[str, str]) -> "Iterator[subprocess.Popen[bytes]]":
    """A Prefect server on loopback that is starting, with its database in ``folder``; ended at the end.

    It ends by itself when this process is killed. Its words go to ``server.log`` in the folder.
    """
    rotate_log(folder / "server.log")
    prune_history(folder / NAME, now=datetime.now(UTC))
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(
            _command(port),
            env=_environment(folder, settings),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # whoever interrupts the run from a terminal does not interrupt the server too
        )
        try:
            yield server
        finally:
            _stop(server)


def _command(port: int) -> list[str]:
    app = ["--factory", "prefect.server.api.server:create_app"]
    return [sys.executable, "-c", _SERVE, *app, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]


def _environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """A server's environment; it looks after its database only when another version made it."""
    environment = {**settings, **os.environ, "PREFECT_HOME": str(folder)}
    environment.pop("PREFECT_API_URL", None)
    if put_database(folder) or _made_by(folder).exists():
        environment.setdefault("PREFECT_SERVER_DATABASE_MIGRATE_ON_START", "false")
    return environment


def _made_by(folder: Path) -> Path:
    return folder / f"database-{version('prefect')}"


def wait_for(server: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    """Waits until a server answers. Raises: UnreachableError."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        if answers(url):
            _made_by(folder).touch()
            return
        time.sleep(0.05)
    raise UnreachableError(
        f"The local Prefect API did not start; its words are in {folder / 'server.log'}. "
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
