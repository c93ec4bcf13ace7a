""".NET custom date and time format strings: reading a text that has exactly a format, and writing in one.

Everything is the invariant culture's: English names, ``/`` and ``:`` as separators, AM and PM; the local zone is UTC.

Source: .NET documentation, "Custom date and time format strings", "Standard date and time format strings",
DateTime.ParseExact, DateTimeStyles.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, StrEnum, auto
from functools import lru_cache
from typing import Any

from tasks.expressions.errors import EvaluationError
from tasks.expressions.moments import MONTHS, TICKS_A_SECOND, WEEKDAYS, Moment

STANDARD = {
    "d": "MM/dd/yyyy",
    "D": "dddd, dd MMMM yyyy",
    "f": "dddd, dd MMMM yyyy HH:mm",
    "F": "dddd, dd MMMM yyyy HH:mm:ss",
    "g": "MM/dd/yyyy HH:mm",
    "G": "MM/dd/yyyy HH:mm:ss",
    "m": "MMMM dd",
    "M": "MMMM dd",
    "o": "yyyy'-'MM'-'dd'T'HH':'mm':'ss'.'fffffffK",
    "O": "yyyy'-'MM'-'dd'T'HH':'mm':'ss'.'fffffffK",
    "r": "ddd, dd MMM yyyy HH':'mm':'ss 'GMT'",
    "R": "ddd, dd MMM yyyy HH':'mm':'ss 'GMT'",
    "s": "yyyy'-'MM'-'dd'T'HH':'mm':'ss",
    "t": "HH:mm",
    "T": "HH:mm:ss",
    "u": "yyyy'-'MM'-'dd HH':'mm':'ss'Z'",
    "U": "dddd, dd MMMM yyyy HH:mm:ss",
    "y": "yyyy MMMM",
    "Y": "yyyy MMMM",
}
"""Formats of one letter and what they stand for in the invariant culture."""

_LETTERS = "dfFghHKmMstyz"
_TWO_DIGIT_YEAR_MAX = 2049


class Styles(Flag):
    """What a text may have beside what its format says, as DateTimeStyles spells it."""

    NONE = 0
    LEADING_WHITE = auto()
    TRAILING_WHITE = auto()
    INNER_WHITE = auto()
    NO_CURRENT_DATE = auto()
    TO_UNIVERSAL = auto()
    ASSUME_LOCAL = auto()
    ASSUME_UNIVERSAL = auto()
    ROUNDTRIP = auto()


_STYLE_NAMES = {
    "None": Styles.NONE,
    "AllowLeadingWhite": Styles.LEADING_WHITE,
    "AllowTrailingWhite": Styles.TRAILING_WHITE,
    "AllowInnerWhite": Styles.INNER_WHITE,
    "AllowWhiteSpaces": Styles.LEADING_WHITE | Styles.TRAILING_WHITE | Styles.INNER_WHITE,
    "NoCurrentDateDefault": Styles.NO_CURRENT_DATE,
    "AdjustToUniversal": Styles.TO_UNIVERSAL,
    "AssumeLocal": Styles.ASSUME_LOCAL,
    "AssumeUniversal": Styles.ASSUME_UNIVERSAL,
    "RoundtripKind": Styles.ROUNDTRIP,
}

DEFAULT_STYLES = Styles.ROUNDTRIP | Styles.LEADING_WHITE | Styles.TRAILING_WHITE


@lru_cache(maxsize=64)
def read_styles(text: str) -> Styles:
    """The styles that a comma-separated list of names means; no name means the default. Raises: EvaluationError."""
    names = [name for part in re.split(r"[,|]", text) if (name := part.strip())]
    if not _STYLE_NAMES.keys() >= set(names):
        raise EvaluationError(f"DateTimeStyles are named {', '.join(_STYLE_NAMES)}")
    styles = Styles.NONE
    for name in names:
        styles |= _STYLE_NAMES[name]
    return styles if names else DEFAULT_STYLES


class ZoneKind(StrEnum):
    """What a text said about its zone; decides what ``K`` writes."""

    UNSPECIFIED = ""
    UTC = "Z"
    LOCAL = "+00:00"


@dataclass(frozen=True, slots=True)
class Reading:
    """A moment, and what was said about its zone."""

    moment: Moment
    zone: ZoneKind


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a format: a letter repeated ``count`` times, or (letter "") literal text."""

    letter: str
    count: int = 0
    literal: str = ""


