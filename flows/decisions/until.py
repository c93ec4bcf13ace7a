"""Until when a decision counts: one reading for the commands, the pages and the forms of Prefect's UI."""

import re
from datetime import UTC, date, datetime, time, timedelta

from flows.decisions.persons import DecisionError

AT_MOST = timedelta(days=36_524)
"""How long a decision may count: a hundred years."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(_DAY.pattern + r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?")


def parse_until(given: str | date | None) -> datetime | None:
    """The end of a day, or a moment, UTC where no zone is given; None for nothing. Raises: DecisionError."""
    if given is None or given == "":
        return None
    text = str(given).strip()
    try:
        if _DAY.fullmatch(text):
            return _end_of(date.fromisoformat(text))
        if _MOMENT.fullmatch(text):
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):  # as the 31st of February, or a moment before the year 1
        pass
    raise DecisionError(f"{text} is no date like 2026-01-31, and no moment like 2026-01-31T18:00:00Z.")


def _end_of(day: date) -> datetime:
    if day == date.max:
        return datetime.max.replace(tzinfo=UTC)
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def refuse_until(until: datetime | None, now: datetime) -> None:
    """Passes for a decision that counts for a while, and not for longer than may be. Raises: DecisionError."""
    if until is None:
        return
    if until <= now:
        raise DecisionError(
            f"The decision would have run out already: {until:%Y-%m-%d %H:%M} UTC is not in the future."
        )
    if until - now > AT_MOST:
        raise DecisionError(
            f"A decision counts until {now + AT_MOST:%Y-%m-%d} at the latest, a hundred years from now, and not until "
            f"{until:%Y-%m-%d}. Without a date it counts until nothing of it is left to do."
        )
