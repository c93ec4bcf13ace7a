"""What the ledger is to remember of a judged plan: what waits, what was decided, what has lapsed. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from connectors.contract import Action
from tasks.checks.bench import Checked
from tasks.checks.decided import in_force
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
    books = Bookkeeping()
    moment = checked.plan.made_at
    decided = [*in_force(known, StagedState.APPROVED, moment), *in_force(known, StagedState.REJECTED, moment)]
    wanted = {(one.state, one.key): one for one in (*checked.approved, *checked.rejected)}
    settled = set(decided)
    before = {one.key: one for one in known if one not in settled}
    held = {(entry.kind, entry.anchor) for entry in checked.plan.held}
    news = {one.key: one for one in checked.waiting}
    kept: set[tuple[StagedState, Item]] = set()
    for one in decided:
        place = (one.state, one.key)
        if (narrowed := wanted.get(place)) is not None:
            kept.add(place)
            if narrowed != one:
                books.put.append(narrowed)
        elif one.key in news:  # decided since the plan was judged
            kept.add(place)
            news[one.key] = _without(news[one.key], one)
        elif (one.kind, one.anchor) in held:  # nothing can be said about the entry in this cycle
            kept.add(place)
    running = _running(checked, known)
    for key, item in news.items():
        if item.action in (Action.REMOVE_MEMBERS, Action.UPDATE):
            empty = not (item.members or item.attributes)
        else:
            empty = any((state, key) in kept for state in (StagedState.APPROVED, StagedState.REJECTED))
        if empty:
            continue
        old = before.get(key)
        item = replace(item, cycle_id=old.cycle_id if old else cycle_id, since=old.since if old else item.since)
        kept.add((StagedState.STAGED, key))
        if old is None or old.state is not StagedState.STAGED or not _covers(old, item):
            books.announced.append(item)
        if item != old:
            books.put.append(item)
    for one in known:
        if (one.state, one.key) in kept:
            continue
        books.drop.append(one)
        if one.key not in running and one.key not in news:
            books.lapsed.append(one)
    return books


def _running(checked: Checked, known: Sequence[Staged]) -> set[Item]:
    """What of this is carried out now."""
    anchors = {one.anchor for one in known}
    return {
        (block.kind, block.action, anchor)
        for block in checked.blocks
        for anchor in block.table["anchor"][block.table["anchor"].isin(anchors)]
    }


def _covers(old: Staged, new: Staged) -> bool:
    return set(new.members) <= set(old.members) and set(new.attributes) <= set(old.attributes)


def _without(item: Staged, decided: Staged) -> Staged:
    return replace(
        item,
        members=_missing(item.members, decided.members),
        attributes=_missing(item.attributes, decided.attributes),
    )


def _missing(names: Iterable[str], among: Iterable[str]) -> tuple[str, ...]:
    known = set(among)
    return tuple(name for name in names if name not in known)
