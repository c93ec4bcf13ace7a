"""Carries out a plan: blocks -> batches -> requests -> outcomes in the ledger.

A batch is journalled before its first request leaves and recorded when it ends. Batches of one wave do not depend on
each other; a wave begins when the one before has ended. Ids are resolved when a batch begins, from the ledger, so that
an account created a moment ago can be referred to.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count, groupby

import pandas as pd
import pyarrow as pa

from connectors.contract import REMOVALS, Action, Change, Kind, Outcome, Status, Target, Value
from connectors.errors import ErrorCode
from tasks.escrow import Failed
from tasks.ledger import (
    Clash,
    Cycle,
    Ledger,
    Link,
    LinkState,
    LogAction,
    LogEntry,
    LogStatus,
    log_outcome,
)
from tasks.plan import Block, Plan
from tasks.plan.compare import fingerprints
from tasks.plan.people import ACCOUNT_UNKNOWN, members_unknown, reference_unknown
from tasks.plan.references import unowned_id
from tasks.plan.written import packed
from tasks.quarantine import Tally

Clock = Callable[[], datetime]

_TOOK_EFFECT = frozenset({Status.DONE, Status.PARTLY})


@dataclass(slots=True)
class Batch:
    """Some changes of one block: one load task.

    A plain slotted class on purpose: an orchestrator that walks parameters leaves it alone.
    """

    number: int
    """1, 2, 3 ... within the cycle."""
    first: int
    """Number of its first change within the cycle."""
    block: Block

    @property
    def title(self) -> str:
        """``create 500 users``: what people see as the task's name."""
        noun = self.block.kind if len(self.block) == 1 else f"{self.block.kind}s"
        action = str(self.block.action)
        return f"{action} in {len(self.block)} {noun}" if "members" in action else f"{action} {len(self.block)} {noun}"

    def rows_of(self, changes: Sequence[Change]) -> dict[str, int]:
        """Position in the block of each of its changes, by the change's id."""
        return {change.id: int(change.id.rpartition("-")[2]) - self.first for change in changes}


@dataclass(slots=True)
class Loaded:
    """What came of a batch."""

    batch: int
    sent: int = 0
    """Changes that the target was given."""
    seconds: float = 0.0
    """From the batch's beginning until everything about it was written down."""
    done: dict[Action, int] = field(default_factory=dict)
    """Changes done by action; membership changes count members."""
    failures: list[Failed] = field(default_factory=list)
    """Every change that was not done."""
    tally: Tally = field(default_factory=Tally)
    """The same as numbers, references apart; nothing is known yet about who had failed before."""
    undone: dict[Kind, set[str]] = field(default_factory=dict)
    """Anchors of entries that are not as the plan has them: a change failed, or something it refers to was missing."""


BATCH_S = 10.0
"""Seconds that a batch is meant to take: long beside what a task costs, short for a person who interrupts a run."""
FIRST_BATCH = 200
SMALLEST_BATCH, LARGEST_BATCH = 10, 10_000
STEP = 4
"""A batch has at most so many times the changes of one before, and at least that part of them."""


class BatchSizes:
    """How many changes go into the next batch: always the same number, or by how long those before it took."""

    def __init__(self, fixed: int | None = None) -> None:
        self._fixed = fixed
        self.next = fixed or FIRST_BATCH

    def learn(self, loaded: "Loaded") -> None:
        """Takes account of a batch that is over."""
        if self._fixed is not None or not loaded.sent or loaded.seconds <= 0:
            return
        fitting = BATCH_S * loaded.sent / loaded.seconds
        size = round(min(max(fitting, self.next / STEP), self.next * STEP))
        self.next = min(max(size, SMALLEST_BATCH), LARGEST_BATCH)


