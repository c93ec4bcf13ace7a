"""What the ledger is to remember of a judged plan: what waits, what was decided, what has lapsed. Pure.

A row of the ledger is a held change in one state; what becomes of it, by what this cycle has found:

    | row                | found in this cycle                        | the row     | said in the log               |
    | ------------------ | ------------------------------------------ | ----------- | ----------------------------- |
    | decided, in force  | the plan still wants (part of) it          | stays, as far as it is wanted |             |
    | decided, in force  | decided since the plan was judged          | stays as it is |                            |
    | decided, in force  | nothing can be said about the entry        | stays       |                               |
    | undecided          | held again                                 | stays, with what is held now | what is new  |
    | undecided          | nothing can be said about the entry        | stays       |                               |
    | rejected, in force | another question about the entry is held   | goes        | it has lapsed                 |
    | any other          | something else about the entry is held     | goes        |                               |
    | any                | it is carried out now                      | goes        |                               |
    | any                | otherwise: the plan no longer wants it     | goes        | it has lapsed                 |

A decision that has run out counts as undecided; its row goes, and one without a decision takes its place. A row names
the cycle that brought it about: where more waits than before, or something else, or a decision has run out, this one.

Members of one group who go for different causes are different rows, and so is each decision about some of them. A plan
for some entries only (on demand, undo) says nothing about the rest: a decision in force stays as it is until its change
is carried out, and of members and attributes that wait, only more can wait by it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from connectors.contract import Action
from tasks.checks.bench import Checked
from tasks.checks.decided import in_force
from tasks.checks.digests import same
from tasks.ledger import Item, Matter, Staged, StagedState

_Place = tuple[StagedState, Item, str]


@dataclass(slots=True)
class Bookkeeping:
    """What changes among a job's staged changes."""

    put: list[Staged] = field(default_factory=list)
    drop: list[Staged] = field(default_factory=list)
    announced: list[Staged] = field(default_factory=list)
    """What waits now and did not before, or not all of it."""
    lapsed: list[Staged] = field(default_factory=list)
    """What nothing is left to do of."""


def keep_books(checked: Checked, known: Sequence[Staged], *, cycle_id: int, partial: bool = False) -> Bookkeeping:
    """What to write and what to forget, given what the ledger holds now.

    ``known`` may be younger than what the plan was judged by: what was decided in between stays decided. ``partial``:
    the plan is about some entries only.
    """
    if partial:  # what waits for other reasons, it has nothing to say about
        mine = {one.key for one in (*checked.waiting, *checked.approved, *checked.rejected)}
        known = [one for one in known if one.key in mine]
    moment = checked.plan.made_at
    decided = {*in_force(known, StagedState.APPROVED, moment), *in_force(known, StagedState.REJECTED, moment)}
    books = Bookkeeping()
    news = {one.matter: one for one in checked.waiting}
    running = _running(checked, known)
    kept, waiting = _keep_decided(books, checked, known, decided, partial=partial, running=running)
    undecided = [one for one in known if one not in decided]
    for matter, item in waiting.items():
        if item.in_parts and not (item.members or item.attributes):
            continue
        if any(one.key == item.key and _covers_entry(one, item) for one in decided - set(checked.known)):
            continue
        old = _before(item, undecided)
        if partial and old is not None and old.matter == matter:
            item = _with_rest(item, old)
        asked_anew = old is None or old.decided_at is not None or _is_more(item, old)
        item = replace(
            item,
            cycle_id=cycle_id if old is None or asked_anew else old.cycle_id,
            since=old.since if old else item.since,
        )
        kept.add(item.place)
        books.announced += [item] if old is None or old.state is not StagedState.STAGED or _is_more(item, old) else []
        books.put += [item] if item != old else []
    for one in known:
        if one.place in kept:
            continue
        books.drop.append(one)
        overruled = one in decided and one.state is StagedState.REJECTED
        books.lapsed += [one] if overruled or (one.matter not in running and one.matter not in news) else []
    return books


