"""README, word for word: the job is saved, each command is typed as it stands there, and does what it says."""

import io
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
from rich.console import Console
from rich.text import Text

from tests.flows.workplace import COMMAND, ROOT
from tests.pictures import SVG
from tests.play.readme import ADDRESS, FIRST_PEOPLE, README, free_port, lines_to_type, play
from tests.servers.scim_service import ScimService


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


def drawn(said: str, url: str, folder: Path) -> str:
    """What a run says, as the picture in README; times, and where it ran, are made the same every time."""
    said = said.replace(url, ADDRESS).replace(str(folder), "~/provisor")
    said = re.sub(r"\d+\.\d s", "0.4 s", re.sub(r"[\w-]+\.html", "1.html", said))
    out = Console(record=True, width=96, file=io.StringIO(), force_terminal=True, highlight=False)
    for line in said.splitlines():
        out.print(Text(line, style="green" if line.startswith(("Done", "Completed")) else ""))
    return out.export_svg(title="provisor run hr-to-app", code_format=SVG)


def test_a_job_in_ten_minutes(tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    """On a real service, from an empty folder to the first account, and a plan that then finds nothing to do.

    What comes before, clone and installation, CI has done a moment ago; ``python3 -m tests.play.readme`` does it too.
    """
    folder = tmp_path / "provisor"
    folder.mkdir()
    port = free_port()
    steps = play(folder, installed=True, port=port)
    said = {}
    for step in steps:
        assert step.status == 0, step.said
        if step.line.startswith("provisor "):
            said[shlex.split(step.line)[1]] = step.said
        if step.line.startswith("provisor run "):
            url = f"http://127.0.0.1:{port}/v2"
            assert logins_at(url) == ["ann.lee@example.com", "bob.ray@example.com"]
            again = typed("provisor plan hr-to-app", folder, tmp_path / "home")
            assert "nothing to do" in again.stdout
    assert list(said) == ["check", "plan", "run", "why"]
    assert "2 to create" in said["plan"]
    assert "Ann" in said["why"]
    golden(ROOT / "docs/pictures/run.svg", drawn(said["run"], url, folder))


def test_the_play_begins_at_the_clone() -> None:
    """Every command of README is typed, but those that change nothing for a user."""
    lines = lines_to_type(installed=False)
    assert [line.split()[0] for line in lines] == ["make", ".", "scim2-server", "export", *4 * ["provisor"]]


def test_a_first_job_by_init(service: ScimService, tmp_path: Path) -> None:
    """The shorter way of README: the same export, a proposed job, and the same two accounts in its plan."""
    (tmp_path / "people.csv").write_text(FIRST_PEOPLE, encoding="utf-8")
    shown = re.search(r"`(provisor init --source people\.csv)`", README)
    assert shown is not None
    done = typed(f"{shown[1]} --target {service.url}", tmp_path, tmp_path)
    assert done.returncode == 0, done.stderr
    for line in re.findall(r"^  (provisor .+)$", done.stdout, re.MULTILINE):
        told = typed(line, tmp_path, tmp_path)
        assert told.returncode == 0, (line, told.stdout, told.stderr)
    assert "2 to create" in told.stdout
