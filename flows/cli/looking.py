"""Read-only commands: state of jobs, what was done, and why."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.answering import WRONG, complain, say, write
from flows.cli.arguments import JobFile, JobName, Json, known_job, load, one_of


class LogFormat(StrEnum):
    """How the provisioning log is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def status(
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="A job's name or file; all jobs without it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the state of the jobs: their last cycles and what is waiting."""
    import orjson

    from flows.cycle.systems import open_ledger
    from flows.show.console import console
    from flows.show.status import job_status, ledger_status, show_ledger, show_status

    with open_ledger() as ledger:
        names = [known_job(ledger, job)] if job else ledger.jobs()
        found = [job_status(ledger, name) for name in names]
        where = ledger_status(ledger)
    if as_json:
        write(orjson.dumps(found))
        return
    out = console()
    show_status(out, found)
    show_ledger(out, where)


def log(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Job name or file.")],
    cycle: Annotated[int | None, typer.Option(help="Only this cycle.")] = None,
    identity: Annotated[str | None, typer.Option(help="Only this entry: anchor, id in the target, or name.")] = None,
    status: Annotated[str | None, typer.Option(help="success, failure, skipped or warning.")] = None,
    action: Annotated[str | None, typer.Option(help="create, update, disable, StagedDisable, ...")] = None,
    code: Annotated[str | None, typer.Option(help="Only lines with this code: Conflict, ExpressionFailed, ...")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Start: 24h, 7d or 30d ago, a date, or a date and time.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Up to then; a date counts to its end.")] = None,
    change: Annotated[str | None, typer.Option(metavar="ID", help="Only this change.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of lines, newest first (default: 100 in a table, else all)."),
    ] = None,
    form: Annotated[LogFormat, typer.Option("--format", help="How it is written.")] = LogFormat.TABLE,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write log.csv, steps.csv and modified.csv to this folder; join them on log_id."
        ),
    ] = None,
) -> None:
    """Show the provisioning log: what was done or skipped, for whom, when and why."""
    from connectors.errors import ErrorCode
    from flows.cycle.systems import now, open_ledger
    from flows.show.console import console
    from flows.show.json_out import json_out
    from flows.show.log import MomentError, export_csv, parse_moment, show_log, write_csv, write_json
    from tasks.ledger import LogAction, LogStatus

    if out is not None and form is LogFormat.JSON:
        raise typer.BadParameter("--out writes CSV; JSON goes to standard output", param_hint="--out")
    try:
        moments = parse_moment(since, now=now()), parse_moment(until, now=now(), end=True)
    except MomentError as error:
        complain(str(error), WRONG)
    as_table = form is LogFormat.TABLE and out is None
    with open_ledger() as ledger:
        chunks = ledger.log_chunks(
            known_job(ledger, job),
            cycle=cycle,
            identity=identity,
            status=one_of(LogStatus, status, "--status"),
            action=one_of(LogAction, action, "--action"),
            code=one_of(ErrorCode, code, "--code"),
            since=moments[0],
            until=moments[1],
            change=change,
            limit=limit or (100 if as_table else None),
        )
        if out is not None:
            say(f"{export_csv(out, chunks):,} lines written to {out}.")
        elif form is LogFormat.JSON:
            write_json(json_out(), chunks)
        elif form is LogFormat.CSV:
            write_csv(sys.stdout, chunks)
        else:
            show_log(console(), chunks)
        sys.stdout.flush()


