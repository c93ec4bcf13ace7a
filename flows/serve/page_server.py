"""The pages of the state folder by HTTP, for whoever has signed in: reports of runs and Data Docs, and nothing else.

``provisor up`` serves them, so that what stands in Prefect's UI can link to them. It keeps to loopback, and asks for
what the server asks for: the pages name people, and others may have accounts on this machine. No part of an address
ever becomes a path: each is looked up among the names that are there.
"""

import base64
import hmac
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tasks.pages import FOLDERS, overview

_TYPES = {".html": "text/html; charset=utf-8", ".json": "application/json"}
"""Endings of the pages, and what they are."""

_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LOOK_S = 0.1
"""How often it is looked whether the server is to end."""
_IDLE_S = 30
"""How long a connection may stay open without a question."""


@contextmanager
def serving_pages(state: Path, port: int, sign_in: str) -> Iterator[str]:
    """Serves the pages of a state folder while the block lasts; gives their address.

    ``sign_in``: user and password, ``provisor:…``. Raises: OSError when the port is taken.
    """
    with _Server(state, port, sign_in) as server:
        threading.Thread(target=server.serve_forever, args=(_LOOK_S,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def find_page(state: Path, address: str) -> Path | None:
    """The page that is meant by an address as ``/reports/hr-to-app/42.html``; None for whatever is no page."""
    names = [unquote(name) for name in urlsplit(address).path.split("/")[1:]]
    if len(names) != 3 or names[0] not in FOLDERS or Path(names[2]).suffix not in _TYPES:
        return None
    job = _child(state / names[0], names[1])
    page = _child(job, names[2]) if job is not None else None
    return page if page is not None and page.is_file() else None


def _child(folder: Path, name: str) -> Path | None:
    """What has this name in a folder; a link leads elsewhere, and is none."""
    if not folder.is_dir():
        return None
    with os.scandir(folder) as entries:
        return next((Path(one.path) for one in entries if one.name == name and not one.is_symlink()), None)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, state: Path, port: int, sign_in: str) -> None:
        self.state = state
        self.ticket = b"Basic " + base64.b64encode(sign_in.encode())
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Provisor", ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        given = self.headers.get("Authorization", "").encode("latin-1", "replace")
        if not hmac.compare_digest(given, self.server.ticket):
            self._send(HTTPStatus.UNAUTHORIZED, b"Sign in as in the Prefect UI.", "text/plain", with_body=with_body)
        elif urlsplit(self.path).path == "/":
            self._send(HTTPStatus.OK, overview(self.server.state).encode(), _TYPES[".html"], with_body=with_body)
        elif (page := find_page(self.server.state, self.path)) is not None:
            self._send(HTTPStatus.OK, page.read_bytes(), _TYPES[page.suffix], with_body=with_body)
        else:
            said = b"There is no such page; of each job those of the last cycles are kept."
            self._send(HTTPStatus.NOT_FOUND, said, "text/plain", with_body=with_body)

    def _send(self, status: HTTPStatus, body: bytes, kind: str, *, with_body: bool) -> None:
        self.send_response(status)
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="Provisor", charset="UTF-8"')
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it, and whoever looks at what is nobody's business."""
