"""Dropbox over a strict team of our own: what is read, what is written, how refusals end, what it costs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dropbox import team
from pydantic import ValidationError

from connectors.contract import STATE, Action, Change, Kind, Outcome, Pace, Snapshot, Status, Wanted
from connectors.dropbox.answers import MEANINGS
from connectors.dropbox.settings import DropboxSettings, DropboxTargetSettings
from connectors.dropbox.system import SYSTEM, DropboxTarget, open_source
from connectors.errors import CredentialsError, ErrorCode, SchemaMismatchError, SettingsError
from tests.connectors.clocks import FakeClock
from tests.connectors.nasty import PEOPLE
from tests.servers.dropbox_client import client_of, members_of
from tests.servers.dropbox_service import KEY, REFRESH, SCOPES, SECRET, DropboxService, serving
from tests.servers.salesforce_service import Fault

WANTED = Wanted(
    ("email", "external_id", "name.given_name", "name.surname", "active", "role", STATE),
    ("group_name", "group_external_id"),
)
NUMBERS = iter(range(1, 10**7))


@pytest.fixture
def org() -> Iterator[DropboxService]:
    with serving() as service:
        yield service


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBX_SECRET", SECRET)
    monkeypatch.setenv("DBX_REFRESH", REFRESH)


def settings(org: DropboxService, **more: Any) -> dict[str, Any]:
    auth = {"client_id": KEY, "secret": "${env:DBX_SECRET}", "refresh_token": "${env:DBX_REFRESH}"}
    return {"url": org.url, "auth": auth, **more}


@pytest.fixture
def opened(org: DropboxService, tmp_path: Path) -> Iterator[Any]:
    made: list[DropboxTarget] = []

    def open_one(**more: Any) -> DropboxTarget:
        parsed = DropboxTargetSettings.model_validate(settings(org, **more))
        made.append(DropboxTarget(SYSTEM, parsed, folder=tmp_path, pace=Pace(concurrency=4), clock=FakeClock()))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def change(action: Action, target_id: str | None = None, *, kind: Kind = Kind.USER, **attributes: Any) -> Change:
    members = tuple(attributes.pop("members", ()))
    number = next(NUMBERS)
    known_by = ("external_id", "email") if kind is Kind.USER else ("group_external_id", "group_name")
    names = {"given": "name.given_name", "surname": "name.surname"}
    values = {names.get(path, path): value for path, value in attributes.items()}
    return Change(f"c{number}", kind, action, f"a{number}", target_id, values, {}, members, "", known_by)


def person(name: str, **more: Any) -> Change:
    values = {"email": f"{name}@example.com", "external_id": name, "given": "Ann", "surname": name, "active": True}
    return change(Action.CREATE, **(values | more))


def joins(group: str, *members: str) -> Change:
    return change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=members)


def apply(target: DropboxTarget, *changes: Change) -> list[Outcome]:
    told: list[Outcome] = []
    target.apply(changes, told.append)
    assert sorted(one.change_id for one in told) == sorted(one.id for one in changes)
    order = {one.id: number for number, one in enumerate(changes)}
    return sorted(told, key=lambda one: order[one.change_id])


def edges(snapshot: Snapshot) -> set[tuple[str, str]]:
    return set(map(tuple, snapshot.members.to_numpy()))


def asked(org: DropboxService, route: str) -> list[Any]:
    return [body for one, body in org.bodies if one == route]


# --- signing in and checking -----------------------------------------------------------------------------------------


def test_check_says_what_answers_and_whether_the_team_is_full(org: DropboxService, opened: Any) -> None:
    target = opened()
    said = target.check()
    assert f"The Dropbox team Example at {org.url}/2/team answers: 1 of 100,000 seats are taken." in said
    assert target.traits().signed_in == org.admin
    org.licences = 3
    assert "No seat is left" not in opened(seats_reserve=1).check()
    assert "No seat is left: new members will be refused." in opened(seats_reserve=2).check()
    assert org.effects == []


@pytest.mark.parametrize("scope", SCOPES)
def test_a_missing_scope_is_found_before_anything_is_written(org: DropboxService, opened: Any, scope: str) -> None:
    org.scopes.remove(scope)
    with pytest.raises(CredentialsError, match=f"lacks the scope {scope}. Tick {scope}"):
        opened().check()
    assert org.effects == []


def test_tokens_that_are_no_teams_or_no_admins_are_told(org: DropboxService, opened: Any) -> None:
    org.team_token = False
    with pytest.raises(CredentialsError, match="authorise it as a team admin"):
        opened().check()
    org.team_token = True
    for tag in ("admin_not_active", "mapping_not_found"):
        org.admin_error = tag
        with pytest.raises(CredentialsError, match=rf"Authorise.*{tag}"):
            opened().check()


def test_a_refresh_token_that_was_revoked(org: DropboxService, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBX_REFRESH", "revoked")
    with pytest.raises(CredentialsError, match="The refresh token has ended, was revoked or replaced"):
        opened().check()


def test_a_token_that_ends_early_is_renewed(org: DropboxService, opened: Any) -> None:
    people = [org.put(f"p{n}@example.com") for n in range(40)]
    org.page, org.token_uses = 10, 3
    snapshot = opened().read(WANTED)
    assert snapshot.complete
    assert set(snapshot.users.index) == {*people, org.admin}
    assert org.requests.count("token") > 2


def test_files_go_only_to_somebody_who_is_there(org: DropboxService, opened: Any) -> None:
    with pytest.raises(SettingsError, match="transfer_files_to is not that of an active member"):
        opened(remove={"transfer_files_to": "nobody@example.com"}).check()


@pytest.mark.parametrize(
    "remove",
    [
        {"keep_account": True, "transfer_files_to": "a@example.com"},
        {"keep_account": True, "wipe_devices": True},
        {"retain_team_shares": True},
    ],
)
def test_settings_that_contradict_each_other_are_refused(org: DropboxService, remove: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="keep_account"):
        DropboxTargetSettings.model_validate(settings(org, remove=remove))


# --- reading ---------------------------------------------------------------------------------------------------------


def test_everything_is_read_with_proof(org: DropboxService, opened: Any) -> None:
    """Pages, states, roles, memberships; removed members, the system's group and user-managed ones are not seen."""
    people = [org.put(f"p{n}@example.com", external_id=f"e{n}", given="P", surname=str(n)) for n in range(25)]
    org.page = 7
    for number, status in enumerate(("active", "invited", "suspended", "removed")):
        org.members[people[number]].status = status
    org.members[people[4]].role = "pid_dbtmr:2"
    sales = org.put_group("Sales", *people[:2], people[5], external_id="s")
    org.put_group("Chess", people[6], kind="user_managed")
    snapshot = opened().read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert set(snapshot.users.index) == {*people, org.admin} - {people[3]}
    states = [(snapshot.users.loc[key, "active"], snapshot.users.loc[key, STATE]) for key in people[:3]]
    assert states == [(True, "active"), (True, "invited"), (False, "suspended")]
    assert snapshot.users.loc[people[4], "role"] == "User management admin"
    assert snapshot.groups["group_name"].to_dict() == {sales: "Sales"}
    assert edges(snapshot) == {(sales, people[0]), (sales, people[1]), (sales, people[5])}
    assert len(opened(user_managed_groups=True).read(WANTED).groups) == 2


