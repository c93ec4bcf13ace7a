"""What a job file says about a directory."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.address import normalised
from connectors.http_settings import is_loopback
from connectors.ldap import names
from connectors.settings import Name, Secret, Settings, reveal


def _address(text: str) -> str:
    if "${" in text:
        return text
    parts = urlsplit(text)
    if parts.scheme not in {"ldap", "ldaps", "ldapi"} or not parts.netloc:
        raise ValueError("must be an address that begins with ldaps://, ldap:// or ldapi://")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be the server's address alone; bases and filters belong under users and groups")
    if "@" in parts.netloc:
        raise ValueError("must not contain credentials: they belong under auth")
    return text.rstrip("/")


def _name(text: str) -> str:
    if "${" not in text and text:
        names.parse(text)
    return text


def _filter(text: str) -> str:
    text = text.strip()
    if not text.startswith("(") or not text.endswith(")") or text.count("(") != text.count(")"):
        raise ValueError("must be a filter in parentheses, such as (objectClass=person)")
    return text


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Dn = Annotated[str, AfterValidator(_name)]
"""A distinguished name."""
Filter = Annotated[str, AfterValidator(_filter)]
"""A search filter, in brackets."""
Addresses = Annotated[
    tuple[Annotated[str, AfterValidator(_address)], ...],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    Field(min_length=1),
]
Bases = Annotated[tuple[Dn, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class Flavour(StrEnum):
    """Which server it is; it decides about keys, switches, and what changes are told."""

    ACTIVE_DIRECTORY = "active-directory"
    OPENLDAP = "openldap"
    DS389 = "389ds"
    GENERIC = "generic"


class SimpleAuth(Settings):
    """A name and its password."""

    user: str
    """Distinguished name, or for Active Directory ``user@domain``; may contain references."""
    password: Secret
    """A reference."""


class ExternalAuth(Settings):
    """Identity from the client certificate or, at an ldapi address, from the account that runs Provisor."""

    certificate: Path | None = None
    """PEM file with the certificate."""
    key: Path | None = None
    """PEM file with its key."""


class GssapiAuth(Settings):
    """Kerberos, with existing tickets (``kinit``, a credential cache) or a keytab."""

    principal: Name | None = None
    keytab: Path | None = None
    """File with the principal's keys."""


class LdapAuth(Settings):
    """How to sign in: exactly one of these."""

    simple: SimpleAuth | None = None
    external: ExternalAuth | None = None
    gssapi: GssapiAuth | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(way is not None for way in (self.simple, self.external, self.gssapi)) != 1:
            raise ValueError("give exactly one of simple, external and gssapi")
        return self


class UserEntries(Settings):
    """Which entries are people."""

    base: Bases = ()
    """Base: one distinguished name or several. Default: the server's own naming context."""
    filter: Filter | None = None
    """Without it all people: ``(&(objectCategory=person)(objectClass=user))`` or ``(objectClass=inetOrgPerson)``."""
    key: Name | None = None
    """Attribute that names an entry for ever; without it objectGUID, entryUUID or nsUniqueId."""


class Members(Settings):
    """How a group refers to its members."""

    attribute: Name = "member"
    by: Literal["dn", "uid"] = "dn"
    """``uid`` for memberUid of posixGroup."""


class GroupEntries(Settings):
    """Which entries are groups."""

    base: Bases = ()
    """As for users."""
    filter: Filter | None = None
    """Without it all groups: ``(objectClass=group)`` or ``(objectClass=groupOfNames)``."""
    key: Name | None = None
    members: Members = Members()
    primary_group: bool = True
    """Whether a person's primary group, which Active Directory stores separately, counts as a membership."""
    placeholder: str | None = None
    """The member that a group without members has, in directories where a group must have one; never shown."""


class Changes(StrEnum):
    """How an incremental read learns what changed."""

    AUTO = "auto"
    """The best that the server can do."""
    NONE = "none"
    """Everything is read each time."""
    USN = "usn"
    """By uSNChanged, in Active Directory."""
    SYNCREPL = "syncrepl"
    """By content synchronisation, in OpenLDAP."""
    TIMESTAMP = "timestamp"
    """By modifyTimestamp, with a look at all keys."""


class Limits(Settings):
    """How much to request at once."""

    page: Annotated[int, Field(ge=1, le=100_000)] = 1000
    """Entries per page."""
    members_per_change: Annotated[int, Field(ge=1, le=1000)] = 500
    """Members added or removed per request."""
    connections: Annotated[int, Field(ge=1, le=32)] = 4


