"""The bench of the salesforce connector: an org of our own, looked at without the connector."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.contract import Kind, Pace, Target
from connectors.kit import KitTarget
from connectors.salesforce.settings import SalesforceTargetSettings
from connectors.salesforce.system import system_for
from tests.contract.bench import Bench, Gap
from tests.servers.faults import Fault
from tests.servers.salesforce_service import CLIENT, SECRET, Field, SalesforceService, serving, text

PATHS = {
    "login": "Login__c",
    "code": "Code__c",
    "name": "LastName",
    "title": "Title__c",
    "level": "Level__c",
    "vip": "Vip__c",
    "since": "Since__c",
    "tags": "Tags__c",
    "manager": "ManagerId",
}
"""A login may be any text here, and a user name in Salesforce may not: a field of the org's own."""
ROLES = {path: role for role, path in PATHS.items()}
FAULTS = {"cut", "circle", "one missing", "empty", "doubled", "nobody", "everybody", "lost before", "lost after"}
FAULTS |= {"hole in pack", "short pack", "pack refused", "not trusted"}


@dataclass
class SalesforceBench(Bench):
    """An org with fields of its own, in which nothing else is demanded."""

    service: SalesforceService = field(default_factory=SalesforceService)

    def target(self, **settings: Any) -> Target:
        parsed = SalesforceTargetSettings.model_validate(
            {
                "url": self.service.url,
                "auth": {"oauth": {"client_id": CLIENT, "secret": "${file:secret}"}},
                "groups": ["public"],
            }
        )
        pace = Pace(concurrency=settings.get("concurrency", 4))
        target = KitTarget(system_for(parsed), parsed, folder=self.folder, pace=pace, clock=self.clock)
        self.opened.append(target)
        return target

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        if kind is Kind.GROUP:
            return self.service.put_group(values["name"])
        key = self.service.put_user(**{PATHS[role]: value for role, value in values.items()})
        if any(fault.name == "late" for fault in self.service.faults):
            self.service.hidden[key] = 2
        return key

    def edit(self, key: str, **values: Any) -> None:
        self.service.change_user(key, **{PATHS[role]: value for role, value in values.items()})

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        if kind is Kind.GROUP:
            return {key: {"name": one["Name"]} for key, one in self.service.tables["Group"].items()}
        return {
            key: {ROLES.get(path, path): value for path, value in one.items()} | {"active": one["IsActive"]}
            for key, one in self.service.users.items()
        }

    def edges(self) -> set[tuple[str, str]]:
        return self.service.edges()

    def join(self, group: str, *members: str) -> None:
        for member in members:
            self.service.put("GroupMember", GroupId=group, UserOrGroupId=member)

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fault:
        if fault not in FAULTS | {"late"}:
            raise Gap(f"Salesforce does not show {fault}.")
        made = Fault(fault, "post" if fault == "not trusted" else verb, nth, times)
        self.service.faults.append(made)
        return made


@contextmanager
def salesforce_bench(folder: Path) -> Iterator[Bench]:
    """An org in which there is only the app's own user."""
    service = SalesforceService(page=500)
    users = service.fields["User"]
    for one in users.values():
        one.required = False
    users["Login__c"] = text(255, unique=True)
    users["Code__c"] = text(255, unique=True, exact=True)
    users["Title__c"] = text(40)
    users["Level__c"] = Field("double", extra={"scale": 0})
    users["Vip__c"] = Field("boolean")
    users["Since__c"] = Field("date")
    users["Tags__c"] = Field("multipicklist", 4099)
    service.tables["User"][service.admin]["UserType"] = "AutomatedProcess"  # nobody else counts on it
    (folder / "secret").write_text(SECRET)
    with serving(service):
        bench = SalesforceBench(folder, name="salesforce", paths=PATHS, group_paths={"name": "Name"}, service=service)
        bench.switch = "IsActive"
        try:
            yield bench
        finally:
            bench.close()
