"""The bench of the dropbox connector: a team of our own, looked at without the connector."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from connectors.contract import Action, Change, Kind, Pace, Target
from connectors.dropbox.settings import DropboxTargetSettings
from connectors.dropbox.system import SYSTEM, DropboxTarget
from tests.contract.bench import Bench, Gap
from tests.servers.dropbox_service import KEY, REFRESH, SECRET, DropboxService, serving
from tests.servers.salesforce_service import Fault

PATHS = {
    "login": "external_id",
    "name": "name.surname",
    "title": "role",
    "level": "persistent_id",
    "vip": "is_directory_restricted",
}
"""A login may be any text here, and an address may not: it is the external id. A title is one of the team's roles."""
FIELDS = {"login": "external_id", "name": "surname", "title": "role", "level": "persistent_id", "vip": "restricted"}
FAULTS = {"cut", "circle", "one missing", "empty", "doubled", "nobody", "everybody", "lost before", "lost after"}
FAULTS |= {"hole in pack", "short pack", "pack refused", "not trusted", "throttled", "job", "not yet", "job failed"}


@dataclass
class DropboxBench(Bench):
    """A team in which everybody has joined, unless the connector has just invited them."""

    service: DropboxService = field(default_factory=DropboxService)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def target(self, **settings: Any) -> Target:
        parsed = DropboxTargetSettings.model_validate(
            {
                "url": self.service.url,
                "auth": {"client_id": KEY, "secret": "${file:secret}", "refresh_token": "${file:refresh}"},
                "welcome_email": False,
            }
        )
        pace = Pace(concurrency=settings.get("concurrency", 4))
        target = DropboxTarget(SYSTEM, parsed, folder=self.folder, pace=pace, clock=self.clock)
        self.opened.append(target)
        return target

    def change(self, action: Action, target_id: str | None = None, **details: Any) -> Change:
        """Nobody is added without an address."""
        made = super().change(action, target_id, **details)
        if made.kind is Kind.USER and action is Action.CREATE:
            made.attributes["email"] = f"made{next(self.numbers)}@example.com"  # type: ignore[index]
        return made

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        if kind is Kind.GROUP:
            return self.service.put_group(values["name"])
        key = self.service.put(f"put{next(self.numbers)}@example.com", **_fields(values))
        if any(fault.name == "late" for fault in self.service.faults):
            self.service.hidden[key] = 2
        return key

    def edit(self, key: str, **values: Any) -> None:
        for name, value in _fields(values).items():
            setattr(self.service.members[key], name, value)

    def see(self, kind: Kind = Kind.USER) -> dict[str, dict[str, Any]]:
        if kind is Kind.GROUP:
            return {key: {"name": one.name} for key, one in self.service.groups.items()}
        return {
            key: {role: getattr(one, name) for role, name in FIELDS.items()}
            | {"active": one.status != "suspended", "title": self.service.roles.get(one.role or "")}
            for key, one in self.service.here.items()
        }

    def edges(self) -> set[tuple[str, str]]:
        return self.service.edges()

    def join(self, group: str, *members: str) -> None:
        self.service.groups[group].members |= dict.fromkeys(members)

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fault:
        if fault not in FAULTS | {"late"}:
            raise Gap(f"Dropbox does not show {fault}.")
        made = Fault(fault, verb, nth, times)
        self.service.faults.append(made)
        return made


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    found = {FIELDS[role]: value for role, value in values.items()}
    if "persistent_id" in found:
        found["persistent_id"] = str(found["persistent_id"])
    if found.get("role") is not None:
        found["role"] = "pid_dbtmr:9"
    return found | {"surname": found.get("surname") or ""}


@contextmanager
def dropbox_bench(folder: Path) -> Iterator[Bench]:
    """A team without members; its admin is not counted among them."""
    service = DropboxService(page=500, checked=False)
    service.roles["pid_dbtmr:9"] = "Chief"
    del service.members[service.admin]
    (folder / "secret").write_text(SECRET)
    (folder / "refresh").write_text(REFRESH)
    with serving(service):
        bench = DropboxBench(folder, name="dropbox", paths=PATHS, group_paths={"name": "group_name"}, service=service)
        bench.switch, bench.renews = "active", True
        try:
            yield bench
        finally:
            bench.close()
