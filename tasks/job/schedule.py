"""When cycles start by themselves, and when they do not."""

from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

from tasks.job.section import Section, Text
from tasks.job.values import Duration, cron_problem, time_of_day, time_zone_problem


class Day(StrEnum):
    """A day of the week."""

    MONDAY = "mon"
    TUESDAY = "tue"
    WEDNESDAY = "wed"
    THURSDAY = "thu"
    FRIDAY = "fri"
    SATURDAY = "sat"
    SUNDAY = "sun"


TimeOfDay = Annotated[time, BeforeValidator(time_of_day), WithJsonSchema({"type": "string", "examples": ["22:00"]})]


class Blackout(Section):
    """A time of the day in which no cycle starts by itself; one that ends before it begins lasts over midnight."""

    model_config = ConfigDict(validate_by_alias=True, validate_by_name=True)

    days: tuple[Day, ...] = tuple(Day)
    """Days on which it begins: ``[mon, tue]``. Without it, every day."""
    begin: Annotated[TimeOfDay, Field(alias="from")]
    """When it begins, in the schedule's time zone: ``22:00``."""
    end: Annotated[TimeOfDay, Field(alias="to")]
    """When it ends."""

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.begin == self.end:
            raise ValueError("A blackout that begins and ends at the same time says nothing: give from and to.")
        return self

    def covers(self, moment: datetime) -> bool:
        """Whether a moment, in the schedule's time zone, lies in it."""
        days, at = list(Day), moment.time()
        today = days[moment.weekday()] in self.days
        if self.begin < self.end:
            return today and self.begin <= at < self.end
        return (today and at >= self.begin) or (days[moment.weekday() - 1] in self.days and at < self.end)

    def __str__(self) -> str:
        days = "" if set(self.days) == set(Day) else f" on {', '.join(day.name.capitalize() for day in self.days)}"
        return f"{self.begin:%H:%M} to {self.end:%H:%M}{days}"


CATCH_UP = timedelta(hours=1)
"""How often a job runs by itself that only says after which others: dates, retries and a start that was missed."""


def _names(value: Any) -> Any:
    """One name may stand without a list."""
    return (value,) if isinstance(value, str) else value


class Schedule(Section):
    """When cycles start automatically: at an interval (``every``), by ``cron``, or ``after`` other jobs."""

    after: Annotated[tuple[Text, ...], BeforeValidator(_names, json_schema_input_type=Text | tuple[Text, ...])] = ()
    """Jobs in the same folder: a cycle starts when one of them has changed something. Without ``every`` or ``cron``, a
    cycle also starts every hour, for dates and retries."""
    every: Duration | None = None
    """Interval between starts: ``20m``."""
    cron: Text | None = None
    """Five cron fields: ``0 6 * * 1-5``."""
    timezone: str = "UTC"
    """IANA time zone of the cron fields and blackouts: ``Europe/Berlin``."""
    blackout: tuple[Blackout, ...] = ()
    """When no cycle starts automatically: ``{days: [mon, fri], from: "22:00", to: "06:00"}``."""

    @field_validator("cron")
    @classmethod
    def _cron_is_valid(cls, text: str | None) -> str | None:
        if text is not None and (problem := cron_problem(text)):
            raise ValueError(problem)
        return text

    @field_validator("timezone")
    @classmethod
    def _timezone_exists(cls, name: str) -> str:
        if problem := time_zone_problem(name):
            raise ValueError(problem)
        return name

    @model_validator(mode="after")
    def _one_rhythm(self) -> Self:
        if self.every is not None and self.cron is not None:
            raise ValueError("Give either every, like 20m, or cron, like 0 6 * * 1-5, not both.")
        if self.every is None and self.cron is None and not self.after:
            raise ValueError("Give every, like 20m, or cron, like 0 6 * * 1-5, or after with the name of a job.")
        if len(set(self.after)) < len(self.after):
            raise ValueError("after names a job twice.")
        return self

    @property
    def rhythm(self) -> timedelta | None:
        """Time between two starts that come by themselves; None where cron says when."""
        return CATCH_UP if self.every is None and self.cron is None else self.every

    def blackout_at(self, moment: datetime) -> Blackout | None:
        """The blackout in which a moment (aware) lies, if there is one."""
        there = moment.astimezone(ZoneInfo(self.timezone))
        return next((one for one in self.blackout if one.covers(there)), None)
