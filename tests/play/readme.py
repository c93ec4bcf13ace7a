"""Plays README word for word, from the clone to the first account in an app, and prints what each step takes.

    python3 -m tests.play.readme                  # clones the checkout, installs, in an environment with nothing in it
    python3 -m tests.play.readme --installed      # begins behind the installation

Commands and files are cut out of README; a line that ends with another status than 0 ends the play. Only the standard
library is used, as nothing is installed when it begins.
"""

import argparse
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
TRY, JOB = "## Try it", "## A job in ten minutes"
ADDRESS = "http://127.0.0.1:8080/v2"
"""Of the app in the example."""
MINUTES = 10
"""What README promises, from the clone on."""
_MARK = "@@ step"


def section(text: str, heading: str) -> str:
    """What stands below a heading."""
    return text.partition(f"{heading}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    """All blocks of code in a language, in their order."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


FIRST_PEOPLE = blocks(section(README, JOB), "csv")[0]


def first_job(url: str) -> str:
    """README's job for an app elsewhere."""
    [job] = blocks(section(README, JOB), "yaml")
    return job.replace(ADDRESS, url)


@dataclass(frozen=True, slots=True)
class Step:
    """A line that was typed."""

    line: str
    status: int
    seconds: float
    said: str


def lines_to_type(*, installed: bool) -> list[str]:
    """README's commands in their order; ``make test`` is for who changes the code, and is CI itself."""
    shell = [] if installed else blocks(section(README, TRY), "sh")
    shell += blocks(section(README, JOB), "sh")
    lines = [line for one in shell for line in one.splitlines() if line.strip()]
    return [line for line in lines if not re.match(r"make test\b|git clone\b", line)]


def script(lines: list[str], port: int) -> str:
    """As a person types it: each line in the same shell, and nothing more after one that fails.

    Who starts the app has read the job and saved two files until it is needed; the script waits for its port.
    """
    wait = f"for _ in $(seq 300); do (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.2; done"
    said = f"status=$?; printf '\\n{_MARK} %s\\n' $status; [ $status = 0 ] || exit $status"
    typed = [f"{line}\n{wait if line.endswith('&') else ''}\n{said}" for line in lines]
    return "\n".join([*typed, ""])


def play(folder: Path, *, installed: bool, port: int) -> Iterator[Step]:
    """Types README's commands in ``folder``, a clone or an empty one; the app of the example gets another port."""
    path = "/usr/local/bin:/usr/bin:/bin"
    home = folder.parent / "home"
    home.mkdir(exist_ok=True)
    [job] = blocks(section(README, JOB), "yaml")
    (folder / "hr-to-app.yaml").write_text(job.replace(":8080/", f":{port}/"), encoding="utf-8")
    (folder / "people.csv").write_text(FIRST_PEOPLE, encoding="utf-8")
    lines = [line.replace("--port 8080", f"--port {port}") for line in lines_to_type(installed=installed)]
    if installed:
        tools = Path(sys.executable).parent
        lines = [line.replace(". .venv/bin/activate", f"PATH={shlex.quote(str(tools))}:$PATH") for line in lines]
    environment = {"PATH": path, "HOME": str(home)} | ({"PYTHONPATH": str(ROOT)} if installed else {})
    (home / "script.sh").write_text(script(lines, port), encoding="utf-8")
    process = subprocess.Popen(
        ["bash", home / "script.sh"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield from _steps(process.stdout, lines)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        process.stdout.close()


def _steps(output: Iterable[str], lines: list[str]) -> Iterator[Step]:
    """What is typed, as it ends; the app holds the output open, so the last line ends it."""
    for line in lines:
        began = time.monotonic()
        said: list[str] = []
        for text in output:
            if text.startswith(_MARK):
                yield Step(line, int(text.split()[-1]), time.monotonic() - began, "".join(said).strip())
                break
            said.append(text)


def free_port() -> int:
    """The port of the example where nobody has it, else another one."""
    for port in (8080, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise AssertionError


def main() -> int:
    """The exit status: 0 where each line ended well within the time that README promises."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--installed", action="store_true", help="begin behind the installation")
    installed = parser.parse_args().installed
    began = time.monotonic()
    with TemporaryDirectory(prefix="provisor-readme-") as name:
        folder = Path(name) / "provisor"
        if installed:
            folder.mkdir()
        else:
            subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        for step in play(folder, installed=installed, port=free_port()):
            print(f"{step.seconds / 60:5.1f} min  {step.line}", flush=True)
            if step.status:
                print(step.said, f"Status {step.status}.", sep="\n")
                return 1
        minutes = (time.monotonic() - began) / 60
    print(f"{minutes:5.1f} min in all; README promises {MINUTES}")
    return 0 if minutes < MINUTES else 1


if __name__ == "__main__":
    sys.exit(main())
