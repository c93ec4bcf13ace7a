"""Pages of approvals: what waits, who would lose what, and the decision, made by the code of ``provisor approve``."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import quote

from starlette.responses import Response

from connectors.contract import Kind
from connectors.errors import ProvisorError
from flows.decisions.staged import DecisionError, Identity, decide_staged, parse_until, undecided
from flows.serve.web.prefect_runs import after_decision
from flows.serve.web.rendering import query
from flows.serve.web.rights import Deed
from flows.serve.web.visit import Visit, entry_address, see_other
from tasks.ledger import Cycle, Guarded, Hit, Staged, StagedState
from tasks.pages.board import held_sentence
from tasks.pages.held_page import (
    ROWS,
    About,
    Chosen,
    Question,
    called,
    chosen_of,
    decision_sentence_of,
    facets_of,
    headline_of,
    loss_of,
    matching,
    must_type,
    question_id,
    questions_of,
    unusual_of,
    usual_of,
    within_of,
)
from tasks.pages.sentences import named

_DECIDED_SHOWN = 8
_NAMED = 4
"""Entries whose names may stand for all."""


_NAMED_AT_CONFIRMING = 200
"""Entries that are named before they are decided about."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with what its pages need."""

    question: Question
    questions: list[Question]
    """All that wait in the job."""
    cycles: list[Cycle]

    @property
    def total(self) -> int | None:
        """Accounts that there are."""
        return next((one.target_count for one in self.cycles if one.target_count), None)

    @property
    def guarded(self) -> Guarded:
        """As the ledger is asked for it."""
        first = self.question.first
        return Guarded(self.question.job, first.kind, first.action, first.guard)

    def known(self, visit: Visit, some: Sequence[Staged]) -> dict[str, Hit]:
        """What people know some of the entries by."""
        first = self.question.first
        return visit.ledger.directory.entries(self.question.job, first.kind, {one.anchor for one in some})


def inbox(visit: Visit) -> Response:
    """What waits: for the person who looks, and for others."""
    jobs = visit.jobs()
    waiting = {job: some for job, some in visit.waiting().items() if job in jobs}
    mine = set(visit.jobs(Deed.DECIDE))
    entries = []
    for job, some in waiting.items():
        last = visit.ledger.last_cycle(job)
        for one in some:
            names, more = named(one.names, one.entries)
            entries.append(
                {
                    "job": job,
                    "mine": job in mine,
                    "what": held_sentence(job, one, last),
                    "names": names,
                    "more": more,
                    "why": one.guard,
                    "since": one.since,
                    "count": one.count,
                    "id": question_id(one),
                }
            )
    entries.sort(key=lambda entry: (not entry["mine"], entry["since"]))
    return visit.page(
        "inbox.html.j2",
        entries=entries,
        decided=visit.ledger.lookup.decided(jobs, visit.now, limit=_DECIDED_SHOWN),
        sentence=held_sentence,
        done=visit.param("done"),
        done_job=visit.param("job"),
        count=visit.param("count"),
        began=visit.param("began"),
    )


def item(visit: Visit) -> Response:
    """Who would lose what, and should they?"""
    job = visit.need(Deed.READ, visit.request.path_params["job"])
    return _show(
        visit, _asked(visit, job, visit.param("item")), job, visit.param("q"), visit.param("after"), frozenset()
    )


def _asked(visit: Visit, job: str, id_: str) -> Asked | None:
    questions = questions_of(job, undecided(visit.ledger, job, visit.now))
    question = next((one for one in questions if one.id == id_), None) if id_ else next(iter(questions), None)
    if question is None:
        return None
    return Asked(question, questions, visit.ledger.cycles(job, limit=30))


def _show(
    visit: Visit,
    asked: Asked | None,
    job: str,
    text: str,
    after: str,
    ticked: frozenset[str],
    *,
    said: str = "",
    status: int = 200,
) -> Response:
    if asked is None:
        questions = questions_of(job, undecided(visit.ledger, job, visit.now))
        return visit.page("nothing_waits.html.j2", job=job, questions=questions, said=said, headline=headline_of)
    question = asked.question
    found = sorted(_matching(visit, asked, text), key=lambda one: one.anchor)
    rest = [one for one in found if one.anchor > after]
    shown = rest[:ROWS]
    lookup, directory, first = visit.ledger.lookup, visit.ledger.directory, question.first
    left = lookup.left_behind(asked.guarded, visit.now) if first.kind is Kind.USER else {}
    known = asked.known(visit, [*shown, *question.items[:_NAMED]])
    known |= directory.entries(job, Kind.USER, set(sorted(left)[:_NAMED]))
    members = _members(visit, question, shown)
    files = visit.site.jobs()
    names, more = named([called(one, known) for one in question.items[:_NAMED]], len(question.items))
    return visit.page(
        "approval.html.j2",
        status=status,
        job=job,
        said=said,
        question=question,
        questions=asked.questions,
        headline=headline_of,
        title=headline_of(question, asked.total),
        names=names,
        more=more,
        loss=loss_of(question.first),
        until=within_of(files.get(job), question.items),
        facets=facets_of(lookup.in_common(asked.guarded, visit.now)),
        unusual=unusual_of(question.items, left, known, asked.cycles),
        usual=usual_of(asked.cycles, question.first.action),
        led=directory.led_by(job, [one.anchor for one in shown]) if first.kind is Kind.USER else {},
        shown=shown,
        known=known,
        members=members,
        found=len(found),
        place=len(found) - len(rest),
        text=text,
        after=after,
        next_after=shown[-1].anchor if len(rest) > ROWS else "",
        ticked=ticked,
        may_decide=visit.who.rights.may(Deed.DECIDE, job),
        cycle=next((one for one in asked.cycles if one.id == question.first.cycle_id), None),
        address=entry_address,
        about=About,
        called=called,
    )


