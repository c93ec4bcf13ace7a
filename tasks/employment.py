"""Dates that act by themselves: whose first day has not come, whose last hour has passed, what comes next. Pure.

Nothing has to change in the source for a moment to come: every cycle asks again, in each person's own time zone. A date
that cannot be read holds the entry with its value; nobody gets or loses an account by it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from connectors.contract import Kind, Snapshot, Unreadable
from tasks.expressions import Context, compile_expression
from tasks.job import Job
from tasks.job.employment import Joiners, Leavers, is_zone
from tasks.membership import Mask, is_among
from tasks.scope import spelled

HORIZON = timedelta(days=31)
"""How far ahead moments that will come are told."""

_FIRST_PLACE, _LAST_PLACE = "Etc/GMT-14", "Etc/GMT+12"
"""The zones where every hour comes first and last: what has passed in the last one has passed everywhere."""

_DAY = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)(?:[T ]00:00(?::00(?:\.0+)?)?)?(?:Z|[+-]\d\d:?\d\d)?")
"""A date, also one with midnight or with a zone behind it, as HR systems write dates."""
_RENDERED = re.compile(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:\d\d [AP]M")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d\S*")


@dataclass(frozen=True, slots=True)
class _Acting:
    """One moment for each person. Both Series have the index of the frame."""

    moments: "pd.Series[pd.Timestamp]"
    """UTC; NaT where the person has no such date."""
    days: "pd.Series[pd.Timestamp]"
    """The calendar day on the clock of the person's place, whatever hour acts; NaT where there is no moment."""
    zones: "pd.Series[str]"
    failed: dict[str, str]
    """Key to the sentence that says what could not be read."""
    open_: Mask
    """Rows whose date or time zone cannot be told now, because a source is incomplete."""
    strange: tuple[str, ...] = ()
    """Names that are given as time zones and are none."""


def with_dates(job: Job, source: Snapshot, context: Context) -> Snapshot:
    """The source as it acts at ``context.now``: people whose last hour has passed are left, unless a later first day
    has come; those whose first day has not come wait; those whose dates cannot be read are held.

    Where a source is incomplete, so that a time zone cannot be told now, a last hour has passed when it has passed
    everywhere, and a first day has come when it has come anywhere. Where a date cannot be told, nothing has passed.
    """
    if job.joiners is None and job.leavers is None:
        return source
    users = source.users
    now = pd.Timestamp(context.now)
    joining = _acting(job.joiners, source, context)
    leaving = _acting(job.leavers, source, context)
    # A last day before the first one is that of an earlier employment: the person works until it, and again from the
    # first day. Days are compared, each in its own place: the account may be due a week before the first day, and the
    # last hour of the only day may come before another zone's.
    returns = (leaving.days < joining.days).to_numpy(dtype=bool)
    # Where the account for the next employment is due before the last one ends, neither moment changes anything.
    seamless = returns & (joining.moments <= leaving.moments).to_numpy(dtype=bool)
    begins, ends = (acting.moments.where(~seamless) for acting in (joining, leaving))
    begun, ended = ((moments <= now).to_numpy(dtype=bool) for moments in (begins, ends))
    left = ended & ~(returns & begun)
    waits = (begins > now).to_numpy(dtype=bool) & ~returns & ~left
    # Who has left needs no other date; who has not is judged by both.
    failed = {
        key: why for key, why in {**joining.failed, **leaving.failed}.items() if not left[users.index.get_loc(key)]
    }
    held = users.index.isin(list(failed))
    gone = _told("left", ends, leaving.zones, left)
    gone[users.index[left & leaving.open_]] += " at the latest; the time zone cannot be told now"
    told = ~held & ~joining.open_ & ~leaving.open_
    return replace(
        source,
        users=users.loc[~held] if held.any() else users,
        unreadable=(*source.unreadable, *(_unreadable(key, why) for key, why in failed.items())),
        disabled=source.disabled | frozenset(users.index[left]),
        left=gone,
        waiting=_told("not due yet: begins", begins, joining.zones, waits & told),
        coming=_coming(replace(joining, moments=begins), replace(leaving, moments=ends), told & (~left | returns), now),
        remarks=(*source.remarks, *_remarks(job.joiners, joining), *_remarks(job.leavers, leaving)),
    )


