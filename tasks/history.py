"""What cycles wanted the target to be: kept, compared, and followed through time.

    desired/key                      what redacted values are turned into marks with
    desired/index.json               which cycle wanted which state
    desired/<cycle>/users.parquet    everybody in scope, as they should be; groups and memberships likewise

A cycle that wants what an earlier one wanted keeps nothing of its own. A redacted value is never in it: where it stood
is a mark that shows that it has changed, and not what it was, to nobody who lacks the key.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Kind, Value
from connectors.errors import ErrorCode
from tasks.job import Job
from tasks.keys import Rows, find, texts
from tasks.ledger import Cycle
from tasks.mapping import Mask, redacted_paths
from tasks.plan import Plan
from tasks.plan.blocks import STANDING, Standing
from tasks.plan.compare import canonical, differs
from tasks.private import own_folder, write_file
from tasks.snapshots import read_frame, read_rows, write_frame

LABEL = "provisor:label"
"""Column of a desired state's frames: what people call the entry."""
_OWN = (LABEL, STANDING)
_FRAMES = {Kind.USER: "users", Kind.GROUP: "groups"}
_ROWS_TOGETHER = 50_000
_UNTOLD = frozenset({ErrorCode.EXPRESSION_FAILED, ErrorCode.IMPORT_SKIPPED})
"""Why an entry that is in the source has no desired state."""

Redacted: TypeAlias = Mapping[Kind, frozenset[str]]
"""By kind: paths that hold marks instead of values."""


@dataclass(slots=True)
class DesiredState:
    """What one cycle wanted the target to be."""

    entries: dict[Kind, pd.DataFrame]
    """Index: anchor; columns ``LABEL``, ``STANDING``, and the mapped paths with marks where they are redacted."""
    members: pd.DataFrame
    """Columns group and member, both anchors."""
    redacted: Redacted


@dataclass(frozen=True, slots=True)
class Kept:
    """One desired state that is kept, without its content."""

    cycle: int
    """Number of the cycle that wanted it first."""
    until: int
    """Number of the last cycle known to have wanted the same."""
    began: datetime
    """When the first one began."""
    configuration: str
    """Fingerprint of the job in the last one."""
    digests: Mapping[str, str]
    """Of its frames, see :func:`digests_of`."""
    redacted: Mapping[str, Sequence[str]]

    def covers(self, cycle: int) -> bool:
        """True when the cycle wanted this."""
        return self.cycle <= cycle <= self.until


# --- from a plan -----------------------------------------------------------------------------------------------------


def desired_state(job: Job, plan: Plan, key: str) -> DesiredState:
    """What a plan wants, with marks instead of redacted values; ``key``: 16 characters."""
    redacted = {kind: redacted_paths(rules) for kind, rules in job.rules.items()}
    entries = {}
    for kind, mine in plan.entries.items():
        frame = mine.wanted.result()
        hidden = {path: _marks(frame[path], key) for path in sorted(redacted[kind] & set(frame.columns))}
        frame = frame.assign(**{LABEL: _labels(frame.index, mine.labels), **hidden})
        held = {one.anchor: one.label for one in plan.held if one.kind is kind and one.code in _UNTOLD and one.anchor}
        entries[kind] = _with_held(frame, held)
    return DesiredState(entries, plan.wanted_members.result().reset_index(drop=True), redacted)


def _labels(anchors: pd.Index, labels: "pd.Series[str]") -> "pd.Series[str]":
    at = find(texts(anchors), texts(labels.index))
    found = texts(labels).take(pa.array(at, mask=at < 0))
    return pd.Series(pd.array(pc.coalesce(found, texts(anchors)), dtype="str"), index=anchors)


def _with_held(frame: pd.DataFrame, held: Mapping[str, str]) -> pd.DataFrame:
    """The frame with a row for everybody (anchor to label) who is in the source, but of whom nothing can be told."""
    fresh = pd.Index(sorted(held), dtype="str")
    fresh = fresh[find(texts(fresh), texts(frame.index)) < 0]
    if not len(fresh):
        return frame
    standing = pd.Series(Standing.HELD.value, index=fresh, dtype="str")
    labels = pd.Series([held[anchor] or anchor for anchor in fresh], index=fresh, dtype="str")
    more = frame.iloc[:0].reindex(fresh).assign(**{STANDING: standing, LABEL: labels})
    return pd.concat([frame, more])


