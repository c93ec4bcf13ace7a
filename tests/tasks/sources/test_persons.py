"""A person who is in several sources counts once, and keeps one account whatever becomes of the single entries."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import Action, Kind
from tasks.checks import refuse_empty
from tasks.sources.enriching import Offer, settled
from tests.tasks.plan.worlds import changes, held, settle
from tests.tasks.sources.companies import Company, company

SAME = {"same_person": "ToLower([mail])"}
DATES = {
    "joiners": {"date": "[starts]"},
    "leavers": {"date": "[ends]"},
}


def with_ann(**sections: object) -> Company:
    """Ann is a contractor; HR does not have her yet."""
    made = company(3, **SAME, **sections)
    made.read["contractors"]["0001"] |= {"mail": "ann@example.com", "starts": None, "ends": None}
    made.read["hr"]["0000"] |= {"starts": None, "ends": None}
    return settle(made)


def hired(made: Company, **row: str | None) -> None:
    """HR has her now, as 0050."""
    made.read["hr"]["0050"] = {"mail": "Ann@example.com", "number": "N50", "title": "Engineer", "dept": "Lab", **row}
    made.read["ad"]["guidK1"]["employeeNumber"] = "N50"


def account_of(made: Company, key: str) -> dict[str, object]:
    return made.accounts[Kind.USER][made.links[Kind.USER][key]["target_id"]]


def test_a_contractor_who_becomes_an_employee_keeps_the_account() -> None:
    """While she is in both, the employee counts; when the contract ends, nothing happens; one account all the time."""
    made = with_ann()
    account = made.links[Kind.USER]["C-0001"]["target_id"]
    hired(made)
    made.apply(made.plan())
    assert "C-0001" not in made.links[Kind.USER]
    assert made.links[Kind.USER]["0050"]["target_id"] == account
    assert account_of(made, "0050")["title"] == "Engineer"
    assert made.plan().empty
    del made.read["contractors"]["0001"]
    assert made.plan().empty
    del made.read["hr"]["0050"]
    assert [change[:3] for change in changes(made.plan())] == [("disable", "user", "0050")]


def test_an_employee_who_goes_on_as_a_contractor_keeps_the_account() -> None:
    """HR says that she has left, the contractors' list has her: the contractor counts, and nobody is switched off."""
    made = with_ann()
    hired(made)
    settle(made)
    made.gone = {"hr": {"0050"}}
    plan = made.plan()
    assert changes(plan, Action.DISABLE, Action.CREATE) == []
    made.apply(plan)
    assert account_of(made, "C-0001")["title"] == "Contractor"
    made.gone["contractors"] = {"0001"}
    assert [change[:2] for change in changes(made.plan(), Action.DISABLE)] == [("disable", "user")]


def test_who_is_not_employed_yet_is_still_the_contractor() -> None:
    """The first day has not come: until then the contract counts, and nothing is switched off in between."""
    made = with_ann(**DATES)
    hired(made, starts="2026-04-01", ends=None)
    plan = made.plan()
    assert plan.empty, changes(plan)
    made.now = made.now.replace(month=4, day=2)
    made.apply(made.plan())
    assert account_of(made, "0050")["active"] is True
    assert list(made.links[Kind.USER]).count("C-0001") == 0


@pytest.mark.parametrize("way", ["late", "torn"])
@pytest.mark.parametrize("name", ["hr", "contractors"])
def test_nothing_happens_to_her_while_one_of_her_sources_is_wrong(name: str, way: str) -> None:
    """Neither is she taken for somebody else, nor are values of the other source written over hers."""
    made = with_ann()
    hired(made)
    settle(made)
    before = dict(account_of(made, "0050"))
    made.broken = {name: way}
    checked = made.judged()
    made.apply(checked.plan, checked.blocks)
    assert account_of(made, "0050") == before
    assert made.created == len(made.accounts[Kind.USER])
    made.broken = {}
    assert made.plan().empty


def test_two_entries_of_one_source_for_one_person_are_nobody_s_guess() -> None:
    """Nobody is merged, created or removed, and both entries say why."""
    made = with_ann()
    hired(made)
    made.read["hr"]["0051"] = dict(made.read["hr"]["0050"])
    plan = made.plan()
    assert changes(plan) == []
    assert {"0050", "0051", "C-0001"} == set(held(plan))
    assert "one source has several of these" in held(plan)["C-0001"]


