"""What several commands take, and what is made of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.answering import WRONG, complain

if TYPE_CHECKING:
    from datetime import timedelta

    from tasks.job import Job
    from tasks.ledger import Ledger

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="The job file (YAML).", show_default=False)]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="A job's name or file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="SELECTION", help="Only this: an anchor, an id in the target, a name, a kind or an action."),
]
Until = Annotated[
    str | None, typer.Option(metavar="DATE", help="When the decision runs out: the end of a day, or a moment.")
]
Why = Annotated[str, typer.Option(metavar="TEXT", help="The reason, for whoever reads the log.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; your login name without it.")]


def load(path: Path) -> "Job":
    """The job in a file. Raises: JobError."""
    from tasks.job import load_job

    return load_job(path)


def job_name(text: str) -> str:
    """A job's name, given by name or by file."""
    path = Path(text)
    return load(path).name if path.suffix in (".yaml", ".yml") else text


def known_job(ledger: "Ledger", text: str) -> str:
    """A job's name, given by file, or by name where it has run; a name that is misspelt ends the command."""
    name = job_name(text)
    if name == text and name not in ledger.jobs():
        known = ", ".join(ledger.jobs()) or "none"
        complain(f"No job called {name} has run here; there are: {known}.", WRONG)
    return name


def one_of(choices: Any, text: str | None, option: str) -> Any:
    """The one of the choices that an option names, in any case; None where it is not given."""
    if text is None:
        return None
    for choice in choices:
        if str(choice).casefold() == text.casefold():
            return choice
    raise typer.BadParameter(f"one of {', '.join(map(str, choices))}", param_hint=option)


def length(text: str, option: str) -> "timedelta":
    """A length of time as job files write it."""
    from pydantic import TypeAdapter, ValidationError

    from tasks.job.values import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["ctx"]["error"]), param_hint=option) from None
