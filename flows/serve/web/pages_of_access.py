"""Pages of access: who has, or had, access to what."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain, islice
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response, StreamingResponse

from connectors.contract import Kind
from flows.serve.web.rendering import here, query
from flows.serve.web.rights import Deed
from flows.serve.web.spreadsheet import csv_lines, write_excel
from flows.serve.web.visit import Visit, entry_address
from flows.show.access import (
    HEADINGS,
    MORE_MATCH,
    NOT_ANSWERABLE,
    STATES,
    TODAYS,
    AccessQuestion,
    accounts_of,
    filters_of,
    heading_of,
    is_cut,
    known_from,
    not_known,
    out_of_reach,
    rows_of,
)
from tasks.ledger import Account, AccountFilters, LinkState, Outside, UnmanagedAccount

_SHOWN = 50
_ASKED = ("at", "job", "group", "who", "department", "state", "kind")
"""Fields of the form."""


def access(visit: Visit) -> Response:
    """Who has, or had, access to what."""
    question, said = _question(visit)
    jobs, lookup = visit.jobs(), visit.ledger.lookup
    counts, unmanaged = lookup.account_counts(jobs), visit.ledger.unmanaged.counts(jobs)
    known = known_from(visit.ledger, question)
    unknown = not_known(visit.ledger, question, known)
    missing = out_of_reach(question, known)
    began = min((since for since in known.values() if since is not None), default=None)
    too_early = question.at is not None and len(missing) == len(question.jobs)
    after = visit.place("after")
    shown: Sequence[Account] = []
    alone: Sequence[UnmanagedAccount] = []
    tally: dict[tuple[str, str], int] = {}
    more = False
    if question.outside is not None:
        alone, more = _unmanaged_page(visit, question, after) if question.answerable else ([], False)
        said = said or ("" if question.answerable else NOT_ANSWERABLE)
    elif question.at is None:
        shown, more = _page_of(visit, question, after)
    elif not too_early:
        shown, more, tally = _page_then(visit, question, after)
    if not said and question.outside is None and is_cut(visit.ledger, question):
        said = MORE_MATCH
    kind, narrowed = question.filters.kind, bool(question.group or question.who or question.filters.department)
    if question.at is None and not narrowed:
        tally = {(job, str(state)): counts.get((job, kind, state), 0) for job in question.jobs for state in LinkState}
    last = shown[-1] if shown else None
    targets = lookup.targets(jobs)
    return visit.page(
        "access.html.j2",
        question=question,
        said=said,
        unknown=unknown,
        missing=missing,
        todays=TODAYS,
        jobs=jobs,
        targets=targets,
        apps=len({targets[job] for job in question.jobs}),
        totals=Counter({state: sum(tally.get((job, str(state)), 0) for job in question.jobs) for state in LinkState}),
        tally=tally,
        unsure=sum(many for (_, state), many in tally.items() if state == str(None)),
        counts=counts,
        unmanaged={job: [unmanaged.get((job, kind, one), 0) for one in Outside] for job in question.jobs},
        kinds=Kind,
        states=STATES,
        began=began,
        too_early=too_early,
        narrowed=narrowed,
        shown=shown,
        alone=alone,
        more=more,
        after=after,
        next_after=_mark(last.job, last.anchor) if last else _mark(alone[-1].job, alone[-1].target_id) if alone else "",
        known=_with_a_page(visit, alone),
        values={name: visit.param(name) for name in _ASKED} | {"at": _day(visit.param("at"))},
        asked=_query(visit),
        address=entry_address,
    )


def _mark(job: str, key: str) -> str:
    """Where a page of the list ends. A job's name holds no such character; keys may hold any."""
    return f"{job}\x1f{key}"


def _unmanaged_page(visit: Visit, question: AccessQuestion, after: str) -> tuple[list[UnmanagedAccount], bool]:
    """One page of the accounts that belong to no entry, by job and id."""
    job, _, id_ = after.partition("\x1f")
    assert question.outside is not None
    found = visit.ledger.unmanaged.accounts(
        question.jobs, question.filters.kind, question.outside, after=(job, id_), limit=_SHOWN + 1
    )
    return found[:_SHOWN], len(found) > _SHOWN