def test_a_cursor_that_ends_costs_nobody(org: DropboxService, opened: Any) -> None:
    """The listing begins anew: nobody twice, nobody missing, and who left meanwhile is not there."""
    people = [org.put(f"p{n}@example.com") for n in range(40)]
    org.page = 10
    org.faults.append(Fault("expired", "page", nth=6, times=2))
    snapshot = opened().read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert sorted(snapshot.users.index) == sorted([*people, org.admin])
    org.faults.append(Fault("expired", "page", times=99))
    with pytest.raises(SchemaMismatchError, match="ended the listing 4 times"):
        opened().read(WANTED)


def test_addresses_are_found_whatever_their_case_and_odd_ones_harm_nobody(org: DropboxService, opened: Any) -> None:
    """One value that no member can have would have the whole call refused."""
    key, gone = org.put("Ann.O'Brien@example.com", external_id="7"), org.put("b@example.com", status="removed")
    target = opened()
    values = ["ann.o'brien@EXAMPLE.com", "b@example.com", "müller@example.com", "no address", "x" * 300 + "@a.com"]
    assert list(target.find(Kind.USER, "email", values, WANTED).index) == [key]
    assert list(target.find(Kind.USER, "external_id", ["7", "8", "x" * 65], WANTED).index) == [key]
    assert list(target.fetch(Kind.USER, [key, gone, "dbmid:none"], WANTED).users.index) == [key]


