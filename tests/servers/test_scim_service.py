"""The test service reads filters and PATCH paths as the standard says, and never fails on nonsense."""

import json
import os
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.scim_service import ScimService
from tests.servers.scim_service.attributes import ENTERPRISE, GROUP, USER, USER_TYPE
from tests.servers.scim_service.filters import FilterError, parse_filter

PEOPLE: list[dict[str, Any]] = [
    {
        "userName": "Ada@example.com",
        "externalId": "E1",
        "active": True,
        "name": {"familyName": "O'Brien", "givenName": "Ada"},
        "emails": [
            {"type": "work", "value": "ada@example.com", "primary": True},
            {"type": "home", "value": "ada@home.example"},
        ],
        ENTERPRISE: {"department": "Sales", "manager": {"value": "m1"}},
    },
    {
        "userName": "bob",
        "externalId": "e1",
        "active": False,
        "title": 'Head of "R&D" \\ Labs',
        "emails": [{"type": "home", "value": "bob@example.com"}],
        "meta": {"created": "ignored"},
    },
    {"userName": "ćiro", "displayName": "None", "urn:example:custom": {"shoeSize": 44}, "badge": "0012"},
]

FILTERS = [
    ('userName eq "ADA@EXAMPLE.COM"', "Ada@example.com"),
    ('USERNAME EQ "bob"', "bob"),
    ('externalId eq "E1"', "Ada@example.com"),
    ('userName ne "bob"', "Ada@example.com ćiro"),
    ('userName co "EXAMPLE"', "Ada@example.com"),
    ('userName sw "ć" or userName ew "OB"', "bob ćiro"),
    ("active eq true", "Ada@example.com"),
    ("active eq False", "bob"),
    ("title pr", "bob"),
    ("not (title pr) and not (active eq true)", "ćiro"),
    ('name.familyName eq "o\'brien"', "Ada@example.com"),
    ('title eq "head of \\"R&D\\" \\\\ labs"', "bob"),
    ('emails.value eq "bob@example.com"', "bob"),
    ('emails eq "ada@home.example"', "Ada@example.com"),
    ('emails.type eq "work" and emails.value ew "@home.example"', "Ada@example.com"),
    ('emails[type eq "work" and value ew "@home.example"]', ""),
    ('emails[type eq "home" and value co "@example.com"]', "bob"),
    ('emails[type eq "work"].value eq "ada@example.com"', "Ada@example.com"),
    ('emails[not (type eq "work")]', "Ada@example.com bob"),
    (f'{ENTERPRISE}:department eq "sales"', "Ada@example.com"),
    (f'{ENTERPRISE}:manager.value eq "m1"', "Ada@example.com"),
    (f'{ENTERPRISE}:manager eq "m1"', "Ada@example.com"),
    (f'{USER}:userName eq "bob"', "bob"),
    ("urn:example:custom:shoeSize gt 43", "ćiro"),
    ("urn:example:custom:shoeSize le 43", ""),
    ('badge eq "0012"', "ćiro"),
    ('displayName eq "None"', "ćiro"),
    ("title eq null", "Ada@example.com ćiro"),
    ('userName gt "b" and userName lt "c"', "bob"),
    ('meta.created gt "2000-01-01T00:00:00Z"', "Ada@example.com bob ćiro"),
    ('userName eq "bob" or userName eq "ćiro" and active eq true', "bob"),
    ('(userName eq "bob" or userName eq "ćiro") and active eq false', "bob"),
    ('userName eq "nobody"', ""),
    ('emails.value eq "ada@example.com" and active eq true and title pr', ""),
]

NO_FILTERS = [
    "",
    "userName",
    "userName eq",
    "userName eq bob",
    'userName is "bob"',
    'userName eq "bob',
    'userName eq "bob" and',
    '(userName eq "bob"',
    'userName eq "bob")',
    'emails[type eq "work"',
    'eq "bob"',
    'user name eq "bob"',
    'userName eq "bob" title pr',
]


@pytest.fixture(scope="module")
def service():
    with ScimService(token="t") as running:
        running.seed(users=PEOPLE)
        yield running


