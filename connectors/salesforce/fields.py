"""Fields of users and groups as attributes, and how their values stand in Salesforce's JSON.

Source: Salesforce, REST API Developer Guide, "sObject Describe"; Object Reference, "User", "Group", "PermissionSet",
"PermissionSetGroup"; SOQL and SOSL Reference, "Quoted String Escape Sequences".
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from connectors.kit import Attribute, Count, Form, Kind, Reach, Sameness, Write, table
from connectors.salesforce.settings import GroupSort

PROFILE, ROLE = "Profile.Name", "UserRole.DeveloperName"
LOGIN = "UserLogin.Id"
"""In a row: id of the record that says whether the account is frozen."""

_FORMS = {
    "boolean": Form.BOOLEAN,
    "int": Form.INTEGER,
    "long": Form.INTEGER,
    "double": Form.DECIMAL,
    "currency": Form.DECIMAL,
    "percent": Form.DECIMAL,
    "date": Form.DATE,
    "datetime": Form.DATE,
}
_UNREADABLE = frozenset({"address", "location", "base64", "anyType", "complexvalue"})
"""Types without one value of their own."""
_UNIQUE = {"Username": Reach.WORLD, "CommunityNickname": Reach.SYSTEM, "FederationIdentifier": Reach.SYSTEM}
_IDS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of groups: its object, and the fields that are called ``Name`` and ``DeveloperName`` here."""

    family: str
    prefix: str
    """What ids begin with."""
    object: str
    label: str
    name: str
    where: str
    edges: str
    """Object of the memberships."""
    group: str
    member: str


SORTS = {
    GroupSort.PUBLIC: Sort(
        *("public group", "00G", "Group", "Name", "DeveloperName", "Type = 'Regular'"),
        *("GroupMember", "GroupId", "UserOrGroupId"),
    ),
    GroupSort.PERMISSION_SETS: Sort(
        *("permission set", "0PS", "PermissionSet", "Label", "Name"),
        "IsOwnedByProfile = false AND PermissionSetGroupId = null",
        *("PermissionSetAssignment", "PermissionSetId", "AssigneeId"),
    ),
    GroupSort.PERMISSION_SET_GROUPS: Sort(
        *("permission set group", "0PG", "PermissionSetGroup", "MasterLabel", "DeveloperName", ""),
        *("PermissionSetAssignment", "PermissionSetGroupId", "AssigneeId"),
    ),
}

GROUPS = table(
    Attribute("Id", write=Write.NEVER, unique=Reach.SYSTEM, same=Sameness.EXACT),
    Attribute("Name", required=True),
    Attribute("DeveloperName", unique=Reach.SYSTEM, longest=80),
    Attribute("Type", write=Write.NEVER, searchable=False),
)
"""Attributes of groups of every sort; those of permission sets are never written."""


def sort_of(key: str) -> Sort | None:
    """The sort of a group by its id."""
    return next((one for one in SORTS.values() if key.startswith(one.prefix)), None)


def users_of(described: Mapping[str, Any], profiles: Iterable[str], roles: Iterable[str]) -> dict[str, Attribute]:
    """Attributes of users as the org describes them to the account that is signed in with."""
    found = table(*(_attribute(field) for field in described["fields"] if field["type"] not in _UNREADABLE))
    if "ProfileId" in found:
        found[PROFILE] = Attribute(PROFILE, values=tuple(profiles), write=found["ProfileId"].write)
    if "UserRoleId" in found:
        found[ROLE] = Attribute(ROLE, values=tuple(roles), write=found["UserRoleId"].write)
    return found


def _attribute(field: Mapping[str, Any]) -> Attribute:
    name, sort = field["name"], field["type"]
    refers = frozenset({Kind.USER}) if "User" in (field.get("referenceTo") or ()) else frozenset[Kind]()
    form = Form.REFERENCE if refers else _FORMS.get(sort, Form.TEXT)
    if form is Form.DECIMAL and sort == "double" and field.get("scale") == 0:
        form = Form.INTEGER
    createable, updateable = bool(field.get("createable")), bool(field.get("updateable"))
    unique = _UNIQUE.get(name) or (Reach.SYSTEM if field.get("unique") else None)
    exact = bool(field.get("caseSensitive")) or sort in ("id", "reference")
    names = [str(one["value"]) for one in field.get("picklistValues") or () if one.get("active", True)]
    needed = not field.get("nillable") and not field.get("defaultedOnCreate") and createable
    return Attribute(
        name,
        form=form,
        count=Count.SET if sort == "multipicklist" else Count.ONE,
        write=Write.ALWAYS if updateable else Write.ON_CREATE if createable else Write.NEVER,
        same=Sameness.EXACT if exact else Sameness.FOLDED,
        unique=unique,
        required=needed and name != "ProfileId" and form is not Form.BOOLEAN,
        longest=(field.get("length") or None) if form is Form.TEXT else None,
        values=tuple(names) if field.get("restrictedPicklist") else (),
        refers_to=refers,
        searchable=bool(field.get("filterable", True)),
        label=str(field.get("label") or ""),
    )


def id18(text: str) -> str:
    """An id with its checksum: 15 characters, in which case counts, become 18."""
    if len(text) != 15:
        return text
    blocks = (text[start : start + 5] for start in (0, 5, 10))
    return text + "".join(_IDS[sum(1 << bit for bit, letter in enumerate(one) if letter.isupper())] for one in blocks)


def is_id(text: str) -> bool:
    """Whether a text may stand where an id is wanted; Salesforce refuses a whole query for one that may not."""
    return len(text) in (15, 18) and text.isascii() and text.isalnum()


def row_of(record: Mapping[str, Any], paths: Sequence[str], attributes: Mapping[str, Attribute]) -> dict[str, Any]:
    """Values of a record by flat paths."""
    row: dict[str, Any] = {}
    for path in paths:
        value: Any = record
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        row[path] = _value(attributes.get(path) or Attribute(path), value)
    return row


def _value(attribute: Attribute, value: Any) -> Any:
    if isinstance(value, str) and attribute.several:
        return value.split(";")
    if isinstance(value, str) and attribute.form is Form.REFERENCE:
        return id18(value)
    if isinstance(value, str) and attribute.form is Form.DATE and "T" in value:
        moment = datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(UTC)
        return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, float):
        return int(value) if attribute.form is Form.INTEGER else Decimal(repr(value))
    return value


def sent(value: Any) -> Any:
    """A value as Salesforce takes it; null clears."""
    if isinstance(value, list):
        return ";".join(map(str, value)) or None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def literal(attribute: Attribute, value: str) -> str:
    """A value as a query has it."""
    if attribute.form in (Form.BOOLEAN, Form.INTEGER, Form.DECIMAL, Form.DATE):
        return value
    return f"'{value.translate(_ESCAPES)}'"
