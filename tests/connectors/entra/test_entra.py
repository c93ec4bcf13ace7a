"""Microsoft Entra ID over a strict Graph of our own: what is read, what follows from changes, what is written."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Action, Change, Kind, Outcome, Pace, Status, Wanted
from connectors.entra import reading, system, writing
from connectors.entra.settings import EntraSettings, EntraTargetSettings
from connectors.entra.system import EntraSource, open_source, open_target, random_password
from connectors.errors import CredentialsError, ErrorCode, FatalError, SchemaMismatchError
from connectors.kit import KitTarget
from tasks.snapshots import merge_delta
from tests.connectors.nasty import PEOPLE
from tests.servers.graph_client import TenantState, sdk_of, state_of
from tests.servers.graph_service import DOMAIN, SECRET, GraphService, serving
from tests.servers.graph_words import Refusal

WANTED = Wanted(("userPrincipalName", "displayName", "accountEnabled", "employeeId", "manager"), ("displayName",))
NUMBERS = iter(range(1, 10**6))


@pytest.fixture
def graph() -> Iterator[GraphService]:
    with serving() as service:
        yield service


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTRA_SECRET", SECRET)


def settings(graph: GraphService, **more: Any) -> dict[str, Any]:
    return {**graph.section(), **more}


@pytest.fixture
def source(graph: GraphService, tmp_path: Path) -> Iterator[EntraSource]:
    made = open_source(EntraSettings.model_validate(settings(graph)), folder=tmp_path)
    yield made
    made.close()


@pytest.fixture
def target(graph: GraphService, tmp_path: Path) -> Iterator[KitTarget]:
    made = open_target(EntraTargetSettings.model_validate(settings(graph)), folder=tmp_path, pace=Pace(concurrency=8))
    yield made
    made.close()


def change(action: Action, target_id: str | None = None, *, kind: Kind = Kind.USER, **attributes: Any) -> Change:
    members = tuple(attributes.pop("members", ()))
    number = next(NUMBERS)
    known_by = ("userPrincipalName",) if kind is Kind.USER else ("displayName",)
    return Change(f"c{number}", kind, action, f"a{number}", target_id, attributes, {}, members, "", known_by)


def apply(target: KitTarget, *changes: Change) -> list[Outcome]:
    told: list[Outcome] = []
    target.apply(changes, told.append)
    assert sorted(one.change_id for one in told) == sorted(one.id for one in changes)
    order = [one.id for one in changes]
    return sorted(told, key=lambda one: order.index(one.change_id))


def upn(name: str) -> str:
    return f"{name}@{DOMAIN}"


# --- reading ---------------------------------------------------------------------------------------------------------


def test_everything_is_read_with_proof(graph: GraphService, source: EntraSource) -> None:
    """450 people over pages of 200, a group of 1,200 members that comes in pieces, managers, an empty group."""
    people = [graph.put_user(userPrincipalName=upn(f"p{n}"), employeeId=f"{n:06}") for n in range(450)]
    graph.set_manager(people[1], people[0])
    graph.members_page = 100
    big = graph.put_group("Everybody", *people)
    empty = graph.put_group("Nobody")
    snapshot = source.read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert list(snapshot.users["userPrincipalName"][people[:2]]) == [upn("p0"), upn("p1")]
    assert snapshot.users["employeeId"][people[7]] == "000007"
    assert snapshot.users["manager"].dropna().to_dict() == {people[1]: people[0]}
    assert set(snapshot.groups.index) == {big, empty}
    assert set(snapshot.members["member"]) == set(people)
    assert len(snapshot.members) == 450


def test_what_changed_is_what_two_whole_reads_differ_by(graph: GraphService, source: EntraSource) -> None:
    """A change, a new manager, somebody deleted, a member who came and one who went: rows are whole, managers stay."""
    ann, bob, cay = (graph.put_user(userPrincipalName=upn(name)) for name in ("ann", "bob", "cay"))
    graph.set_manager(ann, bob)
    group = graph.put_group("Sales", ann, bob)
    first = source.read(WANTED)
    graph.change_user(ann, displayName="Ann Lee")
    graph.set_manager(bob, ann)
    graph.remove_user(cay)
    graph.purge_user(cay)
    graph.leave(group, bob)
    graph.join(group, ann)
    dee = graph.put_user(userPrincipalName=upn("dee"))
    graph.join(group, dee)
    delta = source.read(WANTED, since=first.watermark)
    assert not delta.reread
    assert set(delta.users.index) == {ann, bob, dee}
    assert delta.users["displayName"][ann] == "Ann Lee"
    assert delta.users["manager"][ann] == bob, "a manager who has not changed does not come, and stays"
    assert delta.users["manager"][bob] == ann
    assert delta.gone[Kind.USER] == {cay}
    assert set(map(tuple, delta.members.to_numpy())) >= {(group, dee)}
    assert delta.edges_gone is not None
    assert (group, bob) in set(map(tuple, delta.edges_gone.to_numpy()))


def test_a_person_who_was_a_member_stays_one_when_somebody_joins(graph: GraphService, source: EntraSource) -> None:
    """A delta names who came and who went alone; the others must not look as if they had left."""
    ann, bob, cay = (graph.put_user(userPrincipalName=upn(name)) for name in ("ann", "bob", "cay"))
    group, renamed = graph.put_group("Sales", ann, bob), graph.put_group("Clerks", ann)
    first = source.read(WANTED)
    graph.join(group, cay)
    graph.leave(group, bob)
    graph.groups[renamed]["displayName"] = "Clerics"
    graph._log.append(("groups", renamed, "row"))
    merged = merge_delta(first, source.read(WANTED, since=first.watermark))
    assert merged is not None
    assert set(map(tuple, merged.members.to_numpy())) == {(group, ann), (group, cay), (renamed, ann)}


def test_what_a_change_leaves_out_stays(graph: GraphService, source: EntraSource) -> None:
    """Absent is not null: a row that names one attribute, twice, keeps the others; what is null is cleared."""
    ann = graph.put_user(userPrincipalName=upn("ann"), employeeId="1", displayName="Ann")
    first = source.read(WANTED)
    graph.change_user(ann, employeeId=None)
    chunks = graph._chunks
    parts = [{"id": ann, "displayName": "Ann Lee"}, {"id": ann, "employeeId": None}]
    graph._chunks = lambda noun, *words: parts if noun == "users" else chunks(noun, *words)  # type: ignore[method-assign]
    delta = source.read(WANTED, since=first.watermark)
    assert delta.users.loc[ann, "displayName"] == "Ann Lee"
    assert delta.users.loc[ann, "userPrincipalName"] == upn("ann")
    assert delta.users["employeeId"].isna().all()


def test_a_replica_that_lags_hides_no_change(
    graph: GraphService, source: EntraSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the delta says counts; the look that completes a row is answered by another replica, with older values."""
    ann, bob, cay = (graph.put_user(userPrincipalName=upn(name)) for name in ("ann", "bob", "cay"))
    group = graph.put_group("Sales", ann, bob)
    first = source.read(WANTED)
    graph.lagging[ann] = dict(graph.users[ann])
    graph.stale_members[group] = {ann, bob}
    graph.change_user(ann, displayName="Ann Lee", accountEnabled=False)
    graph.leave(group, bob)
    graph.join(group, cay)
    delta = source.read(WANTED, since=first.watermark)
    assert delta.users.loc[ann, "displayName"] == "Ann Lee"
    assert delta.disabled == {ann}
    merged = merge_delta(first, delta)
    assert merged is not None
    assert set(map(tuple, merged.members.to_numpy())) == {(group, ann), (group, cay)}


