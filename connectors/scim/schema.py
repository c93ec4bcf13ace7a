"""What a SCIM service says about its attributes, and what the standard says where the service does not; pure.

Source: RFC 7643 sections 2.2, 4.1 to 4.3, 7 and 8.7 (characteristics of the core and enterprise attributes).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from connectors.contract import Attribute, Count, Form, Kind, Reach, Sameness, Write
from connectors.scim.paths import Path, PathError, parse_path

CORE = {
    Kind.USER: "urn:ietf:params:scim:schemas:core:2.0:User",
    Kind.GROUP: "urn:ietf:params:scim:schemas:core:2.0:Group",
}
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ENDPOINTS = {Kind.USER: "/Users", Kind.GROUP: "/Groups"}

_FORMS = {
    "boolean": Form.BOOLEAN,
    "integer": Form.INTEGER,
    "decimal": Form.DECIMAL,
    "dateTime": Form.DATE,
    "binary": Form.BYTES,
    "reference": Form.REFERENCE,
    "complex": Form.STRUCTURE,
}
_MUTABILITY = {"readOnly": Write.NEVER, "immutable": Write.ON_CREATE, "writeOnly": Write.BLIND}
_REACH = {"server": Reach.SYSTEM, "global": Reach.WORLD}

_STRING = Attribute()
_EXACT = Attribute(same=Sameness.EXACT)
_BOOLEAN = Attribute(form=Form.BOOLEAN)
_REFERENCE = Attribute(form=Form.REFERENCE, same=Sameness.EXACT)
_COMPLEX = Attribute(form=Form.STRUCTURE)
_PLURAL = Attribute(form=Form.STRUCTURE, count=Count.LIST)

_COMMON: dict[str, Attribute] = {
    "id": Attribute(same=Sameness.EXACT, required=True, write=Write.NEVER),
    "externalId": _EXACT,
    "schemas": Attribute(form=Form.REFERENCE, count=Count.LIST, same=Sameness.EXACT),
    "meta": replace(_COMPLEX, write=Write.NEVER),
    "meta.resourceType": replace(_EXACT, write=Write.NEVER),
    "meta.created": Attribute(form=Form.DATE, write=Write.NEVER),
    "meta.lastModified": Attribute(form=Form.DATE, write=Write.NEVER),
    "meta.location": replace(_REFERENCE, write=Write.NEVER),
    "meta.version": replace(_EXACT, write=Write.NEVER),
}

_TYPES = {
    "emails": ("work", "home", "other"),
    "phoneNumbers": ("work", "home", "mobile", "fax", "pager", "other"),
    "ims": ("aim", "gtalk", "icq", "xmpp", "msn", "skype", "qq", "yahoo"),
    "photos": ("photo", "thumbnail"),
    "addresses": ("work", "home", "other"),
    "entitlements": (),
    "roles": (),
    "x509Certificates": (),
}
_ADDRESS = ("formatted", "streetAddress", "locality", "region", "postalCode", "country")


def _user_attributes() -> dict[str, Attribute]:
    """Attributes of the core user and the enterprise extension, by flat path without filters."""
    found = dict(_COMMON)
    found["userName"] = Attribute(required=True)
    found["name"] = _COMPLEX
    for sub in ("formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"):
        found[f"name.{sub}"] = _STRING
    for simple in ("displayName", "nickName", "title", "userType", "preferredLanguage", "locale", "timezone"):
        found[simple] = _STRING
    found["profileUrl"] = _REFERENCE
    found["active"] = _BOOLEAN
    found["password"] = Attribute(write=Write.BLIND)
    for plural, types in _TYPES.items():
        found[plural] = _PLURAL
        for sub in _ADDRESS if plural == "addresses" else ("value", "display"):
            found[f"{plural}.{sub}"] = _STRING
        found[f"{plural}.type"] = Attribute(values=types)
        found[f"{plural}.primary"] = _BOOLEAN
    found["photos.value"] = _REFERENCE
    found["x509Certificates.value"] = Attribute(form=Form.BYTES, same=Sameness.EXACT)
    found["groups"] = replace(_PLURAL, write=Write.NEVER)
    for sub, info in {"value": _STRING, "$ref": _REFERENCE, "display": _STRING, "type": _STRING}.items():
        found[f"groups.{sub}"] = replace(info, write=Write.NEVER)
    for simple in ("employeeNumber", "costCenter", "organization", "division", "department"):
        found[f"{ENTERPRISE}:{simple}"] = _STRING
    found[f"{ENTERPRISE}:manager"] = _COMPLEX
    found[f"{ENTERPRISE}:manager.value"] = _EXACT
    found[f"{ENTERPRISE}:manager.$ref"] = _REFERENCE
    found[f"{ENTERPRISE}:manager.displayName"] = replace(_STRING, write=Write.NEVER)
    return found


def _group_attributes() -> dict[str, Attribute]:
    found = dict(_COMMON)
    found["displayName"] = Attribute(required=True)
    found["members"] = _PLURAL
    found["members.value"] = Attribute(same=Sameness.EXACT, write=Write.ON_CREATE)
    found["members.$ref"] = replace(_REFERENCE, write=Write.ON_CREATE)
    found["members.type"] = Attribute(write=Write.ON_CREATE, values=("User", "Group"))
    found["members.display"] = replace(_STRING, write=Write.NEVER)
    return found


@dataclass(frozen=True, slots=True)
class EntrySchema:
    """Attributes of one kind of entry."""

    kind: Kind
    attributes: Mapping[str, Attribute]
    """By path without filters, spelled as the service spells it: ``emails.value``, ``urn:...:User:manager.value``."""
    lowered: Mapping[str, str]
    """Lower-case path to its spelling in ``attributes``: names are case-insensitive."""
    served: bool = False
    """True when the service itself has told, so that what is missing here is missing there."""

    def info(self, text: str) -> Attribute | None:
        """What is known of a flat path, filters and extension URNs included; None for an unknown or malformed one.

        A reference such as ``manager`` gives the characteristics of the id it holds. A sub-attribute of a multi-valued
        attribute is single-valued under a filter and multi-valued without one.
        """
        try:
            path = parse_path(text)
        except PathError:
            return None
        return self.info_of(path)

    def info_of(self, path: Path) -> Attribute | None:
        """As ``info``, for a parsed path."""
        container = self._look_up(path.container)
        if container is None:
            return None
        if not path.sub:
            if self.is_reference(path):
                return replace(self._look_up(f"{path.container}.value") or _EXACT, form=Form.REFERENCE)
            return replace(container, count=Count.ONE) if path.clauses else container
        sub = self._look_up(f"{path.container}.{path.sub}")
        if sub is None or path.clauses or not container.several:
            return sub
        return replace(sub, count=Count.LIST)

    def is_reference(self, path: Path) -> bool:
        """True for a single-valued complex attribute that is an id in a ``value`` (``manager``), named as a whole."""
        container = self._look_up(path.container)
        return (
            container is not None
            and container.form is Form.STRUCTURE
            and not (container.several or path.sub)
            and self._look_up(f"{path.container}.value") is not None
        )

    def paths(self) -> list[str]:
        """Paths that a mapping may name, sorted; multi-valued attributes once for each canonical type."""
        found: set[str] = set()
        for text in self.attributes:
            path = parse_path(text)
            container = self._look_up(path.container)
            if not path.sub or container is None or not container.several:
                found.add(text)
                continue
            types = self._look_up(f"{path.container}.type")
            for name in types.values if types is not None and path.sub != "type" else ():
                found.add(f'{path.container}[type eq "{name}"].{path.sub}')
        return sorted(found)

    def _look_up(self, text: str) -> Attribute | None:
        spelled = self.lowered.get(text.lower())
        return None if spelled is None else self.attributes[spelled]


class SchemaAttributes(Mapping[str, Attribute]):
    """A schema as a mapping: iterates over the paths worth offering, and looks up any path whatever its filter."""

    def __init__(self, schema: EntrySchema) -> None:
        self._schema = schema
        self._paths = schema.paths()

    def __getitem__(self, path: str) -> Attribute:
        info = self._schema.info(path)
        if info is None:
            raise KeyError(path)
        return info

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def schema_of(kind: Kind, attributes: Mapping[str, Attribute], *, served: bool = False) -> EntrySchema:
    """A schema over paths without filters."""
    return EntrySchema(kind, attributes, {text.lower(): text for text in attributes}, served)


def without(schema: EntrySchema, paths: Iterable[str]) -> EntrySchema:
    """The schema without attributes that the service does not keep, whatever it says. Raises: PathError."""
    gone = {parse_path(text).container.lower() for text in paths}
    kept = {text: info for text, info in schema.attributes.items() if parse_path(text).container.lower() not in gone}
    return schema_of(schema.kind, kept, served=True) if gone else schema


def with_doubles(schema: EntrySchema) -> EntrySchema:
    """The schema of a service that takes the same value twice, whatever it says."""
    infos = {text: replace(info, unique=None) for text, info in schema.attributes.items()}
    return replace(schema, attributes=infos)


STANDARD = {
    Kind.USER: schema_of(Kind.USER, _user_attributes()),
    Kind.GROUP: schema_of(Kind.GROUP, _group_attributes()),
}
"""What RFC 7643 defines."""

_OTHER_KIND = {Kind.USER: re.compile(r":group$", re.IGNORECASE), Kind.GROUP: re.compile(r":user$", re.IGNORECASE)}


def discovered(kind: Kind, schemas: Iterable[Any], extensions: Iterable[str] | None = None) -> EntrySchema | None:
    """The schema of a kind from the resources that ``/Schemas`` serves; None when its core schema is not among them.

    ``extensions`` are the extension URNs that ``/ResourceTypes`` names for the kind; None where it is not served, then
    every served schema that does not name the other kind is taken to extend this one. Attributes that every entry has
    (id, externalId, meta) are those of the standard unless they are served. What cannot be understood is left out.
    """
    by_urn = {
        schema["id"]: schema for schema in schemas if isinstance(schema, dict) and isinstance(schema.get("id"), str)
    }
    core = next((by_urn[urn] for urn in by_urn if urn.lower() == CORE[kind].lower()), None)
    if core is None:
        return None
    if extensions is None:
        chosen = [urn for urn in by_urn if ":schemas:extension:" in urn.lower() and not _OTHER_KIND[kind].search(urn)]
    else:
        chosen = [urn for urn in extensions if urn in by_urn]
    found = dict(_COMMON)
    found.update(_flatten(core.get("attributes"), prefix=""))
    for urn in chosen:
        found.update(_flatten(by_urn[urn].get("attributes"), prefix=f"{urn}:"))
    return schema_of(kind, found, served=True)


def _flatten(attributes: Any, *, prefix: str) -> Iterator[tuple[str, Attribute]]:
    for attribute in attributes if isinstance(attributes, list) else ():
        if not isinstance(attribute, dict) or not isinstance(attribute.get("name"), str):
            continue
        name = f"{prefix}{attribute['name']}"
        yield name, _characteristics(attribute)
        if attribute.get("type") == "complex":
            yield from _flatten(attribute.get("subAttributes"), prefix=f"{name}.")


def _characteristics(attribute: Mapping[str, Any]) -> Attribute:
    canonical = attribute.get("canonicalValues")
    return Attribute(
        form=_FORMS.get(str(attribute.get("type")), Form.TEXT),
        count=Count.LIST if attribute.get("multiValued") is True else Count.ONE,
        same=Sameness.EXACT if attribute.get("caseExact") is True else Sameness.FOLDED,
        required=attribute.get("required") is True,
        write=_MUTABILITY.get(str(attribute.get("mutability")), Write.ALWAYS),
        values=tuple(str(value) for value in canonical) if isinstance(canonical, list) else (),
        unique=_REACH.get(str(attribute.get("uniqueness"))),
    )
