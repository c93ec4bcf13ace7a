"""Pages of one job: what it does, its cycles, its plan; what is worked out for a person; and what an operator does."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

from connectors.contract import Action, Kind
from connectors.errors import ProvisorError
from flows.decisions import maintenance
from flows.serve.web.errands import Errand, ErrandKind
from flows.serve.web.prefect_runs import begin_cycle
from flows.serve.web.rights import Deed
from flows.serve.web.spreadsheet import csv_lines
from flows.serve.web.visit import Visit, entry_address, job_address, see_other
from flows.show.history import history_of
from flows.show.log import LOG_COLUMNS, line_row
from flows.show.why_sentence import clause_text
from tasks.history import plain
from tasks.job import Job
from tasks.job.chains import followers_of
from tasks.ledger import RunPurpose, RunRequest
from tasks.pages.board import LOOKS_OF_STATE as STATE_LOOKS
from tasks.pages.board import held_by, needs_of, state_of
from tasks.pages.charts import GROUPS, HEIGHT, WIDTH, changes_over
from tasks.pages.job_page import gauges_of, leavers_of, rules_of, schedule_of
from tasks.pages.sentences import VERBS, cycle_sentence, plural

_CYCLES_SHOWN = 30
_LEFT_ALONE_SHOWN = 50
_REMOVALS = (Action.DISABLE, Action.DELETE)


def job(visit: Visit) -> Response:
    """What a job does, and how close it is to its limits."""
    name = visit.need(Deed.READ, visit.request.path_params["job"])
    file = visit.site.jobs().get(name)
    lookup = visit.ledger.lookup
    board = lookup.boards([name], now=visit.now, cycles_of_each=_CYCLES_SHOWN)[0]
    state = state_of(board, file, now=visit.now)
    held = held_by(one for one in board.waiting if one.action in _REMOVALS)
    gauges = []
    if file is not None and board.cycles:
        day, week = (visit.ledger.removals(name, since=visit.now - timedelta(days=days)) for days in (1, 7))
        gauges = gauges_of(file, board.cycles, held, day, week)
    anchor, sample = _sample(visit, name)
    return visit.page(
        "job.html.j2",
        job=name,
        file=file,
        board=board,
        state=state,
        look=STATE_LOOKS[state],
        needs=needs_of(board, file, now=visit.now),
        gauges=gauges,
        chart=changes_over(list(reversed(board.cycles))),
        groups=list(GROUPS),
        width=WIDTH,
        height=HEIGHT,
        said=cycle_sentence,
        mappings=_mappings(file),
        anchor=anchor,
        sample=sample,
        leavers=leavers_of(file) if file is not None else [],
        schedule=schedule_of(file.schedule) if file is not None else "",
        following=followers_of(name, {one.name: one.after for one in visit.site.jobs().values()}),
        counts=lookup.account_counts([name]),
        versions=_versions(visit, name),
        fingerprint=file.fingerprint() if file is not None else "",
        kinds=Kind,
        may_operate=file is not None and visit.who.rights.may(Deed.OPERATE, name),
    )


def _versions(visit: Visit, name: str) -> list[tuple[str, int, int, datetime, str]]:
    """Versions of the configuration, the newest first, each with what its first cycle did."""
    lookup = visit.ledger.lookup
    versions = lookup.versions(name)
    numbered = lookup.cycles_numbered(name, [first for _, first, _, _ in versions])
    firsts = {one.number: one for one in lookup.standing(list(numbered.values()), visit.now)}
    return [
        (print_, first, last, began, cycle_sentence(firsts[first]) if first in firsts else "")
        for print_, first, last, began in versions
    ]


def _mappings(file: Job | None) -> list[dict[str, object]]:
    """Rules by kind: mappings, matching and scope in words."""
    if file is None:
        return []
    return [
        {
            "kind": str(kind),
            "rules": rules_of(dict(rules.attributes)),
            "matching": [(one.source, one.target) for one in rules.matching],
            "scope": [[clause_text(clause) for clause in group] for group in rules.scope],
        }
        for kind, rules in file.rules.items()
    ]


def _sample(visit: Visit, name: str) -> tuple[str, dict[str, object]]:
    """One person through the mappings, as the last finished cycle wanted them."""
    history = history_of(name)
    kept = history.kept[-1] if history.kept else None
    anchor = visit.param("through") or visit.ledger.directory.anybody(name, Kind.USER)
    if kept is None or not anchor:
        return "", {}
    state = history.read_entry(kept, Kind.USER, anchor)
    frame = state.entries.get(Kind.USER) if state is not None else None
    if state is None or frame is None or anchor not in frame.index:
        return anchor, {}
    hidden = state.redacted.get(Kind.USER, frozenset())
    row = frame.loc[anchor]
    return anchor, {str(path): "redacted" if path in hidden else plain(row[path]) for path in frame.columns}


def cycles(visit: Visit) -> Response:
    """All cycles of a job, the newest first."""
    name = visit.need(Deed.READ, visit.request.path_params["job"])
    before = visit.number("before")
    lookup = visit.ledger.lookup
    found = lookup.standing(lookup.cycles_before(name, before, 51), visit.now)
    return visit.page("cycles.html.j2", job=name, cycles=found[:50], more=len(found) > 50, said=cycle_sentence)


def log_csv(visit: Visit) -> Response:
    """The provisioning log of a job, or of one cycle, as ``provisor log --format csv`` has it."""
    name = visit.need(Deed.READ, visit.request.path_params["job"])
    number = visit.number("cycle")
    chunks = visit.ledger.log_chunks(name, cycle=number)

    def lines() -> Iterator[str]:
        yield from csv_lines([LOG_COLUMNS])
        for chunk in chunks:
            yield from csv_lines(map(line_row, chunk))

    called = f"{name}-log{f'-{number}' if number else ''}.csv"
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(called)}"}
    return StreamingResponse(lines(), media_type="text/csv; charset=utf-8", headers=headers)


# --- what is worked out for a person ---------------------------------------------------------------------------------


def plan_now(visit: Visit) -> Response:
    """A plan: changes nothing."""
    name = visit.need(Deed.OPERATE, visit.request.path_params["job"])
    file = _file(visit, name)
    words = ["plan", "--json", "--", str(file.file)]
    return _begin(visit, ErrandKind.PLAN, name, words)


def ask_why(visit: Visit) -> Response:
    """Why an entry is as it is, step by step: both sides are read, and nothing is written."""
    name, anchor, kind = _entry_of(visit, Deed.FIND)
    return _begin(
        visit, ErrandKind.WHY, name, ["why", "--json", "--", str(_file(visit, name).file), anchor], anchor, kind
    )


def ask_preview(visit: Visit) -> Response:
    """What provisioning an entry now would do; nothing is written."""
    name, anchor, kind = _entry_of(visit, Deed.PROVISION)
    words = ["on-demand", "--plan-only", "--json", "--", str(_file(visit, name).file), anchor]
    return _begin(visit, ErrandKind.PREVIEW, name, words, anchor, kind)


def provision(visit: Visit) -> Response:
    """Provisions one entry now."""
    name, anchor, kind = _entry_of(visit, Deed.PROVISION)
    words = ["on-demand", "--json", "--", str(_file(visit, name).file), anchor]
    return _begin(visit, ErrandKind.PROVISION, name, words, anchor, kind)


def _entry_of(visit: Visit, deed: Deed) -> tuple[str, str, str]:
    """Job, anchor and kind of an entry that is known. Raises: HTTPException."""
    name, kind = visit.need(deed, visit.field("job")), visit.field("kind")
    anchor = next(iter(visit.keys("anchor")), "")
    if kind not in set(Kind) or not anchor:
        raise HTTPException(400)
    held = visit.ledger.lookup.held([name], Kind(kind), anchor, limit=1)[0]
    known = visit.ledger.directory.entries(name, Kind(kind), [anchor])
    if not known and held.link is None and not held.lines:
        raise HTTPException(404)
    return name, anchor, kind


def _file(visit: Visit, name: str) -> Job:
    file = visit.site.jobs().get(name)
    if file is None:
        raise HTTPException(404)
    return file


def _begin(visit: Visit, kind: ErrandKind, name: str, words: list[str], anchor: str = "", of: str = "") -> Response:
    begun = visit.site.errands.begin(
        kind, name, words, login=visit.who.login, now=visit.now, anchor=anchor, kind_of_entry=of
    )
    return see_other(f"/errands/{begun.id}")


_TEMPLATES = {
    ErrandKind.PLAN: "plan.html.j2",
    ErrandKind.WHY: "why.html.j2",
    ErrandKind.PREVIEW: "on_demand.html.j2",
    ErrandKind.PROVISION: "on_demand.html.j2",
}


def errand(visit: Visit) -> Response:
    """What was worked out, or that it still is."""
    found = visit.site.errands.find(visit.request.path_params["id"], login=visit.who.login, now=visit.now)
    if found is None:
        raise HTTPException(404)
    deed = {ErrandKind.PLAN: Deed.OPERATE, ErrandKind.WHY: Deed.FIND}.get(found.kind, Deed.PROVISION)
    visit.need(deed, found.job)
    if not found.ended:
        return visit.page("under_way.html.j2", errand=found)
    document = visit.site.errands.document(found)
    if document is None:
        said = visit.site.errands.complaint(found)
        return visit.page("gone_wrong.html.j2", errand=found, complaint=said)
    groups = _by_action(found, document)
    return visit.page(
        _TEMPLATES[found.kind],
        errand=found,
        document=document,
        address=entry_address,
        groups=groups,
        known=_with_a_page(visit, found.job, groups, document),
        left_alone=_LEFT_ALONE_SHOWN,
    )


def _with_a_page(
    visit: Visit, job: str, groups: Sequence[Mapping[str, Any]], document: Mapping[str, Any]
) -> Collection[tuple[str, str]]:
    """Kind and anchor of those entries of a plan that are known: joiners have no page yet."""
    if not groups:
        return ()
    some = [one for group in groups for one in group["shown"]] + document["held"][:_LEFT_ALONE_SHOWN]
    return visit.ledger.directory.names(job, ((one["kind"], one["anchor"]) for one in some))


def _by_action(found: Errand, document: dict[str, object]) -> list[dict[str, object]]:
    """Changes of a plan, those of one action together; what takes access away first."""
    if found.kind is not ErrandKind.PLAN:
        return []
    order = (
        Action.DELETE,
        Action.DISABLE,
        Action.REMOVE_MEMBERS,
        Action.CREATE,
        Action.ENABLE,
        Action.UPDATE,
        Action.ADD_MEMBERS,
    )
    groups: list[dict[str, object]] = []
    for held in (True, False):
        changes = document["staged" if held else "changes"]
        assert isinstance(changes, list)
        for action, kind in product(order, Kind):
            some = [one for one in changes if one["action"] == action and one["kind"] == kind]
            if some:
                what = _what_is_done(action, kind, some)
                groups.append({"what": what, "held": held, "count": len(some), "shown": some[:100]})
    return groups


def _what_is_done(action: Action, kind: Kind, changes: Sequence[Mapping[str, Any]]) -> str:
    """Accounts are counted as accounts, memberships as memberships: ``Remove 748 members from 41 groups``."""
    count = f"{len(changes):,} {plural(kind, len(changes))}"
    if action not in (Action.ADD_MEMBERS, Action.REMOVE_MEMBERS):
        return f"{VERBS[action]} {count}"
    members = sum(len(one.get("members") or ()) for one in changes)
    to = "to" if action is Action.ADD_MEMBERS else "from"
    return f"{VERBS[action]} {members:,} {'member' if members == 1 else 'members'} {to} {count}"


# --- what an operator does -------------------------------------------------------------------------------------------


def run_now(visit: Visit) -> Response:
    """Begins a cycle."""
    name = visit.need(Deed.OPERATE, visit.request.path_params["job"])
    try:
        begin_cycle(visit.ledger, RunRequest(name, visit.who.login, RunPurpose.RUN), now=visit.now)
    except ProvisorError as error:
        return see_other(visit.note_at(job_address(name), str(error)))
    return see_other(visit.note_at(job_address(name), "A cycle begins."))


def pause(visit: Visit) -> Response:
    """Lets no cycle begin."""
    name = visit.need(Deed.OPERATE, visit.request.path_params["job"])
    maintenance.pause(visit.ledger, name, who=visit.who.identity, why=visit.field("reason")[:500], now=visit.now)
    return see_other(job_address(name))


def resume(visit: Visit) -> Response:
    """Lets cycles begin again."""
    name = visit.need(Deed.OPERATE, visit.request.path_params["job"])
    maintenance.resume(visit.ledger, name, now=visit.now)
    return see_other(job_address(name))
