"""People of several sources are one population, and a source that fails takes nothing from the others."""

from random import Random

import pytest

from connectors.contract import Action, Kind
from tasks.checks import refuse_empty
from tests.tasks.plan.worlds import changes, held, notes, settle
from tests.tasks.sources.companies import SOURCES, WAYS, Company, company

PHONE = 'phoneNumbers[type eq "work"].value'
PEOPLE = ("hr", "abroad", "contractors")
PREFIXES = {"hr": "", "abroad": "A-", "contractors": "C-"}


def accounts(made: Company) -> dict[str, dict[str, object]]:
    """Everybody's account by anchor."""
    return {key: made.accounts[Kind.USER][link["target_id"]] for key, link in made.links[Kind.USER].items()}


def test_the_same_key_in_two_systems_is_two_people() -> None:
    """HR's 0001, the subsidiary's 0001 and the contractor 0001 get an account each, with what their source gives."""
    made = settle(company(2))
    found = accounts(made)
    assert sorted(found) == ["0000", "0001", "A-0000", "A-0001", "C-0000", "C-0001"]
    assert found["C-0001"] == {
        "userName": "co1@example.com",
        "active": True,
        "title": "Contractor",
        "department": "Guests",
        PHONE: "+1 K1",
    }
    assert found["0001"]["title"] == "Clerk"
    assert found["A-0001"][PHONE] == "+1 F1"


def test_what_a_source_calls_an_attribute_itself_is_left_behind() -> None:
    """Redaction hides the name that rules read; the source's own name of it would show the same value."""
    made = company(2, user_rules={"scope": []})
    for entry in made.read["contractors"].values():
        entry["private"] = "secret"
    users = made.source(None).users
    assert sorted(users.columns) == ["dept", "mail", "number", "phone", "title"]
    assert users.loc["C-0001", "dept"] == "Guests"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PEOPLE)
def test_nobody_loses_anything_because_one_source_is_wrong(name: str, way: str) -> None:
    """Each source empty, torn, late or suddenly short in turn: none of its people is removed, and the others go on."""
    made = settle(company(22))
    before = {key: dict(account) for key, account in accounts(made).items()}
    made.broken = {name: way}
    others = [one for one in PEOPLE if one != name]
    made.read[others[0]]["0099"] = {"mail": "new@example.com", "number": None, "title": "Clerk", "dept": "Sales"}
    made.read[others[0]]["0001"]["title"] = "Boss"
    made.read[others[1]]["0002"]["mail"] = "renamed@example.com"
    del made.read[others[1]]["0003"]
    checked = made.judged()
    made.apply(checked.plan, checked.blocks)
    after = accounts(made)
    left = f"{PREFIXES[others[1]]}0003"
    assert after[left] == before[left] | {"active": False}
    for key, account in before.items():
        if key.startswith(PREFIXES[name] or "0"):
            assert after[key] == account, key
    assert f"{PREFIXES[others[0]]}0099" in after
    if others[0] != "contractors":
        assert after[f"{PREFIXES[others[0]]}0001"]["title"] == "Boss"
    assert after[f"{PREFIXES[others[1]]}0002"]["userName"] == "renamed@example.com"


@pytest.mark.parametrize("way", ["empty", "torn", "late"])
def test_what_an_incomplete_source_holds_names_it(way: str) -> None:
    """The guard says which source it is, and holds as many removals as that source would cause."""
    made = settle(company(6))
    made.broken = {"contractors": way}
    (verdict,) = made.judged().verdicts
    assert verdict.subject == "contractors"
    assert verdict.held == (6 if way != "torn" else 3)
    assert "the source contractors is not complete" in verdict.sentence


