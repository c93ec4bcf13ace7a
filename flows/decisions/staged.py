"""What people decide about changes that guards hold: ``provisor approve`` and ``provisor reject``.

A decision is only written down here. The next cycle carries out what was approved, and leaves alone what was rejected
for as long as the decision is in force and the plan still wants the change.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from flows.decisions.naming import label_of, named_by
from flows.decisions.persons import VERBS, DecisionError, Identity, refuse_the_wrong_person
from flows.decisions.until import refuse_until
from tasks.checks import decision_text, has_run_out, in_force
from tasks.ledger import (
    Item,
    Ledger,
    LogAction,
    LogEntry,
    LogLine,
    LogStatus,
    Staged,
    StagedChanges,
    StagedState,
    part_of,
)

_LOGGED_AS = {StagedState.APPROVED: LogAction.APPROVE, StagedState.REJECTED: LogAction.REJECT}
CHANGED_SINCE = "What waits has changed since you looked: nothing was decided. Look again; this is how it is now."
_LISTED = 20
"""Decided changes that a command lists."""
_SEAL = 12
"""Hexadecimal digits of a seal: enough that nothing that waits has the seal of something else by chance."""
_LOOKED_BACK = timedelta(days=1)
"""How far back a decision is looked for of which nothing is held any more."""


class OvertakenError(DecisionError):
    """Somebody has decided first, or what waits is no longer what was shown; nothing was decided."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What came of a decision."""

    decided: list[Staged]
    """What was decided about now."""
    before: list[Staged]
    """What was meant as well, and stays as somebody has decided before."""
    taken_back: list[Staged]
    """Approvals that had not been carried out, and are rejected now."""


