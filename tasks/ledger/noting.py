"""What the log has said already about entries that are held or not complete: it is said again only when it changes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
from sqlalchemy import Connection, select

from connectors.contract import Kind
from connectors.errors import ErrorCode
from tasks.ledger.bulk import Bulk
from tasks.ledger.records import LogAction, LogEntry, LogStatus
from tasks.ledger.several import portions
from tasks.ledger.tables import NOTICE

_MARK = "noted "
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Noted:
    """What becomes of the notes with a cycle."""

    lines: Sequence[LogEntry]
    """What appears, what is said otherwise than before, and what is over."""
    put: Mapping[str, str]
    drop: Collection[str]


def compare_notes(entries: Iterable[LogEntry], known: Mapping[str, str], *, partial: bool) -> Noted:
    """The notes of a cycle against those that are ``known``. A ``partial`` cycle has nothing to say about others."""
    current = {_topic(entry): entry for entry in entries}
    fresh = {topic: entry for topic, entry in current.items() if topic not in known}
    gone = {} if partial else {topic: _entry(said) for topic, said in known.items() if topic not in current}
    still = {_about(entry) for entry in current.values()}
    over = [
        replace(entry, status=LogStatus.SUCCESS, message=f"No longer so: {entry.message}")
        for entry in gone.values()
        if _about(entry) not in still
    ]
    return Noted([*fresh.values(), *over], {topic: _said(entry) for topic, entry in fresh.items()}, tuple(gone))


def read_noted(connection: Connection, job: str) -> dict[str, str]:
    """What is noted of a job, by topic."""
    found = select(NOTICE.c.topic, NOTICE.c.said).where(
        NOTICE.c.job == job, NOTICE.c.topic >= _MARK, NOTICE.c.topic < f"{_MARK}~"
    )
    return {row.topic: row.said for row in connection.execute(found)}


def keep_noted(connection: Connection, bulk: Bulk, job: str, noted: Noted, now: datetime) -> None:
    """Writes down what is noted from now on."""
    for some in portions(list(noted.drop), _AT_ONCE):
        connection.execute(NOTICE.delete().where(NOTICE.c.job == job, NOTICE.c.topic.in_(some)))
    if noted.put:
        moment = bulk.time(now)
        bulk.upsert(connection, NOTICE, [(job, topic, said, moment) for topic, said in noted.put.items()])


def _about(entry: LogEntry) -> tuple[Any, ...]:
    return (entry.kind, entry.anchor, entry.code)


def _topic(entry: LogEntry) -> str:
    return _MARK + sha256(_said(replace(entry, label="")).encode()).hexdigest()[:32]


def _said(entry: LogEntry) -> str:
    parts = [entry.kind, entry.anchor, entry.label, entry.status, entry.code, entry.message]
    return orjson.dumps(parts).decode()


def _entry(said: str) -> LogEntry:
    kind, anchor, label, status, code, message = orjson.loads(said)
    return LogEntry(
        kind=Kind(kind),
        action=LogAction.SKIP,
        status=LogStatus(status),
        anchor=anchor,
        label=label,
        code=ErrorCode(code) if code is not None else None,
        message=message,
    )
