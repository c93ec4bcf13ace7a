"""The maker's own clients, pointed at a tenant on loopback: msgraph-sdk, msal, azure-identity and, from npm,
@microsoft/microsoft-graph-client."""

import json
import os
import shutil
import subprocess
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

with warnings.catch_warnings():  # a part of the SDK warns of another one, whatever is asked of it
    warnings.simplefilter("ignore", DeprecationWarning)
    from kiota_abstractions.authentication import AuthenticationProvider
    from kiota_abstractions.base_request_configuration import RequestConfiguration
    from msgraph import GraphServiceClient
    from msgraph.generated.models.o_data_errors.o_data_error import ODataError
    from msgraph.generated.models.password_profile import PasswordProfile
    from msgraph.generated.models.reference_create import ReferenceCreate
    from msgraph.generated.models.user import User
    from msgraph.generated.users.users_request_builder import UsersRequestBuilder
    from msgraph.graph_request_adapter import GraphRequestAdapter

from tests.servers.graph_service import GraphService
from tests.servers.starting import StartError

__all__ = [
    "ODataError",
    "PasswordProfile",
    "ReferenceCreate",
    "TenantState",
    "User",
    "javascript_drives",
    "pages_of",
    "sdk_of",
    "state_of",
]
JAVASCRIPT = Path(__file__).with_name("graph_client")


class _Token(AuthenticationProvider):
    def __init__(self, service: GraphService) -> None:
        self._service = service

    async def authenticate_request(self, request: Any, additional_authentication_context: Any = None) -> None:
        request.headers.add("Authorization", f"Bearer {self._service.token}")


@asynccontextmanager
async def sdk_of(service: GraphService) -> AsyncIterator[GraphServiceClient]:
    """msgraph-sdk, with the service's own token."""
    adapter = GraphRequestAdapter(_Token(service))
    adapter.base_url = service.url
    with warnings.catch_warnings():  # its modules come when they are needed, and warn as the first ones do
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            yield GraphServiceClient(request_adapter=adapter)
        finally:
            await adapter._http_client.aclose()
            await adapter._http_client._transport.transport.aclose()  # it wraps the one that holds the connections


@dataclass
class TenantState:
    """What a tenant holds, by names; read through the maker's client alone."""

    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, set[str]] = field(default_factory=dict)
    """Members' names by the group's name."""


async def pages_of(builder: Any, first: Any) -> AsyncIterator[Any]:
    """Every entry of a list."""
    page = first
    while page is not None:
        for one in page.value:
            yield one
        page = await builder.with_url(page.odata_next_link).get() if page.odata_next_link else None


async def state_of(client: GraphServiceClient) -> TenantState:
    """Everybody with switch, title, number and manager; every group with its members."""
    asked = UsersRequestBuilder.UsersRequestBuilderGetQueryParameters(
        select=["id", "userPrincipalName", "displayName", "accountEnabled", "employeeId", "jobTitle"],
        expand=["manager($select=id)"],
        top=999,
    )
    first = await client.users.get(request_configuration=RequestConfiguration(query_parameters=asked))
    people = [one async for one in pages_of(client.users, first)]
    names = {one.id: one.user_principal_name for one in people}
    users = {
        one.user_principal_name: {
            "displayName": one.display_name,
            "accountEnabled": one.account_enabled,
            "employeeId": one.employee_id,
            "jobTitle": one.job_title,
            "manager": None if one.manager is None else names[one.manager.id],
        }
        for one in people
    }
    groups: dict[str, set[str]] = {}
    async for group in pages_of(client.groups, await client.groups.get()):
        members = client.groups.by_group_id(group.id).members
        held = [one.id async for one in pages_of(members, await members.get())]
        assert len(held) == len(set(held)), "somebody is a member twice"
        assert group.display_name not in groups, "a group is there twice"
        groups[group.display_name] = {names.get(one, one) for one in held}
    return TenantState(users, groups)


def javascript_drives(service: GraphService, ca_file: Path, **asked: Any) -> dict[str, Any]:
    """What the client from npm tells of some days of the tenant: see ``graph_client/drive.mjs``. Raises: StartError."""
    node = shutil.which("node")
    if node is None or not (JAVASCRIPT / "node_modules").is_dir():
        raise StartError(f"The client is not there: npm install --prefix {JAVASCRIPT}")
    document = json.dumps({"url": service.url.removesuffix("/v1.0"), "token": service.token, **asked})
    run = subprocess.run(
        [node, JAVASCRIPT / "drive.mjs"],
        input=document,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(ca_file)},
    )
    assert run.returncode == 0, run.stderr
    told: dict[str, Any] = json.loads(run.stdout)
    return told