def test_groups_are_found_by_name_and_have_all_their_members(org: DropboxService, opened: Any) -> None:
    people = [org.put(f"p{n}@example.com") for n in range(30)]
    group = org.put_group("Sales & Co", *people, external_id="s")
    org.put_group("Chess", people[6], kind="user_managed")
    org.inline, org.page = 5, 8
    target = opened()
    assert list(target.find(Kind.GROUP, "group_name", ["SALES & CO", "Chess"], WANTED).index) == [group]
    assert list(target.find(Kind.GROUP, "group_external_id", ["s"], WANTED).index) == [group]
    assert sorted(target.fetch(Kind.GROUP, [group], WANTED).members["member"]) == people


def test_as_a_source(org: DropboxService, tmp_path: Path) -> None:
    ann = org.put("ann@example.com", status="suspended")
    source = open_source(DropboxSettings.model_validate(settings(org)), folder=tmp_path)
    snapshot = source.read(WANTED)
    assert source.check().startswith("The Dropbox team Example")
    source.close()
    assert snapshot.complete
    assert (snapshot.disabled, snapshot.watermark) == ({ann}, None)


def test_attributes_are_what_dropbox_documents(opened: Any) -> None:
    """Every path that can be written is one that the vendor's own SDK knows."""
    found = opened().attributes(Kind.USER)
    assert found["role"].values == ("Support admin", "Team admin", "User management admin")
    assert (found["email"].longest, found["name.surname"].longest, found["external_id"].longest) == (255, 50, 64)
    written = {path.rpartition(".")[2] for path, one in found.items() if one.write == "always"} - {"active", "role"}
    assert {f"new_{one}" for one in written} == team.MembersSetProfileArg._all_field_names_ - {"user"}


# --- adding ----------------------------------------------------------------------------------------------------------


def test_twenty_in_one_call_each_with_an_answer(org: DropboxService, opened: Any) -> None:
    """Five different refusals, and the others are done; the first words of a mail are sent only where the job says."""
    org.checked = False  # it knows no tag that Dropbox adds one day
    org.put("p1@example.com")
    org.put("other@example.com", external_id="p2")
    org.elsewhere.add("p3@example.com")
    org.refusing |= {"p4@example.com": "user_migration_failed", "p5@example.com": "something_new"}
    outcomes = apply(opened(welcome_email=False), *(person(f"p{n}", role="support ADMIN") for n in range(20)))
    assert [n for n, one in enumerate(outcomes) if one.status is not Status.DONE] == [1, 2, 3, 4, 5]
    assert [one.code for one in outcomes[1:4]] == [ErrorCode.CONFLICT] * 3
    assert [list(one.refused) for one in outcomes[1:4]] == [["email"], ["external_id"], ["email"]]
    assert "(something_new)" in outcomes[5].message
    for number, one in enumerate(outcomes):
        if one.status is Status.DONE:
            held = org.members[str(one.target_id)]
            assert (held.external_id, held.role, held.status) == (f"p{number}", "pid_dbtmr:3", "invited")
    assert (len(asked(org, "members/add_v2")), org.welcomed) == (1, [])


def test_a_job_is_asked_once_for_all_who_wait_for_it(org: DropboxService, opened: Any) -> None:
    org.asynchronous, org.waits = True, 2
    org.elsewhere.add("p7@example.com")
    outcomes = apply(opened(), *(person(f"p{n}") for n in range(20)))
    assert [n for n, one in enumerate(outcomes) if one.status is not Status.DONE] == [7]
    assert {org.members[str(one.target_id)].email for one in outcomes if one.target_id} == {
        f"p{n}@example.com" for n in range(20) if n != 7
    }
    assert org.requests.count("members/add/job_status/get_v2") <= 4


