"""Snapshots that are kept between cycles, and deltas that are merged into them."""

import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from connectors.contract import Kind, Snapshot, Unreadable
from tasks.snapshots import Kept, Side, SnapshotStore, merge_delta, read_frame, write_frame

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def frame(**people: dict[str, str | None]) -> pd.DataFrame:
    """Entries by key with text columns ``a`` and ``b``."""
    index = pd.Index(list(people), name="key", dtype="str")
    columns = {name: [person.get(name) for person in people.values()] for name in ("a", "b")}
    return pd.DataFrame(columns, index=index, dtype="str")


def edges(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["group", "member"], dtype="str")


def snapshot(users: pd.DataFrame, groups: pd.DataFrame | None = None, **more: object) -> Snapshot:
    members = more.pop("members", edges())
    return Snapshot("here", users, frame() if groups is None else groups, members, NOW, **more)


def kept(content: Snapshot, **more: object) -> Kept:
    return Kept(content, 7, NOW, "f1", NOW, 12, **more)


def test_frames_come_back_as_they_went_in(tmp_path: Path) -> None:
    """Text stays text (leading zeros, a person named None), nulls stay nulls, lists and dicts keep their elements."""
    original = pd.DataFrame(
        {
            "name": pd.Series(["00123", "None", None, "😀 O'Brien\n", ""], dtype="str"),
            "active": pd.Series([True, None, False, True, None], dtype="boolean"),
            "roles": pd.Series([["a", "b"], None, [{"value": "x", "n": 1}], [], {"only": True}], dtype=object),
            'emails[type eq "work"].value': pd.Series([None] * 5, dtype="str"),
        }
    ).set_index(pd.Index(list("abcde"), name="key", dtype="str"))
    write_frame(tmp_path / "f.parquet", original)
    pd.testing.assert_frame_equal(read_frame(tmp_path / "f.parquet"), original)
    write_frame(tmp_path / "e.parquet", edges(("g", "m")))
    pd.testing.assert_frame_equal(read_frame(tmp_path / "e.parquet"), edges(("g", "m")))


def test_what_is_kept_is_recalled_for_the_same_configuration_only(tmp_path: Path) -> None:
    """Another mapping reads other attributes; then nothing is known."""
    store = SnapshotStore(tmp_path / "job")
    content = snapshot(
        frame(ann={"a": "x"}),
        disabled=frozenset({"ann"}),
        unreadable=(Unreadable(Kind.USER, None, "line 3", "no key"),),
        incomplete=("a row was lost",),
        watermark="w",
    )
    store.keep(Side.TARGET, kept(content, doubtful={Kind.USER: pd.Index(["t1"], dtype="str")}))
    found = store.recall(Side.TARGET, fingerprint="f1")
    assert found is not None
    assert (found.cycle_id, found.listing_requests, list(found.doubtful[Kind.USER])) == (7, 12, ["t1"])
    for name in ("system", "read_at", "disabled", "unreadable", "incomplete", "watermark"):
        assert getattr(found.snapshot, name) == getattr(content, name)
    pd.testing.assert_frame_equal(found.snapshot.users, content.users)
    assert store.recall(Side.TARGET, fingerprint="f2") is None
    assert store.recall(Side.SOURCE, fingerprint="f1") is None


@pytest.mark.parametrize("damage", ["users.parquet", "about.json"])
def test_a_damaged_snapshot_is_none(tmp_path: Path, damage: str) -> None:
    """The system is listed then; a half-written file must not stop a cycle."""
    store = SnapshotStore(tmp_path)
    store.keep(Side.TARGET, kept(snapshot(frame(ann={}))))
    (path,) = (tmp_path / "target").glob(f"*/{damage}")
    path.write_bytes(path.read_bytes()[:20])
    assert store.recall(Side.TARGET, fingerprint="f1") is None


def test_only_the_latest_is_there_and_only_for_its_owner(tmp_path: Path) -> None:
    """Keeping again replaces it; people's data are nobody else's business."""
    store = SnapshotStore(tmp_path / "job")
    for number in (1, 2):
        store.keep(Side.TARGET, replace(kept(snapshot(frame(ann={}))), cycle_id=number))
    folders = [path for path in (tmp_path / "job" / "target").iterdir() if path.is_dir()]
    assert len(folders) == 1
    for path in (tmp_path / "job").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    store.forget(Side.TARGET)
    assert store.recall(Side.TARGET, fingerprint="f1") is None


