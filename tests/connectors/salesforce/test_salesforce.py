"""Salesforce over a strict org of our own: what is read, what is written, how refusals end, what it costs."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from connectors.contract import Action, Change, Kind, Outcome, Pace, Snapshot, Status, Wanted
from connectors.errors import CredentialsError, ErrorCode, FatalError, SchemaMismatchError, SettingsError
from connectors.kit import KitTarget
from connectors.salesforce.fields import id18
from connectors.salesforce.settings import SalesforceSettings, SalesforceTargetSettings
from connectors.salesforce.system import open_source, open_target
from connectors.salesforce.writing import MEANINGS
from tests.connectors.nasty import PEOPLE
from tests.servers.faults import Fault
from tests.servers.salesforce_client import client_of
from tests.servers.salesforce_service import ADMIN, CLIENT, SECRET, SalesforceService, serving

WANTED = Wanted(
    ("Username", "LastName", "IsActive", "Email", "Profile.Name", "UserRole.DeveloperName", "ManagerId"),
    ("Name", "DeveloperName"),
)
NUMBERS = iter(range(1, 10**7))
BLANK = {
    "TimeZoneSidKey": "Europe/Vienna",
    "LocaleSidKey": "de_AT",
    "LanguageLocaleKey": "de",
    "EmailEncodingKey": "UTF-8",
    "Profile.Name": "Standard User",
    "IsActive": True,
}


@pytest.fixture
def org() -> Iterator[SalesforceService]:
    with serving() as service:
        yield service


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SF_SECRET", SECRET)


def settings(org: SalesforceService, **more: Any) -> dict[str, Any]:
    return {"url": org.url, "auth": {"oauth": {"client_id": CLIENT, "secret": "${env:SF_SECRET}"}}, **more}


@pytest.fixture
def opened(org: SalesforceService, tmp_path: Path) -> Iterator[Any]:
    made: list[KitTarget] = []

    def open_one(**more: Any) -> KitTarget:
        parsed = SalesforceTargetSettings.model_validate(settings(org, **more))
        made.append(open_target(parsed, folder=tmp_path, pace=Pace(concurrency=4)))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def change(action: Action, target_id: str | None = None, *, kind: Kind = Kind.USER, **attributes: Any) -> Change:
    members = tuple(attributes.pop("members", ()))
    number = next(NUMBERS)
    attributes |= attributes.pop("more", {})
    known_by = ("Username",) if kind is Kind.USER else ("Name",)
    return Change(f"c{number}", kind, action, f"a{number}", target_id, attributes, {}, members, "", known_by)


def person(name: str, **more: Any) -> Change:
    values = {"Username": f"{name}@example.com", "LastName": name, "Alias": name[:8], "Email": f"{name}@example.com"}
    return change(Action.CREATE, more=BLANK | values | more)


def apply(target: KitTarget, *changes: Change) -> list[Outcome]:
    told: list[Outcome] = []
    target.apply(changes, told.append)
    assert sorted(one.change_id for one in told) == sorted(one.id for one in changes)
    order = {one.id: number for number, one in enumerate(changes)}
    return sorted(told, key=lambda one: order[one.change_id])


def edges(snapshot: Snapshot) -> set[tuple[str, str]]:
    return set(map(tuple, snapshot.members.to_numpy()))


# --- signing in ------------------------------------------------------------------------------------------------------


@pytest.fixture
def key(org: SalesforceService, tmp_path: Path) -> Path:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    org.public_key = private.public_key()
    file = tmp_path / "sf.key"
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


def test_a_key_signs_for_the_user_of_the_app(
    org: SalesforceService, key: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JWT bearer: no secret anywhere, and the account itself is known, so that it is never disabled."""
    monkeypatch.setenv("SF_URL", org.url)
    auth = {"client_id": CLIENT, "private_key": {"key": f"${{file:{key.name}}}"}, "subject": ADMIN}
    target = opened(url="${env:SF_URL}", auth={"oauth": auth})
    assert ": 1 user" in target.check()
    assert target.traits().signed_in == org.admin


