"""What a job file says about a SuccessFactors instance."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.contract import Form
from connectors.http_settings import HttpSettings, PrivateKey, base_address
from connectors.settings import Name, Secret, Settings, path_alone
from connectors.successfactors.attributes import CATALOGUE, USER, PersonPath, plain_path

AUDIENCE = "www.successfactors.com"


USER_FIELDS = ("username", *(f"custom{number:02}" for number in range(1, 16)))
"""Fields of the user that can be written."""


class SamlUser(Settings):
    """An API user, through a client of "Manage OAuth2 Client Applications": an assertion signed with the client's
    key."""

    client_id: Name
    """The client's API key; may contain references."""
    key: Secret
    """The client's private key in PEM form; a reference, mostly ``${file:path}``."""
    certificate: Path
    """PEM file with the registered certificate."""
    user: Name
    """Name of the API user; may contain references."""


class IdentityClient(Settings):
    """A client of SAP Cloud Identity Services (OpenID Connect)."""

    token_url: Name
    """Its token endpoint; may contain references."""
    client_id: Name
    """May contain references."""
    secret: Secret | None = None
    """The client's secret; a reference."""
    private_key: PrivateKey | None = None
    """Or its key."""
    resource: str | None = None
    """``urn:sap:identity:application:provider:name:...``."""


class SuccessFactorsAuth(Settings):
    """How to sign in: exactly one of these. SAP no longer supports basic authentication."""

    saml: SamlUser | None = None
    oidc: IdentityClient | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.saml is None) == (self.oidc is None):
            raise ValueError("give exactly one of saml and oidc")
        return self


class Employment(StrEnum):
    """Which of a person's employments counts."""

    ACTIVE = "active"
    """An active one; of several the home assignment, of several of these the one that began first."""
    LATEST = "latest"
    """The one that began last."""
    HOME = "home"
    """The one that is no global assignment."""
    HOST = "host"
    """The global assignment, where there is one."""


class StatusCodes(Settings):
    """External codes of the employee status, by their meaning for an account. A code in neither list holds the
    entry."""

    enabled: tuple[Name, ...] = ("A", "U", "P")
    """Active, unpaid leave, paid leave."""
    disabled: tuple[Name, ...] = ("T", "R", "D", "S", "F", "O")
    """Terminated, retired, dormant, suspended, furloughed, discarded."""


class PersonAttribute(Settings):
    """An attribute of your own."""

    path: Annotated[str, AfterValidator(plain_path)]
    """Path from PerPerson: ``employmentNav/jobInfoNav/customString3``."""
    many: bool = False
    """Whether the values of all entries of a node are wanted, as a list."""
    form: Form = Form.TEXT
    """text, boolean, date, or reference: the personIdExternal of another person."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.form not in (Form.TEXT, Form.BOOLEAN, Form.DATE, Form.REFERENCE):
            raise ValueError("form is one of text, boolean, date, reference")
        return self


class SuccessFactorsSettings(Settings):
    """An instance of Employee Central as a source: people by PerPerson. Their key is personIdExternal."""

    url: Annotated[str, AfterValidator(base_address)]
    """``https://apiN.successfactors.com``, without a path; may contain references."""
    company: Name
    """The company id; may contain references."""
    auth: SuccessFactorsAuth
    attributes: dict[
        Name, Annotated[PersonAttribute, BeforeValidator(path_alone, json_schema_input_type=str | PersonAttribute)]
    ] = Field(default_factory=dict)
    """Attributes of your own besides those that are built in, or in the place of one of them."""
    employment: Employment = Employment.ACTIVE
    """Which of a person's employments counts: active, latest, home or host."""
    status: StatusCodes = StatusCodes()
    ahead_days: Annotated[int, Field(ge=0, le=366)] = 30
    """How many days before their first day people are read, as of that day. At least ``joiners: {before: ...}`` of the
    job."""
    page_size: Annotated[int, Field(ge=1, le=1000)] = 400
    """People per page."""
    ca_file: Path | None = None
    """PEM file with additional certificate authorities to trust."""
    proxy: str | None = None
    """Address of an HTTP proxy; may contain references."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """Seconds to wait for a response; large pages take a while."""

    @property
    def catalogue(self) -> dict[str, PersonPath]:
        """Every attribute that can be read, by name."""
        own = {name: PersonPath(one.path, one.form, one.many) for name, one in self.attributes.items()}
        return {**CATALOGUE, **own}

    def http(self) -> HttpSettings:
        """The same for an HTTP session."""
        oauth: dict[str, Any]
        if self.auth.saml is not None:
            saml = self.auth.saml
            oauth = {
                "token_url": f"{self.url}/oauth/token",
                "client_id": saml.client_id,
                "saml": {
                    "key": saml.key,
                    "certificate": saml.certificate,
                    "subject": saml.user,
                    "issuer": saml.client_id,
                    "audience": AUDIENCE,
                    "attributes": {"api_key": saml.client_id},
                },
                "parameters": {"company_id": self.company, "new_token": "true"},
            }
        else:
            assert self.auth.oidc is not None  # there is exactly one
            oidc = self.auth.oidc
            oauth = oidc.model_dump(exclude={"resource"}, exclude_none=True)
            oauth["parameters"] = {} if oidc.resource is None else {"resource": oidc.resource}
        return HttpSettings.model_validate(
            {
                "url": f"{self.url}/odata/v2",
                "auth": {"oauth": oauth},
                "ca_file": self.ca_file,
                "proxy": self.proxy,
                "timeout_s": self.timeout_s,
            }
        )


class SuccessFactorsTargetSettings(SuccessFactorsSettings):
    """An instance to which mail addresses, phones and fields of users are written back."""

    email_type: Annotated[str, Field(pattern="^[0-9]+$")]
    """Option id of the picklist ecEmailType for work addresses, like ``"8448"``; that address becomes the primary."""
    phone_types: dict[Name, Annotated[str, Field(pattern="^[0-9]+$")]] = Field(default_factory=dict)
    """Option ids of the picklist ecPhoneType, for the phones that are written: ``{businessPhone: "10605"}``."""

    @model_validator(mode="after")
    def _types_differ(self) -> Self:
        if strange := self.phone_types.keys() - {"businessPhone", "cellPhone"}:
            raise ValueError(f"phone_types knows businessPhone and cellPhone, not {', '.join(sorted(strange))}")
        if len(set(self.phone_types.values())) < len(self.phone_types):
            raise ValueError("phone_types names the same type twice")
        return self

    @property
    def catalogue(self) -> dict[str, PersonPath]:
        """As of a source, but the address and the numbers are those that are written."""
        mail = PersonPath(f"emailNav[emailType={self.email_type}]/emailAddress")
        phones = {
            str(name): PersonPath(f"phoneNav[phoneType={kind}]/phoneNumber") for name, kind in self.phone_types.items()
        }
        fields = {name: PersonPath(f"{USER}/{name}") for name in USER_FIELDS}
        return {**super().catalogue, **fields, "emailAddress": mail, **phones}
