"""A job's assignment table: file -> assignments in the source's snapshot, and the roles that follow from them.

Reading the file is all that touches the world here. A table that assigns nobody stops the cycle, as a source without
anybody does: it is an export that failed, not an app that nobody may use.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from connectors.contract import Kind, Snapshot, Unreadable
from connectors.csv.files import File
from connectors.csv.tables import columns_of, read_rows
from connectors.errors import SettingsError
from connectors.file_section import Format
from connectors.rows import Rows as TableRows
from tasks.job import Assignment, AssignmentMode, AssignmentTable, Case, Job
from tasks.job.problems import did_you_mean
from tasks.keys import Rows, ascending, find, texts
from tasks.membership import assigned_to, groups_listed, is_among

Mask = npt.NDArray[np.bool_]

ROLES = "appRoleAssignments"
"""Computed attribute of users where the table has roles: the roles assigned to them, directly and through groups."""


def computed_roles(assignment: Assignment, kind: Kind) -> frozenset[str]:
    """Names of the source attributes of one kind that assignments give."""
    by_table = assignment.table is not None and assignment.table.role is not None
    gives = kind is Kind.USER and (by_table or assignment.from_source)
    return frozenset({ROLES}) if gives else frozenset()


def table_problems(table: AssignmentTable, folder: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with the table as far as its header shows: the key of its section, and a sentence.

    ``folder`` is the job file's. Raises: CredentialsError, UnreachableError.
    """
    file = File(table, folder)
    try:
        names = columns_of(file)
        form = file.format
    except SettingsError as error:
        yield "path", str(error)
        return
    if form is Format.JSON_LINES:
        return  # its first lines need not have every column
    for key, column in table.columns.items():
        if column not in names:
            yield key, f"{file.label} has no column {column!r}.{did_you_mean(column, names)}"


def with_assignments(job: Job, snapshot: Snapshot) -> Snapshot:
    """The source's snapshot with the assignments of the job's table, and with the roles that they give.

    A row that says not, or not clearly, who is assigned is told, and proves that others may be assigned as well.
    Raises: FatalError; SettingsError for a table that assigns nobody.
    """
    table = job.assignment.table
    if job.assignment.from_source:
        return _with_roles_of_source(job, snapshot)
    if table is None:
        return snapshot
    file = File(table, job.folder)
    rows = read_rows(file, tuple(dict.fromkeys(table.columns.values())))
    assignments, unreadable = _assignments(rows, table, file.label)
    snapshot = replace(
        snapshot,
        system=f"{snapshot.system}, {file.label}",
        assignments=assignments,
        unreadable=(*snapshot.unreadable, *unreadable),
        incomplete=(*snapshot.incomplete, *rows.incomplete, *_incomplete(file.label, unreadable)),
        requests=snapshot.requests + 1,
    )
    _refuse_strangers(snapshot, file.label)
    if table.role is not None:
        roles = roles_of(snapshot, assignments, nested=job.assignment.nested)
        snapshot.users = snapshot.users.assign(**{ROLES: roles})
    return snapshot


def _with_roles_of_source(job: Job, snapshot: Snapshot) -> Snapshot:
    """The snapshot with the roles that the source's own assignments give. Raises: SettingsError where it has none."""
    if snapshot.assignments is None or not len(snapshot.assignments):
        raise SettingsError(
            f"Nobody is assigned according to {snapshot.system}, and the job takes its assignments from there. Nothing "
            "was written."
        )
    roles = roles_of(snapshot, snapshot.assignments, nested=job.assignment.nested)
    return replace(snapshot, users=snapshot.users.assign(**{ROLES: roles}))


def _assignments(rows: TableRows, table: AssignmentTable, label: str) -> tuple[pd.DataFrame, list[Unreadable]]:
    """Who is assigned, as ``Snapshot.assignments``; and the rows that do not say it."""
    nothing: pd.Series[str] = pd.Series(np.nan, index=rows.frame.index, dtype="str")
    cells = {key: _texts(rows.frame[column], column, label) for key, column in table.columns.items()}
    users, groups, roles = (cells.get(key, nothing) for key in ("user", "group", "role"))
    named = users.notna().to_numpy(dtype=int) + groups.notna().to_numpy(dtype=int)
    unreadable = [Unreadable(Kind.USER, None, row.place, row.reason) for row in rows.bad]
    wrong = np.flatnonzero(named != 1)
    for number, place in zip(wrong, rows.places(wrong.tolist()) if len(wrong) else (), strict=True):
        what = "both a user and a group; write a row for each" if named[number] else "nobody"
        unreadable.append(Unreadable(Kind.USER, None, place, f"The row assigns {what}."))
    kinds = pd.Series(np.where(users.notna(), Kind.USER.value, Kind.GROUP.value), dtype="str")
    frame = pd.DataFrame({"kind": kinds, "key": users.fillna(groups), "role": roles})[named == 1]
    return frame.drop_duplicates(ignore_index=True), unreadable


def _texts(column: pd.Series, name: str, label: str) -> "pd.Series[str]":
    if column.dtype == object:
        raise SettingsError(f"The column {name!r} of {label} holds lists; an assignment is one user or group a row.")
    return column.astype("str")


def _incomplete(label: str, unreadable: list[Unreadable]) -> tuple[str, ...]:
    if not unreadable:
        return ()
    count = "One row" if len(unreadable) == 1 else f"{len(unreadable):,} rows"
    return (f"{count} of {label} do not say who is assigned (first: {unreadable[0].place}).",)


