"""The Prefect API that a run starts for itself."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL, temporary_settings

from connectors.errors import UnreachableError
from flows.serve import local_api

HOLD = """
import sys
from pathlib import Path
from flows.serve import local_api
with local_api.serving(Path(sys.argv[1])) as ready:
    ready()
    import os
    print(os.environ["PREFECT_API_URL"], flush=True)
    sys.stdin.read()
"""
DEADLINE_S = 30.0


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def holding(home: Path, *, minutes: int = 0) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A run that has its API, and the API's address; told to end at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"HOME": str(home.parent), "PROVISOR_STAY_MINUTES": str(minutes), "SCIM_TOKEN": "a-secret"}
    command = [sys.executable, "-c", HOLD, str(home)]
    root = Path(local_api.__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        try:
            assert run.stdout is not None
            url = run.stdout.readline().strip()
            assert answers(url)
            yield run, url
        finally:
            run.communicate()


def ends(url: str) -> bool:
    """Waits until nothing answers any more; False after a while."""
    deadline = time.monotonic() + DEADLINE_S
    while answers(url):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def process_of(home: Path) -> int:
    """The local API of a state folder, by its environment."""
    [found] = [
        int(one.parent.name)
        for one in Path("/proc").glob("[0-9]*/environ")
        if f"PROVISOR_LOCAL_API={home}/".encode() in _read(one)
    ]
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_local_api_ends_after_its_run_even_when_that_is_killed(tmp_path: Path) -> None:
    """A killed run leaves no server behind, and the history lies in the state folder."""
    with holding(tmp_path / "state") as (run, url):
        run.send_signal(signal.SIGKILL)
    assert ends(url), "the local API outlives the run that started it"
    assert (tmp_path / "state" / "prefect" / "prefect.db").is_file()
    assert not (tmp_path / ".prefect").exists()


def test_the_local_api_stays_for_the_next_run_and_goes_with_its_folder(tmp_path: Path) -> None:
    """Two runs at once and one that comes after them have one API; a killed one is replaced; without home it ends."""
    state = tmp_path / "state"
    with holding(state, minutes=9) as (_, first), holding(state, minutes=9) as (_, beside):
        assert first == beside
    with holding(state, minutes=9) as (_, later):
        assert later == first
        api = process_of(state)
        assert b"a-secret" not in _read(Path(f"/proc/{api}/environ"))
    os.kill(api, signal.SIGKILL)
    assert ends(first)
    with holding(state, minutes=9) as (_, replaced):
        assert replaced != first
    assert answers(replaced)
    state.rename(tmp_path / "moved")
    assert ends(replaced), "the local API outlives its state folder"


def test_an_api_that_is_configured_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a server of their own gets their runs there, and nothing is started; one that is down is said."""
    nobody = "http://127.0.0.1:1/api"
    monkeypatch.setenv("PREFECT_API_URL", nobody)
    with (
        local_api.serving(tmp_path / "state") as ready,
        temporary_settings({PREFECT_API_URL: nobody}),  # other tests of this process may have a server
        pytest.raises(UnreachableError, match=rf"No Prefect server answers at {nobody}"),
    ):
        ready()
    assert not (tmp_path / "state").exists()
    monkeypatch.undo()
    refresh_global_settings_context()


def test_a_profile_that_is_named_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says which server there is, or that Prefect starts one; nothing of ours is started."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_PROFILE", "ephemeral")
    with local_api.serving(tmp_path / "state") as ready:
        ready()
    assert not (tmp_path / "state").exists()
    monkeypatch.undo()
    refresh_global_settings_context()


def test_a_local_api_that_starts_ahead_is_the_one_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command starts it beside what it has to load; the run finds that one and none besides. It lacks no type of
    block, though it registers none."""
    for name in [name for name in os.environ if name.startswith("PREFECT")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PROVISOR_STAY_MINUTES", "9")
    state = tmp_path / "state"
    with local_api.starting(state):
        ahead = process_of(state)
        with holding(state, minutes=9) as (_, url):
            assert process_of(state) == ahead
            key = json.loads((state / "prefect" / "keys.json").read_text(encoding="utf-8"))["sign_in"]
            asked = urllib.request.Request(f"{url}/block_types/slug/webhook")
            asked.add_header("Authorization", f"Basic {base64.b64encode(key.encode()).decode()}")
            with urllib.request.urlopen(asked, timeout=10) as answer:
                assert json.load(answer)["name"] == "Webhook"
    state.rename(tmp_path / "moved")
    assert ends(url)


def test_what_would_go_wrong_ahead_is_left_to_the_run(tmp_path: Path) -> None:
    """Keys that cannot be read: the run says so, and nothing is started before it."""
    (tmp_path / "prefect").mkdir()
    (tmp_path / "prefect" / "keys.json").write_text("{")
    with local_api.starting(tmp_path):
        pass
    assert [path.name for path in (tmp_path / "prefect").iterdir()] == ["keys.json"]


def test_a_database_of_another_version_is_migrated(tmp_path: Path) -> None:
    """The short way to start is for a database of this very Prefect; any other one is looked after by the server."""
    quick = {"PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false"}
    migrates = "PREFECT_SERVER_DATABASE_MIGRATE_ON_START"
    made = local_api._environment(tmp_path, {}, where_made=quick)
    assert (made[migrates], made["PREFECT_SERVER_REGISTER_BLOCKS_ON_START"]) == ("false", "false")
    again = local_api._environment(
        tmp_path, {}, where_made=quick
    )  # there, and no server of this version has answered yet
    assert not {migrates, *quick} & set(again)
    local_api._made_by(tmp_path).with_name("database-3.0.0").touch()
    assert not {migrates, *quick} & set(local_api._environment(tmp_path, {}, where_made=quick))
    local_api._made_by(tmp_path).touch()
    assert {migrates, *quick} <= set(local_api._environment(tmp_path, {}, where_made=quick))
