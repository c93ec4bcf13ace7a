"""Output and exit status of all commands: with ``--json``, exactly one document on standard output."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from flows.show.json_out import json_out
from tasks.printable import printable

STOPPED, WRONG, INTERRUPTED = 4, 2, 130
"""Exit statuses: stopped or quarantined; invalid job file or command; interrupted by a person."""


def say(*sentences: str, stderr: bool = False) -> None:
    """Prints each sentence on its own line, verbatim."""
    print(*map(printable, sentences), sep="\n", file=sys.stderr if stderr else sys.stdout)


def complain(message: str, status: int) -> NoReturn:
    """Prints a sentence to standard error and exits."""
    complain_at_length([message], status)


def complain_at_length(lines: Iterable[str], status: int) -> NoReturn:
    """Prints lines to standard error and exits, such as problems with a caret below each."""
    say(*lines, stderr=True)
    sys.exit(status)


def write(document: bytes) -> None:
    """The one document on standard output."""
    out = json_out()
    out.write(document.rstrip(b"\n") + b"\n")
    out.flush()


@contextmanager
def standard_output_for(as_json: bool) -> Iterator[None]:
    """Redirects everything except the JSON document away from standard output, whichever library writes it."""
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
