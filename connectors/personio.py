"""Personio, API v2: persons by pages, and the employments of each.

Source: Personio developer hub, "API v2: persons", "employments", "authentication".
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import AfterValidator

from connectors.errors import SchemaMismatchError
from connectors.http import HttpSession
from connectors.http_settings import base_address
from connectors.json_people import PeopleSettings, fields_of, list_in, nobody_has, open_people, page_of, people_traits
from connectors.kit import Asked, Known, Opening, Page, System, connector, read_json
from connectors.settings import Name, Secret

LARGEST_PAGE = 50
_EMPLOYMENT = "employment"
CATALOGUE = fields_of(
    {
        "email": "email",
        "firstName": "first_name",
        "lastName": "last_name",
        "preferredName": "preferred_name",
        "gender": "gender",
        "status": "status",
        "title": f"{_EMPLOYMENT}.position.title",
        "employmentStatus": f"{_EMPLOYMENT}.status",
        "employmentType": f"{_EMPLOYMENT}.type",
        "department": f"{_EMPLOYMENT}.units.department",
        "team": f"{_EMPLOYMENT}.units.team",
        "office": f"{_EMPLOYMENT}.office.id",
        "legalEntity": f"{_EMPLOYMENT}.legal_entity.id",
    },
    {
        "startDate": f"{_EMPLOYMENT}.employment_start_date",
        "endDate": f"{_EMPLOYMENT}.employment_end_date",
        "contractEndDate": f"{_EMPLOYMENT}.contract_end_date",
        "terminationDate": f"{_EMPLOYMENT}.termination.termination_date",
        "lastWorkingDay": f"{_EMPLOYMENT}.termination.last_working_day",
    },
    {"manager": f"{_EMPLOYMENT}.supervisor.id"},
)
"""Attributes by name. Departments, teams, offices and legal entities are ids."""


class PersonioSettings(PeopleSettings):
    """A company as a source. The key of a person is Personio's own id."""

    CATALOGUE = CATALOGUE

    url: Annotated[str, AfterValidator(base_address)] = "https://api.personio.de"
    """Address of the API, without a version."""
    client_id: Name
    """Of the API credentials; may contain references."""
    secret: Secret
    """Their secret; a reference."""


def _open(settings: PersonioSettings, opening: Opening) -> HttpSession:
    oauth = {
        "token_url": f"{settings.url}/v2/auth/token",
        "client_id": settings.client_id,
        "secret": settings.secret,
        "secret_in": "body",
    }
    return open_people(settings, opening, {"oauth": oauth}, below="/v2")


async def _listed(wire: HttpSession, path: str, purpose: str) -> tuple[list[Any], str | None]:
    """Entries of a page, and the path of the next. Raises: ProvisorError."""
    body = await read_json(wire, path, purpose)
    found = list_in(body, "_data", "Personio")
    link = ((body.get("_meta") or {}).get("links") or {}).get("next") or {}
    href = link.get("href") if isinstance(link, dict) else link
    if not href:
        return found, None
    if not str(href).startswith(wire.address + "/"):
        raise SchemaMismatchError(f"A page of {wire.address} leads to another address; it was not followed.")
    return found, str(href)[len(wire.address) :]


def _chosen(employments: list[Any], today: str) -> dict[str, Any]:
    """The employment that counts: the one that began last; where none has begun, the next one to begin."""

    def start(one: Any) -> str:
        return str(one.get("employment_start_date") or "")[: len(today)]

    begun = [one for one in employments if start(one) <= today]
    return max(begun, key=start) if begun else min(employments, key=start, default={})


def _person(person: Any, employments: list[Any], today: str) -> Any:
    """A person with the custom attributes by their ids, and the employment that counts today."""
    custom = {str(one.get("id")): one.get("value") for one in person.get("custom_attributes") or ()}
    chosen = _chosen(employments, today)
    units = {str(one.get("type")).lower(): one.get("id") for one in chosen.get("org_units") or ()}
    return {**person, "custom": custom, _EMPLOYMENT: {**chosen, "units": units}}


async def _employments(wire: HttpSession, person: Any) -> list[Any]:
    """All employments of a person. Raises: ProvisorError."""
    path: str | None = f"/persons/{quote(str(person.get('id')), safe='')}/employments?limit={LARGEST_PAGE}"
    employments: list[Any] = []
    while path is not None:
        found, path = await _listed(wire, path, "read a person's employments")
        employments += found
    return employments


async def _pages(wire: HttpSession, known: Known, asked: Asked) -> AsyncIterator[Page]:
    catalogue = known.settings.catalogue
    whole = any(catalogue[name].path.startswith(_EMPLOYMENT) for name in asked.paths if name in catalogue)
    path: str | None = f"/persons?limit={LARGEST_PAGE}"
    today = datetime.now(UTC).date().isoformat()
    while path is not None:
        found, path = await _listed(wire, path, "list the persons")
        every = await asyncio.gather(*(_employments(wire, one) for one in found)) if whole else [[] for _ in found]
        people = [_person(one, employments, today) for one, employments in zip(found, every, strict=True)]
        page = page_of(
            people, catalogue, asked.paths, key="id", status="status", active=("ACTIVE",), inactive=("INACTIVE",)
        )
        yield Page(page.rows, next=path, unreadable=page.unreadable)


async def _check(wire: HttpSession, known: Known) -> str:
    people, more = await _listed(wire, f"/persons?limit={LARGEST_PAGE}", "list the persons")
    today = datetime.now(UTC).date().isoformat()
    sample = [_person(one, await _employments(wire, one), today) for one in people[:5]]
    count = f"more than {len(people):,}" if more is not None else f"{len(people):,}"
    said = nobody_has(sample, known.settings.catalogue, f"None of {len(sample)} of them")
    return f"Personio answers with {count} persons.{said}"


CONNECTOR = connector(
    System("personio", PersonioSettings, _open, people_traits, _check, _pages, in_flight=4, per_s=5.0),
    title="Personio, API v2",
)
