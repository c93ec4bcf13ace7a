"""A token endpoint: OAuth 2.0 client credentials and the grants of a user, with the ways in which a client proves who
it is, and with mistakes.

with TokenEndpoint(clients={"app": Client(secret="s")}) as endpoint:
    ...  # endpoint.url; endpoint.asked are the forms, endpoint.given the tokens
"""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, unquote_plus

import jwt

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
USERS_JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Client:
    """A client that is known, and what proves that it is."""

    secret: str | None = None
    public_key: Any = None
    """Verifies its assertions."""
    algorithm: str = "RS256"
    assertion: str | None = None
    """The very assertion it must bring."""
    by_certificate: bool = False
    """The connection has proved it, or nothing has to: a public client."""


@dataclass(slots=True)
class Answered:
    """What is answered instead of a token."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def error(status: int, code: str, description: str = "") -> Answered:
    """An error as the standard has it."""
    return Answered(status, json.dumps({"error": code, "error_description": description}).encode())


class TokenEndpoint:
    """Gives tokens while the block runs."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        *,
        lasts_s: float | None = 3600,
        tls: ssl.SSLContext | None = None,
        issued: Callable[[str], None] = lambda token: None,
    ) -> None:
        """``issued`` is told each new token: the system that shall accept it."""
        self.clients = clients
        self.lasts_s = lasts_s
        self.instead: list[Answered] = []
        """What is answered next, instead of tokens; the last one stays if ``for_ever``."""
        self.for_ever = False
        self.asked: list[dict[str, str]] = []
        """The form of every request."""
        self.given: list[str] = []
        """Every token."""
        self.extra: dict[str, Any] = {}
        """Put into every answer."""
        self.users: dict[str, str] = {}
        """Users who may be named in an assertion, and their passwords."""
        self.refresh_token: str | None = None
        """The one that is good now."""
        self.rotates = False
        """Each use of the refresh token gives another one, and ends the one before."""
        self._issued = issued
        self._used: set[str] = set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}/token"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, form: dict[str, str], authorization: str | None) -> Answered:
        """A token, or why there is none."""
        with self._lock:
            self.asked.append(form)
            if self.instead:
                return self.instead[0] if self.for_ever and len(self.instead) == 1 else self.instead.pop(0)
            if trouble := self._trouble(form, authorization):
                return error(401, "invalid_client", trouble)
            if (refused := self._grant_refused(form)) is not None:
                return refused
            token = f"token-{len(self.given) + 1}-of-{form.get('client_id', 'somebody')}"
            self.given.append(token)
            self._issued(token)
            found: dict[str, Any] = {"access_token": token, "token_type": "bearer", **self.extra}
            if self.lasts_s is not None:
                found["expires_in"] = self.lasts_s
            if self.rotates and form["grant_type"] == "refresh_token":
                self.refresh_token = found["refresh_token"] = f"refresh-{len(self.given)}"
            return Answered(200, json.dumps(found).encode())

    def _grant_refused(self, form: dict[str, str]) -> Answered | None:
        """Why nothing is granted to a client that is known; None where it is."""
        match form.get("grant_type"):
            case "client_credentials":
                good = True
            case "refresh_token":
                good = form["refresh_token"] == self.refresh_token
            case "password":
                good = self.users.get(form["username"]) == form["password"]
            case grant if grant == USERS_JWT:
                client = self.clients[form["client_id"]]
                trouble = self._assertion_trouble(client, form["client_id"], form["assertion"], self.users)
                return error(400, "invalid_grant", trouble) if trouble else None
            case _:
                return error(400, "unsupported_grant_type")
        return None if good else error(400, "invalid_grant", f"not good: {form}")

    def _trouble(self, form: dict[str, str], authorization: str | None) -> str:
        """Why the client is not let in; empty when it is."""
        name, secret = form.get("client_id"), form.get("client_secret")
        if authorization is not None:
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            name, secret = unquote_plus(pair[0]), unquote_plus(pair[2])
        client = self.clients.get(name or "")
        if client is None:
            return f"there is no client {name}"
        if client.by_certificate:
            return ""
        if client.secret is not None:
            return "" if secret == client.secret else f"wrong secret {secret}"
        if form.get("grant_type") == USERS_JWT:
            return ""  # the assertion of the grant says it all
        assertion = form.get("client_assertion", "")
        if form.get("client_assertion_type") != JWT_BEARER:
            return "no assertion"
        if client.assertion is not None:
            return "" if assertion == client.assertion else f"wrong assertion {assertion}"
        return self._assertion_trouble(client, name, assertion, {name or ""})

    def _assertion_trouble(self, client: Client, name: str | None, assertion: str, subjects: Container[str]) -> str:
        try:
            claims = jwt.decode(
                assertion,
                client.public_key,
                algorithms=[client.algorithm],
                audience=self.url,
                issuer=name,
                options={"require": ["exp", "iat", "sub", "jti"]},
            )
        except jwt.InvalidTokenError as trouble:
            return f"{trouble}"
        if claims["sub"] not in subjects or claims["jti"] in self._used:
            return "not for the right one, or used before"
        self._used.add(claims["jti"])
        return ""


def _handler(endpoint: TokenEndpoint) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            answered = endpoint.answer(dict(parse_qsl(body)), self.headers.get("Authorization"))
            self.send_response(answered.status)
            for name, value in answered.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", answered.media_type)
            self.send_header("Content-Length", str(len(answered.body)))
            self.end_headers()
            self.wfile.write(answered.body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
