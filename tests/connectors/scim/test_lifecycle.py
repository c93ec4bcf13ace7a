"""Everything a target does, on the service of our own and on an independent one."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from connectors.contract import Action, Form, Kind, Status, Target, Wanted
from connectors.errors import ErrorCode
from connectors.scim.connector import ScimTarget
from tests.connectors.scim.changes import (
    DEPARTMENT,
    MANAGER,
    WORK,
    act,
    apply,
    apply_one,
    create,
    create_group,
    person,
    update,
)
from tests.connectors.scim.conftest import Opener
from tests.servers.scim_service import ScimService
from tests.servers.starting import scim2_server

PHONE = 'phoneNumbers[type eq "work"].value'
WANTED = Wanted(
    ("userName", "externalId", "active", "displayName", "name.givenName", "name.familyName", WORK, PHONE, DEPARTMENT,
     MANAGER, "title"),
    ("displayName", "externalId"),
)  # fmt: skip


@pytest.fixture(scope="module")
def independent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with scim2_server(logs=Path(tmp_path_factory.mktemp("scim2"))) as server:
        yield server.url


@pytest.fixture(params=["own service", "scim2-server"])
def any_target(request: pytest.FixtureRequest, service: ScimService, open_target: Opener) -> ScimTarget:
    if request.param == "own service":
        return open_target(service.url)
    target = open_target(request.getfixturevalue("independent"))
    users = target.read(Wanted((), ()))
    apply(target, *(act(Action.DELETE, user) for user in users.users.index))
    apply(target, *(act(Action.DELETE, group, kind=Kind.GROUP) for group in users.groups.index))
    return target


def test_check_and_what_it_can_do(any_target: ScimTarget) -> None:
    """A service that works is called one, and is a target by the contract."""
    assert isinstance(any_target, Target)
    assert "answers as a SCIM 2.0 service" in any_target.check()
    assert "ignores" not in any_target.check()
    traits = any_target.traits()
    assert traits.groups
    assert traits.switch == "active"
    infos = any_target.attributes(Kind.USER)
    assert infos is not None
    assert not infos["userName"].exact
    assert infos["active"].form is Form.BOOLEAN
    assert infos[WORK].form is Form.TEXT


def test_what_is_created_is_what_is_read(any_target: ScimTarget) -> None:
    """Every value of a create comes back from a read, in the types of the contract."""
    outcome = apply_one(any_target, create("ann"))
    assert outcome.status is Status.DONE
    assert outcome.attempts == 1
    snapshot = any_target.read(WANTED)
    assert snapshot.complete, snapshot.incomplete
    assert list(snapshot.users.index) == [outcome.target_id]
    assert snapshot.users.index.name == "key"
    row = snapshot.users.loc[outcome.target_id]
    assert row.dropna().to_dict() == person("ann")
    types = {path: str(dtype) for path, dtype in snapshot.users.dtypes.items()}
    assert types == {path: "boolean" if path == "active" else "str" for path in WANTED.users}


def test_update_clear_manager_and_new_element(any_target: ScimTarget) -> None:
    """Set, clear, reference, first and changed element of a list: the read shows it. Later on it is one PATCH each."""
    ids = {name: apply_one(any_target, create(name)).target_id or "" for name in ("ann", "bob", "eve")}
    changes = (
        update(ids["ann"], {MANAGER: ids["bob"], "title": "Boss", PHONE: "+49 1"}),
        update(ids["bob"], {WORK: "new@example.com", "name.givenName": None}, {WORK: "bob@example.com"}),
        update(ids["eve"], {WORK: None, DEPARTMENT: "Legal"}, {WORK: "eve@example.com"}),
    )
    outcomes = apply(any_target, *changes)
    assert {outcome.status for outcome in outcomes.values()} == {Status.DONE}, outcomes
    outcomes = apply(any_target, *changes)
    assert [outcome.attempts for outcome in outcomes.values()] == [1, 1, 1]
    users = any_target.read(WANTED).users
    assert users.loc[ids["ann"], [MANAGER, "title", PHONE]].to_list() == [ids["bob"], "Boss", "+49 1"]
    assert users.loc[ids["bob"], WORK] == "new@example.com"
    assert users.loc[ids["bob"]].isna()["name.givenName"]
    assert users.loc[ids["bob"], "name.familyName"] == "O'Brien 😀"
    assert users.loc[ids["eve"]].isna()[WORK]
    assert users.loc[ids["eve"], DEPARTMENT] == "Legal"
    cleared = apply_one(any_target, update(ids["ann"], {MANAGER: None}, {MANAGER: ids["bob"]}))
    assert cleared.status is Status.DONE
    assert any_target.read(WANTED).users.loc[ids["ann"]].isna()[MANAGER]


def test_disable_enable_delete(any_target: ScimTarget) -> None:
    """A leaver is switched off, comes back, and goes; deleting who is gone is done."""
    user = apply_one(any_target, create("ann")).target_id or ""
    for action, active in ((Action.DISABLE, False), (Action.ENABLE, True), (Action.DISABLE, False)):
        assert apply_one(any_target, act(action, user)).status is Status.DONE
        assert bool(any_target.read(WANTED).users.loc[user, "active"]) is active
    for _ in range(2):
        assert apply_one(any_target, act(Action.DELETE, user)).status is Status.DONE
    assert len(any_target.read(WANTED).users) == 0


def test_groups_and_members(any_target: ScimTarget) -> None:
    """Members, nested groups too, are edges; adding and removing twice changes nothing more."""
    ids = {name: apply_one(any_target, create(name)).target_id or "" for name in ("ann", "bob", "eve")}
    sales, all_staff = (apply_one(any_target, create_group(name)).target_id or "" for name in ("Sales", "All"))
    people = (ids["ann"], ids["bob"], ids["eve"])

    def edges() -> set[tuple[str, str]]:
        snapshot = any_target.read(WANTED)
        assert snapshot.complete, snapshot.incomplete
        assert list(snapshot.members.columns) == ["group", "member"]
        return set(snapshot.members.itertuples(index=False, name=None))

    assert edges() == set()
    for _ in range(2):
        outcome = apply_one(any_target, act(Action.ADD_MEMBERS, sales, kind=Kind.GROUP, members=people))
        assert outcome.status is Status.DONE, outcome
    apply_one(any_target, act(Action.ADD_MEMBERS, all_staff, kind=Kind.GROUP, members=(sales,)))
    assert edges() == {(sales, member) for member in people} | {(all_staff, sales)}
    removal = act(Action.REMOVE_MEMBERS, sales, kind=Kind.GROUP, members=people[:2])
    assert apply_one(any_target, removal).status is Status.DONE
    assert edges() == {(sales, ids["eve"]), (all_staff, sales)}
    assert apply_one(any_target, update(sales, {"displayName": "Sellers"}, kind=Kind.GROUP)).status is Status.DONE
    assert any_target.read(WANTED).groups.loc[sales, "displayName"] == "Sellers"


def test_refusals_are_said_to_the_person(any_target: ScimTarget) -> None:
    """Taken name and vanished entry are told apart, with the next step and without anybody's name."""
    apply_one(any_target, create("ann"))
    taken = apply_one(any_target, create("ann"))
    assert (taken.status, taken.code) == (Status.REJECTED, ErrorCode.CONFLICT)
    assert "userName" in taken.message
    assert "matching rule" in taken.message
    assert "ann" not in taken.message.lower().replace("cannot", "")
    gone = apply_one(any_target, update("nobody", {"title": "x"}))
    assert (gone.status, gone.code) == (Status.REJECTED, ErrorCode.INVALID_ANCHOR)
    assert len(any_target.read(WANTED).users) == 1


