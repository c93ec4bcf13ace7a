"""Signing in by OpenID Connect: authorization code with PKCE, and an ID token that is checked before it is believed.

Source: OpenID Connect Core 1.0, sections 3.1.2, 3.1.3.7 and 5.7; RFC 7636; RFC 9207.
"""

import base64
import hmac
import json
import secrets
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from authlib.common.errors import AuthlibBaseError
from authlib.oauth2.client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from connectors.errors import ProvisorError
from flows.serve.web.provider_calls import ProviderBusyError, document_of, talking_to_provider
from flows.serve.web.settings import Emails, PagesSettings, is_safe_address

_SIGNED_BY = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_WAITS = timedelta(minutes=10)
_USED_AT_MOST = 10_000
_DESCRIBED_FOR = timedelta(minutes=5)
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
_LONGEST_LOGIN, _LONGEST_PATH = 200, 1_500
_CLOCKS_DIFFER_S = 60


class ProviderError(ProvisorError):
    """The provider did not say who somebody is; nobody was let in."""


@dataclass(frozen=True, slots=True)
class Named:
    """Whom the provider has named."""

    login: str
    name: str
    groups: tuple[str, ...]
    """Those that a role is given to."""
    groups_left_out: bool = False
    """Whether the provider has left out the groups, since there are too many."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A sign-in that is under way. The browser keeps it, sealed: nobody fills the memory with sign-ins."""

    state: str
    nonce: str
    verifier: str
    leads_to: str
    until: float


