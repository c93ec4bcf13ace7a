"""``provisor up``: a Prefect server on this machine, the jobs of a folder deployed to it, and a worker that runs them.

The server keeps to loopback, asks for a password, and speaks to nobody outside. Everything ends with this process:
cleanly when it is told to end, at once when it is killed.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.markup import escape

from connectors.errors import SettingsError
from flows.cycle.home import home
from flows.serve.jobs_of import refuse_wrong_files
from flows.serve.keep_small import pruning, rotate_log
from flows.serve.loading import loading
from flows.serve.local_api import RECORDING, serve, wait_for
from flows.serve.prefect_home import Address, Keys, announce, find_server, keys_file, keys_of, prefect_folder, withdraw
from flows.show.console import Terminal, console

PORT = 4200
RUNS_AT_ONCE = 4
"""Cycles of different jobs that one worker runs side by side."""

READY_S = 60.0
"""How long the worker may take before it is said that everything is up."""

_GRACE_S = 60.0
"""How long runs may take to end between two batches, once they are told to."""

_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # see flows.serve.server_parts
}
"""For everything that is started: nothing is told to anybody outside."""

_SERVER = {
    "PROVISOR_PRELOADED": "flows.serve.server_parts",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
}

_WORKER = {
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # by which a run that died is found out
    "PREFECT_LOGGING_EXTRA_LOGGERS": "provisor",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PROVISOR_STAY_MINUTES": "60",  # what runs have loaded stays for the next one; it goes when the server has gone
}

_WORK = """
import os, signal, threading

def end_with_the_command():
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)

threading.Thread(target=end_with_the_command, daemon=True).start()
from flows.serve.loading import loading
with loading():
    import prefect.cli.worker, prefect.workers.process
from prefect.cli import app
app()
"""
"""Runs a worker until its standard input ends: when the command is killed there is nobody else to end it."""


def run_up(folder: Path, port: int, pages_port: int) -> int:
    """Serves the jobs of a folder until it is told to end; gives the exit status.

    Where ``PROVISOR_PAGES_URL`` says that somebody else serves the pages of the state folder, nobody does here.

    Raises: JobError, SettingsError, UnreachableError.
    """
    refuse_wrong_files(folder)
    state = home()
    if (other := find_server(state)) is not None:
        raise SettingsError(
            f"A server is up for {state} already: {_page(other.url)}. Deploy with: provisor deploy {folder}"
        )
    _refuse_taken(port, "--port")
    out, keys, prefect = console(), keys_of(state), prefect_folder(state)
    url = f"http://127.0.0.1:{port}/api"
    client = {"PREFECT_HOME": str(prefect), "PREFECT_API_URL": url, "PREFECT_API_AUTH_STRING": keys.sign_in}
    os.environ |= {**_QUIET, **client, "PROVISOR_HOME": str(state)}
    with _told_to_end() as told, _pages(state, folder, pages_port, keys, _page(url)) as pages:
        at = {"PREFECT_SERVER_API_PORT": str(port), "PREFECT_UI_URL": _page(url)}  # the latter is in its notices
        settings = {**RECORDING, **pruning(), **_SERVER, **keys.settings, **at}
        with out.status("starting the Prefect server …"), serve(port, prefect, settings) as server:
            _load_meanwhile()
            wait_for(lambda: server.poll() is None, url, prefect)
            _end_orphans()
            _deploy(out, folder)
            with _worker(prefect) as worker:
                announce(state, Address(url, os.getpid(), pages))
                try:
                    _wait_until_ready(worker)
                    _tell(out, url, keys, state)
                    return _wait(out, told, {"server": server, "worker": worker}, prefect)
                finally:
                    withdraw(state)
    return 0


@contextmanager
def _pages(state: Path, folder: Path, port: int, keys: Keys, prefect: str) -> Iterator[str]:
    """Where the pages are served; runs know it by the environment. Raises: SettingsError."""
    if elsewhere := os.environ.get("PROVISOR_PAGES_URL"):
        yield elsewhere
        return
    _refuse_taken(port, "--pages-port")
    from flows.serve.web.serving import serving_pages

    with serving_pages(state, folder, port, keys.sign_in, prefect=prefect) as address:
        os.environ["PROVISOR_PAGES_URL"] = address
        yield address


def _load_meanwhile() -> None:
    """Deploying takes seconds to load, and a server takes seconds to start."""
    with loading():
        import flows.serve.automations
        import flows.serve.deploy  # noqa: F401


def _deploy(out: Terminal, folder: Path) -> None:
    from connectors.blocks import register
    from flows.serve.automations import tell_people
    from flows.serve.deploy import deploy_folder

    register()
    for sentence in deploy_folder(folder).sentences:
        out.print(f"[green]✓[/] {escape(sentence)}")
    tell_people(folder)


@contextmanager
def _worker(folder: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """A worker of the pool; at the end its runs are told to end, and are waited for."""
    from flows.serve.deploy import POOL

    name = f"{socket.gethostname()}-{os.getpid()}"
    words = ["worker", "start", "--pool", POOL, "--type", "process", "--name", name, "--limit", str(RUNS_AT_ONCE)]
    rotate_log(folder / "worker.log")
    with (folder / "worker.log").open("ab") as log:
        worker = subprocess.Popen(
            [sys.executable, "-c", _WORK, *words],
            env={**_WORKER, **os.environ},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # its runs are in its group, and Ctrl-C in a terminal reaches neither
        )
        try:
            yield worker
        finally:
            _end_group(worker)
            _end_orphans()


def _wait_until_ready(worker: "subprocess.Popen[bytes]") -> None:
    """Waits until the worker has asked for runs: before that the UI shows every deployment as one that cannot run.

    It may take long on a busy machine, and is no reason to give up: runs wait for it.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import DeploymentStatus

    from flows.serve.deploy import deployments_of_ours

    deadline = time.monotonic() + READY_S
    with get_client(sync_client=True) as client:
        while worker.poll() is None and time.monotonic() < deadline:
            if all(one.paused or one.status == DeploymentStatus.READY for one in deployments_of_ours(client)):
                return
            time.sleep(0.5)


