"""What a job file says about a Salesforce org."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from connectors.http_settings import Auth, HttpSettings, SecretIn


class GroupSort(StrEnum):
    """What counts as groups."""

    PUBLIC = "public"
    """Public groups: created, filled and deleted."""
    PERMISSION_SETS = "permission_sets"
    """Filled, never created or deleted; those of profiles are not among them."""
    PERMISSION_SET_GROUPS = "permission_set_groups"
    """Filled, never created or deleted."""


class SalesforceSettings(HttpSettings):
    """An org as a source.

    ``url`` is My Domain: ``https://example.my.salesforce.com``. ``auth`` is ``oauth``: the app in Salesforce, with
    ``secret``, ``private_key`` and ``subject``, or ``refresh_token``.
    """

    TOKEN_PATH: ClassVar[str] = "/services/oauth2/token"

    api_version: Annotated[str, Field(pattern=r"^\d{2,3}\.0$")] = "67.0"
    """Version of the REST API; each lives at least three years."""
    user_types: Annotated[tuple[Annotated[str, Field(pattern=r"^\w+$")], ...], Field(min_length=1)] = ("Standard",)
    """Types of users to see: staff are ``Standard``; portal and guest users are other types."""
    groups: tuple[GroupSort, ...] = (GroupSort.PUBLIC, GroupSort.PERMISSION_SETS, GroupSort.PERMISSION_SET_GROUPS)
    """What counts as groups."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """Seconds to wait for a response."""

    @model_validator(mode="after")
    def _signs_in(self) -> Self:
        if self.auth is None or (self.auth.oauth is None and self.auth.bearer is None):
            raise ValueError("auth needs oauth, with secret, or private_key and subject, or refresh_token")
        return self

    @property
    def below(self) -> str:
        """The path under which everything is."""
        return f"/services/data/v{self.api_version}"

    def http(self) -> HttpSettings:
        """The same for an HTTP session: requests go below the API's path, at the instance that a token is for."""
        changed: dict[str, Any] = {"url": self.url + self.below}
        if self.auth is not None and (oauth := self.auth.oauth) is not None:
            client: dict[str, Any] = {"token_url": self.token_url, "follow_instance_url": True}
            if "secret_in" not in oauth.model_fields_set:
                client["secret_in"] = SecretIn.BODY
            if oauth.private_key is not None:  # My Domain is an audience that every org takes
                audience = oauth.private_key.audience or self.url
                client["private_key"] = oauth.private_key.model_copy(update={"audience": audience})
            changed["auth"] = Auth(oauth=oauth.model_copy(update=client))
        return self.model_copy(update=changed)


class SalesforceTargetSettings(SalesforceSettings):
    """An org as a target."""

    freeze: bool = False
    """Whether to freeze an account before deactivating it: then an account that Salesforce refuses to deactivate (a
    default owner, an approver) at least cannot sign in. The next cycle tries again. Enabling an account ends the
    freeze."""
    quota_reserve: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Part of the org's daily API requests that is left to others: below it nothing more is created or changed until
    the next cycle, but access is still taken away."""
