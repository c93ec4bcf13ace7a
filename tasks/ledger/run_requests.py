"""Who has begun a run on the pages: kept here, because what a run says of itself anybody can write who may begin one.

The run carries a random key, with which the orchestrator makes no second run; the ledger knows whose it is. Only the
key's digest is kept, so that a copy of the ledger names nobody's run.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select

from tasks.ledger.bulk import clean
from tasks.ledger.database import Database
from tasks.ledger.tables import RUN_REQUEST

_KEPT = timedelta(days=90)
"""How long a run may wait for its beginning, or for a decision, and still be known."""


class RunPurpose(StrEnum):
    """Why somebody has begun a run."""

    RUN = "run"
    DECISION = "decision"
    """To carry out what was approved."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run that somebody has begun."""

    job: str
    login: str
    """As the person signed in."""
    purpose: RunPurpose


class RunRequests:
    """Runs that people have begun on the pages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, key: str, request: RunRequest, *, now: datetime) -> None:
        """Keeps whose run that is which will carry a key; old ones are forgotten."""
        with self._database.writing(durable=True) as connection:
            connection.execute(RUN_REQUEST.delete().where(RUN_REQUEST.c.time < now - _KEPT))
            connection.execute(
                RUN_REQUEST.insert().values(
                    key=_digest(key),
                    job=request.job,
                    login=clean(request.login),
                    purpose=request.purpose.value,
                    time=now,
                )
            )

    def of(self, key: str, job: str) -> RunRequest | None:
        """Whose run of a job it is that carries a key; None where nobody has begun it on the pages."""
        query = select(RUN_REQUEST).where(RUN_REQUEST.c.key == _digest(key), RUN_REQUEST.c.job == job)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else RunRequest(row.job, row.login, RunPurpose(row.purpose))


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
