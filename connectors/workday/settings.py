"""What a job file says about a Workday tenant."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.contract import Form
from connectors.http_settings import HttpSettings, base_address, eavesdropped
from connectors.settings import Name, Secret, Settings, path_alone
from connectors.workday.attributes import CATALOGUE, WorkerPath, written_paths

OLDEST = 34
"""Older versions lack elements that the attributes are read from, and would give nothing without a word."""
_VERSION = re.compile(r"v(\d+)\.\d")


class IntegrationUser(Settings):
    """An integration system user (ISU), with WS-Security UsernameToken."""

    username: Name
    """Its name without the tenant, which is added; may contain references."""
    password: Secret
    """A reference."""


class RefreshToken(Settings):
    """An API client for integrations, with a refresh token of an integration system user that does not expire."""

    client_id: Name
    """May contain references."""
    secret: Secret
    """The client's secret; a reference."""
    refresh_token: Secret
    """A reference."""
    token_url: Name
    """``https://HOST/ccx/oauth2/TENANT/token``; may contain references."""


class WorkdayAuth(Settings):
    """How to sign in: exactly one of these."""

    user: IntegrationUser | None = None
    oauth: RefreshToken | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.user is None) == (self.oauth is None):
            raise ValueError("give exactly one of user and oauth")
        return self


class WorkerKey(StrEnum):
    """What identifies a person for ever. A WID does not: it changes when somebody is rehired or converted."""

    WORKER_ID = "WorkerID"
    UNIVERSAL_ID = "UniversalID"


class Population(Settings):
    """Which workers are read."""

    employees: bool = True
    contingent: bool = True
    """Contingent workers."""
    inactive: bool = True
    """People who have left. Without them a leaver is merely missing, and a missing worker proves little in Workday."""

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.employees and not self.contingent:
            raise ValueError("read employees, contingent workers or both")
        return self


def _from_the_worker(text: str) -> str:
    if "//" in text:
        raise ValueError("must not hold //: say the whole way from wd:Worker")
    if not text.startswith("wd:Worker/"):
        raise ValueError("must begin with wd:Worker/, the worker itself: leave out what stands before it")
    return text


_FORMS = (Form.TEXT, Form.BOOLEAN, Form.DATE, Form.REFERENCE)


class WorkerAttribute(Settings):
    """An attribute of your own."""

    path: Annotated[str, AfterValidator(_from_the_worker)]
    """XPath 1.0 from ``wd:Worker/``."""
    many: bool = False
    """Whether all values are wanted, as a list; otherwise the first."""
    form: Form = Form.TEXT
    """text, boolean, date, or reference: the WID of another worker."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.form not in _FORMS:
            raise ValueError(f"form is one of {', '.join(_FORMS)}")
        if self.many and self.form is not Form.TEXT:
            raise ValueError("only text may have many values")
        return self


class WorkdaySettings(Settings):
    """A tenant as a source: workers by Get_Workers."""

    url: Annotated[str, AfterValidator(base_address)]
    """``https://HOST/ccx/service/TENANT``; the last segment is the tenant. May contain references."""
    version: str
    """Version of the web services, as ``v44.0``; v34.0 or later."""
    auth: WorkdayAuth
    key: WorkerKey = WorkerKey.WORKER_ID
    """What identifies a person: WorkerID, or UniversalID where one person may be several workers."""
    attributes: dict[
        Name, Annotated[WorkerAttribute, BeforeValidator(path_alone, json_schema_input_type=str | WorkerAttribute)]
    ] = Field(default_factory=dict)
    """Attributes of your own besides those that are built in, or in the place of one of them."""
    population: Population = Population()
    ahead_days: Annotated[int, Field(ge=0, le=366)] = 30
    """How many days in advance first and last days are read, as of those days. At least ``joiners: {before: ...}`` of
    the job."""
    overlap_minutes: Annotated[int, Field(ge=0, le=1440)] = 15
    """How far each read of changes overlaps the previous one: entries may appear late."""
    page_size: Annotated[int, Field(ge=1, le=999)] = 100
    """Workers per page."""
    ca_file: Path | None = None
    """PEM file with additional certificate authorities to trust."""
    proxy: str | None = None
    """Address of an HTTP proxy; may contain references."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """Seconds to wait for a response; large pages take a while."""

    @model_validator(mode="after")
    def _version_is_new_enough(self) -> Self:
        match = _VERSION.fullmatch(self.version)
        if match is None:
            raise ValueError("version is written like v44.0")
        if int(match[1]) < OLDEST:
            raise ValueError(f"version {self.version} is too old: the attributes are those of v{OLDEST}.0 and later")
        return self

    @model_validator(mode="after")
    def _nobody_listens(self) -> Self:
        if "${" not in self.url and (why := eavesdropped(self.http(), self.url)):
            raise ValueError(why)
        return self

    @property
    def catalogue(self) -> dict[str, WorkerPath]:
        """Every attribute that can be read, by name."""
        own = {name: WorkerPath(one.path, one.form, one.many) for name, one in self.attributes.items()}
        return {**CATALOGUE, **own}

    def http(self) -> HttpSettings:
        """The same for an HTTP session. A user's password goes into the message, so that the session has none."""
        auth = None
        if self.auth.oauth is not None:
            auth = {"oauth": self.auth.oauth.model_dump()}
        return HttpSettings.model_validate(
            {
                "url": self.url,
                "auth": auth,
                "ca_file": self.ca_file,
                "proxy": self.proxy,
                "timeout_s": self.timeout_s,
            }
        )


class WorkdayTargetSettings(WorkdaySettings):
    """A tenant to which mail addresses, phones and user names are written back."""

    phone_codes: dict[Annotated[str, Field(pattern="^[1-9][0-9]{0,6}$")], Name] = Field(default_factory=dict)
    """Country codes of phone numbers and the tenant's ids for them (Country_Phone_Code_ID): ``{"49": DEU_49}``. The
    longest that fits counts, as ``"1"`` and ``"1246"``. Needed where phones are written."""
    devices: dict[Name, Name] = Field(default_factory=lambda: {"Telephone": "Landline", "Mobile": "Mobile"})
    """The tenant's ids of device types (Phone_Device_Type_ID) by attribute; some tenants have renamed them."""

    @model_validator(mode="after")
    def _known_by_number(self) -> Self:
        if self.key is not WorkerKey.WORKER_ID:
            raise ValueError("what is written back is written by WorkerID: leave key out")
        if self.devices.keys() != {"Telephone", "Mobile"} or len(set(self.devices.values())) < 2:
            raise ValueError("devices names two different types, for Telephone and for Mobile")
        return self

    @property
    def catalogue(self) -> dict[str, WorkerPath]:
        """As of a source, but the address and the numbers are those that are written."""
        return {**super().catalogue, **written_paths(self.devices)}
