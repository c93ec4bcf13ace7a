"""What a cycle sees of both systems: read whole where it must be, as last known where that is enough.

An incremental cycle asks a source that can tell changes for these only, and does not list the target: it takes the
target as last known and looks at single entries where it may be wrong. Should that cost more requests than a listing,
the target is listed. ``Sight.how`` says which it was, and why.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

import pandas as pd

from connectors.contract import Action, Kind, Snapshot, Wanted, no_entries
from connectors.errors import SchemaMismatchError, SettingsError
from flows.cycle.home import home
from flows.cycle.systems import CLOCK, Recalled, Systems
from tasks.acting import as_it_acts
from tasks.effects import may_be_late, to_look_at
from tasks.expressions import Context
from tasks.extract import Facts, needs_of, read_sources, read_target
from tasks.job import Job, Reconcile
from tasks.keys import find, texts
from tasks.knowledge import (
    WITNESSES,
    Question,
    answer,
    look_at,
    look_up,
    questions,
    shown_otherwise,
    to_be_sure_of,
)
from tasks.ledger import FINISHED_STATES, WHOLE_KINDS, Attempt, Cycle, CycleKind, Ledger
from tasks.lost import lost_creates, unseen, whereabouts
from tasks.mapping import redacted_paths
from tasks.plan import Plan
from tasks.snapshots import Kept, Side, SnapshotStore
from tasks.sources import SOLE

Progress = Callable[[int], None]

DAILY = timedelta(hours=24)
"""How long after a listing the next one is due, where a job reconciles daily."""


class CycleChoice(StrEnum):
    """What a person may ask a cycle to evaluate."""

    AUTO = "auto"
    INITIAL = "initial"
    INCREMENTAL = "incremental"
    RECONCILE = "reconcile"


@dataclass(slots=True)
class Sight:
    """The target as a cycle sees it.

    A plain slotted class on purpose: an orchestrator that walks parameters leaves it alone.
    """

    snapshot: Snapshot
    how: str
    """How it was seen, and why so: a sentence for people."""
    listing: Snapshot | None = None
    """The target's own listing, where one was made."""
    kept: Kept | None = None
    """What was known before; None where nothing was, or where one entry alone is seen."""
    looked_at: int = 0
    """Entries that were looked at one by one."""
    looked: Mapping[Kind, frozenset[str]] = field(default_factory=dict)
    """Ids of the entries that were read by their id, whether they are there or not."""

    @property
    def listed(self) -> bool:
        """True when the target itself said who is there."""
        return self.listing is not None


def kind_of_cycle(ledger: Ledger, job: Job, choice: CycleChoice, *, now: datetime) -> CycleKind:
    """What a cycle of the job that begins now evaluates.

    By itself: everything when no cycle ever came to its end, the configuration has changed, or a restart cleared the
    watermark; then as often as the job says everything against the real target; in between what changed.
    """
    if choice is not CycleChoice.AUTO:
        return CycleKind(choice)
    last = ledger.last_cycle(job.name, states=FINISHED_STATES, kinds=WHOLE_KINDS)
    if last is None or last.fingerprint != job.fingerprint() or ledger.watermark(job.name) is None:
        return CycleKind.INITIAL
    match job.reconcile:
        case Reconcile.EVERY_CYCLE:
            return CycleKind.RECONCILE
        case Reconcile.NEVER:
            return CycleKind.INCREMENTAL
        case Reconcile.DAILY:
            listed = ledger.last_cycle(job.name, states=FINISHED_STATES, kinds=(CycleKind.INITIAL, CycleKind.RECONCILE))
            due = listed is None or listed.began + DAILY <= now
            return CycleKind.RECONCILE if due else CycleKind.INCREMENTAL


def store_of(job: str, source: str = SOLE) -> SnapshotStore:
    """Where a job's snapshots are; of one of several sources, by its name, those of its own."""
    folder = home() / "snapshots" / job
    return SnapshotStore(folder if source == SOLE else folder / "sources" / source)