@pytest.fixture(scope="module")
def http(service):
    with httpx.Client(base_url=service.url, headers={"Authorization": "Bearer t"}, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(("text", "names"), FILTERS)
def test_a_filter_finds_whom_it_describes(text, names, http):
    """Every operator and notation finds exactly those it should, in order of creation."""
    found = http.get("/Users", params={"filter": text}).json()["Resources"]
    assert [user["userName"] for user in found] == names.split()


@pytest.mark.parametrize("text", NO_FILTERS)
def test_what_is_not_a_filter_is_refused(text, http):
    """A filter that cannot be read is a 400 with scimType invalidFilter, never a list of everybody."""
    response = http.get("/Users", params={"filter": text})
    assert (response.status_code, response.json()["scimType"]) == (400, "invalidFilter")


@given(
    st.lists(
        st.sampled_from(
            ["userName", "eq", "pr", '"a"', "(", ")", "[", "]", "not", "and", "or", ".value", "emails", "x:"]
        )
    ).map(" ".join)
    | st.text()
)
@settings(max_examples=300 if os.environ.get("PROVISOR_LONG") else 60, deadline=None)
def test_any_text_is_a_filter_or_is_refused(text):
    """Reading a filter gives one or a FilterError, and one that was read can be tested against anybody."""
    try:
        condition = parse_filter(text, USER_TYPE)
    except FilterError:
        return
    for person in PEOPLE:
        assert condition.test(person) in {True, False}


WORK_AND_HOME = [{"type": "work", "value": "w", "primary": True}, {"type": "home", "value": "h"}]
BEFORE = {"title": "t", "name": {"givenName": "G", "familyName": "F"}, "emails": WORK_AND_HOME}

PATCHES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"op": "Replace", "path": "title", "value": "u"}, {"title": "u"}),
    ({"op": "add", "path": "nickName", "value": "N"}, {"nickName": "N"}),
    ({"op": "remove", "path": "title"}, {"title": None}),
    ({"op": "replace", "path": "title", "value": None}, {"title": None}),
    ({"op": "replace", "path": "TITLE", "value": "u"}, {"title": "u"}),
    ({"op": "replace", "path": "name.familyName", "value": "X"}, {"name": {"givenName": "G", "familyName": "X"}}),
    ({"op": "remove", "path": "name.familyName"}, {"name": {"givenName": "G"}}),
    ({"op": "replace", "path": "name", "value": {"familyName": "X"}}, {"name": {"givenName": "G", "familyName": "X"}}),
    (
        {"op": "replace", "value": {"title": "u", "name.givenName": "X"}},
        {"title": "u", "name": {"givenName": "X", "familyName": "F"}},
    ),
    ({"op": "add", "value": {f"{ENTERPRISE}:department": "D"}}, {ENTERPRISE: {"department": "D"}}),
    ({"op": "add", "value": {ENTERPRISE: {"department": "D"}}}, {ENTERPRISE: {"department": "D"}}),
    ({"op": "add", "path": f"{ENTERPRISE}:manager.value", "value": "m"}, {ENTERPRISE: {"manager": {"value": "m"}}}),
    (
        {"op": "add", "path": f"{ENTERPRISE}:manager", "value": {"value": "m"}},
        {ENTERPRISE: {"manager": {"value": "m"}}},
    ),
    ({"op": "add", "path": "urn:example:custom:shoeSize", "value": 44}, {"urn:example:custom": {"shoeSize": 44}}),
    (
        {"op": "replace", "path": 'emails[type eq "home"].value', "value": "x"},
        {"emails": [WORK_AND_HOME[0], {"type": "home", "value": "x"}]},
    ),
    ({"op": "remove", "path": 'emails[type eq "home"]'}, {"emails": WORK_AND_HOME[:1]}),
    ({"op": "remove", "path": "emails"}, {"emails": None}),
    ({"op": "add", "path": "emails", "value": WORK_AND_HOME[:1]}, {"emails": WORK_AND_HOME}),
    ({"op": "replace", "path": "emails", "value": [{"value": "n"}]}, {"emails": [{"value": "n"}]}),
    (
        {"op": "add", "path": "emails", "value": {"type": "other", "value": "o", "primary": True}},
        {
            "emails": [
                {**WORK_AND_HOME[0], "primary": False},
                WORK_AND_HOME[1],
                {"type": "other", "value": "o", "primary": True},
            ]
        },
    ),
    ({"op": "replace", "path": 'phoneNumbers[type eq "work"].value', "value": "1"}, {"scimType": "noTarget"}),
    ({"op": "replace", "path": "id", "value": "1"}, {"scimType": "mutability"}),
    ({"op": "replace", "path": "active", "value": "False"}, {"scimType": "invalidValue"}),
    ({"op": "replace", "path": "emails", "value": "w"}, {"scimType": "invalidValue"}),
    ({"op": "remove"}, {"scimType": "noTarget"}),
    ({"op": "remove", "path": "userName"}, {"scimType": "invalidValue"}),
    ({"op": "replace", "path": "emails[", "value": 1}, {"scimType": "invalidPath"}),
    ({"op": "replace", "path": "emails[type is 1]", "value": 1}, {"scimType": "invalidFilter"}),
]


