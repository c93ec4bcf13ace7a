"""Moments in UTC: reading the usual ways of writing them, adding to them, and the space between two of them.

Source: Microsoft Entra ID, expression reference (CDate, DateAdd, DateDiff, DateFromNum, NumFromDate);
Microsoft.VisualBasic DateAdd and DateDiff; Windows FILETIME.
"""

import calendar
import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum

from tasks.expressions.errors import EvaluationError

TICKS_A_SECOND = 10_000_000
"""A tick is 100 nanoseconds, the resolution of .NET's DateTime and of FILETIME."""

_START = dt.datetime(1, 1, 1)  # noqa: DTZ001  (all arithmetic is in UTC, without zone objects)
_END_TICKS = 3_155_378_976_000_000_000
_FILETIME_START_TICKS = 504_911_232_000_000_000

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
"""English names; Python's calendar module would answer in the language of the machine."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_MONTH_NUMBERS = {name[:3].lower(): number for number, name in enumerate(MONTHS, start=1)}

OUT_OF_RANGE = "the date lies outside the years 1 to 9999"


class Interval(StrEnum):
    """Units that DateAdd and DateDiff count in."""

    YEAR = "yyyy"
    MONTH = "m"
    DAY = "d"
    WEEK = "ww"
    HOUR = "h"
    MINUTE = "n"
    SECOND = "s"


_TICKS = {
    Interval.WEEK: 7 * 86_400 * TICKS_A_SECOND,
    Interval.DAY: 86_400 * TICKS_A_SECOND,
    Interval.HOUR: 3_600 * TICKS_A_SECOND,
    Interval.MINUTE: 60 * TICKS_A_SECOND,
    Interval.SECOND: TICKS_A_SECOND,
}


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """A point in time, UTC, as ticks since 0001-01-01T00:00:00."""

    ticks: int

    @classmethod
    def from_clock(cls, clock: dt.datetime, *, ticks: int = 0, offset_s: int = 0) -> "Moment":
        """The moment when clocks that are ``offset_s`` seconds ahead of UTC show ``clock`` and ``ticks`` more.

        Raises: EvaluationError when it lies outside the years 1 to 9999.
        """
        if clock.tzinfo is not None:
            clock = clock.astimezone(dt.UTC).replace(tzinfo=None)
        seconds = clock.toordinal() * 86_400 - 86_400 + clock.hour * 3_600 + clock.minute * 60 + clock.second
        whole = (seconds - offset_s) * TICKS_A_SECOND + clock.microsecond * 10 + ticks
        if not 0 <= whole < _END_TICKS:
            raise EvaluationError(OUT_OF_RANGE)
        return cls(whole)

    @property
    def clock(self) -> dt.datetime:
        """What UTC clocks show, to the microsecond."""
        return _START + dt.timedelta(microseconds=self.ticks // 10)


def render(moment: Moment) -> str:
    """``M/d/yyyy h:mm:ss tt``, the form in which dates travel between functions."""
    clock = moment.clock
    half = "AM" if clock.hour < 12 else "PM"
    time = f"{clock.hour % 12 or 12}:{clock.minute:02}:{clock.second:02} {half}"
    return f"{clock.month}/{clock.day}/{clock.year:04} {time}"


_TIME = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
)
_ZONE = r"(?:\s*(?:(?P<utc>[Zz]|GMT|UTC)|(?P<sign>[+-])(?P<ahead>[0-9]{1,2})(?::?(?P<ahead_minute>[0-9]{2}))?))?"
_REST = rf"(?:(?:[Tt]|,?\s+){_TIME})?{_ZONE}\s*"
_NAMED = r"(?P<month>Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(?P<month_rest>[a-z]*)\.?"
_WEEKDAY = r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?\s+)?"

_FORMS = tuple(
    re.compile(r"\s*" + date + _REST, re.ASCII | re.IGNORECASE)
    for date in (
        r"(?P<year>[0-9]{4})(?P<gap>[-/.])(?P<month>[0-9]{1,2})(?P=gap)(?P<day>[0-9]{1,2})",
        # Month first, as the invariant culture has it. With dots it would be read the other way round by most of those
        # who write so; such dates are refused rather than misread: FormatDateTime says which part is which.
        r"(?P<month>[0-9]{1,2})(?P<gap>[-/])(?P<day>[0-9]{1,2})(?P=gap)(?P<year>[0-9]{4})",
        rf"{_WEEKDAY}(?P<day>[0-9]{{1,2}})[\s-]{_NAMED},?[\s-](?P<year>[0-9]{{4}})",
        rf"{_WEEKDAY}{_NAMED}\s+(?P<day>[0-9]{{1,2}}),?\s+(?P<year>[0-9]{{4}})",
    )
)


def read_moment(text: str) -> Moment:
    """The moment that a text means: ISO 8601, month first with slashes, or with the month's English name.

    Without a zone it is UTC, without a time midnight. Raises: EvaluationError.
    """
    for form in _FORMS:
        if match := form.fullmatch(text):
            return _moment(match.groupdict())
    raise EvaluationError("this is not a date in a form that can be read without being told its format")


_DAY_AND_MONTH = re.compile(
    r"\s*(?P<one>[0-9]{1,2})(?P<gap>[-/.])(?P<other>[0-9]{1,2})(?P=gap)(?P<year>[0-9]{4}|[0-9]{2})" + _REST,
    re.ASCII | re.IGNORECASE,
)


def readings_of(text: str) -> tuple[Moment, ...]:
    """Every moment that a text may mean, each once; none where it is no date.

    With dots the day comes first, as everywhere where dates have dots. With slashes and hyphens day or month may come
    first, and a year of two digits may lie in two centuries.
    """
    match = _DAY_AND_MONTH.fullmatch(text)
    if match is None:
        try:
            return (read_moment(text),)
        except EvaluationError:
            return ()
    parts = match.groupdict()
    one, other, year = parts.pop("one"), parts.pop("other"), parts["year"] or ""
    orders = [(other, one)] if parts["gap"] == "." else [(one, other), (other, one)]
    years = [year] if len(year) == 4 else [f"20{year}", f"19{year}"]
    found: dict[Moment, None] = {}
    for whole in years:
        for month, day in orders:
            try:
                found[_moment({**parts, "year": whole, "month": month, "day": day})] = None
            except EvaluationError:
                continue
    return tuple(found)


def _moment(parts: dict[str, str | None]) -> Moment:
    month = parts["month"] or ""
    if not month.isdigit():
        number = _MONTH_NUMBERS[month.lower()]
        spelled = (month + (parts.get("month_rest") or "")).lower()
        if spelled not in (month.lower(), MONTHS[number - 1].lower(), "sept"):
            raise EvaluationError("this date names a month that does not exist")
        month = str(number)
    hour = _hour(int(parts["hour"] or 0), parts["half"])
    fraction = (parts["fraction"] or "").ljust(7, "0")[:7]
    try:
        clock = dt.datetime(  # noqa: DTZ001
            int(parts["year"] or 0),
            int(month),
            int(parts["day"] or 0),
            hour,
            int(parts["minute"] or 0),
            int(parts["second"] or 0),
        )
    except ValueError as error:
        raise EvaluationError("there is no such date or time of day") from error
    return Moment.from_clock(clock, ticks=int(fraction), offset_s=_offset_s(parts))


def _hour(hour: int, half: str | None) -> int:
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise EvaluationError("an hour with AM or PM lies between 1 and 12")
    return hour % 12 + (12 if half in "Pp" else 0)


def _offset_s(parts: dict[str, str | None]) -> int:
    hours, minutes = int(parts["ahead"] or 0), int(parts["ahead_minute"] or 0)
    if hours > 14 or minutes > 59 or (hours == 14 and minutes):
        raise EvaluationError("a zone offset lies between -14:00 and +14:00")
    return (hours * 3600 + minutes * 60) * (-1 if parts["sign"] == "-" else 1)


def add(interval: Interval, count: int, moment: Moment) -> Moment:
    """The moment ``count`` intervals later; a day that a month does not have becomes its last.

    Raises: EvaluationError.
    """
    if interval in _TICKS:
        ticks = moment.ticks + count * _TICKS[interval]
        if not 0 <= ticks < _END_TICKS:
            raise EvaluationError(OUT_OF_RANGE)
        return Moment(ticks)
    clock = moment.clock
    months = clock.year * 12 + clock.month - 1 + count * (12 if interval is Interval.YEAR else 1)
    year, month = divmod(months, 12)
    if not 1 <= year <= 9999:
        raise EvaluationError(OUT_OF_RANGE)
    day = min(clock.day, calendar.monthrange(year, month + 1)[1])
    moved = clock.replace(year=year, month=month + 1, day=day)
    return Moment.from_clock(moved, ticks=moment.ticks % 10)


def difference(interval: Interval, first: Moment, second: Moment) -> int:
    """Intervals from the first moment to the second, negative when the second is earlier.

    Days and shorter: the whole span, truncated towards zero. Weeks: both moments are moved back to their Sunday at the
    same time of day, then whole weeks are counted. Months and years: of the calendar, whatever the day.
    Source: Microsoft.VisualBasic DateDiff.
    """
    match interval:
        case Interval.YEAR:
            return second.clock.year - first.clock.year
        case Interval.MONTH:
            return (second.clock.year - first.clock.year) * 12 + second.clock.month - first.clock.month
        case Interval.WEEK:
            span = (second.ticks - _since_sunday(second)) - (first.ticks - _since_sunday(first))
            return _truncate(span, _TICKS[Interval.WEEK])
        case _:
            return _truncate(second.ticks - first.ticks, _TICKS[interval])


def _since_sunday(moment: Moment) -> int:
    return (moment.clock.weekday() + 1) % 7 * _TICKS[Interval.DAY]


def _truncate(span: int, unit: int) -> int:
    return abs(span) // unit * (1 if span >= 0 else -1)


def from_filetime(number: int) -> Moment:
    """The moment of a Windows FILETIME: ticks since 1601-01-01. Raises: EvaluationError."""
    ticks = number + _FILETIME_START_TICKS
    if number < 0 or ticks >= _END_TICKS:
        raise EvaluationError("the number lies outside what a date can be (the years 1601 to 9999)")
    return Moment(ticks)


def to_filetime(moment: Moment) -> int:
    """The Windows FILETIME of a moment. Raises: EvaluationError before 1601."""
    if moment.ticks < _FILETIME_START_TICKS:
        raise EvaluationError("dates before 1601 have no such number")
    return moment.ticks - _FILETIME_START_TICKS