def test_a_job_that_dies_is_looked_into(org: DropboxService, opened: Any) -> None:
    """Dropbox has forgotten its job: whoever was added is found, the others are sent anew."""
    org.asynchronous = True
    org.faults.append(Fault("job forgotten", "poll"))
    outcomes = apply(opened(), *(person(f"p{n}") for n in range(3)))
    assert {one.status for one in outcomes} == {Status.DONE}
    assert len(org.here) == 3


def test_the_first_refusal_for_want_of_a_seat_stops_adding(org: DropboxService, opened: Any) -> None:
    """Seats are counted first; where the count is not given, one refusal is enough. Updates go on, leavers leave."""
    ann, bob = org.put("ann@example.com", surname="A"), org.put("bob@example.com")
    org.licences = 5
    people = [person(f"p{n}") for n in range(4)]
    outcomes = apply(
        opened(), *people, change(Action.UPDATE, ann, surname="B"), change(Action.DISABLE, bob, active=False)
    )
    assert [one.status for one in outcomes] == [*[Status.DONE] * 2, *[Status.REJECTED] * 2, Status.DONE, Status.DONE]
    assert "Nothing was sent: the team has 5 seats, and 3 are taken" in outcomes[2].message
    org.faults, org.bodies = [], []
    target = opened()
    target.traits()
    org.refusing |= {f"q{n}@example.com": "team_license_limit" for n in range(20)}
    org.licences = 100_000
    outcomes = apply(target, *(person(f"q{n}") for n in range(60)))
    assert sum(one.status is Status.REJECTED for one in outcomes) >= 20
    assert "no free seat" in outcomes[0].message
    org.refusing.clear()
    assert {one.status for one in apply(target, *(person(f"r{n}") for n in range(3)))} == {Status.DONE}


def test_what_dropbox_would_refuse_is_not_sent(org: DropboxService, opened: Any) -> None:
    """One such value would have the whole call of twenty refused."""
    outcomes = apply(
        opened(),
        person("a", surname="x|y"),
        person("b", surname="x" * 51),
        person("c", email="müller@example.com"),
        person("d", role="Team admni"),
        person("e", external_id="x" * 65),
        person("f", active=False),
        person("g"),
    )
    assert [one.status for one in outcomes] == [*[Status.REJECTED] * 6, Status.DONE]
    assert 'may hold none of / : ? * < > " |' in outcomes[0].message
    assert "name.surname takes 50 characters at most, and the value has 51." in outcomes[1].message
    assert "plain addresses" in outcomes[2].message
    assert "no admin role of this name. Did you mean Team admin?" in outcomes[3].message
    assert "external_id takes 64 characters" in outcomes[4].message
    assert "invited and suspended" in outcomes[5].message
    assert len(asked(org, "members/add_v2")) == 1


# --- suspending, removing, coming back -------------------------------------------------------------------------------


@pytest.mark.parametrize("wipe", [False, True])
def test_suspension_wipes_devices_only_where_the_job_says_so(org: DropboxService, opened: Any, wipe: bool) -> None:
    ann = org.put("ann@example.com", surname="A")
    target = opened(suspend={"wipe_devices": wipe})
    for _ in range(2):
        [outcome] = apply(target, change(Action.DISABLE, ann, active=False))
        assert outcome.status is Status.DONE
    assert (org.members[ann].status, org.wiped) == ("suspended", [ann] if wipe else [])
    assert [body["wipe_data"] for body in asked(org, "members/suspend")] == [wipe]
    [outcome] = apply(target, change(Action.ENABLE, ann, active=True, surname="B", role="Support admin"))
    assert outcome.status is Status.DONE
    assert (org.members[ann].status, org.members[ann].surname) == ("active", "B")
    [outcome] = apply(target, change(Action.DISABLE, ann, active=False, role="Team admin"))
    assert (outcome.status, list(outcome.refused)) == (Status.PARTLY, ["role"])
    assert org.members[ann].status == "suspended"


