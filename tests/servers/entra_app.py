"""Microsoft Entra ID as one of the apps that tests of the whole look at alike."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.contract import Kind
from tests.servers.apps import MAIL, MANAGER, App, FlatApp
from tests.servers.graph_service import SECRET, GraphService, serving

_FIELDS = {
    Kind.USER: {
        "userName": "userPrincipalName",
        "externalId": "employeeId",
        "displayName": "displayName",
        "title": "jobTitle",
        "nickName": "companyName",
        "mail": "mail",
        "active": "accountEnabled",
    },
    Kind.GROUP: {"displayName": "displayName", "externalId": "uniqueName"},
}


class EntraApp(FlatApp):
    """A tenant."""

    paths: Mapping[Kind, Mapping[str, str]] = {
        Kind.USER: {
            MANAGER: "manager",
            **{{"mail": MAIL}.get(row, row): name for row, name in _FIELDS[Kind.USER].items()},
        },
        Kind.GROUP: _FIELDS[Kind.GROUP],
    }
    extra: Mapping[str, Any] = {"mailNickname": {"expression": "[id]", "apply": "on_create"}}

    def __init__(self, service: GraphService, folder: Path) -> None:
        super().__init__()
        self.service = service
        (folder / "app-secret").write_text(SECRET, encoding="utf-8")
        self.section = {"connector": "entra", **service.section(secret="${file:app-secret}")}

    def _held(self, kind: Kind) -> dict[str, dict[str, Any]]:
        return self.service.users if kind is Kind.USER else self.service.groups

    def rows(self, kind: Kind) -> dict[str, dict[str, Any]]:
        found = {}
        for id, entry in dict(self._held(kind)).items():
            row = {path: entry.get(name) for path, name in _FIELDS[kind].items()}
            found[id] = row | ({"manager": self.service.managers.get(id)} if kind is Kind.USER else {})
        return found

    def edges(self) -> list[tuple[str, str]]:
        there = self.service.users.keys() | self.service.groups.keys()
        return sorted(edge for edge in set(self.service.members) if edge[1] in there)

    def put(self, kind: Kind, id: str, row: Mapping[str, Any], members: Sequence[str]) -> None:
        values = {name: row.get(path) for path, name in _FIELDS[kind].items()}
        if kind is Kind.USER:
            values["accountEnabled"] = row.get("active", True)
            id = id or self.service.put_user(userPrincipalName=values["userPrincipalName"])
            self.service.change_user(id, **values)
            return
        id = id or self.service.put_group("New")
        self.service.groups[id] |= values
        self.service.touch_group(id)
        for edge in [edge for edge in self.service.members if edge[0] == id]:
            self.service.leave(*edge)
        for member in members:
            self.service.join(id, member)

    def remove(self, kind: Kind, id: str) -> None:
        if kind is Kind.USER:
            self.service.remove_user(id)
        else:
            self.service.remove_group(id)


@contextmanager
def entra_app(folder: Path) -> Iterator[App]:
    """A tenant with nobody in it."""
    with serving(GraphService(page=7, members_page=2, domains=("example.com",))) as service:
        yield EntraApp(service, folder)