def test_a_user_who_has_not_approved_the_app_is_told_what_to_do(org: SalesforceService, key: Path, opened: Any) -> None:
    private = {"key": f"${{file:{key.name}}}"}
    auth = {"client_id": CLIENT, "private_key": private, "subject": "somebody@example.com"}
    target = opened(auth={"oauth": auth})
    with pytest.raises(CredentialsError, match=r"hasn't approved this consumer.*administrator has to allow the app"):
        target.check()
    auth |= {"private_key": private | {"audience": "https://x"}, "subject": ADMIN}
    other = opened(auth={"oauth": auth})
    with pytest.raises(CredentialsError, match="audience is invalid"):
        other.check()


def test_a_refresh_token_gives_tokens(org: SalesforceService, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    org.refresh_tokens.add("5Aep861")
    monkeypatch.setenv("SF_REFRESH", "5Aep861")
    auth = {"oauth": {"client_id": CLIENT, "refresh_token": "${env:SF_REFRESH}"}}
    assert ": 1 user" in opened(auth=auth).check()
    monkeypatch.setenv("SF_REFRESH", "revoked")
    with pytest.raises(CredentialsError, match="The refresh token has ended, was revoked or replaced"):
        opened(auth=auth).check()


def test_refresh_tokens_that_are_good_once_follow_each_other(
    org: SalesforceService, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    org.refresh_tokens, org.rotating, org.token_uses = {"first"}, True, 3
    monkeypatch.setenv("SF_REFRESH", "first")
    target = opened(auth={"oauth": {"client_id": CLIENT, "refresh_token": "${env:SF_REFRESH}"}})
    for _ in range(3):
        assert ": 1 user" in target.check()
    assert len(org.refresh_tokens & {"first", "first+"}) == 0


def test_requests_go_to_the_instance_that_the_token_is_for(org: SalesforceService, tmp_path: Path, opened: Any) -> None:
    """The token endpoint names another host: the token is of use there alone."""
    with serving() as login:
        login.instance_url, org._tokens = org.url, login._tokens
        target = opened(url=login.url)
        assert org.url in target.check()
        assert [one for one in login.requests if "oauth" not in one] == []


def test_an_instance_that_others_could_listen_to_is_refused(org: SalesforceService, opened: Any) -> None:
    org.instance_url = "http://elsewhere.example.com"
    with pytest.raises(SettingsError, match="not a safe address"):
        opened().check()


@pytest.mark.parametrize("auth", [None, {"basic": {"username": ADMIN, "password": "${env:S}"}}])
def test_salesforce_wants_a_token(auth: dict[str, Any] | None) -> None:
    with pytest.raises(ValidationError, match="auth needs oauth, with secret, or private_key and subject"):
        SalesforceSettings.model_validate({"url": "https://a.my.salesforce.com", "auth": auth})


def test_ids_of_fifteen_characters_get_their_checksum() -> None:
    """Examples of Salesforce's own documentation."""
    assert id18("005D0000001KyEI") == "005D0000001KyEIIA0"
    assert id18("001xx000003DGb2") == "001xx000003DGb2AAG"
    assert id18("001xx000003DGb2AAG") == "001xx000003DGb2AAG"


# --- reading ---------------------------------------------------------------------------------------------------------


def test_everything_is_read_with_proof(org: SalesforceService, opened: Any) -> None:
    """Pages, managers, profiles and roles by name; portal users, shadow sets and groups of roles are not seen."""
    people = [org.put_user(Username=f"p{n}@example.com") for n in range(30)]
    org.page = 7
    role = next(iter(org.tables["UserRole"]))
    org.tables["User"][people[1]] |= {"ManagerId": people[0], "UserRoleId": role, "IsActive": False}
    portal = org.put_user(UserType="CspLitePortal")
    of_role = org.put("Group", Name="CEO", DeveloperName="CEO", Type="Role")
    inner = org.put_group("Inner", people[3])
    everybody = org.put_group("Everybody", *people, inner, of_role)
    sales = org.put_set("Sales_Console", *people[:9])
    bundle = org.put_set_group("Sales_Bundle", people[4])
    snapshot = opened().read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert set(snapshot.users.index) == {*people, org.admin}
    assert portal not in snapshot.users.index
    row = snapshot.users.loc[people[1]]
    assert (row["ManagerId"], row["UserRole.DeveloperName"], row["Profile.Name"]) == (people[0], "CEO", "Standard User")
    assert bool(row["IsActive"]) is False
    assert snapshot.groups["Name"].to_dict() == {
        inner: "Inner",
        everybody: "Everybody",
        sales: "Sales Console",
        bundle: "Sales Bundle",
    }
    assert edges(snapshot) == {
        (inner, people[3]),
        *((everybody, one) for one in (*people, inner)),
        *((sales, one) for one in people[:9]),
        (bundle, people[4]),
    }


@pytest.mark.parametrize("uses", [8, 9, 10, 11])
def test_a_token_that_ends_between_pages_costs_nobody(org: SalesforceService, opened: Any, uses: int) -> None:
    """The cursor ends with its session: the query goes on behind the last id, no one twice and no one missing."""
    people = [org.put_user() for _ in range(60)]
    target = opened(groups=["public"])
    org.page, org.token_uses = 9, uses
    snapshot = target.read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert sorted(snapshot.users.index) == sorted([*people, org.admin])


def test_a_page_that_says_more_and_not_where_proves_nothing(org: SalesforceService, opened: Any) -> None:
    for _ in range(20):
        org.put_user()
    org.page = 9
    org.faults.append(Fault("no link", "page"))
    snapshot = opened(groups=["public"]).read(WANTED)
    assert any("not where" in sentence for sentence in snapshot.incomplete)


def test_what_changed_is_read_with_an_overlap(org: SalesforceService, tmp_path: Path) -> None:
    """As a source: one request for changed users; groups and memberships whole, since their deletions are not told."""
    ann, bob = (org.put_user(Username=f"{name}@example.com") for name in ("ann", "bob"))
    group = org.put_group("Sales", ann, bob)
    old = {"SystemModstamp": "2026-01-01T00:00:00.000+0000"}
    for one in org.tables["User"].values():
        one |= old
    source = open_source(SalesforceSettings.model_validate(settings(org, groups=["public"])), folder=tmp_path)
    first = source.read(WANTED)
    org.change_user(ann, LastName="Lee", IsActive=False)
    edge = next(key for key, one in org.tables["GroupMember"].items() if one["UserOrGroupId"] == bob)
    del org.tables["GroupMember"][edge]
    delta = source.read(WANTED, since=first.watermark)
    source.close()
    assert not delta.reread
    assert set(delta.users.index) == {ann}
    assert delta.disabled == {ann}
    assert edges(delta) == {(group, ann)}


def test_a_hidden_field_is_named(org: SalesforceService, opened: Any) -> None:
    org.put_user()
    target = opened()
    target.traits()
    org.fields["User"]["Email"].hidden = True
    with pytest.raises(SchemaMismatchError, match=r"'Email'.*Field-level security"):
        target.read(WANTED)


def test_attributes_are_what_the_org_describes(org: SalesforceService, opened: Any) -> None:
    org.fields["User"]["Title"].hidden = True
    found = opened().attributes(Kind.USER)
    assert (found["Username"].longest, found["Username"].required) == (80, True)
    assert found["Profile.Name"].values == ("Sales", "Standard User", "System Administrator")
    assert found["UserRole.DeveloperName"].values == ("CEO", "Sales_EMEA")
    assert found["LocaleSidKey"].values[0] == "en_US"
    assert found["Name"].write == "never"
    assert "Title" not in found
    assert "Address" not in found


# --- writing ---------------------------------------------------------------------------------------------------------


def test_a_joiner_has_profile_role_and_manager(org: SalesforceService, opened: Any) -> None:
    boss = org.put_user()
    joiner = person("O'Brien-Ünal", Username="obrien@example.com", ManagerId=boss)
    joiner.attributes["UserRole.DeveloperName"] = "sales_emea"  # type: ignore[index]
    [outcome] = apply(opened(), joiner)
    assert outcome.status is Status.DONE, outcome.message
    held = org.users[str(outcome.target_id)]
    assert (held["LastName"], held["ManagerId"], held["IsActive"]) == ("O'Brien-Ünal", boss, True)
    assert org.tables["UserRole"][held["UserRoleId"]]["DeveloperName"] == "Sales_EMEA"


def test_a_thousand_nasty_names_come_back_as_they_are(org: SalesforceService, opened: Any) -> None:
    """What simple-salesforce reads, and we, is what was sent; names that are too long are told with their limit."""
    nasty = [(given, surname or ".", title) for _, _, given, surname, title, _ in PEOPLE]
    wanted = {
        f"n{number}@example.com": (given, surname, title)
        for number, (given, surname, title) in enumerate(nasty * (1_000 // len(nasty) + 1))
        if number < 1_000
    }
    changes = [
        person("x", Username=login, Alias="x", LastName=surname, FirstName=given, Title=title)
        for login, (given, surname, title) in wanted.items()
    ]
    target = opened(groups=["public"])
    outcomes = apply(target, *changes)
    fits = {
        login: names
        for login, names in wanted.items()
        if len(names[0] or "") <= 40 and len(names[1]) <= 80 and len(names[2] or "") <= 80
    }
    assert len(fits) == sum(one.status is Status.DONE for one in outcomes) > 900
    for one in outcomes:
        if one.status is not Status.DONE:
            assert "characters at most" in one.message
            assert "Adelheid" not in one.message
    soql = "SELECT Id, Username, FirstName, LastName, Title FROM User"
    found = client_of(org).query_all(soql)["records"]
    held = {one["Username"]: (one["FirstName"], one["LastName"], one["Title"]) for one in found}
    del held[ADMIN]
    assert held == fits
    frame = target.read(Wanted(("Username", "FirstName", "LastName", "Title"))).users.set_index("Username")
    shown = {
        login: tuple(None if isinstance(v, float) else v for v in row) for login, row in frame.T.to_dict("list").items()
    }
    del shown[ADMIN]
    assert shown == fits
    names = {"o'brien", "\\", '"', "robert');", "drop table users;--"}
    hits = target.find(Kind.USER, "LastName", sorted(names), WANTED)
    assert set(hits["LastName"].str.lower()) == {name for name in names if name != "robert');"}


def test_refused_rows_take_nobody_else_with_them(org: SalesforceService, opened: Any) -> None:
    """200 rows in one call, of which two are refused, each with its own field."""
    org.elsewhere.add("p3@example.com")
    people = [person(f"p{n}") for n in range(200)]
    people[7].attributes["Email"] = "no address"  # type: ignore[index]
    outcomes = apply(opened(), *people)
    assert [n for n, one in enumerate(outcomes) if one.status is not Status.DONE] == [3, 7]
    assert (outcomes[3].code, list(outcomes[3].refused)) == (ErrorCode.CONFLICT, ["Username"])
    assert "another account has this user name, perhaps in an org" in outcomes[3].message.lower()
    assert list(outcomes[7].refused) == ["Email"]
    for number, one in enumerate(outcomes):
        if one.status is Status.DONE:
            assert org.users[str(one.target_id)]["LastName"] == f"p{number}"
    assert org.calls == [("POST", "User", 200)]


def test_unknown_names_and_long_values_are_not_sent(org: SalesforceService, opened: Any) -> None:
    strange = person("ann", **{"Profile.Name": "Standrd User"})
    role = person("bob", **{"UserRole.DeveloperName": "Nowhere"})
    long = person("cay", Username="c" * 80 + "@example.com")
    outcomes = apply(opened(), strange, role, long)
    assert {one.status for one in outcomes} == {Status.REJECTED}
    assert "no profile with this name. Did you mean Standard User?" in outcomes[0].message
    assert "no role with this name. There are: CEO, Sales_EMEA." in outcomes[1].message
    assert "Username takes 80 characters at most, and the value has 92" in outcomes[2].message
    assert org.calls == []


def test_licences_are_counted_before_joiners_are_sent(org: SalesforceService, opened: Any) -> None:
    """Three seats are left, of which a returner takes one; a licence of another sort is not touched by it."""
    other = org.put("UserLicense", Name="Platform", TotalLicenses=50, UsedLicenses=0)
    org.put("Profile", Name="Platform User", UserLicenseId=other)
    back = org.put_user(IsActive=False)
    org.tables["UserLicense"][org.licence]["TotalLicenses"] = 4
    changes = [
        change(Action.ENABLE, back, IsActive=True),
        *(person(f"p{n}") for n in range(4)),
        person("plat", **{"Profile.Name": "Platform User"}),
        person("later", IsActive=False),
    ]
    outcomes = apply(opened(), *changes)
    assert [one.status for one in outcomes] == [*[Status.DONE] * 3, *[Status.REJECTED] * 2, Status.DONE, Status.DONE]
    assert "No licence Salesforce is left (4 in all), so nothing was sent." in outcomes[3].message


def test_a_leaver_is_deactivated_alone_and_first(org: SalesforceService, opened: Any) -> None:
    ann = org.put_user()
    [outcome] = apply(opened(), change(Action.DISABLE, ann, IsActive=False, Department="x" * 80, Title=None))
    assert outcome.status is Status.DONE
    assert org.effects == [f"update User {ann} IsActive", f"update User {ann} Department,Title"]
    [outcome] = apply(opened(), change(Action.DELETE, ann))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.NOT_PERMITTED)
    assert ann in org.users


def test_an_account_that_cannot_be_deactivated_is_frozen_where_the_job_says_so(
    org: SalesforceService, opened: Any
) -> None:
    """Without ``freeze`` it is told what to do; with it nobody signs in, and the rest is told as refused."""
    ann, bob = org.put_user(), org.put_user()
    org.stuck |= {ann, bob}
    [outcome] = apply(opened(), change(Action.DISABLE, ann, IsActive=False))
    assert (outcome.status, list(outcome.refused)) == (Status.REJECTED, ["IsActive"])
    assert "set freeze: true" in outcome.message

    def frozen(key: str) -> bool:
        return next(one["IsFrozen"] for one in org.tables["UserLogin"].values() if one["UserId"] == key)

    target = opened(freeze=True)
    [outcome] = apply(target, change(Action.DISABLE, bob, IsActive=False))
    assert (outcome.status, list(outcome.refused)) == (Status.PARTLY, ["IsActive"])
    assert frozen(bob)
    org.stuck.clear()
    [outcome] = apply(target, change(Action.DISABLE, bob, IsActive=False))
    assert outcome.status is Status.DONE
    [outcome] = apply(target, change(Action.ENABLE, bob, IsActive=True))
    assert outcome.status is Status.DONE
    assert not frozen(bob)
    assert org.users[bob]["IsActive"]


def test_a_new_address_waits_for_its_owner(org: SalesforceService, opened: Any) -> None:
    """Salesforce takes it and shows the old one until it is confirmed."""
    ann = org.put_user(Email="old@example.com")
    [outcome] = apply(opened(), change(Action.UPDATE, ann, Email="new@example.com", Title="Clerk"))
    assert (outcome.status, outcome.pending) == (Status.DONE, {"Email"})
    assert (org.users[ann]["Email"], org.users[ann]["Title"]) == ("old@example.com", "Clerk")


@pytest.mark.parametrize("sort", ["group", "set", "set_group"])
def test_members_come_and_go(org: SalesforceService, opened: Any, sort: str) -> None:
    """250 in two calls, one who is a member already, a ghost; they leave by the ids of their memberships."""
    people = [org.put_user() for _ in range(250)]
    make = {"group": org.put_group, "set": org.put_set, "set_group": org.put_set_group}[sort]
    group, other = make("Sales_One", people[0]), make("Sales_Two", people[1])
    target = opened()
    halves = [
        change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=people[:200]),
        change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=[*people[200:], "005000000000001AAA"]),
    ]
    full, part = apply(target, *halves)
    assert full.status is Status.DONE, full.message
    assert (part.status, list(part.refused)) == (Status.PARTLY, ["005000000000001AAA"])
    assert org.edges() == {(group, one) for one in people} | {(other, people[1])}
    org.calls.clear()
    [left] = apply(target, change(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=people[:50]))
    assert left.status is Status.DONE, left.message
    assert org.edges() == {(group, one) for one in people[50:]} | {(other, people[1])}
    assert [verb for verb, _, _ in org.calls] == ["DELETE"]
    [again] = apply(target, change(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=people[:50]))
    assert again.status is Status.DONE


def test_sets_are_filled_never_made_or_deleted(org: SalesforceService, opened: Any) -> None:
    sales = org.put_set("Sales_Console")
    target = opened()
    gone, changed = apply(
        target,
        change(Action.DELETE, sales, kind=Kind.GROUP),
        change(Action.UPDATE, sales, kind=Kind.GROUP, Name="Other"),
    )
    assert (gone.status, changed.status) == (Status.REJECTED, Status.REJECTED)
    assert sales in org.tables["PermissionSet"]
    made, named = apply(
        target,
        change(Action.CREATE, kind=Kind.GROUP, Name="Sales & Co"),
        change(Action.CREATE, kind=Kind.GROUP, Name="9 to 5", DeveloperName="Nine"),
    )
    assert (made.status, named.status) == (Status.DONE, Status.DONE), made.message
    groups = [(one["Name"], one["DeveloperName"], one["Type"]) for one in org.tables["Group"].values()]
    assert sorted(groups) == [("9 to 5", "Nine", "Regular"), ("Sales & Co", "Sales_Co", "Regular")]


def test_a_lock_is_waited_for(org: SalesforceService, opened: Any) -> None:
    ann, group = org.put_user(), org.put_group("Sales")
    org.locked |= {ann: 2, group: 1}
    outcomes = apply(
        opened(),
        change(Action.UPDATE, ann, Title="Clerk"),
        change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=[ann]),
    )
    assert {one.status for one in outcomes} == {Status.DONE}