def test_somebody_who_is_not_shown_yet_has_not_left(
    graph: GraphService, source: EntraSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed user whom no replica shows is waited for; where that is in vain, the same changes are read again."""
    ann = graph.put_user(userPrincipalName=upn("ann"))
    first = source.read(WANTED)
    monkeypatch.setattr(reading, "LATE_S", (0.0, 0.001, 0.001))
    graph.change_user(ann, displayName="Ann Lee")
    graph._new.add(ann)
    graph.hidden_reads = 2
    delta = source.read(WANTED, since=first.watermark)
    assert (set(delta.users.index), delta.gone[Kind.USER]) == ({ann}, frozenset())
    graph._new.add(ann)
    graph.hidden_reads = 3
    graph.change_user(ann, displayName="Ann Day")
    with pytest.raises(FatalError, match="1 users have changed, and does not show it yet"):
        source.read(WANTED, since=delta.watermark)


def test_somebody_who_leaves_while_changes_are_read_is_gone(
    graph: GraphService, source: EntraSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed, and deleted for good before the row could be completed: the changes since say so."""
    ann = graph.put_user(userPrincipalName=upn("ann"))
    first = source.read(WANTED)
    monkeypatch.setattr(reading, "LATE_S", (0.0, 0.001))
    graph.change_user(ann, displayName="Ann Lee")
    listing = graph._list

    def deletes_first(*words: Any) -> Any:
        if ann in graph.users:
            graph.remove_user(ann)
            graph.purge_user(ann)
        return listing(*words)

    graph._list = deletes_first  # type: ignore[method-assign]
    delta = source.read(WANTED, since=first.watermark)
    assert (list(delta.users.index), delta.gone[Kind.USER]) == ([], {ann})


def test_a_deleted_user_is_disabled_first_and_gone_later(graph: GraphService, source: EntraSource) -> None:
    """Soft-deleted, restored, soft-deleted and purged: by changes, and the same by whole reads."""
    ann, bob = (graph.put_user(userPrincipalName=upn(name), employeeId=name) for name in ("ann", "bob"))
    first = source.read(WANTED)
    graph.remove_user(ann)
    soft = source.read(WANTED, since=first.watermark)
    assert (soft.disabled, soft.gone[Kind.USER], list(soft.users.index)) == ({ann}, frozenset(), [])
    merged = merge_delta(first, soft)
    assert merged is not None
    assert (merged.disabled, merged.users.loc[ann, "employeeId"]) == ({ann}, "ann"), "what was known of her stays"
    whole = source.read(WANTED)
    assert (whole.complete, whole.disabled, set(whole.users.index)) == (True, {ann}, {ann, bob})
    assert whole.users.loc[ann].dropna().to_dict() == {"accountEnabled": False}, "others may have her names now"
    graph.restore_user(ann)
    back = source.read(WANTED, since=soft.watermark)
    assert (back.disabled, set(back.users.index)) == (frozenset(), {ann})
    again = merge_delta(merged, back)
    assert again is not None
    assert again.disabled == frozenset()
    graph.remove_user(ann)
    graph.purge_user(ann)
    gone = source.read(WANTED, since=back.watermark)
    assert (gone.disabled, gone.gone[Kind.USER]) == (frozenset(), {ann})


def test_a_job_may_take_deleted_users_as_gone(graph: GraphService, tmp_path: Path) -> None:
    ann = graph.put_user(userPrincipalName=upn("ann"))
    made = open_source(EntraSettings.model_validate(settings(graph, soft_deleted="absent")), folder=tmp_path)
    first = made.read(WANTED)
    graph.remove_user(ann)
    assert made.read(WANTED, since=first.watermark).gone[Kind.USER] == {ann}
    assert list(made.read(WANTED).users.index) == []
    made.close()


def test_half_of_a_list_is_never_taken_for_all_of_it(graph: GraphService, source: EntraSource) -> None:
    """A page of a group's members that a replica does not know: nobody has left the group."""
    people = [graph.put_user(userPrincipalName=upn(f"p{n}")) for n in range(1_200)]
    group = graph.put_group("Everybody", *people)
    first = source.read(WANTED)
    graph.change_user(people[0], displayName="Ann")
    graph._log.append(("groups", group, "row"))
    assert len(source.read(WANTED, since=first.watermark).members) == 1_200
    real = graph._group

    def second_page_is_lost(method: str, key: str, rest: str, body: bytes, query: Any) -> Any:
        if "$skiptoken" in query:
            raise Refusal(404, "Request_ResourceNotFound", "Resource does not exist.")
        return real(method, key, rest, body, query)

    graph._group = second_page_is_lost  # type: ignore[method-assign]
    with pytest.raises(FatalError, match="lost a page"):
        source.read(WANTED, since=first.watermark)


def test_devices_and_contacts_are_no_members(graph: GraphService, source: EntraSource) -> None:
    ann = graph.put_user(userPrincipalName=upn("ann"))
    inner = graph.put_group("Clerks")
    group = graph.put_group("Sales", ann, inner, "a-device")
    first = source.read(WANTED)
    assert set(map(tuple, first.members.to_numpy())) == {(group, ann), (group, inner)}
    graph.join(group, "a-printer")
    delta = source.read(WANTED, since=first.watermark)
    assert set(map(tuple, delta.members.to_numpy())) == {(group, ann), (group, inner)}


def test_pages_that_bring_nothing_new_end(
    graph: GraphService, source: EntraSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page has a link that was never seen before; users of Graph report such reads, which never end."""
    graph.put_user(userPrincipalName=upn("ann"))
    monkeypatch.setattr(reading, "EMPTY_PAGES", 5)
    graph.endless = True
    with pytest.raises(SchemaMismatchError, match="without anything new"):
        source.read(WANTED)


def test_many_changed_people_are_read_by_batches(graph: GraphService, source: EntraSource) -> None:
    """400 rows without a manager: two requests of up to 300; what a batch puts off alone is asked for again."""
    people = [graph.put_user(userPrincipalName=upn(f"p{n}")) for n in range(400)]
    for one in people:
        graph.set_manager(one, people[0])
    first = source.read(WANTED)
    for one in people:
        graph.change_user(one, displayName="Somebody")
    graph.requests.clear()
    graph.refusals.append(("GET /users", Refusal(429, "TooManyRequests", "Slowly.", **{"Retry-After": "0.02"})))
    delta = source.read(WANTED, since=first.watermark)
    assert len(delta.users) == 400
    assert (delta.users["manager"] == people[0]).all()
    assert graph.requests.count("POST /$batch") == 3
    assert graph.requests.count("batched GET /users") == 28, "27 filters of 15 values, and one again"


def test_a_quiet_cycle_costs_two_requests(graph: GraphService, source: EntraSource) -> None:
    for number in range(30):
        graph.put_user(userPrincipalName=upn(f"p{number}"))
    graph.put_group("Sales")
    first = source.read(WANTED)
    graph.requests.clear()
    delta = source.read(WANTED, since=first.watermark)
    assert len(delta.users) == 0
    assert graph.requests == ["GET /users/delta", "GET /groups/delta"]


def test_a_forgotten_watermark_is_a_whole_read_without_removals(graph: GraphService, source: EntraSource) -> None:
    """410: everything is read, and it is said why."""
    ann = graph.put_user(userPrincipalName=upn("ann"))
    first = source.read(WANTED)
    graph.forget_tokens()
    again = source.read(WANTED, since=first.watermark)
    assert set(again.users.index) == {ann}
    assert "no longer knows" in again.reread


def test_a_count_that_does_not_agree_is_a_doubt(graph: GraphService, source: EntraSource) -> None:
    """Silence is the danger: fewer people than the index counts prove nobody's absence."""
    people = [graph.put_user(userPrincipalName=upn(f"p{n}")) for n in range(3)]
    chunks = graph._chunks
    graph._chunks = lambda *words: [row for row in chunks(*words) if row["id"] != people[0]]  # type: ignore[method-assign]
    snapshot = source.read(WANTED)
    assert snapshot.incomplete == ("Microsoft Graph counts 3 users and listed 2.",)


def test_a_missing_permission_is_named(graph: GraphService, source: EntraSource) -> None:
    graph.permissions = {"users"}
    with pytest.raises(FatalError, match=r"GroupMember\.Read\.All"):
        source.read(WANTED)


def test_a_wrong_secret_stops_at_once(
    graph: GraphService, source: EntraSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRA_SECRET", "another")
    with pytest.raises(CredentialsError, match="AADSTS7000215"):
        source.check()


def test_a_page_that_leads_elsewhere_is_not_followed(graph: GraphService, source: EntraSource) -> None:
    """The token would go along."""
    graph.put_user(userPrincipalName=upn("ann"))
    address, graph.url = graph.url, "http://127.0.0.1:1/v1.0"
    with pytest.raises(SchemaMismatchError, match="another address"):
        source.read(WANTED)
    graph.url = address


def test_assignments_come_with_their_roles(graph: GraphService, tmp_path: Path) -> None:
    """A user with a role, a group without, a role that is gone, a service principal that is nobody."""
    ann, bob = (graph.put_user(userPrincipalName=upn(name)) for name in ("ann", "bob"))
    group = graph.put_group("Sales")
    graph.app_roles.append({"id": "r1", "value": "Admin", "displayName": "Administrators"})
    graph.assign(ann, "Admin")
    graph.assign(bob, "99999999-gone")
    graph.assign(group, None, kind="Group")
    graph.assign("sp2", None, kind="ServicePrincipal")
    made = open_source(EntraSettings.model_validate(settings(graph, app="the-app")), folder=tmp_path)
    assignments = made.read(WANTED).assignments
    made.close()
    assert assignments is not None
    rows = {(row.kind, row.key): row.role if isinstance(row.role, str) else None for row in assignments.itertuples()}
    assert rows == {("user", ann): "Admin", ("user", bob): None, ("group", group): None}


# --- writing ---------------------------------------------------------------------------------------------------------


def test_an_account_is_created_with_a_password_that_nobody_sees(graph: GraphService, target: KitTarget) -> None:
    boss = graph.put_user(userPrincipalName=upn("boss"))
    made = change(
        Action.CREATE,
        userPrincipalName=upn("o'brien"),
        displayName="Siobhán O'Brien 😀",
        mailNickname="obrien",
        accountEnabled=True,
        manager=boss,
        **{"onPremisesExtensionAttributes.extensionAttribute3": "CC7", "businessPhones": ["+49 1"]},
    )
    [outcome] = apply(target, made)
    assert outcome.status is Status.DONE, outcome.message
    held = graph.users[str(outcome.target_id)]
    assert held["displayName"] == "Siobhán O'Brien 😀"
    assert held["onPremisesExtensionAttributes"] == {"extensionAttribute3": "CC7"}
    assert graph.managers == {outcome.target_id: boss}
    first, _ = writing.steps(target._known, made, None)  # type: ignore[arg-type,misc]
    assert writing.PASSWORD.encode() in first.request.body, "the request that is data has no password in it"


def test_passwords_differ_and_fit(graph: GraphService) -> None:
    found = {random_password(16) for _ in range(50)}
    assert len(found) == 50
    for one in found:
        assert any(letter.isdigit() for letter in one)
        assert any(letter.isupper() for letter in one)
        assert any(letter.islower() for letter in one)


def test_disabling_is_sent_first_and_ends_sessions(graph: GraphService, target: KitTarget) -> None:
    """Whatever else is refused, the account is off."""
    ann = graph.put_user(userPrincipalName=upn("ann"))
    [outcome] = apply(target, change(Action.DISABLE, ann, accountEnabled=False, jobTitle="x" * 200))
    assert graph.users[ann]["accountEnabled"] is False
    assert graph.sessions_ended == [ann]
    assert outcome.status is Status.PARTLY
    assert "jobTitle" in outcome.message
    assert "xxx" not in outcome.message


def test_what_is_cleared_is_null_or_an_empty_list(graph: GraphService, target: KitTarget) -> None:
    ann = graph.put_user(userPrincipalName=upn("ann"), jobTitle="Clerk", businessPhones=["1"])
    graph.set_manager(ann, ann)
    [outcome] = apply(target, change(Action.UPDATE, ann, jobTitle=None, businessPhones=None, manager=None))
    assert outcome.status is Status.DONE, outcome.message
    assert (graph.users[ann]["jobTitle"], graph.users[ann]["businessPhones"]) == (None, [])
    assert graph.managers == {}


def test_a_taken_name_is_a_conflict_that_names_the_attribute(graph: GraphService, target: KitTarget) -> None:
    """400 with details, not 409; others of the batch go on."""
    graph.put_user(userPrincipalName=upn("ann"))
    values = {"displayName": "Ann", "mailNickname": "ann"}
    taken, free = apply(
        target,
        change(Action.CREATE, userPrincipalName=upn("ANN"), **values),
        change(Action.CREATE, userPrincipalName=upn("bob"), **values),
    )
    assert (taken.status, taken.code) == (Status.REJECTED, ErrorCode.CONFLICT)
    assert "userPrincipalName" in taken.message
    assert free.status is Status.DONE


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_create_is_looked_for_and_never_doubled(
    graph: GraphService, target: KitTarget, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as Graph may be late; here that is two seconds and not a minute."""
    monkeypatch.setattr(system, "SETTLES_S", 2.0)
    graph.losing.append(("POST", "/users", when))
    graph.hidden_reads = 2 if when == "after" else 0
    [outcome] = apply(
        target, change(Action.CREATE, userPrincipalName=upn("ann"), displayName="Ann", mailNickname="ann")
    )
    assert outcome.status is Status.DONE, outcome.message
    assert list(graph.users) == [outcome.target_id]
    assert graph.effects == [f"create user {upn('ann')}"]


def test_members_come_by_twenty_and_go_by_their_reference(graph: GraphService, target: KitTarget) -> None:
    """One who is a member already keeps nobody out; removing a member never touches the person."""
    people = [graph.put_user(userPrincipalName=upn(f"p{n}")) for n in range(20)]
    group = graph.put_group("Sales", people[3])
    [joined] = apply(target, change(Action.ADD_MEMBERS, group, kind=Kind.GROUP, members=people))
    assert joined.status is Status.DONE, joined.message
    assert graph.members == {(group, one) for one in people}
    [left] = apply(target, change(Action.REMOVE_MEMBERS, group, kind=Kind.GROUP, members=people[:5]))
    assert left.status is Status.DONE
    assert graph.members == {(group, one) for one in people[5:]}
    assert len(graph.users) == 20
    assert not any("PERSON" in effect for effect in graph.effects)


@pytest.mark.parametrize("member", ["a", "a/b", "a?x", "a#b", "..", "%2f", "ä"])
def test_the_address_of_a_membership_always_ends_with_ref(member: str) -> None:
    """Without it the person would be deleted; nothing in an id can cut it off."""
    address = writing.member_ref("g/1", member)
    assert address.endswith("/$ref")
    assert address.count("/") == 5
    assert "?" not in address
    assert "#" not in address


def test_an_administrator_who_cannot_be_disabled_is_told(graph: GraphService, target: KitTarget) -> None:
    ann, bob = (graph.put_user(userPrincipalName=upn(name)) for name in ("ann", "bob"))
    graph.privileged.add(ann)
    refused, done = apply(
        target, change(Action.DISABLE, ann, accountEnabled=False), change(Action.DISABLE, bob, accountEnabled=False)
    )
    assert (refused.status, refused.code) == (Status.REJECTED, ErrorCode.INSUFFICIENT_RIGHTS)
    assert "administrator role" in refused.message
    assert done.status is Status.DONE


def test_a_group_with_a_unique_name_is_created_once_however_often(graph: GraphService, target: KitTarget) -> None:
    graph.losing += [("PATCH", "/groups(", "after"), ("PATCH", "/groups(", "before")]
    [outcome] = apply(target, change(Action.CREATE, kind=Kind.GROUP, displayName="Sales & Co", uniqueName="sales"))
    assert outcome.status is Status.DONE, outcome.message
    assert [one["displayName"] for one in graph.groups.values()] == ["Sales & Co"]


def test_deleting_twice_is_done(graph: GraphService, target: KitTarget) -> None:
    ann = graph.put_user(userPrincipalName=upn("ann"))
    assert [one.status for one in apply(target, change(Action.DELETE, ann))] == [Status.DONE]
    assert [one.status for one in apply(target, change(Action.DELETE, ann))] == [Status.DONE]


def test_throttled_writes_wait_and_are_all_done(graph: GraphService, target: KitTarget) -> None:
    graph.writes, graph.window_s = 20, 1.0
    people = [graph.put_user(userPrincipalName=upn(f"p{n}")) for n in range(40)]
    outcomes = apply(target, *(change(Action.UPDATE, one, jobTitle="Clerk") for one in people))
    assert {one.status for one in outcomes} == {Status.DONE}
    assert {one["jobTitle"] for one in graph.users.values()} == {"Clerk"}
    assert max(graph.throttled.values(), default=0) <= 1, "no request is refused twice"


def test_people_are_found_as_graph_compares(graph: GraphService, target: KitTarget) -> None:
    ann = graph.put_user(userPrincipalName=upn("o'brien"))
    found = target.find(Kind.USER, "userPrincipalName", [upn("O'Brien"), upn("nobody")], WANTED)
    assert list(found.index) == [ann]


def test_check_says_what_answers(graph: GraphService, source: EntraSource) -> None:
    graph.put_user(userPrincipalName=upn("ann"))
    assert source.check() == "Microsoft Graph answers for Contoso: 1 user, 0 groups."


def test_check_of_a_target_names_what_it_may_not_write(graph: GraphService, target: KitTarget, tmp_path: Path) -> None:
    """What the token says it was granted; where to grant the rest."""
    assert target.check() == "Microsoft Graph answers for Contoso: 0 users, 0 groups."
    for granted, said in (
        (
            ("User.ReadWrite.All", "GroupMember.Read.All"),
            "may not write groups. Grant it the application permission Gr",
        ),
        (
            ("User.Read.All",),
            "may not write users. Grant it the application permission User.ReadWrite.All in the Entra",
        ),
    ):
        graph.granted = granted
        made = open_target(EntraTargetSettings.model_validate(settings(graph)), folder=tmp_path, pace=Pace())
        try:
            told = made.check()
        except CredentialsError as error:
            told = str(error)
        made.close()
        assert said in told


# --- who is not ours, and who comes back ---------------------------------------------------------------------------


def test_a_leaver_who_cannot_be_disabled_is_named_as_such(graph: GraphService, target: KitTarget) -> None:
    """Synchronized from elsewhere: where to go, and that the account is still active."""
    ann = graph.put_user(userPrincipalName=upn("ann"), onPremisesSyncEnabled=True)
    [outcome] = apply(target, change(Action.DISABLE, ann, accountEnabled=False))
    assert outcome.message == (
        "It is synchronized from an on-premises directory, where it has to be changed. The account is still active: "
        "disable it by hand."
    )


def test_what_is_not_ours_to_write_is_known_beforehand(graph: GraphService, tmp_path: Path) -> None:
    """Synchronized, guests, restricted, administrators; dynamic groups and those of Exchange."""
    names = ("ann", "bob", "cay", "dee", "eve")
    ann, bob, cay, dee, eve = (graph.put_user(userPrincipalName=upn(name)) for name in names)
    graph.users[bob]["onPremisesSyncEnabled"] = True
    graph.users[cay]["userType"] = "Guest"
    graph.users[dee]["isManagementRestricted"] = True
    graph.administrators = {eve}
    groups: dict[str, dict[str, Any]] = {
        "Sales": {},
        "Rule": {"groupTypes": ["DynamicMembership"]},
        "List": {"mailEnabled": True},
        "Team": {"mailEnabled": True, "groupTypes": ["Unified"]},
        "Old": {"onPremisesSyncEnabled": True},
    }
    keys = {graph.put_group(name, **values): name for name, values in groups.items()}
    said = EntraTargetSettings.model_validate(settings(graph, administrators="leave alone"))
    made = open_target(said, folder=tmp_path, pace=Pace())
    found = made.unwritable(Kind.USER, [ann, bob, cay, dee, eve])
    groups_found = made.unwritable(Kind.GROUP, list(keys))
    made.close()
    words = {bob: "synchronized", cay: "guest", dee: "restricted", eve: "administrator role"}
    assert set(found) == set(words)
    assert all(word in found[key] for key, word in words.items())
    assert {keys[key] for key in groups_found} == {"Rule", "List", "Old"}


def rejoin(name: str, number: str | None, **values: Any) -> Change:
    made = change(Action.CREATE, userPrincipalName=upn(name), displayName="Ann Lee", mailNickname=name, **values)
    known_by = ("employeeId", "userPrincipalName") if number else ("userPrincipalName",)
    numbered = {"employeeId": number} if number else {}
    return replace(made, attributes={**made.attributes, **numbered}, known_by=known_by)


def test_a_returner_gets_the_deleted_account_back(graph: GraphService, target: KitTarget) -> None:
    """With memberships, another name where that has changed, a manager; never a double."""
    ann, boss = (graph.put_user(userPrincipalName=upn(name), employeeId=name) for name in ("ann", "boss"))
    group = graph.put_group("Sales", ann)
    graph.users[ann]["accountEnabled"] = False
    graph.remove_user(ann)
    [outcome] = apply(target, rejoin("ann.lee", "ann", manager=boss))
    assert (outcome.status, outcome.target_id) == (Status.DONE, ann), outcome.message
    held = graph.users[ann]
    assert (held["userPrincipalName"], held["displayName"], held["accountEnabled"]) == (upn("ann.lee"), "Ann Lee", True)
    assert (graph.managers, graph.members, graph.deleted) == ({ann: boss}, {(group, ann)}, {})
    assert not any(effect.startswith("create") for effect in graph.effects)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lost_restore_is_seen_through(
    graph: GraphService, target: KitTarget, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system, "SETTLES_S", 0.5)
    ann = graph.put_user(userPrincipalName=upn("ann"), employeeId="1")
    graph.remove_user(ann)
    graph.losing.append(("POST", "/directory/deletedItems", when))
    [outcome] = apply(target, rejoin("ann", "1"))
    assert (outcome.status, outcome.target_id) == (Status.DONE, ann), outcome.message
    assert (graph.users[ann]["displayName"], len(graph.users)) == ("Ann Lee", 1)


def test_a_name_that_the_next_person_gets_restores_nobody(graph: GraphService, target: KitTarget) -> None:
    """Another number: the deleted account, its mailbox and its memberships belong to somebody else."""
    ann = graph.put_user(userPrincipalName=upn("ann"), employeeId="1")
    graph.remove_user(ann)
    [outcome] = apply(target, rejoin("ann", "2"))
    assert outcome.status is Status.DONE
    assert outcome.target_id != ann
    assert set(graph.deleted) == {ann}
    graph.remove_user(str(outcome.target_id))
    graph.deleted[str(outcome.target_id)]["employeeId"] = "1"
    [outcome] = apply(target, rejoin("ann", "1"))
    assert (outcome.status, outcome.code) == (Status.REJECTED, ErrorCode.CONFLICT)
    assert "2 deleted accounts have its employeeId" in outcome.message


def test_a_job_may_make_a_new_account_instead(graph: GraphService, tmp_path: Path) -> None:
    ann = graph.put_user(userPrincipalName=upn("ann"), employeeId="1")
    graph.remove_user(ann)
    said = EntraTargetSettings.model_validate(settings(graph, restore_deleted=False))
    made = open_target(said, folder=tmp_path, pace=Pace())
    [outcome] = apply(made, rejoin("ann", "1"))
    made.close()
    assert outcome.target_id not in (None, ann)
    assert set(graph.deleted) == {ann}


def test_a_manager_of_somebody_whom_a_replica_does_not_know_yet_is_set(graph: GraphService, target: KitTarget) -> None:
    """A user who was made a moment ago may be unknown to the next request."""
    boss = graph.put_user(userPrincipalName=upn("boss"))
    late = Refusal(404, "Request_ResourceNotFound", "Resource does not exist.")
    graph.refusals += [("PUT /users/.*/manager/.ref", late)] * 2
    [outcome] = apply(target, rejoin("ann", None, manager=boss))
    assert outcome.status is Status.DONE, outcome.message
    assert graph.managers == {outcome.target_id: boss}


def test_what_is_written_is_what_the_makers_client_reads(graph: GraphService, target: KitTarget) -> None:
    """Nasty names, managers, groups, somebody disabled, somebody deleted and back: read by msgraph-sdk alone."""
    named = [f"{one[2]} {one[3]}"[:256] for one in PEOPLE if one[2] and one[3]]
    names = {f"p{number}": name for number, name in enumerate(named)}
    values = {key: {"displayName": name, "mailNickname": key, "employeeId": key} for key, name in names.items()}
    made = apply(target, *(change(Action.CREATE, userPrincipalName=upn(key), **said) for key, said in values.items()))
    assert {one.status for one in made} == {Status.DONE}
    keys = dict(zip(names, (str(one.target_id) for one in made), strict=True))
    *staff, boss, leaver, returner = names
    [group] = apply(target, change(Action.CREATE, kind=Kind.GROUP, displayName="Sales & Co 🚀", uniqueName="sales"))
    done = apply(
        target,
        *(change(Action.UPDATE, keys[one], manager=keys[boss], jobTitle="Clerk") for one in staff),
        change(Action.DISABLE, keys[leaver], accountEnabled=False),
        change(Action.DELETE, keys[returner]),
        change(Action.ADD_MEMBERS, group.target_id, kind=Kind.GROUP, members=[keys[one] for one in (*staff, boss)]),
    )
    done += apply(
        target,
        change(Action.REMOVE_MEMBERS, group.target_id, kind=Kind.GROUP, members=[keys[boss]]),
        replace(rejoin(returner, returner), attributes={"userPrincipalName": upn(returner), **values[returner]}),
    )
    assert {one.status for one in done} == {Status.DONE}, [one.message for one in done]

    async def read() -> TenantState:
        async with sdk_of(graph) as client:
            return await state_of(client)

    found = asyncio.run(read())
    assert found.groups == {"Sales & Co 🚀": {upn(one) for one in staff}}
    assert found.users == {
        upn(key): {
            "displayName": name,
            "accountEnabled": key != leaver,
            "employeeId": key,
            "jobTitle": "Clerk" if key in staff else None,
            "manager": upn(boss) if key in staff else None,
        }
        for key, name in names.items()
    }