def test_invited_leavers_are_kept_or_taken_back(org: DropboxService, opened: Any) -> None:
    ann, bob = (org.put(f"{name}@example.com", status="invited") for name in ("ann", "bob"))
    [kept] = apply(opened(), change(Action.DISABLE, ann, active=False))
    assert (kept.status, org.members[ann].status) == (Status.REJECTED, "invited")
    assert "target.invited_leavers: remove" in kept.message
    target = opened(invited_leavers="remove", remove={"transfer_files_to": "admin@example.com"})
    [gone] = apply(target, change(Action.DISABLE, bob, active=False))
    assert (gone.status, org.members[bob].status, org.transferred) == (Status.DONE, "removed", {})


@pytest.mark.parametrize("asynchronous", [False, True])
def test_removal_says_everything(org: DropboxService, opened: Any, asynchronous: bool) -> None:
    ann, bob, store = (org.put(f"{name}@example.com") for name in ("ann", "bob", "store"))
    org.asynchronous, org.waits = asynchronous, 1
    target = opened()
    outcomes = apply(target, change(Action.DELETE, ann), change(Action.DELETE, "dbmid:none"))
    assert {one.status for one in outcomes} == {Status.DONE}
    (body,) = asked(org, "members/remove")
    assert {name: body[name] for name in body if name != "user"} == {
        "wipe_data": False,
        "keep_account": False,
        "retain_team_shares": False,
        "permanently_delete_files": False,
    }
    assert (org.members[ann].recoverable, org.wiped) == (True, [])
    [outcome] = apply(opened(remove={"transfer_files_to": "store@example.com"}), change(Action.DELETE, bob))
    assert outcome.status is Status.DONE
    assert (org.transferred, org.members[bob].recoverable) == ({bob: store}, False)


def test_who_comes_back_within_seven_days_gets_the_account(org: DropboxService, opened: Any) -> None:
    """The same key and files, with what is new about them; somebody else's address, and one too late, are conflicts."""
    ann = org.put("ann@example.com", external_id="ann", status="removed")
    late = org.put("late@example.com", external_id="late", status="removed")
    org.put("bob@example.com", external_id="stranger", status="removed")
    target = opened()
    new = person("new")
    again, stranger, fresh = apply(target, person("ann", surname="New", role="Support admin"), person("bob"), new)
    assert (again.status, again.target_id) == (Status.DONE, ann)
    assert (org.members[ann].status, org.members[ann].surname, org.members[ann].role) == (
        "active",
        "New",
        "pid_dbtmr:3",
    )
    assert (stranger.status, stranger.code) == (Status.REJECTED, ErrorCode.CONFLICT)
    assert fresh.status is Status.DONE
    org.members[ann].status = "removed"
    [outcome] = apply(target, change(Action.ENABLE, ann, active=True, surname="Newer"))
    assert (outcome.status, outcome.target_id) == (Status.DONE, ann)
    assert (org.members[ann].status, org.members[ann].surname) == ("active", "Newer")
    org.errors["members/recover"] = ["user_unrecoverable"]
    [outcome] = apply(target, person("late"))
    assert "more than seven days ago" in outcome.message
    assert org.members[late].status == "removed"
    [outcome] = apply(opened(recover_removed=False), person("late"))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.CONFLICT)


def test_the_admin_who_authorised_is_never_touched(org: DropboxService, opened: Any) -> None:
    outcomes = apply(
        opened(),
        change(Action.DISABLE, org.admin, active=False),
        change(Action.DELETE, org.admin),
        change(Action.UPDATE, org.admin, role=None),
    )
    assert {one.status for one in outcomes} == {Status.REJECTED}
    assert "signs in with this account" in outcomes[0].message
    assert "last admin" in outcomes[2].message
    assert org.effects == []


# --- changing --------------------------------------------------------------------------------------------------------


def test_profile_and_role_are_two_calls_and_null_clears(org: DropboxService, opened: Any) -> None:
    ann = org.put("ann@example.com", external_id="1", persistent_id="p", role="pid_dbtmr:3")
    target = opened()
    values = {"email": "Ann@example.com", "external_id": None, "role": None, "is_directory_restricted": True}
    [outcome] = apply(target, change(Action.UPDATE, ann, **values))
    held = org.members[ann]
    assert outcome.status is Status.DONE
    assert (held.email, held.external_id, held.role, held.restricted) == ("Ann@example.com", None, None, True)
    assert held.persistent_id == "p"
    assert len(org.effects) == 2
    [outcome] = apply(target, change(Action.UPDATE, ann, surname=None))
    assert "name.surname cannot be cleared" in outcome.message