def test_a_delta_changes_adds_and_takes_away() -> None:
    """The merged source is what a whole read would have given."""
    before = snapshot(frame(ann={"a": "1"}, bob={"a": "2"}, eve={"a": "3"}), disabled=frozenset({"ann", "bob"}))
    delta = snapshot(
        frame(bob={"a": "9"}, zoe={"a": "4"}),
        disabled=frozenset({"zoe"}),
        everybody={Kind.USER: pd.Index(["ann", "bob", "zoe"], dtype="str")},
        watermark="w2",
    )
    merged = merge_delta(before, delta)
    assert merged is not None
    assert merged.users["a"].to_dict() == {"ann": "1", "bob": "9", "zoe": "4"}
    assert merged.disabled == {"ann", "zoe"}
    assert merged.watermark == "w2"
    assert not merged.everybody


def test_entries_that_can_no_longer_be_read_are_not_believed_to_be_as_before() -> None:
    """Unreadable before and unchanged: still unreadable. Unreadable now: no longer in the frame, whatever was known."""
    old = Unreadable(Kind.USER, "eve", "row 3", "no state")
    new = Unreadable(Kind.USER, "ann", "row 1", "no state")
    before = snapshot(frame(ann={"a": "1"}, bob={"a": "2"}), unreadable=(old,))
    everybody = {Kind.USER: pd.Index(["ann", "bob", "eve"], dtype="str")}
    merged = merge_delta(before, snapshot(frame(), unreadable=(new,), everybody=everybody))
    assert merged is not None
    assert list(merged.users.index) == ["bob"]
    assert {row.key for row in merged.unreadable} == {"ann", "eve"}


@pytest.mark.parametrize(("count", "merges"), [(3, True), (2, False), (4, False)])
def test_a_delta_that_only_counts_proves_that_nobody_is_gone(count: int, merges: bool) -> None:
    """Another number than what adds up means that somebody left, or came unseen: the source is read whole."""
    before = snapshot(frame(ann={"a": "1"}, bob={"a": "2"}))
    delta = snapshot(frame(bob={"a": "9"}, zoe={}), everybody={Kind.USER: count})
    assert (merge_delta(before, delta) is not None) is merges


def test_memberships_of_groups_that_did_not_change_stay() -> None:
    """A delta of groups brings the memberships of these groups only."""
    groups = frame(g={"a": "G"}, h={"a": "H"})
    before = snapshot(frame(ann={}), groups, members=edges(("g", "ann"), ("h", "ann")))
    delta = snapshot(
        frame(), frame(h={"a": "H2"}), everybody={Kind.USER: 1, Kind.GROUP: 2}, members=edges(), all_members=False
    )
    merged = merge_delta(before, delta)
    assert merged is not None
    assert merged.members.to_numpy().tolist() == [["g", "ann"]]
    assert merged.groups["a"].to_dict() == {"g": "G", "h": "H2"}


def test_a_delta_that_names_who_is_gone_changes_nobody_else() -> None:
    """Entries that are not in such a delta are there as before; only those it names are gone."""
    groups = frame(g={"a": "G"}, h={"a": "H"}, i={"a": "I"})
    old = Unreadable(Kind.USER, "joe", "row 4", "no state")
    before = snapshot(
        frame(ann={"a": "1"}, bob={"a": "2"}, eve={"a": "3"}),
        groups,
        members=edges(("g", "ann"), ("g", "bob"), ("h", "eve"), ("i", "ann")),
        disabled=frozenset({"ann", "eve"}),
        unreadable=(old,),
    )
    delta = snapshot(
        frame(bob={"a": "9"}, zoe={"a": "4"}),
        frame(i={"a": "I"}),
        gone={Kind.USER: frozenset({"eve", "nobody"}), Kind.GROUP: frozenset({"h"})},
        members=edges(("i", "zoe")),
        edges_gone=edges(("g", "ann")),
        all_members=False,
    )
    merged = merge_delta(before, delta)
    assert merged is not None
    assert merged.users["a"].to_dict() == {"ann": "1", "bob": "9", "zoe": "4"}
    assert list(merged.groups.index) == ["g", "i"]
    assert merged.members.to_numpy().tolist() == [["g", "bob"], ["i", "zoe"]]
    assert merged.disabled == {"ann"}
    assert merged.unreadable == (old,)
    assert not merged.gone
    assert merged.edges_gone is None


def test_columns_of_other_types_do_not_merge() -> None:
    """A column that was text and holds lists now cannot be put together; one without values fits any."""
    before = snapshot(frame(ann={"a": "1"}))
    everybody = {Kind.USER: pd.Index(["ann", "bob"], dtype="str")}
    lists = frame(bob={}).assign(a=pd.Series([["x"]], index=["bob"], dtype=object))
    assert merge_delta(before, snapshot(lists, everybody=everybody)) is None
    empty = frame(bob={}).assign(a=pd.Series([np.nan], index=["bob"], dtype=object))
    merged = merge_delta(before, snapshot(empty, everybody=everybody))
    assert merged is not None
    assert merged.users["a"].dtype == before.users["a"].dtype
    assert merge_delta(before, snapshot(frame(bob={}).drop(columns="b"), everybody=everybody)) is None
