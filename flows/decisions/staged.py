"""What people decide about changes that guards hold: ``provisor approve`` and ``provisor reject``.

A decision is only written down here. The next cycle carries out what was approved, and leaves alone what was rejected
for as long as the decision is in force and the plan still wants the change.
"""

import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from getpass import getuser
from typing import Any

from connectors.errors import ProvisorError
from tasks.checks import all_causes, decision_text, in_force
from tasks.ledger import Cycle, Item, Ledger, LogAction, LogEntry, LogStatus, Staged, StagedState

_LOGGED_AS = {StagedState.APPROVED: LogAction.APPROVE, StagedState.REJECTED: LogAction.REJECT}
_VERBS = {StagedState.APPROVED: "approve", StagedState.REJECTED: "reject"}


class DecisionError(ProvisorError):
    """What was to be decided about does not exist, or the decision makes no sense; nothing was decided."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who decides, beside the name that a person gives."""

    shown: str
    """For people: ``eve@laptop``, or how the decision came in where nobody knows who made it."""
    login: str | None = None
    """The account that signed in, of the operating system or of a server; None where nobody did by name."""
    clock: bool = False
    """True for a time limit that has passed: nobody decides, and no rule about persons applies."""


def own_identity() -> Identity:
    """The account of the operating system that runs this process."""
    login = login_name()
    return Identity(f"{login}@{socket.gethostname()}", login)


def decide_staged(
    ledger: Ledger,
    job: str,
    decision: StagedState,
    *,
    only: Sequence[str] = (),
    items: Collection[Item] | None = None,
    until: datetime | None = None,
    who: str,
    identity: Identity,
    why: str = "",
    now: datetime,
) -> list[Staged]:
    """Approve or reject what a job's guards hold; gives what was decided about. ``who``: the name a person gives.

    ``items``: exactly these, of what nobody has decided about. ``only``: anchors, ids in the target, names, kinds or
    actions; without either everything undecided, and where that is rejected also what was approved but has not run.
    Entries that are named may be decided about again, whatever was decided before. ``until``: when the decision runs
    out and the guards judge anew; None: when nothing of it is left to do.

    Raises: DecisionError.
    """
    if until is not None and until <= now:
        raise DecisionError(
            f"The decision would have run out already: {until:%Y-%m-%d %H:%M} UTC is not in the future."
        )
    staged = ledger.staged(job)
    chosen = _named(staged, only, job) if only else _undecided(staged, decision, now)
    if items is not None:
        chosen = [one for one in _undecided(staged, StagedState.APPROVED, now) if one.key in items]
    if not chosen:
        raise DecisionError(f"Nothing of {job} waits for approval.")
    last = ledger.last_cycle(job)
    if last is None:
        raise DecisionError(f"No cycle of {job} has run here.")
    _refuse_the_wrong_person(ledger, last, decision, chosen, identity)
    known = {one.key: one for one in staged if one.state is decision and one not in set(chosen)}
    decided: dict[Item, Staged] = {}
    for one in chosen:
        earlier = (known.get(one.key), decided.get(one.key))
        merged = [one, *(other for other in earlier if other is not None and other.target_id == one.target_id)]
        decided[one.key] = replace(
            one,
            members=_together(item.members for item in merged),
            attributes=_together(item.attributes for item in merged),
            cause=all_causes(merged) if one.members else one.cause,
            digests=_digests_of(merged),
            state=decision,
            who=who,
            identity=identity.shown,
            why=why or None,
            until=until,
            decided_at=now,
        )
    ledger.put_staged(job, decided.values())
    ledger.drop_staged(job, [one for one in chosen if one.state is not decision])
    ledger.log_entries(last, [_log_entry(one) for one in decided.values()], now=now)
    return list(decided.values())


def _digests_of(merged: Sequence[Staged]) -> tuple[tuple[str, str], ...]:
    """Digests of everything together; of an attribute that comes twice, what the first says counts: it is shown now."""
    together: dict[str, str] = {}
    for one in reversed(merged):
        together.update(one.digests)
    return tuple(sorted(together.items()))


def _refuse_the_wrong_person(
    ledger: Ledger, last: Cycle, decision: StagedState, chosen: Sequence[Staged], identity: Identity
) -> None:
    """Passes when the job's rules let this person decide. Raises: DecisionError."""
    rules = ledger.approval_rules(last.job)
    allowed, separated = [str(name) for name in rules.get("by") or ()], bool(rules.get("not_by"))
    approves = decision is StagedState.APPROVED
    if identity.clock or not (allowed or (separated and approves)):
        return
    if identity.login is None:
        raise DecisionError(
            f"The job {last.job} says who may decide (approval), and {identity.shown} does not know who you are. Use "
            f"provisor {_VERBS[decision]} {last.job} under your own account."
        )
    login = identity.login.casefold()
    if allowed and login not in {name.casefold() for name in allowed}:
        raise DecisionError(
            f"{identity.login} may not decide for {last.job}: its job file lists {', '.join(allowed)} (approval.by)."
        )
    cycles = [last, *(ledger.cycle(last.job, cycle_id) for cycle_id in {one.cycle_id for one in chosen})]
    starters = {_login_of(cycle.initiator) for cycle in cycles if cycle is not None}
    if separated and approves and _login_of(login) in starters:
        raise DecisionError(
            f"{identity.login} started the cycle in which this was held, and {last.job} wants somebody else to approve "
            "it (approval.not_by: initiator)."
        )


def _login_of(initiator: str) -> str:
    """``eve`` of ``eve@laptop, by plan 12``."""
    return initiator.partition(",")[0].partition("@")[0].strip().casefold()


