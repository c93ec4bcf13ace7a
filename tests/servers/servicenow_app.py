"""ServiceNow as one of the apps that tests of the whole look at alike."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.contract import Kind
from tests.servers.apps import MAIL, MANAGER, App, FlatApp
from tests.servers.servicenow_service import CLIENT, SECRET, ServiceNowService, serving

_FIELDS = {
    Kind.USER: {
        "userName": "user_name",
        "externalId": "employee_number",
        "displayName": "last_name",
        "title": "title",
        "nickName": "middle_name",
        "mail": "email",
        "manager": "manager",
        "active": "active",
    },
    Kind.GROUP: {"displayName": "name", "externalId": "source"},
}
_TABLES = {Kind.USER: "sys_user", Kind.GROUP: "sys_user_group"}
_TRUTH = {"true": True, "false": False, "": None}


class ServiceNowApp(FlatApp):
    """An instance."""

    paths: Mapping[Kind, Mapping[str, str]] = {
        Kind.USER: {{"mail": MAIL, "manager": MANAGER}.get(row, row): name for row, name in _FIELDS[Kind.USER].items()},
        Kind.GROUP: _FIELDS[Kind.GROUP],
    }

    def __init__(self, instance: ServiceNowService, folder: Path) -> None:
        super().__init__()
        self.service = instance
        (folder / "app-secret").write_text(SECRET, encoding="utf-8")
        client = {"client_id": CLIENT, "secret": "${file:app-secret}", "secret_in": "body"}
        self.section = {"connector": "servicenow", "url": instance.url, "auth": {"oauth": client}}

    def rows(self, kind: Kind) -> dict[str, dict[str, Any]]:
        held = self.service.users if kind is Kind.USER else self.service.tables["sys_user_group"]
        found = {}
        for id, record in dict(held).items():
            row: dict[str, Any] = {path: record.get(name) or None for path, name in _FIELDS[kind].items()}
            found[id] = row | ({"active": _TRUTH[record["active"]]} if kind is Kind.USER else {})
        return found

    def edges(self) -> list[tuple[str, str]]:
        found = [edge for edge in self.service.edges() if edge[0] in self.service.tables["sys_user_group"]]
        assert len(found) == len(set(found)), "somebody is a member twice"
        return sorted(found)

    def put(self, kind: Kind, id: str, row: Mapping[str, Any], members: Sequence[str]) -> None:
        values = {name: row.get(path) for path, name in _FIELDS[kind].items()}
        if kind is Kind.USER:
            values["active"] = row.get("active", True)
        id = id or (self.service.put_user() if kind is Kind.USER else self.service.put_group("New"))
        self.service.store(_TABLES[kind], id, **values)
        if kind is Kind.GROUP:
            held = self.service.tables["sys_user_grmember"]
            for edge in [edge for edge, one in held.items() if one["group"] == id]:
                del held[edge]
            for member in members:
                self.service.put("sys_user_grmember", group=id, user=member)

    def remove(self, kind: Kind, id: str) -> None:
        del self.service.tables[_TABLES[kind]][id]


@contextmanager
def servicenow_app(folder: Path) -> Iterator[App]:
    """An instance with nobody in it but the account that is signed in with."""
    with serving() as instance:
        yield ServiceNowApp(instance, folder)
