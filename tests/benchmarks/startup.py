"""What a command costs besides its work: a run that has nothing to do, and the commands that look.

    python -m tests.benchmarks.startup [--times 5] [--no-worker] [--beside CHECKOUT]

Each is timed as a person waits for it (seconds), and by the CPU of the command, of processes that it started, and of
those that stay after it. The target is the own SCIM service in a process of its own; 240 people. ``in a new home`` is a
run that plans and loads everything, in a state folder that is not there yet; ``first line of it`` is what a person sees
on a terminal. ``run again`` finds what the first runs have loaded.

``--beside`` takes turns with another checkout, an older one say, on the same installed packages; its figures and the
ratios of the medians stand beside. Both are compiled first, as an installation does.
"""

import argparse
import compileall
import os
import pty
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.benchmarks.creates import TOKEN
from tests.data.people import generate
from tests.flows.browser.up import provisor_up
from tests.flows.workplace import COMMAND, ROOT, Workplace, staff
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
    parser.add_argument("--beside", type=Path, metavar="CHECKOUT", help="another checkout to take turns with")
    words = parser.parse_args()
    checkouts = [ROOT, *([words.beside.absolute()] if words.beside else [])]
    for checkout in checkouts:
        for package in ("flows", "tasks", "connectors"):
            compileall.compile_dir(checkout / package, quiet=2)
    found: list[dict[str, Series]] = [{} for _ in checkouts]
    with tempfile.TemporaryDirectory() as folder, ScimProcess(token=TOKEN) as service:
        export = Path(folder) / "export"
        export.mkdir()
        generate(people=240, groups=8, plain=True).write(export)
        for number in range(words.times):
            for place, checkout in enumerate(checkouts):
                home = Path(folder) / f"home-{number}-{place}"
                service.clear()
                with _workplace(home, service.url, export) as workplace:
                    _times_of_commands(workplace, checkout, found[place])
        for place, checkout in enumerate(checkouts if not words.no_worker else []):
            workplace = Workplace.make(Path(folder) / f"up-{place}", url=service.url).use(export)
            _times_of_worker(workplace, checkout, words.times, found[place])
    for checkout, series in zip(checkouts, found, strict=True):
        print(f"{str(checkout)[-30:]:30} {'waited, s':>24} {'CPU, s':>24}")
        for name, one in series.items():
            print(f"{name:30} {_told(one.waited):>24} {_told(one.cpu):>24}{_ratios(one, found[-1][name])}")


def _told(figures: list[float]) -> str:
    if not figures:
        return "-"
    return f"{statistics.median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"


def _ratios(ours: Series, theirs: Series) -> str:
    if ours is theirs:
        return ""
    pairs = (("waited", ours.waited, theirs.waited), ("CPU", ours.cpu, theirs.cpu))
    ratios = [f"{name} {statistics.median(one) / statistics.median(two):.2f}" for name, one, two in pairs if one]
    return f"   {' and '.join(ratios)} of the other"


@contextmanager
def _workplace(folder: Path, url: str, export: Path) -> Iterator[Workplace]:
    """A new state folder; what stays for it ends with it."""
    workplace = Workplace.make(folder, url=url).use(export)
    try:
        yield workplace
    finally:
        workplace.home.rename(folder / "gone")


def _times_of_commands(workplace: Workplace, checkout: Path, found: dict[str, Series]) -> None:
    job, anchor = str(workplace.job), staff(workplace)[0]["employeeId"]
    commands = {
        "--version": ["--version"],
        "run in a new home": ["run", job],
        "run, nothing to do": ["run", job],
        "run again, nothing to do": ["run", job],
        "plan": ["plan", job],
        "status": ["status"],
        "why": ["why", job, anchor],
        "log": ["log", job],
    }
    for name, words in commands.items():
        environment = workplace.environment(**_STAYS, SCIM_TOKEN=TOKEN, PYTHONPATH=str(checkout))
        seen = found.setdefault(f"first line of {name}", Series()) if "new home" in name else None
        with _timed(found.setdefault(name, Series()), workplace):
            _call(words, workplace.folder, environment, seen)
        time.sleep(1)  # what is loaded when there is nothing else to do belongs to no command


def _call(words: list[str], folder: Path, environment: dict[str, str], seen: Series | None) -> None:
    """Runs a command to its end; ``seen``: on a terminal, and when its first line is there is noted."""
    ours, terminal = pty.openpty()
    began = time.monotonic()
    with subprocess.Popen(
        [str(COMMAND), *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=terminal if seen is not None else subprocess.DEVNULL,
    ) as process:
        os.close(terminal)
        if seen is not None:
            os.read(ours, 1)
            seen.waited.append(time.monotonic() - began)
            with suppress(OSError):  # as Linux tells the end of a terminal
                while os.read(ours, 1 << 16):
                    pass
    os.close(ours)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)


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


def _times_of_worker(workplace: Workplace, checkout: Path, times: int, found: dict[str, Series]) -> None:
    """From asking for a run to its end."""
    series = found.setdefault("run by the worker", Series())
    with provisor_up(workplace, SCIM_TOKEN=TOKEN, PYTHONPATH=str(checkout), **_STAYS) as up:
        up.ended(up.start("hr-to-scim"))
        time.sleep(2)
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