def undecided(ledger: Ledger, job: str, now: datetime) -> list[Staged]:
    """What a job's guards hold and nobody has decided about."""
    return _undecided(ledger.staged(job), StagedState.APPROVED, now)


def _undecided(staged: Iterable[Staged], decision: StagedState, now: datetime) -> list[Staged]:
    """What nobody has decided about, or not for now. Taking an approval back takes nothing away from anybody."""
    staged = list(staged)
    settled = set(in_force(staged, StagedState.REJECTED, now))
    if decision is StagedState.APPROVED:
        settled |= set(in_force(staged, StagedState.APPROVED, now))
    return [one for one in staged if one not in settled] if settled else staged


def _named(staged: Sequence[Staged], only: Sequence[str], job: str) -> list[Staged]:
    """What a person has named. Raises: DecisionError for a name that means nothing here."""
    if not staged:
        raise DecisionError(f"Nothing of {job} waits for approval.")
    names = {name.casefold().replace("-", " "): name for name in only}
    meanings = {one: _names(one) for one in staged}
    unknown = [text for name, text in names.items() if not any(name in found for found in meanings.values())]
    if unknown:
        raise DecisionError(
            f"Nothing that waits is called {' or '.join(unknown)}: name an anchor, an id in the target, a name, "
            f"user, group, or an action. provisor status {job} shows what waits."
        )
    return [one for one, found in meanings.items() if not found.isdisjoint(names)]


def _names(one: Staged) -> frozenset[str]:
    texts = (one.anchor, one.target_id or "", one.label, one.kind, f"{one.kind}s", one.action)
    return frozenset(text.casefold().replace("-", " ") for text in texts if text)


def _together(lists: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in lists for name in names))


def _log_entry(one: Staged) -> LogEntry:
    until = f", until {one.until:%Y-%m-%d %H:%M} UTC" if one.until is not None else ""
    return LogEntry(
        kind=one.kind,
        action=_LOGGED_AS[one.state],
        status=LogStatus.SUCCESS,
        anchor=one.anchor,
        target_id=one.target_id,
        label=one.label,
        reason=f"{one.action}: {decision_text(one)}{until}",
    )


def parse_until(text: str | None) -> datetime | None:
    """A moment, or the end of a day; UTC where no zone is given. Raises: DecisionError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DecisionError(f"{text} is no date like 2026-01-31, and no moment like 2026-01-31T18:00:00Z.") from None
    if len(text) == len("2026-01-31"):
        moment = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def login_name() -> str:
    """Who runs this process."""
    try:
        return getuser()
    except (OSError, KeyError, ImportError):
        return "somebody without a login name"


def counted(staged: Iterable[Staged]) -> dict[str, int]:
    """How much of what: ``{"disable user": 12, "remove members group": 3}``."""
    counts = Counter(f"{one.action} {one.kind}" for one in staged)
    return dict(sorted(counts.items()))


def decision_sentence(decided: Sequence[Staged], job: str, run: str) -> str:
    """What was decided, and what happens next; ``run`` is the command that runs the job."""
    what = ", ".join(f"{count:,} × {name}" for name, count in counted(decided).items())
    if decided[0].state is StagedState.APPROVED:
        return f"Approved for {job}: {what}. The next cycle carries it out: {run}"
    until = decided[0].until
    how_long = f"until {until:%Y-%m-%d %H:%M} UTC" if until is not None else "for as long as the plan wants it"
    return f"Rejected for {job}: {what}. It is left alone {how_long}."


def staged_json(one: Staged) -> dict[str, Any]:
    """One held change as plain values."""
    return {
        "action": str(one.action),
        "kind": str(one.kind),
        "anchor": one.anchor,
        "id": one.target_id,
        "label": one.label,
        "state": str(one.state),
        "since": one.since.isoformat(),
        "guard": one.guard,
        "members": list(one.members),
        "attributes": list(one.attributes),
        "who": one.who,
        "identity": one.identity,
        "why": one.why,
        "until": _iso(one.until),
        "decided_at": _iso(one.decided_at),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def standing(staged: Sequence[Staged], job: str, now: datetime) -> dict[str, Any]:
    """How the approvals of a job stand: what waits by guard, what was decided by whom, and the commands to decide."""
    rejected = in_force(staged, StagedState.REJECTED, now)
    approved = in_force(staged, StagedState.APPROVED, now)
    settled = {*rejected, *approved}
    waiting = [one for one in staged if one not in settled]
    return {
        "waiting": [
            {"guard": guard, "since": min(one.since for one in some).isoformat(), "counts": counted(some)}
            for guard, some in _grouped(waiting, lambda one: one.guard).items()
        ],
        "decisions": [
            {
                "decision": some[0].state.value,
                "who": some[0].who,
                "identity": some[0].identity,
                "why": some[0].why,
                "until": _iso(some[0].until),
                "decided_at": _iso(some[0].decided_at),
                "counts": counted(some),
            }
            for some in _grouped([*approved, *rejected], _decision_of).values()
        ],
        "commands": {_VERBS[state]: f"provisor {_VERBS[state]} {job}" for state in _VERBS} if waiting else {},
    }


def _decision_of(one: Staged) -> tuple[Any, ...]:
    return (one.state, one.who, one.why, one.until, one.decided_at)


def _grouped(staged: Iterable[Staged], by: Callable[[Staged], Any]) -> dict[Any, list[Staged]]:
    groups: dict[Any, list[Staged]] = {}
    for one in staged:
        groups.setdefault(by(one), []).append(one)
    return groups
