"""The forms in which one and the same change can be sent."""

from typing import Any

import pytest

from connectors.contract import Kind
from connectors.scim.codec import Codec
from connectors.scim.forms import add_members, merged, operations, remove_members, rungs, to_put
from connectors.scim.profile import MemberForm, PatchForm, Truth
from connectors.scim.schema import CORE, ENTERPRISE, STANDARD
from tests.connectors.scim.changes import DEPARTMENT, MANAGER, WORK

CODEC = Codec(STANDARD[Kind.USER])
HOME = {"type": "home", "value": "home@x"}
ENTRY: dict[str, Any] = {
    "schemas": [CORE[Kind.USER]],
    "id": "7",
    "userName": "ann",
    "title": "old",
    "active": True,
    "name": {"givenName": "Ann", "familyName": "Lee"},
    "emails": [HOME, {"type": "work", "value": "old@x", "display": "O"}],
    "groups": [{"value": "g"}],
    "meta": {"version": "1"},
}
CHANGE = {"title": None, "active": False, "name.familyName": "Ray", WORK: "new@x", DEPARTMENT: "Sales", MANAGER: "1"}
BEFORE = {"title": "old", "active": True, "name.familyName": "Lee", WORK: "old@x", DEPARTMENT: None, MANAGER: None}
NAME = {"givenName": "Ann", "familyName": "Ray"}
EMAILS = [HOME, {"type": "work", "value": "new@x", "display": "O"}]


def sent(form: PatchForm, change: dict[str, Any] = CHANGE, before: dict[str, Any] = BEFORE) -> list[dict[str, Any]]:
    return operations(form, CODEC, change, before, entry=ENTRY, exists=lambda _: False, truth=Truth.BOOLEAN)


EXPECTED = {
    PatchForm.PATHS: [
        {"op": "remove", "path": "title"},
        {"op": "replace", "path": "active", "value": False},
        {"op": "replace", "path": "name.familyName", "value": "Ray"},
        {"op": "replace", "path": WORK, "value": "new@x"},
        {"op": "replace", "path": DEPARTMENT, "value": "Sales"},
        {"op": "replace", "path": MANAGER, "value": {"value": "1"}},
    ],
    PatchForm.ENTRA: [
        {"op": "Remove", "path": "title"},
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "Replace", "path": "name.familyName", "value": "Ray"},
        {"op": "Replace", "path": WORK, "value": "new@x"},
        {"op": "Replace", "path": DEPARTMENT, "value": "Sales"},
        {"op": "Replace", "path": MANAGER, "value": {"value": "1"}},
    ],
    PatchForm.ATTRIBUTES: [
        {"op": "replace", "path": "title", "value": None},
        {"op": "replace", "path": "active", "value": False},
        {"op": "replace", "path": "name", "value": NAME},
        {"op": "replace", "path": "emails", "value": EMAILS},
        {"op": "replace", "path": DEPARTMENT, "value": "Sales"},
        {"op": "replace", "path": MANAGER, "value": {"value": "1"}},
    ],
    PatchForm.OBJECT: [
        {
            "op": "replace",
            "value": {
                "title": None,
                "active": False,
                "name": NAME,
                "emails": EMAILS,
                ENTERPRISE: {"department": "Sales", "manager": {"value": "1"}},
            },
        }
    ],
    PatchForm.DOTTED: [
        {
            "op": "replace",
            "value": {"active": False, "name.familyName": "Ray", DEPARTMENT: "Sales", MANAGER: {"value": "1"}},
        },
        {"op": "remove", "path": "title"},
        {"op": "replace", "path": WORK, "value": "new@x"},
    ],
}


@pytest.mark.parametrize("form", EXPECTED)
def test_one_change_in_every_form(form: PatchForm) -> None:
    """Each form says the same; those that send whole attributes keep what else these hold."""
    assert sent(form) == EXPECTED[form]


