"""BambooHR: everybody by one custom report, those who are dated ahead and those who have left included.

Source: BambooHR API documentation, "Request a custom report", "Get updated employee IDs", "List of field names".
"""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from pydantic import AfterValidator

from connectors.errors import SchemaMismatchError
from connectors.http import Call, HttpSession
from connectors.http_settings import base_address
from connectors.json_people import PeopleSettings, fields_of, list_in, nobody_has, open_people, page_of, people_traits
from connectors.kit import Asked, Known, Opening, Page, System, call, connector, refused
from connectors.settings import Secret

STATUS = "status"
_TEXTS = (
    "employeeNumber firstName middleName lastName preferredName displayName jobTitle department division location "
    "workEmail workPhone workPhoneExtension mobilePhone homePhone address1 address2 city state zipcode country "
    "employmentHistoryStatus gender supervisor status"
).split()
CATALOGUE = fields_of(
    {name: name for name in _TEXTS},
    {name: name for name in ("hireDate", "originalHireDate", "terminationDate", "lastChanged")},
    {"manager": "supervisorEId"},
)
"""Attributes by name; the names are BambooHR's own."""


class BambooHRSettings(PeopleSettings):
    """A company as a source. The key of a person is the employee's id."""

    CATALOGUE = CATALOGUE

    url: Annotated[str, AfterValidator(base_address)]
    """``https://COMPANY.bamboohr.com/api/v1``; may contain references."""
    api_key: Secret
    """A reference."""


def _open(settings: BambooHRSettings, opening: Opening) -> HttpSession:
    return open_people(settings, opening, {"basic": {"username": settings.api_key, "password": settings.api_key}})


async def _report(wire: HttpSession, fields: list[str]) -> list[Any]:
    """Everybody with these fields. Raises: ProvisorError."""
    asked = call(
        "POST",
        "/reports/custom?format=JSON&onlyCurrent=false",  # people who are dated ahead come only so
        "read the employees",
        {"title": "Provisor", "fields": list(dict.fromkeys(["id", STATUS, *fields]))},
    )
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refused(wire, asked, answer)
    return list_in(answer.json(), "employees", "BambooHR")


async def _known_ids(wire: HttpSession) -> set[str]:
    """Ids of everybody who was ever changed and not deleted. Raises: ProvisorError."""
    asked = Call("GET", "/employees/changed?since=1970-01-01T00:00:00Z&type=all", "list who has changed")
    answer = await wire.send(asked)
    if answer.status != 200:
        raise refused(wire, asked, answer)
    found = answer.json().get("employees") or {}
    if not isinstance(found, dict):
        raise SchemaMismatchError("BambooHR returned JSON without a table of changed employees. Check the url.")
    return {str(key) for key, one in found.items() if one.get("action") != "Deleted"}


async def _pages(wire: HttpSession, known: Known, asked: Asked) -> AsyncIterator[Page]:
    catalogue = known.settings.catalogue
    people = await _report(wire, [catalogue[name].path for name in asked.paths if name in catalogue])
    missing = await _known_ids(wire) - {str(one.get("id")) for one in people}
    doubt = f"{len(missing):,} employees whom BambooHR knows are not in its report." if missing else ""
    yield page_of(
        people, catalogue, asked.paths, key="id", status=STATUS, active=("Active",), inactive=("Inactive",), doubt=doubt
    )


async def _check(wire: HttpSession, known: Known) -> str:
    catalogue = known.settings.catalogue
    people = await _report(wire, [one.path for one in catalogue.values()])
    return f"BambooHR returned {len(people):,} employees.{nobody_has(people, catalogue)}"


CONNECTOR = connector(
    System("bamboohr", BambooHRSettings, _open, people_traits, _check, _pages, in_flight=2),
    title="BambooHR",
)
