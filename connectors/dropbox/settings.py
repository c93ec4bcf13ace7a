"""What a job file says about a Dropbox team."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from connectors.http_settings import HttpSettings, base_address
from connectors.settings import Name, Secret, Settings


class DropboxAuth(Settings):
    """The Dropbox app, and the token of the team admin who authorised it."""

    client_id: Name
    """App key; may contain references."""
    secret: Secret | None = None
    """App secret; a reference. Omit it for an app authorised with PKCE."""
    refresh_token: Secret
    """Refresh token of a team admin, from an authorisation with ``token_access_type=offline``; a reference."""


class DropboxSettings(Settings):
    """A team as a source."""

    url: Annotated[str, AfterValidator(base_address)] = "https://api.dropboxapi.com"
    auth: DropboxAuth
    user_managed_groups: bool = False
    """Groups that their own members manage are seen as well; without it only those of the company."""
    ca_file: Path | None = None
    """PEM file with additional certificate authorities to trust."""
    proxy: str | None = None
    """Address of a proxy. Default: ``HTTPS_PROXY``."""
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """Seconds to wait for a response."""

    def http(self) -> HttpSettings:
        """The same for an HTTP session."""
        client: dict[str, Any] = {"token_url": f"{self.url}/oauth2/token", "secret_in": "body"}
        client |= self.auth.model_dump(exclude_none=True)
        return HttpSettings.model_validate(
            {
                "url": f"{self.url}/2/team",
                "auth": {"oauth": client},
                "ca_file": self.ca_file,
                "proxy": self.proxy,
                "timeout_s": self.timeout_s,
            }
        )


class InvitedLeavers(StrEnum):
    """How to disable somebody who has not accepted the invitation: Dropbox suspends only active members."""

    KEEP = "keep"
    """The invitation stays open, and the refusal is told until it is accepted or the account is deleted."""
    REMOVE = "remove"
    """The invitation is taken back. No files are lost: there are none."""


class Suspension(Settings):
    """What else happens to a member who is suspended."""

    wipe_devices: bool = False
    """Deletes the team's files from the member's linked devices."""


class Removal(Settings):
    """What else happens to a member who is removed. Without a word nothing is wiped, and the member can be recovered
    for seven days."""

    wipe_devices: bool = False
    """Deletes the team's files from the member's linked devices."""
    transfer_files_to: Name | None = None
    """E-mail address of the member who receives the files. A member whose files were transferred cannot be
    recovered."""
    keep_account: bool = False
    """The account continues as a personal one, with its files."""
    retain_team_shares: bool = False
    """A kept account keeps access to folders shared with it."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.keep_account and (self.transfer_files_to is not None or self.wipe_devices):
            raise ValueError("keep_account goes neither with transfer_files_to nor with wipe_devices")
        if self.retain_team_shares and not self.keep_account:
            raise ValueError("retain_team_shares needs keep_account")
        return self


class DropboxTargetSettings(DropboxSettings):
    """A team as a target."""

    welcome_email: bool = True
    """Whether new members get an invitation by mail. Without it they can join only if single sign-on is required."""
    invited_leavers: InvitedLeavers = InvitedLeavers.KEEP
    suspend: Suspension = Suspension()
    remove: Removal = Removal()
    recover_removed: bool = True
    """Whether somebody who returns within seven days of the removal gets the same account and files."""
    seats_reserve: Annotated[int, Field(ge=0)] = 0
    """Seats that are left free for others: nobody is added, enabled or recovered who would take one of them."""
