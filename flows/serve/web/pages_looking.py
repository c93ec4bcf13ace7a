"""Pages that only look: overview, search, persons and groups, cycles."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, time
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from connectors.contract import Kind
from flows.serve.web.rendering import here, query
from flows.serve.web.rights import Deed
from flows.serve.web.visit import Visit, belongings_address, entry_address, job_address
from flows.serve.web.way import way_of
from flows.show.cycle_lines import read_cycle_lines, with_member_names
from flows.show.history import history_of
from tasks.history import DesiredState, History, Kept, plain
from tasks.ledger import Cycle, CycleState, LogAction, LogStatus, is_undecided
from tasks.pages.board import LOOKS_OF_STATE, JobState, Need, overview_of
from tasks.pages.charts import GROUPS
from tasks.pages.cycle_page import section_of
from tasks.pages.held_page import question_id
from tasks.pages.person import person_page
from tasks.pages.sentences import DONE, LOOKS

_JOBS_SHOWN = 200
"""Rows of the overview; its figures are about all jobs."""
_ROWS = 50
_FIRST = 20
"""Rows of a section that a page begins with."""
_LOOKED_BACK = 20
"""States that are read to find one in which an entry was wanted."""
_GROUPS_SHOWN = 200

FIGURES = {
    "created": "created",
    "updated": "changed",
    "enabled": "enabled",
    "disabled": "disabled",
    "deleted": "deleted",
    "members_added": "memberships added",
    "members_removed": "memberships removed",
    "failed": "failed",
    "cycles": "cycles since midnight",
}


def overview(visit: Visit) -> Response:
    """Which job needs a person, and how all of them stand."""
    jobs = visit.jobs(Deed.FIND)
    readable = set(visit.jobs())
    boards = visit.ledger.lookup.boards(jobs, now=visit.now, waiting=visit.waiting())
    found = overview_of(boards, visit.site.jobs(), now=visit.now)
    show = visit.param("show")
    rows = found.rows
    match show:
        case "need":
            rows = [row for row in rows if row.solid]
        case "running":
            rows = [row for row in rows if row.state is JobState.RUNNING]
        case "paused":
            rows = [row for row in rows if row.state is JobState.PAUSED]
    figures = None
    if readable:
        zone = here()
        midnight = datetime.combine(visit.now.astimezone(zone).date(), time(), zone)
        total = visit.ledger.lookup.figures_since(sorted(readable), midnight)
        figures = [(text, total[name]) for name, text in FIGURES.items()]
    return visit.page(
        "overview.html.j2",
        overview=found,
        shown=rows[:_JOBS_SHOWN],
        more=max(len(rows) - _JOBS_SHOWN, 0),
        show=show,
        figures=figures,
        readable=readable,
        looks=LOOKS_OF_STATE,
        groups=list(GROUPS),
        links=_links(readable),
    )


def _links(readable: set[str]) -> dict[str, Callable[[Need], str]]:
    """The page that a job's state links to, for a user who may open it."""

    def of(*more: str, folder: str = "") -> Callable[[Need], str]:
        def address(need: Need) -> str:
            if need.job not in readable:
                return ""
            return (
                f"/{folder}/{quote(need.job, safe='')}{query(item=need.question)}"
                if folder
                else job_address(need.job, *more)
            )

        return address

    return {"approvals": of(folder="approvals"), "job": of(), "cycle": of("last"), "failures": of("failures"), "": of()}


def search(visit: Visit) -> Response:
    """Where a person or a group is."""
    text = visit.param("q")
    jobs = visit.jobs(Deed.FIND)
    found = visit.ledger.directory.search(text, jobs) if text else None
    if found is not None and not visit.by_htmx and not found.more:
        keys = {(hit.kind, hit.anchor) for hit in found.hits}
        hit = found.hits[0] if found.hits else None
        if hit is not None and len(keys) == 1 and text in (hit.anchor, hit.login):
            return RedirectResponse(entry_address(hit.job, hit.kind, hit.anchor), 303)
    people: dict[tuple[str, str, str], list[object]] = {}
    for hit in found.hits if found is not None else ():
        people.setdefault((hit.kind, hit.anchor, hit.name), []).append(hit)
    return visit.page(
        "search.html.j2", text=text, found=found, people=list(people.values()), jobs=jobs, address=entry_address
    )


