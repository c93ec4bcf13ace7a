"""The bench of the scim connector: a service of the tests' own, looked at from within."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from connectors.contract import Kind, Pace, Status, Target
from connectors.scim.connector import ScimTarget
from connectors.scim.settings import ScimTargetSettings
from tests.contract.bench import Bench, Fired
from tests.servers.scim_service import ScimService
from tests.servers.scim_service.answers import Request, Response, ScimError
from tests.servers.scim_service.attributes import ENTERPRISE
from tests.servers.scim_service.faults import Fault

PATHS = {
    "login": "userName",
    "code": "externalId",
    "name": "displayName",
    "title": "title",
    "level": f"{ENTERPRISE}:employeeNumber",
    "manager": f"{ENTERPRISE}:manager",
    "secret": "password",
}
LONGEST = 40
"""Characters of a title."""
Document = dict[str, Any]


@dataclass
class Struck:
    """A fault of the service's own."""

    fault: Fault

    @property
    def fired(self) -> int:
        return self.fault.struck


@dataclass
class Edited:
    """Answers to listings or to filters that are changed on their way out."""

    edit: Callable[[Document], None]
    filtered: bool
    nth: int
    times: int
    seen: int = 0
    fired: int = 0

    def strikes(self, request: Request) -> bool:
        """Whether it changes the answer to this request."""
        is_list = request.method == "GET" and request.path.endswith(("/Users", "/Groups"))
        if not is_list or ("filter" in request.parameters()) is not self.filtered:
            return False
        self.seen += 1
        if self.seen < self.nth or self.fired >= self.times:
            return False
        self.fired += 1
        return True


