"""What is known of a target without listing it: as it was last listed, with everything done since.

An incremental cycle plans against this instead of against a listing. Whatever it may be wrong about is looked at one by
one before the plan is believed: entries whose last change failed, or was sent by a run that died, and accounts that a
joiner might already have. What others have changed shows at the next listing.

Source: Kubernetes, "Controllers" (never act on a cache that is not known to be full).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from connectors.contract import Action, Attribute, Kind, Snapshot, Target, Wanted
from connectors.errors import SchemaMismatchError
from tasks.keys import find, pick, texts
from tasks.ledger import Cycle
from tasks.membership import is_among
from tasks.plan import Block, EntryPlan, Plan, Remembered
from tasks.plan.compare import differs
from tasks.plan.references import unowned_id
from tasks.snapshots import Kept

ASKED_FOR_AT_MOST = 1_000
"""Accounts missing from a complete listing that are asked for one by one, unless something was sent to them lately."""
WITNESSES = 3
"""Accounts that may have changed meanwhile before a target's answers are believed without one."""

Ids = Mapping[Kind, "pd.Series[str]"]
"""Index: anchor of a linked entry; value: its id in the target."""


# --- before the plan: what has to be looked at ------------------------------------------------------------------------


def look_at(
    snapshot: Snapshot,
    ids: Mapping[Kind, Collection[str]],
    target: Target,
    wanted: Wanted,
    *,
    late: Mapping[Kind, Collection[str]] | None = None,
) -> Snapshot:
    """The target as known or listed, with some entries (ids) as they are now; an entry that is gone is not in it.

    ``late``: those among them that may have been made a moment ago. Raises: FatalError.
    """
    for kind, some in ids.items():
        fresh = set((late or {}).get(kind, ())) & set(some)
        for chosen, patient in ((sorted(set(some) - fresh), False), (sorted(fresh), True)):
            if chosen:
                snapshot = _replaced(snapshot, kind, chosen, target.fetch(kind, chosen, wanted, late=patient))
    return snapshot


def to_be_sure_of(
    plan: Plan, target: Snapshot, remembered: Remembered, recent: Mapping[Kind, Collection[str]]
) -> dict[Kind, set[str]]:
    """Ids of entries that have to be read one by one before a plan made from a listing is believed.

    ``recent``: ids of entries to which something was sent a moment ago. A listing may be late about these: it may show
    them as they were before, or not yet, or still. And an account that a listing lacks is not gone before it has been
    asked for: believing otherwise creates a second one, or leaves a leaver's account on that nobody looks after.
    """
    found: dict[Kind, set[str]] = {}
    for kind, entries in plan.entries.items():
        links = remembered.links[kind]["target_id"]
        created = created_anchors(plan.blocks, kind)
        absent = pd.Index(links.reindex(pd.Index([*created, *entries.dropped], dtype="str")).dropna())
        missing = set(absent[find(texts(absent), texts(target.entries(kind).index)) < 0]) if len(absent) else set[str]()
        blocks = (block for block in plan.blocks if block.kind is kind)
        acted_on = {str(id_) for block in blocks for id_ in block.table["target_id"].dropna()}
        drifted = [one.anchor for one in entries.drifted]
        acted_on |= set(links.reindex(pd.Index(drifted, dtype="str")).dropna())
        lately = set(recent.get(kind, ()))
        nobodys = {id_ for id_ in lately - set(links) if id_ in target.entries(kind).index}
        sure = missing if len(missing) <= ASKED_FOR_AT_MOST else missing & lately
        found[kind] = sure | ((acted_on | entries.leaving) & lately) | nobodys
    return found


