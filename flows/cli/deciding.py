"""Commands for decisions: approve, reject, restart, pause and resume."""

import sys
from typing import Annotated

import typer

from flows.cli.answering import WRONG, complain, say, write
from flows.cli.arguments import Again, By, JobName, Json, Only, Shown, Until, Why, known_job


def approve(
    job: JobName,
    only: Only = None,
    shown: Shown = None,
    until: Until = None,
    why: Why = "",
    by: By = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Approve changes that guards hold. The next cycle carries them out without judging them again.    Existing
    decisions stay in place and are listed. provisor status shows what waits, with the command that
    decides about exactly that (--shown).
    """
    _decide("approved", job, only, shown, until, why, by, again=again, as_json=as_json)


def reject(
    job: JobName,
    only: Only = None,
    shown: Shown = None,
    until: Until = None,
    why: Why = "",
    by: By = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Reject changes that guards hold. They are left alone until the decision expires or the plan changes.    Approvals
    that have not run yet are withdrawn; existing rejections stay in place and are listed.
    """
    _decide("rejected", job, only, shown, until, why, by, again=again, as_json=as_json)


def _decide(
    decision: str,
    job: str,
    only: list[str] | None,
    shown: str | None,
    until: str | None,
    why: str,
    by: str | None,
    *,
    again: bool,
    as_json: bool,
) -> None:
    import orjson

    from flows.cycle.systems import now, open_ledger
    from flows.decisions.persons import DecisionError, login_name, own_identity
    from flows.decisions.staged import decide_staged, decision_sentence, staged_json, told_one_by_one
    from flows.decisions.until import parse_until
    from tasks.ledger import StagedState

    try:
        with open_ledger() as ledger:
            name = known_job(ledger, job)
            ruling = decide_staged(
                ledger,
                name,
                StagedState(decision),
                only=only or (),
                shown=shown,
                again=again,
                until=parse_until(until),
                who=by or login_name(),
                identity=own_identity(),
                why=why,
                now=now(),
            )
    except DecisionError as error:
        complain(str(error), WRONG)
    run = f"provisor run {job}"
    if as_json:
        parts = {"decided": ruling.decided, "before": ruling.before, "taken_back": ruling.taken_back}
        lists = {part: [staged_json(one) for one in some] for part, some in parts.items()}
        write(orjson.dumps({"job": name, **lists, "next": run}))
    else:
        say(decision_sentence(ruling, name, run), *told_one_by_one(ruling.decided))


def restart(
    job: JobName,
    scope: Annotated[
        str,
        typer.Option(
            metavar="SCOPES",
            help="What to clear, with commas: watermark, escrows, quarantine, links, staged, or full for all of them.",
        ),
    ] = "watermark,escrows,quarantine",
    yes: Annotated[bool, typer.Option("--yes", help="Break links without confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Clear what a job remembers, so that the next cycle starts afresh. Changes no account."""
    import orjson

    from flows.cycle.systems import now, open_ledger
    from flows.decisions.maintenance import RequestError, Scope, count_links, scopes_of
    from flows.decisions.maintenance import restart as clear

    try:
        scopes = scopes_of(scope)
    except RequestError as error:
        complain(str(error), WRONG)
    with open_ledger() as ledger:
        name = known_job(ledger, job)
        if Scope.LINKS in scopes and not yes:
            question = (
                f"Break {count_links(ledger, name):,} links of {name}? A person who is not found again by a "
                "matching attribute gets a second account, or keeps an account that Provisor does not manage."
            )
            if not sys.stdin.isatty():
                complain(f"{question} Confirm with --yes.", WRONG)
            typer.confirm(question, abort=True, err=True)
        restarted = clear(ledger, name, scopes, clock=now)
    if as_json:
        write(orjson.dumps(restarted.as_json()))
    else:
        say(*restarted.sentences)


def pause(job: JobName, why: Why = "", by: By = None) -> None:
    """Pause a job: no new cycle starts, and a running one stops between two batches."""
    from flows.cycle.systems import now, open_ledger
    from flows.decisions import maintenance as maintain
    from flows.decisions.persons import login_name

    with open_ledger() as ledger:
        say(maintain.pause(ledger, known_job(ledger, job), who=by or login_name(), why=why, now=now()))


def resume(job: JobName) -> None:
    """Let a paused job go on, and one that is no longer tried after a long quarantine."""
    from flows.cycle.systems import now, open_ledger
    from flows.decisions import maintenance as maintain

    with open_ledger() as ledger:
        say(maintain.resume(ledger, known_job(ledger, job), now=now()))
