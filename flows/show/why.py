"""``provisor why``: everything that is known about one entry, gathered by the stages that a cycle runs.

Nothing is decided here a second time: both sides are read as a cycle would read them, the whole plan is made and
judged (``flows.cycle.preview``), and then one entry is looked at. ``flows.show.why_sentence`` says it in a sentence,
``flows.show.why_page`` on a page. When a system cannot be read, what the ledger remembers is the answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import SystemRandom
from typing import Any

from connectors.contract import Kind, Snapshot, Unreadable, Value
from connectors.errors import FatalError, ProvisorError
from flows.cycle.preview import Decision, Seen, decide, look
from flows.cycle.systems import Systems, open_systems
from flows.show.explain_entry import (
    MappedAttribute,
    SourceEntry,
    explain_mappings,
    row_of,
    shown_row,
    with_matching_value,
)
from flows.show.plan_json import changes_of
from tasks.checks import is_listed
from tasks.expressions import Context
from tasks.job import EntryRules, Job
from tasks.ledger import REDACTED, Attempt, Cycle, Escrow, Ledger, Linked, LogLine, Pause, Quarantine, Staged
from tasks.mapping import Held, redacted_paths, referenced_paths
from tasks.plan import Block
from tasks.plan.blocks import Drifted
from tasks.scope import ScopeDecision, explain_scope, hidden_attributes, select

LINES = 8
"""Lines of the log that the page shows; the sentence looks at more of them."""
_LINES_READ = 200


class AmbiguousError(ProvisorError):
    """Several entries go by the name that was asked for; the text lists them."""


@dataclass(frozen=True, slots=True)
class Who:
    """The entry that is meant."""

    kind: Kind
    anchor: str | None
    """None for an account of the target that belongs to no entry of the source."""
    target_id: str | None = None


@dataclass(slots=True)
class InSource:
    """The entry in the source."""

    system: str
    values: dict[str, Value] = field(default_factory=dict)
    """What the job reads of it, redacted where a redacted mapping reads it; empty when the source has no such entry."""
    present: bool = False
    unreadable: Unreadable | None = None
    """Set when its row could not be read."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of the target, as the job maps it."""

    path: str
    mapped: MappedAttribute | None
    """None for an attribute that the plan writes by itself."""
    now: Value
    """What the target has; None for null."""
    written: bool
    """Whether the next cycle writes it."""
    after: Value = None
    """What it writes; None clears it."""


@dataclass(slots=True)
class Plans:
    """What the plan says about the entry."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    """Changes of it that may run, as the plan's JSON has them."""
    staged: list[dict[str, Any]] = field(default_factory=list)
    """Changes of it that guards hold."""
    groups: list[tuple[str, str]] = field(default_factory=list)
    """Action and group of memberships of it that change."""
    held: list[Held] = field(default_factory=list)
    notes: list[Held] = field(default_factory=list)
    drifted: list[Drifted] = field(default_factory=list)
    passed_over: str | None = None
    """Why it gets no account although nothing is wrong."""
    by_others: str | None = None
    """The job that owns the account, where another one does."""


@dataclass(slots=True)
class Evidence:
    """All that is known about one entry."""

    job: Job
    asked: str
    now: datetime
    who: Who | None
    """None when nobody of that name is known."""
    outage: str = ""
    """Why the systems could not be read; then there is nothing but what the ledger remembers."""
    label: str = ""
    names: dict[str, str] = field(default_factory=dict)
    """What people call the entries that it refers to, by anchor and by target id."""
    source: InSource | None = None
    scope: ScopeDecision | None = None
    link: Linked | None = None
    account: dict[str, Value] | None = None
    """The account as the target has it; None when it has none."""
    off: bool = False
    """Whether the account is switched off, by the target's own word."""
    target_id: str | None = None
    attributes: list[Attribute] = field(default_factory=list)
    plans: Plans = field(default_factory=Plans)
    protected: bool = False
    escrow: Escrow | None = None
    decisions: list[Staged] = field(default_factory=list)
    """What guards hold of it, and what people have decided about it."""
    unanswered: list[Attempt] = field(default_factory=list)
    log: list[LogLine] = field(default_factory=list)
    """Newest first."""
    pause: Pause | None = None
    quarantine: Quarantine | None = None
    last_cycle: Cycle | None = None