def _unreadable(key: str, why: str) -> Unreadable:
    return Unreadable(Kind.USER, key, f"user {key}", why)


def _acting(rules: Joiners | Leavers | None, source: Snapshot, context: Context) -> _Acting:
    frame = source.users
    nothing = pd.Series(pd.NaT, index=frame.index, dtype="datetime64[us, UTC]")
    if rules is None:
        zones = pd.Series("UTC", index=frame.index, dtype="str")
        return _Acting(nothing, nothing, zones, {}, np.zeros(len(frame), dtype=bool))
    section = "joiners" if isinstance(rules, Joiners) else "leavers"
    undated, unplaced = _untold(rules.date, source), np.zeros(len(frame), dtype=bool)
    if not is_zone(rules.timezone):
        unplaced = _untold(rules.timezone, source)
    dates = compile_expression(rules.date).column(frame.loc[~undated], context)
    failed = {key: f"{section}.date cannot be evaluated: {why}" for key, why in dates.failed.items()}
    texts = dates.values.astype("str").reindex(frame.index)
    zones, strange = _zones(rules, frame.loc[~unplaced], context)
    zones = zones.reindex(frame.index).where(~unplaced, _FIRST_PLACE if section == "joiners" else _LAST_PLACE)
    offset = rules.at - (rules.before or timedelta()) if isinstance(rules, Joiners) else rules.at
    pairs = pd.DataFrame({"text": texts, "zone": zones}, index=frame.index)
    pairs = pairs[pairs["text"].notna() & (pairs["text"] != "")]
    read = {(text, zone): _moment(text, zone, offset) for text, zone in pairs.drop_duplicates().itertuples(index=False)}
    found = [read[pair] for pair in zip(pairs["text"], pairs["zone"], strict=True)]
    moments, days = nothing.copy(), nothing.copy()
    acting, calendar = [one and one.moment for one in found], [one and one.day for one in found]
    for column, values in ((moments, acting), (days, calendar)):
        column[pairs.index] = pd.to_datetime(pd.Series(values, index=pairs.index), utc=True).astype(nothing.dtype)
    for key, text in pairs["text"][[one is None for one in found]].items():
        failed[str(key)] = (
            f'{section}.date is "{text}", which is not a date like 2026-03-31: give its format, as in '
            'FormatDateTime([hired], , "dd.MM.yyyy", "yyyy-MM-dd").'
        )
    return _Acting(moments, days, zones, failed, undated | unplaced, strange)


def _untold(text: str, source: Snapshot) -> Mask:
    """Rows for which the expression looks at an attribute that is unknown now."""
    untold = np.zeros(len(source.users), dtype=bool)
    for attribute in compile_expression(text).attributes & source.unknown.keys():
        untold |= is_among(source.users.index, source.unknown[attribute])
    return untold


def _zones(rules: Joiners | Leavers, frame: pd.DataFrame, context: Context) -> "tuple[pd.Series[str], tuple[str, ...]]":
    """The name of each person's time zone, the fallback for those whose source names none; and names that are none."""
    if is_zone(rules.timezone):
        return pd.Series(rules.timezone, index=frame.index, dtype="str"), ()
    named = compile_expression(rules.timezone).column(frame, context).values.astype("str")
    known = {name: name for name in named.dropna().unique() if is_zone(name)}
    strange = tuple(sorted(name for name in named.dropna().unique() if name and name not in known))
    zones = [known.get(name, rules.fallback) for name in named]
    return pd.Series(zones, index=frame.index, dtype="str"), strange


def _remarks(rules: Joiners | Leavers | None, acting: _Acting) -> tuple[str, ...]:
    """What people should know of the time zones."""
    if rules is None or not acting.strange:
        return ()
    section = "joiners" if isinstance(rules, Joiners) else "leavers"
    names = ", ".join(f'"{name}"' for name in acting.strange[:5])
    more = f" and {len(acting.strange) - 5:,} more" if len(acting.strange) > 5 else ""
    return (
        f"{section}.timezone gives {names}{more}, which is no time zone like Europe/Berlin: the dates of these people "
        f"act in {rules.fallback}. Correct the source, or translate its names with Switch.",
    )


