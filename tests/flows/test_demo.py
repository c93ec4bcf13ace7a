"""``provisor demo``: the first thing a newcomer runs."""

import re
import signal
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
    demo = subprocess.Popen(
        [str(COMMAND), "demo", "--keep", "--folder", str(folder)],
        cwd=here,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert demo.stdout is not None
        told = []
        for line in demo.stdout:
            told.append(line)
            if "until you press Ctrl-C" in line:
                break
        pasted = [line.strip() for line in told if line.startswith("  ")]
        shell = [line for line in pasted if line.startswith(("cd ", "export ", "provisor plan ", "provisor log "))]
        played = subprocess.run(
            ["bash", "-c", "set -e\n" + "\n".join(line.replace("| less", "> /dev/null") for line in shell)],
            cwd=here,
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
        )
        demo.send_signal(signal.SIGINT)
        rest, err = demo.communicate(timeout=100)
    finally:
        demo.kill()
    done = Said(demo.returncode, "".join(told) + rest, err)
    assert len(shell) == 5
    assert (played.returncode, "nothing to do" in played.stdout) == (0, True), played.stdout + played.stderr
    words = "".join(done.out.split())
    assert done.status == 0, done.out + done.err
    assert "".join(str(folder).split()) in words
    assert "Traceback" not in done.err
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
    suggested = re.search(r"--identity\s+(\S+)", done.out)
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
