"""``provisor check``: what is right about a job, what answered, and what leaving will mean."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.markup import escape

from flows.cycle.systems import open_systems
from flows.show.console import console
from tasks.agreement import check_agreement, doubts_about
from tasks.extract import survey
from tasks.job import Job, Problem
from tasks.leaving import what_leaving_means


@dataclass(frozen=True, slots=True)
class CheckedJob:
    """A job that is right."""

    name: str
    doubts: tuple[Problem, ...]
    """What may be meant, but is likely a slip."""
    answers: Mapping[str, str] = field(default_factory=dict)
    """By side, what a system said of itself; empty where none was asked."""
    leaving: tuple[str, ...] = ()
    """Sentences about what becomes of people who leave."""
    after: tuple[str, ...] = ()
    """Jobs that it runs after."""

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        warnings = [
            {"line": found.line, "column": found.column, "key": found.key, "message": found.message}
            for found in self.doubts
        ]
        return {
            "job": self.name,
            "ok": True,
            **self.answers,
            "warnings": warnings,
            "leaving": list(self.leaving),
            "after": list(self.after),
        }


def check_file(job: Job) -> CheckedJob:
    """A job whose file alone was looked at."""
    return CheckedJob(job.name, job.warnings, after=job.after)


def check_job(job: Job) -> CheckedJob:
    """A job held against both of its systems. Raises: JobError, FatalError."""
    with open_systems(job) as systems:
        answers = {"source": systems.source.check(), "target": systems.target.check()}
        facts = survey(systems.source, systems.target)
        check_agreement(job, facts)
    return CheckedJob(
        name=job.name,
        doubts=(*job.warnings, *doubts_about(job, facts)),
        answers=answers,
        leaving=tuple(what_leaving_means(job, facts.traits)),
        after=job.after,
    )


def show_checked(path: Path, checked: CheckedJob) -> None:
    """A line for each thing that is right, and for each that is doubtful."""
    out = console()
    out.print(f"[green]✓[/] {escape(str(path))}: the job file is right")
    for found in checked.doubts:
        out.print(f"[yellow]![/] {escape(str(found))}")
    for side, answer in checked.answers.items():
        out.print(f"[green]✓[/] {side}: {escape(answer)}")
    if checked.answers:
        out.print("[green]✓[/] every mapping, filter and matching rule fits both systems")
    else:
        out.print("[dim]Neither system was contacted; run provisor check without --offline for that.[/]")
    if checked.after:
        out.print(f"[green]✓[/] runs after {escape(' or '.join(checked.after))}, when that has changed something")
    for sentence in checked.leaving:
        out.print(f"  {escape(sentence)}")
