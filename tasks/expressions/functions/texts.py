"""Functions that make texts of texts.

Positions and lengths count characters (code points); .NET counts UTF-16 units, so that it can cut an emoji in two.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import Value
from tasks.expressions.casing import Case, change_case, change_case_column
from tasks.expressions.context import Context
from tasks.expressions.diacritics import normalize_diacritics, normalize_diacritics_of_all
from tasks.expressions.errors import EvaluationError
from tasks.expressions.operands import (
    TEXT_TYPE,
    Operand,
    Scalar,
    Vector,
    as_text,
    flags,
    text_vector,
)
from tasks.expressions.signature import Example, Null, Parameter, Type, function, text_source
from tasks.expressions.values import integer_of, text_of

SOURCE = "Microsoft Entra ID, reference for writing expressions for attribute mappings"

_TEXT_NULL = pa.scalar(None, TEXT_TYPE)
_EMPTY = pa.scalar("", TEXT_TYPE)


def _argument(operand: Operand) -> Any:
    """An operand as Arrow's kernels take it."""
    return operand.data if isinstance(operand, Vector) else pa.scalar(operand.value, TEXT_TYPE)


# Putting together


def _append_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    texts = [as_text(operand) for operand in operands]
    arguments = [_argument(text) for text in texts if text is not None]
    if len(arguments) < len(texts):
        return None
    return text_vector(pc.binary_join_element_wise(*arguments, _EMPTY, null_handling="emit_null"))


def _prepend_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    return _append_column(operands, context)


@function(
    "Append",
    text_source(),
    Parameter("suffix", each=True),
    gives="The source with the suffix behind it; null if either is null.",
    example=Example(
        'Append([userPrincipalName], ".test")', "ann@example.com.test", {"userPrincipalName": "ann@example.com"}
    ),
    source=SOURCE,
    compute_column=_append_column,
)
def append(source: str, suffix: str) -> str:
    return source + suffix


@function(
    "Prepend",
    Parameter("prefix"),
    text_source(),
    gives="The source with the prefix before it; null if either is null.",
    example=Example('Prepend("smtp:", [mail])', "smtp:ann@example.com", {"mail": "ann@example.com"}),
    source="Microsoft Graph, synchronization schema: function list",
    compute_column=_prepend_column,
)
def prepend(prefix: str, source: str) -> str:
    return prefix + source


def _join_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    separator, *sources = (as_text(operand) for operand in operands)
    if not isinstance(separator, Scalar) or any(source is None for source in sources):
        return None
    arguments = []
    for source in sources:
        if isinstance(source, Vector):
            has_empty = pc.any(pc.equal(source.data, ""), min_count=0).as_py()
            arguments.append(_without_empty(source.data) if has_empty else source.data)
        elif isinstance(source, Scalar) and source.value:
            arguments.append(pa.scalar(source.value, TEXT_TYPE))
    joined = pc.binary_join_element_wise(
        *_never_all_null(arguments), pa.scalar(separator.value or "", TEXT_TYPE), null_handling="skip"
    )
    return text_vector(joined)


def _never_all_null(arguments: Sequence[Any]) -> list[Any]:
    """The arguments, one of them empty where all are null: Arrow's kernel gives no row at all for such rows."""
    if any(isinstance(argument, pa.Scalar) for argument in arguments):
        return list(arguments)
    nothing = functools.reduce(pc.and_, (argument.is_null() for argument in arguments))
    if not pc.any(nothing, min_count=0).as_py():
        return list(arguments)
    return [pc.if_else(nothing, _EMPTY, arguments[0]), *arguments[1:]]


def _without_empty(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), _TEXT_NULL, texts)