def _refuse_strangers(snapshot: Snapshot, label: str) -> None:
    """Raises: SettingsError when no row names anybody whom the source has: nobody would be left."""
    rows = snapshot.assignments
    assert rows is not None
    of_users = (rows["kind"] == Kind.USER).to_numpy(dtype=bool)
    groups = rows["key"][~of_users].unique().tolist()
    if len(groups) > len(_unknown_groups(snapshot, groups)):
        return
    if not _is_unknown(snapshot, texts(rows["key"][of_users])).all():
        return
    why = f"none of its {len(rows):,} assignments names anybody in the source" if len(rows) else "it has no usable rows"
    raise SettingsError(f"The table {label} assigns nobody: {why}. Nothing was written.")


def strangers(assignment: Assignment, snapshot: Snapshot) -> list[tuple[Kind, str]]:
    """Users and groups that are assigned and that the source does not have; these change nothing."""
    if assignment.mode is not AssignmentMode.ASSIGNED:
        return []
    users, groups = assigned_to(assignment, snapshot)
    unknown = set(users.filter(pa.array(_is_unknown(snapshot, users))).to_pylist())
    found = [(Kind.GROUP, name) for name in sorted(_unknown_groups(snapshot, groups))]
    return found + [(Kind.USER, str(key)) for key in sorted(unknown)]


def _is_unknown(snapshot: Snapshot, users: pa.Array) -> Mask:
    """Which keys of users the source does not have, not even in a row that could not be read."""
    known = texts(snapshot.everybody.get(Kind.USER, snapshot.users.index))
    unknown: Mask = find(users, known) < 0
    unread = _unread(snapshot)
    unknown[unknown] = [key not in unread for key in users.filter(pa.array(unknown)).to_pylist()]
    return unknown


def _unknown_groups(snapshot: Snapshot, groups: Sequence[str]) -> set[str]:
    """Keys and names that no group of the source has."""
    if Kind.GROUP in snapshot.everybody:
        return set()  # names of groups that did not change are not known
    named = {text for _, text in groups_listed(snapshot, groups, Case.EXACT)}
    return set(groups) - named - _unread(snapshot)


def _unread(snapshot: Snapshot) -> set[str]:
    return {row.key for row in snapshot.unreadable if row.key is not None}


# --- roles ---------------------------------------------------------------------------------------------------------


def roles_of(snapshot: Snapshot, assignments: pd.DataFrame, *, nested: bool) -> pd.Series:
    """Roles of every user of the source: lists, those assigned directly first, each part in order of names; or None.

    ``nested``: a role of a group is one of the groups inside it as well.
    """
    rows = assignments[assignments["role"].notna()]
    names = texts(rows["role"]).unique()
    names = names.take(ascending(names))
    rows = rows.assign(role=find(texts(rows["role"]), names))
    of_users = (rows["kind"] == Kind.USER).to_numpy(dtype=bool)
    everybody = texts(snapshot.users.index)

    grants = _of_groups(snapshot, rows[~of_users], nested=nested)
    edges = snapshot.members.merge(grants, on="group")
    person = np.concatenate([find(texts(rows["key"][of_users]), everybody), find(texts(edges["member"]), everybody)])
    role = np.concatenate([rows["role"][of_users].to_numpy(), edges["role"].to_numpy()]).astype(np.int64)
    indirect = np.repeat([0, 1], [int(of_users.sum()), len(edges)])
    known = person >= 0
    return _as_lists(person[known], indirect[known], role[known], names.to_pylist(), snapshot.users.index)


def _of_groups(snapshot: Snapshot, rows: pd.DataFrame, *, nested: bool) -> pd.DataFrame:
    """Which role each group gives to its members: columns group (its key) and role, each pair once."""
    pairs = list(groups_listed(snapshot, rows["key"].unique().tolist(), Case.EXACT))
    listed = pd.DataFrame(pairs, columns=["group", "key"], dtype="str")
    grants = listed.merge(rows[["key", "role"]], on="key")[["group", "role"]].drop_duplicates(ignore_index=True)
    if not nested:
        return grants
    # A key that users and groups share means the user.
    members = snapshot.members["member"]
    is_group = is_among(members, texts(snapshot.groups.index)) & ~is_among(members, texts(snapshot.users.index))
    inside = snapshot.members[is_group]
    fresh = grants
    while len(fresh):
        below = fresh.merge(inside, on="group")[["member", "role"]].set_axis(["group", "role"], axis=1)
        before, grants = len(grants), pd.concat([grants, below]).drop_duplicates(ignore_index=True)
        fresh = grants.iloc[before:]
    return grants


def _as_lists(person: Rows, indirect: Rows, role: Rows, names: list[str], index: pd.Index) -> pd.Series:
    order = np.lexsort((role, indirect, person))
    person, role = person[order], role[order]
    first = ~pd.Series(person * max(len(names), 1) + role).duplicated().to_numpy()
    person, role = person[first], role[first]
    every = [names[code] for code in role.tolist()]
    starts = np.flatnonzero(np.diff(person, prepend=-1))
    ends = [*starts[1:].tolist(), len(every)]
    lists = np.empty(len(starts), dtype=object)
    lists[:] = [every[start:end] for start, end in zip(starts.tolist(), ends, strict=False)]
    cells = np.full(len(index), None, dtype=object)
    cells[person[starts]] = lists
    return pd.Series(cells, index=index, dtype=object)
