"""Where state lives."""

import os
from pathlib import Path


def home() -> Path:
    """The state folder: ``PROVISOR_HOME``, else ``.provisor`` in the current folder."""
    return Path(os.environ.get("PROVISOR_HOME") or ".provisor").absolute()
