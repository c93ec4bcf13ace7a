"""Where state lives."""

import os
from pathlib import Path

ASKED_BY = "PROVISOR_ASKED_BY"
"""In the environment of a command that the pages start: the login of the person who asked for it."""


def home() -> Path:
    """The state folder: ``PROVISOR_HOME``, else ``.provisor`` in the current folder."""
    return Path(os.environ.get("PROVISOR_HOME") or ".provisor").absolute()
