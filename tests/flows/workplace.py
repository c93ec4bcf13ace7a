"""What every test of a whole cycle needs: a folder with an export, a job that reads it, and a state folder."""

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from ruamel.yaml import YAML

from flows.cli.here import run_cycle
from flows.cycle.systems import CLOCK
from flows.serve import local_api
from tasks.report import CycleReport
from tests.data.expected import State
from tests.flows.forked import Forked
from tests.servers.scim_service import ScimService

ROOT = Path(__file__).parents[2]
"""The checkout."""
EXPORT = ROOT / "flows" / "jobs" / "hr-to-scim"
"""The demo's first export; the second one lies below it in ``next``."""
COMMAND = Path(sys.executable).with_name("provisor")

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output. Raises: orjson.JSONDecodeError when there is anything else."""
        return orjson.loads(self.out)


Command = Callable[..., Said]
"""The fixture ``provisor``."""


@dataclass(slots=True)
class Workplace:
    """A folder with an export, the demo's job (without its data checks) reading it, and the job's state beside it."""

    folder: Path
    document: dict[str, Any] = field(default_factory=dict)
    """The job file's content; ``save`` writes what was changed."""

    @classmethod
    def make(cls, folder: Path, *, url: str, name: str = "hr-to-scim") -> "Workplace":
        """A workplace whose job writes to this target. The exports are put in by ``use``."""
        document = YAML(typ="safe").load(EXPORT.with_suffix(".yaml"))
        del document["checks"]  # Great Expectations takes seconds to load; tests that are about checks put some in
        document["name"] = name
        document["target"]["url"] = url
        made = cls(folder, document)
        made.export.mkdir(parents=True)
        return made.save()

    @property
    def job(self) -> Path:
        """The job file."""
        return self.folder / "job.yaml"

    @property
    def export(self) -> Path:
        """Where the job reads people.csv, groups.csv and members.csv."""
        return self.folder / "hr-to-scim"

    @property
    def people(self) -> Path:
        return self.export / "people.csv"

    @property
    def home(self) -> Path:
        """PROVISOR_HOME."""
        return self.folder / "state"

    def save(self, **sections: Any) -> "Workplace":
        """Writes the job file, with these sections instead of those it has."""
        self.document.update(sections)
        self.job.write_bytes(orjson.dumps(self.document))  # JSON is YAML
        return self

    def use(self, export: Path) -> "Workplace":
        """Puts another export in."""
        for name in ("people.csv", "groups.csv", "members.csv"):
            shutil.copyfile(export / name, self.export / name)
        return self

    def rows(self) -> list[Row]:
        """The people of the export."""
        with self.people.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def write_rows(self, rows: Iterable[Row]) -> None:
        """The people of the export from now on."""
        found = list(rows)
        with self.people.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(found[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)

    def change(self, anchor: str, change: Callable[[Row], Row | None]) -> None:
        """One person from now on; None takes the person out."""
        changed = [change(row) if row["employeeId"] == anchor else row for row in self.rows()]
        self.write_rows(row for row in changed if row is not None)

    def cycle(self, choice: str = "auto") -> CycleReport:
        """Runs one cycle in this process, as the command does; needs the fixture ``plain_runs`` or ``prefect_api``."""
        with local_api.serving(self.home) as api_ready:
            return run_cycle(self.job, choice, api_ready=api_ready, quiet=True)

    def environment(self, **more: str) -> dict[str, str]:
        """For a process: ours, without anything that would reach into the product, but for ``more``."""
        ours = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "PROVISOR_", "SCIM_", "GX_", "PYTHONWARNINGS", "PYTEST_"))
        }
        people = {"HOME": str(self.folder), "PROVISOR_HOME": str(self.home), "SCIM_TOKEN": "a-token"}
        nothing_stays = {"PROVISOR_STAY_MINUTES": "0"}
        return ours | people | nothing_stays | {"PYTHONPATH": str(ROOT)} | more

    def start(self, *words: str, **environment: str) -> Forked:
        """The ``provisor`` command as a process of its own, which finds everything loaded."""
        return Forked(words, self.folder, self.environment(**environment))

    def call(self, *words: str, **environment: str) -> Said:
        """Runs the ``provisor`` command as a process of its own, which finds everything loaded."""
        return _said_by(self.start(*words, **environment))

    def start_cold(self, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """The same as from a shell: it takes seconds until everything is loaded."""
        return subprocess.Popen(
            [str(COMMAND), *words],
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call_cold(self, *words: str, **environment: str) -> Said:
        """Runs the ``provisor`` command as from a shell."""
        return _said_by(self.start_cold(*words, **environment))


def _said_by(process: "Forked | subprocess.Popen[str]") -> Said:
    try:
        out, err = process.communicate(timeout=400)
    finally:
        process.kill()
    return Said(process.wait(10), out, err)


# --- time ------------------------------------------------------------------------------------------------------------


@contextmanager
def at(moment: datetime) -> Iterator[None]:
    """It is this moment inside."""
    token = CLOCK.set(lambda: moment)
    try:
        yield
    finally:
        CLOCK.reset(token)


# --- people ----------------------------------------------------------------------------------------------------------


def staff(workplace: Workplace) -> list[Row]:
    """People who have an account, in the order of the export."""
    return [row for row in workplace.rows() if row["employeeType"] != "contractor" and row["status"] == "active"]


def without_reports(workplace: Workplace, state: State) -> list[str]:
    """Anchors of people with an account to whom nobody reports, in order."""
    managers = {row["manager"] for row in workplace.rows()}
    return [anchor for anchor in sorted(state.users) if anchor not in managers]


# --- the target ------------------------------------------------------------------------------------------------------


def writes(service: ScimService) -> dict[str, int]:
    """Requests that change something, by method and endpoint."""
    return {line: count for line, count in service.requests.items() if not line.startswith("GET")}


def accounts(service: ScimService, anchor: str) -> list[dict[str, Any]]:
    """Accounts with the anchor as external id."""
    return [user for user in map(service.users.__getitem__, service.users) if user.get("externalId") == anchor]


def account(service: ScimService, anchor: str) -> dict[str, Any]:
    """The one account of a person."""
    [found] = accounts(service, anchor)
    return found


# --- commands that come to nothing -----------------------------------------------------------------------------------


def refused(provisor: Command, service: ScimService, *words: Any) -> str:
    """Asks for something that cannot be; gives what is said, after a look that nothing was written."""
    service.reset_counts()
    said = provisor(*words)
    assert said.status == 4, said.out + said.err
    assert writes(service) == {}
    assert "Traceback" not in said.err
    return said.out + said.err


def kill_hanging(process: Forked, service: ScimService) -> None:
    """Kills a command with no warning once the service holds back its answer (fault ``hang``), and ends the fault."""
    try:
        while not service.faults["hang"].struck:
            with pytest.raises(subprocess.TimeoutExpired):  # a command that ends by itself fails the test here
                process.wait(0.01)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    service.clear_fault()
    service.drop_connections()
