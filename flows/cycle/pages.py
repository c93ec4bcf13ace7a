"""The pages that a cycle leaves behind, and where they are: the run's report and Data Docs."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from flows.cycle.home import home
from flows.cycle.preview import Decision
from flows.cycle.systems import figures_folder
from flows.show.cycle_lines import read_cycle_lines
from tasks.expectations import CheckFailedError, CheckResult, keep_figures, keep_known
from tasks.ledger import FINISHED_STATES, Ledger
from tasks.pages import DOCS, REPORTS, keep_data_docs, keep_report
from tasks.report import CycleReport

_LOG = logging.getLogger("provisor")

_SHOWN = 200
"""Entries of each action that a report names."""
CHARTED = 30
"""Cycles that a report's chart shows."""


def reports_folder(job: str) -> Path:
    """Where the reports of a job's runs are: one page for each cycle, called by its number."""
    return home() / REPORTS / job


def docs_folder(job: str) -> Path:
    """Where the Data Docs of a job are; ``index.html`` lists the cycles."""
    return home() / DOCS / job


def address_of(page: Path | str, *, base: str | None = None) -> str:
    """Where a browser finds a page, under the address at which the state folder's pages are served.

    ``base``: that address; without it ``PROVISOR_PAGES_URL``, which ``provisor up`` sets for its runs. Empty where
    nobody serves them.
    """
    base = base or os.environ.get("PROVISOR_PAGES_URL")
    if not base or not str(page):
        return ""
    path = Path(page).absolute().relative_to(home().absolute())
    return f"{base.rstrip('/')}/{quote(path.as_posix())}"


def keep_pages(ledger: Ledger, report: CycleReport, decision: Decision | None, error: BaseException | None) -> None:
    """Writes a cycle's pages, once it is closed, and says in the report where they are.

    Everything is done by then: that they cannot be kept fails no cycle.
    """
    cycle = ledger.cycle_numbered(report.job, report.cycle)
    if cycle is None:
        return
    results = _results(decision, error)
    try:
        if results:
            page = Path("..", "..", "reports", report.job, f"{report.cycle}.html").as_posix()
            report.docs = str(keep_data_docs(docs_folder(report.job), cycle, report.state, results, report=page))
        docs = Path("..", "..", "docs", report.job, f"{report.cycle}.html").as_posix() if results else ""
        checked = decision.checked if decision is not None else None
        folder, cycles = reports_folder(report.job), ledger.cycles(report.job, CHARTED)
        lines = read_cycle_lines(ledger, cycle, first=_SHOWN, now=report.ended)
        report.page = str(
            keep_report(folder, report, cycle, cycles, checked, docs=docs, done=lines.page, names=lines.names)
        )
        report.page_address, report.docs_address = address_of(report.page), address_of(report.docs)
        if decision is not None:
            keep_known(figures_folder(report.job), decision.known)
            if report.state in FINISHED_STATES and not decision.checked.doubtful:
                keep_figures(figures_folder(report.job), decision.figures)
    except OSError as problem:
        _LOG.warning("The report of cycle %d cannot be kept: %s", report.cycle, problem)


def _results(decision: Decision | None, error: BaseException | None) -> Sequence[CheckResult]:
    if decision is not None:
        return decision.results
    return error.results if isinstance(error, CheckFailedError) else ()
