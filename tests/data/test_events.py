"""The second demo export: that the list of events tells exactly what differs between the two."""

import csv
import json
from itertools import combinations
from pathlib import Path

import pytest

FIRST = Path(__file__).parents[2] / "flows" / "jobs" / "hr-to-scim"
SECOND = FIRST / "next"

People = dict[str, dict[str, str]]

CHANGED_COLUMNS = {
    "mover_department": [{"department"}, {"department", "jobTitle"}, {"department", "jobTitle", "manager"}],
    "mover_title": [{"jobTitle"}],
    "mover_manager": [{"manager"}],
    "manager_replaced": [{"manager"}],
    "leaver_terminated": [{"status"}],
    "renamed": [{"surname", "userPrincipalName", "mail"}],
    "rehired": [{"status"}],
    "left_scope": [{"employeeType"}],
    "entered_scope": [{"employeeType"}],
    "never_in_scope": [set()],
    "title_cleared": [{"jobTitle"}],
    "manager_healed": [set()],
    "unchanged": [set()],
}


def people_of(folder: Path) -> People:
    with (folder / "people.csv").open(encoding="utf-8", newline="") as file:
        return {row["employeeId"]: row for row in csv.DictReader(file)}


def groups_of(folder: Path) -> tuple[dict[str, str], dict[str, set[str]]]:
    """Names and members by group id."""
    with (folder / "groups.csv").open(encoding="utf-8", newline="") as file:
        names = {row["id"]: row["name"] for row in csv.DictReader(file)}
    members: dict[str, set[str]] = {group: set() for group in names}
    with (folder / "members.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            members[row["group"]].add(row["member"])
    return names, members


@pytest.fixture(scope="module")
def events() -> dict[str, dict[str, list[str]]]:
    return json.loads((FIRST / "events.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def first() -> People:
    return people_of(FIRST)


@pytest.fixture(scope="module")
def second() -> People:
    return people_of(SECOND)


def test_nobody_has_two_fates(events: dict[str, dict[str, list[str]]]) -> None:
    """Every event can be looked at by itself."""
    for (one, chosen), (other, others) in combinations(events["people"].items(), 2):
        assert not set(chosen) & set(others), f"{one} and {other}"


def test_events_are_the_whole_difference(
    events: dict[str, dict[str, list[str]]], first: People, second: People
) -> None:
    """Who is not in the list is the same in both exports; who is differs just where the fate says."""
    fates = events["people"]
    assert sorted(second.keys() - first.keys()) == fates["joiner"]
    assert sorted(first.keys() - second.keys()) == fates["leaver_gone"]
    fate_of = {person: fate for fate, chosen in fates.items() for person in chosen}
    for person in first.keys() & second.keys():
        changed = {column for column, value in first[person].items() if second[person][column] != value}
        assert changed in CHANGED_COLUMNS.get(fate_of.get(person, "unchanged"), [set()]), person


def test_there_are_as_many_events_as_the_demo_tells(events: dict[str, dict[str, list[str]]]) -> None:
    """About 25 joiners, 40 movers, 15 gone and 8 terminated, and at least one of everything else."""
    counts = {fate: len(chosen) for fate, chosen in events["people"].items()}
    movers = sum(count for fate, count in counts.items() if fate.startswith("mover_"))
    assert (counts["joiner"], movers, counts["leaver_gone"], counts["leaver_terminated"]) == (25, 41, 16, 8)
    assert min(counts.values()) >= 1


def test_fates_start_and_end_as_they_say(
    events: dict[str, dict[str, list[str]]], first: People, second: People
) -> None:
    """Values before and after, not only the columns that differ."""
    fates = events["people"]
    assert {first[person]["status"] for person in fates["rehired"]} == {"terminated"}
    assert {second[person]["status"] for person in fates["rehired"]} == {"active"}
    assert {second[person]["status"] for person in fates["leaver_terminated"]} == {"terminated"}
    assert {second[person]["employeeType"] for person in fates["left_scope"]} == {"contractor"}
    assert {first[person]["employeeType"] for person in fates["entered_scope"]} == {"contractor"}
    assert {first[person]["status"] for person in fates["unchanged"]} == {"leave"}
    assert {second[person]["jobTitle"] for person in fates["title_cleared"]} == {""}
    for person in fates["manager_replaced"]:
        gone = first[person]["manager"]
        assert gone in fates["leaver_gone"]
        assert second[person]["manager"] == first[gone]["manager"]
    for person in fates["manager_healed"]:
        assert first[person]["manager"] not in first
        assert first[person]["manager"] == fates["joiner"][0]


def test_every_manager_is_there_in_the_end(second: People) -> None:
    """After the second export no reference is left open, and nobody reports to somebody who left."""
    managers = {row["manager"] for row in second.values()} - {""}
    assert managers <= second.keys()
    assert {second[person]["status"] for person in managers} <= {"active", "leave"}


def test_groups_have_their_fates_too(events: dict[str, dict[str, list[str]]]) -> None:
    """One group renamed, one new, one shrunk to one member, one with others, and no other group's own row differs."""
    (names, members), (new_names, new_members) = groups_of(FIRST), groups_of(SECOND)
    fates = events["groups"]
    assert [group for group in names if new_names.get(group) != names[group]] == fates["renamed"]
    assert sorted(new_names.keys() - names.keys()) == fates["new"]
    assert all(new_members[group] for group in fates["new"])
    [shrunk] = fates["shrunk"]
    assert len(new_members[shrunk]) == 1
    assert new_members[shrunk] < members[shrunk]
    assert all(new_members.values()), "a group that loses everybody at once waits for approval"
    for group in fates["members_changed"]:
        assert members[group] - new_members[group]
        assert new_members[group] - members[group]


def test_memberships_end_with_the_job(events: dict[str, dict[str, list[str]]], first: People, second: People) -> None:
    """Whoever left is in no group any more; whoever moved is in the new department's group alone."""
    names, members = groups_of(SECOND)
    fates = events["people"]
    for fate in ("leaver_gone", "leaver_terminated", "left_scope"):
        for person in fates[fate]:
            assert not [group for group, chosen in members.items() if person in chosen]
    for person in fates["mover_department"]:
        departments = [names[group] for group in members if person in members[group] and "Department" in names[group]]
        assert departments == [f"Department {second[person]['department']}"]
        assert departments != [f"Department {first[person]['department']}"]


def test_the_cast_is_one_person_of_each_fate(events: dict) -> None:
    """Twelve people by whom the demo can be told; each is on the list of the fate they stand for."""
    assert len(events["cast"]) == len({person["fate"] for person in events["cast"]}) == 12
    for person in events["cast"]:
        assert person["employeeId"] in events["people"][person["fate"]]
        assert person["story"].endswith(".")
