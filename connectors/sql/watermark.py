"""How far an incremental read has come: the greatest value of each watermark column, as text that can be passed back.

A value keeps its type, because databases compare 9 and 10 differently as numbers and as text.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
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


def reaching_back(mark: Any, *, moments: timedelta, numbers: int) -> Any:
    """From where to read: the mark less an overlap, for a row may be committed after others that were written later.

    ``moments``: for dates and times, also where the database keeps them as ISO text. ``numbers``: for numbers and row
    versions (bytes). Any other text is given back as it is: nobody knows what lies before it.
    """
    match mark:
        case str():
            return _earlier_text(mark, moments)
        case datetime():
            return mark - moments
        case date():
            return mark - timedelta(days=-(-moments // timedelta(days=1)))
        case bytes():
            return max(0, int.from_bytes(mark, "big") - numbers).to_bytes(len(mark), "big")
        case int() | float() | Decimal():
            return mark - numbers
    return mark


def _earlier_text(mark: str, moments: timedelta) -> str:
    """ISO text of an earlier moment in the form of the mark, so that both sort alike; other text as it is."""
    try:
        earlier = datetime.fromisoformat(mark) - moments
    except (ValueError, OverflowError):
        return mark
    if len(mark) <= len("2026-01-31"):
        return (datetime.fromisoformat(mark) - timedelta(days=-(-moments // timedelta(days=1)))).date().isoformat()
    # Without fractions of a second and without a zone: a shorter text sorts first, so that nothing is left out.
    return earlier.replace(microsecond=0, tzinfo=None).isoformat(sep=mark[10])


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
            f"The watermark column {column!r} contains values that cannot be compared with each other: {types}."
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
