"""When people begin and when they leave: dates of the source that act by themselves."""

from datetime import timedelta
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, PlainSerializer, WithJsonSchema, field_validator

from tasks.job.section import Section, Text
from tasks.job.values import Duration

_DAY = timedelta(days=1)


def _clock(value: object) -> object:
    """``HH:MM`` up to 24:00, as the time since midnight; YAML reads 17:00 as 1020."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 24 * 60:
        return timedelta(minutes=value)
    hour, colon, minute = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not (colon and hour.isdigit() and len(minute) == 2 and minute.isdigit() and int(minute) < 60):
        raise ValueError(
            f"{value!r} is not a time of day: use hours and minutes, like 17:00; the end of a day is 24:00."
        )
    length = timedelta(hours=int(hour), minutes=int(minute))
    if length > _DAY:
        raise ValueError(f"{value!r} is later than 24:00, the end of a day.")
    return length


def written(clock: timedelta) -> str:
    """A time of day as job files write it."""
    minutes = int(clock.total_seconds()) // 60
    return f"{minutes // 60:02}:{minutes % 60:02}"


Clock = Annotated[
    timedelta,
    BeforeValidator(_clock),
    PlainSerializer(written, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,2}:\d{2}$", "examples": ["17:00", "24:00"]}),
]
"""Time since midnight, on the clock of the person's time zone."""


def is_zone(text: str) -> bool:
    """Whether this names a time zone."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


class _Dates(Section):
    date: Text
    """Expression for the day, like ``[hireDate]``: a date like 2026-03-31, or a date with a time."""
    timezone: Text = "UTC"
    """In which time zone the day begins and ends: a name like ``Europe/Berlin``, or an expression that gives one, like
    ``[timeZone]`` or ``Switch([location], "UTC", "SYD", "Australia/Sydney")``."""
    fallback: Text = "UTC"
    """Time zone for people without one."""

    @field_validator("date")
    @classmethod
    def _date_is_an_expression(cls, text: str) -> str:
        return _checked(text)

    @field_validator("timezone")
    @classmethod
    def _timezone_is_a_zone_or_an_expression(cls, text: str) -> str:
        return text if is_zone(text) else _checked(text)

    @field_validator("fallback")
    @classmethod
    def _fallback_is_a_zone(cls, text: str) -> str:
        if not is_zone(text):
            raise ValueError(f"{text} is not a time zone: use a name like Europe/Berlin.")
        return text

    @property
    def expressions(self) -> dict[str, str]:
        """The section's expressions by their key."""
        found = {"date": self.date}
        return found if is_zone(self.timezone) else found | {"timezone": self.timezone}


def _checked(text: str) -> str:
    from tasks.expressions import ExpressionError, compile_expression

    try:
        compile_expression(text)
    except ExpressionError as error:
        raise ValueError(str(error)) from None
    return text


class Joiners(_Dates):
    """When an account is made for somebody who is in the source already."""

    before: Annotated[Duration | None, Field(examples=["7d"])] = None
    """How long before the first day. Without it, on the day itself."""
    at: Clock = timedelta()
    """At which time of the day, in the person's time zone."""


class Leavers(_Dates):
    """When the account of somebody who is still in the source is switched off."""

    at: Clock = _DAY
    """At which time of the last day, in the person's time zone; at its end where this is left out."""
