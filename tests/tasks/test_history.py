"""What cycles wanted, kept and compared: without a target."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest

from connectors.contract import Kind
from tasks.history import LABEL, DesiredState, History, compare, desired_state
from tasks.ledger import Cycle, CycleKind, CycleState
from tasks.plan.blocks import STANDING
from tests.tasks.plan.worlds import MANAGER, World, make_job

KEY = "0123456789abcdef"


def state_of(people: Mapping[str, Mapping[str, Any]], **columns: str) -> DesiredState:
    """A state of some people; ``columns``: dtypes of attributes that are no text."""
    index = pd.Index(list(people), dtype="str")
    names = sorted({name for values in people.values() for name in values} - {"standing"})
    cells = {
        name: pd.Series([one.get(name) for one in people.values()], index=index, dtype=columns.get(name, "str"))
        for name in names
    }
    standing = pd.Series([one.get("standing", "in scope") for one in people.values()], index=index, dtype="str")
    labels = pd.Series(index, index=index, dtype="str")
    frame = pd.DataFrame({**cells, STANDING: standing, LABEL: labels}, index=index)
    edges = pd.DataFrame({"group": pd.Series(dtype="str"), "member": pd.Series(dtype="str")})
    return DesiredState({Kind.USER: frame}, edges, {})


def changes(earlier: DesiredState, later: DesiredState) -> list[tuple[str, str, Any, Any]]:
    """Anchor, attribute, old and new of everything that changed of users."""
    changed = compare(earlier, later).entries[Kind.USER].changed
    return list(changed[["anchor", "attribute", "old", "new"]].itertuples(index=False, name=None))


def cycle(number: int, fingerprint: str = "same") -> Cycle:
    return Cycle(
        number,
        number,
        "test",
        CycleKind.INCREMENTAL,
        CycleState.RUNNING,
        fingerprint,
        datetime(2026, 3, number, tzinfo=UTC),
    )


def make_world(**sections: Any) -> World:
    """Ann, whose manager is Bob, and Bob; one group of both."""
    attributes = {"title": "[title]", "uidNumber": "[number]", MANAGER: {"reference": "[boss]"}}
    world = World(make_job(attributes, {}, **sections))
    world.users = {
        "a": {"mail": "ann@x", "title": "Clerk", "number": "7", "boss": "b"},
        "b": {"mail": "bob@x", "title": "Boss", "number": None, "boss": None},
    }
    world.groups = {"g": {"name": "All"}}
    world.members = {("g", "a"), ("g", "b")}
    return world


def test_everything_that_can_differ_is_told_with_its_values() -> None:
    """Text, null, boolean, number and list, and how an entry stands; what is equal is not."""
    types = {"active": "boolean", "number": "Int64", "mails": "object"}
    before = state_of({"a": {"title": "x", "active": True, "number": 1, "mails": ["p", "q"], "same": "s"}}, **types)
    after = state_of(
        {"a": {"title": None, "active": False, "number": 2, "mails": ["q"], "same": "s", "standing": "disabled"}},
        **types,
    )
    assert changes(before, after) == [
        ("a", STANDING, "in scope", "disabled"),
        ("a", "active", True, False),
        ("a", "mails", ["p", "q"], ["q"]),
        ("a", "number", 1, 2),
        ("a", "title", "x", None),
    ]
    assert changes(before, before) == []


def test_the_order_of_rows_and_of_list_elements_means_nothing() -> None:
    """A reordered export wants the same."""
    people = {"a": {"mails": ["p", "q"]}, "b": {"mails": ["r"]}}
    turned = {"b": {"mails": ["r"]}, "a": {"mails": ["q", "p"]}}
    assert compare(state_of(people, mails="object"), state_of(turned, mails="object")).empty


def test_of_an_entry_that_is_held_nothing_is_told_but_that() -> None:
    """What could not be mapped has not lost its attributes."""
    before, after = state_of({"a": {"title": "x"}}), state_of({"a": {"title": None, "standing": "held"}})
    assert changes(before, after) == [("a", STANDING, "in scope", "held")]


def test_a_mapping_that_comes_or_goes_is_told_once_and_not_of_everybody() -> None:
    """A million people have not changed because the job maps one attribute more."""
    before, after = state_of({"a": {"title": "x"}}), state_of({"a": {"nickName": "y"}})
    difference = compare(before, after).entries[Kind.USER]
    assert (difference.mapped, difference.unmapped, len(difference.changed)) == (("nickName",), ("title",), 0)
    assert not difference.empty


def test_a_plan_says_what_it_wants() -> None:
    """References are anchors, memberships too, disabled and held people are there as such, leavers are not."""
    world = make_world()
    world.users["c"] = {"mail": "cat@x", "title": "t", "number": "no number", "boss": None}
    world.users["d"] = {"mail": "dan@x", "title": "t", "number": None, "boss": "nobody"}
    world.disabled = {"b"}
    world.link("b", "1")
    world.accounts[Kind.USER] = {"1": {"userName": "bob@x", "active": True}}
    state = desired_state(world.job, world.plan(), KEY)
    users = state.entries[Kind.USER]
    assert users[STANDING].to_dict() == {"a": "in scope", "b": "disabled", "c": "held", "d": "in scope"}
    assert users[MANAGER].dropna().to_dict() == {"a": "b"}
    assert users[LABEL].to_dict() == {"a": "ann@x", "b": "bob@x", "c": "cat@x", "d": "dan@x"}
    assert set(state.members.itertuples(index=False, name=None)) == {("g", "a"), ("g", "b")}


def test_marks_of_redacted_values_tell_a_change_and_nothing_else() -> None:
    """The same value of two people, or under two keys, gives different marks; the value itself is nowhere."""
    world = make_world()
    world.job = make_job({"title": {"expression": "[title]", "redact": True}}, {})
    world.users["b"]["title"] = "Clerk"
    first, again = (desired_state(world.job, world.plan(), KEY) for _ in range(2))
    other = desired_state(world.job, world.plan(), KEY[::-1])
    marks = first.entries[Kind.USER]["title"]
    assert marks.equals(again.entries[Kind.USER]["title"])
    assert not set(marks) & set(other.entries[Kind.USER]["title"])
    assert marks["a"] != marks["b"]
    assert "Clerk" not in first.entries[Kind.USER].to_csv()
    world.users["a"]["title"] = "Boss"
    changed = compare(first, desired_state(world.job, world.plan(), KEY)).entries[Kind.USER].changed
    assert changed[["anchor", "attribute", "old", "new", "hidden"]].values.tolist() == [
        ["a", "title", None, None, True]
    ]
    world.users["a"]["title"] = None
    gone = desired_state(world.job, world.plan(), KEY)
    assert gone.entries[Kind.USER]["title"].isna()["a"]


def test_what_is_kept_is_what_was_wanted(tmp_path: Path) -> None:
    """Written and read, a state is the same, types and all; one entry can be read alone."""
    world, history = make_world(), History(tmp_path / "desired")
    kept = history.keep(world.job, cycle(1), world.plan(), planned=True)
    assert kept is not None
    read = History(tmp_path / "desired").read(kept)
    assert read is not None
    wanted = desired_state(world.job, world.plan(), KEY)
    assert compare(read, wanted).empty
    assert read.entries[Kind.USER]["uidNumber"]["a"] == 7
    one = history.read_entry(kept, Kind.USER, "a")
    assert one is not None
    assert list(one.entries[Kind.USER].index) == ["a"]
    assert one.members.values.tolist() == [["g", "a"]]
    assert history.find("BOB@x") == [(Kind.USER, "b")]
    for path in (tmp_path / "desired").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_same_again_in_any_order_is_kept_once(tmp_path: Path) -> None:
    """A cycle that wants what the last one wanted refers to it, whatever order the source came in."""
    world, history = make_world(), History(tmp_path / "desired")
    history.keep(world.job, cycle(1), world.plan(), planned=True)
    history.keep(world.job, cycle(2), world.plan(), planned=True)
    for number in range(3, 6):
        history.keep(world.job, cycle(number), world.plan(random=Random(number)), planned=True)
    world.users["a"]["title"] = "Other"
    history.keep(world.job, cycle(6), world.plan(), planned=False)
    assert [(one.cycle, one.until) for one in history.kept] == [(1, 6)]
    history.keep(world.job, cycle(7), world.plan(), planned=True)
    assert [(one.cycle, one.until) for one in history.kept] == [(1, 6), (7, 7)]
    assert history.covering(4) == history.kept[0]
    assert history.covering(8) is None


def test_another_configuration_is_looked_at_also_when_nothing_is_planned(tmp_path: Path) -> None:
    """And only once: the next cycle of that configuration is taken for the same again."""
    world, history = make_world(), History(tmp_path / "desired")
    history.keep(world.job, cycle(1), world.plan(), planned=True)
    history.keep(world.job, cycle(2, "other"), world.plan(), planned=False)
    assert [(one.cycle, one.until, one.configuration) for one in history.kept] == [(1, 2, "other")]
    world.users["a"]["title"] = "Other"
    history.keep(world.job, cycle(3, "third"), world.plan(), planned=False)
    assert [one.cycle for one in history.kept] == [1, 3]


@pytest.mark.parametrize(("snapshots", "kept"), [(2, [3, 4]), (0, []), (20, [1, 2, 3, 4])])
def test_no_more_are_kept_than_the_job_says(tmp_path: Path, snapshots: int, kept: list[int]) -> None:
    """The oldest goes first, with its files; 0 keeps none."""
    world, folder = make_world(history={"snapshots": snapshots}), tmp_path / "desired"
    history = History(folder)
    for number in range(1, 5):
        world.users["a"]["title"] = f"Number {number}"
        history.keep(world.job, cycle(number), world.plan(), planned=True)
    assert [one.cycle for one in history.kept] == kept
    assert sorted(int(place.name) for place in folder.glob("[0-9]*")) == kept


def test_states_of_another_ledger_are_dropped(tmp_path: Path) -> None:
    """Where cycles count anew, what older ones wanted would be taken for theirs."""
    world, history = make_world(), History(tmp_path / "desired")
    history.keep(world.job, cycle(5), world.plan(), planned=True)
    world.users["a"]["title"] = "Other"
    history.keep(world.job, cycle(1), world.plan(), planned=True)
    assert [one.cycle for one in history.kept] == [1]


def test_damaged_files_are_as_if_they_were_not_there(tmp_path: Path) -> None:
    """A history is worth less than a cycle: what cannot be read is kept anew."""
    world, folder = make_world(), tmp_path / "desired"
    history = History(folder)
    kept = history.keep(world.job, cycle(1), world.plan(), planned=True)
    assert kept is not None
    (folder / "1" / "users.parquet").write_bytes(b"nonsense")
    assert history.read(kept) is None
    assert history.read_entry(kept, Kind.USER, "a") is None
    (folder / "index.json").write_bytes(b"nonsense")
    assert History(folder).kept == []
    assert History(folder).keep(world.job, cycle(2), world.plan(), planned=True) is not None
