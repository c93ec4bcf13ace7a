"""The bench of the entra connector: a tenant of the tests' own, looked at from within."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connectors.contract import Action, Change, Kind, Pace, Target
from connectors.entra.settings import EntraTargetSettings
from connectors.entra.system import SYSTEM
from connectors.kit import KitTarget
from tests.contract.bench import Bench, Fired
from tests.servers.graph_service import SECRET, GraphService, serving
from tests.servers.graph_words import TAKEN, Refusal

PATHS = {
    "login": "userPrincipalName",
    "name": "displayName",
    "title": "employeeId",
    "level": "employeeType",
    "manager": "manager",
}
"""An employee id may have 16 characters, which is short enough for a title that is too long."""
Document = dict[str, Any]


@dataclass
class Struck:
    """A fault of some requests, or of their answers."""

    fits: Callable[[str, str, str], bool]
    """By method, path and query."""
    nth: int
    times: int
    refusal: Refusal | None = None
    edit: Callable[[Document, Request], None] | None = None
    seen: int = 0
    fired: int = 0

    def strikes(self, request: Request, path: str) -> bool:
        """Whether it strikes this request."""
        if not self.fits(request.method, path, request.url.query):
            return False
        self.seen += 1
        if self.seen < self.nth or self.fired >= self.times:
            return False
        self.fired += 1
        return True


@dataclass
class Lost:
    """Answers that are lost, until they have been."""

    tenant: "Tenant"
    times: int

    @property
    def fired(self) -> int:
        return self.times - len(self.tenant.losing)


@dataclass
class Tenant(GraphService):
    """A tenant in which people may have any name, and that is told what goes wrong."""

    faults: list[Struck] = field(default_factory=list)

    def _check(self, body: Document, key: str | None) -> None:
        super()._check({name: value for name, value in body.items() if name != "userPrincipalName"}, key)
        name = str(body.get("userPrincipalName", "")).lower()
        if name and any(one["userPrincipalName"].lower() == name and id_ != key for id_, one in self.users.items()):
            target = {"code": "ObjectConflict", "message": "Conflict.", "target": "userPrincipalName"}
            raise Refusal(400, "Request_BadRequest", TAKEN, target)

    def _dispatch(self, request: Request, path: str, body: bytes) -> Response:
        struck = [one for one in self.faults if one.strikes(request, path)]
        refused = next((one.refusal for one in struck if one.refusal is not None), None)
        if refused is not None:
            raise refused
        answer = super()._dispatch(request, path, body)
        for one in struck:
            if one.edit is not None:
                page = orjson.loads(answer.body)
                one.edit(page, request)
                answer = JSONResponse(page)
        return answer


@dataclass
class EntraBench(Bench):
    """A tenant on loopback."""

    tenant: Tenant = field(default_factory=Tenant)
    late: bool = False

    def target(self, *, concurrency: int = 4, **settings: Any) -> Target:
        os.environ["ENTRA_SECRET"] = SECRET
        parsed = EntraTargetSettings.model_validate(self.tenant.section())
        target = KitTarget(SYSTEM, parsed, folder=self.folder, pace=Pace(concurrency=concurrency), clock=self.clock)
        self.opened.append(target)
        return target

    def change(self, action: Action, target_id: str | None = None, *, kind: Kind = Kind.USER, **more: Any) -> Change:
        made = super().change(action, target_id, kind=kind, **more)
        if action is not Action.CREATE or kind is Kind.GROUP:
            return made
        needed = {"displayName": "Somebody", "mailNickname": "somebody"}
        made.attributes.update({name: value for name, value in needed.items() if name not in made.attributes})  # type: ignore[attr-defined]
        return made

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        if kind is Kind.GROUP:
            return self.tenant.put_group(values["name"])
        named = {PATHS[role]: str(value) if role == "level" else value for role, value in values.items()}
        key = self.tenant.put_user(**named)
        if self.late:
            self.tenant._new.add(key)
        return key

    def people(self, count: int) -> list[str]:
        return [self.put(login=f"user{number:05d}", name=f"User {number}") for number in range(count)]

    def edit(self, key: str, **values: Any) -> None:
        self.tenant.change_user(key, **{PATHS[role]: str(value) for role, value in values.items()})

    def see(self, kind: Kind = Kind.USER) -> dict[str, Document]:
        if kind is Kind.GROUP:
            return {key: {"name": group["displayName"]} for key, group in self.tenant.groups.items()}
        return {
            key: {role: user.get(path) for role, path in PATHS.items()} | {"active": user["accountEnabled"]}
            for key, user in self.tenant.users.items()
        }

    def edges(self) -> set[tuple[str, str]]:
        return set(self.tenant.members)

    def join(self, group: str, *members: str) -> None:
        for member in members:
            self.tenant.join(group, member)

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fired:
        method, beginning = {"create": ("POST", "/users"), "update": ("PATCH", "/users/")}.get(verb, ("GET", "/users"))
        if fault in ("lost before", "lost after"):
            self.tenant.losing += [(method, beginning, fault.removeprefix("lost "))] * times
            return Lost(self.tenant, times)
        if fault == "late":
            self.late, self.tenant.hidden_reads = True, 2
            return Struck(lambda *request: False, nth, times)
        if fault == "expired":
            self.tenant.forget_tokens()
            return Struck(lambda *request: False, nth, times, fired=len(self.tenant.expired))
        refusal, edit = self._wrong(fault), self._edit(fault)
        if refusal is None and edit is None:
            return super().trouble(fault, verb=verb, nth=nth, times=times)
        of_pages = verb == "page"

        def fits(asked: str, path: str, query: str) -> bool:
            if method == "POST":
                return (asked, path) == ("POST", "/users")
            return asked == "GET" and path == ("/users/delta" if of_pages else "/users")

        made = Struck(fits, nth, times, refusal, edit)
        self.tenant.faults.append(made)
        return made

    @staticmethod
    def _wrong(fault: str) -> Refusal | None:
        match fault:
            case "cut":
                return Refusal(504, "UnknownError", "")
            case "throttled":
                return Refusal(429, "TooManyRequests", "Too many requests.", **{"Retry-After": "2"})
            case "not trusted":
                return Refusal(401, "InvalidAuthenticationToken", "Access token is empty.")
        return None

    def _edit(self, fault: str) -> Callable[[Document, Request], Any] | None:
        match fault:
            case "circle":
                return lambda page, request: page.update({"@odata.nextLink": self._link(request)})
            case "one missing":
                return lambda page, request: page["value"].pop(0)
            case "nobody":
                return lambda page, request: page["value"].clear()
            case "empty":
                return lambda page, request: page.update(
                    {"value": [], "@odata.nextLink": f"{self._link(request)}&again=1"}
                )
            case "doubled":
                first = next(iter(self.tenant.users.values()))
                return lambda page, request: page["value"].__setitem__(0, first)
            case "everybody":
                return lambda page, request: page.update(value=list(self.tenant.users.values()))
        return None

    def _link(self, request: Request) -> str:
        return f"{self.tenant.url}/users/delta?{request.url.query}"


@contextmanager
def entra_bench(folder: Path) -> Iterator[Bench]:
    """A tenant with nobody in it."""
    tenant = Tenant()
    with serving(tenant):
        bench = EntraBench(folder, name="entra", paths=PATHS, switch="accountEnabled", renews=True, tenant=tenant)
        bench.group_paths = {"name": "displayName"}
        try:
            yield bench
        finally:
            bench.close()
