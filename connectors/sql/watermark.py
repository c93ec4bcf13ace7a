"""How far an incremental read has come: the greatest value of each watermark column, as text that can be passed back.

A value keeps its type, because databases compare 9 and 10 differently as numbers and as text.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from connectors.errors import SettingsError


def encode(values: Mapping[str, Any]) -> str | None:
    """The values by section (``users``, ``groups``) as one text; None where there are none."""
    if not values:
        return None
    return json.dumps({name: _tagged(value) for name, value in sorted(values.items())})


def decode(text: str | None) -> dict[str, Any]:
    """What :func:`encode` was given. Raises: SettingsError when the text is something else."""
    if text is None:
        return {}
    try:
        return {name: _untagged(*tagged) for name, tagged in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, ArithmeticError):
        raise SettingsError(
            "The watermark was not made by the sql connector. Restart the job with the scope watermark."
        ) from None


def greatest(values: Iterable[Any], *, column: str) -> Any:
    """The greatest value that is not None; None where there is none.

    Raises: SettingsError when they cannot be compared.
    """
    known = [value for value in values if value is not None]
    try:
        return max(known, default=None)
    except TypeError:
        types = ", ".join(sorted({type(value).__name__ for value in known}))
        raise SettingsError(
            f"The watermark column {column!r} holds values that cannot be compared with each other: {types}."
        ) from None


def _tagged(value: Any) -> tuple[str, str]:
    match value:
        case bool():
            pass
        case str():
            return "text", value
        case int():
            return "integer", str(value)
        case float():
            return "float", repr(value)
        case Decimal():
            return "decimal", str(value)
        case datetime():
            return "datetime", value.isoformat()
        case date():
            return "date", value.isoformat()
        case bytes() | bytearray() | memoryview():
            return "bytes", base64.b64encode(value).decode("ascii")
    raise SettingsError(f"A watermark must be a moment, a number or text, not {type(value).__name__}.")


def _untagged(kind: str, text: str) -> Any:
    match kind:
        case "text":
            return text
        case "integer":
            return int(text)
        case "float":
            return float(text)
        case "decimal":
            return Decimal(text)
        case "datetime":
            return datetime.fromisoformat(text)
        case "date":
            return date.fromisoformat(text)
        case "bytes":
            return base64.b64decode(text)
    raise ValueError(kind)
