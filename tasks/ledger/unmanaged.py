"""Accounts that belong to no entry, as the last listing of each target showed them.

Some of them Provisor has made itself, by the log: they are orphans. An account that a job owns by now is not told any
more, although the target was not listed since.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Select, exists, func, literal, select, tuple_

from connectors.contract import Kind
from tasks.ledger.bulk import Bulk, clean
from tasks.ledger.cycles import check_fence
from tasks.ledger.database import Database
from tasks.ledger.records import Cycle, LogAction
from tasks.ledger.tables import JOB, LINK, LOG, UNMANAGED


class Outside(StrEnum):
    """An account that belongs to no entry."""

    UNMANAGED = "unmanaged"
    """Any of them."""
    ORPHANED = "orphaned"
    """One that Provisor has made, and no longer owns."""


@dataclass(frozen=True, slots=True)
class UnmanagedAccount:
    """One account that belongs to no entry."""

    job: str
    kind: Kind
    target_id: str
    label: str
    login: str
    since: datetime
    """When a listing showed it first."""
    made_for: str | None = None
    """Anchor of the entry for which Provisor has made it; None for an account that others have made."""

    @property
    def outside(self) -> Outside:
        """What it is called."""
        return Outside.UNMANAGED if self.made_for is None else Outside.ORPHANED


class Unmanaged:
    """Accounts of all targets that belong to no entry."""

    def __init__(self, database: Database, bulk: Bulk) -> None:
        self._database = database
        self._bulk = bulk

    def keep(
        self, cycle: Cycle, kind: Kind, names: Mapping[str, tuple[str, str]], *, complete: bool, now: datetime
    ) -> None:
        """Writes down what a listing has shown. ``names``: label and login by id.

        ``complete``: whether an account that is not among them is gone, or has an owner. Raises: LeaseLostError.
        """
        known = self._known(cycle.job, kind)
        new = names.keys() - known.keys()
        made = self._made(cycle.job, kind, new) if new else {}
        rows = []
        for id_, (label, login) in sorted(names.items()):
            before = known.get(id_)
            label, login = clean(label), clean(login)
            if before is None:
                rows.append((cycle.job, kind.value, id_, label, login, self._bulk.time(now), made.get(id_)))
            elif (before.label, before.login) != (label, login):
                since = self._bulk.time(before.since)
                rows.append((cycle.job, kind.value, id_, label, login, since, before.made_for))
        gone = sorted(known.keys() - names.keys()) if complete else []
        if not rows and not gone:
            return
        with self._database.writing() as connection:
            check_fence(connection, cycle)
            self._bulk.upsert(connection, UNMANAGED, rows)
            self._bulk.delete(connection, UNMANAGED, {"job": cycle.job, "kind": kind.value}, "target_id", gone)

    def _known(self, job: str, kind: Kind) -> dict[str, Any]:
        query = select(UNMANAGED).where(UNMANAGED.c.job == job, UNMANAGED.c.kind == kind.value)
        with self._database.reading() as connection:
            return {row.target_id: row for row in connection.execute(query)}

    def _made(self, job: str, kind: Kind, ids: "set[str]") -> dict[str, str]:
        """Those of some accounts that the log says were created here, with the anchors of their entries.

        All creates are read: new accounts of others are few, and seldom.
        """
        query = select(LOG.c.target_id, LOG.c.anchor).where(
            LOG.c.job == job,
            LOG.c.kind == kind.value,
            LOG.c.action == LogAction.CREATE.value,
            LOG.c.target_id.is_not(None),
        )
        with self._database.reading() as connection:
            return {id_: anchor for id_, anchor in connection.execute(query) if id_ in ids}

    # -- asked by pages and commands -------------------------------------------------------------------------------

    def counts(self, jobs: Sequence[str]) -> dict[tuple[str, Kind, Outside], int]:
        """How many there are, by job and kind; orphaned ones count as unmanaged too."""
        query = (
            _nobodys(UNMANAGED.c.job, UNMANAGED.c.kind, func.count(), func.count(UNMANAGED.c.made_for))
            .where(UNMANAGED.c.job.in_(jobs))
            .group_by(UNMANAGED.c.job, UNMANAGED.c.kind)
        )
        found = {}
        with self._database.reading() as connection:
            for job, kind, many, orphaned in connection.execute(query):
                found[job, Kind(kind), Outside.UNMANAGED] = many
                found[job, Kind(kind), Outside.ORPHANED] = orphaned
        return found

    def accounts(
        self,
        jobs: Sequence[str],
        kind: Kind,
        outside: Outside = Outside.UNMANAGED,
        *,
        after: tuple[str, str] = ("", ""),
        limit: int,
    ) -> list[UnmanagedAccount]:
        """Some of them, by job and id, after one of them."""
        query = (
            _nobodys(UNMANAGED)
            .where(UNMANAGED.c.job.in_(jobs), UNMANAGED.c.kind == kind.value)
            .where(tuple_(UNMANAGED.c.job, UNMANAGED.c.target_id) > tuple_(literal(after[0]), literal(after[1])))
            .order_by(UNMANAGED.c.job, UNMANAGED.c.target_id)
            .limit(limit)
        )
        if outside is Outside.ORPHANED:
            query = query.where(UNMANAGED.c.made_for.is_not(None))
        with self._database.reading() as connection:
            return list(_accounts(connection, query))


def _nobodys(*columns: Any) -> Select[Any]:
    """A query for those that are owned neither by the job that has listed them, nor by another one of the target."""
    same = (LINK.c.kind == UNMANAGED.c.kind, LINK.c.target_id == UNMANAGED.c.target_id)
    own = exists().where(LINK.c.job == UNMANAGED.c.job, *same)
    of_another = exists().where(LINK.c.target == JOB.c.target, *same)
    there = UNMANAGED.outerjoin(JOB, JOB.c.name == UNMANAGED.c.job)
    return select(*columns).select_from(there).where(~own, ~of_another)


def _accounts(connection: Connection, query: Select[Any]) -> Iterator[UnmanagedAccount]:
    for row in connection.execute(query):
        yield UnmanagedAccount(row.job, Kind(row.kind), row.target_id, row.label, row.login, row.since, row.made_for)