@function(
    "Join",
    Parameter("separator", null=Null.IS_A_VALUE),
    Parameter("source", Type.ANY, variadic=True, null=Null.IS_A_VALUE),
    gives="The sources with the separator between them; null and empty sources are left out, lists are spread.",
    example=(
        Example('Join(", ", [surname], [givenName])', "Doe, John", {"surname": "Doe", "givenName": "John"}),
        Example('Join(".", [givenName], [middleName], [surname])', "John.Doe", {"surname": "Doe", "givenName": "John"}),
    ),
    source=SOURCE,
    compute_column=_join_column,
)
def join(separator: str | None, *sources: Value) -> str:
    texts: list[str] = []
    for source in sources:
        texts.extend(text_of(value) for value in (source if isinstance(source, list) else [source]))
    return (separator or "").join(text for text in texts if text)


# Cutting


def _whole_number(operand: Operand) -> int | None:
    """A constant number argument; None where it differs from row to row or is none (then rows are looked at)."""
    if isinstance(operand, Vector) or operand.value is None:
        return None
    try:
        return integer_of(operand.value)
    except EvaluationError:
        return None


def _left_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    text, count = as_text(operands[0]), _whole_number(operands[1])
    if not isinstance(text, Vector) or count is None:
        return None
    texts = text.data.fill_null("")
    return text_vector(texts if count < 0 else pc.utf8_slice_codeunits(texts, 0, count))


@function(
    "Left",
    Parameter("string", null=Null.IS_A_VALUE, each=True),
    Parameter("numChars", Type.NUMBER),
    gives="The first characters; all of them for a negative number, the empty text for null.",
    example=(Example('Left("John Doe", 3)', "Joh"), Example('Left("John Doe", -1)', "John Doe")),
    source=SOURCE,
    compute_column=_left_column,
)
def left(text: str | None, count: int) -> str:
    return text or "" if count < 0 else (text or "")[:count]


def _mid_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    text = as_text(operands[0])
    start, length = _whole_number(operands[1]), _whole_number(operands[2])
    if not isinstance(text, Vector) or start is None or length is None or start < 1 or length < 0:
        return None
    return text_vector(pc.utf8_slice_codeunits(text.data, start - 1, start - 1 + length))


@function(
    "Mid",
    text_source(),
    Parameter("start", Type.NUMBER, at_least=1),
    Parameter("length", Type.NUMBER, at_least=0),
    gives="Characters from a place on, counted from 1; fewer where the text ends earlier.",
    example=Example("Mid([surname], 1, 3)", "Smi", {"surname": "Smith"}),
    source=SOURCE,
    compute_column=_mid_column,
)
def mid(text: str, start: int, length: int) -> str:
    return text[start - 1 : start - 1 + length]


@function(
    "Word",
    text_source("string"),
    Parameter("number", Type.NUMBER),
    Parameter("delimiters"),
    gives="A word of a text, counted from 1; any of the delimiter characters ends one. Empty if there is none.",
    example=(Example('Word("The quick brown fox", 3, " ")', "brown"), Example('Word("a,b!c", 3, ",!")', "c")),
    source=SOURCE,
)
def word(text: str, number: int, delimiters: str) -> str:
    words = re.split(f"[{re.escape(delimiters)}]", text) if delimiters else [text]
    words = [one for one in words if one]
    return words[number - 1] if 1 <= number <= len(words) else ""


@function(
    "InStr",
    Parameter("value1", null=Null.IS_A_VALUE),
    Parameter("value2", null=Null.IS_A_VALUE),
    Parameter("start", Type.NUMBER, required=False, at_least=1),
    Parameter("compareType", Type.COMPARISON, required=False),
    gives="The place of the second text in the first, counted from 1; 0 where it is not in it.",
    example=(
        Example('InStr("The quick brown fox", "quick")', 5),
        Example('InStr("repEated", "e", 3, vbBinaryCompare)', 7),
    ),
    source=SOURCE,
)
def in_str(text: str | None, wanted: str | None, start: int | None, compare: str | None) -> int:
    if not text or wanted is None or (start or 1) > len(text):
        return 0
    if compare == "vbTextCompare":
        text, wanted = (change_case(change_case(one, "upper"), "lower") for one in (text, wanted))
    return text.find(wanted, (start or 1) - 1) + 1


# Rewriting


def _strip_spaces_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    text = as_text(operands[0])
    return text_vector(pc.replace_substring(text.data, " ", "")) if isinstance(text, Vector) else None


