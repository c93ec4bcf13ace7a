"""A job is named by its file or by its name, everywhere; a name that means nothing ends the command with status 2."""

import io
import re
import shutil
from datetime import UTC, datetime

import pytest

from flows.show.console import Terminal
from flows.show.log import show_log
from flows.show.plan import show_table, table
from tasks.ledger import LogLine
from tests.flows.workplace import Command, Workplace

BY_NAME = ("check", "plan", "why", "on-demand")
IN_THE_LEDGER = (
    "status",
    "log",
    "approve",
    "reject",
    "pause",
    "resume",
    "restart",
    "report",
    "docs",
    "history",
    "diff",
)
MORE = {"why": ["000015"], "on-demand": ["000015"], "history": ["000015"], "diff": ["1", "2"]}


@pytest.mark.parametrize("command", [*BY_NAME, *IN_THE_LEDGER, "run", "undo", "probe"])
def test_a_misspelt_name_is_never_an_answer(
    small: Workplace, provisor: Command, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Exit status 2, and the name that was probably meant."""
    monkeypatch.chdir(small.folder)
    more = MORE.get(command, ["1"] if command == "undo" else [])
    said = provisor(command, "hr-to-scmi", *more)
    assert said.status == 2
    assert "the nearest is hr-to-scim" in said.err
    assert said.out == ""


def test_a_misspelt_file_is_told_with_its_neighbour(small: Workplace, provisor: Command) -> None:
    said = provisor("plan", small.folder / "jobb.yaml")
    assert said.status == 2
    assert "jobb.yaml; the nearest is job.yaml." in said.err


def test_a_job_is_found_by_its_name_here_or_in_jobs(
    small: Workplace, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name in the file counts, not the file's own."""
    monkeypatch.chdir(small.folder)
    assert provisor("plan", "hr-to-scim").status == 0
    (small.folder / "jobs").mkdir()
    shutil.move(small.job, small.folder / "jobs" / "job.yaml")
    shutil.move(small.export, small.folder / "jobs" / small.export.name)
    assert provisor("plan", "hr-to-scim").status == 0


def test_a_job_that_has_not_run_yet_stands_where_it_stands(
    small: Workplace, provisor: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(small.folder)
    said = provisor("status", "hr-to-scim")
    assert said.status == 0
    assert "hr-to-scim: never run" in said.out


def test_a_row_of_a_piped_table_is_one_line() -> None:
    """Cells with tabs between, whole: grep and cut find what they look for."""
    made = table("entry", "why")
    made.add_row("user ann@example.com", "x" * 300)
    made.add_row("[bold]user bob[/]", "short")
    out = io.StringIO()
    show_table(Terminal(file=out, width=80, soft_wrap=True), made)
    assert out.getvalue().splitlines() == ["entry\twhy", f"user ann@example.com\t{'x' * 300}", "user bob\tshort"]


def test_a_narrow_terminal_gets_records() -> None:
    """Six columns in 80 would be a letter wide: below 110 columns every line of the log is a record."""
    line = LogLine(
        id=1, time=datetime(2026, 3, 1, 8, tzinfo=UTC), job="hr", cycle=7, kind="user", action="disable",
        status="failure", label="ann@example.com", anchor="000015", target_id="u1", reason="left", code="Conflict",
        message="Taken. " * 20, modified=None, duration_ms=3, change_id="7-1", initiator="", source="", target="",
    )  # fmt: skip
    out = io.StringIO()
    show_log(Terminal(file=out, width=80, force_terminal=True, color_system=None), [[line]])
    first, second, *_ = out.getvalue().splitlines()
    assert first.rstrip() == "2026-03-01 08:00:00 failure disable user ann@example.com cycle 7"
    assert second.startswith("    left · Conflict · Taken. Taken.")
    wide = io.StringIO()
    show_log(Terminal(file=wide, width=160, force_terminal=True, color_system=None), [[line]])
    assert wide.getvalue().splitlines()[0].split() == ["time", "cycle", "action", "entry", "status", "why"]


def test_version_and_groups(provisor: Command) -> None:
    assert re.fullmatch(r"provisor \d+\.\d+\.\d+\S*\n", provisor("--version").out)
    shown = provisor("--help").out
    assert [line for line in shown.splitlines() if re.fullmatch(r"[A-Z].*:", line)] == [
        "Options:",
        "Make a job:",
        "Look before anything happens, then do it:",
        "Approve, pause, resume:",
        "Find out what happened, and why:",
        "Serve:",
        "Try it out:",
    ]