def _marks(values: pd.Series, key: str) -> "pd.Series[str]":
    """For each value a mark that is the same for the same value of the same entry, and says nothing without the key."""
    cells = _as_texts(values)
    salted = pc.binary_join_element_wise(texts(values.index), cells, pa.scalar("\x1f", pa.large_string()))
    hashed = pd.util.hash_array(
        salted.fill_null("").to_numpy(zero_copy_only=False).astype(object), hash_key=key, categorize=False
    )
    marks = pc.if_else(cells.is_null(), None, pa.array(hashed).cast(pa.large_string()))
    return pd.Series(pd.array(marks, dtype="str"), index=values.index)


def _as_texts(values: pd.Series) -> pa.Array:
    """A column as text: equal values, equal texts; null stays null."""
    if isinstance(values.dtype, pd.StringDtype):
        return texts(values)
    if values.dtype != object:
        return texts(values.astype("str"))
    cells = [canonical(value) for value in values.array]
    return pa.array(
        [None if cell is None else orjson.dumps(cell, default=str).decode() for cell in cells], pa.large_string()
    )


def digests_of(state: DesiredState) -> dict[str, str]:
    """Says whether two states are the same: a digest of each frame, and of its anchors, in the order of rows."""
    digests = {"members": _digest(state.members)}
    for kind, frame in state.entries.items():
        digests[_FRAMES[kind]] = _digest(frame)
        digests[f"anchors of {_FRAMES[kind]}"] = _digest(pd.DataFrame({"anchor": pd.Series(frame.index, dtype="str")}))
    return digests


def _digest(frame: pd.DataFrame) -> str:
    digest = hashlib.blake2b(str(len(frame)).encode(), digest_size=16)
    for path in sorted(map(str, frame.columns)):
        cells = _as_texts(frame[path]).fill_null("\x00")
        joined = pc.binary_join(pa.ListArray.from_arrays([0, len(cells)], cells), pa.scalar("\x1f", pa.large_string()))
        digest.update(f"\x1e{path}\x1e".encode())
        digest.update(memoryview(joined[0].as_buffer()))
    return digest.hexdigest()


def _surely_differ(earlier: Mapping[str, str], later: Mapping[str, str]) -> bool:
    """True where the same anchors in the same order have other values; otherwise only the order may be another one."""
    return any(
        earlier.get(f"anchors of {name}") == later.get(f"anchors of {name}") and earlier.get(name) != later.get(name)
        for name in _FRAMES.values()
    )


# --- comparing -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class KindDifference:
    """How the entries of one kind differ between two desired states."""

    joined: pd.DataFrame
    """Index: anchor; columns of the later state."""
    left: pd.DataFrame
    """Index: anchor; columns of the earlier state."""
    changed: pd.DataFrame
    """One row per attribute that changed, sorted by anchor: columns anchor, label, attribute, old, new.

    Old and new are null where the value is redacted; then ``hidden`` is true.
    """
    mapped: tuple[str, ...] = ()
    """Paths that only the later configuration maps."""
    unmapped: tuple[str, ...] = ()
    """Paths that only the earlier configuration maps."""

    @property
    def empty(self) -> bool:
        """True when everybody is as before."""
        return not (len(self.joined) or len(self.left) or len(self.changed) or self.mapped or self.unmapped)


@dataclass(slots=True)
class Difference:
    """What changed between two desired states."""

    entries: dict[Kind, KindDifference]
    added: pd.DataFrame
    """Memberships of the later state alone: columns group and member."""
    removed: pd.DataFrame

    @property
    def empty(self) -> bool:
        """True when both states are the same."""
        return not (len(self.added) or len(self.removed)) and all(one.empty for one in self.entries.values())


def compare(earlier: DesiredState, later: DesiredState) -> Difference:
    """Who joined, left and changed how, and which memberships came and went."""
    nobody = pd.DataFrame({LABEL: pd.Series(dtype="str"), STANDING: pd.Series(dtype="str")}, index=_no_anchors())
    entries = {}
    for kind in Kind:
        if kind in earlier.entries or kind in later.entries:
            hidden = earlier.redacted.get(kind, frozenset()) | later.redacted.get(kind, frozenset())
            before, after = earlier.entries.get(kind, nobody), later.entries.get(kind, nobody)
            entries[kind] = _compare_entries(before, after, hidden)
    was, now = _edge_keys(earlier.members), _edge_keys(later.members)
    added = later.members.loc[find(now, was) < 0].reset_index(drop=True)
    removed = earlier.members.loc[find(was, now) < 0].reset_index(drop=True)
    return Difference(entries, added, removed)


def _no_anchors() -> pd.Index:
    return pd.Index([], dtype="str")