def _with_a_page(visit: Visit, alone: Sequence[UnmanagedAccount]) -> set[tuple[str, str, str]]:
    """Entries for which some accounts were made and of which anything is known still."""
    entries = {(one.job, str(one.kind), one.made_for) for one in alone if one.made_for is not None}
    return visit.ledger.directory.among(entries)


def _page_of(visit: Visit, question: AccessQuestion, after: str) -> tuple[list[Account], bool]:
    """One page of who has access now, by key and job."""
    job, _, anchor = after.partition("\x1f")
    filters = filters_of(visit.ledger, question)
    found = visit.ledger.lookup.accounts_page(question.jobs, filters, after=(anchor, job), limit=_SHOWN + 1)
    return found[:_SHOWN], len(found) > _SHOWN


def _page_then(
    visit: Visit, question: AccessQuestion, after: str
) -> tuple[list[Account], bool, dict[tuple[str, str], int]]:
    """One page of who had access at a moment, and how many had, by job and state."""
    everybody = sorted(accounts_of(visit.ledger, question), key=lambda one: (one.anchor, one.job))
    tally: dict[tuple[str, str], int] = {}
    for one in everybody:
        tally[one.job, str(one.state)] = tally.get((one.job, str(one.state)), 0) + 1
    job, _, anchor = after.partition("\x1f")
    rest = [one for one in everybody if (one.anchor, one.job) > (anchor, job)] if after else everybody
    return rest[:_SHOWN], len(rest) > _SHOWN, tally


def access_csv(visit: Visit) -> Response:
    """The same as CSV, with the question on top."""
    question, _ = _question(visit)
    lines = csv_lines(_export(visit, question))
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=_attached("access.csv"))


def access_xlsx(visit: Visit) -> Response:
    """The same for Excel."""
    question, _ = _question(visit)
    path = write_excel(islice(_export(visit, question), 1_000_000), heading_row=1)
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    away = BackgroundTask(path.unlink, missing_ok=True)
    return FileResponse(path, media_type=kind, headers=_attached("access.xlsx"), background=away)


def _export(visit: Visit, question: AccessQuestion) -> Iterator[tuple[str, ...]]:
    heading = heading_of(question, now=visit.now)
    notes = [TODAYS] if question.at is not None and question.outside is None else []
    notes += [*([MORE_MATCH] if is_cut(visit.ledger, question) else []), *not_known(visit.ledger, question)]
    return chain(
        [(". ".join([heading, " ".join(notes)]) if notes else heading,), HEADINGS], rows_of(visit.ledger, question)
    )


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


def _question(visit: Visit) -> tuple[AccessQuestion, str]:
    """What is asked for, and what was wrong with it. Raises: HTTPException for those who may read no job."""
    if not visit.who.rights.may_somewhere(Deed.READ):
        raise HTTPException(404)
    jobs, said = visit.jobs(), ""
    wanted = visit.param("job")
    if wanted:
        jobs = [job for job in jobs if job == wanted]
    state = next((one for one in STATES if one == visit.param("state")), None)
    kind = Kind(visit.param("kind")) if visit.param("kind") in set(Kind) else Kind.USER
    at = None
    if day := _day(visit.param("at")):
        try:
            at = datetime.combine(date.fromisoformat(day) + timedelta(days=1), time(), here()).astimezone(UTC)
        except (ValueError, OverflowError):
            said = "There is no such day: this is how it is now."
        if at is not None and at >= visit.now:
            at = None
    elif visit.param("at"):
        said = "That is no date like 2026-01-31: this is how it is now."
    filters = AccountFilters(
        state=state if isinstance(state, LinkState) else None, department=visit.param("department"), kind=kind
    )
    outside = state if isinstance(state, Outside) else None
    return AccessQuestion(jobs, filters, at, visit.param("group"), visit.param("who"), outside), said


def _day(text: str) -> str:
    """A day as 2026-01-31; empty for every other text, which is not repeated: a link may hold any sentence."""
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return ""


def _query(visit: Visit) -> str:
    return query(**{name: visit.param(name) for name in _ASKED})
