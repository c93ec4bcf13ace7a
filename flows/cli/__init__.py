"""The ``provisor`` command line. Every command imports what it needs when it runs, so that ``--help`` answers at once.

The commands are in modules by what they are for: ``running``, ``deciding``, ``looking``, ``making``,
``serving``.

Exit status: 0 done; 1 done with entries failed or held; 2 the job file or the command is wrong; 3 waiting for approval;
4 stopped or quarantined.
"""

import typer

from connectors.errors import FatalError, ProvisorError
from flows.cli.answering import INTERRUPTED, STOPPED, WRONG, complain
from flows.cli.deciding import approve, pause, reject, restart, resume
from flows.cli.looking import diff, docs, history, log, report, status, why
from flows.cli.making import check, connectors, demo, explain, import_entra, probe, schema
from flows.cli.running import apply, on_demand, plan, run, undo
from flows.cli.serving import deploy, up

COMMANDS = (
    check,
    probe,
    plan,
    run,
    apply,
    undo,
    status,
    approve,
    reject,
    log,
    why,
    on_demand,
    diff,
    history,
    report,
    docs,
    restart,
    pause,
    resume,
    explain,
    import_entra,
    up,
    deploy,
    schema,
    connectors,
    demo,
)
"""In the order of the help; each is called as its function is, with hyphens."""

app = typer.Typer(
    name="provisor",
    help="Keep the accounts in your apps in step with your directory and HR system.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Entry point: errors are sentences with an exit status, never tracebacks."""
    try:
        app()
    except FatalError as error:
        complain(str(error), STOPPED)
    except ProvisorError as error:
        complain(_spoken(error), _status_of(error))
    except KeyboardInterrupt:
        complain("Interrupted.", INTERRUPTED)


def _status_of(error: ProvisorError) -> int:
    from tasks.expressions import ExpressionError
    from tasks.job import JobError

    return WRONG if isinstance(error, JobError | ExpressionError) else STOPPED


def _spoken(error: ProvisorError) -> str:
    """The error's sentence; problems of a job file with their columns, and a caret where one shows the place."""
    from tasks.job import JobError

    if not isinstance(error, JobError):
        return str(error)
    lines = []
    for problem in error.problems:
        line = str(problem)
        if problem.line is not None and problem.column is not None and problem.caret:
            at = f"{problem.file}:{problem.line}:"
            line = line.replace(at, f"{at}{problem.column}:", 1)
        lines += [line, *(f"    {mark}" for mark in problem.caret.splitlines())]
    return "\n".join(lines)
