"""How things look in a terminal and to machines: plans, reports, problems.

A plan is shown as people know it from infrastructure tools: a symbol per change, old and new values, counts last.
"""

import sys
from collections.abc import Iterator
from itertools import groupby
from typing import Any, BinaryIO

import orjson
import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from connectors.contract import Action, Value
from flows.preview import Decision
from tasks.ledger import REDACTED
from tasks.mapping import Held
from tasks.plan import Block
from tasks.plan.compare import canonical
from tasks.report import CycleReport

SYMBOLS = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.ENABLE: ("▲", "green"),
    Action.DISABLE: ("▼", "red"),
    Action.DELETE: ("-", "red"),
    Action.ADD_MEMBERS: ("+", "green"),
    Action.REMOVE_MEMBERS: ("-", "red"),
}

_CHUNK = 20_000
"""Changes turned into JSON at once."""


def console(*, stderr: bool = False) -> Console:
    """A console that wraps nothing away when it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, soft_wrap=not stream.isatty())


# --- plans for people ----------------------------------------------------------------------------------------------


def show_plan(out: Console, decision: Decision, *, limit: int | None) -> None:
    """The plan, at most ``limit`` changes of every kind (None: all of them), with what is held back, counts last."""
    checked = decision.checked
    plan = checked.plan
    out.print(f"[bold]{escape(plan.job)}[/]: {escape(plan.source)} → {escape(plan.target)}")
    for blocks in _alike(checked.blocks):
        out.print()
        _show_blocks(out, blocks, limit)
    if checked.staged:
        out.print("\n[bold red]Held back by guards[/] (nothing of this is done before somebody approves it)")
        for verdict in checked.verdicts:
            out.print(f"  [red]●[/] {escape(verdict.sentence)}")
        for blocks in _alike(checked.staged):
            _show_blocks(out, blocks, limit)
    _show_held(out, "Left alone", plan.held, limit)
    _show_held(out, "Not complete yet", plan.notes, None if limit is None else min(limit, 3))
    for finding in decision.findings:
        out.print(f"[yellow]![/] {escape(finding.sentence)}")
    out.print()
    out.print(summary(decision))


def summary(decision: Decision) -> Text:
    """The plan's counts in one line."""
    plan = decision.checked.plan
    line = Text("Plan: ", style="bold")
    counts = plan.counts()
    if not counts:
        line.append("nothing to do", style="green")
    for number, (action, count) in enumerate(counts.items()):
        line.append(", " if number else "")
        line.append(f"{count:,} to {action}", style=SYMBOLS[action][1])
    unchanged = sum(entries.unchanged for entries in plan.entries.values())
    line.append(f"; {unchanged:,} unchanged", style="default")
    if plan.held:
        line.append(f"; {len(plan.held):,} left alone", style="yellow")
    if decision.checked.verdicts:
        line.append("; waiting for approval", style="bold red")
    return line.append(".")


def _alike(blocks: list[Block]) -> Iterator[list[Block]]:
    """Neighbouring blocks of the same action and kind together, at whatever level they run."""
    for _, group in groupby(blocks, key=lambda block: (block.action, block.kind)):
        yield list(group)


def _show_blocks(out: Console, blocks: list[Block], limit: int | None) -> None:
    symbol, colour = SYMBOLS[blocks[0].action]
    total = sum(map(len, blocks))
    room = total if limit is None else min(limit, total)
    left = room
    for block in blocks:
        for change in _changes(block.take(slice(0, left))):
            name = _named(change["label"], change["anchor"])
            reason = f"[dim]· {escape(change['reason'])}[/]"
            out.print(f"  [{colour}]{symbol} {block.action}[/] {block.kind} {name} {reason}")
            _show_values(out, change)
        left = max(0, left - len(block))
    if room < total:
        out.print(f"    [dim]… and {total - room:,} more of these[/]")


def _named(label: str, anchor: str) -> str:
    return f"{escape(label)} [dim]({escape(anchor)})[/]" if label and label != anchor else escape(anchor)


def _show_values(out: Console, change: dict[str, Any]) -> None:
    after, before = change.get("after") or {}, change.get("before")
    names = {path: _short(path) for path in after}
    width = max(map(len, names.values()), default=0)
    for path, value in after.items():
        name = escape(names[path].ljust(width))
        new = f"[green]{_shown(value)}[/]"
        old = "" if before is None else f"[red]{_shown(before.get(path))}[/] → "
        out.print(f"      {name}  {old}{new}")
    if members := change.get("members"):
        names_shown = ", ".join(escape(member) for member in members[:8])
        more = f", … and {len(members) - 8:,} more" if len(members) > 8 else ""
        out.print(f"      {len(members):,} members: {names_shown}{more}")


def _short(path: str) -> str:
    """A path as people say it: an extension's attribute without the extension's long name."""
    return f"…:{path.rpartition(':')[2]}" if path.startswith("urn:") else path


def _shown(value: Value) -> str:
    match value:
        case None:
            return "[dim]nothing[/]"
        case str():
            return escape(orjson.dumps(value if len(value) <= 120 else value[:117] + "...").decode())
        case _:
            return escape(orjson.dumps(value, default=str).decode())


