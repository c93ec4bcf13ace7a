"""Who is added to and removed from which group, as differences of edges in requests of bounded size. Pure."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.job import GroupRules, Members
from tasks.keys import Rows, ascending, find, pick, texts
from tasks.mapping import Held, Mask
from tasks.membership import is_among
from tasks.plan.blocks import Block, Cause, EntryPlan, Wave
from tasks.plan.people import Footing, People, members_left_out

_NO_GROUPS: "pd.Series[str]" = pd.Series(dtype="str")


def plan_memberships(
    rules: GroupRules,
    desired: pd.DataFrame,
    existing: pd.DataFrame,
    *,
    users: EntryPlan,
    groups: EntryPlan,
    people: pd.Index,
    max_members: int,
    nested: bool = True,
) -> tuple[list[Block], list[Held]]:
    """Blocks that add and remove members, and a note for every group that lacks members without an account.

    ``desired``: the source's edges, by anchor. ``existing``: the target's edges, by target id. ``people``: anchors of
    all users of the source. ``max_members``: members that go into one change. ``nested``: whether groups
    may be members in the target; where they may not, users and groups may have the same ids.
    """
    inside = _staying(groups) if nested else _NO_GROUPS
    # A key that users and groups share means the user, with an account or without, in the source or only remembered.
    people = people.append(users.labels.index)
    member_accounts = pd.concat([_staying(users), inside[_not_among(inside, people)]])
    coming_groups, coming_members = _coming(groups), _coming(users)
    if nested:
        coming_members = coming_members.append(coming_groups[_not_among(coming_groups, people)])

    own = desired.assign(
        group_id=_id_of(desired["group"], groups.accounts), member_id=_id_of(desired["member"], member_accounts)
    )
    own = own.loc[own["group_id"].notna() | is_among(own["group"], texts(coming_groups))]
    reachable = own["member_id"].notna().to_numpy() | is_among(own["member"], texts(coming_members))
    notes = _missing_members(own.loc[~reachable], groups.labels, users=users.people, groups=groups.people)
    own = own.loc[reachable].reset_index(drop=True)

    there = existing.rename(columns={"group": "group_id", "member": "member_id"})
    there = there.assign(group=_anchor_of(there["group_id"], pd.concat([groups.accounts, groups.emptied])))
    there = there.loc[there["group"].notna()]
    wanted, found = edge_numbers(own, there)
    joining_groups = _joining(groups)
    joining = _joining(users)
    if nested:
        joining = joining.append(joining_groups[_not_among(joining_groups, people)])
    missing = ~np.isin(wanted, found) & is_among(own["member"], texts(joining))
    if not rules.actions.update:
        missing &= own["group_id"].isna().to_numpy()  # nothing of a group that is there is changed
    adds = _chunks(own.loc[missing], groups, max_members)
    blocks = [_add_block(adds)] if len(adds) else []
    if rules.members is Members.AUTHORITATIVE and rules.actions.update:
        surplus = there.loc[~np.isin(found, wanted)]
        blocks += _removals(surplus, users, groups, max_members, nested=nested)
    return blocks, notes


def _id_of(anchors: "pd.Series[str]", accounts: "pd.Series[str]") -> "pd.Series[str]":
    """The target id of each anchor; of a key that users and groups share, or of two accounts, the first."""
    ids = pick(texts(accounts.index), find(texts(anchors), texts(accounts)))
    return pd.Series(ids, index=anchors.index, dtype="str")


def _anchor_of(ids: "pd.Series[str]", accounts: "pd.Series[str]") -> "pd.Series[str]":
    """The anchor of each target id, null for an account that nobody owns."""
    anchors = pick(texts(accounts), find(texts(ids), texts(accounts.index)))
    return pd.Series(anchors, index=ids.index, dtype="str")


def _not_among(values: "pd.Index | pd.Series[str]", others: pd.Index) -> Mask:
    return ~is_among(values, texts(others))


def _staying(plan: EntryPlan) -> "pd.Series[str]":
    """Accounts of people who are not leaving: also of entries held in this cycle, which keep their memberships."""
    return plan.known[~is_among(plan.known.index, plan.leaving)]


def _joining(plan: EntryPlan) -> pd.Index:
    """Anchors of people who may become members: in scope, not held, not about to be deleted."""
    staying = plan.accounts
    for block in plan.blocks:
        if block.action is Action.DELETE:
            staying = staying[~is_among(staying.index, texts(block.table["target_id"]))]
    return pd.Index(staying.array, dtype="str").append(_coming(plan))


def _coming(plan: EntryPlan) -> pd.Index:
    """Anchors of people who get an account."""
    coming = pd.Index([], dtype="str")
    for block in plan.blocks:
        if block.action is Action.CREATE:
            coming = coming.append(pd.Index(block.table["anchor"]))
    return coming


def edge_numbers(wanted: pd.DataFrame, found: pd.DataFrame) -> tuple[Rows, Rows]:
    """A number for each edge between target ids, the same for the same edge; -1 where only one frame has its ends."""
    groups = texts(found["group_id"]).dictionary_encode()
    members = texts(found["member_id"]).dictionary_encode()
    group, member = np.asarray(groups.indices, dtype=np.int64), np.asarray(members.indices, dtype=np.int64)
    wanted_group = find(texts(wanted["group_id"]), groups.dictionary)
    wanted_member = find(texts(wanted["member_id"]), members.dictionary)
    size = len(members.dictionary)
    numbers = np.where((wanted_group < 0) | (wanted_member < 0), -1, wanted_group * size + wanted_member)
    return numbers, group * size + member


def _missing_members(edges: pd.DataFrame, labels: "pd.Series[str]", *, users: People, groups: People) -> list[Held]:
    """One note per group: how many of its members cannot be members in this cycle, and why."""
    notes = []
    for group, members in edges.groupby("group", sort=True)["member"]:
        why = members_left_out(_footing(str(member), users, groups) for member in members)
        label = str(labels.get(group, group))
        notes.append(Held(Kind.GROUP, str(group), ErrorCode.UNRESOLVED_REFERENCE, why, label=label))
    return notes


def _footing(member: str, users: People, groups: People) -> Footing:
    """How a member stands, who may be a user or a group; the key of both means the user."""
    as_user = users.footing(member)
    return groups.footing(member) if as_user is Footing.NONE else as_user


def _chunks(edges: pd.DataFrame, groups: EntryPlan, max_members: int) -> pd.DataFrame:
    """Edges as one row per change: at most ``max_members`` members of one group each, in order of anchors."""
    group, anchors = _ranks(edges["group"])
    member, names = _ranks(edges["member"])
    order = np.lexsort((member, group))
    group, member = group[order], member[order]
    place = np.arange(len(group))
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    nth = place - np.repeat(begins, np.diff(begins, append=len(group)))
    starts = np.flatnonzero(nth % max_members == 0)
    anchor = pd.Series(pick(anchors, group[starts]), dtype="str")
    label = pd.Series(pick(texts(groups.labels), find(texts(anchor), texts(groups.labels.index))), dtype="str")
    members = names.to_numpy(zero_copy_only=False)[member]
    table = {
        "anchor": anchor,
        "members": _cut(members, starts),
        "target_id": edges["group_id"].take(order[starts]).array,
        "label": label.fillna(anchor),
    }
    if edges["member_id"].notna().all():
        table["member_ids"] = _cut(edges["member_id"].take(order).to_numpy(dtype=object), starts)
    return pd.DataFrame(table)


def _ranks(column: "pd.Series[str]") -> tuple[Rows, pa.Array]:
    """The place of each value among all distinct ones in their order; and these."""
    coded = texts(column).dictionary_encode()
    order = ascending(coded.dictionary)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return rank[np.asarray(coded.indices)], pick(coded.dictionary, order)


def _cut(values: npt.NDArray[np.object_], starts: Rows) -> "pd.Series[Any]":
    """Lists of the values from each start to the next."""
    ends = [*starts[1:], len(values)]
    return pd.Series([values[start:end].tolist() for start, end in zip(starts, ends, strict=False)], dtype=object)


def _add_block(table: pd.DataFrame) -> Block:
    table = table.drop(columns="member_ids", errors="ignore").assign(reason="member in the source")
    return Block(wave=Wave.ADD_MEMBERS, kind=Kind.GROUP, action=Action.ADD_MEMBERS, table=table)


def _removals(
    surplus: pd.DataFrame, users: EntryPlan, groups: EntryPlan, max_members: int, *, nested: bool
) -> Iterable[Block]:
    """Edges the source does not have, apart for members who leave altogether: guards judge these with the leavers."""
    shown = _anchor_of(surplus["member_id"], pd.concat([users.known, groups.known if nested else _NO_GROUPS]))
    surplus = surplus.assign(member=shown.fillna("account " + surplus["member_id"]))
    leaving = is_among(surplus["member_id"], users.leaving | groups.leaving if nested else users.leaving)
    for cause, mask in ((Cause.MEMBER_LEAVES, leaving), (Cause.LEFT_GROUP, ~leaving)):
        if not np.any(mask):
            continue
        table = _chunks(surplus.loc[mask], groups, max_members).assign(reason=cause.value, cause=cause)
        yield Block(wave=Wave.REMOVE_MEMBERS, kind=Kind.GROUP, action=Action.REMOVE_MEMBERS, table=table)
