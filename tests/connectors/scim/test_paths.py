"""The path codec: what is written is read back, and nothing else is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.scim.paths import Path, PathError, decode, encode, extension_urns, parse_path, respelled

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

TEXTS = [
    "userName",
    "name.givenName",
    'emails[type eq "work"].value',
    'emails[type eq "home" and primary eq true].value',
    "roles[primary eq true].value",
    'addresses[type eq "work"].streetAddress',
    'addresses[type eq "work"].postalCode',
    'ims[type eq "a \\"b\\" \\\\ ] and"].value',
    f"{ENTERPRISE}:department",
    f"{ENTERPRISE}:manager.value",
    'urn:example:custom.name:2.0:User:phones[kind eq "x:y"].value',
    "nickName",
]


@pytest.mark.parametrize("text", TEXTS)
def test_canonical_spelling_is_kept(text: str) -> None:
    """A path in canonical spelling goes to the wire as it was written."""
    assert parse_path(text).text == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ('roles[primary eq "True"].value', "roles[primary eq true].value"),
        ('emails[ type EQ "work" AND primary eq TRUE ].value', 'emails[type eq "work" and primary eq true].value'),
        ("urn:ietf:params:scim:schemas:core:2.0:User:userName", "userName"),
    ],
)
def test_other_spellings_become_canonical(text: str, canonical: str) -> None:
    """Microsoft's notation and other letter case mean the same path."""
    assert parse_path(text).text == canonical


@pytest.mark.parametrize(
    "text",
    ["", "user name", "emails[type eq work].value", 'emails[type ne "x"].value', "a.b.c", "emails[]", "foo:bar",
     'emails[type eq "a" or type eq "b"].value', 'emails[type eq "work"', "emails[type eq]"],
)  # fmt: skip
def test_what_is_no_path_is_refused(text: str) -> None:
    """A path that cannot be both read and written is an error, never a guess."""
    with pytest.raises(PathError):
        parse_path(text)


def test_urn_with_dots_and_colons() -> None:
    """The attribute begins after the last colon before any filter, whatever the URN and the filter hold."""
    assert parse_path('urn:example:custom.name:2.0:User:phones[kind eq "x:y"].value') == Path(
        "urn:example:custom.name:2.0:User", "phones", parse_path('phones[kind eq "x:y"]').clauses, "value"
    )


SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.text(st.sampled_from("aZ0 \"\\'[]=.:%+é😀\u202e\n"), min_size=1), st.booleans(), st.integers()
)


@given(st.dictionaries(st.sampled_from(TEXTS), SCALARS, max_size=len(TEXTS)))
def test_decode_gives_what_encode_took(attributes: dict[str, Any]) -> None:
    """decode(encode(x)) == x for any values at any set of distinct places."""
    assert decode(encode(attributes), attributes) == attributes


def test_paths_with_the_same_filter_share_an_element() -> None:
    """Two parts of one address are one element, and the filter's clauses are part of it."""
    entry = encode({'addresses[type eq "work"].streetAddress': "Main St", 'addresses[type eq "work"].postalCode': "1"})
    assert entry == {"addresses": [{"type": "work", "streetAddress": "Main St", "postalCode": "1"}]}


def test_nothing_is_invented() -> None:
    """Null leaves no trace, and an e-mail address is primary only where the mapping says so."""
    assert encode({"title": None, 'emails[type eq "work"].value': "a@b", "name.givenName": None}) == {
        "emails": [{"type": "work", "value": "a@b"}]
    }


@pytest.mark.parametrize(
    ("emails", "value"),
    [
        ([{"type": "Work", "value": "a"}], "a"),
        ([{"type": "home", "value": "h"}, {"type": "work", "value": "a"}], "a"),
        ([{"value": "untyped"}], None),
        ([{"type": "work"}], None),
        ([], None),
        (None, None),
        ("a@b", None),
        ([None, "x", {"type": "work", "value": "a"}], "a"),
    ],
)
def test_reading_an_element_survives_what_services_send(emails: Any, value: Any) -> None:
    """Filters compare without case, and odd shapes read as null instead of ending the read."""
    assert decode({"emails": emails}, ['emails[type eq "work"].value']) == {'emails[type eq "work"].value': value}


def test_primary_may_be_text_or_absent() -> None:
    """primary "True" is true, and an absent primary is false (RFC 7643 section 2.4)."""
    entry = {"roles": [{"value": "plain"}, {"value": "chief", "primary": "True"}]}
    assert list(decode(entry, ["roles[primary eq true].value", "roles[primary eq false].value"]).values()) == [
        "chief",
        "plain",
    ]


def test_lists_without_filter() -> None:
    """A sub-attribute of a whole list reads as the list of its values; an empty list is null (RFC 7643 section 2.5)."""
    entry = {"emails": [{"value": "a"}, {"value": "b"}], "roles": []}
    assert decode(entry, ["emails.value", "emails", "roles"]) == {
        "emails.value": ["a", "b"],
        "emails": entry["emails"],
        "roles": None,
    }


def test_attribute_names_are_case_insensitive() -> None:
    """A service that spells names its own way is still read (RFC 7643 section 2.1)."""
    page = [{"username": "a", ENTERPRISE.upper(): {"Department": "Sales"}}]
    assert respelled(parse_path("userName"), page) == Path("", "username")
    assert respelled(parse_path(f"{ENTERPRISE}:department"), page) == Path(ENTERPRISE.upper(), "Department")
    assert respelled(parse_path("userName"), [{"userName": None}]) is None
    assert respelled(parse_path("title"), page) is None


def test_extensions_are_named_once() -> None:
    """Each extension that is used is listed once, in order of appearance."""
    paths = [
        parse_path(text) for text in (f"{ENTERPRISE}:department", "userName", "urn:x:y:a", f"{ENTERPRISE}:manager")
    ]
    assert extension_urns(paths) == [ENTERPRISE, "urn:x:y"]
