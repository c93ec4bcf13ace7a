"""Resources as they come in and go out: names in the schema's spelling, values of the schema's types.

Source: RFC 7643 section 2.3 (data types), section 2.5 (null is absent); RFC 7644 section 3.9 (attributes and
excludedAttributes).
"""

from typing import Any

from tests.servers.scim_service.answers import ScimError
from tests.servers.scim_service.attributes import ENTERPRISE, Attribute, ResourceType
from tests.servers.scim_service.filters import FilterError, Path, get, parse_path
from tests.servers.scim_service.quirks import Quirks

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "reference": str,
    "dateTime": str,
    "binary": str,
    "boolean": bool,
    "integer": int,
    "decimal": (int, float),
    "complex": dict,
}


def clean(given: dict[str, Any], kind: ResourceType, quirks: Quirks) -> dict[str, Any]:
    """The resource as it is kept: no nulls, known names spelt as in the schema, `schemas` complete.

    What a client may not set (id, meta) is left out, as is what is never returned (a password).

    Raises: ScimError when a value is not of its attribute's type, or something required is missing.
    """
    kept: dict[str, Any] = {}
    named = given.get("schemas") or get(given, "schemas")
    if not isinstance(named, list) or not named or not all(isinstance(urn, str) for urn in named):
        raise ScimError(400, "schemas must be a list that names the resource's schemas", "invalidSyntax")
    for key, value in given.items():
        attribute = kind.exact.get(key)
        if attribute is not None and attribute.plain is type(value):
            kept[key] = value
            continue
        if value is None or value == []:
            continue
        attribute = attribute or kind.core.get(key.lower())
        if attribute is None:
            _keep_unknown(kept, key, value, named, kind, quirks)
        elif attribute.mutability not in {"readOnly", "writeOnly"}:
            name = attribute.name
            kept_value = _checked(attribute, value, quirks)
            if kept_value not in (None, [], {}) and not (name == "externalId" and quirks["external_id"] == "dropped"):
                kept[name] = kept_value
    kept["schemas"] = _schemas(named, kept, kind)
    _demand_name(kept, kind, quirks)
    if quirks["email_domain"] == "refused" and any(
        str(email.get("value", "")).lower().endswith(".invalid") for email in kept.get("emails", ())
    ):
        raise ScimError(400, "The e-mail domain is not allowed", "invalidValue")
    return kept


def demand_text(given: dict[str, Any], quirks: Quirks) -> None:
    """Passes unless ``active`` is a boolean where the service wants text. Raises: ScimError."""
    if quirks["active_text"] == "demanded" and isinstance(get(given, "active"), bool):
        raise ScimError(400, 'active must be "True" or "False"', "invalidValue")


def _schemas(named: list[str], kept: dict[str, Any], kind: ResourceType) -> list[str]:
    """The schemas as named, but of the extensions only those that hold something."""
    others = [
        urn
        for urn in dict.fromkeys(named)
        if urn != kind.schema and urn.lower() != kind.schema.lower() and (urn not in kind.extensions or urn in kept)
    ]
    others += [key for key in kept if key.startswith("urn:") and key not in others]
    return [kind.schema, *others]


def _demand_name(kept: dict[str, Any], kind: ResourceType, quirks: Quirks) -> None:
    name = "userName" if kind.name == "User" else "displayName"
    if not str(kept.get(name, "")).strip():
        if kind.name == "User" and quirks["empty_user_name"] == "created":
            kept.setdefault(name, "")
            return
        raise ScimError(400, f"{name} is required", "invalidValue")


def _keep_unknown(
    kept: dict[str, Any], key: str, value: Any, named: list[str], kind: ResourceType, quirks: Quirks
) -> None:
    extension = key if key in kind.extensions else None
    extension = extension or next((urn for urn in kind.extensions if urn.lower() == key.lower()), None)
    if extension is None:
        match quirks["unknown_attribute"]:
            case "refused":
                raise ScimError(400, f"There is no attribute {key}", "invalidSyntax")
            case "stored":
                kept[key] = value
        return
    if extension == ENTERPRISE:
        match quirks["enterprise"]:
            case "refused":
                raise ScimError(400, f"There is no attribute {key}", "invalidSyntax")
            case "must_be_named" if extension not in named:
                raise ScimError(400, f"schemas does not name {extension}", "invalidSyntax")
            case "dropped":
                return
    if not isinstance(value, dict):
        raise ScimError(400, f"{extension} must be an object", "invalidValue")
    found: dict[str, Any] = {}
    for name, inner in value.items():
        attribute = kind.extensions[extension].get(name.lower())
        if attribute is not None and attribute.plain is type(inner):
            found[attribute.name] = inner
            continue
        if inner is None or inner == []:
            continue
        kept_value = inner if attribute is None else _checked(attribute, inner, quirks)
        if kept_value not in (None, [], {}):
            found[name if attribute is None else attribute.name] = kept_value
    if found:
        kept[extension] = found