def see_source(
    job: Job,
    systems: Systems,
    ledger: Ledger,
    facts: Facts,
    kind: CycleKind,
    context: Context,
    *,
    cycle: Cycle | None = None,
    progress: Progress | None = None,
) -> Snapshot:
    """The source as it acts at ``context.now``, whole. Only what changed is read where the source can tell and the rest
    is known. Raises: FatalError.

    Once a day it is read whole, however seldom the target is listed: a row that was committed very late is in no delta.
    With a ``cycle`` it is kept for the next delta, unless the job redacts values: then it is always read whole.
    """
    names = [one.name for one in (*job.people, *job.enrich)]
    kept = {name: found for name in names if (found := _kept_source(job, ledger, kind, name)) is not None}
    known = {name: one.snapshot for name, one in kept.items()}
    read = read_sources(job, systems.source, facts, known=known, progress=progress)
    source = as_it_acts(job, read, context)
    refuse_another_layout(ledger, job, source)
    if cycle is not None:
        for name, snapshot in read.items():
            before = kept.get(name)
            if before is None or before.snapshot.watermark != snapshot.watermark:
                _keep_source(job, cycle, name, snapshot, whole_at=before.listed_at if before else cycle.began)
    return source


def _kept_source(job: Job, ledger: Ledger, kind: CycleKind, name: str) -> Kept | None:
    """What is kept of one source for a read of changes; None where it is to be read whole."""
    if kind is not CycleKind.INCREMENTAL or ledger.watermark(job.name) is None:
        return None
    kept = _believed(job, ledger, Side.SOURCE, name)
    return None if kept is not None and kept.listed_at + DAILY <= CLOCK.get()() else kept


_LAYOUT = re.compile(r" \([^()]*\)")


def refuse_another_layout(ledger: Ledger, job: Job, source: Snapshot) -> None:
    """Stops a cycle whose files are laid out in another way than before: numbers and dates may be other ones too.

    Raises: SettingsError.
    """
    last = ledger.last_cycle(job.name, states=FINISHED_STATES, kinds=WHOLE_KINDS)
    if last is None or not last.source or last.source == source.system or last.fingerprint != job.fingerprint():
        return
    if _LAYOUT.sub("", last.source) == _LAYOUT.sub("", source.system):
        raise SettingsError(
            f"The source is laid out in another way than in the last cycle: it was {last.source}, and is "
            f"{source.system}. Numbers and dates may have changed with it. Export it as before; if it "
            "stays so, set delimiter in the job. Nothing was written."
        )


def see_target(
    job: Job, systems: Systems, ledger: Ledger, facts: Facts, kind: CycleKind, *, progress: Progress | None = None
) -> Sight:
    """The target as last known where the cycle is incremental and that can be believed, else its listing.

    Raises: FatalError.
    """
    kept, attempts = _believed(job, ledger, Side.TARGET), ledger.open_attempts(job.name)
    lost = lost_creates(attempts)
    if kind is not CycleKind.INCREMENTAL:
        return list_target(
            job, systems, facts, attempts, why=f"this is the {kind} cycle's part", kept=kept, progress=progress
        )
    if _matches_by_redacted(job):
        why = "accounts are matched by an attribute whose values are never stored"
        return list_target(job, systems, facts, attempts, why=why, kept=None, progress=progress)
    if kept is None:
        why = "nothing is known about it from earlier cycles"
        return list_target(job, systems, facts, attempts, why=why, kept=None, progress=progress)
    doubtful = _doubtful(job, ledger, kept, attempts)
    asked = whereabouts(lost)
    count = sum(map(len, doubtful.values())) + sum(len(question.values) for question in asked)
    if count > kept.listing_requests:
        why = f"reading {count:,} uncertain entries one by one would take more requests"
        return list_target(job, systems, facts, attempts, why=why, kept=kept, progress=progress)
    wanted = needs_of(job, facts.traits).target
    try:
        linked = {kind: ledger.anchors(job.name, kind, sorted(some)) for kind, some in doubtful.items()}
        fresh = may_be_late(attempts, linked=linked)
        known = look_at(kept.snapshot, doubtful, systems.target, wanted, late=fresh)
        snapshot, _ = answer(known, asked, systems.target, wanted)
    except SchemaMismatchError as error:
        why = f"it cannot be queried for single accounts ({error})"
        return list_target(job, systems, facts, attempts, why=why, kept=kept, progress=progress)
    how = f"The target was not listed: it is as known from {kept.listed_at:%Y-%m-%d %H:%M} UTC and what was done since"
    how += f", {count:,} uncertain entries were read." if count else "."
    return Sight(snapshot, how, kept=kept, looked_at=count, looked=_frozen(doubtful))


