"""Pages of approvals: what waits, who would lose what, and the decision, made by the code of ``provisor approve``."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from starlette.responses import Response

from connectors.contract import Kind
from connectors.errors import ProvisorError
from flows.decisions.persons import DecisionError, Identity
from flows.decisions.staged import (
    CHANGED_SINCE,
    OvertakenError,
    decide_staged,
    decided_since,
    digest_of_shown,
    undecided,
)
from flows.decisions.until import parse_until, refuse_until
from flows.serve.web.prefect_runs import after_decision
from flows.serve.web.rendering import query
from flows.serve.web.rights import Deed
from flows.serve.web.visit import Visit, entry_address, see_other
from flows.show.cycle_lines import member_names
from tasks.ledger import Cycle, Guarded, Hit, Staged, StagedState, Waiting, place_search
from tasks.pages.board import accounts_in_target, held_sentence
from tasks.pages.cycle_page import what_it_holds
from tasks.pages.held_page import (
    ROWS,
    About,
    Chosen,
    called,
    decision_sentence_of,
    facets_of,
    headline_of,
    loss_of,
    must_type,
    question_about,
    question_id,
    together,
    unusual_of,
    usual_of,
    within_of,
)
from tasks.pages.sentences import named

_DECIDED_SHOWN = 8
_NAMED_AT_CONFIRMING = 200
"""Entries that are named before they are decided about."""
_MANAGERS_NAMED = 4
_MEMBERS_NAMED = 20
"""Of each group."""
_GATHERED_AT_MOST = 32
_CYCLES_LOOKED_AT = 30
"""The newest, in which the number of all accounts is looked for: not every cycle counts them."""
_DIGITS_OF_A_MOMENT = 10
_GONE = "This no longer waits; nothing was decided now."
_NOT_AS_NAMED = (
    "Those you decide about are no longer those that the last page named: nothing was decided. Look again; this is how "
    "it is now."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with what its pages need. Ten thousand entries may be in it: the database counts them."""

    job: str
    question: Waiting
    questions: Sequence[Waiting]
    """All that wait in the job."""
    cycles: list[Cycle]
    guarded: Guarded
    """The question as the ledger is asked for it."""
    seal: str
    """A digest of exactly what is asked."""

    @property
    def id(self) -> str:
        """What the question is called in addresses."""
        return question_id(self.question)

    @property
    def total(self) -> int | None:
        """Accounts that there are."""
        return accounts_in_target(self.cycles)

    def known(self, visit: Visit, some: Sequence[Staged]) -> dict[str, Hit]:
        """What people know some of the entries by."""
        return visit.ledger.directory.entries(self.job, self.question.kind, {one.anchor for one in some})