def waves(blocks: Sequence[Block], sizes: BatchSizes) -> Iterator[Iterator[Batch]]:
    """Batches in the order in which they run; those of one wave may run side by side.

    A batch is cut when it is asked for, and a wave must have been used up before the next one is.
    """
    numbers = count(1)
    first = 0

    def cut(wave: list[Block]) -> Iterator[Batch]:
        nonlocal first
        for block in wave:
            start = 0
            while start < len(block):
                part = block.take(slice(start, start + sizes.next))
                start += len(part)
                batch = Batch(number=next(numbers), first=first, block=part)
                first += len(part)
                yield batch

    for _, group in groupby(blocks, key=lambda block: (block.wave, block.level)):
        yield cut(list(group))


def load_batch(
    batch: Batch,
    target: Target,
    ledger: Ledger,
    cycle: Cycle,
    *,
    clock: Clock,
    progress: Callable[[int], None] | None = None,
) -> Loaded:
    """Sends one batch and writes down what came of it, also when the target stops it half-way.

    What a halted target did not send any more is as if it had never been about to be sent.

    Raises: FatalError, after everything that is known has been recorded.
    """
    block, began = batch.block, clock()
    changes, unresolved = changes_of(batch, cycle, ledger)
    ledger.journal(cycle, changes, now=clock(), known_by=block.known_by, redacted=block.redacted)
    outcomes: list[Outcome] = []
    not_sent: set[str] = set()

    def done(outcome: Outcome) -> None:
        if outcome.status is Status.NOT_SENT:
            not_sent.add(outcome.change_id)
            return
        if outcome.status is Status.LATER:
            outcome = _unfinished(outcome)
        outcomes.append(outcome)
        if progress is not None:
            progress(1)

    try:
        target.apply(changes, done)
    finally:
        clashes = _record(batch, changes, outcomes, unresolved, ledger, cycle, clock())
        if not_sent:
            ledger.withdraw(cycle, sorted(not_sent))
    loaded = _summary(batch, changes, outcomes, unresolved, clashes)
    loaded.undone[block.kind] |= {change.anchor for change in changes if change.id in not_sent}
    loaded.sent, loaded.seconds = len(outcomes), (clock() - began).total_seconds()
    return loaded


def _unfinished(outcome: Outcome) -> Outcome:
    """What a job of the target has not finished: nobody knows yet what comes of it."""
    message = f"The target processes it as job {outcome.job}, which has not finished yet; the next cycle checks again."
    return replace(outcome, status=Status.UNKNOWN, code=ErrorCode.UNKNOWN_OUTCOME, message=message)


def changes_of(batch: Batch, cycle: Cycle, ledger: Ledger) -> tuple[list[Change], dict[str, str]]:
    """The batch as changes with ids of the target; and, per anchor, what could not be resolved.

    A reference that cannot be resolved is left out of its change. A change that has nothing left is left out itself.
    """
    block = batch.block
    table = block.table
    anchors, ids = _column(table["anchor"]), _column(table["target_id"])
    labels = _column(table["label"])
    people, groups = _resolve(
        block, cycle, ledger, [anchor for anchor, id_ in zip(anchors, ids, strict=True) if not id_]
    )
    attributes, before, unresolved = _attributes(block, anchors, people)
    members = _members(block, people, groups, anchors, unresolved)
    changes = []
    for row, (anchor, target_id, label) in enumerate(zip(anchors, ids, labels, strict=True)):
        if target_id is None and block.action is not Action.CREATE:
            target_id = people.get(anchor) if block.kind is Kind.USER else groups.get(anchor)
            if target_id is None:
                unresolved.setdefault(anchor, ACCOUNT_UNKNOWN)
                continue
        if (block.after is not None and not attributes[row]) or (members is not None and not members[row]):
            continue
        changes.append(
            Change(
                id=f"{cycle.id:08d}-{batch.first + row:08d}",
                kind=block.kind,
                action=block.action,
                anchor=anchor,
                target_id=target_id,
                attributes=attributes[row] if attributes else {},
                before=before[row] if before else {},
                members=members[row] if members is not None else (),
                label=label,
                known_by=block.known_by,
            )
        )
    return changes, unresolved


