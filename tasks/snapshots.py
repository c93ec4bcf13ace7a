"""Keeps snapshots between cycles, as Parquet files beside the ledger.

    snapshots/<job>/source/           the source as it was last read: what a delta is merged into
    snapshots/<job>/target/           the target as it was last listed, with everything done since
    snapshots/<job>/desired/<cycle>/  what a cycle wanted the target to be; bounded history

Values that the job redacts are never in them: callers leave those columns out. A snapshot that cannot be read, or was
half written by a run that died, is as if it were not there; then the system is listed.
"""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.contract import Kind, Snapshot, Unreadable
from tasks.keys import find, texts
from tasks.private import make_file, own_folder, write_file

_CURRENT = "current"
_FORMAT = 1
_FRAMES = ("users", "groups", "members")


class Side(StrEnum):
    """Which system a snapshot is of."""

    SOURCE = "source"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot that was kept, and how far it can be believed."""

    snapshot: Snapshot
    cycle_id: int
    """The last cycle whose effects are in it; what later ones sent is not."""
    cycle_began: datetime
    """When that one began: the same id in another ledger is another cycle."""
    fingerprint: str
    """Of the configuration it was read with: which attributes are in it."""
    listed_at: datetime
    """When the system was last read whole."""
    listing_requests: int
    """Requests that took."""
    doubtful: Mapping[Kind, pd.Index] = field(default_factory=dict)
    """Ids of entries about which it may be wrong, because a change of them failed or nobody knows how it ended."""


class SnapshotStore:
    """The snapshots of one job."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, side: Side, kept: Kept) -> None:
        """Replaces what is kept of a side, at once or not at all."""
        place = own_folder(self._folder / side)
        name = f"{kept.cycle_id:08d}-{secrets.token_hex(4)}"
        own_folder(place / name)
        for frame in _FRAMES:
            write_frame(place / name / f"{frame}.parquet", getattr(kept.snapshot, frame))
        write_file(place / name / "about.json", orjson.dumps(_about(kept)))
        write_file(place / f"{_CURRENT}.new", name.encode())
        (place / f"{_CURRENT}.new").replace(place / _CURRENT)
        for old in place.iterdir():
            if old.is_dir() and old.name != name:
                shutil.rmtree(old, ignore_errors=True)

    def recall(self, side: Side, *, fingerprint: str) -> Kept | None:
        """What is kept of a side; None when there is nothing, or it was read for another configuration."""
        try:
            place = self._folder / side
            folder = place / (place / _CURRENT).read_text(encoding="utf-8")
            about = json.loads((folder / "about.json").read_bytes())
            if about["format"] != _FORMAT or about["fingerprint"] != fingerprint:
                return None
            frames = {frame: read_frame(folder / f"{frame}.parquet") for frame in _FRAMES}
        except (OSError, ValueError, KeyError, pa.ArrowException):
            return None
        return _kept(about, frames)

    def forget(self, side: Side) -> None:
        """Drops what is kept of a side, so that the next cycle lists the system."""
        (self._folder / side / _CURRENT).unlink(missing_ok=True)


def write_frame(path: Path, frame: pd.DataFrame, *, group: int | None = None) -> None:
    """A frame as a Parquet file that its owner alone may read. Lists and dicts are kept as JSON, for their elements
    need not look alike.

    ``group``: rows that can be read without the others.
    """
    arrays, fields = [], []
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index(names="")
    for name, column in frame.items():
        nested = column.dtype == object
        array = _json_array(column) if nested else pa.array(column.array, from_pandas=True)
        array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        arrays.append(array)
        fields.append(pa.field(str(name), array.type, metadata={"dtype": str(column.dtype)}))
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    pq.write_table(table, make_file(path), compression="zstd", compression_level=1, row_group_size=group)


def read_frame(path: Path) -> pd.DataFrame:
    """What :func:`write_frame` wrote. Raises: OSError, pyarrow.ArrowException, ValueError."""
    return _frame(pq.read_table(path, memory_map=False))


