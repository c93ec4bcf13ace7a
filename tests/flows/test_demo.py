"""``provisor demo``: the first thing a newcomer runs."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.data.expected import desired_state
from tests.flows.workplace import COMMAND, EXPORT, Said, Workplace


def files(folder: Path) -> set[str]:
    """Everything in a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_demo_plays_both_days_in_its_own_folder(
    tmp_path: Path, provisor: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It succeeds with no environment at all, replaces an older demo, names its folder, and writes nowhere else."""
    home, here, temporary, folder = (tmp_path / name for name in ("home", "here", "temporary", "demo folder"))
    for made in (home, here, temporary, folder):
        made.mkdir()
    (folder / ".provisor-demo").touch()
    (folder / "of the last demo").touch()
    environment = Workplace(tmp_path).environment(HOME=str(home), TMPDIR=str(temporary))
    for name in ("PROVISOR_HOME", "SCIM_TOKEN"):
        del environment[name]
    done = subprocess.run(
        [str(COMMAND), "demo", "--folder", str(folder)],
        cwd=here,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
    )
    words = "".join(done.stdout.split())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "".join(str(folder).split()) in words
    assert "Traceback" not in done.stderr
    assert files(home) == set()
    assert files(here) == set()
    assert files(temporary) == set()
    assert not (folder / "of the last demo").exists()

    monkeypatch.setenv("PROVISOR_HOME", str(folder / "state"))
    [status] = provisor("status", "--json").document
    first = desired_state(EXPORT)
    second = desired_state(EXPORT / "next", first)
    day_two, again, day_one = status["cycles"]
    assert day_one["counts"]["created"] == len(first.created) + len(first.groups)
    assert not any(again["counts"].values())
    assert day_two["counts"]["disabled"] == len(second.disabled)
    assert status["links"] == {"user": len(second.users), "group": len(second.groups)}
    suggested = re.search(r"--identity\s+(\S+)", done.stdout)
    assert suggested is not None
    log = provisor("log", "hr-to-scim", "--identity", suggested[1], "--format", "json").document
    assert log, "the command that the demo suggests shows nothing"


def test_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path: Path, provisor: Callable[..., Said]) -> None:
    """A folder with somebody's files is never emptied."""
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    said = provisor("demo", "--folder", tmp_path)
    assert said.status != 0
    assert "--folder" in said.err
    assert files(tmp_path) == {"thesis.txt"}
