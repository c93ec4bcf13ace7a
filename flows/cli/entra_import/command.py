"""``provisor import-entra``: reads the schema, writes the job file, says what it could not carry over."""

import sys
import tempfile
from pathlib import Path

from flows.cli.entra_import.rules import Handling, ImportedJob, import_schema
from flows.cli.entra_import.schema import EntraSchemaError, read_schema
from flows.cli.entra_import.writing import job_text
from flows.show.console import Terminal, Text, console
from tasks.job import JobError, load_job
from tasks.printable import printable_lines

_MARKS = {Handling.LEFT_OUT: ("✗", "red"), Handling.CHANGED: ("!", "yellow")}
_TITLES = {Handling.LEFT_OUT: "left out", Handling.CHANGED: "not as it was"}


def run_import(schema: Path, out: Path | None) -> None:
    """Writes the job file to ``out``, or to standard output without one; what was left out goes to standard error.

    Raises: EntraSchemaError when the file is no schema, or when ``out`` is there already.
    """
    if out is not None and out.exists():
        raise EntraSchemaError(f"{out} is there already and may have been edited: give another name with --out.")
    job = import_schema(read_schema(schema))
    text = job_text(job)
    if out is None:
        # A file gets it exactly; a terminal, what may be looked at.
        sys.stdout.buffer.write((printable_lines(text) if sys.stdout.isatty() else text).encode())
        sys.stdout.buffer.flush()
    else:
        _write(out, text)
    _tell(console(stderr=True), job, text, out)


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EntraSchemaError(f"{out} cannot be written: {error.strerror}.") from error


def _tell(err: Terminal, job: ImportedJob, text: str, out: Path | None) -> None:
    for handling, (mark, colour) in _MARKS.items():
        findings = [finding for finding in job.findings if finding.handling is handling]
        if findings:
            err.print(Text(f"{_TITLES[handling]} ({len(findings)})", style="bold"))
        for finding in findings:
            place, _, sentence = str(finding).partition(": ")
            err.print(Text().append(f"  {mark} ", style=colour).append(place, style="bold").append(f"  {sentence}"))
    for problem in _problems(text):
        err.print(Text().append("  ✗ ", style="red").append(problem))
    users, groups = len(job.users["attributes"]), len(job.groups["attributes"]) if job.groups else 0
    counts = f"{users} mappings of users, {groups} of groups"
    where = f"{out}: " if out is not None else ""
    then = f"fill in source and target, then: provisor check {out if out is not None else 'FILE'}"
    err.print(Text().append("✓ ", style="green").append(f"{where}{counts}; {then}"))


def _problems(text: str) -> list[str]:
    """What the job file's own loader says against the text; nothing, unless this import has a defect."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "job.yaml")
        file.write_text(text, encoding="utf-8")
        try:
            load_job(file)
        except JobError as error:
            return [f"line {problem.line}: {problem.key}: {problem.message}" for problem in error.problems]
    return []
