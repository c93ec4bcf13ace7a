"""Pages of entries to columns: each page becomes Arrow arrays at once, so that its JSON can be forgotten.

A million users of twelve attributes fit into a gigabyte that way; as Python objects they would not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import no_members
from connectors.scim.codec import Codec, Slot, Storage
from connectors.scim.paths import Resource, column_reader, respelled

_TEXT = pa.large_string()


@dataclass(slots=True)
class Column:
    """One attribute of all pages read so far."""

    slot: Slot
    chunks: list[Any] = field(default_factory=list)
    """Arrow arrays; lists of Python values once the column has turned out to hold lists or objects."""
    nested: bool = False

    def add(self, page: Sequence[Resource]) -> None:
        """Take the attribute's values from one more page."""
        values = self.slot.read(page)
        if not any(value is not None for value in values):
            other = respelled(self.slot.path, page)
            if other is not None:
                values = column_reader(other, wrapped=self.slot.reference)(page)
        self.chunks.append(self._stored(values))

    def _stored(self, values: list[Any]) -> Any:
        if self.nested or self.slot.storage is Storage.OBJECT:
            self.nested = True
            return values
        if self.slot.storage is Storage.BOOLEAN:
            try:
                return pa.array(values, pa.bool_())
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                return pa.array([_boolean(value) for value in values], pa.bool_())
        try:
            return pa.array(values, _TEXT)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            if any(isinstance(value, list | dict) for value in values):
                self.nested = True
                return values
            return pa.array([None if value is None else str(value) for value in values], _TEXT)

    def array(self) -> Any:
        """The whole column as a pandas array: ``str``, ``boolean`` or ``object``."""
        if self.nested or self.slot.storage is Storage.OBJECT:
            lists = [chunk if isinstance(chunk, list) else chunk.to_pylist() for chunk in self.chunks]
            # fromiter, because an assignment would take lists of one length for a second dimension
            return np.fromiter(chain.from_iterable(lists), dtype=object, count=sum(map(len, lists)))
        if self.slot.storage is Storage.BOOLEAN:
            whole = pa.chunked_array(self.chunks, pa.bool_())
            return whole.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get).array
        return text_array(self.chunks)


def _boolean(value: Any) -> bool | None:
    """A boolean that a service gives as text or number; None for anything else."""
    return {"true": True, "1": True, "false": False, "0": False}.get(str(value).strip().lower())


def text_array(chunks: list[Any]) -> Any:
    """Arrow text as pandas' ``str`` array, not copied."""
    return pd.array(pa.chunked_array(chunks, _TEXT), dtype="str")


