"""What a job file says about a SCIM service."""

from typing import Annotated, Literal

from pydantic import Field

from connectors.http_settings import HttpSettings


class ScimTargetSettings(HttpSettings):
    """A SCIM 2.0 service whose accounts are kept in step."""

    page_size: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Entries per list request. If the service returns fewer, its own page size is used."""
    profile: Annotated[str, Field(min_length=1)] | None = None
    """Profile of the service: a ``.yaml`` file next to the job, or a built-in profile such as ``slack``. Default: the
    file next to the job that is named after the service's host, if there is one.
    """


class ScimSourceSettings(ScimTargetSettings):
    """A SCIM 2.0 service that says who there is."""

    key: Literal["id", "externalId", "userName"] = "id"
    """Attribute that identifies a user for ever. Groups are always known by their id."""
    overlap_s: Annotated[int, Field(ge=0, le=86_400)] = 900
    """Seconds by which each read of changes overlaps the previous one: a service may show a change late, with an
    earlier ``meta.lastModified``."""