def inbox(visit: Visit) -> Response:
    """What waits: for the person who looks, and for others."""
    jobs = visit.jobs()
    waiting = {job: some for job, some in visit.waiting().items() if job in jobs}
    mine = set(visit.jobs(Deed.DECIDE))
    entries = []
    latest = visit.ledger.lookup.latest(list(waiting), _CYCLES_LOOKED_AT)
    for job, some in waiting.items():
        total = accounts_in_target(latest[job])
        for one in some:
            names, more = named(one.names, one.entries)
            entries.append(
                {
                    "job": job,
                    "mine": job in mine,
                    "what": held_sentence(job, one, total),
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
    )


def item(visit: Visit) -> Response:
    """Who would lose what, and should they?"""
    job = visit.need(Deed.READ, visit.request.path_params["job"])
    return _show(
        visit, _asked(visit, job, visit.param("item")), job, visit.param("q"), visit.place("after"), frozenset()
    )


def _asked(visit: Visit, job: str, id_: str) -> Asked | None:
    questions = visit.waiting().get(job, ())
    question = next((one for one in questions if question_id(one) == id_), None) if id_ else next(iter(questions), None)
    if question is None:
        return None
    guarded = Guarded(job, question.kind, question.action, question.guard)
    seal = visit.ledger.lookup.seal(guarded, visit.now)
    return Asked(job, question, questions, visit.ledger.cycles(job, limit=_CYCLES_LOOKED_AT), guarded, seal)


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What is said of all entries of a question, whatever page of them is looked at."""

    common: dict[str, Counter[str]]
    left: dict[str, int]
    """How many people each manager among them leads who stay."""


def _gathered(visit: Visit, asked: Asked) -> _Gathered:
    """Kept while the same is asked, the job holds the same, and no cycle has run: somebody who reads turns many pages.

    Who stays depends on the other questions of the job too, and on what was decided about them.
    """
    kept = visit.site.gathered
    held = visit.ledger.lookup.held_seal(asked.job, visit.now)
    key = (asked.job, asked.seal, held, *((one.id, one.ended) for one in asked.cycles[:1]))
    if key not in kept:
        lookup, guarded = visit.ledger.lookup, asked.guarded
        left = lookup.left_behind(guarded, visit.now) if asked.question.kind is Kind.USER else {}
        if len(kept) >= _GATHERED_AT_MOST:
            kept.clear()
        kept[key] = _Gathered(lookup.in_common(guarded, visit.now), left)
    found: _Gathered = kept[key]
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    """One page of the entries that are asked about."""

    shown: list[Staged]
    before: int
    """How many come before them."""
    found: int
    """How many there are on all pages."""


def _part(visit: Visit, asked: Asked, text: str, after: str) -> _Part:
    """The entries after one of them; only those in which a text is found."""
    lookup, guarded, now = visit.ledger.lookup, asked.guarded, visit.now
    if not text:
        shown = together(lookup.held_page(guarded, now, after=after, limit=ROWS))
        return _Part(shown, lookup.held_up_to(guarded, now, after) if after else 0, asked.question.entries)
    found = lookup.held_with(guarded, now, text)
    before = bisect_right(found, after)
    return _Part(together(lookup.held_of(guarded, now, found[before : before + ROWS])), before, len(found))


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
        questions = visit.waiting().get(job, ())
        return visit.page(
            "nothing_waits.html.j2",
            status=status,
            job=job,
            questions=questions,
            said=said,
            headline=headline_of,
            id_of=question_id,
        )
    question, part = asked.question, _part(visit, asked, text, after)
    lookup, directory, guarded = visit.ledger.lookup, visit.ledger.directory, asked.guarded
    first = lookup.held_page(guarded, visit.now, limit=1)
    held_in = next((one for one in asked.cycles if first and one.id == first[0].cycle_id), None)
    gathered = _gathered(visit, asked)
    left = gathered.left
    known = asked.known(visit, part.shown) | directory.entries(job, Kind.USER, set(sorted(left)[:_MANAGERS_NAMED]))
    names, more = named(question.names, question.entries)
    end = part.before + len(part.shown)
    return visit.page(
        "approval.html.j2",
        status=status,
        job=job,
        said=said,
        asked=asked,
        question=question,
        headline=headline_of,
        id_of=question_id,
        title=headline_of(question, asked.total),
        names=names,
        more=more,
        loss=loss_of(question),
        until=within_of(visit.site.jobs().get(job), question),
        facets=facets_of(gathered.common),
        unusual=unusual_of(
            question,
            left,
            known,
            asked.cycles,
            held_in=held_in,
            asked_before=lookup.asked_before(guarded, visit.now),
        ),
        held=what_it_holds(held_in) if held_in is not None else "",
        usual=usual_of(asked.cycles, question.action),
        led=directory.led_by(job, [one.anchor for one in part.shown]) if question.kind is Kind.USER else {},
        shown=part.shown,
        known=known,
        members=member_names(visit.ledger, job, {id_ for one in part.shown for id_ in one.members[:_MEMBERS_NAMED]}),
        found=part.found,
        place=part.before,
        text=text,
        after=after,
        next_after=part.shown[-1].anchor if part.shown and end < part.found else "",
        ticked=ticked,
        given={name: visit.field(name) for name in ("about", "decision", "until", "reason")},
        may_decide=visit.who.rights.may(Deed.DECIDE, job),
        cycle=held_in,
        address=entry_address,
        place_search=place_search,
        about=About,
        called=called,
    )


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
    ticked = visit.keys("anchor")
    found = visit.field("find")
    text = found or visit.field("q")
    if asked is None:
        return _show(visit, None, job, "", "", frozenset(), said=_since_then(visit, job, _GONE), status=409)
    if turned := "search" if found else visit.field("turn"):
        return _show(
            visit, asked, job, text, unquote(turned.removeprefix("after:")) if turned != "search" else "", ticked
        )
    try:
        wish, some = _wish(visit, asked)
    except DecisionError as error:
        status = 409 if isinstance(error, OvertakenError) else 422
        return _show(visit, asked, job, text, unquote(visit.field("after")), ticked, said=str(error), status=status)
    return _confirm(visit, asked, wish, some)


def _confirm(visit: Visit, asked: Asked, wish: Wish, some: list[Staged], said: str = "") -> Response:
    known = asked.known(visit, some[:_NAMED_AT_CONFIRMING])
    part = question_about(some, known)
    return visit.page(
        "confirm.html.j2",
        status=422 if said else 200,
        said=said,
        job=asked.job,
        asked=asked,
        wish=wish,
        some=some,
        sentence=decision_sentence_of(part, asked.job, approve=wish.approve, until=wish.until),
        must_type=must_type(part, asked.total),
        part=part,
        shown=digest_of_shown(some),
        verb=headline_of(part, None),
        known=known,
        listed=_NAMED_AT_CONFIRMING,
        called=called,
        digest=visit.field("digest") or asked.seal,
        until=visit.field("until"),
        looked=visit.field("looked"),
        back=f"/approvals/{quote(asked.job, safe='')}{query(item=asked.id)}",
    )


def decide(visit: Visit) -> Response:
    """Writes the decision down, and begins the cycle that carries it out."""
    job = visit.need(Deed.DECIDE, visit.request.path_params["job"])
    asked = _asked(visit, job, visit.field("item"))
    if asked is None:
        return _show(visit, None, job, "", "", frozenset(), said=_since_then(visit, job, _GONE), status=409)
    try:
        wish, some = _wish(visit, asked)
        if visit.field("shown") != digest_of_shown(some):
            raise OvertakenError(_since_then(visit, job, _NOT_AS_NAMED))
        part = question_about(some)
        if must_type(part, asked.total) and visit.field("number").replace(",", "") != str(part.count):
            return _confirm(
                visit, asked, wish, some, f"Type the number {part.count} to confirm that you mean all of them."
            )
        ruling = decide_staged(
            visit.ledger,
            job,
            StagedState.APPROVED if wish.approve else StagedState.REJECTED,
            exactly=some,
            until=wish.until,
            who=visit.who.identity,
            identity=Identity(visit.who.identity, visit.who.login),
            why=wish.reason,
            now=visit.now,
        )
    except OvertakenError as error:
        visit.asked = None  # what waits is another thing by now
        asked = _asked(visit, job, visit.field("item"))
        return _show(visit, asked, job, "", "", frozenset(), said=str(error), status=409)
    except DecisionError as error:
        return _show(visit, asked, job, "", "", frozenset(), said=str(error), status=422)
    try:
        after_decision(
            visit.ledger,
            job,
            approved=wish.approve,
            who=visit.who.login,
            left=bool(undecided(visit.ledger, job, visit.now)),
            now=visit.now,
        )
    except (ProvisorError, OSError):
        began = False
    else:
        began = wish.approve
    return see_other(visit.note_at("/approvals", _done(job, len(ruling.decided), approved=wish.approve, began=began)))


def _done(job: str, count: int, *, approved: bool, began: bool) -> str:
    """What has been decided, and what comes of it."""
    next_ = "It is left alone." if count == 1 else "They are left alone."
    if approved:
        next_ = "A cycle is starting and will carry it out." if began else "The next cycle carries it out."
    entries = "1 entry" if count == 1 else f"{count:,} entries"
    return f"{'Approved' if approved else 'Rejected'}: {entries} of {job}. {next_}"


def _wish(visit: Visit, asked: Asked) -> tuple[Wish, list[Staged]]:
    """What the form says, and whom it is about. Raises: DecisionError."""
    if visit.field("digest") != asked.seal:
        raise OvertakenError(_since_then(visit, asked.job, CHANGED_SINCE))
    about = visit.field("about")
    if about not in set(About):
        raise DecisionError("Say about whom you decide.")
    chosen = Chosen(About(about), visit.keys("anchor"), visit.field("q"))
    if chosen.about is About.FOUND and not chosen.text:
        raise DecisionError("Nothing is searched for: search for somebody, or choose otherwise whom you decide about.")
    if chosen.about is About.EXCEPT and not chosen.anchors:
        raise DecisionError("Nobody is ticked: tick the people to leave out, or decide about all.")
    if chosen.about in (About.ALL, About.FOUND) and chosen.anchors:
        whom = "all" if chosen.about is About.ALL else "people who match your search"
        raise DecisionError(
            f"You ticked {len(chosen.anchors):,} of them, and chose {whom}. Choose only those ticked or all but those "
            f"ticked, or take the ticks off."
        )
    try:
        some = _chosen(visit, asked, chosen)
        if not some:
            raise DecisionError("Nobody is selected: tick somebody, or decide about all.")
    except DecisionError:
        if visit.ledger.lookup.seal(asked.guarded, visit.now) == asked.seal:
            raise
        # somebody has decided while this was read
        raise OvertakenError(_since_then(visit, asked.job, CHANGED_SINCE)) from None
    decision = visit.field("decision")
    if decision not in ("approve", "reject"):
        raise DecisionError("Choose approve or reject.")
    reason = visit.field("reason")[:2000]
    if not reason:
        raise DecisionError("Give a reason: it is stored with your name, and auditors can read it.")
    until = parse_until(visit.field("until")) if decision == "reject" else None
    refuse_until(until, visit.now)
    return Wish(chosen, decision == "approve", until, reason), some


def _chosen(visit: Visit, asked: Asked, chosen: Chosen) -> list[Staged]:
    """Those about whom it is decided."""
    lookup, guarded, now = visit.ledger.lookup, asked.guarded, visit.now
    match chosen.about:
        case About.ONLY:
            some = lookup.held_of(guarded, now, chosen.anchors)
            _refuse_unknown(chosen, some)
            return some
        case About.EXCEPT:
            everybody = lookup.held_page(guarded, now)
            _refuse_unknown(chosen, everybody)
            return [one for one in everybody if one.anchor not in chosen.anchors]
        case About.FOUND:
            return lookup.held_of(guarded, now, lookup.held_with(guarded, now, chosen.text))
        case _:
            return lookup.held_page(guarded, now)


def _since_then(visit: Visit, job: str, said: str) -> str:
    """A sentence, and who has decided what since the person looked at the page."""
    looked = visit.field("looked")
    if not (looked.isascii() and looked.isdecimal() and len(looked) <= _DIGITS_OF_A_MOMENT):
        return said
    since = datetime.fromtimestamp(int(looked), UTC)
    return " ".join(filter(None, (said, decided_since(visit.ledger, job, since, visit.now))))


def _refuse_unknown(chosen: Chosen, some: list[Staged]) -> None:
    """Passes when everybody who was ticked waits: a tick that means nobody must not count as one less, or as one more.

    Raises: DecisionError.
    """
    if unknown := chosen.anchors - {one.anchor for one in some}:
        raise DecisionError(
            f"{len(unknown)} of the ticked changes cannot be told apart on this page, or are no longer waiting; "
            "nothing was decided. Review the list again, or use provisor approve or provisor reject."
        )
