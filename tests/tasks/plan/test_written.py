"""Drift is judged attribute by attribute, by what was last written under which rule."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from connectors.contract import Kind
from tasks.plan import Plan, Remembered
from tasks.plan.compare import fingerprints
from tasks.plan.written import WIDTH, among, digests_of, packed, rules_of
from tests.tasks.plan.worlds import MANAGER, World, changes, make_job

RULES = {"title": "a rule", "active": "another"}


def frame(*rows: tuple[Any, Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "title": pd.Series([row[0] for row in rows], dtype="str"),
            "active": pd.Series([row[1] for row in rows], dtype="boolean"),
        }
    )


def test_a_digest_is_of_path_rule_and_value() -> None:
    """Another of the three, another digest; null is a value too."""
    column = pd.Series(["Clerk", "Boss", None], dtype="str")
    digests = digests_of(column, "title", RULES)
    assert len(set(digests.tolist())) == 3
    assert digests_of(column.iloc[[1, 0]], "title", RULES).tolist() == digests[[1, 0]].tolist()
    assert not (digests == digests_of(column, "nickName", {"nickName": "a rule"})).any()
    assert not (digests == digests_of(column, "title", RULES | {"title": "a new rule"})).any()


def test_what_is_remembered_is_a_few_bytes_an_attribute_and_is_found_in_any_order() -> None:
    """A mapping that comes or goes changes nothing for the others."""
    rows = frame(("Clerk", True), ("Boss", False))
    last = packed(rows, RULES)
    assert [len(one) for one in last] == [2 * WIDTH, 2 * WIDTH]
    more = packed(rows.assign(nick=["x", "y"]), RULES)
    now = frame(("Clerk", False), ("Head", False))
    for known in (last, more, [last[0], more[1]]):
        assert among(digests_of(now["title"], "title", RULES), known).tolist() == [True, False]
        assert among(digests_of(now["active"], "active", RULES), known).tolist() == [False, True]
    assert among(digests_of(now["title"], "title", RULES), [b"", b""]).tolist() == [False, False]
    assert packed(rows, RULES, without={"title", "active"}) == [b"", b""]


def test_the_fingerprint_of_an_entry_lapses_with_a_rule() -> None:
    """So that everybody is compared again, attribute by attribute."""
    rows = frame(("Clerk", True))
    assert fingerprints(rows, RULES)[0] != fingerprints(rows, RULES | {"title": "a new rule"})[0]
    assert fingerprints(rows, RULES)[0] == fingerprints(rows[["active", "title"]], RULES)[0]


# --- what a plan makes of it ------------------------------------------------------------------------------------------


class Life:
    """A job that only reports drift, with people whose accounts are as it wrote them."""

    def __init__(self, users: Mapping[str, Any], people: Mapping[str, Mapping[str, Any]], **sections: Any) -> None:
        self.sections = {"drift": "report", **sections}
        self.world = World(make_job(users=users, **self.sections))
        self.written: dict[str, bytes] = {}
        self.former: dict[str, str] = {}
        for anchor, entry in people.items():
            self.world.users[anchor] = {"mail": f"{anchor}@x", **entry}
        self.carry_out()
        assert self.plan().blocks == []

    def plan(self) -> Plan:
        links = self.world.remembered().links
        former = pd.Series(self.former, dtype="str")
        return self.world.plan(remembered=Remembered(links, written=self._recall, former=former))

    def _recall(self, kind: Kind, ids: Sequence[str]) -> dict[str, bytes]:
        return {id_: self.written[id_] for id_ in ids if id_ in self.written and kind is Kind.USER}

    def carry_out(self, plan: Plan | None = None) -> list[tuple[Any, ...]]:
        """One cycle; gives what it did."""
        plan = plan or self.plan()
        self.world.apply(plan)
        links = self.world.links[Kind.USER]
        for block in plan.blocks:
            if block.kind is not Kind.USER:
                continue
            if block.desired is None:
                for anchor in block.table["anchor"]:
                    self.written.pop(links.get(anchor, {}).get("target_id"), None)
                continue
            some = packed(block.desired, block.rules, without=block.redacted | block.withheld)
            for anchor, known in zip(block.table["anchor"], some, strict=True):
                self.written[links[anchor]["target_id"]] = known
        for row in plan.entries[Kind.USER].settled.itertuples():
            if row.written is not None:
                self.written[row.target_id] = row.written
        return changes(plan)

    def account(self, anchor: str) -> dict[str, Any]:
        return self.world.accounts[Kind.USER][self.world.links[Kind.USER][anchor]["target_id"]]

    def change_rules(self, users: Mapping[str, Any]) -> None:
        self.world.job = make_job(users=users, **self.sections)


TITLE = {"title": "[title]"}
STANDING = {**TITLE, "active": "Not([IsSoftDeleted])"}


def drifted(plan: Plan) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.anchor, one.attributes) for one in plan.entries[Kind.USER].drifted]


def test_an_account_that_others_disabled_stays_so_when_its_owners_title_changes() -> None:
    """Reported and left alone means left alone: until the attribute itself is to be another one."""
    life = Life(STANDING, {"ann": {"title": "Clerk"}})
    life.account("ann")["active"] = False
    life.world.users["ann"]["title"] = "Boss"
    assert drifted(life.plan()) == [("ann", ("active",))]
    assert life.carry_out() == [("update", Kind.USER, "ann", {"title": "Boss"})]
    assert (life.account("ann")["title"], life.account("ann")["active"]) == ("Boss", False)
    assert life.carry_out() == []
    assert drifted(life.plan()) == [("ann", ("active",))]


def test_drift_that_was_left_alone_is_written_over_when_the_attribute_itself_changes() -> None:
    """The source has a new value: that is a change of ours."""
    life = Life(STANDING, {"ann": {"title": "Clerk"}})
    life.account("ann")["title"] = "Temp"
    assert life.carry_out() == []
    life.world.users["ann"]["title"] = "Boss"
    assert life.carry_out() == [("update", Kind.USER, "ann", {"title": "Boss"})]


def test_a_manager_who_leaves_scope_is_no_reason_to_write_over_drift() -> None:
    """Their reference goes; what somebody changed about the report stays."""
    life = Life({**STANDING, MANAGER: {"reference": "[manager]"}}, {"ann": {"manager": "bob", "title": "A"}, "bob": {}})
    life.account("ann")["active"] = False
    del life.world.users["bob"]
    actions = [(action, anchor) for action, _, anchor, *_ in life.carry_out()]
    assert actions == [("disable", "bob")]
    assert life.account("ann")["active"] is False


@pytest.mark.parametrize(
    ("before", "after", "row", "held", "becomes"),
    [
        ("[title]", {"expression": "[title]", "clear": True}, {}, "Left over", None),
        ({"expression": "[title]", "default": "Staff"}, {"expression": "[title]", "clear": True}, {}, "Staff", None),
        ({"expression": "[title]", "apply": "on_create"}, "[title]", {"title": "Clerk"}, "Old", "Clerk"),
        ("[title]", {"expression": "[title]", "exact_case": True}, {"title": "Clerk"}, "CLERK", "Clerk"),
    ],
    ids=["clear", "default taken away", "always", "exact case"],
)
def test_a_changed_rule_is_carried_out_also_where_the_wanted_value_is_the_same(
    before: Any, after: Any, row: dict[str, Any], held: str, becomes: str | None
) -> None:
    """With ``drift: report`` nothing happened, for ever, and the report spoke of others."""
    life = Life({"title": before}, {"ann": row})
    life.account("ann")["title"] = held
    assert life.carry_out() == []
    life.change_rules({"title": after})
    assert drifted(life.plan()) == []
    assert life.carry_out() == [("update", Kind.USER, "ann", {"title": becomes})]
    assert life.carry_out() == []


def test_what_is_known_of_other_attributes_outlasts_a_leavers_two_requests() -> None:
    """A new title and the disable go apart; what somebody changes right afterwards is theirs, and access is not."""
    life = Life({**STANDING, "nickName": "[nick]"}, {"ann": {"title": "Clerk", "nick": "Annie"}})
    life.world.disabled = {"ann"}
    life.world.users["ann"]["title"] = "Boss"
    assert [action for action, *_ in life.carry_out()] == ["update", "disable"]
    life.account("ann")["nickName"] = "Other"
    plan = life.plan()
    assert changes(plan) == []
    assert drifted(plan) == [("ann", ("nickName",))]
    life.account("ann")["active"] = True
    assert life.carry_out() == [("disable", Kind.USER, "ann", {"active": False})]
    life.world.disabled = set()
    assert life.carry_out() == [("enable", Kind.USER, "ann", {"active": True})]
    assert life.account("ann")["nickName"] == "Other"


@pytest.mark.parametrize("lost", ["update", "disable"])
def test_one_of_a_leavers_two_requests_that_was_refused_is_made_again(lost: str) -> None:
    """Whichever it is: what was not written is not taken for something that others have changed."""
    life = Life({**STANDING, "nickName": "[nick]"}, {"ann": {"title": "Clerk", "nick": "Annie"}})
    life.world.disabled = {"ann"}
    life.world.users["ann"]["title"] = "Boss"
    plan = life.plan()
    life.carry_out(replace(plan, blocks=[block for block in plan.blocks if block.action != lost]))
    assert [action for action, *_ in life.carry_out()] == [lost]
    life.world.disabled = set()
    assert life.carry_out() == [("enable", Kind.USER, "ann", {"active": True})]
    assert life.account("ann") == {"userName": "ann@x", "title": "Boss", "nickName": "Annie", "active": True}


def test_a_changed_rule_leaves_the_drift_of_other_attributes_alone() -> None:
    """Only the attribute whose rule it is lapses."""
    life = Life(STANDING, {"ann": {"title": "Clerk"}})
    life.account("ann")["active"] = False
    life.account("ann")["title"] = "Temp"
    life.change_rules({**STANDING, "title": {"expression": "[title]", "clear": True}})
    assert life.carry_out() == [("update", Kind.USER, "ann", {"title": "Clerk"})]
    assert life.account("ann")["active"] is False


def test_a_mapping_that_is_new_is_carried_out() -> None:
    """Nothing was ever written there under it."""
    life = Life(STANDING, {"ann": {"title": "Clerk", "nick": "Annie"}})
    life.account("ann")["active"] = False
    life.account("ann")["nickName"] = "Other"
    life.change_rules({**STANDING, "nickName": "[nick]"})
    assert life.carry_out() == [("update", Kind.USER, "ann", {"nickName": "Annie"})]


def test_a_reference_to_an_account_that_is_gone_heals() -> None:
    """The manager's account was deleted by others and made again: the reports get the new id, in the same cycle."""
    life = Life({**TITLE, MANAGER: {"reference": "[manager]"}}, {"ann": {"manager": "bob"}, "bob": {}})
    old = life.world.links[Kind.USER]["bob"]["target_id"]
    del life.world.accounts[Kind.USER][old]
    life.carry_out()
    life.carry_out()
    new = life.world.links[Kind.USER]["bob"]["target_id"]
    assert new != old
    assert life.account("ann")[MANAGER] == new
    assert life.carry_out() == []


