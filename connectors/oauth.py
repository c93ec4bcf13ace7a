"""OAuth 2.0: tokens of a client or a user that are fetched, used by all requests, and renewed once for all of them.

Source: RFC 6749 (OAuth 2.0), RFC 7521 and 7523 (assertions), RFC 8705 (mutual TLS), RFC 6750 (bearer tokens).
"""

import asyncio
import base64
import hashlib
import random
import time
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote_plus, urlencode, urlsplit

import orjson

from connectors.errors import CredentialsError, HaltedError, SettingsError, UnreachableError
from connectors.http_settings import ClientCredentials, HttpSettings, PrivateKey, SecretIn, eavesdropped
from connectors.oauth_errors import PASSING, advice
from connectors.rate_limits import retry_after_s
from connectors.refresh import RefreshToken
from connectors.settings import reveal
from connectors.signing import Now, Signature, Sleep, can_be_sent, longest_first
from connectors.wire import Answer, Fault, NoAnswer, Wire, nature
from connectors.wire_log import WireLog

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SAML_BEARER = "urn:ietf:params:oauth:grant-type:saml2-bearer"
ASSERTION_LASTS_S = 300
"""Seconds for which an assertion that we sign is good."""
SUBJECT_LASTS_S = 180
"""The same for one that asks for a user's token: Salesforce takes three minutes at most."""
EARLY_S = 60.0
"""A token is renewed so many seconds before its end, or at nine tenths of its life where that is later."""
ATTEMPTS = 4
"""Requests for one token while the token endpoint fails."""
BACKOFF_S = 0.5
MAX_WAIT_S = 30.0
"""Longest wait that a token endpoint may ask for."""
LONGEST_TOKEN = 64_000
"""Characters; more would fit into no header."""


@dataclass(frozen=True, slots=True)
class _Token:
    signature: Signature = field(repr=False)
    renew_at: float
    """When another one is fetched, by the session's clock."""
    ends_at: float


