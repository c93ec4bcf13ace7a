"""What a job file says about a system that is spoken to over HTTP: where it is and how to sign in."""

import ipaddress
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from connectors.depth import MOST_LEVELS
from connectors.errors import SettingsError
from connectors.settings import Name, Secret, Settings


class BasicAuth(Settings):
    """User name and password."""

    username: str
    """May contain references."""
    password: Secret
    """A reference."""


class HeaderAuth(Settings):
    """A header of the system's own, such as ``X-API-Key``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
    value: Secret
    """A reference."""


class SecretIn(StrEnum):
    """Where the token endpoint expects the client's secret."""

    HEADER = "header"
    """In the header, as ``client_secret_basic``."""
    BODY = "body"
    """In the form, as ``client_secret_post``."""


class KeyAlgorithm(StrEnum):
    """How an assertion is signed."""

    RS256 = "RS256"
    PS256 = "PS256"
    ES256 = "ES256"


class PrivateKey(Settings):
    """The key that signs the client's assertion (private key JWT)."""

    key: Secret
    """The key in PEM form; a reference, mostly ``${file:path}``."""
    password: Secret | None = None
    """Password of an encrypted key; a reference."""
    algorithm: KeyAlgorithm = KeyAlgorithm.RS256
    key_id: Name | None = None
    """The key id (``kid``) for the token endpoint."""
    certificate: Path | None = None
    """PEM file with the key's certificate, for token endpoints that identify keys by thumbprint, like Entra ID."""
    audience: str | None = None
    """Audience of the assertion. Default: the token endpoint's address. May contain references."""


class SamlAssertion(Settings):
    """A SAML 2.0 assertion that identifies the user, signed by Provisor. Needs the extra ``hr``.

    Source: RFC 7522 section 2.1.
    """

    key: Secret
    """The key that signs it, in PEM form; a reference, mostly ``${file:path}``."""
    certificate: Path
    """PEM file with the key's certificate, registered at the token endpoint."""
    subject: Name
    """The user; may contain references."""
    issuer: Name
    """Issuer: usually the client id; may contain references."""
    audience: Name
    """Audience."""
    attributes: dict[Name, str] = Field(default_factory=dict)
    """Additional attributes; values may contain references."""


class Grant(StrEnum):
    """What a token is given for."""

    CLIENT_CREDENTIALS = "client credentials"
    REFRESH_TOKEN = "refresh token"
    JWT_BEARER = "JWT bearer"
    SAML_BEARER = "SAML bearer"
    PASSWORD = "password"


class ClientCredentials(Settings):
    """OAuth 2.0: a token is fetched, and another one before that has expired.

    Exactly one of ``secret``, ``private_key``, ``assertion_file`` and ``saml`` proves who the client is; none of them
    where it is ``client_certificate``. The token is the client's own, unless ``subject``, ``saml``, ``refresh_token``
    or ``user`` makes it a user's token.

    Source: RFC 6749 sections 4.3, 4.4 and 6, RFC 7522 section 2.1 and RFC 7523 section 2 (assertions), RFC 8705 section
    2 (mutual TLS).
    """

    token_url: Annotated[str, AfterValidator(lambda text: _address(text, ends="token endpoint"))] | None = None
    """Address of the token endpoint; may contain references. Omit it only if Provisor knows it for the system."""
    client_id: Name
    """May contain references."""
    secret: Secret | None = None
    """The client's secret; a reference."""
    secret_in: SecretIn = SecretIn.HEADER
    refresh_token: Secret | None = None
    """Gives the token of the user who once consented, with a ``secret`` or alone; a reference. Where the token endpoint
    gives another refresh token each time, refer to a file that Provisor may write: ``${file:path}``."""
    user: BasicAuth | None = None
    """User name and password of the account whose token is wanted (password grant), with a ``secret`` or alone. Only
    for systems that offer nothing else: a password allows more than the client may do."""
    private_key: PrivateKey | None = None
    assertion_file: Path | None = None
    """File with an assertion that others keep fresh (federated token file of a workload identity); read for every
    token."""
    subject: Name | None = None
    """The user whose token is wanted: ``private_key`` signs for this user (JWT bearer grant). May contain
    references."""
    follow_instance_url: bool = False
    """The token endpoint names the host to speak to (``instance_url``), and requests go there."""
    saml: SamlAssertion | None = None
    """Requests tokens as a user, with an assertion signed by Provisor."""
    scope: str | None = None
    """Scopes, separated by spaces."""
    audience: str | None = None
    """Audience of the token, if the token endpoint requires one."""
    parameters: dict[Name, str] = Field(default_factory=dict)
    """More parameters of the token request, like ``resource``; values may contain references."""

    @property
    def proofs(self) -> int:
        """How many ways there are to prove who the client is."""
        return sum(way is not None for way in (self.secret, self.private_key, self.assertion_file, self.saml))

    @property
    def grant(self) -> Grant:
        """What the token is given for."""
        if self.refresh_token is not None:
            return Grant.REFRESH_TOKEN
        if self.user is not None:
            return Grant.PASSWORD
        if self.subject is not None:
            return Grant.JWT_BEARER
        return Grant.SAML_BEARER if self.saml is not None else Grant.CLIENT_CREDENTIALS

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if self.proofs > 1:
            raise ValueError("give one of secret, private_key, assertion_file and saml")
        if self.subject is not None and self.private_key is None:
            raise ValueError("subject needs a private_key that signs for this user")
        if sum(one is not None for one in (self.subject, self.refresh_token, self.saml, self.user)) > 1:
            raise ValueError("give one of subject, refresh_token, saml and user")
        if taken := self.parameters.keys() & _OWN_PARAMETERS:
            raise ValueError(f"parameters cannot hold {', '.join(sorted(taken))}: there are settings for that")
        return self


