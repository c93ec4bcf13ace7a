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
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from connectors.contract import Action
from tasks.checks.bench import Checked
from tasks.checks.decided import in_force
from tasks.checks.digests import same
from tasks.ledger import Item, Staged, StagedState


@dataclass(slots=True)
class Bookkeeping:
    """What changes among a job's staged changes."""

    put: list[Staged] = field(default_factory=list)
    drop: list[Staged] = field(default_factory=list)
    announced: list[Staged] = field(default_factory=list)
    """What waits now and did not before, or not all of it."""
    lapsed: list[Staged] = field(default_factory=list)
    """What nothing is left to do of."""


def keep_books(checked: Checked, known: Sequence[Staged], *, cycle_id: int) -> Bookkeeping:
    """What to write and what to forget, given what the ledger holds now.

    ``known`` may be younger than what the plan was judged by: what was decided in between stays decided.
    """
    moment = checked.plan.made_at
    decided = {*in_force(known, StagedState.APPROVED, moment), *in_force(known, StagedState.REJECTED, moment)}
    news = {one.key: one for one in checked.waiting}
    wanted = {(one.state, one.key): one for one in (*checked.approved, *checked.rejected)}
    judged = set(checked.known)
    running = _running(checked, known)
    books, kept, waiting = Bookkeeping(), set[tuple[StagedState, Item]](), dict(news)
    for one in known:
        place = (one.state, one.key)
        if one in decided and one not in judged and place in wanted:
            kept.add(place)  # decided about more, or anew, while this cycle ran: the next one looks at it
            if one.key in waiting:
                waiting[one.key] = _without(waiting[one.key], one)
        elif one in decided and place in wanted:
            kept.add(place)
            books.put += [wanted[place]] if wanted[place] != one else []
        elif one in decided and one not in judged and one.key in news:
            kept.add(place)
            waiting[one.key] = _without(waiting[one.key], one)
        elif one.key not in news and one.key not in running and (one.kind, one.anchor) in checked.unjudged:
            kept.add(place)
    before = {one.key: one for one in known if one not in decided}
    for key, item in waiting.items():
        if item.action in (Action.REMOVE_MEMBERS, Action.UPDATE) and not (item.members or item.attributes):
            continue
        if any(one.key == key and _covers_entry(one, item) for one in decided - judged):
            continue
        old = before.get(key)
        asked_anew = old is None or old.decided_at is not None or _is_more(item, old)
        item = replace(
            item,
            cycle_id=cycle_id if old is None or asked_anew else old.cycle_id,
            since=old.since if old else item.since,
        )
        kept.add((StagedState.STAGED, key))
        books.announced += [item] if old is None or old.state is not StagedState.STAGED or _is_more(item, old) else []
        books.put += [item] if item != old else []
    for one in known:
        if (one.state, one.key) in kept:
            continue
        books.drop.append(one)
        overruled = one in decided and one.state is StagedState.REJECTED
        books.lapsed += [one] if overruled or (one.key not in running and one.key not in news) else []
    return books


def _running(checked: Checked, known: Sequence[Staged]) -> set[Item]:
    """What of this is carried out now."""
    anchors = {one.anchor for one in known}
    return {
        (block.kind, block.action, anchor)
        for block in checked.blocks
        for anchor in block.table["anchor"][block.table["anchor"].isin(anchors)]
    }


def _is_more(new: Staged, old: Staged) -> bool:
    """True where more waits than before, or something else: another account, other values."""
    same_account = new.target_id == old.target_id and new.cause == old.cause
    values = dict(old.digests)
    changed = any(path in values and values[path] != digest for path, digest in new.digests)
    wider = not (set(new.members) <= set(old.members) and set(new.attributes) <= set(old.attributes))
    return wider or changed or not same_account


def _covers_entry(decided: Staged, item: Staged) -> bool:
    """True where a decision about a whole account is about this one."""
    about_parts = item.action in (Action.REMOVE_MEMBERS, Action.UPDATE)
    return not about_parts and decided.target_id == item.target_id and decided.cause == item.cause


def _without(item: Staged, decided: Staged) -> Staged:
    """What waits, without what was decided meanwhile about the same account, members and values."""
    if decided.target_id != item.target_id:
        return item
    known, now = dict(decided.digests), dict(item.digests)
    settled = {path for path in decided.attributes if same(known.get(path), now.get(path, ""))}
    return replace(
        item,
        members=tuple(one for one in item.members if one not in set(decided.members)),
        attributes=tuple(path for path in item.attributes if path not in settled),
        digests=tuple((path, digest) for path, digest in item.digests if path not in settled),
    )