class LdapSettings(Settings):
    """Where the directory is, how to sign in, and which of its entries count."""

    url: Addresses
    """``ldaps://``, ``ldap://`` or ``ldapi://``; of several, the first one that responds serves the whole cycle."""
    start_tls: bool = False
    """For ``ldap://``: encrypts the connection before anything else; fails if the server refuses."""
    ca_file: Path | None = None
    """PEM file with certificate authorities to trust instead of the default ones. Verification cannot be turned off."""
    auth: LdapAuth
    users: UserEntries = UserEntries()
    groups: GroupEntries | None = None
    changes: Changes = Changes.AUTO
    proof: Dn | None = None
    """An entry that must be readable; where it is not, nobody's absence is believed."""
    limits: Limits = Limits()
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """Seconds to wait for a response."""
    connect_timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0

    @model_validator(mode="after")
    def _encrypted(self) -> Self:
        for address in self.url:
            if self.start_tls and not address.startswith("ldap://") and "${" not in address:
                raise ValueError("start_tls belongs to addresses that begin with ldap://")
            if "${" not in address and not self.keeps_secrets(address):
                raise ValueError(
                    f"{address} would send the password unencrypted: use ldaps://, or ldap:// with start_tls: true"
                )
        return self

    def place(self, *, folder: Path) -> str:
        """The servers, whatever the way there: ids are the directory's own, not those of a base or a filter."""
        parts = [urlsplit(normalised(reveal(address, folder=folder))) for address in self.url]
        return ",".join(sorted({part.netloc or part.path for part in parts}))

    def keeps_secrets(self, address: str) -> bool:
        """Whether no password goes over a network unencrypted; this machine's own addresses are no network."""
        if self.auth.simple is None or self.start_tls or address.startswith(("ldaps://", "ldapi://")):
            return True
        return is_loopback(urlsplit(address).hostname or "")


class DirectorySettings(LdapSettings):
    """The same for the connector ``ldap``, which serves every kind of directory."""

    directory: Flavour | None = None
    """Type of server. Without it, the server is asked."""


# What a target needs besides


class SwitchedBy(StrEnum):
    """How an account is switched off."""

    ACCOUNT_CONTROL = "user_account_control"
    """By one bit of userAccountControl, in Active Directory; the others stay as they are."""
    PPOLICY = "ppolicy"
    """By pwdAccountLockedTime, in OpenLDAP; effective where the password policy has pwdLockout TRUE."""
    ACCOUNT_LOCK = "ns_account_lock"
    """By nsAccountLock, in 389 Directory Server."""
    NONE = "none"
    """Not at all."""


class Disable(Settings):
    """What becomes of an account that is switched off."""

    by: SwitchedBy | None = None
    """Default: the usual way of the server."""
    move_to: Dn | None = None
    """A container for accounts that are switched off: they are switched off first, then moved, and moved back to
    ``create.container`` (or where the mapping of parentDistinguishedName says) when they return."""


class Password(Settings):
    """The password of a new account: random, known to nobody, stored nowhere."""

    length: Annotated[int, Field(ge=14, le=127)] = 32
    """Characters."""
    must_change: bool = True
    """Active Directory: whether it must be changed at first sign-in."""


class GroupType(StrEnum):
    """Which sort of group is made in Active Directory."""

    GLOBAL_SECURITY = "global_security"
    UNIVERSAL_SECURITY = "universal_security"
    LOCAL_SECURITY = "domain_local_security"
    GLOBAL_DISTRIBUTION = "global_distribution"
    UNIVERSAL_DISTRIBUTION = "universal_distribution"


class Create(Settings):
    """How new entries are created."""

    rdn: Name | None = None
    """Attribute that names the entry in its container; without it cn, or uid for people outside Active Directory."""
    container: Dn | None = None
    """Where it is made unless parentDistinguishedName is mapped; without it the first base."""
    classes: tuple[Name, ...] = ()
    """Object classes. Default: user and group, or inetOrgPerson and groupOfNames."""
    group_type: GroupType = GroupType.GLOBAL_SECURITY


class UserTarget(UserEntries):
    """The same for people who are kept in step."""

    create: Create = Create()
    password: Password | None = Password()
    """Null: accounts are made without a password; in Active Directory they stay disabled until they have one."""
    disable: Disable = Disable()


class GroupTarget(GroupEntries):
    """The same for groups that are kept in step."""

    create: Create = Create()

    @model_validator(mode="after")
    def _by_name(self) -> Self:
        if self.members.by != "dn":
            raise ValueError("members of a target's groups are written by their names: leave out members.by")
        return self


class TargetSettings(LdapSettings):
    """A directory that is kept in step."""

    users: UserTarget = UserTarget()
    groups: GroupTarget | None = None


class DirectoryTargetSettings(TargetSettings):
    """The same for the connector ``ldap``."""

    directory: Flavour | None = None
    """Type of server. Without it, the server is asked."""
