"""Commands that plan or change accounts: plan, run, apply, undo, on-demand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from flows.cli.answering import INTERRUPTED, WRONG, complain, say, standard_output_for, write
from flows.cli.arguments import JobFile, Json, length, load, moment

if TYPE_CHECKING:
    from flows.cycle.preview import Decision
    from tasks.job import Job
    from tasks.report import CycleReport


_IN_A_COMMENT = 50
"""Maximum changes of each kind in a review comment."""


class PlanFormat(StrEnum):
    """How a plan is shown."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class Choice(StrEnum):
    """What a cycle evaluates."""

    AUTO = "auto"
    INITIAL = "initial"
    INCREMENTAL = "incremental"
    RECONCILE = "reconcile"


def plan(
    job: JobFile,
    as_json: Json = False,
    form: Annotated[
        PlanFormat, typer.Option("--format", help="Output format; markdown suits review comments.")
    ] = PlanFormat.TEXT,
    full: Annotated[bool, typer.Option("--all", help="Show every change, not only the first of each kind.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the plan to this file, to review and apply it.")
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="LENGTH", help="How long the file can be applied, like 2h or 3d.")
    ] = "24h",
    at: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="Plan as of this date or time: joiners and leavers until then."),
    ] = None,
) -> None:
    """Show what a cycle would do now; nothing is written to any system."""
    from flows.cli.here import decide_now
    from flows.cycle.systems import as_if

    loaded = load(job)
    life = length(expires, "--expires")
    if at is not None and out is not None:
        raise typer.BadParameter("a plan for another day cannot be applied", param_hint="--at")
    with as_if(moment(at, "--at")):
        decision = decide_now(loaded, listing=out is not None)
    if out is not None:
        from flows.cycle.plan_file import write_plan_file
        from flows.cycle.systems import now

        made = write_plan_file(out, decision, loaded, job_file=job, life=life, now=now())
        until = f"until {made.expires_at:%Y-%m-%d %H:%M} UTC"
        say(f"The plan is in {out}. Apply it {until}: provisor apply {out}", stderr=True)
    if form is PlanFormat.MARKDOWN:
        from flows.show.plan_markdown import plan_as_markdown

        say(*plan_as_markdown(decision, limit=None if full else _IN_A_COMMENT).splitlines())
    else:
        _show_decision(decision, as_json=as_json or form is PlanFormat.JSON, limit=None if full else 5)
    if not as_json and form is PlanFormat.TEXT and decision.checked.blocks:
        _say_who_comes_after(loaded)
    raise typer.Exit(3 if decision.checked.waiting else 0)


def _say_who_comes_after(job: "Job") -> None:
    """Names the jobs that start after a cycle with changes."""
    from flows.serve.jobs_of import next_after

    if following := next_after(job):
        say(f"Once this is done: {' and '.join(following)}.")


def _show_decision(decision: "Decision", *, as_json: bool, limit: int | None) -> None:
    from flows.show.console import console
    from flows.show.json_out import json_out
    from flows.show.plan import show_plan
    from flows.show.plan_json import write_plan

    if as_json:
        out = json_out()
        write_plan(out, decision)
        out.flush()
    else:
        show_plan(console(), decision, limit=limit)


