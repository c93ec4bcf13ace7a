"""What the ledger says about jobs: ``provisor status`` and ``provisor log``."""

import csv
import io
from typing import Any

import orjson
import pandas as pd
from rich.console import Console
from rich.markup import escape

from connectors.contract import Kind
from flows.show import table
from tasks.ledger import Cycle, CycleState, Ledger

_COLOURS = {
    CycleState.DONE: "green",
    CycleState.DONE_WITH_FAILURES: "yellow",
    CycleState.STAGED: "bold red",
    CycleState.STOPPED: "red",
    CycleState.CRASHED: "red",
    CycleState.RUNNING: "cyan",
}
_LOG_COLOURS = {"success": "green", "failure": "red", "skipped": "yellow", "warning": "yellow"}
_CYCLES = 5


def job_status(ledger: Ledger, job: str) -> dict[str, Any]:
    """How one job stands, in plain values: links, watermark, what waits, and its last cycles, the newest first."""
    cycles = ledger.cycles(job, limit=_CYCLES)
    return {
        "job": job,
        "state": str(cycles[0].state) if cycles else "never run",
        "links": {str(kind): len(ledger.links(job, kind)) for kind in Kind},
        "watermark": ledger.watermark(job),
        "staged": len(ledger.staged(job)),
        "escrows": len(ledger.escrows(job)),
        "unanswered": len(ledger.open_attempts(job)),
        "cycles": [_cycle(cycle) for cycle in cycles],
    }


def _cycle(cycle: Cycle) -> dict[str, Any]:
    return {
        "number": cycle.number,
        "kind": str(cycle.kind),
        "state": str(cycle.state),
        "began": cycle.began.isoformat(),
        "ended": cycle.ended.isoformat() if cycle.ended else None,
        "counts": {name: count for name, count in cycle.counts.items() if count},
        "message": cycle.message,
    }


def show_status(out: Console, jobs: list[dict[str, Any]]) -> None:
    """Every job in a few lines."""
    if not jobs:
        out.print("No job has run here yet. Start one with: provisor run JOB")
    for found in jobs:
        colour = _COLOURS.get(found["state"], "default")
        links = ", ".join(f"{count:,} {kind}s" for kind, count in found["links"].items())
        out.print(f"[bold]{escape(found['job'])}[/]: [{colour}]{found['state'].replace('_', ' ')}[/] · linked: {links}")
        if found["staged"]:
            out.print(f"  [bold red]{found['staged']:,} removals wait for approval[/]")
        if found["unanswered"]:
            out.print(
                f"  [yellow]{found['unanswered']:,} requests of a run that died are read back by the next cycle[/]"
            )
        listing = table("  cycle", "kind", "began", "state", "what happened")
        for cycle in found["cycles"]:
            colour = _COLOURS.get(cycle["state"], "default")
            state = f"[{colour}]{cycle['state'].replace('_', ' ')}[/]"
            began = cycle["began"][:19].replace("T", " ")
            listing.add_row(f"  {cycle['number']}", cycle["kind"], began, state, escape(cycle["message"]))
        out.print(listing)


def show_log(out: Console, lines: pd.DataFrame) -> None:
    """The lines as a table, the newest first."""
    if lines.empty:
        out.print("Nothing in the log for this.")
        return
    listing = table("time", "cycle", "action", "entry", "status", "why")
    for line in _records(lines):
        colour = _LOG_COLOURS.get(line["status"], "default")
        why = " · ".join(text for text in (line["reason"], line["code"], line["message"], _modified(line)) if text)
        time = line["time"][:19].replace("T", " ")
        name = f"{line['kind']} {line['label'] or line['anchor']}"
        status = f"[{colour}]{line['status']}[/]"
        listing.add_row(time, str(line["cycle"]), line["action"], escape(name), status, escape(why))
    out.print(listing)


def write_log(lines: pd.DataFrame, form: str) -> bytes:
    """The lines as one JSON document or as CSV."""
    records = _records(lines)
    if form == "json":
        return orjson.dumps(records, default=str)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(lines.columns), lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in record.items()})
    return text.getvalue().encode()


def _records(lines: pd.DataFrame) -> list[dict[str, Any]]:
    records = []
    for row in lines.to_dict(orient="records"):
        plain = {str(name): None if _null(value) else value for name, value in row.items()}
        plain["time"] = row["time"].isoformat()
        records.append(plain)
    return records


def _null(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _modified(line: dict[str, Any]) -> str:
    if line["action"] == "create":
        return ""  # everything
    names = [change["name"] for change in line.get("modified") or []]
    return f"changed {', '.join(names[:6])}{' …' if len(names) > 6 else ''}" if names else ""


def _cell(value: Any) -> str:
    """Text for a spreadsheet: nothing that it would take for a formula."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
