"""What a SCIM service's refusals mean; pure.

Source: RFC 7644 section 3.12 (error responses and scimType).
"""

import re
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
    """What the body says about the refusal, without the values that were sent, whatever shape it has."""
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return Problem(detail=_words_of(answer.body, values))
    if isinstance(body, list):  # some services send a list of errors
        body = {"errors": body}
    if not isinstance(body, dict):
        return Problem()
    kind = body.get("scimType")
    return Problem(
        type=kind if isinstance(kind, str) and kind in _TYPES else "",
        detail=redact(_detail_in(body), values),
    )


_DETAILS = ("detail", "message", "error_description", "description", "title", "error", "errors", "Errors")
"""Where services put their words: SCIM's own place first, then those of RFC 9457, OAuth, Slack and many frameworks."""
_DEPTH = 3


def _detail_in(body: Any, depth: int = _DEPTH) -> str:
    """The service's own words in a JSON value; empty where there are none."""
    if isinstance(body, str):
        return body
    if depth and isinstance(body, list):
        return next((words for item in body if (words := _detail_in(item, depth - 1))), "")
    if depth and isinstance(body, dict):
        return next((words for key in _DETAILS if (words := _detail_in(body.get(key), depth - 1))), "")
    return ""


def _words_of(body: bytes, values: Iterable[Any]) -> str:
    """What a body that is no JSON says: a plain text in its own words, of anything else what it is."""
    start = body[:512].lstrip().lower()
    if not start:
        return ""
    if start.startswith(b"<"):
        return "an HTML page" if b"<html" in start else "XML"
    return redact(body[:2048].decode("utf-8", "replace"), values)


_ERROR_SCHEMA = "urn:ietf:params:scim:api:messages:2.0:Error"
_LONGEST_ERROR = 8192
_SIGNS = (b"rror", b'"ok"', b'"success"')


def status_in(body: bytes) -> int | None:
    """The status of an error that came with 2xx: a SCIM error, or an object that says that it failed.

    None for an entry, a list and everything else that is no error.
    """
    if len(body) > _LONGEST_ERROR or not any(sign in body for sign in _SIGNS):
        return None
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(found, dict) or "id" in found or "Resources" in found or "Operations" in found:
        return None
    schemas = found.get("schemas")
    failed = found.get("ok") is False or found.get("success") is False or found.get("error") or found.get("errors")
    if not failed and not (isinstance(schemas, list) and _ERROR_SCHEMA in schemas):
        return None
    stated = str(found.get("status", ""))
    return int(stated) if stated.isdecimal() and 400 <= int(stated) < 600 else 400


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


def taken_in(answer: Answer, attributes: Mapping[str, Any], *, default: str) -> str:
    """The attribute whose value a refused create likely shares with another entry."""
    detail = problem_of(answer, attributes.values()).detail.lower()
    named = [path for path in attributes if path.rpartition(":")[2].split("[")[0].lower() in detail]
    return named[0] if named else default


def named_in(sentence: str, attributes: Iterable[str]) -> set[str]:
    """Those attributes, by path, whose name is a word of the sentence: the longest names it can be read as."""
    lowered = sentence.lower()

    def is_named(name: str) -> bool:
        return re.search(rf"(?<![\w.]){re.escape(name.lower())}(?![\w])", lowered) is not None

    found: dict[str, str] = {}
    for path in attributes:
        name = path.rpartition(":")[2]
        plain = re.sub(r"\[[^]]*]", "", name)
        known = next((one for one in (name, plain, plain.split(".")[0]) if is_named(one)), None)
        if known is not None:
            found[path] = known
    return set(found)


def explain_conflict(taken: str) -> str:
    """What to do about a create that was refused because of this attribute."""
    return (
        f"An entry with the same {taken} probably exists already. If it is the same one, add a matching rule on "
        f"{taken} to adopt it; if not, change the value in the source or in its mapping."
    )


def explain_hidden_conflict(taken: str, *, noun: str) -> str:
    """The same where the service, when asked, shows nobody who has the value."""
    return (
        f"It shows no {noun} with this {taken}, so it probably keeps one that was deleted, and the {taken} with it. "
        f"Restore that {noun} there, or have it removed for good. Where leavers may return, set deprovision to disable "
        "instead of delete."
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