def run(
    job: JobFile,
    cycle: Annotated[Choice, typer.Option(help="What to evaluate; auto chooses.")] = Choice.AUTO,
    now: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENTRY",
            help="Try an entry that failed before now, however long it would have to wait: its anchor, its id in the "
            "target, or its name. Several times for several entries.",
        ),
    ] = None,
    chain: Annotated[
        bool, typer.Option("--chain", help="Then run the jobs that follow, as long as each one changes something.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run one cycle of a job as a Prefect flow: read both sides, plan, judge, load, report."""
    # Here, so that a wrong file, or a job that is held, is said at once and not after the orchestrator has started.
    loaded = load(job)
    if chain:
        from flows.serve.jobs_of import refuse_wrong_chain

        refuse_wrong_chain(loaded)
    at_once = _may_run(loaded, now or [])
    following: list[dict[str, Any]] = []
    with _orchestrated(as_json) as api_ready:
        from flows.cli.chain import run_chain
        from flows.cli.here import run_cycle

        report = run_cycle(job, cycle, at_once=at_once, api_ready=api_ready, quiet=as_json)
        if chain:
            following = list(run_chain(loaded, api_ready=api_ready, quiet=as_json))
    if not chain and not as_json:
        _say_what_follows(loaded)
    _end(report, following, as_json=as_json)


def _say_what_follows(job: "Job") -> None:
    """Names the jobs that should run next, if no server starts them."""
    from flows.cli.chain import hint
    from flows.cycle.home import home
    from flows.serve import local_api
    from flows.serve.prefect_home import find_server

    if (sentence := hint(job)) and not local_api.is_configured() and find_server(home()) is None:
        say(sentence)


@contextmanager
def _orchestrated(as_json: bool) -> Iterator[Callable[[], None]]:
    """A Prefect API for a run, and standard output for its document, which is written even if the run is interrupted.

    Yields a function that waits for the API. Raises: UnreachableError.
    """
    from flows.cycle.home import home
    from flows.serve import local_api

    try:
        with standard_output_for(as_json), local_api.serving(home()) as api_ready:
            yield api_ready
    except KeyboardInterrupt as interrupt:
        from flows.cli.here import RunInterrupted

        if as_json and isinstance(interrupt, RunInterrupted):
            _write_report(interrupt.report, INTERRUPTED)
        raise


def _may_run(job: "Job", names: list[str]) -> tuple[str, ...]:
    """Anchors of the entries named with --now. Exits if the job is paused or in quarantine."""
    from flows.cycle.aftermath import let_begin
    from flows.cycle.systems import now, open_ledger
    from flows.decisions.maintenance import RequestError, anchors_of

    with open_ledger() as ledger:
        let_begin(ledger, job, now=now())
        try:
            return anchors_of(ledger, job.name, names)
        except RequestError as error:
            complain(str(error), WRONG)


def apply(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A file that plan --out made.", show_default=False)],
    job: Annotated[
        Path | None, typer.Option(metavar="JOB", help="The job file, where it is no longer where it was.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Carry out a plan that was reviewed, exactly; refused when anything would be done otherwise by now."""
    from flows.cli.here import listing_cycle
    from flows.cycle.aftermath import let_begin
    from flows.cycle.plan_file import read_plan_file, refuse_unfit
    from flows.cycle.systems import now, open_ledger

    # Here, so that a plan which cannot be carried out is refused before the orchestrator has started.
    read = read_plan_file(plan)
    job_file = job or read.job_file
    loaded = load(job_file)
    with open_ledger() as ledger:
        let_begin(ledger, loaded, now=now())
        refuse_unfit(read, loaded, ledger, now=now())
        cycle = listing_cycle(ledger, loaded)
    with _orchestrated(as_json) as api_ready:
        from flows.cli.here import run_cycle

        report = run_cycle(job_file, cycle, plan_file=plan, api_ready=api_ready, quiet=as_json)
    _end(report, as_json=as_json)


def undo(
    job: JobFile,
    cycle: Annotated[int, typer.Argument(metavar="CYCLE", help="Its number, as the log has it.", show_default=False)],
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Show what would be done and change nothing.")] = False,
    recreate: Annotated[
        bool, typer.Option("--recreate", help="Create deleted accounts again, under another id.")
    ] = False,
    delete_created: Annotated[
        bool, typer.Option("--delete-created", help="Delete created accounts instead of disabling them.")
    ] = False,
    leave_alone: Annotated[
        bool,
        typer.Option("--leave-alone", help="Skip what cannot be undone instead of refusing everything."),
    ] = False,
    no_pause: Annotated[
        bool, typer.Option("--no-pause", help="Do not pause the job; its next cycle repeats the changes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Undo a cycle where the target has not changed since, and pause the job."""
    from flows.cli.here import decide_undo_now, run_undo
    from flows.cycle.undo import Wishes

    wishes = Wishes(recreate=recreate, delete_created=delete_created, leave_alone=leave_alone)
    loaded = load(job)
    if plan_only:
        decision = decide_undo_now(loaded, cycle, wishes)
        _show_decision(decision, as_json=as_json, limit=None)
        raise typer.Exit(3 if decision.checked.waiting else 0)
    with _orchestrated(as_json) as api_ready:
        report = run_undo(job, cycle, wishes, pause=not no_pause, api_ready=api_ready, quiet=as_json)
    if not as_json:
        _say_paused(loaded.name)
    _end(report, as_json=as_json)


def _say_paused(job: str) -> None:
    """Says how to resume a paused job."""
    from flows.cycle.systems import open_ledger
    from tasks.quarantine import pause_sentence

    with open_ledger() as ledger:
        pause = ledger.paused(job)
    if pause is not None:
        say(pause_sentence(job, pause))


def _end(report: "CycleReport", following: Sequence[Mapping[str, Any]] = (), *, as_json: bool) -> NoReturn:
    """Exits a command that ran a cycle and possibly ``following`` jobs, with the worst of their exit statuses."""
    status = max([report.exit_status, *(int(one["exit_status"]) for one in following)])
    if as_json:
        _write_report(report, status, following)
    raise typer.Exit(status)


def _write_report(report: "CycleReport", exit_status: int, following: Sequence[Mapping[str, Any]] = ()) -> None:
    import orjson

    chain = {"chain": list(following)} if following else {}
    write(orjson.dumps(report.as_json() | chain | {"exit_status": exit_status}, default=str))


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
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Show what would be done and change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Provision one user, or one group with its members, now, and show every step."""
    import orjson

    from flows.cycle.home import home
    from flows.cycle.on_demand_steps import UnknownEntryError
    from flows.serve import local_api
    from flows.show.console import console
    from flows.show.on_demand import preview_on_demand, show_page

    loaded = load(job)
    try:
        if plan_only:
            page = preview_on_demand(loaded, identity)
        else:
            with standard_output_for(as_json), local_api.serving(home()) as api_ready:
                from flows.on_demand import run_on_demand

                page = run_on_demand(job, identity, api_ready=api_ready)
    except UnknownEntryError as error:
        complain(str(error), WRONG)
    if as_json:
        write(orjson.dumps(page.as_json(), default=str))
    else:
        show_page(console(), page)
    raise typer.Exit(page.exit_status)