@dataclass(frozen=True, slots=True)
class _Date:
    """What one date means at one place."""

    moment: datetime
    """When it acts, UTC."""
    day: datetime
    """Its calendar day, as midnight in UTC."""


def _moment(text: str, zone: str, offset: timedelta) -> _Date | None:
    """When a date acts; None where the text is no date. One with a time of its own acts at that."""
    place = _place(zone)
    if match := _DAY.fullmatch(text.strip()):
        try:
            return _on_the_clock(date(*map(int, match.groups())), offset, place)
        except ValueError:
            return None
    if _RENDERED.fullmatch(text.strip()):  # what CDate and DateFromNum give
        moment = datetime.strptime(text.strip(), "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC)
        return _at(moment, place) if moment.time() != time() else _on_the_clock(moment.date(), offset, place)
    if not _MOMENT.fullmatch(text.strip()):
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return _at(moment if moment.tzinfo is not None else moment.replace(tzinfo=place), place)


_EARLIEST, _LATEST = datetime(1, 1, 2, 12, tzinfo=UTC), datetime(9999, 12, 30, 12, tzinfo=UTC)
"""What is told on every clock. Dates beyond it are how HR systems write "always" and "never", as 9999-12-31."""


def _at(moment: datetime, place: ZoneInfo) -> _Date:
    try:
        return _Date(_told_anywhere(moment.astimezone(UTC)), _midnight(moment.astimezone(place).date()))
    except OverflowError:
        return _Date(_end_of_time(moment.date()), _midnight(moment.date()))


def _on_the_clock(day: date, offset: timedelta, place: ZoneInfo) -> _Date:
    """A time of a day, which may be days away, on the clock of a place: days of 23 and 25 hours included."""
    days, rest = divmod(offset, timedelta(days=1))
    try:
        midnight = datetime.combine(day + timedelta(days=days), time())
        moment = _told_anywhere((midnight + rest).replace(tzinfo=place).astimezone(UTC))
    except OverflowError:
        moment = _end_of_time(day)
    return _Date(moment, _midnight(day))


def _told_anywhere(moment: datetime) -> datetime:
    return min(max(moment, _EARLIEST), _LATEST)


def _end_of_time(day: date) -> datetime:
    """A moment beyond the calendar: the end of it that is nearer."""
    return _EARLIEST if day.year < 5000 else _LATEST


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)


@lru_cache(maxsize=1024)
def _place(zone: str) -> ZoneInfo:
    return ZoneInfo(zone)


def _told(
    what: str, moments: "pd.Series[pd.Timestamp]", zones: "pd.Series[str]", chosen: np.ndarray
) -> "pd.Series[str]":
    """A sentence for each chosen person. Index: key."""
    at = np.flatnonzero(chosen)
    keys = moments.index[at]
    sentences = [
        f"{what} {spelled(moment, zone)}" for moment, zone in zip(moments.iloc[at], zones.iloc[at], strict=True)
    ]
    return pd.Series(sentences, index=keys, dtype="str")


def _coming(joining: _Acting, leaving: _Acting, alike: np.ndarray, now: pd.Timestamp) -> pd.DataFrame:
    """What will come within the horizon, the earliest first. Columns: key, what, moment (UTC), zone."""
    parts: Sequence[tuple[str, _Acting]] = (("begins", joining), ("leaves", leaving))
    frames = []
    for what, acting in parts:
        at = np.flatnonzero(alike & acting.moments.between(now, now + HORIZON, inclusive="right").to_numpy(dtype=bool))
        frames.append(
            pd.DataFrame(
                {
                    "key": pd.Series(acting.moments.index[at], dtype="str"),
                    "what": pd.Series(what, index=range(len(at)), dtype="str"),
                    "moment": acting.moments.iloc[at].array,
                    "zone": acting.zones.iloc[at].array,
                }
            )
        )
    return pd.concat(frames).sort_values(["moment", "key", "what"], ignore_index=True)
