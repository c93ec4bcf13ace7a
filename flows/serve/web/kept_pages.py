"""The pages that cycles leave in the state folder. No part of an address becomes a path: names are looked up."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.pages import FOLDERS

KEPT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
"""These pages are one file each, with their own style in them, and no script."""
_ENDINGS = (".html", ".json")


def find_kept_page(state: Path, address: str) -> Path | None:
    """The page that is meant by an address as ``/reports/hr-to-app/42.html``; None for everything that is no page."""
    names = [unquote(name) for name in urlsplit(address).path.split("/")[1:]]
    if len(names) != 3 or names[0] not in FOLDERS or Path(names[2]).suffix not in _ENDINGS:
        return None
    job = _child(state / names[0], names[1])
    found = _child(job, names[2]) if job is not None else None
    return found if found is not None and found.is_file() else None


def _child(folder: Path, name: str) -> Path | None:
    """What has this name in a folder; a link leads elsewhere, and is none."""
    if not folder.is_dir():
        return None
    with os.scandir(folder) as entries:
        return next((Path(one.path) for one in entries if one.name == name and not one.is_symlink()), None)
