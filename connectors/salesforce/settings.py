"""What a job file says about a Salesforce org."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from connectors.http_settings import HttpSettings, PrivateKey, base_address
from connectors.settings import Name, Secret, Settings


class SalesforceAuth(Settings):
    """The app in Salesforce that Provisor signs in as, and exactly one proof: ``secret`` (client credentials, or with
    ``refresh_token``), or ``private_key`` with ``username`` (JWT bearer)."""

    client_id: Name
    """Consumer key of the app; may hold references."""
    secret: Secret | None = None
    """Consumer secret of the app; a reference."""
    private_key: PrivateKey | None = None
    """Key of the certificate that was uploaded to the app; it signs in as ``username``."""
    username: Name | None = None
    """User name of the account that Provisor works as; may hold references."""
    refresh_token: Secret | None = None
    """Token of a user who once consented; a reference."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.private_key is None) != (self.username is None):
            raise ValueError("private_key and username go together")
        if self.private_key is not None and (self.secret is not None or self.refresh_token is not None):
            raise ValueError("give either private_key and username, or secret, or refresh_token")
        if self.private_key is None and self.secret is None and self.refresh_token is None:
            raise ValueError("give private_key and username, or secret, or refresh_token")
        return self


class GroupSort(StrEnum):
    """What counts as groups."""

    PUBLIC = "public"
    """Public groups: created, filled and deleted."""
    PERMISSION_SETS = "permission_sets"
    """Filled, never created or deleted; those of profiles are not among them."""
    PERMISSION_SET_GROUPS = "permission_set_groups"
    """Filled, never created or deleted."""


class SalesforceSettings(Settings):
    """An org as a source."""

    url: Annotated[str, AfterValidator(base_address)]
    """Address of My Domain: ``https://example.my.salesforce.com``; may hold references."""
    auth: SalesforceAuth
    api_version: Annotated[str, Field(pattern=r"^\d{2,3}\.0$")] = "67.0"
    """Version of the REST API; each lives at least three years."""
    token_url: str | None = None
    """Address of the token endpoint; that of My Domain without it."""
    user_types: Annotated[tuple[Annotated[str, Field(pattern=r"^\w+$")], ...], Field(min_length=1)] = ("Standard",)
    """Types of users to see: staff are ``Standard``; portal and guest users are other types."""
    groups: tuple[GroupSort, ...] = (GroupSort.PUBLIC, GroupSort.PERMISSION_SETS, GroupSort.PERMISSION_SET_GROUPS)
    """What counts as groups."""
    ca_file: Path | None = None
    """PEM file with authorities that are trusted too."""
    proxy: str | None = None
    """Address of a proxy; ``HTTPS_PROXY`` without it."""
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """Seconds for one answer."""

    @property
    def below(self) -> str:
        """The path under which everything is."""
        return f"/services/data/v{self.api_version}"

    def http(self) -> HttpSettings:
        """The same for an HTTP session."""
        auth = self.auth
        client: dict[str, Any] = {
            "token_url": self.token_url or f"{self.url}/services/oauth2/token",
            "client_id": auth.client_id,
            "secret_in": "body",
            "secret": auth.secret,
            "subject": auth.username,
            "refresh_token": auth.refresh_token,
            "follow_instance_url": True,
        }
        if auth.private_key is not None:  # My Domain is an audience that every org takes
            key = auth.private_key
            client["private_key"] = key.model_copy(update={"audience": key.audience or self.url}).model_dump()
        return HttpSettings.model_validate(
            {
                "url": self.url + self.below,
                "auth": {"oauth": {name: value for name, value in client.items() if value is not None}},
                "ca_file": self.ca_file,
                "proxy": self.proxy,
                "timeout_s": self.timeout_s,
            }
        )


class SalesforceTargetSettings(SalesforceSettings):
    """An org as a target."""

    freeze: bool = False
    """Freezes an account before it is deactivated: one that Salesforce refuses to deactivate (a default owner, an
    approver) can at least not sign in. The next cycle tries again. Enabling an account ends its freeze."""
    quota_reserve: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Part of the org's daily API requests that is left to others: below it nothing more is created or changed until
    the next cycle, but access is still taken away."""
