"""The ``provisor`` command. Every command imports what it needs when it runs, so that ``--help`` answers at once.

Exit status: 0 done; 1 done with entries failed or held; 2 the job file or the command is wrong; 3 waiting for approval;
4 stopped or quarantined.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from connectors.errors import FatalError, ProvisorError

if TYPE_CHECKING:
    from datetime import timedelta

    from flows.preview import Decision
    from tasks.job import Job
    from tasks.ledger import Ledger

STOPPED, WRONG = 4, 2

app = typer.Typer(
    name="provisor",
    help="Keep the accounts in your apps in step with your directory and HR system.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

JobFile = Annotated[Path, typer.Argument(metavar="JOB", help="The job file (YAML).", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


class LogFormat(StrEnum):
    """How the provisioning log is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Choice(StrEnum):
    """What a cycle evaluates."""

    AUTO = "auto"
    INITIAL = "initial"
    INCREMENTAL = "incremental"
    RECONCILE = "reconcile"


def main() -> None:
    """Entry point: errors are sentences with an exit status, never tracebacks."""
    try:
        app()
    except FatalError as error:
        _complain(str(error), STOPPED)
    except ProvisorError as error:
        _complain(_spoken(error), _status_of(error))
    except KeyboardInterrupt:
        _complain("Interrupted.", 130)


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


def _complain(message: str, status: int) -> NoReturn:
    print(message, file=sys.stderr)  # noqa: T201 (this is the command line)
    sys.exit(status)


@app.command()
def check(job: JobFile, as_json: Json = False) -> None:
    """Check a job: the file, both connections, and its mappings against both systems."""
    import orjson
    from rich.markup import escape

    from flows.show import console
    from flows.systems import open_systems
    from tasks.agreement import check_agreement
    from tasks.extract import survey

    loaded = _load(job)
    with open_systems(loaded) as systems:
        answers = {"source": systems.source.check(), "target": systems.target.check()}
        check_agreement(loaded, survey(systems.source, systems.target))
    if as_json:
        warnings = [
            {"line": found.line, "column": found.column, "key": found.key, "message": found.message}
            for found in loaded.warnings
        ]
        _write(orjson.dumps({"job": loaded.name, "ok": True, **answers, "warnings": warnings}))
        return
    out = console()
    out.print(f"[green]✓[/] {job}: the job file is right")
    for found in loaded.warnings:
        out.print(f"[yellow]![/] {escape(str(found))}")
    for side, answer in answers.items():
        out.print(f"[green]✓[/] {side}: {answer}", markup=True)
    out.print("[green]✓[/] every mapping, filter and matching rule agrees with both systems")


@app.command()
def plan(
    job: JobFile,
    as_json: Json = False,
    full: Annotated[bool, typer.Option("--all", help="Show every change, not only the first of each kind.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the plan to this file, to be reviewed and applied.")
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="LENGTH", help="How long the file may be applied, like 2h or 3d.")
    ] = "24h",
) -> None:
    """Show what a cycle would do now; nothing is written to any system."""
    from flows.running import decide_now

    loaded = _load(job)
    life = _length(expires, "--expires")
    decision = decide_now(loaded, listing=out is not None)
    if out is not None:
        from flows.plan_file import write_plan_file
        from flows.systems import now

        made = write_plan_file(out, decision, loaded, job_file=job, life=life, now=now())
        until = f"until {made.expires_at:%Y-%m-%d %H:%M} UTC"
        print(f"The plan is in {out}. Apply it {until}: provisor apply {out}", file=sys.stderr)  # noqa: T201
    _show_decision(decision, as_json=as_json, limit=None if full else 5)
    raise typer.Exit(3 if decision.checked.waiting else 0)


def _show_decision(decision: "Decision", *, as_json: bool, limit: int | None) -> None:
    from flows.plan_json import write_plan
    from flows.show import console, show_plan

    if as_json:
        write_plan(sys.stdout.buffer, decision)
        sys.stdout.buffer.flush()
    else:
        show_plan(console(), decision, limit=limit)


