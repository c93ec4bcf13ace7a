"""The ledger itself: what the stages ask of it and tell it.

Rules that hold for every method: times come from the caller and carry a zone; a method is one transaction; bulk goes
through ``bulk.py`` and never through objects of the tables. One Ledger serves all threads of a process. What a cycle
writes is refused once another run has taken its job over (LeaseLostError), but for :meth:`Ledger.record`: what was sent
was sent, whichever run has the job now.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import pandas as pd
from sqlalchemy import ColumnElement, Connection, func, select

from connectors.contract import Action, Change, Kind, Outcome, Status
from tasks.ledger import cycles, leases, noting, rows
from tasks.ledger.bulk import Bulk, PostgresBulk, SqliteBulk, clean, json_text
from tasks.ledger.cycles import check_fence
from tasks.ledger.database import Database
from tasks.ledger.directory import Directory
from tasks.ledger.following import Following
from tasks.ledger.linking import InTheWayError, Links, marked, with_had_since
from tasks.ledger.logbook import Logbook, LogFilters
from tasks.ledger.lookup import Lookup
from tasks.ledger.overtaken import as_overtaken
from tasks.ledger.records import (
    Attempt,
    Clash,
    Cycle,
    CycleEnd,
    CycleKind,
    CycleState,
    Escrow,
    Lease,
    LedgerError,
    Link,
    Linked,
    LinkTakenError,
    LogAction,
    LogEntry,
    LogLine,
    LogStatus,
    Pause,
    Quarantine,
    SentBeforeError,
    Staged,
    StagedState,
)
from tasks.ledger.run_requests import RunRequests
from tasks.ledger.signins import SignIns
from tasks.ledger.staging import LOGGED, StagedChanges, last_decision, read_rules, read_staged
from tasks.ledger.tables import (
    ATTEMPT,
    CYCLE,
    ESCROW,
    JOB,
    LINK,
    LOG,
    NOTICE,
    OPEN_ATTEMPTS,
    PACE,
    PAUSE,
    QUARANTINE,
    WATERMARK,
)
from tasks.ledger.unmanaged import Unmanaged

_JOURNALED = tuple(column.name for column in ATTEMPT.columns)

_A_DAY = timedelta(days=1)


class Ledger:
    """What Provisor remembers: links, attempts, the provisioning log, cycles, watermarks, and what waits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._logbook = Logbook(database)
        self._bulk: Bulk = SqliteBulk() if database.sqlite else PostgresBulk()
        self._links = Links(database, self._bulk)
        self.directory = Directory(database, self._bulk)
        self.following = Following(database)
        self.lookup = Lookup(database)
        self.unmanaged = Unmanaged(database, self._bulk)
        self.sign_ins = SignIns(database)
        self.run_requests = RunRequests(database)

    @classmethod
    def open(cls, url: str | None, home: Path) -> Self:
        """The ledger at the address, or in the folder ``home`` when there is none; made and migrated as needed.

        Raises: SettingsError, UnreachableError, LedgerError.
        """
        return cls(Database.open(url, home))

    def close(self) -> None:
        """Let go of every connection; safe to call twice."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def place(self) -> str:
        """Where the ledger is: its file, or the address of its database without a password."""
        return self._database.place

    def copies(self) -> list[Path]:
        """Copies of the file that were made before its tables were changed, the oldest first."""
        return self._database.copies()

    # -- jobs and cycles ------------------------------------------------------------------------------------------

    def jobs(self) -> list[str]:
        """Names of all jobs that ever began a cycle, sorted."""
        with self._database.reading() as connection:
            return sorted(connection.scalars(select(JOB.c.name)))

    def begin_cycle(
        self,
        job: str,
        kind: CycleKind,
        *,
        fingerprint: str,
        now: datetime,
        flow_run_id: str | None = None,
        initiator: str = "",
        lease: Lease | None = None,
        target: str | None = None,
        approval: Mapping[str, Any] | None = None,
        after: Collection[str] = (),
    ) -> Cycle:
        """Open the job's next cycle. Cycles that still stand as running belong to dead processes: they become crashed.

        ``fingerprint`` is the configuration's. Under a ``lease`` the cycle can journal only while the lease is the
        newest. ``target``: the target's address; the accounts that the job has links to are its own there from now on.
        ``approval``: who may decide about what its guards hold. ``after``: the jobs that it runs after; it looks at all
        of their cycles that have ended by now. Raises: LeaseLostError.
        """
        with self._database.writing(durable=True) as connection:
            if lease is not None:
                leases.check(connection, lease.job, lease.fence)
            # Writing the job's row first makes two beginners wait for each other, so that numbers are not given twice.
            before = self._links.owned_at(connection, job)
            self._bulk.upsert(connection, JOB, [(job, fingerprint, self._bulk.time(now), target, json_text(approval))])
            if target is not None and target != before:
                self._links.claim(connection, job, target)
            return cycles.begin(
                connection,
                job,
                kind,
                fingerprint=fingerprint,
                now=now,
                flow_run_id=flow_run_id,
                initiator=initiator,
                lease=lease,
                after=after,
            )

    def end_cycle(self, cycle: Cycle, end: CycleEnd) -> Cycle:
        """Close a cycle and, in the same transaction, move the job's watermark where one is given.

        Raises: LeaseLostError when the cycle is no longer running because another one took over; nothing moves then.
        """
        with self._database.writing(durable=True) as connection:
            ended = cycles.end(connection, cycle, end)
            if end.watermark is not None:
                self._move_watermark(connection, cycle.job, end.watermark, end.now, cycle.id)
        return ended

    def approval_rules(self, job: str) -> dict[str, Any]:
        """Who may decide about what the job's guards hold, as its latest cycle said; nothing where it did not say."""
        with self._database.reading() as connection:
            return read_rules(connection, job)

    def cycle(self, job: str, cycle_id: int) -> Cycle | None:
        """One cycle of the job by its id."""
        with self._database.reading() as connection:
            return _first(cycles.latest(connection, job, 1, CYCLE.c.id == cycle_id))

    def cycle_numbered(self, job: str, number: int) -> Cycle | None:
        """One cycle of the job by its number, as people call it."""
        with self._database.reading() as connection:
            return _first(cycles.latest(connection, job, 1, CYCLE.c.number == number))

    def cycles(
        self, job: str, limit: int = 20, *, kinds: Collection[CycleKind] = (), since: datetime | None = None
    ) -> list[Cycle]:
        """The job's latest cycles, of these kinds and begun since then where that is given, newest first."""
        conditions = () if since is None else (CYCLE.c.began >= since,)
        with self._database.reading() as connection:
            return cycles.latest(connection, job, limit, *conditions, kinds=kinds)

    def last_cycle(
        self, job: str, *, states: Collection[CycleState] = (), kinds: Collection[CycleKind] = ()
    ) -> Cycle | None:
        """The job's latest cycle, of these states and kinds where some are given; None when there is none."""
        with self._database.reading() as connection:
            return _first(cycles.latest(connection, job, 1, states=states, kinds=kinds))

    def last_reading(self, job: str) -> Cycle | None:
        """The job's latest cycle that has read its source; None when there is none."""
        with self._database.reading() as connection:
            return _first(cycles.latest(connection, job, 1, CYCLE.c.source != ""))

    def begin_plan(self, cycle: Cycle, plan: str) -> None:
        """Write down, with its initiator, that a running cycle carries out a plan file; survives a power cut.

        Raises: LeaseLostError.
        """
        with self._database.writing(durable=True) as connection:
            cycles.note_plan(connection, cycle, plan)

    def cycle_of_plan(self, job: str, plan: str) -> Cycle | None:
        """The job's cycle that carried out, or began to carry out, a plan file; None when there is none."""
        with self._database.reading() as connection:
            return cycles.of_plan(connection, job, plan)

    def source_counts(self, job: str, limit: int = 20) -> list[int]:
        """Users in the source in the job's latest cycles that have such a number, newest first."""
        counts = select(CYCLE.c.source_count).where(CYCLE.c.job == job, CYCLE.c.source_count.is_not(None))
        with self._database.reading() as connection:
            return list(connection.scalars(counts.order_by(CYCLE.c.number.desc()).limit(limit)))

    def source_members(self, job: str) -> int | None:
        """Memberships in the source in the job's latest cycle that has such a number."""
        counts = select(CYCLE.c.source_members).where(CYCLE.c.job == job, CYCLE.c.source_members.is_not(None))
        with self._database.reading() as connection:
            return connection.scalar(counts.order_by(CYCLE.c.number.desc()).limit(1))

    # -- the watermark --------------------------------------------------------------------------------------------

    def watermark(self, job: str) -> str | None:
        """Up to where the job has read its source; None when it has to read everything."""
        with self._database.reading() as connection:
            return connection.scalar(select(WATERMARK.c.value).where(WATERMARK.c.job == job))

    def set_watermark(self, job: str, watermark: str | None, *, now: datetime) -> None:
        """Move the watermark outside a cycle; None clears it."""
        with self._database.writing(durable=True) as connection:
            self._move_watermark(connection, job, watermark, now, None)

    def _move_watermark(
        self, connection: Connection, job: str, value: str | None, now: datetime, cycle_id: int | None
    ) -> None:
        if value is None:
            connection.execute(WATERMARK.delete().where(WATERMARK.c.job == job))
        else:
            self._bulk.upsert(connection, WATERMARK, [(job, value, self._bulk.time(now), cycle_id)])

    # -- links ----------------------------------------------------------------------------------------------------

    def links(self, job: str, kind: Kind) -> pd.DataFrame:
        """Every link of one kind, in the order of the anchors.

        Index ``anchor`` (str); columns ``target_id`` (str), ``fingerprint`` (Int64, NA means compare again), ``state``
        (str, of LinkState), ``label`` (str), ``changed_at`` and ``state_since`` (ISO 8601 text, UTC).
        """
        with self._database.reading() as connection:
            return self._bulk.links(connection, job, kind.value)

    def link(self, job: str, kind: Kind, anchor: str) -> Linked | None:
        """One link; None where the entry has no account that Provisor knows of."""
        query = select(LINK).where(LINK.c.job == job, LINK.c.kind == kind.value, LINK.c.anchor == anchor)
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else rows.linked_from(row)

    def target_ids(self, job: str, kind: Kind, anchors: Sequence[str]) -> dict[str, str]:
        """Anchor to target id, for those of the anchors that are linked."""
        with self._database.reading() as connection:
            return self._links.pairs(connection, job, kind, "anchor", anchors)

    def anchors(self, job: str, kind: Kind, target_ids: Sequence[str]) -> dict[str, str]:
        """Target id to anchor, for those of the target ids that are linked."""
        with self._database.reading() as connection:
            pairs = self._links.pairs(connection, job, kind, "target_id", target_ids)
        return {target_id: anchor for anchor, target_id in pairs.items()}

    def written(self, job: str, kind: Kind, target_ids: Sequence[str]) -> dict[str, bytes]:
        """What was last written to accounts, attribute by attribute (see ``tasks.plan.written``), by target id.

        Accounts of which nothing is known are left out.
        """
        with self._database.reading() as connection:
            return self._links.written(connection, job, kind, target_ids)

    def former_ids(self, job: str, kind: Kind) -> dict[str, str]:
        """Ids of the accounts that linked entries had before their present ones, each with the entry's anchor."""
        query = select(LINK.c.former_id, LINK.c.anchor).where(
            LINK.c.job == job, LINK.c.kind == kind.value, LINK.c.former_id.is_not(None)
        )
        with self._database.reading() as connection:
            return {row.former_id: row.anchor for row in connection.execute(query)}

    def owners_elsewhere(self, job: str, target: str, kind: Kind, target_ids: Sequence[str]) -> dict[str, str]:
        """Of these accounts at an address, those that another job owns: target id to that job."""
        with self._database.reading() as connection:
            return self._links.owners_elsewhere(connection, job, target, kind, target_ids)

    def put_links(
        self, job: str, kind: Kind, frame: pd.DataFrame, *, cycle_id: int, now: datetime, under: Cycle | None = None
    ) -> None:
        """Add links, or write new values to those that are there.

        Index: anchor. Column ``target_id`` is needed; ``fingerprint``, ``state``, ``label`` and ``how`` default to
        null, active, nothing and what is known. An anchor may move to another target id, and two may swap theirs.

        ``under``: the running cycle that writes them. Raises: LinkTakenError when a target id stays another anchor's,
        LeaseLostError; nothing is written then.
        """
        if not frame.index.is_unique:
            raise ValueError("an anchor comes twice in the links to put")
        moment = self._bulk.time(now)
        try:
            with self._database.writing() as connection:
                check_fence(connection, under)
                target = self._links.owned_at(connection, job)
                self._links.put(connection, rows.FrameRows(job, kind, frame, target, cycle_id, moment))
        except InTheWayError:
            with self._database.writing() as connection:
                check_fence(connection, under)
                target = self._links.owned_at(connection, job)
                links = rows.FrameRows(job, kind, frame, target, cycle_id, moment)
                clashes = self._links.settle(connection, job, list(links))
                if clashes:
                    raise LinkTakenError(job, clashes) from None

    def drop_links(self, job: str, kind: Kind, anchors: Sequence[str], *, under: Cycle | None = None) -> None:
        """Forget links; anchors without one are passed over. ``under``: the running cycle. Raises: LeaseLostError."""
        with self._database.writing() as connection:
            check_fence(connection, under)
            self._links.drop(connection, job, kind, anchors)

    # -- attempts and outcomes ------------------------------------------------------------------------------------

    def journal(
        self,
        cycle: Cycle,
        changes: Sequence[Change],
        now: datetime,
        *,
        known_by: Sequence[str] = (),
        redacted: Collection[str] = (),
    ) -> None:
        """Write down what is about to be sent; send only after this returned. Survives a power cut.

        ``known_by``: attributes by which an account that is created can be found again, should the answer be lost.
        ``redacted``: attributes whose values must not be written down.

        Raises: LeaseLostError when another run took the job over; SentBeforeError when one of the changes was already
        sent, because a change is sent once in its life. Nothing is written in both cases.
        """
        moment = self._bulk.time(now)
        attempts = [
            rows.attempt_row(cycle, change, moment, known_by, redacted)
            for change in sorted(changes, key=lambda one: one.id)
        ]
        with self._database.writing(durable=True) as connection:
            check_fence(connection, cycle)
            try:
                self._bulk.insert(connection, ATTEMPT, _JOURNALED, attempts)
            except self._database.integrity_error:
                raise SentBeforeError(
                    f"A change of cycle {cycle.number} of job {cycle.job} was already sent. A change is sent only "
                    "once; create a new plan."
                ) from None

    def withdraw(self, cycle: Cycle, change_ids: Sequence[str]) -> None:
        """Forget attempts that were journaled and of which nothing was sent after all."""
        with self._database.writing() as connection:
            self._bulk.delete(connection, ATTEMPT, {"job": cycle.job}, "change_id", change_ids)

    def record(
        self,
        cycle: Cycle,
        changes: Sequence[Change],
        outcomes: Sequence[Outcome],
        *,
        now: datetime,
        links: Iterable[Link] = (),
        log: Iterable[LogEntry] = (),
    ) -> tuple[Clash, ...]:
        """Write down, in one transaction, how changes ended: their attempts, their links, their lines in the log.

        A delete that is done drops the link of its account by itself; ``links`` are those that are to be, the last one
        of an entry counts. A link whose target id stays another anchor's is left out, its lines in the log become
        failures, and it is returned. The changes may be of an earlier cycle (attempts whose answer was lost, read back
        in this one).

        A run that another one has overtaken writes no links: see ``tasks.ledger.overtaken``.

        Raises: LedgerError when an outcome's change was never journaled; nothing is written then.
        """
        lines = list(log)
        linked = {(link.kind, link.anchor): link for link in links}
        try:
            return self._record(cycle, changes, outcomes, now, linked, lines, settle=False)
        except InTheWayError:
            return self._record(cycle, changes, outcomes, now, linked, lines, settle=True)

    def _record(
        self,
        cycle: Cycle,
        changes: Sequence[Change],
        outcomes: Sequence[Outcome],
        now: datetime,
        links: Mapping[tuple[Kind, str], Link],
        lines: Sequence[LogEntry],
        *,
        settle: bool,
    ) -> tuple[Clash, ...]:
        moment = self._bulk.time(now)
        clashes: list[Clash] = []
        with self._database.writing() as connection:
            if not cycles.holds_fence(connection, cycle):
                outcomes, lines = as_overtaken(connection, cycle, changes, outcomes, lines)
                changes, links = (), {}
            by_change = {outcome.change_id: outcome for outcome in outcomes}
            # Rows in the order of their keys, so that two batches never wait for each other.
            ends = [rows.end_row(by_change[change_id], moment) for change_id in sorted(by_change)]
            target = self._links.owned_at(connection, cycle.job)
            linked = [rows.link_row(cycle, links[entry], target, moment) for entry in sorted(links)]
            if self._bulk.finish(connection, ends) != len(ends):
                raise LedgerError(
                    f"Cycle {cycle.number} of job {cycle.job} has an outcome for a change that was not written down "
                    "before it was sent. This is a fault in Provisor: nothing may be sent before Ledger.journal."
                )
            for kind in Kind:
                gone = [
                    change.target_id
                    for change in changes
                    if change.action is Action.DELETE and change.kind is kind and _done(by_change.get(change.id))
                ]
                dropped = [id_ for id_ in gone if id_]
                lines = with_had_since(lines, kind, self._links.since(connection, cycle.job, kind, dropped))
                self._links.drop_accounts(connection, cycle.job, kind, dropped)
            if settle:
                clashes = self._links.settle(connection, cycle.job, linked)
            else:
                self._links.put(connection, linked)
            self._insert_log(connection, cycle, marked(lines, clashes), now)
        return tuple(clashes)

    def open_attempts(self, job: str) -> list[Attempt]:
        """Attempts that were sent and whose effect nobody knows, oldest first.

        Asked before the first :meth:`journal` of a cycle they are what dead runs left: read each one back, then
        :meth:`record` what was found.
        """
        query = (
            select(ATTEMPT).where(ATTEMPT.c.job == job, OPEN_ATTEMPTS).order_by(ATTEMPT.c.sent_at, ATTEMPT.c.change_id)
        )
        with self._database.reading() as connection:
            return [rows.attempt_from(row) for row in connection.execute(query)]

    def touched_since(self, job: str, cycle_id: int) -> dict[Kind, set[str]]:
        """Ids of entries of the target about which a cycle's knowledge may be wrong by now.

        After it something was sent to them, whatever came of it; or they were linked by a cycle that kept no knowledge
        of its own, because it looked at single entries or did not come to its end.
        """
        # Ids of changes begin with their cycle's: the primary key finds them.
        query = (
            select(ATTEMPT.c.kind, ATTEMPT.c.target_id)
            .where(ATTEMPT.c.job == job, ATTEMPT.c.change_id >= f"{cycle_id + 1:08d}", ATTEMPT.c.target_id.is_not(None))
            .distinct()
        )
        touched: dict[Kind, set[str]] = {kind: set() for kind in Kind}
        with self._database.reading() as connection:
            for kind, target_id in connection.execute(query):
                touched[Kind(kind)].add(target_id)
            if ignorant := cycles.ignorant_since(connection, job, cycle_id):
                linked = select(LINK.c.kind, LINK.c.target_id).where(LINK.c.job == job, LINK.c.cycle_id.in_(ignorant))
                for kind, target_id in connection.execute(linked):
                    touched[Kind(kind)].add(target_id)
        return touched

    def sent_since(self, job: str, moment: datetime) -> dict[Kind, set[str]]:
        """Ids of entries of the target to which something was sent by a cycle that began or ended since then."""
        late = (CYCLE.c.ended.is_(None) | (CYCLE.c.ended >= moment)) & (CYCLE.c.job == job)
        with self._database.reading() as connection:
            first = connection.scalar(select(func.min(CYCLE.c.id)).where(late & (CYCLE.c.began >= moment - _A_DAY)))
        return {kind: set() for kind in Kind} if first is None else self.touched_since(job, first - 1)

    # -- the provisioning log -------------------------------------------------------------------------------------

    def log_entries(self, cycle: Cycle, entries: Iterable[LogEntry], *, now: datetime) -> None:
        """Add lines for what caused no request: entries skipped, held, or failed before anything was sent.

        Raises: LeaseLostError.
        """
        with self._database.writing() as connection:
            check_fence(connection, cycle)
            self._insert_log(connection, cycle, entries, now)

    def _insert_log(self, connection: Connection, cycle: Cycle, entries: Iterable[LogEntry], now: datetime) -> None:
        moment = self._bulk.time(now)
        self._bulk.insert(
            connection, LOG, LOGGED, (rows.log_row(cycle, entry, moment, self._bulk.time) for entry in entries)
        )

    def log(self, job: str, *, limit: int | None = 1000, **filters: Unpack[LogFilters]) -> pd.DataFrame:
        """Lines of the provisioning log, newest first; columns ``LOG_FRAME``; ``modified`` as in ``LogLine``."""
        return rows.log_frame([line for chunk in self.log_chunks(job, limit=limit, **filters) for line in chunk])

    def log_chunks(
        self, job: str, *, limit: int | None = None, **filters: Unpack[LogFilters]
    ) -> Iterator[list[LogLine]]:
        """The same as plain lines, a list at a time, so that a log of any length needs little memory."""
        return self._logbook.chunks(job, filters, limit)

    def identities(self, job: str, identity: str) -> list[str]:
        """Anchors that the log and the links know by an anchor, a target id or a label in any case, sorted."""
        return self._logbook.anchors_of(job, identity)

    def passed_over(self, job: str, kind: Kind) -> set[str]:
        """Anchors of entries about which the log says already that they get no account."""
        return self._logbook.passed_over(job, kind)

    def noted(self, job: str) -> dict[str, str]:
        """What the log has said about entries that are held or not complete, and is still so; by topic."""
        with self._database.reading() as connection:
            return noting.read_noted(connection, job)

    def keep_noted(self, cycle: Cycle, noted: noting.Noted, *, now: datetime) -> None:
        """Writes down what is noted from now on; what appears in it goes to the log separately.

        Raises: LeaseLostError.
        """
        if not noted.put and not noted.drop:
            return
        with self._database.writing() as connection:
            check_fence(connection, cycle)
            noting.keep_noted(connection, self._bulk, cycle.job, noted, now)

    def forget_quiet(self, job: str, *, before: datetime) -> int:
        """Deletes cycles that ended before a moment and did nothing, but for the last hundred; gives how many."""
        return self._logbook.forget_quiet(job, before)

    def give_back(self) -> None:
        """Gives room that is free in an SQLite file back, a part at a time."""
        self._database.give_back()

    def forget_log(self, job: str, *, before: datetime, at_most: int) -> int:
        """Deletes lines of the log and ended attempts from before a moment, so many rows at most; gives how many."""
        return self._logbook.forget(job, before, at_most=at_most)

    # -- what waits: held by a guard, or in escrow -----------------------------------------------------------------

    @contextmanager
    def changing_staged(self, job: str, *, under: Cycle | None = None) -> Iterator[StagedChanges]:
        """What the job's guards hold, to be read and changed in one transaction: nobody else changes it meanwhile.

        Nothing else of the ledger may be asked or written within the block. ``under``: the running cycle.

        Raises: LeaseLostError.
        """
        with self._database.writing(durable=True) as connection:
            check_fence(connection, under)
            yield StagedChanges(connection, self._bulk, job)

    def put_staged(self, job: str, staged: Iterable[Staged], *, under: Cycle | None = None) -> None:
        """Add or replace changes that a guard holds; one for each kind, action, anchor and state.

        ``under``: the running cycle. Raises: LeaseLostError.
        """
        with self.changing_staged(job, under=under) as changes:
            changes.put(staged)

    def staged(self, job: str, *, state: StagedState | None = None) -> list[Staged]:
        """Changes that a guard holds, by kind, action, anchor and state; of one state where one is given."""
        with self._database.reading() as connection:
            return read_staged(connection, job, state)

    def drop_staged(self, job: str, staged: Collection[Staged], *, under: Cycle | None = None) -> None:
        """Forget changes that a guard held: carried out, or no longer wanted.

        ``under``: the running cycle. Raises: LeaseLostError.
        """
        with self.changing_staged(job, under=under) as changes:
            changes.drop(staged)

    def last_decision(self, job: str, entries: Sequence[tuple[Kind, str]], *, since: datetime) -> LogLine | None:
        """What the log says last of a decision about one of some entries, or of any where none is named."""
        with self._database.reading() as connection:
            return last_decision(connection, job, entries, since)

    def put_escrows(self, job: str, escrows: Iterable[Escrow], *, under: Cycle | None = None) -> None:
        """Add or replace entries in escrow; one for each kind and anchor.

        ``under``: the running cycle. Raises: LeaseLostError.
        """
        failed = {(one.kind, one.anchor): rows.escrow_row(job, one, self._bulk.time) for one in escrows}
        with self._database.writing(durable=True) as connection:
            check_fence(connection, under)
            self._bulk.upsert(connection, ESCROW, failed.values())

    def escrows(self, job: str) -> list[Escrow]:
        """Entries in escrow, by kind and anchor."""
        query = select(ESCROW).where(ESCROW.c.job == job)
        with self._database.reading() as connection:
            found = [rows.escrow_from(row) for row in connection.execute(query)]
        return sorted(found, key=lambda one: (one.kind, one.anchor))

    def drop_escrows(self, job: str, kind: Kind, anchors: Sequence[str], *, under: Cycle | None = None) -> None:
        """Take entries out of escrow: they succeeded, or a restart clears the wait.

        ``under``: the running cycle. Raises: LeaseLostError.
        """
        with self._database.writing() as connection:
            check_fence(connection, under)
            self._bulk.delete(connection, ESCROW, {"job": job, "kind": kind.value}, "anchor", anchors)

    # -- what holds a whole job back: a person's pause, quarantine; and what people have been told ------------------

    def pause(self, job: str, pause: Pause) -> None:
        """Pause a job; one that is paused already gets the new reason."""
        with self._database.writing(durable=True) as connection:
            row = (job, self._bulk.time(pause.since), clean(pause.who), clean(pause.why))
            self._bulk.upsert(connection, PAUSE, [row])

    def resume(self, job: str) -> None:
        """End a pause; quietly does nothing where there is none."""
        with self._database.writing(durable=True) as connection:
            connection.execute(PAUSE.delete().where(PAUSE.c.job == job))

    def paused(self, job: str) -> Pause | None:
        """The job's pause, None when it may run."""
        with self._database.reading() as connection:
            row = connection.execute(select(PAUSE).where(PAUSE.c.job == job)).one_or_none()
        return None if row is None else Pause(row.since, row.who, row.why)

    def put_quarantine(self, job: str, quarantine: Quarantine | None, *, under: Cycle | None = None) -> None:
        """Write down how a job's quarantine stands; None lifts it.

        ``under``: the running cycle. Raises: LeaseLostError.
        """
        with self._database.writing(durable=True) as connection:
            check_fence(connection, under)
            if quarantine is None:
                connection.execute(QUARANTINE.delete().where(QUARANTINE.c.job == job))
            else:
                self._bulk.upsert(connection, QUARANTINE, [rows.quarantine_row(job, quarantine, self._bulk.time)])

    def quarantine(self, job: str) -> Quarantine | None:
        """The job's quarantine, None when it is not in one."""
        with self._database.reading() as connection:
            row = connection.execute(select(QUARANTINE).where(QUARANTINE.c.job == job)).one_or_none()
        return None if row is None else rows.quarantine_from(row)

    def told(self, job: str, topic: str) -> str | None:
        """What people were told last on a topic, as ``tell_once`` was given it; None when nothing counts as told."""
        with self._database.reading() as connection:
            return connection.scalar(select(NOTICE.c.said).where(NOTICE.c.job == job, NOTICE.c.topic == topic))

    def tell_once(self, job: str, topic: str, said: str | None, *, now: datetime) -> bool:
        """True when people have to be told: ``said`` (a digest) differs from what they were told last on the topic.

        It counts as told from then on. None forgets the topic, so that it is told when it comes up again.
        """
        mine = (NOTICE.c.job == job, NOTICE.c.topic == topic)
        with self._database.writing(durable=True) as connection:
            known = connection.scalar(select(NOTICE.c.said).where(*mine))
            if said is None:
                connection.execute(NOTICE.delete().where(*mine))
            elif said != known:
                self._bulk.upsert(connection, NOTICE, [(job, topic, said, self._bulk.time(now))])
        return said is not None and said != known

    def removals(self, job: str, *, since: datetime) -> int:
        """Accounts that the job disabled or deleted since then without anybody's approval, by the provisioning log."""
        actions = (LogAction.DISABLE.value, LogAction.DELETE.value)
        query = select(func.sum(func.coalesce(LOG.c.counted, 1))).where(*_done_since(job, since, actions))
        with self._database.reading() as connection:
            return int(connection.scalar(query) or 0)

    def members_removed(self, job: str, *, since: datetime) -> dict[str, int]:
        """Members that the job took out of groups since then, by the groups' anchors; neither those that somebody
        approved nor those of people who left."""
        query = (
            select(LOG.c.anchor, func.sum(LOG.c.counted))
            .where(*_done_since(job, since, (LogAction.REMOVE_MEMBERS.value,)), LOG.c.counted > 0)
            .group_by(LOG.c.anchor)
        )
        with self._database.reading() as connection:
            return {anchor: int(count) for anchor, count in connection.execute(query)}

    # -- the pace of a target -------------------------------------------------------------------------------------

    def share_pace(self, target: str, worker: str, *, now: datetime, duration: timedelta) -> int:
        """Say that a worker loads a target until ``now`` and ``duration``; gives how many do, this one included."""
        with self._database.writing() as connection:
            connection.execute(PACE.delete().where(PACE.c.target == target, PACE.c.until <= now))
            self._bulk.upsert(connection, PACE, [(target, worker, self._bulk.time(now + duration))])
            return connection.scalar(select(func.count()).where(PACE.c.target == target)) or 1

    def leave_pace(self, target: str, worker: str) -> None:
        """Say that a worker no longer loads a target."""
        with self._database.writing() as connection:
            connection.execute(PACE.delete().where(PACE.c.target == target, PACE.c.worker == worker))

    # -- the lease ------------------------------------------------------------------------------------------------

    def acquire_lease(
        self, job: str, holder: str, *, now: datetime, duration: timedelta, instead_of: str | None = None
    ) -> Lease:
        """The right to run the job until ``now`` and ``duration``; an expired lease is taken from its holder.

        ``holder`` says who, for people; the lease of ``instead_of``, a holder known to be dead, is taken as well. On
        PostgreSQL ``now`` does not count: the database's own clock does. Raises: JobBusyError naming the holder.
        """
        with self._database.writing(durable=True) as connection:
            return leases.acquire(connection, job, holder, now=now, duration=duration, instead_of=instead_of)

    def renew_lease(self, lease: Lease, *, now: datetime, duration: timedelta) -> Lease:
        """The lease with a later end; an expired one may be renewed while nobody else has taken it.

        Raises: LeaseLostError.
        """
        with self._database.writing(durable=True) as connection:
            return leases.renew(connection, lease, now=now, duration=duration)

    def lease_left(self, job: str, fence: int, *, now: datetime) -> timedelta:
        """How long the lease with this fence lasts from now on, unless it is renewed. Raises: LeaseLostError."""
        with self._database.reading() as connection:
            return leases.left(connection, job, fence, now=now)

    def release_lease(self, lease: Lease) -> None:
        """Let go of the job; quietly does nothing where somebody else has taken it."""
        with self._database.writing(durable=True) as connection:
            leases.release(connection, lease)

    def check_fence(self, lease: Lease) -> None:
        """Pass when nobody has taken the job over. Raises: LeaseLostError."""
        with self._database.reading() as connection:
            leases.check(connection, lease.job, lease.fence)


def _done_since(job: str, since: datetime, actions: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    """Conditions for lines of the log about changes of some actions that were carried out."""
    done = LogStatus.SUCCESS.value
    return (LOG.c.job == job, LOG.c.time >= since, LOG.c.action.in_(actions), LOG.c.status == done)


def _first(found: Sequence[Cycle]) -> Cycle | None:
    return found[0] if found else None


def _done(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.status is Status.DONE
