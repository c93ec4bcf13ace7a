"""Text of an expression -> tokens, each with its place.

Source: Microsoft Entra ID, "Reference for writing expressions for attribute
mappings in Microsoft Entra ID" (syntax overview).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tasks.expressions.errors import ExpressionError
from tasks.expressions.values import number_in

MAX_LENGTH = 10_000
"""Characters that one expression may have. Source: the same page (limits)."""

_NUMBER = re.compile(r"&[Hh](?P<hex>[0-9A-Fa-f]+)|[+-]?[0-9]+(?:\.[0-9]+)?")
_NAME = re.compile(r"[^\W\d]\w*")
_OPERATOR = re.compile(r"<=|>=|<>|[=<>]")
_PUNCTUATION = {"(": "OPEN", ")": "CLOSE", ",": "COMMA"}
_TYPOGRAPHIC_QUOTES = "“”„‟«»‘’"


class TokenKind(StrEnum):
    """What a token is."""

    ATTRIBUTE = "an attribute"
    TEXT = "a text"
    NUMBER = "a number"
    NAME = "a name"
    OPERATOR = "a comparison"
    OPEN = "'('"
    CLOSE = "')'"
    COMMA = "','"
    END = "the end"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: ``value`` is the attribute's name, the text without quotes and escapes, the number, or the source."""

    kind: TokenKind
    value: str | int | float
    start: int
    """Offset of the first character, 0-based."""
    end: int
    """Offset after the last character."""


def tokenize(text: str) -> list[Token]:
    """All tokens of an expression, the last one being END.

    Raises: ExpressionError.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"The expression has {len(text):,} characters; {MAX_LENGTH:,} are allowed", text, MAX_LENGTH
        )
    return [*_tokens(text), Token(TokenKind.END, "", len(text), len(text))]


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        character = text[at]
        if character.isspace():
            at += 1
            continue
        token = _token(text, at, character)
        yield token
        at = token.end


def _token(text: str, at: int, character: str) -> Token:
    if character == '"':
        return _text(text, at)
    if character == "[":
        return _attribute(text, at)
    if character in _PUNCTUATION:
        return Token(TokenKind[_PUNCTUATION[character]], character, at, at + 1)
    if operator := _OPERATOR.match(text, at):
        return Token(TokenKind.OPERATOR, operator.group(), at, operator.end())
    if number := _NUMBER.match(text, at):
        return _number(text, at, number)
    if name := _NAME.match(text, at):
        return Token(TokenKind.NAME, name.group(), at, name.end())
    raise ExpressionError(_surprise(character), text, at)


def _surprise(character: str) -> str:
    if character in _TYPOGRAPHIC_QUOTES:
        return f'{character} is a typographic quote; texts stand in straight double quotes: "text"'
    if character == "'":
        return 'Texts stand in double quotes: "text"'
    if character == "]":
        return "This ']' closes no attribute"
    if character == "&":
        return "After '&' comes H and a hexadecimal number, as in &HF7; texts are put together by Join or Append"
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    return f"The character {shown!r} means nothing here" if character.isprintable() else f"{shown} means nothing here"


def _text(text: str, start: int) -> Token:
    parts: list[str] = []
    at = start + 1
    while at < len(text):
        character = text[at]
        if character == '"':
            return Token(TokenKind.TEXT, "".join(parts), start, at + 1)
        if character == "\\" and text[at + 1 : at + 2] in ("\\", '"') and at + 1 < len(text):
            # Every other escape passes through as it stands: patterns are often published with single backslashes.
            parts.append(text[at + 1])
            at += 2
            continue
        if "\ud800" <= character <= "\udfff":
            raise ExpressionError("Half of a surrogate pair is not a character", text, at)
        parts.append(character)
        at += 1
    raise ExpressionError("This text has no closing double quote", text, start)


def _attribute(text: str, start: int) -> Token:
    """An attribute name: up to the matching bracket, so that a path may hold a filter (``emails[type eq "work"]``)."""
    depth = 0
    quoted = False
    for at in range(start, len(text)):
        character = text[at]
        if quoted:
            quoted = character != '"'
        elif character == '"' and depth > 1:
            quoted = True
        elif character == "[":
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0:
                name = text[start + 1 : at].strip()
                if not name:
                    raise ExpressionError("Between [ and ] stands the name of an attribute", text, start)
                return Token(TokenKind.ATTRIBUTE, name, start, at + 1)
    raise ExpressionError("This attribute has no closing ']'", text, start)


def _number(text: str, start: int, match: re.Match[str]) -> Token:
    digits = match.group()
    after = text[match.end() : match.end() + 1]
    if after.isalnum() or after in ("_", "."):
        raise ExpressionError("This number runs into something else", text, match.end())
    value = int(match.group("hex"), 16) if match.group("hex") else number_in(digits)
    assert value is not None
    if not -(2**63) <= value < 2**63:
        raise ExpressionError("This number is too large: 64 bits are the limit", text, start)
    return Token(TokenKind.NUMBER, value, start, match.end())