def test_an_address_that_becomes_free_is_taken_later(org: DropboxService, opened: Any) -> None:
    ann, _ = org.put("ann@example.com"), org.put("b@example.com")
    [outcome] = apply(opened(), change(Action.UPDATE, ann, email="b@example.com"))
    assert (outcome.status, outcome.code, list(outcome.refused)) == (Status.REJECTED, ErrorCode.CONFLICT, ["email"])
    assert "The next cycle tries again" in outcome.message


# --- groups ----------------------------------------------------------------------------------------------------------


def test_groups_are_of_the_company_and_members_come_and_go(org: DropboxService, opened: Any) -> None:
    """Of 250, one is a member already, one is nobody, one has been removed; the others join."""
    people = [org.put(f"p{n}@example.com") for n in range(250)]
    target = opened()
    [made] = apply(target, change(Action.CREATE, kind=Kind.GROUP, group_name="Sales", group_external_id="s"))
    group = str(made.target_id)
    assert (org.groups[group].kind, org.groups[group].external_id) == ("company_managed", "s")
    org.groups[group].members[people[0]] = None
    org.members[people[9]].status = "removed"
    full, part = apply(target, joins(group, *people[:200]), joins(group, *people[200:], "dbmid:none"))
    assert (full.status, list(full.refused)) == (Status.PARTLY, [people[9]])
    assert (part.status, list(part.refused)) == (Status.PARTLY, ["dbmid:none"])
    assert org.edges() == {(group, one) for one in people if one != people[9]}
    leaving = change(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=[*people[:50], "dbmid:none"])
    for _ in range(2):
        [left] = apply(target, leaving)
        assert left.status is Status.DONE, left.message
    assert org.edges() == {(group, one) for one in people[50:]}
    [renamed] = apply(target, change(Action.UPDATE, group, kind=Kind.GROUP, group_name="Sales 2"))
    assert (renamed.status, org.groups[group].name) == (Status.DONE, "Sales 2")
    for _ in range(2):
        [gone] = apply(target, change(Action.DELETE, group, kind=Kind.GROUP))
        assert gone.status is Status.DONE


# --- refusals --------------------------------------------------------------------------------------------------------

ROUTES = {
    "members/add_v2": (team.MemberAddV2Result, lambda key: person("new")),
    "members/set_profile_v2": (team.MembersSetProfileError, lambda key: change(Action.UPDATE, key, surname="B")),
    "members/set_admin_permissions_v2": (
        team.MembersSetPermissions2Error,
        lambda key: change(Action.UPDATE, key, role="Support admin"),
    ),
    "members/suspend": (team.MembersSuspendError, lambda key: change(Action.DISABLE, key, active=False)),
    "members/unsuspend": (team.MembersUnsuspendError, lambda key: change(Action.ENABLE, key, active=True)),
    "members/remove": (team.MembersRemoveError, lambda key: change(Action.DELETE, key)),
    "members/recover": (team.MembersRecoverError, lambda key: person("back")),
    "groups/create": (team.GroupCreateError, lambda key: change(Action.CREATE, kind=Kind.GROUP, group_name="g")),
    "groups/update": (team.GroupUpdateError, lambda key: change(Action.UPDATE, "g:x", kind=Kind.GROUP, group_name="g")),
    "groups/members/add": (team.GroupMembersAddError, lambda key: joins("g:x", key)),
}
SETTLED = {
    ("members/remove", "user_not_found"),
    ("members/remove", "user_not_in_team"),
    ("members/unsuspend", "unsuspend_non_suspended_member"),
    ("groups/members/add", "duplicate_user"),
}
"""Where a look decides."""
LATER = {"success", "other"}
TAGS = [(route, tag) for route, (union, _) in ROUTES.items() for tag in union._tagmap if tag not in LATER]