def person(visit: Visit) -> Response:
    """Why a person has what they have."""
    return _entry(visit, Kind.USER)


def group(visit: Visit) -> Response:
    """Who is in a group, and why it is as it is."""
    return _entry(visit, Kind.GROUP)


def _entry(visit: Visit, kind: Kind) -> Response:
    job, anchor = visit.need(Deed.FIND, visit.request.path_params["job"]), visit.key_of_path()
    lookup, files = visit.ledger.lookup, visit.site.jobs()
    mine = {hit.job: hit for hit in visit.ledger.directory.in_jobs(visit.jobs(Deed.FIND), kind, anchor)}
    last = lookup.last_seen(sorted({job, *mine}))
    # The same key means the same person only where it is read from the same source.
    source = last[job].source if job in last else ""
    together = [job, *(name for name in sorted(mine) if name != job and name in last and last[name].source == source)]
    elsewhere = [hit for name, hit in mine.items() if name not in together]
    asked = lookup.held(together, kind, anchor, limit=60)
    lines = iter(with_member_names(visit.ledger, [line for one in asked for line in one.lines]))
    held = [replace(one, lines=[next(lines) for _ in one.lines]) for one in asked]
    known = {name: mine[name] for name in together if name in mine}
    if not known and not any(one.link or one.lines or one.escrow or one.staged for one in held):
        raise HTTPException(404)
    found = person_page(kind, anchor, known, held, last, files, now=visit.now)
    manager = found.hit.manager if found.hit is not None else ""
    managers = visit.ledger.directory.entries(job, Kind.USER, [manager]) if manager else {}
    readable = set(visit.jobs())
    can = [name for name in together if name in files and visit.who.rights.may(Deed.PROVISION, name)]
    return visit.page(
        "person.html.j2",
        page=found,
        kind=kind,
        job=job,
        anchor=anchor,
        elsewhere=elsewhere,
        belongings=belongings_address(job, kind, anchor),
        way=way_of(visit.ledger, files, set(visit.jobs(Deed.FIND)), kind, job, anchor),
        manager=managers.get(manager),
        can=can,
        readable=readable,
        asked={
            one.job: question_id(waits)
            for one in held
            for waits in one.staged[::-1]
            if one.job in readable and is_undecided(waits, visit.now)
        },
        files=files,
        address=entry_address,
        done=DONE,
        looks=LOOKS,
    )


def belongings(visit: Visit) -> Response:
    """What an entry should be as the last finished cycle wanted it: its attributes and memberships."""
    job, anchor = visit.need(Deed.FIND, visit.request.path_params["job"]), visit.key_of_path()
    kind = Kind.USER if visit.request.path_params["kind"] == "user" else Kind.GROUP
    history, ended = history_of(job), None
    kept, state = _last_wanted(history, kind, anchor)
    if kept is not None and kept is not history.kept[-1]:
        ended = kept.until + 1
    values: list[tuple[str, object]] = []
    others: list[tuple[str, str]] = []
    total = 0
    if state is not None:
        frame = state.entries.get(kind)
        hidden = state.redacted.get(kind, frozenset())
        if frame is not None and anchor in frame.index:
            row = frame.loc[anchor]
            values = [
                (str(path), "redacted" if path in hidden else plain(row[path]))
                for path in frame.columns
                if not str(path).startswith("provisor:") and plain(row[path]) is not None
            ]
        side, of_kind = ("group", Kind.GROUP) if kind is Kind.USER else ("member", Kind.USER)
        anchors = [str(one) for one in state.members[side].tolist()]
        total = len(anchors)
        known = visit.ledger.directory.entries(job, of_kind, anchors[:_GROUPS_SHOWN])
        addresses = {one: entry_address(job, of_kind, one) for one in known}  # others have no page
        others = sorted(
            ((known[one].name if one in known else one, addresses.get(one, "")) for one in anchors[:_GROUPS_SHOWN]),
            key=lambda other: other[0].casefold(),
        )
    return visit.page(
        "belongings.html.j2",
        kept=kept,
        ended=ended,
        values=values,
        others=others,
        total=total,
        kind=kind,
        job=job,
    )


