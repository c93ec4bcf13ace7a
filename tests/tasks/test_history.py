"""Desired states: what a plan wants, how two of them differ, and what is kept of them."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Kind
from tasks.history import Difference, History, compare, desired_state
from tasks.ledger import Cycle, CycleKind, CycleState
from tests.tasks.plan.worlds import World, make_job

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
KEY = "0123456789abcdef"
PLAIN = {"title": "[title]"}
REDACTED = {"title": {"expression": "[title]", "redact": True}}


def people(**titles: str) -> dict[str, dict[str, Any]]:
    """Users by anchor, with these titles."""
    return {anchor: {"mail": f"{anchor}@example.com", "title": title} for anchor, title in titles.items()}


def world(attributes: dict[str, Any] = PLAIN, members: set[tuple[str, str]] | None = None, **titles: str) -> World:
    """A world with these people, who are all in the source, and one group."""
    return World(
        make_job(attributes, groups={}), users=people(**titles), groups={"g": {"name": "All"}}, members=members or set()
    )


def difference(before: World, after: World) -> Difference:
    """What two worlds want otherwise."""
    earlier, later = (desired_state(one.job, one.plan(), KEY) for one in (before, after))
    return compare(earlier, later)


def keep(history: History, number: int, here: World, *, fingerprint: str = "f", planned: bool = True) -> Any:
    """Keeps what a world wants, as the cycle with this number does."""
    began = NOW + timedelta(hours=number)
    cycle = Cycle(number, number, "test", CycleKind.INITIAL, CycleState.RUNNING, fingerprint, began)
    return history.keep(here.job, cycle, here.plan(), planned=planned)


def with_snapshots(here: World, count: int) -> World:
    """The world with a job that keeps so many."""
    here.job = make_job(PLAIN, groups={}, history={"snapshots": count})
    return here


def test_joiners_leavers_and_changes_are_told_apart() -> None:
    """Who is in one state alone joined or left; who is in both changed, with the old and the new value."""
    found = difference(world(a="x", b="x", c="x"), world(b="x", c="y", d="x")).entries[Kind.USER]
    assert (list(found.joined.index), list(found.left.index)) == (["d"], ["a"])
    changed = found.changed[["anchor", "attribute", "old", "new", "hidden"]].values.tolist()
    assert changed == [["c", "title", "x", "y", False]]


def test_the_same_people_in_another_order_are_no_difference() -> None:
    """Nothing is told where only the order of the source changed."""
    assert difference(world(a="x", b="y"), world(b="y", a="x")).empty


def test_redacted_values_are_marks_that_only_show_a_change() -> None:
    """No value is in the state; equal values have equal marks, and a change is told without old and new."""
    before, after = world(REDACTED, a="secret", b="same"), world(REDACTED, a="hidden", b="same")
    state = desired_state(before.job, before.plan(), KEY)
    assert "secret" not in state.entries[Kind.USER].to_csv()
    (row,) = difference(before, after).entries[Kind.USER].changed.itertuples()
    assert (row.anchor, row.attribute, row.old, row.new, row.hidden) == ("a", "title", None, None, True)


def test_memberships_that_come_and_go_are_told() -> None:
    """By the anchors of both, whatever else stays as it was."""
    found = difference(world(members={("g", "a")}, a="x", b="x"), world(members={("g", "b")}, a="x", b="x"))
    assert found.added.values.tolist() == [["g", "b"]]
    assert found.removed.values.tolist() == [["g", "a"]]


def test_the_same_state_is_kept_once(tmp_path: Path) -> None:
    """Cycles that want the same extend what is kept; whoever wants otherwise keeps a state of its own."""
    history = History(tmp_path / "desired")
    keep(history, 1, world(a="x", b="y"))
    keep(history, 2, world(b="y", a="x"))
    keep(history, 3, world(a="x", b="y"), planned=False)
    keep(history, 4, world(a="x", b="z"))
    again = History(tmp_path / "desired")
    assert [(one.cycle, one.until) for one in again.kept] == [(1, 3), (4, 4)]
    assert again.covering(2) == again.kept[0]
    assert again.covering(5) is None


def test_no_more_is_kept_than_the_job_says(tmp_path: Path) -> None:
    """The oldest goes first, with its files; what is left is for its owner alone."""
    history = History(tmp_path / "desired")
    for number, title in enumerate(("u", "v", "w"), start=1):
        keep(history, number, with_snapshots(world(a=title), 2))
    assert [one.cycle for one in history.kept] == [2, 3]
    assert sorted(place.name for place in history.folder.iterdir() if place.is_dir()) == ["2", "3"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in history.folder.rglob("*") if path.is_file()} == {0o600}
    keep(history, 4, with_snapshots(world(a="x"), 0))
    assert not history.folder.exists()


@pytest.mark.parametrize("content", [b"", b"PAR1 and nothing else"])
def test_a_damaged_file_is_no_state(tmp_path: Path, content: bytes) -> None:
    """It is read as nothing, not as an empty state in which everybody left; the next cycle keeps one again."""
    history = History(tmp_path / "desired")
    kept = keep(history, 1, world(a="x"))
    (history.folder / "1" / "users.parquet").write_bytes(content)
    assert history.read(kept) is None
    assert history.read_entry(kept, Kind.USER, "a") is None
    (history.folder / "index.json").write_bytes(b"[{")
    assert keep(History(history.folder), 2, world(a="x")).cycle == 2