@app.command()
def run(
    job: JobFile,
    cycle: Annotated[Choice, typer.Option(help="What to evaluate; auto decides by what is known.")] = Choice.AUTO,
    now: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENTRY",
            help="Try an entry that failed before now, however long it would have to wait: its anchor, its id in the "
            "target, or its name. Several times for several entries.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run one cycle of a job as a Prefect flow: read both sides, plan, judge, load, report."""
    from flows import local_api
    from flows.home import home

    # Here, so that a wrong file, or a job that is held, is said at once and not after the orchestrator has started.
    at_once = _may_run(_load(job), now or [])
    with _standard_output_for(as_json), local_api.serving(home()) as api_ready:
        from flows.running import run_cycle

        report = run_cycle(job, cycle, at_once=at_once, api_ready=api_ready, quiet=as_json)
    if as_json:
        import orjson

        _write(orjson.dumps(report.as_json(), default=str))
    raise typer.Exit(report.exit_status)


def _may_run(job: "Job", names: list[str]) -> tuple[str, ...]:
    """Anchors of the entries named with --now; ends the command when the job is paused or in quarantine."""
    from flows.aftermath import let_begin
    from flows.maintain import RequestError, anchors_of
    from flows.systems import now, open_ledger

    with open_ledger() as ledger:
        let_begin(ledger, job, now=now())
        try:
            return anchors_of(ledger, job.name, names)
        except RequestError as error:
            _complain(str(error), WRONG)


@app.command()
def apply(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A file that plan --out made.", show_default=False)],
    job: Annotated[
        Path | None, typer.Option(metavar="JOB", help="The job file, where it is no longer where it was.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Carry out a plan that was reviewed, exactly; refused when anything would be done otherwise by now."""
    from flows import local_api
    from flows.aftermath import let_begin
    from flows.home import home
    from flows.plan_file import read_plan_file, refuse_unfit
    from flows.running import listing_cycle
    from flows.systems import now, open_ledger

    # Here, so that a plan which cannot be carried out is refused before the orchestrator has started.
    read = read_plan_file(plan)
    job_file = job or read.job_file
    loaded = _load(job_file)
    with open_ledger() as ledger:
        let_begin(ledger, loaded, now=now())
        refuse_unfit(read, loaded, ledger, now=now())
        cycle = listing_cycle(ledger, loaded)
    with _standard_output_for(as_json), local_api.serving(home()) as api_ready:
        from flows.running import run_cycle

        report = run_cycle(job_file, cycle, plan_file=plan, api_ready=api_ready, quiet=as_json)
    if as_json:
        import orjson

        _write(orjson.dumps(report.as_json(), default=str))
    raise typer.Exit(report.exit_status)


@app.command()
def undo(
    job: JobFile,
    cycle: Annotated[int, typer.Argument(metavar="CYCLE", help="Its number, as the log has it.", show_default=False)],
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Show what would be done, and do nothing.")] = False,
    recreate: Annotated[
        bool, typer.Option("--recreate", help="Create deleted accounts again, under another id.")
    ] = False,
    delete_created: Annotated[
        bool, typer.Option("--delete-created", help="Delete created accounts instead of disabling them.")
    ] = False,
    leave_alone: Annotated[
        bool,
        typer.Option("--leave-alone", help="Leave alone what cannot be taken back, instead of refusing everything."),
    ] = False,
    no_pause: Annotated[
        bool, typer.Option("--no-pause", help="Do not pause the job; its next cycle does it all again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a cycle back, as far as the target is still as it left it; the job is paused by that."""
    from flows import local_api
    from flows.home import home
    from flows.running import decide_undo_now, run_undo
    from flows.undo import Wishes

    wishes = Wishes(recreate=recreate, delete_created=delete_created, leave_alone=leave_alone)
    loaded = _load(job)
    if plan_only:
        decision = decide_undo_now(loaded, cycle, wishes)
        _show_decision(decision, as_json=as_json, limit=None)
        raise typer.Exit(3 if decision.checked.waiting else 0)
    with _standard_output_for(as_json), local_api.serving(home()) as api_ready:
        report = run_undo(job, cycle, wishes, pause=not no_pause, api_ready=api_ready, quiet=as_json)
    if as_json:
        import orjson

        _write(orjson.dumps(report.as_json(), default=str))
    else:
        _say_paused(loaded.name)
    raise typer.Exit(report.exit_status)


def _say_paused(job: str) -> None:
    """How a paused job goes on."""
    from flows.systems import open_ledger
    from tasks.quarantine import pause_sentence

    with open_ledger() as ledger:
        pause = ledger.paused(job)
    if pause is not None:
        print(pause_sentence(job, pause))  # noqa: T201 (this is the command line)


@app.command()
def status(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="A job's name or file; all jobs without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how the jobs stand: their last cycles and what waits."""
    import orjson

    from flows.show import console
    from flows.status import job_status, show_status
    from flows.systems import open_ledger

    with open_ledger() as ledger:
        names = [_job_name(job)] if job else ledger.jobs()
        found = [job_status(ledger, name) for name in names]
    if as_json:
        _write(orjson.dumps(found))
        return
    show_status(console(), found)


JobName = Annotated[str, typer.Argument(metavar="JOB", help="A job's name or file.", show_default=False)]
Only = Annotated[
    list[str] | None,
    typer.Option(metavar="SELECTION", help="Only this: an anchor, an id in the target, a name, a kind or an action."),
]
Until = Annotated[
    str | None, typer.Option(metavar="DATE", help="When the decision runs out: the end of a day, or a moment.")
]
Why = Annotated[str, typer.Option(metavar="TEXT", help="The reason, for whoever reads the log.")]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; your login name without it.")]


@app.command()
def approve(
    job: JobName, only: Only = None, until: Until = None, why: Why = "", by: By = None, as_json: Json = False
) -> None:
    """Approve changes that guards hold; the next cycle carries them out without judging them again."""
    _decide("approved", job, only, until, why, by, as_json=as_json)


@app.command()
def reject(
    job: JobName, only: Only = None, until: Until = None, why: Why = "", by: By = None, as_json: Json = False
) -> None:
    """Reject changes that guards hold; they are left alone until the decision runs out or the plan changes."""
    _decide("rejected", job, only, until, why, by, as_json=as_json)


def _decide(
    decision: str, job: str, only: list[str] | None, until: str | None, why: str, by: str | None, *, as_json: bool
) -> None:
    import orjson

    from flows.decisions import (
        DecisionError,
        decide_staged,
        decision_sentence,
        login_name,
        parse_until,
        staged_json,
    )
    from flows.systems import now, open_ledger
    from tasks.ledger import StagedState

    name = _job_name(job)
    try:
        with open_ledger() as ledger:
            decided = decide_staged(
                ledger,
                name,
                StagedState(decision),
                only=only or (),
                until=parse_until(until),
                who=by or login_name(),
                why=why,
                now=now(),
            )
    except DecisionError as error:
        _complain(str(error), WRONG)
    run = f"provisor run {job if job != name else 'JOB'}"
    if as_json:
        _write(orjson.dumps({"job": name, "decided": [staged_json(one) for one in decided], "next": run}))
    else:
        print(decision_sentence(decided, name, run))  # noqa: T201 (this is the command line)


@app.command()
def log(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's name or file.")],
    cycle: Annotated[int | None, typer.Option(help="Only this cycle.")] = None,
    identity: Annotated[str | None, typer.Option(help="Only this entry: anchor, id in the target, or name.")] = None,
    status: Annotated[str | None, typer.Option(help="success, failure, skipped or warning.")] = None,
    action: Annotated[str | None, typer.Option(help="create, update, disable, StagedDisable, ...")] = None,
    code: Annotated[str | None, typer.Option(help="Only lines with this code: Conflict, ExpressionFailed, ...")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="From then on: 24h, 7d, 30d ago, a date, or a moment.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Up to then; a date counts to its end.")] = None,
    change: Annotated[str | None, typer.Option(metavar="ID", help="Only this change.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Lines at most, the newest first; 100 in a table, else all.")
    ] = None,
    form: Annotated[LogFormat, typer.Option("--format", help="How it is written.")] = LogFormat.TABLE,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write log.csv, steps.csv and modified.csv into this folder, to be joined."),
    ] = None,
) -> None:
    """Show the provisioning log: what was done, or not done, to whom, when and why."""
    from connectors.errors import ErrorCode
    from flows.log import MomentError, export_csv, parse_moment, show_log, write_csv, write_json
    from flows.show import console
    from flows.systems import now, open_ledger
    from tasks.ledger import LogAction, LogStatus

    if out is not None and form is LogFormat.JSON:
        raise typer.BadParameter("a folder is for CSV; JSON goes to standard output", param_hint="--out")
    try:
        moments = parse_moment(since, now=now()), parse_moment(until, now=now(), end=True)
    except MomentError as error:
        _complain(str(error), WRONG)
    as_table = form is LogFormat.TABLE and out is None
    with open_ledger() as ledger:
        chunks = ledger.log_chunks(
            _job_name(job),
            cycle=cycle,
            identity=identity,
            status=_one_of(LogStatus, status, "--status"),
            action=_one_of(LogAction, action, "--action"),
            code=_one_of(ErrorCode, code, "--code"),
            since=moments[0],
            until=moments[1],
            change=change,
            limit=limit or (100 if as_table else None),
        )
        if out is not None:
            print(f"{export_csv(out, chunks):,} lines written to {out}.")  # noqa: T201 (this is the command line)
        elif form is LogFormat.JSON:
            write_json(sys.stdout.buffer, chunks)
        elif form is LogFormat.CSV:
            write_csv(sys.stdout, chunks)
        else:
            show_log(console(), chunks)
        sys.stdout.flush()


@app.command()
def why(
    job: JobFile,
    identity: Annotated[
        str, typer.Argument(metavar="IDENTITY", help="Anchor, id in the target, or name.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Say why an entry has the account it has, or none: from the source to the target, with the log. Writes nothing."""
    import orjson

    from flows.show import console
    from flows.systems import now, open_ledger
    from flows.why import AmbiguousError, gather
    from flows.why_page import as_json as page
    from flows.why_page import show

    loaded = _load(job)
    try:
        with open_ledger() as ledger, console(stderr=True).status("reading both sides …"):
            evidence = gather(loaded, identity, ledger, now=now())
    except AmbiguousError as error:
        _complain(str(error), WRONG)
    if as_json:
        _write(orjson.dumps(page(evidence), default=str))
    else:
        show(console(), evidence)


@app.command(name="on-demand")
def on_demand(
    job: JobFile,
    identity: Annotated[
        str,
        typer.Argument(
            metavar="IDENTITY",
            help="Anchor, value of a matching attribute, id in the target, or name.",
            show_default=False,
        ),
    ],
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Show what would be done, and do nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Provision one user, or one group with its members, now, and show every step of it."""
    import orjson

    from flows import local_api
    from flows.home import home
    from flows.on_demand_page import preview_on_demand, show_page
    from flows.on_demand_steps import UnknownEntryError
    from flows.show import console

    loaded = _load(job)
    try:
        if plan_only:
            page = preview_on_demand(loaded, identity)
        else:
            with _standard_output_for(as_json), local_api.serving(home()) as api_ready:
                from flows.on_demand import run_on_demand

                page = run_on_demand(job, identity, api_ready=api_ready)
    except UnknownEntryError as error:
        _complain(str(error), WRONG)
    if as_json:
        _write(orjson.dumps(page.as_json(), default=str))
    else:
        show_page(console(), page)
    raise typer.Exit(page.exit_status)


@app.command()
def diff(
    job: JobName,
    first: Annotated[int, typer.Argument(metavar="CYCLE", help="Number of the earlier cycle.", show_default=False)],
    second: Annotated[int, typer.Argument(metavar="CYCLE", help="Number of the later cycle.", show_default=False)],
    full: Annotated[bool, typer.Option("--all", help="Show everybody, not only the first of each kind.")] = False,
    as_json: Json = False,
) -> None:
    """Show what one cycle wanted of the target otherwise than another: who joined, left and changed how."""
    import orjson

    from flows.history import HistoryError, diff_cycles, show_diff
    from flows.show import console

    try:
        found = diff_cycles(_job_name(job), first, second)
    except HistoryError as error:
        _complain(str(error), WRONG)
    if as_json:
        _write(orjson.dumps(found.as_json(), default=str))
    else:
        show_diff(console(), found, limit=None if full else 20)


@app.command()
def history(
    job: JobName,
    identity: Annotated[
        str, typer.Argument(metavar="IDENTITY", help="Anchor, id in the target, or name.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Show one entry through time: what it should have been, cycle by cycle, and what was done about it."""
    import orjson

    from flows.history import HistoryError, life_of, show_life
    from flows.show import console
    from flows.systems import open_ledger

    with open_ledger() as ledger:
        try:
            life = life_of(ledger, _known_job(ledger, job), identity)
        except HistoryError as error:
            _complain(str(error), WRONG)
    if as_json:
        _write(orjson.dumps(life.as_json(), default=str))
    else:
        show_life(console(), life)


@app.command()
def restart(
    job: JobName,
    scope: Annotated[
        str,
        typer.Option(
            metavar="SCOPES",
            help="What to clear, with commas: watermark, escrows, quarantine, links, staged, or full for all of them.",
        ),
    ] = "watermark,escrows,quarantine",
    yes: Annotated[bool, typer.Option("--yes", help="Break links without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Clear what a job remembers, so that the next cycle starts afresh; no account is touched by it."""
    import orjson

    from flows.maintain import RequestError, Scope, count_links, scopes_of
    from flows.maintain import restart as clear
    from flows.systems import now, open_ledger

    try:
        scopes = scopes_of(scope)
    except RequestError as error:
        _complain(str(error), WRONG)
    with open_ledger() as ledger:
        name = _known_job(ledger, job)
        if Scope.LINKS in scopes and not yes:
            question = (
                f"Break {count_links(ledger, name):,} links of {name}? Whoever is not found again by a matching "
                "attribute gets a second account, or keeps one that nobody owns."
            )
            if not sys.stdin.isatty():
                _complain(f"{question} Say so with --yes.", WRONG)
            typer.confirm(question, abort=True, err=True)
        restarted = clear(ledger, name, scopes, clock=now)
    if as_json:
        _write(orjson.dumps(restarted.as_json()))
    else:
        print("\n".join(restarted.sentences))  # noqa: T201 (this is the command line)


@app.command()
def pause(job: JobName, why: Why = "", by: By = None) -> None:
    """Pause a job: no cycle begins, and one that runs stops between two batches."""
    from flows import maintain
    from flows.decisions import login_name
    from flows.systems import now, open_ledger

    with open_ledger() as ledger:
        print(maintain.pause(ledger, _known_job(ledger, job), who=by or login_name(), why=why, now=now()))  # noqa: T201


@app.command()
def resume(job: JobName) -> None:
    """Let a paused job go on, and one that is no longer tried after a long quarantine."""
    from flows import maintain
    from flows.systems import now, open_ledger

    with open_ledger() as ledger:
        print(maintain.resume(ledger, _known_job(ledger, job), now=now()))  # noqa: T201 (this is the command line)


@app.command()
def explain(
    expression: Annotated[
        str | None,
        typer.Argument(metavar="EXPRESSION", help="""The expression, as in 'ToLower([mail])'.""", show_default=False),
    ] = None,
    attr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="A source attribute. NAME= is the empty text, an attribute left out is null, several of one name are "
            "several values, and NAME:json=VALUE takes JSON: true, 7, null, [1, 2].",
        ),
    ] = None,
    now: Annotated[
        str | None, typer.Option(metavar="MOMENT", help="What Now() gives, like 2026-01-31T08:00:00Z.")
    ] = None,
    job: Annotated[
        Path | None, typer.Option(metavar="JOB", help="With --entry: take the attributes from this job's source.")
    ] = None,
    entry: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="The entry: its key in the source, or its value of a matching attribute. Without EXPRESSION every "
            "mapping of the job is explained for it.",
        ),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Run a file of cases (JSON) and say which of them fail.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show how an expression comes to its value, for given attributes or for a real entry; or run a file of cases."""
    from flows.explain import WrongRequestError, run_explain, write_json

    if cases is not None and (expression is not None or attr or job is not None or entry is not None):
        raise typer.BadParameter("the file holds everything; only --now and --json go with it", param_hint="--cases")
    if (job is None) != (entry is None):
        raise typer.BadParameter("--job and --entry go together", param_hint="--entry" if entry else "--job")
    if expression is None and cases is None and job is None:
        raise typer.BadParameter("write an expression, or --job and --entry, or --cases", param_hint="EXPRESSION")
    try:
        if cases is not None:
            from flows.cases import run_case_file

            status = run_case_file(cases, now, as_json=as_json)
        elif job is not None and entry is not None:
            from flows.explain_entry import run_explain_entry

            status = run_explain_entry(job, entry, expression, attr or [], now, as_json=as_json)
        else:
            status = run_explain(expression or "", attr or [], now, as_json=as_json)
    except WrongRequestError as error:
        if as_json:
            write_json(error.as_json())
        _complain(str(error), WRONG)
    raise typer.Exit(status)


@app.command(name="import-entra")
def import_entra(
    schema_file: Annotated[
        Path, typer.Argument(metavar="SCHEMA", help="The exported synchronization schema (JSON).", show_default=False)
    ],
    out: Annotated[Path | None, typer.Option(help="Write the job to this file instead of standard output.")] = None,
) -> None:
    """Make a job file of an exported Microsoft Entra synchronization schema, and say what it cannot hold."""
    from flows.entra_import import EntraSchemaError
    from flows.entra_import.command import run_import

    try:
        run_import(schema_file, out)
    except EntraSchemaError as error:
        _complain(str(error), WRONG)


@app.command()
def schema(
    out: Annotated[Path | None, typer.Option(help="Write it to this file instead of standard output.")] = None,
) -> None:
    """Print the JSON Schema of job files, for editors."""
    import orjson

    from tasks.job import job_schema

    document = orjson.dumps(job_schema(), option=orjson.OPT_INDENT_2)
    if out is None:
        _write(document)
    else:
        out.write_bytes(document + b"\n")


@app.command()
def connectors(as_json: Json = False) -> None:
    """List the connectors that jobs can use here."""
    import orjson

    from connectors.registry import find, names
    from flows.show import console, table

    found = [find(name) for name in names()]
    if as_json:
        sides = [
            {"name": one.name, "title": one.title, "source": bool(one.open_source), "target": bool(one.open_target)}
            for one in found
        ]
        _write(orjson.dumps(sides))
        return
    listing = table("connector", "source", "target", "what it speaks to")
    for one in found:
        listing.add_row(one.name, "yes" if one.open_source else "", "yes" if one.open_target else "", one.title)
    console().print(listing)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where everything it writes goes.")] = Path("provisor-demo"),
) -> None:
    """Import 1,000 people into a real SCIM server, then apply the next day's export."""
    from flows.demo import run_demo

    raise typer.Exit(run_demo(folder))


def _load(path: Path) -> "Job":
    from tasks.job import load_job

    return load_job(path)


def _job_name(text: str) -> str:
    """A job's name, given by name or by file."""
    path = Path(text)
    return _load(path).name if path.suffix in (".yaml", ".yml") else text


def _known_job(ledger: "Ledger", text: str) -> str:
    """A job's name, given by file, or by name where it has run; a name that is misspelt ends the command."""
    name = _job_name(text)
    if name == text and name not in ledger.jobs():
        known = ", ".join(ledger.jobs()) or "none"
        _complain(f"No job called {name} has run here; there are: {known}.", WRONG)
    return name


def _one_of(choices: Any, text: str | None, option: str) -> Any:
    if text is None:
        return None
    for choice in choices:
        if str(choice).casefold() == text.casefold():
            return choice
    raise typer.BadParameter(f"one of {', '.join(map(str, choices))}", param_hint=option)


def _length(text: str, option: str) -> "timedelta":
    """A length of time as job files write it."""
    from pydantic import TypeAdapter, ValidationError

    from tasks.job.values import Duration

    try:
        return TypeAdapter(Duration).validate_python(text)
    except ValidationError as error:
        raise typer.BadParameter(str(error.errors()[0]["ctx"]["error"]), param_hint=option) from None


@contextmanager
def _standard_output_for(as_json: bool) -> Iterator[None]:
    """Keeps everything but the one JSON document away from standard output, whoever writes to it."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _write(document: bytes) -> None:
    sys.stdout.buffer.write(document.rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
