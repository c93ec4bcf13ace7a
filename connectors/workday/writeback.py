"""Writing back to Workday: work mail address, work phones and user name of workers who are there already.

Workday stays the system that says who there is. Nobody is created, switched off or deleted here; a change that Workday
answers with yes is looked at afterwards, since an event may still wait for somebody's approval there.

Source: Workday Web Services, Human_Resources, "Change_Work_Contact_Information", "Update_Workday_Account".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from connectors.contract import Action, Attribute, Change, Kind, Pace, Reach, Sameness, Write
from connectors.errors import ErrorCode, RejectedError
from connectors.http import Effect as CallEffect
from connectors.kit import (
    KEY,
    Done,
    Effect,
    Held,
    KitTarget,
    Known,
    Limits,
    Opening,
    Page,
    Refused,
    Sought,
    Step,
    System,
    Trust,
    Verdict,
    read_only,
)
from connectors.workday.asking import REFERENCES, Question, ids_of, key_of, page_in, workers_request
from connectors.workday.attributes import HIRED, compile_paths, response_group
from connectors.workday.contact import Contact, ContactEvent, UnknownCodeError, changed, contact_of, event_request
from connectors.workday.reading import pages, server_time
from connectors.workday.settings import WorkdayTargetSettings
from connectors.workday.soap import WorkdayWire, element
from connectors.workday.system import PER_S, check_tenant

MAIL, PHONES, USER = "EmailAddress", ("Telephone", "Mobile"), "UserID"
"""The attributes that can be written."""
CONTACT, PERSON, DAY = "provisor:contact", "provisor:person", "provisor:day"
"""In rows that were looked for: the contact data, the id by which the person is known, and the day they are as of."""
_BY = {
    KEY: ("Employee_ID", "Contingent_Worker_ID"),
    "WorkerID": ("Employee_ID", "Contingent_Worker_ID"),
    "EmployeeID": ("Employee_ID",),
    "ContingentWorkerID": ("Contingent_Worker_ID",),
}
"""What workers can be looked for by, and the types of ids that this may be."""


@dataclass(frozen=True, slots=True)
class UserNameChange:
    """A request that gives a worker's account another user name."""

    person: tuple[str, str]
    name: str


class WritebackWire(WorkdayWire):
    """A line that sends changes as well."""

    async def send(self, request: Any) -> Any:
        """A change, or a body as :meth:`WorkdayWire.send` takes it. Raises: RejectedError, UnknownOutcomeError too."""
        settings: WorkdayTargetSettings = self._settings  # type: ignore[assignment]
        match request:
            case ContactEvent():
                try:
                    body = event_request(request, settings.version, settings.phone_codes)
                except UnknownCodeError as error:
                    raise RejectedError(f"{error} Add it, like 49: DEU_49.") from None
                return await self.ask("change the work contact data", body, effect=CallEffect.ONCE)
            case UserNameChange():
                body = _user_name_request(request, settings.version)
                return await self.ask("change the user name", body, effect=CallEffect.REPEATABLE)
        return await super().send(request)


def _user_name_request(asked: UserNameChange, version: str) -> Any:
    kind, number = asked.person
    id_ = element("ID", text=number, System_ID="WD-EMPLID")
    who = "Employee_Reference" if kind == "Employee_ID" else "Contingent_Worker_Reference"
    return element(
        "Workday_Account_for_Worker_Update",
        element("Worker_Reference", element(who, element("Integration_ID_Reference", id_))),
        element("Workday_Account_for_Worker_Data", element("User_Name", text=asked.name)),
        version=version,
    )


def _open(settings: WorkdayTargetSettings, opening: Opening) -> WritebackWire:
    return WritebackWire(settings, opening)


async def _traits(wire: WritebackWire, settings: WorkdayTargetSettings) -> Known:
    del wire
    paths = settings.catalogue
    compile_paths(paths)
    response_group({name: paths[name] for name in settings.attributes})
    users = {path: replace(one, searchable=path in _BY) for path, one in read_only(paths).items()}
    # Nobody is created, so that it is never written; a job says all the same how it is worked out.
    users["WorkerID"] = Attribute("WorkerID", write=Write.ON_CREATE, unique=Reach.SYSTEM, same=Sameness.EXACT)
    users[MAIL] = Attribute(MAIL, searchable=False, fits=r"[^@\s]+@[^@\s]+", fits_told="accepts a mail address")
    for path in PHONES:
        users[path] = Attribute(
            path,
            same=Sameness.EXACT,
            searchable=False,
            fits=r"\+[0-9]{5,15}",
            fits_told="takes a phone number like +491701234567, without blanks",
        )
    users[USER] = Attribute(
        USER, unique=Reach.SYSTEM, searchable=False, fits="[^;:]+", fits_told="accepts a user name without ; and :"
    )
    never = (Action.CREATE, Action.DELETE, Action.DISABLE, Action.ENABLE)
    return Known(
        users=users,
        cannot=frozenset((Kind.USER, action) for action in never),
        limits=Limits(find=REFERENCES, fetch=REFERENCES, page=settings.page_size, trust=Trust.EVERY),
        settings=settings,
    )