def gather(job: Job, asked: str, ledger: Ledger, *, now: datetime) -> Evidence:
    """Everything about the entry with this anchor, target id or name.

    Where several things go by it, an anchor counts before a target id, that before a name, a present name before a past
    one, and a user before a group. Raises: AmbiguousError, JobError.
    """
    context = Context(now=now, random=SystemRandom())
    seen: Seen | None = None
    decision: Decision | None = None
    outage = ""
    try:
        with open_systems(job) as systems:
            seen, decision = _decide(job, systems, ledger, context)
    except FatalError as error:
        outage = str(error)
    who = _find(job, asked, ledger, seen, decision, now)
    evidence = Evidence(job=job, asked=asked, now=now, who=who, outage=outage)
    evidence.pause, evidence.quarantine = ledger.paused(job.name), ledger.quarantine(job.name)
    evidence.last_cycle = ledger.last_cycle(job.name)
    if who is None:
        return evidence
    if who.anchor is not None:
        _remembered(evidence, ledger, who.kind, who.anchor)
    evidence.target_id = who.target_id or (evidence.link.target_id if evidence.link else None)
    if seen is not None and decision is not None:
        _present(evidence, seen, decision, who, context)
    if not evidence.label:
        evidence.label = _name(evidence)
    return evidence


def _decide(job: Job, systems: Systems, ledger: Ledger, context: Context) -> tuple[Seen, Decision]:
    seen = look(job, systems, ledger, context)
    return seen, decide(job, systems, seen.source, seen.sight, seen.recalled, seen.facts, context)


# --- who is meant --------------------------------------------------------------------------------------------------


def _find(
    job: Job, asked: str, ledger: Ledger, seen: Seen | None, decision: Decision | None, now: datetime
) -> Who | None:
    for tier in _tiers(job, asked, ledger, seen, decision, now):
        found = list(dict.fromkeys(tier))
        if len(found) > 1 and len({(one.anchor, one.target_id) for one in found}) == 1:
            found = found[:1]  # a user and a group with the same key
        if len(found) > 1:
            names = ", ".join(f"{one.kind} {one.anchor or one.target_id}" for one in found[:10])
            raise AmbiguousError(f"{len(found)} entries match {asked}: {names}. Use the anchor of one.")
        if found:
            return found[0]
    return None


def _tiers(
    job: Job, asked: str, ledger: Ledger, seen: Seen | None, decision: Decision | None, now: datetime
) -> Iterator[list[Who]]:
    """The entries that the name may mean, one meaning after the other."""
    by_anchor = [Who(kind, asked) for kind in Kind if ledger.link(job.name, kind, asked) is not None]
    if seen is not None:
        by_anchor += [Who(kind, asked) for kind in Kind if asked in seen.source.entries(kind).index]
        by_anchor += [Who(row.kind, asked) for row in seen.source.unreadable if row.key == asked]
        if asked in seen.source.aliases.index:  # another key of somebody who is in several sources
            by_anchor.append(Who(Kind.USER, str(seen.source.aliases[asked])))
    yield sorted(by_anchor, key=lambda one: one.kind, reverse=True)  # users first
    yield [Who(kind, anchor) for kind in Kind for anchor in ledger.anchors(job.name, kind, [asked]).values()]
    if seen is not None and decision is not None:
        frames = {kind: seen.sight.snapshot.entries(kind) for kind in Kind}
        yield [_owner(decision, kind, asked) for kind in Kind if asked in frames[kind].index]
        yield _by_name(job, asked, seen, decision, now)
    yield _by_past(job, asked, ledger)


def _owner(decision: Decision, kind: Kind, target_id: str) -> Who:
    """Whose account it is."""
    plan = decision.checked.plan.entries.get(kind)
    anchor = plan.known.get(target_id) if plan is not None else None
    return Who(kind, None if anchor is None else str(anchor), target_id if anchor is None else None)


