"""How a provisioning on demand looks in a terminal: five steps, each with what it found."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from connectors.errors import FatalError
from flows.cycle.on_demand_steps import Page, Result, Step, StepName, preview_entry
from flows.cycle.systems import now, open_ledger
from flows.show.console import Terminal, console
from flows.show.plan import shown
from tasks.job import Job
from tasks.ledger import LogStatus
from tasks.pages.sentences import plural

_MARKS = {
    LogStatus.SUCCESS: "[green]✓[/]",
    LogStatus.SKIPPED: "[yellow]-[/]",
    LogStatus.FAILURE: "[red]✗[/]",
    LogStatus.WARNING: "[yellow]![/]",
}
_RESULTS = {Result.SUCCESS: "green", Result.SKIPPED: "yellow", Result.FAILURE: "red", Result.STAGED: "bold red"}


def preview_on_demand(job: Job, identity: str) -> Page:
    """What would be done about an entry now; nothing is written anywhere. Raises: UnknownEntryError, JobError."""
    page = Page(job.name, identity, plan_only=True)
    with open_ledger() as ledger, console(stderr=True).status("looking …"):
        try:
            preview_entry(job, ledger, page, now())
        except FatalError:
            if not page.steps:
                raise
    return page


def show_page(out: Terminal, page: Page) -> None:
    """The steps in order, and how it ended."""
    entry = page.entry
    name = page.asked if entry is None else f"{entry.kind} {page.label or entry.anchor} ({entry.anchor})"
    out.print(f"[bold]{escape(page.job)}[/]: {escape(name)}")
    for notice in page.notices:
        out.print(f"  [yellow]![/] {escape(notice)}")
    for number, step in enumerate(page.steps, start=1):
        out.print(f"{number} {_MARKS[step.status]} [bold]{step.name}[/]  {escape(step.sentence)}")
        _show_details(out, step)
    cycle = f" [dim]Cycle {page.cycle}.[/]" if page.cycle is not None else ""
    out.print(f"[{_RESULTS.get(page.result, 'red')}]{page.result}[/]{cycle}")
    if page.result is Result.STAGED and not page.plan_only and entry is not None:
        out.print(f"[dim]To decide: provisor approve {page.job} --only {escape(entry.anchor)}, or reject[/]")


def _show_details(out: Terminal, step: Step) -> None:
    found = step.details
    match step.name:
        case StepName.IMPORT:
            _show_values(out, {name: value for name, value in found.get("properties", {}).items() if value is not None})
        case StepName.SCOPE if found:
            _show_scope(out, found)
        case StepName.MATCH:
            for one in found.get("attributes", ()):
                hits = ", ".join(hit["id"] for hit in one["hits"]) or "nobody"
                asked = "no value" if one["value"] is None else shown(one["value"])
                out.print(f"      {escape(one['attribute'])} {asked}: {escape(hits)}")
        case StepName.ACTION:
            _show_action(out, found)


def _show_values(out: Terminal, values: Mapping[str, Any]) -> None:
    width = max(map(len, values), default=0)
    for name, value in values.items():
        out.print(f"      {escape(name.ljust(width))}  {shown(value)}")


def _show_scope(out: Terminal, found: Mapping[str, Any]) -> None:
    out.print(f"      active in the source: {_answer(found['active_in_source'])}")
    by = [*(["itself"] if found["assigned_by_key"] else []), *found["assigned_by_groups"]]
    through = f", by {', '.join(by)}" if by else ""
    out.print(f"      assigned (mode {found['assignment']}): {_answer(found['assigned'])}{escape(through)}")
    for number, group in enumerate(found["clauses"]):
        for clause in group:
            either = "or  " if number and clause is group[0] else "    "
            value = escape(f"it is {clause['value']}" if clause["value"] is not None else "it is empty")
            out.print(f"      {either}{escape(clause['clause'])}: {_answer(clause['holds'])} [dim]({value})[/]")


def _answer(holds: bool | None) -> str:
    """Of a clause; None where it cannot be judged."""
    if holds is None:
        return "[yellow]cannot be judged[/]"
    return "[green]yes[/]" if holds else "[red]no[/]"


def _show_action(out: Terminal, found: Mapping[str, Any]) -> None:
    for change in (*found.get("changes", ()), *found.get("staged", ())):
        out.print(f"      [bold]{change['action']}[/] [dim]· {escape(change['reason'])}[/]")
        before = change.get("before") or {}
        for path, value in (change.get("after") or {}).items():
            old = f"[red]{shown(before[path])}[/] → " if before.get(path) is not None else ""
            out.print(f"        {escape(path)}  {old}[green]{shown(value)}[/]")
        if members := change.get("members"):
            count = f"{len(members):,} {plural('member', len(members))}"
            out.print(f"        {count}: {escape(', '.join(members[:8]))}{' …' * (len(members) > 8)}")
    for one in found.get("outcomes", ()):
        said = " · ".join(text for text in (one["code"], one["message"]) if text)
        took = f"{one['duration_ms']:,} ms" if one["duration_ms"] is not None else ""
        mark = "[green]✓[/]" if one["status"] == LogStatus.SUCCESS else "[red]✗[/]"
        out.print(f"      {mark} {one['action']} {escape(one['id'] or '')} [dim]{escape(said or took)}[/]")
    for note in found.get("notes", ()):
        out.print(f"      [yellow]![/] {escape(note)}")