@pytest.mark.parametrize(("route", "tag"), [one for one in TAGS if one not in SETTLED])
def test_each_refusal_ends_as_a_sentence(org: DropboxService, opened: Any, route: str, tag: str) -> None:
    """Every tag that the vendor's SDK knows for a route: our words, a next step, and no value of the person."""
    key = org.put("secretive@example.com", surname="Secretive")
    if route == "members/unsuspend":
        org.members[key].status = "suspended"
    if route == "members/recover":
        org.put("back@example.com", external_id="back", status="removed")
    if route == "members/add_v2":
        org.refusing["new@example.com"] = tag
    else:
        org.errors[route] = [tag]
    org.groups["g:x"] = type(org.groups["g:everybody"])("g:x", "x")
    [outcome] = apply(opened(), ROUTES[route][1](key))
    assert outcome.status is Status.REJECTED
    assert MEANINGS[tag].text in outcome.message
    assert tag in outcome.message
    assert MEANINGS[tag].text.count(".") >= 2, "what it means, and what to do"
    assert "ecretive" not in outcome.message


@pytest.mark.parametrize("how", ["throttled", "throttled json", "throttled text", "throttled bare"])
def test_too_many_requests_are_waited_for(org: DropboxService, opened: Any, how: str) -> None:
    """As JSON, as text, with and without a header; a call that was refused is sent again whole."""
    org.faults.append(Fault(how, "create", times=3))
    outcomes = apply(opened(), *(person(f"p{n}") for n in range(3)))
    assert {one.status for one in outcomes} == {Status.DONE}
    assert (len(org.here), org.faults[0].fired) == (3, 3)


def test_a_busy_item_is_sent_again(org: DropboxService, opened: Any) -> None:
    """too_many_write_operations stands in the answer of one of several as well."""
    org.refusing["p1@example.com"] = "too_many_write_operations"
    target = opened()
    honest = org.do_members_add_v2

    def once(asked: Any) -> Any:
        found = honest(asked)
        org.refusing.clear()
        return found

    org.do_members_add_v2 = once  # type: ignore[method-assign]
    org.checked = False
    outcomes = apply(target, *(person(f"p{n}") for n in range(3)))
    assert {one.status for one in outcomes} == {Status.DONE}
    assert len(org.here) == 3


# --- faults ----------------------------------------------------------------------------------------------------------

WRITES = {
    "add": ("create", lambda keys: person("new")),
    "profile": ("update", lambda keys: change(Action.UPDATE, keys["ann"], surname="New")),
    "role": ("update", lambda keys: change(Action.UPDATE, keys["ann"], role="Support admin")),
    "suspend": ("update", lambda keys: change(Action.DISABLE, keys["ann"], active=False)),
    "unsuspend": ("update", lambda keys: change(Action.ENABLE, keys["bob"], active=True)),
    "remove": ("delete", lambda keys: change(Action.DELETE, keys["ann"])),
    "make a group": ("create group", lambda keys: change(Action.CREATE, kind=Kind.GROUP, group_name="New")),
    "rename a group": ("update", lambda keys: change(Action.UPDATE, keys["g"], kind=Kind.GROUP, group_name="New")),
    "delete a group": ("delete group", lambda keys: change(Action.DELETE, keys["g"], kind=Kind.GROUP)),
    "join": ("members/add", lambda keys: joins(keys["g"], keys["ann"])),
    "leave": (
        "members/remove",
        lambda keys: change(Action.REMOVE_MEMBERS, keys["g"], kind=Kind.GROUP, members=[keys["bob"]]),
    ),
}


