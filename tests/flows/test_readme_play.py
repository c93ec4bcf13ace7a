"""README, word for word: the job is saved, each command is typed as it stands there, and does what it says."""

import io
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from rich.text import Text

from tests.flows.workplace import COMMAND, ROOT
from tests.pictures import SVG
from tests.servers.scim_service import ScimService
from tests.servers.starting import Server, scim2_server

README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8080/v2"
"""Of the example; the test's service has another port."""


def block(text: str, language: str, *, after: str = "") -> str:
    """The first block of code in a language behind a heading."""
    found = re.search(rf"```{language}\n(.*?)```", text.partition(after)[2] if after else text, re.DOTALL)
    assert found is not None, (language, after)
    return found[1]


def typed(line: str, folder: Path, home: Path) -> "subprocess.CompletedProcess[str]":
    """A line as in a shell, with the environment of ``. .venv/bin/activate``."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PROVISOR_", "PYTEST_"))
    }
    path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**kept, "PATH": path, "SCIM_TOKEN": "a-token", "HOME": str(home), "PYTHONPATH": str(ROOT)}
    environment["PROVISOR_STAY_MINUTES"] = "1"  # what stays for the next command, as it does for a person
    return subprocess.run(
        shlex.split(line, comments=True), cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def logins_at(url: str) -> list[str]:
    """Who has an account, as the service itself says."""
    answer = httpx.get(f"{url}/Users", headers={"Authorization": "Bearer a-token"}, timeout=30).json()
    return sorted(user["userName"] for user in answer["Resources"])


def drawn(run: "subprocess.CompletedProcess[str]", url: str, folder: Path) -> str:
    """What a run says, as the picture in README; times, and where it ran, are made the same every time."""
    said = f"{run.stderr}{run.stdout}".replace(url, ADDRESS).replace(str(folder), "~/first")
    said = re.sub(r"\d+\.\d s", "0.4 s", re.sub(r"[\w-]+\.html", "1.html", said))
    out = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, highlight=False)
    for line in said.strip().splitlines():
        out.print(Text(line, style="green" if line.startswith(("Done", "Completed")) else ""))
    return out.export_svg(title="provisor run hr-to-app", code_format=SVG)


@pytest.fixture
def independent() -> Iterator[Server]:
    """The service that the demo uses, of another make than ours."""
    with scim2_server() as server:
        yield server


def test_a_job_in_ten_minutes(independent: Server, tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    """On a real service, from an empty folder to the first account, and a plan that then finds nothing to do."""
    heading = "## A job in ten minutes"
    job = block(README, "yaml", after=heading)
    assert ADDRESS in job
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / "hr-to-app.yaml").write_text(job.replace(ADDRESS, independent.url), encoding="utf-8")
    (folder / "people.csv").write_text(block(TUTORIAL, "csv"), encoding="utf-8")
    lines = block(README, "sh", after=heading).splitlines()
    assert [shlex.split(line)[1] for line in lines] == ["check", "plan", "run", "why"]
    said = {shlex.split(line)[1]: typed(line, folder, tmp_path) for line in lines}
    assert [done.returncode for done in said.values()] == [0, 0, 0, 0], [done.stderr for done in said.values()]
    assert "2 to create" in said["plan"].stdout
    assert logins_at(independent.url) == ["ann.lee@example.com", "bob.ray@example.com"]
    assert "Ann" in said["why"].stdout
    golden(ROOT / "docs/pictures/run.svg", drawn(said["run"], independent.url, folder))
    again = typed("provisor plan hr-to-app", folder, tmp_path)
    assert "nothing to do" in again.stdout


def test_a_first_job_by_init(service: ScimService, tmp_path: Path) -> None:
    """The shorter way of README: the same export, a proposed job, and the same two accounts in its plan."""
    (tmp_path / "people.csv").write_text(block(TUTORIAL, "csv"), encoding="utf-8")
    shown = re.search(r"`(provisor init --source people\.csv)`", README)
    assert shown is not None
    done = typed(f"{shown[1]} --target {service.url}", tmp_path, tmp_path)
    assert done.returncode == 0, done.stderr
    for line in re.findall(r"^  (provisor .+)$", done.stdout, re.MULTILINE):
        told = typed(line, tmp_path, tmp_path)
        assert told.returncode == 0, (line, told.stdout, told.stderr)
    assert "2 to create" in told.stdout
