"""``provisor up`` as a process of its own, and its API and pages as a person and a program see them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.flows.workplace import COMMAND, Workplace
from tests.servers.starting import free_port

WAIT_S = 300.0
"""How long anything may take on a machine that is busy with other things."""


@dataclass(slots=True)
class Up:
    """A server, its worker and its deployments."""

    workplace: Workplace
    process: "subprocess.Popen[bytes]"
    port: int
    pages_port: int
    log: Path

    @property
    def page(self) -> str:
        """Where a person looks."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pages(self) -> str:
        """Where reports and Data Docs are."""
        return f"http://127.0.0.1:{self.pages_port}"

    @property
    def sign_in(self) -> str:
        """What a person signs in with."""
        return str(orjson.loads((self.workplace.home / "prefect" / "keys.json").read_bytes())["sign_in"])

    def api(self) -> httpx.Client:
        """A client that has signed in."""
        user, _, password = self.sign_in.partition(":")
        return httpx.Client(base_url=f"{self.page}/api", auth=(user, password), timeout=60)

    def deployments(self) -> dict[str, dict[str, Any]]:
        """By name."""
        with self.api() as api:
            return {one["name"]: one for one in api.post("/deployments/filter", json={}).json()}

    def start(self, deployment: str, **parameters: Any) -> str:
        """Asks for a run as the form does; gives its id."""
        found = self.deployments()[deployment]["id"]
        with self.api() as api:
            answer = api.post(f"/deployments/{found}/create_flow_run", json={"parameters": parameters})
            answer.raise_for_status()
            return str(answer.json()["id"])

    def run(self, run: str) -> dict[str, Any]:
        """A run as it stands."""
        with self.api() as api:
            return dict(api.get(f"/flow_runs/{run}").json())

    def artifacts(self, run: str, key: str) -> list[dict[str, Any]]:
        """A run's artifacts of one key, the newest first."""
        mine = {"artifacts": {"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}}, "sort": "CREATED_DESC"}
        with self.api() as api:
            return list(api.post("/artifacts/filter", json=mine).json())

    def ended(self, run: str) -> dict[str, Any]:
        """A run when it has ended, or waits."""
        return wait_for(lambda: self.run(run), lambda found: found["state_type"] in ENDED, self.tail)

    def tail(self) -> str:
        """What was said last, for a test that fails."""
        logs = [self.log, *(self.workplace.home / "prefect").glob("*.log")]
        return "\n".join(f"{log.name}: {log.read_text(errors='replace')[-1500:]}" for log in logs if log.exists())


ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED", "PAUSED"}


def wait_for(look: Callable[[], Any], good: Callable[[Any], bool], explain: Callable[[], str] = lambda: "") -> Any:
    """What is looked at, as soon as it is good; asked again every half second, at most for ``WAIT_S``."""
    deadline = time.monotonic() + WAIT_S
    while not good(found := look()):
        assert time.monotonic() < deadline, f"still {found!r} after {WAIT_S:.0f} s\n{explain()}"
        time.sleep(0.5)
    return found


@contextmanager
def provisor_up(workplace: Workplace, **environment: str) -> Iterator[Up]:
    """``provisor up`` for the folder of a workplace; told to end at the end."""
    port, pages_port = free_port(), free_port()
    log = workplace.folder / f"up-{port}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [str(COMMAND), "up", str(workplace.folder), "--port", str(port), "--pages-port", str(pages_port)],
            cwd=workplace.folder,
            env=workplace.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    up = Up(workplace, process, port, pages_port, log)
    try:
        wait_for(lambda: (process.poll(), log.read_text()), lambda seen: "Provisor is up" in seen[1], up.tail)
        yield up
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(120)
        finally:
            process.kill()
            process.wait()


def processes_of(workplace: Workplace) -> list[str]:
    """Command lines of all processes that were started for a workplace, by their environment."""
    mark = f"PROVISOR_HOME={workplace.home}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
    return found
