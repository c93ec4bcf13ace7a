"""What single values of a job file may be: lengths of time, rates, moments, patterns, cron fields, expectations.

A function ``..._problem`` gives the sentence that says what would be right, or None where there is nothing to say.
"""

import re
from datetime import UTC, datetime, time, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from tasks.job.problems import did_you_mean

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_LENGTH = re.compile(r"(?:\d+[smhdw])+")
_RATE = re.compile(r"(\d+(?:\.\d+)?)/(s|min|h)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_MINUTES_OF_A_DAY = 24 * 60
_OFFSET = re.compile(r"(?:now)?\s*([+-])\s*(\d+)\s*([hdw])", re.IGNORECASE)
_ANCHOR = re.compile(r"(?P<anchor>[\^$]|\\[AzZ])|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
"""An anchor, or something inside of which a character that looks like one is none: an escape, a character class."""


def _length_of_time(value: object) -> object:
    if value is None or isinstance(value, timedelta):
        return value
    text = re.sub(r"\s+", "", value) if isinstance(value, str) else ""
    if not _LENGTH.fullmatch(text):
        raise ValueError(f"{_shown(value)} is no length of time: write number and unit, like 90s, 20m, 12h, 30d or 2w.")
    try:
        length = sum((int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", text)), timedelta())
    except OverflowError:
        raise ValueError("The length of time is too long: leave the key out where there is to be no end.") from None
    if not length:
        raise ValueError("The length of time must be more than nothing, like 20m or 30d.")
    return length


def _rate_per_s(value: object) -> object:
    match = _RATE.fullmatch(re.sub(r"\s+", "", value)) if isinstance(value, str) else None
    rate = float(match[1]) / _SECONDS[match[2]] if match else value
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf"):
        raise ValueError(f"{_shown(value)} is no rate: write requests and unit of time, like 200/s, 600/min or 9000/h.")
    return float(rate)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str | int | float) else "This"


Duration = Annotated[
    timedelta,
    BeforeValidator(_length_of_time),
    PlainSerializer(lambda length: f"{length.total_seconds():.0f}s", when_used="json-unless-none"),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+\s*[smhdw]\s*)+$", "examples": ["20m", "12h", "30d"]}),
]
"""A length of time; in YAML number and unit: ``90s``, ``20m``, ``12h``, ``30d``, ``2w``, ``1h30m``."""

Rate = Annotated[
    float | None,
    BeforeValidator(_rate_per_s),
    WithJsonSchema({"type": ["string", "number", "null"], "examples": ["200/s", "600/min"]}),
]
"""Requests per second; in YAML ``200/s``, ``600/min``, ``9000/h``."""


def regex_problem(pattern: str) -> str | None:
    """Why a pattern cannot be used; the engine of the mapping language decides, because scoping filters use it too."""
    from tasks.expressions.regex import PatternError, compile_pattern

    try:
        compile_pattern(pattern)
    except PatternError as error:
        return f"This is no regular expression: {str(error).rstrip('.')} (at character {error.offset + 1})."
    return None


def regex_warning(pattern: str) -> str | None:
    """What may not be meant by a pattern: without anchors it matches a part of the value as well as the whole."""
    anchored = any(found["anchor"] for found in _ANCHOR.finditer(pattern))
    if anchored or (pattern.startswith(".*") and pattern.endswith(".*")):
        return None
    return (
        "The pattern has neither ^ nor $, so it is found anywhere in the value; where the whole value must match, "
        "write ^(...)$ around it."
    )


def moment_of(text: str, now: datetime) -> datetime:
    """A point in time from a clause: an ISO 8601 date, ``now``, or an offset from now (``now-30d``, ``+12h``).

    An offset that leaves the calendar ends on its first or last day. Raises: ValueError for any other text.
    """
    if text.strip().lower() == "now":
        return now
    offset = _OFFSET.fullmatch(text.strip())
    if offset is None:
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    forward = offset[1] == "+"
    try:
        distance = int(offset[2]) * _UNITS[offset[3].lower()]
        return now + distance if forward else now - distance
    except OverflowError:
        return datetime(9999, 12, 31, tzinfo=UTC) if forward else datetime(1, 1, 1, tzinfo=UTC)


def is_moment(text: str) -> bool:
    """Whether a text is a point in time, as :func:`moment_of` reads it."""
    try:
        moment_of(text, datetime(2024, 1, 1, tzinfo=UTC))
    except ValueError:
        return False
    return True


def time_of_day(value: object) -> object:
    """A time of the day, as ``22:00``; YAML may have read it as minutes since midnight."""
    if isinstance(value, time):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MINUTES_OF_A_DAY:
        return time(*divmod(value, 60))
    match = re.fullmatch(r"(\d{1,2}):(\d{2})", value.strip()) if isinstance(value, str) else None
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        raise ValueError(f"{_shown(value)} is no time of the day: write hours and minutes, like 22:00.")
    return time(int(match[1]), int(match[2]))


def cron_problem(text: str) -> str | None:
    """Why a text cannot be the cron fields of a schedule."""
    from cronsim import CronSim, CronSimError

    if len(text.split()) != 5:
        return "Five fields are needed: minute, hour, day of month, month, day of week, like 0 6 * * 1-5."
    try:
        CronSim(text, datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        return f"The field {field} of the cron text is wrong; 0 6 * * 1-5 would be 6:00 from Monday to Friday."
    return None


def time_zone_problem(name: str) -> str | None:
    """Why a name cannot be the time zone of a schedule."""
    from zoneinfo import available_timezones

    known = available_timezones()
    if name in known:
        return None
    return f"There is no time zone {name!r}.{did_you_mean(name, sorted(known)) or ' Write one like Europe/Berlin.'}"


def expectation_problem(name: str) -> str | None:
    """Why a name cannot be the expectation of a check."""
    if not name.startswith("expect_"):
        return f"{name!r} is no expectation: their names start with expect_."
    known = _expectations()
    return f"Great Expectations has no {name}.{did_you_mean(name, known)}" if known and name not in known else None


def _expectations() -> list[str]:
    """Names of the installed expectations, from their file names: importing the library takes seconds."""
    spec = find_spec("great_expectations")
    folders = (spec.submodule_search_locations if spec else None) or ()
    return sorted(file.stem for folder in folders for file in Path(folder).glob("expectations/core/expect_*.py"))
