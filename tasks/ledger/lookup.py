"""What pages ask of the ledger: how jobs stand, what a cycle did, what is known of one entry, who has access.

Every question is answered by an index and gives little: a page at a time, counts that were stored, the first names.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, or_, select, tuple_

from connectors.contract import Action, Kind
from tasks.ledger import cycles, leases, rows
from tasks.ledger.accounts import (
    Account,
    AccountFilters,
    account_questions,
    accounts_among,
    accounts_at,
    accounts_page,
)
from tasks.ledger.database import Database
from tasks.ledger.logbook import cycles_of, line_of
from tasks.ledger.reach import known_since
from tasks.ledger.records import (
    FINISHED_STATES,
    NEVER,
    WHOLE_KINDS,
    Cycle,
    CycleState,
    Escrow,
    Linked,
    LinkState,
    LogAction,
    LogLine,
    LogStatus,
    Pause,
    Quarantine,
    Staged,
)
from tasks.ledger.several import ends_at, portions
from tasks.ledger.tables import (
    CYCLE,
    DIRECTORY,
    ESCROW,
    LINK,
    LOG,
    PAUSE,
    QUARANTINE,
    STAGED,
)
from tasks.ledger.waiting import (
    NAMED,
    Decided,
    Guarded,
    Waiting,
    asked_before,
    decided_of,
    held_of,
    held_page,
    held_seal_of,
    held_up_to,
    held_with,
    in_common,
    left_behind,
    same_entry,
    seal_of,
    waiting_of,
)

_ACCESS = [one.value for one in (LogAction.CREATE, LogAction.ENABLE, LogAction.DISABLE, LogAction.DELETE)]
_TURNS_SHOWN = 500
_Which = Callable[[Any], Sequence[ColumnElement[bool]]]
"""Conditions, given the table."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Entries of a job that failed and are tried again, or were given up."""

    count: int
    given_up: int
    names: Sequence[str]
    message: str
    """Of the oldest one."""
    code: str | None
    first_failed: datetime
    attempts: int
    """Of the one that was tried most often."""


@dataclass(frozen=True, slots=True)
class Board:
    """How one job stands."""

    job: str
    cycles: Sequence[Cycle]
    """The last ones, the newest first, as they stand: none of a dead process says that it runs."""
    whole: Cycle | None = None
    """The last one that evaluates the whole source, however long ago it was."""
    waiting: Sequence[Waiting] = ()
    trouble: Trouble | None = None
    pause: Pause | None = None
    quarantine: Quarantine | None = None
    so_far: int = 0
    """Lines that the running cycle has written."""

    @property
    def last(self) -> Cycle | None:
        """The newest cycle."""
        return self.cycles[0] if self.cycles else None


@dataclass(slots=True)
class Totals:
    """What all cycles of a job did."""

    cycles: Counter[CycleState] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Held:
    """One job's part of what is known of an entry: its account, what it waits for, what was done."""

    job: str
    link: Linked | None
    escrow: Escrow | None
    staged: Sequence[Staged]
    lines: Sequence[LogLine]
    """The newest first."""
    more: bool
    """Whether there are older lines."""
    turns: Sequence[LogLine] = ()
    """Lines by which the account was made, enabled, disabled or deleted, however old; the newest first."""