def _by_name(job: Job, asked: str, seen: Seen, decision: Decision, now: datetime) -> list[Who]:
    found = []
    for kind, rules in job.rules.items():
        source, target = seen.source.entries(kind), seen.sight.snapshot.entries(kind)
        found += [Who(kind, anchor) for anchor in with_matching_value(rules, source, asked, now)]
        labels = decision.checked.plan.entries[kind].labels
        found += [Who(kind, str(anchor)) for anchor in labels.index[labels.str.lower() == asked.lower()]]
        for rule in rules.matching:
            if rule.target in target:
                same = target[rule.target].astype("str").str.lower() == asked.lower()
                found += [_owner(decision, kind, str(id_)) for id_ in target.index[same.fillna(False)]]
    return found


def _by_past(job: Job, asked: str, ledger: Ledger) -> list[Who]:
    """Whom the log knows by an anchor, an id or a name that they had once."""
    found = []
    for anchor in ledger.identities(job.name, asked):
        for chunk in ledger.log_chunks(job.name, identity=anchor, limit=_LINES_READ):
            found += [Who(Kind(line.kind), anchor) for line in chunk if line.anchor == anchor]
    return found


# --- what the ledger remembers -------------------------------------------------------------------------------------


def _remembered(evidence: Evidence, ledger: Ledger, kind: Kind, anchor: str) -> None:
    job = evidence.job.name
    evidence.link = ledger.link(job, kind, anchor)
    evidence.escrow = next((one for one in ledger.escrows(job) if (one.kind, one.anchor) == (kind, anchor)), None)
    evidence.decisions = [one for one in ledger.staged(job) if (one.kind, one.anchor) == (kind, anchor)]
    evidence.unanswered = [one for one in ledger.open_attempts(job) if (one.kind, one.anchor) == (kind, anchor)]
    evidence.log = [
        line
        for chunk in ledger.log_chunks(job, identity=anchor, limit=_LINES_READ)
        for line in chunk
        if line.anchor == anchor and line.kind == kind
    ]


def _name(evidence: Evidence) -> str:
    """What people call the entry, by what is remembered."""
    if evidence.link is not None and evidence.link.label:
        return evidence.link.label
    return next((line.label for line in evidence.log if line.label), "")


# --- what a cycle would see and do ---------------------------------------------------------------------------------


def _present(evidence: Evidence, seen: Seen, decision: Decision, who: Who, context: Context) -> None:
    job, kind = evidence.job, who.kind
    rules = job.rules.get(kind)
    plan = decision.checked.plan.entries.get(kind)
    if rules is None or plan is None:
        return
    if who.anchor is not None:
        evidence.plans = _plans(decision, kind, who.anchor)
        evidence.label = str(plan.labels.get(who.anchor, ""))
        if evidence.target_id is None:
            mine = plan.accounts.index[plan.accounts == who.anchor]
            evidence.target_id = str(mine[0]) if len(mine) else None
        _look_at_source(evidence, seen, rules, kind, who.anchor)
    target = seen.sight.snapshot.entries(kind)
    if evidence.target_id is not None and evidence.target_id in target.index:
        evidence.account = shown_row(target, evidence.target_id)
        switch = seen.facts.traits.switch if kind is Kind.USER else None
        active = evidence.account.get(switch) if switch is not None else None
        evidence.off = active is not None and not active
    if evidence.target_id is not None:
        owners = seen.recalled.links.elsewhere(kind, [evidence.target_id])
        evidence.plans.by_others = owners.get(evidence.target_id, evidence.plans.by_others)
    known_by = {rule.target: (evidence.account or {}).get(rule.target) for rule in rules.matching}
    listed = frozenset(name.lower() for name in job.protect)
    evidence.protected = is_listed(listed, who.anchor, evidence.target_id, known_by)
    if who.anchor is not None and evidence.scope is not None and evidence.scope.in_scope:
        _map(evidence, seen, rules, who, context)
    _name_references(evidence, decision, rules)


def _look_at_source(evidence: Evidence, seen: Seen, rules: EntryRules, kind: Kind, anchor: str) -> None:
    source = evidence.source = InSource(seen.source.system)
    source.unreadable = next((row for row in seen.source.unreadable if row.kind is kind and row.key == anchor), None)
    frame = seen.source.entries(kind)
    source.present = anchor in frame.index
    if source.present:
        source.values = shown_row(frame, anchor, hidden_attributes(rules))
    evidence.scope = explain_scope(
        rules, seen.source, kind, anchor, assignment=evidence.job.assignment, now=evidence.now
    )