def list_target(
    job: Job,
    systems: Systems,
    facts: Facts,
    attempts: Sequence[Attempt],
    *,
    why: str,
    kept: Kept | None,
    progress: Progress | None = None,
) -> Sight:
    """The target's complete listing; what attempts whose answers were lost are about is read one by one besides.

    Raises: FatalError.
    """
    listing = read_target(job, systems.target, facts, progress=progress)
    how = f"The target was listed ({listing.requests:,} requests): {why}."
    wanted, ids = needs_of(job, facts.traits).target, to_look_at(attempts)
    listing = look_at(listing, ids, systems.target, wanted, late=may_be_late(attempts))
    if asked := whereabouts(unseen(lost_creates(attempts), job, listing, facts.target)):
        with suppress(SchemaMismatchError):  # it cannot be asked: then the listing is all there is
            listing, found = answer(listing, asked, systems.target, wanted)
            how += f" Accounts that it lacks and lost creates may have made were looked up: {found:,} found."
    return Sight(listing, how, listing=listing, kept=kept, looked=_frozen(ids))


def make_sure(
    job: Job,
    systems: Systems,
    facts: Facts,
    sight: Sight,
    make_plan: Callable[[Sight], Plan],
    *,
    refused: Collection[tuple[Kind, str]],
    recalled: Recalled,
    asked: Sequence[Question] = (),
) -> tuple[Plan, Sight]:
    """A plan whose joiners have been looked up in the target, and the sight it was made from. Raises: FatalError.

    An account that turns up is taken into the sight and the plan made again, which may ask for other values. A target
    that cannot be asked, or only with more requests than a listing takes, is listed; never where one entry alone is
    seen. What a listing may be late about is read one by one. ``refused``: kind and anchor of entries that the target
    refused before; ``asked``: what has been asked.
    """
    wanted = needs_of(job, facts.traits).target
    plan, known = make_plan(sight), list(asked)
    while not sight.listed and (new := questions(plan, facts.target, refused=refused, asked=known)):
        known += new
        count = sum(len(question.values) for question in new)
        why = f"looking up {count:,} values of joiners one by one would take more requests"
        if sight.kept is None or sight.looked_at + count <= sight.kept.listing_requests:
            try:
                snapshot, found = answer(sight.snapshot, new, systems.target, wanted)
            except SchemaMismatchError as error:
                if sight.kept is None:
                    raise
                why = f"it cannot be queried for single accounts ({error})"
            else:
                sight = replace(sight, snapshot=snapshot, looked_at=sight.looked_at + count)
                if sight.kept is not None:
                    sight.how += f" Joiners were looked up: {count:,} values, {found:,} unknown accounts found."
                if not found:
                    break
                plan = make_plan(sight)
                continue
        sight = list_target(job, systems, facts, recalled.attempts, why=why, kept=sight.kept)
        plan = make_plan(sight)
    if not sight.listed and (ids := _by_their_names(job, plan, sight)):
        plan, sight = _look_at_leavers(job, systems, facts, sight, make_plan, ids, recalled)
    while sight.listed and (ids := _to_be_sure_of(plan, sight, recalled)):
        snapshot = look_at(sight.snapshot, ids, systems.target, wanted, late=recalled.recent)
        looked = {kind: sight.looked.get(kind, frozenset()) | ids.get(kind, set()) for kind in Kind}
        count = sum(map(len, ids.values()))
        how = f"{sight.how} A listing may be late: {count:,} entries were read one by one."
        sight = replace(sight, snapshot=snapshot, listing=snapshot, how=how, looked=looked)
        plan = make_plan(sight)
    return plan, sight


def _by_their_names(job: Job, plan: Plan, sight: Sight) -> dict[Kind, set[str]]:
    """Who is to be switched off or deleted and was not looked at: as last known, nobody knows what they are called now.

    Only where the job protects some by their names.
    """
    ids: dict[Kind, set[str]] = {}
    for block in plan.blocks if job.protect else ():
        if block.action in (Action.DISABLE, Action.DELETE):
            new = set(block.table["target_id"]) - sight.looked.get(block.kind, frozenset())
            ids.setdefault(block.kind, set()).update(new)
    return {kind: some for kind, some in ids.items() if some}


