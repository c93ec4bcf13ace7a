"""One plan out of two snapshots and what the ledger remembers: every pure stage, in order."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import pandas as pd

from connectors.contract import Action, Attribute, Kind, Snapshot, SourcePart, no_members
from connectors.errors import ErrorCode
from tasks.assignment import strangers
from tasks.doubts import not_among, spoilt_keys, spoilt_members
from tasks.expressions import Context, compile_expression
from tasks.extract import Facts
from tasks.job import Apply, EntryRules, Job, Nested
from tasks.keys import texts
from tasks.mapping import Desired, Held, Mapper, expression_of, map_entries, only_default
from tasks.matching import Owners, match_entries, owned_nowhere
from tasks.membership import flattened, is_among
from tasks.plan.blocks import Block, EntryPlan, Later, Situation
from tasks.plan.entries import plan_entries
from tasks.plan.memberships import plan_memberships
from tasks.plan.written import Recall
from tasks.scope import DISABLED_IN_SOURCE, SOFT_DELETED, Scoped, select
from tasks.sources import unseen

_NOWHERE: "pd.Series[str]" = pd.Series(dtype="str", index=pd.Index([], dtype="str"))


@dataclass(frozen=True, slots=True)
class Remembered:
    """The ledger's links per kind. Index: anchor; columns target_id, fingerprint, state, label, state_since."""

    links: Mapping[Kind, pd.DataFrame]
    elsewhere: Owners = owned_nowhere
    """Says which of some accounts other jobs of the same target own."""
    written: Recall | None = None
    """Gives what was last written to accounts, attribute by attribute; None where nothing is known of that."""
    former: "pd.Series[str]" = field(default_factory=lambda: _NOWHERE)
    """Index: id of an account that a user had before the present one; value: the user's anchor."""
    unsettled: Mapping[Kind, Mapping[str, Collection[str]]] = field(default_factory=dict)
    """By target id, attributes that lost requests were to change: nobody knows what was written last."""


