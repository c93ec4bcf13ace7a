"""The reference for the hr-to-scim job: that it covers the job file, and what the demo brings about."""

import json
from collections import Counter
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.data.expected import ENTERPRISE, MANAGER, TITLE, State, desired_state

JOBS = Path(__file__).parents[2] / "flows" / "jobs"
FIRST = JOBS / "hr-to-scim"
JOB = YAML(typ="safe").load(JOBS / "hr-to-scim.yaml")


@pytest.fixture(scope="module")
def first() -> State:
    return desired_state(FIRST)


@pytest.fixture(scope="module")
def second(first: State) -> State:
    return desired_state(FIRST / "next", first)


def test_reference_sets_the_attributes_that_the_job_maps(first: State) -> None:
    """A mapping added to the job file, or taken out, has to be said in the reference as well."""
    assert {path for account in first.users.values() for path in account} == set(JOB["users"]["attributes"])
    assert {path for group in first.groups.values() for path in group} == set(JOB["groups"]["attributes"])


def test_first_export_brings_these_counts(first: State) -> None:
    """What a first run of the demo shows."""
    assert len(first.in_scope) == 939
    assert len(first.out_of_scope) == 61
    assert len(first.created) == len(first.users) == 925
    assert all(account["active"] is True for account in first.users.values())
    assert len(first.groups) == 40
    assert len(first.edges) == 2270
    assert len(first.unresolved) == 1


def test_second_export_brings_these_counts(second: State) -> None:
    """What the run after that shows."""
    assert len(second.created) == 31
    assert len(second.updated) == 47
    assert len(second.disabled) == 28
    assert not second.enabled
    assert not second.unresolved
    assert (len(second.edges_added), len(second.edges_removed)) == (102, 95)


def test_every_outcome_is_the_fate_of_somebody(first: State, second: State) -> None:
    """The events' list and the reference agree, person by person."""
    fates = json.loads((FIRST / "events.json").read_text(encoding="utf-8"))["people"]

    def those(*names: str) -> set[str]:
        return {person for name in names for person in fates[name]}

    assert second.created == those("joiner", "entered_scope", "rehired")
    assert second.disabled == those("leaver_gone", "leaver_terminated", "left_scope")
    assert second.updated == those(
        "mover_department", "mover_title", "mover_manager", "manager_replaced", "renamed", "title_cleared"
    ) | those("manager_healed")
    assert those("never_in_scope") <= second.out_of_scope
    assert first.unresolved == those("manager_healed")


def test_second_export_stays_below_the_limits(first: State, second: State) -> None:
    """The demo's second run is not held back: removals are within the job file's limits, per cycle and per group."""
    removals, members = JOB["limits"]["removals"], JOB["limits"]["members"]
    assert len(second.disabled) <= removals["count"]
    assert len(second.disabled) <= removals["fraction"] * len(first.users)
    sizes = Counter(group for group, _ in first.edges)
    for group, removed in Counter(group for group, _ in second.edges_removed).items():
        assert removed <= members["count"]
        assert sizes[group] < members["minimum"] or removed <= members["fraction"] * sizes[group], group


def test_same_export_again_changes_nothing(second: State) -> None:
    """A cycle over an export that has been applied has nothing to do."""
    again = desired_state(FIRST / "next", second)
    assert again.users == second.users
    assert not again.created | again.updated | again.disabled | again.enabled
    assert not again.edges_added | again.edges_removed


def test_going_back_enables_the_leavers(first: State, second: State) -> None:
    """With the first export read once more the leavers come back, on the accounts they had."""
    back = desired_state(FIRST, second)
    assert back.enabled == second.disabled
    assert back.disabled == second.created
    assert not back.created
    assert {anchor: back.users[anchor] for anchor in first.users.keys() - first.unresolved} == {
        anchor: first.users[anchor] for anchor in first.users.keys() - first.unresolved
    }


def test_null_means_what_the_job_says(first: State, second: State) -> None:
    """Nothing is written for null; defaults on create; the title alone is cleared; people without a type are out."""
    by_name = {account["userName"]: anchor for anchor, account in first.users.items()}
    bare = first.users[by_name["bare.minimum@example.com"]]
    assert "name.familyName" not in bare
    assert 'emails[type eq "work"].value' not in bare
    assert MANAGER not in bare
    assert bare[ENTERPRISE + "department"] == "Unassigned"
    assert bare["displayName"] == "Bare"
    omar = by_name["omar.said@example.com"]
    assert first.users[omar][TITLE] == "Acting Lead, Logistics"
    assert TITLE not in second.users[omar]
    assert "no.type@example.com" not in by_name


def test_nobody_is_created_without_a_title(first: State, second: State) -> None:
    """A default beside clear would leave open what the next cycle wants; the demo keeps away from that."""
    assert all(TITLE in first.users[anchor] and first.users[anchor][TITLE] != "Employee" for anchor in first.created)
    assert all(TITLE in second.users[anchor] and second.users[anchor][TITLE] != "Employee" for anchor in second.created)
