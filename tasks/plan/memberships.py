"""Who is added to and removed from which group, as differences of edges in requests of bounded size. Pure."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.job import GroupRules, Members
from tasks.mapping import Held
from tasks.plan.blocks import Block, Cause, EntryPlan, Wave


def plan_memberships(
    rules: GroupRules,
    desired: pd.DataFrame,
    existing: pd.DataFrame,
    *,
    users: EntryPlan,
    groups: EntryPlan,
    people: pd.Index,
    max_members: int,
) -> tuple[list[Block], list[Held]]:
    """Blocks that add and remove members, and a note for every group that lacks members without an account.

    ``desired``: the source's edges, by anchor. ``existing``: the target's edges, by target id. ``people``: anchors of
    all users of the source. ``max_members``: members that go into one change.
    """
    group_accounts = _by_anchor(groups.accounts)
    nested = _staying(groups)
    # A key that users and groups share means the user, also while the user has no account.
    member_accounts = _by_anchor(pd.concat([_staying(users), nested[~nested.isin(people)]]))
    coming_groups, coming_members = _coming(groups), _coming(users) | (_coming(groups) - set(people))

    own = desired.loc[desired["group"].isin([*group_accounts.index, *coming_groups])]
    reachable = own["member"].isin([*member_accounts.index, *coming_members]).to_numpy(dtype=bool)
    notes = _missing_members(own.loc[~reachable], groups.labels)
    own = own.loc[reachable].reset_index(drop=True)
    own = own.assign(group_id=own["group"].map(group_accounts), member_id=own["member"].map(member_accounts))

    managed = pd.concat([groups.accounts, groups.emptied])
    there = existing.loc[existing["group"].isin(managed.index)].rename(
        columns={"group": "group_id", "member": "member_id"}
    )
    there = there.assign(group=there["group_id"].map(managed).astype("str"))
    wanted, found = _edges(own), _edges(there)
    missing = ~wanted.isin(found) | own["group_id"].isna().to_numpy() | own["member_id"].isna().to_numpy()
    missing &= own["member"].isin([*_joining(users), *(_joining(groups) - set(people))]).to_numpy(dtype=bool)
    if not rules.actions.update:
        missing &= own["group_id"].isna().to_numpy()  # nothing of a group that is there is changed
    adds = _chunks(own.loc[missing], groups, max_members)
    blocks = [_add_block(adds)] if len(adds) else []
    if rules.members is Members.AUTHORITATIVE and rules.actions.update:
        surplus = there.loc[~found.isin(wanted)]
        blocks += _removals(surplus, users, groups, max_members)
    return blocks, notes


def _by_anchor(accounts: "pd.Series[str]") -> "pd.Series[str]":
    """Index anchor, value target id; of a key that users and groups share, or of two accounts, the first."""
    by_anchor = pd.Series(accounts.index, index=pd.Index(accounts.array, dtype="str"), dtype="str")
    return by_anchor[~by_anchor.index.duplicated()]


def _staying(plan: EntryPlan) -> "pd.Series[str]":
    """Accounts of whoever is not leaving: also of entries held in this cycle, who keep the memberships they have."""
    return plan.known[~plan.known.index.isin(list(plan.leaving))]


def _joining(plan: EntryPlan) -> set[str]:
    """Anchors of whoever may become a member: in scope, not held, not about to be deleted."""
    deletes = [block.table["target_id"] for block in plan.blocks if block.action is Action.DELETE]
    going = plan.accounts.index.isin(pd.concat(deletes)) if deletes else np.zeros(len(plan.accounts), dtype=bool)
    return {*plan.accounts[~going], *_coming(plan)}


def _coming(plan: EntryPlan) -> set[str]:
    creates = (block.table["anchor"] for block in plan.blocks if block.action is Action.CREATE)
    return {str(anchor) for anchors in creates for anchor in anchors}


def _edges(frame: pd.DataFrame) -> pd.Index:
    """One text per edge; target ids hold no unit separator."""
    return pd.Index(frame["group_id"].astype("str") + "\x1f" + frame["member_id"].astype("str"), dtype="str")


def _missing_members(edges: pd.DataFrame, labels: "pd.Series[str]") -> list[Held]:
    """One note per group: how many of its members have no account and get none in this cycle."""
    counts = edges.groupby("group", sort=True)["member"].count()
    return [
        Held(
            Kind.GROUP,
            str(group),
            ErrorCode.UNRESOLVED_REFERENCE,
            f"{count} of its members have no account in the target; they are left out until they have one.",
            label=str(labels.get(group, group)),
        )
        for group, count in counts.items()
    ]


def _chunks(edges: pd.DataFrame, groups: EntryPlan, max_members: int) -> pd.DataFrame:
    """Edges as one row per change: at most ``max_members`` members of one group each, in order of anchors."""
    edges = edges.sort_values(["group", "member"], kind="stable")
    number = edges.groupby("group", sort=False).cumcount() // max_members
    chunks = edges.groupby([edges["group"], number.rename("chunk")], sort=True)
    table = chunks.agg(members=("member", list), target_id=("group_id", "first"))
    if "member_id" in edges and edges["member_id"].notna().all():
        table["member_ids"] = chunks["member_id"].agg(list)
    table = table.reset_index().rename(columns={"group": "anchor"}).drop(columns="chunk")
    table["label"] = table["anchor"].map(groups.labels).fillna(table["anchor"]).astype("str")
    return table


def _add_block(table: pd.DataFrame) -> Block:
    table = table.drop(columns="member_ids", errors="ignore").assign(reason="member in the source")
    return Block(wave=Wave.ADD_MEMBERS, kind=Kind.GROUP, action=Action.ADD_MEMBERS, table=table)


def _removals(surplus: pd.DataFrame, users: EntryPlan, groups: EntryPlan, max_members: int) -> Iterable[Block]:
    """Edges the source does not have, apart for members who leave altogether: guards judge these with the leavers."""
    anchors = pd.concat([users.known, groups.known])
    anchors = anchors[~anchors.index.duplicated()]
    shown = surplus["member_id"].map(anchors)
    shown = shown.fillna("account " + surplus["member_id"]).astype("str")
    surplus = surplus.assign(member=shown)
    leaving = surplus["member_id"].isin(users.leaving | groups.leaving).to_numpy(dtype=bool)
    for cause, mask in ((Cause.MEMBER_LEAVES, leaving), (Cause.LEFT_GROUP, ~leaving)):
        if not np.any(mask):
            continue
        table = _chunks(surplus.loc[mask], groups, max_members).assign(reason=cause.value, cause=cause)
        yield Block(wave=Wave.REMOVE_MEMBERS, kind=Kind.GROUP, action=Action.REMOVE_MEMBERS, table=table)
