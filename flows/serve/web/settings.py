"""Who may sign in to the pages and do what: the file ``pages.yaml`` beside the job files.

address: https://provisor.example.com     # where browsers find the pages; else PROVISOR_PAGES_ADDRESS, or this machine
provider:
  issuer: https://id.example.com
  client_id: provisor
  client_secret: ${env:PAGES_CLIENT_SECRET}
roles:
  - {role: operator, groups: [it-operations]}
  - {role: approver, people: [maria@example.com], jobs: [hr-to-scim]}
metrics_token: ${env:PAGES_METRICS_TOKEN}
"""

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from connectors.errors import SettingsError
from connectors.settings import Secret, Settings, reveal
from flows.decisions.persons import lower_ascii
from flows.serve.web.rights import Grant, Rights, Role

FILE = "pages.yaml"
ADDRESS = "PROVISOR_PAGES_ADDRESS"
"""Variable with the address where the file has none: containers take it from the place that names their host."""


class Emails(StrEnum):
    """Which addresses of a provider name a person."""

    VERIFIED = "verified"
    """Those that it says it has verified, by the claim ``email_verified``."""
    ALL = "all"
    """All: for a provider that lets nobody choose an address, and does not say so."""


def is_safe_address(address: str) -> bool:
    """Whether nobody on the way reads what is sent there: https, or this machine."""
    try:
        at = urlsplit(address)
        return at.scheme == "https" or (at.scheme == "http" and at.hostname in ("127.0.0.1", "localhost"))
    except ValueError:
        return False


class Provider(Settings):
    """An OpenID Connect provider that says who somebody is."""

    issuer: str
    """Its address, as its own description has it."""
    client_id: str
    client_secret: Secret
    """A reference, as ``${env:NAME}``."""
    name: str = "your organisation's sign-in"
    """What people call it: it stands on the button."""
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    login: str = "email"
    """Claim by which somebody is known here: it stands in logs and in ``roles``."""
    emails: Emails = Emails.VERIFIED
    """Which addresses count, where ``login`` is ``email``."""
    groups: str = "groups"
    """Claim that lists somebody's groups."""

    @field_validator("issuer")
    @classmethod
    def _is_safe(cls, issuer: str) -> str:
        if not is_safe_address(issuer):
            raise ValueError("the issuer needs https: anybody on the way could say who somebody is")
        return issuer.rstrip("/")


class RoleRule(Settings):
    """Who has one role, for some jobs or for all."""

    role: Role
    people: tuple[str, ...] = ()
    """Logins, as the provider says them."""
    groups: tuple[str, ...] = ()
    """Groups of the provider."""
    jobs: tuple[str, ...] = ()
    """Names of jobs; all where this is left out."""


class PagesSettings(Settings):
    """Everything in ``pages.yaml``."""

    address: str = ""
    """Where browsers find the pages, through a proxy that ends TLS; without it this machine alone."""
    client_header: Annotated[str, Field(pattern="^[A-Za-z0-9-]*$")] = ""
    """Header in which the proxy says whose request it passes on, ``X-Forwarded-For``; its last entry counts."""
    prefect: str = ""
    """Where browsers find Prefect's UI; without it the one that ``provisor up`` has started."""
    provider: Provider | None = None
    roles: tuple[RoleRule, ...] = ()
    metrics_token: Secret | None = None
    """What ``/metrics`` asks for as a bearer token; without it only this machine is answered."""
    folder: Annotated[Path, Field(exclude=True)] = Path()
    """Where the file lies: references to files are looked up from there."""

    @field_validator("address")
    @classmethod
    def _is_an_origin(cls, address: str) -> str:
        at = urlsplit(address)
        if address and (at.scheme not in ("http", "https") or not at.hostname or at.path.strip("/") or at.query):
            raise ValueError("write it as https://provisor.example.com, without a path")
        return address.rstrip("/")

    def rights_of(self, login: str, groups: tuple[str, ...]) -> Rights:
        """What somebody may do whom the provider has named."""
        name = lower_ascii(login)
        return Rights(
            [
                Grant(one.role, one.jobs)
                for one in self.roles
                if name in set(map(lower_ascii, one.people)) or set(groups) & set(one.groups)
            ]
        )

    @property
    def provider_name(self) -> str:
        """What people call the provider; empty where there is none."""
        return self.provider.name if self.provider is not None else ""

    def check_secrets(self) -> None:
        """Raises: SettingsError naming the setting whose secret is not there, before anybody needs it."""
        checks: dict[str, Callable[[], object]] = {"metrics_token": self.reveal_metrics_token}
        if self.provider is not None:
            checks["provider.client_secret"] = self.reveal_client_secret
        for name, reveal_it in checks.items():
            try:
                reveal_it()
            except SettingsError as error:
                raise SettingsError(f"{self.folder / FILE}: {name}: {error}") from None

    def reveal_client_secret(self) -> str:
        """The secret itself. Raises: SettingsError."""
        assert self.provider is not None
        return reveal(self.provider.client_secret, folder=self.folder)

    def reveal_metrics_token(self) -> str | None:
        """The token itself, None where there is none. Raises: SettingsError."""
        return reveal(self.metrics_token, folder=self.folder) if self.metrics_token else None


def read_pages_settings(folder: Path) -> PagesSettings:
    """What the file of a folder says; the defaults where there is none. Raises: SettingsError."""
    path = folder / FILE
    given = {"address": os.environ[ADDRESS]} if os.environ.get(ADDRESS) else {}
    try:
        content = (YAML(typ="safe").load(path) or {}) if path.exists() else {}
        return PagesSettings.model_validate({**given, **content, "folder": folder})
    except (YAMLError, OSError, UnicodeDecodeError, TypeError) as error:
        raise SettingsError(f"{path} cannot be read: {str(error).splitlines()[0]}.") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        where = ADDRESS if place == "address" and place not in content else f"{path}: {place}"
        raise SettingsError(f"{where}: {first['msg']}.") from None
