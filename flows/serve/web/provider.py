"""Signing in by OpenID Connect: authorization code with PKCE, and an ID token that is checked before it is believed.

Source: OpenID Connect Core 1.0, sections 3.1.2 and 3.1.3.7; RFC 7636.
"""

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from connectors.errors import ProvisorError
from flows.serve.web.settings import PagesSettings

_SIGNED_BY = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_WAITS = timedelta(minutes=10)
_WAITING_AT_MOST = 2_000
_TIMEOUT_S = 10


class ProviderError(ProvisorError):
    """The provider did not say who somebody is; nobody was let in."""


@dataclass(frozen=True, slots=True)
class Named:
    """Whom the provider has named."""

    login: str
    name: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    nonce: str
    verifier: str
    leads_to: str
    until: datetime


class OpenIdProvider:
    """One provider, and the sign-ins that are under way."""

    def __init__(self, settings: PagesSettings, redirect: str) -> None:
        assert settings.provider is not None
        self._settings, self._provider, self._redirect = settings, settings.provider, redirect
        self._asked: dict[str, _Asked] = {}
        self._lock = threading.Lock()

    def begin(self, leads_to: str, *, now: datetime) -> tuple[str, str]:
        """Where to send the browser, and the state that it has to bring back. Raises: ProviderError."""
        about = self._describe()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        with self._lock:
            self._asked = {key: one for key, one in self._asked.items() if one.until > now}
            if len(self._asked) >= _WAITING_AT_MOST:
                raise ProviderError("Too many people sign in at once. Try again in some minutes.")
            self._asked[state] = _Asked(nonce, verifier, leads_to, now + _WAITS)
        with self._client() as client:
            url, _ = client.create_authorization_url(
                about["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url), state

    def finish(self, brought: Mapping[str, str], *, now: datetime) -> tuple[Named, str]:
        """Who has come back with these parameters, and where they wanted to go. Raises: ProviderError."""
        state = brought.get("state", "")
        with self._lock:
            asked = self._asked.pop(state, None)
        if asked is None or asked.until <= now:
            raise ProviderError("This sign-in has taken too long, or was not begun here. Begin again.")
        if "code" not in brought:
            raise ProviderError(f"{self._provider.name} refused: {brought.get('error', 'no reason given')[:100]}.")
        about = self._describe()
        try:
            with self._client() as client:
                token = client.fetch_token(
                    about["token_endpoint"],
                    grant_type="authorization_code",
                    code=brought["code"],
                    code_verifier=asked.verifier,
                    auth=(self._provider.client_id, self._settings.reveal_client_secret()),
                )
            claims = self._claims(str(token["id_token"]), about, asked.nonce)
            told = {**self._told(about, str(token.get("access_token", "")), str(claims["sub"])), **claims}
        except (AuthlibBaseError, JoseError, httpx.HTTPError, KeyError, ValueError) as error:
            raise ProviderError(f"{self._provider.name} did not say who you are ({type(error).__name__}).") from error
        login = told.get(self._provider.login)
        if not isinstance(login, str) or not login or told.get("email_verified") is False:
            raise ProviderError(f"{self._provider.name} gives no usable {self._provider.login}.")
        groups = told.get(self._provider.groups) or ()
        name = told.get("name") if isinstance(told.get("name"), str) else login
        return Named(login, str(name), tuple(str(one) for one in groups if isinstance(one, str))), asked.leads_to

    @contextmanager
    def _client(self) -> Iterator[Any]:
        with httpx.Client(timeout=_TIMEOUT_S) as session:
            yield OAuth2Client(
                session,
                self._provider.client_id,
                scope=" ".join(self._provider.scopes),
                redirect_uri=self._redirect,
                code_challenge_method="S256",
            )

    def _describe(self) -> dict[str, Any]:
        """What the provider says of itself."""
        try:
            answer = httpx.get(f"{self._provider.issuer}/.well-known/openid-configuration", timeout=_TIMEOUT_S)
            about: dict[str, Any] = answer.raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise ProviderError(f"{self._provider.name} does not answer. Try again later.") from error
        if str(about.get("issuer", "")).rstrip("/") != self._provider.issuer:
            raise ProviderError(f"{self._provider.name} calls itself otherwise than pages.yaml does (issuer).")
        return about

    def _claims(self, id_token: str, about: dict[str, Any], nonce: str) -> dict[str, Any]:
        """What an ID token says, after its signature, issuer, audience, time and nonce were checked."""
        keys = httpx.get(about["jwks_uri"], timeout=_TIMEOUT_S).raise_for_status().json()
        token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=_SIGNED_BY)
        jwt.JWTClaimsRegistry(
            leeway=60,
            iss={"essential": True, "value": about["issuer"]},
            aud={"essential": True, "value": self._provider.client_id},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
        ).validate(token.claims)
        return dict(token.claims)

    def _told(self, about: dict[str, Any], access: str, subject: str) -> dict[str, Any]:
        """What the provider adds on request: groups and addresses are often told only there."""
        if not access or "userinfo_endpoint" not in about:
            return {}
        headers = {"Authorization": f"Bearer {access}"}
        answer = httpx.get(about["userinfo_endpoint"], headers=headers, timeout=_TIMEOUT_S).raise_for_status()
        told: dict[str, Any] = answer.json()
        if told.get("sub") != subject:
            raise ValueError("the provider tells about somebody else")
        return told
