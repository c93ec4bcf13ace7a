"""Options and arguments shared by several commands, and how they are parsed."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.answering import WRONG, complain

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from tasks.job import Job
    from tasks.ledger import Ledger

_JOB = "A job's file, or its name."

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SELECTION",
        help="Only this: an anchor, an id in the target or a name, exactly; or a kind or an action.",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="When the decision runs out: the end of a day (UTC), or a moment; at most a hundred years from now.",
    ),
]
Shown = Annotated[
    str | None,
    typer.Option(metavar="SEAL", help="Only if what waits is still what provisor status showed with this seal."),
]
Why = Annotated[str, typer.Option(metavar="TEXT", help="The reason, for readers of the log.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides (default: your login name).")]
Again = Annotated[bool, typer.Option("--again", help="Override existing decisions too.")]
FOLDERS = (Path(), Path("jobs"))
"""Folders searched for the file of a job given by name."""


def job_file(text: str) -> Path:
    """Path of a job file given by path, or by the name of a job in this folder or in ``jobs``. Exits if there is
    none."""
    path = Path(text)
    if path.is_file():
        return path
    if not path.is_dir() and (path.suffix in (".yaml", ".yml") or path.name != text):
        complain(_unknown(f"There is no file {text}", path.name, _file_names(path.parent)), WRONG)
    from flows.serve.jobs_of import files_named, named_files

    found = next(filter(None, (files_named(folder, text) for folder in FOLDERS)), [])
    if len(found) > 1:
        complain(
            f"{found[0]} and {found[1]} both have a job called {text}, and would share its state: give one of them "
            "another name, or the file instead of the name.",
            WRONG,
        )
    if not found and path.is_dir():
        complain(_unknown(f"{text} is a folder: give a job's file", "", _file_names(path)), WRONG)
    if not found:
        names = {name for folder in FOLDERS for name in named_files(folder)}
        complain(_unknown(f"No job file here or in jobs/ has the name {text}", text, names), WRONG)
    return found[0]


def _file_names(folder: Path) -> list[str]:
    return [path.name for path in [*folder.glob("*.yaml"), *folder.glob("*.yml")]]


def _unknown(sentence: str, text: str, known: Iterable[str]) -> str:
    """A sentence about a job that is not there, with what there is, or what to do where there is none at all."""
    if there := _meant(text, known):
        return f"{sentence}{there}."
    return f"{sentence}. Go to the folder with your job files, or write a first one: provisor init --source people.csv"


def _meant(text: str, known: Iterable[str]) -> str:
    """Ending of a message about an unknown name: the nearest known name, or all known names."""
    names = sorted(known)
    if near := get_close_matches(text, names, n=1, cutoff=0.5):
        return f"; the nearest is {near[0]}"
    return f"; there are: {', '.join(names)}" if names else ""


JobFile = Annotated[Path, typer.Argument(metavar="JOB", help=_JOB, parser=job_file, show_default=False)]
JobName = Annotated[str, typer.Argument(metavar="JOB", help=_JOB, show_default=False)]


def load(path: Path) -> "Job":
    """The job in a file. Raises: JobError."""
    from tasks.job import load_job

    return load_job(path)


def known_job(ledger: "Ledger", text: str) -> str:
    """Name of a job given by file, by the name of a job that has run, or by the name of a job file in this folder.

    Exits for any other text.
    """
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or path.name != text:
        return load(job_file(text)).name
    known = ledger.jobs()
    if text in known:
        return text
    from flows.serve.jobs_of import named_files

    here = {name for folder in FOLDERS for name in named_files(folder)}
    if text not in here:
        complain(f"No job called {text} has run here{_meant(text, {*known, *here})}.", WRONG)
    return text


def one_of(choices: Any, text: str | None, option: str) -> Any:
    """The choice that an option names, ignoring case; None if the option is not given."""
    if text is None:
        return None
    for choice in choices:
        if str(choice).casefold() == text.casefold():
            return choice
    raise typer.BadParameter(f"one of {', '.join(map(str, choices))}", param_hint=option)


def moment(text: str | None, option: str) -> "datetime | None":
    """A time, or the start of a day, in UTC unless a zone is given. None if the option is not given."""
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text} is not a date like 2026-03-31 or a moment like 2026-03-31T17:00:00Z", param_hint=option
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def length(text: str, option: str) -> "timedelta":
    """A duration in job file notation."""
    from pydantic import TypeAdapter, ValidationError

    from tasks.job.values import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["ctx"]["error"]), param_hint=option) from None
