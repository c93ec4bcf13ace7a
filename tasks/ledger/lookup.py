"""What pages ask of the ledger: how jobs stand, what a cycle did, what is known of one entry, who has access.

Every question is answered by an index and gives little: a page at a time, counts that were stored, the first names.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, or_, select

from connectors.contract import Action, Kind
from tasks.ledger import cycles, leases, rows
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
from tasks.ledger.tables import (
    ABOUT_ACCESS,
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
_AT_ONCE = 2_000
"""Entries looked up by one statement."""


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


@dataclass(frozen=True, slots=True)
class Account:
    """Who has, or had, which account."""

    job: str
    kind: Kind
    anchor: str
    target_id: str
    label: str
    login: str
    state: LinkState | None
    """None where the account was there, and the line that tells how it was is forgotten."""
    since: datetime | None
    """None where it began before anything is known."""
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.label or self.login or self.anchor


@dataclass(frozen=True, slots=True)
class AccountFilters:
    """Which accounts are wanted."""

    state: LinkState | None = None
    department: str = ""
    kind: Kind = Kind.USER
    anchors: frozenset[str] | None = None
    """Only these entries; None means all."""

    def fit(self, account: Account) -> bool:
        """Whether one of them is. An account whose state is not known fits every state."""
        return (
            (self.state is None or account.state in (self.state, None))
            and (self.anchors is None or account.anchor in self.anchors)
            and (not self.department or account.details.get("department", "") == self.department)
        )


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
            return [
                Board(
                    job,
                    last := cycles.standing(connection, cycles.latest(connection, job, cycles_of_each), now),
                    _last_whole(connection, job, last, now),
                    waiting.get(job, ()),
                    trouble.get(job),
                    paused.get(job),
                    quarantined.get(job),
                    _so_far(connection, last[0]) if last and last[0].state is CycleState.RUNNING else 0,
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

    def last_good(self, job: str) -> Cycle | None:
        """The last cycle that evaluated the whole source and ran to its end."""
        with self._database.reading() as connection:
            found = cycles.latest(connection, job, 1, states=FINISHED_STATES, kinds=WHOLE_KINDS)
        return found[0] if found else None

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
        found = []
        for job in jobs:
            query = (
                select(LOG)
                .where(LOG.c.job == job, LOG.c.anchor == anchor, LOG.c.kind == kind.value)
                .order_by(LOG.c.id.desc())
                .limit(limit + 1)
            )
            lines = self._lines(query)
            turned = (LOG.c.status == LogStatus.SUCCESS.value, LOG.c.action.in_(_ACCESS))
            turns = self._lines(query.where(*turned).limit(_TURNS_SHOWN))
            more = len(lines) > limit
            found.append(Held(job, links.get(job), escrows.get(job), staged.get(job, ()), lines[:limit], more, turns))
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

    def accounts(
        self, job: str, filters: AccountFilters, *, after: str = "", with_it: bool = False, limit: int | None = None
    ) -> list[Account]:
        """Accounts of a job as they are now, by anchor, after one of them; ``with_it``: beginning at it."""
        query = _accounts(job, filters.kind).order_by(LINK.c.anchor)
        if filters.state is not None:
            query = query.where(LINK.c.state == filters.state.value)
        if filters.department:
            department = DIRECTORY.c.details["department"].as_string()
            query = query.where(department == filters.department)
        found: list[Account] = []
        with self._database.reading() as connection:
            for condition in _after(after, filters.anchors, with_it):
                rest = None if limit is None else limit - len(found)
                some = connection.execute(query.where(condition).limit(rest))
                found += [_account(row, LinkState(row.state), row.state_since) for row in some]
                if limit is not None and len(found) >= limit:
                    break
        return found

    def accounts_at(self, job: str, filters: AccountFilters, moment: datetime) -> list[Account]:
        """Accounts of a job as they were at a moment, by anchor: the links, and what the log says was done since.

        Empty where the log does not reach back to the moment: see :meth:`known_since`.
        """
        done = (
            select(LOG.c.anchor, LOG.c.action, LOG.c.time, LOG.c.label, LOG.c.target_id)
            .where(LOG.c.job == job, LOG.c.kind == filters.kind.value, ABOUT_ACCESS)
            .order_by(LOG.c.time, LOG.c.id)
        )
        with self._database.reading() as connection:
            since, forgotten = known_since(connection, job)
            if since is None or moment < since:
                return []
            linked = {row.anchor: row for row in connection.execute(_accounts(job, filters.kind))}
            before: dict[str, Any] = {}
            after: dict[str, Any] = {}
            for row in connection.execute(done):
                if row.time <= moment:
                    before[row.anchor] = row
                else:
                    after.setdefault(row.anchor, row)
        found = []
        for anchor in sorted({*linked, *before, *after}):
            lines = _Lines(before.get(anchor), after.get(anchor), forgotten)
            account = _then(job, filters.kind, anchor, linked.get(anchor), lines, moment)
            if account is not None and filters.fit(account):
                found.append(account)
        return found

    def known_since(self, job: str) -> datetime | None:
        """Since when it is known who had which account; None where no cycle was."""
        with self._database.reading() as connection:
            return known_since(connection, job)[0]


def _rows(connection: Connection, table: Any, jobs: Sequence[str]) -> Iterator[Any]:
    return iter(connection.execute(select(table).where(table.c.job.in_(jobs))).all())


def _about(connection: Connection, table: Any, jobs: Sequence[str], kind: Kind, anchor: str) -> Sequence[Any]:
    # Every action is named, so that the primary key of held changes leads to the entry.
    actions = (table.c.action.in_([action.value for action in Action]),) if table is STAGED else ()
    query = select(table).where(table.c.job.in_(jobs), table.c.kind == kind.value, *actions, table.c.anchor == anchor)
    return connection.execute(query).all()


def _so_far(connection: Connection, cycle: Cycle) -> int:
    return connection.scalar(select(func.count()).where(LOG.c.cycle_id == cycle.id)) or 0


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
    found = {}
    for row in connection.execute(counts).all():
        query = (
            select(*ESCROW.columns, DIRECTORY.c.label.label("known_as"))
            .outerjoin(DIRECTORY, same_entry(ESCROW))
            .where(ESCROW.c.job == row.job)
            .order_by(ESCROW.c.first_failed, ESCROW.c.anchor)
        )
        some = connection.execute(query.limit(NAMED)).all()
        if some:
            names = [one.known_as or one.label or one.anchor for one in some]
            first = some[0]
            found[row.job] = Trouble(
                row.many, int(row.given_up), names, first.message, first.error_code, first.first_failed, row.attempts
            )
    return found


def _last_whole(connection: Connection, job: str, last: Sequence[Cycle], now: datetime) -> Cycle | None:
    """The last cycle of the whole source; asked for only where it is not among the last ones of all kinds."""
    found = next((one for one in last if not one.kind.partial), None)
    if found is None and last:
        earlier = cycles.standing(connection, cycles.latest(connection, job, 1, kinds=WHOLE_KINDS), now)
        found = next(iter(earlier), None)
    return found


def _accounts(job: str, kind: Kind) -> Select[Any]:
    columns = (*LINK.columns, DIRECTORY.c.login, DIRECTORY.c.details, DIRECTORY.c.label.label("known_as"))
    return select(*columns).outerjoin(DIRECTORY, same_entry(LINK)).where(LINK.c.job == job, LINK.c.kind == kind.value)


def _after(after: str, anchors: frozenset[str] | None, with_it: bool) -> Iterator[ColumnElement[bool]]:
    """Conditions that one after the other give the entries after one of them, in order; of these anchors alone."""
    if anchors is None:
        yield LINK.c.anchor >= after if with_it else LINK.c.anchor > after
        return
    rest = sorted(anchor for anchor in anchors if anchor > after or (with_it and anchor == after))
    for start in range(0, len(rest), _AT_ONCE):
        yield LINK.c.anchor.in_(rest[start : start + _AT_ONCE])


def _account(row: Any, state: LinkState | None, since: datetime | None) -> Account:
    return Account(
        row.job,
        Kind(row.kind),
        row.anchor,
        row.target_id,
        row.known_as or row.label or "",
        row.login or "",
        state,
        since,
        row.details or {},
    )


_ENDS_AS = {
    LogAction.CREATE: LinkState.ACTIVE,
    LogAction.ENABLE: LinkState.ACTIVE,
    LogAction.DISABLE: LinkState.DISABLED,
}


_WAS = {
    LogAction.ENABLE: LinkState.DISABLED,
    LogAction.DISABLE: LinkState.ACTIVE,
    LogAction.DELETE: LinkState.ACTIVE,
}
"""How an account was before the first line about it."""


@dataclass(frozen=True, slots=True)
class _Lines:
    """What the log has about the access of one entry."""

    before: Any
    """The last line up to a moment."""
    after: Any
    """The first one since."""
    forgotten: bool
    """Whether earlier lines may have been forgotten."""


def _then(job: str, kind: Kind, anchor: str, linked: Any, lines: _Lines, moment: datetime) -> Account | None:
    """An account as it was at a moment; None where there was none."""
    before, after = lines.before, lines.after
    here = linked is not None and linked.linked_at <= moment
    state = _ENDS_AS.get(LogAction(before.action)) if before is not None else None
    if before is not None and state is not None:
        return _as_it_was(job, kind, anchor, linked, before, moment, state, before.time)
    if before is not None and (not here or linked.linked_at <= before.time):
        return None
    if after is None:
        return _account(linked, LinkState(linked.state), linked.state_since) if here else None
    was = _WAS.get(LogAction(after.action))
    # A match leaves no line: what was done later shows that the account was there.
    if was is None or (linked is not None and moment < linked.linked_at <= after.time):
        return _account(linked, LinkState.ACTIVE, None) if here else None
    unsure = lines.forgotten and after.action == LogAction.DELETE.value
    return _as_it_was(job, kind, anchor, linked, after, moment, None if unsure else was, None)


def _as_it_was(
    job: str, kind: Kind, anchor: str, linked: Any, line: Any, moment: datetime, state: LinkState | None, since: Any
) -> Account:
    """With the id of then: who was deleted and created again has another one now."""
    if linked is None:
        return Account(job, kind, anchor, line.target_id or "", line.label, "", state, since)
    account = _account(linked, state, since)
    return replace(account, target_id=line.target_id) if linked.linked_at > moment and line.target_id else account
