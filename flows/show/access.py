"""Who has access to what, now and on a date: for pages, exports, and ``provisor access``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.markup import escape

from connectors.contract import Kind
from flows.show.console import Terminal
from flows.show.history import history_of
from flows.show.plan import table
from tasks.ledger import Account, AccountFilters, Ledger, LinkState

HEADINGS = ("job", "target", "kind", "name", "login", "key", "id", "state", "since", "department", "title", "company")
_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True)
class AccessQuestion:
    """Whose access is asked for."""

    jobs: Sequence[str]
    filters: AccountFilters
    at: datetime | None = None
    """Now, where no moment is given."""
    group: str = ""
    """Anchor of a group: its members alone."""


def accounts_of(ledger: Ledger, question: AccessQuestion) -> Iterator[Account]:
    """The accounts, by job and key."""
    for job in question.jobs:
        members = _members(ledger, job, question) if question.group else None
        for account in _of_job(ledger, job, question):
            if members is None or account.anchor in members:
                yield account


def _of_job(ledger: Ledger, job: str, question: AccessQuestion) -> Iterator[Account]:
    if question.at is not None:
        yield from ledger.lookup.accounts_at(job, question.filters, question.at)
        return
    after = ""
    while some := ledger.lookup.accounts(job, question.filters, after=after, limit=_AT_ONCE):
        yield from some
        after = some[-1].anchor


def _members(ledger: Ledger, job: str, question: AccessQuestion) -> set[str]:
    """Who was to be in a group, as the cycle before the moment wanted it."""
    history = history_of(job)
    kept = [one for one in history.kept if question.at is None or one.began <= question.at]
    state = history.read_entry(kept[-1], Kind.GROUP, question.group) if kept else None
    return {str(member) for member in state.members["member"].tolist()} if state is not None else set()


def target_of(ledger: Ledger, job: str) -> str:
    """What the target of a job calls itself, as the last cycle saw it."""
    return next((one.target for one in ledger.cycles(job, limit=10) if one.target), job)


def rows_of(ledger: Ledger, question: AccessQuestion) -> Iterator[tuple[str, ...]]:
    """The accounts as rows under ``HEADINGS``."""
    targets = {job: target_of(ledger, job) for job in question.jobs}
    for one in accounts_of(ledger, question):
        since = f"{one.since:%Y-%m-%d %H:%M:%S}" if one.since is not None else ""
        places = [one.details.get(name, "") for name in ("department", "title", "company")]
        yield (
            one.job,
            targets[one.job],
            str(one.kind),
            one.label,
            one.login,
            one.anchor,
            one.target_id,
            str(one.state),
            since,
            *places,
        )


def heading_of(question: AccessQuestion, *, now: datetime) -> str:
    """What an export is about, for its first line."""
    at = question.at or now
    parts = [f"state {question.filters.state}" if question.filters.state else "", question.filters.department]
    parts.append(f"group {question.group}" if question.group else "")
    only = ", ".join(filter(None, parts))
    return f"Access at {at:%Y-%m-%d %H:%M} UTC; jobs: {', '.join(question.jobs)}{f'; only: {only}' if only else ''}"


def show_access(out: Terminal, ledger: Ledger, question: AccessQuestion, *, limit: int | None) -> None:
    """The accounts as a table, and how many there are."""
    listing = table("job", "name", "login", "key", "state", "since", "department")
    counts: dict[LinkState, int] = {}
    for number, one in enumerate(accounts_of(ledger, question)):
        counts[one.state] = counts.get(one.state, 0) + 1
        if limit is None or number < limit:
            since = f"{one.since:%Y-%m-%d %H:%M}" if one.since is not None else "before anything is known"
            cells = (
                one.job,
                one.label,
                one.login,
                one.anchor,
                str(one.state),
                since,
                one.details.get("department", ""),
            )
            listing.add_row(*map(escape, cells))
    if not counts:
        out.print("Nobody has such an account.")
        return
    out.print(listing)
    total = sum(counts.values())
    if limit is not None and total > limit:
        out.print(f"[dim]… and {total - limit:,} more: --all, or --format csv[/]")
    out.print(", ".join(f"{many:,} {state}" for state, many in sorted(counts.items())) + ".")
