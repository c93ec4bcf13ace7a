"""What a server says of itself in its root entry: which directory it is, what it can do, how its entries are named."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from connectors.errors import SchemaMismatchError, SettingsError, UnreachableError
from connectors.ldap.controls import Oid
from connectors.ldap.requests import Scope, Search
from connectors.ldap.results import Code, meaning
from connectors.ldap.settings import Changes, Flavour
from connectors.ldap.values import sid_text
from connectors.ldap.wire import Connection, Reply

_ATTRIBUTES = ("*", "+", "tokenGroups")


@dataclass(frozen=True, slots=True)
class Facts:
    """The server that answered."""

    flavour: Flavour
    address: str
    vendor: str
    contexts: tuple[str, ...]
    """Names below which entries lie; the server's main one first."""
    controls: frozenset[str]
    extensions: frozenset[str]
    schema_entry: str
    user_key: str
    """Attribute that names an entry for ever."""
    host: str = ""
    """Active Directory: the name of the domain controller."""
    service: str = ""
    """Active Directory: the entry of the domain controller's own settings."""
    usn: int = 0
    """Active Directory: the number of the last change, before anything was read."""
    signed_in_sid: str = ""
    server_time: str = ""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def is_active_directory(self) -> bool:
        """Whether it is Active Directory, Samba's included."""
        return self.flavour is Flavour.ACTIVE_DIRECTORY

    def has(self, oid: str) -> bool:
        """Whether the server offers a control or an extended operation."""
        return oid in self.controls or oid in self.extensions

    def best_changes(self, asked: Changes) -> Changes:
        """How changes are learnt: as the job asks, or the best that the server can do.

        Raises: SettingsError where the server cannot do what is asked for.
        """
        if asked is Changes.AUTO:
            if self.is_active_directory:
                return Changes.USN
            return Changes.SYNCREPL if Oid.SYNC_REQUEST in self.controls else Changes.TIMESTAMP
        if asked is Changes.USN and not self.is_active_directory:
            raise SettingsError(f"changes: usn needs Active Directory, and {self.address} is {self.title}.")
        if asked is Changes.SYNCREPL and Oid.SYNC_REQUEST not in self.controls:
            raise SettingsError(f"changes: syncrepl is not offered by {self.address}: load its overlay syncprov.")
        return asked

    @property
    def title(self) -> str:
        """What people call it."""
        names = {
            Flavour.ACTIVE_DIRECTORY: "Active Directory",
            Flavour.OPENLDAP: "OpenLDAP",
            Flavour.DS389: "389 Directory Server",
            Flavour.GENERIC: "an LDAP directory",
        }
        return names[self.flavour] + (f" ({self.vendor})" if self.vendor else "")


def answered(connection: Connection, search: Search) -> Reply:
    """The answer to a question about the server itself. Raises: UnreachableError where it does not come."""
    reply = connection.ask(search)
    if reply.answer.fault is not None:
        raise UnreachableError(f"{connection.address} closed the connection or did not respond in time.")
    if reply.answer.code in (Code.BUSY, Code.UNAVAILABLE):
        raise UnreachableError(f"{connection.address} does not answer now: {meaning(reply.answer)}.")
    return reply


def read_facts(connection: Connection, asked: Flavour | None) -> Facts:
    """Ask the root entry. Raises: SchemaMismatchError, SettingsError, UnreachableError."""
    reply = answered(connection, Search("", attributes=_ATTRIBUTES, scope=Scope.BASE))
    if not reply.answer.fine or not reply.entries:
        raise SchemaMismatchError(f"{connection.address} does not show its root entry, so it is not an LDAP directory.")
    held = {name.lower(): values for name, values in reply.entries[0][1].items()}

    def texts(name: str) -> tuple[str, ...]:
        return tuple(value.decode("utf-8", errors="replace") for value in held.get(name.lower(), ()))

    def one(name: str) -> str:
        return next(iter(texts(name)), "")

    flavour = _flavour(texts("supportedCapabilities"), texts("objectClass"), one("vendorName"))
    if asked is not None and asked is not flavour and asked is not Flavour.GENERIC:
        raise SettingsError(
            f"{connection.address} is not {asked}: it looks like {flavour}. Correct directory, or the connector's name."
        )
    flavour = asked or flavour
    first = one("defaultNamingContext")
    contexts = tuple(dict.fromkeys(name for name in (first, *texts("namingContexts")) if name))
    sids = held.get("tokengroups", [])
    return Facts(
        flavour=flavour,
        address=connection.address,
        vendor=" ".join(part for part in (one("vendorName"), one("vendorVersion")) if part),
        contexts=contexts,
        controls=frozenset(texts("supportedControl")),
        extensions=frozenset(texts("supportedExtension")),
        schema_entry=one("subschemaSubentry") or "cn=schema",
        user_key="objectGUID" if flavour is Flavour.ACTIVE_DIRECTORY else "entryUUID",
        host=one("dnsHostName"),
        service=one("dsServiceName"),
        usn=int(one("highestCommittedUSN") or 0),
        signed_in_sid=sid_text(sids[0]) if sids else "",
        server_time=one("currentTime"),
        values={name: texts(name) for name in held if len(held[name]) < 100},
    )


def _flavour(capabilities: tuple[str, ...], classes: tuple[str, ...], vendor: str) -> Flavour:
    if Oid.ACTIVE_DIRECTORY in capabilities:
        return Flavour.ACTIVE_DIRECTORY
    if "OpenLDAProotDSE" in classes:
        return Flavour.OPENLDAP
    return Flavour.DS389 if "389 project" in vendor.lower() else Flavour.GENERIC


@dataclass(frozen=True, slots=True)
class UsnMark:
    """How far a read of Active Directory has come; good on the same domain controller alone."""

    service: str
    invocation: str
    """Changes when the controller's database is restored."""
    usn: int
    read_at: str
    """ISO 8601; accounts that expired since have changed without a new number."""

    def encode(self) -> str:
        """As text."""
        return json.dumps({"dc": self.service, "invocation": self.invocation, "usn": self.usn, "at": self.read_at})

    @classmethod
    def decode(cls, text: str) -> "UsnMark | None":
        """From text; None where it is something else."""
        try:
            held = json.loads(text)
            return cls(str(held["dc"]), str(held["invocation"]), int(held["usn"]), str(held["at"]))
        except (ValueError, KeyError, TypeError):
            return None
