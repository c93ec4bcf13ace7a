"""``provisor preview``: what a job's mappings make of some people. Only the job's source is read."""

import datetime as dt
import time
from pathlib import Path
from random import SystemRandom
from typing import Any

from connectors.contract import Kind, Snapshot
from connectors.errors import ProvisorError
from flows.show.console import Terminal, Text, console
from flows.show.explain import write_json
from flows.show.explain_entry import SourceEntry, explain_mappings, read_alone, row_of, show_mappings
from tasks.expressions import Context
from tasks.job import load_job
from tasks.scope import Scoped, select

_LOOKED_EVERY_S = 0.5


def run_preview(path: Path, count: int, *, as_json: bool) -> int:
    """Shows the mapped attributes of the first people in scope; gives 1 where a mapping fails for one of them.

    Raises: JobError, FatalError.
    """
    job = load_job(path)
    context = Context(now=dt.datetime.now(dt.UTC), random=SystemRandom())
    snapshot, _ = read_alone(job, context)
    scoped = select(job.users, snapshot, Kind.USER, assignment=job.assignment, now=context.now)
    found = [(entry, explain_mappings(job, entry, context)) for entry in _sample(snapshot, scoped, count)]
    if as_json:
        write_json(
            {
                "job": job.name,
                "in_scope": len(scoped.entries),
                "out_of_scope": len(scoped.out),
                "entries": [
                    {"entry": entry.as_json(), "mappings": [one.as_json() for one in mapped]} for entry, mapped in found
                ],
            }
        )
    else:
        out = console()
        for entry, mapped in found:
            out.print(Text(f"{entry.kind} ").append(entry.key, style="bold"))
            show_mappings(out, mapped)
            out.print()
        _count(out, snapshot, scoped)
    return int(any(one.failed for _, mapped in found for one in mapped))


def watch_preview(path: Path, count: int) -> None:
    """Shows it again whenever the job's file changes, until a person interrupts; a problem of the file is shown too."""
    seen = None
    out = console()
    while True:
        changed = path.stat().st_mtime_ns if path.exists() else None
        if changed != seen:
            seen = changed
            out.clear()
            try:
                run_preview(path, count, as_json=False)
            except ProvisorError as error:
                out.print(Text.of_lines(str(error), style="red"))
            out.print(Text(f"Watching {path}; press Ctrl-C to stop.", style="dim"))
        time.sleep(_LOOKED_EVERY_S)


def _sample(snapshot: Snapshot, scoped: Scoped, count: int) -> list[SourceEntry]:
    frame = scoped.entries
    return [
        SourceEntry(
            kind=Kind.USER,
            key=str(key),
            system=snapshot.system,
            values=row_of(frame, str(key)),
            known=frozenset(map(str, frame.columns)),
            outside=None,
        )
        for key in frame.index[:count]
    ]


def _count(out: Terminal, snapshot: Snapshot, scoped: Scoped) -> None:
    figures: dict[str, Any] = {"in scope": len(scoped.entries), "out of scope": len(scoped.out)}
    if len(scoped.held):
        figures["held, because the filter cannot be judged"] = len(scoped.held)
    if snapshot.unreadable:
        figures["rows that cannot be used"] = len(snapshot.unreadable)
    out.print(Text(f"{snapshot.system}: " + ", ".join(f"{number:,} {name}" for name, number in figures.items()) + "."))