def _show_held(out: Console, title: str, held: list[Held], limit: int | None) -> None:
    if not held:
        return
    out.print(f"\n[bold yellow]{title}[/]")
    shown = held if limit is None else held[:limit]
    for entry in shown:
        out.print(f"  [yellow]![/] {entry.kind} {escape(entry.label or entry.anchor)} [dim]· {escape(entry.reason)}[/]")
    if len(shown) < len(held):
        out.print(f"    [dim]… and {len(held) - len(shown):,} more[/]")


# --- plans for machines --------------------------------------------------------------------------------------------


def write_plan(stream: BinaryIO, decision: Decision) -> None:
    """The plan as one JSON document, written piece by piece so that a million changes need little memory."""
    checked = decision.checked
    plan = checked.plan
    header = {
        "job": plan.job,
        "configuration": plan.fingerprint,
        "made_at": plan.made_at.isoformat(),
        "source": {"system": plan.source, "entries": {f"{kind}s": count for kind, count in plan.source_count.items()}},
        "target": {"system": plan.target, "entries": {f"{kind}s": count for kind, count in plan.target_count.items()}},
        "counts": {str(action): count for action, count in plan.counts().items()},
        "unchanged": sum(entries.unchanged for entries in plan.entries.values()),
        "requests": plan.requests,
        "guards": [verdict.sentence for verdict in checked.verdicts],
        "findings": [finding.sentence for finding in decision.findings],
        "held": [_held_json(held) for held in plan.held],
        "notes": [_held_json(held) for held in plan.notes],
    }
    stream.write(orjson.dumps(header)[:-1])
    for name, blocks in (("changes", checked.blocks), ("staged", checked.staged)):
        stream.write(f',"{name}":['.encode())
        first = True
        for block in blocks:
            for start in range(0, len(block), _CHUNK):
                part = orjson.dumps(list(_changes(block.take(slice(start, start + _CHUNK)))), default=str)
                stream.write(part[1:-1] if first else b"," + part[1:-1])
                first = False
        stream.write(b"]")
    stream.write(b"}\n")


def _held_json(held: Held) -> dict[str, str]:
    return {
        "kind": held.kind,
        "anchor": held.anchor,
        "label": held.label,
        "code": str(held.code),
        "reason": held.reason,
    }


def _changes(block: Block) -> Iterator[dict[str, Any]]:
    """The block's changes as plain values, redacted ones hidden."""
    table = block.table
    after, before = _rows(block, block.after), _rows(block, block.before)
    members = table["members"].tolist() if "members" in table else None
    columns = zip(
        _plain(table["anchor"]), _plain(table["target_id"]), _plain(table["label"]), table["reason"], strict=True
    )
    action, kind = str(block.action), str(block.kind)
    for row, (anchor, target_id, label, reason) in enumerate(columns):
        change = {"action": action, "kind": kind, "anchor": anchor, "id": target_id, "label": label, "reason": reason}
        if after is not None:
            change["after"] = after[row]
        if before is not None:
            change["before"] = before[row]
        if members is not None:
            change["members"] = members[row]
        yield change


def _rows(block: Block, frame: pd.DataFrame | None) -> list[dict[str, Value]] | None:
    """Touched attributes per row; without ``touched`` (create) those that are not null."""
    if frame is None:
        return None
    paths = list(frame.columns)
    columns = [
        [None if value is None else REDACTED for value in _plain(frame[path])]
        if path in block.redacted
        else _plain(frame[path])
        for path in paths
    ]
    if block.touched is None:
        return [
            {path: value for path, value in zip(paths, values, strict=True) if value is not None}
            for values in zip(*columns, strict=True)
        ]
    touched = [block.touched[path].tolist() for path in paths]
    return [
        {path: value for path, value, is_touched in zip(paths, values, flags, strict=True) if is_touched}
        for values, flags in zip(zip(*columns, strict=True), zip(*touched, strict=True), strict=True)
    ]


def _plain(series: pd.Series) -> list[Value]:
    if series.dtype == object:
        return [canonical(value) for value in series.array]
    values: list[Value] = pa.array(series.array, from_pandas=True).to_pylist()
    return values


# --- reports -------------------------------------------------------------------------------------------------------


def show_report(out: Console, report: CycleReport, *, listed: int) -> None:
    """What a cycle did: what failed or was left alone (the first ``listed`` of each), then one line with the counts."""
    for failure in report.failures[:listed]:
        code = f"{failure.code} · " if failure.code else ""
        out.print(f"  [red]✗[/] {failure.action} {escape(failure.label)} [dim]· {escape(code + failure.message)}[/]")
    if len(report.failures) > listed:
        out.print(f"    [dim]… and {len(report.failures) - listed:,} more failures[/]")
    _show_held(out, "Left alone", list(report.held), listed)
    _show_held(out, "Not complete yet", list(report.notes), min(listed, 3))
    for sentence in report.guards:
        out.print(f"  [red]●[/] {escape(sentence)}")
    colour = {0: "green", 1: "yellow", 3: "bold red", 4: "red"}[report.exit_status]
    took = (report.ended - report.began).total_seconds()
    parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in report.seconds.items())
    out.print(f"[{colour}]{escape(report.message)}[/] [dim]Cycle {report.cycle}, {took:.1f} s ({parts}).[/]")
    if report.exit_status in (1, 3):
        out.print(f"[dim]Who and why: provisor log {report.job} --cycle {report.cycle}[/]")


def table(*columns: str) -> Table:
    """A plain table with these headings."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made
