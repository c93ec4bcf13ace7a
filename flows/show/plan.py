"""How things look in a terminal and to machines: plans, reports, problems.

A plan is shown as people know it from infrastructure tools: a symbol per change, old and new values, counts last.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import orjson
import pandas as pd
from rich.markup import escape
from rich.table import Table

from connectors.contract import Action, Value, short_path
from connectors.errors import ErrorCode
from flows.cycle.preview import Decision
from flows.show.console import Terminal, Text
from flows.show.plan_json import changes_of
from tasks.employment import HORIZON
from tasks.mapping import Held
from tasks.pages.sentences import plural
from tasks.plan import Block
from tasks.report import CycleReport, numbers_of
from tasks.scope import spelled

SYMBOLS = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.MOVE: ("→", "yellow"),
    Action.RENAME: ("~", "yellow"),
    Action.ENABLE: ("▲", "green"),
    Action.DISABLE: ("▼", "red"),
    Action.DELETE: ("-", "red"),
    Action.ADD_MEMBERS: ("+", "green"),
    Action.REMOVE_MEMBERS: ("-", "red"),
}


# --- plans for people ----------------------------------------------------------------------------------------------


def show_plan(out: Terminal, decision: Decision, *, limit: int | None) -> None:
    """The plan, at most ``limit`` changes of every kind (None: all of them), with what is held back, counts last."""
    checked = decision.checked
    plan = checked.plan
    out.print(f"[bold]{escape(plan.job)}[/]: {escape(plan.source)} → {escape(plan.target)}")
    for blocks in alike(checked.blocks):
        out.print()
        _show_blocks(out, blocks, limit)
    if checked.staged:
        out.print()
        out.print("[bold red]Held back by guards[/] (nothing of this is done before somebody approves it)")
        for verdict in checked.verdicts:
            out.print(f"  [red]●[/] {escape(verdict.sentence)} [dim]· {escape(numbers_of(verdict))}[/]")
        for blocks in alike(checked.staged):
            _show_blocks(out, blocks, limit)
    _show_held(out, "Left alone", plan.held, limit)
    _show_notes(out, plan.notes, limit)
    for reason in (*plan.doubts, *decision.source.unsure):
        out.print(f"[yellow]![/] incomplete: {escape(reason)}")
    for finding in decision.findings:
        out.print(f"[yellow]![/] {escape(finding.sentence)}")
    if decision.unused:
        out.print(f"[yellow]![/] {escape(decision.unused)}")
    for remark in decision.source.remarks:
        out.print(f"[yellow]![/] {escape(remark)}")
    for sentence in coming_sentences(decision.source.coming):
        out.print(f"[cyan]◷[/] {escape(sentence)}")
    out.print()
    out.print(summary(decision))
    if decision.forecast.sentence:
        out.print(f"[dim]{decision.forecast.sentence}[/]")


def coming_sentences(coming: pd.DataFrame | None) -> Iterator[str]:
    """What dates of the source will do in the next month: who is next, and how many there are."""
    if coming is None:
        return
    for what, people in (("begins", "get an account"), ("leaves", "be disabled")):
        some = coming[coming["what"] == what]
        if len(some):
            first = some.iloc[0]
            more = f", and {len(some) - 1:,} more in the {HORIZON.days} days from now" if len(some) > 1 else ""
            yield f"{first['key']} will {people} {spelled(first['moment'], first['zone'])}{more}"


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
    if decision.checked.waiting:
        line.append("; waiting for approval", style="bold red")
    return line.append(".")


def alike(blocks: list[Block]) -> Iterator[list[Block]]:
    """Neighbouring blocks of the same action and kind together, at whatever level they run."""
    for _, group in groupby(blocks, key=lambda block: (block.action, block.kind)):
        yield list(group)


def _show_blocks(out: Terminal, blocks: list[Block], limit: int | None) -> None:
    symbol, colour = SYMBOLS[blocks[0].action]
    total = sum(map(len, blocks))
    room = total if limit is None else min(limit, total)
    left = room
    for block in blocks:
        for change in changes_of(block.take(slice(0, left))):
            name = _named(change["label"], change["anchor"])
            reason = f"[dim]· {escape(change['reason'])}[/]"
            out.print(f"  [{colour}]{symbol} {block.action}[/] {block.kind} {name} {reason}")
            _show_values(out, change)
        left = max(0, left - len(block))
    if room < total:
        out.print(f"    [dim]… and {total - room:,} more of these[/]")


def _named(label: str, anchor: str) -> str:
    return f"{escape(label)} [dim]({escape(anchor)})[/]" if label and label != anchor else escape(anchor)


def _show_values(out: Terminal, change: dict[str, Any]) -> None:
    after, before = change.get("after") or {}, change.get("before")
    names = {path: short_path(path) for path in after}
    width = max(map(len, names.values()), default=0)
    for path, value in after.items():
        name = escape(names[path].ljust(width))
        new = f"[green]{shown(value)}[/]"
        old = "" if before is None else f"[red]{shown(before.get(path))}[/] → "
        out.print(f"      {name}  {old}{new}")
    if members := change.get("members"):
        names_shown = ", ".join(escape(member) for member in members[:8])
        more = f", … and {len(members) - 8:,} more" if len(members) > 8 else ""
        out.print(f"      {len(members):,} {plural('member', len(members))}: {names_shown}{more}")


def shown(value: Value) -> str:
    match value:
        case None:
            return "[dim]nothing[/]"
        case str():
            return escape(orjson.dumps(value if len(value) <= 120 else value[:117] + "...").decode())
        case _:
            return escape(orjson.dumps(value, default=str).decode())


def _show_notes(out: Terminal, notes: list[Held], limit: int | None) -> None:
    """Entries that are changed: accounts that change hands, all that may be shown; of what is incomplete the first."""
    handed_over = [note for note in notes if note.code is ErrorCode.HANDED_OVER]
    others = [note for note in notes if note.code is not ErrorCode.HANDED_OVER]
    _show_held(out, "Accounts that change hands", handed_over, limit)
    _show_held(out, "Not complete yet", others, None if limit is None else min(limit, 3))


def _show_held(out: Terminal, title: str, held: list[Held], limit: int | None) -> None:
    if not held:
        return
    out.print()
    out.print(f"[bold yellow]{title}[/]")
    shown = held if limit is None else held[:limit]
    for entry in shown:
        out.print(f"  [yellow]![/] {entry.kind} {escape(entry.label or entry.anchor)} [dim]· {escape(entry.reason)}[/]")
    if len(shown) < len(held):
        out.print(f"    [dim]… and {len(held) - len(shown):,} more[/]")


# --- reports -------------------------------------------------------------------------------------------------------


def show_report(out: Terminal, report: CycleReport, *, listed: int) -> None:
    """What a cycle did: what failed or was left alone (the first ``listed`` of each), then one line with the counts."""
    for failure in report.failures[:listed]:
        code = f"{failure.code} · " if failure.code else ""
        out.print(f"  [red]✗[/] {failure.action} {escape(failure.label)} [dim]· {escape(code + failure.message)}[/]")
    if len(report.failures) > listed:
        out.print(f"    [dim]… and {len(report.failures) - listed:,} more failures[/]")
    _show_held(out, "Left alone", list(report.held), listed)
    _show_notes(out, list(report.notes), listed)
    for sentence in report.guards:
        out.print(f"  [red]●[/] {escape(sentence)}")
    if report.standing:
        out.print(f"  [red]●[/] {escape(report.standing)}")
    colour = {0: "green", 1: "yellow", 3: "bold red", 4: "red"}[report.exit_status]
    took = (report.ended - report.began).total_seconds()
    parts = ", ".join(f"{part} {seconds:.1f} s" for part, seconds in report.seconds.items())
    out.print(f"[{colour}]{escape(report.message)}[/] [dim]Cycle {report.cycle}, {took:.1f} s ({parts}).[/]")
    if report.exit_status == 3:
        out.print(f"[dim]To decide: provisor approve {report.job}, or provisor reject {report.job}[/]")
    if report.page:
        out.print(f"[dim]Report: {escape(report.page)}[/]", soft_wrap=True)
    if report.exit_status in (1, 3):
        news = bool(report.failures) or report.exit_status == 3  # who is held is in the log of the cycle that found it
        only = f" --cycle {report.cycle}" if news else ""
        out.print(f"[dim]Who and why: provisor log {report.job}{only}[/]")


def table(*columns: str) -> Table:
    """A plain table with these headings."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def show_table(out: Terminal, made: Table) -> None:
    """A table; where no terminal is, a line of cells with tabs between for each row, so that a search finds it."""
    if out.is_terminal:
        out.print(made)
        return
    cells = [[str(column.header), *map(str, column.cells)] for column in made.columns]
    for row in zip(*cells, strict=True):
        out.show_cells(Text.from_markup(cell).plain for cell in row)
