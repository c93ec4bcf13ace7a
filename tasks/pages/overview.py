"""All pages of a state folder on one: the reports and Data Docs of every job."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.pages.layout import numbered, render

REPORTS, DOCS = "reports", "docs"
FOLDERS = (REPORTS, DOCS)
"""Folders of the state folder that hold pages; in each, one for every job."""

_LISTED = 10
"""Reports of a job that are listed."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one job."""

    job: str
    reports: Sequence[int]
    """Numbers of the last cycles, the newest first."""
    docs: bool


def overview(state: Path) -> str:
    """The page as HTML, with addresses from the state folder on."""
    return render("overview.html.j2", kept=[_kept(state, job) for job in _jobs(state)], reports=REPORTS, docs=DOCS)


def _jobs(state: Path) -> list[str]:
    return sorted({one.name for name in FOLDERS for one in (state / name).glob("*") if one.is_dir()})


def _kept(state: Path, job: str) -> Kept:
    numbers = list(numbered(state / REPORTS / job))
    return Kept(job, numbers[: -_LISTED - 1 : -1], (state / DOCS / job / "index.html").is_file())
