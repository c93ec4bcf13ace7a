"""What the ledger says about jobs: ``provisor status``."""

from datetime import datetime
from typing import Any

from rich.markup import escape

from connectors.contract import Kind
from flows.cycle.forecast import LOAD_MS, LOAD_REQUESTS
from flows.cycle.systems import now
from flows.decisions.staged import standing as approval_of
from flows.show.console import Terminal
from flows.show.plan import show_table, table
from tasks.escrow import given_up
from tasks.ledger import WHOLE_KINDS, Cycle, CycleKind, CycleState, Escrow, Ledger, Pause, Quarantine

_COLOURS = {
    CycleState.DONE: "green",
    CycleState.DONE_WITH_FAILURES: "yellow",
    CycleState.STAGED: "bold red",
    CycleState.STOPPED: "red",
    CycleState.CRASHED: "red",
    CycleState.RUNNING: "cyan",
}
_CYCLES = 5
_OF_THE_LOAD = frozenset({LOAD_REQUESTS, LOAD_MS})
"""Counts that are about the pace and not about anybody."""


def job_status(ledger: Ledger, job: str) -> dict[str, Any]:
    """How one job stands, in plain values: links, watermark, what waits, and its last cycles, the newest first."""
    standing = ledger.lookup.standing
    cycles = standing(ledger.cycles(job, limit=_CYCLES), now())
    whole = next(iter(standing(ledger.cycles(job, limit=1, kinds=WHOLE_KINDS), now())), None)
    good = ledger.lookup.last_good([job]).get(job)
    approval = approval_of(ledger.staged(job), job, now())
    return {
        "job": job,
        "ledger": ledger_status(ledger),
        "state": str(whole.state) if whole else "never run",
        "last_good": _cycle(good) if good else None,
        "links": {str(kind): len(ledger.links(job, kind)) for kind in Kind},
        "watermark": ledger.watermark(job),
        "staged": sum(sum(held["counts"].values()) for held in approval["waiting"]),
        "approval": approval,
        "pause": _pause(ledger.paused(job)),
        "quarantine": _quarantine(ledger.quarantine(job)),
        "escrows": [_escrow(one) for one in ledger.escrows(job)],
        "unanswered": len(ledger.open_attempts(job)),
        "after": _after(ledger, job),
        "cycles": [_cycle(cycle) for cycle in cycles],
    }


def _after(ledger: Ledger, job: str) -> dict[str, Any]:
    """The jobs that it runs after, by its last cycle: up to where it has looked, and what it has not looked at yet."""
    looked = ledger.following.looked(job)
    news = ledger.following.news(job, looked)
    return {name: {"looked_at": number, "news": news.get(name)} for name, number in looked.items()}


def ledger_status(ledger: Ledger) -> dict[str, Any]:
    """Where the ledger is, and the copies that were made before its tables were changed."""
    return {"place": ledger.place, "copies": [str(path) for path in ledger.copies()]}


def show_ledger(out: Terminal, found: dict[str, Any]) -> None:
    """Where all of this is kept."""
    out.print(f"[dim]Ledger: {escape(found['place'])}[/]", soft_wrap=True)
    for copy in found["copies"]:
        out.print(f"[dim]Copy from before its tables were changed: {escape(copy)}[/]", soft_wrap=True)


def _cycle(cycle: Cycle) -> dict[str, Any]:
    return {
        "number": cycle.number,
        "kind": str(cycle.kind),
        "state": str(cycle.state),
        "began": cycle.began.isoformat(),
        "ended": cycle.ended.isoformat() if cycle.ended else None,
        "counts": {name: count for name, count in cycle.counts.items() if count and name not in _OF_THE_LOAD},
        "message": cycle.message,
    }


def _pause(pause: Pause | None) -> dict[str, Any] | None:
    return None if pause is None else {"since": pause.since.isoformat(), "who": pause.who, "why": pause.why}


def _quarantine(found: Quarantine | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "reason": found.reason,
        "message": found.message,
        "since": found.since.isoformat(),
        "began": found.began.isoformat(),
        "attempts": found.attempts,
        "next_attempt": found.next_attempt.isoformat() if found.next_attempt else None,
    }


def _escrow(escrow: Escrow) -> dict[str, Any]:
    """One entry that failed; no next attempt means that it was given up."""
    return {
        "kind": str(escrow.kind),
        "anchor": escrow.anchor,
        "entry": escrow.label,
        "code": str(escrow.code) if escrow.code else None,
        "message": escrow.message,
        "attempts": escrow.attempts,
        "first_failed": escrow.first_failed.isoformat(),
        "next_attempt": None if given_up(escrow) else escrow.next_attempt.isoformat(),
    }


