"""Requests whose answers were lost: what the target shows of them, before anything else is sent.

What a change of an entry has done, the entry itself says: see ``tasks.effects``. A create is the only request after
which an account may exist that nobody knows of. It is therefore journalled with the values by which its account can be
found again, and looked for by these: by the time of the next run its owner may have another name, or be gone, and still
it is the owner's account.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from connectors.contract import Action, Attribute, Change, Kind, Outcome, Snapshot, Status
from connectors.errors import ErrorCode
from tasks.effects import Effect, Looked, effect_of
from tasks.job import Job
from tasks.knowledge import Question
from tasks.ledger import (
    READ_BACK,
    Attempt,
    AttemptStatus,
    Cycle,
    Ledger,
    Link,
    LinkState,
    LogEntry,
    log_outcome,
    orphan_line,
)
from tasks.mapping import Mask
from tasks.plan import Remembered, exact_paths

LOOKED_FOR = timedelta(hours=1)
"""How long the account of a lost create is looked for, where nobody needs it: lists may show it late."""


@dataclass(frozen=True, slots=True)
class Regained:
    """An account that a lost create has made."""

    attempt: Attempt
    target_id: str


def lost_creates(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Creates of which nobody knows whether there is an account now, and that can be looked for; oldest first."""
    return [one for one in attempts if one.action is Action.CREATE and (one.known_by or one.target_id is not None)]


def whereabouts(lost: Collection[Attempt]) -> list[Question]:
    """What the target has to be asked for, where it is not listed: each account by the first of its values."""
    values: dict[tuple[Kind, str], set[str]] = {}
    for attempt in lost:
        if attempt.target_id is not None:
            continue  # its answer came too late to be believed, but it named the account
        attribute, value = next(iter(attempt.known_by.items()))
        values.setdefault((attempt.kind, attribute), set()).add(value)
    return [
        Question(kind, attribute, tuple(sorted(values[kind, attribute])), late=True)
        for kind, attribute in sorted(values)
    ]


def unseen(
    lost: Sequence[Attempt],
    job: Job,
    target: Snapshot,
    schemas: Mapping[Kind, Mapping[str, Attribute] | None],
) -> list[Attempt]:
    """Lost creates of whose accounts a listing shows none: lists may be late."""
    return [attempt for attempt, ids in _shown(lost, job, target, schemas) if not len(ids)]


def regain(
    lost: Sequence[Attempt],
    job: Job,
    remembered: Remembered,
    target: Snapshot,
    schemas: Mapping[Kind, Mapping[str, Attribute] | None],
) -> list[Regained]:
    """The accounts that lost creates have made.

    An account is theirs when it is nobody's, neither of this job nor of another one, and has every value that the
    create gave it to be known by; two such accounts are nobody's. An entry whose linked account is there lacks none.
    """
    found: dict[tuple[Kind, str], Regained] = {}
    for attempt, ids in _shown(lost, job, target, schemas):
        links = remembered.links[attempt.kind]
        linked = links["target_id"].get(attempt.anchor)
        if linked is not None and linked in target.entries(attempt.kind).index:
            continue
        if len(free := ids[~_owned(ids, attempt.kind, remembered)]) == 1:
            found[attempt.kind, attempt.anchor] = Regained(attempt, str(free[0]))
    return list(found.values())


def _shown(
    lost: Sequence[Attempt],
    job: Job,
    target: Snapshot,
    schemas: Mapping[Kind, Mapping[str, Attribute] | None],
) -> Iterator[tuple[Attempt, pd.Index]]:
    """Each lost create with the ids of the accounts that have all of its values."""
    for kind in Kind:
        frame, rules = target.entries(kind), job.rules.get(kind)
        exact = exact_paths(rules, schemas.get(kind)) if rules is not None else frozenset[str]()
        named = [one for one in lost if one.kind is kind and one.target_id is not None]
        yield from ((one, frame.index[frame.index == one.target_id]) for one in named)
        sought = [one for one in lost if one.kind is kind and one.target_id is None]
        mine = [(one, next((path for path in one.known_by if path in frame), None)) for one in sought]
        rows: dict[tuple[str, str], list[int]] = {}  # a column is gone through once for all attempts
        for shown in {path for _, path in mine if path is not None}:
            lowered = frame[shown].astype("str").str.lower()
            asked = {one.known_by[shown].lower() for one, path in mine if path == shown}
            for row in np.flatnonzero(lowered.isin(asked).to_numpy(dtype=bool)):
                rows.setdefault((shown, str(lowered.iloc[row])), []).append(int(row))
        for one, path in mine:
            some = rows.get((path, one.known_by[path].lower()), []) if path is not None else []
            yield one, _with_values(frame.iloc[some], one.known_by, exact)


