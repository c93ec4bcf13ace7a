"""BambooHR, Personio and HiBob of our own for tests, at one address; nothing of the product.

Each leaves out what its real one leaves out: BambooHR people who are dated ahead unless ``onlyCurrent=false``, HiBob
those who have left unless ``showInactive``, and all of them fields that the API user may not see.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY, TOKEN = "a-small-hr-key", "a-small-hr-token"

EARLIER = {"id": "e1", "employment_start_date": "2015-01-01", "position": {"title": "Old"}}


@dataclass
class SmallHrService:
    """One company in all three."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Id to fields; ``left`` and ``ahead`` say who has left and who is dated ahead."""
    hidden: set[str] = field(default_factory=set)
    """Fields that the API user may not see."""
    unlisted: set[str] = field(default_factory=set)
    """People whom BambooHR's report leaves out."""
    requests: list[str] = field(default_factory=list)
    lost_page: bool = False
    troubles: dict[int, str] = field(default_factory=dict)
    """What goes wrong with which page of Personio's persons: cut, empty, circle or doubled."""
    struck: int = 0
    url: str = ""

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, given: str) -> tuple[int, Any]:
        """Status and JSON."""
        self.requests.append(f"{method} {path}")
        if path == "/v2/auth/token":
            return (200, {"access_token": TOKEN, "expires_in": 3600}) if KEY in str(body) else (401, {})
        if path.startswith("/v2/"):
            return self._personio(path, query) if given == f"Bearer {TOKEN}" else (401, {})
        if given != "Basic " + base64.b64encode(f"{KEY}:{KEY}".encode()).decode():
            return 401, {}
        match method, path:
            case "POST", "/api/v1/reports/custom":
                return 200, self._report(query, body)
            case "GET", "/api/v1/employees/changed":
                return 200, {"employees": {key: {"id": key, "action": "Updated"} for key in self.people}}
            case "POST", "/v1/people/search":
                return 200, self._search(body)
        return 404, {}

    def _report(self, query: dict[str, list[str]], body: Any) -> Any:
        shown = [
            (key, one)
            for key, one in self.people.items()
            if key not in self.unlisted and (query.get("onlyCurrent") == ["false"] or not one.get("ahead"))
        ]
        names = [name for name in body["fields"] if name not in self.hidden]
        rows = []
        for key, one in shown:
            status = "Strange" if one.get("strange") else "Inactive" if one.get("left") else "Active"
            values = {"terminationDate": "0000-00-00", **one, "id": key, "status": status}
            rows.append({name: values.get(name) for name in names})
        return {"title": body["title"], "employees": rows}

    def _search(self, body: Any) -> Any:
        found = []
        for key, one in self.people.items():
            if one.get("left") and not body.get("showInactive"):
                continue
            values = {
                "root.id": key,
                "root.firstName": one.get("firstName"),
                "work.title": one.get("jobTitle"),
                "work.department": one.get("department"),
                "work.reportsTo": {"id": one["supervisorEId"]} if one.get("supervisorEId") else None,
                "internal.status": "Strange" if one.get("strange") else "Inactive" if one.get("left") else "Active",
            }
            found.append(
                {
                    "/" + name.replace(".", "/"): {"value": values[name]}
                    for name in body["fields"]
                    if values.get(name) is not None and name not in self.hidden
                }
            )
        return {"employees": found}

    def _personio(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        keys = list(self.people)
        if path == "/v2/persons":
            limit, start = int(query["limit"][0]), int(query.get("cursor", ["0"])[0])
            rows = []
            number, shift = start // limit + 1, 0
            trouble = self.troubles.get(number, "")
            self.struck += bool(trouble)
            if trouble == "cut":
                return 500, {}
            if trouble == "empty":  # once: the same page comes again under another address
                del self.troubles[number]
                href = f"{self.url}/v2/persons?limit={limit}&cursor={start}&again=1"
                return 200, {"_data": [], "_meta": {"links": {"next": {"href": href}}}}
            if trouble == "doubled":
                shift = 1
            for key in keys[start - shift : start - shift + limit]:
                one = self.people[key]
                row = {
                    "id": key,
                    "first_name": one.get("firstName"),
                    "last_name": one.get("jobTitle"),
                    "preferred_name": one.get("department"),
                    "status": "STRANGE" if one.get("strange") else "INACTIVE" if one.get("left") else "ACTIVE",
                    "custom_attributes": [{"id": "c1", "value": one.get("shoe")}],
                }
                rows.append({name: value for name, value in row.items() if name not in self.hidden})
            links = {}
            if start + limit < len(keys):
                links = {"next": {"href": f"{self.url}/v2/persons?limit={limit}&cursor={start + limit}"}}
                if trouble == "circle":
                    links = {"next": {"href": f"{self.url}/v2/persons?limit={limit}&cursor={start}"}}
                if self.lost_page:
                    links = {"next": {"href": "https://elsewhere.example.com/v2/persons"}}
            return 200, {"_data": rows, "_meta": {"links": links}}
        key = path.split("/")[3]
        one = self.people[key]
        employments = [
            *([] if one.get("ahead") else [EARLIER]),
            *one.get("employments", ()),
            {
                "id": "e2",
                "employment_start_date": one.get("hireDate", "2020-01-01"),
                "position": {"title": one.get("jobTitle")},
                "supervisor": {"id": one.get("supervisorEId")},
                "org_units": [{"type": "department", "id": "D1"}],
                "termination": {"last_working_day": one.get("lastDay")},
            },
        ]
        return 200, {"_data": employments, "_meta": {"links": {}}}


class _Handler(BaseHTTPRequestHandler):
    service: SmallHrService
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        json_body = raw[:1] == b"{"
        body = json.loads(raw) if json_body else raw.decode()
        given = self.headers.get("authorization", "")
        status, answer = self.service.answer(self.command, parts.path, parse_qs(parts.query), body, given)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = _serve  # noqa: N815


@contextmanager
def serving() -> Iterator[SmallHrService]:
    """All three answer on loopback while the block runs."""
    service = SmallHrService()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": service}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
