"""``provisor demo``: two days in the life of an organisation, against a real SCIM server.

All its files go into one folder: the exports, the job, the state, the server's log.
"""

import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.markup import escape
from rich.rule import Rule

from connectors.errors import SettingsError, UnreachableError
from flows.serve import local_api
from flows.show.console import Terminal
from tasks.private import write_file

SHIPPED = Path(__file__).parents[1] / "jobs"
JOB = "hr-to-scim"
_MARK = ".provisor-demo"
"""Marks a folder as ours, so that no other folder is deleted."""
_WAIT_S = 30.0
_ADMINISTRATOR = "admin@example.com"
"""Protected by the job: an app account that belongs to nobody in HR."""


def run_demo(folder: Path, *, keep: bool = False) -> int:
    """Plays both days in ``folder`` and returns the exit status. ``keep``: leaves the app running until Ctrl-C.

    Raises: SettingsError, UnreachableError."""
    folder = folder.absolute()
    _make_folder(folder)
    os.environ["PROVISOR_HOME"] = str(folder / "state")
    from flows.show.console import console

    out = console()
    out.print(f"All files of this demo are in [bold]{escape(str(folder))}[/].")
    with local_api.serving(folder / "state") as api_ready, _scim_server(folder) as url:
        out.print(f"A SCIM server (scim2-server) is running at {url}.")
        status = _play(out, _write_job(folder, url), folder, api_ready)
        _tell_where(out, folder, kept=keep)
        if keep:
            write_file(folder / ".env", f"SCIM_TOKEN={os.environ['SCIM_TOKEN']}\n".encode())
            _keep(out, url)
    return status


def _play(out: Terminal, job: Path, folder: Path, api_ready: Callable[[], None]) -> int:
    _title(out, "Day one: 1,000 people in HR, one administrator in the app. This is the plan")
    _show_plan(out, job)
    _title(out, "Run it as a Prefect flow")
    status = _cycle(job, api_ready)
    _title(out, "Run it again: nothing has changed, so nothing is written")
    status = max(status, _cycle(job, api_ready))
    _put_next_export(folder)
    _title(out, "Day two: joiners, movers, leavers, a marriage, a rehire. This is the plan")
    _show_plan(out, job)
    _title(out, "Run it")
    return max(status, _cycle(job, api_ready))


def _show_plan(out: Terminal, job: Path) -> None:
    from flows.cli.here import decide_now
    from flows.show.plan import show_plan
    from tasks.job import load_job

    show_plan(out, decide_now(load_job(job)), limit=2)


def _cycle(job: Path, api_ready: Callable[[], None]) -> int:
    from flows.cli.here import run_cycle

    return run_cycle(job, "auto", api_ready=api_ready).exit_status


def _title(out: Terminal, text: str) -> None:
    out.print()
    out.print(Rule(f"[bold]{text}[/]", align="left"))


def _make_folder(folder: Path) -> None:
    """Empties the folder: replaces an earlier demo, refuses anything else."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise SettingsError(
                f"The folder {folder} is not empty and does not belong to a demo. Choose another one with --folder."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()
    shutil.copytree(SHIPPED / JOB, folder / JOB, ignore=shutil.ignore_patterns("next"))


def _put_next_export(folder: Path) -> None:
    for file in (SHIPPED / JOB / "next").iterdir():
        shutil.copy(file, folder / JOB / file.name)


def _write_job(folder: Path, url: str) -> Path:
    """The shipped job, pointed to the demo's server and with its editor comment pointing to a schema beside it."""
    import orjson

    from tasks.job import job_schema

    (folder / "job.schema.json").write_bytes(orjson.dumps(job_schema(), option=orjson.OPT_INDENT_2))
    text = (SHIPPED / f"{JOB}.yaml").read_text(encoding="utf-8")
    path = folder / f"{JOB}.yaml"
    path.write_text(text.replace("http://127.0.0.1:8080/v2", url), encoding="utf-8")
    return path


def _put_administrator(url: str, token: str) -> None:
    import httpx

    user = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": _ADMINISTRATOR,
        "displayName": "Administrator of the app",
        "active": True,
    }
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/scim+json"}
    httpx.post(f"{url}/Users", json=user, headers=headers, timeout=_WAIT_S, trust_env=False).raise_for_status()


@contextmanager
def _scim_server(folder: Path) -> Iterator[str]:
    """Runs a scim2-server on a free loopback port until the context ends. Yields its address."""
    command = Path(sys.executable).with_name("scim2-server")
    if not command.exists():
        raise SettingsError("The demo needs the package scim2-server: pip install 'provisor[demo]', or run make demo.")
    token = os.environ["SCIM_TOKEN"] = secrets.token_urlsafe(24)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = [str(command), "--port", str(port), "--bearer-token", token]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            _wait_for(server, port, folder)
            url = f"http://127.0.0.1:{port}/v2"
            _put_administrator(url, token)
            yield url
        finally:
            server.terminate()
            try:
                server.wait(timeout=5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(server: "subprocess.Popen[bytes]", port: int, folder: Path) -> None:
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise UnreachableError(f"The demo's SCIM server did not start; see its log in {folder / 'server.log'}.")


def _tell_where(out: Terminal, folder: Path, *, kept: bool) -> None:
    """Command lines ready to paste, whatever the names of the folder and the command."""
    here = shlex.quote(str(folder))
    tools = shlex.quote(str(Path(sys.executable).parent))
    lines = [
        f"cd {here}",
        f'export PROVISOR_HOME="$PWD/state" PATH={tools}:"$PATH"',
        f"provisor status {JOB}                    # state of the job",
        f"provisor log {JOB} --identity 000015     # what happened to one person",
        f"provisor log {JOB} | less                # every change, newest first",
    ]
    if kept:
        lines += [
            f"provisor why {JOB} 000015                # why this account looks the way it does",
            f"provisor plan {JOB}                      # edit {JOB}/people.csv first, or {JOB}.yaml",
            f"provisor run {JOB}",
            "provisor up .                                 # the pages, and Prefect's UI",
        ]
    out.print()
    out.print(Rule("[bold]Where to look[/]" if not kept else "[bold]Try these in another terminal[/]", align="left"))
    for line in lines:
        out.print(f"  {escape(line)}", soft_wrap=True)
    if not kept:
        out.print("The app has stopped with the demo. To keep it running: [bold]provisor demo --keep[/]")
    out.print(f"Who is who in the data: {escape(str(SHIPPED / JOB / 'events.json'))}", soft_wrap=True)


def _keep(out: Terminal, url: str) -> None:
    """Waits until a person interrupts."""
    out.print(f"The app runs at {url} until you press Ctrl-C here.")
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
