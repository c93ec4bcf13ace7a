"""Requests for workers, and what a page of an answer holds. Pure.

Source: Workday Web Services, Human_Resources, "Get_Workers": elements must come in the schema's order.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from connectors.workday.attributes import NAMESPACE
from connectors.workday.settings import Population
from connectors.workday.soap import element, flag, reference, wd

REFERENCES = 100
"""Workers that one request names."""
_NS = {"wd": NAMESPACE}


@dataclass(frozen=True, slots=True)
class Window:
    """Entries of the transaction log that are wanted: by when they were entered, or when they take effect."""

    start: datetime
    end: datetime
    entered: bool = True


@dataclass(frozen=True, slots=True)
class Question:
    """What every page of one listing is asked for with."""

    version: str
    population: Population
    group: Mapping[str, bool]
    entry: datetime
    """As known to Workday at this moment: fixed, so that pages do not shift."""
    effective: date
    """As it is on this day."""
    count: int
    window: Window | None = None
    wids: tuple[str, ...] = ()
    """Only these workers; those that are not there are left out."""
    id_type: str = "WID"
    """What ``wids`` are: WIDs, or workers' numbers as Employee_ID or Contingent_Worker_ID."""


def workers_request(asked: Question, page: int) -> Any:
    """The body of one request."""
    return element(
        "Get_Workers_Request",
        _references(asked.wids, asked.id_type) if asked.wids else None,
        None if asked.wids else _criteria(asked),
        element(
            "Response_Filter",
            element("As_Of_Effective_Date", text=asked.effective.isoformat()),
            element("As_Of_Entry_DateTime", text=moment(asked.entry)),
            element("Page", text=str(page)),
            element("Count", text=str(asked.count)),
        ),
        element("Response_Group", *(element(name, text=flag(value)) for name, value in asked.group.items())),
        version=asked.version,
    )


def _references(ids: Iterable[str], kind: str) -> Any:
    made = element("Request_References", *(reference("Worker_Reference", kind, one) for one in ids))
    made.set(wd("Skip_Non_Existing_Instances"), flag(True))
    return made


def _criteria(asked: Question) -> Any:
    log = None
    if asked.window is not None:
        kind = "Updated" if asked.window.entered else "Effective"
        log = element(
            "Transaction_Log_Criteria_Data",
            element(
                "Transaction_Date_Range_Data",
                element(f"{kind}_From", text=moment(asked.window.start)),
                element(f"{kind}_Through", text=moment(asked.window.end)),
            ),
        )
    population = asked.population
    return element(
        "Request_Criteria",
        log,
        element("Exclude_Inactive_Workers", text=flag(not population.inactive)),
        element("Exclude_Employees", text=flag(not population.employees)),
        element("Exclude_Contingent_Workers", text=flag(not population.contingent)),
    )


def timestamp_request(version: str) -> Any:
    """The body that asks for Workday's own time."""
    return element("Server_Timestamp_Get", version=version)


def timestamp_in(answer: Any) -> datetime | None:
    """Workday's own time, in UTC."""
    text = next((node.text for node in answer.iter(wd("Server_Timestamp_Data"))), None)
    try:
        found = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo is not None else None


def moment(when: datetime) -> str:
    """A moment as Workday takes it."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def start_of(day: date) -> datetime:
    """Midnight in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def end_of(day: date) -> datetime:
    """The last moment of a day in UTC."""
    return start_of(day) + timedelta(days=1, milliseconds=-1)


@dataclass(frozen=True, slots=True)
class Answered:
    """One page, as it came."""

    workers: Sequence[Any]
    total: int | None
    pages: int | None
    said: int | None
    """Workers that the page says it holds."""
    page: int | None


def page_in(answer: Any) -> Answered:
    """What an answer holds; counts that are missing are None."""
    results = answer.find("wd:Response_Results", _NS)

    def number(name: str) -> int | None:
        text = "" if results is None else (results.findtext(f"wd:{name}", namespaces=_NS) or "")
        try:
            return int(float(text))
        except ValueError:
            return None

    return Answered(
        answer.findall("wd:Response_Data/wd:Worker", _NS),
        number("Total_Results"),
        number("Total_Pages"),
        number("Page_Results"),
        number("Page"),
    )


def ids_of(worker: Any) -> dict[str, str]:
    """The ids of a worker's own reference, by type."""
    return {
        str(one.get(wd("type"))): one.text.strip()
        for one in worker.findall("wd:Worker_Reference/wd:ID", _NS)
        if one.text and one.text.strip()
    }


def key_of(worker: Any, ids: Mapping[str, str], path: str) -> str | None:
    """The worker's key: ``WorkerID`` or ``UniversalID``. A reference that came alone holds it too."""
    if path == "UniversalID":
        text = worker.findtext("wd:Worker_Data/wd:Universal_ID", namespaces=_NS)
        other = worker.find("wd:Universal_Identifier_Reference/wd:ID[@wd:type='Universal_Identifier_ID']", _NS)
        return (text or "").strip() or ("" if other is None else (other.text or "").strip()) or None
    text = worker.findtext("wd:Worker_Data/wd:Worker_ID", namespaces=_NS)
    return (text or "").strip() or ids.get("Employee_ID") or ids.get("Contingent_Worker_ID")