def test_a_source_that_shrank_is_judged_by_its_own_people() -> None:
    """Seven of thirty contractors are few of all the company has, and too many of the contractors."""
    made = settle(company(30, limits={"removals": {"count": 1000, "fraction": 1.0}}))
    for key in list(made.read["contractors"])[:7]:
        del made.read["contractors"][key]
    (verdict,) = made.judged().verdicts
    assert (verdict.guard.value, verdict.subject, verdict.counted, verdict.population) == (
        "source",
        "contractors",
        7,
        30,
    )


def test_groups_of_an_incomplete_source_keep_their_members_and_others_do_not() -> None:
    """A membership is what the group's own source says, also of a member from another source."""
    made = company(4, groups={"externalId": "[id]"}, limits={"members": {"count": 100, "fraction": 1.0}})
    made.group_rows = {"hr": {"g1": {"name": "Sales"}}, "abroad": {"g1": {"name": "Sales abroad"}}}
    made.edge_rows = {
        "hr": {("g1", "0001"), ("g1", "C-0001"), ("g1", "0002")},
        "abroad": {("g1", "0001"), ("g1", "0002")},
    }
    made = settle(made)
    ids = {key: link["target_id"] for key, link in made.links[Kind.USER].items()}
    groups = {key: link["target_id"] for key, link in made.links[Kind.GROUP].items()}
    assert made.edges == {
        *((groups["g1"], ids[key]) for key in ("0001", "C-0001", "0002")),
        *((groups["A-g1"], ids[key]) for key in ("A-0001", "A-0002")),
    }
    made.broken = {"abroad": "late"}
    made.edge_rows["hr"].remove(("g1", "0002"))
    checked = made.judged()
    made.apply(checked.plan, checked.blocks)
    assert (groups["g1"], ids["0002"]) not in made.edges
    assert {(groups["A-g1"], ids["A-0001"]), (groups["A-g1"], ids["A-0002"])} <= made.edges


def test_a_reference_is_a_key_of_its_own_source_or_one_of_another() -> None:
    """A contractor's sponsor may be an employee; where the contractors' list has the key itself, that is meant."""
    manager = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager"
    made = company(3)
    made.job = made.job.model_copy(
        update={
            "users": made.job.users.model_copy(
                update={
                    "attributes": made.job.users.attributes
                    | {
                        manager: made.job.users.attributes["title"].model_copy(
                            update={"expression": None, "reference": "[boss]", "clear": False}
                        )
                    }
                }
            )
        }
    )
    made.read["contractors"]["0001"]["boss"] = "0002"
    made.read["contractors"]["0002"]["boss"] = "7777"
    made.read["hr"]["7777"] = {"mail": "boss@example.com", "number": "N7777", "title": "Boss", "dept": "Board"}
    made = settle(made)
    found = accounts(made)
    ids = {key: link["target_id"] for key, link in made.links[Kind.USER].items()}
    assert found["C-0001"][manager] == ids["C-0002"]
    assert found["C-0002"][manager] == ids["7777"]


@pytest.mark.parametrize("way", ["empty", "torn", "late", "unreadable"])
def test_an_incomplete_second_source_leaves_its_attributes_as_they_were(way: str) -> None:
    """No phone is cleared or changed; everything else goes on, and who joins gets the phone later."""
    made = settle(company(6))
    before = {key: account[PHONE] for key, account in accounts(made).items()}
    made.broken = {"ad": way}
    made.read["hr"]["0001"]["title"] = "Boss"
    made.read["hr"]["0050"] = {"mail": "new@example.com", "number": "N50", "title": "Clerk", "dept": "Sales"}
    del made.read["abroad"]["0002"]
    source = made.source(None)
    assert source.unsure
    assert source.parts
    assert not source.incomplete
    made.apply(made.plan())
    after = accounts(made)
    assert {key: account[PHONE] for key, account in after.items() if key in before} == before
    assert after["0001"]["title"] == "Boss"
    assert after["A-0002"]["active"] is False
    assert PHONE not in after["0050"]
    made.broken = {}
    made.read["ad"]["guid50"] = {"employeeNumber": "N50", "telephoneNumber": "+1 50"}
    made.apply(made.plan())
    assert accounts(made)["0050"][PHONE] == "+1 50"


