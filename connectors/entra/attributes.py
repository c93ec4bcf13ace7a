"""Attributes of users and groups in Microsoft Entra ID, flat, and how they stand in Graph's JSON.

Source: Microsoft Graph v1.0, resource types "user" and "group"; lengths from the property tables there.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from connectors.kit import Attribute, Count, Form, Kind, Reach, Write, table

_TEXTS = {
    "givenName": 64,
    "surname": 64,
    "jobTitle": 128,
    "department": 64,
    "companyName": 64,
    "officeLocation": 128,
    "streetAddress": 1024,
    "city": 128,
    "state": 128,
    "country": 128,
    "postalCode": 40,
    "mobilePhone": 64,
    "faxNumber": None,
    "employeeId": 16,
    "employeeType": None,
    "preferredLanguage": None,
    "usageLocation": 2,
    "mail": None,
    "passwordPolicies": None,
}
_READ_ONLY = (
    "userType",
    "externalUserState",
    "creationType",
    "securityIdentifier",
    "onPremisesSamAccountName",
    "onPremisesUserPrincipalName",
    "onPremisesDistinguishedName",
    "onPremisesDomainName",
    "onPremisesSecurityIdentifier",
)

USERS = table(
    Attribute("id", write=Write.NEVER, unique=Reach.SYSTEM),
    Attribute("accountEnabled", form=Form.BOOLEAN),
    Attribute("userPrincipalName", unique=Reach.SYSTEM, required=True, longest=113),
    Attribute("displayName", required=True, longest=256),
    Attribute("mailNickname", required=True, longest=64),
    *(Attribute(path, longest=longest) for path, longest in _TEXTS.items()),
    Attribute("businessPhones", count=Count.LIST),
    Attribute("otherMails", count=Count.SET),
    Attribute("proxyAddresses", count=Count.SET, write=Write.NEVER, unique=Reach.SYSTEM),
    Attribute("employeeHireDate", form=Form.DATE),
    Attribute("employeeLeaveDateTime", form=Form.DATE),
    Attribute("employeeOrgData.division", part_of="employeeOrgData"),
    Attribute("employeeOrgData.costCenter", part_of="employeeOrgData"),
    *(
        Attribute(
            f"onPremisesExtensionAttributes.extensionAttribute{number}",
            longest=1024,
            part_of="onPremisesExtensionAttributes",
        )
        for number in range(1, 16)
    ),
    Attribute("onPremisesImmutableId", unique=Reach.SYSTEM),
    Attribute("onPremisesSyncEnabled", form=Form.BOOLEAN, write=Write.NEVER, searchable=False),
    Attribute("createdDateTime", form=Form.DATE, write=Write.NEVER, set_by_system=True),
    *(Attribute(path, write=Write.NEVER) for path in _READ_ONLY),
    Attribute("manager", form=Form.REFERENCE, refers_to=frozenset({Kind.USER}), searchable=False),
)

GROUPS = table(
    Attribute("id", write=Write.NEVER, unique=Reach.SYSTEM),
    Attribute("displayName", required=True, longest=256),
    Attribute("description", longest=1024),
    Attribute("mailNickname", longest=64, write=Write.ON_CREATE),
    Attribute("uniqueName", write=Write.ON_CREATE, unique=Reach.SYSTEM),
    Attribute("visibility", write=Write.ON_CREATE),
    Attribute("mail", write=Write.NEVER),
    Attribute("mailEnabled", form=Form.BOOLEAN, write=Write.NEVER),
    Attribute("securityEnabled", form=Form.BOOLEAN, write=Write.NEVER),
    Attribute("groupTypes", count=Count.SET, write=Write.NEVER),
    Attribute("membershipRule", write=Write.NEVER),
    Attribute("onPremisesSyncEnabled", form=Form.BOOLEAN, write=Write.NEVER, searchable=False),
)


def with_extensions(names: Iterable[str]) -> dict[str, Attribute]:
    """The users' attributes with directory extensions of the tenant."""
    return USERS | table(*(Attribute(name, longest=256) for name in names))


def selected(paths: Iterable[str]) -> str:
    """What ``$select`` names for these paths: the first part of each, and the key. Relations are no properties."""
    return ",".join(dict.fromkeys(["id", *(path.partition(".")[0] for path in paths if path != "manager")]))


def flat(entry: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """The values of an entry as Graph shows it; those of complex properties by their dotted paths."""
    found: dict[str, Any] = {}
    for path in paths:
        if path == "manager":
            continue
        value: Any = entry
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        found[path] = None if value == [] else value
    return found


def shown(entry: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """The same of what an entry names: what is left out is not there, since a change does not repeat everything."""
    there = [path for path in paths if path.partition(".")[0] in entry]
    return flat(entry, there)


def nested(values: Mapping[str, Any], attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    """Flat values as Graph takes them. A collection is cleared by an empty one, everything else by null."""
    body: dict[str, Any] = {}
    for path, value in values.items():
        held = attributes.get(path)
        if value is None and held is not None and held.several:
            value = []
        *parents, last = path.split(".")
        place = body
        for part in parents:
            place = place.setdefault(part, {})
        place[last] = value
    return body
