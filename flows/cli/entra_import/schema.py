"""The exported synchronization schema as data: what the file says, nothing interpreted yet.

Source: Microsoft Graph, resource types synchronizationSchema, synchronizationRule, objectMapping, attributeMapping,
attributeMappingSource, filter, directoryDefinition and attributeDefinition.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from connectors.errors import ProvisorError

_USERS = frozenset({"user", "users", "person", "inetorgperson", "worker", "employee", "perperson"})
_GROUPS = frozenset({"group", "groups"})


class EntraSchemaError(ProvisorError):
    """The file is not an exported synchronization schema that a job can be made of."""


def _list(value: object) -> object:
    return [] if value is None else value


class _Part(BaseModel):
    """Base of all parts: keys that are not listed here mean nothing to a job."""

    model_config = ConfigDict(extra="ignore", frozen=True, alias_generator=to_camel, populate_by_name=True)


class Node(_Part):
    """Where a value comes from: an attribute, a constant, or a function of other nodes."""

    type: str = ""
    """Attribute, Constant or Function."""
    name: str | None = None
    """Name of the attribute or function, or the constant itself."""
    expression: str | None = None
    """The same as text, where the export holds it."""
    parameters: Annotated[tuple["Parameter", ...], BeforeValidator(_list)] = ()


class Parameter(_Part):
    """One argument of a function, by name."""

    key: str = ""
    value: Node | None = None


class AttributeMapping(_Part):
    """One attribute of the target."""

    target_attribute_name: str
    source: Node | None = None
    default_value: str | None = None
    flow_type: str | None = None
    """Always, ObjectAddOnly or MultiValueAddOnly."""
    flow_behavior: str | None = None
    """FlowWhenChanged or FlowAlways."""
    matching_priority: int | None = None
    """0: not a matching attribute; the lowest number is tried first."""
    export_missing_references: bool | None = None
    flow_null_values: bool | None = None


class Operand(_Part):
    """What a clause compares with."""

    values: Annotated[tuple[str, ...], BeforeValidator(_list)] = ()


class Clause(_Part):
    """One condition on an attribute of the source."""

    source_operand_name: str
    operator_name: str
    target_operand: Operand | None = None

    @property
    def values(self) -> tuple[str, ...]:
        """What is compared with."""
        return self.target_operand.values if self.target_operand else ()

    def __str__(self) -> str:
        return " ".join([self.source_operand_name, self.operator_name, ", ".join(self.values)]).strip()


class ClauseGroup(_Part):
    """Clauses that must all be true."""

    name: str | None = None
    clauses: Annotated[tuple[Clause, ...], BeforeValidator(_list)] = ()


class Filter(_Part):
    """Who is in scope: entries for which any group is true."""

    groups: Annotated[tuple[ClauseGroup, ...], BeforeValidator(_list)] = ()
    input_filter_groups: Annotated[tuple[ClauseGroup, ...], BeforeValidator(_list)] = ()
    category_filter_groups: Annotated[tuple[ClauseGroup, ...], BeforeValidator(_list)] = ()


class MetadataEntry(_Part):
    """One extra option; values are JSON inside text."""

    key: str
    value: str | None = None

    @property
    def plain(self) -> str:
        """The value without the quotes that surround a text."""
        return (self.value or "").strip('"')


class ObjectMapping(_Part):
    """How entries of one kind get from the source to the target."""

    name: str | None = None
    enabled: bool | None = True
    flow_types: Annotated[str | None, BeforeValidator(lambda value: _joined(value))] = None
    """Add, Update, Delete."""
    source_object_name: str | None = None
    target_object_name: str | None = None
    scope: Filter | None = None
    attribute_mappings: Annotated[tuple[AttributeMapping, ...], BeforeValidator(_list)] = ()
    metadata: Annotated[tuple[MetadataEntry, ...], BeforeValidator(_list)] = ()

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or f"{self.source_object_name} to {self.target_object_name}"

    @property
    def section(self) -> str | None:
        """The section of a job that it belongs to, ``users`` or ``groups``; None for other kinds of objects."""
        for name in (self.target_object_name, self.source_object_name):
            plain = (name or "").rpartition(":")[2].casefold()
            if plain in _USERS:
                return "users"
            if plain in _GROUPS:
                return "groups"
        return None

    @property
    def flows(self) -> frozenset[str]:
        """The flow types in lower case; all of them where none is given."""
        given = self.flow_types if self.flow_types is not None else "Add, Update, Delete"
        return frozenset(flow.strip().casefold() for flow in given.split(",") if flow.strip())


def _joined(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


class SynchronizationRule(_Part):
    """One direction between two directories."""

    name: str | None = None
    priority: int | None = None
    """The lowest runs first."""
    source_directory_name: str | None = None
    target_directory_name: str | None = None
    object_mappings: Annotated[tuple[ObjectMapping, ...], BeforeValidator(_list)] = ()
    group_filter: dict[str, Any] | None = None
    container_filter: dict[str, Any] | None = None


class AttributeDefinition(_Part):
    """What a directory says about one attribute."""

    name: str
    type: str | None = None
    """String, Integer, Boolean, DateTime, Binary or Reference."""
    anchor: bool | None = None
    case_exact: bool | None = None
    flow_null_values: bool | None = None


class ObjectDefinition(_Part):
    """What a directory says about one kind of object."""

    name: str
    attributes: Annotated[tuple[AttributeDefinition, ...], BeforeValidator(_list)] = ()


class Directory(_Part):
    """One of the two systems."""

    name: str | None = None
    objects: Annotated[tuple[ObjectDefinition, ...], BeforeValidator(_list)] = ()


class Schema(_Part):
    """A whole synchronization schema."""

    directories: Annotated[tuple[Directory, ...], BeforeValidator(_list)] = ()
    synchronization_rules: Annotated[tuple[SynchronizationRule, ...], Field(min_length=1)]

    def definitions(self, directory: str | None, kind: str | None) -> dict[str, AttributeDefinition]:
        """The attributes of one kind of object by name; empty where the schema does not define it."""
        for found in self.directories:
            if found.name == directory:
                for definition in found.objects:
                    if definition.name == kind:
                        return {attribute.name: attribute for attribute in definition.attributes}
        return {}


def read_schema(path: Path) -> Schema:
    """The schema in a file, however it was exported: Graph, the portal's schema editor, PowerShell.

    Raises: EntraSchemaError.
    """
    try:
        document = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise EntraSchemaError(f"{path}:{error.lineno}:{error.colno}: this is not JSON: {error.msg}.") from error
    except RecursionError as error:
        raise EntraSchemaError(f"{path} is nested too deeply.") from error
    document = _graph_keys(document)
    if isinstance(document, dict) and isinstance(document.get("schema"), dict):
        document = document["schema"]
    if not isinstance(document, dict) or "synchronizationRules" not in document:
        raise EntraSchemaError(
            f"{path} is no synchronization schema: it has no synchronizationRules. Download it in the Entra admin "
            "center (Provisioning, Edit attribute mappings, Advanced options, Review your schema here), or with Graph: "
            "GET /servicePrincipals/{id}/synchronization/jobs/{jobId}/schema"
        )
    try:
        return Schema.model_validate(document)
    except ValidationError as error:
        problems = [f"{path}: {_place(detail['loc'])}: {detail['msg']}" for detail in error.errors(include_url=False)]
        raise EntraSchemaError("\n".join(problems[:20])) from error


def _text(path: Path) -> str:
    """The file's text; PowerShell writes UTF-16 with a byte order mark."""
    try:
        content = path.read_bytes()
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise EntraSchemaError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise EntraSchemaError(f"{path} is not UTF-8 text (byte {error.start + 1}).") from error


def _graph_keys(value: Any) -> Any:
    """Keys with a small first letter, as Graph spells them; PowerShell's objects have capitals."""
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _graph_keys(item) for key, item in value.items()}
    return [_graph_keys(item) for item in value] if isinstance(value, list) else value


def _place(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