def why(
    job: JobFile,
    identity: Annotated[
        str, typer.Argument(metavar="IDENTITY", help="Anchor, id in the target, or name.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Say why an entry has the account it has, or none: from the source to the target, with the log. Writes nothing."""
    import orjson

    from flows.cycle.systems import now, open_ledger
    from flows.show.console import console
    from flows.show.why import AmbiguousError, gather
    from flows.show.why_page import as_json as page
    from flows.show.why_page import show

    loaded = load(job)
    try:
        with open_ledger() as ledger, console(stderr=True).status("reading both sides …"):
            evidence = gather(loaded, identity, ledger, now=now())
    except AmbiguousError as error:
        complain(str(error), WRONG)
    if as_json:
        write(orjson.dumps(page(evidence), default=str))
    else:
        show(console(), evidence)


def access(
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Only this job (default: all jobs).")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="WHEN", help="As it was then: a date counts to its end; now without it.")
    ] = None,
    department: Annotated[str, typer.Option(help="Only people in this department.")] = "",
    group: Annotated[str, typer.Option(metavar="GROUP", help="Only members of this group, by its key or name.")] = "",
    person: Annotated[str, typer.Option(metavar="WHO", help="Only people with this name, login or key.")] = "",
    state: Annotated[
        str | None,
        typer.Option(help="active or disabled; unmanaged: accounts of no entry; orphaned: those Provisor made."),
    ] = None,
    kind: Annotated[str | None, typer.Option(help="user (default) or group.")] = None,
    full: Annotated[bool, typer.Option("--all", help="Show everybody, not only the first hundred.")] = False,
    form: Annotated[LogFormat, typer.Option("--format", help="How it is written.")] = LogFormat.TABLE,
) -> None:
    """List who has access to what, now or on a date, from the links and the provisioning log. Writes nothing."""
    import csv

    import orjson

    from connectors.contract import Kind
    from flows.cycle.systems import now, open_ledger
    from flows.show.access import HEADINGS, NOT_ANSWERABLE, STATES, AccessQuestion, not_known, rows_of, show_access
    from flows.show.console import console
    from flows.show.log import MomentError, parse_moment, safe_cell
    from tasks.ledger import AccountFilters, LinkState, Outside

    try:
        moment = parse_moment(at, now=now(), end=True)
    except MomentError as error:
        complain(str(error), WRONG)
    if moment is not None and moment >= now():
        moment = None
    wanted = one_of(STATES, state, "--state")
    filters = AccountFilters(
        state=wanted if isinstance(wanted, LinkState) else None,
        department=department,
        kind=one_of(Kind, kind, "--kind") or Kind.USER,
    )
    outside = wanted if isinstance(wanted, Outside) else None
    with open_ledger() as ledger:
        jobs = [known_job(ledger, job)] if job else ledger.jobs()
        question = AccessQuestion(jobs, filters, moment, group, person, outside)
        if not question.answerable:
            complain(NOT_ANSWERABLE, WRONG)
        if form is not LogFormat.TABLE and (unknown := not_known(ledger, question)):
            say(*unknown, stderr=True)
        if form is LogFormat.TABLE:
            show_access(console(), ledger, question, limit=None if full else 100)
        elif form is LogFormat.CSV:
            writer = csv.writer(sys.stdout)
            writer.writerow(HEADINGS)
            writer.writerows([safe_cell(cell) for cell in row] for row in rows_of(ledger, question))
        else:
            write(orjson.dumps([dict(zip(HEADINGS, row, strict=True)) for row in rows_of(ledger, question)]))


def diff(
    job: JobName,
    first: Annotated[int, typer.Argument(metavar="CYCLE", help="Number of the earlier cycle.", show_default=False)],
    second: Annotated[int, typer.Argument(metavar="CYCLE", help="Number of the later cycle.", show_default=False)],
    full: Annotated[bool, typer.Option("--all", help="Show everybody, not only the first of each kind.")] = False,
    as_json: Json = False,
) -> None:
    """Show what one cycle wanted of the target otherwise than another: who joined, left and changed how."""
    import orjson

    from flows.show.console import console
    from flows.show.history import HistoryError, diff_cycles, show_diff

    try:
        found = diff_cycles(_known(job), first, second)
    except HistoryError as error:
        complain(str(error), WRONG)
    if as_json:
        write(orjson.dumps(found.as_json(), default=str))
    else:
        show_diff(console(), found, limit=None if full else 20)


def history(
    job: JobName,
    identity: Annotated[
        str, typer.Argument(metavar="IDENTITY", help="Anchor, id in the target, or name.", show_default=False)
    ],
    as_json: Json = False,
) -> None:
    """Show one entry over time: its desired state, cycle by cycle, and what was done."""
    import orjson

    from flows.cycle.systems import open_ledger
    from flows.show.console import console
    from flows.show.history import HistoryError, life_of, show_life

    with open_ledger() as ledger:
        try:
            life = life_of(ledger, known_job(ledger, job), identity)
        except HistoryError as error:
            complain(str(error), WRONG)
    if as_json:
        write(orjson.dumps(life.as_json(), default=str))
    else:
        show_life(console(), life)


def _known(job: str) -> str:
    from flows.cycle.systems import open_ledger

    with open_ledger() as ledger:
        return known_job(ledger, job)


Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


def report(
    job: JobName,
    cycle: Annotated[int | None, typer.Option(min=1, help="Cycle number (default: the latest).")] = None,
    open_it: Open = False,
) -> None:
    """Show where the report of a run is: what was done, what failed and why, and how long it took."""
    from flows.cycle.pages import reports_folder
    from tasks.pages.layout import numbered

    name = _known(job)
    kept = numbered(reports_folder(name))
    number = cycle or max(kept, default=0)
    if number not in kept:
        about = f"of cycle {cycle}; there are: {', '.join(map(str, kept)) or 'none'}" if cycle else "yet"
        complain(f"The job {name} has no report {about}.", WRONG)
    _show_page(kept[number], open_it=open_it)


def docs(job: JobName, open_it: Open = False) -> None:
    """Show where the Data Docs of a job are: the results of its data checks, cycle by cycle."""
    from flows.cycle.pages import docs_folder

    name = _known(job)
    page = docs_folder(name) / "index.html"
    if not page.exists():
        complain(f"The job {name} has no Data Docs yet: they are made by `provisor run`.", WRONG)
    _show_page(page, open_it=open_it)


def _show_page(page: Path, *, open_it: bool) -> None:
    from flows.cycle.home import home
    from flows.cycle.pages import address_of
    from flows.serve.prefect_home import find_server

    address = address_of(page)
    if not address and (up := find_server(home())) is not None:
        address = address_of(page, base=up.pages)
    address = address or page.as_uri()
    say(address)
    if open_it:
        import webbrowser

        if not webbrowser.open(address):
            complain("Could not start a browser; open the address yourself.", 1)