def test_what_is_cleared_may_be_replaced_by_nothing() -> None:
    """For services that do not know remove."""
    assert sent(PatchForm.BLANK, {"title": None})[0] == {"op": "replace", "path": "title", "value": ""}


def test_a_new_element_is_added() -> None:
    """Entra adds it at its own path; whole lists simply hold it."""
    change, before = {WORK: "new@x"}, {WORK: None}
    assert sent(PatchForm.ENTRA, change, before) == [{"op": "Add", "path": WORK, "value": "new@x"}]
    without = ENTRY | {"emails": [HOME]}
    assert merged(CODEC, without, change, truth=Truth.BOOLEAN)["emails"] == [HOME, {"type": "work", "value": "new@x"}]


def test_the_last_element_leaves_an_empty_list() -> None:
    """An attribute without elements is not there; a PATCH of the whole attribute says so with an empty list."""
    only = ENTRY | {"emails": [{"type": "work", "value": "old@x"}]}
    assert "emails" not in merged(CODEC, only, {WORK: None}, truth=Truth.BOOLEAN)
    found = operations(
        PatchForm.ATTRIBUTES, CODEC, {WORK: None}, {}, entry=only, exists=lambda _: True, truth=Truth.BOOLEAN
    )
    assert found == [{"op": "replace", "path": "emails", "value": []}]


def test_a_whole_entry_goes_back_without_what_the_service_works_out() -> None:
    """Read, change, write: meta and read-only attributes stay behind, an extension that is new is named."""
    whole = merged(CODEC, ENTRY, CHANGE, truth=Truth.TEXT)
    put = to_put(PatchForm.PUT, CODEC, whole, CHANGE)
    assert put == {
        "schemas": [CORE[Kind.USER], ENTERPRISE],
        "id": "7",
        "userName": "ann",
        "active": "False",
        "name": NAME,
        "emails": EMAILS,
        ENTERPRISE: {"department": "Sales", "manager": {"value": "1"}},
    }
    assert to_put(PatchForm.PUT_NULLS, CODEC, whole, CHANGE) == put | {"title": None}
    assert ENTRY["title"] == "old", "what was read is not changed"


def test_names_are_found_in_any_case() -> None:
    """A service may spell attributes in its own way; they are not written a second time beside it."""
    odd = {"UserName": "ann", "Name": {"familyName": "Lee"}}
    whole = merged(CODEC, odd, {"userName": "bob", "name.familyName": "Ray"}, truth=Truth.BOOLEAN)
    assert whole == {"UserName": "bob", "Name": {"familyName": "Ray"}}


def test_every_form_is_a_rung() -> None:
    """The profile's form comes first, each of the others once."""
    for form in PatchForm:
        assert rungs(form)[0] is form
        assert sorted(rungs(form)) == sorted(PatchForm)


def test_members_in_every_form() -> None:
    """One add for all; one remove for each by filter, or by value, or what is to be left; ids are escaped."""
    add = {"op": "add", "path": "members", "value": [{"value": "1"}, {"value": "2"}]}
    assert add_members(MemberForm.PATHS, ["1", "2"], []) == [add]
    assert add_members(MemberForm.VALUES, ["1", "2"], []) == [add | {"op": "Add"}]
    assert add_members(MemberForm.REPLACE, ["2"], ["1", "2"]) == [add | {"op": "replace"}]
    assert remove_members(MemberForm.PATHS, ["1", 'a"b\\'], []) == [
        {"op": "remove", "path": 'members[value eq "1"]'},
        {"op": "remove", "path": 'members[value eq "a\\"b\\\\"]'},
    ]
    assert remove_members(MemberForm.VALUES, ["1"], []) == [
        {"op": "Remove", "path": "members", "value": [{"value": "1"}]}
    ]
    assert remove_members(MemberForm.REPLACE, ["1", "3"], ["1", "2"]) == [
        {"op": "replace", "path": "members", "value": [{"value": "2"}]}
    ]
