"""Who is assigned to an enterprise application, with which role.

Source: Microsoft Graph, "List appRoleAssignments granted for a service principal"; resource types "appRole" and
"appRoleAssignment".
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from connectors.entra.asking import LARGEST_PAGE, json_of, listed
from connectors.errors import SettingsError
from connectors.kit import Kind

_KINDS = {"User": str(Kind.USER), "Group": str(Kind.GROUP)}
WITHOUT_ROLE = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Assigned:
    """Assignments of an application."""

    rows: list[tuple[str, str, str | None]]
    """Kind, key and role of each; no role where the application no longer has it."""
    left_out: int = 0
    """Assignments of service principals, which are no people."""
    lost_roles: int = 0
    """Assignments with a role that the application no longer has."""


async def assignments(wire: Any, app: str) -> Assigned:
    """Every assignment of an application. Raises: SettingsError where there is no such application; FatalError."""
    link = f"/servicePrincipals(appId='{quote(app, safe='')}')?$select=id,appRoles"
    principal = await json_of(wire, link, "read the application", missing=True)
    if principal is None:
        raise SettingsError(
            f"The tenant has no enterprise application with the application (client) id {app}. Set app to the id that "
            "the Entra admin center shows under Enterprise applications > Properties > Application ID."
        )
    roles = {role["id"]: role.get("value") or role.get("displayName") for role in principal.get("appRoles", ())}
    link = f"/servicePrincipals/{principal['id']}/appRoleAssignedTo?$top={LARGEST_PAGE}"
    found = await listed(wire, link, "read who is assigned to the application") or []
    people = [one for one in found if one["principalType"] in _KINDS]
    return Assigned(
        [(_KINDS[one["principalType"]], str(one["principalId"]), roles.get(one["appRoleId"])) for one in people],
        left_out=len(found) - len(people),
        lost_roles=sum(one["appRoleId"] not in roles and one["appRoleId"] != WITHOUT_ROLE for one in people),
    )
