"""Distinguished names and search filters as text: parsing, one normal form, escaping. Pure functions.

Source: RFC 4514 (distinguished names), RFC 4515 (filters).
"""

import re
from collections.abc import Iterable

Rdn = tuple[tuple[str, str], ...]
"""One level of a name: pairs of attribute and value, mostly one pair."""

_NEEDS_PARSING = re.compile(r'[\\"+;#<>]')
_BLANKS = re.compile(r" +")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9;-]*|\d+(?:\.\d+)*")
_HEX = re.compile(r"[0-9A-Fa-f]{2}")


def parse(dn: str) -> tuple[Rdn, ...]:
    """The levels of a name, the entry's own first; values without escapes. Raises: ValueError."""
    levels: list[Rdn] = []
    pairs: list[tuple[str, str]] = []
    position = 0
    while position < len(dn):
        equals = dn.find("=", position)
        if equals < 0:
            raise ValueError(f"{dn!r} is not a distinguished name: '=' is missing after position {position}")
        attribute = dn[position:equals].strip(" ")
        if not _ATTRIBUTE.fullmatch(attribute):
            raise ValueError(f"{dn!r} is not a distinguished name: an attribute is missing at position {position}")
        value, position, end = _value(dn, equals + 1)
        pairs.append((attribute, value))
        if end != "+":
            levels.append(tuple(pairs))
            pairs = []
        if end and position >= len(dn):
            raise ValueError(f"{dn!r} is not a distinguished name: it ends with {end!r}")
    return tuple(levels)


def _value(dn: str, position: int) -> tuple[str, int, str]:
    """A value from ``position`` on, where the next pair begins, and what ended the value."""
    parts: list[bytes] = []
    solid = 0
    """How many parts stay when trailing blanks are taken away."""
    while position < len(dn) and dn[position] == " ":
        position += 1
    if position < len(dn) and dn[position] == '"':
        closing = dn.find('"', position + 1)
        if closing < 0:
            raise ValueError(f"{dn!r} is not a distinguished name: a quotation mark is not closed")
        value = dn[position + 1 : closing]
        rest = closing + 1
        while rest < len(dn) and dn[rest] == " ":
            rest += 1
        return value, rest + 1, dn[rest : rest + 1]
    while position < len(dn):
        letter = dn[position]
        if letter in ",+;":
            return b"".join(parts[:solid]).decode("utf-8", errors="surrogateescape"), position + 1, letter
        if letter == "\\":
            pair = dn[position + 1 : position + 3]
            if _HEX.fullmatch(pair):
                parts.append(bytes.fromhex(pair))
                position += 3
            elif pair:
                parts.append(pair[0].encode("utf-8", errors="surrogateescape"))
                position += 2
            else:
                raise ValueError(f"{dn!r} is not a distinguished name: it ends with a backslash")
            solid = len(parts)
            continue
        parts.append(letter.encode("utf-8", errors="surrogateescape"))
        if letter != " ":
            solid = len(parts)
        position += 1
    return b"".join(parts[:solid]).decode("utf-8", errors="surrogateescape"), position, ""


def escape_value(value: str) -> str:
    """A value as it stands in a distinguished name."""
    escaped = re.sub(r'([\\,+"<>;=])', r"\\\1", value).replace("\0", "\\00").replace("\n", "\\0A").replace("\r", "\\0D")
    if escaped.startswith((" ", "#")):
        escaped = "\\" + escaped
    if escaped.endswith(" ") and not escaped.endswith("\\ "):
        escaped = escaped[:-1] + "\\ "
    return escaped


def rdn(attribute: str, value: str) -> str:
    """One level of a name: ``cn=O\\,Brien``."""
    return f"{attribute}={escape_value(value)}"


def join(*parts: str) -> str:
    """Levels side by side; empty parts are left out."""
    return ",".join(part for part in parts if part)


def split(dn: str) -> tuple[str, str]:
    """The entry's own level as it is written, and its parent's name; the parent is empty at the top."""
    position = 0
    quoted = False
    while position < len(dn):
        letter = dn[position]
        if letter == "\\":
            position += 2
            continue
        if letter == '"':
            quoted = not quoted
        elif letter in ",;" and not quoted:
            return dn[:position].lstrip(" "), dn[position + 1 :].lstrip(" ")
        position += 1
    return dn, ""


def parent_of(dn: str) -> str:
    """The name of the container that an entry lies in."""
    return split(dn)[1]


def normal(dn: str) -> str:
    """One spelling for all names that mean the same entry; no name by which a server can be asked.

    Case and blanks do not count, nor how a letter is escaped. Raises: ValueError.
    """
    if not _NEEDS_PARSING.search(dn):
        plain = _BLANKS.sub(" ", dn).replace(", ", ",").replace(" ,", ",").replace("= ", "=").replace(" =", "=")
        return plain.strip(" ").casefold()
    levels = []
    for pairs in parse(dn):
        texts = (f"{name.casefold()}={escape_value(_BLANKS.sub(' ', value).casefold())}" for name, value in pairs)
        levels.append("+".join(sorted(texts)))
    # An equal sign needs no escape, and the short way above leaves it as it is.
    return ",".join(levels).replace("\\=", "=")


def same(one: str, other: str) -> bool:
    """Whether two names mean the same entry."""
    return normal(one) == normal(other)


def lies_below(dn: str, base: str) -> bool:
    """Whether an entry is the base or lies below it; everything lies below the empty base."""
    inner, outer = normal(dn), normal(base)
    return not outer or inner == outer or inner.endswith("," + outer)


def escape_filter(value: str | bytes) -> str:
    """A value as it stands in a filter. Bytes are written in hexadecimal."""
    if isinstance(value, bytes):
        return "".join(f"\\{byte:02x}" for byte in value)
    return re.sub(r"[\\*()\0]", lambda match: f"\\{ord(match[0]):02x}", value)


def equals(attribute: str, value: str | bytes) -> str:
    """A filter: the attribute holds the value."""
    return f"({attribute}={escape_filter(value)})"


def any_of(filters: Iterable[str]) -> str:
    """A filter that lets through what at least one of them does."""
    every = list(dict.fromkeys(filters))
    return every[0] if len(every) == 1 else f"(|{''.join(every)})"


def all_of(filters: Iterable[str]) -> str:
    """A filter that lets through what every one of them does; empty ones are left out."""
    every = [one for one in dict.fromkeys(filters) if one]
    return every[0] if len(every) == 1 else f"(&{''.join(every)})"