@function(
    "StripSpaces",
    text_source(),
    gives="The source without its blanks (U+0020).",
    example=Example("StripSpaces([name])", "JohnDoe", {"name": " John Doe "}),
    source=SOURCE,
    compute_column=_strip_spaces_column,
)
def strip_spaces(text: str) -> str:
    return text.replace(" ", "")


def _case_column(operands: Sequence[Operand], case: Case) -> Operand | None:
    text = as_text(operands[0])
    if not isinstance(text, Vector) or len(operands) > 1:
        return None
    return text_vector(change_case_column(text.data, case))


_CULTURE = re.compile(r"(?:[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*)?")


def _language(culture: str | None) -> str:
    """The language of a culture name, "" for the invariant culture. Raises: EvaluationError."""
    if not _CULTURE.fullmatch(culture or ""):
        raise EvaluationError("a culture is named like tr-TR")
    return (culture or "").partition("-")[0].lower()


_CULTURE_PARAMETER = Parameter("culture", required=False, check=_language)


@function(
    "ToLower",
    text_source(),
    _CULTURE_PARAMETER,
    gives="The source in lower case, in the invariant culture or the one named.",
    example=Example("ToLower([mail])", "ann@example.com", {"mail": "Ann@Example.com"}),
    source=SOURCE,
    compute_column=lambda operands, context: _case_column(operands, "lower"),
)
def to_lower(text: str, culture: str | None) -> str:
    return change_case(text, "lower", _language(culture))


@function(
    "ToUpper",
    text_source(),
    _CULTURE_PARAMETER,
    gives="The source in upper case, in the invariant culture or the one named.",
    example=Example("ToUpper([country])", "DE", {"country": "de"}),
    source=SOURCE,
    compute_column=lambda operands, context: _case_column(operands, "upper"),
)
def to_upper(text: str, culture: str | None) -> str:
    return change_case(text, "upper", _language(culture))


_SEPARATOR_CATEGORIES = frozenset("Zs Zl Zp Cc Cf Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So".split())


@function(
    "PCase",
    text_source(),
    Parameter("wordSeparators", required=False, null=Null.IS_A_VALUE),
    gives="Every word with its first character in upper case and the others in lower case.",
    example=(
        Example("PCase([name])", "Pablo Gonsalves (Second)", {"name": "PABLO GONSALVES (SECOND)"}),
        Example('PCase([name], " \'-")', "Pinto-De'Silva", {"name": "PINTO-DE'SILVA"}),
    ),
    source=f"{SOURCE}; .NET TextInfo.ToTitleCase",
)
def p_case(text: str, separators: str | None) -> str:
    result: list[str] = []
    begins = True
    for character in change_case(text, "lower"):
        if character in separators if separators else unicodedata.category(character) in _SEPARATOR_CATEGORIES:
            begins = True
            result.append(character)
            continue
        result.append(_title(character) if begins else character)
        begins = False
    return "".join(result)


def _title(character: str) -> str:
    title = character.title()
    return title if len(title) == 1 and character != "ı" else change_case(character, "upper")


def _normalize_column(operands: Sequence[Operand], context: Context) -> Operand | None:
    text = as_text(operands[0])
    if not isinstance(text, Vector):
        return None
    plain = pc.string_is_ascii(text.data)
    if pc.all(plain, min_count=0).as_py():
        return text
    accented = flags(pc.invert(plain))
    bases = normalize_diacritics_of_all(text.data.filter(pa.array(accented)).to_pylist())
    return text_vector(pc.replace_with_mask(text.data, pa.array(accented), pa.array(bases, type=TEXT_TYPE)))


@function(
    "NormalizeDiacritics",
    text_source(),
    gives="The source with Latin letters reduced to plain ones; other scripts are left alone.",
    example=Example("NormalizeDiacritics([name])", "Zoe Lukasz", {"name": "Zoë Łukasz"}),
    source=SOURCE,
    compute_column=_normalize_column,
)
def normalize(text: str) -> str:
    return normalize_diacritics(text)