@pytest.mark.parametrize("fault", ["lost before", "lost after", "throttled"])
@pytest.mark.parametrize("write", WRITES)
def test_a_write_whose_answer_is_lost_takes_effect_once(
    org: DropboxService, opened: Any, write: str, fault: str
) -> None:
    """Lost on its way there, or on its way back, or put off: in the end it is as it was to be, once."""
    keys = {"ann": org.put("ann@example.com"), "bob": org.put("bob@example.com", status="suspended")}
    keys["g"] = org.put_group("Sales", keys["bob"])
    verb, make = WRITES[write]
    org.faults.append(Fault(fault, verb))
    [outcome] = apply(opened(), make(keys))
    assert org.faults[0].fired == 1
    assert outcome.status is Status.DONE, outcome.message
    ann, bob = org.members[keys["ann"]], org.members[keys["bob"]]
    members = {one.email: one.status for one in org.here.values() if one.email == "new@example.com"}
    groups = {one.name: list(one.members) for one in org.groups.values() if one.kind == "company_managed"}
    seen = (ann.surname, ann.role, ann.status, bob.status, members, groups)
    whole = ["", None, "active", "suspended", {}, {"Sales": [keys["bob"]]}]
    wanted: dict[str, tuple[int, Any]] = {
        "add": (4, {"new@example.com": "invited"}),
        "profile": (0, "New"),
        "role": (1, "pid_dbtmr:3"),
        "suspend": (2, "suspended"),
        "unsuspend": (3, "active"),
        "remove": (2, "removed"),
        "make a group": (5, {"Sales": [keys["bob"]], "New": []}),
        "rename a group": (5, {"New": [keys["bob"]]}),
        "delete a group": (5, {}),
        "join": (5, {"Sales": [keys["bob"], keys["ann"]]}),
        "leave": (5, {"Sales": []}),
    }
    place, value = wanted[write]
    whole[place] = value
    assert seen == tuple(whole)
    assert (org.wiped, len(org.members)) == ([], 4 if write == "add" else 3)


# --- a life, and costs -----------------------------------------------------------------------------------------------


def test_a_thousand_nasty_names_come_back_as_they_are(org: DropboxService, opened: Any) -> None:
    """What the vendor's SDK reads, and we, is what was sent; what cannot be is told before it is sent."""
    nasty = [(given or "", surname or "") for _, _, given, surname, _, _ in PEOPLE]
    wanted = {f"n{n}@example.com": nasty[n % len(nasty)] for n in range(1_000)}
    org.checked, target = False, opened()
    outcomes = apply(
        target,
        *(
            person("x", email=mail, external_id=mail, given=g or None, surname=s or None)
            for mail, (g, s) in wanted.items()
        ),
    )
    bad = set('/:?*<>"|')
    fits = {mail: names for mail, names in wanted.items() if not any(len(one) > 50 or bad & set(one) for one in names)}
    assert len(fits) == sum(one.status is Status.DONE for one in outcomes) > 700
    for one in outcomes:
        assert one.status is Status.DONE or "characters at most" in one.message or "may hold none of" in one.message
    profiles = [one.profile for one in members_of(client_of(org)) if one.profile.team_member_id != org.admin]
    assert {one.email: (one.name.given_name, one.name.surname) for one in profiles} == fits
    frame = target.read(WANTED).users.fillna("").set_index("email")[["name.given_name", "name.surname"]]
    shown = {mail: tuple(row) for mail, row in frame.T.to_dict("list").items()}
    del shown["admin@example.com"]
    assert shown == fits


def cost(org: DropboxService, work: Callable[[], Any]) -> int:
    before = len(org.requests)
    work()
    return len(org.requests) - before


def load(target: DropboxTarget, changes: list[Change]) -> list[str]:
    found: list[str] = []
    for start in range(0, len(changes), 500):
        outcomes = apply(target, *changes[start : start + 500])
        assert {one.status for one in outcomes} == {Status.DONE}
        found += [str(one.target_id) for one in outcomes]
    return found


def test_costs_are_those_of_the_reference(org: DropboxService, opened: Any) -> None:
    """A tenth of ten thousand people: 50 calls to add them, then groups, memberships, a quiet read, one percent."""
    org.checked, target = False, opened()
    people: list[str] = []
    groups: list[str] = []

    def initial() -> None:
        people.extend(load(target, [person(f"p{n}") for n in range(1000)]))
        groups.extend(load(target, [change(Action.CREATE, kind=Kind.GROUP, group_name=f"g{n}") for n in range(5)]))
        load(target, [joins(group, *people[start : start + 200]) for group in groups for start in range(0, 600, 200)])

    assert cost(org, initial) <= 1.2 * (500 + 50 + 150) / 10
    assert cost(org, lambda: opened().read(WANTED)) <= 1.2 * (2 + 1 + 4)

    def one_percent() -> None:
        load(target, [change(Action.UPDATE, key, surname="New") for key in people[:10]])
        leaving = [change(Action.REMOVE_MEMBERS, one, kind=Kind.GROUP, members=people[:6]) for one in groups]
        load(target, leaving)

    assert cost(org, one_percent) <= 1.2 * (100 + 50) / 10
