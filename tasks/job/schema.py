"""The JSON Schema of the job file, for editors: what ``provisor schema`` prints."""

import json
from pathlib import Path
from typing import Any

from connectors.errors import SettingsError
from connectors.registry import find, names
from tasks.job.including import INCLUDE
from tasks.job.models import Job
from tasks.job.systems import AttributeSource, PeopleSource, Side, SystemSection

_INCLUDE = {
    "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    "title": "Include",
    "description": "Files whose keys count as if they stood here, from this file's folder on. What this file says "
    "wins: mappings are joined key by key, lists and single values are replaced.",
}
_SIDES: tuple[Side, ...] = ("source", "target")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def build_schema() -> dict[str, Any]:
    """The schema of a whole job file. A connector that cannot be loaded here is left out."""
    schema = Job.model_json_schema()
    definitions = schema["$defs"]
    for name in (SystemSection.__name__, "Settings"):
        definitions.pop(name, None)
    for side in _SIDES:
        section = schema["properties"][side]
        for key in ("$ref", "anyOf", "default"):
            section.pop(key, None)
        section["type"] = "object"
        section["required"] = ["connector"]
        section["oneOf"] = _alternatives(side, definitions)
    for model in (PeopleSource, AttributeSource):
        _allow_connectors(definitions[model.__name__], definitions)
    schema["required"] = [key for key in schema["required"] if key != "source"]
    schema["anyOf"] = [{"required": ["source"]}, {"required": ["sources"]}, {"required": [INCLUDE]}]
    schema["properties"] = {INCLUDE: _INCLUDE, **schema["properties"]}
    return {"$schema": DIALECT, **_readable(schema), "title": "Provisor job"}


def _allow_connectors(section: dict[str, Any], definitions: dict[str, Any]) -> None:
    """A source among several: keys of its own, beside those of the connector that it names."""
    del section["properties"]["settings"]
    own = section["properties"]
    section["required"] = [key for key in section["required"] if key != "settings"]
    del section["additionalProperties"]
    section["oneOf"] = [
        {**one, "properties": {**own, **one["properties"]}} for one in _alternatives("source", definitions)
    ]


def _readable(part: Any) -> Any:
    """The schema with descriptions as editors show them: Markdown on one line instead of docstrings' own markup."""
    match part:
        case {"description": str() as description}:
            rest = {key: _readable(item) for key, item in part.items() if key != "description"}
            return {**rest, "description": " ".join(description.replace("``", "`").split())}
        case dict():
            return {key: _readable(item) for key, item in part.items()}
        case list():
            return [_readable(item) for item in part]
        case _:
            return part


def write_schema(path: Path) -> None:
    """Writes the schema where ``# yaml-language-server: $schema=...`` at the top of a job file can point to."""
    path.write_text(json.dumps(build_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _alternatives(side: Side, definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """One schema per connector that can be on this side; what they refer to is added to ``definitions``."""
    alternatives = []
    for name in names():
        try:
            connector = find(name)
        except SettingsError:
            continue
        settings = connector.source_settings if side == "source" else connector.target_settings
        if settings is None:
            continue
        prefix = f"{name}.{side}"
        schema = settings.model_json_schema(ref_template=f"#/$defs/{prefix}.{{model}}")
        definitions |= {f"{prefix}.{model}": inner for model, inner in schema.pop("$defs", {}).items()}
        schema["title"] = connector.title
        schema["properties"] = {"connector": {"const": name}, **schema.get("properties", {})}
        schema["required"] = ["connector", *schema.get("required", [])]
        alternatives.append(schema)
    return alternatives
