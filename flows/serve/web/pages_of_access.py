"""Pages of access: who has, or had, access to what."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain, islice
from urllib.parse import quote

from starlette.background import BackgroundTask
from starlette.responses import FileResponse, Response, StreamingResponse

from connectors.contract import Kind
from flows.serve.web.rendering import here, query
from flows.serve.web.spreadsheet import csv_lines, write_excel
from flows.serve.web.visit import Visit, entry_address
from flows.show.access import HEADINGS, AccessQuestion, accounts_of, heading_of, rows_of, target_of
from tasks.ledger import Account, AccountFilters, LinkState

_SHOWN = 50


def access(visit: Visit) -> Response:
    """Who has, or had, access to what."""
    question, said = _question(visit)
    jobs = visit.jobs()
    lookup = visit.ledger.lookup
    counts = lookup.account_counts(jobs)
    began = lookup.began(jobs)
    too_early = question.at is not None and (began is None or question.at < began)
    after = visit.param("after")
    shown: list[Account] = []
    tally: dict[tuple[str, LinkState], int] = {}
    more = False
    if not too_early:
        if question.at is None and not question.group:
            shown, more = _page_of(visit, question, after)
        else:
            everybody = list(accounts_of(visit.ledger, question))
            for one in everybody:
                tally[one.job, one.state] = tally.get((one.job, one.state), 0) + 1
            rest = sorted(everybody, key=lambda one: (one.anchor, one.job))
            rest = [one for one in rest if (one.anchor, one.job) > tuple(after.split("\x1f", 1))] if after else rest
            shown, more = rest[:_SHOWN], len(rest) > _SHOWN
    targets = {job: target_of(visit.ledger, job) for job in jobs}
    kind = question.filters.kind
    if question.at is None and not question.group:
        tally = {(job, state): counts.get((job, kind, state), 0) for job in question.jobs for state in LinkState}
    return visit.page(
        "access.html.j2",
        question=question,
        said=said,
        jobs=jobs,
        targets=targets,
        tally=tally,
        counts=counts,
        kinds=Kind,
        states=LinkState,
        began=began,
        too_early=too_early,
        shown=shown,
        more=more,
        after=after,
        next_after=f"{shown[-1].anchor}\x1f{shown[-1].job}" if more else "",
        values={name: visit.param(name) for name in ("at", "job", "group", "department", "state", "kind")},
        asked=_query(visit),
        address=entry_address,
    )


def _page_of(visit: Visit, question: AccessQuestion, after: str) -> tuple[list[Account], bool]:
    """One page of who has access now, by key and job."""
    anchor, _, job = after.partition("\x1f")
    found: list[Account] = []
    for name in question.jobs:
        # Of the key at which the last page ended the later jobs are still to come.
        start = anchor if not anchor or name <= job else _just_before(anchor)
        found += visit.ledger.lookup.accounts(name, question.filters, after=start, limit=_SHOWN + 1)
    found.sort(key=lambda one: (one.anchor, one.job))
    return found[:_SHOWN], len(found) > _SHOWN


def _just_before(text: str) -> str:
    """The largest text that is smaller than a text, for keys."""
    return text[:-1] + chr(max(ord(text[-1]) - 1, 0)) + "\U0010ffff" if text else ""


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
    return chain([(heading_of(question, now=visit.now),), HEADINGS], rows_of(visit.ledger, question))


def _attached(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}"}


def _question(visit: Visit) -> tuple[AccessQuestion, str]:
    """What is asked for, and what was wrong with it."""
    jobs, said = visit.jobs(), ""
    wanted = visit.param("job")
    if wanted:
        jobs = [job for job in jobs if job == wanted]
    state = LinkState(visit.param("state")) if visit.param("state") in set(LinkState) else None
    kind = Kind(visit.param("kind")) if visit.param("kind") in set(Kind) else Kind.USER
    at = None
    if text := visit.param("at"):
        try:
            at = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), here()).astimezone(UTC)
        except (ValueError, OverflowError):
            said = f"{text} is no date like 2026-01-31: this is how it is now."
        if at is not None and at >= visit.now:
            at = None
    filters = AccountFilters(state=state, department=visit.param("department"), kind=kind)
    return AccessQuestion(jobs, filters, at, visit.param("group")), said


def _query(visit: Visit) -> str:
    return query(**{name: visit.param(name) for name in ("at", "job", "group", "department", "state", "kind")})
