"""Checks on a plan."""

import pytest

from connectors.contract import Action, Kind
from connectors.errors import ErrorCode
from tasks.expectations import CheckFailedError, check_planned
from tasks.expectations.planned import COLUMNS, hold_changes, plan_frame
from tasks.job import Checked, Checks
from tests.tasks.plan.worlds import World, make_job


def world() -> World:
    """A joiner, somebody whose title changes, a leaver, and a group with a new member."""
    made = World(make_job({"title": "[jobTitle]"}, {}))
    for name in ("ann", "bob", "eve"):
        made.accounts[Kind.USER][f"t{name}"] = {"userName": f"{name}@x", "title": "Clerk", "active": True}
        made.link(name, f"t{name}")
    made.users = {
        "ann": {"mail": "ann@x", "jobTitle": "Clerk"},
        "bob": {"mail": "bob@x", "jobTitle": "Boss"},
        "new": {"mail": "<b>new</b>@x", "jobTitle": "Clerk"},
    }
    made.groups["g"] = {"name": "Staff"}
    made.accounts[Kind.GROUP]["tg"] = {"displayName": "Staff"}
    made.link("g", "tg", Kind.GROUP)
    made.members = {("g", "ann"), ("g", "new")}
    made.edges = {("tg", "tann")}
    return made


def checks(*items: object):
    return Checks.model_validate({"plan": list(items)}).of(Checked.PLAN)


def test_the_plan_is_a_frame_with_one_row_per_change():
    """Action, kind, who, why, the names of what changes, and the new values that a check asks for."""
    plan = world().plan()
    frame = plan_frame(plan, wanted={"userName", "title"})
    assert list(frame.columns) == [*COLUMNS, "title", "userName"]
    rows = {(row.action, key): row for key, row in zip(frame.index, frame.itertuples(index=False), strict=True)}
    assert set(rows) == {
        ("create", "user new"),
        ("update", "user bob"),
        ("disable", "user eve"),
        ("add members", "group g"),
    }
    assert (rows["update", "user bob"].attributes, rows["update", "user bob"].title) == ("title", "Boss")
    assert rows["create", "user new"].userName == "<b>new</b>@x"
    assert "userName" in rows["create", "user new"].attributes
    assert rows["add members", "group g"].members == 1
    assert rows["disable", "user eve"].cause == "gone from the source"


def test_an_empty_plan_has_no_rows_and_needs_no_check():
    """A cycle with nothing to do does not load Great Expectations for it."""
    made = world()
    made.apply(made.plan())
    plan = made.plan()
    assert plan.empty
    assert len(plan_frame(plan)) == 0
    assert check_planned(checks({"expect_table_row_count_to_be_between": {"min_value": 1}}), plan) == (plan, [])


def test_held_rows_are_left_out_of_the_plan_with_the_expectation_as_reason():
    """Nothing of the entry is done, the others go on, and the entry says which check holds it."""
    plan = world().plan()
    rule = {
        "expect_column_values_to_match_regex": {"column": "userName", "regex": "^[a-z@]+$"},
        "on_failure": "hold_rows",
    }
    checked, [result] = check_planned(checks(rule), plan)
    assert result.keys == ("user new",)
    assert Action.CREATE not in checked.counts()
    assert {Action.UPDATE, Action.DISABLE, Action.ADD_MEMBERS} <= set(checked.counts())
    [held] = checked.held
    assert (held.kind, held.anchor, held.code) == (Kind.USER, "new", ErrorCode.NOT_PERMITTED)
    assert "expect_column_values_to_match_regex(column=userName" in held.reason
    assert "<b>" not in held.reason


def test_a_check_stops_before_anything_is_written():
    """A rule about the plan as a whole: no disabled accounts today."""
    rule = {"expect_column_values_to_not_be_in_set": {"column": "action", "value_set": ["disable"]}}
    with pytest.raises(CheckFailedError, match=r"1 row fails.*Nothing was written"):
        check_planned(checks(rule), world().plan())


def test_every_change_of_a_held_entry_waits():
    """A group's update and its memberships wait together; a user of the same anchor does not."""
    made = world()
    made.groups["g"]["name"] = "People"
    plan = made.plan()
    held = hold_changes(plan, {"group g": "because"})
    assert {block.kind for block in held.blocks} == {Kind.USER}
    assert [(one.kind, one.anchor, one.reason) for one in held.held] == [(Kind.GROUP, "g", "because")]
    assert hold_changes(plan, {}) is plan
