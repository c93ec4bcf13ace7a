"""Runs the services of deploy/compose.yaml as plain processes, in the order in which compose would start them.

No container engine is needed: the processes have the environment of compose and of the image and nothing else; hosts,
ports and folders are put in the place of those that containers have. It ends with the first account in an app.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
from ruamel.yaml import YAML

from tests.play.readme import FIRST_PEOPLE, ROOT, first_job
from tests.servers.starting import HOST, DatabaseServer, free_port, postgresql, scim2_server

TOOLS = Path(sys.executable).parent
PUBLIC = "provisor.example.com"
GIVEN = {
    "POSTGRES_PASSWORD": "letters",
    "PREFECT_SIGN_IN": "provisor:a-password",
    "PAGES_HOST": PUBLIC,
    "PREFECT_HOST": "prefect.example.com",
    "SCIM_TOKEN": "a-token",
}
"""What a person puts into deploy/.env."""


@dataclass(frozen=True, slots=True)
class World:
    """Where things are here that are somewhere else in containers."""

    folder: Path
    database: DatabaseServer
    prefect: int
    pages: int
    services: Mapping[str, Any]

    def here(self, text: str) -> str:
        """A word of compose.yaml as it has to be on this machine."""
        text = re.sub(r"\$\{(\w+)\}", lambda found: GIVEN[found[1]], text)
        there = self.database.url.rpartition("@")[2].partition("/")[0]
        for container, own in {
            "@database/": f"@{there}/",
            "http://prefect:4200": f"http://{HOST}:{self.prefect}",
            "127.0.0.1:4200": f"{HOST}:{self.prefect}",
            "0.0.0.0": HOST,
            "/var/lib/provisor": str(self.folder / "var"),
            "/jobs": str(self.folder / "jobs"),
        }.items():
            text = text.replace(container, own)
        return text

    def environment(self, name: str) -> dict[str, str]:
        """As the image and compose set it, and nothing of this process's own."""
        image = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
        said = dict(re.findall(r"(?:ENV|^) +(\w+)=([^\s\\]+)", image, re.MULTILINE))
        compose = self.services[name].get("environment", {})
        made = {key: self.here(str(value)) for key, value in {**GIVEN, **said, **compose}.items()}
        ports = {"PREFECT_SERVER_API_PORT": str(self.prefect)}
        return {**made, **ports, "PATH": f"{TOOLS}:/usr/bin:/bin", "HOME": str(self.folder / "var")}

    def words(self, name: str) -> list[str]:
        service = self.services[name]
        return [self.here(word) for word in [*service.get("entrypoint", ["provisor"]), *service["command"]]]

    def run(self, name: str, *words: str, given: str | None = None) -> "subprocess.CompletedProcess[str]":
        """As ``docker compose run --rm NAME WORDS``."""
        entrypoint, *command = self.words(name)
        return subprocess.run(
            [entrypoint, *(map(self.here, words) if words else command)],
            cwd=self.folder / "jobs",
            env=self.environment(name),
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
        )

    @contextmanager
    def up(self, name: str, *more: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A service that stays until the block ends."""
        with (self.folder / f"{name}.log").open("wb") as log:
            words = [*self.words(name), *more]
            process = subprocess.Popen(
                words, cwd=self.folder / "jobs", env=self.environment(name), stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def until(fact: Callable[[], bool], what: str, *, timeout_s: float = 180) -> None:
    """Raises: RuntimeError when it has not become true in time."""
    deadline = time.monotonic() + timeout_s
    while not fact():
        if time.monotonic() > deadline:
            raise RuntimeError(f"Not within {timeout_s:g} s: {what}")
        time.sleep(0.5)


def step(name: str, done: "subprocess.CompletedProcess[str] | None" = None) -> None:
    """Says that a step is done. Raises: RuntimeError where its status is not 0."""
    if done is not None and done.returncode:
        raise RuntimeError(f"{name} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    print(f"done: {name}", flush=True)


def play(folder: Path) -> None:
    """From an empty database to the first account. Raises: RuntimeError."""
    (folder / "jobs").mkdir()
    (folder / "var").mkdir()
    with postgresql() as database, scim2_server() as app, ExitStack() as stack:
        (folder / "jobs/hr-to-app.yaml").write_text(first_job(app.url), encoding="utf-8")
        (folder / "jobs/people.csv").write_text(FIRST_PEOPLE, encoding="utf-8")
        address = database.url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("CREATE ROLE provisor LOGIN SUPERUSER")
            connection.execute("CREATE DATABASE provisor")
            script = (ROOT / "deploy/create-databases.sql").read_text(encoding="utf-8")
            connection.execute(script)
        compose = YAML(typ="safe").load((ROOT / "deploy/compose.yaml").read_text(encoding="utf-8"))
        world = World(folder, database, free_port(), free_port(), compose["services"])
        stack.enter_context(world.up("prefect"))
        probe = world.services["prefect"]["healthcheck"]["test"][1:]
        environment = world.environment("prefect")

        def is_healthy() -> bool:
            words = [world.here(word) for word in probe]
            return subprocess.run(words, env=environment, capture_output=True, check=False).returncode == 0

        until(is_healthy, "the server is healthy")
        step("prefect is healthy")
        step("deploy", world.run("deploy"))
        stack.enter_context(world.up("worker"))
        stack.enter_context(world.up("pages", "--port", str(world.pages)))
        step("users put", world.run("deploy", "users", "put", "maria", "--role", "operator", given="a-long-password\n"))
        pages = f"http://{HOST}:{world.pages}/"

        def is_served() -> bool:
            try:
                return httpx.get(pages, headers={"Host": PUBLIC}, follow_redirects=False).status_code < 400
            except httpx.TransportError:
                return False

        until(is_served, "the pages answer to their public name")
        step("pages")
        step("plan", world.run("deploy", "plan", "/jobs/hr-to-app.yaml"))
        words = ["prefect", "deployment", "run", "provision/hr-to-app", "--watch", "--watch-timeout", "240"]
        environment = world.environment("worker")
        step("a run by the worker", subprocess.run(words, env=environment, capture_output=True, text=True, check=False))
        bearer = {"Authorization": f"Bearer {app.token}"}
        found = httpx.get(f"{app.url}/Users", headers=bearer).json()["Resources"]
        logins = sorted(user["userName"] for user in found)
        if logins != ["ann.lee@example.com", "bob.ray@example.com"]:
            raise RuntimeError(f"the app has {logins}")
        step(f"accounts of {', '.join(logins)}")


if __name__ == "__main__":
    os.umask(0o077)
    with TemporaryDirectory(prefix="provisor-compose-") as name:
        play(Path(name))