@pytest.mark.parametrize(("operation", "expected"), PATCHES, ids=lambda value: json.dumps(value)[:60])
def test_patch_changes_what_it_names_and_nothing_else(operation, expected):
    """What an operation names is afterwards as told; everything else, and everything after a refusal, is as before."""
    with ScimService(token=None) as service:
        [id], _ = service.seed(users=[{"userName": "ada", **BEFORE}])
        response = httpx.patch(f"{service.url}/Users/{id}", json={"Operations": [operation]}, trust_env=False)
        user = service.users[id]
    unchanged = {"userName": "ada", **BEFORE}
    if "scimType" in expected:
        assert (response.status_code, response.json()["scimType"]) == (400, expected["scimType"])
        wanted = unchanged
    else:
        assert response.json() == user
        wanted = {name: value for name, value in {**unchanged, **expected}.items() if value is not None}
    assert {name: value for name, value in user.items() if name not in {"id", "meta", "schemas"}} == wanted
    assert user["schemas"] == [USER, *(name for name in wanted if name.startswith("urn:"))]


@given(
    op=st.sampled_from(["add", "replace", "remove"]),
    path=st.none()
    | st.sampled_from(
        ["", "emails", "name", "name.x", "emails[type eq 1].y", "members", "x.y.z", "urn:a:b", ENTERPRISE]
    )
    | st.text(max_size=10),
    value=st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3) | st.just("value"), inner, max_size=2)
        ),
        max_leaves=4,
    ),
)
@settings(max_examples=200 if os.environ.get("PROVISOR_LONG") else 40, deadline=None)
def test_any_patch_is_carried_out_or_refused(service, http, op, path, value):
    """Nonsense is a 400 (501 where a filter cannot be followed), never a failure of the service."""
    for kind, name in (("Users", "userName"), ("Groups", "displayName")):
        made = http.post(f"/{kind}", json={"schemas": [USER if kind == "Users" else GROUP], name: "somebody else"})
        address = f"/{kind}/{made.json()['id']}"
        operation = {"op": op, "value": value} | ({"path": path} if path is not None else {})
        assert http.patch(address, json={"Operations": [operation]}).status_code in {200, 204, 400, 501}
        assert http.get(address).status_code == 200
        assert http.delete(address).status_code == 204


def test_a_group_keeps_its_members_in_order_and_once():
    """Members are added, removed and replaced; a group's list shows them unless they are excluded."""
    with ScimService(token=None) as service:
        ids, [group] = service.seed(users=[{"userName": name} for name in "abcd"], groups=[{"displayName": "G"}])
        address = f"{service.url}/Groups/{group}"

        def patch(op: str, *members: str) -> list[str]:
            operation = {"op": op, "path": "members", "value": [{"value": ids["abcd".index(name)]} for name in members]}
            assert httpx.patch(address, json={"Operations": [operation]}, trust_env=False).status_code == 204
            return ["abcd"[ids.index(member["value"])] for member in service.groups[group].get("members", ())]

        assert patch("add", "b", "a") == ["b", "a"]
        assert patch("add", "a", "c") == ["b", "a", "c"]
        assert patch("remove", "a") == ["b", "c"]
        assert patch("replace", "d", "c") == ["c", "d"]
        lists = f"{service.url}/Groups"
        [whole] = httpx.get(lists, trust_env=False).json()["Resources"]
        [short] = httpx.get(f"{lists}?excludedAttributes=members", trust_env=False).json()["Resources"]
        assert (len(whole["members"]), "members" in short) == (2, False)
        finding = httpx.get(f'{lists}?filter=members.value eq "{ids[3]}"', trust_env=False)
        assert finding.json()["totalResults"] == 1
        assert httpx.get(f'{lists}?filter=members eq "{ids[0]}"', trust_env=False).json()["totalResults"] == 0


@pytest.mark.parametrize("whole", [True, False])
def test_a_request_may_come_in_pieces(whole):
    """A body is read whether it comes with its length, in chunks, or byte by byte."""
    body = json.dumps({"schemas": [USER], "userName": "ada"}).encode()
    head = b"POST /v2/Users HTTP/1.1\r\nHost: x\r\n"
    data = head + (
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        if whole
        else b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    )
    with ScimService(token=None) as service:
        parts = urlsplit(service.url)
        with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
            for place in range(len(data)):
                connection.send(data[place : place + 1])
            assert connection.recv(100).startswith(b"HTTP/1.1 201 ")


def test_made_up_people_are_people(service):
    """Seeded users can be read, found and changed like any other."""
    with ScimService(token=None, default_page_size=7) as service:
        service.seed(count=30, group_count=2, members_per_group=20)
        with httpx.Client(base_url=service.url, trust_env=False) as http:
            page = http.get("/Users?startIndex=29").json()
            assert (page["totalResults"], page["itemsPerPage"], len(page["Resources"])) == (30, 2, 2)
            [found] = http.get('/Users?filter=userName eq "USER0000030@example.com"').json()["Resources"]
            assert page["Resources"][1] == found == http.get(f"/Users/{found['id']}").json()
            assert http.delete(f"/Users/{found['id']}").status_code == 204
        assert len(service.users) == 29
        assert [len(group["members"]) for group in service.groups.values()] == [20, 19]