def shown_otherwise(listing: Snapshot, known: Snapshot, recent: Mapping[Kind, Collection[str]]) -> dict[Kind, set[str]]:
    """Ids of entries to which something was sent a moment ago and that a listing does not show as they are known.

    It may be late. What is to be taken away may seem to be gone already: nothing would be done then, although it was
    given again since.
    """
    found: dict[Kind, set[str]] = {}
    for kind, ids in recent.items():
        listed, before = listing.entries(kind), known.entries(kind)
        both = pd.Index(sorted(ids), dtype="str").intersection(listed.index).intersection(before.index)
        other = np.zeros(len(both), dtype=bool)
        for path in listed.columns.intersection(before.columns) if len(both) else ():
            other |= differs(before[path].loc[both], listed[path].loc[both])
        found[kind] = set(both[other])
        if kind is Kind.GROUP and len(both):
            edges = [one.loc[is_among(one["group"], texts(both))] for one in (listing.members, known.members)]
            found[kind] |= set(pd.concat(edges).drop_duplicates(["group", "member"], keep=False)["group"])
    return found


def _replaced(snapshot: Snapshot, kind: Kind, ids: Sequence[str], fetched: Snapshot) -> Snapshot:
    asked = pa.array(ids, pa.large_string())
    frame = snapshot.entries(kind)
    others = frame.loc[find(texts(frame.index), asked) < 0]
    fresh = _appended(others, fetched.entries(kind))
    gone = asked.filter(pa.array(find(asked, texts(fetched.entries(kind).index)) < 0))
    edges = snapshot.members.loc[find(texts(snapshot.members["member"]), gone) < 0]
    if kind is Kind.USER:
        return replace(snapshot, users=fresh, members=edges.reset_index(drop=True))
    edges = edges.loc[find(texts(edges["group"]), asked) < 0]
    return replace(snapshot, groups=fresh, members=pd.concat([edges, fetched.members], ignore_index=True))


@dataclass(frozen=True, slots=True)
class Question:
    """Values of one attribute that an account of a joiner could already have."""

    kind: Kind
    attribute: str
    values: tuple[str, ...]
    late: bool = False
    """True when such an account may have been made a moment ago, and be shown only in a while."""


def questions(
    plan: Plan,
    schemas: Mapping[Kind, Mapping[str, Attribute] | None],
    *,
    refused: Collection[tuple[Kind, str]],
    asked: Collection[Question] = (),
) -> list[Question]:
    """What has to be asked before the plan's creates are believed, apart from what was asked already.

    An attribute of which the target says that it refuses doubles is not asked for: should there be an account by now,
    the create is refused, and the entry (then among ``refused``: kind and anchor) is looked up in the next cycle.
    """
    known = {(one.kind, one.attribute, value) for one in asked for value in one.values}
    found = []
    for kind, entries in plan.entries.items():
        schema = schemas.get(kind)
        created = pd.Index(created_anchors(plan.blocks, kind), dtype="str")
        doubted = pd.Index([anchor for one, anchor in refused if one is kind], dtype="str")
        for attribute, everybody in entries.joining.items():
            values = everybody[everybody.index.isin(created)]
            info = schema.get(attribute) if schema is not None else None
            if info is not None and info.unique:
                values = values[values.index.isin(doubted)]
            new = sorted({value for value in values if (kind, attribute, value) not in known})
            if new:
                found.append(Question(kind, attribute, tuple(new)))
    return found


def answer(snapshot: Snapshot, asked: Iterable[Question], target: Target, wanted: Wanted) -> tuple[Snapshot, int]:
    """The snapshot with the accounts that were found and not known yet; and how many these are.

    Who was found a moment ago is there, even if the target does not show it by its id for some seconds.
    Raises: FatalError.
    """
    count = 0
    for question in asked:
        frame = snapshot.entries(question.kind)
        found = look_up(question, target, wanted, known=frame)
        new = found.index[find(texts(found.index), texts(frame.index)) < 0].tolist()
        if new:
            count += len(new)
            fetched = target.fetch(question.kind, new, wanted, late=True)
            snapshot = _replaced(snapshot, question.kind, new, fetched)
    return snapshot, count