def test_a_complete_second_source_clears_what_it_has_no_more() -> None:
    """Absence from a complete source is a fact: the phone is cleared where the job says so."""
    made = settle(company(3))
    del made.read["ad"]["guidN1"]
    made.apply(made.plan())
    assert PHONE not in accounts(made)["0001"]


def test_two_entries_of_a_person_that_disagree_leave_the_attribute_and_say_so() -> None:
    made = settle(company(3))
    made.read["ad"]["twin"] = {"employeeNumber": "N1", "telephoneNumber": "+1 other"}
    made.read["ad"]["equal"] = {"employeeNumber": "N2", "telephoneNumber": "+1 N2"}
    made.read["hr"]["0001"]["title"] = "Boss"
    plan = made.plan()
    assert changes(plan) == [("update", "user", "0001", {"title": "Boss"})]
    assert notes(plan) == {
        "0001": "ad has 2 entries for this person that do not agree about phone; it stays as it was."
    }


def test_one_entry_of_a_second_source_for_two_people_is_nobody_s() -> None:
    """Two people with one employee number: neither gets the other's phone."""
    made = settle(company(3))
    made.read["abroad"]["0001"]["number"] = "N1"
    plan = made.plan()
    assert changes(plan) == []
    assert set(notes(plan)) == {"0001", "A-0001"}


def test_who_is_matched_by_an_unknown_value_waits() -> None:
    """The mail comes from the directory, which is late: a joiner would get a second account, so none is made."""
    directory = {
        "name": "ad",
        "connector": "csv",
        "users": {"path": "ad.csv", "key": "id"},
        "join": {"people": "[number]", "own": "[employeeNumber]"},
        "gives": {"mail": "[mail]", "phone": "[telephoneNumber]"},
    }
    made = company(3, enrich=[directory], precedence={"mail": ["ad", "hr", "abroad", "contractors"]})
    for row in made.read["ad"].values():
        row["mail"] = f"{row['employeeNumber']}@corp.example.com"
    made = settle(made)
    assert accounts(made)["0001"]["userName"] == "N1@corp.example.com"
    made.broken = {"ad": "late"}
    made.read["hr"]["0050"] = {"mail": "new@example.com", "number": "N50", "title": "Clerk", "dept": "Sales"}
    made.read["hr"]["0051"] = {"mail": "nobody@example.com", "number": None, "title": "Clerk", "dept": "Sales"}
    plan = made.plan()
    assert list(held(plan)) == ["0050"]
    assert [anchor for _, _, anchor, _ in changes(plan)] == ["0051"]
    made.broken = {}
    made.read["ad"]["guid50"] = {"employeeNumber": "N50", "mail": "N50@corp.example.com", "telephoneNumber": None}
    made.apply(made.plan())
    assert accounts(made)["0050"]["userName"] == "N50@corp.example.com"


def test_whether_somebody_is_in_scope_waits_for_what_cannot_be_told() -> None:
    """A filter on an attribute of the directory, which is late: accounts stay; but whoever HR has disabled ends."""
    scope = [[{"attribute": "phone", "operator": "IS NOT NULL"}]]
    made = settle(company(3, user_rules={"scope": scope}))
    made.broken = {"ad": "late"}
    made.gone = {"hr": {"0001"}}
    made.read["hr"]["0050"] = {"mail": "new@example.com", "number": "N50", "title": "Clerk", "dept": "Sales"}
    plan = made.plan()
    assert [change[:3] for change in changes(plan)] == [("disable", "user", "0001")]
    assert len(held(plan)) == 9
    assert "phone, which cannot be told now" in held(plan)["0050"]
    source = made.source(None)
    assert not len(source.users)
    refuse_empty(source, made.job)


