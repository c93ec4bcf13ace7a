"""What changed in a service since a moment, by ``meta.lastModified``; None wherever that cannot be trusted.

A service that cannot filter, ignores the filter, or gives entries without the moment of their last change is read
whole. Who is gone does not show in a delta; that nobody is shows when the numbers add up (``tasks.snapshots``).

Source: RFC 7643 section 3.1 (meta), RFC 7644 section 3.4.2.2 (filtering).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd

from connectors.contract import Kind, Wanted
from connectors.errors import InvalidValueError, RejectedError, SchemaMismatchError, SettingsError
from connectors.scim.service import Content, ScimService

LAST_MODIFIED = "meta.lastModified"


@dataclass(frozen=True, slots=True)
class Delta:
    """Entries that changed."""

    content: Content
    """With the memberships of the groups in it only."""
    counts: Mapping[Kind, int]
    """How many entries of each kind there are."""


def with_moments(wanted: Wanted) -> Wanted:
    """What to read, with the moment of each entry's last change."""
    groups = None if wanted.groups is None else (*wanted.groups, LAST_MODIFIED)
    return Wanted((*wanted.users, LAST_MODIFIED), groups)


def watermark_of(content: Content, wanted: Wanted, *, before: Mapping[Kind, str] | None = None) -> str | None:
    """The moment of the last change of each kind, as text; None where an entry does not say when it changed."""
    found: dict[str, str] = {}
    for kind in _kinds(wanted):
        frame = content.users if kind is Kind.USER else content.groups
        moments = _moments(frame)
        if moments is None:
            return None
        earlier = before.get(kind) if before is not None else None
        if len(moments) and (earlier is None or moments.max() >= _moment(earlier)):
            found[kind.value] = str(frame[LAST_MODIFIED].iloc[int(moments.to_numpy().argmax())])
        elif earlier is not None:
            found[kind.value] = earlier
    return json.dumps(found, sort_keys=True)


def marks_of(watermark: str) -> dict[Kind, str]:
    """The moments in a watermark by kind. Raises: SettingsError when it is not one of ours."""
    try:
        return {Kind(kind): str(moment) for kind, moment in json.loads(watermark).items()}
    except (ValueError, AttributeError):
        raise SettingsError(
            "The watermark was not made by the scim connector. Restart the job with the scope watermark."
        ) from None


async def read_delta(
    service: ScimService,
    wanted: Wanted,
    marks: Mapping[Kind, str],
    progress: Callable[[int], None],
    overlap: timedelta = timedelta(),
) -> Delta | None:
    """Entries changed since the marks; None where the service cannot be asked, or its answer is not believed.

    ``overlap``: how far before the marks they are asked for.

    Raises: FatalError, RetryableError.
    """
    if any(kind not in marks for kind in _kinds(wanted)) or not (await service.profile()).filters.supported:
        return None
    begins = {kind: _moment(marks[kind]) - overlap for kind in _kinds(wanted)}
    try:
        content = await service.read(
            with_moments(wanted), progress, filters={kind: _since(begin) for kind, begin in begins.items()}
        )
        counts = {kind: await service.count(kind) for kind in _kinds(wanted)}
    except (InvalidValueError, RejectedError, SchemaMismatchError):
        return None
    known = {kind: count for kind, count in counts.items() if count is not None}
    if content.doubts or content.unreadable or len(known) < len(counts):
        return None
    for kind in _kinds(wanted):
        moments = _moments(content.users if kind is Kind.USER else content.groups)
        if moments is None or (moments < begins[kind]).any():
            return None
    return Delta(content, known)


def _kinds(wanted: Wanted) -> tuple[Kind, ...]:
    return (Kind.USER,) if wanted.groups is None else (Kind.USER, Kind.GROUP)


def _since(moment: pd.Timestamp) -> str:
    return f'{LAST_MODIFIED} ge "{moment.isoformat().replace("+00:00", "Z")}"'


def _moment(text: str) -> pd.Timestamp:
    return pd.Timestamp(datetime.fromisoformat(text)).tz_convert(UTC)


def _moments(frame: pd.DataFrame) -> "pd.Series[pd.Timestamp] | None":
    """When each entry changed; None where one does not say, or not as the standard has it."""
    texts = frame[LAST_MODIFIED]
    moments = pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
    return None if moments.isna().any() else moments
