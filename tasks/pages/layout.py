"""What the pages have in common: their look, how figures are written, and where the pages of a job are kept."""

from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from connectors.contract import short_path
from tasks.printable import printable
from tasks.private import own_folder, replace_file

REPORTS, DOCS = "reports", "docs"
FOLDERS = (REPORTS, DOCS)
"""Folders of the state folder that hold pages; in each, one for every job."""

_LONGEST = 400
"""Characters of a value that a page shows."""
_TEMPLATES = Path(__file__).with_name("templates")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "number": _number,
        "moment": _moment,
        "took": took,
        "spoken": _spoken,
        "cut": _cut,
        "short": short_path,
    }
    return made


def _seen(value: object) -> object:
    """What a template puts on a page: every text passes through here and is printable; markup is the template's own."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def load_templates() -> None:
    """Compiles every template, for the pages that are rendered from now on."""
    for name in _environment().list_templates():
        _environment().get_template(name)


def render(template: str, **content: Any) -> str:
    """A whole page."""
    return _environment().get_template(template).render(**content)


def keep_page(folder: Path, name: str, page: str) -> Path:
    """Writes a page that its owner alone may read. Raises: OSError."""
    path = own_folder(folder) / name
    replace_file(path, page.encode())
    return path


def numbered(folder: Path, suffix: str = ".html") -> dict[int, Path]:
    """The pages of a folder that belong to a cycle, by its number, the oldest first."""
    found = {int(path.stem): path for path in folder.glob(f"*{suffix}") if path.stem.isdecimal()}
    return dict(sorted(found.items()))


def forget_all_but(folder: Path, keep: int) -> None:
    """Deletes the pages of all but the last cycles. Raises: OSError."""
    for number in list(numbered(folder))[:-keep]:
        for path in folder.glob(f"{number}.*"):
            path.unlink(missing_ok=True)


def _number(value: float) -> str:
    return f"{value:,}"


def _moment(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC"


def took(seconds: float) -> str:
    """A length of time as people say it: ``0.4 s``, ``2 min 05 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def _cut(text: str) -> str:
    """A value as a page shows it; the whole of it is in the provisioning log."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _spoken(name: str) -> str:
    return name.replace("_", " ")