@lru_cache(maxsize=512)
def split_format(pattern: str) -> tuple[Part, ...]:
    """The pieces of a format string. Raises: EvaluationError when it is none."""
    if not pattern:
        raise EvaluationError("a date format is empty")
    if len(pattern) == 1:
        if pattern not in STANDARD:
            raise EvaluationError(f"a date format of one letter is one of {' '.join(STANDARD)}")
        pattern = STANDARD[pattern]
    parts: list[Part] = []
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        if letter in _LETTERS:
            count = len(pattern[at:]) - len(pattern[at:].lstrip(letter))
            if letter in "fF" and count > 7:
                raise EvaluationError("a second has at most seven decimals in a date format")
            parts.append(Part(letter, count))
            at += count
        elif letter in "'\"":
            literal, at = _quoted(pattern, at)
            parts.append(Part("", literal=literal))
        elif letter in "\\%":
            follower = pattern[at + 1 : at + 2]
            if not follower or (letter == "%" and follower == "%"):
                raise EvaluationError(f"a date format ends after {letter!r}, or doubles it")
            parts.append(
                Part("", literal=follower) if letter == "\\" or follower not in _LETTERS else Part(follower, 1)
            )
            at += 2
        else:
            parts.append(Part("", literal=letter))
            at += 1
    return tuple(parts)


def _quoted(pattern: str, at: int) -> tuple[str, int]:
    quote, literal = pattern[at], ""
    at += 1
    while at < len(pattern):
        if pattern[at] == quote:
            return literal, at + 1
        if pattern[at] == "\\":
            at += 1
        literal += pattern[at : at + 1]
        at += 1
    raise EvaluationError("a quoted part of a date format is not closed")


# Writing


def write(reading: Reading, pattern: str) -> str:
    """The moment in a format. Raises: EvaluationError when the format is none."""
    clock = reading.moment.clock
    written: list[str] = []
    for part in split_format(pattern):
        match part.letter:
            case "":
                written.append(part.literal)
            case "f" | "F":
                _write_fraction(reading.moment, part, written)
            case "K":
                written.append(reading.zone)
            case letter:
                written.append(_WRITERS[letter](clock, part.count))
    return "".join(written)


def _write_fraction(moment: Moment, part: Part, written: list[str]) -> None:
    decimals = f"{moment.ticks % TICKS_A_SECOND:07}"[: part.count]
    if part.letter == "F":
        decimals = decimals.rstrip("0")
        if not decimals and written and written[-1] == ".":
            written.pop()
    written.append(decimals)


def _padded(value: int, count: int) -> str:
    return f"{value:02}" if count > 1 else str(value)


def _year(clock: dt.datetime, count: int) -> str:
    return _padded(clock.year % 100, count) if count <= 2 else str(clock.year).zfill(count)


def _month(clock: dt.datetime, count: int) -> str:
    if count <= 2:
        return _padded(clock.month, count)
    name = MONTHS[clock.month - 1]
    return name[:3] if count == 3 else name


def _day(clock: dt.datetime, count: int) -> str:
    if count <= 2:
        return _padded(clock.day, count)
    name = WEEKDAYS[clock.weekday()]
    return name[:3] if count == 3 else name


_WRITERS: dict[str, Callable[[dt.datetime, int], str]] = {
    "y": _year,
    "M": _month,
    "d": _day,
    "h": lambda clock, count: _padded(clock.hour % 12 or 12, count),
    "H": lambda clock, count: _padded(clock.hour, count),
    "m": lambda clock, count: _padded(clock.minute, count),
    "s": lambda clock, count: _padded(clock.second, count),
    "t": lambda clock, count: ("AM" if clock.hour < 12 else "PM")[: min(count, 2)],
    "z": lambda clock, count: {1: "+0", 2: "+00"}.get(count, "+00:00"),
    "g": lambda clock, count: "A.D.",
}


# Reading


@dataclass(frozen=True, slots=True)
class _Reader:
    """How texts of one format are read."""

    pattern: re.Pattern[str]
    """One group for each lettered part."""
    parts: tuple[tuple[str, Callable[[str], int | str]], ...]
    """For each group the letter it fills and how its text is read."""
    kinds: Mapping[str, ZoneKind]
    """By the first character of what the text says about its zone: nothing, Z or a sign."""


def read_exact(text: str, pattern: str, styles: Styles, *, today: dt.date) -> Reading:
    """The moment that a text of exactly this format means.

    What the format does not say: no date at all is ``today`` (or 0001-01-01, if the styles say so), no year this year,
    no month or day the first. Raises: EvaluationError.
    """
    reader = _reader(pattern, styles)
    match = reader.pattern.fullmatch(text)
    if match is None:
        raise EvaluationError("the date does not have the given input format")
    said: dict[str, Any] = {}
    for (letter, read), piece in zip(reader.parts, match.groups(), strict=True):
        value = read(piece)
        if said.setdefault(letter, value) != value:
            raise EvaluationError("the date says the same part twice, and differently")
    try:
        clock = dt.datetime(*_date(said, styles, today), _hour(said), said.get("m", 0), said.get("s", 0))  # noqa: DTZ001
    except ValueError as error:
        raise EvaluationError("there is no such date or time of day") from error
    if said.get("weekday", clock.weekday()) != clock.weekday():
        raise EvaluationError("the date does not fall on the weekday it names")
    zone = said.get("zone", "")
    moment = Moment.from_clock(clock, ticks=said.get("f", 0), offset_s=_offset_s(zone) if zone else 0)
    return Reading(moment, reader.kinds[zone[:1]])