def test_a_last_hour_in_a_zone_that_cannot_be_told_waits_until_it_has_passed_everywhere() -> None:
    """The list of places is late: no clock is taken for another one. A place that is known to have none uses UTC."""
    made = settle(company(3))
    made.job = company(
        1,
        joiners={"date": "[starts]", "timezone": "[phone]"},
        leavers={"date": "[ends]", "at": "10:00", "timezone": "[phone]"},
    ).job
    for row in made.read["ad"].values():
        row["telephoneNumber"] = None
    made.read["hr"]["0001"]["ends"] = "2026-03-14"
    made.read["hr"]["0002"]["ends"] = "2026-03-15"
    made.read["hr"]["0000"] |= {"ends": "2026-03-10", "starts": "2026-03-16"}  # has come back, where days begin first
    made.broken = {"ad": "late"}
    plan = made.plan()
    assert [change[:3] for change in changes(plan)] == [("disable", "user", "0001")]
    assert "phone, which cannot be told now" in held(plan)["0002"]
    assert made.source(None).left.to_dict() == {
        "0001": "left on 14 March 2026, 10:00 (Etc/GMT+12) at the latest; the time zone cannot be told now"
    }
    made.broken = {}
    ended = [change[2] for change in changes(made.plan(), Action.DISABLE)]
    assert ended == ["0000", "0001", "0002"]


def test_a_value_that_cannot_be_worked_out_leaves_the_attribute_and_says_so() -> None:
    """What a source gives by an expression that fails for one person is not null, and stops nobody's end."""
    gives = {"title": '"Contractor"', "dept": "CDate([since])"}
    mine = [*SOURCES[:2], {**SOURCES[2], "gives": gives}]
    made = company(3, sources=mine)
    for row in made.read["contractors"].values():
        row["since"] = "2026-01-01"
    made = settle(made)
    before = accounts(made)["C-0001"]["department"]
    made.read["contractors"]["0001"]["since"] = "last spring"
    made.read["contractors"]["0002"]["since"] = "nobody knows"
    made.gone = {"contractors": {"0002"}}
    plan = made.plan()
    assert [change[:3] for change in changes(plan)] == [("disable", "user", "C-0002")]
    assert "contractors provides no dept" in notes(plan)["C-0001"]
    made.apply(plan)
    assert accounts(made)["C-0001"]["department"] == before


def test_keys_that_look_like_those_of_another_source_prove_nothing() -> None:
    """An employee number C-0001 beside contractors with the prefix C-: nobody can tell whose it is."""
    made = settle(company(3))
    made.read["hr"]["C-0001"] = {"mail": "odd@example.com", "number": "X", "title": "Clerk", "dept": "Sales"}
    del made.read["contractors"]["0001"]
    checked = made.judged()
    assert [change[2] for change in changes(checked.plan, Action.DISABLE)] == ["C-0001"]
    assert checked.blocks == []
    assert "begin with the prefix of contractors" in " ".join(one.reason for one in checked.plan.held)


def test_a_joiner_who_matches_the_account_of_somebody_unseen_waits() -> None:
    """The contractors' list is late: a new employee with a contractor's mail does not take the account over."""
    made = settle(company(3))
    made.broken = {"contractors": "late"}
    made.read["hr"]["0050"] = {"mail": "co1@example.com", "number": "N50", "title": "Clerk", "dept": "Sales"}
    plan = made.plan()
    assert "which its source does not show completely now" in held(plan)["0050"]
    assert made.judged().blocks == []


def test_the_order_in_which_sources_are_read_means_nothing() -> None:
    """Shuffled rows give the same plan, change by change."""
    made = settle(company(5))
    made.read["hr"]["0001"]["title"] = "Boss"
    del made.read["abroad"]["0001"]
    made.read["contractors"]["0077"] = {"mail": "c77@example.com", "number": "K77", "unit": "Guests"}
    plans = [changes(made.plan(random=Random(seed))) for seed in range(4)]
    assert plans[0]
    assert all(one == plans[0] for one in plans)
