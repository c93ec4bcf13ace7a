"""Replacement texts of .NET regular expressions: ``$1``, ``${name}``, ``$$``, ``$&`` and the like.

Source: .NET documentation, "Substitutions in regular expressions".
"""

from dataclasses import dataclass
from typing import Protocol

from tasks.expressions.regex_syntax import Translation, is_digits


class Match(Protocol):
    """One match, by either engine."""

    def start(self) -> int:
        """Where it begins."""
        ...

    def end(self) -> int:
        """Where it ends."""
        ...

    def span(self, group: int, /) -> tuple[int, int]:
        """Where a group matched, (-1, -1) when it took no part."""
        ...


@dataclass(frozen=True, slots=True)
class Substitution:
    """A replacement: literal texts, groups (the engine's numbers), and the four parts of the text around a match."""

    parts: tuple[str | tuple[int, ...], ...]
    """A str is literal; a tuple of numbers is a group; (-1,), (-2,), (-3,) are what is before, after, everything."""

    @property
    def empty_for_empty(self) -> bool:
        """True when an empty match is always replaced by nothing."""
        return all(isinstance(part, tuple) and part[0] >= 0 for part in self.parts)

    def render(self, match: Match, text: str) -> str:
        """What one match is replaced by."""
        pieces: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                pieces.append(part)
            elif part[0] >= 0:
                start, end = max(match.span(index) for index in part)
                pieces.append(text[start:end] if start >= 0 else "")
            else:
                pieces.append({-1: text[: match.start()], -2: text[match.end() :], -3: text}[part[0]])
        return "".join(pieces)

    def rewrite(self) -> str | None:
        """The same for RE2 (``\\1``); None where RE2 cannot say it."""
        pieces: list[str] = []
        for part in self.parts:
            if isinstance(part, str):
                pieces.append(part.replace("\\", "\\\\"))
            elif len(part) == 1 and 0 <= part[0] <= 9:
                pieces.append(f"\\{part[0]}")
            else:
                return None
        return "".join(pieces)


_AROUND = {"`": (-1,), "'": (-2,), "_": (-3,)}


def read_substitution(replacement: str, translation: Translation) -> Substitution:
    """The parts of a replacement text; a ``$`` that refers to nothing stands for itself."""
    parts: list[str | tuple[int, ...]] = []
    literal = ""
    at = 0
    while at < len(replacement):
        found = _reference_at(replacement, at, translation) if replacement[at] == "$" else None
        if found is None:
            literal += replacement[at]
            at += 1
            continue
        part, at = found
        if isinstance(part, str):
            literal += part
            continue
        if literal:
            parts.append(literal)
            literal = ""
        parts.append(part)
    if literal:
        parts.append(literal)
    return Substitution(tuple(parts))


def _reference_at(replacement: str, at: int, translation: Translation) -> tuple[str | tuple[int, ...], int] | None:
    follower = replacement[at + 1 : at + 2]
    if follower == "$":
        return "$", at + 2
    if follower == "&":
        return (0,), at + 2
    if follower in _AROUND and follower:
        return _AROUND[follower], at + 2
    if follower == "+":
        last = max((int(name) for name in translation.groups if is_digits(name)), default=0)
        return translation.group(str(last)), at + 2
    end = at + 1
    if follower == "{":
        end = replacement.find("}", at)
        name, end = replacement[at + 2 : end], end + 1
        if end == 0:
            return None
    else:
        while is_digits(replacement[end : end + 1]):
            end += 1
        name = replacement[at + 1 : end]
    if is_digits(name):
        name = name.lstrip("0") or "0"
    group = translation.group(name)
    return (group, end) if group else None
