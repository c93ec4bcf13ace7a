"""Our Dropbox, driven by Dropbox' own SDK: its validators refuse whatever the real one would not say."""

from collections.abc import Iterator

import pytest
from dropbox import DropboxTeam, team
from dropbox.exceptions import ApiError, AuthError, BadInputError, RateLimitError

from tests.servers.dropbox_client import client_of, members_of
from tests.servers.dropbox_service import DropboxService, serving
from tests.servers.salesforce_service import Fault


@pytest.fixture
def org() -> Iterator[DropboxService]:
    with serving() as service:
        yield service


@pytest.fixture
def client(org: DropboxService) -> DropboxTeam:
    return client_of(org)


def by_id(key: str) -> team.UserSelectorArg:
    return team.UserSelectorArg.team_member_id(key)


def new(email: str, **values: object) -> team.MemberAddV2Arg:
    return team.MemberAddV2Arg(member_email=email, member_given_name="Ann", member_surname="Lee", **values)


def tag_of(error: ApiError) -> str:
    return str(error.error._tag)


def test_a_member_is_invited_changed_suspended_removed_and_recovered(org: DropboxService, client: DropboxTeam) -> None:
    added = client.team_members_add_v2([new("ann@example.com", member_external_id="7", role_ids=["pid_dbtmr:2"])])
    (one,) = added.get_complete()
    profile = one.get_success().profile
    assert (profile.status.is_invited(), profile.external_id, org.welcomed) == (True, "7", ["ann@example.com"])
    who = by_id(profile.team_member_id)
    with pytest.raises(ApiError) as refused:
        client.team_members_suspend(who)
    assert tag_of(refused.value) == "suspend_inactive_user"
    org.accept()
    changed = client.team_members_set_profile_v2(who, new_surname="Ley", new_external_id="")
    assert (changed.member_info.profile.name.surname, changed.member_info.profile.external_id) == ("Ley", None)
    client.team_members_suspend(who)
    assert org.wiped == [profile.team_member_id], "whoever does not say so wipes devices"
    client.team_members_unsuspend(who)
    assert client.team_members_remove(who, wipe_data=False).is_complete()
    (found,) = client.team_members_get_info_v2([who]).members_info
    assert found.get_member_info().profile.status.get_removed().is_recoverable
    client.team_members_recover(who)
    assert org.here[profile.team_member_id].status == "active"


def test_pages_have_cursors_that_end(org: DropboxService, client: DropboxTeam) -> None:
    org.page = 10
    keys = {org.put(f"p{n}@example.com", surname=f"P{n}") for n in range(25)}
    assert {one.profile.team_member_id for one in members_of(client)} == {*keys, org.admin}
    org.faults.append(Fault("expired", "page"))
    with pytest.raises(ApiError) as refused:
        members_of(client)
    assert tag_of(refused.value) == "invalid_cursor"


def test_a_pack_has_an_answer_for_each(org: DropboxService, client: DropboxTeam) -> None:
    org.licences, org.elsewhere = 3, {"other@example.com"}
    org.put("taken@example.com", surname="T")
    people = ["taken@example.com", "other@example.com", "fine@example.com", "late@example.com"]
    org.asynchronous, org.waits = True, 1
    job = client.team_members_add_v2([new(one) for one in people]).get_async_job_id()
    assert client.team_members_add_job_status_get_v2(job).is_in_progress()
    tags = [one._tag for one in client.team_members_add_job_status_get_v2(job).get_complete()]
    assert tags == ["user_already_on_team", "user_on_another_team", "success", "team_license_limit"]
    with pytest.raises(ApiError) as refused:
        client.team_members_add_job_status_get_v2("dbjid:none")
    assert refused.value.error.is_invalid_async_job_id()


def test_groups_are_all_or_nothing(org: DropboxService, client: DropboxTeam) -> None:
    made = client.team_groups_create("Sales", group_external_id="s")
    assert made.group_management_type.is_user_managed(), "whoever does not say so makes another sort"
    group, keys = team.GroupSelector.group_id(made.group_id), [org.put(f"p{n}@example.com") for n in range(3)]
    people = [team.MemberAccess(by_id(key), team.GroupAccessType.member) for key in keys]
    assert client.team_groups_members_add(group, people[:1]).group_info.member_count == 1
    ghost = team.MemberAccess(by_id("dbmid:none"), team.GroupAccessType.member)
    for members, tag in ((people, "duplicate_user"), ([*people, ghost], "users_not_found")):
        with pytest.raises(ApiError) as refused:
            client.team_groups_members_add(group, members)
        assert tag_of(refused.value) == tag
    assert org.edges() == {(made.group_id, keys[0])}
    with pytest.raises(ApiError) as refused:
        client.team_groups_members_remove(group, [by_id(key) for key in keys], return_members=False)
    assert tag_of(refused.value) == "member_not_in_group"
    (info,) = client.team_groups_get_info(team.GroupsSelector.group_external_ids(["s"]))
    assert [one.profile.team_member_id for one in info.get_group_info().members] == keys[:1]
    assert client.team_groups_delete(group).is_complete()


def test_files_go_to_others_only_as_asked(org: DropboxService, client: DropboxTeam) -> None:
    ann, store = org.put("ann@example.com"), org.put("store@example.com")
    with pytest.raises(ApiError) as refused:
        client.team_members_remove(by_id(ann), transfer_dest_id=by_id(store))
    assert tag_of(refused.value) == "unspecified_transfer_admin_id"
    client.team_members_remove(by_id(ann), transfer_dest_id=by_id(store), transfer_admin_id=by_id(org.admin))
    assert org.transferred == {ann: store}
    with pytest.raises(ApiError) as refused:
        client.team_members_recover(by_id(ann))
    assert tag_of(refused.value) == "user_unrecoverable"


def test_what_is_refused_at_the_door(org: DropboxService, client: DropboxTeam) -> None:
    org.scopes.remove("groups.read")
    with pytest.raises(AuthError) as missing:
        client.team_groups_list()
    assert missing.value.error.get_missing_scope().required_scope == "groups.read"
    org.faults.append(Fault("throttled", "page", times=9))
    with pytest.raises(RateLimitError) as slow:
        client.team_members_list_v2()
    assert (slow.value.backoff, slow.value.error.reason.is_too_many_requests()) == (2, True)
    org.faults.clear()
    org.team_token = False
    with pytest.raises(BadInputError, match="single Dropbox user"):
        client.team_members_list_v2()
