"""What the service knows about attributes: one table from which validation, case rules and /Schemas are made.

Source: RFC 7643 section 4 (core resource schemas), section 7 (schema definition), section 8.7.1 (full schemas).
"""

from dataclasses import dataclass, field
from typing import Any, TypeAlias

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


PlainType: TypeAlias = type | None
_PLAIN: dict[str, type] = {"string": str, "reference": str, "dateTime": str, "binary": str, "boolean": bool}


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """One attribute of a schema."""

    name: str
    type: str = "string"
    many: bool = False
    case_exact: bool = False
    required: bool = False
    mutability: str = "readWrite"
    returned: str = "default"
    uniqueness: str = "none"
    canonical: tuple[str, ...] = ()
    sub: tuple["Attribute", ...] = ()
    references: tuple[str, ...] = ()
    lower: dict[str, "Attribute"] = field(default_factory=dict)
    """Sub-attributes by lower-case name."""
    exact: dict[str, "Attribute"] = field(default_factory=dict)
    """Sub-attributes by name."""
    plain: PlainType = field(init=False)
    """Type of a value that can be kept as it is without a further look; None where it takes a closer one."""

    def __post_init__(self) -> None:
        self.lower.update({attribute.name.lower(): attribute for attribute in self.sub})
        self.exact.update({attribute.name: attribute for attribute in self.sub})
        simple = not self.many and self.mutability in {"readWrite", "immutable"} and self.name != "externalId"
        object.__setattr__(self, "plain", _PLAIN.get(self.type) if simple else None)

    def document(self) -> dict[str, Any]:
        """The attribute as /Schemas describes it."""
        found: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "multiValued": self.many,
            "description": f"The attribute {self.name}.",
            "required": self.required,
            "mutability": self.mutability,
            "returned": self.returned,
        }
        if self.type in {"string", "reference", "binary"}:
            found |= {"caseExact": self.case_exact, "uniqueness": self.uniqueness}
        if self.canonical:
            found["canonicalValues"] = list(self.canonical)
        if self.references:
            found["referenceTypes"] = list(self.references)
        if self.sub:
            found["subAttributes"] = [attribute.document() for attribute in self.sub]
        return found


def _plural(name: str, *canonical: str, type: str = "string") -> Attribute:
    references = ("external",) if type == "reference" else ()
    return Attribute(
        name,
        "complex",
        many=True,
        sub=(
            Attribute("value", type, references=references),
            Attribute("display"),
            Attribute("type", canonical=canonical),
            Attribute("primary", "boolean"),
        ),
    )


USER_ATTRIBUTES = (
    Attribute("userName", required=True, uniqueness="server"),
    Attribute(
        "name",
        "complex",
        sub=tuple(
            Attribute(part)
            for part in ("formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix")
        ),
    ),
    *(Attribute(name) for name in ("displayName", "nickName")),
    Attribute("profileUrl", "reference", references=("external",)),
    *(Attribute(name) for name in ("title", "userType", "preferredLanguage", "locale", "timezone")),
    Attribute("active", "boolean"),
    Attribute("password", mutability="writeOnly", returned="never"),
    _plural("emails", "work", "home", "other"),
    _plural("phoneNumbers", "work", "home", "mobile", "fax", "pager", "other"),
    _plural("ims", "aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"),
    _plural("photos", "photo", "thumbnail", type="reference"),
    Attribute(
        "addresses",
        "complex",
        many=True,
        sub=(
            *(
                Attribute(part)
                for part in ("formatted", "streetAddress", "locality", "region", "postalCode", "country")
            ),
            Attribute("type", canonical=("work", "home", "other")),
            Attribute("primary", "boolean"),
        ),
    ),
    _plural("entitlements"),
    _plural("roles"),
    _plural("x509Certificates", type="binary"),
)

ENTERPRISE_ATTRIBUTES = (
    *(Attribute(name) for name in ("employeeNumber", "costCenter", "organization", "division", "department")),
    Attribute(
        "manager",
        "complex",
        sub=(
            Attribute("value"),
            Attribute("$ref", "reference", references=("User",)),
            Attribute("displayName", mutability="readOnly"),
        ),
    ),
)

GROUP_ATTRIBUTES = (
    Attribute("displayName", required=True),
    Attribute(
        "members",
        "complex",
        many=True,
        sub=(
            Attribute("value", case_exact=True, mutability="immutable"),
            Attribute("$ref", "reference", mutability="immutable", references=("User", "Group")),
            Attribute("type", mutability="immutable", canonical=("User", "Group")),
            Attribute("display", mutability="readOnly"),
        ),
    ),
)

COMMON_ATTRIBUTES = (
    Attribute("schemas", "reference", many=True, case_exact=True),
    Attribute("id", case_exact=True, mutability="readOnly"),
    Attribute("externalId", case_exact=True),
    Attribute(
        "meta",
        "complex",
        mutability="readOnly",
        sub=(
            Attribute("resourceType", case_exact=True),
            Attribute("created", "dateTime"),
            Attribute("lastModified", "dateTime"),
            Attribute("location", "reference", case_exact=True),
            Attribute("version", case_exact=True),
        ),
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class ResourceType:
    """One kind of resource: its endpoint, its schema and the attributes of each schema, by lower-case name."""

    name: str
    endpoint: str
    schema: str
    core: dict[str, Attribute]
    extensions: dict[str, dict[str, Attribute]]
    exact: dict[str, Attribute] = field(default_factory=dict)
    """Core attributes by name."""

    def __post_init__(self) -> None:
        self.exact.update({attribute.name: attribute for attribute in self.core.values()})

    def document(self, base: str) -> dict[str, Any]:
        """The kind as /ResourceTypes describes it; ``base`` is the service's address."""
        found: dict[str, Any] = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": self.name,
            "name": self.name,
            "endpoint": f"/{self.endpoint}",
            "description": f"{self.name} accounts",
            "schema": self.schema,
            "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{self.name}"},
        }
        if self.extensions:
            found["schemaExtensions"] = [{"schema": urn, "required": False} for urn in self.extensions]
        return found


def _by_name(*attributes: Attribute) -> dict[str, Attribute]:
    return {attribute.name.lower(): attribute for attribute in attributes}


USER_TYPE = ResourceType(
    "User",
    "Users",
    USER,
    _by_name(*COMMON_ATTRIBUTES, *USER_ATTRIBUTES),
    {ENTERPRISE: _by_name(*ENTERPRISE_ATTRIBUTES)},
)
GROUP_TYPE = ResourceType("Group", "Groups", GROUP, _by_name(*COMMON_ATTRIBUTES, *GROUP_ATTRIBUTES), {})

SCHEMAS = {
    USER: ("User", USER_ATTRIBUTES),
    GROUP: ("Group", GROUP_ATTRIBUTES),
    ENTERPRISE: ("EnterpriseUser", ENTERPRISE_ATTRIBUTES),
}


def schema_document(urn: str, base: str) -> dict[str, Any]:
    """One schema as /Schemas describes it. Raises: KeyError when the service has no such schema."""
    name, attributes = SCHEMAS[urn]
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": urn,
        "name": name,
        "description": f"The schema {name}.",
        "attributes": [attribute.document() for attribute in attributes],
        "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{urn}"},
    }