def _edge_keys(edges: pd.DataFrame) -> pa.Array:
    separator = pa.scalar("\x1f", pa.large_string())
    return pc.binary_join_element_wise(texts(edges["group"]), texts(edges["member"]), separator)


def _compare_entries(before: pd.DataFrame, after: pd.DataFrame, hidden: frozenset[str]) -> KindDifference:
    at = find(texts(after.index), texts(before.index))
    stayed = np.flatnonzero(at >= 0)
    gone = find(texts(before.index), texts(after.index)) < 0
    old_paths, new_paths = ([str(path) for path in frame.columns if path not in _OWN] for frame in (before, after))
    both = [STANDING, *(path for path in new_paths if path in set(old_paths))]
    told = _is_told(before).take(at[stayed]) & _is_told(after).take(stayed)
    changes = []
    for path in both if len(stayed) else ():
        old, new = _cells(before[path], at[stayed]), _cells(after[path], stayed)
        different = differs(old, new) if path == STANDING else differs(old, new) & told
        rows = np.flatnonzero(different)
        if len(rows):
            changes.append(_changes(path, stayed[rows], old.iloc[rows], new.iloc[rows], hidden=path in hidden))
    return KindDifference(
        joined=after.loc[at < 0].sort_index(),
        left=before.loc[gone].sort_index(),
        changed=_in_order(changes, after),
        mapped=tuple(sorted(set(new_paths) - set(old_paths))) if len(before.columns) > len(_OWN) else (),
        unmapped=tuple(sorted(set(old_paths) - set(new_paths))) if len(after.columns) > len(_OWN) else (),
    )


def _is_told(frame: pd.DataFrame) -> Mask:
    return (frame[STANDING] != Standing.HELD.value).to_numpy(dtype=bool)


def _cells(column: pd.Series, rows: Rows) -> pd.Series:
    whole = len(rows) == len(column) and bool((np.diff(rows) == 1).all())
    return (column if whole else column.take(rows)).reset_index(drop=True)


def _changes(path: str, rows: Rows, old: pd.Series, new: pd.Series, *, hidden: bool) -> pd.DataFrame:
    shown = [pd.Series([None if hidden else plain(value) for value in side.array], dtype=object) for side in (old, new)]
    return pd.DataFrame({"row": rows, "attribute": path, "old": shown[0], "new": shown[1], "hidden": hidden})


def _in_order(changes: list[pd.DataFrame], after: pd.DataFrame) -> pd.DataFrame:
    if not changes:
        return pd.DataFrame({name: [] for name in ("anchor", "label", "attribute", "old", "new", "hidden")})
    found = pd.concat(changes, ignore_index=True)
    rows = found["row"].to_numpy(dtype=np.int64)
    anchors = pd.Series(after.index.take(rows), dtype="str")
    labels = pd.Series(after[LABEL].take(rows).array, dtype="str")
    found = found.assign(anchor=anchors, label=labels).drop(columns="row")
    return found.sort_values("anchor", kind="stable", ignore_index=True)


def plain(value: Value) -> Value:
    """A cell as a plain value, None for null."""
    if value is None or value is pd.NA or value != value:
        return None
    return value.item() if isinstance(value, np.generic) else value