def test_find(any_target: ScimTarget) -> None:
    """Each asked value is found as the service compares, and nobody else; odd values are only values."""
    apply(any_target, create("ann"), create("bob"), create_group("Sales"))
    odd = "no'\"\\body +%&# é😀"
    found = any_target.find(Kind.USER, "userName", ["ANN@example.com", odd, "zoe@example.com"], WANTED)
    assert found["userName"].to_list() == ["ann@example.com"]
    assert set(found.columns) == set(WANTED.users)
    assert list(any_target.find(Kind.USER, WORK, ["bob@example.com"], WANTED)["displayName"]) == ["bob"]
    assert list(any_target.find(Kind.GROUP, "displayName", ["sales"], WANTED)["displayName"]) == ["Sales"]
    assert any_target.find(Kind.USER, "externalId", [odd], WANTED).empty


def test_fetch(any_target: ScimTarget) -> None:
    """One entry looked at by its id is as the listing shows it, a group with its members; who is gone is left out."""
    ids = {label: apply_one(any_target, create(label)).target_id for label in ("ann", "bob")}
    sales = apply_one(any_target, create_group("Sales")).target_id
    apply_one(any_target, act(Action.ADD_MEMBERS, sales, kind=Kind.GROUP, members=(ids["ann"], ids["bob"])))
    listed = any_target.read(WANTED)
    users = any_target.fetch(Kind.USER, [ids["bob"], "nobody/?#", ids["bob"]], WANTED)
    pd.testing.assert_frame_equal(users.users, listed.users.loc[[ids["bob"]]], check_dtype=False)
    groups = any_target.fetch(Kind.GROUP, [sales], WANTED)
    pd.testing.assert_frame_equal(groups.groups, listed.groups, check_dtype=False)
    assert set(groups.members["member"]) == {ids["ann"], ids["bob"]}
    assert users.complete
    assert len(any_target.fetch(Kind.USER, [], WANTED).users) == 0


def test_paging(any_target: ScimTarget, open_target: Opener, service: ScimService) -> None:
    """Many pages give what one page gives, with progress from the calling thread."""
    apply(any_target, *(create(f"u{number}") for number in range(23)))
    url = any_target.read(Wanted(())).system.removeprefix("scim ")
    seen: list[int] = []
    snapshot = open_target(url, page_size=5).read(WANTED, progress=seen.append)
    assert snapshot.complete, snapshot.incomplete
    assert sorted(snapshot.users["displayName"]) == sorted(f"u{number}" for number in range(23))
    assert seen[:5] == [5, 10, 15, 20, 23]