def _end_orphans() -> None:
    """Marks the runs of deployments that no worker has any more: the job's next run would wait for them for ever.

    The server is for this machine alone, so that without our worker nobody runs anything.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    under_way = FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
    why = "The worker ended before the run did. What was sent is recorded, and the next cycle goes on from there."
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=under_way)))
        for run in runs:
            if run.deployment_id is not None:
                client.set_flow_run_state(run.id, Crashed(message=why), force=True)


def _end_group(worker: "subprocess.Popen[bytes]") -> None:
    """Ends a worker and all its runs: a run that is told to end does so between two batches, and writes that down."""
    _signal_group(worker.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        worker.wait(timeout=_GRACE_S)
    _signal_group(worker.pid, signal.SIGKILL)
    worker.wait()
    if worker.stdin is not None:
        worker.stdin.close()


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


@contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """An event that is set when this process is interrupted or told to end, while the block lasts."""
    told = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: _interrupt(told)) for number in signals}
    try:
        yield told
    except KeyboardInterrupt:
        if not told.is_set():
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(told: threading.Event) -> None:
    """Ends what is waited for; only once, so that nobody can end the ending."""
    if not told.is_set():
        told.set()
        raise KeyboardInterrupt


def _wait(out: Terminal, told: threading.Event, processes: "dict[str, subprocess.Popen[bytes]]", folder: Path) -> int:
    """Waits until this process is told to end, or a part of it has ended by itself; gives the exit status."""
    try:
        while not told.wait(1):
            for name, process in processes.items():
                rotate_log(folder / f"{name}.log")
                if process.poll() is not None:
                    out.print(f"[red]The {name} stopped unexpectedly; see its log in {folder / f'{name}.log'}.[/]")
                    return 4
    except KeyboardInterrupt:
        out.print("Stopping: running cycles stop between two batches …")
    return 0


def _tell(out: Terminal, url: str, keys: Keys, state: Path) -> None:
    """Where to look, and how to sign in; the password itself only where a person reads."""
    out.print()
    out.print(f"Provisor is up: [bold]{os.environ['PROVISOR_PAGES_URL']}[/]")
    if out.is_terminal:
        out.print(f"Sign in with    [bold]{escape(keys.sign_in)}[/]")
    else:
        out.print(f"Sign in with the value of sign_in in {escape(str(keys_file(state)))}")
    # From any other of its pages, Prefect's UI says first that something went wrong and that signing in has failed.
    out.print(f"Runs in Prefect {_page(url)}/login, enter the same sign-in in its only field")
    out.print('                (before you sign in, Prefect may show "Oops. Something went wrong": close it)')
    out.print("Ctrl-C ends it, and what runs with it.")


def _page(url: str) -> str:
    return url.removesuffix("/api")


def _refuse_taken(port: int, option: str) -> None:
    """Raises: SettingsError when somebody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise SettingsError(f"Port {port} of this machine is taken: choose another with {option}.") from None
