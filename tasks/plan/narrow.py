"""A plan of everybody, narrowed to a few of its entries. Pure.

What is left is exactly what the plan would have done about these entries, but for what depends on others: a reference
to somebody, or a member, who would have got an account in the same plan, and now does not. It is left out and noted;
the entry's fingerprint says so, and a later cycle sets it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.keys import texts
from tasks.mapping import Held, Mask
from tasks.membership import is_among
from tasks.plan.blocks import Block, EntryPlan, Later, Wave
from tasks.plan.build import Plan
from tasks.plan.people import Footing, members_left_out, reference_without_account


def only(plan: Plan, kind: Kind, anchors: Collection[str]) -> Plan:
    """The plan as far as it is about some entries of one kind; of groups their memberships too."""
    missing = _not_created(plan, kind, anchors)
    notes: list[Held] = []
    blocks = [narrowed for block in plan.blocks for narrowed in _blocks(block, kind, anchors, missing, notes)]
    mine = set(anchors)

    def about(entry: Held) -> bool:
        return entry.kind is kind and entry.anchor in mine

    return replace(
        plan,
        blocks=blocks,
        entries={one: _entries(entries, mine if one is kind else set()) for one, entries in plan.entries.items()},
        held=[entry for entry in plan.held if about(entry)],
        notes=[*(entry for entry in plan.notes if about(entry)), *notes],
    )


def _not_created(plan: Plan, kind: Kind, anchors: Collection[str]) -> dict[Kind, frozenset[str]]:
    """Who would have got an account and does not, by kind."""
    created: dict[Kind, set[str]] = {one: set() for one in Kind}
    for block in plan.blocks:
        if block.action is Action.CREATE:
            created[block.kind].update(block.table["anchor"])
    return {one: frozenset(some - set(anchors) if one is kind else some) for one, some in created.items()}


def _entries(entries: EntryPlan, mine: set[str]) -> EntryPlan:
    settling, passed_over = entries.settling, entries.passed_over
    ending = mine | {old for new, old in entries.taken.items() if new in mine}

    def among(index: pd.Index) -> Mask:
        return is_among(index, texts(pd.Index(sorted(mine), dtype="str")))

    def settled() -> pd.DataFrame:
        links = settling.result()
        return links.loc[among(links.index)] if len(links) else links

    def left_out() -> "pd.Series[str]":
        found = passed_over.result()
        return found.loc[among(found.index)] if len(found) else found

    return replace(
        entries,
        blocks=[part for block in entries.blocks if len(part := _rows(block, mine))],
        held=[entry for entry in entries.held if entry.anchor in mine],
        notes=[entry for entry in entries.notes if entry.anchor in mine],
        unchanged=0,
        settling=Later(settled),
        dropped=[anchor for anchor in entries.dropped if anchor in ending],
        drifted=[one for one in entries.drifted if one.anchor in mine],
        unmanaged=Later(lambda: pd.Index([], dtype="str")),
        passed_over=Later(left_out),
    )


def _rows(block: Block, mine: Collection[str]) -> Block:
    return block.take(block.table["anchor"].isin(list(mine)).to_numpy(dtype=bool))


def _blocks(
    block: Block, kind: Kind, mine: Collection[str], missing: Mapping[Kind, frozenset[str]], notes: list[Held]
) -> Iterator[Block]:
    if block.kind is not kind:
        return
    part = _rows(block, mine)
    if part.action is Action.ADD_MEMBERS:
        part = _without_members(part, missing[Kind.USER] | missing[Kind.GROUP], notes)
    elif part.after is not None:
        part = _without_references(part, missing[Kind.USER], notes)
    if len(part):
        yield part


def _without_members(block: Block, missing: frozenset[str], notes: list[Held]) -> Block:
    """The block without members who have no account; every group that lacks some is noted."""
    kept = [[member for member in members if member not in missing] for members in block.table["members"]]
    lost: dict[str, int] = {}
    for anchor, before, after in zip(block.table["anchor"], block.table["members"], kept, strict=True):
        lost[anchor] = lost.get(anchor, 0) + len(before) - len(after)
    labels = dict(zip(block.table["anchor"], block.table["label"], strict=True))
    for anchor, count in lost.items():
        if count:
            why = members_left_out([Footing.NONE] * count)
            notes.append(Held(block.kind, anchor, ErrorCode.UNRESOLVED_REFERENCE, why, label=labels[anchor]))
    table = block.table.assign(members=pd.Series(kept, index=block.table.index, dtype=object))
    return replace(block, table=table).take(np.array([bool(members) for members in kept], dtype=bool))


def _without_references(block: Block, missing: frozenset[str], notes: list[Held]) -> Block:
    """The block without references to people who have no account; the desired state is without them too."""
    assert block.after is not None
    after, touched, desired = block.after, block.touched, block.desired
    for path in sorted(block.references & set(after.columns)):
        column, lost = _left_out(after[path], missing)
        if not lost.any():
            continue
        after = after.assign(**{path: column})
        if desired is not None and path in desired:
            desired = desired.assign(**{path: _left_out(desired[path], missing)[0]})
        if touched is not None:
            touched = touched.assign(**{path: touched[path] & ~(lost & column.isna().to_numpy(dtype=bool))})
        for row in np.flatnonzero(lost):
            anchor, label = str(block.table["anchor"].iloc[row]), str(block.table["label"].iloc[row])
            referred = block.after[path].iloc[row]
            lost_now = [name for name in (referred if isinstance(referred, list) else [referred]) if name in missing]
            why = reference_without_account(path, lost_now)
            notes.append(Held(block.kind, anchor, ErrorCode.UNRESOLVED_REFERENCE, why, label=label))
    narrowed = replace(block, after=after, touched=touched, desired=desired)
    if touched is None and block.wave is not Wave.SET_REFERENCES:
        return narrowed
    something = (touched if touched is not None else after.notna()).any(axis=1).to_numpy(dtype=bool)
    return narrowed if something.all() else narrowed.take(something)


def _left_out(column: pd.Series, missing: frozenset[str]) -> tuple[pd.Series, Mask]:
    """A column of anchors without the missing ones; and the rows that lost some."""
    if column.dtype != object:
        lost = column.isin(list(missing)).to_numpy(dtype=bool)
        return column.mask(lost), lost
    cells = [[one for one in cell if one not in missing] or None if isinstance(cell, list) else cell for cell in column]
    pairs = zip(column, cells, strict=True)
    lost = np.array([isinstance(old, list) and old != new for old, new in pairs], dtype=bool)
    return pd.Series(cells, index=column.index, dtype=object), lost
