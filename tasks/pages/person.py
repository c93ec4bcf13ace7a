"""The page of a person or a group: which accounts it has and why, what is coming, its line of time. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.contract import Kind
from tasks.advice import advice_for
from tasks.escrow import given_up
from tasks.job import Job
from tasks.ledger import Cycle, Hit, LinkState, LogAction, LogLine, LogStatus, StagedState, is_undecided
from tasks.ledger.lookup import Held
from tasks.pages.sentences import VERBS

LANE = 1000
"""Width of a lane; today lies at four fifths of it."""
_TODAY = 800
_FAILED = LogStatus.FAILURE.value
_SUCCESS = LogStatus.SUCCESS.value


@dataclass(frozen=True, slots=True)
class Coming:
    """What is going to happen."""

    job: str
    at: datetime | None
    said: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a lane in one state."""

    x: float
    width: float
    look: str
    """``active``, ``disabled``."""
    pale: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """One job on the line of time."""

    job: str
    name: str
    segments: Sequence[Segment]
    marks: Sequence[tuple[float, str, str]]
    """Place, look, and what happened."""
    said: str


@dataclass(frozen=True, slots=True)
class AppCard:
    """One job's account of an entry."""

    job: str
    name: str
    """What the target calls itself."""
    tone: str
    icon: str
    chip: str
    sentence: str
    why: str
    advice: str
    facts: Sequence[tuple[str, str | datetime]]
    solid: bool
    hit: Hit | None
    account: LinkState | None
    """How the account stands; None where there is none."""


@dataclass(frozen=True, slots=True)
class PersonPage:
    """Everything that the ledger knows."""

    name: str
    hit: Hit | None
    sentence: str
    cards: Sequence[AppCard]
    lanes: Sequence[Lane]
    axis: Sequence[datetime]
    coming: Sequence[Coming]
    lines: Sequence[LogLine]
    """The newest first."""
    more: bool


def person_page(
    kind: Kind,
    anchor: str,
    known: Mapping[str, Hit],
    held: Sequence[Held],
    last: Mapping[str, Cycle],
    jobs: Mapping[str, Job],
    *,
    now: datetime,
) -> PersonPage:
    """The page; ``known``: what the entry is known by in each job, ``last``: the jobs' last cycles."""
    there = [one for one in held if one.job in known or one.link or one.escrow or one.staged or one.lines]
    cards = [_card(one, known.get(one.job), last.get(one.job), now) for one in there]
    lines = sorted((line for one in there for line in one.lines), key=lambda line: line.id, reverse=True)
    hit = next(iter(known.values()), None)
    name = hit.name if hit is not None else next((line.label for line in lines if line.label), anchor)
    turns = [line for one in there for line in one.turns]
    start = min([line.time for line in (*lines, *turns)] + [one.link.linked_at for one in there if one.link] + [now])
    start = min(start, now - timedelta(days=7))
    end = now + (now - start) / 4
    return PersonPage(
        name=name,
        hit=hit,
        sentence=_sentence(kind, cards, lines),
        cards=cards,
        lanes=[_lane(one, card.name, start, end, now) for one, card in zip(there, cards, strict=True)],
        axis=[start + (end - start) * part / 4 for part in range(5)],
        coming=[coming for one in there for coming in _coming(one, jobs.get(one.job), now)],
        lines=lines[:60],
        more=any(one.more for one in there) or len(lines) > 60,
    )


def _sentence(kind: Kind, cards: Sequence[AppCard], lines: Sequence[LogLine]) -> str:
    if not cards:
        return "Nothing is known."
    apps = {card.name for card in cards}
    if kind is Kind.GROUP:
        there = len({card.name for card in cards if card.account is not None})
        said = f"In {there} {'app' if there == 1 else 'apps'}." if there else "In no app."
    else:
        active = len({card.name for card in cards if card.account is LinkState.ACTIVE})
        said = f"Has an active account in {active} of {len(apps)} apps."
        if len(apps) == 1:
            said = "Has an active account." if active else "Has no active account."
    change = next((line for line in lines if line.status == _SUCCESS and line.action in _CHANGES), None)
    if change is not None and change.reason:
        said += f" Last {_CHANGES[LogAction(change.action)]} in {change.target or change.job}: {change.reason}."
    return said.replace("..", ".")


_CHANGES: Mapping[LogAction, str] = {
    LogAction.CREATE: "created",
    LogAction.UPDATE: "changed",
    LogAction.ENABLE: "enabled",
    LogAction.DISABLE: "disabled",
    LogAction.DELETE: "deleted",
    LogAction.ADD_MEMBERS: "given members",
    LogAction.REMOVE_MEMBERS: "relieved of members",
}


# --- one app ---------------------------------------------------------------------------------------------------------


def _card(held: Held, hit: Hit | None, last: Cycle | None, now: datetime) -> AppCard:
    name = next((line.target for line in held.lines if line.target), last.target if last is not None else "")
    facts: list[tuple[str, str | datetime]] = []
    if hit is not None and hit.login:
        facts.append(("Account", hit.login))
    if held.link is not None:
        facts += [("Id", held.link.target_id), (held.link.how.capitalize() or "Linked", held.link.linked_at)]
        facts.append((f"{str(held.link.state).capitalize()} since", held.link.state_since))
    change = next((line for line in held.lines if line.status == _SUCCESS and line.action in _CHANGES), None)
    if change is not None:
        facts.append(("Last change", change.time))
    tone, icon, chip, sentence, why, advice, solid = _standing(held, change, now)
    account = held.link.state if held.link is not None else None
    return AppCard(held.job, name or held.job, tone, icon, chip, sentence, why, advice, facts, solid, hit, account)


