"""What a job file says about a Microsoft Entra ID tenant."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from connectors.address import normalised
from connectors.http_settings import HttpSettings, PrivateKey
from connectors.settings import Name, Secret, Settings, reveal


class Cloud(StrEnum):
    """The cloud that hosts the tenant."""

    GLOBAL = "global"
    USGOV = "usgov"
    USGOV_DOD = "usgov-dod"
    CHINA = "china"


_HOSTS = {
    Cloud.GLOBAL: ("https://graph.microsoft.com", "https://login.microsoftonline.com"),
    Cloud.USGOV: ("https://graph.microsoft.us", "https://login.microsoftonline.us"),
    Cloud.USGOV_DOD: ("https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
    Cloud.CHINA: ("https://microsoftgraph.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"),
}
"""Hosts of Graph and of the sign-in. Source: Microsoft Graph, "National cloud deployments"."""


class EntraAuth(Settings):
    """The app registration that Provisor signs in as, and exactly one proof of it."""

    client_id: Name
    """Application (client) id; may contain references."""
    secret: Secret | None = None
    """The value of a client secret, not its id; a reference."""
    private_key: PrivateKey | None = None
    """The key of a certificate that the app registration has; ``certificate`` in it names the certificate's file."""
    federated_token_file: Path | None = None
    """File with a token of a workload identity, kept fresh outside Provisor; read for every token."""

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        if sum(one is not None for one in (self.secret, self.private_key, self.federated_token_file)) != 1:
            raise ValueError("give exactly one of secret, private_key and federated_token_file")
        return self


class SoftDeleted(StrEnum):
    """What a user is who was deleted less than 30 days ago, and can be restored."""

    DISABLED = "disabled"
    """There and disabled, as for Entra ID's own provisioning."""
    ABSENT = "absent"
    """No longer there."""


class Administrators(StrEnum):
    """What to do with accounts that hold an administrator role."""

    WRITE = "write"
    """Write them; Graph refuses it unless the app itself holds a directory role."""
    LEAVE_ALONE = "leave alone"
    """Hold their changes when the plan is made. Needs RoleManagement.Read.Directory."""


class EntraTenant(Settings):
    """Where a tenant is, and how to sign in to it."""

    tenant: Name
    """Its id, or one of its verified domains; may contain references."""
    auth: EntraAuth
    cloud: Cloud = Cloud.GLOBAL
    url: str | None = None
    """Address of Graph, for clouds that are not listed; without the version."""
    login_url: str | None = None
    """Address of the sign-in, for clouds that are not listed."""
    extensions: tuple[Annotated[str, Field(pattern=r"^extension_[0-9a-f]{32}_\w+$")], ...] = ()
    """Directory extensions that mappings use: ``extension_<app id without hyphens>_<name>``."""
    ca_file: Path | None = None
    """PEM file with additional certificate authorities to trust."""
    proxy: str | None = None
    """Address of a proxy. Default: ``HTTPS_PROXY``."""
    timeout_s: Annotated[float, Field(gt=0)] = 100.0
    """Seconds to wait for a response."""

    def place(self, *, folder: Path) -> str:
        """The tenant in its cloud, whatever signs in to it."""
        graph = normalised((self.url or _HOSTS[self.cloud][0]).rstrip("/"))
        return f"{graph}/{reveal(self.tenant, folder=folder).strip().lower()}"

    def http(self) -> HttpSettings:
        """The same for an HTTP session."""
        graph, login = _HOSTS[self.cloud]
        graph, login = (self.url or graph).rstrip("/"), (self.login_url or login).rstrip("/")
        proof = {
            "secret": self.auth.secret,
            "private_key": self.auth.private_key,
            "assertion_file": self.auth.federated_token_file,
        }
        client = {name: value for name, value in proof.items() if value is not None}
        oauth = {
            "token_url": f"{login}/{self.tenant}/oauth2/v2.0/token",
            "client_id": self.auth.client_id,
            "secret_in": "body",
            "scope": f"{graph}/.default",
            **client,
        }
        return HttpSettings.model_validate(
            {
                "url": f"{graph}/v1.0",
                "auth": {"oauth": oauth},
                "ca_file": self.ca_file,
                "proxy": self.proxy,
                "timeout_s": self.timeout_s,
            }
        )


class EntraSettings(EntraTenant):
    """A tenant as a source."""

    app: str | None = None
    """Application (client) id of an enterprise application: only its assigned users and groups are assigned, with their
    roles. The job needs ``assignment: {mode: assigned, from_source: true}``."""
    soft_deleted: SoftDeleted = SoftDeleted.DISABLED
    """How to treat users who were deleted less than 30 days ago."""


class EntraTargetSettings(EntraTenant):
    """A tenant as a target."""

    password_length: Annotated[int, Field(ge=12, le=256)] = 24
    """Length of the random password of a new account; it is never stored, shown or logged."""
    force_change: bool = True
    """Whether the first sign-in asks for another password."""
    revoke_sessions: bool = True
    """Whether disabling an account also ends its sessions."""
    restore_deleted: bool = True
    """Whether a joiner whose account was deleted less than 30 days ago gets it back, found by the job's first matching
    attribute; otherwise a new one."""
    administrators: Administrators = Administrators.WRITE
    """What to do with accounts that hold an administrator role."""
    guests: bool = False
    """Whether accounts of guests are written."""
