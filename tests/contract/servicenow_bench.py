"""The bench of the servicenow connector: an instance of our own, looked at without the connector."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors.contract import Kind, Pace, Target
from connectors.servicenow.settings import ServiceNowTargetSettings
from connectors.servicenow.system import SYSTEM, ServiceNowTarget
from tests.contract.bench import Bench, Gap
from tests.servers.faults import Fault
from tests.servers.servicenow_service import CLIENT, SECRET, Column, ServiceNowService, serving

PATHS = {
    "login": "user_name",
    "code": "employee_number",
    "name": "last_name",
    "title": "title",
    "level": "u_level",
    "vip": "vip",
    "since": "u_since",
    "manager": "manager",
    "secret": "user_password",
}
ROLES = {path: role for role, path in PATHS.items()}
FAULTS = {"cut", "circle", "one missing", "empty", "doubled", "nobody", "everybody", "late", "throttled"}
FAULTS |= {"hole in pack", "short pack", "pack refused", "not trusted", "lost before", "lost after"}
VERBS = {"create": "insert", "update": "update", "delete": "delete"}


@dataclass
class ServiceNowBench(Bench):
    """An instance with fields of its own."""

    service: ServiceNowService = field(default_factory=ServiceNowService)

    def target(self, **settings: Any) -> Target:
        oauth = {"token_url": f"{self.service.url}/oauth_token.do", "client_id": CLIENT, "secret": "${file:secret}"}
        parsed = ServiceNowTargetSettings.model_validate(
            {
                "url": self.service.url,
                "auth": {"oauth": {**oauth, "secret_in": "body"}},
                "page_size": 500,
                "references": {},
            }
        )
        pace = Pace(concurrency=settings.get("concurrency", 4))
        target = ServiceNowTarget(SYSTEM, parsed, folder=self.folder, pace=pace, clock=self.clock)
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
        self.service.store("sys_user", key, **{PATHS[role]: value for role, value in values.items()})

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        if kind is Kind.GROUP:
            return {key: {"name": one["name"]} for key, one in self.service.tables["sys_user_group"].items()}
        return {
            key: {ROLES[path]: value or None for path, value in one.items() if path in ROLES}
            | {"active": one["active"] == "true"}
            for key, one in self.service.users.items()
        }

    def edges(self) -> set[tuple[str, str]]:
        found = self.service.edges()
        assert len(found) == len(set(found)), "somebody is a member twice"
        return {edge for edge in found if edge[1] != self.service.account}

    def join(self, group: str, *members: str) -> None:
        for member in members:
            self.service.put("sys_user_grmember", group=group, user=member)

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fault:
        if fault not in FAULTS:
            raise Gap(f"ServiceNow does not show {fault}.")
        times = 99 if fault == "nobody" else times  # an empty page is asked for once more before it is believed
        made = Fault(fault, "post" if fault == "not trusted" else VERBS.get(verb, verb), nth, times)
        self.service.faults.append(made)
        return made


@contextmanager
def servicenow_bench(folder: Path) -> Iterator[Bench]:
    """An instance in which there is only the account that is signed in with."""
    service = ServiceNowService()
    users = service.columns["sys_user"]
    users |= {"u_level": Column("integer"), "u_since": Column("glide_date"), "title": Column(length=40)}
    service.tables["sys_user"][service.account]["sys_class_name"] = "a_machine"  # nobody else counts on it
    (folder / "secret").write_text(SECRET)
    with serving(service):
        bench = ServiceNowBench(folder, name="servicenow", paths=PATHS, service=service)
        bench.switch, bench.renews = "active", True
        try:
            yield bench
        finally:
            bench.close()