def test_a_reference_to_the_account_that_somebody_had_before_heals() -> None:
    """Also where the old account is still there and belongs to nobody; to a stranger's account it is drift."""
    life = Life({**TITLE, MANAGER: {"reference": "[manager]"}}, {"ann": {"manager": "bob"}, "bob": {}})
    links, accounts = life.world.links[Kind.USER], life.world.accounts[Kind.USER]
    accounts |= {"old": {"userName": "old@x"}, "stranger": {"userName": "stranger@x"}}
    life.account("ann")[MANAGER] = "stranger"
    assert life.carry_out() == []
    assert drifted(life.plan()) == [("ann", (MANAGER,))]
    life.account("ann")[MANAGER] = "old"
    assert life.carry_out() == []
    life.former = {"old": "bob"}
    assert life.carry_out() == [("update", Kind.USER, "ann", {MANAGER: "bob"})]
    assert life.account("ann")[MANAGER] == links["bob"]["target_id"]


def test_values_that_must_not_be_shown_have_no_digest() -> None:
    """Not even a short one: it would confirm a guess."""
    life = Life({"title": {"expression": "[title]", "redact": True}, "nickName": "[nick]"}, {"ann": {"title": "x"}})
    job = life.world.job
    assert {len(known) for known in life.written.values()} == {WIDTH * (len(rules_of(job.users)) - 1)}


def test_digests_of_many_rows_are_compared_at_once() -> None:
    """A million rows are columns, here as everywhere."""
    many = pd.Series([f"v{number}" for number in range(10_000)], dtype="str")
    known = packed(pd.DataFrame({"title": many}), RULES)
    assert among(digests_of(many, "title", RULES), known).all()
    assert not among(digests_of(many.iloc[::-1], "title", RULES), known)[np.arange(10_000) != 5_000][:4_999].any()