def read_rows(path: Path, column: str, key: str) -> pd.DataFrame:
    """The rows of a file that have a key in a text column; that of the index is called "". Raises: OSError,
    pyarrow.ArrowException, ValueError."""
    with pq.ParquetFile(path, memory_map=False) as file:
        found = []
        for group in range(file.num_row_groups):
            rows = pc.indices_nonzero(pc.equal(file.read_row_group(group, columns=[column]).column(0), key))
            if len(rows):
                found.append(file.read_row_group(group).take(rows))
        return _frame(pa.concat_tables(found) if found else file.schema_arrow.empty_table())


def _frame(table: pa.Table) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name in table.column_names:
        dtype = table.schema.field(name).metadata[b"dtype"].decode()
        array = table.column(name)
        if dtype == "object":
            values = [None if text is None else orjson.loads(text) for text in array.to_pylist()]
            columns[name] = pd.Series(values, dtype=object)
        elif dtype == "boolean":
            columns[name] = array.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get)
        else:
            columns[name] = pd.Series(pd.array(array.cast(pa.large_string()), dtype="str"))
    frame = pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)
    if "" in columns:
        frame = frame.set_index("")
        frame.index.name = "key"
    return frame


def _json_array(column: pd.Series) -> pa.Array:
    return pa.array(
        [None if value is None or value is pd.NA or value != value else orjson.dumps(value) for value in column.array],
        pa.large_binary(),
    )


def _about(kept: Kept) -> dict[str, Any]:
    snapshot = kept.snapshot
    return {
        "format": _FORMAT,
        "cycle_id": kept.cycle_id,
        "cycle_began": kept.cycle_began.isoformat(),
        "fingerprint": kept.fingerprint,
        "listed_at": kept.listed_at.isoformat(),
        "listing_requests": kept.listing_requests,
        "doubtful": {str(kind): ids.tolist() for kind, ids in kept.doubtful.items()},
        "system": snapshot.system,
        "read_at": snapshot.read_at.isoformat(),
        "incomplete": list(snapshot.incomplete),
        "unreadable": [[row.kind, row.key, row.place, row.reason] for row in snapshot.unreadable],
        "disabled": sorted(snapshot.disabled),
        "watermark": snapshot.watermark,
    }