class OpenIdProvider:
    """One provider."""

    def __init__(self, settings: PagesSettings, redirect: str) -> None:
        assert settings.provider is not None
        self._settings, self._provider, self._redirect = settings, settings.provider, redirect
        self._key = secrets.token_bytes(32)
        self._used: dict[str, float] = {}
        """States of sign-ins that have come back, and until when they could have."""
        self._lock = threading.Lock()
        self._about: tuple[datetime, dict[str, Any]] | None = None

    def begin(self, leads_to: str, *, now: datetime) -> tuple[str, str]:
        """Where to send the browser, and what it keeps until it comes back. Raises: ProviderError."""
        try:
            with talking_to_provider() as session:
                about = self._describe(session, now)
                state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
                url, _ = self._client(session).create_authorization_url(
                    about["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
                )
        except (httpx.HTTPError, ValueError) as error:
            raise self._silent(error) from error
        path = leads_to if len(leads_to) <= _LONGEST_PATH else "/"
        return str(url), self._sealed(_Asked(state, nonce, verifier, path, (now + _WAITS).timestamp()))

    def finish(self, brought: Mapping[str, str], kept: str, *, now: datetime) -> tuple[Named, str] | None:
        """Who has come back with these parameters, and where they wanted to go; ``kept``: what the browser has kept.

        None where this browser was not sent away. Raises: ProviderError.
        """
        asked = self._opened(kept)
        if asked is None or not hmac.compare_digest(brought.get("state", "").encode(), asked.state.encode()):
            return None
        if asked.until <= now.timestamp() or not self._first_time(asked, now):
            raise ProviderError("This sign-in has taken too long, or was finished before. Begin again.")
        if "code" not in brought:
            raise ProviderError(f"{self._provider.name} refused: {brought.get('error', 'no reason given')[:100]}.")
        try:
            with talking_to_provider() as session:
                return self._named(session, brought, asked, now), asked.leads_to
        except (ProviderBusyError, httpx.TimeoutException, httpx.ConnectError) as error:
            raise self._silent(error) from error
        except (AuthlibBaseError, JoseError, httpx.HTTPError, KeyError, ValueError, TypeError) as error:
            raise ProviderError(f"{self._provider.name} did not say who you are ({type(error).__name__}).") from error

    def _silent(self, error: Exception) -> ProviderError:
        if isinstance(error, ProviderBusyError):
            return ProviderError("Many people sign in at this moment. Try again in some seconds.")
        if isinstance(error, ValueError):
            return ProviderError(f"{self._provider.name} does not describe itself as it should: {error}.")
        return ProviderError(f"{self._provider.name} does not answer. Try again later.")

    # -- what the browser keeps -----------------------------------------------------------------------------------

    def _sealed(self, asked: _Asked) -> str:
        text = base64.urlsafe_b64encode(json.dumps(asdict(asked)).encode()).decode()
        return f"{text}.{self._seal(text)}"

    def _opened(self, kept: str) -> _Asked | None:
        text, _, seal = kept.partition(".")
        if not hmac.compare_digest(seal.encode(), self._seal(text).encode()):
            return None
        return _Asked(**json.loads(base64.urlsafe_b64decode(text)))

    def _seal(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8", "replace"), "sha256").hexdigest()

    def _first_time(self, asked: _Asked, now: datetime) -> bool:
        """Whether a sign-in comes back for the first time."""
        with self._lock:
            if asked.state in self._used:
                return False
            while self._used and (
                len(self._used) >= _USED_AT_MOST or next(iter(self._used.values())) < now.timestamp()
            ):
                del self._used[next(iter(self._used))]
            self._used[asked.state] = asked.until
            return True

    # -- what the provider says -----------------------------------------------------------------------------------

    def _named(self, session: httpx.Client, brought: Mapping[str, str], asked: _Asked, now: datetime) -> Named:
        about = self._describe(session, now)
        # Another provider's answer, where somebody has mixed them up. Source: RFC 9207, 2.4.
        required = about.get("authorization_response_iss_parameter_supported") is True
        if (required or "iss" in brought) and brought.get("iss") != about["issuer"]:
            raise ValueError("the answer is another provider's")
        token = self._client(session).fetch_token(
            about["token_endpoint"],
            grant_type="authorization_code",
            code=brought["code"],
            code_verifier=asked.verifier,
            auth=(self._provider.client_id, self._settings.reveal_client_secret()),
        )
        claims = self._claims(session, str(token["id_token"]), about, asked.nonce)
        told = self._told(session, about, str(token.get("access_token", "")), str(claims["sub"]))
        login = self._login(claims if self._provider.login in claims else told)
        both = {**told, **claims}
        groups = both.get(self._provider.groups)
        name = both.get("name") if isinstance(both.get("name"), str) else login
        left_out = groups is None and self._provider.groups in _names(both.get("_claim_names"))
        return Named(login, str(name)[:_LONGEST_LOGIN], self._of_roles(groups), left_out)

    def _login(self, source: Mapping[str, Any]) -> str:
        """By what somebody is known. An address counts where the same source says that it is verified."""
        claim = self._provider.login
        login = source.get(claim)
        if not isinstance(login, str) or not login or len(login) > _LONGEST_LOGIN or not login.isprintable():
            raise ProviderError(f"{self._provider.name} gives no usable {claim}.")
        verified = source.get("email_verified")
        if claim == "email" and self._provider.emails is Emails.VERIFIED and verified not in (True, "true"):
            raise ProviderError(f"{self._provider.name} does not say that {login} is verified (email_verified).")
        if claim == "email" and verified in (False, "false"):
            raise ProviderError(f"{self._provider.name} says that {login} is not verified.")
        return login

    def _of_roles(self, groups: object) -> tuple[str, ...]:
        """Of somebody's groups those that a role is given to; a text is one group, and nothing else is any."""
        some = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        wanted = {group for rule in self._settings.roles for group in rule.groups}
        return tuple(sorted({one for one in some if isinstance(one, str) and one in wanted}))

    def _client(self, session: httpx.Client) -> Any:
        return OAuth2Client(
            session,
            self._provider.client_id,
            scope=" ".join(self._provider.scopes),
            redirect_uri=self._redirect,
            code_challenge_method="S256",
        )

    def _describe(self, session: httpx.Client, now: datetime) -> dict[str, Any]:
        """What the provider says of itself, kept for a while. Raises: ProviderError, HTTPError, ValueError."""
        if self._about is not None and now < self._about[0]:
            return self._about[1]
        about = document_of(session.get(f"{self._provider.issuer}/.well-known/openid-configuration"))
        if str(about.get("issuer", "")).rstrip("/") != self._provider.issuer:
            raise ProviderError(f"{self._provider.name} calls itself otherwise than pages.yaml does (issuer).")
        for name in _ENDPOINTS:
            if name == "userinfo_endpoint" and name not in about:
                continue
            if not isinstance(about.get(name), str) or not is_safe_address(about[name]):
                raise ValueError(f"its {name} is missing, or needs https")
        self._about = (now + _DESCRIBED_FOR, about)
        return about

    def _claims(self, session: httpx.Client, id_token: str, about: dict[str, Any], nonce: str) -> dict[str, Any]:
        """What an ID token says, after its signature, issuer, audience, time and nonce were checked."""
        keys = document_of(session.get(about["jwks_uri"]))
        token = jwt.decode(id_token, _signing_keys(keys.get("keys")), algorithms=_SIGNED_BY)
        jwt.JWTClaimsRegistry(
            leeway=_CLOCKS_DIFFER_S,
            iss={"essential": True, "value": about["issuer"]},
            aud={"essential": True, "value": self._provider.client_id},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
            sub={"essential": True},
        ).validate(token.claims)
        claims = dict(token.claims)
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if (several or "azp" in claims) and claims.get("azp") != self._provider.client_id:
            raise ValueError("the token is made for another client (azp)")
        return claims

    def _told(self, session: httpx.Client, about: dict[str, Any], access: str, subject: str) -> dict[str, Any]:
        """What the provider adds on request: groups and addresses are often told only there."""
        if not access or "userinfo_endpoint" not in about:
            return {}
        told = document_of(session.get(about["userinfo_endpoint"], headers={"Authorization": f"Bearer {access}"}))
        if told.get("sub") != subject:
            raise ValueError("the provider tells about somebody else")
        return told


def _names(claim: object) -> Collection[str]:
    return claim if isinstance(claim, dict) else ()


def _signing_keys(published: object) -> KeySet:
    """The keys that sign: others, and those of a kind that is not known here, do not matter. Raises: ValueError."""
    found = []
    for one in published if isinstance(published, list) else []:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") not in ("RSA", "EC", "OKP"):
            continue
        try:
            found += KeySet.import_key_set({"keys": [one]}).keys
        except (JoseError, KeyError, ValueError, TypeError):
            continue
    if not found:
        raise ValueError("the provider publishes no key that signs")
    return KeySet(found)
