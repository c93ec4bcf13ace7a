"""A process that has everything loaded and forks one run for each line it reads, so that a run can be killed for real.

Loading the product takes longer than a cycle of a small company. What a run is, ``tests.model.driver`` says: the flow's
own body without an orchestrator; it opens its own ledger, files and connections after the fork.

Reads lines of JSON: ``{"folder": ..., "now": ..., "choice": ...}``, and more as :meth:`Nursery.run` says. For each it
writes the run's process id, and, when the run has ended, how: 0, or minus the signal that killed it.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Self

from tests.faults.company import JOB_FILE

ROOT = Path(__file__).parents[2]
"""The checkout."""
LOADED = (
    *("aiohttp", "anyio._backends._asyncio", "httpx_aiohttp", "prefect.artifacts"),
    *("connectors.csv", "connectors.scim.connector", "tasks.job.file", "tasks.ledger.migrations.run"),
)
"""What a run would load when it needs it, loaded once for all of them."""


class Nursery:
    """The process, running while the block does."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"},
            text=True,
            bufsize=1,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", "the nursery did not start"
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    @contextmanager
    def run(
        self, folder: Path, now: datetime, choice: str, *, lease_s: float | None = None, database: str | None = None
    ) -> Iterator["Run"]:
        """A run of the job in this folder, waited for at the end of the block.

        ``lease_s``: how long its lease lasts, in real seconds; ``database``: where the ledger is, if not in the folder.
        """
        line: dict[str, Any] = {"folder": str(folder), "now": now.isoformat(), "choice": choice}
        line |= {"lease_s": lease_s} if lease_s is not None else {}
        line |= {"database": database} if database is not None else {}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(line), file=self._process.stdin, flush=True)
        run = Run(int(self._process.stdout.readline()), self._process.stdout)
        try:
            yield run
        finally:
            run.wait()


class Run:
    """One run, alive or dead."""

    def __init__(self, pid: int, news: "IO[str]") -> None:
        self.pid = pid
        self.status: int | None = None
        """0, or minus the signal that killed it; None while it runs."""
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._listen, args=(news,), daemon=True)
        self._reader.start()

    def _listen(self, news: "IO[str]") -> None:
        self.status = int(news.readline())
        self._ended.set()

    def wait(self, timeout_s: float = 120) -> bool:
        """True when it has ended by then."""
        return self._ended.wait(timeout_s)


def main() -> None:
    """Forks and waits, until nobody asks any more."""
    import flows.cycle.lease
    from tests.model.driver import Driver

    for name in LOADED:
        import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.environ |= {"PROVISOR_HOME": f"{asked['folder']}/state", "SCIM_TOKEN": "a-token"}
                if "database" in asked:
                    os.environ["PROVISOR_DATABASE_URL"] = asked["database"]
                if "lease_s" in asked:
                    flows.cycle.lease.LEASE = timedelta(seconds=asked["lease_s"])
                driver = Driver(Path(asked["folder"]) / JOB_FILE, datetime.fromisoformat(asked["now"]))
                driver.cycle(asked["choice"])
                driver.close()
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        print(pid, flush=True)
        _, ended = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)
    os._exit(0)  # there is nothing to tidy up, and what is loaded would take seconds to say so


if __name__ == "__main__":
    main()