def test_a_person_who_has_two_accounts_already_keeps_both_and_is_named() -> None:
    """Turning the rule on takes nothing away; when she leaves, both end."""
    made = settle(company(3))
    made.read["contractors"]["0001"]["mail"] = "ann@example.com"
    made.read["contractors"]["0001"]["private"] = "x"
    hired(made)
    made.read["hr"]["0050"]["mail"] = "ann.b@example.com"
    made = settle(made)
    assert len(made.accounts[Kind.USER]) == 10
    made.job = company(1, same_person='Switch([number], [mail], "N50", "ann", "K1", "ann")').job
    plan = made.plan()
    assert changes(plan) == []
    assert "both have an account" in held(plan)["C-0001"]
    made.gone = {"hr": {"0050"}, "contractors": {"0001"}}
    assert [change[:3] for change in changes(made.plan(), Action.DISABLE)] == [
        ("disable", "user", "0050"),
        ("disable", "user", "C-0001"),
    ]


def test_precedence_is_by_attribute() -> None:
    """HR says the title, the contractors' list the department, although HR has one."""
    made = with_ann(precedence={"dept": ["contractors", "hr", "abroad"]})
    hired(made)
    made.apply(made.plan())
    assert account_of(made, "0050")["department"] == "Guests"
    assert account_of(made, "0050")["title"] == "Engineer"
    made.broken = {"contractors": "late"}
    assert made.judged().blocks == []


def test_a_membership_in_a_group_is_the_person_s() -> None:
    """A group of HR lists the contractor's key: she stays a member when she is an employee."""
    made = company(3, **SAME, groups={"externalId": "[id]"})
    made.read["contractors"]["0001"]["mail"] = "ann@example.com"
    made.group_rows = {"hr": {"g1": {"name": "Guests"}}}
    made.edge_rows = {"hr": {("g1", "C-0001"), ("g1", "0001")}}
    made = settle(made)
    edges = set(made.edges)
    hired(made)
    made.apply(made.plan())
    assert made.edges == edges
    assert made.plan().empty


def with_last_days(made: Company) -> Company:
    """The directory gives last days, which are far away, as phones."""
    made.job = company(1, **SAME, leavers={"date": "[phone]"}, limits={"removals": {"count": 9}}).job
    for row in made.read["ad"].values():
        row["telephoneNumber"] = "2030-01-01"
    return settle(made)


def test_who_has_left_ends_although_no_date_can_be_told() -> None:
    """The list with the last days is late: a leaver ends, the others stay as they are, and the run goes on."""
    made = with_last_days(company(3))
    made.broken, made.gone = {"ad": "late"}, {"hr": {"0001"}}
    plan = made.plan()
    assert [change[:3] for change in changes(plan)] == [("disable", "user", "0001")]
    assert "phone, which cannot be told now" in held(plan)["0002"]
    refuse_empty(made.source(None), made.job)


def test_who_may_still_be_a_contractor_waits_until_her_dates_can_be_told() -> None:
    """HR says that she has left; whether her contract goes on cannot be told: the account stays as it is."""
    made = with_ann()
    hired(made)
    made = with_last_days(made)
    assert "0050" in made.links[Kind.USER]
    made.broken, made.gone = {"ad": "late"}, {"hr": {"0050"}}
    plan = made.plan()
    assert changes(plan) == []
    assert "depends on C-0001" in held(plan)["0050"]
    made.gone["contractors"] = {"0001"}
    assert [change[:3] for change in changes(made.plan())] == [("disable", "user", "0050")]


VALUES = st.one_of(st.none(), st.sampled_from(["a", "b", "c"]))
OFFERS = st.lists(st.lists(st.tuples(VALUES, st.booleans()), min_size=4, max_size=4), min_size=0, max_size=5)


@given(OFFERS)
def test_the_first_source_that_has_a_value_counts(offers: list[list[tuple[str | None, bool]]]) -> None:
    """For any sources and rows: the first value in the order, unless one before it cannot be told; then nothing."""
    made = [
        Offer(
            pd.Series([None if unknown else value for value, unknown in rows], dtype="str"),
            np.array([unknown for _, unknown in rows], dtype=bool),
        )
        for rows in offers
    ]
    values, unclear = settled(made, pd.RangeIndex(4))
    for row in range(4):
        expected, doubt = None, False
        for rows in offers:
            value, unknown = rows[row]
            if unknown:
                doubt = True
                break
            if value is not None:
                expected = value
                break
        assert bool(unclear[row]) is doubt
        assert (None if pd.isna(values.iloc[row]) else values.iloc[row]) == expected
