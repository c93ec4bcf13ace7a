"""What is written here by hand of the standard, held against a library that models it.

The library is not used to read what services answer: it refuses a schema document for one attribute of a type that the
standard does not have, and an error for one key too many, where most of it can still be understood.
"""

from dataclasses import asdict
from typing import Any

import orjson
import pytest
from scim2_models import EnterpriseUser, Group, ListResponse, PatchOp, Resource, SearchRequest, User

from connectors.contract import Kind, Reach, Sameness, Write
from connectors.scim.codec import Codec
from connectors.scim.forms import add_members, operations, remove_members
from connectors.scim.listing import page_of
from connectors.scim.paths import decode
from connectors.scim.profile import MemberForm, PatchForm, Truth
from connectors.scim.requests import patch, search_request
from connectors.scim.schema import CORE, ENTERPRISE, STANDARD, discovered
from tests.connectors.scim.changes import DEPARTMENT, MANAGER, WORK

MODELS: dict[Kind, type[Resource[Any]]] = {Kind.USER: User[EnterpriseUser], Kind.GROUP: Group}
USER = {
    "userName": "ann+1@example.com",
    "active": True,
    "name.givenName": "Ann \\ O'Lee",
    "name.familyName": "Lee 🚀",
    WORK: "ann+work@example.com",
    'phoneNumbers[type eq "mobile"].value': "+49 1",
    DEPARTMENT: "R+D 100%",
    MANAGER: "7",
}

DIFFERENT = {
    # a service that does not serve its schema has not promised to refuse a second user of the same name
    "userName": {"unique": Reach.SYSTEM},
    "password": {"same": Sameness.EXACT},
    "groups.value": {"same": Sameness.EXACT},
    "groups.type": {"values": ("direct", "indirect")},
    # recommended in RFC 7643 section 4.3; whoever has no manager has none
    f"{ENTERPRISE}:manager.value": {"required": True},
    f"{ENTERPRISE}:manager.$ref": {"required": True},
    # section 4.2 does not let clients write it
    "members.display": {"write": Write.ALWAYS},
}
"""Characteristics that the library gives otherwise than we do."""


@pytest.mark.parametrize("kind", Kind)
def test_the_standards_schemas(kind: Kind) -> None:
    """Every attribute of RFC 7643 is there with its characteristics; where we deviate, it is on purpose."""
    models: list[type[Any]] = [User, EnterpriseUser] if kind is Kind.USER else [Group]
    documents = [model.to_schema().model_dump(mode="json", by_alias=True) for model in models]
    modelled = discovered(kind, documents, [ENTERPRISE])
    assert modelled is not None
    ours = STANDARD[kind].attributes
    assert set(ours) == set(modelled.attributes)
    found = {
        path: {name: value for name, value in asdict(modelled.attributes[path]).items() if value != asdict(info)[name]}
        for path, info in ours.items()
    }
    assert {path: differences for path, differences in found.items() if differences} == {
        path: differences for path, differences in DIFFERENT.items() if path in ours
    }


def test_what_is_created() -> None:
    """A user as it is sent is one, and the library finds in it what was to be said."""
    sent = Codec(STANDARD[Kind.USER]).entry(USER)
    understood = MODELS[Kind.USER].model_validate(sent)
    assert decode(understood.model_dump(mode="json", by_alias=True, exclude_none=True), USER) == {
        **USER,
        MANAGER: {"value": "7"},
    }


@pytest.mark.parametrize("form", [PatchForm.PATHS, PatchForm.CAPITALS, PatchForm.ATTRIBUTES, PatchForm.OBJECT])
def test_changes_of_a_user(form: PatchForm) -> None:
    """Applied by the library, a change in each of these forms makes the user what it is to be."""
    codec = Codec(STANDARD[Kind.USER])
    before = {**dict.fromkeys(USER), "userName": "ann", WORK: "old@example.com", "name.givenName": "A"}
    entry = codec.entry(before) | {"id": "1"}
    sent = operations(form, codec, USER, before, entry=entry, exists=lambda _: False, truth=Truth.BOOLEAN)
    user = MODELS[Kind.USER].model_validate(entry)
    PatchOp[MODELS[Kind.USER]].model_validate_json(patch(sent)).patch(user)  # type: ignore[misc]
    assert not codec.differing(user.model_dump(mode="json", by_alias=True, exclude_none=True), USER)


def test_changes_of_members() -> None:
    """Applied by the library, members come and go, whatever their ids look like."""
    ids = ["1", 'a"b', "a\\b", "a b+c%d@e"]
    group = Group.model_validate({"schemas": [CORE[Kind.GROUP]], "displayName": "G", "members": [{"value": "other"}]})
    PatchOp[Group].model_validate_json(patch(add_members(MemberForm.PATHS, ids, []))).patch(group)
    assert [member.value for member in group.members or ()] == ["other", *ids]
    PatchOp[Group].model_validate_json(patch(remove_members(MemberForm.PATHS, ids, []))).patch(group)
    assert [member.value for member in group.members or ()] == ["other"]


def test_searches() -> None:
    """A search by POST is one."""
    understood = SearchRequest.model_validate(
        search_request({"startIndex": 3, "count": 2, "filter": 'userName eq "a"'})
    )
    assert (understood.start_index, understood.count, understood.filter) == (3, 2, 'userName eq "a"')


def test_lists() -> None:
    """What the library sends as a list is read as one."""
    users = [User(id=str(number), user_name=f"u{number}") for number in range(2)]
    sent = ListResponse[User](total_results=5, start_index=1, items_per_page=2, resources=users)
    page = page_of(orjson.loads(sent.model_dump_json(by_alias=True, exclude_none=True)), what="users")
    assert (page.total, page.ids) == (5, ["0", "1"])