# --- keeping ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class History:
    """The desired states of one job that are kept."""

    folder: Path
    _index: list[Kept] | None = field(default=None, init=False)

    @property
    def kept(self) -> list[Kept]:
        """What there is, the oldest first."""
        if self._index is None:
            self._index = self._read_index()
        return self._index

    def keep(self, job: Job, cycle: Cycle, plan: Plan, *, planned: bool) -> Kept | None:
        """Keeps what a finished cycle wanted, unless it is what the one before wanted; gives what is kept of it.

        ``planned``: whether there was anything to do. A cycle without is taken for one that wants the same.
        """
        limit = job.history.snapshots
        if not limit:
            if self.folder.exists():
                shutil.rmtree(self.folder, ignore_errors=True)
            self._index = []
            return None
        if self.kept and self.kept[-1].until >= cycle.number:  # of another ledger, whose cycles count anew
            self._write_index([])
        last = self.kept[-1] if self.kept else None
        if last is not None and not planned and last.configuration == cycle.fingerprint:
            return self._seen_again(last, cycle)
        state = desired_state(job, plan, self._key())
        digests = digests_of(state)
        if last is not None and (last.digests == digests or self._same(last, state, digests)):
            return self._seen_again(last, cycle)
        redacted = {str(kind): sorted(paths) for kind, paths in state.redacted.items() if paths}
        kept = Kept(cycle.number, cycle.number, cycle.began, cycle.fingerprint, digests, redacted)
        place = own_folder(self.folder / str(cycle.number))
        for kind, frame in state.entries.items():
            write_frame(place / f"{_FRAMES[kind]}.parquet", _writable(frame), group=_ROWS_TOGETHER)
        write_frame(place / "members.parquet", state.members, group=_ROWS_TOGETHER)
        self._write_index([*self.kept, kept][-limit:])
        return kept

    def covering(self, cycle: int) -> Kept | None:
        """What a cycle wanted, by its number; None where that is not kept."""
        return next((one for one in self.kept if one.covers(cycle)), None)

    def read(self, kept: Kept) -> DesiredState | None:
        """The content; None where it cannot be read."""
        place = self.folder / str(kept.cycle)
        try:
            entries = {
                kind: read_frame(path) for kind, name in _FRAMES.items() if (path := place / f"{name}.parquet").exists()
            }
            members = read_frame(place / "members.parquet")
        except (OSError, ValueError, pa.ArrowException):
            return None
        return DesiredState(entries, members, _redacted(kept)) if entries else None

    def read_entry(self, kept: Kept, kind: Kind, anchor: str) -> DesiredState | None:
        """As :meth:`read`, but of one entry and its memberships alone."""
        place = self.folder / str(kept.cycle)
        path = place / f"{_FRAMES[kind]}.parquet"
        try:
            entries = {kind: read_rows(path, "", anchor)} if path.exists() else {}
            members = read_rows(place / "members.parquet", "member" if kind is Kind.USER else "group", anchor)
        except (OSError, ValueError, pa.ArrowException):
            return None
        return DesiredState(entries, members, _redacted(kept))

    def find(self, name: str) -> list[tuple[Kind, str]]:
        """Kind and anchor of the entries that go by an anchor, or by a name in any case, in the latest state."""
        if not self.kept or (state := self.read(self.kept[-1])) is None:
            return []
        found = []
        for kind, frame in state.entries.items():
            named = (frame[LABEL].str.lower() == name.lower()).to_numpy(dtype=bool) | (frame.index == name)
            found += [(kind, str(anchor)) for anchor in frame.index[named]]
        return found

    def _same(self, last: Kept, state: DesiredState, digests: Mapping[str, str]) -> bool:
        """Whether a state that looks otherwise only comes in another order."""
        if _surely_differ(last.digests, digests) or (before := self.read(last)) is None:
            return False
        return dict(before.redacted) == dict(_told(state.redacted)) and compare(before, state).empty

    def _seen_again(self, last: Kept, cycle: Cycle) -> Kept:
        again = Kept(last.cycle, cycle.number, last.began, cycle.fingerprint, last.digests, last.redacted)
        self._write_index([*self.kept[:-1], again])
        return again

    def _key(self) -> str:
        path = own_folder(self.folder) / "key"
        try:
            return path.read_text(encoding="ascii")
        except FileNotFoundError:
            key = secrets.token_urlsafe(12)
            write_file(path, key.encode())
            return key

    def _read_index(self) -> list[Kept]:
        try:
            found = json.loads((self.folder / "index.json").read_bytes())
            return [Kept(**{**one, "began": datetime.fromisoformat(one["began"])}) for one in found]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def _write_index(self, index: list[Kept]) -> None:
        new = own_folder(self.folder) / "index.json.new"
        write_file(new, orjson.dumps([_about(one) for one in index]))
        new.replace(self.folder / "index.json")
        self._index = index
        current = {str(one.cycle) for one in index}
        for place in self.folder.iterdir():
            if place.is_dir() and place.name not in current:
                shutil.rmtree(place, ignore_errors=True)


def _about(kept: Kept) -> dict[str, Any]:
    names = ("cycle", "until", "configuration", "digests", "redacted")
    return {**{name: getattr(kept, name) for name in names}, "began": kept.began.isoformat()}


def _redacted(kept: Kept) -> Redacted:
    return {Kind(kind): frozenset(paths) for kind, paths in kept.redacted.items()}


def _told(redacted: Redacted) -> Iterable[tuple[Kind, frozenset[str]]]:
    return ((kind, paths) for kind, paths in redacted.items() if paths)


def _writable(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with numbers as plain values, which keep their type in a file."""
    numbers = [name for name in frame.columns if not _keeps_type(frame[name])]
    return frame.assign(**{name: frame[name].astype(object) for name in numbers}) if numbers else frame


def _keeps_type(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.StringDtype) or column.dtype == "boolean" or column.dtype == object
