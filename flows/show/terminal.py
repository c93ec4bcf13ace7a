"""What a person sees in a terminal while ``provisor run`` works."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from connectors.contract import Snapshot
from flows.cycle.preview import Decision
from flows.cycle.progress import WATCHER
from flows.show.console import console
from flows.show.plan import show_report, summary
from tasks.report import CycleReport

LISTED = 10
"""Failures and held entries named at the end."""


class TerminalWatcher:
    """Tells the story of a cycle on standard error, with a bar while it loads; the result goes to standard output."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.report: CycleReport | None = None
        """Set when the cycle is over."""
        self._quiet = quiet
        self._err = console(stderr=True)
        self._bar: Progress | None = None

    def reading(self, side: str, count: int) -> None:
        """Nothing: reading is quick, and said when it is done."""

    def have_read(self, side: str, snapshot: Snapshot) -> None:
        """One line per side."""
        entries = f"{len(snapshot.users):,} users, {len(snapshot.groups):,} groups"
        self._err.print(f"[dim]read[/] {side}: {escape(snapshot.system)} [dim]({entries})[/]")
        for reason in snapshot.doubts:
            self._err.print(f"  [yellow]![/] incomplete: {escape(reason)}")

    def have_planned(self, decision: Decision) -> None:
        """The plan's counts, and what is held back."""
        self._err.print(summary(decision))
        if decision.forecast.sentence:
            self._err.print(f"[dim]{decision.forecast.sentence}[/]")
        for finding in decision.findings:
            self._err.print(f"  [yellow]![/] {escape(finding.sentence)}")
        if decision.new_unused:
            self._err.print(f"  [yellow]![/] {escape(decision.new_unused)}")

    def loading(self, done: int, total: int, left: str) -> None:
        """Moves the bar; on something that is not a terminal there is none."""
        if not total or not self._err.is_terminal:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("loading"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("requests"),
                TimeElapsedColumn(),
                TextColumn("[cyan]{task.fields[left]}"),
                console=self._err,
            )
            self._bar.add_task("load", total=total, left=left)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, left=left)

    def ended(self, report: CycleReport) -> None:
        """The report: counts on standard output, failures and held entries before them."""
        self.close()
        self.report = report
        if not self._quiet:
            show_report(console(), report, listed=LISTED)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


@contextmanager
def watching(watcher: TerminalWatcher) -> Iterator[None]:
    """The watcher looks on at the cycles that run inside."""
    token = WATCHER.set(watcher)
    try:
        yield
    finally:
        watcher.close()
        WATCHER.reset(token)