def test_too_many_calls_at_once_are_waited_for(org: SalesforceService, opened: Any) -> None:
    """403, told apart from the quota by its words alone."""
    org.faults.append(Fault("concurrent", "create", times=2))
    [outcome] = apply(opened(), person("ann"))
    assert outcome.status is Status.DONE
    assert len(org.users) == 1


def test_a_used_up_quota_ends_the_load_cleanly(org: SalesforceService, opened: Any) -> None:
    target = opened(quota_reserve=0)
    target.traits()
    org.quota = org.used + 1
    with pytest.raises(FatalError, match="used up its API requests"):
        apply(target, person("ann"), person("bob"))
    assert org.users == {}


def test_the_reserve_is_left_to_others_but_access_is_taken_away(org: SalesforceService, opened: Any) -> None:
    """What is put off does not end the load: in a cycle leavers come last."""
    ann, cay = org.put_user(), org.put_user()
    group = org.put_group("Sales", ann)
    org.quota, org.used = 1000, 950
    target = opened(quota_reserve=0.1)
    put_off, off, out = apply(
        target,
        person("bob"),
        change(Action.DISABLE, ann, IsActive=False),
        change(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=[ann]),
    )
    assert (put_off.status, put_off.code) == (Status.REJECTED, ErrorCode.TOO_MANY_REQUESTS)
    assert "less than quota_reserve keeps for others" in put_off.message
    assert (off.status, out.status) == (Status.DONE, Status.DONE)
    assert (org.users[ann]["IsActive"], org.users[cay]["IsActive"], org.edges()) == (False, True, set())
    assert len(org.users) == 2