def _with_values(frame: pd.DataFrame, values: Mapping[str, str], exact: Collection[str]) -> pd.Index:
    """Ids of the accounts that have all of the values; an attribute that the target does not show says nothing."""
    asked = {path: value for path, value in values.items() if path in frame}
    if not asked:
        return frame.index[:0]
    for path, value in asked.items():
        held = frame[path].astype("str")
        same = held == value if path in exact else held.str.lower() == value.lower()
        frame = frame.loc[same.fillna(False).to_numpy(dtype=bool)]
    return frame.index


def with_regained(remembered: Remembered, regained: Collection[Regained]) -> Remembered:
    """What is remembered, with the links of accounts that lost creates have made; each is compared from the start."""
    if not regained:
        return remembered
    links = dict(remembered.links)
    for kind in {one.attempt.kind for one in regained}:
        mine = [one for one in regained if one.attempt.kind is kind]
        moments = [one.attempt.sent_at.isoformat() for one in mine]
        new = pd.DataFrame(
            {
                "target_id": [one.target_id for one in mine],
                "fingerprint": [pd.NA] * len(mine),
                "state": [LinkState.ACTIVE.value] * len(mine),
                "label": [one.attempt.label for one in mine],
                "changed_at": moments,
                "state_since": moments,
            },
            index=pd.Index([one.attempt.anchor for one in mine], dtype="str", name=links[kind].index.name),
        )[links[kind].columns].astype(links[kind].dtypes.to_dict())
        others = links[kind].drop(index=new.index, errors="ignore")
        links[kind] = pd.concat([others, new]).sort_index()
    return replace(remembered, links=links)


def without_deleted(
    remembered: Remembered, attempts: Iterable[Attempt], target: Snapshot, looked: Looked
) -> Remembered:
    """What is remembered, without the links of accounts that lost deletes have taken away.

    Else they would count as deleted by somebody else, and stay away where the job leaves that so.
    """
    gone: dict[Kind, set[str]] = {}
    for one in attempts:
        if one.action is Action.DELETE and effect_of(one, target, looked) is Effect.DONE:
            gone.setdefault(one.kind, set()).add(str(one.target_id))
    if not gone:
        return remembered
    links = dict(remembered.links)
    for kind, ids in gone.items():
        links[kind] = links[kind].loc[~links[kind]["target_id"].isin(ids)]
    return replace(remembered, links=links)