@dataclass
class ScimBench(Bench):
    """A service in this process."""

    service: ScimService = field(default_factory=ScimService)
    edits: list[Edited] = field(default_factory=list)
    late: bool = False

    def target(self, *, concurrency: int = 4, **settings: Any) -> Target:
        os.environ["SCIM_TOKEN"] = "a-token"
        paging = "paging: cursor\n" if self.service.quirks["cursor"] == "demanded" else ""
        (self.folder / "probed.yaml").write_text(f"doubles: false\n{paging}", encoding="utf-8")
        said = {"url": self.service.url, "auth": {"bearer": "${env:SCIM_TOKEN}"}, "profile": "probed.yaml"}
        parsed = ScimTargetSettings.model_validate(said)
        target = ScimTarget(parsed, folder=self.folder, pace=Pace(concurrency=concurrency), clock=self.clock)
        self.opened.append(target)
        return target

    def put(self, kind: Kind = Kind.USER, **values: Any) -> str:
        made = [self._resource(kind, values)]
        users, groups = self.service.seed(users=made) if kind is Kind.USER else self.service.seed(groups=made)
        (key,) = users or groups
        if self.late:
            self.service.call(lambda: self._hide(key))
        return key

    def _hide(self, key: str) -> None:
        self.service.engine.faults.fresh[key] = (time.monotonic(), self.service.engine.faults.requests)

    def people(self, count: int) -> list[str]:
        made = [{"login": f"user{number:05d}", "name": f"User {number}"} for number in range(count)]
        return self.service.seed(users=[self._resource(Kind.USER, one) for one in made])[0]

    @staticmethod
    def _resource(kind: Kind, values: dict[str, Any]) -> Document:
        if kind is Kind.GROUP:
            return {"displayName": values["name"]}
        found: Document = {"active": True}
        for role, value in values.items():
            *_, name = PATHS[role].rpartition(":")
            text = str(value) if role == "level" else value
            place = found.setdefault(ENTERPRISE, {}) if PATHS[role].startswith(ENTERPRISE) else found
            place[name] = text
        return {name: value for name, value in found.items() if value is not None}

    def edit(self, key: str, **values: Any) -> None:
        new = self._resource(Kind.USER, values)
        old = self.service.users[key]
        self.service.users[key] = {**old, **new, ENTERPRISE: {**old.get(ENTERPRISE, {}), **new.get(ENTERPRISE, {})}}

    def see(self, kind: Kind = Kind.USER) -> dict[str, Document]:
        if kind is Kind.GROUP:
            return {key: {"name": group["displayName"]} for key, group in self.service.groups.items()}
        found = {}
        for key, user in self.service.users.items():
            flat = {**user, **{f"{ENTERPRISE}:{name}": value for name, value in user.get(ENTERPRISE, {}).items()}}
            found[key] = {role: flat[path] for role, path in PATHS.items() if path in flat} | {
                "active": user.get("active", True)
            }
        return found

    def edges(self) -> set[tuple[str, str]]:
        groups = self.service.groups.items()
        return {(key, member["value"]) for key, group in groups for member in group.get("members", ())}

    def join(self, group: str, *members: str) -> None:
        held = self.service.groups[group]
        joined = [*held.get("members", ()), *({"value": member} for member in members)]
        self.service.groups[group] = {**held, "members": joined}

    def trouble(self, fault: str, *, verb: str = "", nth: int = 1, times: int = 1) -> Fired:
        method = {"create": "POST", "update": "PATCH,PUT"}.get(verb, "GET")
        which: dict[str, Any] = {"method": method, "path": "^/Users", "after": nth - 1, "times": times}
        match fault:
            case "cut":
                return Struck(self.service.set_fault("reset", **which))
            case "lost before" | "lost after":
                return Struck(self.service.set_fault("reset", commit=fault.removeprefix("lost "), **which))
            case "throttled":
                return Struck(self.service.set_fault("too_many_requests", seconds=2, **which))
            case "not trusted":
                return Struck(self.service.set_fault("error", status=401, **which))
            case "late":
                self.late = True
                return Struck(self.service.set_fault("delayed_lists", requests=4))
            case "everybody":
                return self._edited(self._everybody, nth, times, filtered=True)
            case "circle":
                self.service.quirks["cursor"] = "demanded"
                return self._edited(lambda page: page.update(nextCursor="at-0"), nth, times)
            case "one missing":
                return self._edited(lambda page: page["Resources"].pop(0), nth, times)
            case "empty" | "nobody":
                return self._edited(lambda page: page["Resources"].clear(), nth, times)
            case "doubled":
                first = next(iter(self.service.users.values()))
                return self._edited(lambda page: page["Resources"].__setitem__(0, first), nth, times)
            case "unreadable":
                return self._edited(lambda page: page["Resources"][-1].pop("id"), nth, times)
        return super().trouble(fault, verb=verb, nth=nth, times=times)

    def _edited(self, edit: Callable[[Document], Any], nth: int, times: int, *, filtered: bool = False) -> Edited:
        made = Edited(edit, filtered, nth, times)
        self.edits.append(made)
        return made

    def _everybody(self, page: Document) -> None:
        page["Resources"] = list(self.service.users.values())
        page["totalResults"] = len(page["Resources"])

    def answer(self, request: Request, honest: Callable[[Request], Response]) -> Response:
        """What the service answers: titles are short, and answers to lists may be edited."""
        title = _title_in(request)
        if len(title) > LONGEST:
            return ScimError(400, f"title: {title} is longer than {LONGEST} characters", "invalidValue").response()
        answer = honest(request)
        for one in self.edits:
            if one.strikes(request):
                page = orjson.loads(answer.body)
                one.edit(page)
                answer = Response(answer.status, orjson.dumps(page), answer.content_type, answer.headers)
        return answer


def _title_in(request: Request) -> str:
    """The title that a request sets; empty for none."""
    if request.method not in ("POST", "PUT", "PATCH"):
        return ""
    body = orjson.loads(request.body)
    operations = [one for one in body.get("Operations", ()) if isinstance(one, dict)]
    titles = [one.get("value") for one in operations if one.get("path") == "title"]
    titles += [one["value"].get("title") for one in operations if isinstance(one.get("value"), dict)]
    return str(next(filter(None, titles), body.get("title")) or "")


@contextmanager
def scim_bench(folder: Path) -> Iterator[Bench]:
    """A service with nobody in it."""
    with ScimService(max_page_size=500, quirks={"unknown_member": "refused"}) as service:
        bench = ScimBench(folder, name="scim", paths=PATHS, switch="active", service=service)
        bench.group_paths, bench.refused_create = {"name": "displayName"}, Status.PARTLY
        service.engine.instead = bench.answer
        try:
            yield bench
        finally:
            bench.close()
