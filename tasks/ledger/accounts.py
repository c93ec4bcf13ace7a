"""Who has, or had, which account: the links as they are, and what the log says was done since a moment."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select, union_all

from connectors.contract import Kind
from tasks.ledger.reach import known_since
from tasks.ledger.records import LinkState, LogAction
from tasks.ledger.several import AT_ONCE, Entry, about, portions
from tasks.ledger.tables import ABOUT_ACCESS, DIRECTORY, LINK, LOG
from tasks.ledger.waiting import same_entry

_JOBS_AT_ONCE = 100
"""Jobs of which one statement looks up the next accounts. Source: SQLite takes 500 parts of one statement."""


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
    anchors: Mapping[str, frozenset[str]] | None = None
    """Only these entries, by job; None means all."""

    def fit(self, account: Account) -> bool:
        """Whether one of them is. An account whose state is not known fits every state."""
        return (
            (self.state is None or account.state in (self.state, None))
            and (self.anchors is None or account.anchor in self.anchors.get(account.job, ()))
            and (not self.department or account.details.get("department", "") == self.department)
        )


# --- now -------------------------------------------------------------------------------------------------------------


def accounts_page(
    connection: Connection, jobs: Sequence[str], filters: AccountFilters, after: tuple[str, str], limit: int
) -> list[Account]:
    """Accounts by anchor and job, after one of them."""
    found: list[Account] = []
    if filters.anchors is None:
        keys = _next_keys(connection, jobs, filters, after, limit)
        return _by_anchor(_read(connection, filters, [(job, filters.kind.value, anchor) for anchor, job in keys]))
    wanted = sorted((anchor, job) for job in jobs for anchor in filters.anchors.get(job, ()) if (anchor, job) > after)
    for some in portions(wanted):
        found += _by_anchor(_read(connection, filters, [(job, filters.kind.value, anchor) for anchor, job in some]))
        if len(found) >= limit:
            break
    return found[:limit]


Questions = Sequence[str] | Sequence[Entry]
"""Jobs, all of whose accounts are asked for, or entries."""


def account_questions(jobs: Sequence[str], filters: AccountFilters, many: Mapping[str, int]) -> Iterator[Questions]:
    """Jobs, or entries, of which one statement reads the accounts. ``many``: accounts of each job."""
    if filters.anchors is not None:
        yield from portions(
            [(job, filters.kind.value, one) for job in jobs for one in sorted(filters.anchors.get(job, ()))]
        )
        return
    together: list[str] = []
    for job in jobs:
        if together and sum(many[one] for one in together) + many[job] > AT_ONCE:
            yield together
            together = []
        if many[job]:
            together.append(job)
    if together:
        yield together


def accounts_among(
    connection: Connection, filters: AccountFilters, questions: Questions, after: str
) -> tuple[list[Account], str | None]:
    """Accounts by job and anchor, of one job so many at once; and after which anchor it goes on, None at the end."""
    if filters.anchors is not None:
        entries = [one for one in questions if not isinstance(one, str)]
        found = {(one.job, one.anchor): one for one in _read(connection, filters, entries)}
        return [found[job, anchor] for job, _, anchor in entries if (job, anchor) in found], None
    query = _accounts(filters).where(LINK.c.job.in_(questions)).order_by(LINK.c.job, LINK.c.anchor)
    if len(questions) == 1:
        query = query.where(LINK.c.anchor > after).limit(AT_ONCE)
    some = [_account(row, LinkState(row.state), row.state_since) for row in connection.execute(query)]
    return some, some[-1].anchor if len(questions) == 1 and len(some) == AT_ONCE else None


def _next_keys(
    connection: Connection, jobs: Sequence[str], filters: AccountFilters, after: tuple[str, str], limit: int
) -> list[tuple[str, str]]:
    """Anchor and job of the next accounts: each job gives its own next ones, an index leads to them."""
    anchor, job = after
    found: list[tuple[str, str]] = []
    for some in portions(jobs, _JOBS_AT_ONCE):
        parts = []
        for name in some:
            # Of the key at which the last page ended the later jobs are still to come.
            rest = LINK.c.anchor >= anchor if name > job else LINK.c.anchor > anchor
            query = select(LINK.c.anchor, LINK.c.job).where(LINK.c.job == name, *_asked(filters), rest)
            if filters.department:
                query = query.join(DIRECTORY, same_entry(LINK))
            parts.append(select(query.order_by(LINK.c.anchor).limit(limit).subquery()))
        found += connection.execute(union_all(*parts)).tuples()
    return sorted(found)[:limit]


def _read(connection: Connection, filters: AccountFilters, entries: Sequence[Entry]) -> list[Account]:
    if not entries:
        return []
    found = connection.execute(_accounts(filters).where(about(LINK, entries)))
    return [_account(row, LinkState(row.state), row.state_since) for row in found]


def _by_anchor(some: Sequence[Account]) -> list[Account]:
    return sorted(some, key=lambda one: (one.anchor, one.job))


def _accounts(filters: AccountFilters) -> Select[Any]:
    columns = (*LINK.columns, DIRECTORY.c.login, DIRECTORY.c.details, DIRECTORY.c.label.label("known_as"))
    return select(*columns).outerjoin(DIRECTORY, same_entry(LINK)).where(*_asked(filters))


def _asked(filters: AccountFilters) -> Iterator[ColumnElement[bool]]:
    yield LINK.c.kind == filters.kind.value
    if filters.state is not None:
        yield LINK.c.state == filters.state.value
    if filters.department:
        yield DIRECTORY.c.details["department"].as_string() == filters.department


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


# --- at a moment -----------------------------------------------------------------------------------------------------


def accounts_at(
    connection: Connection, jobs: Sequence[str], filters: AccountFilters, moment: datetime
) -> list[Account]:
    """Accounts by job and anchor, of the jobs whose log reaches back to the moment."""
    known = known_since(connection, jobs)
    reached = [job for job, (since, _) in known.items() if since is not None and moment >= since]
    everybody = AccountFilters(kind=filters.kind)
    linked = {
        (row.job, row.anchor): row for row in connection.execute(_accounts(everybody).where(LINK.c.job.in_(reached)))
    }
    done = (
        select(*(LOG.c[name] for name in ("job", "anchor", "action", "time", "label", "target_id", "had_since")))
        .where(LOG.c.job.in_(reached), LOG.c.kind == filters.kind.value, ABOUT_ACCESS)
        .order_by(LOG.c.job, LOG.c.time, LOG.c.id)
    )
    before: dict[tuple[str, str], Any] = {}
    after: dict[tuple[str, str], Any] = {}
    gone: dict[tuple[str, str], Any] = {}
    for row in connection.execute(done):
        if row.time <= moment:
            before[row.job, row.anchor] = row
        else:
            after.setdefault((row.job, row.anchor), row)
            if row.action == LogAction.DELETE.value:
                gone.setdefault((row.job, row.anchor), row)
    found = []
    for job, anchor in sorted({*linked, *before, *after}):
        entry = (job, anchor)
        lines = _Lines(before.get(entry), after.get(entry), gone.get(entry), known[job][1])
        account = _then(job, filters.kind, anchor, linked.get((job, anchor)), lines, moment)
        if account is not None and filters.fit(account):
            found.append(account)
    return found


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
    gone: Any
    """The first one since by which the account was deleted."""
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
    if lines.gone is not None and lines.gone.had_since is not None and moment < lines.gone.had_since:
        return None
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
