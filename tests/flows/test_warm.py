"""Commands that run in a fork of a process that has everything loaded: they are as they would be without it."""

import fcntl
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from flows.cli.warm_process import _HEAVY, _LIGHT
from flows.cycle.home import home
from flows.serve import local_api
from flows.serve.loading import loading
from flows.serve.staying import in_use
from flows.serve.warm import _api_for, say_loading
from tasks.private import make_file
from tests.flows.workplace import Command, Said, Workplace, account, staff
from tests.servers.scim_service import ScimService

DEADLINE_S = 120.0
STAYS = {"PROVISOR_STAY_MINUTES": "5"}


def until(true: Callable[[], Any], what: str) -> Any:
    """What is looked at, once it is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := true()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def processes(word: str) -> list[int]:
    """Processes that were started with a word among their arguments."""
    return [
        int(one.parent.name) for one in Path("/proc").glob("[0-9]*/cmdline") if word.encode() in _read(one).split(b"\0")
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture
def warm(small: Workplace) -> Iterator[Callable[..., Said]]:
    """Runs commands of the workplace whose processes stay; at the end its folder is gone, and so are they."""
    yield lambda *words, **environment: small.call_cold(*words, **STAYS, **environment)
    folders = [*(small.home / "prefect").glob("warm-*"), *(small.home / "prefect").glob("local-*")]
    small.home.rename(small.folder / "gone")
    for folder in folders:
        until(lambda folder=folder: not processes(str(folder)), f"{folder} outlives its state folder")


def warm_process(small: Workplace) -> int:
    """The one process that has everything loaded, and runs no command."""
    [folder] = (small.home / "prefect").glob("warm-*")
    [found] = [one for one in processes(str(folder)) if not _is_fork(one)]
    return found


def forks(small: Workplace) -> list[int]:
    """Commands that run in it."""
    [folder] = (small.home / "prefect").glob("warm-*")
    return [one for one in processes(str(folder)) if _is_fork(one)]


def _is_fork(process: int) -> bool:
    """Whether its parent has the same arguments."""
    parent = _read(Path(f"/proc/{process}/stat")).rpartition(b")")[2].split()[1:2]
    mine = _read(Path(f"/proc/{process}/cmdline"))
    return bool(parent) and _read(Path(f"/proc/{int(parent[0])}/cmdline")) == mine


def test_commands_are_as_without_it(
    small: Workplace, service: ScimService, warm: Callable[..., Said], provisor: Command
) -> None:
    """Output, exit status, environment and folder are those of the command; its secrets are not the process's."""
    assert warm("run", str(small.job)).status == 0
    process = warm_process(small)
    assert b"a-token" not in _read(Path(f"/proc/{process}/environ"))
    anchor = staff(small)[0]["employeeId"]
    for words in (
        ("status", "--json"),
        ("log", "hr-to-scim", "--format", "json"),
        ("why", str(small.job), anchor, "--json"),
    ):
        assert warm(*words).out == provisor(*words).out != ""
    wrong, same = warm("log", "none-of-it"), provisor("log", "none-of-it")
    assert (wrong.status, wrong.out, wrong.err) == (same.status, same.out, same.err)
    small.change(anchor, lambda row: row | {"jobTitle": "Keeper"})
    assert warm("run", "job.yaml", "--json").document["counts"]["updated"] == 1
    assert account(service, anchor)["title"] == "Keeper"
    without = warm("run", "job.yaml", SCIM_TOKEN="")
    assert (without.status, "SCIM_TOKEN" in without.out + without.err) == (4, True)
    assert warm_process(small) == process
    assert forks(small) == []


def test_what_belongs_together_ends_together(small: Workplace, service: ScimService, warm: Callable[..., Said]) -> None:
    """Ctrl-C and a kill of the command reach its fork; a kill of the process reaches everything, and breaks nothing."""
    assert warm("plan", str(small.job)).status == 0
    process = warm_process(small)

    def hanging() -> "subprocess.Popen[str]":
        service.set_fault("hang", method="POST", path="^/Users", after=5, seconds=600)
        run = small.start_cold("run", str(small.job), **STAYS)
        until(lambda: service.faults["hang"].struck, "the run does not load")
        return run

    def clear() -> None:
        service.clear_fault()
        service.drop_connections()

    run = hanging()
    run.kill()
    run.communicate()
    until(lambda: not forks(small), "the fork outlives its command")
    clear()
    run = hanging()
    run.send_signal(signal.SIGINT)
    clear()
    run.communicate(timeout=DEADLINE_S)
    assert run.returncode == 130
    assert warm_process(small) == process
    run = hanging()
    os.kill(process, signal.SIGKILL)
    out, err = run.communicate(timeout=DEADLINE_S)
    assert (run.returncode, "was killed" in err) == (137, True), out
    until(lambda: not forks(small), "a fork outlives the process")
    clear()
    assert warm("run", str(small.job)).status == 0
    assert warm_process(small) != process
    names = [user["userName"].lower() for user in service.users.values()]
    assert len(set(names)) == len(names)


def test_loading_leaves_the_collector_on() -> None:
    """Nothing is collected while modules are loaded; afterwards garbage is found again, but not what was loaded."""
    before = gc.get_freeze_count()
    with suppress(ImportError), loading():
        assert not gc.isenabled()
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() > before


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "job.yaml"],
        ["run", "none.yaml"],
        ["run", "job.yaml", "--help"],
        ["on-demand", "job.yaml", "x", "--plan-only"],
    ],
)
def test_only_a_run_of_a_job_that_is_there_starts_an_api_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROVISOR_HOME", str(tmp_path / "state"))
    (tmp_path / "job.yaml").touch()
    monkeypatch.setattr(local_api, "starting", lambda _: pytest.fail("an API is started"))
    with _api_for(words):
        pass
    monkeypatch.setattr(local_api, "starting", lambda home: nullcontext(home))
    with _api_for(["run", "job.yaml"]) as started:
        assert started == home()
    local = home() / "prefect" / "local-one"
    with in_use(local), make_file(local / "alive").open("r+b") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)  # as an API that is there holds it
        with _api_for(["run", "job.yaml"]) as started:
            assert started is None
    with _api_for(["run", "job.yaml"]) as started:
        assert started == home()


@pytest.mark.parametrize(
    ("words", "looks_on", "said"),
    [
        (["plan", "job.yaml"], True, "provisor plan: loading …\n"),
        (["plan", "job.yaml"], False, ""),
        (["plan", "--help"], True, ""),
        (["run", "job.yaml"], True, ""),  # which has said so already
        (["fmt", "job.yaml"], True, ""),
        ([], True, ""),
    ],
)
def test_a_person_is_told_at_once_that_a_command_loads(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], looks_on: bool, said: str
) -> None:
    """Nothing is written where a program reads what a command says."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: looks_on)
    say_loading(words)
    assert capsys.readouterr() == ("", said)


def test_what_is_loaded_ahead_is_there() -> None:
    """A name that leads to no module is passed over when it is loaded, as the driver of a system may be."""
    assert [name for name in (*_LIGHT, *_HEAVY) if find_spec(name) is None] == []
