"""Workday, the simple way: a custom report that is enabled as a web service (RaaS), one person a row, in JSON or CSV.

A report has no pages, no changes and no count of its own, so the job says how many rows there are at least.
Source: Workday documentation, "Reports-as-a-Service".
"""

import csv
import io
from collections.abc import AsyncIterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlencode

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.contract import Attribute as ContractAttribute
from connectors.errors import SchemaMismatchError, SettingsError
from connectors.http import Answer, Call, HttpSession
from connectors.http_settings import HttpSettings, base_address
from connectors.kit import (
    ACTIVE,
    KEY,
    Asked,
    Attribute,
    Count,
    Kind,
    KitSource,
    Known,
    Opening,
    Page,
    Row,
    Switch,
    System,
    open_http,
    refused,
    table,
)
from connectors.registry import Connector
from connectors.rows import DISABLED_WORDS, ENABLED_WORDS, Enabled, nearest
from connectors.settings import Name, Secret, Settings

ENTRIES = "Report_Entry"
_PLACE = "/customreport2/"


class ReportFormat(StrEnum):
    """Format to request the report in."""

    JSON = "json"
    CSV = "csv"


def _long_form(value: object) -> object:
    return {"column": value} if isinstance(value, str) else value


class WorkdayReportSettings(Settings):
    """A custom report as a source: one person per row."""

    url: Annotated[str, AfterValidator(base_address)]
    """``https://HOST/ccx/service/customreport2/TENANT/OWNER/REPORT``."""
    username: Name
    """The integration system user, with whom the report is shared; the tenant is added. May contain references."""
    password: Secret
    """A reference."""
    key: Name
    """Column that identifies a person for ever."""
    enabled: Annotated[Enabled, BeforeValidator(_long_form, json_schema_input_type=str | Enabled)] | None = None
    """Column that says whether a person is active; without it everybody is."""
    lists: tuple[Name, ...] = ()
    """Columns with possibly several values: Workday sends one value as text and several as a list."""
    format: ReportFormat = ReportFormat.JSON
    parameters: dict[Name, str] = Field(default_factory=dict)
    """The report's prompts and their values."""
    at_least: Annotated[int, Field(ge=1)] = 1
    """Rows that a whole report has at least; fewer prove nothing about people who are not in it."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 1800.0
    """Seconds to wait for the report; Workday takes at most 30 minutes."""

    @model_validator(mode="after")
    def _is_a_report(self) -> Self:
        if _PLACE not in self.url:
            raise ValueError("url must be that of a report: https://HOST/ccx/service/customreport2/TENANT/OWNER/REPORT")
        return self

    def http(self) -> HttpSettings:
        """The same for an HTTP session."""
        tenant = self.url.partition(_PLACE)[2].partition("/")[0]
        name = self.username if "@" in self.username else f"{self.username}@{tenant}"
        return HttpSettings.model_validate(
            {
                "url": self.url,
                "auth": {"basic": {"username": name, "password": self.password}},
                "timeout_s": self.timeout_s,
                "max_answer_mb": 2048,
            }
        )


def _open(settings: WorkdayReportSettings, opening: Opening) -> HttpSession:
    return open_http(settings.http(), opening)


async def _traits(wire: HttpSession, settings: WorkdayReportSettings) -> Known:
    del wire
    lists = table(*(Attribute(name, count=Count.LIST) for name in settings.lists))
    return Known(users=lists, switch=Switch.steps(), settings=settings)


async def _rows(wire: HttpSession, settings: WorkdayReportSettings) -> list[Mapping[str, Any]]:
    """The rows of the report. Raises: ProvisorError."""
    query = urlencode({"format": settings.format.value, **settings.parameters})
    asked = Call("GET", f"?{query}", "read the report")
    answer = await wire.send(asked)
    if answer.status == 404:
        raise SettingsError(
            f"There is no report at {wire.address}, or it is not shared with {settings.username}, or not enabled as a "
            "web service. A report that gets another name or owner has another address."
        )
    if answer.status != 200:
        raise refused(wire, asked, answer)
    rows = _in_csv(answer) if settings.format is ReportFormat.CSV else _in_json(answer)
    needed = [settings.key, *([settings.enabled.column] if settings.enabled is not None else [])]
    names = {name for row in rows for name in row}
    for name in needed:
        if rows and name not in names:
            near = nearest(name, names)
            hint = f"Did you mean {near!r}?" if near else f"Its columns: {', '.join(sorted(names)[:20])}."
            raise SettingsError(f"The report has no column {name!r}. {hint}")
    return rows


def _in_json(answer: Answer) -> list[Mapping[str, Any]]:
    body = answer.json()
    found = body.get(ENTRIES) if isinstance(body, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(row, Mapping) for row in found):
        raise SchemaMismatchError(f"The report's JSON has no list {ENTRIES}. Is it enabled as a web service?")
    return found


def _in_csv(answer: Answer) -> list[Mapping[str, Any]]:
    text = answer.body.decode("utf-8-sig")
    rows: list[Mapping[str, Any]] = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    if any(None in row or None in row.values() for row in rows):
        raise SchemaMismatchError("A row of the report has more or fewer cells than its header, or it was cut off.")
    return rows


async def _pages(wire: HttpSession, known: Known, asked: Asked) -> AsyncIterator[Page]:
    settings: WorkdayReportSettings = known.settings
    rows = await _rows(wire, settings)
    by_key: dict[str | None, list[Row]] = {}
    for row in rows:
        by_key.setdefault(_text(row.get(settings.key)), []).append(row)
    kept: list[Row] = []
    unreadable: list[tuple[str | None, str]] = [(None, f"A row has no {settings.key}.") for _ in by_key.pop(None, [])]
    for key, copies in by_key.items():
        active = _active(settings, copies[0])
        if any(copy != copies[0] for copy in copies):
            unreadable.append((key, f"{len(copies)} rows have this {settings.key} and differ; none is used."))
        elif active is None:
            unreadable.append((key, "Its column for active people contains neither yes nor no."))
        else:
            values = {name: _value(settings, name, copies[0].get(name)) for name in asked.paths if name != ACTIVE}
            kept.append({KEY: key, ACTIVE: active, **values})
    doubt = ""
    if len(rows) < settings.at_least:
        doubt = f"The report has {len(rows):,} rows and should have at least {settings.at_least:,}."
    yield Page(kept, unreadable=unreadable, doubt=doubt)


def _active(settings: WorkdayReportSettings, row: Row) -> bool | None:
    rule = settings.enabled
    if rule is None:
        return True
    word = (_text(row.get(rule.column)) or "").casefold()
    if rule.values:
        return word in {value.casefold() for value in rule.values} if word else None
    return True if word in ENABLED_WORDS else False if word in DISABLED_WORDS else None


def _value(settings: WorkdayReportSettings, name: str, held: Any) -> Any:
    """Text, or a list where the column may hold several values: by the settings, never by what came."""
    several = held if isinstance(held, list) else [held]
    texts = [text for one in several if (text := _text(one)) is not None]
    if name in settings.lists:
        return texts or None
    return next(iter(texts), None)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, Mapping | list):
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return text or None


async def _check(wire: HttpSession, known: Known) -> str:
    rows = await _rows(wire, known.settings)
    columns = sorted({name for row in rows for name in row})
    return f"The report has {len(rows):,} rows and the columns {', '.join(columns) or 'none'}."


SYSTEM = System("workday-report", WorkdayReportSettings, _open, _traits, _check, _pages, in_flight=1)


class ReportSource(KitSource):
    """A report, which cannot tell its columns without being read."""

    def attributes(self, kind: Kind) -> Mapping[str, ContractAttribute] | None:
        """See :class:`connectors.contract.Source`."""
        return None if kind is Kind.USER else {}


def _open_source(settings: Any, *, folder: Path) -> ReportSource:
    return ReportSource(SYSTEM, settings, folder=folder)


CONNECTOR = Connector(
    name="workday-report",
    title="Workday, a custom report: one person a row",
    source_settings=WorkdayReportSettings,
    open_source=_open_source,
)
