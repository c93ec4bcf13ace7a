"""The function reference that readers see, generated from the function table."""

import json

from connectors.contract import Value
from tasks.expressions.signature import FUNCTIONS, Example
from tasks.expressions.values import Flow

_WORDS = {
    Flow.IGNORE_ATTRIBUTE: (
        "As a value: leave this attribute of the target alone.",
        'IIF([status] = "active", [mail], IgnoreAttributeFlow)',
    ),
    Flow.IGNORE_OBJECT: (
        "As a value: skip the whole entry in this cycle.",
        'IIF([status] = "draft", IgnoreObjectFlow, "False")',
    ),
}
"""Bare words, written without brackets, with what they give and an example."""


def function_reference() -> str:
    """A Markdown table of every function: how it is called, what it gives, an example."""
    lines = ["| Function | Gives | Example |", "| --- | --- | --- |"]
    for name in sorted(FUNCTIONS, key=str.lower):
        function = FUNCTIONS[name]
        example = _example(function.examples[0])
        lines.append(f"| `{function.call_form}` | {_cell(function.gives)} | {example} |")
    lines.extend(f"| `{word}` | {gives} | `{example}` |" for word, (gives, example) in _WORDS.items())
    return "\n".join(lines) + "\n"


def _example(example: Example) -> str:
    return f"`{_cell(example.expression)}` → `{_cell(_value(example.gives))}`"


def _value(value: Value | Flow) -> str:
    return str(value) if isinstance(value, Flow) else json.dumps(value, ensure_ascii=False)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