class Collector:
    """Entries of one kind, page by page."""

    def __init__(self, codec: Codec, paths: Sequence[str], *, members: bool = False) -> None:
        self.skipped: list[int] = []
        """Positions, from 1, of entries without an id."""
        self.count = 0
        """Entries seen, those without an id included."""
        self._columns = {path: Column(codec.slot(path)) for path in dict.fromkeys(paths)}
        self._ids: list[Any] = []
        self._members = members
        self._edge_groups: list[Any] = []
        self._edge_members: list[Any] = []
        self.groups_with_members = 0
        self.longest_list = 0
        """Members of the group that shows most."""
        self.referred: dict[str, str] = {}
        """Of members whose ``$ref`` names another id than their value: that id."""

    def add(self, page: Sequence[Any]) -> None:
        """One more page of entries, in the order of the list."""
        ids = [entry.get("id") if type(entry) is dict else None for entry in page]
        entries: Sequence[Resource] = page
        if not all(ids):
            self.skipped += [self.count + place for place, entry_id in enumerate(ids, 1) if not entry_id]
            entries = [entry for entry, entry_id in zip(page, ids, strict=True) if entry_id]
            ids = [entry_id for entry_id in ids if entry_id]
        self.count += len(page)
        if not ids:
            return
        self._ids.append(_as_text(ids))
        for column in self._columns.values():
            column.add(entries)
        if self._members:
            self._add_members(ids, entries)

    def _add_members(self, ids: Sequence[Any], groups: Sequence[Resource]) -> None:
        edge_groups: list[str] = []
        edge_members: list[str] = []
        for group_id, group in zip(ids, groups, strict=True):
            members = members_of(group)
            if members:
                self.groups_with_members += 1
                self.longest_list = max(self.longest_list, len(members))
                edge_members += [member.value for member in members]
                self.referred.update({one.value: one.referred for one in members if one.value != one.referred})
                edge_groups += [str(group_id)] * len(members)
        self._edge_groups.append(pa.array(edge_groups, _TEXT))
        self._edge_members.append(pa.array(edge_members, _TEXT))

    @property
    def distinct(self) -> int:
        """Different ids among the entries."""
        return int(pc.count_distinct(pa.chunked_array(self._ids, _TEXT)).as_py())

    def ids(self) -> list[str]:
        """Ids in the order of the list, repetitions included."""
        return list(pa.chunked_array(self._ids, _TEXT).to_pylist())

    def unseen(self, ids: Sequence[str]) -> list[str]:
        """Those of a few ids that are not among the entries."""
        seen = pa.chunked_array(self._ids, _TEXT)
        return [entry_id for entry_id in ids if not pc.any(pc.equal(seen, entry_id)).as_py()]

    def frame(self) -> pd.DataFrame:
        """The entries; of those that came twice the first."""
        index = pd.Index(text_array(self._ids), name="key")
        # Each column says its own type: pandas would make text of objects that all look like it.
        arrays = {path: column.array() for path, column in self._columns.items()}
        columns = {path: pd.Series(array, index=index, dtype=array.dtype) for path, array in arrays.items()}
        frame = pd.DataFrame(columns, index=index, copy=False)
        return frame if index.is_unique else frame[~index.duplicated()]

    def edges(self) -> pd.DataFrame:
        """Memberships, each once."""
        if not self._edge_groups:
            return no_members()
        edges = pd.DataFrame({"group": text_array(self._edge_groups), "member": text_array(self._edge_members)})
        return edges.drop_duplicates(ignore_index=True)


@dataclass(frozen=True, slots=True)
class Member:
    """One member as a group lists it; nested groups are members like any other."""

    value: str
    """What stands for it: its id, in most services."""
    referred: str
    """The id that its ``$ref`` ends with; the value where there is none."""


def members_of(group: Resource) -> list[Member]:
    """Whom a group lists."""
    members = group.get("members")
    if not isinstance(members, list):
        return []
    found = []
    for member in members:
        value, address = (member.get("value"), member.get("$ref")) if isinstance(member, dict) else (member, None)
        referred = unquote(address.rstrip("/").rpartition("/")[2]) if isinstance(address, str) else ""
        if value or referred:
            found.append(Member(str(value or referred), referred or str(value)))
    return found


def member_ids(group: Resource) -> list[str]:
    """What stands for a group's members: their ids, unless the service lists something else."""
    return [member.value for member in members_of(group)]


def explained(
    edges: pd.DataFrame, *, referred: Mapping[str, str], users: pd.DataFrame, known: pd.Index
) -> pd.DataFrame:
    """Edges whose members are ids, as far as an account explains what stands there; the rest stays as it is.

    ``referred``: by what stands there, the id in the member's ``$ref``. ``users``: with ``userName`` where it was read.
    ``known``: ids of all users and groups.
    """
    members = edges["member"]
    strange = ~members.isin(known)
    if not strange.any():
        return edges
    by_name: dict[str, str] = {}
    if "userName" in users:
        names = users["userName"].dropna()
        lowered = names.str.lower()
        unique = ~lowered.duplicated(keep=False)
        by_name = dict(zip(lowered[unique], names.index[unique], strict=True))
    ids = {}
    for value in members[strange].unique():
        found = referred.get(value) or by_name.get(value.lower())
        if found in known:
            ids[value] = found
    found_ids = members.map(ids)
    return edges.assign(member=members.where(found_ids.isna(), found_ids).astype("str")).drop_duplicates(
        ignore_index=True
    )


def _as_text(ids: Sequence[Any]) -> Any:
    try:
        return pa.array(ids, _TEXT)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([str(entry_id) for entry_id in ids], _TEXT)