def _kept(about: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> Kept:
    snapshot = Snapshot(
        system=about["system"],
        users=frames["users"],
        groups=frames["groups"],
        members=frames["members"],
        read_at=datetime.fromisoformat(about["read_at"]),
        incomplete=tuple(about["incomplete"]),
        unreadable=tuple(Unreadable(Kind(kind), key, place, why) for kind, key, place, why in about["unreadable"]),
        disabled=frozenset(about["disabled"]),
        watermark=about["watermark"],
    )
    return Kept(
        snapshot=snapshot,
        cycle_id=about["cycle_id"],
        cycle_began=datetime.fromisoformat(about["cycle_began"]),
        fingerprint=about["fingerprint"],
        listed_at=datetime.fromisoformat(about["listed_at"]),
        listing_requests=about["listing_requests"],
        doubtful={Kind(kind): pd.Index(ids, dtype="str") for kind, ids in about["doubtful"].items()},
    )


def merge_delta(kept: Snapshot, delta: Snapshot) -> Snapshot | None:
    """The source whole: as it was kept, with what a read of changes brought. Kinds that were read whole replace.

    None where the two do not fit together, as when a column has other types now; then the source is read whole.
    """
    delta = _with_everybody(kept, delta)
    if not all(kind in delta.everybody for kind in Kind) and not delta.all_members:
        return None
    frames: dict[str, pd.DataFrame] = {}
    for kind, frame in ((Kind.USER, "users"), (Kind.GROUP, "groups")):
        merged = delta.entries(kind)
        if kind in delta.everybody:
            fitting = _alike(kept.entries(kind), merged)
            if fitting is None:
                return None
            merged = _merged(*fitting, delta.everybody[kind], _unreadable_keys(delta, kind))
            if isinstance(count := delta.everybody[kind], int) and len(merged) != count:
                return None  # somebody is gone
        frames[frame] = merged
    members = delta.members
    if not delta.all_members:
        others = kept.members.loc[find(texts(kept.members["group"]), texts(delta.groups.index)) < 0]
        everybody = delta.everybody[Kind.GROUP]
        if not isinstance(everybody, int):
            others = others.loc[find(texts(others["group"]), texts(everybody)) >= 0]
        # A membership of somebody who is gone stays: it counts for nothing, and is right again should they come back.
        members = pd.concat([_without(others, delta.edges_gone), members], ignore_index=True)
    return replace(
        delta,
        members=members,
        all_members=True,
        users=frames["users"],
        groups=frames["groups"],
        unreadable=(*delta.unreadable, *(row for row in kept.unreadable if _still_unreadable(row, delta))),
        disabled=delta.disabled | _still_disabled(kept, delta),
        everybody={},
        gone={},
        edges_gone=None,
    )


def _with_everybody(kept: Snapshot, delta: Snapshot) -> Snapshot:
    """The delta with the keys of everybody who is there: some sources tell who is there, others who is gone."""
    everybody = dict(delta.everybody)
    for kind in Kind:
        if kind in delta.gone and kind not in everybody:
            before = set(kept.entries(kind).index) | _unreadable_keys(kept, kind)
            there = (before - delta.gone[kind]) | set(delta.entries(kind).index) | _unreadable_keys(delta, kind)
            everybody[kind] = pd.Index(sorted(there), dtype="str")
    return replace(delta, everybody=everybody)


def _without(edges: pd.DataFrame, ended: pd.DataFrame | None) -> pd.DataFrame:
    """Memberships other than those that ended."""
    if ended is None or ended.empty:
        return edges
    over = pd.MultiIndex.from_frame(ended[["group", "member"]])
    return edges.loc[~pd.MultiIndex.from_frame(edges[["group", "member"]]).isin(over)]


def _unreadable_keys(snapshot: Snapshot, kind: Kind) -> set[str]:
    return {row.key for row in snapshot.unreadable if row.kind is kind and row.key is not None}


def _still_unreadable(row: Unreadable, delta: Snapshot) -> bool:
    """True for an entry that could not be read before, is there, and has not changed since."""
    everybody = delta.everybody.get(row.kind)
    if everybody is None or row.key is None:
        return False
    if not isinstance(everybody, int) and row.key not in everybody:
        return False
    return row.key not in delta.entries(row.kind).index and row.key not in _unreadable_keys(delta, row.kind)


def _still_disabled(kept: Snapshot, delta: Snapshot) -> frozenset[str]:
    everybody = delta.everybody.get(Kind.USER)
    if everybody is None:
        return frozenset()
    unchanged = kept.disabled.difference(delta.users.index, _unreadable_keys(delta, Kind.USER))
    return unchanged if isinstance(everybody, int) else unchanged.intersection(everybody)


def _alike(kept: pd.DataFrame, delta: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Both with the same columns of the same types; a column without any value takes the type of the other one."""
    if set(kept.columns) != set(delta.columns):
        return None
    for name in kept.columns:
        if kept[name].dtype == delta[name].dtype:
            continue
        if delta[name].isna().all():
            delta = delta.assign(**{name: delta[name].astype(kept[name].dtype)})
        elif kept[name].isna().all():
            kept = kept.assign(**{name: kept[name].astype(delta[name].dtype)})
        else:
            return None
    return kept, delta[list(kept.columns)]


def _merged(kept: pd.DataFrame, delta: pd.DataFrame, everybody: pd.Index | int, unreadable: set[str]) -> pd.DataFrame:
    fresh = delta.index.append(pd.Index(sorted(unreadable), dtype="str"))
    stays = kept.loc[find(texts(kept.index), texts(fresh)) < 0]
    if not isinstance(everybody, int):
        stays = stays.loc[find(texts(stays.index), texts(everybody)) >= 0]
    merged: pd.DataFrame = pd.concat([stays, delta]) if len(delta) else stays
    merged.index.name = "key"
    return merged.sort_index()
