"""`provisor probe`: how a job's SCIM service really behaves, as a table and as a profile beside the job."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from connectors.errors import SettingsError
from connectors.settings import reveal
from tasks.job import Job, SystemSection

if TYPE_CHECKING:
    from rich.table import Table

    from connectors.scim.probing import Finding, Probed

CONNECTOR = "scim"


def probe_job(job: Job, *, write: bool, tell: "Callable[[Finding], None]") -> "Probed":
    """Asks the job's SCIM service: its target, or its source where only that is one, which is only read.

    Raises: FatalError.
    """
    from connectors.scim.probing import Probe
    from connectors.scim.settings import ScimTargetSettings

    section = _service(job)
    if section.connector != CONNECTOR:
        raise SettingsError(f"Neither side of the job {job.name} is a SCIM service: there is nothing to probe.")
    if write and section is not job.target:
        raise SettingsError("The SCIM service of this job is its source, which is only ever read: leave out --write.")
    assert isinstance(section.settings, ScimTargetSettings)
    probe = Probe(section.settings, folder=job.folder, write=write, tell=tell)
    try:
        return probe.run(when=datetime.now(UTC).date().isoformat())
    finally:
        probe.close()


def _service(job: Job) -> SystemSection:
    """The job's SCIM service: its target, or the first of its sources that is one; the target where none is."""
    sections = (job.target, *job.people, *job.enrich)
    return next((one for one in sections if one.connector == CONNECTOR), job.target)


@contextmanager
def telling(*, quiet: bool) -> "Iterator[Callable[[Finding], None]]":
    """Says on one line of the terminal what is being asked; nothing where nobody looks."""
    if quiet or not sys.stderr.isatty():
        yield lambda finding: None
        return
    from rich.markup import escape

    from flows.show.console import console

    with console(stderr=True).status("asking …") as line:
        yield lambda finding: line.update(escape(f"{finding.subject}: {finding.question}"[:100]))


def profile_file(job: Job) -> Path:
    """Where the job finds its service's profile by itself, or the file that it names."""
    from connectors.scim.profile import file_name

    section = _service(job)
    named = getattr(section.settings, "profile", None)
    if named is not None and Path(named).suffix in {".yaml", ".yml"}:
        return job.folder / Path(named).expanduser()
    return job.folder / file_name(reveal(getattr(section.settings, "url", ""), folder=job.folder))


def write_profile(probed: "Probed", path: Path) -> None:
    """Writes the profile. Raises: SettingsError."""
    from connectors.scim.profile import write

    try:
        path.write_text(write(probed.profile), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"The profile {path} cannot be written: {error.strerror}.") from error


def as_document(probed: "Probed", path: Path) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "service": probed.service,
        "profile": probed.profile.model_dump(mode="json", exclude_defaults=True, exclude={"observed"}),
        "file": str(path),
        "findings": [asdict(finding) for finding in probed.findings],
        "left_behind": list(probed.left_behind),
        "requests": probed.requests,
    }


def show_probed(probed: "Probed") -> None:
    """Prints the findings, what works in which form, and what the profile says."""
    from rich.markup import escape

    from flows.show.console import console

    out = console()
    out.print(_findings_table([finding for finding in probed.findings if not finding.form]))
    for subject in ("changes", "groups"):
        tried = [finding for finding in probed.findings if finding.form and finding.subject == subject]
        if tried:
            out.print()
            out.print(_forms_table(tried))
    settings = probed.profile.model_dump(mode="json", exclude_defaults=True, exclude={"observed", "probed"})
    out.print()
    if settings:
        for name, value in settings.items():
            out.print(f"  {name}: [bold]{escape(str(value))}[/]")
    else:
        out.print("Nothing has to be asked otherwise than the standard has it.")
    for sentence in probed.left_behind:
        out.print(f"[red]✗[/] {escape(sentence)}")


def _findings_table(findings: "Sequence[Finding]") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("about", "question", "answer"):
        table.add_column(name, overflow="fold")
    subject = ""
    for finding in findings:
        about = finding.subject if finding.subject != subject else ""
        table.add_row(about, escape(finding.question), _coloured(finding.answer))
        subject = finding.subject
    return table


def _forms_table(tried: "Sequence[Finding]") -> "Table":
    """A row for each thing that was tried, a column for each form."""
    from rich.table import Table

    forms = list(dict.fromkeys(finding.form for finding in tried))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(f"{tried[0].subject}, by form")
    for form in forms:
        table.add_column(form, overflow="fold")
    answers = {(finding.question, finding.form): finding.answer for finding in tried}
    for question in dict.fromkeys(finding.question for finding in tried):
        cells = [answers.get((question, form), "") for form in forms]
        table.add_row(question, *(_coloured(_SHORT.get(cell, cell)) for cell in cells))
    return table


_SHORT = {"done": "✓", "answered with yes, not done": "silent"}
_GOOD = frozenset({"✓", "honoured", "found", "served", "yes", "at once"})
_BAD = ("silent", "ignored", "created: there are two", "done, but", "a clause was dropped", "more than")


def _coloured(answer: str) -> str:
    from rich.markup import escape

    colour = "red" if answer.startswith(_BAD) else "green" if answer in _GOOD else None
    return f"[{colour}]{escape(answer)}[/]" if colour else escape(answer)