class TokenSigner:
    """Signs with a bearer token. Requests that need one while it is being fetched wait for the same one."""

    def __init__(
        self, settings: HttpSettings, client: ClientCredentials, *, folder: Path, now: Now, sleep: Sleep
    ) -> None:
        self.fetched = 0
        """Tokens fetched so far."""
        self._settings = settings
        self._client = client
        self._folder = folder
        self._now = now
        self._sleep = sleep
        self._token: _Token | None = None
        self._renewal: asyncio.Task[_Token] | None = None
        self._in_vain = 0
        self._refresh = None if client.refresh_token is None else RefreshToken(client.refresh_token, folder=folder)
        self._secrets: set[str] = set()
        self._struck: tuple[str, ...] = ()
        self._log = WireLog()

    @property
    def secrets(self) -> tuple[str, ...]:
        return self._struck

    async def sign(self) -> Signature:
        """See :class:`connectors.signing.Signer`. Raises: FatalError, HaltedError."""
        token = self._token
        if token is not None and self._now() < token.renew_at:
            return token.signature
        try:
            return (await self._renewed()).signature
        except UnreachableError:
            if token is not None and token is self._token and self._now() < token.ends_at:
                return token.signature  # the token endpoint may be back before this one ends
            raise

    async def _renewed(self) -> _Token:
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._fetch())
            self._renewal.add_done_callback(self._have_fetched)
        renewal = self._renewal
        try:
            return await asyncio.shield(renewal)
        except asyncio.CancelledError:
            if renewal.cancelled():
                raise HaltedError("No more tokens are requested: the run was interrupted.") from None
            raise

    def _have_fetched(self, renewal: "asyncio.Task[_Token]") -> None:
        self._renewal = None
        if not renewal.cancelled() and renewal.exception() is None:
            self._token = renewal.result()
            self.fetched += 1

    def accepted(self, signature: Signature) -> None:
        """See :class:`connectors.signing.Signer`."""
        if self._in_vain and self._token is not None and signature is self._token.signature:
            self._in_vain = 0

    def refused(self, signature: Signature) -> bool:
        """See :class:`connectors.signing.Signer`. A token that is refused right after another one is the last."""
        if self._token is None or signature is not self._token.signature:
            return True
        self._in_vain += 1
        if self._in_vain > 1:
            return False
        self._token = None
        return True

    async def close(self) -> None:
        """See :class:`connectors.signing.Signer`."""
        if self._renewal is not None:
            self._renewal.cancel()

    def _keep(self, *secrets: str) -> None:
        self._secrets.update(secrets)
        self._struck = longest_first(self._secrets)

    # -- asking for a token ----------------------------------------------------------------------------------------

    async def _fetch(self) -> _Token:
        async with self._refresh.held(self._sleep) if self._refresh is not None else nullcontext():
            return await self._fetch_now()

    async def _fetch_now(self) -> _Token:
        url = reveal(self._settings.token_url, folder=self._folder)
        wire = Wire(self._settings, url=url, folder=self._folder, connections=1)
        try:
            for attempt in range(1, ATTEMPTS + 1):
                asked_at = self._now()
                answer, why = await self._ask(wire, url)
                if answer is not None and not _fails(answer):
                    return self._token_in(answer, url, asked_at)
                if attempt < ATTEMPTS:
                    await self._sleep(_wait_s(answer, attempt))
        finally:
            await wire.close()
        raise UnreachableError(f"The token endpoint {url} returned no token ({why}, {ATTEMPTS} attempts).")

    async def _ask(self, wire: Wire, url: str) -> tuple[Answer | None, str]:
        """An answer, or None and why there is none. Raises: FatalError when there is no use in asking again."""
        import httpx

        form, headers = self._request(url)
        began = time.perf_counter()
        try:
            answer = await wire.exchange(
                "POST",
                wire.address("", lasting=False),
                headers=httpx.Headers(
                    {"accept": "application/json", "content-type": "application/x-www-form-urlencoded", **headers}
                ),
                body=urlencode(form).encode(),
                secrets=lambda: self._struck,
            )
        except NoAnswer as fault:
            self._log.fault("POST", "token endpoint", None, fault.fault, began, "not counted")
            if fault.fault in {Fault.LOST, Fault.LATE}:
                return None, str(fault)
            raise UnreachableError(fault.sentence(f"the token endpoint {url}", self._settings)) from fault
        self._log.answer("POST", "token endpoint", None, answer, began, "not counted")
        return answer, self._said(answer)

    def _request(self, url: str) -> tuple[dict[str, str], dict[str, str]]:
        """Form and headers of the request. Raises: SettingsError."""
        client, folder = self._client, self._folder
        client_id = reveal(client.client_id, folder=folder)
        form = {name: reveal(value, folder=folder) for name, value in client.parameters.items()}
        form |= {"grant_type": "client_credentials"}
        if self._refresh is not None:
            refresh = self._refresh.current()
            self._keep(refresh)
            form |= {"grant_type": "refresh_token", "refresh_token": refresh}
        elif client.user is not None:
            password = reveal(client.user.password, folder=folder)
            self._keep(password)
            username = reveal(client.user.username, folder=folder)
            form |= {"grant_type": "password", "username": username, "password": password}
        form |= {name: value for name in ("scope", "audience") if (value := getattr(client, name)) is not None}
        if client.secret is not None:
            secret = reveal(client.secret, folder=folder)
            self._keep(secret)
            if client.secret_in is SecretIn.HEADER:
                # Source: RFC 6749 section 2.3.1, which wants both parts encoded as in a form
                pair = base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()
                self._keep(pair)
                return form, {"authorization": f"Basic {pair}"}
            return form | {"client_id": client_id, "client_secret": secret}, {}
        form["client_id"] = client_id
        if client.private_key is not None and client.subject is not None:
            subject = reveal(client.subject, folder=folder)
            assertion = sign_assertion(
                client.private_key, client_id, token_url=url, folder=folder, now=time.time(), subject=subject
            )
            self._keep(assertion)
            return form | {"grant_type": JWT_BEARER, "assertion": assertion}, {}
        if client.saml is not None:
            from connectors.saml import signed_assertion

            told = signed_assertion(client.saml, recipient=url, folder=folder, now=datetime.now(UTC))
            self._keep(told)
            return form | {"grant_type": SAML_BEARER, "assertion": told}, {}
        if client.private_key is not None:
            assertion = sign_assertion(client.private_key, client_id, token_url=url, folder=folder, now=time.time())
        elif client.assertion_file is not None:
            assertion = _assertion_in(folder / client.assertion_file.expanduser())
        else:
            return form, {}
        self._keep(assertion)
        return form | {"client_assertion_type": ASSERTION, "client_assertion": assertion}, {}

    # -- what it says ----------------------------------------------------------------------------------------------

    def _token_in(self, answer: Answer, url: str, asked_at: float) -> _Token:
        """Raises: CredentialsError, SettingsError."""
        if not 200 <= answer.status < 300:
            self._refuse(answer, url)
        found = _object(answer)
        token, kind = found.get("access_token"), str(found.get("token_type", "Bearer"))
        if not isinstance(token, str) or not token:
            what = "JSON without an access_token" if found else nature(answer.body)
            raise SettingsError(
                f"The token endpoint {url} returned {what} instead of a token (HTTP {answer.status}). Check token_url."
            )
        self._keep(token)
        if kind.lower() != "bearer":
            raise SettingsError(
                f"The token endpoint {url} returned a token of type {kind[:40]}; only Bearer is supported."
            )
        if not can_be_sent(token) or len(token) > LONGEST_TOKEN:
            raise SettingsError(f"The token from the token endpoint {url} cannot be sent in a header.")
        lasts_s = _seconds(found.get("expires_in"))
        if isinstance(refresh := found.get("refresh_token"), str) and refresh:
            self._keep(refresh)
            if self._refresh is not None:
                self._refresh.keep(refresh)
        return _Token(
            Signature({"authorization": f"Bearer {token}"}, self._origin(found, url)),
            renew_at=asked_at + max(lasts_s - EARLY_S, 0.9 * lasts_s),
            ends_at=asked_at + lasts_s,
        )

    def _origin(self, found: Mapping[str, Any], url: str) -> str | None:
        """Scheme and host of the instance that the token is for. Raises: SettingsError."""
        named = found.get("instance_url")
        if not self._client.follow_instance_url or not isinstance(named, str) or not named:
            return None
        parts = urlsplit(named)
        problem = eavesdropped(self._settings, named) if parts.scheme in {"http", "https"} and parts.hostname else "bad"
        if problem or parts.username or parts.password:
            raise SettingsError(f"The token endpoint {url} names an instance_url that is not a safe address.")
        return f"{parts.scheme}://{parts.netloc}"

    def _said(self, answer: Answer) -> str:
        """Status, error and description, without secrets."""
        detail = " ".join(str(_object(answer).get("error_description") or "").split())
        error = ": ".join(filter(None, (_error_code(answer), detail[:300])))
        said = ", ".join(filter(None, (f"HTTP {answer.status}", error if _error_code(answer) else "")))
        for secret in self._struck:
            said = said.replace(secret, "…")
        return said

    def _refuse(self, answer: Answer, url: str) -> NoReturn:
        """Raises: CredentialsError, SettingsError."""
        code, said = _error_code(answer), self._said(answer)
        if answer.status < 400:
            raise SettingsError(f"The token endpoint {url} redirects to another address ({said}). Check token_url.")
        if answer.status in {404, 405, 410} and not code:
            raise SettingsError(f"There is no token endpoint at {url} ({said}). Check token_url.")
        raise CredentialsError(f"The token endpoint {url} returned no token ({said}). {advice(code, self._client)}")


