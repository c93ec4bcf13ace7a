"""People of Employee Central: everybody as of today, those who are to come as of their first day.

Pages come from a snapshot of keys that the service keeps for a session, so that none shifts while data change. What
came is compared with the service's own count, before and after.

Source: SAP SuccessFactors HCM Suite OData API, "Server pagination", "Effective-dated entities", "PerPerson".
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

from connectors.errors import GoneError, ProvisorError, RetryableError, SchemaMismatchError
from connectors.http import Answer, Call, HttpSession, Problem, redact
from connectors.kit import ACTIVE, KEY, Asked, Known, Page, Row, refused
from connectors.successfactors.attributes import (
    ALWAYS,
    EMPLOYMENT,
    STATUS,
    PersonPath,
    entries,
    follow,
    nodes,
    plain_value,
    value_of,
)
from connectors.successfactors.settings import Employment, SuccessFactorsSettings

NAMED = 50
"""People that one request names."""
LONGEST_QUERY = 7000
"""Characters; longer ones are refused (HTTP 414)."""
_JOB = "jobInfoNav"
_HOME = ("ST", None)


async def pages(wire: HttpSession, known: Known, asked: Asked) -> AsyncIterator[Page]:
    """Everybody. Raises: FatalError, RetryableError."""
    settings: SuccessFactorsSettings = known.settings
    people = People(wire, settings, asked.paths, datetime.now(UTC).date())
    before = await count(wire)
    coming = await people.coming()
    seen: set[str] = set()
    held: Page | None = None
    async for found, more in people.everybody():
        if held is not None:
            yield held
        held = people.page(found, coming, more)
        seen |= {str(person.get("personIdExternal")) for person in found}
    after = await count(wire)
    doubt = ""
    if len(seen) < min(before, after):
        doubt = f"SuccessFactors counts {min(before, after):,} people and listed {len(seen):,}."
    assert held is not None  # there is always a first page
    yield Page(held.rows, next="the rest", unreadable=held.unreadable)
    yield people.page([person for key, (_, person) in coming.items() if key not in seen], coming, None, doubt)


async def count(wire: HttpSession) -> int:
    """How many people the service has. Raises: SchemaMismatchError."""
    asked = Call("GET", "/PerPerson/$count", "count the people", headers={"accept": "text/plain"})
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refusal_of(wire, asked, answer)
    try:
        return int(answer.body.decode("utf-8-sig"))
    except ValueError:
        raise SchemaMismatchError("SuccessFactors gave something else than a number of people.") from None


class People:
    """One read, as of one day."""

    def __init__(
        self,
        wire: HttpSession,
        settings: SuccessFactorsSettings,
        paths: Sequence[str],
        today: date,
        *,
        also: Sequence[str] = (),
    ) -> None:
        """``paths``: names of attributes; ``also``: OData paths that are to be in what comes, whatever is wanted."""
        self._wire, self._settings, self._today = wire, settings, today
        self._paths: dict[str, PersonPath] = {
            name: settings.catalogue[name] for name in paths if name in settings.catalogue
        }
        expand, select = nodes((*ALWAYS, *also, *(one.path for one in self._paths.values())))
        self._query = f"$format=json&$expand={expand}"
        if len(self._query) + len(select) < LONGEST_QUERY:
            self._query += f"&$select={select}"

    async def everybody(self) -> AsyncIterator[tuple[list[Any], str | None]]:
        """The people of each page, and what the next one is called."""
        first = f"/PerPerson?{self._query}&paging=snapshot&customPageSize={self._settings.page_size}"
        link: str | None = first
        session: dict[str, str] = {}
        while link is not None:
            found, link, session = await self._listed(link, "list the people", session)
            yield found, link

    async def coming(self) -> dict[str, tuple[str, Any]]:
        """People whose first day is to come: by key that day and the person as of it."""
        if self._settings.ahead_days == 0:
            return {}
        until = self._today + timedelta(days=self._settings.ahead_days)
        condition = f"startDate gt {_day(self._today)} and startDate le {_day(until)}"
        link: str | None = (
            f"/EmpEmployment?$format=json&$select=personIdExternal,startDate,userId&$filter={quote(condition)}"
        )
        starts: dict[str, list[str]] = {}
        while link is not None:
            found, link, _ = await self._listed(link, "list who is to come", {})
            for one in found:
                day = str(plain_value(one.get("startDate")) or "")[:10]
                if not self._today.isoformat() < day <= until.isoformat():
                    raise SchemaMismatchError(
                        "SuccessFactors was queried for future hires and returned others as well: it ignores the "
                        "condition. Nothing was written."
                    )
                starts.setdefault(day, []).append(str(one["personIdExternal"]))
        people: dict[str, tuple[str, Any]] = {}
        for day, keys in sorted(starts.items()):
            for person in await self.named(dict.fromkeys(keys), day):
                people.setdefault(str(person["personIdExternal"]), (day, person))
        return people

    async def named(self, keys: Iterable[str], day: str) -> list[Any]:
        """These people as of a day. Raises: SchemaMismatchError where others come as well."""
        wanted, people = list(keys), []
        for start in range(0, len(wanted), NAMED):
            some = wanted[start : start + NAMED]
            names = ",".join("'" + key.replace("'", "''") + "'" for key in some)
            link: str | None = (
                f"/PerPerson?{self._query}&asOfDate={day}&$filter={quote(f'personIdExternal in {names}')}"
            )
            while link is not None:
                found, link, _ = await self._listed(link, "read people as of a day", {})
                if any(str(one.get("personIdExternal")) not in some for one in found):
                    raise SchemaMismatchError(
                        "SuccessFactors was queried for some people and returned others as well: it ignores the "
                        "condition. "
                        "Nothing was written."
                    )
                people += found
        return people

    async def _listed(
        self, link: str, purpose: str, session: Mapping[str, str]
    ) -> tuple[list[Any], str | None, dict[str, str]]:
        """Entries of a page, the link to the next, and what keeps the session. Raises: ProvisorError."""
        asked = Call("GET", link, purpose, headers=session or None)
        answer = await self._wire.send(asked)
        if answer.status != 200:
            if session and answer.status in (400, 404, 410):
                raise RetryableError(
                    "SuccessFactors no longer knows the snapshot whose pages were being read; the next cycle begins "
                    "another one."
                )
            raise refusal_of(self._wire, asked, answer)
        try:
            body = answer.json()["d"]
            found = body["results"]
        except (KeyError, TypeError):
            raise SchemaMismatchError(
                f"SuccessFactors was asked to {purpose} and gave JSON that is no list of entries."
            ) from None
        return found, self._below(body.get("__next")), {**session, **_session(answer)}

    def _below(self, link: str | None) -> str | None:
        """A link without the base address. Raises: SchemaMismatchError where it leads elsewhere, with our token."""
        if link is None:
            return None
        base = self._wire.address
        if not link.startswith(base + "/"):
            raise SchemaMismatchError(f"A page of {base} leads to another address; it was not followed.")
        return link[len(base) :]

    # -- rows ----------------------------------------------------------------------------------------------------------

    def page(
        self, people: Iterable[Any], coming: Mapping[str, tuple[str, Any]], more: str | None, doubt: str = ""
    ) -> Page:
        """People as rows; those who cannot be judged with the reason."""
        rows: list[Row] = []
        unreadable: list[tuple[str | None, str]] = []
        for person in people:
            key = person.get("personIdExternal")
            if not key:
                unreadable.append((None, "A person has no personIdExternal."))
                continue
            active, why = self._judge(person, self._today.isoformat())
            if not active and str(key) in coming:
                day, person = coming[str(key)]
                active, why = self._judge(person, day)
            if active is None:
                unreadable.append((str(key), why))
                continue
            values = {name: value_of(person, one) for name, one in self._paths.items()}
            rows.append({KEY: str(key), ACTIVE: active, **values})
        return Page(rows, next=more, unreadable=unreadable, doubt=doubt)

    def _judge(self, person: Any, day: str) -> tuple[bool | None, str]:
        """Whether a person, read as of a day, is active; None and why not. The one that counts comes first."""
        employments = list(entries(person.get(EMPLOYMENT)))
        if not employments:
            if follow(person, "personEmpTerminationInfoNav/activeEmploymentsCount") in ([0], ["0"]):
                return False, ""
            return None, "SuccessFactors shows no employment of this person: the API user may not see it."
        employments.sort(key=lambda one: (_start(one)[:10] > day, *self._rank(one)))  # what is to come, last
        person[EMPLOYMENT] = {"results": employments}
        chosen = employments[0]
        code = self._code(chosen)
        status = self._settings.status
        if code in status.enabled:
            return True, ""
        if code in status.disabled:
            return False, ""
        if code is not None:
            return None, f"The employee status {code} is neither in status.enabled nor in status.disabled."
        if _start(chosen) > self._today.isoformat():
            return False, ""  # nothing of the job is shown before its first day
        return None, "SuccessFactors does not show the employee status: the API user may not see it."

    def _code(self, employment: Any) -> str | None:
        found = follow(employment, STATUS.partition("/")[2] + "/externalCode")
        return str(found[0]) if found else None

    def _rank(self, employment: Any) -> tuple[Any, ...]:
        """Among those that have begun: the lower, the sooner it counts."""
        active = self._code(employment) in self._settings.status.enabled
        home = employment.get("assignmentClass") in _HOME
        start = _start(employment)
        latest = tuple(-ord(letter) for letter in start)
        match self._settings.employment:
            case Employment.LATEST:
                return (latest,)
            case Employment.HOME:
                return (not home, not active, latest)
            case Employment.HOST:
                return (home, not active, latest)
            case Employment.ACTIVE:
                return (False, not home, start) if active else (True, latest)


def _start(employment: Any) -> str:
    return str(plain_value(employment.get("startDate")) or "")


def _day(day: date) -> str:
    return f"datetime'{day.isoformat()}T00:00:00'"


def _session(answer: Answer) -> dict[str, str]:
    """What the next page is to be asked for with, so that it comes from the same snapshot."""
    cookies = [one.partition(";")[0] for one in answer.headers.get_list("set-cookie")]
    token = answer.headers.get("x-csrf-token")
    return ({"cookie": "; ".join(cookies)} if cookies else {}) | ({"x-csrf-token": token} if token else {})


def refusal_of(wire: HttpSession, asked: Call, answer: Answer) -> ProvisorError:
    """The error for a read that was refused, with what the service says."""
    try:
        error = answer.json()["error"]
        problem = Problem(str(error.get("code", "")), redact(str((error.get("message") or {}).get("value", ""))))
    except (ProvisorError, KeyError, TypeError, AttributeError):
        problem = Problem()
    found = refused(wire, asked, answer, problem)
    return SchemaMismatchError(str(found)) if isinstance(found, GoneError) else found
