"""``provisor backup`` and ``restore``: the state folder as one file, and back.

Snapshots of systems are left out: they go out of date, so after a restore each job reads both sides in full. Prefect's
database is included: it holds blocks with credentials and the run history.
"""

import io
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from connectors.errors import SettingsError
from tasks.ledger.copies import copy_database
from tasks.ledger.database import FILE as LEDGER
from tasks.ledger.migrations import HEAD
from tasks.private import make_file, own_folder

_ABOUT = "provisor-backup.json"
_PREFECT = Path("prefect")
_DATABASES = (Path(LEDGER), _PREFECT / "prefect.db")
"""Copied as of one moment, with SQLite's own backup."""
_KEYS = _PREFECT / "keys.json"
_READ = {"source", "target"}
"""Folders below ``snapshots/JOB`` that hold snapshots of systems."""


@dataclass(frozen=True, slots=True)
class Backup:
    """Metadata of a backup."""

    made: str
    """Creation time, UTC, ISO 8601."""
    provisor: str
    """Provisor version that created it."""
    revision: str
    """Migration revision of the ledger."""
    ledger: bool
    """False if the ledger was in a separate database and is not in the file."""


def back_up(home: Path, file: Path, *, elsewhere: bool) -> Backup:
    """Writes the state folder to a file that only its owner can read. Cycles can keep running.

    ``elsewhere``: the ledger is in another database. Raises: SettingsError.
    """
    if not home.is_dir():
        raise SettingsError(f"There is no state to back up: {home} does not exist.")
    about = Backup(datetime.now(UTC).isoformat(timespec="seconds"), version("provisor"), HEAD, not elsewhere)
    unfinished = file.with_name(f"{file.name}.new")
    try:
        make_file(unfinished)
        with TemporaryDirectory(dir=file.absolute().parent) as scratch, tarfile.open(unfinished, "w:gz") as archive:
            _add_text(archive, _ABOUT, json.dumps({name: getattr(about, name) for name in Backup.__slots__}))
            if not elsewhere and not (home / LEDGER).is_file():
                raise SettingsError(f"There is no ledger in {home}: has a cycle run here yet?")
            for name in _DATABASES:
                if (home / name).is_file() and not (elsewhere and name == Path(LEDGER)):
                    archive.add(_copied(home / name, Path(scratch)), str(name))
            for path in _kept(home):
                archive.add(path, str(path.relative_to(home)), recursive=False)
        unfinished.replace(file)
    except OSError as error:
        raise SettingsError(f"The backup {file} cannot be written: {error.strerror or error}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return about


def restore(file: Path, home: Path, *, replace: bool) -> tuple[Backup, Path | None]:
    """Replaces the state folder with a backup. Returns the path of the previous folder, if any.

    Raises: SettingsError, in which case nothing has changed.
    """
    there = home.is_dir() and any(home.iterdir())
    if there and not replace:
        raise SettingsError(
            f"{home} holds state already. Stop what runs with it; --replace moves it aside and puts the backup there."
        )
    own_folder(home.parent if not home.parent.exists() else home)
    new = home.with_name(f"{home.name}.restoring")
    shutil.rmtree(new, ignore_errors=True)
    own_folder(new)
    try:
        about = _unpack(file, new)
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        shutil.rmtree(new, ignore_errors=True)
        raise SettingsError(f"{file} is not a backup that can be restored: {error}.") from error
    except SettingsError:
        shutil.rmtree(new, ignore_errors=True)
        raise
    aside = None
    if there:
        aside = home.with_name(f"{home.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%S}")
        home.rename(aside)
    elif home.exists():
        home.rmdir()
    new.rename(home)
    return about, aside


def _unpack(file: Path, folder: Path) -> Backup:
    """Raises: OSError, tarfile.TarError, ValueError, SettingsError."""
    with tarfile.open(file, "r:gz") as archive:
        first = archive.next()
        said = archive.extractfile(first) if first is not None and first.name == _ABOUT else None
        if said is None:
            raise ValueError("it does not begin with what provisor backup writes")
        about = Backup(**json.loads(said.read()))
        if about.revision > HEAD:
            raise SettingsError(
                f"{file} was made by a newer Provisor ({about.provisor}); this one is {version('provisor')}. Restore "
                "it with that version or a later one."
            )
        for member in archive:
            _unpack_file(archive, member, folder)
    (folder / _ABOUT).unlink(missing_ok=True)
    if about.ledger:
        with closing(sqlite3.connect(folder / LEDGER)) as ledger:
            if (found := ledger.execute("PRAGMA quick_check").fetchone()[0]) != "ok":
                raise ValueError(f"its ledger is damaged ({found})")
    return about


def _unpack_file(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Extracts one file. A backup contains only regular files inside its folder. Raises: ValueError for anything else.

    ``extractall(filter="data")`` would do, but Python 3.11 has it from 3.11.4 on, and Debian 12 has 3.11.2.
    """
    path = PurePosixPath(member.name)
    content = archive.extractfile(member) if member.isreg() else None
    if content is None or path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{member.name} in it is not a file of a state folder")
    own_folder((folder / path).parent)
    with make_file(folder / path).open("wb") as file:
        shutil.copyfileobj(content, file)


def _kept(home: Path) -> Iterator[Path]:
    """All files to copy as they are; the ledger's files are copied through SQLite."""
    for path in sorted(home.rglob("*")):
        parts = PurePosixPath(path.relative_to(home)).parts
        read = len(parts) > 2 and parts[0] == "snapshots" and parts[2] in _READ
        ours = parts[0] != _PREFECT.name and not parts[0].startswith(LEDGER)
        if path.is_file() and (ours or path == home / _KEYS) and not read:
            yield path


def _copied(database: Path, folder: Path) -> Path:
    """A consistent copy, even while other processes write. Raises: SettingsError."""
    copy = make_file(folder / database.name)
    try:
        copy_database(database, copy)
    except sqlite3.Error as error:
        raise SettingsError(f"The database {database} cannot be copied: {error}.") from error
    return copy


def _add_text(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o600
    archive.addfile(info, io.BytesIO(data))