@dataclass(slots=True)
class Plan:
    """Everything one cycle would do, and everything it would leave alone and why."""

    job: str
    fingerprint: str
    """Of the configuration, as ``Job.fingerprint`` gives it."""
    made_at: datetime
    source: str
    """What was read, for people."""
    target: str
    blocks: list[Block]
    """In the order in which they are carried out."""
    entries: dict[Kind, EntryPlan]
    held: list[Held]
    """Entries that no change is made for although they are in scope, or linked."""
    notes: list[Held]
    """Entries that are changed, but not completely yet."""
    source_count: dict[Kind, int]
    target_count: dict[Kind, int]
    group_sizes: "pd.Series[int]"
    """Index: target id of a group; value: members it has in the target now."""
    incomplete: tuple[str, ...]
    """Why absence from the source proves nothing; empty when the source's snapshot is complete."""
    source_members: int = 0
    """Memberships in the source."""
    flattened: bool = False
    """Whether members of groups inside a group count as its own."""
    parts: tuple[SourcePart, ...] = ()
    """The sources of which the source is made up, where there are several; each may be incomplete."""
    wanted_members: "Later[pd.DataFrame]" = field(default_factory=lambda: Later(no_members))
    """Gives the memberships that the target should have: columns group and member, both anchors."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """Everything for which absence proves nothing, one sentence each."""
        return (*self.incomplete, *(f"{part.name}: {why}" for part in self.parts for why in part.incomplete))

    def counts(self) -> dict[Action, int]:
        """Changes by action; a membership change counts every member."""
        counts: Counter[Action] = Counter()
        for block in self.blocks:
            members = block.table["members"].map(len).sum() if "members" in block.table else len(block)
            counts[block.action] += int(members)
        return {action: counts[action] for action in Action if counts[action]}

    @property
    def requests(self) -> int:
        """Requests that carrying the plan out takes, as long as every one is answered."""
        return sum(len(block) for block in self.blocks)

    @property
    def empty(self) -> bool:
        """True when there is nothing to do."""
        return not self.blocks


def build_plan(
    job: Job,
    source: Snapshot,
    target: Snapshot,
    remembered: Remembered,
    facts: Facts,
    context: Context,
    *,
    mapper: Mapper = map_entries,
) -> Plan:
    """What must happen so that the target shows what the source says.

    The same inputs in any order give the same plan. ``context.now`` is the moment the plan is made; ``mapper`` is who
    does the mapping.
    """
    entries: dict[Kind, EntryPlan] = {}
    people: EntryPlan | None = None
    left: dict[Kind, frozenset[str]] = {}
    doubts: tuple[str, ...] = ()
    for kind, rules in job.rules.items():
        situation = _situation(job, rules, kind, source, target, remembered, facts, context, mapper)
        entries[kind] = plan_entries(situation, people=people)
        people = entries[kind]
        doubts += _spoilt(situation, kind)
        left[kind] = frozenset(situation.unreadable) & frozenset(situation.scoped.out.index)
    blocks = [block for plan in entries.values() for block in plan.blocks]
    wanted_members: Later[pd.DataFrame] = Later(no_members)
    held = _unread(source, left)
    held += [entry for plan in entries.values() for entry in plan.held]
    notes = [_stranger(kind, key) for kind, key in strangers(job.assignment, source)]
    notes += [entry for plan in entries.values() for entry in plan.notes]
    notes += [
        Held(Kind.USER, key, ErrorCode.IMPORT_SKIPPED, why, label=_label(entries, key))
        for key, why in source.disputes.items()
    ]
    if job.groups is not None:
        edges = flattened(source) if job.groups.nested is Nested.FLATTEN else source.members
        wanted_members = Later(partial(_wanted_members, edges, entries))
        doubts += spoilt_members(edges, _ever_known(source, remembered))
        added, missing = plan_memberships(
            job.groups,
            edges,
            target.members,
            users=entries[Kind.USER],
            groups=entries[Kind.GROUP],
            people=source.users.index,
            max_members=min(facts.traits.members_per_change, job.load.members),
            nested=facts.traits.nested,
        )
        blocks += added
        notes += missing
    return Plan(
        job=job.name,
        fingerprint=job.fingerprint(),
        made_at=context.now,
        source=source.system,
        target=target.system,
        blocks=sorted(blocks, key=lambda block: (block.wave, block.level, block.kind, block.action)),
        entries=entries,
        held=held,
        notes=notes,
        source_count={kind: len(source.entries(kind)) for kind in Kind},
        target_count={kind: len(target.entries(kind)) for kind in Kind},
        group_sizes=target.members["group"].value_counts(),
        source_members=len(source.members),
        incomplete=(*source.incomplete, *doubts),
        flattened=job.groups is not None and job.groups.nested is Nested.FLATTEN,
        parts=source.parts,
        wanted_members=wanted_members,
    )


def _label(entries: Mapping[Kind, EntryPlan], key: str) -> str:
    return str(entries[Kind.USER].labels.get(key, key))


def _other_anchors(source: Snapshot, scoped: Scoped, desired: Desired, links: pd.DataFrame) -> pd.Series:
    """Linked anchors by which people were known before and whose accounts stay as they are in this cycle.

    Index: the other anchor; value True where the person has a second account by the present anchor. Where the person
    has no account yet, matching hands this one over; where nobody can say whether the person is in scope, it waits.
    """
    linked = source.aliases[is_among(source.aliases.index, texts(links.index))]
    if not len(linked):
        return pd.Series(dtype=bool, index=pd.Index([], dtype="str"))
    ended = scoped.out.index.append(desired.frame.index[desired.disabled])
    both = is_among(linked, texts(links.index))
    there = is_among(linked, texts(desired.frame.index))
    stays = ~is_among(linked, texts(ended)) & (both | ~there)
    return pd.Series(both[stays], index=pd.Index(linked.index[stays], dtype="str"))


def _two_accounts(source: Snapshot, other: str) -> Held:
    head = str(source.aliases[other])
    why = (
        f"It is the same person as {head} (same_person), and both have an account. This account stays as it is: "
        "choose one account for the person by hand, and remove the other."
    )
    return Held(Kind.USER, other, ErrorCode.DUPLICATE_SOURCE_ENTRIES, why, label=other)


def _spoilt(situation: Situation, kind: Kind) -> tuple[str, ...]:
    """Why keys that have changed prove nobody's absence; whose account goes over is not missed."""
    links, present = situation.links.index, situation.scoped.present.append(situation.unreadable)
    gone = not_among(not_among(links, present), pd.Index(situation.matches.released, dtype="str"))
    return spoilt_keys(gone, not_among(present, links), str(kind)) if len(gone) else ()


