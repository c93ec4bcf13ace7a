"""The ``provisor`` command line. Commands import their dependencies when they run, so that ``--help`` is fast.

Commands are grouped into modules by purpose: ``running``, ``deciding``, ``looking``, ``making``,
``serving``.

Exit status: 0 done; 1 done with entries failed or held; 2 the job file or the command is wrong; 3 waiting for approval;
4 stopped or quarantined.
"""

import gc
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from connectors.errors import FatalError, ProvisorError
from flows.cli.answering import INTERRUPTED, STOPPED, WRONG, complain, complain_at_length, say
from flows.cli.deciding import approve, pause, reject, restart, resume
from flows.cli.looking import access, diff, docs, history, log, report, status, why
from flows.cli.making import apps, check, connectors, demo, explain, fmt, import_entra, init, preview, probe, schema
from flows.cli.running import apply, on_demand, plan, run, undo
from flows.cli.serving import backup, deploy, pages, restore, up, users

GROUPS = {
    "Make a job": (init, apps, check, preview, explain, probe, fmt, schema, connectors, import_entra),
    "Look before anything happens, then do it": (plan, run, apply, on_demand, undo),
    "Approve, pause, resume": (approve, reject, pause, resume, restart),
    "Find out what happened, and why": (status, log, why, access, history, diff, report, docs),
    "Serve": (up, pages, users, deploy, backup, restore),
    "Try it out": (demo,),
}
"""Commands in help order; a command is named after its function, with hyphens."""


class GroupedCommands(TyperGroup):
    """Lists the commands by purpose."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, group in GROUPS.items():
            names = [command_name(function) for function in group]
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit=150)) for name in names])


def command_name(function: Callable[..., object]) -> str:
    """The command's name on the command line."""
    return function.__name__.replace("_", "-")


_SELDOM = (20_000, 20, 20)
"""How many new objects make Python look for garbage, and how often it looks through older ones: loading modules and
reading frames makes many objects and little garbage."""

app = typer.Typer(
    name="provisor",
    cls=GroupedCommands,
    help="Keep the accounts in your apps in step with your directory and HR system.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in GROUPS.values():
    for function in group:
        app.command(name=command_name(function))(function)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"provisor {version('provisor')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Keep the accounts in your apps in step with your directory and HR system."""


def main() -> None:
    """Entry point: runs the command in the preloaded process if there is one, otherwise in this one."""
    from flows.serve.warm import RUNS, run_warm, say_loading

    words = sys.argv[1:]
    if words and words[0] in RUNS and "--help" not in words and sys.stderr.isatty():
        say(f"provisor {words[0]}: starting …", stderr=True)
    try:
        run_warm(words)
    except KeyboardInterrupt:
        complain("Interrupted.", INTERRUPTED)
    say_loading(words)
    run_here()


def run_here() -> None:
    """Runs the command in this process: errors are sentences with an exit status, never tracebacks."""
    if gc.get_threshold() < _SELDOM:
        gc.set_threshold(*_SELDOM)
    try:
        app()
    except FatalError as error:
        complain(str(error), STOPPED)
    except ProvisorError as error:
        complain_at_length(_spoken(error), _status_of(error))
    except KeyboardInterrupt:
        complain("Interrupted.", INTERRUPTED)


def _status_of(error: ProvisorError) -> int:
    from tasks.expressions import ExpressionError
    from tasks.job import JobError

    return WRONG if isinstance(error, JobError | ExpressionError) else STOPPED


def _spoken(error: ProvisorError) -> list[str]:
    """The error's sentence; problems of a job file with their columns, and a caret where one shows the place."""
    from tasks.job import JobError

    if not isinstance(error, JobError):
        return [str(error)]
    lines = []
    for problem in error.problems:
        line = str(problem)
        if problem.line is not None and problem.column is not None and problem.caret:
            at = f"{problem.file}:{problem.line}:"
            line = line.replace(at, f"{at}{problem.column}:", 1)
        lines += [line, *(f"    {mark}" for mark in problem.caret.splitlines())]
    return lines
