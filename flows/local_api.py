"""Which Prefect API a run talks to, decided before Prefect is imported.

People who run a server have set ``PREFECT_API_URL`` or a profile, and that is used. Everybody else gets a local API
that starts for the run and ends with it, with its history in the state folder. Its start is what a person waits for, so
it begins at once, beside everything that the run itself has to load.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from connectors.errors import UnreachableError
from tasks.private import make_folder

START_S = 180.0
"""Seconds that the local API may take to answer; the first start makes its database."""

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}
"""For every run. The terminal shows the cycle's own story; the orchestrator's lines are kept in its history."""

_SERVER = {
    "PREFECT__SERVER_EPHEMERAL": "1",  # no services that only schedules and workers need
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
}
"""For the local API. By default each event of a task run is a transaction of its own."""


_SERVE = """
import os, sys, threading

def end_with_the_run():
    sys.stdin.buffer.read()
    os._exit(0)

threading.Thread(target=end_with_the_run, daemon=True).start()
from uvicorn.main import main
main()
"""
"""Runs the server until its standard input ends: when the run is killed there is nobody else to end it."""


def is_configured() -> bool:
    """True when the person's own settings name an API: the environment, or a profile."""
    if os.environ.get("PREFECT_API_URL") or os.environ.get("PREFECT_PROFILE"):
        return True
    prefect_home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    profiles = prefect_home / "profiles.toml"
    return profiles.is_file() and "PREFECT_API_URL" in profiles.read_text(encoding="utf-8")


@contextmanager
def serving(home: Path) -> Iterator[Callable[[], None]]:
    """An API for the runs inside: the configured one, else a local one that is starting; gives what waits for it.

    Must be entered before Prefect is imported. Raises: UnreachableError, by what is given, when the local API does not
    start.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if is_configured():
        yield lambda: None
        return
    folder = make_folder(home / "prefect")
    port = _free_port()
    url = f"http://127.0.0.1:{port}/api"
    os.environ |= {"PREFECT_HOME": str(folder), "PREFECT_API_URL": url}
    with (folder / "server.log").open("ab") as log:
        server = subprocess.Popen(
            _command(port),
            env=_environment(folder),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # whoever interrupts the run from a terminal does not interrupt the server too
        )
        try:
            yield lambda: _wait(server, url, folder)
        finally:
            _stop(server)
            del os.environ["PREFECT_API_URL"], os.environ["PREFECT_HOME"]


def _command(port: int) -> list[str]:
    app = ["--factory", "prefect.server.api.server:create_app"]
    return [sys.executable, "-c", _SERVE, *app, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]


def _environment(folder: Path) -> dict[str, str]:
    """The local API's environment; it looks after its database only when another version made it."""
    environment = {**_SERVER, **os.environ}
    environment.pop("PREFECT_API_URL")
    if _made_by(folder).exists():
        environment.setdefault("PREFECT_SERVER_DATABASE_MIGRATE_ON_START", "false")
    return environment


def _made_by(folder: Path) -> Path:
    return folder / f"database-{version('prefect')}"


def _wait(server: "subprocess.Popen[bytes]", url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                _made_by(folder).touch()
                return
        except (urllib.error.URLError, OSError):
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