def _look_at_leavers(
    job: Job,
    systems: Systems,
    facts: Facts,
    sight: Sight,
    make_plan: Callable[[Sight], Plan],
    ids: Mapping[Kind, Collection[str]],
    recalled: Recalled,
) -> tuple[Plan, Sight]:
    """The plan, made of accounts as they are called now: one that is protected by that name is not switched off."""
    count = sum(map(len, ids.values()))
    why = f"reading {count:,} accounts to be disabled would take more requests"
    if sight.kept is None or sight.looked_at + count <= sight.kept.listing_requests:
        try:
            snapshot = look_at(sight.snapshot, ids, systems.target, needs_of(job, facts.traits).target)
        except SchemaMismatchError as error:
            why = f"it cannot be queried for single accounts ({error})"
        else:
            looked = {kind: sight.looked.get(kind, frozenset()) | set(ids.get(kind, ())) for kind in Kind}
            how = f"{sight.how} Accounts to be disabled were read: {count:,}."
            sight = replace(sight, snapshot=snapshot, looked_at=sight.looked_at + count, looked=looked, how=how)
            return make_plan(sight), sight
    sight = list_target(job, systems, facts, recalled.attempts, why=why, kept=sight.kept)
    return make_plan(sight), sight


def _to_be_sure_of(plan: Plan, sight: Sight, recalled: Recalled) -> dict[Kind, set[str]]:
    """What has to be read one by one and was not yet; empty where there is nothing."""
    ids = to_be_sure_of(plan, sight.snapshot, recalled.links, recalled.recent)
    if sight.kept is not None:
        late = shown_otherwise(sight.snapshot, sight.kept.snapshot, recalled.recent)
        ids = {kind: some | late.get(kind, set()) for kind, some in ids.items()}
    new = {kind: some - sight.looked.get(kind, frozenset()) for kind, some in ids.items()}
    return {kind: some for kind, some in new.items() if some}


def _frozen(ids: Mapping[Kind, Collection[str]]) -> dict[Kind, frozenset[str]]:
    return {kind: frozenset(some) for kind, some in ids.items()}


def base_of(job: Job, cycle: Cycle, sight: Sight) -> Kept:
    """What is known of the target before anything is sent, without what the job redacts."""
    snapshot = _without_redacted(job, sight.snapshot)
    if sight.listing is None:
        assert sight.kept is not None
        return replace(sight.kept, snapshot=snapshot)
    listing = sight.listing
    return Kept(snapshot, cycle.id, cycle.began, cycle.fingerprint, listing.read_at, listing.requests)


def _keep_source(job: Job, cycle: Cycle, name: str, source: Snapshot, *, whole_at: datetime) -> None:
    store = store_of(job.name, name)
    if source.watermark is None or not source.complete or _redacts(job):
        store.forget(Side.SOURCE)
        return
    kept = Kept(source, cycle.id, cycle.began, cycle.fingerprint, whole_at, source.requests)
    store.keep(Side.SOURCE, kept)


def _believed(job: Job, ledger: Ledger, side: Side, source: str = SOLE) -> Kept | None:
    """What is kept of a side, when it belongs to this ledger and this configuration."""
    kept = store_of(job.name, source).recall(side, fingerprint=job.fingerprint())
    if kept is None:
        return None
    cycle = ledger.cycle(job.name, kept.cycle_id)
    return kept if cycle is not None and cycle.began == kept.cycle_began else None


def _doubtful(job: Job, ledger: Ledger, kept: Kept, attempts: Sequence[Attempt]) -> Mapping[Kind, set[str]]:
    touched, unanswered = ledger.touched_since(job.name, kept.cycle_id), to_look_at(attempts)
    return {kind: touched[kind] | unanswered[kind] | set(kept.doubtful.get(kind, ())) for kind in Kind}


def _redacts(job: Job) -> bool:
    return any(redacted_paths(rules) for rules in job.rules.values())


def _matches_by_redacted(job: Job) -> bool:
    return any(rule.target in redacted_paths(rules) for rules in job.rules.values() for rule in rules.matching)


def _without_redacted(job: Job, snapshot: Snapshot) -> Snapshot:
    kept = {
        kind: snapshot.entries(kind).drop(columns=redacted_paths(rules), errors="ignore")
        for kind, rules in job.rules.items()
    }
    return replace(snapshot, users=kept[Kind.USER], groups=kept.get(Kind.GROUP, snapshot.groups))


# --- one entry -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hits:
    """What the target answered when it was asked for accounts with one value."""

    attribute: str
    value: str | None
    """None where the entry has no value for it; then nobody was asked."""
    accounts: pd.DataFrame
    """Index: id; columns as ``Target.find`` gives them."""


