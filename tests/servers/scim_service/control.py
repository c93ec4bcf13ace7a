"""How another process looks into the service and sets its switches: requests below ``/_control``.

    GET    /_control/state       counts, quirks, faults, statuses, log length
    GET    /_control/requests    requests by method and resource kind
    GET    /_control/log         the log
    GET    /_control/export      every resource, one JSON document a line, users first
    GET    /_control/failures    tracebacks of the service's own mistakes
    POST   /_control/seed        {"users": [...], "groups": [...], "count": 9, "group_count": 2, "members_per_group": 5}
    POST   /_control/reset       {"counts": true, "resources": true, "faults": true, "quirks": true}; {} means counts
    POST   /_control/faults      {"kind": "latency", "seconds": 0.1, ...}
    DELETE /_control/faults      all, or /_control/faults/LABEL
    POST   /_control/quirks      {"filter": "ignored", ...}
    POST   /_control/token       {"token": "..."}: another token from now on

These requests are neither counted nor logged, need no token, and no fault strikes them.
"""

from typing import Any
from urllib.parse import unquote

import orjson

from tests.servers.scim_service import seeding
from tests.servers.scim_service.answers import Request, Response
from tests.servers.scim_service.connection import CONTROL, Engine
from tests.servers.scim_service.faults import Fault

JSON = b"application/json"


class Control:
    """Answers control requests."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.application = engine.application

    def answer(self, request: Request) -> Response:
        """What the control interface says; 400 with the reason where it cannot do what is asked."""
        name, _, rest = request.path[len(CONTROL) :].strip("/").partition("/")
        try:
            given: Any = orjson.loads(request.body) if request.body else {}
            match request.method, name:
                case "GET", "export":
                    return Response(200, b"\n".join(self.application.store.export()), b"application/x-ndjson")
                case "GET", "log":
                    return _json([{**entry._asdict(), "body": entry.body.decode()} for entry in self.engine.log])
                case "GET", "failures":
                    return _json(self.engine.failures)
                case "GET", "requests":
                    return _json(self.engine.requests)
                case "POST", "seed":
                    self._seed(given)
                case "POST", "reset":
                    self._reset(given or {"counts": True})
                case "POST", "faults":
                    self.engine.faults.switch_on(Fault.make(given.pop("kind"), **given))
                case "DELETE", "faults":
                    self.engine.faults.switch_off(unquote(rest) or None)
                case "POST", "quirks":
                    self.application.quirks.update(given)
                case "POST", "token":
                    self.application.token = given["token"]
                    self.engine.faults.switch_off("expired_token")
                case "GET", "state":
                    pass
                case _:
                    return _json({"error": f"there is no {request.method} {request.path}"}, 404)
        except (TypeError, ValueError, KeyError) as error:
            return _json({"error": str(error)}, 400)
        return _json(self.state())

    def state(self) -> dict[str, Any]:
        """What the service holds and does, in figures."""
        engine, store = self.engine, self.application.store
        return {
            "url": self.application.url,
            "users": len(store.users.entries),
            "groups": len(store.groups.entries),
            "memberships": sum(len(group.members or ()) for group in store.groups.order),
            "requests": engine.requests,
            "statuses": {str(status): count for status, count in engine.statuses.items()},
            "logged": len(engine.log),
            "most_in_flight": engine.most_in_flight,
            "connections_made": engine.connections_made,
            "quirks": self.application.quirks.changed(),
            "faults": {label: fault.as_dict() for label, fault in engine.faults.active.items()},
            "failures": len(engine.failures),
        }

    def _seed(self, given: dict[str, Any]) -> None:
        store = self.application.store
        seeding.put(self.application, "Users", given.get("users", ()))
        if count := given.get("count", 0):
            seeding.make_users(self.application, count, first=len(store.users.order) + 1)
        seeding.put(self.application, "Groups", given.get("groups", ()))
        if count := given.get("group_count", 0):
            members = given.get("members_per_group", 0)
            seeding.make_groups(self.application, count, members=members, first=len(store.groups.order) + 1)

    def _reset(self, what: dict[str, Any]) -> None:
        if what.get("counts"):
            self.engine.reset_counts()
        if what.get("resources"):
            self.application.store.clear()
        if what.get("faults"):
            self.engine.faults.switch_off()
        if what.get("quirks"):
            self.application.quirks.reset()


def _json(document: Any, status: int = 200) -> Response:
    return Response(status, orjson.dumps(document), JSON)