def _resolve(block: Block, cycle: Cycle, ledger: Ledger, own: list[str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Target ids by anchor of everybody the block refers to: users, and groups."""
    people: set[str] = set(own) if block.kind is Kind.USER and block.action is not Action.CREATE else set()
    groups: set[str] = set(own) if block.kind is Kind.GROUP and block.action is not Action.CREATE else set()
    if block.after is not None:
        for path in block.references & set(block.after.columns):
            referred = block.after[path].dropna()
            people |= {str(anchor) for anchor in (referred.explode() if referred.dtype == object else referred)}
    if block.action is Action.ADD_MEMBERS:
        members = {anchor for anchors in block.table["members"] for anchor in anchors}
        people |= members
        groups |= members
    return (
        ledger.target_ids(cycle.job, Kind.USER, sorted(people)) if people else {},
        ledger.target_ids(cycle.job, Kind.GROUP, sorted(groups)) if groups else {},
    )


def _attributes(
    block: Block, anchors: list[str], people: Mapping[str, str]
) -> tuple[list[dict[str, Value]], list[dict[str, Value]], dict[str, str]]:
    """Attribute values per row, before and after; references as target ids."""
    unresolved: dict[str, str] = {}
    if block.after is None:
        return [], _what_goes(block), unresolved
    after: list[dict[str, Value]] = [{} for _ in anchors]
    before: list[dict[str, Value]] = [{} for _ in anchors]
    for path in block.after.columns:
        values = _column(block.after[path])
        touched = block.touched[path].tolist() if block.touched is not None else [value is not None for value in values]
        old = _column(block.before[path]) if block.before is not None else None
        for row, value in enumerate(values):
            if not touched[row]:
                continue
            if path in block.references and isinstance(value, list):
                value, missing = _ids_of(value, people)
                if missing:
                    unresolved[anchors[row]] = reference_unknown(path, missing)
                if not value:
                    continue
            elif path in block.references and value is not None:
                resolved = people.get(value)
                if resolved is None:
                    unresolved[anchors[row]] = reference_unknown(path, [str(value)])
                    continue
                value = resolved
            after[row][path] = value
            if old is not None:
                before[row][path] = old[row]
    return after, before, unresolved


def _what_goes(block: Block) -> list[dict[str, Value]]:
    """Everything that the accounts hold which are deleted; ids of the target stay ids."""
    if block.before is None:
        return []
    columns = {path: _column(block.before[path]) for path in block.before.columns}
    return [
        {path: value for path, values in columns.items() if (value := values[row]) is not None}
        for row in range(len(block))
    ]


def _ids_of(references: list[str], people: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Target ids of several references of one entry, and those that have none."""
    ids = [people.get(anchor) or unowned_id(anchor) for anchor in references]
    missing = [anchor for anchor, id_ in zip(references, ids, strict=True) if id_ is None]
    return [id_ for id_ in ids if id_ is not None], missing


def _members(
    block: Block,
    people: Mapping[str, str],
    groups: Mapping[str, str],
    anchors: list[str],
    unresolved: dict[str, str],
) -> list[tuple[str, ...]] | None:
    if "member_ids" in block.table:
        return [tuple(ids) for ids in block.table["member_ids"]]
    if block.action is not Action.ADD_MEMBERS:
        return None
    resolved = []
    for row, members in enumerate(block.table["members"]):
        ids = [people.get(member) or groups.get(member) for member in members]
        missing = [member for member, id_ in zip(members, ids, strict=True) if id_ is None]
        if missing:
            unresolved[anchors[row]] = members_unknown(missing)
        resolved.append(tuple(id_ for id_ in ids if id_ is not None))
    return resolved


def _column(series: pd.Series) -> list[Value]:
    """Plain Python values, None for null."""
    if series.dtype == object:
        return [None if value is None or value is pd.NA or value != value else value for value in series.array]
    values: list[Value] = pa.array(series.array, from_pandas=True).to_pylist()
    return values


def _record(
    batch: Batch,
    changes: Sequence[Change],
    outcomes: Sequence[Outcome],
    unresolved: Mapping[str, str],
    ledger: Ledger,
    cycle: Cycle,
    now: datetime,
) -> tuple[Clash, ...]:
    """Outcomes of a batch, in one transaction: attempts, links and the provisioning log; gives links that clashed.

    A change whose answer was lost gets its one line in the log when it is known what came of it.
    """
    block = batch.block
    reasons, rows = _column(block.table["reason"]), batch.rows_of(changes)
    of_entries = dict(zip(block.table["anchor"], reasons, strict=True))
    counted = _column(block.table["counted"]) if "counted" in block.table else None
    digests, written = _remembered(block, unresolved)
    states: dict[str, str] = {}
    if "state" in block.table:
        states = dict(zip(block.table["anchor"], block.table["state"], strict=True))
    by_id = {change.id: change for change in changes}
    links: list[Link] = []
    log: list[LogEntry] = []
    for outcome in outcomes:
        change = by_id[outcome.change_id]
        reason = str(reasons[rows[change.id]])
        if outcome.status is not Status.UNKNOWN:
            line = log_outcome(change, outcome, reason=reason, redacted=block.redacted)
            log.append(replace(line, counted=_counted(change, None if counted is None else counted[rows[change.id]])))
        if outcome.status is Status.PARTLY:  # the next cycle compares it again
            digests.pop(change.anchor, None)
            written[change.anchor] = _written_in_part(block, change.anchor, outcome)
        link = _link(change, outcome, states, digests, written) if outcome.status in _TOOK_EFFECT else None
        if link is not None:
            links.append(link)
    log += [_unresolved_entry(block, one, why, str(of_entries.get(one, ""))) for one, why in unresolved.items()]
    ended = [replace(one, status=Status.DONE) if one.status is Status.PARTLY else one for one in outcomes]
    return ledger.record(cycle, changes, ended, now=now, links=links, log=log)


def _counted(change: Change, said: int | None) -> int | None:
    """How much of a removal the budget counts: all of it, unless the guards have said otherwise."""
    if change.action not in REMOVALS:
        return None
    return said if said is not None else len(change.members) or 1


def _action_of_the_rest(change: Change) -> Action:
    """What is left of an action whose main part was done: an account that exists is updated."""
    return change.action if change.members else Action.UPDATE


def _why_refused(outcome: Outcome) -> str:
    """The sentences about what was refused, each once."""
    return " ".join(dict.fromkeys(outcome.refused.values())) or outcome.message


def _remembered(block: Block, unresolved: Collection[str]) -> tuple[dict[str, int], dict[str, bytes]]:
    """By anchor, what is remembered of a block's entries once they are written: fingerprint, and every attribute's.

    What is written in part has no fingerprint: the next cycle compares it again, and knows what was written.
    """
    if block.desired is None:
        return {}, {}
    anchors = _column(block.table["anchor"])
    digests = dict(zip(anchors, fingerprints(block.desired, block.rules).tolist(), strict=True))
    left_out = block.redacted | block.withheld
    written = dict(zip(anchors, packed(block.desired, block.rules, without=left_out), strict=True))
    if unresolved:
        part = packed(block.desired, block.rules, without=left_out | block.references)
        written |= {anchor: some for anchor, some in zip(anchors, part, strict=True) if anchor in unresolved}
    for anchor in anchors if block.withheld else unresolved:
        digests.pop(anchor, None)
    return digests, written


def _written_in_part(block: Block, anchor: str, outcome: Outcome) -> bytes:
    """What is remembered of an entry of which some attributes were refused."""
    if block.desired is None:
        return b""
    row = block.desired.loc[(block.table["anchor"] == anchor).to_numpy(dtype=bool)]
    [known] = packed(row, block.rules, without=block.redacted | block.withheld | set(outcome.refused))
    return known


def _link(
    change: Change,
    outcome: Outcome,
    states: Mapping[str, str],
    digests: Mapping[str, int],
    written: Mapping[str, bytes],
) -> Link | None:
    """What to remember about the entry; None where the change does not concern the link."""
    target_id = outcome.target_id or change.target_id
    if target_id is None or change.action in (Action.ADD_MEMBERS, Action.REMOVE_MEMBERS, Action.DELETE):
        return None
    return Link(
        kind=change.kind,
        anchor=change.anchor,
        target_id=target_id,
        label=change.label,
        fingerprint=digests.get(change.anchor),
        state=LinkState(states.get(change.anchor, LinkState.ACTIVE)),
        how="created" if change.action is Action.CREATE else None,
        written=written.get(change.anchor),
    )


def _unresolved_entry(block: Block, anchor: str, why: str, reason: str) -> LogEntry:
    return LogEntry(
        kind=block.kind,
        action=LogAction(block.action),
        status=LogStatus.WARNING,
        anchor=anchor,
        reason=reason,
        code=ErrorCode.UNRESOLVED_REFERENCE,
        message=f"Left out until it can be resolved: {why}.",
    )


def _summary(
    batch: Batch,
    changes: Sequence[Change],
    outcomes: Sequence[Outcome],
    unresolved: Mapping[str, str],
    clashes: Sequence[Clash],
) -> Loaded:
    loaded = Loaded(batch=batch.number, undone={batch.block.kind: set(unresolved)})
    by_id = {change.id: change for change in changes}
    clashing = {clash.anchor: clash for clash in clashes}
    references_done = references_failed = partly = 0
    for outcome in outcomes:
        change = by_id[outcome.change_id]
        reference = is_reference(change, batch.block.references)
        clash = clashing.get(change.anchor)
        action, code, message = change.action, outcome.code, outcome.message
        if outcome.status in _TOOK_EFFECT and clash is None:
            weight = len([one for one in change.members if one not in outcome.refused]) or 1
            loaded.done[change.action] = loaded.done.get(change.action, 0) + weight
            references_done += reference
            if outcome.status is Status.DONE:
                continue
            partly += 1
            action, message = _action_of_the_rest(change), _why_refused(outcome)
            loaded.failures.append(Failed(change.kind, change.anchor, change.label, action, code, message))
            continue
        references_failed += reference
        if outcome.status in _TOOK_EFFECT and clash is not None:
            code = ErrorCode.DUPLICATE_TARGET_ENTRIES
            message = f"The target returned {clash.target_id}, which is already linked to {clash.owner}."
        loaded.failures.append(Failed(change.kind, change.anchor, change.label, action, code, message))
    loaded.undone[batch.block.kind] |= {failure.anchor for failure in loaded.failures}
    loaded.tally = Tally(
        done=len(outcomes) - (len(loaded.failures) - partly) - references_done,
        failed=len(loaded.failures) - partly - references_failed,
        references_done=references_done,
        references_failed=references_failed,
    )
    return loaded


def is_reference(change: Change, references: Collection[str]) -> bool:
    """True for a change that sets nothing but references between entries: managers, members."""
    if change.action in (Action.ADD_MEMBERS, Action.REMOVE_MEMBERS):
        return True
    return change.action is Action.UPDATE and set(change.attributes) <= set(references)


def write_links(ledger: Ledger, cycle: Cycle, plan: Plan, *, now: datetime) -> None:
    """Remembers what matching found: adopted accounts, entries found equal, and links that have ended."""
    for kind, entries in plan.entries.items():
        if entries.dropped:
            ledger.drop_links(cycle.job, kind, entries.dropped, under=cycle)
        if len(entries.settled):
            ledger.put_links(cycle.job, kind, entries.settled, cycle_id=cycle.id, now=now, under=cycle)
