"""What can be read of a person in Employee Central: names of attributes, and the OData path of each from PerPerson.

A path goes from node to node with slashes. A node that holds several entries stands for the first, or for the one that
a condition in brackets names: ``phoneNav[isPrimary=true]/phoneNumber``. Of several employments the one that counts is
put first before any path is followed. Paths of other services (``$.employmentNav.results[0].startDate``) are understood
too.

Source: SAP SuccessFactors HCM Suite OData API (v2), entities PerPerson, EmpEmployment, EmpJob, User.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from connectors.errors import SettingsError
from connectors.kit import Form

EMPLOYMENT, JOB, USER = "employmentNav", "employmentNav/jobInfoNav", "employmentNav/userNav"
STATUS = f"{JOB}/emplStatusNav"


@dataclass(frozen=True, slots=True)
class PersonPath:
    """Where an attribute of a person stands."""

    path: str
    form: Form = Form.TEXT
    many: bool = False
    """Whether the values of all entries of a node are wanted, as a list; otherwise that of the first."""


def _below(node: str, *names: str) -> dict[str, str]:
    return {name: f"{node}/{name}" for name in names}


def _named(node: str, name: str, label: str = "name_localized") -> dict[str, str]:
    """An object of the organisation: what it is called, and its code."""
    return {name: f"{JOB}/{node}/{label}", f"{name}Id": f"{JOB}/{node}/externalCode"}


_TEXTS = {
    "personIdExternal": "personIdExternal",
    "personId": "personId",
    "perPersonUuid": "perPersonUuid",
    **_below("personalInfoNav", "displayName", "firstName", "gender", "lastName", "middleName", "preferredName"),
    **_below(USER, "addressLine1", "addressLine2", "addressLine3", "businessPhone", "cellPhone", "city", "country"),
    **_below(USER, "empId", "homePhone", "jobFamily", "nickname", "state", "timeZone", "username", "zipCode"),
    **_below(USER, *(f"custom{number:02}" for number in range(1, 16))),
    "userStatus": f"{USER}/status",
    **_below("phoneNav[isPrimary=true]", "areaCode", "countryCode", "extension", "phoneNumber", "phoneType"),
    **_below("emailNav[isPrimary=true]", "emailAddress", "emailType"),
    **_below(EMPLOYMENT, "userId", "assignmentClass", "prevEmployeeId", "jobNumber"),
    **{f"empNavCustomString{number}": f"{EMPLOYMENT}/customString{number}" for number in range(1, 16)},
    **_below(JOB, "countryOfCompany", "jobTitle", "position", "eventReason", "employeeClass", "employmentType"),
    **{f"empJobNavCustomString{number}": f"{JOB}/customString{number}" for number in range(1, 16)},
    "emplStatus": f"{STATUS}/externalCode",
    **_named("businessUnitNav", "businessUnit"),
    **_named("companyNav", "company"),
    "twoCharCountryCode": f"{JOB}/companyNav/countryOfRegistrationNav/twoCharCountryCode",
    **_named("costCenterNav", "costCenter"),
    "costCenterDescription": f"{JOB}/costCenterNav/description_localized",
    **_named("departmentNav", "department"),
    **_named("divisionNav", "division"),
    **_named("jobCodeNav", "jobCode", "name"),
    "LocationName": f"{JOB}/locationNav/name",
    "LocationId": f"{JOB}/locationNav/externalCode",
    "LocationTimeZone": f"{JOB}/locationNav/timezone",
    "officeLocationAddress": f"{JOB}/locationNav/addressNavDEFLT/address1",
    "officeLocationCity": f"{JOB}/locationNav/addressNavDEFLT/city",
    "officeLocationCustomString4": f"{JOB}/locationNav/addressNavDEFLT/customString4",
    "officeLocationZipCode": f"{JOB}/locationNav/addressNavDEFLT/zipCode",
    "payGrade": f"{JOB}/payGradeNav/name",
    "activeEmploymentsCount": "personEmpTerminationInfoNav/activeEmploymentsCount",
}
_DATES = {
    **_below(EMPLOYMENT, "startDate", "endDate", "firstDateWorked", "lastDateWorked", "originalStartDate"),
    "latestTerminationDate": "personEmpTerminationInfoNav/latestTerminationDate",
}
CATALOGUE: Mapping[str, PersonPath] = {
    **{name: PersonPath(path) for name, path in _TEXTS.items()},
    **{name: PersonPath(path, Form.DATE) for name, path in _DATES.items()},
    "isContingentWorker": PersonPath(f"{EMPLOYMENT}/isContingentWorker", Form.BOOLEAN),
    "okToRehire": PersonPath(f"{EMPLOYMENT}/okToRehire", Form.BOOLEAN),
    "managerId": PersonPath(f"{USER}/manager/empInfo/personIdExternal", Form.REFERENCE),
}
"""Attributes by name."""

ALWAYS = (
    f"{EMPLOYMENT}/startDate",
    f"{EMPLOYMENT}/endDate",
    f"{EMPLOYMENT}/assignmentClass",
    f"{EMPLOYMENT}/userId",
    f"{STATUS}/externalCode",
    "personEmpTerminationInfoNav/activeEmploymentsCount",
    "personIdExternal",
)
"""Read of everybody, whatever is wanted."""


# Paths

_STEP = re.compile(r"(\w+)(?:\[(\w+)=(\w+)\])?")
_FILTER = re.compile(r"\.results\[\?\(@\.(\w+)\s*==\s*'?(\w+)'?\)\]")


def plain_path(text: str) -> str:
    """A path as it is written here, also where it was given as JSONPath. Raises: ValueError."""
    path = text.strip()
    if path.startswith("$."):
        path = _FILTER.sub(r"[\1=\2]", path[2:])
        path = re.sub(r"\.results\[(?:0|-1:)\]", "", path).replace(".", "/")
    if not all(_STEP.fullmatch(step) for step in path.split("/")):
        raise ValueError(
            "must be a path from PerPerson like employmentNav/jobInfoNav/jobTitle or "
            "phoneNav[isPrimary=true]/phoneNumber"
        )
    return path


@lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[tuple[str, str | None, str | None], ...]:
    found = []
    for step in path.split("/"):
        match = _STEP.fullmatch(step)
        if match is None:
            raise SettingsError(f"The path {path} cannot be followed.")
        found.append((match[1], match[2], match[3]))
    return tuple(found)


def nodes(paths: Iterable[str]) -> tuple[str, str]:
    """What ``$expand`` and ``$select`` name for these paths."""
    expand: dict[str, None] = {}
    select: dict[str, None] = {}
    for path in paths:
        names = [name for name, _, _ in _steps(path)]
        for end in range(1, len(names)):
            expand["/".join(names[:end])] = None
        select["/".join(names)] = None
        for number, (_, condition, _) in enumerate(_steps(path)):
            if condition is not None:
                select["/".join((*names[: number + 1], condition))] = None
    return ",".join(sorted(expand)), ",".join(sorted(select))


# Values

_DATE = re.compile(r"/Date\((-?\d+)(?:[+-]\d{4})?\)/")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOR_EVER = "9999-12-31"


def follow(person: Any, path: str) -> list[Any]:
    """The values at the end of a path, null ones left out."""
    found = [person]
    for name, condition, wanted in _steps(path):
        found = [
            entry
            for node in found
            if isinstance(node, Mapping)
            for entry in entries(node.get(name))
            if condition is None or (isinstance(entry, Mapping) and _written(entry.get(condition)) == wanted)
        ]
    return [value for value in map(plain_value, found) if value is not None]


def entries(node: Any) -> Sequence[Any]:
    """What a node holds: several entries, one, or nothing where it was not expanded or may not be seen."""
    if node is None or (isinstance(node, Mapping) and "__deferred" in node):
        return ()
    if isinstance(node, Mapping) and isinstance(node.get("results"), list):
        results: list[Any] = node["results"]
        return results
    return (node,)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def plain_value(value: Any) -> Any:
    """A value without the service's way of writing dates; empty text and the end of time are null."""
    if not isinstance(value, str):
        return value
    if not value:
        return None
    match = _DATE.fullmatch(value)
    if match is None:
        return value
    try:
        moment = _EPOCH + timedelta(milliseconds=int(match[1]))
    except OverflowError:
        return None
    text = moment.date().isoformat() if (moment - _EPOCH) % timedelta(days=1) == timedelta() else ""
    if text == _FOR_EVER:
        return None
    return text or moment.isoformat().replace("+00:00", "Z")


def value_of(person: Any, path: PersonPath) -> Any:
    """One value of a person: text, a boolean, a list of texts, None for null."""
    found = follow(person, path.path)
    if path.many:
        return [_written(one) for one in found] or None
    if not found:
        return None
    if path.form is Form.BOOLEAN:
        return {"true": True, "1": True, "false": False, "0": False}.get(_written(found[0]).lower())
    return _written(found[0])
