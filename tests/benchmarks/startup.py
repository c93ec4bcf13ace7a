"""What a command costs besides its work: a run that has nothing to do, and the commands that look.

    python -m tests.benchmarks.startup [--times 5] [--no-worker]

Each is timed as a person waits for it (seconds), and by the CPU of the command, of processes that it started, and of
those that stay after it. The target is the own SCIM service in a process of its own; 240 people. ``in a new home`` is a
run that plans and loads everything, whose cycle's own seconds are told beside it.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.benchmarks.creates import TOKEN
from tests.data.people import generate
from tests.flows.browser.up import provisor_up
from tests.flows.workplace import COMMAND, Workplace, staff
from tests.servers.scim_service import ScimProcess

_TICKS = os.sysconf("SC_CLK_TCK")
_STAYS = {"PROVISOR_STAY_MINUTES": "2"}


@dataclass(slots=True)
class Series:
    """What one command took, time after time."""

    waited: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def main() -> None:
    """Times the commands in turn, so that a busy minute meets them all, and prints medians with their spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--no-worker", action="store_true", help="leave out the run by the worker of provisor up")
    words = parser.parse_args()
    found: dict[str, Series] = {}
    with tempfile.TemporaryDirectory() as folder, ScimProcess(token=TOKEN) as service:
        export = Path(folder) / "export"
        export.mkdir()
        generate(people=240, groups=8, plain=True).write(export)
        for number in range(words.times):
            with _workplace(Path(folder) / f"home-{number}", service.url, export) as workplace:
                _times_of_commands(workplace, found)
        if not words.no_worker:
            workplace = Workplace.make(Path(folder) / "up", url=service.url).use(export)
            _times_of_worker(workplace, words.times, found)
    print(f"{'':26} {'waited, s':>24} {'CPU, s':>24}")
    for name, series in found.items():
        print(f"{name:26} {_told(series.waited):>24} {_told(series.cpu):>24}")


def _told(figures: list[float]) -> str:
    if not figures:
        return "-"
    return f"{statistics.median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"


@contextmanager
def _workplace(folder: Path, url: str, export: Path) -> Iterator[Workplace]:
    """A new state folder; what stays for it ends with it."""
    workplace = Workplace.make(folder, url=url).use(export)
    try:
        yield workplace
    finally:
        workplace.home.rename(folder / "gone")


def _times_of_commands(workplace: Workplace, found: dict[str, Series]) -> None:
    job, anchor = str(workplace.job), staff(workplace)[0]["employeeId"]
    commands = {
        "run in a new home": ["run", job],
        "run, nothing to do": ["run", job],
        "plan": ["plan", job],
        "status": ["status"],
        "why": ["why", job, anchor],
        "log": ["log", job],
    }
    for name, words in commands.items():
        series = found.setdefault(name, Series())
        with _timed(series, workplace):
            subprocess.run(
                [str(COMMAND), *words],
                cwd=workplace.folder,
                env=workplace.environment(**_STAYS, SCIM_TOKEN=TOKEN),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
            )
        time.sleep(1)  # what is loaded when there is nothing else to do belongs to no command


@contextmanager
def _timed(series: Series, workplace: Workplace) -> Iterator[None]:
    cpu, began = _cpu_of(workplace), time.monotonic()
    own = os.times()
    yield
    series.waited.append(time.monotonic() - began)
    after = os.times()
    of_children = after.children_user + after.children_system - own.children_user - own.children_system
    series.cpu.append(of_children + _cpu_of(workplace) - cpu)


def _cpu_of(workplace: Workplace) -> float:
    """CPU so far of the processes that stay for a state folder, and of their children that have ended."""
    folder = str(workplace.home / "prefect").encode()
    return sum(map(_cpu, (one.parent for one in Path("/proc").glob("[0-9]*/environ") if _is_of(one, folder))))


def _is_of(environ: Path, folder: bytes) -> bool:
    try:
        return folder in environ.read_bytes() or folder in environ.with_name("cmdline").read_bytes()
    except OSError:
        return False


def _cpu(process: Path) -> float:
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def _times_of_worker(workplace: Workplace, times: int, found: dict[str, Series]) -> None:
    """From asking for a run to its end."""
    series = found.setdefault("run by the worker", Series())
    with provisor_up(workplace, SCIM_TOKEN=TOKEN, **_STAYS) as up:
        up.ended(up.start("hr-to-scim"))
        for _ in range(times):
            own = Path(f"/proc/{up.process.pid}")
            cpu, asked = _cpu_of(workplace) + _cpu(own), datetime.now().astimezone()
            ended = up.ended(up.start("hr-to-scim"))
            series.waited.append((datetime.fromisoformat(ended["end_time"]) - asked).total_seconds())
            time.sleep(2)  # its process ends after its run
            series.cpu.append(_cpu_of(workplace) + _cpu(own) - cpu)
    workplace.home.rename(workplace.folder / "gone")


if __name__ == "__main__":
    main()
