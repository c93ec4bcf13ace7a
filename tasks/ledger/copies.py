"""Copies of an SQLite ledger, made before its tables are changed: the way back to the Provisor that wrote it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tasks.ledger.records import LedgerError
from tasks.private import make_file

_MARK = ".before-"


def copy_before(file: Path, revision: str) -> Path:
    """Copies a ledger as it is, beside it, for its owner alone; gives the copy. One that is there stays as it is.

    ``revision``: what the tables are brought to. Raises: LedgerError when it cannot be made: then nothing is changed.
    """
    copy = file.with_name(f"{file.name}{_MARK}{revision}")
    if copy.exists():
        return copy
    unfinished = copy.with_name(f"{copy.name}.new")
    try:
        unfinished.unlink(missing_ok=True)
        make_file(unfinished)
        copy_database(file, unfinished)
        unfinished.replace(copy)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(
            f"The ledger {file} has to be brought up to date, and no copy of it can be made ({error}). Make room "
            "beside it; nothing was changed."
        ) from error
    return copy


def copy_database(file: Path, copy: Path) -> None:
    """Copies an SQLite database as of one moment, also while others write it. Raises: sqlite3.Error."""
    with (
        closing(sqlite3.connect(file)) as old,
        closing(sqlite3.connect(copy)) as new,
    ):
        old.backup(new)


def copies_of(file: Path) -> list[Path]:
    """The copies of a ledger, by the revision before which each was made."""
    return sorted(path for path in file.parent.glob(f"{file.name}{_MARK}*") if path.suffix != ".new")
