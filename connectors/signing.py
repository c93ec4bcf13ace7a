"""How requests are signed, so that a system knows who sends them: by a header that stays, or by tokens that end."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from connectors.errors import SettingsError
from connectors.http_settings import Auth, HttpSettings
from connectors.settings import reveal

SHORTEST_SECRET = 4
"""Characters; anything shorter would be found everywhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """Headers that go with a request; never printed. Two are the same only when they are one object."""

    headers: Mapping[str, str] = field(repr=False)
    origin: str | None = None
    """Scheme and host that the token is for, where the token endpoint names them; None: those of the settings."""


class Signer(Protocol):
    """Signs the requests of one session, on its event loop."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not come back in any text, the longest first."""
        ...

    async def sign(self) -> Signature:
        """The signature to send with. Raises: FatalError."""
        ...

    def accepted(self, signature: Signature) -> None:
        """The system has let a request with this signature in."""
        ...

    def refused(self, signature: Signature) -> bool:
        """The system answered 401 to it; True when the same request may be sent once more with another one."""
        ...

    async def close(self) -> None:
        """Let go of whatever is still under way."""
        ...


class LastingSigner:
    """Signs with what the job file refers to, or not at all. It is looked up again when the system does not accept it:
    the next token is put into the same file or block.
    """

    def __init__(self, auth: Auth | None, *, folder: Path) -> None:
        self._auth = auth
        self._folder = folder
        self._signature = self._look_up()
        self._secrets = set(_secrets_of(self._signature))

    @property
    def secrets(self) -> tuple[str, ...]:
        return longest_first(self._secrets)

    async def sign(self) -> Signature:
        return self._signature

    def accepted(self, signature: Signature) -> None:
        del signature

    def refused(self, signature: Signature) -> bool:
        if signature is not self._signature:
            return True
        found = self._look_up()
        if found.headers == signature.headers:
            return False
        self._signature = found
        self._secrets.update(_secrets_of(found))
        return True

    async def close(self) -> None:
        return None

    def _look_up(self) -> Signature:
        """Raises: SettingsError."""
        return Signature({} if self._auth is None else dict([_header(self._auth, folder=self._folder)]))


def _header(auth: Auth, *, folder: Path) -> tuple[str, str]:
    """Name and value of the header. Raises: SettingsError."""
    if auth.bearer is not None:
        found = "authorization", f"Bearer {reveal(auth.bearer, folder=folder).strip()}"
    elif auth.header is not None:
        found = auth.header.name, reveal(auth.header.value, folder=folder).strip()
    else:
        assert auth.basic is not None  # Auth holds exactly one, and oauth has a signer of its own
        pair = f"{reveal(auth.basic.username, folder=folder)}:{reveal(auth.basic.password, folder=folder)}"
        found = "authorization", f"Basic {base64.b64encode(pair.encode()).decode()}"
    if not can_be_sent(found[1]):
        raise SettingsError("The credential that auth refers to holds characters that no HTTP header may hold.")
    return found


def can_be_sent(value: str) -> bool:
    """True for what may stand in a header."""
    return value.isascii() and value.isprintable()


def _secrets_of(signature: Signature) -> set[str]:
    """Whole headers, and the token or password alone."""
    found: set[str] = set()
    for value in signature.headers.values():
        scheme, _, rest = value.partition(" ")
        found |= {value, rest}
        if scheme == "Basic":
            found.add(base64.b64decode(rest).decode().partition(":")[2])
    return found


def longest_first(secrets: set[str]) -> tuple[str, ...]:
    """The order in which secrets are struck out, so that none is left behind in part."""
    return tuple(sorted((one for one in secrets if len(one) >= SHORTEST_SECRET), key=len, reverse=True))


def open_signer(settings: HttpSettings, *, folder: Path, now: "Now", sleep: "Sleep") -> Signer:
    """What signs for a system. ``now`` and ``sleep``: time as the session sees it. Raises: SettingsError."""
    if settings.auth is None or settings.auth.oauth is None:
        return LastingSigner(settings.auth, folder=folder)
    from connectors.oauth import TokenSigner

    return TokenSigner(settings, settings.auth.oauth, folder=folder, now=now, sleep=sleep)


class Now(Protocol):
    """Seconds, never going back."""

    def __call__(self) -> float: ...


class Sleep(Protocol):
    """Lets so many seconds pass."""

    async def __call__(self, seconds: float) -> None: ...