def _map(evidence: Evidence, seen: Seen, rules: EntryRules, who: Who, context: Context) -> None:
    """Every mapped attribute: what its mapping gives, what the target has, what the next cycle writes."""
    assert who.anchor is not None
    frame = select(rules, _only(seen, who.kind, who.anchor), who.kind, assignment=None, now=evidence.now).entries
    entry = SourceEntry(
        kind=who.kind,
        key=who.anchor,
        system=seen.source.system,
        values=row_of(frame, who.anchor),
        known=frozenset(map(str, frame.columns)),
        outside=None,
    )
    changed: dict[str, Value] = {}
    for change in [*evidence.plans.runs, *evidence.plans.staged]:
        changed |= change.get("after") or {}
    account, redacted = evidence.account or {}, redacted_paths(rules)

    def attribute(path: str, mapped: MappedAttribute | None) -> Attribute:
        now = account.get(path)
        shown = REDACTED if path in redacted and now is not None else now
        return Attribute(path, mapped, shown, written=path in changed, after=changed.get(path))

    mapped = [attribute(one.target, one) for one in explain_mappings(evidence.job, entry, context)]
    paths = {one.path for one in mapped}
    evidence.attributes = mapped + [attribute(path, None) for path in changed if path not in paths]


def _name_references(evidence: Evidence, decision: Decision, rules: EntryRules) -> None:
    """Looks up whom the entry refers to, now and in the log: the log holds ids, the source anchors."""
    paths, people = referenced_paths(rules), decision.checked.plan.entries[Kind.USER]
    values = [value for path, value in (evidence.account or {}).items() if path in paths]
    values += [value for one in evidence.attributes if one.path in paths for value in (one.after, *_given(one))]
    for line in evidence.log:
        values += [one[side] for one in line.modified or () if one["name"] in paths for side in ("old", "new")]
    for value in values:
        for name in value if isinstance(value, list) else [value]:
            if isinstance(name, str):
                label = people.labels.get(people.known.get(name, name))
                if label is not None:
                    evidence.names[name] = str(label)


def _given(one: Attribute) -> list[Value]:
    explanation = one.mapped.explanation if one.mapped is not None else None
    return [explanation.trace.value] if explanation is not None else []


def _only(seen: Seen, kind: Kind, anchor: str) -> Snapshot:
    """The source with this one entry, with all edges: so that its computed attributes can be had cheaply."""
    frame = seen.source.entries(kind).loc[[anchor]]
    return replace(seen.source, users=frame) if kind is Kind.USER else replace(seen.source, groups=frame)


def _plans(decision: Decision, kind: Kind, anchor: str) -> Plans:
    checked = decision.checked
    entries = checked.plan.entries[kind]
    passed_over = entries.passed_over.result()
    return Plans(
        runs=_changes(checked.blocks, kind, anchor),
        staged=_changes(checked.staged, kind, anchor),
        groups=_memberships([*checked.blocks, *checked.staged], anchor) if kind is Kind.USER else [],
        held=_about(checked.plan.held, kind, anchor),
        notes=_about(checked.plan.notes, kind, anchor),
        drifted=[one for one in entries.drifted if one.anchor == anchor],
        passed_over=str(passed_over[anchor]) if anchor in passed_over.index else None,
    )


def _about(held: Sequence[Held], kind: Kind, anchor: str) -> list[Held]:
    return [one for one in held if one.kind is kind and one.anchor == anchor]


def _changes(blocks: Sequence[Block], kind: Kind, anchor: str) -> list[dict[str, Any]]:
    found = []
    for block in blocks:
        if block.kind is kind:
            mine = (block.table["anchor"] == anchor).to_numpy(dtype=bool)
            found += changes_of(block.take(mine)) if mine.any() else []
    return found


def _memberships(blocks: Sequence[Block], anchor: str) -> list[tuple[str, str]]:
    return [
        (str(block.action), str(label))
        for block in blocks
        if "members" in block.table
        for label, members in zip(block.table["label"], block.table["members"], strict=True)
        if anchor in members
    ]