def _matching(visit: Visit, asked: Asked, text: str) -> list[Staged]:
    """Those of a question in which a text is found."""
    items = asked.question.items
    return matching(items, text, visit.ledger.lookup.held_texts(asked.guarded, visit.now)) if text else list(items)


def _members(visit: Visit, question: Question, shown: list[Staged]) -> dict[str, str]:
    """Names of members that would be removed, by their ids in the target."""
    ids = sorted({member for one in shown for member in one.members[:20]})
    if not ids:
        return {}
    anchors = visit.ledger.anchors(question.job, Kind.USER, ids)
    known = visit.ledger.directory.entries(question.job, Kind.USER, set(anchors.values()))
    return {id_: known[anchor].name for id_, anchor in anchors.items() if anchor in known}


# --- deciding --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to be decided."""

    chosen: Chosen
    approve: bool
    until: datetime | None
    reason: str


def ask(visit: Visit) -> Response:
    """The sentence that says what will happen; or another page of the list, with the ticks kept."""
    job = visit.need(Deed.DECIDE, visit.request.path_params["job"])
    asked = _asked(visit, job, visit.field("item"))
    ticked = frozenset(visit.form.get("anchor") or ())
    text = visit.field("q")
    if asked is None:
        return _show(visit, None, job, "", "", frozenset(), said="This was decided meanwhile, or is no longer wanted.")
    if visit.field("turn"):
        turned = visit.field("turn")
        return _show(visit, asked, job, text, turned.removeprefix("after:") if turned != "search" else "", ticked)
    try:
        wish, some = _wish(visit, asked)
    except DecisionError as error:
        return _show(visit, asked, job, text, visit.field("after"), ticked, said=str(error), status=422)
    return _confirm(visit, asked, wish, some)


def _confirm(visit: Visit, asked: Asked, wish: Wish, some: list[Staged], said: str = "") -> Response:
    question, known = asked.question, asked.known(visit, some[:_NAMED_AT_CONFIRMING])
    return visit.page(
        "confirm.html.j2",
        status=422 if said else 200,
        said=said,
        job=question.job,
        question=question,
        wish=wish,
        some=some,
        sentence=decision_sentence_of(question, some, known, approve=wish.approve, until=wish.until),
        must_type=must_type(len(some), asked.total),
        verb=headline_of(Question(question.job, some), None),
        known=known,
        listed=_NAMED_AT_CONFIRMING,
        called=called,
        digest=visit.field("digest") or question.digest,
        until=visit.field("until"),
        back=f"/approvals/{quote(question.job, safe='')}{query(item=question.id)}",
    )


def decide(visit: Visit) -> Response:
    """Writes the decision down, and begins the cycle that carries it out."""
    job = visit.need(Deed.DECIDE, visit.request.path_params["job"])
    asked = _asked(visit, job, visit.field("item"))
    if asked is None:
        return _show(visit, None, job, "", "", frozenset(), said="This was decided meanwhile, or is no longer wanted.")
    try:
        wish, some = _wish(visit, asked)
        if must_type(len(some), asked.total) and visit.field("number").replace(",", "") != str(len(some)):
            return _confirm(visit, asked, wish, some, f"Type the number {len(some)} to say that you mean all of them.")
        decided = decide_staged(
            visit.ledger,
            job,
            StagedState.APPROVED if wish.approve else StagedState.REJECTED,
            items={one.key for one in some},
            until=wish.until,
            who=visit.who.identity,
            identity=Identity(visit.who.identity, visit.who.login),
            why=wish.reason,
            now=visit.now,
        )
    except DecisionError as error:
        return _show(visit, asked, job, "", "", frozenset(), said=str(error), status=422)
    try:
        after_decision(
            job, approved=wish.approve, who=visit.who.login, left=bool(undecided(visit.ledger, job, visit.now))
        )
    except (ProvisorError, OSError):
        began = False
    else:
        began = wish.approve
    done = "approved" if wish.approve else "rejected"
    return see_other(f"/approvals{query(done=done, count=len(decided), job=job, began='1' if began else '')}")


def _wish(visit: Visit, asked: Asked) -> tuple[Wish, list[Staged]]:
    """What the form says, and whom it is about. Raises: DecisionError."""
    question = asked.question
    if visit.field("digest") != question.digest:
        raise DecisionError(
            "What waits has changed since you looked: nothing was decided. Look again; this is how it is now."
        )
    about = visit.field("about")
    if about not in set(About):
        raise DecisionError("Say about whom you decide.")
    chosen = Chosen(About(about), frozenset(visit.form.get("anchor") or ()), visit.field("q"))
    some = _matching(visit, asked, chosen.text) if chosen.about is About.FOUND else chosen_of(question.items, chosen)
    if not some:
        raise DecisionError("Nobody is selected: tick somebody, or decide about all.")
    decision = visit.field("decision")
    if decision not in ("approve", "reject"):
        raise DecisionError("Say what you decide: approve or reject.")
    reason = visit.field("reason")[:2000]
    if not reason:
        raise DecisionError("Give a reason: it is kept with your name, and auditors read it.")
    until = _until(visit.field("until")) if decision == "reject" else None
    return Wish(chosen, decision == "approve", until, reason), some


def _until(text: str) -> datetime | None:
    if not text:
        return None
    try:
        date.fromisoformat(text)
        return parse_until(text)
    except (ValueError, OverflowError):
        raise DecisionError(f"{text} is no date like 2026-12-31.") from None