def sign_assertion(
    key: PrivateKey, client_id: str, *, token_url: str, folder: Path, now: float, subject: str | None = None
) -> str:
    """A JWT that says who the client is, good for some minutes and once. ``now``: seconds since 1970.

    ``subject``: the user whose token it asks for; the client itself without it.

    Source: RFC 7523 section 3 (claims); RFC 7515 section 4.1 (kid, x5t, x5t#S256). Raises: SettingsError.
    """
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = reveal(key.key, folder=folder)
    password = None if key.password is None else reveal(key.password, folder=folder).encode()
    problem = f"The private key that {key.key} refers to"
    try:
        private: Any = load_pem_private_key(pem.encode(), password)
    except TypeError as error:
        is_so = "is encrypted: give a password, as a reference" if password is None else "needs no password"
        raise SettingsError(f"{problem} {is_so}.") from error
    except ValueError:
        hint = " or the password does not open it" if password is not None else ""
        raise SettingsError(f"{problem} is not a key in PEM form{hint}.") from None
    headers: dict[str, Any] = {} if key.key_id is None else {"kid": key.key_id}
    if key.certificate is not None:
        headers |= _thumbprints(folder / key.certificate.expanduser())
    claims = {
        "iss": client_id,
        "sub": subject or client_id,
        "aud": reveal(key.audience, folder=folder) if key.audience else token_url,
        "jti": str(uuid.uuid4()),
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now) + (ASSERTION_LASTS_S if subject is None else SUBJECT_LASTS_S),
    }
    try:
        return jwt.encode(claims, private, algorithm=key.algorithm.value, headers=headers)
    except (TypeError, ValueError, jwt.PyJWTError) as error:
        raise SettingsError(f"{problem} does not fit the algorithm {key.algorithm}.") from error


def _thumbprints(path: Path) -> dict[str, str]:
    """Raises: SettingsError."""
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificate

    try:
        der = load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        raise SettingsError(f"The certificate {path} of private_key cannot be read as PEM.") from error
    digests = {"x5t": hashlib.sha1(der).digest(), "x5t#S256": hashlib.sha256(der).digest()}
    return {name: base64.urlsafe_b64encode(digest).rstrip(b"=").decode() for name, digest in digests.items()}


def _assertion_in(path: Path) -> str:
    """Raises: SettingsError."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingsError(f"The assertion_file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        text = ""  # the error itself would carry the file's bytes along
    if not text or not text.isprintable():
        raise SettingsError(f"The assertion_file {path} holds no assertion.")
    return text


def _object(answer: Answer) -> Mapping[str, Any]:
    """The JSON object in an answer, empty where it holds something else."""
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _error_code(answer: Answer) -> str:
    return " ".join(str(_object(answer).get("error") or "").split())


def _seconds(value: Any) -> float:
    """``expires_in``, infinite where it is not said; some say it as text."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return float("inf")
    return seconds if seconds > 0 else float("inf")


def _fails(answer: Answer) -> bool:
    """Whether there is use in asking again."""
    passing = answer.status >= 400 and _error_code(answer) in PASSING
    return passing or answer.status in {408, 425, 429} or answer.status >= 500


def _wait_s(answer: Answer | None, attempt: int) -> float:
    asked_s = None if answer is None else retry_after_s(answer.headers, now=time.time())
    wait_s = BACKOFF_S * 2.0 ** (attempt - 1) * random.uniform(0.5, 1.0)
    return wait_s if asked_s is None else min(asked_s, MAX_WAIT_S)