def with_unsettled(remembered: Remembered, attempts: Iterable[Attempt]) -> Remembered:
    """What is remembered, without what lost requests may have written since: that is ours, and no drift."""
    unsettled: dict[Kind, dict[str, set[str]]] = {}
    for one in attempts:
        if one.target_id is not None and one.after:
            unsettled.setdefault(one.kind, {}).setdefault(one.target_id, set()).update(one.after)
    return replace(remembered, unsettled=unsettled) if unsettled else remembered


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ends."""

    attempt: Attempt
    effect: Effect
    target_id: str | None = None
    """The account that it is about, where that is known now."""
    orphan_of: str | None = None
    """Of a create: the account that the entry has instead of the one that was made."""


def judge_attempts(
    attempts: Sequence[Attempt],
    job: Job,
    remembered: Remembered,
    target: Snapshot,
    schemas: Mapping[Kind, Mapping[str, Attribute] | None],
    *,
    looked: Looked,
    regained: Collection[Regained],
    wanted: Collection[tuple[Kind, str]],
    adopted: Mapping[tuple[Kind, str], str],
    now: datetime,
) -> list[Verdict]:
    """How attempts end whose answers were lost, by what the target shows now about each of them.

    ``wanted``: kind and anchor of those who get an account now; ``adopted``: ids of the accounts that matching has just
    found. An attempt about which the target says nothing yet has no verdict: it stays open.
    """
    verdicts = {}
    for attempt in attempts:
        if attempt.action is not Action.CREATE and (effect := effect_of(attempt, target, looked)) is not Effect.UNSEEN:
            verdicts[attempt.change_id] = Verdict(attempt, effect, attempt.target_id)
    made = {one.attempt.change_id: one.target_id for one in regained}
    owners = {(one.attempt.kind, one.attempt.anchor) for one in regained}
    creates = [one for one in attempts if one.action is Action.CREATE]
    for attempt, ids in _shown(creates, job, target, schemas):
        links, entry = remembered.links[attempt.kind], (attempt.kind, attempt.anchor)
        if attempt.change_id in made:
            verdicts[attempt.change_id] = Verdict(attempt, Effect.DONE, made[attempt.change_id])
            continue
        if not attempt.known_by and attempt.target_id is None and entry in adopted:  # values that are never kept
            verdicts[attempt.change_id] = Verdict(attempt, Effect.DONE, adopted[entry])
            continue
        linked = links["target_id"].get(attempt.anchor)
        has_account = linked is not None and linked in target.entries(attempt.kind).index
        free = ids[~_owned(ids, attempt.kind, remembered)]
        if has_account and entry not in owners and len(free) == 1:
            verdicts[attempt.change_id] = Verdict(attempt, Effect.DONE, str(free[0]), orphan_of=str(linked))
        elif has_account or entry in owners or entry in wanted or now - attempt.sent_at >= LOOKED_FOR:
            verdicts[attempt.change_id] = Verdict(attempt, Effect.NOT_DONE)
    return [verdicts[one.change_id] for one in attempts if one.change_id in verdicts]


def _owned(ids: pd.Index, kind: Kind, remembered: Remembered) -> Mask:
    """Which accounts belong to an entry, of this job or of another one."""
    owned: Mask = ids.isin(remembered.links[kind]["target_id"])
    return owned | ids.isin(list(remembered.elsewhere(kind, ids.tolist())))


_LOST = {
    AttemptStatus.SENT: "The run ended before the response arrived",
    AttemptStatus.UNKNOWN: "The response was lost",
}


def settle_attempts(ledger: Ledger, cycle: Cycle, verdicts: Sequence[Verdict], *, now: datetime) -> int:
    """Closes attempts with a line in the log each; gives how many. To be called before anything else is sent."""
    changes, outcomes, links = [], [], []
    log: list[LogEntry] = []
    for verdict in verdicts:
        attempt, done = verdict.attempt, verdict.effect is Effect.DONE
        change = Change(
            id=attempt.change_id,
            kind=attempt.kind,
            action=attempt.action,
            anchor=attempt.anchor,
            target_id=verdict.target_id or attempt.target_id,
            attributes=attempt.after,
            before=attempt.before,
            members=tuple(attempt.members),
            label=attempt.label,
        )
        outcome = Outcome(
            change_id=attempt.change_id,
            status=Status.DONE if done else Status.REJECTED,
            target_id=change.target_id,
            code=None if done else ErrorCode.UNKNOWN_OUTCOME,
            message=f"{_LOST[attempt.status]}; the target shows {_shows(verdict)}.",
        )
        line = log_outcome(change, outcome, reason=READ_BACK)
        if attempt.action is Action.REMOVE_MEMBERS:
            line = replace(line, counted=len(change.members))  # whether somebody approved it is not known any more
        if verdict.orphan_of is not None:
            line = orphan_line(line, str(verdict.target_id), verdict.orphan_of)
        elif done and attempt.action is Action.CREATE:
            links.append(Link(attempt.kind, attempt.anchor, str(verdict.target_id), attempt.label, how="created"))
        changes.append(change)
        outcomes.append(outcome)
        log.append(line)
    if changes:
        ledger.record(cycle, changes, outcomes, now=now, links=links, log=log)
    return len(changes)


def _shows(verdict: Verdict) -> str:
    return str(verdict.effect) if verdict.effect is Effect.UNCLEAR else f"that {verdict.effect}"