def _keep_decided(
    books: Bookkeeping,
    checked: Checked,
    known: Sequence[Staged],
    decided: set[Staged],
    *,
    partial: bool,
    running: set[Matter],
) -> tuple[set[_Place], dict[Matter, Staged]]:
    """Places of what stays as somebody has decided it; and what waits besides."""
    waiting = {one.matter: one for one in checked.waiting}
    asked = {one.key for one in checked.waiting}
    wanted = {one.place: one for one in (*checked.approved, *checked.rejected)}
    judged, kept = set(checked.known), set[_Place]()
    for one in known:
        if one in decided and one not in judged and (one.place in wanted or one.key in asked):
            kept.add(one.place)  # decided about more, or anew, while this cycle ran: the next one looks at it
            if one.matter in waiting:
                waiting[one.matter] = _without(waiting[one.matter], one)
        elif one in decided and partial and (one.place in wanted or one.matter not in running):
            kept.add(one.place)
        elif one in decided and one.place in wanted:
            kept.add(one.place)
            books.put += [wanted[one.place]] if wanted[one.place] != one else []
        elif one.matter not in waiting and one.matter not in running and (one.kind, one.anchor) in checked.unjudged:
            kept.add(one.place)
    return kept, waiting


def _before(item: Staged, undecided: Sequence[Staged]) -> Staged | None:
    """What waited of it before: of members of a group these, for this cause before another one."""
    known = [one for one in undecided if one.key == item.key]
    known.sort(key=lambda one: (one.matter != item.matter, one.state is not StagedState.STAGED))
    about = [one for one in known if one.matter == item.matter or not set(one.members).isdisjoint(item.members)]
    return next(iter(about), None)


def _with_rest(item: Staged, old: Staged) -> Staged:
    """What waits, with what waited of the same account before: a plan for some entries does not see the rest."""
    if old.target_id != item.target_id:
        return item
    return replace(
        item,
        members=tuple(dict.fromkeys((*old.members, *item.members))),
        attributes=tuple(dict.fromkeys((*old.attributes, *item.attributes))),
        digests=tuple(sorted({**dict(old.digests), **dict(item.digests)}.items())),
    )


def _running(checked: Checked, known: Sequence[Staged]) -> set[Matter]:
    """What of this is carried out now."""
    anchors = {one.anchor for one in known}
    found: set[Matter] = set()
    for block in checked.blocks:
        table = block.table[block.table["anchor"].isin(anchors)]
        by_cause = block.action is Action.REMOVE_MEMBERS
        for anchor, cause in zip(table["anchor"], table["cause"] if by_cause else [None] * len(table), strict=True):
            found.add(((block.kind, block.action, str(anchor)), None if cause is None else str(cause)))
    return found


def _is_more(new: Staged, old: Staged) -> bool:
    """True where more waits than before, or something else: another account, other values."""
    same_account = new.target_id == old.target_id and new.cause == old.cause
    values = dict(old.digests)
    changed = any(path in values and values[path] != digest for path, digest in new.digests)
    wider = not (set(new.members) <= set(old.members) and set(new.attributes) <= set(old.attributes))
    return wider or changed or not same_account


def _covers_entry(decided: Staged, item: Staged) -> bool:
    """True where a decision about a whole account is about this one."""
    return not item.in_parts and decided.target_id == item.target_id and decided.cause == item.cause


def _without(item: Staged, decided: Staged) -> Staged:
    """What waits, without what was decided meanwhile about the same account, members and values."""
    if decided.target_id != item.target_id or decided.matter != item.matter:
        return item
    known, now = dict(decided.digests), dict(item.digests)
    settled = {path for path in decided.attributes if same(known.get(path), now.get(path, ""))}
    return replace(
        item.without([replace(decided, attributes=tuple(settled))]),
        digests=tuple((path, digest) for path, digest in item.digests if path not in settled),
    )


def without_done(decided: Staged, done: Staged) -> Staged | None:
    """What is left of a decision of which a part is carried out, as on demand for one member; None: nothing."""
    left = decided.without([done])
    return left if left.members or left.attributes else None
