"""What a SCIM service's refusals mean; pure.

Source: RFC 7644 section 3.12 (error responses and scimType).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from connectors.errors import ConflictError, ErrorCode, InvalidValueError, ProvisorError
from connectors.http import Answer, Call, Problem, redact, refusal

_TYPES = frozenset(
    {
        "invalidFilter",
        "tooMany",
        "uniqueness",
        "mutability",
        "invalidSyntax",
        "invalidPath",
        "noTarget",
        "invalidValue",
        "invalidVers",
        "sensitive",
    }
)


def problem_of(answer: Answer, values: Iterable[Any] = ()) -> Problem:
    """What the body says about the refusal, without the values that were sent; empty when it is no SCIM error."""
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return Problem()
    if not isinstance(body, dict):
        return Problem()
    kind = body.get("scimType")
    detail = body.get("detail") or body.get("message")
    return Problem(
        type=kind if isinstance(kind, str) and kind in _TYPES else "",
        detail=redact(detail, values) if isinstance(detail, str) else "",
    )


def error_of(answer: Answer, call: Call, *, address: str, values: Iterable[Any] = ()) -> ProvisorError:
    """The error for an answer that is not 2xx, scimType considered."""
    problem = problem_of(answer, values)
    error = refusal(answer, call, problem, address=address)
    if not isinstance(error, InvalidValueError):
        return error
    match problem.type:
        case "uniqueness":
            return ConflictError(str(error))
        case "invalidPath" | "noTarget":
            return InvalidValueError(str(error), code=ErrorCode.SCHEMA_ATTRIBUTE_NOT_FOUND)
        case _:
            return error


def explain_conflict(answer: Answer, attributes: Mapping[str, Any], *, default: str) -> str:
    """Two sentences on a refused create: which attribute is likely taken, and what to do about it."""
    detail = problem_of(answer, attributes.values()).detail.lower()
    named = [path for path in attributes if path.rpartition(":")[2].split("[")[0].lower() in detail]
    taken = named[0] if named else default
    return (
        f"An entry with the same {taken} probably exists there already. If it is the same one, add a matching rule on "
        f"{taken} so that it is adopted; if not, change the value in the source or in its mapping."
    )


def sent_values(attributes: Mapping[str, Any]) -> list[Any]:
    """Every single value in a change, to be struck out of what the service says about it."""
    found: list[Any] = []
    for value in attributes.values():
        if isinstance(value, Mapping):
            found += sent_values(value)
        elif isinstance(value, list | tuple):
            found += sent_values(dict(enumerate(value)))  # type: ignore[arg-type]
        else:
            found.append(value)
    return found
