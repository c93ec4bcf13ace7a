"""Prefect's SQLite database, migrated once per installation and copied into each new state folder.

Its 60 migrations take 15 s of CPU, and registering the types of its blocks two more, which a person would wait for at
the first run in a folder. The template holds what they make of nothing, and no data. It lies beside the installed
packages, or in the user's cache where these are not writable. ``python -m flows.serve.prefect_database`` makes it, as
an installation does.
"""

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

MIGRATE_S = 300.0
"""Seconds that the migrations may take."""
NAME = "prefect.db"

_MAKE = """
import asyncio
import prefect.plugins
from prefect.server.database import provide_database_interface
from prefect.server.models.block_registration import run_block_auto_registration

async def make():
    database = provide_database_interface()
    await database.create_db()
    async with await database.session() as session:
        await run_block_auto_registration(session=session)
    await (await database.engine()).dispose()

prefect.plugins.load_prefect_collections()
asyncio.run(make())
"""
"""What a server does to an empty database when it starts."""

_CONFIGURED = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")


def put_database(folder: Path) -> bool:
    """Copies the template into a folder that has no database yet; False where the server has to make its own."""
    database = folder / NAME
    if database.exists() or any(os.environ.get(name) for name in _CONFIGURED):
        return False
    try:
        template = made_template()
        descriptor, copy = tempfile.mkstemp(dir=folder, prefix=NAME)
        os.close(descriptor)
        shutil.copyfile(template, copy)
        try:
            os.link(copy, database)  # another process may have been quicker; what is there is never replaced
        except FileExistsError:
            return False
        finally:
            Path(copy).unlink()
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def made_template() -> Path:
    """The template of the installed Prefect, made when it is missing. Raises: OSError, subprocess.SubprocessError."""
    name = f"prefect-{version('prefect')}-with-types.db"
    found = next((folder / name for folder in _folders() if (folder / name).exists()), None)
    if found is not None:
        return found
    folder = _writable()
    with (folder / f"{name}.lock").open("w") as lock, closing(lock):
        fcntl.flock(lock, fcntl.LOCK_EX)
        template = folder / name
        if not template.exists():
            with tempfile.TemporaryDirectory(dir=folder) as home:
                _make(Path(home))
                (Path(home) / NAME).replace(template)
    return template


def _make(home: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", _MAKE],
        env=_without_settings(os.environ) | {"PREFECT_HOME": str(home), "DO_NOT_TRACK": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=MIGRATE_S,
        check=True,
    )
    with closing(sqlite3.connect(home / NAME)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # the template is this one file


def _without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if not name.startswith("PREFECT_")}


def _folders() -> tuple[Path, Path]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(sys.prefix) / "share" / "provisor", cache / "provisor"


def _writable() -> Path:
    """The first folder that can be written to. Raises: OSError."""
    beside, cache = _folders()
    with suppress(OSError):
        beside.mkdir(parents=True, exist_ok=True)
        if os.access(beside, os.W_OK):
            return beside
    cache.mkdir(parents=True, exist_ok=True)
    return cache


if __name__ == "__main__":
    made_template()