def _last_wanted(history: History, kind: Kind, anchor: str) -> tuple[Kept | None, DesiredState | None]:
    """The last state in which the entry was wanted: somebody who has left, or whose removal waits, had something."""
    for kept in history.kept[: -_LOOKED_BACK - 1 : -1]:
        state = history.read_entry(kept, kind, anchor)
        frame = state.entries.get(kind) if state is not None else None
        if frame is not None and anchor in frame.index:
            return kept, state
    return (history.kept[-1] if history.kept else None), None


# --- cycles ----------------------------------------------------------------------------------------------------------


def last_cycle(visit: Visit) -> Response:
    """The way to a job's newest cycle."""
    job = visit.need(Deed.READ, visit.request.path_params["job"])
    last = visit.ledger.last_cycle(job)
    if last is None:
        raise HTTPException(404)
    return RedirectResponse(job_address(job, "cycles", str(last.number)), 303)


def failures(visit: Visit) -> Response:
    """Who is in escrow, and what to do about it."""
    job = visit.need(Deed.READ, visit.request.path_params["job"])
    escrows = visit.ledger.escrows(job)
    names = visit.ledger.directory.names(job, ((one.kind, one.anchor) for one in escrows[:500]))
    return visit.page(
        "failures.html.j2", job=job, escrows=escrows[:500], total=len(escrows), names=names, address=entry_address
    )


def cycle(visit: Visit) -> Response:
    """What a cycle did to whom, why, and who allowed it."""
    job = visit.need(Deed.READ, visit.request.path_params["job"])
    found = visit.ledger.cycle_numbered(job, visit.numbered("number"))
    if found is None:
        raise HTTPException(404)
    [found] = visit.ledger.lookup.standing([found], visit.now)
    text, wanted = visit.param("q"), visit.param("action")
    failed = visit.param("failed") == "1"
    if wanted or text or failed:
        return _part(visit, found, wanted, text, failed=failed)
    content = read_cycle_lines(visit.ledger, found, first=_FIRST, now=visit.now)
    older, newer = visit.ledger.lookup.beside(found)
    return visit.page(
        "cycle.html.j2",
        page=content.page,
        names=content.names,
        cycle=found,
        job=job,
        newer=newer,
        older=older,
        still_waits=found.state is CycleState.STAGED and bool(visit.waiting().get(job)),
        figures=[(text, found.counts.get(name, 0)) for name, text in FIGURES.items() if name != "cycles"],
        failed_total=content.failed,
        files=_files(visit, job, found.number),
        flow_run=_flow_run(visit, found),
        address=entry_address,
    )


def _flow_run(visit: Visit, found: Cycle) -> str:
    """Where the run of a cycle is in Prefect's UI; empty where it is not known."""
    return f"{visit.site.prefect}/runs/flow-run/{found.flow_run_id}" if visit.site.prefect and found.flow_run_id else ""


def _files(visit: Visit, job: str, number: int) -> list[tuple[str, str]]:
    kept = []
    for folder, text in (("reports", "Report as a single file"), ("docs", "Data checks")):
        if (visit.site.state / folder / job / f"{number}.html").is_file():
            kept.append((text, f"/{folder}/{job}/{number}.html"))
    return kept


def _part(visit: Visit, found: Cycle, wanted: str, text: str, *, failed: bool) -> Response:
    """Lines of a cycle that were done in one way, or failed, or have a text in them; a page at a time."""
    if wanted and wanted not in set(LogAction):
        raise HTTPException(404)
    actions = [LogAction(wanted)] if wanted else []
    after = visit.number("after") or 0
    status, but = LogStatus.FAILURE if failed else None, LogStatus.FAILURE if wanted and not failed else None
    lines = visit.ledger.lookup.lines(
        found, actions=actions, status=status, but=but, text=text, after=after, limit=_ROWS + 1
    )
    more = len(lines) > _ROWS
    lines = with_member_names(visit.ledger, lines[:_ROWS])
    section = section_of(actions[0], len(lines), lines, more=more) if actions else None
    return visit.page(
        "cycle_part.html.j2",
        cycle=found,
        job=found.job,
        lines=lines,
        names=visit.ledger.directory.names(found.job, ((line.kind, line.anchor) for line in lines)),
        section=section,
        text=text,
        wanted=wanted,
        failed=failed,
        further=query(action=wanted, failed=int(failed), q=text, after=lines[-1].id) if more else "",
        done=DONE,
        looks=LOOKS,
        address=entry_address,
    )
