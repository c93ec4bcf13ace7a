"""Requests whose answers were lost: what the target shows of them, before anything else is sent.

A create is the only request after which an account may exist that nobody knows of. It is therefore journalled with the
values by which its account can be found again, and looked for by these: by the time of the next run its owner may have
another name, or be gone, and still it is the owner's account.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from connectors.contract import Action, Attribute, Change, Kind, Outcome, Snapshot, Status
from connectors.errors import ErrorCode
from tasks.job import Job
from tasks.knowledge import Question
from tasks.ledger import READ_BACK, Attempt, AttemptStatus, Cycle, Ledger, Link, LinkState, LogEntry, log_outcome
from tasks.plan import Plan, Remembered, exact_paths

LOOKED_FOR = timedelta(hours=1)
"""How long the account of a lost create is looked for, where nobody needs it: lists may show it late."""


@dataclass(frozen=True, slots=True)
class Regained:
    """An account that a lost create has made."""

    attempt: Attempt
    target_id: str


def lost_creates(ledger: Ledger, job: str) -> list[Attempt]:
    """Creates of which nobody knows whether there is an account now, and that can be looked for; oldest first."""
    return [one for one in ledger.open_attempts(job) if one.action is Action.CREATE and one.known_by]


def whereabouts(lost: Collection[Attempt]) -> list[Question]:
    """What the target has to be asked for, where it is not listed: each account by the first of its values."""
    values: dict[tuple[Kind, str], set[str]] = {}
    for attempt in lost:
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
        elsewhere = remembered.elsewhere.get(attempt.kind)
        owned = ids.isin(links["target_id"]) | (ids.isin(elsewhere.index) if elsewhere is not None else False)
        if len(free := ids[~owned]) == 1:
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
        mine = [(one, next((path for path in one.known_by if path in frame), None)) for one in lost if one.kind is kind]
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


_LOST = {
    AttemptStatus.SENT: "The run died before the answer came",
    AttemptStatus.UNKNOWN: "The answer was lost",
}


def settle_attempts(
    ledger: Ledger,
    cycle: Cycle,
    plan: Plan,
    regained: Collection[Regained] = (),
    *,
    now: datetime,
    about: tuple[Kind, str] | None = None,
) -> int:
    """Closes attempts whose answers were lost by what the target shows now; gives how many were closed.

    To be called before anything is sent, with a plan made from what the target shows. An account that was ``regained``
    is linked. A create that is neither wanted again nor found is looked for again until ``LOOKED_FOR`` has passed; any
    other request that is not wanted again has taken effect. About an entry that is held the plan says nothing: its
    attempts stay open. ``about``: kind and anchor of the only entry that the plan is about.
    """
    ids = {one.attempt.change_id: one.target_id for one in regained}
    mine = {(one.attempt.kind, one.attempt.anchor) for one in regained}
    held = {(one.kind, one.anchor) for one in plan.held} - mine
    attempts = [one for one in ledger.open_attempts(cycle.job) if (one.kind, one.anchor) not in held]
    attempts = [one for one in attempts if one.kind in plan.entries and about in (None, (one.kind, one.anchor))]
    if not attempts:
        return 0
    wanted = {(block.kind, block.action, anchor) for block in plan.blocks for anchor in block.table["anchor"]}
    owners = {kind: frozenset(entries.known) for kind, entries in plan.entries.items()}
    changes, outcomes, links = [], [], []
    log: list[LogEntry] = []
    for attempt in attempts:
        again = (attempt.kind, attempt.action, attempt.anchor) in wanted
        target_id = ids.get(attempt.change_id, attempt.target_id)
        if attempt.action is not Action.CREATE:
            done = not again
        elif (attempt.kind, attempt.anchor) in mine:
            done = attempt.change_id in ids
        else:
            done = not again and attempt.anchor in owners[attempt.kind]
            if not done and not again and now - attempt.sent_at < LOOKED_FOR:
                continue
        change = Change(
            id=attempt.change_id,
            kind=attempt.kind,
            action=attempt.action,
            anchor=attempt.anchor,
            target_id=target_id,
            label=attempt.label,
        )
        outcome = Outcome(
            change_id=attempt.change_id,
            status=Status.DONE if done else Status.REJECTED,
            target_id=target_id,
            code=None if done else ErrorCode.UNKNOWN_OUTCOME,
            message=f"{_LOST[attempt.status]}; the target shows that {_found(done, again)}.",
        )
        if done and attempt.change_id in ids:
            links.append(Link(attempt.kind, attempt.anchor, ids[attempt.change_id], attempt.label, how="created"))
        changes.append(change)
        outcomes.append(outcome)
        log.append(log_outcome(change, outcome, reason=READ_BACK))
    ledger.record(cycle, changes, outcomes, now=now, links=links, log=log)
    return len(changes)


def _found(done: bool, again: bool) -> str:
    if done:
        return "it had taken effect"
    return "it had not taken effect, and is done again" if again else "it had not taken effect, and is not needed now"
