"""Ways in which services differ that the life of a job does not come across; whole lives are in tests/quirks."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Action, Kind, Status, Wanted
from connectors.errors import CredentialsError, FatalError
from connectors.scim.probing import Probe
from tests.connectors.clocks import FakeClock
from tests.connectors.scim.changes import MANAGER, WORK, act, apply_one, create, create_group, person, update
from tests.connectors.scim.conftest import Opener
from tests.connectors.scim.test_probing import settings_of
from tests.quirks.test_quirks import LIVES
from tests.servers.scim_service import QUIRKS, ScimService

ENTERPRISE_BADGE = "urn:example:params:badge"
WANTED = Wanted(("userName", "externalId"))


def answers(name: str) -> list[str]:
    """All answers of a switch, the usual one too."""
    return list(QUIRKS[name].answers)


# -- signing in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discovery", answers("discovery"))
@pytest.mark.parametrize("scheme", answers("www_authenticate"))
@pytest.mark.parametrize("body", answers("wrong_token"))
def test_a_wrong_token(body: str, scheme: str, discovery: str, open_target: Opener) -> None:
    """Whatever a 401 carries, and although discovery may be open to everybody, it is the token that is named."""
    quirks = {"wrong_token": body, "www_authenticate": scheme, "discovery": discovery}
    with ScimService(token="another", quirks=quirks) as service:
        with pytest.raises(CredentialsError) as caught:
            open_target(service.url).check()
        with pytest.raises(CredentialsError):
            open_target(service.url).read(WANTED)
    assert "The credentials are not accepted" in str(caught.value)
    assert "a-token" not in str(caught.value)


def test_many_wrong_tokens(open_target: Opener) -> None:
    """A service that has had enough of wrong tokens is an error too, after a few patient tries."""
    with ScimService(token="another", quirks={"many_wrong_tokens": "refused_429"}) as service:
        for _ in range(70):
            with pytest.raises(FatalError) as caught:
                open_target(service.url).check()
        assert sum(service.requests.values()) < 200
    assert "429" in str(caught.value)


# -- filters -----------------------------------------------------------------------------------------------------------


def test_a_filter_takes_no_notice_of_case(open_target: Opener) -> None:
    """Where case counts, somebody whose value differs in case is somebody else."""
    with ScimService(quirks={"filter_external_id": "case_blind"}) as service:
        service.seed(users=[{"userName": "ann", "externalId": "E1"}])
        target = open_target(service.url)
        assert target.find(Kind.USER, "externalId", ["e1"], WANTED).empty
        assert len(target.find(Kind.USER, "externalId", ["E1"], WANTED)) == 1


# -- creating ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "kept"), [("stored", 7), ("dropped", None), ("refused", None)])
def test_an_attribute_that_the_service_does_not_know(answer: str, kept: int | None, open_target: Opener) -> None:
    """It is kept, or the account is made without it and a sentence says why: never silently lost, never in the way."""
    path = f"{ENTERPRISE_BADGE}:number"
    with ScimService(quirks={"unknown_attribute": answer}) as service:
        outcome = apply_one(open_target(service.url), create("ann", **{path: "7"}))
        (user,) = service.users.values()
    assert bool(user.get(ENTERPRISE_BADGE)) is (kept is not None)
    assert user["userName"] == "ann@example.com"
    assert outcome.status is (Status.DONE if kept is not None else Status.PARTLY)
    assert list(outcome.refused) == ([] if kept is not None else [path])
    assert ("There is no attribute" in outcome.message) is (answer == "refused")


@pytest.mark.parametrize("answer", answers("empty_user_name"))
def test_nobody_without_a_name(answer: str, open_target: Opener) -> None:
    """Whoever was created without a name is done with the name that was asked for, or refused; nobody is doubled."""
    with ScimService(quirks={"empty_user_name": answer}) as service:
        outcome = apply_one(open_target(service.url), create("ann", userName=""))
        assert len(service.users) == (answer == "created")
    assert outcome.status is (Status.DONE if answer == "created" else Status.REJECTED)


@pytest.mark.parametrize("kept", answers("good_then_bad"))
def test_a_value_that_the_service_dislikes(kept: str, open_target: Opener) -> None:
    """One address is refused in a sentence, on create and on update, and takes nothing else with it."""
    with ScimService(quirks={"email_domain": "refused", "good_then_bad": kept}) as service:
        target = open_target(service.url)
        made = apply_one(target, create("ann", **{WORK: "ann@example.invalid"}))
        assert (made.status, list(made.refused)) == (Status.PARTLY, [WORK])
        assert ".invalid" not in made.message
        ann = made.target_id or ""
        assert service.users[ann]["displayName"] == "ann"
        assert "emails" not in service.users[ann]
        before = person("ann") | {WORK: None}
        outcome = apply_one(target, update(ann, {"title": "Boss", WORK: "ann@example.invalid"}, before))
        assert (outcome.status, list(outcome.refused)) == (Status.PARTLY, [WORK])
        assert ".invalid" not in outcome.message
        assert service.users[ann]["title"] == "Boss"


# -- changing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", answers("patch_nobody"))
def test_somebody_who_is_gone(answer: str, open_target: Opener) -> None:
    """An account that somebody else has deleted is said to be gone, or that it cannot be changed; it is never done."""
    with ScimService(quirks={"patch_nobody": answer}) as service:
        target = open_target(service.url)
        ann = apply_one(target, create("ann")).target_id or ""
        del service.users[ann]
        outcome = apply_one(target, update(ann, {"title": "Boss"}, person("ann")))
        assert not service.users
    assert outcome.status is Status.REJECTED
    assert "no longer exists" in outcome.message


@pytest.mark.parametrize("answer", answers("manager_text"))
def test_a_manager(answer: str, open_target: Opener) -> None:
    """A reference is sent as the standard has it, which every service takes."""
    with ScimService(quirks={"manager_text": answer}) as service:
        target = open_target(service.url)
        boss = apply_one(target, create("boss")).target_id or ""
        ann = apply_one(target, create("ann", **{MANAGER: boss})).target_id or ""
        held: dict[str, Any] = service.users[ann][MANAGER.rpartition(":")[0]]
    assert held["manager"] == {"value": boss}


# -- members -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", answers("unknown_member"))
def test_a_member_that_nobody_knows(answer: str, open_target: Opener) -> None:
    """It is done, or one sentence says that it is not."""
    with ScimService(quirks={"unknown_member": answer}) as service:
        target = open_target(service.url)
        group = apply_one(target, create_group("Sales")).target_id or ""
        outcome = apply_one(target, act(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=("nobody",)))
        assert outcome.status is (Status.DONE if answer == "stored" else Status.REJECTED)
        assert bool(outcome.message) is (answer != "stored")
        members = {member["value"] for member in service.groups[group].get("members", ())}
        assert members == ({"nobody"} if answer == "stored" else set())


def test_a_refused_member_keeps_nobody_else_out(open_target: Opener) -> None:
    """Two of forty are refused: the others join, those two are named; where all are refused, it is soon given up."""
    with ScimService(quirks={"unknown_member": "refused"}) as service:
        target = open_target(service.url)
        people = service.seed(count=40) and list(service.users)
        group = apply_one(target, create_group("Sales")).target_id or ""
        members = (*people[:3], "nobody", *people[3:], "no one")
        outcome = apply_one(target, act(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=members))
        assert (outcome.status, set(outcome.refused)) == (Status.PARTLY, {"nobody", "no one"})
        assert {member["value"] for member in service.groups[group]["members"]} == set(people)
        service.reset_counts()
        ghosts = tuple(f"ghost {number}" for number in range(100))
        outcome = apply_one(target, act(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=ghosts))
        assert (outcome.status, dict(outcome.refused)) == (Status.REJECTED, {})
        assert service.requests["PATCH /Groups"] == 17


def test_a_conflict_names_what_is_taken(open_target: Opener, service: ScimService) -> None:
    """By its path, for whoever decides what to do about it."""
    target = open_target(service.url)
    apply_one(target, create("ann"))
    outcome = apply_one(target, replace(create("ann"), id="another"))
    assert (outcome.status, list(outcome.refused)) == (Status.REJECTED, ["userName"])


@pytest.mark.parametrize("twice", answers("members_twice"))
def test_an_addition_whose_answer_was_lost(twice: str, open_target: Opener) -> None:
    """It is looked at, not repeated: nobody is a member twice."""
    with ScimService(quirks={"members_twice": twice}) as service:
        target = open_target(service.url)
        ids = [apply_one(target, create(name)).target_id or "" for name in ("ann", "bob", "cid")]
        group = apply_one(target, create_group("Sales")).target_id or ""
        apply_one(target, act(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=(ids[0],)))
        service.set_fault("reset", method="PATCH", path="/Groups", commit="after", times=1)
        outcome = apply_one(target, act(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=tuple(ids[1:])))
        assert outcome.status is Status.DONE
        assert [member["value"] for member in service.groups[group]["members"]] == ids


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quirks", LIVES, ids=[" ".join(map("-".join, quirks.items())) for quirks in LIVES])
def test_a_probe_of_a_service_with_a_quirk(quirks: dict[str, str]) -> None:
    """Whatever a service does, a probe comes to its end and touches nobody else; what the service keeps, it names."""
    with ScimService(quirks=quirks, default_page_size=3) as service:
        service.seed(
            users=[{"userName": f"u{number}@example.com", "externalId": f"E{number}"} for number in range(4)],
            groups=[{"displayName": "Sales"}],
        )
        before = shown(service)
        probe = Probe(settings_of(service.url), folder=Path(), write=True, clock=FakeClock())
        try:
            probed = probe.run(when="2026-01-02")
        finally:
            probe.close()
        assert shown(service) == before
        assert sum(service.requests.values()) < 500
    kept = quirks.get("delete_twice") in ("soft", "deactivated")
    assert ["keeps it all the same" in sentence for sentence in probed.left_behind] == [True] * kept


def shown(service: ScimService) -> tuple[dict[str, Any], dict[str, Any]]:
    """Users and groups that are not softly deleted."""
    store = service.application.store
    users = {id: user for id, user in service.users.items() if not store.users.entries[id].removed}
    groups = {id: group for id, group in service.groups.items() if not store.groups.entries[id].removed}
    return {id: user for id, user in users.items() if str(user.get("active")) != "False"}, groups


# -- somebody whom the service protects -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [405, 501])
def test_one_that_cannot_be_changed_keeps_nobody_else_from_it(status: int, open_target: Opener) -> None:
    """The first entry may be the service's own administrator: whoever comes after it is switched off nevertheless."""
    with ScimService() as service:
        target = open_target(service.url)
        ids = [str(apply_one(target, create(name)).target_id) for name in ("ann", "ben", "cem")]
        for method in ("PATCH", "PUT"):
            service.set_fault("error", label=method, status=status, method=method, path=f"^/Users/{ids[0]}")
        outcomes = [apply_one(target, act(Action.DISABLE, one)) for one in ids]
        assert [outcome.status for outcome in outcomes] == [Status.REJECTED, Status.DONE, Status.DONE]
        assert [service.users[one]["active"] for one in ids] == [True, False, False]


def test_what_cannot_be_changed_is_not_tried_for_ever(open_target: Opener) -> None:
    """A service that changes nobody is asked for some titles and no more; switching somebody off is always tried."""
    with ScimService() as service:
        target = open_target(service.url)
        ids = [str(apply_one(target, create(f"p{number}")).target_id) for number in range(6)]
        for method in ("PATCH", "PUT"):
            service.set_fault("error", label=method, status=501, method=method, path="^/Users")
        service.reset_counts()
        outcomes = [apply_one(target, update(one, {"title": "Boss"}, {"title": None})) for one in ids]
        assert {outcome.status for outcome in outcomes} == {Status.REJECTED}
        assert [bool(outcome.attempts) for outcome in outcomes] == [True, True, False, False, False, False]
        assert all("by PATCH and by PUT" in outcome.message for outcome in outcomes)
        assert all("title" in outcome.message for outcome in outcomes)
        disables = [apply_one(target, act(Action.DISABLE, one)) for one in ids]
        assert {outcome.status for outcome in disables} == {Status.REJECTED}
        assert all(outcome.attempts for outcome in disables)
