"""An OpenID Connect provider made of Authlib's server side: codes, PKCE, signed ID tokens, and what liars answer.

with OpenIdService(client_id="pages", secret="s", back="http://…/sign-in/back") as provider:
    provider.person = {"sub": "1", "email": "maria@example.com", "groups": ["audit"]}
"""

import secrets
import threading
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import orjson
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import AuthorizationServer, OAuth2Payload, OAuth2Request
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core.grants import OpenIDCode
from joserfc.jwk import RSAKey


@dataclass(frozen=True, slots=True)
class _Client:
    client_id: str
    secret: str
    back: str

    def get_client_id(self) -> str:
        return self.client_id

    def get_default_redirect_uri(self) -> str:
        return self.back

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.back

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == self.secret

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass(frozen=True, slots=True)
class _Code:
    code: str
    redirect_uri: str
    scope: str
    nonce: str
    code_challenge: str
    code_challenge_method: str
    user: Mapping[str, Any]

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str:
        return self.nonce

    def get_auth_time(self) -> None:
        return None

    get_acr = get_amr = get_auth_time


class _Payload(OAuth2Payload):  # type: ignore[misc]
    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    @property
    def data(self) -> dict[str, str]:
        return dict(self._pairs)

    @property
    def datalist(self) -> defaultdict[str, list[str]]:
        lists = defaultdict(list)
        for name, value in self._pairs:
            lists[name].append(value)
        return lists


class _Request(OAuth2Request):  # type: ignore[misc]
    def __init__(self, method: str, address: str, form: str, headers: Mapping[str, str]) -> None:
        super().__init__(method, address, headers=headers)  # Authlib wants https, which loopback does not need
        self._form = parse_qsl(form)
        self.payload = _Payload(parse_qsl(urlsplit(address).query) + self._form)

    @property
    def form(self) -> dict[str, str]:
        return dict(self._form)


@dataclass(slots=True)
class OpenIdService:
    """Answers while the block runs; everybody who is sent here is the same ``person``, or refuses when it is None."""

    client_id: str
    secret: str
    back: str
    person: dict[str, Any] | None = None
    told: dict[str, Any] = field(default_factory=dict)
    """What the ID token says instead."""
    told_on_request: dict[str, Any] = field(default_factory=dict)
    """What is said at the userinfo endpoint, besides."""
    signs_with: RSAKey | None = None
    """A key that is not the published one."""
    forge: Callable[[dict[str, Any]], str] | None = None
    """Makes another ID token of what it says."""
    describes: dict[str, Any] = field(default_factory=dict)
    """What the description says besides."""
    answers: dict[str, tuple[int, Any, dict[str, str]]] = field(default_factory=dict)
    """Status, body and headers by path, where it does not answer as it should."""
    url: str = ""
    asked: list[str] = field(default_factory=list)
    """Paths of the requests."""
    codes: dict[str, _Code] = field(default_factory=dict)
    tokens: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    key: RSAKey = field(
        default_factory=lambda: RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"}, auto_kid=True)
    )
    _server: Any = None
    _thread: Any = None

    def __enter__(self) -> Self:
        service, authority = self, _authority(self)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                path = urlsplit(self.path).path
                service.asked.append(path)
                request = _Request(self.command, f"https://{self.headers['Host']}{self.path}", form, self.headers)
                status, body, headers = service.answer(authority, path, request)
                text = body.encode() if isinstance(body, str) else orjson.dumps(body)
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **dict(headers)}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = _answer  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def answer(self, authority: Any, path: str, request: _Request) -> tuple[int, Any, Any]:
        """Status, body and headers for one request."""
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
            about = {name: f"{self.url}/{place}" for name, place in places.items()}
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **about, **self.describes}, {}
        if path == "/keys":
            return 200, {"keys": [self.key.as_dict(private=False)]}, {}
        if path == "/userinfo":
            person = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
            return (401, {}, {}) if person is None else (200, {**person, **self.told_on_request}, {})
        if path == "/token":
            status, body, headers = authority.create_token_response(request)
            if self.forge is not None and "id_token" in body:
                _, claims, _ = body["id_token"].split(".")
                body["id_token"] = self.forge(orjson.loads(urlsafe_b64decode(claims + "==")))
            return status, body, headers
        try:
            grant = authority.get_consent_grant(request, self.person)
        except OAuth2Error as error:
            return tuple(authority.handle_error_response(request, error))  # type: ignore[return-value]
        return tuple(  # type: ignore[return-value]
            authority.create_authorization_response(request, grant_user=self.person, grant=grant)
        )


def _authority(service: OpenIdService) -> Any:
    """Authlib's server for one service."""
    client = _Client(service.client_id, service.secret, service.back)

    class Authority(AuthorizationServer):  # type: ignore[misc]
        def query_client(self, client_id: str) -> _Client | None:
            return client if client_id == client.client_id else None

        def save_token(self, token: Mapping[str, Any], request: Any) -> None:
            service.tokens[token["access_token"]] = request.user

        def create_oauth2_request(self, request: _Request) -> _Request:
            return request

        def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any, Any]:
            return status, body, headers

        def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
            """Nobody listens."""

    class Grant(AuthorizationCodeGrant):  # type: ignore[misc]
        def save_authorization_code(self, code: str, request: Any) -> None:
            data = request.payload.data
            challenge = (data.get("code_challenge", ""), data.get("code_challenge_method", ""))
            service.codes[code] = _Code(
                code, request.payload.redirect_uri, request.scope, data.get("nonce", ""), *challenge, request.user
            )

        def query_authorization_code(self, code: str, client: _Client) -> _Code | None:
            return service.codes.get(code)

        def delete_authorization_code(self, authorization_code: _Code) -> None:
            del service.codes[authorization_code.code]

        def authenticate_user(self, authorization_code: _Code) -> Mapping[str, Any]:
            return authorization_code.user

    class Code(OpenIDCode):  # type: ignore[misc]
        def exists_nonce(self, nonce: str, request: Any) -> bool:
            return any(code.nonce == nonce for code in service.codes.values())

        def resolve_client_private_key(self, client: _Client) -> RSAKey:
            return service.signs_with or service.key

        def get_encode_header(self, client: _Client) -> dict[str, Any]:
            return {"alg": "RS256", "kid": service.key.kid}

        def get_client_claims(self, client: _Client) -> dict[str, Any]:
            return {"iss": service.url}

        def generate_user_info(self, user: Mapping[str, Any], scope: str) -> dict[str, Any]:
            return {"sub": user["sub"], **service.told}

    authority = Authority(scopes_supported=["openid", "profile", "email", "groups"])
    authority.register_token_generator("default", BearerTokenGenerator(lambda **_: secrets.token_urlsafe(32)))
    authority.register_grant(Grant, [Code(require_nonce=True), CodeChallenge(required=True)])
    return authority