@dataclass(frozen=True, slots=True)
class _Signed:
    """What is decided, by whom, why and until when."""

    state: StagedState
    who: str
    identity: str
    why: str | None
    until: datetime | None
    at: datetime


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a decision is about, of everything that is held."""

    some: list[Staged]
    before: list[Staged]


def decide_staged(
    ledger: Ledger,
    job: str,
    decision: StagedState,
    *,
    only: Sequence[str] = (),
    among: Collection[str] | None = None,
    exactly: Sequence[Staged] | None = None,
    shown: str | None = None,
    again: bool = False,
    until: datetime | None = None,
    who: str,
    identity: Identity,
    why: str = "",
    now: datetime,
) -> Ruling:
    """Approve or reject what a job's guards hold. ``who``: the name a person gives.

    ``exactly``: these and nothing else; where one of them no longer waits as it was shown, nothing is decided.
    ``shown``: the seal of everything that waited when a person looked (:func:`seal_of`); where it is another by now,
    nothing is decided, whatever of it is meant. ``among``: digests of what was shown; what of it still waits so.
    ``only``: as ``named_by`` takes it. Without any of them everything that nobody has decided about; where that is
    rejected, also what was approved and has not run. What somebody has decided stays, unless it is decided ``again``.
    ``until``: when the decision runs out and the guards judge anew; None: when nothing of it is left to do.

    All of it happens in one transaction: of two who decide at the same moment one is first, and the other is told.

    Raises: DecisionError; OvertakenError where somebody was first.
    """
    if not identity.clock:
        refuse_until(until, now)
    with ledger.changing_staged(job) as changes:
        staged = changes.all()
        if shown is not None:
            _refuse_unseen(changes, job, staged, shown, now)
        if exactly is not None:
            chosen = _exactly(changes, staged, exactly, now)
        elif among is not None:
            chosen = _among(staged, among, now)
        else:
            chosen = _asked_for(staged, named_by(staged, only, job) if only else staged, decision, changes, now, again)
        if not chosen.some:
            raise _nothing(changes, job, decision, chosen.before, now)
        last = changes.last_cycle()
        if last is None:
            raise DecisionError(f"No cycle of {job} has run here.")
        refuse_the_wrong_person(changes, last, decision, chosen.some, identity)
        signed = _Signed(decision, who, identity.shown, why or None, until, now)
        decided = _decided(staged, chosen.some, signed)
        changes.drop(chosen.some)
        changes.put(decided)
        _take_out(changes, [one for one in staged if one not in set(chosen.some)], decided)
        changes.log(last, [_log_entry(one) for one in decided], now=now)
    approved = set(in_force(staged, StagedState.APPROVED, now))
    taken_back = [one for one in chosen.some if one in approved and decision is StagedState.REJECTED]
    return Ruling(decided, chosen.before, taken_back)


# --- what a decision is about ---------------------------------------------------------------------------------------


def seal_of(waiting: Iterable[Staged]) -> str:
    """Stands for what waits, in commands: changes with each entry, account, cause, member, value and guard of it."""
    return digest_of_shown(waiting)[:_SEAL]


def _refuse_unseen(changes: StagedChanges, job: str, staged: Sequence[Staged], shown: str, now: datetime) -> None:
    """Passes where what waits is what a person has looked at. Raises: OvertakenError."""
    if shown != seal_of(_undecided(staged, StagedState.APPROVED, now)):
        line = changes.last_decision([], since=now - _LOOKED_BACK)
        last = f" The last decision: {_told_by(line)}" if line is not None else ""
        raise OvertakenError(
            f"What waits is not what you looked at (--shown {shown}): nothing was decided. provisor status {job} shows "
            f"how it is now.{last}"
        )


def _exactly(changes: StagedChanges, staged: Sequence[Staged], shown: Sequence[Staged], now: datetime) -> _Chosen:
    """What was shown, where all of it still waits so. Raises: OvertakenError."""
    asked = {(one.guard, one.digest) for one in shown}
    some = [one for one in _undecided(staged, StagedState.APPROVED, now) if (one.guard, one.digest) in asked]
    waiting = {(one.guard, one.digest) for one in some}
    missing = [one for one in shown if (one.guard, one.digest) not in waiting]
    if missing:
        raise _overtaken(changes, staged, missing, now)
    return _Chosen(some, [])


def _among(staged: Sequence[Staged], digests: Collection[str], now: datetime) -> _Chosen:
    """What of some held changes still waits as it was shown, and what somebody has decided about of it."""
    known = set(digests)
    mine = [one for one in staged if one.digest in known]
    waiting = set(_undecided(staged, StagedState.APPROVED, now))
    return _Chosen([one for one in mine if one in waiting], [one for one in mine if one not in waiting])


def _asked_for(
    staged: Sequence[Staged],
    meant: Sequence[Staged],
    decision: StagedState,
    changes: StagedChanges,
    now: datetime,
    again: bool,
) -> _Chosen:
    """What may be decided about of what a person means; not an approval that a run may be carrying out."""
    if again:
        running = changes.runner(now) is not None
        approved = set(in_force(staged, StagedState.APPROVED, now)) if running else set()
        return _Chosen([one for one in meant if one not in approved], [one for one in meant if one in approved])
    takes_back = decision is StagedState.REJECTED and changes.runner(now) is None
    free = set(_undecided(staged, StagedState.REJECTED if takes_back else StagedState.APPROVED, now))
    return _Chosen([one for one in meant if one in free], [one for one in meant if one not in free])


def _nothing(
    changes: StagedChanges, job: str, decision: StagedState, before: Sequence[Staged], now: datetime
) -> DecisionError:
    """Says why there is nothing to decide about."""
    if not before:
        nothing = f"Nothing of {job} waits for approval"
        line = changes.last_decision([], since=now - _LOOKED_BACK)
        return OvertakenError(f"{nothing}: {_told_by(line)}") if line is not None else DecisionError(f"{nothing}.")
    said = f"Nothing is decided: {already_decided(before)}"
    runner = changes.runner(now)
    if runner is not None and any(one.state is StagedState.APPROVED for one in before):
        return OvertakenError(
            f"{said} {runner} is running {job} and may be carrying it out. Stop it between two batches with "
            f"provisor pause {job}, and decide when it has finished."
        )
    return OvertakenError(f"{said} provisor {VERBS[decision]} {job} --again overrides that.")


def _overtaken(
    changes: StagedChanges, staged: Sequence[Staged], missing: Sequence[Staged], now: datetime
) -> OvertakenError:
    """Says who was first, or that what waits is another thing by now."""
    decided = [one for one in staged if one.decided_at is not None and not has_run_out(one, now)]
    mine = [one for shown in missing for one in _answers(decided, shown)]
    if mine:
        return OvertakenError(f"Nothing is decided: {already_decided([*dict.fromkeys(mine)])}")
    since = max(now - _LOOKED_BACK, min(one.since for one in missing))
    line = changes.last_decision([(one.kind, one.anchor) for one in missing], since=since)
    still_held = {(one.kind, one.anchor) for one in staged}
    if line is not None and (line.kind, line.anchor) not in still_held:
        return OvertakenError(f"Nothing is decided: {_told_by(line)}")
    return OvertakenError(CHANGED_SINCE)


def _answers(decided: Sequence[Staged], shown: Staged) -> list[Staged]:
    """Decisions that are together about all that was shown of an entry; none where something of it is not decided."""
    about = [one for one in decided if one.key == shown.key and _same_matter(one, shown)]
    about = [one for one in about if not shown.in_parts or shown.without([one]) != shown]
    left = shown.without(about)
    return about if about and not (left.members or left.attributes) else []


def digest_of_shown(some: Iterable[Staged]) -> str:
    """Equal where the same held changes were shown, of the same guards and with the same accounts and values."""
    return hashlib.sha256("\n".join(sorted(f"{one.digest} {one.guard}" for one in some)).encode()).hexdigest()


def decided_since(ledger: Ledger, job: str, since: datetime, now: datetime) -> str:
    """Who has decided what about a job since a moment, at most a day ago; empty where nobody has."""
    since = max(since, now - _LOOKED_BACK)
    decided = [one for one in ledger.staged(job) if one.decided_at is not None and one.decided_at >= since]
    line = None if decided else ledger.last_decision(job, [], since=since)
    return already_decided(decided) or (_told_by(line) if line is not None else "")


def _told_by(line: LogLine) -> str:
    """A decision of which nothing is held any more, as the log has it."""
    return f"{line.label or line.anchor} was decided at {line.time:%H:%M:%S} UTC ({line.reason})."


def already_decided(some: Sequence[Staged]) -> str:
    """Who has decided what and when, in a sentence each."""
    said = []
    for one, *more in _grouped(sorted(some, key=_decided_at), _decision_of).values():
        what = ", ".join(f"{count:,} × {name}" for name, count in counted([one, *more]).items())
        who = f"{one.who or 'somebody'}" + (f" ({one.identity})" if one.identity and one.identity != one.who else "")
        when = f" on {one.decided_at:%Y-%m-%d %H:%M:%S} UTC" if one.decided_at is not None else ""
        said.append(f"{who} {one.state} {what}{when}{f': {one.why}' if one.why else ''}".rstrip(".") + ".")
    return " ".join(said)


# --- what becomes of it ---------------------------------------------------------------------------------------------


def _decided(staged: Sequence[Staged], chosen: Sequence[Staged], signed: _Signed) -> list[Staged]:
    """The decision as it is kept: of each entry, action and cause one row, with this one person's name.

    What somebody else has decided about other members or attributes of the entry is a row of its own, and stays as it
    is. Where the same is held twice, as beside a decision that has run out, what is held now counts.
    """
    kept = {one.place: one for one in staged if one not in set(chosen)}
    decided: dict[tuple[Item, str | None, str | None], Staged] = {}
    for one in sorted(chosen, key=lambda item: item.state is StagedState.STAGED):
        one = _by(one, signed)
        where = (*one.matter, one.target_id) if one.in_parts else (one.key, None, None)
        earlier = (decided.get(where), kept.get(one.place)) if one.in_parts else ()
        mine = [one, *(other for other in earlier if other is not None and other.target_id == one.target_id)]
        decided[where] = replace(
            one,
            members=_together(item.members for item in mine),
            attributes=_together(item.attributes for item in mine),
            digests=_digests_of(mine),
        )
    return list(decided.values())


def _by(one: Staged, signed: _Signed) -> Staged:
    """A held change as somebody has decided about it."""
    one = replace(
        one,
        state=signed.state,
        who=signed.who,
        identity=signed.identity,
        why=signed.why,
        until=signed.until,
        decided_at=signed.at,
    )
    return replace(one, part=part_of(one))


def _take_out(changes: StagedChanges, others: Sequence[Staged], decided: Sequence[Staged]) -> None:
    """Of each member and attribute the latest decision counts: earlier ones go on without it."""
    by_key: dict[Item, list[Staged]] = {}
    for one in decided:
        by_key.setdefault(one.key, []).append(one)
    places = {one.place for one in decided}
    for other in others:
        if other.decided_at is None or not other.in_parts or other.place in places:
            continue
        mine = [one for one in by_key.get(other.key, ()) if _same_matter(one, other)]
        left = other.without(mine)
        if left != other:
            changes.drop([other])
            changes.put([left] if left.members or left.attributes else [])


def _same_matter(one: Staged, other: Staged) -> bool:
    return one.matter == other.matter and one.target_id == other.target_id


def _digests_of(merged: Sequence[Staged]) -> tuple[tuple[str, str], ...]:
    """Digests of everything together; of an attribute that comes twice, what the first says counts: it is shown now."""
    together: dict[str, str] = {}
    for one in reversed(merged):
        together.update(one.digests)
    return tuple(sorted(together.items()))


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


def counted(staged: Iterable[Staged]) -> dict[str, int]:
    """How much of what: ``{"disable user": 12, "remove members group": 3}``."""
    entries = {one.key for one in staged}  # of one group several removals may wait, each for a cause of its own
    counts = Counter(f"{action} {kind}" for kind, action, _ in entries)
    return dict(sorted(counts.items()))


def decision_sentence(ruling: Ruling, job: str, run: str) -> str:
    """What was decided, what stays as decided before, and what happens next; ``run``: the command that runs it."""
    decided = ruling.decided
    what = ", ".join(f"{count:,} × {name}" for name, count in counted(decided).items())
    if decided[0].state is StagedState.APPROVED:
        said = f"Approved for {job}: {what}. The next cycle carries it out: {run}"
        said += "" if said.endswith(".") else "." if ruling.before else ""
    else:
        until = decided[0].until
        how_long = f"until {until:%Y-%m-%d %H:%M} UTC" if until is not None else "for as long as the plan wants it"
        said = f"Rejected for {job}: {what}. It is left alone {how_long}."
    if ruling.taken_back:
        said += f" Withdrawn: {already_decided(ruling.taken_back)}"
    return f"{said} Kept: {already_decided(ruling.before)}" if ruling.before else said


def told_one_by_one(decided: Sequence[Staged]) -> list[str]:
    """What was decided about, a line for each: who did not look before reads here what it was."""
    lines = [f"  {label_of(one)}{_parts_of(one)}" for one in decided[:_LISTED]]
    return lines + ([f"  and {len(decided) - _LISTED:,} more"] if len(decided) > _LISTED else [])


def _parts_of(one: Staged) -> str:
    members = f"{len(one.members):,} member{'' if len(one.members) == 1 else 's'}" if one.members else ""
    told = ", ".join(filter(None, (members, ", ".join(one.attributes), one.cause)))
    return f": {told}" if told else ""


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
    shown = seal_of(waiting) if waiting else None
    return {
        "shown": shown,
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
        "commands": {VERBS[state]: f"provisor {VERBS[state]} {job} --shown {shown}" for state in VERBS}
        if waiting
        else {},
    }


def _decided_at(one: Staged) -> str:
    return "" if one.decided_at is None else one.decided_at.isoformat()


def _decision_of(one: Staged) -> tuple[Any, ...]:
    return (one.state, one.who, one.why, one.until, one.decided_at)


def _grouped(staged: Iterable[Staged], by: Callable[[Staged], Any]) -> dict[Any, list[Staged]]:
    groups: dict[Any, list[Staged]] = {}
    for one in staged:
        groups.setdefault(by(one), []).append(one)
    return groups
