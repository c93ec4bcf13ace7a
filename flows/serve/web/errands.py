"""What takes longer than a page may: plans, reasons, on-demand runs. Each is the command itself, in its own process.

A page asks for one, waits for it, and shows its document. Nobody but who asked sees it. What is asked for twice at the
same time is done once.
"""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson

from flows.cycle.home import ASKED_BY
from tasks.private import own_folder

_AT_ONCE = 3
_KEPT = timedelta(hours=2)
_LONGEST = timedelta(hours=1)


class ErrandKind(StrEnum):
    """What is asked for."""

    PLAN = "plan"
    WHY = "why"
    PREVIEW = "preview"
    PROVISION = "provision"
    RUN = "run"


@dataclass(slots=True)
class Errand:
    """One process and what it says."""

    id: str
    kind: ErrandKind
    job: str
    login: str
    """Who asked."""
    began: datetime
    about: dict[str, str]
    folders: tuple[str, ...] = field(default=(), repr=False)
    """Where its job file and the state are: names of folders of this machine are on no page."""
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    status: int | None = None

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.status is not None


class BusyError(Exception):
    """Too many errands are under way."""


class Errands:
    """All errands of this server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: dict[str, Errand] = {}
        self._lock = threading.Lock()

    def begin(
        self, kind: ErrandKind, job: str, words: Sequence[str], *, login: str, now: datetime, **about: str
    ) -> Errand:
        """Starts a command of Provisor. Raises: BusyError."""
        with self._lock:
            self._look(now)
            same = next((one for one in self._all.values() if _same(one, kind, job, login, about)), None)
            if same is not None:
                return same
            if sum(not one.ended for one in self._all.values()) >= _AT_ONCE:
                raise BusyError
            errand = Errand(secrets.token_urlsafe(12), kind, job, login, now, about, self._folders_of(words))
            place = own_folder(self._folder)
            with (place / f"{errand.id}.out").open("wb") as out, (place / f"{errand.id}.err").open("wb") as err:
                errand.process = subprocess.Popen(
                    [sys.executable, "-m", "flows.cli", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**os.environ, ASKED_BY: login, "NO_COLOR": "1"},
                )
            self._all[errand.id] = errand
            return errand

    def find(self, id_: str, *, login: str, now: datetime) -> Errand | None:
        """An errand of somebody."""
        with self._lock:
            self._look(now)
            found = self._all.get(id_)
        return found if found is not None and found.login == login else None

    def document(self, errand: Errand) -> Any:
        """The JSON document it has written; None where it has written none."""
        try:
            return orjson.loads(_without_folders((self._folder / f"{errand.id}.out").read_bytes(), errand))
        except (OSError, ValueError):
            return None

    def complaint(self, errand: Errand) -> str:
        """What it said last to people."""
        try:
            said = _without_folders((self._folder / f"{errand.id}.err").read_bytes(), errand)
        except OSError:
            return ""
        text = said.decode("utf-8", "replace")
        return next((line for line in reversed(text.splitlines()) if line.strip()), "")

    def end_all(self) -> None:
        """Ends what is under way, and forgets everything."""
        with self._lock:
            for one in self._all.values():
                if one.process is not None and one.process.poll() is None:
                    one.process.terminate()
                    one.process.wait()
                self._forget(one)
            self._all.clear()

    def _folders_of(self, words: Sequence[str]) -> tuple[str, ...]:
        """The job file is the first word after ``--``."""
        known = [self._folder.parent]
        if "--" in words:
            known.append(Path(words[words.index("--") + 1]).parent)
        both = {str(path) for folder in known for path in (folder.absolute(), folder.resolve()) if path.name}
        return tuple(sorted(both, key=len, reverse=True))

    def _look(self, now: datetime) -> None:
        for one in list(self._all.values()):
            if one.process is not None and one.status is None:
                one.status = one.process.poll()
                if one.status is None and now - one.began > _LONGEST:
                    one.process.terminate()
            if one.ended and now - one.began > _KEPT:
                self._forget(one)
                del self._all[one.id]

    def _forget(self, errand: Errand) -> None:
        for ending in ("out", "err"):
            (self._folder / f"{errand.id}.{ending}").unlink(missing_ok=True)


def _without_folders(text: bytes, errand: Errand) -> bytes:
    """What a command has said, with names of files and not where they are."""
    for folder in errand.folders:
        text = text.replace(f"{folder}/".encode(), b"")
    return text


def _same(one: Errand, kind: ErrandKind, job: str, login: str, about: dict[str, str]) -> bool:
    return not one.ended and (one.kind, one.job, one.login, one.about) == (kind, job, login, about)