def _ever_known(source: Snapshot, remembered: Remembered) -> pd.Index:
    """Keys of everybody who is in the source, readable or not, or has been linked."""
    unread = pd.Index([row.key for row in source.unreadable if row.key is not None], dtype="str")
    return source.users.index.append(
        [source.groups.index, unread, *(links.index for links in remembered.links.values())]
    )


def _unread(source: Snapshot, left: Mapping[Kind, frozenset[str]]) -> list[Held]:
    """Rows of the source that cannot be used; but for those of people who have left, about whom nothing is open."""
    return [
        Held(
            row.kind, row.key or "", ErrorCode.IMPORT_SKIPPED, f"{row.place}: {row.reason}", label=row.key or row.place
        )
        for row in source.unreadable
        if row.key is None or row.key not in left.get(row.kind, ())
    ]


def _wanted_members(edges: pd.DataFrame, entries: Mapping[Kind, EntryPlan]) -> pd.DataFrame:
    """The source's edges between groups and members that have an account, or get one."""
    owners = {kind: plan.accounts.array for kind, plan in entries.items()}
    there = {kind: pd.Index(owners[kind], dtype="str").append(plan.coming) for kind, plan in entries.items()}
    groups = texts(there[Kind.GROUP])
    member = is_among(edges["member"], texts(there[Kind.USER])) | is_among(edges["member"], groups)
    return edges.loc[is_among(edges["group"], groups) & member]


def _situation(
    job: Job,
    rules: EntryRules,
    kind: Kind,
    source: Snapshot,
    target: Snapshot,
    remembered: Remembered,
    facts: Facts,
    context: Context,
    mapper: Mapper,
) -> Situation:
    """Scope, mapping and matching of one kind."""
    schema = facts.target.get(kind)
    exact = exact_paths(rules, schema)
    scoped = select(rules, source, kind, assignment=job.assignment, now=context.now)
    desired = mapper(rules, scoped, context, schema=schema)
    scoped, unmapped = _without_unmapped(scoped, desired)
    desired.held = [*unmapped, *_undecided(scoped)]
    unreadable = pd.Index([row.key for row in source.unreadable if row.kind is kind and row.key], dtype="str")
    links = remembered.links[kind]
    if kind is Kind.USER and len(source.aliases):
        others = _other_anchors(source, scoped, desired, links)
        desired.held += [_two_accounts(source, str(other)) for other in others.index[others]]
        unreadable = unreadable.append(others.index)
    present = scoped.present.append(unreadable)
    matches = match_entries(
        rules.matching,
        desired,
        target.entries(kind),
        links,
        present=present,
        exact=exact,
        elsewhere=remembered.elsewhere,
        ended=scoped.out.index,
        same_person=partial(_have_one_name, rules, source.entries(kind)),
        aliases=source.aliases if kind is Kind.USER else None,
        unseen=unseen(links.index, present, source.parts),
        rewritten=_rewritten(rules, desired),
    )
    return Situation(
        rules=rules,
        scoped=scoped,
        unreadable=unreadable,
        desired=desired,
        matches=matches,
        existing=target.entries(kind),
        links=links,
        traits=facts.traits,
        deprovision=job.deprovision,
        exact=exact,
        now=context.now,
        drift=job.drift,
        vanished=job.vanished,
        elsewhere=remembered.elsewhere,
        recall=remembered.written,
        former=remembered.former,
        unsettled=remembered.unsettled.get(kind, {}),
        unique=_unique_paths(rules, schema),
        people_there=target.users.index if target.complete else None,
        schema=schema or {},
    )


