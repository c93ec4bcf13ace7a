"""Every quirk of the test service does what its table says: each answer of each switch is seen from outside.

A probe asks the service one question; what it sees must be what is written here for the answer that is set. The table
here and the table of quirks must name the same switches and answers, so none can be added without being tried.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.servers.scim_service import QUIRKS, ScimService

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
WORK = {"type": "work", "value": "ada@example.com"}


class Client:
    """What a probe asks with."""

    def __init__(self, service: ScimService, http: httpx.Client) -> None:
        self.service = service
        self.http = http

    def send(self, method: str, path: str, document: Any = None, **options: Any) -> httpx.Response:
        return self.http.request(method, self.service.url + path, json=document, **options)

    def create(self, login: str = "ada", /, *, schemas: tuple[str, ...] = (USER,), **attributes: Any) -> httpx.Response:
        return self.send("POST", "/Users", {"schemas": list(schemas), "userName": login, **attributes})

    def user(self, login: str = "ada", /, **attributes: Any) -> str:
        return self.create(login, **attributes).json()["id"]

    def users(self, *names: str) -> list[str]:
        return [self.user(name) for name in names]

    def group(self, *members: str) -> str:
        values = [{"value": id} for id in members]
        return self.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "G", "members": values}).json()["id"]

    def patch(self, path: str, *operations: dict[str, Any]) -> httpx.Response:
        return self.send("PATCH", path, {"Operations": list(operations)})

    def found(self, filter: str) -> Any:
        """Names that the filter finds, or the status and scimType of a refusal."""
        response = self.send("GET", "/Users", params={"filter": filter})
        if response.status_code != 200:
            return refusal(response)
        return [user["userName"] for user in response.json()["Resources"]]

    def members(self, id: str) -> list[str]:
        return [member["value"] for member in self.service.groups[id].get("members", ())]


def refusal(response: httpx.Response) -> Any:
    if response.status_code < 400:
        return response.status_code
    if "html" in response.headers.get("content-type", ""):
        return response.status_code, "html"
    return response.status_code, response.json().get("scimType")


def wrong(client: Client) -> httpx.Response:
    return client.send("GET", "/Users", headers={"Authorization": "Bearer wrong"})


def body_of_401(client: Client) -> Any:
    response = wrong(client)
    return response.status_code, response.headers["content-type"].partition(";")[0], bool(response.content)


def duplicate(client: Client) -> Any:
    client.user("ada")
    return refusal(client.create("ada")), refusal(client.create("ADA"))


def overlap(client: Client) -> Any:
    def statuses(names: list[str]) -> list[int]:
        with ThreadPoolExecutor(len(names)) as pool:
            return sorted(pool.map(lambda name: client.create(name).status_code, names))

    client.service.engine.overlap_s = 0.3
    # however the two are timed, somebody comes first; the answer to the other is the question
    equal, different = statuses(["ada"] * 4), statuses(["bob", "cy", "dan", "eve"])
    return equal.count(201), set(equal[1:]) <= {409}, 500 in equal, 500 in different


def in_another_case(client: Client) -> Any:
    client.users("ada", "bob")
    return client.found('userName eq "ADA"'), client.found('userName eq "ada"')


def by_external_id(client: Client) -> Any:
    client.user("ada", externalId="x1")
    return client.found('externalId eq "x1"'), client.found('externalId eq "X1"')


def joined(client: Client) -> Any:
    client.user("ada", title="a", active=True)
    return (
        client.found('userName eq "ada" and title eq "b"'),
        client.found('userName eq "ada" and active eq true'),
        client.found('title eq "a" and active eq true'),
    )


def by_email(client: Client) -> Any:
    client.user("ada", emails=[WORK])
    return client.found('emails.value eq "ada@example.com"'), client.found(
        'emails[type eq "work" and value eq "ada@example.com"]'
    )


def with_quotes(client: Client) -> Any:
    client.user('a"b\\c')
    return client.found('userName eq "a\\"b\\\\c"')


def page(client: Client, **parameters: Any) -> Any:
    response = client.send("GET", "/Users", params=parameters)
    if response.status_code != 200:
        return refusal(response)
    return [user["userName"] for user in response.json()["Resources"]]


def three(client: Client) -> None:
    client.users("b", "a", "c")


def past_the_end(client: Client) -> Any:
    three(client)
    return page(client, startIndex=10, count=2)


def paged(client: Client) -> Any:
    three(client)
    return page(client, startIndex=1, count=2), page(client, startIndex=3, count=2)


def paged_and_searched(client: Client) -> Any:
    pages = paged(client)
    found = client.send("POST", "/Users/.search", {"startIndex": 3, "count": 2}).json()["Resources"]
    return *pages, [user["userName"] for user in found]


def sorted_page(client: Client) -> Any:
    three(client)
    return page(client, sortBy="userName")


def by_cursor(client: Client) -> Any:
    three(client)
    response = client.send("GET", "/Users", params={"cursor": "", "count": 2})
    if response.status_code != 200:
        return refusal(response), page(client, startIndex=1)
    following = response.json().get("nextCursor")
    return following and page(client, cursor=following, count=2), page(client, startIndex=1)


def chosen_attributes(client: Client) -> Any:
    client.user(title="t")
    kept, without = (
        client.send("GET", "/Users", params=parameters).json()["Resources"][0]
        for parameters in ({"attributes": "userName"}, {"excludedAttributes": "title"})
    )
    return "title" in kept, "title" in without


def odd_name(client: Client) -> Any:
    client.users("ada", "a % b")
    return page(client)


def list_cost(client: Client) -> Any:
    client.service.seed(count=400)
    response = client.send("GET", "/Users", params={"count": 400})
    return response.elapsed.total_seconds() >= 0.4, len(response.json()["Resources"])


def total(client: Client) -> Any:
    three(client)
    return client.send("GET", "/Users", params={"count": 2}).json().get("totalResults")


def patch_answers(client: Client) -> Any:
    id, group = client.user(), client.group()
    change = {"op": "replace", "path": "displayName", "value": "new"}
    return [client.patch(path, change).status_code for path in (f"/Users/{id}", f"/Users/{id}", f"/Groups/{group}")]


def active_as_text(client: Client) -> Any:
    id = client.user(active="True") if client.service.quirks["active_text"] == "demanded" else client.user(active=True)
    values = ("False", False)
    statuses = [
        refusal(client.patch(f"/Users/{id}", {"op": "Replace", "path": "active", "value": value})) for value in values
    ]
    return statuses, client.service.users[id]["active"]


def manager_as_text(client: Client) -> Any:
    id = client.user()
    operation = {"op": "replace", "path": f"{ENTERPRISE}:manager", "value": "m1"}
    return refusal(client.patch(f"/Users/{id}", operation)), client.service.users[id].get(ENTERPRISE)


def without_path(client: Client) -> Any:
    id = client.user(name={"givenName": "A", "familyName": "B"})
    value = {"title": "t", f"{ENTERPRISE}:department": "D", "name": {"givenName": "C"}}
    status = client.patch(f"/Users/{id}", {"op": "replace", "value": value}).status_code
    user = client.service.users[id]
    return status, user["title"], ENTERPRISE in user, "familyName" in user["name"]


def dotted(client: Client) -> Any:
    id = client.user(name={"familyName": "A"})
    status = client.patch(f"/Users/{id}", {"op": "replace", "value": {"name.familyName": "B"}}).status_code
    return status, client.service.users[id]["name"]["familyName"]


def sub_attribute(client: Client) -> Any:
    id = client.user(name={"familyName": "A"})
    operation = {"op": "replace", "path": "name.familyName", "value": "B"}
    return client.patch(f"/Users/{id}", operation).status_code, client.service.users[id]["name"]["familyName"]


def no_element(client: Client) -> Any:
    id = client.user()
    operation = {"op": "replace", "path": 'emails[type eq "work"].value', "value": "a@example.com"}
    return refusal(client.patch(f"/Users/{id}", operation)), client.service.users[id].get("emails")


def add_emails(client: Client) -> Any:
    home = {"type": "home", "value": "h@example.com"}
    id = client.user(emails=[WORK, home])
    new = {"type": "work", "value": "new@example.com"}
    status = refusal(client.patch(f"/Users/{id}", {"op": "add", "path": "emails", "value": [new, WORK]}))
    return status, [email["value"].partition("@")[0] for email in client.service.users[id]["emails"]]


def unknown_operation(client: Client) -> Any:
    id = client.user()
    status = refusal(client.patch(f"/Users/{id}", {"op": "upsert", "path": "title", "value": "t"}))
    return status, client.service.users[id].get("title")


def good_then_bad(client: Client) -> Any:
    id = client.user()
    good, bad = {"op": "replace", "path": "title", "value": "t"}, {"op": "replace", "path": "[", "value": 1}
    return refusal(client.patch(f"/Users/{id}", good, bad)), client.service.users[id].get("title")


def put_less(client: Client) -> Any:
    id, member = client.user(title="t"), client.user("bob")
    group = client.group(member)
    put = refusal(client.send("PUT", f"/Users/{id}", {"schemas": [USER], "userName": "ada"}))
    client.send("PUT", f"/Groups/{group}", {"schemas": [GROUP], "displayName": "G"})
    return put, client.service.users[id].get("title"), len(client.members(group))


def patch_nobody(client: Client) -> Any:
    return refusal(client.patch("/Users/nobody", {"op": "replace", "path": "title", "value": "t"}))


def wrong_version(client: Client) -> Any:
    response = client.create()
    id, tag = response.json()["id"], response.headers["etag"]
    changed = client.send(
        "PATCH",
        f"/Users/{id}",
        {"Operations": [{"op": "replace", "path": "title", "value": "t"}]},
        headers={"If-Match": 'W/"77"'},
    )
    return changed.status_code, tag == 'W/"1"'


def add_member_twice(client: Client) -> Any:
    [id] = client.users("ada")
    group = client.group(id)
    client.patch(f"/Groups/{group}", {"op": "add", "path": "members", "value": [{"value": id}]})
    return len(client.members(group))


def members_without_path(client: Client) -> Any:
    ada, bob = client.users("ada", "bob")
    group = client.group(ada)
    status = refusal(client.patch(f"/Groups/{group}", {"op": "add", "value": {"members": [{"value": bob}]}}))
    return status, [id == bob for id in client.members(group)]


def member_operation(operation: Callable[[dict[str, str]], dict[str, Any]]) -> Callable[[Client], Any]:
    def probe(client: Client) -> Any:
        """A group of ada; what the operation, told ada and bob, leaves of it."""
        ada, bob = client.users("ada", "bob")
        group = client.group(ada)
        status = refusal(client.patch(f"/Groups/{group}", operation({"ada": ada, "bob": bob})))
        return status, [{ada: "ada", bob: "bob"}[id] for id in client.members(group)]

    return probe


def unknown_member(client: Client) -> Any:
    group = client.group()
    add = {"op": "add", "path": "members", "value": [{"value": "nobody"}]}
    return refusal(client.patch(f"/Groups/{group}", add)), client.members(group)


def members_shown(client: Client) -> Any:
    people = client.users(*(f"p{number:02}" for number in range(21)))
    id = client.group(*people)
    shown = len(client.send("GET", f"/Groups/{id}").json().get("members", ()))
    client.service.quirks["members_shown"] = "all"
    return shown, client.members(id) == people


def member_value(client: Client) -> Any:
    ada, bob = client.users("ada", "bob")
    id = client.group()
    added = [
        refusal(client.patch(f"/Groups/{id}", {"op": "add", "path": "members", "value": [member]}))
        for member in ({"value": ada}, {"value": bob, "$ref": f"{client.service.url}/Users/{bob}"})
    ]
    return added, [{ada: "id of ada", bob: "id of bob"}.get(value, value) for value in client.members(id)]


def deleted_member(client: Client) -> Any:
    id = client.user()
    group = client.group(id)
    client.send("DELETE", f"/Users/{id}")
    return len(client.members(group))


def enterprise(client: Client) -> Any:
    unnamed = client.create("ada", **{ENTERPRISE: {"department": "D"}})
    named = client.create("bob", schemas=(USER, ENTERPRISE), **{ENTERPRISE: {"department": "D"}})
    return [(refusal(r), r.status_code == 201 and ENTERPRISE in r.json()) for r in (unnamed, named)]


def unknown_attribute(client: Client) -> Any:
    response = client.create(shoeSize="44")
    return refusal(response), response.json().get("shoeSize")


def id_form(client: Client) -> Any:
    name = "a+b c@example.com"
    first = client.user(name)
    client.send("DELETE", f"/Users/{first.replace('+', '%2B').replace(' ', '%20')}")
    again = client.user(name)
    form = (
        "name"
        if first == name
        else "digits"
        if first.isdigit()
        else "uuid"
        if len(first) == 36
        else "hex"
        if set(first) <= set("0123456789abcdef")
        else "text"
    )
    return form, again == first


def location(client: Client) -> Any:
    response = client.create()
    return "location" in response.headers, response.json()["meta"].get("location", "")[:4]


def delete_twice(client: Client) -> Any:
    id = client.user()
    statuses = [client.send("DELETE", f"/Users/{id}").status_code for _ in range(2)]
    return statuses, client.send("GET", f"/Users/{id}").status_code, page(client)


def bulk(client: Client) -> Any:
    user = {"schemas": [USER], "userName": "ada"}
    group = {"schemas": [GROUP], "displayName": "G", "members": [{"value": "bulkId:a"}]}
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "a", "data": user},
        {"method": "POST", "path": "/Groups", "bulkId": "b", "data": group},
    ]
    response = client.send("POST", "/Bulk", {"Operations": operations})
    answers = [one.get("bulkId") for one in response.json().get("Operations", [])] if response.is_success else []
    made = [client.members(id) == list(client.service.users) for id in client.service.groups]
    return refusal(response), made, answers


def patched(client: Client) -> Any:
    id, group = client.user(), client.group()
    change = {"op": "replace", "path": "displayName", "value": "new"}
    statuses = [refusal(client.patch(path, change)) for path in (f"/Users/{id}", f"/Groups/{group}")]
    return statuses, client.service.users[id].get("displayName"), client.service.groups[group]["displayName"]


def spelled(client: Client) -> Any:
    id = client.user()
    return [refusal(client.patch(f"/Users/{id}", {"op": op, "path": "title", "value": "t"})) for op in ("add", "Add")]


def active_shown(client: Client) -> Any:
    id = client.user(active=True)
    patched = client.patch(f"/Users/{id}", {"op": "replace", "path": "active", "value": False}).json()
    return patched["active"], client.send("GET", f"/Users/{id}").json()["active"]


def switched_off(client: Client) -> Any:
    client.service.quirks["patch_answer"] = "no_content"
    id = client.user("owner", active=True)
    response = client.patch(f"/Users/{id}", {"op": "replace", "path": "active", "value": False})
    told = response.json().get("active") if response.content else None
    return response.status_code, told, client.service.users[id]["active"]


def with_element(client: Client) -> Any:
    id = client.user(emails=[WORK])
    operation = {"op": "replace", "path": 'emails[type eq "work"].value', "value": "b@example.com"}
    return refusal(client.patch(f"/Users/{id}", operation)), client.service.users[id]["emails"][0]["value"][0]


def removed(client: Client) -> Any:
    id = client.user(title="t")
    return refusal(client.patch(f"/Users/{id}", {"op": "remove", "path": "title"})), client.service.users[id].get(
        "title"
    )


def page_sizes(client: Client) -> Any:
    client.service.seed(count=1100)
    return [
        len(client.send("GET", "/Users", params=parameters).json()["Resources"]) for parameters in ({}, {"count": 5000})
    ]


def rate_limited(client: Client) -> Any:
    def status(number: int) -> Any:
        del number
        try:
            response = client.send("GET", "/Users")
            return response.status_code, response.headers.get("Retry-After")
        except httpx.TransportError:
            return "reset"

    client.service.engine.overlap_s = 0.3
    with ThreadPoolExecutor(20) as pool:
        return set(pool.map(status, range(20)))


def http_version(client: Client) -> Any:
    client.service.reset_counts()
    versions = {client.send("GET", "/Users").http_version for _ in range(3)}
    return versions, client.service.connections_made


def many_wrong(client: Client) -> Any:
    return {wrong(client).status_code for _ in range(60)}, wrong(client).status_code


@dataclass(frozen=True)
class Probe:
    ask: Callable[[Client], Any]
    seen: dict[str, Any]


EVERYBODY = ["ada", "bob"]

PROBES: dict[str, Probe] = {
    "wrong_token": Probe(
        body_of_401,
        {
            "scim_body": (401, "application/scim+json", True),
            "text": (401, "text/plain", True),
            "html": (401, "text/html", True),
            "empty": (401, "application/scim+json", False),
        },
    ),
    "www_authenticate": Probe(
        lambda client: "www-authenticate" in wrong(client).headers, {"sent": True, "missing": False}
    ),
    "discovery": Probe(
        lambda client: client.send("GET", "/Schemas", headers={"Authorization": ""}).status_code,
        {"closed": 401, "open": 200},
    ),
    "many_wrong_tokens": Probe(many_wrong, {"refused_401": ({401}, 401), "refused_429": ({401}, 429)}),
    "duplicate_user_name": Probe(
        duplicate,
        {
            "conflict": ((409, "uniqueness"), (409, "uniqueness")),
            "conflict_without_scim_type": ((409, None), (409, None)),
            "error_500_html": ((500, "html"), (500, "html")),
            "created_in_other_case": ((409, "uniqueness"), 201),
            "created": (201, 201),
        },
    ),
    "duplicate_external_id": Probe(
        lambda client: [refusal(client.create(name, externalId="x")) for name in ("ada", "bob")],
        {"created": [201, 201], "conflict": [201, (409, "uniqueness")]},
    ),
    "external_id": Probe(
        lambda client: client.create(externalId="x").json().get("externalId"), {"stored": "x", "dropped": None}
    ),
    "overlapping_creates": Probe(
        overlap,
        {
            "in_turn": (1, True, False, False),
            "equal_ones_error_500": (1, False, True, False),
            "any_overlap_error_500": (1, False, True, True),
        },
    ),
    "filter": Probe(
        lambda client: client.users(*EVERYBODY) and client.found('userName eq "ada"'),
        {"honoured": ["ada"], "ignored": EVERYBODY, "refused": (400, "invalidFilter"), "silent_empty": []},
    ),
    "filter_user_name": Probe(
        in_another_case, {"match": (["ada"], ["ada"]), "no_match": ([], ["ada"]), "ignored": (EVERYBODY, ["ada"])}
    ),
    "filter_external_id": Probe(
        by_external_id, {"exact": (["ada"], []), "case_blind": (["ada"], ["ada"]), "silent_empty": ([], [])}
    ),
    "filter_and": Probe(
        joined,
        {
            "honoured": ([], ["ada"], ["ada"]),
            "some_pairs": ((400, "invalidFilter"), ["ada"], (400, "invalidFilter")),
            "clause_dropped": (["ada"], ["ada"], ["ada"]),
            "silent_empty": ([], [], []),
            "refused": ((400, "invalidFilter"),) * 3,
        },
    ),
    "filter_emails": Probe(
        by_email,
        {
            "both": (["ada"], ["ada"]),
            "dotted_only": (["ada"], []),
            "value_path_only": ([], ["ada"]),
            "silent_empty": ([], []),
            "refused": ((400, "invalidFilter"), (400, "invalidFilter")),
        },
    ),
    "filter_unknown": Probe(
        lambda client: client.found('shoeSize eq "44"'), {"silent_empty": [], "refused": (400, "invalidFilter")}
    ),
    "filter_quotes": Probe(with_quotes, {"honoured": ['a"b\\c'], "refused": (400, "invalidFilter"), "no_match": []}),
    "count_over_largest": Probe(
        lambda client: page(client, count=5000), {"capped": [], "refused": (400, "invalidValue")}
    ),
    "count": Probe(lambda client: page(client, count=2), {"honoured": [], "error_500": (500, None)}),
    "past_the_end": Probe(past_the_end, {"empty": [], "first_page": ["b", "a"], "error_500": (500, None)}),
    "paging": Probe(
        paged_and_searched,
        {
            "honoured": (["b", "a"], ["c"], ["c"]),
            "ignored": (["b", "a", "c"], ["b", "a", "c"], ["b", "a", "c"]),
            "honoured_in_search": (["b", "a", "c"], ["b", "a", "c"], ["c"]),
        },
    ),
    "sorting": Probe(
        sorted_page,
        {
            "honoured": ["a", "b", "c"],
            "ignored": ["b", "a", "c"],
            "refused_403": (403, None),
            "not_implemented": (501, None),
        },
    ),
    "cursor": Probe(
        by_cursor,
        {
            "honoured": (["c"], ["b", "a", "c"]),
            "ignored": (None, ["b", "a", "c"]),
            "refused_403": ((403, None), ["b", "a", "c"]),
            "not_implemented": ((501, None), ["b", "a", "c"]),
            "demanded": (["c"], (400, "invalidValue")),
        },
    ),
    "attributes_parameters": Probe(chosen_attributes, {"honoured": (False, False), "ignored": (True, True)}),
    "odd_user_name": Probe(odd_name, {"fine": ["ada", "a % b"], "poisons_lists": (400, "invalidValue")}),
    "list_cost": Probe(list_cost, {"nothing": (False, 400), "milliseconds": (True, 400)}),
    "total_results": Probe(total, {"exact": 3, "page_size": 2, "missing": None, "text": "3"}),
    "overlapping_pages": Probe(paged, {"in_order": (["b", "a"], ["c"]), "repeat_last": (["b", "a"], ["a", "c"])}),
    "patch_answer": Probe(
        patch_answers,
        {
            "no_content_for_groups": [200, 200, 204],
            "body": [200, 200, 200],
            "no_content": [204, 204, 204],
            "no_content_when_unchanged": [200, 204, 200],
        },
    ),
    "active_text": Probe(
        active_as_text,
        {
            "refused": ([(400, "invalidValue"), 200], False),
            "taken": ([200, 200], False),
            "demanded": ([200, (400, "invalidValue")], False),
        },
    ),
    "manager_text": Probe(
        manager_as_text, {"refused": ((400, "invalidValue"), None), "taken": (200, {"manager": {"value": "m1"}})}
    ),
    "patch_without_path": Probe(
        without_path,
        {
            "honoured": (200, "t", True, True),
            "known_only": (200, "t", False, True),
            "replaces_complex": (200, "t", True, False),
        },
    ),
    "dotted_keys": Probe(dotted, {"honoured": (200, "B"), "silent": (200, "A")}),
    "path_sub_attribute": Probe(sub_attribute, {"honoured": (200, "B"), "silent": (200, "A")}),
    "path_no_element": Probe(
        no_element,
        {
            "no_target": ((400, "noTarget"), None),
            "created": (200, [{"type": "work", "value": "a@example.com"}]),
            "silent": (200, None),
            "not_implemented": ((501, None), None),
            "error_500": ((500, None), None),
        },
    ),
    "add_to_emails": Probe(
        add_emails,
        {
            "appended": (200, ["ada", "h", "new"]),
            "appended_twice": (200, ["ada", "h", "new", "ada"]),
            "one_per_type": (200, ["h", "new", "ada"]),
            "list_replaced": (200, ["new", "ada"]),
            "not_implemented": ((501, None), ["ada", "h"]),
            "refused_with_type": ((400, "invalidValue"), ["ada", "h"]),
        },
    ),
    "unknown_operation": Probe(unknown_operation, {"refused": ((400, "invalidSyntax"), None), "applied": (200, "t")}),
    "good_then_bad": Probe(good_then_bad, {"nothing_kept": ((400, "invalidPath"), None), "good_half_kept": (200, "t")}),
    "put": Probe(
        put_less,
        {
            "clears": (200, None, 0),
            "keeps": (200, "t", 1),
            "ignores_members": (200, None, 1),
            "demands_attributes": ((400, "invalidValue"), "t", 0),
            "error_500": ((500, None), "t", 1),
        },
    ),
    "patch_nobody": Probe(
        patch_nobody, {"not_found": (404, None), "not_found_html": (404, "html"), "error_500": (500, None)}
    ),
    "if_match": Probe(wrong_version, {"honoured": (412, True), "ignored": (200, True), "body_hash": (200, False)}),
    "members_twice": Probe(add_member_twice, {"once": 1, "doubled": 2}),
    "members_without_path": Probe(
        members_without_path,
        {"honoured": (204, [False, True]), "refused": ((400, "invalidPath"), [False]), "replaces_all": (204, [True])},
    ),
    "remove_members_filter": Probe(
        member_operation(lambda ids: {"op": "remove", "path": 'members[value eq "{}"]'.format(ids["ada"])}),
        {"honoured": (204, []), "not_implemented": ((501, None), ["ada"]), "error_500": ((500, None), ["ada"])},
    ),
    "remove_members_list": Probe(
        member_operation(lambda ids: {"op": "Remove", "path": "members", "value": [{"value": ids["ada"]}]}),
        {"honoured": (204, []), "refused": ((400, "invalidSyntax"), ["ada"])},
    ),
    "replace_members": Probe(
        member_operation(lambda ids: {"op": "replace", "path": "members", "value": [{"value": ids["bob"]}]}),
        {"honoured": (204, ["bob"]), "adds": (204, ["ada", "bob"]), "not_implemented": ((501, None), ["ada"])},
    ),
    "remove_all_members": Probe(
        member_operation(lambda _: {"op": "remove", "path": "members"}),
        {"honoured": (204, []), "silent": (204, ["ada"]), "refused": ((400, "invalidPath"), ["ada"])},
    ),
    "unknown_member": Probe(
        unknown_member,
        {
            "stored": (204, ["nobody"]),
            "refused": ((400, "invalidValue"), []),
            "error_500": ((500, None), []),
            "dropped": (204, []),
        },
    ),
    "members_shown": Probe(
        members_shown,
        {"all": (21, True), "none": (0, True), "first_twenty": (20, True), "first_ten": (10, True)},
    ),
    "member_value": Probe(
        member_value,
        {
            "id": ([204, 204], ["id of ada", "id of bob"]),
            "user_name": ([204, 204], ["ada", "bob"]),
            "ref_demanded": ([(400, "invalidValue"), 204], ["id of bob"]),
        },
    ),
    "deleted_member": Probe(deleted_member, {"removed": 0, "kept": 1}),
    "enterprise": Probe(
        enterprise,
        {
            "stored": [(201, True), (201, True)],
            "must_be_named": [((400, "invalidSyntax"), False), (201, True)],
            "dropped": [(201, False), (201, False)],
            "refused": [((400, "invalidSyntax"), False), ((400, "invalidSyntax"), False)],
        },
    ),
    "unknown_attribute": Probe(
        unknown_attribute, {"stored": (201, "44"), "refused": ((400, "invalidSyntax"), None), "dropped": (201, None)}
    ),
    "empty_user_name": Probe(
        lambda client: [refusal(client.create("")), refusal(client.send("POST", "/Users", {"schemas": [USER]}))],
        {"refused": [(400, "invalidValue"), (400, "invalidValue")], "created": [201, 201]},
    ),
    "email_domain": Probe(
        lambda client: refusal(client.create(emails=[{"value": "a@somewhere.invalid"}])),
        {"stored": 201, "refused": (400, "invalidValue")},
    ),
    "id_form": Probe(
        id_form,
        {
            "uuid": ("uuid", False),
            "hex": ("hex", False),
            "integer": ("digits", False),
            "random": ("text", False),
            "user_name": ("name", True),
        },
    ),
    "location": Probe(location, {"full": (True, "http"), "missing": (False, ""), "path": (False, "/v2/")}),
    "delete_twice": Probe(
        delete_twice,
        {
            "not_found": ([204, 404], 404, []),
            "error_500": ([204, 500], 404, []),
            "soft": ([204, 204], 200, []),
            "deactivated": ([204, 204], 200, ["ada"]),
        },
    ),
    "patch": Probe(
        patched,
        {
            "honoured": ([200, 204], "new", "new"),
            "not_implemented": ([(501, None)] * 2, None, "G"),
            "not_allowed": ([(405, None)] * 2, None, "G"),
            "silent": ([200, 200], None, "G"),
            "silent_for_groups": ([200, 204], "new", "G"),
        },
    ),
    "operation_case": Probe(
        spelled,
        {
            "both": [200, 200],
            "lower_only": [200, (400, "invalidSyntax")],
            "capital_only": [(400, "invalidSyntax"), 200],
        },
    ),
    "active_shown": Probe(active_shown, {"boolean": (False, False), "text": ("False", "False")}),
    "path_element": Probe(
        with_element,
        {
            "honoured": (200, "b"),
            "silent": (200, "a"),
            "not_implemented": ((501, None), "a"),
            "error_500": ((500, None), "a"),
        },
    ),
    "remove_attribute": Probe(
        removed, {"honoured": (200, None), "silent": (200, "t"), "refused": ((400, "invalidValue"), "t")}
    ),
    "page_size": Probe(
        page_sizes, {"as_started": [100, 1000], "20_of_100": [20, 100], "50_of_200": [50, 200], "all": [1100, 1100]}
    ),
    "rate_limit": Probe(
        rate_limited,
        {
            "none": {(200, None)},
            "retry_after_60": {(200, None), (429, "60")},
            "resets_above_four": {(200, None), "reset"},
            "forbidden_403": {(200, None), (403, "1")},
        },
    ),
    "owner": Probe(
        switched_off,
        {
            "done": (204, None, False),
            "shown_active": (200, True, True),
            "error_in_200": (200, None, True),
            "silent": (204, None, True),
        },
    ),
    "bulk": Probe(
        bulk,
        {
            "not_implemented": ((501, None), [], []),
            "honoured": (200, [True], ["a", "b"]),
            "refused_403": ((403, None), [], []),
            "not_found": ((404, None), [], []),
            "too_large": ((413, None), [], []),
            "no_effect": (200, [], ["a", "b"]),
            "sparse_answers": (200, [True], ["b"]),
        },
    ),
    "http": Probe(http_version, {"keep_alive": ({"HTTP/1.1"}, 0), "http_1_0": ({"HTTP/1.0"}, 3)}),
}
"""Switch to its probe; what is seen for each answer."""

CASES = [(name, answer) for name, probe in PROBES.items() for answer in probe.seen]


@pytest.fixture(scope="module")
def http():
    with httpx.Client(headers={"Authorization": "Bearer t"}, trust_env=False, timeout=20) as client:
        yield client


@pytest.mark.parametrize(("name", "answer"), CASES, ids=[f"{name}-{answer}" for name, answer in CASES])
def test_a_quirk_does_what_it_says(name, answer, http):
    """Each answer of each switch is what a client sees."""
    with ScimService(token="t", quirks={name: answer}) as service:
        client = Client(service, http)
        client.send("GET", "/Users/nobody")  # the connection is there before anything is counted
        assert PROBES[name].ask(client) == PROBES[name].seen[answer]


def test_every_quirk_is_tried():
    """The table of quirks and the probes name the same switches and answers, so no switch can do nothing unnoticed."""
    assert {name: set(probe.seen) for name, probe in PROBES.items()} == {
        name: set(quirk.answers) for name, quirk in QUIRKS.items()
    }


def test_the_answers_of_a_switch_can_be_told_apart():
    """No two answers of a switch look alike to its probe."""
    for name, probe in PROBES.items():
        seen = [json.dumps(found, default=lambda some: sorted(map(str, some))) for found in probe.seen.values()]
        assert len(set(seen)) == len(seen), name


@pytest.mark.parametrize(("name", "answer"), [("filtr", "ignored"), ("filter", "ignord")])
def test_a_misspelt_quirk_is_refused(name, answer):
    """A test that sets a quirk which does not exist would test nothing."""
    with pytest.raises((KeyError, ValueError)):
        ScimService(quirks={name: answer})


def test_a_quirk_can_be_set_and_cleared_while_the_service_runs(http):
    """Switches apply from the next request on."""
    with ScimService(token="t") as service:
        client = Client(service, http)
        client.users("ada", "bob")
        service.quirks["filter"] = "ignored"
        assert client.found('userName eq "ada"') == EVERYBODY
        del service.quirks["filter"]
        assert client.found('userName eq "ada"') == ["ada"]
