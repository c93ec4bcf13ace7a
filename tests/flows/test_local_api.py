"""The Prefect API that a run starts for itself."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

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


def test_the_local_api_ends_with_the_run_even_when_that_is_killed(tmp_path: Path) -> None:
    """A killed run leaves no server behind, and the history lies in the state folder."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment["HOME"] = str(tmp_path)
    root = str(Path(local_api.__file__).parents[1])
    command = [sys.executable, "-c", HOLD, str(tmp_path / "state")]
    with subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        url = run.stdout.readline().strip()
        assert answers(url)
        run.send_signal(signal.SIGKILL)
        run.wait()
    deadline = time.monotonic() + DEADLINE_S
    while answers(url):
        assert time.monotonic() < deadline, "the local API outlives the run that started it"
    assert (tmp_path / "state" / "prefect" / "prefect.db").is_file()
    assert not (tmp_path / ".prefect").exists()


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "PREFECT_PROFILE"])
def test_an_api_that_is_configured_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whoever has a server of their own gets their runs there, and nothing is started."""
    monkeypatch.setenv(name, "http://127.0.0.1:1/api")
    with local_api.serving(tmp_path / "state") as ready:
        ready()
    assert not (tmp_path / "state").exists()
