"""Approving with open eyes: who would lose what, exactly what was shown, by whom, and why."""

import re
from dataclasses import replace

import pytest

from connectors.contract import Action, Kind
from flows.cycle.systems import now
from tasks.ledger import Guarded, Known, LogAction, StagedState
from tests.flows.web.company import GUARD
from tests.flows.web.conftest import Served, Visitor

PAGE = "/approvals/hr-to-scim"


def hidden(page: str, name: str) -> str:
    """A hidden field of a page."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, name
    return found[1]


def fields(client: Visitor, **more: str | list[str]) -> dict[str, str | list[str]]:
    """What the form of the question sends."""
    page = client.get(PAGE).text
    shown = {name: hidden(page, name) for name in ("item", "digest", "looked")}
    return {**shown, "about": "all", "decision": "approve", "reason": "ticket HR-2291", "until": "", "q": "", **more}


def confirmed(client: Visitor, **more: str | list[str]) -> dict[str, str | list[str]]:
    """What the form of the page that asks once more sends."""
    sent = fields(client, **more)
    page = client.post(PAGE, **sent).text
    return {**sent, "shown": hidden(page, "shown")}


def test_the_question_names_everybody(served: Served) -> None:
    """Who, from where, why, what they have in common, and what to look at twice."""
    page = served.client("maria").get(PAGE).text
    for text in (
        "Disable 4 of 8 users of hr-to-scim",
        "Östen Öberg",
        "Dagmar Holm",
        GUARD,
        "lose access",
        "Legal",
        "Cycle 2 held 4 accounts.",
    ):
        assert text in page
    assert "Your decision" in page
    reading = served.client("vera").get(PAGE).text
    assert "Somebody else decides" in reading
    assert 'name="decision"' not in reading


def test_nothing_is_decided_before_it_is_confirmed(changing: Served) -> None:
    """The sentence says what will happen; then the decision is written down with who and why."""
    client = changing.client("maria")
    asked = client.post(PAGE, **fields(client, about="only", anchor=["000001", "000002"]))
    assert asked.status_code == 200
    assert "You approve: disable 2 users in hr-to-scim:" in asked.text
    assert {one.state for one in changing.ledger.staged("hr-to-scim")} == {StagedState.STAGED}
    unasked = client.post(f"{PAGE}/decision", **fields(client, about="only", anchor=["000001", "000002"]))
    assert unasked.status_code == 409
    assert {one.state for one in changing.ledger.staged("hr-to-scim")} == {StagedState.STAGED}
    done = client.post(f"{PAGE}/decision", **confirmed(client, about="only", anchor=["000001", "000002"]))
    assert done.status_code == 303
    states = {one.anchor: one for one in changing.ledger.staged("hr-to-scim")}
    assert [states[anchor].state for anchor in sorted(states)] == [StagedState.APPROVED] * 2 + [StagedState.STAGED] * 2
    assert "maria" in (states["000001"].who or "")
    assert states["000001"].why == "ticket HR-2291"
    lines = [line for chunk in changing.ledger.log_chunks("hr-to-scim", action=LogAction.APPROVE) for line in chunk]
    assert {line.anchor for line in lines} == {"000001", "000002"}
    assert "Approved: 2 entries of hr-to-scim" in client.get(done.headers["Location"]).text


def test_all_but_some_are_rejected_until_a_day(changing: Served) -> None:
    """The rule is what is sent, and not thousands of keys."""
    client = changing.client("maria")
    sent = confirmed(client, about="except", anchor=["000003"], decision="reject", until="2099-12-31")
    assert client.post(f"{PAGE}/decision", **sent, number="3").status_code == 303
    staged = {one.anchor: one for one in changing.ledger.staged("hr-to-scim")}
    assert [one.state for one in staged.values()].count(StagedState.REJECTED) == 3
    assert staged["000003"].state is StagedState.STAGED
    until = staged["000001"].until
    assert until is not None
    assert until.year == 2100


@pytest.mark.parametrize(
    ("about", "ticked"), [("except", ["0000\ufffd03"]), ("except", []), ("only", ["000001", "0000\ufffd03"])]
)
def test_a_tick_that_means_nobody_decides_nothing(changing: Served, about: str, ticked: list[str]) -> None:
    """A key that a page cannot show as it is comes back as another one: people who were left out would be approved."""
    client = changing.client("maria")
    answer = client.post(f"{PAGE}/decision", **fields(client, about=about, anchor=ticked), number="4")
    assert answer.status_code == 422
    assert {one.state for one in changing.ledger.staged("hr-to-scim")} == {StagedState.STAGED}


def test_a_person_who_matches_a_search_is_decided_about(changing: Served) -> None:
    """By name, login, key or department."""
    client = changing.client("maria")
    assert client.post(f"{PAGE}/decision", **confirmed(client, about="found", q="legal")).status_code == 303
    decided = {one.anchor for one in changing.ledger.staged("hr-to-scim") if one.state is StagedState.APPROVED}
    assert decided == {"000002", "000003"}


def test_any_change_of_what_is_asked_breaks_the_seal(changing: Served) -> None:
    """Another account behind the same key, another cause, other members or values: each is another question."""
    ledger = changing.ledger
    one = ledger.staged("hr-to-scim")[0]
    question = Guarded("hr-to-scim", one.kind, one.action, one.guard)
    before = ledger.lookup.seal(question, now())
    seals = {before}
    for change in (
        {"target_id": "id-of-another-account"},
        {"cause": "out of scope"},
        {"members": ("1", "2")},
        {"members": ("12",)},
        {"attributes": ("title",)},
        {"attributes": ("title",), "digests": (("title", "a"),)},
        {"attributes": ("title",), "digests": (("title", "b"),)},
    ):
        ledger.put_staged("hr-to-scim", [replace(one, **change)])
        seals.add(ledger.lookup.seal(question, now()))
    assert len(seals) == 8
    ledger.put_staged("hr-to-scim", [one])
    assert ledger.lookup.seal(question, now()) == before


def test_a_list_is_turned_page_by_page(changing: Served) -> None:
    """Everybody once, with and without a search, though the page shows fifty; counts are of all."""
    ledger = changing.ledger
    one = ledger.staged("hr-to-scim")[0]
    more = [replace(one, anchor=f"1{number:05}", label=f"many.{number}@example.com") for number in range(120)]
    ledger.put_staged("hr-to-scim", more)
    client, seen = changing.client("vera"), {"": [], "many": []}
    for text, found in seen.items():
        after = ""
        for first in (1, 51, 101):
            page = client.get(f"{PAGE}?q={text}&after={after}").text
            shown = re.findall(r'href="/people/hr-to-scim/([^"]+)"', page.partition('id="them"')[2])
            found += shown
            assert f"{first} to {first + len(shown) - 1} of {'124' if not text else '120'}" in page
            after = shown[-1]
    assert len(seen[""]) == len(set(seen[""])) == 124
    assert seen["many"] == [one.anchor for one in more]


def test_what_has_changed_since_is_not_decided(changing: Served) -> None:
    """The form carries a print of exactly what was shown."""
    client = changing.client("maria")
    sent = confirmed(client)
    first = changing.ledger.staged("hr-to-scim")[0]
    changing.ledger.drop_staged("hr-to-scim", [first])
    refused = client.post(f"{PAGE}/decision", **sent, number="4")
    assert refused.status_code == 409
    assert "has changed since you looked" in refused.text
    assert {one.state for one in changing.ledger.staged("hr-to-scim")} == {StagedState.STAGED}


def test_a_decision_says_whom_what_and_why(changing: Served) -> None:
    """No default for what, no decision about nobody, none without a reason, none about a day that is none."""
    client = changing.client("maria")
    for wrong, said in (
        ({"decision": ""}, "approve or reject"),
        ({"reason": " "}, "Give a reason"),
        ({"about": "only", "anchor": []}, "Nobody is selected"),
        ({"about": "nobody"}, "about whom"),
        ({"about": "found", "q": ""}, "Nothing is searched for"),
        ({"about": "all", "anchor": ["000001"]}, "You ticked 1 of them, and chose all."),
        ({"about": "found", "q": "legal", "anchor": ["000002"]}, "You ticked 1 of them, and chose people who match"),
        ({"decision": "reject", "until": "tomorrow"}, "is no date"),
        ({"decision": "reject", "until": "20991231"}, "20991231 is no date like 2026-01-31"),
        ({"decision": "reject", "until": "9999-12-31"}, "at the latest, a hundred years from now"),
        ({"decision": "reject", "until": "2001-01-01"}, "not in the future"),
    ):
        refused = client.post(f"{PAGE}/decision", **{**fields(client), **wrong}, number="4")
        assert refused.status_code == 422, wrong
        assert said in refused.text, wrong
        assert ("ticket HR-2291</textarea>" in refused.text) == ("reason" not in wrong)  # what was typed stays
    assert {one.state for one in changing.ledger.staged("hr-to-scim")} == {StagedState.STAGED}


def test_half_of_everybody_has_to_be_typed(changing: Served) -> None:
    """Four of eight accounts: the number says that they are all meant."""
    client = changing.client("maria")
    sent = confirmed(client)
    asked = client.post(PAGE, **sent).text
    assert "Type the number of users, 4" in asked
    assert "Type the number 4" in client.post(f"{PAGE}/decision", **sent, number="3").text
    assert {one.state for one in changing.ledger.staged("hr-to-scim")} == {StagedState.STAGED}
    assert client.post(f"{PAGE}/decision", **sent, number="4").status_code == 303


def test_ticks_survive_a_search(served: Served) -> None:
    """What was ticked on another page of the list is still ticked."""
    client = served.client("maria")
    page = client.post(PAGE, **fields(client, anchor=["000001"], q="öberg", turn="search")).text
    assert "1 of 4 match" in page
    assert "1 ticked" in page
    assert '<input type="hidden" name="anchor" value="000001">' in page
    assert "Östen Öberg" in page
    assert "Nothing waits for you" not in page
    place = client.post(PAGE, **fields(client, anchor=["000001"], find="Marketing")).text
    assert "1 of 4 match “<bdi>Marketing</bdi>”" in place
    assert "1 ticked" in place
    assert page.count("formnovalidate") == len(re.findall('<button[^>]*name="(?:turn|find)"', page)) > 2


def test_half_of_all_members_have_to_be_typed(changing: Served) -> None:
    """One group is one entry; the people in it are those who lose something."""
    ledger = changing.ledger
    first, *others = ledger.staged("hr-to-scim")
    ledger.drop_staged("hr-to-scim", others)
    ledger.drop_staged("hr-to-scim", [first])
    about = {"kind": Kind.GROUP, "action": Action.REMOVE_MEMBERS, "anchor": "staff", "target_id": "g"}
    ledger.put_staged("hr-to-scim", [replace(first, **about, members=("1", "2", "3"))])
    client = changing.client("maria")
    sent = confirmed(client)
    assert "Type the number of members, 3" in client.post(PAGE, **sent).text
    for wrong in ("", "1"):
        assert "Type the number 3" in client.post(f"{PAGE}/decision", **sent, number=wrong).text
    assert {one.state for one in ledger.staged("hr-to-scim")} == {StagedState.STAGED}
    assert client.post(f"{PAGE}/decision", **sent, number="3").status_code == 303


def test_whom_a_search_finds_is_what_the_last_page_named(changing: Served) -> None:
    """Somebody moves to the department between the page and the decision: nobody has seen that name."""
    client = changing.client("maria")
    sent = confirmed(client, about="found", q="legal")
    moved = Known(Kind.USER, "000004", "Dagmar Holm", "dagmar.holm@example.com", {"department": "Legal"}, "")
    changing.ledger.directory.put("hr-to-scim", [moved])
    refused = client.post(f"{PAGE}/decision", **sent, number="3")
    assert refused.status_code == 409
    assert "no longer those that the last page named" in refused.text
    assert {one.state for one in changing.ledger.staged("hr-to-scim")} == {StagedState.STAGED}


@pytest.mark.parametrize("again", ["approve", "reject"])
def test_the_second_of_two_is_told_who_was_first(changing: Served, again: str) -> None:
    """Two tabs, a double click, two approvers: of part of what waits, or of all that does."""
    client = changing.client("maria")
    first = confirmed(client, about="only", anchor=["000001"])
    second, part = confirmed(client, decision=again), confirmed(client, about="only", anchor=["000001"], decision=again)
    assert client.post(f"{PAGE}/decision", **first).status_code == 303
    for sent in (second, part, first):
        refused = client.post(f"{PAGE}/decision", **sent, number="4")
        assert refused.status_code == 409
        assert "maria (password) approved 1 × disable user on " in refused.text
    states = {one.anchor: one.state for one in changing.ledger.staged("hr-to-scim")}
    assert states == {
        "000001": StagedState.APPROVED,
        **dict.fromkeys(["000002", "000003", "000004"], StagedState.STAGED),
    }
    assert (
        len([line for chunk in changing.ledger.log_chunks("hr-to-scim", action=LogAction.APPROVE) for line in chunk])
        == 1
    )


def test_decided_meanwhile_is_said(changing: Served) -> None:
    """By another person, in a shell."""
    client = changing.client("maria")
    sent = confirmed(client)
    staged = changing.ledger.staged("hr-to-scim")
    assert {(one.kind, one.action) for one in staged} == {(Kind.USER, Action.DISABLE)}
    from flows.decisions.persons import own_identity
    from flows.decisions.staged import decide_staged

    decide_staged(
        changing.ledger, "hr-to-scim", StagedState.APPROVED, who="jonas", identity=own_identity(), why="ok", now=now()
    )
    refused = client.post(f"{PAGE}/decision", **sent, number="4")
    assert refused.status_code == 409
    assert "This no longer waits; nothing was decided now." in refused.text
    assert "approved 4 × disable user on" in refused.text
    inbox = client.get("/approvals").text
    assert "Nothing waits for you" in inbox
    assert "jonas" in inbox
