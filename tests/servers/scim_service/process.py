"""The service in a process of its own, for load tests: its work does not take from the client's processor."""

import http.client
import json
import os
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

ROOT = Path(__file__).parents[3]
"""The checkout, where ``tests`` can be imported from."""


class ScimProcess:
    """The service as a subprocess, running while the block does; looked into by its control interface."""

    def __init__(
        self,
        *,
        token: str | None = "a-token",
        log: str = "off",
        quirks: Mapping[str, str] | None = None,
        faults: Mapping[str, Mapping[str, Any]] | None = None,
        seed_users: int = 0,
        errors: Path | None = None,
        **options: Any,
    ) -> None:
        """``options``: default_page_size, max_page_size, prefix, port, seed. ``errors``: where it complains."""
        self.token = token
        self.url = ""
        self._errors = errors
        self._command = [sys.executable, "-m", "tests.servers.scim_service", "--log", log]
        self._command += ["--seed-users", str(seed_users)]
        if token is not None:
            self._command += ["--token", token]
        if quirks:
            self._command += ["--quirks", json.dumps(dict(quirks))]
        if faults:
            self._command += ["--faults", json.dumps({kind: dict(settings) for kind, settings in faults.items()})]
        for name, value in options.items():
            self._command += [f"--{name.replace('_', '-')}", str(value)]

    def __enter__(self) -> Self:
        errors = self._errors.open("ab") if self._errors is not None else None
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=ROOT,
                env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
            )
        finally:
            if errors is not None:
                errors.close()
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(180) else b""
        if not line:
            self.__exit__()
            raise RuntimeError(f"the SCIM service did not start: {' '.join(self._command)}")
        self.url = json.loads(line)["url"]
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def state(self) -> dict[str, Any]:
        """What the service holds and does, in figures."""
        found: dict[str, Any] = self._ask("GET", "state")
        return found

    @property
    def requests(self) -> Counter[str]:
        """Requests since the last reset_counts, by method and first part of the path: `POST /Users`."""
        return Counter(self._ask("GET", "requests"))

    @property
    def statuses(self) -> Counter[int]:
        """Answers since the last reset_counts by status; 0 counts requests that got none."""
        return Counter({int(status): count for status, count in self.state()["statuses"].items()})

    @property
    def log(self) -> list[dict[str, Any]]:
        """The log, if it is kept."""
        found: list[dict[str, Any]] = self._ask("GET", "log")
        return found

    def export(self) -> Iterator[dict[str, Any]]:
        """Every resource, users first, in order of creation."""
        for line in self._send("GET", "export", None).splitlines():
            yield json.loads(line)

    @property
    def users(self) -> dict[str, dict[str, Any]]:
        """All users as they are now, by id."""
        return {found["id"]: found for found in self.export() if found["meta"]["resourceType"] == "User"}

    @property
    def groups(self) -> dict[str, dict[str, Any]]:
        """All groups as they are now, by id."""
        return {found["id"]: found for found in self.export() if found["meta"]["resourceType"] == "Group"}

    def seed(self, **what: Any) -> None:
        """Put in resources; the arguments are those of ScimService.seed."""
        self._ask("POST", "seed", {name: list(v) if isinstance(v, tuple) else v for name, v in what.items()})

    def reset_counts(self) -> None:
        """Forget requests, statuses and log."""
        self._ask("POST", "reset", {"counts": True})

    def clear(self) -> None:
        """Forget all users and groups."""
        self._ask("POST", "reset", {"resources": True})

    def set_fault(self, kind: str, **settings: Any) -> None:
        """Switch a fault on; the arguments are those of ScimService.set_fault."""
        self._ask("POST", "faults", {"kind": kind, **settings})

    def clear_fault(self, label: str | None = None) -> None:
        """Switch a fault off by its label, or all of them."""
        self._ask("DELETE", "faults" if label is None else f"faults/{quote(label, safe='')}")

    def set_quirks(self, **answers: str) -> None:
        """Let questions be answered otherwise from now on."""
        self._ask("POST", "quirks", answers)

    def renew_token(self, token: str) -> None:
        """Accept another token from now on."""
        self._ask("POST", "token", {"token": token})
        self.token = token

    def _ask(self, method: str, name: str, document: Any = None) -> Any:
        return json.loads(self._send(method, name, document))

    def _send(self, method: str, name: str, document: Any) -> bytes:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=300)
        try:
            body = None if document is None else json.dumps(document).encode()
            connection.request(method, f"/_control/{name}", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise ValueError(json.loads(answer)["error"])
        return answer
