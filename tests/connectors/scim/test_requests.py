"""Messages to a service, compared as the data that goes over the wire."""

from typing import Any

import orjson
import pytest

from connectors.contract import Kind
from connectors.errors import InvalidValueError
from connectors.scim.codec import Codec
from connectors.scim.paths import parse_path
from connectors.scim.requests import (
    PATCH_SCHEMA,
    dump,
    entry_address,
    equals,
    equals_dotted,
    patch,
    patch_operations,
    repeatable,
    uncertain_elements,
)
from connectors.scim.schema import CORE, ENTERPRISE, STANDARD

CODEC = Codec(STANDARD[Kind.USER])
WORK = 'emails[type eq "work"].value'
STREET = 'addresses[type eq "work"].streetAddress'
MANAGER = f"{ENTERPRISE}:manager"


def operations(attributes: dict[str, Any], before: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return patch_operations(CODEC, attributes, before or {})


def test_create_names_the_extensions_it_uses() -> None:
    """schemas lists the core schema and every extension present, and no other (RFC 7643 section 3.1)."""
    entry = CODEC.entry({"userName": "a", f"{ENTERPRISE}:department": "Sales", "title": None, "urn:x:y:z": None})
    assert entry == {
        "schemas": [CORE[Kind.USER], ENTERPRISE],
        "userName": "a",
        ENTERPRISE: {"department": "Sales"},
    }


def test_the_manager_is_wrapped() -> None:
    """The bare manager path takes an id and writes the complex value."""
    assert CODEC.entry({MANAGER: "42"})[ENTERPRISE] == {"manager": {"value": "42"}}
    assert operations({MANAGER: "42"}) == [{"op": "replace", "path": MANAGER, "value": {"value": "42"}}]


@pytest.mark.parametrize(("given", "sent"), [("True", True), ("false", False), (True, True), ("maybe", "maybe")])
def test_booleans_are_booleans(given: Any, sent: Any) -> None:
    """A mapping may give text; the wire has the boolean that the schema asks for, and other text as it is."""
    assert CODEC.entry({"active": given})["active"] is sent
    assert operations({"active": given}) == [{"op": "replace", "path": "active", "value": sent}]


def test_one_operation_for_each_attribute() -> None:
    """Every operation has its path; null removes."""
    assert operations({"title": "Boss", "name.givenName": None, f"{ENTERPRISE}:department": "Sales"}) == [
        {"op": "replace", "path": "title", "value": "Boss"},
        {"op": "remove", "path": "name.givenName"},
        {"op": "replace", "path": f"{ENTERPRISE}:department", "value": "Sales"},
    ]


def test_an_element_that_exists_is_replaced() -> None:
    """What was there before is changed in its place."""
    assert operations({WORK: "new"}, {WORK: "old"}) == [{"op": "replace", "path": WORK, "value": "new"}]


def test_an_element_that_is_missing_is_added_whole() -> None:
    """replace on a filter that matches nothing is an error (RFC 7644 section 3.5.2.3), so one add makes the element."""
    home = 'addresses[type eq "home"].locality'
    assert operations({WORK: "new", STREET: "Main St", home: "Rome", 'addresses[type eq "work"].region': "X"}) == [
        {"op": "add", "path": "emails", "value": [{"type": "work", "value": "new"}]},
        {"op": "add", "path": "addresses", "value": [{"type": "work", "streetAddress": "Main St", "region": "X"}]},
        {"op": "add", "path": "addresses", "value": [{"type": "home", "locality": "Rome"}]},
    ]


def test_one_value_before_shows_that_the_element_exists() -> None:
    """The street was there, so the postal code goes into the same element."""
    code = 'addresses[type eq "work"].postalCode'
    assert operations({STREET: "New St", code: "12345"}, {STREET: "Main St", code: None}) == [
        {"op": "replace", "path": STREET, "value": "New St"},
        {"op": "replace", "path": code, "value": "12345"},
    ]


def test_an_element_nobody_knows_about_is_asked_for() -> None:
    """A missing postal code does not say that there is no address; a missing value says that there is no e-mail."""
    code = 'addresses[type eq "work"].postalCode'
    assert uncertain_elements({code: "1", WORK: "x"}, {code: None, WORK: None}) == [parse_path(code)]
    assert uncertain_elements({code: "1", STREET: "x"}, {STREET: "y"}) == []
    assert uncertain_elements({code: None}, {code: "1"}) == []
    existing = patch_operations(CODEC, {code: "1"}, {}, exists=lambda _: True)
    assert existing == [{"op": "replace", "path": code, "value": "1"}]


def test_clearing_a_value_clears_what_is_nothing_without_it() -> None:
    """An e-mail without its value, or a manager without its id, is removed as a whole; an address loses one part."""
    assert operations(dict.fromkeys((WORK, STREET, MANAGER, f"{MANAGER}.value")), {}) == [
        {"op": "remove", "path": 'emails[type eq "work"]'},
        {"op": "remove", "path": STREET},
        {"op": "remove", "path": MANAGER},
        {"op": "remove", "path": MANAGER},
    ]


def test_whole_lists_are_replaced() -> None:
    """A path without filter means all of it."""
    emails = [{"value": "a", "type": "work"}]
    assert operations({"emails": emails, "roles.value": ["x", "y"], "photos": None}) == [
        {"op": "replace", "path": "emails", "value": emails},
        {"op": "replace", "path": "roles", "value": [{"value": "x"}, {"value": "y"}]},
        {"op": "remove", "path": "photos"},
    ]


def test_adding_is_not_repeatable() -> None:
    """A second add may append a second time; replace and remove may be sent again."""
    assert repeatable(operations({"title": "x", "nickName": None}))
    assert not repeatable(operations({WORK: "x"}))


def test_patch_message() -> None:
    """The envelope is the one the standard names."""
    assert orjson.loads(patch([{"op": "remove", "path": "title"}])) == {
        "schemas": [PATCH_SCHEMA],
        "Operations": [{"op": "remove", "path": "title"}],
    }


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("userName", 'O\'B "x" \\ é😀', 'userName eq "O\'B \\"x\\" \\\\ é😀"'),
        (WORK, "a@b", 'emails[type eq "work" and value eq "a@b"]'),
        (f"{ENTERPRISE}:employeeNumber", "007", f'{ENTERPRISE}:employeeNumber eq "007"'),
    ],
)
def test_filters_escape_their_values(path: str, value: str, expected: str) -> None:
    """No value can end the filter's text and say something of its own."""
    assert equals(parse_path(path), value) == expected


def test_dotted_filter() -> None:
    """The simple form for services without value paths."""
    assert equals_dotted(parse_path(WORK), "a@b") == 'emails.value eq "a@b"'


@pytest.mark.parametrize(
    ("entry_id", "address"), [("a/b?c", "/Users/a%2Fb%3Fc"), ("jo+e@x y", "/Users/jo%2Be%40x%20y")]
)
def test_ids_are_quoted(entry_id: str, address: str) -> None:
    """An id is one step of the address, whatever it holds."""
    assert entry_address("/Users", entry_id) == address


@pytest.mark.parametrize("entry_id", ["", ".", ".."])
def test_ids_that_lead_elsewhere_are_refused(entry_id: str) -> None:
    """DELETE /Users/.. must never be sent."""
    with pytest.raises(InvalidValueError):
        entry_address("/Users", entry_id)


def test_text_that_is_no_unicode_is_this_entrys_problem() -> None:
    """Half a surrogate pair cannot be written; the entry is rejected, the run goes on."""
    with pytest.raises(InvalidValueError, match="surrogate"):
        dump({"userName": "\ud800"})