REFUSALS = {
    "DUPLICATE_USERNAME": (ErrorCode.CONFLICT, "Add a matching rule on Username"),
    "DUPLICATE_COMM_NICKNAME": (ErrorCode.CONFLICT, "Map CommunityNickname"),
    "DUPLICATE_VALUE": (ErrorCode.CONFLICT, "Add a matching rule on the attribute"),
    "DUPLICATE_DEVELOPER_NAME": (ErrorCode.CONFLICT, "Match groups by DeveloperName"),
    "LICENSE_LIMIT_EXCEEDED": (ErrorCode.NOT_PERMITTED, "Add licences"),
    "REQUIRED_FIELD_MISSING": (ErrorCode.MISSING_VALUES, "Map it, or give it a default"),
    "STRING_TOO_LONG": (ErrorCode.UNPROCESSABLE_ENTITY, r"Shorten it with Left\(\)"),
    "FIELD_INTEGRITY_EXCEPTION": (ErrorCode.UNPROCESSABLE_ENTITY, "Change its mapping"),
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": (ErrorCode.UNPROCESSABLE_ENTITY, "Map one that it offers"),
    "INVALID_EMAIL_ADDRESS": (ErrorCode.UNPROCESSABLE_ENTITY, "Correct it in the source"),
    "INVALID_TYPE_ON_FIELD_IN_RECORD": (ErrorCode.UNPROCESSABLE_ENTITY, "Change its mapping"),
    "NUMBER_OUTSIDE_VALID_RANGE": (ErrorCode.UNPROCESSABLE_ENTITY, "Correct it in the source"),
    "INVALID_FIELD_FOR_INSERT_UPDATE": (ErrorCode.NOT_PERMITTED, r"Give the right \(field-level security\)"),
    "INSUFFICIENT_ACCESS_OR_READONLY": (ErrorCode.INSUFFICIENT_RIGHTS, "Give it Manage Users"),
    "INSUFFICIENT_ACCESS": (ErrorCode.INSUFFICIENT_RIGHTS, "Give it Manage Users"),
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": (ErrorCode.INSUFFICIENT_RIGHTS, "Give it Manage Users"),
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": (ErrorCode.NOT_PERMITTED, "Ask who owns it"),
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": (ErrorCode.NOT_PERMITTED, "Ask who owns it"),
    "CANNOT_EXECUTE_FLOW_TRIGGER": (ErrorCode.NOT_PERMITTED, "Ask who owns it"),
    "MIXED_DML_OPERATION": (ErrorCode.NOT_PERMITTED, "Let it do so asynchronously"),
    "STORAGE_LIMIT_EXCEEDED": (ErrorCode.NOT_PERMITTED, "Free some or add storage"),
    "MALFORMED_ID": (ErrorCode.INVALID_ANCHOR, "Map a reference"),
    "INVALID_CROSS_REFERENCE_KEY": (ErrorCode.INVALID_ANCHOR, "A later cycle looks for it again"),
    "ENTITY_IS_DELETED": (ErrorCode.INVALID_ANCHOR, "A later cycle looks for it again"),
    "NOT_FOUND": (ErrorCode.INVALID_ANCHOR, "A later cycle looks for it again"),
    "SOMETHING_NEW": (ErrorCode.UNPROCESSABLE_ENTITY, "Look its code up"),
}
"""What each code of a row ends as, and its next step."""