_OWN_PARAMETERS = frozenset(
    {
        "grant_type",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "assertion",
        "refresh_token",
        "username",
        "password",
        "scope",
        "audience",
    }
)


class Auth(Settings):
    """How to sign in: exactly one of these."""

    bearer: Secret | None = None
    """Token sent as ``Authorization: Bearer``; a reference."""
    basic: BasicAuth | None = None
    header: HeaderAuth | None = None
    oauth: ClientCredentials | None = None
    """A token endpoint issues the token."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(way is not None for way in (self.bearer, self.basic, self.header, self.oauth)) != 1:
            raise ValueError("give exactly one of bearer, basic, header and oauth")
        return self


class ClientCertificate(Settings):
    """Who we are, for systems that ask for it while the connection is made (mutual TLS)."""

    certificate: Path
    """PEM file with the certificate and its chain."""
    key: Path | None = None
    """PEM file with its key. Default: the certificate file."""
    password: Secret | None = None
    """Password of an encrypted key; a reference."""


def base_address(text: str) -> str:
    """A base address without a slash at its end. Raises: ValueError."""
    return _address(text, ends="base address").rstrip("/")


def _address(text: str, *, ends: str) -> str:
    if "${" in text:
        return text
    if re.search(r"\s", text):
        raise ValueError("must hold no blanks: take out those before, after or within the address")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "must be an address like https://app.example.com:8443/scim; this host or port is none"
        ) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address that begins with https:// (or http://)")
    if parts.query or parts.fragment:
        raise ValueError(f"must be the {ends} alone: leave out everything from ? or # on")
    if parts.username or parts.password:
        raise ValueError("must not contain credentials: they belong under auth")
    return text


class HttpSettings(Settings):
    """What every system that is spoken to over HTTP needs."""

    TOKEN_PATH: ClassVar[str] = ""
    """Where the token endpoint is below ``url``, for systems that have it in one place."""

    url: Annotated[str, AfterValidator(base_address)]
    """Base address, without a query; may contain references."""
    auth: Auth | None = None
    """Omit it only for a system without credentials."""
    ca_file: Path | None = None
    """PEM file with additional certificate authorities to trust. Verification cannot be turned off."""
    proxy: str | None = None
    """Address of an HTTP proxy; may contain references. Default: HTTPS_PROXY, HTTP_PROXY and NO_PROXY."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds to wait for a response, and between two parts of it."""
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds to wait for a connection."""
    client_certificate: ClientCertificate | None = None
    """With or without ``auth``."""
    max_answer_mb: Annotated[int, Field(ge=1, le=4096)] = 256
    """Maximum size of an unpacked response in megabytes; a few packed kilobytes could otherwise fill the memory."""
    max_depth: Annotated[int, Field(ge=1, le=500)] = MOST_LEVELS
    """Levels that lists and objects of one answer may lie in each other."""
    insecure: bool = False
    """Lets credentials go over http:// to another machine, where everybody on the way can read them. Say so only where
    nobody else is on the way."""

    @property
    def token_url(self) -> str:
        """Address of the token endpoint; empty where there is none. May contain references."""
        oauth = self.auth.oauth if self.auth is not None else None
        if oauth is None:
            return ""
        return oauth.token_url or (f"{self.url}{self.TOKEN_PATH}" if self.TOKEN_PATH else "")

    @model_validator(mode="after")
    def _nobody_listens(self) -> Self:
        for url in (self.url, self.token_url) if self.auth is not None else ():
            if url and "${" not in url and (why := eavesdropped(self, url)):
                raise ValueError(why)
        return self

    @model_validator(mode="after")
    def _client_is_proved(self) -> Self:
        oauth = self.auth.oauth if self.auth is not None else None
        if oauth is None:
            return self
        if not self.token_url:
            raise ValueError("auth.oauth needs token_url, the address of the token endpoint")
        if oauth.proofs or oauth.grant is not Grant.CLIENT_CREDENTIALS or self.client_certificate is not None:
            return self
        raise ValueError(
            "auth.oauth needs one of secret, private_key, assertion_file, saml, refresh_token and user, or a "
            "client_certificate"
        )


def is_loopback(host: str) -> bool:
    """True for this machine's own names and addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def eavesdropped(settings: HttpSettings, url: str, *, proxy: str | None = None) -> str:
    """Why credentials must not be sent to an address, for people; empty where they may.

    ``proxy``: through which it goes, where that is known already; one on this machine listens to nobody else.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    direct = is_loopback(host) and (proxy is None or is_loopback(urlsplit(proxy).hostname or ""))
    if settings.insecure or parts.scheme == "https" or direct:
        return ""
    return (
        f"credentials for {parts.scheme}://{host} would be readable by everybody on the way: use https://, or say "
        "insecure: true where nobody else is on the way"
    )


def environment_proxy(url: str) -> str | None:
    """The proxy that the environment names for an address. Raises: SettingsError for one that is no address."""
    import urllib.request

    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    scheme = parts.scheme if proxies.get(parts.scheme) else "all"
    proxy = proxies.get(scheme)
    if proxy:
        check_proxy(proxy, f"The variable {scheme.upper()}_PROXY")
    return proxy


def check_proxy(proxy: str, named: str) -> None:
    """Passes for an address that can be a proxy's. Raises: SettingsError without it: it may hold a password."""
    try:
        parts = urlsplit(proxy)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return
    except ValueError:
        pass
    raise SettingsError(f"{named} must be an address like http://proxy.example.com:8080.")
