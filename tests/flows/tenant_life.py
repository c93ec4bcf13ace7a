"""The whole life of a company in a tenant of Microsoft Entra ID, read back by the maker's own client.

The same exports as for directories go through the shipped job three times. After each msgraph-sdk reads the tenant,
which must be what the exports mean, and a cycle that looks at everything must find nothing to do. The command
``python -m tests.benchmarks.tenant life`` runs it for all.
"""

import asyncio
import csv
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from ruamel.yaml import YAML

from connectors.entra import system
from tests.data.expected import MANAGER, State, desired_state
from tests.flows.directory_life import A_WEEK, JOBS, Told, lived, write_exports
from tests.model.driver import Driver
from tests.servers.graph_client import TenantState, sdk_of, state_of
from tests.servers.graph_service import SECRET, GraphService, serving

DOMAINS = ("example.com", "example.net", "example.org", "fjell.example.org")
WIDE = {"count": 5000, "fraction": 1.0, "minimum": 5000}
"""Guards have tests of their own."""


@dataclass(frozen=True, slots=True)
class Lived:
    """One step of a life, and what it took."""

    told: Told
    requests: int


def job_for(service: GraphService) -> dict[str, Any]:
    """The shipped job, told where the tenant is, for the same people as the job that the expectation is written for."""
    reader = YAML(typ="safe")
    document: dict[str, Any] = reader.load((JOBS / "hr-to-entra.yaml").read_text(encoding="utf-8"))
    document["target"] |= service.section()
    document["users"]["scope"] = reader.load((JOBS / "hr-to-scim.yaml").read_text(encoding="utf-8"))["users"]["scope"]
    document["limits"] = {"removals": WIDE, "members": WIDE}
    del document["load"]["rate"]
    return document


def live(folder: Path, *, people: int | None) -> Iterator[Lived]:
    """Each step of the life once it is over, as fast as the service answers."""
    first, second = write_exports(folder, people)
    with pytest.MonkeyPatch.context() as patch, serving(GraphService(domains=DOMAINS)) as service:
        patch.setenv("PROVISOR_HOME", str(folder / "state"))
        patch.setenv("ENTRA_SECRET", SECRET)
        patch.setattr(system, "SYSTEM", replace(system.SYSTEM, per_s=None))
        export = folder / "hr-to-scim"
        export.mkdir()
        (folder / "job.yaml").write_bytes(orjson.dumps(job_for(service)))
        with closing(Driver(folder / "job.yaml")) as driver:
            state: State | None = None
            for step, day in (("everybody joins", first), ("a second day", second), ("back again", first)):
                for name in ("people.csv", "groups.csv", "members.csv"):
                    (export / name).write_bytes((day / name).read_bytes())
                driver.now += A_WEEK
                state = desired_state(day, state)
                state.edges = {edge for edge in state.edges if edge[1] in state.in_scope}
                service.requests.clear()
                told = lived(step, driver, partial(differences, service, state, titles_in(day)))
                yield Lived(told, len(service.requests))


def titles_in(day: Path) -> dict[str, str]:
    """Everybody's title in an export."""
    with (day / "people.csv").open(encoding="utf-8", newline="") as file:
        return {row["employeeId"]: row["jobTitle"] for row in csv.DictReader(file)}


def differences(service: GraphService, wanted: State, titles: Mapping[str, str]) -> list[str]:
    """Where the tenant, read by msgraph-sdk, is not as the export means it."""

    async def read() -> TenantState:
        async with sdk_of(service) as client:
            return await state_of(client)

    found = asyncio.run(read())
    numbers = {name: str(user["employeeId"]) for name, user in found.users.items()}
    names = {number: name for name, number in numbers.items()}
    told = [f"{anchor} is not there" for anchor in wanted.users.keys() - names.keys()]
    told += [f"{anchor} should not be there" for anchor in names.keys() - wanted.users.keys()]
    told += ["an account is there twice"] * (len(found.users) - len(names))
    for anchor, account in wanted.users.items():
        held = found.users.get(names.get(anchor, ""))
        if held is None:
            continue
        means = {
            "displayName": account["displayName"],
            "accountEnabled": account["active"],
            "manager": names.get(str(account.get(MANAGER))),
        }
        if anchor in wanted.in_scope:
            means["jobTitle"] = titles[anchor] or None
        told += [
            f"{anchor}: {path} is {held[path]!r}, not {value!r}"
            for path, value in means.items()
            if _squeezed(held[path]) != _squeezed(value)
        ]
    held_edges = {(group, numbers.get(name, name)) for group, people in found.groups.items() for name in people}
    edges = {(str(wanted.groups[group]["displayName"]), person) for group, person in wanted.edges}
    told += [f"{edge} is missing" for edge in sorted(edges - held_edges)]
    told += [f"{edge} is too much" for edge in sorted(held_edges - edges)]
    return told


def _squeezed(value: Any) -> Any:
    return " ".join(value.split()) if isinstance(value, str) else value