def _unique_paths(rules: EntryRules, schema: Mapping[str, Attribute] | None) -> frozenset[str]:
    """Attributes of which no two entries have the same value: as the target says, and those that accounts go by."""
    told = {path for path in rules.attributes if schema and (info := schema.get(path)) is not None and info.unique}
    return frozenset(told | {rule.target for rule in rules.matching})


def _rewritten(rules: EntryRules, desired: Desired) -> frozenset[str]:
    """Attributes that an update writes, so that an entry whose value changes gives up the one that it has."""
    if not rules.actions.update:
        return frozenset()
    usual = {path for path, one in rules.attributes.items() if one.apply is Apply.ALWAYS and not only_default(one)}
    return frozenset(usual - desired.candidates.keys())


def _without_unmapped(scoped: Scoped, desired: Desired) -> tuple[Scoped, list[Held]]:
    """People whom the source has disabled lose access, even where a mapping cannot read a value; the rest stay held."""
    if not desired.held:
        return scoped, []
    failed = pd.Index([held.anchor for held in desired.held], dtype="str")
    ended = failed[scoped.entries[SOFT_DELETED].reindex(failed).fillna(False).to_numpy(dtype=bool)]
    if not len(ended):
        return scoped, desired.held
    out = pd.concat([scoped.out, pd.Series(DISABLED_IN_SOURCE, index=ended, dtype="str")])
    gone = set(ended)
    return replace(scoped, out=out), [held for held in desired.held if held.anchor not in gone]


def _undecided(scoped: Scoped) -> list[Held]:
    """Entries about which the filter cannot be judged."""
    return [
        Held(scoped.kind, str(anchor), ErrorCode.SCOPE_UNDECIDED, reason, label=str(anchor))
        for anchor, reason in zip(scoped.held.index, scoped.held, strict=True)
    ]


def _have_one_name(rules: EntryRules, frame: pd.DataFrame, new: str, old: str) -> bool:
    """Whether two records of the source are of one person, by the attributes that the names in the target come from.

    The value that accounts are matched by, they have in common already. Where no name is mapped, that is enough.
    """
    if old not in frame.index:
        return False
    names: set[str] = set()
    matched = {rule.target for rule in rules.matching}
    for path, mapping in rules.attributes.items():
        text = expression_of(mapping)
        if text is not None and "name" in path.lower() and path not in matched:
            names |= compile_expression(text).attributes
    for rule in rules.matching:
        names -= compile_expression(rule.source).attributes
    both = frame.loc[[new, old], sorted(names & set(frame.columns))]
    return all(str(a).strip().casefold() == str(b).strip().casefold() for a, b in zip(*both.to_numpy(), strict=True))


def _stranger(kind: Kind, key: str) -> Held:
    why = f"The {kind} {key} is assigned, but the source has no such {kind}."
    return Held(kind, key, ErrorCode.UNRESOLVED_REFERENCE, why, label=key)


def exact_paths(rules: EntryRules, schema: Mapping[str, Attribute] | None) -> frozenset[str]:
    """Target paths where another case is another value: as the target's schema or the job says."""
    paths = {*rules.attributes, *(rule.target for rule in rules.matching)}
    by_schema = {path for path in paths if schema and (info := schema.get(path)) is not None and info.exact}
    by_job = {path: mapping.exact_case for path, mapping in rules.attributes.items() if mapping.exact_case is not None}
    return frozenset(path for path in by_schema | by_job.keys() if by_job.get(path, True))