def _checked(attribute: Attribute, value: Any, quirks: Quirks) -> Any:
    """The value if it is of the attribute's type; sub-attributes without their nulls and in the schema's spelling."""
    if attribute.many:
        if not isinstance(value, list):
            raise ScimError(400, f"{attribute.name} must be a list", "invalidValue")
        if attribute.type == "complex" and all(
            type(item) is dict and item and _all_plain(attribute, item) for item in value
        ):
            return value
        return [found for item in value if (found := _checked_one(attribute, item, quirks)) not in (None, {})]
    return _checked_one(attribute, value, quirks)


def _all_plain(attribute: Attribute, value: dict[str, Any]) -> bool:
    """True when every sub-attribute is spelt and typed so that the whole can be kept as it is."""
    exact = attribute.exact
    for name, inner in value.items():
        sub = exact.get(name)
        if sub is None or sub.plain is not type(inner):
            return False
    return True


def _checked_one(attribute: Attribute, value: Any, quirks: Quirks) -> Any:
    wanted: Any = _TYPES[attribute.type]
    if not isinstance(value, wanted) or (isinstance(value, bool) and attribute.type != "boolean"):
        as_text = quirks["active_text"] != "refused" or quirks["active_shown"] == "text"
        if attribute.name == "active" and as_text and str(value).lower() in {"true", "false"}:
            return str(value).lower() == "true"
        if attribute.name == "manager" and quirks["manager_text"] == "taken" and isinstance(value, str):
            return {"value": value} if value else None
        raise ScimError(400, f"{attribute.name} must be of type {attribute.type}", "invalidValue")
    if attribute.type != "complex":
        return value
    if _all_plain(attribute, value):
        return value
    found: dict[str, Any] = {}
    parts: dict[str, Any] = value
    for name, inner in parts.items():
        sub = attribute.exact.get(name)
        if sub is not None and sub.plain is type(inner):
            found[name] = inner
            continue
        if inner is None:
            continue
        sub = sub or attribute.lower.get(name.lower())
        if sub is None:
            found[name] = inner
        elif sub.mutability != "readOnly":
            found[sub.name] = _checked_one(sub, inner, quirks)
    return found


class Projection:
    """Which attributes are sent: those asked for, or all but those excluded."""

    def __init__(self, kind: ResourceType, attributes: str, excluded: str) -> None:
        """The two parameters as they came, comma-separated. Raises: ScimError when one cannot be read."""
        try:
            self.wanted = [parse_path(name.strip(), kind) for name in attributes.split(",") if name.strip()]
            self.excluded = [parse_path(name.strip(), kind) for name in excluded.split(",") if name.strip()]
        except FilterError as error:
            raise ScimError(400, str(error), "invalidPath") from error

    def __bool__(self) -> bool:
        return bool(self.wanted or self.excluded)

    @property
    def only_without_members(self) -> bool:
        """True when just a group's members are left out."""
        return not self.wanted and [path.key for path in self.excluded] == ["members"]

    @property
    def needs_members(self) -> bool:
        """False when members would be thrown away again."""
        if self.wanted:
            return any(path.name == "members" for path in self.wanted)
        return all(path.key != "members" for path in self.excluded)

    def apply(self, resource: dict[str, Any]) -> dict[str, Any]:
        """The resource as it is sent; id and schemas always are."""
        if self.wanted:
            found: dict[str, Any] = {name: resource[name] for name in ("schemas", "id") if name in resource}
            for path in self.wanted:
                _copy(path, resource, found)
            return found
        for path in self.excluded:
            if path.name not in {"id", "schemas"}:
                _drop(path, resource)
        return resource


def _copy(path: Path, resource: dict[str, Any], found: dict[str, Any]) -> None:
    source = resource if path.urn is None else get(resource, path.urn)
    if not isinstance(source, dict):
        return
    name = next((key for key in source if key.lower() == path.name.lower()), None)
    if name is None:
        return
    holder = found if path.urn is None else found.setdefault(path.urn, {})
    value = source[name]
    if path.sub is None or isinstance(value, str):
        holder[name] = value
        return
    if isinstance(value, list):
        slots = holder.setdefault(name, [{} for _ in value])
        for slot, item in zip(slots, value, strict=True):
            if isinstance(item, dict) and (part := get(item, path.sub)) is not None:
                slot[path.sub] = part
    elif (part := get(value, path.sub)) is not None:
        holder.setdefault(name, {})[path.sub] = part


def _drop(path: Path, resource: dict[str, Any]) -> None:
    holder = resource if path.urn is None else get(resource, path.urn)
    if not isinstance(holder, dict):
        return
    name = next((key for key in holder if key.lower() == path.name.lower()), None)
    if name is None:
        return
    if path.sub is None:
        del holder[name]
        return
    value = holder[name]
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            item.pop(path.sub, None)