class Lookup:
    """Questions of pages to one ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- jobs ------------------------------------------------------------------------------------------------------

    def boards(
        self,
        jobs: Sequence[str],
        *,
        now: datetime,
        cycles_of_each: int = 30,
        waiting: Mapping[str, Sequence[Waiting]] | None = None,
    ) -> list[Board]:
        """How jobs stand, in the order given. ``waiting``: what waits, where that was asked before."""
        with self._database.reading() as connection:
            paused = {row.job: Pause(row.since, row.who, row.why) for row in _rows(connection, PAUSE, jobs)}
            quarantined = {row.job: rows.quarantine_from(row) for row in _rows(connection, QUARANTINE, jobs)}
            if waiting is None:
                waiting = waiting_of(connection, jobs, now)
            trouble = _trouble(connection, jobs)
            latest = _standing_of(connection, cycles.latest_of(connection, jobs, cycles_of_each), now)
            whole = {job: next((one for one in some if not one.kind.partial), None) for job, some in latest.items()}
            # Of those that have one, but not among the last ones of all kinds.
            before = [job for job, some in latest.items() if some and whole[job] is None]
            earlier = _standing_of(connection, cycles.latest_of(connection, before, 1, _is_whole), now)
            whole |= {job: some[0] for job, some in earlier.items() if some}
            so_far = _so_far(connection, [some[0].id for some in latest.values() if some and _runs(some[0])])
            return [
                Board(
                    job,
                    last := latest[job],
                    whole[job],
                    waiting.get(job, ()),
                    trouble.get(job),
                    paused.get(job),
                    quarantined.get(job),
                    so_far.get(last[0].id, 0) if last else 0,
                )
                for job in jobs
            ]

    def standing(self, some: Sequence[Cycle], now: datetime) -> list[Cycle]:
        """Cycles as they stand: one whose process has died no longer says that it runs."""
        with self._database.reading() as connection:
            return cycles.standing(connection, some, now)

    def figures_since(self, jobs: Sequence[str], moment: datetime) -> Counter[str]:
        """Counts of the cycles that began since then, added up, and ``cycles``."""
        query = select(CYCLE.c.counts).where(CYCLE.c.began >= moment, CYCLE.c.job.in_(jobs))
        total: Counter[str] = Counter()
        with self._database.reading() as connection:
            for counts in connection.scalars(query):
                total["cycles"] += 1
                total.update({name: count for name, count in (counts or {}).items() if isinstance(count, int)})
        return total

    def totals(self, jobs: Sequence[str], now: datetime) -> dict[str, "Totals"]:
        """What all cycles of each job did, added up."""
        found: dict[str, Totals] = {}
        query = select(CYCLE.c.job, CYCLE.c.state, CYCLE.c.counts).where(CYCLE.c.job.in_(jobs))
        with self._database.reading() as connection:
            for job, state, counts in connection.execute(query):
                total = found.setdefault(job, Totals())
                total.cycles[CycleState(state)] += 1
                total.counts.update({name: many for name, many in (counts or {}).items() if isinstance(many, int)})
            held = leases.held(connection, found.keys(), now=now)
        for job, total in found.items():
            if job not in held:
                total.cycles[CycleState.CRASHED] += total.cycles.pop(CycleState.RUNNING, 0)
        return found

    def last_good(self, jobs: Sequence[str]) -> dict[str, Cycle]:
        """The last cycle of each job that evaluated the whole source and ran to its end."""
        finished = [state.value for state in FINISHED_STATES]
        with self._database.reading() as connection:
            found = cycles.latest_of(
                connection, jobs, 1, lambda cycle: (*_is_whole(cycle), cycle.c.state.in_(finished))
            )
        return {job: some[0] for job, some in found.items() if some}

    def last_seen(self, jobs: Sequence[str]) -> dict[str, Cycle]:
        """The last cycle of each job that has read its source, however many have stopped since; else the last one."""
        with self._database.reading() as connection:
            found = cycles.latest_of(connection, jobs, 1, lambda cycle: (cycle.c.source != "",))
            rest = cycles.latest_of(connection, [job for job, some in found.items() if not some], 1)
        return {job: some[0] for job, some in {**found, **rest}.items() if some}

    def latest(self, jobs: Sequence[str], limit: int) -> dict[str, list[Cycle]]:
        """The last cycles of each job, the newest first."""
        with self._database.reading() as connection:
            return cycles.latest_of(connection, jobs, limit)

    def targets(self, jobs: Sequence[str]) -> dict[str, str]:
        """What the target of each job calls itself, as the last cycle saw it; the job's name where none has."""
        with self._database.reading() as connection:
            found = cycles.latest_of(connection, jobs, 1, lambda cycle: (cycle.c.target != "",))
        return {job: some[0].target if some else job for job, some in found.items()}

    def cycles_before(self, job: str, number: int | None, limit: int) -> list[Cycle]:
        """Cycles of a job, the newest first, older than one of them where it is given."""
        conditions = () if number is None else (CYCLE.c.number < number,)
        with self._database.reading() as connection:
            return cycles.latest(connection, job, limit, *conditions)

    def cycles_numbered(self, job: str, numbers: Collection[int]) -> dict[int, Cycle]:
        """Some cycles of a job, by their numbers."""
        with self._database.reading() as connection:
            found = cycles.latest(connection, job, len(numbers), CYCLE.c.number.in_(numbers))
        return {one.number: one for one in found}

    def versions(self, job: str) -> list[tuple[str, int, int, datetime]]:
        """Configurations that a job has run with: fingerprint, first and last cycle, when it began; newest first."""
        query = (
            select(
                CYCLE.c.fingerprint,
                func.min(CYCLE.c.number).label("first"),
                func.max(CYCLE.c.number).label("last"),
                func.min(CYCLE.c.began).label("began"),
            )
            .where(CYCLE.c.job == job)
            .group_by(CYCLE.c.fingerprint)
            .order_by(func.max(CYCLE.c.number).desc())
            .limit(20)
        )
        with self._database.reading() as connection:
            return [(row.fingerprint, row.first, row.last, row.began) for row in connection.execute(query)]

    # -- one cycle -------------------------------------------------------------------------------------------------

    def lines(
        self,
        cycle: Cycle,
        *,
        actions: Collection[LogAction] = (),
        status: LogStatus | None = None,
        but: LogStatus | None = None,
        text: str = "",
        after: int = 0,
        limit: int,
    ) -> list[LogLine]:
        """Lines of a cycle in the order in which they were written, after the id of one. ``but``: without these."""
        query = select(LOG).where(LOG.c.cycle_id == cycle.id, LOG.c.id > after).order_by(LOG.c.id).limit(limit)
        if actions:
            query = query.where(LOG.c.action.in_([action.value for action in actions]))
        if status is not None:
            query = query.where(LOG.c.status == status.value)
        if but is not None:
            query = query.where(LOG.c.status != but.value)
        if text:
            query = query.where(or_(LOG.c.identity.contains(text.casefold(), autoescape=True), LOG.c.anchor == text))
        return self._lines(query)

    def tally(self, cycle: Cycle) -> Counter[tuple[str, str]]:
        """How many lines a cycle has of each action and status."""
        query = (
            select(LOG.c.action, LOG.c.status, func.count().label("many"))
            .where(LOG.c.cycle_id == cycle.id)
            .group_by(LOG.c.action, LOG.c.status)
        )
        with self._database.reading() as connection:
            return Counter({(row.action, row.status): row.many for row in connection.execute(query)})

    def groups_changed(self, cycle: Cycle) -> dict[LogAction, int]:
        """How many groups got members, and how many lost some: one group may have several lines."""
        query = (
            select(LOG.c.action, func.count(LOG.c.anchor.distinct()).label("many"))
            .where(
                LOG.c.cycle_id == cycle.id,
                LOG.c.action.in_([LogAction.ADD_MEMBERS.value, LogAction.REMOVE_MEMBERS.value]),
                LOG.c.status != LogStatus.FAILURE.value,
            )
            .group_by(LOG.c.action)
        )
        with self._database.reading() as connection:
            return {LogAction(row.action): row.many for row in connection.execute(query)}

    def failures_by_code(self, cycle: Cycle) -> dict[str | None, int]:
        """How many lines of a cycle failed with each code."""
        query = (
            select(LOG.c.error_code, func.count().label("many"))
            .where(LOG.c.cycle_id == cycle.id, LOG.c.status == LogStatus.FAILURE.value)
            .group_by(LOG.c.error_code)
        )
        with self._database.reading() as connection:
            return {row.error_code: row.many for row in connection.execute(query)}

    def beside(self, cycle: Cycle) -> tuple[int | None, int | None]:
        """Numbers of the cycles before and after one: those that did nothing are forgotten after a while."""
        older = select(func.max(CYCLE.c.number)).where(CYCLE.c.job == cycle.job, CYCLE.c.number < cycle.number)
        newer = select(func.min(CYCLE.c.number)).where(CYCLE.c.job == cycle.job, CYCLE.c.number > cycle.number)
        with self._database.reading() as connection:
            return connection.scalar(older), connection.scalar(newer)

    def decisions(self, job: str, anchors: Sequence[str], *, until: datetime) -> list[LogLine]:
        """The last decisions of people about some entries, up to a moment; for each the newest."""
        actions = [LogAction.APPROVE.value, LogAction.REJECT.value]
        query = (
            select(LOG)
            .where(LOG.c.job == job, LOG.c.anchor.in_(anchors), LOG.c.action.in_(actions), LOG.c.time <= until)
            .order_by(LOG.c.id.desc())
            .limit(500)
        )
        return self._lines(query)

    def decided_together(self, job: str, lines: Sequence[LogLine]) -> dict[tuple[str, str, datetime], int]:
        """About how many entries each of some decisions was, by action, reason and time."""
        wanted = {(line.action, line.reason, line.time): line.cycle for line in lines}
        found = {}
        with self._database.reading() as connection:
            for (action, reason, moment), number in wanted.items():
                cycle = select(CYCLE.c.id).where(CYCLE.c.job == job, CYCLE.c.number == number).scalar_subquery()
                same = (LOG.c.action == action, LOG.c.reason == reason, LOG.c.time == moment)
                query = select(func.count()).select_from(LOG).where(LOG.c.cycle_id == cycle, *same)
                found[action, reason, moment] = connection.execute(query).scalar_one()
        return found

    def _lines(self, query: Select[Any]) -> list[LogLine]:
        with self._database.reading() as connection:
            found = connection.execute(query).all()
            known = cycles_of(connection, {row.cycle_id for row in found})
        return [line_of(row, known) for row in found]

    # -- one entry -------------------------------------------------------------------------------------------------

    def held(self, jobs: Sequence[str], kind: Kind, anchor: str, *, limit: int) -> list[Held]:
        """What is known of an entry in each of some jobs, in their order."""
        with self._database.reading() as connection:
            links = {row.job: rows.linked_from(row) for row in _about(connection, LINK, jobs, kind, anchor)}
            escrows = {row.job: rows.escrow_from(row) for row in _about(connection, ESCROW, jobs, kind, anchor)}
            staged: dict[str, list[Staged]] = {}
            for row in _about(connection, STAGED, jobs, kind, anchor):
                staged.setdefault(row.job, []).append(rows.staged_from(row))
        lines = self._lines_of(jobs, kind, anchor, limit + 1)
        turns = self._lines_of(jobs, kind, anchor, _TURNS_SHOWN, _about_access)
        return [
            Held(
                job,
                links.get(job),
                escrows.get(job),
                staged.get(job, ()),
                lines[job][:limit],
                len(lines[job]) > limit,
                turns[job],
            )
            for job in jobs
        ]

    def _lines_of(
        self, jobs: Sequence[str], kind: Kind, anchor: str, limit: int, which: _Which = lambda log: ()
    ) -> dict[str, list[LogLine]]:
        """The last lines about an entry by job, the newest first."""

        def asked(log: Any) -> list[ColumnElement[bool]]:
            return [log.c.anchor == anchor, log.c.kind == kind.value, *which(log)]

        ends = ends_at(LOG, "id", jobs, limit, asked)
        query = select(LOG).join(ends, (LOG.c.job == ends.c.name) & (LOG.c.id >= ends.c.first)).where(*asked(LOG))
        found: dict[str, list[LogLine]] = {job: [] for job in jobs}
        for line in self._lines(query.order_by(LOG.c.id.desc())):
            found[line.job].append(line)
        return found

    # -- held changes ----------------------------------------------------------------------------------------------

    def waiting(self, jobs: Sequence[str], now: datetime) -> dict[str, list[Waiting]]:
        """What nobody has decided about, by job, action and guard."""
        with self._database.reading() as connection:
            return waiting_of(connection, jobs, now)

    def in_common(self, question: Guarded, now: datetime) -> dict[str, Counter[str]]:
        """Where those work about whom a question is: how many have each value, by company, department and place."""
        with self._database.reading() as connection:
            return in_common(connection, question, now)

    def held_page(self, question: Guarded, now: datetime, *, after: str = "", limit: int | None = None) -> list[Staged]:
        """What a question is about, by anchor, after one of them."""
        with self._database.reading() as connection:
            return held_page(connection, question, now, after, limit)

    def held_of(self, question: Guarded, now: datetime, anchors: Collection[str]) -> list[Staged]:
        """What a question is about, of some entries, by anchor."""
        with self._database.reading() as connection:
            return held_of(connection, question, now, anchors)

    def held_with(self, question: Guarded, now: datetime, text: str) -> list[str]:
        """Those about whom a question is and in whom a text is found: their anchors, in order."""
        with self._database.reading() as connection:
            return held_with(connection, question, now, text)

    def held_up_to(self, question: Guarded, now: datetime, anchor: str) -> int:
        """How many of a question come before the page after one of them."""
        with self._database.reading() as connection:
            return held_up_to(connection, question, now, anchor)

    def asked_before(self, question: Guarded, now: datetime) -> int:
        """About how many of a question somebody has decided before."""
        with self._database.reading() as connection:
            return asked_before(connection, question, now)

    def seal(self, question: Guarded, now: datetime) -> str:
        """A digest of exactly what a question is about."""
        with self._database.reading() as connection:
            return seal_of(connection, question, now)

    def held_seal(self, job: str, now: datetime) -> str:
        """A digest of all that is held of a job and how it was decided."""
        with self._database.reading() as connection:
            return held_seal_of(connection, job, now)

    def left_behind(self, question: Guarded, now: datetime) -> dict[str, int]:
        """How many people who are not held themselves have a manager who is, by the manager's anchor."""
        with self._database.reading() as connection:
            return left_behind(connection, question, now)

    def decided(self, jobs: Sequence[str], now: datetime, *, limit: int) -> list[Decided]:
        """The last decisions that are still in force, the newest first."""
        with self._database.reading() as connection:
            return decided_of(connection, jobs, now, limit)

    # -- who has access --------------------------------------------------------------------------------------------

    def account_counts(self, jobs: Sequence[str]) -> dict[tuple[str, Kind, LinkState], int]:
        """How many accounts there are now, by job, kind and state."""
        query = (
            select(LINK.c.job, LINK.c.kind, LINK.c.state, func.count().label("many"))
            .where(LINK.c.job.in_(jobs))
            .group_by(LINK.c.job, LINK.c.kind, LINK.c.state)
        )
        with self._database.reading() as connection:
            return {(row.job, Kind(row.kind), LinkState(row.state)): row.many for row in connection.execute(query)}

    def accounts_page(
        self, jobs: Sequence[str], filters: AccountFilters, *, after: tuple[str, str] = ("", ""), limit: int
    ) -> list[Account]:
        """Accounts as they are now, by anchor and job; ``after``: anchor and job of the one before them."""
        with self._database.reading() as connection:
            return accounts_page(connection, jobs, filters, after, limit)

    def accounts(self, jobs: Sequence[str], filters: AccountFilters) -> Iterator[Account]:
        """All accounts as they are now, by job and anchor."""
        many: Counter[str] = Counter()
        for (job, kind, _), count in self.account_counts(jobs).items() if filters.anchors is None else ():
            many[job] += count if kind is filters.kind else 0
        for questions in account_questions(jobs, filters, many):
            after: str | None = ""
            while after is not None:
                with self._database.reading() as connection:
                    some, after = accounts_among(connection, filters, questions, after)
                yield from some

    def accounts_at(self, jobs: Sequence[str], filters: AccountFilters, moment: datetime) -> list[Account]:
        """Accounts as they were at a moment, by job and anchor: the links, and what the log says was done since.

        None of a job whose log does not reach back to the moment: see :meth:`known_since`.
        """
        with self._database.reading() as connection:
            return accounts_at(connection, jobs, filters, moment)

    def known_since(self, jobs: Sequence[str]) -> dict[str, datetime | None]:
        """Since when it is known who had which account, by job; None where no cycle was."""
        with self._database.reading() as connection:
            return {job: since for job, (since, _) in known_since(connection, jobs).items()}

    def names_of_accounts(self, kind: Kind, accounts: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """What people call the owners of some accounts, by job and id in the target; the unknown are left out."""
        found: dict[tuple[str, str], str] = {}
        name = func.coalesce(func.nullif(DIRECTORY.c.label, ""), func.nullif(DIRECTORY.c.login, ""), LINK.c.anchor)
        with self._database.reading() as connection:
            for some in portions(sorted(accounts)):
                ids = tuple_(LINK.c.job, LINK.c.kind, LINK.c.target_id).in_(
                    [(job, kind.value, id_) for job, id_ in some]
                )
                query = select(LINK.c.job, LINK.c.target_id, name).join(DIRECTORY, same_entry(LINK)).where(ids)
                found |= {(job, id_): text for job, id_, text in connection.execute(query).tuples()}
        return found


def _rows(connection: Connection, table: Any, jobs: Sequence[str]) -> Iterator[Any]:
    return iter(connection.execute(select(table).where(table.c.job.in_(jobs))).all())


def _about(connection: Connection, table: Any, jobs: Sequence[str], kind: Kind, anchor: str) -> Sequence[Any]:
    # Every action is named, so that the primary key of held changes leads to the entry.
    actions = (table.c.action.in_([action.value for action in Action]),) if table is STAGED else ()
    query = select(table).where(table.c.job.in_(jobs), table.c.kind == kind.value, *actions, table.c.anchor == anchor)
    return connection.execute(query).all()


def _about_access(log: Any) -> Sequence[ColumnElement[bool]]:
    return (log.c.status == LogStatus.SUCCESS.value, log.c.action.in_(_ACCESS))


def _is_whole(cycle: Any) -> Sequence[ColumnElement[bool]]:
    return (cycle.c.kind.in_([kind.value for kind in WHOLE_KINDS]),)


def _runs(cycle: Cycle) -> bool:
    return cycle.state is CycleState.RUNNING


def _standing_of(connection: Connection, latest: Mapping[str, list[Cycle]], now: datetime) -> dict[str, list[Cycle]]:
    """Cycles of several jobs as they stand."""
    found: dict[str, list[Cycle]] = {job: [] for job in latest}
    for one in cycles.standing(connection, [one for some in latest.values() for one in some], now):
        found[one.job].append(one)
    return found


def _so_far(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """How many lines some cycles have written, by their ids."""
    query = select(LOG.c.cycle_id, func.count()).where(LOG.c.cycle_id.in_(ids)).group_by(LOG.c.cycle_id)
    return dict(connection.execute(query).tuples().all()) if ids else {}


def _trouble(connection: Connection, jobs: Sequence[str]) -> dict[str, Trouble]:
    counts = (
        select(
            ESCROW.c.job,
            func.count().label("many"),
            func.max(ESCROW.c.attempts).label("attempts"),
            func.sum(case((ESCROW.c.next_attempt >= NEVER, 1), else_=0)).label("given_up"),
        )
        .where(ESCROW.c.job.in_(jobs))
        .group_by(ESCROW.c.job)
    )
    place = func.row_number().over(partition_by=ESCROW.c.job, order_by=(ESCROW.c.first_failed, ESCROW.c.anchor))
    placed = select(ESCROW, place.label("place")).where(ESCROW.c.job.in_(jobs)).subquery()
    query = (
        select(*placed.columns, DIRECTORY.c.label.label("known_as"))
        .outerjoin(DIRECTORY, same_entry(placed))
        .where(placed.c.place <= NAMED)
        .order_by(placed.c.job, placed.c.place)
    )
    first: dict[str, list[Any]] = {}
    for one in connection.execute(query):
        first.setdefault(one.job, []).append(one)
    return {
        row.job: Trouble(
            row.many,
            int(row.given_up),
            [one.known_as or one.label or one.anchor for one in first[row.job]],
            first[row.job][0].message,
            first[row.job][0].error_code,
            first[row.job][0].first_failed,
            row.attempts,
        )
        for row in connection.execute(counts).all()
        if row.job in first
    }
