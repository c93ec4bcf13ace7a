"""Who has access to what, now and on a date: for pages, exports, and ``provisor access``."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rich.markup import escape

from connectors.contract import Kind
from flows.show.console import Terminal
from flows.show.history import history_of
from flows.show.plan import table
from tasks.history import Kept
from tasks.ledger import Account, AccountFilters, Ledger, LinkState, Outside, UnmanagedAccount, fold

HEADINGS = ("job", "target", "kind", "name", "login", "key", "id", "state", "since", "department", "title", "company")
STATES: Sequence[LinkState | Outside] = (*LinkState, *Outside)
"""States by which accounts are asked for."""
_AT_ONCE = 2_000
_NAMED_AT_MOST = 1_000
"""Entries that a name may stand for."""


@dataclass(frozen=True, slots=True)
class AccessQuestion:
    """Whose access is asked for."""

    jobs: Sequence[str]
    filters: AccountFilters
    at: datetime | None = None
    """Now, where no moment is given."""
    group: str = ""
    """A group by its key or name: its members alone."""
    who: str = ""
    """A person or group by name, login or key."""
    outside: Outside | None = None
    """Only accounts that belong to no entry, where that is asked for."""

    @property
    def answerable(self) -> bool:
        """Accounts that belong to no entry are known as they are now, with no department, group or key."""
        return self.outside is None or not (self.at or self.group or self.who or self.filters.department)


NOT_ANSWERABLE = (
    "Unmanaged accounts are known as the last listing of each target showed them: no date, person, group or department "
    "can be asked for."
)


def accounts_of(ledger: Ledger, question: AccessQuestion) -> Iterator[Account]:
    """The accounts of entries, by job and key."""
    filters = filters_of(ledger, question)
    if question.at is not None:
        yield from ledger.lookup.accounts_at(question.jobs, filters, question.at)
    else:
        yield from ledger.lookup.accounts(question.jobs, filters)


def filters_of(ledger: Ledger, question: AccessQuestion) -> AccountFilters:
    """What is asked of the jobs: members and names are looked up."""
    if not question.who and not question.group:
        return question.filters
    wanted = [_found(ledger, question)] if question.who else []
    wanted += [_members(ledger, question)] if question.group else []
    return replace(
        question.filters,
        anchors={
            job: frozenset.intersection(*(some.get(job, frozenset()) for some in wanted)) for job in question.jobs
        },
    )


def _found(ledger: Ledger, question: AccessQuestion) -> dict[str, frozenset[str]]:
    """The entries that a name stands for, by job."""
    found: dict[str, set[str]] = {}
    for hit in ledger.directory.search(question.who, question.jobs, limit=_NAMED_AT_MOST).hits:
        if hit.kind is question.filters.kind:
            found.setdefault(hit.job, set()).add(hit.anchor)
    return {job: frozenset(some) for job, some in found.items()}


MORE_MATCH = "More entries match this name than are looked through: add a word."


def is_cut(ledger: Ledger, question: AccessQuestion) -> bool:
    """Whether a name stands for more entries than are looked through, so that the accounts of some are left out."""
    return bool(question.who) and ledger.directory.search(question.who, question.jobs, limit=_NAMED_AT_MOST).more


TODAYS = "Names, logins and departments are those of today."
"""Said of a date in the past."""
NOT_KNOWN = "not known"
"""The state of an account that was there, where the line that tells its state is forgotten."""


def known_from(ledger: Ledger, question: AccessQuestion) -> dict[str, datetime | None]:
    """Since when the log tells who had access, by job; None where no cycle was."""
    return ledger.lookup.known_since(question.jobs)


def out_of_reach(question: AccessQuestion, known: Mapping[str, datetime | None]) -> list[str]:
    """Jobs whose log does not reach back to the moment that is asked for."""
    at = question.at
    return [job for job, since in known.items() if at is not None and (since is None or at < since)]


def not_known(
    ledger: Ledger, question: AccessQuestion, known: Mapping[str, datetime | None] | None = None
) -> list[str]:
    """Sentences about what nobody can know any more, or yet: no answer leaves it out silently.

    ``known``: what :func:`known_from` gives, where that was asked for already.
    """
    if question.outside is not None:
        return []
    if known is None:
        known = known_from(ledger, question) if question.at is not None else {}
    missing = out_of_reach(question, known)
    said = []
    for job in missing:
        since = known[job]
        begins = f"its log begins on {since:%Y-%m-%d %H:%M} UTC" if since is not None else "it has run no cycle"
        said.append(f"Unknown for {job}: {begins}.")
    unkept = [job for job in question.jobs if job not in missing and not _kept(job, question)] if question.group else []
    if unkept:
        when = "then" if question.at is not None else "a cycle"
        said.append(f"Members of the group are not known for {', '.join(unkept)}: no desired state of {when} is kept.")
    return said


def _members(ledger: Ledger, question: AccessQuestion) -> dict[str, frozenset[str]]:
    """Who was to be in a group, as the cycle before the moment wanted it, by job."""
    found: dict[str, frozenset[str]] = {}
    for job, groups in _groups(ledger, question).items():
        if kept := _kept(job, question):
            states = (history_of(job).read_entry(kept[-1], Kind.GROUP, anchor) for anchor in groups)
            members = (str(one) for state in states if state is not None for one in state.members["member"].tolist())
            found[job] = frozenset(members)
    return found


def _kept(job: str, question: AccessQuestion) -> list[Kept]:
    """Desired states up to the moment."""
    return [one for one in history_of(job).kept if question.at is None or one.began <= question.at]


def _groups(ledger: Ledger, question: AccessQuestion) -> dict[str, list[str]]:
    """By job the key itself, or the keys of the groups that are called so."""
    text, directory = question.group, ledger.directory
    found = {hit.job: [text] for hit in directory.in_jobs(question.jobs, Kind.GROUP, text)}
    others = [job for job in question.jobs if job not in found]
    for hit in directory.search(text, others, limit=_NAMED_AT_MOST).hits:
        if hit.kind is Kind.GROUP and fold(hit.name) == fold(text):
            found.setdefault(hit.job, []).append(hit.anchor)
    return {job: found.get(job, [text]) for job in question.jobs}


def unmanaged_of(ledger: Ledger, question: AccessQuestion) -> Iterator[UnmanagedAccount]:
    """The accounts that belong to no entry, by job and id; none where they are not asked for."""
    if question.outside is None or not question.answerable:
        return
    after = ("", "")
    while some := ledger.unmanaged.accounts(
        question.jobs, question.filters.kind, question.outside, after=after, limit=_AT_ONCE
    ):
        yield from some
        after = (some[-1].job, some[-1].target_id)


def rows_of(ledger: Ledger, question: AccessQuestion) -> Iterator[tuple[str, ...]]:
    """The accounts as rows under ``HEADINGS``."""
    targets = ledger.lookup.targets(question.jobs)
    for alone in unmanaged_of(ledger, question):
        names = (alone.label, alone.login, alone.made_for or "", alone.target_id)
        state = (str(alone.outside), f"{alone.since:%Y-%m-%d %H:%M:%S}")
        yield (alone.job, targets[alone.job], str(alone.kind), *names, *state, "", "", "")
    for one in accounts_of(ledger, question) if question.outside is None else ():
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
            str(one.state) if one.state is not None else NOT_KNOWN,
            since,
            *places,
        )


def heading_of(question: AccessQuestion, *, now: datetime) -> str:
    """What an export is about, for its first line."""
    at, state = question.at or now, question.outside or question.filters.state
    parts = [f"state {state}" if state else "", question.filters.department]
    parts += [f"group {question.group}" if question.group else "", question.who]
    only = ", ".join(filter(None, parts))
    return f"Access at {at:%Y-%m-%d %H:%M} UTC; jobs: {', '.join(question.jobs)}{f'; only: {only}' if only else ''}"


def show_access(out: Terminal, ledger: Ledger, question: AccessQuestion, *, limit: int | None) -> None:
    """The accounts as a table, and how many there are."""
    listing = table("job", "name", "login", "key", "state", "since", "department")
    counts: dict[str, int] = {}
    for number, row in enumerate(rows_of(ledger, question)):
        job, _, _, name, login, key, id_, state, since, department, *_ = row
        counts[state] = counts.get(state, 0) + 1
        if limit is None or number < limit:
            cells = (job, name, login, key or id_, state, since[:16] or "before the first record", department)
            listing.add_row(*map(escape, cells))
    total = sum(counts.values())
    unknown = not_known(ledger, question)
    for sentence in unknown:
        out.print(escape(sentence))
    if not counts and unknown:
        out.print("Nothing else is recorded.")
    elif not counts:
        out.print("Nobody has such an account.")
    else:
        out.print(listing)
        if limit is not None and total > limit:
            out.print(f"[dim]… and {total - limit:,} more: --all, or --format csv[/]")
        out.print(", ".join(f"{many:,} {state}" for state, many in sorted(counts.items())) + ".")
    if question.at is not None:
        out.print(TODAYS)
    if is_cut(ledger, question):
        out.print(MORE_MATCH)
    if question.outside is None and question.at is None:
        _tell_unmanaged(out, ledger, question)


def _tell_unmanaged(out: Terminal, ledger: Ledger, question: AccessQuestion) -> None:
    """How many accounts belong to no entry, where there are any: the table above does not have them."""
    kind, counts = question.filters.kind, ledger.unmanaged.counts(question.jobs)
    many, orphaned = (sum(counts.get((job, kind, one), 0) for job in question.jobs) for one in Outside)
    if many:
        made = f", {orphaned:,} of them made by Provisor" if orphaned else ""
        them = "1 more account belongs" if many == 1 else f"{many:,} more accounts belong"
        out.print(f"{them} to no entry{made}: --state {Outside.UNMANAGED}")
