"""What every command says and how it ends: on standard output one document where it was asked for, and a status."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

STOPPED, WRONG, INTERRUPTED = 4, 2, 130
"""Exit statuses: stopped or quarantined; the job file or the command is wrong; a person interrupted it."""


def complain(message: str, status: int) -> NoReturn:
    """Ends the command with a sentence on standard error."""
    print(message, file=sys.stderr)  # noqa: T201 (this is the command line)
    sys.exit(status)


def write(document: bytes) -> None:
    """The one document on standard output."""
    sys.stdout.buffer.write(document.rstrip(b"\n") + b"\n")
    sys.stdout.buffer.flush()


@contextmanager
def standard_output_for(as_json: bool) -> Iterator[None]:
    """Keeps everything but the one JSON document away from standard output, whoever writes to it."""
    if not as_json:
        yield
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
