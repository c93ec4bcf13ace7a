"""Reads a target back with a client that is not ours, and says it in the terms of tests/data/expected.py."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from scim2_client import BaseSyncSCIMClient
from scim2_models import SearchRequest

from tests.data.expected import MANAGER, State

_PAGE = 200


@dataclass(slots=True)
class Found:
    """What a target holds, by the anchors in ``externalId``."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    edges: set[tuple[str, str]] = field(default_factory=set)
    """(group, user)."""
    strangers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Users without an externalId, by userName."""


class _Client(BaseSyncSCIMClient):
    def __init__(self, http: httpx.Client) -> None:
        super().__init__()
        self._http = http

    def request(self, method: str, url: str, **kwargs: Any) -> httpx.Response:
        return self._http.request(method, url, **kwargs)


def read_back(url: str, token: str | None = "a-token") -> Found:
    """The whole target, read page by page with scim2-client, which also checks every answer against the standard."""
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as http:
        client = _Client(http)
        client.discover()
        return found_in(*(list(_entries(client, name)) for name in ("User", "Group")))


def _entries(client: _Client, name: str) -> Iterable[dict[str, Any]]:
    model = client.get_resource_model(name)
    start, total = 1, 1
    while start <= total:
        page = client.query(model, query_parameters=SearchRequest(start_index=start, count=_PAGE))
        total = page.total_results
        for entry in page.resources or ():
            yield entry.model_dump()
            start += 1


def found_in(users: Iterable[Mapping[str, Any]], groups: Iterable[Mapping[str, Any]]) -> Found:
    """The same from resources in their JSON form. Two entries with one externalId are an AssertionError."""
    found, anchor_of = Found(), {}
    users = list(users)
    for user in users:
        anchor_of[user["id"]] = user.get("externalId", user["userName"])
    for user in users:
        account = _flat(user)
        if MANAGER in account:
            account[MANAGER] = anchor_of.get(account[MANAGER], f"nobody ({account[MANAGER]})")
        anchor = user.get("externalId")
        shelf, key = (found.strangers, user["userName"]) if anchor is None else (found.users, anchor)
        assert key not in shelf, f"two accounts for {key}"
        shelf[key] = account
    for group in groups:
        key = group.get("externalId", group["displayName"])
        assert key not in found.groups, f"two groups for {key}"
        found.groups[key] = _flat({name: value for name, value in group.items() if name != "members"})
        found.edges |= {(key, anchor_of[member["value"]]) for member in group.get("members") or ()}
    return found


_OF_THE_SERVICE = frozenset({"id", "meta", "schemas", "groups"})


def _flat(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Every attribute that a client can write, by its flat path: nothing that was not asked for goes unnoticed."""
    flat: dict[str, Any] = {}
    for name, value in resource.items():
        if name in _OF_THE_SERVICE or value is None:
            continue
        if name.startswith("urn:"):
            flat |= {f"{name}:{sub}": item for sub, item in value.items() if item is not None}
            if isinstance(manager := flat.get(f"{name}:manager"), Mapping):
                flat[f"{name}:manager"] = manager["value"]
        elif isinstance(value, Mapping):
            flat |= {f"{name}.{sub}": item for sub, item in value.items() if item is not None}
        elif isinstance(value, list):
            for element in value:
                path = f'{name}[type eq "{element.get("type")}"]'
                flat |= {f"{path}.{sub}": item for sub, item in element.items() if sub != "type" and item is not None}
        else:
            flat[name] = value
    return flat


def differences(found: Found, wanted: State) -> list[str]:
    """Where a target differs from what it should be, a line each; empty when attribute by attribute all is equal."""
    lines = []
    for kind, ours, theirs in (("user", found.users, wanted.users), ("group", found.groups, wanted.groups)):
        lines += [f"{kind} {key} is missing" for key in sorted(theirs.keys() - ours.keys())]
        lines += [f"{kind} {key} should not be there" for key in sorted(ours.keys() - theirs.keys())]
        for key in sorted(ours.keys() & theirs.keys()):
            lines += [
                f"{kind} {key}: {path} is {ours[key].get(path)!r} and should be {theirs[key].get(path)!r}"
                for path in sorted(ours[key].keys() | theirs[key].keys())
                if ours[key].get(path) != theirs[key].get(path)
            ]
    lines += [f"member {edge} is missing" for edge in sorted(wanted.edges - found.edges)]
    lines += [f"member {edge} should not be there" for edge in sorted(found.edges - wanted.edges)]
    lines += [f"stranger {name}" for name in sorted(found.strangers)]
    return lines
