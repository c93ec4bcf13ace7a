"""Refresh tokens that a job refers to, and the ones that take their place.

Some token endpoints give another refresh token with each access token, and the one before has no use any more. A
reference to a file is followed there: the new token takes the old one's place in that file, which the job's next run,
and its workers, read. While a token is fetched the file is locked, so that two of them never use one refresh token.

Source: RFC 6749 section 6; RFC 9700 section 4.14.2 (rotation).
"""

import fcntl
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from connectors.errors import UnreachableError
from connectors.settings import file_of, reveal
from connectors.signing import Sleep

PATIENCE_S = 120.0
"""How long a run waits while another one fetches a token with the same file."""
STEP_S = 0.1

_log = logging.getLogger(__name__)


class RefreshToken:
    """The token that a reference stands for. ``reference``: as in the job file; relative files lie in ``folder``."""

    def __init__(self, reference: str, *, folder: Path) -> None:
        self._reference = reference
        self._folder = folder
        self._file = file_of(reference, folder=folder)
        self._unsaved: str | None = None
        """One that could not be put where the reference points."""

    def current(self) -> str:
        """The token to use now. Raises: SettingsError."""
        return self._unsaved or reveal(self._reference, folder=self._folder)

    def keep(self, token: str) -> None:
        """The token endpoint gave another one."""
        if token == self.current():
            return
        try:
            if self._file is None:
                raise OSError
            _put(self._file, token)
            self._unsaved = None
        except OSError as error:
            self._unsaved = token
            why = f"cannot be written: {error.strerror}" if error.strerror else "cannot be written by Provisor"
            _log.warning(
                "The token endpoint gave another refresh token, and %s %s. The next run may not be able to sign in. "
                "Put the refresh token into a file that Provisor may write, and refer to it as ${file:path}.",
                self._reference,
                why,
            )

    @asynccontextmanager
    async def held(self, sleep: Sleep) -> AsyncIterator[None]:
        """Nobody else uses the file's token meanwhile; the system takes the lock back from the dead.

        Raises: UnreachableError.
        """
        handle = None if self._file is None else await _locked(self._file, sleep)
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)


async def _locked(file: Path, sleep: Sleep) -> int | None:
    """The open file; None where it cannot be locked, which ``current`` or the token endpoint may complain about."""
    for _ in range(int(PATIENCE_S / STEP_S)):
        try:
            handle = os.open(file, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            await sleep(STEP_S)
            continue
        except OSError:
            os.close(handle)
            return None  # a file system without locks
        if _is_at(handle, file):
            return handle
        os.close(handle)  # a new token has taken its place
    raise UnreachableError(
        f"No token could be fetched: another process has been using the refresh token in {file} for {PATIENCE_S:.0f} s."
    )


def _is_at(handle: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except OSError:
        return False


def _put(file: Path, token: str) -> None:
    """Replaces what a file holds, at once and for its owner alone. Raises: OSError."""
    place = file.resolve(strict=True)
    new = place.with_name(f".{place.name}.new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            found = place.stat()
            if (found.st_uid, found.st_gid) != (os.getuid(), os.getgid()):
                os.fchown(stream.fileno(), found.st_uid, found.st_gid)
            os.fchmod(stream.fileno(), found.st_mode & 0o777)
            stream.write(f"{token}\n")
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(place)
    except OSError:
        new.unlink(missing_ok=True)
        raise