def look_up(question: Question, target: Target, wanted: Wanted, *, known: pd.DataFrame) -> pd.DataFrame:
    """The accounts that have one of the values, as ``Target.find`` gives them.

    Where there are none, the target is asked for an account of the ``known`` ones that it has for certain: services
    exist that answer every question about some attribute with nobody, and believing them creates a second
    account. Raises: FatalError; SchemaMismatchError where the target does not find what it has.
    """
    found = target.find(question.kind, question.attribute, question.values, wanted, late=question.late)
    if len(found):
        return found
    for id_, value in _witnesses(known, question.attribute, target.traits().switch):
        if len(target.find(question.kind, question.attribute, [value], wanted)):
            break
        held = target.fetch(question.kind, [id_], wanted).entries(question.kind)
        if question.attribute in held and (held[question.attribute] == value).any():
            raise SchemaMismatchError(
                f"asked for {question.kind}s by {question.attribute}, the service found nobody, not even the "
                f"{question.kind} {id_}, which has that value"
            )
    return found


def _witnesses(known: pd.DataFrame, attribute: str, switch: str | None) -> list[tuple[str, str]]:
    """Id and value of a few accounts that have the attribute; active ones, because services hide others."""
    if attribute not in known:
        return []
    having = known[attribute].map(lambda value: isinstance(value, str) and value != "").to_numpy(dtype=bool)
    if switch is not None and switch in known:
        active = having & known[switch].eq(True).fillna(False).to_numpy(dtype=bool)
        having = active if active.any() else having
    some = known[attribute].iloc[np.flatnonzero(having)[:WITNESSES]]
    return [(str(id_), str(value)) for id_, value in some.items()]


# --- after the load: what the target holds now ------------------------------------------------------------------------


def advance(
    kept: Kept, blocks: Sequence[Block], undone: Mapping[Kind, Collection[str]], ids: Ids, *, cycle: Cycle
) -> Kept:
    """What is known after a load.

    ``undone``: anchors of entries of which a change failed, was left out, or may have been done: they are doubtful.
    """
    users, groups, edges = kept.snapshot.users, kept.snapshot.groups, kept.snapshot.members
    doubtful = {
        kind: pd.Index(sorted(set(ids[kind][is_among(ids[kind].index, sorted(anchors))])), dtype="str")
        for kind, anchors in undone.items()
        if kind in ids
    }
    for whole in blocks:
        failed = whole.table["anchor"].isin(sorted(undone.get(whole.kind, ()))).to_numpy(dtype=bool)
        block = whole.take(~failed) if failed.any() else whole
        if not len(block):
            continue
        match block.action:
            case Action.ADD_MEMBERS:
                edges = _with_members(edges, block, ids)
            case Action.REMOVE_MEMBERS:
                edges = _without_members(edges, block)
            case Action.DELETE:
                gone = texts(block.table["target_id"])
                edges = edges.loc[(find(texts(edges["group"]), gone) < 0) & (find(texts(edges["member"]), gone) < 0)]
                if block.kind is Kind.USER:
                    users = users.loc[find(texts(users.index), gone) < 0]
                else:
                    groups = groups.loc[find(texts(groups.index), gone) < 0]
            case _ if block.kind is Kind.USER:
                users = _written(users, block, ids)
            case _:
                groups = _written(groups, block, ids)
    snapshot = replace(kept.snapshot, users=users, groups=groups, members=edges.reset_index(drop=True))
    return replace(kept, snapshot=snapshot, cycle_id=cycle.id, cycle_began=cycle.began, doubtful=doubtful)


def created_anchors(blocks: Iterable[Block], kind: Kind) -> list[str]:
    """Who of a kind gets an account."""
    created = (block.table["anchor"] for block in blocks if block.kind is kind and block.action is Action.CREATE)
    return [str(anchor) for anchors in created for anchor in anchors]


def ids_after(entries: EntryPlan, created: Mapping[str, str]) -> "pd.Series[str]":
    """Ids by anchor of everybody who is linked after a load; ``created``: ids of those who got their account by it."""
    known = entries.known
    # Who is created again had another account before: the first one found is the one that counts.
    anchors = pa.concat_arrays([_text(created), texts(known)])
    ids = pa.concat_arrays([_text(created.values()), texts(known.index)])
    return pd.Series(pd.array(ids, dtype="str"), index=pd.Index(pd.array(anchors, dtype="str")))


def _text(values: Iterable[str]) -> pa.Array:
    return pa.array(list(values), pa.large_string())