def see_entry(
    job: Job,
    systems: Systems,
    ledger: Ledger,
    facts: Facts,
    kind: Kind,
    *,
    linked: str | None,
    sought: Sequence[tuple[str, str | None]],
    late: Collection[tuple[str, str]],
    links: Mapping[Kind, pd.DataFrame],
    attempts: Sequence[Attempt] = (),
    recent: Collection[str] = (),
) -> tuple[Sight, list[Hits]]:
    """The target as known, with one entry of it as it is now; never a listing.

    ``linked``: id of the entry's account, where it has one. ``sought``: attributes and values by which an account of
    it would be recognised; ``late``: those by which it may be shown only in a while. ``links``: the ledger's, by kind.
    ``attempts``: those of the entry whose answers were lost; ``recent``: ids to which something was sent a moment ago.
    Of others, what is not known is null: nothing can be planned for them. Raises: FatalError.
    """
    target, wanted = systems.target, needs_of(job, facts.traits).target
    kept = None if _matches_by_redacted(job) else _believed(job, ledger, Side.TARGET)
    if kept is not None:
        known = kept.snapshot.entries(kind)
    else:  # a person without a link must not get a second account
        some = [] if linked is not None else [str(id_) for id_ in links[kind]["target_id"].iloc[:WITNESSES]]
        known = target.fetch(kind, some, wanted).entries(kind)
    hits = [
        Hits(
            path,
            value,
            no_entries()
            if value is None
            else look_up(Question(kind, path, (value,), late=(path, value) in late), target, wanted, known=known),
        )
        for path, value in sought
    ]
    base = kept if kept is not None else _blank(job, systems, wanted)
    # Who had such a value when the target was last seen may have it no more.
    ids = {linked} if linked is not None else set()
    ids |= to_look_at(attempts)[kind]
    for one in hits:
        ids |= {*one.accounts.index, *_holders(base.snapshot.entries(kind), one)}
    asked = {one: set[str]() for one in Kind} | {kind: ids}
    if kept is None and kind is Kind.USER and linked is not None:
        asked[Kind.GROUP] = _guarded_groups(job, systems, wanted, links)
    # By its id it may be shown only in a while: what was found by a value, or was written to a moment ago.
    late_ids = {id_ for one in hits for id_ in one.accounts.index} | may_be_late(attempts)[kind]
    late_ids |= {linked} & set(recent) if linked is not None else set()
    snapshot = look_at(base.snapshot, asked, target, wanted, late={kind: late_ids})
    snapshot = _with_linked(snapshot, links, asked)
    how = f"The target was queried for this {kind} only."
    return Sight(snapshot, how, looked_at=sum(map(len, asked.values())) + len(hits), looked=_frozen(asked)), hits


def _blank(job: Job, systems: Systems, wanted: Wanted) -> Kept:
    """A target of which nothing is known but its attributes."""
    empty = systems.target.fetch(Kind.USER, [], wanted)
    groups = systems.target.fetch(Kind.GROUP, [], wanted).groups if job.groups is not None else no_entries()
    return Kept(replace(empty, groups=groups), 0, empty.read_at, job.fingerprint(), empty.read_at, 0)


def _holders(frame: pd.DataFrame, one: Hits) -> list[str]:
    if one.value is None or one.attribute not in frame:
        return []
    held = (frame[one.attribute].astype("str").str.lower() == one.value.lower()).fillna(False)
    return [str(id_) for id_ in frame.index[held.to_numpy(dtype=bool)]]


def _guarded_groups(job: Job, systems: Systems, wanted: Wanted, links: Mapping[Kind, pd.DataFrame]) -> set[str]:
    """Ids of the groups that must keep an active member, by anchor, id, or value of a matching attribute."""
    names = job.limits.administrators.groups
    if not names or job.groups is None:
        return set()
    known = links[Kind.GROUP]["target_id"]
    ids = {*(str(known[name]) for name in names if name in known.index)}
    for rule in job.groups.matching:
        ids |= {str(id_) for id_ in systems.target.find(Kind.GROUP, rule.target, list(names), wanted).index}
    return ids


def _with_linked(
    snapshot: Snapshot, links: Mapping[Kind, pd.DataFrame], asked: Mapping[Kind, Collection[str]]
) -> Snapshot:
    """The snapshot with a row of nulls for every linked account that it lacks, but for those that were looked at."""
    frames = {}
    for kind in Kind:
        frame = snapshot.entries(kind)
        ids = pd.Index(links[kind]["target_id"], dtype="str")
        missing = ids[(find(texts(ids), texts(frame.index)) < 0) & ~ids.isin(list(asked[kind]))]
        frames[kind] = frame.reindex(frame.index.append(missing).rename(frame.index.name)) if len(missing) else frame
    return replace(snapshot, users=frames[Kind.USER], groups=frames[Kind.GROUP])
