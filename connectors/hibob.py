"""HiBob: everybody by one search, those who have left included.

Source: HiBob API documentation, "People read API contract", "Search for employees".
"""

from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from pydantic import AfterValidator

from connectors.http import HttpSession
from connectors.http_settings import base_address
from connectors.json_people import (
    JsonField,
    PeopleSettings,
    fields_of,
    list_in,
    nobody_has,
    open_people,
    page_of,
    people_traits,
)
from connectors.kit import Asked, Known, Opening, Page, System, call, connector, refused
from connectors.settings import Secret

KEY_PATH, STATUS = "root.id", "internal.status"
CATALOGUE = fields_of(
    {
        "email": "root.email",
        "firstName": "root.firstName",
        "surname": "root.surname",
        "displayName": "root.displayName",
        "employeeNumber": "work.employeeIdInCompany",
        "title": "work.title",
        "department": "work.department",
        "site": "work.site",
        "workPhone": "work.workPhone",
        "mobile": "work.workMobile",
        "country": "address.country",
        "city": "address.city",
        "status": STATUS,
        "lifecycleStatus": "internal.lifecycleStatus",
    },
    {
        "startDate": "work.startDate",
        "terminationDate": "internal.terminationDate",
    },
    {"manager": "work.reportsTo.id"},
)
"""Attributes by name."""


class HiBobSettings(PeopleSettings):
    """A company as a source. The key of a person is HiBob's own id, not the employee number."""

    CATALOGUE = CATALOGUE

    url: Annotated[str, AfterValidator(base_address)] = "https://api.hibob.com/v1"
    """Address of the API."""
    service_user: Secret
    """The service user's id; a reference."""
    token: Secret
    """Its token; a reference."""


def _open(settings: HiBobSettings, opening: Opening) -> HttpSession:
    return open_people(settings, opening, {"basic": {"username": settings.service_user, "password": settings.token}})


async def _search(wire: HttpSession, paths: Iterable[str]) -> list[Any]:
    """Everybody with these fields. Raises: ProvisorError."""
    asked_fields = [path.removesuffix(".id") if path.startswith("work.reportsTo") else path for path in paths]
    body = {
        "fields": list(dict.fromkeys([KEY_PATH, STATUS, *asked_fields])),
        "showInactive": True,  # without it leavers would vanish
        "humanReadable": "REPLACE",
    }
    asked = call("POST", "/people/search", "read the employees", body)
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refused(wire, asked, answer)
    return list_in(answer.json(), "employees", "HiBob")


async def _pages(wire: HttpSession, known: Known, asked: Asked) -> AsyncIterator[Page]:
    catalogue = known.settings.catalogue
    people = [_rooted(one) for one in await _search(wire, _paths_of(catalogue, asked.paths))]
    yield page_of(
        people, catalogue, asked.paths, key=KEY_PATH, status=STATUS, active=("Active",), inactive=("Inactive",)
    )


def _paths_of(catalogue: dict[str, JsonField], wanted: Iterable[str]) -> list[str]:
    return [catalogue[name].path for name in wanted if name in catalogue]


def _rooted(person: Any) -> Any:
    """A person whose root fields stand under ``root``, wherever the answer has them."""
    return person if not isinstance(person, dict) or "root" in person else {**person, "root": person}


async def _check(wire: HttpSession, known: Known) -> str:
    catalogue = known.settings.catalogue
    people = [_rooted(one) for one in await _search(wire, [one.path for one in catalogue.values()])]
    return f"HiBob returned {len(people):,} employees.{nobody_has(people, catalogue)}"


CONNECTOR = connector(
    System("hibob", HiBobSettings, _open, people_traits, _check, _pages, in_flight=1, per_s=0.8),
    title="HiBob",
)
