"""Who belongs to which group, and who is assigned to the app. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Kind, Snapshot
from tasks.job import Assignment, AssignmentMode, Case
from tasks.keys import texts

Mask = npt.NDArray[np.bool_]

_TEXT = pa.large_string()


def is_among(values: "pd.Index | pd.Series[str]", wanted: "Collection[str] | pa.Array") -> Mask:
    """Which of the values are in a collection; null never is. Linear in both, unlike text columns' own ``isin``."""
    if not len(wanted) or not len(values):
        return np.zeros(len(values), dtype=bool)
    return _is_in(texts(values), wanted)


def _is_in(values: pa.Array, wanted: "Collection[str] | pa.Array") -> Mask:
    among = wanted if isinstance(wanted, pa.Array) else pa.array(list(wanted), type=_TEXT)
    return np.asarray(pc.is_in(values, value_set=among, skip_nulls=True), dtype=bool)


# --- assignment ----------------------------------------------------------------------------------------------------


def is_assigned(assignment: Assignment | None, snapshot: Snapshot, kind: Kind) -> Mask:
    """Which entries of one kind are assigned; all of them where the job assigns everybody, or says nothing."""
    frame = snapshot.entries(kind)
    if assignment is None or assignment.mode is AssignmentMode.ALL:
        return np.ones(len(frame), dtype=bool)
    users, groups = assigned_to(assignment, snapshot)
    if kind is Kind.USER:
        members = members_of(snapshot, groups, kind, nested=assignment.nested)
        return is_among(frame.index, users) | is_among(frame.index, members)
    listed = is_among(frame.index, listed_groups(snapshot, groups, Case.EXACT))
    return listed | is_among(frame.index, members_of(snapshot, groups, kind, nested=True) if assignment.nested else ())


def assigned_to(assignment: Assignment, snapshot: Snapshot) -> tuple[pa.Array, Sequence[str]]:
    """Anchors of users, and anchors or names of groups, that the job assigns: those it lists and those of its table."""
    users, rows = pa.array(assignment.users, type=_TEXT), snapshot.assignments
    if rows is None:
        return users, assignment.groups
    of_users = (rows["kind"] == Kind.USER).to_numpy(dtype=bool)
    groups = rows["key"][~of_users].unique().tolist()
    return pa.concat_arrays([users, texts(rows["key"][of_users])]), (*assignment.groups, *groups)


# --- groups --------------------------------------------------------------------------------------------------------


def members_of(
    snapshot: Snapshot, groups: Sequence[str], kind: Kind, *, nested: bool, case: Case = Case.EXACT
) -> pa.Array:
    """Keys of the members of one kind that groups have, members of groups inside these groups included if ``nested``.

    Groups are given by key or by any text attribute, their name. A key that users and groups share means the user.
    The keys are in no order, and may come twice.
    """
    edge_groups, edge_members = texts(snapshot.members["group"]), texts(snapshot.members["member"])
    found: list[pa.Array] = []
    frontier = set(listed_groups(snapshot, groups, case))
    seen = set(frontier)
    while frontier:
        direct = pc.unique(edge_members.filter(pa.array(_is_in(edge_groups, frontier))))
        inner = _group_keys(snapshot, direct)
        found.append(pa.array(list(inner), type=_TEXT) if kind is Kind.GROUP else direct)
        frontier = inner - seen if nested else set()
        seen |= frontier
    return pa.concat_arrays(found) if found else pa.array([], type=_TEXT)


def flattened(snapshot: Snapshot) -> pd.DataFrame:
    """Memberships of users alone, as ``Snapshot.members``: of every group also the users of the groups inside it.

    A key that users and groups share means the user; groups that contain each other have the same users.
    """
    edges = snapshot.members
    inner = is_among(edges["member"], texts(snapshot.groups.index)) & ~is_among(
        edges["member"], texts(snapshot.users.index)
    )
    direct, nested = edges.loc[~inner], edges.loc[inner].rename(columns={"member": "inside"})
    contains = nested
    while len(nested):
        deeper = nested.merge(contains.rename(columns={"group": "inside", "inside": "further"}), on="inside")
        deeper = deeper[["group", "further"]].rename(columns={"further": "inside"})
        both = pd.concat([contains, deeper]).drop_duplicates(ignore_index=True)
        if len(both) == len(contains):
            break
        contains = both
    reached = contains.merge(direct.rename(columns={"group": "inside"}), on="inside")[["group", "member"]]
    return pd.concat([direct, reached]).drop_duplicates(ignore_index=True)


def listed_groups(snapshot: Snapshot, groups: Sequence[str], case: Case) -> dict[str, str]:
    """Keys of the groups that a job lists, each with the first text by which it is listed."""
    found: dict[str, str] = {}
    for key, text in groups_listed(snapshot, groups, case):
        found.setdefault(key, text)
    return found


def groups_listed(snapshot: Snapshot, groups: Sequence[str], case: Case) -> Iterator[tuple[str, str]]:
    """Keys of groups with the texts by which they are listed: their key or any text attribute. Pairs may come twice."""
    frame = snapshot.groups

    def folded(text: str) -> str:
        return text if case is Case.EXACT else lowered(text)

    by_text = {folded(group): group for group in groups}
    names: list[pd.Index | pd.Series[Any]] = [frame.index]
    names += [frame[path] for path in frame if isinstance(frame[path].dtype, pd.StringDtype)]
    for column in names:
        array = texts(column) if case is Case.EXACT else pc.utf8_lower(texts(column))
        for position in np.flatnonzero(_is_in(array, by_text)):
            yield str(frame.index[int(position)]), by_text[array[int(position)].as_py()]


def _group_keys(snapshot: Snapshot, members: pa.Array) -> set[str]:
    """Those of some members that are groups."""
    keys = members.filter(pa.array(_is_in(members, texts(snapshot.groups.index))))
    users = texts(snapshot.users.index)
    return set(keys.to_pylist()) - set(users.filter(pa.array(_is_in(users, keys))).to_pylist())


def lowered(text: str) -> str:
    """Lower case as columns are lowered: character by character, which Python's own method does not do."""
    return str(pc.utf8_lower(pa.scalar(text, _TEXT)).as_py())


# --- why -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Membership:
    """How an entry belongs to a group that the job lists."""

    listed: str
    """The group as the job lists it: by key or by name."""
    path: tuple[str, ...]
    """Keys of groups, from the one that has the entry as a member to the listed one."""


def memberships(
    snapshot: Snapshot, kind: Kind, key: str, groups: Sequence[str], *, nested: bool, case: Case
) -> tuple[Membership, ...]:
    """How one entry belongs to the listed groups: the shortest way to each, in the order of their keys."""
    if kind is Kind.GROUP and key in snapshot.users.index:
        return ()
    listed = listed_groups(snapshot, groups, case)
    edges = snapshot.members
    paths: dict[str, tuple[str, ...]] = {}
    frontier: Mapping[str, tuple[str, ...]] = {key: ()}
    while frontier:
        above: dict[str, tuple[str, ...]] = {}
        rows = edges.loc[is_among(edges["member"], frontier)].sort_values(["group", "member"])
        for group, member in zip(rows["group"], rows["member"], strict=True):
            if group not in paths:
                above.setdefault(group, (*frontier[member], group))
        paths |= above
        inner: Iterable[str] = _group_keys(snapshot, pa.array(list(above), type=_TEXT)) if nested else ()
        frontier = {group: above[group] for group in sorted(inner)}
    return tuple(Membership(listed[group], paths[group]) for group in sorted(listed) if group in paths)
