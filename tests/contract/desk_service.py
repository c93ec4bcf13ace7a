"""Desk, the small app of ``connectors/README.md``: people with a status, teams with members, over HTTP and JSON."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "let-me-in"


@dataclass
class Desk:
    """What the app holds, and the faults that it is to show: by method, in order of requests."""

    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    teams: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[tuple[str, str]] = field(default_factory=list)
    """Method and fault (``lost before``, ``lost after``, ``throttled``), each once."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    requests: list[tuple[str, str]] = field(default_factory=list)
    number: int = 0

    def fault(self, method: str) -> str:
        """The fault that strikes this request."""
        for one in self.faults:
            if one[0] == method:
                self.faults.remove(one)
                return one[1]
        return ""

    def taken(self, noun: str, body: dict[str, Any], own: str = "") -> str:
        """The field whose value another entry has."""
        unique = ("login", "badge") if noun == "people" else ("title",)
        for name in unique:
            for key, entry in getattr(self, noun).items():
                same = str(entry.get(name)).lower() == str(body.get(name)).lower()
                if key != own and body.get(name) is not None and same:
                    return name
        return ""

    def create(self, noun: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A new person or team."""
        if field_ := self.taken(noun, body):
            return 409, {"error": "taken", "field": field_, "text": f"{body[field_]} is taken"}
        if len(body.get("login", "")) > 64:
            return 422, {"error": "too_long", "field": "login", "text": f"{body['login']} is too long"}
        self.number += 1
        key = f"{noun[0]}{self.number}"
        made = {"members": []} if noun == "teams" else {"status": "enabled", "created": "2026-01-01T00:00:00Z"}
        getattr(self, noun)[key] = {"id": key, **made, **body}
        return 201, {"id": key}

    def join(self, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Members come and go; unknown people are named."""
        members: list[str] = self.teams[key]["members"]
        unknown = [one for one in body["join"] if one not in self.people]
        for one in body["join"]:
            if one in self.people and one not in members:
                members.append(one)
        self.teams[key]["members"] = [one for one in members if one not in body["leave"]]
        return 200, {"unknown": unknown}


class _Handler(BaseHTTPRequestHandler):
    desk: Desk
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _serve(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        with self.desk.lock:
            self.desk.requests.append((self.command, self.path))
            fault = self.desk.fault(self.command)
            if fault == "lost before":
                self.close_connection = True
                self.connection.close()
                return
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                status, answer = 401, {}
            elif fault == "throttled":
                status, answer = 429, {}
            else:
                status, answer = self._answer(body)
        if fault == "lost after":
            self.close_connection = True
            self.connection.close()
            return
        text = b"" if status == 204 else json.dumps(answer).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("retry-after", "1")
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815

    def _answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        parts = urlsplit(self.path)
        noun, *rest = parts.path.strip("/").split("/")
        entries: dict[str, dict[str, Any]] = getattr(self.desk, noun)
        if not rest:
            return self.desk.create(noun, body) if self.command == "POST" else self._list(noun, parse_qs(parts.query))
        key = rest[0]
        if key not in entries:
            return 404, {}
        if rest[1:] == ["members"]:
            return self.desk.join(key, body)
        if self.command == "DELETE":
            del entries[key]
            for team in self.desk.teams.values():
                team["members"] = [one for one in team["members"] if one != key]
            return 204, {}
        if field_ := self.desk.taken(noun, body, own=key):
            return 409, {"error": "taken", "field": field_, "text": f"{body[field_]} is taken"}
        entries[key].update(body)
        return 200, {}

    def _list(self, noun: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        limit, after = int(query.pop("limit", ["100"])[0]), query.pop("after", [""])[0]
        everybody = list(getattr(self.desk, noun).values())
        total = len(everybody)
        for name, values in query.items():
            wanted = {value.lower() for value in values}
            everybody = [one for one in everybody if str(one.get(name)).lower() in wanted]
        start = int(after or 0)
        page = [{name: one[name] for name in one if name != "pin"} for one in everybody[start : start + limit]]
        more = start + limit < len(everybody)
        return 200, {noun: page, "next": str(start + limit) if more else None, "total": total}


@contextmanager
def desk_server(desk: Desk) -> Iterator[str]:
    """A server for the app on loopback; gives its address."""
    handler = type("Handler", (_Handler,), {"desk": desk})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
