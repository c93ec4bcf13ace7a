"""The .NET regular expression dialect, run so that no pattern can hang a cycle.

A pattern is translated once. Whatever RE2 can express runs on RE2, in time linear to the text; lookaround,
back-references and the like run on the backtracking ``regex`` engine under a time limit for each text. The translation
spells out what the engines understand differently: ``\\d``, ``\\w`` and ``\\s`` mean .NET's Unicode classes, ``$`` also
matches before a final line feed, unnamed groups are numbered before named ones.

Source: .NET documentation, "Regular Expression Language - Quick Reference", "Grouping constructs", "Substitutions in
regular expressions".
"""

import time
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2
import regex

from tasks.expressions.errors import RegexTimeoutError
from tasks.expressions.regex_syntax import PatternError, Translation, translate
from tasks.expressions.substitutions import Match, Substitution, read_substitution

__all__ = ["TIME_LIMIT_S", "Pattern", "PatternError", "Substitution", "compile_pattern"]

TIME_LIMIT_S = 0.5
"""Seconds that the backtracking engine may spend on one text."""

MAX_PATTERN_LENGTH = 10_000

_TOO_SLOW = f"the pattern needs backtracking and took longer than {TIME_LIMIT_S} s on this text"


@lru_cache(maxsize=1024)
def compile_pattern(text: str) -> "Pattern":
    """The pattern of a .NET regular expression.

    Raises: PatternError when it is none.
    """
    if len(text) > MAX_PATTERN_LENGTH:
        raise PatternError(f"a pattern has at most {MAX_PATTERN_LENGTH:,} characters", 0)
    return Pattern(text, translate(text))


class Pattern:
    """A compiled .NET regular expression."""

    def __init__(self, text: str, translation: Translation) -> None:
        self.text = text
        self.translation = translation
        self._linear = None if translation.needs_backtracking else _compile_linear(translation.linear)
        if self._linear is None:
            _ = self._backtracking

    @property
    def linear(self) -> bool:
        """True when RE2 runs the pattern."""
        return self._linear is not None

    @cached_property
    def _backtracking(self) -> Any:
        try:
            return regex.compile(self.translation.backtracking, regex.VERSION1)
        except (regex.error, OverflowError, RecursionError) as error:
            raise PatternError(f"the pattern is not understood: {error}", 0) from error

    def has_group(self, name: str) -> bool:
        """True when the pattern has a group of this name or number."""
        return bool(self.translation.group(name))

    def search(self, text: str) -> bool:
        """True when the pattern matches anywhere in the text. Raises: RegexTimeoutError."""
        return next(self._matches(text), None) is not None

    def replace(self, text: str, substitution: Substitution) -> str:
        """The text with every match replaced. Raises: RegexTimeoutError."""
        return self._replace(text, None, substitution)

    def replace_group(self, text: str, group: str, substitution: Substitution) -> str:
        """The text with, inside every match, only the part that a group matched replaced. Raises: RegexTimeoutError."""
        return self._replace(text, group, substitution)

    def find_group(self, text: str, group: str) -> str | None:
        """What a group matched in the first match; None when there is none. Raises: RegexTimeoutError."""
        match = next(self._matches(text), None)
        if match is None:
            return None
        start, end = self._span(match, group)
        return None if start < 0 else text[start:end]

    def substitution(self, replacement: str) -> Substitution:
        """A replacement text, its ``${name}``, ``$1``, ``$$`` and the like resolved against this pattern's groups."""
        return read_substitution(replacement, self.translation)

    def _replace(self, text: str, group: str | None, substitution: Substitution) -> str:
        parts: list[str] = []
        done = 0
        for match in self._matches(text):
            start, end = (match.start(), match.end()) if group is None else self._span(match, group)
            if start < done:
                # The group took no part in this match, or lies in what a lookbehind has seen already.
                continue
            parts.append(text[done:start])
            parts.append(substitution.render(match, text))
            done = end
        return "".join((*parts, text[done:])) if parts else text

    def _span(self, match: Match, group: str) -> tuple[int, int]:
        """Where a group matched; of several groups of one name the last one. (-1, -1) when it took no part."""
        return max((match.span(index) for index in self.translation.group(group)), default=(-1, -1))

    def _matches(self, text: str) -> Iterator[Match]:
        if self._linear is None or self._needs_care(text):
            yield from self._slow_matches(text)
            return
        last = (-1, -1)
        for match in self._linear.finditer(text):
            # The module gives an empty match twice when it had to search for it.
            if (here := (match.start(), match.end())) != last:
                yield match
            last = here

    def _slow_matches(self, text: str) -> Iterator[Match]:
        """One search after another: behind an empty match .NET moves on by one character, the engine's own loop not."""
        deadline = time.monotonic() + TIME_LIMIT_S
        start = 0
        while start <= len(text):
            try:
                match = self._backtracking.search(text, start, timeout=max(deadline - time.monotonic(), 0.001))
            except TimeoutError as error:
                raise RegexTimeoutError(_TOO_SLOW) from error
            if match is None:
                return
            yield match
            start = match.end() + (match.end() == match.start())

    def _needs_care(self, text: str) -> bool:
        """True where RE2 would see this text differently: ``$`` before a final line feed, ``\\b`` beyond ASCII."""
        return (self.translation.ends_line and text.endswith("\n")) or (
            self.translation.has_boundary and not text.isascii()
        )

    # Columns

    def search_column(self, texts: pa.Array) -> pa.Array:
        """For every text whether the pattern matches in it, as booleans; null stays null. Raises: RegexTimeoutError."""
        if not self.linear:
            found = [None if text is None else self.search(text) for text in texts.to_pylist()]
            return pa.array(found, type=pa.bool_())
        result = pc.match_substring_regex(texts, self.translation.linear)
        care = self._careful_rows(texts)
        if not care.any():
            return result
        careful = [self.search(text) for text in texts.filter(pa.array(care)).to_pylist()]
        return pc.replace_with_mask(result, pa.array(care), pa.array(careful, type=pa.bool_()))

    def replace_column(self, texts: pa.Array, substitution: Substitution) -> pa.Array | None:
        """As `replace` for every text; None where only `replace` itself can do it."""
        rewrite = substitution.rewrite()
        if not self.linear or rewrite is None:
            return None
        if self._matches_empty and not substitution.empty_for_empty:
            # After a match .NET also replaces the empty match that follows at the same place; RE2 does not.
            return None
        result = pc.replace_substring_regex(texts, self.translation.linear, rewrite)
        care = self._careful_rows(texts)
        if not care.any():
            return result
        careful = [self.replace(text, substitution) for text in texts.filter(pa.array(care)).to_pylist()]
        return pc.replace_with_mask(result, pa.array(care), pa.array(careful, type=texts.type))

    def _careful_rows(self, texts: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
        care = np.zeros(len(texts), dtype=bool)
        if self.translation.ends_line:
            care |= _flags(pc.ends_with(texts, "\n"))
        if self.translation.has_boundary:
            care |= _flags(pc.invert(pc.string_is_ascii(texts)))
        return care

    @cached_property
    def _matches_empty(self) -> bool:
        stripped = _compile_linear(self.translation.without_assertions)
        return stripped is None or stripped.fullmatch("") is not None


def _flags(values: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    flags: np.ndarray[Any, np.dtype[np.bool_]] = pc.fill_null(values, False).to_numpy(zero_copy_only=False)
    return flags


def _compile_linear(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError):
        return None
