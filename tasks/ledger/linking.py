"""Links as they are written: in bulk, and sorted out where two entries want one account."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, exists, select

from connectors.contract import Kind
from connectors.errors import ErrorCode
from tasks.ledger import rows
from tasks.ledger.bulk import Bulk
from tasks.ledger.database import Database
from tasks.ledger.records import Clash, LogAction, LogEntry, LogStatus
from tasks.ledger.settling import settle
from tasks.ledger.several import portions
from tasks.ledger.tables import JOB, LINK

_KIND, _ANCHOR, _TARGET_ID, _TARGET = (
    list(LINK.columns.keys()).index(name) for name in ("kind", "anchor", "target_id", "target")
)
_ASKED_AT_ONCE = 20_000
"""Keys in one query."""
_LOOKED_UP_AT_ONCE = 5_000
"""The same where each key is a parameter of its own."""


@dataclass(frozen=True, slots=True)
class _Owner:
    """Another job's entry that has an account."""

    kind: Kind
    target_id: str
    job: str
    anchor: str

    def of(self, anchor: str) -> Clash:
        """The clash of an entry that was to get the account."""
        return Clash(self.kind, anchor, self.target_id, self.anchor, self.job)


class InTheWayError(Exception):
    """A link was not written because its account is linked already; somebody has to look who may have it."""