def show_status(out: Terminal, jobs: list[dict[str, Any]]) -> None:
    """Every job in a few lines."""
    if not jobs:
        out.print("No job has run here yet. Start one with: provisor run JOB")
    for found in jobs:
        colour = _COLOURS.get(found["state"], "default")
        links = ", ".join(f"{count:,} {kind}s" for kind, count in found["links"].items())
        out.print(f"[bold]{escape(found['job'])}[/]: [{colour}]{found['state'].replace('_', ' ')}[/] · linked: {links}")
        if found["cycles"] and CycleKind(found["cycles"][0]["kind"]).partial:
            good = found["last_good"]
            said = f"{_minute(good['began'])}, cycle {good['number']}" if good else "never"
            out.print(f"  last full cycle that finished: {said}")
        if found["staged"]:
            out.print(f"  [bold red]{found['staged']:,} changes wait for approval[/]")
        _show_approval(out, found["approval"])
        _show_held(out, found)
        if found["unanswered"]:
            out.print(
                f"  [yellow]{found['unanswered']:,} requests of a run that died are read back by the next cycle[/]"
            )
        for before, at in found["after"].items():
            waits = f"[yellow]cycle {at['news']} waits to be looked at[/]" if at["news"] else "nothing new"
            out.print(f"  runs after {escape(before)} · {waits}")
        listing = table("  cycle", "kind", "began", "state", "what happened")
        for cycle in found["cycles"]:
            colour = _COLOURS.get(cycle["state"], "default")
            state = f"[{colour}]{cycle['state'].replace('_', ' ')}[/]"
            began = cycle["began"][:19].replace("T", " ")
            listing.add_row(f"  {cycle['number']}", cycle["kind"], began, state, escape(cycle["message"]))
        show_table(out, listing)


def _show_held(out: Terminal, found: dict[str, Any]) -> None:
    """Why the job, or some of its entries, are not tried now, and until when."""
    if pause := found["pause"]:
        why = f": {pause['why']}" if pause["why"] else ""
        said = f"paused since {_minute(pause['since'])} by {pause['who']}{why}"
        out.print(f"  [bold red]{escape(said)}[/] [dim]· provisor resume {found['job']}[/]")
    if quarantine := found["quarantine"]:
        due = quarantine["next_attempt"]
        when = f"next attempt at {_minute(due)}" if due else "no longer tried"
        lift = "restart {} --scope quarantine" if due else "resume {}"
        said = f"in quarantine since {_minute(quarantine['began'])} ({quarantine['reason']}), {when}"
        out.print(f"  [bold red]{escape(said)}[/] [dim]· provisor {lift.format(found['job'])}[/]")
        out.print(f"    {escape(quarantine['message'])}")
    by_code: dict[str, list[dict[str, Any]]] = {}
    for escrow in found["escrows"]:
        by_code.setdefault(escrow["code"] or "other", []).append(escrow)
    for code, escrows in sorted(by_code.items(), key=lambda item: (-len(item[1]), item[0])):
        due = min((one["next_attempt"] for one in escrows if one["next_attempt"]), default=None)
        lost = sum(one["next_attempt"] is None for one in escrows)
        parts = [f"next attempt {_due(due)}"] if due else []
        parts += [f"{lost:,} given up"] if lost else []
        entries = "1 entry" if len(escrows) == 1 else f"{len(escrows):,} entries"
        out.print(f"  [yellow]{entries} failed[/] · {escape(code)} · {', '.join(parts)}")


def _due(moment: str) -> str:
    return "in the next cycle" if datetime.fromisoformat(moment) <= now() else _minute(moment)


def _show_approval(out: Terminal, approval: dict[str, Any]) -> None:
    """What guards hold, what people have decided about it, and how to decide."""
    for held in approval["waiting"]:
        guard = f"[dim]· {escape(held['guard'])}[/]"
        out.print(f"  [red]●[/] since {_minute(held['since'])}: {_counts(held['counts'])} {guard}")
    for made in approval["decisions"]:
        until = f", until {_minute(made['until'])}" if made["until"] else ""
        why = f": {made['why']}" if made["why"] else ""
        who = f"{made['decision']} by {made['who']} on {_minute(made['decided_at'])}{until}{why}"
        out.print(f"  [yellow]●[/] {_counts(made['counts'])} [dim]· {escape(who)}[/]")
    for command in approval["commands"].values():
        out.print(f"    {escape(command)}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} × {name}" for name, count in counts.items())


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")