# Looking for workers


async def _look(wire: WritebackWire, known: Known, sought: Sought) -> Page:
    """Workers by their number: as of today, and those who are to come as of their first day."""
    settings: WorkdayTargetSettings = known.settings
    now = await server_time(wire, settings)
    today, until = now.date(), now.date() + timedelta(days=settings.ahead_days)
    looking = _Looking(wire, settings, sought, now)
    found = await looking.as_of(today, sought.values)
    missing = tuple(value for value in sought.values if not any(row["Active"] for row in found.get(value, ())))
    if missing and settings.ahead_days:
        coming: dict[date, list[str]] = {}
        for value, rows in (await looking.as_of(until, missing)).items():
            for row in rows:
                if row[HIRED] and today < (first := date.fromisoformat(row[HIRED])) <= until:
                    coming.setdefault(first, []).append(value)
        for first, values in sorted(coming.items()):
            for value, rows in (await looking.as_of(first, values)).items():
                if active := [row for row in rows if row["Active"]]:
                    found[value] = active
    return Page([row for rows in found.values() for row in _that_count(rows)])


def _that_count(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of the profiles of one person the active one; where several are, nobody can say which is meant."""
    active = [row for row in rows if row["Active"]]
    return active if len(active) == 1 else [] if active else [max(rows, key=lambda row: str(row[HIRED] or ""))]


class _Looking:
    """Reads workers by their numbers, as known at one moment."""

    def __init__(self, wire: WritebackWire, settings: WorkdayTargetSettings, sought: Sought, now: datetime) -> None:
        self._wire, self._settings, self._sought, self._now = wire, settings, sought, now
        wanted = dict.fromkeys(("Active", HIRED, "WorkerID", MAIL, *sought.paths))
        paths = settings.catalogue
        self._paths = {path: paths[path] for path in wanted if path in paths and paths[path].form != "reference"}
        self._reader, self._group = compile_paths(self._paths), response_group(self._paths)

    async def as_of(self, day: date, values: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Profiles by the value that they were looked for with."""
        found: dict[str, list[dict[str, Any]]] = {}
        for kind in _BY[self._sought.path]:
            question = Question(
                self._settings.version,
                self._settings.population,
                self._group,
                self._now.astimezone(UTC),
                day,
                len(values),
                wids=tuple(values),
                id_type=kind,
            )
            answered = page_in(await self._wire.ask("look for workers", workers_request(question, 1)))
            for worker in answered.workers:
                ids = ids_of(worker)
                key, number = key_of(worker, ids, self._settings.key), ids.get(kind)
                if key is None or number is None:
                    continue
                row = dict(zip(self._paths, self._reader.values(worker), strict=True))
                row |= {KEY: key, CONTACT: contact_of(worker), PERSON: (kind, number), DAY: day}
                found.setdefault(number, []).append(row)
        return found


# Writing


def steps(known: Known, change: Change, held: Held | None) -> Sequence[Step] | Done | Refused:
    """One event for all of the contact data, and a request of its own for the user name."""
    assert held is not None  # every update needs its row
    settings: WorkdayTargetSettings = known.settings
    contact: Contact = held.row[CONTACT]
    person, day = held.row[PERSON], held.row[DAY]
    serial = held.key
    made = []
    values = change.attributes
    phones = {settings.devices[path]: _text(values[path]) for path in PHONES if path in values}
    if MAIL in values or phones:
        sent = changed(contact, _text(values.get(MAIL)), phones, with_mail=MAIL in values)
        paths = {path for path in (MAIL, *PHONES) if path in values}
        if sent.mails or sent.phones:
            made.append(Step(ContactEvent(person, day, sent), paths, Effect.ONCE, serial=serial))
    if USER in values:
        name = _text(values[USER])
        if name is None:
            return Refused(ErrorCode.MISSING_VALUES, USER, "A Workday account cannot be without a user name.")
        made.append(Step(UserNameChange(person, name), {USER}, serial=serial))
    return made or Done()


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def verdict(known: Known, step: Step, answer: Any) -> Verdict:
    """Workday has taken it; whether it has also done it is looked at. What it refuses never comes here."""
    del known, step, answer
    return Done()


SYSTEM = System(
    name="workday",
    settings=WorkdayTargetSettings,
    open=_open,
    traits=_traits,
    check=check_tenant,
    pages=pages,
    look=_look,
    steps=steps,
    verdict=verdict,
    needs_row=frozenset({Action.UPDATE}),
    in_flight=4,
    per_s=PER_S,
)


def open_target(settings: WorkdayTargetSettings, *, folder: Path, pace: Pace, per_s: float | None = PER_S) -> KitTarget:
    """The tenant as a target. ``per_s``: requests a second at most."""
    return KitTarget(replace(SYSTEM, per_s=per_s), settings, folder=folder, pace=pace)