class Links:
    """The links of one ledger. Every method works in the transaction that it is given."""

    def __init__(self, database: Database, bulk: Bulk) -> None:
        self._database = database
        self._bulk = bulk

    def pairs(self, connection: Connection, job: str, kind: Kind, by: str, keys: Sequence[str]) -> dict[str, str]:
        """Anchor to target id, where ``by`` (``anchor`` or ``target_id``) is one of the keys."""
        pairs: dict[str, str] = {}
        for some in portions(keys, _ASKED_AT_ONCE):
            pairs.update(self._bulk.link_pairs(connection, job, kind.value, by, some))
        return pairs

    def owned_at(self, connection: Connection, job: str) -> str | None:
        """The address of the target at which a job owns accounts; None until a cycle has said it."""
        return connection.scalar(select(JOB.c.target).where(JOB.c.name == job))

    def claim(self, connection: Connection, job: str, target: str) -> None:
        """Say that the accounts a job has links to are those at an address; without those that another job owns."""
        mine, others = LINK.c.job == job, LINK.alias()
        taken = exists().where(
            others.c.target == target,
            others.c.kind == LINK.c.kind,
            others.c.target_id == LINK.c.target_id,
            others.c.job != job,
        )
        connection.execute(LINK.update().where(mine, LINK.c.target != target).values(target=None))
        connection.execute(LINK.update().where(mine, LINK.c.target.is_(None), ~taken).values(target=target))

    def written(self, connection: Connection, job: str, kind: Kind, target_ids: Sequence[str]) -> dict[str, bytes]:
        """What was last written to accounts, by target id."""
        found: dict[str, bytes] = {}
        for some in portions(target_ids, _ASKED_AT_ONCE):
            found.update(self._bulk.written(connection, job, kind.value, some))
        return found

    def owners_elsewhere(
        self, connection: Connection, job: str, target: str, kind: Kind, target_ids: Sequence[str]
    ) -> dict[str, str]:
        """Target id to job, of those of these accounts at an address that another job owns."""
        found: dict[str, str] = {}
        for some in portions(target_ids, _ASKED_AT_ONCE):
            found.update(self._bulk.owners(connection, target, kind.value, some, but=job))
        return found

    def put(self, connection: Connection, links: Iterable[rows.Values]) -> None:
        """Write links where no target id is in the way; hardly ever one is, so nobody looks first.

        Raises: InTheWayError; the transaction is lost then, and the next one has to :meth:`settle`. (A savepoint would
        keep it, and make SQLite copy every page before it is touched.)
        """
        try:
            self._bulk.upsert(connection, LINK, links)
        except self._database.integrity_error:
            raise InTheWayError from None

    def settle(self, connection: Connection, job: str, links: Sequence[rows.Values]) -> list[Clash]:
        """Write links after sorting out who may have which account; gives those that were left out."""
        clashes: list[Clash] = []
        settled: list[rows.Values] = []
        for kind in Kind:
            mine = {link[_ANCHOR]: link for link in links if link[_KIND] == kind.value}
            owned = self._owned_by_others(connection, job, kind, list(mine.values()))
            taken = [anchor for anchor, link in mine.items() if link[_TARGET_ID] in owned]
            clashes += [owned[mine.pop(anchor)[_TARGET_ID]].of(anchor) for anchor in taken]
            wanted = {anchor: link[_TARGET_ID] for anchor, link in mine.items()}
            pairs = self.pairs(connection, job, kind, "target_id", sorted(set(wanted.values())))
            verdict = settle(wanted, {target_id: anchor for anchor, target_id in pairs.items()})
            self.drop(connection, job, kind, verdict.moving)
            settled += (mine[anchor] for anchor in verdict.free)
            clashes += (Clash(kind, anchor, wanted[anchor], holder) for anchor, holder in verdict.taken.items())
        self._bulk.upsert(connection, LINK, settled)
        return clashes

    def _owned_by_others(
        self, connection: Connection, job: str, kind: Kind, links: Sequence[rows.Values]
    ) -> dict[str, "_Owner"]:
        """Of the accounts that links are to be written to, by id: those that another job owns at the same target."""
        found: dict[str, _Owner] = {}
        ids = sorted({link[_TARGET_ID] for link in links})
        for some in portions(ids, _LOOKED_UP_AT_ONCE):
            query = select(LINK.c.target_id, LINK.c.job, LINK.c.anchor).where(
                LINK.c.target == links[0][_TARGET],
                LINK.c.kind == kind.value,
                LINK.c.target_id.in_(some),
                LINK.c.job != job,
            )
            for target_id, other, anchor in connection.execute(query):
                found[target_id] = _Owner(kind, target_id, other, anchor)
        return found

    def drop(self, connection: Connection, job: str, kind: Kind, anchors: Sequence[str]) -> None:
        """Forget links; anchors without one are passed over."""
        for some in portions(anchors, _ASKED_AT_ONCE):
            self._bulk.delete(connection, LINK, {"job": job, "kind": kind.value}, "anchor", some)

    def since(self, connection: Connection, job: str, kind: Kind, ids: Sequence[str]) -> dict[str, datetime]:
        """Since when accounts have been linked, by their target ids; those without a link are passed over."""
        found: dict[str, datetime] = {}
        for some in portions(ids, _LOOKED_UP_AT_ONCE):
            query = select(LINK.c.target_id, LINK.c.linked_at).where(
                LINK.c.job == job,
                LINK.c.kind == kind.value,
                LINK.c.target_id.in_(some),
            )
            found |= dict(connection.execute(query).tuples().all())
        return found

    def drop_accounts(self, connection: Connection, job: str, kind: Kind, ids: Sequence[str]) -> None:
        """Forget the links of accounts that are gone, by their target ids; those without a link are passed over."""
        for some in portions(ids, _ASKED_AT_ONCE):
            self._bulk.delete(connection, LINK, {"job": job, "kind": kind.value}, "target_id", some)


def with_had_since(lines: Sequence[LogEntry], kind: Kind, since: Mapping[str, datetime]) -> Sequence[LogEntry]:
    """Lines of the log; of deletions those of a kind say since when the entry had the account."""
    if not since:
        return lines
    return [
        replace(line, had_since=since.get(line.target_id or ""))
        if line.action is LogAction.DELETE and line.kind is kind
        else line
        for line in lines
    ]


def marked(entries: Iterable[LogEntry], clashes: Sequence[Clash]) -> Iterable[LogEntry]:
    """The entries; those whose link could not be written as failures that say why."""
    if not clashes:
        return entries
    by_entry = {(clash.kind, clash.anchor): clash for clash in clashes}
    return (_failed(entry, by_entry.get((entry.kind, entry.anchor))) for entry in entries)


def _failed(entry: LogEntry, clash: Clash | None) -> LogEntry:
    if clash is None:
        return entry
    message = (
        f"The target returned {clash.target_id}, which is already linked to {clash.owner}; an account can belong to "
        "only one entry of one job. Check the matching attributes."
    )
    return replace(entry, status=LogStatus.FAILURE, code=ErrorCode.DUPLICATE_TARGET_ENTRIES, message=message)
