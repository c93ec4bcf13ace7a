"""The life of a job in random order, dying included, against a model in plain dictionaries.

The short form runs the same cases every time; the long form, with ``PROVISOR_LONG=1``, new and longer ones.
``python -m tests.benchmarks.model --minutes N`` looks for as long as it is told, and prints what it has run.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.driver import Moment
from tests.model.machine import Lifecycle
from tests.servers.apps import APPS

LONG = bool(os.environ.get("PROVISOR_LONG"))
CASES = settings(
    max_examples=200 if LONG else 4,
    stateful_step_count=40 if LONG else 14,
    derandomize=not LONG,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("app", APPS)
def test_every_life_ends_as_the_model_says(app: str) -> None:
    """Promises 1 to 5, 10, 11 and 12 in one: whatever happens to the source, the target and the job, and wherever runs
    die, nobody is doubled, lost or touched without right, and one cycle that is let finish puts everything right.
    """
    cases = CASES if app == "scim" or LONG else settings(CASES, max_examples=2)
    run_state_machine_as_test(machine_of(app), settings=cases)


def machine_of(app: str) -> type[Lifecycle]:
    """The machine with this app as the target."""
    return type(f"LifecycleOf{app.title()}", (Lifecycle,), {"app": app})


def live(life: Callable[[Lifecycle], None], app: str = "scim") -> None:
    """One life that is told, on the same machine: two people, one of them in a group."""
    machine = machine_of(app)()
    try:
        machine.first_day(people=2, groups=1, number=0)
        life(machine)
        machine.everything_is_settled()
    finally:
        machine.sound = False  # what it had to say, it has said
        machine.teardown()


def a_member_leaves(life: Lifecycle) -> None:
    life.everything_is_settled()
    life.the_source_changes("leaves_the_export", 0, 0)


def a_member_leaves_the_scope(life: Lifecycle) -> None:
    """The source's group still has the person."""
    life.everything_is_settled()
    life.the_source_changes("leaves_scope", 0, 0)


def a_grace_period_passes(life: Lifecycle) -> None:
    life.the_job_is_edited(("delete_after", timedelta(days=1)))
    life.everything_is_settled()
    life.the_source_changes("leaves_the_export", 0, 0)
    life.everything_is_settled()
    life.time_passes(7)
    life.everything_is_settled()
    life.time_passes(25)


def somebody_has_a_new_anchor(life: Lifecycle) -> None:
    life.everything_is_settled()
    life.the_source_changes("returns_as_somebody_else", 0, 0)


def an_account_is_made_again(life: Lifecycle) -> None:
    life.everything_is_settled()
    life.others_work_in_the_target("deletes_an_account", 0, 0)
    life.others_work_in_the_target("deletes_a_team", 0, 0)


def others_change_what_is_ours(life: Lifecycle) -> None:
    life.everything_is_settled()
    for other in range(4):
        life.others_work_in_the_target("changes_an_account", 0, other)
    life.others_work_in_the_target("changes_members", 0, 0)
    life.others_work_in_the_target("makes_an_account", 0, 0)


TOLD = (
    a_member_leaves,
    a_member_leaves_the_scope,
    a_grace_period_passes,
    somebody_has_a_new_anchor,
    an_account_is_made_again,
    others_change_what_is_ours,
)
DEATHS = (Moment.AFTER_CHANGE, Moment.BEFORE_RECORD, Moment.IN_TRANSACTION)


def on_apps(cases: Sequence[Any]) -> Iterator[tuple[Any, str]]:
    """Each case on each app; in the short form on SCIM, and on one of the others in turn."""
    others = [app for app in APPS if app != "scim"]
    for number, case in enumerate(cases):
        for app in APPS if LONG else ("scim", others[number % len(others)]):
            yield case, app


@pytest.mark.parametrize(("life", "app"), list(on_apps(TOLD)))
def test_lives_that_random_ones_come_to_seldom(life: Callable[[Lifecycle], None], app: str) -> None:
    """What everybody's life holds sooner or later ends as the model says."""
    live(life, app)


@pytest.mark.parametrize(("moment", "app"), list(on_apps(DEATHS)))
def test_a_run_that_died_while_it_made_accounts_is_caught_up_with(moment: Moment, app: str) -> None:
    """Accounts that nobody saw being made are found by their names, and belong to those they were made for."""
    live(lambda life: life.a_cycle_dies([], "auto", (moment, 0)), app)


@pytest.mark.parametrize("event", ["is_renamed", "leaves_the_export", "leaves_scope"])
def test_an_account_that_nobody_saw_being_made_is_not_lost(event: str) -> None:
    """Its owner is renamed, or leaves, before the next run: it belongs to the owner, and is switched off with it."""

    def life(machine: Lifecycle) -> None:
        machine.a_cycle_dies([], "auto", (Moment.AFTER_CHANGE, 0))
        machine.the_source_changes(event, 0, 0)

    live(life)