def _written(frame: pd.DataFrame, block: Block, ids: Ids) -> pd.DataFrame:
    """The frame with the values that a block wrote."""
    assert block.after is not None
    own = _ids_of(block.table["anchor"], ids[block.kind])
    target_ids = block.table["target_id"].where(block.table["target_id"].notna(), own)
    values = {path: _resolved(block, path, ids) for path in block.after.columns if path in frame.columns}
    if block.action is Action.CREATE:
        known = target_ids.notna().to_numpy(dtype=bool)
        created = pd.DataFrame(values).loc[known].set_axis(pd.Index(target_ids[known], name="key", dtype="str"))
        return _appended(frame.loc[find(texts(frame.index), texts(created.index)) < 0], created)
    rows = find(texts(target_ids), texts(frame.index))
    changed: dict[str, pd.Series] = {}
    for path, column in values.items():
        touched = rows >= 0
        if block.touched is not None:
            touched &= block.touched[path].to_numpy(dtype=bool)
        if touched.any():
            changed[path] = _with_values(frame[path], rows[touched], column[touched])
    return frame.assign(**changed) if changed else frame


def _resolved(block: Block, path: str, ids: Ids) -> pd.Series:
    """A column of what was written, with ids of the target where the block has anchors."""
    assert block.after is not None
    column = block.after[path]
    if path not in block.references:
        return column
    if column.dtype == object:
        people = ids[Kind.USER][~ids[Kind.USER].index.duplicated()].to_dict()
        return column.map(lambda many: [people.get(one) or unowned_id(one) for one in many], na_action="ignore")
    return _ids_of(column, ids[Kind.USER])


def _ids_of(anchors: "pd.Series[str]", ids: "pd.Series[str]") -> "pd.Series[str]":
    return pd.Series(pick(texts(ids), find(texts(anchors), texts(ids.index))), index=anchors.index, dtype="str")


def _with_values(column: pd.Series, rows: np.ndarray, values: pd.Series) -> pd.Series:
    if column.dtype != object and values.dtype == object:
        column = column.astype(object)
    changed = column.copy()
    if changed.dtype == object:
        cells = changed.to_numpy(copy=True)
        for row, value in zip(rows, values.array, strict=True):
            cells[row] = value
        return pd.Series(cells, index=changed.index, dtype=object)
    changed.iloc[rows] = values.astype(changed.dtype).array
    return changed


def _appended(frame: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Both, with the columns and types of the first one."""
    if not len(more):
        return frame
    columns = {}
    for path in frame.columns:
        add = more[path] if path in more else pd.Series(pd.NA, index=more.index, dtype=frame[path].dtype)
        if frame[path].dtype != object and add.dtype != object:
            add = add.astype(frame[path].dtype)
        columns[path] = pd.concat([frame[path], add]) if len(frame) else add
    index = frame.index.append(more.index)
    return pd.DataFrame(columns, index=index.rename("key"))


def _with_members(edges: pd.DataFrame, block: Block, ids: Ids) -> pd.DataFrame:
    groups = block.table["target_id"].where(
        block.table["target_id"].notna(), _ids_of(block.table["anchor"], ids[Kind.GROUP])
    )
    added = pd.DataFrame({"group": groups, "anchor": block.table["members"]}).explode("anchor").reset_index(drop=True)
    anchors = added["anchor"].astype("str")
    member = _ids_of(anchors, ids[Kind.USER])
    member = member.where(member.notna(), _ids_of(anchors, ids[Kind.GROUP]))
    added = pd.DataFrame({"group": added["group"].astype("str"), "member": member}).dropna()
    return pd.concat([edges, added], ignore_index=True).drop_duplicates(ignore_index=True)


def _without_members(edges: pd.DataFrame, block: Block) -> pd.DataFrame:
    removed = block.table[["target_id", "member_ids"]].explode("member_ids")
    gone = pd.MultiIndex.from_arrays([removed["target_id"].astype("str"), removed["member_ids"].astype("str")])
    mine = edges["group"].isin(removed["target_id"])
    there = pd.MultiIndex.from_frame(edges.loc[mine, ["group", "member"]])
    keep = np.ones(len(edges), dtype=bool)
    keep[np.flatnonzero(mine)] = ~there.isin(gone)
    return edges.loc[keep]
