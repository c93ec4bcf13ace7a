"""What a job file says about a ServiceNow instance."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from connectors.http_settings import HttpSettings
from connectors.settings import Name

TERM = re.compile(r"(?P<field>[a-z_][a-z0-9_.]*?)(?P<sign>!=|=|IN|ISNOTEMPTY|ISEMPTY)(?P<value>.*)", re.DOTALL)
"""One condition of an encoded query, of those that can be judged here as well."""


def _query(text: str) -> str:
    for term in text.split("^") if text else ():
        found = TERM.fullmatch(term)
        if found is None or found["value"].startswith("javascript:"):
            raise ValueError(
                f"takes conditions with =, !=, IN, ISEMPTY and ISNOTEMPTY, with ^ between them, not {term!r}"
            )
    return text


EncodedQuery = Annotated[str, AfterValidator(_query)]


class GroupSort(StrEnum):
    """What counts as groups."""

    GROUPS = "groups"
    """Groups of users: created, filled and deleted."""
    ROLES = "roles"
    """Roles: filled, never created or deleted. Those that come from a group are not seen."""


class MissingReference(StrEnum):
    """How to treat an entry whose department, location or similar has no record."""

    REJECT = "reject"
    """It is not written."""
    SKIP = "skip"
    """It is written without that value, and told as done in part."""
    CREATE = "create"
    """The record is made."""


class ServiceNowSettings(HttpSettings):
    """An instance as a source. ``url``: ``https://example.service-now.com``."""

    TOKEN_PATH: ClassVar[str] = "/oauth_token.do"

    user_query: EncodedQuery = "sys_class_name=sys_user"
    """Which users are seen, as an encoded query; without it customer contacts would be among them."""
    group_query: EncodedQuery = ""
    """Which groups are visible."""
    groups: tuple[GroupSort, ...] = (GroupSort.GROUPS,)
    """What counts as groups."""
    references: dict[Name, Name] = Field(
        default_factory=lambda: {"department": "name", "location": "name", "company": "name", "cost_center": "code"}
    )
    """Fields of users that name a record of another table, and the field of that record which mapped values hold."""
    page_size: Annotated[int, Field(ge=50, le=10_000)] = 1000
    """Users per page; pages of memberships are five times as large."""


class ServiceNowTargetSettings(ServiceNowSettings):
    """An instance as a target."""

    missing_references: MissingReference = MissingReference.REJECT
    """How to treat an entry whose department, location or similar has no record."""
    batch: Annotated[int, Field(ge=1, le=100)] = 50
    """Writes in one request of the batch API; 1: it is not used."""
