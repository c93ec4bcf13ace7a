"""Not seen is not absent: what a service does not show is never replaced, and never called done."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.contract import Action, Kind, Outcome, Status, Wanted
from tests.connectors.scim.changes import act, apply_one, create, create_group, person, update
from tests.connectors.scim.conftest import Opener
from tests.servers.scim_service import ScimService

OTHERS = ("u-1", "u-2", "u-3", "u-4")
WANTED = Wanted(("userName",), ("displayName",))


def staffed(service: ScimService, *, count: int = len(OTHERS)) -> tuple[str, list[str]]:
    """A group that others have filled, and the ids of its members."""
    people = service.seed(users=[{"userName": f"other-{number}@example.com"} for number in range(count)])[0]
    members = [{"value": id} for id in people]
    group = service.seed(groups=[{"displayName": "Staff", "members": members}])[1][0]
    return group, people


def members_in(service: ScimService, group: str) -> set[str]:
    """Whom the service keeps in the group, whatever it shows."""
    shown, service.quirks["members_shown"] = service.quirks["members_shown"], "all"
    try:
        return {member["value"] for member in service.groups[group].get("members", [])}
    finally:
        service.quirks["members_shown"] = shown


def add(target: Any, group: str, *members: str) -> Outcome:
    return apply_one(target, act(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=members))


@pytest.mark.parametrize("shown", ["none", "first_twenty", "first_ten"])
@pytest.mark.parametrize(
    "other",
    [
        {},
        {"patch": "silent"},
        {"patch": "silent_for_groups"},
        {"patch": "not_allowed"},
        {"patch": "not_implemented"},
        {"replace_members": "not_implemented"},
        {"members_without_path": "refused"},
    ],
    ids=str,
)
def test_members_that_are_not_shown_stay(shown: str, other: dict[str, str], open_target: Opener) -> None:
    """Whatever else the service cannot do, and however often it is tried: nobody is lost with a list that is cut."""
    with ScimService(quirks={"members_shown": shown, **other}) as service:
        group, people = staffed(service, count=30)
        target = open_target(service.url)
        ann = apply_one(target, create("ann")).target_id or ""
        for _ in range(4):
            outcome = add(target, group, ann)
            assert members_in(service, group) >= set(people)
        assert outcome.status is Status.REJECTED


def test_an_addition_that_is_not_seen_is_not_called_done(open_target: Opener) -> None:
    """The service says yes and shows nobody: the log says so, and that the profile may say it."""
    with ScimService(quirks={"members_shown": "none"}) as service:
        group, people = staffed(service)
        target = open_target(service.url)
        ann = apply_one(target, create("ann")).target_id or ""
        outcome = add(target, group, ann)
        assert members_in(service, group) == {*people, ann}
    assert outcome.status is Status.REJECTED
    assert "does not show 1 of them" in outcome.message
    assert "set members_shown to none or some in the target's profile" in outcome.message


def test_a_profile_that_says_so_is_believed(open_target: Opener, tmp_path: Any) -> None:
    """By its profile the service hides members: its yes is all there is, and it is sent in one request."""
    profile = tmp_path / "hides.yaml"
    profile.write_text("members_shown: none\n")
    with ScimService(quirks={"members_shown": "none"}) as service:
        group, people = staffed(service)
        target = open_target(service.url, profile=str(profile))
        ann = apply_one(target, create("ann")).target_id or ""
        outcome = add(target, group, ann)
        assert (outcome.status, outcome.attempts) == (Status.DONE, 1)
        assert members_in(service, group) == {*people, ann}


@pytest.mark.parametrize("shown", ["none", "first_twenty", "first_ten"])
def test_renaming_a_group_loses_nobody(shown: str, open_target: Opener) -> None:
    """A service that only takes whole entries: a group of which not all is seen is not sent back whole."""
    with ScimService(quirks={"members_shown": shown, "patch": "not_allowed"}) as service:
        group, people = staffed(service, count=30)
        outcome = apply_one(
            open_target(service.url),
            update(group, {"displayName": "Crew"}, {"displayName": "Staff"}, kind=Kind.GROUP),
        )
        assert members_in(service, group) == set(people)
    assert outcome.status is Status.REJECTED


def test_what_a_profile_says_does_not_make_a_cut_list_whole(open_target: Opener, tmp_path: Any) -> None:
    """A profile asks for whole lists; a group that shows as many members as any other may have more: it is added to."""
    profile = tmp_path / "whole.yaml"
    profile.write_text("add_members: replace\nremove_members: replace\n")
    with ScimService(quirks={"members_shown": "first_twenty"}) as service:
        group, people = staffed(service, count=25)
        target = open_target(service.url, profile=str(profile))
        ann = apply_one(target, create("ann")).target_id or ""
        add(target, group, ann)
        assert members_in(service, group) == {*people, ann}


def test_a_group_of_our_own_is_known(open_target: Opener) -> None:
    """Nobody else has put anybody into a group that was created a moment ago: it may be sent whole."""
    with ScimService(quirks={"patch": "silent_for_groups"}) as service:
        target = open_target(service.url)
        ann = apply_one(target, create("ann")).target_id or ""
        group = apply_one(target, create_group("Sales")).target_id or ""
        assert add(target, group, ann).status is Status.DONE
        assert members_in(service, group) == {ann}


@settings(
    max_examples=400 if "PROVISOR_LONG" in os.environ else 12,  # of thirty members each
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    shown=st.sampled_from(["none", "first_twenty", "first_ten"]),
    quirks=st.fixed_dictionaries(
        {},
        optional={
            "patch": st.sampled_from(["honoured", "silent", "silent_for_groups", "not_allowed", "not_implemented"]),
            "put": st.sampled_from(["clears", "keeps", "ignores_members", "error_500"]),
            "replace_members": st.sampled_from(["honoured", "adds", "not_implemented"]),
            "remove_members_filter": st.sampled_from(["honoured", "not_implemented", "error_500"]),
            "remove_members_list": st.sampled_from(["honoured", "refused"]),
            "patch_answer": st.sampled_from(["body", "no_content"]),
        },
    ),
    deeds=st.lists(st.sampled_from(["add", "remove", "rename", "add to a new group"]), min_size=1, max_size=5),
)
def test_nobody_is_lost_who_was_never_seen(
    shown: str, quirks: dict[str, str], deeds: list[str], open_target: Opener
) -> None:
    """For any service and any order of changes: whoever was never shown as a member stays one."""
    with ScimService(quirks={"members_shown": shown, **quirks}) as service:
        group, people = staffed(service, count=30)
        most = {"none": 0, "first_ten": 10}.get(shown, 20)
        seen = {member["value"] for member in service.groups[group].get("members", [])[:most]}
        target = open_target(service.url)
        ann = apply_one(target, create("ann")).target_id or ""
        for number, deed in enumerate(deeds):
            match deed:
                case "add":
                    add(target, group, ann)
                case "remove":
                    apply_one(target, act(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=(people[0],)))
                case "rename":
                    name = {"displayName": f"Name {number}"}
                    apply_one(target, update(group, name, {"displayName": "Staff"}, kind=Kind.GROUP))
                case _:
                    made = apply_one(target, create_group(f"New {number}")).target_id
                    if made:
                        add(target, made, ann)
        assert members_in(service, group) >= set(people) - seen - {people[0]}


# -- what stands for a member ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["user_name", "ref_demanded"])
def test_members_by_something_else_than_their_id(value: str, open_target: Opener) -> None:
    """Lists that hold names, and services that want ``$ref``: members are read as who they are, added and removed."""
    with ScimService(quirks={"member_value": value}) as service:
        target = open_target(service.url)
        ids = [apply_one(target, create(name)).target_id or "" for name in ("ann", "bob", "cid")]
        group = apply_one(target, create_group("Sales")).target_id or ""
        assert add(target, group, *ids[:2]).status is Status.DONE
        assert set(target.read(WANTED).members["member"]) == set(ids[:2])
        fresh = open_target(service.url)
        assert set(fresh.read(WANTED).members["member"]) == set(ids[:2])
        gone = apply_one(fresh, act(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=(ids[0],)))
        assert gone.status is Status.DONE
        assert add(fresh, group, ids[2]).status is Status.DONE
        assert set(target.read(WANTED).members["member"]) == {ids[1], ids[2]}


def test_the_address_of_a_member_says_what_it_is(open_target: Opener) -> None:
    """A group in a group is referred to as a group, also where the service wants addresses."""
    with ScimService(quirks={"member_value": "ref_demanded"}) as service:
        target = open_target(service.url)
        ann = apply_one(target, create("ann")).target_id or ""
        inner, outer = (apply_one(target, create_group(name)).target_id or "" for name in ("Inner", "Outer"))
        assert add(target, outer, ann, inner).status is Status.DONE
        sent = [entry.json() for entry in service.log if entry.method == "PATCH"][-1]
        addresses = [member["$ref"] for member in sent["Operations"][0]["value"]]
    assert addresses == [f"{service.url}/Users/{ann}", f"{service.url}/Groups/{inner}"]


def test_a_member_is_known_by_a_name_that_has_changed(open_target: Opener) -> None:
    """Lists hold names: somebody is renamed, joins another group and leaves the first, in one cycle."""
    with ScimService(quirks={"member_value": "user_name"}) as service:
        target = open_target(service.url)
        ids = [apply_one(target, create(name)).target_id or "" for name in ("ann", "bob")]
        first, second = (apply_one(target, create_group(name)).target_id or "" for name in ("First", "Second"))
        assert add(target, first, *ids).status is Status.DONE
        renamed = update(ids[0], {"userName": "ann.ray@example.com"}, {"userName": "ann@example.com"})
        assert apply_one(target, renamed).status is Status.DONE
        assert add(target, second, ids[0]).status is Status.DONE
        gone = act(Action.REMOVE_MEMBERS, first, kind=Kind.GROUP, members=(ids[0],))
        assert apply_one(target, gone).status is Status.DONE
        edges = target.read(WANTED).members
    assert set(zip(edges["group"], edges["member"], strict=True)) == {(first, ids[1]), (second, ids[0])}


# -- answers that say otherwise ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["shown_active", "error_in_200", "silent"])
@pytest.mark.parametrize("before", [0, 3])
def test_a_disable_that_was_not_done_is_not_called_done(answer: str, before: int, open_target: Opener) -> None:
    """The first of its kind or the fourth: an owner whom the service keeps on is a failure, and others are not."""
    with ScimService(quirks={"owner": answer, "patch_answer": "body"}) as service:
        target = open_target(service.url)
        for number in range(before):
            made = apply_one(target, create(f"p{number}")).target_id or ""
            assert apply_one(target, act(Action.DISABLE, made)).status is Status.DONE
        owner = apply_one(target, create("owner")).target_id or ""
        outcome = apply_one(target, act(Action.DISABLE, owner))
        assert service.users[owner]["active"] is True
        assert outcome.status is Status.REJECTED
        later = apply_one(target, create("later")).target_id or ""
        assert apply_one(target, act(Action.DISABLE, later)).status is Status.DONE
        assert service.users[later]["active"] is False


def test_one_answer_of_many_that_shows_the_old_value(open_target: Opener) -> None:
    """A change of a title that the tenth answer contradicts is looked at, and is not called done."""
    with ScimService(quirks={"patch_answer": "body"}) as service:
        target = open_target(service.url)
        ids = [apply_one(target, create(f"p{number}", title="Clerk")).target_id or "" for number in range(4)]
        for id in ids[:3]:
            assert apply_one(target, update(id, {"title": "Boss"}, {"title": "Clerk"})).status is Status.DONE
        service.quirks["patch"] = "silent"
        outcome = apply_one(target, update(ids[3], {"title": "Boss"}, person("p3", title="Clerk")))
        assert service.users[ids[3]]["title"] == "Clerk"
    assert outcome.status is Status.REJECTED
    assert "title stays as it was" in outcome.message