@lru_cache(maxsize=512)
def _reader(pattern: str, styles: Styles) -> _Reader:
    """Nothing is read twice: .NET reads from left to right, once."""
    between = r"\s*" if Styles.INNER_WHITE in styles else ""
    pieces = [r"\s*" if Styles.LEADING_WHITE in styles else ""]
    parts = split_format(pattern)
    for index, part in enumerate(parts):
        if index:
            pieces.append(between)
        if part.letter:
            pieces.append(f"({_read_part(part)})")
        elif between and part.literal.isspace():
            pieces.append(r"\s*")
        else:
            optional = part.literal == "." and index + 1 < len(parts) and parts[index + 1].letter == "F"
            pieces.append(re.escape(part.literal) + ("?" if optional else ""))
    pieces.append(r"\s*" if Styles.TRAILING_WHITE in styles else "")
    return _Reader(
        re.compile("".join(pieces), re.IGNORECASE | re.ASCII),
        tuple(_reading_of(part) for part in parts if part.letter),
        _zone_kinds(any(part.literal in ("Z", "GMT") for part in parts), styles),
    )


def _read_part(part: Part) -> str:
    match part.letter:
        case "y":
            return "[0-9]{1,2}+" if part.count == 1 else f"[0-9]{{{part.count}}}"
        case "M" if part.count > 2:
            return _one_of(MONTHS, part.count)
        case "d" if part.count > 2:
            return _one_of(WEEKDAYS, part.count)
        case "f":
            return f"[0-9]{{{part.count}}}"
        case "F":
            return f"[0-9]{{0,{part.count}}}+"
        case "t":
            return "[AP]" if part.count == 1 else "AM|PM"
        case "z":
            return "[+-][0-9]{1,2}+" if part.count == 1 else "[+-][0-9]{2}" + (":?[0-9]{2}" if part.count > 2 else "")
        case "K":
            return "(?:Z|[+-][0-9]{2}:?[0-9]{2})?+"
        case "g":
            return r"A\.D\.|AD"
        case _:
            return "[0-9]{1,2}+" if part.count == 1 else "[0-9]{2}"


def _one_of(names: Sequence[str], count: int) -> str:
    return "|".join(name[:3] if count == 3 else name for name in names)


def _reading_of(part: Part) -> tuple[str, Callable[[str], int | str]]:
    """The letter that a part fills, and how its text is read."""
    match part.letter:
        case "y" if part.count <= 2:
            return "y", _two_digit_year
        case "M" if part.count > 2:
            return "M", lambda text: _number_of(text, MONTHS) + 1
        case "d" if part.count > 2:
            return "weekday", lambda text: _number_of(text, WEEKDAYS)
        case "f" | "F":
            return "f", lambda text: int(text.ljust(7, "0"))
        case "t":
            return "t", lambda text: text[0].upper()
        case "z" | "K":
            return "zone", str.upper
        case "g":
            return "g", lambda text: "A.D."
        case letter:
            return letter, int


def _number_of(name: str, names: Sequence[str]) -> int:
    """Place of a name, full or of three letters, among the names; from 0."""
    return next(number for number, full in enumerate(names) if full[:3].lower() == name[:3].lower())


def _two_digit_year(text: str) -> int:
    year = _TWO_DIGIT_YEAR_MAX // 100 * 100 + int(text)
    return year - 100 if year > _TWO_DIGIT_YEAR_MAX else year


def _date(said: Mapping[str, Any], styles: Styles, today: dt.date) -> tuple[int, int, int]:
    if "y" in said or "M" in said or "d" in said:
        return said.get("y", today.year), said.get("M", 1), said.get("d", 1)
    return (1, 1, 1) if Styles.NO_CURRENT_DATE in styles else (today.year, today.month, today.day)


def _hour(said: Mapping[str, Any]) -> int:
    hour: int = said.get("H", said.get("h", 0))
    match said.get("t"):
        case "A" if hour > 12:
            raise EvaluationError("an hour before noon is at most 12")
        case "A":
            return hour % 12
        case "P" if hour < 12:
            return hour + 12
        case _:
            return hour


def _offset_s(zone: str) -> int:
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "")
    hours, minutes = int(digits[:2]), int(digits[2:] or 0)
    if hours > 14 or minutes > 59:
        raise EvaluationError("a zone offset lies between -14:00 and +14:00")
    return (hours * 3600 + minutes * 60) * (-1 if zone[0] == "-" else 1)


def _zone_kinds(utc: bool, styles: Styles) -> dict[str, ZoneKind]:
    """``utc``: the format itself says, as a literal, that the zone is UTC."""
    known = ZoneKind.UTC if Styles.TO_UNIVERSAL in styles else ZoneKind.LOCAL
    z = ZoneKind.UTC if Styles.ROUNDTRIP in styles else known
    assumed = known if styles & (Styles.ASSUME_LOCAL | Styles.ASSUME_UNIVERSAL) else ZoneKind.UNSPECIFIED
    return {"": z if utc else assumed, "Z": z, "+": known, "-": known}