def _standing(held: Held, change: LogLine | None, now: datetime) -> tuple[str, str, str, str, str, str, bool]:
    """Tone, icon, chip, sentence, why, what to do, and whether a person is needed."""
    if held.escrow is not None:
        escrow = held.escrow
        advice = advice_for(escrow.code)
        end = escrow.attempts, "attempt" if escrow.attempts == 1 else "attempts"
        lost = given_up(escrow)
        sentence = f"Failed after {end[0]} {end[1]}{' and given up' if lost else ''}."
        chip = "Given up" if lost else "Failing"
        return "failed", "fail", chip, sentence, escrow.message, advice.action if advice else "", lost or end[0] >= 3
    waiting = [one for one in held.staged if is_undecided(one, now)]
    if waiting:
        what = ", ".join(dict.fromkeys(VERBS[one.action].lower() for one in waiting))
        return "waiting", "wait", "Waits", f"Somebody has to decide: {what}.", waiting[0].guard, "", True
    if held.link is None:
        gone = next((line for line in held.turns if line.action == LogAction.DELETE), None)
        if gone is not None:
            return "deleted", "deleted", "Deleted", "The account was deleted.", gone.reason, "", False
        why = next((line.message or line.reason for line in held.lines), "")
        code = next((line.code for line in held.lines if line.code), None)
        advice = advice_for(code)
        return (
            "quiet",
            "quiet",
            "No account",
            "Provisor knows no account.",
            why,
            advice.action if advice else "",
            False,
        )
    if held.link.state is LinkState.DISABLED:
        ended = next((line for line in held.turns if line.action == LogAction.DISABLE), None)
        return "disabled", "disabled", "Disabled", "The account is disabled.", ended.reason if ended else "", "", False
    decided = next(iter(held.staged), None)
    if decided is not None:
        what = f"{VERBS[decided.action]}: {decided.state} by {decided.who}."
        return "created", "ok", "Active", what, decided.why or "", "", False
    why = change.reason if change is not None else held.link.how
    return "created", "ok", "Active", "Up to date, as far as Provisor knows.", why, "", False


def _coming(held: Held, job: Job | None, now: datetime) -> list[Coming]:
    found = []
    if held.escrow is not None and not given_up(held.escrow):
        found.append(
            Coming(held.job, max(held.escrow.next_attempt, now), "It is tried again by the next cycle from then on")
        )
    for one in held.staged:
        if is_undecided(one, now):
            until = one.since + job.approval.within if job is not None else None
            coming = Coming(held.job, until, f"{VERBS[one.action]}, if somebody approves it by then")
            found += [coming] if coming not in found else []
        elif one.state is StagedState.APPROVED:
            found.append(Coming(held.job, None, f"{VERBS[one.action]} in the next cycle, approved by {one.who}"))
        elif one.until is not None:
            found.append(Coming(held.job, one.until, f"The decision by {one.who} expires: {VERBS[one.action]}"))
    link = held.link
    if link is not None and link.state is LinkState.DISABLED and job is not None and job.deprovision.delete_after:
        at = link.state_since + job.deprovision.delete_after
        found.append(Coming(held.job, at, "The account is deleted, unless the entry is in scope again by then"))
    return found


# --- the line of time ------------------------------------------------------------------------------------------------


def _lane(held: Held, name: str, start: datetime, end: datetime, now: datetime) -> Lane:
    whole = (end - start).total_seconds()

    def at(moment: datetime) -> float:
        return round(max(0.0, min((moment - start).total_seconds() / whole, 1.0)) * LANE, 1)

    turns: list[tuple[datetime, str | None]] = [
        (line.time, _TURNS[LogAction(line.action)]) for line in reversed(held.turns)
    ]
    if held.link is not None:
        if not turns or turns[0][1] != "active":
            turns.insert(
                0, (held.link.linked_at, "active" if turns or held.link.state is LinkState.ACTIVE else "disabled")
            )
        stands = "active" if held.link.state is LinkState.ACTIVE else "disabled"
        if turns[-1][1] != stands:
            turns.append((held.link.state_since, stands))
    turns.sort(key=lambda turn: turn[0])
    segments = []
    for place, (moment, look) in enumerate(turns):
        until = turns[place + 1][0] if place + 1 < len(turns) else now
        if look is not None:
            segments.append(Segment(at(moment), max(round(at(until) - at(moment), 1), 2), look))
    if turns and turns[-1][1] is not None:
        segments.append(Segment(_TODAY, LANE - _TODAY, str(turns[-1][1]), pale=True))
    marks = [
        (
            at(line.time),
            "bad" if line.status == _FAILED else "mark",
            f"{line.time:%Y-%m-%d}: {line.action} {line.status}",
        )
        for line in held.lines
        if line.action in _CHANGES
    ][:40]
    said = f"{name}: {turns[-1][1] or 'no account'} now" if turns else f"{name}: no account"
    return Lane(held.job, name, segments, marks, said)


def _marked(line: LogLine) -> str:
    return f"{line.time:%Y-%m-%d}: {line.action} {line.status}"


_TURNS: Mapping[LogAction, str | None] = {
    LogAction.CREATE: "active",
    LogAction.ENABLE: "active",
    LogAction.DISABLE: "disabled",
    LogAction.DELETE: None,
}