def test_every_refusal_that_is_known_has_its_line() -> None:
    """Nothing is known to the connector that the cases below do not show."""
    assert REFUSALS.keys() - {"SOMETHING_NEW"} == MEANINGS.keys()


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_each_refusal_ends_as_a_sentence_with_a_next_step(org: SalesforceService, opened: Any, code: str) -> None:
    """Our words, Salesforce's code, and no value of the person."""
    ours, step = REFUSALS[code]
    org.refusing["Secretive"] = (code, "something about Secretive")
    [outcome] = apply(opened(), person("Secretive"))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ours)
    assert re.search(rf"{step}.*\. \({code}: ", outcome.message), outcome.message
    assert "Secretive" not in outcome.message


@pytest.mark.parametrize(
    ("status", "code", "message", "error", "says"),
    [
        (
            403,
            "API_DISABLED_FOR_ORG",
            "The REST API is not enabled for this Organization",
            SettingsError,
            "API Enabled",
        ),
        (401, "INVALID_SESSION_ID", "This session is not valid for use with the REST API", CredentialsError, "scope"),
        (403, "INSUFFICIENT_ACCESS", "insufficient rights", CredentialsError, "Manage Users"),
        (420, "", "", SettingsError, "no longer exists"),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY", "insufficient rights", CredentialsError, "Manage Users"),
        (400, "INVALID_TYPE", "sObject type 'User' is not supported.", SchemaMismatchError, "does not have it"),
        (400, "MALFORMED_QUERY", "unexpected token", SchemaMismatchError, "Salesforce cannot read the users"),
        (400, "INVALID_FIELD", "No such column", SchemaMismatchError, "take it out of the job's mappings"),
        (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", FatalError, "see Company Information"),
        (401, "INVALID_SESSION_ID", "Connected app is not attached to Agent", CredentialsError, "the scope api"),
    ],
)
def test_errors_of_the_whole_org_stop(
    org: SalesforceService, opened: Any, status: int, code: str, message: str, error: type[Exception], says: str
) -> None:
    target = opened()
    target.traits()
    org.answers += [(status, code, message)] * 2
    with pytest.raises(error, match=says):
        target.read(WANTED)


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_says_what_answers_and_which_licences_are_full(org: SalesforceService, opened: Any) -> None:
    said = opened().check()
    assert ": 1 user." in said
    assert "Licences left: Salesforce 99,999 of 100,000." in said
    org.tables["UserLicense"][org.licence]["TotalLicenses"] = 1
    assert "No licence Salesforce is left: new accounts with it will be refused." in opened().check()
    assert org.effects == []


@pytest.mark.parametrize(
    "right", ["User.createable", "User.updateable", "GroupMember.deletable", "UserLogin.updateable"]
)
def test_a_missing_right_is_found_before_anything_is_written(org: SalesforceService, opened: Any, right: str) -> None:
    org.no_rights.add(right)
    with pytest.raises(CredentialsError, match=right.replace(".", " is not ")):
        opened(freeze=True).check()


# --- costs -----------------------------------------------------------------------------------------------------------


def cost(org: SalesforceService, work: Callable[[], Any]) -> int:
    before = len(org.requests)
    work()
    return len(org.requests) - before


def load(target: KitTarget, changes: list[Change]) -> list[Outcome]:
    outcomes = apply(target, *changes)
    assert {one.status for one in outcomes} == {Status.DONE}
    return outcomes


def test_a_load_costs_a_request_for_two_hundred(org: SalesforceService, opened: Any) -> None:
    """A fifth of ten thousand people, thirty thousand memberships and a set: 10 + 30 + 10 requests, within 1.2."""
    groups = [org.put_group(f"Group {n}") for n in range(10)]
    console, target = org.put_set("Console"), opened(groups=["public", "permission_sets"])
    people: list[str] = []

    def initial() -> None:
        people.extend(str(one.target_id) for one in load(target, [person(f"p{n:05d}") for n in range(2000)]))
        members = {group: people[140 * number : 140 * number + 600] for number, group in enumerate(groups)}
        load(
            target,
            [
                change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=mine[start : start + 200])
                for group, mine in (members | {console: people}).items()
                for start in range(0, len(mine), 200)
            ],
        )

    assert cost(org, initial) <= 1.2 * 50
    assert len(org.edges()) == 8_000


