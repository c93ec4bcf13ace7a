"""The job file as a page of the documentation, made from its JSON Schema: every key, its type, default and meaning."""

import json
from collections.abc import Iterator
from typing import Any

from tasks.job.schema import build_schema

_Part = dict[str, Any]


def job_reference() -> str:
    """Markdown: one table for the whole file, then one for each section, in the order in which they are first named."""
    schema = build_schema()
    definitions: dict[str, _Part] = schema["$defs"]
    pages = [*_table("Sections", schema, definitions)]
    for side in ("source", "target"):
        for alternative in schema["properties"][side]["oneOf"]:
            connector = alternative["properties"]["connector"]["const"]
            pages += _table(f"{side}: {connector}", alternative, definitions)
    seen: set[str] = set()
    names = [name for section in schema["properties"].values() for name in _named(section)]
    names += [
        name
        for side in ("source", "target")
        for alternative in schema["properties"][side]["oneOf"]
        for name in _named(alternative)
    ]
    while names:
        name = names.pop(0)
        if name in seen:
            continue
        seen.add(name)
        part = definitions[name]
        if "properties" in part:
            pages += _table(_title(name), part, definitions)
            names += _named(part)
    return "\n".join(pages).strip() + "\n"


def _table(title: str, part: _Part, definitions: dict[str, _Part]) -> Iterator[str]:
    yield f"### {title}\n"
    if description := part.get("description"):
        yield f"{description}\n"
    yield "| key | value | without it | meaning |"
    yield "| --- | --- | --- | --- |"
    required = part.get("required", [])
    for key, value in part.get("properties", {}).items():
        meaning = " ".join(filter(None, [_meaning(value, definitions), *_examples(value)]))
        default = "**required**" if key in required else _default(value)
        yield f"| `{key}` | {_cell(_type(value, definitions))} | {_cell(default)} | {_cell(meaning)} |"
    yield ""


def _meaning(value: _Part, definitions: dict[str, _Part]) -> str:
    if description := value.get("description"):
        return str(description)
    for name in _named(value, deep=False):
        if description := definitions[name].get("description"):
            return str(description)
    return ""


def _examples(value: _Part) -> Iterator[str]:
    if examples := value.get("examples"):
        yield "For example " + ", ".join(f"`{_plain(one)}`" for one in examples) + "."


def _default(value: _Part) -> str:
    default = value.get("default")
    if default is None or default == "" or isinstance(default, dict):
        return ""
    return f"`{_plain(default)}`"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _type(value: _Part, definitions: dict[str, _Part]) -> str:
    match value:
        case {"$ref": str(reference)}:
            name = reference.rpartition("/")[2]
            part = definitions[name]
            if "enum" in part:
                return ", ".join(f"`{one}`" for one in part["enum"])
            return f"[{_title(name)}](#{_anchor(_title(name))})" if "properties" in part else _type(part, definitions)
        case {"anyOf": list(options)} | {"oneOf": list(options)} | {"allOf": list(options)}:
            return " or ".join(dict.fromkeys(_type(one, definitions) for one in options if one.get("type") != "null"))
        case {"const": constant}:
            return f"`{_plain(constant)}`"
        case {"enum": list(choices)}:
            return ", ".join(f"`{_plain(one)}`" for one in choices)
        case {"type": "array"}:
            return f"list of {_type(value.get('items', {}), definitions)}"
        case {"type": "object", "additionalProperties": dict(items)}:
            return f"names to {_type(items, definitions)}"
        case {"type": list(types)}:
            return " or ".join(_KINDS.get(str(one), str(one)) for one in types if one != "null")
        case {"type": str(kind)}:
            return _KINDS.get(kind, kind)
        case _:
            return "any"


_KINDS = {"string": "text", "integer": "number", "boolean": "`true` or `false`", "object": "a section"}


def _named(part: Any, *, deep: bool = True) -> Iterator[str]:
    """Definitions that a part refers to."""
    match part:
        case {"$ref": str(reference)}:
            yield reference.rpartition("/")[2]
        case dict():
            for key, item in part.items():
                if deep or key in ("anyOf", "allOf", "oneOf"):
                    yield from _named(item, deep=deep)
        case list():
            for item in part:
                yield from _named(item, deep=deep)


def _title(name: str) -> str:
    """``csv.source.PersonFile`` is Person file (csv source)."""
    *where, last = name.split(".")
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in last).strip()
    return words.capitalize() + (f" ({' '.join(where)})" if where else "")


def _anchor(title: str) -> str:
    return "".join(letter for letter in title.lower() if letter.isalnum() or letter in " -_").replace(" ", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
