"""What a job file says about a system that is spoken to over HTTP: where it is and how to sign in."""

import base64
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from connectors.errors import SettingsError
from connectors.settings import Secret, Settings, reveal


class BasicAuth(Settings):
    """User name and password."""

    username: str
    """May hold references."""
    password: Secret
    """A reference."""


class HeaderAuth(Settings):
    """A header of the system's own, such as ``X-API-Key``."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
    value: Secret
    """A reference."""


class Auth(Settings):
    """How to sign in: exactly one of these."""

    bearer: Secret | None = None
    """Token sent as ``Authorization: Bearer``; a reference."""
    basic: BasicAuth | None = None
    header: HeaderAuth | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(way is not None for way in (self.bearer, self.basic, self.header)) != 1:
            raise ValueError("give exactly one of bearer, basic and header")
        return self


def _base_address(text: str) -> str:
    if "${" in text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address that begins with https:// (or http://)")
    if parts.query or parts.fragment:
        raise ValueError("must be the base address alone: leave out everything from ? or # on")
    if parts.username or parts.password:
        raise ValueError("must not hold credentials: they belong under auth")
    return text.rstrip("/")


class HttpSettings(Settings):
    """What every system that is spoken to over HTTP needs."""

    url: Annotated[str, AfterValidator(_base_address)]
    """Base address, without a query; may hold references."""
    auth: Auth | None = None
    """Left out only for a system that wants no credentials."""
    ca_file: Path | None = None
    """PEM file with certificate authorities to trust besides the usual ones. Verification cannot be switched off."""
    proxy: str | None = None
    """Address of an HTTP proxy; may hold references. Without it HTTPS_PROXY, HTTP_PROXY and NO_PROXY are honoured."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    """Seconds to wait for an answer, and between two pieces of it."""
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds to wait for a connection."""


_SHORTEST_SECRET = 4
"""Characters; anything shorter would be found everywhere."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Settings with their references replaced; never printed."""

    url: str
    headers: dict[str, str] = field(repr=False)
    proxy: str | None = field(repr=False, default=None)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not come back in any text, the longest first: whole headers, the token or password alone."""
        found: set[str] = set()
        for value in self.headers.values():
            scheme, _, rest = value.partition(" ")
            found |= {value, rest}
            if scheme == "Basic":
                found.add(base64.b64decode(rest).decode().partition(":")[2])
        return tuple(sorted((one for one in found if len(one) >= _SHORTEST_SECRET), key=len, reverse=True))


def reveal_credentials(settings: HttpSettings, *, folder: Path) -> Credentials:
    """The settings with their references replaced. Raises: SettingsError."""
    try:
        url = _base_address(reveal(settings.url, folder=folder))
    except ValueError as error:
        raise SettingsError(f"The url that {settings.url} stands for {error}.") from error
    headers: dict[str, str] = {}
    if settings.auth is not None:
        name, value = _auth_header(settings.auth, folder=folder)
        if not value.isascii() or not value.isprintable():
            raise SettingsError("The credential that auth refers to holds characters that no HTTP header may hold.")
        headers[name] = value
    proxy = reveal(settings.proxy, folder=folder) if settings.proxy else _environment_proxy(url)
    return Credentials(url, headers, proxy)


def _auth_header(auth: Auth, *, folder: Path) -> tuple[str, str]:
    if auth.bearer is not None:
        return "authorization", f"Bearer {reveal(auth.bearer, folder=folder).strip()}"
    if auth.header is not None:
        return auth.header.name, reveal(auth.header.value, folder=folder).strip()
    assert auth.basic is not None  # Auth holds exactly one
    pair = f"{reveal(auth.basic.username, folder=folder)}:{reveal(auth.basic.password, folder=folder)}"
    return "authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"


def is_loopback(host: str) -> bool:
    """True for this machine's own names and addresses."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _environment_proxy(url: str) -> str | None:
    import urllib.request

    parts = urlsplit(url)
    host = parts.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")