def test_ten_thousand_people_are_read_and_changed_cheaply(org: SalesforceService, opened: Any, tmp_path: Path) -> None:
    """First read and quiet reconcile 32, quiet read of changes 23, one percent 1 + 50 and a read of the memberships;
    each within 1.2. The short form has a tenth of the people, on pages of a tenth."""
    scale = 1 if os.environ.get("PROVISOR_LONG") else 10
    org.page //= scale
    step, size = 180 // scale, 600 // scale
    people = [org.put("User", Username=f"p{n}@example.com", UserType="Standard") for n in range(10_000 // scale)]
    groups = [org.put_group(f"Group {n}", *people[step * n : step * n + size]) for n in range(50)]
    org.put_set("Console", *people)
    target_groups = ["public", "permission_sets"]
    target = opened(groups=target_groups)
    assert cost(org, lambda: target.read(WANTED)) <= 1.2 * 32

    source = open_source(SalesforceSettings.model_validate(settings(org, groups=target_groups)), folder=tmp_path)
    watermark = source.read(WANTED).watermark
    stale = {"SystemModstamp": "2026-01-01T00:00:00.000+0000"}
    for one in org.tables["User"].values():
        one |= stale
    assert cost(org, lambda: source.read(WANTED, since=watermark)) <= 1.2 * 23
    source.close()

    def one_percent() -> None:
        load(target, [change(Action.UPDATE, one, Title="Clerk") for one in people[:100]])
        leaving = [(group, people[step * n : step * n + 6]) for n, group in enumerate(groups)]
        load(
            target,
            [change(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=gone) for group, gone in leaving],
        )

    assert cost(org, one_percent) <= 1.2 * (1 + 50 + 23)
