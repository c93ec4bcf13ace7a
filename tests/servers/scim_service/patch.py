"""PATCH: operations applied to a copy of a resource; changes of a group's members are told apart, not applied.

Source: RFC 7644 section 3.5.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.servers.scim_service.answers import ScimError
from tests.servers.scim_service.attributes import Attribute, ResourceType
from tests.servers.scim_service.filters import (
    Compare,
    FilterError,
    Path,
    attribute_of,
    comparisons,
    get,
    parse_filter,
    parse_path,
)
from tests.servers.scim_service.quirks import Quirks
from tests.servers.scim_service.resources import demand_text

OPERATIONS = frozenset({"add", "replace", "remove"})


class MemberChange(NamedTuple):
    """What is done to a group's members: added, replaced, removed; for a removal None means every one."""

    operation: str
    members: list[dict[str, Any]] | None


class Target(NamedTuple):
    """A PATCH path in its parts."""

    path: Path
    filter: Any
    sub: str | None
    attribute: Attribute | None
    """What the schema says of the attribute itself, not of its sub-attribute."""


@dataclass(slots=True)
class Patch:
    """One PATCH under way."""

    resource: dict[str, Any]
    """A copy of the resource without members; changed in place."""
    kind: ResourceType
    quirks: Quirks
    member_changes: list[MemberChange] = field(default_factory=list)

    def run(self, document: Any) -> None:
        """Carry out the operations of a PatchOp document. Raises: ScimError."""
        operations = get(document, "Operations") if isinstance(document, dict) else None
        if not isinstance(operations, list) or not operations:
            raise ScimError(400, "Operations must be a list with at least one operation", "invalidSyntax")
        for operation in operations:
            if not isinstance(operation, dict):
                raise ScimError(400, "An operation must be an object", "invalidSyntax")
            try:
                self._one(operation)
            except ScimError:
                if operation is not operations[0] and self.quirks["good_then_bad"] == "good_half_kept":
                    return
                raise
            except FilterError as error:
                raise ScimError(400, str(error), "invalidPath") from error

    def _one(self, operation: dict[str, Any]) -> None:
        spelled = str(get(operation, "op") or "")
        op = spelled.lower()
        wanted = {"lower_only": op, "capital_only": op.capitalize()}.get(self.quirks["operation_case"], spelled)
        if spelled != wanted:
            raise ScimError(400, f"{spelled!r} is not an operation", "invalidSyntax")
        path, value = get(operation, "path"), get(operation, "value")
        if op not in OPERATIONS:
            if self.quirks["unknown_operation"] == "refused":
                raise ScimError(400, f"{op!r} is not an operation", "invalidSyntax")
            op = "replace"
        if path:
            self._at_path(op, str(path), value)
        elif op == "remove":
            raise ScimError(400, "remove needs a path", "noTarget")
        elif not isinstance(value, dict):
            raise ScimError(400, "An operation without a path needs an object as its value", "invalidValue")
        else:
            self._without_path(op, value)

    # -- without a path --------------------------------------------------------------------------------------------

    def _without_path(self, op: str, value: dict[str, Any]) -> None:
        for key, inner in value.items():
            if key.lower() == "schemas":
                continue
            if key.lower() == "members" and self.kind.name == "Group":
                match self.quirks["members_without_path"]:
                    case "refused":
                        raise ScimError(400, "members need a path", "invalidPath")
                    case "replaces_all":
                        op = "replace"
            simple = key.lower() in self.kind.core
            if not simple and self.quirks["patch_without_path"] == "known_only":
                continue
            extension = next((urn for urn in self.kind.extensions if urn.lower() == key.lower()), None)
            extension = extension or (key if isinstance(inner, dict) and key.lower().startswith("urn:") else None)
            if extension is not None and isinstance(inner, dict):
                for name, part in inner.items():
                    self._at_path(op, f"{extension}:{name}", part)
                continue
            if not simple and "." in key.rpartition(":")[2] and self.quirks["dotted_keys"] == "silent":
                continue
            if isinstance(inner, dict) and self.quirks["patch_without_path"] == "replaces_complex":
                self.resource.pop(self.kind.core[key.lower()].name if simple else key, None)
            self._at_path(op, key, inner)

    # -- at a path -------------------------------------------------------------------------------------------------

    def _at_path(self, op: str, text: str, value: Any) -> None:
        target = self._target(text)
        name = target.path.name
        demand_text({name: value}, self.quirks)
        if self.kind.name == "Group" and name == "members":
            self._members(op, target, value)
            return
        if target.attribute is not None and target.attribute.mutability == "readOnly":
            raise ScimError(400, f"{name} cannot be changed", "mutability")
        if target.attribute is None and target.path.urn is None and self.quirks["unknown_attribute"] != "stored":
            if self.quirks["unknown_attribute"] == "refused" and not name.startswith("urn:"):
                raise ScimError(400, f"There is no attribute {name}", "invalidPath")
            if not name.startswith("urn:"):
                return
        holder = self._holder(target, create=op != "remove")
        if holder is None:
            return
        key = next((found for found in holder if found.lower() == name.lower()), name)
        if target.filter is not None:
            self._elements(op, holder, key, target, value)
        elif target.sub is not None:
            if self.quirks["path_sub_attribute"] != "silent":
                self._sub_attribute(op, holder, key, target, value)
        else:
            self._whole(op, holder, key, target.attribute, value)
        if target.path.urn is not None and not holder:
            self.resource.pop(target.path.urn, None)

    def _target(self, text: str) -> Target:
        outer, bracket, rest = text.partition("[")
        attribute = attribute_of(outer, self.kind)
        if not bracket:
            path = parse_path(text, self.kind)
            top = text[: len(text) - len(path.sub) - 1] if path.sub else text
            return Target(path, None, path.sub, attribute_of(top, self.kind))
        inner, closing, sub = rest.rpartition("]")
        if not closing or (sub and not sub.startswith(".")):
            raise ScimError(400, f"{text!r} is not a path", "invalidPath")
        if attribute is not None and not (attribute.many and attribute.type == "complex"):
            raise ScimError(400, f"{attribute.name} has no elements to choose from", "invalidPath")
        try:
            condition = parse_filter(inner, self.kind, within=attribute)
        except FilterError as error:
            raise ScimError(400, str(error), "invalidFilter") from error
        name = sub[1:] or None
        if attribute is not None and name is not None and name.lower() in attribute.lower:
            name = attribute.lower[name.lower()].name
        return Target(parse_path(outer, self.kind), condition, name, attribute)

    def _holder(self, target: Target, *, create: bool) -> dict[str, Any] | None:
        """The object that holds the attribute: the resource, or one of its extensions."""
        if target.path.urn is None:
            return self.resource
        found = get(self.resource, target.path.urn)
        if not isinstance(found, dict):
            if not create:
                return None
            found = self.resource[target.path.urn] = {}
        return found

    def _whole(self, op: str, holder: dict[str, Any], key: str, attribute: Attribute | None, value: Any) -> None:
        held = holder.get(key)
        many = attribute.many if attribute is not None else isinstance(held, list)
        if op == "remove" and not self._may_remove():
            return
        if op == "remove" or (op == "replace" and value in (None, [], {})):
            holder.pop(key, None)
        elif value in (None, [], {}):
            return
        elif many:
            items = value if isinstance(value, list) else [value]
            if op == "replace":
                holder[key] = items
            else:
                holder[key] = self._appended(key, held or [], items)
            _one_primary(holder[key], items)
        elif isinstance(held, dict) and isinstance(value, dict):
            holder[key] = {name: part for name, part in {**held, **value}.items() if part is not None}
        else:
            holder[key] = value

    def _appended(self, key: str, held: list[Any], items: list[Any]) -> list[Any]:
        if key == "emails":
            match self.quirks["add_to_emails"]:
                case "appended_twice":
                    return held + items
                case "one_per_type":
                    types = {get(item, "type") for item in items if isinstance(item, dict)}
                    return [item for item in held if item.get("type") not in types] + items
                case "list_replaced":
                    return items
                case "not_implemented":
                    raise ScimError(501, "add to emails is not implemented")
                case "refused_with_type" if any(isinstance(item, dict) and get(item, "type") for item in items):
                    raise ScimError(400, "type cannot be given", "invalidValue")
        return held + [item for item in items if item not in held]

    def _sub_attribute(self, op: str, holder: dict[str, Any], key: str, target: Target, value: Any) -> None:
        held = holder.get(key)
        sub = target.sub
        assert sub is not None
        if isinstance(held, list):
            items = [item for item in held if isinstance(item, dict)]
        elif isinstance(held, dict):
            items = [held]
        elif op == "remove" or value is None:
            return
        elif target.attribute is not None and target.attribute.many:
            holder[key] = items = [{}]
        else:
            holder[key] = {}
            items = [holder[key]]
        self._set_part(op, holder, key, items, sub, value)

    def _elements(self, op: str, holder: dict[str, Any], key: str, target: Target, value: Any) -> None:
        held = holder.get(key)
        items = held if isinstance(held, list) else []
        chosen = [item for item in items if isinstance(item, dict) and target.filter.test(item)]
        if not chosen:
            if op != "remove":
                self._no_element(holder, key, target, value)
            return
        match self.quirks["path_element"]:
            case "silent":
                return
            case "not_implemented":
                raise ScimError(501, "Filters in paths are not implemented")
            case "error_500":
                raise ScimError(500, "Internal error")
        if op == "remove" and not self._may_remove():
            return
        if target.sub is not None:
            self._set_part(op, holder, key, chosen, target.sub, value)
        elif op == "remove":
            left = [item for item in items if item not in chosen]
            if left:
                holder[key] = left
            else:
                del holder[key]
        elif not isinstance(value, dict):
            raise ScimError(400, "An element needs an object as its value", "invalidValue")
        else:
            for item in chosen:
                if op == "replace":
                    item.clear()
                item.update(value)
            _one_primary(holder[key], chosen)

    def _may_remove(self) -> bool:
        """False where the service says yes and does nothing. Raises: ScimError."""
        if self.quirks["remove_attribute"] == "refused":
            raise ScimError(400, "remove is not supported", "invalidValue")
        return self.quirks["remove_attribute"] == "honoured"

    def _no_element(self, holder: dict[str, Any], key: str, target: Target, value: Any) -> None:
        match self.quirks["path_no_element"]:
            case "no_target":
                raise ScimError(400, f"No element of {key} fulfils the filter", "noTarget")
            case "not_implemented":
                raise ScimError(501, "Filters in paths are not implemented")
            case "error_500":
                raise ScimError(500, "Internal error")
            case "created":
                element = {part.path.name: part.value for part in _equalities(target.filter)}
                element |= {target.sub: value} if target.sub is not None else dict(value or {})
                holder.setdefault(key, []).append(element)
                _one_primary(holder[key], [element])

    def _set_part(
        self, op: str, holder: dict[str, Any], key: str, items: list[dict[str, Any]], sub: str, value: Any
    ) -> None:
        if op == "remove" and not self._may_remove():
            return
        for item in items:
            name = next((found for found in item if found.lower() == sub.lower()), sub)
            if op == "remove" or value is None:
                item.pop(name, None)
            else:
                item[name] = value
        held = holder[key]
        if sub == "primary" and value is True and isinstance(held, list):
            _one_primary(held, items)
        if isinstance(held, list):
            holder[key] = held = [item for item in held if item not in ({}, None)]
        if not held:
            holder.pop(key)

    # -- members ---------------------------------------------------------------------------------------------------

    def _members(self, op: str, target: Target, value: Any) -> None:
        given = None if value is None else _as_members(value)
        if op != "remove":
            if target.filter is not None or target.sub is not None:
                raise ScimError(400, "A member cannot be changed, only added and removed", "mutability")
            if op == "replace":
                match self.quirks["replace_members"]:
                    case "adds":
                        op = "add"
                    case "not_implemented":
                        raise ScimError(501, "replace of members is not implemented")
            self.member_changes.append(MemberChange(op, given or []))
        elif target.filter is not None:
            match self.quirks["remove_members_filter"]:
                case "not_implemented":
                    raise ScimError(501, "Filters in paths are not implemented")
                case "error_500":
                    raise ScimError(500, "Internal error")
            ids = [part.value for part in _equalities(target.filter) if part.path.name == "value"]
            if not ids:
                raise ScimError(501, "Members can be chosen by value only")
            self.member_changes.append(MemberChange("remove", [{"value": id} for id in ids]))
        elif given is not None:
            if self.quirks["remove_members_list"] == "refused":
                raise ScimError(400, "remove takes no value", "invalidSyntax")
            self.member_changes.append(MemberChange("remove", given))
        else:
            match self.quirks["remove_all_members"]:
                case "refused":
                    raise ScimError(400, "members cannot be removed all at once", "invalidPath")
                case "honoured":
                    self.member_changes.append(MemberChange("remove", None))


def _as_members(value: Any) -> list[dict[str, Any]]:
    items = value if isinstance(value, list) else [value]
    found = [item for item in items if isinstance(item, dict) and isinstance(get(item, "value"), str)]
    if len(found) != len(items):
        raise ScimError(400, "A member is an object with a value", "invalidValue")
    return found


def _equalities(condition: Any) -> Iterator[Compare]:
    return (part for part in comparisons(condition) if part.operator == "eq")


def _one_primary(items: list[Any], newest: list[Any]) -> None:
    """Where one of the new elements is the primary one, no other element is.

    Source: RFC 7644 section 3.5.2, the primary attribute.
    """
    chosen = [item for item in newest if isinstance(item, dict) and item.get("primary") is True]
    if chosen:
        for item in items:
            if isinstance(item, dict) and item.get("primary") is True and item not in chosen:
                item["primary"] = False
