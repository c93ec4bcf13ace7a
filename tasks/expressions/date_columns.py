"""Whole columns of dates from one .NET format to another, where both formats are made of numbers.

Only what is beyond doubt is done here: a text that does not have the format, a date that does not exist, or anything
rare is left to `date_formats`, which looks at one text at a time and says what is wrong.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.expressions.date_formats import DEFAULT_STYLES, Part, Styles, split_format
from tasks.expressions.operands import TEXT_TYPE, Mask, flags

Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_READ = {"y": (4, 4), "M": (1, 2), "d": (1, 2), "H": (1, 2), "h": (1, 2), "m": (1, 2), "s": (1, 2), "f": (1, 7)}
"""Letters that are read as numbers, and how often each may be repeated."""
_WRITTEN = _READ | {"t": (1, 2)}


def reformat_column(texts: pa.Array, read_as: str, write_as: str, styles: Styles) -> tuple[pa.Array, Mask] | None:
    """The texts in another format, and which rows are done; None where the formats are not made of numbers alone."""
    reading, writing = split_format(read_as), split_format(write_as)
    pattern = _pattern(reading) if styles == DEFAULT_STYLES else None
    if pattern is None or not all(_fits(part, _WRITTEN) for part in writing):
        return None
    found = pc.extract_regex(texts, pattern)
    matched = flags(found.is_valid())
    parts = _numbers(found, reading)
    valid = matched & _is_date(parts)
    clock = _clock(parts)
    pieces = [_written(part, clock) for part in writing]
    return pc.binary_join_element_wise(*pieces, pa.scalar("", TEXT_TYPE)), valid


def _fits(part: Part, letters: dict[str, tuple[int, int]]) -> bool:
    if not part.letter:
        return True
    least, most = letters.get(part.letter, (1, 0))
    return least <= part.count <= most


def _pattern(parts: Sequence[Part]) -> str | None:
    """The format as a pattern with one named group for each part; None where it needs more care."""
    letters = [part.letter for part in parts if part.letter]
    if len(set(letters)) < len(letters) or not {"y", "M", "d"} <= set(letters):
        return None
    if ("t" in letters) != ("h" in letters) or {"h", "H"} <= set(letters):
        return None
    pieces: list[str] = []
    for index, part in enumerate(parts):
        follower = parts[index + 1] if index + 1 < len(parts) else Part("", literal="")
        if part.letter == "t" and part.count == 2:
            pieces.append("(?P<t>[AaPp])[Mm]")
        elif not part.letter:
            pieces.append("(?i:" + "".join(f"\\x{{{ord(character):X}}}" for character in part.literal) + ")")
        elif not _fits(part, _READ) or (part.count == 1 and part.letter != "f" and follower.letter):
            return None
        else:
            count = "1,2" if part.count == 1 and part.letter != "f" else str(part.count)
            pieces.append(f"(?P<{part.letter}>[0-9]{{{count}}})")
    return r"\A[ \t]*" + "".join(pieces) + r"[ \t]*\z"


def _numbers(found: pa.StructArray, parts: Sequence[Part]) -> dict[str, Numbers]:
    numbers: dict[str, Numbers] = {}
    for part in parts:
        if not part.letter:
            continue
        texts = found.field(part.letter)
        if part.letter == "t":
            numbers["t"] = flags(pc.is_in(texts, pa.array(["P", "p"], texts.type))).astype(np.int64)
            continue
        digits = pc.if_else(found.is_valid(), texts, pa.scalar("0", texts.type))
        scale = 10 ** (7 - part.count) if part.letter == "f" else 1
        numbers[part.letter] = digits.cast(pa.int64()).to_numpy() * scale
    if "h" in numbers:
        hour = numbers.pop("h")
        # Rows beyond noon by more than twelve hours are somebody else's question.
        numbers["H"] = np.where((hour >= 1) & (hour <= 12), hour % 12 + 12 * numbers["t"], 99)
    return numbers


_MONTH_LENGTHS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)


def _is_date(parts: dict[str, Numbers]) -> Mask:
    year, month, day = parts["y"], parts["M"], parts["d"]
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    known = (month >= 1) & (month <= 12)
    length = _MONTH_LENGTHS[np.where(known, month, 1) - 1] + (leap & (month == 2))
    valid: Mask = known & (year >= 1) & (day >= 1) & (day <= length)
    for letter, limit in (("H", 24), ("m", 60), ("s", 60)):
        if letter in parts:
            valid &= parts[letter] < limit
    return valid


def _clock(parts: dict[str, Numbers]) -> dict[str, Numbers]:
    """Every part that can be written; those that were not read are zero. What is no date is clipped to one."""
    zero = np.zeros(len(parts["y"]), dtype=np.int64)
    hour = np.clip(parts.get("H", zero), 0, 23)
    return {
        "y": parts["y"],
        "M": np.clip(parts["M"], 0, 99),
        "d": np.clip(parts["d"], 0, 99),
        "H": hour,
        "h": (hour + 11) % 12 + 1,
        "t": hour // 12,
        "m": parts.get("m", zero),
        "s": parts.get("s", zero),
        "f": parts.get("f", zero),
    }


def _written(part: Part, clock: dict[str, Numbers]) -> Any:
    if not part.letter:
        return pa.scalar(part.literal, TEXT_TYPE)
    numbers = clock[part.letter]
    if part.letter == "t":
        halves = pa.array([half[: part.count] for half in ("AM", "PM")], TEXT_TYPE)
        return halves.take(pa.array(numbers))
    if part.letter == "f":
        decimals = pa.array(numbers // 10 ** (7 - part.count)).cast(TEXT_TYPE)
        return pc.utf8_lpad(decimals, part.count, "0")
    return _digits(4 if part.letter == "y" else part.count).take(pa.array(numbers))


@cache
def _digits(width: int) -> pa.Array:
    """Every number that can occur, written with at least so many digits."""
    return pa.array([str(number).zfill(width) for number in range(10_000 if width == 4 else 100)], TEXT_TYPE)
